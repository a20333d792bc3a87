//! Clients as they are met on LANs. Their messages are built, and the replies read, by another implementation
//! (dhcproto), so that an error of ours cannot hide behind its mirror image.

use alloc::string::ToString;
use alloc::vec;

use dhcproto::v4::{DhcpOption, Flags, Message, MessageType, OptionCode};
use dhcproto::{Decodable, Decoder, Encodable};

use super::*;
use crate::rng::SeededRng;
use crate::settings::Dhcp4 as Range;
use crate::wire::checksum::Sum;
use crate::wire::ipv4::Ipv4;

const ROUTER: Mac = Mac([2, 0, 0, 0, 0, 1]);
const HOUR: u32 = 3600;

fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 1, last)
}

fn mac(last: u8) -> Mac {
    Mac([0x52, 0x54, 0, 0, 0, last])
}

fn lan() -> settings::Lan {
    settings::Lan {
        name: "home".to_string(),
        ports: vec![crate::id::PortId(0)],
        address: Ipv4Cidr { address: ip(1), prefix: 24 },
        dhcp: Some(Range {
            range: ip(100)..=ip(103),
            lease: Duration::from_secs(u64::from(HOUR)),
            ntp: vec![],
        }),
        prefix: None,
        dhcp6: settings::Dhcp6::Off,
        domain: "home.arpa".to_string(),
        hosts: vec![Host { name: "nas".to_string(), mac: Some(mac(200)), ipv4: Some(ip(10)), ipv6: None }],
    }
}

struct Bench {
    server: Dhcp4,
    rng: SeededRng,
    now: Instant,
}

/// A reply: where it went, and what it says.
#[derive(Debug)]
struct Got {
    destination: Mac,
    address: Ipv4Addr,
    message: Message,
}

impl Got {
    fn kind(&self) -> MessageType {
        self.message.opts().msg_type().unwrap()
    }

    fn option(&self, code: OptionCode) -> Option<&DhcpOption> {
        self.message.opts().get(code)
    }
}

impl Bench {
    fn new() -> Self {
        Bench::with(lan(), 1500)
    }

    fn with(lan: settings::Lan, mtu: u16) -> Self {
        let server = Dhcp4::new(&lan, ROUTER, mtu, "genkan").unwrap();
        Bench { server, rng: SeededRng::from_u64(5), now: Instant::from_secs(1000) }
    }

    fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.server.handle_timeout(&mut Cx { now: self.now, rng: &mut self.rng });
    }

    fn put(&mut self, frame: &[u8]) -> Result<(), DropReason> {
        self.server.handle(&mut Cx { now: self.now, rng: &mut self.rng }, frame)
    }

    /// Sends a message and reads the reply, if one comes.
    fn ask(&mut self, message: &Message) -> Option<Got> {
        self.put(&frame(message)).unwrap();
        let mut frame = Frame::with_capacity(2048);
        let sent = self.server.poll_transmit(&mut frame);
        assert!(!self.server.poll_transmit(&mut Frame::with_capacity(2048)), "one reply at most");
        sent.then(|| read(frame.bytes()))
    }

    /// DISCOVER and REQUEST; the address.
    fn boot(&mut self, client: u8) -> Option<Ipv4Addr> {
        let offer = self.ask(&discover(client))?;
        assert_eq!(offer.kind(), MessageType::Offer);
        let ack = self.ask(&select(client, offer.message.yiaddr()))?;
        assert_eq!(ack.kind(), MessageType::Ack);
        assert_eq!(ack.message.yiaddr(), offer.message.yiaddr());
        Some(ack.message.yiaddr())
    }

    fn events(&mut self) -> Vec<Event> {
        core::iter::from_fn(|| self.server.poll_event()).collect()
    }
}

fn message(client: u8, kind: MessageType) -> Message {
    let unset = Ipv4Addr::UNSPECIFIED;
    let mut message = Message::new_with_id(0x1234_5678, unset, unset, unset, unset, &mac(client).0);
    message.opts_mut().insert(DhcpOption::MessageType(kind));
    message
}

fn discover(client: u8) -> Message {
    message(client, MessageType::Discover)
}

/// A REQUEST in the SELECTING state.
fn select(client: u8, address: Ipv4Addr) -> Message {
    let mut message = message(client, MessageType::Request);
    message.opts_mut().insert(DhcpOption::ServerIdentifier(ip(1)));
    message.opts_mut().insert(DhcpOption::RequestedIpAddress(address));
    message
}

/// A REQUEST in the INIT-REBOOT state.
fn reboot(client: u8, address: Ipv4Addr) -> Message {
    let mut message = message(client, MessageType::Request);
    message.opts_mut().insert(DhcpOption::RequestedIpAddress(address));
    message
}

/// A REQUEST in the RENEWING state.
fn renew(client: u8, address: Ipv4Addr) -> Message {
    let mut message = message(client, MessageType::Request);
    message.set_ciaddr(address);
    message
}

fn named(mut message: Message, name: &str) -> Message {
    message.opts_mut().insert(DhcpOption::Hostname(name.to_string()));
    message
}

fn wants(mut message: Message, codes: &[OptionCode]) -> Message {
    message.opts_mut().insert(DhcpOption::ParameterRequestList(codes.to_vec()));
    message
}

fn frame(message: &Message) -> Vec<u8> {
    frame_of(message.chaddr(), &message.to_vec().unwrap())
}

fn frame_of(chaddr: &[u8], payload: &[u8]) -> Vec<u8> {
    let udp = (payload.len() + 8) as u16;
    let mut frame = [&[0xff; 6], chaddr, &[8, 0]].concat();
    frame.extend([0x45, 0]);
    frame.extend((udp + 20).to_be_bytes());
    frame.extend([0, 0, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255]);
    frame.extend([0, 68, 0, 67]);
    frame.extend(udp.to_be_bytes());
    frame.extend([0, 0]);
    frame.extend(payload);
    frame
}

fn read(frame: &[u8]) -> Got {
    assert_eq!(Mac::read(&frame[6..]), Some(ROUTER));
    assert_eq!(frame[12..14], [8, 0]);
    let packet = Ipv4::parse(&frame[14..]).unwrap();
    assert!(Sum::of(packet.header()).is_right(), "the header's checksum");
    let udp = packet.payload();
    let pseudo = Sum::pseudo_v4(packet.source(), packet.destination(), 17, udp.len() as u16);
    assert!(pseudo.plus(Sum::of(udp)).is_right(), "the datagram's checksum");
    assert_eq!(udp[..4], [0, 67, 0, 68]);
    assert_eq!(packet.source(), ip(1));
    assert!(udp.len() - 8 >= 300, "RFC 1542 §2.1: at least 300 octets");
    let message = Message::decode(&mut Decoder::new(&udp[8..])).unwrap();
    assert_eq!(message.xid(), 0x1234_5678);
    if message.opts().msg_type() != Some(MessageType::Nak) {
        assert_eq!(
            message.opts().get(OptionCode::ServerIdentifier),
            Some(&DhcpOption::ServerIdentifier(ip(1)))
        );
    }
    Got { destination: Mac::read(frame).unwrap(), address: packet.destination(), message }
}

/// RFC 2131 MESSAGES and OPTIONS.
#[test]
fn rfc2131_3_1_a_client_gets_a_lease_and_its_options() {
    let mut bench = Bench::new();
    let codes = [
        OptionCode::SubnetMask,
        OptionCode::Router,
        OptionCode::DomainNameServer,
        OptionCode::Hostname,
        OptionCode::DomainName,
        OptionCode::BroadcastAddr,
        OptionCode::NtpServers,
        OptionCode::InterfaceMtu,
    ];
    let offer = bench.ask(&wants(named(discover(1), "Laptop"), &codes)).unwrap();
    assert_eq!(offer.kind(), MessageType::Offer);
    let address = offer.message.yiaddr();
    assert!((ip(100)..=ip(103)).contains(&address));
    assert_eq!((offer.destination, offer.address), (mac(1), address), "unicast, for the flag is clear");
    let ack = bench.ask(&wants(named(select(1, address), "Laptop"), &codes)).unwrap();
    assert_eq!(ack.kind(), MessageType::Ack);
    for (code, value) in [
        (OptionCode::SubnetMask, DhcpOption::SubnetMask(Ipv4Addr::new(255, 255, 255, 0))),
        (OptionCode::Router, DhcpOption::Router(vec![ip(1)])),
        (OptionCode::DomainNameServer, DhcpOption::DomainNameServer(vec![ip(1)])),
        (OptionCode::Hostname, DhcpOption::Hostname("laptop".to_string())),
        (OptionCode::DomainName, DhcpOption::DomainName("home.arpa".to_string())),
        (OptionCode::BroadcastAddr, DhcpOption::BroadcastAddr(ip(255))),
        (OptionCode::AddressLeaseTime, DhcpOption::AddressLeaseTime(HOUR)),
        (OptionCode::Renewal, DhcpOption::Renewal(HOUR / 2)),
        (OptionCode::Rebinding, DhcpOption::Rebinding(HOUR / 8 * 7)),
    ] {
        assert_eq!(ack.option(code), Some(&value));
    }
    assert_eq!(ack.option(OptionCode::NtpServers), None, "what is not known is not told");
    assert_eq!(ack.option(OptionCode::InterfaceMtu), None, "1500 goes without saying");
    let time = Duration::from_secs(u64::from(HOUR));
    let hostname = Some("laptop".to_string());
    assert_eq!(
        bench.events(),
        [Event::Leased { address, mac: mac(1), hostname, time }, Event::LeasesChanged]
    );
    assert_eq!(bench.server.leases().count(), 1);
}

/// RFC 2131 OPTIONS.
#[test]
fn rfc2132_9_8_only_what_is_asked_for_is_told() {
    let mut bench = Bench::with(lan(), 1400);
    let offer = bench.ask(&wants(discover(1), &[OptionCode::InterfaceMtu, OptionCode::Router])).unwrap();
    assert_eq!(offer.option(OptionCode::InterfaceMtu), Some(&DhcpOption::InterfaceMtu(1400)));
    assert!(offer.option(OptionCode::Router).is_some());
    assert_eq!(offer.option(OptionCode::DomainName), None);
}

#[test]
fn rfc2131_4_1_the_broadcast_flag_is_honoured() {
    let mut bench = Bench::new();
    let mut message = discover(1);
    message.set_flags(Flags::default().set_broadcast());
    let offer = bench.ask(&message).unwrap();
    assert_eq!((offer.destination, offer.address), (Mac::BROADCAST, Ipv4Addr::BROADCAST));
}

#[test]
fn rfc2131_4_3_1_a_client_gets_its_old_address_again() {
    let mut bench = Bench::new();
    let first = bench.boot(1).unwrap();
    assert_ne!(bench.boot(2).unwrap(), first);
    assert_eq!(bench.boot(1).unwrap(), first, "while the lease runs");
    bench.wait(u64::from(HOUR) + 1);
    assert_eq!(bench.server.leases().count(), 0);
    assert_eq!(bench.boot(1).unwrap(), first, "and after it ran out");
}

#[test]
fn rfc2131_4_3_1_a_wish_is_granted_when_the_address_is_free() {
    let mut bench = Bench::new();
    let mut message = discover(1);
    message.opts_mut().insert(DhcpOption::RequestedIpAddress(ip(102)));
    assert_eq!(bench.ask(&message).unwrap().message.yiaddr(), ip(102));
    let mut message = discover(2);
    message.opts_mut().insert(DhcpOption::RequestedIpAddress(ip(102)));
    assert_ne!(bench.ask(&message).unwrap().message.yiaddr(), ip(102), "offered to somebody else");
    let mut message = discover(3);
    message.opts_mut().insert(DhcpOption::RequestedIpAddress(ip(1)));
    assert_ne!(bench.ask(&message).unwrap().message.yiaddr(), ip(1), "the router's own");
}

#[test]
fn rfc2131_4_3_2_renewing_extends_the_lease_by_unicast() {
    let mut bench = Bench::new();
    let address = bench.boot(1).unwrap();
    bench.events();
    bench.wait(u64::from(HOUR) / 2);
    let ack = bench.ask(&renew(1, address)).unwrap();
    assert_eq!((ack.kind(), ack.destination, ack.address), (MessageType::Ack, mac(1), address));
    assert_eq!(ack.message.ciaddr(), address);
    assert_eq!(bench.events(), [Event::LeasesChanged], "a renewal is no news");
    assert_eq!(bench.server.leases().next().unwrap().expires, bench.now + Duration::from_secs(3600));
}

/// RFC 2131 WRONG-NETWORK.
#[test]
fn rfc2131_4_3_2_a_client_of_another_network_gets_a_nak() {
    let mut bench = Bench::new();
    let foreign = Ipv4Addr::new(10, 0, 0, 5);
    for message in [reboot(1, foreign), renew(1, foreign)] {
        let nak = bench.ask(&message).unwrap();
        assert_eq!(nak.kind(), MessageType::Nak);
        assert_eq!((nak.destination, nak.address), (Mac::BROADCAST, Ipv4Addr::BROADCAST));
        assert!(nak.message.yiaddr().is_unspecified());
        assert_eq!(nak.option(OptionCode::AddressLeaseTime), None);
    }
    assert_eq!(bench.events()[0], Event::Refused { address: foreign, mac: mac(1) });
}

#[test]
fn rfc2131_4_3_2_nobody_gets_what_another_has() {
    let mut bench = Bench::new();
    let address = bench.boot(1).unwrap();
    for message in
        [select(2, address), reboot(2, address), renew(2, address), select(2, ip(1)), select(2, ip(255))]
    {
        assert_eq!(bench.ask(&message).unwrap().kind(), MessageType::Nak);
    }
    assert_eq!(bench.server.leases().count(), 1);
}

#[test]
fn leases_of_a_server_that_lost_its_memory_are_taken_up_again() {
    let mut bench = Bench::new();
    assert_eq!(bench.ask(&reboot(1, ip(101))).unwrap().kind(), MessageType::Ack);
    assert_eq!(bench.ask(&renew(2, ip(102))).unwrap().kind(), MessageType::Ack);
    assert_eq!(bench.server.leases().count(), 2);
}

#[test]
fn rfc2131_4_3_2_an_offer_that_is_not_taken_is_withdrawn() {
    let mut bench = Bench::new();
    for client in 1..=4 {
        bench.ask(&discover(client)).unwrap();
    }
    assert!(bench.ask(&discover(5)).is_none());
    let mut elsewhere = select(1, ip(100));
    elsewhere.opts_mut().insert(DhcpOption::ServerIdentifier(ip(2)));
    assert!(bench.ask(&elsewhere).is_none(), "it has chosen another server");
    assert!(bench.ask(&discover(5)).is_some());
    bench.wait(61);
    assert!(bench.ask(&discover(6)).is_some(), "offers run out");
}

/// RFC 2131 FIXED-LEASE.
#[test]
fn rfc2131_a_fixed_lease_is_the_hosts_alone_and_bears_its_name() {
    let mut bench = Bench::new();
    assert_eq!(bench.ask(&select(1, ip(10))).unwrap().kind(), MessageType::Nak);
    assert_eq!(bench.boot(200), Some(ip(10)));
    let renewed = bench.ask(&wants(named(renew(200, ip(10)), "other"), &[OptionCode::Hostname])).unwrap();
    assert_eq!(renewed.option(OptionCode::Hostname), Some(&DhcpOption::Hostname("nas".to_string())));
    assert_eq!(
        bench.ask(&renew(200, ip(101))).unwrap().kind(),
        MessageType::Nak,
        "so that it takes the fixed one"
    );
    let mut again = discover(200);
    again.opts_mut().insert(DhcpOption::ClientIdentifier(vec![1, 2, 3]));
    assert_eq!(bench.ask(&again).unwrap().message.yiaddr(), ip(10), "under another identifier too");
    assert_eq!(bench.server.leases().count(), 1, "and to ask is not to lose the lease");
}

/// RFC 2131 MESSAGES.
#[test]
fn rfc2131_4_3_3_a_declined_address_is_set_aside() {
    let mut bench = Bench::new();
    let address = bench.boot(1).unwrap();
    let mut decline = message(1, MessageType::Decline);
    decline.opts_mut().insert(DhcpOption::RequestedIpAddress(address));
    decline.opts_mut().insert(DhcpOption::ServerIdentifier(ip(1)));
    let mut strange = decline.clone();
    strange.set_chaddr(&mac(2).0);
    assert!(bench.ask(&strange).is_none());
    assert_eq!(bench.server.leases().count(), 1, "only its client can decline it");
    assert!(bench.ask(&decline).is_none());
    assert!(bench.events().contains(&Event::Declined { address, mac: mac(1) }));
    for client in 1..=3 {
        assert_ne!(bench.boot(client).unwrap(), address);
    }
    assert!(bench.ask(&discover(4)).is_none());
    bench.wait(pool::QUARANTINE.as_secs());
    assert_eq!(bench.boot(4), Some(address), "and comes back in the end");
}

#[test]
fn a_fixed_address_that_was_declined_is_replaced_for_a_while() {
    let mut bench = Bench::new();
    bench.boot(200);
    let mut decline = message(200, MessageType::Decline);
    decline.opts_mut().insert(DhcpOption::RequestedIpAddress(ip(10)));
    bench.ask(&decline);
    assert!(bench.boot(200).unwrap() >= ip(100));
    bench.wait(pool::QUARANTINE.as_secs());
    assert_eq!(bench.boot(200), Some(ip(10)));
}

/// RFC 2131 MESSAGES.
#[test]
fn rfc2131_4_3_4_a_released_address_is_free_for_others_when_need_be() {
    let mut bench = Bench::new();
    let addresses: Vec<_> = (1..=4).map(|client| bench.boot(client).unwrap()).collect();
    let mut release = message(2, MessageType::Release);
    release.set_ciaddr(addresses[1]);
    assert!(bench.ask(&release).is_none());
    assert!(bench.events().contains(&Event::Released { address: addresses[1], mac: mac(2) }));
    assert_eq!(bench.boot(5), Some(addresses[1]));
    let mut strange = message(6, MessageType::Release);
    strange.set_ciaddr(addresses[0]);
    bench.ask(&strange);
    assert_eq!(bench.server.leases().count(), 4, "nobody releases another's lease");
}

/// RFC 2131 MESSAGES.
#[test]
fn rfc2131_4_3_5_inform_gets_options_and_no_lease() {
    let mut bench = Bench::new();
    let mut inform = wants(message(1, MessageType::Inform), &[OptionCode::DomainNameServer]);
    inform.set_ciaddr(ip(50));
    let ack = bench.ask(&inform).unwrap();
    assert_eq!((ack.kind(), ack.address), (MessageType::Ack, ip(50)));
    assert!(ack.message.yiaddr().is_unspecified());
    assert_eq!(ack.option(OptionCode::AddressLeaseTime), None);
    assert_eq!(ack.option(OptionCode::DomainNameServer), Some(&DhcpOption::DomainNameServer(vec![ip(1)])));
    assert_eq!(bench.server.leases().count(), 0);
}

#[test]
fn rfc2131_exhaustion_is_told_once_and_live_leases_survive_a_starvation_attack() {
    let mut bench = Bench::new();
    let first = bench.boot(1).unwrap();
    for client in 2..=199 {
        bench.boot(client);
    }
    let exhausted = |event: &Event| matches!(event, Event::Exhausted { addresses: 4, .. });
    assert_eq!(bench.events().iter().filter(|event| exhausted(event)).count(), 1);
    assert!(bench.server.leases().any(|lease| (lease.mac, lease.address) == (mac(1), first)));
    assert_eq!(bench.server.leases().count(), 4);
    assert_eq!(bench.ask(&renew(1, first)).unwrap().kind(), MessageType::Ack);
    assert_eq!(bench.boot(200), Some(ip(10)), "a fixed address is not the pool's");
}

#[test]
fn two_leases_never_bear_one_name() {
    let mut bench = Bench::new();
    for (client, name) in [(1, "phone"), (2, "Phone"), (3, "nas"), (4, "genkan")] {
        let offer = bench.ask(&named(discover(client), name)).unwrap();
        bench.ask(&named(select(client, offer.message.yiaddr()), name)).unwrap();
    }
    let names: Vec<_> = bench.server.leases().filter_map(|lease| lease.hostname.clone()).collect();
    assert_eq!(names, ["phone"]);
    let phone = bench.server.leases().find(|lease| lease.hostname.is_some()).unwrap().address;
    bench.ask(&renew(1, phone)).unwrap();
    assert!(bench.server.leases().any(|lease| lease.hostname.is_some()), "a renewal without a name keeps it");
}

/// RFC 2131 HOSTNAMES.
#[test]
fn rfc2131_odhcpd_cve_2026_62948_a_hostile_name_leaves_no_trace() {
    let mut bench = Bench::new();
    for name in ["a\nb", "<b>x</b>", "\u{1b}[2J", "x;reboot", "\u{202e}evil"] {
        let codes = [OptionCode::Hostname];
        let offer = bench.ask(&wants(named(discover(1), name), &codes)).unwrap();
        let ack = bench.ask(&wants(named(select(1, offer.message.yiaddr()), name), &codes)).unwrap();
        assert_eq!(ack.option(OptionCode::Hostname), None);
        assert_eq!(bench.server.leases().next().unwrap().hostname, None);
        for event in bench.events() {
            let sentence = event.to_string();
            assert!(sentence.bytes().all(|c| c.is_ascii_graphic() || c == b' ') && !sentence.contains('<'));
        }
    }
}

#[test]
fn rfc2131_4_2_clients_are_told_apart_by_their_identifier() {
    let mut bench = Bench::new();
    let with_id = |mut message: Message, id: &[u8]| {
        message.opts_mut().insert(DhcpOption::ClientIdentifier(id.to_vec()));
        message
    };
    let offer = bench.ask(&with_id(discover(1), &[0, 1])).unwrap();
    assert_eq!(
        offer.option(OptionCode::ClientIdentifier),
        Some(&DhcpOption::ClientIdentifier(vec![0, 1])),
        "RFC 6842"
    );
    let first = offer.message.yiaddr();
    bench.ask(&with_id(select(1, first), &[0, 1])).unwrap();
    assert_ne!(bench.ask(&with_id(discover(1), &[0, 2])).unwrap().message.yiaddr(), first);
    assert_eq!(
        bench.ask(&with_id(discover(9), &[0, 1])).unwrap().message.yiaddr(),
        first,
        "a new card, the same host"
    );
    // A boot loader gives no identifier; the system that it starts does.
    let loader = bench.boot(3).unwrap();
    assert_eq!(bench.ask(&with_id(discover(3), &[0, 3])).unwrap().message.yiaddr(), loader);
}

#[test]
fn rfc3046_2_2_relay_agent_information_comes_back_unread_and_last() {
    let mut bench = Bench::new();
    let mut raw = discover(1).to_vec().unwrap();
    assert_eq!(raw.pop(), Some(option::END));
    raw.extend([82, 4, 1, 2, 0xab, 0xcd, option::END]);
    bench.put(&frame_of(&mac(1).0, &raw)).unwrap();
    let mut frame = Frame::with_capacity(2048);
    assert!(bench.server.poll_transmit(&mut frame));
    let found = frame.bytes().windows(7).position(|part| part == [82, 4, 1, 2, 0xab, 0xcd, option::END]);
    assert!(found.is_some());
    let mut relayed = discover(1);
    relayed.set_giaddr(ip(5));
    assert_eq!(bench.put(&self::frame(&relayed)), Err(DropReason::DhcpMalformed), "a relay is refused");
}

#[test]
fn rfc2131_4_1_overloaded_fields_and_split_options_are_read() {
    let mut raw = discover(1).to_vec().unwrap();
    assert_eq!(raw.pop(), Some(option::END));
    raw.extend([option::OVERLOAD, 1, 3, option::END]);
    // RFC 3396: the options field, then file, then sname.
    raw[108..108 + 6].copy_from_slice(&[option::HOST_NAME, 3, b'a', b'b', b'c', option::END]);
    raw[44..44 + 6].copy_from_slice(&[option::HOST_NAME, 3, b'd', b'e', b'f', option::END]);
    let request = Request::parse(&frame_of(&mac(1).0, &raw)).unwrap();
    assert_eq!(request.hostname.as_deref(), Some(&b"abcdef"[..]));
}

#[test]
fn a_client_fqdn_names_the_client_too() {
    for value in
        [&[0b100, 0, 0, 3, b'p', b'c', b'1', 4, b'h', b'o', b'm', b'e', 0][..], &[0, 0, 0, b'p', b'c', b'1']]
    {
        let mut raw = discover(1).to_vec().unwrap();
        raw.pop();
        raw.extend([option::CLIENT_FQDN, value.len() as u8]);
        raw.extend(value);
        raw.push(option::END);
        let request = Request::parse(&frame_of(&mac(1).0, &raw)).unwrap();
        assert_eq!(name::sanitise(&request.hostname.unwrap()).as_deref(), Some("pc1"));
    }
}

#[test]
fn a_lease_can_be_shorter_on_request_but_not_longer() {
    let mut bench = Bench::new();
    for (wish, granted) in [(600, 600), (1, 120), (u32::MAX, HOUR)] {
        let mut message = discover(1);
        message.opts_mut().insert(DhcpOption::AddressLeaseTime(wish));
        let offer = bench.ask(&message).unwrap();
        assert_eq!(offer.option(OptionCode::AddressLeaseTime), Some(&DhcpOption::AddressLeaseTime(granted)));
    }
}

#[test]
fn rfc2131_leases_survive_a_restart_when_the_configuration_still_allows_them() {
    let mut before = Bench::new();
    before.boot(200);
    let address = before.boot(1).unwrap();
    let mut leases: Vec<Lease> = before.server.leases().cloned().collect();
    let lease = |address, mac, expires| Lease {
        mac,
        client_id: None,
        address,
        hostname: Some("a\nb".into()),
        expires,
    };
    leases.push(lease(ip(10), mac(3), Instant::from_secs(9999)));
    leases.push(lease(ip(99), mac(4), Instant::from_secs(9999)));
    leases.push(lease(Ipv4Addr::new(8, 8, 8, 8), mac(5), Instant::from_secs(9999)));
    leases.push(lease(if address == ip(103) { ip(102) } else { ip(103) }, mac(6), Instant::from_secs(999)));
    leases.push(lease(if address == ip(100) { ip(101) } else { ip(100) }, mac(7), Instant::from_secs(9999)));
    let mut after = Bench::new();
    after.server.restore(&mut Cx { now: after.now, rng: &mut after.rng }, leases);
    let macs: Vec<Mac> = after.server.leases().map(|lease| lease.mac).collect();
    assert_eq!(macs.len(), 3);
    assert!([mac(1), mac(200), mac(7)].iter().all(|mac| macs.contains(mac)));
    assert!(after.server.leases().all(|lease| lease.hostname.as_deref().is_none_or(|name| name == "nas")));
    assert_eq!(after.boot(1), Some(address));
}

/// RFC 2132 §8.3: in their order, and to whom it matters.
#[test]
fn rfc2132_8_3_who_asks_is_told_who_tells_the_time() {
    let mut lan = lan();
    let servers = vec![ip(2), Ipv4Addr::new(192, 0, 2, 123)];
    lan.dhcp.as_mut().unwrap().ntp = servers.clone();
    let mut bench = Bench::with(lan, 1500);
    let offer = bench.ask(&wants(discover(1), &[OptionCode::NtpServers])).unwrap();
    assert_eq!(offer.option(OptionCode::NtpServers), Some(&DhcpOption::NtpServers(servers)));
    let offer = bench.ask(&wants(discover(1), &[OptionCode::Router])).unwrap();
    assert_eq!(offer.option(OptionCode::NtpServers), None);
}

/// A lease may have run out by the clock alone, which was set: its address is given to nobody else while there is another.
#[test]
fn an_address_whose_lease_ran_out_between_two_runs_is_kept_for_its_holder() {
    let mut before = Bench::new();
    let address = before.boot(1).unwrap();
    let mut leases: Vec<Lease> = before.server.leases().cloned().collect();
    leases[0].expires = Instant::ZERO;
    let mut after = Bench::new();
    after.server.restore(&mut Cx { now: after.now, rng: &mut after.rng }, leases);
    assert_eq!(after.server.leases().count(), 0);
    let others: Vec<Ipv4Addr> = (2..5).map(|client| after.boot(client).unwrap()).collect();
    assert!(!others.contains(&address), "{others:?}");
    assert_eq!(after.boot(1), Some(address));
    // But nobody goes without because of it.
    let mut after = Bench::new();
    let old = Lease { mac: mac(1), client_id: None, address, hostname: None, expires: Instant::ZERO };
    after.server.restore(&mut Cx { now: after.now, rng: &mut after.rng }, vec![old]);
    assert!((2..6).all(|client| after.boot(client).is_some()));
}

#[test]
fn a_reply_never_outgrows_what_the_client_takes() {
    let mut lan = lan();
    lan.domain = "d".repeat(253);
    let mut bench = Bench::with(lan, 1400);
    for id in 2..=255usize {
        let codes: Vec<OptionCode> = (1..=254u8).map(OptionCode::from).collect();
        let mut raw = wants(named(discover(1), &"n".repeat(63)), &codes).to_vec().unwrap();
        raw.pop();
        raw.extend([option::CLIENT_IDENTIFIER, id as u8]);
        raw.extend(vec![7; id]);
        raw.extend([option::RELAY_AGENT_INFORMATION, id as u8]);
        raw.extend(vec![9; id]);
        raw.push(option::END);
        bench.put(&frame_of(&mac(1).0, &raw)).unwrap();
        let mut frame = Frame::with_capacity(2048);
        if bench.server.poll_transmit(&mut frame) {
            assert!(frame.len() <= 14 + 576, "{} octets", frame.len());
            read(frame.bytes());
        }
    }
}

#[test]
fn a_reply_that_does_not_fit_leaves_no_half_of_itself() {
    let mut bench = Bench::new();
    for room in [0, 100, 341] {
        bench.put(&frame(&discover(1))).unwrap();
        let mut small = Frame::with_capacity(crate::frame::HEADROOM + room);
        assert!(!bench.server.poll_transmit(&mut small));
        assert!(small.is_empty());
    }
}

#[test]
fn every_truncation_and_bit_flip_is_survived() {
    let mut message = named(wants(select(1, ip(100)), &[OptionCode::Router, OptionCode::Hostname]), "host");
    message.opts_mut().insert(DhcpOption::ClientIdentifier(vec![1, 2, 3, 4]));
    let whole = frame(&message);
    let mut bench = Bench::new();
    for len in 0..whole.len() {
        assert!(bench.put(&whole[..len]).is_err(), "cut to {len}");
    }
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let _ = bench.put(&flipped);
        let mut frame = Frame::with_capacity(2048);
        while bench.server.poll_transmit(&mut frame) {
            frame.reset();
        }
        while bench.server.poll_event().is_some() {}
    }
    // Options cut at every length, inside a datagram that is whole.
    let payload = message.to_vec().unwrap();
    for len in 240..payload.len() {
        let _ = bench.put(&frame_of(&mac(1).0, &payload[..len]));
        bench.server.poll_transmit(&mut Frame::with_capacity(2048));
    }
}
