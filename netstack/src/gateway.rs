//! The gateway: control and forwarder, joined.
