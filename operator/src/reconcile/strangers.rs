//! What is done for pipelines that cannot be understood: they are told so, and let go where they are deleted. What runs
//! of them goes on as it was, since nobody knows what it should be.

use std::collections::HashMap;
use std::future::pending;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::core::DynamicObject;
use kube::discovery::ApiResource;
use kube::{Api, Resource as _};
use serde_json::json;
use tipstream_crds::{ConditionType, TipsPipeline};
use tokio::sync::watch;

use super::{Context, deletion};
use crate::build::names::MANAGER;
use crate::cluster::Key;
use crate::cluster::strangers::Stranger;
use crate::error::Error;
use crate::events::warning;

const REASON: &str = "NotUnderstood";
/// When what could not be told is told again.
const RETRY: Duration = Duration::from_secs(10);

/// What a stranger is told about; not its status, which changes with the telling.
type About = (Option<String>, Option<i64>, bool, String);

fn about(stranger: &Stranger) -> About {
    let metadata = &stranger.metadata;
    (metadata.uid.clone(), metadata.generation, metadata.deletion_timestamp.is_some(), stranger.why.clone())
}

/// Sees to each once, and again when it changes; never ends.
pub async fn see_to_all(mut strangers: watch::Receiver<HashMap<Key, Stranger>>, context: &Context) {
    let mut seen_to: HashMap<Key, About> = HashMap::new();
    loop {
        let now = strangers.borrow_and_update().clone();
        seen_to.retain(|key, _| now.contains_key(key));
        let mut is_done = true;
        for (key, stranger) in now {
            let about = about(&stranger);
            if seen_to.get(&key) == Some(&about) {
                continue;
            }
            match see_to(&key, &stranger, context).await {
                Ok(()) => _ = seen_to.insert(key, about),
                Err(error) => {
                    is_done = false;
                    tracing::warn!(pipeline = %key, "{error}; trying again");
                }
            }
        }
        tokio::select! {
            changed = strangers.changed() => if changed.is_err() { pending::<()>().await },
            () = tokio::time::sleep(RETRY), if !is_done => {}
        }
    }
}

async fn see_to(key: &Key, stranger: &Stranger, context: &Context) -> Result<(), Error> {
    let Stranger { metadata, conditions, why } = stranger;
    let object = ObjectReference {
        api_version: Some(TipsPipeline::api_version(&()).into_owned()),
        kind: Some(TipsPipeline::kind(&()).into_owned()),
        name: metadata.name.clone(),
        namespace: metadata.namespace.clone(),
        uid: metadata.uid.clone(),
        ..ObjectReference::default()
    };
    let note = format!(
        "cannot be understood: {why}; correct it (kubectl edit tips {}), or bring the CRD to the operator's version \
         (helm upgrade). What runs stays as it is",
        key.name
    );
    tracing::warn!(pipeline = %key, "{note}");
    if metadata.deletion_timestamp.is_some() {
        if deletion::has_finalizer(metadata) {
            let left = deletion::left(key, &format!("the manifest cannot be understood: {why}"));
            context.events.tell_about(&object, &warning("StateLeft", "Purge", left)).await;
            deletion::set_finalizer(metadata, false, context).await?;
        }
        return Ok(());
    }
    context.events.tell_about(&object, &warning(REASON, "Observe", &*note)).await;
    let condition = |(kind, status): (ConditionType, &str)| Condition {
        type_: kind.as_str().to_owned(),
        status: status.to_owned(),
        reason: REASON.to_owned(),
        message: note.clone(),
        observed_generation: metadata.generation,
        last_transition_time: Time(Timestamp::now()),
    };
    let ours = [(ConditionType::Ready, "False"), (ConditionType::Degraded, "True")].map(condition);
    let others = conditions.iter().filter(|other| ours.iter().all(|our| other["type"] != *our.type_));
    let conditions: Vec<_> = ours.iter().map(|our| json!(our)).chain(others.cloned()).collect();
    // Not by server-side apply, to which all of an object must be as the CRD says. The version: a list is replaced as a
    // whole, and nobody else's condition is lost.
    let patch = json!({
        "metadata": {"uid": metadata.uid, "resourceVersion": metadata.resource_version},
        "status": {"observedGeneration": metadata.generation, "conditions": conditions},
    });
    let resource = ApiResource::erase::<TipsPipeline>(&());
    let api = Api::<DynamicObject>::namespaced_with(context.client.clone(), &key.namespace, &resource);
    match api.patch_status(&key.name, &PatchParams::apply(MANAGER), &Patch::Merge(patch)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(Error::Status(error.into())),
    }
}
