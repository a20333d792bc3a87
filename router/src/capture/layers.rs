//! The IP packets inside a frame, however deep: behind VLAN tags, in a PPPoE session, in VXLAN.
//!
//! Lengths are not trusted: a packet reaches to the end of what is there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use genkan_netstack::forward::offload::Ends;
use genkan_netstack::wire::octets::u16_at;
use serde::{Deserialize, Serialize};

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const VLAN: u16 = 0x8100;
const SERVICE_VLAN: u16 = 0x88a8;
const PPPOE_SESSION: u16 = 0x8864;
/// PPP's numbers of the two (RFC 1332, RFC 5072).
const PPP_IPV4: u16 = 0x0021;
const PPP_IPV6: u16 = 0x0057;
const TCP: u8 = 6;
const UDP: u8 = 17;
/// UDP port of VXLAN (RFC 7348 §8).
const VXLAN: u16 = 4789;
/// Octets of the headers of Ethernet, less the ethertype; of UDP and VXLAN together; of PPPoE.
const ADDRESSES: usize = 12;
const UDP_AND_VXLAN: usize = 16;
const PPPOE: usize = 6;
/// Deepest nesting that is followed.
const DEEPEST: usize = 4;

/// Two ends, either of which may be the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow(pub SocketAddr, pub SocketAddr);

impl Flow {
    /// True for a packet between the two, either way.
    pub fn is_between(&self, ends: &Ends) -> bool {
        let end = |(address, port)| SocketAddr::new(address, port);
        let (source, destination) = (end(ends.source), end(ends.destination));
        (source, destination) == (self.0, self.1) || (source, destination) == (self.1, self.0)
    }
}

/// An IP packet inside a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inner<'a> {
    /// Its ethertype.
    pub ethertype: u16,
    /// From its header to the end of what is there.
    pub packet: &'a [u8],
}

impl<'a> Inner<'a> {
    /// Protocol and transport header, when that is there: not in a later fragment, nor behind extension headers.
    fn transport(self) -> Option<(u8, &'a [u8])> {
        let packet = self.packet;
        if self.ethertype == IPV4 {
            let header = usize::from(*packet.first()? & 0x0f) * 4;
            let is_later = u16_at(packet, 6)? & 0x1fff != 0;
            return (!is_later).then_some((*packet.get(9)?, packet.get(header..)?));
        }
        Some((*packet.get(6)?, packet.get(40..)?))
    }

    /// Its ends; the ports are 0 where the protocol has none.
    pub fn ends(self) -> Option<Ends> {
        let packet = self.packet;
        let (source, destination): (IpAddr, IpAddr) = if self.ethertype == IPV4 {
            let at = |at: usize| Some(Ipv4Addr::from(*packet.get(at..)?.first_chunk::<4>()?));
            (at(12)?.into(), at(16)?.into())
        } else {
            let at = |at: usize| Some(Ipv6Addr::from(*packet.get(at..)?.first_chunk::<16>()?));
            (at(8)?.into(), at(24)?.into())
        };
        let (from, to) = match self.transport() {
            Some((TCP | UDP, transport)) => (u16_at(transport, 0)?, u16_at(transport, 2)?),
            _ => (0, 0),
        };
        Some(Ends { source: (source, from), destination: (destination, to) })
    }
}

/// What a stage of a frame's way may change, by name: how the innermost packet is wrapped, and its own header.
pub fn traits(frame: &[u8], length: usize) -> Vec<(&'static str, String)> {
    let mut traits = vec![("wrapped in", wrapping(frame)), ("length", length.to_string())];
    let Some(inner) = packets(frame).into_iter().next_back() else { return traits };
    if let Some(ends) = inner.ends() {
        let end = |(address, port)| SocketAddr::new(address, port).to_string();
        traits.push(("source", end(ends.source)));
        traits.push(("destination", end(ends.destination)));
    }
    let hops = if inner.ethertype == IPV4 { 8 } else { 7 };
    traits.extend(inner.packet.get(hops).map(|hops| ("TTL", hops.to_string())));
    if let Some((TCP, segment)) = inner.transport()
        && let Some(mss) = mss(segment)
    {
        traits.push(("MSS", mss.to_string()));
    }
    traits
}

/// Ethernet addresses, tag and session of a frame.
fn wrapping(frame: &[u8]) -> String {
    let mut text = match frame.get(..ADDRESSES) {
        Some([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]) => return "nothing".to_owned(),
        Some(_) => "Ethernet".to_owned(),
        None => return "less than Ethernet".to_owned(),
    };
    let mut at = ADDRESSES;
    while matches!(u16_at(frame, at), Some(VLAN | SERVICE_VLAN)) {
        text += &format!(" + VLAN {}", u16_at(frame, at + 2).unwrap_or(0) & 0xfff);
        at += 4;
    }
    if u16_at(frame, at) == Some(PPPOE_SESSION) {
        text += &format!(" + PPPoE 0x{:04x}", u16_at(frame, at + 4).unwrap_or(0));
    }
    for _ in 1..packets(frame).len() {
        text += " + VXLAN";
    }
    text
}

/// The MSS option of a SYN (RFC 9293 §3.7.1).
fn mss(segment: &[u8]) -> Option<u16> {
    let (offset, flags) = (segment.get(12)? >> 4, segment.get(13)?);
    let mut options = segment.get(20..usize::from(offset) * 4)?;
    if flags & 2 == 0 {
        return None;
    }
    loop {
        options = match *options {
            [1, ..] => options.get(1..)?,
            [2, 4, high, low, ..] => return Some(u16::from_be_bytes([high, low])),
            [0, ..] => return None,
            [_, length, ..] if length >= 2 => options.get(usize::from(length)..)?,
            _ => return None,
        };
    }
}

/// Every IP packet inside an Ethernet frame, the outermost first.
pub fn packets(frame: &[u8]) -> Vec<Inner<'_>> {
    let mut found = Vec::new();
    let mut frame = Some(frame);
    for _ in 0..DEEPEST {
        let Some(inner) = frame.and_then(packet) else { break };
        found.push(inner);
        frame = match inner.transport() {
            Some((UDP, datagram)) if u16_at(datagram, 2) == Some(VXLAN) => datagram.get(UDP_AND_VXLAN..),
            _ => None,
        };
    }
    found
}

/// The IP packet of an Ethernet frame, also in a PPPoE session.
fn packet(frame: &[u8]) -> Option<Inner<'_>> {
    let mut at = ADDRESSES;
    for _ in 0..3 {
        let payload = frame.get(at + 2..)?;
        match u16_at(frame, at)? {
            ethertype @ (IPV4 | IPV6) => return Some(Inner { ethertype, packet: payload }),
            VLAN | SERVICE_VLAN => at += 4,
            PPPOE_SESSION => {
                let packet = payload.get(PPPOE + 2..)?;
                return match u16_at(payload, PPPOE)? {
                    PPP_IPV4 => Some(Inner { ethertype: IPV4, packet }),
                    PPP_IPV6 => Some(Inner { ethertype: IPV6, packet }),
                    _ => None,
                };
            }
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A UDP datagram between two IPv4 hosts.
    pub fn udp(source: [u8; 4], destination: [u8; 4], ports: [u16; 2], payload: &[u8]) -> Vec<u8> {
        let length = |header: usize| u16::try_from(header + payload.len()).unwrap().to_be_bytes();
        let mut packet = [&[0x45, 0][..], &length(28), &[0, 1, 0, 0, 64, 17, 0, 0]].concat();
        packet.extend([source, destination].concat());
        packet.extend(ports.iter().flat_map(|port| port.to_be_bytes()));
        packet.extend([&length(8)[..], &[0, 0], payload].concat());
        packet
    }

    pub fn ethernet(ethertype: u16, payload: &[u8]) -> Vec<u8> {
        [&[2; 12][..], &ethertype.to_be_bytes(), payload].concat()
    }

    pub fn pppoe(protocol: u16, packet: &[u8]) -> Vec<u8> {
        let length = u16::try_from(packet.len() + 2).unwrap().to_be_bytes();
        ethernet(0x8864, &[&[0x11, 0, 0, 7][..], &length, &protocol.to_be_bytes(), packet].concat())
    }

    #[test]
    fn a_packet_is_found_behind_a_tag_in_a_session_in_a_tunnel() {
        let innermost = udp([10, 0, 0, 1], [10, 0, 0, 2], [5000, 53], b"question");
        let session = pppoe(PPP_IPV4, &innermost);
        let tunnelled = [&[8, 0, 0, 0, 0, 0, 42, 0][..], &session].concat();
        let outer = udp([192, 0, 2, 1], [192, 0, 2, 2], [9999, VXLAN], &tunnelled);
        let tagged = ethernet(VLAN, &[&[0, 7, 8, 0][..], &outer].concat());
        let found: Vec<Ends> = packets(&tagged).into_iter().filter_map(Inner::ends).collect();
        let end = |address: [u8; 4], port: u16| (IpAddr::from(address), port);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].source, found[0].destination.1), (end([192, 0, 2, 1], 9999), VXLAN));
        assert_eq!(
            (found[1].source, found[1].destination),
            (end([10, 0, 0, 1], 5000), end([10, 0, 0, 2], 53))
        );
    }

    #[test]
    fn no_cut_makes_a_fault() {
        let tunnelled =
            [&[8, 0, 0, 0, 0, 0, 42, 0][..], &pppoe(PPP_IPV4, &udp([1; 4], [2; 4], [1, 2], b"x"))];
        let outer = ethernet(IPV4, &udp([3; 4], [4; 4], [3, VXLAN], &tunnelled.concat()));
        for len in 0..=outer.len() {
            for inner in packets(&outer[..len]) {
                let _ = inner.ends();
            }
        }
        assert_eq!(packets(&outer).len(), 2);
    }

    #[test]
    fn a_flow_is_known_in_both_directions() {
        let flow = Flow("10.0.0.1:5000".parse().unwrap(), "10.0.0.2:53".parse().unwrap());
        let there = udp([10, 0, 0, 1], [10, 0, 0, 2], [5000, 53], b"");
        let ends = Inner { ethertype: IPV4, packet: &there }.ends().unwrap();
        assert!(flow.is_between(&ends) && flow.is_between(&ends.reversed()));
        assert!(!flow.is_between(&Ends { source: (ends.source.0, 5001), ..ends }));
    }
}
