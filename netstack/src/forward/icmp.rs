//! ICMP errors (RFC 792): writing them, and reading the packet that one quotes.
//!
//! [`Offender::of`] decides whether a packet may be answered with an error at all (RFC 1812 §4.3.2.7); an `Offender`
//! then writes one. In the other direction [`Embedded::parse`] finds addresses and ports in the quotation of an error
//! that passes, and [`Embedded::rewrite`] translates them and keeps all four checksums right (RFC 5508 §4).

use core::net::Ipv4Addr;

use crate::frame::Frame;
use crate::wire::checksum::{Delta, Sum};
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::octets::{set_u16, set_u32, u8_at, u16_at, u32_at};

/// Octets of the longest error that is sent (RFC 1812 §4.3.2.3).
pub const MAX_ERROR: usize = 576;

/// Octets of an ICMP header.
pub const HEADER: usize = 8;

/// Type of an echo reply.
pub const ECHO_REPLY: u8 = 0;
/// Type of "destination unreachable".
pub const UNREACHABLE: u8 = 3;
/// Type of an echo request.
pub const ECHO_REQUEST: u8 = 8;
/// Type of "time exceeded".
pub const TIME_EXCEEDED: u8 = 11;
/// Type of "parameter problem".
pub const PARAMETER_PROBLEM: u8 = 12;

/// Internetwork control (RFC 1812 §4.3.2.5).
const PRECEDENCE: u8 = 0xc0;
const TTL: u8 = 64;

/// True for the types that report an error and quote the packet it is about.
pub fn is_error(kind: u8) -> bool {
    matches!(kind, 3 | 4 | 5 | 11 | 12)
}

/// True for the types that ask or answer and carry an identifier.
pub fn is_query(kind: u8) -> bool {
    matches!(kind, 0 | 8 | 13..=18)
}

/// An error to tell a packet's sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IcmpError {
    /// No route leads to the destination's network (type 3 code 0).
    NetUnreachable,
    /// The destination does not answer on its own network (type 3 code 1).
    HostUnreachable,
    /// The destination does not speak the protocol (type 3 code 2).
    ProtocolUnreachable,
    /// Nothing listens on the port (type 3 code 3).
    PortUnreachable,
    /// Too large for the next hop, and not to be fragmented (type 3 code 4, RFC 1191 §4).
    FragmentationNeeded {
        /// Largest packet that the next hop takes, in octets.
        mtu: u16,
    },
    /// A filter forbids it (type 3 code 13).
    AdminProhibited,
    /// The time to live ran out on the way (type 11 code 0).
    TtlExceeded,
}

impl IcmpError {
    /// Type and code.
    pub fn type_and_code(self) -> [u8; 2] {
        match self {
            IcmpError::NetUnreachable => [UNREACHABLE, 0],
            IcmpError::HostUnreachable => [UNREACHABLE, 1],
            IcmpError::ProtocolUnreachable => [UNREACHABLE, 2],
            IcmpError::PortUnreachable => [UNREACHABLE, 3],
            IcmpError::FragmentationNeeded { .. } => [UNREACHABLE, 4],
            IcmpError::AdminProhibited => [UNREACHABLE, 13],
            IcmpError::TtlExceeded => [TIME_EXCEEDED, 0],
        }
    }
}

/// A packet that may be answered with an error.
#[derive(Debug, Clone, Copy)]
pub struct Offender<'a> {
    packet: Ipv4<'a>,
}

impl<'a> Offender<'a> {
    /// The packet that starts at `bytes`, unless RFC 1812 §4.3.2.7 forbids to answer it: malformed, an ICMP error or of
    /// an unknown ICMP type, a fragment other than the first, sent to a group or to all, or from an address that is no
    /// single host's. Packets to a LAN's directed broadcast address, and those of Ethernet broadcasts, only the caller
    /// can tell.
    pub fn of(bytes: &'a [u8]) -> Option<Self> {
        let packet = Ipv4::parse(bytes)?;
        let destination = packet.destination();
        if packet.fragment_offset() != 0
            || !is_host(packet.source())
            || destination.is_multicast()
            || destination.is_broadcast()
        {
            return None;
        }
        if packet.protocol() == ipv4::ICMP && !is_query(u8_at(packet.payload(), 0)?) {
            return None;
        }
        Some(Offender { packet })
    }

    /// Whom the error goes to.
    pub fn source(self) -> Ipv4Addr {
        self.packet.source()
    }

    /// Writes the error into `out`, from the IPv4 header on, as sent by the router's address `from`. It quotes as much of
    /// the packet as fits in [`MAX_ERROR`] octets. False, and no change, when `out` has no room for it.
    pub fn write(self, error: IcmpError, from: Ipv4Addr, out: &mut Frame) -> bool {
        let (header, payload) = (self.packet.header(), self.packet.payload());
        let room = MAX_ERROR.saturating_sub(ipv4::MIN_HEADER + HEADER + header.len());
        let payload = payload.get(..room).unwrap_or(payload);
        let len = ipv4::MIN_HEADER + HEADER + header.len() + payload.len();
        let Some(bytes) = out.put(len) else { return false };
        let Some((ip, icmp)) = bytes.split_at_mut_checked(ipv4::MIN_HEADER) else { return false };

        // A datagram that is never fragmented needs no identification of its own (RFC 6864 §4.1).
        ip.copy_from_slice(&[
            0x45,
            PRECEDENCE,
            0,
            0,
            0,
            0,
            0x40,
            0,
            TTL,
            ipv4::ICMP,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
        ]);
        set_u16(ip, 2, u16::try_from(len).unwrap_or(0));
        set_u32(ip, 12, from.to_bits());
        set_u32(ip, 16, self.source().to_bits());
        ipv4::write_header_checksum(ip, ipv4::MIN_HEADER);

        let mtu = match error {
            IcmpError::FragmentationNeeded { mtu } => mtu,
            _ => 0,
        };
        let [kind, code] = error.type_and_code();
        let [mtu_high, mtu_low] = mtu.to_be_bytes();
        let head = [kind, code, 0, 0, 0, 0, mtu_high, mtu_low];
        for (to, from) in icmp.iter_mut().zip(head.iter().chain(header).chain(payload)) {
            *to = *from;
        }
        let checksum = Sum::of(icmp).checksum();
        set_u16(icmp, 2, checksum)
    }
}

/// True for an address that one host may have: not of network 0, loopback, a group's, reserved or everyone's.
fn is_host(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    first != 0 && first != 127 && first < 224
}

/// What tells the flow of a quoted packet, besides its addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quoted {
    /// TCP or UDP.
    Ports {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
    },
    /// An ICMP query or its answer.
    Query {
        /// The type: [`ECHO_REQUEST`], [`ECHO_REPLY`] and so on.
        kind: u8,
        /// The identifier.
        id: u16,
    },
    /// Another protocol, or a fragment without a transport header.
    Nothing,
}

/// The packet that an ICMP error quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Embedded {
    /// Its protocol.
    pub protocol: u8,
    /// Its source: who sent the packet that met the error.
    pub source: Ipv4Addr,
    /// Its destination.
    pub destination: Ipv4Addr,
    /// Its ports or identifier.
    pub quoted: Quoted,
    /// Octets from the start of the ICMP message to the quoted transport header.
    pub transport: usize,
}

impl Embedded {
    /// Reads the quotation of the ICMP error at the start of `message` (which begins at the ICMP header). `None` when it is
    /// no error, or when the quotation is cut before the ports (RFC 792 has errors quote 8 octets of them).
    pub fn parse(message: &[u8]) -> Option<Self> {
        if !is_error(u8_at(message, 0)?) {
            return None;
        }
        let packet = Ipv4::parse_quoted(message.get(HEADER..)?)?;
        let payload = packet.payload();
        let quoted = match packet.protocol() {
            _ if packet.fragment_offset() != 0 => Quoted::Nothing,
            ipv4::TCP | ipv4::UDP => {
                let _ports_and_what_follows = payload.first_chunk::<8>()?;
                Quoted::Ports { source: u16_at(payload, 0)?, destination: u16_at(payload, 2)? }
            }
            // An error about an error is never sent, so it is not to be passed on either.
            ipv4::ICMP => {
                let kind = u8_at(payload, 0).filter(|&kind| is_query(kind))?;
                let _id_and_sequence = payload.first_chunk::<8>()?;
                Quoted::Query { kind, id: u16_at(payload, 4)? }
            }
            _ => Quoted::Nothing,
        };
        Some(Embedded {
            protocol: packet.protocol(),
            source: packet.source(),
            destination: packet.destination(),
            quoted,
            transport: HEADER + packet.header_len(),
        })
    }

    /// Writes the addresses and ports of `new` over those of `self` in the message that `self` was parsed from. The quoted
    /// header's checksum, the quoted transport checksum where it was quoted, and the message's own checksum follow.
    /// False, and no change, when `new.quoted` is of another kind.
    pub fn rewrite(&self, message: &mut [u8], new: &Embedded) -> bool {
        let addresses = Delta::of_address(self.source, new.source)
            .and(Delta::of_address(self.destination, new.destination));
        let above = match (self.quoted, new.quoted) {
            (
                Quoted::Ports { source, destination },
                Quoted::Ports { source: new_source, destination: new_destination },
            ) => Delta::of(source, new_source).and(Delta::of(destination, new_destination)),
            (Quoted::Query { id, .. }, Quoted::Query { id: new_id, .. }) => Delta::of(id, new_id),
            (Quoted::Nothing, Quoted::Nothing) => Delta::NONE,
            _ => return false,
        };
        let mut change = addresses.and(above);

        set_u32(message, HEADER + 12, new.source.to_bits());
        set_u32(message, HEADER + 16, new.destination.to_bits());
        change = change.and(update_at(message, HEADER + 10, |field| addresses.apply(field)));

        let at = self.transport;
        match new.quoted {
            Quoted::Ports { source, destination } => {
                set_u16(message, at, source);
                set_u16(message, at + 2, destination);
                let both = addresses.and(above);
                change = change.and(if self.protocol == ipv4::UDP {
                    update_at(message, at + 6, |field| both.apply_udp(field))
                } else {
                    update_at(message, at + 16, |field| both.apply(field))
                });
            }
            Quoted::Query { id, .. } => {
                set_u16(message, at + 4, id);
                change = change.and(update_at(message, at + 2, |field| above.apply(field)));
            }
            Quoted::Nothing => {}
        }
        update_at(message, 2, |field| change.apply(field));
        true
    }
}

/// Replaces the 16-bit field at `at`, if it is there, and says by how much the sum over it has changed.
fn update_at(message: &mut [u8], at: usize, new: impl FnOnce(u16) -> u16) -> Delta {
    let Some(old) = u16_at(message, at) else { return Delta::NONE };
    let new = new(old);
    set_u16(message, at, new);
    Delta::of(old, new)
}

/// The MTU that a "fragmentation needed" tells, from the start of the ICMP message. `None` for other messages and from
/// routers older than RFC 1191, which tell 0.
pub fn told_mtu(message: &[u8]) -> Option<u16> {
    let frag_needed = IcmpError::FragmentationNeeded { mtu: 0 }.type_and_code();
    let rest = u32_at(message, 4).filter(|_| message.starts_with(&frag_needed))?;
    Some((rest & 0xffff) as u16).filter(|&mtu| mtu != 0)
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    const ROUTER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
    const HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);
    const PEER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

    fn packet(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, flags: u16, payload: &[u8]) -> Vec<u8> {
        let len = (20 + payload.len()) as u16;
        let mut bytes = [0x45, 0, 0, 0, 0x12, 0x34, 0, 0, 64, protocol, 0, 0].to_vec();
        bytes.extend(source.octets());
        bytes.extend(destination.octets());
        set_u16(&mut bytes, 2, len);
        set_u16(&mut bytes, 6, flags);
        ipv4::write_header_checksum(&mut bytes, 20);
        bytes.extend(payload);
        bytes
    }

    fn udp(source: Ipv4Addr, ports: [u16; 2], destination: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
        let len = 8 + payload.len() as u16;
        let mut bytes: Vec<u8> = [ports[0], ports[1], len, 0].iter().flat_map(|n| n.to_be_bytes()).collect();
        bytes.extend(payload);
        let checksum = Sum::pseudo_v4(source, destination, 17, len).plus(Sum::of(&bytes)).udp_checksum();
        set_u16(&mut bytes, 6, checksum);
        packet(source, destination, ipv4::UDP, 0, &bytes)
    }

    fn error(offending: &[u8], error: IcmpError) -> Option<Vec<u8>> {
        let mut out = Frame::with_capacity(2048);
        Offender::of(offending)?.write(error, ROUTER, &mut out).then(|| out.bytes().to_vec())
    }

    #[test]
    fn rfc1812_4_3_2_3_an_error_quotes_what_fits_in_576_octets_and_its_checksums_are_right() {
        for len in [0, 8, 500, 519, 520, 521, 1400] {
            let offending = udp(HOST, [4000, 53], PEER, &alloc::vec![7; len]);
            let error = error(&offending, IcmpError::TtlExceeded).unwrap();
            assert_eq!(error.len(), (28 + offending.len()).min(576));
            assert_eq!(&error[28..], &offending[..error.len() - 28]);
            let view = Ipv4::parse(&error).unwrap();
            assert!(Sum::of(view.header()).is_right() && Sum::of(view.payload()).is_right());
            assert_eq!((view.source(), view.destination(), view.protocol()), (ROUTER, HOST, ipv4::ICMP));
            assert_eq!(&view.payload()[..2], &[11, 0]);
        }
    }

    #[test]
    fn ethernet_padding_is_not_quoted() {
        let mut offending = udp(HOST, [4000, 53], PEER, &[1]);
        let len = offending.len();
        offending.resize(46, 0xee);
        assert_eq!(error(&offending, IcmpError::PortUnreachable).unwrap().len(), 28 + len);
    }

    #[test]
    fn rfc1191_4_fragmentation_needed_tells_the_mtu() {
        let offending = udp(HOST, [4000, 53], PEER, &[0; 64]);
        let told = error(&offending, IcmpError::FragmentationNeeded { mtu: 1492 }).unwrap();
        assert_eq!(&told[20..22], &[3, 4]);
        assert_eq!(told_mtu(&told[20..]), Some(1492));
        assert_eq!(told_mtu(&error(&offending, IcmpError::AdminProhibited).unwrap()[20..]), None);
        assert_eq!(
            told_mtu(&error(&offending, IcmpError::FragmentationNeeded { mtu: 0 }).unwrap()[20..]),
            None
        );
    }

    #[test]
    fn every_error_has_its_type_and_code() {
        let offending = udp(HOST, [4000, 53], PEER, &[]);
        for (kind, expected) in [
            (IcmpError::NetUnreachable, [3, 0]),
            (IcmpError::HostUnreachable, [3, 1]),
            (IcmpError::ProtocolUnreachable, [3, 2]),
            (IcmpError::PortUnreachable, [3, 3]),
            (IcmpError::AdminProhibited, [3, 13]),
            (IcmpError::TtlExceeded, [11, 0]),
        ] {
            assert_eq!(error(&offending, kind).unwrap()[20..22], expected, "{kind:?}");
        }
    }

    #[test]
    fn rfc1812_4_3_2_7_no_error_where_none_may_be_sent() {
        let plain =
            |source: [u8; 4], destination: [u8; 4]| udp(source.into(), [1, 2], destination.into(), &[0; 8]);
        assert!(error(&plain([192, 0, 2, 9], [198, 51, 100, 7]), IcmpError::TtlExceeded).is_some());
        for source in [[0, 0, 0, 0], [0, 1, 2, 3], [127, 0, 0, 1], [224, 0, 0, 1], [240, 0, 0, 1], [255; 4]] {
            assert!(error(&plain(source, [198, 51, 100, 7]), IcmpError::TtlExceeded).is_none(), "{source:?}");
        }
        for destination in [[224, 0, 0, 251], [239, 1, 1, 1], [255; 4]] {
            assert!(
                error(&plain([192, 0, 2, 9], destination), IcmpError::TtlExceeded).is_none(),
                "{destination:?}"
            );
        }
        // A later fragment is not answered, the first one is.
        let fragment = |flags| packet(HOST, PEER, ipv4::UDP, flags, &[0; 16]);
        assert!(error(&fragment(ipv4::MORE_FRAGMENTS), IcmpError::TtlExceeded).is_some());
        assert!(error(&fragment(ipv4::MORE_FRAGMENTS | 1), IcmpError::TtlExceeded).is_none());
        assert!(error(&fragment(185), IcmpError::TtlExceeded).is_none());
        // ICMP: queries are answered, errors and what is unknown are not.
        for kind in 0..=255 {
            let message = packet(HOST, PEER, ipv4::ICMP, 0, &[kind, 0, 0, 0, 0, 1, 0, 1]);
            assert_eq!(error(&message, IcmpError::TtlExceeded).is_some(), is_query(kind), "type {kind}");
        }
        assert!(error(&packet(HOST, PEER, ipv4::ICMP, 0, &[]), IcmpError::TtlExceeded).is_none());
    }

    #[test]
    fn an_error_that_does_not_fit_in_its_buffer_is_not_written() {
        let offending = udp(HOST, [4000, 53], PEER, &[0; 30]);
        let need = 28 + offending.len();
        for room in [need - 1, need, need + 1] {
            let mut out = Frame::with_capacity(crate::frame::HEADROOM + room);
            assert_eq!(
                Offender::of(&offending).unwrap().write(IcmpError::TtlExceeded, ROUTER, &mut out),
                room >= need
            );
            assert_eq!(out.is_empty(), room < need);
        }
    }

    #[test]
    fn a_cut_or_damaged_packet_is_harmless() {
        let mut offending = udp(HOST, [4000, 53], PEER, &[0; 30]);
        for len in 0..offending.len() {
            assert!(error(&offending[..len], IcmpError::TtlExceeded).is_none());
        }
        for bit in 0..160 {
            offending[bit / 8] ^= 1 << (bit % 8);
            if let Some(error) = error(&offending, IcmpError::TtlExceeded) {
                assert!(error.len() <= MAX_ERROR);
            }
            offending[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn the_quoted_packet_is_found() {
        let message = error(&udp(HOST, [4000, 53], PEER, &[0; 30]), IcmpError::PortUnreachable).unwrap();
        let embedded = Embedded::parse(&message[20..]).unwrap();
        assert_eq!((embedded.source, embedded.destination, embedded.protocol), (HOST, PEER, ipv4::UDP));
        assert_eq!(embedded.quoted, Quoted::Ports { source: 4000, destination: 53 });
        assert_eq!(embedded.transport, 28);

        let echo = packet(HOST, PEER, ipv4::ICMP, 0, &[8, 0, 0, 0, 0xab, 0xcd, 0, 1]);
        let message = error(&echo, IcmpError::HostUnreachable).unwrap();
        let embedded = Embedded::parse(&message[20..]).unwrap();
        assert_eq!(embedded.quoted, Quoted::Query { kind: ECHO_REQUEST, id: 0xabcd });

        let gre = packet(HOST, PEER, 47, 0, &[0; 8]);
        let message = error(&gre, IcmpError::HostUnreachable).unwrap();
        assert_eq!(Embedded::parse(&message[20..]).unwrap().quoted, Quoted::Nothing);
    }

    #[test]
    fn rfc5508_req_4_a_quotation_is_cut_anywhere_without_harm() {
        let message = error(&udp(HOST, [4000, 53], PEER, &[0; 30]), IcmpError::PortUnreachable).unwrap();
        let message = &message[20..];
        for len in 0..message.len() {
            let mut cut = message[..len].to_vec();
            let embedded = Embedded::parse(&cut);
            assert_eq!(embedded.is_some(), len >= 8 + 20 + 8, "{len} octets");
            if let Some(old) = embedded {
                assert!(old.rewrite(&mut cut, &Embedded { source: ROUTER, ..old }));
            }
        }
        for bit in 0..message.len() * 8 {
            let mut flipped = message.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Some(old) = Embedded::parse(&flipped) {
                old.rewrite(&mut flipped, &Embedded { destination: ROUTER, ..old });
            }
        }
        // An error inside an error is none.
        let nested = packet(HOST, PEER, ipv4::ICMP, 0, message);
        let outer = [&[3, 1, 0, 0, 0, 0, 0, 0][..], &nested].concat();
        assert_eq!(Embedded::parse(&outer), None);
        let mut echo = message.to_vec();
        echo[0] = ECHO_REPLY;
        assert_eq!(Embedded::parse(&echo), None);
    }

    proptest! {
        /// RFC 5508 REQ-4, REQ-5: embedded headers rewritten inward and outward, checksums as if freshly computed.
        #[test]
        fn rfc5508_req_4_and_5_a_rewrite_equals_an_error_about_the_translated_packet(
            ports in any::<[u16; 2]>(), new_ports in any::<[u16; 2]>(),
            new_source in any::<[u8; 4]>(), new_destination in any::<[u8; 4]>(),
            payload in prop::collection::vec(any::<u8>(), 0..600),
        ) {
            let write = |offending: &[u8]| {
                let mut out = Frame::with_capacity(2048);
                let offender = Offender { packet: Ipv4::parse(offending).unwrap() };
                assert!(offender.write(IcmpError::PortUnreachable, ROUTER, &mut out));
                out.bytes()[20..].to_vec()
            };
            let mut message = write(&udp(HOST, ports, PEER, &payload));
            let old = Embedded::parse(&message).unwrap();
            let new = Embedded {
                source: new_source.into(),
                destination: new_destination.into(),
                quoted: Quoted::Ports { source: new_ports[0], destination: new_ports[1] },
                ..old
            };
            prop_assert!(old.rewrite(&mut message, &new));
            prop_assert!(Sum::of(&message).is_right());
            prop_assert_eq!(message, write(&udp(new.source, new_ports, new.destination, &payload)));
        }

        #[test]
        fn rfc5508_req_4_a_quoted_query_keeps_its_checksum_right(id in any::<u16>(), new_id in any::<u16>()) {
            let mut echo = [8, 0, 0, 0, 0, 0, 0, 9, 1, 2, 3].to_vec();
            set_u16(&mut echo, 4, id);
            let checksum = Sum::of(&echo).checksum();
            set_u16(&mut echo, 2, checksum);
            let mut message = error(&packet(HOST, PEER, ipv4::ICMP, 0, &echo), IcmpError::TtlExceeded).unwrap();
            let message = &mut message[20..];
            let old = Embedded::parse(message).unwrap();
            let new = Embedded { source: ROUTER, quoted: Quoted::Query { kind: 8, id: new_id }, ..old };
            prop_assert!(old.rewrite(message, &new));
            prop_assert_eq!(Embedded::parse(message), Some(new));
            prop_assert!(Sum::of(message).is_right());
            prop_assert!(Sum::of(&message[8..28]).is_right());
            prop_assert!(Sum::of(&message[28..]).is_right());
        }
    }
}
