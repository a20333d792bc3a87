//! The instrument: a generator and sinks, as BPF programs of our own (`bpf/`).
//!
//! The generator is an XDP program that BPF_PROG_RUN runs with live frames, `BATCH` at a time: it writes each frame whole,
//! and redirects it into a cable's end, out of whose other end it comes in the router. The sinks are XDP programs at both far
//! ends: they count and drop the test's frames, and pass everything else on. All of it, and a router in the kernel too, runs
//! on the generator's processor, one batch after the other; so nothing is lost on the way, and rates of two routers differ
//! only by what the routers do.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aya::maps::xdp::DevMap;
use aya::maps::{Array, HashMap, MapData, PerCpuArray, ProgramArray};
use aya::programs::{ProgramFd, TestRun, TestRunAttrs, TestRunOptions, Xdp, XdpMode};
use aya::{Ebpf, Pod};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::netns::Namespace;

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/instrument.o"));

/// Frames in a batch.
const BATCH: u32 = 64;
/// Octets of a test frame, without FCS.
const PLAIN_FRAME: usize = 64;
const PPPOE_FRAME: usize = 72;
/// Frames in a burst.
const BURST: u32 = BATCH * 64;
/// How long a run goes on before it counts.
const WARM_UP: Duration = Duration::from_millis(30);
/// Inside sockets; a flow of a higher number is of the same socket with another far host.
pub const SOCKETS: u32 = 1 << 15;

/// Which way frames go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the LAN to the WAN.
    Up = 0,
    /// From the WAN to the LAN.
    Down = 1,
}

/// What a sink does with frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Counts them.
    Load = 0,
    /// Checks them, and remembers how they were translated.
    Learn = 1,
}

/// `struct job` of `bpf/frame.h`.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
struct Job {
    flows: u32,
    next: u32,
    kind: u32,
    probes: u32,
    way: u32,
    pppoe: u32,
    interval: u64,
    due: u64,
    sent: u64,
    header: Header,
    padding: u16,
}

/// `struct header` of `bpf/frame.h`, as far as a job has it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Header {
    /// Where frames go.
    pub destination: [u8; 6],
    /// Where they come from.
    pub source: [u8; 6],
    /// The PPPoE session, as on the wire.
    pub session: [u8; 2],
}

#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
struct Learnt {
    header: Header,
    pppoe: u16,
}

/// `struct seen` of `bpf/frame.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Seen {
    /// Test frames, of every kind.
    pub frames: u64,
    /// Of those to learn from: a checksum does not hold.
    pub wrong: u64,
    other: u64,
}

#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
struct Outside {
    address: [u8; 4],
    port: [u8; 2],
    padding: u16,
}

#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
struct Tuple {
    source: [u8; 4],
    destination: [u8; 4],
    ports: [[u8; 2]; 2],
    protocol: u32,
}

// SAFETY: plain numbers without gaps, in the C layout.
unsafe impl Pod for Job {}
// SAFETY: the same.
unsafe impl Pod for Learnt {}
// SAFETY: the same.
unsafe impl Pod for Seen {}
// SAFETY: the same.
unsafe impl Pod for Outside {}
// SAFETY: the same.
unsafe impl Pod for Tuple {}

/// Frames to send.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Which way.
    pub way: Way,
    /// What they are for.
    pub kind: Kind,
    /// In how many flows.
    pub flows: u32,
    /// How many in a second; `None`: as many as go.
    pub rate: Option<f64>,
    /// One of so many is a probe, a power of two; 0: none is.
    pub probes: u32,
}

/// What came of a run.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// Frames sent.
    pub sent: u64,
    /// Frames that the sink saw, in the same time.
    pub received: u64,
    /// How long it went on.
    pub elapsed: Duration,
}

impl Outcome {
    /// Frames that did not arrive.
    pub fn lost(&self) -> u64 {
        self.sent.saturating_sub(self.received)
    }

    /// Frames that arrived in a second.
    pub fn rate(&self) -> f64 {
        self.received as f64 / self.elapsed.as_secs_f64()
    }
}

/// The programs, loaded, with maps of their own.
pub struct Instrument {
    bpf: Ebpf,
    /// What frames of each way have in front of the packet.
    headers: [Header; 2],
}

impl Instrument {
    /// Loads it.
    ///
    /// # Panics
    ///
    /// Like everything here, when the kernel refuses.
    pub fn load() -> Instrument {
        let mut bpf = must("load the instrument", Ebpf::load(OBJECT));
        for (name, program) in bpf.programs_mut() {
            let program: &mut Xdp = must("use a program", program.try_into());
            must(name, program.load());
        }
        Instrument { bpf, headers: [Header::default(); 2] }
    }

    /// Attaches one of its programs to a device.
    pub fn attach(&mut self, name: &str, namespace: &Namespace, device: &str) {
        let program = self.program_mut(name);
        namespace.inside(|| must(&format!("attach {name}"), program.attach(device, XdpMode::Driver)));
    }

    /// Says by which device the generator sends.
    pub fn aim(&mut self, way: Way, namespace: &Namespace, device: &str, header: Header) {
        self.headers[way as usize] = header;
        self.lead("exits", way, namespace, device);
    }

    /// Says by which device the bare redirect sends on.
    pub fn cross(&mut self, way: Way, namespace: &Namespace, device: &str) {
        self.lead("crossing", way, namespace, device);
    }

    // An entry means a device of the namespace of the thread that writes it.
    fn lead(&mut self, map: &str, way: Way, namespace: &Namespace, device: &str) {
        let index = must("read a device's number", namespace.fact(device, "ifindex").parse());
        let map = self.bpf.map_mut(map).expect("the object has this map");
        let mut exits: DevMap<&mut MapData> = must("use a map", map.try_into());
        namespace.inside(|| must("name an exit", exits.set(way as u32, index, None, 0)));
    }

    /// Makes frames down look like answers to those that came up.
    ///
    /// # Panics
    ///
    /// When none came.
    pub fn answer_what_came(&mut self) {
        let learnt: Array<_, Learnt> =
            must("use a map", self.bpf.map("headers").expect("it is there").try_into());
        let Learnt { header, .. } = must("read what was learnt", learnt.get(&0, 0));
        assert_ne!(header, Header::default(), "no frame has come up to the sink");
        let Header { destination, source, session } = header;
        self.headers[Way::Down as usize] = Header { destination: source, source: destination, session };
    }

    /// The address and port that a socket has outside.
    pub fn outside(&self, socket: u32) -> ([u8; 4], u16) {
        let map: Array<_, Outside> =
            must("use a map", self.bpf.map("outsides").expect("it is there").try_into());
        let outside = must("read what was learnt", map.get(&socket, 0));
        (outside.address, u16::from_be_bytes(outside.port))
    }

    /// Makes frames down go to these addresses and ports, one for each socket.
    pub fn answer_as(&mut self, outside: impl Fn(u32) -> ([u8; 4], u16)) {
        let map = self.bpf.map_mut("outsides").expect("it is there");
        let mut map: Array<_, Outside> = must("use a map", map.try_into());
        for socket in 0..SOCKETS {
            let (address, port) = outside(socket);
            let outside = Outside { address, port: port.to_be_bytes(), padding: 0 };
            must("write an outside", map.set(socket, outside, 0));
        }
    }

    /// Sends for `duration`, and counts what arrives in that time.
    pub fn run(&mut self, load: Load, duration: Duration) -> Outcome {
        self.begin(load);
        self.go_on(load, WARM_UP);
        let (sent, seen) = (self.job().sent, self.seen(load.way).frames);
        let elapsed = self.go_on(load, duration);
        Outcome { sent: self.job().sent - sent, received: self.seen(load.way).frames - seen, elapsed }
    }

    /// Sends so many frames a second for `duration`, a batch at a time, and leaves the processor to others meanwhile. Counts
    /// what arrives, however late.
    pub fn offer(&mut self, load: Load, rate: u32, duration: Duration) -> Outcome {
        let before = self.seen(load.way).frames;
        self.begin(load);
        let begin = Instant::now();
        while begin.elapsed() < duration {
            let due = (begin.elapsed().as_secs_f64() * f64::from(rate)) as u64;
            while self.job().sent < due && begin.elapsed() < duration {
                self.burst(load, BATCH);
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        let elapsed = begin.elapsed();
        Outcome { sent: self.job().sent, received: self.settled(load.way) - before, elapsed }
    }

    /// Sends so many bursts of a millisecond or so, and gives the time of a frame's whole way in each, in ns.
    /// Whatever else the machine does disturbs some of them, not all.
    ///
    /// # Panics
    ///
    /// When frames get lost, as then it is not their whole way.
    pub fn bursts(&mut self, load: Load, bursts: usize) -> Vec<f64> {
        self.begin(load);
        self.burst(load, BURST);
        let (sent, seen) = (self.job().sent, self.seen(load.way).frames);
        let times = (0..bursts)
            .map(|_| {
                let begin = Instant::now();
                self.burst(load, BURST);
                begin.elapsed().as_nanos() as f64 / f64::from(BURST)
            })
            .collect();
        let (sent, seen) = (self.job().sent - sent, self.settled(load.way) - seen);
        assert!(seen * 50 >= sent * 49, "of {sent} frames {seen} have arrived");
        times
    }

    /// Sends `frames` or a few more, and counts them and what arrives, however late.
    pub fn send(&mut self, load: Load, frames: u64) -> Outcome {
        let before = self.seen(load.way).frames;
        self.begin(load);
        let begin = Instant::now();
        while self.job().sent < frames {
            self.burst(load, BATCH * 16);
        }
        let elapsed = begin.elapsed();
        Outcome { sent: self.job().sent, received: self.settled(load.way) - before, elapsed }
    }

    /// Sends until `done`, and counts what arrives at the sink of `arriving`, however late.
    pub fn send_until(&mut self, load: Load, done: &AtomicBool, arriving: Way) -> Outcome {
        let before = self.seen(arriving).frames;
        self.begin(load);
        let begin = Instant::now();
        while !done.load(Ordering::Relaxed) {
            self.burst(load, BATCH * 16);
        }
        let elapsed = begin.elapsed();
        Outcome { sent: self.job().sent, received: self.settled(arriving) - before, elapsed }
    }

    /// Frames that a sink has seen once no more come.
    pub fn settled(&self, way: Way) -> u64 {
        let mut last = self.seen(way).frames;
        for _ in 0..200 {
            std::thread::sleep(Duration::from_millis(10));
            let seen = self.seen(way).frames;
            if seen == last {
                return seen;
            }
            last = seen;
        }
        last
    }

    fn begin(&mut self, load: Load) {
        let header = self.headers[load.way as usize];
        let job = Job {
            flows: load.flows,
            next: self.job().next % load.flows,
            kind: load.kind as u32,
            probes: load.probes,
            way: load.way as u32,
            pppoe: u32::from(header.session != [0; 2]),
            interval: load.rate.map_or(0, |rate| (1e9 / rate) as u64),
            header,
            ..Job::default()
        };
        let mut jobs: Array<_, Job> =
            must("use a map", self.bpf.map_mut("jobs").expect("it is there").try_into());
        must("give a job", jobs.set(0, job, 0));
    }

    fn go_on(&self, load: Load, duration: Duration) -> Duration {
        let begin = Instant::now();
        while begin.elapsed() < duration {
            self.burst(load, BURST);
        }
        begin.elapsed()
    }

    /// Runs the generator so many times, on the first processor.
    fn burst(&self, load: Load, repeat: u32) {
        let frame = [0; PPPOE_FRAME];
        let attrs = TestRunAttrs::new().xdp_live_frames(BATCH);
        let data_in = Some(&frame[..self.length(load.way)]);
        let generator = self.program("generate");
        let options = TestRunOptions { data_in, repeat, attrs, ..TestRunOptions::default() };
        must("run the generator", generator.test_run(options));
    }

    fn length(&self, way: Way) -> usize {
        if self.headers[way as usize].session == [0; 2] { PLAIN_FRAME } else { PPPOE_FRAME }
    }

    /// What a sink has seen, from the start.
    pub fn seen(&self, way: Way) -> Seen {
        let map = self.bpf.map("seen").expect("it is there");
        let map: PerCpuArray<_, Seen> = must("use a map", map.try_into());
        let each = must("read a sink", map.get(&(way as u32), 0));
        each.iter().fold(Seen::default(), |sum, seen| Seen {
            frames: sum.frames + seen.frames,
            wrong: sum.wrong + seen.wrong,
            other: sum.other + seen.other,
        })
    }

    fn job(&self) -> Job {
        let jobs: Array<_, Job> = must("use a map", self.bpf.map("jobs").expect("it is there").try_into());
        must("read the job", jobs.get(&0, 0))
    }

    /// Takes the round trips of probes since the last call, in µs: those below which the given shares are.
    pub fn delays(&mut self, shares: &[f64]) -> Vec<f64> {
        let map = self.bpf.map_mut("delays").expect("it is there");
        let mut map: Array<_, u64> = must("use a map", map.try_into());
        let counts: Vec<u64> = map.iter().map(|count| must("read a delay", count)).collect();
        for (index, _) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            must("clear a delay", map.set(index as u32, 0, 0));
        }
        let all: u64 = counts.iter().sum();
        let below = |share: f64| {
            let wanted = (all as f64 * share).ceil() as u64;
            let mut sum = 0;
            let index = counts.iter().position(|count| {
                sum += count;
                sum >= wanted
            });
            index.map_or(f64::NAN, |index| (index as f64 + 0.5) * 0.256)
        };
        shares.iter().map(|share| if all == 0 { f64::NAN } else { below(*share) }).collect()
    }

    /// Gives the reference program what it looks up: the tuples of all frames of this way.
    pub fn fill_reference(&mut self, way: Way, flows: u32) {
        let tuples: Vec<_> = (0..flows).map(|flow| self.tuple(way, flow)).collect();
        let map = self.bpf.map_mut("tuples").expect("it is there");
        let mut map: HashMap<_, Tuple, u64> = must("use a map", map.try_into());
        for tuple in tuples {
            must("fill the reference's table", map.insert(tuple, 1, 0));
        }
    }

    fn tuple(&self, way: Way, flow: u32) -> Tuple {
        let socket = flow % SOCKETS;
        let host = (0xc0a8_0140_u32 + (flow & 63)).to_be_bytes();
        let port = (1024 + (socket >> 6) as u16).to_be_bytes();
        let far = (0xc612_0000_u32 + flow / SOCKETS).to_be_bytes();
        let nine = 9_u16.to_be_bytes();
        match way {
            Way::Up => Tuple { source: host, destination: far, ports: [port, nine], protocol: 17 },
            Way::Down => {
                let (address, port) = self.outside(socket);
                Tuple { source: far, destination: address, ports: [nine, port.to_be_bytes()], protocol: 17 }
            }
        }
    }

    /// One of its programs, to be measured.
    pub fn own(&self, name: &str) -> ProgramFd {
        let program = must("use a program", self.program(name).fd());
        must("use a program", program.try_clone())
    }

    /// Time that a program takes for a frame, in ns, with what it costs to make the frame: BPF_PROG_RUN, `repeat` times, each
    /// on a frame made anew. What it says of the last frame comes with it. Call it in the device's namespace.
    pub fn time(&mut self, target: &ProgramFd, load: Load, device: u32, repeat: u32) -> (f64, u32) {
        let map = self.bpf.map_mut("targets").expect("it is there");
        let mut targets: ProgramArray<_> = must("use a map", map.try_into());
        must("aim at the program", targets.set(0, target, 0));
        self.begin(load);
        let frame = [0; PPPOE_FRAME];
        let data = &frame[..self.length(load.way)];
        // struct xdp_md
        let context = [0, data.len() as u32, 0, device, 0, 0].map(u32::to_ne_bytes).concat();
        let options = TestRunOptions {
            data_in: Some(data),
            ctx_in: Some(&context),
            repeat,
            ..TestRunOptions::default()
        };
        let result = must("run a program", self.program("feed").test_run(options));
        (result.duration.as_nanos() as f64, result.return_value)
    }

    fn program(&self, name: &str) -> &Xdp {
        must("use a program", self.bpf.program(name).expect("the object has this program").try_into())
    }

    fn program_mut(&mut self, name: &str) -> &mut Xdp {
        must("use a program", self.bpf.program_mut(name).expect("the object has this program").try_into())
    }
}

/// Does `work` on a thread of its own on the first processor. What it starts there stays there, too.
pub fn on_first_processor<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let work = || {
        let mut first = CpuSet::new();
        first.set(0);
        must("stay on one processor", sched_setaffinity(None, &first));
        work()
    };
    match std::thread::scope(|scope| scope.spawn(work).join()) {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

#[track_caller]
pub(super) fn must<T, E: Display>(what: &str, result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("cannot {what}: {error}"))
}
