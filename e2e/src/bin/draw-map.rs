//! Draws `docs/map.png`, the map of the demo's data in a real browser.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use tips_e2e::Folder;
use tips_e2e::browser::Browser;
use tips_e2e::served::{DEMO, Served};
use tips_e2e::worker::Data;

const PICTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/map.png");
const PATIENCE: Duration = Duration::from_secs(300);
const DATA: [&str; 8] = ["--seed", "7", "--rate", "40", "--span", "6h", "--disorder", "5m"];
const WINDOW: &str = "2013-01-01 05:00";
const NEIGHBOURHOOD: &str = "Chelsea";

/// Steps back until the window is shown, and chooses the neighbourhood.
const CHOOSE: &str = "\
    const slider = document.getElementById('slider');
    while (!document.getElementById('window').value.startsWith(arguments[0]) && slider.valueAsNumber > 0) {
      slider.value = slider.valueAsNumber - 1;
      slider.dispatchEvent(new Event('input'));
    }
    document.querySelector(`tr[data-name='${arguments[1]}'] button`).click();";

fn main() -> Result<()> {
    let folder = Folder::new("draw-map")?;
    let data = Data::generate(&folder, &DATA)?;
    let mut served = Served::start(&folder, "output", DEMO, &data, &[])?;
    served.process.until_said("until Ctrl-C", PATIENCE)?;
    let browser = Browser::start(&folder)?;
    browser.prefer("light")?;
    browser.open(&served.url)?;
    browser.until("the map", "return document.querySelector('#cells tr') !== null")?;
    browser.run_with(CHOOSE, &[WINDOW.into(), NEIGHBOURHOOD.into()])?;
    let drawn = format!(
        "return document.getElementById('line').getAttribute('aria-label').includes('{NEIGHBOURHOOD}') && \
         document.querySelector('#points tr:last-child th').textContent.startsWith('{WINDOW}')"
    );
    browser.until("the line", &drawn)?;
    std::fs::write(Path::new(PICTURE), browser.picture()?).context("writing the picture")
}
