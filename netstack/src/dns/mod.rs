//! The DNS forwarder (RFC 5625).
//!
//! How it works. Queries come by UDP and TCP (`clients`), and each is answered by the first that can:
//!
//! 1. [`local`]: names of the site, which never leave it.
//! 2. [`cache`]: answers that are still good.
//! 3. `upstream`: the ISP's servers. Equal questions share one query there. A query has an id and a source port that
//!    nobody can guess, and its name is spelt in random case, which the answer must repeat (RFC 5452 §9, "0x20"). A
//!    server that does not repeat it is asked by TCP, where nobody can forge. A truncated answer is told as such to a
//!    client that asked by UDP; for one that asked by TCP, the query is repeated by TCP.
//!
//! Answers pass through as they came, but for id, spelling and times to live ([`message`]). The machine uses the sockets of
//! [`Host`]: after the host received something, and when a deadline comes, [`Dns::poll`] does what there is to do.

pub mod cache;
mod clients;
pub mod local;
pub mod message;
#[cfg(test)]
mod tests;
mod upstream;

use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::Serialize;

use crate::host::Host;
use crate::id::{Ipv6Cidr, LanId, WanId};
use crate::machine::Cx;
use crate::settings::Settings;
use crate::time::{Instant, earliest};
use cache::{Cache, Key};
use clients::{Asked, Clients};
use local::{Found, Local};
use message::{Query, Rcode, Response, flag, rr};
use upstream::{Outcome, Upstreams, Waiter};

/// UDP payload that the router says it takes, and the most that it sends, in octets (DNS flag day 2020).
pub const EDNS_SIZE: u16 = 1232;
/// UDP payload that a client takes that says nothing (RFC 1035 §4.2.1).
const PLAIN_SIZE: u16 = 512;
/// Time to live of local names, in seconds: short, for a lease may end.
const LOCAL_TTL: u32 = 60;
/// The DNS port.
pub const PORT: u16 = 53;

/// A server to forward to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upstream {
    /// The uplink that told of it.
    pub wan: WanId,
    /// Our address on that uplink, of the server's family.
    pub source: IpAddr,
    /// The server's address.
    pub server: IpAddr,
}

/// What the forwarder has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counters {
    /// Queries by clients, malformed ones included.
    pub queries: u64,
    /// Queries answered from what the router knows itself.
    pub local: u64,
    /// Queries answered from the cache.
    pub hits: u64,
    /// Queries that went to a server, or waited for one that already had.
    pub forwarded: u64,
    /// Queries that no server answered.
    pub failed: u64,
    /// Queries refused: malformed, of a kind that is not forwarded, or too many at once.
    pub refused: u64,
    /// Answers discarded: forged, malformed, or to another question.
    pub discarded: u64,
}

/// A fact of the forwarder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A server has stopped answering.
    Silent {
        /// The server.
        server: IpAddr,
    },
    /// A server answers again.
    Answering {
        /// The server.
        server: IpAddr,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Silent { server } => {
                write!(f, "the DNS server {server} does not answer; the others are asked first")
            }
            Event::Answering { server } => write!(f, "the DNS server {server} answers again"),
        }
    }
}

/// The DNS forwarder.
#[derive(Debug)]
pub struct Dns {
    local: Local,
    cache: Cache,
    clients: Clients,
    upstreams: Upstreams,
    counters: Counters,
}

impl Dns {
    /// A forwarder that listens on every address of `host` and knows the names of `settings`.
    pub fn new(settings: &Settings, host: &mut Host) -> Self {
        Dns {
            local: Local::new(settings),
            cache: Cache::default(),
            clients: Clients::new(host),
            upstreams: Upstreams::default(),
            counters: Counters::default(),
        }
    }

    /// Sets the servers, the preferred one first. When they change, what the old ones said is forgotten.
    pub fn set_upstreams(&mut self, cx: &mut Cx<'_>, host: &mut Host, servers: Vec<Upstream>) {
        if self.upstreams.set(host, servers) {
            self.cache.clear();
            self.poll(cx, host);
        }
    }

    /// Nobody knows how old the answers are that are kept: they are forgotten.
    pub fn forget_answers(&mut self) {
        self.cache.clear();
    }

    /// Replaces a LAN's IPv6 prefixes: the router's address in each, with the prefix's length. Names of the LAN have addresses
    /// in these, and what is asked about others in them is nobody else's business. Prefixes on their way out are left out.
    pub fn set_prefixes(&mut self, lan: LanId, prefixes: impl IntoIterator<Item = Ipv6Cidr>) {
        self.local.set_prefixes(lan, prefixes);
    }

    /// Replaces the names of a LAN's DHCPv6 leases. A name may have several addresses.
    pub fn set_leases6<'a>(&mut self, lan: LanId, leases: impl IntoIterator<Item = (&'a str, Ipv6Addr)>) {
        self.local.set_leases6(lan, leases);
    }

    /// Replaces the names of a LAN's DHCPv4 leases.
    pub fn set_leases<'a>(&mut self, lan: LanId, leases: impl IntoIterator<Item = (&'a str, Ipv4Addr)>) {
        self.local.set_leases(lan, leases);
    }

    /// Asks for the addresses of a host, as a client would: of IPv6 or of IPv4. [`Dns::poll_found`] gives the answer, under
    /// `ticket`; after some seconds at the latest, an empty one when there is none.
    pub fn look_up(&mut self, cx: &mut Cx<'_>, host: &mut Host, name: &str, ipv6: bool, ticket: u64) {
        let name = local::wire_name(name);
        let kind = if ipv6 { rr::AAAA } else { rr::A };
        let question = message::Question { name: name.clone(), kind, class: rr::IN };
        let edns = Some(message::Edns { size: EDNS_SIZE, version: 0, dnssec: false });
        let query = message::write_query(0, flag::RECURSION_DESIRED, &name, &question, edns);
        self.query(cx, host, Asked::Router { ticket }, &query);
    }

    /// The next answer to a question of [`Dns::look_up`]: its ticket and the addresses.
    pub fn poll_found(&mut self) -> Option<(u64, Vec<IpAddr>)> {
        let (ticket, answer) = self.clients.poll_answer()?;
        Some((ticket, message::addresses(&answer)))
    }

    /// Does what there is to do: after the host received something, and when [`Dns::poll_timeout`] has come.
    pub fn poll(&mut self, cx: &mut Cx<'_>, host: &mut Host) {
        while let Some((asked, message)) = self.clients.next_query(cx, host) {
            self.query(cx, host, asked, &message);
        }
        for outcome in self.upstreams.poll(cx, host) {
            self.finish(cx, host, outcome);
        }
        self.counters.discarded = self.upstreams.discarded();
        self.clients.poll(cx, host);
        host.handle_timeout(cx);
    }

    /// When the forwarder wants to be called next, if ever. The host has its own deadline.
    pub fn poll_timeout(&self) -> Option<Instant> {
        earliest(self.clients.poll_timeout(), self.upstreams.poll_timeout())
    }

    /// The next fact.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.upstreams.poll_event()
    }

    /// What the forwarder has done so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn query(&mut self, cx: &mut Cx<'_>, host: &mut Host, asked: Asked, message: &[u8]) {
        let query = match Query::parse(message) {
            Ok(query) => query,
            Err(message::QueryError::Ignore) => return self.clients.forget(asked),
            Err(message::QueryError::Refuse { id, flags, rcode }) => {
                self.counters.queries += 1;
                self.counters.refused += 1;
                return self.clients.answer(cx, host, asked, &message::write_refusal(id, flags, rcode));
            }
        };
        self.counters.queries += 1;
        let question = &query.question;
        let refusal = match (query.edns, question.class, question.kind) {
            (Some(edns), _, _) if edns.version != 0 => Some(Rcode::BadVers),
            (_, rr::IN, rr::AXFR | rr::IXFR | rr::OPT) => Some(Rcode::Refused),
            (_, rr::IN, _) => None,
            _ => Some(Rcode::Refused),
        };
        if let Some(rcode) = refusal {
            self.counters.refused += 1;
            return self.say(cx, host, asked, &query, rcode);
        }
        if let Some(found) = self.local.find(question) {
            self.counters.local += 1;
            let mut response = Response {
                query: &query,
                rcode: Rcode::NoError,
                flags: flag::AUTHORITATIVE,
                answers: &[],
                ttl: LOCAL_TTL,
                zone: None,
            };
            let bytes = match &found {
                Found::Records(records) => {
                    response.answers = records;
                    response.to_bytes()
                }
                Found::NoData(zone) => {
                    response.zone = Some(zone);
                    response.to_bytes()
                }
                Found::NoName(zone) => {
                    response.rcode = Rcode::NxDomain;
                    response.zone = Some(zone);
                    response.to_bytes()
                }
            };
            return self.clients.answer(cx, host, asked, &bytes);
        }
        let key = Key {
            question: question.clone(),
            flags: query.flags & (flag::RECURSION_DESIRED | flag::AUTHENTIC_DATA | flag::CHECKING_DISABLED),
            edns: query.edns.map(|edns| edns.dnssec),
        };
        if let Some(answer) = self.cache.find(cx.now, &key) {
            self.counters.hits += 1;
            return self.pass_on(cx, host, &Waiter { asked, query }, &answer);
        }
        let waiter = Waiter { asked, query };
        match self.upstreams.ask(cx, host, key, &waiter) {
            Ok(()) => self.counters.forwarded += 1,
            Err(rcode) => {
                match rcode {
                    Rcode::Refused => self.counters.refused += 1,
                    _ => self.counters.failed += 1,
                }
                self.say(cx, host, waiter.asked, &waiter.query, rcode);
            }
        }
    }

    /// A question to a server has come to its end.
    fn finish(&mut self, cx: &mut Cx<'_>, host: &mut Host, outcome: Outcome) {
        match outcome {
            Outcome::Answered { key, answer, lifetime, waiters } => {
                for waiter in &waiters {
                    self.pass_on(cx, host, waiter, &answer);
                }
                if let Some(lifetime) = lifetime {
                    self.cache.store(cx.now, key, answer, lifetime);
                }
            }
            Outcome::Truncated { waiters } => {
                for waiter in waiters {
                    self.say_truncated(cx, host, waiter.asked, &waiter.query);
                }
            }
            Outcome::Failed { waiters } => {
                for waiter in waiters {
                    self.counters.failed += 1;
                    self.say(cx, host, waiter.asked, &waiter.query, Rcode::ServFail);
                }
            }
        }
    }

    /// Sends a server's answer to a client, in the client's terms.
    fn pass_on(&mut self, cx: &mut Cx<'_>, host: &mut Host, waiter: &Waiter, answer: &[u8]) {
        let size = waiter.query.edns.map_or(PLAIN_SIZE, |edns| edns.size.clamp(PLAIN_SIZE, EDNS_SIZE));
        if waiter.asked.is_udp() && answer.len() > usize::from(size) {
            return self.say_truncated(cx, host, waiter.asked, &waiter.query);
        }
        let mut answer = answer.to_vec();
        message::address_to(&mut answer, waiter.query.id, &waiter.query.spelling);
        self.clients.answer(cx, host, waiter.asked, &answer);
    }

    fn say_truncated(&mut self, cx: &mut Cx<'_>, host: &mut Host, asked: Asked, query: &Query) {
        let response = Response {
            query,
            rcode: Rcode::NoError,
            flags: flag::TRUNCATED,
            answers: &[],
            ttl: 0,
            zone: None,
        };
        self.clients.answer(cx, host, asked, &response.to_bytes());
    }

    fn say(&mut self, cx: &mut Cx<'_>, host: &mut Host, asked: Asked, query: &Query, rcode: Rcode) {
        let response = Response { query, rcode, flags: 0, answers: &[], ttl: 0, zone: None };
        self.clients.answer(cx, host, asked, &response.to_bytes());
    }
}
