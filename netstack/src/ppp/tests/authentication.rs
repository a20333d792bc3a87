//! Authentication against packets made by hand.

use alloc::format;
use alloc::string::ToString;

use md5::{Digest, Md5};

use super::*;
use crate::ppp::{DownClass, DownReason, Phase};
use crate::wire::auth::{ChapValue, MsChapV2Response, PapRequest};

const CHAP: [u8; 5] = [3, 5, 0xc2, 0x23, 5];
const MS_CHAP_V2: [u8; 5] = [3, 5, 0xc2, 0x23, 0x81];

fn challenge(value: &[u8]) -> Vec<u8> {
    [&[u8::try_from(value.len()).unwrap()], value, b"bras1"].concat()
}

fn client_at(option: &[u8]) -> Bench {
    let mut bench = Bench::client(client_settings());
    bench.open(1492);
    assert!(bench.agree(protocol::LCP, option).is_empty());
    bench.events();
    bench
}

/// A server that has opened LCP with one protocol, and the first packets that it sent.
fn server_at(authentication: Authentication) -> (Bench, Vec<Sent>) {
    let mut bench = Bench::server(server_settings(&[authentication]));
    bench.open(1492);
    let sent = bench.agree(protocol::LCP, &[5, 6, 9, 9, 9, 9]);
    assert!(matches!(bench.events()[..], [Event::LcpOpened { authentication: Some(_), .. }]));
    (bench, sent)
}

#[test]
fn rfc1334_the_client_repeats_its_request_until_it_is_answered() {
    let (mut bench, request) = Bench::client_at_pap(client_settings());
    let parsed = PapRequest::parse(&request.data).unwrap();
    assert!(parsed.peer_id == b"user@isp.example" && parsed.password == b"correct horse");
    bench.pass_secs(3);
    assert_eq!(bench.sent_one(), request);
    let wrong = bench.give(protocol::PAP, 2, request.identifier.wrapping_add(1), &[0]);
    assert_eq!(wrong, Err(DropReason::PppUnexpected));
    assert_eq!(bench.give(protocol::PAP, 2, request.identifier, &[9]), Err(DropReason::PppMalformed));
    bench.events();
    bench.give(protocol::PAP, 2, request.identifier, b"\x07welcome").unwrap();
    let (name, message) = (b"user@isp.example".to_vec(), "welcome".to_string());
    assert_eq!(bench.events(), [Event::Authenticated { name, message }]);
    assert_eq!(bench.give(protocol::PAP, 2, request.identifier, &[0]), Err(DropReason::PppUnexpected));
}

#[test]
fn the_words_of_a_refusal_are_kept_for_the_user() {
    let (mut bench, request) = Bench::client_at_pap(client_settings());
    bench.events();
    bench.give(protocol::PAP, 3, request.identifier, b"\x10call\x1b[1m us\r\nnow").unwrap();
    assert!(bench.sent_one().is(protocol::LCP, code::TERMINATE_REQUEST));
    bench.pass_secs(6);
    let [Event::Down(reason)] = &bench.events()[..] else { panic!("down") };
    assert_eq!(reason.to_string(), "the peer refused the username or password (PAP): \"call [1m us now\"");
    assert_eq!(reason.class(), DownClass::Authentication);
}

#[test]
fn an_unanswered_client_gives_up() {
    for option in [&CHAP[..], &MS_CHAP_V2] {
        let mut bench = client_at(option);
        bench.pass_secs(29);
        bench.give(protocol::LCP, code::ECHO_REQUEST, 1, &[0; 4]).unwrap();
        bench.pass_secs(10);
        assert!(bench.events().contains(&Event::Down(DownReason::AuthenticationTimeout)));
    }
    let (mut bench, _) = Bench::client_at_pap(client_settings());
    bench.pass_secs(29);
    bench.give(protocol::LCP, code::ECHO_REQUEST, 1, &[0; 4]).unwrap();
    bench.pass_secs(10);
    assert!(bench.events().contains(&Event::Down(DownReason::AuthenticationTimeout)));
}

/// RFC 1994 CHAP.
#[test]
fn rfc1994_the_client_answers_challenges_at_any_time() {
    let mut bench = client_at(&CHAP);
    bench.give(protocol::CHAP, 1, 7, &challenge(&[1; 16])).unwrap();
    let first = bench.sent_one();
    assert!(first.is(protocol::CHAP, 2) && first.identifier == 7);
    assert_eq!(ChapValue::parse(&first.data).unwrap().name, b"user@isp.example");
    bench.pass_secs(3);
    assert_eq!(bench.sent_one(), first, "repeated until the verdict is heard");
    assert_eq!(bench.give(protocol::CHAP, 3, 6, b""), Err(DropReason::PppUnexpected));
    bench.give(protocol::CHAP, 3, 7, b"hello").unwrap();
    assert!(matches!(bench.events()[..], [Event::Authenticated { .. }]));
    bench.sent();
    bench.give(protocol::CHAP, 1, 8, &challenge(&[2; 20])).unwrap();
    let second = bench.sent_one();
    assert!(second.is(protocol::CHAP, 2) && second.data != first.data);
    bench.give(protocol::CHAP, 3, 8, b"").unwrap();
    assert!(bench.events().is_empty(), "no second event");
    bench.give(protocol::CHAP, 1, 9, &challenge(&[3; 16])).unwrap();
    bench.give(protocol::CHAP, 4, 9, b"bye").unwrap();
    bench.pass_secs(6);
    let message = "bye".to_string();
    let reason = DownReason::AuthenticationFailed { protocol: Authentication::ChapMd5, message };
    assert_eq!(bench.events(), [Event::Down(reason)]);
}

/// RFC 1994 CHAP.
#[test]
fn rfc1994_a_secret_has_at_least_one_octet() {
    let mut bench = Bench::client(ClientSettings { password: Secret::new(""), ..client_settings() });
    bench.open(1492);
    bench.agree(protocol::LCP, &CHAP);
    bench.give(protocol::CHAP, 1, 7, &challenge(&[1; 16])).unwrap();
    assert!(!bench.sent().iter().any(|packet| packet.protocol == protocol::CHAP));
    assert_eq!(bench.link.phase(), Phase::Terminate);
    // A server does not let in whoever knows the empty secret.
    let (mut bench, _) = server_at(Authentication::Pap);
    bench.give(protocol::PAP, 1, 3, b"\x01u\x00").unwrap();
    bench.with(|link, cx| link.authenticate(cx, Some(&Secret::new(""))));
    assert!(bench.sent()[0].is(protocol::PAP, 3));
}

/// RFC 2759 VECTORS.
#[test]
fn rfc2759_the_client_leaves_a_server_that_does_not_prove_itself() {
    for (answer, right) in [(Some(0), true), (Some(1), false), (None, false)] {
        let mut bench = client_at(&MS_CHAP_V2);
        bench.give(protocol::CHAP, 1, 7, &challenge(&[1; 16])).unwrap();
        let response = bench.sent_one();
        let value = ChapValue::parse(&response.data).unwrap().value.to_vec();
        assert!(MsChapV2Response::parse(&value).is_some());
        // The same challenge again, late: the same answer, for which the verdict was computed.
        bench.give(protocol::CHAP, 1, 7, &challenge(&[1; 16])).unwrap();
        assert_eq!(bench.sent_one(), response);
        let message = match answer {
            None => b"welcome".to_vec(),
            Some(flip) => {
                let mut proof = proof_of(&value, &[1; 16]);
                proof[2] ^= flip;
                proof
            }
        };
        bench.give(protocol::CHAP, 3, 7, &message).unwrap();
        bench.pass_secs(6);
        let events = bench.events();
        assert_eq!(matches!(events[0], Event::Authenticated { .. }), right);
        assert_eq!(events[0] == Event::Down(DownReason::ServerNotProven), !right);
    }
}

/// What an honest server says to `value`: found by being one.
fn proof_of(value: &[u8], challenge: &[u8; 16]) -> Vec<u8> {
    use crate::ppp::auth::tests_support::success;
    success(challenge, value, b"user@isp.example", b"correct horse")
}

#[test]
fn rfc2759_6_failures_are_told_in_words() {
    let mut bench = client_at(&MS_CHAP_V2);
    bench.give(protocol::CHAP, 1, 7, &challenge(&[1; 16])).unwrap();
    bench.give(protocol::CHAP, 4, 7, b"E=648 R=1 C=00112233445566778899AABBCCDDEEFF V=3").unwrap();
    bench.pass_secs(6);
    let message = "the password has expired".to_string();
    let reason = DownReason::AuthenticationFailed { protocol: Authentication::MsChapV2, message };
    assert_eq!(bench.events(), [Event::Down(reason)]);
}

#[test]
fn a_client_asks_for_the_protocol_it_prefers_and_refuses_what_it_may_not() {
    let settings = ClientSettings { authentication: vec![Authentication::ChapMd5], ..client_settings() };
    let mut bench = Bench::client(settings.clone());
    bench.open(1492);
    bench.sent();
    for round in 0..6 {
        bench.give(protocol::LCP, code::CONFIGURE_REQUEST, round, &[3, 4, 0xc0, 0x23]).unwrap();
        let reply = bench.sent_one();
        if round < 5 {
            assert_eq!((reply.code, reply.data.as_slice()), (code::CONFIGURE_NAK, &CHAP[..]));
        } else {
            assert_eq!(reply.code, code::CONFIGURE_REJECT);
        }
    }
    bench.pass_secs(40);
    assert_eq!(bench.events(), [Event::Down(DownReason::AuthenticationRefused)]);
    let mut bench = Bench::client(ClientSettings { authentication: vec![], ..settings });
    bench.open(1492);
    bench.sent();
    bench.give(protocol::LCP, code::CONFIGURE_REQUEST, 1, &CHAP).unwrap();
    assert!(bench.sent_one().is(protocol::LCP, code::CONFIGURE_REJECT));
}

#[test]
fn a_server_takes_the_protocol_the_client_prefers_from_its_own_list() {
    let mut bench = Bench::server(server_settings(&[
        Authentication::MsChapV2,
        Authentication::ChapMd5,
        Authentication::Pap,
    ]));
    bench.open(1492);
    let request = bench.sent_one();
    assert_eq!(request.data[4..9], MS_CHAP_V2);
    bench.give(protocol::LCP, code::CONFIGURE_NAK, request.identifier, &[3, 4, 0xc0, 0x23]).unwrap();
    assert_eq!(bench.sent_one().data[4..8], [3, 4, 0xc0, 0x23]);
    // A suggestion that it does not know: down its own list.
    let mut bench = Bench::server(server_settings(&[Authentication::MsChapV2, Authentication::ChapMd5]));
    bench.open(1492);
    let request = bench.sent_one();
    bench.give(protocol::LCP, code::CONFIGURE_NAK, request.identifier, &[3, 4, 0xc2, 0x27]).unwrap();
    let request = bench.sent_one();
    assert_eq!(request.data[4..9], CHAP);
    bench.give(protocol::LCP, code::CONFIGURE_NAK, request.identifier, &[3, 4, 0xc2, 0x27]).unwrap();
    bench.pass_secs(6);
    assert_eq!(bench.events(), [Event::Down(DownReason::AuthenticationRefused)]);
    assert!(bench.sent().iter().any(|packet| packet.is(protocol::LCP, code::TERMINATE_REQUEST)));
}

#[test]
fn nobody_comes_in_without_authentication() {
    let mut bench = Bench::server(server_settings(&[]));
    bench.open(1492);
    bench.pass_secs(6);
    assert_eq!(bench.events(), [Event::Down(DownReason::AuthenticationRefused)]);
    let mut bench = Bench::server(server_settings(&ALL));
    bench.open(1492);
    let request = bench.sent_one();
    let option = request.data[4..9].to_vec();
    bench.give(protocol::LCP, code::CONFIGURE_REJECT, request.identifier, &option).unwrap();
    bench.give(protocol::LCP, code::CONFIGURE_REQUEST, 1, &[5, 6, 1, 1, 1, 1]).unwrap();
    bench.pass_secs(6);
    assert_eq!(bench.events(), [Event::Down(DownReason::AuthenticationRefused)]);
    // A client cannot make the server prove itself either.
    let mut bench = Bench::server(server_settings(&ALL));
    bench.open(1492);
    bench.sent();
    bench.give(protocol::LCP, code::CONFIGURE_REQUEST, 1, &CHAP).unwrap();
    assert!(bench.sent_one().is(protocol::LCP, code::CONFIGURE_REJECT));
}

#[test]
fn rfc1334_2_2_1_a_repeated_request_gets_the_same_verdict() {
    for (secret, verdict) in [("secret", 2), ("other", 3)] {
        let (mut bench, _) = server_at(Authentication::Pap);
        bench.give(protocol::PAP, 1, 3, b"\x04user\x06secret").unwrap();
        assert_eq!(bench.events(), [Event::Identify { name: b"user".to_vec() }]);
        bench.give(protocol::PAP, 1, 3, b"\x04user\x06secret").unwrap();
        assert!(bench.events().is_empty(), "asked once");
        bench.with(|link, cx| link.authenticate(cx, Some(&Secret::new(secret))));
        assert!(bench.sent()[0].is(protocol::PAP, verdict));
        if verdict == 2 {
            assert!(matches!(bench.events()[..], [Event::Authenticated { .. }]));
            bench.give(protocol::PAP, 1, 4, b"\x04user\x05wrong").unwrap();
            let again = bench.sent_one();
            assert!(again.is(protocol::PAP, 2) && again.identifier == 4);
            assert!(bench.events().is_empty());
        } else {
            bench.pass_secs(6);
            assert!(matches!(bench.events()[..], [Event::Down(DownReason::AuthenticationFailed { .. })]));
        }
    }
}

#[test]
fn a_server_that_hears_no_name_gives_up() {
    for authentication in ALL {
        let (mut bench, _) = server_at(authentication);
        bench.pass_secs(29);
        bench.give(protocol::LCP, code::ECHO_REQUEST, 1, &[0; 4]).unwrap();
        bench.pass_secs(10);
        assert!(bench.events().contains(&Event::Down(DownReason::AuthenticationTimeout)));
    }
}

/// RFC 1994 CHAP.
#[test]
fn rfc1994_each_challenge_is_fresh_and_only_its_own_response_counts() {
    let (mut bench, sent) = server_at(Authentication::ChapMd5);
    let mut seen = vec![sent[0].clone()];
    for _ in 0..3 {
        bench.pass_secs(3);
        let next = bench.sent_one();
        assert!(next.is(protocol::CHAP, 1));
        assert!(seen.iter().all(|old| old.identifier != next.identifier && old.data != next.data));
        seen.push(next);
    }
    let stale = bench.give(protocol::CHAP, 2, seen[0].identifier, &challenge(&[0; 16]));
    assert_eq!(stale, Err(DropReason::PppUnexpected));
    let last = seen.last().unwrap().identifier;
    assert_eq!(bench.give(protocol::CHAP, 2, last, &challenge(&[0; 15])), Err(DropReason::PppMalformed));
    bench.give(protocol::CHAP, 2, last, &challenge(&[0; 16])).unwrap();
    assert_eq!(bench.events(), [Event::Identify { name: b"bras1".to_vec() }]);
    bench.with(|link, cx| link.authenticate(cx, None));
    let failure = bench.sent();
    assert!(failure[0].is(protocol::CHAP, 4) && failure[1].is(protocol::LCP, code::TERMINATE_REQUEST));
}

/// RFC 1994 CHAP.
#[test]
fn rfc1994_4_2_a_repeated_response_gets_the_same_verdict() {
    let (mut bench, sent) = server_at(Authentication::ChapMd5);
    let (id, value) = (sent[0].identifier, &sent[0].data[1..17]);
    let right = Md5::new().chain_update([id]).chain_update(b"secret").chain_update(value).finalize();
    bench.give(protocol::CHAP, 2, id, &challenge(&right)).unwrap();
    assert_eq!(bench.events().len(), 1);
    bench.give(protocol::CHAP, 2, id, &challenge(&right)).unwrap();
    assert!(bench.events().is_empty() && bench.sent().is_empty(), "asked once");
    bench.with(|link, cx| link.authenticate(cx, Some(&Secret::new("secret"))));
    let verdict = bench.sent_one();
    assert!(verdict.is(protocol::CHAP, 3));
    assert!(matches!(bench.events()[..], [Event::Authenticated { .. }]));
    // The verdict was lost; not even another response changes it now.
    for response in [&right[..], &[0; 16]] {
        bench.give(protocol::CHAP, 2, id, &challenge(response)).unwrap();
        let again = bench.sent_one();
        assert!(again.is(protocol::CHAP, 3) && again.identifier == id && again.data == verdict.data);
        assert!(bench.events().is_empty());
    }
}

/// CVE-2020-8597: name lengths beyond any buffer, in protocols negotiated or not.
/// RFC 1994 NAME-LENGTHS.
#[test]
fn rfc1334_rfc1994_names_of_every_length_are_harmless_negotiated_or_not() {
    for length in [0, 1, 255, 256, 257, 1024, 1480, 4096, 65_000, 65_535] {
        let name = vec![b'n'; length];
        for (authentication, number) in [
            (Authentication::ChapMd5, protocol::CHAP),
            (Authentication::MsChapV2, protocol::CHAP),
            (Authentication::Pap, protocol::PAP),
        ] {
            let (mut bench, sent) = server_at(authentication);
            let id = sent.first().map_or(1, |packet| packet.identifier);
            let value = if authentication == Authentication::ChapMd5 { 16 } else { 49 };
            let data = [&[value], &vec![0; usize::from(value)][..], &name].concat();
            let data = &data[..data.len().min(65_531)];
            let _ = bench.give(number, 2, id, data);
            let _ = bench.give(number, 1, id, data);
            let _ = bench.give(protocol::EAP, 1, id, data);
            bench.with(|link, cx| link.authenticate(cx, Some(&Secret::new("x"))));
            bench.sent();
        }
        for option in [&CHAP[..], &MS_CHAP_V2] {
            let mut bench = client_at(option);
            let data = [&challenge(&[1; 16])[..], &name].concat();
            let data = &data[..data.len().min(65_531)];
            bench.give(protocol::CHAP, 1, 7, data).unwrap();
            assert!(bench.sent_one().is(protocol::CHAP, 2));
            assert_eq!(bench.give(protocol::PAP, 1, 7, data), Err(DropReason::PppPhase));
            bench.give(protocol::CHAP, 4, 7, data).unwrap();
        }
    }
}

#[test]
fn tr124_wan_ppp_6_no_secret_is_in_what_a_link_shows_of_itself() {
    let (mut bench, _) = Bench::client_at_pap(client_settings());
    assert!(!format!("{:?}", bench.link).contains("correct horse"));
    bench.sent();
    let (mut bench, _) = server_at(Authentication::Pap);
    bench.give(protocol::PAP, 1, 3, b"\x04user\x06canary").unwrap();
    let events = bench.events();
    assert!(!format!("{:?} {events:?}", bench.link).contains("canary"));
}
