//! The IPv6 header (RFC 8200 §3), and UDP and ICMPv6 right behind it.

use core::net::Ipv6Addr;

use super::checksum::Sum;
use super::octets::{set_u16, u8_at, u16_at};
use crate::frame::Frame;

/// Octets of the header.
pub const HEADER: usize = 40;
/// Octets of a UDP header.
const UDP_HEADER: usize = 8;
/// Largest packet that every link carries whole, in octets (RFC 8200 §5).
pub const MIN_MTU: u16 = 1280;

/// Next header: options for every node on the way.
pub const HOP_BY_HOP: u8 = 0;
/// Next header: TCP.
pub const TCP: u8 = 6;
/// Next header: UDP.
pub const UDP: u8 = 17;
/// Next header: routing.
pub const ROUTING: u8 = 43;
/// Next header: fragment.
pub const FRAGMENT: u8 = 44;
/// Next header: Encapsulating Security Payload.
pub const ESP: u8 = 50;
/// Next header: Authentication Header.
pub const AH: u8 = 51;
/// Next header: ICMPv6.
pub const ICMPV6: u8 = 58;
/// Next header: none.
pub const NO_NEXT_HEADER: u8 = 59;
/// Next header: options for the destination.
pub const DESTINATION_OPTIONS: u8 = 60;

/// All nodes on the link.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// All routers on the link.
pub const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// All DHCPv6 servers and relay agents on the link (RFC 8415 §7.1).
pub const ALL_DHCP_SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);

/// A view of a packet whose header is whole.
#[derive(Debug, Clone, Copy)]
pub struct Ipv6<'a> {
    header: &'a [u8; HEADER],
    payload: &'a [u8],
}

impl<'a> Ipv6<'a> {
    /// A view of a packet at the start of `bytes`. `None` unless its version is 6 and its payload lies within `bytes`;
    /// what follows the payload is padding.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let packet = Ipv6::parse_quoted(bytes)?;
        let payload = packet.payload.get(..packet.payload_len())?;
        Some(Ipv6 { payload, ..packet })
    }

    /// A view of a packet of which perhaps only the beginning is there, as in an ICMPv6 error: only the header must be
    /// whole.
    pub fn parse_quoted(bytes: &'a [u8]) -> Option<Self> {
        let (header, payload) = bytes.split_first_chunk::<HEADER>()?;
        let [first, ..] = header;
        (first >> 4 == 6).then_some(Ipv6 { header, payload })
    }

    /// What follows the header.
    pub fn payload(self) -> &'a [u8] {
        self.payload
    }

    /// Octets of the payload, by the header's own account.
    pub fn payload_len(self) -> usize {
        usize::from(u16_at(self.header, 4).unwrap_or(0))
    }

    /// The number of the header behind this one.
    pub fn next_header(self) -> u8 {
        self.header[6]
    }

    /// Hops that it may still make.
    pub fn hop_limit(self) -> u8 {
        self.header[7]
    }

    /// The source address.
    pub fn source(self) -> Ipv6Addr {
        address_at(self.header, 8)
    }

    /// The destination address.
    pub fn destination(self) -> Ipv6Addr {
        address_at(self.header, 24)
    }

    /// The datagram right behind the header: its ports and what it says. `None` when another header is there, or lengths
    /// or checksum are wrong.
    pub fn udp(self) -> Option<Udp<'a>> {
        if self.next_header() != UDP {
            return None;
        }
        let len = u16_at(self.payload, 4)?;
        let datagram = self.payload.get(..usize::from(len))?;
        let payload = datagram.get(UDP_HEADER..)?;
        let pseudo = Sum::pseudo_v6(self.source(), self.destination(), UDP, u32::from(len));
        // UDP over IPv6 has a checksum always (RFC 8200 §8.1).
        let is_right = u16_at(datagram, 6)? != 0 && pseudo.plus(Sum::of(datagram)).is_right();
        is_right.then_some(Udp {
            source_port: u16_at(datagram, 0)?,
            destination_port: u16_at(datagram, 2)?,
            payload,
        })
    }

    /// The ICMPv6 message right behind the header, from its type on. `None` when another header is there or the checksum is
    /// wrong.
    pub fn icmp(self) -> Option<&'a [u8]> {
        self.icmp_after(self.next_header(), self.payload)
    }

    /// As [`Ipv6::icmp`], behind one hop-by-hop header, as MLD has it (RFC 3810 §5).
    pub fn icmp_after_hop_by_hop(self) -> Option<&'a [u8]> {
        if self.next_header() != HOP_BY_HOP {
            return None;
        }
        let len = usize::from(u8_at(self.payload, 1)?).saturating_add(1).saturating_mul(8);
        self.icmp_after(u8_at(self.payload, 0)?, self.payload.get(len..)?)
    }

    fn icmp_after(self, next_header: u8, message: &'a [u8]) -> Option<&'a [u8]> {
        let len = u32::try_from(message.len()).ok()?;
        let pseudo = Sum::pseudo_v6(self.source(), self.destination(), ICMPV6, len);
        (next_header == ICMPV6 && pseudo.plus(Sum::of(message)).is_right()).then_some(message)
    }
}

/// A UDP datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Udp<'a> {
    /// The sender's port.
    pub source_port: u16,
    /// The receiver's port.
    pub destination_port: u16,
    /// What it says.
    pub payload: &'a [u8],
}

/// What an IPv6 header says of a packet of the router's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The source address.
    pub source: Ipv6Addr,
    /// The destination address.
    pub destination: Ipv6Addr,
    /// Hops that it may make.
    pub hop_limit: u8,
}

impl Header {
    /// The header's octets, for a payload of `len` octets.
    pub fn to_bytes(self, next_header: u8, len: u16) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        let fields = [0x60, 0, 0, 0]
            .into_iter()
            .chain(len.to_be_bytes())
            .chain([next_header, self.hop_limit])
            .chain(self.source.octets())
            .chain(self.destination.octets());
        for (to, from) in bytes.iter_mut().zip(fields) {
            *to = from;
        }
        bytes
    }

    /// Writes a packet with a UDP datagram behind what `frame` holds. False, and no change, when it does not fit.
    pub fn write_udp(
        self,
        source_port: u16,
        destination_port: u16,
        payload: &[u8],
        frame: &mut Frame,
    ) -> bool {
        let Some(len) = payload.len().checked_add(UDP_HEADER).and_then(|len| u16::try_from(len).ok()) else {
            return false;
        };
        let [s0, s1] = source_port.to_be_bytes();
        let [d0, d1] = destination_port.to_be_bytes();
        let [l0, l1] = len.to_be_bytes();
        let mut udp = [s0, s1, d0, d1, l0, l1, 0, 0];
        let checksum = Sum::pseudo_v6(self.source, self.destination, UDP, u32::from(len))
            .plus(Sum::of(&udp))
            .plus(Sum::of(payload))
            .udp_checksum();
        set_u16(&mut udp, 6, checksum);
        self.write(UDP, &[&udp, payload], frame)
    }

    /// Writes a packet with an ICMPv6 message (from its type on; its checksum field is filled in) behind what `frame`
    /// holds. False, and no change, when it does not fit.
    pub fn write_icmp(self, message: &[u8], frame: &mut Frame) -> bool {
        let Some((front, rest)) = message.split_first_chunk::<4>() else { return false };
        let Ok(len) = u32::try_from(message.len()) else { return false };
        let &[kind, code, ..] = front;
        let mut front = [kind, code, 0, 0];
        let checksum = Sum::pseudo_v6(self.source, self.destination, ICMPV6, len)
            .plus(Sum::of(&front))
            .plus(Sum::of(rest))
            .checksum();
        set_u16(&mut front, 2, checksum);
        self.write(ICMPV6, &[&front, rest], frame)
    }

    /// Writes a packet with `parts` one after the other for its payload, which begins with a header of number
    /// `next_header`, behind what `frame` holds. False, and no change, when it does not fit.
    pub fn write(self, next_header: u8, parts: &[&[u8]], frame: &mut Frame) -> bool {
        let len = parts.iter().fold(0usize, |len, part| len.saturating_add(part.len()));
        let Ok(len) = u16::try_from(len) else { return false };
        if frame.tailroom() < HEADER.saturating_add(usize::from(len)) {
            return false;
        }
        frame.extend(&self.to_bytes(next_header, len)) && parts.iter().all(|part| frame.extend(part))
    }
}

/// The address in the 16 octets at `at`; unspecified when they are not there.
pub fn address_at(bytes: &[u8], at: usize) -> Ipv6Addr {
    let octets = bytes.get(at..).and_then(<[u8]>::first_chunk::<16>);
    octets.map_or(Ipv6Addr::UNSPECIFIED, |octets| Ipv6Addr::from(*octets))
}

/// The interface identifier of a station (RFC 4291 appendix A): modified EUI-64.
pub fn interface_id(mac: crate::id::Mac) -> [u8; 8] {
    let [a, b, c, d, e, f] = mac.0;
    [a ^ 2, b, c, 0xff, 0xfe, d, e, f]
}

/// The link-local address with an interface identifier (RFC 4291 §2.5.6).
pub fn link_local(interface_id: [u8; 8]) -> Ipv6Addr {
    Ipv6Addr::from_bits(0xfe80 << 112 | u128::from(u64::from_be_bytes(interface_id)))
}

/// The group on which a station is asked for `address` (RFC 4291 §2.7.1).
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    const PREFIX: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0);
    Ipv6Addr::from_bits(PREFIX.to_bits() | address.to_bits() & 0xff_ffff)
}

/// The Ethernet address of an IPv6 group (RFC 2464 §7).
pub fn group_mac(group: Ipv6Addr) -> crate::id::Mac {
    let [.., a, b, c, d] = group.octets();
    crate::id::Mac([0x33, 0x33, a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Mac;

    const US: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    const HEAD: Header = Header { source: US, destination: ALL_NODES, hop_limit: 255 };

    fn written(write: impl Fn(&mut Frame) -> bool) -> Frame {
        let mut frame = Frame::with_capacity(2048);
        assert!(write(&mut frame));
        frame
    }

    #[test]
    fn what_is_written_is_read_again() {
        let frame = written(|frame| HEAD.write_udp(546, 547, b"solicit", frame));
        let packet = Ipv6::parse(frame.bytes()).unwrap();
        assert_eq!((packet.source(), packet.destination(), packet.hop_limit()), (US, ALL_NODES, 255));
        let udp = packet.udp().unwrap();
        assert_eq!((udp.source_port, udp.destination_port, udp.payload), (546, 547, &b"solicit"[..]));
        assert_eq!(packet.icmp(), None);

        let frame = written(|frame| HEAD.write_icmp(&[133, 0, 9, 9, 0, 0, 0, 0], frame));
        let packet = Ipv6::parse(frame.bytes()).unwrap();
        assert_eq!(packet.icmp().map(|message| message[0]), Some(133));
        assert!(packet.udp().is_none());
    }

    #[test]
    fn a_changed_or_cut_packet_is_found_out() {
        let whole = written(|frame| HEAD.write_udp(546, 547, b"solicit", frame)).bytes().to_vec();
        for len in 0..whole.len() {
            assert!(Ipv6::parse(&whole[..len]).is_none(), "{len} octets");
        }
        for at in 8..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x10;
            assert!(Ipv6::parse(&changed).unwrap().udp().is_none(), "octet {at}");
        }
        let padded = [whole.as_slice(), &[0; 9]].concat();
        assert_eq!(Ipv6::parse(&padded).unwrap().udp().unwrap().payload, b"solicit");
    }

    #[test]
    fn what_does_not_fit_is_not_written() {
        for room in [54, 55, 56] {
            let mut frame = Frame::with_capacity(crate::frame::HEADROOM + room);
            assert_eq!(HEAD.write_udp(546, 547, b"solicit", &mut frame), room >= 55);
            assert_eq!(frame.is_empty(), room < 55);
        }
    }

    #[test]
    fn rfc4291_addresses_of_a_station_and_a_group() {
        let mac = Mac([0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde]);
        assert_eq!(link_local(interface_id(mac)), "fe80::3656:78ff:fe9a:bcde".parse::<Ipv6Addr>().unwrap());
        let address = "4037::1:800:200e:8c6c".parse().unwrap();
        assert_eq!(solicited_node(address), "ff02::1:ff0e:8c6c".parse::<Ipv6Addr>().unwrap());
        assert_eq!(group_mac(solicited_node(address)), Mac([0x33, 0x33, 0xff, 0x0e, 0x8c, 0x6c]));
    }
}
