//! Settings that decide results (I8).

use anyhow::ensure;
use tips_e2e::kubernetes::ControlPlane;
use tips_e2e::operator::{self, Operator};
use tips_e2e::scenario;

use crate::operator::pipeline::{becomes, condition, manifest, patch};

#[test]
fn a_deciding_setting_changes_with_the_epoch_and_all_workers_at_once() {
    scenario("operator-epoch", |folder| {
        let mut control_plane = ControlPlane::start(folder)?;
        let cluster = &control_plane.cluster().clone();
        let rights = operator::install(cluster)?;
        let _operator = Operator::start(folder, &rights, "operator")?;
        cluster.apply(&manifest("nyc", "  replicas: 2\n"))?;
        condition(cluster, "nyc", "Progressing", "True/Starting")?;
        let strategy = |wanted| becomes(cluster, "deployment/nyc-worker", "{.spec.strategy.type}", wanted);
        strategy("RollingUpdate")?;
        let refused =
            patch(cluster, "nyc", r#"{"spec": {"job": {"window": "1h"}}}"#).map_err(|e| e.to_string());
        ensure!(
            refused.as_ref().is_err_and(|e| e.contains("raise spec.epoch in the same edit")),
            "{refused:?}"
        );

        // Nobody ends the workers of the last epoch: none of the new one may begin.
        control_plane.controllers().down()?;
        patch(cluster, "nyc", r#"{"spec": {"epoch": 1, "job": {"window": "1h"}}}"#)?;
        condition(cluster, "nyc", "StateCompatible", "Unknown/NewEpoch")?;
        condition(cluster, "nyc", "Progressing", "True/NewEpoch")?;
        strategy("Recreate")?;
        becomes(cluster, "deployment/nyc-worker", r"{.metadata.annotations.tipstream\.dev/epoch}", "1")?;
        patch(cluster, "nyc", r#"{"spec": {"workload": {"labels": {"team": "taxi"}}}}"#)?;
        let label = "{.spec.template.metadata.labels.team}";
        becomes(cluster, "deployment/nyc-worker", label, "taxi")?;
        strategy("Recreate")?;

        // Once they have ended, the next roll is a rolling one again.
        control_plane.controllers().up()?;
        strategy("RollingUpdate")?;
        condition(cluster, "nyc", "Progressing", "True/Starting")?;
        let lower = patch(cluster, "nyc", r#"{"spec": {"epoch": 0}}"#).map_err(|e| e.to_string());
        ensure!(lower.as_ref().is_err_and(|e| e.contains("must not go down")), "{lower:?}");
        Ok(())
    });
}
