//! The operator's Helm chart: what it renders is as recorded, the API server takes it, and Helm installs, upgrades,
//! rolls back and uninstalls it without touching a pipeline.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use tips_e2e::kubernetes::{Cluster, ControlPlane};
use tips_e2e::process::run;
use tips_e2e::{cache, operator, scenario};

const SOON: Duration = Duration::from_secs(30);
const NAMESPACE: &str = "tips-system";
/// Each is a file of values and one of what the chart makes of them.
const GOLDEN: [&str; 4] = ["default", "namespaced", "everything", "nothing"];
/// Set, the recorded files are written anew.
const UPDATE: &str = "TIPS_UPDATE_GOLDEN";

fn path(of_tree: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(of_tree)
}

fn chart() -> String {
    operator::chart().display().to_string()
}

fn values(case: &str) -> String {
    path(&format!("e2e/golden/chart/{case}.values.yaml")).display().to_string()
}

/// Helm without a cluster.
fn helm(arguments: &[&str]) -> Result<String> {
    run(Command::new(cache::binary("helm")?).args(arguments).env_remove("KUBECONFIG"))
}

fn render(arguments: &[&str]) -> Result<String> {
    helm(&[&["template", "tips", &chart(), "--namespace", NAMESPACE], arguments].concat())
}

#[test]
fn helm_finds_nothing_to_say_of_the_chart() {
    scenario("chart-lint", |_| {
        for case in GOLDEN {
            helm(&["lint", "--strict", "--quiet", &chart(), "--values", &values(case)])?;
        }
        Ok(())
    });
}

#[test]
fn the_chart_renders_what_is_recorded() {
    scenario("chart-golden", |_| {
        let values = GOLDEN.map(|case| (case, values(case)));
        let cases = values.iter().map(|(case, values)| (*case, vec!["--values", values]));
        // What comes with the CRD, which the others leave out for its length.
        let with_crd = vec!["--set", "crd.install=true", "--show-only", "templates/aggregate.yaml"];
        for (case, arguments) in cases.chain([("aggregate", with_crd)]) {
            let rendered = render(&arguments)?;
            let golden = path(&format!("e2e/golden/chart/{case}.yaml"));
            if std::env::var_os(UPDATE).is_some() {
                fs::write(&golden, &rendered).with_context(|| format!("writing {}", golden.display()))?;
            }
            let recorded = fs::read_to_string(&golden).unwrap_or_default();
            ensure!(
                rendered == recorded,
                "{} is not what the chart renders now. If that is right, run this test with {UPDATE}=1 and \
                 look at the difference.\n{rendered}",
                golden.display()
            );
        }
        Ok(())
    });
}

#[test]
fn the_chart_has_the_crd_of_the_types() {
    scenario("chart-files", |_| {
        let [copy, original] = ["charts/tipstream/files/crd.yaml", "crds/tipspipelines.yaml"].map(path);
        let same = fs::read(&copy).context("reading a copy")? == fs::read(&original).context("reading")?;
        ensure!(same, "{} is not {}: run `make crds`", copy.display(), original.display());
        Ok(())
    });
}

#[test]
fn each_dashboard_is_a_config_map_as_it_is() {
    scenario("chart-dashboards", |_| {
        let values = ["dashboards.create=true", "dashboards.annotations.grafana_folder=taxi"].join(",");
        let rendered = render(&["--set", &values, "--show-only", "templates/dashboards.yaml"])?;
        for name in ["pipeline", "query", "operator"] {
            let file = path(&format!("charts/tipstream/dashboards/{name}.json"));
            let dashboard =
                fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
            let object = rendered
                .split("---\n")
                .find(|object| object.contains(&format!("name: tips-tipstream-{name}\n")))
                .with_context(|| format!("no ConfigMap of {name}"))?;
            let object: Dashboard = serde_saphyr::from_str(object).context("reading a ConfigMap")?;
            ensure!(object.data.get(&format!("tipstream-{name}.json")) == Some(&dashboard), "{name} differs");
            let labelled = object.metadata.labels.get("grafana_dashboard").is_some_and(|label| label == "1");
            ensure!(labelled, "Grafana's sidecar does not find {name}");
            ensure!(object.metadata.annotations["grafana_folder"] == "taxi", "{name} has no folder");
        }
        Ok(())
    });
}

#[derive(Deserialize)]
struct Dashboard {
    metadata: Metadata,
    data: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Metadata {
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

#[test]
fn a_wrong_value_is_refused_by_name() {
    scenario("chart-values", |_| {
        for (setting, message) in [
            ("replica=3", "additional properties 'replica' not allowed"),
            ("replicas=-1", "'/replicas': minimum: got -1, want 0"),
            ("watchNamespace=Taxi", "'/watchNamespace': 'Taxi' does not match pattern"),
            ("image.repository=", "'/image/repository': '' does not match pattern"),
            ("image.digest=sha256:1", "'/image/digest'"),
            ("image.pullPolicy=Sometimes", "'/image/pullPolicy'"),
            ("podMonitor.interval=often", "'/podMonitor/interval'"),
            ("dashboards.labels.grafana_dashboard=1", "'/dashboards/labels/grafana_dashboard'"),
        ] {
            let refused = render(&["--set", setting]).map_err(|error| error.to_string());
            ensure!(refused.as_ref().is_err_and(|error| error.contains(message)), "{setting}: {refused:?}");
        }
        Ok(())
    });
}

/// Makes namespaces that take only pods of the level `restricted`.
fn restricted(cluster: &Cluster) -> Result<()> {
    for namespace in [NAMESPACE, "taxi"] {
        cluster.kubectl(&["create", "namespace", namespace])?;
        let levels = ["enforce", "warn"].map(|mode| format!("pod-security.kubernetes.io/{mode}=restricted"));
        cluster.kubectl(&["label", "namespace", namespace, &levels[0], &levels[1]])?;
    }
    Ok(())
}

#[test]
fn the_api_server_takes_all_that_the_chart_renders_without_a_warning() {
    scenario("chart-dry-run", |folder| {
        let control_plane = ControlPlane::start(folder)?;
        let cluster = control_plane.cluster();
        restricted(cluster)?;
        for (kind, manifest) in [
            ("podmonitors", include_str!("../manifests/podmonitors.yaml")),
            ("prometheusrules", include_str!("../manifests/prometheusrules.yaml")),
        ] {
            let crd = format!("customresourcedefinition/{kind}.monitoring.coreos.com");
            cluster.apply(manifest)?;
            cluster.kubectl(&["wait", "--for=condition=Established", &crd, "--timeout=30s"])?;
        }
        let with_crd = ["crd.install=true,dashboards.create=true", "crd.install=false"];
        let with_crd = with_crd.map(|value| ["--set", value]);
        for case in GOLDEN {
            for more in with_crd {
                let rendered = render(&[&["--values", &values(case)], &more[..]].concat())?;
                make_accounts(cluster, &rendered)?;
                let manifest = folder.file("rendered.yaml", rendered)?;
                let mut command = cluster.client("kubectl")?;
                let output = command
                    .args(["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f"])
                    .arg(manifest)
                    .output()
                    .context("starting kubectl")?;
                let said = String::from_utf8_lossy(&output.stderr);
                ensure!(output.status.success() && said.is_empty(), "{case}: {said}");
            }
        }
        Ok(())
    });
}

/// A pod is not admitted before its service account is there, which a dry run does not bring about.
fn make_accounts(cluster: &Cluster, rendered: &str) -> Result<()> {
    for name in rendered.lines().filter_map(|line| line.trim().strip_prefix("serviceAccountName: ")) {
        let account = format!(
            "{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: {name}, namespace: {NAMESPACE}}}}}"
        );
        cluster.apply(&account)?;
    }
    Ok(())
}

const PIPELINE: &str = "
apiVersion: tipstream.dev/v1alpha1
kind: TipsPipeline
metadata: {name: nyc, namespace: taxi}
spec:
  kafka: {bootstrapServers: 'kafka:9092', ridesTopic: rides, faresTopic: fares}
  redis: {urls: ['redis://redis:6379']}
  sink: {volume: {claimName: lake, path: nyc}}
";

#[test]
fn pipelines_outlive_upgrade_rollback_and_uninstall() {
    scenario("chart-lifecycle", |folder| {
        let control_plane = ControlPlane::start(folder)?;
        let cluster = control_plane.cluster();
        restricted(cluster)?;
        let helm = |verb: &str, arguments: &[&str]| {
            cluster.helm(&[&[verb, "tips", "--namespace", NAMESPACE], arguments].concat())
        };
        let uid =
            || cluster.kubectl(&["get", "tips/nyc", "--namespace=taxi", "--output=jsonpath={.metadata.uid}"]);
        let by_category = |found: bool| {
            cluster.until(&["api-resources", "--categories=streaming"], SOON, |kinds| {
                kinds.contains("tipspipelines") == found
            })
        };

        let notes = helm("install", &[&operator::older_chart(folder)?.display().to_string()])?;
        ensure!(notes.contains("kubectl wait --for=condition=Ready tips/taxi"), "{notes}");
        cluster.kubectl(&["wait", "--for=condition=Established", CRD, "--timeout=30s"])?;
        cluster.apply(PIPELINE)?;
        let created = uid()?;
        by_category(false)?;

        helm("upgrade", &[&chart(), "--set", "replicas=3"])?;
        ensure!(replicas(cluster)? == "3");
        by_category(true)?;
        helm("rollback", &["1"])?;
        ensure!(replicas(cluster)? == "2");
        by_category(false)?;
        ensure!(uid()? == created, "it is another pipeline");

        helm("uninstall", &["--wait"])?;
        ensure!(uid()? == created, "it is gone with the operator");
        helm("install", &[&chart()])?;
        by_category(true)?;
        ensure!(uid()? == created);
        for role in ["view", "edit"] {
            let (of, whom) = (format!("--clusterrole={role}"), format!("--user={role}"));
            cluster.kubectl(&["create", "rolebinding", role, &of, &whom, "--namespace=taxi"])?;
        }
        let asked =
            |user, verb| ["auth", "can-i", verb, "tipspipelines.tipstream.dev", user, "--namespace=taxi"];
        cluster.until(&asked("--as=edit", "create"), SOON, |_| true)?;
        cluster.until(&asked("--as=view", "get"), SOON, |_| true)?;
        ensure!(cluster.kubectl(&asked("--as=view", "patch")).is_err(), "who may view may edit");
        Ok(())
    });
}

const CRD: &str = "customresourcedefinition/tipspipelines.tipstream.dev";

fn replicas(cluster: &Cluster) -> Result<String> {
    let path = "--output=jsonpath={.spec.replicas}";
    cluster.kubectl(&["get", "deployment/tips-tipstream", "--namespace", NAMESPACE, path])
}
