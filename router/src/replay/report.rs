//! Outcomes as text: a line each, or two where the captured router sent something else. Secrets are left out.

use std::fmt::Write as _;

use genkan_netstack::wire::redact::redact;

use super::{Counterpart, Outcome, Replay, What};
use crate::capture::text;

impl Replay {
    /// The outcome as a line of text.
    pub fn text(&self, outcome: &Outcome) -> String {
        let at = format!("{:>12.6}", outcome.at.saturating_sub(self.origin()).as_secs_f64());
        format!("{at}  {}", self.words(&outcome.what))
    }

    /// How the lines are by now, a line each.
    pub fn state(&self) -> Vec<String> {
        let status = self.gateway().status(self.now());
        let mut lines = Vec::new();
        for wan in &status.wans {
            let mut line = format!("state     wan {}: {}", wan.name, wan.state);
            let mut add = |what: &str, value: Option<String>| {
                if let Some(value) = value {
                    let _ = write!(line, ", {what} {value}");
                }
            };
            add("session", wan.session_id.map(|session| session.to_string()));
            add("address", wan.address.map(|address| address.to_string()));
            add("gateway", wan.gateway.map(|address| address.to_string()));
            add("MTU", wan.mtu.map(|mtu| mtu.to_string()));
            add("DNS", (!wan.dns.is_empty()).then(|| list(&wan.dns)));
            if let Some(ipv6) = &wan.ipv6 {
                let prefixes: Vec<String> =
                    ipv6.prefixes.iter().map(|prefix| prefix.prefix.to_string()).collect();
                add("IPv6", Some(if ipv6.up { "up" } else { "down" }.to_owned()));
                add("prefix", (!prefixes.is_empty()).then(|| prefixes.join(" ")));
                add("IPv6 DNS", (!ipv6.dns.is_empty()).then(|| list(&ipv6.dns)));
            }
            if let Some(failure) = &wan.last_failure {
                let _ = write!(line, "; last failure: {failure}");
            }
            lines.push(line);
        }
        for concentrator in &status.concentrators {
            let count = concentrator.sessions.len();
            lines.push(format!("state     concentrator {}: {count} sessions", concentrator.name));
        }
        lines
    }

    /// What happened, without its time.
    pub fn words(&self, what: &What) -> String {
        match what {
            What::Event(event) => format!("event     {event}"),
            What::Received { port, number, frame, captured } => {
                let fitted = if captured.is_some() { ", as an answer to ours" } else { "" };
                format!("received  {} {} (frame {number}{fitted})", self.port_name(*port), describe(frame))
            }
            What::Sent { port, frame, captured } => {
                let mut line = format!("sent      {} {}", self.port_name(*port), describe(frame));
                match captured {
                    Some(Counterpart { number, same: true, .. }) => {
                        let _ = write!(line, " (as frame {number})");
                    }
                    Some(Counterpart { number, frame, .. }) => {
                        let _ =
                            write!(line, " (unlike frame {number})\n{:18}which is {}", "", describe(frame));
                    }
                    None => line.push_str(" (not in the capture)"),
                }
                line
            }
            What::Missed { port, captured } => {
                let (port, words) = (self.port_name(*port), describe(&captured.frame));
                format!("not sent  {port} {words} (frame {} of the captured router)", captured.number)
            }
            What::Decided(facts) => format!("decided   {}", facts.join("; ")),
            What::Dropped { port, reason } => {
                format!("dropped   {} {}: {}", self.port_name(*port), reason.name(), reason.describe().trim())
            }
            What::Skipped { port, number, frame, why } => {
                format!("left out  {} {} (frame {number}): {why}", self.port_name(*port), describe(frame))
            }
            What::Assumed { port, frame, .. } => {
                format!("assumed   {} {}", self.port_name(*port), describe(frame))
            }
            What::Note(note) => format!("note      {note}"),
        }
    }
}

/// A frame of a capture that may have secrets in it.
fn describe(frame: &[u8]) -> String {
    let mut frame = frame.to_vec();
    redact(&mut frame);
    text::words(&frame)
}

fn list(addresses: &[impl std::fmt::Display]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}
