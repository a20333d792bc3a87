//! Echo replies (RFC 792, RFC 1122 §3.2.2.6).

use alloc::vec::Vec;

use crate::wire::checksum::{mend_zeros, update};
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::octets::{set_u8, set_u16, u16_at};

/// The reply to the echo request in `packet`: the same data, from the address that was asked. Its identification is the
/// request's, so that a reply too large for the way back can be fragmented.
pub fn echo_reply(packet: &[u8]) -> Option<Vec<u8>> {
    let request = Ipv4::parse(packet)?;
    let message = request.payload();
    let total = u16::try_from(message.len()).ok()?.checked_add(20)?;
    let mut reply = Vec::with_capacity(usize::from(total));
    reply.extend_from_slice(&[0x45, 0]);
    reply.extend_from_slice(&total.to_be_bytes());
    reply.extend_from_slice(&request.id().to_be_bytes());
    reply.extend_from_slice(&[0, 0, 64, ipv4::ICMP, 0, 0]);
    reply.extend_from_slice(&request.destination().octets());
    reply.extend_from_slice(&request.source().octets());
    ipv4::write_header_checksum(&mut reply, ipv4::MIN_HEADER);
    reply.extend_from_slice(message);
    let answer = reply.get_mut(ipv4::MIN_HEADER..)?;
    let checksum = update(u16_at(answer, 2)?, u16_at(answer, 0)?, 0u16);
    set_u8(answer, 0, 0);
    set_u16(answer, 2, checksum);
    mend_zeros(answer, 2);
    Some(reply)
}
