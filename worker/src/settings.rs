//! From a manifest and the environment to what the parts of the worker are made of.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tipstream_crds::env;

use crate::core::batch::Job;
use crate::core::clean::Area;
use crate::core::locate::{GeoJsonError, Neighbourhoods};
use crate::core::window::Rules;
use crate::manifest::{Manifest, RedisServers, Sink as ManifestSink};
use crate::results::window_file::Provenance;
use crate::sink::SinkConfig;
use crate::state::redis::{ClientPem, Identity, Login, RedisConfig, RedisMode};

/// The polygons that are used where the manifest names none.
pub const BUILT_IN: &str = include_str!("../assets/manhattan.geojson");

/// What is wrong with the settings, beyond the manifest itself.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A file that the environment or a flag names.
    #[error("cannot read {path}: {error}")]
    File {
        /// Which.
        path: String,
        /// What is wrong.
        error: std::io::Error,
    },
    /// Polygons.
    #[error("{path}: {error}")]
    Polygons {
        /// Which file.
        path: String,
        /// What is wrong.
        error: GeoJsonError,
    },
    /// A variable that is missing.
    #[error("{setting} needs the environment variable {variable}")]
    Missing {
        /// Part of the manifest.
        setting: &'static str,
        /// Name of the variable.
        variable: &'static str,
    },
}

/// A job with the names that its state and files go by.
#[derive(Clone)]
pub struct Setup {
    /// What decides results.
    pub job: Arc<Job>,
    /// Whose state it is.
    pub identity: Identity,
    /// The GeoJSON that the neighbourhoods were read from.
    pub polygons: String,
}

impl Setup {
    /// Reads the polygons: `file`, or the one that the environment names, or the built-in ones.
    ///
    /// # Errors
    /// Where the polygons cannot be read.
    pub fn new(manifest: &Manifest, file: Option<&Path>) -> Result<Self, SettingsError> {
        let file = file.map(Path::to_owned).or_else(|| variable(env::NEIGHBOURHOODS).map(PathBuf::from));
        let (path, text) = match &file {
            Some(path) => (path.display().to_string(), read(path)?),
            None => ("the built-in polygons".to_owned(), BUILT_IN.to_owned()),
        };
        let neighbourhoods =
            Neighbourhoods::parse(&text).map_err(|error| SettingsError::Polygons { path, error })?;
        let fingerprint = manifest.fingerprint(&Sha256::digest(&text).into());
        let settings = &manifest.job;
        let job = Job {
            rules: Rules {
                window: settings.window.into(),
                slide: settings.slide.into(),
                delay: settings.watermark_delay.into(),
                join_within: settings.join_within.into(),
            },
            area: Area {
                min_lon: settings.area.min_lon,
                max_lon: settings.area.max_lon,
                min_lat: settings.area.min_lat,
                max_lat: settings.area.max_lat,
            },
            neighbourhoods,
        };
        let identity = Identity {
            pipeline: format!("{}.{}", manifest.namespace, manifest.name),
            epoch: manifest.epoch,
            fingerprint: fingerprint.id,
        };
        Ok(Setup { job: Arc::new(job), identity, polygons: text })
    }

    /// What the results say of their making.
    pub fn provenance(&self) -> Provenance {
        Provenance { epoch: self.identity.epoch, fingerprint: self.identity.fingerprint.clone() }
    }
}

/// How the manifest's Redis is reached.
///
/// # Errors
/// Where a file that the environment names cannot be read.
pub fn redis(manifest: &Manifest) -> Result<RedisConfig, SettingsError> {
    let (mode, urls) = match &manifest.redis.servers {
        RedisServers::Standalone { url } => (RedisMode::Standalone, vec![url.clone()]),
        RedisServers::Cluster { urls } => (RedisMode::Cluster, urls.clone()),
        RedisServers::Sentinel { urls, master_name } => {
            let login = login(env::REDIS_SENTINEL_USERNAME, env::REDIS_SENTINEL_PASSWORD);
            (RedisMode::Sentinel { master: master_name.clone(), login }, urls.clone())
        }
    };
    let pem = |path: String| read(Path::new(&path)).map(String::into_bytes);
    let variables = [env::REDIS_CLIENT_CERT, env::REDIS_CLIENT_KEY];
    let client = match client_certificate("spec.redis.tls.clientCertificate", variables)? {
        Some([certificate, key]) => Some(ClientPem { certificate: pem(certificate)?, key: pem(key)? }),
        None => None,
    };
    Ok(RedisConfig {
        mode,
        urls,
        login: login(env::REDIS_USERNAME, env::REDIS_PASSWORD),
        ca: variable(env::REDIS_CA).map(pem).transpose()?,
        client,
    })
}

fn login(username: &str, password: &str) -> Login {
    Login { username: variable(username), password: variable(password) }
}

/// Paths of the certificate that is shown to a server and of its key, where the environment names them.
///
/// # Errors
/// Where it names one without the other.
pub fn client_certificate(
    setting: &'static str,
    [certificate, key]: [&'static str; 2],
) -> Result<Option<[String; 2]>, SettingsError> {
    match (variable(certificate), variable(key)) {
        (Some(certificate), Some(key)) => Ok(Some([certificate, key])),
        (None, None) => Ok(None),
        (Some(_), None) => Err(SettingsError::Missing { setting, variable: key }),
        (None, Some(_)) => Err(SettingsError::Missing { setting, variable: certificate }),
    }
}

/// Where the manifest's files go.
///
/// # Errors
/// Where the environment lacks the path of the volume.
pub fn sink(manifest: &Manifest) -> Result<SinkConfig, SettingsError> {
    Ok(match &manifest.sink {
        ManifestSink::Volume(volume) => {
            let missing = SettingsError::Missing { setting: "spec.sink.volume", variable: env::VOLUME };
            let mount = variable(env::VOLUME).ok_or(missing)?;
            SinkConfig::Fs { root: Path::new(&mount).join(volume.path.trim_start_matches('/')) }
        }
        ManifestSink::S3(s3) => SinkConfig::S3 {
            bucket: s3.bucket.clone(),
            prefix: s3.prefix.clone(),
            endpoint: s3.endpoint.clone(),
            region: s3.region.clone(),
        },
        ManifestSink::Hdfs(hdfs) => SinkConfig::Hdfs {
            name_node: hdfs.name_node.clone(),
            path: hdfs.path.clone(),
            principal: hdfs.kerberos.as_ref().map(|kerberos| kerberos.principal.clone()),
        },
    })
}

/// A variable of the environment, where it is set to something.
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn read(path: &Path) -> Result<String, SettingsError> {
    std::fs::read_to_string(path)
        .map_err(|error| SettingsError::File { path: path.display().to_string(), error })
}
