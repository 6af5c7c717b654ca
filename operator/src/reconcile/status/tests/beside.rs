//! What is told of the query service and of the compaction.

use tipstream_crds::QueryStatus;

use super::*;
use crate::cluster::views::{CronJobView, JobState, JobView};

fn with_services() -> TipsPipeline {
    pipeline(json!({"query": {"enabled": true, "insecure": true}, "compaction": {"enabled": true}}))
}

fn beside<'a>(
    pipeline: &'a TipsPipeline,
    deployment: &'a DeploymentView,
    beside: Beside<'a>,
) -> TipsPipelineStatus {
    of(&Seen { beside, ..seen(pipeline, deployment) })
}

#[test]
fn a_query_service_that_lacks_a_secret_degrades_a_pipeline_that_is_ready() {
    let (pipeline, workers) = (with_services(), running());
    let lacking = Error::ReferencesMissing(vec![Reference {
        field: "spec.query.auth.secretRef",
        name: "query-users".to_owned(),
        source: Source::Secret,
        keys: Vec::new(),
        optional_keys: Vec::new(),
        reader: Reader::Query,
    }]);
    let status = beside(&pipeline, &workers, Beside { query_lacks: Some(&lacking), ..Beside::default() });
    assert_eq!(said(&status)[0], "Ready=True/Running");
    assert_eq!(said(&status)[2], "Degraded=True/SecretNotFound");
    let message = &status.conditions[2].message;
    assert!(message.contains("spec.query.auth.secretRef names the Secret query-users"), "{message}");
    assert!(message.contains("until then the query service stays as it is"), "{message}");
}

#[test]
fn query_pods_that_fail_are_quoted_and_those_that_start_are_not_held_against_anybody() {
    let (pipeline, workers) = (with_services(), running());
    let starting = DeploymentView { wanted: 2, existing: 2, updated: 2, ready: 1, ..running() };
    let status = beside(&pipeline, &workers, Beside { query: Some(&starting), ..Beside::default() });
    assert_eq!(said(&status)[2], "Degraded=False/AsExpected");
    assert_eq!(status.query, Some(QueryStatus { replicas: 2, ready_replicas: 1 }));

    let pods =
        [PodView { component: Some(Component::Query), ..failing(1, "tips-query: no certificate in it") }];
    let status =
        beside(&pipeline, &workers, Beside { pods: &pods, query: Some(&starting), ..Beside::default() });
    assert_eq!(said(&status)[0], "Ready=True/Running");
    assert_eq!(said(&status)[2], "Degraded=True/QueryNotReady");
    let message = &status.conditions[2].message;
    assert!(
        message.starts_with("1 of 2 query pods are ready; ") && message.ends_with("no certificate in it")
    );

    let stalled = DeploymentView { stalled: true, ..starting };
    let status = beside(&pipeline, &workers, Beside { query: Some(&stalled), ..Beside::default() });
    assert_eq!(said(&status)[2], "Degraded=True/QueryNotReady");
}

fn run(name: &str, minute: i64, state: JobState) -> JobView {
    JobView { name: name.to_owned(), created: Timestamp::from_second(60 * minute).ok(), state }
}

#[test]
fn a_failed_compaction_is_told_until_one_succeeds() {
    let (pipeline, workers) = (with_services(), running());
    let failed = run("nyc-compact-2", 2, JobState::Failed("it was tried too often".to_owned()));
    let (before, after) =
        (run("nyc-compact-1", 1, JobState::Complete), run("by-hand", 3, JobState::Complete));
    let (running, cron_job) = (run("nyc-compact-4", 4, JobState::Running), CronJobView::default());
    let pods = [PodView {
        name: "nyc-compact-2-x".to_owned(),
        component: Some(Component::Compact),
        ..failing(1, "tips-worker: the sink cannot be reached")
    }];
    let of_runs = |runs: Vec<&JobView>| {
        let compaction = Some(&cron_job);
        let status =
            beside(&pipeline, &workers, Beside { pods: &pods, compaction, runs, ..Beside::default() });
        (said(&status)[2].clone(), status.conditions[2].message.clone())
    };
    let (said, message) = of_runs(vec![&failed, &before, &running]);
    assert_eq!(said, "Degraded=True/CompactionFailed");
    assert!(message.starts_with("nyc-compact-2: it was tried too often; nyc-compact-2-x: "), "{message}");
    assert!(message.ends_with("the sink cannot be reached"), "{message}");
    assert_eq!(of_runs(vec![&failed, &before, &after]).0, "Degraded=False/AsExpected");
}

#[test]
fn the_last_compaction_is_told_while_there_is_one() {
    let at = |seconds| Timestamp::from_second(seconds).ok();
    let cron_job = CronJobView { last_schedule: at(100), last_success: at(160) };
    let (pipeline, workers) = (with_services(), running());
    let with_cron_job = || Beside { compaction: Some(&cron_job), ..Beside::default() };
    let status = beside(&pipeline, &workers, with_cron_job());
    let told = status.compaction.expect("there is one");
    assert_eq!(told.last_successful_time.map(|time| time.0), at(160));
    let without = self::pipeline(json!({}));
    assert_eq!(beside(&without, &workers, with_cron_job()).compaction, None);
}
