//! One LAN's forwarding database: behind which port each station is (IEEE 802.1D-2004 §7.7 to §7.9).
//!
//! A source address is learned with the port it came by, moves when it is seen elsewhere, and is forgotten after
//! [`AGEING`]. The table is bounded; when it is full a new station is not learned and its frames are flooded, so a station
//! that invents addresses does not push out those that exist.
//!
//! Left out: TR-124 WAN.PPP.10: the configuration has no key to ask for PPPoE from the LAN to pass to an uplink.

use alloc::vec::Vec;

use crate::id::{Mac, PortId};
use crate::table::{Map, Seed};
use crate::time::{Duration, Instant};

/// Time after which a silent station is forgotten (802.1D-2004 table 7-5).
pub const AGEING: Duration = Duration::from_secs(300);

/// Least time between two sweeps, for stations that fall silent one by one.
const SWEEP: Duration = Duration::from_secs(1);

/// Most stations in the table.
pub const STATIONS: usize = 4096;

/// Where a frame on a LAN goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// To the router.
    Local,
    /// Out of this port.
    Port(PortId),
    /// Out of every port but the one that it came by.
    Flood,
    /// To the router, and out of every port but the one that it came by.
    LocalAndFlood,
    /// Nowhere: its station is on the port that it came by.
    Same,
}

/// The forwarding database of one LAN.
#[derive(Debug)]
pub struct Bridge {
    own: Vec<Mac>,
    stations: Map<Mac, Station>,
    next_sweep: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Station {
    port: PortId,
    seen: Instant,
}

impl Bridge {
    /// A database without stations, for a LAN on whose ports the router has the addresses `own`.
    pub fn new(own: Vec<Mac>, seed: Seed) -> Self {
        Bridge { own, stations: Map::with_hasher(seed), next_sweep: None }
    }

    /// Notes that a frame from `source` came by `port`. Addresses of groups and the router's own are not learned, nor is
    /// a new one when the table is full. True when the station was behind another port until now.
    pub fn learn(&mut self, now: Instant, source: Mac, port: PortId) -> bool {
        if let Some(station) = self.stations.get_mut(&source) {
            let before = core::mem::replace(station, Station { port, seen: now });
            return before.port != port;
        }
        if self.stations.len() < STATIONS && source.is_station() && !self.own.contains(&source) {
            self.stations.insert(source, Station { port, seen: now });
            self.next_sweep.get_or_insert(now + AGEING);
        }
        false
    }

    /// Notes that a frame from `source` came by `port` some time ago, at `seen`. What has been learned since holds.
    pub fn refresh(&mut self, seen: Instant, source: Mac, port: PortId) {
        match self.stations.get_mut(&source) {
            Some(station) if station.port == port => station.seen = station.seen.max(seen),
            Some(_) => {}
            None => drop(self.learn(seen, source, port)),
        }
    }

    /// True for an address of the router's.
    pub fn is_own(&self, address: Mac) -> bool {
        self.own.contains(&address)
    }

    /// Where a frame to `destination` that came by `ingress` goes. Frames that a bridge may not pass on (802.1D-2004 table
    /// 7-10: pause, spanning tree and the like) go to the router alone.
    pub fn decide(&self, now: Instant, destination: Mac, ingress: PortId) -> Decision {
        if destination.is_group() {
            return if is_reserved(destination) { Decision::Local } else { Decision::LocalAndFlood };
        }
        if self.own.contains(&destination) {
            return Decision::Local;
        }
        match self.port(now, destination) {
            Some(port) if port == ingress => Decision::Same,
            Some(port) => Decision::Port(port),
            None => Decision::Flood,
        }
    }

    /// The port behind which `station` is, for frames that the router sends itself. `None` when it is to be flooded.
    pub fn port(&self, now: Instant, station: Mac) -> Option<PortId> {
        self.stations
            .get(&station)
            .filter(|station| now.since(station.seen) < AGEING)
            .map(|station| station.port)
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
        self.next_sweep
    }

    /// Forgets stations that have been silent: `forgotten` hears of each.
    pub fn handle_timeout(&mut self, now: Instant, mut forgotten: impl FnMut(Mac)) {
        if self.next_sweep.is_none_or(|at| at > now) {
            return;
        }
        let mut oldest: Option<Instant> = None;
        self.stations.retain(|address, station| {
            let keep = now.since(station.seen) < AGEING;
            if keep {
                oldest = Some(oldest.map_or(station.seen, |oldest| oldest.min(station.seen)));
            } else {
                forgotten(*address);
            }
            keep
        });
        self.next_sweep = oldest.map(|seen| (seen + AGEING).max(now + SWEEP));
    }
}

fn is_reserved(group: Mac) -> bool {
    matches!(group.0, [0x01, 0x80, 0xc2, 0x00, 0x00, 0x00..=0x0f])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::SeededRng;

    const OWN: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const A: PortId = PortId(3);
    const B: PortId = PortId(5);

    fn station(n: u32) -> Mac {
        let [a, b, c, d] = n.to_be_bytes();
        Mac([2, 1, a, b, c, d])
    }

    fn bridge() -> Bridge {
        Bridge::new(alloc::vec![OWN], Seed::draw(&mut SeededRng::from_u64(1)))
    }

    #[test]
    fn a_frame_goes_to_the_port_where_its_station_was_seen() {
        let mut bridge = bridge();
        let now = Instant::from_secs(1);
        assert_eq!(bridge.decide(now, station(1), A), Decision::Flood);
        bridge.learn(now, station(1), B);
        assert_eq!(bridge.decide(now, station(1), A), Decision::Port(B));
        assert_eq!(bridge.decide(now, station(1), B), Decision::Same);
        bridge.learn(now, station(1), A);
        assert_eq!(bridge.decide(now, station(1), B), Decision::Port(A), "it has moved");
        assert_eq!((bridge.len(), bridge.is_empty()), (1, false));
    }

    #[test]
    fn the_routers_own_frames_and_groups() {
        let bridge = bridge();
        let now = Instant::ZERO;
        assert_eq!(bridge.decide(now, OWN, A), Decision::Local);
        assert_eq!(bridge.decide(now, Mac::BROADCAST, A), Decision::LocalAndFlood);
        assert_eq!(bridge.decide(now, Mac([1, 0, 0x5e, 0, 0, 251]), A), Decision::LocalAndFlood);
        assert_eq!(bridge.decide(now, Mac([1, 0x80, 0xc2, 0, 0, 0]), A), Decision::Local);
        assert_eq!(bridge.decide(now, Mac([1, 0x80, 0xc2, 0, 0, 0x0f]), A), Decision::Local);
        assert_eq!(bridge.decide(now, Mac([1, 0x80, 0xc2, 0, 0, 0x10]), A), Decision::LocalAndFlood);
    }

    #[test]
    fn groups_and_the_routers_own_addresses_are_never_learned() {
        let mut bridge = bridge();
        for source in [OWN, Mac::BROADCAST, Mac([1, 0, 0x5e, 0, 0, 1]), Mac([0; 6])] {
            bridge.learn(Instant::ZERO, source, B);
        }
        assert!(bridge.is_empty());
        assert_eq!(bridge.decide(Instant::ZERO, OWN, A), Decision::Local);
    }

    #[test]
    fn a_silent_station_is_forgotten_after_300_s() {
        let mut bridge = bridge();
        bridge.learn(Instant::ZERO, station(1), B);
        bridge.learn(Instant::from_secs(200), station(2), B);
        assert_eq!(bridge.poll_timeout(), Some(Instant::from_secs(300)));
        assert_eq!(bridge.decide(Instant::from_secs(299), station(1), A), Decision::Port(B));
        assert_eq!(bridge.decide(Instant::from_secs(300), station(1), A), Decision::Flood);
        bridge.handle_timeout(Instant::from_secs(299), |_| ());
        assert_eq!(bridge.len(), 2);
        bridge.handle_timeout(Instant::from_secs(300), |_| ());
        assert_eq!(bridge.len(), 1);
        assert_eq!(bridge.poll_timeout(), Some(Instant::from_secs(500)));
        bridge.handle_timeout(Instant::from_secs(500), |_| ());
        assert!(bridge.is_empty());
        assert_eq!(bridge.poll_timeout(), None);
    }

    #[test]
    fn invented_stations_do_not_push_out_those_that_exist() {
        let mut bridge = bridge();
        bridge.learn(Instant::ZERO, station(u32::MAX), B);
        for n in 0..100_000 {
            bridge.learn(Instant::from_secs(1), station(n), A);
        }
        assert_eq!(bridge.len(), STATIONS);
        assert_eq!(bridge.decide(Instant::from_secs(1), station(u32::MAX), A), Decision::Port(B));
        bridge.learn(Instant::from_secs(2), station(u32::MAX), A);
        assert_eq!(
            bridge.decide(Instant::from_secs(2), station(u32::MAX), B),
            Decision::Port(A),
            "a known one moves"
        );
    }
}
