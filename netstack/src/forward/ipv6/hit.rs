//! The short way of IPv6: a packet of an established flow, from port to port in one function, in its place.
//!
//! As for IPv4, [`Forwarder::carry6`] asks everything first and changes the frame after; what it is not made for it leaves as
//! it was.

use crate::forward::Forwarder;
use crate::forward::emit::is_plain;
use crate::forward::hit::Moment;
use crate::forward::ipv6::ingress::DHCP_SERVER;
use crate::forward::ipv6::parse::Packet6;
use crate::forward::link::{Carrier, PPP_IPV6};
use crate::forward::offload::FlowHandle;
use crate::forward::parse::{Carries, FIN, RST, SYN};
use crate::forward::segment::{complete_checksum, largest};
use crate::forward::way::Arrival;
use crate::frame::Frame;
use crate::id::{Family, Interface, PortId};
use crate::wire::ethernet::{Header, ethertype};

impl Forwarder {
    /// An IPv6 packet's way from where it has arrived.
    #[inline(always)]
    pub(in crate::forward) fn carry6<const REHEARSAL: bool>(
        &mut self,
        Moment { now, second }: Moment,
        port: PortId,
        arrival: Arrival,
        packet: Packet6,
        frame: &mut Frame,
    ) -> Option<PortId> {
        let is_usual = match packet.carries {
            Carries::Tcp(flags) => flags & (SYN | FIN | RST) == 0,
            // Clients and servers of DHCPv6 have neighbouring ports.
            Carries::Udp => packet.key.destination_port() | 1 != DHCP_SERVER,
            // Of queries there is but the echo.
            Carries::IcmpQuery | Carries::IcmpAnswer => true,
            _ => false,
        };
        if !is_usual || packet.fragment.is_some() || packet.hop_limit <= 1 {
            return None;
        }
        let is_whole = is_plain(frame);
        let size = match is_whole {
            true => packet.total,
            false => largest(frame, arrival.front, packet.transport, packet.key.protocol(), packet.total)?,
        };
        let is_large = frame.offload.gso.is_some();
        let takes = |port: PortId| self.ports.get(port.index()).is_some_and(|port| port.offload);

        let (id, flow, direction) = self.v6.flows.find_mut(packet.key)?;
        let other = flow.sides.of(direction.opposite());
        let out = other.interface();
        if !flow.is_settled()
            || flow.sides.of(direction) != arrival.side
            || self.v6.networks.epoch_of(out) != Some(other.epoch())
        {
            return None;
        }

        let (exit, stays, bytes) = match out {
            Interface::Lan(lan) => {
                let state = self.lans.get_mut(lan.index())?;
                if size > usize::from(state.mtu) {
                    return None;
                }
                let station = state.neighbours.v6.station_for::<REHEARSAL>(now, packet.key.destination())?;
                let exit = match state.only {
                    Some(only) => only,
                    None => state.bridge.local_port(now, station)?,
                };
                let stays = is_whole || takes(exit);
                if is_large && !stays {
                    return None;
                }
                let header = Header { destination: station, source: state.mac, ethertype: ethertype::IPV6 };
                (exit, stays, frame.exchange(arrival.front, packet.total, header.to_bytes())?)
            }
            Interface::Wan(_) | Interface::Subscriber(_) => {
                if let Interface::Wan(wan) = out
                    && !self.v6.networks.carries(wan, packet.key.source())
                {
                    return None;
                }
                let mtu = self.v6.networks.mtu(out)?;
                let link = self.links.at_mut(out)?;
                if size > usize::from(mtu) {
                    return None;
                }
                let way = match &mut link.carrier {
                    Carrier::Session(_) if is_large => return None,
                    Carrier::Session(pppoe) => {
                        let header = pppoe.header(packet.total, PPP_IPV6)?;
                        (pppoe.session.port, is_whole, frame.exchange(arrival.front, packet.total, header)?)
                    }
                    Carrier::Ethernet(ethernet) => {
                        let next_hop = self.v6.networks.next_hop(out, packet.key.destination())?;
                        let station = ethernet.neighbours.v6.station_for::<REHEARSAL>(now, next_hop)?;
                        let stays = is_whole || takes(ethernet.port);
                        if is_large && !stays {
                            return None;
                        }
                        let header = ethernet.header(station, ethertype::IPV6).to_bytes();
                        (ethernet.port, stays, frame.exchange(arrival.front, packet.total, header)?)
                    }
                };
                if !REHEARSAL {
                    link.count_sent(packet.total);
                }
                way
            }
            Interface::Vpn(_) | Interface::Router => return None,
        };
        if let Some(hops) = bytes.get_mut(7) {
            *hops = hops.saturating_sub(1);
        }
        if !stays {
            complete_checksum(frame);
        }
        if REHEARSAL {
            return Some(exit);
        }
        if flow.refreshes.of(direction) {
            flow.refreshed = second;
        }
        flow.packets = flow.packets.wrapping_add(1);
        let is_due = self.offloads.on && flow.handed.is_due(direction, second);
        self.count_arrival(now, arrival, packet.total);
        if is_due {
            let flow = FlowHandle { family: Family::Ipv6, id };
            self.hand_over(Moment { now, second }, flow, direction, port);
        }
        Some(exit)
    }
}
