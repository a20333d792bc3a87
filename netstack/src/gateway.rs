//! The gateway: [`Control`] and [`Forwarder`], joined.
//!
//! A driver hands in frames and the time; it takes out frames, the next deadline and [`Event`]s. In order, one call does
//! this:
//!
//! 1. tags come off where the port has a VLAN, and the Forwarder runs the batch to completion; what is not plain traffic becomes a `Punt`;
//! 2. Control acts on every punt;
//! 3. what Control has negotiated goes down as `Update`s, what it has to say goes out as frames, and what the Forwarder
//!    wants resolved goes up, until neither has anything left.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use crate::control::{Control, Event, Exit};
use crate::explain::{self, Diagnosis, FlowDiagnosis};
use crate::forward::adopt::Course;
use crate::forward::offload::{Carried, Ends, FlowHandle, Offload, OffloadedFlow};
use crate::forward::{Forwarder, Punt, Usage};
use crate::frame::{Batch, Egress, Frame, Pool};
use crate::id::{Interface, PortId, WanId};
use crate::ledger::{Balance, Ledger};
use crate::machine::Cx;
use crate::rng::SeededRng;
use crate::settings::{Settings, Transport};
use crate::sight::{Fact, Names, Point, Sighting, Watch};
use crate::state::{RememberedFlow, State};
use crate::status::{Status, WanStatus};
use crate::time::{Duration, Instant, earliest};

/// A whole router without I/O.
pub struct Gateway {
    control: Control,
    forwarder: Forwarder,
    egress: Egress,
    punts: VecDeque<Punt>,
    rng: SeededRng,
    ports: Vec<String>,
    names: Names,
    /// What is wrong with each port, as its driver says.
    troubles: Vec<Option<String>>,
}

impl Gateway {
    /// A gateway that starts now. All its randomness comes from `seed`.
    pub fn new(settings: &Settings, state: &State, seed: [u8; 32], now: Instant) -> Self {
        let mut rng = SeededRng::new(seed);
        let ports: Vec<String> = settings.ports.iter().map(|port| port.name.clone()).collect();
        let control = Control::new(settings, state, &mut Cx { now, rng: &mut rng });
        let forwarder = Forwarder::new(settings, &mut rng);
        let mut gateway = Gateway {
            control,
            forwarder,
            egress: Egress::new(&settings.ports),
            punts: VecDeque::new(),
            rng,
            troubles: ports.iter().map(|_| None).collect(),
            ports,
            names: Names::new(settings),
        };
        gateway.settle(now);
        gateway.adopt_left(now, &state.flows);
        gateway
    }

    /// Lets flows go on that an earlier run has left.
    fn adopt_left(&mut self, now: Instant, flows: &[RememberedFlow]) {
        let ends = |(from, to): (SocketAddr, SocketAddr)| Ends {
            source: (from.ip(), from.port()),
            destination: (to.ip(), to.port()),
        };
        for flow in flows {
            let &RememberedFlow { protocol, before, after, .. } = flow;
            let (Some(from), Some(to)) = (self.names.find(&flow.from), self.names.find(&flow.to)) else {
                continue;
            };
            let course = Course { protocol, from, to, before: ends(before), after: ends(after) };
            // One that does not fit any more begins anew, if it can.
            let _ = self.forwarder.adopt(&mut Cx { now, rng: &mut self.rng }, &course);
        }
    }

    /// Takes in the frames that came by `port`, and leaves `batch` empty.
    pub fn receive(&mut self, now: Instant, port: PortId, batch: &mut Batch) {
        self.egress.received(batch.len());
        if !self.egress.is_watched() {
            return self.take_in(now, port, batch);
        }
        let mut single = Batch::new();
        while let Some(frame) = batch.pop_front() {
            self.egress.begin_journey(Some(&frame));
            self.egress.show(Point::Port(port), false, &frame);
            single.push_back(frame);
            self.take_in(now, port, &mut single);
        }
    }

    fn take_in(&mut self, now: Instant, port: PortId, batch: &mut Batch) {
        self.egress.untag(port, batch);
        loop {
            let cx = &mut Cx { now, rng: &mut self.rng };
            self.forwarder.receive(cx, port, batch, &mut self.egress, &mut self.punts);
            self.settle(now);
            if batch.is_empty() {
                return;
            }
        }
    }

    /// Does what is due. Calling it early or twice does nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.egress.begin_journey(None);
        let cx = &mut Cx { now, rng: &mut self.rng };
        self.forwarder.handle_timeout(cx, &mut self.egress);
        self.control.note_traffic(cx, |owner| self.forwarder.usage(owner));
        self.control.handle_timeout(cx);
        self.settle(now);
    }

    /// When [`Gateway::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        earliest(self.control.poll_timeout(), self.forwarder.poll_timeout())
    }

    /// The next fact.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.control.poll_event()
    }

    /// Number of ports.
    pub fn ports(&self) -> impl Iterator<Item = PortId> + use<> {
        (0..u16::try_from(self.ports.len()).unwrap_or(u16::MAX)).map(PortId)
    }

    /// The frames that wait to leave by `port`, and the pool that takes their buffers back.
    pub fn outgoing(&mut self, port: PortId) -> Option<(&mut Batch, &mut Pool)> {
        self.egress.outgoing(port)
    }

    /// Buffers to receive into.
    pub fn pool(&mut self) -> &mut Pool {
        &mut self.egress.pool
    }

    /// Ends every session in good order: the peers are told, nothing is dialled again.
    pub fn shut_down(&mut self, now: Instant) {
        self.egress.begin_journey(None);
        self.control.shut_down(&mut Cx { now, rng: &mut self.rng });
        self.settle(now);
    }

    /// Time has passed that the clock behind `now` has not counted: the machine was paused, and nobody knows for how long.
    /// Everything that was agreed with others is asked for again at once; until they answer it stays in use, but for keys of
    /// VPNs. Being told so in vain costs some questions, and no flow.
    pub fn resumed(&mut self, now: Instant) {
        self.egress.begin_journey(None);
        let cx = &mut Cx { now, rng: &mut self.rng };
        self.control.resumed(cx);
        self.forwarder.doubt(now);
        self.settle(now);
    }

    /// The line of a port was cut, and is whole again. The uplinks there ask whether what they have is still theirs.
    pub fn reconnected(&mut self, now: Instant, port: PortId) {
        self.egress.begin_journey(None);
        let cx = &mut Cx { now, rng: &mut self.rng };
        self.control.reconnected(cx, port);
        self.forwarder.doubt_line(now, port);
        self.settle(now);
    }

    /// What the wall clock says at `now`: the time since 1970. May be told again, also when it was set back. Only the stamps
    /// of handshakes come from it.
    pub fn set_clock(&mut self, now: Instant, unix: Duration) {
        self.control.set_clock(now, unix);
    }

    /// What the state file should hold.
    pub fn state(&self) -> State {
        self.control.state()
    }

    /// What the state file should hold when the program ends and leaves everything as it is: its flows, too.
    pub fn state_left(&self) -> State {
        let socket = |(address, port): (IpAddr, u16)| SocketAddr::new(address, port);
        let ends = |ends: Ends| (socket(ends.source), socket(ends.destination));
        let remember = |course: Course| RememberedFlow {
            protocol: course.protocol,
            from: self.names.of(course.from),
            to: self.names.of(course.to),
            before: ends(course.before),
            after: ends(course.after),
        };
        State { flows: self.forwarder.left().into_iter().map(remember).collect(), ..self.state() }
    }

    /// What `genkan status` shows.
    pub fn status(&self, now: Instant) -> Status {
        let mut status = self.bare_status(now);
        let wans = (0u16..).map(WanId).zip(&status.wans);
        let problem = |(id, wan): (WanId, &WanStatus)| {
            self.diagnose(now, id, &status).map(|told| told.sentence).filter(|_| !wan.up)
        };
        let problems: Vec<Option<String>> = wans.map(problem).collect();
        status.wans.iter_mut().zip(problems).for_each(|(wan, problem)| wan.problem = problem);
        status
    }

    fn bare_status(&self, now: Instant) -> Status {
        self.control.status(now, &self.forwarder, self.egress.ledger(), &self.ports)
    }

    /// What is wrong with a port, as its driver says: no carrier, no device. `None` when nothing is.
    pub fn set_trouble(&mut self, port: PortId, trouble: Option<String>) {
        if let Some(known) = self.troubles.get_mut(port.index()) {
            *known = trouble;
        }
    }

    /// What is wrong with an uplink, step by step, and why that usually is. `None` when there is no such uplink.
    pub fn explain_wan(&self, now: Instant, wan: WanId) -> Option<Diagnosis> {
        self.diagnose(now, wan, &self.bare_status(now))
    }

    fn diagnose(&self, now: Instant, wan: WanId, status: &Status) -> Option<Diagnosis> {
        let trouble = |port: PortId| self.troubles.get(port.index()).cloned().flatten();
        self.control.memory().diagnose(now, wan, status, trouble, |port| self.egress.foreign_vlan(port))
    }

    /// What becomes of packets from one address and port to another: by the flow that is there, or as a first packet would
    /// fare. Nothing is changed by asking. Without a protocol, it is that which has a flow, or TCP.
    pub fn explain_flow(
        &mut self,
        now: Instant,
        protocol: Option<Transport>,
        source: SocketAddr,
        destination: SocketAddr,
    ) -> FlowDiagnosis {
        let ends = (source, destination);
        let mut told = explain::flow::diagnose(&mut self.forwarder, now, &self.names, protocol, ends);
        if !told.passes {
            // A line that is down explains a connection that is none.
            let status = self.status(now);
            told.facts.extend(status.wans.into_iter().filter_map(|wan| wan.problem));
        }
        told
    }

    /// What is wrong with the peers of a VPN, or with the one that is named. Empty when there are none of that name.
    pub fn explain_vpn(&self, now: Instant, vpn: &str, peer: Option<&str>) -> Vec<Diagnosis> {
        self.control.explain_vpn(now, (vpn, peer), &self.forwarder)
    }

    /// The account of every frame.
    pub fn ledger(&self) -> &Ledger {
        self.egress.ledger()
    }

    /// Both sides of the account, which are equal at any time between two calls.
    pub fn balance(&self) -> Balance {
        self.egress.ledger().balance(self.forwarder.held())
    }

    /// Says what somebody wants to see from now on. Sightings are to be taken out after each call.
    pub fn watch(&mut self, watch: Watch) {
        self.egress.watch(watch, &self.names);
    }

    /// The next frame at a point.
    pub fn poll_sighting(&mut self) -> Option<Sighting> {
        self.egress.poll_sighting()
    }

    /// Says that there is a kernel half that carries flows, or none. There is none at first.
    pub fn set_offload(&mut self, on: bool) {
        self.forwarder.set_offload(on);
    }

    /// What the kernel half is to do: to be taken out after each call, until there is nothing left, in this order.
    pub fn poll_offload(&mut self) -> Option<Offload> {
        self.forwarder.poll_offload()
    }

    /// The kernel half has carried packets of a flow, at most [`SWEEP`](crate::forward::offload::SWEEP) ago: flow and stations are in use.
    pub fn note_carried(&mut self, now: Instant, carried: &Carried) {
        self.forwarder.note_carried(now, carried);
    }

    /// The kernel half has carried this much by an interface since it was last said. What was received is a sign of life of
    /// a session's peer.
    pub fn note_usage(&mut self, now: Instant, interface: Interface, carried: Usage) {
        self.forwarder.note_usage(now, interface, carried);
    }

    /// What becomes of a frame by `port` that needs no question asked, and by which port it leaves. Nothing is counted or
    /// changed. `None` when there are questions.
    pub fn rehearse(&mut self, now: Instant, port: PortId, mut frame: Frame) -> Option<(PortId, Frame)> {
        let exit = self.forwarder.rehearse(now, port, &mut frame)?;
        Some((exit, frame))
    }

    /// This flow is never handed over again.
    pub fn bar(&mut self, flow: FlowHandle) {
        self.forwarder.bar(flow);
    }

    /// Lets a flow that an earlier run handed over go on, by one of its directions; the other gives the same handle. `None`
    /// when it no longer fits: an address, a prefix or a port is not ours any more, or a rule or a limit forbids it. A
    /// flow that came in by another flow's mapping fits only after that one.
    pub fn adopt_flow(&mut self, now: Instant, flow: &OffloadedFlow) -> Option<FlowHandle> {
        self.forwarder.adopt_flow(&mut Cx { now, rng: &mut self.rng }, flow)
    }

    /// Sends what Control has to say. False when it had nothing.
    fn transmit(
        control: &mut Control,
        forwarder: &mut Forwarder,
        cx: &mut Cx<'_>,
        egress: &mut Egress,
    ) -> bool {
        let mut any = false;
        loop {
            let mut frame = egress.originate(control.room());
            let exit = control.poll_transmit(&mut frame);
            match exit {
                Some(Exit::Port(_) | Exit::Lan(_)) => {
                    egress.note(|_| Fact::Own);
                    egress.show(Point::Interface(Interface::Router), true, &frame);
                }
                Some(Exit::Link(_) | Exit::Routed) => {
                    egress.note(|_| Fact::Own);
                    egress.show_packet(Interface::Router, true, &frame);
                }
                // A message without its headers.
                Some(Exit::Tunnel(_)) => egress.note(|_| Fact::Own),
                None => {}
            }
            match exit {
                Some(exit) => {
                    control.note_sent(cx.now, exit, frame.bytes());
                    Self::send(forwarder, cx, egress, exit, frame);
                }
                None => {
                    egress.unused(frame);
                    return any;
                }
            }
            any = true;
        }
    }

    fn send(forwarder: &mut Forwarder, cx: &mut Cx<'_>, egress: &mut Egress, exit: Exit, frame: Frame) {
        match exit {
            Exit::Port(port) => egress.transmit(port, frame),
            Exit::Lan(lan) => forwarder.send_lan(cx.now, lan, frame, egress),
            Exit::Link(interface) => forwarder.send_link(cx, interface, frame, egress),
            Exit::Routed => forwarder.send_ip(cx, frame, egress),
            Exit::Tunnel(to) => forwarder.send_message(cx, to, frame, egress),
        }
    }

    /// Lets Control and the Forwarder talk until neither has anything to say.
    fn settle(&mut self, now: Instant) {
        let cx = &mut Cx { now, rng: &mut self.rng };
        loop {
            let mut quiet = !self.forwarder.flush(cx, &mut self.egress, &mut self.punts);
            while let Some(punt) = self.punts.pop_front() {
                self.egress.note(|_| Fact::HandedUp { what: punt.kind.describe() });
                self.egress.show_punt(punt.kind.is_packet(), &punt.frame);
                match self.control.handle(cx, &punt) {
                    Ok(()) => self.egress.consume(punt.frame),
                    Err(reason) => self.egress.drop(punt.frame, reason),
                }
                quiet = false;
            }
            while let Some(update) = self.control.poll_update() {
                self.forwarder.apply(cx, update, &mut self.egress);
                quiet = false;
            }
            while let Some(update) = self.control.poll_tunnel_update() {
                self.forwarder.apply_tunnel(cx, update, &mut self.egress);
                quiet = false;
            }
            while let Some(peer) = self.forwarder.poll_wanted() {
                self.control.want_keys(cx, peer);
                quiet = false;
            }
            while let Some(resolve) = self.forwarder.poll_resolve() {
                self.control.resolve(cx, resolve);
                quiet = false;
            }
            while let Some(notice) = self.forwarder.poll_notice() {
                self.control.note_bridge(notice);
            }
            if !Self::transmit(&mut self.control, &mut self.forwarder, cx, &mut self.egress) && quiet {
                break;
            }
        }
    }
}

#[cfg(test)]
#[cfg(feature = "sim")]
mod pauses;
#[cfg(test)]
#[cfg(feature = "sim")]
mod plain;
#[cfg(test)]
mod tests;
#[cfg(test)]
#[cfg(feature = "sim")]
mod vpn;
