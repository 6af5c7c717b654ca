//! What can go wrong at a sink, told so that somebody can act on it.
//!
//! A backend returns a [`Fault`], which knows the cause; the interface adds what was being done and
//! where, which makes it a [`SinkError`].

use std::error::Error as StdError;
use std::fmt;
use std::io;

use hdfs_native::HdfsError;

/// The kind of a failure: a metric label and the reason of an Event, so its values never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Category {
    /// The store does not answer, or says that it cannot serve at present. Waiting helps.
    Unreachable,
    /// The store answers and refuses: credentials, permissions, a read-only mount.
    Denied,
    /// No room: disk, quota, no datanode that takes a block.
    Full,
    /// Something else is in the way: a directory where a file should be, a lost temporary file.
    Conflict,
    /// What was stored cannot be read back whole.
    Corrupt,
    /// Anything else, settings that cannot work among them.
    Other,
}

impl Category {
    /// The metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Category::Unreachable => "unreachable",
            Category::Denied => "denied",
            Category::Full => "full",
            Category::Conflict => "conflict",
            Category::Corrupt => "corrupt",
            Category::Other => "other",
        }
    }
}

/// A failure of one sink operation.
#[derive(Clone, Debug, thiserror::Error)]
#[error("cannot {action} {place}: {fault}")]
pub struct SinkError {
    action: &'static str,
    place: String,
    fault: Fault,
}

impl SinkError {
    /// What kind of failure it was.
    pub fn category(&self) -> Category {
        self.fault.category
    }

    /// Whether the same call may succeed later with nobody doing anything. The sink has then
    /// already tried more than once; a caller waits before it calls again.
    pub fn is_transient(&self) -> bool {
        self.fault.transient
    }
}

/// A failure seen from inside a backend.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) category: Category,
    transient: bool,
    cause: String,
    advice: Option<&'static str>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)?;
        match self.advice {
            Some(advice) => write!(f, " ({advice})"),
            None => Ok(()),
        }
    }
}

impl Fault {
    pub(super) fn new(category: Category, cause: impl Into<String>) -> Fault {
        Fault { category, transient: category == Category::Unreachable, cause: cause.into(), advice: None }
    }

    pub(super) fn advise(mut self, advice: &'static str) -> Fault {
        self.advice = Some(advice);
        self
    }

    /// Worth another try although the category alone does not say so.
    pub(super) fn transient(mut self) -> Fault {
        self.transient = true;
        self
    }

    pub(super) fn is_transient(&self) -> bool {
        self.transient
    }

    pub(super) fn at(self, action: &'static str, place: String) -> SinkError {
        SinkError { action, place, fault: self }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        use io::ErrorKind::*;
        let cause = error.to_string();
        match error.kind() {
            StorageFull | QuotaExceeded => Fault::new(Category::Full, cause)
                .advise("free space or enlarge the volume; nothing is lost meanwhile"),
            PermissionDenied => Fault::new(Category::Denied, cause)
                .advise("let the worker's user write below the sink's root"),
            ReadOnlyFilesystem => Fault::new(Category::Denied, cause).advise("mount the volume writable"),
            IsADirectory | NotADirectory | AlreadyExists | DirectoryNotEmpty => {
                Fault::new(Category::Conflict, cause)
                    .advise("something that is not ours is in the way: move it")
            }
            InvalidData | UnexpectedEof => Fault::new(Category::Corrupt, cause),
            TimedOut
            | HostUnreachable
            | NetworkUnreachable
            | NetworkDown
            | ConnectionRefused
            | ConnectionReset
            | ConnectionAborted
            | NotConnected
            | BrokenPipe
            | StaleNetworkFileHandle
            | ResourceBusy => Fault::new(Category::Unreachable, cause),
            _ => Fault::new(Category::Other, cause),
        }
    }
}

impl From<opendal::Error> for Fault {
    fn from(error: opendal::Error) -> Fault {
        use opendal::ErrorKind::*;
        let cause = describe(&error);
        match error.kind() {
            PermissionDenied => denied_by_s3(cause),
            ConfigInvalid if cause.contains("NoSuchBucket") => Fault::new(Category::Other, cause)
                .advise("create the bucket, or correct its name, endpoint or region"),
            RateLimited => Fault::new(Category::Unreachable, cause),
            IsADirectory | NotADirectory => Fault::new(Category::Conflict, cause),
            // Signing failed before anything was sent, or versitygw does not know the key.
            _ if cause.contains("credential") || cause.contains("UserNotFound") => denied_by_s3(cause),
            _ if s3_is_full(&cause) => {
                Fault::new(Category::Full, cause).advise("enlarge the store or its quota")
            }
            // Retried or not, what a store or a network may recover from is marked so by OpenDAL.
            _ if error.is_temporary() || error.is_persistent() => Fault::new(Category::Unreachable, cause),
            _ => Fault::new(Category::Other, cause),
        }
    }
}

impl From<HdfsError> for Fault {
    fn from(error: HdfsError) -> Fault {
        // The namenode's stack trace comes after the first line.
        let cause = error.to_string().lines().next().unwrap_or_default().to_owned();
        match error {
            // Raised by the client for sockets; a file system's own errors arrive as RPCError.
            HdfsError::IOError(_) | HdfsError::DataTransferError(_) => {
                Fault::new(Category::Unreachable, cause)
            }
            // The last block was not reported in time: the file is not known to be whole.
            HdfsError::OperationFailed(_) => Fault::new(Category::Unreachable, cause),
            // The datanodes that have them may only be away.
            HdfsError::BlocksNotFound(_) => Fault::new(Category::Unreachable, cause)
                .advise("no datanode that has the blocks answers: start them, or see hdfs fsck"),
            HdfsError::ChecksumError => {
                Fault::new(Category::Corrupt, cause).advise("blocks are damaged: see hdfs fsck")
            }
            HdfsError::AlreadyExists(_) | HdfsError::IsADirectoryError(_) => {
                Fault::new(Category::Conflict, cause)
            }
            // Gone between two steps.
            HdfsError::FileNotFound(_) => Fault::new(Category::Conflict, cause).transient(),
            HdfsError::SASLError(_) | HdfsError::GSSAPIError(..) | HdfsError::NoSASLMechanism => {
                Fault::new(Category::Denied, cause)
                    .advise("check the Kerberos ticket or keytab and HADOOP_CONF_DIR")
            }
            HdfsError::RPCError(class, _) | HdfsError::FatalRPCError(class, _) => {
                refused_by_namenode(&class, cause)
            }
            // Neither a port nor a name service.
            HdfsError::InvalidArgument(said) if said == "No NameNode hosts found" => Fault::new(
                Category::Other,
                cause,
            )
            .advise(
                "write hdfs://host:port, or describe the name service in the hdfs-site.xml of HADOOP_CONF_DIR",
            ),
            _ => Fault::new(Category::Other, cause),
        }
    }
}

fn refused_by_namenode(class: &str, cause: String) -> Fault {
    let class = class.rsplit(['.', '$']).next().unwrap_or(class);
    match class {
        "AccessControlException" => Fault::new(Category::Denied, cause)
            .advise("let the user (HADOOP_USER_NAME or principal) write below the sink's path"),
        "AuthorizationException" | "SaslException" | "GSSException" | "InvalidToken" => {
            Fault::new(Category::Denied, cause)
                .advise("check the Kerberos ticket or keytab and HADOOP_CONF_DIR")
        }
        "SafeModeException"
        | "RetriableException"
        | "StandbyException"
        | "RetryStartFileException"
        | "ObserverRetryOnActiveException" => Fault::new(Category::Unreachable, cause),
        "DSQuotaExceededException" | "NSQuotaExceededException" | "QuotaByStorageTypeExceededException" => {
            Fault::new(Category::Full, cause).advise("raise the HDFS quota or free space")
        }
        "ParentNotDirectoryException" | "PathIsNotEmptyDirectoryException" | "FileAlreadyExistsException" => {
            Fault::new(Category::Conflict, cause)
        }
        // Plain IOExceptions that only their text tells apart: FSDirRenameOp.validateOverwrite and
        // BlockManager.chooseTarget4NewBlock.
        _ if cause.contains("must both be directories") => {
            Fault::new(Category::Conflict, cause).advise("a directory is in the way: move it")
        }
        _ if cause.contains("could only be written to") => Fault::new(Category::Full, cause)
            .transient()
            .advise("no datanode takes a block: they are full, or down"),
        // The file or its lease is gone from under the writer, e.g. swept: start afresh.
        "LeaseExpiredException" | "FileNotFoundException" => {
            Fault::new(Category::Conflict, cause).transient()
        }
        _ => Fault::new(Category::Other, cause),
    }
}

fn denied_by_s3(cause: String) -> Fault {
    let unknown = ["InvalidAccessKeyId", "SignatureDoesNotMatch", "UserNotFound", "credential"];
    let advice = if unknown.iter().any(|code| cause.contains(code)) {
        "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY or the role of the service account"
    } else {
        "grant s3:GetObject, s3:PutObject, s3:DeleteObject, s3:ListBucket, s3:AbortMultipartUpload and s3:ListBucketMultipartUploads"
    };
    Fault::new(Category::Denied, cause).advise(advice)
}

fn s3_is_full(cause: &str) -> bool {
    // No code for it is in the AWS list: these are MinIO's, Ceph's and versitygw's.
    ["StorageFull", "QuotaExceeded", "InsufficientStorage", "no space left"]
        .iter()
        .any(|code| cause.contains(code))
}

/// OpenDAL's own Display holds the whole response; the message and the causes below it are enough.
pub(super) fn describe(error: &opendal::Error) -> String {
    let mut text = error.message().to_owned();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(class: &str, message: &str) -> Fault {
        Fault::from(HdfsError::RPCError(class.to_owned(), message.to_owned()))
    }

    #[test]
    fn what_a_namenode_refuses_is_told_apart() {
        let namenode = "org.apache.hadoop.hdfs.server.namenode.SafeModeException";
        let fault = refused(namenode, "Cannot create file. Name node is in safe mode.");
        assert_eq!(fault.category, Category::Unreachable);
        assert!(fault.is_transient());

        let access = "org.apache.hadoop.security.AccessControlException";
        let fault = refused(access, "Permission denied: user=u, access=WRITE\n\tat o.a.h");
        assert_eq!(fault.category, Category::Denied);
        assert!(!fault.to_string().contains("o.a.h"), "no stack trace");

        let quota = "org.apache.hadoop.hdfs.protocol.DSQuotaExceededException";
        assert_eq!(refused(quota, "quota").category, Category::Full);

        let full = "File /a could only be written to 0 of the 1 minReplication nodes.";
        let fault = refused("java.io.IOException", full);
        assert_eq!(fault.category, Category::Full);
        assert!(fault.is_transient());

        assert_eq!(refused("java.io.IOException", "?").category, Category::Other);

        let unknown = HdfsError::InvalidArgument("No NameNode hosts found".to_owned());
        let said = Fault::from(unknown).to_string();
        assert!(said.contains("describe the name service"), "{said}");

        let away = Fault::from(HdfsError::BlocksNotFound("/a".to_owned()));
        assert!(away.is_transient() && away.category == Category::Unreachable);
    }

    #[test]
    fn the_operating_systems_errors_are_told_apart() {
        let of = |kind| Fault::from(io::Error::from(kind)).category;
        assert_eq!(of(io::ErrorKind::StorageFull), Category::Full);
        assert_eq!(of(io::ErrorKind::QuotaExceeded), Category::Full);
        assert_eq!(of(io::ErrorKind::PermissionDenied), Category::Denied);
        assert_eq!(of(io::ErrorKind::ReadOnlyFilesystem), Category::Denied);
        assert_eq!(of(io::ErrorKind::IsADirectory), Category::Conflict);
        assert_eq!(of(io::ErrorKind::StaleNetworkFileHandle), Category::Unreachable);
    }
}
