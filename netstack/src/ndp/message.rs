//! Neighbor Discovery messages (RFC 4861 §4) and their options, as values.
//!
//! A [`Packet`] is a whole IPv6 packet: [`Packet::parse`] takes it apart and judges it as RFC 4861 §6.1, §7.1 and §8.1
//! say, [`Packet::emit`] writes one. A message is discarded for what the RFC calls invalid, a zero-length option among
//! it; an option that says nonsense, or that nobody here knows, is skipped and the rest is used.
//!
//! Lifetimes are in seconds, as the wire has them; all ones means for ever.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::Ipv6Addr;

use crate::dhcp6::domain;
use crate::frame::Frame;
use crate::id::{Ipv6Cidr, Mac};
use crate::ledger::DropReason;
use crate::wire::ipv6::{ALL_NODES, HEADER, Header, Ipv6, MIN_MTU, address_at, solicited_node};
use crate::wire::octets::{u8_at, u32_at};

/// The hop limit of every packet here: who is not on the link cannot send it (RFC 4861 §3.1).
pub const HOP_LIMIT: u8 = 255;

/// Most octets of an RA, so that every link carries it whole.
pub const ADVERTISEMENT: usize = MIN_MTU as usize - HEADER;

/// ICMPv6 types (RFC 4861 §4).
pub(crate) mod kind {
    pub const ROUTER_SOLICITATION: u8 = 133;
    pub const ROUTER_ADVERTISEMENT: u8 = 134;
    pub const NEIGHBOUR_SOLICITATION: u8 = 135;
    pub const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
    pub const REDIRECT: u8 = 137;
}

/// Option types: RFC 4861 §4.6, RFC 4191 §2.3, RFC 8106 §5.
mod option {
    pub const SOURCE_LINK_LAYER: u8 = 1;
    pub const TARGET_LINK_LAYER: u8 = 2;
    pub const PREFIX_INFORMATION: u8 = 3;
    pub const MTU: u8 = 5;
    pub const ROUTE_INFORMATION: u8 = 24;
    pub const RDNSS: u8 = 25;
    pub const DNSSL: u8 = 31;
}

const MANAGED: u8 = 0x80;
const OTHER: u8 = 0x40;
const ON_LINK: u8 = 0x80;
const AUTONOMOUS: u8 = 0x40;
const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

/// A packet of Neighbor Discovery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// The source address.
    pub source: Ipv6Addr,
    /// The destination address.
    pub destination: Ipv6Addr,
    /// What it says.
    pub message: Message,
}

/// A message of Neighbor Discovery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Which routers are there? (RFC 4861 §4.1)
    RouterSolicitation {
        /// The sender's Ethernet address.
        source_link_layer: Option<Mac>,
    },
    /// A router is here (RFC 4861 §4.2).
    RouterAdvertisement(RouterAdvertisement),
    /// Who has the target address? (RFC 4861 §4.3)
    NeighbourSolicitation {
        /// The address that is asked for.
        target: Ipv6Addr,
        /// The sender's Ethernet address.
        source_link_layer: Option<Mac>,
    },
    /// The target address is here (RFC 4861 §4.4).
    NeighbourAdvertisement {
        /// The address.
        target: Ipv6Addr,
        /// The sender is a router.
        router: bool,
        /// The message answers a solicitation.
        solicited: bool,
        /// The message replaces what is known of the address.
        overrides: bool,
        /// The target's Ethernet address.
        target_link_layer: Option<Mac>,
    },
    /// A better first hop to a destination (RFC 4861 §4.5). A router does not act upon it.
    Redirect {
        /// The better hop.
        target: Ipv6Addr,
        /// For what.
        destination: Ipv6Addr,
    },
}

/// What a router says of itself and of the link.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RouterAdvertisement {
    /// The hop limit that hosts should use; 0 leaves it to them.
    pub hop_limit: u8,
    /// Addresses are to be had by DHCPv6.
    pub managed: bool,
    /// Other configuration is to be had by DHCPv6.
    pub other: bool,
    /// How good a default router it is (RFC 4191 §2.2).
    pub preference: Preference,
    /// How long it is a default router, in seconds; 0 is not at all.
    pub router_lifetime: u16,
    /// The router's Ethernet address.
    pub source_link_layer: Option<Mac>,
    /// The link's MTU in octets.
    pub mtu: Option<u32>,
    /// The link's prefixes.
    pub prefixes: Vec<PrefixInformation>,
    /// Networks that the router leads to (RFC 4191 §2.3).
    pub routes: Vec<RouteInformation>,
    /// Recursive DNS servers (RFC 8106 §5.1).
    pub dns: Vec<DnsServer>,
    /// DNS search domains (RFC 8106 §5.2).
    pub domains: Vec<SearchDomain>,
}

/// Router preference (RFC 4191 §2.1), the better the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Preference {
    /// Worse than others.
    Low,
    /// As good as others.
    #[default]
    Medium,
    /// Better than others.
    High,
}

/// A prefix of the link (RFC 4861 §4.6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrefixInformation {
    /// The prefix; the bits behind it are zero.
    pub prefix: Ipv6Cidr,
    /// Its addresses are reached without a router.
    pub on_link: bool,
    /// Hosts may make addresses in it.
    pub autonomous: bool,
    /// How long it is valid, in seconds.
    pub valid: u32,
    /// How long addresses in it are preferred, in seconds.
    pub preferred: u32,
}

/// A network that the router leads to (RFC 4191 §2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteInformation {
    /// The network; the bits behind its prefix are zero.
    pub prefix: Ipv6Cidr,
    /// How good the route is.
    pub preference: Preference,
    /// How long it stands, in seconds.
    pub lifetime: u32,
}

/// A recursive DNS server (RFC 8106 §5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DnsServer {
    /// Its address.
    pub address: Ipv6Addr,
    /// How long it may be used, in seconds.
    pub lifetime: u32,
}

/// A DNS search domain (RFC 8106 §5.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchDomain {
    /// Its name: letters, digits, hyphens, underscores and dots.
    pub name: String,
    /// How long it may be used, in seconds.
    pub lifetime: u32,
}

impl Packet {
    /// The message in the IPv6 packet at the start of `bytes`, when it is valid.
    pub fn parse(bytes: &[u8]) -> Result<Packet, DropReason> {
        let malformed = DropReason::NdpMalformed;
        let view = Ipv6::parse(bytes).ok_or(malformed)?;
        let icmp = view.icmp().ok_or(malformed)?;
        let (source, destination) = (view.source(), view.destination());
        let message = Message::parse(icmp).ok_or(malformed)?;
        let packet = Packet { source, destination, message };
        let valid = view.hop_limit() == HOP_LIMIT && !source.is_multicast() && packet.is_valid();
        if valid { Ok(packet) } else { Err(malformed) }
    }

    /// What RFC 4861 demands of a message together with its addresses.
    fn is_valid(&self) -> bool {
        let nameless = self.source.is_unspecified();
        match &self.message {
            Message::RouterSolicitation { source_link_layer } => !(nameless && source_link_layer.is_some()),
            Message::RouterAdvertisement(_) => self.source.is_unicast_link_local(),
            Message::NeighbourSolicitation { target, source_link_layer } => {
                let probe = source_link_layer.is_none() && self.destination == solicited_node(*target);
                !target.is_multicast() && (!nameless || probe)
            }
            Message::NeighbourAdvertisement { target, solicited, .. } => {
                let unicast = !self.destination.is_multicast();
                !target.is_multicast() && !nameless && (unicast || !*solicited)
            }
            Message::Redirect { destination, .. } => {
                self.source.is_unicast_link_local() && !destination.is_multicast()
            }
        }
    }

    /// The answer of the station `mac` that has the address that this packet asks for; `None` when it asks for nothing.
    /// On a link without Ethernet addresses there is no `mac`. A `router` says so.
    ///
    /// The asker of a probe has no address yet, so all nodes are told (RFC 4861 §7.2.4). The all-zeros identifier is the
    /// anycast address of every router on the link, and one of them does not override another.
    pub fn answer(&self, mac: Option<Mac>, router: bool) -> Option<Packet> {
        let Message::NeighbourSolicitation { target, .. } = self.message else { return None };
        let probe = self.source.is_unspecified();
        Some(Packet {
            source: target,
            destination: if probe { ALL_NODES } else { self.source },
            message: Message::NeighbourAdvertisement {
                target,
                router,
                solicited: !probe,
                overrides: target.to_bits() as u64 != 0,
                target_link_layer: mac,
            },
        })
    }

    /// Writes the IPv6 packet behind what `frame` holds. False, and no change, when it does not fit. Options of an RA
    /// beyond [`ADVERTISEMENT`] octets are left out.
    pub fn emit(&self, frame: &mut Frame) -> bool {
        let header = Header { source: self.source, destination: self.destination, hop_limit: HOP_LIMIT };
        header.write_icmp(&self.message.to_bytes(), frame)
    }
}

impl Message {
    /// The message from its type on, when its lengths are right.
    fn parse(bytes: &[u8]) -> Option<Message> {
        let &[kind, 0, ..] = bytes else { return None };
        Some(match kind {
            kind::ROUTER_SOLICITATION => {
                let options = Options::of(bytes.get(8..)?)?;
                Message::RouterSolicitation { source_link_layer: options.mac(option::SOURCE_LINK_LAYER) }
            }
            kind::ROUTER_ADVERTISEMENT => Message::RouterAdvertisement(RouterAdvertisement::parse(
                bytes.first_chunk()?,
                bytes.get(16..)?,
            )?),
            kind::NEIGHBOUR_SOLICITATION => {
                let options = Options::of(bytes.get(24..)?)?;
                Message::NeighbourSolicitation {
                    target: address_at(bytes, 8),
                    source_link_layer: options.mac(option::SOURCE_LINK_LAYER),
                }
            }
            kind::NEIGHBOUR_ADVERTISEMENT => {
                let options = Options::of(bytes.get(24..)?)?;
                let flags = u8_at(bytes, 4)?;
                Message::NeighbourAdvertisement {
                    target: address_at(bytes, 8),
                    router: flags & ROUTER != 0,
                    solicited: flags & SOLICITED != 0,
                    overrides: flags & OVERRIDE != 0,
                    target_link_layer: options.mac(option::TARGET_LINK_LAYER),
                }
            }
            kind::REDIRECT => {
                Options::of(bytes.get(40..)?)?;
                Message::Redirect { target: address_at(bytes, 8), destination: address_at(bytes, 24) }
            }
            _ => return None,
        })
    }

    /// The message from its type on; its checksum field is zero.
    fn to_bytes(&self) -> Vec<u8> {
        let head = |kind: u8, flags: u8| [kind, 0, 0, 0, flags, 0, 0, 0];
        match self {
            Message::RouterSolicitation { source_link_layer } => {
                let mut out = head(kind::ROUTER_SOLICITATION, 0).to_vec();
                push_mac(&mut out, option::SOURCE_LINK_LAYER, *source_link_layer);
                out
            }
            Message::RouterAdvertisement(advertisement) => advertisement.to_bytes().0,
            Message::NeighbourSolicitation { target, source_link_layer } => {
                let mut out = head(kind::NEIGHBOUR_SOLICITATION, 0).to_vec();
                out.extend(target.octets());
                push_mac(&mut out, option::SOURCE_LINK_LAYER, *source_link_layer);
                out
            }
            Message::NeighbourAdvertisement { target, router, solicited, overrides, target_link_layer } => {
                let flag = |on: &bool, flag: u8| if *on { flag } else { 0 };
                let flags = flag(router, ROUTER) | flag(solicited, SOLICITED) | flag(overrides, OVERRIDE);
                let mut out = head(kind::NEIGHBOUR_ADVERTISEMENT, flags).to_vec();
                out.extend(target.octets());
                push_mac(&mut out, option::TARGET_LINK_LAYER, *target_link_layer);
                out
            }
            Message::Redirect { target, destination } => {
                let mut out = head(kind::REDIRECT, 0).to_vec();
                out.extend(target.octets());
                out.extend(destination.octets());
                out
            }
        }
    }
}

impl RouterAdvertisement {
    fn parse(head: &[u8; 16], options: &[u8]) -> Option<Self> {
        let &[_, _, _, _, hop_limit, flags, l0, l1, ..] = head;
        let options = Options::of(options)?;
        let router_lifetime = u16::from_be_bytes([l0, l1]);
        // Without a lifetime the preference says nothing, and a reserved value means medium (RFC 4191 §2.2).
        let preference = Preference::read(flags).filter(|_| router_lifetime > 0).unwrap_or_default();
        let mut advertisement = RouterAdvertisement {
            hop_limit,
            managed: flags & MANAGED != 0,
            other: flags & OTHER != 0,
            preference,
            router_lifetime,
            source_link_layer: options.mac(option::SOURCE_LINK_LAYER),
            ..RouterAdvertisement::default()
        };
        for (kind, body) in options {
            advertisement.take(kind, body);
        }
        Some(advertisement)
    }

    /// Takes an option in, unless it is of no use. `body` is what follows its type and length, 6 octets at least.
    fn take(&mut self, kind: u8, body: &[u8]) -> Option<()> {
        match kind {
            option::PREFIX_INFORMATION if body.len() == 30 => {
                let flags = u8_at(body, 1)?;
                self.prefixes.push(PrefixInformation {
                    prefix: network(address_at(body, 14), u8_at(body, 0)?)?,
                    on_link: flags & ON_LINK != 0,
                    autonomous: flags & AUTONOMOUS != 0,
                    valid: u32_at(body, 2)?,
                    preferred: u32_at(body, 6)?,
                });
            }
            option::MTU if body.len() == 6 => self.mtu = u32_at(body, 2),
            option::ROUTE_INFORMATION => {
                let mut octets = [0; 16];
                let written = body.get(6..)?;
                octets.get_mut(..written.len())?.copy_from_slice(written);
                let prefix = network(octets.into(), u8_at(body, 0)?)?;
                if usize::from(prefix.prefix) <= written.len() * 8 {
                    let preference = Preference::read(u8_at(body, 1)?)?;
                    self.routes.push(RouteInformation { prefix, preference, lifetime: u32_at(body, 2)? });
                }
            }
            option::RDNSS => {
                let lifetime = u32_at(body, 2)?;
                let (servers, []) = body.get(6..)?.as_chunks::<16>() else { return None };
                self.dns.extend(servers.iter().map(|&octets| DnsServer { address: octets.into(), lifetime }));
            }
            option::DNSSL => {
                let lifetime = u32_at(body, 2)?;
                let names = domain::parse_list(body.get(6..)?);
                self.domains.extend(names.into_iter().map(|name| SearchDomain { name, lifetime }));
            }
            _ => {}
        }
        Some(())
    }

    /// The message from its type on, its checksum field zero, and how many things of the lists are left out because they
    /// do not fit. What comes first in a list is kept.
    pub fn to_bytes(&self) -> (Vec<u8>, usize) {
        let flag = |on: bool, flag: u8| if on { flag } else { 0 };
        let preference = if self.router_lifetime > 0 { self.preference } else { Preference::Medium };
        let flags = flag(self.managed, MANAGED) | flag(self.other, OTHER) | preference.bits();
        let [l0, l1] = self.router_lifetime.to_be_bytes();
        let mut out = Vec::with_capacity(usize::from(MIN_MTU));
        out.extend([kind::ROUTER_ADVERTISEMENT, 0, 0, 0, self.hop_limit, flags, l0, l1]);
        // Reachable time and retransmission timer are left to the hosts.
        out.extend([0; 8]);
        push_mac(&mut out, option::SOURCE_LINK_LAYER, self.source_link_layer);
        if let Some(mtu) = self.mtu {
            out.extend([option::MTU, 1, 0, 0]);
            out.extend(mtu.to_be_bytes());
        }
        let mut left_out = 0;
        for option in self.prefixes.iter().map(|prefix| prefix.to_bytes().to_vec()) {
            left_out += usize::from(!push_option(&mut out, &option));
        }
        for route in &self.routes {
            left_out += usize::from(!push_option(&mut out, &route.to_bytes()));
        }
        for servers in self.dns.chunk_by(|a, b| a.lifetime == b.lifetime) {
            let fit = (room(&out).saturating_sub(8) / 16).min(servers.len()).min(127);
            left_out += servers.len() - fit;
            let mut option = list_head(option::RDNSS, servers.first().map_or(0, |server| server.lifetime));
            option.extend(servers.iter().take(fit).flat_map(|server| server.address.octets()));
            if fit > 0 {
                push_option(&mut out, &option);
            }
        }
        for domains in self.domains.chunk_by(|a, b| a.lifetime == b.lifetime) {
            let head = list_head(option::DNSSL, domains.first().map_or(0, |domain| domain.lifetime));
            let mut option = head.clone();
            for search in domains {
                let before = option.len();
                if !domain::push_name(&mut option, &search.name) || option.len() > room(&out) {
                    option.truncate(before);
                    left_out += 1;
                }
            }
            if option.len() > head.len() {
                option.resize(option.len().next_multiple_of(8), 0);
                push_option(&mut out, &option);
            }
        }
        (out, left_out)
    }
}

impl PrefixInformation {
    fn to_bytes(self) -> [u8; 32] {
        let mut out = [0; 32];
        let flags = if self.on_link { ON_LINK } else { 0 } | if self.autonomous { AUTONOMOUS } else { 0 };
        let fields = [option::PREFIX_INFORMATION, 4, self.prefix.prefix, flags]
            .into_iter()
            .chain(self.valid.to_be_bytes())
            .chain(self.preferred.to_be_bytes())
            .chain([0; 4])
            .chain(self.prefix.network().address.octets());
        for (to, from) in out.iter_mut().zip(fields) {
            *to = from;
        }
        out
    }
}

impl RouteInformation {
    fn to_bytes(self) -> Vec<u8> {
        let units = self.prefix.prefix.div_ceil(64).min(2);
        let mut out =
            Vec::from([option::ROUTE_INFORMATION, units + 1, self.prefix.prefix, self.preference.bits()]);
        out.extend(self.lifetime.to_be_bytes());
        out.extend(self.prefix.network().address.octets().into_iter().take(usize::from(units) * 8));
        out
    }
}

impl Preference {
    /// The preference in a flags octet; `None` for the reserved value.
    fn read(flags: u8) -> Option<Self> {
        match flags >> 3 & 3 {
            0 => Some(Preference::Medium),
            1 => Some(Preference::High),
            3 => Some(Preference::Low),
            _ => None,
        }
    }

    fn bits(self) -> u8 {
        match self {
            Preference::Medium => 0,
            Preference::High => 1 << 3,
            Preference::Low => 3 << 3,
        }
    }
}

/// The options of a message whose lengths are right: type, and what follows the length.
#[derive(Debug, Clone, Copy)]
struct Options<'a>(&'a [u8]);

impl<'a> Options<'a> {
    /// The options in `bytes`; `None` when one has no length or runs beyond the end (RFC 4861 §4.6).
    fn of(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = Options(bytes);
        while rest.next().is_some() {}
        rest.0.is_empty().then_some(Options(bytes))
    }

    /// The Ethernet address in the option of type `kind`. A group's address is no station's.
    fn mac(self, kind: u8) -> Option<Mac> {
        let mut bodies = self.filter(|(found, body)| *found == kind && body.len() == 6);
        bodies.find_map(|(_, body)| Mac::read(body).filter(|mac| mac.is_station()))
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let &[kind, len, ..] = self.0 else { return None };
        let (option, rest) = self.0.split_at_checked(usize::from(len) * 8)?;
        let body = option.get(2..)?;
        self.0 = rest;
        Some((kind, body))
    }
}

/// The network of `address` with a prefix of `len` bits; `None` when there are not so many.
fn network(address: Ipv6Addr, len: u8) -> Option<Ipv6Cidr> {
    (len <= 128).then(|| Ipv6Cidr { address, prefix: len }.network())
}

/// Octets that the options of an RA may still have.
fn room(out: &[u8]) -> usize {
    ADVERTISEMENT.saturating_sub(out.len())
}

/// Appends a whole option and fills its length in. False, and no change, when it does not fit.
fn push_option(out: &mut Vec<u8>, option: &[u8]) -> bool {
    let (Ok(units), true) = (u8::try_from(option.len() / 8), option.len() <= room(out)) else { return false };
    let at = out.len() + 1;
    out.extend(option);
    if let Some(len) = out.get_mut(at) {
        *len = units;
    }
    true
}

/// The start of an RDNSS or DNSSL option.
fn list_head(kind: u8, lifetime: u32) -> Vec<u8> {
    let [a, b, c, d] = lifetime.to_be_bytes();
    Vec::from([kind, 0, 0, 0, a, b, c, d])
}

fn push_mac(out: &mut Vec<u8>, kind: u8, mac: Option<Mac>) {
    if let Some(mac) = mac {
        out.extend([kind, 1]);
        out.extend(mac.0);
    }
}

#[cfg(test)]
pub(in crate::ndp) mod tests;
