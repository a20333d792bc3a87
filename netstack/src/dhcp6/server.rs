//! The DHCPv6 server of one LAN (RFC 8415; RFC 7084 L-8 to L-10, L-12).
//!
//! How it works: what is told besides leases (DNS servers, domains, options of the ISP's that are passed on) is told to everyone who
//! asks. On a LAN that is managed, a client also gets an address in every prefix of the LAN: the prefixes change, the end of
//! its addresses stays. So a [`Lease`] is that end, the interface identifier: the one of the configured host, or one that a
//! seeded hash draws from the client's identity. After renumbering, a client that renews is told that its old addresses end and
//! which are the new ones.
//!
//! Prefixes are not delegated into the LAN.

#[cfg(test)]
mod tests;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::hash::BuildHasher;
use core::net::Ipv6Addr;

use serde::{Deserialize, Serialize};

use super::duid::Duid;
use super::exchange::{self, Answer, Client, Service, Want};
use super::message::{Builder, MessageType};
use super::option::{Ia, IaKind, Options, StatusCode, code};
use super::{CLIENT_PORT, HOP_LIMIT, Information, SERVER_PORT};
use crate::dhcp4::name;
use crate::frame::Frame;
use crate::id::Ipv6Cidr;
use crate::ledger::DropReason;
use crate::machine::Cx;
use crate::ndp::advertise::{PREFERRED_MAX, VALID_MAX};
use crate::settings::Host;
use crate::table::Seed;
use crate::time::{Duration, Instant};
use crate::wire::ipv6::Header;

/// Most clients with a lease.
pub const LEASES_MAX: usize = 1024;
/// Most messages waiting to be sent.
const QUEUE: usize = 256;
/// Most facts waiting to be told.
const EVENTS: usize = 256;
/// Most interface identifiers that are set aside because other nodes use them.
const DECLINED_MAX: usize = 256;
/// Time for which one is set aside.
const QUARANTINE: Duration = Duration::from_secs(600);
/// Longest preferred lifetime in seconds that the times to renew and rebind are made of.
const RENEW_MAX: u32 = 600;
/// Most prefixes of a LAN that addresses are leased from.
const PREFIXES_MAX: usize = 16;
/// Seconds after which hosts ask again for what is told without leases.
const REFRESH: u32 = 1800;
/// Longest time in seconds between Solicits of a client that gets nothing (SOL_MAX_RT), and between Information-requests: the
/// default.
const MAX_RT: u32 = 3600;

/// What a LAN's server is told to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSettings {
    /// Who the server is.
    pub duid: Duid,
    /// The router's link-local address on the LAN.
    pub source: Ipv6Addr,
    /// Addresses are leased, too.
    pub stateful: bool,
    /// Hosts with fixed addresses and names.
    pub hosts: Vec<Host>,
    /// The router's own name, that no client may take.
    pub router_name: String,
}

/// A prefix of the LAN that addresses are leased from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfferedPrefix {
    /// The prefix, of 64 bits or fewer.
    pub prefix: Ipv6Cidr,
    /// Until when its addresses are preferred.
    pub preferred_until: Instant,
    /// Until when they are valid.
    pub valid_until: Instant,
}

impl OfferedPrefix {
    /// Preferred and valid lifetime in seconds: never longer than what Router Advertisements say (RFC 9096 L-15, L-16).
    fn lifetimes(&self, now: Instant) -> (u32, u32) {
        let valid = self.valid_until.lifetime(now).min(VALID_MAX);
        (self.preferred_until.lifetime(now).min(PREFERRED_MAX).min(valid), valid)
    }
}

/// A client's lease: the end of its addresses, whatever the prefixes are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The client.
    pub client: Duid,
    /// Which of its interfaces.
    pub iaid: u32,
    /// The end of its addresses: `::` and 64 bits.
    pub suffix: Ipv6Addr,
    /// Its name: a single DNS label in lower case that no other lease of the LAN bears.
    pub hostname: Option<String>,
    /// When the lease ends.
    pub expires: Instant,
}

/// A fact of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A client has got addresses.
    Leased {
        /// The client.
        client: Duid,
        /// The addresses.
        addresses: Vec<Ipv6Addr>,
        /// Its name.
        hostname: Option<String>,
    },
    /// A client gave its addresses back.
    Released {
        /// The client.
        client: Duid,
        /// The end of its addresses.
        suffix: Ipv6Addr,
    },
    /// A client found another node using its address.
    Declined {
        /// The client.
        client: Duid,
        /// The end of its addresses.
        suffix: Ipv6Addr,
    },
    /// There are as many leases as there may be. Told once, until one ends.
    Exhausted {
        /// The client that got none.
        client: Duid,
    },
    /// The leases are no longer what they were: time to store them and to tell the DNS their names.
    LeasesChanged,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Leased { client, addresses, hostname } => {
                f.write_str("leased ")?;
                for (nth, address) in addresses.iter().enumerate() {
                    let comma = if nth == 0 { "" } else { ", " };
                    write!(f, "{comma}{address}")?;
                }
                match hostname {
                    Some(name) => write!(f, " to {name} ({client})"),
                    None => write!(f, " to {client}"),
                }
            }
            Event::Released { client, suffix } => {
                write!(f, "{client} gave its addresses that end in {suffix} back")
            }
            Event::Declined { client, suffix } => write!(
                f,
                "{client} found another node using its address that ends in {suffix}; this end is set aside for {} min",
                QUARANTINE.as_secs() / 60
            ),
            Event::Exhausted { client } => {
                write!(f, "no address is left for {client}: {LEASES_MAX} clients have one already")
            }
            Event::LeasesChanged => f.write_str("the DHCPv6 leases have changed"),
        }
    }
}

/// A client's association.
type Key = (Duid, u32);

/// The DHCPv6 server of one LAN.
#[derive(Debug)]
pub struct Server {
    settings: ServerSettings,
    seed: Seed,
    information: Information,
    prefixes: Vec<OfferedPrefix>,
    leases: BTreeMap<Key, Lease>,
    suffixes: BTreeMap<Ipv6Addr, Key>,
    names: BTreeMap<String, Key>,
    deadlines: BTreeSet<(Instant, Key)>,
    declined: VecDeque<(Instant, Ipv6Addr)>,
    exhausted: bool,
    changed: bool,
    transmit: VecDeque<Answer>,
    events: VecDeque<Event>,
}

impl Server {
    /// A server without prefixes, which has nothing to tell yet.
    pub fn new(cx: &mut Cx<'_>, settings: ServerSettings) -> Self {
        Server {
            settings,
            seed: Seed::draw(cx.rng),
            information: Information::default(),
            prefixes: Vec::new(),
            leases: BTreeMap::new(),
            suffixes: BTreeMap::new(),
            names: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            declined: VecDeque::new(),
            exhausted: false,
            changed: false,
            transmit: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Takes back the leases of an earlier life: those that still run, each suffix and name once.
    pub fn restore(&mut self, cx: &mut Cx<'_>, leases: Vec<Lease>) {
        for mut lease in leases {
            let key = (lease.client.clone(), lease.iaid);
            let suffix = suffix(lease.suffix.to_bits() as u64);
            let free = suffix == lease.suffix
                && self.may_have(&lease.client, suffix)
                && !self.suffixes.contains_key(&suffix);
            if lease.expires > cx.now
                && self.leases.len() < LEASES_MAX
                && free
                && !self.leases.contains_key(&key)
            {
                lease.expires = lease.expires.min(cx.now.after_lifetime(VALID_MAX));
                lease.hostname = self.name_for(&key, lease.hostname.as_deref().map(str::as_bytes));
                self.put(key, lease);
            }
        }
    }

    /// The leases, by client.
    pub fn leases(&self) -> impl Iterator<Item = &Lease> {
        self.leases.values()
    }

    /// The prefixes of the LAN from now on; those of more than 64 bits are left out. Addresses in any other are ended when their
    /// clients renew.
    pub fn set_prefixes(&mut self, prefixes: &[OfferedPrefix]) {
        let usable = prefixes.iter().filter(|offered| offered.prefix.prefix <= 64);
        self.prefixes = usable.take(PREFIXES_MAX).copied().collect();
    }

    /// What is told besides leases from now on.
    pub fn set_information(&mut self, information: Information) {
        self.information = information;
    }

    /// A client's packet came in, from its IPv6 header on. An error says why it was of no use.
    pub fn handle(&mut self, cx: &mut Cx<'_>, packet: &[u8]) -> Result<(), DropReason> {
        if self.transmit.len() >= QUEUE {
            return Err(DropReason::ServiceOverload);
        }
        self.handle_timeout(cx);
        let own = self.settings.duid.clone();
        let answer = exchange::answer(self, cx, &own, packet)?;
        self.transmit.extend(answer);
        Ok(())
    }

    /// Ends the leases that have run out.
    pub fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        while let Some((due, _)) = self.deadlines.first()
            && *due <= cx.now
            && let Some((_, key)) = self.deadlines.pop_first()
        {
            self.remove(&key);
        }
        self.declined.retain(|&(until, _)| until > cx.now);
    }

    /// When the next lease runs out, if ever.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|&(due, _)| due).filter(|&due| due != Instant::FOREVER)
    }

    /// Writes the next packet, from the IPv6 header on, behind what `frame` holds, and says whether there was one.
    pub fn poll_transmit(&mut self, frame: &mut Frame) -> bool {
        let source = self.settings.source;
        self.transmit.pop_front().is_some_and(|answer| {
            let header = Header { source, destination: answer.destination, hop_limit: HOP_LIMIT };
            header.write_udp(SERVER_PORT, CLIENT_PORT, &answer.message, frame)
        })
    }

    /// The next fact.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front().or_else(|| core::mem::take(&mut self.changed).then_some(Event::LeasesChanged))
    }

    /// The prefixes that addresses are leased from now: those that are preferred still.
    fn live(&self, now: Instant) -> impl Iterator<Item = &OfferedPrefix> {
        self.prefixes.iter().filter(move |offered| offered.preferred_until > now)
    }

    /// The end that a client's addresses have, or would have. `None` when it cannot have any.
    fn suffix_for(&self, key: &Key) -> Option<Ipv6Addr> {
        if let Some(lease) = self.leases.get(key) {
            return Some(lease.suffix);
        }
        if self.leases.len() >= LEASES_MAX {
            return None;
        }
        let fixed = self.host_of(&key.0).and_then(|host| host.ipv6);
        // Hardly ever more than one attempt, unless other nodes use what was drawn.
        let drawn = (0..LEASES_MAX).map(|attempt| suffix(self.seed.hash_one((key, attempt))));
        fixed
            .into_iter()
            .chain(drawn)
            .find(|suffix| self.may_have(&key.0, *suffix) && !self.suffixes.contains_key(suffix))
    }

    /// False for an end of addresses that is reserved (RFC 5453), another host's, the router's, or used by another node.
    fn may_have(&self, client: &Duid, suffix: Ipv6Addr) -> bool {
        if self.declined.iter().any(|&(_, declined)| declined == suffix) {
            return false;
        }
        let identifier = suffix.to_bits() as u64;
        let usable = (0x1_0000..0xfdff_ffff_ffff_ff80).contains(&identifier);
        let router = identifier == self.settings.source.to_bits() as u64;
        let host = self.settings.hosts.iter().any(|host| host.ipv6 == Some(suffix));
        let own = self.host_of(client).and_then(|host| host.ipv6) == Some(suffix);
        own || (usable && !router && !host)
    }

    /// The configured host that the client is, by the Ethernet address in its DUID.
    fn host_of(&self, client: &Duid) -> Option<&Host> {
        let mac = client.mac()?;
        self.settings.hosts.iter().find(|host| host.mac == Some(mac))
    }

    /// The name that the client may bear: the configured one, or what it says of itself unless somebody else is called so.
    fn name_for(&self, key: &Key, said: Option<&[u8]>) -> Option<String> {
        if let Some(host) = self.host_of(&key.0) {
            return Some(host.name.to_ascii_lowercase());
        }
        let name = name::sanitise(said?)?;
        let configured = self.settings.hosts.iter().any(|host| host.name.eq_ignore_ascii_case(&name));
        let taken = self.names.get(&name).is_some_and(|holder| holder != key);
        let router = name.eq_ignore_ascii_case(&self.settings.router_name) || name == "localhost";
        (!configured && !taken && !router).then_some(name)
    }

    /// Leases the addresses that end in `suffix`, or for longer.
    fn take(&mut self, cx: &mut Cx<'_>, key: Key, suffix: Ipv6Addr, said: Option<&[u8]>) {
        let addresses: Vec<_> = self.live(cx.now).map(|offered| offered.prefix.with_suffix(suffix)).collect();
        let longest = self.live(cx.now).map(|offered| offered.lifetimes(cx.now).1).max().unwrap_or(0);
        let expires = cx.now.after_lifetime(longest);
        let before = self.remove(&key);
        let old = before.as_ref().and_then(|lease| lease.hostname.as_deref()).map(str::as_bytes);
        let hostname = self.name_for(&key, said.or(old));
        if before.is_none() {
            let (client, hostname) = (key.0.clone(), hostname.clone());
            self.tell_event(Event::Leased { client, addresses, hostname });
        }
        let (client, iaid) = key.clone();
        self.put(key, Lease { client, iaid, suffix, hostname, expires });
        self.exhausted = false;
    }

    /// Tells a client that the addresses it has from before, except `given`, end: at once, or with a prefix that is not preferred
    /// any more.
    fn end_others(&self, now: Instant, ia: Ia<'_>, given: &[Ipv6Addr], reply: &mut Builder) -> bool {
        for old in ia.options.ia_addresses().filter(|old| !given.contains(&old.address)) {
            let offered = self.prefixes.iter().find(|offered| offered.prefix.contains(old.address));
            let valid = offered.map_or(0, |offered| offered.lifetimes(now).1);
            reply.ia_address(old.address, (0, valid));
        }
        true
    }

    fn put(&mut self, key: Key, lease: Lease) {
        self.suffixes.insert(lease.suffix, key.clone());
        self.deadlines.insert((lease.expires, key.clone()));
        if let Some(name) = &lease.hostname {
            self.names.insert(name.clone(), key.clone());
        }
        self.leases.insert(key, lease);
        self.changed = true;
    }

    fn remove(&mut self, key: &Key) -> Option<Lease> {
        let lease = self.leases.remove(key)?;
        self.suffixes.remove(&lease.suffix);
        self.deadlines.remove(&(lease.expires, key.clone()));
        if let Some(name) = &lease.hostname
            && self.names.get(name) == Some(key)
        {
            self.names.remove(name);
        }
        self.changed = true;
        Some(lease)
    }

    fn tell_event(&mut self, event: Event) {
        if self.events.len() < EVENTS {
            self.events.push_back(event);
        }
    }
}

impl Service for Server {
    fn lease(
        &mut self,
        cx: &mut Cx<'_>,
        client: &Client<'_>,
        want: Want,
        kind: IaKind,
        ia: Ia<'_>,
        reply: &mut Builder,
    ) {
        if kind == IaKind::Prefixes {
            exchange::deny(reply, kind, ia, StatusCode::NoPrefixAvail, "prefixes are not delegated here");
            return;
        }
        let key = (client.duid.clone(), ia.iaid);
        let now = cx.now;
        let renewed = matches!(want, Want::Renew | Want::Rebind);
        let leasing = self.settings.stateful && self.live(now).next().is_some();
        if !leasing {
            let ended = renewed
                && ia.options.ia_addresses().next().is_some()
                && reply.ia(kind, ia.iaid, (0, 0), |reply| self.end_others(now, ia, &[], reply));
            if !ended {
                let why = "addresses are not leased here now";
                exchange::deny(reply, kind, ia, StatusCode::NoAddrsAvail, why);
            }
            return;
        }
        if renewed && !self.leases.contains_key(&key) {
            exchange::deny(reply, kind, ia, StatusCode::NoBinding, "there is no such lease");
            return;
        }
        // Only of a Request: what a Solicit names is a wish (RFC 8415 §18.3.1, §18.3.2).
        let requested = client.options.first(code::SERVER_ID).is_some() && !renewed;
        if requested && !ia.options.ia_addresses().all(|lease| self.is_on_link(lease.address)) {
            let why = "the addresses do not belong on this link";
            exchange::deny(reply, kind, ia, StatusCode::NotOnLink, why);
            return;
        }
        let Some(suffix) = self.suffix_for(&key) else {
            if !self.exhausted {
                self.exhausted = true;
                self.tell_event(Event::Exhausted { client: key.0 });
            }
            exchange::deny(reply, kind, ia, StatusCode::NoAddrsAvail, "every lease is taken");
            return;
        };
        if want != Want::Offer {
            self.take(cx, key, suffix, hostname(client.options));
        }
        // Soon enough for a renumbering to reach them, for no Router Advertisement ends a leased address.
        let shortest =
            self.live(now).map(|offered| offered.lifetimes(now).0).min().unwrap_or(0).min(RENEW_MAX);
        reply.ia(kind, ia.iaid, exchange::times(shortest), |reply| {
            let mut given = Vec::new();
            for offered in self.live(now) {
                let address = offered.prefix.with_suffix(suffix);
                reply.ia_address(address, offered.lifetimes(now));
                given.push(address);
            }
            !renewed || self.end_others(now, ia, &given, reply)
        });
    }

    fn end(
        &mut self,
        cx: &mut Cx<'_>,
        client: &Client<'_>,
        kind: IaKind,
        ia: Ia<'_>,
        declined: bool,
    ) -> bool {
        if kind == IaKind::Prefixes {
            return false;
        }
        let Some(lease) = self.remove(&(client.duid.clone(), ia.iaid)) else { return false };
        self.exhausted = false;
        let (client, suffix) = (lease.client, lease.suffix);
        if declined {
            if self.declined.len() >= DECLINED_MAX {
                self.declined.pop_front();
            }
            self.declined.push_back((cx.now + QUARANTINE, suffix));
            self.tell_event(Event::Declined { client, suffix });
        } else {
            self.tell_event(Event::Released { client, suffix });
        }
        true
    }

    fn is_on_link(&self, address: Ipv6Addr) -> bool {
        self.prefixes.iter().any(|offered| offered.prefix.contains(address))
    }

    fn tell(&self, kind: MessageType, options: Options<'_>, reply: &mut Builder) {
        // Who does not say what it wants gets what every host needs.
        let silent = options.first(code::OPTION_REQUEST).is_none();
        if silent || options.requests(code::DNS_SERVERS) {
            reply.addresses(code::DNS_SERVERS, &self.information.dns);
        }
        if silent || options.requests(code::DOMAIN_LIST) {
            reply.domains(&self.information.domains);
        }
        for (code, value) in &self.information.passed_on {
            if options.requests(*code) {
                reply.option(*code, value);
            }
        }
        if kind == MessageType::InformationRequest && options.requests(code::INFORMATION_REFRESH_TIME) {
            reply.option(code::INFORMATION_REFRESH_TIME, &REFRESH.to_be_bytes());
        }
        for code in [code::SOL_MAX_RT, code::INF_MAX_RT] {
            if options.requests(code) {
                reply.option(code, &MAX_RT.to_be_bytes());
            }
        }
    }
}

/// The end of addresses with this interface identifier.
fn suffix(identifier: u64) -> Ipv6Addr {
    Ipv6Addr::from_bits(u128::from(identifier))
}

/// The first label of the name in a client FQDN option (RFC 4704 §4): flags, then the name in DNS wire format.
fn hostname(options: Options<'_>) -> Option<&[u8]> {
    let (_flags, name) = options.first(code::CLIENT_FQDN)?.split_first()?;
    let (&len, rest) = name.split_first()?;
    rest.get(..usize::from(len))
}
