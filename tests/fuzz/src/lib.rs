//! How fuzz targets read their input, and what they hold every frame to.
//!
//! A target for a decoder takes its input as one packet. A target for a machine takes it as a [`Script`]: a life of the
//! machine, step after step, each an operation and its octets. [`sound`] says what a packet that leaves must be, and
//! [`packet`] makes packets that get past the first check.

pub mod packet;
pub mod packet6;
pub mod sound;

use genkan_netstack::machine::Cx;
use genkan_netstack::rng::SeededRng;
use genkan_netstack::time::{Duration, Instant};

/// One thing that happens to a machine.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// What happens; each target has its own list.
    pub operation: u8,
    /// What it happens with.
    pub data: &'a [u8],
}

/// Steps, one behind the other: an octet for the operation, two for the number of octets that follow (the lower one
/// first), and these. A step that is cut short has what is there.
pub struct Script<'a>(pub &'a [u8]);

impl<'a> Iterator for Script<'a> {
    type Item = Step<'a>;

    fn next(&mut self) -> Option<Step<'a>> {
        let ([operation, low, high], rest) = self.0.split_first_chunk()?;
        let len = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let (data, rest) = rest.split_at(len);
        self.0 = rest;
        Some(Step { operation: *operation, data })
    }
}

/// Numbers from the front of the input; zeros when it has ended.
pub struct Numbers<'a>(pub &'a [u8]);

impl<'a> Numbers<'a> {
    /// The next octet.
    pub fn u8(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    /// The next two octets.
    pub fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.u8(), self.u8()])
    }

    /// The next octets, `count` of them or as many as there are.
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
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

    /// Lets time pass: as many tenths of a second as the first two octets of `data` say, or until `deadline` when there
    /// are none.
    pub fn pass(&mut self, data: &[u8], deadline: Option<Instant>) {
        match data.first_chunk() {
            Some(tenths) => {
                self.now += Duration::from_millis(u64::from(u16::from_le_bytes(*tenths)) * 100);
            }
            None => self.now = deadline.unwrap_or(self.now).max(self.now),
        }
    }
}

/// Changes octets of a packet on its way: each three octets of `edits` are a place and what it is combined with.
pub fn damage(packet: &mut Vec<u8>, edits: &[u8]) {
    for [place, kind, value] in edits.as_chunks().0 {
        let len = packet.len();
        let at = usize::from(*place);
        match kind % 4 {
            0 => {
                if let Some(octet) = packet.get_mut(at) {
                    *octet = *value;
                }
            }
            1 => {
                if let Some(octet) = packet.get_mut(at) {
                    *octet ^= value;
                }
            }
            2 => packet.truncate(at),
            _ => packet.insert(at.min(len), *value),
        }
    }
}
