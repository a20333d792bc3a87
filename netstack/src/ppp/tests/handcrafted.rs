//! Links against packets made by hand.

use super::*;
use crate::ppp::{DownReason, NetworkDownReason, Phase};

const MAGIC: [u8; 6] = [5, 6, 1, 2, 3, 4];

#[test]
fn a_link_asks_for_mru_and_magic_and_opens_when_both_sides_agree() {
    let mut bench = Bench::client(client_settings());
    assert_eq!(bench.link.phase(), Phase::Dead);
    bench.open(1492);
    assert_eq!(bench.link.phase(), Phase::Establish);
    let request = bench.sent_one();
    assert!(request.is(protocol::LCP, code::CONFIGURE_REQUEST));
    assert_eq!(request.data[..6], [1, 4, 5, 0xd4, 5, 6]);
    bench.give(protocol::LCP, code::CONFIGURE_ACK, request.identifier, &request.data).unwrap();
    bench.give(protocol::LCP, code::CONFIGURE_REQUEST, 1, &MAGIC).unwrap();
    assert_eq!(
        bench.events()[0],
        Event::LcpOpened { mru: 1492, peer_mru: 1492, authentication: None },
        "a peer's default MRU of 1500 is cut to what PPPoE carries"
    );
    assert_eq!(bench.link.phase(), Phase::Network);
}

/// RFC 1661 §4.6: Max-Configure requests, 3 s apart, then the peer is given up.
/// RFC 1661 TIMERS.
#[test]
fn rfc1661_4_6_ten_requests_then_no_answer() {
    let mut bench = Bench::client(client_settings());
    bench.open(1492);
    let first = bench.sent_one();
    for _ in 1..10 {
        bench.pass_secs(3);
        assert_eq!(bench.sent_one(), first, "the same request keeps its identifier");
    }
    bench.pass_secs(3);
    assert!(bench.sent().is_empty());
    assert_eq!(bench.events(), [Event::Down(DownReason::NoAnswer)]);
    assert_eq!(bench.link.phase(), Phase::Dead);
    assert_eq!(bench.link.poll_timeout(), None);
}

/// RFC 1661 TIMERS.
#[test]
fn rfc1661_4_6_timing_is_configurable() {
    let timing = Timing { restart: Duration::from_secs(1), max_configure: 3, ..Timing::default() };
    let mut bench = Bench::client(ClientSettings { timing, ..client_settings() });
    bench.open(1492);
    bench.pass_secs(3);
    assert_eq!(bench.sent().len(), 3);
    assert_eq!(bench.events(), [Event::Down(DownReason::NoAnswer)]);
}

/// pppoe-server opens the session, and starts pppd then: that has missed our first request.
#[test]
fn a_peer_that_is_heard_late_is_asked_again_before_it_is_answered() {
    let request = [1, 4, 5, 0xd4, 5, 6, 1, 2, 3, 4];
    let mut bench = Bench::client(client_settings());
    bench.open(1492);
    let first = bench.sent_one();
    bench.pass(Duration::from_millis(250));
    bench.give(protocol::LCP, code::CONFIGURE_REQUEST, 1, &request).unwrap();
    let sent = bench.sent();
    assert_eq!(sent[0], first, "the same request keeps its identifier");
    assert!(sent[1].is(protocol::LCP, code::CONFIGURE_ACK) && sent.len() == 2);
    // Once is enough.
    bench.pass_secs(1);
    bench.give(protocol::LCP, code::CONFIGURE_REQUEST, 1, &request).unwrap();
    assert!(bench.sent_one().is(protocol::LCP, code::CONFIGURE_ACK));
    bench.give(protocol::LCP, code::CONFIGURE_ACK, first.identifier, &first.data).unwrap();
    assert!(matches!(bench.events()[..], [Event::LcpOpened { .. }]));

    // One that listened in time needs no reminder.
    let mut bench = Bench::client(client_settings());
    bench.open(1492);
    bench.sent_one();
    bench.pass(Duration::from_millis(249));
    bench.give(protocol::LCP, code::CONFIGURE_REQUEST, 1, &request).unwrap();
    assert!(bench.sent_one().is(protocol::LCP, code::CONFIGURE_ACK));
}

/// RFC 1661 ACK.
#[test]
fn rfc1661_an_ack_that_differs_or_bears_another_identifier_is_dropped() {
    let mut bench = Bench::client(client_settings());
    bench.open(1492);
    let request = bench.sent_one();
    let id = request.identifier;
    let mut other = request.data.clone();
    *other.last_mut().unwrap() ^= 1;
    let mut ack = |id, data: &[u8]| bench.give(protocol::LCP, code::CONFIGURE_ACK, id, data);
    assert_eq!(ack(id.wrapping_add(1), &request.data), Err(DropReason::PppUnexpected));
    assert_eq!(ack(id, &other), Err(DropReason::PppMalformed));
    assert_eq!(ack(id, &request.data[4..]), Err(DropReason::PppMalformed));
    assert_eq!(ack(id, &request.data), Ok(()));
    assert_eq!(ack(id, &request.data), Err(DropReason::PppUnexpected), "the second Ack answers nothing");
    let nak = bench.give(protocol::LCP, code::CONFIGURE_NAK, id, &[1, 4, 5, 0]);
    assert_eq!(nak, Err(DropReason::PppUnexpected));
}

#[test]
fn rfc1661_a_reject_of_what_was_not_asked_is_dropped() {
    let mut bench = Bench::client(client_settings());
    bench.open(1492);
    let id = bench.sent_one().identifier;
    let mut reject = |data: &[u8]| bench.give(protocol::LCP, code::CONFIGURE_REJECT, id, data);
    assert_eq!(reject(&[3, 4, 0xc0, 0x23]), Err(DropReason::PppMalformed));
    assert_eq!(reject(&[1, 4, 5, 0xdc]), Err(DropReason::PppMalformed), "our MRU is another");
    assert_eq!(reject(&[]), Err(DropReason::PppMalformed));
    assert_eq!(reject(&[1, 4, 5, 0xd4]), Ok(()));
    assert_eq!(bench.sent_one().data[0], 5, "asked again without MRU");
}

/// tr124_wan_ppp_2: unknown extensions are harmless. RFC 2516 §7: FCS-Alternatives, ACFC and ACCM are always rejected, and so are PFC and all unknown options.
/// RFC 2516 REJECTED-OPTIONS.
#[test]
fn rfc2516_7_options_that_have_no_place_on_ethernet_are_rejected_verbatim() {
    let mut bench = Bench::client(client_settings());
    bench.open(1492);
    bench.sent();
    let bad = [2, 6, 0, 0, 0, 0, 7, 2, 8, 2, 9, 3, 1, 4, 8, 0xc0, 0x25, 1, 2, 3, 4, 99, 3, 7];
    let request = [&[1, 4, 5, 0xd4], &bad[..], &MAGIC].concat();
    bench.give(protocol::LCP, code::CONFIGURE_REQUEST, 77, &request).unwrap();
    let reply = bench.sent_one();
    assert!(reply.is(protocol::LCP, code::CONFIGURE_REJECT));
    assert_eq!((reply.identifier, reply.data.as_slice()), (77, &bad[..]));
}

/// RFC 1661 TIMERS.
#[test]
fn rfc1661_4_6_bad_values_are_naked_and_after_max_failure_rejected() {
    let mut bench = Bench::client(client_settings());
    bench.open(1492);
    bench.sent();
    for round in 0..7 {
        bench.give(protocol::LCP, code::CONFIGURE_REQUEST, round, &[1, 4, 0, 0]).unwrap();
        let reply = bench.sent_one();
        if round < 5 {
            assert!(reply.is(protocol::LCP, code::CONFIGURE_NAK));
            assert_eq!(reply.data, [1, 4, 5, 0xd4]);
        } else {
            assert!(reply.is(protocol::LCP, code::CONFIGURE_REJECT));
            assert_eq!(reply.data, [1, 4, 0, 0]);
        }
    }
    for data in [&[1, 3, 5][..], &[5, 6, 0, 0, 0, 0], &[5, 2], &[3, 2], &[3, 5, 0xc2, 0x23, 99]] {
        let mut bench = Bench::client(client_settings());
        bench.open(1492);
        bench.sent();
        bench.give(protocol::LCP, code::CONFIGURE_REQUEST, 1, data).unwrap();
        assert!(bench.sent_one().is(protocol::LCP, code::CONFIGURE_NAK), "{data:?}");
    }
}

/// A Nak that is lost on the line is no sign that the two sides do not agree.
#[test]
fn a_repeated_request_counts_once() {
    let mut bench = Bench::client(client_settings());
    bench.open(1492);
    bench.sent();
    for _ in 0..20 {
        bench.give(protocol::LCP, code::CONFIGURE_REQUEST, 9, &[1, 4, 0, 0]).unwrap();
        assert!(bench.sent_one().is(protocol::LCP, code::CONFIGURE_NAK));
    }
}

#[test]
fn a_peer_that_naks_for_ever_is_given_up() {
    let mut bench = Bench::client(client_settings());
    bench.open(1492);
    for _ in 0..11 {
        let id = bench.sent_one().identifier;
        bench.give(protocol::LCP, code::CONFIGURE_NAK, id, &[1, 4, 0, 1]).unwrap();
    }
    let what = "the options of the link";
    assert_eq!(bench.events(), [Event::Down(DownReason::NegotiationFailed { what })]);
}

#[test]
fn identifiers_wrap() {
    let mut bench = Bench::client(ClientSettings {
        timing: Timing { max_failure: 255, ..Timing::default() },
        ..client_settings()
    });
    bench.open(1492);
    let mut last = bench.sent_one().identifier;
    // 255 refusals are the limit that this setting gives; each takes an identifier, and renegotiation takes more.
    for _ in 0..250 {
        bench.give(protocol::LCP, code::CONFIGURE_NAK, last, &[5, 6, 9, 9, 9, 9]).unwrap();
        let id = bench.sent_one().identifier;
        assert_eq!(id, last.wrapping_add(1));
        last = id;
    }
    for _ in 0..10 {
        let request = {
            bench.give(protocol::LCP, code::CONFIGURE_REQUEST, 1, &[]).unwrap();
            bench.pass_secs(3);
            bench.sent().pop().unwrap()
        };
        bench.give(protocol::LCP, code::CONFIGURE_ACK, request.identifier, &request.data).unwrap();
        assert_eq!(bench.link.phase(), Phase::Network);
        bench.sent();
        bench.give(protocol::LCP, code::CONFIGURE_REQUEST, 2, &[]).unwrap();
        let id = bench.sent()[0].identifier;
        assert_eq!(id, last.wrapping_add(1));
        last = id;
    }
    assert!(last < 20, "it wrapped");
}

#[test]
fn rfc1661_5_6_unknown_codes_are_rejected_within_the_peers_mru() {
    let mut bench = Bench::client(client_settings());
    bench.open(1492);
    bench.sent();
    bench.give(protocol::LCP, 99, 5, b"what").unwrap();
    let reply = bench.sent_one();
    assert!(reply.is(protocol::LCP, code::CODE_REJECT));
    assert_eq!(reply.data, [99, 5, 0, 8, b'w', b'h', b'a', b't']);
    bench.give(protocol::LCP, 99, 5, &[7; 1488]).unwrap();
    assert_eq!(bench.sent_one().data.len(), 1492 - 4);
}

#[test]
fn rfc1661_5_6_a_code_reject_of_what_lcp_cannot_do_without_ends_the_link() {
    let mut bench = Bench::client(client_settings());
    bench.open(1492);
    bench.give(protocol::LCP, code::CODE_REJECT, 1, &[code::ECHO_REQUEST, 1, 0, 8]).unwrap();
    assert!(bench.events().is_empty());
    bench.give(protocol::LCP, code::CODE_REJECT, 2, &[code::CONFIGURE_REQUEST, 1, 0, 4]).unwrap();
    let what = "the link control protocol";
    assert_eq!(bench.events(), [Event::Down(DownReason::NegotiationFailed { what })]);
    let mut bench = Bench::client_up();
    bench.give(protocol::LCP, code::PROTOCOL_REJECT, 2, &[0xc0, 0x21]).unwrap();
    assert_eq!(bench.events(), [Event::Ipv4Down { reason: NetworkDownReason::Link }]);
    assert!(bench.sent_one().is(protocol::LCP, code::TERMINATE_REQUEST));
}

/// RFC 1661 PHASES.
#[test]
fn rfc1661_5_7_unknown_protocols_are_rejected_cut_to_the_peers_mru() {
    let mut bench = Bench::client(client_settings());
    bench.open(1492);
    bench.agree(protocol::LCP, &[1, 4, 0, 200]);
    assert_eq!(bench.receive(protocol::IPV6CP, &[1, 1, 0, 4]), Ok(()));
    let reply = bench.sent().pop().unwrap();
    assert!(reply.is(protocol::LCP, code::PROTOCOL_REJECT));
    assert_eq!(reply.data, [0x80, 0x57, 1, 1, 0, 4]);
    assert_eq!(bench.receive(0x80fd, &[9; 1000]), Ok(()));
    assert_eq!(bench.sent_one().data.len(), 200 - 4);
    assert_eq!(bench.receive(protocol::IPV4, &[0x45; 20]), Err(DropReason::PppPhase), "IP before Opened");
    assert_eq!(bench.receive(0x2145, &[0; 20]), Err(DropReason::PppMalformed), "a compressed protocol field");
}

/// RFC 1661 PHASES.
#[test]
fn rfc1661_3_5_before_authentication_only_lcp_link_quality_and_authentication_pass() {
    let mut bench = Bench::client(client_settings());
    for number in [protocol::LCP, protocol::PAP, protocol::IPCP] {
        assert_eq!(bench.receive(number, &[1, 1, 0, 4]), Err(DropReason::PppPhase), "dead");
    }
    bench.open(1492);
    for number in [protocol::PAP, protocol::CHAP, protocol::IPCP, protocol::IPV6CP, protocol::LQR] {
        assert_eq!(bench.receive(number, &[1, 1, 0, 4]), Err(DropReason::PppPhase), "establish");
    }
    let (mut bench, _) = Bench::client_at_pap(client_settings());
    assert_eq!(bench.link.phase(), Phase::Authenticate);
    for number in [protocol::CHAP, protocol::IPCP, protocol::IPV6CP, protocol::IPV4, 0x80fd] {
        assert_eq!(bench.receive(number, &[1, 1, 0, 4]), Err(DropReason::PppPhase), "authenticate");
    }
    assert!(bench.sent().is_empty());
    for number in [protocol::LQR, protocol::EAP] {
        assert_eq!(bench.receive(number, &[1, 1, 0, 4]), Ok(()));
        assert!(
            bench.sent_one().is(protocol::LCP, code::PROTOCOL_REJECT),
            "known to be allowed, but not spoken"
        );
    }
}

/// RFC 1661 ECHO.
#[test]
fn rfc1661_5_8_echo_is_answered_in_opened_only_and_carries_our_magic() {
    let mut bench = Bench::client(client_settings());
    bench.open(1492);
    let magic = bench.sent_one().data[6..].to_vec();
    let echo = [0, 0, 0, 0, 1, 2, 3];
    assert_eq!(bench.give(protocol::LCP, code::ECHO_REQUEST, 4, &echo), Err(DropReason::PppPhase));
    let mut bench = Bench::client(client_settings());
    bench.open(1492);
    bench.agree(protocol::LCP, &MAGIC);
    bench.sent();
    bench.give(protocol::LCP, code::ECHO_REQUEST, 4, &echo).unwrap();
    let reply = bench.sent_one();
    assert!(reply.is(protocol::LCP, code::ECHO_REPLY));
    assert_eq!((reply.identifier, &reply.data[..4], &reply.data[4..]), (4, &magic[..], &[1, 2, 3][..]));
    for code in [code::ECHO_REPLY, code::DISCARD_REQUEST, code::IDENTIFICATION, code::TIME_REMAINING] {
        assert_eq!(bench.give(protocol::LCP, code, 9, &[1, 2, 3, 4, b'x']), Ok(()));
        assert_eq!(bench.give(protocol::LCP, code, 9, &[1, 2, 3]), Err(DropReason::PppMalformed));
        assert!(bench.sent().is_empty());
    }
    assert_eq!(bench.give(protocol::LCP, code::ECHO_REQUEST, 4, &[1]), Err(DropReason::PppMalformed));
}

/// RFC 1661 ECHO.
#[test]
fn rfc1661_6_4_a_line_that_returns_all_we_send_is_found_to_be_looped() {
    for mut bench in
        [Bench::client(client_settings()), Bench::server(server_settings(&[Authentication::Pap]))]
    {
        bench.open(1492);
        for _ in 0..40 {
            for packet in bench.sent() {
                let _ = bench.give(packet.protocol, packet.code, packet.identifier, &packet.data);
            }
        }
        assert_eq!(bench.events(), [Event::Down(DownReason::Looped)]);
    }
    let mut bench = Bench::client(client_settings());
    bench.open(1492);
    let magic = bench.sent_one().data[6..].to_vec();
    let mut bench = Bench::client(client_settings());
    bench.open(1492);
    bench.agree(protocol::LCP, &MAGIC);
    bench.give(protocol::LCP, code::ECHO_REQUEST, 1, &magic).unwrap();
    bench.pass_secs(10);
    assert!(bench.events().contains(&Event::Down(DownReason::Looped)), "looped after it had opened");
}

#[test]
fn rfc1661_a_peer_that_begins_with_terminate_is_answered_and_does_not_stop_us() {
    let mut bench = Bench::client(client_settings());
    bench.open(1492);
    let request = bench.sent_one();
    bench.give(protocol::LCP, code::TERMINATE_REQUEST, 9, b"stale").unwrap();
    let reply = bench.sent_one();
    assert!(reply.is(protocol::LCP, code::TERMINATE_ACK));
    assert_eq!(reply.identifier, 9);
    bench.give(protocol::LCP, code::CONFIGURE_ACK, request.identifier, &request.data).unwrap();
    bench.give(protocol::LCP, code::CONFIGURE_REQUEST, 1, &MAGIC).unwrap();
    assert_eq!(bench.link.phase(), Phase::Network);

    let mut bench = Bench::client(client_settings());
    bench.open(1492);
    bench.give(protocol::LCP, code::TERMINATE_REQUEST, 9, b"line\x1b blocked\n").unwrap();
    bench.pass_secs(40);
    let text = "line blocked".into();
    assert_eq!(bench.events(), [Event::Down(DownReason::PeerTerminated { phase: Phase::Establish, text })]);
}

#[test]
fn rfc1661_the_peer_terminates_an_open_link() {
    let mut bench = Bench::client_up();
    bench.give(protocol::LCP, code::TERMINATE_REQUEST, 3, b"nightly reset").unwrap();
    assert!(bench.sent_one().is(protocol::LCP, code::TERMINATE_ACK));
    assert_eq!(bench.link.phase(), Phase::Terminate);
    assert_eq!(bench.events(), [Event::Ipv4Down { reason: NetworkDownReason::Link }]);
    bench.pass_secs(3);
    let text = "nightly reset".into();
    assert_eq!(bench.events(), [Event::Down(DownReason::PeerTerminated { phase: Phase::Network, text })]);
    assert_eq!(bench.link.phase(), Phase::Dead);
}

/// RFC 1661 TIMERS.
#[test]
fn rfc1661_close_says_goodbye_twice() {
    let mut bench = Bench::client_up();
    bench.with(|link, cx| link.close(cx));
    assert!(bench.sent_one().is(protocol::LCP, code::TERMINATE_REQUEST));
    bench.with(|link, cx| link.close(cx));
    assert!(bench.sent().is_empty(), "closing twice does nothing");
    bench.pass_secs(3);
    assert!(bench.sent_one().is(protocol::LCP, code::TERMINATE_REQUEST));
    bench.pass_secs(3);
    assert!(bench.sent().is_empty());
    assert_eq!(bench.events().pop(), Some(Event::Down(DownReason::Closed)));

    let mut bench = Bench::client_up();
    bench.with(|link, cx| link.close(cx));
    let id = bench.sent_one().identifier;
    bench.give(protocol::LCP, code::TERMINATE_ACK, id, &[]).unwrap();
    assert_eq!(bench.events().pop(), Some(Event::Down(DownReason::Closed)), "at once when it is answered");
}

#[test]
fn a_lost_lower_layer_ends_the_link_without_another_word() {
    let mut bench = Bench::client_up();
    bench.give(protocol::LCP, code::ECHO_REQUEST, 1, &[0; 4]).unwrap();
    bench.with(|link, cx| link.lower_down(cx));
    assert!(bench.sent().is_empty());
    assert_eq!(
        bench.events(),
        [Event::Ipv4Down { reason: NetworkDownReason::Link }, Event::Down(DownReason::LowerDown)]
    );
    bench.with(|link, cx| link.lower_down(cx));
    assert!(bench.events().is_empty());
    bench.open(1492);
    assert_eq!(bench.link.phase(), Phase::Establish, "and can be opened again");
}

/// Lesson 4: received data is liveness; the counter starts again.
#[test]
fn rfc1661_5_8_silence_ends_the_link_and_data_keeps_it() {
    let mut bench = Bench::client_up();
    bench.pass_secs(31);
    let echoes = bench.sent().iter().filter(|packet| packet.is(protocol::LCP, code::ECHO_REQUEST)).count();
    assert_eq!(echoes, 3);
    bench.pass_secs(10);
    assert_eq!(bench.events().pop(), Some(Event::Down(DownReason::EchoTimeout)));
    assert!(bench.sent_one().is(protocol::LCP, code::TERMINATE_REQUEST));

    let mut bench = Bench::client_up();
    for _ in 0..100 {
        let now = bench.now;
        bench.link.traffic_seen(now);
        bench.pass_secs(9);
    }
    assert!(bench.sent().is_empty(), "a busy link sends no Echo-Request");
    assert!(bench.events().is_empty());
    for _ in 0..100 {
        bench.pass_secs(25);
        bench.give(protocol::LCP, code::ECHO_REPLY, 0, &[1, 2, 3, 4]).unwrap();
    }
    assert!(bench.events().is_empty());
}

/// RFC 4638 PROOF.
#[test]
fn rfc4638_a_full_sized_echo_proves_the_path() {
    let mut bench = Bench::client(ClientSettings { mru: 1500, ..client_settings() });
    bench.open(1500);
    let sent = bench.agree(protocol::LCP, &[1, 4, 5, 0xdc, 5, 6, 1, 2, 3, 4]);
    let probe = sent.iter().find(|packet| packet.is(protocol::LCP, code::ECHO_REQUEST)).unwrap();
    assert_eq!(probe.data.len() + 4, 1500);
    bench.give(protocol::LCP, code::ECHO_REPLY, probe.identifier.wrapping_add(1), &[0; 4]).unwrap();
    assert!(!bench.events().iter().any(|event| matches!(event, Event::MtuProven { .. })));
    bench.give(protocol::LCP, code::ECHO_REPLY, probe.identifier, &[0; 1496]).unwrap();
    assert_eq!(bench.events(), [Event::MtuProven { mtu: 1500 }]);
}

/// RFC 4638 TAG.
#[test]
fn rfc4638_without_an_answer_1492_is_negotiated() {
    let mut bench = Bench::client(ClientSettings { mru: 1500, ..client_settings() });
    bench.open(1500);
    bench.agree(protocol::LCP, &[1, 4, 5, 0xdc, 5, 6, 1, 2, 3, 4]);
    bench.events();
    bench.pass_secs(20);
    assert!(bench.events().is_empty(), "where nothing is heard at all, the size is not to blame");
    bench.sent();
    bench.give(protocol::LCP, code::ECHO_REPLY, 200, &[1, 2, 3, 4]).unwrap();
    bench.pass_secs(9);
    assert_eq!(bench.events(), [Event::MtuReduced { mtu: 1492 }]);
    let sent = bench.sent();
    let request = sent.iter().find(|packet| packet.is(protocol::LCP, code::CONFIGURE_REQUEST)).unwrap();
    assert_eq!(request.data[..4], [1, 4, 5, 0xd4]);
    bench.give(protocol::LCP, code::CONFIGURE_ACK, request.identifier, &request.data).unwrap();
    bench.give(protocol::LCP, code::CONFIGURE_REQUEST, 1, &[1, 4, 5, 0xdc]).unwrap();
    let opened = Event::LcpOpened { mru: 1492, peer_mru: 1492, authentication: None };
    assert_eq!(bench.events(), [opened]);
    bench.with(|link, cx| link.lower_down(cx));
    bench.sent();
    bench.open(1500);
    assert_eq!(bench.sent_one().data[..4], [1, 4, 5, 0xd4], "the next session begins with what is known");
}

#[test]
fn an_mru_of_1492_is_not_probed() {
    let mut bench = Bench::client(client_settings());
    bench.open(1492);
    let sent = bench.agree(protocol::LCP, &[1, 4, 5, 0xdc]);
    assert!(!sent.iter().any(|packet| packet.is(protocol::LCP, code::ECHO_REQUEST)));
}

/// RFC 1332 IPCP.
#[test]
fn rfc1877_both_dns_servers_are_asked_for_and_used() {
    let mut bench = Bench::client_at_ipcp();
    let request = bench.sent_one();
    assert_eq!(request.data, [3, 6, 0, 0, 0, 0, 129, 6, 0, 0, 0, 0, 131, 6, 0, 0, 0, 0]);
    bench.give(protocol::IPCP, code::CONFIGURE_REJECT, request.identifier, &request.data[12..]).unwrap();
    let request = bench.sent_one();
    let told = [129, 6, 192, 0, 2, 53, 3, 6, 203, 0, 113, 9];
    bench.give(protocol::IPCP, code::CONFIGURE_NAK, request.identifier, &told).unwrap();
    bench.agree(protocol::IPCP, &[3, 6, 100, 64, 0, 1]);
    assert_eq!(
        bench.events(),
        [Event::Ipv4Up {
            local: Ipv4Addr::new(203, 0, 113, 9),
            remote: Ipv4Addr::new(100, 64, 0, 1),
            dns: [Some(DNS[0]), None],
        }]
    );
}

#[test]
fn rfc1332_header_compression_and_old_addresses_are_rejected() {
    let mut bench = Bench::client_at_ipcp();
    bench.sent();
    let data = [2, 6, 0, 0x2d, 15, 1, 1, 10, 1, 2, 3, 4, 5, 6, 7, 8, 3, 6, 100, 64, 0, 1];
    bench.give(protocol::IPCP, code::CONFIGURE_REQUEST, 1, &data).unwrap();
    let reply = bench.sent_one();
    assert!(reply.is(protocol::IPCP, code::CONFIGURE_REJECT));
    assert_eq!(reply.data, data[..16]);
}

/// A server that acknowledges 0.0.0.0 has given no address.
#[test]
fn an_address_of_zero_is_never_reported_up() {
    let mut bench = Bench::client_at_ipcp();
    bench.agree(protocol::IPCP, &[3, 6, 100, 64, 0, 1]);
    assert_eq!(bench.events(), [Event::Ipv4Down { reason: NetworkDownReason::NoAgreement }]);
    bench.pass_secs(30);
    let sent = bench.sent();
    assert!(sent.iter().any(|packet| packet.is(protocol::IPCP, code::CONFIGURE_REQUEST)), "tried again");
    assert_eq!(bench.link.phase(), Phase::Network);
}

/// RFC 1661 NCP.
#[test]
fn rfc1661_3_6_a_network_protocol_that_ends_leaves_the_link_and_is_tried_again() {
    let mut bench = Bench::client_up();
    bench.give(protocol::IPCP, code::TERMINATE_REQUEST, 1, &[]).unwrap();
    assert_eq!(bench.events(), [Event::Ipv4Down { reason: NetworkDownReason::PeerTerminated }]);
    assert!(bench.sent_one().is(protocol::IPCP, code::TERMINATE_ACK));
    assert_eq!(bench.link.phase(), Phase::Network);
    bench.pass_secs(14);
    let sent = bench.sent();
    assert!(sent.iter().any(|packet| packet.is(protocol::IPCP, code::CONFIGURE_REQUEST)));
    assert!(!sent.iter().any(|packet| packet.is(protocol::LCP, code::TERMINATE_REQUEST)));

    let mut bench = Bench::client_at_ipcp();
    bench.give(protocol::LCP, code::PROTOCOL_REJECT, 1, &[0x80, 0x21, 1, 1, 0, 4]).unwrap();
    assert_eq!(bench.events(), [Event::Ipv4Down { reason: NetworkDownReason::Rejected }]);
    assert_eq!(bench.link.phase(), Phase::Network);
    bench.sent();
    bench.pass_secs(9);
    assert!(bench.sent().is_empty(), "a peer that does not speak it is not asked again");
}

#[test]
fn an_ipcp_that_is_not_answered_is_tried_for_ever() {
    let mut bench = Bench::client_at_ipcp();
    let mut requests = 0;
    for _ in 0..12 {
        bench.pass_secs(9);
        requests += bench.sent().iter().filter(|p| p.is(protocol::IPCP, code::CONFIGURE_REQUEST)).count();
        let now = bench.now;
        bench.link.traffic_seen(now);
    }
    assert!(requests > 20);
    let down = Event::Ipv4Down { reason: NetworkDownReason::NoAnswer };
    assert_eq!(bench.events(), [down], "the owner is told once");
}

#[test]
fn rfc1661_a_peer_may_negotiate_the_link_anew() {
    let mut bench = Bench::client_up();
    bench.give(protocol::LCP, code::CONFIGURE_REQUEST, 50, &MAGIC).unwrap();
    assert_eq!(bench.events(), [Event::Ipv4Down { reason: NetworkDownReason::Link }]);
    assert_eq!(bench.link.phase(), Phase::Establish);
    let sent = bench.sent();
    assert!(
        sent[0].is(protocol::LCP, code::CONFIGURE_REQUEST) && sent[1].is(protocol::LCP, code::CONFIGURE_ACK)
    );
    bench.give(protocol::LCP, code::CONFIGURE_ACK, sent[0].identifier, &sent[0].data).unwrap();
    assert!(matches!(bench.events()[..], [Event::LcpOpened { authentication: None, .. }]));
    assert!(bench.sent_one().is(protocol::IPCP, code::CONFIGURE_REQUEST));
}

#[test]
fn a_client_without_ipv4_rejects_ipcp() {
    let mut bench = Bench::client(ClientSettings { ipv4: false, ..client_settings() });
    bench.open(1492);
    assert!(bench.agree(protocol::LCP, &MAGIC).is_empty());
    bench.receive(protocol::IPCP, &[1, 1, 0, 4]).unwrap();
    assert!(bench.sent_one().is(protocol::LCP, code::PROTOCOL_REJECT));
}

#[test]
fn spurious_calls_do_nothing() {
    for mut bench in [Bench::client(client_settings()), Bench::server(server_settings(&ALL))] {
        bench.with(|link, cx| {
            link.handle_timeout(cx);
            link.close(cx);
            link.lower_down(cx);
            link.authenticate(cx, None);
            link.assign(cx, ASSIGNMENT);
            link.challenge(cx);
            link.traffic_seen(cx.now);
        });
        assert_eq!(bench.link.poll_timeout(), None);
        assert!(bench.events().is_empty() && bench.sent().is_empty());
        bench.open(1492);
        let before = bench.sent();
        bench.open(1492);
        assert!(bench.sent().is_empty() && before.len() == 1);
    }
}

/// A server with the client proven and an address assigned, and its first Configure-Request of IPCP.
fn server_at_ipcp(assignment: Ipv4Assignment) -> (Bench, Sent) {
    let mut bench = Bench::server(server_settings(&[Authentication::Pap]));
    bench.open(1492);
    bench.agree(protocol::LCP, &[5, 6, 9, 9, 9, 9]);
    bench.give(protocol::PAP, 1, 1, b"\x01u\x01p").unwrap();
    bench.with(|link, cx| link.authenticate(cx, Some(&Secret::new("p"))));
    assert_eq!(bench.receive(protocol::IPCP, &[1, 1, 0, 4]), Err(DropReason::PppPhase), "no address yet");
    bench.with(|link, cx| link.assign(cx, assignment));
    bench.events();
    let request = bench.sent().pop().unwrap();
    (bench, request)
}

/// The client's Ack may have been lost each time: it believes that IPv4 is up.
#[test]
fn a_server_that_has_asked_in_vain_asks_again_ten_seconds_later() {
    let (mut bench, first) = server_at_ipcp(ASSIGNMENT);
    bench.pass_secs(30);
    assert_eq!(
        bench.sent().iter().filter(|sent| sent.is(protocol::IPCP, code::CONFIGURE_REQUEST)).count(),
        9
    );
    assert_eq!(bench.events(), [Event::Ipv4Down { reason: NetworkDownReason::NoAnswer }]);
    bench.pass_secs(10);
    let again = bench.sent().into_iter().find(|sent| sent.is(protocol::IPCP, code::CONFIGURE_REQUEST));
    assert_eq!(again.map(|again| again.data), Some(first.data));
}

/// RFC 1332 IPCP.
#[test]
fn rfc1332_a_server_naks_zero_and_wrong_addresses_with_the_assigned_one() {
    let (mut bench, request) = server_at_ipcp(ASSIGNMENT);
    assert_eq!(request.data, [3, 6, 100, 64, 0, 1]);
    let assigned = [3, 6, 100, 64, 3, 7];
    for (id, asked) in [&[3, 6, 0, 0, 0, 0][..], &[3, 6, 10, 0, 0, 1], &[3, 2], &[]].into_iter().enumerate() {
        bench.give(protocol::IPCP, code::CONFIGURE_REQUEST, id as u8, asked).unwrap();
        let reply = bench.sent_one();
        assert!(reply.is(protocol::IPCP, code::CONFIGURE_NAK));
        assert_eq!(reply.data, assigned, "{asked:?}");
    }
    bench.give(protocol::IPCP, code::CONFIGURE_REQUEST, 9, &assigned).unwrap();
    assert!(bench.sent_one().is(protocol::IPCP, code::CONFIGURE_ACK));
    bench.give(protocol::IPCP, code::CONFIGURE_REJECT, request.identifier, &request.data).unwrap();
    let request = bench.sent_one();
    assert!(request.data.is_empty(), "a client that does not want to know our address");
    bench.give(protocol::IPCP, code::CONFIGURE_ACK, request.identifier, &[]).unwrap();
    let (local, remote) = (ASSIGNMENT.local, ASSIGNMENT.remote);
    assert_eq!(bench.events(), [Event::Ipv4Up { local, remote, dns: [None, None] }]);
}

#[test]
fn rfc1877_a_server_tells_the_dns_servers_that_it_has() {
    let asked = [3, 6, 100, 64, 3, 7, 129, 6, 0, 0, 0, 0, 131, 6, 0, 0, 0, 0, 130, 6, 0, 0, 0, 0];
    let (mut bench, _) = server_at_ipcp(Ipv4Assignment { dns: [Some(DNS[0]), None], ..ASSIGNMENT });
    bench.give(protocol::IPCP, code::CONFIGURE_REQUEST, 1, &asked).unwrap();
    let reply = bench.sent_one();
    assert!(reply.is(protocol::IPCP, code::CONFIGURE_REJECT));
    assert_eq!(reply.data, asked[12..], "a second DNS server and NetBIOS names it does not have");
    bench.give(protocol::IPCP, code::CONFIGURE_REQUEST, 2, &asked[..12]).unwrap();
    let reply = bench.sent_one();
    assert!(reply.is(protocol::IPCP, code::CONFIGURE_NAK));
    assert_eq!(reply.data, [129, 6, 192, 0, 2, 53]);
}

/// What the user reads is one plain sentence, without the names of our types.
#[test]
fn reasons_are_sentences() {
    use alloc::string::ToString;
    let text = "bye";
    let reasons = [
        DownReason::AuthenticationFailed { protocol: Authentication::MsChapV2, message: text.into() },
        DownReason::AuthenticationRefused,
        DownReason::ServerNotProven,
        DownReason::AuthenticationTimeout,
        DownReason::EchoTimeout,
        DownReason::PeerTerminated { phase: Phase::Establish, text: text.into() },
        DownReason::PeerTerminated { phase: Phase::Authenticate, text: text.into() },
        DownReason::PeerTerminated { phase: Phase::Network, text: text.into() },
        DownReason::Looped,
        DownReason::NoAnswer,
        DownReason::NegotiationFailed { what: "the options of the link" },
        DownReason::LowerDown,
        DownReason::Closed,
    ];
    for reason in reasons {
        let sentence = reason.to_string();
        assert!(sentence.contains(' ') && !sentence.contains(['{', '\n']), "{sentence}");
        assert_eq!(sentence.contains("bye"), alloc::format!("{reason:?}").contains("bye"), "{sentence}");
    }
}
