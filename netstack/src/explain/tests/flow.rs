//! Connections that do not come about, and peers of VPNs.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;

use super::line::{SECRET, client, port, wan};
use super::plain::with_vpn;
use crate::explain::{Diagnosis, FlowDiagnosis};
use crate::frame::{Batch, Frame};
use crate::gateway::Gateway;
use crate::id::{Ipv4Cidr, Mac, PortId, WanId, Zone};
use crate::settings::{
    Action, Dhcp6, Endpoint, Lan, PortForward, Rule, RuleProtocol, Settings, StaticIpv4, StaticUplink,
    Transport, Uplink, Wan,
};
use crate::sim::{End, World};
use crate::state::State;
use crate::time::{Duration, Instant};
use crate::tunnel::wireguard::PrivateKey;
use crate::wire::ethernet::{Header, ethertype};
use crate::wire::ipv4;

const ROUTER: Mac = Mac([2, 0, 0, 0, 1, 1]);
const HOST: Mac = Mac([2, 0, 0, 0, 5, 5]);
const UPSTREAM: Mac = Mac([2, 0, 0, 0, 9, 0]);

/// A LAN 192.168.1.0/24, an uplink with 203.0.113.2, port 80 forwarded to 192.168.1.50, and some rules.
fn settings() -> Settings {
    let address = Ipv4Cidr { address: [203, 0, 113, 2].into(), prefix: 24 };
    let ipv4 = Some(StaticIpv4 { address, gateway: [203, 0, 113, 1].into() });
    let uplink = Uplink::Static(StaticUplink { ipv4, ..StaticUplink::default() });
    let rule = Rule {
        from: Some(Zone::Lan),
        to: Some(Zone::Wan),
        protocol: RuleProtocol::Tcp,
        ports: vec![25..=25],
        source: None,
        destination: None,
        action: Action::Drop,
        line: Some(31),
    };
    let mut settings = client(Wan { uplink, ..wan() });
    settings.ports.push(port(ROUTER));
    settings.lans = vec![Lan {
        name: "home".into(),
        ports: vec![PortId(1)],
        address: Ipv4Cidr { address: [192, 168, 1, 1].into(), prefix: 24 },
        dhcp: None,
        prefix: None,
        dhcp6: Dhcp6::Off,
        domain: "home.arpa".into(),
        hosts: vec![],
    }];
    settings.rules = vec![Rule { ports: vec![1..=1], ..rule.clone() }, rule];
    settings.port_forwards = vec![PortForward {
        wan: WanId(0),
        protocol: Transport::Tcp,
        port: 80,
        to: [192, 168, 1, 50].into(),
        to_port: 8080,
    }];
    settings
}

struct Net {
    gateway: Gateway,
    now: Instant,
}

impl Net {
    fn new(settings: &Settings) -> Net {
        let now = Instant::from_secs(1000);
        Net { gateway: Gateway::new(settings, &State::default(), [7; 32], now), now }
    }

    fn pass(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        while let Some(due) = self.gateway.poll_timeout().filter(|&due| due <= end) {
            self.now = self.now.max(due) + Duration::from_nanos(1);
            self.gateway.handle_timeout(self.now);
        }
        self.now = end;
    }

    /// A UDP packet, or the beginning of a TCP connection, comes in.
    fn packet(&mut self, at: u16, protocol: u8, (source, destination): (&str, &str)) {
        let (source, destination): (SocketAddr, SocketAddr) =
            (source.parse().unwrap(), destination.parse().unwrap());
        let (SocketAddr::V4(from), SocketAddr::V4(to)) = (source, destination) else { return };
        let mut segment = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
        match protocol {
            ipv4::UDP => segment.extend([0, 8, 0, 0]),
            _ => segment.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 255, 255, 0, 0, 0, 0]),
        }
        if protocol == ipv4::TCP {
            let (source, destination) = (u32::from(*from.ip()), u32::from(*to.ip()));
            let pseudo = [&source.to_be_bytes()[..], &destination.to_be_bytes(), &[0, 6, 0, 20]].concat();
            let sum = crate::wire::checksum::Sum::of(&pseudo).plus(crate::wire::checksum::Sum::of(&segment));
            segment[16..18].copy_from_slice(&sum.checksum().to_be_bytes());
        }
        let header =
            ipv4::Header { source: *from.ip(), destination: *to.ip(), protocol, hops: 64, identification: 1 };
        let total = u16::try_from(20 + segment.len()).unwrap();
        let (destination, source) =
            if at == 0 { (Mac([2, 0, 0, 0, 1, 0]), UPSTREAM) } else { (ROUTER, HOST) };
        let ethernet = Header { destination, source, ethertype: ethertype::IPV4 };
        let bytes = [&ethernet.to_bytes()[..], &header.to_bytes(total), &segment].concat();
        self.gateway.receive(self.now, PortId(at), &mut Batch::from([Frame::from_bytes(&bytes)]));
    }

    fn explain(&mut self, source: &str, destination: &str) -> FlowDiagnosis {
        let before = self.gateway.status(self.now);
        let (from, to) = (source.parse().unwrap(), destination.parse().unwrap());
        let told = self.gateway.explain_flow(self.now, None, from, to);
        let after = self.gateway.status(self.now);
        assert_eq!(
            (before.nat.flows, before.nat.mappings),
            (after.nat.flows, after.nat.mappings),
            "nothing changes"
        );
        assert!(self.gateway.balance().holds());
        assert!(!serde_json::to_string(&told).unwrap().contains(SECRET));
        told
    }
}

#[track_caller]
fn refused(told: &FlowDiagnosis, phrases: &[&str]) {
    assert!(!told.passes && told.causes.len() == 2, "{told}");
    for phrase in phrases {
        assert!(alloc::format!("{told}").contains(phrase), "{phrase:?} is missing:\n{told}");
    }
}

#[test]
fn a_connection_from_the_lan_is_followed_before_and_after_it_begins() {
    let mut net = Net::new(&settings());
    let (source, destination) = ("192.168.1.20:5000", "198.51.100.9:443");
    let told = net.explain(source, destination);
    assert!(told.passes && !told.known && told.rule.is_none(), "{told}");
    let text = alloc::format!("{told}");
    for phrase in
        ["comes in by lan.home", "goes out by wan.isp", "next is 203.0.113.1", "a port of wan.isp is free"]
    {
        assert!(text.contains(phrase), "{phrase}:\n{told}");
    }
    net.packet(1, ipv4::UDP, (source, destination));
    let told = net.explain(source, destination);
    assert!(told.known && told.subject.starts_with("udp"), "{told}");
    let text = alloc::format!("{told}");
    for phrase in ["there it is 203.0.113.2:", "epoch 0, the present one", "in user space", "1 of 4096 flows"]
    {
        assert!(text.contains(phrase), "{phrase}:\n{told}");
    }
}

#[test]
fn fault_a_filter_rule_is_in_the_way() {
    let mut net = Net::new(&settings());
    let told = net.explain("192.168.1.20:5000", "198.51.100.9:25");
    refused(
        &told,
        &[
            "a rule of the configuration forbids it ([[filter]] number 2 at line 31)",
            "before the one that decides",
        ],
    );
    assert_eq!((told.rule, told.rule_line), (Some(2), Some(31)));
}

#[test]
fn fault_nothing_lets_it_in() {
    let mut net = Net::new(&settings());
    refused(
        &net.explain("198.51.100.9:4000", "203.0.113.2:22"),
        &["no rule and no port forward", "[[port-forward]]"],
    );
}

#[test]
fn fault_port_forward_to_a_dead_host() {
    let mut net = Net::new(&settings());
    let (source, destination) = ("198.51.100.9:4000", "203.0.113.2:80");
    let told = net.explain(source, destination);
    assert!(told.passes, "nobody has looked for the host yet:\n{told}");
    assert!(alloc::format!("{told}").contains("[[port-forward]] of port 80 to 192.168.1.50:8080"), "{told}");
    net.packet(0, ipv4::TCP, (source, destination));
    net.pass(10);
    refused(
        &net.explain("198.51.100.9:4001", destination),
        &["does not answer", "dead host", "192.168.1.50", "in vain"],
    );
}

#[test]
fn fault_host_quota_and_full_table() {
    let mut settings = settings();
    settings.nat.flows_per_host = 2;
    let mut net = Net::new(&settings);
    for port in ["1000", "1001"] {
        net.packet(1, ipv4::UDP, (&alloc::format!("192.168.1.20:{port}"), "198.51.100.9:443"));
    }
    let phrases = ["as many flows as it may have", "2 of 2 flows", "flows-per-host"];
    refused(&net.explain("192.168.1.20:1002", "198.51.100.9:443"), &phrases);
    settings.nat.flows = 1;
    let mut net = Net::new(&settings);
    net.packet(1, ipv4::UDP, ("192.168.1.20:1000", "198.51.100.9:443"));
    refused(&net.explain("192.168.1.21:1002", "198.51.100.9:443"), &["the table of flows is full"]);
}

#[test]
fn fault_every_port_of_the_address_is_taken() {
    let mut settings = settings();
    (settings.nat.flows, settings.nat.flows_per_host) = (1 << 17, 1 << 17);
    let mut net = Net::new(&settings);
    for port in 1024..=u16::MAX {
        net.packet(1, ipv4::UDP, (&alloc::format!("192.168.1.20:{port}"), "198.51.100.9:443"));
    }
    let told = net.explain("192.168.1.21:1002", "198.51.100.9:443");
    assert!(told.passes, "TCP has ports of its own:\n{told}");
    let (from, to) = ("192.168.1.21:1002".parse().unwrap(), "198.51.100.9:443".parse().unwrap());
    let told = net.gateway.explain_flow(net.now, Some(Transport::Udp), from, to);
    refused(&told, &["udp ", "no external port is free on the uplink", "one host has opened very many"]);
}

#[test]
fn fault_uplink_down() {
    let mut settings = settings();
    settings.wans = vec![wan()];
    let mut net = Net::new(&settings);
    net.pass(30);
    let phrases = ["no uplink that leads there is up", "wan isp is down: discovery fails"];
    refused(&net.explain("192.168.1.20:1002", "198.51.100.9:443"), &phrases);
}

#[test]
fn fault_a_source_of_another_network() {
    let mut net = Net::new(&settings());
    let told = net.explain("192.168.1.1:5", "192.168.1.1:80");
    assert!(!told.passes, "{told}");
    refused(&net.explain("192.168.1.20:1002", "127.0.0.1:443"), &["no way to the destination"]);
}

/// Two sites on one segment, each of which calls the other; the first one knows the other by `key`.
fn sites(key: u8) -> (World, Diagnosis) {
    let site = |n: u8, other: u8| {
        let address = Ipv4Cidr { address: [203, 0, 113, n].into(), prefix: 24 };
        let ipv4 = Some(StaticIpv4 { address, gateway: [203, 0, 113, 3 - n].into() });
        let uplink = Uplink::Static(StaticUplink { ipv4, ..StaticUplink::default() });
        let mut settings = with_vpn(client(Wan { uplink, ..wan() }));
        settings.ports[0].mac = Mac([2, 0, 0, 0, n, 0]);
        let vpn = &mut settings.vpns[0];
        vpn.private_key = PrivateKey::new([n; 32]);
        vpn.peers[0].public_key = PrivateKey::new([other; 32]).public();
        vpn.peers[0].endpoint = Some(Endpoint::Address(SocketAddr::from(([203, 0, 113, 3 - n], 51_820))));
        vpn.peers[0].keepalive = Some(Duration::from_secs(5));
        settings
    };
    let mut world = World::new(9);
    let us = world.add_gateway(&site(1, key));
    let them = world.add_gateway(&site(2, 1));
    world.connect(End(us, PortId(0)), End(them, PortId(0)));
    world.run_for(Duration::from_secs(40));
    let now = world.now();
    let told = world.gateway(us).unwrap().explain_vpn(now, "sites", None).remove(0);
    (world, told)
}

#[test]
fn fault_vpn_key_wrong() {
    let (world, told) = sites(2);
    assert!(told.healthy && told.sentence.ends_with("is up"), "{told}\n{}", world.story());
    let (_, told) = sites(7);
    super::line::fails(
        &told,
        "handshake",
        &["somebody with another public key knocks", "wrong key", "203.0.113.2:51820"],
    );
    let names: Vec<String> = told.steps.iter().map(|step| step.name.into()).collect();
    assert_eq!(names, ["uplink", "endpoint", "handshake"]);
}
