//! A life of the DNS forwarder, between clients that ask anything and servers that answer anything, by UDP and TCP. A query
//! gets at most one answer, which repeats its question; an answer that does not fit a query is never believed; names of the
//! site never leave; another implementation reads what is asked of the servers.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use genkan_fuzz::{Numbers, Script, World, damage};
use genkan_netstack::dns::message::{Answer, Query, plain_name_len};
use genkan_netstack::dns::{Dns, EDNS_SIZE, Upstream};
use genkan_netstack::frame::Frame;
use genkan_netstack::host::{Datagram, Host, TcpId, TcpState, UdpId};
use genkan_netstack::id::{Interface, Ipv4Cidr, Ipv6Cidr, LanId, PortId, WanId};
use genkan_netstack::settings::{self, Settings};
use genkan_netstack::wire::ipv4::Ipv4;
use genkan_netstack::wire::ipv6::Ipv6;
use hickory_proto::op::Message;
use libfuzzer_sys::fuzz_target;

const ROUTER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 1, 1));
const OURS: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7));
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 1, 50));
const FIRST: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 53));
const SECOND: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 54));
const ROUTER6: Ipv6Addr = Ipv6Addr::new(0x3fff, 1, 0, 0, 0, 0, 0, 1);
const OURS6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x3fff, 0xf, 0, 0, 0, 0, 0, 7));
const CLIENT6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x3fff, 1, 0, 0, 0, 0, 0, 0x50));
const THIRD: IpAddr = IpAddr::V6(Ipv6Addr::new(0x3fff, 0xf, 0, 0, 0, 0, 0, 0x53));
/// Serves nobody, but may say something all the same.
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 55));

/// What forged answers say; no other answer does.
const CANARY: [u8; 16] = *b"\xc4\x4e\xa7\x91\xe3\xd8\xb2\x86\xf5\x9a\xcd\xe7\x82\xb9\xd4\xf1";
const NAMES: [&str; 11] = [
    "www.Example.com",
    "nas.home.arpa",
    "example.net",
    "10.1.168.192.in-addr.arpa",
    "home.arpa",
    "",
    "a.b.c.d.e",
    "localhost",
    "a.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.f.f.f.3.ip6.arpa",
    "0.0.0.0.0.0.0.0.1.0.0.0.f.f.f.3.ip6.arpa",
    "1.0.8.e.f.ip6.arpa",
];

struct Lab {
    world: World,
    router: Host,
    dns: Dns,
    client: Host,
    client_udp: UdpId,
    client_tcp: TcpId,
    isp: Host,
    isp_udp: UdpId,
    isp_tcp: TcpId,
    /// Queries by UDP so far.
    queries: u16,
    /// Those that wait for an answer.
    waiting: Vec<Vec<u8>>,
    /// What the servers were asked by UDP last.
    asked: Option<Datagram>,
    /// What the client has got by TCP and not yet taken apart.
    stream: Vec<u8>,
    tcp_queries: usize,
}

fuzz_target!(|data: &[u8]| {
    let mut lab = Lab::new();
    for step in Script(data) {
        match step.operation % 8 {
            0 => lab.ask(step.data),
            1 => {
                let payload = &step.data[..step.data.len().min(1200)];
                if let Some(asked) = &lab.asked {
                    lab.isp.udp_send(lab.isp_udp, asked.to, asked.from, payload);
                }
            }
            2 => lab.ask(&question(step.data)),
            3 => lab.answer(step.data),
            4 => lab.forge(step.data),
            5 => lab.ask_by_tcp(step.data),
            6 => lab.answer_by_tcp(step.data),
            _ => {
                let next = [lab.router.poll_timeout(), lab.client.poll_timeout(), lab.isp.poll_timeout()];
                let next = next.into_iter().chain([lab.dns.poll_timeout()]).flatten().min();
                lab.world.pass(step.data, next);
            }
        }
        lab.run();
    }
});

impl Lab {
    fn new() -> Lab {
        let mut world = World::default();
        let cx = &mut world.cx();
        let host = |cx: &mut _, addresses: &[IpAddr]| {
            let mut host = Host::new(cx);
            host.set_addresses(addresses.iter().copied());
            host
        };
        let mut router = host(cx, &[ROUTER, OURS, ROUTER6.into(), OURS6]);
        let lan = settings::Lan {
            name: "home".into(),
            ports: vec![PortId(0)],
            address: Ipv4Cidr { address: Ipv4Addr::new(192, 168, 1, 1), prefix: 24 },
            dhcp: None,
            prefix: None,
            dhcp6: settings::Dhcp6::Off,
            domain: "home.arpa".into(),
            hosts: vec![settings::Host {
                name: "nas".into(),
                mac: None,
                ipv4: Some(Ipv4Addr::new(192, 168, 1, 10)),
                ipv6: Some(Ipv6Addr::from_bits(10)),
            }],
        };
        let settings = Settings { hostname: "genkan".into(), lans: vec![lan], ..Settings::default() };
        let mut dns = Dns::new(&settings, &mut router);
        dns.set_prefixes(LanId(0), [Ipv6Cidr { address: ROUTER6, prefix: 64 }]);
        let upstream = |server: IpAddr| {
            let source = if server.is_ipv6() { OURS6 } else { OURS };
            Upstream { wan: WanId(0), source, server }
        };
        dns.set_upstreams(cx, &mut router, vec![upstream(FIRST), upstream(THIRD), upstream(SECOND)]);
        let mut client = host(cx, &[CLIENT, CLIENT6]);
        let client_udp = client.udp_bind(5353, 8).expect("the port is free");
        let client_tcp = client.tcp_open(4096, 4096);
        let mut isp = host(cx, &[FIRST, SECOND, THIRD, OTHER]);
        let isp_udp = isp.udp_bind(53, 8).expect("the port is free");
        let isp_tcp = isp.tcp_open(4096, 4096);
        assert!(isp.tcp_listen(isp_tcp, 53));
        Lab {
            world,
            router,
            dns,
            client,
            client_udp,
            client_tcp,
            isp,
            isp_udp,
            isp_tcp,
            queries: 0,
            waiting: Vec::new(),
            asked: None,
            stream: Vec::new(),
            tcp_queries: 0,
        }
    }

    fn ask(&mut self, query: &[u8]) {
        let mut query = query[..query.len().min(1200)].to_vec();
        // No two are alike, so that each answer has its query.
        self.queries += 1;
        if let Some(id) = query.first_chunk_mut() {
            *id = self.queries.to_be_bytes();
        }
        let (source, to) = if self.queries % 2 == 0 { (CLIENT, ROUTER) } else { (CLIENT6, ROUTER6.into()) };
        if self.client.udp_send(self.client_udp, source, SocketAddr::new(to, 53), &query) {
            self.waiting.push(query);
        }
    }

    /// The server answers what it was asked last, with records of its own, and damage.
    fn answer(&mut self, data: &[u8]) {
        let Some(asked) = &self.asked else { return };
        let mut input = Numbers(data);
        let (flags, records, edits) = (input.u8(), input.u8() % 4, input.u8() % 4);
        let edits = input.take(usize::from(edits) * 3);
        let mut answer = response(&asked.payload, records.into(), flags, input.0);
        damage(&mut answer, edits);
        answer.truncate(1200);
        self.isp.udp_send(self.isp_udp, asked.to, asked.from, &answer);
    }

    /// Somebody who did not see the query answers it: his id, spelling, port or address is wrong.
    fn forge(&mut self, data: &[u8]) {
        let Some(Datagram { from, to, payload }) = self.asked.clone() else { return };
        let mut input = Numbers(data);
        let (how, by) = (input.u8() % 4, input.u8());
        let mut answer = response(&payload, 1, 0, &[&[28, 1, 16][..], &CANARY].concat());
        let (mut from, mut to) = (from, to);
        match how {
            0 => answer[usize::from(by & 1)] ^= by | 1,
            1 => {
                let Some(len) = plain_name_len(&answer[12..]) else { return };
                let letters: Vec<usize> =
                    (12..12 + len).filter(|&at| answer[at].is_ascii_alphabetic()).collect();
                // Lengths of labels look like letters from 65 on, and none is that long.
                let Some(&letter) = letters.get(usize::from(by) % letters.len().max(1)) else { return };
                answer[letter] ^= 0x20;
            }
            2 => from.set_port(from.port() ^ u16::from(by | 1)),
            _ if to.is_ipv4() => to = OTHER,
            _ => to = OURS6,
        }
        self.isp.udp_send(self.isp_udp, to, from, &answer);
    }

    fn ask_by_tcp(&mut self, data: &[u8]) {
        if self.client.tcp_state(self.client_tcp) == TcpState::Closed {
            self.client.tcp_remove(self.client_tcp);
            self.client_tcp = self.client.tcp_open(4096, 4096);
            self.stream.clear();
            let mut rng = genkan_netstack::rng::SeededRng::from_u64(self.world.now.as_nanos());
            let to = SocketAddr::new(ROUTER6.into(), 53);
            assert!(self.client.tcp_connect(&mut rng, self.client_tcp, CLIENT6, to));
            self.run();
        }
        let mut input = Numbers(data);
        match input.u8() % 4 {
            0 => drop(self.client.tcp_write(self.client_tcp, input.0)),
            1 => self.client.tcp_close(self.client_tcp),
            _ => {
                let query = question(input.0);
                let [high, low] = (query.len() as u16).to_be_bytes();
                self.client.tcp_write(self.client_tcp, &[&[high, low], &query[..]].concat());
            }
        }
        self.tcp_queries += data.len() / 14 + 1;
    }

    fn answer_by_tcp(&mut self, data: &[u8]) {
        let mut input = Numbers(data);
        let (how, flags, records) = (input.u8() % 4, input.u8(), input.u8() % 4);
        let mut bytes = Vec::new();
        self.isp.tcp_read(self.isp_tcp, 4096, &mut bytes);
        match how {
            0 => drop(self.isp.tcp_write(self.isp_tcp, input.0)),
            1 => self.isp.tcp_close(self.isp_tcp),
            _ => {
                if let Some(query) = bytes.get(2..) {
                    let answer = response(query, records.into(), flags, input.0);
                    let [high, low] = (answer.len() as u16).to_be_bytes();
                    self.isp.tcp_write(self.isp_tcp, &[&[high, low], &answer[..]].concat());
                }
            }
        }
        if self.isp.tcp_state(self.isp_tcp) == TcpState::Closed {
            self.isp.tcp_listen(self.isp_tcp, 53);
        }
    }

    /// Carries packets until nobody has any, and looks at what arrived.
    fn run(&mut self) {
        for _ in 0..64 {
            self.dns.poll(&mut self.world.cx(), &mut self.router);
            let mut quiet = true;
            for at in 0..3 {
                let host = [&mut self.router, &mut self.client, &mut self.isp];
                let Some(host) = host.into_iter().nth(at) else { continue };
                host.handle_timeout(&mut self.world.cx());
                let mut packets = Vec::new();
                while let Some(len) = host.next_len() {
                    let mut frame = Frame::with_capacity(256 + len);
                    assert!(host.poll_transmit(&mut frame).is_some());
                    packets.push(frame);
                }
                for packet in packets {
                    quiet = false;
                    let to: IpAddr = match Ipv6::parse(packet.bytes()) {
                        Some(view) => view.destination().into(),
                        None => Ipv4::parse(packet.bytes()).expect("an IP packet").destination().into(),
                    };
                    for host in [&mut self.router, &mut self.client, &mut self.isp] {
                        if host.has_address(to) {
                            let _ = host.receive(&mut self.world.cx(), Interface::Lan(LanId(0)), &packet);
                        }
                    }
                    self.dns.poll(&mut self.world.cx(), &mut self.router);
                }
            }
            self.served();
            self.heard();
            if quiet {
                break;
            }
        }
        while let Some(event) = self.dns.poll_event() {
            let _ = event.to_string();
        }
        let next = self.dns.poll_timeout();
        assert!(
            next.is_none_or(|at| at > self.world.now),
            "what is due is done: {next:?} at {}",
            self.world.now
        );
    }

    /// What the servers hear.
    fn served(&mut self) {
        while let Some(datagram) = self.isp.udp_receive(self.isp_udp) {
            assert_eq!(datagram.from.ip(), if datagram.to.is_ipv6() { OURS6 } else { OURS });
            assert_ne!(datagram.to, OTHER, "nobody told of this server");
            let query = Message::from_vec(&datagram.payload).expect("another implementation reads it");
            let name = query.queries[0].name().to_ascii().to_ascii_lowercase();
            let site = name.ends_with(".home.arpa.")
                || name == "home.arpa."
                || name.ends_with("168.192.in-addr.arpa.")
                || name.ends_with(".0.0.0.0.0.0.0.0.1.0.0.0.f.f.f.3.ip6.arpa.")
                || name.ends_with(".8.e.f.ip6.arpa.");
            assert!(!site && name != "localhost.", "{name} is asked outside");
            self.asked = Some(datagram);
        }
    }

    /// What the client hears.
    fn heard(&mut self) {
        while let Some(datagram) = self.client.udp_receive(self.client_udp) {
            let reply = datagram.payload;
            let at = self.waiting.iter().position(|query| query.get(..2) == reply.get(..2));
            let query = self.waiting.remove(at.expect("an answer to a query, once"));
            assert!(reply.len() >= 12 && reply[2] & 0x80 != 0, "an answer is marked as one");
            let most = match Query::parse(&query) {
                Ok(query) => query.edns.map_or(512, |edns| edns.size.clamp(512, EDNS_SIZE)),
                Err(_) => 512,
            };
            assert!(reply.len() <= most.into(), "{} octets for a client that takes {most}", reply.len());
            believe(&reply);
            if let (Ok(query), [0, 1]) = (Query::parse(&query), [reply[4], reply[5]]) {
                assert!(reply[12..].starts_with(&query.spelling), "the question as the client spelt it");
            }
        }
        let mut bytes = Vec::new();
        self.client.tcp_read(self.client_tcp, 4096, &mut bytes);
        self.stream.extend(bytes);
        while let Some((len, rest)) = self.stream.split_first_chunk::<2>() {
            let Some((reply, rest)) = rest.split_at_checked(u16::from_be_bytes(*len).into()) else { break };
            assert!(reply.len() >= 12 && reply[2] & 0x80 != 0, "an answer is marked as one");
            believe(reply);
            assert!(self.tcp_queries > 0, "an answer to nothing");
            self.tcp_queries -= 1;
            self.stream = rest.to_vec();
        }
    }
}

fn believe(reply: &[u8]) {
    assert!(!reply.windows(16).any(|part| part == CANARY), "a forged answer was believed: {reply:02x?}");
    let _ = Answer::parse(reply);
}

/// A query for one of a few names, with options.
fn question(data: &[u8]) -> Vec<u8> {
    let mut input = Numbers(data);
    let (id, flags, name) = (input.u8(), input.u8(), NAMES[usize::from(input.u8()) % NAMES.len()]);
    let kind = [1, 28, 12, 16, 65, 255, 6, 252][usize::from(input.u8()) % 8];
    let (options, size) = (input.u8(), input.u16());
    let mut query = vec![0, id, 1, flags & 0x30, 0, 1, 0, 0, 0, 0, 0, options & 1];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        query.push(label.len() as u8);
        query.extend(label.as_bytes());
    }
    query.extend([0, 0, kind, 0, 1]);
    if options & 1 != 0 {
        query.extend([0, 0, 41, (size >> 8) as u8, size as u8, 0, 0, options & 0x80, 0, 0, 0]);
    }
    damage(&mut query, input.0);
    query
}

/// The answer to `query` with `records`: each has from `data` its type, its time to live and its length, and then its data;
/// its name is the question's.
fn response(query: &[u8], records: usize, flags: u8, data: &[u8]) -> Vec<u8> {
    let end = query.get(12..).and_then(plain_name_len).map_or(query.len(), |len| 12 + len + 4);
    let mut answer = query[..end.min(query.len())].to_vec();
    if answer.len() < 12 {
        return answer;
    }
    answer[2] |= 0x80 | flags & 0x02;
    answer[3] = 0x80 | flags >> 4;
    answer[6..12].copy_from_slice(&[0, records as u8, 0, 0, 0, 0]);
    let mut input = Numbers(data);
    for _ in 0..records {
        let (kind, ttl, len) = (input.u8(), input.u8(), input.u8());
        let data = input.take(len.into());
        answer.extend([0xc0, 12, 0, kind, 0, 1, 0, 0, ttl, 0]);
        answer.extend((data.len() as u16).to_be_bytes());
        answer.extend(data);
    }
    answer
}
