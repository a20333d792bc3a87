//! The router as a host.
