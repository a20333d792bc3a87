//! The kernel half without the daemon: its programs on a router's devices, and flow tables that are filled by hand.
//!
//! ```text
//!  desk  eth0 ── lan0  router  wan0 ── eth0  far
//!   192.168.1.64/26          PPPoE session 7
//! ```
//!
//! It shows what the programs can do with tables of any size, without the time that it takes to establish the flows.

use aya::maps::xdp::DevMap;
use aya::maps::{Array, HashMap, Map};
use aya::programs::xdp::XdpLinkId;
use aya::programs::{Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader, Pod};
use genkan::fastpath::layout::{
    ADJACENT_XDP, Adjacency, Course, Flow4, Key4, Link, PORT_SLOTS, Port, SessionKey,
};
use genkan::fastpath::table::{self, Table, buckets};
use genkan::fastpath::{OBJECT, SharedMemory};

use super::instrument::{Header, Instrument, Way, must};
use super::peers::{Line, mac, wire};
use crate::netns::{Namespace, veth};

const LAN: u16 = 0;
const WAN: u16 = 1;
const SESSION: [u8; 2] = [0, 7];
const HOST: [u8; 6] = [2, 0, 0, 0, 3, 0];
const CONCENTRATOR: [u8; 6] = [2, 0, 0, 0, 2, 0];
/// The router's address outside.
const OUTSIDE: [u8; 4] = [198, 51, 100, 9];
/// The port outside of the first socket.
const FIRST_OUTSIDE: u16 = 20_000;
const UDP: u8 = 17;
/// The kernel half's program.
const PROGRAM: &str = "genkan_xdp";

/// The router.
pub struct Alone {
    /// The instrument and the namespaces.
    pub line: Line,
    /// The kernel half.
    pub programs: Ebpf,
    /// The program on the LAN's port, and what holds it there.
    lan: Option<(String, XdpLinkId)>,
}

/// What one of the maps takes, as octets.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Raw<T>(T);

// SAFETY: these are plain numbers without gaps, in the C layout.
unsafe impl<T: Copy + 'static> Pod for Raw<T> {}

impl Alone {
    /// A router with so many flows, each in both directions.
    pub fn new(flows: u32) -> Alone {
        Alone::with(OBJECT, flows)
    }

    /// The same with another object that has the kernel half in it.
    pub fn with(object: &[u8], flows: u32) -> Alone {
        let (desk, router, far) = (Namespace::new("desk"), Namespace::new("alone"), Namespace::new("far"));
        wire(&desk, &router);
        veth((&router, "wan0"), (&far, "eth0"));
        let mut instrument = Instrument::load();
        instrument.attach("generate", &desk, "idle0");
        instrument.attach("sink_down", &desk, "eth0");
        instrument.attach("sink_up", &far, "eth0");
        let [lan, wan] = ["lan0", "wan0"].map(|device| mac(&router.fact(device, "address")));
        instrument.aim(Way::Up, &desk, "eth0", Header { destination: lan, source: HOST, session: [0; 2] });
        let header = Header { destination: wan, source: CONCENTRATOR, session: SESSION };
        instrument.aim(Way::Down, &far, "eth0", header);
        instrument.answer_as(|socket| (OUTSIDE, FIRST_OUTSIDE + socket as u16));

        let records = 2 * flows;
        let seed = [0x9e37_79b9_7f4a_7c15_u64, 0xd1b5_4a32_d192_ed03];
        let mut programs = must(
            "load the kernel half",
            EbpfLoader::new()
                .map_max_entries("flows4", records)
                .map_max_entries("index4", buckets(records))
                .map_max_entries("links", 2)
                .map_max_entries("usage", 2)
                .map_max_entries("adjacencies", 2)
                .map_max_entries("sessions", 16)
                .override_global("seed", &seed, true)
                .load(object),
        );
        describe(&mut programs, &router, lan, wan);
        let mut table: Table<Flow4, SharedMemory> =
            Table::new(memory(&programs, "flows4"), memory(&programs, "index4"), seed);
        for flow in 0..flows {
            let (up, down) = directions(flow);
            table.put(2 * flow, &up);
            table.put(2 * flow + 1, &down);
        }
        let program = xdp(&mut programs, PROGRAM);
        must("load the kernel half", program.load());
        let [lan, _] = ["lan0", "wan0"].map(|device| {
            router.inside(|| must("attach the kernel half", program.attach(device, XdpMode::Driver)))
        });
        let lan = Some((PROGRAM.into(), lan));
        Alone { line: Line { instrument, router, desk, far: Some(far) }, programs, lan }
    }

    /// Puts a program of the object's on the LAN's port, in the place of the one that is there.
    pub fn put_on_lan(&mut self, name: &str) {
        let Some((there, link)) = self.lan.take() else { return };
        let link = must("take a program away", xdp(&mut self.programs, &there).take_link(link));
        let program = xdp(&mut self.programs, name);
        if program.fd().is_err() {
            must("load a program", program.load());
        }
        let link = must("put a program in the place of another", program.attach_to_link(link));
        self.lan = Some((name.into(), link));
    }
}

/// Writes all that is not a flow.
fn describe(programs: &mut Ebpf, router: &Namespace, lan: [u8; 6], wan: [u8; 6]) {
    let index = |device: &str| must("read a device's number", router.fact(device, "ifindex").parse::<u32>());
    let devices = [index("lan0"), index("wan0")];
    let mut ports: Array<_, Raw<Port>> = must("use a map", map(programs, "ports").try_into());
    for (number, (ifindex, own)) in devices.into_iter().zip([lan, wan]).enumerate() {
        let number = number as u16;
        let link = if number == LAN { LAN } else { genkan::fastpath::layout::NO_LINK };
        let port = Port { ifindex, number, link, own, pppoe: u8::from(number == WAN), sampled: 0 };
        must("write a port", ports.set(ifindex % PORT_SLOTS, Raw(port), 0));
    }
    let mut sessions: HashMap<_, Raw<SessionKey>, u32> =
        must("use a map", map(programs, "sessions").try_into());
    let session = SessionKey { port: WAN, id: SESSION, peer: CONCENTRATOR, own: wan };
    must("write a session", sessions.insert(Raw(session), u32::from(WAN), 0));
    let mut exits: DevMap<_> = must("use a map", map(programs, "exits").try_into());
    for (number, ifindex) in devices.into_iter().enumerate() {
        router.inside(|| must("name an exit", exits.set(number as u32, ifindex, None, 0)));
    }
    let links = memory(programs, "links");
    for number in 0..2 {
        table::store(&links, number * size_of::<Link>(), &Link { epoch: [1; 2], identity: 0 });
    }
    let adjacencies = memory(programs, "adjacencies");
    let ethernet = [&HOST[..], &lan, &[0x08, 0x00]].concat();
    let pppoe = [&CONCENTRATOR[..], &wan, &[0x88, 0x64, 0x11, 0x00], &SESSION, &[0, 0, 0, 0x21]].concat();
    for (number, (octets, mtu)) in [(ethernet, 1500), (pppoe, 1492)].into_iter().enumerate() {
        let mut header = [0; 22];
        header[..octets.len()].copy_from_slice(&octets);
        let adjacency = Adjacency {
            ifindex: devices[number],
            port: number as u16,
            link: number as u16,
            mtu,
            length: octets.len() as u8,
            flags: ADJACENT_XDP,
            header,
            ..Adjacency::default()
        };
        table::write(&adjacencies, number * size_of::<Adjacency>(), &adjacency);
    }
}

/// Both directions of a flow of the generator's.
fn directions(flow: u32) -> (Flow4, Flow4) {
    let socket = flow % super::instrument::SOCKETS;
    let host = (0xc0a8_0140 + (flow & 63)).to_be_bytes();
    let far = (0xc612_0000 + flow / super::instrument::SOCKETS).to_be_bytes();
    let [inside, outside] =
        [1024 + (socket >> 6) as u16, FIRST_OUTSIDE + socket as u16].map(u16::to_be_bytes);
    let nine = 9_u16.to_be_bytes();
    let course = |adjacency: u16, ingress_port| Course {
        adjacency: u32::from(adjacency),
        ingress_epoch: 1,
        egress_epoch: 1,
        ingress_port,
        ..Course::default()
    };
    let up = Flow4 {
        key: Key4 {
            source: host,
            destination: far,
            ports: [inside, nine],
            link: LAN,
            protocol: UDP,
            zero: 0,
        },
        course: course(WAN, LAN),
        source: OUTSIDE,
        destination: far,
        ports: [outside, nine],
        address_delta: delta(&host, &OUTSIDE),
        port_delta: delta(&inside, &outside),
        ..Flow4::default()
    };
    let down = Flow4 {
        key: Key4 {
            source: far,
            destination: OUTSIDE,
            ports: [nine, outside],
            link: WAN,
            protocol: UDP,
            zero: 0,
        },
        course: course(LAN, WAN),
        source: far,
        destination: host,
        ports: [nine, inside],
        address_delta: delta(&OUTSIDE, &host),
        port_delta: delta(&outside, &inside),
        ..Flow4::default()
    };
    (up, down)
}

/// Change of the sum when these octets become those, as on the wire (RFC 1624).
fn delta(these: &[u8], those: &[u8]) -> [u8; 2] {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(pair[1]);
    let old: u32 = these.chunks(2).map(|pair| 0xffff - word(pair)).sum();
    let sum = old + those.chunks(2).map(word).sum::<u32>();
    let folded = (sum & 0xffff) + (sum >> 16);
    (((folded & 0xffff) + (folded >> 16)) as u16).to_be_bytes()
}

fn xdp<'a>(programs: &'a mut Ebpf, name: &str) -> &'a mut Xdp {
    let program = programs.program_mut(name).unwrap_or_else(|| panic!("the object has no program {name}"));
    must("use the kernel half", program.try_into())
}

fn map<'a>(programs: &'a mut Ebpf, name: &str) -> &'a mut Map {
    programs.map_mut(name).unwrap_or_else(|| panic!("the kernel half has no map {name}"))
}

/// The memory of one of the maps.
fn memory(programs: &Ebpf, name: &str) -> SharedMemory {
    let map = programs.map(name).unwrap_or_else(|| panic!("the kernel half has no map {name}"));
    let Map::Array(data) = map else { panic!("{name} is no array") };
    use std::os::fd::AsFd;
    let info = must("ask about a map", data.info());
    let octets = (info.value_size() as usize).next_multiple_of(8) * info.max_entries() as usize;
    must("map the memory of a map", SharedMemory::map(data.fd().as_fd(), octets))
}
