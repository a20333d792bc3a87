//! `genkan run`: the appliance.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use genkan_config::{Config, Host, HostFile, Loaded, Report, ThisHost};
use genkan_netstack::gateway::Gateway;
use genkan_netstack::settings::Settings;
use genkan_netstack::time::Instant;
use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::LocalSet;
use tracing::{error, info, warn};
use tracing_subscriber::EnvFilter;

use super::{failed, wrong};
use crate::capture::ring::Ring;
use crate::capture::{Keeper, Points};
use crate::clock::{self, Clock};
use crate::control::Server;
use crate::fastpath::entry::Entry;
use crate::fastpath::pins::Pins;
use crate::fastpath::plan::{self, Planned};
use crate::fastpath::{self, FastPath, FastPathStatus};
use crate::port::{self, Port, Spec};
use crate::privileges::{self, Access, Grant, Role};
use crate::settings::{PortFacts, settings, specs};
use crate::state::{self, StateWriter};
use crate::sys::random;
use crate::watch::Watch;
use crate::worker::{Command, End, Handle, Worker};

pub(super) const ABOUT: &str = "\
Run the gateway that FILE describes, in the foreground, until SIGTERM or Ctrl-C. Then every PPPoE session is ended in \
good order and every network card is put back as it was.

SIGHUP has FILE read again and tells what a restart would change; nothing is changed by it.

It needs root, or CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF and CAP_PERFMON. Once everything is open it gives up, for good, whatever \
it does not need: other capabilities, files but the folders of FILE and of the secrets (to read) and the state directory (to \
write), system calls. `genkan status` shows what is left.

What happens is told on standard error, a sentence a line; RUST_LOG=debug tells more.";

pub(super) fn run(file: &Path) -> ExitCode {
    let host = Noting::default();
    let loaded = match Config::load_on(file, &host) {
        Ok(loaded) => loaded,
        Err(report) => return wrong(&report),
    };
    start_log();
    tell(&loaded.warnings);
    match watch((file, &host.folders()), &loaded) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(error),
    }
}

/// This machine, and which files of it were read.
#[derive(Default)]
struct Noting {
    read: RefCell<BTreeSet<PathBuf>>,
}

impl Host for Noting {
    fn read(&self, path: &Path) -> io::Result<HostFile> {
        self.read.borrow_mut().insert(path.to_owned());
        ThisHost.read(path)
    }

    fn devices(&self) -> Option<Vec<String>> {
        ThisHost.devices()
    }
}

impl Noting {
    /// The folders in which the files are, by their names and behind all links. Editors replace files, so folders are what stays.
    fn folders(&self) -> BTreeSet<PathBuf> {
        let paths = self.read.borrow();
        let folder = |path: &Path| match path.parent() {
            Some(folder) if folder != Path::new("") => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        let named = paths.iter().map(|path| folder(path));
        let real = paths.iter().filter_map(|path| fs::canonicalize(path).ok()).map(|path| folder(&path));
        named.chain(real).collect()
    }
}

/// Runs the gateway until a signal ends it. `folders` are those that the configuration was read from.
fn watch((file, folders): (&Path, &BTreeSet<PathBuf>), loaded: &Loaded) -> Result<(), String> {
    leave_no_core();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start the control thread: {error}"))?;
    // Before a card is taken: a signal that comes while ports are opened must not keep them from being given back.
    let signals = runtime.block_on(async { Signals::catch() });
    let signals = signals.map_err(|error| format!("cannot catch signals: {error}"))?;
    let running = {
        let _inside = runtime.enter();
        start(loaded)?
    };
    serve(&runtime, signals, (file, folders), running)
}

/// Passwords are in the program's memory: when it crashes that must not come on a disk. A limit of 0 would forbid files
/// only; with 1 nothing is handed to a collector either (core(5)).
fn leave_no_core() {
    let limit = Rlimit { current: Some(1), maximum: Some(1) };
    if let Err(error) = setrlimit(Resource::Core, limit) {
        warn!("a crash may leave a core file with passwords in it: {error}");
    }
}

/// What a report says, a warning a line.
fn tell(report: &Report) {
    for line in report.lines() {
        warn!("{line}");
    }
}

/// Sends the log to standard error, in plain sentences; the time stamps are left to journald when it listens.
fn start_log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // A log that cannot be written to (the terminal is gone) must not end the gateway.
    let log = log.log_internal_errors(false);
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        log.without_time().with_ansi(false).init();
    } else {
        log.with_ansi(super::colour()).init();
    }
}

/// The signals that mean something to a gateway.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    /// Catches them from now on. A runtime must be entered.
    fn catch() -> io::Result<Self> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }
}

/// Everything that runs.
struct Running {
    worker: Worker,
    handle: Handle,
    watch: Watch,
    server: Server,
    config: Config,
}

/// Opens and reads all that the gateway needs. A runtime must be entered.
fn start(loaded: &Loaded) -> Result<Running, String> {
    let config = loaded.config.clone();
    // First, so that a second gateway with the same configuration touches nothing.
    let server = Server::bind(&config.system.control).map_err(|error| {
        format!("{}: cannot listen for commands: {error}", config.system.control.display())
    })?;
    let clock = Clock::start();
    let state = StateWriter::start(&config.system.state_dir).map_err(|error| {
        format!("{}: cannot use the state directory: {error}", config.system.state_dir.display())
    })?;
    let plan = plan::plan(&config);
    let mut specs = specs(&config);
    let pins = fastpath::load::prepare(&plan, &mut specs, &config.system.state_dir);
    let devices: Vec<String> = specs.iter().map(|spec| spec.device.name()).collect();
    let names: Vec<&str> = devices.iter().map(String::as_str).collect();
    match port::restore(&config.system.state_dir, &names) {
        Ok(restored) => {
            for device in restored {
                info!("{device}: put back as it was before a run that ended without doing so");
            }
        }
        Err(error) => warn!("a card that an earlier run took could not be put back: {error}"),
    }
    let mut ports = Vec::with_capacity(config.ports.len());
    let mut facts = Vec::with_capacity(config.ports.len());
    for spec in specs {
        let port = Port::open(&spec).map_err(|error| error.to_string())?;
        info!("port {}: {} is ours, address {}, MTU {}", spec.name, port.name(), port.mac(), port.mtu());
        if let Some(limit) = port.mtu_limit() {
            warn!("port {}: {limit}", spec.name);
        }
        facts.push(PortFacts::from(&port));
        ports.push((spec, port));
    }
    let now = clock.now();
    let remembered = state::load(&config.system.state_dir, now);
    let seed = random().map_err(|error| format!("the kernel gives no randomness: {error}"))?;
    let settings = settings(&config, &facts);
    let mut gateway = Gateway::new(&settings, &remembered, seed, now);
    gateway.set_clock(now, clock::wall());
    // Flows are as they were left once: a later run must not find them again.
    if !remembered.flows.is_empty() {
        state.write(gateway.state(), now);
    }
    let fast_path = fast_path(&config, &settings, (&plan, pins), &mut ports, &mut gateway, now);
    let keeper = Ring::new(Points::new(&config), config.capture_ring)
        .map(|ring| Keeper::start(ring, &config.system.state_dir))
        .transpose()
        .map_err(|error| format!("cannot start the thread that saves the ring: {error}"))?;
    let points = (Points::new(&config), keeper);
    let (worker, handle) = Worker::new(gateway, ports, points, clock, state, fast_path)
        .map_err(|error| format!("cannot wait for the ports: {error}"))?;
    Ok(Running { worker, handle, watch: Watch::open(&devices), server, config })
}

/// Starts the kernel path where there is to be one; otherwise says why there is none.
fn fast_path(
    config: &Config,
    settings: &Settings,
    (plan, pins): (&[Planned], Option<Pins>),
    ports: &mut [(Spec, Port)],
    gateway: &mut Gateway,
    now: Instant,
) -> Result<FastPath, Box<FastPathStatus>> {
    let off = if plan.iter().any(|planned| planned.entry != Entry::None) {
        match FastPath::start(config, settings, (plan, pins), ports, gateway, now) {
            Ok(fast_path) => return Ok(fast_path),
            Err(error) => {
                warn!("there is no kernel path, everything is forwarded in user space: {error}");
                error
            }
        }
    } else {
        "no port has an entry".into()
    };
    gateway.set_offload(false);
    fastpath::load::give_up(ports.iter_mut().map(|(_, port)| port), &config.system.state_dir);
    Err(Box::new(FastPathStatus::off(off, plan)))
}

/// How long clients may take for what they are still to get when the gateway has stopped.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What the data thread does with files: it takes cards and taps again that went and came back, and gives them back.
fn data_grants(config: &Config) -> Vec<Grant> {
    vec![
        Grant::new(Access::Write, &config.system.state_dir),
        Grant::new(Access::Write, Pins::root()),
        Grant::new(Access::Device, "/dev/net/tun"),
        Grant::new(Access::Change, "/proc/sys/net/ipv6/conf"),
        Grant::new(Access::Read, "/proc/sys/kernel/random"),
        Grant::new(Access::Read, "/sys/class/net"),
        Grant::new(Access::Read, "/sys/devices"),
    ]
}

/// What the control thread does with files: it reads the configuration again, looks up the names in a capture's filter, and takes
/// its socket away.
fn control_grants(folders: &BTreeSet<PathBuf>, config: &Config) -> Vec<Grant> {
    const NAMES: [&str; 6] = [
        "/etc/nsswitch.conf",
        "/etc/services",
        "/etc/protocols",
        "/etc/hosts",
        "/etc/ethers",
        "/etc/networks",
    ];
    let mut grants: Vec<Grant> = folders.iter().map(|folder| Grant::new(Access::Read, folder)).collect();
    grants.extend(NAMES.map(|file| Grant::new(Access::Read, file)));
    // The devices of this network namespace.
    grants.push(Grant::new(Access::Read, "/proc/thread-self/net"));
    grants.extend(config.system.control.parent().map(|folder| Grant::new(Access::Remove, folder)));
    grants
}

/// Starts the data thread and serves the control socket until a signal comes or the data thread ends.
fn serve(
    runtime: &Runtime,
    signals: Signals,
    (file, folders): (&Path, &BTreeSet<PathBuf>),
    running: Running,
) -> Result<(), String> {
    let Running { worker, handle, watch, server, config } = running;
    let (ended, mut end) = oneshot::channel();
    let data = privileges::spawn(Role::Data, data_grants(&config), move || {
        // The receiver waits as long as the program runs.
        let _ = ended.send(worker.run());
    });
    let data = data.map_err(|error| format!("cannot start the data thread: {error}"))?;
    watch.start(handle.clone()).map_err(|error| format!("cannot start the watch thread: {error}"))?;
    // Every other thread has been started, with what it needs.
    privileges::confine(Role::Control, &control_grants(folders, &config));
    privileges::tell_missing();
    let points = Points::new(&config);
    let Signals { mut interrupt, mut terminate, mut hang_up } = signals;
    let clients = LocalSet::new();
    // The data thread's result, when it ended first.
    let ended = clients.block_on(runtime, async {
        tokio::select! {
            () = server.serve(&handle, &points) => {}
            () = async {
                while hang_up.recv().await.is_some() {
                    read_again(file, &config);
                }
            } => {}
            _ = interrupt.recv() => info!("interrupted; ending every session"),
            _ = terminate.recv() => info!("asked to stop; ending every session"),
            result = &mut end => return Some(result),
        }
        None
    });
    // Nobody else is let in.
    drop(server);
    let result = ended.unwrap_or_else(|| {
        let (done, _) = oneshot::channel();
        if handle.send(Command::Stop(End::Flush, done)).is_err() {
            error!("the data thread had ended already");
        }
        runtime.block_on(end)
    });
    // Captures get the last frames, too; a client that stands still is not waited for.
    runtime.block_on(async {
        let _ = tokio::time::timeout(LAST_WORDS, clients).await;
    });
    let joined = data.join();
    privileges::tell_refused();
    match (joined, result) {
        (Ok(()), Ok(Ok(()))) => Ok(()),
        (Ok(()), Ok(Err(error))) => Err(format!("the data thread cannot go on: {error}")),
        _ => Err("the data thread has panicked: a fault of the router".into()),
    }
}

/// Tells what the configuration file would change if the gateway were started now.
fn read_again(file: &Path, running: &Config) {
    let name = file.display();
    let loaded = match Config::load(file) {
        Ok(loaded) => loaded,
        Err(report) => {
            warn!("{name} was read again and is not right; the gateway goes on as it is");
            tell(&report);
            if report.lines().any(|line| line.contains("Permission denied")) {
                warn!(
                    "a running gateway reads no folders but those that it read at its start; `genkan check {name}` may read all"
                );
            }
            return;
        }
    };
    tell(&loaded.warnings);
    let changes = genkan_config::diff(running, &loaded.config);
    if changes.is_empty() {
        info!("{name} was read again; it changes nothing");
    } else {
        info!("{name} was read again; a restart of the gateway applies what has changed");
    }
    for change in changes {
        info!("at a restart: {change}");
    }
}
