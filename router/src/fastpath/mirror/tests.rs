use std::collections::HashMap;
use std::net::Ipv4Addr;

use genkan_netstack::forward::offload::Ends;
use genkan_netstack::id::{Segment, SubscriberId};

use super::super::table::{buckets, local::Local};
use super::super::{adopt, layout};
use super::*;

const LAN: Interface = Interface::Lan(LanId(0));
const WAN: Interface = Interface::Wan(WanId(0));
const LAN_PORT: PortId = PortId(0);
const WAN_PORT: PortId = PortId(1);
const OTHER_LAN_PORT: PortId = PortId(2);
const DESK: Mac = Mac([2, 0, 0, 0, 0, 7]);
const DESK_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 1, 7));
const OWN: Mac = Mac([2, 0, 0, 0, 0, 1]);
const PEER: Mac = Mac([2, 0, 0, 0, 9, 9]);

struct InMemory {
    links: Local,
    adjacencies: Local,
    sessions: HashMap<SessionKey, u32>,
}

impl Maps for InMemory {
    type Memory = Local;

    fn links(&self) -> &Local {
        &self.links
    }

    fn adjacencies(&self) -> &Local {
        &self.adjacencies
    }

    fn add_session(&mut self, session: &SessionKey, link: u32) -> std::io::Result<()> {
        self.sessions.insert(*session, link);
        Ok(())
    }

    fn remove_session(&mut self, session: &SessionKey) {
        self.sessions.remove(session);
    }
}

fn device(ifindex: u32) -> Option<Device> {
    Some(Device { ifindex, xdp: true, tap: false, checksum: true })
}

fn mirror() -> Mirror<InMemory> {
    let maps = InMemory {
        links: Local::new(8 * size_of::<Link>()),
        adjacencies: Local::new(4 * size_of::<Adjacency>()),
        sessions: HashMap::new(),
    };
    let table = |octets: usize| (Local::new(64 * octets), Local::new(buckets(64) as usize * 64));
    let ((flows4, index4), (flows6, index6)) = (table(size_of::<Flow4>()), table(size_of::<Flow6>()));
    Mirror::new(
        maps,
        Table::new(flows4, index4, [1, 2]),
        Table::new(flows6, index6, [1, 2]),
        vec![device(10), device(11), device(12)],
        Links { lans: 1, wans: 1, subscribers: 2 },
        |interface| if interface == LAN { 100 } else { 200 },
    )
}

fn session(id: u16) -> Session {
    Session { port: WAN_PORT, id, local: OWN, peer: PEER }
}

const HANDLE: FlowHandle = FlowHandle { family: Family::Ipv4, id: 3 };

/// From the desk out by the session.
fn upward() -> OffloadedFlow {
    let server = (IpAddr::V4(Ipv4Addr::new(203, 0, 113, 80)), 443);
    OffloadedFlow {
        flow: HANDLE,
        original: true,
        protocol: 6,
        ingress: LAN,
        ingress_port: LAN_PORT,
        before: Ends { source: (DESK_ADDRESS, 51000), destination: server },
        after: Ends { source: (IpAddr::V4(Ipv4Addr::new(100, 64, 0, 1)), 40000), destination: server },
        address_delta: 0x1234,
        port_delta: 0x5678,
        egress: WAN,
        egress_port: WAN_PORT,
        next_hop: NextHop::Session,
        mtu: 1492,
    }
}

/// The way back.
fn downward() -> OffloadedFlow {
    let (before, after) = (upward().after, upward().before);
    let turned = |ends: Ends| Ends { source: ends.destination, destination: ends.source };
    OffloadedFlow {
        original: false,
        ingress: WAN,
        ingress_port: WAN_PORT,
        before: turned(before),
        after: turned(after),
        egress: LAN,
        egress_port: LAN_PORT,
        next_hop: NextHop::Station { address: DESK_ADDRESS, station: DESK, own: OWN },
        mtu: 1500,
        ..upward()
    }
}

fn adjacency_of(mirror: &Mirror<InMemory>, number: u32) -> Option<Adjacency> {
    let flow = mirror.flows4.read(number)?;
    let adjacency: Adjacency = table::load(mirror.maps.adjacencies(), place(flow.course.adjacency));
    adjacency.sequence.is_multiple_of(2).then_some(adjacency)
}

#[test]
fn a_flow_bears_its_links_epochs_and_a_whole_header() {
    let mut mirror = mirror();
    assert!(!mirror.apply(&Offload::Flow(upward())), "there is no session yet");
    assert!(mirror.apply(&Offload::SessionOpened { interface: WAN, session: session(7) }));
    assert_eq!(mirror.maps.sessions.values().collect::<Vec<_>>(), [&1]);
    assert!(mirror.apply(&Offload::Flow(upward())) && mirror.apply(&Offload::Flow(downward())));
    let up = mirror.flows4.read(6).unwrap();
    assert_eq!(
        (up.key.link, up.key.source, up.key.ports),
        (0, [192, 168, 1, 7], [[0xc7, 0x38], [0x01, 0xbb]])
    );
    assert_eq!((up.source, up.ports), ([100, 64, 0, 1], [[0x9c, 0x40], [0x01, 0xbb]]));
    assert_eq!((up.address_delta, up.port_delta), ([0x12, 0x34], [0x56, 0x78]));
    let links: [Link; 2] = [0, 1].map(|n| table::load(mirror.maps.links(), n * size_of::<Link>()));
    assert_eq!((links[0].identity, links[1].identity), (100, 200));
    assert_eq!(
        (up.course.ingress_epoch, up.course.egress_epoch),
        (links[0].epoch[IPV4], links[1].epoch[IPV4])
    );
    let out = adjacency_of(&mirror, 6).unwrap();
    assert_eq!((out.ifindex, out.port, out.link, out.mtu, out.length), (11, 1, 1, 1492, 22));
    assert_eq!(out.header, [2, 0, 0, 0, 9, 9, 2, 0, 0, 0, 0, 1, 0x88, 0x64, 0x11, 0, 0, 7, 0, 0, 0, 0x21]);
    let back = adjacency_of(&mirror, 7).unwrap();
    assert_eq!((back.ifindex, back.length), (10, 14));
    assert_eq!(back.header[..14], [2, 0, 0, 0, 0, 7, 2, 0, 0, 0, 0, 1, 0x08, 0]);
}

#[test]
fn invalidation_bumps_one_family_of_one_link() {
    let mut mirror = mirror();
    let epochs = |mirror: &Mirror<InMemory>| {
        [0, 1].map(|n| table::load::<Link>(mirror.maps.links(), n * size_of::<Link>()).epoch)
    };
    assert_eq!(epochs(&mirror), [[1, 1], [1, 1]]);
    mirror.apply(&Offload::Invalidated { interface: WAN, family: Family::Ipv6 });
    assert_eq!(epochs(&mirror), [[1, 1], [1, 2]]);
    mirror.apply(&Offload::SessionOpened { interface: WAN, session: session(7) });
    mirror.apply(&Offload::SessionClosed { interface: WAN });
    let after = epochs(&mirror);
    assert_eq!(after[0], [1, 1]);
    assert!(after[1][0] > 1 && after[1][1] > 2, "{after:?}");
    assert!(mirror.maps.sessions.is_empty());
}

#[test]
fn subscribers_have_links_of_their_own_that_no_older_flow_fits() {
    let mut mirror = mirror();
    let subscriber = |n| Interface::Subscriber(SubscriberId(n));
    let open = |mirror: &mut Mirror<InMemory>, n: u32| {
        mirror.apply(&Offload::SessionOpened { interface: subscriber(n), session: session(n as u16) })
    };
    assert!(open(&mut mirror, 1) && open(&mut mirror, 2));
    assert!(!open(&mut mirror, 3), "there are two links for subscribers");
    let first = mirror.link_of(subscriber(1)).unwrap();
    let before: Link = table::load(mirror.maps.links(), usize::from(first) * size_of::<Link>());
    mirror.apply(&Offload::SessionClosed { interface: subscriber(1) });
    assert_eq!(mirror.link_of(subscriber(1)), None);
    assert!(open(&mut mirror, 3));
    assert_eq!(mirror.link_of(subscriber(3)), Some(first));
    let after: Link = table::load(mirror.maps.links(), usize::from(first) * size_of::<Link>());
    assert_ne!(before.epoch, after.epoch);
}

#[test]
fn a_station_that_changes_moves_or_is_lost_changes_the_way_out_at_once() {
    let mut mirror = mirror();
    mirror.apply(&Offload::SessionOpened { interface: WAN, session: session(7) });
    mirror.apply(&Offload::Flow(downward()));
    let station = Mac([2, 0, 0, 0, 0, 8]);
    let segment = Segment::Lan(LanId(0));
    let changed = |station| Offload::StationChanged { segment, address: DESK_ADDRESS, station };
    mirror.apply(&changed(Some(station)));
    assert!(adjacency_of(&mirror, 7).unwrap().header.starts_with(&station.0));
    mirror.apply(&Offload::StationMoved { lan: LanId(0), station, port: OTHER_LAN_PORT });
    let moved = adjacency_of(&mirror, 7).unwrap();
    assert_eq!((moved.ifindex, moved.port), (12, 2));
    mirror.apply(&changed(None));
    assert_eq!(adjacency_of(&mirror, 7), None);
    mirror.apply(&Offload::Flow(downward()));
    assert_eq!(adjacency_of(&mirror, 7).map(|adjacency| adjacency.ifindex), Some(10));
}

#[test]
fn a_port_that_loses_its_device_carries_nothing_until_it_has_another() {
    let mut mirror = mirror();
    mirror.apply(&Offload::SessionOpened { interface: WAN, session: session(7) });
    mirror.apply(&Offload::Flow(upward()));
    mirror.set_device(WAN_PORT, None);
    assert_eq!(adjacency_of(&mirror, 6), None);
    mirror.set_device(WAN_PORT, device(42));
    assert_eq!(adjacency_of(&mirror, 6).map(|adjacency| adjacency.ifindex), Some(42));
}

#[test]
fn next_hops_end_with_the_last_flow_that_uses_them() {
    let mut mirror = mirror();
    mirror.apply(&Offload::SessionOpened { interface: WAN, session: session(7) });
    for round in 0..100u32 {
        let mut flow = downward();
        let address = IpAddr::V4(Ipv4Addr::from_bits(0xc0a8_0100 | round));
        flow.next_hop = NextHop::Station { address, station: DESK, own: OWN };
        assert!(mirror.apply(&Offload::Flow(flow)), "round {round}");
        assert_eq!(mirror.len(), 1);
    }
    mirror.apply(&Offload::FlowEnded(HANDLE));
    assert!(mirror.is_empty() && mirror.adjacencies.numbers.is_empty());
}

#[test]
fn what_was_carried_is_told_with_its_time_and_port() {
    let mut mirror = mirror();
    mirror.apply(&Offload::SessionOpened { interface: WAN, session: session(7) });
    mirror.apply(&Offload::Flow(upward()));
    let mut record = mirror.flows4.read(6).unwrap();
    record.course.packets = 5;
    record.course.last = 990;
    let (now, mut cursor, mut told) = (Instant::from_secs(1000), 0, Vec::new());
    mirror.flows4.put(6, &record);
    mirror.carried(now, 1000, &mut cursor, 3, &mut told);
    assert_eq!((cursor, told.len()), (3, 0));
    mirror.carried(now, 1000, &mut cursor, 100, &mut told);
    assert_eq!(cursor, 0);
    let unit = Duration::from_nanos(1 << UNIT_BITS);
    let last = Instant::ZERO + (Duration::from_secs(1000) - unit * 9);
    let expected = Carried { flow: HANDLE, original: true, ingress_port: LAN_PORT, packets: 5, last };
    assert_eq!(told, [expected]);
}

#[test]
fn the_next_program_reads_what_was_handed_over_and_still_holds() {
    let mut mirror = mirror();
    mirror.apply(&Offload::SessionOpened { interface: WAN, session: session(7) });
    mirror.apply(&Offload::Flow(upward()));
    mirror.apply(&Offload::Flow(downward()));
    let ended = FlowHandle { family: Family::Ipv4, id: 9 };
    let mut other = upward();
    (other.flow, other.before.source.1) = (ended, 51001);
    mirror.apply(&Offload::Flow(other));
    mirror.apply(&Offload::FlowEnded(ended));
    let (flows4, flows6) = (mirror.flows4.memory().clone(), mirror.flows6.memory().clone());
    // Its ports have other numbers now.
    let port = |ifindex, number| layout::Port { ifindex, number, ..layout::Port::default() };
    let names = adopt::Names {
        interfaces: HashMap::from([(100, LAN), (200, WAN)]),
        ports: HashMap::from([(10, PortId(5)), (11, PortId(4))]),
    };
    let read = |mirror: &Mirror<InMemory>| {
        let left = adopt::Maps {
            flows4: &flows4,
            flows6: &flows6,
            links: mirror.maps.links(),
            adjacencies: mirror.maps.adjacencies(),
            ports: &[port(10, 0), port(11, 1), port(12, 2)],
        };
        adopt::flows(&left, &names)
    };
    let renumbered = |flow: OffloadedFlow| {
        let number = |port| if port == LAN_PORT { PortId(5) } else { PortId(4) };
        OffloadedFlow {
            ingress_port: number(flow.ingress_port),
            egress_port: number(flow.egress_port),
            ..flow
        }
    };
    assert_eq!(read(&mirror), [renumbered(upward()), renumbered(downward())]);
    mirror.apply(&Offload::Invalidated { interface: WAN, family: Family::Ipv4 });
    assert_eq!(read(&mirror), []);
}
