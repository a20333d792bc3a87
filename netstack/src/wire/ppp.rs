//! PPP control packets: code, identifier, length, data (RFC 1661 §5), and the lists of options in them (§6).
//!
//! [`Packet`] and [`Options`] are views that were checked as a whole when they exist. [`PacketBuilder`] writes a packet
//! with its protocol field in front, within a limit; what does not fit makes `finish` say `None`, never a cut packet.

use alloc::vec::Vec;

use super::octets;

/// Numbers of the protocols of a PPP link (IANA "PPP DLL Protocol Numbers").
pub mod protocol {
    /// IPv4 packets (RFC 1332).
    pub const IPV4: u16 = 0x0021;
    /// IPv6 packets (RFC 5072).
    pub const IPV6: u16 = 0x0057;
    /// IPCP (RFC 1332).
    pub const IPCP: u16 = 0x8021;
    /// IPV6CP (RFC 5072).
    pub const IPV6CP: u16 = 0x8057;
    /// Link Control Protocol (RFC 1661).
    pub const LCP: u16 = 0xc021;
    /// Password Authentication Protocol (RFC 1334).
    pub const PAP: u16 = 0xc023;
    /// Link Quality Report (RFC 1989).
    pub const LQR: u16 = 0xc025;
    /// Challenge Handshake Authentication Protocol (RFC 1994).
    pub const CHAP: u16 = 0xc223;
    /// Extensible Authentication Protocol (RFC 3748).
    pub const EAP: u16 = 0xc227;

    /// True for a number whose form RFC 1661 §2 allows: the first octet even, the second odd.
    pub const fn well_formed(protocol: u16) -> bool {
        protocol & 0x0101 == 0x0001
    }
}

/// Codes of control packets (RFC 1661 §5, RFC 1570 §2). Numbers 1 to 7 are common to LCP and all network control
/// protocols.
pub mod code {
    /// Configure-Request.
    pub const CONFIGURE_REQUEST: u8 = 1;
    /// Configure-Ack.
    pub const CONFIGURE_ACK: u8 = 2;
    /// Configure-Nak.
    pub const CONFIGURE_NAK: u8 = 3;
    /// Configure-Reject.
    pub const CONFIGURE_REJECT: u8 = 4;
    /// Terminate-Request.
    pub const TERMINATE_REQUEST: u8 = 5;
    /// Terminate-Ack.
    pub const TERMINATE_ACK: u8 = 6;
    /// Code-Reject.
    pub const CODE_REJECT: u8 = 7;
    /// Protocol-Reject, LCP only.
    pub const PROTOCOL_REJECT: u8 = 8;
    /// Echo-Request, LCP only.
    pub const ECHO_REQUEST: u8 = 9;
    /// Echo-Reply, LCP only.
    pub const ECHO_REPLY: u8 = 10;
    /// Discard-Request, LCP only.
    pub const DISCARD_REQUEST: u8 = 11;
    /// Identification, LCP only (RFC 1570 §2.1).
    pub const IDENTIFICATION: u8 = 12;
    /// Time-Remaining, LCP only (RFC 1570 §2.2).
    pub const TIME_REMAINING: u8 = 13;
}

/// Octets of a control packet in front of its data.
pub const HEADER: usize = 4;

/// A control packet whose length field was checked; octets behind it (padding) are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    bytes: &'a [u8],
    code: u8,
    identifier: u8,
}

impl<'a> Packet<'a> {
    /// The packet in a PPP information field. `None` when it is shorter than its header or than its length field says,
    /// or when that says less than a header.
    pub fn parse(information: &'a [u8]) -> Option<Self> {
        let &[code, identifier, high, low] = information.first_chunk()?;
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length < HEADER {
            return None;
        }
        Some(Packet { bytes: information.get(..length)?, code, identifier })
    }

    /// Kind of packet, see [`code`].
    pub fn code(&self) -> u8 {
        self.code
    }

    /// Matches a reply to its request.
    pub fn identifier(&self) -> u8 {
        self.identifier
    }

    /// What follows the header.
    pub fn data(&self) -> &'a [u8] {
        self.bytes.get(HEADER..).unwrap_or_default()
    }

    /// The whole packet, header included.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The magic number and what follows it, in Echo, Discard, Identification and Time-Remaining packets.
    pub fn magic(&self) -> Option<(u32, &'a [u8])> {
        let (magic, rest) = self.data().split_first_chunk()?;
        Some((u32::from_be_bytes(*magic), rest))
    }

    /// The protocol and the information in a Protocol-Reject (RFC 1661 §5.7).
    pub fn rejected_protocol(&self) -> Option<(u16, &'a [u8])> {
        let (protocol, rest) = self.data().split_first_chunk()?;
        Some((u16::from_be_bytes(*protocol), rest))
    }
}

/// One configuration option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfigureOption<'a> {
    /// Its type; the meaning depends on the protocol.
    pub kind: u8,
    /// Its value.
    pub data: &'a [u8],
    /// All of it, type and length included.
    pub bytes: &'a [u8],
}

impl<'a> ConfigureOption<'a> {
    fn split(list: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let &[kind, length] = list.first_chunk()?;
        let (bytes, rest) = list.split_at_checked(usize::from(length))?;
        let data = bytes.get(2..)?;
        Some((ConfigureOption { kind, data, bytes }, rest))
    }

    /// The value as a 16-bit number, when it is exactly that long.
    pub fn u16(&self) -> Option<u16> {
        self.data.try_into().ok().map(u16::from_be_bytes)
    }

    /// The value as a 32-bit number, when it is exactly that long.
    pub fn u32(&self) -> Option<u32> {
        self.data.try_into().ok().map(u32::from_be_bytes)
    }

    /// The value as a 64-bit number, when it is exactly that long.
    pub fn u64(&self) -> Option<u64> {
        self.data.try_into().ok().map(u64::from_be_bytes)
    }
}

/// A list of options, each of which lies within it: an iterator that always ends.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    rest: &'a [u8],
}

impl<'a> Options<'a> {
    /// The options of a Configure packet. `None` when one has a length below 2 or beyond the end, in which case the
    /// whole packet is to be dropped (RFC 1661 §6).
    pub fn parse(data: &'a [u8]) -> Option<Self> {
        let mut rest = data;
        while !rest.is_empty() {
            rest = ConfigureOption::split(rest)?.1;
        }
        Some(Options { rest: data })
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = ConfigureOption<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let (option, rest) = ConfigureOption::split(self.rest)?;
        self.rest = rest;
        Some(option)
    }
}

/// Writes a control packet, PPP protocol field first.
#[derive(Debug)]
pub struct PacketBuilder {
    bytes: Vec<u8>,
    limit: usize,
    fits: bool,
}

/// Octets of the protocol field in front of a packet.
const PROTOCOL: usize = 2;

impl PacketBuilder {
    /// Begins a packet of at most `limit` octets, which do not include the protocol field: the receiver's MRU.
    pub fn new(protocol: u16, code: u8, identifier: u8, limit: u16) -> Self {
        let limit = PROTOCOL + usize::from(limit);
        let mut builder = PacketBuilder { bytes: Vec::new(), limit, fits: true };
        builder.put(&protocol.to_be_bytes());
        builder.put(&[code, identifier, 0, 0]);
        builder
    }

    /// Appends octets.
    pub fn put(&mut self, bytes: &[u8]) {
        if bytes.len() <= self.room() {
            self.bytes.extend_from_slice(bytes);
        } else {
            self.fits = false;
        }
    }

    /// Appends as many of `bytes` as fit.
    pub fn put_cut(&mut self, bytes: &[u8]) {
        let cut = bytes.get(..self.room()).unwrap_or(bytes);
        self.bytes.extend_from_slice(cut);
    }

    /// Appends zeros until the packet is as long as its limit.
    pub fn fill(&mut self) {
        self.bytes.resize(self.limit.max(self.bytes.len()), 0);
    }

    /// Appends a counted field: one octet of length, then the octets. Nothing fits that is longer than 255.
    pub fn put_counted(&mut self, bytes: &[u8]) {
        match u8::try_from(bytes.len()) {
            Ok(length) => {
                self.put(&[length]);
                self.put(bytes);
            }
            Err(_) => self.fits = false,
        }
    }

    /// Appends an option.
    pub fn option(&mut self, kind: u8, data: &[u8]) {
        match u8::try_from(data.len().saturating_add(2)) {
            Ok(length) => {
                self.put(&[kind, length]);
                self.put(data);
            }
            Err(_) => self.fits = false,
        }
    }

    /// The packet's data so far.
    pub fn data(&self) -> &[u8] {
        self.bytes.get(PROTOCOL + HEADER..).unwrap_or_default()
    }

    /// The packet with its length field written; `None` when it went over its limit.
    pub fn finish(mut self) -> Option<Vec<u8>> {
        let length = u16::try_from(self.bytes.len().checked_sub(PROTOCOL)?).ok()?;
        let written = octets::set_u16(&mut self.bytes, PROTOCOL + 2, length);
        (self.fits && written).then_some(self.bytes)
    }

    fn room(&self) -> usize {
        self.limit.saturating_sub(self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    /// Packets as real peers send them: each decoder is swept over all of them.
    const SEEDS: &[&[u8]] = &[
        &[1, 1, 0, 18, 1, 4, 5, 0xd4, 3, 5, 0xc2, 0x23, 5, 5, 6, 1, 2, 3],
        &[2, 7, 0, 8, 1, 4, 5, 0xd4],
        &[8, 9, 0, 8, 0x80, 0x57, 1, 2],
        &[9, 3, 0, 10, 1, 2, 3, 4, 5, 6],
    ];

    fn decode_all(bytes: &[u8]) {
        let Some(packet) = Packet::parse(bytes) else { return };
        assert!(packet.bytes().len() <= bytes.len() && packet.bytes().len() >= HEADER);
        let _ = (packet.magic(), packet.rejected_protocol());
        if let Some(options) = Options::parse(packet.data()) {
            let total: usize = options.map(|option| option.bytes.len()).sum();
            assert_eq!(total, packet.data().len(), "the options cover the data exactly");
        }
    }

    #[test]
    fn every_truncation_and_every_flipped_bit_is_harmless() {
        for seed in SEEDS {
            decode_all(seed);
            for cut in 0..seed.len() {
                assert_eq!(Packet::parse(&seed[..cut]), None, "cut at {cut}");
            }
            for bit in 0..seed.len() * 8 {
                let mut bytes = seed.to_vec();
                bytes[bit / 8] ^= 1 << (bit % 8);
                decode_all(&bytes);
            }
        }
    }

    #[test]
    fn padding_behind_the_length_is_cut() {
        let packet = Packet::parse(&[5, 2, 0, 6, b'h', b'i', 0, 0, 0]).unwrap();
        assert_eq!(packet.data(), b"hi");
        assert_eq!(Packet::parse(&[5, 2, 0, 3, 1, 1]), None, "a length below the header");
    }

    #[test]
    fn option_lengths_of_0_and_1_and_beyond_the_end_drop_the_whole_list() {
        for length in [0, 1, 5, 255] {
            assert!(Options::parse(&[1, 4, 5, 0xd4, 2, length, 0, 0]).is_none(), "length {length}");
        }
        assert!(Options::parse(&[1]).is_none());
        assert_eq!(Options::parse(&[]).unwrap().count(), 0);
        let kinds: Vec<u8> = Options::parse(&[7, 2, 8, 2, 1, 4, 5, 0xd4]).unwrap().map(|o| o.kind).collect();
        assert_eq!(kinds, vec![7, 8, 1]);
    }

    #[test]
    fn a_builder_fills_its_limit_exactly_and_never_passes_it() {
        let build = |limit| {
            let mut builder = PacketBuilder::new(protocol::LCP, code::CONFIGURE_REQUEST, 9, limit);
            builder.option(1, &[5, 0xd4]);
            builder.put_counted(b"abc");
            builder.finish()
        };
        let expected: &[u8] = &[0xc0, 0x21, 1, 9, 0, 12, 1, 4, 5, 0xd4, 3, b'a', b'b', b'c'];
        for limit in 0..12 {
            assert_eq!(build(limit), None, "limit {limit}");
        }
        assert_eq!(build(12).as_deref(), Some(expected));
        assert_eq!(build(13).as_deref(), Some(expected));
        for length in [254, 255, 256, 65_536] {
            let mut builder = PacketBuilder::new(protocol::PAP, 1, 0, u16::MAX);
            builder.put_counted(&vec![7; length]);
            assert_eq!(builder.finish().is_some(), length <= 255);
            let mut builder = PacketBuilder::new(protocol::LCP, 1, 0, u16::MAX);
            builder.option(1, &vec![7; length]);
            assert_eq!(builder.finish().is_some(), length <= 253);
        }
    }

    #[test]
    fn a_cut_body_ends_at_the_limit() {
        for limit in 4..12u16 {
            let mut builder = PacketBuilder::new(protocol::LCP, code::CODE_REJECT, 1, limit);
            builder.put_cut(&[1, 2, 3, 4, 5]);
            let bytes = builder.finish().unwrap();
            assert_eq!(bytes.len() - 2, usize::from(limit).min(9));
            let mut builder = PacketBuilder::new(protocol::LCP, code::ECHO_REQUEST, 1, limit);
            builder.fill();
            assert_eq!(builder.finish().unwrap().len() - 2, usize::from(limit));
        }
    }

    #[test]
    fn compressed_and_even_protocol_numbers_are_ill_formed() {
        assert!(protocol::well_formed(protocol::LCP) && protocol::well_formed(protocol::IPV4));
        assert!(!protocol::well_formed(0x2145), "a one-octet protocol field");
        assert!(!protocol::well_formed(0x8020));
    }
}
