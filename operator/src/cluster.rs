//! What is in the cluster, as far as the operator needs to know it: filled by a fixed number of watches, read by
//! every reconcile in place of the API server (O7).
//!
//! Of an object it keeps a few words, not the object: a thousand pipelines with their children are a few
//! megabytes, and a cluster's Secrets are names and versions.

pub mod mirror;
pub mod strangers;
pub mod views;
pub mod watches;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use futures::FutureExt as _;
use kube::runtime::reflector::{ObjectRef, Store};
use tipstream_crds::TipsPipeline;

use self::mirror::Mirror;
use self::strangers::Strangers;
use self::views::{ChildView, PodView};
use crate::kind::Kind;
use crate::reference::{Reference, Source};

/// A namespaced name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Namespace.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

impl Key {
    /// The name of `name` in `namespace`.
    pub fn new(namespace: &str, name: &str) -> Self {
        Key { namespace: namespace.into(), name: name.into() }
    }

    /// The name of a pipeline.
    pub fn of(pipeline: &TipsPipeline) -> Self {
        let metadata = &pipeline.metadata;
        Key::new(
            metadata.namespace.as_deref().unwrap_or_default(),
            metadata.name.as_deref().unwrap_or_default(),
        )
    }

    /// As a reference to the pipeline of this name.
    pub fn pipeline(&self) -> ObjectRef<TipsPipeline> {
        ObjectRef::new(&self.name).within(&self.namespace)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What is in the cluster.
#[derive(Clone)]
pub struct Cluster(Arc<Inner>);

struct Inner {
    pipelines: Store<TipsPipeline>,
    strangers: Strangers,
    children: BTreeMap<Kind, Mirror<ChildView>>,
    pods: Mirror<PodView>,
    secrets: Mirror<Arc<str>>,
    config_maps: Mirror<Arc<str>>,
}

impl Cluster {
    fn new(pipelines: Store<TipsPipeline>) -> Self {
        Cluster(Arc::new(Inner {
            pipelines,
            strangers: Strangers::default(),
            children: Kind::all().map(|kind| (kind, Mirror::default())).collect(),
            pods: Mirror::default(),
            secrets: Mirror::default(),
            config_maps: Mirror::default(),
        }))
    }

    /// The pipelines.
    pub fn pipelines(&self) -> &Store<TipsPipeline> {
        &self.0.pipelines
    }

    /// The pipelines that cannot be understood, and are not among [`Cluster::pipelines`].
    pub fn strangers(&self) -> &Strangers {
        &self.0.strangers
    }

    /// Whether every watch has been told of all that is there.
    pub fn is_synced(&self) -> bool {
        let inner = &*self.0;
        let pipelines = inner.pipelines.wait_until_ready().now_or_never().is_some_and(|ready| ready.is_ok());
        let built_in = Kind::BUILT_IN.iter().all(|kind| inner.children[kind].is_synced());
        pipelines
            && built_in
            && inner.pods.is_synced()
            && inner.secrets.is_synced()
            && inner.config_maps.is_synced()
    }

    /// The objects of the pipeline `key`, of every kind.
    pub fn children(&self, key: &Key) -> Vec<(Kind, Key, ChildView)> {
        let of_kind = |(kind, mirror): (&Kind, &Mirror<ChildView>)| {
            let found = mirror.of_pipeline(key);
            found.into_iter().map(|(name, view)| (*kind, name, view)).collect::<Vec<_>>()
        };
        self.0.children.iter().flat_map(of_kind).collect()
    }

    /// The pods of the pipeline `key`, by name: of all parts but the removal of the state.
    pub fn pods(&self, key: &Key) -> Vec<PodView> {
        self.0.pods.of_pipeline(key).into_iter().map(|(_, pod)| pod).collect()
    }

    /// The resource version of what `reference` names in `namespace`, if it is there.
    pub fn version(&self, namespace: &str, reference: &Reference) -> Option<Arc<str>> {
        let mirror = match reference.source {
            Source::Secret => &self.0.secrets,
            Source::ConfigMap => &self.0.config_maps,
        };
        mirror.get(&Key::new(namespace, &reference.name))
    }

    /// Whether the cluster has PodMonitors, and all that there are are known.
    pub fn has_pod_monitors(&self) -> bool {
        self.0.children[&Kind::PodMonitor].is_synced()
    }
}

#[cfg(test)]
mod tests {
    use kube::runtime::reflector;
    use kube::runtime::watcher::Event;

    use super::*;

    #[test]
    fn it_is_not_synced_before_the_pipelines_are_listed() {
        let (store, mut writer) = reflector::store();
        let cluster = Cluster::new(store);
        let inner = &*cluster.0;
        for mirror in inner.children.values() {
            mirror.apply(Event::InitDone);
        }
        inner.pods.apply(Event::InitDone);
        inner.secrets.apply(Event::InitDone);
        inner.config_maps.apply(Event::InitDone);
        assert!(!cluster.is_synced());
        writer.apply_watcher_event(&Event::InitDone);
        assert!(cluster.is_synced());
    }
}
