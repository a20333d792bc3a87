//! A VPN whose peer knows one address: commercial providers.

use alloc::vec;
use core::net::Ipv4Addr;

use super::ipv6::net::{at, cidr, host, server};
use super::ipv6::packet::Packet6;
use super::net::*;
use super::packet::{ACK, Packet, SYN};
use crate::forward::FlowSummary;
use crate::id::{Interface, IpCidr, Ipv4Cidr, VpnId};
use crate::ledger::DropReason;
use crate::settings::{Filtering, Settings, Transport, Vpn, VpnPeer};
use crate::tunnel::wireguard::{PrivateKey, PublicKey};

const PROVIDER: VpnId = VpnId(0);
const ON: Interface = Interface::Vpn(PROVIDER);
/// Ours at the provider, and a host behind the provider that has no other way.
const INNER: Ipv4Addr = ip(10, 64, 7, 9);
const FAR: Ipv4Addr = ip(10, 64, 0, 1);

fn with_provider(mut settings: Settings, masquerade: bool) -> Settings {
    let everywhere = Ipv4Cidr { address: Ipv4Addr::UNSPECIFIED, prefix: 0 };
    let near = Ipv4Cidr { address: ip(10, 64, 0, 0), prefix: 24 };
    settings.vpns = vec![Vpn {
        name: "provider".into(),
        private_key: PrivateKey::new([1; 32]),
        listen_port: 51820,
        ipv4: Some(Ipv4Cidr { address: INNER, prefix: 32 }),
        ipv6: Some(cidr("fd00:64::9/128")),
        mtu: None,
        masquerade,
        bridge: None,
        peers: vec![VpnPeer {
            name: "exit".into(),
            public_key: PublicKey([2; 32]),
            preshared_key: None,
            endpoint: None,
            allowed_ips: vec![IpCidr::V4(everywhere), IpCidr::V4(near), IpCidr::V6(cidr("::/0"))],
            keepalive: None,
        }],
    }];
    settings
}

fn net() -> Net {
    Net::with(with_provider(settings(), true))
}

impl Net {
    /// What became of the only flow of this source. The provider has no endpoint yet, so that nothing leaves.
    #[track_caller]
    fn flow_of(&self, source: (Ipv4Addr, u16)) -> FlowSummary {
        let mut found = self.forwarder.flows().filter(|flow| flow.source == (source.0.into(), source.1));
        let flow = found.next().expect("a flow");
        assert_eq!(found.next(), None);
        flow
    }

    /// A host sends a datagram by the provider. Returns the port that it has there.
    #[track_caller]
    fn map_at_provider(&mut self, from: (Ipv4Addr, u16), to: (Ipv4Addr, u16)) -> u16 {
        self.lan(Packet::udp(from, to, b"out"));
        let flow = self.flow_of(from);
        assert_eq!((flow.to, flow.translated_source.0), (ON, INNER.into()));
        flow.translated_source.1
    }
}

#[test]
fn hosts_go_by_the_address_that_the_provider_knows_and_answers_find_them() {
    let mut net = net();
    let ports = [HOST, HOST_2].map(|from| net.map_at_provider((from, 5000), (SERVER, 53)));
    assert_ne!(ports[0], ports[1], "each has its own");
    for (to, port) in [HOST, HOST_2].into_iter().zip(ports) {
        let read = net.vpn(PROVIDER, &Packet::udp((SERVER, 53), (INNER, port), b"back").build());
        let read = read.only(At::Station(to));
        assert_eq!((read.source, read.destination), ((SERVER, 53), (to, 5000)));
    }
    net.lan(Packet::tcp((HOST, 6000), (SERVER, 443), SYN, b""));
    let port = net.flow_of((HOST, 6000)).translated_source.1;
    let answer = Packet::tcp((SERVER, 443), (INNER, port), SYN | ACK, b"").build();
    assert_eq!(net.vpn(PROVIDER, &answer).only(At::Station(HOST)).destination, (HOST, 6000));
    // What is on a LAN, or the uplink's, is no matter of the provider's.
    net.lan(Packet::udp((HOST, 7000), (VISITOR, 9), b"")).only(At::Station(VISITOR));
    assert_eq!(net.dropped(DropReason::WireguardNoEndpoint), 3);
}

#[test]
fn without_it_hosts_keep_their_addresses() {
    let mut net = Net::with(with_provider(settings(), false));
    net.lan(Packet::udp((HOST, 5000), (SERVER, 53), b""));
    let flow = net.flow_of((HOST, 5000));
    assert_eq!((flow.to, flow.translated_source), (ON, (HOST.into(), 5000)));
}

#[test]
fn nothing_begins_from_a_provider() {
    let mut net = net();
    for to in [INNER, HOST, ROUTER, SERVER_2] {
        net.vpn(PROVIDER, &Packet::udp((SERVER, 53), (to, 53), b"").build()).nothing();
        net.vpn(PROVIDER, &Packet::tcp((SERVER, 80), (to, 22), SYN, b"").build()).nothing();
        net.vpn(PROVIDER, &Packet::ping(SERVER, to, 7).build()).nothing();
    }
    assert_eq!(net.forwarder.flow_count(), 0);
    // Nor at a port that is a host's, unless it has asked.
    let port = net.map_at_provider((HOST, 5000), (SERVER, 53));
    net.vpn(PROVIDER, &Packet::udp((SERVER_2, 53), (INNER, port), b"").build()).nothing();
    assert_eq!(net.dropped(DropReason::FilterDefault), 13);
    // A peer that is no provider does as before.
    let mut trusted = Net::with(with_provider(settings(), false));
    trusted.vpn(PROVIDER, &Packet::ping(SERVER, INNER, 7).build()).only(At::Local(ON));
    trusted.vpn(PROVIDER, &Packet::ping(FAR, SERVER_2, 7).build());
    assert_eq!(trusted.forwarder.flow_count(), 2);
}

/// RFC 4787 REQ-8: with endpoint-independent filtering a port that a host has opened is open to all.
#[test]
fn rfc4787_req_8_the_chosen_filtering_holds_at_a_provider() {
    let mut net = Net::with(with_provider(with_filtering(Filtering::EndpointIndependent), true));
    let port = net.map_at_provider((HOST, 5000), (SERVER, 53));
    let other = Packet::udp((SERVER_2, 99), (INNER, port), b"").build();
    let read = net.vpn(PROVIDER, &other).only(At::Station(HOST));
    assert_eq!((read.source, read.destination), ((SERVER_2, 99), (HOST, 5000)));
}

/// The router asks by the provider, too: its port is none of a host's.
#[test]
fn what_the_router_asks_keeps_its_port_and_takes_nobodys() {
    let mut net = net();
    net.router(Packet::udp((INNER, 40_000), (FAR, 53), b""));
    assert_eq!(net.flow_of((INNER, 40_000)).translated_source, (INNER.into(), 40_000));
    let answer = Packet::udp((FAR, 53), (INNER, 40_000), b"").build();
    net.vpn(PROVIDER, &answer).only(At::Local(ON));
    net.lan(Packet::udp((HOST, 40_000), (FAR, 53), b""));
    assert_ne!(net.flow_of((HOST, 40_000)).translated_source.1, 40_000);
}

/// From an uplink, and from a LAN by the uplink's address.
#[test]
fn a_port_forward_to_a_peer_that_knows_one_address_comes_from_there() {
    let mut net = Net::with(with_provider(with_forward(Transport::Udp, 9000, FAR, 9), true));
    let visitor = (SERVER, 7777);
    net.wan(Packet::udp(visitor, (OURS, 9000), b"")).nothing();
    net.lan(Packet::udp((HOST, 8888), (OURS, 9000), b"")).nothing();
    assert_eq!(net.dropped(DropReason::WireguardNoEndpoint), 2);
    for (source, back) in [(visitor, At::ISP), ((HOST, 8888), At::Station(HOST))] {
        let flow = net.flow_of(source);
        assert_eq!((flow.translated_source.0, flow.translated_destination), (INNER.into(), (FAR.into(), 9)));
        let answer = Packet::udp((FAR, 9), (INNER, flow.translated_source.1), b"").build();
        let read = net.vpn(PROVIDER, &answer).only(back);
        assert_eq!((read.source, read.destination), ((OURS, 9000), source));
    }
    // With another address of the uplink's they end.
    net.wan_down(ISP);
    net.wan_up(ISP, OURS_LATER);
    net.pass(1);
    assert_eq!(net.forwarder.flow_count(), 0);
}

/// Hosts are told at once, and use IPv4: an answer to an address that the provider does not know would never come.
#[test]
fn ipv6_is_not_translated_and_hosts_are_told() {
    for (prefix, told) in [("fd00:64::9/128", true), ("fd00:64::9/64", false)] {
        let mut settings = with_provider(settings(), true);
        settings.vpns[0].ipv6 = Some(cidr(prefix));
        let mut net = Net::dual_with(settings);
        let out = net.lan6(Packet6::udp((host(), 5000), (server(), 53), b""));
        if told {
            out.error(at(host()), 1, 5);
            assert_eq!(net.dropped(DropReason::NatProtocol), 1);
        } else {
            assert_eq!(net.forwarder.flow_count(), 1, "a network of ours at the provider: it is routed");
        }
    }
}
