//! The dashboards, on a Prometheus that scrapes workers, a query service and an operator at work.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use tips_e2e::monitored::{Monitored, OPERATOR, QUERY, WORKERS};
use tips_e2e::scenario;

use super::{read, undocumented};

/// Each with the job that it is of. The operator has little to do, and soon nothing to show for the last minute.
const DASHBOARDS: [(&str, &str); 3] = [("operator", OPERATOR), ("pipeline", WORKERS), ("query", QUERY)];
/// For a query over the last minute to have data after an outage.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Deserialize)]
struct Dashboard {
    panels: Vec<Panel>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Panel {
    title: String,
    #[serde(default)]
    targets: Vec<Target>,
    field_config: Option<FieldConfig>,
}

#[derive(Deserialize)]
struct Target {
    expr: String,
    datasource: Datasource,
}

#[derive(Deserialize)]
struct Datasource {
    uid: String,
}

#[derive(Deserialize)]
struct FieldConfig {
    defaults: Defaults,
}

#[derive(Deserialize)]
struct Defaults {
    unit: String,
}

/// A query of a panel.
struct Query {
    panel: String,
    expr: String,
    unit: String,
}

fn queries(dashboard: &str) -> Result<Vec<Query>> {
    let text = read(&format!("charts/tipstream/dashboards/{dashboard}.json"))?;
    let Dashboard { panels } = serde_json::from_str(&text).with_context(|| format!("reading {dashboard}"))?;
    let mut queries = Vec::new();
    for Panel { title, targets, field_config } in panels {
        for Target { expr, datasource } in targets {
            let panel = format!("{dashboard}: {title}");
            ensure!(datasource.uid == "${datasource}", "{panel} is bound to a data source of its own");
            let FieldConfig { defaults } =
                field_config.as_ref().with_context(|| format!("{panel}: no unit"))?;
            queries.push(Query { panel, expr, unit: defaults.unit.clone() });
        }
    }
    ensure!(!queries.is_empty(), "{dashboard} has no queries");
    Ok(queries)
}

/// The unit in which the result of a query is, by the names of its metrics: Prometheus' conventions.
fn unit(expr: &str) -> &'static str {
    let has = |part: &str| expr.contains(part);
    if has(" / ") {
        "percentunit"
    } else if has("process_cpu_seconds_total") {
        "none"
    } else if has("_seconds_total") {
        "percentunit"
    } else if has("histogram_quantile(") || has("time() -") || has("_seconds{") {
        "s"
    } else if has("rate(") {
        if has("_bytes_total") { "Bps" } else { "cps" }
    } else if has("_bytes") {
        "bytes"
    } else {
        "short"
    }
}

#[test]
fn panels_name_documented_metrics_in_their_units() {
    scenario("dashboards-units", |_| {
        for (dashboard, _) in DASHBOARDS {
            for Query { panel, expr, unit: shown } in queries(dashboard)? {
                let unknown = undocumented(&expr)?;
                ensure!(unknown.is_empty(), "{panel} asks for {unknown:?}, which no table in docs/ has");
                ensure!(shown == unit(&expr), "{panel} shows {expr} as {shown} in place of {}", unit(&expr));
            }
        }
        Ok(())
    });
}

#[test]
fn every_panel_shows_something_of_a_real_run() {
    scenario("dashboards", |folder| {
        let mut run = Monitored::start(folder, 4, 6, 2_500)?;
        run.ask()?;
        run.interrupt_redis()?;
        let deadline = Instant::now() + PATIENCE;
        for (dashboard, job) in DASHBOARDS {
            for Query { panel, expr, .. } in queries(dashboard)? {
                let query = expr.replace("$job", job).replace("$__rate_interval", "1m");
                while run.prometheus.query(&query).context(panel.clone())?.is_empty() {
                    ensure!(Instant::now() < deadline, "{panel} shows nothing: {query}");
                    run.ask()?;
                    std::thread::sleep(Duration::from_secs(1));
                }
            }
        }
        let failed = run.prometheus.failed_alerts()?;
        ensure!(failed.is_empty(), "alerts that cannot be evaluated: {failed:?}");
        let firing = run.prometheus.query("ALERTS{alertstate=\"firing\"}")?;
        ensure!(firing.is_empty(), "{} alerts fire in a run that is well", firing.len());
        Ok(())
    });
}
