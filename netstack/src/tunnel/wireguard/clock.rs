//! The time stamps of our initiations (TAI64N). A peer answers only those that are later than the last one, so they never go
//! back: not when the wall clock is set back, not when two are asked for at once, not over a restart.

use super::message::STAMP;
use crate::time::{Duration, Instant};

/// Stamps tell the time no better than this, so that they tell little of our clock: 2²⁴ ns, about 17 ms.
const UNIT: u32 = 1 << 24;
/// The ceiling is a multiple of this.
const STEP: u64 = 600;
/// The ceiling is at least so far above the last stamp, so that it can be stored before it is reached.
const AHEAD: u64 = 60;
/// The label of the second 1970-01-01 00:00:10 TAI, which began UTC's 1970.
const EPOCH: u64 = 0x4000_0000_0000_000a;

/// Makes time stamps.
#[derive(Debug, Default)]
pub struct Stamps {
    /// The wall clock, as it was told: the time since 1970 at an instant.
    wall: Option<(Instant, Duration)>,
    floor: Duration,
    last: Option<Duration>,
}

impl Stamps {
    /// It is `unix` since 1970 now.
    pub fn set_clock(&mut self, now: Instant, unix: Duration) {
        self.wall = Some((now, unix));
    }

    /// No stamp may be earlier than `stamp`.
    pub fn set_floor(&mut self, stamp: Duration) {
        self.floor = self.floor.max(stamp);
    }

    /// A time that no stamp has reached so far, and none will before another ceiling is told.
    pub fn ceiling(&self) -> Duration {
        let above = self.last.map(|last| {
            let secs = last.as_secs().saturating_add(AHEAD);
            Duration::from_secs(secs.checked_next_multiple_of(STEP).unwrap_or(u64::MAX))
        });
        self.floor.max(above.unwrap_or_default())
    }

    /// The next stamp.
    pub fn next(&mut self, now: Instant) -> [u8; STAMP] {
        let wall = self.wall.map_or(Duration::ZERO, |(at, unix)| unix.saturating_add(now.since(at)));
        let rounded = Duration::new(wall.as_secs(), wall.subsec_nanos() & !UNIT.wrapping_sub(1));
        let unit = Duration::from_nanos(u64::from(UNIT));
        let after_last = self.last.map_or(Duration::ZERO, |last| last.saturating_add(unit));
        let stamp = rounded.max(self.floor).max(after_last);
        self.last = Some(stamp);
        let [a, b, c, d, e, f, g, h] = EPOCH.saturating_add(stamp.as_secs()).to_be_bytes();
        let [i, j, k, l] = stamp.subsec_nanos().to_be_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YEAR: Duration = Duration::from_secs(1_700_000_000);

    #[test]
    fn a_stamp_is_the_time_in_tai64n() {
        let mut stamps = Stamps::default();
        stamps.set_clock(Instant::from_secs(5), YEAR);
        let stamp = stamps.next(Instant::from_millis(6_500));
        assert_eq!(stamp, [0x40, 0, 0, 0, 0x65, 0x53, 0xf1, 0x0b, 0x1d, 0, 0, 0], "0.5 s is 29.8 units");
    }

    #[test]
    fn stamps_never_go_back_whatever_the_clock_does() {
        let mut stamps = Stamps::default();
        let mut last = [0; STAMP];
        let mut now = Instant::ZERO;
        let clocks = [YEAR, YEAR - Duration::from_secs(3600), Duration::ZERO, YEAR + Duration::from_secs(9)];
        for unix in clocks {
            stamps.set_clock(now, unix);
            for millis in [0, 0, 1, 5000, 0] {
                now += Duration::from_millis(millis);
                let stamp = stamps.next(now);
                assert!(stamp > last);
                last = stamp;
            }
        }
    }

    #[test]
    fn a_run_begins_above_every_stamp_of_the_run_before() {
        let mut last = [0; STAMP];
        let mut floor = Duration::ZERO;
        // The clock is an hour earlier at each start, and then not known at all.
        for run in 0..5 {
            let mut stamps = Stamps::default();
            stamps.set_floor(floor);
            assert_eq!(stamps.ceiling(), floor, "nothing to store before the first stamp");
            if run < 4 {
                stamps.set_clock(Instant::ZERO, YEAR - Duration::from_secs(3600 * run));
            }
            for secs in 0..2000 {
                let stored = stamps.ceiling();
                let stamp = stamps.next(Instant::from_secs(secs));
                assert!(stamp > last);
                last = stamp;
                let late = stored + Duration::from_secs(AHEAD + 1) < stamps.ceiling();
                assert!(secs == 0 || !late || stored.as_secs() % STEP == 0);
                assert!(stamps.ceiling() > stamps.last.unwrap());
            }
            floor = stamps.ceiling();
            assert_eq!(floor.as_secs() % STEP, 0);
        }
    }
}
