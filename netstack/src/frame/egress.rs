//! Where frames come from and where they end.
//!
//! Every frame is born in one of three ways and ends in one of three ways, and each is a method of [`Egress`] that
//! counts it. So the sum in = out + consumed + Σ drops holds by construction, and [`Ledger::balance`] checks it.
//!
//! On a port with a VLAN, [`Egress::untag`] takes the tags off what has come in and [`Egress::transmit`] puts one on what
//! leaves.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::buffer::{Frame, LARGE, SMALL};
use super::vlan;
use crate::id::{Interface, PortId};
use crate::ledger::{DropReason, Ledger};
use crate::settings::{Port, Vlan};
use crate::sight::{Fact, Names, Point, Sight, Sighting, Watch};

/// Frames on their way in or out of one port, in order.
pub type Batch = VecDeque<Frame>;

/// Buffers waiting to be used again.
#[derive(Debug, Default)]
pub struct Pool {
    small: Vec<Frame>,
    large: Vec<Frame>,
}

impl Pool {
    const MAX_SMALL: usize = 4096;
    const MAX_LARGE: usize = 256;

    /// An empty frame with room for `len` octets behind the headroom.
    pub fn take(&mut self, len: usize) -> Frame {
        let needed = len.saturating_add(super::HEADROOM);
        if needed <= SMALL {
            self.small.pop().unwrap_or_else(|| Frame::with_capacity(SMALL))
        } else if needed <= LARGE {
            self.large.pop().unwrap_or_else(|| Frame::with_capacity(LARGE))
        } else {
            Frame::with_capacity(needed)
        }
    }

    /// Moves a small frame out of a large buffer; for frames that are to wait.
    pub fn shrink(&mut self, frame: Frame) -> Frame {
        if frame.capacity() <= SMALL || frame.len().saturating_add(super::HEADROOM) > SMALL {
            return frame;
        }
        let mut small = self.take(frame.len());
        if !small.extend(frame.bytes()) {
            return frame;
        }
        small.offload = frame.offload;
        self.give(frame);
        small
    }

    /// Gives a buffer back.
    pub fn give(&mut self, mut frame: Frame) {
        frame.reset();
        match frame.capacity() {
            SMALL if self.small.len() < Self::MAX_SMALL => self.small.push(frame),
            LARGE if self.large.len() < Self::MAX_LARGE => self.large.push(frame),
            _ => {}
        }
    }
}

/// The way out by one port.
#[derive(Debug, Default)]
struct Line {
    queue: Batch,
    vlan: Option<Vlan>,
    /// The VLAN of the last frame that was of another one than ours; `None` inside for a frame without a tag.
    foreign: Option<Option<u16>>,
}

/// The gateway's way out: transmit queues, the pool, and the ledger of every frame's end.
#[derive(Debug)]
pub struct Egress {
    /// Buffers to receive into and to build frames in.
    pub pool: Pool,
    lines: Vec<Line>,
    ledger: Ledger,
    /// While somebody looks.
    sight: Option<Box<Sight>>,
}

impl Egress {
    /// A way out by these ports.
    pub fn new(ports: &[Port]) -> Self {
        Egress {
            pool: Pool::default(),
            lines: ports
                .iter()
                .map(|port| Line { queue: Batch::new(), vlan: port.vlan, foreign: None })
                .collect(),
            ledger: Ledger::default(),
            sight: None,
        }
    }

    /// Shows this from now on. What has been seen and not taken out is lost when that is nothing.
    pub fn watch(&mut self, watch: Watch, names: &Names) {
        match (&mut self.sight, watch) {
            (sight, Watch::Nothing) => *sight = None,
            (Some(sight), watch) => sight.set(watch),
            (sight, watch) => *sight = Some(Sight::new(names, watch)),
        }
    }

    /// True while every frame is shown at every point.
    #[inline(always)]
    pub fn is_watched(&self) -> bool {
        self.sight.as_ref().is_some_and(|sight| sight.is_everything())
    }

    /// Begins a journey, of a frame that came in or without one.
    pub(crate) fn begin_journey(&mut self, arrival: Option<&Frame>) {
        if let Some(sight) = &mut self.sight {
            sight.begin(arrival);
        }
    }

    /// Notes a fact about the frame that is under way, for who looks.
    #[inline]
    pub(crate) fn note(&mut self, fact: impl FnOnce(&Names) -> Fact) {
        if let Some(sight) = &mut self.sight {
            sight.note(fact);
        }
    }

    /// What was noted of a frame that does not go anywhere.
    pub(crate) fn facts(&mut self) -> Vec<Fact> {
        self.sight.as_mut().map(|sight| sight.take_facts()).unwrap_or_default()
    }

    /// Shows an IP packet at an interface to who looks.
    #[inline]
    pub(crate) fn show_packet(&mut self, interface: Interface, sent: bool, packet: &Frame) {
        if let Some(sight) = &mut self.sight {
            sight.see_packet(interface, sent, packet);
        }
    }

    /// Shows an Ethernet frame at a point to who looks.
    #[inline]
    pub(crate) fn show(&mut self, point: Point, sent: bool, frame: &Frame) {
        if let Some(sight) = &mut self.sight {
            sight.see(point, sent, frame);
        }
    }

    /// Shows what the router itself is to look at: an IP packet, or else the frame that brought it.
    pub(crate) fn show_punt(&mut self, is_packet: bool, frame: &Frame) {
        if let Some(sight) = &mut self.sight {
            sight.see_punt(is_packet, frame);
        }
    }

    /// The next sighting.
    pub fn poll_sighting(&mut self) -> Option<Sighting> {
        self.sight.as_mut()?.poll()
    }

    /// Counts `count` frames that came in by a port.
    pub fn received(&mut self, count: usize) {
        self.ledger.received += count as u64;
    }

    /// Takes the tags off the frames of `batch`, which came in by `port` and are counted, where the port has a VLAN. What
    /// is not of that VLAN is dropped.
    pub fn untag(&mut self, port: PortId, batch: &mut Batch) {
        let Some(vlan) = self.lines.get(port.index()).and_then(|line| line.vlan) else { return };
        for _ in 0..batch.len() {
            let Some(mut frame) = batch.pop_front() else { return };
            match vlan::untag(&mut frame, vlan) {
                Ok(()) => batch.push_back(frame),
                Err(reason) => {
                    self.note_foreign(port, &frame);
                    self.drop(frame, reason);
                }
            }
        }
    }

    /// A frame came in by `port` that is not of its VLAN.
    pub fn note_foreign(&mut self, port: PortId, frame: &Frame) {
        if let Some(line) = self.lines.get_mut(port.index()) {
            line.foreign = Some(vlan::id(frame.bytes()));
        }
    }

    /// The VLAN of the last frame by `port` that was of another one than the port's; `None` inside for one without a tag.
    pub fn foreign_vlan(&self, port: PortId) -> Option<Option<u16>> {
        self.lines.get(port.index())?.foreign
    }

    /// A fresh frame, of the router's own, with room for `len` octets.
    pub fn originate(&mut self, len: usize) -> Frame {
        self.ledger.originated += 1;
        self.pool.take(len)
    }

    /// A fresh frame with room for `len` octets, to stand beside one that exists: a segment, a fragment, a flooded
    /// copy.
    pub fn copy(&mut self, len: usize) -> Frame {
        self.ledger.copied += 1;
        self.pool.take(len)
    }

    /// Gives back a frame of [`Egress::originate`] into which nothing was written.
    pub fn unused(&mut self, frame: Frame) {
        self.ledger.originated = self.ledger.originated.saturating_sub(1);
        self.pool.give(frame);
    }

    /// Sends a frame out of `port`, with a tag where the port has a VLAN.
    pub fn transmit(&mut self, port: PortId, mut frame: Frame) {
        match self.lines.get_mut(port.index()) {
            Some(line) if line.vlan.is_none_or(|vlan| vlan::tag(&mut frame, vlan)) => {
                self.ledger.transmitted += 1;
                if let Some(sight) = &mut self.sight {
                    sight.see(Point::Port(port), true, &frame);
                }
                line.queue.push_back(frame);
            }
            Some(_) => self.drop(frame, DropReason::Internal),
            None => self.drop(frame, DropReason::NoRoute),
        }
    }

    /// Sends the first `count` frames of `batch` out of `port`, if there is one.
    pub fn transmit_first(&mut self, port: Option<PortId>, batch: &mut Batch, count: usize) {
        let Some(port) = port else { return };
        match self.lines.get_mut(port.index()) {
            Some(line) if count == batch.len() && line.vlan.is_none() => {
                self.ledger.transmitted += count as u64;
                line.queue.append(batch);
            }
            _ => batch.drain(..count.min(batch.len())).for_each(|frame| self.transmit(port, frame)),
        }
    }

    /// Ends a frame that was understood and acted upon by the router itself.
    pub fn consume(&mut self, frame: Frame) {
        self.ledger.consumed += 1;
        self.pool.give(frame);
    }

    /// Ends a frame under a named reason.
    pub fn drop(&mut self, frame: Frame, reason: DropReason) {
        self.ledger.count_drop(reason);
        if let Some(sight) = &mut self.sight {
            sight.see_drop(&frame, reason);
        }
        self.pool.give(frame);
    }

    /// The frames that wait to leave by `port`, for the driver to take, and the pool that takes their buffers back.
    pub fn outgoing(&mut self, port: PortId) -> Option<(&mut Batch, &mut Pool)> {
        self.lines.get_mut(port.index()).map(|line| (&mut line.queue, &mut self.pool))
    }

    /// The account of every frame so far.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }
}
