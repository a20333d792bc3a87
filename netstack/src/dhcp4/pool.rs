//! The addresses of one LAN's DHCP server, and who has them.
//!
//! An address is free, or bound: offered for a moment, leased, expired (kept for the client that may come back, and
//! given away when nothing else is free, the longest expired first), or set aside because a client found somebody else
//! using it. A fixed address belongs to its host and is never free. Memory is bounded by [`POOL_MAX`] and the number of
//! fixed addresses; a client that leases nothing leaves nothing behind.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::id::{Ipv4Cidr, Mac};
use crate::rng::Rng;
use crate::settings;
use crate::time::{Duration, Instant};

/// Most addresses that one LAN leases out; a larger range is used up to here.
pub const POOL_MAX: usize = 65_536;
/// Time for which an offer is kept for its client.
const OFFER_TIME: Duration = Duration::from_secs(60);
/// Time for which an address that a client declined is not offered.
pub const QUARANTINE: Duration = Duration::from_secs(600);

/// A client's lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The client's Ethernet address.
    pub mac: Mac,
    /// Its client identifier (option 61), if it has one.
    pub client_id: Option<Vec<u8>>,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its name: a single DNS label in lower case, that no other live lease of the LAN bears.
    pub hostname: Option<String>,
    /// When the lease ends.
    pub expires: Instant,
}

/// How a client is told from others (RFC 2131 §4.2): by its identifier, else by its Ethernet address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Client {
    /// By client identifier.
    Id(Vec<u8>),
    /// By Ethernet address.
    Mac(Mac),
}

#[derive(Debug)]
enum Binding {
    Offered { client: Client, until: Instant },
    Leased { client: Client, lease: Lease },
    Expired { client: Client, lease: Lease },
    Quarantined { until: Instant },
}

impl Binding {
    fn client(&self) -> Option<&Client> {
        match self {
            Binding::Offered { client, .. }
            | Binding::Leased { client, .. }
            | Binding::Expired { client, .. } => Some(client),
            Binding::Quarantined { .. } => None,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match self {
            Binding::Offered { until, .. } | Binding::Quarantined { until } => Some(*until),
            Binding::Leased { lease, .. } => Some(lease.expires),
            Binding::Expired { .. } => None,
        }
    }
}

/// The addresses of one LAN's DHCP server.
#[derive(Debug)]
pub struct Pool {
    range: core::ops::RangeInclusive<Ipv4Addr>,
    /// Hosts with a fixed address.
    fixed: BTreeMap<Mac, Ipv4Addr>,
    reserved: BTreeSet<Ipv4Addr>,
    free: BTreeSet<Ipv4Addr>,
    bindings: BTreeMap<Ipv4Addr, Binding>,
    clients: BTreeMap<Client, Ipv4Addr>,
    /// Names of the live leases.
    names: BTreeMap<String, Ipv4Addr>,
    deadlines: BTreeSet<(Instant, Ipv4Addr)>,
    expired: BTreeSet<(Instant, Ipv4Addr)>,
}

impl Pool {
    /// The addresses of `range` within `network`, except the router's own, the network's first and last, and those of
    /// `hosts`.
    pub fn new(
        network: Ipv4Cidr,
        range: core::ops::RangeInclusive<Ipv4Addr>,
        hosts: &[settings::Host],
    ) -> Self {
        let fixed: BTreeMap<Mac, Ipv4Addr> =
            hosts.iter().filter_map(|host| Some((host.mac?, host.ipv4?))).collect();
        let mut reserved: BTreeSet<Ipv4Addr> = hosts.iter().filter_map(|host| host.ipv4).collect();
        reserved.insert(network.address);
        if network.prefix < 31 {
            reserved.insert(network.network());
            reserved.extend(network.broadcast());
        }
        let free = (range.start().to_bits()..=range.end().to_bits())
            .map(Ipv4Addr::from)
            .filter(|address| network.contains(*address) && !reserved.contains(address))
            .take(POOL_MAX)
            .collect();
        Pool {
            range,
            fixed,
            reserved,
            free,
            bindings: BTreeMap::new(),
            clients: BTreeMap::new(),
            names: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            expired: BTreeSet::new(),
        }
    }

    /// The address that an offer to `client` should hold, kept for it for a while. `None` when the pool is exhausted.
    pub fn offer(
        &mut self,
        now: Instant,
        rng: &mut dyn Rng,
        client: &Client,
        mac: Mac,
        wish: Option<Ipv4Addr>,
    ) -> Option<Ipv4Addr> {
        if let Some(&fixed) = self.fixed.get(&mac)
            && self.may_have(client, mac, fixed)
        {
            // A live lease of the same station is not touched: the message alone does not show that it is over.
            let own = self.lease_of(fixed).is_some_and(|lease| lease.mac == mac);
            if !own && !self.holds(client, fixed) {
                self.unbind(fixed);
            }
            self.keep_offer(now, client, fixed);
            return Some(fixed);
        }
        let address = self
            .address_of(client, mac)
            .or_else(|| wish.filter(|wish| self.free.contains(wish)))
            .or_else(|| self.any_free(rng))
            .or_else(|| self.expired.first().map(|&(_, address)| address))?;
        self.keep_offer(now, client, address);
        Some(address)
    }

    /// True when `client` may be given `address` now: its own, its fixed one, or one that is free for all.
    pub fn may_have(&self, client: &Client, mac: Mac, address: Ipv4Addr) -> bool {
        let binding = self.bindings.get(&address);
        if let Some(&fixed) = self.fixed.get(&mac)
            && !matches!(self.bindings.get(&fixed), Some(Binding::Quarantined { .. }))
        {
            return address == fixed;
        }
        if self.reserved.contains(&address) {
            return false;
        }
        match binding {
            None => self.free.contains(&address),
            Some(Binding::Quarantined { .. }) => false,
            Some(Binding::Expired { .. }) => true,
            Some(Binding::Offered { .. } | Binding::Leased { .. }) => {
                self.address_of(client, mac) == Some(address)
            }
        }
    }

    /// Leases an address that [`Pool::may_have`] has allowed. Says whether the client had no live lease of it before.
    pub fn lease(&mut self, client: Client, lease: Lease) -> bool {
        let address = lease.address;
        let known = match self.bindings.get(&address) {
            Some(Binding::Leased { lease: old, .. }) => old.mac == lease.mac,
            _ => false,
        };
        // A client has one address at a time.
        if let Some(&other) = self.clients.get(&client)
            && other != address
        {
            self.unbind(other);
        }
        self.unbind(address);
        self.bind(address, Binding::Leased { client, lease });
        !known
    }

    /// Ends what `client` holds at `address`: it was released or refused. Says whether it held a lease.
    pub fn release(&mut self, now: Instant, client: &Client, mac: Mac, address: Ipv4Addr) -> bool {
        if self.address_of(client, mac) != Some(address) {
            return false;
        }
        match self.unbind(address) {
            Some(Binding::Leased { client, mut lease }) => {
                lease.expires = now;
                self.bind(address, Binding::Expired { client, lease });
                true
            }
            Some(old @ Binding::Expired { .. }) => {
                self.bind(address, old);
                false
            }
            _ => false,
        }
    }

    /// Drops the offer that `client` did not take.
    pub fn withdraw(&mut self, client: &Client) {
        if let Some(&address) = self.clients.get(client)
            && matches!(self.bindings.get(&address), Some(Binding::Offered { .. }))
        {
            self.unbind(address);
        }
    }

    /// Sets aside an address of which `client` says that somebody else uses it. False when the client had no claim on
    /// it.
    pub fn decline(&mut self, now: Instant, client: &Client, mac: Mac, address: Ipv4Addr) -> bool {
        let own = self.address_of(client, mac) == Some(address);
        if own {
            self.unbind(address);
            self.bind(address, Binding::Quarantined { until: now + QUARANTINE });
        }
        own
    }

    /// Ends what has run out, and says whether a lease was among it.
    pub fn expire(&mut self, now: Instant) -> bool {
        let mut ended = false;
        while let Some(&(due, address)) = self.deadlines.first() {
            if due > now {
                break;
            }
            if let Some(Binding::Leased { client, lease }) = self.unbind(address) {
                self.bind(address, Binding::Expired { client, lease });
                ended = true;
            }
            self.deadlines.remove(&(due, address));
        }
        ended
    }

    /// When the next offer, lease or quarantine ends.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|&(due, _)| due)
    }

    /// The live leases, by address.
    pub fn leases(&self) -> impl Iterator<Item = &Lease> {
        self.bindings.values().filter_map(|binding| match binding {
            Binding::Leased { lease, .. } => Some(lease),
            _ => None,
        })
    }

    /// The live lease of `address`.
    pub fn lease_of(&self, address: Ipv4Addr) -> Option<&Lease> {
        match self.bindings.get(&address) {
            Some(Binding::Leased { lease, .. }) => Some(lease),
            _ => None,
        }
    }

    /// The address whose live lease bears `name`.
    pub fn holder_of(&self, name: &str) -> Option<Ipv4Addr> {
        self.names.get(name).copied()
    }

    /// Number of addresses that can be leased to anyone, taken or not.
    pub fn size(&self) -> usize {
        self.free.len() + self.bindings.keys().filter(|address| !self.reserved.contains(address)).count()
    }

    /// The address that the client holds or held: under its own name, or under its Ethernet address from a time when
    /// it gave no identifier (a boot loader does not).
    fn address_of(&self, client: &Client, mac: Mac) -> Option<Ipv4Addr> {
        self.clients.get(client).or_else(|| self.clients.get(&Client::Mac(mac))).copied().or_else(|| {
            // The fixed address of this station, taken under another identifier.
            let fixed = self.fixed.get(&mac)?;
            matches!(self.bindings.get(fixed)?, Binding::Leased { lease, .. } if lease.mac == mac)
                .then_some(*fixed)
        })
    }

    fn holds(&self, client: &Client, address: Ipv4Addr) -> bool {
        self.bindings.get(&address).and_then(Binding::client) == Some(client)
    }

    /// Keeps `address` for the client. A live lease of its own stays what it is.
    fn keep_offer(&mut self, now: Instant, client: &Client, address: Ipv4Addr) {
        if matches!(self.bindings.get(&address), Some(Binding::Leased { .. })) {
            return;
        }
        if let Some(&other) = self.clients.get(client)
            && other != address
        {
            self.unbind(other);
        }
        self.unbind(address);
        self.bind(address, Binding::Offered { client: client.clone(), until: now + OFFER_TIME });
    }

    /// A free address, each as likely as its distance to the one before.
    fn any_free(&self, rng: &mut dyn Rng) -> Option<Ipv4Addr> {
        let (first, last) = (self.range.start().to_bits(), self.range.end().to_bits());
        let start = u64::from(first) + rng.below(u64::from(last.saturating_sub(first)) + 1);
        let start = Ipv4Addr::from(u32::try_from(start).unwrap_or(first));
        self.free.range(start..).next().or_else(|| self.free.first()).copied()
    }

    fn bind(&mut self, address: Ipv4Addr, binding: Binding) {
        self.free.remove(&address);
        if let Some(client) = binding.client() {
            self.clients.insert(client.clone(), address);
        }
        if let Some(deadline) = binding.deadline() {
            self.deadlines.insert((deadline, address));
        }
        if let Binding::Leased { lease: Lease { hostname: Some(name), .. }, .. } = &binding {
            self.names.insert(name.clone(), address);
        }
        if let Binding::Expired { lease, .. } = &binding
            && !self.reserved.contains(&address)
        {
            self.expired.insert((lease.expires, address));
        }
        self.bindings.insert(address, binding);
    }

    fn unbind(&mut self, address: Ipv4Addr) -> Option<Binding> {
        let binding = self.bindings.remove(&address)?;
        if let Some(client) = binding.client()
            && self.clients.get(client) == Some(&address)
        {
            self.clients.remove(client);
        }
        if let Some(deadline) = binding.deadline() {
            self.deadlines.remove(&(deadline, address));
        }
        if let Binding::Leased { lease: Lease { hostname: Some(name), .. }, .. } = &binding
            && self.names.get(name) == Some(&address)
        {
            self.names.remove(name);
        }
        if let Binding::Expired { lease, .. } = &binding {
            self.expired.remove(&(lease.expires, address));
        }
        if !self.reserved.contains(&address) {
            self.free.insert(address);
        }
        Some(binding)
    }
}
