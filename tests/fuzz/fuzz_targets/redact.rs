//! Captures without secrets: whatever the lengths in a packet say, nothing of the secret that it carries is left, and
//! everything in front of the PPP packet stays.
#![no_main]

use genkan_fuzz::{Numbers, damage};
use genkan_netstack::wire::redact::redact;
use libfuzzer_sys::fuzz_target;

/// No four octets of it are alike, nor any that the input is likely to bring.
const CANARY: &[u8] = b"\xc4\x4e\xa7\x91\xe3\xd8\xb2\x86\xf5\x9a\xcd\xe7\x82\xb9\xd4\xf1";

fuzz_target!(|data: &[u8]| {
    // Any frame keeps its length, and has nothing left to take out.
    let mut once = data.to_vec();
    redact(&mut once);
    assert_eq!(once.len(), data.len());
    let mut twice = once.clone();
    redact(&mut twice);
    assert_eq!(once, twice);

    let mut input = Numbers(data);
    let (vlans, wrappers, kind) = (input.u8() % 3, input.u8() % 3, input.u8() % 4);
    let edits = input.take(usize::from(input.0.first().copied().unwrap_or(0)) % 32);
    let name = input.take(20);
    let mut packet = match kind {
        0 => [&[0xc0, 0x23, 1, 7, 0, 0, name.len() as u8], name, &[16], CANARY].concat(),
        1 => [&[0xc2, 0x23, 2, 7, 0, 0, 16], CANARY, name].concat(),
        2 => [&[0xc2, 0x23, 2, 7, 0, 0, 49], CANARY, &[0; 8], CANARY, &CANARY[..9], name].concat(),
        _ => [&[0xc2, 0x27, 2, 7, 0, 0, 4, 16], CANARY, name].concat(),
    };
    let len = (packet.len() - 2) as u16;
    packet[4..6].copy_from_slice(&len.to_be_bytes());
    // Lengths, the identifier and what lies about the secret may be wrong; what the packet is, may not.
    let secret = packet.windows(CANARY.len()).position(|part| part == CANARY).expect("it is there");
    for [place, value] in edits.as_chunks().0 {
        let places: Vec<usize> = (3..secret).filter(|&at| !(kind == 3 && at == 6)).collect();
        packet[places[usize::from(*place) % places.len()]] = *value;
    }
    for wrapper in 0..wrappers {
        let [high, low] = (packet.len() as u16 + 4).to_be_bytes();
        let code = if wrapper == 0 { 8 } else { 7 };
        // A Code-Reject holds an LCP packet without its protocol field.
        let inner = if wrapper == 0 { &packet[..] } else { &packet[2..] };
        packet = [&[0xc0, 0x21, code, 1, high, low], inner].concat();
    }
    let mut frame = vec![2; 12];
    for _ in 0..vlans {
        frame.extend([0x81, 0, 0, 7]);
    }
    frame.extend([0x88, 0x64, 0x11, 0, 0, 9]);
    frame.extend((packet.len() as u16).to_be_bytes());
    let front = frame.len();
    frame.extend(&packet);
    // The capture may have cut it anywhere.
    damage(&mut frame, &[input.u8(), if input.u8() < 64 { 2 } else { 1 }, 0]);
    let before = frame.clone();
    redact(&mut frame);
    assert_eq!(frame.len(), before.len());
    let front = front.min(frame.len());
    assert_eq!(frame[..front], before[..front], "the headers stay");
    let told = CANARY.windows(4).find(|part| frame.windows(4).any(|have| have == *part));
    assert_eq!(told, None, "{frame:02x?}");
});
