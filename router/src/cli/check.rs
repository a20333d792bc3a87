//! `genkan check`: is this configuration right?

use std::path::Path;
use std::process::ExitCode;

use super::{colour, load};
use crate::fastpath::plan;

pub(super) const ABOUT: &str = "\
Validate FILE without running it: unknown keys, wrong values, ranges outside their network, ports used twice, secret \
files that others can read. Every error is shown at once, with its line, column and a suggestion.

With --explain-fast-path also tell, a line a port, how established traffic would reach the kernel's own path on this \
machine, and why. Nothing is attached: what the driver refuses when it is tried is told by `run` and `status`.

Exit status 0 when the configuration can be run (there may be warnings), 2 when not.";

pub(super) fn check(file: &Path, explain_fast_path: bool) -> ExitCode {
    let loaded = match load(file) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    eprint!("{}", loaded.warnings.render(colour()));
    println!("{}: the configuration is right", file.display());
    if explain_fast_path {
        for planned in plan::plan(&loaded.config) {
            println!("{planned}");
        }
    }
    ExitCode::SUCCESS
}
