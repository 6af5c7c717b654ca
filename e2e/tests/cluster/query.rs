//! The query service in pods of the worker's image: with a login, TLS and the map, over the data of a pipeline. The
//! compaction beside it merges a day. What is said where the sink is away.

use std::process::Command;

use anyhow::{Result, ensure};
use tips_e2e::operator::{self, NAMESPACE};
use tips_e2e::process::run;
use tips_e2e::site::{PATIENCE, Site};
use tips_e2e::tls::Certificates;
use tips_e2e::wait::until;
use tips_e2e::worker::{Bucket, Data, Pipeline, Settings, Target};
use tips_e2e::{cache, query, scenario};

const QUERY: &str = "query: {enabled: true, auth: {secretRef: {name: users}}, tls: {secretRef: {name: certificate}}, \
                     map: true}";
/// One begins every ten minutes.
const WINDOWS_OF_DAY: usize = 24 * 6;

#[test]
fn sql_and_the_map_are_answered_by_pods() {
    scenario("cluster-query", |folder| {
        let Some(mut site) = Site::start_with(folder, &[&query::binary()?])? else {
            return Ok(());
        };
        let cluster = site.cluster().clone();
        let chart = operator::chart().display().to_string();
        cluster.helm(&["install", "tips", &chart, "--namespace", NAMESPACE, "--wait", "--timeout=2m"])?;
        let data = Data::generate(folder, &["--seed", "61", "--rate", "0.5", "--span", "28h"])?;
        data.produce(&site.kafka, "nyc")?;
        let settings = Settings {
            kafka: site.kafka.bootstrap(),
            redis: format!("{{urls: [\"{}\"]}}", site.redis.url()),
            more: vec![QUERY.to_owned(), "compaction: {enabled: true}".to_owned()],
        };
        let pipeline = Pipeline::new(folder, "nyc", &settings, Target::S3(Bucket::of(&site.s3)))?;
        pipeline.change("prefix: nyc", "prefix: nyc, credentials: {secretRef: {name: s3}}")?;
        cluster.create_secret("s3", pipeline.environment())?;
        cluster.create_secret("users", &[("ana".to_owned(), "s3cret".to_owned())].into())?;
        let made = Certificates::create(folder, "query")?;
        let [chain, key] = [made.certificate(), made.key()].map(|path| path.display().to_string());
        let (chain, key) = (format!("--cert={chain}"), format!("--key={key}"));
        cluster.kubectl(&["create", "secret", "tls", "certificate", &chain, &key])?;
        cluster.apply(&std::fs::read_to_string(pipeline.manifest())?)?;
        let ready = "--output=jsonpath={.status.query.readyReplicas}";
        cluster.until(&["get", "tips", "nyc", ready], PATIENCE, |ready| ready == "1")?;

        let of_query = "--selector=app.kubernetes.io/component=query";
        let address =
            cluster.kubectl(&["get", "pods", of_query, "--output=jsonpath={.items[0].status.podIP}"])?;
        let psql = |sql: &str| {
            let mut command = Command::new(cache::program("psql")?);
            command.args(["--no-psqlrc", "-Atc", sql]).env("PGPASSWORD", "s3cret");
            run(command.arg(format!("host={address} user=ana dbname=tipstream sslmode=require")))
        };
        until("answered from both halves", PATIENCE, || {
            let both = psql("SELECT count(DISTINCT final) FROM tips")?;
            Ok(both.trim() == "2")
        })?;
        let status = psql("SELECT state_error, sink_error FROM pipeline_status")?;
        ensure!(status.trim() == "|", "{status}");
        let page = reqwest::blocking::get(format!("http://{address}:8081/"))?;
        ensure!(page.status().is_success(), "{}", page.status());
        let windows = reqwest::blocking::get(format!("http://{address}:8081/api/windows"))?.text()?;
        ensure!(windows.contains("\"final\":true"), "{windows}");

        operator::await_consumed(&cluster, data.records()?, PATIENCE)?;
        let archive = || psql("SELECT count(*), sum(trips) FROM tips WHERE window_start < '2013-01-02'");
        let windows = |of: &str| -> Result<usize> {
            let mut find = Command::new("find");
            find.arg(site.s3.bucket_dir())
                .args(["-path", &format!("*/year=2013/month=1/day=1/window={of}/*.parquet")]);
            Ok(run(&mut find)?.lines().count())
        };
        until("the day's windows are published", PATIENCE, || Ok(windows("*")? == WINDOWS_OF_DAY))?;
        let before = archive()?;
        cluster.kubectl(&["create", "job", "compact-now", "--from=cronjob/nyc-compact"])?;
        cluster.kubectl(&["wait", "job/compact-now", "--for=condition=Complete", "--timeout=120s"])?;
        ensure!((windows("all")?, windows("*")?) == (1, 1), "a day's windows are not one file");
        ensure!(archive()? == before, "{} in place of {before}", archive()?);

        site.s3.down()?;
        operator::await_degraded(&cluster, "SinkUnreachable", PATIENCE)?;
        let events = cluster.kubectl(&["get", "events", "--field-selector=reason=SinkUnreachable"])?;
        ensure!(events.contains("tipspipeline/nyc"), "{events}");
        ensure!(
            psql("SELECT count(*) > 0 FROM tips_live")?.trim() == "t",
            "no live windows without the sink"
        );
        // Of several that are gone all are named, and of the last one its name is the reason.
        site.kafka.down()?;
        site.redis.down()?;
        site.s3.up()?;
        operator::await_degraded(&cluster, "ServersUnreachable", PATIENCE)?;
        site.kafka.up()?;
        operator::await_degraded(&cluster, "RedisUnreachable", PATIENCE)?;
        site.redis.up()?;
        operator::await_degraded(&cluster, "AsExpected", PATIENCE)
    });
}
