//! A machine for tests: configuration files are real, the secrets that they name are made up here, by their names.

use std::io;
use std::path::Path;

use genkan_config::{Host, HostFile};

/// A password that must never be shown.
pub const CANARY: &str = "hunter2-canary";

/// A private key that must never be shown.
pub const KEY: &str = "WG8TkW3h5Wq4S8a3r6rY0Qx1c2d3e4f5g6h7i8j9k1A=";

pub struct TestHost;

impl Host for TestHost {
    fn read(&self, path: &Path) -> io::Result<HostFile> {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
        let (content, mode) = match name {
            "isp.secret" | "other.secret" | "office.secret" => (format!("{CANARY}\n").into_bytes(), 0o600),
            "read-only.secret" => (CANARY.into(), 0o400),
            "dos.secret" => (format!("{CANARY}\r\n").into_bytes(), 0o600),
            "open.secret" => (CANARY.into(), 0o644),
            "empty.secret" => (b"\n".to_vec(), 0o600),
            "two-lines.secret" => (format!("{CANARY}\nsecond\n").into_bytes(), 0o600),
            "long.secret" => (vec![b'x'; 256], 0o600),
            "zero.key" => ("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n".into(), 0o600),
            "office.psk" => (format!("{KEY}\n").into_bytes(), 0o600),
            name if name.ends_with(".key") => (format!("{KEY}\n").into_bytes(), 0o600),
            "users.toml" => (std::fs::read("examples/users.example.toml")?, 0o600),
            "forbidden.secret" => return Err(io::ErrorKind::PermissionDenied.into()),
            name if name.ends_with(".secret") => return Err(io::ErrorKind::NotFound.into()),
            _ => (std::fs::read(path)?, 0o600),
        };
        Ok(HostFile { content, mode })
    }

    fn devices(&self) -> Option<Vec<String>> {
        Some(["lo", "eth0", "eth1", "eth2"].map(str::to_owned).to_vec())
    }
}
