//! `generate`: deterministic taxi data, and the exact answer that the pipeline must give for it.
//!
//! The answer is worked out from what each ride was drawn to be, and nothing here is shared with
//! the stages that compute it from the lines: tests, demonstrations and benchmarks hold the one
//! against the other.
//!
//! `args` is the command line and `plan` what it means; `trip` draws rides in the
//! neighbourhoods of `area`; `stream` puts their lines in order; `lane` prints, sends and counts
//! each; `answer` is what must come out.

mod answer;
mod area;
mod args;
mod calendar;
mod dice;
mod error;
mod expected;
mod lane;
mod lines;
mod plan;
mod report;
mod room;
mod sink;
mod stream;
mod text;
mod trip;

#[cfg(test)]
mod naive;
#[cfg(test)]
mod tests;

use indicatif::{ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;

pub use answer::{Books, InvalidBy, TopicBooks};
pub use area::MANHATTAN;
pub use args::{GenerateArgs, Key, Pattern};
pub use error::GenerateError;
pub use report::Report;

use area::Areas;
use plan::Plan;
use sink::Sink;
use sink::files::Files;
use sink::kafka::Kafka;
use stream::Stream;
use trip::Trips;

/// Makes the data and the answer. Returns when both are stored, or soon after `stop`.
pub fn run(args: GenerateArgs, stop: &CancellationToken) -> Result<Report, GenerateError> {
    let plan = Plan::new(&args)?;
    let areas = Areas::load(args.neighbourhoods.as_deref())?;
    let trips = Trips::new(&plan, areas)?;
    let expected = args.expected.clone().or_else(|| args.output.as_ref().map(|dir| dir.join("expected")));
    if let Some(dir) = &expected {
        room::for_expected(dir, args.force)?;
    }
    let (rows, books) = match (&args.output, &args.kafka) {
        (Some(dir), _) => {
            room::for_parts(dir, args.force)?;
            let files = Files::create(dir, plan.partitions, args.gzip)?;
            send(&plan, &trips, files, expected.as_deref(), stop)?
        }
        (None, Some(brokers)) => {
            let kafka = Kafka::connect(brokers, &args)?;
            send(&plan, &trips, kafka, expected.as_deref(), stop)?
        }
        (None, None) => {
            let reason = "say where to write: --output DIR or --kafka BROKERS";
            return Err(GenerateError::setting("--output", reason));
        }
    };
    Ok(Report { rides: plan.rides, books, expected: expected.zip(rows) })
}

fn send(
    plan: &Plan,
    trips: &Trips,
    sink: impl Sink,
    expected: Option<&std::path::Path>,
    stop: &CancellationToken,
) -> Result<(Option<u64>, Books), GenerateError> {
    let progress = progress(plan.rides);
    let (tips, books) = Stream::new(plan, trips, sink, stop).run(&progress)?;
    progress.finish_and_clear();
    let rows =
        expected.map(|dir| expected::write(dir, tips.rows(trips.areas()), &books, plan.job)).transpose()?;
    Ok((rows, books))
}

/// On a terminal; elsewhere it stays hidden.
fn progress(rides: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {human_pos}/{human_len} rides, {per_sec}, {eta} left")
        .expect("the template is fixed");
    ProgressBar::new(rides).with_style(style)
}
