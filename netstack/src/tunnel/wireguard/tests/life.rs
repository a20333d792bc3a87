//! Two ends over hours: rekeys, bad wires, roaming, restarts, clocks.

use alloc::vec;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, SocketAddr};

use super::super::{PrivateKey, WIPE_AFTER_TIME};
use super::world::{End, UNIX, World, address, peer, private_key, with_keepalive};
use crate::ledger::DropReason;
use crate::time::{Duration, Instant};

#[test]
fn a_day_of_rekeys_loses_not_one_packet() {
    let mut world = World::pair();
    world.tap = None;
    const SECONDS: u64 = 24 * 3600;
    for second in 0..SECONDS {
        world.send(0, 1, second);
        world.run(Duration::from_millis(500));
        world.send(1, 0, second);
        world.run(Duration::from_millis(500));
    }
    for end in &world.ends {
        assert!(end.numbers().into_iter().eq(0..SECONDS), "all, once, in order");
        assert_eq!(end.dropped, []);
        assert!((SECONDS / 122..=SECONDS / 120 + 2).contains(&(end.keys as u64)), "{}", end.keys);
        assert_eq!((end.tunnel.status(world.now, 0).unwrap().lost, end.tunnel.held()), (0, 0));
        assert!(end.said.is_empty() && end.refused.is_empty());
        // But for the first one, which waited for keys, no packet has taken longer than the wire.
        let begun = if end.address == address(1) { 100_000 } else { 100_500 };
        let times = end.got.iter().zip(0..).map(|((at, ..), second)| (*at, begun + second * 1000));
        let late = times.skip(1).filter(|(at, sent)| at.since(Instant::from_millis(*sent)) > world.latency);
        assert_eq!(late.count(), 0);
    }
}

#[test]
fn when_only_one_end_talks_for_a_day_nothing_is_lost_either() {
    // The one that is silent asked for the first keys, and so must ask for all others: with a keepalive at the latest.
    let mut world = World::pair();
    world.tap = None;
    world.send(0, 1, 0);
    world.run_secs(1);
    const SECONDS: u64 = 24 * 3600;
    for second in (0..SECONDS).step_by(2) {
        world.send(1, 0, second);
        world.run_secs(2);
    }
    assert!(world.ends[0].numbers().into_iter().eq((0..SECONDS).step_by(2)));
    assert!(world.ends.iter().all(|end| end.dropped.is_empty() && end.said.is_empty()));
    let keys = world.ends[0].keys as u64;
    assert!((SECONDS / 134..=SECONDS / 120 + 2).contains(&keys), "{keys}");
}

#[test]
fn both_ends_that_begin_at_once_get_along() {
    for latency in [0, 1, 20, 400] {
        let mut world = World::pair();
        world.latency = Duration::from_millis(latency);
        let (now, sent) = (world.now, [(0, 1), (1, 0)]);
        for (end, to) in sent {
            let packet = super::world::packet(super::world::inside(end), super::world::inside(to), 7, 0);
            assert!(world.ends[usize::from(end)].send(now, &packet).is_none());
        }
        (0..2).for_each(|end| world.turn(end));
        world.run_secs(2);
        for second in 0..300 {
            world.send(0, 1, second);
            world.send(1, 0, second);
            world.run_secs(1);
        }
        for end in &world.ends {
            assert!(end.numbers().into_iter().eq([7].into_iter().chain(0..300)), "{:?}", end.numbers());
            assert_eq!(end.dropped, []);
        }
    }
}

#[test]
fn a_wire_that_loses_repeats_and_reorders_is_survived() {
    let mut world = World::pair();
    world.tap = None;
    (world.loss, world.repeats, world.jitter) = (15, 10, Duration::from_millis(300));
    const STEPS: u64 = 10 * 3600;
    for step in 0..STEPS {
        world.send(0, 1, step);
        world.send(1, 0, step);
        world.run(Duration::from_millis(100));
    }
    world.run_secs(5);
    let mut counted = 0;
    for end in &world.ends {
        let mut numbers = end.numbers();
        let received = numbers.len() as u64;
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len() as u64, received, "no packet came twice");
        assert!(received > STEPS * 80 / 100, "{received} of {STEPS}");
        let gap = end.got.windows(2).map(|two| two[1].0.since(two[0].0)).max().unwrap();
        assert!(gap < Duration::from_secs(8), "{gap:?} of silence");
        let expected =
            [DropReason::WireguardReplay, DropReason::WireguardHandshake, DropReason::WireguardUnknownIndex];
        assert!(end.dropped.iter().all(|reason| expected.contains(reason)), "only what came twice or late");
        counted += end.tunnel.status(world.now, 0).unwrap().lost;
    }
    let (_, lost) = world.lost;
    assert!(counted <= lost + 100 && counted * 100 > lost * 98, "{counted} counted, {lost} lost");
}

#[test]
fn a_peer_is_followed_to_where_it_talks_from() {
    let mut world = World::connected();
    // Another port, another address, the other family.
    for moved in ["192.0.2.1:1024", "198.51.100.9:51820", "[2001:db8::9]:4"] {
        let moved: SocketAddr = moved.parse().unwrap();
        world.ends[1].address = moved;
        world.send(1, 0, 5);
        world.run_secs(1);
        assert_eq!(world.ends[0].tunnel.endpoint(0), Some(moved));
        world.send(0, 1, 6);
        world.run_secs(1);
        assert_eq!((world.ends[0].got.len(), world.ends[1].numbers().last()), (1, Some(&6)));
        world.ends[0].got.clear();
    }
    assert!(world.ends.iter().all(|end| end.keys == 1), "without another handshake");
}

#[test]
fn a_redialled_end_is_followed_within_one_keepalive() {
    let now = Instant::from_secs(100);
    let ends = vec![End::new(now, 0, &[(1, with_keepalive(peer(1), 25))]), End::new(now, 1, &[(0, peer(0))])];
    let mut world = World::new(ends);
    world.run_secs(60);
    let moved = SocketAddr::new(Ipv4Addr::new(203, 0, 113, 77).into(), 51820);
    world.ends[0].address = moved;
    world.run_secs(25);
    assert_eq!(world.ends[1].tunnel.endpoint(0), Some(moved));
    world.send(1, 0, 3);
    world.run_secs(1);
    assert_eq!(world.ends[0].numbers(), [3]);
}

#[test]
fn an_address_that_is_not_the_peers_own_message_moves_nobody() {
    let mut world = World::connected();
    world.send(1, 0, 5);
    let mut message = world.last_of(4);
    let last = message.len() - 1;
    message[last] ^= 1;
    let elsewhere = address(200);
    let outcome = world.ends[0].receive(world.now, elsewhere, &message);
    assert_eq!(
        (outcome, world.ends[0].tunnel.endpoint(0)),
        (Err(DropReason::WireguardDecrypt), Some(address(1)))
    );
}

#[test]
fn an_end_that_was_restarted_is_back_as_soon_as_it_or_the_other_talks() {
    for talks in [0, 1] {
        let mut world = World::connected();
        world.run_secs(30);
        let floor = world.ends[1].negotiator.ceiling();
        world.ends[1] = End::new(world.now, 1, &[(0, peer(0))]);
        world.ends[1].negotiator.set_floor(floor);
        for second in 0..40 {
            world.send(talks, 1 - talks as u8, second);
            world.run_secs(1);
        }
        // The one that forgot begins anew at once; the other one notices after 15 s that nothing comes back.
        let got: Vec<u64> = world.ends[1 - talks].numbers();
        let first = if talks == 0 { 16 } else { 0 };
        assert!(got.iter().copied().eq(first..40), "{talks}: {got:?}");
    }
}

#[test]
fn another_key_is_another_peer() {
    let mut world = World::connected();
    let new_key = PrivateKey::new([0x42; 32]);
    world.ends[1] = End::with_key(world.now, 1, &new_key, &[(0, peer(0))]);
    world.send(1, 0, 1);
    world.run_secs(10);
    assert!(world.ends[0].numbers().is_empty());
    assert_eq!(world.ends[0].dropped.first(), Some(&DropReason::WireguardHandshake));
    let stranger = world.ends[0].negotiator.stranger().unwrap();
    assert_eq!((stranger.public_key, stranger.from), (new_key.public(), address(1)));

    let mut renamed = peer(1);
    renamed.public_key = new_key.public();
    world.ends[0] = End::new(world.now, 0, &[(1, renamed)]);
    world.run_secs(10);
    world.send(0, 1, 2);
    world.run_secs(10);
    assert_eq!((world.ends[0].numbers(), world.ends[1].numbers()), (vec![1], vec![2]));
}

#[test]
fn a_clock_set_back_an_hour_does_not_matter_to_a_peer() {
    let mut world = World::connected();
    let now = world.now;
    world.ends[0].negotiator.set_clock(now, UNIX - Duration::from_secs(3600));
    for second in 0..600 {
        world.send(0, 1, second);
        world.run_secs(1);
    }
    assert!(world.ends[1].numbers().into_iter().skip(1).eq(0..600));
    assert!(world.ends[0].keys >= 5 && world.ends.iter().all(|end| end.dropped.is_empty()));
}

#[test]
fn a_clock_set_back_over_a_restart_does_not_matter_with_the_stored_ceiling() {
    for stored in [true, false] {
        let mut world = World::connected();
        let ceiling = world.ends[0].negotiator.ceiling();
        assert!(ceiling > UNIX && ceiling.as_secs().is_multiple_of(600));
        world.run_secs(5);
        world.ends[0] = End::new(world.now, 0, &[(1, peer(1))]);
        world.ends[0].negotiator.set_clock(world.now, UNIX - Duration::from_secs(3600));
        if stored {
            world.ends[0].negotiator.set_floor(ceiling);
        }
        world.send(0, 1, 1);
        world.run_secs(2);
        assert_eq!(world.ends[1].numbers() == [0, 1], stored);
        assert_eq!(world.ends[1].dropped.is_empty(), stored);
        let said = world.ends[1]
            .negotiator
            .status(0)
            .unwrap()
            .failure
            .map(|(_, failure)| alloc::format!("{failure}"));
        assert_eq!(said.is_some_and(|said| said.contains("clock was set back")), !stored);
    }
}

#[test]
fn nothing_of_the_keys_is_left_nine_minutes_after_the_last_handshake() {
    let mut world = World::connected();
    world.send(1, 0, 9);
    let message = world.last_of(4);
    world.run_until(Instant::from_secs(99) + WIPE_AFTER_TIME);
    let now = world.now;
    let too_old = world.ends[0].receive(now, address(1), &message);
    assert_eq!(too_old, Err(DropReason::WireguardNoKeys), "they are there, and too old");
    world.run_secs(3);
    assert_eq!(world.ends[0].receive(now, address(1), &message), Err(DropReason::WireguardUnknownIndex));
    assert_eq!(world.ends[0].tunnel.poll_timeout(), None);
}

#[test]
fn the_private_key_says_who_we_are() {
    let world = World::pair();
    assert_eq!(world.ends[0].negotiator.public_key(), private_key(0).public());
}
