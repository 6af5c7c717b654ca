//! Events: what a person would want to know happened to a pipeline.
//!
//! They are told where a condition turns, so each is told once; what comes back is counted on one Event by kube's
//! recorder.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource as _};
use tipstream_crds::{TipsPipeline, TipsPipelineStatus};

use crate::build::names::MANAGER;
use crate::crash;

/// Most bytes that the API server takes as a note.
const NOTE_LIMIT: usize = 1024;

/// Tells Events.
pub struct Events(Recorder);

impl Events {
    /// Told as `identity`.
    pub fn new(client: Client, identity: &str) -> Self {
        let reporter = Reporter { controller: MANAGER.to_owned(), instance: Some(identity.to_owned()) };
        Events(Recorder::new(client, reporter))
    }

    /// Tells `event` of `pipeline`. That it could not be told is logged and no reason to stop.
    pub async fn tell(&self, pipeline: &TipsPipeline, event: &Event) {
        self.tell_about(&pipeline.object_ref(&()), event).await;
    }

    /// Tells `event` of `object`. That it could not be told is logged and no reason to stop.
    pub async fn tell_about(&self, object: &ObjectReference, event: &Event) {
        if let Err(error) = self.0.publish(event, object).await {
            tracing::warn!(%error, reason = event.reason, "cannot write an Event");
        }
        crash::point("events::after-tell");
    }
}

/// An Event of something that needs a person.
pub fn warning(reason: &str, action: &str, note: impl Into<String>) -> Event {
    event(EventType::Warning, reason, action, note.into())
}

/// An Event of something that goes as it should.
pub fn normal(reason: &str, action: &str, note: impl Into<String>) -> Event {
    event(EventType::Normal, reason, action, note.into())
}

fn event(type_: EventType, reason: &str, action: &str, mut note: String) -> Event {
    note.truncate(note.floor_char_boundary(NOTE_LIMIT));
    Event { type_, reason: reason.to_owned(), action: action.to_owned(), note: Some(note), secondary: None }
}

/// What turned from `before` to `after`.
pub fn of_transition(before: Option<&TipsPipelineStatus>, after: &TipsPipelineStatus) -> Vec<Event> {
    let conditions = before.map(|status| &*status.conditions).unwrap_or_default();
    let turned = after.conditions.iter().filter(|now| {
        let was = conditions.iter().find(|was| was.type_ == now.type_);
        was.map(key) != Some(key(now))
    });
    turned.filter_map(told).collect()
}

fn key(condition: &Condition) -> (&str, &str) {
    (&condition.status, &condition.reason)
}

fn told(condition: &Condition) -> Option<Event> {
    let Condition { type_, status, reason, message, .. } = condition;
    match (&**type_, &**status, &**reason) {
        ("Ready", "True", _) => Some(normal("Ready", "Observe", message)),
        ("Ready", "False", "Suspended" | "NoReplicas") => Some(normal(reason, "Scale", message)),
        ("StateCompatible", "Unknown", "NewEpoch") => Some(normal(reason, "Apply", message)),
        ("Progressing", "True", "Starting" | "NewEpoch") => None,
        ("Progressing", "True", _) => Some(normal(reason, "Apply", message)),
        ("Progressing", "False", "DeadlineExceeded") => Some(warning(reason, "Apply", message)),
        ("Degraded", "True", _) => Some(warning(reason, "Observe", message)),
        ("StateCompatible", "True", _) => Some(normal("StateOpened", "Observe", message)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn status(conditions: &[(&str, &str, &str)]) -> TipsPipelineStatus {
        let condition = |&(type_, status, reason): &(&str, &str, &str)| Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: "as it is".to_owned(),
            observed_generation: None,
            last_transition_time: Time(k8s_openapi::jiff::Timestamp::UNIX_EPOCH),
        };
        TipsPipelineStatus {
            conditions: conditions.iter().map(condition).collect(),
            ..TipsPipelineStatus::default()
        }
    }

    fn reasons(before: Option<&TipsPipelineStatus>, after: &TipsPipelineStatus) -> Vec<String> {
        of_transition(before, after).into_iter().map(|event| event.reason).collect()
    }

    #[test]
    fn a_turn_is_told_once() {
        let degraded =
            status(&[("Ready", "False", "SecretNotFound"), ("Degraded", "True", "SecretNotFound")]);
        assert_eq!(reasons(None, &degraded), ["SecretNotFound"]);
        assert_eq!(reasons(Some(&degraded), &degraded), [""; 0]);
        let well = status(&[("Ready", "True", "Running"), ("Degraded", "False", "AsExpected")]);
        assert_eq!(reasons(Some(&degraded), &well), ["Ready"]);
    }

    #[test]
    fn a_note_has_no_more_bytes_than_the_api_server_takes() {
        let told = warning("ApplyFailed", "Observe", "…".repeat(NOTE_LIMIT));
        assert_eq!(told.note.map(|note| note.len()), Some(1023));
    }

    #[test]
    fn another_reason_is_another_event() {
        let before = status(&[("Degraded", "True", "SecretNotFound")]);
        let after = status(&[("Degraded", "True", "SecretKeyNotFound")]);
        assert_eq!(reasons(Some(&before), &after), ["SecretKeyNotFound"]);
    }
}
