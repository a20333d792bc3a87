//! A life of two ends of a tunnel, and of somebody on the wire between them who loses, repeats, changes and makes up messages.
//! What comes out was put in, once; what was changed is dropped; nothing grows without end.
//!
//! The first octet says which ends have a preshared key and a keepalive.
#![no_main]

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use genkan_fuzz::{Numbers, Script, World, damage, packet};
use genkan_netstack::frame::{Frame, HEADROOM};
use genkan_netstack::id::{IpCidr, Ipv4Cidr};
use genkan_netstack::settings::VpnPeer;
use genkan_netstack::table::Seed;
use genkan_netstack::time::{Duration, Instant, earliest};
use genkan_netstack::tunnel::wireguard::message::{DataHeader, Message, RESPONSE};
use genkan_netstack::tunnel::wireguard::{
    Destination, Event, Input, Kind, Negotiator, PresharedKey, PrivateKey, Seal, Tunnel, negotiator, tunnel,
};
use libfuzzer_sys::fuzz_target;

const MTU: usize = 1420;
const ENDS: [usize; 2] = [0, 1];
/// Most messages on the wire; the rest is lost.
const WIRE: usize = 256;

struct End {
    negotiator: Negotiator,
    tunnel: Tunnel,
}

struct Life {
    world: World,
    ends: [End; 2],
    /// To whom, and what.
    wire: VecDeque<(usize, Vec<u8>)>,
    /// Numbers of the packets that were sent and have not come out.
    sent: BTreeSet<u32>,
    count: u32,
}

fuzz_target!(|data: &[u8]| {
    let Some((&kind, script)) = data.split_first() else { return };
    let mut world = World::default();
    let ends = ENDS.map(|end| {
        let peers = [peer(1 - end, kind)];
        let negotiator = Negotiator::new(&mut world.cx(), &key(end), &peers);
        let mut tunnel = Tunnel::new(&peers, Seed::draw(world.cx().rng));
        tunnel.set_endpoint(0, address(1 - end));
        End { negotiator, tunnel }
    });
    let mut life = Life { world, ends, wire: VecDeque::new(), sent: BTreeSet::new(), count: 0 };
    for step in Script(script) {
        let end = usize::from(step.operation >> 7);
        match step.operation % 8 {
            0 => {
                let _ = (Message::parse(step.data), DataHeader::parse(step.data));
                let outcome = life.hear(end, step.data);
                assert!(!outcome, "nobody else can make a message");
            }
            1 => life.change(step.data),
            2 => {
                if let Some((to, message)) = life.wire.pop_front() {
                    life.hear(to, &message);
                }
            }
            3 => drop(life.wire.pop_front()),
            4 => life.wire.extend(life.wire.front().cloned()),
            5 => life.pass(step.data),
            6 => life.send(end, step.data),
            _ => life.meddle(end, step.data),
        }
        ENDS.into_iter().for_each(|end| life.drain(end));
        life.wire.truncate(WIRE);
    }
});

fn key(end: usize) -> PrivateKey {
    PrivateKey::new([end as u8 + 1; 32])
}

fn address(end: usize) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::new(192, 0, 2, end as u8).into(), 51820)
}

fn inside(end: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, end as u8)
}

/// An end as the other one's configuration has it.
fn peer(end: usize, kind: u8) -> VpnPeer {
    VpnPeer {
        name: "peer".into(),
        public_key: key(end).public(),
        preshared_key: (kind & 1 != 0).then(|| PresharedKey::new([9; 32])),
        endpoint: None,
        allowed_ips: vec![IpCidr::V4(Ipv4Cidr { address: inside(end), prefix: 32 })],
        keepalive: (kind >> 1 & 1 == end as u8 + 1).then_some(Duration::from_secs(25)),
    }
}

impl Life {
    /// A datagram comes to an end. True when it is of use.
    fn hear(&mut self, end: usize, datagram: &[u8]) -> bool {
        let from = address(1 - end);
        let state = &mut self.ends[end];
        if Kind::of(datagram) != Ok(Kind::Data) {
            return state.negotiator.handle(&mut self.world.cx(), Input::Message { from, datagram }).is_ok();
        }
        let mut frame = Frame::from_bytes(datagram);
        let Ok(opened) = state.tunnel.open(self.world.now, from, &mut frame) else { return false };
        assert_eq!((opened.peer, opened.keepalive), (0, frame.is_empty()));
        if !opened.keepalive {
            assert_eq!(frame.bytes()[12..16], inside(1 - end).octets(), "with its own source");
            let number =
                frame.bytes()[20..].first_chunk().copied().map(u32::from_be_bytes).expect("a number");
            assert!(self.sent.remove(&number), "a packet comes out once, and only if it was sent");
        }
        true
    }

    /// The next message is heard in another form.
    fn change(&mut self, edits: &[u8]) {
        let Some((to, good)) = self.wire.front().cloned() else { return };
        let mut bad = good.clone();
        damage(&mut bad, edits);
        // Without load, the last part of a handshake message is not looked at.
        let handshake = matches!(Kind::of(&good), Ok(Kind::Initiation | Kind::Response));
        let covered = if handshake { good.len() - 16 } else { good.len() };
        let is_changed = bad.len() != good.len() || bad[..covered] != good[..covered];
        let is_good = self.hear(to, &bad);
        assert!(!(is_changed && is_good), "a changed message is dropped");
    }

    fn send(&mut self, end: usize, data: &[u8]) {
        let mut input = Numbers(data);
        let (room, len) = (usize::from(input.u8()), usize::from(input.u16()) % 1600);
        self.count += 1;
        let mut payload = self.count.to_be_bytes().to_vec();
        payload.resize(4 + len, 7);
        let inner = packet::ipv4(inside(end), inside(1 - end), 253, &[], &payload);
        let mut frame = Frame::with_capacity(HEADROOM + inner.len() + room);
        assert!(frame.extend(&inner));
        assert_eq!(self.ends[end].tunnel.peer_of(IpAddr::V4(inside(1 - end))), Some(0));
        self.sent.insert(self.count);
        self.seal(end, frame);
    }

    fn seal(&mut self, end: usize, mut frame: Frame) {
        let before = frame.bytes().to_vec();
        let room = frame.tailroom();
        match self.ends[end].tunnel.seal(self.world.now, 0, &mut frame, MTU) {
            Seal::Ready => {
                let len = frame.len();
                assert_eq!(Kind::of(frame.bytes()), Ok(Kind::Data));
                assert!(
                    len >= before.len() + 32 && len <= (before.len() + 15).min(MTU.max(before.len())) + 32
                );
                self.wire.push_back((1 - end, frame.bytes().to_vec()));
            }
            Seal::NoKeys => {
                assert_eq!(frame.bytes(), before);
                drop(self.ends[end].tunnel.hold(0, frame));
            }
            Seal::Failed(_) => {
                assert!(room < 32 && frame.bytes() == before, "only without room, and unharmed")
            }
        }
    }

    fn meddle(&mut self, end: usize, data: &[u8]) {
        let mut input = Numbers(data);
        let cx = &mut self.world.cx();
        let state = &mut self.ends[end];
        match input.u8() % 8 {
            0 => state.negotiator.set_clock(cx.now, Duration::from_secs(u64::from(input.u16()) << 16)),
            1 => state.negotiator.set_floor(Duration::from_secs(u64::from(input.u16()) << 16)),
            2 => drop(state.negotiator.handle(cx, Input::Wanted { peer: input.u8().into() })),
            3 => state.tunnel.announce(cx.now, input.u8().into()),
            4 => drop(state.tunnel.give_up(input.u8().into())),
            5 => state.tunnel.set_endpoint(input.u8().into(), address(1 - end)),
            6 => {
                // Less room than the message takes: it is lost.
                let _ = state.negotiator.handle(cx, Input::Wanted { peer: 0 });
                let mut small = Frame::with_capacity(HEADROOM + RESPONSE);
                assert_eq!((state.negotiator.poll_transmit(&mut small), small.len()), (None, 0));
            }
            _ => self.seal(end, Frame::with_capacity(HEADROOM + usize::from(input.u8()))),
        }
    }

    fn pass(&mut self, data: &[u8]) {
        let due = |end: &End| earliest(end.negotiator.poll_timeout(), end.tunnel.poll_timeout());
        let next = self.ends.iter().fold(None, |at, end| earliest(at, due(end)));
        self.world.pass(data, next);
        for end in &mut self.ends {
            end.negotiator.handle_timeout(&mut self.world.cx());
            end.tunnel.handle_timeout(self.world.now);
            assert!(due(end).is_none_or(|at: Instant| at > self.world.now), "what is due is done");
        }
    }

    fn drain(&mut self, end: usize) {
        let now = self.world.now;
        let mut frame = Frame::with_capacity(2048);
        let state = &mut self.ends[end];
        while let Some(peer) = state.tunnel.poll_wanted() {
            assert_eq!(state.negotiator.handle(&mut self.world.cx(), Input::Wanted { peer }), Ok(()));
        }
        let mut events = 0;
        while let Some(event) = state.negotiator.poll_event() {
            events += 1;
            assert!(!event.to_string().is_empty());
            match event {
                Event::Keys { peer, keypair, from } => {
                    assert_eq!((peer, keypair.created(), from), (0, now, address(1 - end)));
                    state.tunnel.install(now, peer, keypair, Some(from));
                }
                Event::Retrying { .. } => {}
                Event::GaveUp { peer, .. } => drop(state.tunnel.give_up(peer)),
            }
        }
        assert!(events <= negotiator::EVENTS);
        while let Some(destination) = state.negotiator.poll_transmit(&mut frame) {
            assert!(matches!(Kind::of(frame.bytes()), Ok(kind) if kind != Kind::Data));
            assert!(Message::parse(frame.bytes()).is_ok());
            let ours = [Destination::Peer(0), Destination::Address(address(1 - end))];
            assert!(ours.contains(&destination));
            self.wire.push_back((1 - end, frame.bytes().to_vec()));
            frame.reset();
        }
        while let Some(peer) = state.tunnel.poll_transmit(&mut frame) {
            assert_eq!((peer, frame.len()), (0, 32), "a keepalive");
            self.wire.push_back((1 - end, frame.bytes().to_vec()));
            frame.reset();
        }
        let ready: Vec<Frame> =
            std::iter::from_fn(|| state.tunnel.poll_ready()).map(|(_, frame)| frame).collect();
        let status = state.tunnel.status(now, 0).expect("a peer");
        assert!(state.tunnel.held() == status.waiting && status.waiting <= tunnel::WAITING);
        let handshakes = state.negotiator.status(0).expect("a peer");
        assert!(handshakes.last.is_none_or(|at| at <= now));
        ready.into_iter().for_each(|frame| self.seal(end, frame));
    }
}
