//! What an IPv6 packet must be before it reaches the sockets.
//!
//! Its extension headers are walked to the upper layer (RFC 8200 §4): options that must be understood and are not, a route
//! that goes on from here, and headers that nobody knows are told to the sender (RFC 4443 §3.4). The sockets get the packet
//! without them.

use alloc::vec::Vec;
use core::net::Ipv6Addr;

use super::check::{Verdict, tcp, udp};
use super::{icmp6, scope};
use crate::ledger::DropReason;
use crate::wire::checksum::Sum;
use crate::wire::ipv6::{self, HEADER, Ipv6};
use crate::wire::octets::{set_u8, set_u16, u8_at, u16_at};

/// ICMPv6 errors have types below this (RFC 4443 §2.1).
const FIRST_INFORMATIONAL: u8 = 128;
const ECHO_REQUEST: u8 = 128;
const ECHO_REPLY: u8 = 129;
const REDIRECT: u8 = 137;

/// Where a packet's upper layer begins.
struct Upper {
    protocol: u8,
    at: usize,
}

/// Why a packet cannot be taken, and what its sender is told.
struct Problem {
    code: u8,
    /// The octet of the packet that is meant.
    pointer: usize,
}

/// What stands in the way of a packet's upper layer.
enum Obstacle {
    Problem(Problem),
    Drop(DropReason),
}

/// Checks a packet's headers, its length, its checksums and its addresses. `is_own` knows the router's addresses, `listens`
/// the open ports of UDP.
pub fn check(
    mut bytes: Vec<u8>,
    is_own: impl Fn(Ipv6Addr) -> bool,
    listens: impl Fn(u16) -> bool,
) -> Result<Verdict, DropReason> {
    let packet = Ipv6::parse(&bytes).ok_or(DropReason::Ipv6Malformed)?;
    let (source, destination) = (packet.source(), packet.destination());
    if !is_own(destination) {
        return Err(DropReason::NotListening);
    }
    let no_host = source.is_unspecified() || source.is_multicast() || source.is_loopback();
    if no_host || source.to_ipv4_mapped().is_some() || !scope::is_sound(source) {
        return Err(DropReason::BogonSource);
    }
    // The same link-local address may be somebody else's on another link.
    if is_own(source) && (source == destination || !source.is_unicast_link_local()) {
        return Err(DropReason::Land);
    }
    let end = HEADER.saturating_add(packet.payload().len());
    bytes.truncate(end);
    match walk(&bytes) {
        Ok(upper) => accept(bytes, &upper, listens),
        Err(Obstacle::Drop(reason)) => Err(reason),
        Err(Obstacle::Problem(problem)) if may_be_told(&bytes) => {
            let pointer = u32::try_from(problem.pointer).unwrap_or(0);
            let message = icmp6::parameter_problem(&bytes, problem.code, pointer);
            message.map(Verdict::Reply).ok_or(DropReason::Ipv6Malformed)
        }
        Err(Obstacle::Problem(_)) => Err(DropReason::NotListening),
    }
}

/// Acts upon the upper layer of a packet whose headers are all right.
fn accept(bytes: Vec<u8>, upper: &Upper, listens: impl Fn(u16) -> bool) -> Result<Verdict, DropReason> {
    let packet = Ipv6::parse(&bytes).ok_or(DropReason::Ipv6Malformed)?;
    let message = bytes.get(upper.at..).unwrap_or_default();
    let len = u32::try_from(message.len()).map_err(|_| DropReason::Ipv6Malformed)?;
    let pseudo = Sum::pseudo_v6(packet.source(), packet.destination(), upper.protocol, len);
    let is_right = pseudo.plus(Sum::of(message)).is_right();
    match upper.protocol {
        ipv6::ICMPV6 => {
            if message.len() < 8 {
                return Err(DropReason::TransportMalformed);
            }
            if !is_right {
                return Err(DropReason::IcmpChecksum);
            }
            match (u8_at(message, 0), u8_at(message, 1)) {
                (Some(ECHO_REQUEST), Some(0)) => {
                    let reply = icmp6::echo_reply(packet, message);
                    reply.map(Verdict::Reply).ok_or(DropReason::TransportMalformed)
                }
                (Some(ECHO_REPLY | 1..=4), _) => Ok(Verdict::Understood),
                _ => Err(DropReason::NotListening),
            }
        }
        ipv6::UDP => {
            udp(message).ok_or(DropReason::TransportMalformed)?;
            // UDP over IPv6 has a checksum always (RFC 8200 §8.1).
            let datagram = usize::from(u16_at(message, 4).unwrap_or(0));
            if datagram != message.len() || u16_at(message, 6) == Some(0) || !is_right {
                return Err(DropReason::TransportMalformed);
            }
            if !u16_at(message, 2).is_some_and(listens) {
                return icmp6::port_unreachable(&bytes)
                    .map(Verdict::Reply)
                    .ok_or(DropReason::TransportMalformed);
            }
            Ok(Verdict::ForSockets(bare(bytes, upper)))
        }
        ipv6::TCP => {
            tcp(message).filter(|()| is_right).ok_or(DropReason::TransportMalformed)?;
            Ok(Verdict::ForSockets(bare(bytes, upper)))
        }
        // There is nothing behind the last header.
        _ => Ok(Verdict::Understood),
    }
}

/// The packet without its extension headers.
fn bare(mut bytes: Vec<u8>, upper: &Upper) -> Vec<u8> {
    if upper.at > HEADER {
        bytes.drain(HEADER..upper.at.min(bytes.len()));
        let len = u16::try_from(bytes.len().saturating_sub(HEADER)).unwrap_or(0);
        set_u16(&mut bytes, 4, len);
        set_u8(&mut bytes, 6, upper.protocol);
    }
    bytes
}

/// Walks the extension headers.
fn walk(bytes: &[u8]) -> Result<Upper, Obstacle> {
    const MALFORMED: Obstacle = Obstacle::Drop(DropReason::Ipv6Malformed);
    let mut number_at = 6usize;
    let mut at = HEADER;
    loop {
        let protocol = u8_at(bytes, number_at).ok_or(MALFORMED)?;
        match protocol {
            ipv6::TCP | ipv6::UDP | ipv6::ICMPV6 | ipv6::NO_NEXT_HEADER => {
                return Ok(Upper { protocol, at });
            }
            // Only right behind the header (RFC 8200 §4.1).
            ipv6::HOP_BY_HOP if at == HEADER => options(bytes, at)?,
            ipv6::DESTINATION_OPTIONS => options(bytes, at)?,
            ipv6::ROUTING => {
                let left = u8_at(bytes, at.saturating_add(3)).ok_or(MALFORMED)?;
                if left != 0 {
                    // No route goes on from here (RFC 8200 §4.4, RFC 5095).
                    return Err(Obstacle::Problem(Problem { code: 0, pointer: at.saturating_add(2) }));
                }
            }
            ipv6::FRAGMENT => {
                // What is whole bears this header in vain (RFC 6946); the Forwarder puts the others together.
                let part = u16_at(bytes, at.saturating_add(2)).ok_or(MALFORMED)?;
                if part & 0xfff9 != 0 {
                    return Err(Obstacle::Drop(DropReason::TransportMalformed));
                }
            }
            _ => return Err(Obstacle::Problem(Problem { code: 1, pointer: number_at })),
        }
        number_at = at;
        at = header_end(bytes, protocol, at).ok_or(MALFORMED)?;
    }
}

/// Where the extension header of number `protocol` at `at` ends.
fn header_end(bytes: &[u8], protocol: u8, at: usize) -> Option<usize> {
    let units = match protocol {
        ipv6::FRAGMENT => 0,
        _ => usize::from(u8_at(bytes, at.checked_add(1)?)?),
    };
    let end = at.checked_add(units.checked_add(1)?.checked_mul(8)?)?;
    (end <= bytes.len()).then_some(end)
}

/// Reads the options of the header at `at` (RFC 8200 §4.2): the first two bits of one that is not known say what to do.
fn options(bytes: &[u8], at: usize) -> Result<(), Obstacle> {
    const MALFORMED: Obstacle = Obstacle::Drop(DropReason::Ipv6Malformed);
    let end = header_end(bytes, ipv6::DESTINATION_OPTIONS, at).ok_or(MALFORMED)?;
    let mut at = at.saturating_add(2);
    while at < end {
        let kind = u8_at(bytes, at).ok_or(MALFORMED)?;
        if kind == 0 {
            at = at.saturating_add(1);
            continue;
        }
        match kind >> 6 {
            0 => {}
            1 => return Err(Obstacle::Drop(DropReason::NotListening)),
            _ => return Err(Obstacle::Problem(Problem { code: 2, pointer: at })),
        }
        let len = u8_at(bytes, at.saturating_add(1)).ok_or(MALFORMED)?;
        at = at.saturating_add(2).saturating_add(usize::from(len));
    }
    if at == end { Ok(()) } else { Err(MALFORMED) }
}

/// True unless the packet is an error itself, or may be one (RFC 4443 §2.4 (e)).
fn may_be_told(bytes: &[u8]) -> bool {
    let mut number_at = 6usize;
    let mut at = HEADER;
    loop {
        match u8_at(bytes, number_at) {
            Some(ipv6::ICMPV6) => {
                return u8_at(bytes, at).is_some_and(|kind| kind >= FIRST_INFORMATIONAL && kind != REDIRECT);
            }
            // One that stands where it may not is none that is known.
            Some(ipv6::HOP_BY_HOP) if at != HEADER => return true,
            Some(
                protocol @ (ipv6::HOP_BY_HOP | ipv6::DESTINATION_OPTIONS | ipv6::ROUTING | ipv6::FRAGMENT),
            ) => {
                let Some(end) = header_end(bytes, protocol, at) else { return false };
                number_at = at;
                at = end;
            }
            Some(_) => return true,
            None => return false,
        }
    }
}
