//! The files that the pods of a part read, all in one projected volume: the manifest, certificates, keytab, XML.
//!
//! Only the users of the query service have a volume of their own: their files are named after them.

use k8s_openapi::api::core::v1::{
    ConfigMapProjection, DownwardAPIProjection, DownwardAPIVolumeFile, KeyToPath, ObjectFieldSelector,
    ProjectedVolumeSource, SecretProjection, SecretVolumeSource, Volume, VolumeProjection,
};
use tipstream_crds::env::secret_key;
use tipstream_crds::{ClientTls, SinkKind, TipsPipelineSpec};

use super::names::{Component, MANIFEST as MANIFEST_ANNOTATION};

/// Where the volume is mounted.
pub(super) const MOUNT_PATH: &str = "/etc/tipstream";
/// Its name.
pub(super) const VOLUME: &str = "tipstream-config";

/// Where the users of the query service are mounted.
pub(super) const USERS_PATH: &str = "/etc/tipstream-users";
/// The name of that volume.
pub(super) const USERS: &str = "tipstream-users";

/// The manifest and the polygons are called as in the ConfigMap.
pub(super) const MANIFEST: &str = "pipeline.yaml";
pub(super) const POLYGONS: &str = "neighbourhoods.geojson";
pub(super) const KAFKA_CA: &str = "kafka/ca.crt";
pub(super) const KAFKA_CERT: &str = "kafka/tls.crt";
pub(super) const KAFKA_KEY: &str = "kafka/tls.key";
pub(super) const REDIS_CA: &str = "redis/ca.crt";
pub(super) const REDIS_CERT: &str = "redis/tls.crt";
pub(super) const REDIS_KEY: &str = "redis/tls.key";
pub(super) const HADOOP: &str = "hadoop";
pub(super) const KRB5_CONF: &str = "kerberos/krb5.conf";
pub(super) const KEYTAB: &str = "kerberos/keytab";
pub(super) const QUERY_CERT: &str = "query/tls.crt";
pub(super) const QUERY_KEY: &str = "query/tls.key";

/// Keys of a ConfigMap of Hadoop's settings.
pub const HADOOP_KEYS: [&str; 2] = ["core-site.xml", "hdfs-site.xml"];
/// Key of a ConfigMap of Kerberos' settings.
pub const KRB5_KEY: &str = "krb5.conf";

/// The files of `component`, whose own ConfigMap is `own_config_map`.
pub(super) fn of(
    component: Component,
    spec: &TipsPipelineSpec,
    sink: SinkKind<'_>,
    own_config_map: &str,
) -> Volume {
    let mut own = vec![(MANIFEST, MANIFEST.to_owned())];
    if spec.job.neighbourhoods.is_some() {
        own.push((POLYGONS, POLYGONS.to_owned()));
    }
    let mut sources = vec![config_map_source(own_config_map, own)];
    if component == Component::Worker {
        sources.extend(tls(spec.kafka.tls.as_ref(), [KAFKA_CA, KAFKA_CERT, KAFKA_KEY]));
    }
    sources.extend(redis(spec));
    if let SinkKind::Hdfs(hdfs) = sink {
        if let Some(reference) = &hdfs.config_map_ref {
            let files = HADOOP_KEYS.map(|key| (key, format!("{HADOOP}/{key}")));
            sources.push(config_map_source(&reference.name, files));
        }
        if let Some(kerberos) = &hdfs.kerberos {
            let keytab = &kerberos.keytab_secret_ref;
            sources.push(secret_source(&keytab.name, [(&*keytab.key, KEYTAB)]));
            if let Some(reference) = &kerberos.config_map_ref {
                sources.push(config_map_source(&reference.name, [(KRB5_KEY, KRB5_CONF.to_owned())]));
            }
        }
    }
    if let Some(certificate) = spec.query.certificate().filter(|_| component == Component::Query) {
        let files = [(secret_key::TLS_CERT, QUERY_CERT), (secret_key::TLS_KEY, QUERY_KEY)];
        sources.push(secret_source(certificate, files));
    }
    volume(sources)
}

/// A file per user of the query service. The kubelet changes it in place, within a minute or two.
pub(super) fn users(secret: &str) -> Volume {
    let source = SecretVolumeSource { secret_name: Some(secret.to_owned()), ..SecretVolumeSource::default() };
    Volume { name: USERS.to_owned(), secret: Some(source), ..Volume::default() }
}

/// The files of the removal of the state. Its manifest comes from an annotation of its own pod: where a deletion
/// takes the dependents first, the pipeline's ConfigMap is gone by then.
pub(super) fn purge(spec: &TipsPipelineSpec) -> Volume {
    let manifest = DownwardAPIVolumeFile {
        path: MANIFEST.to_owned(),
        field_ref: Some(ObjectFieldSelector {
            field_path: format!("metadata.annotations['{MANIFEST_ANNOTATION}']"),
            ..ObjectFieldSelector::default()
        }),
        ..DownwardAPIVolumeFile::default()
    };
    let mut sources = vec![VolumeProjection {
        downward_api: Some(DownwardAPIProjection { items: Some(vec![manifest]) }),
        ..VolumeProjection::default()
    }];
    sources.extend(redis(spec));
    volume(sources)
}

fn redis(spec: &TipsPipelineSpec) -> Vec<VolumeProjection> {
    tls(spec.redis.tls.as_ref(), [REDIS_CA, REDIS_CERT, REDIS_KEY])
}

fn tls(tls: Option<&ClientTls>, [ca, cert, key]: [&str; 3]) -> Vec<VolumeProjection> {
    let Some(tls) = tls else { return Vec::new() };
    let mut sources = Vec::new();
    if let Some(reference) = &tls.ca_secret_ref {
        sources.push(secret_source(&reference.name, [(&*reference.key, ca)]));
    }
    if let Some(client) = &tls.client_certificate {
        let files = [(secret_key::TLS_CERT, cert), (secret_key::TLS_KEY, key)];
        sources.push(secret_source(&client.secret_ref.name, files));
    }
    sources
}

fn volume(sources: Vec<VolumeProjection>) -> Volume {
    Volume {
        name: VOLUME.to_owned(),
        projected: Some(ProjectedVolumeSource { sources: Some(sources), ..ProjectedVolumeSource::default() }),
        ..Volume::default()
    }
}

fn config_map_source(
    name: &str,
    files: impl IntoIterator<Item = (&'static str, String)>,
) -> VolumeProjection {
    let items = files.into_iter().map(|(key, path)| item(key, path)).collect();
    let source = ConfigMapProjection { name: name.to_owned(), items: Some(items), optional: None };
    VolumeProjection { config_map: Some(source), ..VolumeProjection::default() }
}

fn secret_source<'a>(name: &str, files: impl IntoIterator<Item = (&'a str, &'a str)>) -> VolumeProjection {
    let items = files.into_iter().map(|(key, path)| item(key, path.to_owned())).collect();
    let source = SecretProjection { name: name.to_owned(), items: Some(items), optional: None };
    VolumeProjection { secret: Some(source), ..VolumeProjection::default() }
}

fn item(key: &str, path: String) -> KeyToPath {
    KeyToPath { key: key.to_owned(), path, mode: None }
}
