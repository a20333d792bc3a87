//! What the tests play with: ends (a Negotiator and a Tunnel, joined as Control and the Forwarder join them) and the wire
//! between them, which may lose, repeat and delay.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::super::negotiator::{Destination, Event, Input};
use super::super::{Kind, Negotiator, PresharedKey, PrivateKey, PublicKey, Seal, Tunnel};
use crate::frame::Frame;
use crate::id::{IpCidr, Ipv4Cidr};
use crate::ledger::DropReason;
use crate::machine::Cx;
use crate::rng::{Rng, SeededRng};
use crate::settings::VpnPeer;
use crate::table::Seed;
use crate::time::{Duration, Instant, earliest};

/// MTU of the tunnels.
pub const MTU: usize = 1420;
/// The wall clock when the tests begin.
pub const UNIX: Duration = Duration::from_secs(1_800_000_000);

/// The private key of end `n`.
pub fn private_key(n: u8) -> PrivateKey {
    PrivateKey::new([n + 1; 32])
}

/// The address of end `n` on the wire.
pub fn address(n: u8) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::new(192, 0, 2, n).into(), 51820)
}

/// The address of end `n` in the tunnel.
pub fn inside(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, n)
}

/// End `n` as a peer, with its address in the tunnel.
pub fn peer(n: u8) -> VpnPeer {
    VpnPeer {
        name: format!("peer{n}"),
        public_key: private_key(n).public(),
        preshared_key: None,
        endpoint: None,
        allowed_ips: vec![IpCidr::V4(Ipv4Cidr { address: inside(n), prefix: 32 })],
        keepalive: None,
    }
}

pub fn with_preshared(peer: VpnPeer, key: [u8; 32]) -> VpnPeer {
    VpnPeer { preshared_key: Some(PresharedKey::new(key)), ..peer }
}

pub fn with_keepalive(peer: VpnPeer, secs: u64) -> VpnPeer {
    VpnPeer { keepalive: Some(Duration::from_secs(secs)), ..peer }
}

/// An IPv4 packet whose payload is a number, with some octets behind it.
pub fn packet(source: Ipv4Addr, destination: Ipv4Addr, number: u64, more: usize) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend((28 + more as u16).to_be_bytes());
    packet.extend([0, 0, 0, 0, 64, 253, 0, 0]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend(number.to_be_bytes());
    packet.resize(28 + more, 0xaa);
    packet
}

/// The number in a packet.
pub fn number(packet: &[u8]) -> u64 {
    u64::from_be_bytes(*packet[20..].first_chunk().unwrap())
}

/// One interface of a router.
pub struct End {
    pub address: SocketAddr,
    pub inside: Ipv4Addr,
    pub negotiator: Negotiator,
    pub tunnel: Tunnel,
    pub rng: SeededRng,
    /// Packets that came, with their time and peer.
    pub got: Vec<(Instant, u16, Vec<u8>)>,
    pub dropped: Vec<DropReason>,
    /// Facts other than keys, in words, and how often there were keys.
    pub said: Vec<alloc::string::String>,
    pub keys: usize,
    /// Packets that were refused since the peer did not answer, or for want of room.
    pub refused: Vec<Vec<u8>>,
}

impl End {
    /// End `n`, which knows where all its peers are.
    pub fn new(now: Instant, n: u8, peers: &[(u8, VpnPeer)]) -> Self {
        End::with_key(now, n, &private_key(n), peers)
    }

    pub fn with_key(now: Instant, n: u8, key: &PrivateKey, peers: &[(u8, VpnPeer)]) -> Self {
        let mut rng = SeededRng::from_u64(u64::from(n) << 32 | now.as_secs());
        let settings: Vec<VpnPeer> = peers.iter().map(|(_, peer)| peer.clone()).collect();
        let mut negotiator = Negotiator::new(&mut Cx { now, rng: &mut rng }, key, &settings);
        negotiator.set_clock(now, UNIX + now.since(Instant::ZERO));
        let mut tunnel = Tunnel::new(&settings, Seed::draw(&mut rng));
        for (index, (n, _)) in peers.iter().enumerate() {
            tunnel.set_endpoint(index as u16, address(*n));
        }
        End {
            address: address(n),
            inside: inside(n),
            negotiator,
            tunnel,
            rng,
            got: vec![],
            dropped: vec![],
            said: vec![],
            keys: 0,
            refused: vec![],
        }
    }

    /// Something came off the wire.
    pub fn receive(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) -> Result<(), DropReason> {
        let outcome = if Kind::of(datagram) == Ok(Kind::Data) {
            let mut frame = Frame::from_bytes(datagram);
            self.tunnel.open(now, from, &mut frame).map(|opened| {
                if !opened.keepalive {
                    self.got.push((now, opened.peer, frame.bytes().to_vec()));
                }
            })
        } else {
            let cx = &mut Cx { now, rng: &mut self.rng };
            self.negotiator.handle(cx, Input::Message { from, datagram })
        };
        self.dropped.extend(outcome.err());
        outcome
    }

    /// A packet wants to go through the tunnel. Returns the message, when there are keys.
    pub fn send(&mut self, now: Instant, packet: &[u8]) -> Option<(SocketAddr, Vec<u8>)> {
        let destination = Ipv4Addr::from(*packet[16..].first_chunk::<4>().unwrap());
        let peer = self.tunnel.peer_of(IpAddr::V4(destination)).expect("a peer for every destination");
        self.send_to(now, peer, Frame::from_bytes(packet))
    }

    pub fn send_to(&mut self, now: Instant, peer: u16, mut frame: Frame) -> Option<(SocketAddr, Vec<u8>)> {
        match self.tunnel.seal(now, peer, &mut frame, MTU) {
            Seal::Ready => Some((self.tunnel.endpoint(peer)?, frame.bytes().to_vec())),
            Seal::NoKeys => {
                self.refused.extend(self.tunnel.hold(peer, frame).map(|frame| frame.bytes().to_vec()));
                None
            }
            Seal::Failed(reason) => panic!("{reason:?}"),
        }
    }

    /// Does what is due and returns what goes on the wire.
    pub fn turn(&mut self, now: Instant) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut out = vec![];
        self.tunnel.handle_timeout(now);
        self.negotiator.handle_timeout(&mut Cx { now, rng: &mut self.rng });
        self.take_events(now);
        while let Some(peer) = self.tunnel.poll_wanted() {
            let cx = &mut Cx { now, rng: &mut self.rng };
            self.negotiator.handle(cx, Input::Wanted { peer }).unwrap();
        }
        self.take_events(now);
        let mut frame = Frame::with_capacity(2048);
        while let Some(destination) = self.negotiator.poll_transmit(&mut frame) {
            let to = match destination {
                Destination::Peer(peer) => self.tunnel.endpoint(peer),
                Destination::Address(address) => Some(address),
            };
            out.extend(to.map(|to| (to, frame.bytes().to_vec())));
            frame.reset();
        }
        while let Some((peer, frame)) = self.tunnel.poll_ready() {
            out.extend(self.send_to(now, peer, frame));
        }
        while let Some(peer) = self.tunnel.poll_transmit(&mut frame) {
            out.push((self.tunnel.endpoint(peer).unwrap(), frame.bytes().to_vec()));
            frame.reset();
        }
        out
    }

    fn take_events(&mut self, now: Instant) {
        while let Some(event) = self.negotiator.poll_event() {
            let text = event.to_string();
            match event {
                Event::Keys { peer, keypair, from } => {
                    self.keys += 1;
                    self.tunnel.install(now, peer, keypair, Some(from));
                }
                Event::Retrying { .. } => self.said.push(text),
                Event::GaveUp { peer, .. } => {
                    self.said.push(text);
                    self.refused.extend(self.tunnel.give_up(peer).map(|frame| frame.bytes().to_vec()));
                }
            }
        }
    }

    pub fn deadline(&self) -> Option<Instant> {
        earliest(self.tunnel.poll_timeout(), self.negotiator.poll_timeout())
    }

    /// The numbers of the packets that came.
    pub fn numbers(&self) -> Vec<u64> {
        self.got.iter().map(|(_, _, packet)| number(packet)).collect()
    }
}

/// What was put on the wire: when, from where, to where, what.
pub type Heard = (Instant, SocketAddr, SocketAddr, Vec<u8>);

/// Ends on a wire.
pub struct World {
    pub now: Instant,
    pub ends: Vec<End>,
    pub latency: Duration,
    /// Most that is added to the latency of a datagram.
    pub jitter: Duration,
    /// Chances in a hundred.
    pub loss: u64,
    pub repeats: u64,
    pub rng: SeededRng,
    /// Datagrams that the wire has lost: all, and those that carried data.
    pub lost: (u64, u64),
    /// What was put on the wire, if anybody listens.
    pub tap: Option<Vec<Heard>>,
    under_way: BTreeMap<(Instant, u64), (SocketAddr, SocketAddr, Vec<u8>)>,
    sequence: u64,
}

impl World {
    pub fn new(ends: Vec<End>) -> Self {
        World {
            now: Instant::from_secs(100),
            ends,
            latency: Duration::from_millis(20),
            jitter: Duration::ZERO,
            loss: 0,
            repeats: 0,
            rng: SeededRng::from_u64(99),
            lost: (0, 0),
            tap: Some(vec![]),
            under_way: BTreeMap::new(),
            sequence: 0,
        }
    }

    /// Ends 0 and 1, peers of each other.
    pub fn pair() -> Self {
        let now = Instant::from_secs(100);
        World::new(vec![End::new(now, 0, &[(1, peer(1))]), End::new(now, 1, &[(0, peer(0))])])
    }

    /// Lets `end` send a packet with a number to end `to`.
    pub fn send(&mut self, end: usize, to: u8, number: u64) {
        let (now, from) = (self.now, self.ends[end].inside);
        let sent = self.ends[end].send(now, &packet(from, inside(to), number, number as usize % 700));
        self.put(self.ends[end].address, sent);
        self.turn(end);
    }

    /// Puts datagrams on the wire.
    pub fn put(&mut self, from: SocketAddr, datagrams: impl IntoIterator<Item = (SocketAddr, Vec<u8>)>) {
        for (to, datagram) in datagrams {
            if let Some(tap) = &mut self.tap {
                tap.push((self.now, from, to, datagram.clone()));
            }
            let mut copies = 1;
            if self.rng.below(100) < self.loss {
                self.lost.0 += 1;
                self.lost.1 += u64::from(datagram[0] == 4);
                copies = 0;
            } else if self.rng.below(100) < self.repeats {
                copies = 2;
            }
            for _ in 0..copies {
                let jitter = Duration::from_nanos(self.rng.below(self.jitter.as_nanos() as u64));
                self.sequence += 1;
                let at = self.now + self.latency + jitter;
                self.under_way.insert((at, self.sequence), (from, to, datagram.clone()));
            }
        }
    }

    /// Drains an end.
    pub fn turn(&mut self, end: usize) {
        let out = self.ends[end].turn(self.now);
        self.put(self.ends[end].address, out);
    }

    /// Lets time pass until `at`, with everything that happens meanwhile.
    pub fn run_until(&mut self, at: Instant) {
        loop {
            let wire = self.under_way.first_key_value().map(|(&(at, _), _)| at);
            let due = self.ends.iter().fold(wire, |due, end| earliest(due, end.deadline()));
            let Some(due) = due.filter(|&due| due <= at) else { break };
            self.now = self.now.max(due);
            while let Some(entry) = self.under_way.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let (from, to, datagram) = entry.remove();
                if let Some(end) = self.ends.iter().position(|end| end.address == to) {
                    let _ = self.ends[end].receive(self.now, from, &datagram);
                    self.turn(end);
                }
            }
            (0..self.ends.len()).for_each(|end| self.turn(end));
        }
        self.now = self.now.max(at);
    }

    pub fn run(&mut self, time: Duration) {
        self.run_until(self.now + time);
    }

    pub fn run_secs(&mut self, secs: u64) {
        self.run(Duration::from_secs(secs));
    }

    /// What was put on the wire since the last question, by first octet: the type of message.
    pub fn types(&mut self) -> Vec<u8> {
        self.tap.replace(vec![]).unwrap_or_default().iter().map(|(.., datagram)| datagram[0]).collect()
    }

    /// The last message of a type on the wire.
    pub fn last_of(&self, kind: u8) -> Vec<u8> {
        let tap = self.tap.as_ref().unwrap();
        tap.iter().rev().find(|(.., datagram)| datagram[0] == kind).unwrap().3.clone()
    }

    /// Two ends that have keys, and nothing under way or due. End 0 asked for the keys, 15 s ago.
    pub fn connected() -> Self {
        let mut world = World::pair();
        world.send(0, 1, 0);
        world.run_secs(15);
        assert_eq!(world.ends[1].numbers(), [0]);
        world.types();
        world
    }
}

/// A public key of nobody's.
pub fn nobody() -> PublicKey {
    PrivateKey::new([0x77; 32]).public()
}
