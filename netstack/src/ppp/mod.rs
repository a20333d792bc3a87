//! PPP (RFC 1661): the automaton written once, and the protocols that supply its options.
