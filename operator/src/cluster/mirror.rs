//! A watched kind, boiled down to what matters of each object.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use kube::runtime::watcher::Event;

use super::Key;

/// What a view says of whose it is.
pub trait View: Clone + PartialEq {
    /// Name of the pipeline that the object belongs to, in its own namespace.
    fn pipeline(&self) -> Option<&str>;
}

impl View for std::sync::Arc<str> {
    fn pipeline(&self) -> Option<&str> {
        None
    }
}

/// The objects of one kind.
pub struct Mirror<V> {
    inner: RwLock<Inner<V>>,
    synced: AtomicBool,
}

struct Inner<V> {
    views: HashMap<Key, V>,
    /// The names of a pipeline's objects.
    by_pipeline: HashMap<Key, BTreeSet<Key>>,
    /// What a new listing has told so far.
    listing: HashMap<Key, V>,
}

impl<V> Default for Mirror<V> {
    fn default() -> Self {
        let inner = Inner { views: HashMap::new(), by_pipeline: HashMap::new(), listing: HashMap::new() };
        Mirror { inner: RwLock::new(inner), synced: AtomicBool::new(false) }
    }
}

impl<V: View> Mirror<V> {
    /// Takes in what the watch told and returns each change as the name, what was, and what is.
    pub fn apply(&self, event: Event<(Key, V)>) -> Vec<(Key, Option<V>, Option<V>)> {
        let mut inner = self.write();
        match event {
            Event::Apply((key, view)) => inner.set(key, Some(view)).into_iter().collect(),
            Event::Delete((key, _)) => inner.set(key, None).into_iter().collect(),
            Event::Init => {
                inner.listing.clear();
                Vec::new()
            }
            Event::InitApply((key, view)) => {
                inner.listing.insert(key, view);
                Vec::new()
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut inner.listing);
                let gone: Vec<_> =
                    inner.views.keys().filter(|key| !listed.contains_key(*key)).cloned().collect();
                let mut changes: Vec<_> = gone.into_iter().filter_map(|key| inner.set(key, None)).collect();
                changes.extend(listed.into_iter().filter_map(|(key, view)| inner.set(key, Some(view))));
                self.synced.store(true, Ordering::Release);
                changes
            }
        }
    }

    /// Whether a listing was complete.
    pub fn is_synced(&self) -> bool {
        self.synced.load(Ordering::Acquire)
    }

    /// Forgets all: the kind is no longer there.
    pub fn clear(&self) {
        let mut inner = self.write();
        inner.views = HashMap::new();
        inner.by_pipeline = HashMap::new();
        self.synced.store(false, Ordering::Release);
    }

    /// What is known of the object `key`.
    pub fn get(&self, key: &Key) -> Option<V> {
        self.read().views.get(key).cloned()
    }

    /// The objects of `pipeline`, by name.
    pub fn of_pipeline(&self, pipeline: &Key) -> Vec<(Key, V)> {
        let inner = self.read();
        let names = inner.by_pipeline.get(pipeline).into_iter().flatten();
        names.filter_map(|key| inner.views.get(key).map(|view| (key.clone(), view.clone()))).collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner<V>> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner<V>> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V: View> Inner<V> {
    fn set(&mut self, key: Key, view: Option<V>) -> Option<(Key, Option<V>, Option<V>)> {
        let before = match &view {
            Some(view) => self.views.insert(key.clone(), view.clone()),
            None => self.views.remove(&key),
        };
        if before == view {
            return None;
        }
        if let Some(pipeline) = owner(&key, before.as_ref()) {
            let names = self.by_pipeline.entry(pipeline.clone()).or_default();
            names.remove(&key);
            if names.is_empty() {
                self.by_pipeline.remove(&pipeline);
            }
        }
        if let Some(pipeline) = owner(&key, view.as_ref()) {
            self.by_pipeline.entry(pipeline).or_default().insert(key.clone());
        }
        Some((key, before, view))
    }
}

/// The pipeline that the object `key` belongs to.
pub fn owner<V: View>(key: &Key, view: Option<&V>) -> Option<Key> {
    let name = view?.pipeline()?;
    Some(Key { namespace: key.namespace.clone(), name: name.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Of(&'static str, u8);

    impl View for Of {
        fn pipeline(&self) -> Option<&str> {
            Some(self.0)
        }
    }

    fn key(name: &str) -> Key {
        Key::new("ns", name)
    }

    #[test]
    fn a_new_listing_forgets_what_is_gone_and_tells_only_what_differs() {
        let mirror = Mirror::default();
        assert!(!mirror.is_synced());
        let list = |objects: &[(&str, Of)]| {
            mirror.apply(Event::Init);
            for (name, view) in objects {
                assert!(mirror.apply(Event::InitApply((key(name), view.clone()))).is_empty());
            }
            let mut changed: Vec<_> =
                mirror.apply(Event::InitDone).into_iter().map(|(key, ..)| key).collect();
            changed.sort();
            changed
        };
        assert_eq!(list(&[("a", Of("p", 1)), ("b", Of("p", 1))]), [key("a"), key("b")]);
        assert!(mirror.is_synced());
        assert_eq!(list(&[("b", Of("p", 1)), ("c", Of("q", 1))]), [key("a"), key("c")]);
        assert_eq!(mirror.of_pipeline(&key("p")), [(key("b"), Of("p", 1))]);
        assert_eq!(mirror.of_pipeline(&key("q")), [(key("c"), Of("q", 1))]);
    }

    #[test]
    fn an_event_that_changes_nothing_that_matters_is_no_change() {
        let mirror = Mirror::default();
        assert_eq!(mirror.apply(Event::Apply((key("a"), Of("p", 1)))).len(), 1);
        assert_eq!(mirror.apply(Event::Apply((key("a"), Of("p", 1)))).len(), 0);
        assert_eq!(mirror.apply(Event::Apply((key("a"), Of("p", 2)))).len(), 1);
        assert_eq!(mirror.apply(Event::Delete((key("a"), Of("p", 2)))).len(), 1);
        assert_eq!(mirror.of_pipeline(&key("p")), []);
    }
}
