//! How little the operator asks for (O2).

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tips_e2e::kubernetes::{Cluster, ControlPlane};
use tips_e2e::operator::{self, Operator, apply_many, requests};
use tips_e2e::scenario;

/// Pipelines at once.
const MANY: usize = 200;
/// Requests of a pipeline from its first sight to where it is settled: six looks whether the name of an object is
/// taken, six objects, two Events, and the status before and after the Deployment's controller has seen it. Now and then
/// one more, where the API server tells of a change before it answers.
const EACH: f64 = 16.5;
const MOST_MIB: f64 = 128.0;
/// A loose bound, at two pipelines a second: the figure is in `make bench`.
const SETTLED: Duration = Duration::from_secs(MANY as u64 / 2);
/// Requests of a minute in which there is nothing to do: the Lease is renewed every 4 s, PodMonitors are looked for every
/// minute, and each of the 14 watches begins anew within five.
const OWN: u64 = 15 + 1 + 14;
const MINUTE: Duration = Duration::from_secs(60);

/// A minute in which the operator asks for no more than that.
pub(crate) fn a_quiet_minute(cluster: &Cluster, operator: &Operator) -> Result<()> {
    let (before, passes) = (requests(cluster)?, operator.metric("reconciles_total")?);
    thread::sleep(MINUTE);
    let asked = requests(cluster)? - before;
    let passes = operator.metric("reconciles_total")? - passes;
    ensure!((1..=OWN).contains(&asked), "{asked} requests and {passes} passes in a quiet minute");
    Ok(())
}

fn await_settled(cluster: &Cluster, count: usize, within: Duration) -> Result<()> {
    let query = "--output=jsonpath={range .items[*]}{.status.conditions[?(@.type=='Progressing')].reason}{'\\n'}{end}";
    let all = |text: &str| text.lines().filter(|reason| *reason == "Settled").count() >= count;
    cluster.until(&["get", "tips", query], within, all).map(drop)
}

#[test]
fn many_pipelines_are_settled_cheaply_and_then_cost_the_api_server_nothing() {
    scenario("operator-quiet", |folder| {
        let control_plane = ControlPlane::start(folder)?;
        let cluster = control_plane.cluster();
        let rights = operator::install(cluster)?;
        let operator = Operator::start(folder, &rights, "operator")?;
        let before = requests(cluster)?;
        apply_many(cluster, MANY)?;
        await_settled(cluster, MANY, SETTLED)?;
        thread::sleep(Duration::from_secs(5));
        let each = (requests(cluster)? - before) as f64 / MANY as f64;
        ensure!(each <= EACH, "{each} requests a pipeline");
        let peak = operator.peak_mib()?;
        ensure!(peak < MOST_MIB, "{peak} MiB");
        a_quiet_minute(cluster, &operator)?;

        // A new operator knows nothing and asks once for each object; nothing is written for it.
        let version = || {
            cluster.kubectl(&["get", "deployments", "--output=jsonpath={.items[*].metadata.resourceVersion}"])
        };
        let versions = version()?;
        drop(operator);
        let second = Operator::start(folder, &rights, "second")?;
        let begun = Instant::now();
        while second.metric("reconciles_total")? < MANY as f64 {
            ensure!(begun.elapsed() < SETTLED, "it has not passed over all of them");
            thread::sleep(Duration::from_millis(200));
        }
        ensure!(version()? == versions, "a new operator writes what is as it should be");
        Ok(())
    });
}
