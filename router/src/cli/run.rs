//! `genkan run`: the appliance.

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::thread;

use genkan_config::{Config, Loaded};
use genkan_netstack::gateway::Gateway;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};
use tracing_subscriber::EnvFilter;

use super::{failed, load};
use crate::clock::Clock;
use crate::control::Server;
use crate::port::{self, Port};
use crate::settings::{PortFacts, settings, specs};
use crate::state::{self, StateWriter};
use crate::worker::{Command, Handle, Worker};

pub(super) const ABOUT: &str = "\
Run the gateway that FILE describes, in the foreground, until SIGTERM or Ctrl-C. Then every PPPoE session is ended in \
good order and every network card is put back as it was.

It needs root, or CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF. What happens is told on standard error, a sentence a line; \
RUST_LOG=debug tells more.";

pub(super) fn run(file: &Path) -> ExitCode {
    let loaded = match load(file) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    start_log();
    for warning in &loaded.warnings.diagnostics {
        warn!("{}: {}", file.display(), warning.message);
    }
    match start(&loaded).and_then(serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(error),
    }
}

/// Sends the log to standard error, in plain sentences; the time stamps are left to journald when it listens.
fn start_log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        log.without_time().with_ansi(false).init();
    } else {
        log.with_ansi(super::colour()).init();
    }
}

/// Everything that runs.
struct Running {
    worker: Worker,
    handle: Handle,
    config: Config,
}

fn start(loaded: &Loaded) -> Result<Running, String> {
    let config = loaded.config.clone();
    let clock = Clock::start();
    let state = StateWriter::start(&config.system.state_dir).map_err(|error| {
        format!("{}: cannot use the state directory: {error}", config.system.state_dir.display())
    })?;
    match port::restore(&config.system.state_dir) {
        Ok(restored) => {
            for device in restored {
                info!("{device}: put back as it was before a run that ended without doing so");
            }
        }
        Err(error) => warn!("a card that an earlier run took could not be put back: {error}"),
    }
    let mut ports = Vec::with_capacity(config.ports.len());
    let mut facts = Vec::with_capacity(config.ports.len());
    for spec in specs(&config) {
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
    let seed = random_seed().map_err(|error| format!("the kernel gives no randomness: {error}"))?;
    let gateway = Gateway::new(&settings(&config, &facts), &remembered, seed, now);
    let (worker, handle) = Worker::new(gateway, ports, clock, state)
        .map_err(|error| format!("cannot wait for the ports: {error}"))?;
    Ok(Running { worker, handle, config })
}

fn random_seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty())?;
    Ok(seed)
}

/// Starts the data thread and serves the control socket until a signal comes or the data thread ends.
fn serve(running: Running) -> Result<(), String> {
    let Running { worker, handle, config } = running;
    let (ended, mut end) = tokio::sync::oneshot::channel();
    let data = thread::Builder::new()
        .name("data".into())
        .spawn(move || {
            // The receiver waits as long as the program runs.
            let _ = ended.send(worker.run());
        })
        .map_err(|error| format!("cannot start the data thread: {error}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start the control thread: {error}"))?;
    let names: Vec<String> = config.ports.iter().map(|port| port.name.clone()).collect();
    let result = tokio::task::LocalSet::new().block_on(&runtime, async {
        let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| error.to_string())?;
        let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
        let server = Server::bind(&config.system.control).map_err(|error| {
            format!("{}: cannot listen for commands: {error}", config.system.control.display())
        })?;
        tokio::select! {
            () = server.serve(&handle, &names) => {}
            _ = interrupt.recv() => info!("interrupted; ending every session"),
            _ = terminate.recv() => info!("asked to stop; ending every session"),
            result = &mut end => return match result {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(format!("the data thread cannot go on: {error}")),
                Err(_) => Err("the data thread has panicked: a fault of the router".into()),
            },
        }
        Ok(())
    });
    if handle.send(Command::Stop).is_err() {
        error!("the data thread had ended already");
    }
    if data.join().is_err() {
        return Err("the data thread has panicked: a fault of the router".into());
    }
    result
}
