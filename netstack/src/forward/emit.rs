//! The way out: what the wire cannot take is cut, the session's or the neighbour's header goes on.

use alloc::collections::VecDeque;
use core::net::{IpAddr, Ipv4Addr};

use crate::forward::link::{Carrier, ENCAPSULATION, PPP_IPV4, PPP_IPV6};
use crate::forward::mtu::fragment;
use crate::forward::neighbour::Origin;
use crate::forward::segment::split;
use crate::forward::{Forwarder, Turn};
use crate::frame::{Checksum, Egress, Frame};
use crate::id::{Interface, LanId, Mac, PortId};
use crate::ledger::DropReason;
use crate::sight::Fact;
use crate::time::Instant;
use crate::wire::ethernet::{Header, ethertype};

impl Forwarder {
    /// Sends a packet that begins at its IP header, fits, and is translated already, to `destination` by `out`. That of an
    /// IPv6 packet is its next hop.
    #[inline]
    pub(super) fn emit(
        &mut self,
        turn: &mut Turn<'_>,
        out: Interface,
        destination: impl Into<IpAddr>,
        frame: Frame,
        origin: Origin,
    ) {
        // What goes to a VPN is shown with the peer that gets it.
        if !matches!(out, Interface::Vpn(_)) {
            turn.egress.show_packet(out, true, &frame);
        }
        match out {
            Interface::Lan(lan) => {
                let Some(state) = self.lans.get_mut(lan.index()) else {
                    return turn.egress.drop(frame, DropReason::Internal);
                };
                let destination = destination.into();
                let station = state.neighbours.station(turn.now, destination);
                turn.egress.note(|_| Fact::NextHop { address: destination, station });
                match station {
                    Some(mac) => self.transmit_to_station(turn.now, lan, mac, frame, turn.egress),
                    None => state.neighbours.hold(turn.now, destination, frame, origin, turn.egress),
                }
            }
            Interface::Wan(_) | Interface::Subscriber(_) => {
                let Some(link) = self.links.at_mut(out) else {
                    return turn.egress.drop(frame, DropReason::NoRoute);
                };
                if let Carrier::Ethernet(ethernet) = &mut link.carrier {
                    let next_hop = match (destination.into(), link.ipv4) {
                        (IpAddr::V4(destination), Some(ipv4)) => ipv4.next_hop(destination).into(),
                        (IpAddr::V4(_), None) => return turn.egress.drop(frame, DropReason::WanDown),
                        (next_hop, _) => next_hop,
                    };
                    let station = ethernet.neighbours.station(turn.now, next_hop);
                    turn.egress.note(|_| Fact::NextHop { address: next_hop, station });
                    return match station {
                        Some(mac) => self.transmit_to_neighbour(out, mac, frame, turn.egress),
                        None => ethernet.neighbours.hold(turn.now, next_hop, frame, origin, turn.egress),
                    };
                }
                if is_plain(&frame) {
                    return self.encapsulate(out, frame, turn.egress);
                }
                // No device cuts or sums behind a PPPoE header.
                match pieces(frame, 0, turn.egress) {
                    Ok(pieces) => {
                        pieces.into_iter().for_each(|piece| self.encapsulate(out, piece, turn.egress))
                    }
                    Err(frame) => turn.egress.drop(frame, DropReason::GsoMalformed),
                }
            }
            Interface::Vpn(vpn) => self.emit_to_vpn(turn, vpn, destination.into(), frame),
            Interface::Router => turn.egress.drop(frame, DropReason::Internal),
        }
    }

    /// Sends a packet that may be fragmented in fragments of at most `mtu` octets.
    pub(super) fn emit_in_fragments(
        &mut self,
        turn: &mut Turn<'_>,
        out: Interface,
        destination: Ipv4Addr,
        frame: Frame,
        mtu: u16,
        origin: Origin,
    ) {
        turn.egress.note(|_| Fact::Fragmented { mtu });
        let segments = match pieces(frame, 0, turn.egress) {
            Ok(segments) => segments,
            Err(frame) => return turn.egress.drop(frame, DropReason::GsoMalformed),
        };
        let mut fragments = VecDeque::new();
        for segment in segments {
            if let Err(frame) = fragment(segment, mtu, turn.egress, &mut fragments) {
                turn.egress.drop(frame, DropReason::TooBig);
            }
        }
        for frame in fragments {
            self.emit(turn, out, destination, frame, origin);
        }
    }

    /// Puts the session's header before an IP packet and sends it.
    #[inline]
    fn encapsulate(&mut self, out: Interface, mut frame: Frame, egress: &mut Egress) {
        let Some(link) = self.links.at_mut(out) else { return egress.drop(frame, DropReason::NoRoute) };
        let len = frame.len();
        let Carrier::Session(pppoe) = &link.carrier else { return egress.drop(frame, DropReason::Internal) };
        let protocol = if is_v6(&frame) { PPP_IPV6 } else { PPP_IPV4 };
        let Some(header) = pppoe.header(len, protocol) else {
            return egress.drop(frame, DropReason::Internal);
        };
        match frame.push(ENCAPSULATION) {
            Some(room) => room.copy_from_slice(&header),
            None => return egress.drop(frame, DropReason::Internal),
        }
        let port = pppoe.session.port;
        link.count_sent(len);
        egress.transmit(port, frame);
    }

    /// Sends an IP packet to a station, or a group of them, on the segment of a plain uplink.
    pub(super) fn transmit_to_neighbour(
        &mut self,
        out: Interface,
        station: Mac,
        mut frame: Frame,
        egress: &mut Egress,
    ) {
        let Some(link) = self.links.at_mut(out) else { return egress.drop(frame, DropReason::NoRoute) };
        let Carrier::Ethernet(ethernet) = &link.carrier else {
            return egress.drop(frame, DropReason::Internal);
        };
        let (port, len) = (ethernet.port, frame.len());
        if !ethernet.header(station, ethertype_of(&frame)).push(&mut frame) {
            return egress.drop(frame, DropReason::Internal);
        }
        link.count_sent(len);
        self.transmit_on_port(port, frame, egress);
    }

    /// Sends an IP packet to a station, or a group of them, on a LAN.
    pub(super) fn transmit_to_station(
        &mut self,
        now: Instant,
        lan: LanId,
        station: Mac,
        mut frame: Frame,
        egress: &mut Egress,
    ) {
        let source = self.lans.get(lan.index()).map(|lan| lan.mac).unwrap_or_default();
        let header = Header { destination: station, source, ethertype: ethertype_of(&frame) };
        match header.push(&mut frame) {
            true => self.transmit_on_lan(now, lan, frame, egress),
            false => egress.drop(frame, DropReason::Internal),
        }
    }

    /// Sends an Ethernet frame by a port; what the device there cannot cut or sum is cut and summed here. Pieces that are too
    /// large for it, as who sends by a card with a larger MTU may ask for, are dropped.
    pub(super) fn transmit_on_port(&self, port: PortId, frame: Frame, egress: &mut Egress) {
        let Some(device) = self.ports.get(port.index()) else {
            return egress.drop(frame, DropReason::Internal);
        };
        if is_plain(&frame) || device.offload {
            return egress.transmit(port, frame);
        }
        let largest = usize::from(device.mtu).saturating_add(Header::LEN);
        match pieces(frame, Header::LEN, egress) {
            Ok(pieces) => pieces.into_iter().for_each(|piece| match piece.len() > largest {
                true => egress.drop(piece, DropReason::TooBig),
                false => egress.transmit(port, piece),
            }),
            Err(frame) => egress.drop(frame, DropReason::GsoMalformed),
        }
    }
}

/// True for an IPv6 packet.
fn is_v6(packet: &Frame) -> bool {
    packet.bytes().first().is_some_and(|first| first >> 4 == 6)
}

/// The ethertype of an IP packet.
pub(super) fn ethertype_of(packet: &Frame) -> u16 {
    if is_v6(packet) { ethertype::IPV6 } else { ethertype::IPV4 }
}

/// True when nothing is left undone in a frame.
pub(super) fn is_plain(frame: &Frame) -> bool {
    frame.offload.gso.is_none() && !matches!(frame.offload.checksum, Checksum::Partial { .. })
}

/// The frames that a frame stands for, each complete. Gives it back when it cannot be cut.
pub(super) fn pieces(frame: Frame, l3: usize, egress: &mut Egress) -> Result<VecDeque<Frame>, Frame> {
    let mut pieces = VecDeque::new();
    split(frame, l3, egress, &mut pieces)?;
    Ok(pieces)
}
