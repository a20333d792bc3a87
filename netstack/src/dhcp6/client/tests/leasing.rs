//! How leases are got, confirmed and kept.

use dhcproto::v6::{DhcpOption, OptionCode};

use super::bench::*;
use crate::dhcp6::message::Builder;

const PREFIX: &str = "2001:db8:0:ff00::/56";

/// RFC 7084 WPD-1, WPD-6, WAA-4, WAA-5, WAA-8; RFC 8415 §18.2.1.
#[test]
fn rfc7084_wpd_1_a_solicit_asks_for_a_prefix_and_for_what_goes_with_it() {
    let mut bench = Bench::up();
    let solicit = bench.sent();
    assert_eq!(solicit.kind(), MessageType::Solicit);
    assert_eq!(solicit.prefixes(), Some(vec![]), "any prefix");
    assert_eq!(solicit.addresses(), None, "WPD-6: a prefix does not need an address");
    assert_eq!(solicit.elapsed(), 0);
    assert_eq!(solicit.option(OptionCode::ReconfAccept), Some(&DhcpOption::ReconfAccept), "WAA-4");
    assert_eq!(solicit.option(OptionCode::RapidCommit), Some(&DhcpOption::RapidCommit));
    assert_eq!(solicit.option(OptionCode::ServerId), None);
    for code in [23, 24, 31, 56, 67, 82] {
        assert!(solicit.message().options.requests(code), "option {code} is asked for");
    }
    assert!(!solicit.message().options.requests(32), "RFC 8415 §21.23: in Information-requests only");
}

/// RFC 7084 WPD-2.
#[test]
fn rfc7084_wpd_2_the_wanted_length_is_hinted_at() {
    let mut bench = Bench::with(Some(PrefixRequest { length: Some(56) }));
    bench.start();
    assert_eq!(bench.sent().prefixes(), Some(vec![cidr("::/56")]));
}

/// RFC 7084 WPD-3, RFC 8415 §18.2.
#[test]
fn rfc7084_wpd_3_a_prefix_of_any_size_is_taken() {
    for length in 3..=128 {
        let mut bench = Bench::with(Some(PrefixRequest { length: Some(56) }));
        bench.start();
        let prefix = Ipv6Cidr { address: ip("2001:db8:0:ff80::"), prefix: length }.network();
        bench.lease(&prefix.to_string(), (0, 0), (600, 900));
        assert_eq!(bench.prefixes(), [prefix]);
        assert_eq!(bench.events(), [Event::Bound { prefixes: vec![prefix], server: server(1) }]);
    }
    for bad in ["fe80::/56", "ff05::/56", "::/56", "::/0"] {
        let mut bench = Bench::up();
        let solicit = bench.sent();
        let offer = |reply: &mut Builder| delegate(reply, (0, 0), &[(cidr(bad), (60, 60))]);
        bench.answer(&solicit, MessageType::Advertise, offer).unwrap();
        bench.pass(2);
        assert_eq!(bench.state(), "soliciting", "{bad} is no prefix to route");
    }
}

/// RFC 7084 WPD-4. RFC 8415 START: by the link, not by the configuration. RFC 8415 LINK-LOCAL: the bench checks the source of
/// every packet.
#[test]
fn rfc7084_wpd_4_the_link_starts_it_and_ends_it() {
    let mut bench = Bench::down();
    assert!(bench.pass(10_000).is_empty());
    assert_eq!((bench.client.poll_timeout(), bench.state()), (None, "down"));
    bench.advise(true, true);
    assert!(bench.pass(10_000).is_empty(), "an advertisement does not bring a link up");
    bench.start();
    let up = bench.now;
    let first = bench.sent();
    assert!(first.at <= up + Duration::from_secs(1), "SOL_MAX_DELAY");
    bench.stop();
    assert!(bench.pass(10_000).is_empty());
    assert_eq!((bench.client.poll_timeout(), bench.state()), (None, "down"));
    // On a link that delegates nothing, M and O say what is asked for.
    let mut plain = Bench::with(None);
    plain.start();
    assert!(plain.pass(100).is_empty());
    assert_eq!(plain.state(), "idle");
    plain.advise(false, true);
    assert_eq!(plain.sent().kind(), MessageType::InformationRequest);
    plain.advise(true, true);
    assert_eq!(plain.sent().kind(), MessageType::Solicit);
}

#[test]
fn rfc8415_18_2_the_four_messages_lease_a_prefix() {
    let mut bench = Bench::up();
    let solicit = bench.sent();
    let offer = |reply: &mut Builder| delegate(reply, (0, 0), &[(cidr(PREFIX), (3600, 7200))]);
    bench.answer(&solicit, MessageType::Advertise, offer).unwrap();
    assert!(bench.prefixes().is_empty(), "an offer is not a lease");
    let request = bench.sent();
    let waited = request.at - solicit.at;
    assert!(waited > Duration::from_secs(1) && waited <= Duration::from_millis(1100), "{waited:?}");
    assert_eq!(request.kind(), MessageType::Request);
    assert_eq!(request.prefixes(), Some(vec![cidr(PREFIX)]));
    assert_eq!(request.message().server(), Some(server(1)));
    assert_ne!(request.message().xid, solicit.message().xid);
    assert_eq!(request.elapsed(), 0, "a transaction of its own");
    bench.answer(&request, MessageType::Reply, offer).unwrap();
    let [lease] = bench.client.prefixes() else { panic!("one prefix") };
    assert_eq!(lease.prefix, cidr(PREFIX));
    assert_eq!(lease.preferred_until, bench.now + Duration::from_secs(3600));
    assert_eq!(lease.valid_until, bench.now + Duration::from_secs(7200));
    let status = bench.client.status();
    assert_eq!((status.state, status.server), ("bound", Some(server(1))));
    assert_eq!(status.renew_at, Some(bench.now + Duration::from_secs(1800)), "half the preferred lifetime");
    assert_eq!(status.rebind_at, Some(bench.now + Duration::from_secs(2880)), "eight tenths of it");
}

#[test]
fn rfc8415_15_a_retransmission_says_how_long_it_has_been() {
    let mut bench = Bench::up();
    let sent = bench.pass(600);
    let first = sent[0].at;
    for solicit in &sent {
        assert_eq!(solicit.message().xid, sent[0].message().xid);
        assert_eq!(u128::from(solicit.elapsed()), (solicit.at - first).as_millis() / 10);
    }
    assert!(sent.len() > 8);
    let late = bench.pass(10_000);
    assert_eq!(late.last().unwrap().elapsed(), 0xffff);
    let silent = bench.events();
    assert!(matches!(silent[..], [Event::ServerSilent { .. }]), "told once: {silent:?}");
    assert_eq!(
        bench.client.status().failure.unwrap(),
        "No server answers when it is asked who can lease us something."
    );
}

#[test]
fn rfc8415_18_2_9_the_best_offer_is_taken() {
    let offer = |preference: Option<u8>| {
        move |reply: &mut Builder| {
            delegate(reply, (0, 0), &[(cidr(PREFIX), (3600, 7200))]);
            if let Some(preference) = preference {
                assert!(reply.option(code::PREFERENCE, &[preference]));
            }
        }
    };
    let mut bench = Bench::up();
    let solicit = bench.sent();
    for (nth, preference) in [(1, None), (2, Some(9)), (3, Some(8)), (4, Some(9))] {
        bench.answer_by(&server(nth), &solicit, MessageType::Advertise, offer(preference)).unwrap();
    }
    assert_eq!(
        bench.sent().message().server(),
        Some(server(2)),
        "the highest preference, the first of equals"
    );

    let mut bench = Bench::up();
    let solicit = bench.sent();
    bench.answer_by(&server(1), &solicit, MessageType::Advertise, offer(Some(254))).unwrap();
    bench.answer_by(&server(2), &solicit, MessageType::Advertise, offer(Some(255))).unwrap();
    let request = bench.sent();
    assert_eq!((request.at, request.message().server()), (solicit.at, Some(server(2))), "255 at once");

    let mut bench = Bench::up();
    bench.sent();
    let again = bench.sent();
    bench.answer(&again, MessageType::Advertise, offer(None)).unwrap();
    assert_eq!(bench.sent().at, again.at, "after the first retransmission any offer is taken at once");
}

/// RFC 8415 §18.2.1, §18.2.10.
#[test]
fn rfc8415_18_2_1_a_server_may_commit_at_once() {
    let mut bench = Bench::up();
    let solicit = bench.sent();
    let grant = |reply: &mut Builder| delegate(reply, (0, 0), &[(cidr(PREFIX), (3600, 7200))]);
    let refused = bench.answer(&solicit, MessageType::Reply, grant);
    assert_eq!(refused, Err(DropReason::DhcpUnexpected), "a Reply to Solicit must say that it commits");
    bench
        .answer(&solicit, MessageType::Reply, |reply| {
            assert!(reply.option(code::RAPID_COMMIT, &[]));
            grant(reply);
        })
        .unwrap();
    assert_eq!((bench.prefixes(), bench.state()), (vec![cidr(PREFIX)], "bound"));
}

/// RFC 7084 WPD-8, RFC 6603 §4.2.
#[test]
fn rfc7084_wpd_8_a_part_of_the_prefix_may_be_excluded() {
    for (exclude, value) in [
        ("2001:db8:0:ff07::/64", &[64, 7][..]),
        ("2001:db8:0:ff80::/57", &[57, 0x80]),
        ("2001:db8:0:ffb8::/61", &[61, 0xb8]),
        ("2001:db8:0:ff12:3400::/72", &[72, 0x12, 0x34]),
    ] {
        let mut bench = Bench::up();
        let solicit = bench.sent();
        let head = [&[0, 0, 14, 16, 0, 0, 28, 32, 56], &ip("2001:db8:0:ff00::").octets()[..]].concat();
        let ia = |reply: &mut Builder| {
            assert!(reply.ia(IaKind::Prefixes, IAID, (0, 0), |ia| {
                ia.nested(code::IA_PREFIX, &head, |prefix| prefix.option(code::PREFIX_EXCLUDE, value))
            }));
            assert!(reply.option(code::RAPID_COMMIT, &[]));
        };
        bench.answer(&solicit, MessageType::Reply, ia).unwrap();
        assert_eq!(bench.client.prefixes()[0].exclude, Some(cidr(exclude)));
    }
    // One that lies elsewhere, is no part, or is cut short excludes nothing, and the prefix is good.
    for value in [&[][..], &[64], &[56, 7], &[55, 7], &[129, 7], &[64, 7, 7], &[72, 7]] {
        let mut bench = Bench::up();
        let solicit = bench.sent();
        let head = [&[0, 0, 14, 16, 0, 0, 28, 32, 56], &ip("2001:db8:0:ff00::").octets()[..]].concat();
        let ia = |reply: &mut Builder| {
            assert!(reply.ia(IaKind::Prefixes, IAID, (0, 0), |ia| {
                ia.nested(code::IA_PREFIX, &head, |prefix| prefix.option(code::PREFIX_EXCLUDE, value))
            }));
            assert!(reply.option(code::RAPID_COMMIT, &[]));
        };
        bench.answer(&solicit, MessageType::Reply, ia).unwrap();
        assert_eq!(bench.client.prefixes()[0].exclude, None, "{value:?}");
    }
}

/// RFC 7084 WAA-3, WAA-6.
#[test]
fn rfc7084_waa_6_a_managed_link_gives_an_address_too() {
    let mut bench = Bench::bound();
    bench.advise(true, false);
    let renew = bench.sent();
    assert_eq!((renew.at, renew.kind()), (bench.now, MessageType::Renew), "at once");
    assert_eq!(renew.prefixes(), Some(vec![cidr(PREFIX)]));
    assert_eq!(renew.addresses(), Some(vec![]));
    bench
        .answer(&renew, MessageType::Reply, |reply| {
            delegate(reply, (1800, 2880), &[(cidr(PREFIX), (3600, 7200))]);
            lend(reply, (900, 1000), &[("2001:db8::5", (1200, 1500))]);
        })
        .unwrap();
    let [address] = bench.client.addresses() else { panic!("one address") };
    assert_eq!(
        (address.address, address.valid_until),
        (ip("2001:db8::5"), bench.now + Duration::from_secs(1500))
    );
    let status = bench.client.status();
    assert_eq!(status.renew_at, Some(bench.now + Duration::from_secs(900)), "the shortest T1");
    bench.advise(true, false);
    assert_eq!(bench.state(), "bound", "the same advertisement again changes nothing");
    // And from the beginning.
    let mut bench = Bench::up();
    bench.advise(true, false);
    let solicit = bench.sent();
    assert_eq!((solicit.prefixes(), solicit.addresses()), (Some(vec![]), Some(vec![])));
    // The server has no address for us; the prefix is good without one.
    bench
        .answer(&solicit, MessageType::Reply, |reply| {
            assert!(reply.option(code::RAPID_COMMIT, &[]));
            delegate(reply, (0, 0), &[(cidr(PREFIX), (3600, 7200))]);
            deny(reply, IaKind::Addresses, StatusCode::NoAddrsAvail);
        })
        .unwrap();
    assert_eq!(bench.state(), "bound");
}

#[test]
fn rfc8415_18_2_3_an_address_alone_is_confirmed_by_confirm() {
    let mut bench = Bench::with(None);
    bench.start();
    bench.advise(true, false);
    let solicit = bench.sent();
    assert_eq!((solicit.prefixes(), solicit.addresses()), (None, Some(vec![])));
    bench
        .answer(&solicit, MessageType::Reply, |reply| {
            assert!(reply.option(code::RAPID_COMMIT, &[]));
            lend(reply, (900, 1000), &[("2001:db8::5", (1200, 1500))]);
        })
        .unwrap();
    bench.stop();
    assert!(bench.client.addresses().is_empty());
    bench.start();
    let confirm = bench.sent();
    assert_eq!((confirm.kind(), confirm.addresses()), (MessageType::Confirm, Some(vec![ip("2001:db8::5")])));
    assert_eq!(confirm.message().server(), None);
    let success = |reply: &mut Builder| assert!(reply.status(StatusCode::Success, ""));
    bench.answer(&confirm, MessageType::Reply, success).unwrap();
    assert_eq!((bench.client.addresses().len(), bench.state()), (1, "bound"));
    bench.stop();
    bench.start();
    let confirm = bench.sent();
    let wrong = |reply: &mut Builder| assert!(reply.status(StatusCode::NotOnLink, ""));
    bench.answer(&confirm, MessageType::Reply, wrong).unwrap();
    assert!(bench.client.addresses().is_empty() && bench.client.remembered().is_empty());
    bench.advise(true, false);
    assert_eq!(bench.sent().kind(), MessageType::Solicit);
}

/// RFC 8415 T1.
#[test]
fn rfc8415_18_2_4_t1_and_t2_come_exactly() {
    let mut bench = Bench::bound();
    let bound = bench.now;
    let sent = bench.until(bound + Duration::from_secs(2880));
    let (renewals, rebinds): (Vec<_>, Vec<_>) =
        sent.iter().partition(|sent| sent.kind() == MessageType::Renew);
    assert_eq!(renewals[0].at, bound + Duration::from_secs(1800), "T1");
    assert!(renewals.iter().all(|renew| renew.message().server() == Some(server(1))));
    assert!(renewals.iter().all(|renew| renew.prefixes() == Some(vec![cidr(PREFIX)])));
    let gap = renewals[1].at - renewals[0].at;
    assert!(gap >= Duration::from_secs(9) && gap <= Duration::from_secs(11), "REN_TIMEOUT: {gap:?}");
    assert_eq!(rebinds.len(), 1);
    assert_eq!(
        (rebinds[0].at, rebinds[0].kind()),
        (bound + Duration::from_secs(2880), MessageType::Rebind),
        "T2"
    );
    assert_eq!(rebinds[0].message().server(), None, "any server");
    assert!(matches!(bench.events()[..], [Event::ServerSilent { .. }]));
    assert_eq!(bench.prefixes(), [cidr(PREFIX)], "it is ours still");
    // Another server answers.
    bench
        .answer_by(&server(2), &rebinds[0].clone(), MessageType::Reply, |reply| {
            delegate(reply, (1800, 2880), &[(cidr(PREFIX), (3600, 7200))]);
        })
        .unwrap();
    assert_eq!(bench.events(), [Event::Renewed { prefixes: vec![cidr(PREFIX)] }]);
    let status = bench.client.status();
    assert_eq!((status.state, status.server, status.failure), ("bound", Some(server(2)), None));
    assert_eq!(bench.sent().at, bench.now);
    assert_eq!(bench.now, bound + Duration::from_secs(2880 + 1800));
}

#[test]
fn rfc8415_14_2_t1_and_t2_of_zero_are_chosen() {
    for (told, lifetimes, chosen) in [
        ((0, 0), (1000, 4000), (500, 800)),
        ((0, 900), (1000, 4000), (500, 900)),
        ((700, 0), (1000, 4000), (700, 800)),
        ((900, 0), (1000, 4000), (900, 900)),
        ((0, 0), (0, 4000), (2000, 3200)),
        // Later than the lease ends: waiting for it would lose the lease.
        ((5000, 6000), (1000, 4000), (500, 800)),
        ((100, u32::MAX), (1000, 4000), (100, 800)),
    ] {
        let mut bench = Bench::up();
        bench.lease(PREFIX, told, lifetimes);
        let status = bench.client.status();
        let at = |seconds| Some(bench.now + Duration::from_secs(seconds));
        assert_eq!(
            (status.renew_at, status.rebind_at),
            (at(chosen.0), at(chosen.1)),
            "{told:?} {lifetimes:?}"
        );
    }
    let mut bench = Bench::up();
    bench.lease(PREFIX, (0, 0), (u32::MAX, u32::MAX));
    assert_eq!(bench.client.prefixes()[0].valid_until, Instant::FOREVER);
    assert_eq!(bench.client.poll_timeout(), None, "for ever");
    assert!(bench.pass(1 << 33).is_empty());
    assert_eq!(bench.prefixes(), [cidr(PREFIX)]);
}

/// RFC 9096 WPD-9: nothing is released. RFC 9096 WPD-10: the IAID is the same, which the bench checks of every message.
#[test]
fn rfc9096_wpd_9_a_restart_releases_nothing_and_confirms_what_it_remembers() {
    let mut bench = Bench::bound();
    let remembered = bench.client.remembered().to_vec();
    bench.stop();
    assert!(bench.pass(0).is_empty(), "no Release");
    assert!(bench.prefixes().is_empty(), "what is not confirmed is not ours on the link");
    assert_eq!(bench.client.remembered(), remembered);
    // Another life.
    let mut next = Bench::down();
    next.now = bench.now + Duration::from_secs(60);
    next.cx(|client, cx| client.restore(cx, remembered.clone()));
    assert!(next.prefixes().is_empty());
    next.start();
    let rebind = next.sent();
    assert_eq!((rebind.kind(), rebind.at), (MessageType::Rebind, next.now), "RFC 8415 §18.2.12");
    assert_eq!(rebind.prefixes(), Some(vec![cidr(PREFIX)]));
    next.answer(&rebind, MessageType::Reply, |reply| {
        delegate(reply, (1800, 2880), &[(cidr(PREFIX), (3600, 7200))]);
    })
    .unwrap();
    assert_eq!(next.events(), [Event::Bound { prefixes: vec![cidr(PREFIX)], server: server(1) }]);
    assert_eq!(next.prefixes(), [cidr(PREFIX)]);
}

#[test]
fn rfc8415_18_2_12_what_nobody_confirms_in_10_s_is_solicited_anew() {
    let mut bench = Bench::bound();
    bench.stop();
    bench.start();
    let start = bench.now;
    let sent = bench.pass(12);
    let rebinds: Vec<_> = sent.iter().filter(|sent| sent.kind() == MessageType::Rebind).collect();
    assert!(rebinds.len() >= 4, "CNF_TIMEOUT 1 s, CNF_MAX_RT 4 s");
    assert!(rebinds.iter().all(|rebind| rebind.at < start + Duration::from_secs(10)), "CNF_MAX_RD");
    let solicit = sent.last().unwrap();
    assert_eq!(solicit.kind(), MessageType::Solicit);
    assert!(solicit.at >= start + Duration::from_secs(10) && solicit.at <= start + Duration::from_secs(12));
    assert_eq!(solicit.prefixes(), Some(vec![cidr(PREFIX)]), "the old one for a hint");
    assert_eq!(bench.client.remembered().len(), 1, "it stays remembered until it ends");
    assert!(bench.prefixes().is_empty());
    bench.pass(7200);
    assert!(bench.client.remembered().is_empty());
}

#[test]
fn what_has_ended_or_cannot_be_is_not_restored() {
    let mut bench = Bench::down();
    let lease = |prefix: &str, secs| Delegation {
        prefix: cidr(prefix),
        preferred_until: Instant::from_secs(secs),
        valid_until: Instant::from_secs(secs),
        exclude: None,
    };
    let many = (0..100).map(|nth| lease(&format!("2001:db8:{nth}::/48"), 2000));
    let leases = [lease(PREFIX, 1000), lease("fe80::/56", 2000)].into_iter().chain(many).collect();
    bench.cx(|client, cx| client.restore(cx, leases));
    assert_eq!(bench.client.remembered().len(), 8);
    assert!(bench.client.remembered().iter().all(|lease| lease.prefix.prefix == 48));
    let stored: Vec<Delegation> = bench.client.remembered().to_vec();
    let text = format!("{:?}", stored[0]);
    assert!(text.contains("2001:db8::/48"), "{text}");
}
