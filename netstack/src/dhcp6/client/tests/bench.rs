//! The client, its link, and what a server says there.

use dhcproto::v6::{DhcpOption, Message as Other, OptionCode};
use dhcproto::{Decodable, Decoder};

pub(super) use super::super::*;
use crate::dhcp6::message::{Builder, MESSAGE_MAX};
pub(super) use crate::dhcp6::option::{IaKind, StatusCode, code};
pub(super) use crate::id::Ipv6Cidr;
use crate::id::Mac;
use crate::rng::SeededRng;
pub(super) use alloc::{format, string::ToString, vec, vec::Vec};

pub(super) const IAID: u32 = 0x0102_0304;
pub(super) const US: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 1, 2, 3, 4);
const ISP: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

pub(super) fn duid() -> Duid {
    Duid::link_layer(Mac([2, 0, 0, 0, 0, 1]))
}

pub(super) fn server(last: u8) -> Duid {
    Duid::link_layer(Mac([2, 0, 0, 0, 9, last]))
}

pub(super) fn cidr(text: &str) -> Ipv6Cidr {
    text.parse().unwrap()
}

pub(super) fn ip(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

/// A message of the client's: when it was sent, its octets, and how another implementation reads it.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) at: Instant,
    pub(super) bytes: Vec<u8>,
    pub(super) other: Other,
}

impl Sent {
    pub(super) fn message(&self) -> Message<'_> {
        Message::parse(&self.bytes).unwrap()
    }

    pub(super) fn kind(&self) -> MessageType {
        self.message().kind
    }

    pub(super) fn option(&self, code: OptionCode) -> Option<&DhcpOption> {
        self.other.opts().get(code)
    }

    /// The prefixes that it asks for, with T1, T2 and lifetimes all 0.
    pub(super) fn prefixes(&self) -> Option<Vec<Ipv6Cidr>> {
        let ia = self.message().options.associations(IaKind::Prefixes).next()?;
        assert_eq!((ia.iaid, ia.t1, ia.t2), (IAID, 0, 0));
        Some(ia.options.ia_prefixes().map(|lease| lease.prefix).collect())
    }

    pub(super) fn addresses(&self) -> Option<Vec<Ipv6Addr>> {
        let ia = self.message().options.associations(IaKind::Addresses).next()?;
        assert_eq!((ia.iaid, ia.t1, ia.t2), (IAID, 0, 0));
        Some(ia.options.ia_addresses().map(|lease| lease.address).collect())
    }

    pub(super) fn elapsed(&self) -> u16 {
        u16::from_be_bytes(self.message().options.first(code::ELAPSED_TIME).unwrap().try_into().unwrap())
    }
}

pub(super) struct Bench {
    pub(super) client: Client,
    pub(super) rng: SeededRng,
    pub(super) now: Instant,
}

impl Bench {
    /// A client that asks for a prefix of any length, on a link that is down.
    pub(super) fn down() -> Self {
        Bench::with(Some(PrefixRequest::default()))
    }

    pub(super) fn with(prefix: Option<PrefixRequest>) -> Self {
        let client = Client::new(ClientSettings { duid: duid(), iaid: IAID, prefix });
        Bench { client, rng: SeededRng::from_u64(7), now: Instant::from_secs(1000) }
    }

    /// The same, on a link that has just come up.
    pub(super) fn up() -> Self {
        let mut bench = Bench::down();
        bench.start();
        bench
    }

    /// With a /56 for two hours, T1 after 1800 s and T2 after 2880 s, from `server(1)`. Its events are told.
    pub(super) fn bound() -> Self {
        let mut bench = Bench::up();
        bench.lease("2001:db8:0:ff00::/56", (1800, 2880), (3600, 7200));
        bench.events();
        bench
    }

    /// Solicit, Advertise, Request, Reply.
    pub(super) fn lease(&mut self, prefix: &str, times: (u32, u32), lifetimes: (u32, u32)) {
        let prefix = cidr(prefix);
        for (asked, answer) in
            [(MessageType::Solicit, MessageType::Advertise), (MessageType::Request, MessageType::Reply)]
        {
            let sent = self.sent();
            assert_eq!(sent.kind(), asked);
            self.answer(&sent, answer, |reply| delegate(reply, times, &[(prefix, lifetimes)])).unwrap();
        }
    }

    pub(super) fn cx<R>(&mut self, act: impl FnOnce(&mut Client, &mut Cx<'_>) -> R) -> R {
        act(&mut self.client, &mut Cx { now: self.now, rng: &mut self.rng })
    }

    pub(super) fn start(&mut self) {
        self.cx(|client, cx| client.start(cx, US));
    }

    pub(super) fn stop(&mut self) {
        self.cx(|client, cx| client.stop(cx));
    }

    pub(super) fn advise(&mut self, managed: bool, other: bool) {
        self.cx(|client, cx| client.advise(cx, managed, other));
    }

    /// Lets time pass until then. What is sent meanwhile.
    pub(super) fn until(&mut self, end: Instant) -> Vec<Sent> {
        let mut sent = self.take();
        while let Some(at) = self.client.poll_timeout().filter(|&at| at <= end) {
            self.now = at.max(self.now);
            self.cx(|client, cx| client.handle_timeout(cx));
            assert!(self.client.poll_timeout().is_none_or(|at| at > self.now), "what is due is done");
            sent.extend(self.take());
        }
        self.now = end;
        self.cx(|client, cx| client.handle_timeout(cx));
        sent.extend(self.take());
        sent
    }

    pub(super) fn pass(&mut self, seconds: u64) -> Vec<Sent> {
        self.until(self.now + Duration::from_secs(seconds))
    }

    /// The next message, when its time comes.
    pub(super) fn sent(&mut self) -> Sent {
        loop {
            if let Some(sent) = self.take().pop() {
                return sent;
            }
            self.now = self.client.poll_timeout().expect("it has something to send").max(self.now);
            self.cx(|client, cx| client.handle_timeout(cx));
        }
    }

    fn take(&mut self) -> Vec<Sent> {
        let mut sent = Vec::new();
        let mut frame = Frame::with_capacity(2048);
        while self.client.poll_transmit(&mut frame) {
            let packet = Ipv6::parse(frame.bytes()).unwrap();
            assert_eq!((packet.source(), packet.destination()), (US, ip("ff02::1:2")), "RFC 8415 §14");
            let udp = packet.udp().expect("its checksum is right");
            assert_eq!((udp.source_port, udp.destination_port), (546, 547));
            assert_eq!(packet.payload().len(), udp.payload.len() + 8);
            let other =
                Other::decode(&mut Decoder::new(udp.payload)).expect("another implementation reads it");
            let id = DhcpOption::ClientId(duid().as_bytes().to_vec());
            assert_eq!(other.opts().get(OptionCode::ClientId), Some(&id));
            sent.push(Sent { at: self.now, bytes: udp.payload.to_vec(), other });
            frame.reset();
        }
        sent
    }

    /// `server(1)` answers.
    pub(super) fn answer(
        &mut self,
        to: &Sent,
        kind: MessageType,
        say: impl FnOnce(&mut Builder),
    ) -> Result<(), DropReason> {
        self.answer_by(&server(1), to, kind, say)
    }

    pub(super) fn answer_by(
        &mut self,
        server: &Duid,
        to: &Sent,
        kind: MessageType,
        say: impl FnOnce(&mut Builder),
    ) -> Result<(), DropReason> {
        let mut reply = Builder::new(kind, to.message().xid, MESSAGE_MAX);
        assert!(reply.duid(code::CLIENT_ID, &duid()) && reply.duid(code::SERVER_ID, server));
        say(&mut reply);
        self.hear(&reply.finish())
    }

    pub(super) fn hear(&mut self, message: &[u8]) -> Result<(), DropReason> {
        self.hear_packet(&packet(ISP, US, (547, 546), message))
    }

    pub(super) fn hear_packet(&mut self, packet: &[u8]) -> Result<(), DropReason> {
        self.cx(|client, cx| client.handle(cx, packet))
    }

    pub(super) fn events(&mut self) -> Vec<Event> {
        core::iter::from_fn(|| self.client.poll_event()).collect()
    }

    pub(super) fn state(&self) -> &'static str {
        self.client.status().state
    }

    pub(super) fn prefixes(&self) -> Vec<Ipv6Cidr> {
        self.client.prefixes().iter().map(|lease| lease.prefix).collect()
    }
}

pub(super) fn packet(source: Ipv6Addr, destination: Ipv6Addr, ports: (u16, u16), message: &[u8]) -> Vec<u8> {
    let mut frame = Frame::with_capacity(4096);
    let header = Header { source, destination, hop_limit: 64 };
    assert!(header.write_udp(ports.0, ports.1, message, &mut frame));
    frame.bytes().to_vec()
}

/// An IA_PD with these prefixes.
pub(super) fn delegate(reply: &mut Builder, times: (u32, u32), prefixes: &[(Ipv6Cidr, (u32, u32))]) {
    assert!(reply.ia(IaKind::Prefixes, IAID, times, |ia| {
        prefixes.iter().all(|&(prefix, lifetimes)| ia.ia_prefix(prefix, lifetimes))
    }));
}

/// An IA_NA with these addresses.
pub(super) fn lend(reply: &mut Builder, times: (u32, u32), addresses: &[(&str, (u32, u32))]) {
    assert!(reply.ia(IaKind::Addresses, IAID, times, |ia| {
        addresses.iter().all(|&(address, lifetimes)| ia.ia_address(ip(address), lifetimes))
    }));
}

/// An association with nothing but a status.
pub(super) fn deny(reply: &mut Builder, kind: IaKind, status: StatusCode) {
    assert!(reply.ia(kind, IAID, (0, 0), |ia| ia.status(status, "no")));
}
