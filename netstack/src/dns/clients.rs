//! Where queries come from: one UDP socket, and a few TCP connections (RFC 7766).
//!
//! A connection may carry several queries at once; their answers go back as they come. It is closed when its client
//! closes, is silent for [`IDLE`], or sends what is no query. While a connection has [`PIPELINE`] queries unanswered, no
//! more are read from it.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::PORT;
use crate::host::{Host, TcpId, TcpState, UdpId};
use crate::machine::Cx;
use crate::time::{Duration, Instant};

/// Most connections at once.
pub const CONNECTIONS: usize = 16;
/// Most unanswered queries of one connection.
const PIPELINE: usize = 8;
/// Silence after which a connection is closed (RFC 7766 §6.2.3: a few seconds).
const IDLE: Duration = Duration::from_secs(10);
/// Longest time for a connection to be opened or closed.
const HANDSHAKE: Duration = Duration::from_secs(4);
/// Datagrams that can wait.
const BACKLOG: usize = 64;
/// Largest query by TCP.
const QUERY_MAX: usize = 4096;
/// Most octets that wait to be taken by a client.
const OUTBOX_MAX: usize = 4 * 65_537;
const RECEIVE_BUFFER: usize = 2048;
const SEND_BUFFER: usize = 8192;

/// Who asked, to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// A datagram.
    Udp {
        /// Its sender.
        from: SocketAddr,
        /// The router's address that it was sent to.
        to: IpAddr,
    },
    /// A connection.
    Tcp {
        /// Its place.
        slot: usize,
        /// Which of the connections that this place has had.
        serial: u64,
        /// Its client.
        from: IpAddr,
    },
    /// The router itself, for one of its machines.
    Router {
        /// The machine's name for its question.
        ticket: u64,
    },
}

impl Asked {
    /// True when the query came by UDP.
    pub fn is_udp(self) -> bool {
        matches!(self, Asked::Udp { .. })
    }

    /// The client's address.
    pub fn client(self) -> IpAddr {
        match self {
            Asked::Udp { from, .. } => from.ip(),
            Asked::Tcp { from, .. } => from,
            Asked::Router { .. } => IpAddr::V4(Ipv4Addr::LOCALHOST),
        }
    }
}

#[derive(Debug)]
struct Connection {
    socket: TcpId,
    serial: u64,
    /// When something last happened on it; `None` while it listens. Its serial is 0 until it is open.
    since: Option<Instant>,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
    unanswered: usize,
    /// The client has sent all that it will.
    finished: bool,
}

/// Where queries come from.
#[derive(Debug)]
pub struct Clients {
    udp: Option<UdpId>,
    connections: Vec<Connection>,
    serials: u64,
    /// What the router itself has asked: the answers.
    answers: VecDeque<(u64, Vec<u8>)>,
}

impl Clients {
    /// Listens.
    pub fn new(host: &mut Host) -> Self {
        let mut clients = Clients {
            udp: host.udp_bind(PORT, BACKLOG),
            connections: Vec::new(),
            serials: 0,
            answers: VecDeque::new(),
        };
        for _ in 0..CONNECTIONS {
            let socket = host.tcp_open(RECEIVE_BUFFER, SEND_BUFFER);
            host.tcp_listen(socket, PORT);
            let connection = Connection {
                socket,
                serial: 0,
                since: None,
                inbox: Vec::new(),
                outbox: Vec::new(),
                unanswered: 0,
                finished: false,
            };
            clients.connections.push(connection);
        }
        clients
    }

    /// The next query.
    pub fn next_query(&mut self, cx: &mut Cx<'_>, host: &mut Host) -> Option<(Asked, Vec<u8>)> {
        if let Some(datagram) = self.udp.and_then(|udp| host.udp_receive(udp)) {
            return Some((Asked::Udp { from: datagram.from, to: datagram.to }, datagram.payload));
        }
        for (slot, connection) in self.connections.iter_mut().enumerate() {
            if host.tcp_state(connection.socket) != TcpState::Open {
                continue;
            }
            if connection.serial == 0 {
                self.serials += 1;
                connection.serial = self.serials;
                connection.since = Some(cx.now);
            }
            if let Some(query) = connection.read(cx, host) {
                let nobody = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
                let from = host.tcp_peer(connection.socket).map_or(nobody, |peer| peer.ip());
                return Some((Asked::Tcp { slot, serial: connection.serial, from }, query));
            }
        }
        None
    }

    /// Answers a query.
    pub fn answer(&mut self, cx: &mut Cx<'_>, host: &mut Host, asked: Asked, message: &[u8]) {
        match asked {
            Asked::Udp { from, to } => {
                let Some(udp) = self.udp else { return };
                if !host.udp_send(udp, to, from, message) {
                    // The socket may be full of answers that only wait to be carried off.
                    host.handle_timeout(cx);
                    host.udp_send(udp, to, from, message);
                }
            }
            Asked::Router { ticket } => self.answers.push_back((ticket, message.to_vec())),
            Asked::Tcp { .. } => {
                let Some(connection) = self.connection(asked) else { return };
                connection.unanswered = connection.unanswered.saturating_sub(1);
                connection.since = Some(cx.now);
                let Ok(len) = u16::try_from(message.len()) else { return };
                if connection.outbox.len() < OUTBOX_MAX {
                    connection.outbox.extend_from_slice(&len.to_be_bytes());
                    connection.outbox.extend_from_slice(message);
                }
            }
        }
    }

    /// The next answer to a question of the router's own.
    pub fn poll_answer(&mut self) -> Option<(u64, Vec<u8>)> {
        self.answers.pop_front()
    }

    /// Ends a query without an answer. A connection that carries such things is closed.
    pub fn forget(&mut self, asked: Asked) {
        if let Some(connection) = self.connection(asked) {
            connection.unanswered = connection.unanswered.saturating_sub(1);
            connection.finished = true;
        }
    }

    /// Carries answers to the connections, and ends those that are over.
    pub fn poll(&mut self, cx: &mut Cx<'_>, host: &mut Host) {
        for connection in &mut self.connections {
            connection.poll(cx, host);
        }
    }

    /// When the next connection has been silent for too long.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.connections.iter().filter_map(|connection| Some(connection.since? + connection.patience())).min()
    }

    fn connection(&mut self, asked: Asked) -> Option<&mut Connection> {
        let Asked::Tcp { slot, serial, .. } = asked else { return None };
        self.connections.get_mut(slot).filter(|connection| connection.serial == serial)
    }
}

impl Connection {
    /// The next whole query, if more may be taken on.
    fn read(&mut self, cx: &mut Cx<'_>, host: &mut Host) -> Option<Vec<u8>> {
        if self.finished || self.unanswered >= PIPELINE {
            return None;
        }
        let room = (QUERY_MAX + 2).saturating_sub(self.inbox.len());
        match host.tcp_read(self.socket, room, &mut self.inbox) {
            Some(0) => {}
            Some(_) => self.since = Some(cx.now),
            None => self.finished = true,
        }
        let len = usize::from(u16::from_be_bytes(*self.inbox.first_chunk::<2>()?));
        if len > QUERY_MAX {
            self.finished = true;
            self.inbox.clear();
            return None;
        }
        let query = self.inbox.get(2..len + 2)?.to_vec();
        self.inbox.drain(..len + 2);
        // Another query may already be here: the client has not finished before that is answered too.
        self.finished = self.finished && self.inbox.is_empty();
        self.unanswered += 1;
        Some(query)
    }

    /// How long nothing may happen on it.
    fn patience(&self) -> Duration {
        if self.serial == 0 { HANDSHAKE } else { IDLE }
    }

    fn poll(&mut self, cx: &mut Cx<'_>, host: &mut Host) {
        let written = host.tcp_write(self.socket, &self.outbox);
        if written > 0 {
            self.outbox.drain(..written.min(self.outbox.len()));
            self.since = Some(cx.now);
        }
        match host.tcp_state(self.socket) {
            TcpState::Listening => {
                self.since = None;
                return;
            }
            // Somebody knocks, or says goodbye: the clock runs.
            TcpState::Opening | TcpState::Closing => {
                self.since.get_or_insert(cx.now);
            }
            TcpState::Open => {
                if self.finished && self.outbox.is_empty() && self.unanswered == 0 {
                    host.tcp_close(self.socket);
                }
            }
            TcpState::Closed => return self.listen_again(host),
        }
        if self.since.is_some_and(|since| cx.now.since(since) >= self.patience()) {
            self.listen_again(host);
        }
    }

    fn listen_again(&mut self, host: &mut Host) {
        host.tcp_remove(self.socket);
        self.socket = host.tcp_open(RECEIVE_BUFFER, SEND_BUFFER);
        host.tcp_listen(self.socket, PORT);
        self.serial = 0;
        self.since = None;
        self.inbox.clear();
        self.outbox.clear();
        self.unanswered = 0;
        self.finished = false;
    }
}
