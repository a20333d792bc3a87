//! What the router says by ICMPv6 as a host (RFC 4443): echo replies, and why it cannot take a packet.

use alloc::vec::Vec;

use crate::frame::{Frame, HEADROOM};
use crate::wire::ipv6::{HEADER, Header, Ipv6, MIN_MTU};

const DESTINATION_UNREACHABLE: u8 = 1;
const PORT_UNREACHABLE: u8 = 4;
const PARAMETER_PROBLEM: u8 = 4;
const ECHO_REPLY: u8 = 129;
/// Hops that a message may make.
const HOP_LIMIT: u8 = 64;
/// Octets of a message in front of what it quotes.
const ERROR_HEADER: usize = 8;

/// The reply to an echo request: the same data, from the address that was asked (RFC 4443 §4.2).
pub fn echo_reply(packet: Ipv6<'_>, request: &[u8]) -> Option<Vec<u8>> {
    let rest = request.get(4..)?;
    write(packet, &[&[ECHO_REPLY, 0, 0, 0], rest].concat())
}

/// Nobody listens on the port that the packet is for (RFC 4443 §3.1).
pub fn port_unreachable(invoking: &[u8]) -> Option<Vec<u8>> {
    error(DESTINATION_UNREACHABLE, PORT_UNREACHABLE, 0, invoking)
}

/// The octet at `pointer` of the packet cannot be acted upon (RFC 4443 §3.4).
pub fn parameter_problem(invoking: &[u8], code: u8, pointer: u32) -> Option<Vec<u8>> {
    error(PARAMETER_PROBLEM, code, pointer, invoking)
}

/// An error about a packet to one of the router's addresses, with as much of it as every link carries whole.
fn error(kind: u8, code: u8, field: u32, invoking: &[u8]) -> Option<Vec<u8>> {
    let most = usize::from(MIN_MTU).saturating_sub(HEADER.saturating_add(ERROR_HEADER));
    let quoted = invoking.get(..most).unwrap_or(invoking);
    let message = [&[kind, code, 0, 0], field.to_be_bytes().as_slice(), quoted].concat();
    write(Ipv6::parse(invoking)?, &message)
}

/// A message back to the sender of `packet`.
fn write(packet: Ipv6<'_>, message: &[u8]) -> Option<Vec<u8>> {
    let room = HEADROOM.saturating_add(HEADER).saturating_add(message.len());
    let mut frame = Frame::with_capacity(room);
    let header = Header { source: packet.destination(), destination: packet.source(), hop_limit: HOP_LIMIT };
    header.write_icmp(message, &mut frame).then(|| frame.bytes().to_vec())
}
