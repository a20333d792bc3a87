//! PPPoE packets: what is read can be written and read again, and a capture keeps its shape.
#![no_main]

use genkan_netstack::frame::Frame;
use genkan_netstack::id::Mac;
use genkan_netstack::wire::ethernet::Header;
use genkan_netstack::wire::pppoe::{Discovery, DiscoveryWriter, SessionPacket, push_session};
use genkan_netstack::wire::redact::redact;
use libfuzzer_sys::fuzz_target;

const OURS: Mac = Mac([2, 0, 0, 0, 0, 1]);
const PEER: Mac = Mac([2, 0, 0, 0, 0, 2]);

fuzz_target!(|data: &[u8]| {
    if let Some(packet) = Discovery::parse(data) {
        let _ = (packet.only_service_name(), packet.max_payload());
        for capacity in [16, 40, 64, 1514, 2048] {
            let mut frame = Frame::with_capacity(capacity);
            let mut writer = DiscoveryWriter::begin(&mut frame, OURS, PEER, packet.code, packet.session);
            for tag in packet.tags() {
                writer = writer.tag(tag.kind, tag.value);
            }
            if writer.finish() {
                let again = Discovery::parse(&frame.bytes()[Header::LEN..]).expect("what we write can be read");
                assert!(again.tags().eq(packet.tags()), "tags are written as they were read");
            } else {
                assert!(frame.is_empty(), "nothing is left of a packet that does not fit");
            }
        }
    }
    if let Some(packet) = SessionPacket::parse(data) {
        let mut frame = Frame::from_bytes(packet.packet);
        assert!(push_session(&mut frame, OURS, PEER, packet.session));
        assert_eq!(SessionPacket::parse(&frame.bytes()[Header::LEN..]), Some(packet));
    }
    let mut once = data.to_vec();
    redact(&mut once);
    assert_eq!(once.len(), data.len());
    let mut twice = once.clone();
    redact(&mut twice);
    assert_eq!(once, twice, "there is nothing left to redact");
});
