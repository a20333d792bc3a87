//! The short way does what the long way does, whatever comes: two gateways live the same life, one of them without it.

use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::net::*;
use super::packet::Packet6;
use crate::forward::tests::net::{ALICE, HOME, ISP, LAN_PORT, LAN_PORT_2, Net, WAN_PORT, port_mac, settings};
use crate::forward::tests::offload::offloading;
use crate::forward::tests::packet::{ACK, FIN, RST, SYN};
use crate::forward::{LanIpv6, SessionOwner, Update};
use crate::frame::{Checksum, Frame, Gso, GsoKind, Offload};
use crate::id::PortId;
use crate::ledger::DropReason;

/// Which way a frame would go that comes by `port` now.
fn is_hit(net: &mut Net, port: PortId, bytes: &[u8]) -> bool {
    net.forwarder.rehearse(net.now, port, &mut Frame::from_bytes(bytes)).is_some()
}

#[test]
fn packets_of_an_established_flow_take_the_short_way_and_others_do_not() {
    let mut net = Net::dual();
    let on_lan =
        |packet: &Packet6| Net::ethernet(port_mac(LAN_PORT), mac_of6(packet.source), 0x86dd, &packet.build());
    let on_line = |packet: &Packet6| {
        let mut frame = Net::pppoe(SessionOwner::Wan(ISP), &packet.build());
        frame[21] = 0x57;
        frame
    };
    let out = Packet6::udp((host(), 4000), (server(), 443), b"query");
    let back = Packet6::udp((server(), 443), (host(), 4000), b"answer");
    assert!(!is_hit(&mut net, LAN_PORT, &on_lan(&out)), "the first packet makes the flow");
    net.lan6(out.clone()).only(ISP6);
    net.wan6(back.clone()).only(at(host()));
    assert!(is_hit(&mut net, LAN_PORT, &on_lan(&out)));
    assert!(is_hit(&mut net, WAN_PORT, &on_line(&back)));
    for other in [
        out.clone().hops(1),
        out.clone().extension(44, &[0; 8]),
        Packet6::udp((host(), 4001), (server(), 443), b""),
        Packet6::udp((host(), 546), (router(), 547), b""),
        Packet6::udp((host(), 4000), (server(), 443), &[0; 1450]),
    ] {
        assert!(!is_hit(&mut net, LAN_PORT, &on_lan(&other)), "{other:?}");
    }
    // Nor anything after the LAN has lost a prefix, until its flow was looked at again.
    net.apply(Update::LanIpv6 { lan: HOME, ipv6: LanIpv6 { prefixes: vec![], ..home_ipv6() } });
    assert!(!is_hit(&mut net, WAN_PORT, &on_line(&back)));
}

#[derive(Debug, Clone)]
struct Step {
    what: u8,
    from: u8,
    to: u8,
    port: u16,
    flags: u8,
    /// Octet to change, and how.
    damage: Option<(usize, u8)>,
    cut: Option<usize>,
    /// 1: the checksum is left to the card; 2: and the cutting.
    undone: u8,
}

fn step() -> impl Strategy<Value = Step> {
    let damage = prop::option::weighted(0.2, (0usize..90, 1u8..=255));
    let cut = prop::option::weighted(0.1, 40usize..100);
    (
        0u8..16,
        0u8..4,
        0u8..10,
        0u16..3,
        prop::sample::select(vec![SYN, SYN | ACK, ACK, ACK, FIN | ACK, RST]),
        damage,
        cut,
        prop::sample::select(vec![0, 1, 1, 2]),
    )
        .prop_map(|(what, from, to, port, flags, damage, cut, undone)| Step {
            what,
            from,
            to,
            port,
            flags,
            damage,
            cut,
            undone,
        })
}

impl Step {
    fn packet(&self, source: core::net::Ipv6Addr, destination: core::net::Ipv6Addr, turned: bool) -> Vec<u8> {
        let port = 1000 + self.port;
        let (from, to) = ((source, port), (destination, port));
        let packet = match self.what % 8 {
            0 | 1 => Packet6::udp(from, to, b"0123456789abcdef"),
            2 | 3 => Packet6::tcp(from, to, self.flags, b"0123456789abcdef"),
            4 if turned => Packet6::pong(source, destination, port),
            4 => Packet6::ping(source, destination, port),
            5 => Packet6::sctp(from, to, self.flags & 15),
            6 => Packet6::udp(from, to, b"0123456789").extension(60, &[0, 0, 1, 4, 0, 0, 0, 0]),
            _ => {
                let quoted = Packet6::udp((destination, port), (source, port), b"0123456789abcdef").build();
                Packet6::error(source, 1 + (self.flags & 3), 0, &quoted)
            }
        };
        let packet = match self.port {
            2 => packet.extension(44, &[0, 0, 0, 1, 0, 0, 0, self.flags]),
            _ => packet,
        };
        let mut bytes = packet.build();
        if let Some((at, change)) = self.damage
            && let Some(octet) = bytes.get_mut(at)
        {
            *octet ^= change;
        }
        if let Some(cut) = self.cut {
            bytes.truncate(cut);
        }
        bytes
    }

    /// What the sender leaves undone, of whatever the packet has become.
    fn offload(&self) -> Offload {
        let offset = if self.what % 8 < 2 { 6 } else { 16 };
        let kind = if self.what % 8 < 2 { GsoKind::Udp } else { GsoKind::TcpV6 };
        match self.undone {
            0 => Offload::default(),
            undone => Offload {
                checksum: Checksum::Partial { start: 40, offset },
                gso: (undone == 2).then_some(Gso { kind, size: 5, ecn: false }),
            },
        }
    }

    fn run(&self, net: &mut Net) -> Vec<(At6, Vec<u8>)> {
        let inside = [host(), host_2(), host_ula(), ip6("fe80::10")];
        let outside = [server(), ip6("2001:db8:8000::81"), isp_local(), alice()];
        let everywhere = [
            server(),
            ip6("2001:db8:8000::81"),
            visitor(),
            host_2(),
            router(),
            ours(),
            alice(),
            ip6("2001:db8:1:77::1"),
            ip6("ff02::1"),
            ip6("fe80::1"),
        ];
        let from = usize::from(self.from);
        net.six.clear();
        match (self.what, self.from) {
            (14, 0) => {
                return net
                    .pass6(u64::from(self.port) * 100)
                    .0
                    .into_iter()
                    .map(|(at, r)| (at, r.bytes))
                    .collect();
            }
            (14, 1) => net.set_wan6(ISP, None),
            (14, _) => net.set_wan6(ISP, Some(isp_ipv6())),
            (15, 0) => net.set_wan6(ISP, Some(wan_ipv6("2001:db8:1::/48"))),
            (15, 1) => {
                net.apply(Update::LanIpv6 { lan: HOME, ipv6: LanIpv6 { prefixes: vec![], ..home_ipv6() } });
            }
            (15, _) => {
                net.apply(Update::LanIpv6 { lan: HOME, ipv6: home_ipv6() });
            }
            (0..=7, _) => {
                let packet = self.packet(inside[from], everywhere[usize::from(self.to)], false);
                net.lan6_bytes(LAN_PORT, &packet, self.offload());
            }
            (13, _) => {
                let packet = self.packet(alice(), everywhere[usize::from(self.to)], false);
                net.session6(SessionOwner::Subscriber(ALICE), &packet);
            }
            _ => {
                let to = [host(), host_2(), ours(), router()][usize::from(self.to) % 4];
                let packet = self.packet(outside[from], to, true);
                net.session6_offload(SessionOwner::Wan(ISP), &packet, self.offload());
            }
        }
        core::mem::take(&mut net.six).into_iter().map(|(at, read)| (at, read.bytes)).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn both_ways_do_the_same(steps in prop::collection::vec(step(), 1..80), bridged in any::<bool>(), offload in any::<bool>()) {
        let mut settings = if offload { offloading() } else { settings() };
        if bridged {
            settings.lans[0].ports = vec![LAN_PORT, LAN_PORT_2];
        }
        let (mut short, mut long) = (Net::dual_with(settings.clone()), Net::dual_with(settings));
        for net in [&mut short, &mut long] {
            net.keep_damaged = true;
        }
        long.forwarder.only_long_way = true;
        for step in steps {
            let came = step.run(&mut short);
            prop_assert_eq!(&came, &step.run(&mut long));
            prop_assert_eq!(core::mem::take(&mut short.bridged), core::mem::take(&mut long.bridged));
            prop_assert_eq!(core::mem::take(&mut short.undone), core::mem::take(&mut long.undone));
            prop_assert_eq!(short.egress.ledger(), long.egress.ledger());
            prop_assert_eq!(short.forwarder.poll_timeout(), long.forwarder.poll_timeout());
            let owner = SessionOwner::Wan(ISP);
            prop_assert_eq!(short.forwarder.usage(owner), long.forwarder.usage(owner));
            prop_assert_eq!(short.dropped(DropReason::Internal), 0);
            short.check();
            // Whatever comes, only what is ours leaves by the uplink.
            for (at, bytes) in came.iter().filter(|(at, _)| *at == ISP6) {
                let source = core::net::Ipv6Addr::from(*bytes[8..].first_chunk::<16>().unwrap());
                let ours = cidr("2001:db8:1::/48").contains(source) || source == ours() || source == ours_local();
                prop_assert!(ours, "{} leaves by {:?}", source, at);
            }
        }
    }
}
