//! A cluster in which a test may run pods: the developer's own, or a node of the test's.

use std::env;
use std::path::Path;

use anyhow::{Context, Result};

use super::{Cluster, Image, KUBECONFIG, Node};
use crate::Folder;

/// Names where a lent cluster finds the images, for example `registry.example/me`: `<there>/tips-worker:e2e` and
/// `<there>/tips-operator:e2e`.
const IMAGES: &str = "TIPS_TEST_IMAGES";

/// A cluster that runs pods.
#[derive(Debug)]
pub enum Pods {
    /// That of `TIPS_TEST_KUBECONFIG`, with others' work on it.
    Lent(Cluster),
    /// The test's own.
    Own(Box<Node>),
}

impl Pods {
    /// The lent cluster if there is one, else a new node. Where there can be neither, it says so and returns nothing.
    pub fn start(folder: &Folder) -> Result<Option<Self>> {
        if let Some(cluster) = Cluster::lent(folder.path()) {
            return Ok(Some(Self::Lent(cluster)));
        }
        let instead = format!(", or name a cluster that lends itself: {KUBECONFIG}=~/.kube/config");
        Ok(Node::start_or_say(folder, &instead)?.map(|node| Self::Own(Box::new(node))))
    }

    /// The cluster, as its administrator.
    pub fn cluster(&self) -> &Cluster {
        match self {
            Self::Lent(cluster) => cluster,
            Self::Own(node) => node.cluster(),
        }
    }

    /// The image of a program that was built here, under the name that is returned.
    pub fn image(&self, folder: &Folder, program: &Path) -> Result<String> {
        let title = program.file_name().context("a program without a name")?.to_string_lossy();
        let Self::Own(node) = self else {
            let place = env::var(IMAGES).with_context(|| {
                format!("{KUBECONFIG} is set, and {IMAGES} does not say where its nodes find {title}:e2e")
            })?;
            return Ok(format!("{place}/{title}:e2e"));
        };
        let image = Image::make(folder, &format!("tipstream.test/{title}:e2e"), program)?;
        node.load(&image)?;
        Ok(image.name().to_owned())
    }
}
