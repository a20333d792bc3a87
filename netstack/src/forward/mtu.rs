//! Packets and the largest that the next hop takes: clamping TCP's MSS, and fragmenting.
//!
//! A TCP end that is told a smaller MSS in the SYN never sends what would not fit ([`clamp_mss`]). What is too large all the
//! same is fragmented when its sender allows it ([`fragment`], RFC 791 §3.2), or answered with "fragmentation needed",
//! which is the caller's decision.

use alloc::collections::VecDeque;

use super::segment::complete_checksum;
use crate::frame::{Checksum, Egress, Frame};
use crate::ledger::DropReason;
use crate::wire::checksum::update;
use crate::wire::ipv4::{self, DONT_FRAGMENT, Ipv4, MORE_FRAGMENTS};
use crate::wire::ipv6;
use crate::wire::octets::{set_u8, set_u16, set_u32, u8_at, u16_at};

const TCP_HEADER: usize = 20;
const FRAGMENT_HEADER: usize = 8;
const SYN: u8 = 0x02;
const END_OF_OPTIONS: u8 = 0;
const NO_OPERATION: u8 = 1;
const MAXIMUM_SEGMENT_SIZE: u8 = 2;

/// The MSS that fits in an IPv4 packet of `mtu` octets: headers without options are 40 (RFC 6691 §2).
pub fn mss_of(mtu: u16) -> u16 {
    mtu.saturating_sub(40)
}

/// The MSS that fits in an IPv6 packet of `mtu` octets: headers without options are 60 (RFC 6691 §2).
pub fn mss6_of(mtu: u16) -> u16 {
    mtu.saturating_sub(60)
}

/// Lowers the MSS option of the TCP segment in `packet`, which begins at its IPv4 header, to `max` octets. Only a SYN is
/// changed, and only downward; `checksum` is what the frame says of the segment's checksum. True when the packet was
/// changed. Malformed options are left as they are.
pub fn clamp_mss(packet: &mut [u8], max: u16, checksum: Checksum) -> bool {
    match tcp_at(packet).and_then(|at| packet.get_mut(at..)) {
        Some(segment) => clamp_segment(segment, max, checksum),
        None => false,
    }
}

/// As [`clamp_mss`], for `segment`, which begins at its TCP header.
pub fn clamp_segment(segment: &mut [u8], max: u16, checksum: Checksum) -> bool {
    let Some(at) = find_mss(segment) else { return false };
    let (Some(old), Some(field)) = (u16_at(segment, at), u16_at(segment, 16)) else { return false };
    if old <= max {
        return false;
    }
    set_u16(segment, at, max);
    // A partial checksum is of the pseudo-header alone: the device will sum the new option itself.
    if !matches!(checksum, Checksum::Partial { .. }) {
        // An option may begin anywhere; from an odd offset its octets lie in the other halves of the words (RFC 1071 §2 B).
        let (old, new) = if at % 2 == 0 { (old, max) } else { (old.swap_bytes(), max.swap_bytes()) };
        set_u16(segment, 16, update(field, old, new));
    }
    true
}

/// Where the TCP header is in `packet`.
fn tcp_at(packet: &[u8]) -> Option<usize> {
    let view = Ipv4::parse(packet)?;
    (view.protocol() == ipv4::TCP && view.fragment_offset() == 0).then(|| view.header_len())
}

/// Where in a SYN the value of its MSS option is.
fn find_mss(segment: &[u8]) -> Option<usize> {
    if u8_at(segment, 13)? & SYN == 0 {
        return None;
    }
    let header = segment.get(..usize::from(u8_at(segment, 12)? >> 4) * 4)?;
    let mut at = TCP_HEADER;
    loop {
        match u8_at(header, at)? {
            END_OF_OPTIONS => return None,
            NO_OPERATION => at += 1,
            kind => {
                let len = usize::from(u8_at(header, at + 1)?);
                if kind == MAXIMUM_SEGMENT_SIZE && len == 4 {
                    u16_at(header, at + 2)?;
                    return Some(at + 2);
                }
                if len < 2 {
                    return None;
                }
                at += len;
            }
        }
    }
}

/// Cuts the IPv4 packet in `frame`, which begins at its IPv4 header, into fragments of at most `mtu` octets, and appends
/// them to `out` in order. A packet that fits passes as it is. A fragment is cut into smaller ones. A partial checksum is
/// completed first. The caller has seen to it that the packet may be fragmented.
///
/// # Errors
/// Gives the frame back, to be dropped, when the packet is malformed or still a large segment (which
/// [`super::segment::split`] cuts), its offsets would pass 65,535, or `mtu` has no room
/// for 8 octets behind the header.
pub fn fragment(
    mut frame: Frame,
    mtu: u16,
    egress: &mut Egress,
    out: &mut VecDeque<Frame>,
) -> Result<(), Frame> {
    let Some(plan) = Plan::of(frame.bytes(), usize::from(mtu)) else { return Err(frame) };
    frame.truncate(plan.header + plan.payload);
    if frame.offload.gso.is_some() || !complete_checksum(&mut frame) {
        return Err(frame);
    }
    if frame.len() <= usize::from(mtu) {
        out.push_back(frame);
        return Ok(());
    }
    let first = out.len();
    let Some((header, payload)) = frame.bytes().split_at_checked(plan.header) else { return Err(frame) };
    let (mut later_header, later_len) = later_header(header);
    let later_header = later_header.get_mut(..later_len).unwrap_or_default();
    let room = (usize::from(mtu) - later_len) & !7;
    let rest = payload.get(plan.first..).unwrap_or_default();
    for (index, data) in rest.chunks(room).enumerate() {
        let at = plan.first + index * room;
        let mut piece = egress.copy(later_len + data.len());
        if piece.extend(later_header) && piece.extend(data) {
            plan.finish(piece.bytes_mut(), later_len, at, at + data.len() == plan.payload);
            out.push_back(piece);
        } else {
            egress.drop(piece, DropReason::Internal);
        }
    }
    frame.truncate(plan.header + plan.first);
    plan.finish(frame.bytes_mut(), plan.header, 0, false);
    out.insert(first, frame);
    Ok(())
}

/// As [`fragment`], for an IPv6 packet of the router's own, without extension headers and whole: only who sends one cuts it
/// (RFC 8200 §4.5). The fragments bear `id`.
///
/// # Errors
/// As [`fragment`].
pub fn fragment6(
    mut frame: Frame,
    mtu: u16,
    id: u32,
    egress: &mut Egress,
    out: &mut VecDeque<Frame>,
) -> Result<(), Frame> {
    if frame.len() <= usize::from(mtu) {
        out.push_back(frame);
        return Ok(());
    }
    let room = usize::from(mtu).saturating_sub(ipv6::HEADER + FRAGMENT_HEADER) & !7;
    let Some((header, payload)) = frame.bytes().split_first_chunk::<{ ipv6::HEADER }>() else {
        return Err(frame);
    };
    let (header, next) = (*header, header[6]);
    if room == 0 || payload.len() > usize::from(u16::MAX) || frame.offload != Default::default() {
        return Err(frame);
    }
    let whole = payload.len();
    let first = out.len();
    for (index, data) in payload.chunks(room).enumerate().skip(1) {
        let mut piece = egress.copy(ipv6::HEADER + FRAGMENT_HEADER + data.len());
        if piece.extend(&header) && piece.extend(&[0; FRAGMENT_HEADER]) && piece.extend(data) {
            let at = index * room;
            finish6(piece.bytes_mut(), next, at, at + data.len() < whole, id);
            out.push_back(piece);
        } else {
            egress.drop(piece, DropReason::Internal);
        }
    }
    frame.truncate(ipv6::HEADER + room);
    if frame.push(FRAGMENT_HEADER).is_none() {
        egress.drop(frame, DropReason::Internal);
        return Ok(());
    }
    frame.bytes_mut().copy_within(FRAGMENT_HEADER..FRAGMENT_HEADER + ipv6::HEADER, 0);
    finish6(frame.bytes_mut(), next, 0, true, id);
    out.insert(first, frame);
    Ok(())
}

/// Makes of the headers in front of a piece those of the fragment that begins `at` octets into the payload.
fn finish6(bytes: &mut [u8], next: u8, at: usize, more: bool, id: u32) {
    let len = bytes.len().saturating_sub(ipv6::HEADER) as u16;
    set_u16(bytes, 4, len);
    set_u8(bytes, 6, ipv6::FRAGMENT);
    set_u16(bytes, ipv6::HEADER, u16::from_be_bytes([next, 0]));
    set_u16(bytes, ipv6::HEADER + 2, at as u16 | u16::from(more));
    set_u32(bytes, ipv6::HEADER + 4, id);
}

/// How a packet is to be cut.
struct Plan {
    /// Octets of its header.
    header: usize,
    /// Octets of its payload.
    payload: usize,
    /// Octets of payload in the first fragment.
    first: usize,
    /// Where its payload lies in that of the datagram, in units of 8 octets.
    offset: u16,
    /// Its flags.
    flags: u16,
}

impl Plan {
    fn of(bytes: &[u8], mtu: usize) -> Option<Plan> {
        let view = Ipv4::parse(bytes)?;
        let (header, payload) = (view.header_len(), view.payload().len());
        let first = mtu.checked_sub(header).map(|room| room & !7).filter(|&room| room > 0)?;
        if view.fragment_offset() + payload > usize::from(u16::MAX) {
            return None;
        }
        let field = view.flags_and_offset();
        let flags = field & (MORE_FRAGMENTS | DONT_FRAGMENT);
        Some(Plan { header, payload, first, offset: field & ipv4::OFFSET_MASK, flags })
    }

    /// Makes the header of `len` octets that of the fragment whose payload starts `at` octets into the packet's.
    fn finish(&self, bytes: &mut [u8], len: usize, at: usize, is_last: bool) {
        let more = if is_last { 0 } else { MORE_FRAGMENTS };
        let total = bytes.len() as u16;
        set_u16(bytes, 2, total);
        set_u16(bytes, 6, self.flags | more | self.offset.wrapping_add((at / 8) as u16));
        ipv4::write_header_checksum(bytes, len);
    }
}

/// The header of the fragments after the first: of the options only those with the copied flag (RFC 791 §3.1), padded
/// with End of Options. Returns its octets and how many they are.
fn later_header(header: &[u8]) -> ([u8; ipv4::MAX_HEADER], usize) {
    let mut later = [END_OF_OPTIONS; ipv4::MAX_HEADER];
    let (fixed, mut options) = header.split_at_checked(ipv4::MIN_HEADER).unwrap_or((header, &[]));
    let mut len = 0;
    let mut append = |bytes: &[u8]| {
        for (to, from) in later.iter_mut().skip(len).zip(bytes) {
            *to = *from;
        }
        len += bytes.len();
    };
    append(fixed);
    while let Some((&kind, rest)) = options.split_first() {
        let size = match kind {
            END_OF_OPTIONS => break,
            NO_OPERATION => 1,
            _ => rest.first().map_or(0, |&size| usize::from(size).max(2)),
        };
        // An option that is cut short ends the list: what it would say is not known.
        let Some((option, after)) = options.split_at_checked(size).filter(|_| size > 0) else { break };
        if kind & 0x80 != 0 {
            append(option);
        }
        options = after;
    }
    let len = len.next_multiple_of(4).min(ipv4::MAX_HEADER);
    if let Some(first) = later.first_mut() {
        *first = 0x40 | (len / 4) as u8;
    }
    (later, len)
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::frame::{Gso, GsoKind, LARGE};
    use crate::wire::checksum::Sum;

    fn packet(protocol: u8, field: u16, options: &[u8], payload: &[u8]) -> Vec<u8> {
        let header = 20 + options.len();
        let mut bytes = [0x40 | (header / 4) as u8, 0, 0, 0, 0x12, 0x34, 0, 0, 64, protocol, 0, 0].to_vec();
        bytes.extend([192, 0, 2, 9, 198, 51, 100, 7]);
        bytes.extend(options);
        set_u16(&mut bytes, 2, (header + payload.len()) as u16);
        set_u16(&mut bytes, 6, field);
        ipv4::write_header_checksum(&mut bytes, header);
        bytes.extend(payload);
        bytes
    }

    fn tcp_sum(packet: &[u8]) -> Sum {
        let view = Ipv4::parse(packet).unwrap();
        let len = view.payload().len() as u16;
        Sum::pseudo_v4(view.source(), view.destination(), 6, len).plus(Sum::of(view.payload()))
    }

    fn syn(flags: u8, options: &[u8]) -> Vec<u8> {
        let mut options = options.to_vec();
        options.resize(options.len().next_multiple_of(4), 0);
        let mut segment = alloc::vec![0; 20];
        set_u16(&mut segment, 0, 4000);
        set_u16(&mut segment, 2, 443);
        segment[12] = ((20 + options.len()) / 4 * 16) as u8;
        segment[13] = flags;
        segment.extend(options);
        let mut bytes = packet(ipv4::TCP, 0x4000, &[], &segment);
        let checksum = tcp_sum(&bytes).checksum();
        set_u16(&mut bytes, 36, checksum);
        bytes
    }

    #[test]
    fn rfc6691_the_mss_leaves_room_for_headers_without_options() {
        assert_eq!((mss_of(1500), mss_of(1492), mss_of(0)), (1460, 1452, 0));
    }

    #[test]
    fn the_mss_of_a_syn_is_lowered_wherever_it_stands() {
        for (options, at) in [
            (&[2, 4, 5, 0xb4][..], 42),
            (&[2, 4, 5, 0xb4, 1, 3, 3, 7, 4, 2], 42),
            (&[1, 2, 4, 5, 0xb4], 43),
            (&[1, 1, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 3, 3, 7, 2, 4, 5, 0xb4], 40 + 19),
            (&[254, 3, 9, 2, 4, 5, 0xb4], 45),
        ] {
            for flags in [SYN, SYN | 0x10, SYN | 0xc0] {
                let mut packet = syn(flags, options);
                assert!(tcp_sum(&packet).is_right());
                assert!(clamp_mss(&mut packet, 1452, Checksum::Complete));
                assert_eq!(u16_at(&packet, at), Some(1452), "{options:?}");
                assert!(tcp_sum(&packet).is_right(), "{options:?}");
                assert!(!clamp_mss(&mut packet, 1452, Checksum::Complete));
            }
        }
    }

    #[test]
    fn a_partial_checksum_does_not_count_the_option() {
        let mut packet = syn(SYN, &[1, 2, 4, 5, 0xb4]);
        let partial = Sum::pseudo_v4([192, 0, 2, 9].into(), [198, 51, 100, 7].into(), 6, 28).value();
        set_u16(&mut packet, 36, partial);
        let checksum = Checksum::Partial { start: 20, offset: 16 };
        assert!(clamp_mss(&mut packet, 1400, checksum));
        let mut frame = Frame::from_bytes(&packet);
        frame.offload.checksum = checksum;
        assert!(complete_checksum(&mut frame));
        assert!(tcp_sum(frame.bytes()).is_right());
    }

    #[test]
    fn what_needs_no_clamping_is_left_alone() {
        let untouched = |mut packet: Vec<u8>, max| {
            let before = packet.clone();
            assert!(!clamp_mss(&mut packet, max, Checksum::Complete));
            assert_eq!(packet, before);
        };
        untouched(syn(SYN, &[2, 4, 5, 0xb4]), 1460);
        untouched(syn(SYN, &[2, 4, 2, 0]), 1452);
        untouched(syn(0x10, &[2, 4, 5, 0xb4]), 1000);
        untouched(syn(SYN, &[]), 1000);
        untouched(syn(SYN, &[0, 2, 4, 5, 0xb4]), 1000);
        let mut udp = syn(SYN, &[2, 4, 5, 0xb4]);
        udp[9] = 17;
        untouched(udp, 1000);
        let mut later_fragment = syn(SYN, &[2, 4, 5, 0xb4]);
        later_fragment[7] = 1;
        untouched(later_fragment, 1000);
    }

    #[test]
    fn malformed_options_are_harmless() {
        for options in [
            &[2, 3, 5, 0xb4][..],
            &[2, 5, 5, 0xb4, 0],
            &[2, 0, 5, 0xb4],
            &[3, 0, 2, 4, 5, 0xb4],
            &[3, 1, 2, 4, 5, 0xb4],
            &[3, 200, 2, 4, 5, 0xb4],
            &[1, 1, 1, 2],
            &[1, 1, 2, 4],
        ] {
            let mut packet = syn(SYN, options);
            let before = packet.clone();
            assert!(!clamp_mss(&mut packet, 100, Checksum::Complete), "{options:?}");
            assert_eq!(packet, before);
        }
        let whole = syn(SYN, &[1, 2, 4, 5, 0xb4, 4, 2]);
        for len in 0..whole.len() {
            let mut cut = whole[..len].to_vec();
            clamp_mss(&mut cut, 100, Checksum::Complete);
            set_u16(&mut cut, 2, len as u16);
            assert!(!clamp_mss(&mut cut, 100, Checksum::Complete), "{len} octets");
        }
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            clamp_mss(&mut flipped, 100, Checksum::Complete);
        }
    }

    fn cut(bytes: &[u8], mtu: u16) -> Option<Vec<Vec<u8>>> {
        let mut frame = Frame::with_capacity(LARGE);
        frame.extend(bytes);
        let mut egress = Egress::new(&[]);
        let mut out = VecDeque::new();
        egress.received(1);
        let done = fragment(frame, mtu, &mut egress, &mut out);
        match done {
            Ok(()) => {
                let balance = egress.ledger().balance(out.len());
                assert_eq!(balance.born, balance.ended);
                Some(out.iter().map(|piece| piece.bytes().to_vec()).collect())
            }
            Err(frame) => {
                assert!(out.is_empty());
                assert_eq!(frame.bytes(), bytes);
                None
            }
        }
    }

    /// Puts fragments together by the definition and checks each on the way. Returns the payload and where it starts.
    fn rejoin(pieces: &[Vec<u8>], mtu: u16, more_at_the_end: bool) -> (usize, Vec<u8>) {
        let start = Ipv4::parse(&pieces[0]).unwrap().fragment_offset();
        let mut payload = Vec::new();
        for (index, piece) in pieces.iter().enumerate() {
            let view = Ipv4::parse(piece).unwrap();
            assert!(piece.len() <= usize::from(mtu));
            assert!(Sum::of(view.header()).is_right());
            assert_eq!(view.total_len(), piece.len());
            assert_eq!(view.id(), 0x1234);
            assert_eq!(view.fragment_offset(), start + payload.len());
            assert_eq!(view.more_fragments(), index + 1 < pieces.len() || more_at_the_end);
            payload.extend(view.payload());
        }
        (start, payload)
    }

    #[test]
    fn rfc791_3_2_a_packet_that_fits_passes_as_it_is() {
        let bytes = packet(17, 0, &[], &[1; 100]);
        assert_eq!(cut(&bytes, 120), Some([bytes.clone()].to_vec()));
        let padded = [&bytes[..], &[0; 30]].concat();
        assert_eq!(cut(&padded, 120), Some([bytes].to_vec()), "padding is no part of the packet");
    }

    #[test]
    fn rfc791_3_1_only_options_with_the_copied_flag_are_in_later_fragments() {
        // Record route (not copied), no operation, router alert (copied), end.
        let options = [7, 7, 4, 0, 0, 0, 0, 1, 0x94, 4, 0, 0];
        let pieces = cut(&packet(17, 0, &options, &[9; 200]), 100).unwrap();
        assert_eq!(pieces[0][20..32], options);
        for later in &pieces[1..] {
            assert_eq!(later[0], 0x46);
            assert_eq!(later[20..24], [0x94, 4, 0, 0]);
        }
        rejoin(&pieces, 100, false);

        // A copied option of 3 octets is padded; one that is cut short ends the list.
        let pieces = cut(&packet(17, 0, &[0x95, 3, 5, 0x94, 9, 0, 0, 0], &[9; 200]), 100).unwrap();
        assert_eq!((pieces[1][0], &pieces[1][20..24]), (0x46, &[0x95, 3, 5, 0][..]));
        let pieces = cut(&packet(17, 0, &[0x95, 0, 0x94, 0x94], &[9; 200]), 100).unwrap();
        rejoin(&pieces, 100, false);
    }

    #[test]
    fn rfc791_3_2_a_fragment_is_cut_into_smaller_ones() {
        let data: Vec<u8> = (0..200).collect();
        let last = cut(&packet(17, 10, &[], &data), 68).unwrap();
        assert_eq!(rejoin(&last, 68, false), (80, data.clone()));
        let middle = cut(&packet(17, MORE_FRAGMENTS | 10, &[], &data), 68).unwrap();
        assert_eq!(rejoin(&middle, 68, true), (80, data));
    }

    #[test]
    fn what_cannot_be_cut_is_given_back() {
        let bytes = packet(17, 0, &[], &[9; 200]);
        assert_eq!(cut(&bytes, 27), None);
        assert_eq!(cut(&bytes, 0), None);
        assert!(cut(&bytes, 28).is_some());
        assert_eq!(cut(&packet(17, 0x1fff, &[], &[9; 200]), 100), None, "beyond 65,535");
        for len in 0..bytes.len() {
            assert_eq!(cut(&bytes[..len], 100), None);
        }
        for bit in 0..160 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            cut(&flipped, 100);
        }
    }

    #[test]
    fn a_partial_checksum_is_completed_before_the_cut() {
        let mut segment = alloc::vec![3; 300];
        let (source, destination) = ([192, 0, 2, 9].into(), [198, 51, 100, 7].into());
        set_u16(&mut segment, 6, Sum::pseudo_v4(source, destination, 17, 300).value());
        let mut frame = Frame::from_bytes(&packet(17, 0, &[], &segment));
        frame.offload.checksum = Checksum::Partial { start: 20, offset: 6 };
        let (mut egress, mut out) = (Egress::new(&[]), VecDeque::new());
        assert!(fragment(frame, 100, &mut egress, &mut out).is_ok());
        let pieces: Vec<_> = out.iter().map(|piece| piece.bytes().to_vec()).collect();
        let (_, payload) = rejoin(&pieces, 100, false);
        assert!(Sum::pseudo_v4(source, destination, 17, 300).plus(Sum::of(&payload)).is_right());
    }

    #[test]
    fn a_large_segment_is_not_fragmented() {
        let mut frame = Frame::from_bytes(&packet(17, 0, &[], &[9; 200]));
        frame.offload.gso = Some(Gso { kind: GsoKind::Udp, size: 50, ecn: false });
        assert!(fragment(frame, 100, &mut Egress::new(&[]), &mut VecDeque::new()).is_err());
    }

    proptest! {
        #[test]
        fn rfc791_3_2_the_fragments_of_any_packet_rejoin_to_it(
            len in 1usize..5000, mtu in 68u16..1501, field in 0u16..100, more in any::<bool>(),
            options in prop::collection::vec(any::<u8>(), 0..11),
        ) {
            let options: Vec<u8> = options.iter().flat_map(|&o| [o, 4, o, o]).take(40).collect();
            let len = if more { (len + 7) & !7 } else { len };
            let data: Vec<u8> = (0..len).map(|n| (n * 5 + n / 256) as u8).collect();
            let field = if more { field | MORE_FRAGMENTS } else { field };
            let pieces = cut(&packet(17, field, &options, &data), mtu).unwrap();
            let (start, payload) = rejoin(&pieces, mtu, more);
            prop_assert_eq!(start, usize::from(field & ipv4::OFFSET_MASK) * 8);
            prop_assert!(payload == data);
        }
    }
}
