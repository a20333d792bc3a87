//! From the port to the IP packet: Ethernet, a LAN's bridge, an uplink's segment, PPPoE.

use core::net::Ipv4Addr;

use crate::forward::bridge::BridgePort;
use crate::forward::key::Realm;
use crate::forward::link::{Carrier, ENCAPSULATION, PPP_IPV4, PPP_IPV6};
use crate::forward::message::{Punt, PuntKind, SessionOwner};
use crate::forward::parse::{Carries, Packet};
use crate::forward::segment::complete_checksum;
use crate::forward::{Forwarder, Ingress, Turn};
use crate::frame::Frame;
use crate::id::{Interface, LanId, Mac, PortId, Segment, WanId};
use crate::ledger::DropReason;
use crate::wire::checksum::Sum;
use crate::wire::ethernet::{Header, ethertype};
use crate::wire::ipv4::UDP;
use crate::wire::ipv6;
use crate::wire::octets::u16_at;

/// UDP port of a DHCPv4 server (RFC 2131 §4.1).
pub(super) const DHCP_SERVER: u16 = 67;

/// UDP port of a DHCPv4 client.
pub(super) const DHCP_CLIENT: u16 = 68;

/// From the start of an Ethernet frame to the PPP protocol field.
pub(super) const PPP_AT: usize = ENCAPSULATION - 2;

impl Forwarder {
    /// A frame from a LAN's port: bridged, handed up, or routed.
    pub(super) fn receive_lan(&mut self, turn: &mut Turn<'_>, port: PortId, lan: LanId, frame: Frame) {
        let Some((header, _)) = Header::parse(frame.bytes()) else {
            return turn.egress.drop(frame, DropReason::EthernetTruncated);
        };
        if let Some(reason) = self.bad_source(header.source) {
            return turn.egress.drop(frame, reason);
        }
        let Some(state) = self.lans.get_mut(lan.index()) else {
            return turn.egress.drop(frame, DropReason::Internal);
        };
        if state.only.is_some() {
            // Nothing to bridge to.
            if header.destination.is_group() || header.destination == state.mac {
                return self.receive_local(turn, lan, header, frame);
            }
            return turn.egress.drop(frame, DropReason::OtherStation);
        }
        self.bridge(turn, lan, BridgePort::Port(port), header, frame);
    }

    /// A frame from a LAN for the router, or for everyone.
    pub(super) fn receive_local(
        &mut self,
        turn: &mut Turn<'_>,
        lan: LanId,
        header: Header,
        mut frame: Frame,
    ) {
        match header.ethertype {
            ethertype::IPV4 => {
                if !frame.pull(Header::LEN) {
                    return turn.egress.drop(frame, DropReason::Ipv4Malformed);
                }
                let ingress = Ingress::lan(lan);
                if may_be_dhcp(frame.bytes(), DHCP_SERVER) && self.is_for_dhcp(lan, frame.bytes()) {
                    if !self.lans.get(lan.index()).is_some_and(|lan| lan.serves_dhcp) {
                        return turn.egress.drop(frame, DropReason::NotListening);
                    }
                    receive_dhcp(turn, Segment::Lan(lan), ingress.realm, frame);
                } else if header.destination.is_group() {
                    turn.egress.drop(frame, DropReason::BogonDestination);
                } else {
                    self.ipv4(turn, ingress, frame);
                }
            }
            ethertype::ARP => {
                turn.punts.push_back(Punt { kind: PuntKind::Arp { segment: Segment::Lan(lan) }, frame })
            }
            ethertype::IPV6 => {
                let Some(epoch) = self.epoch_if_up(Interface::Lan(lan)) else {
                    return turn.egress.drop(frame, DropReason::Ipv6Off);
                };
                let ingress = Ingress { epoch, ..Ingress::lan(lan) };
                match frame.pull(Header::LEN) {
                    true => self.ipv6(turn, ingress, header.destination.is_group(), frame),
                    false => turn.egress.drop(frame, DropReason::Ipv6Malformed),
                }
            }
            _ => turn.egress.drop(frame, DropReason::UnknownEthertype),
        }
    }

    /// True when the packet's destination is the DHCP server's: everyone, or the router's address on the LAN.
    fn is_for_dhcp(&self, lan: LanId, packet: &[u8]) -> bool {
        let Some(destination) = packet.get(16..).and_then(<[u8]>::first_chunk::<4>) else { return false };
        let destination = Ipv4Addr::from(*destination);
        destination.is_broadcast()
            || self.networks.lan(lan).is_some_and(|network| {
                network.address == destination || network.broadcast() == Some(destination)
            })
    }

    /// A frame from a port without a LAN: of PPPoE, or from the segment of the plain uplink there.
    pub(super) fn receive_outside(
        &mut self,
        turn: &mut Turn<'_>,
        port: PortId,
        uplink: Option<WanId>,
        frame: Frame,
    ) {
        let Some((header, _)) = Header::parse(frame.bytes()) else {
            return turn.egress.drop(frame, DropReason::EthernetTruncated);
        };
        if let Some(reason) = self.bad_source(header.source) {
            return turn.egress.drop(frame, reason);
        }
        let ours = self.ports.get(port.index()).is_some_and(|port| port.mac == header.destination);
        match (header.ethertype, uplink) {
            (ethertype::PPPOE_SESSION, _) if ours => self.receive_session(turn, port, header.source, frame),
            (ethertype::PPPOE_DISCOVERY, _) if ours || header.destination == Mac::BROADCAST => {
                turn.punts.push_back(Punt { kind: PuntKind::Discovery { port }, frame });
            }
            (ethertype::IPV4, Some(wan)) if ours || header.destination.is_group() => {
                self.receive_segment(turn, wan, header, frame);
            }
            (ethertype::ARP, Some(wan)) if ours || header.destination == Mac::BROADCAST => {
                turn.punts.push_back(Punt { kind: PuntKind::Arp { segment: Segment::Wan(wan) }, frame });
            }
            (ethertype::PPPOE_SESSION | ethertype::PPPOE_DISCOVERY, _)
            | (ethertype::IPV4 | ethertype::ARP, Some(_)) => {
                turn.egress.drop(frame, DropReason::OtherStation);
            }
            (ethertype::IPV6, Some(wan)) if ours || header.destination.is_group() => {
                self.receive_segment6(turn, wan, header, frame);
            }
            (ethertype::IPV6, Some(_)) => turn.egress.drop(frame, DropReason::OtherStation),
            (ethertype::IPV6, None) => turn.egress.drop(frame, DropReason::Ipv6Off),
            (ethertype::VLAN, _) => {
                turn.egress.note_foreign(port, &frame);
                turn.egress.drop(frame, DropReason::UnknownEthertype);
            }
            _ => turn.egress.drop(frame, DropReason::UnknownEthertype),
        }
    }

    /// An IPv4 packet from the segment of a plain uplink, for the router or for everyone. Nobody outside is answered who
    /// speaks to everyone; a DHCP server may.
    fn receive_segment(&mut self, turn: &mut Turn<'_>, wan: WanId, header: Header, mut frame: Frame) {
        if !frame.pull(Header::LEN) {
            return turn.egress.drop(frame, DropReason::Ipv4Malformed);
        }
        let Some(link) = self.links.segment_mut(wan) else {
            return turn.egress.drop(frame, DropReason::Internal);
        };
        if may_be_dhcp(frame.bytes(), DHCP_CLIENT)
            && matches!(&link.carrier, Carrier::Ethernet(ethernet) if ethernet.asks_dhcp)
        {
            return receive_dhcp(turn, Segment::Wan(wan), Realm::outside(wan), frame);
        }
        if header.destination.is_group() {
            return turn.egress.drop(frame, DropReason::BogonDestination);
        }
        let Some(ipv4) = link.ipv4 else {
            return turn.egress.drop(frame, DropReason::WanDown);
        };
        let total = usize::from(u16_at(frame.bytes(), 2).unwrap_or(0));
        link.count_received(total.min(frame.len()), turn.now);
        let ingress = Ingress::link(SessionOwner::Wan(wan), ipv4.epoch);
        self.ipv4(turn, ingress, frame);
    }

    /// As `receive_segment`, for IPv6.
    fn receive_segment6(&mut self, turn: &mut Turn<'_>, wan: WanId, header: Header, mut frame: Frame) {
        let (Some(epoch), Some(link)) = (self.epoch_if_up(Interface::Wan(wan)), self.links.segment_mut(wan))
        else {
            return turn.egress.drop(frame, DropReason::Ipv6Off);
        };
        if !frame.pull(Header::LEN) {
            return turn.egress.drop(frame, DropReason::Ipv6Malformed);
        }
        let total = usize::from(u16_at(frame.bytes(), 4).unwrap_or(0)).saturating_add(ipv6::HEADER);
        link.count_received(total.min(frame.len()), turn.now);
        let ingress = Ingress::link(SessionOwner::Wan(wan), epoch);
        self.ipv6(turn, ingress, header.destination.is_group(), frame);
    }

    /// A session's frame for us.
    fn receive_session(&mut self, turn: &mut Turn<'_>, port: PortId, peer: Mac, mut frame: Frame) {
        let Some(&[version_type, code, s0, s1, l0, l1]) =
            frame.bytes().get(Header::LEN..).and_then(<[u8]>::first_chunk)
        else {
            return turn.egress.drop(frame, DropReason::PppoeMalformed);
        };
        let end = PPP_AT.saturating_add(usize::from(u16::from_be_bytes([l0, l1])));
        if version_type != 0x11 || code != 0 || end > frame.len() {
            return turn.egress.drop(frame, DropReason::PppoeMalformed);
        }
        frame.truncate(end);
        let id = u16::from_be_bytes([s0, s1]);
        let link = self.links.by_peer(port, peer, id).map(|(index, _)| index);
        let Some(link) = link.and_then(|index| self.links.get_mut(index)) else {
            let kind = PuntKind::Stray { port, peer, session: id };
            return turn.punts.push_back(Punt { kind, frame });
        };
        // RFC 1661 §2: two octets, the first even, the second odd. A protocol field that was compressed to one octet
        // was not agreed to.
        let protocol = match frame.bytes().get(PPP_AT..).and_then(<[u8]>::first_chunk) {
            Some(&[high, low]) if high & 1 == 0 && low & 1 == 1 => u16::from_be_bytes([high, low]),
            _ => return turn.egress.drop(frame, DropReason::PppMalformed),
        };
        link.count_received(frame.len().saturating_sub(ENCAPSULATION), turn.now);
        let (owner, ipv4) = (link.owner, link.ipv4);
        if protocol == PPP_IPV6
            && let Some(epoch) = self.epoch_if_up(Ingress::link(owner, 0).interface)
        {
            let ingress = Ingress::link(owner, epoch);
            return match frame.pull(ENCAPSULATION) {
                true => self.ipv6(turn, ingress, false, frame),
                false => turn.egress.drop(frame, DropReason::Ipv6Malformed),
            };
        }
        if protocol != PPP_IPV4 {
            return match frame.pull(PPP_AT) {
                true => turn.punts.push_back(Punt { kind: PuntKind::Ppp { owner }, frame }),
                false => turn.egress.drop(frame, DropReason::PppMalformed),
            };
        }
        let Some(ipv4) = ipv4 else {
            return turn.egress.drop(frame, DropReason::PppPhase);
        };
        let ingress = Ingress::link(owner, ipv4.epoch);
        if !frame.pull(ENCAPSULATION) {
            return turn.egress.drop(frame, DropReason::Ipv4Malformed);
        }
        self.ipv4(turn, ingress, frame);
    }

    /// Why a frame with this source address is not looked at.
    pub(super) fn bad_source(&self, source: Mac) -> Option<DropReason> {
        if !source.is_station() {
            Some(DropReason::BadSourceMac)
        } else if self.ports.iter().any(|port| port.mac == source) {
            Some(DropReason::OwnSourceMac)
        } else {
            None
        }
    }
}

/// A first, cheap look at an IPv4 packet: UDP without IP options to `port`.
fn may_be_dhcp(packet: &[u8], port: u16) -> bool {
    let Some(first) = packet.first_chunk::<24>() else { return false };
    first[9] == UDP && first[0] == 0x45 && u16::from_be_bytes([first[22], first[23]]) == port
}

/// Hands up a DHCP message that came by `segment`; the frame begins at its IPv4 header.
fn receive_dhcp(turn: &mut Turn<'_>, segment: Segment, realm: Realm, mut frame: Frame) {
    if let Err(reason) = check_dhcp(&mut frame, realm) {
        return turn.egress.drop(frame, reason);
    }
    // The Ethernet header was pulled, not overwritten: it comes back as it was.
    match frame.push(Header::LEN) {
        Some(_) => turn.punts.push_back(Punt { kind: PuntKind::Dhcp4 { segment }, frame }),
        None => turn.egress.drop(frame, DropReason::Internal),
    }
}

/// Checks the IPv4 and UDP headers of a DHCP message, and the UDP checksum.
fn check_dhcp(frame: &mut Frame, realm: Realm) -> Result<(), DropReason> {
    let packet = Packet::parse(frame.bytes(), realm)?;
    frame.truncate(packet.total);
    if packet.is_fragment() || packet.carries != Carries::Udp {
        return Err(DropReason::DhcpMalformed);
    }
    if !complete_checksum(frame) {
        return Err(DropReason::TransportMalformed);
    }
    let datagram = frame.bytes().get(packet.header..).unwrap_or_default();
    let len = u16_at(datagram, 4).unwrap_or(0);
    let datagram = datagram.get(..usize::from(len)).unwrap_or_default();
    let pseudo = Sum::pseudo_v4(packet.key.source(), packet.key.destination(), UDP, len);
    match u16_at(datagram, 6) {
        Some(0) => Ok(()),
        Some(_) if pseudo.plus(Sum::of(datagram)).is_right() => Ok(()),
        _ => Err(DropReason::TransportMalformed),
    }
}
