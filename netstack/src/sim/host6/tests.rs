//! What the host makes of advertisements: the tests of the simulation rest on it.

use alloc::vec;

use super::*;
use crate::ndp::message::{DnsServer, RouteInformation};

const MAC: Mac = Mac([2, 0, 0, 0, 3, 0]);
const ROUTER_MAC: Mac = Mac([2, 0, 0, 0, 1, 1]);
const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const TARGET: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 2);
const GLOBAL: Ipv6Cidr = Ipv6Cidr { address: Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0), prefix: 64 };
const OTHER: Ipv6Cidr = Ipv6Cidr { address: Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 0), prefix: 64 };
const SITE: Ipv6Cidr = Ipv6Cidr { address: Ipv6Addr::new(0xfd00, 1, 2, 3, 0, 0, 0, 0), prefix: 64 };

struct Bench {
    host: HostIpv6,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let now = Instant::from_secs(100);
        Bench { host: HostIpv6::new(HostIpv6Settings::Autoconfigured, MAC, Some(TARGET), now), now }
    }

    fn pass(&mut self, secs: u64) {
        self.now += Duration::from_secs(secs);
        self.host.handle_timeout(self.now);
    }

    /// All that the host has sent, with the Ethernet address that it was sent to.
    fn sent(&mut self) -> Vec<(Mac, Frame)> {
        let mut sent = vec![];
        while let Some(frame) = self.host.poll_transmit() {
            let (header, packet) = ethernet::Header::parse(frame.bytes()).unwrap();
            assert_eq!((header.source, header.ethertype), (MAC, ethertype::IPV6));
            sent.push((header.destination, Frame::from_bytes(packet)));
        }
        sent
    }

    fn asked(&mut self) -> Vec<(Mac, Packet)> {
        self.sent().into_iter().map(|(to, frame)| (to, Packet::parse(frame.bytes()).unwrap())).collect()
    }

    fn receive(&mut self, destination: Mac, mut packet: Frame) {
        let header = ethernet::Header { destination, source: ROUTER_MAC, ethertype: ethertype::IPV6 };
        assert!(header.push(&mut packet));
        self.host.receive(self.now, &packet);
    }

    fn receive_ndp(&mut self, source: Ipv6Addr, destination: Ipv6Addr, message: Message) {
        let mut frame = Frame::with_capacity(2048);
        assert!(Packet { source, destination, message }.emit(&mut frame));
        let to = if destination.is_multicast() { group_mac(destination) } else { MAC };
        self.receive(to, frame);
    }

    fn advertise(&mut self, read: RouterAdvertisement) {
        let read = RouterAdvertisement { source_link_layer: Some(ROUTER_MAC), ..read };
        self.receive_ndp(ROUTER, ALL_NODES, Message::RouterAdvertisement(read));
    }

    fn advertise_prefixes(&mut self, prefixes: &[(Ipv6Cidr, u32, u32)]) {
        let prefixes = prefixes.iter().map(|&(prefix, preferred, valid)| PrefixInformation {
            prefix,
            on_link: true,
            autonomous: true,
            valid,
            preferred,
        });
        self.advertise(RouterAdvertisement {
            router_lifetime: 1800,
            prefixes: prefixes.collect(),
            ..RouterAdvertisement::default()
        });
    }

    fn source(&self) -> Ipv6Addr {
        self.host.source(self.now, TARGET).unwrap().address
    }

    /// Preferred and valid lifetime of the host's address in a network.
    fn lifetimes(&self, network: Ipv6Cidr) -> (u32, u32) {
        let own = self.host.addresses().find(|own| network.contains(own.address)).unwrap();
        (own.preferred_until.lifetime(self.now), own.valid_until.lifetime(self.now))
    }
}

fn in_network(network: Ipv6Cidr) -> Ipv6Addr {
    network.with_suffix(link_local(interface_id(MAC)))
}

#[test]
fn rfc7559_routers_are_solicited_ever_more_seldom_until_one_is_a_default_router() {
    let mut bench = Bench::new();
    bench.pass(0);
    let (to, packet) = bench.asked().remove(0);
    assert_eq!((to, packet.destination), (group_mac(ALL_ROUTERS), ALL_ROUTERS));
    bench.pass(3);
    assert!(bench.asked().is_empty());
    bench.pass(1);
    assert_eq!(bench.asked().len(), 1);
    bench.advertise(RouterAdvertisement::default());
    bench.pass(8);
    assert_eq!(bench.asked().len(), 1);
    bench.advertise_prefixes(&[]);
    assert_eq!(bench.host.poll_timeout(), None);
}

#[test]
fn rfc4862_an_address_is_used_once_nobody_has_claimed_it() {
    let mut bench = Bench::new();
    bench.advertise_prefixes(&[(GLOBAL, 600, 1200), (OTHER, 600, 1200)]);
    let probes = bench.asked();
    assert_eq!(probes.len(), 2);
    assert!(probes.iter().all(|(_, probe)| probe.source.is_unspecified()));
    assert_eq!(bench.host.connection(bench.now), None);
    bench.receive_ndp(
        in_network(OTHER),
        ALL_NODES,
        Message::NeighbourAdvertisement {
            target: in_network(OTHER),
            router: false,
            solicited: false,
            overrides: true,
            target_link_layer: Some(ROUTER_MAC),
        },
    );
    bench.pass(1);
    assert_eq!(bench.host.connection(bench.now), Some(in_network(GLOBAL)));
    assert!(bench.host.addresses().all(|own| own.address == in_network(GLOBAL)));
}

#[test]
fn rfc4862_5_5_3_nobody_shortens_a_lifetime_to_less_than_two_hours() {
    let mut bench = Bench::new();
    bench.advertise_prefixes(&[(GLOBAL, 600, 90_000)]);
    bench.advertise_prefixes(&[(GLOBAL, 0, 0)]);
    assert_eq!(bench.lifetimes(GLOBAL), (0, 7200), "but it is deprecated at once");
    bench.pass(1000);
    bench.advertise_prefixes(&[(GLOBAL, 100, 100)]);
    assert_eq!(bench.lifetimes(GLOBAL), (100, 6200));
    bench.advertise_prefixes(&[(GLOBAL, 100, 6500)]);
    assert_eq!(bench.lifetimes(GLOBAL), (100, 6500), "longer is always heard");
    bench.advertise_prefixes(&[(GLOBAL, 100, 7300)]);
    assert_eq!(bench.lifetimes(GLOBAL), (100, 7300));
    bench.pass(7300);
    assert!(bench.host.addresses().all(|own| !own.is_valid(bench.now)));
    bench.advertise_prefixes(&[(GLOBAL, 0, 0), (OTHER, 200, 100)]);
    assert_eq!(bench.host.addresses().count(), 0, "a prefix that is over or nonsense makes no address");
}

#[test]
fn rfc6724_5_the_source_is_not_deprecated_then_of_the_destinations_kind_then_near_it() {
    let mut bench = Bench::new();
    bench.advertise_prefixes(&[(SITE, u32::MAX, u32::MAX), (GLOBAL, 600, 1200)]);
    bench.pass(1);
    assert_eq!(bench.source(), in_network(GLOBAL));
    assert_eq!(bench.host.source(bench.now, ROUTER).unwrap().address, link_local(interface_id(MAC)));
    bench.advertise_prefixes(&[(GLOBAL, 0, 1200), (OTHER, 600, 1200)]);
    bench.pass(1);
    assert_eq!(
        (bench.source(), bench.host.connection(bench.now)),
        (in_network(OTHER), Some(in_network(OTHER)))
    );
    bench.advertise_prefixes(&[(OTHER, 0, 1200)]);
    assert_eq!((bench.source(), bench.host.connection(bench.now)), (in_network(SITE), None));
}

#[test]
fn rfc4191_3_routes_and_servers_live_as_long_as_they_are_said_to() {
    let mut bench = Bench::new();
    let server = DnsServer { address: ROUTER, lifetime: 500 };
    let route = RouteInformation { prefix: OTHER, preference: Preference::Medium, lifetime: 700 };
    bench.advertise(RouterAdvertisement {
        router_lifetime: 600,
        routes: vec![route],
        dns: vec![server],
        ..RouterAdvertisement::default()
    });
    assert!(bench.host.routers(bench.now).eq([ROUTER]) && bench.host.dns(bench.now).eq([ROUTER]));
    bench.pass(500);
    assert_eq!(bench.host.dns(bench.now).count(), 0);
    assert_eq!(bench.host.next_hop(bench.now, TARGET), Some(ROUTER));
    bench.pass(100);
    assert_eq!(bench.host.next_hop(bench.now, TARGET), None);
    assert_eq!(bench.host.next_hop(bench.now, in_network(OTHER)), Some(ROUTER));
    bench.pass(100);
    assert_eq!(bench.host.next_hop(bench.now, in_network(OTHER)), None);
}

#[test]
fn neighbours_are_asked_for_and_answered() {
    let mut bench = Bench::new();
    bench.advertise_prefixes(&[(GLOBAL, 600, 1200)]);
    bench.pass(1);
    bench.sent();
    let neighbour = GLOBAL.with_suffix(Ipv6Addr::LOCALHOST);
    let (mine, packet) = (in_network(GLOBAL), Frame::from_bytes(b"waits"));
    bench.host.send(bench.now, neighbour, packet);
    let (to, question) = bench.asked().remove(0);
    assert_eq!((to, question.source), (group_mac(solicited_node(neighbour)), mine));
    let answer = question.answer(Some(ROUTER_MAC), true).unwrap();
    bench.receive_ndp(answer.source, answer.destination, answer.message);
    assert_eq!(bench.sent()[0].1.bytes(), b"waits");

    let question = Message::NeighbourSolicitation { target: mine, source_link_layer: Some(ROUTER_MAC) };
    bench.receive_ndp(ROUTER, solicited_node(mine), question);
    let (to, answer) = bench.asked().remove(0);
    assert_eq!((to, answer.source, answer.destination), (ROUTER_MAC, mine, ROUTER));
}

#[test]
fn an_answer_is_remembered_with_the_address_that_it_came_to() {
    let mut bench = Bench::new();
    bench.advertise_prefixes(&[(GLOBAL, 600, 1200)]);
    bench.pass(1);
    bench.sent();
    for preferred in [true, false] {
        bench.host.ping(bench.now);
        let (to, request) = bench.sent().remove(0);
        assert_eq!(to, ROUTER_MAC);
        let request = Ipv6::parse(request.bytes()).unwrap();
        let icmp = [&[ECHO_REPLY], &request.icmp().unwrap()[1..]].concat();
        let header = Header { source: TARGET, destination: request.source(), hop_limit: 60 };
        let mut frame = Frame::with_capacity(2048);
        assert!(header.write_icmp(&icmp, &mut frame));
        bench.receive(MAC, frame);
        let reply = Reply { at: bench.now, source: in_network(GLOBAL), preferred };
        assert_eq!(bench.host.replies(), [reply]);
        bench.pass(10);
        bench.advertise_prefixes(&[(GLOBAL, 0, 1200)]);
    }
}
