//! The IPv4 header (RFC 791 §3.1).

use core::net::Ipv4Addr;

use super::checksum::Sum;
use super::octets::{set_u16, u8_at, u16_at, u32_at};

/// Octets of a header without options.
pub const MIN_HEADER: usize = 20;
/// Octets of the longest header.
pub const MAX_HEADER: usize = 60;
/// Protocol number of ICMP.
pub const ICMP: u8 = 1;
/// Protocol number of TCP.
pub const TCP: u8 = 6;
/// Protocol number of UDP.
pub const UDP: u8 = 17;
/// "Do not fragment" in the field of flags and offset.
pub const DONT_FRAGMENT: u16 = 0x4000;
/// "More fragments" in the field of flags and offset.
pub const MORE_FRAGMENTS: u16 = 0x2000;
/// The fragment offset, in units of 8 octets, in the field of flags and offset.
pub const OFFSET_MASK: u16 = 0x1fff;

/// A view of a packet whose header is whole.
#[derive(Debug, Clone, Copy)]
pub struct Ipv4<'a> {
    header: &'a [u8],
    after: &'a [u8],
}

impl<'a> Ipv4<'a> {
    /// A view of a packet at the start of `bytes`. `None` unless its version is 4, its header is whole, its total length
    /// covers the header and lies within `bytes`. The header's checksum is not looked at.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let total = usize::from(u16_at(bytes, 2)?);
        let packet = Ipv4::parse_quoted(bytes.get(..total)?)?;
        (packet.total_len() >= packet.header_len()).then_some(packet)
    }

    /// A view of a packet of which perhaps only the beginning is there, as in an ICMP error: only the header must be
    /// whole.
    pub fn parse_quoted(bytes: &'a [u8]) -> Option<Self> {
        let first = u8_at(bytes, 0)?;
        let len = usize::from(first & 0x0f) * 4;
        if first >> 4 != 4 || len < MIN_HEADER {
            return None;
        }
        let (header, after) = bytes.split_at_checked(len)?;
        Some(Ipv4 { header, after })
    }

    /// The header, options included.
    pub fn header(self) -> &'a [u8] {
        self.header
    }

    /// What follows the header.
    pub fn payload(self) -> &'a [u8] {
        self.after
    }

    /// Octets of the header.
    pub fn header_len(self) -> usize {
        self.header.len()
    }

    /// Octets of the whole packet, by its own account.
    pub fn total_len(self) -> usize {
        usize::from(self.u16_at(2))
    }

    /// The identification.
    pub fn id(self) -> u16 {
        self.u16_at(4)
    }

    /// The flags and the fragment offset.
    pub fn flags_and_offset(self) -> u16 {
        self.u16_at(6)
    }

    /// The packet may not be fragmented.
    pub fn dont_fragment(self) -> bool {
        self.flags_and_offset() & DONT_FRAGMENT != 0
    }

    /// More fragments follow this one.
    pub fn more_fragments(self) -> bool {
        self.flags_and_offset() & MORE_FRAGMENTS != 0
    }

    /// Where this fragment's payload lies in that of the datagram, in octets.
    pub fn fragment_offset(self) -> usize {
        usize::from(self.flags_and_offset() & OFFSET_MASK) * 8
    }

    /// True for a packet that is only a part of a datagram.
    pub fn is_fragment(self) -> bool {
        self.flags_and_offset() & (OFFSET_MASK | MORE_FRAGMENTS) != 0
    }

    /// The protocol above.
    pub fn protocol(self) -> u8 {
        u8_at(self.header, 9).unwrap_or(0)
    }

    /// The source address.
    pub fn source(self) -> Ipv4Addr {
        u32_at(self.header, 12).unwrap_or(0).into()
    }

    /// The destination address.
    pub fn destination(self) -> Ipv4Addr {
        u32_at(self.header, 16).unwrap_or(0).into()
    }

    fn u16_at(self, at: usize) -> u16 {
        u16_at(self.header, at).unwrap_or(0)
    }
}

/// What an IPv4 header says of a packet of the router's own, without options, that may be cut on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The source address.
    pub source: Ipv4Addr,
    /// The destination address.
    pub destination: Ipv4Addr,
    /// The protocol of the payload.
    pub protocol: u8,
    /// Hops that it may make.
    pub hops: u8,
    /// Tells its fragments from those of others (RFC 6864 §4.2).
    pub identification: u16,
}

impl Header {
    /// The header's octets, for a packet of `total` octets, the header included.
    pub fn to_bytes(self, total: u16) -> [u8; MIN_HEADER] {
        let mut bytes = [0; MIN_HEADER];
        let fields = [0x45, 0]
            .into_iter()
            .chain(total.to_be_bytes())
            .chain(self.identification.to_be_bytes())
            .chain([0, 0, self.hops, self.protocol, 0, 0])
            .chain(self.source.octets())
            .chain(self.destination.octets());
        for (to, from) in bytes.iter_mut().zip(fields) {
            *to = from;
        }
        write_header_checksum(&mut bytes, MIN_HEADER);
        bytes
    }
}

/// Computes the checksum of the header of `len` octets at the start of `packet` and writes it. False, and no change, when
/// the packet is shorter.
pub fn write_header_checksum(packet: &mut [u8], len: usize) -> bool {
    let Some(header) = packet.get_mut(..len) else { return false };
    if len < MIN_HEADER {
        return false;
    }
    set_u16(header, 10, 0);
    let checksum = Sum::of(header).checksum();
    set_u16(header, 10, checksum)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 791 appendix A, example 1, with addresses.
    const PACKET: [u8; 21] =
        [0x45, 0, 0, 21, 0, 111, 0x60, 3, 123, 1, 0, 0, 192, 0, 2, 1, 198, 51, 100, 7, 42];

    #[test]
    fn the_fields_are_where_rfc_791_puts_them() {
        let packet = Ipv4::parse(&PACKET).unwrap();
        assert_eq!(packet.id(), 111);
        assert!(packet.dont_fragment() && packet.more_fragments() && packet.is_fragment());
        assert_eq!(packet.fragment_offset(), 24);
        assert_eq!(packet.protocol(), ICMP);
        assert_eq!(packet.source(), Ipv4Addr::new(192, 0, 2, 1));
        assert_eq!(packet.destination(), Ipv4Addr::new(198, 51, 100, 7));
        assert_eq!((packet.header_len(), packet.total_len(), packet.payload()), (20, 21, &[42][..]));
    }

    #[test]
    fn a_cut_or_contradictory_header_is_no_packet() {
        for len in 0..PACKET.len() {
            assert!(Ipv4::parse(&PACKET[..len]).is_none(), "{len} octets");
        }
        for bit in 0..PACKET.len() * 8 {
            let mut bytes = PACKET;
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Some(packet) = Ipv4::parse(&bytes) {
                assert!(packet.header_len() >= MIN_HEADER && packet.header_len() <= packet.total_len());
                assert_eq!(packet.total_len(), packet.header_len() + packet.payload().len());
            }
        }
    }

    #[test]
    fn padding_after_the_packet_is_not_payload() {
        let padded = [&PACKET[..], &[0; 25]].concat();
        assert_eq!(Ipv4::parse(&padded).unwrap().payload(), &[42]);
    }

    #[test]
    fn the_written_checksum_is_right() {
        let mut bytes = PACKET;
        assert!(write_header_checksum(&mut bytes, 20));
        assert!(Sum::of(&bytes[..20]).is_right());
        assert!(!write_header_checksum(&mut bytes, 22));
        assert!(!write_header_checksum(&mut bytes, 0));
    }
}
