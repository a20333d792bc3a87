//! `genkan vpn keygen` and `genkan vpn pubkey`.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use genkan_config::key;
use genkan_netstack::tunnel::wireguard::{PresharedKey, PrivateKey};
use zeroize::Zeroizing;

use super::{refused, rng, write_secret};
use crate::cli::failed;

pub(super) const ABOUT: &str = "\
Make a private key. With --out it goes to a new file that only its owner may read, as `private-key-file` wants it, and its \
public key is printed, which belongs into the files of the peers. Without, the private key itself is printed, and the \
public one beside it, on standard error.

With --preshared make a key that two peers share beside their own ones, for `preshared-key-file`. It has no public key: the \
other side needs a copy of it, and nobody else may see it.";

pub(super) const ABOUT_PUBKEY: &str = "\
Print the public key of the private key in FILE, or on standard input. It belongs into the files of the peers; `genkan status` \
shows that of a running gateway.";

#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Write the key to this new file, with mode 0600
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Make a preshared key
    #[arg(long)]
    preshared: bool,
}

pub(super) fn keygen(arguments: &Arguments) -> ExitCode {
    let mut rng = match rng() {
        Ok(rng) => rng,
        Err(error) => return failed(format_args!("the system has no random octets: {error}")),
    };
    let (secret, public) = if arguments.preshared {
        (key::text(PresharedKey::generate(&mut rng).expose()), None)
    } else {
        let private = PrivateKey::generate(&mut rng);
        (key::text(private.expose()), Some(key::text(&private.public().0)))
    };
    let Some(path) = &arguments.out else {
        println!("{}", *secret);
        if let Some(public) = public {
            eprintln!("public key: {}", *public);
        }
        return ExitCode::SUCCESS;
    };
    if let Err(error) = write_secret(path, &secret) {
        return failed(format_args!("{}: {error}", path.display()));
    }
    if let Some(public) = public {
        println!("{}", *public);
    }
    ExitCode::SUCCESS
}

pub(super) fn pubkey(file: Option<&Path>) -> ExitCode {
    match read(file) {
        Ok(Some(private)) => {
            println!("{}", *key::text(&private.public().0));
            ExitCode::SUCCESS
        }
        Ok(None) => {
            refused("this is no private key: expected 32 octets in base64, as `genkan vpn keygen` makes them")
        }
        Err(error) => {
            let place = file.map_or_else(|| "standard input".to_owned(), |path| path.display().to_string());
            failed(format_args!("{place}: {error}"))
        }
    }
}

/// The private key in a file.
fn read(file: Option<&Path>) -> io::Result<Option<PrivateKey>> {
    const LONGEST: u64 = 256;
    let mut text = Zeroizing::new(Vec::new());
    match file {
        Some(path) => std::fs::File::open(path)?.take(LONGEST).read_to_end(&mut text)?,
        None => io::stdin().take(LONGEST).read_to_end(&mut text)?,
    };
    Ok(key::parse(text.trim_ascii()).map(|octets| PrivateKey::new(*octets)))
}
