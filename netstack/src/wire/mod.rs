//! Zero-copy views and builders for wire formats.

pub mod auth;
pub mod checksum;
pub mod ethernet;
pub mod ipv4;
pub mod ipv6;
pub mod octets;
pub mod ppp;
pub mod ppp_option;
pub mod pppoe;
pub mod redact;
