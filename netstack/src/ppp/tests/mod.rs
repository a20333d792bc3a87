//! Tests of whole links: against handcrafted packets, and against each other in virtual time.

mod adoption;
mod authentication;
mod handcrafted;
mod ipv6cp;
mod malformed;
mod pair;

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use super::{ClientSettings, Event, Ipv4Assignment, Link, ServerSettings, Timing};
use crate::frame::Frame;
use crate::ledger::DropReason;
use crate::machine::Cx;
use crate::rng::SeededRng;
use crate::secret::Secret;
use crate::settings::{Authentication, Echo};
use crate::time::{Duration, Instant};
use crate::wire::ppp::{PacketBuilder, code, protocol};

const ALL: [Authentication; 3] = [Authentication::ChapMd5, Authentication::MsChapV2, Authentication::Pap];

const DNS: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 2, 53), Ipv4Addr::new(192, 0, 2, 54)];

const ASSIGNMENT: Ipv4Assignment = Ipv4Assignment {
    local: Ipv4Addr::new(100, 64, 0, 1),
    remote: Ipv4Addr::new(100, 64, 3, 7),
    dns: [Some(DNS[0]), Some(DNS[1])],
};

fn client_settings() -> ClientSettings {
    ClientSettings {
        username: b"user@isp.example".to_vec(),
        password: Secret::new("correct horse"),
        authentication: ALL.to_vec(),
        mru: 1492,
        echo: Echo::default(),
        ipv4: true,
        ipv6: None,
        timing: Timing::default(),
    }
}

fn server_settings(authentication: &[Authentication]) -> ServerSettings {
    ServerSettings {
        name: b"bras1".to_vec(),
        authentication: authentication.to_vec(),
        mru: 1492,
        echo: Echo::default(),
        ipv6: None,
        timing: Timing::default(),
    }
}

/// A packet that a link has sent.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sent {
    protocol: u16,
    code: u8,
    identifier: u8,
    data: Vec<u8>,
}

impl Sent {
    fn is(&self, protocol: u16, code: u8) -> bool {
        (self.protocol, self.code) == (protocol, code)
    }
}

/// A link whose peer is the test itself.
struct Bench {
    link: Link,
    now: Instant,
    rng: SeededRng,
}

impl Bench {
    fn client(settings: ClientSettings) -> Self {
        Bench::new(Link::client(Arc::new(settings)))
    }

    fn server(settings: ServerSettings) -> Self {
        Bench::new(Link::server(Arc::new(settings)))
    }

    fn new(link: Link) -> Self {
        Bench { link, now: Instant::from_secs(100), rng: SeededRng::from_u64(1) }
    }

    fn with<T>(&mut self, call: impl FnOnce(&mut Link, &mut Cx<'_>) -> T) -> T {
        call(&mut self.link, &mut Cx { now: self.now, rng: &mut self.rng })
    }

    fn open(&mut self, max_mru: u16) {
        self.with(|link, cx| link.open(cx, max_mru));
    }

    fn receive(&mut self, protocol: u16, information: &[u8]) -> Result<(), DropReason> {
        self.with(|link, cx| link.receive(cx, protocol, information))
    }

    fn give(&mut self, protocol: u16, code: u8, identifier: u8, data: &[u8]) -> Result<(), DropReason> {
        let mut packet = PacketBuilder::new(protocol, code, identifier, u16::MAX);
        packet.put(data);
        self.receive(protocol, &packet.finish().unwrap()[2..])
    }

    /// All that the link wants to send.
    fn sent(&mut self) -> Vec<Sent> {
        let mut sent = vec![];
        let mut frame = Frame::with_capacity(4096);
        while self.link.poll_transmit(&mut frame) {
            let bytes = frame.bytes();
            assert_eq!(
                usize::from(u16::from_be_bytes([bytes[4], bytes[5]])),
                bytes.len() - 2,
                "length field"
            );
            sent.push(Sent {
                protocol: u16::from_be_bytes([bytes[0], bytes[1]]),
                code: bytes[2],
                identifier: bytes[3],
                data: bytes[6..].to_vec(),
            });
            frame.reset();
        }
        sent
    }

    /// The one packet that the link sends.
    fn sent_one(&mut self) -> Sent {
        let mut sent = self.sent();
        assert_eq!(sent.len(), 1, "{sent:?}");
        sent.remove(0)
    }

    fn events(&mut self) -> Vec<Event> {
        core::iter::from_fn(|| self.link.poll_event()).collect()
    }

    /// Lets time pass, timer by timer.
    fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(at) = self.link.poll_timeout().filter(|&at| at <= end) {
            self.now = self.now.max(at);
            self.with(|link, cx| link.handle_timeout(cx));
        }
        self.now = end;
    }

    fn pass_secs(&mut self, secs: u64) {
        self.pass(Duration::from_secs(secs));
    }

    /// Acknowledges the link's own Configure-Request of `protocol` and makes one with `data`, so that it opens.
    fn agree(&mut self, protocol: u16, data: &[u8]) -> Vec<Sent> {
        let sent = self.sent();
        let request =
            sent.into_iter().rev().find(|packet| packet.is(protocol, code::CONFIGURE_REQUEST)).unwrap();
        self.give(protocol, code::CONFIGURE_ACK, request.identifier, &request.data).unwrap();
        self.give(protocol, code::CONFIGURE_REQUEST, 200, data).unwrap();
        let mut sent = self.sent();
        let at = sent.iter().position(|packet| packet.is(protocol, code::CONFIGURE_ACK)).unwrap();
        let ack = sent.remove(at);
        assert_eq!((ack.identifier, ack.data.as_slice()), (200, data), "the Ack equals the request");
        sent
    }

    /// A client with LCP open and PAP asked for; its Authenticate-Request is returned.
    fn client_at_pap(settings: ClientSettings) -> (Self, Sent) {
        let mut bench = Bench::client(settings);
        bench.open(1492);
        let mut sent = bench.agree(protocol::LCP, &[3, 4, 0xc0, 0x23, 5, 6, 1, 2, 3, 4]);
        assert_eq!(sent.len(), 1);
        (bench, sent.remove(0))
    }

    /// A client whose IPCP has just begun.
    fn client_at_ipcp() -> Self {
        let (mut bench, request) = Bench::client_at_pap(client_settings());
        bench.give(protocol::PAP, 2, request.identifier, &[0]).unwrap();
        bench.events();
        bench
    }

    /// A client with IPv4 up.
    fn client_up() -> Self {
        let mut bench = Bench::client_at_ipcp();
        let request = bench.sent_one();
        let told = [3, 6, 100, 64, 3, 7, 129, 6, 192, 0, 2, 53, 131, 6, 192, 0, 2, 54];
        bench.give(protocol::IPCP, code::CONFIGURE_NAK, request.identifier, &told).unwrap();
        bench.agree(protocol::IPCP, &[3, 6, 100, 64, 0, 1]);
        assert!(matches!(bench.events()[..], [Event::Ipv4Up { .. }]));
        bench
    }
}
