//! The program's clock: nanoseconds since it started, from the kernel's monotonic clock.

use std::time::{SystemTime, UNIX_EPOCH};

use genkan_netstack::time::{Duration, Instant};
use rustix::time::{ClockId, clock_gettime};

/// Tells the time in the core's terms. Copies agree with each other.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: std::time::Instant,
}

impl Clock {
    /// A clock whose origin is now. It is started before any thread is confined: the first question of the time reads
    /// /proc/self/auxv.
    pub fn start() -> Self {
        let _ = since_boot();
        Clock { origin: std::time::Instant::now() }
    }

    /// The present.
    pub fn now(&self) -> Instant {
        Instant::ZERO + self.origin.elapsed()
    }

    /// The time from now to `deadline`; zero when it has passed.
    pub fn until(&self, deadline: Instant) -> Duration {
        deadline.since(self.now())
    }
}

/// The time since the machine was started, asleep or not. Nobody can set it.
pub fn since_boot() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default()
}

/// The time of the day, since 1970: for people and files, never for timers.
pub fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
