//! The router of one link: Router Advertisements (RFC 4861 §6.2) to the hosts of a LAN or to one subscriber.
//!
//! How it works:
//!
//! 1. [`Advertiser::set`] says what is advertised. When that changes what hosts would read, an RA goes out at once, and
//!    twice more, [`MIN_DELAY_BETWEEN_RAS`] apart: hosts must learn of a renumbering although multicast is lost easily,
//!    and RFC 4861 §6.2.4 allows three such RAs, none sooner after another. Changes in one instant make one RA, and a
//!    change soon after an RA waits until that is [`CHANGE_INTERVAL`] old, so that an uplink that comes and goes cannot
//!    flood the link.
//! 2. Without a change an RA goes out every 200 to 600 s. What hosts are told lasts three such times and more, so that
//!    they can miss two RAs in a row.
//! 3. Lifetimes are kept as instants and written as what is left of them at that moment, so no host keeps a prefix for
//!    longer than the uplink gives it (RFC 9096 L-15), nor for longer than [`VALID_MAX`] (L-16). An instant that has passed
//!    is written as 0; whoever calls keeps a stale prefix in the list for as long as it is to be announced (L-13).
//! 4. A host that solicits is answered within half a second: alone when it says its Ethernet address, else all hosts are,
//!    and then no sooner than [`MIN_DELAY_BETWEEN_RAS`] after the last time.
//! 5. DNS servers, search domains and routes that are gone are withdrawn, with lifetime 0, in the RAs of that change.
//!
//! An RA fits into 1,280 octets. What does not fit is left out, the ends of the lists first, and told.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::Ipv6Addr;

use super::message::{
    DnsServer, Message, Packet, Preference, PrefixInformation, RouteInformation, RouterAdvertisement,
    SearchDomain,
};
use crate::frame::Frame;
use crate::id::{Ipv6Cidr, Mac};
use crate::ledger::DropReason;
use crate::machine::Cx;
use crate::time::{Duration, Instant, earliest};
use crate::wire::ipv6::ALL_NODES;

/// Longest time between two RAs (RFC 4861 §6.2.1 MaxRtrAdvInterval, its default).
pub const MAX_INTERVAL: Duration = Duration::from_secs(600);
/// Shortest time between two RAs that nothing calls for (MinRtrAdvInterval, a third of the above).
pub const MIN_INTERVAL: Duration = Duration::from_secs(200);
/// Least time between an RA to all hosts and the next one that they ask for, or that repeats it (RFC 4861 §10).
pub const MIN_DELAY_BETWEEN_RAS: Duration = Duration::from_secs(3);
/// Least time between an RA to all hosts and one that tells a change.
pub const CHANGE_INTERVAL: Duration = Duration::from_secs(1);
/// RAs that tell a change (RFC 4861 §10 MAX_INITIAL_RTR_ADVERTISEMENTS and MAX_FINAL_RTR_ADVERTISEMENTS).
pub const REPEATS: u8 = 3;
/// How long the router is a default router, in seconds: three times [`MAX_INTERVAL`] (RFC 4861 §6.2.1). So long last its
/// routes (RFC 4191 §4), DNS servers and search domains (RFC 8106 §5), too.
pub const ROUTER_LIFETIME: u16 = 1800;
/// Longest preferred lifetime of a prefix, in seconds (RFC 9096 L-16).
pub const PREFERRED_MAX: u32 = 2700;
/// Longest valid lifetime of a prefix, in seconds (RFC 9096 L-16).
pub const VALID_MAX: u32 = 5400;

/// Longest time that an answer to a solicitation waits (RFC 4861 §10 MAX_RA_DELAY_TIME).
const MAX_RA_DELAY: Duration = Duration::from_millis(500);
/// Most hosts that wait for an RA of their own; further ones make it one for all.
const ANSWERS: usize = 16;
/// Most things of each kind that are withdrawn at once.
const WITHDRAWN: usize = 8;
/// Time after which the same or another router on the link is told again.
const REPORT_INTERVAL: Duration = Duration::from_secs(3600);
/// The hop limit that hosts should use.
const CUR_HOP_LIMIT: u8 = 64;

/// What a router tells the hosts of a link.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Advertisement {
    /// Packets to everywhere can be sent to it.
    pub default_router: bool,
    /// Addresses are to be had by DHCPv6.
    pub managed: bool,
    /// Other configuration is to be had by DHCPv6.
    pub other: bool,
    /// The link's MTU in octets, when hosts should be told.
    pub mtu: Option<u32>,
    /// The link's prefixes.
    pub prefixes: Vec<AdvertisedPrefix>,
    /// Networks that it leads to, whether or not it is a default router.
    pub routes: Vec<AdvertisedRoute>,
    /// Recursive DNS servers.
    pub dns: Vec<Ipv6Addr>,
    /// DNS search domains.
    pub domains: Vec<String>,
}

/// A prefix of the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdvertisedPrefix {
    /// The prefix.
    pub prefix: Ipv6Cidr,
    /// Its addresses are reached without a router.
    pub on_link: bool,
    /// Hosts may make addresses in it.
    pub autonomous: bool,
    /// Until when addresses in it are good for new connections.
    pub preferred_until: Instant,
    /// Until when addresses in it are good at all.
    pub valid_until: Instant,
}

/// A network that the router leads to (RFC 4191 §2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdvertisedRoute {
    /// The network.
    pub prefix: Ipv6Cidr,
    /// Until when.
    pub until: Instant,
}

impl Advertisement {
    /// What hosts read of it at `now`.
    fn at(&self, now: Instant, mac: Option<Mac>) -> RouterAdvertisement {
        let prefixes = self.prefixes.iter().map(|prefix| {
            let valid = prefix.valid_until.lifetime(now).min(VALID_MAX);
            PrefixInformation {
                prefix: prefix.prefix,
                on_link: prefix.on_link,
                autonomous: prefix.autonomous,
                valid,
                preferred: prefix.preferred_until.lifetime(now).min(PREFERRED_MAX).min(valid),
            }
        });
        let lifetime = u32::from(ROUTER_LIFETIME);
        let routes = self.routes.iter().map(|route| RouteInformation {
            prefix: route.prefix,
            preference: Preference::Medium,
            lifetime: route.until.lifetime(now).min(lifetime),
        });
        RouterAdvertisement {
            hop_limit: CUR_HOP_LIMIT,
            managed: self.managed,
            other: self.other,
            preference: Preference::Medium,
            router_lifetime: if self.default_router { ROUTER_LIFETIME } else { 0 },
            source_link_layer: mac,
            mtu: self.mtu,
            prefixes: prefixes.collect(),
            routes: routes.collect(),
            dns: self.dns.iter().map(|&address| DnsServer { address, lifetime }).collect(),
            domains: self.domains.iter().map(|name| SearchDomain { name: name.clone(), lifetime }).collect(),
        }
    }
}

/// A fact of the router of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Not everything fits into an RA. Told when that changes.
    LeftOut {
        /// Prefixes, DNS servers, routes and domains that hosts are not told of.
        count: usize,
    },
    /// Another router on the link says that it is a default router. Told once an hour at most.
    OtherRouter {
        /// Its link-local address.
        address: Ipv6Addr,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::LeftOut { count } => write!(
                f,
                "{count} prefixes, DNS servers, routes or domains are not advertised: a Router Advertisement has no room for them"
            ),
            Event::OtherRouter { address } => {
                write!(
                    f,
                    "another router, {address}, also says to the hosts here that it is a default router"
                )
            }
        }
    }
}

/// The router of one link.
#[derive(Debug)]
pub struct Advertiser {
    source: Ipv6Addr,
    mac: Option<Mac>,
    advertisement: Advertisement,
    /// What is no longer advertised, while the RAs of that change go out.
    withdrawn: Advertisement,
    state: State,
    /// The last RA to all hosts.
    last: Option<Instant>,
    /// Hosts that get an RA of their own, and when.
    answers: Vec<(Instant, Ipv6Addr)>,
    /// An RA to all hosts is to be sent now; it is written when it is fetched.
    multicast: bool,
    transmit: VecDeque<Packet>,
    events: VecDeque<Event>,
    left_out: usize,
    last_report: Option<Instant>,
    /// The time of the last call.
    now: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing is said.
    Silent,
    /// The next RA to all hosts is due at `next`; `changes` more tell the last change.
    Advertising { next: Instant, changes: u8 },
    /// The same, and then silence.
    Stopping { next: Instant, changes: u8 },
}

impl Advertiser {
    /// The router of a link on which it has the link-local address `source` and, on Ethernet, the address `mac`. It is
    /// silent until it is told what to say.
    pub fn new(cx: &mut Cx<'_>, source: Ipv6Addr, mac: Option<Mac>) -> Self {
        Advertiser {
            source,
            mac,
            advertisement: Advertisement::default(),
            withdrawn: Advertisement::default(),
            state: State::Silent,
            last: None,
            answers: Vec::new(),
            multicast: false,
            transmit: VecDeque::new(),
            events: VecDeque::new(),
            left_out: 0,
            last_report: None,
            now: cx.now,
        }
    }

    /// This is advertised from now on, unless the router is about to fall silent.
    pub fn set(&mut self, cx: &mut Cx<'_>, advertisement: Advertisement) {
        if matches!(self.state, State::Stopping { .. }) {
            return;
        }
        let advertising = matches!(self.state, State::Advertising { .. });
        let read = advertisement.at(cx.now, self.mac);
        let same = advertising && read == self.advertisement.at(cx.now, self.mac);
        let old = core::mem::replace(&mut self.advertisement, advertisement);
        if same {
            return;
        }
        let left_out = read.to_bytes().1;
        if left_out != self.left_out && left_out > 0 {
            self.tell(Event::LeftOut { count: left_out });
        }
        self.left_out = left_out;
        self.withdraw(if advertising { old } else { Advertisement::default() });
        let (next, changes) = self.change(cx);
        self.state = State::Advertising { next, changes };
        self.handle_timeout(cx);
    }

    /// Hosts may have waited in vain, while nobody here counted the time: everything is told anew. Not at once, but a moment
    /// later ([`CHANGE_INTERVAL`]), so that what turns out to be otherwise meanwhile is not told as it was.
    pub fn repeat(&mut self, cx: &mut Cx<'_>) {
        if let State::Advertising { next, .. } = self.state {
            self.state = State::Advertising { next: next.min(cx.now + CHANGE_INTERVAL), changes: REPEATS };
        }
    }

    /// Tells the hosts that the router is a default router no longer, and falls silent (RFC 4861 §6.2.5).
    pub fn stop(&mut self, cx: &mut Cx<'_>) {
        if matches!(self.state, State::Advertising { .. }) {
            self.advertisement.default_router = false;
            // Nobody may come back to send it later.
            self.state = State::Stopping { next: cx.now, changes: REPEATS };
            self.answers.clear();
            self.handle_timeout(cx);
        }
    }

    /// A packet of Neighbor Discovery came in; the bytes begin at its IPv6 header. An error says why it was of no use.
    pub fn handle(&mut self, cx: &mut Cx<'_>, packet: &[u8]) -> Result<(), DropReason> {
        let packet = Packet::parse(packet)?;
        match &packet.message {
            Message::RouterSolicitation { source_link_layer } => {
                self.solicited(cx, packet.source, source_link_layer.is_some());
            }
            Message::RouterAdvertisement(other)
                if packet.source != self.source
                    && other.router_lifetime > 0
                    && self.last_report.is_none_or(|at| cx.now.since(at) >= REPORT_INTERVAL) =>
            {
                self.last_report = Some(cx.now);
                self.tell(Event::OtherRouter { address: packet.source });
            }
            // On Ethernet this is for the segment's `Neighbours`.
            Message::NeighbourSolicitation { target, .. } if self.mac.is_none() && *target == self.source => {
                if self.transmit.len() >= ANSWERS {
                    return Err(DropReason::ServiceOverload);
                }
                self.transmit.extend(packet.answer(None, true));
            }
            _ => {}
        }
        Ok(())
    }

    /// Advertises when it is time.
    pub fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        self.now = self.now.max(cx.now);
        let (due, later) = self.answers.iter().partition(|&&(at, _)| at <= cx.now);
        self.answers = later;
        let due: Vec<(Instant, Ipv6Addr)> = due;
        for (_, host) in due {
            self.transmit.push_back(self.packet(host));
        }
        let (State::Advertising { next, changes } | State::Stopping { next, changes }) = self.state else {
            return;
        };
        if next > cx.now {
            return;
        }
        self.multicast = true;
        self.last = Some(cx.now);
        let changes = changes.saturating_sub(1);
        self.state = match self.state {
            State::Stopping { .. } if changes == 0 => State::Silent,
            State::Stopping { .. } => State::Stopping { next: cx.now + MIN_DELAY_BETWEEN_RAS, changes },
            _ if changes > 0 => State::Advertising { next: cx.now + MIN_DELAY_BETWEEN_RAS, changes },
            _ => State::Advertising { next: cx.now + between(cx, MIN_INTERVAL, MAX_INTERVAL), changes },
        };
    }

    /// When the machine wants to be called next, if ever.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let answer = self.answers.iter().map(|&(at, _)| at).min();
        match self.state {
            State::Silent => answer,
            State::Advertising { next, .. } | State::Stopping { next, .. } => earliest(answer, Some(next)),
        }
    }

    /// Writes the next IPv6 packet into `frame`; says whether there was one.
    pub fn poll_transmit(&mut self, frame: &mut Frame) -> bool {
        if core::mem::take(&mut self.multicast) {
            let packet = self.packet(ALL_NODES);
            if !matches!(self.state, State::Advertising { changes: 1.., .. } | State::Stopping { .. }) {
                self.withdrawn = Advertisement::default();
            }
            return packet.emit(frame);
        }
        self.transmit.pop_front().is_some_and(|packet| packet.emit(frame))
    }

    /// The next fact.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// A host asks which routers there are (RFC 4861 §6.2.6).
    fn solicited(&mut self, cx: &mut Cx<'_>, host: Ipv6Addr, has_mac: bool) {
        let State::Advertising { next, changes } = self.state else { return };
        let due = cx.now + between(cx, Duration::ZERO, MAX_RA_DELAY);
        if !host.is_unspecified() && has_mac {
            if self.answers.iter().any(|&(_, waiting)| waiting == host) {
                return;
            }
            if self.answers.len() < ANSWERS {
                self.answers.push((due, host));
                return;
            }
        }
        let allowed = self.last.map_or(due, |last| due.max(last + MIN_DELAY_BETWEEN_RAS));
        self.state = State::Advertising { next: next.min(allowed), changes };
    }

    /// When a change is told first, and how often. An RA that nobody has fetched yet tells it already.
    fn change(&mut self, cx: &Cx<'_>) -> (Instant, u8) {
        if self.multicast && self.last == Some(cx.now) {
            return (cx.now + MIN_DELAY_BETWEEN_RAS, REPEATS - 1);
        }
        (self.last.map_or(cx.now, |last| cx.now.max(last + CHANGE_INTERVAL)), REPEATS)
    }

    /// Notes what was advertised until now and is no more.
    fn withdraw(&mut self, old: Advertisement) {
        let new = &self.advertisement;
        let mut gone = core::mem::take(&mut self.withdrawn);
        gone.dns.extend(old.dns);
        gone.dns.retain(|server| !new.dns.contains(server));
        gone.domains.extend(old.domains);
        gone.domains.retain(|domain| !new.domains.contains(domain));
        gone.routes.extend(old.routes);
        gone.routes.retain(|route| new.routes.iter().all(|kept| kept.prefix != route.prefix));
        gone.dns.truncate(WITHDRAWN);
        gone.domains.truncate(WITHDRAWN);
        gone.routes.truncate(WITHDRAWN);
        self.withdrawn = gone;
    }

    /// The RA at this moment.
    fn packet(&self, destination: Ipv6Addr) -> Packet {
        let mut read = self.advertisement.at(self.now, self.mac);
        let gone = self.withdrawn.at(self.now, None);
        read.dns.extend(gone.dns.into_iter().map(|server| DnsServer { lifetime: 0, ..server }));
        read.routes.extend(gone.routes.into_iter().map(|route| RouteInformation { lifetime: 0, ..route }));
        read.domains.extend(gone.domains.into_iter().map(|domain| SearchDomain { lifetime: 0, ..domain }));
        Packet { source: self.source, destination, message: Message::RouterAdvertisement(read) }
    }

    fn tell(&mut self, event: Event) {
        // There are two kinds, and each is told seldom.
        if self.events.len() < ANSWERS {
            self.events.push_back(event);
        }
    }
}

/// A random time from `least` to `most`.
fn between(cx: &mut Cx<'_>, least: Duration, most: Duration) -> Duration {
    let span = u64::try_from(most.saturating_sub(least).as_nanos()).unwrap_or(u64::MAX);
    least + Duration::from_nanos(cx.rng.below(span.saturating_add(1)))
}

#[cfg(test)]
mod tests;
