//! When a client sends a message again (RFC 8415 §15, numbers of §7.6).

use super::message::Xid;
use crate::machine::Cx;
use crate::rng::Rng;
use crate::time::{Duration, Instant};

/// How often, and for how long, a message is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timing {
    /// Longest random delay before the first one.
    pub(crate) delay: Duration,
    /// Initial retransmission time.
    pub(crate) initial: Duration,
    /// Longest retransmission time.
    pub(crate) longest: Duration,
    /// Number of transmissions after which it fails; 0 never.
    pub(crate) count: u32,
    /// Time after which it fails.
    pub(crate) duration: Option<Duration>,
    /// The first retransmission time is longer than the initial one, never shorter.
    pub(crate) first_is_longer: bool,
}

const fn timing(initial: u64, longest: u64, count: u32) -> Timing {
    Timing {
        delay: Duration::ZERO,
        initial: Duration::from_secs(initial),
        longest: Duration::from_secs(longest),
        count,
        duration: None,
        first_is_longer: false,
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// Solicit: SOL_MAX_DELAY, SOL_TIMEOUT, SOL_MAX_RT.
pub(crate) const SOLICIT: Timing = Timing { delay: SECOND, first_is_longer: true, ..timing(1, 3600, 0) };
/// Request: REQ_TIMEOUT, REQ_MAX_RT, REQ_MAX_RC.
pub(crate) const REQUEST: Timing = timing(1, 30, 10);
/// Confirm, and Rebind in its place (RFC 8415 §18.2.12): CNF_TIMEOUT, CNF_MAX_RT, CNF_MAX_RD. CNF_MAX_DELAY is left out: the link
/// has only just come up by a negotiation of its own, so that clients are spread already.
pub(crate) const CONFIRM: Timing = Timing { duration: Some(Duration::from_secs(10)), ..timing(1, 4, 0) };
/// Renew: REN_TIMEOUT, REN_MAX_RT. T2 ends it.
pub(crate) const RENEW: Timing = timing(10, 600, 0);
/// Rebind: REB_TIMEOUT, REB_MAX_RT. The end of the leases ends it.
pub(crate) const REBIND: Timing = timing(10, 600, 0);
/// Information-request: INF_MAX_DELAY, INF_TIMEOUT, INF_MAX_RT.
pub(crate) const INFORMATION: Timing = Timing { delay: SECOND, ..timing(1, 3600, 0) };
/// Release: REL_TIMEOUT, REL_MAX_RC.
pub(crate) const RELEASE: Timing = timing(1, 0, 4);
/// Decline: DEC_TIMEOUT, DEC_MAX_RC.
pub(crate) const DECLINE: Timing = timing(1, 0, 4);

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing yet.
    Wait,
    /// Send the message.
    Send,
    /// Nobody has answered in time.
    Failed,
}

/// A message that is sent until it is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Transaction {
    pub(crate) xid: Xid,
    pub(crate) timing: Timing,
    /// How often it has been sent.
    pub(crate) sent: u32,
    begun: Option<Instant>,
    retransmission: Duration,
    next: Instant,
}

impl Transaction {
    /// A message that is first sent after its random delay.
    pub(crate) fn new(cx: &mut Cx<'_>, timing: Timing) -> Self {
        let delay = Duration::from_nanos(cx.rng.below(nanos(timing.delay).saturating_add(1)));
        Transaction::at(cx, timing, cx.now + delay)
    }

    /// A message that is first sent at `next`.
    pub(crate) fn at(cx: &mut Cx<'_>, timing: Timing, next: Instant) -> Self {
        let [x0, x1, x2, _] = cx.rng.next_u32().to_be_bytes();
        let retransmission = Duration::ZERO;
        Transaction { xid: [x0, x1, x2], timing, sent: 0, begun: None, retransmission, next }
    }

    /// When there is something to do.
    pub(crate) fn deadline(&self) -> Instant {
        self.next
    }

    /// Hundredths of a second since it was first sent, as the elapsed time option has them (RFC 8415 §21.9).
    pub(crate) fn elapsed(&self, now: Instant) -> u16 {
        let since = self.begun.map_or(Duration::ZERO, |begun| now.since(begun));
        u16::try_from(since.as_millis() / 10).unwrap_or(u16::MAX)
    }

    /// What is to be done; after [`Step::Send`] the next time is set.
    pub(crate) fn step(&mut self, cx: &mut Cx<'_>) -> Step {
        if cx.now < self.next {
            return Step::Wait;
        }
        let begun = *self.begun.get_or_insert(cx.now);
        let end = self.timing.duration.map(|duration| begun + duration);
        if (self.timing.count != 0 && self.sent >= self.timing.count) || end.is_some_and(|end| cx.now >= end)
        {
            return Step::Failed;
        }
        self.sent = self.sent.saturating_add(1);
        self.retransmission = self.timing.next(cx.rng, self.retransmission);
        let next = cx.now + self.retransmission;
        self.next = end.map_or(next, |end| end.min(next));
        Step::Send
    }
}

impl Timing {
    /// The retransmission time after `previous`, which is zero before the first.
    fn next(self, rng: &mut dyn Rng, previous: Duration) -> Duration {
        let longest = nanos(self.longest);
        let next = match nanos(previous) {
            0 if self.first_is_longer => {
                let initial = nanos(self.initial);
                initial.saturating_add(rng.below(initial / 10)).saturating_add(1)
            }
            0 => nanos(self.initial).saturating_add_signed(spread(rng, nanos(self.initial))),
            previous => previous.saturating_mul(2).saturating_add_signed(spread(rng, previous)),
        };
        if longest != 0 && next > longest {
            return Duration::from_nanos(longest.saturating_add_signed(spread(rng, longest)));
        }
        Duration::from_nanos(next)
    }
}

/// A random number between -0.1 and 0.1 times `of` (RAND).
fn spread(rng: &mut dyn Rng, of: u64) -> i64 {
    let tenth = of / 10;
    let drawn = rng.below(tenth.saturating_mul(2).saturating_add(1));
    i64::try_from(drawn).unwrap_or(0).saturating_sub(i64::try_from(tenth).unwrap_or(0))
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::rng::SeededRng;

    /// The lowest and the highest draw always, so that the bounds are met exactly.
    struct Always(bool);

    impl Rng for Always {
        fn next_u64(&mut self) -> u64 {
            if self.0 { u64::MAX } else { 0 }
        }
    }

    /// The delays before each transmission, in milliseconds, up to `most` of them; and whether it then failed.
    fn delays(timing: Timing, rng: &mut dyn Rng, most: usize) -> (Vec<u64>, bool) {
        let mut now = Instant::from_secs(5);
        let mut transaction = Transaction::new(&mut Cx { now, rng }, timing);
        let mut delays = Vec::new();
        let mut last = now;
        while delays.len() < most {
            now = transaction.deadline();
            match transaction.step(&mut Cx { now, rng }) {
                Step::Send => delays.push(now.since(last).as_millis() as u64),
                Step::Failed => return (delays, true),
                Step::Wait => panic!("the deadline is when there is something to do"),
            }
            last = now;
        }
        (delays, false)
    }

    /// The delays at the two ends of RAND, and whether the message failed in the end.
    fn ends(timing: Timing, most: usize) -> [(Vec<u64>, bool); 2] {
        [delays(timing, &mut Always(false), most), delays(timing, &mut Always(true), most)]
    }

    #[test]
    fn rfc8415_sol_1_to_3600() {
        let [(low, failed), (high, _)] = ends(SOLICIT, 16);
        assert_eq!(low[..6], [0, 1000, 1900, 3610, 6859, 13_032], "no delay, and never less than 1 s");
        assert_eq!(high[..6], [1000, 1100, 2310, 4851, 10_187, 21_392], "SOL_MAX_DELAY, then a tenth more");
        assert_eq!((low[15], high[15]), (3_240_000, 3_960_000), "SOL_MAX_RT, a tenth less or more");
        assert!(!failed, "for ever");
    }

    #[test]
    fn rfc8415_req_1_to_30_10_times() {
        let [(low, low_failed), (high, high_failed)] = ends(REQUEST, 16);
        assert_eq!(low, [0, 900, 1710, 3249, 6173, 11_728, 22_284, 27_000, 27_000, 27_000]);
        assert_eq!(high, [0, 1100, 2310, 4851, 10_187, 21_392, 33_000, 33_000, 33_000, 33_000]);
        assert!(low_failed && high_failed);
    }

    #[test]
    fn rfc8415_cnf_1_to_4_for_10() {
        let [(low, low_failed), (high, high_failed)] = ends(CONFIRM, 16);
        assert_eq!(low, [0, 900, 1710, 3249, 3600], "the fifth after 9.459 s, the end after 10");
        assert_eq!(high, [0, 1100, 2310, 4400]);
        assert!(low_failed && high_failed);
    }

    #[test]
    fn rfc8415_ren_and_reb_10_to_600() {
        for timing in [RENEW, REBIND] {
            let [(low, failed), (high, _)] = ends(timing, 12);
            assert_eq!(low[..4], [0, 9000, 17_100, 32_490]);
            assert_eq!(high[..4], [0, 11_000, 23_100, 48_510]);
            assert_eq!((low[11], high[11], failed), (540_000, 660_000, false));
        }
    }

    #[test]
    fn rfc8415_inf_1_to_3600() {
        let [(low, failed), (high, _)] = ends(INFORMATION, 16);
        assert_eq!(low[..3], [0, 900, 1710]);
        assert_eq!(high[..3], [1000, 1100, 2310], "INF_MAX_DELAY");
        assert_eq!((low[15], high[15], failed), (3_240_000, 3_960_000, false));
    }

    #[test]
    fn rfc8415_rel_and_dec_4_times() {
        for timing in [RELEASE, DECLINE] {
            let [(low, low_failed), (high, high_failed)] = ends(timing, 16);
            assert_eq!(low, [0, 900, 1710, 3249]);
            assert_eq!(high, [0, 1100, 2310, 4851]);
            assert!(low_failed && high_failed);
        }
    }

    #[test]
    fn rfc8415_21_9_elapsed_time_is_counted_from_the_first_transmission_and_stops_at_its_end() {
        let mut rng = SeededRng::from_u64(1);
        let now = Instant::from_secs(5);
        let mut transaction = Transaction::new(&mut Cx { now, rng: &mut rng }, REQUEST);
        assert_eq!(transaction.elapsed(now + Duration::from_secs(9)), 0);
        assert_eq!(transaction.step(&mut Cx { now, rng: &mut rng }), Step::Send);
        assert_eq!(transaction.elapsed(now), 0);
        assert_eq!(transaction.elapsed(now + Duration::from_millis(1239)), 123);
        assert_eq!(transaction.elapsed(now + Duration::from_secs(656)), 0xffff);
    }

    #[test]
    fn rfc8415_15_every_draw_lies_within_the_bounds() {
        for seed in 0..50 {
            for timing in [SOLICIT, REQUEST, CONFIRM, RENEW, REBIND, INFORMATION, RELEASE, DECLINE] {
                let mut rng = SeededRng::from_u64(seed);
                let mut previous = Duration::ZERO;
                for round in 0..30 {
                    let next = timing.next(&mut rng, previous);
                    let (low, high) = if round == 0 && timing.first_is_longer {
                        (timing.initial.as_nanos() + 1, timing.initial.as_nanos() * 11 / 10)
                    } else if round == 0 {
                        (timing.initial.as_nanos() * 9 / 10, timing.initial.as_nanos() * 11 / 10)
                    } else {
                        (previous.as_nanos() * 19 / 10, previous.as_nanos() * 21 / 10)
                    };
                    let longest = timing.longest.as_nanos();
                    let capped = longest != 0 && high > longest;
                    let fits = (low..=high).contains(&next.as_nanos());
                    let at_cap = (longest * 9 / 10..=longest * 11 / 10).contains(&next.as_nanos());
                    assert!(fits || (capped && at_cap), "{timing:?} round {round}: {next:?}");
                    if timing.count != 0 && round as u32 >= timing.count {
                        break;
                    }
                    previous = next;
                }
            }
        }
    }
}
