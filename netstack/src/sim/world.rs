//! The clock, the nodes and the cables.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::cable::Impairment;
use super::host::{Host, HostSettings};
use crate::control::{Event, Level};
use crate::frame::{Batch, Frame};
use crate::gateway::Gateway;
use crate::id::PortId;
use crate::rng::{Rng, SeededRng};
use crate::settings::Settings;
use crate::state::State;
use crate::time::{Duration, Instant};

/// Facts that [`World::story`] remembers.
const STORY: usize = 60;

/// A gateway or host of a [`World`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeId(usize);

/// A cable of a [`World`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CableId(usize);

/// One end of a cable: a node's port. A host has port 0 only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End(pub NodeId, pub PortId);

enum Node {
    Gateway(Box<Gateway>),
    Host(Box<Host>),
    /// Power is off.
    Off,
}

/// How a node's clock goes.
#[derive(Debug, Clone, Copy, Default)]
struct Clock {
    /// What it has not counted.
    behind: Duration,
    /// When the node was paused, while it is.
    paused: Option<Instant>,
}

struct Cable {
    ends: [End; 2],
    impairment: Impairment,
}

/// A frame at a port of the node that a [`World`] listens to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// When it was there.
    pub at: Instant,
    /// The port.
    pub port: PortId,
    /// The node sent it.
    pub sent: bool,
    /// Its octets.
    pub frame: Vec<u8>,
}

/// A simulated network.
pub struct World {
    now: Instant,
    rng: SeededRng,
    nodes: Vec<Node>,
    /// Those of the nodes that were paused.
    clocks: BTreeMap<usize, Clock>,
    cables: Vec<Cable>,
    in_flight: BTreeMap<(Instant, u64), (End, Frame)>,
    sent: u64,
    story: VecDeque<(Instant, NodeId, Event)>,
    listening: Option<NodeId>,
    heard: Vec<Heard>,
}

impl World {
    /// An empty world at time 1 s, whose every event follows from `seed`.
    pub fn new(seed: u64) -> Self {
        World {
            now: Instant::from_secs(1),
            rng: SeededRng::from_u64(seed),
            nodes: Vec::new(),
            clocks: BTreeMap::new(),
            cables: Vec::new(),
            in_flight: BTreeMap::new(),
            sent: 0,
            story: VecDeque::new(),
            listening: None,
            heard: Vec::new(),
        }
    }

    /// The present.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The present by a node's own clock, which does not go on while it is paused.
    pub fn clock(&self, node: NodeId) -> Instant {
        let Clock { behind, paused } = self.clocks.get(&node.0).copied().unwrap_or_default();
        let now = paused.unwrap_or(self.now);
        Instant::from_nanos(now.as_nanos().saturating_sub(behind.as_nanos() as u64))
    }

    /// Stops a gateway and its clock. What is sent to it meanwhile is lost.
    pub fn pause(&mut self, node: NodeId) {
        let clock = self.clocks.entry(node.0).or_default();
        clock.paused.get_or_insert(self.now);
    }

    /// Lets a gateway go on that was paused, and tells it so.
    pub fn resume(&mut self, node: NodeId) {
        let Some(clock) = self.clocks.get_mut(&node.0) else { return };
        let Some(paused) = clock.paused.take() else { return };
        clock.behind += self.now.since(paused);
        let now = self.clock(node);
        if let Some(Node::Gateway(gateway)) = self.nodes.get_mut(node.0) {
            gateway.resumed(now);
        }
        self.flush(node);
    }

    /// A cut cable is whole again: a gateway at a port of it is told so.
    pub fn reconnect(&mut self, End(node, port): End) {
        let now = self.clock(node);
        if let Some(Node::Gateway(gateway)) = self.nodes.get_mut(node.0) {
            gateway.reconnected(now, port);
        }
        self.flush(node);
    }

    fn is_paused(&self, node: NodeId) -> bool {
        self.clocks.get(&node.0).is_some_and(|clock| clock.paused.is_some())
    }

    /// The world's random numbers, for the plan of a life.
    pub fn rng(&mut self) -> &mut dyn Rng {
        &mut self.rng
    }

    /// Adds a gateway and starts it.
    pub fn add_gateway(&mut self, settings: &Settings) -> NodeId {
        self.nodes.push(Node::Off);
        let id = NodeId(self.nodes.len().saturating_sub(1));
        self.start(id, settings, &State::default());
        id
    }

    /// Adds a host and starts it.
    pub fn add_host(&mut self, settings: HostSettings) -> NodeId {
        self.nodes.push(Node::Host(Box::new(Host::new(settings, self.now))));
        NodeId(self.nodes.len().saturating_sub(1))
    }

    /// Joins two ports by a cable without faults.
    pub fn connect(&mut self, a: End, b: End) -> CableId {
        self.cables.push(Cable { ends: [a, b], impairment: Impairment::default() });
        CableId(self.cables.len().saturating_sub(1))
    }

    /// Changes what a cable does to frames sent from now on.
    pub fn impair(&mut self, cable: CableId, impairment: Impairment) {
        if let Some(cable) = self.cables.get_mut(cable.0) {
            cable.impairment = impairment;
        }
    }

    /// Cuts a node's power: nothing is sent, nothing is saved beyond what the gateway's state file would hold, which
    /// is returned.
    pub fn crash(&mut self, node: NodeId) -> State {
        match self.nodes.get_mut(node.0).map(|node| core::mem::replace(node, Node::Off)) {
            Some(Node::Gateway(gateway)) => gateway.state(),
            _ => State::default(),
        }
    }

    /// Has a gateway end its sessions in good order, and switches it off. Returns what its state file holds.
    pub fn shut_down(&mut self, node: NodeId) -> State {
        let now = self.clock(node);
        if let Some(Node::Gateway(gateway)) = self.nodes.get_mut(node.0) {
            gateway.shut_down(now);
        }
        self.flush(node);
        self.crash(node)
    }

    /// Switches a host off and on again: it remembers nothing.
    pub fn restart_host(&mut self, node: NodeId) {
        if let Some(Node::Host(host)) = self.nodes.get_mut(node.0) {
            **host = host.restarted(self.now);
        }
    }

    /// Starts a gateway with what its state file holds.
    pub fn start(&mut self, node: NodeId, settings: &Settings, state: &State) {
        let mut seed = [0; 32];
        self.rng.fill(&mut seed);
        let gateway = Gateway::new(settings, state, seed, self.clock(node));
        if let Some(node) = self.nodes.get_mut(node.0) {
            *node = Node::Gateway(Box::new(gateway));
        }
        self.flush(node);
    }

    /// The gateway that runs at a node.
    pub fn gateway(&mut self, node: NodeId) -> Option<&mut Gateway> {
        match self.nodes.get_mut(node.0) {
            Some(Node::Gateway(gateway)) => Some(gateway),
            _ => None,
        }
    }

    /// The host at a node.
    pub fn host(&mut self, node: NodeId) -> Option<&mut Host> {
        match self.nodes.get_mut(node.0) {
            Some(Node::Host(host)) => Some(host),
            _ => None,
        }
    }

    /// The last facts that the gateways reported to their users, a line each, for a test that fails.
    pub fn story(&self) -> String {
        let line = |(at, node, event): &(Instant, NodeId, Event)| format!("{at} node {}: {event}\n", node.0);
        self.story.iter().map(line).collect()
    }

    /// Keeps every frame that a node sends and receives from now on.
    pub fn listen(&mut self, node: NodeId) {
        self.listening = Some(node);
    }

    /// What has been heard since it was last asked.
    pub fn heard(&mut self) -> Vec<Heard> {
        core::mem::take(&mut self.heard)
    }

    fn hear(&mut self, End(node, port): End, sent: bool, frame: &Frame) {
        if self.listening == Some(node) {
            self.heard.push(Heard { at: self.now, port, sent, frame: frame.bytes().to_vec() });
        }
    }

    /// Runs for `span` of virtual time.
    pub fn run_for(&mut self, span: Duration) {
        let end = self.now + span;
        while self.step(end) {}
        self.now = end;
    }

    /// Puts a frame into a node's port as if it had come off a cable, and lets the node act upon it.
    pub fn inject(&mut self, end: End, frame: Frame) {
        self.deliver(end, frame);
    }

    /// The next delivery or deadline before `end`. False when there is none.
    fn step(&mut self, end: Instant) -> bool {
        let delivery = self.in_flight.first_key_value().map(|(&(at, _), _)| at);
        let deadline = (0..self.nodes.len())
            .filter_map(|index| self.deadline(NodeId(index)).map(|at| (at, index)))
            .min();
        match (delivery, deadline) {
            (Some(at), due) if at <= end && due.is_none_or(|(due, _)| at <= due) => {
                self.now = self.now.max(at);
                if let Some((_, (to, frame))) = self.in_flight.pop_first() {
                    self.deliver(to, frame);
                }
                true
            }
            (_, Some((at, index))) if at <= end => {
                // A machine whose deadline does not move would spin here for ever: time must pass between two of its
                // calls.
                self.now = self.now.max(at) + Duration::from_nanos(1);
                let now = self.clock(NodeId(index));
                match self.nodes.get_mut(index) {
                    Some(Node::Gateway(gateway)) => gateway.handle_timeout(now),
                    Some(Node::Host(host)) => host.handle_timeout(self.now),
                    Some(Node::Off) | None => {}
                }
                self.flush(NodeId(index));
                true
            }
            _ => false,
        }
    }

    fn deadline(&self, node: NodeId) -> Option<Instant> {
        if self.is_paused(node) {
            return None;
        }
        let behind = self.clocks.get(&node.0).map_or(Duration::ZERO, |clock| clock.behind);
        match self.nodes.get(node.0)? {
            Node::Gateway(gateway) => gateway.poll_timeout().map(|at| at + behind),
            Node::Host(host) => host.poll_timeout(),
            Node::Off => None,
        }
    }

    fn deliver(&mut self, End(node, port): End, frame: Frame) {
        if self.is_paused(node) {
            return;
        }
        self.hear(End(node, port), false, &frame);
        let now = self.clock(node);
        match self.nodes.get_mut(node.0) {
            Some(Node::Gateway(gateway)) => gateway.receive(now, port, &mut Batch::from([frame])),
            Some(Node::Host(host)) => host.receive(self.now, &frame),
            Some(Node::Off) | None => {}
        }
        self.flush(node);
    }

    /// Takes what a node has to send and puts it on its cables.
    fn flush(&mut self, node: NodeId) {
        let mut outgoing = Vec::new();
        match self.nodes.get_mut(node.0) {
            Some(Node::Gateway(gateway)) => {
                for port in gateway.ports() {
                    if let Some((queue, _)) = gateway.outgoing(port) {
                        outgoing.extend(queue.drain(..).map(|frame| (End(node, port), frame)));
                    }
                }
                while let Some(event) = gateway.poll_event() {
                    if event.level() == Level::Debug {
                        continue;
                    }
                    self.story.push_back((self.now, node, event));
                    if self.story.len() > STORY {
                        self.story.pop_front();
                    }
                }
            }
            Some(Node::Host(host)) => {
                while let Some(frame) = host.poll_transmit() {
                    outgoing.push((End(node, PortId(0)), frame));
                }
            }
            Some(Node::Off) | None => {}
        }
        for (from, frame) in outgoing {
            self.hear(from, true, &frame);
            let Some(cable) = self.cables.iter().find(|cable| cable.ends.contains(&from)) else { continue };
            let [a, b] = cable.ends;
            let to = if a == from { b } else { a };
            for delay in cable.impairment.arrivals(&mut self.rng) {
                self.sent = self.sent.wrapping_add(1);
                self.in_flight.insert((self.now + delay, self.sent), (to, frame.clone()));
            }
        }
    }
}
