//! `genkan vpn`: keys, peers and files of a WireGuard VPN. Nothing here talks to a running gateway but `vpn peer`, which may
//! ask it for its address.

mod import;
mod keygen;
mod peer;
mod qr;

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use genkan_netstack::rng::SeededRng;
use zeroize::Zeroizing;

use super::WRONG;
use crate::sys::random;

pub(super) const ABOUT: &str = "\
Prepare a WireGuard VPN, [vpn.NAME] in the configuration: make keys, make a peer for a telephone or another computer, take \
over the file that wg-quick has run with so far.";

/// The subcommands.
#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Make a private key, and say its public one
    #[command(long_about = keygen::ABOUT)]
    Keygen(keygen::Arguments),
    /// Say the public key of a private one
    #[command(long_about = keygen::ABOUT_PUBKEY)]
    Pubkey {
        /// The file with the private key; standard input when absent
        file: Option<PathBuf>,
    },
    /// Make a new peer: its whole configuration, as text and as a QR code, and the lines to add to ours
    #[command(long_about = peer::ABOUT)]
    Peer(peer::Arguments),
    /// Turn a file of wg-quick's into lines for ours
    #[command(long_about = import::ABOUT)]
    Import(import::Arguments),
}

pub(super) fn vpn(command: &Command) -> ExitCode {
    match command {
        Command::Keygen(arguments) => keygen::keygen(arguments),
        Command::Pubkey { file } => keygen::pubkey(file.as_deref()),
        Command::Peer(arguments) => peer::peer(arguments),
        Command::Import(arguments) => import::import(arguments),
    }
}

/// Randomness for keys.
fn rng() -> io::Result<SeededRng> {
    random().map(SeededRng::new)
}

/// Says on standard error what is wrong with the command line, for exit status 2.
fn refused(what: impl std::fmt::Display) -> ExitCode {
    eprintln!("genkan: {what}");
    ExitCode::from(WRONG)
}

/// Writes a new file that only its owner may read. One that is there is left alone: it may hold the only copy of a key.
fn write_secret(path: &Path, line: &str) -> io::Result<()> {
    write_new(path, 0o600, &Zeroizing::new(format!("{line}\n")))
}

/// Writes a new file, whole or not at all.
fn write_new(path: &Path, mode: u32, text: &str) -> io::Result<()> {
    let made = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let mut file = made.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            io::Error::new(error.kind(), "it is there already, and is not written over")
        }
        _ => error,
    })?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    if written.is_err() {
        // It holds nothing that anybody could miss.
        let _ = fs::remove_file(path);
    }
    written
}
