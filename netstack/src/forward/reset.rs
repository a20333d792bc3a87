//! The TCP reset that answers a segment for which there is no connection (RFC 9293 §3.10.7.1).

use core::net::{Ipv4Addr, Ipv6Addr};

use crate::frame::Frame;
use crate::wire::checksum::Sum;
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::ipv6;
use crate::wire::octets::{set_u16, set_u32, u8_at, u16_at, u32_at};

/// Octets of a reset, from its IPv4 header on.
pub const RESET: usize = ipv4::MIN_HEADER + TCP_HEADER;
/// Octets of a reset, from its IPv6 header on.
pub const RESET6: usize = ipv6::HEADER + TCP_HEADER;

const TCP_HEADER: usize = 20;
const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;
const TTL: u8 = 64;

/// Writes into `out`, from the IPv4 header on, the reset that answers the TCP segment at the start of `packet` (its IPv4
/// header), in the name of the segment's destination. False, and no change, when the segment may not be answered (it is a
/// reset itself, a fragment, malformed, or not between two single hosts), or when `out` has no room.
pub fn write_reset(packet: &[u8], out: &mut Frame) -> bool {
    let Some((packet, reset)) = Ipv4::parse(packet).and_then(|packet| {
        let single = |address: Ipv4Addr| {
            !address.is_unspecified() && !address.is_multicast() && !address.is_broadcast()
        };
        let may = packet.protocol() == ipv4::TCP
            && !packet.is_fragment()
            && single(packet.source())
            && single(packet.destination());
        Some((packet, Reset::to(packet.payload()).filter(|_| may)?))
    }) else {
        return false;
    };
    let Some(bytes) = out.put(RESET) else { return false };
    let Some((ip, tcp)) = bytes.split_at_mut_checked(ipv4::MIN_HEADER) else { return false };
    let (source, destination) = (packet.destination(), packet.source());
    ip.copy_from_slice(&[0x45, 0, 0, 0, 0, 0, 0x40, 0, TTL, ipv4::TCP, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    set_u16(ip, 2, RESET as u16);
    set_u32(ip, 12, source.to_bits());
    set_u32(ip, 16, destination.to_bits());
    ipv4::write_header_checksum(ip, ipv4::MIN_HEADER);
    reset.write(tcp, Sum::pseudo_v4(source, destination, ipv4::TCP, TCP_HEADER as u16))
}

/// Writes into `out`, from the IPv6 header on, the reset that answers `segment`, which went from `source` to
/// `destination`. False, and no change, when it is a reset itself or malformed, or when `out` has no room.
pub fn write_reset6(source: Ipv6Addr, destination: Ipv6Addr, segment: &[u8], out: &mut Frame) -> bool {
    let Some(reset) = Reset::to(segment) else { return false };
    let mut tcp = [0; TCP_HEADER];
    let head = ipv6::Header { source: destination, destination: source, hop_limit: TTL };
    reset.write(&mut tcp, Sum::pseudo_v6(destination, source, ipv6::TCP, TCP_HEADER as u32))
        && head.write(ipv6::TCP, &[&tcp], out)
}

struct Reset {
    source_port: u16,
    destination_port: u16,
    sequence: u32,
    /// `None` when the segment acknowledged something: the reset then has no acknowledgment of its own.
    acknowledgment: Option<u32>,
}

impl Reset {
    /// What answers `segment`, which begins at its TCP header.
    fn to(segment: &[u8]) -> Option<Self> {
        let header = usize::from(u8_at(segment, 12)? >> 4) * 4;
        let flags = u8_at(segment, 13)?;
        if header < TCP_HEADER || header > segment.len() || flags & RST != 0 {
            return None;
        }
        let (sequence, acknowledgment) = if flags & ACK != 0 {
            (u32_at(segment, 8)?, None)
        } else {
            // SEG.SEQ + SEG.LEN, where SYN and FIN count as one octet each.
            let data = u32::try_from(segment.len() - header).ok()?;
            let marks = u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
            (0, Some(u32_at(segment, 4)?.wrapping_add(data).wrapping_add(marks)))
        };
        Some(Reset {
            source_port: u16_at(segment, 2)?,
            destination_port: u16_at(segment, 0)?,
            sequence,
            acknowledgment,
        })
    }

    /// Writes its TCP header, whose pseudo-header's sum is `pseudo`.
    fn write(self, tcp: &mut [u8], pseudo: Sum) -> bool {
        let flags = if self.acknowledgment.is_some() { RST | ACK } else { RST };
        tcp.fill(0);
        set_u16(tcp, 0, self.source_port);
        set_u16(tcp, 2, self.destination_port);
        set_u32(tcp, 4, self.sequence);
        set_u32(tcp, 8, self.acknowledgment.unwrap_or(0));
        set_u16(tcp, 12, 0x5000 | u16::from(flags));
        let checksum = pseudo.plus(Sum::of(tcp)).checksum();
        set_u16(tcp, 16, checksum)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn segment(flags: u8, sequence: u32, acknowledgment: u32, data: usize) -> Vec<u8> {
        let mut bytes = alloc::vec![0; 44 + data];
        bytes[0] = 0x45;
        bytes[8] = 64;
        bytes[9] = 6;
        let len = bytes.len() as u16;
        set_u16(&mut bytes, 2, len);
        bytes[12..20].copy_from_slice(&[192, 0, 2, 9, 198, 51, 100, 7]);
        set_u16(&mut bytes, 20, 4000);
        set_u16(&mut bytes, 22, 80);
        set_u32(&mut bytes, 24, sequence);
        set_u32(&mut bytes, 28, acknowledgment);
        bytes[32] = 0x60;
        bytes[33] = flags;
        bytes
    }

    fn reset(packet: &[u8]) -> Option<Vec<u8>> {
        let mut out = Frame::with_capacity(2048);
        write_reset(packet, &mut out).then(|| out.bytes().to_vec())
    }

    #[test]
    fn rfc9293_3_10_7_1_the_reset_is_one_that_the_sender_accepts() {
        for (flags, data, expected_flags, sequence, acknowledgment) in [
            (SYN, 0, RST | ACK, 0, 1001),
            (SYN, 5, RST | ACK, 0, 1006),
            (SYN | FIN, 0, RST | ACK, 0, 1002),
            (0, 7, RST | ACK, 0, 1007),
            (ACK, 7, RST, 77, 0),
            (SYN | ACK, 0, RST, 77, 0),
            (FIN | ACK, 0, RST, 77, 0),
        ] {
            let reset = reset(&segment(flags, 1000, 77, data)).unwrap();
            let view = Ipv4::parse(&reset).unwrap();
            assert_eq!(view.source().octets(), [198, 51, 100, 7]);
            assert_eq!(view.destination().octets(), [192, 0, 2, 9]);
            let tcp = view.payload();
            assert_eq!((u16_at(tcp, 0), u16_at(tcp, 2)), (Some(80), Some(4000)));
            assert_eq!(tcp[13], expected_flags, "flags {flags:#x}");
            assert_eq!(
                (u32_at(tcp, 4), u32_at(tcp, 8)),
                (Some(sequence), Some(acknowledgment)),
                "flags {flags:#x}"
            );
            let pseudo = Sum::pseudo_v4(view.source(), view.destination(), 6, 20);
            assert!(Sum::of(view.header()).is_right() && pseudo.plus(Sum::of(tcp)).is_right());
        }
    }

    #[test]
    fn rfc9293_3_10_7_1_the_sequence_wraps() {
        let reset = reset(&segment(SYN, u32::MAX, 0, 0)).unwrap();
        assert_eq!(u32_at(&reset, 28), Some(0));
    }

    #[test]
    fn rfc9293_3_10_7_1_a_reset_is_never_answered_nor_what_is_no_segment() {
        assert!(reset(&segment(RST, 1, 1, 0)).is_none());
        assert!(reset(&segment(RST | ACK, 1, 1, 0)).is_none());
        let mut broadcast = segment(SYN, 1, 1, 0);
        broadcast[16..20].fill(0xff);
        assert!(reset(&broadcast).is_none());
        let mut fragment = segment(SYN, 1, 1, 0);
        fragment[6] = 0x20;
        assert!(reset(&fragment).is_none());
        let mut udp = segment(SYN, 1, 1, 0);
        udp[9] = 17;
        assert!(reset(&udp).is_none());
    }

    #[test]
    fn a_cut_or_damaged_segment_is_harmless() {
        let mut whole = segment(SYN, 1, 1, 0);
        for len in 0..44 {
            let mut cut = whole[..len].to_vec();
            assert!(reset(&cut).is_none());
            set_u16(&mut cut, 2, len as u16);
            assert!(reset(&cut).is_none(), "{len} octets");
        }
        for bit in 0..whole.len() * 8 {
            whole[bit / 8] ^= 1 << (bit % 8);
            reset(&whole);
            whole[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn a_reset_that_does_not_fit_in_its_buffer_is_not_written() {
        for room in [RESET - 1, RESET] {
            let mut out = Frame::with_capacity(crate::frame::HEADROOM + room);
            assert_eq!(write_reset(&segment(SYN, 1, 1, 0), &mut out), room == RESET);
        }
    }
}
