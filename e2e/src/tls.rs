//! A certificate authority and a server certificate, by the openssl command.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::Folder;
use crate::cache;
use crate::process::run;

/// The password of [`Certificates::keystore`].
pub const KEYSTORE_PASSWORD: &str = "changeit";

/// Files in PEM, and the server's also as PKCS#12 for Java.
#[derive(Debug, Clone)]
pub struct Certificates {
    dir: PathBuf,
}

impl Certificates {
    /// Makes them for 127.0.0.1 and localhost, in a folder of their own.
    pub fn create(folder: &Folder, name: &str) -> Result<Self> {
        Self::create_at(folder, name, Ipv4Addr::LOCALHOST)
    }

    /// The same for a server that listens elsewhere.
    pub fn create_at(folder: &Folder, name: &str, host: Ipv4Addr) -> Result<Self> {
        Self::issue(folder, name, "/CN=localhost", &format!("DNS:localhost,IP:{host}"))
    }

    /// Makes them for a subject, as `/O=…/CN=…`, and its other names, as `DNS:…,IP:…`.
    pub fn issue(folder: &Folder, name: &str, subject: &str, names: &str) -> Result<Self> {
        let made = Self { dir: folder.dir(name)? };
        let extensions = format!("subjectAltName={names}\nbasicConstraints=CA:FALSE\n");
        folder.file(&format!("{name}/server.ext"), extensions)?;
        made.openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj /CN=e2e-ca -keyout ca.key -out ca.pem")?;
        made.openssl(&format!("req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj {subject} -keyout server.key -out server.csr"))?;
        made.openssl("x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 3650 -extfile server.ext -out server.pem")?;
        made.openssl(&format!("pkcs12 -export -in server.pem -inkey server.key -certfile ca.pem -name server -passout pass:{KEYSTORE_PASSWORD} -out server.p12"))?;
        Ok(made)
    }

    /// What a client must trust.
    pub fn ca(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// The server's certificate.
    pub fn certificate(&self) -> PathBuf {
        self.dir.join("server.pem")
    }

    /// The server's key.
    pub fn key(&self) -> PathBuf {
        self.dir.join("server.key")
    }

    /// The server's certificate and key for Java, under [`KEYSTORE_PASSWORD`].
    pub fn keystore(&self) -> PathBuf {
        self.dir.join("server.p12")
    }

    fn openssl(&self, arguments: &str) -> Result<()> {
        let mut command = Command::new(cache::program("openssl")?);
        run(command.args(arguments.split(' ')).current_dir(&self.dir)).map(drop)
    }
}
