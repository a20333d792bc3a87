//! How often the router answers packets that it does not forward: ICMP errors and TCP resets (RFC 1812 §4.3.2.8).
//!
//! Each source has a token bucket, and all of them share one. The sources' buckets are a fixed array that a seeded hash
//! picks from, so memory is constant however many sources there are; two sources that share a bucket share its rate.
//! Bridges limit storms by such buckets, too.

use alloc::boxed::Box;
use alloc::vec;
use core::hash::BuildHasher;
use core::net::IpAddr;

use crate::table::Seed;
use crate::time::{Duration, Instant};

/// A rate and how many may come at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Answers in a second, at least 1.
    pub per_second: u32,
    /// Answers at once after a pause, at least 1.
    pub burst: u32,
}

/// Default for one source: traceroute's probes are all answered, a flood is not.
pub const PER_SOURCE: Rate = Rate { per_second: 20, burst: 40 };
/// Default for all sources together.
pub const OVERALL: Rate = Rate { per_second: 1000, burst: 200 };

const BUCKETS: usize = 1024;

/// Decides which packets are answered.
#[derive(Debug)]
pub struct Limiter {
    seed: Seed,
    per_source: Rate,
    overall: Rate,
    sources: Box<[Bucket]>,
    all: Bucket,
}

impl Limiter {
    /// A limiter with full buckets.
    pub fn new(per_source: Rate, overall: Rate, seed: Seed) -> Self {
        let sources = vec![Bucket::default(); BUCKETS].into_boxed_slice();
        Limiter { seed, per_source, overall, sources, all: Bucket::default() }
    }

    /// Takes a token for an answer to `source`; a network of 64 bits counts as one source. False when it is not to be sent. A source that has spent its own tokens
    /// does not spend those of all.
    pub fn allow(&mut self, now: Instant, source: impl Into<IpAddr>) -> bool {
        let source = match source.into() {
            IpAddr::V4(source) => u64::from(source.to_bits()),
            IpAddr::V6(source) => (source.to_bits() >> 64) as u64,
        };
        let index = self.seed.hash_one(source) as usize % BUCKETS;
        let Some(bucket) = self.sources.get_mut(index) else { return false };
        if !bucket.has(now, self.per_source) || !self.all.has(now, self.overall) {
            return false;
        }
        bucket.take(now, self.per_source);
        self.all.take(now, self.overall);
        true
    }
}

/// A token bucket as one instant: when it will be full again.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bucket {
    full_at: Instant,
}

impl Bucket {
    /// True when there is a token.
    pub fn has(self, now: Instant, rate: Rate) -> bool {
        let token = Self::token(rate);
        self.full_at.since(now) <= token.saturating_mul(rate.burst.max(1).saturating_sub(1))
    }

    /// Takes a token.
    pub fn take(&mut self, now: Instant, rate: Rate) {
        self.full_at = self.full_at.max(now) + Self::token(rate);
    }

    fn token(rate: Rate) -> Duration {
        Duration::from_secs(1) / rate.per_second.max(1)
    }
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;

    use super::*;
    use crate::rng::SeededRng;

    fn limiter(per_source: Rate, overall: Rate) -> Limiter {
        Limiter::new(per_source, overall, Seed::draw(&mut SeededRng::from_u64(1)))
    }

    #[test]
    fn rfc1812_4_3_2_8_a_source_gets_its_burst_and_then_its_rate() {
        let mut limiter = limiter(Rate { per_second: 10, burst: 5 }, OVERALL);
        let source = Ipv4Addr::new(192, 0, 2, 1);
        let mut count = |from: u64, to: u64| {
            (from..to).filter(|&ms| limiter.allow(Instant::from_millis(ms), source)).count()
        };
        assert_eq!(count(0, 1), 1);
        assert_eq!(count(1, 90), 4, "the rest of the burst");
        assert_eq!(count(90, 5090), 50);
        assert_eq!(count(100_000, 100_050), 5, "a pause fills the bucket, but no more than full");
    }

    #[test]
    fn rfc1812_4_3_2_8_one_flooding_source_does_not_silence_the_others() {
        let mut limiter = limiter(Rate { per_second: 10, burst: 10 }, Rate { per_second: 100, burst: 20 });
        let now = Instant::from_secs(9);
        let flooder = Ipv4Addr::new(192, 0, 2, 1);
        assert_eq!((0..10_000).filter(|_| limiter.allow(now, flooder)).count(), 10);
        assert!(limiter.allow(now, Ipv4Addr::new(198, 51, 100, 7)));
    }

    #[test]
    fn rfc1812_4_3_2_8_all_sources_together_are_limited() {
        let mut limiter = limiter(PER_SOURCE, Rate { per_second: 100, burst: 20 });
        let answered = (0..65_536u32)
            .filter(|&n| limiter.allow(Instant::from_secs(1), Ipv4Addr::from_bits(0x0a00_0000 + n)))
            .count();
        assert_eq!(answered, 20);
    }
}
