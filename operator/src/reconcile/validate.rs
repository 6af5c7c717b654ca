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

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tipstream_crds::TipsPipelineStatus;

    use super::*;

    const POLYGONS: &str = r#"{"type": "FeatureCollection", "features": [{"type": "Feature",
        "properties": {"name": "SoHo"}, "geometry": {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}}]}"#;

    fn pipeline(spec: Value) -> TipsPipeline {
        let mut object = json!({
            "apiVersion": "tipstream.dev/v1alpha1", "kind": "TipsPipeline",
            "metadata": {"name": "nyc", "namespace": "taxi"},
            "spec": {
                "kafka": {"bootstrapServers": "kafka:9092", "ridesTopic": "rides", "faresTopic": "fares"},
                "redis": {"urls": ["redis://redis:6379"]}, "sink": {"volume": {"claimName": "lake"}},
            },
        });
        for (name, value) in spec.as_object().into_iter().flatten() {
            object["spec"][name] = value.clone();
        }
        serde_json::from_value(object).expect("a pipeline")
    }

    fn reason(pipeline: &TipsPipeline, polygons: &str) -> Option<&'static str> {
        let polygons = Some(("polygons".to_owned(), polygons.to_owned()));
        let contents = Contents { digest: String::new(), query: Ok(String::new()), polygons };
        run(pipeline, &contents).err().map(|error| error.reason())
    }

    #[test]
    fn a_spec_that_an_older_kind_let_pass_is_refused() {
        assert_eq!(reason(&pipeline(json!({})), POLYGONS), None);
        assert_eq!(reason(&pipeline(json!({"epoch": -1})), POLYGONS), Some("InvalidSpec"));
        let sinks = json!({"volume": {"claimName": "lake"}, "s3": {"bucket": "taxi", "region": "x"}});
        assert_eq!(reason(&pipeline(json!({"sink": sinks})), POLYGONS), Some("InvalidSpec"));
    }

    #[test]
    fn what_is_wrong_with_polygons_is_told() {
        let feature = |properties: &str, geometry: &str| {
            format!(
                r#"{{"type": "FeatureCollection", "features": [{{"type": "Feature", "properties": {properties}, "geometry": {geometry}}}]}}"#
            )
        };
        let point = r#"{"type": "Point", "coordinates": [0, 0]}"#;
        for (text, why) in [
            ("", ""),
            ("{}", ""),
            (r#"{"type": "FeatureCollection", "features": []}"#, "has no features"),
            (feature("{}", point).as_str(), "feature 0 has no property `name`"),
            (feature(r#"{"name": ""}"#, point).as_str(), "feature 0 has no property `name`"),
            (feature(r#"{"name": 7}"#, point).as_str(), "feature 0 has no property `name`"),
            (feature(r#"{"name": "SoHo"}"#, point).as_str(), "feature 0 is no Polygon or MultiPolygon"),
            (feature(r#"{"name": "SoHo"}"#, "null").as_str(), "feature 0 is no Polygon or MultiPolygon"),
        ] {
            let said = check_polygons(text).expect_err(text);
            assert!(said.contains(why), "{text:?}: {said}");
            assert_eq!(reason(&pipeline(json!({})), text), Some("InvalidNeighbourhoods"));
        }
        check_polygons(POLYGONS).expect("good ones");
    }

    #[test]
    fn polygons_other_than_those_of_the_state_are_refused_until_the_epoch_rises() {
        let fingerprint = |polygons: &str| {
            let polygons = Sha256::digest(polygons).into();
            Fingerprint::new(&pipeline(json!({})).spec, &polygons).id
        };
        let of = |epoch: i64, state: Option<(&str, i64)>| {
            let status = state.map(|(polygons, epoch)| TipsPipelineStatus {
                state_fingerprint: Some(fingerprint(polygons)),
                state_epoch: Some(epoch),
                ..TipsPipelineStatus::default()
            });
            reason(&TipsPipeline { status, ..pipeline(json!({"epoch": epoch})) }, POLYGONS)
        };
        assert_eq!(of(0, None), None);
        assert_eq!(of(0, Some((POLYGONS, 0))), None);
        assert_eq!(of(0, Some(("others", 0))), Some("SettingsDiffer"));
        assert_eq!(of(1, Some(("others", 0))), None);
    }
}
