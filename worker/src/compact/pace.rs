//! So many bytes a second and no more.

use std::time::{Duration, Instant};

/// What was read and written is paid for by waiting.
#[derive(Debug)]
pub struct Pace {
    bytes_per_second: Option<u64>,
    free_at: Instant,
}

impl Pace {
    /// `None`: as fast as it goes.
    pub fn new(bytes_per_second: Option<u64>) -> Self {
        Pace { bytes_per_second, free_at: Instant::now() }
    }

    /// Waits until `bytes` may be moved.
    pub async fn take(&mut self, bytes: u64) {
        if let Some(wait) = self.wait(bytes, Instant::now()) {
            tokio::time::sleep(wait).await;
        }
    }

    fn wait(&mut self, bytes: u64, now: Instant) -> Option<Duration> {
        let cost = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second?.max(1) as f64);
        let start = self.free_at.max(now);
        self.free_at = start + cost;
        Some(start.duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_moved_before_is_waited_for() {
        let now = Instant::now();
        let mut pace = Pace { bytes_per_second: Some(100), free_at: now };
        assert_eq!(pace.wait(50, now), Some(Duration::ZERO));
        assert_eq!(pace.wait(200, now), Some(Duration::from_millis(500)));
        assert_eq!(pace.wait(1, now + Duration::from_secs(60)), Some(Duration::ZERO));
        assert_eq!(Pace::new(None).wait(1 << 40, now), None);
    }
}
