//! A PPP link: LCP, then authentication, then the network control protocols, for either role (RFC 1661 §3).
//!
//! 1. `open`: LCP negotiates. Only LCP passes.
//! 2. LCP opens: keepalive starts, a client proves the size of the path when it is above 1,492 octets, and the
//!    authentication that LCP agreed on runs.
//! 3. Authenticated: the network control protocols run, each on its own. None of them closes the link or another one;
//!    a client tries again what did not come up.
//! 4. The end: whatever the cause, it is kept, LCP says goodbye where somebody may listen, and [`Event::Down`] tells.
//!
//! A peer may negotiate LCP anew at any time: everything above goes down and comes up again.
//!
//! A client's link can also be taken up where an earlier run of the program has left it ([`Link::adopt`]): every protocol is
//! in the state in which its handshake left it. Whether the peer still knows the link is asked at once.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::sync::Arc;

use serde::{Deserialize, Serialize};

use super::auth::{self, Progress};
use super::automaton;
use super::echo::{Due, Keepalive, Probe, ProofOfLife};
use super::event::{DownReason, Event, NetworkDownReason, Phase};
use super::ipcp::{IpcpOptions, Ipv4Agreement, Ipv4Assignment};
use super::ipv6cp::{Ipv6Agreement, Ipv6cpOptions};
use super::lcp::{DEFAULT_MRU, LcpAgreement, LcpOptions};
use super::negotiation::{Layer, Negotiation, Outbox, Why, Wire, draw_identifier};
use super::network::Network;
use super::role::Role;
use super::settings::{ClientSettings, ServerSettings};
use super::text::printable;
use crate::frame::Frame;
use crate::ledger::DropReason;
use crate::machine::Cx;
use crate::secret::Secret;
use crate::time::{Instant, earliest};
use crate::wire::ppp::{Packet, PacketBuilder, code, protocol};
use crate::wire::pppoe::STANDARD_MRU;

/// Smallest packet that a link must carry for IPv6 to run on it, in octets (RFC 5072 §2, RFC 8200 §5).
const IPV6_MINIMUM_MTU: u16 = 1280;

/// Who proves what to whom.
#[derive(Debug)]
enum Proof {
    /// Nobody has to, or not yet.
    None,
    /// We prove ourselves.
    Client(auth::Client),
    /// The peer does.
    Server(Box<auth::Server>),
}

/// What a client's open link has agreed on: all that another run of the program needs to go on with it, and no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreement {
    lcp: LcpAgreement,
    /// What IPCP has agreed on, when it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv4: Option<Ipv4Agreement>,
    /// What IPV6CP has agreed on, when it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<Ipv6Agreement>,
}

/// A PPP link.
#[derive(Debug)]
pub struct Link {
    role: Role,
    phase: Phase,
    /// Largest packet of the lower layer.
    max_mru: u16,
    /// Packets above 1,492 octets have got lost before.
    reduced: bool,
    lcp: Negotiation<LcpOptions>,
    proof: Proof,
    ipv4: Option<Box<Network<IpcpOptions>>>,
    ipv6: Option<Box<Network<Ipv6cpOptions>>>,
    keepalive: Option<Keepalive>,
    life: Option<ProofOfLife>,
    probe: Option<Probe>,
    /// Identifier of our last Echo-Request.
    echo_identifier: u8,
    /// Identifier of our last Protocol-Reject.
    reject_identifier: u8,
    /// Why the link is going down.
    ending: Option<DownReason>,
    /// What the peer's last Terminate-Request said.
    farewell: Option<String>,
    out: Outbox,
    events: VecDeque<Event>,
}

impl Link {
    /// A link that dials: it proves who it is and is given its address. Nothing happens before [`Link::open`].
    pub fn client(settings: Arc<ClientSettings>) -> Self {
        Link::new(Role::Client(settings))
    }

    /// A link that is dialled: it has the peer prove who it is and gives it an address.
    pub fn server(settings: Arc<ServerSettings>) -> Self {
        Link::new(Role::Server(settings))
    }

    /// A link that an earlier run of the program has dialled with the same settings, on a lower layer that carries packets
    /// of up to `max_mru` octets. Its network protocols that were open are so at once; the others are tried. `None` when
    /// `agreement` is none that these settings lead to, or no network protocol was open.
    pub fn adopt(
        cx: &mut Cx<'_>,
        settings: Arc<ClientSettings>,
        max_mru: u16,
        agreement: &Agreement,
    ) -> Option<Self> {
        let role = Role::Client(settings);
        let Agreement { lcp, ipv4, ipv6 } = agreement;
        let ipv4 = ipv4.as_ref().filter(|_| role.speaks_ipv4());
        let ipv4 = ipv4.and_then(|ipv4| Some((IpcpOptions::adopt(ipv4)?, ipv4.identifier)));
        let ipv6 = ipv6.as_ref().filter(|_| role.ipv6().is_some());
        let ipv6 = ipv6.and_then(|ipv6| Some((Ipv6cpOptions::adopt(ipv6, cx.rng)?, ipv6.identifier)));
        if ipv4.is_none() && ipv6.is_none() {
            return None;
        }
        let options = LcpOptions::adopt(role.clone(), max_mru, lcp)?;
        let authentication = options.authentication();
        let mut link = Link {
            phase: Phase::Network,
            max_mru,
            lcp: Negotiation::opened(cx.rng, options, lcp.identifier),
            proof: authentication.map_or(Proof::None, |known| Proof::Client(auth::Client::proven(known))),
            keepalive: Some(Keepalive::new(cx.now, role.echo())),
            life: Some(ProofOfLife::new(cx.now)),
            echo_identifier: draw_identifier(cx.rng),
            reject_identifier: draw_identifier(cx.rng),
            ..Link::new(role)
        };
        let limit = link.limit();
        let mut wire = wire(cx, &link.role, &mut link.out, limit);
        link.ipv4 = ipv4.map(|(options, identifier)| Network::adopt(&mut wire, true, options, identifier));
        link.ipv6 = ipv6.map(|(options, identifier)| Network::adopt(&mut wire, true, options, identifier));
        link.life_timeout(cx);
        link.prove_size(cx);
        link.enter_network(cx);
        Some(link)
    }

    fn new(role: Role) -> Self {
        Link {
            phase: Phase::Dead,
            max_mru: DEFAULT_MRU,
            reduced: false,
            lcp: Negotiation::new(LcpOptions::new(role.clone())),
            proof: Proof::None,
            ipv4: None,
            ipv6: None,
            keepalive: None,
            life: None,
            probe: None,
            echo_identifier: 0,
            reject_identifier: 0,
            ending: None,
            farewell: None,
            out: Outbox::default(),
            events: VecDeque::new(),
            role,
        }
    }

    /// The lower layer is up and carries packets of up to `max_mru` octets (the PPP information field): start LCP.
    /// Does nothing on a link that is open already.
    pub fn open(&mut self, cx: &mut Cx<'_>, max_mru: u16) {
        if self.phase != Phase::Dead {
            return;
        }
        self.max_mru = if self.reduced { max_mru.min(STANDARD_MRU) } else { max_mru };
        self.ending = None;
        self.farewell = None;
        self.out.clear();
        let mut options = LcpOptions::new(self.role.clone());
        options.wanted_mru = options.wanted_mru.min(self.max_mru);
        self.lcp = Negotiation::new(options);
        self.phase = Phase::Establish;
        self.lcp_event(cx, automaton::Event::Open);
        self.lcp_event(cx, automaton::Event::Up);
        self.check_lcp(cx);
    }

    /// A PPP packet came that is not network data of an open network protocol. An error says why it was dropped.
    pub fn receive(&mut self, cx: &mut Cx<'_>, protocol: u16, information: &[u8]) -> Result<(), DropReason> {
        if self.phase == Phase::Dead {
            return Err(DropReason::PppPhase);
        }
        if !protocol::well_formed(protocol) {
            return Err(DropReason::PppMalformed);
        }
        if let Some(keepalive) = &mut self.keepalive {
            keepalive.control(cx.now);
        }
        if protocol == protocol::LCP {
            return self.receive_lcp(cx, information);
        }
        if !matches!(self.phase, Phase::Authenticate | Phase::Network) {
            return Err(DropReason::PppPhase);
        }
        match protocol {
            protocol::PAP | protocol::CHAP => self.receive_authentication(cx, protocol, information),
            protocol::LQR | protocol::EAP => {
                self.reject_protocol(protocol, information);
                Ok(())
            }
            _ if self.phase == Phase::Authenticate => Err(DropReason::PppPhase),
            // A server begins when the address is assigned.
            protocol::IPCP if self.role.speaks_ipv4() => {
                let limit = self.limit();
                let Some(ipv4) = &mut self.ipv4 else { return Err(DropReason::PppPhase) };
                let mut wire = wire(cx, &self.role, &mut self.out, limit);
                ipv4.receive(&mut wire, &mut self.events, information)
            }
            protocol::IPV6CP if self.ipv6.is_some() => {
                let limit = self.limit();
                let Some(ipv6) = &mut self.ipv6 else { return Err(DropReason::PppPhase) };
                let mut wire = wire(cx, &self.role, &mut self.out, limit);
                ipv6.receive(&mut wire, &mut self.events, information)
            }
            protocol::IPV4 if self.role.speaks_ipv4() => Err(DropReason::PppPhase),
            protocol::IPV6 if self.ipv6.is_some() => Err(DropReason::PppPhase),
            _ => {
                self.reject_protocol(protocol, information);
                Ok(())
            }
        }
    }

    /// Network data was received at `at`: the peer lives.
    pub fn traffic_seen(&mut self, at: Instant) {
        if let Some(keepalive) = &mut self.keepalive {
            keepalive.data(at);
        }
    }

    /// Closes the link: Terminate-Request, then [`Event::Down`].
    pub fn close(&mut self, cx: &mut Cx<'_>) {
        self.end(cx, DownReason::Closed);
    }

    /// The peer may have forgotten the link: the line was cut for a while, or time has passed that nobody has counted. It is
    /// asked at once, and when nothing at all is heard of it for 3 s, the link goes down. Negotiations that were under way
    /// have lost their other side; they end at once.
    pub fn reconfirm(&mut self, cx: &mut Cx<'_>) {
        match self.phase {
            Phase::Network => {
                self.life = Some(ProofOfLife::new(cx.now));
                self.life_timeout(cx);
            }
            Phase::Establish | Phase::Authenticate => self.give_up(cx, DownReason::Gone),
            Phase::Dead | Phase::Terminate => {}
        }
    }

    /// The lower layer is gone: [`Event::Down`] follows at once and nothing more is sent.
    pub fn lower_down(&mut self, _cx: &mut Cx<'_>) {
        if self.phase != Phase::Dead {
            self.finish(Why::LowerDown);
            self.out.clear();
        }
    }

    /// Server: the answer to [`Event::Identify`]; `None` when nobody has that name.
    pub fn authenticate(&mut self, cx: &mut Cx<'_>, secret: Option<&Secret>) {
        let limit = self.limit();
        let Proof::Server(server) = &mut self.proof else { return };
        let progress = server.decide(&mut wire(cx, &self.role, &mut self.out, limit), secret);
        self.progress(cx, progress);
    }

    /// Server: has the peer prove itself once more, at any time after LCP has opened. PAP knows no such thing, so
    /// nothing happens there.
    pub fn challenge(&mut self, cx: &mut Cx<'_>) {
        let limit = self.limit();
        if let (Proof::Server(server), Role::Server(settings)) = (&mut self.proof, &self.role) {
            server.challenge(&mut wire(cx, &self.role, &mut self.out, limit), settings);
        }
    }

    /// Server: the answer to [`Event::Authenticated`].
    pub fn assign(&mut self, cx: &mut Cx<'_>, assignment: Ipv4Assignment) {
        if self.phase == Phase::Network && !self.role.is_client() && self.ipv4.is_none() {
            self.start_ipv4(cx, IpcpOptions::server(assignment));
        }
    }

    /// The deadline of [`Link::poll_timeout`] may have come. Tell [`Link::traffic_seen`] first.
    pub fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        let limit = self.limit();
        let layer = self.lcp.handle_timeout(&mut wire(cx, &self.role, &mut self.out, limit));
        self.lcp_layer(cx, layer);
        self.proof_timeout(cx);
        self.network_timeout(cx);
        self.keepalive_timeout(cx);
        self.life_timeout(cx);
        self.probe_timeout(cx);
    }

    /// When the link wants to be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let proof = match &self.proof {
            Proof::None => None,
            Proof::Client(client) => client.poll_timeout(),
            Proof::Server(server) => server.poll_timeout(),
        };
        let ipv4 = self.ipv4.as_ref().and_then(|ipv4| ipv4.poll_timeout());
        let ipv6 = self.ipv6.as_ref().and_then(|ipv6| ipv6.poll_timeout());
        let keepalive =
            self.keepalive.as_ref().and_then(|keepalive| keepalive.poll_timeout(self.role.echo()));
        let life = self.life.as_ref().map(ProofOfLife::poll_timeout);
        let probe = self.probe.as_ref().map(Probe::poll_timeout);
        [proof, ipv4, ipv6, keepalive, life, probe].into_iter().fold(self.lcp.poll_timeout(), earliest)
    }

    /// Writes the next packet, PPP protocol field first, behind what `frame` holds; says whether there was one. A packet
    /// for which the frame has no room is lost.
    pub fn poll_transmit(&mut self, frame: &mut Frame) -> bool {
        while let Some(packet) = self.out.pop() {
            if frame.extend(&packet) {
                return true;
            }
        }
        false
    }

    /// The next fact.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        if self.events.is_empty() {
            self.events = VecDeque::new();
        }
        event
    }

    /// The phase that the link is in.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Largest packet that both ends take and the lower layer carries, in octets.
    pub fn mtu(&self) -> u16 {
        self.limit().min(self.lcp.options.mru())
    }

    /// True while nothing was heard of the peer since it was asked whether it still knows the link.
    pub fn is_unproven(&self) -> bool {
        self.life.as_ref().is_some_and(|life| !self.heard_after(life.begun))
    }

    /// What a client's link has agreed on, for [`Link::adopt`]; `None` while no network protocol is open.
    pub fn agreement(&self) -> Option<Agreement> {
        if !self.role.is_client() || self.phase != Phase::Network {
            return None;
        }
        let ipv4 = self.ipv4.as_ref().and_then(|ipv4| ipv4.agreed());
        let ipv4 = ipv4.and_then(|(options, identifier)| options.agreement(identifier));
        let ipv6 = self.ipv6.as_ref().and_then(|ipv6| ipv6.agreed());
        let ipv6 = ipv6.and_then(|(options, identifier)| options.agreement(identifier));
        let lcp = self.lcp.options.agreement(self.lcp.identifier());
        (ipv4.is_some() || ipv6.is_some()).then_some(Agreement { lcp, ipv4, ipv6 })
    }

    // ── LCP ───────────────────────────────────────────────────────────────────

    fn receive_lcp(&mut self, cx: &mut Cx<'_>, information: &[u8]) -> Result<(), DropReason> {
        let packet = Packet::parse(information).ok_or(DropReason::PppMalformed)?;
        match packet.code() {
            code::PROTOCOL_REJECT | code::ECHO_REQUEST | code::ECHO_REPLY | code::DISCARD_REQUEST
                if !self.lcp.is_open() =>
            {
                Err(DropReason::PppPhase)
            }
            code::PROTOCOL_REJECT => {
                let (protocol, _) = packet.rejected_protocol().ok_or(DropReason::PppMalformed)?;
                self.protocol_rejected(cx, protocol);
                Ok(())
            }
            code::ECHO_REQUEST | code::DISCARD_REQUEST => {
                let (magic, _) = packet.magic().ok_or(DropReason::PppMalformed)?;
                if magic != 0 && magic == self.lcp_magic() {
                    self.end(cx, DownReason::Looped);
                } else {
                    let limit = self.limit();
                    self.lcp.echo(&mut wire(cx, &self.role, &mut self.out, limit), packet);
                }
                Ok(())
            }
            code::ECHO_REPLY => {
                packet.magic().ok_or(DropReason::PppMalformed)?;
                if self.probe.as_ref().is_some_and(|probe| probe.identifier == packet.identifier()) {
                    self.probe = None;
                    self.events.push_back(Event::MtuProven { mtu: self.mtu() });
                }
                Ok(())
            }
            code::IDENTIFICATION | code::TIME_REMAINING => {
                packet.magic().map(|_| ()).ok_or(DropReason::PppMalformed)
            }
            other => {
                if other == code::TERMINATE_REQUEST {
                    self.farewell = Some(self.quoted(printable(packet.data())));
                }
                let limit = self.limit();
                let layer = self.lcp.receive(&mut wire(cx, &self.role, &mut self.out, limit), packet)?;
                self.lcp_layer(cx, layer);
                self.check_lcp(cx);
                Ok(())
            }
        }
    }

    fn lcp_event(&mut self, cx: &mut Cx<'_>, event: automaton::Event) {
        let limit = self.limit();
        let layer = self.lcp.event(&mut wire(cx, &self.role, &mut self.out, limit), event);
        self.lcp_layer(cx, layer);
    }

    fn lcp_layer(&mut self, cx: &mut Cx<'_>, layer: Option<Layer>) {
        match layer {
            None => {}
            Some(Layer::Up) => self.lcp_up(cx),
            Some(Layer::Down(why)) => self.lcp_down(why),
            Some(Layer::Finished(why)) => self.finish(why),
        }
    }

    /// What the negotiation has shown that no negotiation can mend.
    fn check_lcp(&mut self, cx: &mut Cx<'_>) {
        if self.phase != Phase::Establish {
            return;
        }
        if self.lcp.options.is_looped() {
            self.end(cx, DownReason::Looped);
        } else if !self.role.is_client() && self.lcp.options.authentication_refused() {
            self.end(cx, DownReason::AuthenticationRefused);
        }
    }

    fn lcp_up(&mut self, cx: &mut Cx<'_>) {
        let authentication = self.lcp.options.authentication();
        self.keepalive = Some(Keepalive::new(cx.now, self.role.echo()));
        self.events.push_back(Event::LcpOpened {
            mru: self.lcp.options.mru().min(self.max_mru),
            peer_mru: self.limit(),
            authentication,
        });
        self.prove_size(cx);
        self.phase = Phase::Authenticate;
        let limit = self.limit();
        let mut wire = wire(cx, &self.role, &mut self.out, limit);
        match (&self.role, authentication) {
            (Role::Client(settings), Some(authentication)) => {
                self.proof = Proof::Client(auth::Client::start(&mut wire, settings, authentication));
            }
            (Role::Server(settings), Some(authentication)) => {
                let server = auth::Server::start(&mut wire, settings, authentication);
                self.proof = Proof::Server(Box::new(server));
            }
            (Role::Client(_), None) => self.enter_network(cx),
            (Role::Server(_), None) => self.end(cx, DownReason::AuthenticationRefused),
        }
    }

    fn lcp_down(&mut self, why: Why) {
        let phase = self.phase;
        self.upper_down();
        self.phase = match why {
            Why::Renegotiating | Why::LowerDown => Phase::Establish,
            Why::PeerTerminated => {
                let text = self.farewell.take().unwrap_or_default();
                self.ending.get_or_insert(DownReason::PeerTerminated { phase, text });
                Phase::Terminate
            }
            Why::NoAnswer | Why::NoAgreement | Why::Rejected | Why::Closed => Phase::Terminate,
        };
    }

    /// Everything above LCP goes down with it.
    fn upper_down(&mut self) {
        self.proof = Proof::None;
        self.keepalive = None;
        self.life = None;
        self.probe = None;
        if let Some(ipv4) = self.ipv4.take() {
            ipv4.link_down(&mut self.events);
        }
        if let Some(ipv6) = self.ipv6.take() {
            ipv6.link_down(&mut self.events);
        }
    }

    /// Begins to end the link for `reason`, unless it is ending already.
    fn end(&mut self, cx: &mut Cx<'_>, reason: DownReason) {
        if matches!(self.phase, Phase::Dead | Phase::Terminate) {
            return;
        }
        self.ending = Some(reason);
        self.phase = Phase::Terminate;
        self.lcp_event(cx, automaton::Event::Close);
    }

    /// The link is down.
    fn finish(&mut self, why: Why) {
        if self.phase == Phase::Dead {
            return;
        }
        self.upper_down();
        let farewell = self.farewell.take().filter(|_| self.phase == Phase::Establish);
        let refused = self.phase == Phase::Establish && self.lcp.options.authentication_refused();
        let reason = match (self.ending.take(), why) {
            (Some(reason), _) => reason,
            (None, Why::Closed) => DownReason::Closed,
            (None, Why::Rejected) => DownReason::NegotiationFailed { what: "the link control protocol" },
            (None, _) if refused => DownReason::AuthenticationRefused,
            (None, Why::NoAgreement) => DownReason::NegotiationFailed { what: "the options of the link" },
            (None, Why::NoAnswer | Why::LowerDown | Why::Renegotiating | Why::PeerTerminated) => {
                match farewell {
                    Some(text) => DownReason::PeerTerminated { phase: Phase::Establish, text },
                    None if why == Why::LowerDown => DownReason::LowerDown,
                    None => DownReason::NoAnswer,
                }
            }
        };
        self.phase = Phase::Dead;
        self.lcp = Negotiation::new(LcpOptions::new(self.role.clone()));
        self.events.push_back(Event::Down(reason));
    }

    /// Largest packet that the peer takes and the lower layer carries.
    fn limit(&self) -> u16 {
        self.lcp.options.peer.mru.min(self.max_mru)
    }

    fn lcp_magic(&self) -> u32 {
        use super::negotiation::Options;
        self.lcp.options.magic()
    }

    fn reject_protocol(&mut self, protocol: u16, information: &[u8]) {
        self.reject_identifier = self.reject_identifier.wrapping_add(1);
        let mut packet =
            PacketBuilder::new(protocol::LCP, code::PROTOCOL_REJECT, self.reject_identifier, self.limit());
        packet.put(&protocol.to_be_bytes());
        packet.put_cut(information);
        self.out.push(packet.finish());
    }

    fn protocol_rejected(&mut self, cx: &mut Cx<'_>, protocol: u16) {
        match protocol {
            protocol::LCP => self.lcp_event(cx, automaton::Event::RejectFatal),
            protocol::IPCP | protocol::IPV4 => {
                let limit = self.limit();
                if let Some(ipv4) = &mut self.ipv4 {
                    let mut wire = wire(cx, &self.role, &mut self.out, limit);
                    ipv4.rejected(&mut wire, &mut self.events);
                }
            }
            protocol::IPV6CP | protocol::IPV6 => {
                let limit = self.limit();
                if let Some(ipv6) = &mut self.ipv6 {
                    let mut wire = wire(cx, &self.role, &mut self.out, limit);
                    ipv6.rejected(&mut wire, &mut self.events);
                }
            }
            protocol::PAP | protocol::CHAP => self.end(cx, DownReason::AuthenticationRefused),
            _ => self.lcp_event(cx, automaton::Event::RejectPermitted),
        }
    }

    // ── echo ──────────────────────────────────────────────────────────────────

    fn keepalive_timeout(&mut self, cx: &mut Cx<'_>) {
        let Some(keepalive) = &mut self.keepalive else { return };
        match keepalive.handle_timeout(cx.now, self.role.echo()) {
            Due::Nothing => {}
            Due::Send => self.send_echo(),
            Due::GiveUp => self.give_up(cx, DownReason::EchoTimeout),
        }
    }

    /// Ends the link with one goodbye, in case that only our ears are shut; nobody is there to wait for.
    fn give_up(&mut self, cx: &mut Cx<'_>, reason: DownReason) {
        self.end(cx, reason);
        self.finish(Why::NoAnswer);
    }

    fn life_timeout(&mut self, cx: &mut Cx<'_>) {
        if self.life.is_some() && !self.is_unproven() {
            self.life = None;
        }
        let Some(life) = &mut self.life else { return };
        match life.handle_timeout(cx.now) {
            Due::Nothing => {}
            Due::Send => self.send_echo(),
            Due::GiveUp => self.give_up(cx, DownReason::Gone),
        }
    }

    fn send_echo(&mut self) {
        self.echo_identifier = self.echo_identifier.wrapping_add(1);
        let packet = self.echo_request(self.echo_identifier);
        self.out.push(packet.finish());
    }

    /// True when the peer was heard after `at`.
    fn heard_after(&self, at: Instant) -> bool {
        self.keepalive.as_ref().is_some_and(|peer| peer.heard_after(at))
    }

    /// A client has the path prove that it carries more than it has to.
    fn prove_size(&mut self, cx: &mut Cx<'_>) {
        if self.role.is_client() && self.mtu() > STANDARD_MRU {
            self.echo_identifier = self.echo_identifier.wrapping_add(1);
            self.probe = Some(Probe::new(cx.now, self.echo_identifier));
            self.probe_timeout(cx);
        }
    }

    fn probe_timeout(&mut self, cx: &mut Cx<'_>) {
        let restart = self.role.timing().restart;
        let Some(probe) = &mut self.probe else { return };
        match probe.handle_timeout(cx.now, restart) {
            Due::Nothing => {}
            Due::Send => {
                let identifier = probe.identifier;
                let mut packet = self.echo_request(identifier);
                packet.fill();
                self.out.push(packet.finish());
            }
            // Where nothing is heard at all, the size is not to blame.
            Due::GiveUp if !self.keepalive.as_ref().is_some_and(|peer| peer.heard_after(probe.begun)) => {
                *probe = Probe::new(cx.now, probe.identifier);
            }
            Due::GiveUp => {
                self.reduced = true;
                self.max_mru = self.max_mru.min(STANDARD_MRU);
                self.lcp.options.wanted_mru = self.lcp.options.wanted_mru.min(STANDARD_MRU);
                self.events.push_back(Event::MtuReduced { mtu: STANDARD_MRU });
                let limit = self.limit();
                let layer = self.lcp.restart(&mut wire(cx, &self.role, &mut self.out, limit));
                self.lcp_layer(cx, layer);
            }
        }
    }

    fn echo_request(&self, identifier: u8) -> PacketBuilder {
        let mut packet = PacketBuilder::new(protocol::LCP, code::ECHO_REQUEST, identifier, self.mtu());
        packet.put(&self.lcp_magic().to_be_bytes());
        packet
    }

    // ── authentication ────────────────────────────────────────────────────────

    fn receive_authentication(
        &mut self,
        cx: &mut Cx<'_>,
        protocol: u16,
        information: &[u8],
    ) -> Result<(), DropReason> {
        let agreed = self.lcp.options.authentication();
        if agreed.map(auth::protocol_of) != Some(protocol) {
            return Err(DropReason::PppPhase);
        }
        let packet = Packet::parse(information).ok_or(DropReason::PppMalformed)?;
        let limit = self.limit();
        let mut wire = wire(cx, &self.role, &mut self.out, limit);
        let progress = match (&mut self.proof, &self.role) {
            (Proof::Client(client), Role::Client(settings)) => client.receive(&mut wire, settings, packet)?,
            (Proof::Server(server), _) => server.receive(&mut wire, packet)?,
            _ => return Err(DropReason::PppPhase),
        };
        self.progress(cx, progress);
        Ok(())
    }

    fn proof_timeout(&mut self, cx: &mut Cx<'_>) {
        let limit = self.limit();
        let mut wire = wire(cx, &self.role, &mut self.out, limit);
        let progress = match (&mut self.proof, &self.role) {
            (Proof::Client(client), Role::Client(settings)) => client.handle_timeout(&mut wire, settings),
            (Proof::Server(server), Role::Server(settings)) => server.handle_timeout(&mut wire, settings),
            _ => return,
        };
        self.progress(cx, progress);
    }

    fn progress(&mut self, cx: &mut Cx<'_>, progress: Progress) {
        match progress {
            Progress::Pending => {}
            Progress::Identify(name) => self.events.push_back(Event::Identify { name }),
            Progress::Proven { name, message } => {
                let message = self.quoted(message);
                self.events.push_back(Event::Authenticated { name, message });
                self.enter_network(cx);
            }
            Progress::Failed(DownReason::AuthenticationFailed { protocol, message }) => {
                let message = self.quoted(message);
                self.end(cx, DownReason::AuthenticationFailed { protocol, message });
            }
            Progress::Failed(reason) => self.end(cx, reason),
        }
    }

    /// What the peer says, for the log: without the password, should it repeat it.
    fn quoted(&self, text: String) -> String {
        match &self.role {
            Role::Client(settings) => settings.password.blanked(text),
            Role::Server(_) => text,
        }
    }

    // ── network ───────────────────────────────────────────────────────────────

    fn enter_network(&mut self, cx: &mut Cx<'_>) {
        self.phase = Phase::Network;
        if self.role.is_client() && self.role.speaks_ipv4() && self.ipv4.is_none() {
            self.start_ipv4(cx, IpcpOptions::client());
        }
        if let Some(identifier) = self.role.ipv6().filter(|_| self.ipv6.is_none()) {
            if self.mtu() < IPV6_MINIMUM_MTU {
                self.events.push_back(Event::Ipv6Down { reason: NetworkDownReason::SmallMtu });
                return;
            }
            let options = Ipv6cpOptions::new(identifier, cx.rng);
            let (limit, is_client) = (self.limit(), self.role.is_client());
            let mut wire = wire(cx, &self.role, &mut self.out, limit);
            self.ipv6 = Some(Network::start(&mut wire, &mut self.events, is_client, options));
        }
    }

    fn start_ipv4(&mut self, cx: &mut Cx<'_>, options: IpcpOptions) {
        let (limit, is_client) = (self.limit(), self.role.is_client());
        let mut wire = wire(cx, &self.role, &mut self.out, limit);
        self.ipv4 = Some(Network::start(&mut wire, &mut self.events, is_client, options));
    }

    fn network_timeout(&mut self, cx: &mut Cx<'_>) {
        let limit = self.limit();
        let mut wire = wire(cx, &self.role, &mut self.out, limit);
        if let Some(ipv4) = &mut self.ipv4 {
            ipv4.handle_timeout(&mut wire, &mut self.events);
        }
        if let Some(ipv6) = &mut self.ipv6 {
            ipv6.handle_timeout(&mut wire, &mut self.events);
        }
    }
}

fn wire<'a, 'b>(cx: &'a mut Cx<'b>, role: &'a Role, out: &'a mut Outbox, limit: u16) -> Wire<'a, 'b> {
    Wire { cx, timing: role.timing(), out, limit }
}

#[cfg(test)]
mod tests {
    use core::mem::size_of;

    use super::*;

    /// A concentrator holds thousands: all that one keeps while it is open and idle, but for the subscriber's name.
    #[test]
    fn a_link_is_small() {
        let networks = size_of::<Network<IpcpOptions>>() + size_of::<Network<Ipv6cpOptions>>();
        let octets = size_of::<Link>() + networks + size_of::<auth::Server>();
        assert!(octets <= 1024, "{octets} octets");
    }
}
