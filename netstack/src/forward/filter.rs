//! The filter: evaluated once for each flow, on its first packet. The user's rules come first, the first match decides;
//! the built-in ones come after.
//!
//! | from | to | built in |
//! |---|---|---|
//! | lan, router | anywhere | accept |
//! | concentrator | wan, concentrator | accept: subscribers are hosts of the Internet, to each other too |
//! | concentrator | router | accept echo requests, drop the rest |
//! | vpn | router, wan, vpn | accept: peers are known; drop when the VPN masquerades |
//! | wan | router | drop |
//! | wan | lan, IPv6 | accept AH, ESP, HIP and UDP to port 500 (RFC 6092 REC-21, 22, 24, 26), drop the rest |
//! | anywhere else | lan, concentrator | drop |
//!
//! A port forward is accepted unless one of the user's rules says otherwise.

use core::net::IpAddr;

use crate::id::Zone;
use crate::settings::{Action, Network, Rule, RuleId, RuleProtocol};
use crate::wire::ipv4::{ICMP, TCP, UDP};
use crate::wire::ipv6::{AH, ESP, ICMPV6};

/// UDP port of the Internet Key Exchange (RFC 7296 §2).
const IKE: u16 = 500;
/// Next header of the Host Identity Protocol (RFC 7401 §5.1).
const HIP: u8 = 139;

/// A flow that is about to begin, as the rules see it: addresses and ports are those inside, where there is translation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate {
    /// Zone that it comes from.
    pub from: Zone,
    /// Zone that it goes to.
    pub to: Zone,
    /// IP protocol.
    pub protocol: u8,
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Destination port; for protocols without ports `None`.
    pub port: Option<u16>,
    /// It is an ICMP echo request.
    pub echo: bool,
    /// It comes by a port forward.
    pub forwarded: bool,
    /// Those where it comes from know the router alone, and ask nothing of it.
    pub outside: bool,
}

/// The verdict, and whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Let it pass.
    Accept,
    /// A rule of the user's discards it.
    Drop,
    /// A rule of the user's discards it, and the sender is to be told.
    Reject,
    /// Nothing lets it in.
    Default,
}

/// The rule of the user's that decides about a flow, and what it says.
pub(crate) fn deciding(rules: &[Rule], flow: &Candidate) -> Option<(RuleId, Action)> {
    let (number, rule) = (1_usize..).zip(rules).find(|(_, rule)| matches(rule, flow))?;
    Some((RuleId { number, line: rule.line }, rule.action))
}

/// What the rules say of a flow.
pub(crate) fn judge(rules: &[Rule], flow: &Candidate) -> Verdict {
    match deciding(rules, flow).map(|(_, action)| action) {
        Some(Action::Accept) => Verdict::Accept,
        Some(Action::Drop) => Verdict::Drop,
        Some(Action::Reject) => Verdict::Reject,
        None if built_in(flow) => Verdict::Accept,
        None => Verdict::Default,
    }
}

fn built_in(flow: &Candidate) -> bool {
    match (flow.from, flow.to) {
        _ if flow.forwarded => true,
        (Zone::Lan | Zone::Router, _) => true,
        (Zone::Concentrator, Zone::Wan | Zone::Concentrator) => true,
        (Zone::Concentrator, Zone::Router) => flow.echo,
        (Zone::Wan, Zone::Lan) => flow.destination.is_ipv6() && is_for_endpoints(flow),
        (Zone::Vpn, Zone::Router | Zone::Wan | Zone::Vpn) => !flow.outside,
        (Zone::Vpn | Zone::Concentrator, _) | (Zone::Wan, _) => false,
    }
}

/// IPsec and HIP, which look after themselves.
fn is_for_endpoints(flow: &Candidate) -> bool {
    match flow.protocol {
        AH | ESP | HIP => true,
        UDP => flow.port == Some(IKE),
        _ => false,
    }
}

fn matches(rule: &Rule, flow: &Candidate) -> bool {
    let protocol = match rule.protocol {
        RuleProtocol::Any => true,
        RuleProtocol::Tcp => flow.protocol == TCP,
        RuleProtocol::Udp => flow.protocol == UDP,
        RuleProtocol::Icmp if flow.destination.is_ipv6() => flow.protocol == ICMPV6,
        RuleProtocol::Icmp => flow.protocol == ICMP,
        RuleProtocol::Number(number) => flow.protocol == number,
    };
    protocol
        && rule.from.is_none_or(|zone| zone == flow.from)
        && rule.to.is_none_or(|zone| zone == flow.to)
        && rule.source.is_none_or(|network| holds(network, flow.source, flow.from))
        && rule.destination.is_none_or(|network| holds(network, flow.destination, flow.to))
        && (rule.ports.is_empty()
            || flow.port.is_some_and(|port| rule.ports.iter().any(|range| range.contains(&port))))
}

/// True for an address of `network`, at the end of the flow that is in `zone`. What is compared without its prefix must be
/// in a prefix that a LAN has now: only such addresses are ever in that zone.
fn holds(network: Network, address: IpAddr, zone: Zone) -> bool {
    match (network, address) {
        (Network::V4(network), IpAddr::V4(address)) => network.contains(address),
        (Network::V6(network), IpAddr::V6(address)) => network.contains(address),
        (Network::V6Suffix(suffix), IpAddr::V6(address)) => {
            zone == Zone::Lan && suffix.with_suffix(address) == suffix.address
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;
    use core::net::Ipv4Addr;

    fn flow(from: Zone, to: Zone) -> Candidate {
        Candidate {
            from,
            to,
            protocol: TCP,
            source: Ipv4Addr::new(192, 0, 2, 1).into(),
            destination: Ipv4Addr::new(198, 51, 100, 1).into(),
            port: Some(443),
            echo: false,
            forwarded: false,
            outside: false,
        }
    }

    fn any(action: Action) -> Rule {
        Rule {
            from: None,
            to: None,
            protocol: RuleProtocol::Any,
            ports: Vec::new(),
            source: None,
            destination: None,
            action,
            line: None,
        }
    }

    #[test]
    fn the_built_in_rules_are_those_of_the_table() {
        use Zone::*;
        let accepted = [
            (Lan, Lan),
            (Lan, Wan),
            (Lan, Concentrator),
            (Lan, Router),
            (Lan, Vpn),
            (Router, Vpn),
            (Vpn, Router),
            (Vpn, Wan),
            (Vpn, Vpn),
            (Router, Lan),
            (Router, Wan),
            (Router, Concentrator),
            (Router, Router),
            (Concentrator, Wan),
            (Concentrator, Concentrator),
        ];
        for from in [Lan, Wan, Concentrator, Vpn, Router] {
            for to in [Lan, Wan, Concentrator, Vpn, Router] {
                let verdict = judge(&[], &flow(from, to));
                assert_eq!(verdict == Verdict::Accept, accepted.contains(&(from, to)), "{from:?} to {to:?}");
            }
        }
        assert_eq!(judge(&[], &Candidate { echo: true, ..flow(Concentrator, Router) }), Verdict::Accept);
        assert_eq!(judge(&[], &Candidate { echo: true, ..flow(Wan, Router) }), Verdict::Default);
        assert_eq!(judge(&[], &Candidate { forwarded: true, ..flow(Wan, Lan) }), Verdict::Accept);
    }

    #[test]
    fn the_first_match_decides() {
        let here = Rule { ports: vec![400..=443], to: Some(Zone::Lan), ..any(Action::Accept) };
        let rules = [here, any(Action::Reject)];
        assert_eq!(judge(&rules, &flow(Zone::Wan, Zone::Lan)), Verdict::Accept);
        assert_eq!(judge(&rules, &flow(Zone::Wan, Zone::Router)), Verdict::Reject);
        let other = Candidate { port: Some(444), forwarded: true, ..flow(Zone::Wan, Zone::Lan) };
        assert_eq!(judge(&rules, &other), Verdict::Reject, "a rule comes before a port forward");
        let icmp = Candidate { protocol: ICMP, port: None, ..flow(Zone::Wan, Zone::Lan) };
        assert_eq!(judge(&rules, &icmp), Verdict::Reject, "a rule with ports is for protocols with ports");
    }

    #[test]
    fn every_condition_must_hold() {
        let network = |a, prefix| {
            Some(Network::V4(crate::id::Ipv4Cidr { address: Ipv4Addr::from([a, 0, 2, 0]), prefix }))
        };
        for rule in [
            Rule { from: Some(Zone::Lan), ..any(Action::Drop) },
            Rule { to: Some(Zone::Router), ..any(Action::Drop) },
            Rule { protocol: RuleProtocol::Udp, ..any(Action::Drop) },
            Rule { protocol: RuleProtocol::Icmp, ..any(Action::Drop) },
            Rule { protocol: RuleProtocol::Number(50), ..any(Action::Drop) },
            Rule { source: network(193, 24), ..any(Action::Drop) },
            Rule { destination: network(192, 8), ..any(Action::Drop) },
        ] {
            assert_eq!(
                judge(core::slice::from_ref(&rule), &flow(Zone::Wan, Zone::Lan)),
                Verdict::Default,
                "{rule:?}"
            );
        }
        let rule = Rule {
            from: Some(Zone::Wan),
            to: Some(Zone::Lan),
            protocol: RuleProtocol::Number(6),
            source: network(192, 24),
            destination: network(198, 6),
            ..any(Action::Drop)
        };
        assert_eq!(judge(&[rule], &flow(Zone::Wan, Zone::Lan)), Verdict::Drop);
    }
}
