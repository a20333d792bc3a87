//! Fragments: cutting, following and joining. Every octet of a datagram passes once, what is cut is joined again as it was,
//! and every frame is accounted for.
#![no_main]

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;

use genkan_fuzz::{Numbers, Script, World, packet, sound};
use genkan_netstack::forward::fragment::{Fragments, Limits, Passage};
use genkan_netstack::forward::mtu::fragment;
use genkan_netstack::forward::reassemble::Reassembler;
use genkan_netstack::frame::{Egress, Frame};
use genkan_netstack::id::{Interface, LanId};
use genkan_netstack::table::Seed;
use genkan_netstack::time::Duration;
use genkan_netstack::wire::ipv4::{DONT_FRAGMENT, Ipv4, write_header_checksum};
use libfuzzer_sys::fuzz_target;

const LAN: Interface = Interface::Lan(LanId(0));
const LIMITS: Limits = Limits {
    datagrams: 8,
    datagrams_per_source: 6,
    frames: 24,
    frames_per_source: 16,
    lifetime: Duration::from_secs(15),
};

fuzz_target!(|data: &[u8]| {
    let Some((&kind, data)) = data.split_first() else { return };
    if kind & 1 == 0 { cut_and_join(data) } else { strangers(data) }
});

/// A whole packet is cut, maybe twice, and joined from its pieces in any order.
fn cut_and_join(data: &[u8]) {
    let mut input = Numbers(data);
    let mtu = 28 + input.u16() % 1473;
    let smaller = 28 + input.u16() % 1473;
    let order = [input.u8(), input.u8(), input.u8()];
    let (copies, protocol) = (usize::from(input.u8() % 8 + 1), input.u8());
    let options = input.u8();
    let options = input.take(usize::from(options % 41));
    let payload = input.0.repeat(copies);
    let source = Ipv4Addr::new(192, 168, 1, 2);
    let whole = packet::ipv4(source, Ipv4Addr::new(192, 0, 2, 1), protocol, options, &payload);
    let original = Ipv4::parse(&whole).expect("we built it");

    let mut egress = Egress::new(&[]);
    egress.received(1);
    let mut pieces = VecDeque::new();
    if let Err(frame) = fragment(Frame::from_bytes(&whole), mtu, &mut egress, &mut pieces) {
        assert!(usize::from(mtu) < original.header_len() + 8, "only a header may leave no room");
        egress.consume(frame);
        assert!(egress.ledger().balance(0).holds());
        return;
    }
    let mut twice = VecDeque::new();
    for piece in pieces {
        assert!(piece.len() <= usize::from(mtu));
        let small = fragment(piece, smaller, &mut egress, &mut twice);
        if let Err(piece) = small {
            twice.push_back(piece);
        }
    }
    let mut next = 0;
    for piece in &twice {
        let view = sound::ipv4(piece.bytes());
        assert_eq!(view.fragment_offset(), next, "the pieces are in order and leave nothing out");
        assert!(original.payload()[next..].starts_with(view.payload()));
        next += view.payload().len();
    }
    assert_eq!(next, original.payload().len());

    let count = twice.len();
    if count == 1 || count > LIMITS.frames_per_source || original.flags_and_offset() & DONT_FRAGMENT != 0 {
        twice.drain(..).for_each(|piece| egress.consume(piece));
        assert!(egress.ledger().balance(0).holds());
        return;
    }
    let mut world = World::default();
    let mut joiner = Reassembler::new(LIMITS, Seed::draw(world.cx().rng));
    let mut joined = None;
    for (index, turn) in order.into_iter().cycle().take(count).enumerate() {
        let piece = twice.remove(usize::from(turn) % twice.len()).expect("there is one");
        let done = joiner.handle(world.now, LAN, piece, &mut egress);
        assert!(done.is_none() || index + 1 == count, "not before the last piece");
        joined = done;
    }
    // A piece that cuts the transport header is refused, and with it the datagram.
    if let Some(joined) = joined {
        let view = sound::ipv4(joined.bytes());
        assert_eq!(view.payload(), original.payload(), "joined as it was");
        assert_eq!(view.header()[20..], original.header()[20..], "with the options of the first");
        egress.consume(joined);
    } else {
        assert!(egress.ledger().dropped_total() > 0, "a datagram is joined, or somebody knows why not");
    }
    assert!(egress.ledger().balance(joiner.held()).holds());
    world.now += LIMITS.lifetime * 2;
    joiner.handle_timeout(world.now, &mut egress);
    assert_eq!(joiner.held(), 0);
    assert!(egress.ledger().balance(0).holds());
}

/// Octets of one datagram that have passed.
#[derive(Default)]
struct Passed {
    spans: Vec<(usize, usize)>,
    total: Option<usize>,
}

/// Fragments that anybody may send.
fn strangers(data: &[u8]) {
    let mut world = World::default();
    let mut egress = Egress::new(&[]);
    let mut passing = Fragments::new(LIMITS, Seed::draw(world.cx().rng));
    let mut joiner = Reassembler::new(LIMITS, Seed::draw(world.cx().rng));
    let mut passed: BTreeMap<_, Passed> = BTreeMap::new();
    for step in Script(data) {
        if step.operation & 7 == 7 {
            world.pass(step.data, passing.poll_timeout());
            passing.handle_timeout(world.now, &mut egress);
            joiner.handle_timeout(world.now, &mut egress);
            assert!(passing.poll_timeout().is_none_or(|at| at > world.now), "what is due is done");
            assert!(joiner.poll_timeout().is_none_or(|at| at > world.now), "what is due is done");
            passed.clear();
            continue;
        }
        let bytes = if step.operation & 1 == 0 { step.data.to_vec() } else { piece(step.data) };
        let copy = Frame::from_bytes(&bytes);
        egress.received(2);
        if let Some(whole) = joiner.handle(world.now, LAN, copy, &mut egress) {
            let view = sound::ipv4_header(whole.bytes());
            assert!(!view.is_fragment());
            egress.consume(whole);
        }
        let mut out = Vec::new();
        match passing.handle(world.now, LAN, Frame::from_bytes(&bytes), &mut egress) {
            Passage::First(frame, key) => {
                out.push(frame);
                if step.operation & 2 == 0 {
                    out.extend(passing.decided(&key, ()));
                }
            }
            Passage::Follows(frame, ()) => out.push(frame),
            Passage::Kept => {}
        }
        for frame in out {
            let view = Ipv4::parse(frame.bytes()).expect("only sound ones pass");
            assert_eq!(view.total_len(), frame.len(), "padding is gone");
            let (start, end) = (view.fragment_offset(), view.fragment_offset() + view.payload().len());
            assert!(end <= 65_535 - view.header_len());
            let key = (view.source(), view.destination(), view.id(), view.protocol());
            let seen = passed.entry(key).or_default();
            let overlaps = seen.spans.iter().any(|&(from, to)| from < end && start < to);
            assert!(!overlaps, "no octet passes twice: {start}..{end} of {:?}", seen.spans);
            seen.spans.push((start, end));
            if !view.more_fragments() {
                assert_eq!(seen.total, None, "a datagram ends once");
                seen.total = Some(end);
            }
            let octets: usize = seen.spans.iter().map(|(from, to)| to - from).sum();
            if seen.total == Some(octets) {
                passed.remove(&key);
            }
            egress.consume(frame);
        }
        assert!(passing.held() <= LIMITS.frames && joiner.held() <= LIMITS.frames);
        assert!(egress.ledger().balance(passing.held() + joiner.held()).holds());
    }
}

/// A sound fragment of one of a few datagrams.
fn piece(data: &[u8]) -> Vec<u8> {
    let mut input = Numbers(data);
    let (who, field, len) =
        (input.u8(), input.u16(), usize::from(input.u8()) * 8 + usize::from(input.u8() % 8));
    let protocol = [6, 17, 1, 47][usize::from(who >> 2) % 4];
    let source = Ipv4Addr::new(192, 168, 1, who & 1);
    let payload: Vec<u8> = data.iter().copied().cycle().take(if data.is_empty() { 0 } else { len }).collect();
    let mut packet = packet::ipv4(source, Ipv4Addr::new(192, 0, 2, 1), protocol, &[], &payload);
    packet[5] = who & 2;
    packet[6..8].copy_from_slice(&(field & 0x3fff).to_be_bytes());
    write_header_checksum(&mut packet, 20);
    packet
}
