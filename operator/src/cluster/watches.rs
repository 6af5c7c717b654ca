//! The watches that fill [`Cluster`]: one a kind, however many pipelines there are. Each change names the pipelines
//! that it concerns to the [`Queue`].

mod pipelines;

use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::core::NamespaceResourceScope;
use kube::core::{ApiResource, DynamicObject, PartialObjectMeta};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::reflector;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;

use super::mirror::{Mirror, View, owner};
use super::views;
use super::{Cluster, Key};
use crate::build::names::{COMPONENT, MANAGED};
use crate::kind::Kind;
use crate::queue::Queue;
use crate::reference::{Source, references};

/// How often the cluster is asked whether it has PodMonitors by now, or no longer: one small request.
const DISCOVERY_INTERVAL: Duration = Duration::from_secs(60);
/// Objects in a page of a listing: bounds what is held at once.
const PAGE: u32 = 200;

/// Where the watches look.
#[derive(Clone)]
pub struct Scope {
    /// The API server.
    pub client: Client,
    /// The one namespace; `None`: all.
    pub namespace: Option<String>,
}

impl Scope {
    fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        match &self.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        }
    }

    fn dynamic(&self, resource: &ApiResource) -> Api<DynamicObject> {
        match &self.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, resource),
            None => Api::all_with(self.client.clone(), resource),
        }
    }
}

/// Starts all watches. They come back by themselves after errors and end with the set.
pub fn start(scope: &Scope, queue: &Queue, tasks: &mut JoinSet<()>) -> Cluster {
    let (store, writer) = reflector::store();
    let cluster = Cluster::new(store);
    tasks.spawn(pipelines::watch(scope.clone(), cluster.clone(), writer, queue.clone()));
    for kind in Kind::BUILT_IN {
        tasks.spawn(watch_children(scope.clone(), cluster.clone(), kind, queue.clone()));
    }
    tasks.spawn(watch_pods(scope.clone(), cluster.clone(), queue.clone()));
    tasks.spawn(watch_referred::<Secret>(scope.clone(), cluster.clone(), Source::Secret, queue.clone()));
    tasks.spawn(watch_referred::<ConfigMap>(
        scope.clone(),
        cluster.clone(),
        Source::ConfigMap,
        queue.clone(),
    ));
    tasks.spawn(watch_pod_monitors(scope.clone(), cluster.clone(), queue.clone()));
    cluster
}

async fn watch_children(scope: Scope, cluster: Cluster, kind: Kind, queue: Queue) {
    let resource = kind.resource();
    let config = watcher::Config::default().labels(MANAGED).page_size(PAGE);
    let events = watcher::watcher(scope.dynamic(&resource), config);
    let mirror = &cluster.0.children[&kind];
    follow(
        events,
        kind.to_string(),
        mirror,
        |object| views::child(kind, object),
        |key, before, after| {
            touch_owners(&queue, key, before, after);
        },
    )
    .await;
}

async fn watch_pods(scope: Scope, cluster: Cluster, queue: Queue) {
    let observed = format!("{MANAGED},{COMPONENT} in (worker,query,compact)");
    let config = watcher::Config::default().labels(&observed).page_size(PAGE);
    let events = watcher::watcher(scope.api::<Pod>(), config);
    follow(events, "Pod".to_owned(), &cluster.0.pods, views::pod, |key, before, after| {
        touch_owners(&queue, key, before, after);
    })
    .await;
}

fn touch_owners<V: View>(queue: &Queue, key: &Key, before: Option<&V>, after: Option<&V>) {
    let (before, after) = (owner(key, before), owner(key, after));
    if let Some(pipeline) = &after {
        queue.touch(pipeline);
    }
    if let Some(pipeline) = before.filter(|before| Some(before) != after.as_ref()) {
        queue.touch(&pipeline);
    }
}

/// Watches only the metadata of all Secrets or ConfigMaps, of which a name and a version are kept.
async fn watch_referred<K>(scope: Scope, cluster: Cluster, source: Source, queue: Queue)
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + Debug
        + Send
        + 'static,
{
    let config = watcher::Config::default().page_size(PAGE);
    let events = watcher::watcher(scope.api::<PartialObjectMeta<K>>(), config);
    let mirror = match source {
        Source::Secret => &cluster.0.secrets,
        Source::ConfigMap => &cluster.0.config_maps,
    };
    let version = |object: &PartialObjectMeta<K>| {
        (views::key(object), Arc::<str>::from(object.resource_version().unwrap_or_default()))
    };
    follow(events, source.to_string(), mirror, version, |key, _, _| {
        touch_referrers(&cluster, &queue, source, key);
    })
    .await;
}

fn touch_referrers(cluster: &Cluster, queue: &Queue, source: Source, key: &Key) {
    for pipeline in cluster.pipelines().state() {
        let same_namespace = pipeline.metadata.namespace.as_deref() == Some(&*key.namespace);
        let refers = || {
            let mut found = references(&pipeline.spec).into_iter();
            found.any(|reference| reference.source == source && *reference.name == *key.name)
        };
        if same_namespace && refers() {
            queue.touch(&Key::of(&pipeline));
        }
    }
}

/// PodMonitors belong to the Prometheus operator and may come and go with it.
async fn watch_pod_monitors(scope: Scope, cluster: Cluster, queue: Queue) {
    let mirror = &cluster.0.children[&Kind::PodMonitor];
    loop {
        until(&scope.client, true).await;
        tokio::select! {
            () = watch_children(scope.clone(), cluster.clone(), Kind::PodMonitor, queue.clone()) => {}
            () = until(&scope.client, false) => {}
            () = async {
                while !mirror.is_synced() {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                tracing::info!("PodMonitors are installed: each pipeline gets one");
                touch_all(&cluster, &queue);
                std::future::pending().await
            } => {}
        }
        mirror.clear();
        tracing::info!("PodMonitors are no longer installed");
        touch_all(&cluster, &queue);
    }
}

fn touch_all(cluster: &Cluster, queue: &Queue) {
    cluster.pipelines().state().iter().for_each(|pipeline| queue.touch(&Key::of(pipeline)));
}

/// Waits until the cluster has PodMonitors, or has none.
async fn until(client: &Client, installed: bool) {
    loop {
        let version = format!("{}/v1", Kind::PodMonitor.resource().group);
        match client.list_api_group_resources(&version).await {
            Ok(list) => {
                if list.resources.iter().any(|resource| resource.kind == "PodMonitor") == installed {
                    return;
                }
            }
            // The body of this answer is no Status, so only the code tells.
            Err(kube::Error::Api(status)) if status.code == 404 => {
                if !installed {
                    return;
                }
            }
            Err(error) => tracing::warn!(%error, "cannot tell whether PodMonitors are installed"),
        }
        tokio::time::sleep(DISCOVERY_INTERVAL).await;
    }
}

/// Takes in the events of a watch until it ends, which it does only by being dropped.
fn follow<K, V>(
    events: impl futures::Stream<Item = watcher::Result<Event<K>>> + Send,
    name: String,
    mirror: &Mirror<V>,
    view: impl Fn(&K) -> (Key, V) + Send,
    changed: impl Fn(&Key, Option<&V>, Option<&V>) + Send,
) -> impl Future<Output = ()> + Send
where
    K: Clone + Resource + DeserializeOwned + Debug + Send + 'static,
    V: View + Send + Sync,
{
    let events = events.default_backoff();
    async move {
        let mut events = std::pin::pin!(events);
        loop {
            match events.try_next().await {
                Ok(Some(event)) => {
                    for (key, before, after) in mirror.apply(viewed(event, &view)) {
                        changed(&key, before.as_ref(), after.as_ref());
                    }
                }
                Ok(None) => return,
                Err(error) => tracing::warn!(%error, kind = name, "a watch failed and is begun again"),
            }
        }
    }
}

fn viewed<K, V>(event: Event<K>, view: impl Fn(&K) -> (Key, V)) -> Event<(Key, V)> {
    match event {
        Event::Apply(object) => Event::Apply(view(&object)),
        Event::Delete(object) => Event::Delete(view(&object)),
        Event::InitApply(object) => Event::InitApply(view(&object)),
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
    }
}
