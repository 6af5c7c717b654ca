//! Shards, workers, and what must hold of each shard after whatever happens.

use tips_worker::core::books::Books;
use tips_worker::core::fold::Shard;
use tips_worker::core::shard::Topic;
use tips_worker::core::watermark::watermark;

use crate::action::Action;
use crate::place::RULES;
use crate::reference::Answer;
use crate::stream::{Log, Stream};
use crate::worker::{Worker, is_reached};

pub(crate) struct World<'a> {
    stream: &'a Stream,
    shards: Vec<Shard>,
    /// What of each shard has reached a disk.
    saved: Vec<Shard>,
    workers: Vec<Worker>,
}

impl<'a> World<'a> {
    /// The partitions are divided among the workers.
    pub(crate) fn new(stream: &'a Stream, shards: u16, workers: u8) -> Self {
        let shards = vec![Shard::default(); usize::from(shards)];
        let workers = (0..workers).map(|_| Worker::new(shards.len() as u16)).collect();
        let mut world = World { stream, saved: shards.clone(), shards, workers };
        let count = world.workers.len();
        for (n, log) in stream.logs.iter().enumerate() {
            world.workers[n % count].take(log, &world.shards, stream.counts);
        }
        world
    }

    pub(crate) fn act(&mut self, action: &Action) {
        let known = self.stream.counts;
        match *action {
            Action::Read { worker, partition, records } => {
                let log = self.log(partition);
                self.worker(worker).read(log, usize::from(records));
            }
            Action::Idle { worker, partition } => {
                let (log, may_grow) = (self.log(partition), self.stream.may_grow);
                self.worker(worker).idle(log, may_grow);
            }
            Action::Cut { worker } => self.worker(worker).cut(known),
            Action::Apply { worker, shard } => self.apply(worker, shard, 1),
            Action::ApplyTwice { worker, shard } => self.apply(worker, shard, 2),
            Action::Take { worker, partition } => {
                let (log, n) = (self.log(partition), usize::from(worker) % self.workers.len());
                self.workers[n].take(log, &self.shards, known);
            }
            Action::Die { worker } => {
                let shards = self.shards.len() as u16;
                *self.worker(worker) = Worker::new(shards);
            }
            Action::Save { shard } => {
                let n = self.index(shard);
                self.saved[n] = self.shards[n].clone();
            }
            Action::Lose { shard } => {
                let n = self.index(shard);
                self.shards[n] = self.saved[n].clone();
            }
        }
    }

    fn log(&self, partition: u8) -> &'a Log {
        &self.stream.logs[usize::from(partition) % self.stream.logs.len()]
    }

    fn worker(&mut self, worker: u8) -> &mut Worker {
        let count = self.workers.len();
        &mut self.workers[usize::from(worker) % count]
    }

    fn index(&self, shard: u8) -> usize {
        usize::from(shard) % self.shards.len()
    }

    fn apply(&mut self, worker: u8, shard: u8, times: usize) {
        let n = self.index(shard);
        let Some(delta) = self.worker(worker).next(n) else { return };
        for _ in 0..times {
            let before = self.shards[n].clone();
            let reply = self.shards[n].apply(&RULES, &delta);
            self.check(n, &before);
            if let Err(refused) = reply {
                assert_eq!(self.shards[n], before, "a refused delta changed the shard");
                if !is_reached(&delta, &refused) {
                    let count = self.workers.len();
                    self.workers[usize::from(worker) % count].rewind(&self.stream.logs, &self.shards);
                }
            }
        }
    }

    fn check(&self, n: usize, before: &Shard) {
        let (shard, shards) = (&self.shards[n], self.shards.len() as u16);
        assert!(shard.books().balance(), "{:?}", shard.books());
        let mut consumed = Books::default();
        for log in &self.stream.logs {
            let Some(progress) = shard.progress().get(&log.partition) else { continue };
            let records = log.records_of(n as u16, shards, progress.offset);
            consumed.of_mut(log.partition.topic).consumed += records;
            assert_eq!(progress.max_event_time, log.max_event_time(progress.offset), "{}", log.partition);
        }
        for topic in Topic::ALL {
            assert_eq!(shard.books().of(topic).consumed, consumed.of(topic).consumed, "{topic:?}");
        }
        let due = watermark(shard.known(), shard.progress(), RULES.delay);
        assert!(shard.watermark() >= due.max(before.watermark()), "the watermark went back");
        for (start, sums) in before.frozen() {
            assert_eq!(shard.frozen().get(start), Some(sums), "the closed window of {start} changed");
        }
    }

    /// A last worker reads what is left, and the input ends.
    pub(crate) fn end(mut self) -> Answer {
        let shards = self.shards.len();
        self.workers = vec![Worker::new(shards as u16)];
        for log in &self.stream.logs {
            self.workers[0].take(log, &self.shards, self.stream.counts);
        }
        for log in &self.stream.logs {
            self.workers[0].read(log, usize::MAX);
            self.workers[0].idle(log, false);
        }
        self.workers[0].cut(self.stream.counts);
        for n in 0..shards {
            self.apply(0, n as u8, 1);
        }
        for shard in &mut self.shards {
            shard.finish(&RULES);
            for log in &self.stream.logs {
                assert_eq!(shard.progress()[&log.partition].offset, log.end, "{}", log.partition);
            }
        }
        self.answer()
    }

    fn answer(&self) -> Answer {
        let mut answer = Answer::default();
        for shard in &self.shards {
            answer.books += *shard.books();
            for (start, sums) in shard.frozen() {
                for (place, sum) in sums {
                    *answer.windows.entry((start.seconds(), *place)).or_default() += *sum;
                }
            }
        }
        answer
    }
}
