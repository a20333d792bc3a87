//! An uplink, one `[wan]`: whatever brings its addresses, seen from the same side.
//!
//! A kind of uplink owns its machine, tells the Forwarder what that has negotiated, and says what it has: [`pppoe`] dials,
//! [`dhcp`] asks a server, [`fixed`] asks nobody.

mod dhcp;
mod fixed;
mod pppoe;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

use dhcp::Dhcp;
use fixed::Fixed;
use pppoe::Pppoe;

use super::{Exit, Outbox};
use crate::dhcp4::client::{self, Input};
use crate::forward::{Usage, WanIpv4};
use crate::frame::Frame;
use crate::id::{PortId, WanId};
use crate::ledger::DropReason;
use crate::machine::{Cx, Doubt};
use crate::pppoe::{DiscoveryFrame, LeftSession, Remembered};
use crate::settings;
use crate::state::State;
use crate::status::WanStatus;
use crate::time::Instant;

/// Which uplink it is.
struct Place {
    id: WanId,
    name: Arc<str>,
    port: PortId,
}

/// An uplink.
pub(super) struct Uplink {
    place: Place,
    kind: Kind,
}

/// What brings an uplink's addresses.
enum Kind {
    Pppoe(Box<Pppoe>),
    Dhcp(Box<Dhcp>),
    Static(Fixed),
}

impl Uplink {
    pub(super) fn new(
        cx: &mut Cx<'_>,
        id: WanId,
        wan: &settings::Wan,
        port: &settings::Port,
        hostname: &str,
        state: &State,
    ) -> Self {
        let kind = match &wan.uplink {
            settings::Uplink::Pppoe(pppoe) => {
                let session = state.sessions.iter().find(|old| old.wan == wan.name);
                let session = session.map(|old| old.left.clone());
                Kind::Pppoe(Box::new(Pppoe::new(cx, pppoe, wan, port, session)))
            }
            settings::Uplink::Dhcp => {
                let lease = state.uplink_leases.iter().find(|old| old.wan == wan.name);
                let lease = lease.map(|old| old.lease.clone());
                Kind::Dhcp(Box::new(Dhcp::new(cx, wan, port, hostname, lease)))
            }
            settings::Uplink::Static(given) => Kind::Static(Fixed::new(cx, given, wan, port)),
        };
        Uplink { place: Place { id, name: wan.name.as_str().into(), port: wan.port }, kind }
    }

    pub(super) fn id(&self) -> WanId {
        self.place.id
    }

    pub(super) fn name(&self) -> &str {
        &self.place.name
    }

    pub(super) fn port(&self) -> PortId {
        self.place.port
    }

    pub(super) fn handle_discovery(
        &mut self,
        cx: &mut Cx<'_>,
        frame: &DiscoveryFrame<'_>,
    ) -> Result<(), DropReason> {
        match &mut self.kind {
            Kind::Pppoe(pppoe) => pppoe.handle_discovery(cx, frame),
            Kind::Dhcp(_) | Kind::Static(_) => Err(DropReason::DiscoveryUnexpected),
        }
    }

    /// A PPP packet of the uplink's session, from its protocol field on.
    pub(super) fn handle_ppp(&mut self, cx: &mut Cx<'_>, packet: &[u8]) -> Result<(), DropReason> {
        match &mut self.kind {
            Kind::Pppoe(pppoe) => pppoe.handle_ppp(cx, packet),
            Kind::Dhcp(_) | Kind::Static(_) => Err(DropReason::PppoeUnknownSession),
        }
    }

    /// A message to the DHCPv4 client, in its Ethernet frame.
    pub(super) fn handle_dhcp4(&mut self, cx: &mut Cx<'_>, frame: &[u8]) -> Result<(), DropReason> {
        match &mut self.kind {
            Kind::Dhcp(dhcp) => dhcp.handle(cx, Input::Dhcp(frame)),
            Kind::Pppoe(_) | Kind::Static(_) => Err(DropReason::NotListening),
        }
    }

    /// An ARP frame from the segment beyond it.
    pub(super) fn handle_arp(&mut self, cx: &mut Cx<'_>, frame: &[u8]) -> Result<(), DropReason> {
        match &mut self.kind {
            Kind::Dhcp(dhcp) => dhcp.handle(cx, Input::Arp(frame)),
            Kind::Pppoe(_) | Kind::Static(_) => Err(DropReason::NotListening),
        }
    }

    /// Another uplink of the same port has been granted this session.
    pub(super) fn lose_session(&mut self, cx: &mut Cx<'_>, session: Remembered) {
        if let Kind::Pppoe(pppoe) = &mut self.kind {
            pppoe.lose_session(cx, session);
        }
    }

    /// Something was received by the uplink at `at`: the peer lives.
    pub(super) fn note_traffic(&mut self, cx: &mut Cx<'_>, at: Instant) {
        if let Kind::Pppoe(pppoe) = &mut self.kind {
            pppoe.note_traffic(cx, at);
        }
    }

    /// What it was given may be its own no longer: whoever gave it is asked at once.
    pub(super) fn reconfirm(&mut self, cx: &mut Cx<'_>, doubt: Doubt) {
        match &mut self.kind {
            Kind::Pppoe(pppoe) => pppoe.reconfirm(cx),
            Kind::Dhcp(dhcp) => dhcp.reconfirm(cx, doubt),
            Kind::Static(_) => {}
        }
    }

    pub(super) fn shut_down(&mut self, cx: &mut Cx<'_>) {
        match &mut self.kind {
            Kind::Pppoe(pppoe) => pppoe.shut_down(cx),
            // A lease is kept for the next start.
            Kind::Dhcp(_) | Kind::Static(_) => {}
        }
    }

    pub(super) fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        match &mut self.kind {
            Kind::Pppoe(pppoe) => pppoe.handle_timeout(cx),
            Kind::Dhcp(dhcp) => dhcp.handle_timeout(cx),
            Kind::Static(_) => {}
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match &self.kind {
            Kind::Pppoe(pppoe) => pppoe.poll_timeout(),
            Kind::Dhcp(dhcp) => dhcp.poll_timeout(),
            Kind::Static(_) => None,
        }
    }

    /// Writes the next frame to send, and says where it goes.
    pub(super) fn poll_transmit(&mut self, frame: &mut Frame) -> Option<Exit> {
        match &mut self.kind {
            Kind::Pppoe(pppoe) => pppoe.poll_transmit(frame).then_some(Exit::Port(self.place.port)),
            Kind::Dhcp(dhcp) => dhcp.poll_transmit(&self.place, frame),
            Kind::Static(_) => None,
        }
    }

    /// What the state file should remember of the session.
    pub(super) fn left_session(&self) -> Option<LeftSession> {
        match &self.kind {
            Kind::Pppoe(pppoe) => pppoe.left(),
            Kind::Dhcp(_) | Kind::Static(_) => None,
        }
    }

    /// The session that is open.
    pub(super) fn remembered_session(&self) -> Option<Remembered> {
        match &self.kind {
            Kind::Pppoe(pppoe) => pppoe.remembered(),
            Kind::Dhcp(_) | Kind::Static(_) => None,
        }
    }

    /// The DHCPv4 lease that the state file should remember.
    pub(super) fn remembered_lease(&self) -> Option<client::Remembered> {
        match &self.kind {
            Kind::Dhcp(dhcp) => dhcp.remembered(),
            Kind::Pppoe(_) | Kind::Static(_) => None,
        }
    }

    /// IPv4 on it, while it has that.
    pub(super) fn ipv4(&self) -> Option<WanIpv4> {
        match &self.kind {
            Kind::Pppoe(pppoe) => pppoe.ipv4(),
            Kind::Dhcp(dhcp) => dhcp.ipv4(),
            Kind::Static(fixed) => fixed.ipv4(),
        }
    }

    /// The DNS servers that came with IPv4, or were given.
    pub(super) fn dns(&self) -> Vec<IpAddr> {
        match &self.kind {
            Kind::Pppoe(pppoe) => pppoe.dns(),
            Kind::Dhcp(dhcp) => dhcp.dns(),
            Kind::Static(fixed) => fixed.dns().to_vec(),
        }
    }

    /// Passes on what the machine reports. True when IPv4 addresses or DNS servers may have changed.
    pub(super) fn drain(&mut self, outbox: &mut Outbox) -> bool {
        match &mut self.kind {
            Kind::Pppoe(pppoe) => pppoe.drain(&self.place, outbox),
            Kind::Dhcp(dhcp) => dhcp.drain(&self.place, outbox),
            Kind::Static(fixed) => fixed.drain(&self.place, outbox),
        }
    }

    pub(super) fn status(&self, now: Instant, ports: &[String], epoch: u32, usage: Usage) -> WanStatus {
        let status = match &self.kind {
            Kind::Pppoe(pppoe) => pppoe.status(now),
            Kind::Dhcp(dhcp) => dhcp.status(now),
            Kind::Static(fixed) => fixed.status(now),
        };
        WanStatus {
            name: self.place.name.as_ref().into(),
            port: ports.get(self.place.port.index()).cloned().unwrap_or_default(),
            epoch,
            usage,
            ..status
        }
    }
}
