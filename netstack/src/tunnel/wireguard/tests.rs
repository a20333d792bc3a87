//! Ends of tunnels on a wire, in virtual time.

mod hostile;
mod interop;
mod life;
mod timers;
mod world;
