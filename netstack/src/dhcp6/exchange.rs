//! What every server does alike with what a client sends (RFC 8415 §16, §18.3).
//!
//! [`answer`] throws out messages that a server must not look at, decides which message answers, and lets the [`Service`] say
//! what it leases and tells.

use alloc::vec::Vec;
use core::net::Ipv6Addr;

use super::SERVER_PORT;
use super::duid::Duid;
use super::message::{Builder, MESSAGE_MAX, Message, MessageType};
use super::option::{Ia, IaKind, Options, StatusCode, code};
use crate::ledger::DropReason;
use crate::machine::Cx;
use crate::wire::ipv6::Ipv6;

// Left out: RFC 8415 REC: our servers send no Reconfigure. Hosts learn of new prefixes by Router Advertisements at once, and a
// subscriber's prefix does not change while it is delegated.

/// Most identity associations of one kind that are looked at in one message.
const ASSOCIATIONS_MAX: usize = 8;

/// What a client wants of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    /// To know what it could have (Solicit).
    Offer,
    /// To have it (Request, or Solicit with rapid commit).
    Take,
    /// To keep what it has (Renew).
    Renew,
    /// To keep what it has from somebody (Rebind).
    Rebind,
}

/// What one kind of server leases and tells.
pub(super) trait Service {
    /// Appends the association that answers `ia`.
    fn lease(
        &mut self,
        cx: &mut Cx<'_>,
        client: &Client<'_>,
        want: Want,
        kind: IaKind,
        ia: Ia<'_>,
        reply: &mut Builder,
    );

    /// Ends leases: because another node uses them (`declined`), or because the client needs them no more. False when the client
    /// has no such association.
    fn end(&mut self, cx: &mut Cx<'_>, client: &Client<'_>, kind: IaKind, ia: Ia<'_>, declined: bool)
    -> bool;

    /// True when `address` belongs on the client's link.
    fn is_on_link(&self, address: Ipv6Addr) -> bool;

    /// Appends what is told besides leases.
    fn tell(&self, kind: MessageType, options: Options<'_>, reply: &mut Builder);
}

/// A client, as its message shows it.
#[derive(Debug)]
pub(super) struct Client<'a> {
    /// Who it is.
    pub(super) duid: Duid,
    /// All that it says.
    pub(super) options: Options<'a>,
}

/// A message for a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// The client's address.
    pub(super) destination: Ipv6Addr,
    /// The message.
    pub(super) message: Vec<u8>,
}

/// The answer of the server `own` to a client's packet, from its IPv6 header on. `None` when it is one that gets no answer.
pub(super) fn answer(
    service: &mut impl Service,
    cx: &mut Cx<'_>,
    own: &Duid,
    packet: &[u8],
) -> Result<Option<Answer>, DropReason> {
    let packet = Ipv6::parse(packet).ok_or(DropReason::DhcpMalformed)?;
    let udp = packet.udp().ok_or(DropReason::DhcpMalformed)?;
    let message = Message::parse(udp.payload).ok_or(DropReason::DhcpMalformed)?;
    let destination = packet.source();
    // Clients on the link speak from their link-local address (RFC 8415 §14).
    if udp.destination_port != SERVER_PORT || !destination.is_unicast_link_local() {
        return Err(DropReason::DhcpUnexpected);
    }
    let client = judge(message, own)?;
    let multicast = packet.destination().is_multicast();
    let Some(message) = compose(service, cx, own, message, client, multicast)? else { return Ok(None) };
    Ok(Some(Answer { destination, message }))
}

/// Who the client is, if the message is one that this server may look at (RFC 8415 §16).
fn judge<'a>(message: Message<'a>, own: &Duid) -> Result<Option<Client<'a>>, DropReason> {
    let options = message.options;
    let client = message.client().map(|duid| Client { duid, options });
    let for_us = options.first(code::SERVER_ID).map(|server| server == own.as_bytes());
    let (needs_client, fits) = match message.kind {
        MessageType::Solicit | MessageType::Confirm | MessageType::Rebind => (true, for_us.is_none()),
        MessageType::Request | MessageType::Renew | MessageType::Release | MessageType::Decline => {
            (true, for_us == Some(true))
        }
        MessageType::InformationRequest => {
            let leases = [code::IA_NA, code::IA_PD].iter().any(|&code| options.first(code).is_some());
            (options.first(code::CLIENT_ID).is_some(), for_us != Some(false) && !leases)
        }
        MessageType::Advertise | MessageType::Reply | MessageType::Reconfigure => {
            return Err(DropReason::DhcpUnexpected);
        }
    };
    if needs_client && client.is_none() {
        return Err(DropReason::DhcpMalformed);
    }
    if fits { Ok(client) } else { Err(DropReason::DhcpUnexpected) }
}

fn compose(
    service: &mut impl Service,
    cx: &mut Cx<'_>,
    own: &Duid,
    message: Message<'_>,
    client: Option<Client<'_>>,
    multicast: bool,
) -> Result<Option<Vec<u8>>, DropReason> {
    let rapid = message.options.first(code::RAPID_COMMIT).is_some();
    let head = |kind| {
        let mut reply = Builder::new(kind, message.xid, MESSAGE_MAX);
        if let Some(client) = &client {
            reply.duid(code::CLIENT_ID, &client.duid);
        }
        reply.duid(code::SERVER_ID, own);
        reply
    };
    if !multicast {
        // Nobody was told that unicast is welcome (RFC 8415 §18.3).
        return match message.kind {
            MessageType::Request | MessageType::Renew | MessageType::Release | MessageType::Decline => {
                let mut reply = head(MessageType::Reply);
                reply.status(StatusCode::UseMulticast, "send to ff02::1:2");
                Ok(Some(reply.finish()))
            }
            _ => Err(DropReason::DhcpUnexpected),
        };
    }
    let (mut reply, want) = match message.kind {
        MessageType::Solicit if rapid => {
            let mut reply = head(MessageType::Reply);
            reply.option(code::RAPID_COMMIT, &[]);
            (reply, Some(Want::Take))
        }
        MessageType::Solicit => (head(MessageType::Advertise), Some(Want::Offer)),
        MessageType::Request => (head(MessageType::Reply), Some(Want::Take)),
        MessageType::Renew => (head(MessageType::Reply), Some(Want::Renew)),
        MessageType::Rebind => (head(MessageType::Reply), Some(Want::Rebind)),
        _ => (head(MessageType::Reply), None),
    };
    let associations = |kind: IaKind| message.options.associations(kind).take(ASSOCIATIONS_MAX);
    match (message.kind, want, &client) {
        (_, Some(want), Some(client)) => {
            for kind in [IaKind::Addresses, IaKind::Prefixes] {
                for ia in associations(kind) {
                    service.lease(cx, client, want, kind, ia, &mut reply);
                }
            }
        }
        (MessageType::Confirm, ..) => {
            let mut addresses =
                associations(IaKind::Addresses).flat_map(|ia| ia.options.ia_addresses()).peekable();
            if addresses.peek().is_none() {
                return Err(DropReason::DhcpMalformed);
            }
            if addresses.all(|lease| service.is_on_link(lease.address)) {
                reply.status(StatusCode::Success, "all addresses are on this link");
            } else {
                reply.status(StatusCode::NotOnLink, "not all addresses are on this link");
            }
            return Ok(Some(reply.finish()));
        }
        (MessageType::Release | MessageType::Decline, _, Some(client)) => {
            let declined = message.kind == MessageType::Decline;
            for kind in [IaKind::Addresses, IaKind::Prefixes] {
                for ia in associations(kind) {
                    if !service.end(cx, client, kind, ia, declined) {
                        deny(&mut reply, kind, ia, StatusCode::NoBinding, "there is no such lease");
                    }
                }
            }
            reply.status(StatusCode::Success, "");
            return Ok(Some(reply.finish()));
        }
        _ => {}
    }
    service.tell(message.kind, message.options, &mut reply);
    Ok(Some(reply.finish()))
}

/// Appends an association that holds a status alone.
pub(super) fn deny(reply: &mut Builder, kind: IaKind, ia: Ia<'_>, status: StatusCode, why: &str) {
    reply.ia(kind, ia.iaid, (0, 0), |ia| ia.status(status, why));
}

/// T1 and T2 for leases of this preferred lifetime, all in seconds: a half, and eight tenths (RFC 8415 §14.2).
pub(super) fn times(preferred: u32) -> (u32, u32) {
    match preferred {
        u32::MAX => (u32::MAX, u32::MAX),
        preferred => (preferred / 2, preferred / 10 * 8),
    }
}
