//! What service accounts have asked of an API server, by its audit log.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::Value;

/// A line of metadata for each request of a service account that is not Kubernetes' own.
const POLICY: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
  - {level: None, userGroups: ['system:serviceaccounts:kube-system', 'system:masters', 'system:nodes']}
  - {level: Metadata, userGroups: ['system:serviceaccounts']}
  - {level: None}
";

/// A right, as rules of RBAC grant it: group, resource with its subresource, and verb.
pub type Asked = (String, String, String);

/// Writes the policy; the flags by which an API server keeps to it.
pub(super) fn flags(dir: &Path) -> Result<[String; 2]> {
    let policy = dir.join("audit.yaml");
    fs::write(&policy, POLICY).context("writing the audit policy")?;
    let flag = |name: &str, path: PathBuf| format!("--audit-{name}={}", path.display());
    Ok([flag("policy-file", policy), flag("log-path", log(dir))])
}

fn log(dir: &Path) -> PathBuf {
    dir.join("audit.log")
}

/// What the service account `name` has used: a request that was refused, or had nothing to do with objects, is none.
pub(super) fn by(dir: &Path, namespace: &str, name: &str) -> Result<BTreeSet<Asked>> {
    let user = format!("system:serviceaccount:{namespace}:{name}");
    let text = fs::read_to_string(log(dir)).context("reading the audit log")?;
    let mut asked = BTreeSet::new();
    // The last line may be half written.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    for line in whole.lines() {
        let event: Value = serde_json::from_str(line).context("a line of the audit log")?;
        let (object, code) =
            (&event["objectRef"], event["responseStatus"]["code"].as_i64().unwrap_or_default());
        if event["user"]["username"] != user.as_str() || object["resource"].is_null() || code == 403 {
            continue;
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut resource = text(&object["resource"]);
        if let Some(part) = object["subresource"].as_str() {
            resource = format!("{resource}/{part}");
        }
        let right = |verb: String| (text(&object["apiGroup"]), resource.clone(), verb);
        asked.insert(right(text(&event["verb"])));
        // A patch that creates is held to both.
        if event["verb"] == "patch" && code == 201 {
            asked.insert(right("create".to_owned()));
        }
    }
    Ok(asked)
}
