//! Packets that are not forwarded: dropped under a name, and the sender told where that is right.

use crate::forward::icmp::{IcmpError, MAX_ERROR, Offender};
use crate::forward::neighbour::Origin;
use crate::forward::parse::Packet;
use crate::forward::reset::{RESET, write_reset};
use crate::forward::route::Route;
use crate::forward::segment::complete_checksum;
use crate::forward::{Forwarder, Ingress, Turn};
use crate::frame::Frame;
use crate::id::Interface;
use crate::ledger::DropReason;
use crate::sight::Fact;
use crate::wire::ipv4::Ipv4;
use core::net::Ipv4Addr;

/// What the sender of a packet is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tell<E = IcmpError> {
    /// Nothing.
    Nothing,
    /// An ICMP error of the packet's family.
    Error(E),
    /// A TCP reset.
    Reset,
}

impl<E> Tell<E> {
    /// What it is, in a few words.
    pub fn describe(&self) -> &'static str {
        match self {
            Tell::Nothing => "nothing",
            Tell::Error(_) => "an ICMP error",
            Tell::Reset => "a TCP reset",
        }
    }
}

impl<E> From<Option<E>> for Tell<E> {
    fn from(error: Option<E>) -> Tell<E> {
        error.map_or(Tell::Nothing, Tell::Error)
    }
}

/// Why a packet is not forwarded, and what its sender is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal<E = IcmpError> {
    /// The name that it is counted under.
    pub reason: DropReason,
    /// What its sender is told.
    pub tell: Tell<E>,
}

impl<E> Refusal<E> {
    /// The sender is told nothing.
    pub fn silent(reason: DropReason) -> Refusal<E> {
        Refusal { reason, tell: Tell::Nothing }
    }

    /// The sender is told by ICMP.
    pub fn error(reason: DropReason, error: E) -> Refusal<E> {
        Refusal { reason, tell: Tell::Error(error) }
    }

    /// The sender is told by a TCP reset.
    pub fn reset(reason: DropReason) -> Refusal<E> {
        Refusal { reason, tell: Tell::Reset }
    }
}

impl Forwarder {
    /// Drops a packet, as it came in, and tells its sender what there is to tell, by the interface that it came in by and
    /// from the router's address there. Always an error, for the caller to pass on.
    #[cold]
    pub(super) fn refuse(
        &mut self,
        turn: &mut Turn<'_>,
        ingress: Ingress,
        packet: &Packet,
        mut frame: Frame,
        refusal: Refusal,
    ) -> Result<(), DropReason> {
        let source = packet.key.source();
        if refusal.tell != Tell::Nothing
            && ingress.interface != Interface::Router
            && complete_checksum(&mut frame)
            && self.limiter.allow(turn.now, source)
            && let Some(answer) = self.answer(turn, ingress.interface, &frame, refusal.tell)
        {
            turn.egress.note(|_| Fact::SenderTold { what: refusal.tell.describe() });
            self.emit(turn, ingress.interface, source, answer, ingress.origin());
        }
        turn.egress.drop(frame, refusal.reason);
        Err(refusal.reason)
    }

    /// The answer to a packet that came in by `interface`.
    fn answer(&self, turn: &mut Turn<'_>, interface: Interface, frame: &Frame, tell: Tell) -> Option<Frame> {
        let from = self.address_on(interface)?;
        let mut answer = turn.egress.originate(MAX_ERROR.max(RESET));
        let written = match tell {
            Tell::Nothing => false,
            Tell::Error(error) => match Offender::of(frame.bytes()) {
                Some(offender) => offender.write(error, from, &mut answer),
                None => false,
            },
            Tell::Reset => write_reset(frame.bytes(), &mut answer),
        };
        if written {
            Some(answer)
        } else {
            turn.egress.unused(answer);
            None
        }
    }

    /// The router's own address on an interface.
    pub(super) fn address_on(&self, interface: Interface) -> Option<Ipv4Addr> {
        match interface {
            Interface::Lan(lan) => self.networks.lan(lan).map(|network| network.address),
            Interface::Wan(wan) => Some(self.links.wan(wan)?.ipv4?.address),
            Interface::Subscriber(subscriber) => {
                self.networks.concentrator(self.links.subscriber(subscriber)?.port())
            }
            Interface::Vpn(vpn) => self.networks.peers().ipv4(vpn),
            Interface::Router => None,
        }
    }

    /// A packet for a neighbour or peer that does not answer. A sender on a LAN is told; one beyond an uplink is not,
    /// for the packet has been translated and the sender would not know it.
    pub(super) fn undeliverable(&mut self, turn: &mut Turn<'_>, mut frame: Frame, reason: DropReason) {
        if frame.bytes().first().is_some_and(|first| first >> 4 == 6) {
            return self.undeliverable6(turn, frame, reason);
        }
        let source = Ipv4::parse(frame.bytes()).map(Ipv4::source);
        if let Some(source) = source
            && let Route::To(interface @ Interface::Lan(_)) = self.networks.route(&self.links, source)
            && complete_checksum(&mut frame)
            && self.limiter.allow(turn.now, source)
            && let Some(answer) =
                self.answer(turn, interface, &frame, Tell::Error(IcmpError::HostUnreachable))
        {
            self.emit(turn, interface, source, answer, Origin::Inside);
        }
        turn.egress.drop(frame, reason);
    }
}
