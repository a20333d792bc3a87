//! What servers tell besides leases, how they wake the client up, and what is given back.

use dhcproto::v6::OptionCode;

use super::bench::*;
use crate::dhcp6::message::Builder;
use crate::dhcp6::reconfigure::tests::{sign, value};

const PREFIX: &str = "2001:db8:0:ff00::/56";

fn inform(reply: &mut Builder) {
    assert!(reply.addresses(code::DNS_SERVERS, &[ip("2001:db8::53"), ip("::"), ip("2001:db8::54")]));
    assert!(reply.domains(&["example.net".to_string()]));
    assert!(reply.option(code::SNTP_SERVERS, &ip("2001:db8::123").octets()));
    let ntp = [&[0, 1, 0, 16][..], &ip("2001:db8::123").octets()].concat();
    assert!(reply.option(code::NTP_SERVER, &ntp));
}

/// RFC 7084 WAA-4, WAA-5: DNS and time servers come with the prefix.
#[test]
fn rfc7084_waa_4_dns_and_time_servers_come_with_the_leases() {
    let mut bench = Bench::up();
    let solicit = bench.sent();
    bench
        .answer(&solicit, MessageType::Reply, |reply| {
            assert!(reply.option(code::RAPID_COMMIT, &[]));
            delegate(reply, (0, 0), &[(cidr(PREFIX), (3600, 7200))]);
            inform(reply);
        })
        .unwrap();
    let information = bench.client.information();
    assert_eq!(information.dns, [ip("2001:db8::53"), ip("2001:db8::54")]);
    assert_eq!(information.domains, ["example.net"]);
    let codes: Vec<_> = information.passed_on.iter().map(|(code, value)| (*code, value.len())).collect();
    assert_eq!(codes, [(code::NTP_SERVER, 20), (code::SNTP_SERVERS, 16)], "WAA-5");
    assert!(bench.events().contains(&Event::InformationChanged));
    let renew = bench.sent();
    bench
        .answer(&renew, MessageType::Reply, |reply| {
            delegate(reply, (0, 0), &[(cidr(PREFIX), (3600, 7200))]);
            inform(reply);
        })
        .unwrap();
    assert!(!bench.events().contains(&Event::InformationChanged), "the same as before");
    bench.stop();
    assert_eq!(*bench.client.information(), Information::default());
}

/// RFC 7084 WAA-10, RFC 8415 §21.23.
#[test]
fn rfc7084_waa_10_information_is_refreshed() {
    for (told, wait) in
        [(None, 86_400), (Some(3600), 3600), (Some(1), 600), (Some(600), 600), (Some(u32::MAX), u64::MAX)]
    {
        let mut bench = Bench::with(None);
        bench.start();
        bench.advise(false, true);
        let asked = bench.sent();
        assert_eq!(asked.kind(), MessageType::InformationRequest);
        assert!(asked.option(OptionCode::IAPD).is_none() && asked.option(OptionCode::IANA).is_none());
        for code in [23, 24, 31, 56, 32, 83] {
            assert!(asked.message().options.requests(code), "option {code} is asked for");
        }
        bench
            .answer(&asked, MessageType::Reply, |reply| {
                inform(reply);
                if let Some(seconds) = told {
                    assert!(reply.option(code::INFORMATION_REFRESH_TIME, &u32::to_be_bytes(seconds)));
                }
            })
            .unwrap();
        assert_eq!((bench.client.information().dns.len(), bench.state()), (2, "informed"));
        assert_eq!(bench.events(), [Event::InformationChanged]);
        let due = (wait != u64::MAX).then(|| bench.now + Duration::from_secs(wait));
        assert_eq!(bench.client.poll_timeout(), due);
        if let Some(due) = due {
            let again = bench.sent();
            assert_eq!((again.at, again.kind()), (due, MessageType::InformationRequest));
        }
    }
}

#[test]
fn rfc8415_21_25_inf_max_rt_is_taken_within_its_bounds() {
    for (seconds, longest) in [(59, 3600), (60, 60), (86_401, 3600)] {
        let mut bench = Bench::with(None);
        bench.start();
        bench.advise(false, true);
        let asked = bench.sent();
        bench
            .answer(&asked, MessageType::Reply, |reply| {
                assert!(reply.option(code::INF_MAX_RT, &u32::to_be_bytes(seconds)));
            })
            .unwrap();
        let sent = bench.pass(86_400 + 100_000);
        let [.., before, last] = &sent[..] else { panic!("it goes on asking") };
        let gap = (last.at - before.at).as_secs_f64() / f64::from(longest);
        assert!((0.9..=1.1).contains(&gap), "{seconds} s: {gap} of {longest} s");
    }
}

#[test]
fn where_nothing_is_delegated_information_is_asked_for_by_itself() {
    let mut bench = Bench::up();
    bench.advise(false, true);
    let sent = bench.pass(30);
    let asked = sent.iter().find(|sent| sent.kind() == MessageType::InformationRequest).unwrap();
    bench.answer(asked, MessageType::Reply, inform).unwrap();
    assert_eq!((bench.client.information().dns.len(), bench.state()), (2, "soliciting"));
    let mut bench = Bench::bound();
    bench.advise(false, true);
    assert!(bench.pass(1000).is_empty(), "with leases it has come already");
}

fn bound_with_key() -> Bench {
    let mut bench = Bench::up();
    let solicit = bench.sent();
    bench
        .answer(&solicit, MessageType::Reply, |reply| {
            assert!(reply.option(code::RAPID_COMMIT, &[]));
            delegate(reply, (1800, 2880), &[(cidr(PREFIX), (3600, 7200))]);
            assert!(reply.option(code::AUTHENTICATION, &value(1, 5, [7; 16])));
        })
        .unwrap();
    bench.events();
    bench
}

fn reconfigure(server: &Duid, kind: u8) -> Builder {
    let mut message = Builder::new(MessageType::Reconfigure, [0; 3], 500);
    assert!(message.duid(code::CLIENT_ID, &duid()) && message.duid(code::SERVER_ID, server));
    assert!(message.option(code::RECONFIGURE_MESSAGE, &[kind]));
    message
}

/// RFC 8415 §18.2.11; odhcp6c: a replayed Reconfigure.
#[test]
fn rfc8415_18_2_11_only_our_server_wakes_the_client_up() {
    for (kind, asked) in
        [(5, MessageType::Renew), (6, MessageType::Rebind), (11, MessageType::InformationRequest)]
    {
        let mut bench = bound_with_key();
        bench.pass(10);
        let good = sign(reconfigure(&server(1), kind), [7; 16], 6);
        bench.hear(&good).unwrap();
        let sent = bench.sent();
        assert_eq!(sent.kind(), asked);
        bench
            .answer(&sent, MessageType::Reply, |reply| {
                delegate(reply, (1800, 2880), &[(cidr(PREFIX), (3600, 7200))]);
            })
            .unwrap();
        assert_eq!(bench.state(), "bound");
        assert_eq!(bench.hear(&good), Err(DropReason::DhcpUnexpected), "a replay");
        bench.hear(&sign(reconfigure(&server(1), kind), [7; 16], 7)).unwrap();
    }
    let refused = |mut bench: Bench, message: Vec<u8>, why: &str| {
        assert!(bench.hear(&message).is_err(), "{why}");
        assert_eq!(bench.state(), "bound", "{why}");
        assert!(bench.pass(60).is_empty(), "{why}");
    };
    refused(bound_with_key(), reconfigure(&server(1), 5).finish(), "unsigned");
    refused(bound_with_key(), sign(reconfigure(&server(1), 5), [8; 16], 6), "another key");
    refused(bound_with_key(), sign(reconfigure(&server(1), 5), [7; 16], 5), "an old number");
    refused(bound_with_key(), sign(reconfigure(&server(2), 5), [7; 16], 6), "another server");
    refused(bound_with_key(), sign(reconfigure(&server(1), 3), [7; 16], 6), "to request");
    refused(Bench::bound(), sign(reconfigure(&server(1), 5), [7; 16], 6), "no key was given");
    let mut headless = Builder::new(MessageType::Reconfigure, [0; 3], 500);
    assert!(headless.duid(code::CLIENT_ID, &duid()) && headless.option(code::RECONFIGURE_MESSAGE, &[5]));
    refused(bound_with_key(), sign(headless, [7; 16], 6), "no server");
}

/// RFC 8415 DEC.
#[test]
fn rfc8415_dec_4_times_for_an_address_that_another_node_uses() {
    let bound = || {
        let mut bench = Bench::up();
        bench.advise(true, false);
        let solicit = bench.sent();
        bench
            .answer(&solicit, MessageType::Reply, |reply| {
                assert!(reply.option(code::RAPID_COMMIT, &[]));
                delegate(reply, (1800, 2880), &[(cidr(PREFIX), (3600, 7200))]);
                lend(reply, (0, 0), &[("2001:db8::5", (3600, 7200))]);
            })
            .unwrap();
        bench.events();
        bench.cx(|client, cx| client.decline(cx, ip("2001:db8::6")));
        assert!(bench.pass(0).is_empty(), "that is not ours");
        bench.cx(|client, cx| client.decline(cx, ip("2001:db8::5")));
        assert!(bench.client.addresses().is_empty());
        bench
    };
    let mut bench = bound();
    let sent = bench.pass(20);
    let declines: Vec<_> = sent.iter().filter(|sent| sent.kind() == MessageType::Decline).collect();
    assert_eq!(declines.len(), 4, "DEC_MAX_RC");
    assert_eq!(declines[0].addresses(), Some(vec![ip("2001:db8::5")]));
    assert_eq!((declines[0].prefixes(), declines[0].message().server()), (None, Some(server(1))));
    // Answered, it ends at once, and another address is asked for.
    let mut bench = bound();
    let decline = bench.sent();
    bench
        .answer(&decline, MessageType::Reply, |reply| assert!(reply.status(StatusCode::Success, "")))
        .unwrap();
    let renew = bench.sent();
    assert_eq!((renew.kind(), renew.at), (MessageType::Renew, bench.now));
    assert_eq!((renew.prefixes(), renew.addresses()), (Some(vec![cidr(PREFIX)]), Some(vec![])));
}

/// RFC 8415 REL.
#[test]
fn rfc8415_rel_4_times_when_it_is_wanted() {
    let mut bench = Bench::bound();
    bench.cx(|client, cx| client.release(cx));
    assert!(bench.prefixes().is_empty() && bench.client.remembered().is_empty());
    let sent = bench.pass(20);
    assert_eq!(sent.len(), 4, "REL_MAX_RC");
    assert!(sent.iter().all(|sent| sent.kind() == MessageType::Release));
    assert!(sent.iter().all(|sent| sent.prefixes() == Some(vec![cidr(PREFIX)])));
    assert!(bench.pass(10_000).is_empty());
}

#[test]
fn events_are_whole_sentences() {
    let prefixes = vec![cidr(PREFIX), cidr("2001:db8:1::/48")];
    for (event, text) in [
        (
            Event::Bound { prefixes: prefixes.clone(), server: server(1) },
            "DHCPv6: the server 00030001020000000901 delegates 2001:db8:0:ff00::/56, 2001:db8:1::/48",
        ),
        (
            Event::Bound { prefixes: vec![], server: server(1) },
            "DHCPv6: the server 00030001020000000901 has leased us an address",
        ),
        (Event::Renewed { prefixes }, "DHCPv6: 2001:db8:0:ff00::/56, 2001:db8:1::/48 renewed"),
        (
            Event::ServerSilent { asked: "who can lease us something" },
            "DHCPv6: no server answers when it is asked who can lease us something; the router goes on asking",
        ),
        (
            Event::Refused { status: StatusCode::NoPrefixAvail.to_string() },
            "DHCPv6: the server does not give what we ask for: it has no prefix to delegate (NoPrefixAvail); \
             the router goes on asking",
        ),
    ] {
        assert_eq!(event.to_string(), text);
    }
}
