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

#[cfg(test)]
mod tests {
    use super::*;

    fn running() -> DeploymentView {
        let counts = DeploymentView { wanted: 2, existing: 2, updated: 2, ..DeploymentView::default() };
        DeploymentView { epoch: Some(0), observed: true, ..counts }
    }

    /// How the workers of `epoch` take the place of those of a Deployment, one of which may be ending.
    fn replacement(deployment: Option<DeploymentView>, is_ending: bool, epoch: i64) -> Replacement {
        let child = |deployment| ChildView {
            pipeline: Some("nyc".to_owned()),
            component: Some(Component::Worker),
            controller: None,
            hash: 0,
            hand_edited: false,
            terminating: false,
            progress: Progress::Deployment(deployment),
        };
        let worker = PodView {
            pipeline: Some("nyc".to_owned()),
            component: Some(Component::Worker),
            name: "nyc-worker-a".to_owned(),
            created: None,
            template: None,
            address: None,
            ready: true,
            terminating: is_ending,
            trouble: None,
        };
        let key = Key::new("taxi", "nyc-worker");
        let children = deployment.map(|deployment| (Kind::Deployment, key, child(deployment)));
        let found = Found {
            children: children.into_iter().collect(),
            workers: vec![worker],
            others: Vec::new(),
            references: Vec::new(),
            versions: 0,
            pod_monitors: false,
        };
        found.replacement(epoch)
    }

    #[test]
    fn workers_of_one_epoch_roll_and_those_of_another_end_first() {
        assert_eq!(replacement(None, false, 1), Replacement::Rolling);
        assert_eq!(replacement(Some(running()), true, 0), Replacement::Rolling);
        assert_eq!(replacement(Some(running()), false, 1), Replacement::AllAtOnce);
        let unmarked = DeploymentView { epoch: None, ..running() };
        assert_eq!(replacement(Some(unmarked), false, 0), Replacement::AllAtOnce);
    }

    #[test]
    fn a_new_epoch_is_not_rolled_before_no_worker_of_the_last_one_is_left() {
        let anew = || DeploymentView { epoch: Some(1), recreates: true, ..running() };
        let unseen = DeploymentView { observed: false, ..anew() };
        assert_eq!(replacement(Some(unseen), false, 1), Replacement::AllAtOnce);
        let ending = DeploymentView { updated: 0, existing: 0, ..anew() };
        assert_eq!(replacement(Some(ending), false, 1), Replacement::AllAtOnce);
        assert_eq!(replacement(Some(anew()), true, 1), Replacement::AllAtOnce, "a pod is still ending");
        assert_eq!(replacement(Some(anew()), false, 1), Replacement::Rolling);
    }
}
