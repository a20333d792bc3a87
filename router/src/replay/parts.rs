//! What is in a frame, as far as a replay has to know: read by the core's own views, and written back.
//!
//! Everything here takes any octets. What cannot be read is [`Body::Other`], what cannot be written stays as it was.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use genkan_netstack::id::Mac;
use genkan_netstack::wire::checksum::Sum;
use genkan_netstack::wire::ethernet::{Header, ethertype};
use genkan_netstack::wire::ipv4::{self, Ipv4};
use genkan_netstack::wire::ipv6::{self, Ipv6};
use genkan_netstack::wire::octets::{set_u16, u8_at, u16_at};
use genkan_netstack::wire::ppp::{Packet, code, protocol};
use genkan_netstack::wire::pppoe::{Discovery, HEADER_LEN, SessionPacket, tag};

pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const ICMP: u8 = 1;
pub(super) const ICMPV6: u8 = 58;

/// UDP ports.
pub(super) mod service {
    pub const DNS: u16 = 53;
    pub const DHCP_SERVER: u16 = 67;
    pub const DHCP_CLIENT: u16 = 68;
    pub const DHCP6_CLIENT: u16 = 546;
    pub const DHCP6_SERVER: u16 = 547;
}

/// Types of ICMPv6 messages (RFC 4861 §4).
pub(super) mod nd {
    pub const ROUTER_ADVERTISEMENT: u8 = 134;
    pub const SOLICITATION: u8 = 135;
    pub const ADVERTISEMENT: u8 = 136;
}

/// A frame that has an Ethernet header.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts<'a> {
    pub destination: Mac,
    pub source: Mac,
    /// Where the Ethernet payload begins, behind tags.
    pub at: usize,
    pub body: Body<'a>,
}

/// What a frame carries.
#[derive(Debug, Clone, Copy)]
pub(super) enum Body<'a> {
    Discovery(Discovery<'a>),
    /// A PPP control packet.
    Ppp {
        session: u16,
        protocol: u16,
        packet: Packet<'a>,
    },
    /// A session packet of a protocol whose packets have no code.
    PppOther {
        session: u16,
        protocol: u16,
    },
    /// `session` of PPPoE, when it is in one.
    Ip {
        session: Option<u16>,
        ip: Ip<'a>,
    },
    /// The sender's and the target's address.
    Arp {
        request: bool,
        sender: Ipv4Addr,
        station: Mac,
        target: Ipv4Addr,
    },
    Other,
}

/// An IP packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ip<'a> {
    /// Where it begins in the frame.
    pub at: usize,
    pub source: IpAddr,
    pub destination: IpAddr,
    pub protocol: u8,
    /// Where its transport begins in the frame.
    pub transport_at: usize,
    /// Its transport; empty in a later fragment.
    pub transport: &'a [u8],
    pub is_fragment: bool,
}

impl<'a> Parts<'a> {
    pub fn of(frame: &'a [u8]) -> Option<Self> {
        let (header, mut payload) = Header::parse(frame)?;
        let (mut ethertype, mut at) = (header.ethertype, Header::LEN);
        for _ in 0..2 {
            if matches!(ethertype, ethertype::VLAN | ethertype::SERVICE_VLAN) {
                ethertype = u16_at(payload, 2)?;
                payload = payload.get(4..)?;
                at += 4;
            }
        }
        let body = Body::of(ethertype, payload, at).unwrap_or(Body::Other);
        Some(Parts { destination: header.destination, source: header.source, at, body })
    }

    /// The session that it belongs to.
    pub fn session(&self) -> Option<u16> {
        match self.body {
            Body::Ppp { session, .. } | Body::PppOther { session, .. } => Some(session),
            Body::Ip { session, .. } => session,
            Body::Discovery(_) | Body::Arp { .. } | Body::Other => None,
        }
    }
}

impl<'a> Body<'a> {
    fn of(ethertype: u16, payload: &'a [u8], at: usize) -> Option<Body<'a>> {
        Some(match ethertype {
            ethertype::PPPOE_DISCOVERY => Body::Discovery(Discovery::parse(payload)?),
            ethertype::PPPOE_SESSION => {
                let SessionPacket { session, packet } = SessionPacket::parse(payload)?;
                let number = u16_at(packet, 0)?;
                let at = at + HEADER_LEN + 2;
                match number {
                    protocol::IPV4 | protocol::IPV6 => {
                        Body::Ip { session: Some(session), ip: Ip::of(packet.get(2..)?, at)? }
                    }
                    protocol::LCP | protocol::IPCP | protocol::IPV6CP | protocol::PAP | protocol::CHAP => {
                        let packet = Packet::parse(packet.get(2..)?)?;
                        Body::Ppp { session, protocol: number, packet }
                    }
                    _ => Body::PppOther { session, protocol: number },
                }
            }
            ethertype::IPV4 | ethertype::IPV6 => Body::Ip { session: None, ip: Ip::of(payload, at)? },
            ethertype::ARP => {
                let &[0, 1, 8, 0, 6, 4, 0, operation] = payload.first_chunk()? else { return None };
                let address = |at: usize| -> Option<Ipv4Addr> {
                    Some(Ipv4Addr::from(*payload.get(at..)?.first_chunk::<4>()?))
                };
                Body::Arp {
                    request: operation == 1,
                    sender: address(14)?,
                    station: Mac::read(payload.get(8..)?)?,
                    target: address(24)?,
                }
            }
            _ => return None,
        })
    }
}

impl<'a> Ip<'a> {
    fn of(packet: &'a [u8], at: usize) -> Option<Ip<'a>> {
        match packet.first()? >> 4 {
            4 => {
                let view = Ipv4::parse(packet)?;
                let transport = if view.fragment_offset() == 0 { view.payload() } else { &[] };
                Some(Ip {
                    at,
                    source: view.source().into(),
                    destination: view.destination().into(),
                    protocol: view.protocol(),
                    transport_at: at + view.header_len(),
                    transport,
                    is_fragment: view.is_fragment(),
                })
            }
            6 => {
                let view = Ipv6::parse(packet)?;
                // MLD has a hop-by-hop header; behind anything else nothing is looked for.
                let hop_by_hop = view.next_header() == ipv6::HOP_BY_HOP;
                let (protocol, transport) = match view.icmp_after_hop_by_hop() {
                    Some(message) if hop_by_hop => (ICMPV6, message),
                    _ => (view.next_header(), view.payload()),
                };
                let end = at + ipv6::HEADER + view.payload().len();
                Some(Ip {
                    at,
                    source: view.source().into(),
                    destination: view.destination().into(),
                    protocol,
                    transport_at: end.checked_sub(transport.len())?,
                    transport,
                    is_fragment: view.next_header() == ipv6::FRAGMENT,
                })
            }
            _ => None,
        }
    }

    /// Source and destination port, and the payload, of a whole UDP datagram.
    pub fn udp(&self) -> Option<(u16, u16, &'a [u8])> {
        if self.protocol != UDP || self.is_fragment {
            return None;
        }
        let length = usize::from(u16_at(self.transport, 4)?);
        let payload = self.transport.get(..length)?.get(8..)?;
        Some((u16_at(self.transport, 0)?, u16_at(self.transport, 2)?, payload))
    }

    /// The type of an ICMPv6 message.
    pub fn icmp6(&self) -> Option<u8> {
        if self.protocol == ICMPV6 { u8_at(self.transport, 0) } else { None }
    }
}

/// What a frame is for: two routers in the same place send frames of the same key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Discovery { code: u8 },
    Ppp { session: u16, protocol: u16, code: u8 },
    Arp { request: bool, target: Ipv4Addr },
    Dhcp4 { kind: u8, to: Mac },
    Dhcp6 { kind: u8, to_server: bool },
    Icmp6 { kind: u8, target: Option<Ipv6Addr> },
    Dns { name: Vec<u8>, kind: u16, asked: bool },
    Data(u64),
    Other(u64),
}

impl Key {
    pub fn of(frame: &[u8], parts: &Parts<'_>) -> Key {
        match parts.body {
            Body::Discovery(packet) => Key::Discovery { code: packet.code.value() },
            Body::Ppp { session, protocol, packet } => Key::Ppp { session, protocol, code: packet.code() },
            Body::PppOther { session, protocol } => Key::Ppp { session, protocol, code: 0 },
            Body::Arp { request, target, .. } => Key::Arp { request, target },
            Body::Ip { ip, .. } => Key::of_packet(&ip),
            Body::Other => Key::Other(hash(frame.get(12..).unwrap_or_default())),
        }
    }

    fn of_packet(ip: &Ip<'_>) -> Key {
        if let Some(kind) = ip.icmp6()
            && !matches!(kind, 128 | 129)
        {
            let solicits = matches!(kind, nd::SOLICITATION | nd::ADVERTISEMENT);
            let target = ip.transport.get(8..).and_then(|rest| rest.first_chunk::<16>()).copied();
            // A link-local address may be drawn.
            let target = target.map(Ipv6Addr::from).filter(|t| solicits && !t.is_unicast_link_local());
            return Key::Icmp6 { kind, target };
        }
        match ip.udp() {
            Some((
                service::DHCP_CLIENT | service::DHCP_SERVER,
                service::DHCP_CLIENT | service::DHCP_SERVER,
                body,
            )) => {
                let to = body.get(28..).and_then(Mac::read).unwrap_or_default();
                Key::Dhcp4 { kind: dhcp4_kind(body).unwrap_or_default(), to }
            }
            Some((_, to @ (service::DHCP6_SERVER | service::DHCP6_CLIENT), body)) => {
                let kind = body.first().copied().unwrap_or_default();
                Key::Dhcp6 { kind, to_server: to == service::DHCP6_SERVER }
            }
            Some((from, to, body)) if from == service::DNS || to == service::DNS => match question(body) {
                Some((name, kind)) => {
                    Key::Dns { name: name.to_ascii_lowercase(), kind, asked: to == service::DNS }
                }
                None => Key::Data(fingerprint(ip)),
            },
            _ => Key::Data(fingerprint(ip)),
        }
    }
}

/// What of a packet does not change when it is translated: its destination and all that is behind the ports. Checksums and
/// the source's port, or ICMP's identifier, are left out.
fn fingerprint(ip: &Ip<'_>) -> u64 {
    let skips = |at: usize| match ip.protocol {
        TCP => at < 2 || (16..18).contains(&at),
        UDP => at < 2 || (6..8).contains(&at),
        ICMP | ICMPV6 => (2..6).contains(&at),
        _ => false,
    };
    let mut hasher = DefaultHasher::new();
    (ip.protocol, ip.destination).hash(&mut hasher);
    for (at, octet) in ip.transport.iter().enumerate() {
        if !skips(at) {
            hasher.write_u8(*octet);
        }
    }
    hasher.finish()
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// The value of option 53 of a DHCP message.
pub(super) fn dhcp4_kind(message: &[u8]) -> Option<u8> {
    dhcp4_options(message).find(|(_, code, _)| *code == 53).and_then(|(_, _, value)| value.first().copied())
}

/// The options of a DHCP message: where each begins in it, its code and value.
pub(super) fn dhcp4_options(message: &[u8]) -> impl Iterator<Item = (usize, u8, &[u8])> {
    let mut at = 240;
    std::iter::from_fn(move || {
        while message.get(at) == Some(&0) {
            at += 1;
        }
        let (start, code) = (at, *message.get(at)?);
        let length = usize::from(*message.get(at + 1)?);
        let value = message.get(at + 2..)?.get(..length)?;
        at += 2 + length;
        (code != 255).then_some((start, code, value))
    })
}

/// The options of a list of DHCPv6 options: where the value of each begins in it, its code and value.
pub(super) fn dhcp6_options(list: &[u8]) -> impl Iterator<Item = (usize, u16, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let (code, length) = (u16_at(list, at)?, usize::from(u16_at(list, at + 2)?));
        let value = list.get(at + 4..)?.get(..length)?;
        let start = at + 4;
        at = start + length;
        Some((start, code, value))
    })
}

/// The name in the only question of a DNS message, as it is written there, and its type.
pub(super) fn question(message: &[u8]) -> Option<(&[u8], u16)> {
    if u16_at(message, 4)? != 1 {
        return None;
    }
    let body = message.get(12..)?;
    let mut at = 0;
    loop {
        match usize::from(*body.get(at)?) {
            0 => break,
            length @ 1..=63 => at += 1 + length,
            _ => return None,
        }
    }
    Some((body.get(..=at)?, u16_at(body, at + 1)?))
}

/// Frames of the same meaning have the same octets here: what is drawn at random, counts, or follows from that, is zero.
pub(super) fn meaning(frame: &[u8]) -> Vec<u8> {
    let mut bytes = frame.to_vec();
    let Some(parts) = Parts::of(frame) else { return bytes };
    let mut blank = |from: usize, length: usize| {
        if let Some(octets) = bytes.get_mut(from..).and_then(|rest| rest.get_mut(..length)) {
            octets.fill(0);
        }
    };
    match parts.body {
        Body::Discovery(packet) => return discovery_meaning(frame, &parts, packet),
        Body::Ppp { protocol: number, packet, .. } => {
            let start = parts.at + HEADER_LEN + 2;
            let end = start + packet.bytes().len();
            // Answers bear the identifier of what they answer; that is the peer's.
            let asks = number == protocol::PAP || matches!(packet.code(), 1 | 5 | 7 | 8 | 9);
            if asks {
                blank(start + 1, 1);
            }
            match (number, packet.code()) {
                (protocol::LCP, code::ECHO_REQUEST | code::ECHO_REPLY | code::DISCARD_REQUEST) => {
                    blank(start + 4, 4)
                }
                (protocol::LCP | protocol::IPV6CP, code::CONFIGURE_REQUEST) => {
                    let drawn = if number == protocol::LCP { 5 } else { 1 };
                    let mut at = start + 4;
                    for option in
                        genkan_netstack::wire::ppp::Options::parse(packet.data()).into_iter().flatten()
                    {
                        if option.kind == drawn {
                            blank(at + 2, option.data.len());
                        }
                        at += option.bytes.len();
                    }
                }
                // What proves the password depends on what was drawn, and a capture of ours has it blanked.
                (protocol::CHAP, 2) => blank(start + 5, packet.data().len().saturating_sub(1)),
                (protocol::PAP, 1) => {
                    let name = packet.data().first().copied().map_or(0, usize::from);
                    blank(start + 5 + name, packet.data().len().saturating_sub(name + 1));
                }
                _ => {}
            }
            // Ethernet's padding.
            bytes.truncate(end);
        }
        Body::Ip { ip, .. } => packet_meaning(&ip, &mut blank),
        Body::Arp { .. } => bytes.truncate(parts.at + 28),
        Body::PppOther { .. } | Body::Other => {}
    }
    bytes
}

/// Code, session and the tags that say something, in order of their type.
fn discovery_meaning(frame: &[u8], parts: &Parts<'_>, packet: Discovery<'_>) -> Vec<u8> {
    let mut tags: Vec<(u16, &[u8])> = packet
        .tags()
        .filter(|tag| !matches!(tag.kind, tag::HOST_UNIQ | tag::AC_COOKIE | tag::RELAY_SESSION_ID))
        .map(|tag| (tag.kind, tag.value))
        .collect();
    tags.sort_unstable();
    let mut bytes = frame.get(..parts.at).unwrap_or_default().to_vec();
    bytes.push(packet.code.value());
    bytes.extend(packet.session.to_be_bytes());
    for (kind, value) in tags {
        bytes.extend(kind.to_be_bytes());
        bytes.extend(value);
    }
    bytes
}

fn packet_meaning(ip: &Ip<'_>, blank: &mut impl FnMut(usize, usize)) {
    let transport = ip.transport_at;
    if ip.source.is_ipv4() {
        // Identification and header checksum.
        blank(ip.at + 4, 2);
        blank(ip.at + 10, 2);
    }
    if let IpAddr::V6(source) = ip.source
        && source.is_unicast_link_local()
    {
        blank(ip.at + 8, 16);
    }
    match ip.protocol {
        TCP => {
            blank(transport, 2);
            blank(transport + 16, 2);
        }
        UDP => {
            blank(transport + 6, 2);
            match ip.udp() {
                Some((_, service::DHCP_SERVER, _)) => {
                    blank(transport + 8 + 4, 6);
                }
                Some((_, service::DHCP6_SERVER, message)) => {
                    blank(transport + 8 + 1, 3);
                    for (at, code, value) in dhcp6_options(message.get(4..).unwrap_or_default()) {
                        let place = transport + 8 + 4 + at;
                        match code {
                            3 | 25 => blank(place, 4),
                            8 => blank(place, value.len()),
                            _ => {}
                        }
                    }
                }
                Some((_, service::DNS, message)) => {
                    blank(transport, 2);
                    blank(transport + 8, 2);
                    let name = question(message).map_or(0, |(name, _)| name.len());
                    blank(transport + 8 + 12, name);
                }
                Some(_) => blank(transport, 2),
                None => {}
            }
        }
        ICMP => blank(transport + 2, 4),
        ICMPV6 => {
            blank(transport + 2, 2);
            if ip.icmp6().is_some_and(|kind| matches!(kind, 128 | 129)) {
                blank(transport + 4, 2);
            }
        }
        _ => {}
    }
}

/// The frame with another PPP control packet in its PPPoE session.
pub(super) fn with_packet(frame: &[u8], at: usize, packet: &[u8]) -> Vec<u8> {
    let mut bytes = frame.get(..at + HEADER_LEN + 2).unwrap_or_default().to_vec();
    bytes.extend(packet);
    let length = u16::try_from(packet.len() + 2).unwrap_or(u16::MAX);
    set_u16(&mut bytes, at + 4, length);
    bytes
}

/// A PPP control packet of these parts.
pub(super) fn packet(code: u8, identifier: u8, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len() + 4).unwrap_or(u16::MAX).to_be_bytes();
    [&[code, identifier], &length[..], data].concat()
}

/// The discovery frame with other tags.
pub(super) fn with_tags(frame: &[u8], at: usize, tags: &[(u16, &[u8])]) -> Vec<u8> {
    let mut bytes = frame.get(..at + HEADER_LEN).unwrap_or_default().to_vec();
    for (kind, value) in tags {
        bytes.extend(kind.to_be_bytes());
        bytes.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
        bytes.extend(*value);
    }
    let length = u16::try_from(bytes.len().saturating_sub(at + HEADER_LEN)).unwrap_or(u16::MAX);
    set_u16(&mut bytes, at + 4, length);
    bytes
}

/// Makes the checksums of the IP packet at `at` right again.
pub(super) fn seal(frame: &mut [u8], at: usize) {
    if frame.get(at).is_some_and(|first| first >> 4 == 4) {
        let length = frame.get(at).map_or(0, |first| usize::from(first & 15) * 4);
        if let Some(packet) = frame.get_mut(at..) {
            ipv4::write_header_checksum(packet, length);
        }
    }
    let Some(ip) = frame.get(at..).and_then(|packet| Ip::of(packet, at)) else { return };
    let Some(place) = checksum_place(&ip) else { return };
    let (start, length, udp) = (ip.transport_at, ip.transport.len(), ip.protocol == UDP);
    let pseudo = if ip.protocol == ICMP { Sum::of(&[]) } else { pseudo_header(&ip) };
    // No checksum is one, too.
    if udp && ip.source.is_ipv4() && u16_at(ip.transport, 6) == Some(0) {
        return;
    }
    set_u16(frame, start + place, 0);
    let Some(transport) = frame.get(start..).and_then(|rest| rest.get(..length)) else { return };
    let sum = Sum::of(transport).plus(pseudo);
    let checksum = if udp { sum.udp_checksum() } else { sum.checksum() };
    set_u16(frame, start + place, checksum);
}

/// Where the checksum is in the transport of a whole packet.
pub(super) fn checksum_place(ip: &Ip<'_>) -> Option<usize> {
    if ip.is_fragment || ip.transport.is_empty() {
        return None;
    }
    Some(match ip.protocol {
        TCP => 16,
        UDP => 6,
        ICMP | ICMPV6 => 2,
        _ => return None,
    })
}

/// The sum of the pseudo-header.
pub(super) fn pseudo_header(ip: &Ip<'_>) -> Sum {
    let length = ip.transport.len();
    match (ip.source, ip.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            Sum::pseudo_v4(source, destination, ip.protocol, u16::try_from(length).unwrap_or(u16::MAX))
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            Sum::pseudo_v6(source, destination, ip.protocol, u32::try_from(length).unwrap_or(u32::MAX))
        }
        _ => Sum::of(&[]),
    }
}
