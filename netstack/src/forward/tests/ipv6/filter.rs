//! The rules: the built-in ones of RFC 6092, and the user's.

use alloc::vec;

use super::net::*;
use super::packet::Packet6;
use crate::forward::tests::net::{HOME, Net, settings};
use crate::forward::tests::packet::SYN;
use crate::forward::{LanIpv6, Update};
use crate::id::Zone;
use crate::ledger::DropReason;
use crate::settings::{Action, Network, Rule, RuleProtocol};

pub fn accept_all() -> Rule {
    let protocol = RuleProtocol::Any;
    Rule {
        from: None,
        to: None,
        protocol,
        ports: vec![],
        source: None,
        destination: None,
        action: Action::Accept,
        line: None,
    }
}

fn with_rules(rules: alloc::vec::Vec<Rule>) -> Net {
    let mut settings = settings();
    settings.rules = rules;
    Net::dual_with(settings)
}

/// RFC 6092 REC-21, REC-22, REC-24, REC-25: IPsec is let in, told by addresses alone.
#[test]
fn rfc6092_rec_21_rec_22_rec_24_and_rec_25_ipsec_comes_in_unasked() {
    let mut net = Net::dual();
    for protocol in [50, 51] {
        let packet = |body: &[u8]| Packet6::new(server(), host(), protocol, body.to_vec(), None);
        net.wan6(packet(&[0, 0, 0, 1, 0, 0, 0, 1])).only(at(host()));
        net.wan6(packet(&[9, 9, 9, 9, 0, 0, 0, 1])).only(at(host()));
        let back = Packet6::new(host(), server(), protocol, vec![7; 16], None);
        net.lan6(back).only(ISP6);
    }
    assert_eq!(net.forwarder.flow_count(), 2, "another security parameters index is the same flow");
    net.wan6(Packet6::udp((server(), 500), (host(), 500), b"")).only(at(host()));
    net.wan6(Packet6::udp((server(), 500), (host(), 501), b"")).nothing();
    net.wan6(Packet6::new(server(), router(), 50, vec![0; 8], None)).nothing();
}

/// RFC 6092 REC-49: one rule makes the router transparent.
#[test]
fn rfc6092_rec_49_a_rule_that_accepts_all_is_transparent_mode() {
    let mut net = with_rules(vec![accept_all()]);
    net.wan6(Packet6::udp((server(), 53), (host(), 5000), b"")).only(at(host()));
    net.wan6(Packet6::tcp((server(), 53), (host(), 5000), SYN, b"")).only(at(host()));
    net.wan6(Packet6::ping(server(), visitor(), 1)).only(at_guest(visitor()));
}

#[test]
fn a_rule_with_a_suffix_follows_its_host_through_renumbering() {
    let suffix = Some(Network::V6Suffix(cidr("::10/64")));
    let rule = Rule { to: Some(Zone::Lan), ports: vec![443..=443], destination: suffix, ..accept_all() };
    let mut net = with_rules(vec![Rule { protocol: RuleProtocol::Tcp, ..rule }]);
    let open = |to| Packet6::tcp((server(), 999), (to, 443), SYN, b"");
    net.wan6(open(host())).only(at(host()));
    net.wan6(open(host_2())).nothing();
    net.wan6(Packet6::udp((server(), 999), (host(), 443), b"")).nothing();
    net.set_wan6(crate::forward::tests::net::ISP, Some(wan_ipv6("2001:db8:3::/48")));
    let prefixes = vec![cidr("2001:db8:3:1::/64")];
    let ipv6 = LanIpv6 { prefixes, addresses: vec![router_local()], stale: vec![] };
    net.apply(Update::LanIpv6 { lan: HOME, ipv6 });
    let renumbered = ip6("2001:db8:3:1::10");
    net.wan6(open(renumbered)).only(at(renumbered));
    net.wan6(open(host())).nothing();
}

#[test]
fn rules_tell_networks_and_icmpv6() {
    let to_server = Some(Network::V6(cidr("2001:db8:8000::/64")));
    let reject = Rule { destination: to_server, action: Action::Reject, ..accept_all() };
    let ping = Rule { protocol: RuleProtocol::Icmp, from: Some(Zone::Wan), ..accept_all() };
    let mut net = with_rules(vec![ping, reject]);
    net.lan6(Packet6::udp((host(), 1), (server(), 2), b"")).error(at(host()), 1, 4);
    let reset = net.lan6(Packet6::tcp((host(), 1), (server(), 2), SYN, b"")).only(at(host()));
    assert_eq!((reset.source, reset.destination), ((server(), 2), (host(), 1)));
    assert_eq!(reset.body()[13], 0x14, "a reset that acknowledges");
    assert_eq!(net.dropped(DropReason::FilterReject), 2);
    net.lan6(Packet6::udp((host(), 1), (ip6("2001:db8:8001::1"), 2), b"")).only(ISP6);
    net.wan6(Packet6::ping(server(), host(), 1)).only(at(host()));
    net.wan6(Packet6::ping(server(), router(), 1)).0.len();
}
