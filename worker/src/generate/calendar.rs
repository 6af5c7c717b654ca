//! What is still to happen, by second of event time: a ring of buckets, one a second, as long as
//! the furthest appointment. A heap would move each ride a dozen times; this moves it once.

pub(super) struct Calendar<T> {
    now: i64,
    waiting: usize,
    buckets: Vec<Vec<T>>,
}

impl<T> Calendar<T> {
    /// A calendar that stands at `now` and takes appointments up to `horizon` seconds ahead.
    pub(super) fn new(now: i64, horizon: i64) -> Self {
        let buckets = (0..=horizon).map(|_| Vec::new()).collect();
        Self { now, waiting: 0, buckets }
    }

    pub(super) fn now(&self) -> i64 {
        self.now
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    pub(super) fn schedule(&mut self, at: i64, item: T) {
        debug_assert!(at > self.now && at - self.now < self.buckets.len() as i64);
        let slot = self.slot(at);
        self.buckets[slot].push(item);
        self.waiting += 1;
    }

    /// Goes one second on and takes what is due then; [`Self::give_back`] returns the emptied
    /// bucket, so that its memory is used again.
    pub(super) fn next_second(&mut self) -> Vec<T> {
        self.now += 1;
        let slot = self.slot(self.now);
        let due = std::mem::take(&mut self.buckets[slot]);
        self.waiting -= due.len();
        due
    }

    /// To be called before the next second, with the bucket that this second gave.
    pub(super) fn give_back(&mut self, emptied: Vec<T>) {
        debug_assert!(emptied.is_empty());
        let slot = self.slot(self.now);
        self.buckets[slot] = emptied;
    }

    fn slot(&self, second: i64) -> usize {
        second.rem_euclid(self.buckets.len() as i64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appointments_come_in_order_of_time_then_of_making() {
        let mut calendar = Calendar::new(100, 10);
        calendar.schedule(110, 'd');
        calendar.schedule(101, 'a');
        calendar.schedule(105, 'b');
        calendar.schedule(105, 'c');
        let mut seen = Vec::new();
        while !calendar.is_empty() {
            let mut due = calendar.next_second();
            seen.extend(due.drain(..).map(|item| (calendar.now(), item)));
            calendar.give_back(due);
        }
        assert_eq!(seen, [(101, 'a'), (105, 'b'), (105, 'c'), (110, 'd')]);
    }
}
