//! Processes with mounts of their own, and a network when they want one: what they do to the machine ends with them.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Output, Stdio};

use crate::netns::text;

/// Namespaces of mounts, of processes, and perhaps of the network. All that runs inside is killed when this is dropped.
#[derive(Debug)]
pub struct Enclosure {
    holder: Child,
    inside: u32,
    namespaces: &'static [&'static str],
}

impl Enclosure {
    /// Makes one, with the machine's network, and has `script` prepare it. The script may leave processes.
    ///
    /// # Panics
    ///
    /// When the script fails, and without root.
    #[track_caller]
    pub fn new(script: &str) -> Enclosure {
        Enclosure::with(&["--mount", "--pid"], script)
    }

    /// Makes one with a network of its own.
    ///
    /// # Panics
    ///
    /// As [`Enclosure::new`].
    #[track_caller]
    pub fn with_network(script: &str) -> Enclosure {
        Enclosure::with(&["--mount", "--pid", "--net"], script)
    }

    #[track_caller]
    fn with(namespaces: &'static [&'static str], script: &str) -> Enclosure {
        assert!(
            rustix::process::geteuid().is_root(),
            "this test needs root: run `make test` with sudo at hand"
        );
        let mut command = Command::new("unshare");
        command.args(namespaces).args(["--fork", "--kill-child", "--mount-proc", "sh", "-euc"]);
        // Its first process waits for children, its own and those that are left to it.
        let wait = "exec 3<&0\nread -r end <&3 &\nwait";
        command.arg(format!("{script}\necho the enclosure is ready\n{wait} $!"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = command.spawn().expect("unshare is installed");
        let mut said = Vec::new();
        for line in BufReader::new(holder.stdout.take().expect("it is a pipe")).lines() {
            said.push(line.unwrap_or_default());
            if said.last().is_some_and(|line| line == "the enclosure is ready") {
                let id = holder.id();
                let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
                let inside = children.ok().and_then(|list| list.split_whitespace().next()?.parse().ok());
                return Enclosure { holder, inside: inside.expect("unshare has forked"), namespaces };
            }
        }
        let _ = holder.wait();
        panic!("the enclosure was not to be made: {}", said.join("\n"));
    }

    /// A process inside, as this machine numbers it.
    pub fn process(&self) -> u32 {
        self.inside
    }

    /// Runs a script of the shell inside.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    #[track_caller]
    pub fn try_run(&self, script: &str) -> Output {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.inside.to_string()]).args(self.namespaces);
        command.args(["sh", "-euc", script]).stdin(Stdio::null());
        command.output().expect("nsenter is installed")
    }

    /// Runs a script of the shell inside, and returns what it wrote.
    ///
    /// # Panics
    ///
    /// When it fails.
    #[track_caller]
    pub fn run(&self, script: &str) -> String {
        let output = self.try_run(script);
        assert!(output.status.success(), "{script}\nfailed: {}", text(&output));
        text(&output)
    }
}

impl Drop for Enclosure {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
