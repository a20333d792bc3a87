//! Fragments: the first one decides, the others follow it; those for the router are put together.

use crate::forward::flow::{Direction, Flow};
use crate::forward::fragment::Passage;
use crate::forward::key::{FlowKey, Key};
use crate::forward::message::{Punt, PuntKind};
use crate::forward::parse::{Carries, Packet};
use crate::forward::{Forwarder, Ingress, Turn};
use crate::frame::Frame;
use crate::ledger::DropReason;
use crate::sight::Fact;
use crate::wire::ipv4::UDP;

/// What became of a datagram's first fragment: the key by which the others find its flow, or why it was dropped.
pub(super) type Decision = Result<Key, DropReason>;

impl Forwarder {
    /// A fragment that begins at its IPv4 header.
    pub(super) fn fragment(&mut self, turn: &mut Turn<'_>, ingress: Ingress, packet: Packet, frame: Frame) {
        match self.fragments.handle(turn.now, ingress.interface, frame, turn.egress) {
            Passage::First(frame, datagram) => {
                let decision = match packet.carries {
                    // An error is small; one in fragments cannot be checked, nor its quotation found.
                    Carries::IcmpError => {
                        turn.egress.drop(frame, DropReason::FragmentMalformed);
                        Err(DropReason::FragmentMalformed)
                    }
                    _ if self.is_for_tunnel(ingress, &packet) => {
                        self.assemble(turn, ingress, frame);
                        Ok(packet.key)
                    }
                    _ => self.by_flow(turn, ingress, &packet, frame).map(|()| packet.key),
                };
                for frame in self.fragments.decided(&datagram, decision) {
                    self.follow(turn, ingress, decision, frame);
                }
            }
            Passage::Follows(frame, decision) => self.follow(turn, ingress, decision, frame),
            Passage::Kept => {}
        }
    }

    /// A later fragment of a datagram whose first one has passed or not.
    fn follow(&mut self, turn: &mut Turn<'_>, ingress: Ingress, decision: Decision, frame: Frame) {
        let packet =
            decision.and_then(|key| Ok(Packet { key, ..Packet::parse(frame.bytes(), ingress.realm)? }));
        match packet {
            Ok(packet) if self.is_for_tunnel(ingress, &packet) => self.assemble(turn, ingress, frame),
            // Without its flow the fragment opens nothing.
            Ok(packet) if self.flows.find(packet.key).is_none() => {
                turn.egress.drop(frame, DropReason::FragmentTimeout);
            }
            Ok(packet) => {
                let _counted = self.by_flow(turn, ingress, &packet, frame);
            }
            Err(reason) => turn.egress.drop(frame, reason),
        }
    }

    fn is_for_tunnel(&self, ingress: Ingress, packet: &Packet) -> bool {
        let key = packet.key;
        key.protocol() == UDP
            && self.tunnel_at(ingress, key.destination().into(), key.destination_port()).is_some()
    }

    /// A fragment of a message for a VPN: its packet goes on once it is whole.
    pub(super) fn assemble(&mut self, turn: &mut Turn<'_>, ingress: Ingress, frame: Frame) {
        match self.reassembler.handle(turn.now, ingress.interface, frame, turn.egress) {
            Some(whole) if whole.bytes().first().is_some_and(|first| first >> 4 == 6) => {
                self.ipv6(turn, ingress, false, whole);
            }
            Some(whole) => self.ipv4(turn, ingress, whole),
            None => {}
        }
    }

    /// A packet for the router itself: handed up once it is whole.
    pub(super) fn hand_up(&mut self, turn: &mut Turn<'_>, ingress: Ingress, fragment: bool, frame: Frame) {
        let interface = ingress.interface;
        let frame = match fragment {
            true => self.reassembler.handle(turn.now, interface, frame, turn.egress),
            false => Some(frame),
        };
        if let Some(frame) = frame {
            turn.punts.push_back(Punt { kind: PuntKind::Local { interface }, frame });
        }
    }
}

/// Tells who looks by which flow a packet goes.
pub(super) fn note_flow<K: FlowKey>(turn: &mut Turn<'_>, flow: &Flow<K>, direction: Direction, is_new: bool) {
    let (here, there) = (flow.keys.of(direction), flow.keys.of(direction.opposite()));
    let (original, reply) = flow.in_kernel();
    turn.egress.note(|names| Fact::Flow {
        is_new,
        protocol: here.number(),
        before: here.ends(),
        after: there.ends().reversed(),
        from: names.of(flow.interface(direction)),
        to: names.of(flow.interface(direction.opposite())),
        in_kernel: if direction == Direction::Original { original } else { reply },
    });
}
