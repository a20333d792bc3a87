//! PPP control packets, their options and what authentication puts in them: what is read lies within the packet, and can be
//! written within any limit that is large enough, and read again.
#![no_main]

use genkan_netstack::wire::auth::{ChapValue, MsChapV2Response, PapRequest, pap_message};
use genkan_netstack::wire::ppp::{HEADER, Options, Packet, PacketBuilder, protocol};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(packet) = Packet::parse(data) else { return };
    assert_eq!(packet.bytes().len(), HEADER + packet.data().len());
    assert!(data.starts_with(packet.bytes()));
    let _ = (packet.magic(), packet.rejected_protocol(), pap_message(packet.data()));

    again(packet, |out| out.put(packet.data()), packet.data().len());
    if let Some(options) = Options::parse(packet.data()) {
        let write = |out: &mut PacketBuilder| options.for_each(|option| out.option(option.kind, option.data));
        again(packet, write, packet.data().len());
        let octets: usize = options.map(|option| option.bytes.len()).sum();
        assert_eq!(octets, packet.data().len(), "options fill the packet");
    }
    if let Some(request) = PapRequest::parse(packet.data()) {
        let len = request.peer_id.len() + request.password.len() + 2;
        again(Packet::parse(data).expect("as before"), |out| request.emit(out), len);
    }
    if let Some(chap) = ChapValue::parse(packet.data()) {
        again(packet, |out| chap.emit(out), packet.data().len());
        if let Some(response) = MsChapV2Response::parse(chap.value) {
            assert_eq!(MsChapV2Response::parse(&response.to_value()), Some(response));
        }
    }
});

/// Writes `len` octets of the packet's data by `write`, within limits about its length, and reads them again.
fn again(packet: Packet<'_>, write: impl Fn(&mut PacketBuilder), len: usize) {
    let whole = HEADER + len;
    for limit in [0, HEADER, whole - 1, whole, whole + 1, 65_535] {
        let Ok(limit) = u16::try_from(limit) else { continue };
        let mut out = PacketBuilder::new(protocol::LCP, packet.code(), packet.identifier(), limit);
        write(&mut out);
        let written = out.finish();
        assert_eq!(written.is_some(), usize::from(limit) >= whole, "limit {limit}, length {whole}");
        if let Some(written) = written {
            let read = Packet::parse(&written[2..]).expect("what we write can be read");
            assert_eq!((read.code(), read.identifier()), (packet.code(), packet.identifier()));
            assert_eq!(read.data(), &packet.data()[..len]);
        }
    }
}
