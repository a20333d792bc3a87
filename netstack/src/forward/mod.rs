//! The packet path.

pub mod message;

pub use message::{Punt, PuntKind, Resolve, Session, SessionOwner, Update, Usage};
