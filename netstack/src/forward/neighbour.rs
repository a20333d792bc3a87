//! One segment's neighbours: which station has which address of a family, and the packets that wait to know it.
//!
//! A packet for an address without a station is held, and the address is surfaced once by [`Neighbours::poll_resolve`].
//! ARP or Neighbor Discovery, elsewhere, asks and answers with [`Neighbours::found`] or [`Neighbours::failed`]. An address
//! that is in use is surfaced again from time to time, so that a station that went away is noticed.
//!
//! Everything is bounded. Whoever scans the LAN's network from outside makes the router ask for many addresses; such
//! packets may only take a part of the room, so that the LAN's own traffic still finds some (compare CVE-2018-19299).

use alloc::collections::VecDeque;
use core::hash::Hash;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::frame::{Egress, Frame};
use crate::id::Mac;
use crate::ledger::DropReason;
use crate::rng::Rng;
use crate::table::{Map, Seed};
use crate::time::{Duration, Instant, earliest};

/// Most packets that wait for one address (RFC 1122 §2.3.2.2 wants at least the latest): a sender's first burst.
pub const FRAMES_PER_ADDRESS: usize = 8;
/// Most addresses that are waited for at once.
pub const UNRESOLVED: usize = 512;
/// Most addresses that are waited for at once because of packets from outside.
pub const UNRESOLVED_FROM_OUTSIDE: usize = 256;
/// Most octets of buffers that wait; large segments reach it first.
pub const OCTETS: usize = 8 << 20;
/// Most addresses in the table.
pub const ADDRESSES: usize = 8192;
/// Most addresses in the table before one is refused for which no packet waits.
pub const ADDRESSES_UNASKED: usize = 4096;

/// Addresses that are remembered as silent.
const SILENT: usize = 64;

/// Time after which waiting packets end even if nothing was said.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Age of an answer at which an address in use is asked for again (RFC 1122 §2.3.2.1).
pub const STALE: Duration = Duration::from_secs(60);
/// Time without use or answer after which an address is forgotten.
pub const LIFETIME: Duration = Duration::from_secs(600);

const SWEEP: Duration = Duration::from_secs(60);

/// Where a packet that needs a neighbour has come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A LAN, or the router itself.
    Inside,
    /// An uplink or a subscriber.
    Outside,
}

/// The neighbours on one segment, by their addresses of one family.
#[derive(Debug)]
pub struct Neighbours<A> {
    entries: Map<A, Entry>,
    /// Addresses that are yet to be asked for.
    resolve: VecDeque<A>,
    /// When each unresolved entry ends, in order. Entries that were resolved since are skipped.
    deadlines: VecDeque<(Instant, A)>,
    unresolved: usize,
    unresolved_from_outside: usize,
    held: usize,
    held_octets: usize,
    next_sweep: Option<Instant>,
}

#[derive(Debug)]
enum Entry {
    Unresolved { waiting: VecDeque<Frame>, until: Instant, origin: Origin },
    Resolved { mac: Mac, answered: Instant, used: Instant, asked: Instant },
}

impl<A: Copy + Eq + Hash> Neighbours<A> {
    /// A table without neighbours.
    pub fn new(seed: Seed) -> Self {
        Neighbours {
            entries: Map::with_hasher(seed),
            resolve: VecDeque::new(),
            deadlines: VecDeque::new(),
            unresolved: 0,
            unresolved_from_outside: 0,
            held: 0,
            held_octets: 0,
            next_sweep: None,
        }
    }

    /// The station that has `address`. An answer that has grown old makes the address come up in
    /// [`Neighbours::poll_resolve`] again, and is used until the answer says otherwise.
    pub fn station(&mut self, now: Instant, address: A) -> Option<Mac> {
        match self.entries.get_mut(&address)? {
            Entry::Resolved { mac, answered, used, asked } => {
                *used = now;
                if now.since(*answered) >= STALE
                    && now.since(*asked) >= STALE
                    && self.resolve.len() < ADDRESSES
                {
                    *asked = now;
                    self.resolve.push_back(address);
                }
                Some(*mac)
            }
            Entry::Unresolved { .. } => None,
        }
    }

    /// The station that has `address`. Nothing is noted.
    pub fn known(&self, address: A) -> Option<Mac> {
        match self.entries.get(&address)? {
            Entry::Resolved { mac, .. } => Some(*mac),
            Entry::Unresolved { .. } => None,
        }
    }

    /// As [`Neighbours::station`], or in a rehearsal as [`Neighbours::known`].
    #[inline(always)]
    pub(super) fn station_for<const REHEARSAL: bool>(&mut self, now: Instant, address: A) -> Option<Mac> {
        if REHEARSAL { self.known(address) } else { self.station(now, address) }
    }

    /// Holds a packet for an address whose station [`Neighbours::station`] does not know, and has the address asked for. A
    /// packet too many ends here: the oldest that waits for the same address, or the new one where no address more is
    /// waited for.
    pub fn hold(&mut self, now: Instant, address: A, frame: Frame, origin: Origin, egress: &mut Egress) {
        let frame = egress.pool.shrink(frame);
        let octets = frame.capacity();
        if self.held_octets.saturating_add(octets) > OCTETS {
            return egress.drop(frame, DropReason::NeighbourQueue);
        }
        let has_room = self.has_room(origin);
        match self.entries.get_mut(&address) {
            Some(Entry::Unresolved { waiting, .. }) => {
                waiting.push_back(frame);
                self.held += 1;
                self.held_octets += octets;
                if waiting.len() > FRAMES_PER_ADDRESS
                    && let Some(oldest) = waiting.pop_front()
                {
                    self.held -= 1;
                    self.held_octets -= oldest.capacity();
                    egress.drop(oldest, DropReason::NeighbourQueue);
                }
            }
            Some(Entry::Resolved { .. }) => egress.drop(frame, DropReason::Internal),
            None if has_room => {
                let until = now + PATIENCE;
                self.entries
                    .insert(address, Entry::Unresolved { waiting: VecDeque::from([frame]), until, origin });
                self.held += 1;
                self.held_octets += octets;
                self.unresolved += 1;
                self.unresolved_from_outside += usize::from(origin == Origin::Outside);
                // An entry that failed early has left its deadline behind; many of them do not grow the list.
                if self.deadlines.len() >= 2 * UNRESOLVED {
                    let entries = &self.entries;
                    self.deadlines.retain(|(until, address)| is_due(entries, *address, *until));
                }
                self.deadlines.push_back((until, address));
                self.resolve.push_back(address);
            }
            None => egress.drop(frame, DropReason::NeighbourQueue),
        }
    }

    fn has_room(&self, origin: Origin) -> bool {
        self.unresolved < UNRESOLVED
            && self.entries.len() < ADDRESSES
            && (origin == Origin::Inside || self.unresolved_from_outside < UNRESOLVED_FROM_OUTSIDE)
    }

    /// `mac` has `address`. Returns the packets that waited for it, in order.
    #[must_use]
    pub fn found(&mut self, now: Instant, address: A, mac: Mac) -> VecDeque<Frame> {
        let fresh = Entry::Resolved { mac, answered: now, used: now, asked: now };
        let has_room = self.entries.len() < ADDRESSES_UNASKED;
        match self.entries.get_mut(&address) {
            Some(Entry::Resolved { mac: known, answered, .. }) => {
                *known = mac;
                *answered = now;
                return VecDeque::new();
            }
            Some(Entry::Unresolved { .. }) => {}
            None if has_room => {}
            None => return VecDeque::new(),
        }
        self.next_sweep.get_or_insert(now + SWEEP);
        let before = self.entries.insert(address, fresh);
        self.released(before)
    }

    /// `mac` had `address` when it was last seen by another. Of use where nothing is known.
    fn adopt(&mut self, now: Instant, address: A, mac: Mac) {
        if !self.entries.contains_key(&address) {
            // Nobody waits for an address without an entry.
            drop(self.found(now, address, mac));
        }
    }

    /// Nobody answers for `address`. Returns the packets that waited for it, in order: they end under
    /// [`DropReason::NeighbourUnreachable`], and their senders may be told.
    #[must_use]
    pub fn failed(&mut self, address: A) -> VecDeque<Frame> {
        let before = self.entries.remove(&address);
        self.released(before)
    }

    fn released(&mut self, entry: Option<Entry>) -> VecDeque<Frame> {
        match entry {
            Some(Entry::Unresolved { waiting, origin, .. }) => {
                self.unresolved -= 1;
                self.unresolved_from_outside -= usize::from(origin == Origin::Outside);
                self.held -= waiting.len();
                self.held_octets -= waiting.iter().map(Frame::capacity).sum::<usize>();
                waiting
            }
            Some(Entry::Resolved { .. }) | None => VecDeque::new(),
        }
    }

    /// Forgets every station: the segment is another one now. Packets that wait end under `reason`.
    pub fn clear(&mut self, reason: DropReason, egress: &mut Egress) {
        for (_, entry) in self.entries.drain() {
            if let Entry::Unresolved { waiting, .. } = entry {
                waiting.into_iter().for_each(|frame| egress.drop(frame, reason));
            }
        }
        self.resolve.clear();
        self.deadlines.clear();
        (self.unresolved, self.unresolved_from_outside) = (0, 0);
        (self.held, self.held_octets) = (0, 0);
        self.next_sweep = None;
    }

    /// The next address to ask for. Each comes up once for each need.
    pub fn poll_resolve(&mut self) -> Option<A> {
        self.resolve.pop_front()
    }

    /// Stations may be others by now: each address that was in use lately is to be asked for again.
    pub fn reconfirm(&mut self, now: Instant) {
        for (address, entry) in &mut self.entries {
            if let Entry::Resolved { answered, used, asked, .. } = entry
                && now.since(*answered.max(used)) < STALE
                && self.resolve.len() < ADDRESSES
            {
                *asked = now;
                self.resolve.push_back(*address);
            }
        }
    }

    /// Number of packets that wait.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Every address whose station is known, in no order.
    pub fn stations(&self) -> impl Iterator<Item = (A, Mac)> + '_ {
        self.entries.iter().filter_map(|(address, entry)| match entry {
            Entry::Resolved { mac, .. } => Some((*address, *mac)),
            Entry::Unresolved { .. } => None,
        })
    }

    /// When [`Neighbours::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        earliest(self.deadlines.front().map(|(until, _)| *until), self.next_sweep)
    }

    /// Ends packets that have waited too long, and forgets stations that have been silent and unused: `lost` hears of each.
    pub fn handle_timeout(&mut self, now: Instant, egress: &mut Egress, mut lost: impl FnMut(A)) {
        while let Some((until, address)) = self.deadlines.pop_front_if(|(until, _)| *until <= now) {
            if is_due(&self.entries, address, until) {
                for frame in self.failed(address) {
                    egress.drop(frame, DropReason::NeighbourUnreachable);
                }
            }
        }
        if self.next_sweep.is_some_and(|at| at <= now) {
            let mut stations = 0usize;
            self.entries.retain(|address, entry| match entry {
                Entry::Unresolved { .. } => true,
                Entry::Resolved { answered, used, .. } => {
                    let keep = now.since(*answered.max(used)) < LIFETIME;
                    stations += usize::from(keep);
                    if !keep {
                        lost(*address);
                    }
                    keep
                }
            });
            self.next_sweep = (stations > 0).then(|| now + SWEEP);
        }
    }
}

fn is_due<A: Eq + Hash>(entries: &Map<A, Entry>, address: A, deadline: Instant) -> bool {
    matches!(entries.get(&address), Some(Entry::Unresolved { until, .. }) if *until == deadline)
}

/// A segment's neighbours of both families.
#[derive(Debug)]
pub struct Neighbourhood {
    /// By their IPv4 addresses.
    pub v4: Neighbours<Ipv4Addr>,
    /// By their IPv6 addresses.
    pub v6: Neighbours<Ipv6Addr>,
    /// Those that were asked for in vain lately, and when. The last ones alone.
    silent: VecDeque<(IpAddr, Instant)>,
}

impl Neighbourhood {
    /// Nobody yet. Hash seeds are drawn from `rng`.
    pub fn new(rng: &mut dyn Rng) -> Neighbourhood {
        let (v4, v6) = (Neighbours::new(Seed::draw(rng)), Neighbours::new(Seed::draw(rng)));
        Neighbourhood { v4, v6, silent: VecDeque::new() }
    }

    /// Nobody has answered for `address`.
    pub fn note_silent(&mut self, now: Instant, address: IpAddr) {
        self.silent.retain(|(known, _)| *known != address);
        if self.silent.len() >= SILENT {
            self.silent.pop_front();
        }
        self.silent.push_back((address, now));
    }

    /// When `address` was last asked for in vain, if it has not answered since.
    pub fn silent(&self, address: IpAddr) -> Option<Instant> {
        self.silent.iter().find(|(known, _)| *known == address).map(|(_, at)| *at)
    }

    /// As [`Neighbours::station`].
    pub fn station(&mut self, now: Instant, address: IpAddr) -> Option<Mac> {
        match address {
            IpAddr::V4(address) => self.v4.station(now, address),
            IpAddr::V6(address) => self.v6.station(now, address),
        }
    }

    /// As [`Neighbours::known`].
    pub fn known(&self, address: IpAddr) -> Option<Mac> {
        match address {
            IpAddr::V4(address) => self.v4.known(address),
            IpAddr::V6(address) => self.v6.known(address),
        }
    }

    /// As [`Neighbours::hold`].
    pub fn hold(&mut self, now: Instant, address: IpAddr, frame: Frame, origin: Origin, egress: &mut Egress) {
        match address {
            IpAddr::V4(address) => self.v4.hold(now, address, frame, origin, egress),
            IpAddr::V6(address) => self.v6.hold(now, address, frame, origin, egress),
        }
    }

    /// As [`Neighbours::found`].
    #[must_use]
    pub fn found(&mut self, now: Instant, address: IpAddr, mac: Mac) -> VecDeque<Frame> {
        self.silent.retain(|(known, _)| *known != address);
        match address {
            IpAddr::V4(address) => self.v4.found(now, address, mac),
            IpAddr::V6(address) => self.v6.found(now, address, mac),
        }
    }

    /// As [`Neighbours::adopt`].
    pub(super) fn adopt(&mut self, now: Instant, address: IpAddr, mac: Mac) {
        match address {
            IpAddr::V4(address) => self.v4.adopt(now, address, mac),
            IpAddr::V6(address) => self.v6.adopt(now, address, mac),
        }
    }

    /// As [`Neighbours::failed`].
    #[must_use]
    pub fn failed(&mut self, address: IpAddr) -> VecDeque<Frame> {
        match address {
            IpAddr::V4(address) => self.v4.failed(address),
            IpAddr::V6(address) => self.v6.failed(address),
        }
    }

    /// As [`Neighbours::reconfirm`].
    pub fn reconfirm(&mut self, now: Instant) {
        self.v4.reconfirm(now);
        self.v6.reconfirm(now);
    }

    /// The next address that is to be asked for.
    pub fn poll_resolve(&mut self) -> Option<IpAddr> {
        self.v4.poll_resolve().map(IpAddr::V4).or_else(|| self.v6.poll_resolve().map(IpAddr::V6))
    }

    /// Number of packets that wait.
    pub fn held(&self) -> usize {
        self.v4.held().saturating_add(self.v6.held())
    }

    /// Every address whose station is known, in no order.
    pub fn stations(&self) -> impl Iterator<Item = (IpAddr, Mac)> + '_ {
        let v4 = self.v4.stations().map(|(address, mac)| (address.into(), mac));
        v4.chain(self.v6.stations().map(|(address, mac)| (address.into(), mac)))
    }

    /// When [`Neighbourhood::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        earliest(self.v4.poll_timeout(), self.v6.poll_timeout())
    }

    /// As [`Neighbours::handle_timeout`].
    pub fn handle_timeout(&mut self, now: Instant, egress: &mut Egress, mut lost: impl FnMut(IpAddr)) {
        self.v4.handle_timeout(now, egress, |address| lost(address.into()));
        self.v6.handle_timeout(now, egress, |address| lost(address.into()));
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;
    use proptest::prelude::*;

    use super::*;
    use crate::rng::SeededRng;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 7]);

    fn address(n: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(0x0a00_0000 + n)
    }

    fn lab() -> (Neighbours<Ipv4Addr>, Egress) {
        (Neighbours::new(Seed::draw(&mut SeededRng::from_u64(1))), Egress::new(&[]))
    }

    fn frame(egress: &mut Egress, tag: u8) -> Frame {
        let mut frame = egress.originate(1);
        frame.extend(&[tag]);
        frame
    }

    fn hold(table: &mut Neighbours<Ipv4Addr>, now: Instant, n: u32, origin: Origin, egress: &mut Egress) {
        let frame = frame(egress, n as u8);
        table.hold(now, address(n), frame, origin, egress);
    }

    fn tags(frames: VecDeque<Frame>) -> Vec<u8> {
        frames.iter().map(|frame| frame.bytes()[0]).collect()
    }

    #[test]
    fn packets_wait_for_the_answer_and_leave_in_order() {
        let (mut table, mut egress) = lab();
        let now = Instant::ZERO;
        for tag in [1, 2] {
            assert_eq!(table.station(now, address(1)), None);
            let frame = frame(&mut egress, tag);
            table.hold(now, address(1), frame, Origin::Inside, &mut egress);
        }
        assert_eq!(table.poll_resolve(), Some(address(1)));
        assert_eq!(table.poll_resolve(), None, "asked for once, however many wait");
        assert_eq!(table.held(), 2);
        assert_eq!(tags(table.found(now, address(1), MAC)), [1, 2]);
        assert_eq!(table.held(), 0);
        assert_eq!(table.station(now, address(1)), Some(MAC));
        assert!(table.stations().eq([(address(1), MAC)]));
    }

    #[test]
    fn rfc1122_2_3_2_2_the_latest_packets_are_the_ones_that_wait() {
        let (mut table, mut egress) = lab();
        for tag in 1..=10 {
            let frame = frame(&mut egress, tag);
            table.hold(Instant::ZERO, address(1), frame, Origin::Inside, &mut egress);
        }
        assert_eq!(egress.ledger().dropped(DropReason::NeighbourQueue), 2);
        assert_eq!(tags(table.found(Instant::ZERO, address(1), MAC)), [3, 4, 5, 6, 7, 8, 9, 10]);
    }

    #[test]
    fn an_unanswered_address_gives_its_packets_back_and_can_be_asked_for_again() {
        let (mut table, mut egress) = lab();
        hold(&mut table, Instant::ZERO, 1, Origin::Outside, &mut egress);
        assert_eq!(table.poll_resolve(), Some(address(1)));
        assert_eq!(table.failed(address(1)).len(), 1);
        assert_eq!(table.failed(address(1)).len(), 0);
        hold(&mut table, Instant::from_secs(5), 1, Origin::Outside, &mut egress);
        assert_eq!(table.poll_resolve(), Some(address(1)));
        // The deadline of the first wait is not that of the second.
        table.handle_timeout(Instant::from_secs(10), &mut egress, |_| ());
        assert_eq!(table.held(), 1);
        table.handle_timeout(Instant::from_secs(15), &mut egress, |_| ());
        assert_eq!(table.held(), 0);
        assert_eq!(egress.ledger().dropped(DropReason::NeighbourUnreachable), 1);
        assert_eq!(table.poll_timeout(), None);
    }

    #[test]
    fn a_scan_of_a_16_from_outside_takes_bounded_room_and_leaves_some_to_the_lan() {
        let (mut table, mut egress) = lab();
        for n in 0..65_536 {
            hold(&mut table, Instant::ZERO, n, Origin::Outside, &mut egress);
        }
        assert_eq!(table.held(), UNRESOLVED_FROM_OUTSIDE);
        hold(&mut table, Instant::ZERO, 70_000, Origin::Inside, &mut egress);
        assert_eq!(table.held(), UNRESOLVED_FROM_OUTSIDE + 1);
        assert_eq!(table.found(Instant::ZERO, address(70_000), MAC).len(), 1);

        // The same when ARP fails each at once: no list grows.
        let (mut table, mut egress) = lab();
        for n in 0..65_536 {
            hold(&mut table, Instant::ZERO, n, Origin::Outside, &mut egress);
            assert!(table.poll_resolve().is_some());
            for frame in table.failed(address(n)) {
                egress.drop(frame, DropReason::NeighbourUnreachable);
            }
            assert!(table.deadlines.len() <= 2 * UNRESOLVED);
        }
        assert_eq!(egress.ledger().dropped(DropReason::NeighbourQueue), 0);
    }

    #[test]
    fn large_segments_that_wait_are_bounded_by_their_octets() {
        let (mut table, mut egress) = lab();
        for n in 0..UNRESOLVED as u32 {
            let mut frame = egress.originate(60_000);
            frame.put(60_000);
            table.hold(Instant::ZERO, address(n), frame, Origin::Inside, &mut egress);
        }
        assert!(table.held_octets <= OCTETS && table.held() > 100 && table.held() < 150);
        // A small packet does not keep its large buffer.
        let (mut table, mut egress) = lab();
        let mut frame = egress.originate(60_000);
        frame.put(60);
        table.hold(Instant::ZERO, address(1), frame, Origin::Inside, &mut egress);
        assert_eq!(table.held_octets, crate::frame::SMALL);
    }

    #[test]
    fn stations_that_claim_addresses_unasked_cannot_fill_the_table() {
        let (mut table, mut egress) = lab();
        for n in 0..65_536 {
            assert!(table.found(Instant::ZERO, address(n), MAC).is_empty());
        }
        assert_eq!(table.entries.len(), ADDRESSES_UNASKED);
        hold(&mut table, Instant::ZERO, 70_000, Origin::Inside, &mut egress);
        assert_eq!(table.found(Instant::ZERO, address(70_000), MAC).len(), 1);
        assert_eq!(table.station(Instant::ZERO, address(70_000)), Some(MAC));
    }

    #[test]
    fn rfc1122_2_3_2_1_a_station_in_use_is_asked_for_again_and_an_unused_one_forgotten() {
        let (mut table, mut egress) = lab();
        for n in [1, 2] {
            assert!(table.found(Instant::ZERO, address(n), MAC).is_empty());
        }
        assert_eq!(table.station(Instant::from_secs(59), address(1)), Some(MAC));
        assert_eq!(table.poll_resolve(), None);
        for _ in 0..3 {
            assert_eq!(table.station(Instant::from_secs(60), address(1)), Some(MAC));
        }
        assert_eq!(table.poll_resolve(), Some(address(1)));
        assert_eq!(table.poll_resolve(), None);
        // No answer yet: asked again, and used all the while.
        assert_eq!(table.station(Instant::from_secs(120), address(1)), Some(MAC));
        assert_eq!(table.poll_resolve(), Some(address(1)));
        let other = Mac([2, 0, 0, 0, 0, 8]);
        assert!(table.found(Instant::from_secs(121), address(1), other).is_empty());
        assert_eq!(table.station(Instant::from_secs(590), address(1)), Some(other));

        table.handle_timeout(Instant::from_secs(660), &mut egress, |_| ());
        assert!(table.stations().eq([(address(1), other)]));
        assert!(table.poll_timeout().is_some());
        table.handle_timeout(Instant::from_secs(1190), &mut egress, |_| ());
        assert_eq!(table.stations().count(), 0);
        assert_eq!(table.poll_timeout(), None);
    }

    #[test]
    fn a_segment_that_is_another_one_now_has_no_neighbours() {
        let (mut table, mut egress) = lab();
        assert!(table.found(Instant::ZERO, address(1), MAC).is_empty());
        hold(&mut table, Instant::ZERO, 2, Origin::Outside, &mut egress);
        table.clear(DropReason::WanDown, &mut egress);
        assert_eq!((table.held(), egress.ledger().dropped(DropReason::WanDown)), (0, 1));
        assert_eq!((table.station(Instant::ZERO, address(1)), table.poll_resolve()), (None, None));
        assert_eq!(table.poll_timeout(), None);
        hold(&mut table, Instant::ZERO, 2, Origin::Outside, &mut egress);
        assert_eq!(tags(table.found(Instant::ZERO, address(2), MAC)), [2]);
    }

    proptest! {
        #[test]
        fn every_frame_is_held_released_or_dropped(
            steps in prop::collection::vec((0u8..5, 0u32..12, any::<bool>(), 0u64..20), 0..200),
        ) {
            let (mut table, mut egress) = lab();
            let mut now = Instant::ZERO;
            for (what, n, outside, pause) in steps {
                match what {
                    0 | 1 => {
                        let origin = if outside { Origin::Outside } else { Origin::Inside };
                        if table.station(now, address(n)).is_none() {
                            hold(&mut table, now, n, origin, &mut egress);
                        }
                    }
                    2 => table.found(now, address(n), MAC).into_iter().for_each(|frame| egress.consume(frame)),
                    3 => table.failed(address(n)).into_iter().for_each(|frame| egress.consume(frame)),
                    _ => {
                        now += Duration::from_secs(pause * pause);
                        table.handle_timeout(now, &mut egress, |_| ());
                        prop_assert!(table.poll_timeout().is_none_or(|at| at > now));
                    }
                }
                let balance = egress.ledger().balance(table.held());
                prop_assert_eq!(balance.born, balance.ended);
                let unresolved = table.entries.len() - table.stations().count();
                prop_assert_eq!(table.unresolved, unresolved);
                prop_assert!(table.unresolved_from_outside <= unresolved);
                prop_assert_eq!(table.held_octets, table.held() * crate::frame::SMALL);
            }
        }
    }
}
