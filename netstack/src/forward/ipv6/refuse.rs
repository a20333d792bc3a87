//! IPv6 packets that are not forwarded: dropped under a name, and the sender told where that is right.

use alloc::collections::VecDeque;

use crate::forward::ipv6::icmp::{Icmp6Error, MAX_ERROR};
use crate::forward::ipv6::parse::Packet6;
use crate::forward::parse::Carries;
use crate::forward::refuse::{Refusal, Tell};
use crate::forward::reset::{RESET6, write_reset6};
use crate::forward::segment::complete_checksum;
use crate::forward::{Forwarder, Ingress, Turn};
use crate::frame::{Egress, Frame};
use crate::id::Interface;
use crate::ledger::DropReason;
use crate::machine::Cx;
use crate::sight::Fact;
use crate::time::{Duration, Instant};
use crate::wire::ipv6::ICMPV6;

/// Time for which nobody is told of a connection from outside that nothing lets in: it may be one half of a simultaneous
/// open (RFC 6092 REC-34, REC-39).
const PATIENCE: Duration = Duration::from_secs(6);
/// Most such packets that wait.
const MOST: usize = 64;

/// First packets of connections from outside, which are refused in a while unless the inside opens the same ones.
#[derive(Debug, Default)]
pub(super) struct Unanswered(VecDeque<(Instant, Ingress, Packet6, Frame)>);

impl Unanswered {
    /// Frames that wait.
    pub fn held(&self) -> usize {
        self.0.len()
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.0.front().map(|(until, ..)| *until)
    }
}

impl Forwarder {
    /// Drops a packet, as it came in, and tells its sender what there is to tell, by the interface that it came in by.
    /// Always an error, for the caller to pass on.
    #[cold]
    pub(super) fn refuse6(
        &mut self,
        turn: &mut Turn<'_>,
        ingress: Ingress,
        packet: &Packet6,
        mut frame: Frame,
        refusal: Refusal<Icmp6Error>,
    ) -> Result<(), DropReason> {
        let Refusal { reason, tell } = refusal;
        let opens =
            matches!(packet.carries, Carries::Tcp(_) | Carries::Connection(crate::forward::parse::SYN));
        if reason == DropReason::FilterDefault
            && opens
            && matches!(ingress.interface, Interface::Wan(_))
            && !packet.is_fragment()
            && self.v6.unanswered.held() < MOST
            && complete_checksum(&mut frame)
        {
            let frame = turn.egress.pool.shrink(frame);
            self.v6.unanswered.0.push_back((turn.now + PATIENCE, ingress, *packet, frame));
            return Err(reason);
        }
        self.tell6(turn, ingress, packet, &mut frame, tell);
        turn.egress.drop(frame, reason);
        Err(reason)
    }

    /// Tells the sender of a packet, if that may be told anything (RFC 4443 §2.4): not of an ICMPv6 error, and not too often.
    fn tell6(
        &mut self,
        turn: &mut Turn<'_>,
        ingress: Ingress,
        packet: &Packet6,
        frame: &mut Frame,
        tell: Tell<Icmp6Error>,
    ) {
        let source = packet.key.source();
        let may_be_error = packet.carries == Carries::IcmpError
            || (packet.carries == Carries::LaterFragment && packet.key.protocol() == ICMPV6);
        if tell != Tell::Nothing
            && ingress.interface != Interface::Router
            && !may_be_error
            && complete_checksum(frame)
            && self.limiter.allow(turn.now, source)
            && let Some(answer) = self.answer6(turn, ingress.interface, packet, frame, tell)
        {
            turn.egress.note(|_| Fact::SenderTold { what: tell.describe() });
            match self.v6.networks.next_hop(ingress.interface, source) {
                Some(next_hop) => self.emit(turn, ingress.interface, next_hop, answer, ingress.origin()),
                None => turn.egress.drop(answer, DropReason::NoRoute),
            }
        }
    }

    fn answer6(
        &self,
        turn: &mut Turn<'_>,
        interface: Interface,
        packet: &Packet6,
        frame: &Frame,
        tell: Tell<Icmp6Error>,
    ) -> Option<Frame> {
        let (source, destination) = (packet.key.source(), packet.key.destination());
        let from = self.v6.networks.address_for(interface, source)?;
        let mut answer = turn.egress.originate(MAX_ERROR.max(RESET6));
        let written = match tell {
            Tell::Nothing => false,
            Tell::Error(error) => error.write(from, source, frame.bytes(), &mut answer),
            Tell::Reset => {
                let segment = frame.bytes().get(packet.transport..).unwrap_or_default();
                !packet.is_fragment() && write_reset6(source, destination, segment, &mut answer)
            }
        };
        match written {
            true => Some(answer),
            false => {
                turn.egress.unused(answer);
                None
            }
        }
    }

    /// Refuses connections from outside that the inside has not opened in the meantime.
    pub(super) fn answer_late(&mut self, cx: &mut Cx<'_>, egress: &mut Egress) {
        let mut punts = VecDeque::new();
        let mut turn = Turn::new(cx, egress, &mut punts);
        while let Some((_, ingress, packet, mut frame)) =
            self.v6.unanswered.0.pop_front_if(|(until, ..)| *until <= turn.now)
        {
            if self.v6.flows.find(packet.key).is_none() {
                let tell = Tell::Error(Icmp6Error::AdminProhibited);
                self.tell6(&mut turn, ingress, &packet, &mut frame, tell);
            }
            turn.egress.drop(frame, DropReason::FilterDefault);
        }
    }

    /// A packet that waited for a neighbour which does not answer. Its sender is told where a way leads back.
    pub(in crate::forward) fn undeliverable6(
        &mut self,
        turn: &mut Turn<'_>,
        mut frame: Frame,
        reason: DropReason,
    ) {
        if let Ok(packet) = Packet6::parse(frame.bytes(), crate::forward::key::Realm::INSIDE)
            && let Some(interface @ Interface::Lan(_)) = self.v6.networks.inside(packet.key.source())
        {
            let ingress = Ingress { interface, ..Ingress::ROUTER };
            self.tell6(turn, ingress, &packet, &mut frame, Tell::Error(Icmp6Error::AddressUnreachable));
        }
        turn.egress.drop(frame, reason);
    }
}
