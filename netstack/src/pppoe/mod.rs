//! PPPoE (RFC 2516).
