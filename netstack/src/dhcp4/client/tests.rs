//! The client before servers of all kinds. Their messages are built, and the client's read, by another implementation
//! (dhcproto), so that an error of ours cannot hide behind its mirror image.

use alloc::vec;
use alloc::vec::Vec;

use dhcproto::v4::{DhcpOption, Message, MessageType, OptionCode};
use dhcproto::{Decodable, Decoder, Encodable};

use super::*;
use crate::frame::HEADROOM;
use crate::rng::SeededRng;
use crate::wire::ipv4::Ipv4;

const OURS: Mac = Mac([2, 0, 0, 0, 0, 1]);
const SERVER_MAC: Mac = Mac([2, 0, 0, 0, 0, 0xfe]);
const HOUR: u32 = 3600;

fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(203, 0, 113, last)
}

struct Bench {
    client: Client,
    rng: SeededRng,
    now: Instant,
}

/// A message of the client's.
struct Sent {
    way: Way,
    source: Ipv4Addr,
    destination: Ipv4Addr,
    message: Message,
}

impl Sent {
    fn kind(&self) -> MessageType {
        self.message.opts().msg_type().unwrap()
    }

    fn requested(&self) -> Option<Ipv4Addr> {
        match self.message.opts().get(OptionCode::RequestedIpAddress) {
            Some(DhcpOption::RequestedIpAddress(address)) => Some(*address),
            _ => None,
        }
    }

    fn server(&self) -> Option<Ipv4Addr> {
        match self.message.opts().get(OptionCode::ServerIdentifier) {
            Some(DhcpOption::ServerIdentifier(address)) => Some(*address),
            _ => None,
        }
    }

    /// A server's answer with the usual contents.
    fn answer(&self, kind: MessageType, address: Ipv4Addr) -> Message {
        let unset = Ipv4Addr::UNSPECIFIED;
        let mut message = Message::new_with_id(self.message.xid(), unset, address, unset, unset, &OURS.0);
        message.set_opcode(dhcproto::v4::Opcode::BootReply);
        let options = message.opts_mut();
        options.insert(DhcpOption::MessageType(kind));
        options.insert(DhcpOption::ServerIdentifier(ip(1)));
        if kind != MessageType::Nak {
            options.insert(DhcpOption::AddressLeaseTime(HOUR));
            options.insert(DhcpOption::SubnetMask(Ipv4Addr::new(255, 255, 255, 0)));
            options.insert(DhcpOption::Router(vec![ip(1)]));
            options.insert(DhcpOption::DomainNameServer(vec![ip(2), ip(3)]));
        }
        message
    }
}

fn in_frame(message: &Message) -> Vec<u8> {
    let packet = wire::packet((ip(1), SERVER_PORT), (ip(5), CLIENT_PORT), &message.to_vec().unwrap());
    let header = Header { destination: OURS, source: SERVER_MAC, ethertype: ethertype::IPV4 };
    [&header.to_bytes()[..], &packet].concat()
}

impl Bench {
    fn new() -> Bench {
        Bench::after(None)
    }

    fn after(remembered: Option<Remembered>) -> Bench {
        let mut rng = SeededRng::from_u64(3);
        let now = Instant::from_secs(1000);
        let client = Client::new(&mut Cx { now, rng: &mut rng }, OURS, 1500, "genkan", remembered);
        Bench { client, rng, now }
    }

    /// Lets time pass until something is sent or told, or `seconds` are over.
    fn wait(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        while self.client.transmit.is_empty() && self.client.events.is_empty() {
            let Some(due) = self.client.poll_timeout().filter(|due| *due <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(due);
            self.client.handle_timeout(&mut Cx { now: self.now, rng: &mut self.rng });
        }
    }

    fn put(&mut self, message: &Message) -> Result<(), DropReason> {
        let frame = in_frame(message);
        self.client.handle(&mut Cx { now: self.now, rng: &mut self.rng }, Input::Dhcp(&frame))
    }

    fn hear(&mut self, packet: arp::Packet) -> Result<(), DropReason> {
        let mut frame = Frame::with_capacity(256);
        assert!(packet.emit(Mac::BROADCAST, &mut frame));
        self.client.handle(&mut Cx { now: self.now, rng: &mut self.rng }, Input::Arp(frame.bytes()))
    }

    /// The next message; ARP probes are passed over.
    #[track_caller]
    fn sent(&mut self) -> Sent {
        loop {
            let mut frame = Frame::with_capacity(HEADROOM + 2048);
            let way = self.client.poll_transmit(&mut frame).expect("a message");
            let packet = match way {
                Way::Port if frame.bytes()[12..14] == [8, 6] => continue,
                Way::Port => &frame.bytes()[14..],
                Way::Routed => frame.bytes(),
            };
            let ip = Ipv4::parse(packet).unwrap();
            assert!(ip.payload().len() >= 8 + 300);
            let message = Message::decode(&mut Decoder::new(&ip.payload()[8..])).unwrap();
            assert_eq!(message.chaddr(), OURS.0);
            return Sent { way, source: ip.source(), destination: ip.destination(), message };
        }
    }

    fn events(&mut self) -> Vec<Event> {
        core::iter::from_fn(|| self.client.poll_event()).collect()
    }

    /// The next question, when it is due.
    fn next(&mut self) -> Sent {
        self.wait(10_000);
        self.sent()
    }

    /// Up to the acknowledgement, after which it probes.
    fn acknowledged(&mut self) {
        let discover = self.next();
        self.put(&discover.answer(MessageType::Offer, ip(5))).unwrap();
        let request = self.sent();
        self.put(&request.answer(MessageType::Ack, ip(5))).unwrap();
    }

    fn bound(&mut self) -> Lease {
        self.acknowledged();
        while self.client.lease().is_none() {
            self.wait(10);
            self.client.transmit.clear();
        }
        self.events();
        self.client.lease().unwrap().clone()
    }
}

#[test]
fn rfc2131_an_address_is_discovered_requested_and_probed() {
    let mut bench = Bench::new();
    let started = bench.now;
    let discover = bench.next();
    assert!(bench.now.since(started) <= FIRST);
    assert_eq!((discover.kind(), discover.way), (MessageType::Discover, Way::Port));
    assert_eq!((discover.source, discover.destination), (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST));
    assert!(discover.message.opts().get(OptionCode::ClientIdentifier).is_some());
    assert_eq!(
        discover.message.opts().get(OptionCode::Hostname),
        Some(&DhcpOption::Hostname("genkan".into()))
    );
    bench.put(&discover.answer(MessageType::Offer, ip(5))).unwrap();
    let request = bench.sent();
    assert_eq!((request.kind(), request.message.xid()), (MessageType::Request, discover.message.xid()));
    assert_eq!((request.requested(), request.server()), (Some(ip(5)), Some(ip(1))));
    assert_eq!(request.message.ciaddr(), Ipv4Addr::UNSPECIFIED);
    let requested = bench.now;
    bench.now += Duration::from_secs(1);
    bench.put(&request.answer(MessageType::Ack, ip(5))).unwrap();
    assert!(bench.client.lease().is_none(), "not before it is known to be free");

    let mut probes = Vec::new();
    while bench.client.lease().is_none() {
        bench.wait(10);
        let mut frame = Frame::with_capacity(256);
        while bench.client.poll_transmit(&mut frame).is_some() {
            probes.push((bench.now, arp::Packet::parse(frame.bytes()).unwrap()));
            frame.reset();
        }
    }
    assert_eq!(probes.len(), 3);
    assert!(probes.iter().all(|(_, probe)| probe.sender.is_unspecified() && probe.target == ip(5)));
    let pause = probes[1].0.since(probes[0].0);
    assert!((PROBE_MIN..=PROBE_MIN + PROBE_SPREAD).contains(&pause));
    assert_eq!(bench.now.since(probes[2].0), ANNOUNCE_WAIT);
    let lease = bench.client.lease().unwrap().clone();
    assert_eq!(bench.events(), [Event::Bound(lease.clone())]);
    // RFC 2131 §4.4.1: it counts from when the request was sent.
    assert_eq!(lease.expires, requested + Duration::from_secs(u64::from(HOUR)));
    assert_eq!(lease.renews, requested + Duration::from_secs(u64::from(HOUR) / 2));
    assert_eq!(lease.rebinds, requested + Duration::from_secs(u64::from(HOUR) * 7 / 8));
    assert_eq!(lease.grant.segment.gateway, ip(1));
    assert_eq!(lease.grant.dns, [ip(2), ip(3)]);
}

#[test]
fn rfc2131_4_1_questions_back_off_from_4_to_64_seconds_give_or_take_one() {
    let mut bench = Bench::new();
    let first = bench.next();
    for nominal in [4, 8, 16, 32, 64, 64, 64] {
        let before = bench.now;
        let mut again = None;
        while again.is_none() {
            bench.wait(100);
            bench.events();
            again = (!bench.client.transmit.is_empty()).then(|| bench.sent());
        }
        assert_eq!(again.unwrap().message.xid(), first.message.xid());
        let pause = bench.now.since(before);
        let nominal = Duration::from_secs(nominal);
        let second = Duration::from_secs(1);
        assert!((nominal - second..=nominal + second).contains(&pause), "{pause:?}");
    }
    assert!(bench.client.status().last_failure.unwrap().contains("no DHCP server"));
}

#[test]
fn rfc2131_renewing_goes_to_the_server_at_t1_and_rebinding_to_all_at_t2() {
    let mut bench = Bench::new();
    let lease = bench.bound();
    let renewal = bench.next();
    assert_eq!((bench.now, renewal.way), (lease.renews, Way::Routed));
    assert_eq!((renewal.source, renewal.destination), (ip(5), ip(1)));
    assert_eq!((renewal.message.ciaddr(), renewal.requested(), renewal.server()), (ip(5), None, None));
    assert_eq!(bench.client.status().phase, "renewing");
    // Half of what is left until T2, each time, but not less than a minute.
    let again = bench.next();
    assert_eq!(again.way, Way::Routed);
    assert_eq!(bench.now.since(lease.renews), lease.rebinds.since(lease.renews) / 2);
    loop {
        let last = bench.now;
        let question = bench.next();
        assert!(bench.now.since(last) >= RENEW_RETRY || bench.now == lease.rebinds);
        if question.way == Way::Port {
            assert_eq!(bench.now, lease.rebinds, "exactly at T2");
            assert_eq!((question.source, question.destination), (ip(5), Ipv4Addr::BROADCAST));
            // Any server may answer.
            let mut answer = question.answer(MessageType::Ack, ip(5));
            answer.opts_mut().insert(DhcpOption::ServerIdentifier(ip(9)));
            bench.put(&answer).unwrap();
            break;
        }
    }
    let renewed = bench.client.lease().unwrap().clone();
    assert_eq!((renewed.server, renewed.expires), (ip(9), bench.now + Duration::from_secs(u64::from(HOUR))));
    assert_eq!(bench.events(), [Event::Renewed(renewed)]);
}

#[test]
fn rfc2131_a_lease_that_nobody_extends_ends_to_the_second() {
    let mut bench = Bench::new();
    let lease = bench.bound();
    while bench.client.lease().is_some() {
        bench.wait(10_000);
        if bench.client.lease().is_some() {
            bench.sent();
        }
    }
    assert_eq!(bench.now, lease.expires);
    assert_eq!(bench.events(), [Event::Expired { address: ip(5) }]);
    assert_eq!(bench.next().kind(), MessageType::Discover);
    assert_eq!(bench.now, lease.expires, "it begins anew at once");
    assert_eq!(bench.client.remembered(), None);
}

#[test]
fn an_infinite_lease_needs_nobody() {
    let mut bench = Bench::new();
    let discover = bench.next();
    bench.put(&discover.answer(MessageType::Offer, ip(5))).unwrap();
    let request = bench.sent();
    let mut ack = request.answer(MessageType::Ack, ip(5));
    ack.opts_mut().insert(DhcpOption::AddressLeaseTime(u32::MAX));
    bench.put(&ack).unwrap();
    for _ in 0..10 {
        bench.wait(1_000_000);
        bench.client.transmit.clear();
        bench.events();
    }
    assert!(bench.client.lease().is_some());
    assert_eq!(bench.client.poll_timeout(), None);
}

#[test]
fn rfc2131_nak_begins_anew_and_more_of_them_ever_slower() {
    let mut bench = Bench::new();
    bench.bound();
    let renewal = bench.next();
    bench.put(&renewal.answer(MessageType::Nak, ip(5))).unwrap();
    assert!(bench.client.lease().is_none());
    assert_eq!(bench.events(), [Event::Refused { address: ip(5), server: ip(1) }]);
    let mut pauses = Vec::new();
    for _ in 0..4 {
        let discover = bench.sent();
        bench.put(&discover.answer(MessageType::Offer, ip(6))).unwrap();
        let request = bench.sent();
        bench.put(&request.answer(MessageType::Nak, ip(6))).unwrap();
        bench.events();
        let refused = bench.now;
        bench.wait(1000);
        pauses.push(bench.now.since(refused).as_secs());
    }
    assert_eq!(pauses, [4, 8, 16, 32]);
}

#[test]
fn rfc5227_an_address_that_somebody_has_is_declined() {
    let other = Mac([2, 0, 0, 0, 0, 0x77]);
    let packet = |operation, sender, target| arp::Packet {
        operation,
        sender_mac: other,
        sender,
        target_mac: Mac::default(),
        target,
    };
    let none = Ipv4Addr::UNSPECIFIED;
    for claim in [
        packet(arp::Operation::Reply, ip(5), none),
        packet(arp::Operation::Request, ip(5), ip(1)),
        packet(arp::Operation::Request, none, ip(5)),
    ] {
        let mut bench = Bench::new();
        bench.acknowledged();
        bench.wait(2);
        let harmless = packet(arp::Operation::Request, ip(8), ip(5));
        assert_eq!(bench.hear(harmless), Err(DropReason::NotListening));
        bench.hear(claim).unwrap();
        let decline = bench.sent();
        assert_eq!((decline.kind(), decline.way), (MessageType::Decline, Way::Port));
        assert_eq!((decline.requested(), decline.server()), (Some(ip(5)), Some(ip(1))));
        assert_eq!(decline.message.ciaddr(), none);
        assert_eq!(bench.events(), [Event::Conflict { address: ip(5), mac: other }]);
        let declined = bench.now;
        assert_eq!(bench.next().kind(), MessageType::Discover);
        assert_eq!(bench.now.since(declined), AFTER_CONFLICT);
    }
}

#[test]
fn rfc2131_init_reboot_asks_for_the_address_of_the_last_life() {
    let expires = Instant::from_secs(2000);
    let last = Remembered { address: ip(5), expires, kept: None };
    let mut bench = Bench::after(Some(last.clone()));
    let request = bench.next();
    assert_eq!(
        (request.kind(), request.requested(), request.server()),
        (MessageType::Request, Some(ip(5)), None)
    );
    assert_eq!(request.message.ciaddr(), Ipv4Addr::UNSPECIFIED);
    bench.put(&request.answer(MessageType::Ack, ip(5))).unwrap();
    for _ in 0..5 {
        bench.wait(10);
        bench.client.transmit.clear();
    }
    assert!(matches!(bench.events()[..], [Event::Bound(_)]));

    // Without an answer it asks for any address, and would like that one.
    let mut bench = Bench::after(Some(last.clone()));
    for _ in 0..REBOOTS {
        assert_eq!(bench.next().kind(), MessageType::Request);
    }
    let discover = bench.next();
    assert_eq!((discover.kind(), discover.requested()), (MessageType::Discover, Some(ip(5))));

    // So it does when the lease has ended.
    let ended = Remembered { address: ip(5), expires: Instant::from_secs(999), kept: None };
    let discover = Bench::after(Some(ended)).next();
    assert_eq!((discover.kind(), discover.requested()), (MessageType::Discover, Some(ip(5))));

    let mut bench = Bench::after(Some(last));
    let request = bench.next();
    bench.put(&request.answer(MessageType::Nak, ip(5))).unwrap();
    assert_eq!(bench.sent().requested(), None, "nor again what was refused");
}

/// What the state file holds of a client that is bound since the time 1000 s or so.
fn kept() -> (Remembered, Lease) {
    let mut bench = Bench::new();
    let discover = bench.next();
    bench.put(&discover.answer(MessageType::Offer, ip(5))).unwrap();
    let request = bench.sent();
    bench.put(&request.answer(MessageType::Ack, ip(5))).unwrap();
    for _ in 0..5 {
        bench.wait(10);
        bench.client.transmit.clear();
    }
    let text = serde_json::to_string(&bench.client.remembered()).unwrap();
    let remembered: Remembered = serde_json::from_str::<Option<_>>(&text).unwrap().unwrap();
    (remembered, bench.client.lease().unwrap().clone())
}

/// RFC 2131 §3.2, §4.4.2: the address is used on, and meanwhile asked for as after a reboot.
#[test]
fn rfc2131_a_lease_of_the_last_run_goes_on_at_once_and_is_confirmed_meanwhile() {
    let (remembered, lease) = kept();
    let mut bench = Bench::after(Some(remembered.clone()));
    assert_eq!(bench.client.lease(), Some(&lease), "before anything was asked");
    assert_eq!(bench.events(), [Event::Kept(lease.clone())]);
    assert_eq!(bench.client.remembered(), Some(remembered.clone()));
    let request = bench.sent();
    let asked = (request.kind(), request.requested(), request.server());
    assert_eq!(asked, (MessageType::Request, Some(ip(5)), None));
    assert_eq!(request.message.ciaddr(), Ipv4Addr::UNSPECIFIED);
    bench.wait(1);
    bench.put(&request.answer(MessageType::Ack, ip(5))).unwrap();
    assert!(matches!(bench.events()[..], [Event::Renewed(_)]));
    assert_eq!((bench.client.status().phase, bench.client.lease().map(Lease::address)), ("up", Some(ip(5))));

    // Nobody answers: the lease runs on, and is extended at its time.
    let mut bench = Bench::after(Some(remembered.clone()));
    bench.events();
    for _ in 0..REBOOTS {
        assert_eq!(bench.sent().requested(), Some(ip(5)));
        bench.wait(20);
    }
    assert_eq!(bench.client.lease(), Some(&lease));
    assert_eq!(bench.client.status().phase, "up");
    assert_eq!(bench.client.poll_timeout(), Some(lease.renews));

    // A server says that it is not ours: it is given up at once.
    let mut bench = Bench::after(Some(remembered.clone()));
    bench.events();
    let request = bench.sent();
    bench.put(&request.answer(MessageType::Nak, ip(5))).unwrap();
    assert!(matches!(bench.events()[..], [Event::Refused { .. }]));
    assert_eq!((bench.client.lease(), bench.client.remembered()), (None, None));

    // Another card's lease, and one that has ended, do not go on.
    let mut spoilt = remembered.clone();
    spoilt.kept.as_mut().unwrap().mac = SERVER_MAC;
    assert_eq!(Bench::after(Some(spoilt)).client.lease(), None);
    let mut spoilt = remembered.clone();
    spoilt.kept.as_mut().unwrap().lease.expires = Instant::from_secs(1000);
    assert_eq!(Bench::after(Some(spoilt)).client.lease(), None);
    assert_eq!(Bench::after(Some(Remembered { kept: None, ..remembered })).client.lease(), None);
}

#[test]
fn answers_that_are_not_for_us_or_make_no_sense_are_ignored() {
    let spoilt: [&dyn Fn(&mut Message); 10] = [
        &|message| {
            message.set_xid(message.xid() ^ 1);
        },
        &|message| {
            message.set_chaddr(&[2, 0, 0, 0, 0, 9]);
        },
        &|message| {
            message.set_opcode(dhcproto::v4::Opcode::BootRequest);
        },
        &|message| {
            message.opts_mut().remove(OptionCode::ServerIdentifier);
        },
        &|message| {
            message.opts_mut().remove(OptionCode::AddressLeaseTime);
        },
        &|message| {
            message.opts_mut().insert(DhcpOption::AddressLeaseTime(0));
        },
        &|message| {
            message.opts_mut().remove(OptionCode::Router);
        },
        &|message| {
            message.set_yiaddr(Ipv4Addr::new(127, 0, 0, 1));
        },
        &|message| {
            message.set_yiaddr(ip(255));
        },
        // RFC 6842.
        &|message| {
            message.opts_mut().insert(DhcpOption::ClientIdentifier(vec![1, 2, 3]));
        },
    ];
    for (index, spoil) in spoilt.iter().enumerate() {
        let mut bench = Bench::new();
        let discover = bench.next();
        let mut offer = discover.answer(MessageType::Offer, ip(5));
        spoil(&mut offer);
        assert_eq!(bench.put(&offer), Err(DropReason::DhcpMalformed), "offer {index}");
        bench.put(&discover.answer(MessageType::Offer, ip(5))).unwrap();
        let request = bench.sent();
        let mut ack = request.answer(MessageType::Ack, ip(5));
        spoil(&mut ack);
        assert_eq!(bench.put(&ack), Err(DropReason::DhcpMalformed), "acknowledgement {index}");
        assert_eq!(bench.put(&request.answer(MessageType::Ack, ip(6))), Err(DropReason::DhcpMalformed));
        bench.put(&request.answer(MessageType::Ack, ip(5))).unwrap();
    }
}

#[test]
fn rfc3442_a_classless_default_route_replaces_the_router() {
    let mut bench = Bench::new();
    let discover = bench.next();
    let mut offer = discover.answer(MessageType::Offer, ip(5));
    let routes = vec![8, 10, 203, 0, 113, 66, 0, 203, 0, 113, 77];
    offer.opts_mut().insert(DhcpOption::Unknown(dhcproto::v4::UnknownOption::new(
        OptionCode::ClasslessStaticRoute,
        routes,
    )));
    let frame = in_frame(&offer);
    let grant = Answer::parse(&frame, OURS).unwrap().grant.unwrap();
    assert_eq!(grant.segment.gateway, ip(77));
}

#[test]
fn options_are_believed_within_reason() {
    let mut bench = Bench::new();
    let discover = bench.next();
    let grant = |change: &dyn Fn(&mut Message)| {
        let mut offer = discover.answer(MessageType::Offer, ip(5));
        change(&mut offer);
        Answer::parse(&in_frame(&offer), OURS).unwrap().grant.unwrap()
    };
    for (mtu, believed) in [(575, None), (576, Some(576)), (1400, Some(1400))] {
        assert_eq!(grant(&|m| drop(m.opts_mut().insert(DhcpOption::InterfaceMtu(mtu)))).mtu, believed);
    }
    for (mask, prefix) in [([255, 255, 255, 128], 25), ([255, 0, 255, 0], 32), ([0, 0, 0, 0], 32)] {
        let mask = Ipv4Addr::from(mask);
        let network = grant(&|m| drop(m.opts_mut().insert(DhcpOption::SubnetMask(mask)))).segment.network;
        assert_eq!(network.prefix, prefix);
    }
    let timers = |t1, t2| {
        grant(&|m| {
            m.opts_mut().insert(DhcpOption::Renewal(t1));
            m.opts_mut().insert(DhcpOption::Rebinding(t2));
        })
        .timers
    };
    assert_eq!(timers(100, 200), (100, 200));
    assert_eq!(timers(300, 200), (200, 200), "T1 is not after T2");
    assert_eq!(timers(0, HOUR), (HOUR / 2, HOUR * 7 / 8));
}

#[test]
fn every_cut_and_every_flipped_bit_is_survived() {
    let mut bench = Bench::new();
    let discover = bench.next();
    let whole = in_frame(&discover.answer(MessageType::Offer, ip(5)));
    for len in 0..whole.len() {
        assert_eq!(Answer::parse(&whole[..len], OURS), None, "cut to {len}");
    }
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let _ = Answer::parse(&flipped, OURS);
    }
}
