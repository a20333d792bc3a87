//! Notices that time has passed which the program's clock has not counted, or in which the program did not run.
//!
//! The monotonic clock stands still while the machine sleeps, and while a guest is paused by its host; timers wait for it, and
//! everybody else goes on. What goes on nevertheless is compared with it at every look:
//!
//! - the kernel's own count of the time since its start, which knows of sleep;
//! - the hardware clock, which a host keeps running for a guest that it has paused.
//!
//! Only the step between two looks is judged, so a hardware clock that drifts, or is hours off, says nothing. One that is
//! set forward looks like a pause; to ask everybody again does no harm then. One that is set back does not.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use genkan_netstack::time::Duration;
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use tracing::debug;

use crate::clock;

/// Time between two looks. What is found out then can be mended within five seconds.
pub const INTERVAL: Duration = Duration::from_millis(500);

/// Less than this is no pause: the hardware clock tells whole seconds, and reading it takes its time.
const LEAST: Duration = Duration::from_secs(3);
/// A look that comes so late says that the program itself did not run.
const LATE: Duration = Duration::from_secs(5);

/// The hardware clock as the kernel shows it: no device has to be opened, which only one program at a time may do.
const HARDWARE_CLOCK: &str = "/sys/class/rtc/rtc0/since_epoch";

/// What has told of a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Witness {
    /// The kernel knows of sleep.
    Kernel,
    /// The hardware clock went on.
    HardwareClock,
    /// The program was not run for a while; its clock has counted that.
    Program,
}

/// A time that was not lived through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    /// How long it seems to have lasted.
    pub lasted: Duration,
    /// What tells so.
    pub witness: Witness,
}

/// What the clocks said at a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reading {
    /// The monotonic clock: what the program counts.
    counted: Duration,
    /// Time since the kernel's start, with sleep.
    since_boot: Duration,
    /// The hardware clock, when it could be read.
    hardware: Option<Duration>,
}

impl Reading {
    /// The pause between this look and a later one.
    fn pause_until(&self, later: &Reading) -> Option<Pause> {
        let counted = later.counted.saturating_sub(self.counted);
        let beyond = |step: Duration| step.saturating_sub(counted);
        let hardware = self.hardware.zip(later.hardware);
        let hardware = hardware.map_or(Duration::ZERO, |(before, now)| beyond(now.saturating_sub(before)));
        let candidates = [
            (beyond(later.since_boot.saturating_sub(self.since_boot)), LEAST, Witness::Kernel),
            (hardware, LEAST, Witness::HardwareClock),
            (counted.saturating_sub(INTERVAL), LATE, Witness::Program),
        ];
        let pauses = candidates.into_iter().filter(|(lasted, least, _)| lasted >= least);
        pauses.map(|(lasted, _, witness)| Pause { lasted, witness }).max_by_key(|pause| pause.lasted)
    }
}

/// Compares the clocks.
pub struct Clocks {
    hardware: Option<File>,
    last: Option<Reading>,
}

impl Clocks {
    /// Opens what there is. Later, the program may not be allowed to.
    pub fn open() -> Clocks {
        let hardware = File::open(HARDWARE_CLOCK);
        if let Err(error) = &hardware {
            debug!(
                "there is no hardware clock to be read ({HARDWARE_CLOCK}: {error}): only sleep is noticed"
            );
        }
        let mut clocks = Clocks { hardware: hardware.ok(), last: None };
        clocks.look();
        clocks
    }

    /// The pause since the last look, if there was one.
    pub fn look(&mut self) -> Option<Pause> {
        let hardware = self.hardware.as_ref().and_then(seconds);
        let now = Reading {
            counted: Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default(),
            since_boot: clock::since_boot(),
            hardware: hardware.map(Duration::from_secs),
        };
        self.last.replace(now).and_then(|last| last.pause_until(&now))
    }
}

/// The number in a file of the kernel's.
fn seconds(file: &File) -> Option<u64> {
    let mut text = [0; 32];
    let length = file.read_at(&mut text, 0).ok()?;
    str::from_utf8(text.get(..length)?).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;
    const YEAR: u64 = 365 * DAY;

    fn reading(counted_ms: u64, asleep_ms: u64, hardware: u64) -> Reading {
        Reading {
            counted: Duration::from_millis(counted_ms),
            since_boot: Duration::from_millis(counted_ms + asleep_ms),
            hardware: Some(Duration::from_secs(hardware)),
        }
    }

    /// The pauses that these looks, one after the other, tell of: in seconds.
    fn pauses(readings: &[Reading]) -> Vec<(u64, Witness)> {
        let steps = readings.windows(2).filter_map(|step| step[0].pause_until(&step[1]));
        steps.map(|pause| (pause.lasted.as_secs(), pause.witness)).collect()
    }

    #[test]
    fn a_machine_that_slept_and_one_that_was_paused_are_told_once() {
        let slept = [reading(0, 0, 100), reading(500, 600_000, 701), reading(1000, 600_000, 701)];
        assert_eq!(pauses(&slept), [(600, Witness::HardwareClock)]);
        let unread = slept.map(|reading| Reading { hardware: None, ..reading });
        assert_eq!(pauses(&unread), [(600, Witness::Kernel)]);
        let paused = [reading(0, 0, 100), reading(500, 0, 700), reading(1000, 0, 701)];
        assert_eq!(pauses(&paused), [(599, Witness::HardwareClock)]);
        let stopped = [reading(0, 0, 100), reading(600_000, 0, 700), reading(600_500, 0, 700)];
        assert_eq!(pauses(&stopped), [(599, Witness::Program)]);
    }

    /// A hardware clock that is fast, slow, or read late is no pause, however long that goes on.
    #[test]
    fn a_clock_that_drifts_is_no_pause() {
        for (gained, per) in [(1, 1000), (1, 10), (1, 2), (0, 1)] {
            let clock = |n: u64| n / 2 + n / 2 * gained / per;
            let looks: Vec<Reading> = (0..10_000).map(|n| reading(n * 500, 0, clock(n))).collect();
            assert_eq!(pauses(&looks), [], "{gained} s in {per} s");
        }
        // The look is late, and what it reads is a second old or new.
        let late: Vec<Reading> = (0..1000).map(|n| reading(n * 2900, 0, n * 29 / 10 + n % 3)).collect();
        assert_eq!(pauses(&late), []);
    }

    #[test]
    fn a_hardware_clock_that_is_set_is_told_once_at_most() {
        let forward = [reading(0, 0, 100), reading(500, 0, 100 + YEAR), reading(1000, 0, 101 + YEAR)];
        assert_eq!(pauses(&forward).len(), 1, "nobody can tell it from a pause");
        let back = [reading(0, 0, 2 * DAY), reading(500, 0, DAY), reading(1000, 0, DAY)];
        assert_eq!(pauses(&back), []);
    }

    #[test]
    fn a_hardware_clock_that_cannot_be_read_now_and_then_says_nothing() {
        let lost = Reading { hardware: None, ..reading(500, 0, 0) };
        assert_eq!(pauses(&[reading(0, 0, 100), lost, reading(1000, 0, 101)]), []);
    }

    #[test]
    fn this_machine_is_not_paused_while_it_is_looked_at() {
        let mut clocks = Clocks::open();
        assert_eq!((clocks.look(), clocks.look()), (None, None));
    }

    #[test]
    fn the_hardware_clock_is_read_anew_each_time() {
        let path = std::env::temp_dir().join(format!("genkan-clock-{}", std::process::id()));
        std::fs::write(&path, "1700000000\n").unwrap();
        let file = File::open(&path).unwrap();
        assert_eq!(seconds(&file), Some(1_700_000_000));
        std::fs::write(&path, "1700000600\n").unwrap();
        assert_eq!(seconds(&file), Some(1_700_000_600));
        std::fs::write(&path, "later").unwrap();
        assert_eq!(seconds(&file), None);
        std::fs::remove_file(path).unwrap();
    }
}
