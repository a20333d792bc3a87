//! An uplink on plain Ethernet that asks for its address: its DHCPv4 client, and what that has been given.

use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

use super::Place;
use crate::control::{Event, Exit, Outbox};
use crate::dhcp4::client::{self, Client, Input, Lease, Remembered, Way};
use crate::forward::{Update, WanIpv4};
use crate::frame::Frame;
use crate::ledger::DropReason;
use crate::machine::{Cx, Doubt};
use crate::settings;
use crate::status::{WanLeaseStatus, WanStatus};
use crate::time::Instant;

/// A DHCPv4 client; `None` when the uplink does without IPv4.
pub(super) struct Dhcp {
    client: Option<Client>,
    since: Instant,
    mtu: u16,
}

impl Dhcp {
    pub(super) fn new(
        cx: &mut Cx<'_>,
        wan: &settings::Wan,
        port: &settings::Port,
        hostname: &str,
        remembered: Option<Remembered>,
    ) -> Self {
        let client = wan.ipv4.then(|| Client::new(cx, port.mac, port.mtu, hostname, remembered));
        Dhcp { client, since: cx.now, mtu: port.mtu }
    }

    /// An answer of a server, or something by ARP.
    pub(super) fn handle(&mut self, cx: &mut Cx<'_>, input: Input<'_>) -> Result<(), DropReason> {
        match &mut self.client {
            Some(client) => client.handle(cx, input),
            None => Err(DropReason::NotListening),
        }
    }

    /// What a server has said may hold no longer.
    pub(super) fn reconfirm(&mut self, cx: &mut Cx<'_>, doubt: Doubt) {
        if let Some(client) = &mut self.client {
            client.reconfirm(cx, doubt);
        }
    }

    pub(super) fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        if let Some(client) = &mut self.client {
            client.handle_timeout(cx);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.client.as_ref()?.poll_timeout()
    }

    pub(super) fn poll_transmit(&mut self, place: &Place, frame: &mut Frame) -> Option<Exit> {
        match self.client.as_mut()?.poll_transmit(frame)? {
            Way::Port => Some(Exit::Port(place.port)),
            Way::Routed => Some(Exit::Routed),
        }
    }

    pub(super) fn remembered(&self) -> Option<Remembered> {
        self.client.as_ref()?.remembered()
    }

    fn lease(&self) -> Option<&Lease> {
        self.client.as_ref()?.lease()
    }

    fn ipv4_of(&self, lease: &Lease) -> WanIpv4 {
        let mtu = lease.grant.mtu.map_or(self.mtu, |mtu| mtu.min(self.mtu));
        WanIpv4 { address: lease.address(), mtu, segment: Some(lease.grant.segment) }
    }

    /// What the lease gives, while it runs.
    pub(super) fn ipv4(&self) -> Option<WanIpv4> {
        self.lease().map(|lease| self.ipv4_of(lease))
    }

    pub(super) fn dns(&self) -> Vec<IpAddr> {
        self.lease().into_iter().flat_map(|lease| &lease.grant.dns).map(|&server| server.into()).collect()
    }

    pub(super) fn drain(&mut self, place: &Place, outbox: &mut Outbox) -> bool {
        let mut changed = false;
        while let Some(event) = self.client.as_mut().and_then(Client::poll_event) {
            let update = match &event {
                client::Event::Bound(lease) | client::Event::Kept(lease) | client::Event::Renewed(lease) => {
                    Some(Update::WanIpv4Up { wan: place.id, ipv4: self.ipv4_of(lease) })
                }
                client::Event::Refused { .. } | client::Event::Expired { .. } => {
                    Some(Update::WanIpv4Down { wan: place.id })
                }
                client::Event::Silence { .. } | client::Event::Conflict { .. } => None,
            };
            changed |= update.is_some();
            outbox.updates.extend(update);
            outbox.events.push_back(Event::WanDhcp4 { name: Arc::clone(&place.name), event });
        }
        changed
    }

    pub(super) fn status(&self, now: Instant) -> WanStatus {
        let status = self.client.as_ref().map(Client::status);
        let ipv4 = self.ipv4();
        let segment = ipv4.and_then(|ipv4| ipv4.segment);
        let left = |at: Instant| (at != Instant::FOREVER).then(|| at.since(now).as_secs());
        WanStatus {
            kind: "dhcp",
            up: ipv4.is_some(),
            state: status.map_or("up", |status| status.phase),
            since_s: now.since(status.map_or(self.since, |status| status.since)).as_secs(),
            last_failure: status.and_then(|status| status.last_failure).map(ToString::to_string),
            address: ipv4.map(|ipv4| ipv4.address),
            network: segment.map(|segment| segment.network),
            gateway: segment.map(|segment| segment.gateway),
            dns: self.lease().map(|lease| lease.grant.dns.clone()).unwrap_or_default(),
            mtu: ipv4.map(|ipv4| ipv4.mtu),
            lease: self.lease().map(|lease| WanLeaseStatus {
                server: lease.server,
                renews_in_s: left(lease.renews),
                expires_in_s: left(lease.expires),
            }),
            ..WanStatus::default()
        }
    }
}
