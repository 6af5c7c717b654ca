//! What a spec refers to: the Secrets and ConfigMaps that its pods read when they start.

use std::fmt;

use tipstream_crds::env::{self, secret_key};
use tipstream_crds::{ClientTls, Hdfs, SinkKind, TipsPipelineSpec};

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

/// Whose pods read what is referred to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// The workers'.
    Workers,
    /// All.
    All,
    /// The query service's.
    Query,
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
    /// Who reads it.
    pub reader: Reader,
}

/// The reference by which the polygons are found among the others.
pub const POLYGONS_FIELD: &str = "spec.job.neighbourhoods.configMapKeyRef";

/// The references of `spec`, in the order of its fields.
pub fn references(spec: &TipsPipelineSpec) -> Vec<Reference> {
    let read_by = |reader| move |reference| Reference { reader, ..reference };
    let mut found: Vec<_> = kafka(spec).into_iter().map(read_by(Reader::Workers)).collect();
    found.extend(redis(spec));
    found.extend(sink(spec));
    found.extend(spec.job.neighbourhoods.iter().map(|neighbourhoods| {
        let reference = &neighbourhoods.config_map_key_ref;
        Reference::new(Source::ConfigMap, &reference.name, &[&reference.key], POLYGONS_FIELD)
    }));
    found.extend(query(spec).into_iter().map(read_by(Reader::Query)));
    found
}

impl Reference {
    fn new(source: Source, name: &str, keys: &[&str], field: &'static str) -> Self {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        let (optional_keys, reader) = (Vec::new(), Reader::All);
        Reference { source, name: name.to_owned(), keys, optional_keys, field, reader }
    }
}

fn kafka(spec: &TipsPipelineSpec) -> Vec<Reference> {
    let fields = ["spec.kafka.tls.caSecretRef", "spec.kafka.tls.clientCertificate.secretRef"];
    let mut found = tls(spec.kafka.tls.as_ref(), fields);
    found.extend(spec.kafka.sasl.iter().map(|sasl| {
        let keys = [secret_key::USERNAME, secret_key::PASSWORD];
        Reference::new(Source::Secret, &sasl.secret_ref.name, &keys, "spec.kafka.sasl.secretRef")
    }));
    found
}

fn redis(spec: &TipsPipelineSpec) -> Vec<Reference> {
    let fields = ["spec.redis.tls.caSecretRef", "spec.redis.tls.clientCertificate.secretRef"];
    let mut found = tls(spec.redis.tls.as_ref(), fields);
    let sentinel = spec.redis.sentinel.as_ref().and_then(|sentinel| sentinel.auth.as_ref());
    for (auth, field) in [
        (spec.redis.auth.as_ref(), "spec.redis.auth.secretRef"),
        (sentinel, "spec.redis.sentinel.auth.secretRef"),
    ] {
        found.extend(auth.map(|auth| Reference {
            optional_keys: vec![secret_key::USERNAME.to_owned()],
            ..Reference::new(Source::Secret, &auth.secret_ref.name, &[secret_key::PASSWORD], field)
        }));
    }
    found
}

fn sink(spec: &TipsPipelineSpec) -> Vec<Reference> {
    match spec.sink.kind() {
        Some(SinkKind::S3(s3)) => {
            let keys = [env::S3_ACCESS_KEY_ID, env::S3_SECRET_ACCESS_KEY];
            let field = "spec.sink.s3.credentials.secretRef";
            let of = |name: &str| Reference::new(Source::Secret, name, &keys, field);
            s3.credentials.iter().map(|credentials| of(&credentials.secret_ref.name)).collect()
        }
        Some(SinkKind::Hdfs(hdfs)) => hdfs_files(hdfs),
        Some(SinkKind::Volume(_)) | None => Vec::new(),
    }
}

fn hdfs_files(hdfs: &Hdfs) -> Vec<Reference> {
    let config_map = |name: &str, keys: &[&str], field| Reference::new(Source::ConfigMap, name, keys, field);
    let mut found = Vec::new();
    if let Some(config) = &hdfs.config_map_ref {
        found.push(config_map(&config.name, &HADOOP_KEYS, "spec.sink.hdfs.configMapRef"));
    }
    if let Some(kerberos) = &hdfs.kerberos {
        let (keytab, field) = (&kerberos.keytab_secret_ref, "spec.sink.hdfs.kerberos.keytabSecretRef");
        found.push(Reference::new(Source::Secret, &keytab.name, &[&keytab.key], field));
        if let Some(config) = &kerberos.config_map_ref {
            found.push(config_map(&config.name, &[KRB5_KEY], "spec.sink.hdfs.kerberos.configMapRef"));
        }
    }
    found
}

/// The users have no keys that must be there, and so their passwords are in no digest: they are read at each login.
fn query(spec: &TipsPipelineSpec) -> Vec<Reference> {
    if !spec.query.enabled {
        return Vec::new();
    }
    let secret = |name: &str, keys: &[&str], field| Reference::new(Source::Secret, name, keys, field);
    let users = spec.query.users().map(|name| secret(name, &[], "spec.query.auth.secretRef"));
    let keys = [secret_key::TLS_CERT, secret_key::TLS_KEY];
    let certificate = spec.query.certificate().map(|name| secret(name, &keys, "spec.query.tls.secretRef"));
    users.into_iter().chain(certificate).collect()
}

fn tls(tls: Option<&ClientTls>, [ca_field, client_field]: [&'static str; 2]) -> Vec<Reference> {
    let Some(tls) = tls else { return Vec::new() };
    let ca = tls.ca_secret_ref.iter();
    let mut found: Vec<_> =
        ca.map(|ca| Reference::new(Source::Secret, &ca.name, &[&ca.key], ca_field)).collect();
    found.extend(tls.client_certificate.iter().map(|client| {
        let keys = [secret_key::TLS_CERT, secret_key::TLS_KEY];
        Reference::new(Source::Secret, &client.secret_ref.name, &keys, client_field)
    }));
    found
}
