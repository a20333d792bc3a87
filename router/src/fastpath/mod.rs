//! The kernel path: established traffic is carried in the kernel, by the same sessions and flows, with the same rewrites.

pub mod adopt;
pub mod layout;
pub mod mirror;
pub mod table;

pub use crate::sys::shared::SharedMemory;
