use alloc::vec;
use alloc::vec::Vec;

use super::*;
use crate::id::{LanId, WanId};
use crate::settings::RuleId;

const PACKET: [u8; 21] = [0x45, 0, 0, 21, 0, 0, 0, 0, 64, 253, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2, 7];

fn sight(watch: Watch) -> Box<Sight> {
    let names = Names { wans: vec!["isp".into()], lans: vec!["home".into()], vpns: vec![] };
    Sight::new(&names, watch)
}

fn all(sight: &mut Sight) -> Vec<Sighting> {
    core::iter::from_fn(|| sight.poll()).collect()
}

#[test]
fn a_packet_gets_an_ethernet_header_of_zeros_and_a_frame_keeps_its_own() {
    let mut sight = sight(Watch::Everything);
    sight.see_packet(Interface::Wan(WanId(0)), false, &Frame::from_bytes(&PACKET));
    sight.see(Point::Port(PortId(0)), false, &Frame::from_bytes(&[9; 60]));
    let [packet, frame] = <[Sighting; 2]>::try_from(all(&mut sight)).unwrap();
    assert_eq!(packet.frame.bytes()[..14], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0]);
    assert_eq!((&packet.frame.bytes()[14..], frame.frame.bytes()), (&PACKET[..], &[9; 60][..]));
}

#[test]
fn a_fact_is_told_once_with_the_sighting_that_follows_it() {
    let mut sight = sight(Watch::Everything);
    let frame = Frame::from_bytes(&[9; 60]);
    sight.begin(Some(&frame));
    sight.see(Point::Port(PortId(0)), false, &frame);
    sight.note(|_| Fact::MssClamped { to: 1452 });
    sight.see(Point::Port(PortId(1)), true, &frame);
    sight.begin(None);
    sight.see(Point::Port(PortId(1)), true, &frame);
    let facts: Vec<_> = all(&mut sight).into_iter().map(|seen| (seen.journey, seen.facts)).collect();
    assert_eq!(facts, [(1, vec![]), (1, vec![Fact::MssClamped { to: 1452 }]), (2, vec![])]);
}

#[test]
fn a_dropped_frame_is_seen_as_it_came_in() {
    let mut sight = sight(Watch::Everything);
    sight.begin(Some(&Frame::from_bytes(&[9; 60])));
    sight.see_drop(&Frame::from_bytes(&PACKET), DropReason::TooBig);
    let seen = all(&mut sight).remove(0);
    assert_eq!((seen.point, seen.frame.bytes()), (Point::Drop, &[9; 60][..]));
    assert_eq!(seen.facts, [Fact::Dropped(DropReason::TooBig)]);
    // One that the router made.
    sight.begin(None);
    sight.see_drop(&Frame::from_bytes(&PACKET), DropReason::TooBig);
    assert_eq!(all(&mut sight).remove(0).frame.bytes()[14..], PACKET);
}

#[test]
fn who_wants_drops_sees_drops_alone_and_not_too_many() {
    let mut sight = sight(Watch::Drops);
    let frame = Frame::from_bytes(&[9; 60]);
    sight.see(Point::Port(PortId(0)), false, &frame);
    sight.note(|_| Fact::Own);
    for _ in 0..MOST_DROPS + 5 {
        sight.see_drop(&frame, DropReason::TooBig);
    }
    let seen = all(&mut sight);
    assert_eq!(seen.len(), MOST_DROPS);
    assert!(seen.iter().all(|seen| seen.point == Point::Drop && seen.facts.len() == 1));
    sight.see_drop(&frame, DropReason::TooBig);
    assert_eq!(all(&mut sight).remove(0).lost_before, 5);
}

#[test]
fn memory_is_bounded_by_octets_and_what_was_lost_is_counted() {
    let mut sight = sight(Watch::Everything);
    let frame = Frame::from_bytes(&[9; 60_000]);
    let fits = MOST_OCTETS / 60_000;
    for _ in 0..fits + 3 {
        sight.see(Point::Port(PortId(0)), false, &frame);
    }
    assert_eq!(all(&mut sight).len(), fits);
    sight.see(Point::Port(PortId(0)), false, &frame);
    assert_eq!(all(&mut sight).remove(0).lost_before, 3);
}

#[test]
fn facts_are_sentences_with_the_names_of_the_configuration() {
    let end = |host: u8, port| (IpAddr::from([192, 0, 2, host]), port);
    let names = &sight(Watch::Nothing).names;
    let before = Ends { source: end(1, 5000), destination: end(2, 443) };
    let after = Ends { source: end(9, 40_000), ..before };
    let (from, to) = (names.of(Interface::Lan(LanId(0))), names.of(Interface::Wan(WanId(0))));
    let flow = Fact::Flow { is_new: true, protocol: 6, before, after, from, to, in_kernel: false };
    assert_eq!(
        alloc::format!("{flow}"),
        "new flow TCP 192.0.2.1:5000 > 192.0.2.2:443 from lan.home to wan.isp, there 192.0.2.9:40000 > 192.0.2.2:443"
    );
    let rule = Fact::Rule { rule: RuleId { number: 2, line: Some(31) }, action: Action::Drop };
    assert_eq!(alloc::format!("{rule}"), "[[filter]] number 2 at line 31 drops it");
    let dropped = alloc::format!("{}", Fact::Dropped(DropReason::TtlExceeded));
    assert!(dropped.starts_with("dropped, ttl-exceeded: "), "{dropped}");
}
