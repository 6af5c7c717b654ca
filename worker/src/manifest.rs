//! The manifest: a TipsPipeline read from a file, checked once, and from then on plain values.
//!
//! `tips-worker` runs from the same YAML that a cluster is given. Where there is no API server to
//! refuse it, this module does: unknown fields, wrong types and broken rules are told with file,
//! line and what to write instead. What comes out, a [`Manifest`], cannot be wrong, so the rest of
//! the worker has nothing left to check.
//!
//! YAML becomes a tree that knows its lines ([`node`]); the tree is compared with the schema of
//! the CRD ([`unknown`]); then it becomes a TipsPipeline, and that the values of [`settings`].

mod node;
mod problem;
mod settings;
mod unknown;

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use kube::Resource as _;
use tipstream_crds::{Fingerprint, TipsPipeline, TipsPipelineSpec, is_dns_label};

use self::{
    node::{Node, Segment},
    problem::Problems,
};
pub use self::{
    problem::{ManifestError, Problem},
    settings::{Job, Kafka, Raw, Redis, RedisServers, Sink},
};

/// More than any TipsPipeline has, and more than an API server takes.
const MAX_BYTES: u64 = 1 << 20;

/// A valid TipsPipeline.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// `metadata.namespace`; `default` where it is not given.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// The epoch of the state.
    pub epoch: u64,
    /// Topics and brokers.
    pub kafka: Kafka,
    /// The state's servers.
    pub redis: Redis,
    /// Where files go.
    pub sink: Sink,
    /// What is computed.
    pub job: Job,
    /// How raw lines are kept; `None` where they are not.
    pub raw: Option<Raw>,
    spec: TipsPipelineSpec,
}

impl Manifest {
    /// Reads the one TipsPipeline in the YAML file `path`; `-` is standard input.
    pub fn read(path: &Path) -> Result<Self, ManifestError> {
        let stdin = path.as_os_str() == "-";
        let file = if stdin { "stdin".to_owned() } else { path.display().to_string() };
        let bytes =
            if stdin { read_limited(io::stdin().lock()) } else { File::open(path).and_then(read_limited) };
        match bytes {
            Ok(bytes) => Self::parse(&file, &bytes),
            Err(source) => Err(ManifestError::Read { file, source }),
        }
    }

    /// Reads the one TipsPipeline in `yaml`, which errors call `file`.
    pub fn parse(file: &str, yaml: &[u8]) -> Result<Self, ManifestError> {
        let mut problems = Problems::new(file);
        match checked(yaml, &mut problems) {
            Some(pipeline) if problems.is_empty() => Ok(Self::from_valid(pipeline)),
            _ => Err(problems.into()),
        }
    }

    fn from_valid(pipeline: TipsPipeline) -> Self {
        let group_id = pipeline.group_id();
        let TipsPipeline { metadata, spec, .. } = pipeline;
        Self {
            namespace: metadata.namespace.unwrap_or_else(|| "default".to_owned()),
            name: metadata.name.expect("checked to be given"),
            epoch: spec.epoch.try_into().expect("valid epochs are 0 or more"),
            kafka: Kafka::new(&spec.kafka, group_id),
            redis: Redis::new(&spec.redis),
            sink: Sink::new(&spec.sink),
            job: Job::new(&spec.job),
            raw: Raw::new(&spec.raw),
            spec,
        }
    }

    /// The spec as it was written, with every default in it.
    pub fn spec(&self) -> &TipsPipelineSpec {
        &self.spec
    }

    /// The fingerprint of the settings that decide results, for polygons whose bytes have the
    /// SHA-256 `polygons_sha256`.
    pub fn fingerprint(&self, polygons_sha256: &[u8; 32]) -> Fingerprint {
        Fingerprint::new(&self.spec, polygons_sha256)
    }
}

fn read_limited(input: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        let message = format!("is longer than {MAX_BYTES} bytes; it does not look like a manifest");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

/// The TipsPipeline in `yaml`; what is wrong with it goes into `problems`.
fn checked(yaml: &[u8], problems: &mut Problems<'_>) -> Option<TipsPipeline> {
    let documents = Node::parse_documents(yaml, problems)?;
    let document = only_pipeline(&documents, problems)?;
    unknown::check(document, problems);
    let pipeline = typed(document, problems)?;
    check_namespace(&pipeline, document, problems);
    for violation in pipeline.validate() {
        let path: Vec<_> = violation.path.split('.').map(Segment::key).collect();
        problems.push(document, &path, violation.message);
    }
    Some(pipeline)
}

/// The one document that is a TipsPipeline. Others beside it, such as the ConfigMap of its
/// polygons, are for the cluster.
fn only_pipeline<'a>(documents: &'a [Node], problems: &mut Problems<'_>) -> Option<&'a Node> {
    let kind = TipsPipeline::kind(&());
    let pipelines: Vec<_> =
        documents.iter().filter(|document| document.text("kind") == Some(&*kind)).collect();
    match pipelines[..] {
        [pipeline] => {
            let version = TipsPipeline::api_version(&());
            if pipeline.text("apiVersion") != Some(&*version) {
                let message = format!("must be {version}; write apiVersion: {version}");
                problems.push(pipeline, &[Segment::key("apiVersion")], message);
                return None;
            }
            Some(pipeline)
        }
        [] => {
            for document in documents {
                let message = format!("is not that of a TipsPipeline; write kind: {kind}");
                problems.push(document, &[Segment::key("kind")], message);
            }
            if documents.is_empty() {
                problems.push_line(None, "", format!("has no TipsPipeline; write one with kind: {kind}"));
            }
            None
        }
        [_, ref more @ ..] => {
            for pipeline in more {
                let message =
                    "is a second TipsPipeline; a worker runs one, write the others to files of their own";
                problems.push(pipeline, &[], message);
            }
            None
        }
    }
}

fn typed(document: &Node, problems: &mut Problems<'_>) -> Option<TipsPipeline> {
    match serde_path_to_error::deserialize(document.to_json()) {
        Ok(pipeline) => Some(pipeline),
        // A misspelt field is often also a missing one: what is unknown says it better.
        Err(_) if !problems.is_empty() => None,
        Err(error) => {
            let path: Vec<_> = error.path().iter().filter_map(Segment::of_serde).collect();
            problems.push(document, &path, error.inner().to_string());
            None
        }
    }
}

/// The namespace goes into keys, groups and paths, before the name and a dot. A dot in it, which Kubernetes does not take
/// either, would give two pipelines one state.
fn check_namespace(pipeline: &TipsPipeline, document: &Node, problems: &mut Problems<'_>) {
    if pipeline.metadata.namespace.as_deref().is_some_and(|name| !is_dns_label(name)) {
        let path = [Segment::key("metadata"), Segment::key("namespace")];
        let message = "must be lower-case letters, digits and dashes, at most 63, with a letter or digit at both ends; write for example taxi";
        problems.push(document, &path, message);
    }
}

#[cfg(test)]
mod tests;
