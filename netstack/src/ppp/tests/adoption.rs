//! Links that an earlier run of the program has left open.

use super::*;
use crate::ppp::{Agreement, DownReason, InterfaceId, Ipv6Agreement, NetworkDownReason, Phase};
use crate::wire::auth::ChapValue;

const MAGIC: [u8; 6] = [5, 6, 1, 2, 3, 4];
const TOLD: [u8; 18] = [3, 6, 100, 64, 3, 7, 129, 6, 192, 0, 2, 53, 131, 6, 192, 0, 2, 54];

/// A client that speaks both families.
fn settings() -> ClientSettings {
    ClientSettings { ipv6: InterfaceId::new(0x1234), ..client_settings() }
}

/// A client that is online with both families, by PAP, CHAP or no proof.
fn online(authentication: Option<Authentication>) -> Bench {
    let mut bench = Bench::client(settings());
    bench.open(1492);
    let mut sent = match authentication {
        None => bench.agree(protocol::LCP, &MAGIC),
        Some(Authentication::Pap) => {
            let request = bench.agree(protocol::LCP, &[&[3, 4, 0xc0, 0x23], &MAGIC[..]].concat()).remove(0);
            bench.give(protocol::PAP, 2, request.identifier, &[0]).unwrap();
            bench.sent()
        }
        Some(_) => {
            bench.agree(protocol::LCP, &[&[3, 5, 0xc2, 0x23, 5], &MAGIC[..]].concat());
            bench.give(protocol::CHAP, 1, 7, &challenge(1)).unwrap();
            bench.sent();
            bench.give(protocol::CHAP, 3, 7, b"").unwrap();
            bench.sent()
        }
    };
    let request = |number| move |sent: &Sent| sent.is(number, code::CONFIGURE_REQUEST);
    let ipcp = sent.remove(sent.iter().position(request(protocol::IPCP)).unwrap());
    let ipv6cp = sent.remove(sent.iter().position(request(protocol::IPV6CP)).unwrap());
    bench.give(protocol::IPCP, code::CONFIGURE_NAK, ipcp.identifier, &TOLD).unwrap();
    bench.agree(protocol::IPCP, &[3, 6, 100, 64, 0, 1]);
    bench.give(protocol::IPV6CP, code::CONFIGURE_ACK, ipv6cp.identifier, &ipv6cp.data).unwrap();
    bench.give(protocol::IPV6CP, code::CONFIGURE_REQUEST, 1, &[1, 10, 0, 0, 0, 0, 0, 0, 0x56, 0x78]).unwrap();
    bench.events();
    bench.sent();
    bench
}

fn challenge(octet: u8) -> Vec<u8> {
    let mut packet = PacketBuilder::new(protocol::CHAP, 1, 0, u16::MAX);
    ChapValue { value: &[octet; 16], name: b"bras" }.emit(&mut packet);
    packet.data().to_vec()
}

/// The agreement, as it is read from the state file.
fn saved(bench: &Bench) -> Agreement {
    serde_json::from_str(&serde_json::to_string(&bench.link.agreement().unwrap()).unwrap()).unwrap()
}

/// The link of another run, which has asked for life.
fn adopted(settings: ClientSettings, agreement: &Agreement) -> Bench {
    let mut bench = Bench::new(Link::client(Arc::new(settings.clone())));
    bench.link = bench.with(|_, cx| Link::adopt(cx, Arc::new(settings), 1492, agreement)).expect("it fits");
    assert!(bench.sent_one().is(protocol::LCP, code::ECHO_REQUEST));
    assert!(bench.events().is_empty());
    bench
}

const PROOFS: [Option<Authentication>; 3] = [None, Some(Authentication::Pap), Some(Authentication::ChapMd5)];

#[test]
fn an_open_link_says_all_that_another_run_needs() {
    for proof in PROOFS {
        let agreement = saved(&online(proof));
        let ipv4 = agreement.ipv4.unwrap();
        assert_eq!((ipv4.local, ipv4.remote, ipv4.dns), (ASSIGNMENT.remote, ASSIGNMENT.local, DNS.map(Some)));
        let Ipv6Agreement { local, remote, .. } = agreement.ipv6.unwrap();
        assert_eq!([Some(local), Some(remote)], [InterfaceId::new(0x1234), InterfaceId::new(0x5678)]);
        let again = adopted(settings(), &agreement);
        assert_eq!((again.link.phase(), again.link.mtu()), (Phase::Network, 1492));
        assert_eq!(saved(&again), agreement, "and so does the next one");
    }
    // Not before a network protocol is open, and not when the link is going down.
    let mut bench = Bench::client_at_ipcp();
    assert_eq!(bench.link.agreement(), None);
    bench = online(None);
    bench.with(|link, cx| link.close(cx));
    assert_eq!(bench.link.agreement(), None);
    assert_eq!(Bench::server(server_settings(&ALL)).link.agreement(), None);
}

/// A packet of the peer's, and how what is answered differs between two lives: in numbers that are drawn.
type Given = (u16, u8, Vec<u8>);

/// What a link answers and tells, without identifiers and magic numbers of its own choice.
fn answers(bench: &mut Bench, (number, code, data): &Given) -> (Vec<(u16, u8, usize)>, Vec<Event>, Phase) {
    let _ = bench.give(*number, *code, 77, data);
    let sent = bench.sent().into_iter().map(|sent| (sent.protocol, sent.code, sent.data.len())).collect();
    (sent, bench.events(), bench.link.phase())
}

/// RFC 1661 §4.1: in the states in which the handshake has left it. Whatever the peer says, one after the other or alone, the
/// adopted link does as the one that has negotiated would have done.
#[test]
fn rfc1661_4_1_an_adopted_link_answers_as_the_first_one_would_have() {
    let lcp = protocol::LCP;
    let said: Vec<Given> = vec![
        (lcp, code::ECHO_REQUEST, vec![1, 2, 3, 4, 9, 9]),
        (lcp, code::DISCARD_REQUEST, vec![1, 2, 3, 4]),
        (lcp, code::CONFIGURE_ACK, vec![]),
        (lcp, code::CONFIGURE_NAK, vec![1, 4, 5, 0]),
        (lcp, 99, vec![1, 2, 3]),
        (lcp, code::CODE_REJECT, vec![99, 1, 0, 4]),
        (lcp, code::CODE_REJECT, vec![1, 1, 0, 4]),
        (lcp, code::PROTOCOL_REJECT, vec![0x80, 0x21, 1, 1, 0, 4]),
        (lcp, code::PROTOCOL_REJECT, vec![0x80, 0x57, 1, 1, 0, 4]),
        (lcp, code::PROTOCOL_REJECT, vec![0xc0, 0x21, 1, 1, 0, 4]),
        (lcp, code::CONFIGURE_REQUEST, MAGIC.to_vec()),
        (lcp, code::CONFIGURE_REQUEST, vec![1, 4, 0, 1]),
        (lcp, code::TERMINATE_REQUEST, b"bye".to_vec()),
        (lcp, code::TERMINATE_ACK, vec![]),
        (protocol::IPCP, code::CONFIGURE_REQUEST, vec![3, 6, 100, 64, 0, 1]),
        (protocol::IPCP, code::CONFIGURE_REQUEST, vec![2, 6, 0, 0x2d, 15, 1]),
        (protocol::IPCP, code::TERMINATE_REQUEST, vec![]),
        (protocol::IPCP, 42, vec![]),
        (protocol::IPV6CP, code::CONFIGURE_REQUEST, vec![1, 10, 0, 0, 0, 0, 0, 0, 0x56, 0x78]),
        (protocol::IPV6CP, code::CONFIGURE_REQUEST, vec![1, 10, 0, 0, 0, 0, 0, 0, 0x12, 0x34]),
        (protocol::IPV6CP, code::TERMINATE_REQUEST, vec![]),
        (protocol::CHAP, 1, challenge(5)),
        (protocol::PAP, 2, vec![0]),
        (0x8235, 1, vec![1, 2, 3]),
    ];
    for proof in PROOFS {
        for given in &said {
            let mut first = online(proof);
            let mut second = adopted(settings(), &saved(&first));
            assert_eq!(answers(&mut second, given), answers(&mut first, given), "{given:02x?}");
        }
        for seed in 0..100 {
            let mut rng = SeededRng::from_u64(seed);
            let mut first = online(proof);
            let mut second = adopted(settings(), &saved(&first));
            for _ in 0..8 {
                let given = &said[crate::rng::Rng::below(&mut rng, said.len() as u64) as usize];
                assert_eq!(answers(&mut second, given), answers(&mut first, given), "{given:02x?}");
            }
        }
    }
}

/// RFC 1661 §5.1: what the peer negotiates anew comes up anew, with a request that is none of the last run's.
#[test]
fn rfc1661_a_peer_may_negotiate_an_adopted_link_anew() {
    let first = online(Some(Authentication::Pap));
    let agreement = saved(&first);
    let mut bench = adopted(settings(), &agreement);
    let asked = [&[3, 4, 0xc0, 0x23], &MAGIC[..]].concat();
    bench.give(protocol::LCP, code::CONFIGURE_REQUEST, 50, &asked).unwrap();
    let down = NetworkDownReason::Link;
    assert_eq!(bench.events(), [Event::Ipv4Down { reason: down }, Event::Ipv6Down { reason: down }]);
    let sent = bench.sent();
    assert!(
        sent[0].is(protocol::LCP, code::CONFIGURE_REQUEST) && sent[1].is(protocol::LCP, code::CONFIGURE_ACK)
    );
    bench.give(protocol::LCP, code::CONFIGURE_ACK, sent[0].identifier, &sent[0].data).unwrap();
    assert!(matches!(bench.events()[..], [Event::LcpOpened { .. }]));
    let request = bench.sent_one();
    assert!(request.is(protocol::PAP, 1), "it has to be proven once more");
    bench.pass_secs(5);
    assert_ne!(bench.link.phase(), Phase::Dead, "the peer has spoken, so the session is there");
}

/// RFC 1994 §2: a server may ask at any time.
#[test]
fn rfc1994_an_adopted_link_answers_a_challenge_and_tells_nobody() {
    let first = online(Some(Authentication::ChapMd5));
    let mut bench = adopted(settings(), &saved(&first));
    bench.give(protocol::CHAP, 1, 8, &challenge(2)).unwrap();
    let response = bench.sent_one();
    assert!(response.is(protocol::CHAP, 2) && response.identifier == 8);
    bench.give(protocol::CHAP, 3, 8, b"").unwrap();
    assert!(bench.events().is_empty());
    assert_eq!(bench.link.phase(), Phase::Network);
}

/// RFC 1661 §5.8, from its own side: three questions in a second and a half, and the end after three.
#[test]
fn an_adopted_link_that_is_silent_is_gone_after_three_seconds() {
    for echo in [Echo::default(), Echo { interval: Duration::ZERO, failures: 3 }] {
        let agreement = saved(&online(None));
        let mut bench = adopted(ClientSettings { echo, ..settings() }, &agreement);
        assert!(bench.link.is_unproven());
        bench.pass_secs(2);
        let sent = bench.sent();
        assert!(sent.len() == 2 && sent.iter().all(|sent| sent.is(protocol::LCP, code::ECHO_REQUEST)));
        assert_ne!(sent[0].identifier, sent[1].identifier);
        bench.pass(Duration::from_millis(999));
        assert!(bench.sent().is_empty() && bench.events().is_empty());
        bench.pass(Duration::from_millis(1));
        assert_eq!(bench.events().last(), Some(&Event::Down(DownReason::Gone)));
        assert!(bench.sent_one().is(protocol::LCP, code::TERMINATE_REQUEST));
        assert_eq!((bench.link.phase(), bench.link.poll_timeout()), (Phase::Dead, None));
    }
}

/// Lesson 4: anything that is heard is a sign of life. From then on it is a link like any other.
#[test]
fn whatever_is_heard_proves_an_adopted_link() {
    let agreement = saved(&online(None));
    type Word<'a> = &'a dyn Fn(&mut Bench);
    let words: [Word<'_>; 3] = [
        &|bench| bench.give(protocol::LCP, code::ECHO_REPLY, 1, &[1, 2, 3, 4]).unwrap(),
        &|bench| bench.give(protocol::LCP, code::ECHO_REQUEST, 1, &[1, 2, 3, 4]).unwrap(),
        &|bench| bench.link.traffic_seen(bench.now),
    ];
    for word in words {
        let mut bench = adopted(settings(), &agreement);
        bench.pass(Duration::from_millis(1500));
        word(&mut bench);
        assert!(!bench.link.is_unproven());
        bench.sent();
        bench.pass_secs(9);
        assert!(bench.sent().is_empty(), "it is not asked for again");
        bench.pass_secs(40);
        assert_eq!(bench.events().last(), Some(&Event::Down(DownReason::EchoTimeout)), "as any other");
    }
}

#[test]
fn an_agreement_that_these_settings_do_not_lead_to_is_refused() {
    let agreement = saved(&online(Some(Authentication::Pap)));
    let refused = |settings: ClientSettings, max_mru, agreement: &Agreement| {
        let mut bench = Bench::client(client_settings());
        bench.with(|_, cx| Link::adopt(cx, Arc::new(settings), max_mru, agreement)).is_none()
    };
    assert!(!refused(settings(), 1492, &agreement));
    assert!(refused(settings(), 1400, &agreement), "more was agreed on than the lower layer carries");
    let authentication = vec![Authentication::ChapMd5];
    assert!(refused(ClientSettings { authentication, ..settings() }, 1492, &agreement));
    assert!(refused(ClientSettings { ipv4: false, ipv6: None, ..settings() }, 1492, &agreement));
    // A family that was not open is tried.
    let mut half = agreement.clone();
    half.ipv6 = None;
    let mut bench = Bench::client(settings());
    bench.link = bench.with(|_, cx| Link::adopt(cx, Arc::new(settings()), 1492, &half)).unwrap();
    let sent = bench.sent();
    assert!(sent.iter().any(|sent| sent.is(protocol::IPV6CP, code::CONFIGURE_REQUEST)));
    assert!(!sent.iter().any(|sent| sent.is(protocol::IPCP, code::CONFIGURE_REQUEST)));
    half.ipv4 = None;
    assert!(refused(settings(), 1492, &half), "without any there is nothing to go on with");
}
