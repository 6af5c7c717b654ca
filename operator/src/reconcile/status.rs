//! From what was seen to the status: pure.

mod beside;
mod scaling;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;
use tipstream_crds::{ConditionType, Lag, TipsPipeline, TipsPipelineStatus, WindowSpan};

pub(super) use self::beside::Beside;
use super::observe::{Figures, Server};
use super::scaling::Decision;
use crate::build::names::Component;
use crate::build::wanted_replicas;
use crate::cluster::views::{DeploymentView, PodView, Trouble};
use crate::error::Error;

/// The worker's exit code for a state of other settings.
const EXIT_OTHER_SETTINGS: i32 = 3;

/// All that a status is made from.
#[derive(Debug)]
pub(super) struct Seen<'a> {
    /// The pipeline.
    pub pipeline: &'a TipsPipeline,
    /// The status that was written last.
    pub before: Option<&'a TipsPipelineStatus>,
    /// Why the spec could not be brought about, where it could not.
    pub error: Option<&'a Error>,
    /// The workers' Deployment.
    pub deployment: Option<&'a DeploymentView>,
    /// The workers.
    pub pods: &'a [PodView],
    /// What runs beside them.
    pub beside: Beside<'a>,
    /// What the workers say.
    pub figures: Option<&'a Figures>,
    /// How many workers the lag asks for, where it says how many.
    pub decision: Option<Decision>,
    /// Now.
    pub now: Timestamp,
}

/// What a condition says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Verdict {
    status: &'static str,
    reason: String,
    message: String,
}

fn verdict(status: &'static str, reason: &str, message: impl Into<String>) -> Verdict {
    Verdict { status, reason: reason.to_owned(), message: message.into() }
}

/// The status of a pipeline.
pub(super) fn of(seen: &Seen<'_>) -> TipsPipelineStatus {
    let before = seen.before.cloned().unwrap_or_default();
    let mut status = TipsPipelineStatus {
        observed_generation: seen.pipeline.metadata.generation,
        replicas: seen.deployment.map_or(0, |deployment| deployment.existing),
        ready_replicas: seen.deployment.map_or(0, |deployment| deployment.ready),
        selector: Some(selector(&seen.pipeline.name_any())),
        ..before.clone()
    };
    take_figures(&mut status, seen);
    status.query = beside::query(seen);
    status.compaction = beside::compaction(seen);
    let verdicts = [
        (ConditionType::Ready, ready(seen)),
        (ConditionType::Progressing, progressing(seen)),
        (ConditionType::Degraded, degraded(seen)),
        (ConditionType::StateCompatible, state_compatible(seen, &status)),
    ];
    let scaling = scaling::active(seen).map(|verdict| (ConditionType::ScalingActive, verdict));
    let condition = |(kind, verdict)| condition(kind, verdict, &before.conditions, seen);
    status.conditions = verdicts.into_iter().chain(scaling).map(condition).collect();
    status
}

fn selector(pipeline: &str) -> String {
    let labels = Component::Worker.selector(pipeline);
    let pairs: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(",")
}

/// Figures are of an epoch; what was said of an earlier one is dropped. Where nobody says anything, what was said
/// last stands, but for a lag that no worker can know.
fn take_figures(status: &mut TipsPipelineStatus, seen: &Seen<'_>) {
    let epoch = seen.pipeline.spec.epoch;
    if status.state_epoch.is_some_and(|of| of != epoch) {
        status.watermark = None;
        status.lag = None;
        status.last_window = None;
        status.books = None;
        status.state_fingerprint = None;
        status.state_epoch = None;
    }
    let is_ready = seen.deployment.is_some_and(|deployment| deployment.ready > 0);
    if wanted_replicas(&seen.pipeline.spec) == 0 || !is_ready {
        // Nobody looks how much has come since.
        status.lag = None;
    }
    let Some(figures) = seen.figures else { return };
    status.state_epoch = Some(epoch);
    status.state_fingerprint = Some(figures.fingerprint.clone());
    status.watermark = figures.watermark.map(Time).or(status.watermark.take());
    // It is waited for: of a part of the partitions it would be told too small.
    status.lag = figures.lag.filter(|_| is_ready);
    status.books = figures.books.or(status.books);
    if let Some(end) = figures.last_window_end {
        let window = SignedDuration::from_secs(seen.pipeline.spec.job.window.as_secs() as i64);
        let span = WindowSpan { start: Time(end - window), end: Time(end) };
        // A worker that has just begun knows of no window but its own.
        let later = status.last_window.as_ref().is_none_or(|known| known.end.0 < span.end.0);
        if later {
            status.last_window = Some(span);
        }
    }
}

fn condition(kind: ConditionType, verdict: Verdict, before: &[Condition], seen: &Seen<'_>) -> Condition {
    let same = before.iter().find(|c| c.type_ == kind.as_str() && c.status == verdict.status);
    Condition {
        type_: kind.as_str().to_owned(),
        status: verdict.status.to_owned(),
        reason: verdict.reason,
        message: verdict.message,
        observed_generation: seen.pipeline.metadata.generation,
        last_transition_time: same.map_or(Time(seen.now), |same| same.last_transition_time.clone()),
    }
}

/// Only an error that a person has to see to speaks against a pipeline whose workers run.
fn standing_error<'a>(seen: &Seen<'a>) -> Option<&'a Error> {
    seen.error.filter(|error| !error.is_transient() || seen.deployment.is_none())
}

fn ready(seen: &Seen<'_>) -> Verdict {
    let spec = &seen.pipeline.spec;
    if let Some(error) = standing_error(seen) {
        let running = seen.deployment.map_or(0, |deployment| deployment.ready);
        let meanwhile = match running {
            0 => String::new(),
            n => format!(" ({n} workers of the last good spec keep running)"),
        };
        return verdict("False", error.reason(), format!("{error}{meanwhile}"));
    }
    if spec.suspend {
        return verdict("False", "Suspended", "stopped by spec.suspend; the state is kept");
    }
    if spec.replicas == 0 {
        return verdict("False", "NoReplicas", "stopped by spec.replicas 0; the state is kept");
    }
    let Some(deployment) = seen.deployment.filter(|deployment| !deployment.new) else {
        return verdict("False", "Creating", "the workers are being created");
    };
    let wanted = spec.replicas;
    let ready = deployment.ready;
    if deployment.is_rolled_out() && deployment.wanted == wanted && ready == wanted {
        return verdict("True", "Running", format!("{ready} of {wanted} workers are ready"));
    }
    match first_trouble(seen.pods) {
        Some((pod, trouble)) => verdict(
            "False",
            "WorkersNotReady",
            format!("{ready} of {wanted} workers are ready; {}", quoted(pod, trouble)),
        ),
        None => verdict("False", "WorkersNotReady", format!("{ready} of {wanted} workers are ready")),
    }
}

fn progressing(seen: &Seen<'_>) -> Verdict {
    if let Some(error) = standing_error(seen) {
        return verdict(
            "False",
            error.reason(),
            "waits until what the condition Degraded names is put right",
        );
    }
    let spec = &seen.pipeline.spec;
    let wanted = wanted_replicas(spec);
    let Some(deployment) = seen.deployment.filter(|deployment| !deployment.new) else {
        return verdict("True", "Creating", "the workers are being created");
    };
    if deployment.stalled {
        return verdict("False", "DeadlineExceeded", "the workers have not become ready in time");
    }
    let there = format!(
        "{} of {wanted} workers have the present spec, {} exist",
        deployment.updated, deployment.existing
    );
    if deployment.recreates && !(deployment.is_rolled_out() && deployment.wanted == wanted) {
        let message =
            format!("epoch {} begins when all workers of the last one have ended: {there}", spec.epoch);
        return verdict("True", "NewEpoch", message);
    }
    if deployment.is_rolled_out() && deployment.wanted == wanted {
        return match deployment.ready {
            ready if ready == wanted => verdict("False", "Settled", "the workers are as the spec asks for"),
            ready => verdict("True", "Starting", format!("{ready} of {wanted} workers are ready")),
        };
    }
    // What has just been applied has not been counted by the Deployment's controller yet.
    let number_differs = deployment.existing != deployment.wanted || deployment.wanted != wanted;
    let reason =
        if deployment.updated == deployment.existing && number_differs { "Scaling" } else { "RollingOut" };
    verdict("True", reason, there)
}

fn degraded(seen: &Seen<'_>) -> Verdict {
    if let Some(error) = seen.error {
        return verdict("True", error.reason(), error.to_string());
    }
    if let Some(failure) = seen.deployment.and_then(|deployment| deployment.failure.as_ref()) {
        return verdict("True", "PodsRefused", failure.as_str());
    }
    if let Some((pod, trouble)) = first_trouble(seen.pods) {
        return verdict("True", &trouble_reason(trouble), quoted(pod, trouble));
    }
    // Of a Redis that says nothing no state can be read either.
    let answering = seen.figures.filter(|figures| !figures.silent.contains(&Server::Redis));
    if let Some(error) = answering.and_then(|figures| figures.state_error.as_ref()) {
        return verdict("True", "StateUnreadable", error.as_str());
    }
    if let Some(verdict) = seen.figures.and_then(unreachable) {
        return verdict;
    }
    if seen.figures.and_then(|figures| figures.balance) == Some(false) {
        let message = "records consumed and the sum of their outcomes differ; run tips-worker verify";
        return verdict("True", "BooksDoNotBalance", message);
    }
    if let Some(verdict) = beside::degraded(seen) {
        return verdict;
    }
    verdict("False", "AsExpected", "nothing needs a person")
}

/// Workers wait for whom they cannot reach, and go on by themselves.
fn unreachable(figures: &Figures) -> Option<Verdict> {
    let names = figures.silent.iter().map(|server| match server {
        Server::Kafka => ("KafkaUnreachable", "the coordinator of Kafka's group"),
        Server::Redis => ("RedisUnreachable", "Redis"),
        Server::Sink => ("SinkUnreachable", "the sink"),
    });
    let (reasons, names): (Vec<_>, Vec<_>) = names.unzip();
    let reason = match reasons[..] {
        [] => return None,
        [one] => one,
        _ => "ServersUnreachable",
    };
    let message = format!(
        "workers have had no answer for 30 s or longer from {}; they wait and go on when there is one; their logs say why",
        names.join(", ")
    );
    Some(verdict("True", reason, message))
}

fn state_compatible(seen: &Seen<'_>, status: &TipsPipelineStatus) -> Verdict {
    if let Some(error @ Error::StateDiffers { .. }) = seen.error {
        return verdict("False", error.reason(), error.to_string());
    }
    let refused = seen.pods.iter().filter_map(|pod| Some((pod, pod.trouble.as_ref()?)));
    let refused = refused.into_iter().find(|(_, trouble)| trouble.exit_code == Some(EXIT_OTHER_SETTINGS));
    if let Some((pod, trouble)) = refused {
        return verdict("False", "SettingsDiffer", quoted(pod, trouble));
    }
    match (&status.state_fingerprint, status.state_epoch) {
        (Some(fingerprint), Some(epoch)) => {
            let message = format!("the state of epoch {epoch} was made with these settings ({fingerprint})");
            verdict("True", "SameSettings", message)
        }
        _ if seen.pipeline.spec.epoch > 0 => verdict(
            "Unknown",
            "NewEpoch",
            format!("no worker has opened the state of epoch {} yet", seen.pipeline.spec.epoch),
        ),
        _ => verdict("Unknown", "NotOpened", "no worker has opened the state yet"),
    }
}

fn first_trouble<'a>(pods: impl IntoIterator<Item = &'a PodView>) -> Option<(&'a PodView, &'a Trouble)> {
    let ours: Vec<_> = pods.into_iter().filter(|pod| !pod.terminating).collect();
    // Where pods of two templates are there, those of the later one tell of the present spec.
    let latest = ours.iter().max_by_key(|pod| pod.created).map(|pod| &pod.template);
    // What ended speaks for itself; what only waits may be waiting for that.
    let mut troubled: Vec<_> = ours.iter().filter_map(|pod| Some((*pod, pod.trouble.as_ref()?))).collect();
    troubled.sort_by_key(|(pod, trouble)| {
        (latest != Some(&pod.template), trouble.exit_code.is_none(), pod.name.clone())
    });
    troubled.into_iter().next()
}

/// In the words of conditions: of a worker that ends, its exit and not how the kubelet waits.
fn trouble_reason(trouble: &Trouble) -> String {
    match trouble.exit_code {
        Some(EXIT_OTHER_SETTINGS) => "SettingsDiffer".to_owned(),
        Some(_) => "WorkerFailing".to_owned(),
        None => trouble.reason.clone(),
    }
}

fn quoted(pod: &PodView, trouble: &Trouble) -> String {
    let exit = trouble.exit_code.map(|code| format!(", exit code {code}")).unwrap_or_default();
    format!("{}: {}{exit}: {}", pod.name, trouble.reason, trouble.message)
}

/// Whether `status` says anything that a person or a program waits for, against what was written last. Figures move
/// all the time while data flows; of them only that all is read, or no longer, is news.
pub(super) fn is_material(before: Option<&TipsPipelineStatus>, status: &TipsPipelineStatus) -> bool {
    let settled = |status: &TipsPipelineStatus| {
        let mut status = status.clone();
        status.watermark = None;
        status.lag = status.lag.map(|lag| Lag { records: lag.records.signum(), seconds: 0 });
        status.last_window = None;
        status.books = None;
        status
    };
    before.map(settled) != Some(settled(status))
}

#[cfg(test)]
mod tests;
