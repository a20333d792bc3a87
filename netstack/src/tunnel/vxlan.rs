//! The VXLAN header (RFC 7348 §5): it says which network the Ethernet frame behind it is of.
//!
//! A flag says that there is a network identifier. Everything else is reserved: written as zeros, and not looked at.

use crate::ledger::DropReason;

/// The UDP port that VXLAN is sent to.
pub const PORT: u16 = 4789;

/// "The VNI is valid" in the octet of flags.
const VNI_IS_VALID: u8 = 0x08;

/// A VXLAN header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The network identifier, 24 bits.
    pub vni: u32,
}

impl Header {
    /// Octets of the header.
    pub const LEN: usize = 8;

    /// The header at the front of a datagram's payload, and the Ethernet frame behind it.
    ///
    /// # Errors
    /// [`DropReason::VxlanMalformed`] when the header is cut short or has no valid identifier.
    pub fn parse(payload: &[u8]) -> Result<(Header, &[u8]), DropReason> {
        let (&[flags, _, _, _, a, b, c, _], frame) =
            payload.split_first_chunk::<{ Header::LEN }>().ok_or(DropReason::VxlanMalformed)?;
        if flags & VNI_IS_VALID == 0 {
            return Err(DropReason::VxlanMalformed);
        }
        Ok((Header { vni: u32::from_be_bytes([0, a, b, c]) }, frame))
    }

    /// The header as it stands on the wire.
    pub const fn to_bytes(self) -> [u8; Header::LEN] {
        let [_, a, b, c] = self.vni.to_be_bytes();
        [VNI_IS_VALID, 0, 0, 0, a, b, c, 0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header { vni: 0x12_34_56 };

    #[test]
    fn rfc7348_5_a_header_comes_back_as_it_was_written() {
        let bytes = [&HEADER.to_bytes()[..], b"frame"].concat();
        assert_eq!(bytes[..8], [0x08, 0, 0, 0, 0x12, 0x34, 0x56, 0]);
        assert_eq!(Header::parse(&bytes), Ok((HEADER, &b"frame"[..])));
        assert_eq!(Header { vni: 0xff12_3456 }.to_bytes(), HEADER.to_bytes(), "24 bits");
    }

    #[test]
    fn every_header_that_is_cut_short_is_dropped_by_name() {
        let bytes = HEADER.to_bytes();
        for len in 0..bytes.len() {
            assert_eq!(Header::parse(&bytes[..len]), Err(DropReason::VxlanMalformed), "{len} octets");
        }
        assert_eq!(Header::parse(&bytes), Ok((HEADER, &[][..])));
    }

    #[test]
    fn rfc7348_5_reserved_bits_are_not_looked_at_and_the_others_count() {
        for bit in 0..64 {
            let mut bytes = HEADER.to_bytes();
            bytes[bit / 8] ^= 0x80 >> (bit % 8);
            let expected = match bit {
                4 => Err(DropReason::VxlanMalformed),
                32..56 => Ok((Header { vni: HEADER.vni ^ (1 << (55 - bit)) }, &[][..])),
                _ => Ok((HEADER, &[][..])),
            };
            assert_eq!(Header::parse(&bytes), expected, "bit {bit}");
        }
    }
}
