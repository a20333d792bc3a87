//! What the router itself says on a link: to a group, or to a neighbour.

use alloc::collections::VecDeque;

use crate::forward::neighbour::Origin;
use crate::forward::{Forwarder, Turn};
use crate::frame::{Egress, Frame};
use crate::id::Interface;
use crate::ledger::DropReason;
use crate::machine::Cx;
use crate::wire::ipv6::{Ipv6, group_mac};

impl Forwarder {
    /// Sends an IPv6 packet of the router's own, which begins at its IPv6 header, to a neighbour or a group on a link,
    /// whatever addresses there are on it.
    pub fn send_link(&mut self, cx: &mut Cx<'_>, interface: Interface, packet: Frame, egress: &mut Egress) {
        let Some(destination) = Ipv6::parse(packet.bytes()).map(Ipv6::destination) else {
            return egress.drop(packet, DropReason::Ipv6Malformed);
        };
        if self.mtu6(interface, destination.into()).is_some_and(|mtu| packet.len() > usize::from(mtu)) {
            return egress.drop(packet, DropReason::TooBig);
        }
        match interface {
            Interface::Lan(lan) if destination.is_multicast() => {
                self.transmit_to_station(cx.now, lan, group_mac(destination), packet, egress);
            }
            Interface::Wan(wan) if destination.is_multicast() && self.links.segment_mut(wan).is_some() => {
                self.transmit_to_neighbour(interface, group_mac(destination), packet, egress);
            }
            _ => {
                let mut punts = VecDeque::new();
                let mut turn = Turn::new(cx, egress, &mut punts);
                self.emit(&mut turn, interface, destination, packet, Origin::Inside);
            }
        }
    }
}
