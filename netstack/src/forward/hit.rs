//! The short way: a packet of an established flow, from port to port in one function, in its place.
//!
//! [`Forwarder::hit`] asks everything first and changes the frame after. Whatever it is not made for (options, fragments,
//! ICMP, SYN, FIN and RST, the first packets of a flow, large segments, a station that is not known, …) it leaves as it
//! was, and the frame goes the long way, which asks anew. So it may give up at any question for speed alone, but it must let
//! nothing pass that the long way would not, nor pass it otherwise.

use crate::forward::Forwarder;
use crate::forward::emit::is_plain;
use crate::forward::ingress::{DHCP_CLIENT, DHCP_SERVER};
use crate::forward::link::{Carrier, PPP_IPV4};
use crate::forward::offload::FlowHandle;
use crate::forward::parse::{Carries, FIN, Packet, RST, SYN};
use crate::forward::rewrite::rewrite;
use crate::forward::way::{Arrival, family_of};
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
        if !is_plain(frame) {
            return None;
        }
        match family_of(frame.bytes())? {
            Family::Ipv4 => self.hit4::<REHEARSAL>(moment, port, frame),
            Family::Ipv6 => self.hit6::<REHEARSAL>(moment, port, frame),
        }
    }

    /// As [`Forwarder::hit`], for a frame that announces IPv4.
    fn hit4<const REHEARSAL: bool>(
        &mut self,
        Moment { now, second }: Moment,
        port: PortId,
        frame: &mut Frame,
    ) -> Option<PortId> {
        let bytes = frame.bytes();
        let Arrival { ingress, front, end, link } =
            self.arrive::<REHEARSAL>(now, port, bytes, Family::Ipv4)?;
        let packet = Packet::parse(bytes.get(front..end)?, ingress.realm).ok()?;
        let is_plain = match packet.carries {
            Carries::Tcp(flags) => flags & (SYN | FIN | RST) == 0,
            Carries::Udp => !matches!(packet.key.destination_port(), DHCP_SERVER | DHCP_CLIENT),
            // In an echo's key its type stands where the other end has its identifier.
            Carries::IcmpQuery => packet.key.destination_port() == ECHO,
            Carries::IcmpAnswer => packet.key.source_port() == ECHO,
            _ => false,
        };
        if !is_plain || packet.is_fragment() || packet.ttl <= 1 {
            return None;
        }

        let (id, flow, direction) = self.flows.find_mut(packet.key)?;
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
                let station = state.neighbours.v4.station_for::<REHEARSAL>(now, translation.destination())?;
                let exit = match *state.ports.as_slice() {
                    [only] => only,
                    _ => state.bridge.port(now, station)?,
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
                        let station = ethernet.neighbours.v4.station_for::<REHEARSAL>(now, next_hop)?;
                        let header = ethernet.header(station, ethertype::IPV4).to_bytes();
                        (ethernet.port, frame.exchange(front, packet.total, header)?)
                    }
                };
                if !REHEARSAL {
                    link.count_sent(packet.total);
                }
                (exit, bytes)
            }
            Interface::Router => return None,
        };
        rewrite(bytes, &packet, &translation, Checksum::Complete, true);
        if REHEARSAL {
            return Some(exit);
        }
        if flow.refreshes.of(direction) {
            flow.refreshed = second;
        }
        flow.packets = flow.packets.wrapping_add(1);
        let is_due = self.offloads.on && flow.handed.is_due(direction, second);
        if let Some(link) = link.and_then(|index| self.links.get_mut(index)) {
            link.count_received(end.saturating_sub(front), now);
        }
        if is_due {
            let flow = FlowHandle { family: Family::Ipv4, id };
            self.hand_over(Moment { now, second }, flow, direction, port);
        }
        Some(exit)
    }
}
