//! `genkan`: the program.

use std::process::ExitCode;

fn main() -> ExitCode {
    genkan::cli::main()
}
