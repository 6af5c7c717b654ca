//! How much one operator can look after (O7).

use std::time::{Duration, Instant};

use anyhow::Result;
use tips_e2e::Folder;
use tips_e2e::figure::{Figure, Limit};
use tips_e2e::kubernetes::ControlPlane;
use tips_e2e::operator::{self, Operator, apply_many, requests};

use super::usage::Usage;

const PIPELINES: usize = 1000;
const PATIENCE: Duration = Duration::from_secs(300);

/// A thousand pipelines that are there when the operator begins, until each has its objects and a status.
pub(super) fn pipelines(folder: &Folder) -> Result<Vec<Figure>> {
    let control_plane = ControlPlane::start(folder)?;
    let cluster = control_plane.cluster();
    let rights = operator::install(cluster)?;
    let mut idle = Operator::start(folder, &rights, "idle")?;
    let idle_mib = Usage::of(idle.process()).peak_mib;
    idle.process().end()?;
    apply_many(cluster, PIPELINES)?;
    let before = requests(cluster)?;
    let mut operator = Operator::start(folder, &rights, "operator")?;
    let begun = Instant::now();
    let answered = ["get", "tips", "--output=jsonpath={.items[*].status.observedGeneration}"];
    cluster.until(&answered, PATIENCE, |text| text.split_whitespace().count() == PIPELINES)?;
    let took = begun.elapsed().as_secs_f64();
    let asked = requests(cluster)? - before;
    let peak_mib = Usage::of(operator.process()).peak_mib;
    let figure = |name: &str, value, unit, limit| Figure { name: name.to_owned(), value, unit, limit };
    Ok(vec![
        figure("operator_pipelines_per_second", PIPELINES as f64 / took, "pipelines/s", Limit::AtLeast(20.0)),
        figure(
            "operator_requests_per_pipeline",
            asked as f64 / PIPELINES as f64,
            "requests",
            Limit::AtMost(20.0),
        ),
        figure("operator_peak_memory_of_a_thousand", peak_mib, "MiB", Limit::AtMost(128.0)),
        figure(
            "operator_memory_per_pipeline",
            (peak_mib - idle_mib) * 1024.0 / PIPELINES as f64,
            "KiB",
            Limit::AtMost(100.0),
        ),
    ])
}
