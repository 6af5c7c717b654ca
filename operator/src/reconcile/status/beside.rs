//! What runs beside the stream: it has no part in whether the pipeline is ready, and where it fails, the pipeline is
//! degraded.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tipstream_crds::{CompactionStatus, QueryStatus};

use super::{Seen, Verdict, first_trouble, quoted, verdict};
use crate::build::names::Component;
use crate::cluster::views::{CronJobView, DeploymentView, JobState, JobView, PodView};
use crate::error::Error;

/// What is seen of what runs beside the stream.
#[derive(Debug, Default)]
pub(in crate::reconcile) struct Beside<'a> {
    /// The pods of the query service and of the compaction.
    pub pods: &'a [PodView],
    /// The query service's Deployment.
    pub query: Option<&'a DeploymentView>,
    /// What the query service lacks.
    pub query_lacks: Option<&'a Error>,
    /// The compaction's CronJob.
    pub compaction: Option<&'a CronJobView>,
    /// Its runs, as far as they are kept.
    pub runs: Vec<&'a JobView>,
}

impl Beside<'_> {
    fn pods(&self, component: Component) -> impl Iterator<Item = &PodView> {
        self.pods.iter().filter(move |pod| pod.component == Some(component))
    }
}

pub(super) fn query(seen: &Seen<'_>) -> Option<QueryStatus> {
    let enabled = seen.pipeline.spec.query.enabled;
    let deployment = seen.beside.query.filter(|_| enabled);
    deployment
        .map(|deployment| QueryStatus { replicas: deployment.existing, ready_replicas: deployment.ready })
}

pub(super) fn compaction(seen: &Seen<'_>) -> Option<CompactionStatus> {
    let enabled = seen.pipeline.spec.compaction.enabled;
    seen.beside.compaction.filter(|_| enabled).map(|cron_job| CompactionStatus {
        last_schedule_time: cron_job.last_schedule.map(Time),
        last_successful_time: cron_job.last_success.map(Time),
    })
}

/// What of it needs a person.
pub(super) fn degraded(seen: &Seen<'_>) -> Option<Verdict> {
    query_degraded(seen).or_else(|| compaction_degraded(seen))
}

fn query_degraded(seen: &Seen<'_>) -> Option<Verdict> {
    let beside = &seen.beside;
    if !seen.pipeline.spec.query.enabled {
        return None;
    }
    if let Some(lacking) = beside.query_lacks {
        let message = format!("{lacking}; until then the query service stays as it is");
        return Some(verdict("True", lacking.reason(), message));
    }
    let deployment = beside.query?;
    let there = format!("{} of {} query pods are ready", deployment.ready, deployment.wanted);
    let trouble = first_trouble(beside.pods(Component::Query));
    let why = match (&deployment.failure, trouble) {
        (Some(failure), _) => failure.clone(),
        (None, Some((pod, trouble))) => quoted(pod, trouble),
        (None, None) if deployment.stalled => "they have not become ready in time".to_owned(),
        (None, None) => return None,
    };
    Some(verdict("True", "QueryNotReady", format!("{there}; {why}")))
}

/// A run that failed is told until one has come to a good end.
fn compaction_degraded(seen: &Seen<'_>) -> Option<Verdict> {
    let beside = &seen.beside;
    if !seen.pipeline.spec.compaction.enabled {
        return None;
    }
    let ended = beside.runs.iter().filter(|run| run.state != JobState::Running);
    let last = ended.max_by_key(|run| (run.created, &run.name))?;
    let JobState::Failed(why) = &last.state else { return None };
    let prefix = format!("{}-", last.name);
    let of_run = beside.pods(Component::Compact).filter(|pod| pod.name.starts_with(&prefix));
    let pod = first_trouble(of_run)
        .map_or_else(String::new, |(pod, trouble)| format!("; {}", quoted(pod, trouble)));
    Some(verdict("True", "CompactionFailed", format!("{}: {why}{pod}", last.name)))
}
