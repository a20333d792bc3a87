//! How fuzz targets read their input: a life of a machine, frame after frame, with time in between.

use genkan_netstack::machine::Cx;
use genkan_netstack::rng::SeededRng;
use genkan_netstack::time::{Duration, Instant};

/// What happens next in a life.
#[derive(Debug)]
pub enum Step<'a> {
    /// A frame arrives.
    Frame(&'a [u8]),
    /// Time passes.
    Wait(Duration),
}

/// A life as the input tells it. Each step is two octets and what they announce: up to 2,047 octets of a frame, or, with
/// the high bit set, a time: the other bits are tenths of a second.
pub struct Life<'a>(pub &'a [u8]);

impl<'a> Iterator for Life<'a> {
    type Item = Step<'a>;

    fn next(&mut self) -> Option<Step<'a>> {
        let (head, rest) = self.0.split_first_chunk::<2>()?;
        let head = u16::from_be_bytes(*head);
        if head & 0x8000 != 0 {
            self.0 = rest;
            return Some(Step::Wait(Duration::from_millis(u64::from(head & 0x7fff) * 100)));
        }
        let length = usize::from(head & 0x07ff).min(rest.len());
        let (frame, rest) = rest.split_at(length);
        self.0 = rest;
        Some(Step::Frame(frame))
    }
}

/// The world of a machine: a clock and a generator.
pub struct World {
    /// The time.
    pub now: Instant,
    rng: SeededRng,
}

impl Default for World {
    fn default() -> Self {
        World { now: Instant::from_secs(1), rng: SeededRng::from_u64(1) }
    }
}

impl World {
    /// What a machine is handed.
    pub fn cx(&mut self) -> Cx<'_> {
        Cx { now: self.now, rng: &mut self.rng }
    }
}
