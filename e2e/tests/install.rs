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
use tips_e2e::{Folder, cache, operator, scenario};

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

/// Beside the program: the libraries that it is linked with, and the certificates.
const MOST_BESIDE: u64 = 8 << 20;

#[test]
fn an_image_is_labelled_small_and_each_time_the_same() {
    scenario("image", |folder| {
        let program = program(folder, operator::binary()?, "tips-operator")?;
        let make = || Image::make(folder, "tipstream.test/tips-operator:1.2.3", &program);
        let first = fs::read(make()?.file())?;
        let image = make()?;
        ensure!(fs::read(image.file())? == first, "two images of the same have other bytes");

        let beside = (first.len() as u64).saturating_sub(fs::metadata(&program)?.len());
        ensure!(beside < MOST_BESIDE, "{beside} bytes beside the program");
        let member = |name: &str| -> Result<Value> {
            let mut tar = Command::new("tar");
            let text = run(tar.arg("-xOf").arg(image.file()).arg(format!("./{name}")))?;
            serde_json::from_str(&text).with_context(|| format!("{name}: {text}"))
        };
        let config =
            member("manifest.json")?[0]["Config"].as_str().map(member).context("no configuration")??;
        let config = &config["config"];
        let label = |name: &str| config["Labels"][format!("org.opencontainers.image.{name}")].clone();
        ensure!(label("title") == "tips-operator" && label("version") == "1.2.3", "{config}");
        ensure!(label("licenses") == "Apache-2.0" && label("description").is_string(), "{config}");
        ensure!(config["User"] == "65532:65532", "{config}");
        ensure!(config["Entrypoint"] == json!(["/usr/bin/tips-operator"]), "{config}");
        Ok(())
    });
}

#[test]
fn a_linter_finds_nothing_in_the_dockerfile() {
    scenario("dockerfile", |_| {
        let dockerfile = Path::new(env!("CARGO_MANIFEST_DIR")).join("../images/Dockerfile");
        run(Command::new(cache::hadolint()?).arg(dockerfile)).map(drop)
    });
}
