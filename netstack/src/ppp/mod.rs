//! PPP (RFC 1661): the automaton written once, and the protocols that supply its options.
//!
//! From the inside out: [`automaton`] is the table of RFC 1661 §4.1, [`negotiation`] drives it with packets and time for
//! any protocol that supplies its options, as `lcp`, `ipcp` and `ipv6cp` do; `auth` proves who is who; `echo` watches over
//! the peer's life; `network` holds one network protocol, apart from all others; [`link`] composes them into one [`Link`],
//! for the client's and for the server's role alike. A link knows neither PPPoE nor Ethernet: its owner strips and adds
//! them. What an open link has agreed on is an [`Agreement`]: with that another run of the program goes on with it.

mod auth;
pub mod automaton;
mod echo;
pub mod event;
mod ipcp;
mod ipv6cp;
mod lcp;
pub mod link;
pub mod negotiation;
mod network;
mod role;
pub mod settings;
pub(crate) mod text;

#[cfg(test)]
mod tests;

pub use auth::mschapv2_success;
pub use event::{DownClass, DownReason, Event, NetworkDownReason, Phase};
pub use ipcp::{Ipv4Agreement, Ipv4Assignment};
pub use ipv6cp::{InterfaceId, Ipv6Agreement};
pub use link::{Agreement, Link};
pub use settings::{ClientSettings, ServerSettings, Timing};
