//! What a valid setting is, said once for both who enforce it.
//!
//! In a cluster the API server refuses what breaks a rule (CEL, O1); `tips-worker local` has no
//! API server, so the same rule is a Rust function too. A [`Rule`] holds both beside one message,
//! and the tests evaluate both on the same specs.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::ValidationRule;
use kube::core::Rule as CelRule;
use schemars::Schema;

/// A setting that a spec may not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct Violation {
    /// Where, as `kubectl explain` names it: `spec.job.slide`.
    pub path: String,
    /// What must hold and what to write instead.
    pub message: &'static str,
}

/// Something that must hold for a part `T` of the spec.
pub(crate) struct Rule<T: 'static> {
    /// The field of `T` that is at fault, with its dot: `.slide`. Empty for `T` as a whole.
    pub(crate) field: &'static str,
    /// The rule as the API server evaluates it, `self` being the `T`.
    pub(crate) cel: &'static str,
    /// What must hold and what to write instead.
    pub(crate) message: &'static str,
    /// The rule as the worker evaluates it.
    pub(crate) holds: fn(&T) -> bool,
}

impl<T> Rule<T> {
    /// The rule of an object as a whole. A CRD does not describe metadata, so no path can lead into it: the message
    /// says where.
    pub(crate) fn of_object(&self) -> ValidationRule {
        ValidationRule {
            rule: self.cel.to_owned(),
            message: Some(format!("{} {}", self.field, self.message)),
            ..ValidationRule::default()
        }
    }
}

/// A part of the spec that has rules.
pub(crate) trait Ruled: Sized + 'static {
    const RULES: &'static [Rule<Self>];

    /// The rules in the schema: to be named as the type's schemars transform.
    fn rules(schema: &mut Schema) {
        for rule in Self::RULES {
            attach(schema, rule.field, rule.cel, rule.message);
        }
    }
}

/// Something that must hold from one `T` to the next.
pub(crate) struct Transition<T: 'static> {
    pub(crate) field: &'static str,
    /// `self` is the new `T`, `oldSelf` the old one.
    pub(crate) cel: &'static str,
    pub(crate) message: &'static str,
    /// Called with the old `T`, then the new one.
    pub(crate) holds: fn(&T, &T) -> bool,
}

/// Adds one rule to a schema's `x-kubernetes-validations`.
pub(crate) fn attach(schema: &mut Schema, field: &str, cel: &str, message: &str) {
    let mut rule = CelRule::new(cel).message(message);
    if !field.is_empty() {
        rule = rule.field_path(field);
    }
    kube::core::validate(schema, rule).expect("strings serialize to JSON");
}

/// The broken rules of a spec, in the order of its fields.
#[derive(Default)]
pub(crate) struct Violations(pub(crate) Vec<Violation>);

impl Violations {
    pub(crate) fn check<T: Ruled>(&mut self, path: &str, part: &T) {
        for rule in T::RULES.iter().filter(|rule| !(rule.holds)(part)) {
            self.push(path, rule.field, rule.message);
        }
    }

    pub(crate) fn check_optional<T: Ruled>(&mut self, path: &str, part: Option<&T>) {
        if let Some(part) = part {
            self.check(path, part);
        }
    }

    pub(crate) fn push(&mut self, path: &str, field: &str, message: &'static str) {
        self.0.push(Violation { path: format!("{path}{field}"), message });
    }
}
