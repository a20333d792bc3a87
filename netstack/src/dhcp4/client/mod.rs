//! The DHCPv4 client of a plain uplink (RFC 2131, options RFC 2132).
//!
//! How it works: `message` writes what is asked and reads what is answered; the client goes through the states of RFC
//! 2131 §4.4, figure 5, each of which is a variant of `State` with what it knows.
//!
//! 1. A moment after the start, so that a street that gets its power back does not ask at once, it asks for the address
//!    of its last life (INIT-REBOOT), or for any (INIT, SELECTING). Questions are repeated after 4, 8, 16, 32 and then
//!    always 64 s, give or take one.
//! 2. The first offer with a lease time, an address and a default router is taken (REQUESTING).
//! 3. An address that was acknowledged is looked for by ARP first (RFC 5227 §2.1). If somebody has it, it is declined, and
//!    ten seconds later all begins anew.
//! 4. BOUND: at T1 the server is asked to extend the lease, by the route that every packet takes; at T2 any server is,
//!    by broadcast; when the lease ends, or a server refuses it, the address is given up at once.
//!
//! The lease counts from the moment its request was sent. It is not released when the router stops: it is to have the
//! same address after it starts again. Where the program alone has stopped, and not the machine, the next run goes on with
//! the lease at once, and asks meanwhile whether the address is still ours (CONFIRMING: INIT-REBOOT with an address). So it
//! does after the line was cut, or the machine paused ([`Client::reconfirm`]). Who answers neither that nor anything else says
//! nothing against the lease; but after a pause nobody knows how long that still runs, and any server is asked every minute.

mod message;
#[cfg(test)]
mod tests;

use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::arp;
use crate::dhcp4::message::{ClientMessage, ServerMessage};
use crate::dhcp4::wire::{self, CLIENT_PORT, SERVER_PORT};
use crate::frame::Frame;
use crate::id::Mac;
use crate::ledger::DropReason;
use crate::machine::{Cx, Doubt};
use crate::time::{Duration, Instant};
use crate::wire::ethernet::{Header, ethertype};
use message::{Answer, Question};

pub use message::Grant;

/// Longest wait before the first question.
const FIRST: Duration = Duration::from_secs(1);
/// Time before the first repetition, which doubles up to the longest (RFC 2131 §4.1).
const RETRY: Duration = Duration::from_secs(4);
const LONGEST: Duration = Duration::from_secs(64);
/// Requests for one address before another is looked for.
const REQUESTS: u32 = 4;
/// Requests for the address of the last life.
const REBOOTS: u32 = 2;
/// Time between them while the address is in use.
const CONFIRM_RETRY: Duration = Duration::from_secs(2);
/// Least time between two requests for an extension (RFC 2131 §4.4.5).
const RENEW_RETRY: Duration = Duration::from_secs(60);
/// Time before all begins anew when somebody else has the address (RFC 2131 §3.1).
const AFTER_CONFLICT: Duration = Duration::from_secs(10);
/// ARP probes of a new address, their times, and the time to listen after the last (RFC 5227 §1.1).
const PROBES: u8 = 3;
const PROBE_WAIT: Duration = Duration::from_secs(1);
const PROBE_MIN: Duration = Duration::from_secs(1);
const PROBE_SPREAD: Duration = Duration::from_secs(1);
const ANNOUNCE_WAIT: Duration = Duration::from_secs(2);
/// Questions without an answer before the user is told.
const PATIENCE: u32 = 3;
/// Most frames waiting to be sent, and most facts waiting to be told.
const QUEUE: usize = 16;
const EVENTS: usize = 64;

/// The lease that the state file remembers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// The address.
    pub address: Ipv4Addr,
    /// When the lease ends.
    pub expires: Instant,
    /// How to go on with the lease; `None` when the address can only be asked for again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<Kept>,
}

/// All that another run of the program needs to go on with a lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Whose it is.
    pub mac: Mac,
    /// The lease.
    pub lease: Lease,
}

/// A lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// What was given.
    pub grant: Grant,
    /// The server that gave it.
    pub server: Ipv4Addr,
    /// When to ask for an extension (T1).
    pub renews: Instant,
    /// When to ask any server (T2).
    pub rebinds: Instant,
    /// When it ends.
    pub expires: Instant,
}

impl Lease {
    fn new(grant: Grant, server: Ipv4Addr, requested: Instant) -> Lease {
        let (t1, t2) = grant.timers;
        Lease {
            renews: requested.after_lifetime(t1),
            rebinds: requested.after_lifetime(t2),
            expires: requested.after_lifetime(grant.time),
            grant,
            server,
        }
    }

    /// Our address.
    pub fn address(&self) -> Ipv4Addr {
        self.grant.segment.network.address
    }
}

/// What can happen to the client.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// A packet to the DHCP client's port came in; the bytes begin at the Ethernet header. IPv4 and UDP have been checked.
    Dhcp(&'a [u8]),
    /// An ARP frame came in.
    Arp(&'a [u8]),
}

/// How a frame leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// By the uplink's port: a whole Ethernet frame.
    Port,
    /// By the routing table: an IPv4 packet.
    Routed,
}

/// A fact of the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Nobody has answered for some time.
    Silence {
        /// Questions so far.
        questions: u32,
    },
    /// The uplink has an address.
    Bound(Lease),
    /// The uplink has the address of the last run still.
    Kept(Lease),
    /// The lease was extended, perhaps with other contents.
    Renewed(Lease),
    /// The server says that the address is not ours.
    Refused {
        /// The address.
        address: Ipv4Addr,
        /// The server.
        server: Ipv4Addr,
    },
    /// Somebody else has the address that the server gave.
    Conflict {
        /// The address.
        address: Ipv4Addr,
        /// Who has it.
        mac: Mac,
    },
    /// The lease ended, and nobody had extended it.
    Expired {
        /// The address.
        address: Ipv4Addr,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Silence { questions } => {
                write!(f, "no DHCP server has answered {questions} questions; the uplink goes on asking")
            }
            Event::Bound(lease) => write!(
                f,
                "online with {} by way of {}, leased from {}",
                lease.grant.segment.network, lease.grant.segment.gateway, lease.server
            ),
            Event::Kept(lease) => write!(
                f,
                "goes on with {} by way of {}, as the last run had it; asking whether it is still ours",
                lease.grant.segment.network, lease.grant.segment.gateway
            ),
            Event::Renewed(lease) => {
                write!(f, "the lease of {} was extended by {}", lease.address(), lease.server)
            }
            Event::Refused { address, server } => {
                write!(
                    f,
                    "the DHCP server {server} says that {address} is not ours; asking for another address"
                )
            }
            Event::Conflict { address, mac } => write!(
                f,
                "the DHCP server gave {address}, which the station {mac} uses; it was declined, and another is asked for"
            ),
            Event::Expired { address } => {
                write!(
                    f,
                    "the lease of {address} has ended without an answer from any server; it is given up"
                )
            }
        }
    }
}

/// A question that is repeated until it is answered.
#[derive(Debug, Clone, Copy)]
struct Asking {
    xid: u32,
    /// When the first one was sent.
    since: Instant,
    /// How many were sent.
    sent: u32,
    next: Instant,
}

/// Where the client is (RFC 2131 §4.4).
#[derive(Debug)]
enum State {
    /// It begins at that time.
    Init { at: Instant },
    /// It asks for any address.
    Selecting(Asking),
    /// It has chosen an offer.
    Requesting { asking: Asking, address: Ipv4Addr, server: Ipv4Addr },
    /// It asks for the address of its last life.
    Rebooting { asking: Asking, address: Ipv4Addr },
    /// It has the address of its last life, or of before it was in doubt, and asks for it.
    Confirming { asking: Asking, lease: Lease },
    /// It looks whether somebody else has the address.
    Probing { lease: Lease, sent: u8, next: Instant },
    /// It has an address.
    Bound(Lease),
    /// It has an address, and asks for an extension of the lease since `requested`: the server before T2, any after.
    Extending { lease: Lease, xid: u32, requested: Instant, next: Instant },
}

/// What the status shows.
#[derive(Debug, Clone, Copy)]
pub struct Status<'a> {
    /// What it is doing, in a word.
    pub phase: &'static str,
    /// Since when.
    pub since: Instant,
    /// The lease, while it has one.
    pub lease: Option<&'a Lease>,
    /// Why the last address was lost or not got.
    pub last_failure: Option<&'a str>,
}

/// The DHCPv4 client of an uplink.
#[derive(Debug)]
pub struct Client {
    mac: Mac,
    hostname: String,
    max_size: u16,
    state: State,
    since: Instant,
    /// The address of the last lease, to be asked for again, and when that ends.
    last: Option<(Ipv4Addr, Instant)>,
    /// Time has passed that nobody has counted since the lease was given: when it ends is not known.
    uncounted: bool,
    /// Refusals since the last address.
    refusals: u32,
    last_failure: Option<String>,
    transmit: VecDeque<(Way, Vec<u8>)>,
    events: VecDeque<Event>,
}

impl Client {
    /// A client on a port with the address `mac` and IP packets of up to `mtu` octets, which calls itself `hostname`. It goes
    /// on at once with a lease that was kept.
    pub fn new(
        cx: &mut Cx<'_>,
        mac: Mac,
        mtu: u16,
        hostname: &str,
        remembered: Option<Remembered>,
    ) -> Client {
        let at = cx.now + within(cx, FIRST);
        let kept = remembered.as_ref().and_then(|last| last.kept.clone());
        let mut client = Client {
            mac,
            hostname: hostname.into(),
            max_size: mtu.max(576),
            state: State::Init { at },
            since: cx.now,
            last: remembered.map(|last| (last.address, last.expires)),
            uncounted: false,
            refusals: 0,
            last_failure: None,
            transmit: VecDeque::new(),
            events: VecDeque::new(),
        };
        if let Some(Kept { lease, .. }) = kept.filter(|kept| kept.mac == mac && kept.lease.expires > cx.now) {
            client.remember(&lease);
            client.tell(Event::Kept(lease.clone()));
            client.confirm(cx, lease);
        }
        client
    }

    /// What a server has said may hold no longer. A lease stays in use and is asked for at once; whatever else is under way
    /// begins anew.
    pub fn reconfirm(&mut self, cx: &mut Cx<'_>, doubt: Doubt) {
        let Some(mut lease) = self.lease().cloned() else {
            self.enter(cx, State::Init { at: cx.now });
            return self.handle_timeout(cx);
        };
        if doubt == Doubt::Clock {
            self.uncounted = true;
            (lease.renews, lease.rebinds) = (cx.now, cx.now);
        }
        self.confirm(cx, lease);
    }

    fn confirm(&mut self, cx: &mut Cx<'_>, lease: Lease) {
        let asking = Asking { next: cx.now + CONFIRM_RETRY, ..ask(cx, None) };
        self.enter(cx, State::Confirming { asking, lease });
        self.send_question();
    }

    /// Something came in. An error says why it was of no use.
    pub fn handle(&mut self, cx: &mut Cx<'_>, input: Input<'_>) -> Result<(), DropReason> {
        match input {
            Input::Dhcp(frame) => {
                let answer = Answer::parse(frame, self.mac).ok_or(DropReason::DhcpMalformed)?;
                self.answered(cx, answer)
            }
            Input::Arp(frame) => self.heard(cx, &arp::Packet::parse(frame)?),
        }
    }

    /// Asks, asks again, gives up: whatever is due.
    pub fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        // Each step may make the next one due; there are not more than these in a row.
        for _ in 0..4 {
            if self.poll_timeout().is_none_or(|due| due > cx.now) {
                return;
            }
            self.step(cx);
        }
    }

    /// When the client wants to be called next, if ever.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let due = match &self.state {
            State::Init { at } => *at,
            State::Selecting(asking) | State::Requesting { asking, .. } | State::Rebooting { asking, .. } => {
                asking.next
            }
            State::Confirming { asking, lease } => asking.next.min(lease.expires),
            State::Probing { lease, next, .. } => (*next).min(lease.expires),
            State::Bound(lease) => lease.renews,
            State::Extending { lease, next, .. } => (*next).min(lease.expires),
        };
        (due != Instant::FOREVER).then_some(due)
    }

    /// Writes the next frame or packet into `frame` and says how it goes.
    pub fn poll_transmit(&mut self, frame: &mut Frame) -> Option<Way> {
        let (way, bytes) = self.transmit.pop_front()?;
        frame.extend(&bytes).then_some(way)
    }

    /// The next fact.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The lease, while its address is in use.
    pub fn lease(&self) -> Option<&Lease> {
        match &self.state {
            State::Bound(lease) | State::Extending { lease, .. } | State::Confirming { lease, .. } => {
                Some(lease)
            }
            _ => None,
        }
    }

    /// What the state file should remember.
    pub fn remembered(&self) -> Option<Remembered> {
        let (address, expires) = self.last?;
        let kept = self.lease().map(|lease| Kept { mac: self.mac, lease: lease.clone() });
        Some(Remembered { address, expires, kept })
    }

    /// What the status shows.
    pub fn status(&self) -> Status<'_> {
        let phase = match &self.state {
            State::Init { .. } => "waiting",
            State::Selecting(_) => "selecting",
            State::Requesting { .. } => "requesting",
            State::Rebooting { .. } => "rebooting",
            State::Confirming { .. } => "confirming",
            State::Probing { .. } => "probing",
            State::Bound(_) => "up",
            State::Extending { lease, next, .. } if *next <= lease.rebinds => "renewing",
            State::Extending { .. } => "rebinding",
        };
        Status { phase, since: self.since, lease: self.lease(), last_failure: self.last_failure.as_deref() }
    }

    fn enter(&mut self, cx: &Cx<'_>, state: State) {
        self.state = state;
        self.since = cx.now;
    }

    /// What is due in this state.
    fn step(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now;
        match &mut self.state {
            State::Init { .. } => {
                let asking = ask(cx, None);
                match self.last.filter(|(_, expires)| *expires > now) {
                    Some((address, _)) => {
                        self.enter(cx, State::Rebooting { asking, address });
                    }
                    None => self.enter(cx, State::Selecting(asking)),
                }
                self.send_question();
            }
            State::Selecting(asking) => {
                *asking = ask(cx, Some(*asking));
                let questions = asking.sent;
                if questions == PATIENCE.saturating_add(1) {
                    self.fail(Event::Silence { questions: PATIENCE });
                }
                self.send_question();
            }
            State::Requesting { asking, .. } if asking.sent < REQUESTS => {
                *asking = ask(cx, Some(*asking));
                self.send_question();
            }
            State::Rebooting { asking, .. } if asking.sent < REBOOTS => {
                *asking = ask(cx, Some(*asking));
                self.send_question();
            }
            State::Requesting { .. } | State::Rebooting { .. } => {
                let asking = ask(cx, None);
                self.enter(cx, State::Selecting(asking));
                self.send_question();
            }
            State::Probing { lease, .. }
            | State::Extending { lease, .. }
            | State::Confirming { lease, .. }
                if lease.expires <= now =>
            {
                let address = lease.address();
                self.last = None;
                self.fail(Event::Expired { address });
                self.enter(cx, State::Init { at: now });
            }
            State::Confirming { asking, .. } if asking.sent < REBOOTS => {
                *asking = Asking { next: now + CONFIRM_RETRY, ..ask(cx, Some(*asking)) };
                self.send_question();
            }
            // Nobody has said otherwise, so the lease runs on (RFC 2131 §3.2).
            State::Confirming { lease, .. } => {
                let lease = lease.clone();
                self.enter(cx, State::Bound(lease));
            }
            State::Probing { lease, sent, next } if *sent < PROBES => {
                *sent = sent.saturating_add(1);
                let pause = if *sent < PROBES {
                    PROBE_MIN.saturating_add(within(cx, PROBE_SPREAD))
                } else {
                    ANNOUNCE_WAIT
                };
                *next = now + pause;
                let address = lease.address();
                self.send_probe(address);
            }
            State::Probing { lease, .. } => {
                let lease = lease.clone();
                self.refusals = 0;
                self.last_failure = None;
                self.remember(&lease);
                self.tell(Event::Bound(lease.clone()));
                self.enter(cx, State::Bound(lease));
            }
            State::Bound(lease) => {
                let lease = lease.clone();
                self.extend(cx, lease);
                self.since = now;
            }
            State::Extending { lease, .. } => {
                let lease = lease.clone();
                self.extend(cx, lease);
            }
        }
    }

    /// Asks for an extension, and sees to the next time: half of what is left, but not less than a minute (RFC 2131
    /// §4.4.5).
    fn extend(&mut self, cx: &mut Cx<'_>, lease: Lease) {
        let end = if cx.now < lease.rebinds { lease.rebinds } else { lease.expires };
        let half = end.since(cx.now).checked_div(2).unwrap_or_default();
        let pause = if self.uncounted { RENEW_RETRY } else { half.max(RENEW_RETRY) };
        let next = (cx.now + pause).min(end);
        self.state = State::Extending { lease, xid: cx.rng.next_u32(), requested: cx.now, next };
        self.send_question();
    }

    fn answered(&mut self, cx: &mut Cx<'_>, answer: Answer) -> Result<(), DropReason> {
        let unexpected = Err(DropReason::DhcpMalformed);
        let Answer { kind, xid, server, grant, .. } = answer;
        let given = |address: Ipv4Addr, grant: &Grant| grant.segment.network.address == address;
        match (&self.state, kind, grant) {
            (State::Selecting(asking), ServerMessage::Offer, Some(grant)) if asking.xid == xid => {
                // RFC 2131 §4.4.1: the request bears the id of the offer.
                let asking = Asking { xid, ..ask(cx, None) };
                let address = grant.segment.network.address;
                self.enter(cx, State::Requesting { asking, address, server });
                self.send_question();
            }
            (State::Requesting { asking, address, server: chosen }, ServerMessage::Ack, Some(grant))
                if asking.xid == xid && *chosen == server && given(*address, &grant) =>
            {
                let since = asking.since;
                self.probe(cx, Lease::new(grant, server, since));
            }
            (State::Rebooting { asking, address }, ServerMessage::Ack, Some(grant))
                if asking.xid == xid && given(*address, &grant) =>
            {
                let since = asking.since;
                self.probe(cx, Lease::new(grant, server, since));
            }
            (State::Extending { lease, xid: own, requested, .. }, ServerMessage::Ack, Some(grant))
                if *own == xid && given(lease.address(), &grant) =>
            {
                let lease = Lease::new(grant, server, *requested);
                self.remember(&lease);
                self.tell(Event::Renewed(lease.clone()));
                self.enter(cx, State::Bound(lease));
            }
            (State::Confirming { asking, lease }, ServerMessage::Ack, Some(grant))
                if asking.xid == xid && given(lease.address(), &grant) =>
            {
                let lease = Lease::new(grant, server, asking.since);
                self.remember(&lease);
                self.tell(Event::Renewed(lease.clone()));
                self.enter(cx, State::Bound(lease));
            }
            (State::Requesting { asking, address, server: chosen }, ServerMessage::Nak, _)
                if asking.xid == xid && *chosen == server =>
            {
                self.refused(cx, *address, server);
            }
            (State::Rebooting { asking, address }, ServerMessage::Nak, _) if asking.xid == xid => {
                self.refused(cx, *address, server);
            }
            (State::Confirming { asking, lease }, ServerMessage::Nak, _) if asking.xid == xid => {
                let address = lease.address();
                self.refused(cx, address, server);
            }
            (State::Extending { lease, xid: own, .. }, ServerMessage::Nak, _) if *own == xid => {
                let address = lease.address();
                self.refused(cx, address, server);
            }
            _ => return unexpected,
        }
        Ok(())
    }

    /// A server does not want us to have the address. The first time all begins anew at once.
    fn refused(&mut self, cx: &mut Cx<'_>, address: Ipv4Addr, server: Ipv4Addr) {
        let pause = match self.refusals {
            0 => Duration::ZERO,
            times => doubled(times.saturating_sub(1)),
        };
        self.refusals = self.refusals.saturating_add(1);
        self.last = None;
        self.fail(Event::Refused { address, server });
        self.enter(cx, State::Init { at: cx.now + pause });
        self.handle_timeout(cx);
    }

    fn probe(&mut self, cx: &mut Cx<'_>, lease: Lease) {
        let next = cx.now + within(cx, PROBE_WAIT);
        self.enter(cx, State::Probing { lease, sent: 0, next });
    }

    /// Somebody said something by ARP. It matters while we look whether an address is free (RFC 5227 §2.1.1).
    fn heard(&mut self, cx: &mut Cx<'_>, packet: &arp::Packet) -> Result<(), DropReason> {
        let State::Probing { lease, .. } = &self.state else { return Err(DropReason::NotListening) };
        let address = lease.address();
        let probes_it = packet.operation == arp::Operation::Request
            && packet.sender.is_unspecified()
            && packet.target == address;
        if packet.sender_mac == self.mac || !(packet.sender == address || probes_it) {
            return Err(DropReason::NotListening);
        }
        let decline = Question {
            kind: ClientMessage::Decline,
            xid: cx.rng.next_u32(),
            ciaddr: Ipv4Addr::UNSPECIFIED,
            requested: Some(address),
            server: Some(lease.server),
        };
        self.broadcast(Ipv4Addr::UNSPECIFIED, decline);
        self.last = None;
        self.fail(Event::Conflict { address, mac: packet.sender_mac });
        self.enter(cx, State::Init { at: cx.now + AFTER_CONFLICT });
        Ok(())
    }

    /// A server has just said that we have this.
    fn remember(&mut self, lease: &Lease) {
        self.uncounted = false;
        self.last = Some((lease.address(), lease.expires));
    }

    /// Sends the question of this state.
    fn send_question(&mut self) {
        let any = Ipv4Addr::UNSPECIFIED;
        let request =
            |xid| Question { kind: ClientMessage::Request, xid, ciaddr: any, requested: None, server: None };
        match &self.state {
            State::Selecting(Asking { xid, .. }) => {
                let requested = self.last.map(|(address, _)| address);
                let question = Question { kind: ClientMessage::Discover, requested, ..request(*xid) };
                self.broadcast(any, question);
            }
            State::Requesting { asking, address, server } => {
                let question =
                    Question { requested: Some(*address), server: Some(*server), ..request(asking.xid) };
                self.broadcast(any, question);
            }
            State::Rebooting { asking, address } => {
                self.broadcast(any, Question { requested: Some(*address), ..request(asking.xid) });
            }
            State::Confirming { asking, lease } => {
                self.broadcast(any, Question { requested: Some(lease.address()), ..request(asking.xid) });
            }
            State::Extending { lease, xid, requested, .. } => {
                let (ciaddr, server) = (lease.address(), lease.server);
                let question = Question { ciaddr, ..request(*xid) };
                if *requested >= lease.rebinds {
                    self.broadcast(ciaddr, question);
                } else {
                    let message = question.to_message(self.mac, &self.hostname, self.max_size);
                    let packet = wire::packet((ciaddr, CLIENT_PORT), (server, SERVER_PORT), &message);
                    self.send(Way::Routed, packet);
                }
            }
            State::Init { .. } | State::Probing { .. } | State::Bound(_) => {}
        }
    }

    fn broadcast(&mut self, source: Ipv4Addr, question: Question) {
        let message = question.to_message(self.mac, &self.hostname, self.max_size);
        let to = (Ipv4Addr::BROADCAST, SERVER_PORT);
        let packet = wire::packet((source, CLIENT_PORT), to, &message);
        let header = Header { destination: Mac::BROADCAST, source: self.mac, ethertype: ethertype::IPV4 };
        self.send(Way::Port, [&header.to_bytes()[..], &packet].concat());
    }

    fn send_probe(&mut self, address: Ipv4Addr) {
        let probe = arp::Packet {
            operation: arp::Operation::Request,
            sender_mac: self.mac,
            sender: Ipv4Addr::UNSPECIFIED,
            target_mac: Mac::default(),
            target: address,
        };
        let mut frame = Frame::with_capacity(256);
        if probe.emit(Mac::BROADCAST, &mut frame) {
            self.send(Way::Port, frame.bytes().to_vec());
        }
    }

    fn send(&mut self, way: Way, bytes: Vec<u8>) {
        if self.transmit.len() < QUEUE {
            self.transmit.push_back((way, bytes));
        }
    }

    /// Tells what went wrong, and keeps it for the status.
    fn fail(&mut self, event: Event) {
        self.last_failure = Some(event.to_string());
        self.tell(event);
    }

    fn tell(&mut self, event: Event) {
        if self.events.len() < EVENTS {
            self.events.push_back(event);
        }
    }
}

/// The next question after `before`: the first of a new exchange, or a repetition.
fn ask(cx: &mut Cx<'_>, before: Option<Asking>) -> Asking {
    let (xid, since, sent) = match before {
        Some(asking) => (asking.xid, asking.since, asking.sent),
        None => (cx.rng.next_u32(), cx.now, 0),
    };
    let spread = within(cx, Duration::from_secs(2));
    let pause = doubled(sent).saturating_sub(Duration::from_secs(1)).saturating_add(spread);
    Asking { xid, since, sent: sent.saturating_add(1), next: cx.now + pause }
}

/// The nominal time after the question number `before`.
fn doubled(before: u32) -> Duration {
    RETRY.saturating_mul(1u32.checked_shl(before.min(16)).unwrap_or(u32::MAX)).min(LONGEST)
}

/// A time of up to `span`.
fn within(cx: &mut Cx<'_>, span: Duration) -> Duration {
    let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(cx.rng.below(nanos.saturating_add(1)))
}
