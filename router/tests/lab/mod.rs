//! Namespaces, wires and state directories that end with the test.
#![allow(dead_code)] // Each test program uses a part of it.

use std::path::PathBuf;
use std::process::Command;

use genkan::fastpath::entry::Entry;
use genkan::fastpath::load;
use genkan::netns;
use genkan::port::{Device, Port, Spec};

/// A network namespace that ends with the test.
pub struct Namespace(pub String);

impl Namespace {
    pub fn new(name: &str) -> Self {
        let name = format!("genkan-{}-{name}", std::process::id());
        netns::create(&name)
            .unwrap_or_else(|error| panic!("cannot make namespace {name} (run as root): {error}"));
        let namespace = Namespace(name);
        namespace.sh("ip link set lo up; sysctl -qw net.ipv6.conf.default.accept_dad=0");
        namespace
    }

    /// Runs `work` in the namespace.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        netns::run(&self.0, work).unwrap()
    }

    /// Runs a shell command there and returns what it printed. It must succeed.
    pub fn sh(&self, command: &str) -> String {
        let (ok, text) = self.try_sh(command);
        assert!(ok, "`{command}` in {} failed:\n{text}", self.0);
        text
    }

    pub fn try_sh(&self, command: &str) -> (bool, String) {
        let output = self.run(|| Command::new("sh").args(["-ec", command]).output().unwrap());
        let text =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.success(), text)
    }

    pub fn open(&self, spec: &Spec) -> Port {
        self.run(|| Port::open(spec)).unwrap()
    }

    pub fn open_error(&self, spec: &Spec) -> String {
        self.run(|| Port::open(spec)).expect_err("the port must not open").to_string()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = netns::delete(&self.0);
    }
}

/// A directory that ends with the test.
pub struct Directory(pub PathBuf);

impl Directory {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("genkan-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Directory(path)
    }

    pub fn journals(&self) -> usize {
        std::fs::read_dir(&self.0).unwrap().count()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = load::flush(&self.0);
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A veth between two namespaces.
pub fn wire(a: &Namespace, a_device: &str, b: &Namespace, b_device: &str) {
    a.sh(&format!("ip link add {a_device} type veth peer name {b_device} netns {}", b.0));
    a.sh(&format!("ip link set {a_device} up"));
    b.sh(&format!("ip link set {b_device} up"));
}

pub fn spec(device: Device, state: &Directory) -> Spec {
    Spec {
        name: "test0".into(),
        device,
        mac: None,
        pppoe: false,
        wanted_mtu: None,
        promiscuous: true,
        state_dir: state.0.clone(),
        entry: Entry::None,
        pins: None,
    }
}

pub fn nic(device: &str, state: &Directory) -> Spec {
    let mut spec = spec(Device::Nic { device: device.into() }, state);
    spec.name = format!("port-{device}");
    spec
}

pub fn tap(device: &str, offload: bool, state: &Directory) -> Spec {
    spec(Device::Tap { device: device.into(), offload }, state)
}

/// Whether a card does at last what it should: one that was given back may want a moment on a busy machine.
pub fn in_a_moment(check: impl Fn() -> bool) -> bool {
    (0..10).any(|_| check())
}
