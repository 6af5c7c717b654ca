//! `spec.workload`: how the pods of a pipeline are made, be they workers, query service or compaction.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, EnvVar, ResourceRequirements, Toleration, TopologySpreadConstraint, Volume, VolumeMount,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::name::{self, is_label_value, is_qualified, is_subdomain};
use crate::resources;
use crate::rule::{Rule, Ruled};

/// How the pods are made: of the workers, of the query service and of the compaction. What is not
/// said here, the operator decides; what is said is added to it. The fields have the names and the
/// meaning that they have in a Pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = <Self as Ruled>::rules)]
pub struct Workload {
    /// Image of the pods. Default: the one that belongs to the operator's version.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// CPU and memory of a worker; query and compaction have resources of their own. Default: requests
    /// of 250m and 256Mi, a limit of 512Mi. A resource that is named has only what is said of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Labels added to the pods.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend(
        "maxProperties" = 64,
        "additionalProperties" = {"type": "string", "maxLength": 63}
    ))]
    pub labels: BTreeMap<String, String>,
    /// Annotations added to the pods.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub annotations: BTreeMap<String, String>,
    /// Labels that a node must have.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the pods tolerate.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub tolerations: Vec<Toleration>,
    /// Where the pods would rather, or must, run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// How the pods spread over zones and nodes. Default: over nodes, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["topologyKey", "whenUnsatisfiable"]
    ))]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
    /// Service account of the pods, such as one bound to a cloud role. Default: one of its own,
    /// without rights.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub service_account_name: Option<String>,
    /// Priority class of the pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
    /// Environment variables added to the containers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["name"]
    ))]
    pub env: Vec<EnvVar>,
    /// Volumes added to the pods.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["name"]
    ))]
    pub volumes: Vec<Volume>,
    /// Where the containers see those volumes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["mountPath"]
    ))]
    pub volume_mounts: Vec<VolumeMount>,
}

impl Ruled for Workload {
    const RULES: &'static [Rule<Self>] = &[
        Rule {
            field: ".image",
            cel: "!has(self.image) || self.image.matches('^[^ \\\\t\\\\r\\\\n]+$')",
            message: "must be the name of an image, without blanks; write for example registry.example/tips-worker:1.0",
            holds: |workload| workload.image.as_deref().is_none_or(is_image),
        },
        resources::amounts(|workload| resources::are_amounts(workload.resources.as_ref())),
        resources::fitting(|workload| resources::fit(workload.resources.as_ref())),
        Rule {
            field: ".labels",
            cel: name::LABELS,
            message: "must be labels as Kubernetes has them, of letters, digits and - _ . with a letter or digit at both ends, 63 at most; write for example team: taxi, or example.com/team: taxi",
            holds: |workload| {
                workload.labels.iter().all(|(name, value)| is_qualified(name) && is_label_value(value))
            },
        },
        Rule {
            field: ".labels",
            cel: "!has(self.labels) || self.labels.all(name, !(name.startsWith('tipstream.dev/') || name in \
                  ['app.kubernetes.io/component', 'app.kubernetes.io/instance', 'app.kubernetes.io/managed-by', \
                  'app.kubernetes.io/name']))",
            message: "must not set the labels by which the operator finds its pods: app.kubernetes.io/name, instance, component and managed-by, and tipstream.dev/ with anything; write a label of your own, such as team: taxi",
            holds: |workload| !workload.labels.keys().any(|name| is_reserved(name)),
        },
        Rule {
            field: ".annotations",
            cel: name::ANNOTATIONS,
            message: "must have names of letters, digits and - _ . with a letter or digit at both ends, 63 at most, after a prefix such as example.com/; write for example example.com/team: taxi",
            holds: |workload| workload.annotations.keys().all(|name| is_qualified(name)),
        },
        Rule {
            field: ".annotations",
            cel: "!has(self.annotations) || self.annotations.all(name, !name.startsWith('tipstream.dev/'))",
            message: "must not set tipstream.dev/ with anything, by which the operator rolls the pods; write an annotation of another prefix, such as example.com/team: taxi",
            holds: |workload| !workload.annotations.keys().any(|name| name.starts_with(OWN_PREFIX)),
        },
        Rule {
            field: ".serviceAccountName",
            cel: name::SERVICE_ACCOUNT,
            message: "must be the name of a service account, of lower-case letters, digits, - and .; write for example taxi-s3",
            holds: |workload| workload.service_account_name.as_deref().is_none_or(is_subdomain),
        },
        Rule {
            field: ".priorityClassName",
            cel: name::PRIORITY_CLASS,
            message: "must be the name of a priority class, of lower-case letters, digits, - and .; write for example high-priority",
            holds: |workload| workload.priority_class_name.as_deref().is_none_or(is_subdomain),
        },
        Rule {
            field: ".env",
            cel: "!has(self.env) || self.env.all(variable, !variable.name.startsWith('TIPS_'))",
            message: "must not set TIPS_ variables, which the operator fills from the spec and its Secrets; use kafka.sasl, kafka.tls, redis.auth, redis.tls, job.neighbourhoods and sink.volume",
            holds: |workload| !workload.env.iter().any(|variable| variable.name.starts_with("TIPS_")),
        },
        Rule {
            field: ".volumes",
            cel: "!has(self.volumes) || self.volumes.all(volume, !volume.name.startsWith('tipstream-'))",
            message: "must not have names that begin with tipstream-, as the operator's own volumes do; write a name of your own, such as name: ca-bundle",
            holds: |workload| !workload.volumes.iter().any(|volume| volume.name.starts_with("tipstream-")),
        },
        Rule {
            field: ".volumeMounts",
            cel: "!has(self.volumeMounts) || self.volumeMounts.all(mount, !(mount.mountPath in ['/tmp', '/tmp/']) && \
                  !mount.mountPath.startsWith('/etc/tipstream') && !mount.mountPath.startsWith('/var/lib/tipstream'))",
            message: "must not be at /tmp, /etc/tipstream or /var/lib/tipstream, where the operator mounts what the pods need; write a path of your own, such as mountPath: /etc/ssl/extra",
            holds: |workload| !workload.volume_mounts.iter().any(|mount| is_taken(&mount.mount_path)),
        },
    ];
}

fn is_image(name: &str) -> bool {
    !name.is_empty() && !name.contains([' ', '\t', '\r', '\n'])
}

const OWN_PREFIX: &str = "tipstream.dev/";

/// Where the operator mounts something, or may come to do so.
fn is_taken(path: &str) -> bool {
    ["/tmp", "/tmp/"].contains(&path)
        || ["/etc/tipstream", "/var/lib/tipstream"].iter().any(|own| path.starts_with(own))
}

/// What the operator selects pods by.
fn is_reserved(label: &str) -> bool {
    const NAMES: [&str; 4] = [
        "app.kubernetes.io/component",
        "app.kubernetes.io/instance",
        "app.kubernetes.io/managed-by",
        "app.kubernetes.io/name",
    ];
    NAMES.contains(&label) || label.starts_with(OWN_PREFIX)
}
