//! A life of a PPPoE client and a concentrator on a line that loses, repeats, damages and invents frames. Both write whole
//! frames in their own name within the MTU, nobody without the password gets an address, no address is given twice, and
//! every session that was opened is closed once.
#![no_main]

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::{Ipv4Addr, Ipv6Addr};

use genkan_fuzz::{Script, Step, World, damage};
use genkan_netstack::frame::Frame;
use genkan_netstack::id::{Ipv4Cidr, Ipv6Cidr, Mac, PortId, SubscriberId};
use genkan_netstack::pppoe::{
    self, Client, Concentrator, DiscoveryFrame, Remembered, client, concentrator, subscriber,
};
use genkan_netstack::secret::Secret;
use genkan_netstack::settings::{self, Authentication, Echo};
use genkan_netstack::wire::ethernet::{Header, ethertype};
use genkan_netstack::wire::pppoe::{Code, SessionPacket};
use libfuzzer_sys::fuzz_target;

const CLIENT: Mac = Mac([2, 0, 0, 0, 0, 1]);
const SERVER: Mac = Mac([2, 0, 0, 0, 0, 2]);
const PASSWORD: &[u8] = b"\xf3correct horse battery\x9e";
const POOL: Ipv4Cidr = Ipv4Cidr { address: Ipv4Addr::new(100, 64, 0, 0), prefix: 29 };
const PREFIXES: settings::PrefixPool = settings::PrefixPool {
    prefix: Ipv6Cidr { address: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), prefix: 48 },
    delegate: 56,
};
const SESSIONS: u32 = 4;
const METHODS: [Authentication; 3] = [Authentication::MsChapV2, Authentication::ChapMd5, Authentication::Pap];

struct Dialler {
    machine: Client,
    sent: VecDeque<Vec<u8>>,
    session: Option<Remembered>,
    ipv4: bool,
    ipv6: bool,
}

struct Access {
    machine: Concentrator,
    sent: VecDeque<Vec<u8>>,
    sessions: HashMap<Remembered, SubscriberId>,
    online: BTreeMap<SubscriberId, Ipv4Addr>,
    online6: BTreeSet<SubscriberId>,
}

/// Keeps a frame, once it was looked at.
fn keep(sent: &mut VecDeque<Vec<u8>>, frame: &mut Frame, own: Mac, mtu: usize) {
    let (header, payload) = Header::parse(frame.bytes()).expect("a whole frame");
    assert_eq!(header.source, own, "in our own name");
    assert!(payload.len() <= mtu, "a frame of {} octets", payload.len());
    if header.ethertype == ethertype::PPPOE_DISCOVERY {
        let discovery = DiscoveryFrame::parse(frame.bytes()).expect("what we write can be read");
        let broadcast = header.destination == Mac::BROADCAST;
        assert!(header.destination.is_station() != broadcast);
        assert!(!broadcast || discovery.packet.code == Code::Padi, "only a PADI is for all");
    } else {
        assert_eq!(header.ethertype, ethertype::PPPOE_SESSION);
        let packet = SessionPacket::parse(payload).expect("what we write can be read");
        assert!(packet.session != 0 && header.destination.is_station());
    }
    if sent.len() < 64 {
        sent.push_back(frame.bytes().to_vec());
    }
    frame.reset();
}

impl Dialler {
    fn hear(&mut self, world: &mut World, frame: &[u8]) {
        let Some((header, payload)) = Header::parse(frame) else { return };
        if let Ok(discovery) = DiscoveryFrame::parse(frame) {
            let _ = self.machine.handle(&mut world.cx(), client::Input::Discovery(&discovery));
        } else if let Some(packet) = SessionPacket::parse(payload)
            && header.ethertype == ethertype::PPPOE_SESSION
            && header.destination == CLIENT
            && self.session == Some(Remembered { peer: header.source, session: packet.session })
        {
            let _ = self.machine.handle(&mut world.cx(), client::Input::Ppp(packet.packet));
        }
    }

    fn drain(&mut self, mtu: usize) {
        while let Some(event) = self.machine.poll_event() {
            let text = event.to_string();
            assert!(!text.chars().any(char::is_control), "{text:?} is no plain sentence");
            match event {
                pppoe::Event::SessionOpened { session, .. } => {
                    assert_eq!(self.session.replace(session), None, "one session at a time");
                }
                pppoe::Event::SessionClosed(session) => {
                    assert_eq!(self.session.take(), Some(session));
                    assert!(!self.ipv4 && !self.ipv6, "they are reported down before the session is");
                }
                pppoe::Event::Ipv4Up { mtu: told, .. } => {
                    assert!(self.session.is_some() && !self.ipv4);
                    assert!((128..=1500).contains(&told));
                    self.ipv4 = true;
                }
                pppoe::Event::Ipv4Down(_) => self.ipv4 = false,
                pppoe::Event::Ipv6Up { address, peer, mtu: told, .. } => {
                    assert!(self.session.is_some() && !self.ipv6);
                    assert!((1280..=1500).contains(&told));
                    assert!(address != peer && address.is_unicast_link_local());
                    assert!(peer.is_unicast_link_local());
                    self.ipv6 = true;
                }
                pppoe::Event::Ipv6Down(_) => self.ipv6 = false,
                _ => {}
            }
        }
        assert_eq!(self.machine.remembered(), self.session);
        let status = self.machine.status();
        assert_eq!(status.session.map(|session| session.session), self.session);
        let mut frame = Frame::with_capacity(2048);
        while self.machine.poll_transmit(&mut frame) {
            keep(&mut self.sent, &mut frame, CLIENT, mtu);
        }
    }
}

impl Access {
    fn hear(&mut self, world: &mut World, frame: &[u8]) {
        let Some((header, payload)) = Header::parse(frame) else { return };
        let cx = &mut world.cx();
        if let Ok(discovery) = DiscoveryFrame::parse(frame) {
            let _ = self.machine.handle(cx, concentrator::Input::Discovery(&discovery));
        } else if let Some(packet) = SessionPacket::parse(payload)
            && header.ethertype == ethertype::PPPOE_SESSION
            && header.destination == SERVER
            && header.source.is_station()
        {
            let key = Remembered { peer: header.source, session: packet.session };
            let input = match self.sessions.get(&key) {
                Some(&subscriber) => concentrator::Input::Ppp { subscriber, packet: packet.packet },
                None => concentrator::Input::Stray(key),
            };
            let _ = self.machine.handle(cx, input);
        }
    }

    fn drain(&mut self, mtu: usize, knows: bool) {
        while let Some(event) = self.machine.poll_event() {
            let text = event.to_string();
            assert!(!text.chars().any(char::is_control), "{text:?} is no plain sentence");
            match event {
                subscriber::Event::SessionOpened { subscriber, peer, session } => {
                    assert!(!self.sessions.values().any(|&other| other == subscriber));
                    assert_eq!(self.sessions.insert(Remembered { peer, session }, subscriber), None);
                }
                subscriber::Event::Closed { subscriber, .. } => {
                    let before = self.sessions.len();
                    self.sessions.retain(|_, other| *other != subscriber);
                    assert_eq!(self.sessions.len() + 1, before, "a session is closed once");
                    assert!(
                        !self.online.contains_key(&subscriber) && !self.online6.contains(&subscriber),
                        "they are reported down before the session is"
                    );
                }
                subscriber::Event::Ipv4Up { subscriber, address, .. } => {
                    assert!(knows, "let in without the password");
                    assert!(POOL.contains(address) && address != Ipv4Addr::new(100, 64, 0, 1));
                    self.online.insert(subscriber, address);
                    let addresses: BTreeSet<_> = self.online.values().collect();
                    assert_eq!(addresses.len(), self.online.len(), "an address is given once");
                }
                subscriber::Event::Ipv4Down { subscriber } => drop(self.online.remove(&subscriber)),
                subscriber::Event::Ipv6Up { subscriber, local, peer, mtu: told, .. } => {
                    assert!(knows, "let in without the password");
                    assert!(local != peer && (1280..=1500).contains(&told));
                    self.online6.insert(subscriber);
                }
                subscriber::Event::Ipv6Down { subscriber } => {
                    assert!(self.online6.remove(&subscriber), "down without having been up");
                }
                subscriber::Event::AuthFailed { .. } | subscriber::Event::Refused { .. } => {}
            }
        }
        assert_eq!(self.machine.sessions().count(), self.sessions.len());
        assert!(self.sessions.len() <= SESSIONS as usize);
        let mut frame = Frame::with_capacity(2048);
        while self.machine.poll_transmit(&mut frame) {
            keep(&mut self.sent, &mut frame, SERVER, mtu);
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&[how, order], script)) = data.split_first_chunk() else { return };
    let knows = how & 1 == 0;
    let mtu = if how & 2 == 0 { 1500 } else { 1508 };
    let port = |mac| settings::Port { name: "port".into(), mac, mtu, vlan: None, offload: false };
    let mut methods = METHODS.to_vec();
    methods.rotate_left(usize::from(order) % 3);
    let echo = Echo { failures: 2, ..Echo::default() };
    let wan = settings::Wan {
        name: "isp".into(),
        port: PortId(0),
        uplink: settings::Uplink::Pppoe(settings::PppoeClient {
            username: "alice".into(),
            password: Secret::new(if knows { PASSWORD } else { b"wrong" }),
            service_name: if how & 4 == 0 { vec![] } else { b"gold".to_vec() },
            ac_name: (how & 8 != 0).then(|| b"bras1".to_vec()),
            host_uniq: (how & 16 != 0).then(|| b"\0uniq".to_vec()),
            authentication: METHODS.to_vec(),
            mtu: if how & 32 == 0 { 1492 } else { 1500 },
            echo,
        }),
        ipv4: order & 0x10 == 0,
        ipv6: (order & 0x20 == 0).then_some(settings::WanIpv6 { prefix: None }),
    };
    let bras = settings::Concentrator {
        name: "bras".into(),
        port: PortId(0),
        ac_name: "bras1".into(),
        service_names: vec!["gold".into()],
        address: Ipv4Addr::new(100, 64, 0, 1),
        pool: POOL,
        prefix_pool: (order & 0x40 == 0).then_some(PREFIXES),
        dns: vec![Ipv4Addr::new(192, 0, 2, 53).into()],
        authentication: methods,
        users: vec![settings::User {
            name: "alice".into(),
            password: Secret::new(PASSWORD),
            ipv4: (order & 0x80 != 0).then_some(Ipv4Addr::new(100, 64, 0, 5)),
            prefix: None,
        }],
        mtu: if how & 64 == 0 { 1492 } else { 1500 },
        echo,
        sessions: SESSIONS,
        sessions_per_mac: 2,
    };
    let settings::Uplink::Pppoe(pppoe) = &wan.uplink else { unreachable!("it is one") };
    let mut world = World::default();
    let remembered = (how & 128 != 0).then_some(Remembered { peer: SERVER, session: 7 }.into());
    let machine = Client::new(&mut world.cx(), pppoe, wan.families(), &port(CLIENT), remembered);
    let mut dialler = Dialler { machine, sent: VecDeque::new(), session: None, ipv4: false, ipv6: false };
    let machine = Concentrator::new(&mut world.cx(), &bras, &port(SERVER), SubscriberId(100));
    let mut access = Access {
        machine,
        sent: VecDeque::new(),
        sessions: HashMap::new(),
        online: BTreeMap::new(),
        online6: BTreeSet::new(),
    };
    let mtu = usize::from(mtu);
    for Step { operation, data } in Script(script) {
        let from_client = operation & 0x80 == 0;
        let sent = if from_client { &mut dialler.sent } else { &mut access.sent };
        let mut arriving = Vec::new();
        match operation & 0x0f {
            // The next frame arrives, maybe damaged; or twice; or never; or both ways until nobody has more to say.
            0 | 1 => {
                if let Some(mut frame) = sent.pop_front() {
                    damage(&mut frame, data);
                    arriving.push(frame);
                }
            }
            2 => arriving.extend(sent.front().cloned()),
            3 => drop(sent.pop_front()),
            4 => sent.rotate_left(1.min(sent.len())),
            5 | 6 => {
                for _ in 0..16 {
                    let mut quiet = true;
                    while let Some(frame) = dialler.sent.pop_front() {
                        access.hear(&mut world, &frame);
                        quiet = false;
                    }
                    access.drain(mtu, knows);
                    while let Some(frame) = access.sent.pop_front() {
                        dialler.hear(&mut world, &frame);
                        quiet = false;
                    }
                    dialler.drain(mtu);
                    if quiet {
                        break;
                    }
                }
            }
            // Somebody else speaks; or says something about what was said, or in the name of it.
            7 => arriving.push(data.to_vec()),
            8 => {
                let heard = if from_client { access.sent.front() } else { dialler.sent.front() };
                if let Some(mut frame) = heard.cloned() {
                    if let Some((addresses, _)) = frame.split_first_chunk_mut::<12>() {
                        addresses.rotate_left(6);
                    }
                    damage(&mut frame, data);
                    arriving.push(frame);
                }
            }
            9 => arriving.extend(sent.front().map(|frame| [&frame[..22.min(frame.len())], data].concat())),
            10..=12 => {
                let next =
                    if from_client { dialler.machine.poll_timeout() } else { access.machine.poll_timeout() };
                world.pass(data, next);
                // What is due may make something else due.
                for _ in 0..4 {
                    dialler.machine.handle_timeout(&mut world.cx());
                    access.machine.handle_timeout(&mut world.cx());
                    dialler.drain(mtu);
                    access.drain(mtu, knows);
                }
                for next in [dialler.machine.poll_timeout(), access.machine.poll_timeout()] {
                    assert!(
                        next.is_none_or(|at| at > world.now),
                        "what is due is done: {next:?} at {}",
                        world.now
                    );
                }
            }
            13 => {
                let now = world.now;
                let _ = dialler.machine.handle(&mut world.cx(), client::Input::TrafficSeen(now));
                if let Some(&subscriber) = access.sessions.values().next() {
                    let input = concentrator::Input::TrafficSeen { subscriber, at: now };
                    let _ = access.machine.handle(&mut world.cx(), input);
                }
            }
            14 if data == b"end" => {
                let _ = access.machine.handle(&mut world.cx(), concentrator::Input::Shutdown);
            }
            _ => {}
        }
        for frame in arriving {
            if from_client { access.hear(&mut world, &frame) } else { dialler.hear(&mut world, &frame) }
        }
        dialler.drain(mtu);
        access.drain(mtu, knows);
    }
    let _ = dialler.machine.handle(&mut world.cx(), client::Input::Shutdown);
    dialler.drain(mtu);
    assert_eq!(
        (dialler.session, dialler.machine.poll_timeout()),
        (None, None),
        "shut down, and nothing more"
    );
    let _ = access.machine.handle(&mut world.cx(), concentrator::Input::Shutdown);
    access.drain(mtu, knows);
    assert!(access.sessions.is_empty() && access.online.is_empty());
    assert!(access.online6.is_empty(), "every session is closed");
});
