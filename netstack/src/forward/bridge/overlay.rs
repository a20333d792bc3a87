//! Ethernet between a LAN and bridged peers: VXLAN in the VPN (RFC 7348).
//!
//! Out: what the sender left undone is done, the frame gets a VXLAN, a UDP and an IP header, from the router's address in
//! the VPN to the peer's, and is sent in fragments where that is more than the VPN carries: nothing is too large. The UDP
//! source port tells the inner flows from each other. Over IPv4 the datagram has no checksum, unless it is sent in fragments:
//! identifications come round, and pieces of two datagrams that meet are found out by it (RFC 4963 §4). What is
//! ready waits in a queue until the call ends that it came with. TCP is told, both ways, what fits whole.
//!
//! In: packets to our port from a peer's own address. They are put together where they are fragments; the room for that is
//! the bridges' own, and what is not whole soon does not take it.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::hash::BuildHasher;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::ops::Range;

use crate::forward::bridge::BridgePort;
use crate::forward::emit::{is_plain, pieces};
use crate::forward::fragment::Limits;
use crate::forward::ipv6::parse::Chain;
use crate::forward::mtu::{clamp_mss, clamp_segment, fragment, fragment6, mss_of, mss6_of};
use crate::forward::reassemble::Reassembler;
use crate::forward::tunnel::USUAL_MTU;
use crate::forward::{Forwarder, Turn};
use crate::frame::{Egress, Frame, Offload};
use crate::id::{Interface, PeerId, VpnId};
use crate::ledger::DropReason;
use crate::rng::Rng;
use crate::settings::{Settings, VpnBridge};
use crate::table::Seed;
use crate::time::Duration;
use crate::tunnel::vxlan;
use crate::wire::checksum::Sum;
use crate::wire::ethernet::{Header, ethertype};
use crate::wire::ipv4::{self, Ipv4, UDP};
use crate::wire::ipv6::{self, Ipv6};
use crate::wire::octets::{set_u16, u16_at};

/// The room for fragments of VXLAN packets. Both fragments of a frame leave together; a lost one must not take the room of
/// those that come after it.
const BRIDGED: Limits = Limits {
    datagrams: 2048,
    datagrams_per_source: 1024,
    frames: 4096,
    frames_per_source: 2048,
    lifetime: Duration::from_secs(1),
};

/// Octets of a UDP header.
const UDP_HEADER: usize = 8;
/// Hops that a packet may make.
const HOP_LIMIT: u8 = 64;
/// The first port that a flow may have for a source (RFC 7348 §5): the dynamic ones.
const FIRST_PORT: u16 = 49_152;

/// The bridged VPNs, and what is on its way to their peers.
#[derive(Debug)]
pub(in crate::forward) struct Overlay {
    networks: Vec<Network>,
    reassembler: Reassembler,
    queue: VecDeque<(PeerId, Frame)>,
    /// Where the VPNs listen.
    listen_ports: Vec<u16>,
    flows: Seed,
    /// The identification of the last packet.
    id: u32,
}

/// A bridged VPN.
#[derive(Debug)]
struct Network {
    vpn: VpnId,
    bridge: VpnBridge,
    /// The ends of the way to each peer. `None` for one without an address of its own.
    peers: Vec<Option<Ends>>,
}

/// Our address in a VPN and a peer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    V4 { own: Ipv4Addr, peer: Ipv4Addr },
    V6 { own: Ipv6Addr, peer: Ipv6Addr },
}

impl Ends {
    fn peer(self) -> IpAddr {
        match self {
            Ends::V4 { peer, .. } => peer.into(),
            Ends::V6 { peer, .. } => peer.into(),
        }
    }
}

/// What an inner packet is to the bridge.
enum Look {
    /// Not its own.
    Other,
    /// A fragment of what may be its own.
    Piece,
    /// A datagram to its port, which lies there in the packet.
    Datagram(Range<usize>),
}

impl Overlay {
    /// The bridged VPNs of `settings`.
    pub fn new(settings: &Settings, rng: &mut dyn Rng) -> Overlay {
        let networks = (0u16..).map(VpnId).zip(&settings.vpns).filter_map(|(id, vpn)| {
            let ends = |address: IpAddr| match address {
                IpAddr::V4(peer) => vpn.ipv4.map(|own| Ends::V4 { own: own.address, peer }),
                IpAddr::V6(peer) => vpn.ipv6.map(|own| Ends::V6 { own: own.address, peer }),
            };
            let peers = vpn.peers.iter();
            let peers =
                peers.map(|peer| peer.allowed_ips.iter().filter_map(|network| network.host()).find_map(ends));
            Some(Network { vpn: id, bridge: vpn.bridge?, peers: peers.collect() })
        });
        Overlay {
            networks: networks.collect(),
            reassembler: Reassembler::new(BRIDGED, Seed::draw(rng)),
            queue: VecDeque::new(),
            listen_ports: settings.vpns.iter().map(|vpn| vpn.listen_port).collect(),
            flows: Seed::draw(rng),
            id: rng.next_u64() as u32,
        }
    }

    /// The peers that are bridged, each with how its VPN is.
    pub fn peers(&self) -> impl Iterator<Item = (PeerId, VpnBridge)> + '_ {
        self.networks.iter().flat_map(|network| {
            let bridged = (0u16..).zip(&network.peers).filter(|(_, ends)| ends.is_some());
            bridged.map(|(peer, _)| (PeerId { vpn: network.vpn, peer }, network.bridge))
        })
    }

    /// Fragments and packets that wait.
    pub fn held(&self) -> usize {
        self.reassembler.held().saturating_add(self.queue.len())
    }

    /// The bridged VPNs' fragments, for their timers.
    pub fn fragments(&mut self) -> &mut Reassembler {
        &mut self.reassembler
    }

    /// As [`Reassembler::poll_timeout`].
    pub fn poll_timeout(&self) -> Option<crate::time::Instant> {
        self.reassembler.poll_timeout()
    }

    /// True when packets for peers wait.
    pub fn has_packets(&self) -> bool {
        !self.queue.is_empty()
    }

    /// The next packet for a peer; it begins at its IP header.
    pub fn poll_packet(&mut self) -> Option<(PeerId, Frame)> {
        self.queue.pop_front()
    }

    /// True for an Ethernet frame with a datagram from a port on which a VPN listens.
    pub fn is_outer(&self, frame: &[u8]) -> bool {
        let Some((header, packet)) = Header::parse(frame) else { return false };
        let datagram = match header.ethertype {
            ethertype::IPV4 => Ipv4::parse(packet)
                .filter(|view| view.protocol() == UDP && view.fragment_offset() == 0)
                .map(Ipv4::payload),
            ethertype::IPV6 => {
                Ipv6::parse(packet).filter(|view| view.next_header() == UDP).map(Ipv6::payload)
            }
            _ => None,
        };
        let source = datagram.and_then(|datagram| u16_at(datagram, 0));
        source.is_some_and(|source| self.listen_ports.contains(&source))
    }

    fn network(&self, peer: PeerId) -> Option<(VpnBridge, Ends)> {
        let network = self.networks.iter().find(|network| network.vpn == peer.vpn)?;
        Some((network.bridge, (*network.peers.get(usize::from(peer.peer))?)?))
    }

    /// Puts the headers on a frame that is plain, and queues what it becomes.
    fn wrap(&mut self, peer: PeerId, mtu: u16, mut frame: Frame, egress: &mut Egress) {
        let Some((VpnBridge { vni, .. }, ends)) = self.network(peer) else {
            return egress.drop(frame, DropReason::NoRoute);
        };
        let source_port = source_port(&self.flows, frame.bytes());
        let ip = match ends {
            Ends::V4 { .. } => ipv4::MIN_HEADER,
            Ends::V6 { .. } => ipv6::HEADER,
        };
        let front = ip + UDP_HEADER + vxlan::Header::LEN;
        let total = front.saturating_add(frame.len());
        let Ok(datagram) = u16::try_from(total - ip) else {
            return egress.drop(frame, DropReason::TooBig);
        };
        if u16::try_from(total).is_err() {
            return egress.drop(frame, DropReason::TooBig);
        }
        frame.offload = Offload::default();
        if frame.push(front).is_none() {
            return egress.drop(frame, DropReason::Internal);
        }
        self.id = self.id.wrapping_add(1);
        let is_whole = total <= usize::from(mtu);
        let pseudo = match ends {
            Ends::V4 { own, peer } => Sum::pseudo_v4(own, peer, UDP, datagram),
            Ends::V6 { own, peer } => Sum::pseudo_v6(own, peer, UDP, u32::from(datagram)),
        };
        let Some((header, rest)) = frame.bytes_mut().split_at_mut_checked(ip) else {
            return egress.drop(frame, DropReason::Internal);
        };
        let [s0, s1] = source_port.to_be_bytes();
        let [d0, d1] = vxlan::PORT.to_be_bytes();
        let [l0, l1] = datagram.to_be_bytes();
        if let Some((udp, inner)) = rest.split_first_chunk_mut::<UDP_HEADER>() {
            *udp = [s0, s1, d0, d1, l0, l1, 0, 0];
            if let Some(place) = inner.first_chunk_mut() {
                *place = vxlan::Header { vni }.to_bytes();
            }
        }
        if !is_whole || matches!(ends, Ends::V6 { .. }) {
            let checksum = pseudo.plus(Sum::of(rest)).udp_checksum();
            set_u16(rest, 6, checksum);
        }
        match ends {
            Ends::V4 { own, peer } => {
                let (source, destination, identification) = (own, peer, self.id as u16);
                let fields =
                    ipv4::Header { source, destination, protocol: UDP, hops: HOP_LIMIT, identification };
                header.copy_from_slice(&fields.to_bytes(total as u16));
            }
            Ends::V6 { own, peer } => {
                let fields = ipv6::Header { source: own, destination: peer, hop_limit: HOP_LIMIT };
                header.copy_from_slice(&fields.to_bytes(UDP, datagram));
            }
        }
        if is_whole {
            return self.queue.push_back((peer, frame));
        }
        let mut fragments = VecDeque::new();
        let cut = match ends {
            Ends::V4 { .. } => fragment(frame, mtu, egress, &mut fragments),
            Ends::V6 { .. } => fragment6(frame, mtu, self.id, egress, &mut fragments),
        };
        self.queue.extend(fragments.into_iter().map(|frame| (peer, frame)));
        if let Err(frame) = cut {
            egress.drop(frame, DropReason::TooBig);
        }
    }
}

impl Forwarder {
    /// Sends an Ethernet frame to a bridged peer.
    pub(in crate::forward) fn transmit_to_peer(
        &mut self,
        peer: PeerId,
        mut frame: Frame,
        egress: &mut Egress,
    ) {
        let mtu = self.mtu_to(peer);
        clamp(&mut frame, room(mtu, self.overlay.network(peer).map(|(_, ends)| ends)));
        if is_plain(&frame) {
            return self.overlay.wrap(peer, mtu, frame, egress);
        }
        match pieces(frame, Header::LEN, egress) {
            Ok(pieces) => {
                pieces.into_iter().for_each(|piece| self.overlay.wrap(peer, mtu, piece, egress));
            }
            Err(frame) => egress.drop(frame, DropReason::GsoMalformed),
        }
    }

    /// Largest IP packet in the tunnel to a bridged peer.
    fn mtu_to(&self, peer: PeerId) -> u16 {
        let ends = self.overlay.network(peer).map(|(_, ends)| ends);
        ends.and_then(|ends| self.tunnels.mtu(peer.vpn, ends.peer())).unwrap_or(USUAL_MTU)
    }

    /// The next packet for a peer, before it is sealed.
    #[cfg(any(test, feature = "sim"))]
    pub fn poll_for_peer(&mut self) -> Option<(PeerId, Frame)> {
        self.overlay.poll_packet()
    }

    /// A peer has sent `frame`, an IP packet in the VPN, which is open. What is not the bridge's ends.
    #[cfg(any(test, feature = "sim"))]
    pub fn receive_for_bridge(
        &mut self,
        cx: &mut crate::machine::Cx<'_>,
        peer: PeerId,
        frame: Frame,
        egress: &mut Egress,
        punts: &mut VecDeque<crate::forward::Punt>,
    ) {
        let mut turn = Turn::new(cx, egress, punts);
        if let Some(frame) = self.receive_vxlan(&mut turn, peer, frame) {
            turn.egress.drop(frame, DropReason::NotListening);
        }
    }

    /// A packet of a peer's, decrypted, whose source may be the peer's; `frame` begins at its IP header. What is not the
    /// bridge's is given back; it is whole then, if it is a datagram from the peer's own address to ours.
    #[must_use]
    pub(in crate::forward) fn receive_vxlan(
        &mut self,
        turn: &mut Turn<'_>,
        peer: PeerId,
        mut frame: Frame,
    ) -> Option<Frame> {
        let Some((bridge, ends)) = self.overlay.network(peer) else { return Some(frame) };
        let datagram = match look(frame.bytes(), ends) {
            Look::Other => return Some(frame),
            Look::Datagram(datagram) => datagram,
            Look::Piece => {
                let interface = Interface::Vpn(peer.vpn);
                frame = self.overlay.reassembler.handle(turn.now, interface, frame, turn.egress)?;
                match look(frame.bytes(), ends) {
                    Look::Datagram(datagram) => datagram,
                    Look::Other | Look::Piece => return Some(frame),
                }
            }
        };
        match self.open(bridge, ends, datagram, &mut frame) {
            Ok(header) => {
                clamp(&mut frame, room(self.mtu_to(peer), Some(ends)));
                self.bridge(turn, bridge.lan, BridgePort::Peer(peer), header, frame);
            }
            Err(reason) => turn.egress.drop(frame, reason),
        }
        None
    }

    /// Makes of a packet with a datagram the Ethernet frame in it, if it is one for this network.
    fn open(
        &self,
        bridge: VpnBridge,
        ends: Ends,
        datagram: Range<usize>,
        frame: &mut Frame,
    ) -> Result<Header, DropReason> {
        let malformed = DropReason::VxlanMalformed;
        let start = datagram.start;
        frame.truncate(datagram.end);
        let octets = frame.bytes().get(start..).ok_or(malformed)?;
        if !has_right_checksum(octets, ends) {
            return Err(malformed);
        }
        let (vxlan::Header { vni }, inner) =
            vxlan::Header::parse(octets.get(UDP_HEADER..).unwrap_or_default())?;
        if vni != bridge.vni {
            return Err(DropReason::VxlanUnknownNetwork);
        }
        let (header, payload) = Header::parse(inner).ok_or(malformed)?;
        if let Some(reason) = self.bad_source(header.source) {
            return Err(reason);
        }
        let lan = self.lans.get(bridge.lan.index()).ok_or(DropReason::Internal)?;
        if payload.len() > usize::from(lan.mtu) {
            return Err(DropReason::TooBig);
        }
        let front = start.saturating_add(UDP_HEADER).saturating_add(vxlan::Header::LEN);
        frame.pull(front).then_some(header).ok_or(malformed)
    }
}

/// Largest IP packet of a station's that travels in one piece in packets of `mtu` octets.
fn room(mtu: u16, ends: Option<Ends>) -> u16 {
    let ip = match ends {
        Some(Ends::V6 { .. }) => ipv6::HEADER,
        Some(Ends::V4 { .. }) | None => ipv4::MIN_HEADER,
    };
    let around = ip + UDP_HEADER + vxlan::Header::LEN + Header::LEN;
    mtu.saturating_sub(u16::try_from(around).unwrap_or(u16::MAX))
}

/// Lowers the MSS that a TCP connection begins with to what fits into packets of `room` octets: nothing would be lost
/// otherwise, but each of its segments would travel in two pieces.
fn clamp(frame: &mut Frame, room: u16) {
    let checksum = frame.offload.checksum;
    let Some((header, packet)) = frame.bytes_mut().split_at_mut_checked(Header::LEN) else { return };
    match u16_at(header, 12) {
        Some(ethertype::IPV4) => {
            clamp_mss(packet, mss_of(room), checksum);
        }
        Some(ethertype::IPV6) => {
            let chain = Chain::of(packet)
                .ok()
                .filter(|chain| chain.protocol == ipv6::TCP && chain.fragment.is_none());
            let segment = chain.and_then(|chain| packet.get_mut(chain.transport..));
            if let Some(segment) = segment {
                clamp_segment(segment, mss6_of(room), checksum);
            }
        }
        _ => {}
    }
}

/// The source port of the datagram with an Ethernet frame: the same for all of a flow's.
fn source_port(seed: &Seed, frame: &[u8]) -> u16 {
    let (header, packet) = frame.split_at_checked(Header::LEN).unwrap_or((frame, &[]));
    // Addresses and ports, where a packet usually has them.
    let flow = match u16_at(header, 12) {
        Some(ethertype::IPV4) => Ipv4::parse_quoted(packet).map(|view| {
            let ports = if view.is_fragment() { None } else { view.payload().first_chunk::<4>() };
            (packet.get(12..20).unwrap_or_default(), view.protocol(), ports)
        }),
        Some(ethertype::IPV6) => Ipv6::parse_quoted(packet).map(|view| {
            let has_ports = matches!(view.next_header(), ipv6::TCP | ipv6::UDP);
            let ports = view.payload().first_chunk::<4>().filter(|_| has_ports);
            (packet.get(8..40).unwrap_or_default(), view.next_header(), ports)
        }),
        _ => None,
    };
    FIRST_PORT | (seed.hash_one((header, flow)) as u16 & !FIRST_PORT)
}

/// What a packet is that has come between these ends, or not.
fn look(packet: &[u8], ends: Ends) -> Look {
    let (at, end, is_fragment) = match ends {
        Ends::V4 { own, peer } => {
            let Some(view) = Ipv4::parse(packet).filter(|view| Sum::of(view.header()).is_right()) else {
                return Look::Other;
            };
            if (view.source(), view.destination(), view.protocol()) != (peer, own, UDP) {
                return Look::Other;
            }
            (view.header_len(), view.total_len(), view.is_fragment())
        }
        Ends::V6 { own, peer } => {
            let Some(view) = Ipv6::parse(packet) else { return Look::Other };
            let end = ipv6::HEADER.saturating_add(view.payload_len());
            let Ok(chain) = Chain::of(packet.get(..end).unwrap_or_default()) else { return Look::Other };
            if (view.source(), view.destination(), chain.protocol) != (peer, own, UDP) {
                return Look::Other;
            }
            (chain.transport, end, chain.fragment.is_some())
        }
    };
    if is_fragment {
        return Look::Piece;
    }
    let datagram = packet.get(at..end).unwrap_or_default();
    match (u16_at(datagram, 2), u16_at(datagram, 4).map(usize::from)) {
        (Some(vxlan::PORT), Some(len)) if len >= UDP_HEADER && len <= datagram.len() => {
            Look::Datagram(at..at.saturating_add(len))
        }
        _ => Look::Other,
    }
}

/// Over IPv6, too, tunnels do without a checksum (RFC 6935 §5).
fn has_right_checksum(datagram: &[u8], ends: Ends) -> bool {
    if u16_at(datagram, 6) == Some(0) {
        return true;
    }
    let Ok(len) = u16::try_from(datagram.len()) else { return false };
    let pseudo = match ends {
        Ends::V4 { own, peer } => Sum::pseudo_v4(peer, own, UDP, len),
        Ends::V6 { own, peer } => Sum::pseudo_v6(peer, own, UDP, u32::from(len)),
    };
    pseudo.plus(Sum::of(datagram)).is_right()
}
