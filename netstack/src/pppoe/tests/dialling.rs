//! When a client dials, and what it makes of the line.

use super::cable::*;
use crate::id::Mac;
use crate::ppp::event::DownClass;
use crate::pppoe::client::{Input, Phase};
use crate::pppoe::event::{Event, Failure, MtuLimit};
use crate::pppoe::{DiscoveryFrame, Remembered};
use crate::time::Instant;
use crate::wire::pppoe::{Code, SessionPacket};
use alloc::string::ToString;
use alloc::vec::Vec;

fn gaps(times: &[Instant]) -> Vec<f64> {
    times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect()
}

#[test]
fn tr124_retry_no_pado_exponential_to_60_s_with_jitter_after_a_random_delay() {
    let mut firsts = Vec::new();
    for seed in 0..20 {
        let mut world = World::new(seed);
        let start = world.now;
        world.add_client(&wan(), CLIENT, None);
        world.run(secs(400));
        let sent = world.sent(0, Code::Padi);
        assert!(sent[0] - start <= secs(1));
        firsts.push(sent[0]);
        for (gap, nominal) in gaps(&sent).into_iter().zip([1., 2., 4., 8., 16., 32., 60., 60., 60.]) {
            assert!(gap >= nominal / 2. && gap <= nominal * 5. / 6. + 0.001, "{gap} for {nominal}");
        }
        let node = &world.clients[0];
        assert_eq!(node.client.status().phase, Phase::Discovering);
        assert!(node.events.iter().any(|(_, event)| matches!(event, Event::NoOffer { tries: 1, .. })));
    }
    firsts.dedup();
    assert!(firsts.len() > 10, "not all at once");
}

#[test]
fn tr124_retry_authentication_refused_3_tries_5_min_3_tries_then_every_30_min() {
    let mut wan = wan();
    wan.password = crate::secret::Secret::new("wrong");
    let mut world = World::pair(5, &wan, &ac("bras"));
    world.run(secs(2 * 3600));
    let dials = world.sent(0, Code::Padr);
    let least = [10., 10., 300., 10., 10., 1800., 1800., 1800.];
    for (gap, least) in gaps(&dials).into_iter().zip(least) {
        assert!(gap >= least && gap <= least * 1.1 + 10., "{gap} for {least}");
    }
    assert!(dials.len() >= 8);
    for (_, event) in &world.clients[0].events {
        if let Event::Down { failure, .. } = event {
            assert_eq!(failure.class(), DownClass::Authentication);
        }
    }
    assert!(world.acs[0].ac.sessions().next().is_none(), "none is left behind");
    assert!(world.clients[0].client.status().last_failure.unwrap().contains("password"));
}

#[test]
fn tr124_retry_lost_line_at_once_and_online_within_a_minute_of_its_return() {
    for seed in 0..20 {
        let mut world = World::pair(seed, &wan(), &ac("bras"));
        world.run(secs(100));
        assert!(world.is_up(0));
        world.cut = true;
        let cut = world.now;
        world.run_to(|world| !world.is_up(0));
        assert!(world.now.since(cut) <= secs(45), "echoes find it out");
        let down =
            world.clients[0].events.iter().rev().find(|(_, event)| matches!(event, Event::Down { .. }));
        let down = down.unwrap().0;
        world.run(secs(600));
        assert!(world.sent(0, Code::Padi).contains(&down), "at once");
        world.cut = false;
        let took = world.run_to(|world| world.is_up(0));
        assert!(took < secs(60), "{took:?}");
    }
}

#[test]
fn tr124_retry_refused_moderately() {
    let mut full = ac("bras");
    full.sessions_per_mac = 0;
    let mut world = World::pair(1, &wan(), &full);
    world.run(secs(300));
    for (gap, nominal) in gaps(&world.sent(0, Code::Padr)).into_iter().zip([5., 10., 20., 40., 60.]) {
        assert!(gap >= nominal / 2. && gap <= nominal * 5. / 6. + 0.2, "{gap} for {nominal}");
    }
    let status = world.clients[0].client.status().last_failure.unwrap();
    assert!(status.contains("\"bras\"") && status.contains("sessions"), "{status}");
}

/// RFC 2516 REDISCOVERY.
#[test]
fn rfc2516_lcp_down_rediscovers_from_nothing() {
    let mut world = World::pair(1, &wan(), &ac("bras"));
    world.run(secs(5));
    assert!(world.is_up(0));
    let before = world.clients[0].sent.len();
    // The concentrator closes the link in good order.
    let end = crate::pppoe::concentrator::Input::Shutdown;
    let cx = &mut crate::machine::Cx { now: world.now, rng: &mut world.rng };
    world.acs[0].ac.handle(cx, end).unwrap();
    world.drain();
    world.run(secs(3));
    assert!(!world.is_up(0));
    let (_, first) = world.clients[0].sent[before..]
        .iter()
        .find(|(_, frame)| DiscoveryFrame::parse(frame).is_ok_and(|frame| frame.packet.code == Code::Padi))
        .unwrap();
    assert_eq!(DiscoveryFrame::parse(first).unwrap().destination, Mac::BROADCAST);
    world.restart_ac(0, &ac("bras"));
    assert!(world.run_to(|world| world.is_up(0)) < secs(60));
}

#[test]
fn rfc2516_padt_on_start_for_the_remembered_session() {
    let mut world = World::new(1);
    let old = Remembered { peer: AC, session: 77 };
    world.add_client(&wan(), CLIENT, Some(old));
    let (at, first) = world.clients[0].sent[0].clone();
    let first = DiscoveryFrame::parse(&first).unwrap();
    assert_eq!((at, first.packet.code), (world.now, Code::Padt), "before anything else");
    assert_eq!((first.destination, first.packet.session), (AC, 77));
    world.run(secs(60));
    let padts = world.sent(0, Code::Padt).len();
    assert!((2..=5).contains(&padts), "again, but not for ever: {padts}");
    assert!(world.clients[0].events.iter().any(|(_, event)| *event == Event::OldSessionEnded(old)));
}

#[test]
fn rfc2516_an_orphan_no_longer_blocks_a_client_that_has_crashed() {
    let mut single = ac("bras");
    single.sessions_per_mac = 1;
    let mut world = World::pair(1, &wan(), &single);
    world.run(secs(20));
    let old = world.clients[0].client.remembered();
    assert!(world.is_up(0) && old.is_some());
    world.clients.clear();
    world.add_client(&wan(), CLIENT, old);
    assert!(world.run_to(|world| world.is_up(0)) < secs(3));
    // Without a memory it takes until the old one is seen to be silent.
    world.clients.clear();
    world.add_client(&wan(), CLIENT, None);
    assert!(world.run_to(|world| world.is_up(0)) < secs(60));
    assert_eq!(world.acs[0].ac.sessions().count(), 1);
}

#[test]
fn rfc2516_padt_on_exit_after_a_terminate_request_and_then_silence() {
    let mut world = World::pair(1, &wan(), &ac("bras"));
    world.run(secs(5));
    let session = world.clients[0].client.remembered().unwrap();
    let before = world.clients[0].sent.len();
    world.client_input(0, Input::Shutdown);
    let sent: Vec<_> = world.clients[0].sent[before..].iter().map(|(_, frame)| frame.clone()).collect();
    let terminate = SessionPacket::parse(&sent[0][14..]).unwrap();
    assert_eq!((terminate.session, &terminate.packet[..3]), (session.session, &[0xc0, 0x21, 5][..]));
    let padt = DiscoveryFrame::parse(&sent[1]).unwrap();
    assert_eq!((padt.packet.code, padt.packet.session), (Code::Padt, session.session));
    assert_eq!(sent.len(), 2);
    assert_eq!(world.clients[0].events.last().unwrap().1, Event::Closed);
    assert_eq!(world.clients[0].client.poll_timeout(), None);
    assert_eq!(world.clients[0].client.status().phase, Phase::Idle);
    world.run(secs(100));
    assert_eq!(world.clients[0].sent.len(), before + 2);
    assert_eq!(world.acs[0].ac.sessions().count(), 0);
    world.client_input(0, Input::Shutdown);
    assert_eq!(world.clients[0].sent.len(), before + 2);
}

/// RFC 4638 PROOF.
#[test]
fn rfc4638_the_hop_that_caps_the_mtu_is_named() {
    let cases = [
        // wanted, our port, concentrator's MTU, its port: MTU and limit
        (1492, 1500, 1500, 1500, 1492, MtuLimit::Configuration),
        (1400, 1500, 1500, 1500, 1400, MtuLimit::Configuration),
        (1500, 1508, 1500, 1508, 1500, MtuLimit::Configuration),
        (1500, 1500, 1500, 1508, 1492, MtuLimit::Port),
        (1500, 1508, 1492, 1508, 1492, MtuLimit::Concentrator),
        (1500, 1508, 1496, 1508, 1496, MtuLimit::Concentrator),
        (1492, 1500, 1300, 1500, 1300, MtuLimit::Peer),
        (1492, 1400, 1500, 1500, 1392, MtuLimit::Port),
    ];
    for (wanted, our_port, ac_mtu, ac_port, mtu, limit) in cases {
        let (mut wan, mut settings) = (wan(), ac("bras"));
        wan.mtu = wanted;
        settings.mtu = ac_mtu;
        let mut world = World::new(1);
        world.add_client_on(&wan, &crate::settings::Port { mtu: our_port, ..port(CLIENT) }, None);
        world.add_ac_on(&settings, &crate::settings::Port { mtu: ac_port, ..port(AC) });
        world.run(secs(20));
        let session = world.clients[0].client.status().session.unwrap();
        assert!(session.ipv4.is_some());
        assert_eq!((session.mtu, session.limit), (mtu, limit), "wanted {wanted}, port {our_port}, {ac_mtu}");
    }
}

/// RFC 4638 PROOF.
#[test]
fn rfc4638_falls_back_to_1492_where_the_line_loses_large_frames() {
    let mut wan = wan();
    wan.mtu = 1500;
    let mut world = World::new(1);
    world.add_client_on(&wan, &crate::settings::Port { mtu: 1508, ..port(CLIENT) }, None);
    world.add_ac_on(&ac("bras"), &crate::settings::Port { mtu: 1508, ..port(AC) });
    world.longest = 1514;
    world.run(secs(60));
    let session = world.clients[0].client.status().session.unwrap();
    assert_eq!((session.mtu, session.limit), (1492, MtuLimit::Path));
    assert!(session.ipv4.is_some());
    assert_eq!(world.clients[0].client.status().attempts, 1);
}

#[test]
fn several_uplinks_share_a_port_and_a_host_uniq() {
    for host_uniq in [None, Some(b"same".to_vec())] {
        let mut world = World::new(1);
        let (mut first, mut second) = (wan(), wan());
        second.username = "bob".into();
        second.password = crate::secret::Secret::new("other");
        (first.host_uniq, second.host_uniq) = (host_uniq.clone(), host_uniq);
        world.add_client(&first, CLIENT, None);
        world.add_client(&second, CLIENT, None);
        world.add_ac(&ac("bras"), AC);
        world.run(secs(60));
        assert!(world.is_up(0) && world.is_up(1));
        assert_ne!(world.address(0), world.address(1));
        assert_ne!(world.clients[0].client.remembered(), world.clients[1].client.remembered());
        let session = world.clients[0].client.remembered();
        world.client_input(1, Input::Shutdown);
        world.run(secs(60));
        assert_eq!(world.clients[0].client.remembered(), session, "the other one stays");
    }
}

#[test]
fn every_fact_is_a_plain_sentence() {
    let mut wan = wan();
    wan.password = crate::secret::Secret::new("c4n4ry");
    let mut world = World::pair(1, &wan, &ac("bras"));
    world.run(secs(5));
    let facts: Vec<_> = world.clients[0].events.iter().map(|(_, event)| event.to_string()).collect();
    assert!(facts[0].starts_with("dialling"));
    assert!(facts.last().unwrap().contains("dialling again in"), "{facts:?}");
    assert!(facts.iter().all(|fact| !fact.contains("c4n4ry") && !fact.contains("Some(")));
    let down = world.clients[0]
        .events
        .iter()
        .any(|(_, event)| matches!(event, Event::Down { failure: Failure::Link(_), .. }));
    assert!(down);
}
