//! The first packet of a flow: is it sane, where does it go, do the rules let it, what is it translated to.

use core::net::Ipv4Addr;

use crate::dns::PORT as DNS;
use crate::forward::filter::{Candidate, Verdict, deciding, judge};
use crate::forward::flow::{Account, Flow, FlowId, FlowState, MappingId, Pair, Refused, Translated};
use crate::forward::handover::Handed;
use crate::forward::icmp::IcmpError;
use crate::forward::key::{Key, Realm};
use crate::forward::link::LinkIpv4;
use crate::forward::nat::{Inside, Life, Outside};
use crate::forward::parse::{ACK, Carries, Packet, SYN};
use crate::forward::refuse::Refusal;
use crate::forward::route::{Route, is_bogon};
use crate::forward::side::Side;
use crate::forward::{Forwarder, Ingress, Turn};
use crate::id::{Interface, WanId};
use crate::ledger::DropReason;
use crate::sight::Fact;
use crate::wire::ipv4::{ICMP, TCP, UDP};

/// What the sender of a rejected packet is told.
const REJECTED: IcmpError = IcmpError::PortUnreachable;

/// An address that stands for those behind it.
#[derive(Clone, Copy)]
struct Mask {
    /// The uplink or VPN that it is on.
    at: Interface,
    address: Ipv4Addr,
    /// That interface's epoch.
    epoch: u32,
}

/// What a flow will be.
struct Plan {
    /// What the answers come in by.
    out: Interface,
    /// The key of the answers.
    back: Key,
    /// Mappings of source and destination.
    mappings: Pair<Option<MappingId>>,
    /// Which directions refresh it.
    refreshes: Pair<bool>,
    /// Whom it is counted against.
    account: Option<Account<Ipv4Addr>>,
}

impl Forwarder {
    /// Makes the flow that `packet` opens.
    pub(super) fn begin(
        &mut self,
        turn: &mut Turn<'_>,
        ingress: Ingress,
        packet: &Packet,
    ) -> Result<FlowId, Refusal> {
        self.check_source(ingress, packet)?;
        let destination = packet.key.destination();
        if is_bogon(destination) {
            return Err(Refusal::silent(DropReason::BogonDestination));
        }
        check_opening(ingress, packet.carries)?;
        if self.flows.is_full() {
            return Err(Refusal::silent(DropReason::FlowTableFull));
        }
        let plan = match ingress.interface {
            Interface::Wan(wan) => self.plan_inbound(turn, wan, packet)?,
            _ => self.plan_from_inside(turn, ingress, packet)?,
        };
        self.install(turn.second, ingress, packet, plan)
    }

    /// Bogons, LAND and spoofed sources (BCP 38; TR-124 WAN.DoS): what comes from a LAN has an address of that LAN, from a
    /// subscriber its own, and from an uplink none that is inside or ours.
    pub(super) fn check_source(&self, ingress: Ingress, packet: &Packet) -> Result<(), Refusal> {
        let source = packet.key.source();
        if is_bogon(source) {
            return Err(Refusal::silent(DropReason::BogonSource));
        }
        if source == packet.key.destination() && ingress.interface != Interface::Router {
            return Err(Refusal::silent(DropReason::Land));
        }
        let own = || self.links.open_wans().any(|(_, ipv4)| ipv4.address == source);
        let inside = || self.networks.is_inside(source) || self.links.subscriber_of(source).is_some();
        let right = match ingress.interface {
            Interface::Router => true,
            // The tunnel has looked whether the peer may bear it.
            Interface::Vpn(_) => {
                !self.networks.is_local(source)
                    && !self.networks.is_router(source)
                    && self.links.subscriber_of(source).is_none()
                    && !own()
            }
            Interface::Lan(lan) => self.networks.lan(lan).is_some_and(|network| {
                network.contains(source)
                    && network.address != source
                    && network.broadcast() != Some(source)
                    && (network.prefix >= 31 || network.network() != source)
            }),
            Interface::Subscriber(subscriber) => self
                .links
                .subscriber(subscriber)
                .and_then(|link| link.ipv4)
                .is_some_and(|ipv4| ipv4.address == source),
            Interface::Wan(_) => !inside() && !own(),
        };
        if right { Ok(()) } else { Err(Refusal::silent(DropReason::Spoofed)) }
    }

    /// A packet from outside, by no flow: to a mapping or port forward that admits it, or to the router.
    fn plan_inbound(&mut self, turn: &mut Turn<'_>, wan: WanId, packet: &Packet) -> Result<Plan, Refusal> {
        let (key, from) = (packet.key, Interface::Wan(wan));
        let here = self.links.wan(wan).and_then(|link| link.ipv4);
        let Some(ipv4) = here.filter(|ipv4| ipv4.address == key.destination()) else {
            return Err(Refusal::silent(DropReason::FilterDefault));
        };
        if let Some(id) = self.mapping_at(from, ipv4.epoch, packet) {
            return self.plan_to_mapping(turn, from, id, packet);
        }
        self.ask(turn, &self.candidate(from, Interface::Router, packet), REJECTED)?;
        Ok(Plan {
            out: Interface::Router,
            back: key.reversed(Realm::INSIDE),
            mappings: Pair(None, None),
            refreshes: Pair(false, true),
            account: account_inbound(key.destination()),
        })
    }

    /// The mapping of the external port that a packet is for.
    fn mapping_at(&mut self, at: Interface, epoch: u32, packet: &Packet) -> Option<MappingId> {
        let key = packet.key;
        match packet.carries {
            Carries::Tcp(_) | Carries::Udp => self
                .nat
                .by_outside(Outside { at, protocol: key.protocol(), port: key.destination_port() }, epoch),
            _ => None,
        }
    }

    /// A packet from outside, by no flow, to the external port of a mapping.
    fn plan_to_mapping(
        &mut self,
        turn: &mut Turn<'_>,
        from: Interface,
        id: MappingId,
        packet: &Packet,
    ) -> Result<Plan, Refusal> {
        let key = packet.key;
        let Some(mapping) = self.nat.get(id).copied() else {
            return Err(Refusal::silent(DropReason::Internal));
        };
        if !self.nat.admits(id, key.source()) {
            return Err(Refusal::silent(DropReason::FilterDefault));
        }
        let inside = mapping.inside;
        turn.egress.note(|_| Fact::Inbound {
            port: key.destination_port(),
            to: (inside.address, inside.port),
            is_forward: mapping.life == Life::Static,
        });
        let out = match self.networks.route(&self.links, inside.address) {
            Route::To(out @ (Interface::Lan(_) | Interface::Subscriber(_) | Interface::Vpn(_))) => out,
            Route::Uplink(_) | Route::To(Interface::Router) => Interface::Router,
            _ => return Err(Refusal::silent(DropReason::NoRoute)),
        };
        let mut candidate = self.candidate(from, out, packet);
        candidate.destination = inside.address.into();
        candidate.port = Some(inside.port);
        // What the router itself has open outside is open to whom it talks to alone, whatever the filtering.
        candidate.forwarded = out != Interface::Router;
        self.ask(turn, &candidate, REJECTED)?;
        // Whoever knows the router alone sees the router.
        let (source, mapped) = match self.mask(from, out) {
            Some(mask) => {
                let mapped = self.map_source(turn, from, packet, mask)?;
                ((mask.address, self.nat.get(mapped).map_or(0, |mapping| mapping.port)), Some(mapped))
            }
            None => ((key.source(), key.source_port()), None),
        };
        Ok(Plan {
            out,
            back: Key::of(Realm::INSIDE, key.protocol(), (inside.address, inside.port), source),
            mappings: Pair(mapped, Some(id)),
            refreshes: Pair(false, true),
            account: account_inbound(inside.address),
        })
    }

    /// A packet from a LAN, a subscriber, a VPN or the router: to another of them as it is, beyond an uplink or to a VPN that
    /// masquerades translated, to an uplink's address by the mapping there or to the router.
    fn plan_from_inside(
        &mut self,
        turn: &mut Turn<'_>,
        ingress: Ingress,
        packet: &Packet,
    ) -> Result<Plan, Refusal> {
        let key = packet.key;
        let route = match self.networks.route(&self.links, key.destination()) {
            // What the router says from an uplink's address goes by that uplink, whatever the default route is.
            Route::To(vpn @ Interface::Vpn(_)) if ingress.interface == Interface::Router => {
                let own = self.links.open_wans().find(|(_, ipv4)| ipv4.address == key.source());
                Route::To(own.map_or(vpn, |(wan, _)| Interface::Wan(wan)))
            }
            route => route,
        };
        match route {
            Route::Nowhere(reason, error) => Err(Refusal { reason, tell: error.into() }),
            Route::To(Interface::Wan(preferred)) => {
                let (wan, ipv4) = self.uplink_for(ingress, packet, preferred);
                let ipv4 = ipv4.ok_or(Refusal::error(DropReason::WanDown, IcmpError::NetUnreachable))?;
                let mask = Mask { at: Interface::Wan(wan), address: ipv4.address, epoch: ipv4.epoch };
                self.plan_outbound(turn, ingress, packet, mask, Realm::outside(wan))
            }
            Route::To(Interface::Router) => {
                // A VPN that masquerades has mappings at the router's address there.
                let mask = self.mask(Interface::Router, ingress.interface);
                let mask = mask.filter(|mask| mask.address == key.destination());
                match mask.and_then(|mask| self.mapping_at(mask.at, mask.epoch, packet)) {
                    Some(id) => self.plan_to_mapping(turn, ingress.interface, id, packet),
                    None => self.plan_untranslated(turn, ingress, packet, Interface::Router),
                }
            }
            Route::To(out) => match self.mask(ingress.interface, out) {
                Some(mask) => self.plan_outbound(turn, ingress, packet, mask, Realm::INSIDE),
                None => self.plan_untranslated(turn, ingress, packet, out),
            },
            Route::Uplink(wan) => {
                let at = Interface::Wan(wan);
                match self.mapping_at(at, self.links.epoch(wan), packet) {
                    Some(target) => self.plan_hairpin(turn, ingress, packet, wan, target),
                    None => self.plan_untranslated(turn, ingress, packet, Interface::Router),
                }
            }
        }
    }

    /// The uplink for a packet: the preferred one, except that a packet of the router's own that bears an uplink's address
    /// goes out by that one.
    fn uplink_for(&self, ingress: Ingress, packet: &Packet, preferred: WanId) -> (WanId, Option<LinkIpv4>) {
        if ingress.interface == Interface::Router
            && let Some((wan, ipv4)) =
                self.links.open_wans().find(|(_, ipv4)| ipv4.address == packet.key.source())
        {
            return (wan, Some(ipv4));
        }
        (preferred, self.links.wan(preferred).and_then(|link| link.ipv4))
    }

    fn plan_untranslated(
        &mut self,
        turn: &mut Turn<'_>,
        ingress: Ingress,
        packet: &Packet,
        out: Interface,
    ) -> Result<Plan, Refusal> {
        if out == Interface::Router && ingress.interface == Interface::Router {
            return Err(Refusal::silent(DropReason::BogonDestination));
        }
        self.ask(turn, &self.candidate(ingress.interface, out, packet), REJECTED)?;
        Ok(Plan {
            out,
            back: packet.key.reversed(Realm::INSIDE),
            mappings: Pair(None, None),
            refreshes: Pair(true, true),
            account: account_of(ingress, packet),
        })
    }

    /// Source translation. Answers come in by side `realm`.
    fn plan_outbound(
        &mut self,
        turn: &mut Turn<'_>,
        ingress: Ingress,
        packet: &Packet,
        mask: Mask,
        realm: Realm,
    ) -> Result<Plan, Refusal> {
        let key = packet.key;
        self.ask(turn, &self.candidate(ingress.interface, mask.at, packet), REJECTED)?;
        let account = account_of(ingress, packet);
        self.check_quota(account)?;
        let (mapping, port) = match key.protocol() {
            TCP | UDP | ICMP => {
                let id = self.map_source(turn, ingress.interface, packet, mask)?;
                (Some(id), self.nat.get(id).map_or(0, |mapping| mapping.port))
            }
            // Without ports one inside host at a time talks to a peer: the next one's key collides.
            _ => (None, 0),
        };
        let peer = (key.destination(), key.destination_port());
        Ok(Plan {
            out: mask.at,
            back: Key::of(realm, key.protocol(), peer, (mask.address, port)),
            mappings: Pair(mapping, None),
            refreshes: Pair(true, false),
            account,
        })
    }

    /// A packet from inside to the external address and port of a mapping: it arrives there from its sender's own external
    /// address and port (RFC 4787 REQ-9, RFC 5382 REQ-8).
    fn plan_hairpin(
        &mut self,
        turn: &mut Turn<'_>,
        ingress: Ingress,
        packet: &Packet,
        wan: WanId,
        target: MappingId,
    ) -> Result<Plan, Refusal> {
        let key = packet.key;
        let Some(mapping) = self.nat.get(target).copied() else {
            return Err(Refusal::silent(DropReason::Internal));
        };
        let inside = mapping.inside;
        let out = match self.networks.route(&self.links, inside.address) {
            Route::To(out @ (Interface::Lan(_) | Interface::Subscriber(_) | Interface::Vpn(_))) => out,
            // The router's own mapping is as the router itself.
            _ => return self.plan_untranslated(turn, ingress, packet, Interface::Router),
        };
        let mut candidate = self.candidate(ingress.interface, out, packet);
        candidate.destination = inside.address.into();
        candidate.port = Some(inside.port);
        candidate.forwarded = mapping.life == Life::Static || self.nat.admits(target, key.destination());
        self.ask(turn, &candidate, REJECTED)?;
        let account = account_of(ingress, packet);
        self.check_quota(account)?;
        let external =
            Mask { at: Interface::Wan(wan), address: key.destination(), epoch: self.links.epoch(wan) };
        let mask = self.mask(ingress.interface, out).unwrap_or(external);
        let source = self.map_source(turn, ingress.interface, packet, mask)?;
        let port = self.nat.get(source).map_or(0, |mapping| mapping.port);
        Ok(Plan {
            out,
            back: Key::of(Realm::INSIDE, key.protocol(), (inside.address, inside.port), (mask.address, port)),
            mappings: Pair(Some(source), Some(target)),
            refreshes: Pair(true, true),
            account,
        })
    }

    /// What packets from `from` put on when they leave by `out`, if that is a VPN that masquerades. Its peers know each other.
    fn mask(&self, from: Interface, out: Interface) -> Option<Mask> {
        let Interface::Vpn(vpn) = out else { return None };
        let address = self.networks.peers().masquerade(vpn).filter(|_| from != out)?;
        Some(Mask { at: out, address, epoch: 0 })
    }

    /// The mapping of a packet's source, a new one if need be.
    fn map_source(
        &mut self,
        turn: &mut Turn<'_>,
        from: Interface,
        packet: &Packet,
        Mask { at, epoch, .. }: Mask,
    ) -> Result<MappingId, Refusal> {
        let key = packet.key;
        if matches!(packet.carries, Carries::IcmpOther) {
            return Err(Refusal::silent(DropReason::NatProtocol));
        }
        let inside = Inside { address: key.source(), port: key.source_port(), protocol: key.protocol(), at };
        let known = self.nat.by_inside(inside, epoch);
        let keep = (from == Interface::Router).then_some(inside.port);
        let id =
            known.or_else(|| self.nat.map(inside, epoch, keep, turn.rng)).ok_or(match packet.carries {
                // RFC 5508 REQ-8; RFC 7857 §4.
                Carries::IcmpQuery => Refusal::error(DropReason::NatExhausted, IcmpError::AdminProhibited),
                _ => Refusal::silent(DropReason::NatExhausted),
            })?;
        turn.egress.note(|names| Fact::Mapping {
            is_new: known.is_none(),
            inside: (inside.address, inside.port),
            port: self.nat.get(id).map_or(0, |mapping| mapping.port),
            wan: names.of(at),
        });
        Ok(id)
    }

    fn candidate(&self, from: Interface, to: Interface, packet: &Packet) -> Candidate {
        let key = packet.key;
        Candidate {
            from: from.zone(),
            to: to.zone(),
            protocol: key.protocol(),
            source: key.source().into(),
            destination: key.destination().into(),
            port: matches!(packet.carries, Carries::Tcp(_) | Carries::Udp).then_some(key.destination_port()),
            echo: packet.carries == Carries::IcmpQuery && key.destination_port() == 8,
            forwarded: false,
            outside: self.networks.peers().is_outside(from),
        }
    }

    fn check_quota(&self, account: Option<Account<Ipv4Addr>>) -> Result<(), Refusal> {
        let used = account.and_then(|account| self.hosts.get(&account)).copied().unwrap_or(0);
        match account {
            Some(_) if used >= self.flows_per_host => Err(Refusal::silent(DropReason::HostQuota)),
            _ => Ok(()),
        }
    }

    /// What the rules say of a flow. `reject` is what a rejected one's sender is told, where no reset tells it.
    pub(super) fn ask<E>(
        &self,
        turn: &mut Turn<'_>,
        candidate: &Candidate,
        reject: E,
    ) -> Result<(), Refusal<E>> {
        let verdict = judge(&self.rules, candidate);
        turn.egress.note(|_| match deciding(&self.rules, candidate) {
            Some((rule, action)) => Fact::Rule { rule, action },
            None => {
                Fact::BuiltIn { from: candidate.from, to: candidate.to, accepted: verdict == Verdict::Accept }
            }
        });
        match verdict {
            Verdict::Accept => Ok(()),
            Verdict::Drop => Err(Refusal::silent(DropReason::FilterDrop)),
            Verdict::Default => Err(Refusal::silent(DropReason::FilterDefault)),
            Verdict::Reject if candidate.protocol == TCP => Err(Refusal::reset(DropReason::FilterReject)),
            Verdict::Reject => Err(Refusal::error(DropReason::FilterReject, reject)),
        }
    }

    fn install(
        &mut self,
        second: u32,
        ingress: Ingress,
        packet: &Packet,
        plan: Plan,
    ) -> Result<FlowId, Refusal> {
        let result =
            self.check_quota(plan.account).and_then(|()| self.insert(second, ingress, packet, &plan));
        let Pair(source, destination) = plan.mappings;
        match result {
            Ok(_) => {
                for mapping in source.into_iter().chain(destination) {
                    self.nat.attach(mapping);
                }
                if let Some(account) = plan.account {
                    let count = self.hosts.entry(account).or_insert(0);
                    *count = count.saturating_add(1);
                }
            }
            Err(_) => {
                if let Some(mapping) = source {
                    self.nat.release_unused(mapping);
                }
            }
        }
        result
    }

    fn insert(
        &mut self,
        second: u32,
        ingress: Ingress,
        packet: &Packet,
        plan: &Plan,
    ) -> Result<FlowId, Refusal> {
        let Some(epoch) = self.epoch_of(plan.out) else {
            return Err(Refusal::silent(DropReason::NoRoute));
        };
        let flow = Flow {
            keys: Pair(packet.key, plan.back),
            sides: Pair(ingress.side(), Side::new(plan.out, epoch)),
            translated: Translated::by(plan.mappings),
            refreshes: plan.refreshes,
            confirmed: false,
            state: opening_state(ingress, packet, plan.out),
            refreshed: second,
            inbound: plan.account.map(|account| account.inbound),
            handed: Handed::default(),
            packets: 0,
            kernel_packets: 0,
        };
        self.flows.insert(flow.with_deltas()).map_err(|refused| {
            Refusal::silent(match refused {
                Refused::Full => DropReason::FlowTableFull,
                Refused::Collision => DropReason::NatProtocol,
            })
        })
    }
}

/// The state of the flow that `packet` opens towards `out`.
fn opening_state(ingress: Ingress, packet: &Packet, out: Interface) -> FlowState {
    let own = ingress.interface == Interface::Router || out == Interface::Router;
    match packet.carries {
        Carries::Udp if own && packet.key.destination_port() == DNS => FlowState::DnsQuestion,
        carries => FlowState::opening(carries),
    }
}

/// What may open a flow: not the answer to a query that nobody sent, and of TCP only SYN.
pub(super) fn check_opening<E>(ingress: Ingress, carries: Carries) -> Result<(), Refusal<E>> {
    match carries {
        Carries::Tcp(flags) if flags & (SYN | ACK) != SYN => Err(match ingress.interface {
            // After a restart of the router, connections of old end at once instead of hanging.
            Interface::Lan(_) | Interface::Subscriber(_) | Interface::Vpn(_) => {
                Refusal::reset(DropReason::TcpNoFlow)
            }
            Interface::Wan(_) | Interface::Router => Refusal::silent(DropReason::TcpNoFlow),
        }),
        Carries::IcmpAnswer | Carries::IcmpError => Err(Refusal::silent(DropReason::IcmpNoFlow)),
        Carries::LaterFragment => Err(Refusal::silent(DropReason::FragmentMalformed)),
        _ => Ok(()),
    }
}

fn account_of(ingress: Ingress, packet: &Packet) -> Option<Account<Ipv4Addr>> {
    match ingress.interface {
        Interface::Lan(_) | Interface::Subscriber(_) | Interface::Vpn(_) => {
            Some(Account { host: packet.key.source(), inbound: false })
        }
        Interface::Wan(_) | Interface::Router => None,
    }
}

fn account_inbound(host: Ipv4Addr) -> Option<Account<Ipv4Addr>> {
    Some(Account { host, inbound: true })
}
