//! Copies a folder of HDFS to a local one by WebHDFS, for readers that know only files.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::{Hdfs, WEBHDFS};
use crate::http;

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

impl Hdfs {
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
        let body = http::get(&self.ports.name_http.address(), &target)?;
        let redirect: Redirect = serde_json::from_slice(&body).context("WebHDFS' answer to OPEN")?;
        let (address, target) = redirect
            .location
            .strip_prefix("http://")
            .and_then(|rest| rest.split_once('/'))
            .with_context(|| format!("WebHDFS names {}", redirect.location))?;
        http::get(address, &format!("/{target}"))
    }

    fn list(&self, path: &str) -> Result<Vec<Status>> {
        let body = http::get(&self.ports.name_http.address(), &format!("{}?op=LISTSTATUS", webhdfs(path)))?;
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
