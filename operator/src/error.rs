//! Why a reconcile did not bring about what the spec asks for.

use std::time::Duration;

use tipstream_crds::Violation;

use crate::kind::Kind;
use crate::reference::{Reference, Source};

/// Why a reconcile did not bring about what the spec asks for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The spec breaks a rule, which an API server without the CRD's rules let pass.
    #[error("the spec is invalid: {}", listed(.0))]
    Invalid(Vec<Violation>),
    /// Secrets and ConfigMaps that are not there: all that are missing, in the order of the spec.
    #[error("{}", missing(.0))]
    ReferencesMissing(Vec<Reference>),
    /// A Secret or ConfigMap without a key that it must have.
    #[error(
        "{field} needs the key {key:?} of the {kind} {name}, which does not have it; add the key, or name another",
        field = reference.field, kind = reference.source, name = reference.name
    )]
    KeyMissing {
        /// Whose key.
        reference: Reference,
        /// Which.
        key: String,
    },
    /// Polygons that cannot be used.
    #[error(
        "the GeoJSON of the ConfigMap {name} cannot be used: {why}; put the last one back, or correct it"
    )]
    Polygons {
        /// The ConfigMap.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// The state was made with other settings (I8).
    #[error(
        "the state of epoch {epoch} was made with other settings (fingerprint {held}, now {ours}): the polygons of \
         job.neighbourhoods have changed; put them back, or raise spec.epoch to start anew with these"
    )]
    StateDiffers {
        /// Of the state.
        epoch: i64,
        /// Fingerprint of the state.
        held: String,
        /// Fingerprint of the spec.
        ours: String,
    },
    /// What a reference names could not be read.
    #[error("cannot read the {} {}: {}", .reference.source, .reference.name, said(source))]
    Read {
        /// Which.
        reference: Reference,
        /// Why.
        source: Box<kube::Error>,
    },
    /// An object of the same name is somebody else's.
    #[error("the {kind} {name} exists and does not belong to this TipsPipeline; delete or rename it")]
    NameTaken {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
    },
    /// An object of the same name is that of a pipeline of this name that is gone.
    #[error(
        "the {kind} {name} of a TipsPipeline of this name that is gone is still there, until it is collected"
    )]
    PredecessorLeft {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
    },
    /// An object could not be written.
    #[error("cannot apply the {kind} {name}: {}", said(source))]
    Apply {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
        /// Why.
        source: Box<kube::Error>,
    },
    /// An object that is not wanted could not be deleted.
    #[error("cannot delete the {kind} {name}: {}", said(source))]
    Delete {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
        /// Why.
        source: Box<kube::Error>,
    },
    /// The status could not be written.
    #[error("cannot write the status: {}", said(.0))]
    Status(#[source] Box<kube::Error>),
    /// The number of workers could not be written.
    #[error("cannot scale: {}", said(.0))]
    Scale(#[source] Box<kube::Error>),
    /// The finalizer could not be set or taken away.
    #[error("cannot change the finalizers: {}", said(.0))]
    Finalizer(#[source] Box<kube::Error>),
    /// The API server did not answer in time.
    #[error("a pass took longer than {0:?} and was given up")]
    TookTooLong(Duration),
}

/// The categories of [`Error`], for metrics.
pub const CATEGORIES: [&str; 9] =
    ["invalid", "reference", "polygons", "state", "read", "name_taken", "write", "status", "timeout"];

impl Error {
    /// The kind of error, as metrics label it: one of [`CATEGORIES`].
    pub const fn category(&self) -> &'static str {
        match self {
            Error::Invalid(_) => "invalid",
            Error::ReferencesMissing(_) | Error::KeyMissing { .. } => "reference",
            Error::Polygons { .. } => "polygons",
            Error::StateDiffers { .. } => "state",
            Error::Read { .. } => "read",
            Error::NameTaken { .. } | Error::PredecessorLeft { .. } => "name_taken",
            Error::Apply { .. } | Error::Delete { .. } | Error::Finalizer(_) | Error::Scale(_) => "write",
            Error::Status(_) => "status",
            Error::TookTooLong(_) => "timeout",
        }
    }

    /// The reason, as conditions and Events name it; of several missing references that of the first.
    pub fn reason(&self) -> &'static str {
        match self {
            Error::Invalid(_) => "InvalidSpec",
            Error::ReferencesMissing(missing) => match missing.as_slice() {
                [Reference { source: Source::Secret, .. }, ..] => "SecretNotFound",
                _ => "ConfigMapNotFound",
            },
            Error::KeyMissing { reference: Reference { source: Source::Secret, .. }, .. } => {
                "SecretKeyNotFound"
            }
            Error::KeyMissing { .. } => "ConfigMapKeyNotFound",
            Error::Polygons { .. } => "InvalidNeighbourhoods",
            Error::StateDiffers { .. } => "SettingsDiffer",
            Error::Read { .. } => "ReferenceUnreadable",
            Error::NameTaken { .. } | Error::PredecessorLeft { .. } => "NameTaken",
            Error::Apply { .. } | Error::Delete { .. } => "ApplyFailed",
            Error::Status(_) => "StatusFailed",
            Error::Finalizer(_) => "FinalizerFailed",
            Error::Scale(_) => "ScaleFailed",
            Error::TookTooLong(_) => "TookTooLong",
        }
    }

    /// Whether it may well be over at the next try, without anybody doing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Error::Read { source, .. }
            | Error::Apply { source, .. }
            | Error::Delete { source, .. }
            | Error::Status(source)
            | Error::Finalizer(source)
            | Error::Scale(source) => match &**source {
                kube::Error::Api(status) => status.code >= 500 || matches!(status.code, 409 | 429),
                _ => true,
            },
            Error::PredecessorLeft { .. } | Error::TookTooLong(_) => true,
            _ => false,
        }
    }
}

fn listed(violations: &[Violation]) -> String {
    violations.iter().map(Violation::to_string).collect::<Vec<_>>().join("; ")
}

fn missing(references: &[Reference]) -> String {
    let named = references
        .iter()
        .map(|Reference { field, source, name, .. }| format!("{field} names the {source} {name}"));
    let ending = match references {
        [_] => "which does not exist in this namespace; create it, or name another",
        _ => "none of which exists in this namespace; create them, or name others",
    };
    format!("{}, {ending}", named.collect::<Vec<_>>().join(", "))
}

/// The API server's own words, where they are.
fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tipstream_crds::TipsPipelineSpec;

    use super::*;
    use crate::reference::references;

    #[test]
    fn all_that_is_missing_is_named_at_once() {
        let spec = json!({
            "kafka": {"bootstrapServers": "kafka:9092", "ridesTopic": "rides", "faresTopic": "fares",
                "sasl": {"mechanism": "SCRAM-SHA-512", "secretRef": {"name": "login"}}},
            "redis": {"urls": ["redis://redis:6379"]}, "sink": {"volume": {"claimName": "lake"}},
            "job": {"neighbourhoods": {"configMapKeyRef": {"name": "polygons", "key": "nyc"}}},
        });
        let spec: TipsPipelineSpec = serde_json::from_value(spec).expect("a spec");
        let all = Error::ReferencesMissing(references(&spec));
        let said = "spec.kafka.sasl.secretRef names the Secret login, spec.job.neighbourhoods.configMapKeyRef names the \
            ConfigMap polygons, none of which exists in this namespace; create them, or name others";
        assert_eq!((all.reason(), all.to_string().as_str()), ("SecretNotFound", said));
        let one = Error::ReferencesMissing(references(&spec).split_off(1));
        assert_eq!(one.reason(), "ConfigMapNotFound");
        assert!(
            one.to_string()
                .ends_with("polygons, which does not exist in this namespace; create it, or name another")
        );
    }
}
