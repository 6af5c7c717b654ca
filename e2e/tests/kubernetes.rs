//! The control plane of the harness starts, answers, and comes back when parts of it were gone.

use std::time::Duration;

use anyhow::{Result, ensure};
use tips_e2e::kubernetes::{Cluster, ControlPlane};
use tips_e2e::scenario;

const SOON: Duration = Duration::from_secs(60);

fn has_pods(cluster: &Cluster, replicas: usize) -> Result<()> {
    let count = |names: &str| names.lines().count() == replicas;
    cluster.until(&["get", "pods", "--selector=app=web", "--output=name"], SOON, count).map(drop)
}

#[test]
fn a_deployment_gets_its_pods_after_the_api_server_was_gone() {
    scenario("control-plane-restart", |folder| {
        let mut control_plane = ControlPlane::start(folder)?;
        let cluster = control_plane.cluster().clone();
        cluster.kubectl(&["create", "deployment", "web", "--image=tipstream.test/none", "--replicas=2"])?;
        has_pods(&cluster, 2)?;
        control_plane.api_server().kill9()?;
        ensure!(cluster.kubectl(&["get", "pods"]).is_err(), "it should be down");
        control_plane.api_server().up()?;
        control_plane.await_ready()?;
        cluster.kubectl(&["scale", "deployment", "web", "--replicas=3"])?;
        has_pods(&cluster, 3)
    });
}

#[test]
fn a_service_account_may_do_what_its_role_says_and_no_more() {
    scenario("control-plane-rights", |folder| {
        let control_plane = ControlPlane::start(folder)?;
        let cluster = control_plane.cluster();
        cluster.kubectl(&["create", "serviceaccount", "reader"])?;
        cluster.kubectl(&["create", "role", "reader", "--verb=list", "--resource=pods"])?;
        cluster.kubectl(&[
            "create",
            "rolebinding",
            "reader",
            "--role=reader",
            "--serviceaccount=default:reader",
        ])?;
        let reader = cluster.as_service_account("default", "reader")?;
        reader.kubectl(&["get", "pods"])?;
        let refused = reader.kubectl(&["get", "secrets"]).map_err(|error| error.to_string());
        ensure!(refused.as_ref().is_err_and(|error| error.contains("is forbidden")), "{refused:?}");
        Ok(())
    });
}

#[test]
fn a_manifest_that_the_server_refuses_is_an_error_that_says_why() {
    scenario("control-plane-refuses", |folder| {
        let control_plane = ControlPlane::start(folder)?;
        let refused =
            control_plane.cluster().apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: UPPER}\n");
        let message = refused.map_err(|error| error.to_string());
        ensure!(message.as_ref().is_err_and(|error| error.contains("lower case")), "{message:?}");
        Ok(())
    });
}
