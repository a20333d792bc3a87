//! One LAN's bridge: what belongs to it, and behind which of its ports each station is (IEEE 802.1D-2004 §7.7 to §7.9).
//!
//! A LAN has ports of the router's and, when a VPN is bridged to it, that VPN's peers; both are bridge ports. A frame from
//! one of them goes this way (`carry`):
//!
//! 1. Its source is learned with the bridge port, moves when it is seen behind another, and is forgotten after
//!    [`AGEING`]. A station that moves more than [`MOVES`] times within [`MOVING`] is two ends of a loop: one of the two
//!    bridge ports is blocked for [`BLOCK`], the peer's rather than the router's own. Between two peers that do not meet
//!    here none is, for nothing goes round, and one of them may only pretend: the station is held for as long where it
//!    was before it moved.
//! 2. `guard` keeps back what is of one site alone: PPPoE, reserved groups, and, where it is asked to, Router
//!    Advertisements and DHCP.
//! 3. [`Bridge::decide`] says where it goes. From one peer to another nothing goes (split horizon: they are a full mesh),
//!    unless the VPN is a hub.
//! 4. What goes to everyone is limited on a LAN with peers ([`Bridge::admit`]): a storm on one side is not to fill the
//!    other's uplink. Questions whose answer is known are not asked far away (`suppress`).
//! 5. To a peer it goes in VXLAN (`overlay`).
//!
//! Everything is bounded. A new station is not learned, and its frames are flooded, when the table is full, or the bridge
//! port's part of it, or that of all peers: so who invents addresses does not push out those that exist, and no peer takes
//! the room of the LAN's own.
//!
//! Left out: TR-124 WAN.PPP.10: the configuration has no key to ask for PPPoE from the LAN to pass to an uplink.

mod carry;
mod guard;
pub(super) mod overlay;
mod suppress;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;

use crate::forward::bridge::suppress::Suppressor;
use crate::forward::limit::{Bucket, Rate};
use crate::id::{LanId, Mac, PeerId, PortId};
use crate::rng::Rng;
use crate::settings::VpnBridge;
use crate::table::{Map, Seed};
use crate::time::{Duration, Instant, earliest};

/// Time after which a silent station is forgotten (802.1D-2004 table 7-5).
pub const AGEING: Duration = Duration::from_secs(300);

/// Least time between two sweeps, for stations that fall silent one by one.
const SWEEP: Duration = Duration::from_secs(1);

/// Most stations in the table.
pub const STATIONS: usize = 32_768;
/// Most stations behind one bridge port.
pub const STATIONS_PER_PORT: usize = 12_288;
/// Most stations behind all peers together.
pub const STATIONS_BEYOND: usize = 16_384;

/// Most moves of a station within [`MOVING`] before they are taken for a loop. A telephone that walks from one access point
/// to the other makes a few.
pub const MOVES: u8 = 10;
/// The time in which moves are counted.
pub const MOVING: Duration = Duration::from_secs(10);
/// Time for which a bridge port that is part of a loop is blocked.
pub const BLOCK: Duration = Duration::from_secs(60);

/// Frames for everyone that one of the router's own ports may bring, on a LAN with peers.
pub const FROM_PORT: Rate = Rate { per_second: 5000, burst: 5000 };
/// Frames for everyone that one peer may bring.
pub const FROM_PEER: Rate = Rate { per_second: 1000, burst: 1000 };
/// Frames for everyone on a LAN with peers, from all sides.
pub const ON_LAN: Rate = Rate { per_second: 10_000, burst: 10_000 };
/// Frames for everyone that go to the peers: each leaves once for each peer, by an uplink.
pub const TO_PEERS: Rate = Rate { per_second: 1000, burst: 1000 };
/// Least time between two reports of a storm from one bridge port.
pub const REPORT: Duration = Duration::from_secs(60);

/// Where stations are, seen from a LAN's bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BridgePort {
    /// Behind a port of the router's.
    Port(PortId),
    /// Behind a peer of a VPN that is bridged to the LAN.
    Peer(PeerId),
}

/// Where a frame on a LAN goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// To the router.
    Local,
    /// To this bridge port.
    Port(BridgePort),
    /// To every bridge port but the one that it came by.
    Flood,
    /// To the router, and to every bridge port but the one that it came by.
    LocalAndFlood,
    /// Nowhere: its station is where it came from.
    Same,
    /// Nowhere: it came from one peer, and its station is behind another.
    Apart,
}

/// What has become of a station by a frame of its.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Learned {
    /// It is where it was, or it is new.
    Known,
    /// It was behind another bridge port until now.
    Moved,
    /// It has moved once too often: one bridge port is blocked from now on.
    Loop {
        /// Where it was seen, first and last.
        between: [BridgePort; 2],
        /// Which of the two is blocked.
        blocked: BridgePort,
    },
    /// It has moved once too often, from peer to peer: it is held where it was before.
    Held {
        /// Where it was seen, first and last.
        between: [BridgePort; 2],
        /// Where it is held.
        at: BridgePort,
    },
    /// It came by a bridge port that is blocked, or none of this LAN's, or where its station is not.
    Refused,
}

/// Whether a frame may go to everyone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It may.
    Granted,
    /// There are too many of them.
    Refused {
        /// That has not been said for a while.
        is_news: bool,
    },
}

/// What is wrong with a bridge port at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trouble {
    /// The bridge port.
    pub port: BridgePort,
    /// Because of a loop nothing passes by it for so long.
    pub blocked_for: Option<Duration>,
    /// It has brought more frames for everyone than may pass.
    pub is_storm: bool,
}

/// A fact about a LAN's bridge that its owner should hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// A station is seen in two places in turn, because frames go round.
    Loop {
        /// On this LAN.
        lan: LanId,
        /// The station.
        station: Mac,
        /// Where it is seen.
        between: [BridgePort; 2],
        /// The one of the two that is blocked for [`BLOCK`].
        blocked: BridgePort,
    },
    /// A station is seen behind two peers in turn: frames go round, or one of the two speaks in its name.
    Held {
        /// On this LAN.
        lan: LanId,
        /// The station.
        station: Mac,
        /// Where it is seen.
        between: [BridgePort; 2],
        /// What comes in its name by anything else than this is dropped for [`BLOCK`].
        at: BridgePort,
    },
    /// More frames for everyone come from one side than the LAN carries.
    Storm {
        /// On this LAN.
        lan: LanId,
        /// From there.
        from: BridgePort,
    },
}

/// A bridge port.
#[derive(Debug)]
struct Member {
    port: BridgePort,
    /// How the VPN is bridged that it is a peer of.
    via: Option<VpnBridge>,
    /// Number of stations behind it.
    stations: usize,
    blocked_until: Option<Instant>,
    floods: Bucket,
    storm_reported: Option<Instant>,
}

impl Member {
    fn new(port: BridgePort, via: Option<VpnBridge>) -> Member {
        Member {
            port,
            via,
            stations: 0,
            blocked_until: None,
            floods: Bucket::default(),
            storm_reported: None,
        }
    }

    fn is_blocked(&self, now: Instant) -> bool {
        self.blocked_until.is_some_and(|until| until > now)
    }

    fn is_hub(&self) -> bool {
        self.via.is_some_and(|via| via.hub)
    }
}

/// The bridge of one LAN.
#[derive(Debug)]
pub struct Bridge {
    own: Vec<Mac>,
    members: Vec<Member>,
    has_peers: bool,
    stations: Map<Mac, Station>,
    /// Number of stations behind peers.
    beyond: usize,
    next_sweep: Option<Instant>,
    floods: Bucket,
    floods_to_peers: Bucket,
    suppressor: Option<Suppressor>,
}

#[derive(Debug, Clone, Copy)]
struct Station {
    port: BridgePort,
    /// Moves since `moving_since`.
    moves: u8,
    seen: Instant,
    moving_since: Instant,
    /// Where it was at that time.
    home: BridgePort,
    held_until: Option<Instant>,
}

impl Bridge {
    /// A bridge without stations, for a LAN on whose ports the router has the addresses `own`. Each peer comes with how its
    /// VPN is bridged. Hash seeds are drawn from `rng`.
    pub fn new(
        own: Vec<Mac>,
        ports: impl IntoIterator<Item = PortId>,
        peers: impl IntoIterator<Item = (PeerId, VpnBridge)>,
        rng: &mut dyn Rng,
    ) -> Self {
        let mut members: Vec<Member> =
            ports.into_iter().map(|port| Member::new(BridgePort::Port(port), None)).collect();
        members.extend(peers.into_iter().map(|(peer, via)| Member::new(BridgePort::Peer(peer), Some(via))));
        let has_peers = members.iter().any(|member| member.via.is_some());
        let suppresses = has_peers && members.iter().filter_map(|member| member.via).all(|via| via.suppress);
        Bridge {
            own,
            members,
            has_peers,
            stations: Map::with_hasher(Seed::draw(rng)),
            beyond: 0,
            next_sweep: None,
            floods: Bucket::default(),
            floods_to_peers: Bucket::default(),
            suppressor: suppresses.then(|| Suppressor::new(Seed::draw(rng))),
        }
    }

    /// The router's port that is all of the LAN.
    pub fn only(&self) -> Option<PortId> {
        match self.members.as_slice() {
            [Member { port: BridgePort::Port(only), .. }] => Some(*only),
            _ => None,
        }
    }

    /// True when peers are part of the LAN.
    pub fn has_peers(&self) -> bool {
        self.has_peers
    }

    /// True for a bridge port of this LAN.
    pub fn contains(&self, port: BridgePort) -> bool {
        self.members.iter().any(|member| member.port == port)
    }

    /// How the VPN is bridged that `port` is a peer of.
    pub fn via(&self, port: BridgePort) -> Option<VpnBridge> {
        self.members.iter().find(|member| member.port == port)?.via
    }

    /// Notes that a frame from `source` came by `port`. Addresses of groups and the router's own are not learned, nor is
    /// a new one when there is no room for it.
    #[inline]
    pub fn learn(&mut self, now: Instant, source: Mac, port: BridgePort) -> Learned {
        // Nobody is behind a bridge port that is blocked.
        if let Some(station) = self.stations.get_mut(&source).filter(|station| station.port == port) {
            station.seen = now;
            return Learned::Known;
        }
        self.learn_anew(now, source, port)
    }

    fn learn_anew(&mut self, now: Instant, source: Mac, port: BridgePort) -> Learned {
        let Some(member) = self.members.iter().find(|member| member.port == port) else {
            return Learned::Refused;
        };
        if member.is_blocked(now) {
            return Learned::Refused;
        }
        let is_hub = member.is_hub();
        let Some(station) = self.stations.get_mut(&source) else {
            let has_room = self.stations.len() < STATIONS
                && member.stations < STATIONS_PER_PORT
                && (member.via.is_none() || self.beyond < STATIONS_BEYOND);
            if has_room && source.is_station() && !self.own.contains(&source) {
                let station =
                    Station { port, moves: 0, seen: now, moving_since: now, home: port, held_until: None };
                self.stations.insert(source, station);
                self.next_sweep.get_or_insert(now + AGEING);
                count(&mut self.members, &mut self.beyond, port, true);
            }
            return Learned::Known;
        };
        if station.held_until.is_some_and(|until| until > now) {
            return Learned::Refused;
        }
        let before = station.port;
        if now.since(station.moving_since) >= MOVING {
            (station.moves, station.moving_since, station.home) = (0, now, before);
        }
        station.moves = station.moves.saturating_add(1);
        if station.moves > MOVES {
            station.moves = 0;
            let at = station.home;
            let blocked = match (before, port) {
                // Nothing goes round where nothing goes from peer to peer.
                (BridgePort::Peer(_), BridgePort::Peer(_)) if !is_hub => {
                    (station.port, station.seen, station.held_until) = (at, now, Some(now + BLOCK));
                    count(&mut self.members, &mut self.beyond, before, false);
                    count(&mut self.members, &mut self.beyond, at, true);
                    return Learned::Held { between: [before, port], at };
                }
                (BridgePort::Peer(_), BridgePort::Peer(_)) if port == at => before,
                // Who pretends, behind a peer, to be a station of the LAN's cuts off himself alone.
                (BridgePort::Peer(_), BridgePort::Port(_)) => before,
                _ => port,
            };
            return Learned::Loop { between: [before, port], blocked };
        }
        (station.port, station.seen) = (port, now);
        count(&mut self.members, &mut self.beyond, before, false);
        count(&mut self.members, &mut self.beyond, port, true);
        Learned::Moved
    }

    /// Nothing comes from or goes to `port` for [`BLOCK`], and nobody is behind it: `forgotten` hears of each station.
    pub fn block(&mut self, now: Instant, port: BridgePort, mut forgotten: impl FnMut(Mac)) {
        let Some(member) = self.members.iter_mut().find(|member| member.port == port) else { return };
        member.blocked_until = Some(now + BLOCK);
        if member.via.is_some() {
            self.beyond = self.beyond.saturating_sub(member.stations);
        }
        member.stations = 0;
        self.stations.retain(|address, station| {
            let keep = station.port != port;
            if !keep {
                forgotten(*address);
            }
            keep
        });
    }

    /// Notes that a frame from `source` came by `port` some time ago, at `seen`. What has been learned since holds.
    pub fn refresh(&mut self, seen: Instant, source: Mac, port: PortId) {
        let port = BridgePort::Port(port);
        match self.stations.get_mut(&source) {
            Some(station) if station.port == port => station.seen = station.seen.max(seen),
            Some(_) => {}
            None => {
                let _learned = self.learn(seen, source, port);
            }
        }
    }

    /// True for an address of the router's.
    pub fn is_own(&self, address: Mac) -> bool {
        self.own.contains(&address)
    }

    /// Where a frame to `destination` that came by `ingress` goes. Frames that a bridge may not pass on (802.1D-2004 table
    /// 7-10: pause, spanning tree and the like) go to the router alone.
    pub fn decide(&self, now: Instant, destination: Mac, ingress: BridgePort) -> Decision {
        if destination.is_group() {
            return if is_reserved(destination) { Decision::Local } else { Decision::LocalAndFlood };
        }
        if self.own.contains(&destination) {
            return Decision::Local;
        }
        match self.port(now, destination) {
            Some(port) if port == ingress => Decision::Same,
            Some(port) if self.is_apart(ingress, port) => Decision::Apart,
            Some(port) => Decision::Port(port),
            None => Decision::Flood,
        }
    }

    /// True when nothing goes from one bridge port to the other, because both are peers and do not meet here.
    fn is_apart(&self, from: BridgePort, to: BridgePort) -> bool {
        let is_hub = |port| self.members.iter().any(|member: &Member| member.port == port && member.is_hub());
        matches!((from, to), (BridgePort::Peer(_), BridgePort::Peer(_))) && !(is_hub(from) && is_hub(to))
    }

    /// The bridge port behind which `station` is. `None` when what is for it is to be flooded.
    #[inline]
    pub fn port(&self, now: Instant, station: Mac) -> Option<BridgePort> {
        self.stations
            .get(&station)
            .filter(|station| now.since(station.seen) < AGEING)
            .map(|station| station.port)
    }

    /// As [`Bridge::port`]: the router's port behind which `station` is.
    #[inline]
    pub fn local_port(&self, now: Instant, station: Mac) -> Option<PortId> {
        match self.port(now, station)? {
            BridgePort::Port(port) => Some(port),
            BridgePort::Peer(_) => None,
        }
    }

    /// Number of bridge ports.
    pub fn ports(&self) -> usize {
        self.members.len()
    }

    /// The bridge port of this index, when a frame for everyone that came by `from`, or is the router's own, goes there, and
    /// how the VPN is bridged that it is a peer of.
    pub fn target(
        &self,
        now: Instant,
        index: usize,
        from: Option<BridgePort>,
    ) -> Option<(BridgePort, Option<VpnBridge>)> {
        let member = self.members.get(index)?;
        let is_apart = from.is_some_and(|from| from == member.port || self.is_apart(from, member.port));
        (!is_apart && !member.is_blocked(now)).then_some((member.port, member.via))
    }

    /// Whether one more frame for everyone may come by `from`. On a LAN without peers any may.
    pub fn admit(&mut self, now: Instant, from: BridgePort) -> Admission {
        if !self.has_peers {
            return Admission::Granted;
        }
        let Some(member) = self.members.iter_mut().find(|member| member.port == from) else {
            return Admission::Refused { is_news: false };
        };
        let rate = if member.via.is_some() { FROM_PEER } else { FROM_PORT };
        if member.floods.has(now, rate) && self.floods.has(now, ON_LAN) {
            member.floods.take(now, rate);
            self.floods.take(now, ON_LAN);
            return Admission::Granted;
        }
        let is_news = member.storm_reported.is_none_or(|at| now.since(at) >= REPORT);
        if is_news {
            member.storm_reported = Some(now);
        }
        Admission::Refused { is_news }
    }

    /// Whether one more frame for everyone may go to the peers.
    pub fn admit_to_peers(&mut self, now: Instant) -> bool {
        let may = self.floods_to_peers.has(now, TO_PEERS);
        if may {
            self.floods_to_peers.take(now, TO_PEERS);
        }
        may
    }

    /// The bridge ports that something is wrong with: for how long nothing passes by one yet, and whether it has brought too
    /// many frames for everyone lately.
    pub fn troubles(&self, now: Instant) -> impl Iterator<Item = Trouble> + '_ {
        let of_member = move |member: &Member| {
            let blocked_for =
                member.blocked_until.map(|until| until.since(now)).filter(|left| !left.is_zero());
            let is_storm = member.storm_reported.is_some_and(|at| now.since(at) < REPORT);
            (blocked_for.is_some() || is_storm).then_some(Trouble {
                port: member.port,
                blocked_for,
                is_storm,
            })
        };
        self.members.iter().filter_map(of_member)
    }

    /// Number of stations known behind `port`.
    pub fn behind(&self, port: BridgePort) -> usize {
        self.members.iter().find(|member| member.port == port).map_or(0, |member| member.stations)
    }

    /// Number of stations known.
    pub fn len(&self) -> usize {
        self.stations.len()
    }

    /// True when no station is known.
    pub fn is_empty(&self) -> bool {
        self.stations.is_empty()
    }

    /// When [`Bridge::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        earliest(self.next_sweep, self.suppressor.as_ref().and_then(Suppressor::poll_timeout))
    }

    /// Forgets stations that have been silent: `forgotten` hears of each.
    pub fn handle_timeout(&mut self, now: Instant, mut forgotten: impl FnMut(Mac)) {
        if let Some(suppressor) = &mut self.suppressor {
            suppressor.handle_timeout(now);
        }
        if self.next_sweep.is_none_or(|at| at > now) {
            return;
        }
        let mut oldest: Option<Instant> = None;
        let (members, beyond) = (&mut self.members, &mut self.beyond);
        self.stations.retain(|address, station| {
            let keep = now.since(station.seen) < AGEING;
            if keep {
                oldest = Some(oldest.map_or(station.seen, |oldest| oldest.min(station.seen)));
            } else {
                count(members, beyond, station.port, false);
                forgotten(*address);
            }
            keep
        });
        self.next_sweep = oldest.map(|seen| (seen + AGEING).max(now + SWEEP));
    }
}

/// There is one more station behind `port`, or one less.
fn count(members: &mut [Member], beyond: &mut usize, port: BridgePort, more: bool) {
    let add = |count: &mut usize| {
        *count = if more { count.saturating_add(1) } else { count.saturating_sub(1) };
    };
    if let BridgePort::Peer(_) = port {
        add(beyond);
    }
    if let Some(member) = members.iter_mut().find(|member| member.port == port) {
        add(&mut member.stations);
    }
}

/// True for a group whose frames no bridge passes on.
fn is_reserved(group: Mac) -> bool {
    matches!(group.0, [0x01, 0x80, 0xc2, 0x00, 0x00, 0x00..=0x0f])
}
