//! The counterpart of [`segment`](super::segment): packets that follow one another in one TCP connection become one large segment, for a
//! device that takes such. What comes out of a tunnel costs as much as what a network card has merged then.
//!
//! Only packets that [`split`](super::segment::split) would make of the large one again are merged: their headers differ in nothing but
//! identification, sequence number, length and checksums, which are right, and all but the last one are equally long.

use alloc::collections::VecDeque;

use crate::forward::parse::ACK;
use crate::forward::segment::{MAX_SEGMENTS, PSH};
use crate::frame::{Checksum, Egress, Frame, Gso, GsoKind};
use crate::ledger::DropReason;
use crate::wire::checksum::Sum;
use crate::wire::ipv4::{self, DONT_FRAGMENT, TCP};
use crate::wire::ipv6;
use crate::wire::octets::{set_u16, u8_at, u32_at};

/// Octets of a TCP header without options.
const TCP_HEADER: usize = 20;
/// Largest IP packet.
const LARGEST: usize = 65_535;

/// What must be known of a packet to merge it.
#[derive(Clone, Copy)]
struct Segment {
    /// From the start of the packet to its TCP header.
    l4: usize,
    /// From the start of the packet to its data.
    data: usize,
    /// Octets of data.
    len: usize,
    sequence: u32,
    identification: u16,
    /// It bears PSH: nothing is merged behind it.
    last: bool,
}

impl Segment {
    /// A packet that begins at its IP header and could be merged with others: of a connection that is open, with nothing
    /// unusual about it, and its checksums right.
    fn of(packet: &[u8]) -> Option<Segment> {
        let (l4, pseudo, identification) = match u8_at(packet, 0)? {
            0x45 => {
                let view = ipv4::Ipv4::parse(packet)?;
                let len = u16::try_from(packet.len().checked_sub(ipv4::MIN_HEADER)?).ok()?;
                let usual = view.total_len() == packet.len()
                    && view.flags_and_offset() & !DONT_FRAGMENT == 0
                    && view.protocol() == TCP
                    && Sum::of(view.header()).is_right();
                let pseudo = Sum::pseudo_v4(view.source(), view.destination(), TCP, len);
                usual.then_some((ipv4::MIN_HEADER, pseudo, view.id()))?
            }
            0x60..=0x6f => {
                let view = ipv6::Ipv6::parse(packet)?;
                let len = packet.len().checked_sub(ipv6::HEADER)?;
                let usual = view.payload_len() == len && view.next_header() == TCP;
                let pseudo = Sum::pseudo_v6(view.source(), view.destination(), TCP, u32::try_from(len).ok()?);
                usual.then_some((ipv6::HEADER, pseudo, 0))?
            }
            _ => return None,
        };
        let segment = packet.get(l4..)?;
        let header = usize::from(u8_at(segment, 12)? >> 4).checked_mul(4)?;
        let flags = u8_at(segment, 13)?;
        let len = segment.len().checked_sub(header)?;
        let usual = header >= TCP_HEADER && flags & !PSH == ACK && len > 0;
        (usual && pseudo.plus(Sum::of(segment)).is_right()).then_some(Segment {
            l4,
            data: l4.checked_add(header)?,
            len,
            sequence: u32_at(segment, 4)?,
            identification,
            last: flags & PSH != 0,
        })
    }

    /// True when the headers of two packets say the same, but for what differs from piece to piece.
    fn is_like(self, mine: &[u8], other: Segment, others: &[u8]) -> bool {
        let same = |from: usize, to: usize| mine.get(from..to) == others.get(from..to);
        let ip = match self.l4 {
            // Type of service; flags, hops and protocol; addresses.
            ipv4::MIN_HEADER => same(0, 2) && same(6, 10) && same(12, 20),
            // Class and label; next header, hops and addresses.
            _ => same(0, 4) && same(6, ipv6::HEADER),
        };
        let at = |offset: usize| self.l4.saturating_add(offset);
        (self.l4, self.data) == (other.l4, other.data)
            && ip
            // Ports; what is acknowledged, and the header's length; window; what follows the checksum.
            && same(at(0), at(4))
            && same(at(8), at(13))
            && same(at(14), at(16))
            && same(at(18), self.data)
    }
}

/// Packets that are to become one.
struct Run {
    first: Segment,
    /// The sequence number and identification that the next one must bear.
    next: (u32, u16),
    count: usize,
    /// Octets of all their data.
    len: usize,
}

/// Merges what can be merged of `packets`, each of which begins at its IP header and has nothing left undone. Order stays.
pub(super) fn merge(packets: &mut VecDeque<Frame>, egress: &mut Egress) {
    let mut rest = core::mem::take(packets);
    while let Some(packet) = rest.pop_front() {
        let run = Segment::of(packet.bytes()).map(|first| run(first, &packet, &rest));
        match run.filter(|run| run.count > 1) {
            None => packets.push_back(packet),
            Some(run) => {
                let parts = core::iter::once(packet).chain(rest.drain(..run.count.saturating_sub(1)));
                if let Some(large) = join(&run, parts, egress) {
                    packets.push_back(large);
                }
            }
        }
    }
}

/// How many of `rest` follow the packet `first` and can be merged with it.
fn run(first: Segment, packet: &Frame, rest: &VecDeque<Frame>) -> Run {
    let next = |segment: Segment, before: u32| {
        let len = u32::try_from(segment.len).unwrap_or(0);
        (before.wrapping_add(len), segment.identification.wrapping_add(1))
    };
    let mut run = Run { first, next: next(first, first.sequence), count: 1, len: first.len };
    let mut ended = first.last;
    for other in rest {
        let Some(segment) = Segment::of(other.bytes()).filter(|_| !ended) else { break };
        let follows = (segment.sequence, segment.identification)
            == (run.next.0, if first.l4 == ipv4::MIN_HEADER { run.next.1 } else { 0 });
        let fits = segment.len <= first.len
            && first.data.saturating_add(run.len).saturating_add(segment.len) <= LARGEST
            && run.count < MAX_SEGMENTS;
        if !follows || !fits || !first.is_like(packet.bytes(), segment, other.bytes()) {
            break;
        }
        run.next = next(segment, segment.sequence);
        run.count = run.count.saturating_add(1);
        run.len = run.len.saturating_add(segment.len);
        ended = segment.last || segment.len < first.len;
    }
    run
}

/// The large segment that stands for `parts`.
fn join(run: &Run, parts: impl Iterator<Item = Frame>, egress: &mut Egress) -> Option<Frame> {
    let Run { first, len, .. } = *run;
    let mut large = egress.copy(first.data.saturating_add(len));
    let mut whole = true;
    let mut flags = 0;
    for (index, part) in parts.enumerate() {
        let from = if index == 0 { 0 } else { first.data };
        whole &= part.bytes().get(from..).is_some_and(|bytes| large.extend(bytes));
        flags |= part.bytes().get(first.l4.saturating_add(13)).copied().unwrap_or(0);
        egress.consume(part);
    }
    let (Ok(start), Ok(size), true) = (u16::try_from(first.l4), u16::try_from(first.len), whole) else {
        egress.drop(large, DropReason::Internal);
        return None;
    };
    large.offload.checksum = Checksum::Partial { start, offset: 16 };
    let kind = if first.l4 == ipv4::MIN_HEADER { GsoKind::TcpV4 } else { GsoKind::TcpV6 };
    large.offload.gso = Some(Gso { kind, size, ecn: false });
    if write_headers(large.bytes_mut(), first, flags).is_none() {
        egress.drop(large, DropReason::Internal);
        return None;
    }
    Some(large)
}

/// Makes the headers of the first packet those of all.
fn write_headers(packet: &mut [u8], first: Segment, flags: u8) -> Option<()> {
    let total = packet.len();
    let len = total.checked_sub(first.l4)?;
    let pseudo = match first.l4 {
        ipv4::MIN_HEADER => {
            set_u16(packet, 2, u16::try_from(total).ok()?);
            ipv4::write_header_checksum(packet, ipv4::MIN_HEADER);
            let view = ipv4::Ipv4::parse(packet)?;
            Sum::pseudo_v4(view.source(), view.destination(), TCP, u16::try_from(len).ok()?)
        }
        _ => {
            set_u16(packet, 4, u16::try_from(len).ok()?);
            let view = ipv6::Ipv6::parse(packet)?;
            Sum::pseudo_v6(view.source(), view.destination(), TCP, u32::try_from(len).ok()?)
        }
    };
    let segment = packet.get_mut(first.l4..)?;
    *segment.get_mut(13)? = flags;
    set_u16(segment, 16, pseudo.value()).then_some(())
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;
    use core::net::{Ipv4Addr, Ipv6Addr};

    use super::*;
    use crate::forward::segment::split;
    use crate::wire::octets::{set_u8, set_u32};

    const SIZE: u16 = 1000;

    /// A large segment, as a Linux sender hands it to a virtual card.
    fn large(v6: bool, len: usize, flags: u8) -> Frame {
        let mut segment = alloc::vec![0; 32];
        set_u16(&mut segment, 0, 4000);
        set_u16(&mut segment, 2, 443);
        set_u32(&mut segment, 4, 0xffff_ff00);
        set_u32(&mut segment, 8, 99);
        set_u8(&mut segment, 12, 0x80);
        set_u8(&mut segment, 13, flags);
        set_u16(&mut segment, 14, 512);
        segment[20..].copy_from_slice(&[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
        segment.extend((0..len).map(|n| (n * 7 + n / 251) as u8));
        let total = segment.len();
        let (header, sum) = if v6 {
            let (source, destination) = (Ipv6Addr::from([1; 16]), Ipv6Addr::from([2; 16]));
            let header = ipv6::Header { source, destination, hop_limit: 63 };
            let sum = Sum::pseudo_v6(source, destination, TCP, total as u32);
            (header.to_bytes(TCP, total as u16).to_vec(), sum)
        } else {
            let (source, destination) = (Ipv4Addr::from([192, 0, 2, 1]), Ipv4Addr::from([198, 51, 100, 1]));
            let mut header = [0x45, 0, 0, 0, 0xff, 0xfe, 0x40, 0, 63, TCP, 0, 0].to_vec();
            header.extend(source.octets().into_iter().chain(destination.octets()));
            set_u16(&mut header, 2, (20 + total) as u16);
            ipv4::write_header_checksum(&mut header, 20);
            (header, Sum::pseudo_v4(source, destination, TCP, total as u16))
        };
        set_u16(&mut segment, 16, sum.value());
        let mut frame = Frame::with_capacity(crate::frame::LARGE);
        assert!(frame.extend(&header) && frame.extend(&segment));
        frame.offload.checksum = Checksum::Partial { start: header.len() as u16, offset: 16 };
        let kind = if v6 { GsoKind::TcpV6 } else { GsoKind::TcpV4 };
        frame.offload.gso = Some(Gso { kind, size: SIZE, ecn: false });
        frame
    }

    fn pieces(frame: Frame, egress: &mut Egress) -> VecDeque<Frame> {
        let mut out = VecDeque::new();
        egress.received(1);
        split(frame, 0, egress, &mut out).unwrap();
        out
    }

    /// What becomes of `packets`; no frame is lost from the accounts.
    fn merged(mut packets: VecDeque<Frame>, egress: &mut Egress) -> Vec<Frame> {
        merge(&mut packets, egress);
        assert!(egress.ledger().balance(packets.len()).holds());
        packets.into()
    }

    #[test]
    fn what_was_cut_becomes_what_it_was() {
        for v6 in [false, true] {
            for (len, flags) in [(1001, ACK), (2000, ACK), (2000, ACK | PSH), (60_001, ACK | PSH)] {
                let whole = large(v6, len, flags);
                let (bytes, offload) = (whole.bytes().to_vec(), whole.offload);
                let mut egress = Egress::new(&[]);
                let cut = pieces(whole, &mut egress);
                assert_eq!(cut.len(), len.div_ceil(usize::from(SIZE)));
                let all = merged(cut, &mut egress);
                assert_eq!(all.len(), 1, "{len} {v6}");
                assert_eq!((all[0].bytes(), all[0].offload), (&bytes[..], offload));
            }
        }
    }

    #[test]
    fn what_follows_a_short_or_pushed_packet_begins_anew() {
        let mut egress = Egress::new(&[]);
        let mut packets = pieces(large(false, 2500, ACK), &mut egress);
        packets.extend(pieces(large(false, 3000, ACK), &mut egress));
        let lens: Vec<usize> = merged(packets, &mut egress).iter().map(Frame::len).collect();
        assert_eq!(lens, [2552, 3052]);
    }

    #[test]
    fn a_packet_that_differs_stays_alone() {
        let changes: [fn(&mut [u8]); 9] = [
            |p| set_u8(p, 1, 1).then_some(()).unwrap(),      // type of service
            |p| set_u16(p, 4, 7).then_some(()).unwrap(),     // identification
            |p| set_u8(p, 8, 62).then_some(()).unwrap(),     // hops
            |p| set_u16(p, 20, 4001).then_some(()).unwrap(), // another connection
            |p| set_u32(p, 24, 0xffff_ff00).then_some(()).unwrap(), // a repetition
            |p| set_u32(p, 28, 100).then_some(()).unwrap(),  // what is acknowledged
            |p| set_u8(p, 33, ACK | 0x01).then_some(()).unwrap(), // FIN
            |p| set_u16(p, 34, 511).then_some(()).unwrap(),  // window
            |p| set_u8(p, 51, 3).then_some(()).unwrap(),     // time stamp
        ];
        for (index, change) in changes.into_iter().enumerate() {
            let mut egress = Egress::new(&[]);
            let mut packets = pieces(large(false, 3000, ACK), &mut egress);
            let middle = packets[1].bytes_mut();
            change(middle);
            ipv4::write_header_checksum(middle, 20);
            set_u16(middle, 36, 0);
            let len = middle.len() - 20;
            let pseudo = Sum::pseudo_v4([192, 0, 2, 1].into(), [198, 51, 100, 1].into(), TCP, len as u16);
            let checksum = pseudo.plus(Sum::of(&middle[20..])).checksum();
            set_u16(middle, 36, checksum);
            let middle = middle.to_vec();
            let all = merged(packets, &mut egress);
            assert_eq!(all.len(), 3, "change {index}");
            assert_eq!(all[1].bytes(), middle);
        }
    }

    #[test]
    fn a_wrong_checksum_is_not_made_right() {
        for at in [10, 36, 700] {
            let mut egress = Egress::new(&[]);
            let mut packets = pieces(large(false, 2000, ACK), &mut egress);
            packets[1].bytes_mut()[at] ^= 1;
            let before: Vec<Vec<u8>> = packets.iter().map(|frame| frame.bytes().to_vec()).collect();
            let all = merged(packets, &mut egress);
            assert_eq!(all.iter().map(Frame::bytes).collect::<Vec<_>>(), before, "at {at}");
        }
    }

    #[test]
    fn other_packets_pass_in_order() {
        let mut egress = Egress::new(&[]);
        let mut packets = pieces(large(true, 2000, ACK), &mut egress);
        let odd: [&[u8]; 4] = [&[], &[0x45], &[0x60; 50], &[0; 60]];
        egress.received(odd.len());
        packets.extend(odd.map(Frame::from_bytes));
        packets.extend(pieces(large(false, 2000, ACK), &mut egress));
        let lens: Vec<usize> = merged(packets, &mut egress).iter().map(Frame::len).collect();
        assert_eq!(lens, [2072, 0, 1, 50, 60, 2052]);
    }
}
