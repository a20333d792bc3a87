//! The router as a host of its uplink (RFC 7084 W-1): Router Discovery (RFC 4861 §6.3) and stateless address
//! autoconfiguration (RFC 4862 §5.5).
//!
//! How it works:
//!
//! 1. [`RouterDiscovery::start`] names the link-local address, once nobody else has it. Routers are solicited three times,
//!    4 s apart, and then ever more seldom, once an hour at last (RFC 7559), until one says that it is a default router;
//!    and again when the last one is gone.
//! 2. An RA is taken from a link-local address only. It brings a default router, prefixes that are on the link (L flag),
//!    addresses in prefixes for that purpose (A flag, the interface identifier being that of the link-local address), the
//!    MTU, DNS servers and search domains, and it says whether DHCPv6 has more (M and O flags).
//! 3. Each of them ends when its lifetime does. A lifetime of 0 ends it at once; for addresses a forged RA cannot do so:
//!    it leaves two hours (RFC 4862 §5.5.3 e).
//! 4. After something that we have not seen ([`RouterDiscovery::reconfirm`]) routers are solicited anew. What nobody advertises
//!    within [`REVIEW`] of the first answer counts no longer.
//! 5. [`Event::Changed`] tells that something came, went or, for an address, ceased to be preferred. That it merely lasts
//!    longer is not told.
//!
//! Every list is bounded; what comes when a list is full is not taken, so a flood drives out nobody.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::Ipv6Addr;

use super::message::{Message, Packet, Preference, PrefixInformation, RouterAdvertisement};
use crate::frame::Frame;
use crate::id::{Ipv6Cidr, Mac};
use crate::ledger::DropReason;
use crate::machine::Cx;
use crate::time::{Duration, Instant, earliest};
use crate::wire::ipv6::{ALL_ROUTERS, MIN_MTU};

/// Time between the first solicitations (RFC 4861 §10 RTR_SOLICITATION_INTERVAL).
pub const SOLICITATION_INTERVAL: Duration = Duration::from_secs(4);
/// Solicitations before they become more seldom (RFC 4861 §10 MAX_RTR_SOLICITATIONS).
pub const SOLICITATIONS: u8 = 3;
/// Longest time between two solicitations (RFC 7559 §2 MRT).
pub const SOLICITATION_MAX: Duration = Duration::from_secs(3600);
/// Longest delay of the first solicitation on a link with others (RFC 4861 §10 MAX_RTR_SOLICITATION_DELAY).
pub const SOLICITATION_DELAY: Duration = Duration::from_secs(1);
/// The lifetime that an RA can leave an address, but not undercut (RFC 4862 §5.5.3 e).
pub const TWO_HOURS: Duration = Duration::from_secs(7200);
/// Time for which routers may answer after the first one did, before what they did not name is forgotten.
pub const REVIEW: Duration = Duration::from_secs(2);
/// Most default routers.
pub const ROUTERS: usize = 8;
/// Most prefixes that are on the link, and most addresses.
pub const PREFIXES: usize = 16;
/// Most DNS servers, and most search domains.
pub const SERVERS: usize = 8;

/// Most answers that wait to be sent.
const QUEUE: usize = 16;

/// A default router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Router {
    /// Its link-local address.
    pub address: Ipv6Addr,
    /// How good it says it is.
    pub preference: Preference,
    /// Until when it is one.
    pub until: Instant,
}

/// An address that was made in an advertised prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub address: Ipv6Addr,
    /// Until when it is good for new connections.
    pub preferred_until: Instant,
    /// Until when it is good at all.
    pub valid_until: Instant,
}

/// A fact of Router Discovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Routers, addresses, prefixes, MTU or DNS are others now.
    Changed,
    /// A router says, for the first time or otherwise than before, what DHCPv6 has to give.
    FlagsSeen {
        /// Addresses and everything else (M).
        managed: bool,
        /// Everything but addresses (O).
        other: bool,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Event::Changed => "what the uplink's routers advertise has changed",
            Event::FlagsSeen { managed: true, .. } => {
                "the uplink's router says that addresses are to be had by DHCPv6"
            }
            Event::FlagsSeen { other: true, .. } => {
                "the uplink's router says that DHCPv6 has other configuration, but no addresses"
            }
            Event::FlagsSeen { .. } => "the uplink's router says nothing of DHCPv6",
        })
    }
}

/// What is known, with its end.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Lasting<T> {
    what: T,
    until: Instant,
}

/// What was learnt from RAs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Learnt {
    /// The best first.
    routers: Vec<Router>,
    addresses: Vec<Address>,
    on_link: Vec<Lasting<Ipv6Cidr>>,
    dns: Vec<Lasting<Ipv6Addr>>,
    domains: Vec<Lasting<String>>,
    mtu: Option<u16>,
    flags: Option<(bool, bool)>,
}

/// What of it is told when it changes: everything but how long it lasts, and of an address whether it is preferred.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Facts {
    routers: Vec<Ipv6Addr>,
    addresses: Vec<(Ipv6Addr, bool)>,
    on_link: Vec<Ipv6Cidr>,
    dns: Vec<Ipv6Addr>,
    domains: Vec<String>,
    mtu: Option<u16>,
}

/// How the link is known.
#[derive(Debug, Clone, Copy)]
struct Link {
    link_local: Ipv6Addr,
    mtu: u16,
}

/// The solicitations that go on.
#[derive(Debug, Clone, Copy)]
struct Soliciting {
    sent: u8,
    interval: Duration,
    next: Instant,
}

/// The router as a host of one uplink.
#[derive(Debug)]
pub struct RouterDiscovery {
    mac: Option<Mac>,
    link: Option<Link>,
    soliciting: Option<Soliciting>,
    learnt: Learnt,
    /// What was learnt since everything was in doubt, and when that takes the place of all.
    review: Option<(Option<Instant>, Learnt)>,
    told: Facts,
    /// The time of the last call.
    now: Instant,
    transmit: VecDeque<Packet>,
    changed: bool,
    flags: Option<Event>,
}

impl RouterDiscovery {
    /// The machine of an uplink on which the router has the Ethernet address `mac`, or of a PPP session, where there is
    /// none. It is silent until it is started.
    pub fn new(mac: Option<Mac>) -> Self {
        RouterDiscovery {
            mac,
            link: None,
            soliciting: None,
            learnt: Learnt::default(),
            review: None,
            told: Facts::default(),
            now: Instant::ZERO,
            transmit: VecDeque::new(),
            changed: false,
            flags: None,
        }
    }

    /// The link is up, packets may have `mtu` octets, and `link_local` is the router's alone: probed for on Ethernet
    /// (RFC 7084 W-2), negotiated by IPV6CP on PPP. Everything begins anew.
    pub fn start(&mut self, cx: &mut Cx<'_>, link_local: Ipv6Addr, mtu: u16) {
        self.stop();
        self.link = Some(Link { link_local, mtu });
        // On PPP there is nobody to come into collision with.
        let delay = match self.mac {
            Some(_) => Duration::from_nanos(cx.rng.below(SOLICITATION_DELAY.as_nanos() as u64)),
            None => Duration::ZERO,
        };
        self.solicit_from(cx.now + delay);
        self.handle_timeout(cx);
    }

    /// Routers and what they advertise may be others by now: they are asked, and what they have said stays until they answer.
    pub fn reconfirm(&mut self, cx: &mut Cx<'_>) {
        if self.link.is_some() {
            self.review = Some((None, Learnt::default()));
            self.solicit_from(cx.now);
            self.handle_timeout(cx);
        }
    }

    /// The link is down: everything is forgotten.
    pub fn stop(&mut self) {
        *self = RouterDiscovery::new(self.mac);
    }

    /// The default routers, the best first: by preference, then by age.
    pub fn routers(&self) -> &[Router] {
        &self.learnt.routers
    }

    /// The addresses made in advertised prefixes, the oldest first.
    pub fn addresses(&self) -> &[Address] {
        &self.learnt.addresses
    }

    /// The prefixes whose addresses are reached without a router.
    pub fn on_link(&self) -> impl Iterator<Item = Ipv6Cidr> + '_ {
        self.learnt.on_link.iter().map(|prefix| prefix.what)
    }

    /// The recursive DNS servers.
    pub fn dns(&self) -> impl Iterator<Item = Ipv6Addr> + '_ {
        self.learnt.dns.iter().map(|server| server.what)
    }

    /// The DNS search domains.
    pub fn domains(&self) -> impl Iterator<Item = &str> + '_ {
        self.learnt.domains.iter().map(|domain| domain.what.as_str())
    }

    /// The MTU that a router wants, in octets: 1,280 at least, and no more than the link's.
    pub fn mtu(&self) -> Option<u16> {
        self.learnt.mtu
    }

    /// The last RA says that addresses are to be had by DHCPv6.
    pub fn managed(&self) -> bool {
        self.learnt.flags.is_some_and(|(managed, _)| managed)
    }

    /// The last RA says that other configuration is to be had by DHCPv6.
    pub fn other(&self) -> bool {
        self.learnt.flags.is_some_and(|(_, other)| other)
    }

    /// A packet of Neighbor Discovery came in; the bytes begin at its IPv6 header. An error says why it was of no use.
    pub fn handle(&mut self, cx: &mut Cx<'_>, packet: &[u8]) -> Result<(), DropReason> {
        let packet = Packet::parse(packet)?;
        let Some(link) = self.link else { return Ok(()) };
        match &packet.message {
            Message::RouterAdvertisement(_) if packet.source == link.link_local => {
                return Err(DropReason::NdpSpoofed);
            }
            Message::RouterAdvertisement(advertisement) => {
                self.learnt.expire(cx.now);
                self.learnt.take(cx.now, link, packet.source, advertisement);
                if let Some((until, review)) = &mut self.review {
                    until.get_or_insert(cx.now + REVIEW);
                    review.take(cx.now, link, packet.source, advertisement);
                }
                let flags = (advertisement.managed, advertisement.other);
                if self.learnt.flags.replace(flags) != Some(flags) {
                    self.flags = Some(Event::FlagsSeen { managed: flags.0, other: flags.1 });
                }
                if advertisement.router_lifetime > 0 {
                    self.soliciting = None;
                }
                self.conclude(cx);
            }
            // On Ethernet this is for the segment's `Neighbours`.
            Message::NeighbourSolicitation { target, .. } if self.mac.is_none() => {
                let ours = self.learnt.addresses.iter().map(|address| address.address);
                if ours.chain([link.link_local]).any(|own| own == *target) {
                    if self.transmit.len() >= QUEUE {
                        return Err(DropReason::ServiceOverload);
                    }
                    self.transmit.extend(packet.answer(None, false));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Solicits, and forgets what has come to its end.
    pub fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        let Some(link) = self.link else { return };
        if let Some((_, review)) =
            self.review.take_if(|(until, _)| until.is_some_and(|until| until <= cx.now))
        {
            self.learnt = Learnt { flags: self.learnt.flags, ..review };
        }
        self.learnt.expire(cx.now);
        self.conclude(cx);
        let Some(soliciting) = self.soliciting.as_mut().filter(|soliciting| soliciting.next <= cx.now) else {
            return;
        };
        soliciting.sent = soliciting.sent.saturating_add(1);
        soliciting.next = cx.now + soliciting.interval;
        if soliciting.sent >= SOLICITATIONS {
            soliciting.interval = soliciting.interval.saturating_mul(2).min(SOLICITATION_MAX);
            soliciting.next = cx.now + jitter(cx, soliciting.interval);
        }
        let source_link_layer = self.mac;
        let message = Message::RouterSolicitation { source_link_layer };
        if self.transmit.len() < QUEUE {
            self.transmit.push_back(Packet { source: link.link_local, destination: ALL_ROUTERS, message });
        }
    }

    /// When the machine wants to be called next, if ever.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let review = self.review.as_ref().and_then(|(until, _)| *until);
        let end = earliest(review, self.learnt.next_end(self.now));
        earliest(self.soliciting.map(|soliciting| soliciting.next), end)
    }

    /// Writes the next IPv6 packet into `frame`; says whether there was one.
    pub fn poll_transmit(&mut self, frame: &mut Frame) -> bool {
        self.transmit.pop_front().is_some_and(|packet| packet.emit(frame))
    }

    /// The next fact.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.flags.take().or_else(|| core::mem::take(&mut self.changed).then_some(Event::Changed))
    }

    /// Tells what is other than before, and asks for a router when the last one is gone.
    fn conclude(&mut self, cx: &Cx<'_>) {
        self.now = cx.now;
        let facts = self.learnt.facts(cx.now);
        if facts == self.told {
            return;
        }
        if facts.routers.is_empty() && !self.told.routers.is_empty() && self.soliciting.is_none() {
            self.solicit_from(cx.now + SOLICITATION_INTERVAL);
        }
        self.told = facts;
        self.changed = true;
    }

    fn solicit_from(&mut self, next: Instant) {
        self.soliciting = Some(Soliciting { sent: 0, interval: SOLICITATION_INTERVAL, next });
    }
}

impl Learnt {
    /// Takes an RA in.
    fn take(&mut self, now: Instant, link: Link, source: Ipv6Addr, advertisement: &RouterAdvertisement) {
        self.take_router(now, source, advertisement);
        for prefix in advertisement.prefixes.iter().filter(|prefix| is_usable(prefix.prefix)) {
            if prefix.on_link {
                keep(&mut self.on_link, PREFIXES, prefix.prefix, now.after_lifetime(prefix.valid), now);
            }
            if prefix.autonomous {
                self.take_address(now, link.link_local, prefix);
            }
        }
        if let Some(mtu) = advertisement.mtu.and_then(|mtu| u16::try_from(mtu).ok())
            && (MIN_MTU..=link.mtu).contains(&mtu)
        {
            self.mtu = Some(mtu);
        }
        for server in &advertisement.dns {
            let address = server.address;
            if !address.is_unspecified() && !address.is_multicast() && !address.is_loopback() {
                keep(&mut self.dns, SERVERS, address, now.after_lifetime(server.lifetime), now);
            }
        }
        for domain in &advertisement.domains {
            keep(&mut self.domains, SERVERS, domain.name.clone(), now.after_lifetime(domain.lifetime), now);
        }
    }

    fn take_router(&mut self, now: Instant, address: Ipv6Addr, advertisement: &RouterAdvertisement) {
        let until = now + Duration::from_secs(advertisement.router_lifetime.into());
        let router = Router { address, preference: advertisement.preference, until };
        if let Some(known) = self.routers.iter_mut().find(|known| known.address == address) {
            *known = router;
        } else if self.routers.len() < ROUTERS {
            self.routers.push(router);
        }
        self.routers.retain(|router| router.until > now);
        self.routers.sort_by_key(|router| core::cmp::Reverse(router.preference));
    }

    /// An address in a prefix for autoconfiguration (RFC 4862 §5.5.3).
    fn take_address(&mut self, now: Instant, link_local: Ipv6Addr, prefix: &PrefixInformation) {
        if prefix.preferred > prefix.valid || prefix.prefix.prefix != 64 {
            return;
        }
        let address = prefix.prefix.with_suffix(link_local);
        let (preferred_until, valid_until) =
            (now.after_lifetime(prefix.preferred), now.after_lifetime(prefix.valid));
        let Some(known) = self.addresses.iter_mut().find(|known| known.address == address) else {
            if prefix.valid > 0 && self.addresses.len() < PREFIXES {
                self.addresses.push(Address { address, preferred_until, valid_until });
            }
            return;
        };
        known.preferred_until = preferred_until;
        let two_hours = now + TWO_HOURS;
        if valid_until > two_hours || valid_until > known.valid_until {
            known.valid_until = valid_until;
        } else if known.valid_until > two_hours {
            known.valid_until = two_hours;
        }
    }

    /// Forgets what has come to its end.
    fn expire(&mut self, now: Instant) {
        self.routers.retain(|router| router.until > now);
        self.addresses.retain(|address| address.valid_until > now);
        self.on_link.retain(|prefix| prefix.until > now);
        self.dns.retain(|server| server.until > now);
        self.domains.retain(|domain| domain.until > now);
    }

    /// When something comes to its end next.
    fn next_end(&self, now: Instant) -> Option<Instant> {
        let routers = self.routers.iter().map(|router| router.until);
        let addresses =
            self.addresses.iter().flat_map(|address| [address.preferred_until, address.valid_until]);
        let prefixes = self.on_link.iter().map(|prefix| prefix.until);
        let dns = self.dns.iter().map(|server| server.until);
        let domains = self.domains.iter().map(|domain| domain.until);
        let ends = routers.chain(addresses).chain(prefixes).chain(dns).chain(domains);
        ends.filter(|&end| end > now && end < Instant::FOREVER).min()
    }

    fn facts(&self, now: Instant) -> Facts {
        Facts {
            routers: self.routers.iter().map(|router| router.address).collect(),
            addresses: self
                .addresses
                .iter()
                .map(|address| (address.address, address.preferred_until > now))
                .collect(),
            on_link: self.on_link.iter().map(|prefix| prefix.what).collect(),
            dns: self.dns.iter().map(|server| server.what).collect(),
            domains: self.domains.iter().map(|domain| domain.what.clone()).collect(),
            mtu: self.mtu,
        }
    }
}

/// Takes note of something that lasts until `until`, or no longer when that is `now`.
fn keep<T: PartialEq>(list: &mut Vec<Lasting<T>>, most: usize, what: T, until: Instant, now: Instant) {
    if let Some(known) = list.iter_mut().find(|known| known.what == what) {
        known.until = until;
    } else if list.len() < most {
        list.push(Lasting { what, until });
    }
    list.retain(|known| known.until > now);
}

/// True for a prefix that can be of use: neither link-local nor of groups (RFC 4861 §6.3.4, RFC 4862 §5.5.3 b).
fn is_usable(prefix: Ipv6Cidr) -> bool {
    !prefix.address.is_unicast_link_local() && !prefix.address.is_multicast()
}

/// A time about `interval`: a tenth more or less (RFC 8415 §15, as RFC 7559 §2 has it).
fn jitter(cx: &mut Cx<'_>, interval: Duration) -> Duration {
    let tenth = interval / 10;
    let span = u64::try_from(tenth.as_nanos()).unwrap_or(u64::MAX).saturating_mul(2);
    interval.saturating_sub(tenth) + Duration::from_nanos(cx.rng.below(span))
}

#[cfg(test)]
mod tests;
