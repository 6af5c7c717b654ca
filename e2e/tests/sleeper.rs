//! A worker sleeps past its session with rows in hand, another reads and publishes them, and the first wakes: it must
//! publish nothing of them, though it does not know yet that its partitions are another's (I1, I4).

use std::time::Duration;

use tips_e2e::kafka::KafkaOptions;
use tips_e2e::sender::Paced;
use tips_e2e::wait::until;
use tips_e2e::worker::{Data, MIXED, PARTITIONS, until_metric};
use tips_e2e::{Servers, scenario};

const PATIENCE: Duration = Duration::from_secs(120);
const SESSION: Duration = Duration::from_secs(2);
const DATA: [&str; 6] = ["--seed", "31", "--rate", "12", "--span", "2h"];
/// Records a second.
const PACE: usize = 4000;

#[test]
fn who_wakes_with_rows_that_another_has_published_publishes_none_of_them() {
    scenario("sleeper", |folder| {
        let options = KafkaOptions { session_timeout: SESSION, ..KafkaOptions::default() };
        let servers = Servers::start_with(folder, &options)?;
        let data = Data::generate(folder, &[&DATA[..], &MIXED].concat())?;
        let topics = data.topics(&servers.kafka, "sleeper")?;
        let sender = Paced::start(servers.kafka.client(), topics, PACE);
        let settings = ["raw: {flushInterval: 3s}", "job: {idleTimeout: 1h}"];
        let mut pipeline = servers.pipeline("sleeper", &settings)?;
        let mut sleeper = pipeline.start(&[])?;
        until_metric(&mut sleeper, "tipstream_records_consumed_total", 5.0 * PACE as f64, PATIENCE)?;
        sleeper.stop()?;
        let mut other = pipeline.start(&[])?;
        until_metric(&mut other, "tipstream_assigned_partitions", 2.0 * PARTITIONS as f64, PATIENCE)?;
        // More than one round of files.
        until_metric(&mut other, "tipstream_raw_rows_total", 5.0 * PACE as f64, PATIENCE)?;
        sleeper.cont()?;
        // Or it hears first that they are not its own any more.
        let told = ["another worker has begun this range", "the state stands elsewhere"];
        until("the sleeper is told", PATIENCE, || {
            let said = sleeper.output()?;
            Ok(told.iter().any(|text| said.contains(text)))
        })?;
        sender.finish()?;
        sleeper.end()?;
        other.end()?;
        pipeline.catch_up(1, PATIENCE)?;
        servers.check_with_books(&data, "sleeper", &pipeline, |oracle| oracle)
    });
}
