//! What is on a cable, octet by octet, as a host's packet socket shows it.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::capture_file;
use crate::lab::Lab;
use crate::netns::{Namespace, stop};
use crate::wait_for;

/// A running tcpdump.
#[derive(Debug)]
pub struct Wire {
    child: Child,
    path: PathBuf,
}

impl Wire {
    /// Listens on a device for frames that the filter lets pass. Returns when it runs.
    #[track_caller]
    pub fn listen(lab: &Lab, namespace: &Namespace, device: &str, filter: &str) -> Wire {
        let path = lab.logs().join(format!("{device}.pcap"));
        let errors = lab.logs().join(format!("{device}.tcpdump.log"));
        let child = namespace
            .command("tcpdump")
            .args(["-Z", "root", "-i", device, "-B", "16384", "-s", "2048", "--immediate-mode", "-w"])
            .arg(&path)
            .arg(filter)
            .stdout(Stdio::null())
            .stderr(File::create(&errors).expect("the build folder can be written"))
            .spawn()
            .expect("tcpdump can be started; `make setup` installs it");
        let wire = Wire { child, path };
        wait_for("tcpdump to listen", Duration::from_secs(10), || {
            let said = fs::read_to_string(&errors).unwrap_or_default();
            if said.contains("listening on") { Ok(()) } else { Err(said) }
        });
        wire
    }

    /// Ends it; the frames that it has seen.
    #[track_caller]
    pub fn end(self) -> Vec<Vec<u8>> {
        capture_file::frames(&self.finish())
    }

    /// Ends it; the file with what it has seen.
    #[track_caller]
    pub fn finish(mut self) -> PathBuf {
        assert!(stop(&mut self.child, Duration::from_secs(5)), "tcpdump does not end");
        self.path.clone()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        stop(&mut self.child, Duration::from_secs(1));
    }
}
