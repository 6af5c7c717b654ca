use super::*;
use crate::reconcile::scaling::Because;

fn active(spec: serde_json::Value, because: Because) -> Option<(String, String)> {
    let (pipeline, deployment) = (pipeline(spec), running());
    let decision = Some(Decision { replicas: 2, because });
    let status = of(&Seen { decision, ..seen(&pipeline, &deployment) });
    let condition = status.conditions.into_iter().find(|condition| condition.type_ == "ScalingActive");
    condition.map(|condition| (format!("{}/{}", condition.status, condition.reason), condition.message))
}

fn scaling(more: serde_json::Value) -> serde_json::Value {
    let mut spec = json!({"scaling": {"maxReplicas": 4, "targetLag": 1000}});
    spec.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    spec
}

#[test]
fn whether_the_lag_decides_is_told_and_what_keeps_it() {
    let says = |because| active(scaling(json!({})), because).expect("a condition");
    let of = |status: &str, message: &str| (status.to_owned(), message.to_owned());
    assert_eq!(says(Because::Lag), of("True/DesiredWithinRange", "the lag asks for 2 workers, of 1 to 4"));
    assert_eq!(
        says(Because::Maximum),
        of("True/TooManyReplicas", "the lag asks for more workers than maxReplicas allows, 4")
    );
    assert_eq!(
        says(Because::Partitions),
        of("True/TooFewPartitions", "the lag asks for more workers than can have a partition, 2")
    );
    assert_eq!(says(Because::Stabilization).0, "True/ScaleDownStabilized");
    assert_eq!(says(Because::Unknown).0, "False/LagUnknown");
}

#[test]
fn of_workers_that_are_stopped_the_lag_decides_nothing() {
    for stopped in [json!({"suspend": true}), json!({"replicas": 0})] {
        let says = active(scaling(stopped), Because::Unknown).expect("a condition");
        assert_eq!(says.0, "False/ScalingDisabled");
    }
    assert_eq!(active(json!({}), Because::Lag), None);
}
