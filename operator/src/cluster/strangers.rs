//! Pipelines that the API server lets in and that cannot be understood: its CRD is another than this operator's.

use std::collections::HashMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio::sync::watch;

use super::Key;

/// One that cannot be understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Stranger {
    /// What can be understood of every object.
    pub metadata: ObjectMeta,
    /// What is wrong with the rest.
    pub why: String,
}

/// All of them.
pub type Strangers = watch::Sender<HashMap<Key, Stranger>>;
