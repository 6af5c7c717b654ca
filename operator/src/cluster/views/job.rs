//! What matters of a CronJob and a Job.

use k8s_openapi::api::batch::v1::{CronJobStatus, JobStatus};
use k8s_openapi::jiff::Timestamp;
use kube::core::DynamicObject;

use super::{short, status};

/// Where a CronJob stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CronJobView {
    /// When it last began a Job.
    pub last_schedule: Option<Timestamp>,
    /// When a Job of it last was complete.
    pub last_success: Option<Timestamp>,
}

/// Where a Job stands.
#[derive(Clone, Debug, PartialEq)]
pub struct JobView {
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// Whether it is at its end.
    pub state: JobState,
}

/// Whether a Job is at its end.
#[derive(Clone, Debug, PartialEq)]
pub enum JobState {
    /// It works.
    Running,
    /// It is done.
    Complete,
    /// It has given up.
    Failed(String),
}

pub(super) fn cron_job(object: &DynamicObject) -> CronJobView {
    let status: CronJobStatus = status(object);
    CronJobView {
        last_schedule: status.last_schedule_time.map(|time| time.0),
        last_success: status.last_successful_time.map(|time| time.0),
    }
}

pub(super) fn job(object: &DynamicObject) -> JobView {
    JobView {
        name: object.metadata.name.clone().unwrap_or_default(),
        created: object.metadata.creation_timestamp.as_ref().map(|time| time.0),
        state: state(&status(object)),
    }
}

fn state(status: &JobStatus) -> JobState {
    for condition in status.conditions.iter().flatten() {
        match (&*condition.type_, &*condition.status) {
            ("Complete", "True") => return JobState::Complete,
            ("Failed", "True") => return JobState::Failed(short(condition.message.as_deref())),
            _ => {}
        }
    }
    JobState::Running
}
