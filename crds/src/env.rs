//! What the worker takes from its environment rather than from the manifest: secrets and files.
//!
//! The operator fills these from the Secrets and ConfigMaps that a spec refers to; on a laptop one
//! sets them by hand. A value that is a secret is never in a manifest, an argument or a log.

/// User towards Kafka (`spec.kafka.sasl`).
pub const KAFKA_USERNAME: &str = "TIPS_KAFKA_USERNAME";
/// Password towards Kafka (`spec.kafka.sasl`).
pub const KAFKA_PASSWORD: &str = "TIPS_KAFKA_PASSWORD";
/// Path of the PEM file of authorities trusted for Kafka (`spec.kafka.tls.caSecretRef`).
pub const KAFKA_CA: &str = "TIPS_KAFKA_CA";
/// Path of the PEM file of the certificate shown to Kafka (`spec.kafka.tls.clientCertificate`).
pub const KAFKA_CLIENT_CERT: &str = "TIPS_KAFKA_CLIENT_CERT";
/// Path of the PEM file of that certificate's private key.
pub const KAFKA_CLIENT_KEY: &str = "TIPS_KAFKA_CLIENT_KEY";

/// User towards Redis, where it has ACLs (`spec.redis.auth`).
pub const REDIS_USERNAME: &str = "TIPS_REDIS_USERNAME";
/// Password towards Redis (`spec.redis.auth`).
pub const REDIS_PASSWORD: &str = "TIPS_REDIS_PASSWORD";
/// User towards the sentinels, where they have ACLs (`spec.redis.sentinel.auth`).
pub const REDIS_SENTINEL_USERNAME: &str = "TIPS_REDIS_SENTINEL_USERNAME";
/// Password towards the sentinels (`spec.redis.sentinel.auth`).
pub const REDIS_SENTINEL_PASSWORD: &str = "TIPS_REDIS_SENTINEL_PASSWORD";
/// Path of the PEM file of authorities trusted for Redis (`spec.redis.tls.caSecretRef`).
pub const REDIS_CA: &str = "TIPS_REDIS_CA";
/// Path of the PEM file of the certificate shown to Redis (`spec.redis.tls.clientCertificate`).
pub const REDIS_CLIENT_CERT: &str = "TIPS_REDIS_CLIENT_CERT";
/// Path of the PEM file of that certificate's private key.
pub const REDIS_CLIENT_KEY: &str = "TIPS_REDIS_CLIENT_KEY";

/// Access key of S3 (`spec.sink.s3.credentials`), under the name that AWS tools use.
pub const S3_ACCESS_KEY_ID: &str = "AWS_ACCESS_KEY_ID";
/// Secret key of S3 (`spec.sink.s3.credentials`), under the name that AWS tools use.
pub const S3_SECRET_ACCESS_KEY: &str = "AWS_SECRET_ACCESS_KEY";

/// Path of the folder of `core-site.xml` and `hdfs-site.xml` (`spec.sink.hdfs.configMapRef`),
/// under Hadoop's own name.
pub const HADOOP_CONF_DIR: &str = "HADOOP_CONF_DIR";
/// Path of `krb5.conf` (`spec.sink.hdfs.kerberos.configMapRef`), under MIT Kerberos' own name.
pub const KRB5_CONFIG: &str = "KRB5_CONFIG";
/// Path of the keytab (`spec.sink.hdfs.kerberos.keytabSecretRef`), under MIT Kerberos' own name.
pub const KRB5_CLIENT_KEYTAB: &str = "KRB5_CLIENT_KTNAME";

/// Path of the GeoJSON file of polygons (`spec.job.neighbourhoods`); unset: those built in.
pub const NEIGHBOURHOODS: &str = "TIPS_NEIGHBOURHOODS";
/// Path at which the volume of `spec.sink.volume` is mounted.
pub const VOLUME: &str = "TIPS_VOLUME";

/// Path of a folder with a file per user of the query service that holds the password
/// (`spec.query.auth`); read at each login.
pub const QUERY_USERS: &str = "TIPS_QUERY_USERS";
/// Path of the PEM file of the query service's certificate (`spec.query.tls`).
pub const QUERY_TLS_CERT: &str = "TIPS_QUERY_TLS_CERT";
/// Path of the PEM file of that certificate's private key.
pub const QUERY_TLS_KEY: &str = "TIPS_QUERY_TLS_KEY";

/// Keys within the Secrets that a spec refers to.
pub mod secret_key {
    /// The user, in the Secrets of Kafka and Redis.
    pub const USERNAME: &str = "username";
    /// The password, in the Secrets of Kafka and Redis.
    pub const PASSWORD: &str = "password";
    /// The certificate, in a Secret of type kubernetes.io/tls.
    pub const TLS_CERT: &str = "tls.crt";
    /// The private key, in a Secret of type kubernetes.io/tls.
    pub const TLS_KEY: &str = "tls.key";
}
