//! Captures: frames at the points of their way, shown to whoever asks, without secrets.
//!
//! The data thread owns a [`Recorder`] and hands it what the gateway has shown of each frame ([`Sighting`]); while nobody listens
//! the gateway shows nothing. A listener is a [`Tap`], which goes to the data thread, and a [`Listener`], which stays with
//! whoever wants the frames. Between them is a queue with an end: frames that find it full are counted, never waited
//! for. What enters the queue is a copy ([`Packet`]) whose checksum is complete and whose passwords are overwritten,
//! so no secret reaches another thread, let alone a file. [`Writer`] makes pcapng of it. [`reader`] reads capture files, ours and
//! everybody's.
//!
//! - `points` are the places by name, and what a client asks for ([`Wanted`]).
//! - [`ring`] keeps the last seconds in memory, and `keeper` saves them when something has gone wrong.
//! - `blocks` writes on the client's side, also into files that take turns.
//! - [`text`] says a frame in a line.
//! - `filter` and `layers` say whether a frame is one that is wanted, also by what is inside it.

mod blocks;
mod filter;
mod keeper;
mod layers;
mod points;
pub mod reader;
mod recorder;
pub mod ring;
pub mod text;
mod writer;

use std::time::Duration;

use genkan_netstack::forward::segment::complete_checksum;
use genkan_netstack::frame::{Checksum, Frame};
use genkan_netstack::sight::Sighting;
use genkan_netstack::wire::redact::redact;

pub use blocks::{Blocks, Output, Timed};
pub use filter::Filter;
pub use keeper::Keeper;
pub use layers::{Flow, traits};
pub use points::{FastPathUse, Points, Wanted};
pub use recorder::{Listener, Recorder, Selection, Tap};
pub use writer::{Interface, Writer};

/// Which way a frame went, seen from the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// It came in.
    Received,
    /// It left.
    Sent,
}

/// A captured frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Which interface of the capture it belongs to.
    pub interface: u16,
    /// Which way it went.
    pub direction: Direction,
    /// Time since the Unix epoch.
    pub at: Duration,
    /// Its octets, or the first of them.
    pub bytes: Vec<u8>,
    /// Number of octets that it had.
    pub length: usize,
    /// Frames lost between the one before and this one because the listener was too slow.
    pub lost_before: u64,
    /// What is to be said of it.
    pub comments: Vec<String>,
}

impl Packet {
    /// A copy of a frame, its checksum completed and, with `redacts`, its secrets overwritten.
    pub fn of(interface: u16, direction: Direction, at: Duration, frame: &Frame, redacts: bool) -> Self {
        let mut bytes = on_the_wire(frame);
        let mut comments = Vec::new();
        if redacts && redact(&mut bytes) {
            comments.push("secret overwritten".to_owned());
        }
        if let Some(gso) = frame.offload.gso {
            comments.push(format!("stands for segments of {} octets", gso.size));
        }
        let length = bytes.len();
        Packet { interface, direction, at, bytes, length, lost_before: 0, comments }
    }
}

/// Which way a sighting's frame went.
fn direction(sighting: &Sighting) -> Direction {
    if sighting.sent { Direction::Sent } else { Direction::Received }
}

/// The frame's octets after the device has done what is left to it.
fn on_the_wire(frame: &Frame) -> Vec<u8> {
    match frame.offload.checksum {
        Checksum::Complete | Checksum::Verified => frame.bytes().to_vec(),
        Checksum::Partial { .. } => {
            let mut copy = Frame::from_bytes(frame.bytes());
            copy.offload = frame.offload;
            complete_checksum(&mut copy);
            copy.bytes().to_vec()
        }
    }
}

/// What libpcap says of an error, without the crate's own frame around it.
pub(crate) fn words(error: &pcap::Error) -> String {
    match error {
        pcap::Error::PcapError(words) => words.clone(),
        other => other.to_string(),
    }
}
