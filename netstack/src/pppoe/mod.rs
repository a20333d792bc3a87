//! PPPoE (RFC 2516, RFC 4638): the side that dials and the side that is dialled.
//!
//! [`client::Client`] is one uplink: it discovers a concentrator ([`discovery`]), opens a session, runs a
//! [`crate::ppp::Link`] over it, and dials again when it ends, at a time that [`retry`] chooses. A session that outlives the
//! program is taken up by its next run ([`LeftSession`]).
//! [`concentrator::Concentrator`] is an ISP's side: it offers sessions, runs the other end of each link, knows who may
//! come in ([`users`]) and gives out addresses ([`pool`]).
//!
//! Neither sees session data: the packet path does, and hands up what is not IPv4. Both build whole Ethernet frames.

mod adopt;
pub mod client;
pub mod concentrator;
mod cookie;
pub mod discovery;
pub mod event;
pub mod pool;
pub mod retry;
mod sessions;
pub mod subscriber;
pub mod users;

pub use adopt::{Adoption, LeftSession};
pub use client::Client;
pub use concentrator::Concentrator;
pub use event::{Event, Failure, MtuLimit};

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::frame::{Frame, SMALL};
use crate::id::Mac;
use crate::ledger::DropReason;
use crate::ppp::Link;
use crate::wire::ethernet::{Header, ethertype};
use crate::wire::ppp::protocol;
use crate::wire::pppoe::{self, Code, Discovery, DiscoveryWriter};

/// A session as both sides know it: what to end when it is orphaned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Remembered {
    /// The other side's Ethernet address.
    pub peer: Mac,
    /// The session's id, 1 to 65,535.
    pub session: u16,
}

/// A discovery packet with the addresses of its frame.
#[derive(Debug, Clone, Copy)]
pub struct DiscoveryFrame<'a> {
    /// Who sent it; always a station.
    pub source: Mac,
    /// Whom it is for.
    pub destination: Mac,
    /// The packet.
    pub packet: Discovery<'a>,
}

impl<'a> DiscoveryFrame<'a> {
    /// Takes an Ethernet frame apart; an error says why it was dropped. Parse a frame once, then offer it to each
    /// client and concentrator of its port until one takes it.
    pub fn parse(frame: &'a [u8]) -> Result<Self, DropReason> {
        let (header, payload) = Header::parse(frame).ok_or(DropReason::EthernetTruncated)?;
        if header.ethertype != ethertype::PPPOE_DISCOVERY {
            return Err(DropReason::UnknownEthertype);
        }
        if !header.source.is_station() {
            return Err(DropReason::BadSourceMac);
        }
        let packet = Discovery::parse(payload).ok_or(DropReason::DiscoveryMalformed)?;
        Ok(DiscoveryFrame { source: header.source, destination: header.destination, packet })
    }
}

/// The PPP protocol number and the information in `packet`. The one-octet form of a number is never agreed to.
fn split_ppp(packet: &[u8]) -> Result<(u16, &[u8]), DropReason> {
    let (&number, information) = packet.split_first_chunk().ok_or(DropReason::PppMalformed)?;
    let number = u16::from_be_bytes(number);
    if protocol::well_formed(number) { Ok((number, information)) } else { Err(DropReason::PppMalformed) }
}

/// Writes the link's next packet as a frame of `session`; says whether there was one.
fn transmit_link(link: &mut Link, frame: &mut Frame, local: Mac, session: Remembered) -> bool {
    while link.poll_transmit(frame) {
        if pppoe::push_session(frame, local, session.peer, session.session) {
            return true;
        }
        frame.reset();
    }
    false
}

/// Whole frames that wait to be sent.
#[derive(Debug)]
struct Outbox {
    scratch: Frame,
    ready: VecDeque<Vec<u8>>,
}

impl Outbox {
    fn new() -> Self {
        Outbox { scratch: Frame::with_capacity(SMALL), ready: VecDeque::new() }
    }

    /// Adds the frame that `write` writes, when it says that it wrote one.
    fn add(&mut self, write: impl FnOnce(&mut Frame) -> bool) -> bool {
        self.scratch.reset();
        let written = write(&mut self.scratch);
        if written {
            self.ready.push_back(self.scratch.bytes().to_vec());
        }
        written
    }

    /// Adds the PADT that ends `session`.
    fn add_padt(&mut self, local: Mac, session: Remembered) {
        self.add(|frame| {
            DiscoveryWriter::begin(frame, local, session.peer, Code::Padt, session.session).finish()
        });
    }

    /// Adds what a link still has to say on `session`, then the PADT that ends it.
    fn add_farewell(&mut self, link: &mut Link, local: Mac, session: Remembered) {
        while self.add(|frame| transmit_link(link, frame, local, session)) {}
        self.add_padt(local, session);
    }

    /// Writes the next frame into `frame`, which is empty; says whether there was one.
    fn poll(&mut self, frame: &mut Frame) -> bool {
        self.ready.pop_front().is_some_and(|bytes| frame.extend(&bytes))
    }

    fn len(&self) -> usize {
        self.ready.len()
    }
}

#[cfg(test)]
mod tests;
