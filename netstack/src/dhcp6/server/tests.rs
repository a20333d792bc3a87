//! Hosts as they are met on LANs. Another implementation (dhcproto) reads the replies.

use alloc::format;
use alloc::string::ToString;
use alloc::vec;

use dhcproto::v6::{DhcpOption, Message as Other, OptionCode, Status};
use dhcproto::{Decodable, Decoder};

use super::*;
use crate::dhcp6::message::{MESSAGE_MAX, Message};
use crate::id::Mac;
use crate::rng::SeededRng;
use crate::wire::ipv6::{ALL_DHCP_SERVERS, Ipv6};

const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const HOST: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x99);
const XID: [u8; 3] = [1, 2, 3];

fn ip(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

fn cidr(text: &str) -> Ipv6Cidr {
    text.parse().unwrap()
}

fn own() -> Duid {
    Duid::link_layer(Mac([2, 0, 0, 0, 0, 1]))
}

fn client(last: u8) -> Duid {
    Duid::link_layer(Mac([0x52, 0x54, 0, 0, 0, last]))
}

struct Bench {
    server: Server,
    rng: SeededRng,
    now: Instant,
}

/// A reply.
#[derive(Debug)]
struct Got {
    bytes: Vec<u8>,
    other: Other,
}

impl Got {
    fn message(&self) -> Message<'_> {
        Message::parse(&self.bytes).unwrap()
    }

    fn kind(&self) -> MessageType {
        self.message().kind
    }

    fn ia(&self, kind: IaKind) -> Ia<'_> {
        self.message().options.associations(kind).next().expect("the association is answered")
    }

    /// The addresses and their lifetimes.
    fn leased(&self) -> Vec<(Ipv6Addr, u32, u32)> {
        let leases = self.ia(IaKind::Addresses).options.ia_addresses();
        leases.map(|lease| (lease.address, lease.preferred, lease.valid)).collect()
    }

    fn addresses(&self) -> Vec<Ipv6Addr> {
        self.leased().iter().map(|lease| lease.0).collect()
    }

    fn denied(&self, kind: IaKind) -> StatusCode {
        let ia = self.ia(kind);
        assert!(ia.options.ia_addresses().next().is_none() && ia.options.ia_prefixes().next().is_none());
        ia.options.status().expect("a status").code
    }

    fn status(&self) -> Option<StatusCode> {
        self.message().options.status().map(|status| status.code)
    }
}

impl Bench {
    fn new(stateful: bool) -> Self {
        let host = |name: &str, mac, ipv6| Host { name: name.to_string(), mac, ipv4: None, ipv6 };
        let settings = ServerSettings {
            duid: own(),
            source: ROUTER,
            stateful,
            hosts: vec![
                host("nas", Some(Mac([0x52, 0x54, 0, 0, 0, 200])), Some(ip("::10"))),
                host("printer", None, Some(ip("::11"))),
            ],
            router_name: "genkan".to_string(),
        };
        let mut rng = SeededRng::from_u64(5);
        let now = Instant::from_secs(1000);
        let mut server = Server::new(&mut Cx { now, rng: &mut rng }, settings);
        server.set_information(Information {
            dns: vec![ip("fd00::1"), ip("2001:db8::1")],
            domains: vec!["home.arpa".to_string()],
            passed_on: vec![(code::NTP_SERVER, vec![0, 1, 0, 1, 9]), (code::SNTP_SERVERS, vec![7; 16])],
        });
        let mut bench = Bench { server, rng, now };
        bench.offer(&[("2001:db8:1::/64", 1800, 3600)]);
        bench
    }

    fn offer(&mut self, prefixes: &[(&str, u32, u32)]) {
        let prefixes: Vec<_> = prefixes
            .iter()
            .map(|&(prefix, preferred, valid)| OfferedPrefix {
                prefix: cidr(prefix),
                preferred_until: self.now.after_lifetime(preferred),
                valid_until: self.now.after_lifetime(valid),
            })
            .collect();
        self.server.set_prefixes(&prefixes);
    }

    fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.server.handle_timeout(&mut Cx { now: self.now, rng: &mut self.rng });
    }

    fn hear(&mut self, packet: &[u8]) -> Result<(), DropReason> {
        self.server.handle(&mut Cx { now: self.now, rng: &mut self.rng }, packet)
    }

    fn ask(&mut self, message: Builder) -> Result<Option<Got>, DropReason> {
        self.hear(&packet(HOST, ALL_DHCP_SERVERS, (546, 547), &message.finish()))?;
        Ok(self.got())
    }

    fn got(&mut self) -> Option<Got> {
        let mut frame = Frame::with_capacity(2048);
        if !self.server.poll_transmit(&mut frame) {
            return None;
        }
        assert!(!self.server.poll_transmit(&mut Frame::with_capacity(2048)), "one reply at most");
        let packet = Ipv6::parse(frame.bytes()).unwrap();
        assert_eq!((packet.source(), packet.destination()), (ROUTER, HOST));
        let udp = packet.udp().expect("its checksum is right");
        assert_eq!((udp.source_port, udp.destination_port), (547, 546));
        let other = Other::decode(&mut Decoder::new(udp.payload)).expect("another implementation reads it");
        let got = Got { bytes: udp.payload.to_vec(), other };
        assert_eq!((got.message().xid, got.message().server()), (XID, Some(own())));
        Some(got)
    }

    /// Solicit, Advertise, Request, Reply: the addresses.
    fn lease(&mut self, last: u8) -> Vec<Ipv6Addr> {
        let offer = self.ask(solicit(last)).unwrap().unwrap();
        assert_eq!(offer.kind(), MessageType::Advertise);
        let reply = self.ask(with(MessageType::Request, last, &offer.addresses())).unwrap().unwrap();
        assert_eq!(reply.kind(), MessageType::Reply);
        assert_eq!(reply.addresses(), offer.addresses(), "what was offered is what is leased");
        assert_eq!(reply.message().client(), Some(client(last)));
        reply.addresses()
    }

    fn events(&mut self) -> Vec<Event> {
        core::iter::from_fn(|| self.server.poll_event()).collect()
    }
}

fn packet(source: Ipv6Addr, destination: Ipv6Addr, ports: (u16, u16), message: &[u8]) -> Vec<u8> {
    let mut frame = Frame::with_capacity(4096);
    assert!(Header { source, destination, hop_limit: 1 }.write_udp(ports.0, ports.1, message, &mut frame));
    frame.bytes().to_vec()
}

fn message(kind: MessageType, last: u8) -> Builder {
    let mut message = Builder::new(kind, XID, MESSAGE_MAX);
    assert!(message.duid(code::CLIENT_ID, &client(last)));
    message
}

fn solicit(last: u8) -> Builder {
    let mut message = message(MessageType::Solicit, last);
    assert!(message.ia(IaKind::Addresses, 7, (0, 0), |_| true));
    message
}

/// A message about these addresses, to us where it is to be to somebody.
fn with(kind: MessageType, last: u8, addresses: &[Ipv6Addr]) -> Builder {
    let mut message = message(kind, last);
    if !matches!(kind, MessageType::Confirm | MessageType::Rebind | MessageType::Solicit) {
        assert!(message.duid(code::SERVER_ID, &own()));
    }
    assert!(message.ia(IaKind::Addresses, 7, (0, 0), |ia| {
        addresses.iter().all(|address| ia.ia_address(*address, (0, 0)))
    }));
    message
}

/// RFC 7084 L-8, L-10, L-12: DNS, and what the ISP tells, reach the hosts.
#[test]
fn rfc7084_l_8_information_is_told_to_everyone() {
    let mut bench = Bench::new(false);
    for anonymous in [false, true] {
        let mut asked = Builder::new(MessageType::InformationRequest, XID, 200);
        if !anonymous {
            assert!(asked.duid(code::CLIENT_ID, &client(1)));
        }
        assert!(asked.option_request(&[23, 24, 31, 56, 32, 82, 83]));
        let reply = bench.ask(asked).unwrap().unwrap();
        assert_eq!(reply.kind(), MessageType::Reply);
        let opts = reply.other.opts();
        assert_eq!(opts.get(OptionCode::ClientId).is_some(), !anonymous);
        let dns = DhcpOption::DomainNameServers(vec![ip("fd00::1"), ip("2001:db8::1")]);
        assert_eq!(opts.get(OptionCode::DomainNameServers), Some(&dns), "L-10");
        let options = reply.message().options;
        assert_eq!(options.domains(), ["home.arpa"], "L-10");
        assert_eq!(options.first(code::NTP_SERVER), Some(&[0, 1, 0, 1, 9][..]), "L-12: as it came");
        assert_eq!(options.first(code::SNTP_SERVERS), Some(&[7; 16][..]), "L-12");
        assert_eq!(options.seconds(code::INFORMATION_REFRESH_TIME), Some(1800));
        assert_eq!(
            (options.seconds(code::SOL_MAX_RT), options.seconds(code::INF_MAX_RT)),
            (Some(3600), Some(3600))
        );
    }
    // What is not asked for is not told; who asks for nothing in particular gets the DNS.
    let mut asked = message(MessageType::InformationRequest, 1);
    assert!(asked.option_request(&[code::NTP_SERVER]));
    let reply = bench.ask(asked).unwrap().unwrap();
    let codes: Vec<_> = reply.message().options.iter().map(|(code, _)| code).collect();
    assert_eq!(codes, [code::CLIENT_ID, code::SERVER_ID, code::NTP_SERVER]);
    let reply = bench.ask(message(MessageType::InformationRequest, 1)).unwrap().unwrap();
    let codes: Vec<_> = reply.message().options.iter().map(|(code, _)| code).collect();
    assert_eq!(codes, [code::CLIENT_ID, code::SERVER_ID, code::DNS_SERVERS, code::DOMAIN_LIST]);
}

/// RFC 7084 L-9: without management, hosts make their addresses themselves, and are told so when they ask.
#[test]
fn rfc7084_l_9_a_stateless_lan_leases_nothing() {
    let mut bench = Bench::new(false);
    let reply = bench.ask(solicit(1)).unwrap().unwrap();
    assert_eq!(
        (reply.kind(), reply.denied(IaKind::Addresses)),
        (MessageType::Advertise, StatusCode::NoAddrsAvail)
    );
    let reply = bench.ask(with(MessageType::Request, 1, &[])).unwrap().unwrap();
    assert_eq!(reply.denied(IaKind::Addresses), StatusCode::NoAddrsAvail);
    assert_eq!((bench.server.leases().count(), bench.events()), (0, vec![]));
}

#[test]
fn rfc8415_18_3_a_client_gets_an_address_in_every_prefix() {
    let mut bench = Bench::new(true);
    bench.offer(&[("2001:db8:1::/64", 1800, 3600), ("fd00:1::/64", 7200, 9000)]);
    let [global, local] = bench.lease(1)[..] else { panic!("two addresses") };
    assert!(cidr("2001:db8:1::/64").contains(global) && cidr("fd00:1::/64").contains(local));
    assert_eq!(global.octets()[8..], local.octets()[8..], "with the same end");
    let renew = bench.ask(with(MessageType::Renew, 1, &[global, local])).unwrap().unwrap();
    assert_eq!(renew.leased(), [(global, 1800, 3600), (local, 2700, 5400)], "RFC 9096 L-16 caps the second");
    let ia = renew.ia(IaKind::Addresses);
    assert_eq!((ia.iaid, ia.t1, ia.t2), (7, 300, 480), "soon, for no advertisement ends a leased address");
    let expected = Event::Leased { client: client(1), addresses: vec![global, local], hostname: None };
    assert_eq!(bench.events(), [expected.clone(), Event::LeasesChanged]);
    assert_eq!(
        expected.to_string(),
        format!("leased {global}, {local} to 000300015254000000 01").replace("00 01", "0001")
    );
    assert_ne!(bench.lease(2)[0], global, "another client has another");
    assert_eq!(bench.lease(1), [global, local], "and the same client the same");
}

#[test]
fn rfc8415_18_3_1_a_solicit_with_rapid_commit_is_granted_at_once() {
    let mut bench = Bench::new(true);
    let mut asked = solicit(1);
    assert!(asked.option(code::RAPID_COMMIT, &[]));
    let reply = bench.ask(asked).unwrap().unwrap();
    assert_eq!(reply.kind(), MessageType::Reply);
    assert_eq!(reply.message().options.first(code::RAPID_COMMIT), Some(&[][..]));
    assert_eq!((reply.addresses().len(), bench.server.leases().count()), (1, 1));
    assert_eq!(bench.ask(solicit(2)).unwrap().unwrap().kind(), MessageType::Advertise);
    assert_eq!(bench.server.leases().count(), 1, "an offer leaves nothing behind");
}

#[test]
fn a_configured_host_gets_its_address_and_name() {
    let mut bench = Bench::new(true);
    assert_eq!(bench.lease(200), [ip("2001:db8:1::10")]);
    let lease = bench.server.leases().next().unwrap();
    assert_eq!((lease.hostname.as_deref(), lease.suffix), (Some("nas"), ip("::10")));
    assert!(bench.events()[0].to_string().contains("to nas ("));
}

/// After renumbering, old addresses end and new ones begin.
#[test]
fn rfc8415_18_3_4_a_renewal_after_renumbering_replaces_the_addresses() {
    let mut bench = Bench::new(true);
    let [old] = bench.lease(1)[..] else { panic!("one address") };
    bench.offer(&[("2001:db8:2::/64", 1800, 3600)]);
    for kind in [MessageType::Renew, MessageType::Rebind] {
        let reply = bench.ask(with(kind, 1, &[old])).unwrap().unwrap();
        let new = cidr("2001:db8:2::/64").with_suffix(old);
        assert_eq!(reply.leased(), [(new, 1800, 3600), (old, 0, 0)]);
    }
    // A prefix that is deprecated, and not yet invalid, lets its addresses run out.
    bench.offer(&[("2001:db8:1::/64", 0, 100), ("2001:db8:2::/64", 1800, 3600)]);
    let reply = bench.ask(with(MessageType::Renew, 1, &[old])).unwrap().unwrap();
    assert_eq!(reply.leased()[1], (old, 0, 100));
    // With none left, they end, and nothing new is leased.
    bench.offer(&[]);
    let reply = bench.ask(with(MessageType::Renew, 1, &[old])).unwrap().unwrap();
    assert_eq!(reply.leased(), [(old, 0, 0)]);
    let reply = bench.ask(solicit(2)).unwrap().unwrap();
    assert_eq!(reply.denied(IaKind::Addresses), StatusCode::NoAddrsAvail);
}

#[test]
fn lifetimes_follow_the_prefix_to_its_last_second() {
    let mut bench = Bench::new(true);
    bench.lease(1);
    bench.now += Duration::from_secs(1000);
    let reply = bench.ask(with(MessageType::Renew, 1, &[])).unwrap().unwrap();
    assert_eq!((reply.leased()[0].1, reply.leased()[0].2), (800, 2600));
    assert_eq!(bench.server.poll_timeout(), Some(Instant::from_secs(1000 + 3600)));
    bench.wait(2599);
    assert_eq!(bench.server.leases().count(), 1);
    bench.wait(1);
    assert_eq!((bench.server.leases().count(), bench.server.poll_timeout()), (0, None));
    assert!(bench.events().contains(&Event::LeasesChanged));
}

#[test]
fn rfc8415_18_3_3_confirm_tells_whether_addresses_belong_here() {
    let mut bench = Bench::new(true);
    let ours = ip("2001:db8:1::77");
    let status = |bench: &mut Bench, addresses: &[Ipv6Addr]| {
        bench.ask(with(MessageType::Confirm, 1, addresses)).unwrap().unwrap().status()
    };
    assert_eq!(status(&mut bench, &[ours]), Some(StatusCode::Success));
    assert_eq!(status(&mut bench, &[ours, ip("2001:db8:9::77")]), Some(StatusCode::NotOnLink));
    assert!(bench.ask(with(MessageType::Confirm, 1, &[])).is_err(), "there is nothing to confirm");
}

#[test]
fn rfc8415_18_3_2_a_request_for_another_links_address_is_refused() {
    let mut bench = Bench::new(true);
    let foreign = [ip("2001:db8:9::77")];
    let reply = bench.ask(with(MessageType::Request, 1, &foreign)).unwrap().unwrap();
    assert_eq!(reply.denied(IaKind::Addresses), StatusCode::NotOnLink);
    let reply = bench.ask(with(MessageType::Solicit, 1, &foreign)).unwrap().unwrap();
    assert_eq!(reply.addresses().len(), 1, "of a Solicit it is a wish");
}

#[test]
fn rfc8415_18_3_4_a_renewal_of_an_unknown_lease_has_no_binding() {
    let mut bench = Bench::new(true);
    for kind in [MessageType::Renew, MessageType::Rebind] {
        let reply = bench.ask(with(kind, 1, &[ip("2001:db8:1::77")])).unwrap().unwrap();
        assert_eq!(reply.denied(IaKind::Addresses), StatusCode::NoBinding);
    }
}

#[test]
fn rfc8415_18_3_7_release_and_decline_end_a_lease() {
    let mut bench = Bench::new(true);
    let [address] = bench.lease(1)[..] else { panic!("one address") };
    let reply = bench.ask(with(MessageType::Release, 1, &[address])).unwrap().unwrap();
    assert_eq!((reply.status(), bench.server.leases().count()), (Some(StatusCode::Success), 0));
    let reply = bench.ask(with(MessageType::Release, 1, &[address])).unwrap().unwrap();
    assert_eq!(reply.denied(IaKind::Addresses), StatusCode::NoBinding);
    assert_eq!(bench.lease(1), [address], "it is the client's still");
    let reply = bench.ask(with(MessageType::Decline, 1, &[address])).unwrap().unwrap();
    assert_eq!((reply.status(), bench.server.leases().count()), (Some(StatusCode::Success), 0));
    assert_ne!(bench.lease(1), [address], "another node uses it");
    let suffix = cidr("::/64").with_suffix(address);
    let events = bench.events();
    assert!(events.contains(&Event::Released { client: client(1), suffix }));
    assert!(events.contains(&Event::Declined { client: client(1), suffix }));
    bench.ask(with(MessageType::Release, 1, &[])).unwrap();
    bench.wait(600);
    assert_eq!(bench.lease(1), [address], "after a while it is tried again");
    // Even a configured one.
    let nas = bench.lease(200);
    bench.ask(with(MessageType::Decline, 200, &nas)).unwrap();
    assert_ne!(bench.lease(200), nas);
}

#[test]
fn prefixes_are_not_delegated_into_the_lan() {
    let mut bench = Bench::new(true);
    let mut asked = message(MessageType::Solicit, 1);
    assert!(asked.ia(IaKind::Prefixes, 9, (0, 0), |_| true));
    let reply = bench.ask(asked).unwrap().unwrap();
    assert_eq!(reply.denied(IaKind::Prefixes), StatusCode::NoPrefixAvail);
    let Some(DhcpOption::IAPD(ia)) = reply.other.opts().get(OptionCode::IAPD) else { panic!("an IA_PD") };
    let Some(DhcpOption::StatusCode(status)) = ia.opts.get(OptionCode::StatusCode) else {
        panic!("a status")
    };
    assert_eq!(status.status, Status::NoPrefixAvail);
}

/// odhcpd CVE-2026-62948: hostnames stay inert.
#[test]
fn odhcpd_cve_2026_62948_a_name_is_harmless_and_borne_once() {
    let mut bench = Bench::new(true);
    let mut named = |last: u8, label: &[u8]| {
        let mut asked = with(MessageType::Request, last, &[]);
        let value = [&[0, label.len() as u8][..], label, b"\x04home\0"].concat();
        assert!(asked.option(code::CLIENT_FQDN, &value));
        bench.ask(asked).unwrap().unwrap();
        let lease = bench.server.leases().find(|lease| lease.client == client(last)).unwrap();
        lease.hostname.clone()
    };
    assert_eq!(named(1, b"Laptop").as_deref(), Some("laptop"));
    assert_eq!(named(2, b"laptop"), None, "it is borne by another");
    assert_eq!(named(1, b"laptop").as_deref(), Some("laptop"));
    for label in
        [&b"a\nb"[..], b"<b>", b"\x1b[31m", b"", b"genkan", b"nas", b"printer", b"localhost", &[b'a'; 64]]
    {
        assert_eq!(named(3, label), None, "{label:?}");
    }
    // Cut short, it is no name.
    let mut bench = Bench::new(true);
    for value in [&[][..], &[0], &[0, 9], &[0, 9, b'a']] {
        let mut asked = with(MessageType::Request, 1, &[]);
        assert!(asked.option(code::CLIENT_FQDN, value));
        bench.ask(asked).unwrap().unwrap();
        assert_eq!(bench.server.leases().next().unwrap().hostname, None);
    }
}

#[test]
fn rfc8415_16_messages_that_a_server_must_not_answer_are_dropped() {
    let mut bench = Bench::new(true);
    let ia = |mut message: Builder| {
        assert!(message.ia(IaKind::Addresses, 7, (0, 0), |ia| ia.ia_address(ip("2001:db8:1::5"), (0, 0))));
        message
    };
    let server = |mut message: Builder, duid: &Duid| {
        assert!(message.duid(code::SERVER_ID, duid));
        message
    };
    use DropReason::{DhcpMalformed, DhcpUnexpected};
    use MessageType::*;
    for (why, asked, reason) in [
        ("no client", Builder::new(Solicit, XID, 99), DhcpMalformed),
        ("no client", server(Builder::new(Request, XID, 99), &own()), DhcpMalformed),
        ("a server named", server(solicit(1), &own()), DhcpUnexpected),
        ("a server named", server(ia(message(Rebind, 1)), &own()), DhcpUnexpected),
        ("a server named", server(ia(message(Confirm, 1)), &own()), DhcpUnexpected),
        ("no server named", ia(message(Request, 1)), DhcpUnexpected),
        ("no server named", ia(message(Renew, 1)), DhcpUnexpected),
        ("no server named", ia(message(Release, 1)), DhcpUnexpected),
        ("another server", server(ia(message(Request, 1)), &client(9)), DhcpUnexpected),
        ("another server", server(ia(message(Decline, 1)), &client(9)), DhcpUnexpected),
        ("another server", server(message(InformationRequest, 1), &client(9)), DhcpUnexpected),
        ("leases", ia(message(InformationRequest, 1)), DhcpUnexpected),
        ("a server's", message(Advertise, 1), DhcpUnexpected),
        ("a server's", message(Reply, 1), DhcpUnexpected),
        ("a server's", message(Reconfigure, 1), DhcpUnexpected),
    ] {
        let kind = asked.clone().finish()[0];
        assert_eq!(bench.ask(asked).map(|_| ()), Err(reason), "{why}, type {kind}");
        assert!(bench.got().is_none());
    }
    let good = solicit(1).finish();
    for (source, destination, ports) in [
        (ip("2001:db8:1::5"), ALL_DHCP_SERVERS, (546, 547)),
        (HOST, ALL_DHCP_SERVERS, (546, 546)),
        (HOST, ROUTER, (546, 547)),
    ] {
        assert_eq!(bench.hear(&packet(source, destination, ports, &good)), Err(DhcpUnexpected));
    }
    let mut whole = packet(HOST, ALL_DHCP_SERVERS, (546, 547), &good);
    for cut in 0..whole.len() {
        assert_eq!(bench.hear(&whole[..cut]), Err(DhcpMalformed), "cut at {cut}");
    }
    whole[60] ^= 1;
    assert_eq!(bench.hear(&whole), Err(DhcpMalformed), "the checksum");
    assert_eq!(bench.server.leases().count(), 0);
}

#[test]
fn rfc8415_18_3_unicast_is_answered_with_use_multicast() {
    let mut bench = Bench::new(true);
    for kind in [MessageType::Request, MessageType::Renew, MessageType::Release, MessageType::Decline] {
        let asked = with(kind, 1, &[]).finish();
        bench.hear(&packet(HOST, ROUTER, (546, 547), &asked)).unwrap();
        let reply = bench.got().unwrap();
        assert_eq!((reply.kind(), reply.status()), (MessageType::Reply, Some(StatusCode::UseMulticast)));
        assert!(reply.message().options.first(code::IA_NA).is_none());
    }
    assert_eq!(bench.server.leases().count(), 0);
}

/// A prefix without end must not make leases without end.
#[test]
fn a_lease_ends_when_its_client_does_not_come_back() {
    let mut bench = Bench::new(true);
    bench.offer(&[("2001:db8:1::/64", 1800, 3600), ("fd00:1::/64", u32::MAX, u32::MAX)]);
    bench.lease(1);
    let expires = bench.server.leases().next().unwrap().expires;
    assert_eq!(expires.since(bench.now), Duration::from_secs(5400));
    bench.server.handle_timeout(&mut Cx { now: expires, rng: &mut SeededRng::from_u64(1) });
    assert_eq!(bench.server.leases().count(), 0);
}

#[test]
fn leases_come_back_and_cannot_be_forged() {
    let mut bench = Bench::new(true);
    let addresses = bench.lease(1);
    let stored: Vec<_> = bench.server.leases().cloned().collect();
    let mut next = Bench::new(true);
    // Another seed, so that only what is stored can give the same address.
    next.server = Server::new(
        &mut Cx { now: next.now, rng: &mut SeededRng::from_u64(99) },
        next.server.settings.clone(),
    );
    next.offer(&[("2001:db8:1::/64", 1800, 3600)]);
    let lease = |client: Duid, suffix: &str, expires| Lease {
        client,
        iaid: 7,
        suffix: ip(suffix),
        hostname: Some("<b>".to_string()),
        expires: Instant::from_secs(expires),
    };
    let mut leases = stored.clone();
    leases.extend([
        lease(client(2), "::12:3456", 1000),
        lease(client(3), "::10", 9000),
        lease(client(4), "::1", 9000),
        lease(client(5), "2001:db8::12:3456", 9000),
        lease(client(6), "::12:3456", 9000),
        lease(client(7), "::12:3456", 9000),
    ]);
    next.server.restore(&mut Cx { now: next.now, rng: &mut SeededRng::from_u64(9) }, leases);
    let restored: Vec<_> = next.server.leases().map(|lease| (&lease.client, &lease.hostname)).collect();
    assert_eq!(restored, [(&client(1), &None), (&client(6), &None)]);
    let renew = next.ask(with(MessageType::Renew, 1, &addresses)).unwrap().unwrap();
    assert_eq!(renew.addresses(), addresses);
}

#[test]
fn leases_are_bounded_and_exhaustion_is_told() {
    let mut bench = Bench::new(true);
    let mut seen = BTreeSet::new();
    for nth in 0..LEASES_MAX as u32 + 5 {
        let mut asked = Builder::new(MessageType::Solicit, XID, 500);
        assert!(
            asked.duid(code::CLIENT_ID, &Duid::new(&[&[0, 2], &nth.to_be_bytes()[..]].concat()).unwrap())
        );
        assert!(asked.option(code::RAPID_COMMIT, &[]) && asked.ia(IaKind::Addresses, 7, (0, 0), |_| true));
        let reply = bench.ask(asked).unwrap().unwrap();
        if nth < LEASES_MAX as u32 {
            assert!(seen.insert(reply.addresses()[0]), "no address twice");
        } else {
            assert_eq!(reply.denied(IaKind::Addresses), StatusCode::NoAddrsAvail);
        }
    }
    assert_eq!(bench.server.leases().count(), LEASES_MAX);
    assert!(bench.server.events.len() <= EVENTS);
    bench.events();
    let mut asked = with(MessageType::Rebind, 1, &[]);
    assert!(asked.ia(IaKind::Addresses, 8, (0, 0), |_| true));
    assert_eq!(bench.ask(solicit(1)).unwrap().unwrap().denied(IaKind::Addresses), StatusCode::NoAddrsAvail);
    assert!(bench.events().is_empty(), "told once");
    // One message asks for no more than a few associations.
    let mut bench = Bench::new(true);
    let mut asked = message(MessageType::Solicit, 1);
    assert!(asked.option(code::RAPID_COMMIT, &[]));
    assert!((0..50).all(|iaid| asked.ia(IaKind::Addresses, iaid, (0, 0), |_| true)));
    bench.ask(asked).unwrap().unwrap();
    assert_eq!(bench.server.leases().count(), 8);
}

/// systemd CVE-2018-15688, odhcpd CVE-2026-53921: replies of every size in buffers of every size.
#[test]
fn a_reply_fits_its_buffer_or_is_not_sent() {
    let mut bench = Bench::new(true);
    let prefixes: Vec<_> = (0..16).map(|nth| format!("2001:db8:{nth:x}::/64")).collect();
    let prefixes: Vec<_> = prefixes.iter().map(|prefix| (prefix.as_str(), 1800, 3600)).collect();
    bench.offer(&prefixes);
    bench.server.set_information(Information {
        dns: vec![ip("fd00::1"); 8],
        domains: (0..16).map(|nth| format!("{}.example{nth}", "a".repeat(60))).collect(),
        passed_on: vec![(code::NTP_SERVER, vec![9; 512])],
    });
    let asked = || {
        let mut asked = solicit(1);
        assert!(asked.option(code::RAPID_COMMIT, &[]) && asked.option_request(&[23, 24, 56, 82]));
        packet(HOST, ALL_DHCP_SERVERS, (546, 547), &asked.finish())
    };
    bench.hear(&asked()).unwrap();
    let whole = bench.got().unwrap();
    assert!(whole.bytes.len() <= MESSAGE_MAX, "what has no room is left out whole");
    assert_eq!(whole.addresses().len(), 16);
    let len = whole.bytes.len() + 48;
    for room in [0, 1, 39, 40, 47, 48, 100, len - 1, len, len + 1] {
        bench.hear(&asked()).unwrap();
        let mut frame = Frame::with_capacity(crate::frame::HEADROOM + room);
        assert_eq!(bench.server.poll_transmit(&mut frame), room >= len, "{room} of {len} octets");
        assert_eq!(frame.len(), if room >= len { len } else { 0 });
    }
}

#[test]
fn a_flood_of_questions_is_bounded() {
    let mut bench = Bench::new(true);
    let asked = packet(HOST, ALL_DHCP_SERVERS, (546, 547), &solicit(1).finish());
    for _ in 0..QUEUE {
        assert_eq!(bench.hear(&asked), Ok(()));
    }
    assert_eq!(bench.hear(&asked), Err(DropReason::ServiceOverload));
}
