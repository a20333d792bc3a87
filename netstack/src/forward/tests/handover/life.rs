//! Whatever happens in whatever order: what a kernel half would carry, the Forwarder would make the same of.

use alloc::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::forward::tests::kernel::Kernel;
use crate::forward::{Forwarder, LanIpv6, WanIpv6};
use crate::frame::{Batch, Egress};
use crate::machine::Cx;
use crate::rng::SeededRng;

/// A forwarder, its kernel half, and every frame that has been seen.
struct Life {
    net: Net,
    kernel: Kernel,
    rng: SeededRng,
    seen: Vec<(PortId, Vec<u8>)>,
    /// Added to the last octet of stations' addresses.
    generation: u8,
}

fn station(generation: u8, address: IpAddr) -> Mac {
    let Mac([a, b, c, d, e, f]) = match address {
        IpAddr::V4(address) => mac_of(address),
        IpAddr::V6(address) => mac_of6(address),
    };
    Mac([a, b ^ generation << 4, c, d, e, f])
}

impl Life {
    fn new(plain: bool) -> Life {
        let mut settings = if plain { by_dhcp() } else { with_forward(Transport::Tcp, 8443, HOST, 443) };
        settings.lans[0].ports = vec![LAN_PORT, LAN_PORT_2];
        let mut net = Net::dual_with(settings);
        net.forwarder.set_offload(true);
        let own = [
            (LAN_PORT, port_mac(LAN_PORT), Interface::Lan(HOME)),
            (LAN_PORT_2, port_mac(LAN_PORT), Interface::Lan(HOME)),
            (GUEST_PORT, port_mac(GUEST_PORT), Interface::Lan(GUEST)),
            (WAN_PORT, port_mac(WAN_PORT), Interface::Wan(ISP)),
        ];
        let kernel = Kernel::new(own.to_vec());
        Life { net, kernel, rng: SeededRng::from_u64(3), seen: vec![], generation: 0 }
    }

    fn with(&mut self, act: impl FnOnce(&mut Forwarder, &mut Cx<'_>, &mut Egress)) {
        let mut cx = Cx { now: self.net.now, rng: &mut self.rng };
        act(&mut self.net.forwarder, &mut cx, &mut self.net.egress);
    }

    fn apply(&mut self, update: Update) {
        self.with(|forwarder, cx, egress| forwarder.apply(cx, update, egress));
    }

    /// A frame comes; what the kernel half carries, the Forwarder does not see. Returns the packets that left by the uplink.
    fn frame(&mut self, port: PortId, bytes: Vec<u8>) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        if let Some((flow, _, after)) = self.kernel.carry(port, &bytes) {
            let now = self.net.now;
            self.net.forwarder.note_carried(now, &carried(&flow, now));
            out.push(after);
        } else {
            self.net.egress.received(1);
            let mut batch = Batch::from([Frame::from_bytes(&bytes)]);
            let mut punts = VecDeque::new();
            self.with(|forwarder, cx, egress| forwarder.receive(cx, port, &mut batch, egress, &mut punts));
            punts.into_iter().for_each(|punt| self.net.egress.consume(punt.frame));
        }
        self.settle();
        out.extend(self.drain());
        if !self.seen.iter().any(|seen| *seen == (port, bytes.clone())) && self.seen.len() < 150 {
            self.seen.push((port, bytes));
        }
        out
    }

    /// Asks and answers for stations.
    fn settle(&mut self) {
        while let Some(resolve) = self.net.forwarder.poll_resolve() {
            let mac = station(self.generation, resolve.address);
            self.apply(Update::NeighbourFound { segment: resolve.segment, address: resolve.address, mac });
        }
        while let Some(offload) = self.net.forwarder.poll_offload() {
            self.kernel.apply(offload);
        }
    }

    fn drain(&mut self) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        for port in 0..5 {
            let frames: Vec<Frame> = self.net.egress.outgoing(PortId(port)).unwrap().0.drain(..).collect();
            for frame in frames {
                out.push(frame.bytes().to_vec());
                self.net.egress.pool.give(frame);
            }
        }
        out
    }

    fn pass(&mut self, seconds: u64) {
        let until = self.net.now + Duration::from_secs(seconds);
        while let Some(at) = self.net.forwarder.poll_timeout().filter(|at| *at <= until) {
            self.net.now = self.net.now.max(at);
            self.with(|forwarder, cx, egress| forwarder.handle_timeout(cx, egress));
            self.settle();
        }
        self.net.now = until;
    }

    fn on_uplink(&self, packet: &[u8]) -> Vec<u8> {
        if packet[0] >> 4 == 4 {
            return self.net.on_uplink(ISP, packet);
        }
        let mut frame = Net::pppoe(WAN_OWNER, packet);
        frame[21] = 0x57;
        frame
    }

    /// What of the frames seen would be carried, which must be what the Forwarder makes of it.
    fn check(&mut self) -> Result<usize, TestCaseError> {
        let mut count = 0;
        for (port, bytes) in &self.seen {
            let Some((flow, exit, after)) = self.kernel.carry(*port, bytes) else { continue };
            count += 1;
            let mut frame = Frame::from_bytes(bytes);
            let made = self.net.forwarder.rehearse(self.net.now, *port, &mut frame);
            prop_assert_eq!(made, Some(exit), "{:?}", flow);
            prop_assert_eq!(frame.bytes(), &after[..], "{:?}", flow);
        }
        Ok(count)
    }
}

/// One step: what happens, and to whom.
#[derive(Debug, Clone, Copy)]
struct Step(u8, u8, u8, u8);

fn packet4(protocol: u8, from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), back: bool, flags: u8) -> Packet {
    match protocol % 3 {
        0 => Packet::udp(from, to, b"some payload"),
        1 => Packet::tcp(
            from,
            to,
            [ACK, ACK, if back { SYN | ACK } else { SYN }, FIN | ACK, RST][usize::from(flags) % 5],
            b"data",
        ),
        _ if back => Packet::pong(from.0, to.0, to.1),
        _ => Packet::ping(from.0, to.0, from.1),
    }
}

impl Step {
    fn run(self, life: &mut Life, externals: &mut Vec<(Ipv4Addr, u16)>) {
        let Step(what, a, b, c) = self;
        let port = 4000 + u16::from(b % 3);
        let lan_port = if c % 8 == 7 { LAN_PORT_2 } else { LAN_PORT };
        let (host4, to) = ([HOST, HOST_2][usize::from(a) % 2], (SERVER, 9000));
        match what {
            0..8 => {
                let packet = packet4(c, (host4, port), to, false, b / 3).build();
                let mac = station(life.generation, host4.into());
                let out = life.frame(lan_port, Net::ethernet(port_mac(LAN_PORT), mac, 0x0800, &packet));
                for frame in out {
                    let at = if frame[12..14] == [0x88, 0x64] { 22 } else { 14 };
                    if frame.len() >= at + 24 && frame[at] == 0x45 && externals.len() < 20 {
                        let id = if frame[at + 9] == 1 { at + 24 } else { at + 20 };
                        let number = u16::from_be_bytes([frame[id], frame[id + 1]]);
                        let ours = Ipv4Addr::from(*frame[at + 12..].first_chunk::<4>().unwrap());
                        externals.push((ours, number));
                    }
                }
            }
            8..14 if !externals.is_empty() => {
                let ours = externals[usize::from(a) % externals.len()];
                let packet = packet4(c, to, ours, true, b / 3).build();
                let bytes = life.on_uplink(&packet);
                life.frame(WAN_PORT, bytes);
            }
            8..14 => {}
            14..17 => {
                let packet = Packet6::udp((host(), port), (server(), 443), b"six").build();
                let mac = station(life.generation, host().into());
                life.frame(lan_port, Net::ethernet(port_mac(LAN_PORT), mac, 0x86dd, &packet));
            }
            17..20 => {
                let packet = Packet6::udp((server(), 443), (host(), port), b"six").build();
                let bytes = life.on_uplink(&packet);
                life.frame(WAN_PORT, bytes);
            }
            20..23 => {
                let to = if a.is_multiple_of(2) { (HOST, port) } else { to };
                let packet = Packet::udp((ALICE_IP, 7), to, b"alice").build();
                life.frame(ACCESS_PORT, Net::pppoe(SessionOwner::Subscriber(ALICE), &packet));
            }
            23 => {
                let packet = Packet::udp((HOST, port), (ALICE_IP, 7), b"to alice").build();
                let mac = station(life.generation, HOST.into());
                life.frame(lan_port, Net::ethernet(port_mac(LAN_PORT), mac, 0x0800, &packet));
            }
            24 => {
                life.net.wan_down(ISP);
                life.settle();
                if a % 3 > 0 {
                    life.net.wan_up(ISP, if a % 3 == 1 { OURS } else { OURS_LATER });
                }
                life.settle();
            }
            25 => {
                life.apply(Update::SessionClosed { owner: SessionOwner::Subscriber(ALICE) });
                life.settle();
                if a.is_multiple_of(2) {
                    life.net.subscriber_up(ALICE, ALICE_IP);
                }
                life.settle();
            }
            26 => {
                life.generation = a % 3;
                let address = [IpAddr::from(HOST), HOST_2.into(), host().into()][usize::from(b) % 3];
                let segment = Segment::Lan(HOME);
                let mac = station(life.generation, address);
                life.apply(match c % 2 {
                    0 => Update::NeighbourFound { segment, address, mac },
                    _ => Update::NeighbourFailed { segment, address },
                });
                life.settle();
            }
            27 => {
                let delegated = if a.is_multiple_of(2) { isp_ipv6().delegated } else { vec![] };
                let awaited = if b.is_multiple_of(2) { isp_ipv6().delegated } else { vec![] };
                let ipv6 = (c % 4 > 0).then(|| WanIpv6 { delegated, awaited, ..isp_ipv6() });
                life.apply(Update::WanIpv6 { wan: ISP, ipv6 });
                life.settle();
            }
            28 => {
                let prefixes = if a.is_multiple_of(2) { home_ipv6().prefixes } else { vec![] };
                life.apply(Update::LanIpv6 { lan: HOME, ipv6: LanIpv6 { prefixes, ..home_ipv6() } });
                life.settle();
            }
            29 => life.apply(Update::WanIpv4Up {
                wan: ISP,
                ipv4: crate::forward::WanIpv4 { address: OURS, mtu: 60 + u16::from(a), segment: None },
            }),
            _ => life.pass([1, 2, 30, 61, 301, 700, 7500][usize::from(a) % 7]),
        }
        life.settle();
        life.drain();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_the_kernel_half_carries_is_what_the_forwarder_makes_of_it(
        steps in prop::collection::vec((0u8..33, any::<u8>(), any::<u8>(), any::<u8>()), 20..160),
        plain in any::<bool>(),
    ) {
        let mut life = Life::new(plain);
        let mut externals = vec![];
        for (what, a, b, c) in steps {
            Step(what, a, b, c).run(&mut life, &mut externals);
            life.check()?;
            life.net.check();
        }
    }
}

#[test]
fn a_quiet_life_is_carried_nearly_whole() {
    for plain in [false, true] {
        let mut life = Life::new(plain);
        let mut externals = vec![];
        for _ in 0..3 {
            for what in [0, 8, 14, 17, 20, 23] {
                Step(what, 0, 0, 0).run(&mut life, &mut externals);
            }
        }
        let expected = if plain { 3 } else { 4 };
        assert!(life.check().unwrap() >= expected, "{:?}", life.kernel.flows);
    }
}
