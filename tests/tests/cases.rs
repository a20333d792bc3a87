//! Conformance cases: captures of real lines in `tests/cases/`, each with what the gateway has to make of it.
//!
//! `genkan replay FILE CAPTURE --save-case tests/cases/NAME` adds one. GENKAN_CASES=renew writes down what happens now as what has to
//! happen; the difference is then for the reviewer to read.

use std::fs;
use std::path::{Path, PathBuf};

use genkan::replay::case;

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut cases: Vec<PathBuf> = entries
        .map(|entry| entry.expect("the folder can be listed").path())
        .filter(|path| path.is_dir())
        .collect();
    cases.sort();
    cases
}

#[test]
fn every_case_happens_as_it_has_to() {
    let renew = std::env::var_os("GENKAN_CASES").is_some_and(|value| value == "renew");
    let cases = cases();
    assert!(!cases.is_empty(), "there are cases");
    let mut failed = Vec::new();
    for folder in cases {
        if renew {
            case::renew(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        }
        let happened = case::run(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let expected =
            case::expected(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let differs =
            happened.lines().zip(expected.lines()).enumerate().find(|(_, (one, other))| one != other);
        if let Some((index, (happened, expected))) = differs {
            let name = folder.display();
            failed
                .push(format!("{name}, line {}:\n  has to be {expected}\n  but it is {happened}", index + 1));
        } else if happened != expected {
            failed.push(format!("{}: it ends earlier or later than it has to", folder.display()));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
