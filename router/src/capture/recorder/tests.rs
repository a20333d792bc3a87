use genkan_netstack::frame::{Checksum, Gso, GsoKind, Offload};
use genkan_netstack::id::{Interface as Place, WanId};
use genkan_netstack::ledger::DropReason;

use super::super::Wanted;
use super::super::layers::tests::{ethernet, pppoe, udp};
use super::super::points::tests::points;
use super::*;

const AT: Duration = Duration::from_nanos(1_700_000_000_123_456_789);
const WAN0: Point = Point::Port(PortId(0));
const LAN0: Point = Point::Port(PortId(1));
const ISP: Point = Point::Interface(Place::Wan(WanId(0)));

fn sighting(journey: u64, point: Point, sent: bool, bytes: &[u8], facts: &[Fact]) -> Sighting {
    Sighting { journey, point, sent, frame: Frame::from_bytes(bytes), facts: facts.to_vec(), lost_before: 0 }
}

fn arp() -> Vec<u8> {
    ethernet(0x0806, &[0; 46])
}

fn listening(wanted: &Wanted) -> (Recorder, Listener) {
    let mut recorder = Recorder::new(points());
    let (tap, listener) = points().select(wanted).unwrap().listen();
    recorder.add(tap);
    (recorder, listener)
}

fn at(names: &[&str]) -> Wanted {
    Wanted { points: names.iter().map(|&name| name.into()).collect(), ..Wanted::default() }
}

fn all(listener: &mut Listener) -> Vec<Packet> {
    std::iter::from_fn(|| listener.try_next()).collect()
}

/// A question on its way from the LAN to the line.
fn question() -> Vec<Sighting> {
    let inside = udp([192, 168, 1, 20], [9, 9, 9, 9], [5000, 53], b"question");
    let outside = udp([203, 0, 113, 9], [9, 9, 9, 9], [40_000, 53], b"question");
    vec![
        sighting(7, LAN0, false, &ethernet(0x0800, &inside), &[]),
        sighting(7, ISP, true, &ethernet(0x0800, &outside), &[Fact::MssClamped { to: 1452 }]),
        sighting(7, WAN0, true, &pppoe(0x0021, &outside), &[Fact::Own]),
    ]
}

#[test]
fn a_listener_gets_what_it_selected_and_leaves_when_dropped() {
    let wanted = Wanted { filter: "arp".into(), ..at(&["lan0"]) };
    let (mut recorder, mut listener) = listening(&wanted);
    recorder.show(AT, &[sighting(1, WAN0, false, &arp(), &[])]);
    recorder.show(AT, &[sighting(2, LAN0, true, &[0; 60], &[])]);
    recorder.show(AT, &[sighting(3, LAN0, true, &arp(), &[])]);
    let packet = listener.try_next().unwrap();
    assert_eq!((packet.interface, packet.direction, packet.at), (0, Direction::Sent, AT));
    assert_eq!((packet.bytes, packet.comments), (arp(), vec!["frame 3".to_owned()]));
    assert_eq!(listener.try_next(), None);
    drop(listener);
    recorder.show(AT, &[sighting(4, LAN0, false, &arp(), &[])]);
    assert!(recorder.is_idle());
}

#[test]
fn what_came_in_is_told_with_what_becomes_of_it_and_what_leaves_with_what_became_of_it() {
    let (mut recorder, mut listener) = listening(&at(&["lan0", "wan0"]));
    recorder.show(AT, &question());
    let all = all(&mut listener);
    assert_eq!(all.len(), 2);
    for packet in &all {
        assert_eq!(packet.comments, ["frame 7", "MSS lowered to 1452", "the router's own"]);
    }
}

#[test]
fn a_whole_way_is_shown_stage_by_stage_when_one_sighting_is_wanted() {
    let wanted = Wanted { filter: "host 203.0.113.9".into(), journeys: true, ..Wanted::default() };
    let (mut recorder, mut listener) = listening(&wanted);
    recorder.show(AT, &question());
    recorder.show(AT, &[sighting(8, LAN0, false, &arp(), &[])]);
    let comments: Vec<_> = all(&mut listener).into_iter().map(|packet| packet.comments).collect();
    assert_eq!(
        comments,
        [vec!["frame 7"], vec!["frame 7", "MSS lowered to 1452"], vec!["frame 7", "the router's own"]]
    );
}

#[test]
fn a_flow_is_followed_through_translation() {
    let flow = Flow("192.168.1.20:5000".parse().unwrap(), "9.9.9.9:53".parse().unwrap());
    let (mut recorder, mut listener) = listening(&Wanted { flow: Some(flow), ..at(&["wan0"]) });
    recorder.show(AT, &question());
    assert_eq!(all(&mut listener).len(), 1, "on the line its source is another");
    let flow = Flow("192.168.1.21:5000".parse().unwrap(), "9.9.9.9:53".parse().unwrap());
    let (mut recorder, mut listener) = listening(&Wanted { flow: Some(flow), ..at(&["wan0"]) });
    recorder.show(AT, &question());
    assert!(all(&mut listener).is_empty());
}

#[test]
fn a_drop_says_why() {
    let (mut recorder, mut listener) = listening(&at(&["drop"]));
    let reason = Fact::Dropped(DropReason::TtlExceeded);
    recorder.show(
        AT,
        &[sighting(1, LAN0, false, &arp(), &[]), sighting(1, Point::Drop, false, &arp(), &[reason])],
    );
    let [packet] = <[Packet; 1]>::try_from(all(&mut listener)).unwrap();
    assert!(packet.comments[1].starts_with("dropped, ttl-exceeded: "), "{:?}", packet.comments);
}

#[test]
fn frames_that_find_the_queue_full_are_counted_and_told_with_the_next_one() {
    let (mut recorder, mut listener) = listening(&Wanted::default());
    for _ in 0..QUEUE_FRAMES + 3 {
        recorder.show(AT, &[sighting(1, WAN0, false, &[0; 60], &[])]);
    }
    assert_eq!(listener.lost(), 3);
    assert_eq!(listener.try_next().unwrap().lost_before, 0);
    let mut late = sighting(1, WAN0, false, &[0; 60], &[]);
    late.lost_before = 2;
    recorder.show(AT, &[late]);
    let last = std::iter::from_fn(|| listener.try_next()).last().unwrap();
    assert_eq!(last.lost_before, 5, "those that the gateway had no room for, too");
}

#[test]
fn large_frames_fill_the_queue_by_their_octets() {
    let (mut recorder, mut listener) = listening(&Wanted::default());
    for _ in 0..QUEUE_OCTETS / 65_000 + 2 {
        recorder.show(AT, &[sighting(1, WAN0, false, &[0; 65_000], &[])]);
    }
    assert_eq!(listener.lost(), 2);
    while listener.try_next().is_some() {}
    assert_eq!(listener.shared.octets.load(Ordering::Relaxed), 0);
}

#[test]
fn samples_of_the_kernel_path_are_for_those_who_asked() {
    let (mut recorder, mut whole) = listening(&Wanted::default());
    assert!(recorder.pauses_fast_path());
    let wanted = Wanted { fast_path: FastPathUse::Sample, ..Wanted::default() };
    let (tap, mut sampled) = points().select(&wanted).unwrap().listen();
    recorder.add(tap);
    recorder.show_sample(AT, PortId(1), Direction::Received, &arp());
    assert_eq!((all(&mut whole).len(), all(&mut sampled).len()), (0, 1));
}

fn pap() -> Vec<u8> {
    pppoe(0xc023, &[&[1, 1, 0, 18, 4][..], b"user", &[8], b"s3cret!!"].concat())
}

/// TR-124 WAN.PPP.6: passwords are never displayed.
#[test]
fn tr124_wan_ppp_6_a_password_never_enters_the_queue_unless_it_is_asked_for() {
    let holds = |wanted: &Wanted| {
        let (mut recorder, mut listener) = listening(wanted);
        recorder.show(AT, &[sighting(1, WAN0, true, &pap(), &[])]);
        let packet = listener.try_next().unwrap();
        assert_eq!(packet.bytes.len(), pap().len());
        assert!(packet.bytes.windows(4).any(|window| window == b"user"));
        let told = packet.comments.iter().any(|comment| comment == "secret overwritten");
        (packet.bytes.windows(8).any(|window| window == b"s3cret!!"), told)
    };
    assert_eq!(holds(&Wanted::default()), (false, true));
    assert_eq!(holds(&Wanted { unredacted: true, ..Wanted::default() }), (true, false));
    let remarks = |unredacted| Selection { unredacted, ..Selection::default() }.remarks().concat();
    assert!(remarks(true).contains("NOT REDACTED") && !remarks(false).contains("NOT"));
}

#[test]
fn the_copy_has_the_checksum_that_the_device_would_complete() {
    // Pseudo-header sum 0x1234 in the field; the octets to sum are 0x1234 and 0x0001.
    let mut frame = Frame::from_bytes(&[0; 14]);
    frame.extend(&[0x12, 0x34, 0x00, 0x01]);
    let gso = Some(Gso { kind: GsoKind::TcpV4, size: 1448, ecn: false });
    frame.offload = Offload { checksum: Checksum::Partial { start: 14, offset: 0 }, gso };
    let packet = Packet::of(0, Direction::Sent, AT, &frame, true);
    assert_eq!(packet.bytes.get(14..16), Some(&(!0x1235u16).to_be_bytes()[..]));
    assert!(packet.comments[0].contains("1448"));
    frame.offload.checksum = Checksum::Partial { start: 4000, offset: 16 };
    let copy = Packet::of(0, Direction::Sent, AT, &frame, true);
    assert_eq!(copy.bytes, frame.bytes(), "offsets outside change nothing");
}
