//! The pure core of genkan: protocol machines and the packet path.
//!
//! Nothing here does I/O, reads a clock or draws randomness of its own: frames, the time and a seed go in; frames, the
//! next deadline and facts come out. `#![no_std]` makes the compiler hold us to it.
//!
//! Start at [`gateway`]: a [`gateway::Gateway`] is [`control`] (who negotiates) and [`forward`] (who forwards), joined
//! by `Update` and `Punt`.
#![no_std]

extern crate alloc;
#[cfg(any(test, feature = "sim"))]
extern crate std;

pub mod arp;
pub mod control;
pub mod dhcp4;
pub mod dhcp6;
pub mod dns;
pub mod explain;
pub mod forward;
pub mod frame;
pub mod gateway;
pub mod host;
pub mod id;
pub mod ledger;
pub mod machine;
pub mod ndp;
pub mod ppp;
pub mod pppoe;
pub mod rng;
pub mod secret;
pub mod settings;
pub mod sight;
#[cfg(feature = "sim")]
pub mod sim;
pub mod state;
pub mod status;
pub mod table;
pub mod time;
pub mod tunnel;
pub mod wire;
