//! What is in HDFS: where, for its clients; and by WebHDFS a copy of it, for readers that know only files.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::http;

const WEBHDFS: &str = "/webhdfs/v1";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listing {
    file_statuses: Statuses,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Statuses {
    file_status: Vec<Status>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    path_suffix: String,
    r#type: Kind,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "UPPERCASE")]
enum Kind {
    File,
    Directory,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Redirect {
    location: String,
}

/// The files of a file system, which may be down at times.
#[derive(Clone, Debug)]
pub struct Files {
    name_node: String,
    http: String,
}

impl Files {
    pub(super) fn new(name_node: String, http: String) -> Self {
        Files { name_node, http }
    }

    /// `hdfs://<host>:<port>`.
    pub fn uri(&self) -> String {
        format!("hdfs://{}", self.name_node)
    }

    /// `http://<host>:<port>/webhdfs/v1`, to which a path is appended.
    pub fn webhdfs(&self) -> String {
        format!("http://{}{WEBHDFS}", self.http)
    }

    /// Copies everything below `from`, an absolute path, into the local folder `to`.
    pub fn fetch(&self, from: &str, to: &Path) -> Result<()> {
        fs::create_dir_all(to).with_context(|| format!("creating {}", to.display()))?;
        for status in self.list(from)? {
            let path = format!("{}/{}", from.trim_end_matches('/'), status.path_suffix);
            let target = to.join(&status.path_suffix);
            match status.r#type {
                Kind::Directory => self.fetch(&path, &target)?,
                Kind::File => fs::write(&target, self.read(&path)?)
                    .with_context(|| format!("writing {}", target.display()))?,
            }
        }
        Ok(())
    }

    /// The bytes of a file.
    pub fn read(&self, path: &str) -> Result<Vec<u8>> {
        // The NameNode says where the DataNode is; the path is in that address again, already encoded.
        let target = format!("{}?op=OPEN&noredirect=true", webhdfs(path));
        let body = http::get(&self.http, &target)?;
        let redirect: Redirect = serde_json::from_slice(&body).context("WebHDFS' answer to OPEN")?;
        let (address, target) = redirect
            .location
            .strip_prefix("http://")
            .and_then(|rest| rest.split_once('/'))
            .with_context(|| format!("WebHDFS names {}", redirect.location))?;
        http::get(address, &format!("/{target}"))
    }

    fn list(&self, path: &str) -> Result<Vec<Status>> {
        let body = http::get(&self.http, &format!("{}?op=LISTSTATUS", webhdfs(path)))?;
        let listing: Listing = serde_json::from_slice(&body).context("WebHDFS' answer to LISTSTATUS")?;
        Ok(listing.file_statuses.file_status)
    }
}

/// The path in a URL: what is not plain is percent-encoded (`=` of the partition folders may stay).
fn webhdfs(path: &str) -> String {
    let encoded = path.bytes().map(|byte| match byte {
        b'/' | b'=' | b'-' | b'_' | b'.' | b'~' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    });
    format!("{WEBHDFS}{}", encoded.collect::<String>())
}
