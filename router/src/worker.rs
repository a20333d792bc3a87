//! The data thread: wait, receive a batch, run the gateway, transmit a batch.
//!
//! It owns the gateway and the ports, takes no lock and waits at one place. The rest of the program reaches it by
//! [`Handle`]: a queue of commands and a wake-up.

use std::io;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use genkan_netstack::frame::Batch;
use genkan_netstack::gateway::Gateway;
use genkan_netstack::id::PortId;
use genkan_netstack::ledger::DropReason;
use genkan_netstack::sight::{Point, Sighting, Watch};
use genkan_netstack::status::Status;
use genkan_netstack::time::{Instant, earliest};
use serde::Serialize;
use tokio::sync::oneshot;
use tracing::{error, info};

use crate::capture::ring::Snapshot;
use crate::capture::{Direction, Keeper, Points, Recorder, Tap};
use crate::clock::{self, Clock};
use crate::explain::{Answer, Question, answer};
use crate::fastpath::{FastPath, FastPathStatus};
use crate::line::{Line, PortStatus};
use crate::log::EventLog;
use crate::pause::{Pause, Witness};
use crate::port::{Port, Spec};
use crate::privileges::{self, ThreadStatus};
use crate::state::StateWriter;
use crate::sys::poll::{Epoll, EventFd};

/// Frames taken from one port before the next port has its turn.
const BATCH: usize = 64;
/// Rounds between two looks at the wake-up and at idle ports, while some port has frames.
const BUSY_ROUNDS: u32 = 16;
/// How soon a full device is tried again.
const RETRY_TRANSMIT: Duration = Duration::from_millis(1);

/// Time between two looks at ports in trouble.
const LOOK_AFTER_PORTS: Duration = Duration::from_secs(1);

/// Least time between two looks whether taps are where they were.
const LOOK_FOR_TAPS: Duration = Duration::from_millis(100);

/// Longest wait for full devices at the end.
const PATIENCE_AT_THE_END: Duration = Duration::from_millis(500);

const WAKE: u64 = u64::MAX;

/// What the rest of the program asks of the data thread.
pub enum Command {
    /// Tell the status.
    Status(oneshot::Sender<RunningStatus>),
    /// Tell what is wrong, or that there is nothing of that name.
    Explain(Question, oneshot::Sender<Result<Answer, String>>),
    /// Show every frame to one more listener.
    Record(Tap),
    /// What the ring holds; `None` when there is none.
    Ring(oneshot::Sender<Option<Snapshot>>),
    /// The machine was paused.
    Resumed(Pause),
    /// The line of a port was cut, and is whole again.
    Reconnected(PortId),
    /// Return, and say so when everything is done.
    Stop(End, oneshot::Sender<()>),
}

/// What is to become of sessions, flows and devices when the gateway ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Sessions are ended in good order, devices given back.
    Flush,
    /// Everything goes on as far as it can without the program, for the next run to take up.
    Leave,
}

/// What the gateway is to show: everything while somebody captures, drops for the ring.
fn watch(recorder: &Recorder, keeper: Option<&Keeper>) -> Watch {
    match (recorder.is_idle(), keeper) {
        (false, _) => Watch::Everything,
        (true, Some(_)) => Watch::Drops,
        (true, None) => Watch::Nothing,
    }
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
    /// The kernel path.
    pub fast_path: FastPathStatus,
    /// The newest file in which the ring was saved.
    pub saved_capture: Option<PathBuf>,
    /// The last time that was not lived through.
    pub last_pause: Option<PauseStatus>,
    /// What each thread may still do.
    pub privileges: Vec<ThreadStatus>,
}

/// A time that was not lived through, as the status shows it.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct PauseStatus {
    /// Seconds since its end.
    pub age_s: u64,
    /// Seconds that it seems to have lasted.
    pub lasted_s: u64,
    /// What tells so.
    pub witness: Witness,
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

/// The data thread's work.
pub struct Worker {
    gateway: Gateway,
    lines: Vec<Line>,
    /// When ports in trouble are looked after next.
    look: Instant,
    /// When taps are looked for next.
    look_for_taps: Instant,
    clock: Clock,
    epoll: Epoll,
    wake: Arc<EventFd>,
    commands: Receiver<Command>,
    recorder: Recorder,
    /// Keeps the last seconds, unless it is told not to.
    keeper: Option<Keeper>,
    /// What the gateway has shown in the last call.
    sightings: Vec<Sighting>,
    log: EventLog,
    /// The last pause, and when it ended.
    last_pause: Option<(Instant, Pause)>,
    state: StateWriter,
    /// Without a kernel path: what is to be said of that.
    fast_path: Result<FastPath, Box<FastPathStatus>>,
}

impl Worker {
    /// Puts the gateway and its ports together. `ports` is in the order of the gateway's settings.
    pub fn new(
        mut gateway: Gateway,
        ports: Vec<(Spec, Port)>,
        (points, keeper): (Points, Option<Keeper>),
        clock: Clock,
        state: StateWriter,
        fast_path: Result<FastPath, Box<FastPathStatus>>,
    ) -> io::Result<(Self, Handle)> {
        let epoll = Epoll::new()?;
        let wake = Arc::new(EventFd::new()?);
        epoll.add(wake.as_fd(), WAKE)?;
        let mut lines = Vec::with_capacity(ports.len());
        for (token, (spec, port)) in (0u64..).zip(ports) {
            lines.push(Line::new(spec, port, token, &epoll)?);
        }
        let (sender, commands) = mpsc::channel();
        let handle = Handle { commands: sender, wake: Arc::clone(&wake) };
        let recorder = Recorder::new(points);
        gateway.watch(watch(&recorder, keeper.as_ref()));
        let look = clock.now();
        let log = EventLog::default();
        let worker = Worker {
            gateway,
            lines,
            look,
            look_for_taps: look,
            clock,
            epoll,
            wake,
            commands,
            recorder,
            keeper,
            sightings: Vec::new(),
            log,
            last_pause: None,
            state,
            fast_path,
        };
        Ok((worker, handle))
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
                            if let Some((end, done)) = self.obey(command) {
                                self.stop(end);
                                // Whoever asked may have gone.
                                let _ = done.send(());
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
                self.gateway.set_clock(now, clock::wall());
                self.gateway.handle_timeout(now);
            }
            if let Ok(fast_path) = &mut self.fast_path {
                fast_path.pause(self.recorder.pauses_fast_path());
                fast_path.look(now, &mut self.gateway, &mut self.recorder);
            }
            self.look_for_taps(now);
            self.transmit();
            self.look_after_ports(now);
            self.show();
            self.report();
        }
    }

    /// Shows what the gateway has seen to whoever captures.
    #[inline]
    fn show(&mut self) {
        self.sightings.extend(std::iter::from_fn(|| self.gateway.poll_sighting()));
        if self.sightings.is_empty() {
            return;
        }
        let at = clock::wall();
        if let Some(keeper) = &mut self.keeper {
            let drops = self.sightings.iter().filter(|sighting| sighting.point == Point::Drop);
            drops.for_each(|sighting| keeper.ring().take_drop(at, sighting));
        }
        if !self.recorder.is_idle() {
            self.recorder.show(at, &self.sightings);
            self.gateway.watch(watch(&self.recorder, self.keeper.as_ref()));
        }
        self.sightings.clear();
    }

    /// Ports whose device is down or gone are looked after once a second.
    fn look_after_ports(&mut self, now: Instant) {
        if now < self.look || !self.lines.iter().any(Line::in_trouble) {
            return;
        }
        for (number, line) in (0..).zip(&mut self.lines).filter(|(_, line)| line.in_trouble()) {
            let change = line.look_after(&self.epoll);
            let Ok(fast_path) = &mut self.fast_path else { continue };
            if change.lost {
                fast_path.port_lost(number);
            }
            if change.opened
                && let Some(port) = line.port()
            {
                fast_path.port_opened(number, port);
            }
        }
        self.look = now + LOOK_AFTER_PORTS;
    }

    /// Whether taps are still where the kernel path reaches them.
    fn look_for_taps(&mut self, now: Instant) {
        let Ok(fast_path) = &mut self.fast_path else { return };
        if now < self.look_for_taps {
            return;
        }
        for (number, line) in (0..).zip(&mut self.lines) {
            if let Some(port @ Port::Tap(_)) = line.port() {
                fast_path.look_for(number, port);
            }
        }
        self.look_for_taps = now + LOOK_FOR_TAPS;
    }

    /// How long there is nothing to do.
    fn idle_time(&self) -> Option<Duration> {
        let look = self.lines.iter().any(Line::in_trouble).then_some(self.look);
        let sweep = self.fast_path.as_ref().ok().map(FastPath::poll_timeout);
        let deadline = earliest(earliest(self.gateway.poll_timeout(), look), sweep);
        let deadline = deadline.map(|deadline| self.clock.until(deadline));
        if self.lines.iter().any(|line| line.refused > 0) {
            Some(deadline.unwrap_or(RETRY_TRANSMIT).min(RETRY_TRANSMIT))
        } else {
            deadline
        }
    }

    fn receive(&mut self, index: usize, batch: &mut Batch) {
        let (Some(line), Ok(id)) = (self.lines.get_mut(index), u16::try_from(index)) else { return };
        if !line.ready || line.receive(batch, self.gateway.pool(), BATCH, &self.epoll) == 0 {
            return;
        }
        if let Some(keeper) = &mut self.keeper {
            keeper.ring().take(id, Direction::Received, clock::wall(), batch.iter());
        }
        self.gateway.receive(self.clock.now(), PortId(id), batch);
        self.show();
        if let Ok(fast_path) = &mut self.fast_path {
            fast_path.follow(&mut self.gateway);
        }
        self.transmit();
    }

    fn transmit(&mut self) {
        for (line, id) in self.lines.iter_mut().zip(self.gateway.ports()) {
            let Some((queue, pool)) = self.gateway.outgoing(id) else { continue };
            if queue.is_empty() {
                continue;
            }
            if let Some(keeper) = &mut self.keeper {
                let new = queue.iter().skip(line.refused);
                keeper.ring().take(id.0, Direction::Sent, clock::wall(), new);
            }
            line.transmit(queue, pool);
        }
    }

    /// Does what is asked; a command to stop is the caller's.
    fn obey(&mut self, command: Command) -> Option<(End, oneshot::Sender<()>)> {
        match command {
            Command::Status(reply) => {
                let status = self.status();
                // Whoever asked may have gone.
                let _ = reply.send(status);
            }
            Command::Explain(question, reply) => {
                let now = self.clock.now();
                self.tell_troubles();
                // Whoever asked may have gone.
                let _ = reply.send(answer(&mut self.gateway, now, &question));
            }
            Command::Record(tap) => {
                self.recorder.add(tap);
                self.gateway.watch(Watch::Everything);
            }
            Command::Ring(reply) => {
                let snapshot = self.keeper.as_mut().map(|keeper| keeper.ring().snapshot());
                // Whoever asked may have gone.
                let _ = reply.send(snapshot);
            }
            Command::Resumed(pause) => self.resumed(pause),
            Command::Reconnected(port) => {
                let name = self.lines.get(port.index()).map_or("", Line::name);
                info!("port {name}: its line is back; what the other end has given is asked for again");
                self.gateway.reconnected(self.clock.now(), port);
            }
            Command::Stop(end, done) => return Some((end, done)),
        }
        None
    }

    fn resumed(&mut self, pause: Pause) {
        let seconds = pause.lasted.as_secs();
        match pause.witness {
            Witness::Kernel => info!("the machine slept for {seconds} s"),
            Witness::HardwareClock => {
                info!("the hardware clock went on by {seconds} s that the machine's clock has not counted");
            }
            Witness::Program => info!("the program was not run for {seconds} s"),
        }
        let now = self.clock.now();
        self.last_pause = Some((now, pause));
        self.gateway.set_clock(now, clock::wall());
        self.gateway.resumed(now);
    }

    /// Tells the gateway why ports carry nothing, before it is asked what is wrong.
    fn tell_troubles(&mut self) {
        for (line, port) in self.lines.iter().zip(self.gateway.ports()) {
            self.gateway.set_trouble(port, line.trouble());
        }
    }

    fn status(&mut self) -> RunningStatus {
        let now = self.clock.now();
        self.tell_troubles();
        let fast_path = match &mut self.fast_path {
            Ok(fast_path) => fast_path.status(now, &mut self.gateway),
            Err(status) => (**status).clone(),
        };
        RunningStatus {
            version: env!("CARGO_PKG_VERSION"),
            uptime_s: now.as_secs(),
            gateway: self.gateway.status(now),
            ports: self.lines.iter_mut().map(Line::status).collect(),
            fast_path,
            saved_capture: self.keeper.as_ref().and_then(Keeper::newest),
            last_pause: self.last_pause.map(|(ended, pause)| PauseStatus {
                age_s: now.since(ended).as_secs(),
                lasted_s: pause.lasted.as_secs(),
                witness: pause.witness,
            }),
            privileges: privileges::status(),
        }
    }

    /// Tells the log what has happened, and has the state saved when it has changed, and the ring when something has failed.
    fn report(&mut self) {
        let mut changed = false;
        let now = self.clock.now();
        while let Some(event) = self.gateway.poll_event() {
            self.log.write(&event, now);
            if let Some(keeper) = &mut self.keeper {
                keeper.note(&event, now);
            }
            changed |= event.changes_state();
        }
        if changed {
            self.state.write(self.gateway.state(), now);
        }
    }

    fn stop(mut self, end: End) {
        if end == End::Flush {
            self.gateway.shut_down(self.clock.now());
        }
        self.transmit();
        // The peers' good-byes are behind what a full device has refused: it gets a moment.
        let patience = self.clock.now() + PATIENCE_AT_THE_END;
        while self.lines.iter().any(|line| line.refused > 0) && self.clock.now() < patience {
            std::thread::sleep(RETRY_TRANSMIT);
            self.transmit();
        }
        self.show();
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
        let state = match end {
            End::Flush => self.gateway.state(),
            End::Leave => self.gateway.state_left(),
        };
        self.state.write(state, self.clock.now());
        if end == End::Leave {
            self.lines.into_iter().for_each(Line::leave);
            if let Ok(fast_path) = self.fast_path {
                fast_path.leave();
            }
        }
    }
}
