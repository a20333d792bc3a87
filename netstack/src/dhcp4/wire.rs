//! What every DHCP message has in common (RFC 2131 §2): the fixed fields, the options, and the packet around them.
//!
//! The decoder walks the options once, joins those that come in pieces (RFC 3396), looks into `file` and `sname` when
//! they are overloaded, and keeps only what its caller names. Lengths are checked before anything is read.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use super::message::option;
use crate::id::Mac;
use crate::wire::checksum::Sum;
use crate::wire::ethernet::{Header, ethertype};
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::octets::u16_at;

/// UDP port of servers.
pub const SERVER_PORT: u16 = 67;
/// UDP port of clients.
pub const CLIENT_PORT: u16 = 68;
/// The flag by which a client asks for a broadcast reply.
pub const BROADCAST_FLAG: u16 = 0x8000;

/// The `op` of a client's message.
pub const BOOTREQUEST: u8 = 1;
/// The `op` of a server's message.
pub const BOOTREPLY: u8 = 2;

const MAGIC_COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Least length of a BOOTP message (RFC 1542 §2.1).
const BOOTP_MIN: usize = 300;
/// Octets of IPv4 and UDP headers.
const HEADERS: usize = 28;

/// A message as it is on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// [`BOOTREQUEST`] or [`BOOTREPLY`].
    pub op: u8,
    /// Transaction id.
    pub xid: u32,
    /// Flags, of which the highest asks for a broadcast reply.
    pub flags: u16,
    /// The address that the client has; unspecified otherwise.
    pub ciaddr: Ipv4Addr,
    /// The address that the client gets; unspecified otherwise.
    pub yiaddr: Ipv4Addr,
    /// The relay agent's address; unspecified when there is none.
    pub giaddr: Ipv4Addr,
    /// The client's Ethernet address.
    pub chaddr: Mac,
    /// The options that were asked for, each in one piece.
    pub options: BTreeMap<u8, Vec<u8>>,
}

impl Message {
    /// The message to UDP port `port` in an Ethernet frame, with the options of the codes `kept`. `None` when anything
    /// about it is wrong.
    pub fn parse(frame: &[u8], port: u16, kept: &[u8]) -> Option<Message> {
        let (ethernet, payload) = Header::parse(frame)?;
        let packet = Ipv4::parse(payload)?;
        if ethernet.ethertype != ethertype::IPV4 || packet.protocol() != ipv4::UDP || packet.is_fragment() {
            return None;
        }
        let udp = packet.payload();
        if u16_at(udp, 2)? != port {
            return None;
        }
        Message::parse_payload(udp.get(..usize::from(u16_at(udp, 4)?))?.get(8..)?, kept)
    }

    fn parse_payload(message: &[u8], kept: &[u8]) -> Option<Message> {
        // Ethernet, addresses of six octets.
        let (&[op, 1, 6, _, x0, x1, x2, x3, _, _, f0, f1], rest) = message.split_first_chunk::<12>()? else {
            return None;
        };
        let (ciaddr, rest) = rest.split_first_chunk::<4>()?;
        let (yiaddr, rest) = rest.split_first_chunk::<4>()?;
        let (_siaddr, rest) = rest.split_first_chunk::<4>()?;
        let (giaddr, rest) = rest.split_first_chunk::<4>()?;
        let (chaddr, rest) = rest.split_first_chunk::<16>()?;
        let (sname, rest) = rest.split_first_chunk::<64>()?;
        let (file, rest) = rest.split_first_chunk::<128>()?;
        let (magic, fields) = rest.split_first_chunk::<4>()?;
        let chaddr = Mac::read(chaddr).filter(|mac| mac.is_station())?;
        if *magic != MAGIC_COOKIE {
            return None;
        }
        let mut options = BTreeMap::new();
        let mut overload = 0;
        walk(fields, kept, &mut options, &mut overload)?;
        // RFC 3396 §5: the options field, then file, then sname. An overload option within them has no meaning.
        let mut ignored = 0;
        if overload & 1 != 0 {
            walk(file, kept, &mut options, &mut ignored)?;
        }
        if overload & 2 != 0 {
            walk(sname, kept, &mut options, &mut ignored)?;
        }
        Some(Message {
            op,
            xid: u32::from_be_bytes([x0, x1, x2, x3]),
            flags: u16::from_be_bytes([f0, f1]),
            ciaddr: Ipv4Addr::from(*ciaddr),
            yiaddr: Ipv4Addr::from(*yiaddr),
            giaddr: Ipv4Addr::from(*giaddr),
            chaddr,
            options,
        })
    }

    /// An option that is one address. `Some(None)` when it is not there, `None` when it is no address.
    pub fn address(&self, code: u8) -> Option<Option<Ipv4Addr>> {
        match self.options.get(&code) {
            Some(value) => {
                <[u8; 4]>::try_from(value.as_slice()).ok().map(|octets| Some(Ipv4Addr::from(octets)))
            }
            None => Some(None),
        }
    }

    /// The fixed fields as they go out. Options follow.
    pub fn begin(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(BOOTP_MIN);
        out.extend_from_slice(&[self.op, 1, 6, 0]);
        out.extend_from_slice(&self.xid.to_be_bytes());
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&self.flags.to_be_bytes());
        out.extend_from_slice(&self.ciaddr.octets());
        out.extend_from_slice(&self.yiaddr.octets());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.giaddr.octets());
        out.extend_from_slice(&self.chaddr.0);
        out.resize(28 + 16 + 64 + 128, 0);
        out.extend_from_slice(&MAGIC_COOKIE);
        out
    }
}

/// Ends the options of a message.
pub fn finish(out: &mut Vec<u8>) {
    out.push(option::END);
    if out.len() < BOOTP_MIN {
        out.resize(BOOTP_MIN, 0);
    }
}

/// Appends an option of at most 255 octets.
pub fn push(out: &mut Vec<u8>, code: u8, value: &[u8]) {
    if let Ok(len) = u8::try_from(value.len()) {
        out.push(code);
        out.push(len);
        out.extend_from_slice(value);
    }
}

/// The IPv4 packet that carries `message` from the first address and port to the second.
pub fn packet(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), message: &[u8]) -> Vec<u8> {
    let len = u16::try_from(message.len()).unwrap_or(u16::MAX);
    let udp_len = len.saturating_add(8);
    let mut packet = Vec::with_capacity(HEADERS.saturating_add(message.len()));
    packet.extend_from_slice(&[0x45, 0]);
    packet.extend_from_slice(&udp_len.saturating_add(20).to_be_bytes());
    packet.extend_from_slice(&[0, 0, 0, 0, 64, ipv4::UDP, 0, 0]);
    packet.extend_from_slice(&from.0.octets());
    packet.extend_from_slice(&to.0.octets());
    ipv4::write_header_checksum(&mut packet, ipv4::MIN_HEADER);
    let [s0, s1] = from.1.to_be_bytes();
    let [d0, d1] = to.1.to_be_bytes();
    let [l0, l1] = udp_len.to_be_bytes();
    let ports = [s0, s1, d0, d1, l0, l1];
    let sum = Sum::pseudo_v4(from.0, to.0, ipv4::UDP, udp_len).plus(Sum::of(&ports)).plus(Sum::of(message));
    packet.extend_from_slice(&ports);
    packet.extend_from_slice(&sum.udp_checksum().to_be_bytes());
    packet.extend_from_slice(message);
    packet
}

/// Collects the options of one field. `None` when one is cut short.
fn walk(mut field: &[u8], kept: &[u8], found: &mut BTreeMap<u8, Vec<u8>>, overload: &mut u8) -> Option<()> {
    while let Some((&code, rest)) = field.split_first() {
        match code {
            option::PAD => field = rest,
            option::END => break,
            _ => {
                let (&len, rest) = rest.split_first()?;
                let (value, rest) = rest.split_at_checked(usize::from(len))?;
                if kept.contains(&code) {
                    found.entry(code).or_default().extend_from_slice(value);
                } else if code == option::OVERLOAD
                    && let [fields] = value
                {
                    *overload = *fields;
                }
                field = rest;
            }
        }
    }
    Some(())
}
