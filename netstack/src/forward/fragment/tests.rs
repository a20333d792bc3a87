use proptest::prelude::*;

use super::*;
use crate::id::WanId;
use crate::rng::SeededRng;
use crate::wire::octets::set_u16;

const WAN: Interface = Interface::Wan(WanId(0));
const NOW: Instant = Instant::from_secs(5);

struct Lab {
    fragments: Fragments<u32>,
    egress: Egress,
}

impl Lab {
    fn new(limits: Limits) -> Self {
        let seed = Seed::draw(&mut SeededRng::from_u64(1));
        Lab { fragments: Fragments::new(limits, seed), egress: Egress::new(&[]) }
    }

    fn frame(&mut self, bytes: &[u8]) -> Frame {
        let mut frame = self.egress.originate(bytes.len());
        frame.extend(bytes);
        frame
    }

    fn handle(&mut self, now: Instant, bytes: &[u8]) -> Passage<u32> {
        let frame = self.frame(bytes);
        self.fragments.handle(now, WAN, frame, &mut self.egress)
    }

    fn dropped(&self, reason: DropReason) -> u64 {
        self.egress.ledger().dropped(reason)
    }

    fn assert_kept(&mut self, bytes: &[u8]) {
        assert!(matches!(self.handle(NOW, bytes), Passage::Kept));
    }

    fn assert_first(&mut self, bytes: &[u8]) -> Key {
        match self.handle(NOW, bytes) {
            Passage::First(frame, key) => {
                self.egress.consume(frame);
                key
            }
            other => panic!("{other:?}"),
        }
    }

    fn assert_follows(&mut self, bytes: &[u8], decision: u32) {
        match self.handle(NOW, bytes) {
            Passage::Follows(frame, told) => {
                assert_eq!(told, decision);
                self.egress.consume(frame);
            }
            other => panic!("{other:?}"),
        }
    }
}

fn piece_of(source: u32, id: u16, protocol: u8, range: core::ops::Range<usize>, more: bool) -> Vec<u8> {
    let len = range.len();
    let mut bytes = [0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0].to_vec();
    bytes.extend(source.to_be_bytes());
    bytes.extend([198, 51, 100, 7]);
    set_u16(&mut bytes, 2, (20 + len) as u16);
    set_u16(&mut bytes, 4, id);
    set_u16(&mut bytes, 6, (range.start / 8) as u16 | if more { ipv4::MORE_FRAGMENTS } else { 0 });
    bytes.extend(range.map(|n| if n == 12 { 0x50 } else { n as u8 }));
    bytes
}

fn udp(range: core::ops::Range<usize>, more: bool) -> Vec<u8> {
    piece_of(0xc000_0209, 7, ipv4::UDP, range, more)
}

#[test]
fn rfc4787_req_14_fragments_follow_the_first_and_earlier_ones_wait_for_it() {
    let mut lab = Lab::new(PASSING);
    lab.assert_kept(&udp(2960..3500, false));
    lab.assert_kept(&udp(1480..1600, true));
    assert_eq!(lab.fragments.held(), 2);
    let key = lab.assert_first(&udp(0..1480, true));
    let released = lab.fragments.decided(&key, 42);
    assert_eq!(released.len(), 2);
    assert_eq!(released[0].len(), 20 + 540);
    released.into_iter().for_each(|frame| lab.egress.consume(frame));
    assert_eq!(lab.fragments.held(), 0);
    lab.assert_follows(&udp(1600..2960, true), 42);
    assert!(lab.fragments.table.datagrams.is_empty(), "a whole datagram is forgotten");
    assert!(lab.fragments.table.sources.is_empty());
    // The same key again is another datagram.
    lab.assert_kept(&udp(1480..1600, true));
}

#[test]
fn rfc4787_req_14_fragments_between_the_first_one_and_its_decision_wait_too() {
    let mut lab = Lab::new(PASSING);
    let key = lab.assert_first(&udp(0..1480, true));
    lab.assert_kept(&udp(1480..1500, false));
    assert_eq!(lab.fragments.decided(&key, 1).len(), 1);
    assert_eq!(lab.fragments.held(), 0);
    assert!(lab.fragments.table.datagrams.is_empty());
    assert!(lab.fragments.decided(&key, 1).is_empty(), "spurious calls do nothing");
}

#[test]
fn datagrams_are_told_apart_by_every_part_of_the_key() {
    let mut lab = Lab::new(PASSING);
    let key = lab.assert_first(&udp(0..8, true));
    assert!(lab.fragments.decided(&key, 1).is_empty());
    lab.assert_kept(&piece_of(0xc000_0209, 8, ipv4::UDP, 8..16, false));
    lab.assert_kept(&piece_of(0xc000_0210, 7, ipv4::UDP, 8..16, false));
    lab.assert_kept(&piece_of(0xc000_0209, 7, 47, 8..16, false));
    let frame = lab.frame(&udp(8..16, false));
    let other = Interface::Wan(WanId(1));
    assert!(matches!(lab.fragments.handle(NOW, other, frame, &mut lab.egress), Passage::Kept));
    lab.assert_follows(&udp(8..16, false), 1);
    assert_eq!(lab.fragments.held(), 4);
}

#[test]
fn tr124_wan_dos_teardrop_and_other_overlaps_are_dropped() {
    let mut lab = Lab::new(PASSING);
    let key = lab.assert_first(&udp(0..800, true));
    assert!(lab.fragments.decided(&key, 1).is_empty());
    lab.assert_follows(&udp(1600..2400, true), 1);
    let overlaps: &[(core::ops::Range<usize>, bool)] = &[
        (0..800, true),      // the first one again
        (8..16, true),       // inside
        (792..1000, true),   // the end of the first
        (800..1608, true),   // the beginning of the other
        (800..2400, true),   // all of the other
        (2392..2400, false), // ends within
        (2000..2100, false), // an end before what was seen
        (1000..1100, false),
    ];
    for (count, (range, more)) in overlaps.iter().enumerate() {
        lab.assert_kept(&udp(range.clone(), *more));
        assert_eq!(lab.dropped(DropReason::FragmentMalformed), count as u64 + 1, "{range:?}");
    }
    lab.assert_follows(&udp(2400..2500, false), 1);
    lab.assert_kept(&udp(2504..2600, true)); // beyond the end
    lab.assert_kept(&udp(2504..2600, false)); // another end
    assert_eq!(lab.dropped(DropReason::FragmentMalformed), overlaps.len() as u64 + 2);
    lab.assert_follows(&udp(800..1600, true), 1);
}

#[test]
fn tr124_wan_dos_ping_of_death_is_dropped() {
    let mut lab = Lab::new(PASSING);
    let ping = |range| piece_of(1, 7, ipv4::ICMP, range, false);
    lab.assert_kept(&ping(65_512..65_515));
    assert_eq!((lab.dropped(DropReason::FragmentMalformed), lab.fragments.held()), (0, 1));
    lab.assert_kept(&ping(65_512..65_516));
    lab.assert_kept(&ping(65_528..66_528));
    assert_eq!((lab.dropped(DropReason::FragmentMalformed), lab.fragments.held()), (2, 1));
}

#[test]
fn rfc1858_a_cut_transport_header_is_dropped() {
    let mut lab = Lab::new(PASSING);
    let tcp = |range| piece_of(1, 7, ipv4::TCP, range, true);
    for bytes in [tcp(0..8), tcp(0..16), tcp(8..800), tcp(16..800), piece_of(1, 7, 6, 8..9, false)] {
        lab.assert_kept(&bytes);
    }
    let mut long_options = tcp(0..24);
    long_options[32] = 0x70;
    lab.assert_kept(&long_options);
    assert_eq!(lab.dropped(DropReason::FragmentMalformed), 6);
    lab.assert_first(&tcp(0..24));
}

#[test]
fn what_is_no_sound_fragment_is_dropped() {
    let mut lab = Lab::new(PASSING);
    lab.assert_kept(&udp(8..8, true));
    lab.assert_kept(&udp(8..15, true));
    lab.assert_kept(&udp(0..100, false)); // no fragment at all
    assert_eq!(lab.dropped(DropReason::FragmentMalformed), 3);
    let whole = udp(8..40, true);
    for len in 0..whole.len() {
        lab.assert_kept(&whole[..len]);
    }
    assert_eq!(lab.dropped(DropReason::Ipv4Malformed), whole.len() as u64);
    for bit in 0..160 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Passage::First(frame, _) | Passage::Follows(frame, _) = lab.handle(NOW, &flipped) {
            lab.egress.consume(frame);
        }
    }
    let balance = lab.egress.ledger().balance(lab.fragments.held());
    assert_eq!(balance.born, balance.ended);
}

#[test]
fn rfc4787_req_14_what_waits_too_long_ends() {
    let mut lab = Lab::new(PASSING);
    lab.assert_kept(&udp(8..16, true));
    assert_eq!(lab.fragments.poll_timeout(), Some(NOW + PASSING.lifetime));
    lab.fragments.handle_timeout(NOW + Duration::from_secs(14), &mut lab.egress);
    assert_eq!(lab.fragments.held(), 1);
    lab.fragments.handle_timeout(NOW + Duration::from_secs(15), &mut lab.egress);
    assert_eq!((lab.fragments.held(), lab.dropped(DropReason::FragmentTimeout)), (0, 1));
    assert_eq!(lab.fragments.poll_timeout(), None);
    assert!(lab.fragments.table.sources.is_empty());
}

#[test]
fn rfc4787_req_14_the_room_for_fragments_is_bounded_in_all_and_for_one_source() {
    let limits =
        Limits { datagrams: 100, datagrams_per_source: 20, frames: 60, frames_per_source: 30, ..PASSING };
    let mut lab = Lab::new(limits);
    for id in 0..1000 {
        lab.assert_kept(&piece_of(1, id, ipv4::UDP, 8..16, true));
    }
    assert_eq!(lab.fragments.held(), 20, "one source's datagrams");
    for n in 2..1000 {
        lab.assert_kept(&piece_of(1, 0, ipv4::UDP, n * 8..n * 8 + 8, true));
    }
    assert_eq!(lab.fragments.held(), 30, "one source's frames");
    for source in 2..1000 {
        lab.assert_kept(&piece_of(source, 1, ipv4::UDP, 8..16, true));
    }
    assert_eq!(lab.fragments.held(), 60, "frames in all");
    for source in 2..1000 {
        if let Passage::First(frame, _) = lab.handle(NOW, &piece_of(source, 2, ipv4::UDP, 0..8, true)) {
            lab.egress.consume(frame);
        }
    }
    assert_eq!(lab.fragments.table.datagrams.len(), 100, "datagrams in all");
    let balance = lab.egress.ledger().balance(lab.fragments.held());
    assert_eq!(balance.born, balance.ended);
}

#[test]
fn whole_datagrams_leave_nothing_that_grows() {
    let mut lab = Lab::new(Limits { datagrams: 10, ..PASSING });
    for id in 0..5000 {
        let key = lab.assert_first(&piece_of(1, id, ipv4::UDP, 0..8, true));
        assert!(lab.fragments.decided(&key, 1).is_empty());
        lab.assert_follows(&piece_of(1, id, ipv4::UDP, 8..10, false), 1);
    }
    assert!(lab.fragments.table.deadlines.len() <= 20);
}

#[test]
fn a_held_fragment_does_not_keep_a_large_buffer() {
    let mut lab = Lab::new(PASSING);
    let mut frame = lab.egress.originate(60_000);
    frame.extend(&udp(8..16, true));
    frame.extend(&[0; 18]);
    assert!(matches!(lab.fragments.handle(NOW, WAN, frame, &mut lab.egress), Passage::Kept));
    let key = lab.assert_first(&udp(0..8, true));
    let released = lab.fragments.decided(&key, 1);
    assert_eq!(released[0].bytes(), udp(8..16, true), "and not its padding");
    assert_eq!(released[0].capacity(), crate::frame::SMALL);
}

proptest! {
    /// RFC 4787 REQ-14: in whatever order, every fragment passes once with the decision of the first.
    #[test]
    fn rfc4787_req_14_every_order_passes_whole(
        order in Just((0..20usize).collect::<Vec<_>>()).prop_shuffle(), twice in any::<prop::sample::Index>(),
    ) {
        let mut lab = Lab::new(PASSING);
        let mut passed = 0;
        let again = order[twice.index(19)];
        for n in order {
            for _ in 0..if n == again { 2 } else { 1 } {
                match lab.handle(NOW, &udp(n * 80..n * 80 + 80, n < 19)) {
                    Passage::First(frame, key) => {
                        let waited = lab.fragments.decided(&key, 9);
                        passed += 1 + waited.len();
                        waited.into_iter().for_each(|frame| lab.egress.consume(frame));
                        lab.egress.consume(frame);
                    }
                    Passage::Follows(frame, 9) => {
                        passed += 1;
                        lab.egress.consume(frame);
                    }
                    Passage::Follows(_, other) => panic!("{other}"),
                    Passage::Kept => {}
                }
            }
        }
        prop_assert_eq!(passed, 20);
        prop_assert_eq!(lab.fragments.held(), 0);
        prop_assert_eq!(lab.dropped(DropReason::FragmentMalformed), 1);
        let balance = lab.egress.ledger().balance(0);
        prop_assert_eq!(balance.born, balance.ended);
    }

    /// Whatever comes, no octet of a datagram passes twice.
    #[test]
    fn rfc1858_no_octet_passes_twice(
        pieces in prop::collection::vec((0usize..40, 1usize..12, any::<bool>()), 0..60),
    ) {
        let mut spans = Spans::default();
        let mut seen = [false; 60];
        for (start, len, is_last) in pieces {
            let key = Piece::parse(&udp(8..16, true), WAN).unwrap().key;
            let piece = Piece { key, header: 20, start, end: start + len, is_last };
            if spans.add(&piece) {
                for octet in &mut seen[start..start + len] {
                    prop_assert!(!*octet);
                    *octet = true;
                }
            }
            let whole = spans.total.is_some_and(|total| seen[..total].iter().all(|&octet| octet));
            prop_assert_eq!(spans.whole().is_some(), whole);
            prop_assert!(spans.total.is_none_or(|total| seen[total..].iter().all(|&octet| !octet)));
        }
    }
}
