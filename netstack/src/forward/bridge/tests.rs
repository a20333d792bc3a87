//! The bridge alone: stations, moves, loops, limits.

use alloc::vec;
use alloc::vec::Vec;

use super::*;
use crate::id::VpnId;
use crate::rng::SeededRng;

const OWN: Mac = Mac([2, 0, 0, 0, 0, 1]);
const A: BridgePort = BridgePort::Port(PortId(3));
const B: BridgePort = BridgePort::Port(PortId(5));
const BOB: BridgePort = BridgePort::Peer(PeerId { vpn: VpnId(0), peer: 0 });
const CAROL: BridgePort = BridgePort::Peer(PeerId { vpn: VpnId(0), peer: 1 });

fn station(n: u32) -> Mac {
    let [a, b, c, d] = n.to_be_bytes();
    Mac([2, 1, a, b, c, d])
}

fn with_peers(hub: bool) -> Bridge {
    let via = VpnBridge { lan: LanId(0), vni: 42, ra_guard: true, isolate_dhcp: true, suppress: false, hub };
    let peers = [0, 1].map(|peer| (PeerId { vpn: VpnId(0), peer }, via));
    Bridge::new(vec![OWN], [PortId(3), PortId(5)], peers, &mut SeededRng::from_u64(1))
}

fn bridge() -> Bridge {
    Bridge::new(vec![OWN], [PortId(3), PortId(5)], [], &mut SeededRng::from_u64(1))
}

/// Where a frame for everyone goes.
fn flooded(bridge: &Bridge, now: Instant, from: BridgePort) -> Vec<BridgePort> {
    let target = |index| Some(bridge.target(now, index, Some(from))?.0);
    (0..bridge.ports()).filter_map(target).collect()
}

#[test]
fn a_frame_goes_to_the_port_where_its_station_was_seen() {
    let mut bridge = bridge();
    let now = Instant::from_secs(1);
    assert_eq!(bridge.decide(now, station(1), A), Decision::Flood);
    assert_eq!(bridge.learn(now, station(1), B), Learned::Known);
    assert_eq!(bridge.decide(now, station(1), A), Decision::Port(B));
    assert_eq!(bridge.decide(now, station(1), B), Decision::Same);
    assert_eq!(bridge.learn(now, station(1), A), Learned::Moved);
    assert_eq!(bridge.decide(now, station(1), B), Decision::Port(A), "it has moved");
    assert_eq!((bridge.len(), bridge.is_empty()), (1, false));
    assert_eq!(bridge.learn(now, station(1), BOB), Learned::Refused, "no bridge port of this LAN");
}

#[test]
fn a_lan_of_one_port_is_that_port_and_with_a_peer_it_is_a_bridge() {
    let rng = &mut SeededRng::from_u64(1);
    assert_eq!(Bridge::new(vec![OWN], [PortId(3)], [], rng).only(), Some(PortId(3)));
    assert_eq!(bridge().only(), None);
    let via = with_peers(false).via(BOB).unwrap();
    let peer = PeerId { vpn: VpnId(0), peer: 0 };
    assert_eq!(Bridge::new(vec![OWN], [PortId(3)], [(peer, via)], rng).only(), None);
}

#[test]
fn the_routers_own_frames_and_groups() {
    let bridge = bridge();
    let now = Instant::ZERO;
    assert_eq!(bridge.decide(now, OWN, A), Decision::Local);
    assert_eq!(bridge.decide(now, Mac::BROADCAST, A), Decision::LocalAndFlood);
    assert_eq!(bridge.decide(now, Mac([1, 0, 0x5e, 0, 0, 251]), A), Decision::LocalAndFlood);
    assert_eq!(bridge.decide(now, Mac([1, 0x80, 0xc2, 0, 0, 0]), A), Decision::Local);
    assert_eq!(bridge.decide(now, Mac([1, 0x80, 0xc2, 0, 0, 0x0f]), A), Decision::Local);
    assert_eq!(bridge.decide(now, Mac([1, 0x80, 0xc2, 0, 0, 0x10]), A), Decision::LocalAndFlood);
}

#[test]
fn groups_and_the_routers_own_addresses_are_never_learned() {
    let mut bridge = bridge();
    for source in [OWN, Mac::BROADCAST, Mac([1, 0, 0x5e, 0, 0, 1]), Mac([0; 6])] {
        bridge.learn(Instant::ZERO, source, B);
    }
    assert!(bridge.is_empty());
    assert_eq!(bridge.decide(Instant::ZERO, OWN, A), Decision::Local);
}

#[test]
fn a_silent_station_is_forgotten_after_300_s() {
    let mut bridge = bridge();
    bridge.learn(Instant::ZERO, station(1), B);
    bridge.learn(Instant::from_secs(200), station(2), B);
    assert_eq!(bridge.poll_timeout(), Some(Instant::from_secs(300)));
    assert_eq!(bridge.decide(Instant::from_secs(299), station(1), A), Decision::Port(B));
    assert_eq!(bridge.decide(Instant::from_secs(300), station(1), A), Decision::Flood);
    bridge.handle_timeout(Instant::from_secs(299), |_| ());
    assert_eq!(bridge.len(), 2);
    bridge.handle_timeout(Instant::from_secs(300), |_| ());
    assert_eq!(bridge.len(), 1);
    assert_eq!(bridge.poll_timeout(), Some(Instant::from_secs(500)));
    bridge.handle_timeout(Instant::from_secs(500), |_| ());
    assert!(bridge.is_empty());
    assert_eq!(bridge.poll_timeout(), None);
}

#[test]
fn invented_stations_do_not_push_out_those_that_exist() {
    let mut bridge = bridge();
    bridge.learn(Instant::ZERO, station(u32::MAX), B);
    for n in 0..100_000 {
        bridge.learn(Instant::from_secs(1), station(n), A);
    }
    assert_eq!(bridge.len(), STATIONS_PER_PORT + 1);
    assert_eq!(bridge.decide(Instant::from_secs(1), station(u32::MAX), A), Decision::Port(B));
    bridge.learn(Instant::from_secs(2), station(u32::MAX), A);
    let known = bridge.decide(Instant::from_secs(2), station(u32::MAX), B);
    assert_eq!(known, Decision::Port(A), "a known one moves");
}

#[test]
fn peers_take_their_part_of_the_table_and_leave_the_lans_own() {
    let mut bridge = with_peers(false);
    for n in 0..100_000 {
        bridge.learn(Instant::ZERO, station(n), BOB);
        bridge.learn(Instant::ZERO, station(1 << 20 | n), CAROL);
    }
    assert_eq!(bridge.len(), STATIONS_BEYOND, "all peers together");
    for n in 0..10_000 {
        bridge.learn(Instant::ZERO, station(1 << 21 | n), A);
    }
    assert_eq!(bridge.len(), STATIONS_BEYOND + 10_000);
    // What a station takes it gives back.
    bridge.handle_timeout(Instant::from_secs(300), |_| ());
    assert!(bridge.is_empty());
    for n in 0..STATIONS_PER_PORT as u32 {
        bridge.learn(Instant::from_secs(301), station(n), BOB);
    }
    assert_eq!(bridge.len(), STATIONS_PER_PORT);
    bridge.learn(Instant::from_secs(301), station(1 << 20), BOB);
    assert_eq!(bridge.len(), STATIONS_PER_PORT, "one peer takes no more than that");
    bridge.learn(Instant::from_secs(302), station(0), A);
    bridge.learn(Instant::from_secs(302), station(1 << 20), BOB);
    assert_eq!(bridge.len(), STATIONS_PER_PORT + 1, "a station that moves makes room");
}

#[test]
fn peers_do_not_meet_unless_the_vpn_is_a_hub() {
    let now = Instant::ZERO;
    for (hub, reached, decision) in
        [(false, vec![A, B], Decision::Apart), (true, vec![A, B, CAROL], Decision::Port(CAROL))]
    {
        let mut bridge = with_peers(hub);
        bridge.learn(now, station(1), CAROL);
        assert_eq!(flooded(&bridge, now, BOB), reached);
        assert_eq!(flooded(&bridge, now, A), [B, BOB, CAROL]);
        assert_eq!(bridge.decide(now, station(1), BOB), decision);
        assert_eq!(bridge.decide(now, station(1), A), Decision::Port(CAROL));
        assert_eq!(bridge.decide(now, station(1), CAROL), Decision::Same);
    }
}

#[test]
fn a_station_that_moves_to_and_fro_is_a_loop_and_a_port_of_it_is_blocked_for_a_while() {
    for (first, second, blocked) in [(A, B, B), (A, BOB, BOB), (BOB, A, BOB), (BOB, CAROL, CAROL)] {
        let mut bridge = with_peers(true);
        let mut now = Instant::from_secs(100);
        bridge.learn(now, station(7), second);
        bridge.learn(now, station(1), first);
        let mut places = [second, first].into_iter().cycle();
        for _ in 0..MOVES {
            assert_eq!(bridge.learn(now, station(1), places.next().unwrap()), Learned::Moved);
            now += Duration::from_millis(100);
        }
        // As many moves bring it back; the next one is one too many.
        assert_eq!(bridge.port(now, station(1)), Some(first));
        let between = [first, second];
        assert_eq!(bridge.learn(now, station(1), second), Learned::Loop { between, blocked });
        let mut forgotten = vec![];
        bridge.block(now, blocked, |station| forgotten.push(station));
        forgotten.sort();
        let behind = [(first, station(1)), (second, station(7))].into_iter();
        let behind: Vec<Mac> = behind.filter(|(port, _)| *port == blocked).map(|(_, mac)| mac).collect();
        assert_eq!(forgotten, behind);
        assert_eq!(bridge.learn(now, station(9), blocked), Learned::Refused);
        assert!(!flooded(&bridge, now, B).contains(&blocked));
        now += BLOCK;
        assert_eq!(bridge.learn(now, station(9), blocked), Learned::Known, "it is over");
    }
}

#[test]
fn a_telephone_that_walks_about_is_no_loop() {
    let mut bridge = bridge();
    let mut now = Instant::from_secs(1);
    for turn in 0..1000 {
        let place = if turn % 2 == 0 { A } else { B };
        assert!(matches!(bridge.learn(now, station(1), place), Learned::Known | Learned::Moved));
        now += Duration::from_secs(1);
    }
}

#[test]
fn a_storm_is_limited_for_each_side_and_told_once_a_minute() {
    let mut bridge = with_peers(false);
    let mut now = Instant::from_secs(1000);
    let count = |bridge: &mut Bridge, now, from, of: u32| {
        let admissions: Vec<Admission> = (0..of).map(|_| bridge.admit(now, from)).collect();
        let granted = admissions.iter().filter(|admission| **admission == Admission::Granted).count();
        let told = Admission::Refused { is_news: true };
        (granted, admissions.iter().filter(|admission| **admission == told).count())
    };
    assert_eq!(count(&mut bridge, now, BOB, 5000), (FROM_PEER.burst as usize, 1));
    assert_eq!(count(&mut bridge, now, CAROL, 10), (10, 0), "another one is not stopped by it");
    assert_eq!(count(&mut bridge, now, A, 9000), (FROM_PORT.burst as usize, 1));
    let rest = (ON_LAN.burst - FROM_PORT.burst - FROM_PEER.burst) as usize - 10;
    assert_eq!(count(&mut bridge, now, B, 9000), (rest, 1), "all together");
    now += Duration::from_secs(1);
    assert_eq!(count(&mut bridge, now, BOB, 5000), (FROM_PEER.per_second as usize, 0));
    now += REPORT;
    assert_eq!(count(&mut bridge, now, BOB, 5000), (FROM_PEER.burst as usize, 1));
    assert_eq!((0..5000).filter(|_| bridge.admit_to_peers(now)).count(), TO_PEERS.burst as usize);
}

#[test]
fn a_lan_without_peers_carries_any_number_of_frames_for_everyone() {
    let mut bridge = bridge();
    assert!((0..100_000).all(|_| bridge.admit(Instant::ZERO, A) == Admission::Granted));
}

/// Who claims another peer's stations cuts nobody off.
#[test]
fn a_station_that_two_peers_claim_is_held_where_it_was() {
    let mut bridge = with_peers(false);
    let (mine, other) = (station(1), station(2));
    let mut now = Instant::ZERO;
    bridge.learn(now, mine, BOB);
    bridge.learn(now, other, BOB);
    now += MOVING * 3;
    let mut told = 0;
    for turn in 0..200u8 {
        let from = if turn % 2 == 0 { CAROL } else { BOB };
        match bridge.learn(now, mine, from) {
            Learned::Held { at, .. } => {
                told += 1;
                assert_eq!(at, BOB);
            }
            Learned::Loop { .. } => panic!("nobody is blocked"),
            Learned::Refused => assert_eq!(from, CAROL),
            Learned::Known | Learned::Moved => assert!(told == 0 || from == BOB),
        }
        now += Duration::from_millis(200);
    }
    assert_eq!(told, 1);
    assert_eq!(bridge.port(now, mine), Some(BOB));
    assert_eq!(bridge.troubles(now).count(), 0, "neither of the two is blocked");
    assert_eq!((bridge.behind(BOB), bridge.behind(CAROL)), (2, 0));
    assert_eq!(bridge.learn(now, other, BOB), Learned::Known);
    // A minute later it may move again: it has walked.
    now += BLOCK;
    assert_eq!(bridge.learn(now, mine, CAROL), Learned::Moved);
    assert_eq!((bridge.behind(BOB), bridge.behind(CAROL)), (1, 1));
}

#[test]
fn what_is_wrong_with_a_bridge_port_is_said_until_it_is_over() {
    let mut bridge = with_peers(false);
    let now = Instant::from_secs(10);
    bridge.block(now, BOB, |_| ());
    while bridge.admit(now, CAROL) == Admission::Granted {}
    let troubles = |bridge: &Bridge, now| bridge.troubles(now).collect::<Vec<_>>();
    let storm = Trouble { port: CAROL, blocked_for: None, is_storm: true };
    let left = Some(BLOCK - Duration::from_secs(1));
    assert_eq!(
        troubles(&bridge, now + Duration::from_secs(1)),
        [Trouble { port: BOB, blocked_for: left, is_storm: false }, storm]
    );
    assert_eq!(troubles(&bridge, now + BLOCK.max(REPORT)), []);
}
