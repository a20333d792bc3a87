//! The virtio-net header in front of a frame (virtio 1.2, section 5.1.6), and the frame's [`Offload`] that it stands
//! for.
//!
//! Fields are in the machine's byte order, as packet sockets and tap devices have them: flags, GSO type, length of all
//! headers, segment size, where to begin the checksum, where to store it.

use genkan_netstack::frame::{Checksum, Frame, Gso, GsoKind, Offload};

use crate::sys::packet::VNET_HEADER;

const NEEDS_CHECKSUM: u8 = 1;
const CHECKSUM_VALID: u8 = 2;

const GSO_NONE: u8 = 0;
const GSO_TCP4: u8 = 1;
const GSO_TCP6: u8 = 4;
const GSO_UDP: u8 = 5;
const GSO_ECN: u8 = 0x80;

/// What a received header says of a frame of `len` octets. `None` when it asks for something outside the frame, or for
/// a way of cutting that is not known here.
pub fn decode(header: &[u8; VNET_HEADER], len: usize) -> Option<Offload> {
    let [flags, kind, _, _, size @ .., s0, s1, o0, o1] = *header;
    let (size, start, offset) =
        (u16::from_ne_bytes(size), u16::from_ne_bytes([s0, s1]), u16::from_ne_bytes([o0, o1]));
    let checksum = if flags & NEEDS_CHECKSUM != 0 {
        let end = usize::from(start).checked_add(usize::from(offset))?.checked_add(2)?;
        if end > len {
            return None;
        }
        Checksum::Partial { start, offset }
    } else if flags & CHECKSUM_VALID != 0 {
        Checksum::Verified
    } else {
        Checksum::Complete
    };
    let kind = match kind & !GSO_ECN {
        GSO_NONE => return Some(Offload { checksum, gso: None }),
        GSO_TCP4 => GsoKind::TcpV4,
        GSO_TCP6 => GsoKind::TcpV6,
        GSO_UDP => GsoKind::Udp,
        _ => return None,
    };
    let ecn = header[1] & GSO_ECN != 0;
    (size > 0).then_some(Offload { checksum, gso: Some(Gso { kind, size, ecn }) })
}

/// The header to send a frame with.
pub fn encode(frame: &Frame) -> [u8; VNET_HEADER] {
    let mut header = [0; VNET_HEADER];
    let [flags, kind, h0, h1, z0, z1, s0, s1, o0, o1] = &mut header;
    let mut headers = 0u16;
    if let Checksum::Partial { start, offset } = frame.offload.checksum {
        *flags = NEEDS_CHECKSUM;
        [*s0, *s1] = start.to_ne_bytes();
        [*o0, *o1] = offset.to_ne_bytes();
        if let Some(gso) = frame.offload.gso {
            headers = start.saturating_add(transport_header(frame, start, gso.kind));
        }
    }
    if let Some(gso) = frame.offload.gso {
        *kind = match gso.kind {
            GsoKind::TcpV4 => GSO_TCP4,
            GsoKind::TcpV6 => GSO_TCP6,
            GsoKind::Udp => GSO_UDP,
        } | if gso.ecn { GSO_ECN } else { 0 };
        [*z0, *z1] = gso.size.to_ne_bytes();
    }
    [*h0, *h1] = headers.min(u16::try_from(frame.len()).unwrap_or(u16::MAX)).to_ne_bytes();
    header
}

/// Length of the transport header that begins at `start`.
fn transport_header(frame: &Frame, start: u16, kind: GsoKind) -> u16 {
    match kind {
        GsoKind::Udp => 8,
        // The data offset, in words, in the upper half of the thirteenth octet (RFC 9293 §3.1).
        GsoKind::TcpV4 | GsoKind::TcpV6 => {
            frame.bytes().get(usize::from(start) + 12).map_or(20, |octet| u16::from(octet >> 4) * 4)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(kind: GsoKind) -> Frame {
        let mut frame = Frame::from_bytes(&[0; 3000]);
        frame.bytes_mut()[34 + 12] = 8 << 4;
        frame.offload = Offload {
            checksum: Checksum::Partial { start: 34, offset: 16 },
            gso: Some(Gso { kind, size: 1448, ecn: kind == GsoKind::TcpV6 }),
        };
        frame
    }

    #[test]
    fn what_was_encoded_decodes_to_the_same_work() {
        for kind in [GsoKind::TcpV4, GsoKind::TcpV6, GsoKind::Udp] {
            let frame = segment(kind);
            assert_eq!(decode(&encode(&frame), frame.len()), Some(frame.offload));
        }
        let mut frame = segment(GsoKind::TcpV4);
        frame.offload = Offload::default();
        assert_eq!(encode(&frame), [0; VNET_HEADER]);
        assert_eq!(decode(&encode(&frame), frame.len()), Some(Offload::default()));
    }

    #[test]
    fn a_segment_tells_the_device_the_length_of_its_headers() {
        let header = encode(&segment(GsoKind::TcpV4));
        assert_eq!(u16::from_ne_bytes([header[2], header[3]]), 34 + 32);
        let header = encode(&segment(GsoKind::Udp));
        assert_eq!(u16::from_ne_bytes([header[2], header[3]]), 34 + 8);
    }

    #[test]
    fn no_header_leads_outside_the_frame() {
        let frame = segment(GsoKind::TcpV4);
        let header = encode(&frame);
        for len in 0..34 + 18 {
            assert_eq!(decode(&header, len), None, "{len} octets do not hold the checksum field");
        }
        assert!(decode(&header, 34 + 18).is_some());
        for bit in 0..VNET_HEADER * 8 {
            let mut header = header;
            header[bit / 8] ^= 1 << (bit % 8);
            if let Some(Offload { checksum: Checksum::Partial { start, offset }, gso }) = decode(&header, 100)
            {
                assert!(usize::from(start) + usize::from(offset) + 2 <= 100);
                assert!(gso.is_none_or(|gso| gso.size > 0));
            }
        }
        let mut unknown = [0; VNET_HEADER];
        unknown[1] = 3;
        assert_eq!(decode(&unknown, 100), None, "UDP fragmentation offload is not asked for");
    }
}
