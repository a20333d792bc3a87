//! One run of PPPoE discovery, the host's side (RFC 2516 §5.1 to §5.4): from a broadcast PADI to a session id.
//!
//! 1. PADI goes out, again and again with growing waits, until somebody makes an acceptable offer.
//! 2. The first acceptable PADO is taken; those that come after it are kept, for the case that it comes to nothing.
//! 3. PADR goes to the chosen concentrator, a few times. A refusal or silence moves on to the next offer that is kept.
//! 4. A PADS of the chosen concentrator with our Host-Uniq grants the session.
//!
//! A run that fails is thrown away whole: the next one knows no concentrator and begins by broadcast.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::mem;

use super::event::{Failure, RefusalKind, Unsuitable};
use super::{DiscoveryFrame, Remembered, retry};
use crate::frame::Frame;
use crate::id::Mac;
use crate::ledger::DropReason;
use crate::machine::Cx;
use crate::ppp::text::printable;
use crate::time::{Duration, Instant};
use crate::wire::pppoe::{Code, Discovery as Packet, DiscoveryWriter, tag};

/// PADRs sent to one concentrator before the next one is asked.
const PADR_TRIES: u32 = 3;
/// Nominal wait after the first PADI and the first PADR; doubled each time.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// Offers kept besides the chosen one.
const KEPT: usize = 4;
/// Concentrators remembered as having made an unsuitable offer, so that each is reported once.
const IGNORED: usize = 8;
/// Octets of a Host-Uniq that is drawn.
const HOST_UNIQ: usize = 8;

/// What a run of discovery is to find.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Our Ethernet address.
    pub local: Mac,
    /// Service-Name to ask for; empty accepts any.
    pub service_name: Vec<u8>,
    /// Take only an offer by this concentrator.
    pub ac_name: Option<Vec<u8>>,
    /// Host-Uniq to send; drawn for each run otherwise.
    pub host_uniq: Option<Vec<u8>>,
    /// PPP-Max-Payload to ask for, in octets (RFC 4638).
    pub max_payload: Option<u16>,
}

/// A session that was granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// The session and the concentrator.
    pub session: Remembered,
    /// The concentrator's name, printable.
    pub ac_name: String,
    /// PPP-Max-Payload as the concentrator confirmed it, in octets.
    pub max_payload: Option<u16>,
    /// The Host-Uniq by which it was asked for, when it was drawn and so is nobody else's.
    pub host_uniq: Option<Vec<u8>>,
}

/// What came of a packet or a deadline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing worth telling.
    Nothing,
    /// Nobody answered the PADI; the next one goes out now.
    Unanswered {
        /// PADIs sent so far, without the one that goes out now.
        tries: u32,
        /// Time until the one after that.
        retry_in: Duration,
    },
    /// An offer was taken.
    Taken {
        /// The concentrator's name, printable.
        ac_name: String,
        /// Its address.
        peer: Mac,
    },
    /// An offer does not suit.
    Ignored {
        /// The concentrator's name, printable.
        ac_name: String,
        /// Its address.
        peer: Mac,
        /// Why.
        why: Unsuitable,
    },
    /// The chosen concentrator failed; another one is asked.
    Next {
        /// How it failed.
        failure: Failure,
        /// The name of the next, printable.
        ac_name: String,
    },
    /// A concentrator that was given up granted a session after all: end it.
    Unwanted(Remembered),
    /// The session is granted.
    Granted(Granted),
    /// The run has failed.
    Failed(Failure),
}

#[derive(Debug)]
struct Offer {
    peer: Mac,
    ac_name: Vec<u8>,
    cookie: Option<Vec<u8>>,
    relay: Option<Vec<u8>>,
}

#[derive(Debug)]
enum Stage {
    Soliciting,
    Requesting { offer: Offer, kept: Vec<Offer>, given_up: Vec<Mac> },
}

/// A run of discovery.
#[derive(Debug)]
pub struct Discovery {
    host_uniq: Vec<u8>,
    stage: Stage,
    /// Packets sent in this stage.
    tries: u32,
    next: Instant,
    send: bool,
    ignored: Vec<Mac>,
}

impl Discovery {
    /// Begins from nothing. The first PADI is ready to be sent.
    pub fn start(cx: &mut Cx<'_>, wanted: &Wanted) -> Self {
        let host_uniq = wanted.host_uniq.clone().unwrap_or_else(|| {
            let mut drawn = vec![0; HOST_UNIQ];
            cx.rng.fill(&mut drawn);
            drawn
        });
        let mut discovery = Discovery {
            host_uniq,
            stage: Stage::Soliciting,
            tries: 0,
            next: cx.now,
            send: false,
            ignored: Vec::new(),
        };
        discovery.send(cx);
        discovery
    }

    /// A discovery packet came in. An error says why it is not this run's.
    pub fn handle(
        &mut self,
        cx: &mut Cx<'_>,
        wanted: &Wanted,
        frame: &DiscoveryFrame<'_>,
    ) -> Result<Step, DropReason> {
        let ours = frame.destination == wanted.local
            && frame.source != wanted.local
            && frame.packet.find(tag::HOST_UNIQ) == Some(self.host_uniq.as_slice());
        match frame.packet.code {
            Code::Pado if ours && frame.packet.session == 0 => self.offered(cx, wanted, frame),
            Code::Pads if ours => self.confirmed(cx, wanted, frame),
            _ => Err(DropReason::DiscoveryUnexpected),
        }
    }

    /// The deadline of [`Discovery::poll_timeout`] may have come.
    pub fn handle_timeout(&mut self, cx: &mut Cx<'_>) -> Step {
        if cx.now < self.next {
            return Step::Nothing;
        }
        match &self.stage {
            Stage::Soliciting => {
                let tries = self.tries;
                self.send(cx);
                Step::Unanswered { tries, retry_in: self.next.since(cx.now) }
            }
            Stage::Requesting { .. } if self.tries < PADR_TRIES => {
                self.send(cx);
                Step::Nothing
            }
            Stage::Requesting { offer, .. } => {
                let failure = Failure::NoConfirmation { ac_name: printable(&offer.ac_name) };
                self.give_up(cx, failure)
            }
        }
    }

    /// When this run wants to be called next.
    pub fn poll_timeout(&self) -> Instant {
        self.next
    }

    /// True when a PADI is to go out that is not the first.
    pub fn repeats(&self) -> bool {
        matches!(self.stage, Stage::Soliciting) && self.tries > 1
    }

    /// Writes the packet that is due; says whether there was one.
    pub fn poll_transmit(&mut self, wanted: &Wanted, frame: &mut Frame) -> bool {
        if !mem::take(&mut self.send) {
            return false;
        }
        match &self.stage {
            Stage::Soliciting => DiscoveryWriter::begin(frame, wanted.local, Mac::BROADCAST, Code::Padi, 0)
                .tag(tag::SERVICE_NAME, &wanted.service_name)
                .tag(tag::HOST_UNIQ, &self.host_uniq)
                .max_payload(wanted.max_payload)
                .finish(),
            Stage::Requesting { offer, .. } => write_padr(frame, wanted, &self.host_uniq, offer),
        }
    }

    fn send(&mut self, cx: &mut Cx<'_>) {
        self.next = cx.now + retry::backoff(cx.rng, retry::doubled(FIRST_WAIT, self.tries));
        self.tries = self.tries.saturating_add(1);
        self.send = true;
    }

    fn offered(
        &mut self,
        cx: &mut Cx<'_>,
        wanted: &Wanted,
        frame: &DiscoveryFrame<'_>,
    ) -> Result<Step, DropReason> {
        let peer = frame.source;
        let ac_name = frame.packet.find(tag::AC_NAME).unwrap_or_default();
        if let Err(why) = suits(wanted, &frame.packet) {
            if self.ignored.contains(&peer) || self.ignored.len() >= IGNORED {
                return Ok(Step::Nothing);
            }
            self.ignored.push(peer);
            return Ok(Step::Ignored { ac_name: printable(ac_name), peer, why });
        }
        let owned = |kind| frame.packet.find(kind).map(<[u8]>::to_vec);
        let offer = Offer {
            peer,
            ac_name: ac_name.to_vec(),
            cookie: owned(tag::AC_COOKIE),
            relay: owned(tag::RELAY_SESSION_ID),
        };
        match &mut self.stage {
            Stage::Soliciting => {
                let step = Step::Taken { ac_name: printable(&offer.ac_name), peer };
                self.request(cx, offer, Vec::new(), Vec::new());
                Ok(step)
            }
            Stage::Requesting { offer: chosen, kept, given_up } => {
                let known = chosen.peer == peer
                    || given_up.contains(&peer)
                    || kept.iter().any(|other| other.peer == peer);
                if known {
                    return Err(DropReason::DiscoveryUnexpected);
                }
                if kept.len() < KEPT {
                    kept.push(offer);
                }
                Ok(Step::Nothing)
            }
        }
    }

    fn confirmed(
        &mut self,
        cx: &mut Cx<'_>,
        wanted: &Wanted,
        frame: &DiscoveryFrame<'_>,
    ) -> Result<Step, DropReason> {
        let Stage::Requesting { offer, given_up, .. } = &self.stage else {
            return Err(DropReason::DiscoveryUnexpected);
        };
        let session = Remembered { peer: frame.source, session: frame.packet.session };
        if frame.source != offer.peer {
            let unwanted =
                given_up.contains(&frame.source) && wanted.host_uniq.is_none() && session.session != 0;
            return if unwanted { Ok(Step::Unwanted(session)) } else { Err(DropReason::DiscoveryUnexpected) };
        }
        let ac_name = printable(&offer.ac_name);
        if session.session != 0 {
            return Ok(Step::Granted(Granted {
                session,
                ac_name,
                max_payload: frame.packet.max_payload(),
                host_uniq: wanted.host_uniq.is_none().then(|| self.host_uniq.clone()),
            }));
        }
        let (kind, text) = refusal(&frame.packet);
        Ok(self.give_up(cx, Failure::Refused { ac_name, kind, text }))
    }

    fn request(&mut self, cx: &mut Cx<'_>, offer: Offer, kept: Vec<Offer>, given_up: Vec<Mac>) {
        self.stage = Stage::Requesting { offer, kept, given_up };
        self.tries = 0;
        self.send(cx);
    }

    fn give_up(&mut self, cx: &mut Cx<'_>, failure: Failure) -> Step {
        match mem::replace(&mut self.stage, Stage::Soliciting) {
            Stage::Requesting { offer, mut kept, mut given_up } if !kept.is_empty() => {
                given_up.push(offer.peer);
                let next = kept.remove(0);
                let ac_name = printable(&next.ac_name);
                self.request(cx, next, kept, given_up);
                Step::Next { failure, ac_name }
            }
            _ => Step::Failed(failure),
        }
    }
}

fn write_padr(frame: &mut Frame, wanted: &Wanted, host_uniq: &[u8], offer: &Offer) -> bool {
    DiscoveryWriter::begin(frame, wanted.local, offer.peer, Code::Padr, 0)
        .tag(tag::SERVICE_NAME, &wanted.service_name)
        .tag(tag::HOST_UNIQ, host_uniq)
        .tag_if(tag::AC_COOKIE, offer.cookie.as_deref())
        .tag_if(tag::RELAY_SESSION_ID, offer.relay.as_deref())
        .max_payload(wanted.max_payload)
        .finish()
}

/// Whether an offer is one to take. An empty Service-Name accepts any service (RFC 2516 §5.1).
fn suits(wanted: &Wanted, offer: &Packet<'_>) -> Result<(), Unsuitable> {
    if offer.tags().any(|tag| is_error(tag.kind)) {
        return Err(Unsuitable::Error);
    }
    if wanted.ac_name.as_deref().is_some_and(|name| offer.find(tag::AC_NAME) != Some(name)) {
        return Err(Unsuitable::OtherName);
    }
    let any = wanted.service_name.is_empty();
    if any || offer.all(tag::SERVICE_NAME).any(|name| name == wanted.service_name) {
        Ok(())
    } else {
        Err(Unsuitable::OtherService)
    }
}

fn is_error(kind: u16) -> bool {
    matches!(kind, tag::SERVICE_NAME_ERROR | tag::AC_SYSTEM_ERROR | tag::GENERIC_ERROR)
}

/// What a packet's first error tag says.
fn refusal(packet: &Packet<'_>) -> (RefusalKind, String) {
    let error = packet.tags().find(|tag| is_error(tag.kind));
    let kind = match error.map(|tag| tag.kind) {
        Some(tag::SERVICE_NAME_ERROR) => RefusalKind::ServiceName,
        Some(tag::AC_SYSTEM_ERROR) => RefusalKind::System,
        Some(_) => RefusalKind::Generic,
        None => RefusalKind::Unexplained,
    };
    (kind, error.map_or_else(String::new, |tag| printable(tag.value)))
}
