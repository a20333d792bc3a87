//! An IPv6 packet, looked at once: lengths checked against the buffer, the headers on the way to the transport skipped, the
//! fields that the packet path needs taken out.
//!
//! Nothing after this parses again. What it lets through has a whole header and a payload within the buffer, no routing
//! header of type 0, no jumbo payload, and (unless it is a later fragment) every header up to the transport's whole in it
//! (RFC 7112 §5).

use core::net::Ipv6Addr;

use crate::forward::ipv6::key::Key6;
use crate::forward::key::Realm;
use crate::forward::parse::{ACK, Carries, FIN, RST, SYN, transport};
use crate::frame::Frame;
use crate::ledger::DropReason;
use crate::wire::ipv6::{
    AH, DESTINATION_OPTIONS, FRAGMENT, HEADER, HOP_BY_HOP, ICMPV6, NO_NEXT_HEADER, ROUTING, TCP, UDP,
    address_at,
};
use crate::wire::octets::{set_u8, set_u16, u8_at, u16_at, u32_at};

/// Next header: Stream Control Transmission Protocol (RFC 9260).
pub(crate) const SCTP: u8 = 132;
/// Next header: Datagram Congestion Control Protocol (RFC 4340).
pub(crate) const DCCP: u8 = 33;
/// Next header: UDP-Lite (RFC 3828).
pub(crate) const UDP_LITE: u8 = 136;

/// ICMPv6 echo request and reply (RFC 4443 §4).
pub(crate) const ECHO_REQUEST: u8 = 128;
pub(crate) const ECHO_REPLY: u8 = 129;

/// Most extension headers in a packet: each kind once and destination options twice (RFC 8200 §4.1).
const MAX_EXTENSIONS: usize = 8;

/// A fragment header (RFC 8200 §4.5).
#[derive(Debug, Clone, Copy)]
pub(crate) struct FragmentHeader {
    /// Where it is in the packet.
    pub at: usize,
    /// What the fragmented part begins with.
    pub next: u8,
    /// Where the fragment lies in the fragmented part, in octets.
    pub offset: u16,
    /// It is not the last.
    pub more: bool,
    /// The identification.
    pub id: u32,
}

impl FragmentHeader {
    /// Octets of a fragment header.
    pub const LEN: usize = 8;
}

/// The headers between the IPv6 header and the transport's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chain {
    /// Where the transport header begins; in a later fragment, its part of the datagram.
    pub transport: usize,
    /// The number of the transport header; in a later fragment, of whatever the fragmented part begins with.
    pub protocol: u8,
    /// The fragment header.
    pub fragment: Option<FragmentHeader>,
}

impl Chain {
    /// Goes through the headers of `packet`, which has a whole IPv6 header and ends where its payload ends.
    #[inline(always)]
    pub fn of(packet: &[u8]) -> Result<Chain, DropReason> {
        match u8_at(packet, 6) {
            Some(protocol @ (TCP | UDP | ICMPV6)) => {
                Ok(Chain { transport: HEADER, protocol, fragment: None })
            }
            Some(first) => Chain::walk(packet, first),
            None => Err(DropReason::Ipv6Malformed),
        }
    }

    fn walk(packet: &[u8], first: u8) -> Result<Chain, DropReason> {
        let mut chain = Chain { transport: HEADER, protocol: first, fragment: None };
        for index in 0..MAX_EXTENSIONS {
            let at = chain.transport;
            // A first fragment that ends within the headers hides the transport from the filter (RFC 7112 §5).
            let short = match chain.fragment {
                Some(_) => DropReason::FragmentMalformed,
                None => DropReason::Ipv6Malformed,
            };
            let len = match chain.protocol {
                HOP_BY_HOP if index > 0 => return Err(DropReason::Ipv6Malformed),
                HOP_BY_HOP | DESTINATION_OPTIONS | ROUTING => {
                    if chain.protocol == ROUTING && u8_at(packet, at.saturating_add(2)).ok_or(short)? == 0 {
                        return Err(DropReason::RoutingHeader);
                    }
                    let units = u8_at(packet, at.saturating_add(1)).ok_or(short)?;
                    usize::from(units).saturating_add(1).saturating_mul(8)
                }
                FRAGMENT if chain.fragment.is_some() => return Err(DropReason::FragmentMalformed),
                FRAGMENT => FragmentHeader::LEN,
                _ => return Ok(chain),
            };
            let header =
                packet.get(at..).and_then(|rest| rest.get(..len)).filter(|header| !header.is_empty());
            let next = header.and_then(|header| u8_at(header, 0)).ok_or(short)?;
            if chain.protocol == FRAGMENT {
                let field = u16_at(packet, at.saturating_add(2)).unwrap_or(0);
                let id = u32_at(packet, at.saturating_add(4)).unwrap_or(0);
                let (offset, more) = (field & !7, field & 1 != 0);
                chain.fragment = Some(FragmentHeader { at, next, offset, more, id });
                if offset != 0 {
                    return Ok(Chain { transport: at.saturating_add(len), protocol: next, ..chain });
                }
            }
            chain.transport = at.saturating_add(len);
            chain.protocol = next;
        }
        Err(DropReason::Ipv6Malformed)
    }
}

/// What is known of an IPv6 packet at the front of a frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packet6 {
    /// Where its transport header begins; in a later fragment, its part of the datagram.
    pub transport: usize,
    /// Octets of the whole packet.
    pub total: usize,
    /// Hops that it may still make.
    pub hop_limit: u8,
    /// Set in a part of a datagram, and in one that is whole in a single fragment.
    pub fragment: Option<FragmentHeader>,
    /// What it carries.
    pub carries: Carries,
    /// The type of an ICMPv6 message; 0, which is none, for everything else.
    pub icmp: u8,
    /// The key of its flow. Ports are zero in a later fragment and in an ICMPv6 error.
    pub key: Key6,
}

impl Packet6 {
    /// Looks at the packet at the front of `bytes`, which came in by side `realm`.
    #[inline(always)]
    pub fn parse(bytes: &[u8], realm: Realm) -> Result<Packet6, DropReason> {
        let first = bytes.first_chunk::<HEADER>().ok_or(DropReason::Ipv6Malformed)?;
        let payload = usize::from(u16::from_be_bytes([first[4], first[5]]));
        let total = HEADER + payload;
        // A length of 0 in front of hop-by-hop options would be that of a jumbogram (RFC 2675), which no link here carries.
        if first[0] >> 4 != 6 || (payload == 0 && first[6] != NO_NEXT_HEADER) {
            return Err(DropReason::Ipv6Malformed);
        }
        let packet = bytes.get(..total).ok_or(DropReason::Ipv6Malformed)?;
        let Chain { transport: at, protocol, fragment } = Chain::of(packet)?;
        let payload = packet.get(at..).unwrap_or_default();
        let (carries, ports) = match fragment {
            Some(fragment) if fragment.offset != 0 => (Carries::LaterFragment, 0),
            _ => contents(payload, protocol, fragment.is_some_and(|fragment| fragment.more))?,
        };
        let has_type = protocol == ICMPV6 && carries != Carries::LaterFragment;
        Ok(Packet6 {
            transport: at,
            total,
            hop_limit: first[7],
            fragment,
            carries,
            icmp: u8_at(payload, 0).filter(|_| has_type).unwrap_or(0),
            key: Key6::new(realm, protocol, address_at(first, 8), address_at(first, 24), ports),
        })
    }

    /// True for a part of a datagram, the first one included; not for one that is whole in a single fragment (RFC 6946 §4).
    pub fn is_fragment(&self) -> bool {
        self.fragment.is_some_and(|fragment| fragment.more || fragment.offset != 0)
    }

    /// True for a TCP segment with SYN set.
    pub fn is_syn(&self) -> bool {
        matches!(self.carries, Carries::Tcp(flags) if flags & SYN != 0)
    }
}

/// What the transport header says, and the ports or what stands in their place.
#[inline(always)]
fn contents(payload: &[u8], protocol: u8, fragmented: bool) -> Result<(Carries, u32), DropReason> {
    match protocol {
        UDP => {
            // The checksum is not optional (RFC 8200 §8.1).
            if u16_at(payload, 6) == Some(0) {
                return Err(DropReason::TransportMalformed);
            }
            transport(payload, protocol, fragmented)
        }
        TCP => transport(payload, protocol, fragmented),
        _ => rarer(payload, protocol, fragmented),
    }
}

/// As [`contents`], for what is neither TCP nor UDP.
fn rarer(payload: &[u8], protocol: u8, fragmented: bool) -> Result<(Carries, u32), DropReason> {
    let short = if fragmented { DropReason::FragmentMalformed } else { DropReason::TransportMalformed };
    if fragmented && !payload.len().is_multiple_of(8) {
        return Err(DropReason::FragmentMalformed);
    }
    let ports = || u32_at(payload, 0).filter(|_| payload.len() >= 8).ok_or(short);
    Ok(match protocol {
        ICMPV6 => {
            let kind = u8_at(payload, 0).filter(|_| payload.len() >= 4).ok_or(short)?;
            let id = || u16_at(payload, 4).filter(|_| payload.len() >= 8).map(u32::from).ok_or(short);
            match kind {
                ECHO_REQUEST => (Carries::IcmpQuery, id()? << 16 | u32::from(ECHO_REQUEST)),
                ECHO_REPLY => (Carries::IcmpAnswer, u32::from(ECHO_REQUEST) << 16 | id()?),
                // Types below 128 are errors, known or not (RFC 4443 §2.1).
                0..=127 => (Carries::IcmpError, 0),
                _ => (Carries::IcmpOther, 0),
            }
        }
        UDP_LITE => (Carries::Udp, ports()?),
        // The first chunk tells what the packet does to the association (RFC 9260 §3.2).
        SCTP => {
            let flags = match u8_at(payload, 12).ok_or(short)? {
                1 => SYN,
                2 => SYN | ACK,
                6 => RST,
                7 | 8 => FIN | ACK,
                _ => ACK,
            };
            (Carries::Connection(flags), ports()?)
        }
        // Its type is in the ninth octet (RFC 4340 §5.1).
        DCCP => {
            let flags = match u8_at(payload, 8).filter(|_| payload.len() >= 12).ok_or(short)? >> 1 & 15 {
                0 => SYN,
                1 => SYN | ACK,
                6 => FIN | ACK,
                7 => RST,
                _ => ACK,
            };
            (Carries::Connection(flags), ports()?)
        }
        // Protected as a whole: what is inside is not looked at.
        AH => (Carries::Other, 0),
        _ => (Carries::Other, 0),
    })
}

/// Makes of a packet whose fragment header was taken out one that does not announce it: its chain goes on with `next`.
/// False when it announces none.
pub(crate) fn unfragment(packet: &mut [u8], next: u8) -> bool {
    let (mut field, mut at) = (6, HEADER);
    for _ in 0..MAX_EXTENSIONS {
        match u8_at(packet, field) {
            Some(FRAGMENT) => return set_u8(packet, field, next),
            Some(HOP_BY_HOP | DESTINATION_OPTIONS | ROUTING) => {
                let units = u8_at(packet, at.saturating_add(1)).unwrap_or(0);
                field = at;
                at = at.saturating_add(usize::from(units).saturating_add(1).saturating_mul(8));
            }
            _ => return false,
        }
    }
    false
}

/// Takes the fragment header out of a datagram that is whole in one fragment. False, and it is to be dropped, when that
/// cannot be.
pub(crate) fn take_out(frame: &mut Frame, fragment: FragmentHeader) -> bool {
    let before = frame.bytes_mut().get_mut(..fragment.at.saturating_add(FragmentHeader::LEN));
    let Some(before) = before else { return false };
    before.copy_within(..fragment.at, FragmentHeader::LEN);
    if !frame.pull(FragmentHeader::LEN) {
        return false;
    }
    let bytes = frame.bytes_mut();
    let len = u16::try_from(bytes.len().saturating_sub(HEADER)).unwrap_or(0);
    set_u16(bytes, 4, len) && unfragment(bytes, fragment.next)
}

/// True for an address that no packet bears on its way through (RFC 6092 REC-3, RFC 6890): unspecified, loopback, IPv4 in
/// IPv6, site-local, ORCHID. Documentation addresses are not among them: test networks are made of them.
pub(crate) fn is_bogon(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    let bits = address.to_bits();
    bits >> 32 == 0 || bits >> 32 == 0xffff || a & 0xffc0 == 0xfec0 || (a == 0x2001 && b & 0xfff0 == 0x0010)
}

/// True for an address that is unique to a site (RFC 4193 §3).
pub(crate) fn is_ula(address: Ipv6Addr) -> bool {
    address.to_bits() >> 121 == 0xfc >> 1
}

/// True for an address that is unique to a link (RFC 4291 §2.5.6).
pub(crate) fn is_link_local(address: Ipv6Addr) -> bool {
    address.to_bits() >> 118 == 0xfe80 >> 6
}
