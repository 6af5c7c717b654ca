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
use kube::{Api, Client, ResourceExt as _};

use super::ownership;
use crate::build::Object;
use crate::build::names::{Component, MANAGER};
use crate::cluster::Key;
use crate::cluster::views::{ChildView, content_hash};
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
/// are. Jobs are those of the CronJob, or remove the state of a pipeline that goes.
pub(super) fn is_as_applied(
    applied: &Applied,
    present: &[(Kind, Key, ChildView)],
    held: Option<Component>,
) -> bool {
    let owned = present.iter().filter(|(kind, _, view)| *kind != Kind::Job && !is_held(view, held));
    let as_applied = |(kind, key, view): &(Kind, Key, ChildView)| {
        let hashes = applied.get(&(*kind, key.name.to_string()));
        hashes.is_some_and(|hashes| hashes.stored == view.hash) && !view.terminating
    };
    owned.clone().count() == applied.len() && owned.clone().all(as_applied)
}

/// Whether an object is of the part that is left as it is.
fn is_held(view: &ChildView, held: Option<Component>) -> bool {
    held.is_some() && view.component == held
}

/// Applies `objects` for the pipeline with `uid`, and deletes what of `present` is the pipeline's and is no longer
/// wanted; what is there of the part `held` is left as it is.
///
/// # Errors
/// The first that could not be written.
pub(super) async fn run(
    client: &Client,
    uid: &str,
    objects: &[Object],
    present: &[(Kind, Key, ChildView)],
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
            Some(view) if view.controller.as_deref() == Some(uid) && view.hand_edited => {
                Presence::EditedByHand
            }
            Some(view) if view.controller.as_deref() == Some(uid) => Presence::Ours,
            _ => Presence::Unknown,
        };
        let stored = apply(client, uid, object, &json, presence).await?;
        crash::point(&format!("apply::after-{}", object.kind()));
        applied.insert(id, Hashes { sent, stored });
    }
    delete_unwanted(client, uid, objects, present, held).await?;
    applied.retain(|(kind, name), _| {
        objects.iter().any(|object| object.kind() == *kind && *object.name() == **name)
    });
    Ok(())
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
    uid: &str,
    object: &Object,
    json: &serde_json::Value,
    presence: Presence,
) -> Result<u64, Error> {
    let (kind, name) = (object.kind(), object.name());
    let failed = |source: kube::Error| Error::Apply { kind, name: name.to_owned(), source: source.into() };
    let api = api(client, kind, object.metadata().namespace.as_deref());
    let params = PatchParams::apply(MANAGER);
    let patch = Patch::Apply(json);
    if presence == Presence::EditedByHand {
        ownership::take_back(&api, name).await.map_err(failed)?;
        crash::point("apply::after-take-back");
    }
    if presence == Presence::Unknown {
        // What is somebody else's is not taken over by force.
        match api.patch(name, &params, &patch).await {
            Ok(stored) => return Ok(content_hash(&stored)),
            Err(kube::Error::Api(status)) if status.code == 409 || status.code == 422 => {
                let Some(present) = api.get_opt(name).await.map_err(failed)? else {
                    return Err(failed(kube::Error::Api(status)));
                };
                let controller =
                    present.owner_references().iter().find(|owner| owner.controller == Some(true));
                match controller {
                    Some(owner) if owner.uid == uid => {}
                    None if status.code == 422 => return Err(failed(kube::Error::Api(status))),
                    _ => return Err(Error::NameTaken { kind, name: name.to_owned() }),
                }
            }
            Err(source) => return Err(failed(source)),
        }
    }
    let stored = api.patch(name, &params.force(), &patch).await.map_err(failed)?;
    Ok(content_hash(&stored))
}

async fn delete_unwanted(
    client: &Client,
    uid: &str,
    objects: &[Object],
    present: &[(Kind, Key, ChildView)],
    held: Option<Component>,
) -> Result<(), Error> {
    for (kind, key, view) in present.iter().filter(|(.., view)| !is_held(view, held)) {
        let wanted = objects.iter().any(|object| object.kind() == *kind && *object.name() == *key.name);
        if wanted || view.terminating || view.controller.as_deref() != Some(uid) {
            continue;
        }
        delete(client, *kind, key).await?;
    }
    Ok(())
}

/// Deletes an object and, behind it, what it owns.
///
/// # Errors
/// Where it could not be deleted; that it is not there is no error.
pub(super) async fn delete(client: &Client, kind: Kind, key: &Key) -> Result<(), Error> {
    let api = api(client, kind, Some(&key.namespace));
    match api.delete(&key.name, &DeleteParams::background()).await {
        Ok(_) => {
            crash::point("apply::after-delete");
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(source) => Err(Error::Delete { kind, name: key.name.to_string(), source: source.into() }),
    }
}

/// Creates or updates an object that has no owner.
///
/// # Errors
/// Where it could not be written.
pub(super) async fn create(client: &Client, object: &Object) -> Result<(), Error> {
    apply(client, "", object, &object.to_json(), Presence::Ours).await?;
    crash::point(&format!("apply::after-{}", object.kind()));
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
