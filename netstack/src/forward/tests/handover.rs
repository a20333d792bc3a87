//! What is handed over to the kernel half, when it is called back, and what comes of what it has carried.

use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};

use super::ipv6::net::*;
use super::ipv6::packet::Packet6;
use super::net::*;
use super::offload::{large, partial};
use super::packet::{ACK, FIN, Packet, RST, SYN};
use crate::forward::offload::{Carried, Ends, FlowHandle, NextHop, Offload, OffloadedFlow, SWEEP};
use crate::forward::{SessionOwner, Update, Usage};
use crate::frame::Frame;
use crate::id::{Family, Interface, Mac, PortId, Segment};
use crate::settings::{Settings, Transport};
use crate::time::{Duration, Instant};

const WAN_OWNER: SessionOwner = SessionOwner::Wan(ISP);
const TO: (Ipv4Addr, u16) = (SERVER, 443);

fn on(settings: Settings) -> Net {
    let mut net = Net::dual_with(settings);
    net.forwarder.set_offload(true);
    told(&mut net);
    net
}

fn told(net: &mut Net) -> Vec<Offload> {
    core::iter::from_fn(|| net.forwarder.poll_offload()).collect()
}

fn flows(net: &mut Net) -> Vec<OffloadedFlow> {
    let flow = |offload| match offload {
        Offload::Flow(flow) => Some(flow),
        _ => None,
    };
    told(net).into_iter().filter_map(flow).collect()
}

/// A UDP flow of the first host, with both directions handed over; returns what was said of them.
fn udp(net: &mut Net, port: u16) -> [OffloadedFlow; 2] {
    let external = net.map_udp((HOST, port), TO);
    net.map_udp((HOST, port), TO);
    net.wan(Packet::udp(TO, external, b"in")).only(At::Station(HOST));
    net.wan(Packet::udp(TO, external, b"in")).only(At::Station(HOST));
    flows(net).try_into().unwrap()
}

fn end(end: (Ipv4Addr, u16)) -> (IpAddr, u16) {
    (end.0.into(), end.1)
}

fn carried(flow: &OffloadedFlow, last: Instant) -> Carried {
    let &OffloadedFlow { flow, original, ingress_port, .. } = flow;
    Carried { flow, original, ingress_port, packets: 10, last }
}

#[test]
fn a_direction_is_handed_over_when_the_short_way_has_carried_it() {
    let mut net = on(settings());
    let external = net.map_udp((HOST, 4000), TO);
    assert_eq!(told(&mut net), [], "the first packet goes the long way");
    net.map_udp((HOST, 4000), TO);
    let there = OffloadedFlow {
        flow: FlowHandle { family: Family::Ipv4, id: 0 },
        original: true,
        protocol: 17,
        ingress: Interface::Lan(HOME),
        ingress_port: LAN_PORT,
        before: Ends { source: end((HOST, 4000)), destination: end(TO) },
        after: Ends { source: end(external), destination: end(TO) },
        address_delta: net.forwarder.flows.get(0).unwrap().translated.addresses.0.value(),
        port_delta: net.forwarder.flows.get(0).unwrap().translated.ports.0.value(),
        egress: Interface::Wan(ISP),
        egress_port: WAN_PORT,
        next_hop: NextHop::Session,
        mtu: 1492,
    };
    assert_eq!(told(&mut net), [Offload::Flow(there)]);
    for _ in 0..3 {
        net.map_udp((HOST, 4000), TO);
    }
    assert_eq!(told(&mut net), [], "once is enough");

    net.wan(Packet::udp(TO, external, b"in")).only(At::Station(HOST));
    assert_eq!(flows(&mut net).len(), 0, "the station has yet to be asked for");
    net.wan(Packet::udp(TO, external, b"in")).only(At::Station(HOST));
    let [back] = flows(&mut net).try_into().unwrap();
    assert_eq!((back.flow, back.original), (there.flow, false));
    assert_eq!((back.before.source, back.before.destination), (end(TO), end(external)));
    assert_eq!((back.after.source, back.after.destination), (end(TO), end((HOST, 4000))));
    let station = NextHop::Station { address: HOST.into(), station: mac_of(HOST), own: port_mac(LAN_PORT) };
    assert_eq!((back.next_hop, back.egress_port, back.mtu), (station, LAN_PORT, 1500));
    let [summary] = net.forwarder.flows().collect::<Vec<_>>().try_into().unwrap();
    assert_eq!((summary.in_kernel, summary.packets), ((true, true), 7));
}

/// Lesson of the first labs: no direction of a host behind a virtual cable was ever handed over.
#[test]
fn a_sender_that_leaves_checksums_to_its_card_has_its_direction_handed_over() {
    let mut net = on(settings());
    net.lan(Packet::tcp((HOST, 4000), TO, SYN, b"")).only(At::ISP);
    let external = net.lan(Packet::tcp((HOST, 4000), TO, SYN, b"")).only(At::ISP).source;
    net.wan(Packet::tcp(TO, external, SYN | ACK, b"")).only(At::Station(HOST));
    let (bytes, offload) = partial(&Packet::tcp((HOST, 4000), TO, ACK, b""));
    net.lan_offload(&bytes, offload).only(At::ISP);
    assert_eq!(flows(&mut net), [], "this one has opened the connection");
    let (large, cutting) = large(&Packet::tcp((HOST, 4000), TO, ACK, &[1; 4000]), 1000);
    assert_eq!(net.lan_offload(&large, cutting).all(At::ISP).len(), 4);
    assert_eq!(flows(&mut net), [], "the kernel half could not cut it either");
    net.lan_offload(&bytes, offload).only(At::ISP);
    let [there] = flows(&mut net).try_into().unwrap();
    assert_eq!((there.original, there.egress), (true, Interface::Wan(ISP)));
    assert_eq!(net.lan_offload(&large, cutting).all(At::ISP).len(), 4);
    assert_eq!(told(&mut net), [], "and it stays handed over");
}

#[test]
fn a_direction_that_still_comes_this_way_is_handed_over_again_once_a_second() {
    let mut net = on(settings());
    let [there, _] = udp(&mut net, 4000);
    for _ in 0..3 {
        net.pass(1);
        for _ in 0..5 {
            net.map_udp((HOST, 4000), TO);
        }
        assert_eq!(told(&mut net), [Offload::Flow(there)]);
    }
}

#[test]
fn without_a_kernel_half_nothing_is_said_and_a_new_one_hears_of_the_sessions() {
    let mut net = Net::new();
    net.map_udp((HOST, 4000), TO);
    net.map_udp((HOST, 4000), TO);
    assert_eq!(told(&mut net), []);
    net.forwarder.set_offload(true);
    let opened = told(&mut net);
    let alice = SessionOwner::Subscriber(ALICE);
    for (interface, owner) in [(Interface::Wan(ISP), WAN_OWNER), (Interface::Subscriber(ALICE), alice)] {
        assert!(opened.contains(&Offload::SessionOpened { interface, session: peer_of(owner) }));
    }
    assert_eq!(opened.len(), 4);
    net.map_udp((HOST, 4000), TO);
    assert_eq!(flows(&mut net).len(), 1);
    net.forwarder.set_offload(false);
    net.pass(1);
    net.map_udp((HOST, 4000), TO);
    assert_eq!(told(&mut net), []);
    assert_eq!(net.forwarder.flows().next().unwrap().in_kernel, (false, false));
}

#[test]
fn echoes_and_ipv6_are_handed_over_and_other_queries_and_protocols_are_not() {
    let mut net = on(settings());
    for _ in 0..2 {
        let id = net.lan(Packet::ping(HOST, SERVER, 77)).only(At::ISP).source.1;
        net.wan(Packet::pong(SERVER, OURS, id)).only(At::Station(HOST));
        net.lan(Packet::query(HOST, SERVER, 13, 78)).only(At::ISP);
        net.lan6(Packet6::udp((host(), 4000), (server(), 443), b"")).only(ISP6);
        net.wan6(Packet6::udp((server(), 443), (host(), 4000), b"")).only(at(host()));
        net.lan6(Packet6::ping(host(), server(), 5)).only(ISP6);
        net.wan6(Packet6::pong(server(), host(), 5)).only(at(host()));
    }
    let said = |flow: &OffloadedFlow| (flow.flow.family, flow.protocol, flow.original, flow.before.source.1);
    let mut flows: Vec<_> = flows(&mut net).iter().map(said).collect();
    flows.sort_unstable();
    let expected = [
        (Family::Ipv4, 1, false, 8),
        (Family::Ipv4, 1, true, 77),
        (Family::Ipv6, 17, false, 443),
        (Family::Ipv6, 17, true, 4000),
        (Family::Ipv6, 58, false, 128),
        (Family::Ipv6, 58, true, 5),
    ];
    assert_eq!(flows, expected);
    // UDP-Lite has ports as UDP has, and the kernel half does not know it.
    let lite = Packet6 { protocol: 136, ..Packet6::udp((host(), 4001), (server(), 443), b"") };
    for _ in 0..3 {
        net.lan6(lite.clone()).only(ISP6);
    }
    assert_eq!(told(&mut net), []);
}

#[test]
fn a_connection_is_the_kernel_halfs_from_its_handshake_to_its_second_fin() {
    let mut net = on(settings());
    let from = (HOST, 4000);
    let external = net.lan(Packet::tcp(from, TO, SYN, b"")).only(At::ISP).source;
    net.wan(Packet::tcp(TO, external, SYN | ACK, b"")).only(At::Station(HOST));
    net.lan(Packet::tcp(from, TO, ACK, b"")).only(At::ISP);
    assert_eq!(told(&mut net), []);
    net.lan(Packet::tcp(from, TO, ACK, b"data")).only(At::ISP);
    let [there] = flows(&mut net).try_into().unwrap();
    net.lan(Packet::tcp(from, TO, FIN | ACK, b"")).only(At::ISP);
    assert_eq!(told(&mut net), [], "half of it goes on");
    net.wan(Packet::tcp(TO, external, ACK, b"data")).only(At::Station(HOST));
    assert!(matches!(told(&mut net)[..], [Offload::Flow(flow)] if !flow.original));
    net.wan(Packet::tcp(TO, external, FIN | ACK, b"")).only(At::Station(HOST));
    assert_eq!(told(&mut net), [Offload::FlowEnded(there.flow)]);
    net.lan(Packet::tcp(from, TO, ACK, b"")).only(At::ISP);
    assert_eq!(told(&mut net), []);

    // A reset ends it too, and one that was not believed begins it again.
    let from = (HOST, 4001);
    let external = net.lan(Packet::tcp(from, TO, SYN, b"")).only(At::ISP).source;
    net.wan(Packet::tcp(TO, external, SYN | ACK, b"")).only(At::Station(HOST));
    for _ in 0..2 {
        net.lan(Packet::tcp(from, TO, ACK, b"")).only(At::ISP);
    }
    let [there] = flows(&mut net).try_into().unwrap();
    net.wan(Packet::tcp(TO, external, RST, b"")).only(At::Station(HOST));
    assert_eq!(told(&mut net), [Offload::FlowEnded(there.flow)]);
    for _ in 0..2 {
        net.lan(Packet::tcp(from, TO, ACK, b"")).only(At::ISP);
    }
    assert_eq!(flows(&mut net), [there]);
}

#[test]
fn a_flow_in_the_kernel_lives_on_what_is_carried_and_ends_no_sooner_than_it_could_be_known() {
    let timeout = settings().nat.timeouts.udp.as_secs();
    let mut net = on(settings());
    let [there, back] = udp(&mut net, 4000);
    let begun = net.now;
    // Half of the time has passed before the kernel half says that it has carried something.
    net.now += Duration::from_secs(timeout / 2);
    net.forwarder.note_carried(net.now, &carried(&there, net.now));
    let known = net.now;
    // What comes from outside keeps nothing open (RFC 4787 REQ-6).
    net.now += Duration::from_secs(20);
    net.forwarder.note_carried(net.now, &carried(&back, net.now));
    net.pass(timeout - 20 + SWEEP.as_secs());
    assert_eq!(net.forwarder.flow_count(), 1, "{begun} {known} {}", net.now);
    assert_eq!(told(&mut net), []);
    assert_eq!(net.forwarder.flows().next().unwrap().kernel_packets, 20);
    net.pass(1);
    assert_eq!(net.forwarder.flow_count(), 0);
    assert_eq!(told(&mut net), [Offload::FlowEnded(there.flow)]);
    // Nobody's packets are of no use.
    net.forwarder.note_carried(net.now, &carried(&there, net.now));
}

#[test]
fn an_update_calls_back_the_flows_of_its_interface_and_family_alone() {
    let mut net = on(settings());
    let invalid = |interface, family| Offload::Invalidated { interface, family };
    let (alice, wan) = (Interface::Subscriber(ALICE), Interface::Wan(ISP));
    let owner = SessionOwner::Subscriber(ALICE);
    net.apply(Update::SubscriberIpv4Down { subscriber: ALICE });
    assert_eq!(told(&mut net), [invalid(alice, Family::Ipv4)]);
    net.apply(Update::SessionClosed { owner });
    let closed = [
        invalid(alice, Family::Ipv4),
        invalid(alice, Family::Ipv6),
        Offload::SessionClosed { interface: alice },
    ];
    assert_eq!(told(&mut net), closed);
    net.subscriber_up(ALICE, ALICE_IP);
    let opened = Offload::SessionOpened { interface: alice, session: peer_of(owner) };
    let up = told(&mut net);
    assert_eq!(up[up.len() - 2..], [opened, invalid(alice, Family::Ipv4)]);
    net.set_wan6(ISP, Some(wan_ipv6("2001:db8:1::/48")));
    assert_eq!(told(&mut net), [invalid(wan, Family::Ipv6)]);
    net.apply(Update::LanIpv6 { lan: HOME, ipv6: home_ipv6() });
    assert_eq!(told(&mut net), [invalid(Interface::Lan(HOME), Family::Ipv6)]);
    // A session that takes another's place ends that one.
    let usurper = SessionOwner::Subscriber(BOB);
    net.apply(Update::SessionOpened { owner: usurper, session: peer_of(owner) });
    let said = told(&mut net);
    assert!(said.contains(&Offload::SessionClosed { interface: alice }));
    let session = peer_of(owner);
    assert_eq!(said.last(), Some(&Offload::SessionOpened { interface: Interface::Subscriber(BOB), session }));

    // A redial with the same address: the flow goes on, and is handed over again.
    let [there, _] = udp(&mut net, 4000);
    net.wan_down(ISP);
    net.wan_up(ISP, OURS);
    told(&mut net);
    net.pass(1);
    net.map_udp((HOST, 4000), TO);
    assert_eq!(flows(&mut net), [there]);
    // And with another: it has ended.
    net.wan_down(ISP);
    net.wan_up(ISP, OURS_LATER);
    net.pass(1);
    let said = told(&mut net);
    assert!(said.contains(&invalid(wan, Family::Ipv4)) && said.contains(&Offload::FlowEnded(there.flow)));
    assert_eq!(net.forwarder.flow_count(), 0);
}

#[test]
fn a_known_station_that_changes_or_is_lost_is_told_and_a_new_one_is_not() {
    let mut net = on(settings());
    let (segment, address) = (Segment::Lan(HOME), IpAddr::from(HOST));
    let found = |mac| Update::NeighbourFound { segment, address, mac };
    let changed = |station| Offload::StationChanged { segment, address, station };
    let other = Mac([2, 0, 0, 0, 0, 99]);
    net.apply(found(mac_of(HOST)));
    net.apply(found(mac_of(HOST)));
    assert_eq!(told(&mut net), []);
    net.apply(found(other));
    assert_eq!(told(&mut net), [changed(Some(other))]);
    net.apply(Update::NeighbourFailed { segment, address });
    net.apply(Update::NeighbourFailed { segment, address });
    assert_eq!(told(&mut net), [changed(None)]);
    net.apply(found(other));
    net.pass(700);
    assert_eq!(told(&mut net), [changed(None)], "it was silent, and nobody had use of it");
}

fn bridged() -> Settings {
    let mut settings = with_forward(Transport::Tcp, 8443, HOST, 443);
    settings.lans[0].ports = vec![LAN_PORT, LAN_PORT_2];
    settings
}

fn on_lan(packet: &Packet) -> Vec<u8> {
    Net::ethernet(port_mac(LAN_PORT), mac_of(packet.source), 0x0800, &packet.build())
}

#[test]
fn a_station_behind_another_port_is_told_and_one_whose_packets_the_kernel_carries_is_not_forgotten() {
    let mut net = on(bridged());
    let packet = on_lan(&Packet::udp((HOST, 4000), TO, b"out"));
    let from = |net: &mut Net, port| drop(net.frame(port, Frame::from_bytes(&packet)));
    from(&mut net, LAN_PORT);
    net.pass(1);
    from(&mut net, LAN_PORT);
    let [there] = flows(&mut net).try_into().unwrap();
    let external = there.after.source;
    let IpAddr::V4(address) = external.0 else { panic!("IPv4") };
    let answer = Packet::udp(TO, (address, external.1), b"in");
    for _ in 0..2 {
        net.wan(answer.clone());
    }
    assert_eq!(flows(&mut net)[0].egress_port, LAN_PORT);
    // The kernel half carries for an hour; the bridge does not forget the station, nor the router its address.
    for _ in 0..1800 {
        net.pass(2);
        let now = net.now;
        net.forwarder.note_carried(now, &carried(&there, now));
        net.forwarder.note_carried(now, &Carried { original: false, ..carried(&there, now) });
    }
    let known = net.forwarder.lans[0].neighbours.known(HOST.into());
    assert_eq!(known, Some(mac_of(HOST)));
    assert_eq!(net.forwarder.lans[0].bridge.local_port(net.now, mac_of(HOST)), Some(LAN_PORT));
    assert_eq!(told(&mut net), []);
    from(&mut net, LAN_PORT_2);
    let moved = Offload::StationMoved { lan: HOME, station: mac_of(HOST), port: LAN_PORT_2 };
    let said = told(&mut net);
    assert_eq!(said[0], moved);
    assert!(matches!(said[1], Offload::Flow(flow) if flow.ingress_port == LAN_PORT_2));
    // What was carried before it moved moves it not back.
    net.forwarder.note_carried(net.now, &carried(&there, net.now));
    assert_eq!(net.forwarder.lans[0].bridge.local_port(net.now, mac_of(HOST)), Some(LAN_PORT_2));
}

#[test]
fn what_the_kernel_carries_is_a_links_usage_and_a_sign_of_life() {
    let mut net = on(settings());
    let before = net.forwarder.usage(WAN_OWNER).unwrap();
    let sent = Usage { tx_packets: 5, tx_octets: 500, ..Usage::default() };
    net.now += Duration::from_secs(5);
    net.forwarder.note_usage(net.now, Interface::Wan(ISP), sent);
    assert_eq!(net.forwarder.usage(WAN_OWNER).unwrap().last_received, before.last_received);
    let received = Usage { rx_packets: 2, rx_octets: 100, ..Usage::default() };
    net.forwarder.note_usage(net.now, Interface::Wan(ISP), received);
    let usage = net.forwarder.usage(WAN_OWNER).unwrap();
    assert_eq!((usage.last_received, usage.rx_packets, usage.tx_octets), (Some(net.now), 2, 500));
    net.lan(Packet::udp((HOST, 4000), TO, b"")).only(At::ISP);
    let share = net.forwarder.usage_in_kernel(WAN_OWNER).unwrap();
    assert_eq!((share.tx_packets, net.forwarder.usage(WAN_OWNER).unwrap().tx_packets), (5, 6));
    net.forwarder.note_usage(net.now, Interface::Lan(HOME), received);
    assert_eq!(net.forwarder.kernel_usage().rx_packets, 4);
}

#[test]
fn a_flow_that_was_barred_is_called_back_and_stays() {
    let mut net = on(settings());
    let [there, back] = udp(&mut net, 4000);
    net.forwarder.bar(there.flow);
    assert_eq!(told(&mut net), [Offload::FlowEnded(there.flow)]);
    let IpAddr::V4(ours) = back.before.destination.0 else { panic!("IPv4") };
    for _ in 0..3 {
        net.pass(1);
        net.map_udp((HOST, 4000), TO);
        net.wan(Packet::udp(TO, (ours, back.before.destination.1), b"in")).only(At::Station(HOST));
    }
    assert_eq!(told(&mut net), []);
}

#[test]
fn a_rehearsal_says_what_would_come_out_and_leaves_no_trace() {
    let mut net = on(bridged());
    let packet = Packet::udp((HOST, 4000), TO, b"out");
    for _ in 0..2 {
        net.frame(LAN_PORT, Frame::from_bytes(&on_lan(&packet)));
    }
    told(&mut net);
    net.now += Duration::from_secs(2);
    let state = |net: &Net| {
        let flows: Vec<_> = net.forwarder.flows().collect();
        let port = net.forwarder.lans[0].bridge.port(net.now, mac_of(HOST));
        let refreshed = net.forwarder.flows.get(0).map(|flow| flow.refreshed);
        let ways: Vec<bool> = net.forwarder.ports.iter().map(|port| port.way_in.is_some()).collect();
        (flows, port, refreshed, ways, net.forwarder.usage(WAN_OWNER), net.egress.ledger().clone())
    };
    net.apply(Update::LanIpv6 { lan: HOME, ipv6: home_ipv6() });
    told(&mut net);
    let before = state(&net);
    let mut frame = Frame::from_bytes(&on_lan(&packet));
    // As it would be by the other port.
    assert_eq!(net.forwarder.rehearse(net.now, LAN_PORT_2, &mut frame), Some(WAN_PORT));
    assert_eq!(state(&net), before);
    assert_eq!(told(&mut net), []);
    let came = net.frame(LAN_PORT, Frame::from_bytes(&on_lan(&packet))).only(At::ISP);
    let mut expected = Net::pppoe(WAN_OWNER, &came.bytes);
    expected[..12].rotate_left(6);
    assert_eq!(frame.bytes(), &expected[..frame.len()]);
    let mut syn = Frame::from_bytes(&on_lan(&Packet::tcp((HOST, 1), TO, SYN, b"")));
    assert_eq!(net.forwarder.rehearse(net.now, LAN_PORT, &mut syn), None);
}

/// What an earlier run handed over, in an order, to a run that has just begun.
fn adopted(net: &mut Net, flows: &[OffloadedFlow]) -> Vec<Option<FlowHandle>> {
    flows.iter().map(|flow| net.adopt(flow)).collect()
}

#[test]
fn a_flow_of_an_earlier_run_goes_on_by_its_own_port_whichever_direction_comes_first() {
    for turned in [false, true] {
        let mut earlier = on(settings());
        udp(&mut earlier, 3999);
        let mut flows = Vec::from(udp(&mut earlier, 4000));
        let external = flows[0].after.source.1;
        if turned {
            flows.reverse();
        }
        let mut net = on(settings());
        let handles = adopted(&mut net, &flows);
        assert!(handles[0].is_some() && handles[0] == handles[1], "{handles:?}");
        assert_eq!(net.forwarder.flow_count(), 1);
        // Nobody has to be asked for, nothing goes the long way, and the port is what it was.
        net.silent.push(HOST);
        let answer = Packet::udp(TO, (OURS, external), b"in");
        assert_eq!(net.wan(answer).only(At::Station(HOST)).destination, (HOST, 4000));
        assert_eq!(net.map_udp((HOST, 4000), TO), (OURS, external));
        assert_eq!(told(&mut net).len(), 2);
        net.check();
    }
}

#[test]
fn connections_echoes_port_forwards_and_ipv6_are_adopted() {
    let mut earlier = on(bridged());
    let client = (SERVER_2, 5000);
    for _ in 0..2 {
        earlier.wan(Packet::tcp(client, (OURS, 8443), SYN, b""));
        earlier
            .frame(LAN_PORT_2, Frame::from_bytes(&on_lan(&Packet::tcp((HOST, 443), client, SYN | ACK, b""))));
        earlier.wan(Packet::tcp(client, (OURS, 8443), ACK, b""));
        earlier.frame(LAN_PORT_2, Frame::from_bytes(&on_lan(&Packet::ping(HOST_2, SERVER, 9))));
        earlier.subscriber(ALICE, Packet::udp((ALICE_IP, 1), (BOB_IP, 2), b"")).only(At::BOB);
        earlier.lan6(Packet6::udp((host(), 4000), (server(), 443), b""));
        earlier.subscriber6(ALICE, Packet6::ping(alice(), server(), 3));
    }
    let flows = flows(&mut earlier);
    assert_eq!(flows.len(), 5, "{flows:#?}");
    let mut net = on(bridged());
    assert!(adopted(&mut net, &flows).iter().all(Option::is_some));
    net.check();
    // The connection's host answers from behind its port, and is found there without a question.
    net.silent.push(HOST);
    net.wan(Packet::tcp(client, (OURS, 8443), ACK, b"more")).nothing();
    let (port, frame) = net.bridged.last().unwrap();
    assert_eq!((*port, Mac::read(frame)), (LAN_PORT_2, Some(mac_of(HOST))));
    assert_eq!(Packet::tcp(client, (HOST, 443), ACK, b"more").ttl(63).build(), frame[14..]);
}

/// With a kernel half and without one: the next run may have none.
#[test]
fn what_is_left_is_made_again_but_what_ends_with_the_run() {
    let client = (SERVER_2, 5000);
    for with_kernel in [false, true] {
        let mut earlier = if with_kernel { on(bridged()) } else { Net::dual_with(bridged()) };
        for _ in 0..2 {
            earlier.wan(Packet::tcp(client, (OURS, 8443), SYN, b""));
            let answer = Packet::tcp((HOST, 443), client, SYN | ACK, b"");
            earlier.frame(LAN_PORT_2, Frame::from_bytes(&on_lan(&answer)));
            earlier.wan(Packet::tcp(client, (OURS, 8443), ACK, b""));
            earlier.frame(LAN_PORT_2, Frame::from_bytes(&on_lan(&Packet::ping(HOST_2, SERVER, 9))));
            earlier.lan6(Packet6::udp((host(), 4000), (server(), 443), b""));
            // A subscriber's session ends with the run, and a connection that is not open is asked for again.
            earlier.subscriber(ALICE, Packet::udp((ALICE_IP, 1), (BOB_IP, 2), b""));
            let opening = Packet::tcp((HOST, 4001), TO, SYN, b"");
            earlier.frame(LAN_PORT_2, Frame::from_bytes(&on_lan(&opening)));
        }
        let left = earlier.forwarder.left();
        assert_eq!(left.len(), 3, "{left:#?}");
        assert_eq!(left[2].from, Interface::Wan(ISP), "what needs another one's mapping is behind it");

        let mut net = Net::dual_with(bridged());
        assert_eq!(net.adopt_left(&left), [true; 3]);
        assert_eq!(net.adopt_left(&left), [true; 3], "the kernel half's may tell of it, too");
        assert_eq!((net.forwarder.flow_count(), net.forwarder.left()), (3, left.clone()));
        net.wan(Packet::tcp(client, (OURS, 8443), ACK, b"more"));
        net.check();

        let mut other = Net::offline(bridged());
        other.wan_up(ISP, OURS_LATER);
        let before = other.forwarder.mapping_count();
        assert_eq!(other.adopt_left(&left), [false; 3]);
        assert_eq!((other.forwarder.flow_count(), other.forwarder.mapping_count()), (0, before));
    }
}

#[test]
fn a_flow_that_does_not_fit_any_more_is_not_adopted() {
    let mut earlier = on(settings());
    let [there, back] = udp(&mut earlier, 4000);
    for _ in 0..2 {
        earlier.lan6(Packet6::udp((host(), 4000), (server(), 443), b"")).only(ISP6);
    }
    let [six] = flows(&mut earlier).try_into().unwrap();

    let mut other = Net::offline(settings());
    assert_eq!(adopted(&mut other, &[there, back]), [None, None], "the uplink is down");
    other.wan_up(ISP, OURS_LATER);
    assert_eq!(adopted(&mut other, &[there, back]), [None, None], "the address is another");
    assert_eq!((other.forwarder.flow_count(), other.forwarder.mapping_count()), (0, 0));

    let mut taken = on(settings());
    let inside =
        crate::forward::nat::Inside { address: HOST_2, port: 9, protocol: 17, at: Interface::Wan(ISP) };
    taken.forwarder.nat.claim(inside, 0, there.after.source.1).unwrap();
    assert_eq!(adopted(&mut taken, &[back, there]), [None, None], "the port is another's");
    taken.forwarder.nat.release_unused(crate::forward::flow::MappingId::of(0));

    let mut ruled = settings();
    ruled.rules.push(crate::settings::Rule {
        from: None,
        to: None,
        protocol: crate::settings::RuleProtocol::Udp,
        ports: vec![443..=443],
        source: None,
        destination: None,
        action: crate::settings::Action::Drop,
        line: None,
    });
    let mut ruled = on(ruled);
    assert_eq!(adopted(&mut ruled, &[there, six]), [None, None], "a rule forbids it");
    assert_eq!(ruled.forwarder.mapping_count(), 0);

    let mut full = settings();
    full.nat.flows_per_host = 0;
    assert_eq!(adopted(&mut on(full), &[there, six]), [None, None], "the host has its share");

    let mut renumbered = on(settings());
    renumbered.set_wan6(ISP, Some(wan_ipv6("2001:db8:9::/48")));
    assert_eq!(adopted(&mut renumbered, &[six]), [None], "the prefix is not ours");
    let wrong = OffloadedFlow { egress: Interface::Wan(ISP_2), ..there };
    assert_eq!(adopted(&mut on(settings()), &[wrong]), [None], "it would leave by another uplink");
}

mod life;
