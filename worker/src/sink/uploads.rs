//! S3 uploads that nobody will finish: listed and aborted.
//!
//! OpenDAL knows no request for either, so the two are made here, signed by the library and sent by
//! the transport that OpenDAL itself uses. A lifecycle rule of the bucket (AbortIncompleteMultipart-
//! Upload) does the same, where one may be set.

use std::time::{Duration, SystemTime};

use http::{Method, Request, StatusCode};
use jiff::Timestamp;
use opendal::Buffer;
use opendal::HttpTransporter;
use opendal::raw::percent_encode_path;
use reqsign_aws_v4::{Credential, DefaultCredentialProvider, RequestSigner};
use reqsign_core::{Context, OsEnv, Signer};
use reqsign_file_read_tokio::TokioFileRead;
use serde::Deserialize;

use super::error::{Category, Fault};
use super::name::FOLDERS;
use super::objects::is_older;
use super::retry;
use super::s3::Place;

pub(super) struct Uploads {
    bucket_url: String,
    prefix: String,
    signer: Signer<Credential>,
    transport: HttpTransporter,
}

impl Uploads {
    pub(super) fn new(endpoint: &str, place: &Place<'_>) -> Uploads {
        let transport = HttpTransporter::default();
        let context =
            Context::new().with_file_read(TokioFileRead).with_http_send(transport.clone()).with_env(OsEnv);
        let signer =
            Signer::new(context, DefaultCredentialProvider::new(), RequestSigner::new("s3", place.region));
        let prefix = match place.prefix.trim_matches('/') {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        };
        Uploads { bucket_url: format!("{endpoint}/{}", place.bucket), prefix, signer, transport }
    }

    /// Aborts the uploads into our folders that began before `older_than` ago, and says how many. The sink may be the
    /// whole bucket, and still not all uploads in it are ours.
    pub(super) async fn sweep(&self, older_than: Duration) -> Result<u64, Fault> {
        let mut swept = 0;
        for folder in FOLDERS {
            swept += self.sweep_folder(&format!("{}{folder}/", self.prefix), older_than).await?;
        }
        Ok(swept)
    }

    async fn sweep_folder(&self, prefix: &str, older_than: Duration) -> Result<u64, Fault> {
        let mut swept = 0;
        let mut after = None;
        loop {
            let page = retry::transient(|| self.page(prefix, after.as_ref())).await?;
            for upload in &page.uploads {
                if is_older(upload.initiated()?, older_than) {
                    retry::transient(|| self.abort(upload)).await?;
                    swept += 1;
                }
            }
            match page.next() {
                Some(next) => after = Some(next),
                None => return Ok(swept),
            }
        }
    }

    async fn page(&self, prefix: &str, after: Option<&Marker>) -> Result<Page, Fault> {
        let mut url = format!("{}?uploads&prefix={}", self.bucket_url, encode(prefix));
        if let Some(Marker { key, upload_id }) = after {
            let (key, upload_id) = (encode(key), encode(upload_id));
            url.push_str(&format!("&key-marker={key}&upload-id-marker={upload_id}"));
        }
        let (status, body) = self.send(Method::GET, &url).await?;
        if status != StatusCode::OK {
            return Err(refused(status, &body));
        }
        quick_xml::de::from_str(&body)
            .map_err(|error| Fault::new(Category::Other, format!("not a list of uploads: {error}")))
    }

    async fn abort(&self, upload: &Upload) -> Result<(), Fault> {
        let url = format!(
            "{}/{}?uploadId={}",
            self.bucket_url,
            percent_encode_path(&upload.key),
            encode(&upload.upload_id)
        );
        match self.send(Method::DELETE, &url).await? {
            // Gone: its writer, or another sweep, was first.
            (StatusCode::NO_CONTENT | StatusCode::OK | StatusCode::NOT_FOUND, _) => Ok(()),
            (status, body) => Err(refused(status, &body)),
        }
    }

    async fn send(&self, method: Method, url: &str) -> Result<(StatusCode, String), Fault> {
        let unsent = |error: &dyn std::fmt::Display| Fault::new(Category::Other, error.to_string());
        let request =
            Request::builder().method(method).uri(url).body(Buffer::new()).map_err(|error| unsent(&error))?;
        let (mut parts, body) = request.into_parts();
        self.signer
            .sign(&mut parts, None)
            .await
            .map_err(|error| Fault::new(Category::Denied, error.to_string()))?;
        // The transport sets it, by the version of HTTP.
        parts.headers.remove(http::header::HOST);
        let request = Request::from_parts(parts, body);
        let response = retry::call(self.transport.send(request)).await?;
        let status = response.status();
        let body = String::from_utf8_lossy(&response.into_body().to_bytes()).into_owned();
        Ok((status, body))
    }
}

fn refused(status: StatusCode, body: &str) -> Fault {
    let cause = format!("{status}: {body}");
    match status.as_u16() {
        401 | 403 => Fault::new(Category::Denied, cause).advise(
            "grant s3:ListBucketMultipartUploads and s3:AbortMultipartUpload, or set a lifecycle rule that aborts unfinished uploads",
        ),
        429 | 500..=599 => Fault::new(Category::Unreachable, cause),
        _ => Fault::new(Category::Other, cause),
    }
}

/// A value in a query, where a slash is no separator.
fn encode(value: &str) -> String {
    percent_encode_path(value).replace('/', "%2F")
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Page {
    is_truncated: bool,
    next_key_marker: String,
    next_upload_id_marker: String,
    #[serde(rename = "Upload")]
    uploads: Vec<Upload>,
}

struct Marker {
    key: String,
    upload_id: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Upload {
    key: String,
    upload_id: String,
    initiated: String,
}

impl Page {
    fn next(self) -> Option<Marker> {
        (self.is_truncated && !self.next_key_marker.is_empty())
            .then_some(Marker { key: self.next_key_marker, upload_id: self.next_upload_id_marker })
    }
}

impl Upload {
    fn initiated(&self) -> Result<SystemTime, Fault> {
        let began = self.initiated.parse::<Timestamp>();
        began.and_then(SystemTime::try_from).map_err(|error| {
            let cause = format!("upload of {}: Initiated: {error}", self.key);
            Fault::new(Category::Other, cause)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn a_page_is_read_as_aws_documents_it() {
        // https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListMultipartUploads.html
        let xml = r#"<?xml version="1.0" encoding="UTF-8"?>
            <ListMultipartUploadsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
              <Bucket>bucket</Bucket><KeyMarker></KeyMarker><UploadIdMarker></UploadIdMarker>
              <NextKeyMarker>my-movie.m2ts</NextKeyMarker>
              <NextUploadIdMarker>YW55IGlkZWEgd2h5</NextUploadIdMarker>
              <MaxUploads>3</MaxUploads><IsTruncated>true</IsTruncated>
              <Upload><Key>my-divisor</Key><UploadId>XMgbGlrZSBlbHZpbm</UploadId>
                <Initiator><ID>arn</ID><DisplayName>user1</DisplayName></Initiator>
                <Owner><ID>1</ID><DisplayName>o</DisplayName></Owner>
                <StorageClass>STANDARD</StorageClass>
                <Initiated>2010-11-10T20:48:33.000Z</Initiated></Upload>
              <Upload><Key>a &amp; b</Key><UploadId>VXBsb2FkIElE</UploadId>
                <Initiated>2010-11-10T20:48:33.000Z</Initiated></Upload>
            </ListMultipartUploadsResult>"#;
        let page: Page = quick_xml::de::from_str(xml).expect("a page");
        assert_eq!(page.uploads[1].key, "a & b");
        let began = page.uploads[0].initiated().expect("a time");
        let seconds = began.duration_since(UNIX_EPOCH).expect("after 1970");
        assert_eq!(seconds.as_secs(), 1_289_422_113);
        assert_eq!(page.next().expect("more").key, "my-movie.m2ts");
    }

    #[test]
    fn an_empty_page_ends_the_list() {
        let xml = "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>";
        let page: Page = quick_xml::de::from_str(xml).expect("a page");
        assert!(page.uploads.is_empty());
        assert!(page.next().is_none());
    }
}
