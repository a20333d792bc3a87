use genkan_netstack::id::PortId;
use genkan_netstack::sight::Point;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketBlock;
use pcap_file::pcapng::{Block, PcapNgReader};

use super::super::layers::tests::{ethernet, pppoe, udp};
use super::super::points::tests::points;
use super::*;

const START: Duration = Duration::from_secs(1_700_000_000);

fn ring(octets: u64) -> Ring {
    Ring::new(points(), octets).unwrap()
}

fn take(ring: &mut Ring, at: Duration, bytes: &[u8]) {
    ring.take(0, Direction::Received, at, std::iter::once(&Frame::from_bytes(bytes)));
}

fn kept(ring: &Ring) -> Vec<EnhancedPacketBlock<'static>> {
    let mut file = Vec::new();
    ring.snapshot().write(&mut file, "a test").unwrap();
    let mut reader = PcapNgReader::new(&file[..]).unwrap();
    let mut packets = Vec::new();
    while let Some(block) = reader.next_block() {
        if let Block::EnhancedPacket(packet) = block.unwrap().into_owned() {
            packets.push(packet);
        }
    }
    packets
}

fn lcp() -> Vec<u8> {
    pppoe(0xc021, &[9; 600])
}

fn data() -> Vec<u8> {
    ethernet(0x0800, &udp([10, 0, 0, 1], [10, 0, 0, 2], [5000, 443], &[7; 1000]))
}

#[test]
fn control_is_kept_in_full_and_data_by_its_head_in_the_order_of_time() {
    let mut ring = ring(1 << 20);
    take(&mut ring, START, &data());
    take(&mut ring, START + Duration::from_secs(1), &lcp());
    take(&mut ring, START + Duration::from_secs(2), &data());
    let kept: Vec<_> = kept(&ring).iter().map(|packet| (packet.data.len(), packet.original_len)).collect();
    assert_eq!(kept, [(HEAD, 1042), (622, 622), (HEAD, 1042)]);
}

#[test]
fn control_is_what_keeps_lines_and_lans_going() {
    let neighbour = [&[0x60, 0, 0, 0, 0, 24, 58, 255][..], &[0; 32], &[135, 0]].concat();
    let dhcp = udp([0; 4], [255; 4], [68, 67], b"");
    let tagged = [&[1; 12][..], &[0x81, 0, 0, 7], &ethernet(0x8863, &[0; 46])[12..]].concat();
    for frame in [
        ethernet(0x8863, &[0; 46]),
        ethernet(0x0806, &[0; 46]),
        ethernet(0x86dd, &neighbour),
        ethernet(0x0800, &dhcp),
        pppoe(0x0057, &neighbour),
        lcp(),
        tagged,
    ] {
        assert!(is_control(&frame), "{frame:02x?}");
    }
    let echo = [&neighbour[..40], &[128, 0]].concat();
    for frame in [data(), ethernet(0x86dd, &echo), pppoe(0x0021, &data()[14..]), vec![0; 13]] {
        assert!(!is_control(&frame), "{frame:02x?}");
    }
    for len in 0..neighbour.len() {
        is_control(&pppoe(0x0057, &neighbour[..len]));
    }
}

#[test]
fn memory_is_bounded_and_the_oldest_give_way() {
    let mut ring = ring(64 << 10);
    for second in 0..10_000 {
        take(&mut ring, START + Duration::from_secs(second), &lcp());
        take(&mut ring, START + Duration::from_secs(second), &data());
    }
    for part in [&ring.control, &ring.data] {
        let octets = part.records.len() * RECORD + part.octets.len();
        assert!(octets <= 32 << 10 && octets > 30 << 10, "{octets}");
    }
    let newest = kept(&ring).last().unwrap().timestamp;
    assert_eq!(newest, START + Duration::from_secs(9999));
    assert!(Ring::new(points(), 0).is_none());
    let mut tiny = Ring::new(points(), 100).unwrap();
    take(&mut tiny, START, &lcp());
    assert!(kept(&tiny).is_empty(), "what does not fit at all is left out");
}

#[test]
fn a_flood_of_data_leaves_the_seconds_before_it_and_all_control() {
    let mut ring = ring(4 << 20);
    for slice in 0..10 {
        let at = START + SLICE * slice;
        for _ in 0..BURST + 100 {
            take(&mut ring, at, &data());
        }
        take(&mut ring, at, &lcp());
    }
    let kept = kept(&ring);
    assert_eq!(kept.len(), 10 * (BURST as usize + 1));
    assert_eq!(ring.skipped, 1000);
}

#[test]
fn a_dropped_frame_is_kept_with_the_reason() {
    let mut ring = ring(1 << 20);
    let sighting = Sighting {
        journey: 1,
        point: Point::Drop,
        sent: false,
        frame: Frame::from_bytes(&data()),
        facts: vec![Fact::Dropped(DropReason::TtlExceeded)],
        lost_before: 0,
    };
    ring.take_drop(START, &sighting);
    let packets = ring.data.packets();
    assert_eq!(usize::from(packets[0].interface), points().number(Point::Drop));
    assert_ne!(usize::from(packets[0].interface), points().number(Point::Port(PortId(0))));
    assert!(packets[0].comments[0].contains("ttl-exceeded"), "{packets:?}");
}

/// TR-124 WAN.PPP.6: passwords are never displayed.
#[test]
fn tr124_wan_ppp_6_no_secret_enters_the_ring() {
    let secret = b"c4n4ry-s3cr3t";
    let pap = pppoe(0xc023, &[&[1, 1, 0, 24, 4][..], b"user", &[13], secret].concat());
    let mut ring = ring(1 << 20);
    take(&mut ring, START, &pap);
    let octets: Vec<u8> = ring.control.octets.iter().copied().collect();
    assert!(!octets.windows(4).any(|part| secret.windows(4).any(|known| known == part)));
    assert_eq!(ring.control.packets()[0].comments, ["secret overwritten"]);
}
