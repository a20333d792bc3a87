//! `genkan trace`: the whole way of chosen frames, stage by stage.

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{control_socket, failed};
use crate::capture::reader::{Reader, Record};
use crate::capture::{Direction, Timed, Wanted, traits};
use crate::control;

pub(super) const ABOUT: &str = "\
Show the whole way of frames through the running gateway: each stage that a frame passes, what was decided there, and what it changed: \
encapsulation, addresses, ports, TTL, MSS, length. A frame is chosen when it matches the expression at any stage, on its IP packets inside PPPoE, \
VLAN and VXLAN as well; everything that becomes of it is shown, also answers of the router's own and the reason of a drop.

While it runs, the kernel path pauses, as in a capture.

  genkan trace gateway.toml --filter 'host 203.0.113.9 and tcp port 443' --count 5
  genkan trace gateway.toml --filter 'icmp'";

#[derive(Args)]
pub(super) struct Arguments {
    /// The configuration of the running gateway
    file: PathBuf,
    /// Which frames: a libpcap expression, asked at every stage
    #[arg(long, value_name = "EXPR")]
    filter: String,
    /// End after this many frames
    #[arg(long, value_name = "N")]
    count: Option<u64>,
}

pub(super) fn trace(arguments: &Arguments) -> ExitCode {
    let socket = match control_socket(&arguments.file) {
        Ok(socket) => socket,
        Err(code) => return code,
    };
    let wanted =
        Wanted { filter: arguments.filter.clone(), inner: true, journeys: true, ..Wanted::default() };
    let stream = match control::capture(&socket, &wanted) {
        Ok(stream) => stream,
        Err(error) => return failed(error),
    };
    let shown = Reader::new(Box::new(Timed::new(stream, None)))
        .and_then(|reader| show(reader, arguments.count, &mut io::stdout().lock()));
    match shown {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => failed(format!("cannot show the way: {error}")),
        Ok(()) => ExitCode::SUCCESS,
    }
}

fn show(mut reader: Reader, count: Option<u64>, out: &mut impl io::Write) -> io::Result<()> {
    let mut left = count.unwrap_or(u64::MAX);
    let mut way = Way::default();
    while let Some(record) = reader.next_record() {
        if way.is_other(&record) {
            if left == 0 {
                break;
            }
            left -= 1;
        }
        write!(out, "{}", way.stage(&record))?;
        out.flush()?;
    }
    Ok(())
}

/// The way that is being told.
#[derive(Default)]
struct Way {
    frame: String,
    before: Vec<(&'static str, String)>,
}

/// A record's comments: the frame's number, and the facts.
fn said(record: &Record) -> (&str, impl Iterator<Item = &str>) {
    let parts = record.comment.as_deref().unwrap_or_default().split("; ");
    let number = parts.clone().find(|part| part.starts_with("frame ")).unwrap_or_default();
    (number, parts.filter(|part| !part.starts_with("frame ") && !part.is_empty()))
}

impl Way {
    /// True when a record begins another frame's way.
    fn is_other(&self, record: &Record) -> bool {
        said(record).0 != self.frame
    }

    /// A stage as lines: the point, what was decided on the way to it, and what has changed since the stage before.
    fn stage(&mut self, record: &Record) -> String {
        let mut out = String::new();
        let (frame, facts) = said(record);
        if frame != self.frame {
            frame.clone_into(&mut self.frame);
            self.before.clear();
            let _ = writeln!(out, "\n{frame}");
        }
        for fact in facts {
            let _ = writeln!(out, "      {fact}");
        }
        let way = match record.direction {
            Some(Direction::Sent) => "to",
            _ => "at",
        };
        let now = traits(&record.bytes, record.length);
        let changes = now.iter().filter_map(|(name, value)| {
            match self.before.iter().find(|(known, _)| known == name).map(|(_, before)| before) {
                None => Some(format!("{name} {value}")),
                Some(before) if before != value => Some(format!("{name} {before} -> {value}")),
                Some(_) => None,
            }
        });
        let changes: Vec<String> = changes.collect();
        let _ = writeln!(out, "  {way} {:<14} {}", record.source.name, changes.join(", "));
        self.before = now;
        out
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::capture::reader::{LinkType, Source};

    fn record(point: &str, sent: bool, bytes: &[u8], comment: &str) -> Record {
        Record {
            number: 1,
            source: Arc::new(Source { name: point.into(), link: LinkType::ETHERNET }),
            direction: Some(if sent { Direction::Sent } else { Direction::Received }),
            at: Duration::ZERO,
            bytes: bytes.to_vec(),
            length: bytes.len(),
            comment: Some(comment.into()),
        }
    }

    /// A UDP datagram with its TTL and source.
    fn packet(source: u8, ttl: u8) -> Vec<u8> {
        let mut frame =
            [&[2; 12][..], &[8, 0, 0x45, 0, 0, 28, 0, 0, 0, 0, ttl, 17, 0, 0, 10, 0, 0, source]].concat();
        frame.extend([10, 0, 0, 9, 0x13, 0x88, 0, 53, 0, 8, 0, 0]);
        frame
    }

    #[test]
    fn each_stage_tells_what_it_changed() {
        let mut way = Way::default();
        let first = way.stage(&record("lan.home", false, &packet(1, 64), "frame 7"));
        assert!(
            first.contains("frame 7")
                && first.contains("at lan.home")
                && first.contains("source 10.0.0.1:5000"),
            "{first}"
        );
        let second =
            way.stage(&record("wan.isp", true, &packet(2, 63), "frame 7; new mapping of A; new flow B"));
        assert!(second.contains("      new mapping of A\n      new flow B\n  to wan.isp"), "{second}");
        assert!(second.contains("source 10.0.0.1:5000 -> 10.0.0.2:5000, TTL 64 -> 63\n"), "{second}");
        let other = record("lan.home", false, &packet(1, 64), "frame 8");
        assert!(way.is_other(&other) && way.stage(&other).contains("TTL 64"));
    }
}
