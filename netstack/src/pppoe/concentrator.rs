//! A PPPoE access concentrator: the side that is dialled (RFC 2516, RFC 4638).
//!
//! 1. A PADI for a service that is served is answered by a PADO with a cookie, which costs no state. A concentrator that
//!    could not open a session is silent.
//! 2. A PADR must bring the cookie back. It opens a session under a random id; the same PADR again gets the same session
//!    again. What cannot be had is refused with the tag that says why.
//! 3. Each session has a [`Link`] in the server's role. When the link asks who may come in, [`Users`] knows; when
//!    somebody has come in, the user's own address or one of the [`Pool`] is assigned. Where prefixes are delegated, the
//!    link offers IPv6 besides; either family does without the other.
//! 4. A session ends by a PADT of its station, by its link, or by its station or user coming in anew. The station is told
//!    by PADT, unless it was the one who said so.
//! 5. A frame of a session that does not exist is answered by a PADT, within bounds: the station's session died with an
//!    earlier life of ours, and it would wait for minutes otherwise.
//!
//! Sessions stand in a list of deadlines and in a list of those that have something to send; idle ones cost nothing.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};

use super::cookie;
use super::pool::Pool;
use super::sessions::{Lease, Session, Sessions, Who};
use super::subscriber::{CloseReason, Event, RefuseReason, SubscriberStatus};
use super::users::{UserId, Users};
use super::{DiscoveryFrame, Outbox, Remembered, split_ppp, transmit_link};
use crate::frame::Frame;
use crate::id::{Mac, SubscriberId};
use crate::ledger::DropReason;
use crate::machine::Cx;
use crate::ppp::text::printable;
use crate::ppp::{self, Ipv4Assignment, Link, ServerSettings};
use crate::settings;
use crate::table::{Map, Seed};
use crate::time::{Duration, Instant};
use crate::wire::pppoe::{Code, Discovery, DiscoveryWriter, OVERHEAD, STANDARD_MRU, tag};

/// Answers to discovery that may wait to be sent.
const OFFERS: usize = 4096;
/// Most PADTs for unknown sessions in a second.
const STRAY_RATE: u32 = 1000;
/// Silence after which a station's session counts as dead when the station asks for another and echoes are off.
const SILENCE: Duration = Duration::from_secs(60);

/// What can happen to a concentrator.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// A discovery packet came in by its port. Every concentrator of the port must see a PADI.
    Discovery(&'a DiscoveryFrame<'a>),
    /// A PPP packet came in by a session; the bytes begin at the PPP protocol field.
    Ppp {
        /// Whose session.
        subscriber: SubscriberId,
        /// The packet.
        packet: &'a [u8],
    },
    /// The packet path received network data of a session.
    TrafficSeen {
        /// Whose session.
        subscriber: SubscriberId,
        /// When.
        at: Instant,
    },
    /// Session data came in by its port, for our address, under a session that does not exist.
    Stray(Remembered),
    /// Time has passed that nobody has counted: every subscriber is asked whether it is still there.
    Doubt,
    /// End every session and open no more.
    Shutdown,
}

/// An access concentrator.
#[derive(Debug)]
pub struct Concentrator {
    local: Mac,
    ac_name: Vec<u8>,
    service_names: Vec<Vec<u8>>,
    address: Ipv4Addr,
    dns: [Option<Ipv4Addr>; 2],
    /// Largest IP packet to agree to, and the largest PPP-Max-Payload to grant.
    mtu: u16,
    max_payload: Option<u16>,
    per_station: usize,
    silence: Duration,
    link_settings: Arc<ServerSettings>,
    key: cookie::Key,
    users: Users,
    has_fixed: bool,
    pool: Pool,
    base: SubscriberId,
    sessions: Sessions,
    /// Slots of the sessions that hold a user's own address.
    fixed: Map<UserId, u32>,
    deadlines: BTreeSet<(Instant, u32)>,
    ready: VecDeque<u32>,
    stray: (Instant, u32),
    open: bool,
    outbox: Outbox,
    events: VecDeque<Event>,
}

impl Concentrator {
    /// A concentrator that serves on `port`. Its subscribers are numbered from `base` on, up to its number of sessions.
    pub fn new(
        cx: &mut Cx<'_>,
        settings: &settings::Concentrator,
        port: &settings::Port,
        base: SubscriberId,
    ) -> Self {
        let users = Users::new(&settings.users, cx.rng);
        let has_fixed = users.fixed_addresses().next().is_some();
        let reserved = users.fixed_addresses().chain([settings.address]);
        let pool = Pool::new(settings.pool, reserved, cx.rng);
        let mtu = settings.mtu.min(port.mtu.saturating_sub(OVERHEAD));
        let mut dns = settings.dns.iter().filter_map(|server| match server {
            IpAddr::V4(server) => Some(*server),
            IpAddr::V6(_) => None,
        });
        Concentrator {
            local: port.mac,
            ac_name: settings.ac_name.clone().into_bytes(),
            service_names: settings.service_names.iter().map(|name| name.clone().into_bytes()).collect(),
            address: settings.address,
            dns: [dns.next(), dns.next()],
            mtu,
            max_payload: Some(mtu).filter(|&mtu| mtu > STANDARD_MRU),
            per_station: usize::try_from(settings.sessions_per_mac).unwrap_or(usize::MAX),
            silence: match settings.echo.interval {
                Duration::ZERO => SILENCE,
                interval => interval.saturating_add(interval / 2),
            },
            link_settings: Arc::new(ServerSettings::new(settings, port.mac)),
            key: cookie::Key::draw(cx.rng),
            has_fixed,
            users,
            pool,
            base,
            sessions: Sessions::new(settings.sessions, cx.rng),
            fixed: Map::with_hasher(Seed::draw(cx.rng)),
            deadlines: BTreeSet::new(),
            ready: VecDeque::new(),
            stray: (cx.now, STRAY_RATE),
            open: true,
            outbox: Outbox::new(),
            events: VecDeque::new(),
        }
    }

    /// Something happened. An error says why a frame was dropped.
    pub fn handle(&mut self, cx: &mut Cx<'_>, input: Input<'_>) -> Result<(), DropReason> {
        match input {
            Input::Discovery(frame) => self.discovery(cx, frame),
            Input::Ppp { subscriber, packet } => {
                let slot = self.slot(subscriber);
                let session = slot.and_then(|slot| self.sessions.get_mut(slot));
                let (Some(slot), Some(session)) = (slot, session) else {
                    return Err(DropReason::PppoeUnknownSession);
                };
                let (protocol, information) = split_ppp(packet)?;
                session.heard = cx.now;
                let result = session.link.receive(cx, protocol, information);
                self.settle(cx, slot);
                result
            }
            Input::TrafficSeen { subscriber, at } => {
                // The deadline in the list can only be too early now, and is put right when it comes.
                if let Some(session) = self.slot(subscriber).and_then(|slot| self.sessions.get_mut(slot)) {
                    session.heard = session.heard.max(at);
                    session.link.traffic_seen(at);
                }
                Ok(())
            }
            Input::Stray(key) => self.stray(cx, key),
            Input::Doubt => {
                for slot in self.sessions.slots() {
                    if let Some(session) = self.sessions.get_mut(slot) {
                        session.link.reconfirm(cx);
                        self.settle(cx, slot);
                    }
                }
                Ok(())
            }
            Input::Shutdown => {
                self.open = false;
                for slot in self.sessions.slots() {
                    self.close(cx, slot, CloseReason::Shutdown);
                }
                Ok(())
            }
        }
    }

    /// Does what is due. Calling it early or twice does nothing.
    pub fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        let due: Vec<u32> = self.due_slots(cx.now).collect();
        for slot in due {
            if let Some(session) = self.sessions.get_mut(slot) {
                session.link.handle_timeout(cx);
            }
            self.settle(cx, slot);
        }
    }

    /// The sessions for which [`Concentrator::handle_timeout`] would do something now. Tell it first when each was last
    /// heard of ([`Input::TrafficSeen`]).
    pub fn due(&self, now: Instant) -> Vec<SubscriberId> {
        self.due_slots(now).map(|slot| self.subscriber(slot)).collect()
    }

    fn due_slots(&self, now: Instant) -> impl Iterator<Item = u32> + '_ {
        self.deadlines.iter().take_while(move |(at, _)| *at <= now).map(|&(_, slot)| slot)
    }

    /// When the concentrator wants to be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|&(at, _)| at)
    }

    /// Writes the next whole Ethernet frame into `frame`, which is empty; says whether there was one.
    pub fn poll_transmit(&mut self, frame: &mut Frame) -> bool {
        if self.outbox.poll(frame) {
            return true;
        }
        while let Some(&slot) = self.ready.front() {
            if let Some(session) = self.sessions.get_mut(slot).filter(|session| session.ready) {
                if transmit_link(&mut session.link, frame, self.local, session.key) {
                    return true;
                }
                session.ready = false;
            }
            self.ready.pop_front();
        }
        false
    }

    /// The next fact.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Every session, for the status.
    pub fn sessions(&self) -> impl Iterator<Item = SubscriberStatus> + '_ {
        self.sessions.iter().map(|(slot, session)| SubscriberStatus {
            subscriber: self.subscriber(slot),
            user: match &session.who {
                Who::User(_, name) => Some(name.clone()),
                Who::Unknown | Who::Claims(_) => None,
            },
            session: session.key.session,
            peer: session.key.peer,
            address: session.lease.address().filter(|_| session.ipv4),
            link_local: session.ipv6.map(|(_, peer)| peer),
            opened: session.opened,
        })
    }

    fn subscriber(&self, slot: u32) -> SubscriberId {
        SubscriberId(self.base.0.saturating_add(slot))
    }

    fn slot(&self, subscriber: SubscriberId) -> Option<u32> {
        subscriber.0.checked_sub(self.base.0)
    }

    fn discovery(&mut self, cx: &mut Cx<'_>, frame: &DiscoveryFrame<'_>) -> Result<(), DropReason> {
        let unexpected = Err(DropReason::DiscoveryUnexpected);
        let ours = frame.destination == self.local;
        if frame.source == self.local || !self.open {
            return unexpected;
        }
        match frame.packet.code {
            Code::Padi if ours || frame.destination == Mac::BROADCAST => self.offer(cx, frame),
            Code::Padr if ours => self.request(cx, frame),
            Code::Padt if ours => {
                let key = Remembered { peer: frame.source, session: frame.packet.session };
                let Some(slot) = self.sessions.find(key) else { return unexpected };
                self.finish(slot, CloseReason::Terminated, false);
                Ok(())
            }
            _ => unexpected,
        }
    }

    /// Answers a PADI, when there is something to offer.
    fn offer(&mut self, cx: &mut Cx<'_>, frame: &DiscoveryFrame<'_>) -> Result<(), DropReason> {
        let packet = &frame.packet;
        let service = packet.only_service_name().ok_or(DropReason::DiscoveryMalformed)?;
        let no_address = self.pool.free() == 0 && !self.has_fixed;
        if packet.session != 0 || !self.serves(service) || self.sessions.is_full() || no_address {
            return Err(DropReason::DiscoveryUnexpected);
        }
        if self.outbox.len() >= OFFERS {
            return Err(DropReason::ServiceOverload);
        }
        let cookie = self.key.bake(cx.rng, frame.source);
        let max_payload = self.grant(packet);
        let written = self.outbox.add(|out| {
            let mut writer = answer(out, self.local, frame, Code::Pado, 0)
                .tag(tag::AC_NAME, &self.ac_name)
                .tag(tag::SERVICE_NAME, service)
                .tag(tag::AC_COOKIE, &cookie)
                .max_payload(max_payload);
            for name in self.service_names.iter().filter(|&name| name != service) {
                if name.len() <= writer.room() {
                    writer = writer.tag(tag::SERVICE_NAME, name);
                }
            }
            writer.finish()
        });
        // An answer that does not fit cannot be given.
        if written { Ok(()) } else { Err(DropReason::DiscoveryUnexpected) }
    }

    /// Answers a PADR with a session or a refusal.
    fn request(&mut self, cx: &mut Cx<'_>, frame: &DiscoveryFrame<'_>) -> Result<(), DropReason> {
        let packet = &frame.packet;
        let cookie = packet.find(tag::AC_COOKIE).unwrap_or_default();
        if packet.session != 0 || !self.key.holds(cookie, frame.source) {
            return Err(DropReason::DiscoveryUnexpected);
        }
        if self.outbox.len() >= OFFERS {
            return Err(DropReason::ServiceOverload);
        }
        let service = packet.only_service_name();
        let Some(service) = service.filter(|service| self.serves(service)) else {
            self.refuse(frame, RefuseReason::ServiceName);
            return Ok(());
        };
        let identity = self.key.identity(cookie, packet.find(tag::HOST_UNIQ));
        let slots = self.sessions.of_station(frame.source).to_vec();
        for &slot in &slots {
            if let Some(session) = self.sessions.get_mut(slot).filter(|session| session.identity == identity)
            {
                let (id, max_payload) = (session.key.session, session.max_payload);
                self.confirm(frame, service, id, max_payload);
                return Ok(());
            }
        }
        if slots.len() >= self.per_station {
            match self.silent(cx.now, &slots) {
                Some(slot) => self.close(cx, slot, CloseReason::Replaced),
                None => {
                    self.refuse(frame, RefuseReason::StationLimit);
                    return Ok(());
                }
            }
        }
        let id = self.sessions.draw_id(cx.rng, frame.source).filter(|_| !self.sessions.is_full());
        let Some(id) = id else {
            self.refuse(frame, RefuseReason::Full);
            return Ok(());
        };
        let max_payload = self.grant(packet);
        if !self.confirm(frame, service, id, max_payload) {
            return Err(DropReason::DiscoveryUnexpected);
        }
        self.open_session(cx, Remembered { peer: frame.source, session: id }, identity, max_payload);
        Ok(())
    }

    fn open_session(&mut self, cx: &mut Cx<'_>, key: Remembered, identity: u64, max_payload: Option<u16>) {
        let mtu = max_payload.unwrap_or(STANDARD_MRU).min(self.mtu);
        let mut link = Link::server(self.link_settings.clone());
        link.open(cx, mtu);
        let session = Session {
            key,
            identity,
            link,
            who: Who::Unknown,
            lease: Lease::None,
            ipv4: false,
            ipv6: None,
            mtu,
            max_payload,
            opened: cx.now,
            heard: cx.now,
            deadline: None,
            ready: false,
        };
        if let Some(slot) = self.sessions.insert(session) {
            let (subscriber, Remembered { peer, session }) = (self.subscriber(slot), key);
            self.events.push_back(Event::SessionOpened { subscriber, peer, session });
            self.settle(cx, slot);
        }
    }

    fn serves(&self, service: &[u8]) -> bool {
        service.is_empty() || self.service_names.iter().any(|name| name == service)
    }

    /// The PPP-Max-Payload to grant to who asks for one (RFC 4638 §4).
    fn grant(&self, packet: &Discovery<'_>) -> Option<u16> {
        Some(packet.max_payload()?.min(self.max_payload?))
    }

    /// The session among `slots` that was silent for the longest time, when that is too long for one that lives.
    fn silent(&mut self, now: Instant, slots: &[u32]) -> Option<u32> {
        let heard = |&slot: &u32| Some((self.sessions.get_mut(slot)?.heard, slot));
        let (heard, slot) = slots.iter().filter_map(heard).min()?;
        (now.since(heard) >= self.silence).then_some(slot)
    }

    fn confirm(
        &mut self,
        frame: &DiscoveryFrame<'_>,
        service: &[u8],
        id: u16,
        max_payload: Option<u16>,
    ) -> bool {
        self.outbox.add(|out| {
            answer(out, self.local, frame, Code::Pads, id)
                .tag(tag::SERVICE_NAME, service)
                .max_payload(max_payload)
                .finish()
        })
    }

    fn refuse(&mut self, frame: &DiscoveryFrame<'_>, reason: RefuseReason) {
        let (kind, text) = match reason {
            RefuseReason::ServiceName => (tag::SERVICE_NAME_ERROR, "no such service here"),
            RefuseReason::StationLimit => {
                (tag::AC_SYSTEM_ERROR, "this station has as many sessions as it may have")
            }
            RefuseReason::Full => (tag::AC_SYSTEM_ERROR, "all sessions are taken"),
        };
        self.outbox
            .add(|out| answer(out, self.local, frame, Code::Pads, 0).tag(kind, text.as_bytes()).finish());
        self.events.push_back(Event::Refused { peer: frame.source, reason });
    }

    /// Tells a station that it has no such session.
    fn stray(&mut self, cx: &mut Cx<'_>, key: Remembered) -> Result<(), DropReason> {
        if cx.now.since(self.stray.0) >= Duration::from_secs(1) {
            self.stray = (cx.now, STRAY_RATE);
        }
        let told = self.open
            && key.peer.is_station()
            && key.peer != self.local
            && key.session != 0
            && self.stray.1 > 0
            && self.sessions.find(key).is_none();
        if told {
            self.stray.1 = self.stray.1.saturating_sub(1);
            self.outbox.add_padt(self.local, key);
        }
        Err(DropReason::PppoeUnknownSession)
    }

    /// Acts on what a session's link reports, and puts the session into the lists where it belongs.
    fn settle(&mut self, cx: &mut Cx<'_>, slot: u32) {
        while let Some(event) = self.sessions.get_mut(slot).and_then(|session| session.link.poll_event()) {
            self.link_event(cx, slot, event);
        }
        let Some(session) = self.sessions.get_mut(slot) else { return };
        let deadline = session.link.poll_timeout();
        let former = core::mem::replace(&mut session.deadline, deadline);
        if !core::mem::replace(&mut session.ready, true) {
            self.ready.push_back(slot);
        }
        if former != deadline {
            if let Some(at) = former {
                self.deadlines.remove(&(at, slot));
            }
            if let Some(at) = deadline {
                self.deadlines.insert((at, slot));
            }
        }
    }

    fn link_event(&mut self, cx: &mut Cx<'_>, slot: u32, event: ppp::Event) {
        let subscriber = self.subscriber(slot);
        let Some(session) = self.sessions.get_mut(slot) else { return };
        match event {
            ppp::Event::LcpOpened { mru, peer_mru, .. } => {
                let carried = session.max_payload.unwrap_or(STANDARD_MRU).min(self.mtu);
                session.mtu = carried.min(mru).min(peer_mru);
            }
            ppp::Event::Identify { name } => {
                if !matches!(session.who, Who::User(..)) {
                    session.who = Who::Claims(printable(&name).into());
                }
                session.link.authenticate(cx, Some(self.users.secret(&name)));
            }
            ppp::Event::Authenticated { name, .. } => self.admit(cx, slot, &name),
            ppp::Event::Ipv4Up { .. } => {
                session.ipv4 = true;
                self.tell_ipv4_up(slot);
            }
            ppp::Event::Ipv4Down { .. } => {
                if core::mem::take(&mut session.ipv4) {
                    self.events.push_back(Event::Ipv4Down { subscriber });
                }
            }
            ppp::Event::Ipv6Up { local, remote } => {
                session.ipv6 = Some((local.link_local(), remote.link_local()));
                self.tell_ipv6_up(slot);
            }
            ppp::Event::Ipv6Down { .. } => {
                if session.ipv6.take().is_some() {
                    self.events.push_back(Event::Ipv6Down { subscriber });
                }
            }
            ppp::Event::MtuProven { mtu } | ppp::Event::MtuReduced { mtu } => {
                if mtu < session.mtu {
                    session.mtu = mtu;
                    self.tell_ipv4_up(slot);
                    self.tell_ipv6_up(slot);
                }
            }
            ppp::Event::Down(reason) => {
                if let (ppp::DownReason::AuthenticationFailed { .. }, Who::Claims(name)) =
                    (&reason, &session.who)
                {
                    let (user, peer) = (String::from(&**name), session.key.peer);
                    self.events.push_back(Event::AuthFailed { user, peer });
                }
                self.finish(slot, CloseReason::Link(reason), true);
            }
        }
    }

    /// Tells of IPv4, if it is up.
    fn tell_ipv4_up(&mut self, slot: u32) {
        let subscriber = self.subscriber(slot);
        if let Some(Session { who: Who::User(_, user), lease, mtu, ipv4: true, .. }) =
            self.sessions.get_mut(slot)
            && let Some(address) = lease.address()
        {
            let (user, mtu) = (user.clone(), *mtu);
            self.events.push_back(Event::Ipv4Up { subscriber, user, address, mtu });
        }
    }

    /// Tells of IPv6, if it is up.
    fn tell_ipv6_up(&mut self, slot: u32) {
        let subscriber = self.subscriber(slot);
        if let Some(Session { who: Who::User(_, user), mtu, ipv6: Some((local, peer)), .. }) =
            self.sessions.get_mut(slot)
        {
            let (user, local, peer, mtu) = (user.clone(), *local, *peer, *mtu);
            self.events.push_back(Event::Ipv6Up { subscriber, user, local, peer, mtu });
        }
    }

    /// Somebody proved to be `name`: gives an address.
    fn admit(&mut self, cx: &mut Cx<'_>, slot: u32, name: &[u8]) {
        let Some(user) = self.users.find(name) else {
            return self.close(cx, slot, CloseReason::NoAddress);
        };
        let Some(session) = self.sessions.get_mut(slot) else { return };
        let same = matches!(session.who, Who::User(former, _) if former == user);
        let former = core::mem::replace(&mut session.lease, Lease::None);
        session.who = Who::User(user, self.users.name(user).cloned().unwrap_or_default());
        let lease = if same && former != Lease::None {
            former
        } else {
            self.release(slot, former);
            self.lease(cx, slot, user)
        };
        let Some(session) = self.sessions.get_mut(slot) else { return };
        session.lease = lease;
        match lease.address() {
            Some(remote) => {
                session.link.assign(cx, Ipv4Assignment { local: self.address, remote, dns: self.dns });
            }
            None => self.close(cx, slot, CloseReason::NoAddress),
        }
    }

    /// An address for `user`. The user's own is taken away from an earlier session of the same user.
    fn lease(&mut self, cx: &mut Cx<'_>, slot: u32, user: UserId) -> Lease {
        match self.users.fixed_address(user) {
            Some(address) => {
                if let Some(other) = self.fixed.insert(user, slot).filter(|&other| other != slot) {
                    self.close(cx, other, CloseReason::Replaced);
                }
                Lease::Fixed(user, address)
            }
            None => self.pool.take(user).map_or(Lease::None, Lease::Pool),
        }
    }

    fn release(&mut self, slot: u32, lease: Lease) {
        match lease {
            Lease::None => {}
            Lease::Pool(address) => self.pool.give(address),
            Lease::Fixed(user, _) => {
                if self.fixed.get(&user) == Some(&slot) {
                    self.fixed.remove(&user);
                }
            }
        }
    }

    /// Ends a session that its link would keep.
    fn close(&mut self, cx: &mut Cx<'_>, slot: u32, reason: CloseReason) {
        if let Some(session) = self.sessions.get_mut(slot) {
            session.link.close(cx);
            self.finish(slot, reason, true);
        }
    }

    /// A session is over. `tell` says whether its station has to be told.
    fn finish(&mut self, slot: u32, reason: CloseReason, tell: bool) {
        let Some(mut session) = self.sessions.remove(slot) else { return };
        if tell {
            self.outbox.add_farewell(&mut session.link, self.local, session.key);
        }
        if let Some(at) = session.deadline {
            self.deadlines.remove(&(at, slot));
        }
        self.release(slot, session.lease);
        let subscriber = self.subscriber(slot);
        if session.ipv4 {
            self.events.push_back(Event::Ipv4Down { subscriber });
        }
        if session.ipv6.is_some() {
            self.events.push_back(Event::Ipv6Down { subscriber });
        }
        let user = match session.who {
            Who::User(_, name) => Some(name),
            Who::Unknown | Who::Claims(_) => None,
        };
        self.events.push_back(Event::Closed { subscriber, user, reason });
    }
}

/// Begins an answer to `frame`, with the tags that are echoed as they came.
fn answer<'f>(
    out: &'f mut Frame,
    local: Mac,
    frame: &DiscoveryFrame<'_>,
    code: Code,
    session: u16,
) -> DiscoveryWriter<'f> {
    DiscoveryWriter::begin(out, local, frame.source, code, session)
        .tag_if(tag::HOST_UNIQ, frame.packet.find(tag::HOST_UNIQ))
        .tag_if(tag::RELAY_SESSION_ID, frame.packet.find(tag::RELAY_SESSION_ID))
}
