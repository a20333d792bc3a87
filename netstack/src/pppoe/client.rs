//! An uplink by PPPoE: dials, holds the session, dials again.
//!
//! 1. On start, a session that the last run has left open goes on as it was, when that run was dialling as we would and
//!    left what it takes ([`Adoption`]). Otherwise it is told to end: a concentrator may not grant another before (RFC 2516
//!    §5.5). After a short random wait, discovery begins.
//! 2. [`Discovery`] finds a session. How much it may carry is agreed there (RFC 4638): the port, the concentrator, the
//!    peer's LCP and an echo of full size each may limit it, and [`MtuLimit`] names the one that did.
//! 3. A [`Link`] negotiates on the session. What it reports becomes our own facts. IPv4 and IPv6 come and go on their
//!    own; the session is kept whatever becomes of them.
//! 4. Any end of the session (a PADT with our peer's address and our session's id, or the link going down) leads back to
//!    discovery from nothing, when [`Retry`] says so. Unless the peer ended it, it is told; and told again with the next
//!    PADIs, since a concentrator that missed it may stay silent until it is.
//! 5. Shutting down sends the link's Terminate-Request and a PADT, and waits for nothing.
//!
//! 6. When the line was cut and is whole again, or time has passed that nobody has counted, the peer is asked at once whether
//!    it still knows the session ([`Input::Doubt`]). Silence ends it after 3 s, and it is dialled anew.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use core::net::{Ipv4Addr, Ipv6Addr};

use super::adopt::Dialled;
use super::discovery::{Discovery, Granted, Step, Wanted};
use super::event::{Event, Failure, MtuLimit};
use super::retry::{self, Retry};
use super::{Adoption, DiscoveryFrame, LeftSession, Outbox, Remembered, split_ppp, transmit_link};
use crate::frame::Frame;
use crate::ledger::DropReason;
use crate::machine::Cx;
use crate::ppp::event::DownClass;
use crate::ppp::text::printable;
use crate::ppp::{self, ClientSettings, Ipv4Agreement, Ipv6Agreement, Link, NetworkDownReason};
use crate::settings::{Families, Port, PppoeClient};
use crate::time::Instant;
use crate::wire::pppoe::{Code, OVERHEAD, STANDARD_MRU, tag};

/// Times that an orphaned session is told to end again, with the next PADIs.
const ORPHAN_REMINDERS: u8 = 3;
/// Most frames and facts that wait to be taken.
const QUEUE: usize = 256;

/// What can happen to a client.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// A discovery packet came in by its port.
    Discovery(&'a DiscoveryFrame<'a>),
    /// A PPP packet came in by its session; the bytes begin at the PPP protocol field.
    Ppp(&'a [u8]),
    /// The packet path received network data of its session at this time.
    TrafficSeen(Instant),
    /// Another client of the same port was granted this session: the concentrator has forgotten whose it was.
    SessionLost(Remembered),
    /// The concentrator may have forgotten the session, or whatever else is under way.
    Doubt,
    /// End the session and dial no more.
    Shutdown,
}

/// What a client is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Nothing: it was shut down.
    Idle,
    /// Waiting until it may dial again.
    Waiting,
    /// Looking for a concentrator.
    Discovering,
    /// Negotiating LCP.
    Establishing,
    /// Proving who it is.
    Authenticating,
    /// Negotiating addresses.
    Configuring,
    /// Online with one family of addresses at least.
    Up,
}

impl Phase {
    /// The word for it in the status.
    pub const fn name(self) -> &'static str {
        match self {
            Phase::Idle => "idle",
            Phase::Waiting => "waiting",
            Phase::Discovering => "discovering",
            Phase::Establishing => "establishing",
            Phase::Authenticating => "authenticating",
            Phase::Configuring => "configuring",
            Phase::Up => "up",
        }
    }
}

/// IPv4 of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv4 {
    /// Our address.
    pub address: Ipv4Addr,
    /// The peer's address; 0.0.0.0 when it did not tell.
    pub peer: Ipv4Addr,
    /// DNS servers that the ISP told.
    pub dns: [Option<Ipv4Addr>; 2],
}

/// IPv6 of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv6 {
    /// Our link-local address: the only one that IPV6CP gives.
    pub address: Ipv6Addr,
    /// The peer's link-local address.
    pub peer: Ipv6Addr,
}

/// A session as the status shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionStatus {
    /// The session's id and the concentrator's address.
    pub session: Remembered,
    /// The concentrator's name, printable.
    pub ac_name: String,
    /// Largest IP packet, in octets.
    pub mtu: u16,
    /// What limits it.
    pub limit: MtuLimit,
    /// IPv4, when it is up.
    pub ipv4: Option<Ipv4>,
    /// IPv6, when it is up.
    pub ipv6: Option<Ipv6>,
}

/// A snapshot of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// What it is doing.
    pub phase: Phase,
    /// Since when.
    pub since: Instant,
    /// When it dials next, while it waits.
    pub dials_at: Option<Instant>,
    /// Times that it has dialled.
    pub attempts: u32,
    /// Why the last attempt or session ended, as a sentence.
    pub last_failure: Option<String>,
    /// The session, when there is one.
    pub session: Option<SessionStatus>,
}

#[derive(Debug)]
struct Session {
    granted: Granted,
    link: Link,
    /// What the session carries whatever the two sides agree on in LCP.
    carried: (u16, MtuLimit),
    mtu: u16,
    limit: MtuLimit,
    authenticated_at: Option<Instant>,
    ipv4: Option<Ipv4>,
    ipv6: Option<Ipv6>,
}

#[derive(Debug)]
enum State {
    Waiting { until: Instant },
    Discovering(Discovery),
    Open(Box<Session>),
    Closed,
}

/// A session that the concentrator may still believe in.
#[derive(Debug)]
struct Orphan {
    session: Remembered,
    reminders: u8,
}

/// An uplink by PPPoE.
#[derive(Debug)]
pub struct Client {
    wanted: Wanted,
    dialled: Dialled,
    link_settings: Arc<ClientSettings>,
    /// MTU to ask for, and the largest that the port can carry.
    mtu: (u16, u16),
    state: State,
    retry: Retry,
    orphan: Option<Orphan>,
    attempts: u32,
    last_failure: Option<Failure>,
    phase: (Phase, Instant),
    outbox: Outbox,
    events: VecDeque<Event>,
}

impl Client {
    /// A client that dials as `pppoe` says, for `families`, on `port`, after a short random wait; or goes on at once with the
    /// session that an earlier life has `left` open.
    pub fn new(
        cx: &mut Cx<'_>,
        pppoe: &PppoeClient,
        families: Families,
        port: &Port,
        left: Option<LeftSession>,
    ) -> Self {
        let most = port.mtu.saturating_sub(OVERHEAD);
        let max_payload = Some(pppoe.mtu.min(most)).filter(|&payload| payload > STANDARD_MRU);
        let mut client = Client {
            wanted: Wanted {
                local: port.mac,
                service_name: pppoe.service_name.clone(),
                ac_name: pppoe.ac_name.clone(),
                host_uniq: pppoe.host_uniq.clone(),
                max_payload,
            },
            dialled: Dialled::new(pppoe, families, port),
            link_settings: Arc::new(ClientSettings::new(pppoe, families, port.mac)),
            mtu: (pppoe.mtu, most),
            state: State::Waiting { until: cx.now + Retry::first(cx.rng) },
            retry: Retry::default(),
            orphan: None,
            attempts: 0,
            last_failure: None,
            phase: (Phase::Waiting, cx.now),
            outbox: Outbox::new(),
            events: VecDeque::new(),
        };
        if let Some(LeftSession { session, adoption }) = left {
            let kept = adoption.and_then(|adoption| client.adopted(cx, session, adoption));
            match kept {
                Some(kept) => client.keep(kept),
                None => {
                    client.send_padt(session);
                    client.orphan = Some(Orphan { session, reminders: ORPHAN_REMINDERS });
                    client.tell(Event::OldSessionEnded(session));
                }
            }
        }
        client.settle(cx);
        client
    }

    /// Something happened. An error says why a frame was dropped; a discovery packet that is dropped as
    /// [`DropReason::DiscoveryUnexpected`] may be another client's of the same port.
    pub fn handle(&mut self, cx: &mut Cx<'_>, input: Input<'_>) -> Result<(), DropReason> {
        let result = match input {
            Input::Discovery(frame) => self.discovery(cx, frame),
            Input::Ppp(packet) => self.ppp(cx, packet),
            Input::TrafficSeen(at) => {
                if let State::Open(session) = &mut self.state {
                    session.link.traffic_seen(at);
                }
                Ok(())
            }
            Input::SessionLost(session) => {
                self.lose(cx, session);
                Ok(())
            }
            Input::Doubt => {
                self.reconfirm(cx);
                Ok(())
            }
            Input::Shutdown => {
                self.shut_down(cx);
                Ok(())
            }
        };
        self.settle(cx);
        result
    }

    /// Does what is due. Calling it early or twice does nothing.
    pub fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        match &mut self.state {
            State::Waiting { until } => {
                if *until <= cx.now {
                    self.dial(cx);
                }
            }
            State::Discovering(discovery) => {
                let step = discovery.handle_timeout(cx);
                if discovery.repeats() && step != Step::Nothing {
                    self.remind_orphan();
                }
                self.step(cx, step);
            }
            State::Open(session) => session.link.handle_timeout(cx),
            State::Closed => {}
        }
        self.settle(cx);
    }

    /// When the client wants to be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Waiting { until } => Some(*until),
            State::Discovering(discovery) => Some(discovery.poll_timeout()),
            State::Open(session) => session.link.poll_timeout(),
            State::Closed => None,
        }
    }

    /// Writes the next whole Ethernet frame into `frame`, which is empty; says whether there was one.
    pub fn poll_transmit(&mut self, frame: &mut Frame) -> bool {
        if self.outbox.poll(frame) {
            return true;
        }
        match &mut self.state {
            State::Discovering(discovery) => discovery.poll_transmit(&self.wanted, frame),
            State::Open(session) => {
                transmit_link(&mut session.link, frame, self.wanted.local, session.granted.session)
            }
            State::Waiting { .. } | State::Closed => false,
        }
    }

    /// The next fact.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The session that is open, and how another run goes on with it, for the state file.
    pub fn left(&self) -> Option<LeftSession> {
        let State::Open(session) = &self.state else { return None };
        let (carried, limit) = session.carried;
        let adoption = session.link.agreement().map(|link| Adoption {
            dialled: self.dialled.clone(),
            ac_name: session.granted.ac_name.clone(),
            carried,
            limit,
            link,
        });
        Some(LeftSession { session: session.granted.session, adoption })
    }

    /// The session that is open.
    pub fn remembered(&self) -> Option<Remembered> {
        match &self.state {
            State::Open(session) => Some(session.granted.session),
            State::Waiting { .. } | State::Discovering(_) | State::Closed => None,
        }
    }

    /// What the client is doing.
    pub fn status(&self) -> Status {
        let (phase, since) = self.phase;
        Status {
            phase,
            since,
            dials_at: match &self.state {
                State::Waiting { until } => Some(*until),
                State::Discovering(_) | State::Open(_) | State::Closed => None,
            },
            attempts: self.attempts,
            last_failure: self.last_failure.as_ref().map(ToString::to_string),
            session: match &self.state {
                State::Open(session) => Some(SessionStatus {
                    session: session.granted.session,
                    ac_name: session.granted.ac_name.clone(),
                    mtu: session.mtu,
                    limit: session.limit,
                    ipv4: session.ipv4,
                    ipv6: session.ipv6,
                }),
                State::Waiting { .. } | State::Discovering(_) | State::Closed => None,
            },
        }
    }

    fn dial(&mut self, cx: &mut Cx<'_>) {
        self.attempts = self.attempts.saturating_add(1);
        self.remind_orphan();
        self.state = State::Discovering(Discovery::start(cx, &self.wanted));
        self.tell(Event::Dialling);
    }

    /// Asks whether the session lives. Without one, it dials at once, unless it waits because it was not let in.
    fn reconfirm(&mut self, cx: &mut Cx<'_>) {
        let refused = |failure: &Failure| failure.class() == DownClass::Authentication;
        match &mut self.state {
            State::Open(session) => session.link.reconfirm(cx),
            State::Discovering(_) => self.dial(cx),
            State::Waiting { until } if !self.last_failure.as_ref().is_some_and(refused) => {
                *until = (*until).min(cx.now + Retry::first(cx.rng));
            }
            State::Waiting { .. } | State::Closed => {}
        }
    }

    fn discovery(&mut self, cx: &mut Cx<'_>, frame: &DiscoveryFrame<'_>) -> Result<(), DropReason> {
        match &mut self.state {
            State::Discovering(discovery) => {
                let step = discovery.handle(cx, &self.wanted, frame)?;
                self.step(cx, step);
                Ok(())
            }
            State::Open(session) => {
                let packet = &frame.packet;
                let Granted { session: ours, host_uniq, .. } = &session.granted;
                if frame.destination != self.wanted.local || frame.source != ours.peer {
                    return Err(DropReason::DiscoveryUnexpected);
                }
                match packet.code {
                    Code::Padt if packet.session == ours.session => {
                        let text = packet.find(tag::GENERIC_ERROR).map(printable).unwrap_or_default();
                        let unproven = session.link.is_unproven();
                        self.end(cx, if unproven { Failure::Gone } else { Failure::Terminated { text } });
                        Ok(())
                    }
                    // Another client's, which the concentrator has given the same number.
                    Code::Pads
                        if host_uniq.is_some() && packet.find(tag::HOST_UNIQ) != host_uniq.as_deref() =>
                    {
                        Err(DropReason::DiscoveryUnexpected)
                    }
                    // The confirmation once more.
                    Code::Pads if packet.session == ours.session => Ok(()),
                    // A PADR that was repeated has opened a second session.
                    Code::Pads if packet.session != 0 && host_uniq.is_some() => {
                        self.send_padt(Remembered { peer: frame.source, session: packet.session });
                        Ok(())
                    }
                    _ => Err(DropReason::DiscoveryUnexpected),
                }
            }
            State::Waiting { .. } | State::Closed => Err(DropReason::DiscoveryUnexpected),
        }
    }

    fn ppp(&mut self, cx: &mut Cx<'_>, packet: &[u8]) -> Result<(), DropReason> {
        let State::Open(session) = &mut self.state else { return Err(DropReason::PppoeUnknownSession) };
        let (protocol, information) = split_ppp(packet)?;
        session.link.receive(cx, protocol, information)
    }

    fn step(&mut self, cx: &mut Cx<'_>, step: Step) {
        match step {
            Step::Nothing => {}
            Step::Unanswered { tries, retry_in } => self.tell(Event::NoOffer { tries, retry_in }),
            Step::Taken { ac_name, peer } => self.tell(Event::Offer { ac_name, peer }),
            Step::Ignored { ac_name, peer, why } => self.tell(Event::OfferIgnored { ac_name, peer, why }),
            Step::Next { failure, ac_name } => self.tell(Event::NextOffer { failure, ac_name }),
            Step::Unwanted(session) => self.send_padt(session),
            Step::Granted(granted) => self.open(cx, granted),
            Step::Failed(failure) => self.wait(cx, failure),
        }
    }

    fn open(&mut self, cx: &mut Cx<'_>, granted: Granted) {
        let carried = self.carried(granted.max_payload);
        let (mtu, limit) = carried;
        let mut link = Link::client(self.link_settings.clone());
        link.open(cx, mtu);
        self.orphan = None;
        self.tell(Event::SessionOpened { session: granted.session, ac_name: granted.ac_name.clone() });
        let session =
            Session { granted, link, carried, mtu, limit, authenticated_at: None, ipv4: None, ipv6: None };
        self.state = State::Open(Box::new(session));
    }

    /// The session of an earlier life, when it is one that we would have dialled.
    fn adopted(&self, cx: &mut Cx<'_>, session: Remembered, adoption: Adoption) -> Option<Session> {
        let Adoption { dialled, ac_name, carried, limit, link: agreement } = adoption;
        let (_, most) = self.mtu;
        if dialled != self.dialled || carried > most {
            return None;
        }
        let link = Link::adopt(cx, self.link_settings.clone(), carried, &agreement)?;
        let carried = (carried, limit);
        let (mtu, limit) = agreed(carried, link.mtu());
        Some(Session {
            granted: Granted { session, ac_name, max_payload: None, host_uniq: None },
            link,
            carried,
            mtu,
            limit,
            authenticated_at: Some(cx.now),
            ipv4: agreement.ipv4.map(|Ipv4Agreement { local, remote, dns, .. }| Ipv4 {
                address: local,
                peer: remote,
                dns,
            }),
            ipv6: agreement.ipv6.map(|Ipv6Agreement { local, remote, .. }| Ipv6 {
                address: local.link_local(),
                peer: remote.link_local(),
            }),
        })
    }

    /// Goes on with the session of an earlier life.
    fn keep(&mut self, session: Session) {
        self.tell(Event::SessionKept {
            session: session.granted.session,
            ac_name: session.granted.ac_name.clone(),
            ipv4: session.ipv4,
            ipv6: session.ipv6,
            mtu: session.mtu,
        });
        self.state = State::Open(Box::new(session));
    }

    /// The largest IP packet that a session may carry, and what limits it, given the PPP-Max-Payload that the
    /// concentrator confirmed (RFC 4638 §5).
    fn carried(&self, confirmed: Option<u16>) -> (u16, MtuLimit) {
        let (wanted, port) = self.mtu;
        let granted = match (self.wanted.max_payload, confirmed) {
            (Some(_), Some(confirmed)) => confirmed,
            _ => STANDARD_MRU,
        };
        if wanted <= port.min(granted) {
            (wanted, MtuLimit::Configuration)
        } else if port <= granted || self.wanted.max_payload.is_none() {
            (port.min(granted), MtuLimit::Port)
        } else {
            (granted, MtuLimit::Concentrator)
        }
    }

    /// Turns what the link reports into our own facts.
    fn settle(&mut self, cx: &mut Cx<'_>) {
        while let State::Open(session) = &mut self.state
            && let Some(event) = session.link.poll_event()
        {
            match event {
                ppp::Event::LcpOpened { mru, peer_mru, authentication } => {
                    (session.mtu, session.limit) = agreed(session.carried, mru.min(peer_mru));
                    self.tell(Event::LcpOpened { authentication });
                }
                ppp::Event::Identify { .. } => {}
                ppp::Event::Authenticated { message, .. } => {
                    session.authenticated_at = Some(cx.now);
                    self.retry.authenticated();
                    self.tell(Event::Authenticated { message });
                }
                ppp::Event::Ipv4Up { local, remote, dns } => {
                    session.ipv4 = Some(Ipv4 { address: local, peer: remote, dns });
                    let (mtu, limit) = (session.mtu, session.limit);
                    self.tell(Event::Ipv4Up { address: local, peer: remote, dns, mtu, limit });
                }
                ppp::Event::Ipv4Down { reason } => {
                    session.ipv4 = None;
                    self.tell(Event::Ipv4Down(reason));
                }
                ppp::Event::Ipv6Up { local, remote } => {
                    let (address, peer) = (local.link_local(), remote.link_local());
                    session.ipv6 = Some(Ipv6 { address, peer });
                    let (mtu, limit) = (session.mtu, session.limit);
                    self.tell(Event::Ipv6Up { address, peer, mtu, limit });
                }
                ppp::Event::Ipv6Down { reason } => {
                    session.ipv6 = None;
                    self.tell(Event::Ipv6Down(reason));
                }
                ppp::Event::MtuProven { mtu } | ppp::Event::MtuReduced { mtu } => {
                    if mtu < session.mtu {
                        // The peers may now agree anew on as much as the path carries: that is no further limit.
                        session.carried = (mtu, MtuLimit::Path);
                        (session.mtu, session.limit) = session.carried;
                        self.tell(Event::MtuChanged { mtu, limit: MtuLimit::Path });
                    }
                }
                ppp::Event::Down(reason) => self.end(cx, Failure::Link(reason)),
            }
        }
        self.note_phase(cx.now);
    }

    /// The session has ended, or is to end.
    fn end(&mut self, cx: &mut Cx<'_>, failure: Failure) {
        let peer_knows = matches!(failure, Failure::Terminated { .. } | Failure::Gone | Failure::Forgotten);
        if let Some(session) = self.leave(peer_knows) {
            if !peer_knows {
                self.orphan = Some(Orphan { session: session.granted.session, reminders: ORPHAN_REMINDERS });
            }
            if session.authenticated_at.is_some_and(|at| cx.now.since(at) >= retry::PROVEN) {
                self.retry.proven();
            }
        }
        self.wait(cx, failure);
    }

    /// `session` is another client's now: a PADT of ours would end it.
    fn lose(&mut self, cx: &mut Cx<'_>, session: Remembered) {
        if self.orphan.as_ref().is_some_and(|orphan| orphan.session == session) {
            self.orphan = None;
        }
        if self.remembered() == Some(session) {
            self.end(cx, Failure::Forgotten);
        }
    }

    /// Closes the session, if there is one. Unless the peer knows, the link's last words and a PADT go out.
    fn leave(&mut self, peer_knows: bool) -> Option<Box<Session>> {
        let State::Open(mut session) = core::mem::replace(&mut self.state, State::Closed) else {
            return None;
        };
        let remembered = session.granted.session;
        if !peer_knows {
            self.outbox.add_farewell(&mut session.link, self.wanted.local, remembered);
        }
        if session.ipv4.take().is_some() {
            self.tell(Event::Ipv4Down(NetworkDownReason::Link));
        }
        if session.ipv6.take().is_some() {
            self.tell(Event::Ipv6Down(NetworkDownReason::Link));
        }
        self.tell(Event::SessionClosed(remembered));
        Some(session)
    }

    fn wait(&mut self, cx: &mut Cx<'_>, failure: Failure) {
        let retry_in = self.retry.failed(cx.rng, failure.class());
        self.state = State::Waiting { until: cx.now + retry_in };
        self.last_failure = Some(failure.clone());
        self.tell(Event::Down { failure, retry_in });
    }

    fn shut_down(&mut self, cx: &mut Cx<'_>) {
        match &mut self.state {
            State::Closed => return,
            State::Open(session) => session.link.close(cx),
            State::Waiting { .. } | State::Discovering(_) => {}
        }
        self.leave(false);
        self.state = State::Closed;
        self.tell(Event::Closed);
    }

    /// Tells the concentrator once more that a session is over, when it may have missed it.
    fn remind_orphan(&mut self) {
        let Some(orphan) = &mut self.orphan else { return };
        let session = orphan.session;
        orphan.reminders = orphan.reminders.saturating_sub(1);
        if orphan.reminders == 0 {
            self.orphan = None;
        }
        self.send_padt(session);
    }

    fn send_padt(&mut self, session: Remembered) {
        if self.outbox.len() < QUEUE {
            self.outbox.add_padt(self.wanted.local, session);
        }
    }

    fn tell(&mut self, event: Event) {
        if self.events.len() < QUEUE {
            self.events.push_back(event);
        }
    }

    /// One family is enough: it is of use without the other (TR-124 IPv6.5).
    fn is_online(&self, session: &Session) -> bool {
        let wants_any = self.link_settings.ipv4 || self.link_settings.ipv6.is_some();
        session.ipv4.is_some() || session.ipv6.is_some() || !wants_any
    }

    fn note_phase(&mut self, now: Instant) {
        let phase = match &self.state {
            State::Waiting { .. } => Phase::Waiting,
            State::Discovering(_) => Phase::Discovering,
            State::Closed => Phase::Idle,
            State::Open(session) => match session.link.phase() {
                ppp::Phase::Dead | ppp::Phase::Establish => Phase::Establishing,
                ppp::Phase::Authenticate => Phase::Authenticating,
                ppp::Phase::Network if self.is_online(session) => Phase::Up,
                ppp::Phase::Network => Phase::Configuring,
                ppp::Phase::Terminate => Phase::Waiting,
            },
        };
        if phase != self.phase.0 {
            self.phase = (phase, now);
        }
    }
}

/// The largest IP packet of a session that carries as much as `carried` says when the two sides have agreed on `mru` in LCP,
/// and what limits it.
fn agreed(carried: (u16, MtuLimit), mru: u16) -> (u16, MtuLimit) {
    if mru < carried.0 { (mru, MtuLimit::Peer) } else { carried }
}
