//! The address resolution protocol (RFC 826).
