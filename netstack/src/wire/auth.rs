//! Packets of PAP (RFC 1334 §2.2), CHAP (RFC 1994 §4) and MS-CHAPv2 (RFC 2759) inside a PPP control packet.
//!
//! Names and messages are slices of the packet: whatever a length field says, nothing is copied beyond it.

use super::ppp::PacketBuilder;

/// Codes of PAP packets.
pub mod pap_code {
    /// Authenticate-Request.
    pub const REQUEST: u8 = 1;
    /// Authenticate-Ack.
    pub const ACK: u8 = 2;
    /// Authenticate-Nak.
    pub const NAK: u8 = 3;
}

/// Codes of CHAP packets.
pub mod chap_code {
    /// Challenge.
    pub const CHALLENGE: u8 = 1;
    /// Response.
    pub const RESPONSE: u8 = 2;
    /// Success.
    pub const SUCCESS: u8 = 3;
    /// Failure.
    pub const FAILURE: u8 = 4;
}

/// Algorithm octets behind 0xc223 in LCP's Authentication-Protocol option.
pub mod chap_algorithm {
    /// CHAP with MD5 (RFC 1994 §3).
    pub const MD5: u8 = 5;
    /// MS-CHAPv2 (RFC 2759 §3).
    pub const MS_CHAP_V2: u8 = 0x81;
}

/// A PAP Authenticate-Request's data.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PapRequest<'a> {
    /// Name of the peer.
    pub peer_id: &'a [u8],
    /// Its password in the clear; this type has no `Debug` for that reason.
    pub password: &'a [u8],
}

impl<'a> PapRequest<'a> {
    /// The request in a packet's data; `None` when a length passes its end.
    pub fn parse(data: &'a [u8]) -> Option<Self> {
        let (peer_id, rest) = counted(data)?;
        let (password, _) = counted(rest)?;
        Some(PapRequest { peer_id, password })
    }

    /// Appends the request's data.
    pub fn emit(&self, out: &mut PacketBuilder) {
        out.put_counted(self.peer_id);
        out.put_counted(self.password);
    }
}

/// The message in the data of a PAP Ack or Nak. Some servers leave its length octet out when it is empty.
pub fn pap_message(data: &[u8]) -> Option<&[u8]> {
    if data.is_empty() { Some(data) } else { counted(data).map(|(message, _)| message) }
}

/// A CHAP Challenge's or Response's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChapValue<'a> {
    /// The challenge, or the response to it.
    pub value: &'a [u8],
    /// Name of the sender: all the rest of the packet.
    pub name: &'a [u8],
}

impl<'a> ChapValue<'a> {
    /// The value and the name in a packet's data; `None` when the value is empty or passes its end.
    pub fn parse(data: &'a [u8]) -> Option<Self> {
        let (value, name) = counted(data)?;
        (!value.is_empty()).then_some(ChapValue { value, name })
    }

    /// Appends the data.
    pub fn emit(&self, out: &mut PacketBuilder) {
        out.put_counted(self.value);
        out.put(self.name);
    }
}

/// The value of an MS-CHAPv2 Response (RFC 2759 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MsChapV2Response {
    /// The client's own challenge.
    pub peer_challenge: [u8; 16],
    /// Its answer.
    pub nt_response: [u8; 24],
}

impl MsChapV2Response {
    /// Octets of the value.
    pub const LENGTH: usize = 49;

    /// The response in a CHAP value; `None` unless it is exactly 49 octets long. Its reserved octets and flags may be
    /// anything.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (peer_challenge, rest) = value.split_first_chunk::<16>()?;
        let (_reserved, rest) = rest.split_first_chunk::<8>()?;
        let (nt_response, flags) = rest.split_first_chunk::<24>()?;
        (flags.len() == 1)
            .then_some(MsChapV2Response { peer_challenge: *peer_challenge, nt_response: *nt_response })
    }

    /// The value's octets.
    pub fn to_value(&self) -> [u8; Self::LENGTH] {
        let mut value = [0; Self::LENGTH];
        let source = self.peer_challenge.iter().chain(&[0; 8]).chain(&self.nt_response);
        for (to, from) in value.iter_mut().zip(source) {
            *to = *from;
        }
        value
    }
}

/// A field behind one octet of length, and what follows it.
fn counted(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = data.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;
    use crate::wire::ppp::{Packet, protocol};

    fn decode_all(data: &[u8]) {
        if let Some(request) = PapRequest::parse(data) {
            assert!(request.peer_id.len() + request.password.len() + 2 <= data.len());
        }
        if let Some(chap) = ChapValue::parse(data) {
            assert_eq!(chap.value.len() + chap.name.len() + 1, data.len());
            let _ = MsChapV2Response::parse(chap.value);
        }
        let _ = pap_message(data);
    }

    fn seeds() -> Vec<Vec<u8>> {
        let mut chap = vec![49];
        chap.extend([7; 49]);
        chap.extend(b"user@isp.example");
        vec![
            b"\x04user\x06secret".to_vec(),
            b"\x10123456789abcdef0bras1".to_vec(),
            chap,
            b"\x05hello".to_vec(),
        ]
    }

    #[test]
    fn every_truncation_and_every_flipped_bit_is_harmless() {
        for seed in seeds() {
            for cut in 0..=seed.len() {
                decode_all(&seed[..cut]);
            }
            for bit in 0..seed.len() * 8 {
                let mut bytes = seed.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                decode_all(&bytes);
            }
        }
    }

    /// A name of any length, up to all that a packet can hold, is a slice of the packet (CVE-2020-8597).
    #[test]
    fn names_of_every_length_are_harmless() {
        let mut data = vec![0u8; 65_531];
        for length in (0..600).chain([1499, 1500, 4096, 65_530]) {
            data[0] = 16;
            let parsed = ChapValue::parse(&data[..length + 1]);
            assert_eq!(parsed.is_some(), length >= 16, "{length}");
            assert!(parsed.is_none_or(|chap| chap.name.len() == length - 16));
            data[0] = u8::try_from(length).unwrap_or(255);
            decode_all(&data[..length + 1]);
        }
    }

    #[test]
    fn encoders_stop_at_every_limit() {
        let emit = |limit: u16| {
            let mut out = PacketBuilder::new(protocol::PAP, pap_code::REQUEST, 1, limit);
            PapRequest { peer_id: b"user", password: b"secret" }.emit(&mut out);
            out.finish()
        };
        let whole = 4 + 1 + 4 + 1 + 6;
        for limit in 0..whole {
            assert_eq!(emit(limit), None);
        }
        for limit in [whole, whole + 1] {
            let bytes = emit(limit).unwrap();
            let request = PapRequest::parse(Packet::parse(&bytes[2..]).unwrap().data()).unwrap();
            assert_eq!((request.peer_id, request.password), (&b"user"[..], &b"secret"[..]));
        }
        for (name, limit, fits) in [(10, 4 + 17 + 9, false), (10, 4 + 17 + 10, true), (10, 4 + 17 + 11, true)]
        {
            let mut out = PacketBuilder::new(protocol::CHAP, chap_code::CHALLENGE, 1, limit);
            ChapValue { value: &[1; 16], name: &vec![2; name] }.emit(&mut out);
            assert_eq!(out.finish().is_some(), fits);
        }
    }

    #[test]
    fn an_ms_chap_v2_response_is_49_octets() {
        let response = MsChapV2Response { peer_challenge: [1; 16], nt_response: [2; 24] };
        let value = response.to_value();
        assert_eq!(MsChapV2Response::parse(&value), Some(response));
        assert_eq!(value[16..24], [0; 8]);
        for length in (0..49).chain([50, 255]) {
            assert_eq!(MsChapV2Response::parse(&vec![0; length]), None);
        }
    }

    #[test]
    fn a_pap_reply_without_a_message_is_read() {
        assert_eq!(pap_message(&[]), Some(&[][..]));
        assert_eq!(pap_message(&[0]), Some(&[][..]));
        assert_eq!(pap_message(b"\x02no"), Some(&b"no"[..]));
        assert_eq!(pap_message(&[3, 1]), None);
    }
}
