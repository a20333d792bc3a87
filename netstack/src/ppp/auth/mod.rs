//! Authentication: one side proves that it knows a password, the other decides.
//!
//! [`Client`] and [`Server`] hold one protocol's state for the two roles. Their owner feeds them packets and time and
//! acts upon the [`Progress`] that comes back.

mod chap;
mod mschapv2;
mod pap;

pub use mschapv2::success_for as mschapv2_success;

use alloc::string::String;
use alloc::vec::Vec;

use super::event::DownReason;
use super::negotiation::Wire;
use super::settings::{ClientSettings, ServerSettings};
use crate::ledger::DropReason;
use crate::secret::Secret;
use crate::settings::Authentication;
use crate::time::Instant;
use crate::wire::ppp::{Packet, protocol};

/// What a step of an authentication has led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing to tell.
    Pending,
    /// Server: the peer gave this name; whose secret is it?
    Identify(Vec<u8>),
    /// It is proven.
    Proven {
        /// Who.
        name: Vec<u8>,
        /// What the server said.
        message: String,
    },
    /// The link has to go down.
    Failed(DownReason),
}

/// The side that proves itself.
#[derive(Debug)]
pub(super) enum Client {
    Pap(pap::Client),
    Chap(chap::Client),
}

impl Client {
    /// Begins as `authentication` asks.
    pub(super) fn start(
        wire: &mut Wire<'_, '_>,
        settings: &ClientSettings,
        authentication: Authentication,
    ) -> Self {
        match authentication {
            Authentication::Pap => Client::Pap(pap::Client::start(wire, settings)),
            Authentication::ChapMd5 => Client::Chap(chap::Client::start(wire, chap::Algorithm::Md5)),
            Authentication::MsChapV2 => Client::Chap(chap::Client::start(wire, chap::Algorithm::MsChapV2)),
        }
    }

    /// It was proven in an earlier run of the program; a server may still ask once more.
    pub(super) fn proven(authentication: Authentication) -> Self {
        match authentication {
            Authentication::Pap => Client::Pap(pap::Client::Settled),
            Authentication::ChapMd5 => Client::Chap(chap::Client::proven(chap::Algorithm::Md5)),
            Authentication::MsChapV2 => Client::Chap(chap::Client::proven(chap::Algorithm::MsChapV2)),
        }
    }

    /// A packet of the authentication protocol.
    pub(super) fn receive(
        &mut self,
        wire: &mut Wire<'_, '_>,
        settings: &ClientSettings,
        packet: Packet<'_>,
    ) -> Result<Progress, DropReason> {
        match self {
            Client::Pap(pap) => pap.receive(settings, packet),
            Client::Chap(chap) => chap.receive(wire, settings, packet),
        }
    }

    /// The deadline may have come.
    pub(super) fn handle_timeout(&mut self, wire: &mut Wire<'_, '_>, settings: &ClientSettings) -> Progress {
        match self {
            Client::Pap(pap) => pap.handle_timeout(wire, settings),
            Client::Chap(chap) => chap.handle_timeout(wire, settings),
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Client::Pap(pap) => pap.poll_timeout(),
            Client::Chap(chap) => chap.poll_timeout(),
        }
    }
}

/// The side that decides.
#[derive(Debug)]
pub(super) enum Server {
    Pap(pap::Server),
    Chap(chap::Server),
}

impl Server {
    /// Begins to ask for `authentication`.
    pub(super) fn start(
        wire: &mut Wire<'_, '_>,
        settings: &ServerSettings,
        authentication: Authentication,
    ) -> Self {
        match authentication {
            Authentication::Pap => Server::Pap(pap::Server::start(wire)),
            Authentication::ChapMd5 => {
                Server::Chap(chap::Server::start(wire, settings, chap::Algorithm::Md5))
            }
            Authentication::MsChapV2 => {
                Server::Chap(chap::Server::start(wire, settings, chap::Algorithm::MsChapV2))
            }
        }
    }

    /// Asks once more, at any time. PAP has no such thing.
    pub(super) fn challenge(&mut self, wire: &mut Wire<'_, '_>, settings: &ServerSettings) {
        match self {
            Server::Pap(_) => {}
            Server::Chap(chap) => chap.challenge_anew(wire, settings),
        }
    }

    /// A packet of the authentication protocol.
    pub(super) fn receive(
        &mut self,
        wire: &mut Wire<'_, '_>,
        packet: Packet<'_>,
    ) -> Result<Progress, DropReason> {
        match self {
            Server::Pap(pap) => pap.receive(wire, packet),
            Server::Chap(chap) => chap.receive(wire, packet),
        }
    }

    /// The secret of the name that was given, if there is one.
    pub(super) fn decide(&mut self, wire: &mut Wire<'_, '_>, secret: Option<&Secret>) -> Progress {
        let secret = secret.filter(|secret| !secret.expose().is_empty());
        match self {
            Server::Pap(pap) => pap.decide(wire, secret),
            Server::Chap(chap) => chap.decide(wire, secret),
        }
    }

    /// The deadline may have come.
    pub(super) fn handle_timeout(&mut self, wire: &mut Wire<'_, '_>, settings: &ServerSettings) -> Progress {
        match self {
            Server::Pap(pap) => pap.handle_timeout(wire),
            Server::Chap(chap) => chap.handle_timeout(wire, settings),
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Server::Pap(pap) => pap.poll_timeout(),
            Server::Chap(chap) => chap.poll_timeout(),
        }
    }
}

/// The number of the protocol that `authentication` runs on.
pub(super) const fn protocol_of(authentication: Authentication) -> u16 {
    match authentication {
        Authentication::Pap => protocol::PAP,
        Authentication::ChapMd5 | Authentication::MsChapV2 => protocol::CHAP,
    }
}

/// Compares in a time that does not tell where the first difference is.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

/// The server's word on every refusal: it does not tell whether the name or the password was wrong.
const REFUSED: &str = "wrong name or password";

/// A server's arithmetic for tests of the client.
#[cfg(test)]
pub(super) mod tests_support {
    use alloc::vec::Vec;

    use super::mschapv2::{Exchange, success_message};
    use crate::wire::auth::MsChapV2Response;

    /// What an honest MS-CHAPv2 server says to a response.
    pub(in crate::ppp) fn success(
        challenge: &[u8; 16],
        value: &[u8],
        name: &[u8],
        password: &[u8],
    ) -> Vec<u8> {
        let response = MsChapV2Response::parse(value).unwrap();
        let exchange = Exchange {
            authenticator_challenge: challenge,
            peer_challenge: &response.peer_challenge,
            name,
            password,
        };
        success_message(&exchange.authenticator_response(&response.nt_response))
    }
}
