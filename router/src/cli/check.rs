//! `genkan check`: is this configuration right?

use std::path::Path;
use std::process::ExitCode;

use super::{colour, load};

pub(super) const ABOUT: &str = "\
Validate FILE without running it: unknown keys, wrong values, ranges outside their network, ports used twice, secret \
files that others can read. Every error is shown at once, with its line, column and a suggestion.

Exit status 0 when the configuration can be run (there may be warnings), 2 when not.";

pub(super) fn check(file: &Path) -> ExitCode {
    let loaded = match load(file) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    eprint!("{}", loaded.warnings.render(colour()));
    println!("{}: the configuration is right", file.display());
    ExitCode::SUCCESS
}
