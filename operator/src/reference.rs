//! What a spec refers to: the Secrets and ConfigMaps that its workers read when they start.

use std::fmt;

use tipstream_crds::env::{self, secret_key};
use tipstream_crds::{ClientTls, SinkKind, TipsPipelineSpec};

use crate::build::{HADOOP_KEYS, KRB5_KEY};

/// What kind of object is referred to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A Secret.
    Secret,
    /// A ConfigMap.
    ConfigMap,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A reference of a spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// To what.
    pub source: Source,
    /// Its name, in the pipeline's namespace.
    pub name: String,
    /// The keys that it must have.
    pub keys: Vec<String>,
    /// The keys that it may have.
    pub optional_keys: Vec<String>,
    /// Where the spec says so.
    pub field: &'static str,
}

/// The reference by which the polygons are found among the others.
pub const POLYGONS_FIELD: &str = "spec.job.neighbourhoods.configMapKeyRef";

/// The references of `spec`, in the order of its fields.
pub fn references(spec: &TipsPipelineSpec) -> Vec<Reference> {
    use Source::{ConfigMap, Secret};
    let mut found = Vec::new();
    let mut add = |source, name: &str, keys: &[&str], field| {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        found.push(Reference { source, name: name.to_owned(), keys, optional_keys: Vec::new(), field });
    };
    let tls = |add: &mut dyn FnMut(Source, &str, &[&str], &'static str),
               tls: Option<&ClientTls>,
               fields: [_; 2]| {
        let Some(tls) = tls else { return };
        if let Some(ca) = &tls.ca_secret_ref {
            add(Secret, &ca.name, &[&ca.key], fields[0]);
        }
        if let Some(client) = &tls.client_certificate {
            add(Secret, &client.secret_ref.name, &[secret_key::TLS_CERT, secret_key::TLS_KEY], fields[1]);
        }
    };
    let kafka = ["spec.kafka.tls.caSecretRef", "spec.kafka.tls.clientCertificate.secretRef"];
    tls(&mut add, spec.kafka.tls.as_ref(), kafka);
    if let Some(sasl) = &spec.kafka.sasl {
        let keys = [secret_key::USERNAME, secret_key::PASSWORD];
        add(Secret, &sasl.secret_ref.name, &keys, "spec.kafka.sasl.secretRef");
    }
    let redis = ["spec.redis.tls.caSecretRef", "spec.redis.tls.clientCertificate.secretRef"];
    tls(&mut add, spec.redis.tls.as_ref(), redis);
    if let Some(auth) = &spec.redis.auth {
        add(Secret, &auth.secret_ref.name, &[secret_key::PASSWORD], "spec.redis.auth.secretRef");
    }
    match spec.sink.kind() {
        Some(SinkKind::S3(s3)) => {
            if let Some(credentials) = &s3.credentials {
                let keys = [env::S3_ACCESS_KEY_ID, env::S3_SECRET_ACCESS_KEY];
                add(Secret, &credentials.secret_ref.name, &keys, "spec.sink.s3.credentials.secretRef");
            }
        }
        Some(SinkKind::Hdfs(hdfs)) => {
            if let Some(config) = &hdfs.config_map_ref {
                add(ConfigMap, &config.name, &HADOOP_KEYS, "spec.sink.hdfs.configMapRef");
            }
            if let Some(kerberos) = &hdfs.kerberos {
                let keytab = &kerberos.keytab_secret_ref;
                add(Secret, &keytab.name, &[&keytab.key], "spec.sink.hdfs.kerberos.keytabSecretRef");
                if let Some(config) = &kerberos.config_map_ref {
                    add(ConfigMap, &config.name, &[KRB5_KEY], "spec.sink.hdfs.kerberos.configMapRef");
                }
            }
        }
        Some(SinkKind::Volume(_)) | None => {}
    }
    if let Some(neighbourhoods) = &spec.job.neighbourhoods {
        let reference = &neighbourhoods.config_map_key_ref;
        add(ConfigMap, &reference.name, &[&reference.key], POLYGONS_FIELD);
    }
    for reference in &mut found {
        if reference.field == "spec.redis.auth.secretRef" {
            reference.optional_keys.push(secret_key::USERNAME.to_owned());
        }
    }
    found
}
