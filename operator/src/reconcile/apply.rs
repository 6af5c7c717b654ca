//! Makes the cluster as the build says: by server-side apply, and only where something differs (O2).
//!
//! What was sent and what the API server made of it are remembered as two hashes. As long as the object still has
//! the second and would be sent as the first, there is nothing to say. So an edit by anybody is answered once, a
//! default or a webhook's addition is not mistaken for one, and a quiet cluster hears nothing. A new operator, who
//! remembers nothing, applies each object once; the API server then changes nothing either.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use kube::api::{DeleteParams, Patch, PatchParams};
use kube::core::DynamicObject;
use kube::{Api, Client};
use serde_json::json;

use super::fetch::Child;
use super::ownership::{self, Ownership};
use crate::build::Object;
use crate::build::names::{Component, MANAGER};
use crate::cluster::Key;
use crate::cluster::views::{self, ChildView, Progress};
use crate::crash;
use crate::error::Error;
use crate::kind::Kind;

/// What was applied, by kind and name.
pub(super) type Applied = HashMap<(Kind, String), Hashes>;

/// What was sent, and what the API server made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hashes {
    sent: u64,
    stored: u64,
}

/// Whether the objects that are there are those that were applied, no more and no less; those of `held` are what they
/// are.
pub(super) fn is_as_applied(applied: &Applied, present: &[Child], held: Option<Component>) -> bool {
    let owned = governed(present, held, |kind, name| applied.contains_key(&(kind, name.to_owned())));
    let as_applied = |(kind, key, view): &Child| {
        let hashes = applied.get(&(*kind, key.name.to_string()));
        hashes.is_some_and(|hashes| hashes.stored == view.hash) && !view.terminating
    };
    owned.clone().count() == applied.len() && owned.clone().all(as_applied)
}

/// What of `present` is to be as the spec says: neither what there is of the part `held`, nor what is not `wanted` any
/// more and workers of a former template read.
fn governed<'a>(
    present: &'a [Child],
    held: Option<Component>,
    wanted: impl Fn(Kind, &str) -> bool + Clone + 'a,
) -> impl Iterator<Item = &'a Child> + Clone {
    present.iter().filter(move |(kind, key, view)| {
        is_of_spec(*kind, view)
            && !is_held(view, held)
            && (wanted(*kind, &key.name) || !is_read(*kind, view, present))
    })
}

/// Whether an object is one that a spec asks for: Jobs are runs of its CronJob, and what removes the state of a pipeline
/// that goes is not of its spec.
fn is_of_spec(kind: Kind, view: &ChildView) -> bool {
    kind != Kind::Job && view.component != Some(Component::Purge)
}

/// Whether an object is of the part that is left as it is.
fn is_held(view: &ChildView, held: Option<Component>) -> bool {
    held.is_some() && view.component == held
}

/// Whether workers of a former template are there, which read an object when they start again.
fn is_read(kind: Kind, view: &ChildView, present: &[Child]) -> bool {
    let rolls = |of: &ChildView| {
        of.component == Some(Component::Worker)
            && matches!(&of.progress, Progress::Deployment(deployment) if !deployment.is_rolled_out())
    };
    kind == Kind::ConfigMap
        && view.component == Some(Component::Worker)
        && present.iter().any(|(.., of)| rolls(of))
}

/// Applies `objects` for `owner`, and deletes what of `present` is no longer wanted; what is there of the part `held` is
/// left as it is. What was applied is then in `present` as the API server answered.
///
/// # Errors
/// The first that could not be written.
pub(super) async fn run(
    client: &Client,
    owner: Owner<'_>,
    objects: &[Object],
    present: &mut Vec<Child>,
    held: Option<Component>,
    applied: &mut Applied,
) -> Result<(), Error> {
    for object in objects {
        let id = (object.kind(), object.name().to_owned());
        let json = object.to_json();
        let sent = hash(&json);
        let view =
            present.iter().find(|(kind, key, _)| *kind == id.0 && *key.name == *id.1).map(|(.., view)| view);
        let unchanged = |hashes: &&Hashes| {
            hashes.sent == sent && view.is_some_and(|view| view.hash == hashes.stored && !view.terminating)
        };
        if applied.get(&id).filter(unchanged).is_some() {
            continue;
        }
        let presence = match view {
            Some(view) if view.hand_edited => Presence::EditedByHand,
            Some(_) => Presence::Ours,
            None => Presence::Unknown,
        };
        let stored = match apply(client, owner, object, &json, presence).await {
            // The kind has gone, which the watches find out within a minute.
            Err(Error::Apply { kind: Kind::PodMonitor, source, .. }) if is_not_found(&source) => {
                applied.remove(&id);
                continue;
            }
            stored => stored?,
        };
        applied.insert(id, Hashes { sent, stored: take_in(present, object.kind(), &stored) });
    }
    delete_unwanted(client, objects, present, held).await?;
    applied.retain(|(kind, name), _| {
        objects.iter().any(|object| object.kind() == *kind && *object.name() == **name)
    });
    Ok(())
}

fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_not_found())
}

/// Puts an object as it was answered into `present`, and returns its hash. The watch tells of it only later, and a
/// status that is made before then would speak of what was there before.
fn take_in(present: &mut Vec<Child>, kind: Kind, stored: &DynamicObject) -> u64 {
    let (key, view) = views::child(kind, stored);
    let hash = view.hash;
    match present.iter_mut().find(|(of, name, _)| *of == kind && *name == key) {
        Some((.., before)) => *before = view,
        None => present.push((kind, key, view)),
    }
    hash
}

/// The pipeline that is applied for.
#[derive(Clone, Copy)]
pub(super) struct Owner<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its UID.
    pub uid: &'a str,
}

/// What is known of an object before it is applied.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    /// It is there and is the pipeline's.
    Ours,
    /// So it is, and somebody has edited it with kubectl.
    EditedByHand,
    /// It is not there, or is somebody else's.
    Unknown,
}

async fn apply(
    client: &Client,
    owner: Owner<'_>,
    object: &Object,
    json: &serde_json::Value,
    presence: Presence,
) -> Result<DynamicObject, Error> {
    let (kind, name) = (object.kind(), object.name());
    let failed = |source: kube::Error| Error::Apply { kind, name: name.to_owned(), source: source.into() };
    let api = api(client, kind, object.metadata().namespace.as_deref());
    let mut params = PatchParams::apply(MANAGER).force();
    match presence {
        Presence::Ours => {}
        Presence::EditedByHand => {
            ownership::take_back(&api, name).await.map_err(failed)?;
            crash::point("apply::after-take-back");
        }
        Presence::Unknown => match api.get_metadata_opt(name).await.map_err(failed)? {
            // Whoever makes one meanwhile is not overruled.
            None => params.force = false,
            Some(found) => match ownership::of(&found, owner) {
                Ownership::Ours => {}
                Ownership::Predecessors => {
                    return Err(Error::PredecessorLeft { kind, name: name.to_owned() });
                }
                Ownership::SomebodyElses => return Err(Error::NameTaken { kind, name: name.to_owned() }),
            },
        },
    }
    let stored = api.patch(name, &params, &Patch::Apply(json)).await.map_err(failed)?;
    crash::point(format_args!("apply::after-{kind}"));
    Ok(stored)
}

async fn delete_unwanted(
    client: &Client,
    objects: &[Object],
    present: &[Child],
    held: Option<Component>,
) -> Result<(), Error> {
    let wanted =
        |kind: Kind, name: &str| objects.iter().any(|object| object.kind() == kind && object.name() == name);
    for (kind, key, view) in governed(present, held, wanted) {
        if !wanted(*kind, &key.name) && !view.terminating {
            delete(client, *kind, key, &DeleteParams::background()).await?;
        }
    }
    Ok(())
}

/// Deletes an object and what it owns.
///
/// # Errors
/// Where it could not be deleted; that it is not there is no error.
pub(super) async fn delete(
    client: &Client,
    kind: Kind,
    key: &Key,
    params: &DeleteParams,
) -> Result<(), Error> {
    let api = api(client, kind, Some(&key.namespace));
    match api.delete(&key.name, params).await {
        Ok(_) => {
            crash::point("apply::after-delete");
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(source) => Err(Error::Delete { kind, name: key.name.to_string(), source: source.into() }),
    }
}

/// Creates or updates an object that has no owner; it is then in `present`.
///
/// # Errors
/// Where it could not be written.
pub(super) async fn create(client: &Client, object: &Object, present: &mut Vec<Child>) -> Result<(), Error> {
    let nobody = Owner { name: "", uid: "" };
    let stored = apply(client, nobody, object, &object.to_json(), Presence::Ours).await?;
    _ = take_in(present, object.kind(), &stored);
    Ok(())
}

/// Sees to it that `replicas` workers are asked for, and changes nothing else.
///
/// # Errors
/// Where the Deployment could not be written.
pub(super) async fn scale(client: &Client, present: &mut Vec<Child>, replicas: i32) -> Result<(), Error> {
    let differs = |view: &ChildView| {
        view.component == Some(Component::Worker)
            && matches!(&view.progress, Progress::Deployment(deployment) if deployment.wanted != replicas)
    };
    let Some((kind, key, _)) = present.iter().find(|(.., view)| differs(view)).cloned() else {
        return Ok(());
    };
    let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    let patched =
        api(client, kind, Some(&key.namespace)).patch(&key.name, &PatchParams::apply(MANAGER), &patch).await;
    let failed =
        |source: kube::Error| Error::Apply { kind, name: key.name.to_string(), source: source.into() };
    _ = take_in(present, kind, &patched.map_err(failed)?);
    crash::point("apply::after-scale");
    Ok(())
}

fn api(client: &Client, kind: Kind, namespace: Option<&str>) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace.unwrap_or_default(), &kind.resource())
}

fn hash(json: &serde_json::Value) -> u64 {
    let mut hash = DefaultHasher::new();
    json.to_string().hash(&mut hash);
    hash.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config_map(name: &str) -> Child {
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": "ns", "labels": Component::Worker.labels("nyc")},
        });
        let (key, view) = views::child(Kind::ConfigMap, &serde_json::from_value(object).expect("an object"));
        (Kind::ConfigMap, key, view)
    }

    fn deployment(generation: i64, replicas: i32) -> DynamicObject {
        let object = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {
                "name": "nyc-worker", "namespace": "ns", "generation": generation,
                "labels": Component::Worker.labels("nyc"),
            },
            "spec": {"replicas": replicas},
            "status": {"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2},
        });
        serde_json::from_value(object).expect("an object")
    }

    #[test]
    fn what_workers_read_is_kept_until_the_last_of_them_is_replaced() {
        let mut present = vec![config_map("nyc-worker-1"), config_map("nyc-worker-2")];
        let stored = take_in(&mut present, Kind::Deployment, &deployment(2, 2));
        let hashes = |(kind, key, view): &Child| {
            ((*kind, key.name.to_string()), Hashes { sent: 0, stored: view.hash })
        };
        let applied: Applied = present[1..].iter().map(hashes).collect();
        assert_eq!(applied[&(Kind::Deployment, "nyc-worker".to_owned())].stored, stored);
        let former = present[0].clone();
        assert!(is_read(Kind::ConfigMap, &former.2, &present) && is_as_applied(&applied, &present, None));
        _ = take_in(&mut present, Kind::Deployment, &deployment(1, 2));
        assert!(!is_read(Kind::ConfigMap, &former.2, &present) && !is_as_applied(&applied, &present, None));
    }

    #[test]
    fn what_has_just_been_applied_is_not_rolled_out_yet() {
        let mut present = Vec::new();
        let is_rolled_out = |present: &[Child]| match &present[0].2.progress {
            Progress::Deployment(deployment) => deployment.is_rolled_out(),
            other => panic!("{other:?}"),
        };
        let before = take_in(&mut present, Kind::Deployment, &deployment(1, 2));
        assert!(is_rolled_out(&present));
        let after = take_in(&mut present, Kind::Deployment, &deployment(2, 2));
        assert_eq!((present.len(), before), (1, after));
        assert!(!is_rolled_out(&present));
    }
}
