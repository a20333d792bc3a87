//! The short way of IPv6: a packet of an established flow, from port to port in one function, in its place.
//!
//! As for IPv4, [`Forwarder::hit6`] asks everything first and changes the frame after; what it is not made for it leaves as
//! it was.

use crate::forward::emit::is_plain;
use crate::forward::flow::FlowState;
use crate::forward::hit::{SESSION, WayIn};
use crate::forward::ingress::PPP_AT;
use crate::forward::ipv6::ingress::DHCP_SERVER;
use crate::forward::ipv6::parse::Packet6;
use crate::forward::link::{Carrier, ENCAPSULATION, PPP_IPV6};
use crate::forward::parse::{Carries, FIN, RST, SYN};
use crate::forward::tcp::TcpState;
use crate::forward::{Forwarder, Turn};
use crate::frame::Frame;
use crate::id::{Interface, Mac, PortId};
use crate::wire::ethernet::{Header, ethertype};
use crate::wire::ipv6::HEADER;
use crate::wire::octets::u16_at;

impl Forwarder {
    /// Makes of `frame`, which came by `port`, the frame that leaves, and says by which port. `None`, and nothing has
    /// changed, when it is none for the short way.
    pub(in crate::forward) fn hit6(
        &mut self,
        turn: &Turn<'_>,
        port: PortId,
        frame: &mut Frame,
    ) -> Option<PortId> {
        if !is_plain(frame) {
            return None;
        }
        let bytes = frame.bytes();
        let (ingress, front, end, link) = match self.ports.get(port.index())?.way_in6? {
            WayIn::Lan { header, ingress, bridge } if bytes.first_chunk() == Some(&header) => {
                if let Some(lan) = bridge {
                    // To learn it twice is to learn it once.
                    let source = Mac::read(bytes.get(6..)?)?;
                    self.lans.get_mut(lan.index())?.bridge.learn(turn.now, source, port);
                }
                (ingress, Header::LEN, bytes.len(), None)
            }
            WayIn::Session { header, ingress, link } if bytes.first_chunk() == Some(&header) => {
                let &[l0, l1, p0, p1] = bytes.get(SESSION..)?.first_chunk()?;
                if u16::from_be_bytes([p0, p1]) != PPP_IPV6 {
                    return None;
                }
                let end = PPP_AT.saturating_add(usize::from(u16::from_be_bytes([l0, l1])));
                (ingress, ENCAPSULATION, end, Some(link))
            }
            WayIn::Segment { header, ingress, link } if bytes.first_chunk() == Some(&header) => {
                // What is counted is the packet, without padding.
                let payload = usize::from(u16_at(bytes, Header::LEN.saturating_add(4))?);
                let end = Header::LEN.saturating_add(HEADER).saturating_add(payload).min(bytes.len());
                (ingress, Header::LEN, end, Some(link))
            }
            _ => return None,
        };
        let packet = Packet6::parse(bytes.get(front..end)?, ingress.realm).ok()?;
        let is_plain = match packet.carries {
            Carries::Tcp(flags) => flags & (SYN | FIN | RST) == 0,
            // Clients and servers of DHCPv6 have neighbouring ports.
            Carries::Udp => packet.key.destination_port() | 1 != DHCP_SERVER,
            _ => false,
        };
        if !is_plain || packet.fragment.is_some() || packet.hop_limit <= 1 {
            return None;
        }

        let (flow, direction) = self.v6.flows.find_mut(packet.key)?;
        let out = flow.interfaces.of(direction.opposite());
        if !matches!(flow.state, FlowState::Udp | FlowState::Tcp(TcpState::Established))
            || flow.interfaces.of(direction) != ingress.interface
            || flow.epochs.of(direction) != ingress.epoch
            || self.v6.networks.epoch_of(out) != Some(flow.epochs.of(direction.opposite()))
        {
            return None;
        }

        let (exit, bytes) = match out {
            Interface::Lan(lan) => {
                let state = self.lans.get_mut(lan.index())?;
                if packet.total > usize::from(state.mtu) {
                    return None;
                }
                let station = state.neighbours.v6.station(turn.now, packet.key.destination())?;
                let exit = match *state.ports.as_slice() {
                    [only] => only,
                    _ => state.bridge.port(turn.now, station)?,
                };
                let header = Header { destination: station, source: state.mac, ethertype: ethertype::IPV6 };
                (exit, frame.exchange(front, packet.total, header.to_bytes())?)
            }
            Interface::Wan(_) | Interface::Subscriber(_) => {
                if let Interface::Wan(wan) = out
                    && !self.v6.networks.carries(wan, packet.key.source())
                {
                    return None;
                }
                let mtu = self.v6.networks.mtu(out)?;
                let link = self.links.at_mut(out)?;
                if packet.total > usize::from(mtu) {
                    return None;
                }
                let (exit, bytes) = match &mut link.carrier {
                    Carrier::Session(pppoe) => {
                        let header = pppoe.header(packet.total, PPP_IPV6)?;
                        (pppoe.session.port, frame.exchange(front, packet.total, header)?)
                    }
                    Carrier::Ethernet(ethernet) => {
                        let next_hop = self.v6.networks.next_hop(out, packet.key.destination())?;
                        let station = ethernet.neighbours.v6.station(turn.now, next_hop)?;
                        let header = ethernet.header(station, ethertype::IPV6).to_bytes();
                        (ethernet.port, frame.exchange(front, packet.total, header)?)
                    }
                };
                link.count_sent(packet.total);
                (exit, bytes)
            }
            Interface::Router => return None,
        };
        if let Some(hops) = bytes.get_mut(7) {
            *hops = hops.saturating_sub(1);
        }
        if flow.refreshes.of(direction) {
            flow.refreshed = turn.second;
        }
        if let Some(link) = link.and_then(|index| self.links.get_mut(index)) {
            link.count_received(end.saturating_sub(front), turn.now);
        }
        Some(exit)
    }
}
