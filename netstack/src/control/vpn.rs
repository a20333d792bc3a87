//! The VPNs: who shakes hands with their peers, and where peers with a name are.
//!
//! A peer's name is asked for when the gateway starts, again when the peer is silent, and whenever the router's own addresses
//! are others; a peer that has moved and fell silent is looked for where the configuration has it.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};

use super::Exit;
use crate::explain::Diagnosis;
use crate::explain::vpn::Patient;
use crate::forward::{Forwarder, MessageTo, TunnelUpdate};
use crate::frame::Frame;
use crate::id::{PeerId, VpnId};
use crate::ledger::DropReason;
use crate::machine::Cx;
use crate::settings::{self, Endpoint, Settings};
use crate::state::{State, VpnStamp};
use crate::status::{VpnBridgeStatus, VpnPeerStatus, VpnStatus, VpnStrangerStatus};
use crate::time::{Duration, Instant, earliest};
use crate::tunnel::wireguard::{self, Destination, Failure, HandshakeStatus, Input, Negotiator};

/// Time after which a name that was not found is asked for again, at first; it doubles.
const RETRY: Duration = Duration::from_secs(5);
/// The longest such time.
const LONGEST_RETRY: Duration = Duration::from_secs(60);
/// Least time between two questions for the name of a silent peer.
const ASK_AGAIN: Duration = Duration::from_secs(15);

/// A fact about a peer. `Display` is one plain sentence for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It answers, for the first time or again.
    Up {
        /// The peer.
        peer: Arc<str>,
        /// Where it is.
        at: SocketAddr,
    },
    /// There are no keys to be had.
    Down {
        /// The peer.
        peer: Arc<str>,
        /// Why.
        failure: Failure,
    },
    /// Its host has this address now.
    Found {
        /// The peer.
        peer: Arc<str>,
        /// Its host's name.
        host: String,
        /// Where it is.
        at: SocketAddr,
    },
    /// The name of its host has no address.
    NotFound {
        /// The peer.
        peer: Arc<str>,
        /// Its host's name.
        host: String,
    },
    /// Handshakes bear stamps from a new range.
    StampsReserved,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Up { peer, at } => write!(f, "{peer} is up, at {at}"),
            Event::Down { peer, failure } => write!(f, "{peer} is down: {failure}"),
            Event::Found { peer, host, at } => write!(f, "{peer} is at {at}: that is {host}"),
            Event::NotFound { peer, host } => {
                write!(
                    f,
                    "{peer} cannot be reached: the name {host} has no address, or no DNS server answers"
                )
            }
            Event::StampsReserved => f.write_str("handshakes bear stamps from a new range"),
        }
    }
}

/// A question for a host's address, which a DNS server is to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    /// To be given back with the answer.
    pub ticket: u64,
    /// The host's name.
    pub host: String,
    /// Its IPv6 address is wanted, not the other one.
    pub ipv6: bool,
}

/// Every VPN.
pub(super) struct Vpns {
    vpns: Vec<Vpn>,
    /// Families that the uplinks carry: IPv4, IPv6.
    families: (bool, bool),
    /// The time since 1970 at an instant, as it was told.
    wall: Option<(Instant, Duration)>,
    updates: VecDeque<TunnelUpdate>,
    questions: VecDeque<Question>,
    events: VecDeque<(Arc<str>, Event)>,
}

struct Vpn {
    name: Arc<str>,
    settings: settings::Vpn,
    lan: Option<String>,
    negotiator: Negotiator,
    ceiling: Duration,
    peers: Vec<Peer>,
}

struct Peer {
    name: Arc<str>,
    lookup: Option<Lookup>,
    /// It has answered, and not fallen silent since.
    answers: bool,
}

/// Where the search for a peer's host stands.
struct Lookup {
    host: String,
    port: u16,
    found: Option<SocketAddr>,
    /// The family that is asked for now or next.
    ipv6: bool,
    /// When it was asked for last.
    asked: Option<Instant>,
    /// When it is to be asked for again.
    next: Option<Instant>,
    wait: Duration,
    /// The first of the two families had no address.
    second: bool,
}

impl Vpns {
    pub(super) fn new(settings: &Settings, state: &State, cx: &mut Cx<'_>) -> Vpns {
        let vpns = settings.vpns.iter().map(|vpn| {
            let mut negotiator = Negotiator::new(cx, &vpn.private_key, &vpn.peers);
            let stamp = state.vpn_stamps.iter().find(|stamp| stamp.vpn == vpn.name);
            negotiator.set_floor(stamp.map_or(Duration::ZERO, |stamp| stamp.ceiling));
            let lan = vpn.bridge.and_then(|bridge| settings.lans.get(bridge.lan.index()));
            Vpn {
                name: vpn.name.as_str().into(),
                lan: lan.map(|lan| lan.name.clone()),
                ceiling: negotiator.ceiling(),
                negotiator,
                peers: vpn.peers.iter().map(|peer| Peer::new(cx.now, peer)).collect(),
                settings: vpn.clone(),
            }
        });
        Vpns {
            vpns: vpns.collect(),
            families: (false, false),
            wall: None,
            updates: VecDeque::new(),
            questions: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// What the wall clock says at `now`: the time since 1970.
    pub(super) fn set_clock(&mut self, now: Instant, unix: Duration) {
        self.wall = Some((now, unix));
        for vpn in &mut self.vpns {
            vpn.negotiator.set_clock(now, unix);
        }
    }

    /// Time has passed that nobody has counted: attempts begin anew, and names are asked for again.
    pub(super) fn reconfirm(&mut self, cx: &mut Cx<'_>) {
        for vpn in &mut self.vpns {
            vpn.negotiator.restart(cx);
            for lookup in vpn.peers.iter_mut().filter_map(|peer| peer.lookup.as_mut()) {
                (lookup.next, lookup.wait, lookup.second) = (Some(cx.now), RETRY, false);
            }
        }
    }

    /// A message of a handshake.
    pub(super) fn handle(
        &mut self,
        cx: &mut Cx<'_>,
        vpn: VpnId,
        from: SocketAddr,
        datagram: &[u8],
    ) -> Result<(), DropReason> {
        let state = self.vpns.get_mut(vpn.index()).ok_or(DropReason::Internal)?;
        state.negotiator.handle(cx, Input::Message { from, datagram })
    }

    /// The Forwarder wants keys for a peer.
    pub(super) fn want(&mut self, cx: &mut Cx<'_>, peer: PeerId) {
        if let Some(vpn) = self.vpns.get_mut(peer.vpn.index()) {
            // Only messages can be refused.
            let _ = vpn.negotiator.handle(cx, Input::Wanted { peer: peer.peer });
        }
    }

    /// The router's addresses are others: names may be, too, and a family may be reached that was not.
    pub(super) fn addresses_changed(&mut self, now: Instant, ipv4: bool, ipv6: bool) {
        self.families = (ipv4, ipv6);
        for lookup in
            self.vpns.iter_mut().flat_map(|vpn| &mut vpn.peers).filter_map(|peer| peer.lookup.as_mut())
        {
            lookup.ipv6 = ipv6 && (!ipv4 || lookup.ipv6);
            (lookup.next, lookup.wait, lookup.second) = (Some(now), RETRY, false);
        }
    }

    /// A DNS server's answer to a [`Question`], or nothing.
    pub(super) fn found(&mut self, now: Instant, ticket: u64, addresses: &[IpAddr]) {
        let (vpn, peer) = (ticket >> 16, ticket & 0xffff);
        let (Ok(vpn), Ok(peer)) = (u16::try_from(vpn), u16::try_from(peer)) else { return };
        let id = PeerId { vpn: VpnId(vpn), peer };
        let families = self.families;
        let Some(vpn) = self.vpns.get_mut(usize::from(vpn)) else { return };
        let Some(peer) = vpn.peers.get_mut(usize::from(peer)) else { return };
        let Some(lookup) = &mut peer.lookup else { return };
        let found = addresses.iter().find(|address| address.is_ipv6() == lookup.ipv6);
        match found {
            Some(&address) => {
                let at = SocketAddr::new(address, lookup.port);
                (lookup.next, lookup.wait, lookup.second) = (None, RETRY, false);
                let is_new = lookup.found.replace(at) != Some(at);
                if is_new || !peer.answers {
                    self.updates.push_back(TunnelUpdate::Endpoint { peer: id, endpoint: at });
                }
                if is_new {
                    let host = lookup.host.clone();
                    let event = Event::Found { peer: Arc::clone(&peer.name), host, at };
                    self.events.push_back((Arc::clone(&vpn.name), event));
                }
            }
            // The other family, then.
            None if families == (true, true) && !lookup.second => {
                (lookup.ipv6, lookup.second, lookup.next) = (!lookup.ipv6, true, Some(now));
            }
            None => {
                if lookup.wait == RETRY {
                    let host = lookup.host.clone();
                    let event = Event::NotFound { peer: Arc::clone(&peer.name), host };
                    self.events.push_back((Arc::clone(&vpn.name), event));
                }
                (lookup.second, lookup.next) = (false, Some(now + lookup.wait));
                lookup.wait = (lookup.wait + lookup.wait).min(LONGEST_RETRY);
            }
        }
    }

    pub(super) fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        let families = self.families;
        for (id, vpn) in (0u16..).zip(&mut self.vpns) {
            vpn.negotiator.handle_timeout(cx);
            for (index, peer) in (0u16..).zip(&mut vpn.peers) {
                let Some(lookup) = &mut peer.lookup else { continue };
                if families == (false, false) || lookup.next.is_none_or(|at| at > cx.now) {
                    continue;
                }
                (lookup.asked, lookup.next) = (Some(cx.now), Some(cx.now + LONGEST_RETRY));
                let ticket = u64::from(id) << 16 | u64::from(index);
                let (host, ipv6) = (lookup.host.clone(), lookup.ipv6);
                self.questions.push_back(Question { ticket, host, ipv6 });
            }
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let is_online = self.families != (false, false);
        self.vpns.iter().fold(None, |at, vpn| {
            let lookups =
                vpn.peers.iter().filter_map(|peer| peer.lookup.as_ref()?.next).filter(|_| is_online);
            earliest(at, earliest(vpn.negotiator.poll_timeout(), lookups.min()))
        })
    }

    pub(super) fn poll_transmit(&mut self, frame: &mut Frame) -> Option<Exit> {
        (0u16..).map(VpnId).zip(&mut self.vpns).find_map(|(vpn, state)| {
            let to = match state.negotiator.poll_transmit(frame)? {
                Destination::Peer(peer) => MessageTo::Peer(PeerId { vpn, peer }),
                Destination::Address(address) => MessageTo::Address(vpn, address),
            };
            Some(Exit::Tunnel(to))
        })
    }

    /// The next thing for the Forwarder.
    pub(super) fn poll_update(&mut self) -> Option<TunnelUpdate> {
        self.updates.pop_front()
    }

    /// The next question for a DNS server.
    pub(super) fn poll_question(&mut self) -> Option<Question> {
        self.questions.pop_front()
    }

    /// The next fact, with the VPN's name.
    pub(super) fn poll_event(&mut self) -> Option<(Arc<str>, Event)> {
        self.events.pop_front()
    }

    /// Takes what the machines report.
    pub(super) fn drain(&mut self, now: Instant) {
        for (id, vpn) in (0u16..).map(VpnId).zip(&mut self.vpns) {
            let ceiling = vpn.negotiator.ceiling();
            if core::mem::replace(&mut vpn.ceiling, ceiling) != ceiling {
                self.events.push_back((Arc::clone(&vpn.name), Event::StampsReserved));
            }
            while let Some(event) = vpn.negotiator.poll_event() {
                let name = &vpn.name;
                match event {
                    wireguard::Event::Keys { peer, keypair, from } => {
                        let Some(state) = vpn.peers.get_mut(usize::from(peer)) else { continue };
                        if !core::mem::replace(&mut state.answers, true) {
                            let event = Event::Up { peer: Arc::clone(&state.name), at: from };
                            self.events.push_back((Arc::clone(name), event));
                        }
                        let peer = PeerId { vpn: id, peer };
                        self.updates.push_back(TunnelUpdate::Keys { peer, keypair: Box::new(keypair), from });
                    }
                    wireguard::Event::Retrying { peer, .. } => {
                        if let Some(lookup) =
                            vpn.peers.get_mut(usize::from(peer)).and_then(|peer| peer.lookup.as_mut())
                        {
                            lookup.ask_again(now);
                        }
                    }
                    wireguard::Event::GaveUp { peer: index, failure } => {
                        let Some(state) = vpn.peers.get_mut(usize::from(index)) else { continue };
                        let peer = PeerId { vpn: id, peer: index };
                        self.updates.push_back(TunnelUpdate::Unreachable { peer });
                        if core::mem::replace(&mut state.answers, false) {
                            let event = Event::Down { peer: Arc::clone(&state.name), failure };
                            self.events.push_back((Arc::clone(name), event));
                        }
                        let given = vpn
                            .settings
                            .peers
                            .get(usize::from(index))
                            .and_then(|peer| peer.endpoint.as_ref());
                        if let Some(&Endpoint::Address(endpoint)) = given {
                            self.updates.push_back(TunnelUpdate::Endpoint { peer, endpoint });
                        }
                    }
                }
            }
        }
    }

    /// What the state file should hold.
    pub(super) fn stamps(&self) -> Vec<VpnStamp> {
        let stamp = |vpn: &Vpn| VpnStamp { vpn: vpn.name.to_string(), ceiling: vpn.ceiling };
        self.vpns.iter().map(stamp).collect()
    }

    /// What is wrong with the peers of the VPN `name`, or with the one that is named.
    pub(super) fn explain(
        &self,
        now: Instant,
        (name, peer): (&str, Option<&str>),
        forwarder: &Forwarder,
    ) -> Vec<Diagnosis> {
        let mut all = (0u16..).map(VpnId).zip(&self.vpns);
        let Some((id, vpn)) = all.find(|(_, vpn)| *vpn.name == *name) else { return Vec::new() };
        let peers = (0u16..).zip(&vpn.peers).zip(&vpn.settings.peers);
        let wanted = peers.filter(|((_, known), _)| peer.is_none_or(|peer| *known.name == *peer));
        wanted
            .map(|((index, known), settings)| {
                let id = PeerId { vpn: id, peer: index };
                let patient = Patient {
                    now,
                    vpn: &vpn.name,
                    peer: &known.name,
                    configured: settings.endpoint.as_ref(),
                    endpoint: forwarder.peer_status(now, id).unwrap_or_default().endpoint,
                    handshake: vpn.negotiator.status(index).unwrap_or_default(),
                    stranger: vpn.negotiator.stranger(),
                    online: self.families != (false, false),
                    wall: self.wall.map(|(at, unix)| unix.saturating_add(now.since(at))),
                };
                patient.diagnose()
            })
            .collect()
    }

    pub(super) fn status(&self, now: Instant, forwarder: &Forwarder) -> Vec<VpnStatus> {
        (0u16..).map(VpnId).zip(&self.vpns).map(|(id, vpn)| vpn.status(now, id, forwarder)).collect()
    }
}

impl Vpn {
    fn status(&self, now: Instant, id: VpnId, forwarder: &Forwarder) -> VpnStatus {
        let bridge = self.settings.bridge.map(|bridge| bridge.lan);
        let peers = (0u16..).zip(&self.peers).zip(&self.settings.peers).map(|((index, peer), settings)| {
            let id = PeerId { vpn: id, peer: index };
            let traffic = forwarder.peer_status(now, id).unwrap_or_default();
            let handshake = self.negotiator.status(index).unwrap_or_default();
            VpnPeerStatus {
                name: peer.name.to_string(),
                public_key: settings.public_key.0,
                state: peer.state(handshake, traffic.endpoint),
                endpoint: traffic.endpoint,
                handshake_age_s: handshake.last.map(|at| now.since(at).as_secs()),
                usage: traffic.usage,
                lost: traffic.lost,
                stations: bridge.map(|lan| forwarder.stations_behind(lan, id)),
            }
        });
        VpnStatus {
            name: self.name.to_string(),
            public_key: self.negotiator.public_key().0,
            listen_port: self.settings.listen_port,
            ipv4: self.settings.ipv4,
            ipv6: self.settings.ipv6,
            bridge: self
                .settings
                .bridge
                .zip(self.lan.clone())
                .map(|(bridge, lan)| VpnBridgeStatus { lan, vni: bridge.vni }),
            peers: peers.collect(),
            stranger: self.negotiator.stranger().map(|stranger| VpnStrangerStatus {
                public_key: stranger.public_key.0,
                from: stranger.from,
                age_s: now.since(stranger.at).as_secs(),
            }),
        }
    }
}

impl Peer {
    fn new(now: Instant, peer: &settings::VpnPeer) -> Peer {
        let lookup = match &peer.endpoint {
            Some(Endpoint::Name { host, port }) => Some(Lookup {
                host: host.clone(),
                port: *port,
                found: None,
                ipv6: true,
                asked: None,
                next: Some(now),
                wait: RETRY,
                second: false,
            }),
            _ => None,
        };
        Peer { name: peer.name.as_str().into(), lookup, answers: false }
    }

    /// How it stands, in one sentence.
    fn state(&self, handshake: HandshakeStatus, endpoint: Option<SocketAddr>) -> String {
        let since = |&(at, _): &(Instant, Failure)| handshake.last.is_none_or(|last| at > last);
        let failure = handshake.failure.filter(since).map(|(_, failure)| failure);
        match (endpoint, handshake.trying, failure, &self.lookup) {
            (_, None | Some(0..=1), None, _) if self.answers => "up".into(),
            (None, _, None, Some(lookup)) => alloc::format!("the name {} has no address yet", lookup.host),
            (None, _, None, None) => "has never called, and there is no endpoint to call it at".into(),
            (_, _, Some(failure), _) => alloc::format!("{failure}"),
            (Some(at), Some(tries), None, _) => {
                alloc::format!("no answer from {at} to {tries} handshakes yet")
            }
            (Some(at), None, None, _) => alloc::format!("at rest: nothing was to be sent to {at}"),
        }
    }
}

impl Lookup {
    /// The peer is silent: it may have moved, or be reached by the other family only.
    fn ask_again(&mut self, now: Instant) {
        if self.asked.is_none_or(|asked| now.since(asked) >= ASK_AGAIN) {
            (self.next, self.second) = (Some(now), false);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::rng::SeededRng;
    use crate::settings::VpnPeer;
    use crate::tunnel::wireguard::PrivateKey;

    const HERE: &str = "192.0.2.7";
    const HERE6: &str = "2001:db8::7";

    struct Life {
        vpns: Vpns,
        now: Instant,
        rng: SeededRng,
    }

    impl Life {
        /// One VPN with one peer, whose host has a name.
        fn new() -> Life {
            let peer = VpnPeer {
                name: "friend".into(),
                public_key: PrivateKey::new([2; 32]).public(),
                preshared_key: None,
                endpoint: Some(Endpoint::Name { host: "friend.example".into(), port: 51_820 }),
                allowed_ips: vec![],
                keepalive: None,
            };
            let vpn = settings::Vpn {
                name: "sites".into(),
                private_key: PrivateKey::new([1; 32]),
                listen_port: 51_820,
                ipv4: None,
                ipv6: None,
                mtu: None,
                masquerade: false,
                bridge: None,
                peers: vec![peer],
            };
            let settings = Settings { vpns: vec![vpn], ..Settings::default() };
            let (now, mut rng) = (Instant::from_secs(100), SeededRng::from_u64(3));
            let vpns = Vpns::new(&settings, &State::default(), &mut Cx { now, rng: &mut rng });
            Life { vpns, now, rng }
        }

        fn pass(&mut self, seconds: u64) {
            self.now += Duration::from_secs(seconds);
            self.vpns.handle_timeout(&mut Cx { now: self.now, rng: &mut self.rng });
            self.vpns.drain(self.now);
        }

        /// Which families were asked for since.
        fn asked(&mut self) -> Vec<bool> {
            core::iter::from_fn(|| self.vpns.poll_question())
                .map(|question| {
                    assert_eq!((question.host.as_str(), question.ticket), ("friend.example", 0));
                    question.ipv6
                })
                .collect()
        }

        fn answer(&mut self, addresses: &[&str]) {
            let addresses: Vec<IpAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
            self.vpns.found(self.now, 0, &addresses);
        }

        /// Where the Forwarder is told that the peer is.
        fn told(&mut self) -> Vec<SocketAddr> {
            core::iter::from_fn(|| self.vpns.poll_update())
                .filter_map(|update| match update {
                    TunnelUpdate::Endpoint { endpoint, .. } => Some(endpoint),
                    _ => None,
                })
                .collect()
        }

        fn log(&mut self) -> Vec<String> {
            core::iter::from_fn(|| self.vpns.poll_event()).map(|(_, event)| event.to_string()).collect()
        }

        /// As after the name was asked for and found, with an uplink that carries IPv4.
        fn found() -> Life {
            let mut life = Life::new();
            life.vpns.addresses_changed(life.now, true, false);
            life.pass(0);
            life.asked();
            life.answer(&[HERE]);
            life.told();
            life
        }

        fn want(&mut self) {
            let mut rng = SeededRng::from_u64(4);
            self.vpns.want(&mut Cx { now: self.now, rng: &mut rng }, PeerId { vpn: VpnId(0), peer: 0 });
        }
    }

    fn at(host: &str) -> SocketAddr {
        SocketAddr::new(host.parse().unwrap(), 51_820)
    }

    #[test]
    fn a_name_is_asked_for_when_there_is_an_uplink_and_in_a_family_that_it_carries() {
        for (ipv4, ipv6, first) in [(true, false, false), (false, true, true), (true, true, true)] {
            let mut life = Life::new();
            life.pass(10);
            assert_eq!(life.asked(), Vec::<bool>::new(), "nobody could answer");
            life.vpns.addresses_changed(life.now, ipv4, ipv6);
            assert_eq!(life.vpns.poll_timeout(), Some(life.now));
            life.pass(0);
            assert_eq!(life.asked(), [first]);
            life.answer(&[HERE, HERE6]);
            assert_eq!(life.told(), [at(if first { HERE6 } else { HERE })]);
            life.pass(3600);
            assert!(life.asked().is_empty() && life.told().is_empty());
        }
    }

    #[test]
    fn a_host_without_ipv6_is_reached_by_ipv4() {
        let mut life = Life::new();
        life.vpns.addresses_changed(life.now, true, true);
        life.pass(0);
        assert_eq!(life.asked(), [true]);
        life.answer(&[]);
        life.pass(0);
        assert_eq!(life.asked(), [false]);
        life.answer(&[HERE]);
        assert_eq!(life.told(), [at(HERE)]);
    }

    #[test]
    fn a_name_without_an_address_is_told_once_and_asked_for_ever_more_seldom() {
        let mut life = Life::new();
        life.vpns.addresses_changed(life.now, true, false);
        let mut asked = vec![];
        for second in 0..200 {
            life.pass(u64::from(second > 0));
            if !life.asked().is_empty() {
                asked.push(second);
                life.answer(&[]);
            }
        }
        assert_eq!(asked, [0, 5, 15, 35, 75, 135, 195]);
        let log = life.log();
        assert_eq!(log.len(), 1, "{log:?}");
        assert!(log[0].contains("the name friend.example has no address"), "{log:?}");
    }

    #[test]
    fn a_silent_peer_is_looked_for_again_and_followed() {
        let mut life = Life::found();
        life.want();
        let mut asked = 0;
        for _ in 0..20 {
            life.pass(1);
            asked += life.asked().len();
        }
        assert_eq!(asked, 1, "after some handshakes without an answer, and not for each of them");
        life.answer(&["192.0.2.99"]);
        assert_eq!(life.told(), [at("192.0.2.99")]);
        assert!(
            life.log().iter().any(|line| line == "friend is at 192.0.2.99:51820: that is friend.example")
        );
    }

    #[test]
    fn another_address_of_ours_is_a_reason_to_ask_again() {
        let mut life = Life::found();
        life.vpns.addresses_changed(life.now, true, false);
        life.pass(0);
        assert_eq!(life.asked(), [false]);
    }
}
