//! IPv6 packets by hand: a builder, and a reader that checks everything a far end would.

use alloc::vec;
use alloc::vec::Vec;
use core::net::Ipv6Addr;

use crate::forward::tests::packet::sum;

/// An address and port.
pub type End6 = (Ipv6Addr, u16);

/// What a test says of a packet; `build` makes the octets.
#[derive(Debug, Clone)]
pub struct Packet6 {
    pub source: Ipv6Addr,
    pub destination: Ipv6Addr,
    pub hop_limit: u8,
    /// Extension headers: number and octets, whose first is filled in.
    pub extensions: Vec<(u8, Vec<u8>)>,
    pub protocol: u8,
    /// Transport header and payload, with the checksum right.
    pub body: Vec<u8>,
}

fn whole(source: Ipv6Addr, destination: Ipv6Addr, protocol: u8, body: &[u8]) -> u16 {
    let mut bytes = [source.octets(), destination.octets()].concat();
    bytes.extend((body.len() as u32).to_be_bytes());
    bytes.extend([0, 0, 0, protocol]);
    bytes.extend(body);
    sum(&bytes)
}

impl Packet6 {
    /// With the checksum at `checksum` of the body filled in.
    pub fn new(
        source: Ipv6Addr,
        destination: Ipv6Addr,
        protocol: u8,
        mut body: Vec<u8>,
        checksum: Option<usize>,
    ) -> Packet6 {
        if let Some(at) = checksum {
            let value = match !whole(source, destination, protocol, &body) {
                0 if protocol == 17 => 0xffff,
                value => value,
            };
            body[at..at + 2].copy_from_slice(&value.to_be_bytes());
        }
        Packet6 { source, destination, hop_limit: 64, extensions: vec![], protocol, body }
    }

    pub fn udp(from: End6, to: End6, payload: &[u8]) -> Packet6 {
        let len = (8 + payload.len()) as u16;
        let mut body = [from.1.to_be_bytes(), to.1.to_be_bytes(), len.to_be_bytes(), [0, 0]].concat();
        body.extend(payload);
        Packet6::new(from.0, to.0, 17, body, Some(6))
    }

    pub fn tcp(from: End6, to: End6, flags: u8, payload: &[u8]) -> Packet6 {
        Packet6::tcp_options(from, to, flags, &[], payload)
    }

    pub fn tcp_options(from: End6, to: End6, flags: u8, options: &[u8], payload: &[u8]) -> Packet6 {
        let header = 20 + options.len();
        let mut body = [from.1.to_be_bytes(), to.1.to_be_bytes()].concat();
        body.extend([0, 0, 1, 0, 0, 0, 2, 0, (header as u8 / 4) << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
        body.extend(options);
        body.extend(payload);
        Packet6::new(from.0, to.0, 6, body, Some(16))
    }

    pub fn sctp(from: End6, to: End6, chunk: u8) -> Packet6 {
        let mut body = [from.1.to_be_bytes(), to.1.to_be_bytes()].concat();
        body.extend([0, 0, 0, 1, 0, 0, 0, 0, chunk, 0, 0, 4]);
        Packet6::new(from.0, to.0, 132, body, None)
    }

    pub fn dccp(from: End6, to: End6, kind: u8) -> Packet6 {
        let mut body = [from.1.to_be_bytes(), to.1.to_be_bytes()].concat();
        body.extend([4, 0, 0, 0, kind << 1 | 1, 0, 0, 0, 0, 0, 0, 1]);
        Packet6::new(from.0, to.0, 33, body, None)
    }

    pub fn icmp(from: Ipv6Addr, to: Ipv6Addr, kind: u8, code: u8, rest: [u8; 4], payload: &[u8]) -> Packet6 {
        let mut body = vec![kind, code, 0, 0];
        body.extend(rest);
        body.extend(payload);
        Packet6::new(from, to, 58, body, Some(2))
    }

    pub fn ping(from: Ipv6Addr, to: Ipv6Addr, id: u16) -> Packet6 {
        let [a, b] = id.to_be_bytes();
        Packet6::icmp(from, to, 128, 0, [a, b, 0, 1], b"abcdefgh")
    }

    pub fn pong(from: Ipv6Addr, to: Ipv6Addr, id: u16) -> Packet6 {
        let [a, b] = id.to_be_bytes();
        Packet6::icmp(from, to, 129, 0, [a, b, 0, 1], b"abcdefgh")
    }

    /// An error by `from` about a packet.
    pub fn error(from: Ipv6Addr, kind: u8, code: u8, about: &[u8]) -> Packet6 {
        let to = Ipv6Addr::from(*about[8..].first_chunk::<16>().unwrap());
        Packet6::icmp(from, to, kind, code, [0, 0, 5, 0], &about[..about.len().min(1232)])
    }

    pub fn hops(mut self, hop_limit: u8) -> Packet6 {
        self.hop_limit = hop_limit;
        self
    }

    /// Puts an extension header before the transport's, behind those that are there.
    pub fn extension(mut self, number: u8, octets: &[u8]) -> Packet6 {
        self.extensions.push((number, octets.to_vec()));
        self
    }

    pub fn build(&self) -> Vec<u8> {
        let mut numbers: Vec<u8> = self.extensions.iter().map(|(number, _)| *number).collect();
        numbers.push(self.protocol);
        let mut payload = vec![];
        for ((_, octets), next) in self.extensions.iter().zip(&numbers[1..]) {
            let at = payload.len();
            payload.extend(octets);
            payload[at] = *next;
        }
        payload.extend(&self.body);
        let mut bytes = vec![0x60, 0, 0, 0];
        bytes.extend((payload.len() as u16).to_be_bytes());
        bytes.extend([numbers[0], self.hop_limit]);
        bytes.extend(self.source.octets());
        bytes.extend(self.destination.octets());
        bytes.extend(payload);
        bytes
    }

    /// The fragments of a packet, each with `size` octets of body, under an identification.
    pub fn fragments(&self, size: usize, id: u32) -> Vec<Vec<u8>> {
        let count = self.body.len().div_ceil(size);
        (0..count)
            .map(|index| {
                let body = self.body[index * size..self.body.len().min((index + 1) * size)].to_vec();
                let field = (index * size) as u16 | u16::from(index + 1 < count);
                let header = [&[0, 0][..], &field.to_be_bytes(), &id.to_be_bytes()].concat();
                Packet6 { body, ..self.clone() }.extension(44, &header).build()
            })
            .collect()
    }
}

/// A packet as it came out, its checksums checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read6 {
    pub source: End6,
    pub destination: End6,
    pub protocol: u8,
    pub hop_limit: u8,
    pub bytes: Vec<u8>,
    /// Where the transport header is.
    pub at: usize,
}

impl Read6 {
    /// Reads a packet; panics where a host would drop it.
    pub fn new(bytes: &[u8]) -> Read6 {
        assert_eq!(bytes[0] >> 4, 6, "version");
        assert_eq!(usize::from(u16::from_be_bytes([bytes[4], bytes[5]])) + 40, bytes.len(), "payload length");
        let address = |at: usize| Ipv6Addr::from(*bytes[at..].first_chunk::<16>().unwrap());
        let (source, destination) = (address(8), address(24));
        let (mut protocol, mut at, mut fragment) = (bytes[6], 40, false);
        while matches!(protocol, 0 | 43 | 44 | 60) {
            fragment |= protocol == 44 && (bytes[at + 2] != 0 || bytes[at + 3] & !6 != 0);
            let len = if protocol == 44 { 8 } else { (usize::from(bytes[at + 1]) + 1) * 8 };
            protocol = bytes[at];
            at += len;
        }
        let mut ports = (0, 0);
        if !fragment {
            if matches!(protocol, 6 | 17 | 58) {
                assert_eq!(whole(source, destination, protocol, &bytes[at..]), 0xffff, "transport checksum");
            }
            if matches!(protocol, 6 | 17 | 33 | 132 | 136) {
                let port = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
                ports = (port(at), port(at + 2));
            }
        }
        Read6 {
            source: (source, ports.0),
            destination: (destination, ports.1),
            protocol,
            hop_limit: bytes[7],
            bytes: bytes.to_vec(),
            at,
        }
    }

    /// A packet that may be damaged beyond its header.
    pub fn unread(bytes: &[u8]) -> Read6 {
        let nobody = (Ipv6Addr::UNSPECIFIED, 0);
        let bytes = bytes.to_vec();
        Read6 { source: nobody, destination: nobody, protocol: 0, hop_limit: 0, bytes, at: 40 }
    }

    pub fn body(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    /// Type and code of an ICMPv6 message.
    pub fn icmp(&self) -> (u8, u8) {
        assert_eq!(self.protocol, 58);
        (self.body()[0], self.body()[1])
    }

    /// What an ICMPv6 error says in its second word.
    pub fn word(&self) -> u32 {
        u32::from_be_bytes(*self.body()[4..].first_chunk().unwrap())
    }

    /// The packet that an ICMPv6 error quotes.
    pub fn quoted(&self) -> &[u8] {
        &self.body()[8..]
    }
}
