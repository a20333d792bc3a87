//! The control socket: how the commands talk to a running gateway.
//!
//! A Unix socket that only its owner may use. A client writes one [`Request`] as a line of JSON; the server answers with
//! one line of JSON, a [`Reply`]. After a capture request's reply, the rest of the connection is the capture file itself.

mod client;
mod server;

pub use client::{ClientError, capture, explain, ring, status, stop};
pub use server::Server;

use serde::{Deserialize, Serialize};

use crate::capture::Wanted;
use crate::explain::Question;

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// The gateway's status.
    Status,
    /// Frames as they pass.
    Capture(Wanted),
    /// What is wrong.
    Explain(Question),
    /// The frames of the last seconds, as the ring has kept them.
    Ring,
    /// End.
    Stop {
        /// End every session in good order and take everything away; otherwise leave it for the next run to go on with.
        flush: bool,
    },
}

/// The server's first line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// What was asked for.
    Status(serde_json::Value),
    /// What is wrong, for a person to read and for a script.
    Explained(String, serde_json::Value),
    /// The capture file follows.
    Capture,
    /// It has ended.
    Stopped,
    /// Why the request was refused, for a person to read.
    Error(String),
}
