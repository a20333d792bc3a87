//! What comes back, as an answer to what our gateway asked.
//!
//! Two routers in the same place ask the same questions with other identifiers: transaction ids, Host-Uniqs, magic
//! numbers, PPP identifiers, interface identifiers, source ports. So:
//!
//! 1. [`Translator::sent_then`] notes each question that the captured router asked, [`Translator::sent_now`] each of ours.
//! 2. [`Translator::receive`] looks at what came back: an answer to a question of the captured router becomes one to ours of
//!    the same kind. Where ours has not asked yet, because it waits a little longer, the answer waits ([`Verdict::Wait`]);
//!    where ours never asks such a thing, it is left out ([`Verdict::Skip`]). Everything else passes as it is.
//! 3. Questions to which the capture cannot have the answer, because only we asked, are answered as the capture shows that
//!    they would have been ([`Translator::assume`]): an echo of a peer that lives, the address of a station.
//!
//! Options that were not asked for in the capture are taken to be acknowledged: nothing tells what the peer thinks of them.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};

use genkan_netstack::id::{Mac, PortId};
use genkan_netstack::ppp;
use genkan_netstack::secret::Secret;
use genkan_netstack::wire::octets::{set_u16, u16_at};
use genkan_netstack::wire::ppp::{Options, Packet, code, protocol};
use genkan_netstack::wire::pppoe::{Code, Discovery, tag};

use super::parts::{
    Body, ICMP, Ip, Key, Parts, TCP, UDP, dhcp4_kind, dhcp4_options, dhcp6_options, nd, packet, question,
    seal, service, with_packet, with_tags,
};
use super::sides::Role;

/// Most things of one kind that are remembered.
const REMEMBERED: usize = 64;
/// Most flows whose ports are remembered.
const FLOWS: usize = 65_536;
/// Most sessions.
const SCOPES: usize = 4096;

/// What becomes of a frame that the captured router received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It says the same to us.
    AsIs,
    /// It says this to us.
    Changed(Vec<u8>),
    /// It answers what we do not ask: a clause why.
    Skip(String),
    /// It answers what we have not asked yet.
    Wait(Need),
}

/// What an answer waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// That we look for a concentrator.
    Dialling,
    /// That the frames before it of its session have come.
    Session,
    /// That we ask a DHCPv6 server.
    Dhcp6,
    /// That we ask a DHCP server.
    Dhcp4,
}

/// Requests of one negotiation.
#[derive(Debug, Default)]
struct Asked {
    /// The captured router's, by identifier: their options.
    then: VecDeque<(u8, Vec<u8>)>,
    /// Our latest.
    now: Option<(u8, Vec<u8>)>,
    /// The peer's request that ours acknowledged last, and the one that the captured router did.
    acked: Option<(u8, Vec<u8>)>,
    acked_then: Option<(u8, Vec<u8>)>,
    /// Our latest Terminate-Request.
    terminate: Option<u8>,
}

/// A question to a DHCP server that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Question<X> {
    kind: u8,
    xid: X,
}

/// The identifier of the captured router's identity association, and of ours.
type Associations = (Option<[u8; 4]>, Option<[u8; 4]>);

/// What belongs to one session, or to the Ethernet of a port.
#[derive(Debug, Default)]
struct Scope {
    negotiations: BTreeMap<u16, Asked>,
    /// Identifier of our latest PAP request.
    pap: Option<u8>,
    /// The peer's latest CHAP challenge, and our response to it.
    challenge: Vec<u8>,
    response: Vec<u8>,
    /// Echo-Requests of the captured router without a reply.
    echoes_then: u32,
    /// Our Echo-Request without a reply: its identifier and what follows the magic number.
    echo: Option<(u8, Vec<u8>)>,
    /// The peer's magic number.
    magic: [u8; 4],
    /// The captured session has ended.
    over: bool,
    local_then: Option<Ipv6Addr>,
    local: Option<Ipv6Addr>,
    dhcp6_then: VecDeque<([u8; 3], u8)>,
    dhcp6: Option<Question<[u8; 3]>>,
    /// Identity associations by the option's code: the captured one's, and ours.
    iaids: BTreeMap<u16, Associations>,
    dhcp4_then: VecDeque<([u8; 4], u8)>,
    dhcp4: Option<Question<[u8; 4]>>,
    /// Our questions to name servers: source port, id and the name as we spelt it.
    names: VecDeque<(Key, u16, u16, Vec<u8>)>,
}

/// A flow that the router translated: transport, the far end, and the captured router's port or identifier.
type Outside = (u8, IpAddr, u16, u16);

/// What belongs to a port.
#[derive(Debug, Default)]
struct Line {
    role: Option<Role>,
    /// The router's address.
    mac: Mac,
    /// Host-Uniqs of the captured router; empty where it sent none.
    uniqs_then: VecDeque<Vec<u8>>,
    /// Ours, and the captured one's that each answers for.
    uniqs: VecDeque<(Vec<u8>, Option<Vec<u8>>)>,
    /// The cookie that our concentrator gave a station last.
    cookies: BTreeMap<Mac, Vec<u8>>,
    /// Sessions of our concentrator, by those of the captured one.
    sessions: BTreeMap<u16, u16>,
    /// Stations whose PADS of ours is still to be paired with the captured one's, and its session.
    granted: BTreeMap<Mac, u16>,
    scopes: BTreeMap<Option<u16>, Scope>,
}

/// The table of what corresponds to what.
#[derive(Debug, Default)]
pub(super) struct Translator {
    lines: BTreeMap<PortId, Line>,
    flows: BTreeMap<Outside, u16>,
    /// User names and passwords of uplinks: what a server's answer to MS-CHAPv2 proves.
    logins: Vec<(Vec<u8>, Secret)>,
    /// Ethernet addresses of stations, by port and IP address.
    stations: BTreeMap<(u16, IpAddr), Mac>,
    largest: usize,
}

/// An answer that the capture does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Assumed {
    pub frame: Vec<u8>,
    /// Why it is believed: a sentence.
    pub why: &'static str,
}

fn remember<T>(list: &mut VecDeque<T>, value: T) {
    if list.len() >= REMEMBERED {
        list.pop_front();
    }
    list.push_back(value);
}

impl Translator {
    pub fn new(
        logins: Vec<(Vec<u8>, Secret)>,
        stations: BTreeMap<(u16, IpAddr), Mac>,
        largest: usize,
    ) -> Self {
        Translator { logins, stations, largest, ..Translator::default() }
    }

    /// Says what a port is.
    pub fn port(&mut self, port: PortId, role: Role, mac: Mac) {
        self.lines.insert(port, Line { role: Some(role), mac, ..Line::default() });
    }

    /// The captured router sent this.
    pub fn sent_then(&mut self, port: PortId, frame: &[u8]) {
        let (Some(parts), Some(line)) = (Parts::of(frame), self.lines.get_mut(&port)) else { return };
        match parts.body {
            Body::Discovery(discovery) => line.discovery_then(&parts, &discovery),
            Body::Ppp { session, protocol: number, packet } => {
                let session = line.session(session);
                if let Some(scope) = line.scope(Some(session)) {
                    scope.ppp_then(number, &packet);
                }
            }
            Body::Ip { session, ip } => {
                let session = session.map(|session| line.session(session));
                if let Some(scope) = line.scope(session) {
                    scope.packet_then(&ip);
                }
            }
            Body::PppOther { .. } | Body::Arp { .. } | Body::Other => {}
        }
    }

    /// The captured router received this: whenever it comes to ours, for that one a session began.
    pub fn received_then(&mut self, port: PortId, frame: &[u8]) {
        let (Some(parts), Some(line)) = (Parts::of(frame), self.lines.get_mut(&port)) else { return };
        if let Body::Discovery(discovery) = parts.body
            && discovery.code == Code::Pads
            && parts.destination == line.mac
            && let Some(scope) = line.scope(Some(discovery.session))
        {
            *scope = Scope::default();
        }
    }

    /// Our gateway sends this.
    pub fn sent_now(&mut self, port: PortId, frame: &[u8]) {
        let (Some(parts), Some(line)) = (Parts::of(frame), self.lines.get_mut(&port)) else { return };
        match parts.body {
            Body::Discovery(discovery) => line.discovery_now(&parts, &discovery),
            Body::Ppp { session, protocol: number, packet } => {
                if let Some(scope) = line.scope(Some(session)) {
                    scope.ppp_now(number, &packet);
                }
            }
            Body::Ip { session, ip } => {
                if let Some(scope) = line.scope(session) {
                    scope.packet_now(&ip);
                }
            }
            Body::PppOther { .. } | Body::Arp { .. } | Body::Other => {}
        }
    }

    /// Both sent a frame of the same flow: the ports that they chose correspond.
    pub fn pair(&mut self, then: &[u8], now: &[u8]) {
        let flow = |frame: &[u8]| -> Option<(Outside, u16)> {
            let parts = Parts::of(frame)?;
            let Body::Ip { ip, .. } = parts.body else { return None };
            let (far, own) = match ip.protocol {
                TCP | UDP => (u16_at(ip.transport, 2)?, u16_at(ip.transport, 0)?),
                ICMP => (0, u16_at(ip.transport, 4)?),
                _ => return None,
            };
            Some(((ip.protocol, ip.destination, far, own), own))
        };
        if let (Some((outside, _)), Some((_, own))) = (flow(then), flow(now))
            && self.flows.len() < FLOWS
        {
            self.flows.insert(outside, own);
        }
    }

    /// What a frame that the captured router received says to us. `dialling` tells whether an uplink of the port looks for a
    /// concentrator.
    pub fn receive(&mut self, port: PortId, frame: &[u8], dialling: bool) -> Verdict {
        let (Some(parts), Some(line)) = (Parts::of(frame), self.lines.get_mut(&port)) else {
            return Verdict::AsIs;
        };
        match parts.body {
            Body::Discovery(discovery) => line.discovery_received(frame, &parts, &discovery, dialling),
            Body::Ppp { session, protocol: number, packet } => {
                let ours = line.session(session);
                let logins = &self.logins;
                let Some(scope) = line.scope(Some(ours)) else { return Verdict::AsIs };
                let verdict = scope
                    .ppp_received(number, &packet, logins, |packet| with_packet(frame, parts.at, packet));
                moved(verdict, frame, parts.at, session, ours)
            }
            Body::PppOther { session, .. } => {
                let ours = line.session(session);
                moved(Verdict::AsIs, frame, parts.at, session, ours)
            }
            Body::Ip { session, ip } => {
                let ours = session.map(|session| line.session(session));
                let Some(scope) = line.scope(ours) else { return Verdict::AsIs };
                let verdict = scope.packet_received(frame, &ip, &self.flows);
                match (session, ours) {
                    (Some(session), Some(ours)) => moved(verdict, frame, parts.at, session, ours),
                    _ => verdict,
                }
            }
            Body::Arp { .. } | Body::Other => Verdict::AsIs,
        }
    }

    /// The answer to a frame of ours that the capture does not have, though it shows what it would be.
    pub fn assume(&mut self, port: PortId, frame: &[u8]) -> Option<Assumed> {
        let parts = Parts::of(frame)?;
        let line = self.lines.get_mut(&port)?;
        match parts.body {
            Body::Ppp { session, protocol: protocol::LCP, packet: asked }
                if asked.code() == code::ECHO_REQUEST =>
            {
                // A larger one than the peer ever sent asks how much the line carries: nobody knows.
                let known = asked.bytes().len() <= self.largest.max(usize::from(1492u16));
                let scope = line.scope(Some(session))?;
                if !known || scope.over || scope.echoes_then > 0 {
                    return None;
                }
                scope.echo = None;
                let rest = asked.data().get(4..).unwrap_or_default();
                let reply = packet(code::ECHO_REPLY, asked.identifier(), &[&scope.magic, rest].concat());
                let why =
                    "The peer answered every Echo-Request in the capture, so it is taken to answer ours.";
                Some(Assumed { frame: turned(&with_packet(frame, parts.at, &reply)), why })
            }
            Body::Arp { request: true, sender, target, .. } if sender != target => {
                let station = *self.stations.get(&(port.0, IpAddr::from(target)))?;
                let mut reply = frame.get(..parts.at)?.to_vec();
                reply.extend([0, 1, 8, 0, 6, 4, 0, 2]);
                reply.extend(station.0);
                reply.extend(target.octets());
                reply.extend(line.mac.0);
                reply.extend(sender.octets());
                reply.get_mut(..6)?.copy_from_slice(&line.mac.0);
                reply.get_mut(6..12)?.copy_from_slice(&station.0);
                Some(Assumed {
                    frame: reply,
                    why: "The capture has the Ethernet addresses of stations that we ask for.",
                })
            }
            _ => None,
        }
    }
}

/// The frame with its stations exchanged.
fn turned(frame: &[u8]) -> Vec<u8> {
    let mut turned = frame.to_vec();
    if let Some((destination, source)) = turned.get_mut(..12).and_then(|both| both.split_at_mut_checked(6)) {
        destination.swap_with_slice(source);
    }
    turned
}

/// The same in the session that corresponds.
fn moved(verdict: Verdict, frame: &[u8], at: usize, from: u16, to: u16) -> Verdict {
    if from == to {
        return verdict;
    }
    let mut bytes = match verdict {
        Verdict::AsIs => frame.to_vec(),
        Verdict::Changed(bytes) => bytes,
        other => return other,
    };
    set_u16(&mut bytes, at + 2, to);
    Verdict::Changed(bytes)
}

impl Line {
    fn scope(&mut self, session: Option<u16>) -> Option<&mut Scope> {
        if self.scopes.len() >= SCOPES && !self.scopes.contains_key(&session) {
            return None;
        }
        Some(self.scopes.entry(session).or_default())
    }

    /// Our session for a captured one.
    fn session(&self, then: u16) -> u16 {
        self.sessions.get(&then).copied().unwrap_or(then)
    }

    fn discovery_then(&mut self, parts: &Parts<'_>, discovery: &Discovery<'_>) {
        match discovery.code {
            Code::Padi | Code::Padr => {
                let uniq = discovery.find(tag::HOST_UNIQ).unwrap_or_default().to_vec();
                if !self.uniqs_then.contains(&uniq) {
                    remember(&mut self.uniqs_then, uniq);
                }
            }
            // A concentrator's.
            Code::Pads => {
                if let Some(&ours) = self.granted.get(&parts.destination) {
                    self.sessions.insert(discovery.session, ours);
                    self.granted.remove(&parts.destination);
                }
            }
            Code::Padt => {
                let session = self.session(discovery.session);
                if let Some(scope) = self.scope(Some(session)) {
                    scope.over = true;
                }
            }
            Code::Pado => {}
        }
    }

    fn discovery_now(&mut self, parts: &Parts<'_>, discovery: &Discovery<'_>) {
        match discovery.code {
            Code::Padi | Code::Padr => {
                let uniq = discovery.find(tag::HOST_UNIQ).unwrap_or_default().to_vec();
                if !self.uniqs.iter().any(|(known, _)| *known == uniq) {
                    remember(&mut self.uniqs, (uniq, None));
                }
            }
            Code::Pado if self.cookies.len() < SCOPES => {
                let cookie = discovery.find(tag::AC_COOKIE).unwrap_or_default().to_vec();
                self.cookies.insert(parts.destination, cookie);
            }
            Code::Pads if discovery.session != 0 && self.granted.len() < SCOPES => {
                self.granted.insert(parts.destination, discovery.session);
                self.scopes.insert(Some(discovery.session), Scope::default());
            }
            _ => {}
        }
    }

    fn discovery_received(
        &mut self,
        frame: &[u8],
        parts: &Parts<'_>,
        discovery: &Discovery<'_>,
        dialling: bool,
    ) -> Verdict {
        if parts.destination != self.mac && self.role == Some(Role::Dialled) {
            return Verdict::AsIs;
        }
        match (discovery.code, self.role) {
            (Code::Pado | Code::Pads, Some(Role::Dialled)) => {
                let uniq = discovery.find(tag::HOST_UNIQ).unwrap_or_default().to_vec();
                if !self.uniqs_then.contains(&uniq) {
                    return Verdict::AsIs;
                }
                if !dialling {
                    return Verdict::Wait(Need::Dialling);
                }
                let Some(ours) = self.uniq_for(&uniq) else { return Verdict::Wait(Need::Dialling) };
                if discovery.code == Code::Pads
                    && let Some(scope) = self.scopes.get_mut(&Some(discovery.session))
                {
                    scope.begin_now();
                }
                let mut tags: Vec<(u16, &[u8])> = discovery
                    .tags()
                    .filter(|tag| tag.kind != tag::HOST_UNIQ)
                    .map(|tag| (tag.kind, tag.value))
                    .collect();
                if !ours.is_empty() {
                    tags.push((tag::HOST_UNIQ, &ours));
                }
                Verdict::Changed(with_tags(frame, parts.at, &tags))
            }
            (Code::Padr, Some(Role::Concentrator)) => {
                let Some(cookie) = self.cookies.get(&parts.source) else { return Verdict::AsIs };
                let tags: Vec<(u16, &[u8])> = discovery
                    .tags()
                    .map(|tag| (tag.kind, if tag.kind == tag::AC_COOKIE { cookie } else { tag.value }))
                    .collect();
                Verdict::Changed(with_tags(frame, parts.at, &tags))
            }
            (Code::Padt, _) => {
                let ours = self.session(discovery.session);
                if let Some(scope) = self.scope(Some(ours)) {
                    scope.over = true;
                }
                moved(Verdict::AsIs, frame, parts.at, discovery.session, ours)
            }
            _ => Verdict::AsIs,
        }
    }

    /// Our Host-Uniq for a captured one: the one that it was before, unless we look for a concentrator anew since.
    fn uniq_for(&mut self, then: &[u8]) -> Option<Vec<u8>> {
        let bound = self.uniqs.iter().rposition(|(_, whose)| whose.as_deref() == Some(then));
        let free = self.uniqs.iter().rposition(|(_, whose)| whose.is_none());
        let chosen = match (bound, free) {
            (Some(bound), Some(free)) if free > bound => free,
            (Some(bound), _) => bound,
            (None, free) => free.or_else(|| self.uniqs.len().checked_sub(1))?,
        };
        let (ours, whose) = self.uniqs.get_mut(chosen)?;
        *whose = Some(then.to_vec());
        Some(ours.clone())
    }
}

impl Scope {
    /// Ours has asked nothing in this session yet.
    fn begin_now(&mut self) {
        for asked in self.negotiations.values_mut() {
            asked.now = None;
            asked.acked = None;
            asked.terminate = None;
        }
        self.pap = None;
        self.echo = None;
        self.local = None;
        self.dhcp6 = None;
        self.names.clear();
    }

    fn ppp_then(&mut self, number: u16, packet: &Packet<'_>) {
        match (number, packet.code()) {
            (protocol::PAP | protocol::CHAP, _) => {}
            (_, code::CONFIGURE_REQUEST) => {
                let asked = self.negotiations.entry(number).or_default();
                asked.then.retain(|(identifier, _)| *identifier != packet.identifier());
                remember(&mut asked.then, (packet.identifier(), packet.data().to_vec()));
            }
            (_, code::CONFIGURE_ACK) => {
                let asked = self.negotiations.entry(number).or_default();
                asked.acked_then = Some((packet.identifier(), packet.data().to_vec()));
            }
            (protocol::LCP, code::ECHO_REQUEST) => self.echoes_then = self.echoes_then.saturating_add(1),
            (protocol::LCP, code::TERMINATE_REQUEST | code::TERMINATE_ACK) => self.over = true,
            _ => {}
        }
    }

    fn ppp_now(&mut self, number: u16, packet: &Packet<'_>) {
        match (number, packet.code()) {
            (protocol::PAP, 1) => self.pap = Some(packet.identifier()),
            (protocol::CHAP, 2) => self.response = packet.data().to_vec(),
            (protocol::PAP | protocol::CHAP, _) => {}
            (_, code::CONFIGURE_REQUEST) => {
                let asked = self.negotiations.entry(number).or_default();
                asked.now = Some((packet.identifier(), packet.data().to_vec()));
            }
            (_, code::CONFIGURE_ACK) => {
                let asked = self.negotiations.entry(number).or_default();
                asked.acked = Some((packet.identifier(), packet.data().to_vec()));
            }
            (_, code::TERMINATE_REQUEST) => {
                self.negotiations.entry(number).or_default().terminate = Some(packet.identifier());
            }
            (protocol::LCP, code::ECHO_REQUEST) => {
                self.echo = Some((packet.identifier(), packet.data().get(4..).unwrap_or_default().to_vec()));
            }
            _ => {}
        }
    }

    fn ppp_received(
        &mut self,
        number: u16,
        received: &Packet<'_>,
        logins: &[(Vec<u8>, Secret)],
        frame: impl Fn(&[u8]) -> Vec<u8>,
    ) -> Verdict {
        let kind = received.code();
        let answer = |identifier, data: &[u8]| Verdict::Changed(frame(&packet(kind, identifier, data)));
        match (number, kind) {
            (protocol::PAP, 2 | 3) => match self.pap {
                Some(ours) => answer(ours, received.data()),
                None => Verdict::Skip("it answers a PAP request that ours did not send".into()),
            },
            (protocol::CHAP, 1) => {
                self.challenge = received.data().to_vec();
                Verdict::AsIs
            }
            (protocol::CHAP, 3) => {
                let proof = ppp::mschapv2_success(logins, &self.challenge, &self.response);
                proof.map_or(Verdict::AsIs, |proof| answer(received.identifier(), &proof))
            }
            (protocol::PAP | protocol::CHAP, _) => Verdict::AsIs,
            (_, code::CONFIGURE_REQUEST) => {
                let magic =
                    Options::parse(received.data()).into_iter().flatten().find(|option| option.kind == 5);
                if number == protocol::LCP {
                    self.magic = magic.and_then(|option| option.data.try_into().ok()).unwrap_or_default();
                }
                let request = Some((received.identifier(), received.data().to_vec()));
                match self.negotiations.get(&number) {
                    // The captured router was slower: the peer would not have asked ours again.
                    Some(asked) if asked.acked == request && asked.acked_then != request => {
                        Verdict::Skip("it repeats a request that ours has acknowledged".into())
                    }
                    _ => Verdict::AsIs,
                }
            }
            (_, code::CONFIGURE_ACK | code::CONFIGURE_NAK | code::CONFIGURE_REJECT) => {
                match self.negotiations.get(&number).and_then(|asked| asked.answer(kind, received)) {
                    Some(Ok((identifier, data))) => answer(identifier, &data),
                    Some(Err(why)) => Verdict::Skip(why.into()),
                    None => Verdict::Skip("it answers a request that ours did not send".into()),
                }
            }
            (_, code::TERMINATE_ACK) => {
                match self.negotiations.get(&number).and_then(|asked| asked.terminate) {
                    Some(ours) => answer(ours, received.data()),
                    None => Verdict::AsIs,
                }
            }
            (protocol::LCP, code::TERMINATE_REQUEST) => {
                self.over = true;
                Verdict::AsIs
            }
            (protocol::LCP, code::ECHO_REPLY) => {
                self.echoes_then = 0;
                match self.echo.take() {
                    Some((ours, rest)) => {
                        let magic = received.data().get(..4).unwrap_or_default();
                        answer(ours, &[magic, &rest].concat())
                    }
                    None => Verdict::Skip("it answers an echo that ours did not send".into()),
                }
            }
            _ => Verdict::AsIs,
        }
    }

    fn packet_then(&mut self, ip: &Ip<'_>) {
        if let IpAddr::V6(source) = ip.source
            && source.is_unicast_link_local()
        {
            self.local_then = Some(source);
        }
        match ip.udp() {
            Some((_, service::DHCP6_SERVER, message)) => {
                if let Some(&[kind, x0, x1, x2]) = message.first_chunk() {
                    remember(&mut self.dhcp6_then, ([x0, x1, x2], kind));
                }
                self.note_associations(message, |both, iaid| both.0 = Some(iaid));
            }
            Some((_, service::DHCP_SERVER, message)) => {
                let xid = message.get(4..).and_then(|rest| rest.first_chunk::<4>());
                if let (Some(xid), Some(kind)) = (xid, dhcp4_kind(message)) {
                    remember(&mut self.dhcp4_then, (*xid, kind));
                }
            }
            _ => {}
        }
    }

    fn packet_now(&mut self, ip: &Ip<'_>) {
        if let IpAddr::V6(source) = ip.source
            && source.is_unicast_link_local()
        {
            self.local = Some(source);
        }
        match ip.udp() {
            Some((_, service::DHCP6_SERVER, message)) => {
                if let Some(&[kind, x0, x1, x2]) = message.first_chunk() {
                    self.dhcp6 = Some(Question { kind, xid: [x0, x1, x2] });
                }
                self.note_associations(message, |both, iaid| both.1 = Some(iaid));
            }
            Some((_, service::DHCP_SERVER, message)) => {
                let xid = message.get(4..).and_then(|rest| rest.first_chunk::<4>());
                if let (Some(xid), Some(kind)) = (xid, dhcp4_kind(message)) {
                    self.dhcp4 = Some(Question { kind, xid: *xid });
                }
            }
            Some((own, service::DNS, message)) => {
                if let (Some((name, kind)), Some(id)) = (question(message), u16_at(message, 0)) {
                    let key = Key::Dns { name: name.to_ascii_lowercase(), kind, asked: false };
                    let name = name.to_vec();
                    self.names.retain(|(known, ..)| *known != key);
                    remember(&mut self.names, (key, own, id, name));
                }
            }
            _ => {}
        }
    }

    fn note_associations(&mut self, message: &[u8], set: impl Fn(&mut Associations, [u8; 4])) {
        for (_, code, value) in dhcp6_options(message.get(4..).unwrap_or_default()) {
            if let (3 | 25, Some(iaid)) = (code, value.first_chunk::<4>()) {
                set(self.iaids.entry(code).or_default(), *iaid);
            }
        }
    }

    fn packet_received(&mut self, frame: &[u8], ip: &Ip<'_>, flows: &BTreeMap<Outside, u16>) -> Verdict {
        let mut bytes = frame.to_vec();
        let body = ip.transport_at + 8;
        match ip.udp() {
            Some((_, service::DHCP6_CLIENT, message)) => {
                if let Some(verdict) = self.dhcp6_received(&mut bytes, body, message) {
                    return verdict;
                }
            }
            Some((_, service::DHCP_CLIENT, message)) if !self.dhcp4_then.is_empty() => {
                if let Some(verdict) = self.dhcp4_received(&mut bytes, body, message) {
                    return verdict;
                }
            }
            Some((service::DNS, _, message)) => self.name_received(&mut bytes, ip, body, message),
            _ => {}
        }
        self.to_our_address(&mut bytes, ip);
        to_our_port(&mut bytes, ip, flows);
        if bytes == frame {
            return Verdict::AsIs;
        }
        seal(&mut bytes, ip.at);
        Verdict::Changed(bytes)
    }

    fn dhcp6_received(&mut self, bytes: &mut [u8], body: usize, message: &[u8]) -> Option<Verdict> {
        let &[kind, x0, x1, x2] = message.first_chunk()?;
        let asked = self.dhcp6_then.iter().rev().find(|(xid, _)| *xid == [x0, x1, x2])?.1;
        // RENEW and REBIND ask for the same.
        let alike = |one: u8, other: u8| one == other || (matches!(one, 5 | 6) && matches!(other, 5 | 6));
        let Some(ours) = self.dhcp6.filter(|ours| alike(ours.kind, asked)) else {
            return Some(Verdict::Wait(Need::Dhcp6));
        };
        bytes.get_mut(body + 1..)?.get_mut(..3)?.copy_from_slice(&ours.xid);
        for (at, code, _) in dhcp6_options(message.get(4..)?) {
            if let Some((Some(_), Some(iaid))) = self.iaids.get(&code)
                && let Some(place) = bytes.get_mut(body + 4 + at..).and_then(|rest| rest.get_mut(..4))
            {
                place.copy_from_slice(iaid);
            }
        }
        // A Reply ends the exchange; of Advertises there may be several.
        if kind == 7 {
            self.dhcp6 = None;
        }
        None
    }

    fn dhcp4_received(&mut self, bytes: &mut [u8], body: usize, message: &[u8]) -> Option<Verdict> {
        let xid = message.get(4..)?.first_chunk::<4>()?;
        let asked = self.dhcp4_then.iter().rev().filter(|(known, _)| known == xid);
        // An offer answers DISCOVER, everything else REQUEST.
        let wanted = if dhcp4_kind(message)? == 2 { 1 } else { 3 };
        let mut asked = asked.map(|(_, kind)| *kind);
        asked.find(|kind| *kind == wanted)?;
        let Some(ours) = self.dhcp4.filter(|ours| ours.kind == wanted) else {
            return Some(Verdict::Wait(Need::Dhcp4));
        };
        bytes.get_mut(body + 4..)?.get_mut(..4)?.copy_from_slice(&ours.xid);
        // The client identifier comes back (RFC 6842), and the captured router may have had another.
        if let Some((at, _, value)) = dhcp4_options(message).find(|(_, code, _)| *code == 61) {
            bytes.get_mut(body + at..)?.get_mut(..value.len() + 2)?.fill(0);
        }
        None
    }

    /// The answer to our question, where the captured router asked the same.
    fn name_received(&mut self, bytes: &mut [u8], ip: &Ip<'_>, body: usize, message: &[u8]) {
        let Some((name, kind)) = question(message) else { return };
        let key = Key::Dns { name: name.to_ascii_lowercase(), kind, asked: false };
        let Some((_, own, id, spelt)) = self.names.iter().find(|(known, ..)| *known == key) else { return };
        set_u16(bytes, ip.transport_at + 2, *own);
        set_u16(bytes, body, *id);
        if let Some(place) = bytes.get_mut(body + 12..).and_then(|rest| rest.get_mut(..spelt.len())) {
            place.copy_from_slice(spelt);
        }
    }

    /// Our link-local address in place of the captured router's.
    fn to_our_address(&self, bytes: &mut [u8], ip: &Ip<'_>) {
        let (Some(then), Some(ours)) = (self.local_then, self.local) else { return };
        if ip.destination == IpAddr::from(then)
            && let Some(place) = bytes.get_mut(ip.at + 24..).and_then(|rest| rest.get_mut(..16))
        {
            place.copy_from_slice(&ours.octets());
        }
        if matches!(ip.icmp6(), Some(nd::SOLICITATION | nd::ADVERTISEMENT))
            && let Some(place) = bytes.get_mut(ip.transport_at + 8..).and_then(|rest| rest.get_mut(..16))
            && *place == then.octets()
        {
            place.copy_from_slice(&ours.octets());
        }
    }
}

/// Our port in place of the one that the captured router gave the flow.
fn to_our_port(bytes: &mut [u8], ip: &Ip<'_>, flows: &BTreeMap<Outside, u16>) {
    if ip.is_fragment {
        return;
    }
    let (far, own, place) = match ip.protocol {
        TCP | UDP => (u16_at(ip.transport, 0), u16_at(ip.transport, 2), 2),
        ICMP => (Some(0), u16_at(ip.transport, 4), 4),
        _ => return,
    };
    if let (Some(far), Some(own)) = (far, own)
        && let Some(ours) = flows.get(&(ip.protocol, ip.source, far, own))
    {
        set_u16(bytes, ip.transport_at + place, *ours);
    }
}

impl Asked {
    /// What the peer's answer to a captured request says to our latest one: its identifier and the options. `None` when we have
    /// asked nothing; an error when it is about options that ours did not ask for.
    fn answer(&self, kind: u8, received: &Packet<'_>) -> Option<Result<(u8, Vec<u8>), &'static str>> {
        let (identifier, ours) = self.now.as_ref()?;
        if kind == code::CONFIGURE_ACK {
            return Some(Ok((*identifier, ours.clone())));
        }
        let then = self.then.iter().rev().find(|(known, _)| *known == received.identifier());
        let then = then.map_or(&[][..], |(_, options)| options.as_slice());
        let find = |list: &'_ [u8], kind: u8| -> Option<Vec<u8>> {
            let found = Options::parse(list)?.find(|option| option.kind == kind)?;
            Some(found.bytes.to_vec())
        };
        let mut data = Vec::new();
        for option in Options::parse(received.data())? {
            match (find(ours, option.kind), find(then, option.kind)) {
                // A Reject repeats what was asked for, word for word; a Nak says what would do.
                (Some(asked), _) if kind == code::CONFIGURE_REJECT => data.extend(asked),
                (Some(_), _) => data.extend(option.bytes),
                // What nobody asked for, the peer wants.
                (None, None) if kind == code::CONFIGURE_NAK => data.extend(option.bytes),
                (None, _) => {}
            }
        }
        if data.is_empty() {
            return Some(Err("it is about options that ours did not ask for"));
        }
        Some(Ok((*identifier, data)))
    }
}
