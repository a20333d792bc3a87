//! The Ethernet II header (IEEE 802.3 §3.1, type interpretation).
//!
//! [`Header::parse`] splits a frame into its header and payload. [`Header::append`] writes the header into an empty
//! frame; [`Header::push`] puts it in front of a payload that is already there.

use crate::frame::Frame;
use crate::id::Mac;

/// Values of the type field.
pub mod ethertype {
    /// IPv4.
    pub const IPV4: u16 = 0x0800;
    /// ARP.
    pub const ARP: u16 = 0x0806;
    /// An 802.1Q tag follows.
    pub const VLAN: u16 = 0x8100;
    /// An 802.1ad service tag follows.
    pub const SERVICE_VLAN: u16 = 0x88a8;
    /// IPv6.
    pub const IPV6: u16 = 0x86dd;
    /// PPPoE discovery (RFC 2516 §4).
    pub const PPPOE_DISCOVERY: u16 = 0x8863;
    /// PPPoE session (RFC 2516 §4).
    pub const PPPOE_SESSION: u16 = 0x8864;
}

/// An Ethernet II header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Station or group that the frame is for.
    pub destination: Mac,
    /// Station that sent it.
    pub source: Mac,
    /// What the payload is: see [`ethertype`].
    pub ethertype: u16,
}

impl Header {
    /// Length of the header in octets.
    pub const LEN: usize = 14;

    /// The header at the front of `frame`, and what follows it (padding included). `None` when the frame is shorter.
    pub fn parse(frame: &[u8]) -> Option<(Header, &[u8])> {
        let (&[d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1], payload) =
            frame.split_first_chunk::<{ Header::LEN }>()?;
        let header = Header {
            destination: Mac([d0, d1, d2, d3, d4, d5]),
            source: Mac([s0, s1, s2, s3, s4, s5]),
            ethertype: u16::from_be_bytes([t0, t1]),
        };
        Some((header, payload))
    }

    /// The header as it stands on the wire.
    #[inline]
    pub fn to_bytes(self) -> [u8; Header::LEN] {
        let mut bytes = [0; Header::LEN];
        let (addresses, ethertype) = bytes.split_at_mut(12);
        let (destination, source) = addresses.split_at_mut(6);
        destination.copy_from_slice(&self.destination.0);
        source.copy_from_slice(&self.source.0);
        ethertype.copy_from_slice(&self.ethertype.to_be_bytes());
        bytes
    }

    /// Writes the header at the end of what `frame` holds. False, and no change, when there is no room.
    pub fn append(self, frame: &mut Frame) -> bool {
        frame.extend(&self.to_bytes())
    }

    /// Puts the header in front of what `frame` holds. False, and no change, when the headroom is too small.
    pub fn push(self, frame: &mut Frame) -> bool {
        match frame.push(Header::LEN) {
            Some(room) => {
                room.copy_from_slice(&self.to_bytes());
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::HEADROOM;

    const HEADER: Header = Header {
        destination: Mac([1, 2, 3, 4, 5, 6]),
        source: Mac([7, 8, 9, 10, 11, 12]),
        ethertype: 0x8863,
    };

    #[test]
    fn a_header_comes_back_as_it_was_written() {
        let mut frame = Frame::with_capacity(256);
        assert!(HEADER.append(&mut frame));
        assert!(frame.extend(b"rest"));
        assert_eq!(Header::parse(frame.bytes()), Some((HEADER, &b"rest"[..])));

        let mut frame = Frame::from_bytes(b"rest");
        assert!(HEADER.push(&mut frame));
        assert_eq!(Header::parse(frame.bytes()), Some((HEADER, &b"rest"[..])));
    }

    #[test]
    fn every_frame_shorter_than_a_header_is_none() {
        let bytes = HEADER.to_bytes();
        for len in 0..bytes.len() {
            assert_eq!(Header::parse(&bytes[..len]), None);
        }
        assert_eq!(Header::parse(&bytes), Some((HEADER, &[][..])));
    }

    #[test]
    fn a_buffer_too_small_stays_as_it_was() {
        for room in 0..Header::LEN {
            let mut frame = Frame::with_capacity(HEADROOM + room);
            assert!(!HEADER.append(&mut frame));
            assert!(frame.is_empty());
        }
        let mut frame = Frame::from_bytes(&[]);
        assert!(frame.push(HEADROOM - Header::LEN + 1).is_some());
        let before = frame.len();
        assert!(!HEADER.push(&mut frame));
        assert_eq!(frame.len(), before);
    }
}
