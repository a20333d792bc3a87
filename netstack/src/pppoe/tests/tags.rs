//! Discovery packets by hand: what the client and the concentrator take, and what they do not.

use super::cable::*;
use crate::frame::Frame;
use crate::id::{Mac, SubscriberId};
use crate::ledger::DropReason;
use crate::machine::Cx;
use crate::pppoe::client::{Input, Phase};
use crate::pppoe::concentrator::{self, Concentrator};
use crate::pppoe::event::{Event, Failure, RefusalKind, Unsuitable};
use crate::pppoe::{DiscoveryFrame, Remembered, subscriber};
use crate::rng::{Rng, SeededRng};
use crate::settings::PppoeClient;
use crate::time::Instant;
use crate::wire::pppoe::{Code, Discovery, tag};
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

/// A client that has sent its first PADI, alone on the cable.
fn soliciting(seed: u64, wan: &PppoeClient) -> World {
    let mut world = World::new(seed);
    world.add_client(wan, CLIENT, None);
    world.run_to(|world| !world.sent(0, Code::Padi).is_empty());
    world
}

fn last_sent(world: &World, code: Code) -> Vec<u8> {
    let is = |frame: &&Vec<u8>| Discovery::parse(&frame[14..]).is_some_and(|packet| packet.code == code);
    world.clients[0].sent.iter().rev().map(|(_, frame)| frame).find(is).unwrap().clone()
}

fn give(world: &mut World, frame: &[u8]) -> Result<(), DropReason> {
    let frame = DiscoveryFrame::parse(frame)?;
    let cx = &mut Cx { now: world.now, rng: &mut world.rng };
    let result = world.clients[0].client.handle(cx, Input::Discovery(&frame));
    world.drain();
    result
}

fn told(world: &World, event: impl Fn(&Event) -> bool) -> bool {
    world.clients[0].events.iter().any(|(_, told)| event(told))
}

fn pado(world: &mut World, from: Mac, extra: &[(u16, &[u8])]) -> Result<(), DropReason> {
    let host_uniq = host_uniq(world, 0);
    let mut tags = vec![(tag::AC_NAME, &b"bras"[..]), (tag::SERVICE_NAME, b""), (tag::HOST_UNIQ, &host_uniq)];
    tags.extend(extra);
    give(world, &World::packet(from, CLIENT, Code::Pado, 0, &tags))
}

fn pads(world: &mut World, from: Mac, session: u16, extra: &[(u16, &[u8])]) -> Result<(), DropReason> {
    let host_uniq = host_uniq(world, 0);
    let mut tags = vec![(tag::SERVICE_NAME, &b""[..]), (tag::HOST_UNIQ, &host_uniq)];
    tags.extend(extra);
    give(world, &World::packet(from, CLIENT, Code::Pads, session, &tags))
}

/// A client with session 7 at [`AC`].
fn opened(seed: u64, wan: &PppoeClient) -> World {
    let mut world = soliciting(seed, wan);
    pado(&mut world, AC, &[]).unwrap();
    pads(&mut world, AC, 7, &[]).unwrap();
    assert_eq!(world.clients[0].client.remembered(), Some(Remembered { peer: AC, session: 7 }));
    world
}

#[test]
fn rfc2516_padi_is_broadcast_with_session_0_and_one_service_name() {
    let mut wan = wan();
    wan.service_name = b"gold".to_vec();
    let world = soliciting(1, &wan);
    let frame = last_sent(&world, Code::Padi);
    let frame = DiscoveryFrame::parse(&frame).unwrap();
    assert_eq!((frame.source, frame.destination, frame.packet.session), (CLIENT, Mac::BROADCAST, 0));
    assert_eq!(frame.packet.only_service_name(), Some(&b"gold"[..]));
    assert!(frame.packet.find(tag::HOST_UNIQ).is_some_and(|mark| mark.len() == 8));
    assert_eq!(frame.packet.find(tag::PPP_MAX_PAYLOAD), None);
}

/// RFC 2516 ECHOED-TAGS.
#[test]
fn rfc2516_host_uniq_as_configured_of_any_length() {
    for len in [0, 1, 4, 200, 1400] {
        let mut wan = wan();
        wan.host_uniq = Some(vec![0xa5; len]);
        let mut world = World::pair(3, &wan, &ac("bras"));
        let took = world.run_to(|world| world.clients[0].client.remembered().is_some());
        assert!(took < secs(2));
        assert_eq!(host_uniq(&world, 0), vec![0xa5; len]);
    }
}

/// RFC 2516 ECHOED-TAGS.
#[test]
fn rfc2516_cookie_and_relay_tags_of_any_length_and_order_are_echoed_byte_for_byte() {
    for seed in 0..200 {
        let mut world = soliciting(seed, &wan());
        let mut rng = SeededRng::from_u64(seed);
        let mut draw = |most| {
            let mut bytes = vec![0; usize::try_from(rng.below(most)).unwrap()];
            rng.fill(&mut bytes);
            bytes
        };
        let (cookie, relay, unknown) = (draw(1401), draw(1401), draw(20));
        let relay = relay[..relay.len().min(1420_usize.saturating_sub(cookie.len()))].to_vec();
        let mark = host_uniq(&world, 0);
        let mut tags = vec![
            (tag::AC_NAME, &b"b"[..]),
            (tag::SERVICE_NAME, b""),
            (tag::HOST_UNIQ, &mark),
            (tag::AC_COOKIE, &cookie),
            (tag::RELAY_SESSION_ID, &relay),
            (0x0fff, &unknown),
        ];
        if cookie.len() + relay.len() > 1400 {
            tags.retain(|&(kind, _)| !matches!(kind, 0x0fff | tag::AC_NAME));
        }
        for index in 1..tags.len() {
            tags.swap(index, usize::try_from(world.rng.below(index as u64 + 1)).unwrap());
        }
        give(&mut world, &World::packet(AC, CLIENT, Code::Pado, 0, &tags)).unwrap();
        let padr = last_sent(&world, Code::Padr);
        let padr = DiscoveryFrame::parse(&padr).unwrap();
        assert_eq!(padr.destination, AC);
        assert_eq!(padr.packet.find(tag::AC_COOKIE), Some(&cookie[..]));
        assert_eq!(padr.packet.find(tag::RELAY_SESSION_ID), Some(&relay[..]));
        assert_eq!(padr.packet.find(tag::HOST_UNIQ), Some(&mark[..]));
        assert!(padr.packet.only_service_name().is_some());
        assert_eq!(padr.packet.find(0x0fff), None);
    }
}

#[test]
fn rfc2516_offers_by_name_and_service() {
    let mut wan = wan();
    wan.ac_name = Some(b"wanted".to_vec());
    let mut world = soliciting(1, &wan);
    for _ in 0..2 {
        pado(&mut world, AC, &[]).unwrap();
    }
    assert!(told(&world, |event| matches!(event, Event::OfferIgnored { why: Unsuitable::OtherName, .. })));
    assert_eq!(
        world.clients[0].events.iter().filter(|(_, e)| matches!(e, Event::OfferIgnored { .. })).count(),
        1
    );
    let mark = host_uniq(&world, 0);
    let tags = [(tag::SERVICE_NAME, &b""[..]), (tag::AC_NAME, b"wanted"), (tag::HOST_UNIQ, &mark)];
    give(&mut world, &World::packet(AC2, CLIENT, Code::Pado, 0, &tags)).unwrap();
    assert!(told(&world, |event| matches!(event, Event::Offer { peer: AC2, .. })));

    let mut wan = super::cable::wan();
    wan.service_name = b"gold".to_vec();
    let mut world = soliciting(1, &wan);
    pado(&mut world, AC, &[(tag::SERVICE_NAME, b"silver")]).unwrap();
    assert!(told(&world, |event| matches!(event, Event::OfferIgnored { why: Unsuitable::OtherService, .. })));
    pado(&mut world, AC2, &[(tag::SERVICE_NAME, b"gold")]).unwrap();
    assert!(told(&world, |event| matches!(event, Event::Offer { peer: AC2, .. })));

    let mut world = soliciting(1, &super::cable::wan());
    pado(&mut world, AC, &[(tag::AC_SYSTEM_ERROR, b"full")]).unwrap();
    assert!(told(&world, |event| matches!(event, Event::OfferIgnored { why: Unsuitable::Error, .. })));
}

#[test]
fn rfc2516_pads_counts_from_the_chosen_station_with_our_host_uniq_only() {
    let mut world = soliciting(1, &wan());
    assert!(pads(&mut world, AC, 7, &[]).is_err(), "nothing was asked for");
    pado(&mut world, AC, &[]).unwrap();
    assert!(pads(&mut world, AC2, 7, &[]).is_err(), "another station");
    let mark = host_uniq(&world, 0);
    let mut wrong = mark.clone();
    wrong[0] ^= 1;
    for tags in [&[][..], &[(tag::HOST_UNIQ, &wrong[..])], &[(tag::HOST_UNIQ, &mark[1..])]] {
        assert!(give(&mut world, &World::packet(AC, CLIENT, Code::Pads, 7, tags)).is_err());
    }
    let other = World::packet(AC, Mac([2, 9, 9, 9, 9, 9]), Code::Pads, 7, &[(tag::HOST_UNIQ, &mark)]);
    assert!(give(&mut world, &other).is_err(), "for another station");
    assert_eq!(world.clients[0].client.remembered(), None);
    pads(&mut world, AC, 7, &[]).unwrap();
    assert!(world.clients[0].client.remembered().is_some());
}

#[test]
fn rfc2516_unasked_and_repeated_packets_are_harmless() {
    let mut world = opened(1, &wan());
    let sent = world.clients[0].sent.len();
    pads(&mut world, AC, 7, &[]).unwrap();
    assert!(pado(&mut world, AC, &[]).is_err());
    assert!(pado(&mut world, AC2, &[]).is_err());
    assert!(pads(&mut world, AC2, 9, &[]).is_err());
    let own = World::packet(CLIENT, Mac::BROADCAST, Code::Padi, 0, &[(tag::SERVICE_NAME, b"")]);
    assert!(give(&mut world, &own).is_err());
    assert_eq!(world.clients[0].sent.len(), sent);
    assert_eq!(world.clients[0].client.remembered(), Some(Remembered { peer: AC, session: 7 }));
}

#[test]
fn rfc2516_a_second_session_by_a_repeated_padr_is_ended() {
    let mut world = opened(1, &wan());
    pads(&mut world, AC, 8, &[]).unwrap();
    let padt = last_sent(&world, Code::Padt);
    let padt = DiscoveryFrame::parse(&padt).unwrap();
    assert_eq!((padt.destination, padt.packet.session), (AC, 8));
    assert_eq!(world.clients[0].client.remembered(), Some(Remembered { peer: AC, session: 7 }));
}

/// RFC 2516 STATION.
#[test]
fn rfc2516_padt_needs_station_and_session_both_and_silences_the_session() {
    let mut world = opened(1, &wan());
    for (source, destination, session) in
        [(AC2, CLIENT, 7), (AC, CLIENT, 8), (AC, CLIENT, 0), (AC, AC2, 7), (AC, Mac::BROADCAST, 7)]
    {
        assert!(give(&mut world, &World::packet(source, destination, Code::Padt, session, &[])).is_err());
    }
    assert!(world.clients[0].client.remembered().is_some());
    let before = world.clients[0].sent.len();
    let text = (tag::GENERIC_ERROR, &b"maintenance\x1b[2J"[..]);
    give(&mut world, &World::packet(AC, CLIENT, Code::Padt, 7, &[text])).unwrap();
    assert!(world.clients[0].client.remembered().is_none());
    world.run(secs(30));
    for (_, frame) in &world.clients[0].sent[before..] {
        let frame = DiscoveryFrame::parse(frame).expect("no session data any more");
        assert_eq!((frame.packet.code, frame.destination), (Code::Padi, Mac::BROADCAST), "from nothing");
    }
    let down = world.clients[0].events.iter().find_map(|(_, event)| match event {
        Event::Down { failure, .. } => Some(failure.to_string()),
        _ => None,
    });
    let down = down.unwrap();
    assert!(down.contains("maintenance") && !down.contains('\x1b'), "{down}");
}

/// RFC 2516 REFUSAL.
#[test]
fn rfc2516_refusals_are_told_in_the_concentrators_words() {
    let cases = [
        (tag::SERVICE_NAME_ERROR, RefusalKind::ServiceName),
        (tag::AC_SYSTEM_ERROR, RefusalKind::System),
        (tag::GENERIC_ERROR, RefusalKind::Generic),
    ];
    for (kind, expected) in cases {
        let mut world = soliciting(1, &wan());
        pado(&mut world, AC, &[]).unwrap();
        pads(&mut world, AC, 0, &[(kind, b"no\r\n\xffway")]).unwrap();
        let Some((_, Event::Down { failure, .. })) = world.clients[0].events.last() else { panic!() };
        let Failure::Refused { kind, text, ac_name } = failure else { panic!("{failure}") };
        assert_eq!((*kind, ac_name.as_str()), (expected, "bras"));
        assert_eq!(text, "no way");
        assert_eq!(world.clients[0].client.status().phase, Phase::Waiting);
        assert!(world.clients[0].client.status().last_failure.unwrap().contains("way"));
    }
}

#[test]
fn rfc2516_another_offer_is_tried_when_the_first_comes_to_nothing() {
    // Refused.
    let mut world = soliciting(1, &wan());
    pado(&mut world, AC, &[]).unwrap();
    pado(&mut world, AC2, &[]).unwrap();
    pads(&mut world, AC, 0, &[(tag::AC_SYSTEM_ERROR, b"full")]).unwrap();
    assert!(told(&world, |event| matches!(event, Event::NextOffer { .. })));
    assert_eq!(DiscoveryFrame::parse(&last_sent(&world, Code::Padr)).unwrap().destination, AC2);
    // The first one changes its mind: nobody wants that session any more.
    pads(&mut world, AC, 9, &[]).unwrap();
    let padt = last_sent(&world, Code::Padt);
    assert_eq!(DiscoveryFrame::parse(&padt).unwrap().packet.session, 9);
    pads(&mut world, AC2, 7, &[]).unwrap();
    assert_eq!(world.clients[0].client.remembered(), Some(Remembered { peer: AC2, session: 7 }));

    // Silent.
    let mut world = soliciting(1, &wan());
    pado(&mut world, AC, &[]).unwrap();
    pado(&mut world, AC2, &[]).unwrap();
    world.run(secs(8));
    assert_eq!(DiscoveryFrame::parse(&last_sent(&world, Code::Padr)).unwrap().destination, AC2);
    assert!(world.sent(0, Code::Padr).len() >= 4);
    world.run(secs(8));
    assert!(told(&world, |event| matches!(
        event,
        Event::Down { failure: Failure::NoConfirmation { .. }, .. }
    )));
    assert!(world.sent(0, Code::Padi).len() >= 2, "back to broadcast");
}

#[test]
fn rfc2516_mutilated_discovery_never_hurts_a_client() {
    let mut world = opened(1, &wan());
    let mark = host_uniq(&world, 0);
    let tags = [(tag::HOST_UNIQ, &mark[..]), (tag::SERVICE_NAME, b""), (tag::AC_COOKIE, b"cookie")];
    for code in [Code::Padi, Code::Pado, Code::Padr, Code::Pads, Code::Padt] {
        let frame = World::packet(AC, CLIENT, code, 6, &tags);
        for len in 0..frame.len() {
            assert!(give(&mut world, &frame[..len]).is_err());
        }
        for bit in 0..frame.len() * 8 {
            let mut flipped = frame.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let kills = flipped[15] == Code::Padt.value() && flipped[17] == 7;
            if !kills {
                let _ = give(&mut world, &flipped);
            }
        }
    }
    assert_eq!(world.clients[0].client.remembered(), Some(Remembered { peer: AC, session: 7 }));
}

// The concentrator by hand.

struct Bench {
    ac: Concentrator,
    rng: SeededRng,
    now: Instant,
}

impl Bench {
    fn new(settings: &crate::settings::Concentrator) -> Self {
        let (mut rng, now) = (SeededRng::from_u64(9), Instant::from_secs(5));
        let ac = Concentrator::new(&mut Cx { now, rng: &mut rng }, settings, &port(AC), SubscriberId(500));
        Bench { ac, rng, now }
    }

    /// Gives a frame, and returns the first discovery packet that comes back.
    fn ask(&mut self, frame: &[u8]) -> Result<Option<Vec<u8>>, DropReason> {
        let frame = DiscoveryFrame::parse(frame)?;
        let cx = &mut Cx { now: self.now, rng: &mut self.rng };
        self.ac.handle(cx, concentrator::Input::Discovery(&frame))?;
        Ok(self.answer())
    }

    fn answer(&mut self) -> Option<Vec<u8>> {
        let (mut frame, mut first) = (Frame::with_capacity(2048), None);
        while self.ac.poll_transmit(&mut frame) {
            if DiscoveryFrame::parse(frame.bytes()).is_ok() {
                first.get_or_insert(frame.bytes().to_vec());
            }
            frame.reset();
        }
        first
    }

    fn padi(&mut self, tags: &[(u16, &[u8])]) -> Result<Option<Vec<u8>>, DropReason> {
        self.ask(&World::packet(CLIENT, Mac::BROADCAST, Code::Padi, 0, tags))
    }

    fn padr(&mut self, tags: &[(u16, &[u8])]) -> Result<Option<Vec<u8>>, DropReason> {
        self.ask(&World::packet(CLIENT, AC, Code::Padr, 0, tags))
    }

    fn cookie(&mut self) -> Vec<u8> {
        let pado = self.padi(&[(tag::SERVICE_NAME, b"")]).unwrap().unwrap();
        Discovery::parse(&pado[14..]).unwrap().find(tag::AC_COOKIE).unwrap().to_vec()
    }

    fn session(&mut self, host_uniq: &[u8]) -> u16 {
        let cookie = self.cookie();
        let tags = [(tag::SERVICE_NAME, &b""[..]), (tag::AC_COOKIE, &cookie), (tag::HOST_UNIQ, host_uniq)];
        let pads = self.padr(&tags).unwrap().unwrap();
        Discovery::parse(&pads[14..]).unwrap().session
    }
}

#[test]
fn rfc2516_pado_has_ac_name_and_the_identical_service_name_and_echoes_marks() {
    let mut bench = Bench::new(&ac("bras"));
    for (service, relay_len) in [(&b""[..], 0), (b"gold", 1), (b"", 700), (b"gold", 1300)] {
        let relay = vec![7; relay_len];
        let tags = [
            (0x4444, &b"?"[..]),
            (tag::RELAY_SESSION_ID, &relay),
            (tag::SERVICE_NAME, service),
            (tag::HOST_UNIQ, b"me"),
        ];
        let pado = bench.padi(&tags).unwrap().unwrap();
        let frame = DiscoveryFrame::parse(&pado).unwrap();
        let packet = frame.packet;
        assert_eq!(
            (frame.source, frame.destination, packet.code, packet.session),
            (AC, CLIENT, Code::Pado, 0)
        );
        assert_eq!(packet.find(tag::AC_NAME), Some(&b"bras"[..]));
        assert_eq!(packet.find(tag::SERVICE_NAME), Some(service));
        assert_eq!(packet.find(tag::HOST_UNIQ), Some(&b"me"[..]));
        assert_eq!(packet.find(tag::RELAY_SESSION_ID), Some(&relay[..]));
        assert!(packet.all(tag::SERVICE_NAME).any(|name| name == b"gold"));
        assert_eq!(packet.find(0x4444), None);
    }
}

/// RFC 2516 PADO.
#[test]
fn rfc2516_a_concentrator_that_cannot_serve_is_silent() {
    let mut bench = Bench::new(&ac("bras"));
    assert!(bench.padi(&[(tag::SERVICE_NAME, b"platinum")]).is_err());
    assert!(bench.padi(&[]).is_err());
    assert!(bench.padi(&[(tag::SERVICE_NAME, b""), (tag::SERVICE_NAME, b"gold")]).is_err());
    assert!(
        bench.padi(&[(tag::SERVICE_NAME, b""), (tag::HOST_UNIQ, &[0; 1470])]).is_err(),
        "no room to answer"
    );
    let mut full = ac("bras");
    full.sessions = 1;
    let mut bench = Bench::new(&full);
    assert_ne!(bench.session(b"a"), 0);
    assert!(bench.padi(&[(tag::SERVICE_NAME, b"")]).is_err(), "full");
    let mut empty = ac("bras");
    empty.pool.prefix = 32;
    empty.pool.address = empty.address;
    assert!(Bench::new(&empty).padi(&[(tag::SERVICE_NAME, b"")]).is_err(), "no address");
}

#[test]
fn rfc2516_padr_needs_the_cookie_and_exactly_one_service_name() {
    let mut bench = Bench::new(&ac("bras"));
    let cookie = bench.cookie();
    let mut forged = cookie.clone();
    forged[20] ^= 1;
    for cookie in [&b""[..], &forged, &cookie[..23]] {
        assert!(bench.padr(&[(tag::SERVICE_NAME, b""), (tag::AC_COOKIE, cookie)]).is_err());
    }
    let stolen = World::packet(
        Mac([2, 6, 6, 6, 6, 6]),
        AC,
        Code::Padr,
        0,
        &[(tag::SERVICE_NAME, b""), (tag::AC_COOKIE, &cookie)],
    );
    assert!(bench.ask(&stolen).is_err(), "another station's cookie");
    for services in [
        &[][..],
        &[(tag::SERVICE_NAME, &b""[..]), (tag::SERVICE_NAME, b"gold")],
        &[(tag::SERVICE_NAME, b"x")],
    ] {
        let mut tags = services.to_vec();
        tags.extend([(tag::AC_COOKIE, &cookie[..]), (tag::HOST_UNIQ, b"me")]);
        let pads = bench.padr(&tags).unwrap().unwrap();
        let pads = Discovery::parse(&pads[14..]).unwrap();
        assert_eq!((pads.code, pads.session), (Code::Pads, 0));
        assert!(pads.find(tag::SERVICE_NAME_ERROR).is_some());
        assert_eq!(pads.find(tag::HOST_UNIQ), Some(&b"me"[..]));
    }
    assert_eq!(bench.ac.sessions().count(), 0);
}

#[test]
fn rfc2516_a_repeated_padr_gets_its_session_again() {
    let mut bench = Bench::new(&ac("bras"));
    let cookie = bench.cookie();
    let ask = |bench: &mut Bench, mark: &[u8]| {
        let tags = [
            (tag::HOST_UNIQ, mark),
            (tag::AC_COOKIE, &cookie[..]),
            (tag::RELAY_SESSION_ID, b"r"),
            (tag::SERVICE_NAME, b""),
        ];
        let pads = bench.padr(&tags).unwrap().unwrap();
        let packet = Discovery::parse(&pads[14..]).unwrap();
        assert_eq!(packet.find(tag::RELAY_SESSION_ID), Some(&b"r"[..]));
        packet.session
    };
    let first = ask(&mut bench, b"a");
    assert_ne!(first, 0);
    assert_eq!(ask(&mut bench, b"a"), first);
    assert_ne!(ask(&mut bench, b"b"), first);
    assert_eq!(bench.ac.sessions().count(), 2);
}

/// RFC 4638 TAG.
#[test]
fn rfc4638_max_payload_is_granted_up_to_the_concentrators_mtu() {
    for (mtu, asked, granted) in [(1500, 1500, Some(1492)), (1492, 1500, None), (1500, 1492, None)] {
        let mut settings = ac("bras");
        settings.mtu = mtu;
        let mut bench = Bench::new(&settings);
        let asked = u16::to_be_bytes(asked);
        let pado = bench.padi(&[(tag::SERVICE_NAME, b""), (tag::PPP_MAX_PAYLOAD, &asked)]).unwrap().unwrap();
        // A port of 1500 octets leaves 1492, which needs no tag.
        assert_eq!(
            Discovery::parse(&pado[14..]).unwrap().max_payload(),
            granted.filter(|&value| value > 1492)
        );
    }
    let (mut rng, now) = (SeededRng::from_u64(9), Instant::from_secs(5));
    let mut big = port(AC);
    big.mtu = 1508;
    let ac = Concentrator::new(&mut Cx { now, rng: &mut rng }, &ac("bras"), &big, SubscriberId(0));
    let mut bench = Bench { ac, rng, now };
    for (asked, granted) in [(1500, Some(1500)), (1496, Some(1496)), (9000, Some(1500)), (1492, None)] {
        let asked = u16::to_be_bytes(asked);
        let pado = bench.padi(&[(tag::SERVICE_NAME, b""), (tag::PPP_MAX_PAYLOAD, &asked)]).unwrap().unwrap();
        assert_eq!(Discovery::parse(&pado[14..]).unwrap().max_payload(), granted);
    }
}

#[test]
fn a_station_has_so_many_sessions_and_a_silent_one_makes_way() {
    let mut settings = ac("bras");
    settings.sessions_per_mac = 2;
    let mut bench = Bench::new(&settings);
    assert_ne!(bench.session(b"a"), 0);
    bench.now += secs(5);
    assert_ne!(bench.session(b"b"), 0);
    assert_eq!(bench.session(b"c"), 0, "refused");
    bench.now += secs(11);
    assert_ne!(bench.session(b"c"), 0, "the first was silent for longer than the echo interval");
    assert_eq!(bench.session(b"d"), 0);
    assert_eq!(bench.ac.sessions().count(), 2);
}

/// RFC 2516 STATION.
#[test]
fn rfc2516_strays_are_told_within_bounds_and_padt_needs_station_and_session() {
    let mut bench = Bench::new(&ac("bras"));
    let session = bench.session(b"a");
    let stray = |bench: &mut Bench, peer, session| {
        let cx = &mut Cx { now: bench.now, rng: &mut bench.rng };
        let key = Remembered { peer, session };
        assert!(bench.ac.handle(cx, concentrator::Input::Stray(key)).is_err());
        bench.answer()
    };
    assert_eq!(stray(&mut bench, CLIENT, session), None, "it is there");
    let padt = stray(&mut bench, AC2, session).unwrap();
    let padt = DiscoveryFrame::parse(&padt).unwrap();
    assert_eq!((padt.packet.code, padt.destination, padt.packet.session), (Code::Padt, AC2, session));
    assert_eq!(stray(&mut bench, AC2, 0), None);
    assert_eq!(stray(&mut bench, Mac::BROADCAST, 5), None);
    let told = (0..5000).filter(|_| stray(&mut bench, AC2, 77).is_some()).count();
    assert!(told <= 1000);
    bench.now += secs(2);
    assert!(stray(&mut bench, AC2, 77).is_some());

    for (source, id) in [(AC2, session), (CLIENT, session ^ 1)] {
        assert!(bench.ask(&World::packet(source, AC, Code::Padt, id, &[])).is_err());
    }
    assert_eq!(bench.ac.sessions().count(), 1);
    let answer = bench.ask(&World::packet(CLIENT, AC, Code::Padt, session, &[])).unwrap();
    assert_eq!(answer, None, "nothing is sent after a PADT");
    assert_eq!(bench.ac.sessions().count(), 0);
    let mut closed = false;
    while let Some(event) = bench.ac.poll_event() {
        closed |=
            matches!(event, subscriber::Event::Closed { reason: subscriber::CloseReason::Terminated, .. });
    }
    assert!(closed);
    assert_eq!(bench.ac.poll_timeout(), None, "nothing is left behind");
}

#[test]
fn rfc2516_mutilated_discovery_never_hurts_a_concentrator() {
    let mut bench = Bench::new(&ac("bras"));
    let cookie = bench.cookie();
    let tags = [(tag::SERVICE_NAME, &b"gold"[..]), (tag::AC_COOKIE, &cookie), (tag::HOST_UNIQ, b"me")];
    for code in [Code::Padi, Code::Padr, Code::Padt] {
        let frame = World::packet(CLIENT, AC, code, 0, &tags);
        for len in 0..frame.len() {
            assert!(bench.ask(&frame[..len]).is_err());
        }
        for bit in 0..frame.len() * 8 {
            let mut flipped = frame.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let _ = bench.ask(&flipped);
        }
    }
    assert!(bench.ac.sessions().count() <= 4, "no more than a station may have");
}
