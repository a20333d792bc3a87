//! What a packet must be before it reaches the sockets. IPv6 has a file of its own (`check6`).

use alloc::vec::Vec;
use core::net::Ipv4Addr;

use super::icmp;
use crate::frame::{Checksum, Frame};
use crate::ledger::DropReason;
use crate::wire::checksum::Sum;
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::ipv6;
use crate::wire::octets::{set_u16, u8_at, u16_at};

/// What a packet for the router leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// This packet goes back.
    Reply(Vec<u8>),
    /// Nothing: the router has no use for it.
    Understood,
    /// The sockets get this packet.
    ForSockets(Vec<u8>),
}

const ECHO_REPLY: u8 = 0;
const UNREACHABLE: u8 = 3;
const ECHO_REQUEST: u8 = 8;
const TIME_EXCEEDED: u8 = 11;
const PARAMETER_PROBLEM: u8 = 12;

/// A copy of the packet in `frame`, its checksum completed when the sender left that to the device.
pub fn complete(frame: &Frame) -> Vec<u8> {
    let mut packet = frame.bytes().to_vec();
    if let Checksum::Partial { start, offset } = frame.offload.checksum {
        let (start, offset) = (usize::from(start), usize::from(offset));
        // The sum ends where the packet does, not where padding may follow.
        let end = match u8_at(&packet, 0).map(|first| first >> 4) {
            Some(6) => u16_at(&packet, 4).map_or(0, |len| ipv6::HEADER.saturating_add(usize::from(len))),
            _ => u16_at(&packet, 2).map_or(0, usize::from),
        };
        let end = end.min(packet.len());
        if let Some(part) = packet.get_mut(start..end) {
            // A complement of zero would say that UDP has no checksum; ones are the same sum.
            let checksum = Sum::of(part).udp_checksum();
            set_u16(part, offset, checksum);
        }
    }
    packet
}

/// Checks an IPv4 packet's headers, its length, its checksums and its addresses; `is_own` knows the router's.
pub fn check(bytes: Vec<u8>, is_own: impl Fn(Ipv4Addr) -> bool) -> Result<Verdict, DropReason> {
    let packet = Ipv4::parse(&bytes).ok_or(DropReason::Ipv4Malformed)?;
    if !Sum::of(packet.header()).is_right() {
        return Err(DropReason::Ipv4Checksum);
    }
    let (source, destination) = (packet.source(), packet.destination());
    if !is_own(destination) {
        return Err(DropReason::NotListening);
    }
    let [first, ..] = source.octets();
    if first == 0 || first >= 224 || source.is_loopback() {
        return Err(DropReason::BogonSource);
    }
    if is_own(source) {
        return Err(DropReason::Land);
    }
    // The Forwarder puts fragments together; a piece alone is nothing.
    if packet.is_fragment() {
        return Err(DropReason::TransportMalformed);
    }
    let payload = packet.payload();
    match packet.protocol() {
        ipv4::ICMP => return icmp(&bytes, payload),
        ipv4::UDP => udp(payload).ok_or(DropReason::TransportMalformed)?,
        ipv4::TCP => tcp(payload).ok_or(DropReason::TransportMalformed)?,
        _ => {}
    }
    Ok(Verdict::ForSockets(bytes))
}

fn icmp(packet: &[u8], message: &[u8]) -> Result<Verdict, DropReason> {
    if message.len() < 8 {
        return Err(DropReason::TransportMalformed);
    }
    if !Sum::of(message).is_right() {
        return Err(DropReason::IcmpChecksum);
    }
    match (u8_at(message, 0), u8_at(message, 1)) {
        (Some(ECHO_REQUEST), Some(0)) => {
            icmp::echo_reply(packet).map(Verdict::Reply).ok_or(DropReason::TransportMalformed)
        }
        (Some(ECHO_REPLY | UNREACHABLE | TIME_EXCEEDED | PARAMETER_PROBLEM), _) => Ok(Verdict::Understood),
        _ => Err(DropReason::NotListening),
    }
}

/// A datagram's header; nothing when it contradicts itself.
pub fn udp(datagram: &[u8]) -> Option<()> {
    let len = usize::from(u16_at(datagram, 4)?);
    let ports = u16_at(datagram, 0)? != 0 && u16_at(datagram, 2)? != 0;
    (ports && (8..=datagram.len()).contains(&len)).then_some(())
}

/// A segment's header; nothing when it contradicts itself.
pub fn tcp(segment: &[u8]) -> Option<()> {
    let header = usize::from(u8_at(segment, 12)? >> 4) * 4;
    let ports = u16_at(segment, 0)? != 0 && u16_at(segment, 2)? != 0;
    (ports && (20..=segment.len()).contains(&header)).then_some(())
}
