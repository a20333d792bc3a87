//! Ethernet, PPPoE session and ARP headers: what is read can be written and read again.
#![no_main]

use genkan_netstack::arp;
use genkan_netstack::frame::{Frame, HEADROOM};
use genkan_netstack::id::Mac;
use genkan_netstack::wire::ethernet::{Header, ethertype};
use genkan_netstack::wire::pppoe::{SessionPacket, push_session, session_id};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((header, payload)) = Header::parse(data) else {
        assert!(data.len() < Header::LEN);
        assert!(arp::Packet::parse(data).is_err());
        return;
    };
    assert_eq!([&header.to_bytes(), payload].concat(), data, "an Ethernet header is written as it was read");
    if let Ok(packet) = arp::Packet::parse(data) {
        assert_eq!(header.ethertype, ethertype::ARP);
        for room in [0, arp::FRAME_LEN - 1, arp::FRAME_LEN, data.len()] {
            let mut frame = Frame::with_capacity(HEADROOM + room);
            let written = packet.emit(header.destination, &mut frame);
            assert_eq!(written, room >= arp::FRAME_LEN);
            if written {
                assert_eq!(arp::Packet::parse(frame.bytes()), Ok(packet));
            } else {
                assert!(frame.is_empty(), "nothing is left of a packet that does not fit");
            }
        }
    }
    if let Some(packet) = SessionPacket::parse(payload) {
        assert_eq!(session_id(payload), Some(packet.session));
        assert!(packet.packet.len() + 6 <= payload.len());
        let mut frame = Frame::from_bytes(packet.packet);
        assert!(push_session(&mut frame, header.source, Mac::BROADCAST, packet.session));
        let (again, payload) = Header::parse(frame.bytes()).expect("we wrote it");
        assert_eq!((again.source, again.destination), (header.source, Mac::BROADCAST));
        assert_eq!(SessionPacket::parse(payload), Some(packet));
    }
});
