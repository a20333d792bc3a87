//! Prints which lines of the requirements list have a test that cites them. `genkan_tests::requirements` says how a test
//! cites a line, and how the code says that a line is left out on purpose.
//!
//! The list is `../shared/requirements.md` beside the checkout, or the file that `GENKAN_REQUIREMENTS` names.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use genkan_tests::requirements::{LABELS, List, Report};

fn main() -> ExitCode {
    match report() {
        Ok(report) => {
            print!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("requirements: {error}");
            ExitCode::FAILURE
        }
    }
}

fn report() -> Result<Report, String> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let checkout = tests.parent().ok_or("the tests are in no checkout")?;
    let beside = || checkout.join("../shared/requirements.md");
    let path = std::env::var_os("GENKAN_REQUIREMENTS").map_or_else(beside, PathBuf::from);
    let text = std::fs::read_to_string(&path).map_err(|error| {
        format!("no requirements list at {}: {error}; GENKAN_REQUIREMENTS names another", path.display())
    })?;
    let list = List::parse(&text, LABELS).map_err(|error| format!("{}: {error}", path.display()))?;
    let folders = ["netstack", "config", "router", "tests"].map(|name| checkout.join(name));
    Report::new(list, &folders.each_ref().map(PathBuf::as_path))
}
