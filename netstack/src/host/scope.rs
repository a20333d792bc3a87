//! Link-local addresses with their link.
//!
//! A link-local address means nothing without the link that it is on (RFC 4007 §6), and neither the sockets nor what uses
//! them have another place for it. So while a packet is in the host, the 48 bits after the prefix, which are zero on every
//! link (RFC 4291 §2.5.6), hold the interface. They never leave it: [`leave`] takes them out and says which link it is.

use core::net::{IpAddr, Ipv6Addr};

use crate::id::{Interface, LanId, SubscriberId, VpnId, WanId};
use crate::wire::checksum::Sum;
use crate::wire::ipv6::{self, Ipv6, address_at};
use crate::wire::octets::set_u16;

/// Where the addresses stand in an IPv6 header.
const ADDRESSES: [usize; 2] = [8, 24];

/// `address` as the host's sockets know it when it is on the link of `interface`. Others than link-local ones mean the same
/// everywhere and stay as they are.
pub fn scoped(address: IpAddr, interface: Interface) -> IpAddr {
    match address {
        IpAddr::V6(address) if address.is_unicast_link_local() => IpAddr::V6(mark(address, interface)),
        _ => address,
    }
}

/// True for a link-local address with zeros where the interface goes, and for every other address.
pub fn is_sound(address: Ipv6Addr) -> bool {
    !address.is_unicast_link_local() || address == with_bits(address, 0)
}

/// Marks the link-local addresses of a packet from `interface`, and makes its checksum right again.
pub fn enter(packet: &mut [u8], interface: Interface) {
    rewrite(packet, |address| mark(address, interface));
}

/// Takes the marks out of a packet. The interface that it must go out by, when it bore any.
pub fn leave(packet: &mut [u8]) -> Option<Interface> {
    let [source, destination] = ADDRESSES.map(|at| interface_of(address_at(packet, at)));
    let interface = destination.or(source)?;
    rewrite(packet, |address| with_bits(address, 0));
    Some(interface)
}

fn mark(address: Ipv6Addr, interface: Interface) -> Ipv6Addr {
    let bits = match interface {
        Interface::Lan(LanId(id)) => 1 << 32 | u64::from(id),
        Interface::Wan(WanId(id)) => 2 << 32 | u64::from(id),
        Interface::Subscriber(SubscriberId(id)) => 3 << 32 | u64::from(id),
        Interface::Vpn(VpnId(id)) => 4 << 32 | u64::from(id),
        Interface::Router => 0,
    };
    with_bits(address, bits)
}

fn interface_of(address: Ipv6Addr) -> Option<Interface> {
    if !address.is_unicast_link_local() {
        return None;
    }
    let [_, kind, high, low, ..] = address.segments();
    let id = u32::from(high) << 16 | u32::from(low);
    match kind {
        1 => Some(Interface::Lan(LanId(low))),
        2 => Some(Interface::Wan(WanId(low))),
        3 => Some(Interface::Subscriber(SubscriberId(id))),
        4 => Some(Interface::Vpn(VpnId(low))),
        _ => None,
    }
}

/// A link-local address with `bits`, 48 of them, where the interface goes.
fn with_bits(address: Ipv6Addr, bits: u64) -> Ipv6Addr {
    const PLACE: u128 = 0xffff_ffff_ffff << 64;
    Ipv6Addr::from_bits(address.to_bits() & !PLACE | u128::from(bits) << 64)
}

/// Changes the link-local addresses of a packet without extension headers.
fn rewrite(packet: &mut [u8], change: impl Fn(Ipv6Addr) -> Ipv6Addr) {
    let mut changed = false;
    for at in ADDRESSES {
        let Some(place) = packet.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<16>) else { return };
        let address = Ipv6Addr::from(*place);
        if address.is_unicast_link_local() {
            *place = change(address).octets();
            changed = true;
        }
    }
    if changed {
        write_checksum(packet);
    }
}

/// Computes the checksum of UDP, TCP or ICMPv6 anew.
fn write_checksum(packet: &mut [u8]) {
    let Some(view) = Ipv6::parse(packet) else { return };
    let at = match view.next_header() {
        ipv6::UDP => 6,
        ipv6::TCP => 16,
        ipv6::ICMPV6 => 2,
        _ => return,
    };
    let Ok(len) = u32::try_from(view.payload().len()) else { return };
    let pseudo = Sum::pseudo_v6(view.source(), view.destination(), view.next_header(), len);
    let is_udp = view.next_header() == ipv6::UDP;
    let Some(message) = packet.get_mut(ipv6::HEADER..) else { return };
    set_u16(message, at, 0);
    let sum = pseudo.plus(Sum::of(message));
    set_u16(message, at, if is_udp { sum.udp_checksum() } else { sum.checksum() });
}
