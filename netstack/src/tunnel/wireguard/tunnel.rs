//! Data of one interface: what is sealed for which peer, what a peer may say, and when keys and keepalives are due.
//!
//! How it works:
//!
//! 1. A peer has up to three keypairs. We send with `current`. `previous` still opens what was under way when `current` came.
//!    `next` comes of a handshake that the peer asked for: we send with it once the peer has, since only then it is sure that
//!    our response arrived (whitepaper §5.1).
//! 2. [`Tunnel::seal`] says when there are no keys; the caller then lets the packet wait with [`Tunnel::hold`]. As soon as
//!    there are, what waits comes out of [`Tunnel::poll_ready`], to be sealed.
//! 3. [`Tunnel::open`] finds the keypair by the index in the message, opens it, follows the peer to where the message came
//!    from, cuts the padding, and looks the source up among the networks of *all* peers: the longest must be this peer's.
//! 4. [`Tunnel::poll_wanted`] tells whose keys are wanted, at most once in [`REKEY_TIMEOUT`]: when a packet has none, when
//!    those that we asked for are older than [`REKEY_AFTER_TIME`] and used, shortly before they end when only the peer
//!    talks, and when data was sent and nothing came back for 15 s.
//! 5. Keepalives come out of [`Tunnel::poll_transmit`]: 10 s after data that nothing answered, as often as configured, and
//!    when keys that we asked for are new and nothing waits, so that the peer may use them.
//! 6. Keys end by age ([`REJECT_AFTER_TIME`]) and by count, and all of a peer's are wiped [`WIPE_AFTER_TIME`] after its last
//!    handshake.
//!
//! 7. Time that nobody has counted makes every key one of unknown age ([`Tunnel::doubt`]): none seals any more, those that were
//!    in use are asked for anew at once, and what comes meanwhile waits.
//!
//! Deadlines are looked at in one go: `due` is never later than the earliest of them, and may be earlier.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::hash::BuildHasher;
use core::net::{IpAddr, SocketAddr};

use super::message::DataHeader;
use super::{
    AllowedIps, KEEPALIVE_TIMEOUT, Keypair, REJECT_AFTER_MESSAGES, REJECT_AFTER_TIME, REKEY_AFTER_MESSAGES,
    REKEY_AFTER_TIME, REKEY_JITTER, REKEY_TIMEOUT, WIPE_AFTER_TIME,
};
use crate::forward::Usage;
use crate::frame::Frame;
use crate::ledger::DropReason;
use crate::settings::VpnPeer;
use crate::table::{Map, Seed};
use crate::time::{Duration, Instant};
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::{self, Ipv6};

/// Most packets that wait for the keys of one peer.
pub const WAITING: usize = 64;
/// Most packets that wait for keys of all peers of an interface.
pub const WAITING_OVERALL: usize = 1024;

/// Time after data was sent and nothing at all came back that the peer counts as gone (whitepaper §6.5).
const NEW_HANDSHAKE: Duration = KEEPALIVE_TIMEOUT.saturating_add(REKEY_TIMEOUT);
/// Age at which the initiator asks for new keys when it only receives (whitepaper §6.2).
const LAST_MINUTE: Duration = REJECT_AFTER_TIME.saturating_sub(NEW_HANDSHAKE);

/// What became of a packet that was to be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seal {
    /// It is a data message now, for the peer's endpoint.
    Ready,
    /// There are no keys; they are wanted. The packet is unchanged.
    NoKeys,
    /// It cannot be sealed, and is unchanged: the frame has no room, or leaves work for a device.
    Failed(DropReason),
}

/// A data message that was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// Whose it was.
    pub peer: u16,
    /// It carried no packet.
    pub keepalive: bool,
}

/// How a peer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PeerStatus {
    /// Where it is reached.
    pub endpoint: Option<SocketAddr>,
    /// When the keys that we send with were agreed upon. `None` when there are none, or they are too old.
    pub keys_since: Option<Instant>,
    /// Packets inside, and when any authentic message of the peer's came.
    pub usage: Usage,
    /// When any message was last sealed for it.
    pub last_sent: Option<Instant>,
    /// Messages of the peer's that did not arrive: gaps in its counters.
    pub lost: u64,
    /// Packets that wait for keys.
    pub waiting: usize,
}

#[derive(Debug, Default)]
struct Peer {
    endpoint: Option<SocketAddr>,
    /// Longest silence towards it.
    interval: Option<Duration>,
    current: Option<Keypair>,
    previous: Option<Keypair>,
    next: Option<Keypair>,
    usage: Usage,
    last_sent: Option<Instant>,
    /// Messages that keypairs of the past have missed.
    lost: u64,
    waiting: VecDeque<Frame>,
    /// When keys were last wanted.
    asked: Option<Instant>,
    /// Keys were wanted because the current ones come to their end.
    last_minute: bool,
    /// When data that came is answered by a keepalive.
    answer: Option<Instant>,
    /// When data that was sent will have been unanswered for too long.
    unanswered: Option<Instant>,
    /// When silence will have lasted as long as it may.
    silent: Option<Instant>,
    /// When every key is wiped.
    wipe: Option<Instant>,
}

/// The data of one interface.
#[derive(Debug)]
pub struct Tunnel {
    peers: Vec<Peer>,
    allowed: AllowedIps,
    /// Whose keypair an index of ours is.
    indices: Map<u32, u16>,
    seed: Seed,
    wanted: VecDeque<u16>,
    keepalives: VecDeque<(Instant, u16)>,
    /// Packets that have waited, and can go.
    ready: VecDeque<(u16, Frame)>,
    held: usize,
    due: Instant,
    /// The age of keys that were agreed upon before is not known.
    doubted: Option<Instant>,
}

impl Tunnel {
    /// An interface without keys. A peer is known by its place in `peers`.
    pub fn new(peers: &[VpnPeer], seed: Seed) -> Self {
        let numbered = || (0..=u16::MAX).zip(peers);
        let networks = numbered()
            .flat_map(|(number, peer)| peer.allowed_ips.iter().map(move |&network| (network, number)));
        Tunnel {
            allowed: AllowedIps::new(networks),
            peers: numbered().map(|(_, peer)| Peer { interval: peer.keepalive, ..Peer::default() }).collect(),
            indices: Map::with_hasher(seed.clone()),
            seed,
            wanted: VecDeque::new(),
            keepalives: VecDeque::new(),
            ready: VecDeque::new(),
            held: 0,
            due: Instant::FOREVER,
            doubted: None,
        }
    }

    /// The peer that a packet to `destination` goes to.
    #[inline]
    pub fn peer_of(&self, destination: IpAddr) -> Option<u16> {
        self.allowed.peer_of(destination)
    }

    /// Where `peer` is reached.
    pub fn endpoint(&self, peer: u16) -> Option<SocketAddr> {
        self.peer(peer)?.endpoint
    }

    /// `peer` is reached at `endpoint`, by configuration. What it says itself from elsewhere later counts for more.
    pub fn set_endpoint(&mut self, peer: u16, endpoint: SocketAddr) {
        let Some(known) = self.peers.get_mut(usize::from(peer)) else { return };
        let first = known.endpoint.replace(endpoint).is_none();
        if first && known.interval.is_some() {
            // A peer that must not think us silent is called at once.
            known.silent = Some(Instant::ZERO);
            self.due = Instant::ZERO;
        }
    }

    /// Time has passed that nobody has counted. Nothing is sealed with a key from before: it may be older than
    /// [`REJECT_AFTER_TIME`]. Keys are wanted for each peer that talked with us lately or must not think us silent. What the
    /// others have under way is opened for a moment still.
    pub fn doubt(&mut self, now: Instant) {
        self.doubted = Some(now);
        let last = now + NEW_HANDSHAKE;
        for peer in 0..self.peers.len() as u16 {
            let Some(state) = self.peers.get_mut(usize::from(peer)) else { break };
            let talked = state.current.as_ref().is_some_and(|keypair| age(keypair, now) < REJECT_AFTER_TIME);
            let must_talk = state.interval.is_some() && state.endpoint.is_some();
            if let Some(wipe) = &mut state.wipe {
                *wipe = last.min(*wipe);
                self.due = self.due.min(*wipe);
            }
            (state.asked, state.last_minute, state.unanswered) = (None, false, None);
            if talked || must_talk || !state.waiting.is_empty() {
                self.ask(now, peer);
            }
        }
    }

    /// We are somewhere else now: `peer` is told at once, if there are keys, so that it does not go on sending to where we
    /// were.
    pub fn announce(&mut self, now: Instant, peer: u16) {
        let current = self.peer(peer).and_then(|state| state.current.as_ref());
        if current.is_some_and(|keypair| is_usable(keypair, now, self.doubted)) {
            self.keepalives.push_back((now, peer));
        }
    }

    /// Takes the keys of a completed handshake; `from` is where the peer's message came from.
    ///
    /// Those that we asked for are used at once: what waits is ready, or a keepalive tells the peer. Those that the peer
    /// asked for are used as soon as it has used them.
    pub fn install(&mut self, now: Instant, peer: u16, keypair: Keypair, from: Option<SocketAddr>) {
        let index = keypair.local_index();
        let initiator = keypair.initiator();
        let Some(state) = self.peers.get_mut(usize::from(peer)) else { return };
        let retired = if initiator {
            let (older, oldest) = match state.next.take() {
                Some(next) => (Some(next), [state.previous.take(), state.current.take()]),
                None => (state.current.take(), [state.previous.take(), None]),
            };
            state.previous = older;
            state.current = Some(keypair);
            state.asked = None;
            state.last_minute = false;
            oldest
        } else {
            // Without confirmation only `current` is sure to be known to the peer.
            let oldest = [state.previous.take(), state.next.replace(keypair)];
            state.asked = Some(now);
            oldest
        };
        retired.into_iter().flatten().for_each(|keypair| state.retire(&mut self.indices, peer, &keypair));
        self.indices.insert(index, peer);
        state.endpoint = from.or(state.endpoint);
        state.unanswered = None;
        let wipe = now + WIPE_AFTER_TIME;
        state.wipe = Some(wipe);
        self.due = self.due.min(wipe).min(state.pass(now));
        if initiator && !self.release(peer) {
            self.keepalives.push_back((now, peer));
        }
    }

    /// Makes the packet in `frame` a data message for `peer`, in place ([`Keypair::seal`]). An empty one is a keepalive.
    pub fn seal(&mut self, now: Instant, peer: u16, frame: &mut Frame, pad_to: usize) -> Seal {
        let Some(state) = self.peers.get_mut(usize::from(peer)) else { return Seal::NoKeys };
        let doubted = self.doubted;
        let Some(keypair) = state.current.as_mut().filter(|keypair| is_usable(keypair, now, doubted)) else {
            self.ask(now, peer);
            return Seal::NoKeys;
        };
        let len = frame.len();
        if let Err(reason) = keypair.seal(frame, pad_to) {
            return Seal::Failed(reason);
        }
        let old = keypair.initiator() && age(keypair, now) >= REKEY_AFTER_TIME;
        let worn = keypair.sealed() > REKEY_AFTER_MESSAGES;
        state.last_sent = Some(now);
        state.answer = None;
        let mut due = state.pass(now);
        if len > 0 {
            state.usage.tx_packets = state.usage.tx_packets.wrapping_add(1);
            state.usage.tx_octets = state.usage.tx_octets.wrapping_add(len as u64);
            let seed = &self.seed;
            due = due
                .min(*state.unanswered.get_or_insert_with(|| now + NEW_HANDSHAKE + jitter(seed, now, peer)));
        }
        self.due = self.due.min(due);
        if old || worn {
            self.ask(now, peer);
        }
        Seal::Ready
    }

    /// Lets a packet for which there were no keys wait. Returns one that has no place any more: the peer's oldest, or this
    /// one when too many wait for other peers.
    pub fn hold(&mut self, peer: u16, frame: Frame) -> Option<Frame> {
        let Some(state) = self.peers.get_mut(usize::from(peer)) else { return Some(frame) };
        let full = state.waiting.len() >= WAITING || self.held >= WAITING_OVERALL;
        let displaced = if full { state.waiting.pop_front() } else { None };
        match (full, displaced) {
            (true, None) => return Some(frame),
            (true, Some(oldest)) => {
                state.waiting.push_back(frame);
                return Some(oldest);
            }
            (false, _) => {}
        }
        state.waiting.push_back(frame);
        self.held = self.held.saturating_add(1);
        // Keys are asked for again as long as something waits for them.
        if let Some(asked) = state.asked {
            self.due = self.due.min(asked + REKEY_TIMEOUT);
        }
        None
    }

    /// Makes the data message in `frame`, a UDP payload that came from `from`, the packet inside, in place.
    ///
    /// Errors: those of [`Keypair::open`], [`DropReason::WireguardNoKeys`] when the keys are too old,
    /// [`DropReason::WireguardMalformed`] when there is no whole IP packet inside, [`DropReason::WireguardSource`] when
    /// the peer may not use its source.
    pub fn open(&mut self, now: Instant, from: SocketAddr, frame: &mut Frame) -> Result<Opened, DropReason> {
        let unknown = DropReason::WireguardUnknownIndex;
        let index = DataHeader::parse(frame.bytes())?.receiver;
        let peer = *self.indices.get(&index).ok_or(unknown)?;
        let state = self.peers.get_mut(usize::from(peer)).ok_or(unknown)?;
        let is_next = state.next.as_ref().is_some_and(|keypair| keypair.local_index() == index);
        let keypair = state.keypair_mut(index).ok_or(unknown)?;
        if age(keypair, now) >= REJECT_AFTER_TIME {
            return Err(DropReason::WireguardNoKeys);
        }
        keypair.open(frame)?;

        // From here on the message is the peer's own.
        if is_next {
            let retired = state.previous.take();
            state.previous = state.current.take();
            state.current = state.next.take();
            (state.asked, state.last_minute) = (None, false);
            retired.into_iter().for_each(|keypair| state.retire(&mut self.indices, peer, &keypair));
        }
        state.endpoint = Some(from);
        state.usage.last_received = Some(now);
        state.unanswered = None;
        self.due = self.due.min(state.pass(now));
        let ending = |keypair: &Keypair| keypair.initiator() && age(keypair, now) >= LAST_MINUTE;
        let ending = !state.last_minute && state.current.as_ref().is_some_and(ending);
        if ending {
            state.last_minute = true;
            self.ask(now, peer);
        }
        if is_next {
            self.release(peer);
        }
        if frame.is_empty() {
            return Ok(Opened { peer, keepalive: true });
        }
        let source = inner(frame).ok_or(DropReason::WireguardMalformed)?;
        if self.allowed.peer_of(source) != Some(peer) {
            return Err(DropReason::WireguardSource);
        }
        if let Some(state) = self.peers.get_mut(usize::from(peer)) {
            state.usage.rx_packets = state.usage.rx_packets.wrapping_add(1);
            state.usage.rx_octets = state.usage.rx_octets.wrapping_add(frame.len() as u64);
            self.due = self.due.min(*state.answer.get_or_insert(now + KEEPALIVE_TIMEOUT));
        }
        Ok(Opened { peer, keepalive: false })
    }

    /// Does what is due: keepalives, wishes for keys, the end of keys.
    pub fn handle_timeout(&mut self, now: Instant) {
        if now < self.due {
            return;
        }
        let mut due = Instant::FOREVER;
        for peer in 0..self.peers.len() as u16 {
            self.handle_peer(now, peer);
            due = self.peer(peer).map_or(due, |state| due.min(state.deadline()));
        }
        self.due = due;
    }

    /// When [`Tunnel::handle_timeout`] wants to be called, or earlier.
    pub fn poll_timeout(&self) -> Option<Instant> {
        (self.due < Instant::FOREVER).then_some(self.due)
    }

    /// The next peer whose keys are wanted.
    pub fn poll_wanted(&mut self) -> Option<u16> {
        self.wanted.pop_front()
    }

    /// Writes the next keepalive into the empty `frame` and says whom it is for.
    pub fn poll_transmit(&mut self, frame: &mut Frame) -> Option<u16> {
        loop {
            let (at, peer) = self.keepalives.pop_front()?;
            if self.seal(at, peer, frame, 0) == Seal::Ready {
                return Some(peer);
            }
        }
    }

    /// The next packet that has waited for keys of its peer, and can be sealed now.
    pub fn poll_ready(&mut self) -> Option<(u16, Frame)> {
        let ready = self.ready.pop_front()?;
        self.held = self.held.saturating_sub(1);
        Some(ready)
    }

    /// `peer` did not answer any handshake: returns what waits for it. Whatever comes next asks again.
    pub fn give_up(&mut self, peer: u16) -> impl Iterator<Item = Frame> + use<> {
        self.wanted.retain(|wanted| *wanted != peer);
        let waiting = self.peers.get_mut(usize::from(peer)).map(|state| {
            (state.asked, state.answer, state.unanswered) = (None, None, None);
            core::mem::take(&mut state.waiting)
        });
        let waiting = waiting.unwrap_or_default();
        self.held = self.held.saturating_sub(waiting.len());
        waiting.into_iter()
    }

    /// Number of packets that wait for keys, or have and are ready.
    pub fn held(&self) -> usize {
        self.held
    }

    /// How `peer` stands.
    pub fn status(&self, now: Instant, peer: u16) -> Option<PeerStatus> {
        let state = self.peer(peer)?;
        let keypairs = [&state.current, &state.next, &state.previous];
        let missing = keypairs.into_iter().flatten().map(Keypair::missing);
        Some(PeerStatus {
            endpoint: state.endpoint,
            keys_since: state
                .current
                .as_ref()
                .filter(|keypair| is_usable(keypair, now, self.doubted))
                .map(Keypair::created),
            usage: state.usage,
            last_sent: state.last_sent,
            lost: missing.fold(state.lost, u64::saturating_add),
            waiting: state.waiting.len(),
        })
    }

    /// As if `count` messages had been sealed for `peer` with its current keys.
    #[cfg(test)]
    pub(super) fn wear(&mut self, peer: u16, count: u64) {
        let state = self.peers.get_mut(usize::from(peer));
        state.and_then(|state| state.current.as_mut()).unwrap().set_sealed(count);
    }

    fn peer(&self, peer: u16) -> Option<&Peer> {
        self.peers.get(usize::from(peer))
    }

    /// Keys of `peer` are wanted, unless they were lately.
    fn ask(&mut self, now: Instant, peer: u16) {
        let Some(state) = self.peers.get_mut(usize::from(peer)) else { return };
        if state.asked.is_some_and(|asked| now < asked + REKEY_TIMEOUT) {
            return;
        }
        state.asked = Some(now);
        if !state.waiting.is_empty() {
            self.due = self.due.min(now + REKEY_TIMEOUT);
        }
        if !self.wanted.contains(&peer) {
            self.wanted.push_back(peer);
        }
    }

    /// What waits for `peer` may go. False when nothing does.
    fn release(&mut self, peer: u16) -> bool {
        let Some(state) = self.peers.get_mut(usize::from(peer)) else { return false };
        let waiting = core::mem::take(&mut state.waiting);
        let any = !waiting.is_empty();
        self.ready.extend(waiting.into_iter().map(|frame| (peer, frame)));
        any
    }

    fn handle_peer(&mut self, now: Instant, peer: u16) {
        let Some(state) = self.peers.get_mut(usize::from(peer)) else { return };
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if is_due(state.wipe) {
            state.wipe = None;
            let all = [state.current.take(), state.next.take(), state.previous.take()];
            all.into_iter().flatten().for_each(|keypair| state.retire(&mut self.indices, peer, &keypair));
        }
        let mut keepalive = false;
        if is_due(state.answer) {
            keepalive = true;
            state.answer = None;
        }
        if is_due(state.silent) {
            // A peer whose whereabouts are unknown can only call us.
            keepalive |= state.endpoint.is_some();
            state.pass(now);
        }
        let gone = is_due(state.unanswered);
        if gone {
            state.unanswered = None;
        }
        let usable = state.current.as_ref().is_some_and(|keypair| is_usable(keypair, now, self.doubted));
        let wanting = !usable && !state.waiting.is_empty();
        if keepalive && usable {
            self.keepalives.push_back((now, peer));
        }
        if gone || wanting || keepalive && !usable {
            self.ask(now, peer);
        }
    }
}

impl Peer {
    /// A message passed in either direction: silence begins anew. Returns when it will have lasted too long.
    fn pass(&mut self, now: Instant) -> Instant {
        self.silent = self.interval.map(|interval| now + interval);
        self.silent.unwrap_or(Instant::FOREVER)
    }

    fn keypair_mut(&mut self, index: u32) -> Option<&mut Keypair> {
        let keypairs = [&mut self.current, &mut self.next, &mut self.previous];
        keypairs.into_iter().flatten().find(|keypair| keypair.local_index() == index)
    }

    /// Forgets the index of a keypair that is no longer used, and remembers what it missed.
    fn retire(&mut self, indices: &mut Map<u32, u16>, peer: u16, keypair: &Keypair) {
        let index = keypair.local_index();
        if indices.get(&index) == Some(&peer) {
            indices.remove(&index);
        }
        self.lost = self.lost.saturating_add(keypair.missing());
    }

    fn deadline(&self) -> Instant {
        let again = self.asked.filter(|_| !self.waiting.is_empty()).map(|asked| asked + REKEY_TIMEOUT);
        [self.answer, self.unanswered, self.silent, self.wipe, again]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(Instant::FOREVER)
    }
}

fn age(keypair: &Keypair, now: Instant) -> Duration {
    now.since(keypair.created())
}

/// True for keys to seal with, unless they are from before a moment at which their age became unknown.
fn is_usable(keypair: &Keypair, now: Instant, doubted: Option<Instant>) -> bool {
    age(keypair, now) < REJECT_AFTER_TIME
        && keypair.sealed() < REJECT_AFTER_MESSAGES
        && doubted.is_none_or(|at| keypair.created() > at)
}

/// Up to [`REKEY_JITTER`], so that two peers that fell silent do not ask each other at the same time.
fn jitter(seed: &Seed, now: Instant, peer: u16) -> Duration {
    let bound = REKEY_JITTER.as_millis() as u64;
    Duration::from_millis(seed.hash_one((now.as_nanos(), peer)) % bound)
}

/// Cuts the padding behind the IP packet in `frame` and returns its source. `None` when it is no whole packet.
fn inner(frame: &mut Frame) -> Option<IpAddr> {
    let (source, len): (IpAddr, usize) = match frame.bytes().first()? >> 4 {
        4 => {
            let packet = Ipv4::parse(frame.bytes())?;
            (packet.source().into(), packet.total_len())
        }
        6 => {
            let packet = Ipv6::parse(frame.bytes())?;
            (packet.source().into(), ipv6::HEADER.saturating_add(packet.payload_len()))
        }
        _ => return None,
    };
    frame.truncate(len);
    Some(source)
}
