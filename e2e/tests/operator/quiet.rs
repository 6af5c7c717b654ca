//! How little the operator asks for (O2).

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tips_e2e::kubernetes::{Cluster, ControlPlane};
use tips_e2e::operator::{self, Operator, apply_many, requests};
use tips_e2e::scenario;

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
fn a_hundred_settled_pipelines_cost_the_api_server_nothing() {
    scenario("operator-quiet", |folder| {
        let control_plane = ControlPlane::start(folder)?;
        let cluster = control_plane.cluster();
        let rights = operator::install(cluster)?;
        let operator = Operator::start(folder, &rights, "operator")?;
        apply_many(cluster, 100)?;
        await_settled(cluster, 100, Duration::from_secs(90))?;
        thread::sleep(Duration::from_secs(5));
        a_quiet_minute(cluster, &operator)?;

        // A new operator knows nothing and asks once for each object; nothing is written for it.
        let version = || {
            cluster.kubectl(&["get", "deployments", "--output=jsonpath={.items[*].metadata.resourceVersion}"])
        };
        let versions = version()?;
        drop(operator);
        let second = Operator::start(folder, &rights, "second")?;
        let begun = Instant::now();
        while second.metric("reconciles_total")? < 100.0 {
            ensure!(begun.elapsed() < Duration::from_secs(60), "it has not passed over all of them");
            thread::sleep(Duration::from_millis(200));
        }
        ensure!(version()? == versions, "a new operator writes what is as it should be");
        Ok(())
    });
}
