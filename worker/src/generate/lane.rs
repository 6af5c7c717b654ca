//! The last stretch of every line: printed, given a partition and sent; counted in the books; and
//! followed now and then by an invalid one.

use std::thread;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::answer::{Books, Outcome, Topic, outcome};
use super::dice::Dice;
use super::error::GenerateError;
use super::lines::{Flaw, Printer, fields, spoil};
use super::plan::Plan;
use super::sink::{Record, Sink};
use super::text::push_int;
use super::trip::{Line, Ride};

/// How often it is looked whether to stop.
const LINES_A_LOOK: u64 = 1024;

pub(super) struct Lane<'a, S> {
    plan: &'a Plan,
    sink: S,
    printer: Printer,
    dice: Dice,
    text: Vec<u8>,
    key: Vec<u8>,
    /// Records sent, by topic.
    sent: [u64; 2],
    invalid: u64,
    newest: Newest,
    pace: Option<Pace>,
    stop: &'a CancellationToken,
    books: Books,
}

impl<'a, S: Sink> Lane<'a, S> {
    pub(super) fn new(plan: &'a Plan, sink: S, stop: &'a CancellationToken) -> Self {
        Self {
            plan,
            sink,
            printer: Printer::new(),
            dice: Dice::new(plan.seed, 2),
            text: Vec::with_capacity(256),
            key: Vec::with_capacity(20),
            sent: [0; 2],
            invalid: 0,
            newest: Newest::new(plan.partitions),
            pace: plan.pace.map(Pace::new),
            stop,
            books: Books::default(),
        }
    }

    pub(super) fn send(&mut self, line: Line, ride: &Ride, copy: bool) -> Result<(), GenerateError> {
        self.printer.print(&mut self.text, line, ride);
        let partition = self.pass(line, ride, outcome(line, ride.fate, copy), true)?;
        let time = match line {
            Line::End => ride.end(),
            Line::Start | Line::Fare => ride.start,
        };
        self.newest.see(Topic::of(line), partition, time);
        if self.dice.hit(self.plan.shares.invalid) {
            self.send_invalid(line, ride)?;
        }
        Ok(())
    }

    /// The same line once more, broken; the text of the valid one is still there.
    fn send_invalid(&mut self, line: Line, ride: &Ride) -> Result<(), GenerateError> {
        let flaws = self.sink.flaws();
        let mut flaw = flaws[(self.invalid % flaws.len() as u64) as usize];
        self.invalid += 1;
        if flaw == Flaw::EmptyTip && line != Line::Fare {
            flaw = Flaw::Field;
        }
        let field = self.dice.below(fields(line) as u64) as usize;
        spoil(&mut self.text, line, flaw, field);
        self.pass(line, ride, Outcome::Invalid(flaw), flaw != Flaw::NullValue)?;
        Ok(())
    }

    fn pass(
        &mut self,
        line: Line,
        ride: &Ride,
        outcome: Outcome,
        has_value: bool,
    ) -> Result<u32, GenerateError> {
        let topic = Topic::of(line);
        let sent = &mut self.sent[topic as usize];
        let turn = *sent;
        *sent += 1;
        let key = self.plan.key_of(ride);
        // Lines without a key take turns.
        let partition = match key {
            Some(key) => self.plan.partition_of(key),
            None => (turn % u64::from(self.plan.partitions)) as u32,
        };
        if let Some(key) = key {
            self.key.clear();
            push_int(&mut self.key, key);
        }
        self.sink.send(Record {
            topic,
            partition,
            key: key.map(|_| self.key.as_slice()),
            value: has_value.then_some(self.text.as_slice()),
        })?;
        self.books.count(topic, outcome);
        if let Some(pace) = &mut self.pace {
            pace.wait();
        }
        if (self.pace.is_some() || turn.is_multiple_of(LINES_A_LOOK)) && self.stop.is_cancelled() {
            return Err(GenerateError::Interrupted { left: S::LEFT });
        }
        Ok(partition)
    }

    /// The watermark of one who has read exactly what has been sent.
    pub(super) fn watermark(&self) -> Option<i64> {
        self.newest.least().map(|least| least - self.plan.job.watermark_delay)
    }

    pub(super) fn finish(self) -> Result<Books, GenerateError> {
        self.sink.finish()?;
        Ok(self.books)
    }
}

/// The greatest event time of every partition.
struct Newest([Vec<i64>; 2]);

impl Newest {
    const NEVER: i64 = i64::MIN;

    fn new(partitions: u32) -> Self {
        Self(Topic::BOTH.map(|_| vec![Self::NEVER; partitions as usize]))
    }

    fn see(&mut self, topic: Topic, partition: u32, time: i64) {
        let newest = &mut self.0[topic as usize][partition as usize];
        *newest = time.max(*newest);
    }

    /// `None` while a partition is empty: that one holds everything back.
    fn least(&self) -> Option<i64> {
        let least = self.0.iter().flatten().copied().min();
        least.filter(|least| *least != Self::NEVER)
    }
}

/// Holds the lines to so many a second of wall time.
struct Pace {
    a_second: f64,
    begun: Instant,
    sent: u64,
}

impl Pace {
    /// Shorter waits than this cost more than they smooth.
    const WORTH_SLEEPING: Duration = Duration::from_millis(2);

    fn new(a_second: u64) -> Self {
        Self { a_second: a_second as f64, begun: Instant::now(), sent: 0 }
    }

    fn wait(&mut self) {
        self.sent += 1;
        let due = Duration::from_secs_f64(self.sent as f64 / self.a_second);
        let early = due.saturating_sub(self.begun.elapsed());
        if early > Self::WORTH_SLEEPING {
            thread::sleep(early);
        }
    }
}
