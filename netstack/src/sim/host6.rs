//! IPv6 of a simulated host, as the hosts in a household do it today.
//!
//! 1. It solicits routers until one says that it is a default router (RFC 4861 §6.3.7, RFC 7559).
//! 2. Out of a Router Advertisement it takes default routers and other routes, each with its lifetime (RFC 4191), prefixes
//!    on the link, DNS servers (RFC 8106), and an address of its own in each prefix that is for that (RFC 4862 §5.5.3). An
//!    address is used once nobody has claimed it for a second.
//! 3. It asks for its neighbours, and answers when they ask.
//! 4. It answers echo requests, and pings a target from the address that a new connection would have (RFC 6724 §5).
//!
//! Netstack's codec reads and writes the packets; what the host makes of them is its own, so that it can disagree with the
//! gateway. It has no temporary addresses (RFC 8981): they would live and die with the one that it has.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::Ipv6Addr;

use crate::frame::Frame;
use crate::id::{Ipv6Cidr, Mac};
use crate::ndp::message::{Message, Packet, Preference, PrefixInformation, RouterAdvertisement};
use crate::time::{Duration, Instant};
use crate::wire::ethernet::{self, ethertype};
use crate::wire::ipv6::{
    ALL_NODES, ALL_ROUTERS, Header, Ipv6, group_mac, interface_id, link_local, solicited_node,
};

/// How a simulated host comes by its IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostIpv6Settings {
    /// By Router Advertisements.
    Autoconfigured,
    /// As given; advertisements say nothing to it.
    Static {
        /// Its address and network.
        address: Ipv6Cidr,
        /// Its default router.
        router: Ipv6Addr,
    },
}

/// An address of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostAddress {
    /// The address.
    pub address: Ipv6Addr,
    /// From when it is used: until then others may say that they have it (RFC 4862 §5.4).
    pub usable_from: Instant,
    /// Until when new connections may have it.
    pub preferred_until: Instant,
    /// Until when it is used at all.
    pub valid_until: Instant,
}

impl HostAddress {
    /// True while the host has it.
    pub fn is_valid(&self, now: Instant) -> bool {
        self.usable_from <= now && now < self.valid_until
    }

    /// True while new connections may have it.
    pub fn is_preferred(&self, now: Instant) -> bool {
        self.is_valid(now) && now < self.preferred_until
    }

    fn lasting(address: Ipv6Addr) -> Self {
        HostAddress {
            address,
            usable_from: Instant::ZERO,
            preferred_until: Instant::FOREVER,
            valid_until: Instant::FOREVER,
        }
    }
}

/// An answer to a host's ping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    /// When it came.
    pub at: Instant,
    /// The host's address that it came to.
    pub source: Ipv6Addr,
    /// New connections could have that address at that time.
    pub preferred: bool,
}

/// A route of the host's; a default router is one to `::/0`.
#[derive(Debug, Clone, Copy)]
struct Route {
    prefix: Ipv6Cidr,
    router: Ipv6Addr,
    preference: Preference,
    until: Instant,
}

/// IPv6 of a simulated host.
#[derive(Debug)]
pub struct HostIpv6 {
    mac: Mac,
    autoconfigures: bool,
    target: Option<Ipv6Addr>,
    addresses: Vec<HostAddress>,
    on_link: Vec<(Ipv6Cidr, Instant)>,
    routes: Vec<Route>,
    dns: Vec<(Ipv6Addr, Instant)>,
    neighbours: Vec<(Ipv6Addr, Mac)>,
    waiting: Vec<(Ipv6Addr, Frame)>,
    outgoing: VecDeque<Frame>,
    /// When routers are solicited next, and how long after that again.
    solicit: Option<(Instant, Duration)>,
    sequence: u16,
    /// The last answer to each source address, the latest at the end.
    replies: Vec<Reply>,
}

/// The whole of IPv6.
const EVERYWHERE: Ipv6Cidr = Ipv6Cidr { address: Ipv6Addr::UNSPECIFIED, prefix: 0 };
/// The addresses of a link (RFC 4291 §2.5.6).
const LINK_LOCAL: Ipv6Cidr = Ipv6Cidr { address: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), prefix: 10 };
/// Hop limit of its own packets.
const HOP_LIMIT: u8 = 64;
const ECHO_REQUEST: u8 = 128;
const ECHO_REPLY: u8 = 129;
const PING_ID: [u8; 2] = [0x6b, 0x36];
/// Time for which others may claim an address (RFC 4862 §5.1, RFC 4861 §10).
const DETECTION: Duration = Duration::from_secs(1);
/// Nobody on the link can take more than this from an address that is valid for longer (RFC 4862 §5.5.3 e).
const TWO_HOURS: Duration = Duration::from_secs(7200);
/// Times between two solicitations of routers: the first, and the longest (RFC 7559 §2).
const SOLICIT: (Duration, Duration) = (Duration::from_secs(4), Duration::from_secs(3600));
/// Most packets that wait for a neighbour.
const WAITING: usize = 8;
/// Most source addresses whose last answer is remembered.
const REPLIES: usize = 32;

impl HostIpv6 {
    pub(super) fn new(settings: HostIpv6Settings, mac: Mac, target: Option<Ipv6Addr>, now: Instant) -> Self {
        let mut host = HostIpv6 {
            mac,
            autoconfigures: settings == HostIpv6Settings::Autoconfigured,
            target,
            addresses: Vec::from([HostAddress::lasting(link_local(interface_id(mac)))]),
            on_link: Vec::from([(LINK_LOCAL, Instant::FOREVER)]),
            routes: Vec::new(),
            dns: Vec::new(),
            neighbours: Vec::new(),
            waiting: Vec::new(),
            outgoing: VecDeque::new(),
            solicit: None,
            sequence: 0,
            replies: Vec::new(),
        };
        match settings {
            HostIpv6Settings::Autoconfigured => host.solicit = Some((now, SOLICIT.0)),
            HostIpv6Settings::Static { address, router } => {
                host.addresses.push(HostAddress::lasting(address.address));
                host.on_link.push((address.network(), Instant::FOREVER));
                let until = Instant::FOREVER;
                host.set_route(Route { prefix: EVERYWHERE, router, preference: Preference::Medium, until });
            }
        }
        host
    }

    /// Its addresses beyond the link, and those that are over but not yet forgotten.
    pub fn addresses(&self) -> impl Iterator<Item = &HostAddress> {
        self.addresses.iter().filter(|own| !LINK_LOCAL.contains(own.address))
    }

    /// Its default routers.
    pub fn routers(&self, now: Instant) -> impl Iterator<Item = Ipv6Addr> {
        let routes = self.routes.iter().filter(move |route| route.prefix == EVERYWHERE && now < route.until);
        routes.map(|route| route.router)
    }

    /// The DNS servers that routers told it.
    pub fn dns(&self, now: Instant) -> impl Iterator<Item = Ipv6Addr> {
        self.dns.iter().filter(move |(_, until)| now < *until).map(|&(server, _)| server)
    }

    /// The last answers of the target, one to each source address, the latest at the end.
    pub fn replies(&self) -> &[Reply] {
        &self.replies
    }

    /// The source address of a new connection to the target, when that would be over IPv6. A program that can reach the
    /// target over IPv4, too, does so when IPv6 has no route, or no source of its reach, or a deprecated one, or one of another
    /// kind such as a unique local one (RFC 6724 §6, rules 1, 2, 3 and 5).
    pub fn connection(&self, now: Instant) -> Option<Ipv6Addr> {
        let target = self.target?;
        self.next_hop(now, target)?;
        let source = self.source(now, target).filter(|source| source.is_preferred(now))?.address;
        (scope(source) == scope(target) && label(source) == label(target)).then_some(source)
    }

    pub(super) fn receive(&mut self, now: Instant, frame: &Frame) {
        let Some((header, bytes)) = ethernet::Header::parse(frame.bytes()) else { return };
        if header.ethertype != ethertype::IPV6 || !self.hears(header.destination) {
            return;
        }
        let Some(packet) = Ipv6::parse(bytes) else { return };
        let Some(icmp) = packet.icmp() else { return };
        match icmp {
            [133..=137, ..] => {
                if let Ok(packet) = Packet::parse(bytes) {
                    self.receive_ndp(now, &packet);
                }
            }
            [ECHO_REQUEST, rest @ ..]
                if self.own(packet.destination()).is_some_and(|own| own.is_valid(now)) =>
            {
                let reply = [&[ECHO_REPLY], rest].concat();
                self.send_icmp(now, packet.destination(), packet.source(), &reply);
            }
            [ECHO_REPLY, _, _, _, id0, id1, ..] if [*id0, *id1] == PING_ID => {
                let Some(own) = self.own(packet.destination()).filter(|own| own.is_valid(now)) else {
                    return;
                };
                let reply = Reply { at: now, source: own.address, preferred: own.is_preferred(now) };
                self.replies.retain(|old| old.source != reply.source);
                self.replies.push(reply);
                let too_many = self.replies.len().saturating_sub(REPLIES);
                self.replies.drain(..too_many);
            }
            _ => {}
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        let Some((_, interval)) = self.solicit.filter(|(due, _)| *due <= now) else { return };
        self.solicit = Some((now + interval, (interval * 2).min(SOLICIT.1)));
        self.send_ndp(
            now,
            &Packet {
                source: link_local(interface_id(self.mac)),
                destination: ALL_ROUTERS,
                message: Message::RouterSolicitation { source_link_layer: Some(self.mac) },
            },
        );
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.solicit.map(|(due, _)| due)
    }

    pub(super) fn poll_transmit(&mut self) -> Option<Frame> {
        self.outgoing.pop_front()
    }

    /// Sends an echo request to the target, when there is a source for it.
    pub(super) fn ping(&mut self, now: Instant) {
        let Some(target) = self.target else { return };
        let Some(source) = self.source(now, target).map(|own| own.address) else { return };
        self.sequence = self.sequence.wrapping_add(1);
        let head = [ECHO_REQUEST, 0, 0, 0];
        let message = [&head[..], &PING_ID, &self.sequence.to_be_bytes(), b"are we online?"].concat();
        self.send_icmp(now, source, target, &message);
    }

    /// True for the Ethernet addresses that its card lets through.
    fn hears(&self, mac: Mac) -> bool {
        let groups = self.addresses.iter().map(|own| solicited_node(own.address)).chain([ALL_NODES]);
        mac == self.mac || groups.map(group_mac).any(|group| group == mac)
    }

    fn own(&self, address: Ipv6Addr) -> Option<&HostAddress> {
        self.addresses.iter().find(|own| own.address == address)
    }

    fn receive_ndp(&mut self, now: Instant, packet: &Packet) {
        match &packet.message {
            Message::RouterAdvertisement(advertisement) if self.autoconfigures => {
                self.receive_advertisement(now, packet.source, advertisement);
            }
            Message::NeighbourSolicitation { target, source_link_layer } => {
                if !self.own(*target).is_some_and(|own| own.is_valid(now)) {
                    return;
                }
                if let Some(mac) = *source_link_layer {
                    self.learn(packet.source, mac);
                }
                if let Some(answer) = packet.answer(Some(self.mac), false) {
                    self.send_ndp(now, &answer);
                }
            }
            Message::NeighbourAdvertisement { target, target_link_layer: Some(mac), .. } => {
                self.addresses.retain(|own| own.address != *target || own.usable_from <= now);
                self.learn(*target, *mac);
            }
            _ => {}
        }
    }

    fn receive_advertisement(&mut self, now: Instant, router: Ipv6Addr, read: &RouterAdvertisement) {
        self.addresses.retain(|own| now < own.valid_until);
        if let Some(mac) = read.source_link_layer {
            self.learn(router, mac);
        }
        if read.router_lifetime > 0 {
            self.solicit = None;
        }
        let until = |secs| now.after_lifetime(secs);
        self.set_route(Route {
            prefix: EVERYWHERE,
            router,
            preference: read.preference,
            until: until(read.router_lifetime.into()),
        });
        for route in &read.routes {
            let (prefix, preference) = (route.prefix, route.preference);
            self.set_route(Route { prefix, router, preference, until: until(route.lifetime) });
        }
        for prefix in &read.prefixes {
            if prefix.on_link {
                self.on_link.retain(|(known, _)| *known != prefix.prefix);
                self.on_link.push((prefix.prefix, until(prefix.valid)));
            }
            if prefix.autonomous {
                self.autoconfigure(now, prefix);
            }
        }
        for server in &read.dns {
            self.dns.retain(|(known, _)| *known != server.address);
            self.dns.push((server.address, until(server.lifetime)));
        }
        self.routes.retain(|route| now < route.until);
        self.on_link.retain(|(_, until)| now < *until);
        self.dns.retain(|(_, until)| now < *until);
    }

    /// RFC 4862 §5.5.3.
    fn autoconfigure(&mut self, now: Instant, read: &PrefixInformation) {
        let network = read.prefix;
        if network.prefix != 64 || LINK_LOCAL.contains(network.address) || read.preferred > read.valid {
            return;
        }
        let address = network.with_suffix(link_local(interface_id(self.mac)));
        let (preferred_until, valid_until) =
            (now.after_lifetime(read.preferred), now.after_lifetime(read.valid));
        match self.addresses.iter_mut().find(|own| own.address == address) {
            Some(own) => {
                own.preferred_until = preferred_until;
                let two_hours = now + TWO_HOURS;
                if valid_until > two_hours || valid_until > own.valid_until {
                    own.valid_until = valid_until;
                } else {
                    own.valid_until = own.valid_until.min(two_hours);
                }
            }
            None if read.valid > 0 => {
                let usable_from = now + DETECTION;
                self.addresses.push(HostAddress { address, usable_from, preferred_until, valid_until });
                self.send_ndp(
                    now,
                    &Packet {
                        source: Ipv6Addr::UNSPECIFIED,
                        destination: solicited_node(address),
                        message: Message::NeighbourSolicitation { target: address, source_link_layer: None },
                    },
                );
            }
            None => {}
        }
    }

    fn set_route(&mut self, route: Route) {
        self.routes.retain(|known| (known.prefix, known.router) != (route.prefix, route.router));
        self.routes.push(route);
    }

    /// Where a packet goes next: to the destination itself, or by the most specific route there, the preferred one of those
    /// (RFC 4191 §3.2).
    fn next_hop(&self, now: Instant, destination: Ipv6Addr) -> Option<Ipv6Addr> {
        let on_link = self.on_link.iter().any(|(prefix, until)| now < *until && prefix.contains(destination));
        if on_link {
            return Some(destination);
        }
        let routes =
            self.routes.iter().filter(|route| now < route.until && route.prefix.contains(destination));
        routes.max_by_key(|route| (route.prefix.prefix, route.preference)).map(|route| route.router)
    }

    /// The source for a new connection to `destination` (RFC 6724 §5, rules 1, 2, 3, 6 and 8; the others are about things
    /// that the host has not).
    fn source(&self, now: Instant, destination: Ipv6Addr) -> Option<&HostAddress> {
        let wanted = scope(destination);
        let candidates = self.addresses.iter().filter(|own| own.is_valid(now));
        candidates.max_by_key(|own| {
            let scope = scope(own.address);
            // The smallest scope that is large enough, else the largest.
            let scope = if scope >= wanted { (1, u8::MAX.saturating_sub(scope)) } else { (0, scope) };
            let common = (own.address.to_bits() ^ destination.to_bits()).leading_zeros().min(64);
            (
                own.address == destination,
                scope,
                own.is_preferred(now),
                label(own.address) == label(destination),
                common,
            )
        })
    }

    fn learn(&mut self, address: Ipv6Addr, mac: Mac) {
        self.neighbours.retain(|(known, _)| *known != address);
        self.neighbours.push((address, mac));
        let (ready, waiting): (Vec<_>, _) =
            core::mem::take(&mut self.waiting).into_iter().partition(|(to, _)| *to == address);
        self.waiting = waiting;
        for (_, packet) in ready {
            self.put(mac, packet);
        }
    }

    fn send_icmp(&mut self, now: Instant, source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) {
        let mut packet = Frame::with_capacity(2048);
        if (Header { source, destination, hop_limit: HOP_LIMIT }).write_icmp(message, &mut packet) {
            self.send(now, destination, packet);
        }
    }

    fn send_ndp(&mut self, now: Instant, message: &Packet) {
        let mut packet = Frame::with_capacity(2048);
        if message.emit(&mut packet) {
            self.send(now, message.destination, packet);
        }
    }

    /// Sends an IPv6 packet to a group, or by whatever leads to its destination.
    fn send(&mut self, now: Instant, destination: Ipv6Addr, packet: Frame) {
        if destination.is_multicast() {
            self.put(group_mac(destination), packet);
            return;
        }
        let Some(next) = self.next_hop(now, destination) else { return };
        if let Some(&(_, mac)) = self.neighbours.iter().find(|(known, _)| *known == next) {
            self.put(mac, packet);
            return;
        }
        self.waiting.truncate(WAITING);
        self.waiting.push((next, packet));
        let Some(source) = self.source(now, next).map(|own| own.address) else { return };
        self.send_ndp(
            now,
            &Packet {
                source,
                destination: solicited_node(next),
                message: Message::NeighbourSolicitation { target: next, source_link_layer: Some(self.mac) },
            },
        );
    }

    fn put(&mut self, to: Mac, mut packet: Frame) {
        let header = ethernet::Header { destination: to, source: self.mac, ethertype: ethertype::IPV6 };
        if header.push(&mut packet) {
            self.outgoing.push_back(packet);
        }
    }
}

/// How far an address reaches, as a multicast scope (RFC 6724 §3.1).
fn scope(address: Ipv6Addr) -> u8 {
    const LINK: u8 = 2;
    const GLOBAL: u8 = 14;
    match address.octets() {
        [0xff, flags, ..] => flags & 15,
        _ if LINK_LOCAL.contains(address) => LINK,
        _ => GLOBAL,
    }
}

/// What kind of address it is (RFC 6724 §2.1).
fn label(address: Ipv6Addr) -> u8 {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => 0,
        [0, 0, 0, 0, 0, 0xffff, _, _] => 4,
        [0, 0, 0, 0, 0, 0, _, _] => 3,
        [0x2002, ..] => 2,
        [0x2001, 0, ..] => 5,
        [0xfc00..=0xfdff, ..] => 13,
        [0xfec0..=0xfeff, ..] => 11,
        [0x3ffe, ..] => 12,
        _ => 1,
    }
}

#[cfg(test)]
mod tests;
