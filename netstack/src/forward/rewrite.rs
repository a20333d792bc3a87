//! Making a packet what it is on the other side: addresses, ports or identifier, hops, and the checksums over them.

use crate::forward::flow::Translation;
use crate::forward::parse::{Carries, Packet};
use crate::frame::Checksum;
use crate::wire::checksum::{Delta, mend_zeros};
use crate::wire::ipv4::TCP;
use crate::wire::octets::{set_u16, u16_at};

/// Where the TCP checksum is in its header, and UDP's, and ICMP's.
const TCP_CHECKSUM: usize = 16;
const UDP_CHECKSUM: usize = 6;
const ICMP_CHECKSUM: usize = 2;
const ICMP_IDENTIFIER: usize = 4;

/// Translates the packet at the front of `bytes`, of which `packet` is known and whose transport checksum is `checksum`.
/// A hop is taken off when `hop` says so.
#[inline(always)]
pub(crate) fn rewrite(bytes: &mut [u8], packet: &Packet, to: &Translation, checksum: Checksum, hop: bool) {
    let Some((header, payload)) = bytes.split_at_mut_checked(packet.header) else { return };
    rewrite_header(header, to.addresses, to.address_delta, hop);
    let both = to.address_delta.and(to.port_delta);
    match packet.carries {
        Carries::Tcp(_) => {
            let Some(fixed) = payload.first_chunk_mut::<20>() else { return };
            let field = u16::from_be_bytes([fixed[TCP_CHECKSUM], fixed[TCP_CHECKSUM + 1]]);
            let field = match checksum {
                Checksum::Partial { .. } => to.address_delta.apply_partial(field),
                _ => both.apply(field),
            };
            [fixed[0], fixed[1], fixed[2], fixed[3]] = to.ports.to_be_bytes();
            [fixed[TCP_CHECKSUM], fixed[TCP_CHECKSUM + 1]] = field.to_be_bytes();
        }
        Carries::Udp => {
            let Some(fixed) = payload.first_chunk_mut::<8>() else { return };
            let field = u16::from_be_bytes([fixed[UDP_CHECKSUM], fixed[UDP_CHECKSUM + 1]]);
            let field = match checksum {
                Checksum::Partial { .. } => to.address_delta.apply_partial(field),
                _ => both.apply_udp(field),
            };
            [fixed[0], fixed[1], fixed[2], fixed[3]] = to.ports.to_be_bytes();
            [fixed[UDP_CHECKSUM], fixed[UDP_CHECKSUM + 1]] = field.to_be_bytes();
        }
        Carries::IcmpQuery => {
            set_u16(payload, ICMP_IDENTIFIER, (to.ports >> 16) as u16);
            update(payload, ICMP_CHECKSUM, |field| to.port_delta.apply(field));
        }
        Carries::IcmpAnswer => {
            set_u16(payload, ICMP_IDENTIFIER, to.ports as u16);
            update(payload, ICMP_CHECKSUM, |field| to.port_delta.apply(field));
            // Of a fragment the rest is not known. A query is never zeros, for its type is not.
            if !packet.is_fragment() {
                mend_zeros(payload, ICMP_CHECKSUM);
            }
        }
        _ => {}
    }
}

/// Writes both addresses into an IPv4 header and takes a hop off when `hop` says so.
#[inline(always)]
pub(crate) fn rewrite_header(header: &mut [u8], addresses: u64, delta: Delta, hop: bool) {
    let Some(fixed) = header.first_chunk_mut::<20>() else { return };
    let mut delta = delta;
    if hop {
        // The time to live is the upper octet of its word.
        fixed[8] = fixed[8].saturating_sub(1);
        delta = delta.and(Delta::of(0x0100u16, 0u16));
    }
    let checksum = delta.apply(u16::from_be_bytes([fixed[10], fixed[11]]));
    [fixed[10], fixed[11]] = checksum.to_be_bytes();
    if let Some(place) = fixed.last_chunk_mut::<8>() {
        *place = addresses.to_be_bytes();
    }
}

fn update(payload: &mut [u8], at: usize, new: impl FnOnce(u16) -> u16) {
    if let Some(old) = u16_at(payload, at) {
        set_u16(payload, at, new(old));
    }
}

/// True when a partial checksum is the one of the packet's own TCP or UDP header, which a translation can follow.
pub(crate) fn is_usual(checksum: Checksum, packet: &Packet) -> bool {
    match checksum {
        Checksum::Partial { start, offset } => {
            let expected = if packet.key.protocol() == TCP { TCP_CHECKSUM } else { UDP_CHECKSUM };
            matches!(packet.carries, Carries::Tcp(_) | Carries::Udp)
                && usize::from(start) == packet.header
                && usize::from(offset) == expected
                && !packet.is_fragment()
        }
        Checksum::Complete | Checksum::Verified => true,
    }
}
