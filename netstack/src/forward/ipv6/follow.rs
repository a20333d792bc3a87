//! Fragments of IPv6: the first one decides, the others follow it.

use crate::forward::fragment::Passage;
use crate::forward::ipv6::key::Key6;
use crate::forward::ipv6::parse::Packet6;
use crate::forward::parse::Carries;
use crate::forward::{Forwarder, Ingress, Turn};
use crate::frame::Frame;
use crate::ledger::DropReason;
use crate::wire::ipv4::UDP;

/// What became of a datagram's first fragment: the key by which the others find its flow, or why it was dropped.
pub(super) type Decision = Result<Key6, DropReason>;

impl Forwarder {
    /// A fragment that begins at its IPv6 header.
    pub(super) fn fragment6(&mut self, turn: &mut Turn<'_>, ingress: Ingress, packet: Packet6, frame: Frame) {
        match self.v6.fragments.handle(turn.now, ingress.interface, frame, turn.egress) {
            Passage::First(frame, datagram) => {
                let decision = match packet.carries {
                    // An error is small; one in fragments cannot be checked, nor its quotation found.
                    Carries::IcmpError => {
                        turn.egress.drop(frame, DropReason::FragmentMalformed);
                        Err(DropReason::FragmentMalformed)
                    }
                    _ if self.is_for_tunnel6(ingress, &packet) => {
                        self.assemble(turn, ingress, frame);
                        Ok(packet.key)
                    }
                    _ => self.by_flow6(turn, ingress, &packet, frame).map(|()| packet.key),
                };
                for frame in self.v6.fragments.decided(&datagram, decision) {
                    self.follow6(turn, ingress, decision, frame);
                }
            }
            Passage::Follows(frame, decision) => self.follow6(turn, ingress, decision, frame),
            Passage::Kept => {}
        }
    }

    /// A later fragment of a datagram whose first one has passed or not.
    fn follow6(&mut self, turn: &mut Turn<'_>, ingress: Ingress, decision: Decision, frame: Frame) {
        let packet =
            decision.and_then(|key| Ok(Packet6 { key, ..Packet6::parse(frame.bytes(), ingress.realm)? }));
        match packet {
            Ok(packet) if self.is_for_tunnel6(ingress, &packet) => self.assemble(turn, ingress, frame),
            // Without its flow the fragment opens nothing.
            Ok(packet) if self.v6.flows.find(packet.key).is_none() => {
                turn.egress.drop(frame, DropReason::FragmentTimeout);
            }
            Ok(packet) => {
                let _counted = self.by_flow6(turn, ingress, &packet, frame);
            }
            Err(reason) => turn.egress.drop(frame, reason),
        }
    }

    fn is_for_tunnel6(&self, ingress: Ingress, packet: &Packet6) -> bool {
        let key = packet.key;
        key.protocol() == UDP
            && self.tunnel_at(ingress, key.destination().into(), key.destination_port()).is_some()
    }
}
