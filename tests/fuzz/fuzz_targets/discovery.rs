//! PPPoE discovery packets: what is read can be written into any room that is large enough, and read again.
#![no_main]

use genkan_netstack::frame::{Frame, HEADROOM};
use genkan_netstack::id::Mac;
use genkan_netstack::pppoe::DiscoveryFrame;
use genkan_netstack::wire::ethernet::Header;
use genkan_netstack::wire::pppoe::{Code, DISCOVERY_MAX, DiscoveryWriter, PADI_MAX, tag};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(frame) = DiscoveryFrame::parse(data) else { return };
    assert!(frame.source.is_station() && frame.source != Mac::BROADCAST);
    let packet = frame.packet;
    let tags: Vec<_> = packet.tags().collect();
    assert!(tags.iter().all(|tag| tag.kind != tag::END_OF_LIST));
    let names = packet.all(tag::SERVICE_NAME).count();
    assert_eq!(packet.only_service_name().is_some(), names == 1);
    assert!(
        packet.max_payload().is_none_or(|mtu| mtu > 1492),
        "a smaller one says nothing (RFC 4638 section 2)"
    );

    let len = 6 + tags.iter().map(|tag| 4 + tag.value.len()).sum::<usize>();
    let limit = if packet.code == Code::Padi { PADI_MAX } else { DISCOVERY_MAX };
    let whole = Header::LEN + len;
    for room in [0, Header::LEN + 5, whole - 1, whole, whole + 1, 2048] {
        let mut out = Frame::with_capacity(HEADROOM + room);
        let mut writer =
            DiscoveryWriter::begin(&mut out, frame.source, frame.destination, packet.code, packet.session);
        for tag in &tags {
            writer = writer.tag(tag.kind, tag.value);
        }
        let written = writer.finish();
        assert_eq!(written, room >= whole && len <= limit, "room {room}, length {len}");
        if written {
            let again = DiscoveryFrame::parse(out.bytes()).expect("what we write can be read");
            assert_eq!((again.source, again.destination), (frame.source, frame.destination));
            assert_eq!((again.packet.code, again.packet.session), (packet.code, packet.session));
            assert!(again.packet.tags().eq(tags.iter().copied()), "tags are written as they were read");
        } else {
            assert!(out.is_empty(), "nothing is left of a packet that does not fit");
        }
    }
});
