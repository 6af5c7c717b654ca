//! Settings that decide results (I8).

use anyhow::ensure;

use crate::operator::pipeline::{SOON, becomes, condition, field, manifest, patch, with_operator};

#[test]
fn a_deciding_setting_changes_with_the_epoch_and_all_workers_at_once() {
    with_operator("operator-epoch", |cluster| {
        cluster.apply(&manifest("nyc", "  replicas: 2\n"))?;
        condition(cluster, "nyc", "Progressing", "True/Starting")?;
        let strategy = "{.spec.strategy.type}";
        ensure!(field(cluster, "deployment/nyc-worker", strategy)? == "RollingUpdate");
        let refused =
            patch(cluster, "nyc", r#"{"spec": {"job": {"window": "1h"}}}"#).map_err(|e| e.to_string());
        ensure!(
            refused.as_ref().is_err_and(|e| e.contains("raise spec.epoch in the same edit")),
            "{refused:?}"
        );
        patch(cluster, "nyc", r#"{"spec": {"epoch": 1, "job": {"window": "1h"}}}"#)?;
        condition(cluster, "nyc", "StateCompatible", "Unknown/NewEpoch")?;
        // All old workers end before a new one begins; then the next roll is a rolling one again.
        let reasons = ["get", "events", "--output=jsonpath={.items[*].reason}"];
        cluster.until(&reasons, SOON, |reasons| reasons.contains("NewEpoch"))?;
        becomes(cluster, "deployment/nyc-worker", strategy, "RollingUpdate")?;
        becomes(cluster, "deployment/nyc-worker", r"{.metadata.annotations.tipstream\.dev/epoch}", "1")?;
        let lower = patch(cluster, "nyc", r#"{"spec": {"epoch": 0}}"#).map_err(|e| e.to_string());
        ensure!(lower.as_ref().is_err_and(|e| e.contains("must not go down")), "{lower:?}");
        Ok(())
    });
}
