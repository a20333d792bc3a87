//! When keys and keepalives are due (whitepaper §6), second by second.

use alloc::vec;
use alloc::vec::Vec;

use super::super::negotiator::{self, Event, Input};
use super::super::tunnel::{WAITING, WAITING_OVERALL};
use super::super::{
    REJECT_AFTER_MESSAGES, REKEY_AFTER_MESSAGES, REKEY_ATTEMPT_TIME, REKEY_TIMEOUT, Seal, Tunnel,
};
use super::world::{End, MTU, World, address, inside, packet, peer, with_keepalive};
use crate::frame::Frame;
use crate::ledger::DropReason;
use crate::machine::Cx;
use crate::rng::SeededRng;
use crate::settings::VpnPeer;
use crate::table::Seed;
use crate::time::{Duration, Instant};

/// When messages of a type were put on the wire since `since`, in whole seconds, and by whom.
fn times(world: &World, since: Instant, kind: u8) -> Vec<(u64, usize)> {
    let tap = world.tap.as_ref().unwrap().iter();
    tap.filter(|(at, _, _, datagram)| *at >= since && datagram[0] == kind)
        .map(|(at, from, ..)| (at.since(since).as_secs(), usize::from(*from == address(1))))
        .collect()
}

#[test]
fn whitepaper_6_1_the_initiator_confirms_its_keys_by_a_keepalive_when_nothing_waits() {
    let now = Instant::from_secs(100);
    let ends = vec![End::new(now, 0, &[(1, with_keepalive(peer(1), 25))]), End::new(now, 1, &[(0, peer(0))])];
    let mut world = World::new(ends);
    world.run_secs(1);
    assert_eq!(world.types(), [1, 2, 4]);
    // Now the responder may use them, too.
    world.send(1, 0, 1);
    world.run_secs(1);
    assert_eq!((world.ends[0].numbers(), world.types()), (vec![1], vec![4]));
}

#[test]
fn whitepaper_6_5_data_that_nothing_answers_is_answered_by_a_keepalive_after_10_s() {
    let mut world = World::connected();
    let since = world.now;
    world.send(0, 1, 1);
    world.run_secs(60);
    assert_eq!(times(&world, since, 4), [(0, 0), (10, 1)], "once, and a keepalive is not answered");

    let mut world = World::connected();
    world.send(0, 1, 1);
    world.run_secs(5);
    world.send(1, 0, 1);
    world.run_secs(60);
    assert_eq!(times(&world, since, 4), [(0, 0), (5, 1), (15, 0)], "data is an answer");

    let mut world = World::connected();
    for second in 0..5 {
        world.send(0, 1, second);
        world.run_secs(1);
    }
    world.run_secs(60);
    let keepalives = times(&world, since, 4).into_iter().filter(|(_, end)| *end == 1);
    assert!(keepalives.eq([(10, 1)]), "one for all");
    assert_eq!(times(&world, since, 1), []);
}

#[test]
fn whitepaper_6_5_a_peer_that_sends_nothing_back_is_asked_for_keys_after_15_s() {
    let mut world = World::connected();
    world.ends[1].address = address(99);
    let since = world.now;
    for second in 0..14 {
        world.send(0, 1, second);
        world.run_secs(1);
        assert_eq!(times(&world, since, 1), [], "not before 15 s");
    }
    world.run_secs(3);
    assert_eq!(times(&world, since, 1).first(), Some(&(15, 0)));
}

#[test]
fn whitepaper_6_2_only_the_initiator_asks_for_new_keys_and_only_when_they_are_used() {
    let mut world = World::connected();
    let since = world.now;
    world.run_secs(110);
    // The responder may go on with old keys, by itself.
    world.send(1, 0, 1);
    world.run_secs(5);
    assert_eq!(times(&world, since, 1), []);
    // A keepalive of the initiator's is a use, too.
    world.run_secs(6);
    assert_eq!(times(&world, since, 1), [(120, 0)]);
    assert!(world.ends.iter().all(|end| end.keys == 2));
    world.run_secs(600);
    assert_eq!(times(&world, since, 1).len(), 1, "nobody uses them");
}

#[test]
fn whitepaper_6_2_an_initiator_that_only_hears_asks_for_new_keys_when_the_old_ones_end() {
    for (age, asks) in [(164, false), (166, true)] {
        let mut world = World::connected();
        world.run_until(Instant::from_secs(100 + age));
        let since = world.now;
        world.send(1, 0, 1);
        world.send(1, 0, 2);
        world.run_secs(1);
        assert_eq!(times(&world, since, 1) == [(0, 0)], asks);
        assert_eq!(world.ends[0].keys, if asks { 2 } else { 1 });
    }
}

#[test]
fn whitepaper_6_2_keys_of_180_s_are_no_keys() {
    let mut world = World::connected();
    world.run_secs(155);
    world.send(1, 0, 4);
    let message = world.last_of(4);
    world.run(Duration::from_millis(10));
    let mut tunnel_of_0 = |now| {
        let mut frame = Frame::from_bytes(&packet(inside(0), inside(1), 0, 0));
        world.ends[0].tunnel.seal(now, 0, &mut frame, MTU)
    };
    let created = Instant::from_secs(100) + Duration::from_millis(40);
    let end = created + Duration::from_secs(180);
    assert_eq!(tunnel_of_0(Instant::from_nanos(end.as_nanos() - 1)), Seal::Ready);
    assert_eq!(tunnel_of_0(end), Seal::NoKeys);
    let outcome = world.ends[0].receive(end, address(1), &message);
    assert_eq!(outcome, Err(DropReason::WireguardNoKeys));
    assert_eq!(world.ends[0].tunnel.status(end, 0).unwrap().keys_since, None);
}

#[test]
fn whitepaper_6_4_an_attempt_is_an_initiation_every_5_s_for_90_s() {
    let mut world = World::pair();
    world.ends[1].address = address(99);
    let since = world.now;
    world.send(0, 1, 1);
    world.run(REKEY_ATTEMPT_TIME - Duration::from_millis(1));
    let sent = world.tap.as_ref().unwrap().clone();
    assert!((17..=18).contains(&sent.len()), "{}", sent.len());
    for two in sent.windows(2) {
        let gap = two[1].0.since(two[0].0);
        assert!((REKEY_TIMEOUT..=REKEY_TIMEOUT + Duration::from_millis(333)).contains(&gap), "{gap:?}");
    }
    let stamped: Vec<_> = sent.iter().map(|(.., datagram)| datagram[88..116].to_vec()).collect();
    assert!(stamped.windows(2).all(|two| two[0] != two[1]), "each is new");
    assert_eq!((world.ends[0].tunnel.held(), world.ends[0].refused.len()), (1, 0));
    world.run_secs(1);
    assert_eq!(
        (world.ends[0].tunnel.held(), world.ends[0].refused.len()),
        (0, 1),
        "what waited is handed back"
    );
    let said = world.ends[0].said.last().unwrap();
    assert!(said.starts_with("the peer did not answer 1"), "{said}");
    world.types();
    world.run_secs(600);
    assert!(world.types().is_empty(), "nobody wants keys any more");
    // Whatever comes next tries again.
    world.send(0, 1, 1);
    assert_eq!((world.types(), times(&world, since, 1).len()), (vec![1], 0));
}

#[test]
fn whitepaper_6_1_wishes_for_keys_do_not_hurry_handshakes() {
    let mut world = World::pair();
    world.ends[1].address = address(99);
    for _ in 0..200 {
        world.send(0, 1, 1);
        let cx = &mut Cx { now: world.now, rng: &mut world.rng };
        world.ends[0].negotiator.handle(cx, Input::Wanted { peer: 0 }).unwrap();
        world.run(Duration::from_millis(100));
    }
    assert_eq!(world.types(), [1; 4], "in 20 s");
}

#[test]
fn a_peer_that_must_not_think_us_silent_hears_of_us_and_keeps_its_keys_new() {
    let now = Instant::from_secs(100);
    let ends = vec![End::new(now, 0, &[(1, with_keepalive(peer(1), 25))]), End::new(now, 1, &[(0, peer(0))])];
    let mut world = World::new(ends);
    world.run_secs(1000);
    let heard: Vec<Instant> = world
        .tap
        .as_ref()
        .unwrap()
        .iter()
        .filter(|(_, from, ..)| *from == address(0))
        .map(|(at, ..)| *at)
        .collect();
    let longest = heard.windows(2).map(|two| two[1].since(two[0])).max().unwrap();
    assert_eq!(longest, Duration::from_secs(25));
    assert!((7..=8).contains(&world.ends[0].keys), "a rekey each 125 s");
    world.send(1, 0, 1);
    world.run_secs(1);
    assert_eq!(
        (world.ends[0].numbers(), world.ends[0].dropped.len()),
        (vec![1], 0),
        "we can be called at any time"
    );
}

#[test]
fn a_peer_that_must_not_think_us_silent_is_called_again_and_again() {
    let now = Instant::from_secs(100);
    let mut world = World::new(vec![End::new(now, 0, &[(1, with_keepalive(peer(1), 25))])]);
    world.run_secs(3600);
    let late = times(&world, now + Duration::from_secs(3500), 1);
    assert!(late.len() >= 15, "{late:?}");
    let mut far = End::new(world.now, 1, &[(0, peer(0))]);
    far.negotiator.set_clock(world.now, Duration::ZERO);
    world.ends.push(far);
    world.run_secs(30);
    assert!(world.ends[1].tunnel.status(world.now, 0).unwrap().keys_since.is_some());
}

#[test]
fn a_peer_whose_endpoint_is_unknown_is_not_asked_and_called_when_it_becomes_known() {
    let settings = [with_keepalive(peer(1), 25)];
    let mut tunnel = Tunnel::new(&settings, Seed::draw(&mut SeededRng::from_u64(1)));
    for second in 0..100 {
        tunnel.handle_timeout(Instant::from_secs(second));
        assert_eq!((tunnel.poll_wanted(), tunnel.endpoint(0)), (None, None));
    }
    tunnel.set_endpoint(0, address(1));
    tunnel.handle_timeout(Instant::from_secs(100));
    assert_eq!(tunnel.poll_wanted(), Some(0));
}

#[test]
fn whitepaper_6_2_after_reject_after_messages_there_are_no_keys() {
    let mut world = World::connected();
    let now = world.now;
    let seal = |end: &mut End, to: u8| {
        let mut frame = Frame::from_bytes(&packet(end.inside, inside(to), 0, 0));
        end.tunnel.seal(now, 0, &mut frame, MTU)
    };
    // Worn keys are replaced by either side.
    for end in 0..2 {
        world.ends[end].tunnel.wear(0, REKEY_AFTER_MESSAGES - 1);
        assert_eq!(seal(&mut world.ends[end], 1 - end as u8), Seal::Ready);
        assert_eq!(world.ends[end].tunnel.poll_wanted(), None);
        assert_eq!(seal(&mut world.ends[end], 1 - end as u8), Seal::Ready);
        assert_eq!(world.ends[end].tunnel.poll_wanted(), Some(0));
    }
    world.ends[0].tunnel.wear(0, REJECT_AFTER_MESSAGES - 1);
    assert_eq!(seal(&mut world.ends[0], 1), Seal::Ready);
    assert_eq!(seal(&mut world.ends[0], 1), Seal::NoKeys);
    world.run_secs(6);
    world.send(0, 1, 1);
    world.run_secs(1);
    assert!(world.ends[1].numbers().ends_with(&[1]), "new keys");
}

#[test]
fn packets_that_wait_for_keys_are_so_many_and_no_more() {
    let settings: Vec<VpnPeer> = (0..40).map(peer).collect();
    let mut tunnel = Tunnel::new(&settings, Seed::draw(&mut SeededRng::from_u64(1)));
    let frame = |n: u64| Frame::from_bytes(&n.to_be_bytes());
    for n in 0..WAITING as u64 {
        assert!(tunnel.hold(0, frame(n)).is_none());
    }
    assert_eq!(tunnel.hold(0, frame(77)).unwrap().bytes(), 0u64.to_be_bytes(), "the oldest makes room");
    assert_eq!(tunnel.held(), WAITING);
    let others = (1..40).flat_map(|peer| [peer; WAITING]);
    let refused = others.filter(|&peer| tunnel.hold(peer, frame(1)).is_some()).count();
    assert_eq!((tunnel.held(), refused), (WAITING_OVERALL, 40 * WAITING - WAITING_OVERALL));
    let freed: Vec<_> = tunnel.give_up(0).map(|frame| frame.bytes()[7]).collect();
    assert_eq!((freed.len(), freed[0], freed[WAITING - 1]), (WAITING, 1, 77));
    assert_eq!(tunnel.held(), WAITING_OVERALL - WAITING);
    assert!(tunnel.hold(40, frame(1)).is_some(), "there is no such peer");
}

#[test]
fn what_waited_goes_in_its_order_before_what_comes_later() {
    let mut world = World::pair();
    for n in 0..10 {
        world.send(0, 1, n);
    }
    world.run_secs(1);
    world.send(0, 1, 10);
    world.run_secs(1);
    assert!(world.ends[1].numbers().into_iter().eq(0..11));
}

#[test]
fn a_key_that_no_honest_peer_has_is_given_up_at_once() {
    let mut bad = peer(1);
    bad.public_key.0 = [0; 32];
    let mut world = World::new(vec![End::new(Instant::from_secs(100), 0, &[(1, bad)])]);
    world.send(0, 1, 1);
    assert_eq!((world.types(), world.ends[0].refused.len()), (vec![], 1));
    assert_eq!(
        world.ends[0].said,
        ["the peer's public key is not one that can be used; it has a typing error"]
    );
}

#[test]
fn spurious_calls_do_nothing() {
    let mut world = World::connected();
    let now = world.now;
    for _ in 0..100 {
        assert_eq!(world.ends[0].turn(now), []);
    }
    let end = &mut world.ends[0];
    let cx = &mut Cx { now, rng: &mut end.rng };
    assert_eq!(end.negotiator.handle(cx, Input::Wanted { peer: 9 }), Ok(()));
    end.tunnel.announce(now, 9);
    assert_eq!(end.tunnel.give_up(9).count(), 0);
    end.tunnel.set_endpoint(9, address(9));
    assert_eq!((end.tunnel.endpoint(9), end.tunnel.status(now, 9)), (None, None));
    assert_eq!(end.tunnel.seal(now, 9, &mut Frame::from_bytes(&[0]), MTU), Seal::NoKeys);
    assert!(end.turn(now).is_empty());
}

#[test]
fn hundreds_of_failures_are_told_in_bounded_memory() {
    let mut rng = SeededRng::from_u64(1);
    let peers: Vec<VpnPeer> = (0..300u16)
        .map(|n| {
            let mut peer = peer(1);
            peer.public_key.0[..2].copy_from_slice(&n.to_be_bytes());
            peer
        })
        .collect();
    let mut now = Instant::from_secs(1);
    let mut negotiator =
        negotiator::Negotiator::new(&mut Cx { now, rng: &mut rng }, &super::world::private_key(0), &peers);
    for _ in 0..40 {
        for peer in 0..300 {
            negotiator.handle(&mut Cx { now, rng: &mut rng }, Input::Wanted { peer }).unwrap();
        }
        now += Duration::from_secs(5);
        negotiator.handle_timeout(&mut Cx { now, rng: &mut rng });
    }
    let mut frame = Frame::with_capacity(2048);
    let mut count = 0;
    while negotiator.poll_transmit(&mut frame).is_some() {
        frame.reset();
        count += 1;
    }
    assert_eq!(count, negotiator::QUEUE);
    let mut events = 0;
    while let Some(event) = negotiator.poll_event() {
        assert!(!matches!(event, Event::Keys { .. }));
        events += 1;
    }
    assert!((1..=negotiator::EVENTS).contains(&events));
}
