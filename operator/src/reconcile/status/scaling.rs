//! What scaling by lag does, and what keeps it from doing more. No figure is told that moves with every look.

use super::{Seen, Verdict, verdict};
use crate::build::wanted_replicas;
use crate::reconcile::scaling::{Because, STABILIZATION};

/// Whether the lag decides how many workers there are; `None` where it is not to.
pub(super) fn active(seen: &Seen<'_>) -> Option<Verdict> {
    let spec = &seen.pipeline.spec;
    let scaling = spec.scaling.as_ref()?;
    let (min, max) = (scaling.min_replicas, scaling.max_replicas);
    if wanted_replicas(spec) == 0 {
        return Some(verdict("False", "ScalingDisabled", "stopped on purpose; no lag starts the workers"));
    }
    let decision = seen.decision?;
    Some(match decision.because {
        Because::Lag => {
            let message = format!("the lag asks for {} workers, of {min} to {max}", decision.replicas);
            verdict("True", "DesiredWithinRange", message)
        }
        Because::Maximum => {
            let message = format!("the lag asks for more workers than maxReplicas allows, {max}");
            verdict("True", "TooManyReplicas", message)
        }
        Because::Partitions => verdict(
            "True",
            "TooFewPartitions",
            format!("the lag asks for more workers than can have a partition, {}", decision.replicas),
        ),
        Because::Stabilization => {
            let seconds = STABILIZATION.as_secs();
            let message = format!("fewer workers are enough; they go when that has been so for {seconds} s");
            verdict("True", "ScaleDownStabilized", message)
        }
        Because::Unknown => verdict(
            "False",
            "LagUnknown",
            "the number of workers stays until all of them tell their lag and no server keeps them waiting",
        ),
    })
}
