//! What of a bridged LAN stays on its side of a VPN.
//!
//! A frame is looked at once ([`Contents::of`]); how the VPN is bridged says what may come from a peer and what may go to
//! one. Router Advertisements and Redirects are found behind extension headers and in first fragments, and what has its
//! headers not all in its first fragment, or a header that nobody knows, may hide one (RFC 7113 §3): it is kept back with
//! them. So is what is behind LLC and SNAP, which hosts read as well (CVE-2021-27854). Tagged frames are of
//! another LAN than this one (RFC 7348 §6.1); some hosts take them for untagged ones all the same (CVE-2021-27853).

use crate::forward::bridge::is_reserved;
use crate::forward::ingress::{DHCP_CLIENT, DHCP_SERVER};
use crate::forward::ipv6::ingress as dhcp6;
use crate::forward::ipv6::parse::{Chain, DCCP, SCTP, UDP_LITE};
use crate::ledger::DropReason;
use crate::settings::VpnBridge;
use crate::wire::ethernet::{Header, ethertype};
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::{ESP, ICMPV6, Ipv6, NO_NEXT_HEADER, TCP, UDP};
use crate::wire::octets::{u8_at, u16_at};

/// Up to this, the type field is a length, and LLC follows (IEEE 802.3 §3.2.6).
const LONGEST: u16 = 1500;
/// LLC and SNAP in front of an ethertype (RFC 1042).
const SNAP: [[u8; 6]; 2] = [[0xaa, 0xaa, 3, 0, 0, 0], [0xaa, 0xaa, 3, 0, 0, 0xf8]];
/// An older tag of a provider's than 802.1ad's.
const OLD_SERVICE_VLAN: u16 = 0x9100;

const ROUTER_ADVERTISEMENT: u8 = 134;
const REDIRECT: u8 = 137;

/// Other protocols than those of `wire` that are no extension headers: IPv4, IPv6, RSVP, GRE, EIGRP, OSPF, PIM, VRRP, L2TP.
const UPPER_LAYERS: [u8; 9] = [4, 41, 46, 47, 88, 89, 103, 112, 115];

/// What a frame holds, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contents {
    /// Anything that may pass.
    Plain,
    /// A tag.
    Tagged,
    /// What never leaves a site.
    Site,
    /// A Router Advertisement or a Redirect.
    Advertisement,
    /// DHCP, of either family and from either side.
    Dhcp,
    /// Something in which one of the two could be.
    Hidden,
}

impl Contents {
    /// What is in an Ethernet frame.
    pub fn of(frame: &[u8]) -> Contents {
        let Some((header, mut payload)) = Header::parse(frame) else { return Contents::Hidden };
        let mut kind = header.ethertype;
        if is_reserved(header.destination) {
            return Contents::Site;
        }
        if kind <= LONGEST
            && let Some((snap, rest)) = payload.split_first_chunk::<8>()
            && SNAP.iter().any(|front| snap.starts_with(front))
        {
            (kind, payload) = (u16_at(snap, 6).unwrap_or(0), rest);
        }
        match kind {
            ethertype::VLAN | ethertype::SERVICE_VLAN | OLD_SERVICE_VLAN => Contents::Tagged,
            ethertype::PPPOE_DISCOVERY | ethertype::PPPOE_SESSION => Contents::Site,
            ethertype::IPV4 => Contents::of_v4(payload),
            ethertype::IPV6 => Contents::of_v6(payload),
            _ => Contents::Plain,
        }
    }

    fn of_v4(packet: &[u8]) -> Contents {
        // What is no packet is none for its receiver, either.
        let Some(packet) = Ipv4::parse(packet) else { return Contents::Plain };
        if packet.protocol() != UDP || packet.fragment_offset() != 0 {
            return Contents::Plain;
        }
        Contents::of_ports(packet.payload(), DHCP_SERVER, DHCP_CLIENT)
    }

    fn of_v6(packet: &[u8]) -> Contents {
        let Some(view) = Ipv6::parse(packet) else { return Contents::Plain };
        let packet = packet.get(..crate::wire::ipv6::HEADER.saturating_add(view.payload_len()));
        let packet = packet.unwrap_or_default();
        let Ok(chain) = Chain::of(packet) else { return Contents::Hidden };
        if chain.fragment.is_some_and(|fragment| fragment.offset != 0) {
            return Contents::Plain;
        }
        let payload = packet.get(chain.transport..).unwrap_or_default();
        match chain.protocol {
            ICMPV6 => match u8_at(payload, 0) {
                Some(ROUTER_ADVERTISEMENT | REDIRECT) => Contents::Advertisement,
                Some(_) => Contents::Plain,
                None => Contents::Hidden,
            },
            UDP => Contents::of_ports(payload, dhcp6::DHCP_SERVER, dhcp6::DHCP_CLIENT),
            TCP | ESP | NO_NEXT_HEADER | SCTP | DCCP | UDP_LITE => Contents::Plain,
            protocol if UPPER_LAYERS.contains(&protocol) => Contents::Plain,
            _ => Contents::Hidden,
        }
    }

    fn of_ports(datagram: &[u8], server: u16, client: u16) -> Contents {
        match (u16_at(datagram, 0), u16_at(datagram, 2)) {
            (Some(source), Some(destination)) => {
                let is_dhcp = [source, destination].iter().any(|port| *port == server || *port == client);
                if is_dhcp { Contents::Dhcp } else { Contents::Plain }
            }
            _ => Contents::Hidden,
        }
    }

    /// Why a frame is not taken from a peer.
    pub fn check_from_peer(self, via: &VpnBridge) -> Result<(), DropReason> {
        match self {
            Contents::Advertisement if via.ra_guard => Err(DropReason::BridgeGuard),
            Contents::Hidden if via.ra_guard || via.isolate_dhcp => Err(DropReason::BridgeGuard),
            _ => self.check_either_way(via),
        }
    }

    /// Why a frame is not given to a peer.
    pub fn check_to_peer(self, via: &VpnBridge) -> Result<(), DropReason> {
        self.check_either_way(via)
    }

    fn check_either_way(self, via: &VpnBridge) -> Result<(), DropReason> {
        match self {
            Contents::Tagged => Err(DropReason::VlanMismatch),
            Contents::Site => Err(DropReason::BridgeSite),
            Contents::Dhcp if via.isolate_dhcp => Err(DropReason::BridgeGuard),
            _ => Ok(()),
        }
    }
}
