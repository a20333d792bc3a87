//! A client's link and a server's link in virtual time, over a line that loses, doubles, delays and reorders.

use super::*;
use crate::ppp::{DownReason, InterfaceId, NetworkDownReason, Phase};
use crate::rng::Rng;

/// How bad the line is, in percent.
#[derive(Clone, Copy)]
struct Line {
    loss: u64,
    duplication: u64,
    reordering: u64,
    /// Packets above this many octets are lost.
    largest: usize,
}

const GOOD: Line = Line { loss: 0, duplication: 0, reordering: 0, largest: 1500 };
const BAD: Line = Line { loss: 25, duplication: 15, reordering: 25, largest: 1500 };

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    Client,
    Server,
}

struct Pair {
    client: Link,
    server: Link,
    line: Line,
    now: Instant,
    rng: SeededRng,
    flying: Vec<(Instant, Side, Vec<u8>)>,
    password: &'static str,
    /// What has happened, in order.
    events: Vec<(Side, Event)>,
    /// Dial again when the link goes down, as PPPoE does.
    redial: bool,
    max_mru: u16,
}

impl Pair {
    fn new(client: ClientSettings, server: ServerSettings, seed: u64) -> Self {
        let max_mru = client.mru.max(1492);
        Pair {
            client: Link::client(Arc::new(client)),
            server: Link::server(Arc::new(server)),
            line: GOOD,
            now: Instant::from_secs(1),
            rng: SeededRng::from_u64(seed),
            flying: vec![],
            password: "correct horse",
            events: vec![],
            redial: false,
            max_mru,
        }
    }

    fn both(&mut self, call: impl Fn(&mut Link, &mut Cx<'_>)) {
        let mut cx = Cx { now: self.now, rng: &mut self.rng };
        call(&mut self.client, &mut cx);
        call(&mut self.server, &mut cx);
    }

    fn open(&mut self) {
        let max_mru = self.max_mru;
        self.both(|link, cx| link.open(cx, max_mru));
        self.drain();
    }

    fn link(&mut self, side: Side) -> &mut Link {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    fn drain(&mut self) {
        loop {
            let mut idle = true;
            for side in [Side::Client, Side::Server] {
                while let Some(event) = self.link(side).poll_event() {
                    idle = false;
                    self.act(side, &event);
                    self.events.push((side, event));
                }
                let mut frame = Frame::with_capacity(4096);
                while self.link(side).poll_transmit(&mut frame) {
                    idle = false;
                    self.fly(side, frame.bytes().to_vec());
                    frame.reset();
                }
            }
            if idle {
                return;
            }
        }
    }

    fn act(&mut self, side: Side, event: &Event) {
        let secret = Secret::new(self.password);
        let mut cx = Cx { now: self.now, rng: &mut self.rng };
        match event {
            Event::Identify { name } => {
                let known = name == b"user@isp.example";
                self.server.authenticate(&mut cx, known.then_some(&secret));
            }
            Event::Authenticated { .. } if side == Side::Server => self.server.assign(&mut cx, ASSIGNMENT),
            Event::Down(_) if self.redial => {
                // The session below ends on both sides and a new one begins, as a PADT and a new discovery do.
                self.flying.clear();
                let max_mru = self.max_mru;
                self.both(|link, cx| {
                    link.lower_down(cx);
                    while link.poll_event().is_some() {}
                    link.open(cx, max_mru);
                });
            }
            _ => {}
        }
    }

    fn fly(&mut self, from: Side, packet: Vec<u8>) {
        let to = if from == Side::Client { Side::Server } else { Side::Client };
        let copies = 1 + u64::from(self.rng.below(100) < self.line.duplication);
        for _ in 0..copies {
            if self.rng.below(100) < self.line.loss || packet.len() - 2 > self.line.largest {
                continue;
            }
            let mut delay = 10;
            if self.rng.below(100) < self.line.reordering {
                delay += self.rng.below(4000);
            }
            self.flying.push((self.now + Duration::from_millis(delay), to, packet.clone()));
        }
    }

    fn run(&mut self, secs: u64) {
        let end = self.now + Duration::from_secs(secs);
        loop {
            let flying = self.flying.iter().map(|packet| packet.0).min();
            let next = [self.client.poll_timeout(), self.server.poll_timeout(), flying];
            let Some(next) = next.into_iter().flatten().min().filter(|&next| next <= end) else { break };
            self.now = self.now.max(next);
            while let Some(at) = self.flying.iter().position(|packet| packet.0 <= self.now) {
                let (_, to, packet) = self.flying.remove(at);
                let mut cx = Cx { now: self.now, rng: &mut self.rng };
                let link = if to == Side::Client { &mut self.client } else { &mut self.server };
                let _ = link.receive(&mut cx, u16::from_be_bytes([packet[0], packet[1]]), &packet[2..]);
                self.drain();
            }
            self.both(|link, cx| link.handle_timeout(cx));
            self.drain();
        }
        self.now = end;
    }

    /// The identifiers, the client's first, when the last word of both sides on IPv6 is that it is up with them.
    fn identifiers(&self) -> Option<(InterfaceId, InterfaceId)> {
        let last = |side| {
            let mut words = self.events.iter().rev().filter(|(s, _)| *s == side);
            words.find_map(|(_, event)| match event {
                Event::Ipv6Up { local, remote } => Some(Some((*local, *remote))),
                Event::Ipv6Down { .. } | Event::Down(_) => Some(None),
                _ => None,
            })
        };
        let (client, server) = (last(Side::Client)??, last(Side::Server)??);
        (client == (server.1, server.0) && client.0 != client.1).then_some(client)
    }

    /// True when the last word of both sides on IPv4 is that it is up, with the right addresses.
    fn is_online(&self) -> bool {
        let last = |side| {
            self.events
                .iter()
                .rev()
                .find(|(s, event)| {
                    *s == side
                        && matches!(event, Event::Ipv4Up { .. } | Event::Ipv4Down { .. } | Event::Down(_))
                })
                .map(|(_, event)| event.clone())
        };
        let up = |local, remote| Event::Ipv4Up { local, remote, dns: ASSIGNMENT.dns };
        self.client.phase() == Phase::Network
            && self.server.phase() == Phase::Network
            && last(Side::Client) == Some(up(ASSIGNMENT.remote, ASSIGNMENT.local))
            && last(Side::Server) == Some(up(ASSIGNMENT.local, ASSIGNMENT.remote))
    }

    fn downs(&self, side: Side) -> Vec<DownReason> {
        let downs = self.events.iter().filter_map(|(s, event)| match event {
            Event::Down(reason) if *s == side => Some(reason.clone()),
            _ => None,
        });
        downs.collect()
    }
}

#[test]
fn each_authentication_protocol_brings_the_link_up() {
    for authentication in ALL {
        let mut pair = Pair::new(client_settings(), server_settings(&[authentication]), 3);
        pair.open();
        pair.run(1);
        assert!(pair.is_online(), "{authentication:?}: {:?}", pair.events);
        pair.run(3600);
        assert!(
            pair.is_online() && pair.downs(Side::Client).is_empty(),
            "an hour of silence is no reason to end"
        );
        let agreed = pair.events.iter().find_map(|(_, event)| match event {
            Event::LcpOpened { authentication, .. } => *authentication,
            _ => None,
        });
        assert_eq!(agreed, Some(authentication));
    }
}

#[test]
fn a_wrong_password_ends_both_sides_with_the_reason() {
    for authentication in ALL {
        let mut pair = Pair::new(client_settings(), server_settings(&[authentication]), 4);
        pair.password = "battery staple";
        pair.open();
        pair.run(10);
        let message = "wrong name or password".into();
        let reason = DownReason::AuthenticationFailed { protocol: authentication, message };
        assert_eq!(pair.downs(Side::Client), core::slice::from_ref(&reason));
        assert_eq!(pair.downs(Side::Server), [reason]);
        assert_eq!((pair.client.phase(), pair.server.phase()), (Phase::Dead, Phase::Dead));
    }
}

#[test]
fn rfc1994_challenges_in_an_open_session_disturb_nothing() {
    for authentication in ALL {
        let mut pair = Pair::new(client_settings(), server_settings(&[authentication]), 5);
        pair.open();
        pair.run(1);
        let before = pair.events.len();
        for _ in 0..300 {
            pair.server.challenge(&mut Cx { now: pair.now, rng: &mut pair.rng });
            pair.drain();
            pair.run(1);
        }
        assert!(pair.is_online());
        assert!(pair.events[before..].iter().all(|(_, event)| matches!(event, Event::Identify { .. })));
        if authentication != Authentication::Pap {
            pair.password = "changed";
            pair.server.challenge(&mut Cx { now: pair.now, rng: &mut pair.rng });
            pair.drain();
            pair.run(10);
            assert!(matches!(pair.downs(Side::Client)[..], [DownReason::AuthenticationFailed { .. }]));
        }
    }
}

#[test]
fn both_sides_say_goodbye() {
    for side in [Side::Client, Side::Server] {
        let mut pair = Pair::new(client_settings(), server_settings(&ALL), 6);
        pair.open();
        pair.run(1);
        let now = pair.now;
        let mut rng = SeededRng::from_u64(9);
        pair.link(side).close(&mut Cx { now, rng: &mut rng });
        pair.drain();
        pair.run(5);
        let (ours, theirs) = if side == Side::Client {
            (pair.downs(Side::Client), pair.downs(Side::Server))
        } else {
            (pair.downs(Side::Server), pair.downs(Side::Client))
        };
        assert_eq!(ours, [DownReason::Closed]);
        assert!(matches!(theirs[..], [DownReason::PeerTerminated { phase: Phase::Network, .. }]));
        assert!(pair.client.poll_timeout().is_none() && pair.server.poll_timeout().is_none());
    }
}

#[test]
fn rfc4638_a_path_that_carries_1500_is_proven_and_one_that_does_not_is_reduced() {
    for (largest, proven) in [(1500, true), (1492, false)] {
        let client = ClientSettings { mru: 1500, ..client_settings() };
        let server = ServerSettings { mru: 1500, ..server_settings(&ALL) };
        let mut pair = Pair::new(client, server, 7);
        pair.line.largest = largest;
        pair.open();
        pair.run(20);
        assert!(pair.is_online(), "{:?}", pair.events);
        let word = pair.events.iter().find_map(|(_, event)| match event {
            Event::MtuProven { mtu } => Some((true, *mtu)),
            Event::MtuReduced { mtu } => Some((false, *mtu)),
            _ => None,
        });
        assert_eq!(word, Some((proven, if proven { 1500 } else { 1492 })));
        let mrus = pair.events.iter().rev().find_map(|(side, event)| match event {
            Event::LcpOpened { mru, peer_mru, .. } if *side == Side::Server => Some((*mru, *peer_mru)),
            _ => None,
        });
        let expected = if proven { 1500 } else { 1492 };
        assert_eq!(mrus.map(|(_, peer)| peer), Some(expected), "the server knows too");
    }
}

#[test]
fn a_server_that_restarts_its_side_gets_the_client_to_negotiate_anew() {
    let mut pair = Pair::new(client_settings(), server_settings(&ALL), 8);
    pair.open();
    pair.run(1);
    let now = pair.now;
    let mut rng = SeededRng::from_u64(10);
    let mut cx = Cx { now, rng: &mut rng };
    pair.server.lower_down(&mut cx);
    pair.server.open(&mut cx, 1492);
    pair.drain();
    pair.run(15);
    assert!(pair.is_online(), "{:?}", pair.events);
    assert!(pair.events.contains(&(Side::Client, Event::Ipv4Down { reason: NetworkDownReason::Link })));
    assert!(pair.downs(Side::Client).is_empty());
}

fn dual(client: u64, server: u64, seed: u64) -> Pair {
    let client = ClientSettings { ipv6: InterfaceId::new(client), ..client_settings() };
    let server = ServerSettings { ipv6: InterfaceId::new(server), ..server_settings(&ALL) };
    Pair::new(client, server, seed)
}

/// RFC 5072 INTERFACE-IDENTIFIER, §4.1: the identifiers that were wished for, or others when both wished for the same.
#[test]
fn rfc5072_both_families_come_up_and_a_collision_is_resolved() {
    for seed in 0..50 {
        let mut pair = dual(7, 8, seed);
        pair.open();
        pair.run(1);
        assert!(pair.is_online());
        assert_eq!(pair.identifiers(), InterfaceId::new(7).zip(InterfaceId::new(8)));
        let mut pair = dual(7, 7, seed);
        pair.open();
        pair.run(1);
        assert!(pair.is_online());
        assert!(pair.identifiers().is_some(), "{:?}", pair.events);
    }
}

/// RFC 7084 WLL-3: each side may be without IPv6; IPv4 is up within the same second.
#[test]
fn rfc7084_wll_3_a_side_without_ipv6_has_ipv4() {
    for (client, server) in [(7, 0), (0, 8)] {
        let mut pair = dual(client, server, 1);
        pair.open();
        pair.run(1);
        assert!(pair.is_online());
        assert_eq!(pair.identifiers(), None);
        pair.run(3600);
        let ipv4_downs = pair.events.iter().filter(|(_, event)| matches!(event, Event::Ipv4Down { .. }));
        assert_eq!(ipv4_downs.count(), 0);
        let rejected = Event::Ipv6Down { reason: NetworkDownReason::Rejected };
        let wanted = if client == 0 { Side::Server } else { Side::Client };
        assert!(pair.events.contains(&(wanted, rejected)));
    }
}

/// However bad the line was, the link is up once it has been good for a while.
#[test]
fn seeded_lives_on_a_bad_line_come_online_once_it_is_good() {
    for seed in 0..400 {
        let authentication = ALL[seed as usize % 3];
        // Every other pair speaks IPv6, and every fourth wishes for the same identifier on both sides.
        let identifier = |side| InterfaceId::new((seed % 2) * (7 + seed % 4 / 2 * side));
        let client = ClientSettings { ipv6: identifier(0), ..client_settings() };
        let server = ServerSettings { ipv6: identifier(1), ..server_settings(&[authentication]) };
        let mut pair = Pair::new(client, server, seed);
        pair.line = BAD;
        pair.redial = true;
        pair.open();
        pair.run(20 + seed % 50);
        pair.line = GOOD;
        pair.run(60);
        assert!(pair.is_online(), "seed {seed}: {:?}", pair.events);
        assert_eq!(pair.identifiers().is_some(), seed % 2 == 1, "seed {seed}: {:?}", pair.events);
    }
}

/// An outage of any length ends the session or leaves it; either way it is online again afterwards.
#[test]
fn seeded_outages_are_survived() {
    for seed in 0..100 {
        let mut pair = Pair::new(client_settings(), server_settings(&ALL), seed);
        pair.redial = true;
        pair.open();
        pair.run(1 + seed % 7);
        pair.line.loss = 100;
        pair.run(1 + seed);
        pair.line = GOOD;
        pair.run(60);
        assert!(pair.is_online(), "seed {seed}: {:?}", pair.events);
    }
}
