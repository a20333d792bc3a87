//! A life of a PPP link: a client and a server on a line that loses, repeats, damages and invents packets. Nobody without
//! the password gets in, no address before that, no two ends have the same identifier, every link that was opened ends
//! once, and both write packets that the other can read.
#![no_main]

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::Arc;

use genkan_fuzz::{Script, Step, World, damage};
use genkan_netstack::frame::Frame;
use genkan_netstack::id::Family;
use genkan_netstack::ppp::{
    ClientSettings, Event, InterfaceId, Ipv4Assignment, Link, Phase, ServerSettings, Timing,
};
use genkan_netstack::secret::Secret;
use genkan_netstack::settings::{Authentication, Echo};
use genkan_netstack::wire::ppp::{Packet, protocol};
use libfuzzer_sys::fuzz_target;

const NAME: &[u8] = b"alice";
const PASSWORD: &[u8] = b"\xf3correct horse battery\x9e";
const ASSIGNMENT: Ipv4Assignment = Ipv4Assignment {
    local: Ipv4Addr::new(100, 64, 0, 1),
    remote: Ipv4Addr::new(100, 64, 0, 77),
    dns: [Some(Ipv4Addr::new(192, 0, 2, 53)), None],
};
const METHODS: [Authentication; 3] = [Authentication::MsChapV2, Authentication::ChapMd5, Authentication::Pap];

/// One end, and what is on its way to the other.
struct End {
    link: Link,
    is_server: bool,
    sent: VecDeque<Vec<u8>>,
    opened: u32,
    ended: u32,
    authenticated: bool,
    ipv4: bool,
    ipv6: bool,
}

impl End {
    fn new(link: Link, is_server: bool) -> End {
        End {
            link,
            is_server,
            sent: VecDeque::new(),
            opened: 0,
            ended: 0,
            authenticated: false,
            ipv4: false,
            ipv6: false,
        }
    }

    fn open(&mut self, world: &mut World, mru: u16) {
        if self.link.phase() == Phase::Dead {
            self.opened += 1;
        }
        self.link.open(&mut world.cx(), mru);
    }

    fn hear(&mut self, world: &mut World, packet: &[u8]) {
        if let Some((number, information)) = packet.split_first_chunk() {
            let _ = self.link.receive(&mut world.cx(), u16::from_be_bytes(*number), information);
        }
    }

    fn let_time_work(&mut self, world: &mut World) {
        // What is due may make something else due.
        for _ in 0..4 {
            self.link.handle_timeout(&mut world.cx());
        }
        let next = self.link.poll_timeout();
        assert!(next.is_none_or(|at| at > world.now), "what is due is done: {next:?} at {}", world.now);
    }

    fn drain(&mut self, world: &mut World, knows: bool) {
        while let Some(event) = self.link.poll_event() {
            match event {
                Event::LcpOpened { mru, peer_mru, .. } => {
                    assert!(!self.ipv4 && !self.ipv6, "what was up before has been reported down");
                    assert!((128..=1500).contains(&mru) && peer_mru <= 1500, "MRU {mru}, peer's {peer_mru}");
                    self.authenticated = false;
                }
                Event::Identify { name } => {
                    assert!(self.is_server);
                    let secret = Secret::new(PASSWORD);
                    self.link.authenticate(&mut world.cx(), (name == NAME).then_some(&secret));
                }
                Event::Authenticated { message, .. } => {
                    assert!(knows || !self.is_server, "let in without the password");
                    assert!(message.chars().count() <= 256 && !message.chars().any(char::is_control));
                    self.authenticated = true;
                    if self.is_server {
                        self.link.assign(&mut world.cx(), ASSIGNMENT);
                    }
                }
                Event::Ipv4Up { local, remote, .. } => {
                    assert!(!self.ipv4, "up twice");
                    if self.is_server {
                        assert!(self.authenticated, "an address for a stranger");
                        assert_eq!((local, remote), (ASSIGNMENT.local, ASSIGNMENT.remote));
                    }
                    assert!(!local.is_unspecified() && !local.is_broadcast() && !local.is_multicast());
                    self.ipv4 = true;
                }
                Event::Ipv4Down { .. } => self.ipv4 = false,
                Event::Ipv6Up { local, remote } => {
                    assert!(!self.ipv6, "up twice");
                    assert!(!self.is_server || self.authenticated, "IPv6 for a stranger");
                    assert!(local != remote && local.octets() != [0; 8] && remote.octets() != [0; 8]);
                    self.ipv6 = true;
                }
                Event::Ipv6Down { reason } => {
                    let _ = reason.of(Family::Ipv6).to_string();
                    self.ipv6 = false;
                }
                Event::MtuProven { mtu } | Event::MtuReduced { mtu } => assert!((128..=1500).contains(&mtu)),
                Event::Down(reason) => {
                    let _ = (reason.class(), reason.to_string());
                    assert!(!self.ipv4 && !self.ipv6, "they are reported down before the link is");
                    self.ended += 1;
                }
            }
        }
        let mut frame = Frame::with_capacity(2048);
        while self.link.poll_transmit(&mut frame) {
            let (number, information) = frame.bytes().split_first_chunk().expect("it has a protocol");
            assert!(protocol::well_formed(u16::from_be_bytes(*number)));
            assert!(information.len() <= 1500, "a packet of {} octets", information.len());
            let packet = Packet::parse(information).expect("what we write can be read");
            assert_eq!(packet.bytes().len(), information.len());
            if self.sent.len() < 64 {
                self.sent.push_back(frame.bytes().to_vec());
            }
            frame.reset();
        }
        let up = self.link.phase() != Phase::Dead;
        assert_eq!(self.opened - self.ended, u32::from(up), "opened {}, ended {}", self.opened, self.ended);
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&[how, order, mrus], script)) = data.split_first_chunk() else { return };
    let knows = how & 1 == 0;
    let mut methods = METHODS;
    methods.rotate_left(usize::from(order) % 3);
    let server_methods = &methods[..usize::from(order >> 2) % 3 + 1];
    let mru = |choice: u8| [1492, 1500, 1480, 576][usize::from(choice) % 4];
    let echo = Echo { failures: 2, ..Echo::default() };
    let client = Link::client(Arc::new(ClientSettings {
        username: NAME.to_vec(),
        password: Secret::new(if knows { PASSWORD } else { b"wrong" }),
        authentication: METHODS[usize::from(order >> 4) % 3..].to_vec(),
        mru: mru(mrus),
        echo,
        ipv4: how & 2 == 0,
        ipv6: InterfaceId::new(u64::from(how >> 2) % 4),
        timing: Timing::default(),
    }));
    let server = Link::server(Arc::new(ServerSettings {
        name: b"bras".to_vec(),
        authentication: server_methods.to_vec(),
        mru: mru(mrus >> 2),
        echo,
        ipv6: InterfaceId::new(u64::from(how >> 4) % 4),
        timing: Timing::default(),
    }));
    let mut world = World::default();
    let mut ends = [End::new(client, false), End::new(server, true)];
    for end in &mut ends {
        end.open(&mut world, mru(mrus >> 4));
        end.drain(&mut world, knows);
    }
    for Step { operation, data } in Script(script) {
        let at = usize::from(operation >> 7);
        let (front, back) = ends.split_at_mut(1);
        let (here, there) =
            if at == 0 { (&mut front[0], &mut back[0]) } else { (&mut back[0], &mut front[0]) };
        match operation & 0x0f {
            // The next packet arrives, maybe damaged; or twice; or never; or all that are under way do.
            0 | 1 => {
                if let Some(mut packet) = here.sent.pop_front() {
                    damage(&mut packet, data);
                    there.hear(&mut world, &packet);
                }
            }
            2 => {
                if let Some(packet) = here.sent.front() {
                    there.hear(&mut world, packet);
                }
            }
            3 => drop(here.sent.pop_front()),
            4 => here.sent.rotate_left(1.min(here.sent.len())),
            5 => {
                for _ in 0..8 {
                    let Some(packet) = here.sent.pop_front() else { break };
                    there.hear(&mut world, &packet);
                }
            }
            // Somebody else speaks, or the line is looped back.
            6 => there.hear(&mut world, data),
            7 => {
                if let Some(packet) = here.sent.pop_front() {
                    here.hear(&mut world, &packet);
                }
            }
            // What the other side never sent, but about what it last sent.
            8 => {
                if let Some(mut packet) = there.sent.front().cloned() {
                    damage(&mut packet, data);
                    there.hear(&mut world, &packet);
                }
            }
            9 | 10 => {
                world.pass(data, here.link.poll_timeout());
                here.let_time_work(&mut world);
                there.let_time_work(&mut world);
            }
            11 => here.link.traffic_seen(world.now),
            12 => here.link.close(&mut world.cx()),
            13 => here.link.lower_down(&mut world.cx()),
            14 => here.open(&mut world, mru(operation >> 4)),
            _ => here.link.challenge(&mut world.cx()),
        }
        for end in &mut ends {
            end.drain(&mut world, knows);
        }
    }
    for end in &mut ends {
        end.link.lower_down(&mut world.cx());
        end.drain(&mut world, knows);
        assert_eq!(end.opened, end.ended, "every link that was opened ends once");
        assert_eq!(end.link.poll_timeout(), None, "and wants nothing more");
    }
});
