//! The alerts, by promtool, and on a Prometheus that scrapes workers that lose what they need.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use tips_e2e::monitored::Monitored;
use tips_e2e::process::run;
use tips_e2e::prometheus::alerts;
use tips_e2e::wait::until;
use tips_e2e::{cache, scenario};

use super::{path, read, undocumented};

const TESTS: &str = "e2e/monitoring/alerts.test.yaml";
const PATIENCE: Duration = Duration::from_secs(120);
const RUNBOOK: &str = "https://github.com/tipstream/tipstream/blob/main/docs/runbook.md#";

#[derive(Deserialize)]
struct Rules {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    alert: String,
    expr: String,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Tests {
    tests: Vec<Test>,
}

#[derive(Deserialize)]
struct Test {
    alert_rule_test: Vec<Expectation>,
}

#[derive(Deserialize)]
struct Expectation {
    alertname: String,
    #[serde(default)]
    exp_alerts: Vec<serde_json::Value>,
}

fn rules() -> Result<Vec<Rule>> {
    let text = read("charts/tipstream/files/alerts.yaml")?;
    let rules: Rules = serde_saphyr::from_str(&text).context("reading the alerts")?;
    Ok(rules.groups.into_iter().flat_map(|group| group.rules).collect())
}

#[test]
fn every_alert_fires_when_it_should_and_says_what_is_recorded() {
    scenario("alerts", |_| {
        let promtool = cache::binary("promtool")?;
        run(Command::new(&promtool).args(["check", "rules", "--lint-fatal"]).arg(alerts()))?;
        run(Command::new(&promtool).args(["test", "rules"]).arg(path(TESTS)))?;
        Ok(())
    });
}

/// The rules, but for how long they wait. Servers are asked every 10 s.
fn impatient() -> Result<String> {
    let mut rules = String::new();
    for line in read("charts/tipstream/files/alerts.yaml")?.lines() {
        let line = if line.trim_start().starts_with("for: ") { "        for: 2s" } else { line };
        rules += &format!("{line}\n");
    }
    let silent = "(tipstream_server_answer_timestamp_seconds) > ";
    ensure!(rules.contains(&format!("{silent}120")), "silence is told otherwise");
    Ok(rules.replace(&format!("{silent}120"), &format!("{silent}20")))
}

#[test]
fn what_is_lost_in_a_real_run_is_told_until_it_is_back() {
    scenario("alerts-real", |folder| {
        let rules = folder.file("alerts.yaml", impatient()?)?;
        let mut run = Monitored::start_with(folder, &rules, 4, 6, 2_500)?;
        let fires = |run: &Monitored<'_>, alert: &str, fires: bool| {
            until(&format!("{alert}: {fires}"), PATIENCE, || Ok(run.prometheus.fires(alert)? == fires))
        };
        let worker_down = r#"alertname="TipstreamWorkerDown""#;
        let state_errors = r#"alertname="TipstreamStateErrors""#;
        let redis_silent = r#"alertname="TipstreamServerSilent", server="redis""#;
        let without_state = r#"alertname="TipstreamQueryWithoutState""#;
        let query_down = r#"alertname="TipstreamQueryDown""#;
        for alert in [worker_down, state_errors, redis_silent, without_state, query_down] {
            fires(&run, alert, false)?;
        }
        run.lose_worker()?;
        fires(&run, worker_down, true)?;
        run.lose_redis()?;
        fires(&run, state_errors, true)?;
        fires(&run, redis_silent, true)?;
        until("queries that miss Redis are told of", PATIENCE, || {
            run.ask()?;
            run.prometheus.fires(without_state)
        })?;
        run.lose_query()?;
        fires(&run, query_down, true)?;
        run.start_redis()?;
        fires(&run, redis_silent, false)
    });
}

#[test]
fn every_alert_is_tried_both_ways() {
    scenario("alerts-tried", |_| {
        let tests: Tests = serde_saphyr::from_str(&read(TESTS)?).context("reading the tests")?;
        let expectations: Vec<_> = tests.tests.into_iter().flat_map(|test| test.alert_rule_test).collect();
        for Rule { alert, .. } in rules()? {
            let tried = |fires: bool| {
                expectations.iter().any(|case| case.alertname == alert && case.exp_alerts.is_empty() != fires)
            };
            ensure!(tried(true), "{TESTS} has no case in which {alert} fires");
            ensure!(tried(false), "{TESTS} has no case in which {alert} does not fire");
        }
        Ok(())
    });
}

#[test]
fn every_alert_has_a_section_of_the_runbook_and_every_section_an_alert() {
    scenario("alerts-runbook", |_| {
        let runbook = read("docs/runbook.md")?;
        let sections: BTreeMap<_, _> =
            runbook.split("\n## ").skip(1).filter_map(|section| section.split_once('\n')).collect();
        let rules = rules()?;
        for Rule { alert, labels, annotations, .. } in &rules {
            let text = sections.get(alert.as_str());
            let text = text.with_context(|| format!("docs/runbook.md has no section {alert}"))?;
            ensure!(text.contains("\n    ") || text.contains("\n1. "), "{alert}: no command and no step");
            let link = format!("{RUNBOOK}{}", alert.to_lowercase());
            ensure!(annotations.get("runbook_url") == Some(&link), "{alert} does not link to {link}");
            for name in ["summary", "description"] {
                ensure!(annotations.get(name).is_some_and(|text| !text.is_empty()), "{alert} has no {name}");
            }
            let severity = labels.get("severity").map(String::as_str);
            ensure!(
                matches!(severity, Some("critical" | "warning")),
                "{alert} has the severity {severity:?}"
            );
        }
        let alerts: BTreeSet<_> = rules.iter().map(|rule| rule.alert.as_str()).collect();
        let stale: Vec<_> = sections.keys().filter(|section| !alerts.contains(**section)).collect();
        ensure!(stale.is_empty(), "sections of no alert: {stale:?}");
        Ok(())
    });
}

#[test]
fn alerts_name_only_metrics_that_are_documented() {
    scenario("alerts-metrics", |_| {
        for Rule { alert, expr, .. } in rules()? {
            let unknown = undocumented(&expr)?;
            ensure!(unknown.is_empty(), "{alert} asks for {unknown:?}, which no table in docs/ has");
        }
        Ok(())
    });
}
