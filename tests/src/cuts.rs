//! At what moments something is cut off, and how often: chosen anew in each run, by a seed that is printed.

use std::time::{Duration, UNIX_EPOCH};

use genkan_netstack::rng::{Rng as _, SeededRng};

/// How often; `GENKAN_CUTS` says otherwise, as `make soak` does.
///
/// # Panics
///
/// When that is no number.
pub fn cuts(usual: u64) -> u64 {
    number("GENKAN_CUTS").unwrap_or(usual)
}

/// Random moments.
#[derive(Debug)]
pub struct Moments(SeededRng);

impl Moments {
    /// Those of a new seed, or of `GENKAN_SEED`, which brings a run's moments back.
    ///
    /// # Panics
    ///
    /// When that is no number.
    #[expect(clippy::new_without_default, reason = "no two are the same")]
    pub fn new() -> Moments {
        let now = || UNIX_EPOCH.elapsed().expect("it is after 1970").subsec_nanos().into();
        let seed = number("GENKAN_SEED").unwrap_or_else(now);
        println!("GENKAN_SEED={seed}");
        Moments(SeededRng::from_u64(seed))
    }

    /// One from `least` on, before `most`.
    pub fn within(&mut self, least: Duration, most: Duration) -> Duration {
        let span = (most - least).as_micros() as u64;
        least + Duration::from_micros(self.0.next_u64() % span)
    }
}

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable} is a number, not {value}")))
}
