//! Names that the router answers for itself.
//!
//! The LANs' domains, their hosts and leases; the reverse zones of the LANs' networks and of every address that means
//! nothing outside (RFC 6303, RFC 7793); and names that must not leave a site (RFC 6761, RFC 6762, RFC 8375, RFC 9462).
//! What is asked under any of these is answered here, if only with "no such name".

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use super::message::{Question, rr};
use crate::id::{Ipv4Cidr, LanId};
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

#[derive(Debug)]
struct Lan {
    network: Ipv4Cidr,
    /// In wire format, lower case.
    domain: Vec<u8>,
    /// Labels of the router and the configured hosts.
    fixed: BTreeMap<Vec<u8>, Ipv4Addr>,
    /// Labels of leases.
    leased: BTreeMap<Vec<u8>, Ipv4Addr>,
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
            let router = (label(&settings.hostname), lan.address.address);
            let hosts = lan.hosts.iter().filter_map(|host| Some((label(&host.name), host.ipv4?)));
            Lan {
                network: lan.address,
                domain: wire_name(&lan.domain),
                fixed: hosts.chain([router]).filter(|(label, _)| label.len() > 1).collect(),
                leased: BTreeMap::new(),
            }
        });
        Local { lans: lans.collect(), site: SITE_ZONES.iter().map(|zone| wire_name(zone)).collect() }
    }

    /// Replaces the names of a LAN's leases.
    pub fn set_leases<'a>(&mut self, lan: LanId, leases: impl IntoIterator<Item = (&'a str, Ipv4Addr)>) {
        if let Some(lan) = self.lans.get_mut(lan.index()) {
            lan.leased = leases.into_iter().map(|(name, address)| (label(name), address)).collect();
            lan.leased.retain(|label, _| label.len() > 1 && !lan.fixed.contains_key(label));
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
        for lan in self.lans.iter().filter(|lan| lan.domain.len() > 1) {
            if let Some(prefix) = name.strip_suffix(lan.domain.as_slice())
                && ends_at_label(name, prefix.len())
            {
                // Several LANs may share a domain.
                let sharing = self.lans.iter().filter(|other| other.domain == lan.domain);
                let address = sharing.filter_map(|lan| lan.address_of(prefix)).next();
                return Some(answer(question.kind, address, prefix.is_empty(), &lan.domain));
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
            let address = self.lans.iter().find_map(|lan| lan.address_of(prefix));
            return Some(answer(question.kind, address, false, parent(name)));
        }
        None
    }
}

impl Lan {
    /// The address of a label, in wire format without the root.
    fn address_of(&self, label: &[u8]) -> Option<Ipv4Addr> {
        self.fixed.get(label).or_else(|| self.leased.get(label)).copied()
    }

    /// The whole name of an address, in wire format.
    fn name_of(&self, address: Ipv4Addr) -> Option<Vec<u8>> {
        let (label, _) = self.fixed.iter().chain(&self.leased).find(|(_, known)| **known == address)?;
        Some([label.as_slice(), &self.domain].concat())
    }
}

fn answer(kind: u16, address: Option<Ipv4Addr>, apex: bool, zone: &[u8]) -> Found {
    match address {
        Some(address) if kind == rr::A || kind == rr::ANY => {
            Found::Records(vec![(rr::A, address.octets().to_vec())])
        }
        Some(_) => Found::NoData(zone.to_vec()),
        None if apex => Found::NoData(zone.to_vec()),
        None => Found::NoName(zone.to_vec()),
    }
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
