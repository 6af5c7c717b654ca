//! Names and labels of what belongs to a pipeline.

use std::collections::BTreeMap;

/// Field manager of everything that the operator writes, and the value of `managed-by`.
pub const MANAGER: &str = "tips-operator";
/// Selects all objects that the operator made, for its watches.
pub const MANAGED: &str = "app.kubernetes.io/managed-by=tips-operator";
/// Names the pipeline that an object belongs to.
pub const INSTANCE: &str = "app.kubernetes.io/instance";
/// Says what part of a pipeline an object is.
pub const COMPONENT: &str = "app.kubernetes.io/component";
/// Annotation of the pods: changes with what the worker reads when it starts, and so rolls them.
pub const CONFIG_HASH: &str = "tipstream.dev/config-hash";
/// Annotation of the Deployment: the epoch that its pods work in.
pub const EPOCH: &str = "tipstream.dev/epoch";
/// Annotation of the purge Job's pod: the manifest that it works from.
pub const MANIFEST: &str = "tipstream.dev/manifest";

/// The parts of a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Component {
    /// The workers.
    Worker,
    /// The query service.
    Query,
    /// The compaction.
    Compact,
    /// The Job that removes the state.
    Purge,
}

impl Component {
    /// All of them.
    pub const ALL: [Component; 4] =
        [Component::Worker, Component::Query, Component::Compact, Component::Purge];

    /// The part that the value of the label names.
    pub fn of_label(value: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|component| component.as_str() == value)
    }

    /// The value of the label, and the ending of names.
    pub const fn as_str(self) -> &'static str {
        match self {
            Component::Worker => "worker",
            Component::Query => "query",
            Component::Compact => "compact",
            Component::Purge => "purge",
        }
    }

    /// Name of the objects of this part of `pipeline`.
    pub fn name(self, pipeline: &str) -> String {
        format!("{pipeline}-{}", self.as_str())
    }

    /// What the pods of this part of `pipeline` are selected by. It never changes: a Deployment's selector cannot.
    pub fn selector(self, pipeline: &str) -> BTreeMap<String, String> {
        BTreeMap::from([
            ("app.kubernetes.io/name".to_owned(), "tipstream".to_owned()),
            (INSTANCE.to_owned(), pipeline.to_owned()),
            (COMPONENT.to_owned(), self.as_str().to_owned()),
        ])
    }

    /// The labels of every object of this part of `pipeline`.
    pub fn labels(self, pipeline: &str) -> BTreeMap<String, String> {
        let mut labels = self.selector(pipeline);
        labels.insert("app.kubernetes.io/managed-by".to_owned(), MANAGER.to_owned());
        labels
    }
}
