//! Randomness as the core knows it: a generator that the driver seeded.

use rand_chacha::ChaCha12Rng;
use rand_core::{RngCore, SeedableRng};

/// A source of random bits. Ports, ids and challenges come from it, so it must be unpredictable to the network.
pub trait Rng {
    /// The next 64 random bits.
    fn next_u64(&mut self) -> u64;

    /// The next 32 random bits.
    fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }

    /// The next 16 random bits.
    fn next_u16(&mut self) -> u16 {
        (self.next_u64() >> 48) as u16
    }

    /// Fills `out` with random bytes.
    fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            let bytes = self.next_u64().to_le_bytes();
            for (to, from) in chunk.iter_mut().zip(bytes) {
                *to = from;
            }
        }
    }

    /// A number in `0..bound`; 0 when `bound` is 0. The bias is below 2⁻³² for bounds below 2³².
    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }
}

/// ChaCha12 from a 32-byte seed: the same seed gives the same life, and the network cannot guess the next draw.
#[derive(Debug, Clone)]
pub struct SeededRng(ChaCha12Rng);

impl SeededRng {
    /// A generator from a full seed.
    pub fn new(seed: [u8; 32]) -> Self {
        SeededRng(ChaCha12Rng::from_seed(seed))
    }

    /// A generator from a small number, for tests and simulations.
    pub fn from_u64(seed: u64) -> Self {
        SeededRng(ChaCha12Rng::seed_from_u64(seed))
    }
}

impl Rng for SeededRng {
    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }
}
