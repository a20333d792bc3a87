//! The cable that joins them, and what it does to frames.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use crate::frame::Frame;
use crate::id::{Ipv4Cidr, Mac, PortId, SubscriberId};
use crate::machine::Cx;
use crate::pppoe::client::{Client, Input, Ipv6};
use crate::pppoe::concentrator::{self, Concentrator};
use crate::pppoe::event::Event;
use crate::pppoe::{DiscoveryFrame, LeftSession, Remembered, subscriber};
use crate::rng::{Rng, SeededRng};
use crate::secret::Secret;
use crate::settings::{self, Authentication, Echo, Families, Port, PppoeClient, User};
use crate::time::{Duration, Instant, earliest};
use crate::wire::ethernet::{Header, ethertype};
use crate::wire::pppoe::{Code, Discovery, DiscoveryWriter, SessionPacket, tag};

pub const CLIENT: Mac = Mac([2, 0, 0, 0, 0, 1]);
pub const AC: Mac = Mac([2, 0, 0, 0, 1, 0]);
pub const AC2: Mac = Mac([2, 0, 0, 0, 1, 1]);

pub fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub fn port(mac: Mac) -> Port {
    Port { name: "port".into(), mac, mtu: 1500, vlan: None, offload: false }
}

pub fn wan() -> PppoeClient {
    PppoeClient {
        username: "alice".into(),
        password: Secret::new("right"),
        service_name: Vec::new(),
        ac_name: None,
        host_uniq: None,
        authentication: vec![Authentication::ChapMd5, Authentication::MsChapV2, Authentication::Pap],
        mtu: 1492,
        echo: Echo::default(),
    }
}

pub fn ac(name: &str) -> settings::Concentrator {
    let user = |name: &str, password: &str| User {
        name: name.into(),
        password: Secret::new(password),
        ipv4: None,
        prefix: None,
    };
    settings::Concentrator {
        name: name.into(),
        port: PortId(0),
        ac_name: name.into(),
        service_names: vec!["gold".into()],
        address: [100, 64, 0, 1].into(),
        pool: Ipv4Cidr { address: [100, 64, 0, 0].into(), prefix: 16 },
        prefix_pool: None,
        dns: vec![Ipv4Addr::new(9, 9, 9, 9).into(), Ipv4Addr::new(1, 1, 1, 1).into()],
        authentication: vec![Authentication::ChapMd5],
        users: vec![user("alice", "right"), user("bob", "other")],
        mtu: 1500,
        echo: Echo::default(),
        sessions: 100,
        sessions_per_mac: 4,
    }
}

/// What happens to each frame, in thousandths.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    pub loss: u64,
    pub duplicate: u64,
    pub reorder: u64,
}

pub struct ClientNode {
    pub client: Client,
    pub mac: Mac,
    pub events: Vec<(Instant, Event)>,
    /// Frames that it has sent.
    pub sent: Vec<(Instant, Vec<u8>)>,
}

pub struct AcNode {
    pub ac: Concentrator,
    pub mac: Mac,
    pub events: Vec<subscriber::Event>,
    pub sessions: BTreeMap<(Mac, u16), SubscriberId>,
    keys: BTreeMap<SubscriberId, (Mac, u16)>,
    /// Switched off: it hears and says nothing.
    pub dead: bool,
}

/// Everything on the cable.
pub struct World {
    pub now: Instant,
    pub rng: SeededRng,
    pub faults: Faults,
    pub cut: bool,
    /// What clients that are added want.
    pub families: Families,
    /// Longer frames are lost.
    pub longest: usize,
    pub clients: Vec<ClientNode>,
    pub acs: Vec<AcNode>,
    flying: BTreeMap<(Instant, u64), Vec<u8>>,
    sequence: u64,
}

impl World {
    pub fn new(seed: u64) -> Self {
        World {
            now: Instant::from_secs(1000),
            rng: SeededRng::from_u64(seed),
            faults: Faults::default(),
            cut: false,
            families: Families { ipv4: true, ipv6: false },
            longest: usize::MAX,
            clients: Vec::new(),
            acs: Vec::new(),
            flying: BTreeMap::new(),
            sequence: 0,
        }
    }

    /// One client and one concentrator.
    pub fn pair(seed: u64, wan: &PppoeClient, ac: &settings::Concentrator) -> Self {
        let mut world = World::new(seed);
        world.add_client(wan, CLIENT, None);
        world.add_ac(ac, AC);
        world
    }

    pub fn add_client(&mut self, wan: &PppoeClient, mac: Mac, remembered: Option<Remembered>) {
        self.add_client_on(wan, &port(mac), remembered.map(LeftSession::from));
    }

    pub fn add_client_on(&mut self, wan: &PppoeClient, port: &Port, left: Option<LeftSession>) {
        let cx = &mut Cx { now: self.now, rng: &mut self.rng };
        let client = Client::new(cx, wan, self.families, port, left);
        self.clients.push(ClientNode { client, mac: port.mac, events: Vec::new(), sent: Vec::new() });
        self.drain();
    }

    pub fn add_ac(&mut self, settings: &settings::Concentrator, mac: Mac) {
        self.add_ac_on(settings, &port(mac));
    }

    pub fn add_ac_on(&mut self, settings: &settings::Concentrator, port: &Port) {
        let base = SubscriberId(u32::try_from(self.acs.len()).unwrap() * 1_000_000);
        let cx = &mut Cx { now: self.now, rng: &mut self.rng };
        let ac = Concentrator::new(cx, settings, port, base);
        self.acs.push(AcNode {
            ac,
            mac: port.mac,
            events: Vec::new(),
            sessions: BTreeMap::new(),
            keys: BTreeMap::new(),
            dead: false,
        });
    }

    /// A concentrator loses its memory.
    pub fn restart_ac(&mut self, index: usize, settings: &settings::Concentrator) {
        let cx = &mut Cx { now: self.now, rng: &mut self.rng };
        let node = &mut self.acs[index];
        node.ac = Concentrator::new(cx, settings, &port(node.mac), SubscriberId(0));
        node.sessions.clear();
        node.keys.clear();
        node.dead = false;
    }

    pub fn client_input(&mut self, index: usize, input: Input<'_>) {
        let cx = &mut Cx { now: self.now, rng: &mut self.rng };
        let _ = self.clients[index].client.handle(cx, input);
        self.drain();
    }

    /// Puts a frame on the cable, as if somebody had sent it.
    pub fn send(&mut self, frame: Vec<u8>) {
        let happens = |rng: &mut SeededRng, thousandths| rng.below(1000) < thousandths;
        if self.cut || frame.len() > self.longest || happens(&mut self.rng, self.faults.loss) {
            return;
        }
        for _ in 0..if happens(&mut self.rng, self.faults.duplicate) { 2 } else { 1 } {
            let late = if happens(&mut self.rng, self.faults.reorder) { 1 + self.rng.below(20) } else { 0 };
            let at = self.now + Duration::from_millis(1 + late);
            self.sequence += 1;
            self.flying.insert((at, self.sequence), frame.clone());
        }
    }

    /// Lets everything happen until `end`.
    pub fn run_until(&mut self, end: Instant) {
        loop {
            let mut next = self.flying.first_key_value().map(|(&(at, _), _)| at);
            for node in &self.clients {
                next = earliest(next, node.client.poll_timeout());
            }
            for node in self.acs.iter().filter(|node| !node.dead) {
                next = earliest(next, node.ac.poll_timeout());
            }
            let Some(next) = next.filter(|&next| next <= end) else { break };
            self.now = self.now.max(next);
            while let Some(entry) = self.flying.first_entry()
                && entry.key().0 <= self.now
            {
                let frame = entry.remove();
                self.deliver(&frame);
            }
            self.drain();
            let cx = &mut Cx { now: self.now, rng: &mut self.rng };
            for node in &mut self.clients {
                node.client.handle_timeout(cx);
            }
            for node in self.acs.iter_mut().filter(|node| !node.dead) {
                node.ac.handle_timeout(cx);
            }
            self.drain();
        }
        self.now = end;
    }

    pub fn run(&mut self, time: Duration) {
        self.run_until(self.now + time);
    }

    /// Runs until the condition holds, for an hour at most; returns the time it took.
    pub fn run_to(&mut self, done: impl Fn(&World) -> bool) -> Duration {
        let start = self.now;
        while !done(self) {
            assert!(self.now.since(start) < secs(7200), "it never happened");
            self.run(Duration::from_millis(100));
        }
        self.now.since(start)
    }

    pub fn is_up(&self, index: usize) -> bool {
        self.address(index).is_some()
    }

    pub fn address(&self, index: usize) -> Option<core::net::Ipv4Addr> {
        Some(self.clients[index].client.status().session?.ipv4?.address)
    }

    pub fn link_locals(&self, index: usize) -> Option<Ipv6> {
        self.clients[index].client.status().session?.ipv6
    }

    /// The times at which a client has sent discovery packets of this kind.
    pub fn sent(&self, index: usize, code: Code) -> Vec<Instant> {
        let is = |frame: &[u8]| DiscoveryFrame::parse(frame).is_ok_and(|frame| frame.packet.code == code);
        self.clients[index].sent.iter().filter(|(_, frame)| is(frame)).map(|&(at, _)| at).collect()
    }

    /// A discovery packet for the test to send.
    pub fn packet(source: Mac, destination: Mac, code: Code, session: u16, tags: &[(u16, &[u8])]) -> Vec<u8> {
        let mut frame = Frame::with_capacity(2048);
        let mut writer = DiscoveryWriter::begin(&mut frame, source, destination, code, session);
        for &(kind, value) in tags {
            writer = writer.tag(kind, value);
        }
        assert!(writer.finish());
        frame.bytes().to_vec()
    }

    fn deliver(&mut self, frame: &[u8]) {
        let (header, payload) = Header::parse(frame).unwrap();
        let cx = &mut Cx { now: self.now, rng: &mut self.rng };
        let is_for =
            |mac| header.source != mac && (header.destination == mac || header.destination.is_group());
        if header.ethertype == ethertype::PPPOE_DISCOVERY {
            let Ok(frame) = DiscoveryFrame::parse(frame) else { return };
            for node in self.clients.iter_mut().filter(|node| is_for(node.mac)) {
                if node.client.handle(cx, Input::Discovery(&frame)).is_ok() {
                    break;
                }
            }
            for node in self.acs.iter_mut().filter(|node| is_for(node.mac) && !node.dead) {
                let _ = node.ac.handle(cx, concentrator::Input::Discovery(&frame));
            }
            return;
        }
        let packet = SessionPacket::parse(payload).unwrap();
        let key = Remembered { peer: header.source, session: packet.session };
        for node in self.clients.iter_mut().filter(|node| is_for(node.mac)) {
            if node.client.remembered() == Some(key) {
                let _ = node.client.handle(cx, Input::Ppp(packet.packet));
            }
        }
        for node in self.acs.iter_mut().filter(|node| is_for(node.mac) && !node.dead) {
            let input = match node.sessions.get(&(key.peer, key.session)) {
                Some(&subscriber) => concentrator::Input::Ppp { subscriber, packet: packet.packet },
                None => concentrator::Input::Stray(key),
            };
            let _ = node.ac.handle(cx, input);
        }
    }

    /// Takes out everything that the machines have to say.
    pub fn drain(&mut self) {
        let (mut out, mut frame) = (Vec::new(), Frame::with_capacity(2048));
        for node in &mut self.clients {
            while let Some(event) = node.client.poll_event() {
                node.events.push((self.now, event));
            }
            while node.client.poll_transmit(&mut frame) {
                node.sent.push((self.now, frame.bytes().to_vec()));
                out.push(frame.bytes().to_vec());
                frame.reset();
            }
        }
        for node in &mut self.acs {
            while let Some(event) = node.ac.poll_event() {
                match &event {
                    subscriber::Event::SessionOpened { subscriber, peer, session } => {
                        assert!(node.sessions.insert((*peer, *session), *subscriber).is_none());
                        node.keys.insert(*subscriber, (*peer, *session));
                    }
                    subscriber::Event::Closed { subscriber, .. } => {
                        node.sessions.remove(&node.keys.remove(subscriber).unwrap());
                    }
                    _ => {}
                }
                node.events.push(event);
            }
            while node.ac.poll_transmit(&mut frame) {
                if !node.dead {
                    out.push(frame.bytes().to_vec());
                }
                frame.reset();
            }
        }
        for frame in out {
            self.send(frame);
        }
    }
}

/// The Host-Uniq of the last discovery packet that a client has sent.
pub fn host_uniq(world: &World, index: usize) -> Vec<u8> {
    let packets = world.clients[index].sent.iter().rev();
    packets
        .filter_map(|(_, frame)| Discovery::parse(&frame[14..])?.find(tag::HOST_UNIQ).map(<[u8]>::to_vec))
        .next()
        .unwrap()
}
