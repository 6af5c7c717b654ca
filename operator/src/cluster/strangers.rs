//! Pipelines that the API server lets in and that cannot be understood: its CRD is another than this operator's.

use std::borrow::Cow;
use std::collections::HashMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::NamespaceResourceScope;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tipstream_crds::TipsPipeline;
use tokio::sync::watch;

use super::Key;

/// One that cannot be understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Stranger {
    /// What can be understood of every object.
    pub metadata: ObjectMeta,
    /// The conditions of its status, whoever wrote them.
    pub conditions: Vec<Value>,
    /// The field that is not understood, and why.
    pub why: String,
}

/// All of them.
pub type Strangers = watch::Sender<HashMap<Key, Stranger>>;

/// A pipeline as the API server tells of it: that one is not understood is no reason not to hear of the others.
#[derive(Clone, Debug)]
pub enum Told {
    /// It is understood.
    Pipeline(Box<TipsPipeline>),
    /// It is not.
    Stranger(Box<Stranger>),
}

impl<'de> Deserialize<'de> for Told {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = Value::deserialize(deserializer)?;
        let why = match serde_path_to_error::deserialize(&object) {
            Ok(pipeline) => return Ok(Told::Pipeline(pipeline)),
            Err(error) => error.to_string(),
        };
        let metadata = ObjectMeta::deserialize(&object["metadata"]).map_err(D::Error::custom)?;
        let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        Ok(Told::Stranger(Box::new(Stranger { metadata, conditions, why })))
    }
}

impl Resource for Told {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        TipsPipeline::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        TipsPipeline::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        TipsPipeline::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        TipsPipeline::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        match self {
            Told::Pipeline(pipeline) => pipeline.meta(),
            Told::Stranger(stranger) => &stranger.metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Told::Pipeline(pipeline) => pipeline.meta_mut(),
            Told::Stranger(stranger) => &mut stranger.metadata,
        }
    }
}
