//! The short way does what the long way does: two gateways live the same life, one of them without the short way.

use alloc::vec;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use proptest::prelude::*;

use super::net::*;
use super::offload::{framed, large, offloading, partial};
use super::packet::{ACK, FIN, Packet, RST, SYN};
use crate::forward::SessionOwner;
use crate::frame::{Checksum, Frame, Offload};
use crate::id::PortId;
use crate::settings::{Settings, Uplink, Vlan};

/// The same gateway twice: `.1` takes the long way always.
struct Twins(Net, Net);

impl Twins {
    fn new(settings: &Settings) -> Twins {
        let mut twins = Twins(Net::with(settings.clone()), Net::with(settings.clone()));
        twins.1.forwarder.only_long_way = true;
        twins
    }

    fn both(&mut self, act: impl Fn(&mut Net) -> Out) -> Vec<(At, Vec<u8>)> {
        let octets = |out: Out| -> Vec<(At, Vec<u8>)> {
            out.0.into_iter().map(|(at, read)| (at, read.bytes)).collect()
        };
        let (short, long) = (octets(act(&mut self.0)), octets(act(&mut self.1)));
        assert_eq!(short, long);
        assert_eq!(core::mem::take(&mut self.0.bridged), core::mem::take(&mut self.1.bridged));
        assert_eq!(core::mem::take(&mut self.0.undone), core::mem::take(&mut self.1.undone));
        assert_eq!(self.0.egress.ledger(), self.1.egress.ledger());
        assert_eq!(self.0.forwarder.poll_timeout(), self.1.forwarder.poll_timeout());
        for owner in [ISP, ISP_2].map(SessionOwner::Wan).into_iter().chain([SessionOwner::Subscriber(ALICE)])
        {
            assert_eq!(self.0.forwarder.usage(owner), self.1.forwarder.usage(owner));
        }
        let flows = |net: &Net| net.forwarder.flows().collect::<Vec<_>>();
        assert_eq!(flows(&self.0), flows(&self.1));
        short
    }
}

/// Which way a frame would go that comes by `port` now.
fn is_hit(net: &mut Net, port: PortId, bytes: &[u8]) -> bool {
    net.forwarder.rehearse(net.now, port, &mut Frame::from_bytes(bytes)).is_some()
}

fn on_lan(packet: &Packet) -> Vec<u8> {
    Net::ethernet(port_mac(LAN_PORT), mac_of(packet.source), 0x0800, &packet.build())
}

#[test]
fn packets_of_an_established_flow_take_the_short_way_and_others_do_not() {
    let mut net = Net::new();
    let out = Packet::udp((HOST, 4000), (SERVER, 53), b"query");
    assert!(!is_hit(&mut net, LAN_PORT, &on_lan(&out)), "the first packet makes the flow");
    let external = net.lan(out.clone()).only(At::ISP).source;
    assert!(is_hit(&mut net, LAN_PORT, &on_lan(&out)));
    let answer = Packet::udp((SERVER, 53), external, b"answer");
    net.wan(answer.clone()).only(At::Station(HOST));
    let on_line = |packet: &Packet| Net::pppoe(SessionOwner::Wan(ISP), &packet.build());
    assert!(is_hit(&mut net, WAN_PORT, &on_line(&answer)));

    for other in [
        out.clone().ttl(1),
        out.clone().options(&[1, 1, 1, 0]),
        Packet::udp((HOST, 4001), (SERVER, 53), b""),
        Packet::tcp((HOST, 4000), (SERVER, 53), SYN, b""),
    ] {
        // Options alone do not keep a packet from the short way.
        assert_eq!(is_hit(&mut net, LAN_PORT, &on_lan(&other)), !other.options.is_empty(), "{other:?}");
    }
    let whole = on_line(&answer);
    for len in 0..22 + answer.build().len() {
        assert!(!is_hit(&mut net, WAN_PORT, &whole[..len]), "cut at {len}");
    }

    net.wan_down(ISP);
    net.wan_up(ISP, OURS_LATER);
    assert!(!is_hit(&mut net, LAN_PORT, &on_lan(&out)), "the address is another");
    assert!(!is_hit(&mut net, WAN_PORT, &on_line(&answer)));
}

#[test]
fn packets_of_an_established_flow_over_a_plain_uplink_take_the_short_way() {
    let mut net = Net::offline(by_dhcp());
    net.wan_up(ISP, OURS);
    let out = Packet::udp((HOST, 4000), (SERVER, 53), b"query");
    let external = net.lan(out.clone()).only(At::Beyond(mac_of(GATEWAY))).source;
    net.lan(out.clone()).only(At::Beyond(mac_of(GATEWAY)));
    assert!(is_hit(&mut net, LAN_PORT, &on_lan(&out)));
    let answer = Packet::udp((SERVER, 53), external, b"answer");
    net.wan(answer.clone()).only(At::Station(HOST));
    let answer = net.on_uplink(ISP, &answer.build());
    assert!(is_hit(&mut net, WAN_PORT, &answer));
    net.wan_up(ISP, OURS_LATER);
    assert!(!is_hit(&mut net, LAN_PORT, &on_lan(&out)), "the address is another");
    assert!(!is_hit(&mut net, WAN_PORT, &answer));
}

/// What becomes of a frame with work left undone that comes by `port`: what it leaves as, whole or not.
fn rehearsed(net: &mut Net, port: PortId, bytes: &[u8], front: usize, offload: Offload) -> Option<Offload> {
    let mut frame = framed(bytes, front, offload);
    net.forwarder.rehearse(net.now, port, &mut frame).map(|_| frame.offload)
}

/// A sender behind a virtual cable leaves the checksum to the card, in every frame of its flows.
#[test]
fn what_a_sender_leaves_undone_takes_the_short_way_unless_it_is_to_be_cut() {
    let mut net = Net::with(offloading());
    let out = Packet::udp((HOST, 4000), (SERVER, 53), &[7; 900]);
    let external = net.lan(out.clone()).only(At::ISP).source;
    let beyond = Packet::udp((HOST, 4000), (VISITOR, 53), &[7; 900]);
    net.lan(beyond.clone()).only(At::Station(VISITOR));
    let back = Packet::udp((SERVER, 53), external, &[7; 900]);
    net.wan(back.clone()).only(At::Station(HOST));

    let on_lan = |(packet, offload): (Vec<u8>, Offload)| {
        (Net::ethernet(port_mac(LAN_PORT), mac_of(HOST), 0x0800, &packet), offload)
    };
    let whole = Offload::default();
    let stays = |start| Offload { checksum: Checksum::Partial { start, offset: 6 }, gso: None };
    // Behind PPPoE no device completes it; one on a LAN does.
    let (bytes, offload) = on_lan(partial(&out));
    assert_eq!(rehearsed(&mut net, LAN_PORT, &bytes, 14, offload), Some(whole));
    let (bytes, offload) = on_lan(partial(&beyond));
    assert_eq!(rehearsed(&mut net, LAN_PORT, &bytes, 14, offload), Some(stays(34)));
    let (packet, offload) = partial(&back);
    let bytes = Net::pppoe(SessionOwner::Wan(ISP), &packet);
    assert_eq!(rehearsed(&mut net, WAN_PORT, &bytes, 22, offload), Some(stays(34)));
    // A foreign sum, or one of something else, is the long way's affair.
    for (start, offset) in [(20, 16), (20, 7), (19, 6), (21, 6), (40, 6)] {
        let foreign = Offload { checksum: Checksum::Partial { start, offset }, gso: None };
        assert_eq!(rehearsed(&mut net, WAN_PORT, &bytes, 22, foreign), None);
    }

    let (bytes, offload) = on_lan(large(&out, 300));
    assert_eq!(rehearsed(&mut net, LAN_PORT, &bytes, 14, offload), None, "it is to be cut");
    let (bytes, offload) = on_lan(large(&beyond, 300));
    let left = rehearsed(&mut net, LAN_PORT, &bytes, 14, offload);
    assert_eq!(left, Some(Offload { gso: offload.gso, ..stays(34) }), "the device cuts it");
    let (packet, offload) = large(&back, 300);
    let bytes = Net::pppoe(SessionOwner::Wan(ISP), &packet);
    assert_eq!(
        rehearsed(&mut net, WAN_PORT, &bytes, 22, offload),
        Some(Offload { gso: offload.gso, ..stays(34) })
    );
    // A port whose device does neither.
    net.forwarder.ports[GUEST_PORT.index()].offload = false;
    let (bytes, offload) = on_lan(partial(&beyond));
    assert_eq!(rehearsed(&mut net, LAN_PORT, &bytes, 14, offload), Some(whole));
    let (bytes, offload) = on_lan(large(&beyond, 300));
    assert_eq!(rehearsed(&mut net, LAN_PORT, &bytes, 14, offload), None);
}

/// What the sender of a packet leaves to the card.
#[derive(Debug, Clone, Copy)]
enum Undone {
    Nothing,
    Checksum,
    /// And the cutting into segments of this size.
    Cutting(u16),
}

impl Undone {
    fn leave(self, packet: &Packet) -> (Vec<u8>, Offload) {
        match self {
            Undone::Nothing => (packet.build(), Offload::default()),
            Undone::Checksum => partial(packet),
            Undone::Cutting(size) => large(packet, size),
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// A packet between two ends, as the LAN (or a subscriber) or the line sees it, with one octet perhaps spoiled up to the IPv4 header.
    Packet {
        inside: u8,
        port: u16,
        flags: Option<u8>,
        ttl: u8,
        size: usize,
        back: bool,
        /// To another LAN.
        across: bool,
        undone: Undone,
        spoil: Option<(usize, u8)>,
    },
    Pass(u16),
    Redial(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let flags = prop::option::of(prop::sample::select(vec![SYN, SYN | ACK, ACK, ACK, ACK, FIN | ACK, RST]));
    let ttl = prop::sample::select(vec![64, 64, 64, 64, 2, 1]);
    let size = prop::sample::select(vec![0usize, 1, 30, 31, 1400, 1452, 1453, 1460, 4001]);
    let undone = prop_oneof![
        2 => Just(Undone::Nothing),
        3 => Just(Undone::Checksum),
        1 => prop::sample::select(vec![1u16, 500, 1452, 1460, 3000]).prop_map(Undone::Cutting),
    ];
    let spoil = prop::option::weighted(0.2, (0usize..34, 1u8..=255));
    let flow = (0u8..3, 0u16..3, any::<bool>(), any::<bool>());
    let packet = (flow, flags, ttl, size, undone, spoil).prop_map(
        |((inside, port, back, across), flags, ttl, size, undone, spoil)| Step::Packet {
            inside,
            port,
            flags,
            ttl,
            size,
            back,
            across,
            undone,
            spoil,
        },
    );
    prop_oneof![
        30 => packet,
        2 => prop::sample::select(vec![0u16, 1, 59, 61, 301]).prop_map(Step::Pass),
        1 => any::<bool>().prop_map(Step::Redial),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn both_ways_do_the_same(
        steps in prop::collection::vec(step(), 1..150),
        bridged in any::<bool>(),
        plain in any::<bool>(),
        tagged in any::<bool>(),
        offload in any::<bool>(),
    ) {
        let mut settings = if offload { offloading() } else { settings() };
        settings.ports[WAN_PORT.index()].offload = offload;
        if bridged {
            settings.lans[0].ports.push(LAN_PORT_2);
        }
        if plain {
            settings.wans[0].uplink = Uplink::Dhcp;
        }
        if tagged {
            settings.ports[WAN_PORT.index()].vlan = Some(Vlan { id: 6, control_priority: 6 });
        }
        let mut twins = Twins::new(&settings);
        // The external end that each inside end was last seen by.
        let mut externals: Vec<((Ipv4Addr, u16), (Ipv4Addr, u16))> = Vec::new();
        for step in steps {
            match step {
                Step::Packet { inside, port, flags, ttl, size, back, across, undone, spoil } => {
                    let inside = ([HOST, HOST_2, ALICE_IP][usize::from(inside)], 4000 + port);
                    let seen = externals.iter().rev().find(|(end, _)| *end == inside).map(|(_, external)| *external);
                    let (from, to) = match seen {
                        Some(external) if back => ((SERVER, 53), external),
                        _ if across && back => ((VISITOR, 53), inside),
                        _ => (inside, (if across { VISITOR } else { SERVER }, 53)),
                    };
                    let payload = Vec::from_iter(core::iter::repeat_n(7, size));
                    let packet = match flags {
                        Some(flags) => Packet::tcp(from, to, flags, &payload),
                        None => Packet::udp(from, to, &payload),
                    };
                    // Larger than an IP packet on the wire may be, unless it is to be cut.
                    if matches!(undone, Undone::Nothing | Undone::Checksum) && size > 1460 {
                        continue;
                    }
                    let (bytes, offload) = undone.leave(&packet.ttl(ttl));
                    let (port, mut frame) = if from.0 == SERVER {
                        (WAN_PORT, twins.0.on_uplink(ISP, &bytes))
                    } else if from.0 == ALICE_IP {
                        (ACCESS_PORT, Net::pppoe(SessionOwner::Subscriber(ALICE), &bytes))
                    } else if from.0 == VISITOR {
                        (GUEST_PORT, Net::ethernet(port_mac(GUEST_PORT), mac_of(from.0), 0x0800, &bytes))
                    } else {
                        (LAN_PORT, Net::ethernet(port_mac(LAN_PORT), mac_of(from.0), 0x0800, &bytes))
                    };
                    let front = if frame[12..14] == [0x88, 0x64] { 22 } else { 14 };
                    if let Some((at, bits)) = spoil
                        && let Some(octet) = frame.get_mut(at)
                    {
                        *octet ^= bits;
                    }
                    let out = twins.both(|net| net.frame(port, framed(&frame, front, offload)));
                    if let [(At::ISP | At::Beyond(_), bytes)] = &out[..] && from == inside {
                        let external = Ipv4Addr::new(bytes[12], bytes[13], bytes[14], bytes[15]);
                        externals.push((inside, (external, u16::from_be_bytes([bytes[20], bytes[21]]))));
                    }
                }
                Step::Pass(seconds) => {
                    twins.both(|net| net.pass(u64::from(seconds)));
                }
                Step::Redial(same) => {
                    twins.both(|net| {
                        net.wan_down(ISP);
                        net.wan_up(ISP, if same { OURS } else { OURS_LATER });
                        Out::default()
                    });
                }
            }
        }
    }
}
