//! Writes the manual pages and the completions of shells for the packages: `documents FOLDER`.
//!
//! What they say comes from the command line's own definition, so that they cannot differ from `--help`. This is no command
//! of the program, for nobody who runs it needs it.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use clap::Command;
use clap_complete::{Shell, generate_to};
use clap_mangen::Man;

/// Commands for administrators (man-pages(7)).
const SECTION: &str = "8";

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1) else {
        eprintln!("usage: documents FOLDER");
        return ExitCode::from(2);
    };
    match documents(Path::new(&folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("documents: {}: {error}", Path::new(&folder).display());
            ExitCode::FAILURE
        }
    }
}

/// Writes everything into `folder`.
fn documents(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let mut command = genkan::cli::command();
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut command, "genkan", folder)?;
    }
    // A page for each command, named as git's are: genkan-vpn-peer. `help` says nothing that `--help` does not.
    let mut command = genkan::cli::command().disable_help_subcommand(true);
    command.build();
    pages(folder, &command, "genkan")
}

/// Writes the page of `command`, and those of the commands below it.
fn pages(folder: &Path, command: &Command, name: &str) -> io::Result<()> {
    let below: Vec<&Command> = command.get_subcommands().filter(|below| !below.is_hide_set()).collect();
    let page = command.clone().display_name(name.to_owned());
    let path = folder.join(format!("{name}.{SECTION}"));
    let mut file = File::create(path)?;
    Man::new(page).title(name).section(SECTION).manual("genkan").render(&mut file)?;
    file.flush()?;
    below.into_iter().try_for_each(|below| pages(folder, below, &format!("{name}-{}", below.get_name())))
}
