//! What is told of a frame on its way, to whoever looks.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::net::*;
use super::packet::Packet;
use crate::forward::parse::SYN;
use crate::frame::Frame;
use crate::id::{Interface, Zone};
use crate::ledger::DropReason;
use crate::settings::{Action, Rule, RuleId, RuleProtocol, Settings, Transport};
use crate::sight::{Fact, Names, Point, Sighting, Watch};

fn watched(settings: Settings) -> Net {
    let mut net = Net::with(settings);
    net.egress.watch(Watch::Everything, &Names::new(&net.settings));
    net
}

fn seen(net: &mut Net) -> Vec<Sighting> {
    core::iter::from_fn(|| net.egress.poll_sighting()).collect()
}

/// A packet from a LAN's host comes in.
fn from_lan(net: &mut Net, packet: &Packet) -> (Out, Vec<Sighting>) {
    let bytes = Net::ethernet(port_mac(LAN_PORT), mac_of(HOST), 0x0800, &packet.build());
    let frame = Frame::from_bytes(&bytes);
    net.egress.begin_journey(Some(&frame));
    let out = net.frame(LAN_PORT, frame);
    let seen = seen(net);
    (out, seen)
}

fn from_wan(net: &mut Net, packet: &Packet) -> (Out, Vec<Sighting>) {
    let frame = Frame::from_bytes(&net.on_uplink(ISP, &packet.build()));
    net.egress.begin_journey(Some(&frame));
    let out = net.frame(WAN_PORT, frame);
    let seen = seen(net);
    (out, seen)
}

fn points(seen: &[Sighting]) -> Vec<(Point, bool)> {
    seen.iter().map(|seen| (seen.point, seen.sent)).collect()
}

fn facts(seen: &[Sighting]) -> Vec<&Fact> {
    seen.iter().flat_map(|seen| &seen.facts).collect()
}

fn told(seen: &[Sighting]) -> String {
    facts(seen).iter().map(|fact| format!("{fact}\n")).collect()
}

#[test]
fn a_packet_is_seen_before_and_after_each_stage_with_what_was_decided() {
    let mut net = watched(settings());
    let syn = Packet::tcp_options((HOST, 5000), (SERVER, 443), SYN, &[2, 4, 5, 0xb4], &[]);
    let (_, seen) = from_lan(&mut net, &syn);
    assert_eq!(
        points(&seen),
        [
            (Point::Interface(Interface::Lan(HOME)), false),
            (Point::Interface(Interface::Wan(ISP)), true),
            (Point::Port(WAN_PORT), true)
        ]
    );
    let story = told(&seen);
    for part in [
        "from lan to wan is accepted",
        "new mapping of 192.168.1.10:5000",
        "new flow TCP",
        "MSS lowered to 1452",
    ] {
        assert!(story.contains(part), "{part} in\n{story}");
    }
    assert_eq!(seen[0].frame.bytes()[26..30], HOST.octets(), "before NAT");
    assert_eq!(seen[1].frame.bytes()[26..30], OURS.octets(), "after NAT, before PPPoE");
    assert_eq!(seen[2].frame.bytes()[12..14], [0x88, 0x64], "on the wire");
}

#[test]
fn packets_of_an_established_flow_are_told_of_too() {
    let mut net = Net::new();
    let ours = net.map_udp((HOST, 5000), (SERVER, 53));
    for _ in 0..3 {
        net.lan(Packet::udp((HOST, 5000), (SERVER, 53), b"on the short way"));
        net.wan(Packet::udp((SERVER, 53), ours, b"back"));
    }
    net.egress.watch(Watch::Everything, &Names::new(&net.settings));
    let (out, seen) = from_wan(&mut net, &Packet::udp((SERVER, 53), ours, b"back"));
    out.only(At::Station(HOST));
    assert!(told(&seen).contains("known flow UDP 192.0.2.80:53 > 203.0.113.5:"), "{}", told(&seen));
    assert!(told(&seen).contains("there 192.0.2.80:53 > 192.168.1.10:5000"), "{}", told(&seen));
}

#[test]
fn the_rule_that_decides_is_named() {
    let mut settings = settings();
    let rule = |ports| Rule {
        from: None,
        to: Some(Zone::Wan),
        protocol: RuleProtocol::Udp,
        ports,
        source: None,
        destination: None,
        action: Action::Reject,
        line: None,
    };
    settings.rules = Vec::from([rule(Vec::from([1..=1])), rule(Vec::new())]);
    let mut net = watched(settings);
    let (_, seen) = from_lan(&mut net, &Packet::udp((HOST, 5000), (SERVER, 53), b""));
    assert_eq!(
        facts(&seen)[0],
        &Fact::Rule { rule: RuleId { number: 2, line: None }, action: Action::Reject }
    );
    assert!(told(&seen).contains("its sender is told: an ICMP error"), "{}", told(&seen));
    let last = seen.iter().find(|seen| seen.point == Point::Drop).unwrap();
    assert_eq!(last.facts.last(), Some(&Fact::Dropped(DropReason::FilterReject)));
    assert_eq!(last.frame.bytes()[..6], port_mac(LAN_PORT).0, "the frame as it came in");
}

#[test]
fn what_a_port_forward_does_is_told() {
    let mut net = watched(with_forward(Transport::Tcp, 8443, HOST, 443));
    let (out, seen) = from_wan(&mut net, &Packet::tcp((SERVER, 999), (OURS, 8443), SYN, b""));
    out.only(At::Station(HOST));
    assert!(told(&seen).contains("[[port-forward]] of port 8443 to 192.168.1.10:443"), "{}", told(&seen));
}

#[test]
fn what_becomes_of_one_frame_bears_one_number() {
    let mut net = watched(settings());
    let big = Packet::udp((HOST, 5000), (SERVER, 53), &[7; 1472]).may_fragment();
    let (out, seen) = from_lan(&mut net, &big);
    assert_eq!(out.all(At::ISP).len(), 2);
    assert!(told(&seen).contains("cut into fragments of 1492 octets"), "{}", told(&seen));
    let first = seen[0].journey;
    assert!(seen.iter().all(|seen| seen.journey == first));
    let (_, seen) = from_lan(&mut net, &big);
    assert_eq!(seen[0].journey, first + 1);
}

#[test]
fn nothing_is_seen_once_nobody_looks() {
    let mut net = watched(settings());
    from_lan(&mut net, &Packet::udp((HOST, 5000), (SERVER, 53), b""));
    net.egress.watch(Watch::Nothing, &Names::default());
    let (_, seen) = from_lan(&mut net, &Packet::udp((HOST, 5000), (SERVER, 53), b""));
    assert!(seen.is_empty());
}
