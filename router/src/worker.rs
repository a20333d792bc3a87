//! The data thread: wait, receive a batch, run the gateway, transmit a batch.
//!
//! It owns the gateway and the ports, takes no lock and waits at one place. The rest of the program reaches it by
//! [`Handle`]: a queue of commands and a wake-up.

use std::io;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use genkan_netstack::control::{Event, Level};
use genkan_netstack::frame::Batch;
use genkan_netstack::gateway::Gateway;
use genkan_netstack::id::{Mac, PortId};
use genkan_netstack::ledger::DropReason;
use genkan_netstack::status::Status;
use serde::Serialize;
use tokio::sync::oneshot;
use tracing::{debug, error, info, warn};

use crate::capture::{Direction, Recorder, Tap};
use crate::clock::{self, Clock};
use crate::port::{Port, Stats};
use crate::state::StateWriter;
use crate::sys::poll::{Epoll, EventFd, Interest};

/// Frames taken from one port before the next port has its turn.
const BATCH: usize = 64;
/// Rounds between two looks at the wake-up and at idle ports, while some port has frames.
const BUSY_ROUNDS: u32 = 16;
/// How soon a full device is tried again.
const RETRY_TRANSMIT: Duration = Duration::from_millis(1);

const WAKE: u64 = u64::MAX;

/// What the rest of the program asks of the data thread.
pub enum Command {
    /// Tell the status.
    Status(oneshot::Sender<RunningStatus>),
    /// Show every frame to one more listener.
    Record(Tap),
    /// End every session and return.
    Stop,
}

/// The status of a running program: the gateway's and the ports'.
#[derive(Debug, Serialize)]
pub struct RunningStatus {
    /// The program's version.
    pub version: &'static str,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// The gateway.
    #[serde(flatten)]
    pub gateway: Status,
    /// The ports, in the configuration's order.
    pub ports: Vec<PortStatus>,
}

/// A port of a running program.
#[derive(Debug, Serialize)]
pub struct PortStatus {
    /// Its name in the configuration.
    pub name: String,
    /// The device behind it.
    pub device: String,
    /// The router's Ethernet address on it.
    pub mac: Mac,
    /// Largest Ethernet payload, in octets.
    pub mtu: u16,
    /// What it has carried.
    #[serde(flatten)]
    pub stats: Stats,
}

/// Reaches the data thread from elsewhere.
#[derive(Clone)]
pub struct Handle {
    commands: Sender<Command>,
    wake: Arc<EventFd>,
}

impl Handle {
    /// Sends a command; an error says that the data thread has ended.
    pub fn send(&self, command: Command) -> io::Result<()> {
        self.commands
            .send(command)
            .map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "the gateway has stopped"))?;
        self.wake.set();
        Ok(())
    }
}

/// A port and what the data thread knows of it.
struct Line {
    name: String,
    port: Port,
    /// It may have frames: nothing has said otherwise since it last had some.
    ready: bool,
    /// It has failed, and the user has been told.
    failed: bool,
    /// Frames at the head of its transmit queue that the device has refused for now; they have been captured.
    refused: usize,
}

/// The data thread's work.
pub struct Worker {
    gateway: Gateway,
    lines: Vec<Line>,
    clock: Clock,
    epoll: Epoll,
    wake: Arc<EventFd>,
    commands: Receiver<Command>,
    recorder: Recorder,
    state: StateWriter,
}

impl Worker {
    /// Puts the gateway and its ports together. `ports` is in the order of the gateway's settings.
    pub fn new(
        gateway: Gateway,
        ports: Vec<(String, Port)>,
        clock: Clock,
        state: StateWriter,
    ) -> io::Result<(Self, Handle)> {
        let epoll = Epoll::new()?;
        let wake = Arc::new(EventFd::new()?);
        epoll.add(wake.as_fd(), WAKE, Interest::Readable)?;
        let mut lines = Vec::with_capacity(ports.len());
        for (token, (name, port)) in (0u64..).zip(ports) {
            epoll.add(port.fd(), token, Interest::Readable)?;
            lines.push(Line { name, port, ready: true, failed: false, refused: 0 });
        }
        let (sender, commands) = mpsc::channel();
        let handle = Handle { commands: sender, wake: Arc::clone(&wake) };
        let recorder = Recorder::default();
        Ok((Worker { gateway, lines, clock, epoll, wake, commands, recorder, state }, handle))
    }

    /// Runs until it is told to stop, then ends every session and gives the ports back.
    pub fn run(mut self) -> io::Result<()> {
        let mut awake = Vec::new();
        let mut batch = Batch::new();
        let mut round: u32 = 0;
        loop {
            let busy = self.lines.iter().any(|line| line.ready);
            if !busy || round.is_multiple_of(BUSY_ROUNDS) {
                let timeout = if busy { Some(Duration::ZERO) } else { self.idle_time() };
                self.epoll.wait(&mut awake, timeout)?;
                for token in awake.drain(..) {
                    if token == WAKE {
                        self.wake.clear();
                        while let Ok(command) = self.commands.try_recv() {
                            if self.obey(command) {
                                self.stop();
                                return Ok(());
                            }
                        }
                    } else if let Some(line) =
                        usize::try_from(token).ok().and_then(|index| self.lines.get_mut(index))
                    {
                        line.ready = true;
                    }
                }
            }
            round = round.wrapping_add(1);
            for index in 0..self.lines.len() {
                self.receive(index, &mut batch);
            }
            let now = self.clock.now();
            if self.gateway.poll_timeout().is_some_and(|due| due <= now) {
                self.gateway.handle_timeout(now);
            }
            self.transmit();
            self.report();
        }
    }

    /// How long there is nothing to do.
    fn idle_time(&self) -> Option<Duration> {
        let deadline = self.gateway.poll_timeout().map(|deadline| self.clock.until(deadline));
        if self.lines.iter().any(|line| line.refused > 0) {
            Some(deadline.unwrap_or(RETRY_TRANSMIT).min(RETRY_TRANSMIT))
        } else {
            deadline
        }
    }

    fn receive(&mut self, index: usize, batch: &mut Batch) {
        let (Some(line), Ok(id)) = (self.lines.get_mut(index), u16::try_from(index)) else { return };
        if !line.ready {
            return;
        }
        match line.port.receive(batch, self.gateway.pool(), BATCH) {
            Ok(0) => line.ready = false,
            Ok(_) => {
                if line.failed {
                    line.failed = false;
                    info!("port {}: works again", line.name);
                }
                if !self.recorder.is_idle() {
                    let at = clock::wall();
                    for frame in batch.iter() {
                        self.recorder.show(PortId(id), Direction::Received, at, frame);
                    }
                }
                self.gateway.receive(self.clock.now(), PortId(id), batch);
                self.transmit();
            }
            Err(error) => {
                line.ready = false;
                if !line.failed {
                    line.failed = true;
                    warn!(
                        "port {}: cannot receive ({error}); it is tried again when the device wakes up",
                        line.name
                    );
                }
            }
        }
    }

    fn transmit(&mut self) {
        for (line, id) in self.lines.iter_mut().zip(self.gateway.ports()) {
            let Some((queue, pool)) = self.gateway.outgoing(id) else { continue };
            if queue.is_empty() {
                continue;
            }
            if !self.recorder.is_idle() {
                let at = clock::wall();
                for frame in queue.iter().skip(line.refused) {
                    self.recorder.show(id, Direction::Sent, at, frame);
                }
            }
            let sent = line.port.transmit(queue, pool);
            line.refused = queue.len();
            if let Err(error) = sent
                && !line.failed
            {
                line.failed = true;
                warn!("port {}: cannot send ({error}); frames are dropped until it can", line.name);
            }
        }
    }

    /// True when the command is to stop.
    fn obey(&mut self, command: Command) -> bool {
        match command {
            Command::Status(reply) => {
                let status = self.status();
                // Whoever asked may have gone.
                let _ = reply.send(status);
            }
            Command::Record(tap) => self.recorder.add(tap),
            Command::Stop => return true,
        }
        false
    }

    fn status(&mut self) -> RunningStatus {
        let now = self.clock.now();
        RunningStatus {
            version: env!("CARGO_PKG_VERSION"),
            uptime_s: now.as_secs(),
            gateway: self.gateway.status(now),
            ports: self
                .lines
                .iter_mut()
                .map(|line| PortStatus {
                    name: line.name.clone(),
                    device: line.port.name().to_owned(),
                    mac: line.port.mac(),
                    mtu: line.port.mtu(),
                    stats: line.port.stats(),
                })
                .collect(),
        }
    }

    /// Tells the log what has happened, and has the state saved when it has changed.
    fn report(&mut self) {
        let mut changed = false;
        while let Some(event) = self.gateway.poll_event() {
            log(&event);
            changed |= event.changes_state();
        }
        if changed {
            self.state.write(self.gateway.state(), self.clock.now());
        }
    }

    fn stop(mut self) {
        self.gateway.shut_down(self.clock.now());
        self.transmit();
        self.report();
        let balance = self.gateway.balance();
        if !balance.holds() {
            error!(
                "{} frames came in and {} are accounted for: a fault of the router",
                balance.born, balance.ended
            );
        }
        let internal = self.gateway.ledger().dropped(DropReason::Internal);
        if internal > 0 {
            error!("{internal} frames were dropped for want of a buffer or a port: a fault of the router");
        }
        self.state.write(self.gateway.state(), self.clock.now());
    }
}

fn log(event: &Event) {
    match event.level() {
        Level::Debug => debug!("{event}"),
        Level::Info => info!("{event}"),
        Level::Warning => warn!("{event}"),
    }
}
