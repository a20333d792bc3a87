//! ICMPv6 errors of the router's own (RFC 4443 §2.4, §3).

use core::net::Ipv6Addr;

use crate::frame::Frame;
use crate::wire::ipv6::{HEADER, Header, MIN_MTU};

/// Octets of an ICMPv6 header.
pub(crate) const ICMP_HEADER: usize = 8;
/// Octets of the longest error.
pub(crate) const MAX_ERROR: usize = MIN_MTU as usize;

const HOPS: u8 = 64;

/// An error to tell a packet's sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Icmp6Error {
    /// No route leads to the destination (type 1 code 0).
    NoRoute,
    /// A filter forbids it (type 1 code 1).
    AdminProhibited,
    /// The source's address means nothing beyond its link (type 1 code 2).
    BeyondScope,
    /// The destination does not answer on its own link (type 1 code 3).
    AddressUnreachable,
    /// Nothing listens on the port (type 1 code 4).
    PortUnreachable,
    /// The source's address may not leave, or is no longer its own (type 1 code 5).
    SourcePolicy,
    /// Too large for the next hop (type 2).
    PacketTooBig {
        /// Largest packet that the next hop takes, in octets.
        mtu: u16,
    },
    /// The hop limit ran out on the way (type 3 code 0).
    HopLimit,
}

impl Icmp6Error {
    /// Type, code, and the four octets that follow the checksum.
    fn head(self) -> ([u8; 2], u32) {
        match self {
            Icmp6Error::NoRoute => ([1, 0], 0),
            Icmp6Error::AdminProhibited => ([1, 1], 0),
            Icmp6Error::BeyondScope => ([1, 2], 0),
            Icmp6Error::AddressUnreachable => ([1, 3], 0),
            Icmp6Error::PortUnreachable => ([1, 4], 0),
            Icmp6Error::SourcePolicy => ([1, 5], 0),
            Icmp6Error::PacketTooBig { mtu } => ([2, 0], u32::from(mtu)),
            Icmp6Error::HopLimit => ([3, 0], 0),
        }
    }

    /// Writes the error about `packet` into `out`, from the IPv6 header on, as sent by the router's address `from` to
    /// `to`. It quotes as much of the packet as fits in [`MAX_ERROR`] octets. False, and no change, when there is no room.
    pub fn write(self, from: Ipv6Addr, to: Ipv6Addr, packet: &[u8], out: &mut Frame) -> bool {
        let quote = packet.get(..MAX_ERROR - HEADER - ICMP_HEADER).unwrap_or(packet);
        let ([kind, code], word) = self.head();
        let [a, b, c, d] = word.to_be_bytes();
        let mut message = [0; MAX_ERROR - HEADER];
        let octets = [kind, code, 0, 0, a, b, c, d];
        for (to, from) in message.iter_mut().zip(octets.iter().chain(quote)) {
            *to = *from;
        }
        let message = message.get(..ICMP_HEADER.saturating_add(quote.len())).unwrap_or_default();
        Header { source: from, destination: to, hop_limit: HOPS }.write_icmp(message, out)
    }
}
