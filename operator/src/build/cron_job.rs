//! The compaction: a CronJob.
//!
//! A run resumes what one before it left undone, so a run that fails is tried again by the Job a few times and then
//! by the next run. Two at once would do no harm, and no good.

use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec, JobSpec, JobTemplateSpec};
use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::names::Component;
use super::{PORT, PORT_NAME, Plan, pod};

const COMPACT: Component = Component::Compact;
/// How much too late a run may begin, where the cluster could not begin it in time.
const STARTING_DEADLINE_SECONDS: i64 = 3600;
/// When a run is ended: it stands still, or has more to do than a night is long.
const DEADLINE_SECONDS: i64 = 6 * 3600;
/// How often a run is tried again.
const RETRIES: i32 = 3;
/// What a run may write into /tmp before the kubelet evicts the pod.
const SCRATCH: &str = "4Gi";

pub(super) fn build(plan: &Plan<'_>) -> CronJob {
    let spec = &plan.pipeline.spec;
    let compaction = &spec.compaction;
    CronJob {
        metadata: plan.metadata(COMPACT),
        spec: Some(CronJobSpec {
            schedule: compaction.schedule.clone(),
            time_zone: Some("Etc/UTC".to_owned()),
            // A pipeline that is suspended writes nothing.
            suspend: Some(compaction.suspend || spec.suspend),
            concurrency_policy: Some("Forbid".to_owned()),
            starting_deadline_seconds: Some(STARTING_DEADLINE_SECONDS),
            successful_jobs_history_limit: Some(compaction.successful_jobs_history_limit),
            failed_jobs_history_limit: Some(compaction.failed_jobs_history_limit),
            job_template: JobTemplateSpec {
                // By which the runs are found.
                metadata: Some(ObjectMeta {
                    labels: Some(COMPACT.labels(&plan.name())),
                    ..ObjectMeta::default()
                }),
                spec: Some(JobSpec {
                    active_deadline_seconds: Some(DEADLINE_SECONDS),
                    backoff_limit: Some(RETRIES),
                    template: template(plan),
                    ..JobSpec::default()
                }),
            },
        }),
        ..CronJob::default()
    }
}

/// A run reads everything anew, so nothing has to tell that it has changed.
fn template(plan: &Plan<'_>) -> PodTemplateSpec {
    let compaction = &plan.pipeline.spec.compaction;
    let flags = [format!("--listen=0.0.0.0:{PORT}")];
    let container = Container {
        resources: Some(pod::resources("250m", "512Mi", &compaction.peak_memory().to_string())),
        ..pod::container(plan, COMPACT, "compact", &flags, &[(PORT_NAME, PORT)])
    };
    let spec =
        PodSpec { restart_policy: Some("Never".to_owned()), ..pod::spec(plan, COMPACT, container, SCRATCH) };
    pod::template(plan, COMPACT, None, compaction.resources.as_ref(), spec)
}
