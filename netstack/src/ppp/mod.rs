//! PPP (RFC 1661): the automaton written once, and the protocols that supply its options.
//!
//! From the inside out: [`event`] says what a link reports, [`settings`] what it is told to be, and [`link`] composes
//! the link control protocol, authentication and the network control protocols into one [`link::Link`], for the
//! client's and for the server's role alike. A link knows neither PPPoE nor Ethernet: its owner strips and adds them.

pub mod event;
pub mod link;
pub mod settings;

pub use event::{DownReason, Event, Ipv4DownReason, Phase};
pub use link::{Ipv4Assignment, Link};
pub use settings::{ClientSettings, ServerSettings, Timing};
