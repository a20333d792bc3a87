//! Neighbor Discovery (RFC 4861, 4862).
//!
//! [`message`] reads and writes the packets.

pub mod message;
