//! ICMPv6 errors that pass: found by the packet that they quote (RFC 4443 §2.4, RFC 6092 REC-10, REC-18, REC-36).
//!
//! An error travels in the direction opposite to that of the packet that it quotes, so the quoted packet turned round has
//! the key of the error's direction. Errors never refresh or end a flow.

use crate::forward::ipv6::icmp::ICMP_HEADER;
use crate::forward::ipv6::key::Key6;
use crate::forward::ipv6::parse::{Chain, DCCP, ECHO_REPLY, ECHO_REQUEST, Packet6, SCTP, UDP_LITE};
use crate::forward::refuse::Refusal;
use crate::forward::{Forwarder, Ingress, Turn};
use crate::frame::Frame;
use crate::id::Interface;
use crate::ledger::DropReason;
use crate::wire::checksum::Sum;
use crate::wire::ipv6::{ICMPV6, Ipv6, TCP, UDP};
use crate::wire::octets::{u8_at, u16_at, u32_at};

impl Forwarder {
    /// An ICMPv6 error that begins at its IPv6 header.
    pub(super) fn icmp6_error(
        &mut self,
        turn: &mut Turn<'_>,
        ingress: Ingress,
        packet: Packet6,
        frame: Frame,
    ) {
        let out = match self.way_of_error(ingress, &packet, frame.bytes()) {
            Ok(out) => out,
            Err(reason) => return turn.egress.drop(frame, reason),
        };
        match self.passage6(ingress, &packet, out, packet.total) {
            Ok(_) => self.depart6(turn, ingress, &packet, out, frame),
            Err(Refusal { reason, .. }) => turn.egress.drop(frame, reason),
        }
    }

    /// What an error goes out by: where the packet that it quotes came from.
    fn way_of_error(
        &mut self,
        ingress: Ingress,
        packet: &Packet6,
        bytes: &[u8],
    ) -> Result<Interface, DropReason> {
        let message = bytes.get(packet.transport..).unwrap_or_default();
        let (source, destination) = (packet.key.source(), packet.key.destination());
        let len = u32::try_from(message.len()).unwrap_or(u32::MAX);
        let pseudo = Sum::pseudo_v6(source, destination, ICMPV6, len);
        if !pseudo.plus(Sum::of(message)).is_right() {
            return Err(DropReason::IcmpChecksum);
        }
        self.check_source6(ingress, packet).map_err(|refusal| refusal.reason)?;
        if let Interface::Wan(wan) = ingress.interface {
            self.admit6(wan, source, destination).map_err(|refusal| refusal.reason)?;
        }
        let quote = message.get(ICMP_HEADER..).unwrap_or_default();
        let key = answer_to(ingress, quote).ok_or(DropReason::TransportMalformed)?;
        let found = self.v6.flows.find(key).and_then(|(id, direction)| {
            let flow = self.v6.flows.get(id)?;
            let is_its = flow.interface(direction) == ingress.interface && key.destination() == destination;
            is_its.then(|| (id, flow.interface(direction.opposite())))
        });
        match found {
            Some((id, out)) if self.v6.renew(id) => Ok(out),
            Some(_) => Err(DropReason::StaleEpoch),
            // The router's own, about a packet that left no flow.
            None if ingress.interface == Interface::Router => {
                let uplink = || self.v6.networks.uplink(source, destination).map(Interface::Wan);
                let out = self.v6.networks.inside(destination).map_or_else(uplink, Ok);
                out.map_err(|refusal| refusal.reason).and_then(|out| match out {
                    Interface::Router => Err(DropReason::BogonDestination),
                    out => Ok(out),
                })
            }
            None => Err(DropReason::IcmpNoFlow),
        }
    }
}

/// The key of what would answer the quoted packet, on the side that the error came by.
fn answer_to(ingress: Ingress, quote: &[u8]) -> Option<Key6> {
    let view = Ipv6::parse_quoted(quote)?;
    let Chain { transport, protocol, fragment } = Chain::of(quote).ok()?;
    if fragment.is_some_and(|fragment| fragment.offset != 0) {
        return None;
    }
    let rest = quote.get(transport..).unwrap_or_default();
    let ports = match protocol {
        TCP | UDP | UDP_LITE | SCTP | DCCP => u32_at(rest, 0)?.rotate_left(16),
        ICMPV6 => match (u8_at(rest, 0)?, u16_at(rest, 4)?) {
            (ECHO_REQUEST, id) => u32::from(ECHO_REQUEST) << 16 | u32::from(id),
            (ECHO_REPLY, id) => u32::from(id) << 16 | u32::from(ECHO_REQUEST),
            _ => return None,
        },
        _ => 0,
    };
    Some(Key6::new(ingress.realm, protocol, view.destination(), view.source(), ports))
}
