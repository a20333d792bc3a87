//! `genkan capture`, running, and what it has written.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use genkan::capture::Direction;
use genkan::capture::reader::Reader;

use crate::gateway::{Genkan, program};
use crate::lab::Lab;
use crate::netns::stop;
use crate::wait_for;

/// A frame of a capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// The name of its point; of a port, the port's own.
    pub port: String,
    /// It left the router.
    pub sent: bool,
    /// Its octets.
    pub bytes: Vec<u8>,
}

impl Recorded {
    /// The code of a discovery frame (RFC 2516 §5).
    pub fn discovery(&self) -> Option<u8> {
        if self.bytes.get(12..14) == Some(&[0x88, 0x63]) { self.bytes.get(15).copied() } else { None }
    }

    /// The PPPoE session that it is about.
    pub fn session(&self) -> Option<u16> {
        Some(u16::from_be_bytes([*self.bytes.get(16)?, *self.bytes.get(17)?]))
    }

    /// The PPP packet in it, from its protocol field on and without padding.
    pub fn ppp(&self) -> Option<&[u8]> {
        if self.bytes.get(12..14) != Some(&[0x88, 0x64]) {
            return None;
        }
        let length = usize::from(u16::from_be_bytes([*self.bytes.get(18)?, *self.bytes.get(19)?]));
        self.bytes.get(20..20 + length)
    }
}

/// PADI, PADO, PADR, PADS and PADT (RFC 2516 §5).
pub mod code {
    /// Initiation.
    pub const PADI: u8 = 0x09;
    /// Session-confirmation.
    pub const PADS: u8 = 0x65;
    /// Termination.
    pub const PADT: u8 = 0xa7;
}

/// The frames of a capture with directions, as far as it has been written.
pub fn read(path: &Path) -> Vec<Recorded> {
    let Ok(mut reader) = Reader::open(path) else { return Vec::new() };
    std::iter::from_fn(|| reader.next_record())
        .map(|record| Recorded {
            port: record.source.name.trim_start_matches("port.").to_owned(),
            sent: record.direction == Some(Direction::Sent),
            bytes: record.bytes,
        })
        .collect()
}

/// A running `genkan capture`, ended when dropped.
#[derive(Debug)]
pub struct Recording {
    child: Child,
    path: PathBuf,
    errors: PathBuf,
}

impl Recording {
    /// Captures at `genkan`, with more arguments, to a file of the lab's. Returns when it runs.
    #[track_caller]
    pub fn start(lab: &Lab, genkan: &Genkan, name: &str, arguments: &[&str]) -> Recording {
        let path = lab.logs().join(format!("{name}.pcapng"));
        let errors = lab.logs().join(format!("{name}.capture.log"));
        let _ = fs::remove_file(&path);
        let child = Command::new(program())
            .arg("capture")
            .arg(genkan.config())
            .args(arguments)
            .arg("--write")
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&errors).expect("the build folder can be written"))
            .spawn()
            .expect("the program can be started");
        let mut recording = Recording { child, path, errors };
        wait_for("the capture's first octets", Duration::from_secs(10), || {
            if let Ok(Some(status)) = recording.child.try_wait() {
                let said = fs::read_to_string(&recording.errors).unwrap_or_default();
                panic!("the capture ended with {status}: {said}");
            }
            let size = fs::metadata(&recording.path).map_or(0, |file| file.len());
            if size > 0 { Ok(()) } else { Err("nothing yet".into()) }
        });
        recording
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it has so far.
    pub fn frames(&self) -> Vec<Recorded> {
        read(&self.path)
    }

    /// Waits until it has a frame for which `wanted` holds, and returns that.
    #[track_caller]
    pub fn wait(&self, what: &str, limit: Duration, wanted: impl Fn(&Recorded) -> bool) -> Recorded {
        wait_for(&format!("{what} in the capture"), limit, || {
            let frames = self.frames();
            let count = frames.len();
            frames.into_iter().find(&wanted).ok_or_else(|| format!("{count} frames, but not this one"))
        })
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        stop(&mut self.child, Duration::from_secs(5));
    }
}
