//! The DNS forwarder (RFC 5625).
