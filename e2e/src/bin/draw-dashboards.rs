//! Draws `docs/pictures`: the dashboards, of a run of five minutes with an outage of Redis in it.

use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use tips_e2e::monitored::{Monitored, OPERATOR, WORKERS};
use tips_e2e::process::run;
use tips_e2e::{Folder, cache};

const PHASE: Duration = Duration::from_secs(150);

fn main() -> Result<()> {
    let folder = Folder::new("draw-dashboards")?;
    let mut monitored = Monitored::start(&folder, 6, 6, 1_000)?;
    sleep(PHASE);
    monitored.interrupt_redis()?;
    sleep(PHASE);
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (dashboard, job) in [("pipeline", WORKERS), ("operator", OPERATOR)] {
        let mut draw = Command::new(cache::python()?);
        draw.arg(tree.join("e2e/monitoring/draw.py"));
        draw.args(["--prometheus", &monitored.prometheus.address(), "--job", job]);
        draw.arg(tree.join(format!("charts/tipstream/dashboards/{dashboard}.json")));
        draw.arg(tree.join(format!("docs/pictures/{dashboard}.svg")));
        run(&mut draw)?;
    }
    Ok(())
}
