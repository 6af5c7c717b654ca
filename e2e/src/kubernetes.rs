//! A real Kubernetes: the control plane alone, which any user may start, or a whole node with pods, which needs root.

mod cgroups;
mod cluster;
mod control_plane;
mod image;
mod machine;
mod network;
mod node;
mod part;

pub use cluster::{Cluster, KUBECONFIG};
pub use control_plane::ControlPlane;
pub use image::Image;
pub use node::Node;
pub use part::Part;
