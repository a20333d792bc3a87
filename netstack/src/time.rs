//! Time as the core knows it: an instant is a number of nanoseconds since an origin that the driver chose.
//!
//! The core never asks what time it is; every entry point is told.

pub use core::time::Duration;

use core::fmt;
use core::ops::{Add, AddAssign, Sub};

use serde::{Deserialize, Serialize};

/// A point on the driver's monotonic clock, in nanoseconds since the driver's origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Instant(u64);

impl Instant {
    /// The driver's origin.
    pub const ZERO: Instant = Instant(0);

    /// Later than any deadline: the end of a lifetime that has none.
    pub const FOREVER: Instant = Instant(u64::MAX);

    /// An instant `nanos` nanoseconds after the origin.
    pub const fn from_nanos(nanos: u64) -> Self {
        Instant(nanos)
    }

    /// An instant `millis` milliseconds after the origin.
    pub const fn from_millis(millis: u64) -> Self {
        Instant(millis.saturating_mul(1_000_000))
    }

    /// An instant `secs` seconds after the origin.
    pub const fn from_secs(secs: u64) -> Self {
        Instant(secs.saturating_mul(1_000_000_000))
    }

    /// Nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Whole seconds since the origin.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1_000_000_000
    }

    /// Seconds from `now` to `self`, begun ones not counted, as a lifetime field of 32 bits has them: all ones for
    /// [`Instant::FOREVER`] (RFC 4861 §4.6.2, RFC 8415 §7.7), zero when it is over.
    pub const fn lifetime(self, now: Instant) -> u32 {
        if self.0 == Instant::FOREVER.0 {
            return u32::MAX;
        }
        let secs = self.since(now).as_secs();
        if secs >= u32::MAX as u64 { u32::MAX - 1 } else { secs as u32 }
    }

    /// The end of a lifetime of `secs` that begins at `self`; all ones never ends.
    pub const fn after_lifetime(self, secs: u32) -> Instant {
        if secs == u32::MAX {
            return Instant::FOREVER;
        }
        Instant(self.0.saturating_add(secs as u64 * 1_000_000_000))
    }

    /// The time from `earlier` to `self`; zero when `earlier` is later.
    pub const fn since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    fn add(self, d: Duration) -> Instant {
        Instant(self.0.saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, d: Duration) {
        *self = *self + d;
    }
}

impl Sub<Instant> for Instant {
    type Output = Duration;

    fn sub(self, earlier: Instant) -> Duration {
        self.since(earlier)
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}s", self.0 / 1_000_000_000, self.0 / 1_000_000 % 1000)
    }
}

/// The earlier of two optional deadlines.
pub fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_on_the_wire_is_that_in_the_core() {
        let now = Instant::from_secs(100);
        for secs in [0, 1, 5400, u32::MAX - 1, u32::MAX] {
            assert_eq!(now.after_lifetime(secs).lifetime(now), secs);
        }
        assert_eq!(Instant::from_secs(50).lifetime(now), 0);
        assert_eq!(Instant::from_millis(101_999).lifetime(now), 1);
        assert_eq!(Instant::from_secs(1 << 33).lifetime(now), u32::MAX - 1);
        assert_eq!(Instant::FOREVER.lifetime(Instant::from_secs(1 << 33)), u32::MAX);
    }
}
