//! The short way: a packet of an established flow, from port to port in one function, in its place.
//!
//! [`Forwarder::hit`] asks everything first and changes the frame after. Whatever it is not made for (options, fragments,
//! ICMP, SYN, FIN and RST, the first packets of a flow, large segments, a station that is not known, …) it leaves as it
//! was, and the frame goes the long way, which asks anew. So it may give up at any question for speed alone, but it must let
//! nothing pass that the long way would not, nor pass it otherwise.

use crate::forward::emit::is_plain;
use crate::forward::ingress::{DHCP_CLIENT, DHCP_SERVER, PPP_AT};
use crate::forward::link::{Carrier, ENCAPSULATION, PPP_IPV4};
use crate::forward::parse::{Carries, FIN, Packet, RST, SYN};
use crate::forward::rewrite::rewrite;
use crate::forward::{Forwarder, Ingress, Turn};
use crate::frame::{Checksum, Frame};
use crate::id::{Interface, LanId, Mac, PortId};
use crate::wire::ethernet::{Header, ethertype};
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
pub(super) const SESSION: usize = Header::LEN + 4;

impl Forwarder {
    /// Makes of `frame`, which came by `port`, the frame that leaves, and says by which port. `None`, and nothing has
    /// changed, when it is none for the short way.
    pub(super) fn hit(&mut self, turn: &Turn<'_>, port: PortId, frame: &mut Frame) -> Option<PortId> {
        if !is_plain(frame) {
            return None;
        }
        let bytes = frame.bytes();
        let (ingress, front, end, link) = match self.ports.get(port.index())?.way_in {
            Some(WayIn::Lan { header, ingress, bridge }) if bytes.first_chunk() == Some(&header) => {
                if let Some(lan) = bridge {
                    // To learn it twice is to learn it once.
                    let source = Mac::read(bytes.get(6..)?)?;
                    self.lans.get_mut(lan.index())?.bridge.learn(turn.now, source, port);
                }
                (ingress, Header::LEN, bytes.len(), None)
            }
            Some(WayIn::Session { header, ingress, link }) if bytes.first_chunk() == Some(&header) => {
                let &[l0, l1, p0, p1] = bytes.get(SESSION..)?.first_chunk()?;
                if u16::from_be_bytes([p0, p1]) != PPP_IPV4 {
                    return None;
                }
                let end = PPP_AT.saturating_add(usize::from(u16::from_be_bytes([l0, l1])));
                (ingress, ENCAPSULATION, end, Some(link))
            }
            Some(WayIn::Segment { header, ingress, link }) if bytes.first_chunk() == Some(&header) => {
                // What is counted is the packet, without padding.
                let total = usize::from(u16_at(bytes, Header::LEN.saturating_add(2))?);
                (ingress, Header::LEN, Header::LEN.saturating_add(total).min(bytes.len()), Some(link))
            }
            _ => return None,
        };
        let packet = Packet::parse(bytes.get(front..end)?, ingress.realm).ok()?;
        let is_plain = match packet.carries {
            Carries::Tcp(flags) => flags & (SYN | FIN | RST) == 0,
            Carries::Udp => !matches!(packet.key.destination_port(), DHCP_SERVER | DHCP_CLIENT),
            _ => false,
        };
        if !is_plain || packet.is_fragment() || packet.ttl <= 1 {
            return None;
        }

        let (flow, direction) = self.flows.find_mut(packet.key)?;
        if !flow.is_settled()
            || flow.interfaces.of(direction) != ingress.interface
            || flow.epochs.of(direction) != ingress.epoch
        {
            return None;
        }
        let out = flow.interfaces.of(direction.opposite());
        let epoch = flow.epochs.of(direction.opposite());
        let translation = flow.translation(direction);

        let (exit, bytes) = match out {
            Interface::Lan(lan) => {
                let state = self.lans.get_mut(lan.index())?;
                if packet.total > usize::from(state.mtu) {
                    return None;
                }
                let station = state.neighbours.v4.station(turn.now, translation.destination())?;
                let exit = match *state.ports.as_slice() {
                    [only] => only,
                    _ => state.bridge.port(turn.now, station)?,
                };
                let header = Header { destination: station, source: state.mac, ethertype: ethertype::IPV4 };
                (exit, frame.exchange(front, packet.total, header.to_bytes())?)
            }
            Interface::Wan(_) | Interface::Subscriber(_) => {
                let link = self.links.at_mut(out)?;
                let ipv4 = link.ipv4.filter(|ipv4| ipv4.epoch == epoch)?;
                if packet.total > usize::from(ipv4.mtu) {
                    return None;
                }
                let (exit, bytes) = match &mut link.carrier {
                    Carrier::Session(pppoe) => {
                        let header = pppoe.header(packet.total, PPP_IPV4)?;
                        (pppoe.session.port, frame.exchange(front, packet.total, header)?)
                    }
                    Carrier::Ethernet(ethernet) => {
                        let next_hop = ipv4.next_hop(translation.destination());
                        let station = ethernet.neighbours.v4.station(turn.now, next_hop)?;
                        let header = ethernet.header(station, ethertype::IPV4).to_bytes();
                        (ethernet.port, frame.exchange(front, packet.total, header)?)
                    }
                };
                link.count_sent(packet.total);
                (exit, bytes)
            }
            Interface::Router => return None,
        };
        rewrite(bytes, &packet, &translation, Checksum::Complete, true);
        if flow.refreshes.of(direction) {
            flow.refreshed = turn.second;
        }
        if let Some(link) = link.and_then(|index| self.links.get_mut(index)) {
            link.count_received(end.saturating_sub(front), turn.now);
        }
        Some(exit)
    }
}
