//! Scaling by lag. What is decided is written to the `scale` subresource, as an autoscaler would: `spec.replicas` stays
//! the one place that says how many workers there should be, and the next pass brings it about.

mod decision;

use std::time::Instant;

use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;
use tipstream_crds::{Scaling, TipsPipeline};

use super::Context;
use super::observe::Figures;
use crate::build::names::MANAGER;
use crate::build::wanted_replicas;
use crate::crash;
use crate::error::Error;
use crate::events::normal;

pub(super) use self::decision::{Because, Decision, Recent, STABILIZATION};

/// How many workers there should be; `None` where the lag does not say. Nothing that was stopped on purpose is started.
pub(super) fn decide(
    pipeline: &TipsPipeline,
    figures: Option<&Figures>,
    recent: &mut Recent,
) -> Option<Decision> {
    let scaling = pipeline.spec.scaling.as_ref().filter(|_| wanted_replicas(&pipeline.spec) > 0);
    let Some(scaling) = scaling else {
        *recent = Recent::default();
        return None;
    };
    let backlog = figures.and_then(|figures| figures.backlog);
    Some(decision::decide(scaling, pipeline.spec.replicas, backlog, recent, Instant::now()))
}

/// Writes what was decided, where it is another number, and tells it.
///
/// # Errors
/// Where it could not be written, also since the pipeline has been changed meanwhile.
pub(super) async fn run(
    pipeline: &TipsPipeline,
    decision: Option<Decision>,
    context: &Context,
) -> Result<(), Error> {
    let (Some(scaling), Some(decision)) = (&pipeline.spec.scaling, decision) else { return Ok(()) };
    let (before, after) = (pipeline.spec.replicas, decision.replicas);
    if before == after {
        return Ok(());
    }
    let api =
        Api::<TipsPipeline>::namespaced(context.client.clone(), &pipeline.namespace().unwrap_or_default());
    // The version: it may have been stopped meanwhile.
    let patch = json!({
        "metadata": {"uid": pipeline.metadata.uid, "resourceVersion": pipeline.metadata.resource_version},
        "spec": {"replicas": after},
    });
    match api.patch_scale(&pipeline.name_any(), &PatchParams::apply(MANAGER), &Patch::Merge(patch)).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(()),
        Err(error) => return Err(Error::Scale(error.into())),
    }
    crash::point("scale::after-write");
    context.metrics.rescales.inc();
    // Told behind the write: one that is refused, since somebody has changed the pipeline meanwhile, would be told for
    // nothing. Of one that is made and not told, the roll that follows tells.
    let note = format!("New size: {after}; {}", why(scaling, before, after));
    tracing::info!("{note}");
    // Of one reason and action only the first note is told for some minutes.
    context.events.tell(pipeline, &normal("SuccessfulRescale", &format!("ScaleTo{after}"), note)).await;
    Ok(())
}

fn why(scaling: &Scaling, before: i32, after: i32) -> String {
    let Scaling { min_replicas: min, max_replicas: max, target_lag } = scaling;
    if !(*min..=*max).contains(&before) {
        format!("it was outside of minReplicas {min} to maxReplicas {max}")
    } else if after > before {
        format!("more than {target_lag} records a worker wait")
    } else {
        format!("for {} s fewer workers were enough for {target_lag} records each", STABILIZATION.as_secs())
    }
}
