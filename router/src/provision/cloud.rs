//! cloud-init's user data, as a NoCloud seed brings it: of `#cloud-config` the files of `write_files` that are a
//! configuration's. Whatever else it says is for other programs.
//!
//! No message repeats what is written there: it holds passwords.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use flate2::read::MultiGzDecoder;
use genkan_config::LARGEST_FILE;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{Content, Files, NAMES, inside};

/// The first line of user data that is cloud-init's configuration.
const HEADER: &str = "#cloud-config";
/// How a file begins that gzip has compressed (RFC 1952 §2.3.1).
const GZIP: &[u8] = &[0x1f, 0x8b];

/// What is in user data.
#[derive(Debug, Default)]
pub(super) struct UserData {
    /// Files of a configuration directory, by their path in it.
    pub(super) files: Files,
    /// Paths of the others.
    pub(super) left_out: Vec<String>,
}

#[derive(Deserialize)]
struct CloudConfig {
    #[serde(default)]
    write_files: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    path: String,
    #[serde(default)]
    content: String,
    encoding: Option<String>,
    #[serde(default)]
    append: bool,
}

/// Reads user data, plain or in gzip.
///
/// # Errors
/// What is wrong, to stand after the file's name: ":3:5: …".
pub(super) fn read(octets: &[u8]) -> Result<UserData, String> {
    let unpacked;
    let octets = if octets.starts_with(GZIP) {
        unpacked = gunzip(octets).map_err(|why| format!(": {why}"))?;
        unpacked.as_slice()
    } else {
        octets
    };
    let text = std::str::from_utf8(octets).map_err(|_| ": it is not UTF-8 text".to_owned())?;
    if text.lines().next().map(str::trim_end) != Some(HEADER) {
        return Err(format!(":1:1: its first line is not `{HEADER}`; no other kind of user data is read"));
    }
    let options = serde_saphyr::options! { with_snippet: false };
    let config: Option<CloudConfig> =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            let place = error.location().map(|at| format!(":{}:{}", at.line(), at.column()));
            let place = place.unwrap_or_default();
            format!("{place}: this is not the YAML of write_files: a list of entries with path and content")
        })?;
    let mut data = UserData::default();
    for entry in config.map(|config| config.write_files).unwrap_or_default() {
        match name(&entry.path) {
            Some(name) => add(&mut data.files, name, entry)?,
            None => data.left_out.push(entry.path.chars().filter(|c| !c.is_control()).collect()),
        }
    }
    Ok(data)
}

/// The path within a configuration directory, of one that leads there.
fn name(path: &str) -> Option<PathBuf> {
    NAMES.iter().find_map(|root| Path::new(path).strip_prefix(root).ok()).and_then(inside)
}

fn add(files: &mut Files, name: PathBuf, entry: Entry) -> Result<(), String> {
    let text = Zeroizing::new(entry.content);
    let content = decode(&text, entry.encoding.as_deref().unwrap_or("text/plain"))
        .map_err(|why| format!(": the content of {}: {why}", name.display()))?;
    match files.get_mut(&name) {
        Some(before) if entry.append => before.extend_from_slice(&content),
        _ => {
            files.insert(name, content);
        }
    }
    Ok(())
}

/// A file's content by one of the encodings that cloud-init knows.
fn decode(text: &str, encoding: &str) -> Result<Content, String> {
    let encoding = encoding.to_ascii_lowercase();
    let plain = || Ok(Zeroizing::new(text.as_bytes().to_vec()));
    let base64 = || {
        let letters: Zeroizing<Vec<u8>> =
            Zeroizing::new(text.bytes().filter(|octet| !octet.is_ascii_whitespace()).collect());
        BASE64.decode(&letters).map(Zeroizing::new).map_err(|_| "it is not base64".to_owned())
    };
    match encoding.as_str() {
        "text/plain" | "" => plain(),
        "b64" | "base64" => base64(),
        "gz+b64" | "gz+base64" | "gzip+b64" | "gzip+base64" => gunzip(&base64()?),
        // Octets of gzip can stand in YAML as base64 alone, as `!!binary`.
        "gz" | "gzip" => gunzip(&base64()?),
        _ => Err("its encoding is none of text/plain, b64, base64, gz, gzip, gz+b64 and gzip+base64".into()),
    }
}

/// What gzip has compressed.
fn gunzip(octets: &[u8]) -> Result<Content, String> {
    let mut content = Zeroizing::new(Vec::new());
    MultiGzDecoder::new(octets)
        .take(LARGEST_FILE + 1)
        .read_to_end(&mut content)
        .map_err(|_| "it is not gzip".to_owned())?;
    if content.len() as u64 > LARGEST_FILE {
        return Err("it is too large".into());
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(octets: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(octets).unwrap();
        encoder.finish().unwrap()
    }

    fn content(data: &UserData, name: &str) -> String {
        String::from_utf8(data.files[Path::new(name)].to_vec()).unwrap()
    }

    #[test]
    fn files_of_a_configuration_are_taken_and_others_are_left() {
        let text = "#cloud-config
hostname: router
users: [default, {name: anna}]
write_files:
- path: /etc/genkan/gateway.toml
  permissions: '0644'
  owner: root:root
  content: |
    [port.lan0]
    nic = \"eth1\"
- path: /var/lib/genkan/config/keys/isp.secret
  content: c2Vj
   cmV0
  encoding: b64
- {path: /etc/motd, content: hello}
- {path: /etc/genkan/../shadow, content: root}
";
        let data = read(text.as_bytes()).unwrap();
        assert_eq!(content(&data, "gateway.toml"), "[port.lan0]\nnic = \"eth1\"\n");
        assert_eq!(content(&data, "keys/isp.secret"), "secret");
        assert_eq!(data.left_out, ["/etc/motd", "/etc/genkan/../shadow"]);
        assert_eq!(data.files.len(), 2);
        let data = read(&gzip(text.as_bytes())).unwrap();
        assert_eq!(data.files.len(), 2, "user data in gzip");
    }

    #[test]
    fn every_encoding_of_cloud_init_is_read() {
        let plain = BASE64.encode(b"hunter2");
        let packed = BASE64.encode(&gzip(b"hunter2"));
        for (content, encodings) in [
            ("hunter2", &["text/plain"][..]),
            (&plain, &["b64", "base64", "BASE64"]),
            (&packed, &["gz", "gzip", "gz+b64", "gz+base64", "gzip+b64", "gzip+base64"]),
        ] {
            for encoding in encodings {
                assert_eq!(decode(content, encoding).unwrap().as_slice(), b"hunter2", "{encoding}");
            }
        }
        for (content, encoding) in [("hunter2!", "b64"), (plain.as_str(), "gz+b64"), ("hunter2", "rot13")] {
            let error = decode(content, encoding).unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn an_appended_entry_goes_to_the_end_and_a_number_is_text() {
        let text = "#cloud-config\nwrite_files:\n- {path: /etc/genkan/a, content: 1234}\n- {path: /etc/genkan/a, content: b, append: true}\n";
        assert_eq!(content(&read(text.as_bytes()).unwrap(), "a"), "1234b");
    }

    #[test]
    fn what_is_no_user_data_is_said_with_its_place_and_without_its_content() {
        for (text, place) in [
            ("#!/bin/sh\necho hunter2\n", ":1:1: its first line"),
            ("#cloud-config\nwrite_files:\n- path: [hunter2\n", ":"),
            ("#cloud-config\nwrite_files:\n- content: hunter2\n", ":3:"),
            ("#cloud-config\nwrite_files: hunter2\n", ":2:"),
        ] {
            let error = read(text.as_bytes()).unwrap_err();
            assert!(error.starts_with(place) && !error.contains("hunter2"), "{error}");
        }
        assert!(read(b"#cloud-config\n").unwrap().files.is_empty());
        assert!(read(b"#cloud-config\nhostname: a\n").unwrap().files.is_empty());
    }

    /// Aliases of aliases would take all memory.
    #[test]
    fn a_bomb_of_aliases_is_refused() {
        let mut text = "#cloud-config\na0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..12 {
            let before = level - 1;
            let items = vec![format!("*a{before}"); 10].join(",");
            text.push_str(&format!("a{level}: &a{level} [{items}]\n"));
        }
        text.push_str("write_files: *a11\n");
        assert!(read(text.as_bytes()).is_err());
    }
}
