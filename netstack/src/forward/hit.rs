//! The short way: a packet of an established flow, from port to port in one function, in its place.
//!
//! [`Forwarder::hit`] asks everything first and changes the frame after. Whatever it is not made for (options, fragments,
//! ICMP, SYN, FIN and RST, the first packets of a flow, large segments that are to be cut, a station that is not known, …)
//! it leaves as it was, and the frame goes the long way, which asks anew. So it may give up at any question for speed alone,
//! but it must let nothing pass that the long way would not, nor pass it otherwise.
//!
//! Hosts behind a virtual cable leave checksums, and the cutting of segments, to the card. A device that takes such frames
//! gets them as they are; for any other, and behind PPPoE, the checksum is completed here.

use crate::forward::Forwarder;
use crate::forward::emit;
use crate::forward::ingress::{DHCP_CLIENT, DHCP_SERVER};
use crate::forward::ipv6::parse::Packet6;
use crate::forward::link::{Carrier, PPP_IPV4};
use crate::forward::offload::FlowHandle;
use crate::forward::parse::{Carries, FIN, Packet, RST, SYN};
use crate::forward::rewrite::rewrite;
use crate::forward::segment::{complete_checksum, largest};
use crate::forward::way::Arrival;
use crate::frame::{Checksum, Frame};
use crate::id::{Family, Interface, PortId};
use crate::time::Instant;
use crate::wire::ethernet::{Header, ethertype};

/// The type of an ICMP echo request, as it stands in a key.
const ECHO: u16 = 8;

/// The time, as the short way needs it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub now: Instant,
    /// `now` in whole seconds: the grain of flow timers.
    pub second: u32,
}

impl Forwarder {
    /// Makes of `frame`, which came by `port`, the frame that leaves, and says by which port. `None`, and nothing has
    /// changed, when it is none for the short way. A rehearsal makes the frame and leaves no traces in the tables.
    #[inline(always)]
    pub(super) fn hit<const REHEARSAL: bool>(
        &mut self,
        moment: Moment,
        port: PortId,
        frame: &mut Frame,
    ) -> Option<PortId> {
        #[cfg(test)]
        if self.only_long_way {
            return None;
        }
        let bytes = frame.bytes();
        if emit::is_plain(frame)
            && let Some(from) = self.known_way(port, bytes)
        {
            let arrival = self.arrive::<REHEARSAL>(moment.now, port, from, bytes)?;
            let octets = bytes.get(arrival.front..arrival.end)?;
            if let Some(packet) = Packet::parse_usual(octets, from.realm).filter(|packet| !is_dhcp(packet)) {
                return self.carry::<REHEARSAL, true>(moment, port, arrival, packet, frame);
            }
        }
        self.hit_unusual::<REHEARSAL>(moment, port, frame)
    }

    /// As [`Forwarder::hit`], for any frame. What that one does itself is done no otherwise: the compiler only knows more of
    /// it.
    #[inline(never)]
    fn hit_unusual<const REHEARSAL: bool>(
        &mut self,
        moment: Moment,
        port: PortId,
        frame: &mut Frame,
    ) -> Option<PortId> {
        let bytes = frame.bytes();
        let (family, from) = self.way::<REHEARSAL>(port, bytes)?;
        let arrival = self.arrive::<REHEARSAL>(moment.now, port, from, bytes)?;
        let octets = bytes.get(arrival.front..arrival.end)?;
        match family {
            Family::Ipv4 => {
                let packet = Packet::parse(octets, from.realm).ok().filter(is_plain)?;
                self.carry::<REHEARSAL, false>(moment, port, arrival, packet, frame)
            }
            Family::Ipv6 => {
                let packet = Packet6::parse(octets, from.realm).ok()?;
                self.carry6::<REHEARSAL>(moment, port, arrival, packet, frame)
            }
        }
    }

    /// An IPv4 packet's way from where it has arrived. Nothing is left undone in a frame that is `WHOLE`.
    #[inline(always)]
    fn carry<const REHEARSAL: bool, const WHOLE: bool>(
        &mut self,
        Moment { now, second }: Moment,
        port: PortId,
        arrival: Arrival,
        packet: Packet,
        frame: &mut Frame,
    ) -> Option<PortId> {
        let is_whole = WHOLE || emit::is_plain(frame);
        let (size, checksum, is_large) = match is_whole {
            true => (packet.total, Checksum::Complete, false),
            false => (
                largest(frame, arrival.front, packet.header, packet.key.protocol(), packet.total)?,
                frame.offload.checksum,
                frame.offload.gso.is_some(),
            ),
        };
        let takes = |port: PortId| self.ports.get(port.index()).is_some_and(|port| port.offload);
        let (id, flow, direction) = self.flows.find_mut(packet.key)?;
        if !flow.is_settled() || flow.sides.of(direction) != arrival.side {
            return None;
        }
        let out = flow.sides.of(direction.opposite());
        let translation = flow.translation(direction);

        let (exit, stays, bytes) = match out.interface() {
            Interface::Lan(lan) => {
                let state = self.lans.get_mut(lan.index())?;
                if size > usize::from(state.mtu) {
                    return None;
                }
                let station = state.neighbours.v4.station_for::<REHEARSAL>(now, translation.destination())?;
                let exit = match state.only {
                    Some(only) => only,
                    None => state.bridge.local_port(now, station)?,
                };
                let stays = is_whole || takes(exit);
                if is_large && !stays {
                    return None;
                }
                let header = Header { destination: station, source: state.mac, ethertype: ethertype::IPV4 };
                (exit, stays, frame.exchange(arrival.front, packet.total, header.to_bytes())?)
            }
            Interface::Wan(_) | Interface::Subscriber(_) => {
                let link = self.links.at_mut(out.interface())?;
                let ipv4 = link.ipv4.filter(|ipv4| ipv4.epoch == out.epoch())?;
                if size > usize::from(ipv4.mtu) {
                    return None;
                }
                let way = match &mut link.carrier {
                    // No device cuts or sums behind a PPPoE header.
                    Carrier::Session(_) if is_large => return None,
                    Carrier::Session(pppoe) => {
                        let header = pppoe.header(packet.total, PPP_IPV4)?;
                        (pppoe.session.port, is_whole, frame.exchange(arrival.front, packet.total, header)?)
                    }
                    Carrier::Ethernet(ethernet) => {
                        let next_hop = ipv4.next_hop(translation.destination());
                        let station = ethernet.neighbours.v4.station_for::<REHEARSAL>(now, next_hop)?;
                        let stays = is_whole || takes(ethernet.port);
                        if is_large && !stays {
                            return None;
                        }
                        let header = ethernet.header(station, ethertype::IPV4).to_bytes();
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
        rewrite(bytes, &packet, &translation, checksum, true);
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
            let flow = FlowHandle { family: Family::Ipv4, id };
            self.hand_over(Moment { now, second }, flow, direction, port);
        }
        Some(exit)
    }
}

/// True for a packet that neither begins nor ends anything, and that may go on.
fn is_plain(packet: &Packet) -> bool {
    let is_plain = match packet.carries {
        Carries::Tcp(flags) => flags & (SYN | FIN | RST) == 0,
        Carries::Udp => !is_dhcp(packet),
        // In an echo's key its type stands where the other end has its identifier.
        Carries::IcmpQuery => packet.key.destination_port() == ECHO,
        Carries::IcmpAnswer => packet.key.source_port() == ECHO,
        _ => false,
    };
    is_plain && !packet.is_fragment() && packet.ttl > 1
}

/// True for a datagram to the port of a DHCP server or client.
#[inline(always)]
fn is_dhcp(packet: &Packet) -> bool {
    packet.carries == Carries::Udp && matches!(packet.key.destination_port(), DHCP_SERVER | DHCP_CLIENT)
}
