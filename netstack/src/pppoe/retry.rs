//! When to dial again, by class of failure (TR-124 WAN.PPP).
//!
//! | class | waits |
//! |---|---|
//! | the line or the peer was lost | none, then 1 s, 2 s, 4 s … 60 s |
//! | the concentrator is there and does not want | 5 s, 10 s, 20 s … 60 s |
//! | name or password refused | 10 s, 10 s, 5 min, 10 s, 10 s, then 30 min always |
//!
//! The waits of the first two classes are nominal: [`backoff`] draws from 1/2 to 5/6 of them, so that the customers of a
//! concentrator that restarts do not come at once, and one whose line is good again is online within a minute. The
//! waits of the third are lengthened by up to a tenth.

use crate::ppp::event::DownClass;
use crate::rng::Rng;
use crate::time::Duration;

/// Longest wait before the first attempt: the customers of a street get their power back together.
pub const FIRST: Duration = Duration::from_secs(1);

/// Longest nominal wait when no password was refused.
pub const LONGEST: Duration = Duration::from_secs(60);

/// A session that carried traffic this long ends a series of failures.
pub const PROVEN: Duration = Duration::from_secs(30);

const REFUSED: Duration = Duration::from_secs(5);
const BURST: u32 = 3;
const IN_BURST: Duration = Duration::from_secs(10);
const AFTER_FIRST_BURST: Duration = Duration::from_secs(300);
const AFTER_SECOND_BURST: Duration = Duration::from_secs(1800);

/// The wait drawn for a nominal one: from 1/2 to 5/6 of it.
pub fn backoff(rng: &mut (impl Rng + ?Sized), nominal: Duration) -> Duration {
    between(rng, nominal / 2, nominal / 3)
}

/// The nominal wait after `before` others in a series that begins with `first`: doubled each time, up to [`LONGEST`].
pub fn doubled(first: Duration, before: u32) -> Duration {
    first.saturating_mul(1u32.checked_shl(before.min(16)).unwrap_or(u32::MAX)).min(LONGEST)
}

fn between(rng: &mut (impl Rng + ?Sized), least: Duration, spread: Duration) -> Duration {
    let spread = u64::try_from(spread.as_nanos()).unwrap_or(u64::MAX);
    least.saturating_add(Duration::from_nanos(rng.below(spread.saturating_add(1))))
}

/// Counts the failures in a row, by class.
#[derive(Debug, Clone, Default)]
pub struct Retry {
    lost: u32,
    refused: u32,
    authentication: u32,
}

impl Retry {
    /// The wait before the first attempt.
    pub fn first(rng: &mut (impl Rng + ?Sized)) -> Duration {
        between(rng, Duration::ZERO, FIRST)
    }

    /// Counts a failure, and says how long to wait.
    pub fn failed(&mut self, rng: &mut (impl Rng + ?Sized), class: DownClass) -> Duration {
        let count = |failures: &mut u32| {
            let before = *failures;
            *failures = failures.saturating_add(1);
            before
        };
        match class {
            DownClass::Lost | DownClass::Closed => match count(&mut self.lost).checked_sub(1) {
                None => Duration::ZERO,
                Some(before) => backoff(rng, doubled(Duration::from_secs(1), before)),
            },
            DownClass::Refused => backoff(rng, doubled(REFUSED, count(&mut self.refused))),
            DownClass::Authentication => {
                let wait = match count(&mut self.authentication).saturating_add(1) {
                    BURST => AFTER_FIRST_BURST,
                    failures if failures < 2 * BURST => IN_BURST,
                    _ => AFTER_SECOND_BURST,
                };
                between(rng, wait, wait / 10)
            }
        }
    }

    /// The name and the password were accepted.
    pub fn authenticated(&mut self) {
        self.authentication = 0;
    }

    /// A session carried traffic for [`PROVEN`].
    pub fn proven(&mut self) {
        *self = Retry::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::SeededRng;
    use alloc::vec::Vec;

    fn waits(class: DownClass, seed: u64, count: usize) -> Vec<f64> {
        let (mut retry, mut rng) = (Retry::default(), SeededRng::from_u64(seed));
        (0..count).map(|_| retry.failed(&mut rng, class).as_secs_f64()).collect()
    }

    #[test]
    fn tr124_retry_lost_at_once_then_exponential_to_60_s_with_jitter() {
        for seed in 0..50 {
            let nominal = [0., 1., 2., 4., 8., 16., 32., 60., 60., 60.];
            for (wait, nominal) in waits(DownClass::Lost, seed, 10).into_iter().zip(nominal) {
                assert!(wait >= nominal / 2. && wait <= nominal * 5. / 6. + 1e-6, "{wait} for {nominal}");
            }
        }
        assert_ne!(waits(DownClass::Lost, 1, 10), waits(DownClass::Lost, 2, 10), "jitter");
    }

    #[test]
    fn tr124_retry_authentication_refused_3_tries_5_min_3_tries_then_every_30_min() {
        for seed in 0..50 {
            let least = [10., 10., 300., 10., 10., 1800., 1800., 1800.];
            for (wait, least) in waits(DownClass::Authentication, seed, 8).into_iter().zip(least) {
                assert!(wait >= least && wait <= least * 1.1 + 1e-6, "{wait} for {least}");
            }
        }
        let (mut retry, mut rng) = (Retry::default(), SeededRng::from_u64(1));
        for _ in 0..7 {
            retry.failed(&mut rng, DownClass::Authentication);
        }
        retry.authenticated();
        assert!(retry.failed(&mut rng, DownClass::Authentication) < Duration::from_secs(12));
    }

    #[test]
    fn tr124_retry_refused_moderately() {
        for seed in 0..50 {
            let nominal = [5., 10., 20., 40., 60., 60.];
            for (wait, nominal) in waits(DownClass::Refused, seed, 6).into_iter().zip(nominal) {
                assert!(wait >= nominal / 2. && wait <= nominal * 5. / 6. + 1e-6, "{wait} for {nominal}");
            }
        }
    }

    #[test]
    fn tr124_retry_a_random_delay_before_the_first() {
        let first = |seed| Retry::first(&mut SeededRng::from_u64(seed));
        assert!((0..50).all(|seed| first(seed) <= FIRST));
        assert_ne!(first(1), first(2));
    }
}
