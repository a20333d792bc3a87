//! What comes in: what is for Control's own machines is handed up before any flow is looked for.

use crate::forward::ipv6::parse::{Packet6, is_link_local};
use crate::forward::message::{Punt, PuntKind};
use crate::forward::parse::Carries;
use crate::forward::segment::complete_checksum;
use crate::forward::{Forwarder, Ingress, Turn};
use crate::frame::{Checksum, Frame};
use crate::id::Interface;
use crate::ledger::DropReason;
use crate::wire::ipv6::{ALL_DHCP_SERVERS, Ipv6, TCP, UDP, solicited_node};

/// UDP port of DHCPv6 clients (RFC 8415 §7.2).
pub(in crate::forward) const DHCP_CLIENT: u16 = 546;
/// UDP port of DHCPv6 servers and relay agents.
pub(in crate::forward) const DHCP_SERVER: u16 = 547;

const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
const NEIGHBOR_SOLICITATION: u8 = 135;
const REDIRECT: u8 = 137;

impl Forwarder {
    /// The epoch of an interface's IPv6, when that is up.
    pub(in crate::forward) fn epoch_if_up(&self, interface: Interface) -> Option<u32> {
        let networks = &self.v6.networks;
        let is_up = match interface {
            Interface::Lan(lan) => networks.lan(lan).is_some(),
            Interface::Wan(wan) => networks.wan(wan).is_some(),
            Interface::Subscriber(subscriber) => networks.subscriber(subscriber).is_some(),
            Interface::Vpn(_) | Interface::Router => true,
        };
        networks.epoch_of(interface).filter(|_| is_up)
    }

    /// A packet that begins at its IPv6 header, by an interface on which IPv6 is up. `to_group` says that its frame was sent
    /// to many stations.
    pub(in crate::forward) fn ipv6(
        &mut self,
        turn: &mut Turn<'_>,
        ingress: Ingress,
        to_group: bool,
        mut frame: Frame,
    ) {
        let packet = match Packet6::parse(frame.bytes(), ingress.realm) {
            Ok(packet) => packet,
            Err(reason) => return turn.egress.drop(frame, reason),
        };
        frame.truncate(packet.total);
        if !is_usual(frame.offload.checksum, &packet) && !complete_checksum(&mut frame) {
            return turn.egress.drop(frame, DropReason::GsoMalformed);
        }
        if ingress.is_shown_on_arrival() {
            turn.egress.show_packet(ingress.interface, false, &frame);
        }
        let destination = packet.key.destination();
        let is_own = self.v6.networks.is_router_at(ingress.interface, destination);
        if ingress.interface != Interface::Router {
            if let Some(kind) = self.for_machine(ingress.interface, &packet, is_own) {
                return self.hand_to_machine(turn, kind, &packet, frame);
            }
            let is_discovery = matches!(packet.icmp, ROUTER_SOLICITATION..=REDIRECT);
            if to_group
                || destination.is_multicast()
                || is_discovery
                || (is_link_local(destination) && !is_own)
            {
                return turn.egress.drop(frame, DropReason::BogonDestination);
            }
        }
        if packet.is_fragment() {
            return self.fragment6(turn, ingress, packet, frame);
        }
        if packet.carries == Carries::Udp
            && let Some(vpn) = self.tunnel_at(ingress, destination.into(), packet.key.destination_port())
        {
            let source = packet.key.source().into();
            return self.receive_message(turn, vpn, source, packet.transport, frame);
        }
        match packet.carries {
            Carries::IcmpError => self.icmp6_error(turn, ingress, packet, frame),
            _ => {
                let _counted = self.by_flow6(turn, ingress, &packet, frame);
            }
        }
    }

    /// Which of Control's machines a packet is for.
    fn for_machine(&self, interface: Interface, packet: &Packet6, is_own: bool) -> Option<PuntKind> {
        let destination = packet.key.destination();
        if !is_own && !destination.is_multicast() {
            return None;
        }
        match packet.icmp {
            ROUTER_SOLICITATION..=REDIRECT | 130..=132 | 143 => return Some(PuntKind::Ndp { interface }),
            _ => {}
        }
        // RFC 6092 REC-9: nothing serves DHCPv6 to the outside.
        let port = match interface {
            // Our client speaks from its link-local address alone.
            Interface::Wan(_) if is_own && is_link_local(destination) => DHCP_CLIENT,
            Interface::Lan(_) | Interface::Subscriber(_) if is_own || destination == ALL_DHCP_SERVERS => {
                DHCP_SERVER
            }
            _ => return None,
        };
        let is_dhcp = packet.carries == Carries::Udp
            && packet.key.protocol() == UDP
            && packet.key.destination_port() == port;
        is_dhcp.then_some(PuntKind::Dhcp6 { interface })
    }

    fn hand_to_machine(&mut self, turn: &mut Turn<'_>, kind: PuntKind, packet: &Packet6, mut frame: Frame) {
        let (is_right, reason) = match kind {
            _ if !complete_checksum(&mut frame) => (false, DropReason::GsoMalformed),
            PuntKind::Dhcp6 { .. } => {
                let view = Ipv6::parse(frame.bytes());
                let source = packet.key.source();
                let is_host = !source.is_unspecified() && !source.is_multicast();
                (is_host && view.and_then(Ipv6::udp).is_some(), DropReason::DhcpMalformed)
            }
            _ => (is_right_discovery(packet, frame.bytes()), DropReason::NdpMalformed),
        };
        frame.offload = Default::default();
        match is_right {
            true => turn.punts.push_back(Punt { kind, frame }),
            false => turn.egress.drop(frame, reason),
        }
    }
}

/// What every message of Neighbor Discovery and of the listeners' protocol must be (RFC 4861 §6.1, §7.1, §8.1; RFC 3810 §5;
/// RFC 6980 §5).
fn is_right_discovery(packet: &Packet6, bytes: &[u8]) -> bool {
    let Some(view) = Ipv6::parse(bytes).filter(|_| packet.fragment.is_none()) else { return false };
    let message = view.icmp().or_else(|| view.icmp_after_hop_by_hop());
    let Some(&[kind, code, ..]) = message.and_then(<[u8]>::first_chunk::<8>) else { return false };
    let (source, destination) = (packet.key.source(), packet.key.destination());
    if source.is_multicast() {
        return false;
    }
    match kind {
        ROUTER_SOLICITATION..=REDIRECT => {
            let is_solicited_node = solicited_node(destination) == destination;
            let source_is_right = match kind {
                ROUTER_ADVERTISEMENT | REDIRECT => is_link_local(source),
                NEIGHBOR_SOLICITATION => !source.is_unspecified() || is_solicited_node,
                ROUTER_SOLICITATION => true,
                _ => !source.is_unspecified(),
            };
            packet.hop_limit == 255 && code == 0 && source_is_right
        }
        _ => packet.hop_limit == 1 && (is_link_local(source) || source.is_unspecified()),
    }
}

/// True when a partial checksum is that of the packet's own TCP or UDP header, which a device can complete.
fn is_usual(checksum: Checksum, packet: &Packet6) -> bool {
    match checksum {
        Checksum::Partial { start, offset } => {
            let expected = match packet.key.protocol() {
                TCP => 16,
                UDP => 6,
                _ => return false,
            };
            usize::from(start) == packet.transport && offset == expected && !packet.is_fragment()
        }
        Checksum::Complete | Checksum::Verified => true,
    }
}
