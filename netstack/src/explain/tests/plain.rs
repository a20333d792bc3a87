//! Faults of plain uplinks, of prefixes and of DNS.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::line::{
    Alone, Street, checked, client, concentrator, fails, isp, port, session, wan, without_proof,
};
use crate::dhcp4::message::{Reply, Request, ServerMessage};
use crate::dhcp6::Duid;
use crate::dhcp6::message::{Builder, Message, MessageType};
use crate::dhcp6::option::{IaKind, StatusCode, code as code6};
use crate::explain::Diagnosis;
use crate::frame::Frame;
use crate::gateway::Gateway;
use crate::id::{Ipv4Cidr, Ipv6Cidr, Mac, PortId, WanId};
use crate::settings::{
    Concentrator, Dhcp6, Endpoint, Lan, LanPrefix, PrefixPool, PrefixRequest, Settings, Uplink, Vpn, VpnPeer,
    Wan, WanIpv6,
};
use crate::tunnel::wireguard::PrivateKey;
use crate::wire::ipv6::{Header, Ipv6};
use crate::wire::ppp::{code, protocol};

const INSIDE: PortId = PortId(1);

fn with_ipv6(uplink: Wan) -> Wan {
    Wan { ipv6: Some(WanIpv6 { prefix: Some(PrefixRequest::default()) }), ..uplink }
}

fn lan(name: &str, port: PortId, third: u8, subnet: u64) -> Lan {
    Lan {
        name: name.into(),
        ports: vec![port],
        address: Ipv4Cidr { address: [192, 168, third, 1].into(), prefix: 24 },
        dhcp: None,
        prefix: Some(LanPrefix { from: WanId(0), subnet }),
        dhcp6: Dhcp6::Off,
        domain: "home.arpa".into(),
        hosts: vec![],
    }
}

/// IPV6CP is agreed to; DHCPv6 packets of ours go to `answer`, and what it says comes back.
fn with_ipv6cp(
    mut answer: impl FnMut(&[u8]) -> Option<Vec<u8>>,
) -> impl FnMut(u16, u8, u8, &[u8]) -> Vec<Vec<u8>> {
    move |number, kind, id, data| match (number, kind) {
        (protocol::IPV6CP, code::CONFIGURE_REQUEST) => vec![
            session(protocol::IPV6CP, code::CONFIGURE_ACK, id, data),
            session(protocol::IPV6CP, code::CONFIGURE_REQUEST, 1, &[1, 10, 2, 0, 0, 0, 0, 0, 0, 9]),
        ],
        (protocol::IPV6, kind) => {
            // Protocol, code, identifier and length are those of a control packet: here, the beginning of a header.
            let whole = [&[kind, id][..], data].concat();
            answer(&whole).into_iter().collect()
        }
        _ => super::line::with_address(number, kind, id, data),
    }
}

fn silent(_: &[u8]) -> Option<Vec<u8>> {
    None
}

#[test]
fn fault_prefix_delegation_silent() {
    let mut alone = Alone::new(&client(with_ipv6(wan())));
    alone.play(60, without_proof(with_ipv6cp(silent)));
    let phrases = ["no DHCPv6 server answers", "does not delegate prefixes on this line", "DHCPv6 Solicit"];
    fails(&alone.explain(), "prefix delegation", &phrases);
}

#[test]
fn fault_prefix_delegation_refused() {
    let refuse = |packet: &[u8]| {
        let view = Ipv6::parse(packet)?;
        let solicit = Message::parse(view.udp()?.payload)?;
        let ia = solicit.options.associations(IaKind::Prefixes).next()?;
        let mut advertise = Builder::new(MessageType::Advertise, solicit.xid, 1200);
        assert!(advertise.duid(code6::CLIENT_ID, &solicit.client()?));
        assert!(advertise.duid(code6::SERVER_ID, &Duid::link_layer(Mac([2, 0, 0, 0, 9, 0]))));
        let status = |inside: &mut Builder| inside.status(StatusCode::NoPrefixAvail, "sold out");
        assert!(advertise.ia(IaKind::Prefixes, ia.iaid, (0, 0), status));
        let header = Header { source: "fe80::9".parse().unwrap(), destination: view.source(), hop_limit: 64 };
        let mut frame = Frame::with_capacity(1600);
        assert!(header.write_udp(547, 546, &advertise.finish(), &mut frame));
        let mut ppp = Frame::from_bytes(&[&protocol::IPV6.to_be_bytes()[..], frame.bytes()].concat());
        let (bras, ours) = (Mac([2, 0, 0, 0, 9, 0]), Mac([2, 0, 0, 0, 1, 0]));
        assert!(crate::wire::pppoe::push_session(&mut ppp, bras, ours, 7));
        Some(ppp.bytes().to_vec())
    };
    let mut alone = Alone::new(&client(with_ipv6(wan())));
    alone.play(30, without_proof(with_ipv6cp(refuse)));
    let phrases = ["NoPrefixAvail", "its pool is empty", "\"sold out\"", "is up, but"];
    fails(&alone.explain(), "prefix delegation", &phrases);
}

#[test]
fn fault_one_64_for_two_lans() {
    let mut ours = client(with_ipv6(wan()));
    ours.ports.extend([port(Mac([2, 0, 0, 0, 1, 1])), port(Mac([2, 0, 0, 0, 1, 2]))]);
    ours.lans = vec![lan("home", INSIDE, 1, 0), lan("guests", PortId(2), 2, 1)];
    let prefix = Ipv6Cidr { address: "2001:db8::".parse().unwrap(), prefix: 48 };
    let theirs = Concentrator { prefix_pool: Some(PrefixPool { prefix, delegate: 64 }), ..isp() };
    let mut street = Street::new(&ours, &concentrator(theirs));
    let diagnosis = street.run(30);
    fails(&diagnosis, "prefix delegation", &["too small", "delegates a /64", "lan guests", "length = 56"]);
}

fn plain(ipv6: Option<WanIpv6>) -> Wan {
    Wan { name: "isp".into(), port: PortId(0), uplink: Uplink::Dhcp, ipv4: true, ipv6 }
}

#[test]
fn fault_dhcp_silent() {
    let mut alone = Alone::new(&client(plain(None)));
    alone.pass(60);
    let phrases = ["no DHCP server answers", "it wants PPPoE, a VLAN", "DHCPDISCOVER to everyone,"];
    fails(&alone.explain(), "DHCP", &phrases);
}

#[test]
fn fault_dhcp_nak() {
    let mut alone = Alone::new(&client(plain(None)));
    let server = |kind, request: &Request, address: [u8; 4]| {
        let options = vec![
            (51, vec![0, 0, 14, 16]),
            (1, vec![255, 255, 255, 0]),
            (3, vec![192, 0, 2, 1]),
            (56, b"wrong network".to_vec()),
        ];
        let (server_mac, server) = (Mac([2, 0, 0, 0, 9, 0]), [192, 0, 2, 1].into());
        Reply { kind, request, server_mac, server, yiaddr: address.into(), options }.to_frame()
    };
    alone.play(30, |frame| match Request::parse(frame) {
        Ok(request) if request.kind == crate::dhcp4::message::ClientMessage::Discover => {
            vec![server(ServerMessage::Offer, &request, [192, 0, 2, 7])]
        }
        Ok(request) => vec![server(ServerMessage::Nak, &request, [0; 4])],
        Err(_) => vec![],
    });
    let phrases = ["DHCPNAK", "DHCPNAK of 192.0.2.1", "two DHCP servers"];
    fails(&alone.explain(), "DHCP", &phrases);
}

/// An uplink with a fixed address: nothing is missing but what the test takes away.
fn fixed() -> Wan {
    use crate::settings::{StaticIpv4, StaticUplink};
    let address = Ipv4Cidr { address: [192, 0, 2, 7].into(), prefix: 24 };
    let ipv4 = Some(StaticIpv4 { address, gateway: [192, 0, 2, 1].into() });
    Wan {
        uplink: Uplink::Static(StaticUplink { ipv4, ipv6: None, dns: vec![[9, 9, 9, 9].into()] }),
        ..plain(None)
    }
}

#[test]
fn fault_no_router_advertisement() {
    let mut alone = Alone::new(&client(plain(Some(WanIpv6 { prefix: None }))));
    let mut lease = |frame: &[u8]| match Request::parse(frame) {
        Ok(request) => {
            let discover = request.kind == crate::dhcp4::message::ClientMessage::Discover;
            let kind = if discover { ServerMessage::Offer } else { ServerMessage::Ack };
            let options = vec![
                (51, vec![0, 0, 14, 16]),
                (1, vec![255, 255, 255, 0]),
                (3, vec![203, 0, 113, 1]),
                (6, vec![9, 9, 9, 9]),
            ];
            let server = [203, 0, 113, 1].into();
            let server_mac = Mac([2, 0, 0, 0, 9, 0]);
            let yiaddr = [203, 0, 113, 7].into();
            vec![Reply { kind, request: &request, server_mac, server, yiaddr, options }.to_frame()]
        }
        Err(_) => vec![],
    };
    alone.play(60, &mut lease);
    let phrases =
        ["is up, but router advertisement fails", "Router Solicitation to all routers", "filters multicast"];
    fails(&alone.explain(), "router advertisement", &phrases);
}

/// A VPN whose peer's host has a name, so that the router itself asks for one.
pub(super) fn with_vpn(mut settings: Settings) -> Settings {
    settings.vpns = vec![Vpn {
        name: "sites".into(),
        private_key: PrivateKey::new([1; 32]),
        listen_port: 51_820,
        ipv4: None,
        ipv6: None,
        mtu: None,
        bridge: None,
        masquerade: false,
        peers: vec![VpnPeer {
            name: "office".into(),
            public_key: PrivateKey::new([2; 32]).public(),
            preshared_key: None,
            endpoint: Some(Endpoint::Name { host: "office.example".into(), port: 51_820 }),
            allowed_ips: vec![],
            keepalive: None,
        }],
    }];
    settings
}

#[test]
fn fault_dns_dead_and_a_vpn_endpoint_without_an_address() {
    // The concentrator routes to no DNS server: its questions end there.
    let mut street = Street::new(&with_vpn(client(wan())), &concentrator(isp()));
    let diagnosis = street.run(40);
    fails(
        &diagnosis,
        "DNS",
        &["do not answer: 9.9.9.9", "the ISP's DNS servers are down", "question to 9.9.9.9"],
    );
    let now = street.world.now();
    let us = street.us;
    let peers = street.world.gateway(us).unwrap().explain_vpn(now, "sites", Some("office"));
    let told = checked(peers.into_iter().next().unwrap());
    fails(&told, "endpoint", &["has no address: office.example:51820", "dynamic DNS has expired"]);
}

#[test]
fn fault_default_router_silent() {
    let mut alone = Alone::new(&with_vpn(client(fixed())));
    alone.pass(40);
    let diagnosis = alone.explain();
    let phrases = ["the default router does not answer ARP", "ARP question for 192.0.2.1"];
    let step = diagnosis.steps.iter().find(|step| step.name == "reachability").unwrap();
    for phrase in phrases {
        assert!(alloc::format!("{step}").contains(phrase), "{diagnosis}");
    }
}

/// What `explain` says of an uplink while it works, for the tests beside this one.
pub(super) fn explained(gateway: &Gateway, now: crate::time::Instant) -> Diagnosis {
    checked(gateway.explain_wan(now, WanId(0)).unwrap())
}

#[test]
fn a_status_bears_the_sentence_of_an_uplink_that_is_down_and_no_other() {
    let mut street = Street::new(&client(wan()), &concentrator(isp()));
    assert!(street.run(20).healthy);
    let now = street.world.now();
    let us = street.us;
    assert_eq!(street.world.gateway(us).unwrap().status(now).wans[0].problem, None);
    let mut alone = Alone::new(&client(wan()));
    alone.pass(30);
    let problem: Option<String> = alone.gateway.status(alone.now).wans.remove(0).problem;
    assert_eq!(problem, Some(explained(&alone.gateway, alone.now).sentence));
}
