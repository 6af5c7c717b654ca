//! Helm installs the real operator on a real node: it runs under the rights of the chart and the level `restricted`. Of
//! the images' Dockerfile, which needs a container engine, a linter speaks.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tips_e2e::kubernetes::{Image, Namespace, Pods};
use tips_e2e::process::run;
use tips_e2e::{Folder, cache, operator, query, scenario, worker};

const SOON: Duration = Duration::from_secs(60);
const LEADER: [&str; 4] = ["get", "lease", "tips-tipstream", "--output=jsonpath={.spec.holderIdentity}"];

fn program(folder: &Folder, binary: PathBuf, name: &str) -> Result<PathBuf> {
    let program = folder.path().join(name);
    fs::copy(&binary, &program).with_context(|| format!("copying {}", binary.display()))?;
    Ok(program)
}

#[test]
fn two_operators_run_as_the_chart_says_and_one_leads() {
    scenario("install", |folder| {
        let Some(pods) = Pods::start(folder)? else {
            return Ok(());
        };
        let cluster = pods.cluster();
        let image = pods.image(folder, &program(folder, operator::binary()?, "tips-operator")?)?;
        let (repository, tag) = image.rsplit_once(':').context("an image without a tag")?;
        let namespace = Namespace::create(cluster, "tips-install")?;
        let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/tipstream").display().to_string();
        let set =
            format!("image.repository={repository},image.tag={tag},watchNamespace={}", namespace.name());
        let release = ["--namespace", namespace.name(), "--wait", "--timeout=2m"];
        cluster.helm(&[&["install", "tips", &chart, "--set", &set], &release[..]].concat())?;

        let led = |old: &str| {
            let query = [&LEADER[..], &["--namespace", namespace.name()]].concat();
            cluster.until(&query, SOON, |holder| !holder.is_empty() && holder != old)
        };
        let leader = led("")?;
        cluster.helm(&["test", "tips", "--namespace", namespace.name()])?;
        for pod in namespace.kubectl(&["get", "pods", "--output=name"])?.lines() {
            let log = namespace.kubectl(&["logs", pod])?;
            ensure!(!log.contains("orbidden"), "{log}");
        }
        let pod = leader.split(['_', '/']).next().unwrap_or_default();
        namespace.kubectl(&["delete", "pod", pod, "--grace-period=0", "--force"])?;
        led(&leader)?;
        cluster.helm(&["uninstall", "tips", "--namespace", namespace.name(), "--wait"])?;
        Ok(())
    });
}

#[test]
fn the_image_of_the_operator_is_labelled_small_and_each_time_the_same() {
    scenario("operator-image", |folder| {
        let program = program(folder, operator::binary()?, "tips-operator")?;
        is_as_promised(folder, "tips-operator", &[&program], 6 << 20)
    });
}

#[test]
fn the_image_of_the_worker_is_labelled_small_and_each_time_the_same() {
    scenario("worker-image", |folder| {
        let worker = program(folder, worker::binary()?, "tips-worker")?;
        let query = program(folder, query::binary()?, "tips-query")?;
        is_as_promised(folder, "tips-worker", &[&worker, &query], 8 << 20)
    });
}

/// `most_beside` is what there may be beside the programs: the libraries that they are linked with or load, and the
/// certificates. How large the programs are is a matter of their profile.
fn is_as_promised(folder: &Folder, title: &str, programs: &[&Path], most_beside: u64) -> Result<()> {
    let (first, more) = programs.split_first().context("an image of no program")?;
    let make = || Image::make_with(folder, &format!("tipstream.test/{title}:1.2.3"), first, more);
    let once = digest(make()?.file())?;
    let image = make()?;
    ensure!(digest(image.file())? == once, "two images of the same have other bytes");

    let mut beside = fs::metadata(image.file())?.len();
    for program in programs {
        beside = beside.saturating_sub(fs::metadata(program)?.len());
    }
    ensure!(beside < most_beside, "{beside} bytes beside the programs");
    let manifest: Value = serde_json::from_str(&member(&image, "manifest.json")?)?;
    let named = |value: &Value| value.as_str().map(str::to_owned).context("a manifest without a name");
    let config: Value = serde_json::from_str(&member(&image, &named(&manifest[0]["Config"])?)?)?;
    let config = &config["config"];
    let label = |name: &str| config["Labels"][format!("org.opencontainers.image.{name}")].clone();
    ensure!(label("title") == title && label("version") == "1.2.3", "{config}");
    ensure!(label("licenses") == "Apache-2.0" && label("description").is_string(), "{config}");
    ensure!(label("revision").is_string(), "{config}");
    ensure!(config["User"] == "65532:65532", "{config}");
    ensure!(config["Entrypoint"] == json!([format!("/usr/bin/{title}")]), "{config}");
    Ok(())
}

fn digest(file: &Path) -> Result<String> {
    run(Command::new("sha256sum").arg(file))
}

fn member(image: &Image, name: &str) -> Result<String> {
    run(Command::new("tar").arg("-xOf").arg(image.file()).arg(format!("./{name}")))
}

#[test]
fn a_linter_finds_nothing_in_the_dockerfile() {
    scenario("dockerfile", |_| {
        let dockerfile = Path::new(env!("CARGO_MANIFEST_DIR")).join("../images/Dockerfile");
        run(Command::new(cache::hadolint()?).arg(dockerfile)).map(drop)
    });
}
