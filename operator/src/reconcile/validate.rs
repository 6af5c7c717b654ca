//! What can be said of a spec and its references without doing anything: pure.

use geojson::{FeatureCollection, GeometryValue};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tipstream_crds::{Fingerprint, SinkKind, TipsPipeline};

use super::dereference::Contents;
use crate::error::Error;

/// A pipeline that can be built.
#[derive(Debug)]
pub(super) struct Valid<'a> {
    /// It.
    pub pipeline: &'a TipsPipeline,
    /// Its one sink.
    pub sink: SinkKind<'a>,
    /// What it refers to.
    pub contents: &'a Contents,
}

/// Checks all that has to hold before anything is applied.
///
/// # Errors
/// What does not hold.
pub(super) fn run<'a>(pipeline: &'a TipsPipeline, contents: &'a Contents) -> Result<Valid<'a>, Error> {
    let violations = pipeline.validate();
    let Some(sink) = pipeline.spec.sink.kind().filter(|_| violations.is_empty()) else {
        return Err(Error::Invalid(violations));
    };
    if let Some((name, text)) = &contents.polygons {
        check_polygons(text).map_err(|why| Error::Polygons { name: name.clone(), why })?;
        check_state(pipeline, text)?;
    }
    Ok(Valid { pipeline, sink, contents })
}

/// The mistakes that people make. What gets through is refused by the worker, whose exit the status then quotes.
fn check_polygons(text: &str) -> Result<(), String> {
    let collection: FeatureCollection = text.parse().map_err(|error: geojson::Error| error.to_string())?;
    if collection.features.is_empty() {
        return Err("the FeatureCollection has no features".to_owned());
    }
    for (number, feature) in collection.features.iter().enumerate() {
        if feature.property("name").and_then(Value::as_str).is_none_or(str::is_empty) {
            return Err(format!("feature {number} has no property `name` with a text"));
        }
        let geometry = feature.geometry.as_ref().map(|geometry| &geometry.value);
        if !matches!(geometry, Some(GeometryValue::Polygon { .. } | GeometryValue::MultiPolygon { .. })) {
            return Err(format!("feature {number} is no Polygon or MultiPolygon"));
        }
    }
    Ok(())
}

/// The API server holds all settings of an epoch fast but one: what is in the ConfigMap of polygons.
fn check_state(pipeline: &TipsPipeline, polygons: &str) -> Result<(), Error> {
    let Some(status) = &pipeline.status else { return Ok(()) };
    let (Some(held), Some(epoch)) = (&status.state_fingerprint, status.state_epoch) else { return Ok(()) };
    let ours = Fingerprint::new(&pipeline.spec, &Sha256::digest(polygons).into()).id;
    if epoch != pipeline.spec.epoch || *held == ours {
        return Ok(());
    }
    Err(Error::StateDiffers { epoch, held: held.clone(), ours })
}
