//! The kernel path: established traffic is carried in the kernel, by the same sessions and flows, with the same rewrites.
//!
//! - `plan` says which port gets which `entry`, and why.
//! - `load` puts the kernel half (`bpf/`) into the kernel, and finds what an earlier run left there (`pins`).
//! - `mirror` keeps its maps (`layout`, `table`) as the Forwarder says; `adopt` reads those of an earlier run.
//! - `sampler` compares a share of what it carries with what user space would have made of it.
//!
//! [`FastPath`] is all of that for the data thread, which has it work between batches.

pub mod adopt;
pub mod entry;
pub mod layout;
pub mod load;
pub mod mirror;
pub mod pins;
pub mod plan;
pub mod sampler;
pub mod table;
mod virtio;

use std::collections::{BTreeMap, HashMap};

use genkan_config::Config;
use genkan_netstack::forward::offload::Carried;
use genkan_netstack::gateway::Gateway;
use genkan_netstack::id::{Interface, LanId, PortId, WanId};
use genkan_netstack::settings::{Lan, Settings, Wan};
use genkan_netstack::time::{Duration, Instant};
use serde::Serialize;
use tracing::{info, warn};

use self::entry::Entry;
use self::layout::{NO_LINK, Port as PortRecord, VERDICTS};
use self::load::{Attached, ELSEWHERE, Kernel, Left, Options, Sizes};
use self::mirror::{Device, Links, Mirror};
use self::pins::Pins;
use self::plan::Planned;
use self::sampler::{Sample, Samples};
use self::table::Table;
use crate::capture::Recorder;
use crate::port::{Miss, Port, Spec};
use crate::sys::random;

pub use crate::sys::bpf::{Arrival, Ran, run};
pub use crate::sys::shared::SharedMemory;

/// Octets at an address that the readers of object files can use.
#[repr(C, align(16))]
struct Aligned<T: ?Sized>(T);

static ALIGNED: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/fastpath.o")));

/// The kernel half as clang built it (`build.rs`): programs `genkan_xdp`, `genkan_ingress` and `genkan_tap`, and their maps.
pub static OBJECT: &[u8] = &ALIGNED.0;

/// Directions of flows that one turn of the data thread looks at.
const SLICE: u32 = 16_384;
/// Time between two looks at what was carried.
const SWEEP: Duration = Duration::from_secs(1);
/// Samples that one turn compares.
const SAMPLES: usize = 64;
/// Packets of a flow between two samples, less one.
const SAMPLE_MASK: u32 = 4095;
/// The part of the free memory that the tables may take.
const MEMORY_PART: u64 = 8;
/// Most next hops.
const ADJACENCIES: u32 = 16_384;
/// Octets of samples that may wait.
const SAMPLE_RING: u32 = 256 << 10;
/// Most subscribers whose sessions the kernel half knows.
const SUBSCRIBERS: u16 = 16_384;

/// The kernel path of a running gateway.
pub struct FastPath {
    mirror: Mirror<Kernel>,
    /// What the kernel half is told of each port; the device's number is filled in.
    records: Vec<PortRecord>,
    ports: Vec<PortFastPath>,
    plan: Vec<Planned>,
    /// Ports by their devices' numbers.
    devices: HashMap<u32, PortId>,
    links: Links,
    samples: Samples,
    /// Directions that could not be handed over.
    refused: u64,
    /// Somebody wants to see every frame.
    paused: bool,
    cursor: u32,
    next_sweep: Instant,
    carried: Vec<Carried>,
}

/// The kernel path as `genkan status` shows it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct FastPathStatus {
    /// Why there is none; `None` when there is one.
    pub off: Option<String>,
    /// What each port has, and why.
    pub ports: Vec<PortFastPath>,
    /// Directions of flows that are handed over.
    pub directions: usize,
    /// Directions that there is room for, of IPv4 and of IPv6.
    pub room: [u32; 2],
    /// Directions that were not handed over for want of room.
    pub refused: u64,
    /// Packets carried in the kernel.
    pub carried: u64,
    /// Packets that the kernel half has handed to user space, by reason.
    pub punted: BTreeMap<&'static str, u64>,
    /// How samples compared.
    pub samples: Samples,
}

/// The kernel path on a port.
#[derive(Debug, Clone, Serialize)]
pub struct PortFastPath {
    /// The port's name in the configuration.
    pub port: String,
    /// By what its frames enter.
    pub entry: Entry,
    /// Why.
    pub why: String,
    /// By which way frames come to user space that XDP does not carry; `None`: there is no XDP.
    pub miss: Option<String>,
}

impl FastPath {
    /// Loads the kernel half, has it go on with what an earlier run left, and attaches it to the ports. The error says why
    /// everything is forwarded in user space.
    pub fn start(
        config: &Config,
        settings: &Settings,
        (plan, pins): (&[Planned], Option<Pins>),
        ports: &mut [(Spec, Port)],
        gateway: &mut Gateway,
        now: Instant,
    ) -> Result<FastPath, String> {
        let state_dir = &config.system.state_dir;
        let links = Links {
            lans: number(settings.lans.len()),
            wans: number(settings.wans.len()),
            subscribers: if settings.concentrators.is_empty() { 0 } else { SUBSCRIBERS },
        };
        let seed = random::<16>().map_err(|error| format!("the kernel gives no randomness: {error}"))?;
        let seed = bytemuck::cast(seed);
        let options = Options { seed, sample_mask: SAMPLE_MASK };
        let (kernel, tables) = Kernel::load(&sizes(settings, links), &options, pins.as_ref())?;
        let mirror = Mirror::new(
            kernel,
            Table::new(tables.flows4, tables.index4, seed),
            Table::new(tables.flows6, tables.index6, seed),
            vec![None; ports.len()],
            links,
            |interface| identity(settings, interface),
        );
        let mut fast_path = FastPath {
            mirror,
            records: records(settings, links),
            ports: plan.iter().map(PortFastPath::from).collect(),
            plan: plan.to_vec(),
            devices: HashMap::new(),
            links,
            samples: Samples::default(),
            refused: 0,
            paused: false,
            cursor: 0,
            next_sweep: now + SWEEP,
            carried: Vec::new(),
        };
        for (number, (_, port)) in (0..).zip(ports.iter()) {
            fast_path.announce(number, port);
        }
        gateway.set_offload(true);
        fast_path.follow(gateway);
        if let Some(left) = Left::open(state_dir) {
            fast_path.adopt(&left, settings, gateway, now);
        }
        for (number, (_, port)) in (0..).zip(ports.iter_mut()) {
            fast_path.attach(number, port);
        }
        if let Err(error) = fast_path.mirror.maps().settle() {
            warn!("what an earlier run left in the kernel cannot be taken away: {error}");
        }
        Ok(fast_path)
    }

    /// Has flows that an earlier run handed over go on.
    fn adopt(&mut self, left: &Left, settings: &Settings, gateway: &mut Gateway, now: Instant) {
        let interfaces = self.mirror.interfaces().into_iter();
        let names = adopt::Names {
            interfaces: interfaces.map(|(interface, _)| (identity(settings, interface), interface)).collect(),
            ports: self.devices.clone(),
        };
        let flows = adopt::flows(&left.maps(), &names);
        let adopted = flows.iter().filter(|flow| gateway.adopt_flow(now, flow).is_some()).count();
        self.follow(gateway);
        info!(
            "of {} directions of flows that the last run carried in the kernel, {adopted} go on",
            flows.len()
        );
    }

    /// What is planned for a port.
    fn wanted(&self, number: u16) -> Entry {
        self.plan.get(usize::from(number)).map(|planned| planned.entry).unwrap_or_default()
    }

    /// The kernel half knows of the port's device.
    fn is_announced(&self, number: u16) -> bool {
        self.devices.values().any(|port| port.0 == number)
    }

    /// Tells the kernel half of a port and its device, before any flow uses it.
    fn announce(&mut self, number: u16, port: &Port) {
        let wanted = self.wanted(number);
        let place = usize::from(number);
        let (Some(record), Some(status)) = (self.records.get_mut(place), self.ports.get_mut(place)) else {
            return;
        };
        let ifindex = port.index().cast_unsigned();
        record.ifindex = ifindex;
        if wanted == Entry::None {
            return;
        }
        if !port.is_here() {
            status.why = ELSEWHERE.into();
            return;
        }
        if let Err(error) = self.mirror.maps().set_port(&shown(record, self.paused)) {
            status.why = error;
            return;
        }
        self.devices.insert(ifindex, PortId(number));
        self.mirror.set_device(PortId(number), device(port, wanted));
    }

    fn attach(&mut self, number: u16, port: &mut Port) {
        let wanted = self.wanted(number);
        if wanted == Entry::None || !self.is_announced(number) {
            return;
        }
        let Attached { entry, why } = self.mirror.maps().attach(number, port, wanted);
        self.mirror.set_device(PortId(number), device(port, entry));
        let miss = self.mirror.maps().miss(number).map(Miss::to_string);
        let place = usize::from(number);
        let (Some(status), Some(planned)) = (self.ports.get_mut(place), self.plan.get(place)) else { return };
        (status.entry, status.miss) = (entry, miss);
        status.why = planned.why.clone();
        if let Some(why) = why {
            warn!("port {}: {why}", status.port);
            status.why = why;
        }
        info!("port {}: established traffic enters the kernel path by {entry}: {}", status.port, status.why);
    }

    /// The port has a device again, or another one.
    pub fn port_opened(&mut self, number: u16, port: &mut Port) {
        self.announce(number, port);
        self.attach(number, port);
    }

    /// The port's device is gone.
    pub fn port_lost(&mut self, number: u16) {
        self.devices.retain(|_, port| port.0 != number);
        self.mirror.set_device(PortId(number), None);
        self.mirror.maps().detach(number);
    }

    /// A tap may be given to another network namespace at any time. Programs that run in one do not reach the other's
    /// devices, so it leaves the kernel path until it is back.
    pub fn look_for(&mut self, number: u16, port: &mut Port) {
        if self.wanted(number) == Entry::None {
            return;
        }
        match (self.is_announced(number), port.is_here()) {
            (true, false) => {
                self.port_lost(number);
                let Some(status) = self.ports.get_mut(usize::from(number)) else { return };
                (status.entry, status.why) = (Entry::None, ELSEWHERE.into());
                info!("port {}: its traffic leaves the kernel path: {ELSEWHERE}", status.port);
            }
            (false, true) => self.port_opened(number, port),
            _ => {}
        }
    }

    /// While a capture runs everything goes through user space, where frames are shown. Flows stay handed over.
    pub fn pause(&mut self, paused: bool) {
        if self.paused == paused {
            return;
        }
        self.paused = paused;
        for (_, port) in self.devices.clone() {
            let Some(record) = self.records.get(port.index()) else { continue };
            let record = shown(record, paused);
            if let Err(error) = self.mirror.maps().set_port(&record) {
                warn!("the kernel path does not heed that a capture begins or ends: {error}");
            }
        }
    }

    /// Does what the gateway has to say since the last call.
    pub fn follow(&mut self, gateway: &mut Gateway) {
        while let Some(offload) = gateway.poll_offload() {
            if !self.mirror.apply(&offload) {
                self.refused += 1;
            }
        }
    }

    /// When [`FastPath::look`] wants to be called.
    pub fn poll_timeout(&self) -> Instant {
        self.next_sweep
    }

    /// Tells the gateway what was carried, when it is time, compares samples, and shows them to whoever captures.
    pub fn look(&mut self, now: Instant, gateway: &mut Gateway, recorder: &mut Recorder) {
        let (samples, devices) = (&mut self.samples, &self.devices);
        self.mirror.maps().samples(SAMPLES, |record| {
            if let Some(sample) = Sample::read(record) {
                samples.compare(&sample, gateway, now, devices);
                if !recorder.is_idle() {
                    sample.show(devices, recorder);
                }
            }
        });
        if now >= self.next_sweep {
            self.mirror.carried(now, coarse_time(), &mut self.cursor, SLICE, &mut self.carried);
            for carried in self.carried.drain(..) {
                gateway.note_carried(now, &carried);
            }
            if self.cursor == 0 {
                self.tell_usage(now, gateway);
                self.next_sweep = now + SWEEP;
            }
        }
        self.follow(gateway);
    }

    fn tell_usage(&mut self, now: Instant, gateway: &mut Gateway) {
        let total = u32::from(self.links.total());
        let Ok(usage) = self.mirror.maps().usage(total) else { return };
        for (interface, link) in self.mirror.interfaces() {
            let total = usage.get(usize::from(link)).copied().unwrap_or_default();
            if let Some(new) = self.mirror.used(link, total) {
                gateway.note_usage(now, interface, new);
            }
        }
    }

    /// What `genkan status` shows. The gateway is told what was carried up to now, so that its own status has it.
    pub fn status(&mut self, now: Instant, gateway: &mut Gateway) -> FastPathStatus {
        self.tell_usage(now, gateway);
        let verdicts = self.mirror.maps().verdicts().unwrap_or_default();
        let [carried, ..] = verdicts;
        let punted = VERDICTS.into_iter().zip(verdicts).skip(1).filter(|(_, count)| *count > 0);
        FastPathStatus {
            off: None,
            ports: self.ports.clone(),
            directions: self.mirror.len(),
            room: self.mirror.room(),
            refused: self.refused,
            carried,
            punted: punted.collect(),
            samples: self.samples,
        }
    }

    /// Lets the kernel half go on without us, also when a capture was running.
    pub fn leave(mut self) {
        self.pause(false);
        self.mirror.into_maps().leave();
    }
}

impl FastPathStatus {
    /// That of a gateway without one.
    pub fn off(why: String, plan: &[Planned]) -> FastPathStatus {
        let ports = plan.iter().map(PortFastPath::from).collect();
        FastPathStatus { off: Some(why), ports, ..FastPathStatus::default() }
    }
}

/// Until its programs are attached.
impl From<&Planned> for PortFastPath {
    fn from(planned: &Planned) -> PortFastPath {
        let Planned { port, why, .. } = planned.clone();
        PortFastPath { port, entry: Entry::None, why, miss: None }
    }
}

/// A port as the kernel half sees it: while it is paused, no frame is its.
fn shown(record: &PortRecord, paused: bool) -> PortRecord {
    match paused {
        true => PortRecord { link: NO_LINK, pppoe: 0, ..*record },
        false => *record,
    }
}

/// What the mirror needs to know of a port's device.
fn device(port: &Port, entry: Entry) -> Option<Device> {
    if entry == Entry::None {
        return None;
    }
    let (ifindex, tap) = (port.index().cast_unsigned(), matches!(port, Port::Tap(_)));
    Some(Device { ifindex, xdp: entry.xdp(), tap, checksum: port.completes_checksums() })
}

/// How much the maps are to hold: every direction of as many flows as the Forwarder may have, within a part of the free
/// memory. Of IPv6 it is half as many, for a house's traffic is of both versions, and what there is no room for goes through
/// user space.
fn sizes(settings: &Settings, links: Links) -> Sizes {
    let room = free_memory() / MEMORY_PART;
    let octets = |records: u32| {
        let index = size_of::<u32>() * 2;
        let (four, six) = (size_of::<layout::Flow4>() + index, size_of::<layout::Flow6>() + index);
        u64::from(records) * four as u64 + u64::from(records / 2) * six as u64
    };
    let mut records = settings.nat.flows.saturating_mul(2).clamp(1024, (1 << layout::NUMBER_BITS) - 1);
    while octets(records) > room && records > 1024 {
        records /= 2;
    }
    let sessions = u32::from(links.wans).saturating_add(u32::from(links.subscribers)).max(1);
    Sizes {
        flows4: records,
        flows6: records / 2,
        links: u32::from(links.total()).max(1),
        adjacencies: ADJACENCIES,
        sessions,
        samples: SAMPLE_RING,
    }
}

/// Octets of memory that are free for use; where the kernel does not say, as if there were a gigabyte.
fn free_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kilobytes = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(1 << 20) << 10
}

/// What the kernel half is told of each port.
fn records(settings: &Settings, links: Links) -> Vec<PortRecord> {
    let record = |(port, of): (u16, &genkan_netstack::settings::Port)| {
        let id = PortId(port);
        let lan = (0u16..).zip(&settings.lans).find(|(_, lan)| lan.ports.contains(&id));
        let segment = (0u16..).zip(&settings.wans).find(|(_, wan)| wan.port == id && wan.is_segment());
        let (link, own) = match (lan, segment) {
            (Some((link, lan)), _) => (link, lan_mac(settings, lan)),
            (None, Some((wan, _))) => (links.lans.saturating_add(wan), of.mac.0),
            (None, None) => (NO_LINK, [0; 6]),
        };
        let dials = settings.wans.iter().any(|wan: &Wan| wan.port == id && !wan.is_segment());
        let serves = settings.concentrators.iter().any(|concentrator| concentrator.port == id);
        PortRecord { ifindex: 0, number: port, link, own, pppoe: u8::from(dials || serves), sampled: 1 }
    };
    (0u16..).zip(&settings.ports).map(record).collect()
}

/// The router's address on a LAN: that of its first port.
fn lan_mac(settings: &Settings, lan: &Lan) -> [u8; 6] {
    let first = lan.ports.first().and_then(|port| settings.ports.get(port.index()));
    first.map(|port| port.mac.0).unwrap_or_default()
}

/// What tells an interface's link from others, in this run and the next.
fn identity(settings: &Settings, interface: Interface) -> u64 {
    match interface {
        Interface::Lan(LanId(lan)) => {
            settings.lans.get(usize::from(lan)).map_or(0, |lan| adopt::identity("lan", &lan.name))
        }
        Interface::Wan(WanId(wan)) => {
            settings.wans.get(usize::from(wan)).map_or(0, |wan| adopt::identity("wan", &wan.name))
        }
        Interface::Subscriber(_) | Interface::Vpn(_) | Interface::Router => 0,
    }
}

/// The kernel half's time now.
fn coarse_time() -> u32 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
    let nanoseconds = now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned();
    (nanoseconds >> mirror::UNIT_BITS) as u32
}

fn number(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}
