//! Network namespaces that end with the test, and the wires between them.

use std::fmt::Display;
use std::fs::File;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// What every namespace of a test is called first.
pub const PREFIX: &str = "genkan-test-";

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A network namespace. It is removed, with the processes in it, when dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes a namespace with its loopback up. Its name is [`PREFIX`], this process, a number and `role`.
    pub fn new(role: &str) -> Namespace {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Namespace::named(format!("{PREFIX}{}-{number}-{role}", std::process::id()))
    }

    /// Makes a namespace of exactly this name.
    pub fn named(name: String) -> Namespace {
        ip(&["netns", "add", &name]);
        let namespace = Namespace { name };
        namespace.ip(&["link", "set", "lo", "up"]);
        // No IPv6 chatter in captures, and nothing that answers for another interface's address.
        namespace.sysctl("net.ipv6.conf.all.disable_ipv6", "1");
        namespace.sysctl("net.ipv6.conf.default.disable_ipv6", "1");
        namespace
    }

    /// Its name, as `ip netns` knows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip` on this namespace.
    ///
    /// # Panics
    ///
    /// When `ip` fails.
    #[track_caller]
    pub fn ip(&self, arguments: &[&str]) {
        let mut all = vec!["-n", &self.name];
        all.extend(arguments);
        ip(&all);
    }

    /// Sets a kernel variable of this namespace.
    #[track_caller]
    pub fn sysctl(&self, name: &str, value: &str) {
        self.set(format!("/proc/sys/{}", name.replace('.', "/")), value);
    }

    #[track_caller]
    fn set(&self, path: String, value: &str) {
        let value = value.to_string();
        self.inside(move || {
            std::fs::write(&path, &value)
                .unwrap_or_else(|error| panic!("cannot set {path} to {value}: {error}"));
        });
    }

    /// Lets `device`, which is up, speak IPv6: it gets a link-local address, and uses what it gets at once. Router
    /// Advertisements are the caller's matter.
    #[track_caller]
    pub fn speak_ipv6(&self, device: &str) {
        for (key, value) in [("accept_ra", "0"), ("accept_dad", "0"), ("disable_ipv6", "0")] {
            self.sysctl_of(device, key, value);
        }
        self.sysctl("net.ipv6.conf.lo.disable_ipv6", "0");
    }

    /// Sets an IPv6 variable of one device.
    #[track_caller]
    pub fn sysctl_of(&self, device: &str, name: &str, value: &str) {
        // A VLAN's device may have a dot in its name.
        self.set(format!("/proc/sys/net/ipv6/conf/{device}/{name}"), value);
    }

    /// What the kernel says of a device in /sys/class/net: its "ifindex", its "address".
    #[track_caller]
    pub fn fact(&self, device: &str, name: &str) -> String {
        self.run(&format!("cat /sys/class/net/{device}/{name}")).trim().to_string()
    }

    /// A command that will run in this namespace.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]).stdin(Stdio::null());
        command
    }

    /// Runs a command line, without a shell, and returns what it wrote.
    ///
    /// # Panics
    ///
    /// When the command cannot be started or fails; what it wrote is in the message.
    #[track_caller]
    pub fn run(&self, line: &str) -> String {
        let output = self.try_run(line);
        assert!(output.status.success(), "`{line}` in {} {}: {}", self.name, output.status, text(&output));
        text(&output)
    }

    /// Runs a command line, without a shell, whatever comes of it.
    #[track_caller]
    pub fn try_run(&self, line: &str) -> Output {
        let mut words = line.split_whitespace();
        let program = words.next().expect("a command line has a first word");
        self.command(program)
            .args(words)
            .output()
            .unwrap_or_else(|error| panic!("cannot run `{line}`: {error}; is iproute2 installed?"))
    }

    /// Whether `to`, an address or a name, answers a ping within two seconds; what `ping` said when it does not.
    pub fn pings(&self, to: impl Display) -> Result<(), String> {
        let output = self.try_run(&format!("ping -c 1 -W 2 {to}"));
        if output.status.success() { Ok(()) } else { Err(text(&output)) }
    }

    /// Runs `work` on a thread that is in this namespace. Sockets opened there stay there.
    #[track_caller]
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            match scope
                .spawn(|| {
                    self.enter();
                    work()
                })
                .join()
            {
                Ok(value) => value,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Starts a thread that is in this namespace.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> thread::JoinHandle<T> {
        let namespace = self.file();
        thread::spawn(move || {
            enter(&namespace);
            work()
        })
    }

    fn enter(&self) {
        enter(&self.file());
    }

    fn file(&self) -> File {
        let path = format!("/run/netns/{}", self.name);
        File::open(&path).unwrap_or_else(|error| panic!("cannot open {path}: {error}"))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

fn enter(namespace: &File) {
    use std::os::fd::AsFd;
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
        .unwrap_or_else(|error| panic!("cannot enter a network namespace: {error}"));
}

/// Lays a cable: a pair of virtual Ethernet devices, both up.
#[track_caller]
pub fn veth(a: (&Namespace, &str), b: (&Namespace, &str)) {
    a.0.ip(&["link", "add", a.1, "type", "veth", "peer", "name", b.1, "netns", b.0.name()]);
    for (namespace, device) in [a, b] {
        namespace.ip(&["link", "set", device, "up"]);
    }
}

/// Ends what runs of tests that are no longer alive have left behind: processes and namespaces.
pub fn sweep() {
    let Ok(output) = Command::new("ip").args(["netns", "list"]).output() else { return };
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        let owner = rest.split('-').next().unwrap_or_default();
        if owner.parse::<u32>().is_ok_and(|process| !alive(process)) {
            remove(name);
        }
    }
    // What the programs of such tests have left in the kernel: folders named after theirs.
    for folder in std::fs::read_dir("/sys/fs/bpf/genkan").into_iter().flatten().flatten() {
        let name = folder.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix("run-genkan%2dtest%2d").and_then(|rest| rest.split('%').next());
        if owner.and_then(|owner| owner.parse::<u32>().ok()).is_some_and(|process| !alive(process)) {
            let _ = std::fs::remove_dir_all(folder.path());
        }
    }
}

/// Whether a process of this number exists.
pub fn alive(process: u32) -> bool {
    std::path::Path::new(&format!("/proc/{process}")).exists()
}

/// Ends the processes of a namespace and removes it.
pub(crate) fn remove(name: &str) {
    if let Ok(output) = Command::new("ip").args(["netns", "pids", name]).output() {
        let own = std::process::id().to_string();
        for process in String::from_utf8_lossy(&output.stdout).lines().filter(|process| **process != own) {
            let _ = Command::new("kill").args(["-KILL", process]).stderr(Stdio::null()).status();
        }
    }
    let _ = Command::new("ip").args(["netns", "del", name]).stderr(Stdio::null()).status();
}

/// Asks a process to end, and ends it by force when it has not after `grace`. Returns whether it ended by itself.
pub fn stop(child: &mut Child, grace: Duration) -> bool {
    let _ = Command::new("kill").args(["-TERM", &child.id().to_string()]).stderr(Stdio::null()).status();
    let end = Instant::now() + grace;
    while Instant::now() < end {
        if matches!(child.try_wait(), Ok(Some(_)) | Err(_)) {
            return true;
        }
        thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    let _ = child.wait();
    false
}

/// What a command wrote, standard output first.
pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[track_caller]
fn ip(arguments: &[&str]) {
    let output = Command::new("ip")
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("cannot run `ip`: {error}; is iproute2 installed?"));
    assert!(output.status.success(), "`ip {}` failed: {}", arguments.join(" "), text(&output).trim());
}
