//! The environment variables of the pods: secrets by reference, files by path.

use k8s_openapi::api::core::v1::{EnvVar, EnvVarSource, SecretKeySelector};
use tipstream_crds::env::{self, secret_key};
use tipstream_crds::{SinkKind, TipsPipelineSpec};

use super::files;
use super::names::Component;

/// Where the volume of `sink.volume` is mounted.
pub(super) const VOLUME_PATH: &str = "/var/lib/tipstream";

/// Where `component` finds what the spec refers to.
pub(super) fn of(component: Component, spec: &TipsPipelineSpec, sink: SinkKind<'_>) -> Vec<EnvVar> {
    let mut variables = if component == Component::Worker { kafka(spec) } else { Vec::new() };
    variables.extend(redis(spec));
    variables.extend(self::sink(sink));
    if spec.job.neighbourhoods.is_some() {
        variables.push(path(env::NEIGHBOURHOODS, files::POLYGONS));
    }
    if component == Component::Query {
        variables.extend(query(spec));
    }
    variables
}

fn query(spec: &TipsPipelineSpec) -> Vec<EnvVar> {
    let mut variables = Vec::new();
    if spec.query.auth.is_some() {
        variables.push(value(env::QUERY_USERS, files::USERS_PATH.to_owned()));
    }
    if spec.query.tls.is_some() {
        variables.push(path(env::QUERY_TLS_CERT, files::QUERY_CERT));
        variables.push(path(env::QUERY_TLS_KEY, files::QUERY_KEY));
    }
    variables
}

fn kafka(spec: &TipsPipelineSpec) -> Vec<EnvVar> {
    let mut variables = Vec::new();
    if let Some(sasl) = &spec.kafka.sasl {
        variables.push(secret(env::KAFKA_USERNAME, &sasl.secret_ref.name, secret_key::USERNAME));
        variables.push(secret(env::KAFKA_PASSWORD, &sasl.secret_ref.name, secret_key::PASSWORD));
    }
    if let Some(tls) = &spec.kafka.tls {
        if tls.ca_secret_ref.is_some() {
            variables.push(path(env::KAFKA_CA, files::KAFKA_CA));
        }
        if tls.client_certificate.is_some() {
            variables.push(path(env::KAFKA_CLIENT_CERT, files::KAFKA_CERT));
            variables.push(path(env::KAFKA_CLIENT_KEY, files::KAFKA_KEY));
        }
    }
    variables
}

/// What reaches Redis, for workers and for the removal of the state.
pub(super) fn redis(spec: &TipsPipelineSpec) -> Vec<EnvVar> {
    let mut variables = Vec::new();
    let sentinel = spec.redis.sentinel.as_ref().and_then(|sentinel| sentinel.auth.as_ref());
    for (auth, username, password) in [
        (spec.redis.auth.as_ref(), env::REDIS_USERNAME, env::REDIS_PASSWORD),
        (sentinel, env::REDIS_SENTINEL_USERNAME, env::REDIS_SENTINEL_PASSWORD),
    ] {
        if let Some(auth) = auth {
            variables.push(optional(secret(username, &auth.secret_ref.name, secret_key::USERNAME)));
            variables.push(secret(password, &auth.secret_ref.name, secret_key::PASSWORD));
        }
    }
    if let Some(tls) = &spec.redis.tls {
        if tls.ca_secret_ref.is_some() {
            variables.push(path(env::REDIS_CA, files::REDIS_CA));
        }
        if tls.client_certificate.is_some() {
            variables.push(path(env::REDIS_CLIENT_CERT, files::REDIS_CERT));
            variables.push(path(env::REDIS_CLIENT_KEY, files::REDIS_KEY));
        }
    }
    variables
}

fn sink(sink: SinkKind<'_>) -> Vec<EnvVar> {
    match sink {
        SinkKind::S3(s3) => s3
            .credentials
            .iter()
            .flat_map(|credentials| {
                [env::S3_ACCESS_KEY_ID, env::S3_SECRET_ACCESS_KEY]
                    .map(|name| secret(name, &credentials.secret_ref.name, name))
            })
            .collect(),
        SinkKind::Hdfs(hdfs) => {
            let mut variables = Vec::new();
            if hdfs.config_map_ref.is_some() {
                variables.push(path(env::HADOOP_CONF_DIR, files::HADOOP));
            }
            if let Some(kerberos) = &hdfs.kerberos {
                variables.push(path(env::KRB5_CLIENT_KEYTAB, files::KEYTAB));
                if kerberos.config_map_ref.is_some() {
                    variables.push(path(env::KRB5_CONFIG, files::KRB5_CONF));
                }
            }
            variables
        }
        SinkKind::Volume(_) => vec![value(env::VOLUME, VOLUME_PATH.to_owned())],
    }
}

fn value(name: &str, value: String) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some(value), value_from: None }
}

fn path(name: &str, file: &str) -> EnvVar {
    value(name, format!("{}/{file}", files::MOUNT_PATH))
}

fn optional(mut variable: EnvVar) -> EnvVar {
    if let Some(selector) = variable.value_from.as_mut().and_then(|from| from.secret_key_ref.as_mut()) {
        selector.optional = Some(true);
    }
    variable
}

fn secret(name: &str, secret: &str, key: &str) -> EnvVar {
    let selector = SecretKeySelector { name: secret.to_owned(), key: key.to_owned(), optional: None };
    let from = EnvVarSource { secret_key_ref: Some(selector), ..EnvVarSource::default() };
    EnvVar { name: name.to_owned(), value: None, value_from: Some(from) }
}
