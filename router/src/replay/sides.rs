//! Which port a captured frame belongs to, and whether the captured router sent it: found out by reading the capture once,
//! before anything is replayed.
//!
//! 1. An interface of a capture that bears the name of a port, or of a port's device, is that port. genkan's own captures
//!    have further points (inside a VPN, behind NAT, drops): those repeat frames that the ports have, and are left out. Every
//!    other interface is the port that the user names, or else the only one with an uplink.
//! 2. Where the capture tells directions they are believed at ports that it names. Elsewhere the router is the station that
//!    does what only a router in this place does: it sends PADI, or DHCP requests on a plain uplink, or leases on a LAN.
//! 3. On the way the capture gives what our gateway should remember as the captured one did: its DUID, the leases of its
//!    LANs, its own IPv6 prefix. Then what others say in the capture fits.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use genkan_config::Config;
use genkan_config::schema::Uplink;
use genkan_netstack::dhcp4::Lease;
use genkan_netstack::dhcp6::Duid;
use genkan_netstack::id::{Ipv6Cidr, Mac, PortId};
use genkan_netstack::state::{LanLease, State};
use genkan_netstack::time::Instant;
use genkan_netstack::wire::ppp::protocol;
use genkan_netstack::wire::pppoe::Code;

use super::Error;
use super::parts::{Body, Parts, dhcp4_kind, dhcp4_options, dhcp6_options, nd, service};
use crate::capture::Direction;
use crate::capture::reader::{LinkType, Reader, Record, Source};

/// Most stations whose address is remembered.
const STATIONS: usize = 4096;

/// What a port is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Uplinks by PPPoE.
    Dialled,
    /// A plain uplink.
    Plain,
    Lan,
    Concentrator,
    Nothing,
}

/// A port of the configuration, in the capture.
#[derive(Debug, Clone)]
pub(super) struct Side {
    pub name: String,
    device: String,
    pub role: Role,
    /// The captured router's address there, when the capture tells.
    pub mac: Option<Mac>,
    /// The router's own IPv4 address there, as it is written.
    address: Option<Ipv4Addr>,
    /// Frames of the capture that are at this port.
    pub frames: u64,
    /// The capture names the port and tells directions.
    told: bool,
}

/// Who has a lease: the Ethernet address and the client identifier.
type Client = (Mac, Option<Vec<u8>>);

/// What the capture tells of the place where it was taken.
#[derive(Debug)]
pub(super) struct Sides {
    pub sides: Vec<Side>,
    /// Where frames of an interface belong that is no port by name.
    unnamed: Option<PortId>,
    /// When the captured router first dialled, or asked for a lease.
    pub dialled_at: Option<Duration>,
    /// When it first sent anything.
    pub first_at: Option<Duration>,
    /// Frames by the link type of interfaces that are not Ethernet.
    foreign: BTreeMap<u16, u64>,
    /// Frames of further points of genkan's captures.
    pub points: u64,
    /// Ethernet addresses of stations, by port and IP address.
    pub stations: BTreeMap<(u16, IpAddr), Mac>,
    /// Most octets of a PPP packet that a peer sent.
    pub largest: usize,
    duid: Option<Duid>,
    ula: Option<Ipv6Cidr>,
    leases: BTreeMap<(u16, Ipv4Addr), Client>,
}

/// Where a frame belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub port: PortId,
    pub sent: bool,
}

impl Sides {
    /// Reads the whole capture once.
    pub fn survey(config: &Config, at: Option<&str>, reader: &mut Reader) -> Result<Sides, Error> {
        let mut sides = Sides {
            sides: config.ports.iter().map(|port| side(config, port)).collect(),
            unnamed: unnamed(config, at)?,
            dialled_at: None,
            first_at: None,
            foreign: BTreeMap::new(),
            points: 0,
            stations: BTreeMap::new(),
            largest: 0,
            duid: None,
            ula: None,
            leases: BTreeMap::new(),
        };
        let mut homeless = 0u64;
        while let Some(record) = reader.next_record() {
            match sides.port_of(&record.source) {
                Belongs::Port(port, told) => sides.look(port, told, &record),
                Belongs::Point => sides.points += 1,
                Belongs::Foreign => *sides.foreign.entry(record.source.link.0).or_default() += 1,
                Belongs::Nowhere => homeless += 1,
            }
        }
        if sides.sides.iter().all(|side| side.frames == 0) {
            return Err(sides.refusal(config, homeless, reader));
        }
        Ok(sides)
    }

    /// Where a frame belongs; `None` when it is at no port.
    pub fn place(&self, record: &Record) -> Option<Place> {
        let Belongs::Port(port, _) = self.port_of(&record.source) else { return None };
        let side = self.sides.get(port.index())?;
        let by_station = || {
            let source = record.bytes.get(6..).and_then(Mac::read);
            side.mac.is_some() && source == side.mac
        };
        let sent = match record.direction {
            Some(direction) if side.told => direction == Direction::Sent,
            _ => by_station(),
        };
        Some(Place { port, sent })
    }

    /// True when the port has an uplink.
    pub fn is_uplink(&self, port: PortId) -> bool {
        self.sides.get(port.index()).is_some_and(|side| matches!(side.role, Role::Dialled | Role::Plain))
    }

    /// What a gateway in the place of the captured one would remember.
    pub fn memory(&self, config: &Config, now: Instant) -> State {
        let leases = self.leases.iter().filter_map(|(&(port, address), (mac, client_id))| {
            let name = &self.sides.get(usize::from(port))?.name;
            let lan = config.lans.iter().find(|lan| lan.ports.contains(name))?;
            let expires = now + Duration::from_secs(600);
            let lease = Lease { mac: *mac, client_id: client_id.clone(), address, hostname: None, expires };
            Some(LanLease { lan: lan.name.clone(), lease })
        });
        State { leases: leases.collect(), duid: self.duid.clone(), ula: self.ula, ..State::default() }
    }

    /// What is left out, a sentence each.
    pub fn sentences(&self) -> Vec<String> {
        let mut sentences: Vec<String> = self
            .foreign
            .iter()
            .map(|(&link, count)| {
                format!("{count} {} frames are left out: {}.", LinkType(link), remedy(link))
            })
            .collect();
        for side in self.sides.iter().filter(|side| side.frames > 0 && side.mac.is_none() && !side.told) {
            sentences.push(format!(
                "Nothing in the capture tells which station at port {} is the router, so every frame is taken as received.",
                side.name
            ));
        }
        sentences
    }

    fn port_of(&self, source: &Source) -> Belongs {
        let name = source.name.strip_prefix("port.").unwrap_or(&source.name);
        let by =
            |test: &dyn Fn(&Side) -> bool| self.sides.iter().position(|side| !name.is_empty() && test(side));
        let named = by(&|side| side.name == name).or_else(|| by(&|side| side.device == name));
        let number = named.and_then(|index| u16::try_from(index).ok()).map(PortId);
        let is_point = matches!(name, "drop" | "router" | "subscribers")
            || ["wan.", "lan.", "vpn.", "captured."].iter().any(|prefix| name.starts_with(prefix));
        match (number, self.unnamed) {
            (None, _) if is_point => Belongs::Point,
            _ if source.link != LinkType::ETHERNET => Belongs::Foreign,
            (Some(port), _) => Belongs::Port(port, true),
            (None, Some(port)) => Belongs::Port(port, false),
            (None, None) => Belongs::Nowhere,
        }
    }

    /// Learns from a frame what it tells of the place.
    fn look(&mut self, port: PortId, told: bool, record: &Record) {
        let Some(side) = self.sides.get_mut(port.index()) else { return };
        side.frames += 1;
        side.told |= told && record.direction.is_some();
        let Some(parts) = Parts::of(&record.bytes) else { return };
        if side.told && record.direction == Some(Direction::Sent) && parts.source.is_station() {
            side.mac.get_or_insert(parts.source);
        }
        if side.mac.is_none() {
            side.mac = router(side, &parts).filter(|mac| mac.is_station());
        }
        let sent = match record.direction {
            Some(direction) if side.told => direction == Direction::Sent,
            _ => side.mac == Some(parts.source),
        };
        if sent {
            self.first_at.get_or_insert(record.at);
            self.learn_sent(port, &parts, record);
        } else {
            self.learn_received(port, &parts);
        }
    }

    fn learn_sent(&mut self, port: PortId, parts: &Parts<'_>, record: &Record) {
        let role = self.sides.get(port.index()).map_or(Role::Nothing, |side| side.role);
        match parts.body {
            Body::Discovery(packet) if packet.code == Code::Padi && role == Role::Dialled => {
                self.dialled_at.get_or_insert(record.at);
            }
            Body::Ip { ip, .. } => match (role, ip.udp()) {
                (Role::Plain, Some((_, service::DHCP_SERVER, _))) => {
                    self.dialled_at.get_or_insert(record.at);
                }
                (Role::Plain | Role::Dialled, Some((_, service::DHCP6_SERVER, message))) => {
                    let client =
                        dhcp6_options(message.get(4..).unwrap_or_default()).find(|(_, code, _)| *code == 1);
                    if self.duid.is_none() {
                        self.duid = client.and_then(|(_, _, value)| Duid::new(value));
                    }
                }
                (Role::Lan, Some((_, service::DHCP_CLIENT, message))) if dhcp4_kind(message) == Some(5) => {
                    self.learn_lease(port, message);
                }
                (Role::Lan, _) if ip.icmp6() == Some(nd::ROUTER_ADVERTISEMENT) => {
                    self.ula = self.ula.or_else(|| own_prefix(ip.transport));
                }
                _ => {}
            },
            _ => {}
        }
    }

    /// A lease that the captured router gave.
    fn learn_lease(&mut self, port: PortId, message: &[u8]) {
        let address = message.get(16..).and_then(|rest| rest.first_chunk::<4>()).copied().map(Ipv4Addr::from);
        let mac = message.get(28..).and_then(Mac::read);
        let client_id =
            dhcp4_options(message).find(|(_, code, _)| *code == 61).map(|(_, _, value)| value.to_vec());
        if let (Some(address), Some(mac)) = (address, mac)
            && !address.is_unspecified()
            && self.leases.len() < STATIONS
        {
            self.leases.entry((port.0, address)).or_insert((mac, client_id));
        }
    }

    fn learn_received(&mut self, port: PortId, parts: &Parts<'_>) {
        let station = match parts.body {
            Body::Arp { request: false, sender, station, .. } => Some((IpAddr::from(sender), station)),
            Body::Ip { session: None, ip } if ip.icmp6() == Some(nd::ADVERTISEMENT) => {
                let target = ip.transport.get(8..).and_then(|rest| rest.first_chunk::<16>()).copied();
                target.map(|target| (IpAddr::from(target), parts.source))
            }
            _ => None,
        };
        if let Some((address, mac)) = station
            && self.stations.len() < STATIONS
        {
            self.stations.entry((port.0, address)).or_insert(mac);
        }
        if let Body::Ppp { packet, .. } = parts.body {
            self.largest = self.largest.max(packet.bytes().len());
        }
    }

    /// Why nothing of the capture can be replayed.
    fn refusal(&self, config: &Config, homeless: u64, reader: &Reader) -> Error {
        let text = if let Some((&link, count)) = self.foreign.iter().next() {
            let frames = if *count == 1 { "frame" } else { "frames" };
            format!("it holds {} {frames}, no Ethernet frames: {}", LinkType(link), remedy(link))
        } else if homeless > 0 {
            let ports: Vec<&str> = config.ports.iter().map(|port| port.name.as_str()).collect();
            format!(
                "it does not say at which port it was taken: say so with --at, one of {}",
                ports.join(", ")
            )
        } else if self.points > 0 {
            "it holds no port's frames, only those of points behind the ports: capture with --at PORT"
                .to_owned()
        } else {
            let why = reader.account().sentences();
            let why = if why.is_empty() { String::new() } else { format!(". {}", why.join(" ")) };
            format!("it holds no frame{}", why.trim_end_matches('.'))
        };
        Error::Capture(text)
    }
}

/// True for a frame that begins a session or asks for a lease.
pub(super) fn is_dialling(frame: &[u8]) -> bool {
    match Parts::of(frame).map(|parts| parts.body) {
        Some(Body::Discovery(packet)) => packet.code == Code::Padi,
        Some(Body::Ip { ip, .. }) => matches!(ip.udp(), Some((_, service::DHCP_SERVER, _))),
        _ => false,
    }
}

enum Belongs {
    /// At a port; true when the capture names it.
    Port(PortId, bool),
    Point,
    Foreign,
    Nowhere,
}

fn side(config: &Config, port: &genkan_config::schema::Port) -> Side {
    let mut wans = config.wans.iter().filter(|wan| wan.port == port.name);
    let lan = config.lans.iter().find(|lan| lan.ports.contains(&port.name));
    let given = wans.clone().find_map(|wan| match &wan.uplink {
        Uplink::Static(uplink) => uplink.ipv4.as_ref().map(|segment| segment.address.address),
        Uplink::Pppoe(_) | Uplink::Dhcp => None,
    });
    let role = if wans.clone().any(|wan| matches!(wan.uplink, Uplink::Pppoe(_))) {
        Role::Dialled
    } else if wans.next().is_some() {
        Role::Plain
    } else if lan.is_some() {
        Role::Lan
    } else if config.concentrators.iter().any(|concentrator| concentrator.port == port.name) {
        Role::Concentrator
    } else {
        Role::Nothing
    };
    Side {
        name: port.name.clone(),
        device: port.device.name().to_owned(),
        role,
        mac: None,
        address: lan.map(|lan| lan.address.address).or(given),
        frames: 0,
        told: false,
    }
}

/// The port of frames that name none: the one that was said, or the only one with an uplink, or the only one.
fn unnamed(config: &Config, at: Option<&str>) -> Result<Option<PortId>, Error> {
    let number = |name: &str| {
        let index = config.ports.iter().position(|port| port.name == name)?;
        u16::try_from(index).ok().map(PortId)
    };
    if let Some(name) = at {
        let name = name.strip_prefix("port.").unwrap_or(name);
        let ports: Vec<&str> = config.ports.iter().map(|port| port.name.as_str()).collect();
        let unknown = || Error::Port(format!("there is no port {name}; the ports are {}", ports.join(", ")));
        return number(name).map(Some).ok_or_else(unknown);
    }
    let mut uplinks: Vec<&str> = config.wans.iter().map(|wan| wan.port.as_str()).collect();
    uplinks.dedup();
    Ok(match (uplinks.as_slice(), config.ports.as_slice()) {
        ([only], _) => number(only),
        (_, [only]) => number(&only.name),
        _ => None,
    })
}

/// The router's address, if this frame tells.
fn router(side: &Side, parts: &Parts<'_>) -> Option<Mac> {
    match (side.role, parts.body) {
        (Role::Dialled, Body::Discovery(packet)) => match packet.code {
            Code::Padi | Code::Padr => Some(parts.source),
            Code::Pado | Code::Pads => Some(parts.destination),
            Code::Padt => None,
        },
        (Role::Concentrator, Body::Discovery(packet)) => match packet.code {
            Code::Padr => Some(parts.destination),
            Code::Pado | Code::Pads => Some(parts.source),
            Code::Padi | Code::Padt => None,
        },
        // Who proves who it is, is the client. An MS-CHAPv2 server does not.
        (Role::Dialled, Body::Ppp { protocol: protocol::PAP, packet, .. }) if packet.code() == 1 => {
            Some(parts.source)
        }
        (Role::Dialled, Body::Ppp { protocol: protocol::CHAP, packet, .. }) if packet.code() == 2 => {
            Some(parts.source)
        }
        (Role::Plain | Role::Lan, Body::Arp { sender, .. }) if Some(sender) == side.address => {
            Some(parts.source)
        }
        (Role::Plain, Body::Ip { ip, .. }) => match ip.udp() {
            Some((service::DHCP_CLIENT, service::DHCP_SERVER, _))
            | Some((service::DHCP6_CLIENT, service::DHCP6_SERVER, _)) => Some(parts.source),
            _ => None,
        },
        (Role::Lan, Body::Ip { ip, .. }) => {
            let advertises = ip.icmp6() == Some(nd::ROUTER_ADVERTISEMENT);
            let leases = matches!(ip.udp(), Some((service::DHCP_SERVER, service::DHCP_CLIENT, _)));
            let is_it = side.address.is_some_and(|address| ip.source == IpAddr::from(address));
            (advertises || leases || is_it).then_some(parts.source)
        }
        _ => None,
    }
}

/// The site's own /48 in a Router Advertisement: unique local prefixes are made from one (RFC 4193).
fn own_prefix(message: &[u8]) -> Option<Ipv6Cidr> {
    let mut options = message.get(16..)?;
    while let [kind, length, ..] = options {
        let (kind, length) = (*kind, usize::from(*length) * 8);
        let option = options.get(..length).filter(|_| length > 0)?;
        if kind == 3 {
            let address = std::net::Ipv6Addr::from(*option.get(16..)?.first_chunk::<16>()?);
            if address.is_unique_local() {
                return Some(Ipv6Cidr { address, prefix: 48 }.network());
            }
        }
        options = options.get(length..)?;
    }
    None
}

/// What to capture instead.
fn remedy(link: u16) -> &'static str {
    match link {
        113 | 276 => {
            "the Ethernet header is not there, so discovery is not. Capture on the network card, `tcpdump -i eth0`, not on \
             `-i any`"
        }
        9 | 50 | 51 | 166 => {
            "this is inside the PPPoE session, and discovery is not in it. Capture on the network card below, not on ppp0"
        }
        12 | 101 | 228 | 229 => {
            "these packets have no Ethernet header. Capture on the network card, not on a tunnel or ppp0"
        }
        105 | 119 | 127 | 163 => "this is what the radio sends. Capture on the router's own port",
        _ => "capture on an Ethernet port",
    }
}
