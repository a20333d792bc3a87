//! What every protocol machine is handed with each call.
//!
//! A machine does no I/O and calls nobody back. It is mutated, then drained, by the same verbs everywhere:
//!
//! - `handle(cx, input)`: something happened. An error is the [`crate::ledger::DropReason`] of a frame that was of no use.
//! - `handle_timeout(cx)`: the deadline may have come. Spurious calls do nothing.
//! - `poll_timeout()`: when it wants to be called next, if ever.
//! - `poll_transmit(frame)`: writes the next frame to send into an empty one; says whether there was one, or where it goes.
//! - `poll_event()`: the next fact ("session up, MTU 1492").

use crate::rng::Rng;
use crate::time::Instant;

/// Why what was agreed with others may hold no longer. It is asked for again at once, and stays in use until somebody says
/// otherwise, or nobody says anything where somebody must.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// The line was cut, and is whole again. The clock has counted how long that took.
    Line,
    /// Time has passed that the clock has not counted: the machine was paused. Nobody knows how much it was.
    Clock,
}

/// The time, and randomness.
pub struct Cx<'a> {
    /// The time of this call. It never goes back.
    pub now: Instant,
    /// The driver's random numbers.
    pub rng: &'a mut dyn Rng,
}
