//! Simulated links and hosts in virtual time.
