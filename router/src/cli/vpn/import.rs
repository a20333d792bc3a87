//! `genkan vpn import`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use genkan_config::wg_quick::Import;
use zeroize::Zeroizing;

use super::write_new;
use crate::cli::{failed, wrong};

pub(super) const ABOUT: &str = "\
Turn FILE, a configuration of wg-quick's such as /etc/wireguard/wg0.conf, into the lines that say the same in a configuration of \
ours. What has no counterpart stands there as a comment, with the reason.

With --out the lines go to a new file, and the keys to files beside it that only their owner may read. Without, the lines are \
printed; no key is, and comments say where each belongs. Exit status 2 when FILE is wrong: every error is told with its line.";

#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The file
    file: PathBuf,
    /// What to call the VPN [default: as the file is called]
    #[arg(long)]
    name: Option<String>,
    /// Write the lines to this new file, and the keys beside it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn import(arguments: &Arguments) -> ExitCode {
    let import = match Import::load(&arguments.file, arguments.name.as_deref()) {
        Ok(import) => import,
        Err(report) => return wrong(&report),
    };
    let Some(out) = &arguments.out else {
        print!("{}", import.toml(false));
        return ExitCode::SUCCESS;
    };
    match write(&import, out) {
        Ok(written) => {
            written.iter().for_each(|path| println!("{}", path.display()));
            ExitCode::SUCCESS
        }
        Err(what) => failed(what),
    }
}

/// Writes the keys and the lines, all or nothing, and says which files that makes.
fn write(import: &Import, out: &Path) -> Result<Vec<PathBuf>, String> {
    let lines = Zeroizing::new(import.toml(true));
    let secrets = import
        .secrets()
        .into_iter()
        .map(|(name, key)| (out.with_file_name(name), 0o600, Zeroizing::new(format!("{}\n", *key))));
    let mut written = Vec::new();
    for (path, mode, text) in secrets.chain([(out.to_owned(), 0o644, lines)]) {
        if let Err(error) = write_new(&path, mode, &text) {
            written.iter().for_each(|path| drop(fs::remove_file(path)));
            return Err(format!("{}: {error}", path.display()));
        }
        written.push(path);
    }
    Ok(written)
}
