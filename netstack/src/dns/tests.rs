//! A LAN client, the router and an ISP's servers, joined by their packets. Queries are written, and answers read, by
//! another implementation (hickory-proto), so that an error of ours cannot hide behind its mirror image.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec;
use core::net::SocketAddr;
use core::str::FromStr;

use hickory_proto::op::{
    Edns as HickoryEdns, Message, MessageType, OpCode, Query as HickoryQuery, ResponseCode,
};
use hickory_proto::rr::rdata::{A, SOA, TXT};
use hickory_proto::rr::{DNSClass, Name, RData, Record as HickoryRecord, RecordType};

use super::message::Answer;
use super::*;
use crate::frame::Frame;
use crate::host::{TcpId, UdpId, Way, scoped};
use crate::id::{Interface, Ipv4Cidr, Mac, PortId};
use crate::rng::{Rng, SeededRng};
use crate::settings;
use crate::time::Duration;
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::Ipv6;

const ROUTER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 1, 1));
const WAN: IpAddr = IpAddr::V4(Ipv4Addr::new(100, 64, 0, 2));
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 1, 20));
const FIRST: IpAddr = IpAddr::V4(Ipv4Addr::new(9, 9, 9, 9));
const ROUTER6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x3fff, 1, 0, 0, 0, 0, 0, 1));
const WAN6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x3fff, 0xf, 0, 0, 0, 0, 0, 2));
const CLIENT6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x3fff, 1, 0, 0, 0, 0, 0, 0x20));
const FIRST6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2620, 0xfe, 0, 0, 0, 0, 0, 9));
/// The router's link-local address on every link, the client's, and a server's.
const ROUTER_LINK: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));
const CLIENT_LINK: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x20));
const SERVER_LINK: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x53));
const LAN: Interface = Interface::Lan(LanId(0));
const UPLINK: Interface = Interface::Wan(WanId(0));
const SECOND: IpAddr = IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8));
/// Longer than a silent server is left alone.
const TRIAL: Duration = Duration::from_secs(30);

/// What a server says to a query that came to one of its addresses, by TCP or not.
type Serve = Box<dyn FnMut(IpAddr, &Message, bool) -> Option<Vec<u8>>>;

struct Lab {
    router: Host,
    dns: Dns,
    client: Host,
    client_udp: UdpId,
    /// The address that the client asks from, and the router's that it asks.
    ends: (IpAddr, IpAddr),
    isp: Host,
    isp_udp: UdpId,
    isp_tcp: Vec<(TcpId, Vec<u8>)>,
    serve: Serve,
    /// Queries that reached the servers: where, with which port, the name as spelt.
    asked: Vec<(IpAddr, u16, Message)>,
    rng: SeededRng,
    now: Instant,
}

fn settings() -> Settings {
    let host = |name: &str, last| settings::Host {
        name: name.to_string(),
        mac: Some(Mac([2, 0, 0, 0, 0, last])),
        ipv4: Some(Ipv4Addr::new(192, 168, 1, last)),
        ipv6: (last == 10).then(|| "::a".parse().unwrap()),
    };
    let lan = settings::Lan {
        name: "home".to_string(),
        ports: vec![PortId(0)],
        address: Ipv4Cidr { address: Ipv4Addr::new(192, 168, 1, 1), prefix: 24 },
        dhcp: None,
        prefix: None,
        dhcp6: settings::Dhcp6::Off,
        domain: "home.arpa".to_string(),
        hosts: vec![host("NAS", 10), host("printer", 11)],
    };
    Settings { hostname: "genkan".to_string(), lans: vec![lan], ..Settings::default() }
}

fn server(server: IpAddr) -> Upstream {
    let source = match server {
        IpAddr::V4(_) => WAN,
        SERVER_LINK => ROUTER_LINK,
        IpAddr::V6(_) => WAN6,
    };
    Upstream { wan: WanId(0), source, server }
}

impl Lab {
    fn new(serve: impl FnMut(IpAddr, &Message, bool) -> Option<Vec<u8>> + 'static) -> Self {
        let mut rng = SeededRng::from_u64(11);
        let now = Instant::from_secs(1000);
        let mut cx = Cx { now, rng: &mut rng };
        let mut router = Host::new(&mut cx);
        router.set_addresses([ROUTER, WAN, ROUTER6, WAN6, ROUTER_LINK]);
        let mut dns = Dns::new(&settings(), &mut router);
        dns.set_upstreams(&mut cx, &mut router, vec![server(FIRST), server(SECOND)]);
        let mut client = Host::new(&mut cx);
        client.set_addresses([CLIENT, CLIENT6, CLIENT_LINK]);
        let client_udp = client.udp_bind(5353, 64).unwrap();
        let mut isp = Host::new(&mut cx);
        isp.set_addresses([FIRST, SECOND, FIRST6, SERVER_LINK]);
        let isp_udp = isp.udp_bind(53, 64).unwrap();
        let mut lab = Lab {
            router,
            dns,
            client,
            client_udp,
            ends: (CLIENT, ROUTER),
            isp,
            isp_udp,
            isp_tcp: Vec::new(),
            serve: Box::new(serve),
            asked: Vec::new(),
            rng,
            now,
        };
        for _ in 0..4 {
            lab.isp_listen();
        }
        lab
    }

    fn isp_listen(&mut self) {
        let socket = self.isp.tcp_open(4096, 65_535);
        self.isp.tcp_listen(socket, 53);
        self.isp_tcp.push((socket, Vec::new()));
    }

    fn isp_serves(&mut self) {
        while let Some(datagram) = self.isp.udp_receive(self.isp_udp) {
            let query = Message::from_vec(&datagram.payload).unwrap();
            self.asked.push((datagram.to, datagram.from.port(), query.clone()));
            let ours = match datagram.to {
                IpAddr::V4(_) => WAN,
                FIRST6 => WAN6,
                _ => scoped(ROUTER_LINK, UPLINK),
            };
            assert_eq!(datagram.from.ip(), ours);
            if let Some(answer) = (self.serve)(datagram.to, &query, false) {
                self.isp.udp_send(self.isp_udp, datagram.to, datagram.from, &answer);
            }
        }
        for at in 0..self.isp_tcp.len() {
            let (socket, mut inbox) = self.isp_tcp[at].clone();
            self.isp.tcp_read(socket, 4096, &mut inbox);
            if inbox.len() > 2 && inbox.len() - 2 == usize::from(u16::from_be_bytes([inbox[0], inbox[1]])) {
                let query = Message::from_vec(&inbox[2..]).unwrap();
                self.asked.push((FIRST, 0, query.clone()));
                if let Some(answer) = (self.serve)(FIRST, &query, true) {
                    self.isp.tcp_write(socket, &(answer.len() as u16).to_be_bytes());
                    self.isp.tcp_write(socket, &answer);
                }
                inbox.clear();
            }
            self.isp_tcp[at].1 = inbox;
            if self.isp.tcp_state(socket) == crate::host::TcpState::Closed {
                self.isp.tcp_listen(socket, 53);
            }
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.isp_serves();
            let mut cx = Cx { now: self.now, rng: &mut self.rng };
            self.dns.poll(&mut cx, &mut self.router);
            self.router.handle_timeout(&mut cx);
            self.client.handle_timeout(&mut cx);
            self.isp.handle_timeout(&mut cx);
            let mut packets = sent(&mut self.router);
            packets.extend(sent(&mut self.client));
            packets.extend(sent(&mut self.isp));
            if packets.is_empty() {
                let hosts = [&self.router, &self.client, &self.isp]
                    .into_iter()
                    .filter_map(|host| host.poll_timeout());
                match hosts.chain(self.dns.poll_timeout()).min().filter(|&due| due <= end) {
                    Some(due) => self.now = self.now.max(due),
                    None => break,
                }
            }
            for (packet, way) in packets {
                let (source, destination) = ends_of(&packet);
                let frame = Frame::from_bytes(&packet);
                let mut cx = Cx { now: self.now, rng: &mut self.rng };
                let by = if self.isp.has_address(source) { UPLINK } else { LAN };
                for (host, link) in [(&mut self.client, LAN), (&mut self.isp, UPLINK)] {
                    if host.has_address(destination) && !host.has_address(source) {
                        if [source, destination]
                            .iter()
                            .any(|end| matches!(end, IpAddr::V6(a) if a.is_unicast_link_local()))
                        {
                            assert_eq!(way, Way::Link(link), "out by the link that it is for");
                        }
                        let _ = host.receive(&mut cx, link, &frame);
                    }
                }
                if self.router.has_address(destination) {
                    let _ = self.router.receive(&mut cx, by, &frame);
                    self.dns.poll(&mut cx, &mut self.router);
                }
            }
        }
        self.now = end;
    }

    fn send(&mut self, bytes: &[u8]) {
        let (source, to) = self.ends;
        assert!(self.client.udp_send(self.client_udp, source, SocketAddr::new(to, 53), bytes));
    }

    fn replies(&mut self) -> Vec<Vec<u8>> {
        let mut replies = Vec::new();
        while let Some(datagram) = self.client.udp_receive(self.client_udp) {
            assert_eq!(datagram.from, SocketAddr::new(self.ends.1, 53));
            replies.push(datagram.payload);
        }
        replies
    }

    /// Sends a query and waits for its one answer.
    fn ask(&mut self, query: &Message) -> Message {
        self.send(&query.to_vec().unwrap());
        self.run(Duration::from_secs(6));
        let replies = self.replies();
        assert_eq!(replies.len(), 1, "one answer to one query");
        let reply = Message::from_vec(&replies[0]).unwrap();
        assert_eq!(reply.metadata.id, query.metadata.id);
        assert_eq!(reply.metadata.message_type, MessageType::Response);
        if !reply.queries.is_empty() {
            assert_eq!(
                reply.queries[0].name().to_ascii(),
                query.queries[0].name().to_ascii(),
                "the client's spelling"
            );
        }
        reply
    }

    /// Sends queries on one connection and reads the answers.
    fn ask_by_tcp(&mut self, queries: &[Message]) -> Vec<Message> {
        let socket = self.client.tcp_open(65_535, 4096);
        let (source, to) = self.ends;
        assert!(self.client.tcp_connect(&mut self.rng, socket, source, SocketAddr::new(to, 53)));
        self.run(Duration::from_millis(100));
        for query in queries {
            let bytes = query.to_vec().unwrap();
            self.client.tcp_write(socket, &(bytes.len() as u16).to_be_bytes());
            self.client.tcp_write(socket, &bytes);
        }
        self.run(Duration::from_secs(6));
        let mut bytes = Vec::new();
        self.client.tcp_read(socket, 65_535, &mut bytes);
        self.client.tcp_close(socket);
        self.run(Duration::from_millis(100));
        let mut answers = Vec::new();
        let mut rest = &bytes[..];
        while let Some((len, more)) = rest.split_first_chunk::<2>() {
            let (answer, more) = more.split_at(usize::from(u16::from_be_bytes(*len)));
            answers.push(Message::from_vec(answer).unwrap());
            rest = more;
        }
        answers
    }
}

/// Source and destination of a packet.
fn ends_of(packet: &[u8]) -> (IpAddr, IpAddr) {
    match Ipv6::parse(packet) {
        Some(view) => (view.source().into(), view.destination().into()),
        None => {
            let view = Ipv4::parse(packet).unwrap();
            (view.source().into(), view.destination().into())
        }
    }
}

fn sent(host: &mut Host) -> Vec<(Vec<u8>, Way)> {
    let mut packets = Vec::new();
    while let Some(len) = host.next_len() {
        let mut frame = Frame::with_capacity(crate::frame::HEADROOM + len);
        let way = host.poll_transmit(&mut frame).unwrap();
        packets.push((frame.bytes().to_vec(), way));
    }
    packets
}

fn query(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(0x4242, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(HickoryQuery::query(Name::from_str(name).unwrap(), kind));
    message
}

fn with_edns(mut message: Message, size: u16) -> Message {
    message.set_edns(HickoryEdns::new().set_max_payload(size).clone());
    message
}

fn respond(query: &Message) -> Message {
    let mut response = Message::response(query.metadata.id, OpCode::Query);
    response.metadata.recursion_desired = query.metadata.recursion_desired;
    response.metadata.recursion_available = true;
    response.add_query(query.queries[0].clone());
    if let Some(edns) = &query.edns {
        response.set_edns(edns.clone());
    }
    response
}

/// An answer with one address that lives for a minute.
fn address(query: &Message, last: u8) -> Message {
    let mut response = respond(query);
    let data = RData::A(A(Ipv4Addr::new(192, 0, 2, last)));
    response.add_answer(HickoryRecord::from_rdata(query.queries[0].name().clone(), 60, data));
    response
}

/// An answer of about `len` octets.
fn large(query: &Message, len: usize) -> Message {
    let mut response = respond(query);
    for _ in 0..len / 110 {
        let text = RData::TXT(TXT::new(vec!["x".repeat(97)]));
        response.add_answer(HickoryRecord::from_rdata(query.queries[0].name().clone(), 60, text));
    }
    response
}

fn addresses(message: &Message) -> Vec<Ipv4Addr> {
    message
        .answers
        .iter()
        .filter_map(|record| if let RData::A(a) = &record.data { Some(a.0) } else { None })
        .collect()
}

fn plain(_: IpAddr, query: &Message, _: bool) -> Option<Vec<u8>> {
    Some(address(query, 1).to_vec().unwrap())
}

fn silent(_: IpAddr, _: &Message, _: bool) -> Option<Vec<u8>> {
    None
}

#[test]
fn rfc5625_a_query_goes_to_a_server_and_its_answer_comes_back() {
    let mut lab = Lab::new(plain);
    let reply = lab.ask(&query("WWW.Example.com.", RecordType::A));
    assert_eq!(addresses(&reply), [Ipv4Addr::new(192, 0, 2, 1)]);
    assert_eq!(lab.asked.len(), 1);
    assert_eq!((lab.dns.counters().queries, lab.dns.counters().forwarded), (1, 1));
}

#[test]
fn rfc5452_9_ids_ports_and_spelling_are_unpredictable() {
    let mut lab = Lab::new(plain);
    for n in 0..40 {
        lab.ask(&query(&alloc::format!("some-long-name-{n}.example."), RecordType::A));
    }
    let distinct = |values: BTreeSet<String>| values.len();
    assert!(distinct(lab.asked.iter().map(|(_, port, _)| port.to_string()).collect()) > 35);
    assert!(distinct(lab.asked.iter().map(|(.., query)| query.metadata.id.to_string()).collect()) > 35);
    let spelt =
        |(.., query): &(_, _, Message)| query.queries[0].name().to_ascii().get(..14).unwrap().to_string();
    assert!(distinct(lab.asked.iter().map(spelt).collect()) > 30);
}

#[test]
fn rfc5452_a_forged_answer_is_not_believed() {
    // Right address, wrong id; right id, wrong question; right id, no response.
    for forgery in 0..4 {
        let mut lab = Lab::new(move |_, query, _| {
            let mut forged = address(query, 66);
            match forgery {
                0 => forged.metadata.id ^= 1,
                1 => {
                    forged.queries[0].set_name(Name::from_str("other.example.").unwrap());
                }
                2 => forged.metadata.message_type = MessageType::Query,
                _ => {
                    forged.queries[0].set_query_type(RecordType::AAAA);
                }
            }
            Some(forged.to_vec().unwrap())
        });
        let reply = lab.ask(&query("www.example.", RecordType::A));
        assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
        assert!(lab.dns.counters().discarded > 0);
    }
}

#[test]
fn rfc5452_an_answer_from_elsewhere_is_not_believed() {
    let mut lab = Lab::new(silent);
    lab.send(&query("www.example.", RecordType::A).to_vec().unwrap());
    lab.run(Duration::from_millis(10));
    let (server, port, asked) = lab.asked[0].clone();
    let other = if server == FIRST { SECOND } else { FIRST };
    let answer = address(&asked, 66).to_vec().unwrap();
    lab.isp.udp_send(lab.isp_udp, other, SocketAddr::new(WAN, port), &answer);
    lab.run(Duration::from_millis(10));
    assert!(lab.replies().is_empty());
    lab.isp.udp_send(lab.isp_udp, server, SocketAddr::new(WAN, port), &answer);
    lab.run(Duration::from_millis(10));
    assert_eq!(lab.replies().len(), 1);
}

#[test]
fn a_server_that_does_not_keep_the_spelling_is_asked_by_tcp() {
    let mut lab = Lab::new(|_, query, by_tcp| {
        let mut response = address(query, if by_tcp { 1 } else { 66 });
        let lower = query.queries[0].name().to_lowercase();
        response.queries[0].set_name(lower);
        Some(response.to_vec().unwrap())
    });
    let reply = lab.ask(&query("www.example.com.", RecordType::A));
    assert_eq!(addresses(&reply), [Ipv4Addr::new(192, 0, 2, 1)]);
}

#[test]
fn rfc1035_7_4_an_answer_is_cached_and_its_life_counts_down() {
    let mut lab = Lab::new(plain);
    lab.ask(&query("www.example.", RecordType::A));
    lab.run(Duration::from_secs(14));
    let reply = lab.ask(&query("WWW.example.", RecordType::A));
    assert_eq!(lab.asked.len(), 1);
    assert_eq!(lab.dns.counters().hits, 1);
    assert!(reply.answers[0].ttl <= 46);
    lab.run(Duration::from_secs(60));
    lab.ask(&query("www.example.", RecordType::A));
    assert_eq!(lab.asked.len(), 2);
    lab.ask(&with_edns(query("www.example.", RecordType::A), 1232));
    assert_eq!(lab.asked.len(), 3, "a question with EDNS is another one");
}

#[test]
fn rfc2308_5_a_missing_name_is_cached_for_the_soas_minimum() {
    let mut lab = Lab::new(|_, query, _| {
        let mut response = respond(query);
        response.metadata.response_code = ResponseCode::NXDomain;
        let zone = Name::from_str("example.").unwrap();
        let soa = SOA::new(zone.clone(), zone.clone(), 1, 2, 3, 4, 30);
        response.add_authority(HickoryRecord::from_rdata(zone, 900, RData::SOA(soa)));
        Some(response.to_vec().unwrap())
    });
    for _ in 0..2 {
        let reply = lab.ask(&query("no.example.", RecordType::A));
        assert_eq!(reply.metadata.response_code, ResponseCode::NXDomain);
    }
    assert_eq!(lab.asked.len(), 1);
    lab.run(Duration::from_secs(30));
    lab.ask(&query("no.example.", RecordType::A));
    assert_eq!(lab.asked.len(), 2);
}

#[test]
fn rfc2308_an_error_and_a_missing_name_without_soa_are_not_cached() {
    for rcode in [ResponseCode::NXDomain, ResponseCode::ServFail, ResponseCode::Refused] {
        let mut lab = Lab::new(move |_, query, _| {
            let mut response = respond(query);
            response.metadata.response_code = rcode;
            Some(response.to_vec().unwrap())
        });
        for _ in 0..2 {
            assert_eq!(lab.ask(&query("www.example.", RecordType::A)).metadata.response_code, rcode);
        }
        assert!(lab.asked.len() >= 2);
        assert_eq!(lab.dns.counters().hits, 0);
    }
}

#[test]
fn a_silent_server_is_passed_over_told_once_and_tried_again() {
    let mut lab =
        Lab::new(|server, query, _| (server == SECOND).then(|| address(query, 2).to_vec().unwrap()));
    for n in 0..3 {
        let reply = lab.ask(&query(&alloc::format!("n{n}.example."), RecordType::A));
        assert_eq!(addresses(&reply), [Ipv4Addr::new(192, 0, 2, 2)]);
    }
    assert_eq!(lab.dns.poll_event(), Some(Event::Silent { server: FIRST }));
    assert_eq!(lab.dns.poll_event(), None);
    lab.asked.clear();
    lab.ask(&query("n4.example.", RecordType::A));
    assert_eq!(lab.asked.iter().map(|(server, ..)| *server).collect::<Vec<_>>(), [SECOND]);
    lab.serve = Box::new(plain);
    lab.run(TRIAL);
    lab.ask(&query("n5.example.", RecordType::A));
    assert_eq!(lab.dns.poll_event(), Some(Event::Answering { server: FIRST }));
}

#[test]
fn a_server_in_trouble_is_passed_over() {
    let mut lab = Lab::new(|server, query, _| {
        if server == SECOND {
            return Some(address(query, 2).to_vec().unwrap());
        }
        let mut response = respond(query);
        response.metadata.response_code = ResponseCode::ServFail;
        Some(response.to_vec().unwrap())
    });
    assert_eq!(addresses(&lab.ask(&query("www.example.", RecordType::A))), [Ipv4Addr::new(192, 0, 2, 2)]);
}

#[test]
fn when_no_server_answers_the_client_is_told_before_it_gives_up() {
    let mut lab = Lab::new(silent);
    lab.send(&query("www.example.", RecordType::A).to_vec().unwrap());
    lab.run(Duration::from_millis(4900));
    let reply = Message::from_vec(&lab.replies()[0]).unwrap();
    assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
    assert_eq!(lab.asked.len(), upstream::ATTEMPTS);
    let servers: BTreeSet<_> = lab.asked.iter().map(|(server, ..)| *server).collect();
    assert_eq!(servers.len(), 2);
    assert_eq!(lab.dns.counters().failed, 1);
    assert_eq!(lab.dns.poll_timeout(), None);
}

#[test]
fn without_servers_a_query_fails_at_once_and_a_change_starts_it_anew() {
    let mut lab = Lab::new(silent);
    lab.send(&query("www.example.", RecordType::A).to_vec().unwrap());
    lab.run(Duration::from_millis(10));
    lab.serve = Box::new(plain);
    let mut cx = Cx { now: lab.now, rng: &mut lab.rng };
    lab.dns.set_upstreams(&mut cx, &mut lab.router, vec![server(SECOND), server(ROUTER)]);
    lab.run(Duration::from_millis(10));
    assert_eq!(lab.replies().len(), 1, "at the new server, at once; and not at the router itself");
    let mut cx = Cx { now: lab.now, rng: &mut lab.rng };
    lab.dns.set_upstreams(&mut cx, &mut lab.router, vec![]);
    let reply = lab.ask(&query("www.example.", RecordType::A));
    assert_eq!(
        reply.metadata.response_code,
        ResponseCode::ServFail,
        "what the old servers said is forgotten"
    );
}

#[test]
fn equal_questions_share_one_query_and_all_are_answered() {
    let mut lab = Lab::new(silent);
    for id in 0..20u16 {
        let mut message = query(if id % 2 == 0 { "WWW.example." } else { "www.example." }, RecordType::A);
        message.metadata.id = id;
        lab.send(&message.to_vec().unwrap());
        lab.send(&message.to_vec().unwrap());
    }
    lab.run(Duration::from_millis(10));
    assert_eq!(lab.asked.len(), 1);
    let (server, port, asked) = lab.asked[0].clone();
    let answer = address(&asked, 1).to_vec().unwrap();
    lab.isp.udp_send(lab.isp_udp, server, SocketAddr::new(WAN, port), &answer);
    lab.run(Duration::from_millis(10));
    let ids: BTreeSet<u16> =
        lab.replies().iter().map(|reply| u16::from_be_bytes([reply[0], reply[1]])).collect();
    assert_eq!(ids.len(), 20);
}

#[test]
fn a_flood_of_questions_is_bounded_and_refused() {
    let mut lab = Lab::new(silent);
    for n in 0..400 {
        lab.send(&query(&alloc::format!("n{n}.example."), RecordType::A).to_vec().unwrap());
        if n % 16 == 0 {
            lab.run(Duration::from_millis(1));
        }
    }
    lab.run(Duration::from_millis(10));
    assert!(lab.dns.counters().refused >= 250, "one client may have a hundred questions open");
    assert!(lab.asked.len() <= 101);
    lab.run(Duration::from_secs(10));
    assert_eq!(lab.dns.poll_timeout(), None, "and nothing of it stays");
    lab.replies();
    lab.serve = Box::new(plain);
    lab.run(TRIAL);
    assert_eq!(addresses(&lab.ask(&query("www.example.", RecordType::A))).len(), 1);
}

#[test]
fn rfc5625_4_4_1_a_truncated_answer_is_told_and_fetched_by_tcp_for_a_client_that_asks_by_tcp() {
    let serve = |_: IpAddr, query: &Message, by_tcp: bool| {
        let whole = large(query, 3000);
        Some(if by_tcp { whole } else { whole.truncate() }.to_vec().unwrap())
    };
    let mut lab = Lab::new(serve);
    let reply = lab.ask(&with_edns(query("big.example.", RecordType::TXT), 4096));
    assert!(reply.metadata.truncation && reply.answers.is_empty());
    let mut first = query("big.example.", RecordType::TXT);
    first.metadata.id = 1;
    let mut second = query("genkan.home.arpa.", RecordType::A);
    second.metadata.id = 2;
    let mut answers = lab.ask_by_tcp(&[first.clone(), second]);
    answers.sort_by_key(|answer| answer.metadata.id);
    assert_eq!(answers.len(), 2, "several queries on one connection");
    assert_eq!(answers[0].answers.len(), 27);
    assert_eq!(addresses(&answers[1]), [ROUTER]);
    // From the cache, too large for this client.
    let reply = lab.ask(&query("big.example.", RecordType::TXT));
    assert!(reply.metadata.truncation);
    assert_eq!(lab.dns.counters().hits, 1);
}

#[test]
fn rfc6891_6_2_3_the_clients_size_is_honoured() {
    let mut lab = Lab::new(|_, query, _| Some(large(query, 1100).to_vec().unwrap()));
    assert!(!lab.ask(&with_edns(query("a.example.", RecordType::TXT), 1232)).metadata.truncation);
    assert_eq!(lab.asked[0].2.edns.as_ref().unwrap().max_payload(), EDNS_SIZE);
    let reply = lab.ask(&with_edns(query("a.example.", RecordType::TXT), 600));
    assert!(reply.metadata.truncation);
    assert!(reply.edns.is_some());
}

#[test]
fn rfc6891_6_1_3_an_unknown_version_is_refused_as_such() {
    let mut lab = Lab::new(plain);
    let mut message = query("www.example.", RecordType::A);
    message.set_edns(HickoryEdns::new().set_version(1).clone());
    assert_eq!(u16::from(lab.ask(&message).metadata.response_code), Rcode::BadVers as u16);
    assert!(lab.asked.is_empty());
}

#[test]
fn rfc3225_the_wish_for_dnssec_is_passed_on() {
    let mut lab = Lab::new(plain);
    let mut message = query("www.example.", RecordType::A);
    message.set_edns(HickoryEdns::new().set_dnssec_ok(true).clone());
    message.metadata.checking_disabled = true;
    lab.ask(&message);
    let (.., asked) = &lab.asked[0];
    assert!(asked.edns.as_ref().unwrap().flags().dnssec_ok && asked.metadata.checking_disabled);
}

#[test]
fn names_of_the_site_are_answered_and_never_leave() {
    let mut lab = Lab::new(plain);
    lab.dns.set_leases(
        LanId(0),
        [("laptop", Ipv4Addr::new(192, 168, 1, 100)), ("nas", Ipv4Addr::new(6, 6, 6, 6))],
    );
    for (name, kind, rcode, found) in [
        ("genkan.home.arpa.", RecordType::A, ResponseCode::NoError, "192.168.1.1"),
        ("NAS.home.arpa.", RecordType::A, ResponseCode::NoError, "192.168.1.10"),
        ("laptop.home.arpa.", RecordType::A, ResponseCode::NoError, "192.168.1.100"),
        ("laptop.", RecordType::A, ResponseCode::NoError, "192.168.1.100"),
        ("laptop.home.arpa.", RecordType::AAAA, ResponseCode::NoError, ""),
        ("home.arpa.", RecordType::A, ResponseCode::NoError, ""),
        ("nobody.home.arpa.", RecordType::A, ResponseCode::NXDomain, ""),
        ("x.laptop.home.arpa.", RecordType::A, ResponseCode::NXDomain, ""),
        ("nobody.", RecordType::A, ResponseCode::NXDomain, ""),
        ("localhost.", RecordType::A, ResponseCode::NoError, "127.0.0.1"),
        ("printer.local.", RecordType::A, ResponseCode::NXDomain, ""),
        ("100.1.168.192.in-addr.arpa.", RecordType::PTR, ResponseCode::NoError, "laptop.home.arpa."),
        ("1.1.168.192.in-addr.arpa.", RecordType::PTR, ResponseCode::NoError, "genkan.home.arpa."),
        ("77.1.168.192.in-addr.arpa.", RecordType::PTR, ResponseCode::NXDomain, ""),
        ("1.0.0.10.in-addr.arpa.", RecordType::PTR, ResponseCode::NXDomain, ""),
        ("5.20.172.in-addr.arpa.", RecordType::SOA, ResponseCode::NXDomain, ""),
        ("1.0.64.100.in-addr.arpa.", RecordType::PTR, ResponseCode::NXDomain, ""),
        ("b._dns-sd._udp.0.1.168.192.in-addr.arpa.", RecordType::PTR, ResponseCode::NXDomain, ""),
        ("x0.0.0.10.in-addr.arpa.", RecordType::PTR, ResponseCode::NXDomain, ""),
        ("0.0.d.f.ip6.arpa.", RecordType::PTR, ResponseCode::NXDomain, ""),
    ] {
        let reply = lab.ask(&with_edns(query(name, kind), 1232));
        assert_eq!(reply.metadata.response_code, rcode, "{name}");
        let data: Vec<String> = reply.answers.iter().map(|record| record.data.to_string()).collect();
        assert_eq!(data.join(" "), found, "{name}");
        if found.is_empty() {
            assert_eq!(reply.authorities.len(), 1, "RFC 2308 §3: {name}");
            assert_eq!(reply.authorities[0].record_type(), RecordType::SOA);
        }
    }
    assert!(lab.asked.is_empty());
    for name in ["4.4.8.8.in-addr.arpa.", "xhome.arpa.", "5.32.172.in-addr.arpa.", "notlocalhost.example."] {
        lab.ask(&query(name, RecordType::PTR));
    }
    lab.ask(&query("com.", RecordType::NS));
    assert_eq!(lab.asked.len(), 5, "what only looks like it does leave");
}

/// RFC 7084 L-10, L-11: what hosts are told is the router, and it answers by IPv6 as it does by IPv4.
#[test]
fn a_client_of_ipv6_is_answered_by_servers_of_either_family() {
    let mut lab = Lab::new(|server, query, _| {
        let last = if server == FIRST6 { 6 } else { 4 };
        Some(address(query, last).to_vec().unwrap())
    });
    lab.ends = (CLIENT6, ROUTER6);
    for (servers, last) in [([FIRST6, FIRST], 6), ([FIRST, FIRST6], 4)] {
        let servers = servers.into_iter().map(server).collect();
        lab.dns.set_upstreams(&mut Cx { now: lab.now, rng: &mut lab.rng }, &mut lab.router, servers);
        let reply = lab.ask(&query("www.example.", RecordType::A));
        assert_eq!(addresses(&reply), [Ipv4Addr::new(192, 0, 2, last)], "the first server is asked first");
        let replies =
            lab.ask_by_tcp(&[query("www.example.", RecordType::A), query("two.example.", RecordType::A)]);
        assert_eq!(replies.len(), 2);
    }
}

#[test]
fn when_the_servers_of_one_family_fall_silent_those_of_the_other_are_asked() {
    let mut lab = Lab::new(|server, query, _| server.is_ipv4().then(|| address(query, 4).to_vec().unwrap()));
    let servers = vec![server(FIRST6), server(FIRST)];
    lab.dns.set_upstreams(&mut Cx { now: lab.now, rng: &mut lab.rng }, &mut lab.router, servers);
    let start = lab.now;
    for n in 0..4 {
        let reply = lab.ask(&query(&alloc::format!("n{n}.example."), RecordType::A));
        assert_eq!(addresses(&reply), [Ipv4Addr::new(192, 0, 2, 4)]);
    }
    assert!(lab.now.since(start) < Duration::from_secs(60));
    let told: Vec<String> = core::iter::from_fn(|| lab.dns.poll_event()).map(|e| e.to_string()).collect();
    assert_eq!(told, ["the DNS server 2620:fe::9 does not answer; the others are asked first"]);
}

#[test]
fn rfc4007_link_local_clients_and_servers_are_spoken_to_on_their_links() {
    let mut lab = Lab::new(plain);
    lab.ends = (scoped(CLIENT_LINK, LAN), scoped(ROUTER_LINK, LAN));
    let servers = vec![server(SERVER_LINK)];
    lab.dns.set_upstreams(&mut Cx { now: lab.now, rng: &mut lab.rng }, &mut lab.router, servers);
    let reply = lab.ask(&query("www.example.", RecordType::A));
    assert_eq!(addresses(&reply), [Ipv4Addr::new(192, 0, 2, 1)]);
    assert_eq!(lab.asked[0].0, scoped(SERVER_LINK, UPLINK));
    assert_eq!(lab.ask_by_tcp(&[query("two.example.", RecordType::A)]).len(), 1);
}

#[test]
fn a_server_that_cannot_be_one_is_not_asked() {
    let mut lab = Lab::new(plain);
    let v6 = |text: &str| server(IpAddr::V6(text.parse().unwrap()));
    let servers = vec![
        server(ROUTER6),
        v6("::"),
        v6("::1"),
        v6("ff02::1"),
        v6("::ffff:9.9.9.9"),
        Upstream { source: WAN, ..server(FIRST6) },
    ];
    lab.dns.set_upstreams(&mut Cx { now: lab.now, rng: &mut lab.rng }, &mut lab.router, servers);
    let reply = lab.ask(&query("www.example.", RecordType::A));
    assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
    assert!(lab.asked.is_empty());
}

/// RFC 7084 ULA-1: names work by the site's own addresses, too. RFC 9096: and by no prefix that is gone.
#[test]
fn names_of_the_site_have_ipv6_addresses_in_every_prefix() {
    let mut lab = Lab::new(plain);
    let cidr = |text: &str| text.parse::<crate::id::Ipv6Cidr>().unwrap();
    let v6 = |text: &str| text.parse::<Ipv6Addr>().unwrap();
    lab.dns.set_prefixes(LanId(0), [cidr("3fff:1::1/64"), cidr("fd00:1:2:3::1/64")]);
    lab.dns.set_leases(LanId(0), [("laptop", Ipv4Addr::new(192, 168, 1, 100))]);
    lab.dns.set_leases6(
        LanId(0),
        [
            ("laptop", v6("3fff:1::1:5")),
            ("laptop", v6("fd00:1:2:3::1:5")),
            ("camera", v6("3fff:1::1:6")),
            ("nas", v6("3fff:1::bad")),
            ("genkan", v6("3fff:1::bad")),
        ],
    );
    let nas = "a.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.f.f.f.3.ip6.arpa.";
    let cases = [
        ("genkan.home.arpa.", RecordType::AAAA, ResponseCode::NoError, "3fff:1::1 fd00:1:2:3::1"),
        ("NAS.home.arpa.", RecordType::AAAA, ResponseCode::NoError, "3fff:1::a fd00:1:2:3::a"),
        ("nas.", RecordType::AAAA, ResponseCode::NoError, "3fff:1::a fd00:1:2:3::a"),
        ("nas.home.arpa.", RecordType::A, ResponseCode::NoError, "192.168.1.10"),
        ("laptop.home.arpa.", RecordType::AAAA, ResponseCode::NoError, "3fff:1::1:5 fd00:1:2:3::1:5"),
        ("laptop.home.arpa.", RecordType::A, ResponseCode::NoError, "192.168.1.100"),
        ("camera.home.arpa.", RecordType::AAAA, ResponseCode::NoError, "3fff:1::1:6"),
        ("camera.home.arpa.", RecordType::A, ResponseCode::NoError, ""),
        ("printer.home.arpa.", RecordType::AAAA, ResponseCode::NoError, ""),
        ("nobody.home.arpa.", RecordType::AAAA, ResponseCode::NXDomain, ""),
        (nas, RecordType::PTR, ResponseCode::NoError, "nas.home.arpa."),
        (nas, RecordType::TXT, ResponseCode::NoError, ""),
        // Nobody's address, a name above an address, above none, and below one.
        (&nas.replacen("a.0", "b.0", 1), RecordType::PTR, ResponseCode::NXDomain, ""),
        (nas.strip_prefix("a.0.0.").unwrap(), RecordType::PTR, ResponseCode::NoError, ""),
        (&nas.replacen("a.0.0.0.0", "7", 1), RecordType::PTR, ResponseCode::NXDomain, ""),
        (&alloc::format!("b._dns-sd._udp.{nas}"), RecordType::PTR, ResponseCode::NXDomain, ""),
        ("0.0.0.0.1.0.0.0.f.f.f.3.ip6.arpa.", RecordType::SOA, ResponseCode::NXDomain, "leaves"),
    ];
    for (name, kind, rcode, found) in cases {
        let reply = lab.ask(&query(name, kind));
        if found == "leaves" {
            assert_eq!(lab.asked.len(), 1, "{name} is the ISP's");
            continue;
        }
        assert_eq!(reply.metadata.response_code, rcode, "{name}");
        let data: Vec<String> = reply.answers.iter().map(|record| record.data.to_string()).collect();
        assert_eq!(data.join(" "), found, "{name}");
    }
    lab.dns.set_prefixes(LanId(0), [cidr("fd00:1:2:3::1/64")]);
    let reply = lab.ask(&query("nas.home.arpa.", RecordType::AAAA));
    assert_eq!(reply.answers.len(), 1, "what is gone is told to nobody");
}

/// RFC 6303 §4.4 to 4.6: reverse zones of addresses that mean nothing outside.
#[test]
fn rfc6303_reverse_names_of_the_sites_own_and_link_local_addresses_never_leave() {
    let mut lab = Lab::new(plain);
    for zone in ["d.f", "c.f", "8.e.f", "9.e.f", "a.e.f", "b.e.f", "8.b.d.0.1.0.0.2"] {
        let reply = lab.ask(&query(&alloc::format!("1.2.3.{zone}.ip6.arpa."), RecordType::PTR));
        assert_eq!(reply.metadata.response_code, ResponseCode::NXDomain, "{zone}");
    }
    assert!(lab.asked.is_empty());
    lab.ask(&query(
        "9.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.e.f.0.0.0.2.6.2.ip6.arpa.",
        RecordType::PTR,
    ));
    assert_eq!(lab.asked.len(), 1, "others do");
}

#[test]
fn what_is_not_forwarded_is_refused() {
    let mut lab = Lab::new(plain);
    for kind in [RecordType::AXFR, RecordType::IXFR] {
        assert_eq!(lab.ask(&query("example.", kind)).metadata.response_code, ResponseCode::Refused);
    }
    let mut chaos = query("version.bind.", RecordType::TXT);
    chaos.queries[0].set_query_class(DNSClass::CH);
    assert_eq!(lab.ask(&chaos).metadata.response_code, ResponseCode::Refused);
    let mut notify = query("example.", RecordType::SOA);
    notify.metadata.op_code = OpCode::Notify;
    lab.send(&notify.to_vec().unwrap());
    lab.run(Duration::from_secs(1));
    assert_eq!(lab.replies()[0][3] & 0x0f, Rcode::NotImp as u8);
    assert!(lab.asked.is_empty());
}

#[test]
fn hickory_rustsec_2026_0119_responses_as_queries_get_no_response() {
    let mut lab = Lab::new(plain);
    let response = address(&query("www.example.", RecordType::A), 1).to_vec().unwrap();
    lab.send(&response);
    lab.send(&[]);
    lab.send(&response[..11]);
    lab.run(Duration::from_secs(6));
    assert!(lab.replies().is_empty());
    assert!(lab.asked.is_empty());
}

#[test]
fn hickory_rustsec_2026_0119_compression_loops_are_refused() {
    let mut message = address(&query("www.example.", RecordType::A), 1).to_vec().unwrap();
    assert!(Answer::parse(&message).is_some());
    let at = 12 + 13 + 4;
    assert_eq!(message[at], 0xc0);
    for target in [at as u8, at as u8 + 2, 0, 11] {
        message[at + 1] = target;
        assert!(Answer::parse(&message).is_none());
    }
    // A question may not be compressed at all.
    let looped = [&[0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], &[0xc0, 12, 0, 1, 0, 1]].concat();
    assert!(Query::parse(&looped).is_err());
}

#[test]
fn rfc7766_6_2_3_idle_and_half_open_connections_end() {
    let mut lab = Lab::new(plain);
    let mut sockets = Vec::new();
    for _ in 0..40 {
        let socket = lab.client.tcp_open(1024, 1024);
        lab.client.tcp_connect(&mut lab.rng, socket, CLIENT, SocketAddr::new(ROUTER, 53));
        sockets.push(socket);
    }
    lab.run(Duration::from_secs(1));
    let open =
        sockets.iter().filter(|&&socket| lab.client.tcp_state(socket) == crate::host::TcpState::Open).count();
    assert_eq!(open, clients::CONNECTIONS);
    lab.run(Duration::from_secs(12));
    let open =
        sockets.iter().filter(|&&socket| lab.client.tcp_state(socket) == crate::host::TcpState::Open).count();
    assert_eq!(open, 0);
    assert_eq!(lab.ask_by_tcp(&[query("www.example.", RecordType::A)]).len(), 1);
}

#[test]
fn a_connection_that_carries_nonsense_is_closed() {
    let mut lab = Lab::new(plain);
    for nonsense in [&[0xff; 40][..], &[0, 0], &[0, 3, 1, 2, 3]] {
        let socket = lab.client.tcp_open(1024, 1024);
        lab.client.tcp_connect(&mut lab.rng, socket, CLIENT, SocketAddr::new(ROUTER, 53));
        lab.run(Duration::from_millis(100));
        lab.client.tcp_write(socket, nonsense);
        lab.run(Duration::from_millis(200));
        assert_eq!(lab.client.tcp_read(socket, 99, &mut Vec::new()), None, "{nonsense:?}");
        lab.client.tcp_abort(socket);
    }
    lab.run(Duration::from_secs(20));
    assert_eq!(lab.ask_by_tcp(&[query("www.example.", RecordType::A)]).len(), 1);
}

#[test]
fn every_truncation_and_bit_flip_is_survived() {
    let whole = with_edns(query("www.example.com.", RecordType::A), 1232).to_vec().unwrap();
    let mut lab = Lab::new(silent);
    for len in 0..whole.len() {
        lab.send(&whole[..len]);
        lab.run(Duration::from_millis(1));
        for reply in lab.replies() {
            assert_eq!(reply[3] & 0x0f, Rcode::FormErr as u8, "cut to {len}");
        }
    }
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        lab.send(&flipped);
        lab.run(Duration::from_millis(40));
        lab.replies();
    }
    let seeds = [
        address(&query("www.example.com.", RecordType::A), 1),
        large(&with_edns(query("www.example.com.", RecordType::TXT), 1232), 400),
    ];
    for seed in seeds {
        let whole = seed.to_vec().unwrap();
        for len in 0..whole.len() {
            assert_eq!(Answer::parse(&whole[..len]), None, "cut to {len}");
            message::age(&mut whole[..len].to_vec(), 5);
            message::address_to(&mut whole[..len].to_vec(), 5, b"\x03www\x07example\x03com\x00");
        }
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let _ = Answer::parse(&flipped);
            message::age(&mut flipped, 5);
        }
    }
}

#[test]
fn servers_that_send_noise_do_no_harm() {
    let mut noise = SeededRng::from_u64(99);
    let mut lab = Lab::new(move |_, query, _| {
        let mut answer = address(query, 1).to_vec().unwrap();
        for _ in 0..3 {
            let at = 2 + noise.below(answer.len() as u64 - 2) as usize;
            answer[at] = noise.next_u64() as u8;
        }
        answer.truncate(answer.len() - noise.below(8) as usize);
        Some(answer)
    });
    for n in 0..300 {
        let message = query(&alloc::format!("n{n}.example."), RecordType::A);
        lab.send(&message.to_vec().unwrap());
        lab.run(Duration::from_secs(25));
        assert_eq!(lab.replies().len(), 1);
    }
}
