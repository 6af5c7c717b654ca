//! `tips-operator check`: it says that all is well where it is, and else what is amiss.

use anyhow::{Result, ensure};
use tips_e2e::kubernetes::{Cluster, ControlPlane};
use tips_e2e::operator::{self, Operator};
use tips_e2e::scenario;
use tips_e2e::wait::until;

use crate::operator::pipeline::SOON;

const CRD: &str = "crd/tipspipelines.tipstream.dev";

fn finds(cluster: &Cluster, message: &str) -> Result<()> {
    let found = operator::check(cluster, &[]).map_err(|error| error.to_string());
    ensure!(found.as_ref().is_err_and(|error| error.contains(message)), "{found:?}");
    Ok(())
}

#[test]
fn it_finds_what_an_operator_lacks_and_that_one_leads() {
    scenario("operator-check", |folder| {
        let mut control_plane = ControlPlane::start(folder)?;
        let cluster = control_plane.cluster().clone();
        let rights = operator::install(&cluster)?;
        let mut operator = Operator::start(folder, &rights, "operator")?;
        let said = operator::check(&rights, &[])?;
        for part in ["answers: v1.", "served as tipstream.dev/v1alpha1", "the rights suffice", "operator_"] {
            ensure!(said.contains(part), "{said}");
        }
        operator.process().kill9()?;
        finds(&rights, "does not renew it: no operator leads")?;
        cluster.kubectl(&["delete", "lease", "tipstream", "--namespace=tips-system"])?;
        finds(&rights, "nobody holds the Lease tips-system/tipstream")?;
        let _operator = Operator::start(folder, &rights, "second")?;

        let field = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties/stateEpoch";
        let older = format!(r#"[{{"op": "remove", "path": "{field}"}}]"#);
        cluster.kubectl(&["patch", CRD, "--type=json", "--patch", &older])?;
        let lacks =
            "is not that of this operator, which cannot write a status: it lacks status.stateEpoch; install";
        until("told", SOON, || Ok(finds(&rights, lacks).is_ok()))?;

        let no_pods = r#"[{"op": "test", "path": "/rules/4/resources/0", "value": "pods"},
            {"op": "remove", "path": "/rules/4"}]"#;
        cluster.kubectl(&["patch", "clusterrole/tipstream", "--type=json", "--patch", no_pods])?;
        finds(&rights, "these are lacking: list pods in all namespaces, watch pods in all namespaces;")?;
        cluster.kubectl(&["delete", CRD])?;
        finds(&rights, "tipstream.dev/v1alpha1 is not served; install the chart with crd.install=true")?;
        control_plane.api_server().down()?;
        finds(&rights, "the API server does not answer")
    });
}
