//! The shape of every protocol machine.

use crate::frame::Frame;
use crate::rng::Rng;
use crate::time::Instant;

/// What a machine is handed with each call: the time, and randomness.
pub struct Cx<'a> {
    /// The time of this call. It never goes back.
    pub now: Instant,
    /// The driver's random numbers.
    pub rng: &'a mut dyn Rng,
}

/// A protocol machine: no I/O, no callbacks. Mutate it, then drain it: `poll_transmit` and `poll_event` until they
/// have nothing, then wait until `poll_timeout`. Spurious calls do nothing.
pub trait Machine {
    /// What can happen to the machine besides the passing of time.
    type Input<'a>;
    /// Facts that the machine reports ("session up, MTU 1492").
    type Event;

    /// Something happened.
    fn handle(&mut self, cx: &mut Cx<'_>, input: Self::Input<'_>);

    /// The deadline of [`Machine::poll_timeout`] may have come.
    fn handle_timeout(&mut self, cx: &mut Cx<'_>);

    /// When the machine wants to be called next, if ever.
    fn poll_timeout(&self) -> Option<Instant>;

    /// Writes the next frame to send into `frame` (which is empty, with full headroom) and says whether there was one.
    fn poll_transmit(&mut self, frame: &mut Frame) -> bool;

    /// The next fact.
    fn poll_event(&mut self) -> Option<Self::Event>;
}
