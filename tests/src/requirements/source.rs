//! Tests and remarks in Rust files.

use std::fs;
use std::path::Path;

/// A test function.
pub(super) struct Test<'a> {
    pub(super) name: &'a str,
    /// Its name and its doc comment.
    pub(super) text: String,
}

/// A "Left out" remark.
pub(super) struct LeftOut<'a> {
    pub(super) what: &'a str,
    pub(super) why: &'a str,
}

/// Reads every Rust file of a folder and the folders in it.
pub(super) fn read(folder: &Path, to: &mut Vec<String>) -> Result<(), String> {
    let say = |error: std::io::Error| format!("cannot read {}: {error}", folder.display());
    for entry in fs::read_dir(folder).map_err(say)? {
        let path = entry.map_err(say)?.path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            read(&path, to)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            to.push(
                fs::read_to_string(&path)
                    .map_err(|error| format!("cannot read {}: {error}", path.display()))?,
            );
        }
    }
    Ok(())
}

/// The test functions of a file. Comments and attributes before a function are its own, up to the first other line.
pub(super) fn tests(source: &str) -> impl Iterator<Item = Test<'_>> {
    let (mut comment, mut test) = (String::new(), false);
    source.lines().filter_map(move |line| {
        let line = line.trim_start();
        if let Some(text) = line.strip_prefix("///") {
            comment.push(' ');
            comment.push_str(text);
            return None;
        }
        if line.starts_with("#[") {
            test |= line.starts_with("#[test]");
            return None;
        }
        let (text, is_test) = (std::mem::take(&mut comment), std::mem::take(&mut test));
        let name = line.strip_prefix("pub ").unwrap_or(line).strip_prefix("fn ")?;
        let name = &name[..name.find(['(', '<'])?];
        // A full stop, so that the name's last words and the comment's first ones stay apart.
        is_test.then(|| Test { name, text: format!("{name} . {text}") })
    })
}

/// The remarks on what is left out on purpose: "Left out: RFC 7084 WPD-7: the reason", over one comment's lines.
pub(super) fn left_out(source: &str) -> impl Iterator<Item = LeftOut<'_>> {
    source.lines().filter_map(|line| {
        let comment = line.trim_start().strip_prefix("//")?.trim_start_matches(['/', '!']).trim_start();
        let (what, why) = comment.strip_prefix("Left out: ")?.split_once(": ")?;
        Some(LeftOut { what, why: why.trim() })
    })
}
