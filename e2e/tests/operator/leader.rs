//! Two operators, one leader (O6), and an API server that goes and comes.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tips_e2e::kubernetes::ControlPlane;
use tips_e2e::operator::{self, Operator};
use tips_e2e::{http, scenario};

use crate::operator::pipeline::{QUIET, SOON, becomes, condition, field, manifest, patch};

/// Until `operator` leads, and how long that took.
fn leads(operator: &Operator, within: Duration) -> Result<Duration> {
    let begun = Instant::now();
    while !operator.leads() {
        ensure!(begun.elapsed() < within, "it does not lead after {within:?}");
        thread::sleep(Duration::from_millis(100));
    }
    Ok(begun.elapsed())
}

#[test]
fn a_standby_takes_over_at_once_when_the_leader_ends_and_in_time_when_it_dies() {
    scenario("operator-leader", |folder| {
        let control_plane = ControlPlane::start(folder)?;
        let cluster = control_plane.cluster();
        let rights = operator::install(cluster)?;
        let mut first = Operator::start(folder, &rights, "first")?;
        leads(&first, Duration::from_secs(5))?;
        let mut second = Operator::start(folder, &rights, "second")?;
        thread::sleep(QUIET);
        ensure!(!second.leads(), "two lead");
        cluster.apply(&manifest("nyc", "  replicas: 0\n"))?;
        condition(cluster, "nyc", "Ready", "False/NoReplicas")?;

        first.process().terminate()?;
        let took = leads(&second, Duration::from_secs(10))?;
        ensure!(took < Duration::from_secs(5), "the Lease was not given up: {took:?}");
        let status = first.process().wait(Duration::from_secs(10))?;
        ensure!(status.is_some_and(|status| status.success()), "{status:?}");
        patch(cluster, "nyc", r#"{"spec": {"suspend": true}}"#)?;
        condition(cluster, "nyc", "Ready", "False/Suspended")?;

        let third = Operator::start(folder, &rights, "third")?;
        second.process().kill9()?;
        leads(&third, Duration::from_secs(25))?;
        patch(cluster, "nyc", r#"{"spec": {"suspend": false}}"#)?;
        condition(cluster, "nyc", "Ready", "False/NoReplicas")
    });
}

#[test]
fn a_leader_that_was_stopped_does_not_lead_on_beside_its_successor() {
    scenario("operator-stopped", |folder| {
        let control_plane = ControlPlane::start(folder)?;
        let cluster = control_plane.cluster();
        let rights = operator::install(cluster)?;
        let mut first = Operator::start(folder, &rights, "first")?;
        leads(&first, Duration::from_secs(5))?;
        cluster.apply(&manifest("nyc", "  replicas: 0\n"))?;
        condition(cluster, "nyc", "Ready", "False/NoReplicas")?;
        first.process().stop()?;
        let second = Operator::start(folder, &rights, "second")?;
        leads(&second, Duration::from_secs(25))?;
        cluster.kubectl(&["scale", "tips/nyc", "--replicas=3"])?;
        becomes(cluster, "deployment/nyc-worker", "{.spec.replicas}", "3")?;
        first.process().cont()?;
        let status = first.process().wait(Duration::from_secs(20))?;
        ensure!(
            status.is_some_and(|status| !status.success()),
            "it should end, to be started again: {status:?}"
        );
        ensure!(second.leads());
        let replicas = field(cluster, "deployment/nyc-worker", "{.spec.replicas}")?;
        ensure!(replicas == "3", "it has written what it knew before it was stopped: {replicas}");
        Ok(())
    });
}

#[test]
fn an_api_server_that_comes_back_finds_the_operator_at_work() {
    scenario("operator-api-server", |folder| {
        let mut control_plane = ControlPlane::start(folder)?;
        let cluster = control_plane.cluster().clone();
        let rights = operator::install(&cluster)?;
        let mut operator = Operator::start(folder, &rights, "operator")?;
        cluster.apply(&manifest("nyc", "  replicas: 0\n"))?;
        condition(&cluster, "nyc", "Ready", "False/NoReplicas")?;
        control_plane.api_server().kill9()?;
        thread::sleep(Duration::from_secs(2));
        control_plane.api_server().up()?;
        control_plane.await_ready()?;
        cluster.kubectl(&["delete", "deployment", "nyc-worker"])?;
        cluster.kubectl(&["scale", "tips/nyc", "--replicas=3"])?;
        becomes(&cluster, "deployment/nyc-worker", "{.spec.replicas}", "3")?;
        ensure!(operator.leads());
        // Not one that refuses, but one that says nothing: the Lease cannot be given up, and that is not waited for.
        control_plane.api_server().process().stop()?;
        operator.process().terminate()?;
        let ended = operator.process().wait(Duration::from_secs(20))?;
        ensure!(ended.is_some(), "it waits for an answer");

        let mut waiting = Operator::begin(folder, &rights, "waiting")?;
        let address = waiting.address();
        waiting.process().until("was alive", SOON, || http::get(&address, "/healthz").is_ok())?;
        let ready = http::get(&address, "/readyz").map_err(|error| error.to_string());
        let unready = "503 Service Unavailable\nthe first listing is not complete";
        ensure!(ready.as_ref().is_err_and(|error| error.contains(unready)), "{ready:?}");
        control_plane.api_server().process().cont()?;
        waiting.process().until("was ready", SOON, || http::get(&address, "/readyz").is_ok())
    });
}

#[test]
fn an_operator_of_one_namespace_needs_a_role_in_that_one_only() {
    scenario("operator-namespaced", |folder| {
        let control_plane = ControlPlane::start(folder)?;
        let cluster = control_plane.cluster();
        let rights = operator::install_with(cluster, &["watchNamespace=default"])?;
        let refused =
            rights.kubectl(&["get", "secrets", "--namespace=kube-system"]).map_err(|e| e.to_string());
        ensure!(refused.as_ref().is_err_and(|error| error.contains("is forbidden")), "{refused:?}");
        let _operator = Operator::start_with(folder, &rights, "operator", &["--namespace", "default"])?;
        cluster.apply(&manifest("nyc", "  replicas: 0\n"))?;
        condition(cluster, "nyc", "Ready", "False/NoReplicas")?;
        becomes(cluster, "deployment/nyc-worker", "{.spec.replicas}", "0")
    })
}
