//! A change of what decides results never mixes two meanings in one state (I8): a worker with other settings
//! says so and leaves the state alone, and a raised epoch starts anew under the same names.

use std::time::Duration;

use anyhow::{Context, ensure};
use tips_e2e::worker::{Data, polygons};
use tips_e2e::{Servers, scenario};

const PATIENCE: Duration = Duration::from_secs(120);
const DATA: [&str; 10] =
    ["--seed", "22", "--rate", "3", "--span", "3h", "--disorder", "10m", "--invalid", "0.01"];
const REFUSAL: [&str; 2] =
    ["the state in Redis belongs to other settings", "raise `spec.epoch` to start anew"];

#[test]
fn other_settings_are_refused_and_a_raised_epoch_starts_anew() {
    scenario("settings-change", |folder| {
        let servers = Servers::start(folder)?;
        let data = Data::generate(folder, &DATA)?;
        data.produce(&servers.kafka, "change")?;
        let mut pipeline = servers.pipeline("change", &["epoch: 0", "job: {slide: 10m}"])?;
        pipeline.catch_up(1, PATIENCE)?;
        let closed = servers.closed("change")?;
        data.oracle("change", Some(closed.clone())).check(&pipeline.output()?)?;

        let text = std::fs::read_to_string(polygons()).context("reading the polygons")?;
        let renamed =
            folder.file("renamed.geojson", text.replacen("\"name\":", "\"name\": \"A \" ,\"old\":", 1))?;
        pipeline.set("TIPS_NEIGHBOURHOODS", &renamed.display().to_string());
        pipeline.refused(3, &REFUSAL)?;
        pipeline.set("TIPS_NEIGHBOURHOODS", "");
        pipeline.change("slide: 10m", "slide: 5m")?;
        pipeline.refused(3, &REFUSAL)?;
        data.oracle("change", Some(closed.clone())).check(&pipeline.output()?)?;

        pipeline.change("epoch: 0", "epoch: 1")?;
        pipeline.catch_up(1, PATIENCE)?;
        let mut oracle = data.oracle("change", Some(closed.clone()));
        oracle.settings.push("--slide=300".into());
        oracle.check(&pipeline.output()?)?;
        pipeline.verify()?;

        // The older epoch may still run somewhere: it finds its own state, and leaves the newer files alone.
        pipeline.change("slide: 5m", "slide: 10m")?;
        pipeline.change("epoch: 1", "epoch: 0")?;
        pipeline.catch_up(1, PATIENCE)?;
        oracle.check(&pipeline.output()?)?;
        ensure!(servers.closed("change")? == closed, "both epochs have read the same");
        Ok(())
    });
}
