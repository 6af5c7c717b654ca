//! The query service in pods of the worker's image: with a login, TLS and the map, over the data of a pipeline. The
//! compaction beside it merges a day. What is said where the sink is away.

use anyhow::ensure;
use tips_e2e::operator::{self, NAMESPACE};
use tips_e2e::site::{PATIENCE, Site};
use tips_e2e::tls::Certificates;
use tips_e2e::wait::until;
use tips_e2e::worker::{Bucket, Data, Pipeline, Settings, Target};
use tips_e2e::{query, scenario};

use crate::cluster::compaction::merges_the_first_day;
use crate::cluster::sql::QueryPod;

const QUERY: &str = "query: {enabled: true, auth: {secretRef: {name: users}}, tls: {secretRef: {name: certificate}}, \
                     map: true}";

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
        cluster.create_tls_secret("certificate", &Certificates::create(folder, "query")?)?;
        cluster.apply(&std::fs::read_to_string(pipeline.manifest())?)?;
        let pod = QueryPod::ready(&cluster, "password=s3cret sslmode=require")?;
        until("answered from both halves", PATIENCE, || {
            Ok(pod.psql("SELECT count(DISTINCT final) FROM tips")? == "2")
        })?;
        let status = pod.psql("SELECT state_error, sink_error FROM pipeline_status")?;
        ensure!(status == "|", "{status}");
        let page = pod.get(8081, "/")?;
        ensure!(page.status().is_success(), "{}", page.status());
        let windows = pod.get(8081, "/api/windows")?.text()?;
        ensure!(windows.contains("\"final\":true"), "{windows}");

        operator::await_consumed(&cluster, data.records()?, PATIENCE)?;
        merges_the_first_day(&cluster, &pipeline.output()?, &pod)?;

        site.s3.down()?;
        operator::await_degraded(&cluster, "SinkUnreachable", PATIENCE)?;
        let events = cluster.kubectl(&["get", "events", "--field-selector=reason=SinkUnreachable"])?;
        ensure!(events.contains("tipspipeline/nyc"), "{events}");
        ensure!(pod.psql("SELECT count(*) > 0 FROM tips_live")? == "t", "no live windows without the sink");
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
