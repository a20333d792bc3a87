//! The ISP's side: one `[concentrator]` and its subscribers' sessions. What they get of IPv6 is in `ipv6`.

mod ipv6;

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Event, Exit, Outbox};
use crate::dhcp6::Duid;
use crate::dhcp6::delegate::Binding;
use crate::forward::{Session, SessionOwner, Update, Usage};
use crate::frame::Frame;
use crate::id::{Interface, Mac, PortId, SubscriberId};
use crate::ledger::DropReason;
use crate::machine::Cx;
use crate::pppoe::concentrator::{Concentrator, Input};
use crate::pppoe::{DiscoveryFrame, Remembered, subscriber};
use crate::settings;
use crate::state::UserPrefix;
use crate::status::{ConcentratorStatus, SubscriberStatus};
use crate::time::{Instant, earliest};
use ipv6::Links;

/// A concentrator.
pub(super) struct Access {
    name: Arc<str>,
    port: PortId,
    local: Mac,
    /// The first of its subscribers' ids; they go up to its number of sessions.
    base: SubscriberId,
    sessions: u32,
    concentrator: Concentrator,
    /// Only where prefixes are delegated.
    ipv6: Option<Links>,
}

impl Access {
    pub(super) fn new(
        cx: &mut Cx<'_>,
        base: SubscriberId,
        settings: &settings::Concentrator,
        port: &settings::Port,
        bindings: Vec<Binding>,
    ) -> Self {
        Access {
            name: settings.name.as_str().into(),
            port: settings.port,
            local: port.mac,
            base,
            sessions: settings.sessions,
            concentrator: Concentrator::new(cx, settings, port, base),
            ipv6: Links::new(cx, settings, Duid::link_layer(port.mac), bindings),
        }
    }

    pub(super) fn port(&self) -> PortId {
        self.port
    }

    /// True for a subscriber of this concentrator.
    pub(super) fn owns(&self, subscriber: SubscriberId) -> bool {
        subscriber.0.checked_sub(self.base.0).is_some_and(|offset| offset < self.sessions)
    }

    pub(super) fn handle_discovery(
        &mut self,
        cx: &mut Cx<'_>,
        frame: &DiscoveryFrame<'_>,
    ) -> Result<(), DropReason> {
        self.concentrator.handle(cx, Input::Discovery(frame))
    }

    /// A PPP packet of a subscriber's session, from its protocol field on.
    pub(super) fn handle_ppp(
        &mut self,
        cx: &mut Cx<'_>,
        subscriber: SubscriberId,
        packet: &[u8],
    ) -> Result<(), DropReason> {
        self.concentrator.handle(cx, Input::Ppp { subscriber, packet })
    }

    /// A packet of Neighbor Discovery came by a subscriber's session.
    pub(super) fn handle_ndp(
        &mut self,
        cx: &mut Cx<'_>,
        subscriber: SubscriberId,
        packet: &[u8],
    ) -> Result<(), DropReason> {
        self.ipv6.as_mut().ok_or(DropReason::NotListening)?.handle_ndp(cx, subscriber, packet)
    }

    /// A DHCPv6 message came by a subscriber's session.
    pub(super) fn handle_dhcp6(
        &mut self,
        cx: &mut Cx<'_>,
        subscriber: SubscriberId,
        packet: &[u8],
    ) -> Result<(), DropReason> {
        self.ipv6.as_mut().ok_or(DropReason::NotListening)?.handle_dhcp(cx, subscriber, packet)
    }

    /// Session data came under a session that does not exist.
    pub(super) fn handle_stray(&mut self, cx: &mut Cx<'_>, session: Remembered) -> Result<(), DropReason> {
        self.concentrator.handle(cx, Input::Stray(session))
    }

    /// Tells each session that is about to be asked whether it lives when it was last heard of.
    pub(super) fn note_traffic(&mut self, cx: &mut Cx<'_>, heard: impl Fn(SubscriberId) -> Option<Instant>) {
        for subscriber in self.concentrator.due(cx.now) {
            if let Some(at) = heard(subscriber) {
                // The concentrator has no reason to refuse this.
                let _ = self.concentrator.handle(cx, Input::TrafficSeen { subscriber, at });
            }
        }
    }

    /// Time has passed that nobody has counted: subscribers are asked whether they are there, and told anew.
    pub(super) fn reconfirm(&mut self, cx: &mut Cx<'_>) {
        // As above.
        let _ = self.concentrator.handle(cx, Input::Doubt);
        if let Some(ipv6) = &mut self.ipv6 {
            ipv6.repeat(cx);
        }
    }

    pub(super) fn shut_down(&mut self, cx: &mut Cx<'_>) {
        // As above.
        let _ = self.concentrator.handle(cx, Input::Shutdown);
    }

    pub(super) fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        self.concentrator.handle_timeout(cx);
        if let Some(ipv6) = &mut self.ipv6 {
            ipv6.handle_timeout(cx);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        earliest(self.concentrator.poll_timeout(), self.ipv6.as_ref().and_then(Links::poll_timeout))
    }

    /// Writes the next frame or packet, and says where it goes.
    pub(super) fn poll_transmit(&mut self, frame: &mut Frame) -> Option<Exit> {
        if self.concentrator.poll_transmit(frame) {
            return Some(Exit::Port(self.port));
        }
        let subscriber = self.ipv6.as_mut()?.poll_transmit(frame)?;
        Some(Exit::Link(Interface::Subscriber(subscriber)))
    }

    /// Passes on what the concentrator reports.
    pub(super) fn drain(&mut self, cx: &mut Cx<'_>, outbox: &mut Outbox) {
        while let Some(event) = self.concentrator.poll_event() {
            let update = match &event {
                subscriber::Event::SessionOpened { subscriber, peer, session } => {
                    Some(Update::SessionOpened {
                        owner: SessionOwner::Subscriber(*subscriber),
                        session: Session { port: self.port, id: *session, local: self.local, peer: *peer },
                    })
                }
                subscriber::Event::Ipv4Up { subscriber, address, mtu, .. } => {
                    Some(Update::SubscriberIpv4Up { subscriber: *subscriber, address: *address, mtu: *mtu })
                }
                subscriber::Event::Ipv4Down { subscriber } => {
                    Some(Update::SubscriberIpv4Down { subscriber: *subscriber })
                }
                subscriber::Event::Closed { subscriber, .. } => {
                    Some(Update::SessionClosed { owner: SessionOwner::Subscriber(*subscriber) })
                }
                subscriber::Event::Ipv6Up { subscriber, user, local, peer, mtu } => {
                    let ipv6 = self.ipv6.as_mut();
                    ipv6.map(|ipv6| ipv6.up(cx, *subscriber, user, (*local, *peer), *mtu))
                }
                subscriber::Event::Ipv6Down { subscriber } => {
                    self.ipv6.as_mut().map(|ipv6| ipv6.down(cx, *subscriber))
                }
                subscriber::Event::AuthFailed { .. } | subscriber::Event::Refused { .. } => None,
            };
            outbox.updates.extend(update);
            outbox.events.push_back(Event::Concentrator { name: Arc::clone(&self.name), event });
        }
        if let Some(ipv6) = &mut self.ipv6 {
            ipv6.drain(&self.name, outbox);
        }
    }

    /// The users' IPv6 prefixes, for the state file.
    pub(super) fn bindings(&self) -> impl Iterator<Item = UserPrefix> + '_ {
        let bindings = self.ipv6.iter().flat_map(Links::bindings);
        bindings.map(|binding| UserPrefix { concentrator: self.name.as_ref().into(), binding })
    }

    pub(super) fn status(
        &self,
        ports: &[String],
        usage: impl Fn(SubscriberId) -> (Usage, Usage),
    ) -> ConcentratorStatus {
        let ipv6 = |subscriber| self.ipv6.as_ref()?.of(subscriber);
        ConcentratorStatus {
            name: self.name.as_ref().into(),
            port: ports.get(self.port.index()).cloned().unwrap_or_default(),
            sessions: self
                .concentrator
                .sessions()
                .map(|session| {
                    let (usage, kernel) = usage(session.subscriber);
                    SubscriberStatus {
                        user: session.user,
                        session_id: session.session,
                        mac: session.peer,
                        address: session.address,
                        link_local: session.link_local,
                        prefixes: ipv6(session.subscriber)
                            .map_or_else(Vec::new, |ipv6| ipv6.delegated.clone()),
                        usage,
                        kernel,
                    }
                })
                .collect(),
        }
    }
}
