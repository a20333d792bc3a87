//! Doing what a sender left to the device: completing checksums and cutting large segments.
//!
//! A frame from a virtual card or a merging receiver may stand for many packets (GSO) and may carry only the sum of its
//! pseudo-header. Before it goes out by a port that cannot do either, [`split`] cuts it at its `gso.size`: each piece gets
//! a copy of the headers with lengths, identification, sequence number, flags and checksums of its own. The piece in
//! front stays in the buffer of the large frame.

use alloc::collections::VecDeque;
use core::net::{Ipv4Addr, Ipv6Addr};

use crate::frame::{Checksum, Egress, Frame, Gso, GsoKind};
use crate::ledger::DropReason;
use crate::wire::checksum::Sum;
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::octets::{set_u8, set_u16, set_u32, u8_at, u16_at, u32_at};

/// Most pieces that one frame is cut into. 65,535 octets in the smallest segments that Linux sends (48 octets) are fewer.
pub const MAX_SEGMENTS: usize = 2048;

const TCP_HEADER: usize = 20;
const UDP_HEADER: usize = 8;
const IPV6_HEADER: usize = 40;
/// From the start of the UDP header, and so told apart from TCP's.
const UDP_CHECKSUM: u16 = 6;
const TCP_CHECKSUM: u16 = 16;

const FIN: u8 = 0x01;
pub(super) const PSH: u8 = 0x08;
const CWR: u8 = 0x80;

/// Makes a partial checksum a whole one. The frame must end where its packet does: padding would be summed too. Does
/// nothing to a frame whose checksum is whole. False, and no change, when the sum's place lies beyond the frame.
pub fn complete_checksum(frame: &mut Frame) -> bool {
    let Checksum::Partial { start, offset } = frame.offload.checksum else { return true };
    let Some(summed) = frame.bytes_mut().get_mut(usize::from(start)..) else { return false };
    let sum = Sum::of(summed);
    let checksum = if offset == UDP_CHECKSUM { sum.udp_checksum() } else { sum.checksum() };
    if !set_u16(summed, usize::from(offset), checksum) {
        return false;
    }
    frame.offload.checksum = Checksum::Complete;
    true
}

/// Octets of the largest IP packet that `frame`, whose IP header starts at `l3`, will be on the wire: of the whole packet,
/// or of a piece when it is to be cut. `None` when it is to be cut and cannot be.
pub fn packet_len(frame: &Frame, l3: usize) -> Option<usize> {
    match frame.offload.gso {
        None => frame.len().checked_sub(l3),
        Some(gso) => {
            let layout = Layout::of(frame.bytes(), l3, gso)?;
            let data = layout.end - layout.data;
            Some(layout.data - l3 + data.min(usize::from(gso.size)))
        }
    }
}

/// Octets of the largest packet that `frame` will be on the wire, when what its sender has left undone is what the headers
/// announce: the packet at `l3` is `total` octets long and no fragment, and its header of `protocol` is at `transport` in
/// it. `None` when something else is to be summed, or it cannot be cut.
pub fn largest(frame: &Frame, l3: usize, transport: usize, protocol: u8, total: usize) -> Option<usize> {
    if let Checksum::Partial { start, offset } = frame.offload.checksum {
        let is_usual = match protocol {
            ipv4::TCP => offset == TCP_CHECKSUM,
            ipv4::UDP => offset == UDP_CHECKSUM,
            _ => false,
        };
        if !is_usual || usize::from(start) != l3.saturating_add(transport) {
            return None;
        }
    }
    match frame.offload.gso {
        None => Some(total),
        Some(_) => packet_len(frame, l3),
    }
}

/// Cuts `frame`, whose IP header starts at `l3`, into the pieces that it stands for, and appends them to `out` in order.
/// Every piece has a whole checksum and nothing left undone. A frame that is not to be cut has its checksum completed and
/// passes as it is. What is in front of the IP header is copied as it is.
///
/// # Errors
/// Gives the frame back, to be dropped under [`DropReason::GsoMalformed`], when its headers are not what its offload says,
/// or when it would become more than [`MAX_SEGMENTS`].
pub fn split(
    mut frame: Frame,
    l3: usize,
    egress: &mut Egress,
    out: &mut VecDeque<Frame>,
) -> Result<(), Frame> {
    let Some(gso) = frame.offload.gso else {
        if !complete_checksum(&mut frame) {
            return Err(frame);
        }
        out.push_back(frame);
        return Ok(());
    };
    let Some(layout) = Layout::of(frame.bytes(), l3, gso) else { return Err(frame) };
    let size = usize::from(gso.size);
    let first = out.len();

    let (headers, data) = match frame.bytes().get(..layout.end).and_then(|b| b.split_at_checked(layout.data))
    {
        Some(parts) => parts,
        None => return Err(frame),
    };
    let (front, rest) = data.split_at_checked(size).unwrap_or((data, &[]));
    let count = rest.len().div_ceil(size);
    for (index, data) in rest.chunks(size).enumerate() {
        let mut piece = egress.copy(headers.len() + data.len());
        if piece.extend(headers) && piece.extend(data) {
            let place = Place { index: index + 1, sent: (index + 1) * size, is_last: index + 1 == count };
            layout.finish(piece.bytes_mut(), place);
            out.push_back(piece);
        } else {
            egress.drop(piece, DropReason::Internal);
        }
    }

    let len = headers.len() + front.len();
    frame.truncate(len);
    frame.offload = Default::default();
    layout.finish(frame.bytes_mut(), Place { index: 0, sent: 0, is_last: count == 0 });
    out.insert(first, frame);
    Ok(())
}

/// Where one piece stands among the others.
#[derive(Clone, Copy)]
struct Place {
    index: usize,
    /// Octets of data in the pieces before it.
    sent: usize,
    is_last: bool,
}

/// Where the headers of a large frame are, and what of them differs from piece to piece. All offsets are from the start
/// of the frame, and `l3 < l4 < data <= end`.
struct Layout {
    l3: usize,
    l4: usize,
    data: usize,
    end: usize,
    network: Network,
    transport: Transport,
}

enum Network {
    V4 { id: u16, source: Ipv4Addr, destination: Ipv4Addr },
    V6 { source: Ipv6Addr, destination: Ipv6Addr },
}

enum Transport {
    Tcp { sequence: u32, flags: u8 },
    Udp,
}

impl Layout {
    fn of(bytes: &[u8], l3: usize, gso: Gso) -> Option<Layout> {
        let packet = bytes.get(l3..)?;
        let is_v4 = match gso.kind {
            GsoKind::TcpV4 => true,
            GsoKind::TcpV6 => false,
            GsoKind::Udp => u8_at(packet, 0)? >> 4 == 4,
        };
        let (network, protocol, network_header, total) = if is_v4 {
            let view = Ipv4::parse(packet).filter(|view| !view.is_fragment())?;
            let network =
                Network::V4 { id: view.id(), source: view.source(), destination: view.destination() };
            (network, view.protocol(), view.header_len(), view.total_len())
        } else {
            let (header, rest) = packet.split_first_chunk::<IPV6_HEADER>()?;
            let payload = usize::from(u16_at(header, 4)?);
            if u8_at(header, 0)? >> 4 != 6 || payload > rest.len() {
                return None;
            }
            let address = |at: usize| header.get(at..)?.first_chunk::<16>().copied().map(Ipv6Addr::from);
            let network = Network::V6 { source: address(8)?, destination: address(24)? };
            (network, u8_at(header, 6)?, IPV6_HEADER, IPV6_HEADER + payload)
        };
        let segment = packet.get(network_header..total)?;
        let (transport, transport_header) = match gso.kind {
            GsoKind::TcpV4 | GsoKind::TcpV6 if protocol == ipv4::TCP => {
                let header = usize::from(u8_at(segment, 12)? >> 4) * 4;
                let tcp = Transport::Tcp { sequence: u32_at(segment, 4)?, flags: u8_at(segment, 13)? };
                (tcp, Some(header).filter(|&header| header >= TCP_HEADER)?)
            }
            GsoKind::Udp if protocol == ipv4::UDP => (Transport::Udp, UDP_HEADER),
            _ => return None,
        };
        let data = segment.len().checked_sub(transport_header)?;
        if gso.size == 0 || data.div_ceil(usize::from(gso.size)) > MAX_SEGMENTS {
            return None;
        }
        let l4 = l3 + network_header;
        Some(Layout { l3, l4, data: l4 + transport_header, end: l3 + total, network, transport })
    }

    /// Turns the copied headers of the piece `bytes` into its own.
    fn finish(&self, bytes: &mut [u8], place: Place) {
        let Some(packet) = bytes.get_mut(self.l3..) else { return };
        // No piece is larger than the packet it was cut from, whose length fits in 16 bits.
        let total = packet.len() as u16;
        let header = self.l4 - self.l3;
        let transport_len = total.saturating_sub(header as u16);
        let protocol = match self.transport {
            Transport::Tcp { .. } => ipv4::TCP,
            Transport::Udp => ipv4::UDP,
        };
        let pseudo = match self.network {
            Network::V4 { id, source, destination } => {
                set_u16(packet, 2, total);
                set_u16(packet, 4, id.wrapping_add(place.index as u16));
                ipv4::write_header_checksum(packet, header);
                Sum::pseudo_v4(source, destination, protocol, transport_len)
            }
            Network::V6 { source, destination } => {
                set_u16(packet, 4, transport_len);
                Sum::pseudo_v6(source, destination, protocol, u32::from(transport_len))
            }
        };
        let Some(segment) = packet.get_mut(header..) else { return };
        match self.transport {
            Transport::Tcp { sequence, flags } => {
                let not_here = match (place.index, place.is_last) {
                    (0, true) => 0,
                    (0, false) => FIN | PSH,
                    (_, true) => CWR,
                    (_, false) => FIN | PSH | CWR,
                };
                set_u32(segment, 4, sequence.wrapping_add(place.sent as u32));
                set_u8(segment, 13, flags & !not_here);
                set_u16(segment, 16, 0);
                let checksum = pseudo.plus(Sum::of(segment)).checksum();
                set_u16(segment, 16, checksum);
            }
            Transport::Udp => {
                set_u16(segment, 4, transport_len);
                set_u16(segment, 6, 0);
                let checksum = pseudo.plus(Sum::of(segment)).udp_checksum();
                set_u16(segment, 6, checksum);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::frame::LARGE;

    const L2: usize = 14;
    const SEQUENCE: u32 = 0xffff_f000;

    /// A frame as a Linux sender with every offload on gives it to a tap: Ethernet, IP, and a partial checksum.
    fn large(kind: GsoKind, v6: bool, size: u16, len: usize, flags: u8) -> Frame {
        let tcp = kind != GsoKind::Udp;
        let transport_header = if tcp { 32 } else { 8 };
        let transport_len = transport_header + len;
        let mut frame = Frame::with_capacity(LARGE);
        frame.extend(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0]);
        let protocol = if tcp { 6 } else { 17 };
        let (ip, pseudo) = if v6 {
            let mut ip = alloc::vec![0; 40];
            ip[0] = 0x60;
            set_u16(&mut ip, 4, transport_len as u16);
            ip[6] = protocol;
            ip[7] = 64;
            ip[8..24].fill(0x11);
            ip[24..40].fill(0x22);
            let pseudo = Sum::pseudo_v6([0x11; 16].into(), [0x22; 16].into(), protocol, transport_len as u32);
            (ip, pseudo)
        } else {
            let mut ip = [0x45, 0, 0, 0, 0xff, 0xfe, 0x40, 0, 64, protocol, 0, 0].to_vec();
            ip.extend([192, 0, 2, 9, 198, 51, 100, 7]);
            set_u16(&mut ip, 2, (20 + transport_len) as u16);
            ipv4::write_header_checksum(&mut ip, 20);
            let addresses = ([192, 0, 2, 9].into(), [198, 51, 100, 7].into());
            (ip, Sum::pseudo_v4(addresses.0, addresses.1, protocol, transport_len as u16))
        };
        let mut transport = alloc::vec![0; transport_header];
        set_u16(&mut transport, 0, 4000);
        set_u16(&mut transport, 2, 443);
        if tcp {
            set_u32(&mut transport, 4, SEQUENCE);
            set_u32(&mut transport, 8, 99);
            transport[12] = 0x80;
            transport[13] = flags;
            transport[20..].copy_from_slice(&[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
        } else {
            set_u16(&mut transport, 4, transport_len as u16);
        }
        let offset = if tcp { 16 } else { 6 };
        set_u16(&mut transport, offset, pseudo.value());
        let start = (L2 + ip.len()) as u16;
        frame.extend(&ip);
        frame.extend(&transport);
        let data: Vec<u8> = (0..len).map(|n| (n * 7 + n / 251) as u8).collect();
        assert!(frame.extend(&data));
        frame.offload.checksum = Checksum::Partial { start, offset: offset as u16 };
        frame.offload.gso = Some(Gso { kind, size, ecn: flags & CWR != 0 });
        frame
    }

    fn cut(frame: Frame) -> Result<Vec<Frame>, Frame> {
        let mut egress = Egress::new(&[]);
        let mut out = VecDeque::new();
        egress.received(1);
        split(frame, L2, &mut egress, &mut out)?;
        let balance = egress.ledger().balance(out.len());
        assert_eq!(balance.born, balance.ended);
        Ok(out.into())
    }

    /// Checks every checksum and length of a piece and returns where its data begin.
    fn verify(piece: &Frame) -> usize {
        assert_eq!(piece.offload, Default::default());
        let bytes = &piece.bytes()[L2..];
        let (protocol, header, pseudo) = if bytes[0] >> 4 == 4 {
            let view = Ipv4::parse(bytes).unwrap();
            assert_eq!(view.total_len(), bytes.len());
            assert!(Sum::of(view.header()).is_right());
            let len = view.payload().len() as u16;
            (view.protocol(), 20, Sum::pseudo_v4(view.source(), view.destination(), view.protocol(), len))
        } else {
            let len = u16_at(bytes, 4).unwrap();
            assert_eq!(40 + usize::from(len), bytes.len());
            (bytes[6], 40, Sum::pseudo_v6([0x11; 16].into(), [0x22; 16].into(), bytes[6], len.into()))
        };
        let segment = &bytes[header..];
        assert!(pseudo.plus(Sum::of(segment)).is_right());
        if protocol == ipv4::TCP {
            L2 + header + 32
        } else {
            assert_eq!(usize::from(u16_at(segment, 4).unwrap()), segment.len());
            assert_ne!(u16_at(segment, 6), Some(0));
            L2 + header + 8
        }
    }

    fn check(kind: GsoKind, v6: bool, size: u16, len: usize, flags: u8) {
        let whole = large(kind, v6, size, len, flags);
        let headers = if v6 { 40 } else { 20 } + if kind == GsoKind::Udp { 8 } else { 32 };
        let data = whole.bytes()[L2 + headers..].to_vec();
        assert_eq!(packet_len(&whole, L2), Some(headers + len.min(size.into())));
        let pieces = cut(whole.clone()).unwrap();
        assert_eq!(pieces.len(), len.div_ceil(size.into()).max(1));
        let mut rejoined = Vec::new();
        for (index, piece) in pieces.iter().enumerate() {
            let start = verify(piece);
            let bytes = piece.bytes();
            assert_eq!(bytes[..L2], whole.bytes()[..L2]);
            if !v6 {
                assert_eq!(u16_at(bytes, L2 + 4), Some(0xfffeu16.wrapping_add(index as u16)));
            }
            if kind != GsoKind::Udp {
                let tcp = &bytes[start - 32..];
                assert_eq!(u32_at(tcp, 4), Some(SEQUENCE.wrapping_add(rejoined.len() as u32)));
                assert_eq!(tcp[20..32], [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2], "options are on each");
                let (is_first, is_last) = (index == 0, index + 1 == pieces.len());
                assert_eq!(tcp[13] & CWR, if is_first { flags & CWR } else { 0 });
                assert_eq!(tcp[13] & (FIN | PSH), if is_last { flags & (FIN | PSH) } else { 0 });
                assert_eq!(tcp[13] & !(CWR | FIN | PSH), flags & !(CWR | FIN | PSH));
            }
            assert!(bytes.len() - start <= usize::from(size));
            rejoined.extend_from_slice(&bytes[start..]);
        }
        assert!(rejoined == data, "the data are the same: {kind:?}, {len} octets by {size}");
    }

    #[test]
    fn large_segments_of_every_length_are_cut_without_loss() {
        for len in [1, 2, 7, 1447, 1448, 1449, 2896, 2897, 10_000, 30_001, 65_535 - 52] {
            check(GsoKind::TcpV4, false, 1448, len, 0x10 | PSH | CWR);
            check(GsoKind::TcpV6, true, 1428, len, 0x10 | FIN);
            check(GsoKind::Udp, false, 1472, len, 0);
            check(GsoKind::Udp, true, 1452, len, 0);
        }
        check(GsoKind::TcpV4, false, 1448, 0, 0x10);
        check(GsoKind::TcpV4, false, u16::MAX, 65_000, 0x10);
        check(GsoKind::TcpV4, false, 48, 65_000, 0x10);
        check(GsoKind::TcpV4, false, 1, MAX_SEGMENTS, 0x10);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_size_and_length_is_cut_without_loss(
            what in 0..4, size in 33u16..3000, len in 0usize..65_400, flags in any::<u8>(),
        ) {
            let (kind, v6) = match what {
                0 => (GsoKind::TcpV4, false),
                1 => (GsoKind::TcpV6, true),
                2 => (GsoKind::Udp, false),
                _ => (GsoKind::Udp, true),
            };
            check(kind, v6, size, len, flags);
        }
    }

    #[test]
    fn what_is_in_the_buffer_behind_the_packet_is_no_data() {
        let mut frame = large(GsoKind::TcpV4, false, 1448, 3000, 0x10);
        frame.extend(&[0xee; 9]);
        let pieces = cut(frame).unwrap();
        let data: usize = pieces.iter().map(|piece| piece.len() - verify(piece)).sum();
        assert_eq!(data, 3000);
    }

    #[test]
    fn a_frame_that_cannot_be_cut_as_it_asks_is_given_back_whole() {
        let malformed = |change: fn(&mut Frame)| {
            let mut frame = large(GsoKind::TcpV4, false, 1448, 3000, 0x10);
            change(&mut frame);
            let before = frame.bytes().to_vec();
            assert_eq!(packet_len(&frame, L2), None);
            assert_eq!(cut(frame).unwrap_err().bytes(), before);
        };
        malformed(|frame| frame.offload.gso.as_mut().unwrap().size = 0);
        malformed(|frame| frame.offload.gso.as_mut().unwrap().size = 1);
        malformed(|frame| frame.offload.gso.as_mut().unwrap().kind = GsoKind::TcpV6);
        malformed(|frame| frame.offload.gso.as_mut().unwrap().kind = GsoKind::Udp);
        malformed(|frame| frame.bytes_mut()[L2 + 20 + 12] = 0x40);
        malformed(|frame| frame.bytes_mut()[L2 + 6] = 0x20);
        for len in 0..L2 + 3052 {
            let mut frame = large(GsoKind::TcpV4, false, 1448, 3000, 0x10);
            frame.truncate(len);
            assert!(cut(frame).is_err(), "{len} octets");
        }
        // The packet's own length ends within its headers.
        for total in 0..52 {
            let mut frame = large(GsoKind::TcpV4, false, 1448, 3000, 0x10);
            set_u16(frame.bytes_mut(), L2 + 2, total);
            assert!(cut(frame).is_err(), "total length {total}");
        }
    }

    #[test]
    fn damaged_headers_are_harmless() {
        for (kind, v6) in [(GsoKind::TcpV4, false), (GsoKind::TcpV6, true), (GsoKind::Udp, false)] {
            for bit in L2 * 8..(L2 + 72) * 8 {
                let mut frame = large(kind, v6, 500, 1200, 0x10);
                frame.bytes_mut()[bit / 8] ^= 1 << (bit % 8);
                if let Ok(pieces) = cut(frame) {
                    assert!(pieces.iter().all(|piece| piece.len() <= L2 + 60 + 60 + 500));
                }
            }
        }
    }

    #[test]
    fn a_partial_checksum_is_completed() {
        for (kind, v6) in [(GsoKind::TcpV4, false), (GsoKind::TcpV6, true), (GsoKind::Udp, false)] {
            for len in [0, 1, 2, 1001, 1400] {
                let mut frame = large(kind, v6, 1448, len, 0x10);
                frame.offload.gso = None;
                assert_eq!(packet_len(&frame, L2), Some(frame.len() - L2));
                let pieces = cut(frame).unwrap();
                assert_eq!(pieces.len(), 1);
                verify(&pieces[0]);
            }
        }
    }

    #[test]
    fn rfc768_a_udp_checksum_that_sums_up_to_zero_is_sent_as_ones() {
        let mut frame = large(GsoKind::Udp, false, 1448, 2, 0);
        frame.offload.gso = None;
        // The last word is chosen so that the sum of all is ones, whose complement would be 0.
        let at = L2 + 28;
        set_u16(frame.bytes_mut(), at, 0);
        let rest = Sum::of(&frame.bytes()[L2 + 20..]).value();
        set_u16(frame.bytes_mut(), at, !rest);
        assert!(complete_checksum(&mut frame));
        assert_eq!(u16_at(frame.bytes(), L2 + 26), Some(0xffff));
    }

    #[test]
    fn a_partial_checksum_beyond_the_frame_changes_nothing() {
        for (start, offset) in [(0, 59), (60, 0), (61, 0), (59, 0), (u16::MAX, u16::MAX), (0, u16::MAX)] {
            let mut frame = Frame::from_bytes(&[5; 60]);
            frame.offload.checksum = Checksum::Partial { start, offset };
            assert!(!complete_checksum(&mut frame), "start {start}, offset {offset}");
            assert_eq!(frame.bytes(), &[5; 60]);
            assert!(cut(frame).is_err());
        }
    }

    #[test]
    fn a_whole_checksum_is_left_alone() {
        let mut frame = Frame::from_bytes(&[5; 60]);
        frame.offload.checksum = Checksum::Verified;
        assert!(complete_checksum(&mut frame));
        assert_eq!(frame.offload.checksum, Checksum::Verified);
        assert_eq!(frame.bytes(), &[5; 60]);
    }
}
