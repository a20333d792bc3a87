//! Handshakes of one interface: asks for keys, answers those who ask, and says what came of it.
//!
//! How it works:
//!
//! 1. Nothing is looked at that does not know our public key (MAC1).
//! 2. A message costs us agreements of keys, so it must be let in first. One with a valid MAC2 proves that its sender is where
//!    it says: each such address has a budget. Those without share a small one, by address and overall; beyond that they get a
//!    cookie and nothing else. So a flood from false addresses takes from nobody but the like. An address at which a peer was
//!    lately has a budget that no flood touches.
//! 3. An initiation is opened, its time stamp must be later than the peer's last one, and it is answered: the keypair is told
//!    at once ([`Event::Keys`]), and is used when the peer has used it. Our own attempt, if any, rests then.
//! 4. [`Input::Wanted`] begins an attempt: an initiation every [`REKEY_TIMEOUT`] and a bit, until a response comes or
//!    [`REKEY_ATTEMPT_TIME`] is over. Only the last initiation can be answered.
//! 5. Our indices are random, and none is drawn again while a keypair might still be known by it.
//!
//! Memory is bounded by the number of peers, [`QUEUE`] messages and [`EVENTS`] facts; a handshake for which there is no room is
//! refused before anything changes.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};

use super::clock::Stamps;
use super::cookie::{Guard, Signer};
use super::handshake::{Identity, Initiating, Remote, Responding};
use super::message::{CookieReply, Initiation, Macs, Message, Response, STAMP};
use super::{
    Keypair, PrivateKey, PublicKey, REKEY_ATTEMPT_TIME, REKEY_JITTER, REKEY_TIMEOUT, WIPE_AFTER_TIME,
};
use crate::forward::limit::{Limiter, Rate};
use crate::frame::Frame;
use crate::ledger::DropReason;
use crate::machine::Cx;
use crate::rng::Rng;
use crate::settings::VpnPeer;
use crate::table::{Map, Seed};
use crate::time::{Duration, Instant};

/// Most messages waiting to be sent.
pub const QUEUE: usize = 1024;
/// Most facts waiting to be told.
pub const EVENTS: usize = 1024;
/// Handshakes that one address may ask for (IPv6: one network of 64 bits).
pub const PER_SOURCE: Rate = Rate { per_second: 20, burst: 5 };
/// Handshakes of all who did not prove their address. Beyond that we are under load, and answer with cookies.
pub const UNPROVEN: Rate = Rate { per_second: 200, burst: 100 };
/// Handshakes of all who did.
pub const PROVEN: Rate = Rate { per_second: 1000, burst: 200 };

/// Least time between two initiations of one peer.
const PEER_INTERVAL: Duration = Duration::from_millis(20);
/// Time for which an index of ours is not drawn again: a keypair lives as long, and the handshake before it.
const RESERVED: Duration = WIPE_AFTER_TIME.saturating_add(REKEY_ATTEMPT_TIME);
/// Most indices reserved for one peer. One who asks for keys more often risks its own.
const INDICES: usize = 64;
/// Draws of an index before the attempt is put off; each hits one that is in use with a chance of 2⁻¹⁶ at most.
const DRAWS: usize = 8;

/// What can happen to the machine.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// A message of the handshake came in: a UDP payload of type 1, 2 or 3.
    Message {
        /// Where it came from.
        from: SocketAddr,
        /// All of it.
        datagram: &'a [u8],
    },
    /// Keys are wanted for a peer. While an attempt goes on, another wish changes nothing.
    Wanted {
        /// The peer.
        peer: u16,
    },
}

/// Where a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// To the endpoint of a peer, wherever that is.
    Peer(u16),
    /// There: it answers what came from there.
    Address(SocketAddr),
}

/// A fact of the machine.
#[derive(Debug)]
pub enum Event {
    /// A handshake has led to keys: for the peer's `Tunnel`.
    Keys {
        /// The peer.
        peer: u16,
        /// The keys.
        keypair: Keypair,
        /// Where the peer's message came from.
        from: SocketAddr,
    },
    /// The peer did not answer, and is asked again.
    Retrying {
        /// The peer.
        peer: u16,
        /// How many initiations it got in this attempt, with this one.
        tries: u32,
    },
    /// The attempt has failed. What waits for keys waits in vain.
    GaveUp {
        /// The peer.
        peer: u16,
        /// Why.
        failure: Failure,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Keys { keypair, from, .. } if keypair.initiator() => {
                write!(f, "the peer at {from} agreed to new keys")
            }
            Event::Keys { from, .. } => write!(f, "the peer at {from} asked for new keys"),
            Event::Retrying { tries, .. } => write!(f, "the peer does not answer; this is handshake {tries}"),
            Event::GaveUp { failure, .. } => failure.fmt(f),
        }
    }
}

/// Why a handshake with a peer has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Nothing came back.
    Silence {
        /// Initiations sent.
        tries: u32,
    },
    /// The response did not fit.
    Response,
    /// The initiation was not later than the last one.
    Replay,
    /// The initiation came too soon after the last one.
    Hurry,
    /// The initiation bears the peer's public key and was not made with its private one.
    Forged,
    /// The peer's public key is one that no honest peer has.
    UnusableKey,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Silence { tries: 1 } => f.write_str("the peer did not answer a handshake"),
            Failure::Silence { tries } => write!(
                f,
                "the peer did not answer {tries} handshakes: it is not there, does not know our public key, or a firewall is between us"
            ),
            Failure::Response => f.write_str(
                "the peer's response cannot be opened: the two sides have different preshared keys, or somebody forged it",
            ),
            Failure::Replay => f.write_str(
                "the peer's handshake bears a time that is not later than that of its last one: it came twice, or the peer's clock was set back",
            ),
            Failure::Hurry => f.write_str("the peer asks for keys again and again within milliseconds"),
            Failure::Forged => {
                f.write_str("somebody who does not have the peer's private key sent a handshake in its name")
            }
            Failure::UnusableKey => f.write_str("the peer's public key is not one that can be used; it has a typing error"),
        }
    }
}

/// How the handshakes with a peer stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HandshakeStatus {
    /// When the last one led to keys.
    pub last: Option<Instant>,
    /// Initiations sent in the attempt that goes on. `None` when none does.
    pub trying: Option<u32>,
    /// Cookies that the peer has sent us, because it was under load.
    pub cookies: u64,
    /// When one last failed, and why. A success after it makes it history.
    pub failure: Option<(Instant, Failure)>,
}

/// Somebody who knows us, and whom we do not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stranger {
    /// When the last one asked for keys.
    pub at: Instant,
    /// From where.
    pub from: SocketAddr,
    /// Its public key, by its own word.
    pub public_key: PublicKey,
}

struct Attempt {
    until: Instant,
    next: Instant,
    tries: u32,
}

struct Peer {
    remote: Remote,
    signer: Signer,
    attempt: Option<Attempt>,
    initiating: Option<Initiating>,
    /// When our last initiation was sent.
    sent: Option<Instant>,
    /// The stamp of the peer's last initiation, and when that came.
    heard: Option<([u8; STAMP], Instant)>,
    /// Where its last good message came from.
    address: Option<IpAddr>,
    /// Our indices, and until when none may be drawn again.
    indices: VecDeque<(Instant, u32)>,
    status: HandshakeStatus,
}

/// The handshakes of one interface.
pub struct Negotiator {
    identity: Identity,
    peers: Vec<Peer>,
    by_key: Map<PublicKey, u16>,
    /// Whose handshake or keypair an index of ours is.
    by_index: Map<u32, u16>,
    guard: Guard,
    unproven: Limiter,
    proven: Limiter,
    known: Limiter,
    stamps: Stamps,
    stranger: Option<Stranger>,
    transmit: VecDeque<(Destination, Vec<u8>)>,
    events: VecDeque<Event>,
    due: Option<Instant>,
}

impl Negotiator {
    /// The machine of an interface with this key. A peer is known by its place in `peers`. Nobody is asked yet.
    pub fn new(cx: &mut Cx<'_>, private: &PrivateKey, peers: &[VpnPeer]) -> Self {
        let identity = Identity::new(private);
        let mut by_key = Map::with_hasher(Seed::draw(cx.rng));
        by_key.extend(peers.iter().map(|peer| peer.public_key).zip(0..=u16::MAX));
        let peers = peers.iter().take(usize::from(u16::MAX) + 1).map(|peer| Peer {
            remote: Remote::new(&identity, peer.public_key, peer.preshared_key.as_ref()),
            signer: Signer::new(&peer.public_key),
            attempt: None,
            initiating: None,
            sent: None,
            heard: None,
            address: None,
            indices: VecDeque::new(),
            status: HandshakeStatus::default(),
        });
        Negotiator {
            peers: peers.collect(),
            by_key,
            by_index: Map::with_hasher(Seed::draw(cx.rng)),
            guard: Guard::new(&identity.public),
            identity,
            unproven: Limiter::new(PER_SOURCE, UNPROVEN, Seed::draw(cx.rng)),
            proven: Limiter::new(PER_SOURCE, PROVEN, Seed::draw(cx.rng)),
            known: Limiter::new(PER_SOURCE, PROVEN, Seed::draw(cx.rng)),
            stamps: Stamps::default(),
            stranger: None,
            transmit: VecDeque::new(),
            events: VecDeque::new(),
            due: None,
        }
    }

    /// Our public key.
    pub fn public_key(&self) -> PublicKey {
        self.identity.public
    }

    /// It is `unix` since 1970 now. May be told again, also when the clock was set back.
    pub fn set_clock(&mut self, now: Instant, unix: Duration) {
        self.stamps.set_clock(now, unix);
    }

    /// No time stamp of ours may be earlier than `stamp`: the ceiling of the last run.
    pub fn set_floor(&mut self, stamp: Duration) {
        self.stamps.set_floor(stamp);
    }

    /// A time above all our stamps, to be stored for the next run whenever it changes. It is a minute ahead of them at least,
    /// and a multiple of ten.
    pub fn ceiling(&self) -> Duration {
        self.stamps.ceiling()
    }

    /// How the handshakes with `peer` stand.
    pub fn status(&self, peer: u16) -> Option<HandshakeStatus> {
        let state = self.peers.get(usize::from(peer))?;
        Some(HandshakeStatus { trying: state.attempt.as_ref().map(|attempt| attempt.tries), ..state.status })
    }

    /// The last one who asked for keys and is no peer of ours.
    pub fn stranger(&self) -> Option<Stranger> {
        self.stranger
    }

    /// Something happened. An error says why a message was of no use.
    pub fn handle(&mut self, cx: &mut Cx<'_>, input: Input<'_>) -> Result<(), DropReason> {
        let outcome = match input {
            Input::Message { from, datagram } => self.receive(cx, from, datagram),
            Input::Wanted { peer } => {
                self.want(cx, peer);
                Ok(())
            }
        };
        self.due =
            self.peers.iter().filter_map(|peer| peer.attempt.as_ref()).map(|attempt| attempt.next).min();
        outcome
    }

    /// Time has passed that nobody has counted: what we have asked for, peers do not await any more. Attempts begin anew, at
    /// once, and a wish that comes now does not have to wait.
    pub fn restart(&mut self, cx: &mut Cx<'_>) {
        for peer in &mut self.peers {
            (peer.sent, peer.initiating) = (None, None);
            if let Some(attempt) = &mut peer.attempt {
                *attempt = Attempt { until: cx.now + REKEY_ATTEMPT_TIME, next: cx.now, tries: 0 };
                self.due = Some(cx.now);
            }
        }
        self.handle_timeout(cx);
    }

    /// Asks again, or gives up: whatever is due.
    pub fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        if self.due.is_none_or(|due| cx.now < due) {
            return;
        }
        for peer in 0..=u16::MAX {
            let Some(state) = self.peers.get_mut(usize::from(peer)) else { break };
            let Some(attempt) = state.attempt.as_ref().filter(|attempt| attempt.next <= cx.now) else {
                continue;
            };
            if attempt.until <= cx.now {
                let failure = Failure::Silence { tries: attempt.tries };
                self.give_up(cx.now, peer, failure);
            } else {
                self.initiate(cx, peer);
            }
        }
        self.due =
            self.peers.iter().filter_map(|peer| peer.attempt.as_ref()).map(|attempt| attempt.next).min();
    }

    /// When the machine wants to be called next, if ever.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// Writes the next message, a UDP payload, into the empty `frame` and says where it goes.
    pub fn poll_transmit(&mut self, frame: &mut Frame) -> Option<Destination> {
        let (destination, message) = self.transmit.pop_front()?;
        frame.extend(&message).then_some(destination)
    }

    /// The next fact.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn receive(&mut self, cx: &mut Cx<'_>, from: SocketAddr, datagram: &[u8]) -> Result<(), DropReason> {
        match Message::parse(datagram)? {
            Message::Initiation(initiation) => {
                self.check_sender(&initiation.macs)?;
                self.admit(cx, from, initiation.sender, &initiation.macs)?;
                self.answer(cx, from, &initiation)
            }
            Message::Response(response) => {
                self.check_sender(&response.macs)?;
                let own = self.peer_by_index(response.receiver).and_then(|peer| peer.initiating.as_ref());
                if own.is_none_or(|own| own.index != response.receiver) {
                    return Err(DropReason::WireguardUnknownIndex);
                }
                self.admit(cx, from, response.sender, &response.macs)?;
                self.finish(cx, from, &response)
            }
            Message::CookieReply(reply) => self.take_cookie(cx.now, &reply),
        }
    }

    fn check_sender(&self, macs: &Macs<'_>) -> Result<(), DropReason> {
        if self.guard.knows_us(macs) { Ok(()) } else { Err(DropReason::WireguardMac) }
    }

    /// Lets a message in whose sender has budget left. Others may get a cookie.
    fn admit(
        &mut self,
        cx: &mut Cx<'_>,
        from: SocketAddr,
        sender: u32,
        macs: &Macs<'_>,
    ) -> Result<(), DropReason> {
        if self.transmit.len() >= QUEUE || self.events.len() >= EVENTS {
            return Err(DropReason::WireguardLimited);
        }
        let address = from.ip();
        if self.guard.is_at(cx, macs, from) {
            let is_known = self.peers.iter().any(|peer| peer.address == Some(address));
            let limiter = if is_known { &mut self.known } else { &mut self.proven };
            return if limiter.allow(cx.now, address) { Ok(()) } else { Err(DropReason::WireguardLimited) };
        }
        if self.unproven.allow(cx.now, address) {
            return Ok(());
        }
        if let Some(reply) = self.guard.reply(cx, sender, macs, from) {
            self.transmit.push_back((Destination::Address(from), reply.to_vec()));
        }
        Err(DropReason::WireguardLimited)
    }

    /// Answers a peer that asks for keys.
    fn answer(
        &mut self,
        cx: &mut Cx<'_>,
        from: SocketAddr,
        initiation: &Initiation<'_>,
    ) -> Result<(), DropReason> {
        let refused = DropReason::WireguardHandshake;
        let (public_key, mut responding) = Responding::begin(&self.identity, initiation).ok_or(refused)?;
        let Some(&number) = self.by_key.get(&public_key) else {
            self.stranger = Some(Stranger { at: cx.now, from, public_key });
            return Err(refused);
        };
        let peer = self.peers.get_mut(usize::from(number)).ok_or(refused)?;
        let Some(stamp) = responding.stamp(&peer.remote, initiation) else {
            return peer.fail(cx.now, Failure::Forged, refused);
        };
        if let Some((last, at)) = peer.heard {
            if stamp <= last {
                return peer.fail(cx.now, Failure::Replay, refused);
            }
            if cx.now < at + PEER_INTERVAL {
                return peer.fail(cx.now, Failure::Hurry, DropReason::WireguardLimited);
            }
        }
        let index = peer.draw_index(cx, &mut self.by_index, number).ok_or(DropReason::WireguardLimited)?;
        let (mut response, keypair) = responding.reply(cx, &peer.remote, index).ok_or(refused)?;
        peer.signer.sign(cx.now, index, &mut response);
        peer.heard = Some((stamp, cx.now));
        // The peer is there, and goes on until it has keys.
        peer.attempt = None;
        peer.succeed(cx.now, from);
        self.events.push_back(Event::Keys { peer: number, keypair, from });
        self.transmit.push_back((Destination::Address(from), response.to_vec()));
        Ok(())
    }

    /// A peer agrees to keys.
    fn finish(
        &mut self,
        cx: &mut Cx<'_>,
        from: SocketAddr,
        response: &Response<'_>,
    ) -> Result<(), DropReason> {
        let unknown = DropReason::WireguardUnknownIndex;
        let number = *self.by_index.get(&response.receiver).ok_or(unknown)?;
        let peer = self.peers.get_mut(usize::from(number)).ok_or(unknown)?;
        let initiating = peer.initiating.as_ref().ok_or(unknown)?;
        let Some(keypair) = initiating.finish(cx, &self.identity, &peer.remote, response) else {
            return peer.fail(cx.now, Failure::Response, DropReason::WireguardHandshake);
        };
        (peer.attempt, peer.initiating) = (None, None);
        peer.succeed(cx.now, from);
        self.events.push_back(Event::Keys { peer: number, keypair, from });
        Ok(())
    }

    fn take_cookie(&mut self, now: Instant, reply: &CookieReply<'_>) -> Result<(), DropReason> {
        let peer = self.peer_by_index(reply.receiver).ok_or(DropReason::WireguardUnknownIndex)?;
        if !peer.signer.awaits(reply.receiver) {
            return Err(DropReason::WireguardUnknownIndex);
        }
        if !peer.signer.learn(now, reply) {
            return Err(DropReason::WireguardHandshake);
        }
        peer.status.cookies = peer.status.cookies.saturating_add(1);
        Ok(())
    }

    fn peer_by_index(&mut self, index: u32) -> Option<&mut Peer> {
        let number = *self.by_index.get(&index)?;
        self.peers.get_mut(usize::from(number))
    }

    fn want(&mut self, cx: &mut Cx<'_>, peer: u16) {
        let Some(state) = self.peers.get_mut(usize::from(peer)) else { return };
        if state.attempt.is_some() {
            return;
        }
        let rested = state.sent.map_or(cx.now, |sent| cx.now.max(sent + REKEY_TIMEOUT));
        state.attempt = Some(Attempt { until: rested + REKEY_ATTEMPT_TIME, next: rested, tries: 0 });
        if rested <= cx.now {
            self.initiate(cx, peer);
        }
    }

    /// Sends the next initiation of an attempt.
    fn initiate(&mut self, cx: &mut Cx<'_>, number: u16) {
        let Some(peer) = self.peers.get_mut(usize::from(number)) else { return };
        let Some(attempt) = &mut peer.attempt else { return };
        let jitter = Duration::from_millis(cx.rng.below(REKEY_JITTER.as_millis() as u64));
        attempt.next = attempt.until.min(cx.now + REKEY_TIMEOUT + jitter);
        if self.transmit.len() >= QUEUE {
            return;
        }
        attempt.tries = attempt.tries.saturating_add(1);
        let tries = attempt.tries;
        let Some(index) = peer.draw_index(cx, &mut self.by_index, number) else { return };
        let stamp = self.stamps.next(cx.now);
        let Some((initiating, mut message)) =
            Initiating::begin(cx.rng, &self.identity, &peer.remote, index, &stamp)
        else {
            return self.give_up(cx.now, number, Failure::UnusableKey);
        };
        peer.signer.sign(cx.now, index, &mut message);
        peer.sent = Some(cx.now);
        peer.initiating = Some(initiating);
        self.transmit.push_back((Destination::Peer(number), message.to_vec()));
        if tries > 1 && self.events.len() < EVENTS {
            self.events.push_back(Event::Retrying { peer: number, tries });
        }
    }

    fn give_up(&mut self, now: Instant, number: u16, failure: Failure) {
        let Some(peer) = self.peers.get_mut(usize::from(number)) else { return };
        (peer.attempt, peer.initiating) = (None, None);
        // A response that did not fit says more than the silence after it.
        let told = match peer.status.failure {
            Some((at, Failure::Response)) if now.since(at) < REKEY_ATTEMPT_TIME => Failure::Response,
            _ => failure,
        };
        peer.status.failure = Some((now, told));
        if self.events.len() < EVENTS {
            self.events.push_back(Event::GaveUp { peer: number, failure: told });
        }
    }
}

impl Peer {
    fn succeed(&mut self, now: Instant, from: SocketAddr) {
        self.address = Some(from.ip());
        self.status.last = Some(now);
    }

    fn fail(&mut self, now: Instant, failure: Failure, reason: DropReason) -> Result<(), DropReason> {
        self.status.failure = Some((now, failure));
        Err(reason)
    }

    /// An index that nobody uses, reserved for this peer. `None` when chance did not find one.
    fn draw_index(&mut self, cx: &mut Cx<'_>, by_index: &mut Map<u32, u16>, number: u16) -> Option<u32> {
        let is_over = |&(until, _): &(Instant, u32)| until <= cx.now;
        while self.indices.len() >= INDICES || self.indices.front().is_some_and(is_over) {
            let (_, index) = self.indices.pop_front()?;
            by_index.remove(&index);
        }
        let rng: &mut dyn Rng = cx.rng;
        let index = (0..DRAWS).map(|_| rng.next_u32()).find(|index| !by_index.contains_key(index))?;
        by_index.insert(index, number);
        self.indices.push_back((cx.now + RESERVED, index));
        Some(index)
    }
}

impl fmt::Debug for Negotiator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Negotiator({:?}, {} peers)", self.identity.public, self.peers.len())
    }
}
