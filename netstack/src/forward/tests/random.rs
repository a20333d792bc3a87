//! Random lives: whatever happens in whatever order, every frame is accounted for, the tables agree, and what comes out is
//! a right packet. All that is checked after every step.

use alloc::vec;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use proptest::prelude::*;

use super::net::*;
use super::packet::{ACK, FIN, Packet, RST, SYN};
use crate::forward::{SessionOwner, Update};
use crate::settings::{Filtering, Transport};

#[derive(Debug, Clone)]
enum Step {
    Lan(u8, Ipv4Addr, u16, Kind),
    Wan(u8, u8, Kind),
    Subscriber(bool, Ipv4Addr, Kind),
    Router(u16),
    /// An error about one of the packets that have come out.
    Error(u8),
    Redial(bool),
    Down,
    Return(bool),
    Pass(u16),
    Silence(u8),
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Udp,
    Tcp(u8),
    Ping,
    Other,
    Fragments(bool),
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        3 => Just(Kind::Udp),
        4 => prop::sample::select(vec![SYN, SYN | ACK, ACK, FIN | ACK, RST]).prop_map(Kind::Tcp),
        2 => Just(Kind::Ping),
        1 => Just(Kind::Other),
        1 => any::<bool>().prop_map(Kind::Fragments),
    ]
}

fn destination() -> impl Strategy<Value = Ipv4Addr> {
    prop::sample::select(vec![
        SERVER, SERVER_2, OURS, OURS, OURS, OURS, OURS_LATER, OURS_2, ROUTER, HOST_2, VISITOR, ALICE_IP,
    ])
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0u8..4, destination(), 0u16..6, kind()).prop_map(|(h, d, p, k)| Step::Lan(h, d, p, k)),
        6 => (any::<u8>(), 0u8..3, kind()).prop_map(|(a, b, k)| Step::Wan(a, b, k)),
        2 => (any::<bool>(), destination(), kind()).prop_map(|(a, d, k)| Step::Subscriber(a, d, k)),
        2 => (0u16..4).prop_map(Step::Router),
        2 => any::<u8>().prop_map(Step::Error),
        1 => any::<bool>().prop_map(Step::Redial),
        1 => Just(Step::Down),
        1 => any::<bool>().prop_map(Step::Return),
        2 => prop::sample::select(vec![1u16, 30, 61, 241, 301, 7500]).prop_map(Step::Pass),
        1 => (0u8..4).prop_map(Step::Silence),
    ]
}

fn packets(kind: Kind, from: (Ipv4Addr, u16), to: (Ipv4Addr, u16)) -> Vec<Vec<u8>> {
    let one = |packet: Packet| Vec::from([packet.build()]);
    match kind {
        Kind::Udp => one(Packet::udp(from, to, b"payload")),
        Kind::Tcp(flags) => one(Packet::tcp(from, to, flags, b"")),
        Kind::Ping => one(Packet::ping(from.0, to.0, from.1)),
        Kind::Other => one(Packet::new(from.0, to.0, 47, Vec::from([1; 30]))),
        Kind::Fragments(backwards) => {
            let mut packet = Packet::udp(from, to, &[5; 3000]).may_fragment();
            packet.id = from.1;
            let mut fragments = packet.fragments(1400);
            if backwards {
                fragments.reverse();
            }
            fragments
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn tables_and_ledger_agree_in_every_life(
        steps in prop::collection::vec(step(), 1..120),
        filtering in prop::sample::select(vec![
            Filtering::EndpointIndependent, Filtering::AddressDependent, Filtering::AddressAndPortDependent,
        ]),
        few_ports in any::<bool>(),
    ) {
        let mut settings = with_forward(Transport::Udp, 4001, HOST, 4001);
        settings.nat.filtering = filtering;
        settings.nat.flows_per_host = 12;
        settings.nat.flows = 40;
        let mut net = Net::with(settings);
        if few_ports {
            net.forwarder.nat.set_ranges(Vec::from([4000..=4005]));
        }
        // External ends that have been seen, and packets that came out.
        let mut externals: Vec<(Ipv4Addr, u16)> = Vec::from([(OURS, 4001)]);
        let mut seen: Vec<(At, Vec<u8>)> = Vec::new();
        for step in steps {
            let out = match step {
                Step::Lan(host, to, port, kind) => {
                    let from = [HOST, HOST_2, VISITOR, SERVER][usize::from(host)];
                    let to = match externals.get(usize::from(port)) {
                        Some(end) if to == OURS => *end,
                        _ => (to, 4000 + port),
                    };
                    let mut all = Out::default();
                    for packet in packets(kind, (from, 4000 + port), to) {
                        all.0.extend(net.lan_bytes(&packet).0);
                    }
                    all
                }
                Step::Wan(end, port, kind) => {
                    let end = externals[usize::from(end) % externals.len()];
                    let mut all = Out::default();
                    for packet in packets(kind, (SERVER, 4000 + u16::from(port)), end) {
                        all.0.extend(net.wan_bytes(&packet).0);
                    }
                    all
                }
                Step::Subscriber(honest, to, kind) => {
                    let from = if honest { ALICE_IP } else { BOB_IP };
                    let mut all = Out::default();
                    for packet in packets(kind, (from, 4000), (to, 4001)) {
                        all.0.extend(net.session(SessionOwner::Subscriber(ALICE), &packet).0);
                    }
                    all
                }
                Step::Router(port) => net.router(Packet::udp((OURS, 4000 + port), (SERVER, 4000), b"q")),
                Step::Error(which) => match seen.get(usize::from(which) % seen.len().max(1)).cloned() {
                    Some((At::ISP, about)) => net.wan(Packet::error(HOP, 3, 1, &about, 8)),
                    Some((At::Station(host), about)) => net.lan(Packet::error(host, 3, 3, &about, 100)),
                    _ => Out::default(),
                },
                Step::Redial(same) => {
                    net.wan_down(ISP);
                    net.wan_up(ISP, if same { OURS } else { OURS_LATER });
                    Out::default()
                }
                Step::Down => {
                    net.wan_down(ISP);
                    Out::default()
                }
                Step::Return(other) => {
                    let owner = SessionOwner::Subscriber(ALICE);
                    net.apply(Update::SessionClosed { owner });
                    net.subscriber_up(ALICE, if other { BOB_IP } else { ALICE_IP });
                    Out::default()
                }
                Step::Pass(seconds) => net.pass(u64::from(seconds)),
                Step::Silence(host) => {
                    let host = [HOST, HOST_2, VISITOR, ALICE_IP][usize::from(host)];
                    match net.silent.iter().position(|silent| *silent == host) {
                        Some(at) => drop(net.silent.remove(at)),
                        None => net.silent.push(host),
                    }
                    Out::default()
                }
            };
            net.check();
            for (at, read) in out.0 {
                if at == At::ISP && read.source.1 != 0 && externals.len() < 200 {
                    externals.push(read.source);
                }
                if seen.len() < 200 && read.flags & 0x3fff == 0 {
                    seen.push((at, read.bytes));
                }
            }
        }
        // When all is over nothing is left.
        net.pass(20_000);
        prop_assert_eq!(net.forwarder.flow_count(), 0);
        prop_assert_eq!(net.forwarder.mapping_count(), 1);
        prop_assert_eq!(net.forwarder.held(), 0);
    }
}
