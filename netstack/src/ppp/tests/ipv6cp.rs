//! IPV6CP on links of both roles, alone and beside IPCP.

use super::*;
use crate::id::Family;
use crate::ppp::{InterfaceId, NetworkDownReason, Phase};
use crate::wire::ppp_option::ipv6cp_option::INTERFACE_IDENTIFIER;

const OURS: InterfaceId = InterfaceId::new(0x0200_5eff_fe00_5301).unwrap();
const THEIRS: InterfaceId = InterfaceId::new(0x0200_5eff_fe00_5302).unwrap();
/// What the peer says of its IPv4.
const IPV4: [u8; 6] = [3, 6, 100, 64, 0, 1];
const UP: Event = Event::Ipv6Up { local: OURS, remote: THEIRS };

fn dual() -> ClientSettings {
    ClientSettings { ipv6: Some(OURS), ..client_settings() }
}

fn ipv6_only() -> ClientSettings {
    ClientSettings { ipv4: false, ..dual() }
}

fn option(value: &[u8]) -> Vec<u8> {
    [&[INTERFACE_IDENTIFIER, 2 + value.len() as u8], value].concat()
}

fn id(identifier: InterfaceId) -> Vec<u8> {
    option(&identifier.octets())
}

impl Bench {
    /// A client of which no proof is asked, with LCP just open; its first requests are returned.
    fn client_at_network(settings: ClientSettings) -> (Self, Vec<Sent>) {
        let mut bench = Bench::client(settings);
        bench.open(1492);
        let requests = bench.agree(protocol::LCP, &[5, 6, 1, 2, 3, 4]);
        bench.events();
        (bench, requests)
    }

    /// A client with both families up.
    pub(super) fn dual_up() -> Self {
        let (mut bench, requests) = Bench::client_at_network(dual());
        let [ipv4, ipv6] = &requests[..] else { panic!("{requests:?}") };
        assert!(
            ipv4.is(protocol::IPCP, code::CONFIGURE_REQUEST)
                && ipv6.is(protocol::IPV6CP, code::CONFIGURE_REQUEST)
        );
        bench.give(protocol::IPV6CP, code::CONFIGURE_ACK, ipv6.identifier, &ipv6.data).unwrap();
        bench.give(protocol::IPV6CP, code::CONFIGURE_REQUEST, 1, &id(THEIRS)).unwrap();
        assert_eq!(bench.events(), [UP]);
        let told = [3, 6, 100, 64, 3, 7, 129, 6, 192, 0, 2, 53, 131, 6, 192, 0, 2, 54];
        bench.sent();
        bench.give(protocol::IPCP, code::CONFIGURE_NAK, ipv4.identifier, &told).unwrap();
        bench.agree(protocol::IPCP, &IPV4);
        assert!(matches!(bench.events()[..], [Event::Ipv4Up { .. }]));
        bench
    }

    /// A server with the client proven and no IPv4 assigned; its first Configure-Request of IPV6CP is returned.
    pub(super) fn server_at_ipv6cp() -> (Self, Sent) {
        let settings = ServerSettings { ipv6: Some(OURS), ..server_settings(&[Authentication::Pap]) };
        let mut bench = Bench::server(settings);
        bench.open(1492);
        bench.agree(protocol::LCP, &[5, 6, 9, 9, 9, 9]);
        assert_eq!(bench.receive(protocol::IPV6CP, &[1, 1, 0, 4]), Err(DropReason::PppPhase), "not proven");
        bench.give(protocol::PAP, 1, 1, b"\x01u\x01p").unwrap();
        bench.with(|link, cx| link.authenticate(cx, Some(&Secret::new("p"))));
        bench.events();
        let request = bench.sent().pop().unwrap();
        (bench, request)
    }

    /// Gives a Configure-Request of IPV6CP and returns the answer.
    fn ask(&mut self, identifier: u8, data: &[u8]) -> Sent {
        self.give(protocol::IPV6CP, code::CONFIGURE_REQUEST, identifier, data).unwrap();
        let answer = self.sent_one();
        assert_eq!((answer.protocol, answer.identifier), (protocol::IPV6CP, identifier));
        answer
    }

    /// Lets an hour pass, during which the peer shows signs of life and nothing more. What the link asked for is returned.
    fn a_quiet_hour(&mut self) -> Vec<Sent> {
        let mut asked = vec![];
        for _ in 0..400 {
            self.pass_secs(9);
            let now = self.now;
            self.link.traffic_seen(now);
            asked.extend(self.sent().into_iter().filter(|sent| sent.code == code::CONFIGURE_REQUEST));
        }
        asked
    }
}

/// RFC 5072 INTERFACE-IDENTIFIER, §4.1, §5. RFC 7084 WLL-2.
#[test]
fn rfc5072_each_side_has_one_identifier_and_the_link_local_address_is_made_of_it() {
    let (mut bench, requests) = Bench::client_at_network(ipv6_only());
    let [request] = &requests[..] else { panic!("{requests:?}") };
    assert!(request.is(protocol::IPV6CP, code::CONFIGURE_REQUEST));
    assert_eq!(request.data, [1, 10, 2, 0, 0x5e, 0xff, 0xfe, 0, 0x53, 1]);
    bench.give(protocol::IPV6CP, code::CONFIGURE_ACK, request.identifier, &request.data).unwrap();
    assert!(bench.events().is_empty(), "one half is not enough");
    assert!(bench.ask(1, &id(THEIRS)).is(protocol::IPV6CP, code::CONFIGURE_ACK));
    assert_eq!(bench.events(), [UP]);
    assert_eq!(OURS.link_local(), "fe80::200:5eff:fe00:5301".parse::<core::net::Ipv6Addr>().unwrap());
    assert_eq!(bench.link.phase(), Phase::Network);
}

/// RFC 5072 INTERFACE-IDENTIFIER, §4.1.
#[test]
fn rfc5072_zero_and_what_is_no_identifier_get_a_nak_with_one_that_is_not_ours() {
    let (mut bench, _) = Bench::client_at_network(ipv6_only());
    let suggestion = bench.ask(0, &option(&[0; 8]));
    assert!(suggestion.is(protocol::IPV6CP, code::CONFIGURE_NAK));
    assert_eq!(suggestion.data.len(), 10);
    assert!(suggestion.data != option(&[0; 8]) && suggestion.data != id(OURS));
    for length in (0..30).filter(|&length| length != 8) {
        // Each in a negotiation of its own: after some Naks a peer is told No.
        let (mut bench, _) = Bench::client_at_network(ipv6_only());
        let answer = bench.ask(1, &option(&vec![7; length]));
        assert!(answer.is(protocol::IPV6CP, code::CONFIGURE_NAK), "length {length}");
    }
    let accepted = bench.ask(2, &suggestion.data);
    assert!(accepted.is(protocol::IPV6CP, code::CONFIGURE_ACK), "what we suggested will do");
}

/// RFC 5072 INTERFACE-IDENTIFIER, §4.1: a collision.
#[test]
fn rfc5072_a_peer_that_wants_our_identifier_is_told_another_one() {
    for (mut bench, request) in [Bench::server_at_ipv6cp(), {
        let (bench, requests) = Bench::client_at_network(ipv6_only());
        (bench, requests[0].clone())
    }] {
        assert_eq!(request.data, id(OURS));
        let nak = bench.ask(1, &id(OURS));
        assert!(nak.is(protocol::IPV6CP, code::CONFIGURE_NAK));
        assert!(nak.data.len() == 10 && nak.data != id(OURS) && nak.data != option(&[0; 8]));
        assert_eq!(bench.ask(2, &id(OURS)).data, nak.data, "the suggestion stays the same");
        bench.give(protocol::IPV6CP, code::CONFIGURE_ACK, request.identifier, &request.data).unwrap();
        assert!(bench.ask(3, &nak.data).is(protocol::IPV6CP, code::CONFIGURE_ACK));
        let [Event::Ipv6Up { local, remote }] = bench.events()[..] else { panic!() };
        assert_eq!((local, remote.octets()), (OURS, nak.data[2..].try_into().unwrap()));
    }
}

/// RFC 5072 §4.1: who hears back its own suggestion, or nothing of use, chooses anew at random.
#[test]
fn rfc5072_a_nak_is_obeyed_unless_it_leads_nowhere() {
    let (mut bench, requests) = Bench::client_at_network(ipv6_only());
    let mut request = requests[0].clone();
    bench.give(protocol::IPV6CP, code::CONFIGURE_NAK, request.identifier, &id(THEIRS)).unwrap();
    request = bench.sent_one();
    assert_eq!(request.data, id(THEIRS), "the peer's suggestion");
    let suggested = bench.ask(1, &id(THEIRS)).data;
    let own = request.data.clone();
    for useless in [own, suggested, option(&[0; 8]), option(&[1; 7]), option(&[])] {
        bench.give(protocol::IPV6CP, code::CONFIGURE_NAK, request.identifier, &useless).unwrap();
        let next = bench.sent_one();
        assert!(next.data != useless && next.data != request.data, "{useless:?}");
        assert!(next.data.len() == 10 && next.data[2..] != [0; 8]);
        request = next;
    }
    // Another option than ours changes nothing.
    bench.give(protocol::IPV6CP, code::CONFIGURE_NAK, request.identifier, &[2, 4, 0, 0x4f]).unwrap();
    assert_eq!(bench.sent_one().data, request.data);
}

/// RFC 5072 §4.1: without an identifier of our own there is none to fall back on.
#[test]
fn rfc5072_a_peer_that_rejects_the_option_gets_no_ipv6_and_is_asked_again_later() {
    let (mut bench, requests) = Bench::client_at_network(ipv6_only());
    bench.give(protocol::IPV6CP, code::CONFIGURE_REJECT, requests[0].identifier, &requests[0].data).unwrap();
    let request = bench.sent_one();
    assert!(request.data.is_empty(), "the option is not sent again");
    bench.give(protocol::IPV6CP, code::CONFIGURE_ACK, request.identifier, &[]).unwrap();
    bench.give(protocol::IPV6CP, code::CONFIGURE_REQUEST, 1, &id(THEIRS)).unwrap();
    bench.sent();
    assert_eq!(bench.events(), [Event::Ipv6Down { reason: NetworkDownReason::NoAgreement }]);
    let asked = bench.a_quiet_hour();
    assert_eq!(asked[0].data, id(OURS));
    assert!(bench.events().is_empty(), "and the owner is told once");
    assert_eq!(bench.link.phase(), Phase::Network);
}

/// RFC 5072 §4.1: the option is appended to one Nak, and no more.
#[test]
fn rfc5072_a_peer_that_does_not_name_itself_is_reminded_once() {
    for (mut bench, request) in [Bench::server_at_ipv6cp(), {
        let (bench, requests) = Bench::client_at_network(ipv6_only());
        (bench, requests[0].clone())
    }] {
        let nak = bench.ask(1, &[]);
        assert!(nak.is(protocol::IPV6CP, code::CONFIGURE_NAK));
        assert!(nak.data.len() == 10 && nak.data != id(OURS));
        assert!(bench.ask(2, &[]).is(protocol::IPV6CP, code::CONFIGURE_ACK));
        bench.give(protocol::IPV6CP, code::CONFIGURE_ACK, request.identifier, &request.data).unwrap();
        assert_eq!(bench.events(), [Event::Ipv6Down { reason: NetworkDownReason::NoAgreement }]);
        // Both roles begin anew by themselves: the peer cannot open what we have closed.
        let mut requests = bench.a_quiet_hour();
        assert!(requests.len() >= 10);
        bench.give(protocol::IPV6CP, code::CONFIGURE_REQUEST, 3, &id(THEIRS)).unwrap();
        requests.extend(bench.sent().into_iter().filter(|sent| sent.code == code::CONFIGURE_REQUEST));
        let last = requests.last().unwrap();
        bench.give(protocol::IPV6CP, code::CONFIGURE_ACK, last.identifier, &last.data).unwrap();
        assert_eq!(bench.events(), [UP]);
    }
}

#[test]
fn rfc5072_4_header_compression_and_unknown_options_are_rejected() {
    let (mut bench, _) = Bench::client_at_network(ipv6_only());
    let bad = [2, 4, 0, 0x4f, 99, 3, 1];
    let answer = bench.ask(1, &[&bad[..], &id(THEIRS)].concat());
    assert!(answer.is(protocol::IPV6CP, code::CONFIGURE_REJECT));
    assert_eq!(answer.data, bad);
}

/// A peer that asks for zero whatever it is told is not argued with for ever.
#[test]
fn rfc1661_4_6_after_max_failure_naks_a_bad_identifier_is_rejected() {
    let (mut bench, _) = Bench::client_at_network(ipv6_only());
    for round in 0..7 {
        let answer = bench.ask(round, &option(&[0; 8]));
        let expected = if round < 5 { code::CONFIGURE_NAK } else { code::CONFIGURE_REJECT };
        assert_eq!(answer.code, expected, "round {round}");
    }
}

/// IPv6 before IPV6CP is open is dropped in silence (RFC 5072 §2).
#[test]
fn rfc5072_2_ipv6_before_opened_is_dropped() {
    let (mut bench, _) = Bench::client_at_network(dual());
    assert_eq!(bench.receive(protocol::IPV6, &[0x60; 40]), Err(DropReason::PppPhase));
    assert!(bench.sent().is_empty());
    let (mut bench, _) = Bench::client_at_network(client_settings());
    for number in [protocol::IPV6, protocol::IPV6CP] {
        bench.receive(number, &[0x60; 40]).unwrap();
        assert!(bench.sent_one().is(protocol::LCP, code::PROTOCOL_REJECT), "it is not spoken");
    }
}

/// RFC 7084 WLL-3. TR-124 WAN.PPP.IPv6.5. RFC 1661 NCP: one NCP closing never closes the link or the other NCP.
#[test]
fn rfc7084_wll_3_either_network_protocol_ends_without_the_other() {
    use NetworkDownReason::{PeerTerminated, Rejected, Renegotiating};
    let down = |family, reason| match family {
        Family::Ipv4 => Event::Ipv4Down { reason },
        Family::Ipv6 => Event::Ipv6Down { reason },
    };
    let cases: [(Family, u16, u8, &[u8], NetworkDownReason); 8] = [
        (Family::Ipv6, protocol::IPV6CP, code::TERMINATE_REQUEST, b"", PeerTerminated),
        (Family::Ipv4, protocol::IPCP, code::TERMINATE_REQUEST, b"", PeerTerminated),
        (Family::Ipv6, protocol::LCP, code::PROTOCOL_REJECT, &[0x80, 0x57, 1], Rejected),
        (Family::Ipv6, protocol::LCP, code::PROTOCOL_REJECT, &[0x00, 0x57, 0x60], Rejected),
        (Family::Ipv4, protocol::LCP, code::PROTOCOL_REJECT, &[0x80, 0x21, 1], Rejected),
        (Family::Ipv4, protocol::LCP, code::PROTOCOL_REJECT, &[0x00, 0x21, 0x45], Rejected),
        (Family::Ipv6, protocol::IPV6CP, code::CONFIGURE_REQUEST, &[], Renegotiating),
        (Family::Ipv4, protocol::IPCP, code::CONFIGURE_REQUEST, &IPV4, Renegotiating),
    ];
    for (family, protocol, code, data, reason) in cases {
        let mut bench = Bench::dual_up();
        bench.give(protocol, code, 77, data).unwrap();
        assert_eq!(bench.events(), [down(family, reason)]);
        assert_eq!(bench.link.phase(), Phase::Network);
        let mut sent = bench.sent();
        let asked = bench.a_quiet_hour();
        let other = if family == Family::Ipv4 { protocol::IPV6CP } else { protocol::IPCP };
        assert!(asked.iter().all(|packet| packet.protocol != other), "the other is left alone");
        assert_eq!(asked.is_empty(), reason == Rejected, "tried again unless the peer does not speak it");
        sent.extend(asked);
        assert!(!sent.iter().any(|packet| packet.is(protocol::LCP, code::TERMINATE_REQUEST)));
        let events = bench.events();
        let renegotiated = down(family, NetworkDownReason::NoAnswer);
        assert!(events.iter().all(|event| *event == renegotiated), "{events:?}");
        assert_eq!(bench.link.phase(), Phase::Network);
    }
}

/// TR-124 WAN.PPP.IPv6.5: one family that is never answered keeps neither the other nor the link from being up.
#[test]
fn tr124_ipv6_5_one_family_failing_keeps_the_other() {
    for family in [Family::Ipv4, Family::Ipv6] {
        let (mut bench, requests) = Bench::client_at_network(dual());
        let [ipv4, ipv6] = &requests[..] else { panic!() };
        let (protocol, up, data) = match family {
            Family::Ipv4 => (protocol::IPV6CP, ipv6, id(THEIRS)),
            Family::Ipv6 => (protocol::IPCP, ipv4, IPV4.to_vec()),
        };
        if family == Family::Ipv6 {
            bench.give(protocol, code::CONFIGURE_NAK, up.identifier, &[3, 6, 100, 64, 3, 7]).unwrap();
            bench.agree(protocol, &data);
        } else {
            bench.give(protocol, code::CONFIGURE_ACK, up.identifier, &up.data).unwrap();
            bench.give(protocol, code::CONFIGURE_REQUEST, 1, &data).unwrap();
        }
        assert_eq!(bench.events().len(), 1);
        bench.a_quiet_hour();
        let reason = NetworkDownReason::NoAnswer;
        let down = match family {
            Family::Ipv4 => Event::Ipv4Down { reason },
            Family::Ipv6 => Event::Ipv6Down { reason },
        };
        assert_eq!(bench.events(), [down]);
        assert_eq!(bench.link.phase(), Phase::Network);
    }
}

/// A link on which neither comes up is kept: the peer may change its mind.
#[test]
fn a_link_without_any_network_protocol_is_kept() {
    let (mut bench, _) = Bench::client_at_network(dual());
    bench.give(protocol::LCP, code::PROTOCOL_REJECT, 1, &[0x80, 0x57]).unwrap();
    bench.give(protocol::LCP, code::PROTOCOL_REJECT, 2, &[0x80, 0x21]).unwrap();
    bench.sent();
    assert!(bench.a_quiet_hour().is_empty());
    assert_eq!(bench.events().len(), 2);
    assert_eq!(bench.link.phase(), Phase::Network);
    bench.give(protocol::IPV6CP, code::CONFIGURE_REQUEST, 1, &id(THEIRS)).unwrap();
    let sent = bench.sent();
    let request = sent.iter().find(|sent| sent.is(protocol::IPV6CP, code::CONFIGURE_REQUEST)).unwrap();
    bench.give(protocol::IPV6CP, code::CONFIGURE_ACK, request.identifier, &request.data).unwrap();
    assert_eq!(bench.events(), [UP], "and it does");
}

#[test]
fn a_client_without_ipv4_rejects_ipcp_and_runs_ipv6_alone() {
    let (mut bench, requests) = Bench::client_at_network(ipv6_only());
    bench.receive(protocol::IPCP, &[1, 1, 0, 4]).unwrap();
    assert!(bench.sent_one().is(protocol::LCP, code::PROTOCOL_REJECT));
    bench.give(protocol::IPV6CP, code::CONFIGURE_ACK, requests[0].identifier, &requests[0].data).unwrap();
    bench.ask(1, &id(THEIRS));
    assert_eq!(bench.events(), [UP]);
}

/// RFC 5072 §2: a link that carries IPv6 carries packets of 1,280 octets.
#[test]
fn rfc5072_2_a_link_below_1280_octets_runs_no_ipv6() {
    for (mru, runs) in [(1279u16, false), (1280, true)] {
        let mut bench = Bench::client(dual());
        bench.open(1492);
        let [high, low] = mru.to_be_bytes();
        let requests = bench.agree(protocol::LCP, &[1, 4, high, low]);
        assert_eq!(requests.iter().any(|sent| sent.protocol == protocol::IPV6CP), runs);
        assert!(requests.iter().any(|sent| sent.protocol == protocol::IPCP), "IPv4 does not mind");
        let down = Event::Ipv6Down { reason: NetworkDownReason::SmallMtu };
        assert_eq!(bench.events().contains(&down), !runs);
        if !runs {
            bench.receive(protocol::IPV6CP, &[1, 1, 0, 4]).unwrap();
            assert!(bench.sent_one().is(protocol::LCP, code::PROTOCOL_REJECT));
        }
    }
}

/// A server offers IPv6 whether or not an IPv4 address is assigned, and one that does not speak it says so.
#[test]
fn a_server_offers_ipv6_by_itself() {
    let (mut bench, request) = Bench::server_at_ipv6cp();
    assert!(request.is(protocol::IPV6CP, code::CONFIGURE_REQUEST));
    bench.give(protocol::IPV6CP, code::CONFIGURE_ACK, request.identifier, &request.data).unwrap();
    bench.ask(1, &id(THEIRS));
    assert_eq!(bench.events(), [UP]);
    // A subscriber that closes it may open it again.
    bench.give(protocol::IPV6CP, code::TERMINATE_REQUEST, 2, &[]).unwrap();
    assert_eq!(bench.events(), [Event::Ipv6Down { reason: NetworkDownReason::PeerTerminated }]);
    bench.sent();
    assert!(bench.a_quiet_hour().is_empty(), "a server waits until it is asked");
    bench.give(protocol::IPV6CP, code::CONFIGURE_REQUEST, 3, &id(THEIRS)).unwrap();
    let sent = bench.sent();
    let request = sent.iter().find(|sent| sent.is(protocol::IPV6CP, code::CONFIGURE_REQUEST)).unwrap();
    bench.give(protocol::IPV6CP, code::CONFIGURE_ACK, request.identifier, &request.data).unwrap();
    assert_eq!(bench.events(), [UP]);
}

#[test]
fn both_go_down_with_the_link() {
    let mut bench = Bench::dual_up();
    bench.with(|link, cx| link.lower_down(cx));
    let reason = NetworkDownReason::Link;
    let events = bench.events();
    assert_eq!(events[..2], [Event::Ipv4Down { reason }, Event::Ipv6Down { reason }]);
    assert!(matches!(events[2..], [Event::Down(_)]));
    assert_eq!(bench.link.poll_timeout(), None);
}

/// What the user reads names the family.
#[test]
fn reasons_name_the_family_and_are_sentences() {
    use NetworkDownReason::*;
    use alloc::string::ToString;
    for reason in [PeerTerminated, Rejected, NoAnswer, NoAgreement, SmallMtu] {
        assert!(reason.of(Family::Ipv4).to_string().contains(" IPv4"));
        assert!(reason.of(Family::Ipv6).to_string().contains(" IPv6"));
    }
    for reason in [Link, Renegotiating] {
        assert_eq!(reason.of(Family::Ipv4).to_string(), reason.of(Family::Ipv6).to_string());
    }
}
