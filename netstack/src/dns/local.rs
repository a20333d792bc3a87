//! Names that the router answers for itself.
//!
//! The LANs' domains, their hosts and leases; the reverse zones of the LANs' networks and prefixes and of every address that
//! means nothing outside (RFC 6303, RFC 7793); and names that must not leave a site (RFC 6761, RFC 6762, RFC 8375, RFC 9462).
//! What is asked under any of these is answered here, if only with "no such name".

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr};

use super::message::{Question, rr};
use crate::id::{Ipv4Cidr, Ipv6Cidr, LanId};
use crate::settings::Settings;

/// What the router knows about a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Records of the question's type, with their data.
    Records(Vec<(u16, Vec<u8>)>),
    /// The name exists, without records of this type. Holds the zone's name.
    NoData(Vec<u8>),
    /// The name does not exist. Holds the zone's name.
    NoName(Vec<u8>),
}

/// Zones of which nothing is known outside the site, besides the reverse zones of [`is_private_reverse`].
const SITE_ZONES: [&str; 16] = [
    "localhost",
    "local",
    "invalid",
    "onion",
    "home.arpa",
    "resolver.arpa",
    // RFC 6303 §4.2 to 4.6: unspecified and loopback, unique local, link-local and documentation addresses.
    "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa",
    "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa",
    "c.f.ip6.arpa",
    "d.f.ip6.arpa",
    "8.e.f.ip6.arpa",
    "9.e.f.ip6.arpa",
    "a.e.f.ip6.arpa",
    "b.e.f.ip6.arpa",
    "8.b.d.0.1.0.0.2.ip6.arpa",
    "f.f.ip6.arpa",
];

/// Most addresses that DHCPv6 leases give a name.
const ADDRESSES: usize = 8;

#[derive(Debug)]
struct Lan {
    network: Ipv4Cidr,
    /// The router's address in each prefix, and its length.
    prefixes: Vec<Ipv6Cidr>,
    /// In wire format, lower case.
    domain: Vec<u8>,
    /// The router's label.
    router: Vec<u8>,
    /// Labels of the configured hosts.
    fixed: BTreeMap<Vec<u8>, Fixed>,
    /// Labels of DHCPv4 leases.
    leased: BTreeMap<Vec<u8>, Ipv4Addr>,
    /// Labels of DHCPv6 leases.
    leased6: BTreeMap<Vec<u8>, Vec<Ipv6Addr>>,
}

/// What the configuration says of a host.
#[derive(Debug)]
struct Fixed {
    ipv4: Option<Ipv4Addr>,
    /// The end of its addresses in every prefix.
    suffix: Option<Ipv6Addr>,
}

/// What a name stands for.
#[derive(Debug, Default)]
struct Addresses {
    ipv4: Option<Ipv4Addr>,
    ipv6: Vec<Ipv6Addr>,
}

/// Names that the router answers for itself.
#[derive(Debug)]
pub struct Local {
    lans: Vec<Lan>,
    site: Vec<Vec<u8>>,
}

impl Local {
    /// The names of the configuration.
    pub fn new(settings: &Settings) -> Self {
        let lans = settings.lans.iter().map(|lan| {
            let hosts = lan.hosts.iter().filter(|host| host.ipv4.is_some() || host.ipv6.is_some());
            let hosts = hosts.map(|host| (label(&host.name), Fixed { ipv4: host.ipv4, suffix: host.ipv6 }));
            Lan {
                network: lan.address,
                prefixes: Vec::new(),
                domain: wire_name(&lan.domain),
                router: label(&settings.hostname),
                fixed: hosts.filter(|(label, _)| label.len() > 1).collect(),
                leased: BTreeMap::new(),
                leased6: BTreeMap::new(),
            }
        });
        Local { lans: lans.collect(), site: SITE_ZONES.iter().map(|zone| wire_name(zone)).collect() }
    }

    /// Replaces a LAN's prefixes: the router's address in each, with the prefix's length.
    pub fn set_prefixes(&mut self, lan: LanId, prefixes: impl IntoIterator<Item = Ipv6Cidr>) {
        if let Some(lan) = self.lans.get_mut(lan.index()) {
            lan.prefixes = prefixes.into_iter().collect();
        }
    }

    /// Replaces the names of a LAN's DHCPv4 leases. The configuration's names are its own.
    pub fn set_leases<'a>(&mut self, lan: LanId, leases: impl IntoIterator<Item = (&'a str, Ipv4Addr)>) {
        if let Some(lan) = self.lans.get_mut(lan.index()) {
            lan.leased = leases.into_iter().map(|(name, address)| (label(name), address)).collect();
            let taken = |label: &Vec<u8>| lan.fixed.get(label).is_some_and(|host| host.ipv4.is_some());
            lan.leased.retain(|label, _| label.len() > 1 && *label != lan.router && !taken(label));
        }
    }

    /// Replaces the names of a LAN's DHCPv6 leases. The configuration's names are its own.
    pub fn set_leases6<'a>(&mut self, lan: LanId, leases: impl IntoIterator<Item = (&'a str, Ipv6Addr)>) {
        let Some(lan) = self.lans.get_mut(lan.index()) else { return };
        lan.leased6.clear();
        for (name, address) in leases {
            let label = label(name);
            let taken = lan.fixed.get(&label).is_some_and(|host| host.suffix.is_some());
            if label.len() > 1 && label != lan.router && !taken {
                let addresses = lan.leased6.entry(label).or_default();
                if addresses.len() < ADDRESSES && !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
        }
    }

    /// What the router knows; `None` when the question is for others.
    pub fn find(&self, question: &Question) -> Option<Found> {
        let name = question.name.as_slice();
        if let Some(address) = reverse_address(name) {
            let owner = self.lans.iter().find_map(|lan| lan.name_of(address));
            if let Some(owner) = owner {
                return Some(if question.kind == rr::PTR || question.kind == rr::ANY {
                    Found::Records(vec![(rr::PTR, owner)])
                } else {
                    Found::NoData(name.to_vec())
                });
            }
            if self.lans.iter().any(|lan| lan.network.contains(address)) {
                return Some(Found::NoName(parent(name).to_vec()));
            }
        }
        if let Some(found) = self.find_reverse6(question) {
            return Some(found);
        }
        for lan in self.lans.iter().filter(|lan| lan.domain.len() > 1) {
            if let Some(prefix) = name.strip_suffix(lan.domain.as_slice())
                && ends_at_label(name, prefix.len())
            {
                // Several LANs may share a domain.
                let sharing = self.lans.iter().filter(|other| other.domain == lan.domain);
                let addresses = sharing.filter_map(|lan| lan.addresses_of(prefix)).next();
                return Some(answer(question.kind, addresses, prefix.is_empty(), &lan.domain));
            }
        }
        if let Some(zone) = self.site.iter().find(|zone| is_under(name, zone)) {
            return Some(site_answer(question.kind, name, zone));
        }
        if is_private_reverse(name) {
            return Some(Found::NoName(parent(name).to_vec()));
        }
        // A bare label is a host of the site, or nobody's; the top of the tree has no addresses.
        let first = usize::from(name.first().copied().unwrap_or(0));
        let bare = first > 0 && name.len() == first.saturating_add(2);
        if bare && matches!(question.kind, rr::A | rr::AAAA | rr::SVCB | rr::HTTPS) {
            let prefix = name.get(..name.len().saturating_sub(1)).unwrap_or_default();
            let addresses = self.lans.iter().find_map(|lan| lan.addresses_of(prefix));
            return Some(answer(question.kind, addresses, false, parent(name)));
        }
        None
    }

    /// What the router knows of a name in the reverse zone of a LAN's prefix; `None` for all others.
    fn find_reverse6(&self, question: &Question) -> Option<Found> {
        let name = question.name.as_slice();
        let (asked, whole) = reverse_prefix(name)?;
        let mut prefixes = self.lans.iter().flat_map(|lan| &lan.prefixes);
        if !prefixes.any(|prefix| prefix.covers(asked)) {
            return None;
        }
        let owner = self.lans.iter().find_map(|lan| lan.name_of6(asked)).filter(|_| whole);
        Some(match owner {
            Some(owner) if asked.prefix == 128 && matches!(question.kind, rr::PTR | rr::ANY) => {
                Found::Records(vec![(rr::PTR, owner)])
            }
            // Either the name of an address, or above one (RFC 8020).
            Some(_) => Found::NoData(name.to_vec()),
            None => Found::NoName(parent(name).to_vec()),
        })
    }
}

impl Lan {
    /// The addresses of a label, in wire format without the root. `None` when nobody has the name.
    fn addresses_of(&self, label: &[u8]) -> Option<Addresses> {
        if self.router.len() > 1 && label == self.router {
            return Some(Addresses {
                ipv4: Some(self.network.address),
                ipv6: self.router_addresses().collect(),
            });
        }
        let fixed = self.fixed.get(label);
        let ipv4 = fixed.and_then(|host| host.ipv4).or_else(|| self.leased.get(label).copied());
        let ipv6 = match fixed.and_then(|host| host.suffix) {
            Some(suffix) => self.with_suffix(suffix).collect(),
            None => self.leased6.get(label).cloned().unwrap_or_default(),
        };
        (fixed.is_some() || ipv4.is_some() || !ipv6.is_empty()).then_some(Addresses { ipv4, ipv6 })
    }

    /// The router's addresses.
    fn router_addresses(&self) -> impl Iterator<Item = Ipv6Addr> {
        // A prefix alone is no host's address (RFC 4291 §2.6.1).
        let own = self.prefixes.iter().filter(|prefix| prefix.address != prefix.network().address);
        own.map(|prefix| prefix.address)
    }

    /// A configured host's addresses.
    fn with_suffix(&self, suffix: Ipv6Addr) -> impl Iterator<Item = Ipv6Addr> {
        self.prefixes.iter().map(move |prefix| prefix.with_suffix(suffix))
    }

    /// The whole name of an address, in wire format.
    fn name_of(&self, address: Ipv4Addr) -> Option<Vec<u8>> {
        let router = (address == self.network.address && self.router.len() > 1).then_some(&self.router);
        let fixed = || self.fixed.iter().find(|(_, host)| host.ipv4 == Some(address)).map(|(label, _)| label);
        let leased = || self.leased.iter().find(|(_, known)| **known == address).map(|(label, _)| label);
        let label = router.or_else(fixed).or_else(leased)?;
        Some([label.as_slice(), &self.domain].concat())
    }

    /// The whole name of an address in `range`, in wire format, when one is known.
    fn name_of6(&self, range: Ipv6Cidr) -> Option<Vec<u8>> {
        let in_range = |address: Ipv6Addr| range.contains(address);
        let router = (self.router.len() > 1 && self.router_addresses().any(in_range)).then_some(&self.router);
        let fixed = || {
            let mut hosts = self.fixed.iter().filter_map(|(label, host)| Some((label, host.suffix?)));
            hosts.find(|(_, suffix)| self.with_suffix(*suffix).any(in_range)).map(|(label, _)| label)
        };
        let leased = || {
            let mut leases = self.leased6.iter();
            leases.find(|(_, addresses)| addresses.iter().copied().any(in_range)).map(|(label, _)| label)
        };
        let label = router.or_else(fixed).or_else(leased)?;
        Some([label.as_slice(), &self.domain].concat())
    }
}

fn answer(kind: u16, addresses: Option<Addresses>, apex: bool, zone: &[u8]) -> Found {
    let Some(addresses) = addresses else {
        return if apex { Found::NoData(zone.to_vec()) } else { Found::NoName(zone.to_vec()) };
    };
    let asked = |family| kind == family || kind == rr::ANY;
    let ipv4 = addresses.ipv4.iter().filter(|_| asked(rr::A)).map(|a| (rr::A, a.octets().to_vec()));
    let ipv6 = addresses.ipv6.iter().filter(|_| asked(rr::AAAA)).map(|a| (rr::AAAA, a.octets().to_vec()));
    let records: Vec<(u16, Vec<u8>)> = ipv4.chain(ipv6).collect();
    if records.is_empty() { Found::NoData(zone.to_vec()) } else { Found::Records(records) }
}

/// RFC 6761 §6.3: localhost is this host; the others have no names.
fn site_answer(kind: u16, name: &[u8], zone: &[u8]) -> Found {
    if zone != wire_name("localhost") {
        return if name == zone { Found::NoData(zone.to_vec()) } else { Found::NoName(zone.to_vec()) };
    }
    match kind {
        rr::A => Found::Records(vec![(rr::A, Ipv4Addr::LOCALHOST.octets().to_vec())]),
        rr::AAAA => Found::Records(vec![(rr::AAAA, core::net::Ipv6Addr::LOCALHOST.octets().to_vec())]),
        _ => Found::NoData(zone.to_vec()),
    }
}

/// The name without its first label.
fn parent(name: &[u8]) -> &[u8] {
    let first = usize::from(name.first().copied().unwrap_or(0));
    name.get(first.saturating_add(1)..).filter(|rest| !rest.is_empty()).unwrap_or(name)
}

/// True when `name` is `zone` or lies under it.
fn is_under(name: &[u8], zone: &[u8]) -> bool {
    name.strip_suffix(zone).is_some_and(|prefix| ends_at_label(name, prefix.len()))
}

/// True when a label of `name` ends at `at`.
fn ends_at_label(name: &[u8], at: usize) -> bool {
    let mut start = 0usize;
    while start < at {
        let Some(&len) = name.get(start) else { return false };
        start = start.saturating_add(1).saturating_add(usize::from(len));
    }
    start == at
}

/// The labels of a name, from the root's side, without the root.
fn labels_from_root(name: &[u8]) -> Vec<&[u8]> {
    let mut labels = Vec::new();
    let mut rest = name;
    while let Some((&len, after)) = rest.split_first() {
        let Some((label, after)) = after.split_at_checked(usize::from(len)) else { break };
        if len > 0 {
            labels.push(label);
        }
        rest = after;
    }
    labels.reverse();
    labels
}

/// The leading octets of an address that a name under in-addr.arpa spells, and whether that is all of the name: others lie
/// under them, such as those of services (RFC 6763 §11).
fn reverse_octets(name: &[u8]) -> Option<(Vec<u8>, bool)> {
    let labels = labels_from_root(name);
    let labels = labels.strip_prefix(&[b"arpa".as_slice(), b"in-addr"])?;
    let octet = |label: &&[u8]| core::str::from_utf8(label).ok()?.parse().ok();
    let octets: Vec<u8> = labels.iter().map_while(octet).collect();
    let whole = octets.len() == labels.len();
    Some((octets, whole))
}

fn reverse_address(name: &[u8]) -> Option<Ipv4Addr> {
    let (octets, whole) = reverse_octets(name)?;
    let octets: [u8; 4] = octets.try_into().ok().filter(|_| whole)?;
    Some(Ipv4Addr::from(octets))
}

/// The beginning of an address that a name under ip6.arpa spells, and whether that is all of the name (RFC 3596 §2.5).
fn reverse_prefix(name: &[u8]) -> Option<(Ipv6Cidr, bool)> {
    let labels = labels_from_root(name);
    let labels = labels.strip_prefix(&[b"arpa".as_slice(), b"ip6"])?;
    let nibble = |label: &&[u8]| match label {
        [digit] => char::from(*digit).to_digit(16).map(u128::from),
        _ => None,
    };
    let (mut bits, mut prefix) = (0u128, 0u8);
    for nibble in labels.iter().map_while(nibble).take(32) {
        prefix = prefix.saturating_add(4);
        bits |= nibble.checked_shl(128u32.saturating_sub(u32::from(prefix))).unwrap_or(0);
    }
    let whole = labels.len() == usize::from(prefix / 4);
    Some((Ipv6Cidr { address: Ipv6Addr::from_bits(bits), prefix }, whole))
}

/// Reverse zones of addresses that mean nothing outside (RFC 6303 §4.1 and 4.2, RFC 7793).
fn is_private_reverse(name: &[u8]) -> bool {
    let octets = reverse_octets(name).map(|(octets, _)| octets);
    matches!(
        octets.as_deref(),
        Some(
            [0 | 10 | 127, ..]
                | [100, 64..=127, ..]
                | [169, 254, ..]
                | [172, 16..=31, ..]
                | [192, 168, ..]
                | [192, 0, 2, ..]
                | [198, 51, 100, ..]
                | [203, 0, 113, ..]
                | [255, 255, 255, 255, ..]
        )
    )
}

/// A name's text in wire format, in lower case. Labels that are too long are left out.
pub fn wire_name(text: &str) -> Vec<u8> {
    let mut name = Vec::with_capacity(text.len() + 2);
    for part in text.split('.') {
        name.extend_from_slice(&label(part));
    }
    name.push(0);
    name
}

/// A label in wire format, in lower case; empty when it cannot be one.
fn label(text: &str) -> Vec<u8> {
    match u8::try_from(text.len()) {
        Ok(len @ 1..=63) => [&[len], text.to_ascii_lowercase().as_bytes()].concat(),
        _ => Vec::new(),
    }
}
