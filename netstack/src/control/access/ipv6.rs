//! IPv6 of a concentrator's subscribers, once IPV6CP is open: we are their router.
//!
//! 1. The two link-local addresses are known: the Forwarder is told of the link, and Router Advertisements begin. They
//!    say that we are the default router and that DHCPv6 has the rest; there is no prefix on the link itself, since the
//!    subscriber gets one of its own (RFC 7084 WPD-6).
//! 2. What the subscriber solicits is answered, and its requests for a prefix go to the concentrator's DHCPv6 server.
//! 3. A prefix is delegated or withdrawn: the Forwarder is told of the whole link anew.
//! 4. IPV6CP goes down: so does all of this, without another word. The user keeps the prefix for the next session.
//!
//! Links stand in a list of deadlines and in a list of those that have something to send; idle ones cost nothing.

use alloc::boxed::Box;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr};

use crate::control::{Event, Outbox};
use crate::dhcp6::Duid;
use crate::dhcp6::delegate::{self, Binding, Delegator, DelegatorSettings};
use crate::forward::{SubscriberIpv6, Update};
use crate::frame::Frame;
use crate::id::SubscriberId;
use crate::ledger::DropReason;
use crate::machine::Cx;
use crate::ndp::{Advertisement, Advertiser};
use crate::settings;
use crate::table::{Map, Seed};
use crate::time::{Instant, earliest};

/// One subscriber's link.
#[derive(Debug)]
struct Link {
    ipv6: SubscriberIpv6,
    advertiser: Advertiser,
    /// The deadline under which it stands in the list of deadlines.
    deadline: Option<Instant>,
    /// True while it stands in the list of links with something to send.
    ready: bool,
}

/// The links of a concentrator's subscribers on which IPv6 is up.
#[derive(Debug)]
pub(super) struct Links {
    /// What every subscriber is told.
    advertisement: Advertisement,
    delegator: Delegator,
    links: Map<SubscriberId, Box<Link>>,
    deadlines: BTreeSet<(Instant, SubscriberId)>,
    ready: VecDeque<SubscriberId>,
}

impl Links {
    /// No links yet; `None` for a concentrator without prefixes. The users' prefixes of an earlier life are `bindings`.
    pub(super) fn new(
        cx: &mut Cx<'_>,
        settings: &settings::Concentrator,
        duid: Duid,
        bindings: Vec<Binding>,
    ) -> Option<Self> {
        let dns: Vec<Ipv6Addr> = settings
            .dns
            .iter()
            .filter_map(|server| match server {
                IpAddr::V6(server) => Some(*server),
                IpAddr::V4(_) => None,
            })
            .collect();
        let fixed = settings.users.iter().filter_map(|user| Some((user.name.clone(), user.prefix?)));
        let mut delegator = Delegator::new(DelegatorSettings {
            duid,
            pool: settings.prefix_pool?,
            fixed: fixed.collect(),
            dns: dns.clone(),
        });
        delegator.restore(bindings);
        Some(Links {
            advertisement: Advertisement {
                default_router: true,
                other: true,
                dns,
                ..Advertisement::default()
            },
            delegator,
            links: Map::with_hasher(Seed::draw(cx.rng)),
            deadlines: BTreeSet::new(),
            ready: VecDeque::new(),
        })
    }

    /// IPV6CP is open between our address `local` and that of `user`, `peer`; or the MTU has changed.
    pub(super) fn up(
        &mut self,
        cx: &mut Cx<'_>,
        subscriber: SubscriberId,
        user: &str,
        (local, peer): (Ipv6Addr, Ipv6Addr),
        mtu: u16,
    ) -> Update {
        if let Some(link) = self.links.get_mut(&subscriber) {
            link.ipv6.mtu = mtu;
            return Update::SubscriberIpv6 { subscriber, ipv6: Some(link.ipv6.clone()) };
        }
        let mut advertiser = Advertiser::new(cx, local, None);
        advertiser.set(cx, self.advertisement.clone());
        let ipv6 = SubscriberIpv6 { local, peer, mtu, delegated: Vec::new() };
        let link = Link { ipv6: ipv6.clone(), advertiser, deadline: None, ready: false };
        self.links.insert(subscriber, Box::new(link));
        self.delegator.open(cx, subscriber, user, peer, local);
        self.settle(subscriber);
        Update::SubscriberIpv6 { subscriber, ipv6: Some(ipv6) }
    }

    /// IPV6CP is closed.
    pub(super) fn down(&mut self, cx: &mut Cx<'_>, subscriber: SubscriberId) -> Update {
        self.delegator.close(cx, subscriber);
        if let Some(Link { deadline: Some(at), .. }) = self.links.remove(&subscriber).as_deref() {
            self.deadlines.remove(&(*at, subscriber));
        }
        Update::SubscriberIpv6 { subscriber, ipv6: None }
    }

    /// A packet of Neighbor Discovery came from a subscriber.
    pub(super) fn handle_ndp(
        &mut self,
        cx: &mut Cx<'_>,
        subscriber: SubscriberId,
        packet: &[u8],
    ) -> Result<(), DropReason> {
        let link = self.links.get_mut(&subscriber).ok_or(DropReason::NotListening)?;
        let result = link.advertiser.handle(cx, packet);
        // A subscriber that is a router, too, is no concern of the other subscribers.
        while link.advertiser.poll_event().is_some() {}
        self.settle(subscriber);
        result
    }

    /// A DHCPv6 message came from a subscriber.
    pub(super) fn handle_dhcp(
        &mut self,
        cx: &mut Cx<'_>,
        subscriber: SubscriberId,
        packet: &[u8],
    ) -> Result<(), DropReason> {
        self.delegator.handle(cx, subscriber, packet)
    }

    /// Every subscriber is told anew what was told before.
    pub(super) fn repeat(&mut self, cx: &mut Cx<'_>) {
        for subscriber in self.links.keys().copied().collect::<Vec<_>>() {
            if let Some(link) = self.links.get_mut(&subscriber) {
                link.advertiser.repeat(cx);
            }
            self.settle(subscriber);
        }
    }

    /// Does what is due.
    pub(super) fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        self.delegator.handle_timeout(cx);
        let due = self.deadlines.iter().take_while(|(at, _)| *at <= cx.now);
        for subscriber in due.map(|&(_, subscriber)| subscriber).collect::<Vec<_>>() {
            if let Some(link) = self.links.get_mut(&subscriber) {
                link.advertiser.handle_timeout(cx);
            }
            self.settle(subscriber);
        }
    }

    /// When it wants to be called next.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        earliest(self.deadlines.first().map(|&(at, _)| at), self.delegator.poll_timeout())
    }

    /// Writes the next IPv6 packet, and says for whom it is.
    pub(super) fn poll_transmit(&mut self, frame: &mut Frame) -> Option<SubscriberId> {
        if let Some(subscriber) = self.delegator.poll_transmit(frame) {
            return Some(subscriber);
        }
        while let Some(&subscriber) = self.ready.front() {
            if let Some(link) = self.links.get_mut(&subscriber).filter(|link| link.ready) {
                if link.advertiser.poll_transmit(frame) {
                    return Some(subscriber);
                }
                link.ready = false;
            }
            self.ready.pop_front();
        }
        None
    }

    /// Passes on what the server reports, in the name of its concentrator.
    pub(super) fn drain(&mut self, name: &Arc<str>, outbox: &mut Outbox) {
        while let Some(event) = self.delegator.poll_event() {
            let change = match event {
                delegate::Event::Delegated { subscriber, prefix, .. } => Some((subscriber, Some(prefix))),
                delegate::Event::Withdrawn { subscriber, .. } => Some((subscriber, None)),
                delegate::Event::Exhausted { .. } | delegate::Event::BindingsChanged => None,
            };
            if let Some((subscriber, prefix)) = change
                && let Some(link) = self.links.get_mut(&subscriber)
            {
                link.ipv6.delegated = prefix.into_iter().collect();
                let ipv6 = Some(link.ipv6.clone());
                outbox.updates.push_back(Update::SubscriberIpv6 { subscriber, ipv6 });
            }
            outbox.events.push_back(Event::Delegation { concentrator: Arc::clone(name), event });
        }
    }

    /// The users' prefixes, for the state file.
    pub(super) fn bindings(&self) -> impl Iterator<Item = Binding> + '_ {
        self.delegator.bindings()
    }

    /// What the Forwarder knows of a subscriber's IPv6.
    pub(super) fn of(&self, subscriber: SubscriberId) -> Option<&SubscriberIpv6> {
        self.links.get(&subscriber).map(|link| &link.ipv6)
    }

    /// Puts a link into the lists where it belongs.
    fn settle(&mut self, subscriber: SubscriberId) {
        let Some(link) = self.links.get_mut(&subscriber) else { return };
        let deadline = link.advertiser.poll_timeout();
        let former = core::mem::replace(&mut link.deadline, deadline);
        if !core::mem::replace(&mut link.ready, true) {
            self.ready.push_back(subscriber);
        }
        if former != deadline {
            if let Some(at) = former {
                self.deadlines.remove(&(at, subscriber));
            }
            if let Some(at) = deadline {
                self.deadlines.insert((at, subscriber));
            }
        }
    }
}

#[cfg(test)]
mod tests;
