//! The command line, resolved once: seconds and shares in place of texts, every combination that
//! cannot work refused, with what to do about it.

use jiff::SignedDuration;
use jiff::tz::TimeZone;

use super::args::{GenerateArgs, Key, Pattern};
use super::dice::Share;
use super::error::GenerateError;
use super::trip::Ride;

/// The longest trip that is not a border case, in seconds.
const LONGEST_TRIP: i64 = 7_140;
const LAST_YEAR: i16 = 9_000;

pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) rides: u64,
    pub(super) first_ride_id: u64,
    pub(super) start: i64,
    rate: f64,
    pub(super) partitions: u32,
    pub(super) key: Key,
    /// Seconds by which the rides of the first partition are behind.
    behind: i64,
    pub(super) pattern: Pattern,
    pub(super) pace: Option<u64>,
    pub(super) shares: Shares,
    pub(super) job: Job,
    /// Seconds a line may come after its turn.
    pub(super) disorder: i64,
    pub(super) late_slack: i64,
}

pub(super) struct Shares {
    pub(super) other: Share,
    pub(super) card: Share,
    pub(super) border: Share,
    pub(super) duplicates: Share,
    pub(super) invalid: Share,
    pub(super) unmatched: Share,
    pub(super) out_of_area: Share,
    pub(super) late: Share,
}

/// The settings of the pipeline that decide the answer, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub(super) struct Job {
    pub(super) window: i64,
    pub(super) slide: i64,
    pub(super) join_within: i64,
    pub(super) watermark_delay: i64,
}

impl Plan {
    pub(super) fn new(args: &GenerateArgs) -> Result<Self, GenerateError> {
        let plan = Self {
            seed: args.seed,
            rides: args.rides.unwrap_or_else(|| rides_in(args.span, args.rate)),
            first_ride_id: args.first_ride_id,
            start: start_second(args)?,
            rate: args.rate,
            partitions: args.partitions,
            key: args.key,
            behind: args.behind.as_secs(),
            pattern: args.pattern,
            pace: args.pace,
            shares: Shares::new(args),
            job: Job::new(args)?,
            disorder: args.disorder.as_secs(),
            late_slack: args.late_slack.as_secs(),
        };
        plan.check()?;
        Ok(plan)
    }

    fn check(&self) -> Result<(), GenerateError> {
        if self.rides == 0 {
            let reason = "no ride starts: lengthen --span, or raise --rate";
            return Err(GenerateError::setting("--span", reason));
        }
        if self.first_ride_id.checked_add(self.rides).is_none_or(|last| last > i64::MAX as u64) {
            let reason = "ids would pass 2^63: choose a smaller one";
            return Err(GenerateError::setting("--first-ride-id", reason));
        }
        if self.disorder > self.job.watermark_delay {
            let reason = format!(
                "{} s is more than the watermark delay, {} s, and would make lines late at random: \
                 lower it (or raise --watermark-delay, here and in the pipeline); for late lines \
                 that are accounted for use --late",
                self.disorder, self.job.watermark_delay
            );
            return Err(GenerateError::setting("--disorder", reason));
        }
        if self.behind != 0 && self.key == Key::None {
            let reason = "needs lines that keep to a partition: give --key rideId or taxiId";
            return Err(GenerateError::setting("--behind", reason));
        }
        let span = self.starts_at(self.rides - 1) - self.start;
        if !self.shares.late.is_zero() && span <= self.late_after() {
            let reason = format!(
                "rides have to keep starting for more than {} s until the first can be certain to \
                 be late, and here do for {span} s: lengthen --span, or lower --late-slack",
                self.late_after()
            );
            return Err(GenerateError::setting("--late", reason));
        }
        Ok(())
    }

    /// When ride number `index` starts.
    pub(super) fn starts_at(&self, index: u64) -> i64 {
        self.start + (index as f64 / self.rate) as i64
    }

    /// The key of a ride's lines.
    pub(super) fn key_of(&self, ride: &Ride) -> Option<u64> {
        match self.key {
            Key::RideId => Some(ride.id),
            Key::TaxiId => Some(ride.taxi.into()),
            Key::None => None,
        }
    }

    /// The partition of a key.
    pub(super) fn partition_of(&self, key: u64) -> u32 {
        (mix(key) % u64::from(self.partitions)) as u32
    }

    /// By how many seconds the event times of a ride are behind its turn.
    pub(super) fn behind(&self, ride: &Ride) -> i64 {
        let is_first = self.key_of(ride).is_some_and(|key| self.partition_of(key) == 0);
        if is_first { self.behind } else { 0 }
    }

    /// The normal trip of the given length, held within the join.
    pub(super) fn trip_length(&self, drawn: i64) -> i64 {
        drawn.min(LONGEST_TRIP).min(self.job.join_within)
    }

    /// From a ride's start until its END and fare are late for certain: until then a window that
    /// the fare could count in may be open, or a partition be behind by the slack.
    pub(super) fn late_after(&self) -> i64 {
        self.job.closes_after() + self.job.watermark_delay + self.late_slack
    }

    /// The furthest that anything is scheduled ahead: the longest border case, or the disorder.
    pub(super) fn horizon(&self) -> i64 {
        (self.job.join_within + 1).max(self.disorder)
    }
}

impl Shares {
    fn new(args: &GenerateArgs) -> Self {
        Self {
            other: Share::new(args.other),
            card: Share::new(args.card_share),
            border: Share::new(args.border_cases),
            duplicates: Share::new(args.duplicates),
            invalid: Share::new(args.invalid),
            unmatched: Share::new(args.unmatched),
            out_of_area: Share::new(args.out_of_area),
            late: Share::new(args.late),
        }
    }
}

impl Job {
    fn new(args: &GenerateArgs) -> Result<Self, GenerateError> {
        let job = Self {
            window: args.window.as_secs(),
            slide: args.slide.as_secs(),
            join_within: args.join_within.as_secs(),
            watermark_delay: args.watermark_delay.as_secs(),
        };
        if job.slide == 0 || job.window == 0 || job.window % job.slide != 0 {
            let reason = "has to divide --window (windows are sums of slides)";
            return Err(GenerateError::setting("--slide", reason));
        }
        if !(1..=7 * 86_400).contains(&job.join_within) {
            let reason = "has to lie between 1s and 7d";
            return Err(GenerateError::setting("--join-within", reason));
        }
        if job.watermark_delay > 7 * 86_400 {
            let reason = "has to be at most 7d";
            return Err(GenerateError::setting("--watermark-delay", reason));
        }
        Ok(job)
    }

    /// From a fare's time until the last window that it could count in has ended.
    pub(super) fn closes_after(&self) -> i64 {
        self.join_within + self.window
    }
}

/// SplitMix64's finaliser: neighbouring ids go to partitions that have nothing to do with each other.
fn mix(id: u64) -> u64 {
    let mut mixed = id;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn rides_in(span: SignedDuration, rate: f64) -> u64 {
    (span.as_secs_f64() * rate) as u64
}

fn start_second(args: &GenerateArgs) -> Result<i64, GenerateError> {
    let year = args.start.year();
    if !(1971..LAST_YEAR).contains(&year) || args.start.subsec_nanosecond() != 0 {
        let reason = format!("has to be a whole second between the years 1971 and {LAST_YEAR}");
        return Err(GenerateError::setting("--start", reason));
    }
    TimeZone::UTC
        .to_timestamp(args.start)
        .map(|timestamp| timestamp.as_second())
        .map_err(|error| GenerateError::setting("--start", error.to_string()))
}
