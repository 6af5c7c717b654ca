//! The pipelines that wait for a pass: those that something has happened to, and those whose time has come.
//!
//! kube's scheduler does not tell what it holds. Whatever goes into it, and whatever it begins, comes by here, so what is
//! counted is what waits in it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::{FutureExt as _, Stream, StreamExt as _, stream};
use kube::runtime::controller::{self, Action, Config};
use kube::runtime::reflector::{ObjectRef, Store};
use tipstream_crds::TipsPipeline;
use tokio::time::Instant;

use crate::cluster::Key;

/// Events of one change come close together: one pass sees them all.
const DEBOUNCE: Duration = Duration::from_millis(100);

/// Pipelines that wait for a pass; clones are the same ones. None does while nobody reconciles.
#[derive(Clone, Default)]
pub struct Queue(Arc<Mutex<Option<Open>>>);

/// The queue of one who reconciles.
struct Open {
    told: UnboundedSender<ObjectRef<TipsPipeline>>,
    /// When each is due, or was.
    due: HashMap<Key, Instant>,
}

impl Queue {
    /// Passes over each pipeline of `store` once, and then over each that is touched or whose time has come, until the
    /// queue is closed: so many at once, and never two over the same one. A pass says when the next one is due if
    /// nothing happens before. The stream is of pipelines that are gone; it ends when the last pass has.
    pub fn passes<F, P>(
        &self,
        store: &Store<TipsPipeline>,
        concurrency: u16,
        pass: F,
    ) -> impl Stream<Item = Key> + use<F, P>
    where
        F: Fn(Arc<TipsPipeline>) -> P,
        P: Future<Output = Option<Duration>> + 'static,
    {
        let told = self.open();
        let known: Vec<_> = store.state().iter().map(|pipeline| Key::of(pipeline).pipeline()).collect();
        let queue = self.clone();
        let requests = stream::iter(known)
            .chain(told)
            .inspect(move |pipeline| queue.add(key(pipeline), Instant::now()))
            .map(Ok::<_, Infallible>);
        let queue = self.clone();
        let begin = move |pipeline: Arc<TipsPipeline>, _| {
            let (queue, key) = (queue.clone(), Key::of(&pipeline));
            queue.remove(&key);
            let pass = pass(pipeline);
            async move {
                let Some(after) = pass.await else { return Ok(Action::await_change()) };
                queue.add(key, Instant::now() + after);
                Ok::<_, Infallible>(Action::requeue(after))
            }
            .boxed_local()
        };
        let config = Config::default().debounce(DEBOUNCE).concurrency(concurrency);
        let never = |_, error: &Infallible, _| match *error {};
        let queue = self.clone();
        controller::applier(begin, never, Arc::new(()), store.clone(), requests, config).filter_map(
            move |passed| {
                let gone = match passed {
                    Err(controller::Error::ObjectNotFound(gone)) => Some(key(&gone)),
                    _ => None,
                };
                gone.iter().for_each(|gone| queue.remove(gone));
                std::future::ready(gone)
            },
        )
    }

    /// Something has happened to `pipeline`.
    pub fn touch(&self, pipeline: &Key) {
        if let Some(open) = &*self.lock() {
            // The receiver is gone: whoever reconciled has ended.
            _ = open.told.unbounded_send(pipeline.pipeline());
        }
    }

    /// Pipelines that a pass is due for and has not begun. One that is passed over, and touched meanwhile, is among them.
    pub fn depth(&self) -> usize {
        let now = Instant::now();
        self.lock().iter().flat_map(|open| open.due.values()).filter(|due| **due <= now).count()
    }

    /// Nothing more is told, and nothing waits.
    pub fn close(&self) {
        *self.lock() = None;
    }

    fn open(&self) -> UnboundedReceiver<ObjectRef<TipsPipeline>> {
        let (told, receiver) = unbounded();
        *self.lock() = Some(Open { told, due: HashMap::new() });
        receiver
    }

    /// As the scheduler does: the earlier time holds.
    fn add(&self, key: Key, due: Instant) {
        if let Some(open) = &mut *self.lock() {
            open.due.entry(key).and_modify(|before| *before = due.min(*before)).or_insert(due);
        }
    }

    fn remove(&self, key: &Key) {
        if let Some(open) = &mut *self.lock() {
            open.due.remove(key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Open>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key<K: kube::runtime::reflector::Lookup>(pipeline: &ObjectRef<K>) -> Key {
    Key::new(pipeline.namespace.as_deref().unwrap_or_default(), &pipeline.name)
}

#[cfg(test)]
mod tests {
    use kube::runtime::reflector;
    use kube::runtime::watcher::Event;
    use serde_json::json;
    use tokio::sync::Semaphore;
    use tokio::time::{sleep, timeout};

    use super::*;

    fn pipeline(name: &str) -> TipsPipeline {
        let object = json!({
            "apiVersion": "tipstream.dev/v1alpha1", "kind": "TipsPipeline",
            "metadata": {"name": name, "namespace": "ns"},
            "spec": {
                "kafka": {"bootstrapServers": "kafka:9092", "ridesTopic": "rides", "faresTopic": "fares"},
                "redis": {"urls": ["redis://redis:6379"]}, "sink": {"volume": {"claimName": "lake"}},
            },
        });
        serde_json::from_value(object).expect("a pipeline")
    }

    fn store(names: &[&str]) -> Store<TipsPipeline> {
        let (store, mut writer) = reflector::store();
        writer.apply_watcher_event(&Event::Init);
        for name in names {
            writer.apply_watcher_event(&Event::InitApply(pipeline(name)));
        }
        writer.apply_watcher_event(&Event::InitDone);
        store
    }

    async fn becomes(queue: &Queue, depth: usize) {
        let reached = async {
            while queue.depth() != depth {
                sleep(Duration::from_millis(1)).await;
            }
        };
        let last = || format!("{} wait, not {depth}", queue.depth());
        timeout(Duration::from_secs(10), reached).await.unwrap_or_else(|_| panic!("{}", last()));
        // And so it stays: longer than what is touched is held back.
        sleep(2 * DEBOUNCE).await;
        assert_eq!(queue.depth(), depth);
    }

    /// Passes that each wait for a permit, one at a time, and ask for the next one `after`.
    fn passes(
        queue: &Queue,
        names: &[&str],
        after: Option<Duration>,
    ) -> (Arc<Semaphore>, impl Stream<Item = Key>) {
        let gate = Arc::new(Semaphore::new(0));
        let held = gate.clone();
        let passes = queue.passes(&store(names), 1, move |_| {
            let held = held.clone();
            async move {
                held.acquire().await.expect("an open gate").forget();
                after
            }
        });
        (gate, passes)
    }

    #[tokio::test]
    async fn what_waits_is_counted_until_its_pass_begins() {
        let queue = Queue::default();
        queue.touch(&Key::new("ns", "a"));
        assert_eq!(queue.depth(), 0, "somebody waits for nobody");
        let (gate, passes) = passes(&queue, &["a", "b", "c"], None);
        let told = async {
            becomes(&queue, 2).await;
            // One of them is passed over already, and is to be passed over again.
            ["a", "b", "c"].iter().for_each(|name| queue.touch(&Key::new("ns", name)));
            becomes(&queue, 3).await;
            queue.touch(&Key::new("ns", "gone"));
            becomes(&queue, 4).await;
            gate.add_permits(10);
            becomes(&queue, 0).await;
            assert_eq!(gate.available_permits(), 6, "four passes");
            queue.touch(&Key::new("ns", "b"));
            queue.close();
            assert_eq!(queue.depth(), 0);
        };
        let (gone, ()) = tokio::join!(passes.collect::<Vec<_>>(), told);
        assert_eq!(gone, [Key::new("ns", "gone")]);
    }

    #[tokio::test]
    async fn a_pipeline_whose_time_has_come_waits_and_one_whose_has_not_does_not() {
        for (after, waiting) in [(Duration::ZERO, 2), (Duration::from_secs(3600), 1)] {
            let queue = Queue::default();
            let (gate, passes) = passes(&queue, &["a", "b", "c"], Some(after));
            let told = async {
                becomes(&queue, 2).await;
                gate.add_permits(1);
                // One has been passed over, one is, and one has not been.
                becomes(&queue, waiting).await;
            };
            tokio::select! {
                () = told => {}
                gone = passes.collect::<Vec<_>>() => panic!("it ended, with {gone:?}"),
            }
        }
    }
}
