//! PPPoE packets (RFC 2516 §4 and §5, RFC 4638): the six-octet header, discovery tags, and session data.
//!
//! Every view begins at the PPPoE header, that is, behind the Ethernet header. [`Discovery::parse`] walks the whole tag
//! list once, so a [`Discovery`] that exists has only tags that lie inside it; what follows its length field (Ethernet
//! padding) or an End-Of-List tag is never seen. [`SessionPacket::parse`] does the same for session data.
//! [`DiscoveryWriter`] and [`push_session`] are the way back.

use crate::frame::Frame;
use crate::id::Mac;
use crate::wire::ethernet::{self, ethertype};

/// Length of the PPPoE header in octets.
pub const HEADER_LEN: usize = 6;

/// Octets that PPPoE takes from the Ethernet payload in front of an IP packet: its header and the PPP protocol field.
pub const OVERHEAD: u16 = 8;

/// Largest PPP payload in a standard Ethernet frame: 1500 − 8 (RFC 2516 §7). More must be agreed by RFC 4638.
pub const STANDARD_MRU: u16 = 1492;

/// Most octets of a PADI, PPPoE header included: a relay must have room to add its tag (RFC 2516 §5.1).
pub const PADI_MAX: usize = 1484;

/// Most octets of any other discovery packet: one Ethernet payload.
pub const DISCOVERY_MAX: usize = 1500;

const VERSION_TYPE: u8 = 0x11;

/// The kinds of discovery packets (RFC 2516 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// Active Discovery Initiation: a host looks for concentrators.
    Padi,
    /// Active Discovery Offer: a concentrator answers.
    Pado,
    /// Active Discovery Request: the host chooses one.
    Padr,
    /// Active Discovery Session-confirmation: the session's id, or a refusal.
    Pads,
    /// Active Discovery Terminate: either side ends a session.
    Padt,
}

impl Code {
    /// The value of the code field.
    pub const fn value(self) -> u8 {
        match self {
            Code::Padi => 0x09,
            Code::Pado => 0x07,
            Code::Padr => 0x19,
            Code::Pads => 0x65,
            Code::Padt => 0xa7,
        }
    }

    /// The code with this value; `None` for session data (0) and unknown codes.
    pub const fn from_value(value: u8) -> Option<Code> {
        Some(match value {
            0x09 => Code::Padi,
            0x07 => Code::Pado,
            0x19 => Code::Padr,
            0x65 => Code::Pads,
            0xa7 => Code::Padt,
            _ => return None,
        })
    }
}

/// Types of discovery tags (RFC 2516 appendix A, RFC 4638 §3).
pub mod tag {
    /// The list ends here.
    pub const END_OF_LIST: u16 = 0x0000;
    /// Service-Name: what the host asks for and the concentrator serves; empty is any.
    pub const SERVICE_NAME: u16 = 0x0101;
    /// AC-Name: the concentrator's name.
    pub const AC_NAME: u16 = 0x0102;
    /// Host-Uniq: the host's own mark, echoed.
    pub const HOST_UNIQ: u16 = 0x0103;
    /// AC-Cookie: the concentrator's own mark, echoed.
    pub const AC_COOKIE: u16 = 0x0104;
    /// Vendor-Specific.
    pub const VENDOR_SPECIFIC: u16 = 0x0105;
    /// Relay-Session-Id: a relay's mark, echoed.
    pub const RELAY_SESSION_ID: u16 = 0x0110;
    /// PPP-Max-Payload (RFC 4638).
    pub const PPP_MAX_PAYLOAD: u16 = 0x0120;
    /// Service-Name-Error: the service cannot be had.
    pub const SERVICE_NAME_ERROR: u16 = 0x0201;
    /// AC-System-Error: the concentrator cannot serve.
    pub const AC_SYSTEM_ERROR: u16 = 0x0202;
    /// Generic-Error: anything else that cannot be recovered from.
    pub const GENERIC_ERROR: u16 = 0x0203;
}

/// The header and the octets that its length field spans. `None` when cut short, of another version or type, or with a
/// length beyond `payload`.
fn split(payload: &[u8]) -> Option<(u8, u16, &[u8])> {
    let (&[version_type, code, s0, s1, l0, l1], rest) = payload.split_first_chunk::<HEADER_LEN>()?;
    if version_type != VERSION_TYPE {
        return None;
    }
    let body = rest.get(..usize::from(u16::from_be_bytes([l0, l1])))?;
    Some((code, u16::from_be_bytes([s0, s1]), body))
}

/// The session id in the header at the front of `payload`, however broken the rest is.
pub fn session_id(payload: &[u8]) -> Option<u16> {
    let &[_, _, s0, s1, ..] = payload.first_chunk::<HEADER_LEN>()?;
    Some(u16::from_be_bytes([s0, s1]))
}

/// A view of a discovery packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Discovery<'a> {
    /// Which packet it is.
    pub code: Code,
    /// The session's id: 0 unless it is a PADS that grants one, or a PADT.
    pub session: u16,
    tags: &'a [u8],
}

impl<'a> Discovery<'a> {
    /// The discovery packet in an Ethernet payload. `None` when it is malformed: cut short, of another version, type
    /// or code, longer than the frame, or with a tag that reaches beyond it.
    pub fn parse(payload: &'a [u8]) -> Option<Self> {
        let (code, session, body) = split(payload)?;
        let code = Code::from_value(code)?;
        let mut tags = Tags { rest: body };
        while tags.step()?.is_some() {}
        let used = body.len().checked_sub(tags.rest.len())?;
        Some(Discovery { code, session, tags: body.get(..used)? })
    }

    /// The tags in the order of the packet, up to End-Of-List.
    pub fn tags(&self) -> Tags<'a> {
        Tags { rest: self.tags }
    }

    /// The value of the first tag of type `kind`.
    pub fn find(&self, kind: u16) -> Option<&'a [u8]> {
        self.all(kind).next()
    }

    /// The values of all tags of type `kind`.
    pub fn all(&self, kind: u16) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.tags().filter(move |tag| tag.kind == kind).map(|tag| tag.value)
    }

    /// The value of the Service-Name tag when there is exactly one, as PADI and PADR must have it (RFC 2516 §5.1, §5.3).
    pub fn only_service_name(&self) -> Option<&'a [u8]> {
        let mut names = self.all(tag::SERVICE_NAME);
        let name = names.next()?;
        names.next().is_none().then_some(name)
    }

    /// The value of the PPP-Max-Payload tag in octets. A tag that is not two octets long, or that asks for no more
    /// than [`STANDARD_MRU`], counts as none (RFC 4638 §5).
    pub fn max_payload(&self) -> Option<u16> {
        let value = u16::from_be_bytes(self.find(tag::PPP_MAX_PAYLOAD)?.try_into().ok()?);
        (value > STANDARD_MRU).then_some(value)
    }
}

/// A tag of a discovery packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag<'a> {
    /// Its type: see [`tag`].
    pub kind: u16,
    /// Its value.
    pub value: &'a [u8],
}

/// Iterates over the tags of a discovery packet.
#[derive(Debug, Clone)]
pub struct Tags<'a> {
    rest: &'a [u8],
}

impl<'a> Tags<'a> {
    /// The next tag; `Some(None)` at the end of the list, `None` when the next tag reaches beyond it.
    fn step(&mut self) -> Option<Option<Tag<'a>>> {
        if self.rest.is_empty() {
            return Some(None);
        }
        let (&[k0, k1, l0, l1], after) = self.rest.split_first_chunk::<4>()?;
        let kind = u16::from_be_bytes([k0, k1]);
        if kind == tag::END_OF_LIST {
            return Some(None);
        }
        let (value, rest) = after.split_at_checked(usize::from(u16::from_be_bytes([l0, l1])))?;
        self.rest = rest;
        Some(Some(Tag { kind, value }))
    }
}

impl<'a> Iterator for Tags<'a> {
    type Item = Tag<'a>;

    fn next(&mut self) -> Option<Tag<'a>> {
        self.step().flatten()
    }
}

/// A view of session data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionPacket<'a> {
    /// The session's id.
    pub session: u16,
    /// The PPP packet from its protocol field on, without Ethernet padding.
    pub packet: &'a [u8],
}

impl<'a> SessionPacket<'a> {
    /// The session data in an Ethernet payload. `None` when it is malformed: cut short, of another version, type or
    /// code, or longer than the frame.
    pub fn parse(payload: &'a [u8]) -> Option<Self> {
        let (code, session, packet) = split(payload)?;
        (code == 0).then_some(SessionPacket { session, packet })
    }
}

/// Puts the PPPoE and Ethernet headers in front of `frame`, which holds a PPP packet from its protocol field on. False,
/// and no change, when the packet is longer than a length field can say or the headroom is too small.
pub fn push_session(frame: &mut Frame, source: Mac, destination: Mac, session: u16) -> bool {
    let Ok(length) = u16::try_from(frame.len()) else { return false };
    if frame.headroom() < HEADER_LEN.saturating_add(ethernet::Header::LEN) {
        return false;
    }
    let Some(room) = frame.push(HEADER_LEN) else { return false };
    room.copy_from_slice(&header(0, session, length));
    ethernet::Header { destination, source, ethertype: ethertype::PPPOE_SESSION }.push(frame)
}

fn header(code: u8, session: u16, length: u16) -> [u8; HEADER_LEN] {
    let ([s0, s1], [l0, l1]) = (session.to_be_bytes(), length.to_be_bytes());
    [VERSION_TYPE, code, s0, s1, l0, l1]
}

/// Writes a discovery packet, Ethernet header included, into an empty frame: begin, tags, finish.
///
/// A tag that does not fit spoils the packet: [`DiscoveryWriter::finish`] then says false and leaves the frame empty.
#[derive(Debug)]
pub struct DiscoveryWriter<'f> {
    frame: &'f mut Frame,
    code: Code,
    session: u16,
    limit: usize,
    whole: bool,
}

impl<'f> DiscoveryWriter<'f> {
    /// Begins a packet in `frame`, which must be empty.
    pub fn begin(frame: &'f mut Frame, source: Mac, destination: Mac, code: Code, session: u16) -> Self {
        let ethernet = ethernet::Header { destination, source, ethertype: ethertype::PPPOE_DISCOVERY };
        let whole =
            frame.is_empty() && ethernet.append(frame) && frame.extend(&header(code.value(), session, 0));
        let payload = if code == Code::Padi { PADI_MAX } else { DISCOVERY_MAX };
        let limit = payload.saturating_add(ethernet::Header::LEN);
        DiscoveryWriter { frame, code, session, limit, whole }
    }

    /// Octets that a further tag's value may have.
    pub fn room(&self) -> usize {
        let left = self.limit.saturating_sub(self.frame.len()).min(self.frame.tailroom());
        if self.whole { left.saturating_sub(4) } else { 0 }
    }

    /// Adds a tag.
    pub fn tag(mut self, kind: u16, value: &[u8]) -> Self {
        let fits = self.frame.len().saturating_add(4).saturating_add(value.len()) <= self.limit;
        self.whole = self.whole
            && fits
            && u16::try_from(value.len()).is_ok_and(|length| {
                self.frame.extend(&kind.to_be_bytes()) && self.frame.extend(&length.to_be_bytes())
            })
            && self.frame.extend(value);
        self
    }

    /// Adds a tag when there is a value for it.
    pub fn tag_if(self, kind: u16, value: Option<&[u8]>) -> Self {
        match value {
            Some(value) => self.tag(kind, value),
            None => self,
        }
    }

    /// Adds a PPP-Max-Payload tag when there is a value for it, in octets.
    pub fn max_payload(self, value: Option<u16>) -> Self {
        match value {
            Some(value) => self.tag(tag::PPP_MAX_PAYLOAD, &value.to_be_bytes()),
            None => self,
        }
    }

    /// Completes the header. False when something did not fit; the frame is then empty.
    pub fn finish(self) -> bool {
        let start = ethernet::Header::LEN;
        let length = self.frame.len().checked_sub(start.saturating_add(HEADER_LEN));
        let length = length.and_then(|length| u16::try_from(length).ok()).filter(|_| self.whole);
        let room = self.frame.bytes_mut().get_mut(start..start.saturating_add(HEADER_LEN));
        match (length, room) {
            (Some(length), Some(room)) => {
                room.copy_from_slice(&header(self.code.value(), self.session, length));
                true
            }
            _ => {
                self.frame.truncate(0);
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::HEADROOM;
    use alloc::vec;
    use alloc::vec::Vec;

    const HOST: Mac = Mac([2, 0, 0, 0, 0, 1]);

    fn padi(tags: &[(u16, &[u8])]) -> Vec<u8> {
        let mut frame = Frame::with_capacity(2048);
        let mut writer = DiscoveryWriter::begin(&mut frame, HOST, Mac::BROADCAST, Code::Padi, 0);
        for &(kind, value) in tags {
            writer = writer.tag(kind, value);
        }
        assert!(writer.finish());
        frame.bytes()[14..].to_vec()
    }

    const TAGS: &[(u16, &[u8])] = &[
        (tag::SERVICE_NAME, b""),
        (0x7777, b"unknown"),
        (tag::HOST_UNIQ, &[1, 2, 3]),
        (tag::PPP_MAX_PAYLOAD, &[0x05, 0xdc]),
    ];

    /// RFC 2516 UNKNOWN-TAGS.
    #[test]
    fn rfc2516_tags_come_back_in_order_and_unknown_ones_stop_nothing() {
        let bytes = padi(TAGS);
        let packet = Discovery::parse(&bytes).unwrap();
        assert_eq!((packet.code, packet.session), (Code::Padi, 0));
        let tags: Vec<_> = packet.tags().map(|tag| (tag.kind, tag.value)).collect();
        assert_eq!(tags, TAGS);
        assert_eq!(packet.find(tag::HOST_UNIQ), Some(&[1, 2, 3][..]));
        assert_eq!(packet.only_service_name(), Some(&[][..]));
        assert_eq!(packet.max_payload(), Some(1500));
    }

    #[test]
    fn rfc2516_service_name_must_be_there_exactly_once() {
        let bytes = padi(&[(tag::HOST_UNIQ, b"x")]);
        assert_eq!(Discovery::parse(&bytes).unwrap().only_service_name(), None);
        let bytes = padi(&[(tag::SERVICE_NAME, b""), (tag::SERVICE_NAME, b"")]);
        assert_eq!(Discovery::parse(&bytes).unwrap().only_service_name(), None);
    }

    /// RFC 2516 UNKNOWN-TAGS.
    #[test]
    fn rfc2516_end_of_list_ends_and_padding_is_ignored() {
        let mut bytes =
            padi(&[(tag::SERVICE_NAME, b"a"), (tag::END_OF_LIST, b""), (tag::AC_NAME, b"hidden")]);
        bytes.extend([0xff; 40]);
        let packet = Discovery::parse(&bytes).unwrap();
        assert_eq!(packet.tags().count(), 1);
        assert_eq!(packet.find(tag::AC_NAME), None);

        // What stands behind End-Of-List cannot spoil the packet either.
        let mut bytes = padi(&[(tag::SERVICE_NAME, b"a"), (tag::END_OF_LIST, b"")]);
        bytes.extend([0x01, 0x02, 0xff]);
        bytes[5] += 3;
        assert!(Discovery::parse(&bytes).is_some());
    }

    /// RFC 4638 TAG.
    #[test]
    fn rfc4638_a_tag_of_another_length_or_without_gain_counts_as_none() {
        for value in [&[][..], &[5], &[5, 0xdc, 0], &[0x05, 0xd4], &[0, 0]] {
            let bytes = padi(&[(tag::PPP_MAX_PAYLOAD, value)]);
            assert_eq!(Discovery::parse(&bytes).unwrap().max_payload(), None);
        }
    }

    #[test]
    fn rfc2516_every_truncation_is_refused() {
        let bytes = padi(TAGS);
        for len in 0..bytes.len() {
            assert_eq!(Discovery::parse(&bytes[..len]), None, "cut at {len}");
        }
        // The same with a length field that agrees with the cut: refused unless the cut falls between two tags.
        let mut ends = vec![HEADER_LEN];
        for (_, value) in TAGS {
            ends.push(ends.last().unwrap() + 4 + value.len());
        }
        for len in HEADER_LEN..=bytes.len() {
            let mut cut = bytes[..len].to_vec();
            cut[4..6].copy_from_slice(&u16::try_from(len - HEADER_LEN).unwrap().to_be_bytes());
            assert_eq!(Discovery::parse(&cut).is_some(), ends.contains(&len), "cut at {len}");
        }
    }

    #[test]
    fn rfc2516_bit_flips_never_show_a_tag_outside_the_packet() {
        let bytes = padi(TAGS);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Some(packet) = Discovery::parse(&flipped) {
                let total: usize = packet.tags().map(|tag| tag.value.len() + 4).sum();
                assert!(total <= bytes.len() - HEADER_LEN);
            }
            if bit < 16 {
                let known = bit / 8 == 1 && Code::from_value(flipped[1]).is_some();
                assert_eq!(Discovery::parse(&flipped).is_some(), known, "version, type and code are checked");
            }
            let _ = SessionPacket::parse(&flipped);
            let _ = session_id(&flipped);
        }
    }

    #[test]
    fn session_data_is_cut_to_its_length_and_refused_when_it_is_not_all_there() {
        let mut frame = Frame::from_bytes(&[0xc0, 0x21, 9, 1, 0, 4]);
        assert!(push_session(&mut frame, HOST, Mac([2, 0, 0, 0, 0, 2]), 0x1234));
        assert!(frame.extend(&[0; 26]), "padding");
        let (ethernet, payload) = ethernet::Header::parse(frame.bytes()).unwrap();
        assert_eq!(ethernet.ethertype, ethertype::PPPOE_SESSION);
        let packet = SessionPacket::parse(payload).unwrap();
        assert_eq!(packet, SessionPacket { session: 0x1234, packet: &[0xc0, 0x21, 9, 1, 0, 4] });
        assert_eq!(session_id(payload), Some(0x1234));
        for len in 0..HEADER_LEN + 6 {
            assert_eq!(SessionPacket::parse(&payload[..len]), None);
        }
        for bit in 0..16 {
            let mut flipped = payload.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SessionPacket::parse(&flipped), None, "version, type and code are checked");
        }
    }

    #[test]
    fn session_headers_need_headroom_and_a_length_that_can_be_said() {
        let mut frame = Frame::from_bytes(b"x");
        assert!(frame.push(HEADROOM - 19).is_some());
        let before = frame.len();
        assert!(!push_session(&mut frame, HOST, HOST, 1));
        assert_eq!(frame.len(), before);
        let mut frame = Frame::from_bytes(&vec![0; 65_536]);
        assert!(!push_session(&mut frame, HOST, HOST, 1));
        assert_eq!(frame.len(), 65_536);
    }

    #[test]
    fn a_discovery_packet_fits_its_buffer_whole_or_is_not_written() {
        let whole = 14 + padi(TAGS).len();
        for room in 0..=whole + 1 {
            let mut frame = Frame::with_capacity(HEADROOM + room);
            let mut writer = DiscoveryWriter::begin(&mut frame, HOST, Mac::BROADCAST, Code::Padi, 0);
            for &(kind, value) in TAGS {
                writer = writer.tag(kind, value);
            }
            assert_eq!(writer.finish(), room >= whole, "room {room}");
            assert_eq!(frame.len(), if room >= whole { whole } else { 0 });
        }
    }

    #[test]
    fn rfc2516_a_padi_has_at_most_1484_octets_and_other_packets_1500() {
        for (code, limit) in [(Code::Padi, PADI_MAX), (Code::Padr, DISCOVERY_MAX)] {
            for extra in 0..2 {
                let value = vec![7; limit - HEADER_LEN - 4 + extra];
                let mut frame = Frame::with_capacity(4096);
                let writer = DiscoveryWriter::begin(&mut frame, HOST, HOST, code, 0);
                assert_eq!(writer.room(), limit - HEADER_LEN - 4);
                assert_eq!(writer.tag(tag::HOST_UNIQ, &value).finish(), extra == 0);
            }
        }
    }
}
