//! A network protocol on a link: its control protocol negotiates, the owner is told, and it is tried again.
//!
//! Each has its own state, timers and fate. Whatever becomes of one, the link and the others stay (RFC 1661 §3.6, RFC
//! 7084 WLL-3).

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use super::automaton::{self, State};
use super::event::{Event, NetworkDownReason};
use super::negotiation::{Layer, Negotiation, Options, Why, Wire};
use crate::ledger::DropReason;
use crate::time::{Duration, Instant, earliest};
use crate::wire::ppp::Packet;

/// How long to wait before a network protocol is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// The options of a network control protocol, and what is said of it.
pub(super) trait NetworkOptions: Options {
    /// The report of what an open protocol has agreed on; `None` when that is not enough to use it.
    fn up(&self) -> Option<Event>;

    /// The report that it is down.
    fn down(reason: NetworkDownReason) -> Event;
}

/// A network protocol on a link.
#[derive(Debug)]
pub(super) struct Network<O> {
    ncp: Negotiation<O>,
    /// A client tries again what did not come up; a server what nobody has answered, and else it waits until it is asked.
    is_client: bool,
    /// The owner knows how it stands.
    told: Told,
    /// When to try again.
    retry: Option<Instant>,
}

/// What the owner was last told of a network protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    Up,
    Down,
}

impl<O: NetworkOptions> Network<O> {
    /// The link below is up: negotiation begins.
    pub fn start(
        wire: &mut Wire<'_, '_>,
        events: &mut VecDeque<Event>,
        is_client: bool,
        options: O,
    ) -> Box<Self> {
        let ncp = Negotiation::new(options);
        let mut network = Box::new(Network { ncp, is_client, told: Told::Nothing, retry: None });
        for event in [automaton::Event::Open, automaton::Event::Up] {
            network.event(wire, events, event);
        }
        network
    }

    /// The link below was open all the time, and so was this. The owner knows.
    pub fn adopt(wire: &mut Wire<'_, '_>, is_client: bool, options: O, identifier: u8) -> Box<Self> {
        let ncp = Negotiation::opened(wire.cx.rng, options, identifier);
        Box::new(Network { ncp, is_client, told: Told::Up, retry: None })
    }

    /// What it has agreed on while it is open, and the identifier of our last request.
    pub fn agreed(&self) -> Option<(&O, u8)> {
        self.ncp.is_open().then(|| (&self.ncp.options, self.ncp.identifier()))
    }

    /// A packet of the control protocol came.
    pub fn receive(
        &mut self,
        wire: &mut Wire<'_, '_>,
        events: &mut VecDeque<Event>,
        information: &[u8],
    ) -> Result<(), DropReason> {
        let packet = Packet::parse(information).ok_or(DropReason::PppMalformed)?;
        let layer = self.ncp.receive(wire, packet)?;
        self.layer(wire, events, layer);
        Ok(())
    }

    /// The peer does not know the protocol. That has not to be said to it again.
    pub fn rejected(&mut self, wire: &mut Wire<'_, '_>, events: &mut VecDeque<Event>) {
        self.event(wire, events, automaton::Event::RejectFatal);
    }

    /// The link below went down, and this with it.
    pub fn link_down(self, events: &mut VecDeque<Event>) {
        if self.told == Told::Up {
            events.push_back(O::down(NetworkDownReason::Link));
        }
    }

    /// The deadline may have come.
    pub fn handle_timeout(&mut self, wire: &mut Wire<'_, '_>, events: &mut VecDeque<Event>) {
        let layer = self.ncp.handle_timeout(wire);
        self.layer(wire, events, layer);
        if self.retry.is_none_or(|retry| retry > wire.cx.now) {
            return;
        }
        self.retry = None;
        // The peer may have begun by itself in the meantime.
        if matches!(self.ncp.state(), State::Stopped | State::Closed) {
            for event in [automaton::Event::Down, automaton::Event::Open, automaton::Event::Up] {
                self.event(wire, events, event);
            }
        }
    }

    /// When it wants to be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        earliest(self.ncp.poll_timeout(), self.retry)
    }

    fn event(&mut self, wire: &mut Wire<'_, '_>, events: &mut VecDeque<Event>, event: automaton::Event) {
        let layer = self.ncp.event(wire, event);
        self.layer(wire, events, layer);
    }

    fn layer(&mut self, wire: &mut Wire<'_, '_>, events: &mut VecDeque<Event>, layer: Option<Layer>) {
        match layer {
            None => {}
            Some(Layer::Up) => match self.ncp.options.up() {
                Some(up) => {
                    self.told = Told::Up;
                    self.retry = None;
                    events.push_back(up);
                }
                None => {
                    self.down(events, Why::NoAgreement);
                    self.event(wire, events, automaton::Event::Close);
                }
            },
            Some(Layer::Down(why)) => self.down(events, why),
            Some(Layer::Finished(why)) => {
                // What we have closed ourselves the peer cannot open; and one whose Acks were lost believes that it is open.
                if matches!(why, Why::Closed | Why::NoAnswer) || self.is_client && why != Why::Rejected {
                    self.retry = Some(wire.cx.now + RETRY);
                }
                self.down(events, why);
            }
        }
    }

    /// Tells that it is down, once however often it is tried in vain.
    fn down(&mut self, events: &mut VecDeque<Event>, why: Why) {
        if core::mem::replace(&mut self.told, Told::Down) == Told::Down {
            return;
        }
        events.push_back(O::down(match why {
            Why::NoAnswer => NetworkDownReason::NoAnswer,
            Why::NoAgreement => NetworkDownReason::NoAgreement,
            Why::PeerTerminated => NetworkDownReason::PeerTerminated,
            Why::Rejected => NetworkDownReason::Rejected,
            Why::Renegotiating => NetworkDownReason::Renegotiating,
            Why::LowerDown | Why::Closed => NetworkDownReason::Link,
        }));
    }
}
