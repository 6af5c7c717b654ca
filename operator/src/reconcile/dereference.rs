//! Reads what the spec refers to: besides the cache of the watches, the only reads of a reconcile.

use std::collections::BTreeMap;

use futures::future::try_join_all;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client};
use sha2::{Digest, Sha256};
use tipstream_crds::hex;

use crate::cluster::Cluster;
use crate::error::Error;
use crate::reference::{POLYGONS_FIELD, Reader, Reference, Source};

/// What the spec refers to.
#[derive(Debug)]
pub(super) struct Contents {
    /// Hexadecimal digest of all keys that the workers use.
    pub digest: String,
    /// The same of the query service, or what it lacks: that holds up nobody else.
    pub query: Result<String, Error>,
    /// The polygons, with the name of their ConfigMap.
    pub polygons: Option<(String, String)>,
}

type Data = BTreeMap<String, Vec<u8>>;

/// Reads the used keys of `references` in `namespace`.
///
/// # Errors
/// Where one of them that is not the query service's alone is not there or lacks a key, or any cannot be read.
pub(super) async fn run(
    client: &Client,
    cluster: &Cluster,
    namespace: &str,
    references: &[Reference],
) -> Result<Contents, Error> {
    let (of_query, others): (Vec<_>, Vec<_>) =
        references.iter().partition(|reference| reference.reader == Reader::Query);
    let others = read_all(client, cluster, namespace, &others).await?;
    let query = match read_all(client, cluster, namespace, &of_query).await {
        Ok(own) => {
            let shared = others.iter().filter(|(reference, _)| reference.reader == Reader::All);
            Ok(digest(shared.chain(&own)))
        }
        Err(lacking @ (Error::ReferencesMissing(_) | Error::KeyMissing { .. })) => Err(lacking),
        Err(error) => return Err(error),
    };
    let polygons = others.iter().find(|(reference, _)| reference.field == POLYGONS_FIELD);
    let polygons = polygons.map(|(reference, data)| {
        let bytes = reference.keys.first().and_then(|key| data.get(key)).map_or(&[][..], Vec::as_slice);
        (reference.name.clone(), String::from_utf8_lossy(bytes).into_owned())
    });
    Ok(Contents { digest: digest(&others), query, polygons })
}

/// Reads `references`, each of which is there with the keys that it must have.
async fn read_all<'a>(
    client: &Client,
    cluster: &Cluster,
    namespace: &str,
    references: &[&'a Reference],
) -> Result<Vec<(&'a Reference, Data)>, Error> {
    let is_missing = |reference: &&&Reference| cluster.version(namespace, reference).is_none();
    let missing: Vec<_> = references.iter().filter(is_missing).map(|missing| (*missing).clone()).collect();
    if !missing.is_empty() {
        return Err(Error::ReferencesMissing(missing));
    }
    let objects = try_join_all(references.iter().map(|reference| read(client, namespace, reference))).await?;
    let read: Vec<_> = references.iter().copied().zip(objects).collect();
    for (reference, data) in &read {
        if let Some(key) = reference.keys.iter().find(|key| !data.contains_key(*key)) {
            return Err(Error::KeyMissing { reference: (*reference).clone(), key: key.clone() });
        }
    }
    Ok(read)
}

/// Of all keys that are used.
fn digest<'a>(read: impl IntoIterator<Item = &'a (&'a Reference, Data)>) -> String {
    let mut digest = Sha256::new();
    for (reference, data) in read {
        for key in reference.keys.iter().chain(&reference.optional_keys) {
            let value = data.get(key).map_or(&[][..], Vec::as_slice);
            digest.update(value.len().to_be_bytes());
            digest.update(value);
        }
    }
    hex(&digest.finalize()[..])
}

async fn read(client: &Client, namespace: &str, reference: &Reference) -> Result<Data, Error> {
    let bytes = |data: Option<BTreeMap<String, ByteString>>| {
        data.into_iter().flatten().map(|(key, value)| (key, value.0)).collect::<Data>()
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
        Ok(None) => Err(Error::ReferencesMissing(vec![reference.clone()])),
        Err(source) => Err(Error::Read { reference: reference.clone(), source: source.into() }),
    }
}
