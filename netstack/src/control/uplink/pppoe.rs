//! An uplink that dials: its PPPoE client, and what that has negotiated.

use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

use super::Place;
use crate::control::ipv6::LinkIpv6;
use crate::control::{Event, Outbox};
use crate::forward::{Session, SessionOwner, Update, WanIpv4};
use crate::frame::Frame;
use crate::id::Mac;
use crate::ledger::DropReason;
use crate::machine::Cx;
use crate::pppoe::client::{Client, Input};
use crate::pppoe::{self, DiscoveryFrame, LeftSession, Remembered};
use crate::settings;
use crate::status::WanStatus;
use crate::time::Instant;

/// A PPPoE client.
pub(super) struct Pppoe {
    local: Mac,
    client: Client,
}

impl Pppoe {
    pub(super) fn new(
        cx: &mut Cx<'_>,
        pppoe: &settings::PppoeClient,
        wan: &settings::Wan,
        port: &settings::Port,
        left: Option<LeftSession>,
    ) -> Self {
        Pppoe { local: port.mac, client: Client::new(cx, pppoe, wan.families(), port, left) }
    }

    pub(super) fn handle_discovery(
        &mut self,
        cx: &mut Cx<'_>,
        frame: &DiscoveryFrame<'_>,
    ) -> Result<(), DropReason> {
        self.client.handle(cx, Input::Discovery(frame))
    }

    pub(super) fn handle_ppp(&mut self, cx: &mut Cx<'_>, packet: &[u8]) -> Result<(), DropReason> {
        self.client.handle(cx, Input::Ppp(packet))
    }

    pub(super) fn lose_session(&mut self, cx: &mut Cx<'_>, session: Remembered) {
        // The client has no reason to refuse this.
        let _ = self.client.handle(cx, Input::SessionLost(session));
    }

    pub(super) fn note_traffic(&mut self, cx: &mut Cx<'_>, at: Instant) {
        // As above.
        let _ = self.client.handle(cx, Input::TrafficSeen(at));
    }

    pub(super) fn reconfirm(&mut self, cx: &mut Cx<'_>) {
        // As above.
        let _ = self.client.handle(cx, Input::Doubt);
    }

    pub(super) fn shut_down(&mut self, cx: &mut Cx<'_>) {
        // As above.
        let _ = self.client.handle(cx, Input::Shutdown);
    }

    pub(super) fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        self.client.handle_timeout(cx);
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.client.poll_timeout()
    }

    pub(super) fn poll_transmit(&mut self, frame: &mut Frame) -> bool {
        self.client.poll_transmit(frame)
    }

    pub(super) fn left(&self) -> Option<LeftSession> {
        self.client.left()
    }

    pub(super) fn remembered(&self) -> Option<Remembered> {
        self.client.remembered()
    }

    /// What IPCP has negotiated, while it is open.
    pub(super) fn ipv4(&self) -> Option<WanIpv4> {
        let session = self.client.status().session?;
        let ipv4 = session.ipv4?;
        Some(WanIpv4 { address: ipv4.address, mtu: session.mtu, segment: None })
    }

    pub(super) fn dns(&self) -> Vec<IpAddr> {
        let session = self.client.status().session;
        let ipv4 = session.and_then(|session| session.ipv4);
        ipv4.iter().flat_map(|ipv4| ipv4.dns).flatten().map(IpAddr::V4).collect()
    }

    pub(super) fn drain(&mut self, place: &Place, outbox: &mut Outbox) -> bool {
        let mut changed = false;
        let owner = SessionOwner::Wan(place.id);
        while let Some(event) = self.client.poll_event() {
            outbox.links.extend(self.link_of(&event).map(|link| (place.id, link)));
            if let pppoe::Event::SessionOpened { session, .. } | pppoe::Event::SessionKept { session, .. } =
                &event
            {
                let (port, local) = (place.port, self.local);
                let session = Session { port, id: session.session, local, peer: session.peer };
                outbox.updates.push_back(Update::SessionOpened { owner, session });
            }
            let update = match &event {
                pppoe::Event::SessionKept { ipv4, mtu, .. } => ipv4.map(|ipv4| {
                    let ipv4 = WanIpv4 { address: ipv4.address, mtu: *mtu, segment: None };
                    Update::WanIpv4Up { wan: place.id, ipv4 }
                }),
                pppoe::Event::SessionClosed(_) => Some(Update::SessionClosed { owner }),
                pppoe::Event::Ipv4Up { address, mtu, .. } => {
                    let ipv4 = WanIpv4 { address: *address, mtu: *mtu, segment: None };
                    Some(Update::WanIpv4Up { wan: place.id, ipv4 })
                }
                pppoe::Event::MtuChanged { mtu, .. } => self
                    .ipv4()
                    .map(|ipv4| Update::WanIpv4Up { wan: place.id, ipv4: WanIpv4 { mtu: *mtu, ..ipv4 } }),
                pppoe::Event::Ipv4Down(_) => Some(Update::WanIpv4Down { wan: place.id }),
                _ => None,
            };
            changed |= matches!(
                update,
                Some(Update::WanIpv4Up { .. } | Update::WanIpv4Down { .. } | Update::SessionClosed { .. })
            );
            outbox.updates.extend(update);
            outbox.events.push_back(Event::Wan { name: Arc::clone(&place.name), event });
        }
        changed
    }

    /// What an event means for IPv6.
    fn link_of(&self, event: &pppoe::Event) -> Option<LinkIpv6> {
        match event {
            pppoe::Event::SessionKept { ipv6, mtu, .. } => {
                ipv6.map(|ipv6| LinkIpv6::Kept { link_local: ipv6.address, peer: ipv6.peer, mtu: *mtu })
            }
            pppoe::Event::Ipv6Up { address, peer, mtu, .. } => {
                Some(LinkIpv6::Up { link_local: *address, peer: *peer, mtu: *mtu })
            }
            pppoe::Event::MtuChanged { mtu, .. } => {
                let ipv6 = self.client.status().session.and_then(|session| session.ipv6)?;
                Some(LinkIpv6::Up { link_local: ipv6.address, peer: ipv6.peer, mtu: *mtu })
            }
            pppoe::Event::Ipv6Down(_) | pppoe::Event::SessionClosed(_) => Some(LinkIpv6::Down),
            _ => None,
        }
    }

    pub(super) fn status(&self, now: Instant) -> WanStatus {
        let status = self.client.status();
        let session = status.session.as_ref();
        let ipv4 = session.and_then(|session| session.ipv4);
        WanStatus {
            kind: "pppoe",
            up: ipv4.is_some(),
            state: status.phase.name(),
            since_s: now.since(status.since).as_secs(),
            retry_in_s: status.dials_at.map(|at| at.since(now).as_secs()),
            last_failure: status.last_failure,
            ac_name: session.map(|session| session.ac_name.clone()),
            session_id: session.map(|session| session.session.session),
            peer_mac: session.map(|session| session.session.peer),
            address: ipv4.map(|ipv4| ipv4.address),
            gateway: ipv4.map(|ipv4| ipv4.peer),
            dns: ipv4.iter().flat_map(|ipv4| ipv4.dns).flatten().collect(),
            mtu: session.map(|session| session.mtu),
            mtu_limit: session.map(|session| session.limit.to_string()),
            ..WanStatus::default()
        }
    }
}
