//! ARP packets: what is read can be written and read again.
#![no_main]

use genkan_netstack::arp::Packet;
use genkan_netstack::frame::Frame;
use genkan_netstack::id::Mac;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(packet) = Packet::parse(data) else { return };
    for capacity in [0, 20, 41, 42, 128] {
        let mut frame = Frame::with_capacity(capacity);
        if packet.emit(Mac([2, 0, 0, 0, 0, 2]), &mut frame) {
            assert_eq!(Packet::parse(frame.bytes()), Ok(packet));
        } else {
            assert!(frame.is_empty());
        }
    }
});
