//! `genkan capture`: frames as they pass, as pcapng.

use std::fs::File;
use std::io::{self, IsTerminal as _, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{WRONG, control_socket, failed};
use crate::control;

pub(super) const ABOUT: &str = "\
Capture the frames that pass the running gateway's ports, PPPoE headers and all, as a pcapng file that Wireshark and \
tcpdump read. Each port is an interface of the file, and each frame says whether it came or went.

PAP passwords and CHAP responses are blanked before a frame leaves the gateway; lengths and checksums stay right.

  genkan capture gateway.toml --write line.pcapng                 every port, until Ctrl-C
  genkan capture gateway.toml --at wan0 --filter 'pppoed or pppoes' --write line.pcapng
  genkan capture gateway.toml --at vpn.friends | tcpdump -r - -n  inside a VPN; the port shows what is outside
  genkan capture gateway.toml | tcpdump -r - -n                   live";

#[derive(Args)]
pub(super) struct Arguments {
    /// The configuration of the running gateway
    file: PathBuf,
    /// A port of the configuration, or vpn.NAME for the packets inside a VPN; may be given several times [default: all]
    #[arg(long = "at", value_name = "POINT")]
    ports: Vec<String>,
    /// Keep only frames that match this libpcap expression, such as 'pppoes and ip host 192.0.2.1'
    #[arg(long, value_name = "EXPR", default_value = "", hide_default_value = true)]
    filter: String,
    /// Write to this file [default: standard output]
    #[arg(long, value_name = "OUT")]
    write: Option<PathBuf>,
}

pub(super) fn capture(arguments: &Arguments) -> ExitCode {
    let socket = match control_socket(&arguments.file) {
        Ok(socket) => socket,
        Err(code) => return code,
    };
    if arguments.write.is_none() && io::stdout().is_terminal() {
        eprintln!("genkan: a capture is no text: give --write FILE, or pipe it into tcpdump -r -");
        return ExitCode::from(WRONG);
    }
    let mut stream = match control::capture(&socket, arguments.ports.clone(), arguments.filter.clone()) {
        Ok(stream) => stream,
        Err(error) => return failed(error),
    };
    let copied = match &arguments.write {
        Some(path) => File::create(path)
            .and_then(|mut file| copy(&mut stream, &mut file))
            .map_err(|error| format!("{}: cannot write the capture: {error}", path.display())),
        None => match copy(&mut stream, &mut io::stdout().lock()) {
            // The reader has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            copied => copied.map_err(|error| format!("cannot write the capture: {error}")),
        },
    };
    copied.map_or_else(failed, |()| ExitCode::SUCCESS)
}

/// Copies each piece as soon as it comes, so that a reader at the other end sees frames live.
fn copy(from: &mut impl io::Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            count => {
                to.write_all(&buffer[..count])?;
                to.flush()?;
            }
        }
    }
}
