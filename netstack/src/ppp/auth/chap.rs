//! CHAP (RFC 1994) with MD5 and as MS-CHAPv2 (RFC 2759).
//!
//! The server challenges, at first and whenever it likes, with a fresh challenge under a fresh identifier each time. The
//! client answers, and repeats its answer until it hears the verdict, which may be lost; a repeated answer gets the
//! verdict that the first one got.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use md5::{Digest, Md5};

use super::super::event::DownReason;
use super::super::negotiation::Wire;
use super::super::settings::{ClientSettings, ServerSettings};
use super::super::text::printable;
use super::mschapv2::{self, Exchange};
use super::{Progress, REFUSED, same};
use crate::ledger::DropReason;
use crate::secret::Secret;
use crate::settings::Authentication;
use crate::time::Instant;
use crate::wire::auth::{ChapValue, MsChapV2Response, chap_code};
use crate::wire::ppp::{Packet, PacketBuilder, protocol};

/// How a response is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Md5,
    MsChapV2,
}

impl Algorithm {
    fn failed(self, message: String) -> Progress {
        let protocol = match self {
            Algorithm::Md5 => Authentication::ChapMd5,
            Algorithm::MsChapV2 => Authentication::MsChapV2,
        };
        Progress::Failed(DownReason::AuthenticationFailed { protocol, message })
    }
}

/// The response of CHAP with MD5 (RFC 1994 §4.1).
fn md5_response(identifier: u8, secret: &[u8], challenge: &[u8]) -> [u8; 16] {
    Md5::new().chain_update([identifier]).chain_update(secret).chain_update(challenge).finalize().into()
}

/// A client's answer to one challenge.
#[derive(Debug)]
struct Answer {
    identifier: u8,
    challenge: Vec<u8>,
    value: Vec<u8>,
    /// What an MS-CHAPv2 server has to say to prove itself.
    expected: Option<[u8; 20]>,
}

/// The side that proves itself.
#[derive(Debug)]
pub(crate) struct Client {
    algorithm: Algorithm,
    stage: ClientStage,
    /// A verdict was heard before: later challenges are repetitions.
    proven: bool,
}

#[derive(Debug)]
enum ClientStage {
    /// No challenge came yet.
    Waiting { deadline: Instant },
    /// Answered, and no verdict yet.
    Answered { answer: Answer, deadline: Instant, left: u8 },
    /// The verdict came. The same challenge may come late once more, unless an earlier run of the program has answered it.
    Settled { answer: Option<Answer> },
}

impl Client {
    pub(super) fn start(wire: &mut Wire<'_, '_>, algorithm: Algorithm) -> Self {
        let patience = wire.timing.restart.saturating_mul(u32::from(wire.timing.max_configure));
        Client { algorithm, stage: ClientStage::Waiting { deadline: wire.cx.now + patience }, proven: false }
    }

    /// A client that was proven in an earlier run of the program.
    pub(super) fn proven(algorithm: Algorithm) -> Self {
        Client { algorithm, stage: ClientStage::Settled { answer: None }, proven: true }
    }

    pub(super) fn receive(
        &mut self,
        wire: &mut Wire<'_, '_>,
        settings: &ClientSettings,
        packet: Packet<'_>,
    ) -> Result<Progress, DropReason> {
        match packet.code() {
            chap_code::CHALLENGE => self.challenge(wire, settings, packet),
            chap_code::SUCCESS | chap_code::FAILURE => self.verdict(settings, packet),
            chap_code::RESPONSE => Err(DropReason::PppUnexpected),
            _ => Err(DropReason::PppMalformed),
        }
    }

    fn challenge(
        &mut self,
        wire: &mut Wire<'_, '_>,
        settings: &ClientSettings,
        packet: Packet<'_>,
    ) -> Result<Progress, DropReason> {
        let challenge = ChapValue::parse(packet.data()).ok_or(DropReason::PppMalformed)?.value;
        if settings.password.expose().is_empty() {
            return Ok(self.algorithm.failed("the password is empty".to_string()));
        }
        let identifier = packet.identifier();
        let is_same =
            |answer: &Answer| answer.identifier == identifier && answer.challenge.as_slice() == challenge;
        match &self.stage {
            ClientStage::Answered { answer, .. } | ClientStage::Settled { answer: Some(answer) }
                if is_same(answer) =>
            {
                send_response(wire, settings, answer);
                return Ok(Progress::Pending);
            }
            _ => {}
        }
        let answer = self.answer(wire, settings, identifier, challenge).ok_or(DropReason::PppMalformed)?;
        send_response(wire, settings, &answer);
        self.stage = ClientStage::Answered {
            answer,
            deadline: wire.cx.now + wire.timing.restart,
            left: wire.timing.max_configure.saturating_sub(1),
        };
        Ok(Progress::Pending)
    }

    fn answer(
        &self,
        wire: &mut Wire<'_, '_>,
        settings: &ClientSettings,
        identifier: u8,
        challenge: &[u8],
    ) -> Option<Answer> {
        let (value, expected) = match self.algorithm {
            Algorithm::Md5 => {
                (md5_response(identifier, settings.password.expose(), challenge).to_vec(), None)
            }
            Algorithm::MsChapV2 => {
                let mut peer_challenge = [0; 16];
                wire.cx.rng.fill(&mut peer_challenge);
                let exchange = Exchange {
                    authenticator_challenge: challenge.try_into().ok()?,
                    peer_challenge: &peer_challenge,
                    name: &settings.username,
                    password: settings.password.expose(),
                };
                let nt_response = exchange.nt_response();
                let response = MsChapV2Response { peer_challenge, nt_response };
                (response.to_value().to_vec(), Some(exchange.authenticator_response(&nt_response)))
            }
        };
        Some(Answer { identifier, challenge: challenge.to_vec(), value, expected })
    }

    fn verdict(&mut self, settings: &ClientSettings, packet: Packet<'_>) -> Result<Progress, DropReason> {
        let ClientStage::Answered { answer, .. } = &mut self.stage else {
            return Err(DropReason::PppUnexpected);
        };
        if answer.identifier != packet.identifier() {
            return Err(DropReason::PppUnexpected);
        }
        if packet.code() == chap_code::FAILURE {
            let message = match self.algorithm {
                Algorithm::Md5 => packet.data(),
                Algorithm::MsChapV2 => mschapv2::read_failure(packet.data()),
            };
            return Ok(self.algorithm.failed(printable(message)));
        }
        let message = match answer.expected {
            None => packet.data(),
            Some(expected) => match mschapv2::read_success(packet.data()) {
                Some((response, message)) if same(&response, &expected) => message,
                _ => return Ok(Progress::Failed(DownReason::ServerNotProven)),
            },
        };
        let answer = Answer {
            identifier: answer.identifier,
            challenge: core::mem::take(&mut answer.challenge),
            value: core::mem::take(&mut answer.value),
            expected: answer.expected,
        };
        self.stage = ClientStage::Settled { answer: Some(answer) };
        if core::mem::replace(&mut self.proven, true) {
            return Ok(Progress::Pending);
        }
        Ok(Progress::Proven { name: settings.username.clone(), message: printable(message) })
    }

    pub(super) fn handle_timeout(&mut self, wire: &mut Wire<'_, '_>, settings: &ClientSettings) -> Progress {
        match &mut self.stage {
            ClientStage::Waiting { deadline } if *deadline <= wire.cx.now => {
                Progress::Failed(DownReason::AuthenticationTimeout)
            }
            ClientStage::Answered { answer, deadline, left } if *deadline <= wire.cx.now => {
                let Some(fewer) = left.checked_sub(1) else {
                    return Progress::Failed(DownReason::AuthenticationTimeout);
                };
                *left = fewer;
                *deadline = wire.cx.now + wire.timing.restart;
                send_response(wire, settings, answer);
                Progress::Pending
            }
            _ => Progress::Pending,
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match &self.stage {
            ClientStage::Waiting { deadline } | ClientStage::Answered { deadline, .. } => Some(*deadline),
            ClientStage::Settled { .. } => None,
        }
    }
}

fn send_response(wire: &mut Wire<'_, '_>, settings: &ClientSettings, answer: &Answer) {
    let mut packet = PacketBuilder::new(protocol::CHAP, chap_code::RESPONSE, answer.identifier, wire.limit);
    ChapValue { value: &answer.value, name: &settings.username }.emit(&mut packet);
    wire.out.push(packet.finish());
}

/// The side that decides.
#[derive(Debug)]
pub(crate) struct Server {
    algorithm: Algorithm,
    /// Identifier of the last challenge; only a response to that one counts.
    identifier: u8,
    challenge: [u8; 16],
    stage: ServerStage,
    /// Who has proven itself on this link; nobody else may later.
    proven: Option<Vec<u8>>,
}

#[derive(Debug)]
enum ServerStage {
    /// The challenge was sent, and may be sent so many times more.
    Challenging { deadline: Instant, left: u8 },
    /// A response came; whose name is it?
    Deciding { value: Vec<u8>, name: Vec<u8> },
    /// The verdict, which a repeated response gets again (RFC 1994 §4.2).
    Settled { accepted: bool, message: Vec<u8> },
}

impl Server {
    pub(super) fn start(wire: &mut Wire<'_, '_>, settings: &ServerSettings, algorithm: Algorithm) -> Self {
        let mut server = Server {
            algorithm,
            identifier: (wire.cx.rng.next_u32() >> 24) as u8,
            challenge: [0; 16],
            stage: ServerStage::Challenging { deadline: wire.cx.now, left: 0 },
            proven: None,
        };
        server.challenge_anew(wire, settings);
        server
    }

    pub(super) fn challenge_anew(&mut self, wire: &mut Wire<'_, '_>, settings: &ServerSettings) {
        self.send_challenge(wire, settings, wire.timing.max_configure);
    }

    fn send_challenge(&mut self, wire: &mut Wire<'_, '_>, settings: &ServerSettings, left: u8) {
        self.identifier = self.identifier.wrapping_add(1);
        wire.cx.rng.fill(&mut self.challenge);
        self.stage = ServerStage::Challenging {
            deadline: wire.cx.now + wire.timing.restart,
            left: left.saturating_sub(1),
        };
        let mut packet =
            PacketBuilder::new(protocol::CHAP, chap_code::CHALLENGE, self.identifier, wire.limit);
        ChapValue { value: &self.challenge, name: &settings.name }.emit(&mut packet);
        wire.out.push(packet.finish());
    }

    pub(super) fn receive(
        &mut self,
        wire: &mut Wire<'_, '_>,
        packet: Packet<'_>,
    ) -> Result<Progress, DropReason> {
        match packet.code() {
            chap_code::RESPONSE => {}
            chap_code::CHALLENGE | chap_code::SUCCESS | chap_code::FAILURE => {
                return Err(DropReason::PppUnexpected);
            }
            _ => return Err(DropReason::PppMalformed),
        }
        if packet.identifier() != self.identifier {
            return Err(DropReason::PppUnexpected);
        }
        let response = ChapValue::parse(packet.data()).ok_or(DropReason::PppMalformed)?;
        match &self.stage {
            ServerStage::Challenging { .. } => {
                let length = match self.algorithm {
                    Algorithm::Md5 => 16,
                    Algorithm::MsChapV2 => MsChapV2Response::LENGTH,
                };
                if response.value.len() != length {
                    return Err(DropReason::PppMalformed);
                }
                let name = response.name.to_vec();
                self.stage = ServerStage::Deciding { value: response.value.to_vec(), name: name.clone() };
                Ok(Progress::Identify(name))
            }
            ServerStage::Deciding { .. } => Ok(Progress::Pending),
            ServerStage::Settled { accepted, message } => {
                self.send_verdict(wire, *accepted, message);
                Ok(Progress::Pending)
            }
        }
    }

    pub(super) fn decide(&mut self, wire: &mut Wire<'_, '_>, secret: Option<&Secret>) -> Progress {
        let ServerStage::Deciding { value, name } = &mut self.stage else { return Progress::Pending };
        let (value, name) = (core::mem::take(value), core::mem::take(name));
        let is_same_peer = self.proven.as_ref().is_none_or(|proven| *proven == name);
        let message = secret.filter(|_| is_same_peer).and_then(|secret| self.check(&value, &name, secret));
        let accepted = message.is_some();
        let message = message.unwrap_or_else(|| match self.algorithm {
            Algorithm::Md5 => REFUSED.as_bytes().to_vec(),
            Algorithm::MsChapV2 => mschapv2::failure_message(&self.challenge, REFUSED),
        });
        self.send_verdict(wire, accepted, &message);
        self.stage = ServerStage::Settled { accepted, message };
        if !accepted {
            return self.algorithm.failed(REFUSED.to_string());
        }
        if self.proven.is_some() {
            return Progress::Pending;
        }
        self.proven = Some(name.clone());
        Progress::Proven { name, message: String::new() }
    }

    /// The message of the Success packet when the response is right.
    fn check(&self, value: &[u8], name: &[u8], secret: &Secret) -> Option<Vec<u8>> {
        match self.algorithm {
            Algorithm::Md5 => {
                let right = md5_response(self.identifier, secret.expose(), &self.challenge);
                same(value, &right).then(Vec::new)
            }
            Algorithm::MsChapV2 => {
                let response = MsChapV2Response::parse(value)?;
                let exchange = Exchange {
                    authenticator_challenge: &self.challenge,
                    peer_challenge: &response.peer_challenge,
                    name,
                    password: secret.expose(),
                };
                same(&response.nt_response, &exchange.nt_response()).then(|| {
                    mschapv2::success_message(&exchange.authenticator_response(&response.nt_response))
                })
            }
        }
    }

    fn send_verdict(&self, wire: &mut Wire<'_, '_>, accepted: bool, message: &[u8]) {
        let code = if accepted { chap_code::SUCCESS } else { chap_code::FAILURE };
        let mut packet = PacketBuilder::new(protocol::CHAP, code, self.identifier, wire.limit);
        packet.put_cut(message);
        wire.out.push(packet.finish());
    }

    pub(super) fn handle_timeout(&mut self, wire: &mut Wire<'_, '_>, settings: &ServerSettings) -> Progress {
        match self.stage {
            ServerStage::Challenging { deadline, left } if deadline <= wire.cx.now => {
                if left == 0 {
                    return Progress::Failed(DownReason::AuthenticationTimeout);
                }
                self.send_challenge(wire, settings, left);
                Progress::Pending
            }
            _ => Progress::Pending,
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match &self.stage {
            ServerStage::Challenging { deadline, .. } => Some(*deadline),
            ServerStage::Deciding { .. } | ServerStage::Settled { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checked against MD5("\x01" "secret" 00 01 … 0f) by another implementation.
    #[test]
    fn rfc1994_4_1_the_response_covers_identifier_secret_and_challenge() {
        let challenge: Vec<u8> = (0..16).collect();
        let response = md5_response(1, b"secret", &challenge);
        assert_eq!(response, MD5_VECTOR);
        assert_ne!(md5_response(2, b"secret", &challenge), response);
        assert_ne!(md5_response(1, b"Secret", &challenge), response);
    }

    const MD5_VECTOR: [u8; 16] =
        [0x74, 0x0e, 0x86, 0x46, 0x3b, 0xda, 0x3a, 0x4d, 0x70, 0x17, 0xd6, 0xe0, 0xfb, 0xa0, 0x69, 0x9d];
}
