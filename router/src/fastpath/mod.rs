//! The kernel path: established traffic is carried in the kernel, by the same sessions and flows, with the same rewrites.

pub mod layout;
pub mod table;

pub use crate::sys::shared::SharedMemory;
