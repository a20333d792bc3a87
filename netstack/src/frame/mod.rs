//! Frames: buffers with headroom, in batches, from a pool.
//!
//! A frame is received once into a buffer that leaves [`HEADROOM`] octets free in front, so that every later
//! encapsulation is a `push` and no copy. What a device left undone (a partial checksum, a segment that it expects
//! someone to cut) travels with it as [`Offload`].

mod buffer;
mod egress;
mod offload;
pub mod vlan;

pub use buffer::{Frame, HEADROOM, LARGE, SMALL};
pub use egress::{Batch, Egress, Pool};
pub use offload::{Checksum, Gso, GsoKind, Offload};
