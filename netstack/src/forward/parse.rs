//! An IPv4 packet, looked at once: lengths checked against the buffer, the fields that the packet path needs taken out.
//!
//! Nothing after this parses again. What it lets through has a whole IPv4 header with the right checksum, a total length
//! within the buffer, no source route, and (unless it is a later fragment) a whole transport header.

use crate::forward::key::{Key, Realm};
use crate::ledger::DropReason;
use crate::wire::checksum::Sum;
use crate::wire::ipv4::{DONT_FRAGMENT, ICMP, MIN_HEADER, MORE_FRAGMENTS, OFFSET_MASK, TCP, UDP};

/// FIN of a TCP header.
pub(crate) const FIN: u8 = 0x01;
/// SYN of a TCP header.
pub(crate) const SYN: u8 = 0x02;
/// RST of a TCP header.
pub(crate) const RST: u8 = 0x04;
/// ACK of a TCP header.
pub(crate) const ACK: u8 = 0x10;

/// What a packet carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carries {
    /// TCP, with the flags of its header.
    Tcp(u8),
    /// UDP.
    Udp,
    /// A connection of another protocol than TCP: what the packet does to it, in the flags that TCP has for that.
    Connection(u8),
    /// An ICMP query.
    IcmpQuery,
    /// The answer to an ICMP query.
    IcmpAnswer,
    /// An ICMP error about a packet that it quotes.
    IcmpError,
    /// ICMP that is none of those.
    IcmpOther,
    /// A protocol without ports.
    Other,
    /// A later fragment: its transport header is in another packet.
    LaterFragment,
}

/// What is known of an IPv4 packet at the front of a frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packet {
    /// Octets of the IPv4 header.
    pub header: usize,
    /// Octets of the whole packet.
    pub total: usize,
    /// Hops that it may still make.
    pub ttl: u8,
    /// Flags and fragment offset, as they stand in the header.
    pub flags: u16,
    /// What it carries.
    pub carries: Carries,
    /// The key of its flow. Ports are zero in a later fragment and in an ICMP error.
    pub key: Key,
}

impl Packet {
    /// Looks at the packet at the front of `bytes`, which came in by side `realm`.
    #[inline(always)]
    pub fn parse(bytes: &[u8], realm: Realm) -> Result<Packet, DropReason> {
        let first = bytes.first_chunk::<MIN_HEADER>().ok_or(DropReason::Ipv4Malformed)?;
        let header = usize::from(first[0] & 0x0f) << 2;
        let total = usize::from(u16::from_be_bytes([first[2], first[3]]));
        if first[0] >> 4 != 4 || header < MIN_HEADER || total < header || total > bytes.len() {
            return Err(DropReason::Ipv4Malformed);
        }
        if header == MIN_HEADER {
            if !is_right(first) {
                return Err(DropReason::Ipv4Checksum);
            }
        } else {
            let whole = bytes.get(..header).ok_or(DropReason::Ipv4Malformed)?;
            if !Sum::of(whole).is_right() {
                return Err(DropReason::Ipv4Checksum);
            }
            check_options(whole.get(MIN_HEADER..).unwrap_or_default())?;
        }
        let flags = u16::from_be_bytes([first[6], first[7]]);
        let [.., a, b, c, d, e, f, g, h] = *first;
        let addresses = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        let protocol = first[9];
        let payload = bytes.get(header..total).unwrap_or_default();
        let (carries, ports) = if flags & OFFSET_MASK == 0 {
            transport(payload, protocol, flags & MORE_FRAGMENTS != 0)?
        } else {
            later_fragment(payload.len(), flags)?;
            (Carries::LaterFragment, 0)
        };
        Ok(Packet {
            header,
            total,
            ttl: first[8],
            flags,
            carries,
            key: Key::new(realm, protocol, addresses, ports),
        })
    }

    /// As [`Packet::parse`], for what nearly all packets are: UDP, or TCP that neither begins nor ends anything, in a header
    /// without options, not a fragment, with hops left. `None` for any other, be it right or wrong.
    #[inline(always)]
    pub fn parse_usual(bytes: &[u8], realm: Realm) -> Option<Packet> {
        let first = bytes.first_chunk::<MIN_HEADER>()?;
        let total = usize::from(u16::from_be_bytes([first[2], first[3]]));
        let flags = u16::from_be_bytes([first[6], first[7]]);
        let (ttl, protocol) = (first[8], first[9]);
        if first[0] != 0x45 || flags & (OFFSET_MASK | MORE_FRAGMENTS) != 0 || ttl <= 1 || !is_right(first) {
            return None;
        }
        let payload = bytes.get(MIN_HEADER..total)?;
        let &[p0, p1, p2, p3, l0, l1, ..] = payload.first_chunk::<8>()?;
        let carries = if protocol == TCP {
            let tcp = payload.first_chunk::<20>()?;
            let header = usize::from(tcp[12] >> 4) << 2;
            if tcp[13] & (SYN | FIN | RST) != 0 || header < 20 || header > payload.len() {
                return None;
            }
            Carries::Tcp(tcp[13])
        } else {
            let len = usize::from(u16::from_be_bytes([l0, l1]));
            if protocol != UDP || len < 8 || len > payload.len() {
                return None;
            }
            Carries::Udp
        };
        let [.., a, b, c, d, e, f, g, h] = *first;
        let addresses = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        let key = Key::new(realm, protocol, addresses, u32::from_be_bytes([p0, p1, p2, p3]));
        Some(Packet { header: MIN_HEADER, total, ttl, flags, carries, key })
    }

    /// True for a part of a datagram, the first one included.
    pub fn is_fragment(&self) -> bool {
        self.flags & (OFFSET_MASK | MORE_FRAGMENTS) != 0
    }

    /// True when the sender forbids fragmentation.
    pub fn dont_fragment(&self) -> bool {
        self.flags & DONT_FRAGMENT != 0
    }

    /// True for a TCP segment with SYN set.
    pub fn is_syn(&self) -> bool {
        matches!(self.carries, Carries::Tcp(flags) if flags & SYN != 0)
    }
}

/// True when the checksum of a header without options is right: [`Sum::of`] for the length that nearly all have.
#[inline(always)]
fn is_right(header: &[u8; MIN_HEADER]) -> bool {
    let (words, _) = header.as_chunks::<4>();
    let sum: u64 = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
    // Adding the carries back in does not change the remainder, and the sum is not 0: the version is 4.
    sum.is_multiple_of(0xffff)
}

/// A fragment after the first: whole units of 8 octets unless it is the last, and within 65,535 octets (RFC 791 §3.2).
fn later_fragment(len: usize, flags: u16) -> Result<(), DropReason> {
    let start = usize::from(flags & OFFSET_MASK) << 3;
    let whole = flags & MORE_FRAGMENTS == 0 || len.is_multiple_of(8);
    if whole && len > 0 && start + len <= 65_535 { Ok(()) } else { Err(DropReason::FragmentMalformed) }
}

/// What the transport header says, and the ports or what stands in their place.
#[inline(always)]
pub(super) fn transport(
    payload: &[u8],
    protocol: u8,
    fragmented: bool,
) -> Result<(Carries, u32), DropReason> {
    // A first fragment too small for its transport header hides it from the filter (RFC 1858).
    let short = if fragmented { DropReason::FragmentMalformed } else { DropReason::TransportMalformed };
    if fragmented && !payload.len().is_multiple_of(8) {
        return Err(DropReason::FragmentMalformed);
    }
    match protocol {
        TCP => {
            let first = payload.first_chunk::<20>().ok_or(short)?;
            let header = usize::from(first[12] >> 4) << 2;
            if header < 20 || header > payload.len() {
                return Err(short);
            }
            let flags = first[13];
            if flags & SYN != 0 && flags & (FIN | RST) != 0 {
                return Err(DropReason::TransportMalformed);
            }
            Ok((Carries::Tcp(flags), u32::from_be_bytes([first[0], first[1], first[2], first[3]])))
        }
        UDP => {
            let first = payload.first_chunk::<8>().ok_or(short)?;
            let len = usize::from(u16::from_be_bytes([first[4], first[5]]));
            if len < 8 || (!fragmented && len > payload.len()) {
                return Err(DropReason::TransportMalformed);
            }
            Ok((Carries::Udp, u32::from_be_bytes([first[0], first[1], first[2], first[3]])))
        }
        ICMP => {
            let first = payload.first_chunk::<8>().ok_or(short)?;
            let id = u32::from(u16::from_be_bytes([first[4], first[5]]));
            Ok(match first[0] {
                // Echo, Timestamp, Information, Address Mask: queries with an identifier (RFC 5508 §2).
                query @ (8 | 13 | 15 | 17) => (Carries::IcmpQuery, id << 16 | u32::from(query)),
                0 => (Carries::IcmpAnswer, 8 << 16 | id),
                answer @ (14 | 16 | 18) => (Carries::IcmpAnswer, u32::from(answer - 1) << 16 | id),
                // Destination Unreachable, Time Exceeded, Parameter Problem (RFC 5508 §4).
                3 | 11 | 12 => (Carries::IcmpError, 0),
                _ => (Carries::IcmpOther, 0),
            })
        }
        _ => Ok((Carries::Other, 0)),
    }
}

/// IP options: each within the header; none that chooses the route (RFC 7126 §4.3, §4.4).
fn check_options(mut options: &[u8]) -> Result<(), DropReason> {
    while let Some((&kind, rest)) = options.split_first() {
        match kind {
            0 => break,
            1 => options = rest,
            131 | 137 => return Err(DropReason::SourceRoute),
            _ => {
                let len = rest.first().map_or(0, |&len| usize::from(len));
                if len < 2 {
                    return Err(DropReason::Ipv4Malformed);
                }
                options = options.get(len..).ok_or(DropReason::Ipv4Malformed)?;
            }
        }
    }
    Ok(())
}
