//! PAP (RFC 1334 §2): the client sends name and password in the clear until it is answered.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::super::event::DownReason;
use super::super::negotiation::Wire;
use super::super::settings::ClientSettings;
use super::super::text::printable;
use super::{Progress, REFUSED, same};
use crate::ledger::DropReason;
use crate::secret::Secret;
use crate::settings::Authentication;
use crate::time::Instant;
use crate::wire::auth::{PapRequest, pap_code, pap_message};
use crate::wire::ppp::{Packet, PacketBuilder, protocol};

/// The side that proves itself.
#[derive(Debug)]
pub(crate) enum Client {
    /// A request was sent.
    Asking { identifier: u8, deadline: Instant, left: u8 },
    /// The answer came.
    Settled,
}

impl Client {
    pub(super) fn start(wire: &mut Wire<'_, '_>, settings: &ClientSettings) -> Self {
        let identifier = (wire.cx.rng.next_u32() >> 24) as u8;
        let deadline = wire.cx.now + wire.timing.restart;
        send_request(wire, settings, identifier);
        Client::Asking { identifier, deadline, left: wire.timing.max_configure.saturating_sub(1) }
    }

    pub(super) fn receive(
        &mut self,
        settings: &ClientSettings,
        packet: Packet<'_>,
    ) -> Result<Progress, DropReason> {
        let message = match packet.code() {
            pap_code::ACK | pap_code::NAK => pap_message(packet.data()).ok_or(DropReason::PppMalformed)?,
            pap_code::REQUEST => return Err(DropReason::PppUnexpected),
            _ => return Err(DropReason::PppMalformed),
        };
        match self {
            Client::Asking { identifier, .. } if *identifier == packet.identifier() => {}
            _ => return Err(DropReason::PppUnexpected),
        }
        *self = Client::Settled;
        let message = printable(message);
        Ok(if packet.code() == pap_code::ACK {
            Progress::Proven { name: settings.username.clone(), message }
        } else {
            Progress::Failed(DownReason::AuthenticationFailed { protocol: Authentication::Pap, message })
        })
    }

    pub(super) fn handle_timeout(&mut self, wire: &mut Wire<'_, '_>, settings: &ClientSettings) -> Progress {
        match self {
            Client::Asking { identifier, deadline, left } if *deadline <= wire.cx.now => {
                let Some(fewer) = left.checked_sub(1) else {
                    return Progress::Failed(DownReason::AuthenticationTimeout);
                };
                *left = fewer;
                *deadline = wire.cx.now + wire.timing.restart;
                send_request(wire, settings, *identifier);
            }
            _ => {}
        }
        Progress::Pending
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Client::Asking { deadline, .. } => Some(*deadline),
            Client::Settled => None,
        }
    }
}

fn send_request(wire: &mut Wire<'_, '_>, settings: &ClientSettings, identifier: u8) {
    let mut packet = PacketBuilder::new(protocol::PAP, pap_code::REQUEST, identifier, wire.limit);
    PapRequest { peer_id: &settings.username, password: settings.password.expose() }.emit(&mut packet);
    wire.out.push(packet.finish());
}

/// The side that decides.
#[derive(Debug)]
pub(crate) enum Server {
    /// Waiting for a request, until the deadline.
    Waiting { deadline: Instant },
    /// A request came; whose name is it?
    Deciding { identifier: u8, name: Vec<u8>, password: Secret },
    /// The verdict, which a repeated request gets again (RFC 1334 §2.2.1).
    Settled { accepted: bool },
}

impl Server {
    pub(super) fn start(wire: &mut Wire<'_, '_>) -> Self {
        let patience = wire.timing.restart.saturating_mul(u32::from(wire.timing.max_configure));
        Server::Waiting { deadline: wire.cx.now + patience }
    }

    pub(super) fn receive(
        &mut self,
        wire: &mut Wire<'_, '_>,
        packet: Packet<'_>,
    ) -> Result<Progress, DropReason> {
        match packet.code() {
            pap_code::REQUEST => {}
            pap_code::ACK | pap_code::NAK => return Err(DropReason::PppUnexpected),
            _ => return Err(DropReason::PppMalformed),
        }
        let request = PapRequest::parse(packet.data()).ok_or(DropReason::PppMalformed)?;
        match self {
            Server::Waiting { .. } => {
                let name = request.peer_id.to_vec();
                *self = Server::Deciding {
                    identifier: packet.identifier(),
                    name: name.clone(),
                    password: Secret::new(request.password),
                };
                Ok(Progress::Identify(name))
            }
            Server::Deciding { .. } => Ok(Progress::Pending),
            Server::Settled { accepted } => {
                send_verdict(wire, packet.identifier(), *accepted);
                Ok(Progress::Pending)
            }
        }
    }

    pub(super) fn decide(&mut self, wire: &mut Wire<'_, '_>, secret: Option<&Secret>) -> Progress {
        let Server::Deciding { identifier, name, password } = self else { return Progress::Pending };
        let accepted = secret.is_some_and(|secret| same(secret.expose(), password.expose()));
        send_verdict(wire, *identifier, accepted);
        let name = core::mem::take(name);
        *self = Server::Settled { accepted };
        if accepted {
            Progress::Proven { name, message: String::new() }
        } else {
            Progress::Failed(DownReason::AuthenticationFailed {
                protocol: Authentication::Pap,
                message: REFUSED.to_string(),
            })
        }
    }

    pub(super) fn handle_timeout(&mut self, wire: &mut Wire<'_, '_>) -> Progress {
        match self {
            Server::Waiting { deadline } if *deadline <= wire.cx.now => {
                Progress::Failed(DownReason::AuthenticationTimeout)
            }
            _ => Progress::Pending,
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Server::Waiting { deadline } => Some(*deadline),
            Server::Deciding { .. } | Server::Settled { .. } => None,
        }
    }
}

fn send_verdict(wire: &mut Wire<'_, '_>, identifier: u8, accepted: bool) {
    let (code, message) = if accepted { (pap_code::ACK, "") } else { (pap_code::NAK, REFUSED) };
    let mut packet = PacketBuilder::new(protocol::PAP, code, identifier, wire.limit);
    packet.put_counted(message.as_bytes());
    wire.out.push(packet.finish());
}
