//! A bucket of S3, or of a store that speaks its protocol and honours conditional writes.
//!
//! A PUT to S3 is atomic by itself, so there are no temporary files. With `If-None-Match: *` it is
//! [`put_if_absent`](S3::put) too: of racing PUTs one is answered 200, the others 412, or 409 while
//! the race is undecided, which is retried. A large file goes up in parts, which nobody can see, and
//! the request that completes the upload carries the same condition.
//!
//! # When a reply is lost
//!
//! The retry of a PUT that had succeeded is answered 412. That of a completion is answered 200 where
//! the store remembers the upload (AWS does for a while): it was ours. Else it is 404, the upload is
//! gone, or 412. Those do not say whose file is there, so we look: one that is there is whole, and the
//! outcome is `Put::Exists`, which promises just that. For files whose bytes follow from their name
//! (I3) that is success; a range-log entry (I4), whose bytes do not, is read by its writer anyway.
//! If no file is there, what refused us is gone again, and we start over, once more.
//!
//! `replace` sends `If-Match` with the ETag of the file that it is to replace, and is answered likewise.
//!
//! # What a store must do
//!
//! Some stores accept the condition and ignore it, and would let a second writer overwrite the first
//! without a word. So [`open`](S3::open) puts a probe twice and refuses a store that takes both.
//!
//! # Uploads that nobody finished
//!
//! OpenDAL leaves an upload behind when its writer is dropped and when its completion is refused, and
//! parts are paid for. We abort on every failure; what a killed process leaves is swept (`uploads`).

use std::time::Duration;

use bytes::Bytes;
use opendal::options::WriteOptions;
use opendal::{ErrorKind, Operator, Writer, services};

use super::error::{Category, Fault};
use super::objects::Objects;
use super::uploads::Uploads;
use super::{Mode, Put, Swept, Use, Version, crash, name, retry};

/// Up to here one PUT, which costs one round trip instead of three and more.
const SINGLE_PUT: usize = 16 * 1024 * 1024;
/// S3 takes 5 MiB to 5 GiB, and 10,000 of them.
const PART: usize = 8 * 1024 * 1024;
const PARTS_AT_ONCE: usize = 4;
/// See [`has_lost_its_directory`].
const DIRECTORY_RETRIES: usize = 5;
const DIRECTORY_PAUSE: Duration = Duration::from_millis(20);

pub(super) struct S3 {
    pub(super) objects: Objects,
    uploads: Uploads,
}

/// Where the bucket is. Credentials come from the environment, as for every AWS tool: `AWS_*`
/// variables, profile, web identity of a service account, instance role.
pub(super) struct Place<'a> {
    pub(super) bucket: &'a str,
    pub(super) prefix: &'a str,
    pub(super) endpoint: Option<&'a str>,
    pub(super) region: &'a str,
}

impl S3 {
    pub(super) async fn open(place: Place<'_>, intent: Use) -> Result<S3, Fault> {
        // The crate is built without its automatic registration: the transport is named by hand.
        opendal::install_default();
        let endpoint = match place.endpoint {
            Some(endpoint) => endpoint.trim_end_matches('/').to_owned(),
            None => format!("https://s3.{}.amazonaws.com", place.region),
        };
        let service = services::S3::default()
            .bucket(place.bucket)
            .root(place.prefix)
            .endpoint(&endpoint)
            .region(place.region);
        let once = retry::with_timeouts(Operator::new(service)?);
        if intent == Use::Write {
            probe(&once).await?;
        }
        Ok(S3 { objects: Objects(retry::with_retries(once)), uploads: Uploads::new(&endpoint, &place) })
    }

    pub(super) async fn put(&self, path: &str, bytes: Bytes, mode: Mode) -> Result<Put, Fault> {
        match self.put_once(path, bytes.clone(), &mode).await? {
            Some(put) => Ok(put),
            None => self.put_once(path, bytes, &mode).await?.ok_or_else(|| {
                let cause = "refused on account of a file or an upload that is not there";
                Fault::new(Category::Conflict, cause).transient()
            }),
        }
    }

    /// `None`: undecided, start over.
    async fn put_once(&self, path: &str, bytes: Bytes, mode: &Mode) -> Result<Option<Put>, Fault> {
        crash::point("before-upload", path);
        let put = if bytes.len() <= SINGLE_PUT {
            crash::point("before-publish", path);
            put_object(&self.objects.0, path, bytes, mode).await
        } else {
            self.put_in_parts(path, bytes, mode).await
        };
        crash::point("after-publish", path);
        match put {
            Ok(()) => Ok(Some(Put::Created)),
            Err(error) => self.look(path, error).await,
        }
    }

    async fn put_in_parts(&self, path: &str, bytes: Bytes, mode: &Mode) -> opendal::Result<()> {
        let options = WriteOptions { chunk: Some(PART), concurrent: PARTS_AT_ONCE, ..condition(mode) };
        let mut writer = self.objects.0.writer_options(path, options).await?;
        let done = write_parts(&mut writer, path, bytes).await;
        if done.is_err()
            && let Err(error) = writer.abort().await
        {
            tracing::warn!(%error, path, "sink: an upload is left for the sweep");
        }
        done
    }

    /// Decides what a failed put means: see "When a reply is lost".
    async fn look(&self, path: &str, error: opendal::Error) -> Result<Option<Put>, Fault> {
        match error.kind() {
            // NotFound is the upload; a bucket that is not there is ConfigInvalid.
            ErrorKind::ConditionNotMatch | ErrorKind::NotFound => {}
            _ => return Err(error.into()),
        }
        Ok(self.objects.stat(path).await?.map(|_| Put::Exists))
    }

    pub(super) async fn read_version(&self, path: &str) -> Result<Option<(Bytes, Version)>, Fault> {
        let Some(version) = self.objects.etag(path).await? else { return Ok(None) };
        // The version first: should the file be replaced meanwhile, it is not the one that is there.
        Ok(self.objects.read(path).await?.map(|bytes| (bytes, Version(version))))
    }

    pub(super) async fn sweep(&self, older_than: Duration) -> Result<Swept, Fault> {
        Ok(Swept {
            files: self.objects.sweep(older_than).await?,
            uploads: self.uploads.sweep(older_than).await?,
        })
    }
}

async fn put_object(op: &Operator, path: &str, bytes: Bytes, mode: &Mode) -> opendal::Result<()> {
    for _ in 0..DIRECTORY_RETRIES {
        match op.write_options(path, bytes.clone(), condition(mode)).await {
            Err(error) if has_lost_its_directory(&error) => tokio::time::sleep(DIRECTORY_PAUSE).await,
            done => return done.map(drop),
        }
    }
    op.write_options(path, bytes, condition(mode)).await.map(drop)
}

/// A gateway over a folder removes a directory with the last object in it. A PUT that had just found the directory
/// is refused so, and has written nothing; the next one makes the directory again.
fn has_lost_its_directory(error: &opendal::Error) -> bool {
    error.to_string().contains("ExistingObjectIsDirectory")
}

fn condition(mode: &Mode) -> WriteOptions {
    match mode {
        Mode::IfAbsent => WriteOptions { if_not_exists: true, ..WriteOptions::default() },
        Mode::Replace(Version(etag)) => {
            WriteOptions { if_match: Some(etag.clone()), ..WriteOptions::default() }
        }
    }
}

async fn write_parts(writer: &mut Writer, path: &str, bytes: Bytes) -> opendal::Result<()> {
    let middle = bytes.len() / PART / 2 * PART;
    for start in (0..bytes.len()).step_by(PART) {
        if start == middle {
            crash::point("mid-upload", path);
        }
        let end = bytes.len().min(start + PART);
        writer.write(bytes.slice(start..end)).await?;
    }
    crash::point("before-publish", path);
    writer.close().await?;
    Ok(())
}

/// Proves that the bucket can be written and that the store honours the condition.
async fn probe(op: &Operator) -> Result<(), Fault> {
    let path = name::temporary();
    put_object(op, &path, Bytes::from_static(b"probe"), &Mode::IfAbsent).await?;
    let again = put_object(op, &path, Bytes::from_static(b"again"), &Mode::IfAbsent).await;
    op.delete(&path).await?;
    match again {
        Err(error) if error.kind() == ErrorKind::ConditionNotMatch => Ok(()),
        Err(error) => Err(error.into()),
        Ok(()) => Err(Fault::new(Category::Other, "the store ignores If-None-Match on PUT")
            .advise("exactly-once needs conditional writes: use a store that has them")),
    }
}
