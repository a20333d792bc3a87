//! How leases are refused, changed and lost, and what the client does not believe.

use super::bench::*;
use crate::dhcp6::message::Builder;

const PREFIX: &str = "2001:db8:0:ff00::/56";
const OTHER: &str = "2001:db8:1:ff00::/56";

/// RFC 8415 T1: T1, T2 and expiry are exact, and a prefix is valid to the last second.
#[test]
fn rfc8415_18_2_5_a_prefix_is_valid_to_the_last_second() {
    let mut bench = Bench::bound();
    let end = bench.now + Duration::from_secs(7200);
    bench.until(Instant::from_nanos(end.as_nanos() - 1));
    assert_eq!((bench.prefixes(), bench.state()), (vec![cidr(PREFIX)], "rebinding"));
    bench.events();
    assert_eq!(bench.client.poll_timeout(), Some(end));
    bench.until(end);
    assert!(bench.prefixes().is_empty());
    let events = bench.events();
    assert_eq!(events, [Event::Lost { why: Loss::Expired }]);
    assert_eq!(
        events[0].to_string(),
        "DHCPv6: what was leased to us is lost: its time ran out and no server renewed it; asking anew"
    );
    let solicit = bench.sent();
    assert_eq!((solicit.kind(), solicit.prefixes()), (MessageType::Solicit, Some(vec![])));
    assert!(solicit.at <= end + Duration::from_secs(1));
}

#[test]
fn rfc8415_18_2_10_1_a_server_that_forgot_us_is_requested_anew() {
    for restart in [false, true] {
        let mut bench = Bench::bound();
        let sent = if restart {
            bench.stop();
            bench.start();
            bench.sent()
        } else {
            bench.pass(1800).remove(0)
        };
        let forgot = |reply: &mut Builder| deny(reply, IaKind::Prefixes, StatusCode::NoBinding);
        bench.answer(&sent, MessageType::Reply, forgot).unwrap();
        let request = bench.sent();
        assert_eq!((request.kind(), request.at), (MessageType::Request, bench.now));
        assert_eq!(request.prefixes(), Some(vec![cidr(PREFIX)]), "the same prefix, if it can be had");
        assert_eq!(request.message().server(), Some(server(1)));
        bench.events();
        bench
            .answer(&request, MessageType::Reply, |reply| {
                delegate(reply, (0, 0), &[(cidr(OTHER), (3600, 7200))]);
            })
            .unwrap();
        assert_eq!(bench.prefixes(), [cidr(OTHER)]);
        let prefixes = vec![cidr(OTHER)];
        let expected =
            if restart { Event::Bound { prefixes, server: server(1) } } else { Event::Changed { prefixes } };
        assert_eq!(bench.events(), [expected]);
    }
}

/// RFC 8415 REJECTED: a fresh Solicit when the server rejects.
#[test]
fn rfc8415_18_2_10_a_refused_request_is_followed_by_a_fresh_solicit() {
    let mut bench = Bench::up();
    let mut waits = Vec::new();
    for _ in 0..10 {
        let solicit = bench.sent();
        let offer = |reply: &mut Builder| delegate(reply, (0, 0), &[(cidr(PREFIX), (3600, 7200))]);
        bench.answer(&solicit, MessageType::Advertise, offer).unwrap();
        let request = bench.sent();
        let none = |reply: &mut Builder| deny(reply, IaKind::Prefixes, StatusCode::NoPrefixAvail);
        bench.answer(&request, MessageType::Reply, none).unwrap();
        waits.push((bench.client.poll_timeout().unwrap() - bench.now).as_secs());
    }
    assert_eq!(waits, [0, 10, 20, 40, 80, 160, 320, 640, 640, 640], "at once first, and then ever slower");
    let refused = Event::Refused { status: StatusCode::NoPrefixAvail.to_string() };
    assert_eq!(bench.events(), [refused], "told once");
    assert_eq!(
        bench.client.status().failure.unwrap(),
        "The server does not give what we ask for: it has no prefix to delegate (NoPrefixAvail)."
    );
}

#[test]
fn rfc8415_18_2_10_a_failure_without_a_reason_is_tried_again() {
    for status in [StatusCode::UnspecFail, StatusCode::UseMulticast] {
        let mut bench = Bench::up();
        let solicit = bench.sent();
        let offer = |reply: &mut Builder| delegate(reply, (0, 0), &[(cidr(PREFIX), (3600, 7200))]);
        bench.answer(&solicit, MessageType::Advertise, offer).unwrap();
        let request = bench.sent();
        let failed = |reply: &mut Builder| assert!(reply.status(status, "busy"));
        bench.answer(&request, MessageType::Reply, failed).unwrap();
        let again = bench.sent();
        assert_eq!(again.message().xid, request.message().xid);
        assert!(again.at > request.at);
        bench.answer(&again, MessageType::Reply, offer).unwrap();
        assert_eq!(bench.prefixes(), [cidr(PREFIX)]);
    }
}

#[test]
fn rfc8415_18_2_2_a_request_that_nobody_answers_ends_after_ten() {
    let mut bench = Bench::up();
    let solicit = bench.sent();
    let offer = |reply: &mut Builder| delegate(reply, (0, 0), &[(cidr(PREFIX), (3600, 7200))]);
    bench.answer(&solicit, MessageType::Advertise, offer).unwrap();
    let sent = bench.pass(250);
    let requests = sent.iter().filter(|sent| sent.kind() == MessageType::Request).count();
    assert_eq!(requests, 10, "REQ_MAX_RC");
    assert_eq!(sent.last().unwrap().kind(), MessageType::Solicit);
    assert!(matches!(bench.events()[0], Event::ServerSilent { .. }));
}

/// RFC 7084 WAA-8. RFC 8415 SOL_MAX_RT: taken from 60 to 86,400 s.
#[test]
fn rfc7084_waa_8_sol_max_rt_is_taken_within_its_bounds() {
    for (seconds, longest) in [(59, 3600), (60, 60), (600, 600), (86_400, 86_400), (86_401, 3600), (0, 3600)]
    {
        let mut bench = Bench::up();
        let solicit = bench.sent();
        // An Advertise that offers nothing: it is ignored but for this.
        bench
            .answer(&solicit, MessageType::Advertise, |reply| {
                deny(reply, IaKind::Prefixes, StatusCode::NoPrefixAvail);
                assert!(reply.option(code::SOL_MAX_RT, &u32::to_be_bytes(seconds)));
            })
            .unwrap();
        assert_eq!(bench.state(), "soliciting");
        assert!(matches!(bench.events()[..], [Event::Refused { .. }]));
        let sent = bench.pass(1_000_000);
        let [.., before, last] = &sent[..] else { panic!("it goes on soliciting") };
        let gap = (last.at - before.at).as_secs_f64() / f64::from(longest);
        assert!((0.9..=1.1).contains(&gap), "{seconds} s: {gap} of {longest} s");
    }
}

#[test]
fn rfc8415_18_2_10_1_lifetimes_of_zero_end_a_prefix() {
    let mut bench = Bench::bound();
    let renew = bench.pass(1800).remove(0);
    bench
        .answer(&renew, MessageType::Reply, |reply| {
            delegate(reply, (0, 0), &[(cidr(PREFIX), (0, 0)), (cidr(OTHER), (3600, 7200))]);
        })
        .unwrap();
    assert_eq!(bench.prefixes(), [cidr(OTHER)]);
    assert_eq!(bench.events(), [Event::Changed { prefixes: vec![cidr(OTHER)] }]);
    let renew = bench.pass(1800).remove(0);
    assert_eq!(renew.prefixes(), Some(vec![cidr(OTHER)]));
    let end = |reply: &mut Builder| delegate(reply, (0, 0), &[(cidr(OTHER), (0, 0))]);
    bench.answer(&renew, MessageType::Reply, end).unwrap();
    assert_eq!(bench.events(), [Event::Lost { why: Loss::Withdrawn }]);
    assert!(bench.prefixes().is_empty() && bench.client.remembered().is_empty());
    assert_eq!(bench.sent().kind(), MessageType::Solicit);
}

#[test]
fn rfc8415_18_2_10_1_what_a_reply_does_not_name_stays_as_it_is() {
    let mut bench = Bench::bound();
    let before = bench.client.prefixes()[0];
    let renew = bench.pass(1800).remove(0);
    bench.answer(&renew, MessageType::Reply, |_| {}).unwrap();
    assert_eq!(bench.state(), "renewing", "an answer that names nothing is none");
    let other = |reply: &mut Builder| delegate(reply, (1000, 2000), &[(cidr(OTHER), (3600, 7200))]);
    bench.answer(&renew, MessageType::Reply, other).unwrap();
    assert_eq!(bench.prefixes(), [cidr(PREFIX), cidr(OTHER)]);
    assert_eq!(bench.client.prefixes()[0], before);
}

#[test]
fn rfc8415_16_replies_of_no_use_are_refused() {
    let mut bench = Bench::up();
    let solicit = bench.sent();
    let xid = solicit.message().xid;
    let message = |kind, xid, client: Option<Duid>, server: Option<Duid>| {
        let mut message = Builder::new(kind, xid, 500);
        client.map(|client| message.duid(code::CLIENT_ID, &client));
        server.map(|server| message.duid(code::SERVER_ID, &server));
        delegate(&mut message, (0, 0), &[(cidr(PREFIX), (3600, 7200))]);
        message.option(code::RAPID_COMMIT, &[]);
        message.finish()
    };
    let mut other = xid;
    other[2] ^= 1;
    use DropReason::{DhcpMalformed, DhcpUnexpected};
    for (why, bytes, reason) in [
        (
            "another transaction",
            message(MessageType::Advertise, other, Some(duid()), Some(server(1))),
            DhcpUnexpected,
        ),
        (
            "another client",
            message(MessageType::Reply, xid, Some(server(3)), Some(server(1))),
            DhcpUnexpected,
        ),
        ("no client", message(MessageType::Reply, xid, None, Some(server(1))), DhcpUnexpected),
        ("no server", message(MessageType::Reply, xid, Some(duid()), None), DhcpMalformed),
        (
            "a client's message",
            message(MessageType::Request, xid, Some(duid()), Some(server(1))),
            DhcpUnexpected,
        ),
        ("a relay's message", [&[13, 0, 0, 0][..], &[0; 40]].concat(), DhcpMalformed),
        ("nothing", vec![], DhcpMalformed),
    ] {
        assert_eq!(bench.hear(&bytes), Err(reason), "{why}");
        assert_eq!(bench.state(), "soliciting", "{why}");
    }
    let good = message(MessageType::Reply, xid, Some(duid()), Some(server(1)));
    let isp = ip("fe80::1");
    for (source, destination, ports) in
        [(isp, ip("fe80::bad"), (547, 546)), (isp, ip("ff02::1:2"), (547, 546)), (isp, US, (547, 547))]
    {
        let refused = bench.hear_packet(&packet(source, destination, ports, &good));
        assert_eq!(refused, Err(DhcpUnexpected));
    }
    let mut broken = packet(isp, US, (547, 546), &good);
    for cut in 0..broken.len() {
        assert_eq!(bench.hear_packet(&broken[..cut]), Err(DhcpMalformed), "cut at {cut}");
    }
    broken[60] ^= 1;
    assert_eq!(bench.hear_packet(&broken), Err(DhcpMalformed), "the checksum");
    assert_eq!(bench.hear(&good), Ok(()));
    assert_eq!(bench.state(), "bound");
    assert_eq!(bench.hear(&good), Err(DhcpUnexpected), "a second time");
}

/// odhcp6c: option 0 in mid-list, zero-length options, one bad option does not drop the rest.
#[test]
fn odd_options_do_not_hide_the_others() {
    let mut bench = Bench::up();
    let solicit = bench.sent();
    bench
        .answer(&solicit, MessageType::Reply, |reply| {
            assert!(reply.option(0, &[]) && reply.option(0, &[1, 2, 3]));
            for code in [code::IA_PD, code::IA_NA, code::DNS_SERVERS, code::STATUS_CODE, code::SOL_MAX_RT] {
                assert!(reply.option(code, &[]));
            }
            // An association whose inside is longer than itself; one whose T1 is after T2; one of somebody else.
            assert!(reply.option(code::IA_PD, &[1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 26, 0, 99]));
            delegate(reply, (9, 8), &[(cidr("2001:db8:bad::/56"), (60, 60))]);
            assert!(reply.ia(IaKind::Prefixes, 77, (0, 0), |ia| ia.ia_prefix(cidr(OTHER), (60, 60))));
            assert!(reply.ia(IaKind::Prefixes, IAID, (0, 0), |ia| {
                let too_long = [&[0, 0, 0, 9, 0, 0, 0, 9, 129][..], &[0x20; 16]].concat();
                ia.option(0, &[])
                    && ia.option(code::IA_PREFIX, &[])
                    && ia.option(code::IA_PREFIX, &too_long)
                    && ia.ia_prefix(cidr("2001:db8:bad::/56"), (9, 8))
                    && ia.ia_prefix(cidr(PREFIX), (3600, 7200))
            }));
            assert!(reply.option(code::RAPID_COMMIT, &[]));
        })
        .unwrap();
    assert_eq!(bench.prefixes(), [cidr(PREFIX)]);
}

#[test]
fn a_server_cannot_fill_the_memory() {
    let mut bench = Bench::up();
    let solicit = bench.sent();
    let mut reply = Builder::new(MessageType::Reply, solicit.message().xid, 60_000);
    assert!(reply.duid(code::CLIENT_ID, &duid()) && reply.duid(code::SERVER_ID, &server(1)));
    assert!(reply.option(code::RAPID_COMMIT, &[]));
    let many: Vec<_> = (0..900).map(|nth| (cidr(&format!("2001:db8:{nth:x}::/48")), (3600, 7200))).collect();
    delegate(&mut reply, (0, 0), &many);
    assert!(reply.option(code::DNS_SERVERS, &[0x20; 16 * 100]));
    assert!(reply.option(code::NTP_SERVER, &[0; 600]));
    let reply = reply.finish();
    let mut frame = Frame::with_capacity(70_000);
    let header = Header { source: ip("fe80::1"), destination: US, hop_limit: 64 };
    assert!(header.write_udp(547, 546, &reply, &mut frame));
    bench.hear_packet(frame.bytes()).unwrap();
    assert_eq!(bench.prefixes().len(), 8);
    assert!(bench.client.information().passed_on.is_empty());
    let events = bench.events().len();
    assert!(events <= 2);
    let renew = bench.sent();
    assert!(renew.bytes.len() <= 1232, "and what we send still fits the smallest link");
    assert_eq!(renew.prefixes().unwrap().len(), 8);
}

/// systemd CVE-2018-15688: a packet is written whole, or not at all.
#[test]
fn a_message_fits_its_buffer_or_is_not_sent() {
    let mut whole = Frame::with_capacity(2048);
    let solicit = |frame: &mut Frame| {
        let mut bench = Bench::up();
        bench.now += Duration::from_secs(1);
        bench.cx(|client, cx| client.handle_timeout(cx));
        bench.client.poll_transmit(frame)
    };
    assert!(solicit(&mut whole));
    for room in 0..=whole.len() + 1 {
        let mut frame = Frame::with_capacity(crate::frame::HEADROOM + room);
        assert_eq!(solicit(&mut frame), room >= whole.len(), "{room} octets");
        assert_eq!(frame.bytes(), if room >= whole.len() { whole.bytes() } else { &[] });
    }
}

/// RFC 8415 §18.2.12: what is in use stays so, and any server is asked at once.
#[test]
fn rfc8415_18_2_12_leases_in_doubt_are_rebound_at_once_and_stay_meanwhile() {
    let mut bench = Bench::bound();
    bench.pass(60);
    bench.cx(|client, cx| client.reconfirm(cx));
    let rebind = bench.sent();
    assert_eq!((rebind.kind(), rebind.at), (MessageType::Rebind, bench.now));
    assert_eq!((rebind.prefixes(), bench.prefixes()), (Some(vec![cidr(PREFIX)]), vec![cidr(PREFIX)]));
    // Nothing has changed: the lifetimes count from now.
    bench
        .answer(&rebind, MessageType::Reply, |reply| delegate(reply, (0, 0), &[(cidr(PREFIX), (3600, 7200))]))
        .unwrap();
    assert_eq!(
        (bench.state(), bench.events()),
        ("bound", vec![Event::Renewed { prefixes: vec![cidr(PREFIX)] }])
    );
    let end = bench.now + Duration::from_secs(7200);
    assert_eq!(bench.client.remembered()[0].valid_until, end);

    // The prefix is another's: what the answer does not confirm is ours no longer.
    bench.cx(|client, cx| client.reconfirm(cx));
    let rebind = bench.sent();
    let other =
        |reply: &mut Builder| delegate(reply, (0, 0), &[(cidr(PREFIX), (0, 0)), (cidr(OTHER), (3600, 7200))]);
    bench.answer(&rebind, MessageType::Reply, other).unwrap();
    assert_eq!(
        (bench.prefixes(), bench.events()),
        (vec![cidr(OTHER)], vec![Event::Changed { prefixes: vec![cidr(OTHER)] }])
    );

    // Nobody answers: it is used on, and servers are looked for.
    bench.cx(|client, cx| client.reconfirm(cx));
    let sent = bench.pass(5);
    assert!((2..=5).contains(&sent.len()) && sent.iter().all(|sent| sent.kind() == MessageType::Rebind));
    let sent = bench.pass(15);
    assert!(sent.iter().any(|sent| sent.kind() == MessageType::Solicit));
    assert_eq!(bench.prefixes(), [cidr(OTHER)]);
    bench.pass(7200);
    assert!(bench.prefixes().is_empty(), "until it ends");
}

#[test]
fn a_client_that_looks_for_a_server_in_vain_looks_again_at_once_when_all_is_in_doubt() {
    let mut bench = Bench::up();
    bench.pass(2 * 86_400);
    let before = bench.client.poll_timeout().unwrap();
    assert!(before > bench.now + Duration::from_secs(2));
    bench.cx(|client, cx| client.reconfirm(cx));
    assert!(bench.sent().at <= bench.now + Duration::from_secs(1));
    let mut down = Bench::down();
    down.cx(|client, cx| client.reconfirm(cx));
    assert_eq!(down.client.poll_timeout(), None, "nobody is there to be asked");
}
