//! The watch of the TipsPipelines themselves, which are kept whole.

use std::collections::HashSet;
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};
use kube::ResourceExt as _;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::reflector::Store;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::{self, Event};
use tipstream_crds::TipsPipeline;

use super::{PAGE, Scope};
use crate::cluster::strangers::{Strangers, Told};
use crate::cluster::{Cluster, Key, views};
use crate::queue::Queue;

pub(super) async fn watch(scope: Scope, cluster: Cluster, mut writer: Writer<TipsPipeline>, queue: Queue) {
    let config = watcher::Config::default().page_size(PAGE);
    let api = scope.api::<Told>();
    let mut events = watcher::watcher(api, config).default_backoff().boxed();
    loop {
        match events.try_next().await {
            Ok(Some(event)) => {
                for key in take_in(event, cluster.pipelines(), cluster.strangers(), &mut writer) {
                    queue.touch(&key);
                }
            }
            Ok(None) => return,
            Err(error) => tracing::warn!(%error, "the watch of TipsPipelines failed and is begun again"),
        }
    }
}

/// Takes in what the watch told and returns the pipelines that now ask for something else.
fn take_in(
    event: Event<Told>,
    store: &Store<TipsPipeline>,
    strangers: &Strangers,
    writer: &mut Writer<TipsPipeline>,
) -> HashSet<Key> {
    let Some(event) = decoded(event, store, strangers) else { return HashSet::new() };
    let before = asked_by_those_of(&event, store);
    writer.apply_watcher_event(&event);
    let after = asked_by_those_of(&event, store);
    before.symmetric_difference(&after).map(|(key, _)| key.clone()).collect()
}

/// What a pipeline asks for; a status is an answer.
type Asked = (Key, (Option<String>, Option<i64>, Option<Vec<String>>));

fn asked(pipeline: &TipsPipeline) -> Asked {
    let metadata = &pipeline.metadata;
    (Key::of(pipeline), (metadata.uid.clone(), metadata.generation, metadata.finalizers.clone()))
}

/// What is asked for by the pipelines that an event can change in the store: a listing changes nothing until it is
/// complete, and then all at once.
fn asked_by_those_of(event: &Event<TipsPipeline>, store: &Store<TipsPipeline>) -> HashSet<Asked> {
    let of = |pipelines: &[Arc<TipsPipeline>]| pipelines.iter().map(|pipeline| asked(pipeline)).collect();
    match event {
        Event::Apply(pipeline) | Event::Delete(pipeline) => {
            of(store.get(&Key::of(pipeline).pipeline()).as_slice())
        }
        Event::Init | Event::InitApply(_) => HashSet::new(),
        Event::InitDone => of(&store.state()),
    }
}

/// An event without what is not kept. A pipeline that cannot be understood becomes a stranger, and as a pipeline it is
/// gone: the others are not kept waiting by it.
fn decoded(
    event: Event<Told>,
    store: &Store<TipsPipeline>,
    strangers: &Strangers,
) -> Option<Event<TipsPipeline>> {
    let gone = |key: &Key| Some(Event::Delete(store.get(&key.pipeline())?.as_ref().clone()));
    match event {
        Event::Apply(told) => match understood(told, strangers) {
            Ok(pipeline) => Some(Event::Apply(pipeline)),
            Err(key) => gone(&key),
        },
        Event::InitApply(told) => understood(told, strangers).ok().map(Event::InitApply),
        Event::Delete(told) => {
            let key = views::key(&told);
            forget(strangers, &key);
            gone(&key)
        }
        Event::Init => {
            strangers.send_if_modified(|strangers| !std::mem::take(strangers).is_empty());
            Some(Event::Init)
        }
        Event::InitDone => Some(Event::InitDone),
    }
}

/// The pipeline, or the name of one that is a stranger now.
fn understood(mut told: Told, strangers: &Strangers) -> Result<TipsPipeline, Key> {
    let key = views::key(&told);
    told.managed_fields_mut().clear();
    match told {
        Told::Pipeline(pipeline) => {
            forget(strangers, &key);
            Ok(*pipeline)
        }
        Told::Stranger(stranger) => {
            strangers.send_modify(|strangers| _ = strangers.insert(key.clone(), *stranger));
            Err(key)
        }
    }
}

fn forget(strangers: &Strangers, key: &Key) {
    strangers.send_if_modified(|strangers| strangers.remove(key).is_some());
}

#[cfg(test)]
mod tests {
    use kube::runtime::reflector;
    use serde_json::{Value, json};

    use super::*;

    fn pipeline(name: &str, generation: i64) -> Value {
        json!({
            "apiVersion": "tipstream.dev/v1alpha1", "kind": "TipsPipeline",
            "metadata": {"name": name, "namespace": "ns", "uid": name, "generation": generation},
            "spec": {
                "kafka": {"bootstrapServers": "kafka:9092", "ridesTopic": "rides", "faresTopic": "fares"},
                "redis": {"urls": ["redis://redis:6379"]}, "sink": {"volume": {"claimName": "lake"}},
            },
        })
    }

    fn told(value: Value) -> Told {
        serde_json::from_value(value).expect("an object with metadata")
    }

    /// The names of those that ask for something else after each event.
    struct Watched(Store<TipsPipeline>, Writer<TipsPipeline>, Strangers);

    impl Watched {
        fn new() -> Self {
            let (store, writer) = reflector::store();
            Watched(store, writer, Strangers::default())
        }

        fn tell(&mut self, event: Event<Told>) -> Vec<String> {
            let touched = take_in(event, &self.0, &self.2, &mut self.1);
            let mut names: Vec<_> = touched.into_iter().map(|key| key.name.to_string()).collect();
            names.sort();
            names
        }

        fn list(&mut self, pipelines: &[Value]) -> Vec<String> {
            assert_eq!(self.tell(Event::Init), [""; 0]);
            for pipeline in pipelines {
                assert_eq!(self.tell(Event::InitApply(told(pipeline.clone()))), [""; 0]);
            }
            self.tell(Event::InitDone)
        }
    }

    #[test]
    fn what_changed_while_nobody_watched_is_told_once_the_store_has_it() {
        let mut watched = Watched::new();
        assert_eq!(watched.list(&[pipeline("a", 1), pipeline("b", 1), pipeline("c", 1)]), ["a", "b", "c"]);
        assert_eq!(watched.list(&[pipeline("b", 1), pipeline("c", 2), pipeline("d", 1)]), ["a", "c", "d"]);
        assert!(watched.0.get(&Key::new("ns", "d").pipeline()).is_some());
    }

    #[test]
    fn a_status_that_is_written_is_told_to_nobody() {
        let mut watched = Watched::new();
        assert_eq!(watched.tell(Event::Apply(told(pipeline("a", 1)))), ["a"]);
        let mut answered = pipeline("a", 1);
        answered["status"] = json!({"replicas": 1});
        assert_eq!(watched.tell(Event::Apply(told(answered))), [""; 0]);
        assert_eq!(watched.tell(Event::Delete(told(pipeline("a", 1)))), ["a"]);
    }

    #[test]
    fn one_that_cannot_be_understood_keeps_no_other_waiting() {
        let mut watched = Watched::new();
        let mut strange = pipeline("a", 1);
        strange["spec"]["replicas"] = json!("two");
        assert_eq!(watched.list(&[strange.clone(), pipeline("b", 1)]), ["b"]);
        let why = watched.2.borrow()[&Key::new("ns", "a")].why.clone();
        assert!(why.starts_with("spec.replicas: ") && why.contains("two"), "{why}");
        assert_eq!(watched.tell(Event::Apply(told(pipeline("a", 2)))), ["a"]);
        assert!(watched.2.borrow().is_empty());
        assert_eq!(watched.tell(Event::Apply(told(strange.clone()))), ["a"]);
        assert_eq!(watched.tell(Event::Delete(told(strange))), [""; 0]);
        assert!(watched.2.borrow().is_empty());
    }
}
