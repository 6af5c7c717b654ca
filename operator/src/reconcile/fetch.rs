//! What there is of a pipeline, as the cache of the watches has it.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use tipstream_crds::TipsPipeline;

use crate::build::Replacement;
use crate::build::names::Component;
use crate::cluster::views::{ChildView, CronJobView, DeploymentView, JobView, PodView, Progress};
use crate::cluster::{Cluster, Key};
use crate::kind::Kind;
use crate::reference::{Reference, references};

/// An object of a pipeline.
pub(super) type Child = (Kind, Key, ChildView);

/// What there is of a pipeline: what it owns, the Jobs of its CronJob, and what removes its state, which nobody owns.
pub(super) struct Found {
    pub children: Vec<Child>,
    pub workers: Vec<PodView>,
    /// The pods of the query service and of the compaction.
    pub others: Vec<PodView>,
    pub references: Vec<Reference>,
    /// Stands for the versions of what is referred to.
    versions: u64,
    pub pod_monitors: bool,
}

impl Found {
    pub(super) fn fetch(pipeline: &TipsPipeline, key: &Key, cluster: &Cluster) -> Self {
        let references = references(&pipeline.spec);
        let mut versions = DefaultHasher::new();
        for reference in &references {
            cluster.version(&key.namespace, reference).hash(&mut versions);
        }
        // Labels can be copied.
        let is_owned = |view: &ChildView| view.controller == pipeline.metadata.uid;
        let mut children = cluster.children(key);
        let removes_state = |view: &ChildView| view.component == Some(Component::Purge);
        children.retain(|(kind, _, view)| *kind == Kind::Job || is_owned(view) || removes_state(view));
        let pods = cluster.pods(key).into_iter();
        let (workers, others) = pods.partition(|pod| pod.component == Some(Component::Worker));
        Found {
            children,
            workers,
            others,
            references,
            versions: versions.finish(),
            pod_monitors: cluster.has_pod_monitors(),
        }
    }

    /// Whether there is an object of this kind and name.
    pub(super) fn has(&self, kind: Kind, name: &str) -> bool {
        self.children.iter().any(|(of, key, _)| *of == kind && *key.name == *name)
    }

    /// The objects of a part.
    pub(super) fn of(&self, component: Component) -> impl Iterator<Item = &ChildView> {
        let views = self.children.iter().map(|(.., view)| view);
        views.filter(move |view| view.component == Some(component))
    }

    pub(super) fn deployment(&self, component: Component) -> Option<&DeploymentView> {
        self.of(component).find_map(|view| match &view.progress {
            Progress::Deployment(deployment) => Some(deployment),
            _ => None,
        })
    }

    pub(super) fn cron_job(&self) -> Option<&CronJobView> {
        self.of(Component::Compact).find_map(|view| match &view.progress {
            Progress::CronJob(cron_job) => Some(cron_job),
            _ => None,
        })
    }

    /// The runs of the compaction.
    pub(super) fn runs(&self) -> Vec<&JobView> {
        let compaction = self.of(Component::Compact);
        compaction
            .filter_map(|view| match &view.progress {
                Progress::Job(job) => Some(job),
                _ => None,
            })
            .collect()
    }

    /// Workers of two epochs must not run at once: they write the same windows. So a change of epoch ends all old
    /// ones first, and until that is done nothing else is tried.
    pub(super) fn replacement(&self, epoch: i64) -> Replacement {
        let Some(deployment) = self.deployment(Component::Worker) else { return Replacement::Rolling };
        let done = deployment.is_rolled_out() && !self.workers.iter().any(|pod| pod.terminating);
        if deployment.epoch != Some(epoch) || deployment.recreates && !done {
            Replacement::AllAtOnce
        } else {
            Replacement::Rolling
        }
    }

    /// Stands for all that decides what is built.
    pub(super) fn inputs(&self, pipeline: &TipsPipeline) -> u64 {
        let mut hash = DefaultHasher::new();
        (pipeline.metadata.generation, self.versions, self.pod_monitors).hash(&mut hash);
        (self.replacement(pipeline.spec.epoch) == Replacement::AllAtOnce).hash(&mut hash);
        hash.finish()
    }
}
