//! Subscribers' routers that ask a concentrator for prefixes.

use alloc::vec;

use super::*;
use crate::dhcp6::message::{MESSAGE_MAX, Message, Xid};
use crate::id::Mac;
use crate::rng::SeededRng;
use crate::time::Duration;
use crate::wire::ipv6::{ALL_DHCP_SERVERS, Ipv6};

const XID: Xid = [9, 8, 7];
const LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

fn cidr(text: &str) -> Ipv6Cidr {
    text.parse().unwrap()
}

fn own() -> Duid {
    Duid::link_layer(Mac([2, 0, 0, 0, 0, 1]))
}

fn router(last: u8) -> Duid {
    Duid::link_layer(Mac([2, 0, 0, 0, 9, last]))
}

fn peer(session: u32) -> Ipv6Addr {
    Ipv6Addr::from_bits(0xfe80 << 112 | u128::from(session) << 8 | 2)
}

struct Bench {
    server: Delegator,
    rng: SeededRng,
    now: Instant,
}

fn settings() -> DelegatorSettings {
    DelegatorSettings {
        duid: own(),
        pool: PrefixPool { prefix: cidr("2001:db8:aa00::/54"), delegate: 56 },
        fixed: [
            ("boss".to_string(), cidr("2001:db8:aa00:100::/56")),
            ("far".to_string(), cidr("2001:db8:ffff::/48")),
        ]
        .into_iter()
        .collect(),
        dns: vec!["2001:db8::53".parse().unwrap()],
    }
}

impl Bench {
    fn new() -> Self {
        Bench::with(1)
    }

    fn with(seed: u64) -> Self {
        Bench {
            server: Delegator::new(settings()),
            rng: SeededRng::from_u64(seed),
            now: Instant::from_secs(1000),
        }
    }

    fn open(&mut self, session: u32, user: &str) {
        let cx = &mut Cx { now: self.now, rng: &mut self.rng };
        self.server.open(cx, SubscriberId(session), user, peer(session), LOCAL);
    }

    fn close(&mut self, session: u32) {
        let cx = &mut Cx { now: self.now, rng: &mut self.rng };
        self.server.close(cx, SubscriberId(session));
    }

    fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.server.handle_timeout(&mut Cx { now: self.now, rng: &mut self.rng });
    }

    fn ask_from(
        &mut self,
        session: u32,
        source: Ipv6Addr,
        message: Builder,
    ) -> Result<Option<Vec<u8>>, DropReason> {
        let mut frame = Frame::with_capacity(2048);
        let header = Header { source, destination: ALL_DHCP_SERVERS, hop_limit: 1 };
        assert!(header.write_udp(546, 547, &message.finish(), &mut frame));
        let cx = &mut Cx { now: self.now, rng: &mut self.rng };
        self.server.handle(cx, SubscriberId(session), frame.bytes())?;
        frame.reset();
        let Some(to) = self.server.poll_transmit(&mut frame) else { return Ok(None) };
        assert_eq!(to, SubscriberId(session));
        let packet = Ipv6::parse(frame.bytes()).unwrap();
        assert_eq!((packet.source(), packet.destination()), (LOCAL, peer(session)));
        Ok(Some(packet.udp().expect("its checksum is right").payload.to_vec()))
    }

    fn ask(&mut self, session: u32, message: Builder) -> Vec<u8> {
        self.ask_from(session, peer(session), message).unwrap().expect("a reply")
    }

    /// Solicit with rapid commit: the prefix, or why there is none.
    fn lease(&mut self, session: u32) -> Result<Ipv6Cidr, StatusCode> {
        let mut asked = about(MessageType::Solicit, 1, &[]);
        assert!(asked.option(code::RAPID_COMMIT, &[]));
        given(&self.ask(session, asked)).map(|given| given[0].0)
    }

    fn events(&mut self) -> Vec<Event> {
        core::iter::from_fn(|| self.server.poll_event()).collect()
    }
}

/// A message of the router `last` about these prefixes, in the association 5.
fn about(kind: MessageType, last: u8, prefixes: &[&str]) -> Builder {
    let mut message = Builder::new(kind, XID, MESSAGE_MAX);
    assert!(message.duid(code::CLIENT_ID, &router(last)));
    if !matches!(kind, MessageType::Solicit | MessageType::Rebind) {
        assert!(message.duid(code::SERVER_ID, &own()));
    }
    assert!(message.option_request(&[code::DNS_SERVERS]));
    assert!(message.ia(IaKind::Prefixes, 5, (0, 0), |ia| {
        prefixes.iter().all(|prefix| ia.ia_prefix(cidr(prefix), (0, 0)))
    }));
    message
}

/// The prefixes and their valid lifetimes, or the status.
fn given(reply: &[u8]) -> Result<Vec<(Ipv6Cidr, u32)>, StatusCode> {
    let message = Message::parse(reply).unwrap();
    assert_eq!((message.xid, message.server(), message.kind == MessageType::Reply), (XID, Some(own()), true));
    let ia = message.options.associations(IaKind::Prefixes).next().expect("the association is answered");
    assert_eq!(ia.iaid, 5);
    match ia.options.status() {
        Some(status) => Err(status.code),
        None => Ok(ia.options.ia_prefixes().map(|lease| (lease.prefix, lease.valid)).collect()),
    }
}

#[test]
fn rfc8415_6_3_a_subscriber_gets_a_prefix_of_the_pool() {
    let mut bench = Bench::new();
    bench.open(1, "alice");
    let offer = bench.ask(1, about(MessageType::Solicit, 1, &[]));
    let offer = Message::parse(&offer).unwrap();
    assert_eq!(offer.kind, MessageType::Advertise);
    assert_eq!(offer.options.addresses(code::DNS_SERVERS).collect::<Vec<_>>(), settings().dns);
    let ia = offer.options.associations(IaKind::Prefixes).next().unwrap();
    let offered = ia.options.ia_prefixes().next().unwrap();
    assert_eq!((ia.t1, ia.t2, offered.preferred, offered.valid), (1800, 2880, 3600, 7200));
    assert!(cidr("2001:db8:aa00::/54").covers(offered.prefix) && offered.prefix.prefix == 56);
    assert_eq!(bench.server.delegations().count(), 0, "an offer is not a delegation");
    let reply = bench.ask(1, about(MessageType::Request, 1, &[&offered.prefix.to_string()]));
    assert_eq!(given(&reply), Ok(vec![(offered.prefix, 7200)]));
    let valid_until = bench.now + Duration::from_secs(7200);
    let subscriber = SubscriberId(1);
    let user = "alice".to_string();
    let prefix = offered.prefix;
    assert_eq!(
        bench.events(),
        [Event::Delegated { subscriber, user: user.clone(), prefix, valid_until }, Event::BindingsChanged]
    );
    // Renewed, it is told no second time; not renewed, it ends exactly.
    bench.wait(1800);
    assert_eq!(
        given(&bench.ask(1, about(MessageType::Renew, 1, &[&prefix.to_string()]))).unwrap()[0].0,
        prefix
    );
    assert_eq!(bench.events(), []);
    bench.wait(7199);
    assert_eq!(bench.server.delegations().count(), 1);
    assert_eq!(bench.server.poll_timeout(), Some(bench.now + Duration::from_secs(1)));
    bench.wait(1);
    assert_eq!(bench.events(), [Event::Withdrawn { subscriber, user, prefix }, Event::BindingsChanged]);
}

#[test]
fn a_user_keeps_the_prefix_over_sessions_and_restarts() {
    let mut bench = Bench::new();
    bench.open(1, "alice");
    let prefix = bench.lease(1).unwrap();
    bench.close(1);
    let events = bench.events();
    assert!(matches!(events[1], Event::Withdrawn { subscriber: SubscriberId(1), .. }), "{events:?}");
    bench.open(2, "bob");
    assert_ne!(bench.lease(2), Ok(prefix));
    bench.open(3, "alice");
    assert_eq!(bench.lease(3), Ok(prefix));
    // Another life, with other random numbers, and the router comes back with what it remembers.
    let stored: Vec<_> = bench.server.bindings().collect();
    for seed in 2..20 {
        let mut next = Bench::with(seed);
        next.server.restore(stored.clone());
        next.open(4, "alice");
        let reply = next.ask(4, about(MessageType::Rebind, 1, &[&prefix.to_string()]));
        assert_eq!(given(&reply), Ok(vec![(prefix, 7200)]));
        next.open(5, "carol");
        assert_ne!(next.lease(5), Ok(prefix));
    }
}

#[test]
fn a_user_may_have_a_fixed_prefix() {
    let mut bench = Bench::new();
    bench.open(1, "boss");
    bench.open(2, "far");
    assert_eq!(bench.lease(1), Ok(cidr("2001:db8:aa00:100::/56")));
    assert_eq!(bench.lease(2), Ok(cidr("2001:db8:ffff::/48")));
    assert_eq!(bench.server.bindings().count(), 0, "it need not be remembered");
}

#[test]
fn no_prefix_is_given_twice_and_exhaustion_is_told_once() {
    let mut bench = Bench::new();
    let mut seen = BTreeSet::new();
    // Four /56 in the pool, one of them the boss's.
    for (session, user) in ["a", "b", "c", "d", "e"].iter().enumerate() {
        bench.open(session as u32, user);
        match bench.lease(session as u32) {
            Ok(prefix) => assert!(seen.insert(prefix)),
            Err(status) => assert_eq!(status, StatusCode::NoPrefixAvail),
        }
    }
    assert_eq!(seen.len(), 3);
    assert!(!seen.contains(&cidr("2001:db8:aa00:100::/56")));
    let told: Vec<_> =
        bench.events().into_iter().filter(|event| matches!(event, Event::Exhausted { .. })).collect();
    assert_eq!(told.len(), 1);
    assert_eq!(
        told[0].to_string(),
        "no prefix is left for d: all of 2001:db8:aa00::/54 are taken; a larger pool or longer prefixes would help"
    );
    // The prefix that has been idle for the longest time goes to who needs one.
    let first = bench.server.delegations().next().unwrap().1;
    bench.close(0);
    bench.wait(1);
    assert_eq!(bench.lease(4), Ok(first));
    assert!(bench.server.bindings().all(|binding| binding.user != "a"));
}

#[test]
fn hints_are_honoured_where_they_can_be() {
    let mut bench = Bench::new();
    bench.open(1, "alice");
    let lease = |bench: &mut Bench, session, hint: &str| {
        let mut asked = about(MessageType::Solicit, 1, &[hint]);
        assert!(asked.option(code::RAPID_COMMIT, &[]));
        given(&bench.ask(session, asked)).unwrap()[0].0
    };
    assert_eq!(lease(&mut bench, 1, "::/48").prefix, 56, "the pool's length");
    for (session, hint) in [(2, "2001:db8:aa00:300::/56"), (3, "2001:db8:aa00::/56")] {
        let free = bench.server.is_free(cidr(hint));
        bench.open(session, &format_user(session));
        assert_eq!(lease(&mut bench, session, hint) == cidr(hint), free, "{hint}");
    }
}

fn format_user(session: u32) -> String {
    alloc::format!("user{session}")
}

#[test]
fn what_is_not_the_users_ends() {
    let mut bench = Bench::new();
    bench.open(1, "alice");
    let prefix = bench.lease(1).unwrap();
    for kind in [MessageType::Renew, MessageType::Rebind] {
        let reply = bench.ask(1, about(kind, 1, &["2001:db8:5::/56", &prefix.to_string()]));
        assert_eq!(given(&reply), Ok(vec![(prefix, 7200), (cidr("2001:db8:5::/56"), 0)]));
    }
    bench.open(2, "bob");
    let reply = bench.ask(2, about(MessageType::Renew, 1, &["2001:db8:5::/56"]));
    assert_eq!(given(&reply), Err(StatusCode::NoBinding), "bob has nothing to renew");
    // A Release ends it; the user keeps it.
    let reply = bench.ask(1, about(MessageType::Release, 1, &[&prefix.to_string()]));
    assert_eq!(Message::parse(&reply).unwrap().options.status().unwrap().code, StatusCode::Success);
    assert_eq!(bench.server.delegations().count(), 0);
    assert_eq!(bench.lease(1), Ok(prefix));
    // Only the router that has it can end it.
    let reply = bench.ask(1, about(MessageType::Release, 2, &[&prefix.to_string()]));
    assert_eq!(given(&reply), Err(StatusCode::NoBinding));
    assert_eq!(bench.server.delegations().count(), 1);
}

#[test]
fn a_new_session_takes_the_prefix_from_a_dead_one() {
    let mut bench = Bench::new();
    bench.open(1, "alice");
    let prefix = bench.lease(1).unwrap();
    bench.open(2, "alice");
    let reply = bench.ask(2, about(MessageType::Renew, 1, &[&prefix.to_string()]));
    assert_eq!(given(&reply), Err(StatusCode::NoBinding), "it must be requested");
    bench.events();
    assert_eq!(bench.lease(2), Ok(prefix));
    let events = bench.events();
    assert!(matches!(events[0], Event::Withdrawn { subscriber: SubscriberId(1), .. }), "{events:?}");
    assert!(matches!(events[1], Event::Delegated { subscriber: SubscriberId(2), .. }), "{events:?}");
    bench.close(1);
    let held: Vec<_> = bench.server.delegations().map(|(subscriber, ..)| subscriber).collect();
    assert_eq!(held, [SubscriberId(2)], "the old session's end takes nothing away");
}

#[test]
fn addresses_are_not_leased_and_one_prefix_is_enough() {
    let mut bench = Bench::new();
    bench.open(1, "alice");
    let mut asked = about(MessageType::Request, 1, &[]);
    assert!(asked.ia(IaKind::Addresses, 5, (0, 0), |_| true));
    assert!(asked.ia(IaKind::Prefixes, 6, (0, 0), |_| true));
    let reply = bench.ask(1, asked);
    let options = Message::parse(&reply).unwrap().options;
    let addresses = options.associations(IaKind::Addresses).next().unwrap();
    assert_eq!(addresses.options.status().unwrap().code, StatusCode::NoAddrsAvail);
    let [first, second] = &options.associations(IaKind::Prefixes).collect::<Vec<_>>()[..] else {
        panic!("two")
    };
    assert_eq!((first.iaid, first.options.ia_prefixes().count()), (5, 1));
    assert_eq!((second.iaid, second.options.status().unwrap().code), (6, StatusCode::NoPrefixAvail));
}

#[test]
fn only_the_negotiated_address_of_an_open_session_is_served() {
    let mut bench = Bench::new();
    let asked = || about(MessageType::Solicit, 1, &[]);
    assert_eq!(bench.ask_from(1, peer(1), asked()), Err(DropReason::DhcpUnexpected), "no such session");
    bench.open(1, "alice");
    assert_eq!(bench.ask_from(1, peer(2), asked()), Err(DropReason::DhcpUnexpected), "another address");
    assert_eq!(bench.server.bindings().count(), 0);
    assert!(bench.ask_from(1, peer(1), asked()).unwrap().is_some());
    bench.close(1);
    assert_eq!(bench.ask_from(1, peer(1), asked()), Err(DropReason::DhcpUnexpected));
}

#[test]
fn what_the_pool_does_not_have_is_not_restored() {
    let mut bench = Bench::new();
    let binding = |user: &str, prefix: &str| Binding {
        user: user.to_string(),
        prefix: cidr(prefix),
        valid_until: Instant::from_secs(10),
    };
    bench.server.restore(vec![
        binding("a", "2001:db8:aa00:200::/56"),
        binding("b", "2001:db8:aa00:200::/56"),
        binding("a", "2001:db8:aa00:300::/56"),
        binding("c", "2001:db8:aa00:100::/56"),
        binding("d", "2001:db8:bb00::/56"),
        binding("e", "2001:db8:aa00:300::/60"),
        binding("boss", "2001:db8:aa00:300::/56"),
        binding("f", "2001:db8:aa00:301::/56"),
    ]);
    let kept: Vec<_> = bench.server.bindings().map(|binding| (binding.user, binding.prefix)).collect();
    assert_eq!(kept, [("a".to_string(), cidr("2001:db8:aa00:200::/56"))]);
}
