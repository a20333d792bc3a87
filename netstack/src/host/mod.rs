//! The router as a host: it answers pings, refuses what nobody listens to, and carries its services' UDP and TCP.
//!
//! How it works: a packet for one of the router's addresses is checked from end to end (`check`, `check6`), so that nothing
//! contradictory reaches what is behind. An echo request is answered here (`icmp`, `icmp6`), and so is an IPv6 packet that
//! cannot be taken. UDP and TCP go to smoltcp, which has the sockets: it also answers a closed UDP port of IPv4 with "port
//! unreachable" and a closed TCP port with RST. Packets on their way out wait for [`Host::poll_transmit`]; they begin at
//! their IP header. The Forwarder routes them, but for those of a link-local address, which go out by their link (`scope`).
//!
//! smoltcp neither discovers neighbours nor speaks on its own account: to it, the router is a host behind a cable that
//! carries IP packets, with whatever address a packet is for.
//!
//! After sockets were used, [`Host::handle_timeout`] lets them speak. A socket's name ([`UdpId`], [`TcpId`]) is never
//! given out twice, and one that is gone is one on which nothing happens.
//!
//! Fragments are not put together here: a packet comes whole, or not at all.

mod check;
mod check6;
mod icmp;
mod icmp6;
mod queue;
mod scope;
#[cfg(test)]
mod tests;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};

use smoltcp::iface::{Config, Interface as Stack, SocketHandle, SocketSet};
use smoltcp::socket::{tcp, udp};
use smoltcp::wire::{HardwareAddress, IpEndpoint, IpListenEndpoint};

use crate::frame::Frame;
use crate::id::Interface;
use crate::ledger::DropReason;
use crate::machine::Cx;
use crate::rng::Rng;
use crate::time::{Duration, Instant};
use check::Verdict;
use queue::Queue;

pub use scope::scoped;

/// Largest packet that the router's sockets send, in octets: small enough for every path.
pub const MTU: usize = 1280;
/// Largest UDP payload that a socket sends over IPv4: [`MTU`] less the headers.
pub const UDP4_MAX: usize = MTU - 28;
/// Largest UDP payload that a socket sends over IPv6: [`MTU`] less the headers.
pub const UDP6_MAX: usize = MTU - 48;
/// Largest UDP payload that a socket takes in.
const UDP_RECEIVE_MAX: usize = 4096;
/// Lowest port of the router's own questions (RFC 6056 §3.2: as many as possible).
const FIRST_EPHEMERAL_PORT: u16 = 1024;
/// Silence of its peer after which a TCP connection is given up.
const TCP_TIMEOUT: Duration = Duration::from_secs(15);

/// A UDP socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UdpId(u64);

/// A TCP socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TcpId(u64);

/// Where a packet of the router's own goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// By the routing table.
    Routed,
    /// Out by this interface, to a neighbour: one of its addresses is link-local.
    Link(Interface),
}

/// A UDP datagram that came in. Its link-local addresses bear their link, as [`scoped`] has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// Who sent it.
    pub from: SocketAddr,
    /// The router's address that it was sent to.
    pub to: IpAddr,
    /// What it says.
    pub payload: Vec<u8>,
}

/// How far a TCP socket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TcpState {
    /// Waiting for somebody to connect.
    Listening,
    /// Shaking hands.
    Opening,
    /// Data may flow, at least in one direction.
    Open,
    /// Both sides have closed, and the last segments are under way.
    Closing,
    /// Over, or never begun.
    Closed,
}

/// The router as a host.
pub struct Host {
    addresses: BTreeSet<IpAddr>,
    stack: Stack,
    sockets: SocketSet<'static>,
    queue: Queue,
    next_id: u64,
    udp: BTreeMap<UdpId, (SocketHandle, u16)>,
    tcp: BTreeMap<TcpId, SocketHandle>,
    /// TCP sockets that were removed, and may still have a reset to send.
    doomed: Vec<SocketHandle>,
    /// Ports of the UDP sockets.
    ports: BTreeSet<u16>,
    deadline: Option<Instant>,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
            .field("addresses", &self.addresses)
            .field("udp", &self.udp.len())
            .field("tcp", &self.tcp.len())
            .finish_non_exhaustive()
    }
}

impl Host {
    /// A host without addresses.
    pub fn new(cx: &mut Cx<'_>) -> Self {
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = cx.rng.next_u64();
        let mut queue = Queue::default();
        let mut stack = Stack::new(config, &mut queue, to_smoltcp(cx.now));
        // Which addresses are ours is decided before a packet gets there.
        stack.set_any_ip(true);
        Host {
            addresses: BTreeSet::new(),
            stack,
            sockets: SocketSet::new(Vec::new()),
            queue,
            next_id: 0,
            udp: BTreeMap::new(),
            tcp: BTreeMap::new(),
            doomed: Vec::new(),
            ports: BTreeSet::new(),
            deadline: None,
        }
    }

    /// Sets the router's addresses: those of its LANs, uplinks and concentrators.
    pub fn set_addresses(&mut self, addresses: impl IntoIterator<Item = IpAddr>) {
        self.addresses = addresses.into_iter().collect();
    }

    /// True when `address` is one of the router's.
    pub fn has_address(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address)
    }

    /// A packet came in by `interface`, beginning at its IP header. An error says why it was of no use.
    pub fn receive(
        &mut self,
        cx: &mut Cx<'_>,
        interface: Interface,
        packet: &Frame,
    ) -> Result<(), DropReason> {
        if self.queue.is_full() {
            return Err(DropReason::ServiceOverload);
        }
        let packet = check::complete(packet);
        let verdict = match packet.first().map(|first| first >> 4) {
            Some(6) => check6::check(
                packet,
                |address| self.addresses.contains(&address.into()),
                |port| self.ports.contains(&port),
            ),
            _ => check::check(packet, |address| self.addresses.contains(&address.into())),
        };
        match verdict? {
            Verdict::Reply(mut reply) => {
                enter(&mut reply, interface);
                self.queue.send(reply);
            }
            Verdict::Understood => {}
            Verdict::ForSockets(mut packet) => {
                enter(&mut packet, interface);
                self.queue.receive(packet);
                self.handle_timeout(cx);
            }
        }
        Ok(())
    }

    /// Lets the sockets do what is due, and send what they were given.
    pub fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        let now = to_smoltcp(cx.now);
        self.stack.poll(now, &mut self.queue, &mut self.sockets);
        for handle in self.doomed.drain(..) {
            self.sockets.remove(handle);
        }
        self.deadline = self.stack.poll_at(now, &self.sockets).map(|at| from_smoltcp(at).max(cx.now));
    }

    /// When the host wants to be called next, if ever.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    /// Octets of the packet that [`Host::poll_transmit`] will write next.
    pub fn next_len(&self) -> Option<usize> {
        self.queue.next_len()
    }

    /// Writes the next packet into `frame`, beginning at its IP header, and says where it goes. `None` when there is none, or
    /// none that fits.
    pub fn poll_transmit(&mut self, frame: &mut Frame) -> Option<Way> {
        let mut packet = self.queue.pop()?;
        let way = match packet.first().map(|first| first >> 4) {
            Some(6) => scope::leave(&mut packet).map_or(Way::Routed, Way::Link),
            _ => Way::Routed,
        };
        frame.extend(&packet).then_some(way)
    }

    /// Opens a UDP socket on `port`, in which `datagrams` can wait. `None` when the port is taken or 0.
    pub fn udp_bind(&mut self, port: u16, datagrams: usize) -> Option<UdpId> {
        if port == 0 || !self.ports.insert(port) {
            return None;
        }
        let buffer = |octets: usize| {
            udp::PacketBuffer::new(
                vec![udp::PacketMetadata::EMPTY; datagrams],
                vec![0; octets.saturating_mul(datagrams)],
            )
        };
        let mut socket = udp::Socket::new(buffer(UDP_RECEIVE_MAX), buffer(UDP4_MAX));
        if socket.bind(port).is_err() {
            self.ports.remove(&port);
            return None;
        }
        let id = UdpId(self.fresh_id());
        self.udp.insert(id, (self.sockets.add(socket), port));
        Some(id)
    }

    /// Opens a UDP socket on a port that nobody can guess (RFC 5452 §9.2), in which one datagram can wait.
    pub fn udp_bind_any(&mut self, rng: &mut dyn Rng) -> Option<UdpId> {
        (0..16).find_map(|_| self.udp_bind(ephemeral_port(rng), 1))
    }

    /// Sends a datagram from the router's address `source`, which is of the family of `to`. False when it is not, when the
    /// payload is too long, or when the socket is gone or has no room.
    pub fn udp_send(&mut self, id: UdpId, source: IpAddr, to: SocketAddr, payload: &[u8]) -> bool {
        let Some(&(handle, _)) = self.udp.get(&id) else { return false };
        let most = if to.is_ipv6() { UDP6_MAX } else { UDP4_MAX };
        if payload.len() > most || source.is_unspecified() || source.is_ipv6() != to.is_ipv6() {
            return false;
        }
        let mut meta = udp::UdpMetadata::from(endpoint(to));
        meta.local_address = Some(source.into());
        self.sockets.get_mut::<udp::Socket<'_>>(handle).send_slice(payload, meta).is_ok()
    }

    /// The next datagram that came in on a socket.
    pub fn udp_receive(&mut self, id: UdpId) -> Option<Datagram> {
        let &(handle, _) = self.udp.get(&id)?;
        let (payload, meta) = self.sockets.get_mut::<udp::Socket<'_>>(handle).recv().ok()?;
        let from = SocketAddr::new(meta.endpoint.addr.into(), meta.endpoint.port);
        Some(Datagram { from, to: meta.local_address?.into(), payload: payload.to_vec() })
    }

    /// Closes a UDP socket.
    pub fn udp_close(&mut self, id: UdpId) {
        if let Some((handle, port)) = self.udp.remove(&id) {
            self.sockets.remove(handle);
            self.ports.remove(&port);
        }
    }

    /// A TCP socket with buffers of `receive` and `send` octets.
    pub fn tcp_open(&mut self, receive: usize, send: usize) -> TcpId {
        let buffer = |octets| tcp::SocketBuffer::new(vec![0; octets]);
        let mut socket = tcp::Socket::new(buffer(receive), buffer(send));
        socket.set_timeout(Some(smoltcp::time::Duration::from_millis(TCP_TIMEOUT.as_millis() as u64)));
        socket.set_nagle_enabled(false);
        let id = TcpId(self.fresh_id());
        self.tcp.insert(id, self.sockets.add(socket));
        id
    }

    /// Makes a closed socket wait for a connection to `port`.
    pub fn tcp_listen(&mut self, id: TcpId, port: u16) -> bool {
        self.tcp_socket(id).is_some_and(|socket| socket.listen(port).is_ok())
    }

    /// Connects a closed socket from the router's address `source`, by a port that nobody can guess.
    pub fn tcp_connect(&mut self, rng: &mut dyn Rng, id: TcpId, source: IpAddr, to: SocketAddr) -> bool {
        let Some(&handle) = self.tcp.get(&id) else { return false };
        let local = IpListenEndpoint { addr: Some(source.into()), port: ephemeral_port(rng) };
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(handle);
        socket.connect(self.stack.context(), endpoint(to), local).is_ok()
    }

    /// How far a TCP socket is.
    pub fn tcp_state(&mut self, id: TcpId) -> TcpState {
        match self.tcp_socket(id).map(|socket| socket.state()) {
            None | Some(tcp::State::Closed) => TcpState::Closed,
            Some(tcp::State::Listen) => TcpState::Listening,
            Some(tcp::State::SynSent | tcp::State::SynReceived) => TcpState::Opening,
            Some(tcp::State::Established | tcp::State::CloseWait) => TcpState::Open,
            Some(tcp::State::FinWait1 | tcp::State::FinWait2) => TcpState::Open,
            Some(tcp::State::Closing | tcp::State::LastAck | tcp::State::TimeWait) => TcpState::Closing,
        }
    }

    /// The peer of a connection.
    pub fn tcp_peer(&mut self, id: TcpId) -> Option<SocketAddr> {
        let remote = self.tcp_socket(id)?.remote_endpoint()?;
        Some(SocketAddr::new(remote.addr.into(), remote.port))
    }

    /// Takes at most `max` octets that came in, at the end of `into`. `None` when the peer has closed and there are no
    /// more.
    pub fn tcp_read(&mut self, id: TcpId, max: usize, into: &mut Vec<u8>) -> Option<usize> {
        let socket = self.tcp_socket(id)?;
        let before = into.len();
        while into.len().saturating_sub(before) < max {
            let room = max.saturating_sub(into.len().saturating_sub(before));
            let read = socket.recv(|data| {
                let part = data.get(..room).unwrap_or(data);
                into.extend_from_slice(part);
                (part.len(), part.len())
            });
            match read {
                Ok(0) => break,
                Ok(_) => {}
                Err(_) if into.len() > before => break,
                Err(tcp::RecvError::Finished) => return None,
                Err(tcp::RecvError::InvalidState) => break,
            }
        }
        Some(into.len().saturating_sub(before))
    }

    /// Gives octets to send; says how many were taken.
    pub fn tcp_write(&mut self, id: TcpId, data: &[u8]) -> usize {
        self.tcp_socket(id).and_then(|socket| socket.send_slice(data).ok()).unwrap_or(0)
    }

    /// Closes our side of a connection once all was sent.
    pub fn tcp_close(&mut self, id: TcpId) {
        if let Some(socket) = self.tcp_socket(id) {
            socket.close();
        }
    }

    /// Breaks a connection off.
    pub fn tcp_abort(&mut self, id: TcpId) {
        if let Some(socket) = self.tcp_socket(id) {
            socket.abort();
        }
    }

    /// Removes a TCP socket. A connection that it still has is broken off.
    pub fn tcp_remove(&mut self, id: TcpId) {
        self.tcp_abort(id);
        self.doomed.extend(self.tcp.remove(&id));
    }

    fn tcp_socket(&mut self, id: TcpId) -> Option<&mut tcp::Socket<'static>> {
        let &handle = self.tcp.get(&id)?;
        Some(self.sockets.get_mut::<tcp::Socket<'static>>(handle))
    }

    fn fresh_id(&mut self) -> u64 {
        self.next_id = self.next_id.wrapping_add(1);
        self.next_id
    }
}

fn ephemeral_port(rng: &mut dyn Rng) -> u16 {
    let ports = u64::from(u16::MAX - FIRST_EPHEMERAL_PORT) + 1;
    u16::try_from(rng.below(ports)).unwrap_or(0).saturating_add(FIRST_EPHEMERAL_PORT)
}

fn endpoint(address: SocketAddr) -> IpEndpoint {
    IpEndpoint::new(address.ip().into(), address.port())
}

/// Marks an IPv6 packet's link-local addresses.
fn enter(packet: &mut [u8], interface: Interface) {
    if packet.first().is_some_and(|first| first >> 4 == 6) {
        scope::enter(packet, interface);
    }
}

fn to_smoltcp(now: Instant) -> smoltcp::time::Instant {
    smoltcp::time::Instant::from_micros(i64::try_from(now.as_nanos() / 1000).unwrap_or(i64::MAX))
}

fn from_smoltcp(at: smoltcp::time::Instant) -> Instant {
    // Rounded up, so that the call at this instant is not too early.
    let micros = u64::try_from(at.total_micros()).unwrap_or(0);
    Instant::from_nanos(micros.saturating_mul(1000).saturating_add(999))
}
