//! What the status says while something changes (O3).

use std::fs;

use anyhow::{Context as _, ensure};
use tips_e2e::kubernetes::ControlPlane;
use tips_e2e::operator::{self, Operator};
use tips_e2e::{Process, scenario};

use crate::operator::pipeline::{SOON, condition, manifest, patch};

#[test]
fn an_edit_is_not_told_to_be_settled_before_it_is() {
    scenario("operator-told", |folder| {
        let mut control_plane = ControlPlane::start(folder)?;
        let cluster = control_plane.cluster().clone();
        let rights = operator::install(&cluster)?;
        let _operator = Operator::start(folder, &rights, "operator")?;
        cluster.apply(&manifest("nyc", "  replicas: 0\n"))?;
        condition(&cluster, "nyc", "Progressing", "False/Settled")?;
        // So that nobody rolls out what the Deployment says.
        control_plane.controllers().down()?;

        let log = folder.path().join("told.log");
        let progress = "{.status.conditions[?(@.type=='Progressing')]['observedGeneration','reason']}";
        let mut command = cluster.client("kubectl")?;
        command.args(["get", "tips", "nyc", "--watch", &format!("--output=jsonpath={progress}{{'\\n'}}")]);
        let mut watch = Process::start("kubectl", command, &log)?;
        watch.until_said("1 Settled", SOON)?;
        patch(&cluster, "nyc", r#"{"spec": {"workload": {"labels": {"team": "taxi"}}}}"#)?;
        watch.until_said("2 RollingOut", SOON)?;
        let told = fs::read_to_string(&log).context("reading what was told")?;
        ensure!(!told.contains("2 Settled"), "{told}");
        Ok(())
    });
}
