//! The kernel half in the kernel: its maps and programs, attached to ports, pinned so that they outlive the program.
//!
//! [`Kernel::load`] makes maps and loads the programs, in a generation of pins of its own. [`Kernel::attach`] puts them on
//! the ports one by one: in the place of what an earlier run left there, between two frames, or anew.
//! [`Kernel::settle`] ends the earlier run: what it left is taken away. From then on [`Left::open`] finds this run.
//! [`Kernel::leave`] lets everything go on without us; dropping the kernel half instead takes it away.
//!
//! Nothing here fails a start: an error is a sentence that says why frames stay in user space.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::path::{Path, PathBuf};

use aya::maps::{Array, DevMap, HashMap as HashMapMap, Map, MapData, PerCpuArray, RingBuf, XskMap};
use aya::programs::{Program, ProgramError};
use aya::{Ebpf, EbpfLoader};
use genkan_netstack::forward::Usage;
use tracing::warn;

use super::entry::Entry;
use super::layout::{
    Adjacency, Flow4, Flow6, Link as LinkRecord, PORT_SLOTS, Port as PortRecord, QUEUES, SessionKey, VERDICTS,
};
use super::mirror;
use super::pins::{FILE_SYSTEM, Pins, pinned_or_new, remove_file};
use super::plan::Planned;
use super::table::buckets;
use super::{OBJECT, SharedMemory, adopt};
use crate::port::{Miss, Port, Spec};
use crate::sys::bpf::{self, Arrival, Hook, Link, Ran};

/// The maps of the kernel half.
const MAPS: [&str; 13] = [
    "ports",
    "sessions",
    "links",
    "adjacencies",
    "flows4",
    "flows6",
    "index4",
    "index6",
    "usage",
    "verdicts",
    "exits",
    "sockets",
    "samples",
];
const XDP: &str = "genkan_xdp";
const INGRESS: &str = "genkan_ingress";
const TAP: &str = "genkan_tap";
/// Octets of a bucket.
const BUCKET_OCTETS: usize = 4 * super::layout::BUCKET;

/// Why a port has no entry whose device this process has given away.
pub const ELSEWHERE: &str = "its device is in another network namespace";

/// How much the maps hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Records of IPv4 flows: one a direction.
    pub flows4: u32,
    /// Records of IPv6 flows.
    pub flows6: u32,
    /// Links.
    pub links: u32,
    /// Adjacencies.
    pub adjacencies: u32,
    /// PPPoE sessions.
    pub sessions: u32,
    /// Octets of samples that may wait.
    pub samples: u32,
}

/// How the programs work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Seed of the flow tables' hash.
    pub seed: [u64; 2],
    /// Packets of a flow between two samples, less one: a power of two less one.
    pub sample_mask: u32,
}

/// The memory of the flow tables.
#[derive(Debug)]
pub struct Tables {
    /// Directions of IPv4 flows.
    pub flows4: SharedMemory,
    /// Directions of IPv6 flows.
    pub flows6: SharedMemory,
    /// Where IPv4 flows are found.
    pub index4: SharedMemory,
    /// Where IPv6 flows are found.
    pub index6: SharedMemory,
}

/// How a port was attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// By what its frames enter.
    pub entry: Entry,
    /// Why that is less than what was planned.
    pub why: Option<String>,
}

/// The kernel half, loaded. Dropping it takes it away, unless [`Kernel::leave`] was called.
pub struct Kernel {
    programs: Ebpf,
    ports: Array<MapData, [u8; size_of::<PortRecord>()]>,
    sessions: HashMapMap<MapData, [u8; size_of::<SessionKey>()], u32>,
    exits: DevMap<MapData>,
    sockets: XskMap<MapData>,
    usage: MapData,
    verdicts: PerCpuArray<MapData, u64>,
    samples: RingBuf<MapData>,
    links: SharedMemory,
    adjacencies: SharedMemory,
    pins: Option<(Pins, PathBuf)>,
    /// Links of a port and where they are pinned, by its number.
    attached: HashMap<u16, Attachment>,
    left: bool,
}

#[derive(Debug)]
struct Attachment {
    index: i32,
    links: Vec<(Link, Option<PathBuf>)>,
    miss: Option<Miss>,
}

impl Kernel {
    /// Makes the maps and loads the programs. With `pins` they outlive this process. The error is a sentence.
    pub fn load(sizes: &Sizes, options: &Options, pins: Option<&Pins>) -> Result<(Kernel, Tables), String> {
        allow_memory();
        let mut programs = EbpfLoader::new()
            .map_max_entries("flows4", sizes.flows4)
            .map_max_entries("flows6", sizes.flows6)
            .map_max_entries("index4", buckets(sizes.flows4))
            .map_max_entries("index6", buckets(sizes.flows6))
            .map_max_entries("links", sizes.links)
            .map_max_entries("usage", sizes.links)
            .map_max_entries("adjacencies", sizes.adjacencies)
            .map_max_entries("sessions", sizes.sessions)
            .map_max_entries("samples", sizes.samples)
            .override_global("seed", &options.seed, true)
            .override_global("sample_mask", &options.sample_mask, true)
            .load(OBJECT)
            .map_err(|error| refused(&error))?;
        for name in [XDP, INGRESS, TAP] {
            load_program(&mut programs, name).map_err(|error| refused(&error))?;
        }
        let pins = match pins {
            Some(pins) => Some((pins.clone(), pin(&mut programs, pins)?)),
            None => None,
        };
        let built = Kernel::assemble(programs, sizes, pins.clone());
        if let (Err(_), Some((pins, generation))) = (&built, pins) {
            discard(&pins, &generation);
        }
        built
    }

    fn assemble(
        mut programs: Ebpf,
        sizes: &Sizes,
        pins: Option<(Pins, PathBuf)>,
    ) -> Result<(Kernel, Tables), String> {
        let mut take = |name: &str| {
            programs.take_map(name).ok_or_else(|| format!("the kernel half has no map `{name}`"))
        };
        let tables = Tables {
            flows4: shared(&take("flows4")?, sizes.flows4, size_of::<Flow4>())?,
            flows6: shared(&take("flows6")?, sizes.flows6, size_of::<Flow6>())?,
            index4: shared(&take("index4")?, buckets(sizes.flows4), BUCKET_OCTETS)?,
            index6: shared(&take("index6")?, buckets(sizes.flows6), BUCKET_OCTETS)?,
        };
        let links = shared(&take("links")?, sizes.links, size_of::<LinkRecord>())?;
        let adjacencies = shared(&take("adjacencies")?, sizes.adjacencies, size_of::<Adjacency>())?;
        let ports = typed("ports", Array::try_from(take("ports")?))?;
        let sessions = typed("sessions", HashMapMap::try_from(take("sessions")?))?;
        let exits = typed("exits", DevMap::try_from(take("exits")?))?;
        let sockets = typed("sockets", XskMap::try_from(take("sockets")?))?;
        let verdicts = typed("verdicts", PerCpuArray::try_from(take("verdicts")?))?;
        let samples = typed("samples", RingBuf::try_from(take("samples")?))?;
        let Map::PerCpuArray(usage) = take("usage")? else {
            return Err("the kernel half's map `usage` is of another kind".into());
        };
        let kernel = Kernel {
            programs,
            ports,
            sessions,
            exits,
            sockets,
            usage,
            verdicts,
            samples,
            links,
            adjacencies,
            pins,
            attached: HashMap::new(),
            left: false,
        };
        Ok((kernel, tables))
    }

    /// Tells it of a port. The error says that another port is in its place.
    pub fn set_port(&mut self, record: &PortRecord) -> Result<(), String> {
        let slot = record.ifindex % PORT_SLOTS;
        let there = self.port_at(slot);
        if there.ifindex != 0 && there.ifindex != record.ifindex {
            return Err("its device's number and that of another port do not go together".into());
        }
        self.ports.set(slot, bytemuck::cast::<_, [u8; _]>(*record), 0).map_err(|error| refused(&error))
    }

    /// Puts the programs on a port, as wanted or, where that fails, as far as it goes. `number` is the port's in
    /// `exits`. What an earlier run left there is replaced.
    pub fn attach(&mut self, number: u16, port: &mut Port, wanted: Entry) -> Attached {
        let mut why = None;
        let mut entry = wanted;
        let index = port.index();
        if !port.is_here() {
            return Attached { entry: Entry::None, why: Some(ELSEWHERE.into()) };
        }
        if self.pins.is_none() || self.attached.get(&number).is_some_and(|old| old.index != index) {
            self.detach(number);
        }
        let mut links = Vec::new();
        if wanted.xdp() {
            let exit = self.set_exit(number, index.cast_unsigned()).map_err(|error| refused(&error));
            match exit.and_then(|()| self.hook(index, XDP, Hook::Xdp, "xdp")) {
                Ok(link) => links.push(link),
                Err(error) => {
                    why = Some(format!("native XDP is refused ({error})"));
                    // The frames that XDP would have carried may still be carried a little later.
                    entry = Entry::Tc;
                }
            }
        }
        if entry.tc() {
            let attached = match port {
                Port::Tap(_) => self.hook(index, TAP, Hook::Egress, "tap").map(|link| links.push(link)),
                _ => self.classify(port),
            };
            if let Err(error) = attached {
                why = Some(why.map_or_else(|| error.clone(), |xdp| format!("{xdp}; {error}")));
                entry = if links.is_empty() { Entry::None } else { Entry::Xdp };
            }
        }
        if !entry.tc() {
            port.without_entry();
        }
        let miss = entry.xdp().then(|| self.choose_miss(number, port));
        self.attached.insert(number, Attachment { index, links, miss });
        Attached { entry, why }
    }

    /// By which way the frames of a port come that XDP does not carry; `None`: there is no XDP.
    pub fn miss(&self, number: u16) -> Option<&Miss> {
        self.attached.get(&number)?.miss.as_ref()
    }

    fn choose_miss(&mut self, number: u16, port: &mut Port) -> Miss {
        let miss = port.choose_miss();
        for (queue, socket) in (0..).zip(port.xdp_sockets()) {
            if let Err(error) = self.set_socket(number, queue, socket) {
                // Nothing comes by it then; the kernel half finds no socket and passes frames on to the packet socket.
                return Miss::PacketSocket(format!(
                    "the kernel half does not take the AF_XDP sockets ({error})"
                ));
            }
        }
        miss
    }

    /// Puts the ingress program on a card, where its guard is.
    fn classify(&self, port: &mut Port) -> Result<(), String> {
        let Port::Nic(nic) = port else { return Err("it is no device".into()) };
        let program = self.program(INGRESS)?;
        nic.set_classifier(Some(program)).map_err(|error| format!("its ingress cannot be used ({error})"))
    }

    /// Attaches a program, or puts it in the place of the one that a link left by an earlier run has.
    fn hook(
        &self,
        index: i32,
        program: &str,
        hook: Hook,
        what: &str,
    ) -> Result<(Link, Option<PathBuf>), String> {
        let program = self.program(program)?;
        let Some((pins, _)) = &self.pins else {
            let link = Link::create(program, index, hook).map_err(|error| error.to_string())?;
            return Ok((link, None));
        };
        let path = pins.link(index, what).map_err(|error| error.to_string())?;
        let link = pinned_or_new(program, index, hook, &path).map_err(|error| error.to_string())?;
        Ok((link, Some(path)))
    }

    fn program(&self, name: &str) -> Result<BorrowedFd<'_>, String> {
        let program =
            self.programs.program(name).ok_or_else(|| format!("the kernel half has no program `{name}`"))?;
        program.fd().map(|fd| fd.as_fd()).map_err(|error| error.to_string())
    }

    /// Lets XDP send by a device that is port `number`'s. [`Kernel::attach`] does so for a port with XDP.
    pub fn set_exit(&mut self, number: u16, device: u32) -> io::Result<()> {
        self.exits.set(number.into(), device, None, 0).map_err(io::Error::other)
    }

    /// What it would make of a frame that came in by a device of this network namespace: it is written to `after`. Flows
    /// and links count it.
    pub fn rehearse(&self, arrival: Arrival, frame: &[u8], after: &mut [u8]) -> io::Result<Ran> {
        let name = match arrival {
            Arrival::Xdp(_) => XDP,
            Arrival::Classifier(_) => INGRESS,
        };
        bpf::run(self.program(name).map_err(io::Error::other)?, arrival, frame, after, 1)
    }

    /// Takes the programs off a port whose device is gone. The kernel takes the device out of `exits` itself.
    pub fn detach(&mut self, number: u16) {
        let Some(attachment) = self.attached.remove(&number) else { return };
        for path in attachment.links.iter().filter_map(|(_, path)| path.as_deref()) {
            unpin(path);
        }
        let index = attachment.index.cast_unsigned();
        let slot = index % PORT_SLOTS;
        if self.port_at(slot).ifindex == index {
            // An array's element can always be written.
            let _ = self.ports.set(slot, [0; _], 0);
        }
    }

    fn port_at(&self, slot: u32) -> PortRecord {
        self.ports.get(&slot, 0).map_or_else(|_| PortRecord::default(), bytemuck::cast)
    }

    /// Ends the earlier run whose flows were taken over: what it left attached, and its maps, go. From now on it is this
    /// run's that [`Left::open`] finds. Call it when every port is attached.
    pub fn settle(&mut self) -> io::Result<()> {
        let Some((pins, generation)) = &self.pins else { return Ok(()) };
        let ours: Vec<&PathBuf> = self
            .attached
            .values()
            .flat_map(|port| &port.links)
            .filter_map(|(_, path)| path.as_ref())
            .collect();
        for path in pins.links() {
            // Guards are the ports' own.
            let program = ["-xdp", "-tap"].iter().any(|end| path.to_string_lossy().ends_with(end));
            if program && !ours.contains(&&path) {
                remove_file(&path)?;
            }
        }
        pins.turn_over(generation)
    }

    /// Lets it go on carrying when it is dropped.
    pub fn leave(mut self) {
        self.left = true;
    }

    /// An AF_XDP socket gets what the kernel half does not carry of a receive queue.
    pub fn set_socket(&mut self, number: u16, queue: u32, socket: BorrowedFd<'_>) -> io::Result<()> {
        let key = u32::from(number) * QUEUES + queue;
        self.sockets.set(key, socket.as_raw_fd(), 0).map_err(io::Error::other)
    }

    /// What the first `count` links have carried since they were made.
    pub fn usage(&self, count: u32) -> io::Result<Vec<Usage>> {
        let links = bpf::read_per_cpu(self.usage.fd().as_fd(), count)?;
        let total = |processors: &Vec<Vec<u64>>| {
            let sum = |member: usize| {
                processors
                    .iter()
                    .filter_map(|words| words.get(member))
                    .fold(0u64, |sum, n| sum.wrapping_add(*n))
            };
            Usage {
                rx_packets: sum(0),
                rx_octets: sum(1),
                tx_packets: sum(2),
                tx_octets: sum(3),
                last_received: None,
            }
        };
        Ok(links.iter().map(total).collect())
    }

    /// Frames by what became of them, in the order of [`VERDICTS`].
    pub fn verdicts(&self) -> io::Result<[u64; VERDICTS.len()]> {
        let mut verdicts = [0; VERDICTS.len()];
        for (key, verdict) in (0u32..).zip(&mut verdicts) {
            let values = self.verdicts.get(&key, 0).map_err(io::Error::other)?;
            *verdict = values.iter().fold(0u64, |sum, n| sum.wrapping_add(*n));
        }
        Ok(verdicts)
    }

    /// Shows the samples that have come, at most `max`: each is a `struct sample`.
    pub fn samples(&mut self, max: usize, mut show: impl FnMut(&[u8])) {
        for _ in 0..max {
            let Some(sample) = self.samples.next() else { return };
            show(&sample);
        }
    }
}

impl mirror::Maps for Kernel {
    type Memory = SharedMemory;

    fn links(&self) -> &SharedMemory {
        &self.links
    }

    fn adjacencies(&self) -> &SharedMemory {
        &self.adjacencies
    }

    fn add_session(&mut self, session: &SessionKey, link: u32) -> io::Result<()> {
        let key: [u8; _] = bytemuck::cast(*session);
        self.sessions.insert(key, link, 0).map_err(io::Error::other)
    }

    fn remove_session(&mut self, session: &SessionKey) {
        let key: [u8; _] = bytemuck::cast(*session);
        // It may never have been added: the map was full.
        let _ = self.sessions.remove(&key);
    }
}

impl std::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kernel")
            .field("pins", &self.pins)
            .field("attached", &self.attached)
            .finish_non_exhaustive()
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        if self.left {
            return;
        }
        for number in self.attached.keys().copied().collect::<Vec<_>>() {
            self.detach(number);
        }
        if let Some((pins, generation)) = &self.pins {
            discard(pins, generation);
        }
    }
}

/// What an earlier run left pinned: it goes on carrying until the next run has settled.
#[derive(Debug)]
pub struct Left {
    flows4: SharedMemory,
    flows6: SharedMemory,
    links: SharedMemory,
    adjacencies: SharedMemory,
    ports: Vec<PortRecord>,
}

impl Left {
    /// What the last run with this state directory left; `None` when it left nothing, or maps of another layout.
    pub fn open(state_dir: &Path) -> Option<Left> {
        let folder = Pins::find(state_dir)?.current()?;
        match Left::read(&folder) {
            Ok(left) => Some(left),
            Err(error) => {
                warn!("{}: what an earlier run left cannot be read: {error}", folder.display());
                None
            }
        }
    }

    fn read(folder: &Path) -> Result<Left, String> {
        let memory = |name: &str, octets: usize| {
            let map = MapData::from_pin(folder.join(name)).map_err(|error| error.to_string())?;
            let info = map.info().map_err(|error| error.to_string())?;
            if info.value_size() as usize != octets {
                return Err(format!("`{name}` is not what it should be"));
            }
            map_memory(&map, info.max_entries(), octets)
        };
        let ports = MapData::from_pin(folder.join("ports"))
            .and_then(Map::from_map_data)
            .and_then(Array::<_, [u8; size_of::<PortRecord>()]>::try_from)
            .map_err(|error| error.to_string())?;
        let ports =
            ports.iter().flatten().map(bytemuck::cast::<_, PortRecord>).filter(|port| port.ifindex != 0);
        Ok(Left {
            flows4: memory("flows4", size_of::<Flow4>())?,
            flows6: memory("flows6", size_of::<Flow6>())?,
            links: memory("links", size_of::<LinkRecord>())?,
            adjacencies: memory("adjacencies", size_of::<Adjacency>())?,
            ports: ports.collect(),
        })
    }

    /// The maps, to be read.
    pub fn maps(&self) -> adopt::Maps<'_, SharedMemory> {
        adopt::Maps {
            flows4: &self.flows4,
            flows6: &self.flows6,
            links: &self.links,
            adjacencies: &self.adjacencies,
            ports: &self.ports,
        }
    }
}

/// Takes away all that runs with this state directory have left in the kernel; flows that it carried end. It is no error
/// when there is nothing. Cards and taps are put back by [`crate::port::restore`].
pub fn flush(state_dir: &Path) -> io::Result<()> {
    Pins::find(state_dir).map_or(Ok(()), |pins| pins.remove())
}

/// Tells the ports that are to be opened what is planned for them, and where to pin what is to outlive this process; the
/// result is where the maps go, `None` when they cannot outlive it. Where nothing is planned, what an earlier run left is
/// taken away.
pub fn prepare(plan: &[Planned], specs: &mut [Spec], state_dir: &Path) -> Option<Pins> {
    for Planned { port, why, .. } in plan.iter().filter(|planned| planned.denied) {
        warn!("port {port}: there is no XDP: {why}");
    }
    if plan.iter().all(|planned| planned.entry == Entry::None) {
        if let Err(error) = flush(state_dir) {
            warn!("what an earlier run left in the kernel cannot be taken away: {error}");
        }
        return None;
    }
    let pins = Pins::make(state_dir)
        .inspect_err(|error| warn!("the kernel path will not outlive the program: {FILE_SYSTEM}: {error}"))
        .ok();
    for (spec, planned) in specs.iter_mut().zip(plan) {
        spec.entry = planned.entry;
        spec.pins = pins.clone();
    }
    pins
}

/// Everything goes to user space: what an earlier run left at the open ports is taken off, and its maps go. For when the
/// kernel half cannot be loaded.
pub fn give_up<'a>(ports: impl Iterator<Item = &'a mut Port>, state_dir: &Path) {
    for port in ports {
        port.without_entry();
    }
    if let Err(error) = flush(state_dir) {
        warn!("what an earlier run left in the kernel cannot be taken away: {error}");
    }
}

fn load_program(programs: &mut Ebpf, name: &str) -> Result<(), ProgramError> {
    match programs.program_mut(name) {
        Some(Program::Xdp(program)) => program.load(),
        Some(Program::SchedClassifier(program)) => program.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

/// Pins maps and programs in a new generation.
fn pin(programs: &mut Ebpf, pins: &Pins) -> Result<PathBuf, String> {
    let generation = pins.next_generation().map_err(|error| format!("{error}"))?;
    let mut pin = || -> Result<(), String> {
        for name in MAPS {
            let map = programs.map(name).ok_or_else(|| format!("the kernel half has no map `{name}`"))?;
            map.pin(generation.join(name)).map_err(|error| refused(&error))?;
        }
        for name in [XDP, INGRESS, TAP] {
            let path = generation.join(name);
            match programs.program_mut(name) {
                Some(Program::Xdp(program)) => program.pin(path),
                Some(Program::SchedClassifier(program)) => program.pin(path),
                _ => Ok(()),
            }
            .map_err(|error| refused(&error))?;
        }
        Ok(())
    };
    let pinned = pin();
    if pinned.is_err() {
        discard(pins, &generation);
    }
    pinned.map(|()| generation)
}

fn discard(pins: &Pins, generation: &Path) {
    if let Err(error) = pins.discard(generation) {
        warn!("{}: cannot be taken away: {error}", generation.display());
    }
}

fn unpin(path: &Path) {
    if let Err(error) = remove_file(path) {
        warn!("{}: cannot be taken away: {error}", path.display());
    }
}

fn shared(map: &Map, entries: u32, octets: usize) -> Result<SharedMemory, String> {
    match map {
        Map::Array(map) => map_memory(map, entries, octets),
        _ => Err("a table of the kernel half is no array".into()),
    }
}

fn map_memory(map: &MapData, entries: u32, octets: usize) -> Result<SharedMemory, String> {
    // The kernel lays elements at multiples of eight octets; all of ours are.
    let len = entries as usize * octets.next_multiple_of(8);
    SharedMemory::map(map.fd().as_fd(), len).map_err(|error| format!("its memory cannot be shared ({error})"))
}

fn typed<T>(name: &str, map: Result<T, aya::maps::MapError>) -> Result<T, String> {
    map.map_err(|error| format!("the kernel half's map `{name}`: {error}"))
}

/// Before Linux 5.11 maps count as locked memory, whose usual limit is too low.
fn allow_memory() {
    let all = rustix::process::Rlimit { current: None, maximum: None };
    // Where it is refused, loading says so if it matters.
    let _ = rustix::process::setrlimit(rustix::process::Resource::Memlock, all);
}

/// Why the kernel did not take something, in a sentence's words: a missing privilege or an old kernel first.
fn refused(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return match error.raw_os_error() {
                Some(libc::EPERM | libc::EACCES) => {
                    "this process may not load BPF programs; run as root, or give the service CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN".into()
                }
                Some(libc::ENOSYS) => "this kernel has no BPF".into(),
                Some(libc::ENOMEM) => "there is not enough memory for its tables".into(),
                _ => error.to_string(),
            };
        }
        cause = error.source();
    }
    error.to_string()
}
