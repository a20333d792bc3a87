//! An IPv4 packet's way: flow, hops, size, state, translation, out.

use core::net::{IpAddr, Ipv4Addr};

use crate::forward::flow::{Direction, Flow, FlowId, MappingId, Pair};
use crate::forward::follow::note_flow;
use crate::forward::icmp::IcmpError;
use crate::forward::mtu::{clamp_mss, mss_of};
use crate::forward::nat::Life;
use crate::forward::parse::{Carries, Packet};
use crate::forward::refuse::Refusal;
use crate::forward::rewrite::{is_usual, rewrite};
use crate::forward::segment::{complete_checksum, packet_len};
use crate::forward::{Forwarder, Ingress, Turn};
use crate::frame::Frame;
use crate::id::Interface;
use crate::ledger::DropReason;
use crate::sight::Fact;

impl Forwarder {
    /// A packet that begins at its IPv4 header.
    pub(super) fn ipv4(&mut self, turn: &mut Turn<'_>, ingress: Ingress, mut frame: Frame) {
        let packet = match Packet::parse(frame.bytes(), ingress.realm) {
            Ok(packet) => packet,
            Err(reason) => return turn.egress.drop(frame, reason),
        };
        frame.truncate(packet.total);
        if ingress.is_shown_on_arrival() {
            turn.egress.show_packet(ingress.interface, false, &frame);
        }
        if !is_usual(frame.offload.checksum, &packet) && !complete_checksum(&mut frame) {
            return turn.egress.drop(frame, DropReason::GsoMalformed);
        }
        if packet.is_fragment() {
            return self.fragment(turn, ingress, packet, frame);
        }
        if packet.carries == Carries::Udp
            && let Some(vpn) =
                self.tunnel_at(ingress, packet.key.destination().into(), packet.key.destination_port())
        {
            let source = packet.key.source().into();
            return self.receive_message(turn, vpn, source, packet.header, frame);
        }
        match packet.carries {
            Carries::IcmpError => self.icmp_error(turn, ingress, packet, frame),
            _ => {
                let _counted = self.by_flow(turn, ingress, &packet, frame);
            }
        }
    }

    /// A packet whose key is whole: by its flow, or by a new one.
    ///
    /// # Errors
    /// Says why the packet was dropped; it has been counted.
    pub(super) fn by_flow(
        &mut self,
        turn: &mut Turn<'_>,
        ingress: Ingress,
        packet: &Packet,
        frame: Frame,
    ) -> Result<(), DropReason> {
        let found = self.flows.find(packet.key);
        let hit = found.filter(|&(id, direction)| {
            self.flows
                .get(id)
                .is_some_and(|flow| flow.sides.of(direction) == ingress.side() && self.is_current(flow))
        });
        let (id, direction) = match hit {
            Some(hit) => hit,
            None => match self.renew(turn, ingress, packet, found) {
                Ok(id) => (id, Direction::Original),
                Err(refusal) => return self.refuse(turn, ingress, packet, frame, refusal),
            },
        };
        if turn.egress.is_watched()
            && let Some(flow) = self.flows.get(id)
        {
            note_flow(turn, flow, direction, hit.is_none());
        }
        self.forward(turn, ingress, packet, (id, direction), frame)
    }

    /// Makes a flow for a packet that has none, or in place of one that is current no longer: the address that it was
    /// translated to, or the session that it ran on, is lost.
    #[cold]
    fn renew(
        &mut self,
        turn: &mut Turn<'_>,
        ingress: Ingress,
        packet: &Packet,
        stale: Option<(FlowId, Direction)>,
    ) -> Result<FlowId, Refusal> {
        if let Some((id, direction)) = stale {
            if let (Direction::Reply, Interface::Wan(_)) = (direction, ingress.interface) {
                return Err(Refusal::silent(DropReason::StaleEpoch));
            }
            self.check_source(ingress, packet)?;
            self.end(id);
        }
        self.begin(turn, ingress, packet)
    }

    /// A packet of a flow that is current.
    #[inline]
    fn forward(
        &mut self,
        turn: &mut Turn<'_>,
        ingress: Ingress,
        packet: &Packet,
        (id, direction): (FlowId, Direction),
        mut frame: Frame,
    ) -> Result<(), DropReason> {
        let Some(flow) = self.flows.get(id) else {
            return self.refuse(turn, ingress, packet, frame, Refusal::silent(DropReason::Internal));
        };
        let out = flow.interface(direction.opposite());
        let translation = flow.translation(direction);
        let size = match frame.offload.gso {
            None => Some(packet.total),
            Some(_) => packet_len(&frame, 0),
        };
        let Some(size) = size else {
            return self.refuse(turn, ingress, packet, frame, Refusal::silent(DropReason::GsoMalformed));
        };
        let mtu = match self.passage(ingress, packet, (out, translation.destination()), size) {
            Ok(mtu) => mtu,
            Err(refusal) => return self.refuse(turn, ingress, packet, frame, refusal),
        };

        if self.flows.advance(id, direction, packet.carries, turn.second) {
            self.confirm(id);
        }
        if let Some(flow) = self.flows.get_mut(id).filter(|flow| !flow.is_settled()) {
            self.offloads.call_back(id, flow);
        }
        let checksum = frame.offload.checksum;
        if packet.is_syn() {
            let mtu = mtu.min(self.mtu(ingress.interface, packet.key.source().into()).unwrap_or(u16::MAX));
            if clamp_mss(frame.bytes_mut(), mss_of(mtu), checksum) {
                turn.egress.note(|_| Fact::MssClamped { to: mss_of(mtu) });
            }
        }
        let hop = out != Interface::Router && ingress.interface != Interface::Router;
        rewrite(frame.bytes_mut(), packet, &translation, checksum, hop);
        if out == Interface::Router {
            // The router's own endpoint looks at the checksum, and takes a large segment as it is.
            if !complete_checksum(&mut frame) {
                return self.refuse(turn, ingress, packet, frame, Refusal::silent(DropReason::GsoMalformed));
            }
            frame.offload = Default::default();
            self.hand_up(turn, ingress, packet.is_fragment(), frame);
            return Ok(());
        }
        let destination = translation.destination();
        if size > usize::from(mtu) {
            self.emit_in_fragments(turn, out, destination, frame, mtu, ingress.origin());
        } else {
            self.emit(turn, out, destination, frame, ingress.origin());
        }
        Ok(())
    }

    /// Whether a packet may go out by `out` to an address: it has a hop left, the way is there, and the packet fits or may be cut.
    /// Returns the way's MTU.
    #[inline]
    pub(super) fn passage(
        &self,
        ingress: Ingress,
        packet: &Packet,
        (out, destination): (Interface, Ipv4Addr),
        size: usize,
    ) -> Result<u16, Refusal> {
        if out == Interface::Router {
            return Ok(u16::MAX);
        }
        if packet.ttl <= 1 && ingress.interface != Interface::Router {
            return Err(Refusal::error(DropReason::TtlExceeded, IcmpError::TtlExceeded));
        }
        let Some(mtu) = self.mtu(out, destination.into()) else {
            let reason = match out {
                Interface::Wan(_) => DropReason::WanDown,
                _ => DropReason::NoRoute,
            };
            return Err(Refusal::error(reason, IcmpError::NetUnreachable));
        };
        if size > usize::from(mtu) && packet.dont_fragment() {
            return Err(Refusal::error(DropReason::TooBig, IcmpError::FragmentationNeeded { mtu }));
        }
        Ok(mtu)
    }

    /// Largest IP packet that an interface carries to and from `address`; `None` when it carries none now.
    #[inline]
    pub(super) fn mtu(&self, interface: Interface, address: IpAddr) -> Option<u16> {
        match interface {
            Interface::Lan(lan) => self.lans.get(lan.index()).map(|lan| lan.mtu),
            Interface::Wan(wan) => Some(self.links.wan(wan)?.ipv4?.mtu),
            Interface::Subscriber(subscriber) => Some(self.links.subscriber(subscriber)?.ipv4?.mtu),
            Interface::Vpn(vpn) => self.tunnels.mtu(vpn, address),
            Interface::Router => None,
        }
    }

    /// True while both of a flow's ends, and the address that it is translated to, are what they were.
    #[inline]
    pub(super) fn is_current(&self, flow: &Flow) -> bool {
        let Pair(from, to) = flow.interfaces();
        self.epoch_of(from) == Some(flow.sides.0.epoch())
            && self.epoch_of(to) == Some(flow.sides.1.epoch())
            && match flow.translated.mappings {
                // Both ends are inside, so that neither tells the epoch of the uplink between them.
                Pair(Some(source), Some(target)) => self.is_current_hairpin(source, target, flow),
                Pair(None, None) if to == Interface::Router => self.is_own(flow.keys.0.destination()),
                _ => true,
            }
    }

    /// True while both mappings of a flow are of their uplinks' epochs, and the address that it goes through the uplink's: a
    /// port forward is of every epoch.
    fn is_current_hairpin(&self, source: MappingId, target: MappingId, flow: &Flow) -> bool {
        let place = |id| self.nat.get(id).map(|mapping| (mapping.inside.at, mapping.life));
        let is_of_epoch =
            |(at, life): (Interface, Life)| self.epoch_of(at).is_some_and(|epoch| life.is_of(epoch));
        place(source).is_some_and(is_of_epoch)
            && place(target).is_some_and(|(at, life)| {
                let is_same = |wan| self.links.last_address(wan) == Some(flow.keys.0.destination());
                is_of_epoch((at, life)) && !matches!(at, Interface::Wan(wan) if !is_same(wan))
            })
    }

    /// True for an address of the router, or the last one of an uplink that is down.
    fn is_own(&self, address: Ipv4Addr) -> bool {
        self.networks.is_router(address) || self.links.had_last(address)
    }

    /// The epoch of an interface. An uplink has one even while it is down; a subscriber has none then.
    #[inline]
    pub(super) fn epoch_of(&self, interface: Interface) -> Option<u32> {
        match interface {
            Interface::Lan(_) | Interface::Vpn(_) | Interface::Router => Some(0),
            Interface::Wan(wan) => Some(self.links.epoch(wan)),
            Interface::Subscriber(subscriber) => Some(self.links.subscriber(subscriber)?.ipv4?.epoch),
        }
    }

    /// The inside host has sent by the flow for the first time.
    pub(super) fn confirm(&mut self, id: FlowId) {
        let Some(flow) = self.flows.get(id) else { return };
        match flow.translated.mappings {
            Pair(Some(source), _) => self.nat.confirm(source, flow.keys.0.destination()),
            Pair(None, Some(destination)) => self.nat.confirm(destination, flow.keys.0.source()),
            Pair(None, None) => {}
        }
    }
}
