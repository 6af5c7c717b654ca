//! One pass over one pipeline, in stages: fetch → dereference → validate → build → apply → observe →
//! scale → status.
//!
//! Fetch reads the cache of the watches. As long as what it finds is what the last pass left, the stages from
//! dereference to apply have nothing to do and are passed over, so a pass over a settled pipeline costs the API
//! server nothing; the workers are asked directly.

mod apply;
mod deletion;
mod dereference;
mod fetch;
mod memo;
mod observe;
mod ownership;
mod scaling;
mod status;
pub mod strangers;
mod validate;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Resource as _, ResourceExt as _};
use serde_json::json;
use tipstream_crds::{TipsPipeline, TipsPipelineStatus};
use tokio::time::timeout;
use tracing::Instrument as _;

use self::apply::Owner;
use self::fetch::Found;
use self::memo::{Memo, Memos, Settled};
pub use self::observe::Observer;
use crate::build::names::{Component, MANAGER};
use crate::build::{self, Object, Plan, wanted_replicas};
use crate::cluster::{Cluster, Key};
use crate::crash;
use crate::error::Error;
use crate::events::{self, Events};
use crate::metrics::Metrics;

/// How often workers are asked how they are doing.
const OBSERVE_INTERVAL: Duration = Duration::from_secs(10);
/// How often workers are asked of whom the last time none answered: one who waits for an answer keeps others waiting.
/// That they become ready is told by a watch.
const SILENT_INTERVAL: Duration = Duration::from_secs(60);
/// A pipeline without workers changes by itself only with what is watched; this is for peace of mind.
const RESYNC_INTERVAL: Duration = Duration::from_secs(600);
/// While data flows, watermark and books change with every look. They are written only so often, so that a thousand
/// busy pipelines are some thirty small writes a second; all else in a status is written at once.
const FIGURES_INTERVAL: Duration = Duration::from_secs(30);
/// When a pass is given up: a request that is not answered would keep its pipeline, and one of the passes at once, for
/// ever.
const PASS_TIMEOUT: Duration = Duration::from_secs(60);
/// Passes in a row that fail before it is said of what may be over by itself.
const PATIENCE: u32 = 3;
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// A pass that fails asks the workers all the same: what they say is never older than of silent ones.
const LAST_RETRY: Duration = SILENT_INTERVAL;

/// What reconciles share.
pub struct Context {
    client: Client,
    cluster: Cluster,
    observer: Observer,
    events: Events,
    metrics: Metrics,
    worker_image: String,
    purge_timeout: Duration,
    memos: Memos,
    passes: AtomicU64,
}

impl Context {
    /// For reconciles by `client` of what is in `cluster`.
    pub fn new(
        client: Client,
        cluster: Cluster,
        observer: Observer,
        events: Events,
        metrics: Metrics,
        worker_image: String,
        purge_timeout: Duration,
    ) -> Self {
        let (memos, passes) = (Memos::default(), AtomicU64::new(0));
        Context { client, cluster, observer, events, metrics, worker_image, purge_timeout, memos, passes }
    }

    /// Forgets a pipeline that is gone.
    pub fn forget(&self, key: &Key) {
        drop(self.memos.take(key, ""));
    }
}

/// One pass over `pipeline`. What it could not do is in the log, the metrics and the status. Returns when the next one is
/// due, if nothing happens before.
pub async fn run(pipeline: Arc<TipsPipeline>, context: Arc<Context>) -> Option<Duration> {
    let pass = context.passes.fetch_add(1, Ordering::Relaxed);
    let key = Key::of(&pipeline);
    let span = tracing::info_span!("reconcile", pipeline = %key, pass);
    async {
        let started = Instant::now();
        context.metrics.under_way.inc();
        let uid = pipeline.uid().unwrap_or_default();
        let mut memo = context.memos.take(&key, &uid);
        let pass = timeout(PASS_TIMEOUT, pass_over(&pipeline, &key, &mut memo, &context)).await;
        let result = pass.unwrap_or(Err(Error::TookTooLong(PASS_TIMEOUT)));
        let ok = result.is_ok();
        let next = match result {
            Ok(next) => {
                memo.failures = 0;
                next
            }
            Err(error) => {
                memo.failures += 1;
                context.metrics.errors.with_label_values(&[error.category()]).inc();
                tracing::warn!(category = error.category(), "{error}");
                Some(retry(memo.failures))
            }
        };
        context.memos.put(key.clone(), memo);
        context.metrics.under_way.dec();
        context.metrics.reconciles.inc();
        context.metrics.seconds.observe(started.elapsed().as_secs_f64());
        tracing::debug!(millis = started.elapsed().as_millis() as u64, ok, "done");
        next
    }
    .instrument(span)
    .await
}

/// How long to wait after so many passes in a row that failed.
fn retry(failures: u32) -> Duration {
    FIRST_RETRY.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LAST_RETRY)
}

async fn pass_over(
    pipeline: &TipsPipeline,
    key: &Key,
    memo: &mut Memo,
    context: &Context,
) -> Result<Option<Duration>, Error> {
    let mut found = Found::fetch(pipeline, key, &context.cluster);
    if pipeline.metadata.deletion_timestamp.is_some() {
        return deletion::run(pipeline, key, &mut found, context).await;
    }
    let brought_about = match deletion::sync_finalizer(pipeline, context).await {
        Ok(()) => bring_about(pipeline, &mut found, memo, context).await,
        Err(error) => Err(error),
    };
    let wanted = wanted_replicas(&pipeline.spec);
    if brought_about.is_err() {
        // Nothing that is wrong keeps a pipeline from being stopped, or scaled (O4).
        apply::scale(&context.client, &mut found.children, wanted).await?;
    }
    let brought_about = patiently(brought_about, memo)?;
    let figures = match wanted {
        0 => None,
        _ => context.observer.ask(key, &found.workers, pipeline.spec.epoch).await,
    };
    let decision = scaling::decide(pipeline, figures.as_ref(), &mut memo.recent);
    let scaled = patiently(scaling::run(pipeline, decision, context).await, memo)?;
    let brought_about = brought_about.and(scaled);
    let before = memo.take_status(pipeline.status.as_ref());
    let status = status::of(&status::Seen {
        pipeline,
        before: before.as_ref(),
        error: brought_about.as_ref().err(),
        deployment: found.deployment(Component::Worker),
        pods: &found.workers,
        beside: status::Beside {
            pods: &found.others,
            query: found.deployment(Component::Query),
            query_lacks: memo.settled.as_ref().and_then(|settled| settled.query_lacks.as_ref()),
            compaction: found.cron_job(),
            runs: found.runs(),
        },
        figures: figures.as_ref(),
        decision,
        now: Timestamp::now(),
    });
    let told = tell(pipeline, before, status, memo, context).await;
    brought_about.and(told)?;
    Ok(Some(match (wanted, figures) {
        (0, _) => RESYNC_INTERVAL,
        (_, None) => SILENT_INTERVAL,
        (_, Some(_)) => OBSERVE_INTERVAL,
    }))
}

/// What is to be told of a stage: an error that may be over at the next try ends the pass for now, and the status that
/// stands says of which generation it is.
fn patiently(result: Result<(), Error>, memo: &Memo) -> Result<Result<(), Error>, Error> {
    match result {
        Err(error) if error.is_transient() && memo.failures < PATIENCE => Err(error),
        result => Ok(result),
    }
}

/// From dereference to apply, where there is anything to do.
async fn bring_about(
    pipeline: &TipsPipeline,
    found: &mut Found,
    memo: &mut Memo,
    context: &Context,
) -> Result<(), Error> {
    deletion::end_purges(found, context).await?;
    let inputs = found.inputs(pipeline);
    if let Some(settled) = &memo.settled
        && settled.inputs == inputs
        && apply::is_as_applied(&memo.applied, &found.children, settled.held())
    {
        return Ok(());
    }
    memo.settled = None;
    let (objects, query_lacks) = wanted_objects(pipeline, found, context).await?;
    let settled = Settled { inputs, query_lacks };
    let (name, uid) = (pipeline.name_any(), pipeline.uid().unwrap_or_default());
    let owner = Owner { name: &name, uid: &uid };
    let (children, applied) = (&mut found.children, &mut memo.applied);
    apply::run(&context.client, owner, &objects, children, settled.held(), applied).await?;
    memo.settled = Some(settled);
    Ok(())
}

/// From dereference to build: the objects, and what the query service lacks.
async fn wanted_objects(
    pipeline: &TipsPipeline,
    found: &Found,
    context: &Context,
) -> Result<(Vec<Object>, Option<Error>), Error> {
    let namespace = pipeline.namespace().unwrap_or_default();
    let contents = dereference::run(&context.client, &context.cluster, &namespace, &found.references).await?;
    let valid = validate::run(pipeline, &contents)?;
    let objects = build::objects(&Plan {
        pipeline: valid.pipeline,
        sink: valid.sink,
        default_image: &context.worker_image,
        polygons: valid.contents.polygons.as_ref().map(|(_, text)| text.as_str()),
        references_digest: &valid.contents.digest,
        query_digest: contents.query.as_deref().ok().filter(|_| pipeline.spec.query.enabled),
        replacement: found.replacement(pipeline.spec.epoch),
        pod_monitors: found.pod_monitors,
    });
    Ok((objects, contents.query.err()))
}

/// Tells what turned, and writes the status, where it says something new. The Events come first: an operator that dies
/// in between tells them again, where one that dies the other way round would leave them untold.
async fn tell(
    pipeline: &TipsPipeline,
    before: Option<TipsPipelineStatus>,
    status: TipsPipelineStatus,
    memo: &mut Memo,
    context: &Context,
) -> Result<(), Error> {
    let due = memo.figures_written.is_none_or(|written| written.elapsed() >= FIGURES_INTERVAL);
    let material = status::is_material(before.as_ref(), &status);
    let moved = before.as_ref() != Some(&status);
    if !(material || due && moved) {
        memo.status = before;
        memo.told = None;
        return Ok(());
    }
    // A status that could not be written is not told again with each try.
    let told = memo.told.as_ref().or(before.as_ref());
    for event in events::of_transition(told, &status) {
        tracing::info!(reason = event.reason, "{}", event.note.as_deref().unwrap_or_default());
        context.events.tell(pipeline, &event).await;
    }
    memo.told = Some(status.clone());
    let result = write_status(pipeline, &status, &context.client).await;
    if let Err(error) = result {
        memo.status = before;
        return Err(error);
    }
    context.metrics.status_writes.inc();
    memo.told = None;
    memo.figures_written = Some(Instant::now());
    memo.status = Some(status);
    Ok(())
}

async fn write_status(
    pipeline: &TipsPipeline,
    status: &TipsPipelineStatus,
    client: &Client,
) -> Result<(), Error> {
    let api = Api::<TipsPipeline>::namespaced(client.clone(), &pipeline.namespace().unwrap_or_default());
    let patch = json!({
        "apiVersion": TipsPipeline::api_version(&()),
        "kind": TipsPipeline::kind(&()),
        // Not that of another one of the same name.
        "metadata": {"uid": pipeline.metadata.uid},
        "status": status,
    });
    let params = PatchParams::apply(MANAGER).force();
    match api.patch_status(&pipeline.name_any(), &params, &Patch::Apply(patch)).await {
        Ok(_) => {
            crash::point("status::after-write");
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(Error::Status(error.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_is_tried_again_less_and_less_often() {
        let waits = [1, 2, 3, 4, 5, 6, 7, 8, u32::MAX].map(|failures| retry(failures).as_secs());
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }
}
