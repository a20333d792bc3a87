//! Whole lives: sessions between clients and concentrators, on good lines and bad ones.

use super::cable::*;
use crate::id::Mac;
use crate::pppoe::concentrator::Input;
use crate::pppoe::event::Event;
use crate::pppoe::subscriber::{self, CloseReason};
use crate::rng::Rng;
use crate::settings::{Authentication, PrefixPool, User};
use crate::time::Duration;
use crate::wire::pppoe::Code;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

#[test]
fn a_session_comes_up_step_by_step_with_every_authentication() {
    for protocol in [Authentication::Pap, Authentication::ChapMd5, Authentication::MsChapV2] {
        let mut settings = ac("bras");
        settings.authentication = vec![protocol];
        let mut world = World::pair(1, &wan(), &settings);
        world.run(secs(3));
        let kinds: Vec<_> = world.clients[0].events.iter().map(|(_, event)| event.clone()).collect();
        assert!(matches!(kinds[0], Event::Dialling));
        assert!(matches!(kinds[1], Event::Offer { peer: AC, .. }));
        assert!(matches!(kinds[2], Event::SessionOpened { .. }));
        assert!(matches!(kinds[3], Event::LcpOpened { authentication: Some(used) } if used == protocol));
        assert!(matches!(kinds[4], Event::Authenticated { .. }));
        let Event::Ipv4Up { address, peer, dns, mtu, .. } = kinds[5] else { panic!("{kinds:?}") };
        assert_eq!(peer, settings.address);
        assert!(settings.pool.contains(address) && address != settings.address);
        assert_eq!(dns.map(|server| server.map(Into::into)), [Some(settings.dns[0]), Some(settings.dns[1])]);
        assert_eq!(mtu, 1492);
        let status = world.acs[0].ac.sessions().next().unwrap();
        assert_eq!(
            (status.user.as_deref(), status.address, status.peer),
            (Some("alice"), Some(address), CLIENT)
        );
        // Hours later nothing has changed.
        world.run(secs(4 * 3600));
        assert_eq!(world.clients[0].events.len(), 6);
        assert_eq!(world.acs[0].ac.sessions().count(), 1);
    }
}

#[test]
fn two_concentrators_answer_and_one_is_taken() {
    let mut world = World::pair(1, &wan(), &ac("one"));
    world.add_ac(&ac("two"), AC2);
    world.run(secs(5));
    assert!(world.is_up(0));
    assert_eq!(world.acs[0].ac.sessions().count() + world.acs[1].ac.sessions().count(), 1);

    let mut chosen = wan();
    chosen.ac_name = Some(b"two".to_vec());
    let mut world = World::pair(1, &chosen, &ac("one"));
    world.add_ac(&ac("two"), AC2);
    world.run(secs(5));
    assert!(world.is_up(0));
    assert_eq!(world.acs[1].ac.sessions().count(), 1);
}

#[test]
fn a_concentrator_that_has_lost_its_memory_tells_and_the_client_is_back_soon() {
    for seed in 0..10 {
        let mut world = World::pair(seed, &wan(), &ac("bras"));
        world.run(secs(60));
        assert!(world.is_up(0));
        world.restart_ac(0, &ac("bras"));
        // The next echo is answered by a PADT.
        world.run(secs(12));
        assert!(world.is_up(0), "no minutes of waiting");
        assert_eq!(world.clients[0].client.status().attempts, 2);
    }
}

#[test]
fn wrong_password_and_unknown_user_look_the_same() {
    let mut answers = Vec::new();
    for name in ["alice", "nobody"] {
        let mut wan = wan();
        wan.username = name.into();
        wan.password = crate::secret::Secret::new("wrong");
        let mut world = World::pair(1, &wan, &ac("bras"));
        world.run(secs(3));
        let failed = |event: &subscriber::Event| matches!(event, subscriber::Event::AuthFailed { user, peer: CLIENT } if user == name);
        assert!(world.acs[0].events.iter().any(failed), "{:?}", world.acs[0].events);
        assert_eq!(world.acs[0].ac.sessions().count(), 0);
        answers.push(world.clients[0].client.status().last_failure);
    }
    assert_eq!(answers[0], answers[1]);
}

#[test]
fn addresses_come_back_to_their_user_and_fixed_ones_follow_theirs() {
    let mut settings = ac("bras");
    settings.users[1].ipv4 = Some([100, 64, 7, 7].into());
    let mut world = World::pair(1, &wan(), &settings);
    world.run(secs(5));
    let first = world.address(0);
    world.client_input(0, crate::pppoe::client::Input::Shutdown);
    let mut bob = wan();
    bob.username = "bob".into();
    bob.password = crate::secret::Secret::new("other");
    world.add_client(&bob, Mac([2, 0, 0, 0, 0, 2]), None);
    world.run(secs(5));
    assert_eq!(world.address(1), Some([100, 64, 7, 7].into()));
    world.add_client(&wan(), CLIENT, None);
    world.run(secs(5));
    assert_eq!(world.address(2), first, "the same user, the same address");
    // Bob comes in from another station: the address follows, the old session ends.
    world.clients.remove(1);
    world.add_client(&bob, Mac([2, 0, 0, 0, 0, 3]), None);
    world.run(secs(5));
    assert_eq!(world.address(2), Some([100, 64, 7, 7].into()));
    let replaced = |event: &subscriber::Event| matches!(event, subscriber::Event::Closed { reason: CloseReason::Replaced, user: Some(user), .. } if user == "bob");
    assert!(world.acs[0].events.iter().any(replaced));
    assert_eq!(world.acs[0].ac.sessions().count(), 2);
}

#[test]
fn a_pool_that_runs_dry_is_told_and_recovers() {
    let mut settings = ac("bras");
    settings.pool = crate::id::Ipv4Cidr { address: [100, 64, 0, 0].into(), prefix: 30 };
    let mut world = World::pair(1, &wan(), &settings);
    world.add_client(&wan(), Mac([2, 0, 0, 0, 0, 2]), None);
    world.run(secs(30));
    assert_eq!((0..2).filter(|&index| world.is_up(index)).count(), 1, "one address for two");
    let up = usize::from(world.is_up(1));
    world.client_input(up, crate::pppoe::client::Input::Shutdown);
    assert!(world.run_to(|world| world.is_up(1 - up)) < secs(120));
}

#[test]
fn silence_is_found_by_echoes_on_both_sides_and_received_data_counts_as_life() {
    let mut world = World::pair(1, &wan(), &ac("bras"));
    world.run(secs(5));
    let start = world.now;
    world.cut = true;
    // The packet path sees data now and then: nobody may give up.
    for _ in 0..24 {
        world.run(secs(5));
        let (at, subscriber) = (world.now, *world.acs[0].sessions.values().next().unwrap());
        world.client_input(0, crate::pppoe::client::Input::TrafficSeen(at));
        let cx = &mut crate::machine::Cx { now: world.now, rng: &mut world.rng };
        world.acs[0].ac.handle(cx, Input::TrafficSeen { subscriber, at }).unwrap();
    }
    assert!(world.now.since(start) >= secs(120) && world.is_up(0));
    assert_eq!(world.acs[0].ac.sessions().count(), 1);
    world.run(secs(50));
    assert!(!world.is_up(0));
    assert_eq!(world.acs[0].ac.sessions().count(), 0);
}

#[test]
fn seeded_loss_duplication_and_reordering_never_keep_a_client_offline() {
    for seed in 0..60 {
        let mut world = World::new(seed);
        let mut settings = ac("bras");
        settings.sessions_per_mac = 2;
        world.families.ipv6 = seed % 3 != 0;
        let prefix = "2001:db8::/40".parse().unwrap();
        settings.prefix_pool = Some(PrefixPool { prefix, delegate: 56 });
        world.add_client(&wan(), CLIENT, None);
        world.add_ac(&settings, AC);
        world.faults = Faults {
            loss: world.rng.below(300),
            duplicate: world.rng.below(300),
            reorder: world.rng.below(300),
        };
        for _ in 0..4 {
            let wait = Duration::from_millis(world.rng.below(120_000));
            world.run(wait);
            match world.rng.below(3) {
                0 => world.restart_ac(0, &settings),
                1 => {
                    let old = world.clients[0].client.remembered().filter(|_| seed % 2 == 0);
                    world.clients.clear();
                    world.add_client(&wan(), CLIENT, old);
                }
                _ => world.acs[0].dead = true,
            }
            let wait = Duration::from_millis(world.rng.below(120_000));
            world.run(wait);
            world.acs[0].dead = false;
        }
        let bad = core::mem::take(&mut world.faults);
        world.run(secs(60));
        // Echoes that were lost before may take a session down within that minute: it must be up again by then.
        assert!(world.is_up(0), "seed {seed}, {bad:?}: {:?}", world.clients[0].client.status());
        world.run(secs(60));
        assert!(world.is_up(0), "seed {seed}");
        assert_eq!(world.link_locals(0).is_some(), world.families.ipv6, "seed {seed}");
        assert_eq!(
            world.acs[0].ac.sessions().filter(|session| session.address.is_some()).count(),
            1,
            "seed {seed}"
        );
        let address = world.acs[0].ac.sessions().find_map(|session| session.address);
        assert_eq!(address, world.address(0));
    }
}

#[test]
fn ten_thousand_sessions_in_one_concentrator() {
    const SESSIONS: u32 = 10_000;
    let size = core::mem::size_of::<crate::pppoe::sessions::Session>();
    std::println!("{size} octets for a session");
    assert!(size <= 4096);
    let mut settings = ac("bras");
    settings.sessions = SESSIONS;
    settings.authentication = vec![Authentication::Pap];
    settings.echo.interval = secs(3600);
    settings.users = (0..SESSIONS)
        .map(|n| User {
            name: format!("u{n}"),
            password: crate::secret::Secret::new("p"),
            ipv4: None,
            prefix: None,
        })
        .collect();
    let mut world = World::new(1);
    world.add_ac(&settings, AC);
    // In groups, so that the test's own cable stays small.
    let mut addresses = crate::table::Set::with_hasher(crate::table::Seed::draw(&mut world.rng));
    for group in 0..SESSIONS / 20 {
        for n in 0..20 {
            let number = group * 20 + n;
            let [_, _, high, low] = number.to_be_bytes();
            let mut wan = wan();
            wan.username = format!("u{number}");
            wan.password = crate::secret::Secret::new("p");
            world.add_client(&wan, Mac([2, 1, 0, 0, high, low]), None);
        }
        world.run(secs(2));
        for index in 0..20 {
            assert!(addresses.insert(world.address(index).unwrap()), "no address twice");
        }
        world.clients.clear();
    }
    assert_eq!(world.acs[0].ac.sessions().count(), 10_000);
    assert_eq!(addresses.len(), 10_000);
    // All of them are gone: echoes find out, and everything is freed.
    world.run(secs(5 * 3600));
    assert_eq!(world.acs[0].ac.sessions().count(), 0);
    assert_eq!(world.acs[0].ac.poll_timeout(), None);
}

#[test]
fn shutting_a_concentrator_down_tells_every_station() {
    let mut world = World::pair(1, &wan(), &ac("bras"));
    world.run(secs(5));
    let cx = &mut crate::machine::Cx { now: world.now, rng: &mut world.rng };
    world.acs[0].ac.handle(cx, Input::Shutdown).unwrap();
    world.drain();
    world.run(secs(20));
    assert!(!world.is_up(0));
    assert_eq!(world.acs[0].ac.sessions().count(), 0);
    assert!(world.sent(0, Code::Padi).len() > 1, "it looks for another");
}
