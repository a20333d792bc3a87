//! IPv4 packets: checksums, ICMP errors about them and in them, TCP resets and the MSS. What we make of any packet is a
//! sound packet.
#![no_main]

use std::net::Ipv4Addr;

use genkan_fuzz::{packet, sound};
use genkan_netstack::forward::icmp::{Embedded, IcmpError, MAX_ERROR, Offender, Quoted, told_mtu};
use genkan_netstack::forward::mtu::{clamp_mss, mss_of};
use genkan_netstack::forward::reset::{RESET, write_reset};
use genkan_netstack::frame::{Checksum, Frame};
use genkan_netstack::wire::checksum::{Delta, Sum, update};
use genkan_netstack::wire::ipv4::{self, Ipv4, write_header_checksum};
use libfuzzer_sys::fuzz_target;

const ROUTER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);

fuzz_target!(|data: &[u8]| {
    sums(data);
    // As it came, and with everything that a sender sums made right.
    let mut repaired = data.to_vec();
    packet::repair(&mut repaired);
    for bytes in [data, &repaired] {
        let Some(packet) = Ipv4::parse(bytes) else { continue };
        assert_eq!(packet.header_len() + packet.payload().len(), packet.total_len());
        assert!(packet.total_len() <= bytes.len());
        errors(bytes, packet);
        resets(bytes, packet);
        clamping(&bytes[..packet.total_len()]);
        quotation(packet);
    }
});

/// A sum does not care how it is taken, and an update leads where a new sum does.
fn sums(data: &[u8]) {
    let words =
        data.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word.get(1).copied().unwrap_or(0)));
    let mut plain: u32 = words.sum();
    while plain > 0xffff {
        plain = (plain & 0xffff) + (plain >> 16);
    }
    assert_eq!(u32::from(Sum::of(data).value()), plain);
    if let Some((&[a, b, c, d, e, f], rest)) = data.split_first_chunk() {
        let (at, new) = (usize::from(u16::from_be_bytes([a, b])), u16::from_be_bytes([c, d]));
        let mut header = rest.to_vec();
        if write_header_checksum(&mut header, 20) && header.len() >= 20 {
            let at = at % 10 * 2;
            let old = u16::from_be_bytes([header[at], header[at + 1]]);
            let field = u16::from_be_bytes([header[10], header[11]]);
            if at != 10 {
                header[at..at + 2].copy_from_slice(&new.to_be_bytes());
                header[10..12].copy_from_slice(&update(field, old, new).to_be_bytes());
                let all_zero = header[..20].iter().all(|&octet| octet == 0);
                assert!(
                    all_zero || Sum::of(&header[..20]).is_right(),
                    "an update leads where a new sum does"
                );
            }
        }
        let field = u16::from_be_bytes([e, f]);
        let delta = Delta::of(u16::from_be_bytes([a, b]), new);
        let back = Delta::of(new, u16::from_be_bytes([a, b]));
        let again = back.apply(delta.apply(field));
        assert!(
            again == field || again == !field && (field == 0 || field == 0xffff),
            "a change can be taken back"
        );
        assert!(delta.apply_udp(field) != 0 || field == 0, "UDP's checksum never becomes none");
    }
}

fn errors(bytes: &[u8], packet: Ipv4<'_>) {
    let Some(offender) = Offender::of(bytes) else { return };
    assert_eq!(offender.source(), packet.source());
    for error in
        [IcmpError::TtlExceeded, IcmpError::FragmentationNeeded { mtu: 1400 }, IcmpError::PortUnreachable]
    {
        let mut out = Frame::with_capacity(2048);
        assert!(offender.write(error, ROUTER, &mut out));
        assert!(out.len() <= MAX_ERROR);
        let answer = sound::ipv4(out.bytes());
        assert_eq!((answer.source(), answer.destination()), (ROUTER, packet.source()));
        assert_eq!(
            told_mtu(answer.payload()),
            (error == IcmpError::FragmentationNeeded { mtu: 1400 }).then_some(1400)
        );
        if let Some(quoted) = Embedded::parse(answer.payload()) {
            assert_eq!((quoted.source, quoted.destination), (packet.source(), packet.destination()));
        }
        assert!(Offender::of(out.bytes()).is_none(), "an error is not answered by an error");
        let mut small = Frame::with_capacity(2048);
        let room = small.tailroom() - out.len() + 1;
        assert!(small.put(room).is_some());
        assert!(!offender.write(error, ROUTER, &mut small) && small.len() == room, "no room, no change");
    }
}

fn resets(bytes: &[u8], packet: Ipv4<'_>) {
    let mut out = Frame::with_capacity(2048);
    if !write_reset(bytes, &mut out) {
        assert!(out.is_empty());
        return;
    }
    assert_eq!(out.len(), RESET);
    let reset = sound::ipv4(out.bytes());
    assert_eq!((reset.source(), reset.destination()), (packet.destination(), packet.source()));
    assert!(!write_reset(out.bytes(), &mut Frame::with_capacity(2048)), "a reset is not answered by a reset");
}

fn clamping(bytes: &[u8]) {
    let Some(packet) = Ipv4::parse(bytes) else { return };
    let was_right = packet.protocol() == ipv4::TCP && sound::transport_is_right(packet);
    let max = mss_of(1492);
    let mut clamped = bytes.to_vec();
    let changed = clamp_mss(&mut clamped, max, Checksum::Complete);
    assert_eq!(changed, clamped != bytes);
    assert!(!clamp_mss(&mut clamped.clone(), max, Checksum::Complete), "once is enough");
    if changed && was_right && !packet.is_fragment() {
        assert!(sound::transport_is_right(Ipv4::parse(&clamped).expect("its headers are as they were")));
    }
}

/// Translating the packet that an ICMP error quotes, and back.
fn quotation(packet: Ipv4<'_>) {
    if packet.protocol() != ipv4::ICMP || packet.is_fragment() {
        return;
    }
    let message = packet.payload();
    let Some(quoted) = Embedded::parse(message) else { return };
    assert!(quoted.transport <= message.len());
    let new = Embedded {
        source: ROUTER,
        quoted: match quoted.quoted {
            Quoted::Ports { destination, .. } => Quoted::Ports { source: 40_000, destination },
            Quoted::Query { kind, .. } => Quoted::Query { kind, id: 40_000 },
            Quoted::Nothing => Quoted::Nothing,
        },
        ..quoted
    };
    let mut translated = message.to_vec();
    assert!(quoted.rewrite(&mut translated, &new));
    assert_eq!(Embedded::parse(&translated), Some(new));
    if Sum::of(message).is_right() {
        assert!(
            Sum::of(&translated).is_right(),
            "the message's checksum follows: {message:02x?} {translated:02x?}"
        );
    }
    let other = match quoted.quoted {
        Quoted::Nothing => Quoted::Query { kind: 8, id: 1 },
        _ => Quoted::Nothing,
    };
    let before = translated.clone();
    assert!(!new.rewrite(&mut translated, &Embedded { quoted: other, ..new }));
    assert_eq!(translated, before, "refused, and no change");
}
