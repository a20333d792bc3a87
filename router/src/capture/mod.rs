//! Captures: frames at a port, shown to whoever asks, as they look on the wire and without secrets.
//!
//! The data thread owns a [`Recorder`] and hands it every frame that comes in or goes out; while nobody listens that
//! costs one comparison. A listener is a [`Tap`], which goes to the data thread, and a [`Listener`], which stays with
//! whoever wants the frames. Between them is a queue with an end: frames that find it full are counted, never waited
//! for. What enters the queue is a copy ([`Packet::of`]) whose checksum is complete and whose passwords are overwritten,
//! so no secret reaches another thread, let alone a file. [`Writer`] makes pcapng of it. [`reader`] reads capture files, ours and
//! everybody's.

mod filter;
pub mod reader;
mod recorder;
mod writer;

use std::time::Duration;

use genkan_netstack::forward::segment::complete_checksum;
use genkan_netstack::frame::{Checksum, Frame};
use genkan_netstack::wire::redact::redact;

pub use filter::Filter;
pub use recorder::{Listener, Recorder, Selection, Tap};
pub use writer::{Interface, Writer};

/// Which way a frame went, seen from the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// It came in by the port.
    Received,
    /// It left by the port.
    Sent,
}

/// A captured frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Which interface of the capture it belongs to: the port's number.
    pub interface: u16,
    /// Which way it went.
    pub direction: Direction,
    /// Time since the Unix epoch.
    pub at: Duration,
    /// Its octets.
    pub bytes: Vec<u8>,
    /// Frames lost between the one before and this one because the listener was too slow.
    pub lost_before: u64,
    /// Something to say of it.
    pub comment: Option<String>,
}

impl Packet {
    /// A copy of a frame, its checksum completed and its secrets overwritten.
    pub fn of(interface: u16, direction: Direction, at: Duration, frame: &Frame) -> Self {
        let mut bytes = on_the_wire(frame);
        let redacted = redact(&mut bytes).then(|| "secret overwritten".to_owned());
        let segments = frame.offload.gso.map(|gso| format!("stands for segments of {} octets", gso.size));
        let comment = redacted.or(segments);
        Packet { interface, direction, at, bytes, lost_before: 0, comment }
    }
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
