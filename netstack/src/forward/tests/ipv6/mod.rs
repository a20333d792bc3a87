//! Tests of the IPv6 path.

pub(super) mod net;
pub(super) mod packet;

mod border;
mod filter;
mod hit;
mod path;
mod uplink;
