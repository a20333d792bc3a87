//! How routed packets come in: what the headers before an IP packet say, found once and remembered by the port.

use crate::forward::ingress::PPP_AT;
use crate::forward::link::{ENCAPSULATION, Link, PPP_IPV4, PPP_IPV6};
use crate::forward::{Forwarder, Ingress, Role};
use crate::id::{Family, LanId, Mac, PortId};
use crate::time::Instant;
use crate::wire::ethernet::{Header, ethertype};
use crate::wire::ipv6;
use crate::wire::octets::u16_at;

/// What the headers before an IP packet have been found to say.
#[derive(Debug, Clone, Copy)]
pub(super) enum WayIn {
    /// It is for the router, from a LAN: from the one named where there are stations to be learned, on a bridge.
    Lan { header: [u8; Header::LEN], ingress: Ingress, bridge: Option<LanId> },
    /// It came by a session, of which this is the number.
    Session { header: [u8; SESSION], ingress: Ingress, link: u32 },
    /// It is for the router, from the segment of a plain uplink; this is the link's number.
    Segment { header: [u8; Header::LEN], ingress: Ingress, link: u32 },
}

/// Octets of a frame that tell its session: Ethernet and PPPoE headers without the length.
const SESSION: usize = Header::LEN + 4;

impl WayIn {
    /// True for a frame from the same place.
    #[inline(always)]
    fn is_of(&self, bytes: &[u8]) -> bool {
        match self {
            WayIn::Lan { header, .. } | WayIn::Segment { header, .. } => bytes.first_chunk() == Some(header),
            WayIn::Session { header, .. } => bytes.first_chunk() == Some(header),
        }
    }
}

/// Where the IP packet of a frame is, and what it came in by.
pub(super) struct Arrival {
    /// What it came in by.
    pub ingress: Ingress,
    /// Where it begins.
    pub front: usize,
    /// Where it ends, or what follows it that is not of the link.
    pub end: usize,
    /// The number of the link whose packets are counted.
    pub link: Option<u32>,
}

/// The family of the IP packet in a frame, by what its headers announce.
#[inline(always)]
pub(super) fn family_of(bytes: &[u8]) -> Option<Family> {
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
    /// How a frame with a packet of `family` has come in by `port`. `None` when it is to be looked at closer. It is noted,
    /// and the station that sent it is learned, unless `REHEARSAL`.
    #[inline(always)]
    pub(super) fn arrive<const REHEARSAL: bool>(
        &mut self,
        now: Instant,
        port: PortId,
        bytes: &[u8],
        family: Family,
    ) -> Option<Arrival> {
        let at = self.ports.get(port.index())?;
        let known = match family {
            Family::Ipv4 => &at.way_in,
            Family::Ipv6 => &at.way_in6,
        };
        let way = match known {
            Some(way) if way.is_of(bytes) => *way,
            _ => self.find_way::<REHEARSAL>(port, bytes, family)?,
        };
        match way {
            WayIn::Lan { ingress, bridge, .. } => {
                if let Some(lan) = bridge.filter(|_| !REHEARSAL) {
                    // To learn it twice is to learn it once.
                    let source = Mac::read(bytes.get(6..)?)?;
                    if self.lans.get_mut(lan.index())?.bridge.learn(now, source, port) {
                        self.offloads.tell_moved(lan, source, port);
                    }
                }
                Some(Arrival { ingress, front: Header::LEN, end: bytes.len(), link: None })
            }
            WayIn::Session { ingress, link, .. } => {
                let end = PPP_AT.saturating_add(usize::from(u16_at(bytes, SESSION)?));
                Some(Arrival { ingress, front: ENCAPSULATION, end, link: Some(link) })
            }
            WayIn::Segment { ingress, link, .. } => {
                // What is counted is the packet, without padding.
                let total = match family {
                    Family::Ipv4 => usize::from(u16_at(bytes, Header::LEN.saturating_add(2))?),
                    Family::Ipv6 => {
                        let payload = u16_at(bytes, Header::LEN.saturating_add(4))?;
                        usize::from(payload).saturating_add(ipv6::HEADER)
                    }
                };
                let end = Header::LEN.saturating_add(total).min(bytes.len());
                Some(Arrival { ingress, front: Header::LEN, end, link: Some(link) })
            }
        }
    }

    /// Asks all that the long way asks of the headers before an IP packet, and spares the next frame by `port` that begins
    /// alike these questions.
    #[inline(never)]
    fn find_way<const REHEARSAL: bool>(
        &mut self,
        port: PortId,
        bytes: &[u8],
        family: Family,
    ) -> Option<WayIn> {
        let way = self.way_in(port, bytes, family)?;
        if !REHEARSAL {
            let at = self.ports.get_mut(port.index())?;
            match family {
                Family::Ipv4 => at.way_in = Some(way),
                Family::Ipv6 => at.way_in6 = Some(way),
            }
        }
        Some(way)
    }

    fn way_in(&self, port: PortId, bytes: &[u8], family: Family) -> Option<WayIn> {
        let (header, _) = Header::parse(bytes)?;
        let at = self.ports.get(port.index())?;
        if self.bad_source(header.source).is_some() {
            return None;
        }
        match at.role {
            Role::Lan(lan) => {
                let state = self.lans.get(lan.index())?;
                let is_bridge = state.ports.len() > 1;
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
                let bridge = is_bridge.then_some(lan);
                Some(WayIn::Lan { header: header.to_bytes(), ingress: Ingress { epoch, ..ingress }, bridge })
            }
            Role::Outside(_) if header.destination != at.mac => None,
            Role::Outside(_) if header.ethertype == ethertype::PPPOE_SESSION => {
                let &[.., version_type, code, s0, s1] = bytes.first_chunk::<SESSION>()?;
                if version_type != 0x11 || code != 0 {
                    return None;
                }
                let id = u16::from_be_bytes([s0, s1]);
                let (link, session) = self.links.by_peer(port, header.source, id)?;
                let ingress = self.ingress_by(session, family)?;
                Some(WayIn::Session { header: *bytes.first_chunk()?, ingress, link })
            }
            Role::Outside(uplink) => {
                let (link, segment) = self.links.segment(uplink?)?;
                let ingress = self.ingress_by(segment, family)?;
                Some(WayIn::Segment { header: header.to_bytes(), ingress, link })
            }
            Role::Unused => None,
        }
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
