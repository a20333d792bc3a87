//! Every seed packet, cut at every octet and with every bit flipped, into a link in every phase.

use super::*;

const SEEDS: &[(u16, &[u8])] = &[
    (protocol::LCP, &[1, 1, 0, 18, 1, 4, 5, 0xd4, 3, 4, 0xc0, 0x23, 5, 6, 1, 2, 3, 4]),
    (protocol::LCP, &[2, 1, 0, 8, 1, 4, 5, 0xd4]),
    (protocol::LCP, &[3, 1, 0, 8, 1, 4, 5, 0xd4]),
    (protocol::LCP, &[4, 1, 0, 8, 1, 4, 5, 0xd4]),
    (protocol::LCP, &[5, 1, 0, 7, b'b', b'y', b'e']),
    (protocol::LCP, &[7, 1, 0, 8, 9, 1, 0, 4]),
    (protocol::LCP, &[8, 1, 0, 10, 0x80, 0x57, 1, 1, 0, 4]),
    (protocol::LCP, &[9, 1, 0, 10, 1, 2, 3, 4, 5, 6]),
    (protocol::LCP, &[12, 1, 0, 10, 1, 2, 3, 4, b'a', b'b']),
    (protocol::PAP, &[1, 1, 0, 10, 2, b'u', b's', 2, b'p', b'w']),
    (protocol::PAP, &[2, 1, 0, 7, 2, b'o', b'k']),
    (
        protocol::CHAP,
        &[1, 1, 0, 24, 16, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, b'a', b'c', b'1'],
    ),
    (protocol::CHAP, &[3, 1, 0, 6, b'o', b'k']),
    (protocol::IPCP, &[1, 1, 0, 22, 3, 6, 1, 2, 3, 4, 129, 6, 0, 0, 0, 0, 131, 6, 0, 0, 0, 0]),
    (protocol::IPCP, &[3, 1, 0, 10, 3, 6, 1, 2, 3, 4]),
    (protocol::IPV6CP, &[1, 1, 0, 14, 1, 10, 2, 0, 0x5e, 0xff, 0xfe, 0, 0x53, 2]),
    (protocol::IPV6CP, &[3, 1, 0, 14, 1, 10, 0, 0, 0, 0, 0, 0, 0, 9]),
    (protocol::IPV6CP, &[4, 1, 0, 14, 1, 10, 2, 0, 0x5e, 0xff, 0xfe, 0, 0x53, 1]),
];

fn benches() -> Vec<Bench> {
    let mut opening = Bench::client(client_settings());
    opening.open(1492);
    let mut serving = Bench::server(server_settings(&ALL));
    serving.open(1492);
    let mut asking = Bench::server(server_settings(&[Authentication::MsChapV2]));
    asking.open(1492);
    asking.agree(protocol::LCP, &[5, 6, 9, 9, 9, 9]);
    let mut networking = Bench::server(server_settings(&[Authentication::Pap]));
    networking.open(1492);
    networking.agree(protocol::LCP, &[5, 6, 9, 9, 9, 9]);
    networking.give(protocol::PAP, 1, 1, b"\x01u\x01p").unwrap();
    networking.with(|link, cx| {
        link.authenticate(cx, Some(&Secret::new("p")));
        link.assign(cx, ASSIGNMENT);
    });
    vec![
        opening,
        serving,
        asking,
        networking,
        Bench::client_at_pap(client_settings()).0,
        Bench::client_at_ipcp(),
        Bench::client_up(),
        Bench::dual_up(),
        Bench::server_at_ipv6cp().0,
    ]
}

/// Gives a packet, lets the link work it off, and opens it again when that ended it.
fn feed(bench: &mut Bench, protocol: u16, information: &[u8]) {
    let _ = bench.receive(protocol, information);
    let sent = bench.sent();
    assert!(sent.iter().all(|packet| packet.data.len() + 4 <= 1500));
    bench.events();
    bench.now += Duration::from_millis(700);
    bench.with(|link, cx| link.handle_timeout(cx));
    bench.open(1492);
}

#[test]
fn every_truncation_and_every_flipped_bit_is_harmless_in_every_phase() {
    for mut bench in benches() {
        for &(protocol, seed) in SEEDS {
            for cut in 0..seed.len() {
                feed(&mut bench, protocol, &seed[..cut]);
            }
        }
    }
    for mut bench in benches() {
        for &(protocol, seed) in SEEDS {
            for bit in 0..seed.len() * 8 {
                let mut bytes = seed.to_vec();
                bytes[bit / 8] ^= 1 << (bit % 8);
                feed(&mut bench, protocol, &bytes);
            }
        }
    }
}

#[test]
fn random_packets_are_harmless_in_every_phase() {
    use crate::rng::Rng;
    let mut rng = SeededRng::from_u64(7);
    for mut bench in benches() {
        for _ in 0..3000 {
            let (protocol, _) = SEEDS[rng.below(SEEDS.len() as u64) as usize];
            let mut bytes = vec![0; 4 + rng.below(40) as usize];
            rng.fill(&mut bytes);
            bytes[0] = rng.below(16) as u8;
            bytes[1] = rng.below(4) as u8;
            bytes[2] = 0;
            bytes[3] = bytes.len() as u8;
            feed(&mut bench, protocol, &bytes);
        }
    }
}
