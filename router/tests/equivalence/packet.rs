//! Frames, made and read.

use std::net::IpAddr;

use genkan_netstack::id::Mac;
use genkan_netstack::wire::checksum::Sum;

pub const ACK: u8 = 0x10;
pub const SYN: u8 = 0x02;
const PUSH: u8 = 0x08;

/// What a packet carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Tcp(u8),
    Udp,
    /// An echo request, or its reply; both ports are the identifier.
    Echo {
        reply: bool,
    },
}

impl Kind {
    pub const DATA: Kind = Kind::Tcp(ACK | PUSH);
}

/// A packet in a frame.
#[derive(Debug, Clone, Copy)]
pub struct Packet {
    pub destination_mac: Mac,
    pub source_mac: Mac,
    /// The PPPoE session's.
    pub session: Option<u16>,
    pub source: (IpAddr, u16),
    pub destination: (IpAddr, u16),
    pub kind: Kind,
    /// Octets of data.
    pub data: usize,
}

impl Packet {
    pub fn to_frame(self) -> Vec<u8> {
        let packet = self.to_packet();
        let mut frame = [self.destination_mac.0, self.source_mac.0].concat();
        let is_v4 = self.source.0.is_ipv4();
        match self.session {
            Some(id) => {
                frame.extend([0x88, 0x64, 0x11, 0]);
                frame.extend(id.to_be_bytes());
                frame.extend((packet.len() as u16 + 2).to_be_bytes());
                frame.extend([0, if is_v4 { 0x21 } else { 0x57 }]);
            }
            None => frame.extend(if is_v4 { [0x08, 0x00] } else { [0x86, 0xdd] }),
        }
        frame.extend(packet);
        frame
    }

    fn to_packet(self) -> Vec<u8> {
        let (protocol, mut payload, checksum) = self.transport();
        let len = payload.len() as u16;
        match (self.source.0, self.destination.0) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let sum = match self.kind {
                    Kind::Echo { .. } => Sum::default(),
                    _ => Sum::pseudo_v4(source, destination, protocol, len),
                };
                fill(&mut payload, checksum, sum);
                let mut header = [0x45, 0, 0, 0, 0x12, 0x34, 0x40, 0, 64, protocol, 0, 0].to_vec();
                header[2..4].copy_from_slice(&(20 + len).to_be_bytes());
                header.extend(source.octets().into_iter().chain(destination.octets()));
                fill(&mut header, 10, Sum::default());
                [header, payload].concat()
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                fill(&mut payload, checksum, Sum::pseudo_v6(source, destination, protocol, len.into()));
                let mut header = vec![0x60, 0, 0x12, 0x34];
                header.extend(len.to_be_bytes());
                header.extend([protocol, 64]);
                header.extend(source.octets().into_iter().chain(destination.octets()));
                [header, payload].concat()
            }
            _ => unreachable!("both ends are of one family"),
        }
    }

    /// Protocol, header and data, and where the checksum is.
    fn transport(self) -> (u8, Vec<u8>, usize) {
        let (source, destination) = (self.source.1.to_be_bytes(), self.destination.1.to_be_bytes());
        let data = (0..self.data).map(|n| n as u8);
        let mut header = [source, destination].concat();
        let (protocol, checksum) = match self.kind {
            Kind::Tcp(flags) => {
                header.extend([0, 0, 1, 0, 0, 0, 2, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
                (6, 16)
            }
            Kind::Udp => {
                header.extend((8 + self.data as u16).to_be_bytes());
                header.extend([0, 0]);
                (17, 6)
            }
            Kind::Echo { reply } => {
                let is_v4 = self.source.0.is_ipv4();
                let kind = match (is_v4, reply) {
                    (true, false) => 8,
                    (true, true) => 0,
                    (false, _) => 128 + u8::from(reply),
                };
                header = vec![kind, 0, 0, 0];
                header.extend(source);
                header.extend([0, 1]);
                (if is_v4 { 1 } else { 58 }, 2)
            }
        };
        header.extend(data);
        (protocol, header, checksum)
    }

    /// Where the transport's checksum is in a frame.
    pub fn checksum_at(&self) -> usize {
        let front = if self.session.is_some() { 22 } else { 14 };
        front + if self.source.0.is_ipv4() { 20 } else { 40 } + self.transport().2
    }

    /// Reads a frame that this made, and a router changed.
    pub fn read(frame: &[u8]) -> Packet {
        let is_session = frame[12..14] == [0x88, 0x64];
        let packet = &frame[if is_session { 22 } else { 14 }..];
        let (protocol, source, destination, payload): (u8, IpAddr, IpAddr, &[u8]) = match packet[0] >> 4 {
            4 => (packet[9], octets::<4>(packet, 12).into(), octets::<4>(packet, 16).into(), &packet[20..]),
            _ => (packet[6], octets::<16>(packet, 8).into(), octets::<16>(packet, 24).into(), &packet[40..]),
        };
        let number = |at| u16::from_be_bytes(octets(payload, at));
        let (kind, ports, header) = match protocol {
            6 => (Kind::Tcp(payload[13]), (number(0), number(2)), 20),
            17 => (Kind::Udp, (number(0), number(2)), 8),
            _ => (Kind::Echo { reply: matches!(payload[0], 0 | 129) }, (number(4), number(4)), 8),
        };
        Packet {
            destination_mac: Mac(octets(frame, 0)),
            source_mac: Mac(octets(frame, 6)),
            session: is_session.then(|| u16::from_be_bytes(octets(frame, 16))),
            source: (source, ports.0),
            destination: (destination, ports.1),
            kind,
            data: payload.len() - header,
        }
    }

    /// An answer to it.
    pub fn answer(self, kind: Kind) -> Packet {
        Packet {
            destination_mac: self.source_mac,
            source_mac: self.destination_mac,
            source: self.destination,
            destination: self.source,
            kind,
            ..self
        }
    }
}

fn octets<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    *bytes[at..].first_chunk().expect("a whole frame")
}

/// Writes the checksum of `octets`, and of a pseudo-header, at `at`.
fn fill(octets: &mut [u8], at: usize, pseudo: Sum) {
    let checksum = pseudo.plus(Sum::of(octets)).udp_checksum();
    octets[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
}
