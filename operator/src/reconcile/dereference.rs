//! Reads what the spec refers to: besides the cache of the watches, the only reads of a reconcile.

use std::collections::BTreeMap;

use futures::future::try_join_all;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client};
use sha2::{Digest, Sha256};

use crate::cluster::Cluster;
use crate::error::Error;
use crate::reference::{POLYGONS_FIELD, Reference, Source};

/// What the spec refers to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Contents {
    /// Hexadecimal digest of all keys that are used.
    pub digest: String,
    /// The polygons, with the name of their ConfigMap.
    pub polygons: Option<(String, String)>,
}

/// Reads the used keys of `references` in `namespace`.
///
/// # Errors
/// Where one of them is not there, lacks a key, or cannot be read.
pub(super) async fn run(
    client: &Client,
    cluster: &Cluster,
    namespace: &str,
    references: &[Reference],
) -> Result<Contents, Error> {
    if let Some(missing) = references.iter().find(|reference| cluster.version(namespace, reference).is_none())
    {
        return Err(Error::ReferenceMissing(missing.clone()));
    }
    let objects = try_join_all(references.iter().map(|reference| read(client, namespace, reference))).await?;
    let mut digest = Sha256::new();
    let mut polygons = None;
    for (reference, mut data) in references.iter().zip(objects) {
        for key in &reference.keys {
            let Some(value) = data.get(key) else {
                return Err(Error::KeyMissing { reference: reference.clone(), key: key.clone() });
            };
            hash(&mut digest, value);
        }
        for key in &reference.optional_keys {
            hash(&mut digest, data.get(key).map_or(&[], Vec::as_slice));
        }
        if reference.field == POLYGONS_FIELD {
            let bytes = reference.keys.first().and_then(|key| data.remove(key)).unwrap_or_default();
            polygons = Some((reference.name.clone(), String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
    let digest = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Contents { digest, polygons })
}

fn hash(digest: &mut Sha256, value: &[u8]) {
    digest.update(value.len().to_be_bytes());
    digest.update(value);
}

async fn read(
    client: &Client,
    namespace: &str,
    reference: &Reference,
) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    let bytes = |data: Option<BTreeMap<String, ByteString>>| {
        data.into_iter().flatten().map(|(key, value)| (key, value.0)).collect::<BTreeMap<_, _>>()
    };
    let read = match reference.source {
        Source::Secret => {
            let api = Api::<Secret>::namespaced(client.clone(), namespace);
            api.get_opt(&reference.name).await.map(|found| found.map(|secret| bytes(secret.data)))
        }
        Source::ConfigMap => {
            let api = Api::<ConfigMap>::namespaced(client.clone(), namespace);
            api.get_opt(&reference.name).await.map(|found| {
                found.map(|config_map| {
                    let mut data = bytes(config_map.binary_data);
                    let texts = config_map.data.into_iter().flatten();
                    data.extend(texts.map(|(key, text)| (key, text.into_bytes())));
                    data
                })
            })
        }
    };
    match read {
        Ok(Some(data)) => Ok(data),
        Ok(None) => Err(Error::ReferenceMissing(reference.clone())),
        Err(source) => Err(Error::Read { reference: reference.clone(), source: source.into() }),
    }
}
