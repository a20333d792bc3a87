//! The kernel path: established traffic is carried in the kernel, by the same sessions and flows, with the same rewrites.

pub mod adopt;
pub mod layout;
pub mod load;
pub mod mirror;
pub mod pins;
pub mod plan;
pub mod table;

pub use crate::sys::bpf::{Arrival, Ran, run};
pub use crate::sys::shared::SharedMemory;

/// Octets at an address that the readers of object files can use.
#[repr(C, align(16))]
struct Aligned<T: ?Sized>(T);

static ALIGNED: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/fastpath.o")));

/// The kernel half as clang built it (`build.rs`): programs `genkan_xdp`, `genkan_ingress` and `genkan_tap`, and their maps.
pub static OBJECT: &[u8] = &ALIGNED.0;
