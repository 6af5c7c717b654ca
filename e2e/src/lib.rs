//! The harness of the end-to-end tests: real Kafka, Redis, HDFS, S3 and Kubernetes on this machine, faults
//! done to them, and an oracle that computes the job's results a second time, in another language.
//!
//! Every server is owned by a guard. It is stopped when its guard is dropped, and by the kernel when the test
//! process itself is killed, so nothing outlives a test. A server's files and log are in the test's [`Folder`],
//! which is kept when the test fails. What the servers need is installed by `e2e/setup.sh` (`make setup`).

pub mod books;
pub mod browser;
mod built;
pub mod cache;
pub mod compaction;
pub mod data;
pub mod figure;
pub mod folder;
pub mod hdfs;
pub mod http;
pub mod kafka;
pub mod kubernetes;
pub mod monitored;
mod noise;
pub mod operator;
pub mod oracle;
pub mod ports;
pub mod process;
pub mod prometheus;
pub mod query;
pub mod redis;
pub mod s3;
pub mod sender;
pub mod served;
pub mod servers;
pub mod site;
pub mod tls;
pub mod wait;
pub mod watcher;
pub mod worker;

pub use folder::{Folder, scenario};
pub use process::Process;
pub use servers::Servers;
