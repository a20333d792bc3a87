//! What is told of the LANs' bridges, in names.

use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use super::Event;
use crate::forward::bridge::{BLOCK, BridgePort, FROM_PEER, FROM_PORT, Notice, Trouble};
use crate::id::Mac;
use crate::settings::Settings;
use crate::status::BridgeTrouble;

/// A fact about a LAN's bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BridgeEvent {
    /// Frames go round: a station is seen in two places in turn.
    Loop {
        /// The station.
        station: Mac,
        /// Where it is seen.
        between: [Place; 2],
        /// Which of the two is blocked for a while.
        blocked: Place,
    },
    /// A station is seen behind two peers in turn: frames go round, or one of the two speaks in its name.
    Held {
        /// The station.
        station: Mac,
        /// Where it is seen.
        between: [Place; 2],
        /// Where alone it is heard for a while.
        at: Place,
    },
    /// More frames for everyone come from one side than the LAN carries.
    Storm {
        /// From there.
        from: Place,
    },
}

/// Where stations are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// On the port of this name.
    Port(Arc<str>),
    /// Behind the peer of this name.
    Peer(Arc<str>),
}

impl Place {
    /// The place as the end of a sentence about where somebody is.
    fn at(&self) -> impl fmt::Display + '_ {
        fmt::from_fn(move |f| match self {
            Place::Port(name) => write!(f, "on port {name}"),
            Place::Peer(name) => write!(f, "behind peer {name}"),
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Port(name) => write!(f, "port {name}"),
            Place::Peer(name) => write!(f, "peer {name}"),
        }
    }
}

impl fmt::Display for BridgeEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BridgeEvent::Loop { station, between: [first, second], blocked } => write!(
                f,
                "there is a loop: {station} is seen {} and {} in turn; nothing passes by {blocked} for {} s",
                first.at(),
                second.at(),
                BLOCK.as_secs()
            ),
            BridgeEvent::Held { station, between: [first, second], at } => write!(
                f,
                "{station} is seen {} and {} in turn: there is a loop, or one of them speaks in its name; for {} s it is \
                 heard {} alone",
                first.at(),
                second.at(),
                BLOCK.as_secs(),
                at.at()
            ),
            BridgeEvent::Storm { from } => {
                let most = match from {
                    Place::Port(_) => FROM_PORT.per_second,
                    Place::Peer(_) => FROM_PEER.per_second,
                };
                write!(
                    f,
                    "there is a storm: {from} sends more frames for everyone than the {most} a second that pass; the \
                     rest is dropped"
                )
            }
        }
    }
}

/// The names of what belongs to a bridge.
pub(super) struct Names {
    lans: Vec<Arc<str>>,
    ports: Vec<Arc<str>>,
    /// Those of each VPN's peers.
    peers: Vec<Vec<Arc<str>>>,
}

impl Names {
    pub(super) fn new(settings: &Settings) -> Names {
        let peers = settings.vpns.iter().map(|vpn| {
            let names = vpn.peers.iter().map(|peer| peer.name.as_str().into());
            names.collect()
        });
        Names {
            lans: settings.lans.iter().map(|lan| lan.name.as_str().into()).collect(),
            ports: settings.ports.iter().map(|port| port.name.as_str().into()).collect(),
            peers: peers.collect(),
        }
    }

    /// A fact of the Forwarder's as one for the user.
    pub(super) fn event(&self, notice: Notice) -> Event {
        let (lan, event) = match notice {
            Notice::Loop { lan, station, between, blocked } => {
                let between = between.map(|port| self.place(port));
                (lan, BridgeEvent::Loop { station, between, blocked: self.place(blocked) })
            }
            Notice::Held { lan, station, between, at } => {
                let between = between.map(|port| self.place(port));
                (lan, BridgeEvent::Held { station, between, at: self.place(at) })
            }
            Notice::Storm { lan, from } => (lan, BridgeEvent::Storm { from: self.place(from) }),
        };
        Event::Bridge { lan: self.lans.get(lan.index()).cloned().unwrap_or_default(), event }
    }

    /// What is wrong with a bridge port, as status shows it.
    pub(super) fn trouble(&self, trouble: &Trouble) -> BridgeTrouble {
        BridgeTrouble {
            at: self.place(trouble.port).to_string(),
            blocked_for_s: trouble.blocked_for.map(|left| left.as_secs().max(1)),
            storm: trouble.is_storm,
        }
    }

    fn place(&self, port: BridgePort) -> Place {
        match port {
            BridgePort::Port(port) => Place::Port(self.ports.get(port.index()).cloned().unwrap_or_default()),
            BridgePort::Peer(peer) => {
                let peers = self.peers.get(peer.vpn.index());
                let name = peers.and_then(|peers| peers.get(usize::from(peer.peer)));
                Place::Peer(name.cloned().unwrap_or_default())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::control::Level;
    use crate::id::{LanId, PeerId, PortId, VpnId};

    #[test]
    fn a_loop_and_a_storm_are_told_in_a_sentence_with_names() {
        let names = Names {
            lans: vec!["home".into()],
            ports: vec!["wan0".into(), "lan0".into()],
            peers: vec![vec!["bob".into(), "ann".into()]],
        };
        let (lan0, bob) = (BridgePort::Port(PortId(1)), BridgePort::Peer(PeerId { vpn: VpnId(0), peer: 0 }));
        let ann = BridgePort::Peer(PeerId { vpn: VpnId(0), peer: 1 });
        let station = Mac([2, 0, 0, 0, 0, 7]);
        let lan = LanId(0);
        for (notice, sentence) in [
            (
                Notice::Loop { lan, station, between: [lan0, bob], blocked: bob },
                "lan home: there is a loop: 02:00:00:00:00:07 is seen on port lan0 and behind peer bob in turn; nothing \
                 passes by peer bob for 60 s",
            ),
            (
                Notice::Held { lan, station, between: [bob, ann], at: ann },
                "lan home: 02:00:00:00:00:07 is seen behind peer bob and behind peer ann in turn: there is a loop, or one of \
                 them speaks in its name; for 60 s it is heard behind peer ann alone",
            ),
            (
                Notice::Storm { lan, from: bob },
                "lan home: there is a storm: peer bob sends more frames for everyone than the 1000 a second that pass; \
                 the rest is dropped",
            ),
            (
                Notice::Storm { lan, from: lan0 },
                "lan home: there is a storm: port lan0 sends more frames for everyone than the 5000 a second that pass; \
                 the rest is dropped",
            ),
        ] {
            let event = names.event(notice);
            assert_eq!((event.to_string().as_str(), event.level()), (sentence, Level::Warning));
        }
    }
}
