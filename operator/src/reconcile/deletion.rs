//! The end of a pipeline. What the operator made goes by its owner references.
//!
//! With `deletionPolicy: Retain` that is all, and there is no finalizer: nothing that could hang. With `Delete` a
//! finalizer waits until the workers have ended and a Job has removed the state from Redis; if that cannot be done
//! in time, an Event says so and the pipeline goes all the same.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;
use tipstream_crds::{DeletionPolicy, TipsPipeline};

use super::{Context, Found, apply};
use crate::build::names::{Component, MANAGER};
use crate::build::purge_job;
use crate::cluster::Key;
use crate::cluster::views::{ChildView, JobState, Progress};
use crate::crash;
use crate::error::Error;
use crate::events::{normal, warning};
use crate::kind::Kind;

/// Keeps a pipeline until its state is removed.
const FINALIZER: &str = "tipstream.dev/state";
/// How often one looks whether a deadline is over; what is done meanwhile is told by the watches.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Sets or takes away the finalizer as the policy says.
pub(super) async fn sync_finalizer(pipeline: &TipsPipeline, context: &Context) -> Result<(), Error> {
    let wanted = pipeline.spec.deletion_policy == DeletionPolicy::Delete;
    let metadata = &pipeline.metadata;
    if wanted == has_finalizer(metadata) { Ok(()) } else { set_finalizer(metadata, wanted, context).await }
}

/// Does the next step of a deletion. Returns when to look again, if nothing happens before.
pub(super) async fn run(
    pipeline: &TipsPipeline,
    key: &Key,
    found: &mut Found,
    context: &Context,
) -> Result<Option<Duration>, Error> {
    if !has_finalizer(&pipeline.metadata) {
        return Ok(None);
    }
    if pipeline.spec.deletion_policy == DeletionPolicy::Retain {
        return let_go(pipeline, key, found, context).await;
    }
    let (elapsed, deadlines) = (elapsed(pipeline), Deadlines::within(context.purge_timeout));
    let begun = match job(pipeline, found) {
        Some(JobState::Complete) => {
            let event = normal("StateRemoved", "Purge", "the state of all epochs was removed from Redis");
            context.events.tell(pipeline, &event).await;
            return let_go(pipeline, key, found, context).await;
        }
        Some(JobState::Failed(why)) => return abandon(pipeline, key, found, context, why).await,
        Some(JobState::Running) | None if elapsed >= deadlines.all => {
            return abandon(pipeline, key, found, context, "it took too long").await;
        }
        Some(JobState::Running) => true,
        None => false,
    };
    // In the foreground: while the Deployment is there, workers may still appear.
    let works =
        |kind: Kind, view: &ChildView| matches!(kind, Kind::Deployment | Kind::CronJob) && !view.terminating;
    for (kind, child, _) in found.children.iter().filter(|(kind, _, view)| works(*kind, view)) {
        apply::delete(&context.client, *kind, child, &DeleteParams::foreground()).await?;
    }
    let no_worker = found.deployment(Component::Worker).is_none() && found.workers.is_empty();
    if begun || no_worker || elapsed >= deadlines.workers {
        let mut objects =
            Vec::from(purge_job::objects(pipeline, &context.worker_image, deadlines.job.as_secs() as i64));
        objects.retain(|object| !found.has(object.kind(), object.name()));
        for object in objects {
            match apply::create(&context.client, &object, &mut found.children).await {
                Ok(()) => {}
                Err(error) if error.is_transient() => return Err(error),
                // A namespace that is going takes no new objects.
                Err(error) => return abandon(pipeline, key, found, context, &error.to_string()).await,
            }
        }
    }
    Ok(Some(LOOK_INTERVAL))
}

/// When a deletion that does not come on does its next step all the same, of the time that there is for it.
struct Deadlines {
    /// The state is removed, though there are workers.
    workers: Duration,
    /// The Job gives up, so long after its start.
    job: Duration,
    /// The pipeline is let go.
    all: Duration,
}

impl Deadlines {
    fn within(all: Duration) -> Self {
        Deadlines { workers: all * 3 / 10, job: all * 6 / 10, all }
    }
}

/// Says that the state stays, and lets the pipeline go.
async fn abandon(
    pipeline: &TipsPipeline,
    key: &Key,
    found: &Found,
    context: &Context,
    why: &str,
) -> Result<Option<Duration>, Error> {
    let note = left(key, why);
    tracing::warn!("{note}");
    context.events.tell(pipeline, &warning("StateLeft", "Purge", note)).await;
    let_go(pipeline, key, found, context).await
}

/// What is told of a state that stays.
pub(super) fn left(Key { namespace, name }: &Key, why: &str) -> String {
    format!(
        "the state could not be removed from Redis ({why}) and stays there under the keys \
         tipstream:{{{namespace}.{name}/*; run tips-worker purge with this manifest, or delete them"
    )
}

async fn let_go(
    pipeline: &TipsPipeline,
    key: &Key,
    found: &Found,
    context: &Context,
) -> Result<Option<Duration>, Error> {
    if let Err(error) = end_purges(found, context).await {
        if elapsed(pipeline) < context.purge_timeout {
            return Err(error);
        }
        tracing::warn!("{error}; it ends by itself");
    }
    set_finalizer(&pipeline.metadata, false, context).await?;
    tracing::info!(pipeline = &*key.name, "let go");
    Ok(None)
}

/// Ends what removes state: that of this pipeline, which is let go, or of one of the same name that is gone, whose state
/// is that of this one now.
pub(super) async fn end_purges(found: &Found, context: &Context) -> Result<(), Error> {
    let purges = |view: &ChildView| view.component == Some(Component::Purge) && !view.terminating;
    // The Job first: its pod is never without its policy.
    for (kind, child, _) in found.children.iter().rev().filter(|(.., view)| purges(view)) {
        apply::delete(&context.client, *kind, child, &DeleteParams::background()).await?;
    }
    Ok(())
}

fn job<'a>(pipeline: &TipsPipeline, found: &'a Found) -> Option<&'a JobState> {
    let name = purge_job::name(pipeline);
    found.of(Component::Purge).find_map(|view| match &view.progress {
        Progress::Job(job) if job.name == name => Some(&job.state),
        _ => None,
    })
}

fn elapsed(pipeline: &TipsPipeline) -> Duration {
    let since = pipeline.metadata.deletion_timestamp.as_ref().map_or_else(Timestamp::now, |time| time.0);
    Timestamp::now().duration_since(since).try_into().unwrap_or_default()
}

pub(super) fn has_finalizer(metadata: &ObjectMeta) -> bool {
    metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER)
}

pub(super) async fn set_finalizer(
    metadata: &ObjectMeta,
    wanted: bool,
    context: &Context,
) -> Result<(), Error> {
    let mut finalizers = metadata.finalizers.clone().unwrap_or_default();
    finalizers.retain(|finalizer| finalizer != FINALIZER);
    if wanted {
        finalizers.push(FINALIZER.to_owned());
    }
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let api = Api::<TipsPipeline>::namespaced(context.client.clone(), namespace);
    // The version: nobody else's finalizer is lost.
    let patch = json!({"metadata": {
        "finalizers": finalizers,
        "resourceVersion": metadata.resource_version,
    }});
    let name = metadata.name.as_deref().unwrap_or_default();
    match api.patch_metadata(name, &PatchParams::apply(MANAGER), &Patch::Merge(patch)).await {
        Ok(_) => {
            crash::point("finalizer::after-change");
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(Error::Finalizer(error.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_that_are_left_are_told_as_redis_finds_them() {
        let note = left(&Key::new("taxi", "nyc"), "no server");
        // Of an epoch, a shard and a part, such as tipstream:{taxi.nyc/0/7}:meta.
        assert!(note.contains("(no server) and stays there under the keys tipstream:{taxi.nyc/*;"), "{note}");
    }

    #[test]
    fn each_step_of_a_deletion_has_its_time() {
        let Deadlines { workers, job, all } = Deadlines::within(Duration::from_secs(300));
        assert_eq!([workers, job, all].map(|time| time.as_secs()), [90, 180, 300]);
    }
}
