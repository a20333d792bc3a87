//! Zero-copy views and builders for wire formats.

pub mod checksum;
pub mod ethernet;
pub mod ipv4;
pub mod octets;
pub mod pppoe;
pub mod redact;
