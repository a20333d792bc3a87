//! The packet path.

pub mod bridge;
pub mod fragment;
pub mod icmp;
pub mod limit;
pub mod message;
pub mod mtu;
pub mod neighbour;
pub mod reassemble;
pub mod reset;
pub mod segment;

pub use message::{Punt, PuntKind, Resolve, Session, SessionOwner, Update, Usage};
