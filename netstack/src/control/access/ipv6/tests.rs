//! Subscribers' links against what a subscriber's router asks, in virtual time.

use alloc::collections::BTreeMap;
use alloc::vec;

use super::*;
use crate::dhcp6::client::{Client, ClientSettings};
use crate::id::{Ipv4Cidr, Ipv6Cidr, Mac, PortId};
use crate::ndp::message::{Message, Packet, RouterAdvertisement};
use crate::rng::SeededRng;
use crate::secret::Secret;
use crate::settings::{Concentrator, Echo, PrefixPool, PrefixRequest, User};
use crate::time::Duration;
use crate::wire::ipv6::ALL_NODES;

const OURS: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const THEIRS: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
const DNS: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x53);
const DUID: Mac = Mac([2, 0, 0, 0, 9, 0]);

fn cidr(text: &str) -> Ipv6Cidr {
    text.parse().unwrap()
}

/// A concentrator that delegates; "carol" has a prefix of her own.
fn settings() -> Concentrator {
    let user =
        |name: &str, prefix| User { name: name.into(), password: Secret::new("x"), ipv4: None, prefix };
    Concentrator {
        name: "bras".into(),
        port: PortId(0),
        ac_name: "bras1".into(),
        service_names: vec![],
        address: [100, 64, 0, 1].into(),
        pool: Ipv4Cidr { address: [100, 64, 0, 0].into(), prefix: 16 },
        prefix_pool: Some(PrefixPool { prefix: cidr("2001:db8::/40"), delegate: 56 }),
        dns: vec![[9, 9, 9, 9].into(), DNS.into()],
        authentication: vec![],
        users: vec![user("alice", None), user("bob", None), user("carol", Some(cidr("2001:db8:ff00::/48")))],
        mtu: 1492,
        echo: Echo::default(),
        sessions: 100,
        sessions_per_mac: 4,
    }
}

/// What a subscriber's router is told, and the concentrator's Forwarder.
struct Bench {
    links: Links,
    now: Instant,
    rng: SeededRng,
    outbox: Outbox,
    clients: BTreeMap<u32, Client>,
    /// Advertisements, each with its subscriber and the seconds since the beginning of the last [`Bench::pass`].
    heard: Vec<(u32, f64, Packet)>,
}

impl Bench {
    fn new() -> Self {
        Bench::with(Vec::new())
    }

    fn with(bindings: Vec<Binding>) -> Self {
        let (now, mut rng) = (Instant::from_secs(100), SeededRng::from_u64(1));
        let cx = &mut Cx { now, rng: &mut rng };
        let links = Links::new(cx, &settings(), Duid::link_layer(DUID), bindings).unwrap();
        Bench { links, now, rng, outbox: Outbox::default(), clients: BTreeMap::new(), heard: vec![] }
    }

    fn up(&mut self, subscriber: u32, user: &str, mtu: u16) -> Update {
        let cx = &mut Cx { now: self.now, rng: &mut self.rng };
        self.links.up(cx, SubscriberId(subscriber), user, (OURS, THEIRS), mtu)
    }

    fn down(&mut self, subscriber: u32) -> Update {
        self.clients.remove(&subscriber);
        self.links.down(&mut Cx { now: self.now, rng: &mut self.rng }, SubscriberId(subscriber))
    }

    /// A router of `user` asks for a prefix on its session; returns what it has a moment later.
    fn ask(&mut self, subscriber: u32, user: &str) -> Vec<Ipv6Cidr> {
        self.up(subscriber, user, 1492);
        let duid = Duid::link_layer(Mac([2, 0, 0, 0, 0, subscriber as u8]));
        let prefix = Some(PrefixRequest { length: Some(56) });
        let mut client = Client::new(ClientSettings { duid, iaid: 1, prefix });
        client.start(&mut Cx { now: self.now, rng: &mut self.rng }, THEIRS);
        self.clients.insert(subscriber, client);
        self.pass(Duration::from_secs(10));
        self.prefixes(subscriber)
    }

    fn prefixes(&self, subscriber: u32) -> Vec<Ipv6Cidr> {
        self.clients[&subscriber].prefixes().iter().map(|delegation| delegation.prefix).collect()
    }

    fn drain(&mut self, since: Instant) {
        let mut frame = Frame::with_capacity(2048);
        loop {
            let cx = &mut Cx { now: self.now, rng: &mut self.rng };
            let mut quiet = true;
            for (&subscriber, client) in &mut self.clients {
                while client.poll_transmit(&mut frame) {
                    quiet = false;
                    let _ = self.links.handle_dhcp(cx, SubscriberId(subscriber), frame.bytes());
                    frame.reset();
                }
            }
            while let Some(subscriber) = self.links.poll_transmit(&mut frame) {
                quiet = false;
                if let Ok(packet) = Packet::parse(frame.bytes()) {
                    self.heard.push((subscriber.0, self.now.since(since).as_secs_f64(), packet));
                } else if let Some(client) = self.clients.get_mut(&subscriber.0) {
                    client.handle(cx, frame.bytes()).unwrap();
                }
                frame.reset();
            }
            self.links.drain(&"bras".into(), &mut self.outbox);
            if quiet {
                return;
            }
        }
    }

    /// Lets time pass; returns the advertisements that were sent.
    fn pass(&mut self, time: Duration) -> Vec<(u32, f64, Packet)> {
        let (start, end) = (self.now, self.now + time);
        self.drain(start);
        loop {
            let clients = self.clients.values().fold(None, |at, client| earliest(at, client.poll_timeout()));
            let next = earliest(clients, self.links.poll_timeout());
            let Some(next) = next.filter(|&next| next <= end) else { break };
            self.now = self.now.max(next);
            let cx = &mut Cx { now: self.now, rng: &mut self.rng };
            self.links.handle_timeout(cx);
            for client in self.clients.values_mut() {
                client.handle_timeout(cx);
            }
            self.drain(start);
        }
        self.now = end;
        core::mem::take(&mut self.heard)
    }

    fn solicit(&mut self, subscriber: u32) -> Result<(), DropReason> {
        let message = Message::RouterSolicitation { source_link_layer: None };
        let destination = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
        let mut frame = Frame::with_capacity(2048);
        assert!(Packet { source: THEIRS, destination, message }.emit(&mut frame));
        let cx = &mut Cx { now: self.now, rng: &mut self.rng };
        self.links.handle_ndp(cx, SubscriberId(subscriber), frame.bytes())
    }

    /// What the Forwarder was told to be delegated, in order, since it was last asked.
    fn told(&mut self) -> Vec<(u32, Vec<Ipv6Cidr>)> {
        let updates = core::mem::take(&mut self.outbox.updates).into_iter();
        let told = updates.map(|update| match update {
            Update::SubscriberIpv6 { subscriber, ipv6: Some(ipv6) } => {
                assert_eq!((ipv6.local, ipv6.peer, ipv6.mtu), (OURS, THEIRS, 1492), "the whole of it");
                (subscriber.0, ipv6.delegated)
            }
            other => panic!("{other:?}"),
        });
        told.collect()
    }
}

fn advertisement(packet: &Packet) -> &RouterAdvertisement {
    let Message::RouterAdvertisement(read) = &packet.message else { panic!("{packet:?}") };
    read
}

/// RFC 7084 W-3, WPD-6: a router without a prefix on the link; what there is besides is to be had by DHCPv6.
#[test]
fn rfc7084_w_3_a_subscriber_is_told_of_its_router_and_of_no_prefix() {
    let mut bench = Bench::new();
    let told = Update::SubscriberIpv6 {
        subscriber: SubscriberId(5),
        ipv6: Some(SubscriberIpv6 { local: OURS, peer: THEIRS, mtu: 1492, delegated: vec![] }),
    };
    assert_eq!(bench.up(5, "alice", 1492), told);
    let sent = bench.pass(Duration::from_millis(1));
    let [(5, _, packet)] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((packet.source, packet.destination), (OURS, ALL_NODES));
    let read = advertisement(packet);
    assert!(read.router_lifetime > 0 && read.other && !read.managed && read.prefixes.is_empty());
    assert_eq!(read.dns.iter().map(|server| server.address).collect::<Vec<_>>(), [DNS]);
    assert_eq!(read.source_link_layer, None);
}

#[test]
fn rfc4861_6_2_6_a_solicitation_is_answered_and_a_stranger_is_not() {
    let mut bench = Bench::new();
    bench.up(5, "alice", 1492);
    bench.up(6, "bob", 1492);
    bench.pass(Duration::from_secs(60));
    assert_eq!(bench.solicit(7), Err(DropReason::NotListening));
    assert_eq!(bench.solicit(6), Ok(()));
    let sent = bench.pass(Duration::from_secs(1));
    let [(6, at, packet)] = &sent[..] else { panic!("{sent:?}") };
    assert!(*at <= 0.5 && advertisement(packet).router_lifetime > 0);
}

/// The whole state at once; the RAs go on as they were.
#[test]
fn another_mtu_is_told_without_another_advertisement() {
    let mut bench = Bench::new();
    let delegated = bench.ask(5, "alice");
    bench.pass(Duration::from_secs(60));
    let Update::SubscriberIpv6 { ipv6: Some(ipv6), .. } = bench.up(5, "alice", 1400) else { panic!() };
    assert_eq!(ipv6, SubscriberIpv6 { local: OURS, peer: THEIRS, mtu: 1400, delegated });
    assert!(bench.pass(Duration::from_secs(1)).is_empty());
}

#[test]
fn a_link_that_goes_down_leaves_nothing() {
    let mut bench = Bench::new();
    for subscriber in 0..2000 {
        bench.up(subscriber, "alice", 1492);
    }
    assert_eq!(bench.pass(Duration::from_millis(1)).len(), 2000);
    for id in (0..2000).step_by(2) {
        let subscriber = SubscriberId(id);
        assert_eq!(bench.down(id), Update::SubscriberIpv6 { subscriber, ipv6: None });
    }
    let sent = bench.pass(Duration::from_secs(700));
    assert!(sent.iter().all(|(subscriber, ..)| subscriber % 2 == 1) && sent.len() >= 3000);
    for subscriber in 0..2000 {
        bench.down(subscriber);
    }
    assert_eq!((bench.links.poll_timeout(), bench.links.links.len()), (None, 0));
    assert!(bench.pass(Duration::from_secs(1000)).is_empty() && bench.links.ready.is_empty());
}

/// Lessons 13, 14: a user has the same prefix after a reconnect, and after a restart of the concentrator.
#[test]
fn a_delegated_prefix_is_routed_and_stays_with_its_user() {
    let mut bench = Bench::new();
    let prefix = bench.ask(5, "alice");
    assert!(prefix.len() == 1 && cidr("2001:db8::/40").covers(prefix[0]) && prefix[0].prefix == 56);
    assert_eq!(bench.told(), [(5, prefix.clone())]);
    assert_eq!(bench.links.of(SubscriberId(5)).unwrap().delegated, prefix);
    // A day of renewals changes nothing.
    bench.pass(Duration::from_secs(86_400));
    assert!(bench.prefixes(5) == prefix && bench.told().is_empty());
    bench.down(5);
    bench.pass(Duration::from_secs(60));
    assert!(bench.told().is_empty() && bench.links.of(SubscriberId(5)).is_none());
    let other = bench.ask(6, "bob");
    assert!(other.len() == 1 && other != prefix, "everybody has one of their own");
    assert_eq!(bench.ask(7, "alice"), prefix, "after a reconnect");

    let bindings = bench.links.bindings().collect();
    let mut bench = Bench::with(bindings);
    assert_eq!(bench.ask(1, "bob"), other, "after a restart");
    assert_eq!(bench.ask(2, "alice"), prefix);
}

#[test]
fn a_user_with_a_prefix_of_its_own_gets_that() {
    let mut bench = Bench::new();
    assert_eq!(bench.ask(5, "carol"), [cidr("2001:db8:ff00::/48")]);
    assert_eq!(bench.told(), [(5, vec![cidr("2001:db8:ff00::/48")])]);
}

/// The old session is most likely dead. There is never a moment at which both have the prefix.
#[test]
fn a_prefix_follows_its_user_to_another_session() {
    let mut bench = Bench::new();
    let prefix = bench.ask(5, "alice");
    bench.told();
    assert_eq!(bench.ask(6, "alice"), prefix);
    assert_eq!(bench.told(), [(5, vec![]), (6, prefix)]);
}

#[test]
fn dhcpv6_is_for_sessions_that_are_up() {
    let mut bench = Bench::new();
    let mut frame = Frame::with_capacity(2048);
    let duid = Duid::link_layer(DUID);
    let mut client = Client::new(ClientSettings { duid, iaid: 1, prefix: Some(PrefixRequest::default()) });
    let cx = &mut Cx { now: bench.now, rng: &mut bench.rng };
    client.start(cx, THEIRS);
    cx.now += Duration::from_secs(2);
    client.handle_timeout(cx);
    assert!(client.poll_transmit(&mut frame));
    assert!(bench.links.handle_dhcp(cx, SubscriberId(5), frame.bytes()).is_err());
    assert!(bench.pass(Duration::from_secs(5)).is_empty());
}

/// A concentrator without prefixes has no links at all.
#[test]
fn without_a_prefix_pool_there_is_no_ipv6() {
    let settings = Concentrator { prefix_pool: None, ..settings() };
    let cx = &mut Cx { now: Instant::from_secs(1), rng: &mut SeededRng::from_u64(1) };
    assert!(Links::new(cx, &settings, Duid::link_layer(DUID), vec![]).is_none());
}
