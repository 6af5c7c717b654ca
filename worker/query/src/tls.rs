//! The server's certificate. It is read again when its file has changed, so a renewal needs no restart.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use anyhow::Context;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// What direct negotiation asks for.
const ALPN: &[u8] = b"postgresql";

/// A certificate and its key, in PEM files.
pub struct Certificate {
    chain: PathBuf,
    key: PathBuf,
    current: Mutex<(Option<SystemTime>, TlsAcceptor)>,
}

impl Certificate {
    /// Reads the files.
    ///
    /// # Errors
    /// Where they cannot be read or do not belong together.
    pub fn open(chain: PathBuf, key: PathBuf) -> anyhow::Result<Self> {
        let current = (changed(&chain), read(&chain, &key)?);
        Ok(Certificate { chain, key, current: Mutex::new(current) })
    }

    /// What accepts the next connection. A renewal that is not whole yet leaves the former certificate.
    pub fn acceptor(&self) -> TlsAcceptor {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = changed(&self.chain);
        if changed != current.0 {
            match read(&self.chain, &self.key) {
                Ok(acceptor) => *current = (changed, acceptor),
                Err(error) => {
                    tracing::warn!(error = format!("{error:#}"), "the new certificate cannot be used")
                }
            }
        }
        current.1.clone()
    }
}

fn changed(file: &Path) -> Option<SystemTime> {
    std::fs::metadata(file).and_then(|metadata| metadata.modified()).ok()
}

fn read(chain: &Path, key: &Path) -> anyhow::Result<TlsAcceptor> {
    let certificates = CertificateDer::pem_file_iter(chain)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("cannot read the certificate {}", chain.display()))?;
    let private = PrivateKeyDer::from_pem_file(key)
        .with_context(|| format!("cannot read the private key {}", key.display()))?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(certificates, private)
        .with_context(|| format!("cannot use {} with {}", chain.display(), key.display()))?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
