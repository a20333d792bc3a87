//! A VPN's peer, step by step: a way to it, where it is, and the handshake.

use alloc::format;
use alloc::string::{String, ToString};
use core::net::SocketAddr;

use data_encoding::BASE64;

use super::{Diagnosis, Span, Step, StepState, Symptom};
use crate::settings::Endpoint;
use crate::time::{Duration, Instant};
use crate::tunnel::wireguard::Stranger;
use crate::tunnel::wireguard::{Failure, HandshakeStatus, REJECT_AFTER_TIME};

/// Initiations without an answer that make a symptom.
const TRIES: u32 = 3;
/// A wall clock before this was never set: 2020, in seconds since 1970.
const PLAUSIBLE: Duration = Duration::from_secs(1_577_836_800);

/// All that is known of a peer.
pub(crate) struct Patient<'a> {
    pub now: Instant,
    pub vpn: &'a str,
    pub peer: &'a str,
    pub configured: Option<&'a Endpoint>,
    pub endpoint: Option<SocketAddr>,
    pub handshake: HandshakeStatus,
    pub stranger: Option<Stranger>,
    /// Some uplink is up.
    pub online: bool,
    /// The time since 1970, as it was told.
    pub wall: Option<Duration>,
}

impl Patient<'_> {
    pub fn diagnose(&self) -> Diagnosis {
        let subject = format!("vpn {}, peer {}", self.vpn, self.peer);
        let age = self.handshake.last.map(|at| self.now.since(at));
        let is_up = age.is_some_and(|age| age < REJECT_AFTER_TIME);
        let verdicts = [self.uplink(), self.place(), self.shake(is_up)];
        let failed = verdicts.iter().find(|(step, _)| step.state == StepState::Failed);
        let sentence = match failed {
            Some((step, Some(symptom))) => {
                let known = symptom.knowledge();
                let [cause, other] = known.causes;
                let result = step.result.as_deref().unwrap_or(known.clause);
                format!("{subject} is down: {} fails: {result} (usually {cause}, or {other})", step.name)
            }
            _ if is_up => format!("{subject} is up"),
            _ => format!("{subject} is at rest: nothing was to be sent to it"),
        };
        let healthy = is_up && failed.is_none();
        let since_s = age.map_or(0, |age| age.as_secs());
        let steps = verdicts.into_iter().map(|(step, symptom)| match symptom {
            Some(symptom) => step.explained(symptom),
            None => step,
        });
        Diagnosis { subject, sentence, healthy, since_s, steps: steps.collect() }
    }

    fn uplink(&self) -> Verdict {
        let mut step = Step::new("uplink", StepState::Done);
        if self.online {
            return (step, None);
        }
        step.state = StepState::Failed;
        step.result = Some(Symptom::UplinkDown.knowledge().clause.into());
        (step, Some(Symptom::UplinkDown))
    }

    fn place(&self) -> Verdict {
        let mut step = Step::new("endpoint", StepState::Done);
        step.result = self.endpoint.map(|at| at.to_string());
        match (self.endpoint, self.configured) {
            (Some(_), _) => (step, None),
            (None, Some(endpoint)) => {
                step.state = StepState::Failed;
                let clause = Symptom::VpnNoName.knowledge().clause;
                step.result = Some(format!("{clause}: {endpoint}"));
                (step, Some(Symptom::VpnNoName))
            }
            (None, None) => {
                let symptom = if self.knocks() { Symptom::VpnStranger } else { Symptom::VpnNoEndpoint };
                step.state = StepState::Failed;
                step.result = Some(self.told(symptom));
                (step, Some(symptom))
            }
        }
    }

    fn shake(&self, is_up: bool) -> Verdict {
        let mut step = Step::new("handshake", StepState::Waiting);
        let since = |at: Instant| self.handshake.last.is_none_or(|last| at > last);
        let failure = self.handshake.failure.filter(|(at, _)| since(*at));
        let tries = self.handshake.trying.unwrap_or(0);
        step.sent = match (tries, failure) {
            (0, Some((_, Failure::Silence { tries }))) => {
                Some(format!("{tries} handshakes without an answer"))
            }
            (0, _) => None,
            (tries, _) => Some(format!("{tries} handshakes in this attempt")),
        };
        step.came = match (failure, self.handshake.last) {
            (Some((at, failure @ (Failure::Response | Failure::Replay | Failure::Forged))), _) => {
                Some(format!("{failure}, {} ago", Span(self.now.since(at))))
            }
            (_, Some(at)) => Some(format!("keys, {} ago", Span(self.now.since(at)))),
            _ => None,
        };
        let symptom = match failure.map(|(_, failure)| failure) {
            None if is_up && tries <= 1 => None,
            Some(Failure::UnusableKey) => Some(Symptom::VpnUnusableKey),
            Some(Failure::Response) => Some(Symptom::VpnNotOurs),
            Some(Failure::Forged) => Some(Symptom::VpnImpostor),
            Some(Failure::Replay | Failure::Hurry) => Some(Symptom::VpnReplayed),
            Some(Failure::Silence { .. }) => Some(self.silence()),
            None if tries >= TRIES => Some(self.silence()),
            None => None,
        };
        match symptom {
            Some(symptom) => {
                step.state = StepState::Failed;
                step.result = Some(self.told(symptom));
            }
            None if is_up => {
                step.state = StepState::Done;
                step.result = self.handshake.last.map(|at| format!("{} ago", Span(self.now.since(at))));
            }
            None => {}
        }
        (step, symptom)
    }

    /// The peer is silent: why?
    fn silence(&self) -> Symptom {
        match self.wall {
            _ if self.knocks() => Symptom::VpnStranger,
            Some(wall) if wall < PLAUSIBLE => Symptom::VpnClock,
            _ => Symptom::VpnNoAnswer,
        }
    }

    /// Somebody who is no peer has asked for keys since this one last had some.
    fn knocks(&self) -> bool {
        self.stranger.is_some_and(|stranger| self.handshake.last.is_none_or(|last| stranger.at > last))
    }

    fn told(&self, symptom: Symptom) -> String {
        let clause = symptom.knowledge().clause;
        match self.stranger.filter(|_| symptom == Symptom::VpnStranger) {
            Some(stranger) => {
                let key = BASE64.encode(&stranger.public_key.0);
                format!("{clause}: {key}, from {}", stranger.from)
            }
            None => clause.into(),
        }
    }
}

type Verdict = (Step, Option<Symptom>);
