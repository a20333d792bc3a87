//! Packets by hand: a builder, and a reader that checks everything a far end would.

use alloc::vec;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

/// An address and port.
pub type End = (Ipv4Addr, u16);

pub const FIN: u8 = 0x01;
pub const SYN: u8 = 0x02;
pub const RST: u8 = 0x04;
pub const ACK: u8 = 0x10;

/// What a test says of a packet; `build` makes the octets.
#[derive(Debug, Clone)]
pub struct Packet {
    pub source: Ipv4Addr,
    pub destination: Ipv4Addr,
    pub protocol: u8,
    pub ttl: u8,
    pub id: u16,
    /// Flags and fragment offset.
    pub flags: u16,
    pub options: Vec<u8>,
    /// Transport header and payload, with the checksum right.
    pub body: Vec<u8>,
}

pub fn sum(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

pub fn pseudo(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, len: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(source.octets());
    bytes.extend(destination.octets());
    bytes.extend([0, protocol]);
    bytes.extend((len as u16).to_be_bytes());
    bytes
}

fn whole(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, body: &[u8]) -> u16 {
    let mut bytes = pseudo(source, destination, protocol, body.len());
    bytes.extend(body);
    sum(&bytes)
}

impl Packet {
    pub fn new(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, body: Vec<u8>) -> Packet {
        Packet { source, destination, protocol, ttl: 64, id: 7, flags: 0x4000, options: vec![], body }
    }

    pub fn udp(from: End, to: End, payload: &[u8]) -> Packet {
        let len = (8 + payload.len()) as u16;
        let mut body = [from.1.to_be_bytes(), to.1.to_be_bytes(), len.to_be_bytes(), [0, 0]].concat();
        body.extend(payload);
        let checksum = match !whole(from.0, to.0, 17, &body) {
            0 => 0xffff,
            checksum => checksum,
        };
        body[6..8].copy_from_slice(&checksum.to_be_bytes());
        Packet::new(from.0, to.0, 17, body)
    }

    pub fn tcp(from: End, to: End, flags: u8, payload: &[u8]) -> Packet {
        Packet::tcp_options(from, to, flags, &[], payload)
    }

    pub fn tcp_options(from: End, to: End, flags: u8, options: &[u8], payload: &[u8]) -> Packet {
        let header = 20 + options.len();
        let mut body = [from.1.to_be_bytes(), to.1.to_be_bytes()].concat();
        body.extend([0, 0, 1, 0, 0, 0, 2, 0, (header as u8 / 4) << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
        body.extend(options);
        body.extend(payload);
        let checksum = !whole(from.0, to.0, 6, &body);
        body[16..18].copy_from_slice(&checksum.to_be_bytes());
        Packet::new(from.0, to.0, 6, body)
    }

    pub fn icmp(from: Ipv4Addr, to: Ipv4Addr, kind: u8, code: u8, rest: [u8; 4], payload: &[u8]) -> Packet {
        let mut body = vec![kind, code, 0, 0];
        body.extend(rest);
        body.extend(payload);
        let checksum = !sum(&body);
        body[2..4].copy_from_slice(&checksum.to_be_bytes());
        Packet::new(from, to, 1, body)
    }

    pub fn query(from: Ipv4Addr, to: Ipv4Addr, kind: u8, id: u16) -> Packet {
        let [a, b] = id.to_be_bytes();
        Packet::icmp(from, to, kind, 0, [a, b, 0, 1], b"abcdefgh")
    }

    pub fn ping(from: Ipv4Addr, to: Ipv4Addr, id: u16) -> Packet {
        Packet::query(from, to, 8, id)
    }

    pub fn pong(from: Ipv4Addr, to: Ipv4Addr, id: u16) -> Packet {
        Packet::query(from, to, 0, id)
    }

    /// An error by `from` about a packet as it was seen there: the quotation is cut to `quote` octets of its body.
    pub fn error(from: Ipv4Addr, kind: u8, code: u8, about: &[u8], quote: usize) -> Packet {
        let header = usize::from(about[0] & 15) * 4;
        let to = Ipv4Addr::new(about[12], about[13], about[14], about[15]);
        let cut = about.len().min(header + quote);
        Packet::icmp(from, to, kind, code, [0, 0, 5, 0xd4], &about[..cut])
    }

    pub fn ttl(mut self, ttl: u8) -> Packet {
        self.ttl = ttl;
        self
    }

    pub fn may_fragment(mut self) -> Packet {
        self.flags &= !0x4000;
        self
    }

    pub fn options(mut self, options: &[u8]) -> Packet {
        self.options = options.to_vec();
        self
    }

    pub fn build(&self) -> Vec<u8> {
        let header = 20 + self.options.len();
        let total = (header + self.body.len()) as u16;
        let mut bytes = vec![0x40 | (header / 4) as u8, 0];
        bytes.extend(total.to_be_bytes());
        bytes.extend(self.id.to_be_bytes());
        bytes.extend(self.flags.to_be_bytes());
        bytes.extend([self.ttl, self.protocol, 0, 0]);
        bytes.extend(self.source.octets());
        bytes.extend(self.destination.octets());
        bytes.extend(&self.options);
        let checksum = !sum(&bytes);
        bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
        bytes.extend(&self.body);
        bytes
    }

    /// The fragments of a packet, each with `size` octets of body.
    pub fn fragments(&self, size: usize) -> Vec<Vec<u8>> {
        let count = self.body.len().div_ceil(size);
        (0..count)
            .map(|index| {
                let body = &self.body[index * size..self.body.len().min((index + 1) * size)];
                let more = if index + 1 < count { 0x2000 } else { 0 };
                let flags = more | (index * size / 8) as u16;
                Packet { flags, body: body.to_vec(), ..self.clone() }.build()
            })
            .collect()
    }
}

/// A packet as it came out, all checksums checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    pub source: End,
    pub destination: End,
    pub protocol: u8,
    pub ttl: u8,
    /// Flags and fragment offset.
    pub flags: u16,
    /// Of TCP.
    pub tcp_flags: u8,
    pub bytes: Vec<u8>,
    pub header: usize,
}

impl Read {
    /// Reads a packet; panics where a host would drop it.
    pub fn new(bytes: &[u8]) -> Read {
        assert_eq!(bytes[0] >> 4, 4, "version");
        let header = usize::from(bytes[0] & 15) * 4;
        let total = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
        assert_eq!(total, bytes.len(), "total length");
        assert_eq!(sum(&bytes[..header]), 0xffff, "IPv4 header checksum");
        let source = Ipv4Addr::new(bytes[12], bytes[13], bytes[14], bytes[15]);
        let destination = Ipv4Addr::new(bytes[16], bytes[17], bytes[18], bytes[19]);
        let protocol = bytes[9];
        let flags = u16::from_be_bytes([bytes[6], bytes[7]]);
        let body = &bytes[header..];
        let (mut ports, mut tcp_flags) = ((0, 0), 0);
        if flags & 0x1fff == 0 {
            let fragment = flags & 0x2000 != 0;
            if protocol == 6 || protocol == 17 {
                ports = (u16::from_be_bytes([body[0], body[1]]), u16::from_be_bytes([body[2], body[3]]));
                let none = protocol == 17 && body[6..8] == [0, 0];
                if !fragment && !none {
                    assert_eq!(whole(source, destination, protocol, body), 0xffff, "transport checksum");
                }
                if protocol == 6 {
                    tcp_flags = body[13];
                }
            } else if protocol == 1 {
                if !fragment {
                    assert_eq!(sum(body), 0xffff, "ICMP checksum");
                }
                let id = u16::from_be_bytes([body[4], body[5]]);
                ports = (id, id);
            }
        }
        Read {
            source: (source, ports.0),
            destination: (destination, ports.1),
            protocol,
            ttl: bytes[8],
            flags,
            tcp_flags,
            bytes: bytes.to_vec(),
            header,
        }
    }

    pub fn body(&self) -> &[u8] {
        &self.bytes[self.header..]
    }

    /// What follows the transport header.
    pub fn payload(&self) -> &[u8] {
        let at = match self.protocol {
            6 => usize::from(self.body()[12] >> 4) * 4,
            _ => 8,
        };
        &self.body()[at..]
    }

    /// Type and code of an ICMP message.
    pub fn icmp(&self) -> (u8, u8) {
        assert_eq!(self.protocol, 1);
        (self.body()[0], self.body()[1])
    }

    /// Source and destination of the packet that an ICMP error quotes, whose header checksum must be right, and the
    /// transport's too where it is quoted whole.
    pub fn quoted(&self) -> (u8, End, End) {
        let quote = &self.body()[8..];
        let header = usize::from(quote[0] & 15) * 4;
        assert_eq!(sum(&quote[..header]), 0xffff, "quoted header checksum");
        let total = usize::from(u16::from_be_bytes([quote[2], quote[3]]));
        if total <= quote.len() {
            let read = Read::new(&quote[..total]);
            return (read.protocol, read.source, read.destination);
        }
        let address = |at: usize| Ipv4Addr::new(quote[at], quote[at + 1], quote[at + 2], quote[at + 3]);
        let port = |at: usize| u16::from_be_bytes([quote[header + at], quote[header + at + 1]]);
        let ports = if quote[9] == 1 { (port(4), port(4)) } else { (port(0), port(2)) };
        (quote[9], (address(12), ports.0), (address(16), ports.1))
    }
}
