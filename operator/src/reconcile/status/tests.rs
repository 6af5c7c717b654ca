use serde_json::json;

use super::super::observe::Figures;
use super::*;
use crate::reference::{Reader, Reference, Source};

mod beside;
mod scaling;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn pipeline(spec: serde_json::Value) -> TipsPipeline {
    let mut object = json!({
        "apiVersion": "tipstream.dev/v1alpha1",
        "kind": "TipsPipeline",
        "metadata": {"name": "nyc", "namespace": "taxi", "generation": 3},
        "spec": {
            "replicas": 2,
            "kafka": {"bootstrapServers": "kafka:9092", "ridesTopic": "rides", "faresTopic": "fares"},
            "redis": {"urls": ["redis://redis:6379"]},
            "sink": {"s3": {"bucket": "taxi", "region": "us-east-1"}},
        },
    });
    for (name, value) in spec.as_object().into_iter().flatten() {
        object["spec"][name] = value.clone();
    }
    serde_json::from_value(object).expect("a pipeline")
}

fn running() -> DeploymentView {
    DeploymentView {
        epoch: Some(0),
        observed: true,
        wanted: 2,
        existing: 2,
        updated: 2,
        ready: 2,
        ..DeploymentView::default()
    }
}

fn seen<'a>(pipeline: &'a TipsPipeline, deployment: &'a DeploymentView) -> Seen<'a> {
    Seen {
        pipeline,
        before: None,
        error: None,
        deployment: Some(deployment),
        pods: &[],
        beside: Beside::default(),
        figures: None,
        decision: None,
        now: NOW,
    }
}

fn failing(code: i32, message: &str) -> PodView {
    PodView {
        pipeline: Some("nyc".to_owned()),
        component: Some(Component::Worker),
        name: "nyc-worker-a".to_owned(),
        created: None,
        template: None,
        address: None,
        ready: false,
        terminating: false,
        trouble: Some(Trouble {
            reason: "CrashLoopBackOff".to_owned(),
            message: message.to_owned(),
            exit_code: Some(code),
        }),
    }
}

fn missing() -> Error {
    Error::ReferencesMissing(vec![Reference {
        source: Source::Secret,
        name: "kafka".to_owned(),
        keys: Vec::new(),
        optional_keys: Vec::new(),
        field: "spec.kafka.sasl.secretRef",
        reader: Reader::Workers,
    }])
}

fn figures() -> Figures {
    let at = |seconds| Timestamp::from_second(seconds).ok();
    Figures {
        fingerprint: "f".to_owned(),
        watermark: at(90_000),
        last_window_end: at(89_400),
        lag: Some(Lag { records: 7, seconds: 1800 }),
        balance: Some(true),
        ..Figures::default()
    }
}

/// `Type=Status/Reason`, in the order in which they are written.
fn said(status: &TipsPipelineStatus) -> Vec<String> {
    status.conditions.iter().map(|c| format!("{}={}/{}", c.type_, c.status, c.reason)).collect()
}

#[test]
fn a_pipeline_whose_workers_run_is_ready() {
    let (pipeline, deployment, figures) = (pipeline(json!({})), running(), figures());
    let status = of(&Seen { figures: Some(&figures), ..seen(&pipeline, &deployment) });
    assert_eq!(
        said(&status),
        [
            "Ready=True/Running",
            "Progressing=False/Settled",
            "Degraded=False/AsExpected",
            "StateCompatible=True/SameSettings",
        ]
    );
    assert_eq!((status.replicas, status.ready_replicas, status.observed_generation), (2, 2, Some(3)));
    let window = status.last_window.expect("one was written");
    assert_eq!((window.start.0.as_second(), window.end.0.as_second()), (87_600, 89_400));
}

#[test]
fn a_missing_reference_is_told_and_that_the_last_good_workers_run() {
    let (pipeline, deployment, error) = (pipeline(json!({})), running(), missing());
    let status = of(&Seen { error: Some(&error), ..seen(&pipeline, &deployment) });
    assert_eq!(
        said(&status)[..3],
        ["Ready=False/SecretNotFound", "Progressing=False/SecretNotFound", "Degraded=True/SecretNotFound",]
    );
    let ready = &status.conditions[0].message;
    assert!(ready.contains("spec.kafka.sasl.secretRef names the Secret kafka"), "{ready}");
    assert!(ready.contains("2 workers of the last good spec keep running"), "{ready}");
}

#[test]
fn an_error_that_may_pass_does_not_speak_against_workers_that_run() {
    let (pipeline, deployment) = (pipeline(json!({})), running());
    let error = Error::Scale(Box::new(kube::Error::LinesCodecMaxLineLengthExceeded));
    let status = of(&Seen { error: Some(&error), ..seen(&pipeline, &deployment) });
    assert_eq!(said(&status)[0], "Ready=True/Running");
    assert_eq!(said(&status)[2], "Degraded=True/ScaleFailed");
}

#[test]
fn a_pipeline_that_is_stopped_says_how() {
    let none = DeploymentView { wanted: 0, existing: 0, updated: 0, ready: 0, ..running() };
    let reason = |spec| said(&of(&seen(&pipeline(spec), &none)))[..2].join(" ");
    assert_eq!(reason(json!({"suspend": true})), "Ready=False/Suspended Progressing=False/Settled");
    assert_eq!(reason(json!({"replicas": 0})), "Ready=False/NoReplicas Progressing=False/Settled");
}

#[test]
fn a_roll_a_scaling_and_a_start_are_progress() {
    let pipeline = pipeline(json!({}));
    let progress = |deployment| said(&of(&seen(&pipeline, &deployment)))[..2].join(" ");
    let rolling = DeploymentView { updated: 1, ready: 1, ..running() };
    assert_eq!(progress(rolling), "Ready=False/WorkersNotReady Progressing=True/RollingOut");
    let scaling = DeploymentView { existing: 4, updated: 4, ready: 4, ..running() };
    assert_eq!(progress(scaling), "Ready=False/WorkersNotReady Progressing=True/Scaling");
    let starting = DeploymentView { ready: 1, ..running() };
    assert_eq!(progress(starting), "Ready=False/WorkersNotReady Progressing=True/Starting");
    let stalled = DeploymentView { ready: 0, stalled: true, ..running() };
    assert_eq!(progress(stalled), "Ready=False/WorkersNotReady Progressing=False/DeadlineExceeded");
}

#[test]
fn workers_whose_deployment_has_just_been_made_are_being_created() {
    let pipeline = pipeline(json!({}));
    let made = DeploymentView { new: true, wanted: 2, ..DeploymentView::default() };
    let status = of(&seen(&pipeline, &made));
    assert_eq!(said(&status)[..2], ["Ready=False/Creating", "Progressing=True/Creating"]);
}

#[test]
fn what_has_just_been_applied_is_progress_before_it_is_counted() {
    let progress = |replicas: i32| {
        let pipeline = pipeline(json!({"replicas": replicas}));
        let applied = DeploymentView { observed: false, wanted: replicas, ..running() };
        said(&of(&seen(&pipeline, &applied)))[1].clone()
    };
    assert_eq!(progress(4), "Progressing=True/Scaling");
    assert_eq!(progress(2), "Progressing=True/RollingOut");
}

#[test]
fn a_worker_that_ends_is_quoted_and_one_of_other_settings_recognized() {
    let pipeline = pipeline(json!({}));
    let deployment = DeploymentView { ready: 0, ..running() };
    let pods = [failing(1, "tips-worker: Redis cannot be reached")];
    let status = of(&Seen { pods: &pods, ..seen(&pipeline, &deployment) });
    assert_eq!(said(&status)[2..], ["Degraded=True/WorkerFailing", "StateCompatible=Unknown/NotOpened"]);
    assert!(status.conditions[0].message.contains("Redis cannot be reached"));
    let pods = [failing(3, "tips-worker: the state in Redis belongs to other settings")];
    let status = of(&Seen { pods: &pods, ..seen(&pipeline, &deployment) });
    assert_eq!(said(&status)[2..], ["Degraded=True/SettingsDiffer", "StateCompatible=False/SettingsDiffer"]);
}

#[test]
fn while_one_template_follows_another_the_later_one_speaks() {
    let pipeline = pipeline(json!({}));
    let deployment = DeploymentView { ready: 0, existing: 2, ..running() };
    let of_template = |template: &str, name: &str, seconds: i64, message: &str| PodView {
        name: name.to_owned(),
        created: Timestamp::from_second(seconds).ok(),
        template: Some(template.to_owned()),
        ..failing(1, message)
    };
    let former = of_template("1", "nyc-worker-a", 100, "tips-worker: Kafka cannot be reached");
    let mut pulling = of_template("2", "nyc-worker-b", 200, "no such image");
    pulling.trouble = pulling.trouble.map(|trouble| Trouble { exit_code: None, ..trouble });
    let pods = [former, pulling, of_template("2", "nyc-worker-c", 150, "tips-worker: no topic")];
    let told = |pods: &[PodView]| {
        let status = of(&Seen { pods, ..seen(&pipeline, &deployment) });
        status.conditions[2].message.clone()
    };
    assert!(told(&pods).contains("no topic"), "of its pods one that ended speaks first: {}", told(&pods));
    assert!(told(&pods[..2]).contains("no such image"), "{}", told(&pods[..2]));
    assert!(told(&pods[..1]).contains("Kafka cannot be reached"), "{}", told(&pods[..1]));
}

#[test]
fn a_new_epoch_forgets_the_figures_of_the_last_one() {
    let first = pipeline(json!({}));
    let (deployment, figures) = (running(), figures());
    let before = of(&Seen { figures: Some(&figures), ..seen(&first, &deployment) });
    let anew = pipeline(json!({"epoch": 1}));
    let recreating = DeploymentView { recreates: true, existing: 0, updated: 0, ready: 0, ..running() };
    let status = of(&Seen { before: Some(&before), ..seen(&anew, &recreating) });
    assert_eq!(
        (&status.watermark, &status.books, &status.lag, &status.state_epoch),
        (&None, &None, &None, &None)
    );
    assert_eq!(said(&status)[1], "Progressing=True/NewEpoch");
    assert_eq!(said(&status)[3], "StateCompatible=Unknown/NewEpoch");
}

#[test]
fn workers_that_are_silent_for_once_leave_what_they_said() {
    let (pipeline, deployment, figures) = (pipeline(json!({})), running(), figures());
    let before = of(&Seen { figures: Some(&figures), ..seen(&pipeline, &deployment) });
    assert_eq!(of(&Seen { before: Some(&before), ..seen(&pipeline, &deployment) }), before);
}

#[test]
fn of_a_stopped_pipeline_only_the_lag_is_not_known() {
    let (running_pipeline, deployment, figures) = (pipeline(json!({})), running(), figures());
    let before = of(&Seen { figures: Some(&figures), ..seen(&running_pipeline, &deployment) });
    let stopped = pipeline(json!({"suspend": true}));
    let status = of(&Seen { before: Some(&before), ..seen(&stopped, &deployment) });
    assert_eq!((status.lag, &status.watermark), (None, &before.watermark));
}

#[test]
fn a_lag_that_is_no_longer_known_is_not_told() {
    let (pipeline, deployment, figures) = (pipeline(json!({})), running(), figures());
    let before = of(&Seen { figures: Some(&figures), ..seen(&pipeline, &deployment) });
    assert!(before.lag.is_some());
    let lag = |deployment: &DeploymentView, figures: Option<&Figures>| {
        of(&Seen { before: Some(&before), figures, ..seen(&pipeline, deployment) }).lag
    };
    let partly = Figures { lag: None, ..figures };
    assert_eq!(lag(&deployment, Some(&partly)), None, "a partition is nobody's");
    let crashing = DeploymentView { ready: 0, ..running() };
    assert_eq!(lag(&crashing, None), None, "no worker is ready");
    assert_eq!(lag(&deployment, None), before.lag, "they are silent for once");
}

#[test]
fn a_transition_has_its_time_and_a_message_has_none() {
    let pipeline = pipeline(json!({}));
    let at = |seconds| Timestamp::from_second(seconds).expect("a time");
    let starting = DeploymentView { ready: 0, ..running() };
    let first = of(&seen(&pipeline, &starting));
    let more = DeploymentView { ready: 1, ..running() };
    let second = of(&Seen { before: Some(&first), now: at(10), ..seen(&pipeline, &more) });
    assert_ne!(second.conditions[0].message, first.conditions[0].message);
    assert_eq!(second.conditions[0].last_transition_time.0, NOW);
    let all = running();
    let third = of(&Seen { before: Some(&second), now: at(20), ..seen(&pipeline, &all) });
    assert_eq!(third.conditions[0].last_transition_time.0, at(20));
}

#[test]
fn books_that_do_not_balance_need_a_person() {
    let (pipeline, deployment) = (pipeline(json!({})), running());
    let figures = Figures { balance: Some(false), ..figures() };
    let status = of(&Seen { figures: Some(&figures), ..seen(&pipeline, &deployment) });
    assert_eq!(said(&status)[2], "Degraded=True/BooksDoNotBalance");
}

#[test]
fn whom_workers_cannot_reach_is_named() {
    let (pipeline, deployment) = (pipeline(json!({})), running());
    let said_of = |silent: &[Server]| {
        let figures = Figures { silent: silent.iter().copied().collect(), ..figures() };
        said(&of(&Seen { figures: Some(&figures), ..seen(&pipeline, &deployment) }))[2].clone()
    };
    assert_eq!(said_of(&[]), "Degraded=False/AsExpected");
    assert_eq!(said_of(&[Server::Sink]), "Degraded=True/SinkUnreachable");
    assert_eq!(said_of(&[Server::Kafka]), "Degraded=True/KafkaUnreachable");
    assert_eq!(said_of(&[Server::Redis]), "Degraded=True/RedisUnreachable");
    assert_eq!(said_of(&[Server::Kafka, Server::Redis]), "Degraded=True/ServersUnreachable");
}

#[test]
fn a_state_that_cannot_be_read_is_told_unless_redis_says_nothing_at_all() {
    let (pipeline, deployment) = (pipeline(json!({})), running());
    let said_of = |silent: &[Server]| {
        let state_error = Some("a shard has another format".to_owned());
        let figures = Figures { state_error, silent: silent.iter().copied().collect(), ..figures() };
        let degraded =
            of(&Seen { figures: Some(&figures), ..seen(&pipeline, &deployment) }).conditions[2].clone();
        format!("{}: {}", degraded.reason, degraded.message)
    };
    assert_eq!(said_of(&[]), "StateUnreadable: a shard has another format");
    assert_eq!(said_of(&[Server::Kafka]), "StateUnreadable: a shard has another format");
    assert!(said_of(&[Server::Redis]).starts_with("RedisUnreachable: "));
}

#[test]
fn why_pods_are_refused_or_wait_is_told_in_the_words_of_kubernetes() {
    let pipeline = pipeline(json!({}));
    let refused = DeploymentView { failure: Some("exceeded quota: none".to_owned()), ready: 0, ..running() };
    assert_eq!(said(&of(&seen(&pipeline, &refused)))[2], "Degraded=True/PodsRefused");
    let mut waiting = failing(0, "Back-off pulling image");
    waiting.trouble = waiting.trouble.map(|trouble| Trouble {
        reason: "ImagePullBackOff".to_owned(),
        exit_code: None,
        ..trouble
    });
    let (deployment, pods) = (DeploymentView { ready: 1, ..running() }, [waiting]);
    let status = of(&Seen { pods: &pods, ..seen(&pipeline, &deployment) });
    assert_eq!(said(&status)[2], "Degraded=True/ImagePullBackOff");
    assert_eq!(status.conditions[2].message, "nyc-worker-a: ImagePullBackOff: Back-off pulling image");
}

#[test]
fn figures_that_move_are_not_material_but_having_read_all_is() {
    let (pipeline, deployment) = (pipeline(json!({})), running());
    let status = |figures: &Figures| of(&Seen { figures: Some(figures), ..seen(&pipeline, &deployment) });
    let before = status(&figures());
    let lag = |records| Some(Lag { records, seconds: 2000 });
    assert!(!is_material(Some(&before), &status(&Figures { lag: lag(9), ..figures() })));
    assert!(is_material(Some(&before), &status(&Figures { lag: lag(0), ..figures() })));
    assert!(is_material(None, &before));
}
