//! What Echo-Requests are for (RFC 1661 §5.8): [`Keepalive`] finds out whether the peer lives, [`ProofOfLife`] whether it
//! still knows a link after something that we have not seen, [`Probe`] whether the path carries packets of the full size (RFC 4638 §5).
//!
//! Everything that the peer sends is a sign of life, network data too, so a busy link sends no Echo-Request and is never
//! declared dead because a reply was lost under load.

use crate::settings::Echo;
use crate::time::{Duration, Instant};

/// What a timer of this module asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing yet.
    Nothing,
    /// Send an Echo-Request.
    Send,
    /// Enough went unanswered.
    GiveUp,
}

/// Watches over the peer's signs of life.
#[derive(Debug)]
pub(super) struct Keepalive {
    heard: Instant,
    /// When to look again.
    next: Instant,
    /// Echo-Requests sent since the peer was last heard.
    unanswered: u8,
}

impl Keepalive {
    pub(super) fn new(now: Instant, echo: Echo) -> Self {
        Keepalive { heard: now, next: now + echo.interval, unanswered: 0 }
    }

    /// A control packet came just now.
    pub(super) fn control(&mut self, now: Instant) {
        self.heard = self.heard.max(now);
        self.unanswered = 0;
    }

    /// True when the peer was heard after `at`.
    pub(super) fn heard_after(&self, at: Instant) -> bool {
        self.heard > at
    }

    /// Network data came at `at`, of which this may not be the first word.
    pub(super) fn data(&mut self, at: Instant) {
        if at > self.heard {
            self.heard = at;
            self.unanswered = 0;
        }
    }

    pub(super) fn poll_timeout(&self, echo: Echo) -> Option<Instant> {
        (!echo.interval.is_zero()).then_some(self.next)
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, echo: Echo) -> Due {
        if echo.interval.is_zero() || now < self.next {
            return Due::Nothing;
        }
        if self.unanswered == 0 && self.heard + echo.interval > now {
            self.next = self.heard + echo.interval;
            return Due::Nothing;
        }
        if self.unanswered >= echo.failures.max(1) {
            return Due::GiveUp;
        }
        self.unanswered = self.unanswered.saturating_add(1);
        self.next = now + echo.interval;
        Due::Send
    }
}

/// Finds out whether the peer still knows a link that another run of the program has left, or that we have not watched for a
/// while.
#[derive(Debug)]
pub(super) struct ProofOfLife {
    /// When it began. Whatever is heard later proves it.
    pub(super) begun: Instant,
    sent: u8,
    next: Instant,
}

impl ProofOfLife {
    const TRIES: u8 = 3;
    const INTERVAL: Duration = Duration::from_millis(750);
    /// Silence after which the link counts as gone.
    const PATIENCE: Duration = Duration::from_secs(3);

    /// A question whose first Echo-Request is due at once.
    pub(super) fn new(now: Instant) -> Self {
        ProofOfLife { begun: now, sent: 0, next: now }
    }

    pub(super) fn poll_timeout(&self) -> Instant {
        self.next
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Due {
        if now < self.next {
            return Due::Nothing;
        }
        if self.sent >= Self::TRIES {
            return Due::GiveUp;
        }
        self.sent = self.sent.saturating_add(1);
        self.next = if self.sent < Self::TRIES { now + Self::INTERVAL } else { self.begun + Self::PATIENCE };
        Due::Send
    }
}

/// Finds out whether a packet of the full size is answered.
#[derive(Debug)]
pub(super) struct Probe {
    /// Identifier of all its Echo-Requests.
    pub(super) identifier: u8,
    /// When it began.
    pub(super) begun: Instant,
    left: u8,
    next: Instant,
}

impl Probe {
    const TRIES: u8 = 3;

    /// A probe whose first Echo-Request is due at once.
    pub(super) fn new(now: Instant, identifier: u8) -> Self {
        Probe { identifier, begun: now, left: Self::TRIES, next: now }
    }

    pub(super) fn poll_timeout(&self) -> Instant {
        self.next
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, restart: Duration) -> Due {
        if now < self.next {
            return Due::Nothing;
        }
        match self.left.checked_sub(1) {
            None => Due::GiveUp,
            Some(left) => {
                self.left = left;
                self.next = now + restart;
                Due::Send
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ECHO: Echo = Echo { interval: Duration::from_secs(10), failures: 3 };

    #[test]
    fn silence_asks_three_times_then_gives_up() {
        let mut keepalive = Keepalive::new(Instant::ZERO, ECHO);
        for secs in [10, 20, 30] {
            assert_eq!(keepalive.poll_timeout(ECHO), Some(Instant::from_secs(secs)));
            assert_eq!(keepalive.handle_timeout(Instant::from_secs(secs - 1), ECHO), Due::Nothing);
            assert_eq!(keepalive.handle_timeout(Instant::from_secs(secs), ECHO), Due::Send);
        }
        assert_eq!(keepalive.handle_timeout(Instant::from_secs(40), ECHO), Due::GiveUp);
    }

    /// Lesson 4: the counter starts again with whatever is heard.
    #[test]
    fn any_data_is_a_sign_of_life_and_starts_the_count_again() {
        let mut keepalive = Keepalive::new(Instant::ZERO, ECHO);
        for secs in (10..400).step_by(10) {
            keepalive.data(Instant::from_secs(secs - 3));
            assert_eq!(keepalive.handle_timeout(Instant::from_secs(secs), ECHO), Due::Nothing);
        }
        let mut keepalive = Keepalive::new(Instant::ZERO, ECHO);
        for secs in [10, 20, 30] {
            assert_eq!(keepalive.handle_timeout(Instant::from_secs(secs), ECHO), Due::Send);
        }
        keepalive.data(Instant::from_secs(39));
        assert_eq!(keepalive.handle_timeout(Instant::from_secs(40), ECHO), Due::Nothing);
        assert_eq!(keepalive.poll_timeout(ECHO), Some(Instant::from_secs(49)));
        assert_eq!(keepalive.handle_timeout(Instant::from_secs(49), ECHO), Due::Send);
        keepalive.data(Instant::from_secs(20));
        assert_eq!(
            keepalive.handle_timeout(Instant::from_secs(59), ECHO),
            Due::Send,
            "old news are no sign of life"
        );
        keepalive.control(Instant::from_secs(59));
        assert_eq!(keepalive.unanswered, 0);
    }

    #[test]
    fn an_interval_of_zero_is_off() {
        let off = Echo { interval: Duration::ZERO, failures: 3 };
        let mut keepalive = Keepalive::new(Instant::ZERO, off);
        assert_eq!(keepalive.poll_timeout(off), None);
        assert_eq!(keepalive.handle_timeout(Instant::from_secs(1000), off), Due::Nothing);
    }

    #[test]
    fn a_link_of_an_earlier_run_is_asked_for_three_times_in_three_seconds() {
        let mut life = ProofOfLife::new(Instant::from_secs(50));
        for at in [50_000, 50_750, 51_500].map(Instant::from_millis) {
            assert_eq!(life.poll_timeout(), at);
            assert_eq!(life.handle_timeout(at), Due::Send);
            assert_eq!(life.handle_timeout(at), Due::Nothing);
        }
        assert_eq!(life.poll_timeout(), Instant::from_secs(53));
        assert_eq!(life.handle_timeout(Instant::from_millis(52_999)), Due::Nothing);
        assert_eq!(life.handle_timeout(Instant::from_secs(53)), Due::GiveUp);
    }

    #[test]
    fn a_probe_is_sent_three_times() {
        let mut probe = Probe::new(Instant::ZERO, 7);
        let restart = Duration::from_secs(3);
        for secs in [0, 3, 6] {
            assert_eq!(probe.poll_timeout(), Instant::from_secs(secs));
            assert_eq!(probe.handle_timeout(Instant::from_secs(secs), restart), Due::Send);
        }
        assert_eq!(probe.handle_timeout(Instant::from_secs(8), restart), Due::Nothing);
        assert_eq!(probe.handle_timeout(Instant::from_secs(9), restart), Due::GiveUp);
    }
}
