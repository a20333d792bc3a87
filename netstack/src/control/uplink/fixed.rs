//! An uplink that asks nobody: it has what the configuration gives, from the start.

use alloc::vec::Vec;
use core::net::IpAddr;

use super::Place;
use crate::control::Outbox;
use crate::forward::{Ipv4Segment, Update, WanIpv4};
use crate::machine::Cx;
use crate::settings::{Port, StaticUplink, Wan};
use crate::status::WanStatus;
use crate::time::Instant;

/// Addresses by configuration.
pub(super) struct Fixed {
    ipv4: Option<WanIpv4>,
    dns: Vec<IpAddr>,
    since: Instant,
    told: bool,
}

impl Fixed {
    pub(super) fn new(cx: &Cx<'_>, given: &StaticUplink, wan: &Wan, port: &Port) -> Self {
        let ipv4 = given.ipv4.filter(|_| wan.ipv4).map(|ipv4| WanIpv4 {
            address: ipv4.address.address,
            mtu: port.mtu,
            segment: Some(Ipv4Segment { network: ipv4.address, gateway: ipv4.gateway }),
        });
        Fixed { ipv4, dns: given.dns.clone(), since: cx.now, told: false }
    }

    pub(super) fn ipv4(&self) -> Option<WanIpv4> {
        self.ipv4
    }

    pub(super) fn dns(&self) -> &[IpAddr] {
        &self.dns
    }

    /// Tells the Forwarder once.
    pub(super) fn drain(&mut self, place: &Place, outbox: &mut Outbox) -> bool {
        if core::mem::replace(&mut self.told, true) {
            return false;
        }
        outbox.updates.extend(self.ipv4.map(|ipv4| Update::WanIpv4Up { wan: place.id, ipv4 }));
        true
    }

    pub(super) fn status(&self, now: Instant) -> WanStatus {
        let segment = self.ipv4.and_then(|ipv4| ipv4.segment);
        WanStatus {
            kind: "static",
            up: self.ipv4.is_some(),
            state: "up",
            since_s: now.since(self.since).as_secs(),
            address: self.ipv4.map(|ipv4| ipv4.address),
            network: segment.map(|segment| segment.network),
            gateway: segment.map(|segment| segment.gateway),
            dns: self
                .dns
                .iter()
                .filter_map(|server| if let IpAddr::V4(server) = server { Some(*server) } else { None })
                .collect(),
            mtu: self.ipv4.map(|ipv4| ipv4.mtu),
            ..WanStatus::default()
        }
    }
}
