//! What a check says of bad configurations, word for word: each `bad/NAME.toml` has a `bad/NAME.expected`.
//!
//! `BLESS=1 cargo test -p genkan-config --test bad` writes the expected files anew; read what changed.

mod host;

use std::fs;
use std::path::{Path, PathBuf};

use genkan_config::Config;
use host::{CANARY, KEY, TestHost};

fn cases() -> Vec<PathBuf> {
    let mut cases: Vec<PathBuf> = (fs::read_dir("tests/bad").unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .collect();
    cases.sort();
    cases
}

fn said_of(path: &Path) -> String {
    match Config::load_on(path, &TestHost) {
        Ok(loaded) => format!("{}\n{}\n", loaded.warnings, loaded.warnings.summary()),
        Err(report) => format!("{report}\n{}\n", report.summary()),
    }
}

#[test]
fn every_error_is_told_with_its_place_and_a_suggestion() {
    let mut wrong = Vec::new();
    for path in cases() {
        let said = said_of(&path);
        let expected = path.with_extension("expected");
        if std::env::var_os("BLESS").is_some() {
            fs::write(&expected, &said).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != said {
            wrong.push(format!("{}: now says\n{said}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_diagnostic_of_every_case_says_what_to_do() {
    for path in cases() {
        let report = match Config::load_on(&path, &TestHost) {
            Ok(loaded) => loaded.warnings,
            Err(report) => report,
        };
        assert!(report.diagnostics.iter().all(|d| !d.help.is_empty()), "{}", path.display());
    }
}

#[test]
fn a_file_that_is_not_there_is_told_without_a_place() {
    let report = Config::load_on("tests/bad/lost.secret", &TestHost).unwrap_err();
    assert_eq!(report.errors(), 1);
    assert!(report.diagnostics[0].place.is_none());
    assert!(report.render(false).starts_with("error: cannot read the configuration: "), "{report}");
}

#[test]
fn a_terminal_sees_no_control_character_of_the_file() {
    for path in cases() {
        let said = said_of(&path);
        assert!(said.chars().all(|c| c == '\n' || !c.is_control()), "{}: {said:?}", path.display());
    }
}

/// TR-124 .6: passwords are never displayed, even where they are the mistake.
#[test]
fn no_report_shows_a_secret() {
    for path in cases() {
        let said = said_of(&path);
        for secret in [CANARY, KEY] {
            assert!(!said.contains(secret), "{}: {said}", path.display());
            if let Err(report) = Config::load_on(&path, &TestHost) {
                assert!(!report.render(true).contains(secret) && !format!("{report:?}").contains(secret));
            }
        }
    }
}

#[test]
fn a_coloured_report_says_the_same() {
    for path in cases() {
        let Err(report) = Config::load_on(&path, &TestHost) else { continue };
        let mut plain = report.render(true);
        for code in ["\x1b[0m", "\x1b[1m", "\x1b[1;31m", "\x1b[1;33m", "\x1b[1;34m"] {
            plain = plain.replace(code, "");
        }
        assert_eq!(plain, report.render(false));
    }
}
