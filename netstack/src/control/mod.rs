//! Control: owns the machines that negotiate.
//!
//! It routes every `Punt` to the machine that it is for, and turns what the machines report into `Update`s for the
//! Forwarder and [`Event`]s for the user. `uplink`, `access` and `services` each own one kind of machine.

mod access;
mod bridges;
mod event;
mod ipv6;
mod services;
mod uplink;
mod vpn;

pub use bridges::{BridgeEvent, Place};
pub use event::{Event, Level};
pub use ipv6::addressing::{Event as PrefixEvent, Problem as PrefixProblem};
pub use vpn::Event as VpnEvent;

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

use access::Access;
use bridges::Names;
use ipv6::{Ipv6, LinkIpv6};
use services::Services;
use uplink::Uplink;
use vpn::Vpns;

use crate::dns::Upstream;
use crate::explain::Diagnosis;
use crate::explain::memory::Memory;
use crate::forward::bridge::Notice;
use crate::forward::{
    Forwarder, MessageTo, Punt, PuntKind, Resolve, SessionOwner, TunnelUpdate, Update, Usage,
};
use crate::frame::Frame;
use crate::id::{Interface, LanId, PeerId, PortId, Segment, SubscriberId, WanId};
use crate::ledger::{DropReason, Ledger};
use crate::machine::{Cx, Doubt};
use crate::pppoe::{DiscoveryFrame, Remembered};
use crate::settings::Settings;
use crate::state::{RememberedSession, State, UplinkLease};
use crate::status::{LanStatus, NatStatus, Status, WanStatus};
use crate::time::{Duration, Instant, earliest};
use crate::wire::ethernet::Header;
use crate::wire::pppoe::HEADER_LEN;

/// Where a frame of Control's goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Out of a port as it is: a whole Ethernet frame.
    Port(PortId),
    /// To a station or all stations of a LAN: a whole Ethernet frame.
    Lan(LanId),
    /// To a neighbour or a group on a link, and no further: an IPv6 packet of the router's own.
    Link(Interface),
    /// By the routing table: an IP packet of the router's own.
    Routed,
    /// From a VPN's port: a WireGuard message.
    Tunnel(MessageTo),
}

/// Largest frame of a machine's own, in octets; a reply to a large ping may be larger.
const LARGEST_FRAME: usize = 1600;

/// From the start of a session's frame to its PPP protocol field.
const PPP_AT: usize = Header::LEN + HEADER_LEN;

/// What the machines want to tell the rest of the house.
#[derive(Debug, Default)]
struct Outbox {
    updates: VecDeque<Update>,
    /// What became of the uplinks' links for IPv6.
    links: VecDeque<(WanId, LinkIpv6)>,
    events: VecDeque<Event>,
}

/// The half of the gateway that negotiates.
pub struct Control {
    hostname: String,
    uplinks: Vec<Uplink>,
    access: Vec<Access>,
    ipv6: Ipv6,
    services: Services,
    vpns: Vpns,
    bridges: Names,
    memory: Memory,
    outbox: Outbox,
}

impl Control {
    /// All machines, started now, with what the last run left for them.
    pub fn new(settings: &Settings, state: &State, cx: &mut Cx<'_>) -> Self {
        let uplinks = (0u16..)
            .zip(&settings.wans)
            .filter_map(|(index, wan)| {
                let port = settings.ports.get(wan.port.index())?;
                Some(Uplink::new(cx, WanId(index), wan, port, &settings.hostname, state))
            })
            .collect();
        let mut base = 0u32;
        let access = settings
            .concentrators
            .iter()
            .filter_map(|concentrator| {
                let port = settings.ports.get(concentrator.port.index())?;
                let kept = state.user_prefixes.iter().filter(|kept| kept.concentrator == concentrator.name);
                let bindings = kept.map(|kept| kept.binding.clone()).collect();
                let access = Access::new(cx, SubscriberId(base), concentrator, port, bindings);
                base = base.saturating_add(concentrator.sessions);
                Some(access)
            })
            .collect();
        let mut control = Control {
            hostname: settings.hostname.clone(),
            uplinks,
            access,
            ipv6: Ipv6::new(settings, state, cx),
            services: Services::new(settings, state, cx),
            vpns: Vpns::new(settings, state, cx),
            bridges: Names::new(settings),
            memory: Memory::new(settings),
            outbox: Outbox::default(),
        };
        control.drain(cx);
        control
    }

    /// Acts upon a frame that is not plain traffic. An error says why it came to nothing.
    pub fn handle(&mut self, cx: &mut Cx<'_>, punt: &Punt) -> Result<(), DropReason> {
        self.memory.note_punt(cx.now, punt);
        let bytes = punt.frame.bytes();
        let handled = match punt.kind {
            PuntKind::Discovery { port } => self.handle_discovery(cx, port, bytes),
            PuntKind::Ppp { owner: SessionOwner::Wan(wan) } => match self.uplink(wan) {
                Some(uplink) => uplink.handle_ppp(cx, bytes),
                None => Err(DropReason::PppoeUnknownSession),
            },
            PuntKind::Ppp { owner: SessionOwner::Subscriber(subscriber) } => {
                self.access(subscriber).and_then(|access| access.handle_ppp(cx, subscriber, bytes))
            }
            PuntKind::Stray { port, peer, session } => {
                self.handle_stray(cx, port, Remembered { peer, session }, bytes)
            }
            PuntKind::Arp { segment } => {
                // A DHCP client listens whether an address is free.
                let taken = match segment {
                    Segment::Wan(wan) => self.uplink(wan).map(|uplink| uplink.handle_arp(cx, bytes)),
                    Segment::Lan(_) => None,
                };
                match taken {
                    Some(Ok(())) => Ok(()),
                    _ => self.services.handle_arp(cx, segment, bytes),
                }
            }
            PuntKind::Dhcp4 { segment: Segment::Lan(lan) } => self.services.handle_dhcp(cx, lan, bytes),
            PuntKind::Dhcp4 { segment: Segment::Wan(wan) } => match self.uplink(wan) {
                Some(uplink) => uplink.handle_dhcp4(cx, bytes),
                None => Err(DropReason::NotListening),
            },
            PuntKind::Ndp { interface: Interface::Subscriber(subscriber) } => {
                self.access(subscriber).and_then(|access| access.handle_ndp(cx, subscriber, bytes))
            }
            PuntKind::Dhcp6 { interface: Interface::Subscriber(subscriber) } => {
                self.access(subscriber).and_then(|access| access.handle_dhcp6(cx, subscriber, bytes))
            }
            PuntKind::Ndp { interface } => self.ipv6.handle_ndp(cx, interface, bytes),
            PuntKind::Dhcp6 { interface } => self.ipv6.handle_dhcp(cx, interface, bytes),
            PuntKind::WireGuard { vpn, from } => self.vpns.handle(cx, vpn, from, bytes),
            PuntKind::Local { interface } => self.services.handle_local(cx, interface, &punt.frame),
        };
        self.drain(cx);
        handled
    }

    /// The concentrator that a subscriber's session is of.
    fn access(&mut self, subscriber: SubscriberId) -> Result<&mut Access, DropReason> {
        let mut all = self.access.iter_mut();
        all.find(|access| access.owns(subscriber)).ok_or(DropReason::PppoeUnknownSession)
    }

    fn uplink(&mut self, wan: WanId) -> Option<&mut Uplink> {
        self.uplinks.iter_mut().find(|uplink| uplink.id() == wan)
    }

    /// Offers a discovery frame to each machine of its port until one takes it.
    fn handle_discovery(&mut self, cx: &mut Cx<'_>, port: PortId, bytes: &[u8]) -> Result<(), DropReason> {
        let frame = DiscoveryFrame::parse(bytes)?;
        let mut uplinks = self.uplinks.iter_mut().filter(|uplink| uplink.port() == port);
        let taken = uplinks.find_map(|uplink| match uplink.handle_discovery(cx, &frame) {
            Err(DropReason::DiscoveryUnexpected) => None,
            verdict => Some((uplink.id(), uplink.remembered_session(), verdict)),
        });
        if let Some((id, session, verdict)) = taken {
            let others = self.uplinks.iter_mut().filter(|uplink| uplink.port() == port && uplink.id() != id);
            if let Some(session) = session {
                others.for_each(|other| other.lose_session(cx, session));
            }
            return verdict;
        }
        match self.access.iter_mut().find(|access| access.port() == port) {
            Some(access) => access.handle_discovery(cx, &frame),
            None => Err(DropReason::DiscoveryUnexpected),
        }
    }

    /// A session's whole frame for which the Forwarder knew no session: one that an uplink has been granted in the same
    /// batch, or nobody's.
    fn handle_stray(
        &mut self,
        cx: &mut Cx<'_>,
        port: PortId,
        session: Remembered,
        bytes: &[u8],
    ) -> Result<(), DropReason> {
        let mut uplinks = self.uplinks.iter_mut().filter(|uplink| uplink.port() == port);
        if let Some(uplink) = uplinks.find(|uplink| uplink.remembered_session() == Some(session)) {
            return uplink.handle_ppp(cx, bytes.get(PPP_AT..).unwrap_or_default());
        }
        match self.access.iter_mut().find(|access| access.port() == port) {
            Some(access) => access.handle_stray(cx, session),
            None => Err(DropReason::PppoeUnknownSession),
        }
    }

    /// The Forwarder has packets for an address on a LAN and does not know the station.
    pub fn resolve(&mut self, cx: &mut Cx<'_>, resolve: Resolve) {
        match resolve.address {
            IpAddr::V4(_) => self.services.resolve(cx, resolve),
            IpAddr::V6(_) => self.ipv6.resolve(cx, resolve),
        }
        self.drain(cx);
    }

    /// The Forwarder has packets for a VPN's peer and no keys, or keys that are to be renewed.
    pub fn want_keys(&mut self, cx: &mut Cx<'_>, peer: PeerId) {
        self.vpns.want(cx, peer);
        self.drain(cx);
    }

    /// What the wall clock says at `now`: the time since 1970.
    pub fn set_clock(&mut self, now: Instant, unix: Duration) {
        self.vpns.set_clock(now, unix);
    }

    /// Time has passed that our clock has not counted, and nobody knows how much: everything that was agreed with others is
    /// asked for again, and everything that others rely on is told again.
    pub fn resumed(&mut self, cx: &mut Cx<'_>) {
        self.outbox.events.push_back(Event::Resumed);
        self.uplinks.iter_mut().for_each(|uplink| uplink.reconfirm(cx, Doubt::Clock));
        self.access.iter_mut().for_each(|access| access.reconfirm(cx));
        self.ipv6.reconfirm(cx);
        self.services.reconfirm(cx, |_| true);
        self.services.forget_answers();
        self.vpns.reconfirm(cx);
        self.drain(cx);
    }

    /// A port's line was cut, and is whole again: the uplinks there ask whether what they have is still theirs.
    pub fn reconnected(&mut self, cx: &mut Cx<'_>, port: PortId) {
        for uplink in self.uplinks.iter_mut().filter(|uplink| uplink.port() == port) {
            uplink.reconfirm(cx, Doubt::Line);
            self.ipv6.reconfirm_wan(cx, uplink.id());
            self.services.reconfirm(cx, |segment| segment == Segment::Wan(uplink.id()));
        }
        self.drain(cx);
    }

    /// Tells the keepalives when their sessions last carried something.
    pub fn note_traffic(&mut self, cx: &mut Cx<'_>, usage: impl Fn(SessionOwner) -> Option<Usage>) {
        for uplink in &mut self.uplinks {
            if let Some(at) = usage(SessionOwner::Wan(uplink.id())).and_then(|usage| usage.last_received) {
                uplink.note_traffic(cx, at);
            }
        }
        for access in &mut self.access {
            access.note_traffic(cx, |subscriber| {
                usage(SessionOwner::Subscriber(subscriber)).and_then(|usage| usage.last_received)
            });
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        for uplink in &mut self.uplinks {
            uplink.handle_timeout(cx);
        }
        for access in &mut self.access {
            access.handle_timeout(cx);
        }
        self.ipv6.handle_timeout(cx);
        self.services.handle_timeout(cx);
        self.vpns.handle_timeout(cx);
        self.drain(cx);
    }

    /// When the next machine has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let uplinks = self.uplinks.iter().filter_map(Uplink::poll_timeout).min();
        let access = self.access.iter().filter_map(Access::poll_timeout).min();
        let local = earliest(self.ipv6.poll_timeout(), self.services.poll_timeout());
        let local = earliest(local, self.vpns.poll_timeout());
        earliest(earliest(uplinks, access), local)
    }

    /// The next fact for the Forwarder.
    pub fn poll_update(&mut self) -> Option<Update> {
        self.outbox.updates.pop_front()
    }

    /// The next fact for the Forwarder's tunnels.
    pub fn poll_tunnel_update(&mut self) -> Option<TunnelUpdate> {
        self.vpns.poll_update()
    }

    /// The Forwarder has something to tell of a LAN's bridge.
    pub fn note_bridge(&mut self, notice: Notice) {
        self.outbox.events.push_back(self.bridges.event(notice));
    }

    /// The next fact for the user.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.outbox.events.pop_front()
    }

    /// Room that the frame of the next [`Control::poll_transmit`] may need, in octets.
    pub fn room(&self) -> usize {
        self.services.next_len().unwrap_or(0).max(LARGEST_FRAME)
    }

    /// Writes the next frame to send, and says where it goes.
    pub fn poll_transmit(&mut self, frame: &mut Frame) -> Option<Exit> {
        for uplink in &mut self.uplinks {
            if let Some(exit) = uplink.poll_transmit(frame) {
                return Some(exit);
            }
        }
        for access in &mut self.access {
            if let Some(exit) = access.poll_transmit(frame) {
                return Some(exit);
            }
        }
        if let Some(interface) = self.ipv6.poll_transmit(frame) {
            return Some(Exit::Link(interface));
        }
        self.vpns.poll_transmit(frame).or_else(|| self.services.poll_transmit(frame))
    }

    /// A frame of [`Control::poll_transmit`] goes out.
    pub fn note_sent(&mut self, now: Instant, exit: Exit, bytes: &[u8]) {
        let (uplinks, ipv6) = (&self.uplinks, &self.ipv6);
        self.memory.note_sent(now, exit, bytes, |source| {
            let mut ids = uplinks.iter().map(|uplink| (uplink.id(), uplink));
            let found = ids.find(|(id, uplink)| match source {
                IpAddr::V4(source) => uplink.ipv4().is_some_and(|ipv4| ipv4.address == source),
                IpAddr::V6(source) => ipv6.source(*id) == Some(source),
            });
            found.map(|(id, _)| id)
        });
    }

    /// Ends every session.
    pub fn shut_down(&mut self, cx: &mut Cx<'_>) {
        for uplink in &mut self.uplinks {
            uplink.shut_down(cx);
        }
        for access in &mut self.access {
            access.shut_down(cx);
        }
        self.drain(cx);
        self.ipv6.shut_down(cx);
        self.drain(cx);
    }

    /// What the state file should hold.
    pub fn state(&self) -> State {
        State {
            sessions: self
                .uplinks
                .iter()
                .filter_map(|uplink| {
                    Some(RememberedSession { wan: uplink.name().into(), left: uplink.left_session()? })
                })
                .collect(),
            uplink_leases: self
                .uplinks
                .iter()
                .filter_map(|uplink| {
                    Some(UplinkLease { wan: uplink.name().into(), lease: uplink.remembered_lease()? })
                })
                .collect(),
            leases: self.services.leases(),
            leases6: self.ipv6.leases(),
            duid: Some(self.ipv6.duid()),
            delegations: self.ipv6.delegations(),
            ula: self.ipv6.ula(),
            lan_prefixes: self.ipv6.announced(),
            lan_addresses: self.ipv6.ready_addresses(),
            vpn_stamps: self.vpns.stamps(),
            user_prefixes: self.access.iter().flat_map(Access::bindings).collect(),
            flows: Vec::new(),
        }
    }

    /// What `genkan status` shows.
    pub fn status(&self, now: Instant, forwarder: &Forwarder, ledger: &Ledger, ports: &[String]) -> Status {
        let usage = |owner| forwarder.usage(owner).unwrap_or_default();
        let wans: Vec<String> = self.uplinks.iter().map(|uplink| uplink.name().into()).collect();
        Status {
            hostname: self.hostname.clone(),
            wans: self
                .uplinks
                .iter()
                .map(|uplink| {
                    let id = uplink.id();
                    let ipv6 = self.ipv6.wan_status(now, id, forwarder.epoch6(id));
                    let status = uplink.status(now, ports, forwarder.epoch(id), usage(SessionOwner::Wan(id)));
                    let up = status.up || ipv6.as_ref().is_some_and(|ipv6| ipv6.up);
                    let kernel = forwarder.usage_in_kernel(SessionOwner::Wan(id)).unwrap_or_default();
                    WanStatus { up, ipv6, kernel, ..status }
                })
                .collect(),
            lans: (0u16..)
                .map(LanId)
                .zip(self.services.lan_status(now, ports))
                .map(|(id, status)| {
                    let troubles = forwarder.bridge_troubles(now, id);
                    let troubles = troubles.map(|trouble| self.bridges.trouble(&trouble)).collect();
                    LanStatus { ipv6: self.ipv6.lan_status(now, id, &wans), troubles, ..status }
                })
                .collect(),
            vpns: self.vpns.status(now, forwarder),
            concentrators: self
                .access
                .iter()
                .map(|access| {
                    access.status(ports, |subscriber| {
                        let owner = SessionOwner::Subscriber(subscriber);
                        (usage(owner), forwarder.usage_in_kernel(owner).unwrap_or_default())
                    })
                })
                .collect(),
            nat: NatStatus { flows: forwarder.flow_count(), mappings: forwarder.mapping_count() },
            dns: self.services.dns_status(),
            kernel: forwarder.kernel_usage(),
            frames: ledger.clone(),
            frames_held: forwarder.held(),
        }
    }

    /// What is wrong with the peers of a VPN, or with the one that is named.
    pub fn explain_vpn(
        &self,
        now: Instant,
        name: (&str, Option<&str>),
        forwarder: &Forwarder,
    ) -> Vec<Diagnosis> {
        self.vpns.explain(now, name, forwarder)
    }

    /// What was said and heard on the uplinks.
    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Takes what the machines report, until none has anything left.
    fn drain(&mut self, cx: &mut Cx<'_>) {
        let told = self.outbox.events.len();
        self.drain_machines(cx);
        for event in self.outbox.events.iter().skip(told) {
            self.memory.note_event(cx.now, event);
        }
    }

    fn drain_machines(&mut self, cx: &mut Cx<'_>) {
        let mut addresses_changed = false;
        for uplink in &mut self.uplinks {
            addresses_changed |= uplink.drain(&mut self.outbox);
        }
        for access in &mut self.access {
            access.drain(cx, &mut self.outbox);
        }
        while let Some((wan, link)) = self.outbox.links.pop_front() {
            self.ipv6.link_changed(cx, wan, link);
        }
        addresses_changed |= self.ipv6.drain(cx, &mut self.outbox);
        if addresses_changed {
            self.tell_services(cx);
        }
        self.services.drain(&mut self.outbox);
        self.drain_vpns(cx);
    }

    /// Carries questions of the VPNs to the DNS forwarder, and its answers back.
    fn drain_vpns(&mut self, cx: &mut Cx<'_>) {
        while let Some(question) = self.vpns.poll_question() {
            self.services.look_up(cx, &question.host, question.ipv6, question.ticket);
        }
        while let Some((ticket, addresses)) = self.services.poll_found() {
            self.vpns.found(cx.now, ticket, &addresses);
        }
        self.vpns.drain(cx.now);
        while let Some((vpn, event)) = self.vpns.poll_event() {
            self.outbox.events.push_back(Event::Vpn { name: vpn, event });
        }
    }

    /// Tells the services which addresses and names there are. The servers to ask are those of the uplinks that carry the
    /// default routes, IPv4's first: others may not answer somebody else's customer.
    fn tell_services(&mut self, cx: &mut Cx<'_>) {
        for uplink in &self.uplinks {
            let segment = uplink.ipv4().and_then(|ipv4| ipv4.segment);
            self.services.set_segment(cx, uplink.id(), segment.map(|segment| segment.network));
        }
        let addresses = self.uplinks.iter().filter_map(|uplink| Some(uplink.ipv4()?.address.into()));
        let addresses: Vec<IpAddr> = addresses.chain(self.ipv6.addresses().map(IpAddr::from)).collect();
        let upstreams = self.upstreams_ipv4().into_iter().chain(self.upstreams_ipv6()).collect();
        self.services.set_uplinks(cx, &addresses, upstreams);
        let ipv4 = self.uplinks.iter().any(|uplink| uplink.ipv4().is_some());
        let ipv6 = self.uplinks.iter().any(|uplink| self.ipv6.source(uplink.id()).is_some());
        self.vpns.addresses_changed(cx.now, ipv4, ipv6);
        for (lan, prefixes, leases) in self.ipv6.names(cx.now) {
            self.services.set_names(lan, prefixes, &leases);
        }
    }

    fn upstreams_ipv4(&self) -> Vec<Upstream> {
        let online = self.uplinks.iter().find_map(|uplink| Some((uplink, uplink.ipv4()?.address)));
        online.map_or_else(Vec::new, |(uplink, source)| {
            let servers = uplink.dns().into_iter().filter(IpAddr::is_ipv4);
            servers.map(|server| Upstream { wan: uplink.id(), source: source.into(), server }).collect()
        })
    }

    fn upstreams_ipv6(&self) -> Vec<Upstream> {
        let online = self.uplinks.iter().find_map(|uplink| Some((uplink, self.ipv6.source(uplink.id())?)));
        online.map_or_else(Vec::new, |(uplink, source)| {
            let given = uplink.dns().into_iter().filter(IpAddr::is_ipv6);
            let servers = given.chain(self.ipv6.dns(uplink.id()).into_iter().map(IpAddr::from));
            servers.map(|server| Upstream { wan: uplink.id(), source: source.into(), server }).collect()
        })
    }
}
