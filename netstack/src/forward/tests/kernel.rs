//! A kernel half as the packet path may think of it: it does what it is told, and nothing else.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::IpAddr;

use crate::forward::Session;
use crate::forward::offload::{FlowHandle, NextHop, Offload, OffloadedFlow};
use crate::id::{Family, Interface, Mac, PortId, Segment};

/// What it has been told.
#[derive(Debug, Default)]
pub struct Kernel {
    pub sessions: BTreeMap<Interface, Session>,
    /// By flow, and whether it is the original direction.
    pub flows: BTreeMap<(FlowHandle, bool), OffloadedFlow>,
    /// Interfaces that frames come in by, with the address that they are for.
    own: Vec<(PortId, Mac, Interface)>,
}

fn sum(parts: &[u16]) -> u16 {
    let sum: u32 = parts.iter().map(|part| u32::from(*part)).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// Changes the checksum at `at` as its sum changes by `deltas`.
fn mend(bytes: &mut [u8], at: usize, deltas: &[u16], is_udp: bool) {
    let field = word(bytes, at);
    if is_udp && field == 0 {
        return;
    }
    let new = match !sum(&[&[!field], deltas].concat()) {
        0 if is_udp => 0xffff,
        new => new,
    };
    bytes[at..at + 2].copy_from_slice(&new.to_be_bytes());
}

impl Kernel {
    pub fn new(own: Vec<(PortId, Mac, Interface)>) -> Kernel {
        Kernel { own, ..Kernel::default() }
    }

    pub fn apply(&mut self, offload: Offload) {
        match offload {
            Offload::SessionOpened { interface, session } => drop(self.sessions.insert(interface, session)),
            Offload::SessionClosed { interface } => drop(self.sessions.remove(&interface)),
            Offload::Invalidated { interface, family } => self.flows.retain(|(handle, _), flow| {
                handle.family != family || (flow.ingress != interface && flow.egress != interface)
            }),
            Offload::StationChanged { segment, address, station } => {
                let is_it = |flow: &OffloadedFlow| {
                    flow.egress == Interface::from(segment)
                        && matches!(flow.next_hop, NextHop::Station { address: a, .. } if a == address)
                };
                match station {
                    None => self.flows.retain(|_, flow| !is_it(flow)),
                    Some(new) => self.flows.values_mut().filter(|flow| is_it(flow)).for_each(|flow| {
                        if let NextHop::Station { station, .. } = &mut flow.next_hop {
                            *station = new;
                        }
                    }),
                }
            }
            Offload::StationMoved { lan, station, port } => {
                for flow in self.flows.values_mut() {
                    let is_it = matches!(flow.next_hop, NextHop::Station { station: s, .. } if s == station);
                    if is_it && flow.egress == Interface::from(Segment::Lan(lan)) {
                        flow.egress_port = port;
                    }
                }
            }
            Offload::Flow(flow) => {
                let is_same = |other: &OffloadedFlow| {
                    (other.ingress, other.protocol, other.before)
                        == (flow.ingress, flow.protocol, flow.before)
                };
                let key = (flow.flow, flow.original);
                assert!(
                    self.flows.iter().all(|(other, there)| *other == key || !is_same(there)),
                    "two flows of one key"
                );
                self.flows.insert(key, flow);
            }
            Offload::FlowEnded(handle) => self.flows.retain(|(other, _), _| *other != handle),
        }
    }

    /// The direction that would carry a frame, the frame that leaves, and by which port.
    pub fn carry(&self, port: PortId, frame: &[u8]) -> Option<(OffloadedFlow, PortId, Vec<u8>)> {
        let (destination, source) = (Mac::read(frame)?, Mac::read(&frame[6..])?);
        let (ingress, front) = match word(frame, 12) {
            0x8864 => {
                let is_it = |session: &Session| {
                    (session.port, session.local, session.peer, session.id)
                        == (port, destination, source, word(frame, 16))
                };
                (*self.sessions.iter().find(|(_, session)| is_it(session))?.0, 22)
            }
            0x0800 | 0x86dd => {
                let own = self.own.iter().find(|own| (own.0, own.1) == (port, destination))?;
                (own.2, 14)
            }
            _ => return None,
        };
        let packet = &frame[front..];
        let family = if packet[0] >> 4 == 6 { Family::Ipv6 } else { Family::Ipv4 };
        let (total, protocol, hops, at) = match family {
            Family::Ipv4 if packet[0] != 0x45 || word(packet, 6) & 0x3fff != 0 => return None,
            Family::Ipv4 => (usize::from(word(packet, 2)), packet[9], packet[8], 20),
            Family::Ipv6 => (40 + usize::from(word(packet, 4)), packet[6], packet[7], 40),
        };
        let mut packet = packet[..total].to_vec();
        let address = |at: usize| match family {
            Family::Ipv4 => IpAddr::from(*packet[at..].first_chunk::<4>().unwrap()),
            Family::Ipv6 => IpAddr::from(*packet[at..].first_chunk::<16>().unwrap()),
        };
        let (source, destination) = match family {
            Family::Ipv4 => (address(12), address(16)),
            Family::Ipv6 => (address(8), address(24)),
        };
        let request = if family == Family::Ipv4 { 8 } else { 128 };
        let ports = match (protocol, packet[at]) {
            (6, _) if packet[at + 13] & 7 != 0 => return None,
            (6 | 17, _) => (word(&packet, at), word(&packet, at + 2)),
            (1, 8) | (58, 128) => (word(&packet, at + 4), request),
            (1, 0) | (58, 129) => (request, word(&packet, at + 4)),
            _ => return None,
        };
        let flow = *self.flows.values().find(|flow| {
            (flow.ingress, flow.ingress_port, flow.protocol) == (ingress, port, protocol)
                && flow.before.source == (source, ports.0)
                && flow.before.destination == (destination, ports.1)
        })?;
        if hops <= 1 || total > usize::from(flow.mtu) {
            return None;
        }
        if family == Family::Ipv6 {
            packet[7] -= 1;
        } else {
            self.translate(&mut packet, &flow);
        }
        let mut out = Vec::new();
        let ethertype: u16 = if family == Family::Ipv4 { 0x0800 } else { 0x86dd };
        match flow.next_hop {
            NextHop::Station { station, own, .. } => {
                out.extend([station.0, own.0].concat());
                out.extend(ethertype.to_be_bytes());
            }
            NextHop::Session => {
                let session = self.sessions.get(&flow.egress).expect("a session that is open");
                assert_eq!(session.port, flow.egress_port);
                out.extend([session.peer.0, session.local.0].concat());
                out.extend([0x88, 0x64, 0x11, 0]);
                out.extend(session.id.to_be_bytes());
                out.extend((total as u16 + 2).to_be_bytes());
                out.extend([0, if family == Family::Ipv4 { 0x21 } else { 0x57 }]);
            }
        }
        out.extend(packet);
        Some((flow, flow.egress_port, out))
    }

    fn translate(&self, packet: &mut [u8], flow: &OffloadedFlow) {
        let (IpAddr::V4(source), IpAddr::V4(destination)) = (flow.after.source.0, flow.after.destination.0)
        else {
            panic!("an address of another family");
        };
        packet[8] -= 1;
        mend(packet, 10, &[!0x0100, flow.address_delta], false);
        packet[12..16].copy_from_slice(&source.octets());
        packet[16..20].copy_from_slice(&destination.octets());
        let (from, to) = (flow.after.source.1.to_be_bytes(), flow.after.destination.1.to_be_bytes());
        let both = [flow.address_delta, flow.port_delta];
        match flow.protocol {
            1 => {
                let id = if packet[20] == 8 { from } else { to };
                packet[24..26].copy_from_slice(&id);
                mend(packet, 22, &[flow.port_delta], false);
            }
            protocol => {
                packet[20..24].copy_from_slice(&[from, to].concat());
                let (at, is_udp) = if protocol == 6 { (36, false) } else { (26, true) };
                mend(packet, at, &both, is_udp);
            }
        }
    }
}
