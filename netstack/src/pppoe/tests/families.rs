//! IPv4 and IPv6 on one session: each with, without and instead of the other.

use super::cable::*;
use crate::id::Mac;
use crate::ppp::NetworkDownReason;
use crate::pppoe::client::{Ipv6, Phase};
use crate::pppoe::event::Event;
use crate::pppoe::subscriber;
use crate::settings::{Concentrator, Families, PrefixPool};
use alloc::vec::Vec;
use core::net::Ipv6Addr;

const BOTH: Families = Families { ipv4: true, ipv6: true };
const IPV4: Families = Families { ipv4: true, ipv6: false };
const IPV6: Families = Families { ipv4: false, ipv6: true };

/// A concentrator that delegates prefixes.
fn dual_ac() -> Concentrator {
    let prefix = "2001:db8::/40".parse().unwrap();
    Concentrator { prefix_pool: Some(PrefixPool { prefix, delegate: 56 }), ..ac("bras") }
}

fn world(families: Families, ac: &Concentrator) -> World {
    let mut world = World::new(1);
    world.families = families;
    world.add_client(&wan(), CLIENT, None);
    world.add_ac(ac, AC);
    world.run(secs(3));
    world
}

fn link_local(mac: Mac) -> Ipv6Addr {
    let Mac([a, b, c, d, e, f]) = mac;
    let pair = |high, low| u16::from_be_bytes([high, low]);
    Ipv6Addr::new(0xfe80, 0, 0, 0, pair(a ^ 2, b), pair(c, 0xff), pair(0xfe, d), pair(e, f))
}

fn phase(world: &World) -> Phase {
    world.clients[0].client.status().phase
}

/// RFC 7084 WLL-2. RFC 5072 INTERFACE-IDENTIFIER.
#[test]
fn rfc7084_wll_2_both_families_come_up_on_one_session() {
    let mut world = world(BOTH, &dual_ac());
    let expected = Ipv6 { address: link_local(CLIENT), peer: link_local(AC) };
    let told: Vec<_> = world.clients[0]
        .events
        .iter()
        .filter_map(|(_, event)| match event {
            Event::Ipv6Up { address, peer, mtu, .. } => Some((*address, *peer, *mtu)),
            _ => None,
        })
        .collect();
    assert_eq!(told, [(expected.address, expected.peer, 1492)]);
    let status = world.clients[0].client.status();
    assert_eq!(status.session.as_ref().unwrap().ipv6, Some(expected));
    assert!(world.is_up(0) && status.phase == Phase::Up);
    let served = world.acs[0].ac.sessions().next().unwrap();
    assert_eq!((served.link_local, served.address), (Some(expected.address), world.address(0)));
    let subscriber = served.subscriber;
    let up = subscriber::Event::Ipv6Up {
        subscriber,
        user: "alice".into(),
        local: expected.peer,
        peer: expected.address,
        mtu: 1492,
    };
    assert!(world.acs[0].events.contains(&up), "{:?}", world.acs[0].events);
    let (ours, theirs) = (world.clients[0].events.len(), world.acs[0].events.len());
    world.run(secs(4 * 3600));
    assert_eq!((world.clients[0].events.len(), world.acs[0].events.len()), (ours, theirs));
}

/// TR-124 WAN.PPP.IPv6.5. RFC 7084 WLL-3.
#[test]
fn tr124_ipv6_5_what_the_other_side_does_not_speak_keeps_nothing_down() {
    let mut world = world(BOTH, &ac("bras"));
    assert!(world.is_up(0) && phase(&world) == Phase::Up && world.link_locals(0).is_none());
    let rejected = Event::Ipv6Down(NetworkDownReason::Rejected);
    assert!(world.clients[0].events.iter().any(|(_, event)| *event == rejected));
    let told = world.clients[0].events.len();
    world.run(secs(3600));
    assert_eq!((told, world.clients[0].client.status().attempts), (world.clients[0].events.len(), 1));
    assert!(world.is_up(0));
}

#[test]
fn a_session_is_up_with_ipv6_alone() {
    let mut world = world(IPV6, &dual_ac());
    assert!(phase(&world) == Phase::Up && world.address(0).is_none() && world.link_locals(0).is_some());
    let served = world.acs[0].ac.sessions().next().unwrap();
    assert_eq!((served.address, served.link_local), (None, Some(link_local(CLIENT))));
    world.run(secs(3600));
    assert_eq!((phase(&world), world.clients[0].client.status().attempts), (Phase::Up, 1));
    world.client_input(0, crate::pppoe::client::Input::Shutdown);
    world.run(secs(1));
    let events = &world.acs[0].events;
    let down = events.iter().position(|event| matches!(event, subscriber::Event::Ipv6Down { .. })).unwrap();
    assert!(matches!(events[down + 1], subscriber::Event::Closed { .. }), "down before closed, and once");
    assert!(!events[..down].iter().any(|event| matches!(event, subscriber::Event::Ipv4Up { .. })));
}

/// The family that was asked for is not there: the session is kept, but nobody calls it up.
#[test]
fn a_session_without_the_family_that_was_asked_for_is_not_up() {
    let mut world = world(IPV6, &ac("bras"));
    assert_eq!(phase(&world), Phase::Configuring);
    world.run(secs(3600));
    assert_eq!((phase(&world), world.clients[0].client.status().attempts), (Phase::Configuring, 1));
}

#[test]
fn a_subscriber_without_ipv6_is_served_as_ever() {
    let world = world(IPV4, &dual_ac());
    assert!(world.is_up(0));
    let served = world.acs[0].ac.sessions().next().unwrap();
    assert_eq!((served.link_local, served.address), (None, world.address(0)));
    assert!(!world.acs[0].events.iter().any(|event| matches!(event, subscriber::Event::Ipv6Down { .. })));
}

/// RFC 5072 §4.1: the identifier stays the same, so that what depends on the link-local address does, too.
#[test]
fn rfc5072_the_link_local_address_survives_redials_and_restarts() {
    let mut world = world(BOTH, &dual_ac());
    let first = world.link_locals(0);
    for _ in 0..3 {
        world.restart_ac(0, &dual_ac());
        world.run(secs(60));
        assert_eq!(world.link_locals(0), first);
    }
    assert!(world.clients[0].client.status().attempts > 1);
    let remembered = world.clients[0].client.remembered();
    world.clients.clear();
    world.add_client(&wan(), CLIENT, remembered);
    world.run(secs(10));
    assert!(first.is_some() && world.link_locals(0) == first);
}
