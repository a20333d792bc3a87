//! DHCP messages as a client writes and reads them.

use alloc::vec::Vec;
use core::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::dhcp4::message::{ClientMessage, ServerMessage, option};
use crate::dhcp4::wire::{self, BOOTREPLY, BOOTREQUEST, CLIENT_PORT, Message, push};
use crate::forward::Ipv4Segment;
use crate::id::{Ipv4Cidr, Mac};

/// What is asked for. RFC 3442: classless routes come before the router.
const PARAMETERS: [u8; 7] = [
    option::SUBNET_MASK,
    option::CLASSLESS_STATIC_ROUTE,
    option::ROUTER,
    option::DOMAIN_NAME_SERVER,
    option::INTERFACE_MTU,
    option::RENEWAL_TIME,
    option::REBINDING_TIME,
];

/// Options that the client looks at.
const KEPT: [u8; 11] = [
    option::SUBNET_MASK,
    option::ROUTER,
    option::DOMAIN_NAME_SERVER,
    option::INTERFACE_MTU,
    option::LEASE_TIME,
    option::MESSAGE_TYPE,
    option::SERVER_IDENTIFIER,
    option::RENEWAL_TIME,
    option::REBINDING_TIME,
    option::CLIENT_IDENTIFIER,
    option::CLASSLESS_STATIC_ROUTE,
];

/// Least MTU that is believed (RFC 791: every host takes packets of this size).
const MTU_MIN: u16 = 576;
/// Most DNS servers that are taken.
const SERVERS: usize = 4;

/// A client's message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question {
    /// What it is.
    pub kind: ClientMessage,
    /// Transaction id.
    pub xid: u32,
    /// The address that is ours; unspecified otherwise.
    pub ciaddr: Ipv4Addr,
    /// Requested IP address (50).
    pub requested: Option<Ipv4Addr>,
    /// Server identifier (54).
    pub server: Option<Ipv4Addr>,
}

/// The client identifier (RFC 2132 §9.14): hardware type and address.
pub(super) fn client_id(mac: Mac) -> [u8; 7] {
    let [a, b, c, d, e, f] = mac.0;
    [1, a, b, c, d, e, f]
}

impl Question {
    /// The message, from the fixed fields to the end of its options. No broadcast reply is asked for: our port takes a
    /// packet for an address that we do not have yet.
    pub fn to_message(self, mac: Mac, hostname: &str, max_size: u16) -> Vec<u8> {
        let mut out = Message {
            op: BOOTREQUEST,
            xid: self.xid,
            flags: 0,
            ciaddr: self.ciaddr,
            yiaddr: Ipv4Addr::UNSPECIFIED,
            giaddr: Ipv4Addr::UNSPECIFIED,
            chaddr: mac,
            options: Default::default(),
        }
        .begin();
        let kind = match self.kind {
            ClientMessage::Discover => 1,
            ClientMessage::Request => 3,
            ClientMessage::Decline => 4,
            ClientMessage::Release => 7,
            ClientMessage::Inform => 8,
        };
        push(&mut out, option::MESSAGE_TYPE, &[kind]);
        push(&mut out, option::CLIENT_IDENTIFIER, &client_id(mac));
        if let Some(address) = self.requested {
            push(&mut out, option::REQUESTED_ADDRESS, &address.octets());
        }
        if let Some(server) = self.server {
            push(&mut out, option::SERVER_IDENTIFIER, &server.octets());
        }
        // RFC 2131 table 5: none of these in DECLINE.
        if self.kind != ClientMessage::Decline {
            push(&mut out, option::MAXIMUM_MESSAGE_SIZE, &max_size.to_be_bytes());
            if !hostname.is_empty() {
                push(&mut out, option::HOST_NAME, hostname.as_bytes());
            }
            push(&mut out, option::PARAMETER_REQUEST_LIST, &PARAMETERS);
        }
        wire::finish(&mut out);
        out
    }
}

/// A server's message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// What it says.
    pub kind: ServerMessage,
    /// Transaction id.
    pub xid: u32,
    /// Whom it is for.
    pub chaddr: Mac,
    /// Who says it (54).
    pub server: Ipv4Addr,
    /// What it gives; `None` when that is of no use, and always in a refusal.
    pub grant: Option<Grant>,
}

/// What an offer or an acknowledgement gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Our address, the network, and the default router.
    pub segment: Ipv4Segment,
    /// DNS servers, the preferred one first.
    pub dns: Vec<Ipv4Addr>,
    /// Largest IP packet, when the server says.
    pub mtu: Option<u16>,
    /// Lease time in seconds; all ones is for ever.
    pub time: u32,
    /// T1 and T2, in seconds.
    pub timers: (u32, u32),
}

impl Answer {
    /// The answer in an Ethernet frame to the client with the address `mac`. `None` when it is none, or one for
    /// somebody else.
    pub fn parse(frame: &[u8], mac: Mac) -> Option<Answer> {
        let message = Message::parse(frame, CLIENT_PORT, &KEPT)?;
        // RFC 6842 §3: a server that sends a client identifier sends ours.
        let foreign = message.options.get(&option::CLIENT_IDENTIFIER).is_some_and(|id| *id != client_id(mac));
        if message.op != BOOTREPLY || message.chaddr != mac || foreign {
            return None;
        }
        let kind = match *message.options.get(&option::MESSAGE_TYPE)?.as_slice() {
            [2] => ServerMessage::Offer,
            [5] => ServerMessage::Ack,
            [6] => ServerMessage::Nak,
            _ => return None,
        };
        let server = message.address(option::SERVER_IDENTIFIER)?.filter(|server| is_host(*server))?;
        let grant = if kind == ServerMessage::Nak { None } else { Grant::of(&message) };
        Some(Answer { kind, xid: message.xid, chaddr: message.chaddr, server, grant })
    }
}

impl Grant {
    fn of(message: &Message) -> Option<Grant> {
        let seconds = |code| message.address(code).flatten().map(u32::from);
        let time = seconds(option::LEASE_TIME).filter(|time| *time > 0)?;
        // Without a mask there is no neighbour but the router.
        let mask = message.address(option::SUBNET_MASK).flatten().map_or(u32::MAX, Ipv4Addr::to_bits);
        let whole = mask.leading_ones().saturating_add(mask.trailing_zeros()) == 32;
        let prefix = u8::try_from(mask.leading_ones()).ok().filter(|prefix| whole && *prefix >= 8);
        let network = Ipv4Cidr { address: message.yiaddr, prefix: prefix.unwrap_or(32) };
        let edge = network.prefix < 31
            && (network.network() == network.address || network.broadcast() == Some(network.address));
        if !is_host(message.yiaddr) || edge {
            return None;
        }
        let gateway = gateway(message).filter(|gateway| is_host(*gateway) && *gateway != message.yiaddr)?;
        let dns = message.options.get(&option::DOMAIN_NAME_SERVER).map_or(&[][..], Vec::as_slice);
        let dns = dns.as_chunks::<4>().0.iter().map(|octets| Ipv4Addr::from(*octets));
        let mtu = message.options.get(&option::INTERFACE_MTU);
        let mtu = mtu.and_then(|value| <[u8; 2]>::try_from(value.as_slice()).ok()).map(u16::from_be_bytes);
        Some(Grant {
            segment: Ipv4Segment { network, gateway },
            dns: dns.filter(|server| is_host(*server)).take(SERVERS).collect(),
            mtu: mtu.filter(|mtu| *mtu >= MTU_MIN),
            time,
            timers: timers(time, seconds(option::RENEWAL_TIME), seconds(option::REBINDING_TIME)),
        })
    }
}

/// T1 and T2: the server's when they make sense, else a half and seven eighths of the lease (RFC 2131 §4.4.5).
fn timers(time: u32, t1: Option<u32>, t2: Option<u32>) -> (u32, u32) {
    if time == u32::MAX {
        return (u32::MAX, u32::MAX);
    }
    let seven_eighths = u32::try_from(u64::from(time).saturating_mul(7) / 8).unwrap_or(time);
    let t2 = t2.filter(|t2| *t2 > 0 && *t2 < time).unwrap_or(seven_eighths);
    let t1 = t1.filter(|t1| *t1 > 0 && *t1 < t2).unwrap_or((time / 2).min(t2));
    (t1, t2)
}

/// The default router: of the classless routes, which replace the router option when there are any (RFC 3442).
fn gateway(message: &Message) -> Option<Ipv4Addr> {
    if let Some(mut routes) = message.options.get(&option::CLASSLESS_STATIC_ROUTE).map(Vec::as_slice) {
        while let Some((&prefix, rest)) = routes.split_first() {
            let significant = usize::from(prefix).div_ceil(8);
            let (router, rest) = rest.get(significant..)?.split_first_chunk::<4>()?;
            match prefix {
                0 => return Some(Ipv4Addr::from(*router)),
                1..=32 => routes = rest,
                _ => return None,
            }
        }
        return None;
    }
    let routers = message.options.get(&option::ROUTER)?;
    routers.first_chunk::<4>().map(|octets| Ipv4Addr::from(*octets))
}

/// True for an address that can be a host's.
fn is_host(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    first != 0 && first != 127 && first < 224
}
