//! Every sink against the same suite: the file system always, S3 and HDFS where a real server is named
//! by the environment (`TIPS_TEST_S3_ENDPOINT` with `TIPS_TEST_S3_BUCKET` and `AWS_*`,
//! `TIPS_TEST_HDFS` = `hdfs://host:port`).

#![allow(clippy::unwrap_used)]

#[cfg(debug_assertions)]
#[path = "sink/crash.rs"]
mod crash;
#[path = "sink/fs.rs"]
mod fs;
#[path = "sink/hdfs.rs"]
mod hdfs;
#[path = "sink/lossy.rs"]
mod lossy;
#[path = "sink/s3.rs"]
mod s3;
#[path = "sink/suite.rs"]
mod suite;
