//! The command line of `generate`. Nothing here is looked at twice: `plan` turns it into what the
//! rest uses.

use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum};
use jiff::civil::DateTime;
use jiff::{SignedDuration, Span, SpanRelativeTo};

/// Make taxi rides and fares, the same for the same seed, and the exact answer they must lead to.
///
/// Every ride has a START and an END line; its fare carries the time of the start but is sent when
/// the ride ends, as in the real data. Lines are sent in order of event time, so nothing is late
/// unless --late asks for it.
#[derive(Debug, Clone, Args)]
#[command(group(ArgGroup::new("target").required(true).args(["output", "kafka"])))]
pub struct GenerateArgs {
    /// The seed: the same seed and flags give the same bytes, on every machine.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// Rides that start in a second of event time (fractions allowed).
    #[arg(long, default_value_t = 10.0, value_parser = parse_rate)]
    pub rate: f64,

    /// Event time of the first ride, UTC.
    #[arg(long, default_value = "2013-01-01 00:00:00", value_name = "TIME")]
    pub start: DateTime,

    /// How long rides keep starting, in event time ("90m", "6h", "2d"). The last of them end up to
    /// two hours later.
    #[arg(long, default_value = "6h", value_parser = parse_duration, value_name = "DURATION")]
    pub span: SignedDuration,

    /// How many rides, in place of --span.
    #[arg(long, conflicts_with = "span", value_name = "N")]
    pub rides: Option<u64>,

    /// The id of the first ride. A later run into the same topics has to begin where the one before
    /// it ended, since ids are unique.
    #[arg(long, default_value_t = 1, value_name = "ID")]
    pub first_ride_id: u64,

    /// GeoJSON FeatureCollection whose features have a `name` and a Polygon or MultiPolygon; give
    /// the pipeline the same. Default: a hand-drawn Manhattan that comes with the program.
    #[arg(long, value_name = "FILE")]
    pub neighbourhoods: Option<PathBuf>,

    /// How trips spread over the neighbourhoods.
    #[arg(long, value_enum, default_value_t = Pattern::Skewed)]
    pub pattern: Pattern,

    /// Share of rides that end in the box but in no neighbourhood (counted as `Other`).
    #[arg(long, default_value_t = 0.05, value_parser = parse_share, value_name = "SHARE")]
    pub other: f64,

    /// Share of fares paid by card. The others leave no tip.
    #[arg(long, default_value_t = 0.55, value_parser = parse_share, value_name = "SHARE")]
    pub card_share: f64,

    /// Share of rides at the edge of the join: as long as --join-within (joins), a second longer
    /// and of no length (neither does).
    #[arg(long, default_value_t = 0.002, value_parser = parse_share, value_name = "SHARE")]
    pub border_cases: f64,

    /// Send lines out of order: each up to this much event time after its turn in its partition.
    /// At most the watermark delay, so that nothing becomes late by it.
    #[arg(long, default_value = "0s", value_parser = parse_duration, value_name = "DURATION")]
    pub disorder: SignedDuration,

    /// Share of rides of which one line (START, END or the fare) is sent twice.
    #[arg(long, default_value_t = 0.0, value_parser = parse_share, value_name = "SHARE")]
    pub duplicates: f64,

    /// Invalid lines, as a share of the valid ones, in addition to them: a column too few or too
    /// many, a field that does not parse, not UTF-8, an empty tip; to Kafka also a null value.
    #[arg(long, default_value_t = 0.0, value_parser = parse_share, value_name = "SHARE")]
    pub invalid: f64,

    /// Share of rides of which only one side comes: no fare, or no END.
    #[arg(long, default_value_t = 0.0, value_parser = parse_share, value_name = "SHARE")]
    pub unmatched: f64,

    /// Share of rides that start or end outside the box, lon [-74.05, -73.7], lat [40.5, 41.0].
    #[arg(long, default_value_t = 0.0, value_parser = parse_share, value_name = "SHARE")]
    pub out_of_area: f64,

    /// Share of rides whose END and fare come only when every window they could count in is
    /// closed. Chosen among the rides that start early enough for that.
    #[arg(long, default_value_t = 0.0, value_parser = parse_share, value_name = "SHARE")]
    pub late: f64,

    /// How much later than needed late lines come. They are certain to be late as long as no
    /// partition is read further than this (in event time) ahead of another, the lines of one batch
    /// included.
    #[arg(long, default_value = "1h", value_parser = parse_duration, value_name = "DURATION")]
    pub late_slack: SignedDuration,

    /// Partitions of each topic.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=10_000), value_name = "N")]
    pub partitions: u32,

    /// What decides the partition of a line (and is its Kafka key). By rideId or taxiId both sides
    /// of a ride go to partitions of the same number; none: in turn.
    #[arg(long, value_enum, default_value_t = Key::RideId)]
    pub key: Key,

    /// How far the first partition of each topic is behind the others in event time, as after a
    /// producer that was cut off.
    #[arg(long, default_value = "0s", value_parser = parse_duration, value_name = "DURATION")]
    pub behind: SignedDuration,

    /// Write files into this directory: rides-0.csv, …, fares-0.csv, …, one a partition.
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,

    /// Compress the files (rides-0.csv.gz).
    #[arg(long, requires = "output")]
    pub gzip: bool,

    /// Replace what an earlier run left in the output and expected directories.
    #[arg(long)]
    pub force: bool,

    /// Send to Kafka: bootstrap servers, "host:port,…".
    #[arg(long, value_name = "BROKERS")]
    pub kafka: Option<String>,

    /// Topic of the rides.
    #[arg(long, default_value = "rides", value_name = "TOPIC")]
    pub rides_topic: String,

    /// Topic of the fares.
    #[arg(long, default_value = "fares", value_name = "TOPIC")]
    pub fares_topic: String,

    /// Fail where a topic is missing, in place of creating it.
    #[arg(long, requires = "kafka")]
    pub no_create_topics: bool,

    /// A property of librdkafka, e.g. -X security.protocol=SASL_SSL. Can be given again.
    #[arg(short = 'X', value_name = "KEY=VALUE", value_parser = parse_property, requires = "kafka")]
    pub properties: Vec<(String, String)>,

    /// Send at most so many lines a second of wall time, e.g. to feed a live pipeline for a while.
    /// Default: as fast as possible.
    #[arg(long, value_name = "LINES", value_parser = clap::value_parser!(u64).range(1..))]
    pub pace: Option<u64>,

    /// Where to write the expected answer, tips.csv and books.json. Default: `expected` in the
    /// output directory; to Kafka: nowhere.
    #[arg(long, value_name = "DIR")]
    pub expected: Option<PathBuf>,

    /// The pipeline's window (for the expected answer).
    #[arg(long, default_value = "30m", value_parser = parse_duration, value_name = "DURATION")]
    pub window: SignedDuration,

    /// The pipeline's slide (for the expected answer).
    #[arg(long, default_value = "10m", value_parser = parse_duration, value_name = "DURATION")]
    pub slide: SignedDuration,

    /// How long after its fare's time a ride may end and still join (for the expected answer; no
    /// trip is longer, but for the border cases).
    #[arg(long, default_value = "2h", value_parser = parse_duration, value_name = "DURATION")]
    pub join_within: SignedDuration,

    /// The pipeline's watermark delay (bounds --disorder; decides when --late lines are late).
    #[arg(long, default_value = "30m", value_parser = parse_duration, value_name = "DURATION")]
    pub watermark_delay: SignedDuration,
}

/// How trips spread over the neighbourhoods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Pattern {
    /// Every neighbourhood has the same share.
    Uniform,
    /// By Zipf's law, in an order drawn from the seed: a few busy ones and a long tail.
    Skewed,
    /// Half of all trips end in one neighbourhood.
    Hotspot,
}

/// What decides the partition of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Key {
    /// The ride: both sides of a join meet in one partition number.
    #[value(name = "rideId")]
    RideId,
    /// The taxi: the same, with fewer keys.
    #[value(name = "taxiId")]
    TaxiId,
    /// No key; partitions take turns.
    None,
}

fn parse_duration(text: &str) -> Result<SignedDuration, String> {
    let span: Span = text.parse().map_err(|_| "expected a duration such as 90s, 30m, 6h or 2d".to_owned())?;
    let duration =
        span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|error| error.to_string())?;
    if duration.is_negative() || duration.subsec_nanos() != 0 {
        return Err("expected whole seconds, not negative".to_owned());
    }
    Ok(duration)
}

fn parse_share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("expected a share between 0 and 1, such as 0.01".to_owned()),
    }
}

fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate <= 1e6 => Ok(rate),
        _ => Err("expected rides per second, above 0 and at most 1000000".to_owned()),
    }
}

fn parse_property(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected key=value".to_owned()),
    }
}
