//! DHCPv4: the server of one LAN (RFC 2131, options RFC 2132), and the [`client`] of an uplink.
//!
//! How it works: [`message`] takes a client's frame apart and builds the reply's, [`pool`] knows who has which address,
//! [`name`] makes the client's name harmless, and [`Dhcp4`] decides:
//!
//! - DISCOVER: the client's fixed address, its old one, the one it wishes for, a free one, or one that expired longest
//!   ago. With none left it stays silent and says so once.
//! - REQUEST, whether it selects, reboots, renews or rebinds: the address is leased when the client may have it, and
//!   refused (NAK) when not. The router is the LAN's only server, so it also answers clients that it does not know: it
//!   may have lost its leases, or they come from another network.
//! - DECLINE sets the address aside, RELEASE ends the lease and remembers the client, INFORM gets options alone.
//!
//! Relayed messages are refused: the server serves the LAN it stands on.

pub mod client;
pub mod message;
pub mod name;
pub mod pool;
#[cfg(test)]
mod tests;
pub mod wire;

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::Ipv4Addr;

use crate::frame::Frame;
use crate::id::{Ipv4Cidr, Mac};
use crate::ledger::DropReason;
use crate::machine::Cx;
use crate::settings::{self, Host};
use crate::time::{Duration, Instant};
use message::{ClientMessage, Reply, Request, ServerMessage, option};
pub use pool::Lease;
use pool::{Client, Pool};

/// Most frames waiting to be sent.
const QUEUE: usize = 256;
/// Most facts waiting to be told.
const EVENTS: usize = 256;
/// Shortest lease that a client can ask for, unless the configured one is shorter.
const SHORTEST_LEASE: u32 = 120;
/// What a client gets that does not say what it wants.
const DEFAULT_PARAMETERS: [u8; 5] = [
    option::SUBNET_MASK,
    option::ROUTER,
    option::DOMAIN_NAME_SERVER,
    option::DOMAIN_NAME,
    option::BROADCAST_ADDRESS,
];

/// A fact of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A client has got an address.
    Leased {
        /// The address.
        address: Ipv4Addr,
        /// The client.
        mac: Mac,
        /// Its name.
        hostname: Option<String>,
        /// For how long.
        time: Duration,
    },
    /// A client gave its address back.
    Released {
        /// The address.
        address: Ipv4Addr,
        /// The client.
        mac: Mac,
    },
    /// A client wanted an address that it may not have, and was told to start anew.
    Refused {
        /// The address.
        address: Ipv4Addr,
        /// The client.
        mac: Mac,
    },
    /// A client found somebody else using its address.
    Declined {
        /// The address.
        address: Ipv4Addr,
        /// The client.
        mac: Mac,
    },
    /// Every address is taken. Told once, until one is leased again.
    Exhausted {
        /// Number of addresses that the server has.
        addresses: usize,
        /// The client that got none.
        mac: Mac,
    },
    /// The leases are no longer what they were: time to store them and to tell the DNS their names.
    LeasesChanged,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Leased { address, mac, hostname: Some(name), time } => {
                write!(f, "leased {address} to {name} ({mac}) for {} s", time.as_secs())
            }
            Event::Leased { address, mac, hostname: None, time } => {
                write!(f, "leased {address} to {mac} for {} s", time.as_secs())
            }
            Event::Released { address, mac } => write!(f, "{mac} gave {address} back"),
            Event::Refused { address, mac } => {
                write!(f, "refused {address} to {mac}, which may not have it here; the client will ask anew")
            }
            Event::Declined { address, mac } => write!(
                f,
                "{mac} found another station using {address}; the address is set aside for {} min",
                pool::QUARANTINE.as_secs() / 60
            ),
            Event::Exhausted { addresses, mac } => write!(
                f,
                "no address is left for {mac}: all {addresses} are taken; a larger range or a shorter lease would help"
            ),
            Event::LeasesChanged => f.write_str("the leases have changed"),
        }
    }
}

/// The DHCPv4 server of one LAN.
#[derive(Debug)]
pub struct Dhcp4 {
    mac: Mac,
    mtu: u16,
    network: Ipv4Cidr,
    domain: String,
    router_name: String,
    hosts: Vec<Host>,
    lease_time: u32,
    ntp: Vec<Ipv4Addr>,
    pool: Pool,
    exhausted: bool,
    changed: bool,
    transmit: VecDeque<Vec<u8>>,
    events: VecDeque<Event>,
}

impl Dhcp4 {
    /// The server of `lan`, on which the router has the Ethernet address `mac` and packets may have `mtu` octets.
    /// `None` when the LAN is configured without.
    pub fn new(lan: &settings::Lan, mac: Mac, mtu: u16, router_name: &str) -> Option<Self> {
        let dhcp = lan.dhcp.as_ref()?;
        Some(Dhcp4 {
            mac,
            mtu,
            network: lan.address,
            domain: lan.domain.clone(),
            router_name: router_name.to_ascii_lowercase(),
            hosts: lan.hosts.clone(),
            // The largest number would mean for ever (RFC 2131 §3.3).
            lease_time: u32::try_from(dhcp.lease.as_secs()).unwrap_or(u32::MAX).clamp(1, u32::MAX - 1),
            ntp: dhcp.ntp.clone(),
            pool: Pool::new(lan.address, dhcp.range.clone(), &lan.hosts),
            exhausted: false,
            changed: false,
            transmit: VecDeque::new(),
            events: VecDeque::new(),
        })
    }

    /// Takes back the leases of an earlier life that the configuration still allows. Those that have run out are kept for their
    /// holders, as if they had done so in this life: it may be that only the clock says so.
    pub fn restore(&mut self, cx: &mut Cx<'_>, mut leases: Vec<Lease>) {
        leases.sort_by_key(|lease| core::cmp::Reverse(lease.expires));
        for mut lease in leases {
            let client = client_of(lease.client_id.as_deref(), lease.mac);
            let fits = self.network.contains(lease.address);
            if fits && self.pool.may_have(&client, lease.mac, lease.address) {
                lease.hostname =
                    self.name_for(lease.mac, lease.address, lease.hostname.as_deref().map(str::as_bytes));
                self.pool.lease(client, lease);
            }
        }
        self.pool.expire(cx.now);
    }

    /// The live leases, by address.
    pub fn leases(&self) -> impl Iterator<Item = &Lease> {
        self.pool.leases()
    }

    /// A client's message came in, in an Ethernet frame. An error says why it was of no use.
    pub fn handle(&mut self, cx: &mut Cx<'_>, frame: &[u8]) -> Result<(), DropReason> {
        let request = Request::parse(frame)?;
        if !request.giaddr.is_unspecified() || request.chaddr == self.mac {
            return Err(DropReason::DhcpMalformed);
        }
        if self.transmit.len() >= QUEUE {
            return Err(DropReason::ServiceOverload);
        }
        self.handle_timeout(cx);
        let client = client_of(request.client_id.as_deref(), request.chaddr);
        match request.kind {
            ClientMessage::Discover => self.discover(cx, &request, &client),
            ClientMessage::Request => return self.request(cx, &request, client),
            ClientMessage::Decline => return self.decline(cx, &request, &client),
            ClientMessage::Release => self.release(cx, &request, &client),
            ClientMessage::Inform => return self.inform(&request),
        }
        Ok(())
    }

    /// Ends the offers and leases that have run out.
    pub fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        if self.pool.expire(cx.now) {
            self.changed = true;
        }
    }

    /// When the next offer or lease runs out, if ever.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.pool.deadline()
    }

    /// Writes the next Ethernet frame into `frame` and says whether there was one.
    pub fn poll_transmit(&mut self, frame: &mut Frame) -> bool {
        self.transmit.pop_front().is_some_and(|bytes| frame.extend(&bytes))
    }

    /// The next fact.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front().or_else(|| core::mem::take(&mut self.changed).then_some(Event::LeasesChanged))
    }

    fn discover(&mut self, cx: &mut Cx<'_>, request: &Request, client: &Client) {
        match self.pool.offer(cx.now, cx.rng, client, request.chaddr, request.requested) {
            Some(address) => {
                let name = self.name_for(request.chaddr, address, request.hostname.as_deref());
                self.reply(
                    ServerMessage::Offer,
                    request,
                    address,
                    Some(self.lease_time_for(request)),
                    name.as_deref(),
                );
            }
            None if self.exhausted => {}
            None => {
                self.exhausted = true;
                self.tell(Event::Exhausted { addresses: self.pool.size(), mac: request.chaddr });
            }
        }
    }

    fn request(&mut self, cx: &mut Cx<'_>, request: &Request, client: Client) -> Result<(), DropReason> {
        if request.server.is_some_and(|server| server != self.network.address) {
            // SELECTING, and it has selected another server.
            self.pool.withdraw(&client);
            return Ok(());
        }
        // A client that has an address renews or rebinds it; one that has none selects, or reboots with an old one.
        let renewed = Some(request.ciaddr).filter(|ciaddr| !ciaddr.is_unspecified());
        let address = renewed.or(request.requested).ok_or(DropReason::DhcpMalformed)?;
        if !self.network.contains(address) || !self.pool.may_have(&client, request.chaddr, address) {
            self.reply(ServerMessage::Nak, request, Ipv4Addr::UNSPECIFIED, None, None);
            self.tell(Event::Refused { address, mac: request.chaddr });
            return Ok(());
        }
        let seconds = self.lease_time_for(request);
        let time = Duration::from_secs(u64::from(seconds));
        let before = self.pool.lease_of(address).and_then(|lease| lease.hostname.clone());
        let said = request.hostname.as_deref().or(before.as_deref().map(str::as_bytes));
        let hostname = self.name_for(request.chaddr, address, said);
        self.reply(ServerMessage::Ack, request, address, Some(seconds), hostname.as_deref());
        let lease = Lease {
            mac: request.chaddr,
            client_id: request.client_id.clone(),
            address,
            hostname: hostname.clone(),
            expires: cx.now + time,
        };
        if self.pool.lease(client, lease) {
            self.tell(Event::Leased { address, mac: request.chaddr, hostname, time });
        }
        self.exhausted = false;
        self.changed = true;
        Ok(())
    }

    fn decline(&mut self, cx: &mut Cx<'_>, request: &Request, client: &Client) -> Result<(), DropReason> {
        let address = request.requested.ok_or(DropReason::DhcpMalformed)?;
        let ours = request.server.is_none_or(|server| server == self.network.address);
        if ours && self.pool.decline(cx.now, client, request.chaddr, address) {
            self.tell(Event::Declined { address, mac: request.chaddr });
            self.changed = true;
        }
        Ok(())
    }

    fn release(&mut self, cx: &mut Cx<'_>, request: &Request, client: &Client) {
        let ours = request.server.is_none_or(|server| server == self.network.address);
        if ours && self.pool.release(cx.now, client, request.chaddr, request.ciaddr) {
            self.tell(Event::Released { address: request.ciaddr, mac: request.chaddr });
            self.exhausted = false;
            self.changed = true;
        }
    }

    fn inform(&mut self, request: &Request) -> Result<(), DropReason> {
        if request.ciaddr.is_unspecified() || !self.network.contains(request.ciaddr) {
            return Err(DropReason::DhcpMalformed);
        }
        self.reply(ServerMessage::Ack, request, Ipv4Addr::UNSPECIFIED, None, None);
        Ok(())
    }

    /// The lease time that a client gets, in seconds: its wish, within bounds.
    fn lease_time_for(&self, request: &Request) -> u32 {
        let shortest = SHORTEST_LEASE.min(self.lease_time);
        request.lease_time.unwrap_or(self.lease_time).clamp(shortest, self.lease_time)
    }

    /// The name that the station may bear at `address`: the configured one, or what it says of itself unless somebody
    /// else is called so.
    fn name_for(&self, mac: Mac, address: Ipv4Addr, said: Option<&[u8]>) -> Option<String> {
        if let Some(host) = self.hosts.iter().find(|host| host.mac == Some(mac)) {
            return Some(host.name.to_ascii_lowercase());
        }
        let name = name::sanitise(said?)?;
        let configured = self.hosts.iter().any(|host| host.name.eq_ignore_ascii_case(&name));
        let taken = self.pool.holder_of(&name).is_some_and(|holder| holder != address);
        (!configured && !taken && name != self.router_name && name != "localhost").then_some(name)
    }

    fn reply(
        &mut self,
        kind: ServerMessage,
        request: &Request,
        yiaddr: Ipv4Addr,
        lease_time: Option<u32>,
        name: Option<&str>,
    ) {
        let options = match kind {
            ServerMessage::Nak => {
                [(option::MESSAGE, b"this address is not yours here".to_vec())].into_iter().collect()
            }
            ServerMessage::Offer | ServerMessage::Ack => self.options(request, lease_time, name),
        };
        let reply =
            Reply { kind, request, server_mac: self.mac, server: self.network.address, yiaddr, options };
        self.transmit.push_back(reply.to_frame());
    }

    fn options(&self, request: &Request, lease_time: Option<u32>, name: Option<&str>) -> Vec<(u8, Vec<u8>)> {
        let mut options = Vec::new();
        if let Some(time) = lease_time {
            // RFC 2131 §4.4.5: T1 at a half, T2 at seven eighths.
            let rebinding = u64::from(time) * 7 / 8;
            options.push((option::LEASE_TIME, time.to_be_bytes().to_vec()));
            options.push((option::RENEWAL_TIME, (time / 2).to_be_bytes().to_vec()));
            options.push((
                option::REBINDING_TIME,
                u32::try_from(rebinding).unwrap_or(time).to_be_bytes().to_vec(),
            ));
        }
        for &code in request.parameters.as_deref().unwrap_or(&DEFAULT_PARAMETERS) {
            if options.iter().all(|(known, _)| *known != code)
                && let Some(value) = self.parameter(code, name)
            {
                options.push((code, value));
            }
        }
        options
    }

    /// The value of an option that a client asks for.
    fn parameter(&self, code: u8, name: Option<&str>) -> Option<Vec<u8>> {
        let router = || self.network.address.octets().to_vec();
        match code {
            option::SUBNET_MASK => Some(self.network.mask().to_be_bytes().to_vec()),
            option::ROUTER | option::DOMAIN_NAME_SERVER => Some(router()),
            option::HOST_NAME => name.map(|name| name.as_bytes().to_vec()),
            option::DOMAIN_NAME if !self.domain.is_empty() => Some(self.domain.as_bytes().to_vec()),
            option::INTERFACE_MTU if self.mtu < 1500 => Some(self.mtu.to_be_bytes().to_vec()),
            option::NTP_SERVERS if !self.ntp.is_empty() => {
                Some(self.ntp.iter().flat_map(Ipv4Addr::octets).collect())
            }
            option::BROADCAST_ADDRESS => Some(self.network.broadcast()?.octets().to_vec()),
            _ => None,
        }
    }

    fn tell(&mut self, event: Event) {
        if self.events.len() < EVENTS {
            self.events.push_back(event);
        }
    }
}

fn client_of(id: Option<&[u8]>, mac: Mac) -> Client {
    match id {
        Some(id) => Client::Id(id.to_vec()),
        None => Client::Mac(mac),
    }
}
