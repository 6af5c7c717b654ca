//! A run of the compaction in a pod, whenever it is wanted.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use tips_e2e::kubernetes::Cluster;
use tips_e2e::process::run;
use tips_e2e::site::PATIENCE;
use tips_e2e::wait::until;

use crate::cluster::sql::QueryPod;

/// One begins every ten minutes.
const WINDOWS_OF_DAY: usize = 24 * 6;

/// The windows of the first day, once all are below `output`, become one file, and `pod` answers as before.
pub(crate) fn merges_the_first_day(cluster: &Cluster, output: &Path, pod: &QueryPod) -> Result<()> {
    until("the day's windows are published", PATIENCE, || Ok(windows(output, "*")? == WINDOWS_OF_DAY))?;
    let archive = || pod.psql("SELECT count(*), sum(trips) FROM tips WHERE window_start < '2013-01-02'");
    let before = archive()?;
    cluster.kubectl(&["create", "job", "compact-now", "--from=cronjob/nyc-compact"])?;
    cluster.kubectl(&["wait", "job/compact-now", "--for=condition=Complete", "--timeout=120s"])?;
    ensure!((windows(output, "all")?, windows(output, "*")?) == (1, 1), "a day's windows are not one file");
    ensure!(archive()? == before, "{} in place of {before}", archive()?);
    Ok(())
}

/// The files of the first day's windows that are called so.
pub(crate) fn windows(output: &Path, called: &str) -> Result<usize> {
    let path = format!("*/tips/year=2013/month=1/day=1/window={called}/*.parquet");
    Ok(run(Command::new("find").arg(output).args(["-path", &path]))?.lines().count())
}
