//! Questions that are at a server.
//!
//! Each has a socket of its own, on a port that nobody can guess, until it is answered. A server that is silent for
//! [`PATIENCE`] is passed over for the next one, [`ATTEMPTS`] times in all, which is less than stub resolvers wait. One
//! that is silent [`FAILURES`] times in a row is asked last, but for a trial every [`TRIAL`].

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use super::cache::Key;
use super::clients::Asked;
use super::message::{self, Answer, Edns, Query, Rcode, flag};
use super::{EDNS_SIZE, Event, PORT, Upstream};
use crate::host::{Host, TcpId, TcpState, UdpId, scoped};
use crate::id::Interface;
use crate::machine::Cx;
use crate::rng::Rng;
use crate::time::{Duration, Instant};

/// Most questions at servers at once.
pub const QUESTIONS: usize = 256;
/// Most queries that wait for one question.
const WAITERS: usize = 32;
/// Most queries of one client that wait.
const PER_CLIENT: usize = 100;
/// Most questions by TCP at once.
const CONNECTIONS: usize = 16;
/// How long a server may take by UDP.
pub const PATIENCE: Duration = Duration::from_millis(1200);
/// How long a server may take by TCP.
const TCP_PATIENCE: Duration = Duration::from_secs(4);
/// How often a question is asked.
pub const ATTEMPTS: usize = 4;
/// Silences in a row after which a server is asked last.
const FAILURES: u8 = 3;
/// Time between two trials of a silent server.
const TRIAL: Duration = Duration::from_secs(30);
/// Most facts waiting to be told.
const EVENTS: usize = 64;

/// A query that waits for a question's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiter {
    /// Who asked.
    pub asked: Asked,
    /// What, and how.
    pub query: Query,
}

/// How a question ended.
#[derive(Debug)]
pub enum Outcome {
    /// A server has answered.
    Answered {
        /// The question.
        key: Key,
        /// The answer.
        answer: Vec<u8>,
        /// For how many seconds it may be kept.
        lifetime: Option<u32>,
        /// Who waits for it.
        waiters: Vec<Waiter>,
    },
    /// The answer does not fit in a datagram, and these clients asked by UDP.
    Truncated {
        /// Who waits for it.
        waiters: Vec<Waiter>,
    },
    /// No server has answered.
    Failed {
        /// Who waited for it.
        waiters: Vec<Waiter>,
    },
}

#[derive(Debug)]
struct Server {
    upstream: Upstream,
    failures: u8,
    /// Set while the server is silent: when it is tried next.
    trial: Option<Instant>,
}

#[derive(Debug)]
enum Transport {
    /// Nothing is under way.
    None,
    Udp(UdpId),
    Tcp {
        socket: TcpId,
        inbox: Vec<u8>,
        outbox: Vec<u8>,
    },
}

#[derive(Debug)]
struct Asking {
    waiters: Vec<Waiter>,
    attempt: usize,
    /// The server that is asked.
    server: Upstream,
    /// The servers have changed since.
    outdated: bool,
    id: u16,
    /// The name as it was sent.
    spelling: Vec<u8>,
    transport: Transport,
    deadline: Instant,
}

/// What a step of a question led to.
enum Step {
    Wait,
    /// The servers have changed: the first of the new ones.
    Restart,
    /// The server is no use: the next one.
    Next,
    /// The server is silent: the next one.
    Silent,
    /// The same server by TCP: its answer was too long for a datagram.
    Truncated,
    /// The same server by TCP: its answer by UDP cannot be trusted.
    Doubtful,
    Answered {
        answer: Vec<u8>,
        lifetime: Option<u32>,
    },
}

/// The servers, and how they do.
#[derive(Debug, Default)]
struct Servers {
    list: Vec<Server>,
    events: VecDeque<Event>,
}

/// Questions that are at a server.
#[derive(Debug, Default)]
pub struct Upstreams {
    servers: Servers,
    asking: BTreeMap<Key, Asking>,
    discarded: u64,
}

impl Upstreams {
    /// Sets the servers. Says whether they are others than before; then questions under way are asked anew.
    pub fn set(&mut self, host: &Host, upstreams: Vec<Upstream>) -> bool {
        // The router itself would be asked for ever.
        let usable = |upstream: &Upstream| {
            let address = upstream.server;
            let is_nobodys = match address {
                IpAddr::V4(address) => address.is_broadcast(),
                IpAddr::V6(address) => address.to_ipv4_mapped().is_some(),
            };
            let same_family = upstream.source.is_ipv6() == address.is_ipv6();
            same_family
                && !(is_nobodys
                    || host.has_address(address)
                    || address.is_unspecified()
                    || address.is_loopback()
                    || address.is_multicast())
        };
        let upstreams: Vec<Upstream> = upstreams.into_iter().filter(usable).collect();
        if self.servers.list.iter().map(|server| &server.upstream).eq(&upstreams) {
            return false;
        }
        self.servers.list =
            upstreams.into_iter().map(|upstream| Server { upstream, failures: 0, trial: None }).collect();
        for asking in self.asking.values_mut() {
            asking.outdated = true;
        }
        true
    }

    /// Asks a server, or lets the query wait for the answer to an equal one. Otherwise says what to tell the client.
    pub fn ask(&mut self, cx: &mut Cx<'_>, host: &mut Host, key: Key, waiter: &Waiter) -> Result<(), Rcode> {
        let client = waiter.asked.client();
        let waiting = self.asking.values().flat_map(|asking| &asking.waiters);
        if waiting.filter(|other| other.asked.client() == client).count() >= PER_CLIENT {
            return Err(Rcode::Refused);
        }
        if let Some(asking) = self.asking.get_mut(&key) {
            if asking.waiters.contains(waiter) {
                return Ok(()); // The client has lost patience and asks again.
            }
            if asking.waiters.len() >= WAITERS {
                return Err(Rcode::Refused);
            }
            asking.waiters.push(waiter.clone());
            return Ok(());
        }
        if self.asking.len() >= QUESTIONS {
            return Err(Rcode::Refused);
        }
        let Some(server) = self.servers.choose(cx.now, 0) else { return Err(Rcode::ServFail) };
        let mut asking = Asking {
            waiters: [waiter.clone()].into_iter().collect(),
            attempt: 0,
            server,
            outdated: false,
            id: 0,
            spelling: Vec::new(),
            transport: Transport::None,
            deadline: cx.now,
        };
        asking.ask_by_udp(cx, host, &key, server);
        self.asking.insert(key, asking);
        Ok(())
    }

    /// Reads what the servers said, and asks again where they said nothing.
    pub fn poll(&mut self, cx: &mut Cx<'_>, host: &mut Host) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        let by_tcp = |asking: &Asking| matches!(asking.transport, Transport::Tcp { .. });
        let mut connections = self.asking.values().filter(|asking| by_tcp(asking)).count();
        let Upstreams { servers, asking, discarded } = self;
        asking.retain(|key, asking| {
            let goes_on = match asking.step(cx, host, key, discarded) {
                Step::Wait => return true,
                Step::Answered { answer, lifetime } => {
                    servers.answered(asking.server);
                    let waiters = core::mem::take(&mut asking.waiters);
                    outcomes.push(Outcome::Answered { key: key.clone(), answer, lifetime, waiters });
                    false
                }
                Step::Truncated => {
                    servers.answered(asking.server);
                    let waiters = asking.take_waiters_by_udp();
                    outcomes.push(Outcome::Truncated { waiters });
                    connections += 1;
                    !asking.waiters.is_empty()
                        && connections <= CONNECTIONS
                        && asking.ask_by_tcp(cx, host, key)
                }
                Step::Doubtful => {
                    connections += 1;
                    connections <= CONNECTIONS && asking.ask_by_tcp(cx, host, key)
                }
                Step::Restart => {
                    asking.outdated = false;
                    asking.attempt = 0;
                    asking.ask_next(cx, host, key, servers)
                }
                Step::Silent => {
                    servers.silent(cx.now, asking.server);
                    asking.attempt = asking.attempt.saturating_add(1);
                    asking.ask_next(cx, host, key, servers)
                }
                Step::Next => {
                    asking.attempt = asking.attempt.saturating_add(1);
                    asking.ask_next(cx, host, key, servers)
                }
            };
            if !goes_on {
                asking.close(host);
                if !asking.waiters.is_empty() {
                    outcomes.push(Outcome::Failed { waiters: core::mem::take(&mut asking.waiters) });
                }
            }
            goes_on
        });
        outcomes
    }

    /// When the next server has been silent for too long.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.asking.values().map(|asking| asking.deadline).min()
    }

    /// The next fact.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.servers.events.pop_front()
    }

    /// Number of answers discarded.
    pub fn discarded(&self) -> u64 {
        self.discarded
    }
}

impl Servers {
    /// The server for an attempt: those that answer first, in order.
    fn choose(&mut self, now: Instant, attempt: usize) -> Option<Upstream> {
        let passed_over = |server: &Server| server.trial.is_some_and(|trial| trial > now);
        let (last, first): (Vec<&mut Server>, Vec<&mut Server>) =
            self.list.iter_mut().partition(|server| passed_over(server));
        let at = attempt.checked_rem(first.len().saturating_add(last.len()))?;
        let server = first.into_iter().chain(last).nth(at)?;
        if let Some(trial) = &mut server.trial {
            *trial = now + TRIAL;
        }
        Some(server.upstream)
    }

    fn answered(&mut self, upstream: Upstream) {
        if let Some(server) = self.list.iter_mut().find(|server| server.upstream == upstream) {
            server.failures = 0;
            if server.trial.take().is_some() {
                self.tell(Event::Answering { server: upstream.server });
            }
        }
    }

    fn silent(&mut self, now: Instant, upstream: Upstream) {
        if let Some(server) = self.list.iter_mut().find(|server| server.upstream == upstream) {
            server.failures = server.failures.saturating_add(1);
            if server.failures >= FAILURES && server.trial.is_none() {
                server.trial = Some(now + TRIAL);
                self.tell(Event::Silent { server: upstream.server });
            }
        }
    }

    fn tell(&mut self, event: Event) {
        if self.events.len() < EVENTS {
            self.events.push_back(event);
        }
    }
}

impl Asking {
    /// Asks the server of the attempt by UDP. False when the question has been asked often enough.
    fn ask_next(&mut self, cx: &mut Cx<'_>, host: &mut Host, key: &Key, servers: &mut Servers) -> bool {
        if self.attempt >= ATTEMPTS {
            return false;
        }
        match servers.choose(cx.now, self.attempt) {
            Some(server) => {
                self.ask_by_udp(cx, host, key, server);
                true
            }
            None => false,
        }
    }

    fn take_waiters_by_udp(&mut self) -> Vec<Waiter> {
        let (by_udp, by_tcp) =
            core::mem::take(&mut self.waiters).into_iter().partition(|waiter| waiter.asked.is_udp());
        self.waiters = by_tcp;
        by_udp
    }

    fn ask_by_udp(&mut self, cx: &mut Cx<'_>, host: &mut Host, key: &Key, server: Upstream) {
        self.close(host);
        self.server = server;
        self.deadline = cx.now + PATIENCE;
        self.spelling = spell_at_random(cx.rng, &key.question.name);
        let query = self.query(cx, key);
        if let Some(socket) = host.udp_bind_any(cx.rng) {
            let (source, to) = ends(server);
            host.udp_send(socket, source, to, &query);
            self.transport = Transport::Udp(socket);
        }
    }

    fn ask_by_tcp(&mut self, cx: &mut Cx<'_>, host: &mut Host, key: &Key) -> bool {
        self.close(host);
        self.deadline = cx.now + TCP_PATIENCE;
        self.spelling = key.question.name.clone();
        let query = self.query(cx, key);
        let len = u16::try_from(query.len()).unwrap_or(0);
        let outbox = [&len.to_be_bytes(), query.as_slice()].concat();
        let socket = host.tcp_open(16_384, 1024);
        let (source, to) = ends(self.server);
        let connecting = host.tcp_connect(cx.rng, socket, source, to);
        self.transport = Transport::Tcp { socket, inbox: Vec::new(), outbox };
        connecting
    }

    fn query(&mut self, cx: &mut Cx<'_>, key: &Key) -> Vec<u8> {
        self.id = cx.rng.next_u16();
        let edns = key.edns.map(|dnssec| Edns { size: EDNS_SIZE, version: 0, dnssec });
        message::write_query(self.id, key.flags, &self.spelling, &key.question, edns)
    }

    fn step(&mut self, cx: &mut Cx<'_>, host: &mut Host, key: &Key, discarded: &mut u64) -> Step {
        if self.outdated {
            return Step::Restart;
        }
        match self.transport {
            Transport::Udp(socket) => {
                while let Some(datagram) = host.udp_receive(socket) {
                    let ours = (datagram.to, datagram.from) == ends(self.server);
                    match ours.then(|| self.judge(key, datagram.payload, false)).flatten() {
                        Some(step) => return step,
                        None => *discarded += 1,
                    }
                }
            }
            Transport::Tcp { .. } => {
                if let Some(step) = self.step_tcp(host, key) {
                    return step;
                }
            }
            Transport::None => {}
        }
        if self.deadline <= cx.now { Step::Silent } else { Step::Wait }
    }

    fn step_tcp(&mut self, host: &mut Host, key: &Key) -> Option<Step> {
        let Transport::Tcp { socket, inbox, outbox } = &mut self.transport else { return None };
        let socket = *socket;
        let written = host.tcp_write(socket, outbox);
        outbox.drain(..written.min(outbox.len()));
        let room = 65_537usize.saturating_sub(inbox.len());
        let over = host.tcp_read(socket, room, inbox).is_none() || host.tcp_state(socket) == TcpState::Closed;
        let whole = inbox
            .split_first_chunk::<2>()
            .and_then(|(len, rest)| rest.get(..usize::from(u16::from_be_bytes(*len))).map(<[u8]>::to_vec));
        match whole {
            Some(answer) => Some(self.judge(key, answer, true).unwrap_or(Step::Next)),
            None if over => Some(Step::Next),
            None => None,
        }
    }

    /// What an answer means; `None` when it is none to our question.
    fn judge(&self, key: &Key, message: Vec<u8>, by_tcp: bool) -> Option<Step> {
        if message.get(..2)? != self.id.to_be_bytes() {
            return None;
        }
        let Some(answer) = Answer::parse(&message) else {
            // A server that cannot read the query may not repeat its question.
            let flags = u16::from_be_bytes(*message.get(2..)?.first_chunk()?);
            let error =
                flags & flag::RESPONSE != 0 && flags & flag::RCODE != 0 && message.len() == message::HEADER;
            return error.then_some(Step::Next);
        };
        if answer.question != key.question {
            return None;
        }
        if !by_tcp && answer.spelling != self.spelling {
            // Either the server does not keep the spelling, or somebody guesses. TCP tells.
            return Some(Step::Doubtful);
        }
        if !by_tcp && answer.is_truncated() {
            return Some(Step::Truncated);
        }
        let trouble = [Rcode::FormErr, Rcode::ServFail, Rcode::NotImp, Rcode::Refused];
        if trouble.iter().any(|&rcode| rcode as u16 == answer.rcode()) && self.attempt == 0 {
            return Some(Step::Next);
        }
        Some(Step::Answered { answer: message, lifetime: answer.lifetime })
    }

    fn close(&mut self, host: &mut Host) {
        match core::mem::replace(&mut self.transport, Transport::None) {
            Transport::None => {}
            Transport::Udp(socket) => host.udp_close(socket),
            Transport::Tcp { socket, .. } => host.tcp_remove(socket),
        }
    }
}

/// Our end and the server's, as the host knows them: the link of a link-local address is the uplink.
fn ends(upstream: Upstream) -> (IpAddr, SocketAddr) {
    let on_link = |address| scoped(address, Interface::Wan(upstream.wan));
    (on_link(upstream.source), SocketAddr::new(on_link(upstream.server), PORT))
}

/// A name with each letter in upper or lower case, as `rng` will have it.
fn spell_at_random(rng: &mut dyn Rng, name: &[u8]) -> Vec<u8> {
    let mut bits = 0u64;
    name.iter()
        .enumerate()
        .map(|(at, &octet)| {
            if at % 64 == 0 {
                bits = rng.next_u64();
            }
            bits = bits.rotate_right(1);
            if bits & 1 == 1 { octet.to_ascii_uppercase() } else { octet.to_ascii_lowercase() }
        })
        .collect()
}
