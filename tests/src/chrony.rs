//! Debian's chrony, the one that the image has: on hosts that tell the time, and on hosts that ask for it. None of them sets this
//! machine's clock.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::debian;
use crate::lab::Lab;
use crate::netns::{Namespace, stop, text};

/// chronyd, unpacked for a test.
#[derive(Debug)]
pub struct Chrony {
    program: PathBuf,
}

/// A server of time (RFC 5905), until dropped.
#[derive(Debug)]
pub struct TimeServer(Child);

impl Chrony {
    /// Unpacks the package that the image was made of.
    ///
    /// # Panics
    ///
    /// When `make image` has not left it.
    #[track_caller]
    pub fn unpack(lab: &Lab) -> Chrony {
        let package = debian::downloaded("chrony");
        let program = lab.folder().join("chronyd");
        let file = File::create(&program).expect("the lab's folder can be written");
        let unpacked = Command::new("sh")
            .args(["-c", "dpkg-deb --fsys-tarfile \"$0\" | tar -xO ./usr/sbin/chronyd"])
            .arg(&package)
            .stdout(file)
            .status();
        assert!(unpacked.is_ok_and(|status| status.success()), "{} cannot be unpacked", package.display());
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it is the lab's own file");
        Chrony { program }
    }

    /// Tells everybody the time of this machine's clock, as a host of this namespace.
    #[track_caller]
    pub fn serve(&self, lab: &Lab, namespace: &Namespace) -> TimeServer {
        let mut command = self.command(namespace, "server");
        command.args(["-x", "-d", "local stratum 1", "allow", "cmdport 0", "bindcmdaddress /"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(lab.log_file("chronyd"));
        TimeServer(command.spawn().unwrap_or_else(|error| panic!("cannot start chronyd: {error}")))
    }

    /// By how much this machine's clock differs from what a server says to a host of this namespace.
    pub fn ask(&self, namespace: &Namespace, server: &str) -> Result<Duration, String> {
        let mut command = self.command(namespace, "client");
        let said = command.args(["-Q", "-t", "5", &format!("server {server} iburst maxsamples 1")]).output();
        let said = text(&said.map_err(|error| format!("cannot start chronyd: {error}"))?);
        let told = said.split_once("System clock wrong by ").and_then(|(_, rest)| rest.split(' ').next());
        let seconds: f64 = told.and_then(|seconds| seconds.parse().ok()).ok_or(said)?;
        Ok(Duration::from_secs_f64(seconds.abs()))
    }

    /// It as root, with a file of its own for its process: it removes that file, whatever it is.
    fn command(&self, namespace: &Namespace, role: &str) -> Command {
        let mut command = namespace.command(&self.program.to_string_lossy());
        command.args(["-u", "root", &format!("pidfile {}", self.program.with_extension(role).display())]);
        command
    }
}

impl Drop for TimeServer {
    fn drop(&mut self) {
        stop(&mut self.0, Duration::from_secs(2));
    }
}
