//! The DHCPv4 server (RFC 2131).
