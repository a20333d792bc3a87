//! Reassembly of datagrams for the router itself (RFC 791 §3.2, RFC 1122 §3.3.2, RFC 8200 §4.5).
//!
//! The pieces are held as they came, checked and bounded as in [`super::fragment`]; when the last missing one comes they are
//! copied into one packet.

use super::fragment::{Held, Limits, Piece, Table};
use super::ipv6::parse::{FragmentHeader, unfragment};
use crate::frame::{Egress, Frame};
use crate::id::Interface;
use crate::ledger::DropReason;
use crate::table::Seed;
use crate::time::{Duration, Instant};
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::ipv6;
use crate::wire::octets::set_u16;

/// The room for fragments that are addressed to the router.
pub const LOCAL: Limits = Limits {
    datagrams: 64,
    datagrams_per_source: 8,
    frames: 512,
    frames_per_source: 128,
    lifetime: Duration::from_secs(15),
};

/// Datagrams for the router of which not all fragments have come.
#[derive(Debug)]
pub struct Reassembler {
    table: Table<()>,
}

impl Reassembler {
    /// No fragments yet.
    pub fn new(limits: Limits, seed: Seed) -> Self {
        Reassembler { table: Table::new(limits, seed) }
    }

    /// A fragment has come in by `interface`; `frame` begins at its IP header. Returns the whole packet, from its IP header
    /// on, when this was the last piece missing.
    pub fn handle(
        &mut self,
        now: Instant,
        interface: Interface,
        mut frame: Frame,
        egress: &mut Egress,
    ) -> Option<Frame> {
        let piece = Piece::parse(frame.bytes(), interface)
            .and_then(|piece| self.table.admit(now, &piece, true, ()).map(|()| piece));
        let piece = match piece {
            Ok(piece) => piece,
            Err(reason) => {
                egress.drop(frame, reason);
                return None;
            }
        };
        frame.truncate(piece.total_len());
        self.table.hold(&piece, egress.pool.shrink(frame));
        let payload = self.table.payload_len(&piece.key)?;
        let pieces = self.table.remove(&piece.key);
        let header = pieces.iter().find(|held| held.piece.is_first()).map_or(0, |held| held.piece.header);
        let mut whole = egress.copy(header.saturating_add(payload));
        let done = join(&pieces, payload, &mut whole);
        for held in pieces {
            egress.consume(held.frame);
        }
        if !done {
            egress.drop(whole, DropReason::FragmentMalformed);
            return None;
        }
        Some(whole)
    }

    /// Number of frames held.
    pub fn held(&self) -> usize {
        self.table.held
    }

    /// When [`Reassembler::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.table.poll_timeout()
    }

    /// Drops what has waited too long.
    pub fn handle_timeout(&mut self, now: Instant, egress: &mut Egress) {
        self.table.handle_timeout(now, egress);
    }
}

/// Writes the packet that `pieces` are of, with the header of the first. False when it would be longer than a packet can
/// be.
fn join(pieces: &[Held], payload: usize, whole: &mut Frame) -> bool {
    let Some(first) = pieces.iter().find(|held| held.piece.is_first()) else { return false };
    let is_v6 = first.piece.key.source.is_ipv6();
    let header = match is_v6 {
        true => first.frame.bytes().get(..first.piece.header.saturating_sub(FragmentHeader::LEN)),
        false => Ipv4::parse(first.frame.bytes()).map(Ipv4::header),
    };
    let Some(header) = header else { return false };
    let beyond = if is_v6 { ipv6::HEADER } else { 0 };
    let Ok(total) = u16::try_from((header.len() + payload).saturating_sub(beyond)) else { return false };
    if !whole.extend(header) {
        return false;
    }
    let Some(room) = whole.put(payload) else { return false };
    for held in pieces {
        let data = held.frame.bytes().get(held.piece.header..);
        let place = room.get_mut(held.piece.start..held.piece.end);
        match (place, data) {
            (Some(place), Some(data)) if place.len() == data.len() => place.copy_from_slice(data),
            _ => return false,
        }
    }
    let len = header.len();
    let bytes = whole.bytes_mut();
    if is_v6 {
        return set_u16(bytes, 4, total) && unfragment(bytes, first.piece.key.protocol);
    }
    set_u16(bytes, 2, total);
    set_u16(bytes, 6, 0);
    ipv4::write_header_checksum(bytes, len)
}

#[cfg(test)]
mod tests {
    use alloc::collections::VecDeque;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::forward::mtu;
    use crate::frame::LARGE;
    use crate::id::LanId;
    use crate::rng::SeededRng;

    const LAN: Interface = Interface::Lan(LanId(0));

    fn ping(len: usize, options: &[u8]) -> Vec<u8> {
        let header = 20 + options.len();
        let mut bytes =
            [0x40 | (header / 4) as u8, 0, 0, 0, 0, 9, 0, 0, 64, 1, 0, 0, 10, 0, 0, 2, 10, 0, 0, 1].to_vec();
        bytes.extend(options);
        bytes.extend((0..len).map(|n| (n * 3 + n / 256) as u8));
        let total = bytes.len() as u16;
        set_u16(&mut bytes, 2, total);
        ipv4::write_header_checksum(&mut bytes, header);
        bytes
    }

    struct Lab {
        reassembler: Reassembler,
        egress: Egress,
    }

    impl Lab {
        fn new() -> Self {
            let seed = Seed::draw(&mut SeededRng::from_u64(1));
            Lab { reassembler: Reassembler::new(LOCAL, seed), egress: Egress::new(&[]) }
        }

        fn cut(&mut self, bytes: &[u8], mtu: u16) -> Vec<Frame> {
            let mut frame = self.egress.originate(LARGE);
            frame.extend(bytes);
            let mut out = VecDeque::new();
            mtu::fragment(frame, mtu, &mut self.egress, &mut out).unwrap();
            out.into()
        }

        fn handle(&mut self, frame: Frame) -> Option<Vec<u8>> {
            let whole = self.reassembler.handle(Instant::ZERO, LAN, frame, &mut self.egress)?;
            let bytes = whole.bytes().to_vec();
            self.egress.consume(whole);
            Some(bytes)
        }

        fn assert_balanced(&self) {
            let balance = self.egress.ledger().balance(self.reassembler.held());
            assert_eq!(balance.born, balance.ended);
        }
    }

    proptest! {
        #[test]
        fn rfc791_3_2_fragments_in_any_order_become_the_packet_that_was_cut(
            len in 1500usize..65_500, mtu in 800u16..1500, seed in any::<u64>(), with_options in any::<bool>(),
        ) {
            let mut lab = Lab::new();
            let options: &[u8] = if with_options { &[0x94, 4, 0, 0, 7, 3, 4, 0] } else { &[] };
            let packet = ping(len, options);
            let mut pieces = lab.cut(&packet, mtu);
            let mut rng = SeededRng::from_u64(seed);
            for at in (1..pieces.len()).rev() {
                pieces.swap(at, crate::rng::Rng::below(&mut rng, at as u64 + 1) as usize);
            }
            let count = pieces.len();
            for (index, piece) in pieces.into_iter().enumerate() {
                let whole = lab.handle(piece);
                prop_assert_eq!(whole.is_some(), index + 1 == count);
                if let Some(whole) = whole {
                    prop_assert!(whole == packet);
                }
            }
            prop_assert_eq!(lab.reassembler.held(), 0);
            lab.assert_balanced();
        }
    }

    #[test]
    fn what_never_becomes_whole_ends_in_time() {
        let mut lab = Lab::new();
        let mut pieces = lab.cut(&ping(3000, &[]), 1500);
        let missing = pieces.remove(1);
        for piece in pieces {
            assert_eq!(lab.handle(piece), None);
        }
        assert_eq!(lab.reassembler.held(), 2);
        assert_eq!(lab.reassembler.poll_timeout(), Some(Instant::from_secs(15)));
        lab.reassembler.handle_timeout(Instant::from_secs(15), &mut lab.egress);
        assert_eq!(lab.egress.ledger().dropped(DropReason::FragmentTimeout), 2);
        assert_eq!(lab.handle(missing), None);
        lab.assert_balanced();
    }

    #[test]
    fn tr124_wan_dos_options_of_the_first_fragment_cannot_make_the_packet_too_long() {
        let mut lab = Lab::new();
        // 65,512 octets of payload fit with a plain header, and not with that of the first fragment.
        let mut pieces = lab.cut(&ping(65_512, &[]), 1500);
        let first = pieces.remove(0);
        let data = &first.bytes()[20..];
        let mut with_options = ping(0, &[1; 40]);
        with_options.extend(data);
        let total = with_options.len() as u16;
        set_u16(&mut with_options, 2, total);
        set_u16(&mut with_options, 6, ipv4::MORE_FRAGMENTS);
        lab.egress.consume(first);
        let mut frame = lab.egress.originate(with_options.len());
        frame.extend(&with_options);
        assert_eq!(lab.handle(frame), None);
        for piece in pieces {
            assert_eq!(lab.handle(piece), None);
        }
        assert_eq!(lab.egress.ledger().dropped(DropReason::FragmentMalformed), 1);
        lab.assert_balanced();
    }

    #[test]
    fn the_room_for_one_source_is_bounded() {
        let mut lab = Lab::new();
        for id in 0..1000u16 {
            let mut packet = ping(2000, &[]);
            set_u16(&mut packet, 4, id);
            let mut pieces = lab.cut(&packet, 1500);
            let last = pieces.pop().unwrap();
            lab.egress.consume(last);
            for piece in pieces {
                assert_eq!(lab.handle(piece), None);
            }
        }
        assert_eq!(lab.reassembler.held(), LOCAL.datagrams_per_source);
        assert_eq!(lab.egress.ledger().dropped(DropReason::FragmentOverflow), 992);
        lab.assert_balanced();
    }
}
