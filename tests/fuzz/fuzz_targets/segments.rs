//! Large segments: cut, they carry the same octets, in order, each with right lengths, numbers and checksums; whatever the
//! offload says of a frame that is none, nothing is lost.
#![no_main]

use std::collections::VecDeque;
use std::net::Ipv4Addr;

use genkan_fuzz::{Numbers, packet, sound};
use genkan_netstack::forward::segment::{MAX_SEGMENTS, complete_checksum, packet_len, split};
use genkan_netstack::frame::{Checksum, Egress, Frame, Gso, GsoKind};
use genkan_netstack::wire::checksum::Sum;
use genkan_netstack::wire::ipv4::{self, Ipv4};
use libfuzzer_sys::fuzz_target;

const ETHERNET: usize = 14;

fuzz_target!(|data: &[u8]| {
    let Some((&kind, data)) = data.split_first() else { return };
    if kind & 1 == 0 { honest(data) } else { wild(data) }
});

/// A large segment as a sender with every offload hands it over.
fn honest(data: &[u8]) {
    let mut input = Numbers(data);
    let (shape, size, copies) = (input.u8(), input.u16().max(1), usize::from(input.u8()) + 1);
    let (flags, options) = (input.u8(), input.u8());
    let ip_options = input.take(usize::from(options >> 4) * 4 % 44);
    let tcp_options = input.take(usize::from(options & 0x0f) * 4 % 44);
    let is_tcp = shape & 1 == 0;
    let payload = input.0.repeat(copies);
    let payload = &payload[..payload.len().min(65_000)];
    let mut segment = if is_tcp {
        let mut segment = vec![0x30, 0x39, 0, 80, 1, 2, 3, 4, 5, 6, 7, 8, 0, flags, 0x20, 0, 0, 0, 0, 0];
        segment.extend(tcp_options);
        segment.resize(segment.len().next_multiple_of(4), 0);
        segment[12] = (segment.len() as u8 / 4) << 4;
        segment
    } else {
        packet::udp(5000, 6000, &[])
    };
    let transport = segment.len();
    segment.extend(payload);
    if !is_tcp {
        segment[4..6].copy_from_slice(&(8 + payload.len() as u16).to_be_bytes());
    }
    let (source, destination) = (Ipv4Addr::new(192, 168, 1, 2), Ipv4Addr::new(192, 0, 2, 1));
    let protocol = if is_tcp { ipv4::TCP } else { ipv4::UDP };
    let mut whole = packet::ipv4(source, destination, protocol, ip_options, &segment);
    let header = whole.len() - segment.len();
    let at = if is_tcp { 16 } else { 6 };
    let partial = Sum::pseudo_v4(source, destination, protocol, segment.len() as u16).value();
    whole[header + at..header + at + 2].copy_from_slice(&partial.to_be_bytes());
    let mut frame = Frame::from_bytes(&packet::ethernet([2; 6], [4; 6], 0x0800, &whole));
    frame.offload.checksum = Checksum::Partial { start: (ETHERNET + header) as u16, offset: at as u16 };
    let gso = shape & 2 == 0;
    if gso {
        let kind = if is_tcp { GsoKind::TcpV4 } else { GsoKind::Udp };
        frame.offload.gso = Some(Gso { kind, size, ecn: flags & 0x80 != 0 });
    }
    let largest = packet_len(&frame, ETHERNET);

    let mut egress = Egress::new(&[]);
    egress.received(1);
    let mut pieces = VecDeque::new();
    if let Err(frame) = split(frame, ETHERNET, &mut egress, &mut pieces) {
        assert!(
            gso && payload.len().div_ceil(usize::from(size)) > MAX_SEGMENTS,
            "too many pieces, or none refused"
        );
        egress.consume(frame);
        assert!(egress.ledger().balance(0).holds());
        return;
    }
    let count = if gso { payload.len().div_ceil(usize::from(size)).max(1) } else { 1 };
    assert_eq!(pieces.len(), count);
    let mut carried: Vec<u8> = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        assert_eq!((piece.offload.checksum, piece.offload.gso), (Checksum::Complete, None));
        assert_eq!(piece.bytes()[..ETHERNET], packet::ethernet([2; 6], [4; 6], 0x0800, &[]));
        let view = sound::ipv4(&piece.bytes()[ETHERNET..]);
        assert!(largest.is_some_and(|largest| view.total_len() <= largest));
        assert_eq!(view.id(), 0x1234u16.wrapping_add(index as u16));
        let segment = view.payload();
        if is_tcp {
            let sequence = u32::from_be_bytes([segment[4], segment[5], segment[6], segment[7]]);
            assert_eq!(sequence, 0x0102_0304 + carried.len() as u32);
            let last = index + 1 == count;
            assert_eq!(
                segment[13] & 0x09,
                if last { flags & 0x09 } else { 0 },
                "FIN and PSH are the last one's"
            );
        } else {
            assert_ne!(segment[6..8], [0, 0], "UDP's checksum is there");
            assert_eq!(usize::from(u16::from_be_bytes([segment[4], segment[5]])), segment.len());
        }
        carried.extend(&segment[transport..]);
    }
    assert_eq!(carried, payload);
    pieces.into_iter().for_each(|piece| egress.consume(piece));
    assert!(egress.ledger().balance(0).holds());
}

/// Any frame with any offload.
fn wild(data: &[u8]) {
    let mut input = Numbers(data);
    let l3 = usize::from(input.u8());
    let kind = [GsoKind::TcpV4, GsoKind::TcpV6, GsoKind::Udp][usize::from(input.u8()) % 3];
    let gso = Gso { kind, size: input.u16(), ecn: false };
    let (start, offset) = (input.u16() % 512, input.u16() % 512);
    let mut frame = Frame::from_bytes(input.0);
    frame.offload.gso = (gso.size & 1 == 0).then_some(gso);
    frame.offload.checksum = Checksum::Partial { start, offset };

    let mut plain = frame.clone();
    plain.offload.gso = None;
    let fits = usize::from(start) + usize::from(offset) + 2 <= plain.len();
    assert_eq!(complete_checksum(&mut plain), fits);

    let largest = packet_len(&frame, l3);
    let (len, gso) = (frame.len(), frame.offload.gso);
    let mut egress = Egress::new(&[]);
    egress.received(1);
    let mut pieces = VecDeque::new();
    match split(frame, l3, &mut egress, &mut pieces) {
        Ok(()) => {
            assert!((1..=MAX_SEGMENTS).contains(&pieces.len()));
            for piece in pieces {
                assert!(piece.len() <= len);
                if let Some(gso) = gso {
                    let packet = &piece.bytes()[l3..];
                    assert!(largest.is_some_and(|largest| packet.len() <= largest));
                    if gso.kind == GsoKind::TcpV4 {
                        assert!(Ipv4::parse(packet).is_some());
                        sound::ipv4(packet);
                    }
                }
                egress.consume(piece);
            }
        }
        Err(frame) => {
            assert!(pieces.is_empty());
            assert_eq!(frame.bytes(), input.0, "given back as it was");
            egress.consume(frame);
        }
    }
    assert!(egress.ledger().balance(0).holds());
}
