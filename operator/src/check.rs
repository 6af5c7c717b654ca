//! `tips-operator check`: whether an operator with these rights can work here, and one does. It is what `helm test`
//! runs.
//!
//! Nothing is written, and nothing is needed that every service account may not ask: what the API server serves and
//! what oneself may do, and, as an operator, its Lease.

use std::fmt::Display;
use std::time::Duration;

use anyhow::{Context as _, bail};
use axum::http::Request;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::rbac::v1::PolicyRule;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use kube::api::PostParams;
use kube::{Api, Client, Resource as _};
use serde_json::Value;
use tipstream_crds::TipsPipeline;
use tokio::time::{Instant, sleep};

use crate::cli::ScopeArgs;
use crate::leader;
use crate::rbac;

/// A leader renews every few seconds, and one that has died is replaced within this time.
const LEADER_PATIENCE: Duration = Duration::from_secs(20);
/// The API server describes a kind that was just installed or changed a moment later.
const DESCRIBED_PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(500);
/// Questions at once.
const AT_ONCE: usize = 16;

/// What was found to be well, a line each.
///
/// # Errors
/// Where something is not: all of it, with what to do.
pub async fn run(args: ScopeArgs) -> anyhow::Result<String> {
    let client = Client::try_default().await.context("cannot find the API server")?;
    let version = client.apiserver_version().await.context("the API server does not answer")?;
    let namespace = args.lease_namespace(&client);
    let lease = Own { namespace: &namespace, lease: &args.lease };
    let mut report = Report::default();
    report.add(Ok(format!("the API server answers: {}", version.git_version)));
    report.add(kind_is_served(&client).await);
    report.add(rights_suffice(&client, args.namespace.as_deref(), lease).await);
    report.add(somebody_leads(&client, lease).await);
    report.finish()
}

#[derive(Default)]
struct Report {
    lines: Vec<String>,
    amiss: usize,
}

impl Report {
    fn add(&mut self, found: anyhow::Result<String>) {
        let (mark, line) = match found {
            Ok(line) => ("ok", line),
            Err(error) => {
                self.amiss += 1;
                ("AMISS", format!("{error:#}"))
            }
        };
        self.lines.push(format!("{mark}: {line}\n"));
    }

    fn finish(self) -> anyhow::Result<String> {
        let text = self.lines.concat();
        if self.amiss > 0 {
            bail!("{} of {} checks found something\n{}", self.amiss, self.lines.len(), text.trim_end());
        }
        Ok(text)
    }
}

async fn kind_is_served(client: &Client) -> anyhow::Result<String> {
    let version = TipsPipeline::api_version(&());
    let advice =
        "install the chart with crd.install=true, or: tips-operator crd | kubectl apply --server-side -f -";
    let served = client
        .list_api_group_resources(&version)
        .await
        .with_context(|| format!("{version} is not served; {advice}"))?;
    let plural = TipsPipeline::plural(&());
    for name in [plural.to_string(), format!("{plural}/status"), format!("{plural}/scale")] {
        if !served.resources.iter().any(|resource| resource.name == name) {
            bail!("{name} of {version} is not served; {advice}");
        }
    }
    let deadline = Instant::now() + DESCRIBED_PATIENCE;
    let lacking = loop {
        let lacking = lacking_fields(client, &version).await;
        let is_settled = lacking.as_ref().is_ok_and(Vec::is_empty);
        if is_settled || Instant::now() > deadline {
            break lacking.context("the API server does not describe the kind")?;
        }
        sleep(POLL).await;
    };
    if !lacking.is_empty() {
        // By server-side apply, which refuses a whole status for a field that the kind does not have.
        bail!(
            "the kind {version} that is served is not that of this operator, which cannot write a status: it lacks {}; \
             {advice}",
            lacking.join(", ")
        );
    }
    Ok(format!("{plural} are served as {version}"))
}

/// The fields that this operator knows and the kind that is served does not have.
async fn lacking_fields(client: &Client, version: &str) -> anyhow::Result<Vec<String>> {
    let request = Request::get(format!("/openapi/v3/apis/{version}")).body(Vec::new())?;
    let served: Value = client.request(request).await?;
    let name = format!("dev.tipstream.{}.{}", TipsPipeline::version(&()), TipsPipeline::kind(&()));
    let served = &served["components"]["schemas"][&*name];
    let versions = tipstream_crds::crd().spec.versions.into_iter();
    let schemas = versions.filter_map(|version| version.schema?.open_api_v3_schema);
    let mut lacking = Vec::new();
    schemas.for_each(|ours| compare("", &ours, served, &mut lacking));
    Ok(lacking)
}

fn compare(path: &str, ours: &JSONSchemaProps, served: &Value, lacking: &mut Vec<String>) {
    for (name, field) in ours.properties.iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match &served["properties"][name] {
            Value::Null => lacking.push(path),
            served => compare(&path, field, served, lacking),
        }
    }
}

/// Where the operator's own Lease is.
#[derive(Clone, Copy)]
struct Own<'a> {
    namespace: &'a str,
    lease: &'a str,
}

/// Asks for each right by itself: a list of one's rules may be incomplete, as the API server says of it.
async fn rights_suffice(client: &Client, watched: Option<&str>, own: Own<'_>) -> anyhow::Result<String> {
    let roles = rbac::roles();
    let of_pipelines = roles.pipelines.iter().flat_map(|rule| rights(rule, watched, None));
    let of_own = roles.own.iter().flat_map(|rule| rights(rule, Some(own.namespace), Some(own.lease)));
    let wanted: Vec<_> = of_pipelines.chain(of_own).collect();
    let number = wanted.len();
    let answers = stream::iter(wanted).map(|right| async move {
        let allowed = is_allowed(client, &right).await?;
        anyhow::Ok((!allowed).then(|| described(&right)))
    });
    let lacking: Vec<Option<String>> = answers.buffered(AT_ONCE).try_collect().await?;
    let lacking: Vec<_> = lacking.into_iter().flatten().collect();
    if !lacking.is_empty() {
        bail!(
            "of the {number} rights that `tips-operator rbac` lists, these are lacking: {}; install the chart with \
             rbac.create=true, or give them to the operator's service account",
            lacking.join(", ")
        );
    }
    Ok(format!("the rights suffice: all {number}"))
}

/// The rights of `rule` in `namespace`, or in all; on the one object `name`, as far as it has a name before it is
/// there.
fn rights(rule: &PolicyRule, namespace: Option<&str>, name: Option<&str>) -> Vec<ResourceAttributes> {
    let groups = rule.api_groups.iter().flatten();
    let resources = groups.flat_map(|group| rule.resources.iter().flatten().map(move |name| (group, name)));
    let of_resource = |(group, resource): (&String, &String)| {
        let (resource, subresource) = match resource.split_once('/') {
            Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
            None => (&**resource, None),
        };
        let right = ResourceAttributes {
            group: Some(group.clone()),
            resource: Some(resource.to_owned()),
            subresource,
            namespace: namespace.map(str::to_owned),
            ..ResourceAttributes::default()
        };
        let with_verb = |verb: &String| ResourceAttributes {
            verb: Some(verb.clone()),
            name: name.filter(|_| verb != "create").map(str::to_owned),
            ..right.clone()
        };
        rule.verbs.iter().map(with_verb).collect::<Vec<_>>()
    };
    resources.flat_map(of_resource).collect()
}

async fn is_allowed(client: &Client, right: &ResourceAttributes) -> anyhow::Result<bool> {
    let spec = SelfSubjectAccessReviewSpec {
        resource_attributes: Some(right.clone()),
        non_resource_attributes: None,
    };
    let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
    let answer = Api::all(client.clone()).create(&PostParams::default(), &review).await;
    let status = answer.context("the API server does not say what is allowed")?.status;
    Ok(status.is_some_and(|status| status.allowed))
}

fn described(right: &ResourceAttributes) -> String {
    let word = |text: &Option<String>| text.clone().unwrap_or_default();
    let mut resource = word(&right.resource);
    if let Some(subresource) = &right.subresource {
        resource = format!("{resource}/{subresource}");
    }
    if let Some(group) = right.group.as_deref().filter(|group| !group.is_empty()) {
        resource = format!("{resource}.{group}");
    }
    let place = match &right.namespace {
        Some(namespace) => format!("namespace {namespace}"),
        None => "all namespaces".to_owned(),
    };
    format!("{} {resource} in {place}", word(&right.verb))
}

/// Whether a Lease is held is not to be told from its times, since clocks differ: it is by being renewed.
async fn somebody_leads(client: &Client, own: Own<'_>) -> anyhow::Result<String> {
    let leases = Api::<Lease>::namespaced(client.clone(), own.namespace);
    let deadline = Instant::now() + LEADER_PATIENCE;
    let mut before = None;
    loop {
        let found =
            leases.get_opt(own.lease).await.with_context(|| format!("cannot read the Lease {own}"))?;
        let version = found.as_ref().and_then(|lease| lease.metadata.resource_version.clone());
        let holder = found.as_ref().and_then(leader::holder).map(str::to_owned);
        match holder {
            Some(holder) if before.is_some() && before != version => {
                return Ok(format!("an operator leads: {holder} renews the Lease {own}"));
            }
            holder if Instant::now() >= deadline => match holder {
                Some(holder) => {
                    bail!("{holder} holds the Lease {own} and does not renew it: no operator leads")
                }
                None => bail!("nobody holds the Lease {own}: no operator leads; look at the operator's pods"),
            },
            _ => {}
        }
        before = version;
        sleep(POLL).await;
    }
}

impl Display for Own<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.lease)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_field_that_is_not_served_is_named_where_it_is() {
        let ours = json!({"properties": {"spec": {"properties": {"job": {"properties": {"window": {}}}}},
            "status": {"properties": {"lag": {"properties": {"records": {}, "seconds": {}}}, "books": {}}}}});
        let ours: JSONSchemaProps = serde_json::from_value(ours).expect("a schema");
        let served = json!({"properties": {"spec": {"properties": {"job": {"properties": {"window": {}}}, "more": {}}},
            "status": {"properties": {"lag": {"properties": {"records": {}}}}}}});
        let mut lacking = Vec::new();
        compare("", &ours, &served, &mut lacking);
        assert_eq!(lacking, ["status.books", "status.lag.seconds"]);
    }
}
