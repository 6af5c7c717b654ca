//! The sink's own tests against a real S3 gateway and a real HDFS.

use std::process::Command;

use anyhow::Result;
use tips_e2e::hdfs::Hdfs;
use tips_e2e::process::run;
use tips_e2e::s3::S3;
use tips_e2e::scenario;

#[test]
fn the_sink_keeps_its_promises_on_s3_and_hdfs() {
    scenario("sink", |folder| {
        let s3 = S3::start(folder)?;
        let hdfs = Hdfs::start(folder)?;
        let mut tests = Command::new("cargo");
        // What cargo says of this package would have build scripts of libraries run again, and all after them.
        let own = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        for name in own.filter(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
            tests.env_remove(name);
        }
        tests
            .args(["test", "--locked", "--workspace", "--test", "sink"])
            .env("TIPS_TEST_S3_ENDPOINT", s3.endpoint())
            .env("TIPS_TEST_S3_BUCKET", s3.bucket())
            .env("AWS_ACCESS_KEY_ID", s3.access_key())
            .env("AWS_SECRET_ACCESS_KEY", s3.secret_key())
            .env("AWS_REGION", s3.region())
            .env("TIPS_TEST_HDFS", hdfs.files().uri());
        Result::map(run(&mut tests), drop)
    });
}
