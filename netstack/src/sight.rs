//! What becomes of frames, shown to whoever looks for a fault.
//!
//! Somebody says what is wanted ([`Watch`]), and takes [`Sighting`]s out after each call of the gateway. A sighting is a copy of a
//! frame as it passes a [`Point`], with what has been decided about it since it was seen last ([`Fact`]). The points are the
//! router's interfaces, so what a stage makes of a frame stands between two of them:
//!
//! ```text
//! port.wan0 ──▶ wan.isp ──▶ flow, NAT, filter ──▶ lan.home ──▶ port.lan0
//! (the wire)    (IP, as it came in)               (IP, as it goes out)   (the wire)
//! ```
//!
//! A frame that comes in begins a journey. Everything that happens until the router is done with it bears the journey's
//! number: segments and fragments, an error sent back, the answer of the router's own, a packet that has waited for this very
//! ARP reply. What the router does of itself, when a timer runs out, is a journey without an arrival.
//!
//! Every sighting begins at an Ethernet header, so that one file has one link type, which tcpdump asks for. A packet that has none where it
//! is seen gets one of zeros and its ethertype.
//!
//! While everything is watched each frame is run to completion before the next one, and takes the long way, which asks
//! every question anew and decides no otherwise. While nobody looks there is one branch at each place that could show something, and on
//! the short way one for a whole batch.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr};

use crate::forward::offload::Ends;
use crate::frame::Frame;
use crate::id::{Interface, LanId, Mac, PortId, WanId, Zone};
use crate::ledger::DropReason;
use crate::settings::{Action, RuleId, Settings};
use crate::wire::ethernet::{Header, ethertype};
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::Ipv6;

/// Most sightings that wait to be taken out.
pub const MOST: usize = 8192;
/// Most octets in them.
pub const MOST_OCTETS: usize = 16 << 20;
/// Most drops that wait to be taken out while nothing else is watched: who floods us does not fill a memory with it.
pub const MOST_DROPS: usize = 64;
/// Most facts of one sighting.
const MOST_FACTS: usize = 32;

/// What is to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Watch {
    /// Nothing. It costs nothing.
    #[default]
    Nothing,
    /// Dropped frames, the first ones of each call.
    Drops,
    /// Every frame at every point.
    Everything,
}

/// Where a frame is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Point {
    /// On the wire of a port.
    Port(PortId),
    /// At an interface: a whole IP packet. Received, it is as it came out of its encapsulation; sent, as it goes into it. At
    /// [`Interface::Router`] it is what the router itself takes in or says, which may be other than IP.
    Interface(Interface),
    /// Where dropped frames end. Seen is the frame as it came in, if it did.
    Drop,
}

/// A frame at a point.
#[derive(Debug, Clone)]
pub struct Sighting {
    /// Number of the journey, from 1.
    pub journey: u64,
    /// Where it was seen.
    pub point: Point,
    /// It left the router there; otherwise it came in.
    pub sent: bool,
    /// A copy. It begins at an Ethernet header, one of zeros where it had none.
    pub frame: Frame,
    /// What was decided about it since the journey's sighting before this one.
    pub facts: Vec<Fact>,
    /// Sightings that were lost before this one, because nobody had taken out those before.
    pub lost_before: u64,
}

/// What was decided about a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// Its flow.
    Flow {
        /// It begins with this packet; otherwise it was known.
        is_new: bool,
        /// IP protocol number.
        protocol: u8,
        /// The packet's ends as it came in.
        before: Ends,
        /// Its ends as it goes out.
        after: Ends,
        /// What it came in by.
        from: String,
        /// What it goes out by.
        to: String,
        /// The kernel path carries this direction.
        in_kernel: bool,
    },
    /// One of the configuration's rules decided.
    Rule {
        /// Which one.
        rule: RuleId,
        /// What it says.
        action: Action,
    },
    /// None of the configuration's rules matched; the built-in ones decided.
    BuiltIn {
        /// From this zone.
        from: Zone,
        /// To this zone.
        to: Zone,
        /// It may pass.
        accepted: bool,
    },
    /// A mapping, or a `[[port-forward]]`, leads it inside.
    Inbound {
        /// The port outside.
        port: u16,
        /// Whom it is led to.
        to: (Ipv4Addr, u16),
        /// It is one of the configuration.
        is_forward: bool,
    },
    /// The mapping by which its source is translated.
    Mapping {
        /// It is made for this packet.
        is_new: bool,
        /// Address and port inside.
        inside: (Ipv4Addr, u16),
        /// Port outside.
        port: u16,
        /// The uplink or VPN.
        wan: String,
    },
    /// The MSS option of its SYN was lowered, in octets.
    MssClamped {
        /// To this.
        to: u16,
    },
    /// It was cut into fragments.
    Fragmented {
        /// Of at most this many octets.
        mtu: u16,
    },
    /// Who gets it next.
    NextHop {
        /// The address.
        address: IpAddr,
        /// Its station; `None` when it is asked for, and the packet waits.
        station: Option<Mac>,
    },
    /// It waits for a handshake with the peer.
    WaitsForKeys {
        /// The peer's VPN.
        vpn: String,
    },
    /// A VPN's message was opened, or made of a packet.
    Tunnel {
        /// The VPN.
        vpn: String,
        /// The peer's number in the configuration, from 1.
        peer: u16,
        /// It was sealed; otherwise opened.
        sealed: bool,
    },
    /// The router looks at it itself.
    HandedUp {
        /// As what.
        what: &'static str,
    },
    /// Its sender is told that it did not pass.
    SenderTold {
        /// By what.
        what: &'static str,
    },
    /// The router says it of its own accord, or in answer.
    Own,
    /// It ends here.
    Dropped(DropReason),
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fact::Flow { is_new, protocol, before, after, from, to, in_kernel } => {
                let name = Protocol(*protocol);
                let found = if *is_new { "new flow" } else { "known flow" };
                write!(f, "{found} {name} {before} from {from} to {to}")?;
                if before != after {
                    write!(f, ", there {after}")?;
                }
                if *in_kernel { write!(f, ", carried by the kernel path") } else { Ok(()) }
            }
            Fact::Rule { rule, action } => {
                let verdict = match action {
                    Action::Accept => "accepts it",
                    Action::Drop => "drops it",
                    Action::Reject => "rejects it",
                };
                write!(f, "{rule} {verdict}")
            }
            Fact::BuiltIn { from, to, accepted } => {
                let verdict = if *accepted { "accepted" } else { "dropped" };
                let (from, to) = (zone(*from), zone(*to));
                write!(f, "no [[filter]] matches; from {from} to {to} is {verdict}")
            }
            Fact::Inbound { port, to: (address, inside), is_forward } => {
                let what = if *is_forward { "[[port-forward]]" } else { "mapping" };
                write!(f, "{what} of port {port} to {address}:{inside}")
            }
            Fact::Mapping { is_new, inside: (address, inside), port, wan } => {
                let found = if *is_new { "new mapping" } else { "mapping" };
                write!(f, "{found} of {address}:{inside} to port {port} of {wan}")
            }
            Fact::MssClamped { to } => write!(f, "MSS lowered to {to}"),
            Fact::Fragmented { mtu } => write!(f, "cut into fragments of {mtu} octets"),
            Fact::NextHop { address, station: Some(station) } => write!(f, "next hop {address} at {station}"),
            Fact::NextHop { address, station: None } => {
                write!(f, "next hop {address} is asked for, the packet waits")
            }
            Fact::WaitsForKeys { vpn } => write!(f, "waits for the handshake of {vpn}"),
            Fact::Tunnel { vpn, peer, sealed: true } => write!(f, "sealed for peer {peer} of {vpn}"),
            Fact::Tunnel { vpn, peer, sealed: false } => write!(f, "opened, from peer {peer} of {vpn}"),
            Fact::HandedUp { what } => write!(f, "for the router: {what}"),
            Fact::SenderTold { what } => write!(f, "its sender is told: {what}"),
            Fact::Own => f.write_str("the router's own"),
            Fact::Dropped(reason) => write!(f, "dropped, {}:{}", reason.name(), reason.describe()),
        }
    }
}

impl fmt::Display for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = |(address, port): (IpAddr, u16)| core::net::SocketAddr::new(address, port);
        write!(f, "{} > {}", end(self.source), end(self.destination))
    }
}

/// A protocol by the name that people know.
struct Protocol(u8);

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("ICMP"),
            6 => f.write_str("TCP"),
            17 => f.write_str("UDP"),
            58 => f.write_str("ICMPv6"),
            number => write!(f, "protocol {number}"),
        }
    }
}

fn zone(zone: Zone) -> &'static str {
    match zone {
        Zone::Lan => "lan",
        Zone::Wan => "wan",
        Zone::Concentrator => "concentrator",
        Zone::Router => "router",
        Zone::Vpn => "vpn",
    }
}

/// What things are called in the configuration.
#[derive(Debug, Clone, Default)]
pub struct Names {
    wans: Vec<String>,
    lans: Vec<String>,
    vpns: Vec<String>,
}

impl Names {
    /// Those of `settings`.
    pub fn new(settings: &Settings) -> Names {
        Names {
            wans: settings.wans.iter().map(|wan| wan.name.clone()).collect(),
            lans: settings.lans.iter().map(|lan| lan.name.clone()).collect(),
            vpns: settings.vpns.iter().map(|vpn| vpn.name.clone()).collect(),
        }
    }

    /// The LAN or uplink that bears such a name: `wan.isp`.
    pub fn find(&self, name: &str) -> Option<Interface> {
        let place = |names: &[String], name: &str| {
            let index = names.iter().position(|known| known == name)?;
            u16::try_from(index).ok()
        };
        match name.split_once('.')? {
            ("lan", name) => Some(Interface::Lan(LanId(place(&self.lans, name)?))),
            ("wan", name) => Some(Interface::Wan(WanId(place(&self.wans, name)?))),
            _ => None,
        }
    }

    /// An interface's name, as the points of captures bear it: `wan.isp`.
    pub fn of(&self, interface: Interface) -> String {
        let name = |kind: &str, names: &[String], index: usize| {
            alloc::format!("{kind}.{}", names.get(index).map_or("?", String::as_str))
        };
        match interface {
            Interface::Lan(lan) => name("lan", &self.lans, lan.index()),
            Interface::Wan(wan) => name("wan", &self.wans, wan.index()),
            Interface::Vpn(vpn) => name("vpn", &self.vpns, vpn.index()),
            Interface::Subscriber(_) => "subscribers".into(),
            Interface::Router => "router".into(),
        }
    }
}

/// What has been seen and not yet taken out.
#[derive(Debug)]
pub(crate) struct Sight {
    names: Names,
    watch: Watch,
    journey: u64,
    /// The frame with which the journey began.
    arrival: Option<Frame>,
    facts: Vec<Fact>,
    seen: VecDeque<Sighting>,
    octets: usize,
    lost: u64,
}

impl Sight {
    /// Sees nothing yet.
    pub fn new(names: &Names, watch: Watch) -> Box<Sight> {
        Box::new(Sight {
            names: names.clone(),
            watch,
            journey: 0,
            arrival: None,
            facts: Vec::new(),
            seen: VecDeque::new(),
            octets: 0,
            lost: 0,
        })
    }

    /// Changes what is to be seen.
    pub fn set(&mut self, watch: Watch) {
        self.watch = watch;
    }

    /// True while every frame is to be seen at every point.
    pub fn is_everything(&self) -> bool {
        self.watch == Watch::Everything
    }

    /// Begins a journey, of a frame that came in or without one.
    pub fn begin(&mut self, arrival: Option<&Frame>) {
        self.journey = self.journey.wrapping_add(1);
        self.arrival = arrival.map(copy);
        self.facts.clear();
    }

    /// Notes a fact about the frame that is under way.
    pub fn note(&mut self, fact: impl FnOnce(&Names) -> Fact) {
        if self.is_everything() && self.facts.len() < MOST_FACTS {
            let fact = fact(&self.names);
            self.facts.push(fact);
        }
    }

    /// What was noted since the last sighting.
    pub fn take_facts(&mut self) -> Vec<Fact> {
        core::mem::take(&mut self.facts)
    }

    /// Sees an Ethernet frame at a point.
    pub fn see(&mut self, point: Point, sent: bool, frame: &Frame) {
        if self.is_everything() {
            self.add(point, sent, copy(frame));
        }
    }

    /// Sees an IP packet at an interface.
    pub fn see_packet(&mut self, interface: Interface, sent: bool, packet: &Frame) {
        if self.is_everything() {
            self.add(Point::Interface(interface), sent, framed(packet));
        }
    }

    /// Sees what the router itself is to look at: an IP packet, or else the frame that brought it.
    pub fn see_punt(&mut self, is_packet: bool, frame: &Frame) {
        if self.is_everything() {
            let seen = match &self.arrival {
                Some(arrival) if !is_packet => copy(arrival),
                _ if is_packet => framed(frame),
                _ => copy(frame),
            };
            self.add(Point::Interface(Interface::Router), false, seen);
        }
    }

    /// Sees a frame that is dropped.
    pub fn see_drop(&mut self, frame: &Frame, reason: DropReason) {
        if self.watch == Watch::Drops && self.seen.len() >= MOST_DROPS {
            self.lost = self.lost.saturating_add(1);
            return;
        }
        if self.facts.len() < MOST_FACTS {
            self.facts.push(Fact::Dropped(reason));
        }
        let seen = match &self.arrival {
            Some(arrival) => copy(arrival),
            None if is_packet(frame.bytes()) => framed(frame),
            None => copy(frame),
        };
        self.add(Point::Drop, false, seen);
    }

    fn add(&mut self, point: Point, sent: bool, frame: Frame) {
        let facts = core::mem::take(&mut self.facts);
        let octets = self.octets.saturating_add(frame.len());
        if self.seen.len() >= MOST || octets > MOST_OCTETS {
            self.lost = self.lost.saturating_add(1);
            return;
        }
        self.octets = octets;
        let lost_before = core::mem::take(&mut self.lost);
        self.seen.push_back(Sighting { journey: self.journey, point, sent, frame, facts, lost_before });
    }

    /// The next sighting.
    pub fn poll(&mut self) -> Option<Sighting> {
        let sighting = self.seen.pop_front()?;
        self.octets = self.octets.saturating_sub(sighting.frame.len());
        Some(sighting)
    }
}

fn copy(frame: &Frame) -> Frame {
    let mut copy = Frame::from_bytes(frame.bytes());
    copy.offload = frame.offload;
    copy
}

/// A copy of an IP packet behind an Ethernet header.
fn framed(packet: &Frame) -> Frame {
    let mut copy = copy(packet);
    let is_v6 = packet.bytes().first().is_some_and(|first| first >> 4 == 6);
    let ethertype = if is_v6 { ethertype::IPV6 } else { ethertype::IPV4 };
    // A fresh copy has headroom.
    Header { destination: Mac::default(), source: Mac::default(), ethertype }.push(&mut copy);
    copy
}

/// True for what is an IP packet rather than an Ethernet frame, whose first address may look like one.
fn is_packet(bytes: &[u8]) -> bool {
    use ethertype::{ARP, IPV4, IPV6, PPPOE_DISCOVERY, PPPOE_SESSION, VLAN};
    let is_frame = Header::parse(bytes).is_some_and(|(header, _)| {
        matches!(header.ethertype, ARP | IPV4 | IPV6 | PPPOE_DISCOVERY | PPPOE_SESSION | VLAN)
    });
    !is_frame && (Ipv4::parse(bytes).is_some() || Ipv6::parse(bytes).is_some())
}

#[cfg(test)]
mod tests;
