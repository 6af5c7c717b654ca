//! The order of the lines. Rides start one after the other; a ride's END and fare are sent when it
//! ends. So a partition's greatest event time runs with the clock, and a line of a ride that ends
//! at `e` is sent no later than `e` plus the disorder: with a watermark delay of at least the
//! disorder no window of `e` can have closed before it, however the partitions are read.

use std::collections::VecDeque;

use indicatif::ProgressBar;
use tokio_util::sync::CancellationToken;

use super::answer::{Books, Tips};
use super::calendar::Calendar;
use super::dice::Dice;
use super::error::GenerateError;
use super::lane::Lane;
use super::plan::Plan;
use super::sink::Sink;
use super::trip::{Fate, Line, Ride, Trips};

const RIDES_A_TICK: u64 = 256;

enum Event {
    /// The ride ends: its END and its fare get their turn.
    Ends(Ride),
    Send {
        line: Line,
        ride: Ride,
        copy: bool,
    },
}

pub(super) struct Stream<'a, S> {
    plan: &'a Plan,
    trips: &'a Trips,
    lane: Lane<'a, S>,
    calendar: Calendar<Event>,
    /// Rides that have ended and wait until they are late, the longest waiting first.
    late: VecDeque<Ride>,
    tips: Tips,
    dice: Dice,
}

impl<'a, S: Sink> Stream<'a, S> {
    pub(super) fn new(plan: &'a Plan, trips: &'a Trips, sink: S, stop: &'a CancellationToken) -> Self {
        Self {
            plan,
            trips,
            lane: Lane::new(plan, sink, stop),
            calendar: Calendar::new(plan.start - 1, plan.horizon()),
            late: VecDeque::new(),
            tips: Tips::new(plan.job, trips.areas()),
            dice: Dice::new(plan.seed, 3),
        }
    }

    /// Sends everything. Rides that are to be late but cannot be any more, since the stream has
    /// ended before, remain without END and fare.
    pub(super) fn run(mut self, progress: &ProgressBar) -> Result<(Tips, Books), GenerateError> {
        let mut dice = Dice::new(self.plan.seed, 0);
        for index in 0..self.plan.rides {
            let ride = self.trips.draw(self.plan, index, &mut dice);
            while self.calendar.now() < ride.start {
                self.next_second()?;
            }
            self.begin(ride)?;
            if index.is_multiple_of(RIDES_A_TICK) {
                progress.set_position(index);
            }
        }
        while !self.calendar.is_empty() {
            self.next_second()?;
        }
        progress.set_position(self.plan.rides);
        let books = self.lane.finish()?;
        Ok((self.tips, books))
    }

    fn next_second(&mut self) -> Result<(), GenerateError> {
        let mut due = self.calendar.next_second();
        for event in due.drain(..) {
            match event {
                Event::Ends(ride) => self.end(ride)?,
                Event::Send { line, ride, copy } => self.lane.send(line, &ride, copy)?,
            }
        }
        self.calendar.give_back(due);
        self.send_late()
    }

    fn begin(&mut self, mut ride: Ride) -> Result<(), GenerateError> {
        let ends = ride.end();
        ride.start -= self.plan.behind(&ride);
        self.turn(Line::Start, ride)?;
        match ride.seconds {
            0 => self.end(ride),
            _ => {
                self.calendar.schedule(ends, Event::Ends(ride));
                Ok(())
            }
        }
    }

    fn end(&mut self, ride: Ride) -> Result<(), GenerateError> {
        if ride.fate == Fate::Late {
            self.late.push_back(ride);
            return Ok(());
        }
        if ride.fate == Fate::Joins {
            self.tips.count(&ride);
        }
        if ride.fate != Fate::FareAlone {
            self.turn(Line::End, ride)?;
        }
        if ride.fate != Fate::RideAlone {
            self.turn(Line::Fare, ride)?;
        }
        Ok(())
    }

    /// The line has its turn now: it is sent, or held back for a while within the disorder.
    fn turn(&mut self, line: Line, ride: Ride) -> Result<(), GenerateError> {
        self.displace(line, ride, false)?;
        if ride.twice == Some(line) {
            self.displace(line, ride, true)?;
        }
        Ok(())
    }

    fn displace(&mut self, line: Line, ride: Ride, copy: bool) -> Result<(), GenerateError> {
        let by = match self.plan.disorder {
            0 => 0,
            bound => self.dice.between(0, bound),
        };
        if by == 0 {
            return self.lane.send(line, &ride, copy);
        }
        let at = self.calendar.now() + by;
        self.calendar.schedule(at, Event::Send { line, ride, copy });
        Ok(())
    }

    fn send_late(&mut self) -> Result<(), GenerateError> {
        if self.late.is_empty() {
            return Ok(());
        }
        let Some(watermark) = self.lane.watermark() else {
            return Ok(());
        };
        let closed = watermark - self.plan.job.closes_after() - self.plan.late_slack;
        while let Some(ride) = self.late.pop_front_if(|ride| ride.start <= closed) {
            for line in [Line::End, Line::Fare] {
                self.lane.send(line, &ride, false)?;
                if ride.twice == Some(line) {
                    self.lane.send(line, &ride, true)?;
                }
            }
        }
        Ok(())
    }
}
