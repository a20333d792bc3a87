//! DHCPv6 messages between clients and servers (RFC 8415 §8): the view, and the builder.
//!
//! The builder appends to a buffer that it owns and that never grows beyond its limit: an option that does not fit is left out
//! whole. So nothing is cut in its middle, and no octet is sent that was not written.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::Ipv6Addr;

use super::domain;
use super::duid::Duid;
use super::option::{IaKind, Options, StatusCode, code};
use crate::id::Ipv6Cidr;

/// Most octets of a message that we send: what fits in the smallest IPv6 packet that every link carries (RFC 8200 §5), so that
/// no message is ever fragmented.
pub const MESSAGE_MAX: usize = 1280 - 40 - 8;

/// A message type (RFC 8415 §7.3) between client and server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageType {
    /// SOLICIT: which servers are there?
    Solicit = 1,
    /// ADVERTISE: here is one.
    Advertise = 2,
    /// REQUEST: I take what you offer.
    Request = 3,
    /// CONFIRM: do my addresses still belong on this link?
    Confirm = 4,
    /// RENEW: I want to keep what I have, from the server that gave it.
    Renew = 5,
    /// REBIND: from any server.
    Rebind = 6,
    /// REPLY: a server's answer.
    Reply = 7,
    /// RELEASE: I need it no more.
    Release = 8,
    /// DECLINE: somebody else uses it.
    Decline = 9,
    /// RECONFIGURE: a server asks the client to ask.
    Reconfigure = 10,
    /// INFORMATION-REQUEST: tell me the rest; I need no address.
    InformationRequest = 11,
}

impl MessageType {
    /// The type of `value`. `None` for those of relays, and unknown ones.
    pub const fn from_u8(value: u8) -> Option<Self> {
        Some(match value {
            1 => MessageType::Solicit,
            2 => MessageType::Advertise,
            3 => MessageType::Request,
            4 => MessageType::Confirm,
            5 => MessageType::Renew,
            6 => MessageType::Rebind,
            7 => MessageType::Reply,
            8 => MessageType::Release,
            9 => MessageType::Decline,
            10 => MessageType::Reconfigure,
            11 => MessageType::InformationRequest,
            _ => return None,
        })
    }
}

/// A transaction id (RFC 8415 §16.1).
pub type Xid = [u8; 3];

/// A view of a message whose options are all whole.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// What it is.
    pub kind: MessageType,
    /// Its transaction.
    pub xid: Xid,
    /// Its options.
    pub options: Options<'a>,
    bytes: &'a [u8],
}

impl<'a> Message<'a> {
    /// The message that `bytes` are. `None` when it is cut short, one of a relay's, of an unknown type, or an option is longer
    /// than what is there.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (&[kind, x0, x1, x2], rest) = bytes.split_first_chunk()?;
        let kind = MessageType::from_u8(kind)?;
        Some(Message { kind, xid: [x0, x1, x2], options: Options::parse(rest)?, bytes })
    }

    /// Its octets.
    pub fn as_bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// The client's DUID.
    pub fn client(self) -> Option<Duid> {
        Duid::new(self.options.first(code::CLIENT_ID)?)
    }

    /// The server's DUID.
    pub fn server(self) -> Option<Duid> {
        Duid::new(self.options.first(code::SERVER_ID)?)
    }
}

/// A message, or an option's inside, being written.
#[derive(Debug, Clone)]
pub struct Builder {
    out: Vec<u8>,
    limit: usize,
}

impl Builder {
    /// A message without options. It will have no more octets than `limit`, which is 4 at least.
    pub fn new(kind: MessageType, xid: Xid, limit: usize) -> Self {
        let [x0, x1, x2] = xid;
        Builder { out: [kind as u8, x0, x1, x2].to_vec(), limit: limit.max(4) }
    }

    /// The message.
    pub fn finish(self) -> Vec<u8> {
        self.out
    }

    /// Appends an option. False, and no change, when it does not fit.
    pub fn option(&mut self, code: u16, value: &[u8]) -> bool {
        self.nested(code, value, |_| true)
    }

    /// Appends an option that begins with `head` and goes on with the options that `inside` appends. False, and no change, when
    /// it does not fit or `inside` says no.
    pub fn nested(&mut self, code: u16, head: &[u8], inside: impl FnOnce(&mut Builder) -> bool) -> bool {
        let before = self.out.len();
        let room = self.limit.saturating_sub(before);
        if head.len().saturating_add(4) > room {
            return false;
        }
        self.out.extend_from_slice(&code.to_be_bytes());
        self.out.extend_from_slice(&[0, 0]);
        self.out.extend_from_slice(head);
        let whole = inside(self);
        let value = before.saturating_add(4);
        let len = u16::try_from(self.out.len().saturating_sub(value));
        match (whole, len, self.out.get_mut(before.saturating_add(2)..value)) {
            (true, Ok(len), Some(place)) => {
                place.copy_from_slice(&len.to_be_bytes());
                true
            }
            _ => {
                self.out.truncate(before);
                false
            }
        }
    }

    /// Appends a client or server identifier.
    pub fn duid(&mut self, code: u16, duid: &Duid) -> bool {
        self.option(code, duid.as_bytes())
    }

    /// Appends an identity association. T1 and T2 are in seconds.
    pub fn ia(
        &mut self,
        kind: IaKind,
        iaid: u32,
        (t1, t2): (u32, u32),
        inside: impl FnOnce(&mut Builder) -> bool,
    ) -> bool {
        let head = [iaid, t1, t2].map(u32::to_be_bytes);
        self.nested(kind.code(), head.as_flattened(), inside)
    }

    /// Appends an address of an IA_NA; lifetimes, preferred and valid, in seconds.
    pub fn ia_address(&mut self, address: Ipv6Addr, (preferred, valid): (u32, u32)) -> bool {
        let mut head = address.octets().to_vec();
        head.extend_from_slice([preferred, valid].map(u32::to_be_bytes).as_flattened());
        self.option(code::IA_ADDRESS, &head)
    }

    /// Appends a prefix of an IA_PD; lifetimes, preferred and valid, in seconds.
    pub fn ia_prefix(&mut self, prefix: Ipv6Cidr, (preferred, valid): (u32, u32)) -> bool {
        let mut head = [preferred, valid].map(u32::to_be_bytes).as_flattened().to_vec();
        head.push(prefix.prefix);
        head.extend_from_slice(&prefix.address.octets());
        self.option(code::IA_PREFIX, &head)
    }

    /// Appends a status code.
    pub fn status(&mut self, status: StatusCode, message: &str) -> bool {
        let mut value = status.to_u16().to_be_bytes().to_vec();
        value.extend_from_slice(message.as_bytes());
        self.option(code::STATUS_CODE, &value)
    }

    /// Appends an option request.
    pub fn option_request(&mut self, codes: &[u16]) -> bool {
        let value: Vec<u8> = codes.iter().flat_map(|code| code.to_be_bytes()).collect();
        self.option(code::OPTION_REQUEST, &value)
    }

    /// Appends a list of addresses; none when it is empty.
    pub fn addresses(&mut self, code: u16, addresses: &[Ipv6Addr]) -> bool {
        let value: Vec<u8> = addresses.iter().flat_map(Ipv6Addr::octets).collect();
        value.is_empty() || self.option(code, &value)
    }

    /// Appends the domain list; none when no name is one.
    pub fn domains(&mut self, names: &[String]) -> bool {
        let mut value = Vec::new();
        for name in names {
            domain::push_name(&mut value, name);
        }
        value.is_empty() || self.option(code::DOMAIN_LIST, &value)
    }
}
