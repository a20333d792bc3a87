//! A simulated host: it answers ARP and echo requests, and pings a target again and again to see whether it is online.
//! What it does by IPv6 is in [`super::host6`].

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr};

use etherparse::{
    ArpHardwareId, ArpOperation, ArpPacket, EtherType, Icmpv4Type, NetSlice, PacketBuilder, SlicedPacket,
    TransportSlice,
};

use super::host6::{HostIpv6, HostIpv6Settings};
use crate::frame::Frame;
use crate::id::{Ipv4Cidr, Mac};
use crate::time::{Duration, Instant, earliest};

/// What a simulated host is.
#[derive(Debug, Clone)]
pub struct HostSettings {
    /// Its Ethernet address.
    pub mac: Mac,
    /// Its address and network.
    pub address: Ipv4Cidr,
    /// Its default router.
    pub router: Ipv4Addr,
    /// What it pings once a second, if anything.
    pub target: Option<Ipv4Addr>,
    /// How it comes by its IPv6; `None` for a host without.
    pub ipv6: Option<HostIpv6Settings>,
    /// What it pings by IPv6 as often, if anything.
    pub target_ipv6: Option<Ipv6Addr>,
}

/// A simulated host.
#[derive(Debug)]
pub struct Host {
    settings: HostSettings,
    neighbours: Vec<(Ipv4Addr, Mac)>,
    waiting: Vec<(Ipv4Addr, Frame)>,
    outgoing: VecDeque<Frame>,
    next_ping: Option<Instant>,
    ping_interval: Duration,
    sequence: u16,
    last_reply: Option<Instant>,
    replies: u64,
    ipv6: Option<HostIpv6>,
}

impl Host {
    const PING_ID: u16 = 0x6b61;

    /// A host that starts now.
    pub fn new(settings: HostSettings, now: Instant) -> Self {
        let has_target = settings.target.is_some() || settings.target_ipv6.is_some();
        let next_ping = has_target.then_some(now);
        let ipv6 = settings.ipv6.map(|ipv6| HostIpv6::new(ipv6, settings.mac, settings.target_ipv6, now));
        Host {
            settings,
            neighbours: Vec::new(),
            waiting: Vec::new(),
            outgoing: VecDeque::new(),
            next_ping,
            ping_interval: Duration::from_secs(1),
            sequence: 0,
            last_reply: None,
            replies: 0,
            ipv6,
        }
    }

    /// The host as it is after somebody has switched it off and on again.
    pub(super) fn restarted(&self, now: Instant) -> Self {
        Host::new(self.settings.clone(), now)
    }

    /// Pings now, and from now on at this interval.
    pub fn ping_every(&mut self, now: Instant, interval: Duration) {
        self.ping_interval = interval;
        self.next_ping = self.next_ping.map(|_| now);
    }

    /// What it is by IPv6.
    pub fn ipv6(&self) -> Option<&HostIpv6> {
        self.ipv6.as_ref()
    }

    /// When the target last answered.
    pub fn last_reply(&self) -> Option<Instant> {
        self.last_reply
    }

    /// How many answers have come.
    pub fn replies(&self) -> u64 {
        self.replies
    }

    pub(super) fn receive(&mut self, now: Instant, frame: &Frame) {
        if let Some(ipv6) = &mut self.ipv6 {
            ipv6.receive(now, frame);
        }
        let Ok(packet) = SlicedPacket::from_ethernet(frame.bytes()) else { return };
        match packet.net {
            Some(NetSlice::Arp(arp)) => self.receive_arp(&arp.to_packet()),
            Some(NetSlice::Ipv4(ip)) if ip.header().destination_addr() == self.settings.address.address => {
                let Some(TransportSlice::Icmpv4(icmp)) = packet.transport else { return };
                match icmp.icmp_type() {
                    Icmpv4Type::EchoRequest(echo) => {
                        let to = ip.header().source_addr();
                        let mut reply = Vec::new();
                        let built =
                            PacketBuilder::ipv4(self.settings.address.address.octets(), to.octets(), 64)
                                .icmpv4(Icmpv4Type::EchoReply(echo))
                                .write(&mut reply, icmp.payload());
                        if built.is_ok() {
                            self.send_ip(to, &reply);
                        }
                    }
                    Icmpv4Type::EchoReply(echo) if echo.id == Self::PING_ID => {
                        self.last_reply = Some(now);
                        self.replies += 1;
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }

    fn receive_arp(&mut self, arp: &ArpPacket) {
        let (Some(mac), Some(&from)) =
            (Mac::read(arp.sender_hw_addr()), arp.sender_protocol_addr().first_chunk::<4>())
        else {
            return;
        };
        let from = Ipv4Addr::from(from);
        self.neighbours.retain(|(address, _)| *address != from);
        self.neighbours.push((from, mac));
        let (ready, waiting) =
            core::mem::take(&mut self.waiting).into_iter().partition(|(to, _)| *to == from);
        self.waiting = waiting;
        let ready: Vec<(Ipv4Addr, Frame)> = ready;
        for (_, packet) in ready {
            self.send_ip(from, packet.bytes());
        }
        let asked = arp.target_protocol_addr() == self.settings.address.address.octets();
        if arp.operation == ArpOperation::REQUEST && asked {
            self.send_arp(ArpOperation::REPLY, mac, from);
        }
    }

    fn send_arp(&mut self, operation: ArpOperation, to_mac: Mac, to: Ipv4Addr) {
        let target = if operation == ArpOperation::REQUEST { Mac::default() } else { to_mac };
        let Ok(arp) = ArpPacket::new(
            ArpHardwareId::ETHERNET,
            EtherType::IPV4,
            operation,
            &self.settings.mac.0,
            &self.settings.address.address.octets(),
            &target.0,
            &to.octets(),
        ) else {
            return;
        };
        let mut bytes = Vec::new();
        if PacketBuilder::ethernet2(self.settings.mac.0, to_mac.0).arp(arp).write(&mut bytes).is_ok() {
            self.outgoing.push_back(Frame::from_bytes(&bytes));
        }
    }

    /// Sends an IPv4 packet by the default router or to the neighbour itself.
    pub fn send_ip(&mut self, to: Ipv4Addr, packet: &[u8]) {
        let next = if self.settings.address.contains(to) { to } else { self.settings.router };
        match self.neighbours.iter().find(|(address, _)| *address == next) {
            Some(&(_, mac)) => {
                let mut frame = Frame::from_bytes(packet);
                if let Some(header) = frame.push(14) {
                    let ethertype = 0x0800u16.to_be_bytes();
                    let octets = mac.0.iter().chain(&self.settings.mac.0).chain(&ethertype);
                    for (to, from) in header.iter_mut().zip(octets) {
                        *to = *from;
                    }
                    self.outgoing.push_back(frame);
                }
            }
            None => {
                self.waiting.truncate(8);
                self.waiting.push((next, Frame::from_bytes(packet)));
                self.send_arp(ArpOperation::REQUEST, Mac::BROADCAST, next);
            }
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if let Some(ipv6) = &mut self.ipv6 {
            ipv6.handle_timeout(now);
        }
        if self.next_ping.is_none_or(|due| due > now) {
            return;
        }
        self.next_ping = Some(now + self.ping_interval);
        if let Some(ipv6) = &mut self.ipv6 {
            ipv6.ping(now);
        }
        let Some(target) = self.settings.target else { return };
        self.sequence = self.sequence.wrapping_add(1);
        let mut packet = Vec::new();
        let built = PacketBuilder::ipv4(self.settings.address.address.octets(), target.octets(), 64)
            .icmpv4_echo_request(Self::PING_ID, self.sequence)
            .write(&mut packet, b"are we online?");
        if built.is_ok() {
            self.send_ip(target, &packet);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        earliest(self.next_ping, self.ipv6.as_ref().and_then(HostIpv6::poll_timeout))
    }

    pub(super) fn poll_transmit(&mut self) -> Option<Frame> {
        self.outgoing.pop_front().or_else(|| self.ipv6.as_mut()?.poll_transmit())
    }
}
