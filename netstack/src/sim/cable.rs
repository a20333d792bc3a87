//! What a cable does to the frames on it.

use alloc::vec::Vec;

use crate::rng::Rng;
use crate::time::Duration;

/// What happens to each frame on its way. Probabilities are in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Impairment {
    /// The frame is lost. 1,000,000 is a cut cable.
    pub loss: u32,
    /// The frame arrives twice.
    pub duplicate: u32,
    /// The frame is held back by up to ten times the delay, so that later ones overtake it.
    pub reorder: u32,
    /// The time a frame takes at least.
    pub delay: Duration,
    /// The time that may come on top of it.
    pub jitter: Duration,
}

impl Default for Impairment {
    fn default() -> Self {
        Impairment {
            loss: 0,
            duplicate: 0,
            reorder: 0,
            delay: Duration::from_millis(1),
            jitter: Duration::ZERO,
        }
    }
}

impl Impairment {
    /// A cable that delivers nothing.
    pub fn cut() -> Self {
        Impairment { loss: 1_000_000, ..Impairment::default() }
    }

    /// The delays after which copies of one frame arrive: none when it is lost, two when it is duplicated.
    pub(super) fn arrivals(&self, rng: &mut dyn Rng) -> Vec<Duration> {
        let mut happens = |probability: u32| rng.below(1_000_000) < u64::from(probability);
        if happens(self.loss) {
            return Vec::new();
        }
        let copies = if happens(self.duplicate) { 2 } else { 1 };
        let held_back = happens(self.reorder);
        (0..copies)
            .map(|_| {
                let spread = self.jitter + if held_back { self.delay * 10 } else { Duration::ZERO };
                let extra = rng.below(u64::try_from(spread.as_nanos()).unwrap_or(u64::MAX).saturating_add(1));
                self.delay + Duration::from_nanos(extra)
            })
            .collect()
    }
}
