//! One negotiation: drives the automaton of RFC 1661 with packets, time and counters.
//!
//! [`Negotiation`] is generic over the [`Options`] of a protocol: LCP and each network control protocol say what they
//! ask for and judge what the peer asks for; everything else is here, once. Packets go to an [`Outbox`]; what the
//! layers above and below have to know comes back as a [`Layer`].

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::automaton::{Action, Event, State, transition};
use super::settings::Timing;
use crate::ledger::DropReason;
use crate::machine::Cx;
use crate::rng::Rng;
use crate::time::{Duration, Instant};
use crate::wire::ppp::{self, ConfigureOption, Packet, PacketBuilder, code, protocol};

/// What a protocol makes of one option of the peer's Configure-Request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// Agreed.
    Ack,
    /// Known, but with another value, which `judge` has written.
    Nak,
    /// Unknown, or not to be negotiated.
    Reject,
}

/// The options of one protocol: what we ask for, and what we think of the peer's.
pub trait Options {
    /// The protocol's number.
    const PROTOCOL: u16;

    /// What a peer's whole request asks for; starts from the defaults that hold for options it leaves out.
    type Peer: Default;

    /// A negotiation begins: back to what we wish for.
    fn reset(&mut self, rng: &mut dyn Rng);

    /// Writes our request. The same state writes the same request.
    fn request(&self, out: &mut PacketBuilder);

    /// Judges one option of the peer's request: keeps its value in `peer`, or writes a better one to `nak`.
    fn judge(
        &mut self,
        rng: &mut dyn Rng,
        option: &ConfigureOption<'_>,
        peer: &mut Self::Peer,
        nak: &mut PacketBuilder,
    ) -> Judgement;

    /// Writes to `nak` what the peer should have asked for and did not.
    fn missing(&mut self, _peer: &Self::Peer, _nak: &mut PacketBuilder) {}

    /// We acknowledged a request that asks for this.
    fn agreed(&mut self, peer: Self::Peer);

    /// The peer wants another value for an option of ours, or an option that we did not send.
    fn nak(&mut self, rng: &mut dyn Rng, option: &ConfigureOption<'_>);

    /// The peer does not know an option of ours.
    fn reject(&mut self, option: &ConfigureOption<'_>);

    /// Our magic number, 0 in protocols without one.
    fn magic(&self) -> u32 {
        0
    }
}

/// Why a layer went down or finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Nobody answered.
    NoAnswer,
    /// The peer answers, but the two sides do not agree.
    NoAgreement,
    /// The peer sent a Terminate-Request.
    PeerTerminated,
    /// The peer does not know the protocol, or a code that it cannot do without.
    Rejected,
    /// The peer negotiates anew.
    Renegotiating,
    /// The lower layer went down.
    LowerDown,
    /// We closed it.
    Closed,
}

/// What a negotiation tells its neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// tlu: it is open.
    Up,
    /// tld: it was open.
    Down(Why),
    /// tlf: it has given up, or was closed.
    Finished(Why),
}

/// Packets that wait to be sent, each with its protocol field in front. It is drained after every call, so a handful
/// is plenty; one too many is lost, as it could be on the line.
#[derive(Debug, Default)]
pub struct Outbox(VecDeque<Vec<u8>>);

impl Outbox {
    const MAX: usize = 16;

    /// Adds a packet that could be built.
    pub fn push(&mut self, packet: Option<Vec<u8>>) {
        if let Some(packet) = packet
            && self.0.len() < Self::MAX
        {
            self.0.push_back(packet);
        }
    }

    /// The oldest packet.
    pub fn pop(&mut self) -> Option<Vec<u8>> {
        let packet = self.0.pop_front();
        if self.0.is_empty() {
            self.0 = VecDeque::new();
        }
        packet
    }

    /// Forgets all packets.
    pub fn clear(&mut self) {
        self.0 = VecDeque::new();
    }
}

/// What a negotiation needs of its surroundings with each call.
pub struct Wire<'a, 'b> {
    /// The time and randomness.
    pub cx: &'a mut Cx<'b>,
    /// Timers and counters.
    pub timing: &'a Timing,
    /// Where packets go.
    pub out: &'a mut Outbox,
    /// Largest packet that the peer takes, in octets.
    pub limit: u16,
}

/// An identifier to count on from, when nobody remembers the last one.
pub(super) fn draw_identifier(rng: &mut dyn Rng) -> u8 {
    (rng.next_u32() >> 24) as u8
}

/// What an action may refer to: the packet that caused it, and the answer that was prepared.
enum Cause<'p, P> {
    None,
    Packet(Packet<'p>),
    Agreed(Packet<'p>, P),
    Refused(Option<Vec<u8>>),
}

impl<P> Cause<'_, P> {
    fn packet(&self) -> Option<&Packet<'_>> {
        match self {
            Cause::Packet(packet) | Cause::Agreed(packet, _) => Some(packet),
            Cause::None | Cause::Refused(_) => None,
        }
    }
}

/// How long after our request a peer's first one counts as late. On most lines an answer takes less.
const LATE: Duration = Duration::from_millis(250);

/// A negotiation of one protocol.
#[derive(Debug)]
pub struct Negotiation<O> {
    /// The protocol's options.
    pub options: O,
    state: State,
    /// When the restart timer expires; set in timed states only.
    deadline: Option<Instant>,
    /// The restart counter.
    restarts: u8,
    /// Identifier of our last request.
    identifier: u8,
    /// Identifier of our last Code-Reject.
    code_rejects: u8,
    /// Data of our last Configure-Request while no reply to it has come.
    awaited: Option<Vec<u8>>,
    /// The peer has sent a Configure-Request.
    heard: bool,
    /// Requests that got a Configure-Nak since the last Ack.
    naks_sent: u8,
    /// Identifier of the last one, which is counted once however often the peer repeats it.
    naked: Option<u8>,
    /// Naks and Rejects received since the negotiation began.
    refusals: u8,
    why: Why,
}

impl<O: Options> Negotiation<O> {
    /// A negotiation that has not begun.
    pub fn new(options: O) -> Self {
        Negotiation {
            options,
            state: State::Initial,
            deadline: None,
            restarts: 0,
            identifier: 0,
            code_rejects: 0,
            awaited: None,
            heard: false,
            naks_sent: 0,
            naked: None,
            refusals: 0,
            why: Why::Closed,
        }
    }

    /// A negotiation that an earlier run of the program has brought to state Opened; `identifier` is that of our last
    /// request then. Nothing is sent before the peer or the owner begins anew.
    pub fn opened(rng: &mut dyn Rng, options: O, identifier: u8) -> Self {
        let code_rejects = draw_identifier(rng);
        Negotiation { state: State::Opened, identifier, code_rejects, ..Negotiation::new(options) }
    }

    /// Identifier of our last request.
    pub fn identifier(&self) -> u8 {
        self.identifier
    }

    /// The automaton's state.
    pub fn state(&self) -> State {
        self.state
    }

    /// True in state Opened.
    pub fn is_open(&self) -> bool {
        self.state == State::Opened
    }

    /// When the restart timer expires.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    /// Administrative and lower-layer events, and Protocol-Rejects.
    pub fn event(&mut self, wire: &mut Wire<'_, '_>, event: Event) -> Option<Layer> {
        self.apply(wire, event, Cause::None)
    }

    /// Begins anew from wherever the negotiation stands: the lower layer down and up again.
    pub fn restart(&mut self, wire: &mut Wire<'_, '_>) -> Option<Layer> {
        let layer = self.event(wire, Event::Down);
        self.event(wire, Event::Up);
        layer
    }

    /// The deadline may have come.
    pub fn handle_timeout(&mut self, wire: &mut Wire<'_, '_>) -> Option<Layer> {
        if self.deadline? > wire.cx.now {
            return None;
        }
        let event = if self.restarts > 0 { Event::TimeoutRetry } else { Event::TimeoutGiveUp };
        self.event(wire, event)
    }

    /// An Echo-Request or Discard-Request of LCP: answered in state Opened, nothing otherwise.
    pub fn echo(&mut self, wire: &mut Wire<'_, '_>, packet: Packet<'_>) {
        self.apply(wire, Event::EchoOrDiscard, Cause::Packet(packet));
    }

    /// A packet of this protocol, with any code that is common to all protocols, or an unknown one.
    pub fn receive(
        &mut self,
        wire: &mut Wire<'_, '_>,
        packet: Packet<'_>,
    ) -> Result<Option<Layer>, DropReason> {
        if matches!(self.state, State::Initial | State::Starting) {
            return Err(DropReason::PppPhase);
        }
        match packet.code() {
            code::CONFIGURE_REQUEST => self.configure_request(wire, packet),
            code::CONFIGURE_ACK => {
                self.check_identifier(&packet)?;
                if self.awaited.as_deref().is_some_and(|sent| sent != packet.data()) {
                    return Err(DropReason::PppMalformed);
                }
                self.awaited = None;
                Ok(self.apply(wire, Event::ConfigureAck, Cause::Packet(packet)))
            }
            code::CONFIGURE_NAK | code::CONFIGURE_REJECT => self.configure_refusal(wire, packet),
            code::TERMINATE_REQUEST => Ok(self.apply(wire, Event::TerminateRequest, Cause::Packet(packet))),
            code::TERMINATE_ACK => Ok(self.event(wire, Event::TerminateAck)),
            code::CODE_REJECT => {
                let rejected = packet.data().first().ok_or(DropReason::PppMalformed)?;
                let fatal = (code::CONFIGURE_REQUEST..=code::CODE_REJECT).contains(rejected);
                let event = if fatal { Event::RejectFatal } else { Event::RejectPermitted };
                Ok(self.event(wire, event))
            }
            _ => Ok(self.apply(wire, Event::UnknownCode, Cause::Packet(packet))),
        }
    }

    fn configure_request(
        &mut self,
        wire: &mut Wire<'_, '_>,
        packet: Packet<'_>,
    ) -> Result<Option<Layer>, DropReason> {
        let list = ppp::Options::parse(packet.data()).ok_or(DropReason::PppMalformed)?;
        if matches!(self.state, State::Closed | State::Closing | State::Stopping) {
            return Ok(self.apply(wire, Event::ConfigureRequestGood, Cause::Packet(packet)));
        }
        if !self.is_negotiating() {
            self.naks_sent = 0;
            self.naked = None;
        }
        self.ask_a_late_peer(wire);
        let reply = |code| PacketBuilder::new(O::PROTOCOL, code, packet.identifier(), wire.limit);
        let (mut nak, mut reject) = (reply(code::CONFIGURE_NAK), reply(code::CONFIGURE_REJECT));
        let repeated = self.naked == Some(packet.identifier());
        let insist = repeated || self.naks_sent < wire.timing.max_failure;
        let mut peer = O::Peer::default();
        for option in list {
            match self.options.judge(wire.cx.rng, &option, &mut peer, &mut nak) {
                Judgement::Ack => {}
                Judgement::Nak if insist => {}
                Judgement::Nak | Judgement::Reject => reject.put(option.bytes),
            }
        }
        if !reject.data().is_empty() {
            return Ok(self.apply(wire, Event::ConfigureRequestBad, Cause::Refused(reject.finish())));
        }
        if insist {
            self.options.missing(&peer, &mut nak);
            if !nak.data().is_empty() {
                self.naks_sent = self.naks_sent.saturating_add(u8::from(!repeated));
                self.naked = Some(packet.identifier());
                return Ok(self.apply(wire, Event::ConfigureRequestBad, Cause::Refused(nak.finish())));
            }
        }
        self.naks_sent = 0;
        self.naked = None;
        Ok(self.apply(wire, Event::ConfigureRequestGood, Cause::Agreed(packet, peer)))
    }

    /// A peer that is heard on a new link for the first time a while after it was asked may not have listened then:
    /// pppoe-server opens the session before it starts pppd. It is asked again at once, not when the restart timer expires; and
    /// before it is answered, for a peer that has our answer and gets a request after it would begin anew.
    fn ask_a_late_peer(&mut self, wire: &mut Wire<'_, '_>) {
        let is_first = !core::mem::replace(&mut self.heard, true);
        let asked_lately = wire.cx.now + wire.timing.restart.saturating_sub(LATE);
        if O::PROTOCOL == protocol::LCP
            && is_first
            && self.state == State::ReqSent
            && self.restarts > 0
            && self.deadline.is_some_and(|deadline| deadline <= asked_lately)
        {
            self.event(wire, Event::TimeoutRetry);
        }
    }

    fn configure_refusal(
        &mut self,
        wire: &mut Wire<'_, '_>,
        packet: Packet<'_>,
    ) -> Result<Option<Layer>, DropReason> {
        self.check_identifier(&packet)?;
        let list = ppp::Options::parse(packet.data()).ok_or(DropReason::PppMalformed)?;
        if let Some(sent) = self.awaited.as_deref() {
            let is_reject = packet.code() == code::CONFIGURE_REJECT;
            let ours = |option: &ConfigureOption<'_>| {
                ppp::Options::parse(sent).is_some_and(|mut sent| sent.any(|o| o.bytes == option.bytes))
            };
            if packet.data().is_empty() || is_reject && !list.into_iter().all(|option| ours(&option)) {
                return Err(DropReason::PppMalformed);
            }
            self.awaited = None;
            for option in list {
                if is_reject {
                    self.options.reject(&option);
                } else {
                    self.options.nak(wire.cx.rng, &option);
                }
            }
            self.refusals = self.refusals.saturating_add(1);
            if self.refusals > wire.timing.max_failure.saturating_mul(2) {
                self.why = Why::NoAgreement;
                return Ok(self.event(wire, Event::RejectFatal));
            }
        }
        Ok(self.apply(wire, Event::ConfigureNak, Cause::Packet(packet)))
    }

    /// While a request of ours waits, replies have to bear its identifier; a second reply to it answers nothing. In
    /// states that wait for nothing the automaton itself has an answer.
    fn check_identifier(&self, packet: &Packet<'_>) -> Result<(), DropReason> {
        match self.state {
            State::Closed | State::Stopped | State::Closing | State::Stopping => Ok(()),
            _ if self.awaited.is_some() && packet.identifier() == self.identifier => Ok(()),
            _ => Err(DropReason::PppUnexpected),
        }
    }

    fn is_negotiating(&self) -> bool {
        matches!(self.state, State::ReqSent | State::AckRcvd | State::AckSent)
    }

    fn apply(
        &mut self,
        wire: &mut Wire<'_, '_>,
        event: Event,
        mut cause: Cause<'_, O::Peer>,
    ) -> Option<Layer> {
        let (actions, next) = transition(self.state, event)?;
        match event {
            Event::TimeoutGiveUp if self.is_negotiating() => self.why = Why::NoAnswer,
            Event::TerminateRequest if self.is_open() => self.why = Why::PeerTerminated,
            Event::RejectFatal if self.why != Why::NoAgreement => self.why = Why::Rejected,
            Event::Close => self.why = Why::Closed,
            Event::Down => self.why = Why::LowerDown,
            Event::ConfigureRequestGood
            | Event::ConfigureRequestBad
            | Event::ConfigureAck
            | Event::ConfigureNak
            | Event::TerminateAck
                if self.is_open() =>
            {
                self.why = Why::Renegotiating;
            }
            _ => {}
        }
        let mut layer = None;
        for action in actions {
            match action {
                Action::ThisLayerUp => layer = Some(Layer::Up),
                Action::ThisLayerDown => layer = Some(Layer::Down(self.why)),
                Action::ThisLayerFinished => layer = Some(Layer::Finished(self.why)),
                Action::ThisLayerStarted => {}
                Action::InitializeRestartCount => {
                    self.restarts = if actions.contains(&Action::SendTerminateRequest) {
                        wire.timing.max_terminate
                    } else {
                        wire.timing.max_configure
                    };
                }
                Action::ZeroRestartCount => {
                    self.restarts = 0;
                    self.deadline = Some(wire.cx.now + wire.timing.restart);
                }
                Action::SendConfigureRequest => self.send_configure_request(wire),
                Action::SendTerminateRequest => {
                    self.awaited = None;
                    self.identifier = self.identifier.wrapping_add(1);
                    self.count_down(wire);
                    self.send(wire, code::TERMINATE_REQUEST, self.identifier, &[]);
                }
                Action::SendConfigureAck => {
                    if let Cause::Agreed(packet, peer) = core::mem::replace(&mut cause, Cause::None) {
                        self.options.agreed(peer);
                        self.send(wire, code::CONFIGURE_ACK, packet.identifier(), packet.data());
                    }
                }
                Action::SendConfigureNak => {
                    if let Cause::Refused(reply) = &mut cause {
                        wire.out.push(reply.take());
                    }
                }
                Action::SendTerminateAck => {
                    if let Some(packet) = cause.packet() {
                        self.send(wire, code::TERMINATE_ACK, packet.identifier(), &[]);
                    }
                }
                Action::SendCodeReject => {
                    if let Some(packet) = cause.packet() {
                        self.code_rejects = self.code_rejects.wrapping_add(1);
                        self.send_cut(wire, code::CODE_REJECT, self.code_rejects, &[packet.bytes()]);
                    }
                }
                Action::SendEchoReply => {
                    if let Some(packet) = cause.packet()
                        && packet.code() == code::ECHO_REQUEST
                        && let Some((_, data)) = packet.magic()
                    {
                        let magic = self.options.magic().to_be_bytes();
                        self.send_cut(wire, code::ECHO_REPLY, packet.identifier(), &[&magic, data]);
                    }
                }
            }
        }
        self.state = next;
        if !next.is_timed() {
            self.deadline = None;
        }
        layer
    }

    /// The same request, sent again, keeps its identifier, so that a late answer to the first one counts.
    fn send_configure_request(&mut self, wire: &mut Wire<'_, '_>) {
        if !self.is_negotiating() {
            self.options.reset(wire.cx.rng);
            self.awaited = None;
            self.refusals = 0;
            if self.why == Why::NoAgreement {
                self.why = Why::Renegotiating;
            }
        }
        let mut request = PacketBuilder::new(O::PROTOCOL, code::CONFIGURE_REQUEST, 0, wire.limit);
        self.options.request(&mut request);
        let data = request.data().to_vec();
        if self.awaited.as_deref() != Some(&data) {
            self.identifier = self.identifier.wrapping_add(1);
        }
        self.count_down(wire);
        self.send(wire, code::CONFIGURE_REQUEST, self.identifier, &data);
        self.awaited = Some(data);
    }

    fn count_down(&mut self, wire: &Wire<'_, '_>) {
        self.restarts = self.restarts.saturating_sub(1);
        self.deadline = Some(wire.cx.now + wire.timing.restart);
    }

    fn send(&self, wire: &mut Wire<'_, '_>, code: u8, identifier: u8, data: &[u8]) {
        let mut packet = PacketBuilder::new(O::PROTOCOL, code, identifier, wire.limit);
        packet.put(data);
        wire.out.push(packet.finish());
    }

    fn send_cut(&self, wire: &mut Wire<'_, '_>, code: u8, identifier: u8, data: &[&[u8]]) {
        let mut packet = PacketBuilder::new(O::PROTOCOL, code, identifier, wire.limit);
        for part in data {
            packet.put_cut(part);
        }
        wire.out.push(packet.finish());
    }
}
