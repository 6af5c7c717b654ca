//! A real browser: headless Chromium, driven over the W3C WebDriver protocol by its own driver.
//!
//! What the protocol has not, Chromium's driver adds: the console and the requests of a page as logs, and the DevTools
//! commands, which press real keys and move a real mouse.

use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use reqwest::blocking::Client;
use serde_json::{Value, json};

use crate::ports::Port;
use crate::{Folder, Process, cache};

/// How long the driver, a page or a change of it may take.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);
/// In CSS pixels.
const SIZE: (u32, u32) = (1200, 1000);

/// A browser with one page.
#[derive(Debug)]
pub struct Browser {
    http: Client,
    session: String,
    _driver: Process,
    _port: Port,
}

impl Browser {
    /// Starts a browser whose profile is in `folder`.
    pub fn start(folder: &Folder) -> Result<Self> {
        let port = Port::reserve()?;
        let mut driver = Command::new(cache::program("chromedriver")?);
        driver.arg(format!("--port={}", port.number()));
        let mut driver = Process::start("chromedriver", driver, &folder.path().join("chromedriver.log"))?;
        let base = format!("http://{}", port.address());
        let http = Client::builder().timeout(PATIENCE).no_proxy().build().context("making an HTTP client")?;
        let ready = || http.get(format!("{base}/status")).send().is_ok();
        driver.until("listened", PATIENCE, ready)?;
        let session = call(&http, &format!("{base}/session"), &capabilities(folder)?)?;
        let id = session["sessionId"].as_str().with_context(|| format!("no session: {session}"))?;
        let session = format!("{base}/session/{id}");
        let browser = Browser { http, session, _driver: driver, _port: port };
        // Away from the page that a new window shows, and its requests.
        browser.open("about:blank")?;
        browser.requests()?;
        Ok(browser)
    }

    /// Goes to `url`, and waits until it is loaded.
    pub fn open(&self, url: &str) -> Result<()> {
        self.post("url", &json!({ "url": url })).map(drop)
    }

    /// What the body of a function in the page returns; a promise is waited for.
    pub fn run(&self, script: &str) -> Result<Value> {
        self.run_with(script, &[])
    }

    /// The same; the script finds `arguments`.
    pub fn run_with(&self, script: &str, arguments: &[Value]) -> Result<Value> {
        self.post("execute/sync", &json!({ "script": script, "args": arguments }))
    }

    /// Waits until `script` returns something true, and returns that.
    pub fn until(&self, what: &str, script: &str) -> Result<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let value = self.run(script)?;
            if !matches!(value, Value::Null | Value::Bool(false)) {
                return Ok(value);
            }
            ensure!(Instant::now() < deadline, "{what} in vain: {script}");
            thread::sleep(POLL);
        }
    }

    /// Presses and releases a key, as `KeyboardEvent.key` names it, with its code in Windows' table.
    pub fn press(&self, key: &str, code: u32) -> Result<()> {
        let text = if key == "Enter" { "\r" } else { "" };
        let event = |kind: &str| json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text });
        self.devtools("Input.dispatchKeyEvent", &event("keyDown"))?;
        self.devtools("Input.dispatchKeyEvent", &event("keyUp"))
    }

    /// Clicks at a point of the window.
    pub fn click(&self, x: f64, y: f64) -> Result<()> {
        for kind in ["mouseMoved", "mousePressed", "mouseReleased"] {
            let event = json!({ "type": kind, "x": x, "y": y, "button": "left", "clickCount": 1 });
            self.devtools("Input.dispatchMouseEvent", &event)?;
        }
        Ok(())
    }

    /// Sets `prefers-color-scheme` to `light` or `dark`.
    pub fn prefer(&self, scheme: &str) -> Result<()> {
        let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
        self.devtools("Emulation.setEmulatedMedia", &json!({ "features": [feature] }))
    }

    /// The warnings and errors that the console has shown since the last call.
    pub fn console(&self) -> Result<Vec<String>> {
        let texts = self.log("browser")?.into_iter();
        Ok(texts.map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect())
    }

    /// The addresses that the page has asked for since the last call.
    pub fn requests(&self) -> Result<Vec<String>> {
        let mut urls = Vec::new();
        for entry in self.log("performance")? {
            let text = entry["message"].as_str().unwrap_or_default();
            let message: Value = serde_json::from_str(text).context("reading the log of DevTools")?;
            let message = &message["message"];
            if message["method"] == "Network.requestWillBeSent" {
                urls.extend(message["params"]["request"]["url"].as_str().map(str::to_owned));
            }
        }
        Ok(urls)
    }

    /// The window as a PNG.
    pub fn picture(&self) -> Result<Vec<u8>> {
        let url = format!("{}/screenshot", self.session);
        let answer = self.http.get(&url).send().with_context(|| format!("GET {url}"))?;
        let png = value(&url, answer)?;
        BASE64_STANDARD.decode(png.as_str().context("no picture")?).context("the picture is no base64")
    }

    /// Chromium's own commands.
    fn devtools(&self, command: &str, parameters: &Value) -> Result<()> {
        self.post("goog/cdp/execute", &json!({ "cmd": command, "params": parameters })).map(drop)
    }

    fn log(&self, kind: &str) -> Result<Vec<Value>> {
        match self.post("se/log", &json!({ "type": kind }))? {
            Value::Array(entries) => Ok(entries),
            other => bail!("no log: {other}"),
        }
    }

    fn post(&self, command: &str, body: &Value) -> Result<Value> {
        call(&self.http, &format!("{}/{command}", self.session), body)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Where this fails the driver's process group is ended all the same.
        self.http.delete(&self.session).send().ok();
    }
}

fn capabilities(folder: &Folder) -> Result<Value> {
    let profile: PathBuf = folder.dir("profile")?;
    let (width, height) = SIZE;
    // Root has no sandbox of Chromium's; it is for strangers' pages, and this shows none.
    let arguments = [
        "--headless=new".to_owned(),
        "--no-sandbox".to_owned(),
        "--disable-gpu".to_owned(),
        "--disable-dev-shm-usage".to_owned(),
        "--no-proxy-server".to_owned(),
        format!("--window-size={width},{height}"),
        format!("--user-data-dir={}", profile.display()),
    ];
    let chromium = cache::program("chromium")?;
    Ok(json!({ "capabilities": { "alwaysMatch": {
        "goog:chromeOptions": { "binary": chromium, "args": arguments },
        "goog:loggingPrefs": { "browser": "WARNING", "performance": "ALL" },
    } } }))
}

fn call(http: &Client, url: &str, body: &Value) -> Result<Value> {
    let answer = http.post(url).json(body).send().with_context(|| format!("POST {url}"))?;
    value(url, answer)
}

fn value(url: &str, answer: reqwest::blocking::Response) -> Result<Value> {
    let status = answer.status();
    let mut body: Value = answer.json().with_context(|| format!("{url}: no JSON"))?;
    ensure!(status.is_success(), "{url}: {}", body["value"]["message"].as_str().unwrap_or_default());
    Ok(body["value"].take())
}
