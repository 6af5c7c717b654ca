//! Draws `docs/pictures`: the dashboards, of a run of five minutes with an outage of Redis in it.

use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;
use tips_e2e::monitored::{Monitored, OPERATOR, QUERY, WORKERS};
use tips_e2e::process::run;
use tips_e2e::{Folder, cache};

const PHASE: Duration = Duration::from_secs(150);
/// How often a person looks at the results.
const LOOK: Duration = Duration::from_secs(1);

fn main() -> Result<()> {
    let folder = Folder::new("draw-dashboards")?;
    let mut monitored = Monitored::start(&folder, 6, 6, 1_000)?;
    asked_for(PHASE, &monitored)?;
    monitored.interrupt_redis()?;
    asked_for(PHASE, &monitored)?;
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (dashboard, job) in [("pipeline", WORKERS), ("query", QUERY), ("operator", OPERATOR)] {
        let mut draw = Command::new(cache::python()?);
        draw.arg(tree.join("e2e/monitoring/draw.py"));
        draw.args(["--prometheus", &monitored.prometheus.address(), "--job", job]);
        draw.arg(tree.join(format!("charts/tipstream/dashboards/{dashboard}.json")));
        draw.arg(tree.join(format!("docs/pictures/{dashboard}.svg")));
        run(&mut draw)?;
    }
    Ok(())
}

/// Waits for `phase`, in which the results are looked at.
fn asked_for(phase: Duration, monitored: &Monitored<'_>) -> Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < phase {
        monitored.ask()?;
        sleep(LOOK);
    }
    Ok(())
}
