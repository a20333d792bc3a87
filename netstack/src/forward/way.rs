//! How routed packets come in: what the headers before an IP packet say, found once and remembered by the port.

use crate::forward::bridge::BridgePort;
use crate::forward::ingress::PPP_AT;
use crate::forward::key::Realm;
use crate::forward::link::{ENCAPSULATION, Link, PPP_IPV4, PPP_IPV6};
use crate::forward::side::Side;
use crate::forward::{Forwarder, Ingress, Role};
use crate::id::{Family, LanId, Mac, PortId};
use crate::time::Instant;
use crate::wire::ethernet::{Header, ethertype};
use crate::wire::octets::u16_at;

/// Octets of a frame that tell its session: Ethernet and PPPoE headers without the length.
const SESSION: usize = Header::LEN + 4;

/// What the headers before an IP packet have been found to say.
#[derive(Debug, Clone, Copy)]
pub(super) struct WayIn {
    front: Front,
    from: Origin,
}

/// Where a packet has come from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin {
    link: LinkLayer,
    side: Side,
    /// The realm of its addresses.
    pub realm: Realm,
}

/// What is in front of the packet.
#[derive(Debug, Clone, Copy)]
enum LinkLayer {
    /// It is for the router, from a LAN.
    Lan,
    /// Origin this one, where there are stations to be learned.
    Bridge(LanId),
    /// It came by a session, of which this is the number.
    Session(u32),
    /// It is for the router, from the segment of a plain uplink; this is the link's number.
    Segment(u32),
}

/// The octets that all frames with a packet from the same place begin with, in three words that overlap, and which bits of the
/// latter two belong to them: Ethernet's header, or those of Ethernet, PPPoE (without its length) and PPP.
#[derive(Debug, Clone, Copy)]
struct Front {
    words: [u64; 3],
    masks: [u64; 2],
}

/// The headers of Ethernet, PPPoE and PPP. No frame with an IP packet is shorter.
type Head = [u8; ENCAPSULATION];

impl Front {
    const ETHERNET: [u64; 2] = [u64::from_ne_bytes([255, 255, 255, 255, 255, 255, 0, 0]), 0];
    const SESSION: [u64; 2] = [u64::MAX, u64::from_ne_bytes([255, 255, 255, 255, 0, 0, 255, 255])];

    fn new(head: &Head, masks: [u64; 2]) -> Front {
        let [first, second, third] = words(head);
        Front { words: [first, second & masks[0], third & masks[1]], masks }
    }

    #[inline(always)]
    fn is_of(&self, head: &Head) -> bool {
        let [first, second, third] = words(head);
        first == self.words[0]
            && second & self.masks[0] == self.words[1]
            && third & self.masks[1] == self.words[2]
    }
}

#[inline(always)]
fn words(head: &Head) -> [u64; 3] {
    let word = |at: usize| {
        let octets = head.get(at..).and_then(<[u8]>::first_chunk::<8>);
        octets.map_or(0, |octets| u64::from_ne_bytes(*octets))
    };
    [word(0), word(8), word(Header::LEN)]
}

/// Where the IP packet of a frame is, and what it came in by.
pub(super) struct Arrival {
    /// The side of its flow that it comes in by.
    pub side: Side,
    /// Where it begins.
    pub front: usize,
    /// Where it ends, with what follows it.
    pub end: usize,
    link: LinkLayer,
}

/// The family of the IP packet in a frame, by what its headers announce.
fn family_of(bytes: &[u8]) -> Option<Family> {
    match u16_at(bytes, 12)? {
        ethertype::IPV4 => Some(Family::Ipv4),
        ethertype::IPV6 => Some(Family::Ipv6),
        ethertype::PPPOE_SESSION => match u16_at(bytes, PPP_AT)? {
            PPP_IPV4 => Some(Family::Ipv4),
            PPP_IPV6 => Some(Family::Ipv6),
            _ => None,
        },
        _ => None,
    }
}

impl Forwarder {
    /// Where a frame has come from that begins like the last IPv4 packet's by `port`.
    #[inline(always)]
    pub(super) fn known_way(&self, port: PortId, bytes: &[u8]) -> Option<Origin> {
        let way = self.ports.get(port.index())?.way_in.as_ref()?;
        way.front.is_of(bytes.first_chunk()?).then_some(way.from)
    }

    /// How a frame has come in by `port`, and the family of the packet in it. `None` when it is to be looked at closer. It is
    /// noted unless `REHEARSAL`.
    pub(super) fn way<const REHEARSAL: bool>(
        &mut self,
        port: PortId,
        bytes: &[u8],
    ) -> Option<(Family, Origin)> {
        let head = bytes.first_chunk()?;
        let at = self.ports.get(port.index())?;
        match (&at.way_in, &at.way_in6) {
            (Some(way), _) if way.front.is_of(head) => Some((Family::Ipv4, way.from)),
            (_, Some(way)) if way.front.is_of(head) => Some((Family::Ipv6, way.from)),
            _ => self.find_way::<REHEARSAL>(port, bytes),
        }
    }

    /// Where the packet of a frame is that has come in by `port` from there. The station that sent it is learned, unless
    /// `REHEARSAL`.
    #[inline(always)]
    pub(super) fn arrive<const REHEARSAL: bool>(
        &mut self,
        now: Instant,
        port: PortId,
        from: Origin,
        bytes: &[u8],
    ) -> Option<Arrival> {
        let Origin { link, side, .. } = from;
        if let LinkLayer::Bridge(lan) = link
            && !REHEARSAL
        {
            // To learn it twice is to learn it once.
            let source = Mac::read(bytes.get(6..)?)?;
            if !self.learn(now, lan, source, BridgePort::Port(port)) {
                return None;
            }
        }
        let (front, end) = match link {
            LinkLayer::Session(_) => {
                (ENCAPSULATION, PPP_AT.saturating_add(usize::from(u16_at(bytes, SESSION)?)))
            }
            _ => (Header::LEN, bytes.len()),
        };
        Some(Arrival { side, front, end, link })
    }

    /// A packet of `total` octets has arrived.
    #[inline(always)]
    pub(super) fn count_arrival(&mut self, now: Instant, arrival: Arrival, total: usize) {
        let (link, octets) = match arrival.link {
            LinkLayer::Lan | LinkLayer::Bridge(_) => return,
            // What a session carries is counted as it is; a segment has padding.
            LinkLayer::Session(link) => (link, arrival.end.saturating_sub(arrival.front)),
            LinkLayer::Segment(link) => (link, total),
        };
        if let Some(link) = self.links.get_mut(link) {
            link.count_received(octets, now);
        }
    }

    /// Asks all that the long way asks of the headers before an IP packet, and spares the next frame by `port` that begins
    /// alike these questions.
    #[inline(never)]
    fn find_way<const REHEARSAL: bool>(&mut self, port: PortId, bytes: &[u8]) -> Option<(Family, Origin)> {
        let family = family_of(bytes)?;
        let way = self.way_in(port, bytes, family)?;
        if !REHEARSAL {
            let at = self.ports.get_mut(port.index())?;
            match family {
                Family::Ipv4 => at.way_in = Some(way),
                Family::Ipv6 => at.way_in6 = Some(way),
            }
        }
        Some((family, way.from))
    }

    fn way_in(&self, port: PortId, bytes: &[u8], family: Family) -> Option<WayIn> {
        let (header, _) = Header::parse(bytes)?;
        let head = bytes.first_chunk()?;
        let at = self.ports.get(port.index())?;
        if self.bad_source(header.source).is_some() {
            return None;
        }
        let (masks, link, ingress) = match at.role {
            Role::Lan(lan) => {
                let state = self.lans.get(lan.index())?;
                let is_bridge = state.only.is_none();
                let is_ours = match is_bridge {
                    true => state.bridge.is_own(header.destination),
                    false => header.destination == state.mac,
                };
                if !is_ours || header.ethertype == ethertype::PPPOE_SESSION {
                    return None;
                }
                let ingress = Ingress::lan(lan);
                let epoch = match family {
                    Family::Ipv4 => ingress.epoch,
                    Family::Ipv6 => self.epoch_if_up(ingress.interface)?,
                };
                let link = if is_bridge { LinkLayer::Bridge(lan) } else { LinkLayer::Lan };
                (Front::ETHERNET, link, Ingress { epoch, ..ingress })
            }
            Role::Outside(_) if header.destination != at.mac => return None,
            Role::Outside(_) if header.ethertype == ethertype::PPPOE_SESSION => {
                let &[.., version_type, code, s0, s1] = bytes.first_chunk::<SESSION>()?;
                if version_type != 0x11 || code != 0 {
                    return None;
                }
                let id = u16::from_be_bytes([s0, s1]);
                let (link, session) = self.links.by_peer(port, header.source, id)?;
                (Front::SESSION, LinkLayer::Session(link), self.ingress_by(session, family)?)
            }
            Role::Outside(uplink) => {
                let (link, segment) = self.links.segment(uplink?)?;
                (Front::ETHERNET, LinkLayer::Segment(link), self.ingress_by(segment, family)?)
            }
            Role::Unused => return None,
        };
        let from = Origin { link, side: ingress.side(), realm: ingress.realm };
        Some(WayIn { front: Front::new(head, masks), from })
    }

    /// What packets of `family` by a link come in by, while it is up.
    pub(super) fn ingress_by(&self, link: &Link, family: Family) -> Option<Ingress> {
        let ingress = Ingress::link(link.owner, 0);
        let epoch = match family {
            Family::Ipv4 => link.ipv4?.epoch,
            Family::Ipv6 => self.epoch_if_up(ingress.interface)?,
        };
        Some(Ingress { epoch, ..ingress })
    }
}
