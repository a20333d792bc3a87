//! DHCP messages (RFC 2131 §2, options RFC 2132), as a server reads and writes them.
//!
//! The decoder keeps only what the server acts upon. It is our own, because a server faces hostile clients: lengths are
//! checked before anything is read ([`super::wire`]), and nothing is decoded that is not needed.

use alloc::vec::Vec;
use core::net::Ipv4Addr;

use super::wire::{self, BOOTREPLY, BOOTREQUEST, BROADCAST_FLAG, CLIENT_PORT, Message, SERVER_PORT, push};
use crate::id::Mac;
use crate::ledger::DropReason;
use crate::wire::ethernet::{Header, ethertype};

/// A DHCP message type (RFC 2132 §9.6) that a client sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientMessage {
    /// DHCPDISCOVER: who can give me an address?
    Discover,
    /// DHCPREQUEST: I take this one, or want to keep it.
    Request,
    /// DHCPDECLINE: somebody else uses it.
    Decline,
    /// DHCPRELEASE: I need it no more.
    Release,
    /// DHCPINFORM: I have an address; tell me the rest.
    Inform,
}

/// A DHCP message type (RFC 2132 §9.6) that a server sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerMessage {
    /// DHCPOFFER.
    Offer = 2,
    /// DHCPACK.
    Ack = 5,
    /// DHCPNAK.
    Nak = 6,
}

/// Option codes (RFC 2132, and as noted).
pub mod option {
    #![allow(missing_docs)]
    pub const PAD: u8 = 0;
    pub const SUBNET_MASK: u8 = 1;
    pub const ROUTER: u8 = 3;
    pub const DOMAIN_NAME_SERVER: u8 = 6;
    pub const HOST_NAME: u8 = 12;
    pub const DOMAIN_NAME: u8 = 15;
    pub const INTERFACE_MTU: u8 = 26;
    pub const BROADCAST_ADDRESS: u8 = 28;
    /// RFC 2132 §8.3.
    pub const NTP_SERVERS: u8 = 42;
    pub const REQUESTED_ADDRESS: u8 = 50;
    pub const LEASE_TIME: u8 = 51;
    pub const OVERLOAD: u8 = 52;
    pub const MESSAGE_TYPE: u8 = 53;
    pub const SERVER_IDENTIFIER: u8 = 54;
    pub const PARAMETER_REQUEST_LIST: u8 = 55;
    pub const MESSAGE: u8 = 56;
    pub const MAXIMUM_MESSAGE_SIZE: u8 = 57;
    pub const RENEWAL_TIME: u8 = 58;
    pub const REBINDING_TIME: u8 = 59;
    pub const CLIENT_IDENTIFIER: u8 = 61;
    /// RFC 4702.
    pub const CLIENT_FQDN: u8 = 81;
    /// RFC 3046.
    pub const RELAY_AGENT_INFORMATION: u8 = 82;
    /// RFC 3442.
    pub const CLASSLESS_STATIC_ROUTE: u8 = 121;
    pub const END: u8 = 255;
}

/// Options that the server looks at.
const KEPT: [u8; 10] = [
    option::HOST_NAME,
    option::REQUESTED_ADDRESS,
    option::LEASE_TIME,
    option::MESSAGE_TYPE,
    option::SERVER_IDENTIFIER,
    option::PARAMETER_REQUEST_LIST,
    option::MAXIMUM_MESSAGE_SIZE,
    option::CLIENT_IDENTIFIER,
    option::CLIENT_FQDN,
    option::RELAY_AGENT_INFORMATION,
];

/// Least value of the maximum message size, IP and UDP headers included (RFC 2132 §9.10).
const SIZE_MIN: u16 = 576;

/// A client's message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What the client wants.
    pub kind: ClientMessage,
    /// Transaction id.
    pub xid: u32,
    /// Flags, of which the highest asks for a broadcast reply.
    pub flags: u16,
    /// The address that the client has and can answer ARP for; unspecified otherwise.
    pub ciaddr: Ipv4Addr,
    /// The relay agent's address; unspecified when there is none.
    pub giaddr: Ipv4Addr,
    /// The client's Ethernet address.
    pub chaddr: Mac,
    /// Requested IP address (50).
    pub requested: Option<Ipv4Addr>,
    /// IP address lease time (51), in seconds.
    pub lease_time: Option<u32>,
    /// Server identifier (54).
    pub server: Option<Ipv4Addr>,
    /// Parameter request list (55).
    pub parameters: Option<Vec<u8>>,
    /// Maximum DHCP message size (57), in octets with IP and UDP headers.
    pub max_size: Option<u16>,
    /// Client identifier (61).
    pub client_id: Option<Vec<u8>>,
    /// Host name (12), or the name in the client FQDN (81): as it came, to be judged.
    pub hostname: Option<Vec<u8>>,
    /// Relay agent information (82), to be sent back unread (RFC 3046 §2.2).
    pub relay_information: Option<Vec<u8>>,
}

impl Request {
    /// The message in an Ethernet frame.
    pub fn parse(frame: &[u8]) -> Result<Request, DropReason> {
        parse(frame).ok_or(DropReason::DhcpMalformed)
    }

    /// True when the client cannot yet take unicast.
    pub fn wants_broadcast(&self) -> bool {
        self.flags & BROADCAST_FLAG != 0
    }
}

fn parse(frame: &[u8]) -> Option<Request> {
    let mut message = Message::parse(frame, SERVER_PORT, &KEPT)?;
    if message.op != BOOTREQUEST {
        return None;
    }
    let kind = match *message.options.get(&option::MESSAGE_TYPE)?.as_slice() {
        [1] => ClientMessage::Discover,
        [3] => ClientMessage::Request,
        [4] => ClientMessage::Decline,
        [7] => ClientMessage::Release,
        [8] => ClientMessage::Inform,
        _ => return None,
    };
    let requested = message.address(option::REQUESTED_ADDRESS)?;
    let server = message.address(option::SERVER_IDENTIFIER)?;
    let lease_time = message.address(option::LEASE_TIME)?.map(u32::from);
    let found = &mut message.options;
    let max_size = match found.get(&option::MAXIMUM_MESSAGE_SIZE) {
        Some(value) => Some(u16::from_be_bytes(value.as_slice().try_into().ok()?)),
        None => None,
    };
    let hostname = found.remove(&option::HOST_NAME).or_else(|| fqdn(found.get(&option::CLIENT_FQDN)?));
    Some(Request {
        kind,
        parameters: found.remove(&option::PARAMETER_REQUEST_LIST),
        client_id: found.remove(&option::CLIENT_IDENTIFIER).filter(|id| (2..=255).contains(&id.len())),
        relay_information: found.remove(&option::RELAY_AGENT_INFORMATION).filter(|info| info.len() <= 255),
        xid: message.xid,
        flags: message.flags,
        ciaddr: message.ciaddr,
        giaddr: message.giaddr,
        chaddr: message.chaddr,
        requested,
        lease_time,
        server,
        max_size,
        hostname,
    })
}

/// The first label of the name in a client FQDN option (RFC 4702 §2): flags, two result codes, the name in DNS wire
/// format or, of old, in ASCII.
fn fqdn(value: &[u8]) -> Option<Vec<u8>> {
    let (&flags, rest) = value.split_first()?;
    let name = rest.get(2..)?;
    if flags & 0b100 == 0 {
        return Some(name.to_vec());
    }
    let (&len, rest) = name.split_first()?;
    rest.get(..usize::from(len)).map(<[u8]>::to_vec)
}

/// A server's message, and the frame that it goes in.
#[derive(Debug, Clone)]
pub struct Reply<'a> {
    /// What it says.
    pub kind: ServerMessage,
    /// The message that it answers.
    pub request: &'a Request,
    /// The router's Ethernet address.
    pub server_mac: Mac,
    /// The router's address; the server identifier.
    pub server: Ipv4Addr,
    /// The address that the client gets; unspecified in NAK and in answers to INFORM.
    pub yiaddr: Ipv4Addr,
    /// Options besides message type, server identifier, client identifier and relay agent information, the most
    /// important first. Those that the message has no room for are left out.
    pub options: Vec<(u8, Vec<u8>)>,
}

impl Reply<'_> {
    /// The Ethernet frame.
    pub fn to_frame(&self) -> Vec<u8> {
        let (destination, address) = self.destination();
        let packet = wire::packet((self.server, SERVER_PORT), (address, CLIENT_PORT), &self.to_message());
        let header = Header { destination, source: self.server_mac, ethertype: ethertype::IPV4 };
        [&header.to_bytes()[..], &packet].concat()
    }

    /// Where the message goes (RFC 2131 §4.1).
    fn destination(&self) -> (Mac, Ipv4Addr) {
        let request = self.request;
        let everyone = (Mac::BROADCAST, Ipv4Addr::BROADCAST);
        if self.kind == ServerMessage::Nak {
            everyone
        } else if !request.ciaddr.is_unspecified() {
            (request.chaddr, request.ciaddr)
        } else if request.wants_broadcast() || self.yiaddr.is_unspecified() {
            everyone
        } else {
            (request.chaddr, self.yiaddr)
        }
    }

    fn to_message(&self) -> Vec<u8> {
        let request = self.request;
        let ciaddr = if self.kind == ServerMessage::Ack { request.ciaddr } else { Ipv4Addr::UNSPECIFIED };
        // RFC 2131 §4.3.2: the relay of a NAK must broadcast it; for our own LAN the flags go back as they came.
        let mut out = Message {
            op: BOOTREPLY,
            xid: request.xid,
            flags: request.flags,
            ciaddr,
            yiaddr: self.yiaddr,
            giaddr: Ipv4Addr::UNSPECIFIED,
            chaddr: request.chaddr,
            options: Default::default(),
        }
        .begin();
        push(&mut out, option::MESSAGE_TYPE, &[self.kind as u8]);
        push(&mut out, option::SERVER_IDENTIFIER, &self.server.octets());
        if let Some(id) = &request.client_id {
            // RFC 6842 §3.
            push(&mut out, option::CLIENT_IDENTIFIER, id);
        }
        let relay = request.relay_information.as_deref();
        let reserved = relay.map_or(0, |info| info.len() + 2) + 1;
        let limit = usize::from(request.max_size.unwrap_or(SIZE_MIN).clamp(SIZE_MIN, 1500)) - 28;
        for (code, value) in &self.options {
            if value.len() <= 255 && out.len() + value.len() + 2 + reserved <= limit {
                push(&mut out, *code, value);
            }
        }
        if let Some(info) = relay.filter(|info| out.len() + info.len() + 3 <= limit) {
            push(&mut out, option::RELAY_AGENT_INFORMATION, info);
        }
        wire::finish(&mut out);
        out
    }
}
