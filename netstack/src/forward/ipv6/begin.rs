//! The first packet of an IPv6 flow: may it bear its source, where does it go, do the rules let it.

use core::net::Ipv6Addr;

use crate::dns::PORT as DNS;
use crate::forward::begin::check_opening;
use crate::forward::filter::Candidate;
use crate::forward::flow::{Account, Flow, FlowId, FlowState, Pair, Refused};
use crate::forward::handover::Handed;
use crate::forward::ipv6::icmp::Icmp6Error;
use crate::forward::ipv6::parse::{ECHO_REQUEST, Packet6, is_bogon, is_link_local, is_ula};
use crate::forward::key::Realm;
use crate::forward::parse::Carries;
use crate::forward::peers::Behind;
use crate::forward::refuse::Refusal;
use crate::forward::side::Side;
use crate::forward::{Forwarder, Ingress, Turn};
use crate::id::{Interface, WanId};
use crate::ledger::DropReason;

impl Forwarder {
    /// Makes the flow that `packet` opens.
    pub(in crate::forward) fn begin6(
        &mut self,
        turn: &mut Turn<'_>,
        ingress: Ingress,
        packet: &Packet6,
    ) -> Result<FlowId, Refusal<Icmp6Error>> {
        self.check_source6(ingress, packet)?;
        check_opening(ingress, packet.carries)?;
        if self.v6.flows.is_full() {
            return Err(Refusal::silent(DropReason::FlowTableFull));
        }
        let out = self.route6(ingress, packet)?;
        if let Interface::Vpn(vpn) = out
            && !matches!(ingress.interface, Interface::Router | Interface::Vpn(_))
            && self.v6.networks.peers().knows_one_ipv6(vpn)
        {
            // The answer would never come: hosts are told, and use IPv4.
            return Err(Refusal::error(DropReason::NatProtocol, Icmp6Error::SourcePolicy));
        }
        let candidate = Candidate {
            outside: self.v6.networks.peers().is_outside(ingress.interface),
            ..candidate(ingress.interface, out, packet)
        };
        self.ask(turn, &candidate, Icmp6Error::PortUnreachable)?;
        self.install6(turn.second, ingress, packet, out)
    }

    /// Addresses that no packet bears, and sources that are not the sender's (BCP 38, RFC 6092 REC-3, 5, 6, RFC 7084 S-2):
    /// what comes from a LAN or a subscriber has an address of theirs, and what comes from an uplink none that is ours.
    pub(super) fn check_source6(
        &self,
        ingress: Ingress,
        packet: &Packet6,
    ) -> Result<(), Refusal<Icmp6Error>> {
        let (source, destination) = (packet.key.source(), packet.key.destination());
        if is_bogon(source) || source.is_multicast() {
            return Err(Refusal::silent(DropReason::BogonSource));
        }
        if is_bogon(destination) || destination.is_multicast() {
            return Err(Refusal::silent(DropReason::BogonDestination));
        }
        let networks = &self.v6.networks;
        let interface = ingress.interface;
        if interface == Interface::Router {
            return Ok(());
        }
        if source == destination {
            return Err(Refusal::silent(DropReason::Land));
        }
        if networks.is_router_at(interface, source) {
            return Err(Refusal::silent(DropReason::Spoofed));
        }
        if is_link_local(source) {
            // It may speak to the router, and to nobody beyond.
            return match interface {
                _ if networks.is_router_at(interface, destination) => Ok(()),
                Interface::Wan(_) => Err(Refusal::silent(DropReason::BogonSource)),
                _ => Err(Refusal::error(DropReason::BogonSource, Icmp6Error::BeyondScope)),
            };
        }
        let is_inside = || networks.inside(source).is_some();
        let is_right = match interface {
            Interface::Lan(lan) => networks.lan_of(source) == Some(lan),
            Interface::Subscriber(subscriber) => networks.subscriber_of(source) == Some(subscriber),
            // The tunnel has looked whether the peer may bear it.
            Interface::Vpn(_) => {
                !networks.is_router(source)
                    && matches!(networks.inside(source), None | Some(Interface::Vpn(_)))
            }
            _ => !is_inside() && !networks.is_delegated(source),
        };
        match interface {
            _ if is_right => Ok(()),
            // One that had a prefix of old, or never had one, is told (RFC 7084 L-14); one that bears another's is not.
            Interface::Lan(_) | Interface::Subscriber(_) if !is_inside() => {
                Err(Refusal::error(DropReason::Spoofed, Icmp6Error::SourcePolicy))
            }
            _ => Err(Refusal::silent(DropReason::Spoofed)),
        }
    }

    /// What a packet goes out by.
    fn route6(&self, ingress: Ingress, packet: &Packet6) -> Result<Interface, Refusal<Icmp6Error>> {
        let networks = &self.v6.networks;
        let (source, destination) = (packet.key.source(), packet.key.destination());
        if networks.is_router_at(ingress.interface, destination) {
            return match ingress.interface {
                Interface::Router => Err(Refusal::silent(DropReason::BogonDestination)),
                Interface::Wan(wan) => self.admit6(wan, source, destination).map(|()| Interface::Router),
                _ => Ok(Interface::Router),
            };
        }
        if is_link_local(destination) {
            return Err(Refusal::silent(DropReason::BogonDestination));
        }
        let inside = networks.inside(destination);
        if let Interface::Wan(wan) = ingress.interface {
            self.admit6(wan, source, destination)?;
            return inside.ok_or_else(|| match networks.is_delegated(destination) {
                // RFC 7084 WPD-5: never back out by the way that it came.
                true => Refusal::error(DropReason::NoRoute, Icmp6Error::NoRoute),
                false => Refusal::silent(DropReason::NoRoute),
            });
        }
        let is_subscriber = |interface| matches!(interface, Interface::Subscriber(_));
        if let Some(out) = inside {
            // A subscriber's network is another site.
            if (is_subscriber(out) || is_subscriber(ingress.interface))
                && (is_ula(source) || is_ula(destination))
            {
                return Err(Refusal::error(DropReason::UlaLeak, Icmp6Error::AdminProhibited));
            }
            // Not back into the session that it came by (RFC 4443 §3.1).
            if is_subscriber(out) && out == ingress.interface {
                return Err(Refusal::error(DropReason::NoRoute, Icmp6Error::NoRoute));
            }
            return Ok(out);
        }
        match networks.peers().find(destination.into()) {
            Some(Behind::Nobody) => {
                return Err(Refusal::error(DropReason::WireguardNoPeer, Icmp6Error::AddressUnreachable));
            }
            // The router's own goes by the uplink that its source is of.
            Some(Behind::Default(vpn))
                if ingress.interface != Interface::Router
                    && !is_ula(destination)
                    && !networks.is_delegated(destination) =>
            {
                return Ok(Interface::Vpn(vpn));
            }
            _ => {}
        }
        if is_ula(source) || is_ula(destination) {
            return Err(Refusal::error(DropReason::UlaLeak, Icmp6Error::AdminProhibited));
        }
        if networks.is_delegated(destination) {
            return Err(Refusal::error(DropReason::NoRoute, Icmp6Error::NoRoute));
        }
        networks.uplink(source, destination).map(Interface::Wan)
    }

    /// Whether a packet may come in by an uplink at all: between addresses that may cross the border, and to one of those
    /// that are reached over this uplink.
    pub(super) fn admit6(
        &self,
        wan: WanId,
        source: Ipv6Addr,
        destination: Ipv6Addr,
    ) -> Result<(), Refusal<Icmp6Error>> {
        if is_ula(source) || is_ula(destination) {
            return Err(Refusal::silent(DropReason::UlaLeak));
        }
        match is_link_local(destination) || self.v6.networks.may_leave(wan, destination) {
            true => Ok(()),
            false => Err(Refusal::silent(DropReason::NoRoute)),
        }
    }

    fn install6(
        &mut self,
        second: u32,
        ingress: Ingress,
        packet: &Packet6,
        out: Interface,
    ) -> Result<FlowId, Refusal<Icmp6Error>> {
        let (realm, refreshes) = match (ingress.interface, out) {
            (_, Interface::Wan(wan)) => (Realm::outside(wan), Pair(true, false)),
            (Interface::Wan(_), _) => (Realm::INSIDE, Pair(false, true)),
            _ => (Realm::INSIDE, Pair(true, true)),
        };
        let account = match ingress.interface {
            Interface::Lan(_) | Interface::Subscriber(_) | Interface::Vpn(_) => {
                Some(Account { host: packet.key.source(), inbound: false })
            }
            Interface::Wan(_) => Some(Account { host: packet.key.destination(), inbound: true }),
            Interface::Router => None,
        };
        let used = account.and_then(|account| self.v6.hosts.get(&account)).copied().unwrap_or(0);
        let inbound = account.is_some_and(|account| account.inbound);
        // A /64 has hosts without end: outsiders that try them all leave half of the table to the inside.
        if account.is_some() && used >= self.flows_per_host
            || inbound && self.v6.inbound >= self.v6.flows.limit() / 2
        {
            return Err(Refusal::silent(DropReason::HostQuota));
        }
        let Some(epoch) = self.v6.networks.epoch_of(out) else {
            return Err(Refusal::silent(DropReason::NoRoute));
        };
        let flow = Flow {
            keys: Pair(packet.key, packet.key.reversed(realm)),
            sides: Pair(ingress.side(), Side::new(out, epoch)),
            translated: (),
            refreshes,
            confirmed: false,
            state: opening_state(ingress, packet, out),
            refreshed: second,
            inbound: account.map(|account| account.inbound),
            handed: Handed::default(),
            packets: 0,
            kernel_packets: 0,
        };
        let id = self.v6.flows.insert(flow).map_err(|refused| {
            Refusal::silent(match refused {
                Refused::Full => DropReason::FlowTableFull,
                Refused::Collision => DropReason::StaleEpoch,
            })
        })?;
        if inbound {
            self.v6.inbound = self.v6.inbound.saturating_add(1);
        }
        if let Some(account) = account {
            let count = self.v6.hosts.entry(account).or_insert(0);
            *count = count.saturating_add(1);
        }
        Ok(id)
    }
}

/// The state of the flow that `packet` opens towards `out`.
fn opening_state(ingress: Ingress, packet: &Packet6, out: Interface) -> FlowState {
    let own = ingress.interface == Interface::Router || out == Interface::Router;
    match packet.carries {
        Carries::Udp if own && packet.key.destination_port() == DNS => FlowState::DnsQuestion,
        carries => FlowState::opening(carries),
    }
}

fn candidate(from: Interface, to: Interface, packet: &Packet6) -> Candidate {
    let key = packet.key;
    let has_ports = matches!(packet.carries, Carries::Tcp(_) | Carries::Udp | Carries::Connection(_));
    Candidate {
        from: from.zone(),
        to: to.zone(),
        protocol: key.protocol(),
        source: key.source().into(),
        destination: key.destination().into(),
        port: has_ports.then_some(key.destination_port()),
        echo: packet.icmp == ECHO_REQUEST,
        forwarded: false,
        outside: false,
    }
}
