//! WireGuard's place on a packet's way.
//!
//! Out: a packet for a VPN is sealed where it lies ([`Tunnel::seal`]), gets UDP and IP before it, and leaves as the router's own by
//! the way that leads to the peer's endpoint: an uplink, a LAN or a subscriber's session, never a VPN. It has no flow, for
//! the tunnel knows its peers; so a renumbered uplink changes nothing but the source address.
//!
//! In: UDP to a VPN's port at an address of the router is the tunnel's. Data is opened where it lies, and goes on as a packet
//! that came in by the VPN; messages of a handshake go up to Control, which sends back keys ([`TunnelUpdate`]).

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use crate::forward::emit::{is_plain, pieces};
use crate::forward::key::Realm;
use crate::forward::link::Carrier;
use crate::forward::merge::merge;
use crate::forward::{Forwarder, Ingress, Punt, PuntKind, Turn};
use crate::frame::{Checksum, Egress, Frame, Gso, GsoKind};
use crate::id::{Interface, PeerId, PortId, VpnId};
use crate::ledger::DropReason;
use crate::machine::Cx;
use crate::rng::Rng;
use crate::settings::{Endpoint, Settings};
use crate::sight::Fact;
use crate::table::Seed;
use crate::time::{Instant, earliest};
use crate::tunnel::wireguard::{self, Keypair, PeerStatus, Seal, Tunnel};
use crate::wire::checksum::Sum;
use crate::wire::ipv4::{self, UDP};
use crate::wire::ipv6;
use crate::wire::octets::{set_u16, u8_at};

/// Octets of a UDP header (RFC 768).
const UDP_HEADER: usize = 8;
/// Hop limit of what the router itself sends.
const HOPS: u8 = 64;
/// Largest IP packet inside while no peer's endpoint is known: what is left of 1,500 octets with IPv6 outside.
pub(super) const USUAL_MTU: u16 = 1420;
/// Smallest one, whatever the way (RFC 791: every host takes a packet of 576 octets).
const LEAST_MTU: u16 = 576;
/// Most messages that leave as one frame: older kernels cut no more.
const MOST_MESSAGES: usize = 64;
/// Most octets of such a frame, without headers.
const MOST_JOINED: usize = 65_000;
/// First octet of a message with data (type 4).
const DATA: u8 = 4;

/// What Control has negotiated for a tunnel.
#[derive(Debug)]
pub enum TunnelUpdate {
    /// A handshake with a peer has ended well.
    Keys {
        /// The peer.
        peer: PeerId,
        /// Its new keys.
        keypair: Box<Keypair>,
        /// Where the message came from that proved who it is.
        from: SocketAddr,
    },
    /// A peer is reached there, as far as is known.
    Endpoint {
        /// The peer.
        peer: PeerId,
        /// Its address and UDP port.
        endpoint: SocketAddr,
    },
    /// A peer does not answer: what waits for it ends.
    Unreachable {
        /// The peer.
        peer: PeerId,
    },
}

/// Where a message of a tunnel goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageTo {
    /// To a peer, wherever it was heard last.
    Peer(PeerId),
    /// To whoever has asked, from a VPN's port.
    Address(VpnId, SocketAddr),
}

/// Every VPN's tunnel.
#[derive(Debug)]
pub(super) struct Tunnels {
    vpns: Vec<Vpn>,
    /// Some LAN's device takes large segments: what peers send one after the other is merged for it.
    merges: bool,
    /// What peers have sent, opened.
    inbox: VecDeque<(PeerId, Frame)>,
    /// Messages with data, sealed, that leave together where they can.
    outbox: VecDeque<(VpnId, Way, Frame)>,
    /// Messages have come since [`Forwarder::pump`] was last called.
    stirred: bool,
    /// Identification of the next IPv4 packet (RFC 6864 §4.2: they may be fragmented).
    identification: u16,
}

#[derive(Debug)]
struct Vpn {
    listen_port: u16,
    /// Largest IP packet inside, by the configuration.
    given: Option<u16>,
    tunnel: Tunnel,
    /// The way to each peer's endpoint, when it has been looked for since anything changed.
    ways: Vec<Option<Way>>,
    /// The address that each peer knows us by.
    sources: Vec<Option<IpAddr>>,
}

/// How messages leave.
#[derive(Debug, Clone, Copy)]
struct Way {
    to: SocketAddr,
    out: Interface,
    source: IpAddr,
    next_hop: IpAddr,
    /// Largest IP packet on it.
    mtu: u16,
    /// The device there sums UDP.
    sums: bool,
}

impl Way {
    /// Octets of a message's IP and UDP headers.
    const fn headers(&self) -> usize {
        let ip = if self.source.is_ipv4() { ipv4::MIN_HEADER } else { ipv6::HEADER };
        ip + UDP_HEADER
    }

    /// The largest packet inside that fits.
    fn inner_mtu(&self) -> u16 {
        let around = u16::try_from(self.headers().saturating_add(wireguard::OVERHEAD)).unwrap_or(u16::MAX);
        self.mtu.saturating_sub(around).max(LEAST_MTU)
    }
}

impl Tunnels {
    /// Those of `settings`, without keys.
    pub fn new(settings: &Settings, rng: &mut dyn Rng) -> Tunnels {
        let vpns = settings.vpns.iter().map(|vpn| {
            let mut tunnel = Tunnel::new(&vpn.peers, Seed::draw(rng));
            for (index, peer) in (0u16..).zip(&vpn.peers) {
                if let Some(Endpoint::Address(endpoint)) = peer.endpoint {
                    tunnel.set_endpoint(index, endpoint);
                }
            }
            Vpn {
                listen_port: vpn.listen_port,
                given: vpn.mtu,
                tunnel,
                ways: vec![None; vpn.peers.len()],
                sources: vec![None; vpn.peers.len()],
            }
        });
        let takes = |port: &PortId| settings.ports.get(port.index()).is_some_and(|port| port.offload);
        Tunnels {
            vpns: vpns.collect(),
            merges: settings.lans.iter().flat_map(|lan| &lan.ports).any(takes),
            inbox: VecDeque::new(),
            outbox: VecDeque::new(),
            stirred: false,
            identification: 0,
        }
    }

    /// Largest IP packet, in octets, to and from whichever peer of a VPN has `address`.
    pub fn mtu(&self, vpn: VpnId, address: IpAddr) -> Option<u16> {
        let vpn = self.vpns.get(vpn.index())?;
        let way = vpn.tunnel.peer_of(address).and_then(|peer| *vpn.ways.get(usize::from(peer))?);
        let mtu = way.map_or(USUAL_MTU, |way| way.inner_mtu());
        Some(vpn.given.map_or(mtu, |given| given.min(mtu)))
    }

    /// The VPN that listens on a UDP port.
    pub fn at_port(&self, port: u16) -> Option<VpnId> {
        let index = self.vpns.iter().position(|vpn| vpn.listen_port == port)?;
        u16::try_from(index).ok().map(VpnId)
    }

    /// Packets that wait: for keys, or for [`Forwarder::flush`].
    pub fn held(&self) -> usize {
        let waiting = self.inbox.len().saturating_add(self.outbox.len());
        self.vpns.iter().fold(waiting, |held, vpn| held.saturating_add(vpn.tunnel.held()))
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.vpns.iter().fold(None, |at, vpn| earliest(at, vpn.tunnel.poll_timeout()))
    }

    /// The next peer with which a handshake is wanted.
    pub fn poll_wanted(&mut self) -> Option<PeerId> {
        (0u16..)
            .map(VpnId)
            .zip(&mut self.vpns)
            .find_map(|(vpn, state)| Some(PeerId { vpn, peer: state.tunnel.poll_wanted()? }))
    }

    /// How a peer stands.
    pub fn peer(&self, now: Instant, peer: PeerId) -> Option<PeerStatus> {
        self.vpns.get(peer.vpn.index())?.tunnel.status(now, peer.peer)
    }

    /// One frame for `first` and those messages that follow it to the same address, as the device cuts it: all of one
    /// length, but for the last.
    fn join(&mut self, way: &Way, first: Frame, egress: &mut Egress) -> Frame {
        let size = first.len();
        let (mut len, mut count) = (size, 1usize);
        for (_, other, message) in &self.outbox {
            let joined = len.saturating_add(message.len());
            if other.to != way.to || message.len() > size || joined > MOST_JOINED || count >= MOST_MESSAGES {
                break;
            }
            (len, count) = (joined, count.saturating_add(1));
            if message.len() < size {
                break;
            }
        }
        let Ok(size) = u16::try_from(size) else { return first };
        if count == 1 {
            return first;
        }
        let mut large = egress.copy(len);
        let rest = self.outbox.drain(..count.saturating_sub(1)).map(|(_, _, message)| message);
        for message in core::iter::once(first).chain(rest) {
            // There is room: it was asked for.
            large.extend(message.bytes());
            egress.consume(message);
        }
        large.offload.gso = Some(Gso { kind: GsoKind::Udp, size, ecn: false });
        large
    }

    fn get_mut(&mut self, vpn: VpnId) -> Option<&mut Vpn> {
        self.vpns.get_mut(vpn.index())
    }
}

impl Forwarder {
    /// The VPN that a UDP packet to the router is for. What came by a VPN itself is none's: nothing is sealed twice.
    #[inline]
    pub(super) fn tunnel_at(&self, ingress: Ingress, destination: IpAddr, port: u16) -> Option<VpnId> {
        if self.tunnels.vpns.is_empty() || matches!(ingress.interface, Interface::Vpn(_) | Interface::Router)
        {
            return None;
        }
        let vpn = self.tunnels.at_port(port)?;
        let is_here = match destination {
            IpAddr::V4(address) => {
                self.networks.is_router(address)
                    || self.links.open_wans().any(|(_, ipv4)| ipv4.address == address)
            }
            IpAddr::V6(address) => self.v6.networks.is_router(address),
        };
        is_here.then_some(vpn)
    }

    /// A message for a VPN, in a packet that begins at its IP header and has its UDP header at `udp`.
    pub(super) fn receive_message(
        &mut self,
        turn: &mut Turn<'_>,
        vpn: VpnId,
        source: IpAddr,
        udp: usize,
        frame: Frame,
    ) {
        if frame.offload.gso.is_none() {
            return self.receive_datagram(turn, vpn, source, udp, frame);
        }
        match pieces(frame, 0, turn.egress) {
            Ok(datagrams) => {
                for datagram in datagrams {
                    self.receive_datagram(turn, vpn, source, udp, datagram);
                }
            }
            Err(frame) => turn.egress.drop(frame, DropReason::GsoMalformed),
        }
    }

    /// As [`Forwarder::receive_message`], for a single datagram. Its UDP checksum is not looked at: what it protects is
    /// authenticated.
    fn receive_datagram(
        &mut self,
        turn: &mut Turn<'_>,
        vpn: VpnId,
        source: IpAddr,
        udp: usize,
        mut frame: Frame,
    ) {
        frame.offload = Default::default();
        let header = frame.bytes().get(udp..).and_then(<[u8]>::first_chunk::<UDP_HEADER>);
        let Some(&[s0, s1, _, _, l0, l1, _, _]) = header else {
            return turn.egress.drop(frame, DropReason::TransportMalformed);
        };
        let end = udp.saturating_add(usize::from(u16::from_be_bytes([l0, l1])));
        let start = udp.saturating_add(UDP_HEADER);
        if end < start || end > frame.len() {
            return turn.egress.drop(frame, DropReason::TransportMalformed);
        }
        frame.truncate(end);
        if !frame.pull(start) {
            return turn.egress.drop(frame, DropReason::Internal);
        }
        let from = SocketAddr::new(source, u16::from_be_bytes([s0, s1]));
        if u8_at(frame.bytes(), 0) != Some(DATA) {
            return turn.punts.push_back(Punt { kind: PuntKind::WireGuard { vpn, from }, frame });
        }
        let Some(state) = self.tunnels.get_mut(vpn) else {
            return turn.egress.drop(frame, DropReason::Internal);
        };
        let opened = state.tunnel.open(turn.now, from, &mut frame);
        self.tunnels.stirred |= opened.is_ok();
        match opened {
            Ok(opened) if opened.keepalive => turn.egress.consume(frame),
            Ok(opened) => self.tunnels.inbox.push_back((PeerId { vpn, peer: opened.peer }, frame)),
            Err(reason) => turn.egress.drop(frame, reason),
        }
    }

    /// A packet that a peer has sent and may send.
    fn receive_inner(&mut self, turn: &mut Turn<'_>, peer: PeerId, frame: Frame) {
        let Some(frame) = self.receive_vxlan(turn, peer, frame) else { return };
        let ingress = Ingress { interface: Interface::Vpn(peer.vpn), realm: Realm::INSIDE, epoch: 0 };
        match u8_at(frame.bytes(), 0).map(|first| first >> 4) {
            Some(6) => self.ipv6(turn, ingress, false, frame),
            _ => self.ipv4(turn, ingress, frame),
        }
    }

    /// Passes on what the tunnels have opened, and sends what they have sealed. False when there was nothing.
    pub fn flush(&mut self, cx: &mut Cx<'_>, egress: &mut Egress, punts: &mut VecDeque<Punt>) -> bool {
        let stirred = core::mem::take(&mut self.tunnels.stirred);
        let any = stirred
            || self.overlay.has_packets()
            || !self.tunnels.inbox.is_empty()
            || !self.tunnels.outbox.is_empty();
        let mut turn = Turn::new(cx, egress, punts);
        while let Some(&(peer, _)) = self.tunnels.inbox.front() {
            let mut packets = VecDeque::new();
            while let Some((_, packet)) = self.tunnels.inbox.pop_front_if(|(by, _)| *by == peer) {
                let vpn = Interface::Vpn(peer.vpn);
                let number = peer.peer.saturating_add(1);
                turn.egress.note(|names| Fact::Tunnel { vpn: names.of(vpn), peer: number, sealed: false });
                turn.egress.show_packet(vpn, false, &packet);
                packets.push_back(packet);
            }
            if self.tunnels.merges {
                merge(&mut packets, turn.egress);
            }
            packets.into_iter().for_each(|packet| self.receive_inner(&mut turn, peer, packet));
        }
        while let Some((peer, packet)) = self.overlay.poll_packet() {
            self.emit_to_peer(&mut turn, peer, packet);
        }
        if stirred {
            self.pump(&mut turn);
        }
        while let Some((vpn, way, message)) = self.tunnels.outbox.pop_front() {
            let message = match way.sums {
                true => self.tunnels.join(&way, message, turn.egress),
                false => message,
            };
            self.transmit_message(&mut turn, vpn, way, message);
        }
        any
    }

    /// Sends a packet that begins at its IP header, and fits, to whichever peer of a VPN has `destination`.
    pub(super) fn emit_to_vpn(&mut self, turn: &mut Turn<'_>, vpn: VpnId, destination: IpAddr, frame: Frame) {
        let peer = self.tunnels.get_mut(vpn).and_then(|vpn| vpn.tunnel.peer_of(destination));
        let Some(peer) = peer else {
            return self.undeliverable(turn, frame, DropReason::WireguardNoPeer);
        };
        let peer = PeerId { vpn, peer };
        if is_plain(&frame) {
            return self.emit_to_peer(turn, peer, frame);
        }
        match pieces(frame, 0, turn.egress) {
            Ok(pieces) => pieces.into_iter().for_each(|piece| self.emit_to_peer(turn, peer, piece)),
            Err(frame) => turn.egress.drop(frame, DropReason::GsoMalformed),
        }
    }

    /// Sends a packet that begins at its IP header, fits, and is whole, to a peer; or lets it wait for keys.
    pub(super) fn emit_to_peer(&mut self, turn: &mut Turn<'_>, peer: PeerId, mut frame: Frame) {
        let Some(way) = self.way_to_peer(turn.now, peer) else {
            return self.undeliverable(turn, frame, DropReason::WireguardNoEndpoint);
        };
        let out = Interface::Vpn(peer.vpn);
        turn.egress.show_packet(out, true, &frame);
        let Some(vpn) = self.tunnels.get_mut(peer.vpn) else {
            return turn.egress.drop(frame, DropReason::Internal);
        };
        match vpn.tunnel.seal(turn.now, peer.peer, &mut frame, usize::from(way.inner_mtu())) {
            Seal::Ready => {
                let number = peer.peer.saturating_add(1);
                turn.egress.note(|names| Fact::Tunnel { vpn: names.of(out), peer: number, sealed: true });
                self.tunnels.outbox.push_back((peer.vpn, way, frame));
            }
            Seal::NoKeys => {
                turn.egress.note(|names| Fact::WaitsForKeys { vpn: names.of(out) });
                let frame = turn.egress.pool.shrink(frame);
                if let Some(displaced) = vpn.tunnel.hold(peer.peer, frame) {
                    turn.egress.drop(displaced, DropReason::WireguardQueue);
                }
            }
            Seal::Failed(reason) => turn.egress.drop(frame, reason),
        }
    }

    /// Sends a message of Control's.
    pub fn send_message(&mut self, cx: &mut Cx<'_>, to: MessageTo, frame: Frame, egress: &mut Egress) {
        let mut punts = VecDeque::new();
        let mut turn = Turn::new(cx, egress, &mut punts);
        let (vpn, way) = match to {
            MessageTo::Peer(peer) => (peer.vpn, self.way_to_peer(turn.now, peer)),
            MessageTo::Address(vpn, to) => (vpn, self.way_to(to)),
        };
        match way {
            Some(way) => self.transmit_message(&mut turn, vpn, way, frame),
            None => turn.egress.drop(frame, DropReason::WireguardNoEndpoint),
        }
    }

    /// Puts UDP and IP before a message and sends it.
    fn transmit_message(&mut self, turn: &mut Turn<'_>, vpn: VpnId, way: Way, mut frame: Frame) {
        let port = self.tunnels.get_mut(vpn).map_or(0, |vpn| vpn.listen_port);
        self.tunnels.identification = self.tunnels.identification.wrapping_add(1);
        if !push_headers(&mut frame, &way, port, self.tunnels.identification) {
            return turn.egress.drop(frame, DropReason::Internal);
        }
        let origin = Ingress::ROUTER.origin();
        let is_large = frame.offload.gso.is_none() && frame.len() > usize::from(way.mtu);
        match (way.to.ip(), is_large) {
            // A message of the largest size on a way that has become narrower.
            (IpAddr::V4(to), true) => self.emit_in_fragments(turn, way.out, to, frame, way.mtu, origin),
            (IpAddr::V6(_), true) => turn.egress.drop(frame, DropReason::TooBig),
            _ => self.emit(turn, way.out, way.next_hop, frame, origin),
        }
    }

    /// The way to a peer's endpoint; `None` when it has none, or no way leads there now.
    fn way_to_peer(&mut self, now: Instant, peer: PeerId) -> Option<Way> {
        let vpn = self.tunnels.vpns.get(peer.vpn.index())?;
        let to = vpn.tunnel.endpoint(peer.peer)?;
        let known = vpn.ways.get(usize::from(peer.peer)).copied().flatten().filter(|way| way.to == to);
        if known.is_some() {
            return known;
        }
        let way = self.way_to(to)?;
        let vpn = self.tunnels.get_mut(peer.vpn)?;
        *vpn.ways.get_mut(usize::from(peer.peer))? = Some(way);
        let before = vpn.sources.get_mut(usize::from(peer.peer))?.replace(way.source);
        if before.is_some_and(|before| before != way.source) {
            vpn.tunnel.announce(now, peer.peer);
            self.tunnels.stirred = true;
        }
        Some(way)
    }

    /// The way to an address outside: everything but VPNs.
    fn way_to(&self, to: SocketAddr) -> Option<Way> {
        let (out, source, next_hop) = match to.ip() {
            IpAddr::V4(address) => {
                let out = self.networks.way_out(&self.links, address)?;
                (out, IpAddr::V4(self.address_on(out)?), IpAddr::V4(address))
            }
            IpAddr::V6(address) => {
                let out = self.v6.networks.way_out(address)?;
                let source = self.v6.networks.address_for(out, address)?;
                (out, IpAddr::V6(source), IpAddr::V6(self.v6.networks.next_hop(out, address)?))
            }
        };
        let mtu = match to {
            SocketAddr::V4(_) => self.mtu(out, to.ip())?,
            SocketAddr::V6(_) => self.mtu6(out, to.ip())?,
        };
        Some(Way { to, out, source, next_hop, mtu, sums: self.sums(out) })
    }

    /// True when the device by which an interface's packets leave sums UDP.
    fn sums(&self, out: Interface) -> bool {
        let takes = |port: PortId| self.ports.get(port.index()).is_some_and(|port| port.offload);
        match out {
            Interface::Lan(lan) => {
                self.lans.get(lan.index()).is_some_and(|lan| lan.ports.iter().all(|port| takes(*port)))
            }
            _ => self.links.at(out).is_some_and(
                |link| matches!(&link.carrier, Carrier::Ethernet(ethernet) if takes(ethernet.port)),
            ),
        }
    }

    /// Addresses or ways have changed: each peer's is looked for anew.
    pub(super) fn forget_ways(&mut self, now: Instant) {
        for index in 0..self.tunnels.vpns.len() {
            let Some(vpn) = self.tunnels.vpns.get_mut(index) else { return };
            vpn.ways.iter_mut().for_each(|way| *way = None);
            let peers = u16::try_from(vpn.ways.len()).unwrap_or(u16::MAX);
            let vpn = VpnId(u16::try_from(index).unwrap_or(u16::MAX));
            for peer in 0..peers {
                self.way_to_peer(now, PeerId { vpn, peer });
            }
        }
    }

    /// Takes what Control has negotiated for a tunnel.
    pub fn apply_tunnel(&mut self, cx: &mut Cx<'_>, update: TunnelUpdate, egress: &mut Egress) {
        let mut punts = VecDeque::new();
        let mut turn = Turn::new(cx, egress, &mut punts);
        match update {
            TunnelUpdate::Keys { peer, keypair, from } => {
                if let Some(vpn) = self.tunnels.get_mut(peer.vpn) {
                    vpn.tunnel.install(turn.now, peer.peer, *keypair, Some(from));
                }
            }
            TunnelUpdate::Endpoint { peer, endpoint } => {
                if let Some(vpn) = self.tunnels.get_mut(peer.vpn) {
                    vpn.tunnel.set_endpoint(peer.peer, endpoint);
                }
            }
            TunnelUpdate::Unreachable { peer } => {
                let waiting = self.tunnels.get_mut(peer.vpn).map(|vpn| vpn.tunnel.give_up(peer.peer));
                for frame in waiting.into_iter().flatten() {
                    self.undeliverable(&mut turn, frame, DropReason::WireguardNoKeys);
                }
            }
        }
        self.pump(&mut turn);
    }

    /// Time has passed that nobody has counted: peers are to have new keys, and stations to be asked where they are.
    pub fn doubt(&mut self, now: Instant) {
        for vpn in &mut self.tunnels.vpns {
            vpn.tunnel.doubt(now);
        }
        self.lans.iter_mut().for_each(|lan| lan.neighbours.reconfirm(now));
        self.links.segments_mut().for_each(|(_, segment)| segment.neighbours.reconfirm(now));
    }

    /// A port's line was cut: the stations beyond the uplinks there are to be asked where they are.
    pub fn doubt_line(&mut self, now: Instant, port: PortId) {
        let there = self.links.segments_mut().filter(|(_, segment)| segment.port == port);
        there.for_each(|(_, segment)| segment.neighbours.reconfirm(now));
    }

    /// Does what is due in the tunnels.
    pub(super) fn handle_timeout_tunnels(&mut self, cx: &mut Cx<'_>, egress: &mut Egress) {
        for vpn in &mut self.tunnels.vpns {
            vpn.tunnel.handle_timeout(cx.now);
        }
        let mut punts = VecDeque::new();
        self.pump(&mut Turn::new(cx, egress, &mut punts));
    }

    /// Sends what the tunnels have to send of themselves: keepalives, and packets that have waited for keys.
    fn pump(&mut self, turn: &mut Turn<'_>) {
        for index in 0..self.tunnels.vpns.len() {
            let vpn = VpnId(u16::try_from(index).unwrap_or(u16::MAX));
            while let Some((peer, frame)) = self.tunnels.get_mut(vpn).and_then(|vpn| vpn.tunnel.poll_ready())
            {
                self.emit_to_peer(turn, PeerId { vpn, peer }, frame);
            }
            loop {
                let mut frame = turn.egress.originate(wireguard::OVERHEAD);
                let Some(peer) =
                    self.tunnels.get_mut(vpn).and_then(|vpn| vpn.tunnel.poll_transmit(&mut frame))
                else {
                    turn.egress.unused(frame);
                    break;
                };
                match self.way_to_peer(turn.now, PeerId { vpn, peer }) {
                    Some(way) => self.transmit_message(turn, vpn, way, frame),
                    None => turn.egress.drop(frame, DropReason::WireguardNoEndpoint),
                }
            }
        }
    }

    /// The next peer with which a handshake is wanted.
    pub fn poll_wanted(&mut self) -> Option<PeerId> {
        self.tunnels.poll_wanted()
    }

    /// How a VPN's peer stands.
    pub fn peer_status(&self, now: Instant, peer: PeerId) -> Option<PeerStatus> {
        self.tunnels.peer(now, peer)
    }
}

/// Puts the headers of a datagram before its payload. False when there is no room, or it is too long.
fn push_headers(frame: &mut Frame, way: &Way, port: u16, identification: u16) -> bool {
    let Ok(len) = u16::try_from(frame.len().saturating_add(UDP_HEADER)) else { return false };
    let pseudo = match (way.source, way.to.ip()) {
        (IpAddr::V4(source), IpAddr::V4(to)) => Sum::pseudo_v4(source, to, UDP, len),
        (IpAddr::V6(source), IpAddr::V6(to)) => Sum::pseudo_v6(source, to, UDP, len.into()),
        _ => return false,
    };
    let [s0, s1] = port.to_be_bytes();
    let [d0, d1] = way.to.port().to_be_bytes();
    let [l0, l1] = len.to_be_bytes();
    match frame.push(UDP_HEADER) {
        Some(room) => room.copy_from_slice(&[s0, s1, d0, d1, l0, l1, 0, 0]),
        None => return false,
    }
    let checksum = match way.sums {
        true => pseudo.value(),
        false => pseudo.plus(Sum::of(frame.bytes())).udp_checksum(),
    };
    set_u16(frame.bytes_mut(), 6, checksum);
    if way.sums {
        frame.offload.checksum = Checksum::Partial { start: 0, offset: 6 };
    }
    match (way.source, way.to.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let Ok(total) = u16::try_from(frame.len().saturating_add(ipv4::MIN_HEADER)) else { return false };
            let header = ipv4::Header { source, destination, protocol: UDP, hops: HOPS, identification };
            match frame.push(ipv4::MIN_HEADER) {
                Some(room) => room.copy_from_slice(&header.to_bytes(total)),
                None => return false,
            }
            true
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let header = ipv6::Header { source, destination, hop_limit: HOPS };
            match frame.push(ipv6::HEADER) {
                Some(room) => room.copy_from_slice(&header.to_bytes(UDP, len)),
                None => return false,
            }
            true
        }
        _ => false,
    }
}
