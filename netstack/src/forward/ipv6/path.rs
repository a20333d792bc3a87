//! An IPv6 packet's way: flow, hops, size, state, out.

use core::net::IpAddr;

use crate::forward::flow::{Direction, FlowId};
use crate::forward::follow::note_flow;
use crate::forward::ipv6::icmp::Icmp6Error;
use crate::forward::ipv6::parse::{Packet6, is_link_local, take_out};
use crate::forward::mtu::{clamp_segment, mss6_of};
use crate::forward::refuse::Refusal;
use crate::forward::segment::{complete_checksum, packet_len};
use crate::forward::{Forwarder, Ingress, Turn};
use crate::frame::Frame;
use crate::id::Interface;
use crate::ledger::DropReason;
use crate::sight::Fact;
use crate::wire::octets::{set_u8, u8_at};

impl Forwarder {
    /// A packet whose key is whole: by its flow, or by a new one.
    ///
    /// # Errors
    /// Says why the packet was dropped; it has been counted.
    pub(super) fn by_flow6(
        &mut self,
        turn: &mut Turn<'_>,
        ingress: Ingress,
        packet: &Packet6,
        frame: Frame,
    ) -> Result<(), DropReason> {
        match self.flow6(turn, ingress, packet) {
            Ok((found, is_new)) => {
                if turn.egress.is_watched()
                    && let Some(flow) = self.v6.flows.get(found.0)
                {
                    note_flow(turn, flow, found.1, is_new);
                }
                self.forward6(turn, ingress, packet, found, frame)
            }
            Err(refusal) => self.refuse6(turn, ingress, packet, frame, refusal),
        }
    }

    /// The flow of a packet, and whether it is a new one. One that is current no longer, because the interface is another or
    /// an address lost, gives way.
    fn flow6(
        &mut self,
        turn: &mut Turn<'_>,
        ingress: Ingress,
        packet: &Packet6,
    ) -> Result<((FlowId, Direction), bool), Refusal<Icmp6Error>> {
        if let Some((id, direction)) = self.v6.flows.find(packet.key) {
            let interface = self.v6.flows.get(id).map(|flow| flow.interface(direction));
            if interface == Some(ingress.interface) && self.v6.renew(id) {
                return Ok(((id, direction), false));
            }
            self.check_source6(ingress, packet)?;
            self.v6.end(id, &mut self.offloads);
        }
        Ok(((self.begin6(turn, ingress, packet)?, Direction::Original), true))
    }

    /// A packet of a flow that is current.
    fn forward6(
        &mut self,
        turn: &mut Turn<'_>,
        ingress: Ingress,
        packet: &Packet6,
        (id, direction): (FlowId, Direction),
        mut frame: Frame,
    ) -> Result<(), DropReason> {
        let Some(out) = self.v6.flows.get(id).map(|flow| flow.interface(direction.opposite())) else {
            return self.refuse6(turn, ingress, packet, frame, Refusal::silent(DropReason::Internal));
        };
        let size = match frame.offload.gso {
            None => Some(packet.total),
            Some(_) => packet_len(&frame, 0),
        };
        let Some(size) = size else {
            return self.refuse6(turn, ingress, packet, frame, Refusal::silent(DropReason::GsoMalformed));
        };
        let mtu = match self.passage6(ingress, packet, out, size) {
            Ok(mtu) => mtu,
            Err(refusal) => return self.refuse6(turn, ingress, packet, frame, refusal),
        };
        self.v6.flows.advance(id, direction, packet.carries, turn.second);
        if let Some(flow) = self.v6.flows.get_mut(id).filter(|flow| !flow.is_settled()) {
            self.offloads.call_back(id, flow);
        }
        let checksum = frame.offload.checksum;
        if packet.is_syn()
            && let Some(segment) = frame.bytes_mut().get_mut(packet.transport..)
        {
            let mtu = mtu.min(self.mtu6(ingress.interface, packet.key.source().into()).unwrap_or(u16::MAX));
            if clamp_segment(segment, mss6_of(mtu), checksum) {
                turn.egress.note(|_| Fact::MssClamped { to: mss6_of(mtu) });
            }
        }
        self.depart6(turn, ingress, packet, out, frame);
        Ok(())
    }

    /// Sends a packet that may pass out by `out`, a hop shorter, or hands it up.
    pub(super) fn depart6(
        &mut self,
        turn: &mut Turn<'_>,
        ingress: Ingress,
        packet: &Packet6,
        out: Interface,
        mut frame: Frame,
    ) {
        if out == Interface::Router {
            let whole = packet.fragment.filter(|_| !packet.is_fragment());
            // The router's own endpoint looks at the checksum, and takes a large segment as it is.
            if !complete_checksum(&mut frame) {
                return turn.egress.drop(frame, DropReason::GsoMalformed);
            }
            frame.offload = Default::default();
            if whole.is_some_and(|fragment| !take_out(&mut frame, fragment)) {
                return turn.egress.drop(frame, DropReason::FragmentMalformed);
            }
            return self.hand_up(turn, ingress, packet.is_fragment(), frame);
        }
        if ingress.interface != Interface::Router
            && let Some(hops) = u8_at(frame.bytes(), 7)
        {
            set_u8(frame.bytes_mut(), 7, hops.saturating_sub(1));
        }
        let Some(next_hop) = self.v6.networks.next_hop(out, packet.key.destination()) else {
            return turn.egress.drop(frame, DropReason::NoRoute);
        };
        self.emit(turn, out, next_hop, frame, ingress.origin());
    }

    /// Whether a packet may go out by `out`: it has a hop left, the way is there, and the packet fits. Returns the way's MTU.
    pub(super) fn passage6(
        &self,
        ingress: Ingress,
        packet: &Packet6,
        out: Interface,
        size: usize,
    ) -> Result<u16, Refusal<Icmp6Error>> {
        if out == Interface::Router {
            return Ok(u16::MAX);
        }
        if packet.hop_limit <= 1 && ingress.interface != Interface::Router {
            return Err(Refusal::error(DropReason::TtlExceeded, Icmp6Error::HopLimit));
        }
        let (source, destination) = (packet.key.source(), packet.key.destination());
        let Some(mtu) = self.mtu6(out, destination.into()) else {
            let reason = match out {
                Interface::Wan(_) => DropReason::WanDown,
                _ => DropReason::NoRoute,
            };
            return Err(Refusal::error(reason, Icmp6Error::NoRoute));
        };
        if let Interface::Wan(wan) = out
            && !is_link_local(source)
            && !self.v6.networks.carries(wan, source)
        {
            // The flow waits for its prefix to be confirmed (RFC 7084 G-3), or an error bears a source that is not its own.
            return Err(Refusal::error(DropReason::WanDown, Icmp6Error::NoRoute));
        }
        if self.v6.networks.next_hop(out, destination).is_none() {
            return Err(Refusal::error(DropReason::NoRoute, Icmp6Error::NoRoute));
        }
        if size > usize::from(mtu) {
            return Err(Refusal::error(DropReason::TooBig, Icmp6Error::PacketTooBig { mtu }));
        }
        Ok(mtu)
    }

    /// Largest IPv6 packet that an interface carries to and from `address`; `None` when it carries none now.
    pub(in crate::forward) fn mtu6(&self, interface: Interface, address: IpAddr) -> Option<u16> {
        match interface {
            Interface::Lan(lan) => {
                self.v6.networks.lan(lan)?;
                self.lans.get(lan.index()).map(|lan| lan.mtu)
            }
            Interface::Vpn(vpn) => self.tunnels.mtu(vpn, address),
            _ => self.v6.networks.mtu(interface),
        }
    }
}
