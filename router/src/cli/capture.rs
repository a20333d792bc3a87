//! `genkan capture`: frames as they pass, as pcapng.

use std::io::{self, IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;

use super::{control_socket, failed};
use crate::capture::reader::Reader;
use crate::capture::text::{self, Shown};
use crate::capture::{Blocks, FastPathUse, Flow, Output, Timed, Wanted};
use crate::control;

pub(super) const ABOUT: &str = "\
Capture the frames that pass the running gateway, PPPoE headers and all, as a pcapng file that Wireshark and tcpdump read. \
Each point is an interface of the file, each frame says whether it came or went, and its comments say what became of it: flow, \
NAT mapping, filter rule, why it was dropped.

The points:
  port.NAME, or NAME    the wire of a port
  wan.NAME, lan.NAME    IP packets at an uplink or a LAN: received, before NAT and filter; sent, after both
  subscribers           IP packets of the concentrators' subscribers
  vpn.NAME              IP packets inside a VPN
  router                what the router takes in and says itself
  drop                  what is dropped, as it came in, with the reason
  all                   every one of them; one frame is seen at several
At the last ones the Ethernet header is empty where the packet has none.

PAP passwords, CHAP and MS-CHAP responses, and the passwords and keys of RADIUS are overwritten before a frame leaves the gateway; lengths and \
checksums stay right. WireGuard's handshakes are encrypted as they are. --unredacted leaves secrets in, and the file says so.

The last seconds are always in memory, by `[capture] ring` of the configuration: control traffic in full, the first 128 octets of data. They are saved \
in the folder captures of the state directory when a session falls, authentication fails, a lease or prefix is lost, a VPN's peer goes down or the \
program panics: 16 files at most. genkan status names the newest; --ring shows what is in memory now.

While a capture runs, the gateway takes its time with each frame, and the kernel path pauses. --fast-path sample or off lets the kernel path go on: \
then one packet in 4,096, or none, is seen of the flows that it carries already. Frames that the capture is too slow for are counted in it; they \
are forwarded all the same.

  genkan capture gateway.toml --at wan0                           on a terminal: a line for each frame, options by name
  genkan capture gateway.toml --write line.pcapng                 every port, until Ctrl-C
  genkan capture gateway.toml --at wan0 --filter 'pppoed or pppoes' --write line.pcapng
  genkan capture gateway.toml --at wan0 --inner --filter 'host 9.9.9.9' --write dns.pcapng
  genkan capture gateway.toml --drops --count 20 | tcpdump -r - -n
  genkan capture gateway.toml --flow 192.168.1.20:51000 203.0.113.9:443 --at all --write flow.pcapng
  genkan capture gateway.toml --write week.pcapng --ring-files 10 --ring-size 64MiB
  genkan capture gateway.toml --ring --write before.pcapng        what passed in the last seconds
  genkan capture gateway.toml --at vpn.friends | tcpdump -r - -n  inside a VPN; the port shows what is outside";

#[derive(Args)]
pub(super) struct Arguments {
    /// The configuration of the running gateway
    file: PathBuf,
    /// A point, see above; may be given several times [default: every port, and inside every VPN]
    #[arg(long = "at", value_name = "POINT")]
    points: Vec<String>,
    /// Keep only frames that match this libpcap expression, such as 'pppoes and ip host 192.0.2.1'
    #[arg(long, value_name = "EXPR", default_value = "", hide_default_value = true)]
    filter: String,
    /// Ask the expression of the IP packets inside a frame as well: behind a VLAN tag, in PPPoE, in VXLAN
    #[arg(long)]
    inner: bool,
    /// Keep only what runs between two ends, either way, before and after NAT
    #[arg(long, num_args = 2, value_names = ["ADDRESS:PORT", "ADDRESS:PORT"])]
    flow: Option<Vec<SocketAddr>>,
    /// Keep only what is dropped: the same as --at drop
    #[arg(long)]
    drops: bool,
    /// End after this many frames
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// End after this many seconds
    #[arg(long, value_name = "S")]
    seconds: Option<u64>,
    /// Say each frame in a line of text, as on a terminal
    #[arg(long, conflicts_with = "write")]
    text: bool,
    /// Write to this file [default: standard output, as text on a terminal]
    #[arg(long, value_name = "OUT")]
    write: Option<PathBuf>,
    /// Write N files in turn, OUT with a number before its ending; the oldest is overwritten
    #[arg(long, value_name = "N", requires = "write", requires = "ring_size", value_parser = clap::value_parser!(u32).range(1..))]
    ring_files: Option<u32>,
    /// Begin the next file when one has this size, such as 64MiB
    #[arg(long, value_name = "SIZE", requires = "ring_files", value_parser = size)]
    ring_size: Option<u64>,
    /// Write what the ring holds: what passed in the last seconds
    #[arg(long, conflicts_with_all = ["points", "filter", "flow", "drops", "unredacted", "seconds", "ring_files"])]
    ring: bool,
    /// Leave passwords and responses to challenges in; the file says so
    #[arg(long)]
    unredacted: bool,
    /// What happens to the kernel path meanwhile
    #[arg(long, value_name = "HOW", default_value = "pause")]
    fast_path: FastPathUse,
}

/// A size with its unit.
fn size(text: &str) -> Result<u64, String> {
    let size = genkan_config::parse_size(text).filter(|size| *size > 0);
    size.ok_or_else(|| "a size has a unit: 512KiB, 64MiB, 1GiB".to_owned())
}

impl Arguments {
    fn wanted(&self) -> Wanted {
        let mut points = self.points.clone();
        if self.drops {
            points = vec!["drop".to_owned()];
        }
        let flow = match self.flow.as_deref() {
            Some(&[one, other]) => Some(Flow(one, other)),
            _ => None,
        };
        Wanted {
            points,
            filter: self.filter.clone(),
            inner: self.inner,
            flow,
            journeys: false,
            unredacted: self.unredacted,
            fast_path: self.fast_path,
        }
    }
}

pub(super) fn capture(arguments: &Arguments) -> ExitCode {
    let socket = match control_socket(&arguments.file) {
        Ok(socket) => socket,
        Err(code) => return code,
    };
    let asked = match arguments.ring {
        true => control::ring(&socket),
        false => control::capture(&socket, &arguments.wanted()),
    };
    let stream = match asked {
        Ok(stream) => stream,
        Err(error) => return failed(error),
    };
    let end = arguments.seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let stream = Timed::new(stream, end);
    if arguments.text || arguments.write.is_none() && io::stdout().is_terminal() {
        return match tell(stream, arguments.count) {
            // The reader has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Err(error) => failed(format!("cannot show the capture: {error}")),
            Ok(()) => ExitCode::SUCCESS,
        };
    }
    let output = match (&arguments.write, arguments.ring_files.zip(arguments.ring_size)) {
        (Some(path), None) => Output::file(path),
        (Some(path), Some((files, size))) => Output::ring(path, files, size),
        (None, _) => Ok(Output::stream(io::stdout())),
    };
    let name = arguments.write.as_ref().map_or("standard output".into(), |path| path.display().to_string());
    let copied = output.and_then(|mut output| copy(Blocks::new(stream), &mut output, arguments.count));
    match copied {
        // The reader has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe && arguments.write.is_none() => {
            ExitCode::SUCCESS
        }
        Err(error) => failed(format!("{name}: cannot write the capture: {error}")),
        Ok(()) => ExitCode::SUCCESS,
    }
}

/// Says each frame in a line, until there are no more, or `count`.
fn tell(stream: Timed, count: Option<u64>) -> io::Result<()> {
    let mut reader = Reader::new(Box::new(stream))?;
    let mut out = io::stdout().lock();
    for _ in 0..count.unwrap_or(u64::MAX) {
        let Some(record) = reader.next_record() else { break };
        let shown = Shown {
            at: record.at,
            point: &record.source.name,
            direction: record.direction,
            bytes: &record.bytes,
            length: record.length,
            comment: record.comment.as_deref().unwrap_or_default(),
        };
        writeln!(out, "{}", text::line(&shown))?;
        out.flush()?;
    }
    Ok(())
}

/// Copies blocks until there are no more, or `count` frames. What waits for more is written out first, so that a reader at the other
/// end sees frames live.
fn copy(mut blocks: Blocks, output: &mut Output, count: Option<u64>) -> io::Result<()> {
    let mut left = count.unwrap_or(u64::MAX);
    while left > 0
        && let Some(block) = blocks.next_block()?
    {
        output.write(&block)?;
        left -= u64::from(block.is_frame());
        if blocks.is_drained() {
            output.flush()?;
        }
    }
    output.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!((size("64MiB"), size("512 KiB"), size("7B")), (Ok(64 << 20), Ok(512 << 10), Ok(7)));
        for wrong in ["64", "MiB", "0MiB", "1TiB", "99999999999999GiB"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
