//! A real Kubernetes: the control plane alone, which any user may start, or a whole node with pods, which needs root.
//!
//! What needs no pods is tested on a [`ControlPlane`]. What needs them takes [`Pods`], which may be a cluster that
//! somebody lends by `TIPS_TEST_KUBECONFIG`, or a [`Node`] if it stops and starts the servers.

mod asked;
mod cgroups;
mod cluster;
mod control_plane;
mod image;
mod machine;
mod namespace;
mod network;
mod node;
mod part;
mod pods;

pub use asked::Asked;
pub use cluster::{Cluster, KUBECONFIG};
pub use control_plane::ControlPlane;
pub use image::{Image, PAUSE};
pub use namespace::Namespace;
pub use node::Node;
pub use part::Part;
pub use pods::Pods;
