//! ICMP errors that pass: found by the packet that they quote, and translated with it (RFC 5508 §4, RFC 7857 §12).
//!
//! An error travels in the direction opposite to that of the packet that it quotes, so the quoted packet turned round has
//! the key of the error's direction. Errors never refresh or end a flow.

use crate::forward::flow::{Direction, FlowId};
use crate::forward::icmp::{Embedded, HEADER, Quoted};
use crate::forward::key::Key;
use crate::forward::parse::Packet;
use crate::forward::refuse::Refusal;
use crate::forward::rewrite::rewrite_header;
use crate::forward::route::Route;
use crate::forward::{Forwarder, Ingress, Turn};
use crate::frame::Frame;
use crate::id::Interface;
use crate::ledger::DropReason;
use crate::wire::checksum::{Delta, Sum};
use crate::wire::ipv4::Ipv4;

impl Forwarder {
    /// An ICMP error that begins at its IPv4 header.
    pub(super) fn icmp_error(
        &mut self,
        turn: &mut Turn<'_>,
        ingress: Ingress,
        packet: Packet,
        mut frame: Frame,
    ) {
        let message = frame.bytes().get(packet.header..).unwrap_or_default();
        let embedded = match check(message) {
            Ok(embedded) => embedded,
            Err(reason) => return turn.egress.drop(frame, reason),
        };
        if let Err(refusal) = self.check_source(ingress, &packet) {
            return turn.egress.drop(frame, refusal.reason);
        }
        let (id, direction) = match self.flow_of_error(ingress, &packet, &embedded) {
            Ok(found) => found,
            Err(DropReason::IcmpNoFlow) if ingress.interface == Interface::Router => {
                return self.send_own_error(turn, &packet, frame);
            }
            Err(reason) => return turn.egress.drop(frame, reason),
        };
        let Some(flow) = self.flows.get(id) else {
            return turn.egress.drop(frame, DropReason::Internal);
        };

        let (here, there) = (flow.keys.of(direction), flow.keys.of(direction.opposite()));
        let out = flow.interface(direction.opposite());
        let mtu = match self.passage(ingress, &packet, (out, there.source()), packet.total) {
            Ok(mtu) => mtu,
            Err(Refusal { reason, .. }) => return turn.egress.drop(frame, reason),
        };

        // Whoever noticed the error, it leaves from the address that the quoted packet was sent to (RFC 5508 REQ-5);
        // only where that address is not translated does a router on the way appear under its own.
        let source =
            if here.source() == there.destination() { packet.key.source() } else { there.destination() };
        let destination = there.source();
        let delta = Delta::of_address(packet.key.source(), source)
            .and(Delta::of_address(packet.key.destination(), destination));
        let addresses = u64::from(source.to_bits()) << 32 | u64::from(destination.to_bits());
        let hop = out != Interface::Router && ingress.interface != Interface::Router;
        let translated = Embedded {
            source: there.source(),
            destination: there.destination(),
            quoted: quoted_of(embedded.quoted, there),
            ..embedded
        };
        if let Some((header, message)) = frame.bytes_mut().split_at_mut_checked(packet.header) {
            rewrite_header(header, addresses, delta, hop);
            embedded.rewrite(message, &translated);
        }
        if out == Interface::Router {
            self.hand_up(turn, ingress, false, frame);
        } else if packet.total > usize::from(mtu) {
            self.emit_in_fragments(turn, out, destination, frame, mtu, ingress.origin());
        } else {
            self.emit(turn, out, destination, frame, ingress.origin());
        }
    }

    /// The flow that an error belongs to, and the error's direction.
    fn flow_of_error(
        &self,
        ingress: Ingress,
        packet: &Packet,
        embedded: &Embedded,
    ) -> Result<(FlowId, Direction), DropReason> {
        let (from, to) = match embedded.quoted {
            Quoted::Ports { source, destination } => (source, destination),
            Quoted::Query { kind: kind @ (8 | 13 | 15 | 17), id } => (id, u16::from(kind)),
            Quoted::Query { kind: 0, id } => (8, id),
            Quoted::Query { kind, id } => (u16::from(kind.saturating_sub(1)), id),
            Quoted::Nothing => (0, 0),
        };
        let key =
            Key::of(ingress.realm, embedded.protocol, (embedded.destination, to), (embedded.source, from));
        let found =
            self.flows.find(key).and_then(|(id, direction)| Some((id, direction, self.flows.get(id)?)));
        let Some((id, direction, flow)) = found else { return Err(DropReason::IcmpNoFlow) };
        if flow.interface(direction) != ingress.interface || packet.key.destination() != embedded.source {
            return Err(DropReason::IcmpNoFlow);
        }
        if flow.sides.of(direction).epoch() != ingress.epoch || !self.is_current(flow) {
            return Err(DropReason::StaleEpoch);
        }
        Ok((id, direction))
    }

    /// An error of the router's own endpoint about a packet that has no flow.
    fn send_own_error(&mut self, turn: &mut Turn<'_>, packet: &Packet, frame: Frame) {
        let destination = packet.key.destination();
        let out = match self.networks.route(&self.links, destination) {
            Route::To(out @ (Interface::Lan(_) | Interface::Subscriber(_) | Interface::Vpn(_))) => out,
            Route::To(_) => {
                let own = self.links.open_wans().find(|(_, ipv4)| ipv4.address == packet.key.source());
                match own {
                    Some((wan, _)) => Interface::Wan(wan),
                    None => return turn.egress.drop(frame, DropReason::IcmpNoFlow),
                }
            }
            Route::Uplink(_) => return turn.egress.drop(frame, DropReason::BogonDestination),
            Route::Nowhere(reason, _) => return turn.egress.drop(frame, reason),
        };
        self.emit(turn, out, destination, frame, Ingress::ROUTER.origin());
    }
}

/// What an error quotes. Its own checksum and that of the quoted header must be right; the quoted transport's is not
/// looked at, and quoted options are skipped (RFC 5508 REQ-3).
fn check(message: &[u8]) -> Result<Embedded, DropReason> {
    if !Sum::of(message).is_right() {
        return Err(DropReason::IcmpChecksum);
    }
    let quote = message.get(HEADER..).unwrap_or_default();
    let quoted = Ipv4::parse_quoted(quote).ok_or(DropReason::TransportMalformed)?;
    if !Sum::of(quoted.header()).is_right() {
        return Err(DropReason::IcmpChecksum);
    }
    Embedded::parse(message).ok_or(DropReason::TransportMalformed)
}

/// What tells the quoted packet, as the key on the other side has it.
fn quoted_of(quoted: Quoted, there: Key) -> Quoted {
    match quoted {
        Quoted::Ports { .. } => {
            Quoted::Ports { source: there.source_port(), destination: there.destination_port() }
        }
        Quoted::Query { kind: kind @ (8 | 13 | 15 | 17), .. } => {
            Quoted::Query { kind, id: there.source_port() }
        }
        Quoted::Query { kind, .. } => Quoted::Query { kind, id: there.destination_port() },
        Quoted::Nothing => Quoted::Nothing,
    }
}
