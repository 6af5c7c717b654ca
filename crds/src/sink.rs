//! `spec.sink`: where the Parquet files go.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    env,
    reference::{ConfigMapRef, SecretKeyRef, SecretRef},
    rule::{Rule, Ruled},
};

/// Where the Parquet files go: exactly one of s3, hdfs and volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = <Self as Ruled>::rules)]
pub struct Sink {
    /// A bucket of S3 or of a store that speaks its protocol with conditional writes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3>,
    /// A folder of HDFS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hdfs: Option<Hdfs>,
    /// A folder of a persistent volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume: Option<Volume>,
}

/// The one sink that a valid spec names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkKind<'a> {
    /// An S3 bucket.
    S3(&'a S3),
    /// A folder of HDFS.
    Hdfs(&'a Hdfs),
    /// A folder of a persistent volume.
    Volume(&'a Volume),
}

impl Sink {
    /// The one sink that is given; `None` where there is none or more than one, which
    /// [`TipsPipelineSpec::validate`](crate::TipsPipelineSpec::validate) refuses.
    pub fn kind(&self) -> Option<SinkKind<'_>> {
        match (&self.s3, &self.hdfs, &self.volume) {
            (Some(s3), None, None) => Some(SinkKind::S3(s3)),
            (None, Some(hdfs), None) => Some(SinkKind::Hdfs(hdfs)),
            (None, None, Some(volume)) => Some(SinkKind::Volume(volume)),
            _ => None,
        }
    }

    /// Whether the operator fills the environment variable `name` from what this refers to.
    pub(crate) fn sets(&self, name: &str) -> bool {
        let kerberos = self.hdfs.as_ref().and_then(|hdfs| hdfs.kerberos.as_ref());
        match name {
            env::S3_ACCESS_KEY_ID | env::S3_SECRET_ACCESS_KEY => {
                self.s3.as_ref().is_some_and(|s3| s3.credentials.is_some())
            }
            env::HADOOP_CONF_DIR => self.hdfs.as_ref().is_some_and(|hdfs| hdfs.config_map_ref.is_some()),
            env::KRB5_CLIENT_KEYTAB => kerberos.is_some(),
            env::KRB5_CONFIG => kerberos.is_some_and(|kerberos| kerberos.config_map_ref.is_some()),
            _ => false,
        }
    }
}

/// A bucket of S3 or of a store that speaks its protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = <Self as Ruled>::rules)]
pub struct S3 {
    /// Name of the bucket. It must exist.
    #[schemars(length(max = 63))]
    pub bucket: String,
    /// Folder within the bucket, such as lake/taxi. Default: the bucket's root.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 512))]
    pub prefix: String,
    /// URL of the store where it is not AWS, such as https://minio.storage:9000.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub endpoint: Option<String>,
    /// Region that requests are signed for, such as us-east-1.
    #[schemars(length(min = 1, max = 63))]
    pub region: String,
    /// Access keys. Default: what the environment offers, such as IRSA or an instance role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<S3Credentials>,
}

/// Access keys of S3.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct S3Credentials {
    /// A Secret with the keys `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`.
    pub secret_ref: SecretRef,
}

/// A folder of HDFS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = <Self as Ruled>::rules)]
pub struct Hdfs {
    /// URL of the name node, hdfs://host:port, or of a name service that configMapRef describes,
    /// hdfs://name.
    #[schemars(length(max = 512))]
    pub name_node: String,
    /// Absolute path of the folder, such as /lake/taxi. It is created where it is missing.
    #[schemars(length(max = 512))]
    pub path: String,
    /// A ConfigMap with the keys `core-site.xml` and `hdfs-site.xml`: needed for name services and
    /// for everything else that is set there. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<ConfigMapRef>,
    /// Kerberos. Default: none, simple authentication.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kerberos: Option<Kerberos>,
}

/// Kerberos towards HDFS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Kerberos {
    /// Principal to act as, such as tipstream@EXAMPLE.COM.
    #[schemars(length(min = 1, max = 512))]
    pub principal: String,
    /// The principal's keytab.
    pub keytab_secret_ref: SecretKeyRef,
    /// A ConfigMap with the key `krb5.conf`. The image has none: without it, Kerberos finds its servers
    /// by DNS, and principals need their realm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<ConfigMapRef>,
}

/// A folder of a persistent volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = <Self as Ruled>::rules)]
pub struct Volume {
    /// Name of a PersistentVolumeClaim in the same namespace. All pods mount it, those of queries
    /// and of the compaction, too: where they may come to several nodes, it must be ReadWriteMany.
    #[schemars(length(max = 253))]
    pub claim_name: String,
    /// Folder within the volume, such as lake/taxi. Default: the volume's root.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 512))]
    pub path: String,
}

/// The rule of an optional field that is a folder below the sink's root.
macro_rules! folder_rule {
    ($field:ident) => {
        Rule {
            field: concat!(".", stringify!($field)),
            cel: concat!(
                "!has(self.", stringify!($field), ") || self.", stringify!($field), " == '' || (self.",
                stringify!($field), ".matches('^[a-zA-Z0-9_=.-]+(/[a-zA-Z0-9_=.-]+)*$') && !('..' in self.",
                stringify!($field), ".split('/')))"
            ),
            message: "must be a folder of letters, digits and _ = . - without a slash at its ends or \"..\"; write for example lake/taxi",
            holds: |sink| is_folder(&sink.$field),
        }
    };
}

impl Ruled for Sink {
    const RULES: &'static [Rule<Self>] = &[Rule {
        field: "",
        cel: "[has(self.s3), has(self.hdfs), has(self.volume)].filter(given, given).size() == 1",
        message: "must be exactly one of s3, hdfs and volume; write for example s3: {bucket: taxi, region: us-east-1}",
        holds: |sink| sink.kind().is_some(),
    }];
}

impl Ruled for S3 {
    const RULES: &'static [Rule<Self>] = &[
        Rule {
            field: ".bucket",
            cel: "self.bucket.matches('^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$')",
            message: "must be the name of a bucket: 3 to 63 lower-case letters, digits, dots and dashes; write a folder as prefix and a URL as endpoint",
            holds: |s3| is_bucket(&s3.bucket),
        },
        folder_rule!(prefix),
        Rule {
            field: ".endpoint",
            cel: "!has(self.endpoint) || self.endpoint.matches('^https?://[^/?#@]+$')",
            message: "must be the URL of the store without path or credentials; write for example https://minio.storage:9000",
            holds: |s3| s3.endpoint.as_deref().is_none_or(is_endpoint),
        },
    ];
}

impl Ruled for Hdfs {
    const RULES: &'static [Rule<Self>] = &[
        Rule {
            field: ".nameNode",
            cel: "self.nameNode.matches('^hdfs://[^/?#@]+$')",
            message: "must be the URL of a name node or a name service; write for example hdfs://namenode:8020, and the folder as path",
            holds: |hdfs| {
                let host = hdfs.name_node.strip_prefix("hdfs://");
                host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', '#', '@']))
            },
        },
        Rule {
            field: ".path",
            cel: "self.path.matches('^(/[a-zA-Z0-9_=.-]+)+$') && !self.path.contains('/../') && !self.path.endsWith('/..')",
            message: "must be an absolute path of letters, digits and _ = . - without a trailing slash; write for example /lake/taxi",
            holds: |hdfs| hdfs.path.strip_prefix('/').is_some_and(|path| !path.is_empty() && is_folder(path)),
        },
    ];
}

impl Ruled for Volume {
    const RULES: &'static [Rule<Self>] = &[
        Rule {
            field: ".claimName",
            cel: "size(self.claimName) > 0",
            message: "must name a PersistentVolumeClaim of the namespace",
            holds: |volume| !volume.claim_name.is_empty(),
        },
        folder_rule!(path),
    ];
}

fn is_folder(path: &str) -> bool {
    path.is_empty()
        || path.split('/').all(|name| {
            !name.is_empty()
                && name != ".."
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_=.-".contains(&b))
        })
}

fn is_bucket(name: &str) -> bool {
    let end = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = name.as_bytes();
    (3..=63).contains(&bytes.len())
        && bytes.iter().all(|&b| end(b) || b == b'.' || b == b'-')
        && end(bytes[0])
        && end(bytes[bytes.len() - 1])
}

fn is_endpoint(url: &str) -> bool {
    url.strip_prefix("http://")
        .or_else(|| url.strip_prefix("https://"))
        .is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', '#', '@']))
}
