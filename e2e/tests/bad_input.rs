//! What a command cannot work with ends it, soon, with an exit code that tells the kind and a text that tells
//! what to do. What serves, with the same security, is used.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tips_e2e::kafka::{Kafka, KafkaOptions};
use tips_e2e::ports::Port;
use tips_e2e::redis::{Redis, RedisOptions, User};
use tips_e2e::s3::S3;
use tips_e2e::tls::Certificates;
use tips_e2e::worker::{Bucket, Data, Pipeline, Settings, Target, binary, polygons, watermark};
use tips_e2e::{Folder, Servers, scenario};

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/demo.yaml");
const PATIENCE: Duration = Duration::from_secs(120);
const DATA: [&str; 10] =
    ["--seed", "21", "--rate", "2", "--span", "2h", "--disorder", "10m", "--invalid", "0.02"];

/// `local` on the demo's settings and empty files.
#[derive(Clone)]
struct Local<'a> {
    folder: &'a Folder,
    manifest: PathBuf,
    rides: PathBuf,
    polygons: PathBuf,
}

impl<'a> Local<'a> {
    fn new(folder: &'a Folder) -> Result<Self> {
        let rides = folder.file("rides.csv", "")?;
        folder.file("fares.csv", "")?;
        Ok(Local { folder, manifest: DEMO.into(), rides, polygons: polygons() })
    }

    fn with_spec(&self, from: &str, to: &str) -> Result<Self> {
        let yaml = std::fs::read_to_string(DEMO).context("reading the demo's manifest")?;
        ensure!(yaml.contains(from), "{from:?} is not in the demo's manifest");
        Ok(Local { manifest: self.folder.file("changed.yaml", yaml.replace(from, to))?, ..self.clone() })
    }

    fn with_polygons(&self, polygons: impl AsRef<[u8]>) -> Result<Self> {
        Ok(Local { polygons: self.folder.file("changed.geojson", polygons)?, ..self.clone() })
    }

    fn run(&self) -> Result<Output> {
        let mut command = Command::new(binary()?);
        command.args(["local", "--quiet", "-f"]).arg(&self.manifest).arg("--rides").arg(&self.rides);
        command.arg("--fares").arg(self.folder.path().join("fares.csv"));
        command.arg("--output").arg(self.folder.path().join("output"));
        Ok(command.arg("--neighbourhoods").arg(&self.polygons).output()?)
    }

    fn refused(&self, texts: &[&str]) -> Result<()> {
        let ended = self.run()?;
        let said = String::from_utf8_lossy(&ended.stderr);
        ensure!(ended.status.code() == Some(2), "it ended with {} in place of 2:\n{said}", ended.status);
        for text in texts {
            ensure!(said.contains(text), "it does not say {text:?}:\n{said}");
        }
        Ok(())
    }
}

#[test]
fn a_manifest_that_cannot_be_used_is_told_with_the_line() {
    scenario("bad-manifest", |folder| {
        let local = Local::new(folder)?;
        let misspelt = local.with_spec("  sink:", "  job: {windw: 30m}\n  sink:")?;
        misspelt.refused(&["changed.yaml:12: spec.job.windw", "did you mean window?"])?;
        let uneven = local.with_spec("  sink:", "  job: {window: 31m}\n  sink:")?;
        uneven.refused(&["changed.yaml:12: spec.job.slide", "must divide the window; write for example"])?;
        let two = local.with_spec("    s3:", "    volume: {claimName: data}\n    s3:")?;
        two.refused(&["changed.yaml:12: spec.sink", "exactly one"])?;
        let nowhere = Local { manifest: folder.path().join("none.yaml"), ..local };
        nowhere.refused(&["none.yaml", "No such file"])
    });
}

#[test]
fn an_input_that_cannot_be_used_is_named() {
    scenario("bad-files", |folder| {
        let local = Local::new(folder)?;
        Local { rides: folder.path().join("none.csv"), ..local.clone() }
            .refused(&["none.csv", "No such file"])?;
        Local { polygons: folder.path().join("none.geojson"), ..local.clone() }.refused(&[
            "cannot read",
            "none.geojson",
            "No such file",
        ])?;
        Local { polygons: folder.path().to_owned(), ..local.clone() }
            .refused(&["cannot read", "Is a directory"])?;
        local.with_polygons(b"\xff\xfe{")?.refused(&["changed.geojson", "UTF-8"])?;
        local.with_polygons("lon,lat\n")?.refused(&["changed.geojson: not a GeoJSON FeatureCollection"])?;
        let point = r#"{"type": "Point", "coordinates": [-74.0, 40.7]}"#;
        local.with_polygons(point)?.refused(&["changed.geojson: not a GeoJSON FeatureCollection"])?;
        let point = format!(r#"{{"type": "Feature", "properties": {{"name": "A"}}, "geometry": {point}}}"#);
        let collection = format!(r#"{{"type": "FeatureCollection", "features": [{point}]}}"#);
        local.with_polygons(collection)?.refused(&["\"A\" is a Point; write a Polygon or a MultiPolygon"])
    });
}

#[test]
fn an_output_of_another_run_is_left_alone() {
    scenario("bad-output", |folder| {
        let local = Local::new(folder)?;
        ensure!(local.run()?.status.success(), "empty files are no failure");
        ensure!(local.run()?.status.success(), "the same run may be made again");
        let others = folder.file("others.csv", "x\n")?;
        Local { rides: others, ..local }.refused(&[
            "results of another run",
            "rides others.csv 2 bytes",
            "name another --output",
        ])
    });
}

fn s3_refuses(folder: &Folder, settings: &Settings) -> Result<()> {
    let s3 = S3::start(folder)?;
    let mut pipeline = Pipeline::new(folder, "s3", settings, Target::S3(Bucket::of(&s3)))?;
    pipeline.set("AWS_SECRET_ACCESS_KEY", "wrong");
    pipeline.refused(1, &["cannot open", "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY"])?;
    pipeline.set("AWS_SECRET_ACCESS_KEY", s3.secret_key());
    pipeline.change("bucket: tips", "bucket: none")?;
    pipeline.refused(1, &["cannot open", "create the bucket, or correct its name"])
}

fn redis_refuses(folder: &Folder, settings: &Settings, secure: &Redis) -> Result<()> {
    let output = || Target::Fs(folder.path().join("output"));
    let plain = format!("redis://{}", secure.address());
    let redis = |url: &str| format!("{{urls: [\"{url}\"]}}");
    let with = |redis: String| Settings { redis, kafka: settings.kafka.clone(), more: Vec::new() };
    let mut pipeline = Pipeline::new(folder, "password", &with(redis(&plain)), output())?;
    pipeline.refused(1, &["Redis refuses access", "check the user, its password"])?;
    pipeline.set("TIPS_REDIS_PASSWORD", "wrong");
    pipeline.refused(1, &["Redis refuses access", "check the user, its password"])?;

    let options =
        RedisOptions { maxmemory_policy: Some("allkeys-lru".into()), ..RedisOptions::named("evicts") };
    let evicts = Redis::start(folder, options)?;
    let mut pipeline = Pipeline::new(folder, "evicts", &with(redis(&evicts.url())), output())?;
    pipeline.refused(1, &["maxmemory-policy allkeys-lru", "set `maxmemory-policy noeviction`"])?;

    let nobody = Port::reserve()?;
    let url = format!("redis://{}", nobody.address());
    let mut pipeline = Pipeline::new(folder, "nobody", &with(redis(&url)), output())?;
    pipeline.refused(1, &["Redis cannot be reached", &nobody.address()])
}

fn kafka_refuses(folder: &Folder, kafka: &Kafka, settings: &Settings) -> Result<()> {
    let output = || Target::Fs(folder.path().join("output"));
    let mut pipeline = Pipeline::new(folder, "topics", settings, output())?;
    pipeline.refused(1, &["has no topic topics-rides", "create it, or name another in spec.kafka"])?;

    let nobody = Port::reserve()?;
    pipeline.change(&settings.kafka, &nobody.address())?;
    pipeline.refused(1, &["cannot reach Kafka at", "Connection refused"])?;

    let secure = kafka.secure().context("a secure listener")?;
    pipeline.change(&nobody.address(), &secure.bootstrap())?;
    pipeline.change("ridesTopic", &format!("tls: {{}}, sasl: {SCRAM}, ridesTopic"))?;
    pipeline.refused(2, &["spec.kafka.sasl needs the environment variable TIPS_KAFKA_USERNAME"])?;
    pipeline.set("TIPS_KAFKA_USERNAME", secure.username());
    pipeline.set("TIPS_KAFKA_PASSWORD", "wrong");
    pipeline.refused(1, &["cannot reach Kafka at", "certificate verify failed", "check TIPS_KAFKA_CA"])?;
    pipeline.set("TIPS_KAFKA_CA", &secure.ca().display().to_string());
    pipeline.refused(1, &["cannot reach Kafka at", "Authentication failed", "TIPS_KAFKA_PASSWORD"])
}

const SCRAM: &str = "{mechanism: SCRAM-SHA-512, secretRef: {name: kafka}}";

fn secure_servers_serve(folder: &Folder, kafka: &Kafka, redis: &Redis) -> Result<()> {
    let secure = kafka.secure().context("a secure listener")?;
    let data = Data::generate(folder, &DATA)?;
    data.produce(kafka, "secure")?;
    let url = redis.url();
    let (_, server) = url.rsplit_once('@').context("a URL with a login")?;
    let settings = Settings {
        kafka: secure.bootstrap(),
        redis: format!("{{urls: [\"rediss://{server}\"], tls: {{}}}}"),
        more: vec!["raw: {flushInterval: 1s}".into()],
    };
    let mut pipeline = Pipeline::new(folder, "secure", &settings, Target::Fs(folder.path().join("output")))?;
    pipeline.change("ridesTopic", &format!("tls: {{}}, sasl: {SCRAM}, ridesTopic"))?;
    let certificates = redis.certificates().context("a Redis with TLS")?;
    for (name, value) in [
        ("TIPS_KAFKA_USERNAME", secure.username()),
        ("TIPS_KAFKA_PASSWORD", secure.password()),
        ("TIPS_KAFKA_CA", &secure.ca().display().to_string()),
        ("TIPS_REDIS_USERNAME", "worker"),
        ("TIPS_REDIS_PASSWORD", "worker-secret"),
    ] {
        pipeline.set(name, value);
    }
    pipeline.refused(1, &["Redis cannot be reached", "certificate"])?;
    pipeline.set("TIPS_REDIS_CA", &certificates.ca().display().to_string());
    pipeline.set("TIPS_REDIS_CLIENT_CERT", &certificates.certificate().display().to_string());
    pipeline.refused(2, &["spec.redis.tls.clientCertificate needs", "TIPS_REDIS_CLIENT_KEY"])?;
    pipeline.set("TIPS_REDIS_CLIENT_KEY", &certificates.key().display().to_string());
    pipeline.catch_up(1, PATIENCE)?;
    for (mechanism, next) in [("SCRAM-SHA-512", "SCRAM-SHA-256"), ("SCRAM-SHA-256", "PLAIN")] {
        pipeline.change(mechanism, next)?;
        pipeline.catch_up(1, PATIENCE)?;
    }
    let closed = watermark(&mut redis.connection()?, "secure")?;
    data.oracle("secure", Some(closed)).check(&pipeline.output()?)?;
    pipeline.verify()?;
    Ok(())
}

/// A listener of Kafka that asks for a certificate.
fn a_certificate_is_shown(servers: &Servers<'_>) -> Result<()> {
    let secure = servers.kafka.secure().context("secure listeners")?;
    let folder = servers.folder;
    let data = Data::generate_in(&folder.path().join("mutual"), &DATA)?;
    data.produce(&servers.kafka, "mutual")?;
    let mut pipeline = servers.pipeline("mutual", &["raw: {flushInterval: 1s}"])?;
    pipeline.change(&servers.kafka.bootstrap(), &secure.mutual_bootstrap())?;
    pipeline.change("ridesTopic", "tls: {}, ridesTopic")?;
    pipeline.set("TIPS_KAFKA_CA", &secure.ca().display().to_string());
    let advice = "check TIPS_KAFKA_CLIENT_CERT and TIPS_KAFKA_CLIENT_KEY";
    pipeline.refused(1, &["cannot reach Kafka at", advice])?;
    let (ours, strangers) = (secure.certificates(), &Certificates::create(folder, "strangers")?);
    let show = |pipeline: &mut Pipeline<'_>, certificate: &Path, key: &Path| {
        pipeline.set("TIPS_KAFKA_CLIENT_CERT", &certificate.display().to_string());
        pipeline.set("TIPS_KAFKA_CLIENT_KEY", &key.display().to_string());
    };
    show(&mut pipeline, &ours.certificate(), Path::new(""));
    pipeline.refused(2, &["spec.kafka.tls.clientCertificate needs", "TIPS_KAFKA_CLIENT_KEY"])?;
    show(&mut pipeline, &strangers.certificate(), &strangers.key());
    pipeline.refused(1, &["cannot reach Kafka at", advice])?;
    show(&mut pipeline, &ours.certificate(), &strangers.key());
    pipeline.refused(1, &["refuses its settings", "ssl.key.location"])?;
    show(&mut pipeline, &folder.path().join("none.pem"), &ours.key());
    pipeline.refused(1, &["refuses its settings", "ssl.certificate.location"])?;
    show(&mut pipeline, &ours.certificate(), &ours.key());
    pipeline.catch_up(1, PATIENCE)?;
    servers.check(&data, "mutual", &pipeline)
}

/// That of `secure_servers_serve`.
fn sink_of_another_is_refused(servers: &Servers<'_>) -> Result<()> {
    servers.kafka.create_topics("intruder", 1)?;
    let output = Target::Fs(servers.folder.path().join("output"));
    let mut pipeline = Pipeline::new(servers.folder, "intruder", &servers.settings(&[]), output)?;
    pipeline.refused(
        2,
        &[
            "belongs to pipeline default/secure, and this is pipeline default/intruder",
            "give each a path of its own in spec.sink",
        ],
    )
}

#[test]
fn servers_that_refuse_are_named_and_secure_ones_serve() {
    scenario("bad-servers", |folder| {
        let servers = Servers::start_with(folder, &KafkaOptions { secure: true, ..KafkaOptions::default() })?;
        let options = RedisOptions {
            password: Some("admin-secret".into()),
            user: Some(User::of_pipeline("secure")),
            certificates: Some(Certificates::create(folder, "secure-tls")?),
            config: vec!["tls-auth-clients yes".into()],
            ..RedisOptions::named("secure")
        };
        let secure = Redis::start(folder, options)?;
        let settings = servers.settings(&[]);
        s3_refuses(folder, &settings)?;
        redis_refuses(folder, &settings, &secure)?;
        kafka_refuses(folder, &servers.kafka, &settings)?;
        secure_servers_serve(folder, &servers.kafka, &secure)?;
        a_certificate_is_shown(&servers)?;
        sink_of_another_is_refused(&servers)
    });
}
