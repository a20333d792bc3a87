//! IPv6 on its way: as IPv4's, without translation (RFC 6092, RFC 7084).
//!
//! A packet goes through these files, in this order:
//! 1. `ingress`: what is Neighbor Discovery's, the listeners' or DHCPv6's is handed up, whatever flows there are. Nothing
//!    for a group, and nothing link-local, goes further than the router.
//! 2. `parse`: the packet is looked at, once, with the headers on the way to its transport.
//! 3. `path`: its flow is looked up, in a table of the same kind as IPv4's. Without one, `begin` asks where it comes from
//!    and goes to (`networks`), asks the filter, and makes one.
//! 4. `path`: hops, size, TCP state, out. `hit` is the short way of established flows.
//!
//! `refuse` tells senders what was wrong, `errors` lets their ICMPv6 errors pass, `follow` is for fragments, `exit` for
//! what the router itself says on a link.
//!
//! Left out: RFC 7084 WPD-7: no routing protocol is spoken at all, so none has to be kept silent.
//! Left out: RFC 7084 S-3: nothing is decapsulated but PPPoE, whose packets are the uplink's own.

mod begin;
mod errors;
mod exit;
mod follow;
mod hit;
pub(crate) mod icmp;
pub(super) mod ingress;
pub(crate) mod key;
mod networks;
pub(crate) mod parse;
mod path;
mod refuse;

use core::net::Ipv6Addr;

use crate::forward::flow::{Account, Direction, FlowId, FlowTable, Pair};
use crate::forward::fragment::{self, Fragments};
use crate::forward::handover::Offloads;
use crate::forward::ipv6::follow::Decision;
use crate::forward::ipv6::key::Key6;
use crate::forward::ipv6::networks::Networks;
use crate::forward::ipv6::refuse::Unanswered;
use crate::forward::message::Update;
use crate::forward::side::Side;
use crate::forward::{FlowSummary, Forwarder, SWEEP};
use crate::frame::Egress;
use crate::machine::Cx;
use crate::rng::Rng;
use crate::settings::Settings;
use crate::table::{Map, Seed};
use crate::time::{Instant, earliest};

/// The tables of the IPv6 path.
#[derive(Debug)]
pub(super) struct Ipv6 {
    pub networks: Networks,
    pub flows: FlowTable<Key6>,
    pub hosts: Map<Account<Ipv6Addr>, u32>,
    /// Flows that were opened from outside.
    pub inbound: usize,
    fragments: Fragments<Decision>,
    unanswered: Unanswered,
    /// Where the sweep for flows of lost addresses has come to, and since when it wants to go on.
    sweep: Option<(FlowId, Instant)>,
}

impl Ipv6 {
    /// Without addresses and flows.
    pub fn new(settings: &Settings, rng: &mut dyn Rng) -> Ipv6 {
        Ipv6 {
            networks: Networks::new(settings, rng),
            flows: FlowTable::new(Seed::draw(rng), settings.nat.timeouts, settings.nat.flows),
            hosts: Map::with_hasher(Seed::draw(rng)),
            inbound: 0,
            fragments: Fragments::new(fragment::PASSING, Seed::draw(rng)),
            unanswered: Unanswered::default(),
            sweep: None,
        }
    }

    /// Takes what an interface has now; other updates are not for IPv6.
    pub fn apply(&mut self, now: Instant, update: Update) {
        let lost = match update {
            Update::WanIpv6 { wan, ipv6 } => self.networks.set_wan(wan, ipv6),
            Update::LanIpv6 { lan, ipv6 } => self.networks.set_lan(lan, ipv6),
            Update::SubscriberIpv6 { subscriber, ipv6 } => self.networks.set_subscriber(subscriber, ipv6),
            _ => false,
        };
        if lost {
            self.sweep = Some((0, now));
        }
    }

    /// True for a flow whose ends are what they were; it is of the present epochs then.
    pub fn renew(&mut self, id: FlowId) -> bool {
        let Some(flow) = self.flows.get_mut(id) else { return false };
        let Pair(from, to) = flow.interfaces();
        let (Some(here), Some(there)) = (self.networks.epoch_of(from), self.networks.epoch_of(to)) else {
            return false;
        };
        let sides = Pair(Side::new(from, here), Side::new(to, there));
        if flow.sides == sides {
            return true;
        }
        let (source, destination) = (flow.keys.0.source(), flow.keys.0.destination());
        let is_right =
            self.networks.is_end(from, source, destination) && self.networks.is_end(to, destination, source);
        if is_right {
            flow.sides = sides;
        }
        is_right
    }

    /// Ends a flow and gives back what it used.
    pub fn end(&mut self, id: FlowId, offloads: &mut Offloads) {
        let Some(mut flow) = self.flows.remove(id) else { return };
        offloads.call_back(id, &mut flow);
        if flow.inbound == Some(true) {
            self.inbound = self.inbound.saturating_sub(1);
        }
        if let Some(account) = flow.account()
            && let Some(count) = self.hosts.get_mut(&account)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.hosts.remove(&account);
            }
        }
    }

    /// Ends flows whose time is over, and a part of those whose addresses are lost.
    pub fn expire(&mut self, now: Instant, offloads: &mut Offloads) {
        let second = u32::try_from(now.as_secs()).unwrap_or(u32::MAX);
        while let Some(id) = self.flows.expired(second) {
            self.end(id, offloads);
        }
        let Some((from, _)) = self.sweep else { return };
        let to = from.saturating_add(SWEEP).min(self.flows.records());
        for id in from..to {
            if self.flows.get(id).is_some() && !self.renew(id) {
                self.end(id, offloads);
            }
        }
        self.sweep = (to < self.flows.records()).then_some((to, now));
    }

    /// Frames that wait.
    pub fn held(&self) -> usize {
        self.fragments.held().saturating_add(self.unanswered.held())
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        let sweep = self.sweep.map(|(_, since)| since);
        let waiting = earliest(self.fragments.poll_timeout(), self.unanswered.poll_timeout());
        earliest(earliest(self.flows.poll_timeout(), sweep), waiting)
    }

    /// Every flow.
    pub fn summaries(&self) -> impl Iterator<Item = FlowSummary> + '_ {
        self.flows.iter().map(|flow| {
            let key = flow.keys.0;
            let source = (key.source().into(), key.source_port());
            let destination = (key.destination().into(), key.destination_port());
            FlowSummary {
                protocol: key.protocol(),
                from: flow.interface(Direction::Original),
                to: flow.interface(Direction::Reply),
                source,
                destination,
                translated_source: source,
                translated_destination: destination,
                in_kernel: flow.in_kernel(),
                packets: flow.packets,
                kernel_packets: flow.kernel_packets,
            }
        })
    }
}

impl Forwarder {
    /// What of IPv6 is due.
    pub(super) fn handle_timeout6(&mut self, cx: &mut Cx<'_>, egress: &mut Egress) {
        self.v6.expire(cx.now, &mut self.offloads);
        self.v6.fragments.handle_timeout(cx.now, egress);
        self.answer_late(cx, egress);
    }
}
