//! Fragments on their way through (RFC 4787 REQ-14).
//!
//! Only the first fragment of a datagram carries ports, so it alone can be filtered and translated; the others follow its
//! decision. [`Fragments`] holds those that come before it, lets them go when the decision is known, and remembers the
//! decision until the datagram is whole or its time is up. Nothing is put together here: [`super::reassemble`] does that
//! for what is addressed to the router.
//!
//! Every octet of a datagram passes once. A fragment that overlaps another one, cuts the transport header, or ends beyond
//! what a packet can hold is dropped (RFC 1858, RFC 3128), so what passes means the same to the filter and to the
//! host; of IPv6, nothing more passes of a datagram with such a fragment (RFC 5722 §4). Datagrams, frames and time are bounded, in all and for one source.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::IpAddr;

use crate::forward::ipv6::parse::{Chain, FragmentHeader};
use crate::frame::{Egress, Frame};
use crate::id::Interface;
use crate::ledger::DropReason;
use crate::table::{Map, Seed};
use crate::time::{Duration, Instant};
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::ipv6::{self, Ipv6};
use crate::wire::octets::u8_at;

/// How much room fragments may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most datagrams at once.
    pub datagrams: usize,
    /// Most datagrams of one source at once.
    pub datagrams_per_source: usize,
    /// Most frames held at once.
    pub frames: usize,
    /// Most frames of one source held at once.
    pub frames_per_source: usize,
    /// Time from a datagram's first sign until what is held of it ends.
    pub lifetime: Duration,
}

/// The room for fragments that pass. A datagram of 65,535 octets is 45 Ethernet frames, so even one that comes backwards
/// passes.
pub const PASSING: Limits = Limits {
    datagrams: 4096,
    datagrams_per_source: 512,
    frames: 1024,
    frames_per_source: 64,
    lifetime: Duration::from_secs(15),
};

/// Most gaps that a datagram may have at any time.
const MAX_SPANS: usize = 64;
/// Octets of the largest IPv4 packet, and of the largest payload of IPv6.
const MAX_PACKET: usize = 65_535;

/// What tells one datagram's fragments from another's (RFC 791 §3.2, RFC 8200 §4.5), and where they come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// The source address.
    pub source: IpAddr,
    /// The destination address.
    pub destination: IpAddr,
    /// The identification.
    pub id: u32,
    /// The protocol; of IPv6, the header that the fragmented part begins with.
    pub protocol: u8,
    /// The interface that the fragments come in by.
    pub interface: Interface,
}

/// What becomes of a fragment.
#[derive(Debug)]
pub enum Passage<T> {
    /// The datagram's first fragment: decide by its transport header, and tell the decision to [`Fragments::decided`].
    First(Frame, Key),
    /// A later one, and the decision of the first.
    Follows(Frame, T),
    /// It is held or was dropped.
    Kept,
}

/// The fragments that pass, and the decisions of their first ones.
#[derive(Debug)]
pub struct Fragments<T> {
    table: Table<Option<T>>,
}

impl<T: Clone> Fragments<T> {
    /// No fragments yet.
    pub fn new(limits: Limits, seed: Seed) -> Self {
        Fragments { table: Table::new(limits, seed) }
    }

    /// A fragment has come in by `interface`; `frame` begins at its IP header.
    pub fn handle(
        &mut self,
        now: Instant,
        interface: Interface,
        mut frame: Frame,
        egress: &mut Egress,
    ) -> Passage<T> {
        let piece = match Piece::parse(frame.bytes(), interface) {
            Ok(piece) => piece,
            Err(reason) => {
                egress.drop(frame, reason);
                return Passage::Kept;
            }
        };
        frame.truncate(piece.total_len());
        let decision = self.table.state(&piece.key).cloned().flatten();
        let passes = piece.is_first() || decision.is_some();
        if let Err(reason) = self.table.admit(now, &piece, !passes, None) {
            egress.drop(frame, reason);
            return Passage::Kept;
        }
        match decision {
            _ if piece.is_first() => Passage::First(frame, piece.key),
            Some(decision) => {
                if self.table.is_whole(&piece.key) {
                    self.table.remove(&piece.key);
                }
                Passage::Follows(frame, decision)
            }
            None => {
                self.table.hold(&piece, egress.pool.shrink(frame));
                Passage::Kept
            }
        }
    }

    /// The decision about a datagram, made by its first fragment. Returns the fragments that waited for it, in the order
    /// in which they came; later ones follow.
    #[must_use]
    pub fn decided(&mut self, key: &Key, decision: T) -> Vec<Frame> {
        let waiting = self.table.release(key);
        if self.table.is_whole(key) {
            self.table.remove(key);
        } else if let Some(state) = self.table.state_mut(key) {
            *state = Some(decision);
        }
        waiting.into_iter().map(|held| held.frame).collect()
    }

    /// Number of frames held.
    pub fn held(&self) -> usize {
        self.table.held
    }

    /// When [`Fragments::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.table.poll_timeout()
    }

    /// Drops what has waited too long, and forgets decisions about datagrams that never became whole.
    pub fn handle_timeout(&mut self, now: Instant, egress: &mut Egress) {
        self.table.handle_timeout(now, egress);
    }
}

/// One well-formed fragment: the part of the datagram's payload that it brings.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    pub(super) key: Key,
    pub(super) header: usize,
    pub(super) start: usize,
    pub(super) end: usize,
    is_last: bool,
}

impl Piece {
    pub(super) fn parse(packet: &[u8], interface: Interface) -> Result<Piece, DropReason> {
        match packet.first().map(|first| first >> 4) {
            Some(6) => Piece::parse_v6(packet, interface),
            _ => Piece::parse_v4(packet, interface),
        }
    }

    fn parse_v4(packet: &[u8], interface: Interface) -> Result<Piece, DropReason> {
        let view = Ipv4::parse(packet).ok_or(DropReason::Ipv4Malformed)?;
        let payload = view.payload();
        let start = view.fragment_offset();
        let end = start + payload.len();
        let is_last = !view.more_fragments();
        let key = Key {
            source: view.source().into(),
            destination: view.destination().into(),
            id: view.id().into(),
            protocol: view.protocol(),
            interface,
        };
        let sound = view.is_fragment()
            && !payload.is_empty()
            && (is_last || payload.len() % 8 == 0)
            && view.header_len() + end <= MAX_PACKET
            && keeps_transport_header(key.protocol, start, payload);
        if !sound {
            return Err(DropReason::FragmentMalformed);
        }
        Ok(Piece { key, header: view.header_len(), start, end, is_last })
    }

    fn parse_v6(packet: &[u8], interface: Interface) -> Result<Piece, DropReason> {
        let view = Ipv6::parse(packet).ok_or(DropReason::Ipv6Malformed)?;
        let found = Chain::of(packet).ok().and_then(|chain| chain.fragment);
        let FragmentHeader { at, next, offset, more, id } = found.ok_or(DropReason::FragmentMalformed)?;
        let header = at + FragmentHeader::LEN;
        let payload = packet.get(header..ipv6::HEADER + view.payload_len()).unwrap_or_default();
        let (start, end) = (usize::from(offset), usize::from(offset) + payload.len());
        let key = Key {
            source: view.source().into(),
            destination: view.destination().into(),
            id,
            protocol: next,
            interface,
        };
        let sound = !payload.is_empty()
            && (!more || payload.len() % 8 == 0)
            && at - ipv6::HEADER + end <= MAX_PACKET
            && keeps_transport_header(next, start, payload);
        if !sound {
            return Err(DropReason::FragmentMalformed);
        }
        Ok(Piece { key, header, start, end, is_last: !more })
    }

    pub(super) fn is_first(&self) -> bool {
        self.start == 0
    }

    pub(super) fn total_len(&self) -> usize {
        self.header + self.end - self.start
    }
}

/// False for a first fragment that ends within the transport header, and for a later one that begins there (RFC 1858 §3).
fn keeps_transport_header(protocol: u8, start: usize, payload: &[u8]) -> bool {
    let header = match protocol {
        ipv4::TCP if start == 0 => u8_at(payload, 12).map_or(20, |octet| usize::from(octet >> 4) * 4).max(20),
        ipv4::TCP => 20,
        ipv4::UDP | ipv4::ICMP | ipv6::ICMPV6 => 8,
        _ => 0,
    };
    if start == 0 { payload.len() >= header } else { start >= header }
}

/// Which octets of a datagram's payload have been seen.
#[derive(Debug, Default)]
struct Spans {
    /// Sorted, apart from each other.
    seen: Vec<(usize, usize)>,
    /// Octets of the whole payload, once the last fragment has told.
    total: Option<usize>,
}

impl Spans {
    /// Notes what a fragment brings. False, and no change, when any of it has been seen, when it contradicts the known end,
    /// or when there would be too many gaps.
    fn add(&mut self, piece: &Piece) -> bool {
        let at = self.seen.partition_point(|&(start, _)| start < piece.start);
        let before = at.checked_sub(1).and_then(|at| self.seen.get(at)).copied();
        let after = self.seen.get(at).copied();
        let overlaps = before.is_some_and(|(_, end)| end > piece.start)
            || after.is_some_and(|(start, _)| start < piece.end);
        let contradicts = match self.total {
            Some(total) => piece.is_last || piece.end > total,
            None => piece.is_last && self.seen.last().is_some_and(|&(_, end)| end > piece.end),
        };
        if overlaps || contradicts {
            return false;
        }
        let joins_before = before.is_some_and(|(_, end)| end == piece.start);
        let joins_after = after.is_some_and(|(start, _)| start == piece.end);
        match (joins_before, joins_after) {
            (true, true) => {
                let (_, end) = self.seen.remove(at);
                self.extend_before(at, end);
            }
            (true, false) => self.extend_before(at, piece.end),
            (false, true) => {
                if let Some((start, _)) = self.seen.get_mut(at) {
                    *start = piece.start;
                }
            }
            (false, false) if self.seen.len() < MAX_SPANS => self.seen.insert(at, (piece.start, piece.end)),
            (false, false) => return false,
        }
        if piece.is_last {
            self.total = Some(piece.end);
        }
        true
    }

    fn extend_before(&mut self, at: usize, to: usize) {
        if let Some((_, end)) = at.checked_sub(1).and_then(|at| self.seen.get_mut(at)) {
            *end = to;
        }
    }

    fn whole(&self) -> Option<usize> {
        self.total.filter(|&total| self.seen == [(0, total)])
    }
}

/// A frame that waits, and the piece that it is.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) piece: Piece,
    pub(super) frame: Frame,
}

/// Datagrams of which fragments have come, within limits.
#[derive(Debug)]
pub(super) struct Table<S> {
    limits: Limits,
    datagrams: Map<Key, Datagram<S>>,
    sources: Map<IpAddr, Share>,
    /// When each datagram's time is up, in order. Those that became whole since are skipped.
    deadlines: VecDeque<(Instant, Key)>,
    pub(super) held: usize,
}

#[derive(Debug)]
struct Datagram<S> {
    spans: Spans,
    waiting: Vec<Held>,
    until: Instant,
    /// A fragment that contradicts the others has come.
    is_spoilt: bool,
    state: S,
}

/// What one source takes of the room.
#[derive(Debug, Default)]
struct Share {
    datagrams: usize,
    frames: usize,
}

impl<S> Table<S> {
    pub(super) fn new(limits: Limits, seed: Seed) -> Self {
        Table {
            limits,
            datagrams: Map::with_hasher(seed.clone()),
            sources: Map::with_hasher(seed),
            deadlines: VecDeque::new(),
            held: 0,
        }
    }

    /// Notes a piece, and begins its datagram with `state` where it is the first to come. Says why it is to be dropped where
    /// it does not fit, or where it is to be held and there is no room.
    pub(super) fn admit(
        &mut self,
        now: Instant,
        piece: &Piece,
        to_be_held: bool,
        state: S,
    ) -> Result<(), DropReason> {
        let limits = self.limits;
        let (datagrams, frames) =
            self.sources.get(&piece.key.source).map_or((0, 0), |share| (share.datagrams, share.frames));
        if to_be_held && (self.held >= limits.frames || frames >= limits.frames_per_source) {
            return Err(DropReason::FragmentOverflow);
        }
        if let Some(datagram) = self.datagrams.get_mut(&piece.key) {
            let sound = !datagram.is_spoilt && datagram.spans.add(piece);
            datagram.is_spoilt |= !sound && piece.key.source.is_ipv6();
            return if sound { Ok(()) } else { Err(DropReason::FragmentMalformed) };
        }
        if self.datagrams.len() >= limits.datagrams || datagrams >= limits.datagrams_per_source {
            return Err(DropReason::FragmentOverflow);
        }
        let mut spans = Spans::default();
        spans.add(piece);
        let until = now + limits.lifetime;
        self.datagrams
            .insert(piece.key, Datagram { spans, waiting: Vec::new(), until, is_spoilt: false, state });
        self.sources.entry(piece.key.source).or_default().datagrams += 1;
        // Datagrams that became whole have left their deadlines behind; many of them do not grow the list.
        if self.deadlines.len() >= limits.datagrams.saturating_mul(2) {
            let datagrams = &self.datagrams;
            self.deadlines.retain(|(until, key)| is_due(datagrams, key, *until));
        }
        self.deadlines.push_back((until, piece.key));
        Ok(())
    }

    /// Holds the frame of an admitted piece.
    pub(super) fn hold(&mut self, piece: &Piece, frame: Frame) {
        if let Some(datagram) = self.datagrams.get_mut(&piece.key) {
            datagram.waiting.push(Held { piece: *piece, frame });
            self.held += 1;
            self.sources.entry(piece.key.source).or_default().frames += 1;
        }
    }

    /// The frames held of a datagram, which are held no longer.
    pub(super) fn release(&mut self, key: &Key) -> Vec<Held> {
        let Some(datagram) = self.datagrams.get_mut(key) else { return Vec::new() };
        let waiting = core::mem::take(&mut datagram.waiting);
        self.held = self.held.saturating_sub(waiting.len());
        if let Some(share) = self.sources.get_mut(&key.source) {
            share.frames = share.frames.saturating_sub(waiting.len());
        }
        waiting
    }

    /// Forgets a datagram, and returns the frames held of it.
    pub(super) fn remove(&mut self, key: &Key) -> Vec<Held> {
        let waiting = self.release(key);
        if self.datagrams.remove(key).is_some()
            && let Some(share) = self.sources.get_mut(&key.source)
        {
            share.datagrams = share.datagrams.saturating_sub(1);
            if share.datagrams == 0 {
                self.sources.remove(&key.source);
            }
        }
        waiting
    }

    pub(super) fn is_whole(&self, key: &Key) -> bool {
        self.payload_len(key).is_some()
    }

    /// Octets of the payload of a datagram of which every piece has come.
    pub(super) fn payload_len(&self, key: &Key) -> Option<usize> {
        self.datagrams.get(key)?.spans.whole()
    }

    fn state(&self, key: &Key) -> Option<&S> {
        self.datagrams.get(key).map(|datagram| &datagram.state)
    }

    fn state_mut(&mut self, key: &Key) -> Option<&mut S> {
        self.datagrams.get_mut(key).map(|datagram| &mut datagram.state)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.front().map(|(until, _)| *until)
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, egress: &mut Egress) {
        while let Some((until, key)) = self.deadlines.pop_front_if(|(until, _)| *until <= now) {
            if is_due(&self.datagrams, &key, until) {
                for held in self.remove(&key) {
                    egress.drop(held.frame, DropReason::FragmentTimeout);
                }
            }
        }
    }
}

fn is_due<S>(datagrams: &Map<Key, Datagram<S>>, key: &Key, deadline: Instant) -> bool {
    datagrams.get(key).is_some_and(|datagram| datagram.until == deadline)
}

#[cfg(test)]
mod tests;
