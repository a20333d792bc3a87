//! A simulated network: gateways and hosts joined by cables that lose, delay, duplicate and reorder, in virtual time.
//!
//! A [`World`] owns the clock. It delivers the next frame or fires the next deadline, whichever comes first, so a year
//! of line faults passes in seconds, and the same seed gives the same life.

mod cable;
mod host;
mod host6;
mod world;

pub use cable::Impairment;
pub use host::{Host, HostSettings};
pub use host6::{HostAddress, HostIpv6, HostIpv6Settings, Reply};
pub use world::{CableId, End, Heard, NodeId, World};
