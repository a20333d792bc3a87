//! Messages of people who mean no good, or whose configuration is wrong.

use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, SocketAddr};

use super::super::cookie::Signer;
use super::super::handshake::{Identity, Initiating, Remote};
use super::super::message::{Message, STAMP};
use super::super::negotiator::{Failure, Input, PER_SOURCE, PROVEN, UNPROVEN};
use super::super::{PrivateKey, PublicKey};
use super::world::{End, MTU, World, address, inside, nobody, packet, peer, private_key, with_preshared};
use crate::frame::Frame;
use crate::id::{IpCidr, Ipv4Cidr};
use crate::ledger::DropReason;
use crate::machine::Cx;
use crate::rng::{Rng, SeededRng};
use crate::time::{Duration, Instant};

/// What an end's state looks like from outside.
fn state(end: &End, now: Instant) -> impl PartialEq + core::fmt::Debug + use<> {
    let peers = 0..3;
    let handshakes: Vec<_> = peers.clone().map(|peer| end.negotiator.status(peer)).collect();
    let tunnels: Vec<_> = peers.map(|peer| end.tunnel.status(now, peer)).collect();
    (handshakes, tunnels, end.negotiator.ceiling(), end.negotiator.poll_timeout(), end.keys)
}

/// An initiation with a good MAC1 by somebody who knows our public key and is nobody's peer.
fn by_a_stranger(us: &PublicKey) -> Vec<u8> {
    let stranger = Identity::new(&PrivateKey::new([0x66; 32]));
    let remote = Remote::new(&stranger, *us, None);
    let mut rng = SeededRng::from_u64(13);
    let (_, message) = Initiating::begin(&mut rng, &stranger, &remote, 1, &[0x41; STAMP]).unwrap();
    let mut message = message.to_vec();
    Signer::new(us).sign(Instant::ZERO, 1, &mut message);
    message
}

/// The same message with the MACs of somebody who knows our public key.
fn signed_again(us: &PublicKey, message: &[u8]) -> Vec<u8> {
    let mut message = message.to_vec();
    Signer::new(us).sign(Instant::ZERO, 1, &mut message);
    message
}

#[test]
fn every_handshake_message_cut_or_flipped_is_dropped_by_name_and_changes_nothing() {
    for kind in [1, 2, 3] {
        let mut world = World::pair();
        world.send(0, 1, 1);
        let good = match kind {
            1 => world.last_of(1),
            2 => {
                world.run(Duration::from_millis(25));
                world.last_of(2)
            }
            _ => {
                // End 1 is under load.
                let flood = by_a_stranger(&private_key(1).public());
                for n in 0..1000u32 {
                    let from = SocketAddr::new(Ipv4Addr::from_bits(n << 12).into(), 9);
                    let now = world.now + Duration::from_millis(20);
                    let _ = world.ends[1].receive(now, from, &flood);
                }
                world.run(Duration::from_millis(25));
                world.last_of(3)
            }
        };
        let (to, from) = if kind == 1 { (1, 0) } else { (0, 1) };
        let now = world.now;
        let end = &mut world.ends[to];
        end.dropped.clear();
        let before = state(end, now);
        for len in 0..good.len() {
            let outcome = end.receive(now, address(from), &good[..len]);
            assert_eq!(outcome, Err(DropReason::WireguardMalformed));
        }
        let mut longer = good.clone();
        longer.push(0);
        assert_eq!(end.receive(now, address(from), &longer), Err(DropReason::WireguardMalformed));
        for bit in 0..good.len() * 8 {
            let mut flipped = good.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            // Without load, MAC2 is nothing that anybody looks at.
            if kind < 3 && bit / 8 >= good.len() - 16 {
                break;
            }
            let reason = end.receive(now, address(from), &flipped).unwrap_err();
            let expected = match (kind, bit / 8) {
                (_, 0..4) => DropReason::WireguardMalformed,
                (3, 4..8) => DropReason::WireguardUnknownIndex,
                (3, _) => DropReason::WireguardHandshake,
                _ => DropReason::WireguardMac,
            };
            assert_eq!(reason, expected, "type {kind}, bit {bit}");
            assert!(end.turn(now).is_empty());
        }
        assert_eq!(state(end, now), before);
        // The good one is as good as if nothing had been there before it.
        assert_eq!(end.receive(now, address(from), &good), Ok(()));
        let status = end.negotiator.status(0).unwrap();
        assert_eq!((status.cookies, status.last), if kind == 3 { (1, None) } else { (0, Some(now)) });
    }
}

#[test]
fn an_initiation_changed_by_one_who_knows_our_key_is_dropped_and_changes_no_keys() {
    let mut world = World::pair();
    world.send(0, 1, 1);
    let good = world.last_of(1);
    let us = private_key(1).public();
    let mut now = world.now;
    for bit in 8 * 8..116 * 8 {
        let mut flipped = good.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        now += Duration::from_millis(60);
        let outcome = world.ends[1].receive(now, address(0), &signed_again(&us, &flipped));
        assert_eq!(outcome, Err(DropReason::WireguardHandshake), "bit {bit}");
        assert!(world.ends[1].turn(now).is_empty());
        let said = world.ends[1].negotiator.status(0).unwrap();
        // From the sealed stamp on, it is clear in whose name it is.
        let failure = (bit >= 88 * 8).then_some((now, Failure::Forged));
        assert_eq!((said.last, said.failure), (None, failure));
    }
    now += Duration::from_secs(1);
    assert_eq!(world.ends[1].receive(now, address(0), &good), Ok(()));
}

#[test]
fn a_response_changed_by_one_who_knows_our_key_does_not_end_the_handshake() {
    let mut world = World::pair();
    world.send(0, 1, 1);
    world.run(Duration::from_millis(25));
    let good = world.last_of(2);
    let us = private_key(0).public();
    let mut now = world.now;
    for bit in 8 * 8..60 * 8 {
        let mut flipped = good.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        // From many places, lest there are too many from one; before the initiation is said again.
        now += Duration::from_millis(10);
        let outcome = world.ends[0].receive(now, address(bit as u8), &signed_again(&us, &flipped));
        let other_index = (8..12).contains(&(bit / 8));
        let reason =
            if other_index { DropReason::WireguardUnknownIndex } else { DropReason::WireguardHandshake };
        assert_eq!(outcome, Err(reason), "bit {bit}");
    }
    assert_eq!(world.ends[0].receive(now, address(1), &good), Ok(()));
    assert_eq!(world.ends[0].turn(now).len(), 1, "what waited goes");
}

#[test]
fn every_data_message_cut_or_flipped_is_dropped_by_name_and_changes_nothing() {
    let mut world = World::connected();
    world.send(1, 0, 40);
    let good = world.last_of(4);
    let now = world.now;
    let end = &mut world.ends[0];
    let before = state(end, now);
    let elsewhere = address(77);
    for len in 0..good.len() {
        let reason = if len < 32 { DropReason::WireguardMalformed } else { DropReason::WireguardDecrypt };
        assert_eq!(end.receive(now, elsewhere, &good[..len]), Err(reason), "{len}");
    }
    for bit in 0..good.len() * 8 {
        let mut flipped = good.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let reason = match bit / 8 {
            0..4 => DropReason::WireguardMalformed,
            4..8 => DropReason::WireguardUnknownIndex,
            // The number of the message before it.
            8 if bit == 64 => DropReason::WireguardReplay,
            _ => DropReason::WireguardDecrypt,
        };
        assert_eq!(end.receive(now, elsewhere, &flipped), Err(reason), "bit {bit}");
    }
    assert_eq!(state(end, now), before);
    assert!(end.got.is_empty() && end.turn(now).is_empty());
    assert_eq!(end.receive(now, address(1), &good), Ok(()));
}

#[test]
fn what_was_heard_and_said_again_is_dropped() {
    let mut world = World::pair();
    world.send(0, 1, 1);
    world.run_secs(1);
    let [initiation, response, data] = [1, 2, 4].map(|kind| world.last_of(kind));
    let now = world.now;
    let before = state(&world.ends[1], now);
    let outcome = world.ends[1].receive(now, address(66), &data);
    assert_eq!((outcome, state(&world.ends[1], now) == before), (Err(DropReason::WireguardReplay), true));
    let outcome = world.ends[0].receive(now, address(66), &response);
    assert_eq!(outcome, Err(DropReason::WireguardUnknownIndex));
    let outcome = world.ends[1].receive(now, address(66), &initiation);
    assert_eq!(outcome, Err(DropReason::WireguardHandshake));
    assert!(world.ends.iter_mut().all(|end| end.turn(now).is_empty()), "nobody answers");
    let (_, failure) = world.ends[1].negotiator.status(0).unwrap().failure.unwrap();
    assert!(failure.to_string().contains("it came twice"), "{failure}");
    assert_eq!(world.ends[1].tunnel.endpoint(0), Some(address(0)), "and nobody is moved");
}

#[test]
fn one_who_has_another_public_key_of_ours_is_not_answered() {
    let now = Instant::from_secs(100);
    let mut wrong = peer(1);
    wrong.public_key = nobody();
    let ends = vec![End::new(now, 0, &[(1, wrong)]), End::new(now, 1, &[(0, peer(0))])];
    let mut world = World::new(ends);
    world.send(0, 1, 1);
    world.run_secs(20);
    assert!(world.types().iter().all(|kind| *kind == 1));
    assert!(world.ends[1].dropped.iter().all(|reason| *reason == DropReason::WireguardMac));
    assert!(world.ends[1].dropped.len() >= 3);
}

#[test]
fn different_preshared_keys_lead_to_a_sentence_that_says_so() {
    let now = Instant::from_secs(100);
    let ends = vec![
        End::new(now, 0, &[(1, with_preshared(peer(1), [1; 32]))]),
        End::new(now, 1, &[(0, with_preshared(peer(0), [2; 32]))]),
    ];
    let mut world = World::new(ends);
    world.send(0, 1, 1);
    world.run_secs(100);
    assert!(world.ends[0].dropped.iter().all(|reason| *reason == DropReason::WireguardHandshake));
    assert_eq!((world.ends[0].keys, world.ends[0].refused.len()), (0, 1));
    assert!(world.ends[0].said.last().unwrap().contains("different preshared keys"));
    assert!(world.ends[1].got.is_empty());
}

#[test]
fn the_same_preshared_key_joins() {
    let now = Instant::from_secs(100);
    let ends = vec![
        End::new(now, 0, &[(1, with_preshared(peer(1), [1; 32]))]),
        End::new(now, 1, &[(0, with_preshared(peer(0), [1; 32]))]),
    ];
    let mut world = World::new(ends);
    world.send(0, 1, 1);
    world.run_secs(1);
    assert_eq!(world.ends[1].numbers(), [1]);
}

#[test]
fn a_peer_may_use_its_own_sources_only_not_even_those_within_its_network_that_are_anothers() {
    let now = Instant::from_secs(100);
    let mut wide = peer(1);
    wide.allowed_ips = vec![IpCidr::V4(Ipv4Cidr { address: Ipv4Addr::new(10, 0, 0, 0), prefix: 24 })];
    // End 0 has peer 1 with the whole network but for peer 2's address.
    let ends = vec![End::new(now, 0, &[(1, wide), (2, peer(2))]), End::new(now, 1, &[(0, peer(0))])];
    let mut world = World::new(ends);
    for (source, passes) in [
        (inside(1), true),
        (inside(77), true),
        (inside(2), false),
        (Ipv4Addr::new(10, 0, 1, 1), false),
        (Ipv4Addr::new(192, 0, 2, 1), false),
    ] {
        world.ends[1].inside = source;
        world.ends[0].got.clear();
        world.ends[0].dropped.clear();
        world.send(1, 0, 1);
        world.run_secs(1);
        assert_eq!(world.ends[0].got.len() == 1, passes, "{source}");
        let reason: &[_] = if passes { &[] } else { &[DropReason::WireguardSource] };
        assert_eq!(world.ends[0].dropped, reason);
    }
}

#[test]
fn what_a_peer_seals_must_be_a_whole_ip_packet() {
    let mut world = World::connected();
    let now = world.now;
    let good = packet(inside(1), inside(0), 1, 0);
    let changed = |at: usize, octet: u8| {
        let mut packet = good.clone();
        packet[at] = octet;
        packet
    };
    let cases: Vec<Vec<u8>> = vec![
        vec![0],
        vec![0xff; 64],
        good[..19].to_vec(),
        changed(0, 0x44),
        changed(0, 0x55),
        changed(0, 0x65),
        changed(2, 1),
        changed(3, 19),
        changed(3, 33),
        [&[0x60, 0, 0, 0, 0, 16, 59, 64][..], &[0; 32], &[0; 7]].concat(),
        [&[0x60][..], &[0; 20]].concat(),
    ];
    for case in cases {
        let mut frame = Frame::from_bytes(&case);
        let before = world.ends[0].tunnel.status(now, 0).unwrap().usage.rx_packets;
        // No padding, so that it is as long as it is.
        world.ends[1].tunnel.seal(now, 0, &mut frame, 0);
        let outcome = world.ends[0].receive(now, address(1), frame.bytes());
        assert_eq!(outcome, Err(DropReason::WireguardMalformed), "{case:?}");
        assert_eq!(world.ends[0].tunnel.status(now, 0).unwrap().usage.rx_packets, before);
    }
    let mut frame = Frame::from_bytes(&good);
    world.ends[1].tunnel.seal(now, 0, &mut frame, MTU);
    assert_eq!(world.ends[0].receive(now, address(1), frame.bytes()), Ok(()));
    assert_eq!(world.ends[0].got[0].2, good, "without the padding");
}

#[test]
fn one_source_gets_its_share_and_then_cookies_and_then_nothing() {
    let mut world = World::pair();
    let us = private_key(0).public();
    let message = by_a_stranger(&us);
    let now = world.now;
    let (here, port) = (address(50), |port| SocketAddr::new(address(50).ip(), port));
    let end = &mut world.ends[0];
    let mut cookies = vec![];
    for n in 0..100 {
        let _ = end.receive(now, port(n), &message);
        cookies.extend(end.turn(now));
    }
    let let_in = end.dropped.iter().filter(|reason| **reason == DropReason::WireguardHandshake).count();
    assert_eq!((let_in, cookies.len()), (PER_SOURCE.burst as usize, 100 - let_in));
    assert!(
        cookies.iter().all(|(to, cookie)| to.ip() == here.ip() && cookie.len() == 64),
        "no larger than the question"
    );
    // With the cookie it has as much again, as it is known to be there.
    let mut signer = Signer::new(&us);
    let mut proven = message.clone();
    signer.sign(now, 1, &mut proven);
    let _ = end.receive(now, here, &proven);
    let reply = end.turn(now).pop().unwrap().1;
    let Ok(Message::CookieReply(reply)) = Message::parse(&reply) else { panic!("a cookie") };
    assert!(signer.learn(now, &reply));
    signer.sign(now, 1, &mut proven);
    end.dropped.clear();
    for _ in 0..100 {
        let _ = end.receive(now, here, &proven);
    }
    assert!(end.turn(now).is_empty(), "who has a cookie gets no other");
    let let_in = end.dropped.iter().filter(|reason| **reason == DropReason::WireguardHandshake).count();
    assert_eq!((let_in, end.dropped.len()), (PER_SOURCE.burst as usize, 100));
    // And in a second's time what a second allows.
    end.dropped.clear();
    for millis in 0..1000 {
        let _ = end.receive(now + Duration::from_millis(1000 + millis), here, &proven);
    }
    let let_in = end.dropped.iter().filter(|reason| **reason == DropReason::WireguardHandshake).count();
    assert!((20..=25).contains(&let_in), "{let_in}");
}

#[test]
fn a_flood_from_ten_thousand_false_sources_leaves_other_peers_working() {
    let now = Instant::from_secs(100);
    let ends = vec![End::new(now, 0, &[(1, peer(1)), (2, peer(2))]), End::new(now, 1, &[(0, peer(0))])];
    let mut world = World::new(ends);
    world.tap = None;
    let flood = by_a_stranger(&private_key(0).public());
    let from = |n: u64| SocketAddr::new(Ipv4Addr::from_bits(0x0b00_0000 + (n % 10_000) as u32).into(), 7);
    let mut count = 0;
    // 2,500 each second for 8 s, also in the name of the peer's own address.
    for tenth in 0..80 {
        for _ in 0..250 {
            count += 1;
            let source = if count % 10 == 0 { address(1) } else { from(count) };
            let (now, end) = (world.now, &mut world.ends[0]);
            let _ = end.receive(now, source, &flood);
            // The flooder does not care for cookies.
            let out = end.turn(now);
            assert!(out.len() <= 1);
        }
        if tenth == 10 {
            world.send(1, 0, 1);
        }
        world.run(Duration::from_millis(100));
    }
    assert_eq!(world.ends[0].numbers(), [1], "by a cookie");
    assert_eq!(world.ends[1].negotiator.status(0).unwrap().cookies, 1);
    let at = world.ends[0].got[0].0.since(now);
    assert!(at < Duration::from_secs(7), "one more try is enough: {at:?}");
    let costly =
        world.ends[0].dropped.iter().filter(|reason| **reason == DropReason::WireguardHandshake).count();
    assert!(costly <= (UNPROVEN.burst + 8 * UNPROVEN.per_second) as usize, "{costly}");
    let stranger = world.ends[0].negotiator.stranger().unwrap();
    assert_eq!(stranger.public_key, PrivateKey::new([0x66; 32]).public());
}

#[test]
fn a_flood_from_true_sources_leaves_peers_that_were_here_working() {
    let mut world = World::connected();
    let us = private_key(0).public();
    let question = by_a_stranger(&us);
    let now = world.now + Duration::from_secs(60);
    let end = &mut world.ends[0];
    end.turn(now);
    // All of them get a cookie, and come back with it.
    let mut armed = vec![];
    for n in 0..3000u32 {
        let from = SocketAddr::new(Ipv4Addr::from_bits(0x0c00_0000 + (n << 8)).into(), 7);
        let mut signer = Signer::new(&us);
        let mut message = question.clone();
        signer.sign(now, 1, &mut message);
        let _ = end.receive(now, from, &message);
        let Some((_, reply)) = end.turn(now).pop() else { continue };
        let Ok(Message::CookieReply(reply)) = Message::parse(&reply) else { panic!("a cookie") };
        assert!(signer.learn(now, &reply));
        signer.sign(now, 1, &mut message);
        armed.push((from, message));
    }
    assert!(armed.len() >= 2800);
    end.dropped.clear();
    for (from, message) in &armed {
        let _ = end.receive(now, *from, message);
    }
    let costly = end.dropped.iter().filter(|reason| **reason == DropReason::WireguardHandshake).count();
    assert!((150..=PROVEN.burst as usize).contains(&costly), "{costly}");
    // They go on, and others without cookies, too, who take each chance as soon as there is one. Peer 1, who was here, wants new keys.
    world.now = now;
    world.latency = Duration::from_millis(22);
    let far = &mut world.ends[1];
    far.negotiator.handle(&mut Cx { now, rng: &mut far.rng }, Input::Wanted { peer: 0 }).unwrap();
    world.turn(1);
    let mut armed = armed.iter().cycle();
    for n in 0..6500u32 {
        let (now, end) = (world.now, &mut world.ends[0]);
        for (from, message) in armed.by_ref().take(2) {
            let _ = end.receive(now, *from, message);
        }
        let from = SocketAddr::new(Ipv4Addr::from_bits(0x0d00_0000 + n).into(), 7);
        let _ = end.receive(now, from, &question);
        world.run(Duration::from_millis(1));
    }
    assert_eq!(world.ends[1].negotiator.status(0).unwrap().cookies, 1);
    assert_eq!(world.ends[1].keys, 2);
}

#[test]
fn a_peer_that_hurries_is_held_back_and_everybody_keeps_the_keys_they_have() {
    let mut world = World::connected();
    let (near, far) = (Identity::new(&private_key(1)), private_key(0).public());
    let remote = Remote::new(&near, far, None);
    let mut rng = SeededRng::from_u64(5);
    let mut signer = Signer::new(&far);
    let now = world.now + Duration::from_secs(1);
    let mut outcomes = vec![];
    for n in 0..2000u32 {
        let mut stamp = [0x7f; STAMP];
        stamp[8..].copy_from_slice(&n.to_be_bytes());
        let (_, message) = Initiating::begin(&mut rng, &near, &remote, n, &stamp).unwrap();
        let mut message = message.to_vec();
        signer.sign(now, n, &mut message);
        let at = now + Duration::from_millis(u64::from(n) * 10);
        outcomes.push(world.ends[0].receive(at, address(1), &message));
        for (_, reply) in world.ends[0].turn(at) {
            if let Ok(Message::CookieReply(reply)) = Message::parse(&reply) {
                signer.learn(at, &reply);
            }
        }
    }
    let answered = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert!((300..=1000).contains(&answered), "20 each second, as for every source: {answered}");
    let limited = |outcome: &&Result<(), DropReason>| **outcome == Err(DropReason::WireguardLimited);
    assert_eq!(outcomes.iter().filter(limited).count(), 2000 - answered);
    // The real one goes on with the keys of before, which none of the others has replaced: nobody has used those.
    world.now = now + Duration::from_secs(25);
    world.send(1, 0, 9);
    world.run_secs(1);
    assert_eq!(world.ends[0].numbers(), [9]);
}

#[test]
fn noise_is_dropped_by_name() {
    let mut world = World::connected();
    let mut rng = SeededRng::from_u64(21);
    let now = world.now;
    let before = state(&world.ends[0], now);
    for _ in 0..5_000 {
        let kind = rng.below(6) as u8;
        let len = match (rng.below(4), kind) {
            (0, _) => rng.below(200),
            (_, 1) => 148,
            (_, 2) => 92,
            (_, 3) => 64,
            _ => 32 + rng.below(100),
        };
        let mut datagram = vec![0; len as usize];
        rng.fill(&mut datagram);
        for (place, octet) in datagram.iter_mut().zip([kind, 0, 0, 0]) {
            *place = octet;
        }
        assert!(world.ends[0].receive(now, address(3), &datagram).is_err());
    }
    assert_eq!(state(&world.ends[0], now), before);
    assert!(world.ends[0].turn(now).is_empty());
}
