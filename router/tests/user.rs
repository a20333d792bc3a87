//! A user without privileges gets a network of its own: namespaces and cards. (Tap devices depend on the mode of
//! /dev/net/tun.)
//!
//! The process that enters its own namespaces must have a single thread, so this test is a program without the test
//! harness. It starts itself as an unprivileged user; run as root, or as any user where the kernel lets users make
//! namespaces.

use std::path::PathBuf;
use std::process::Command;

use genkan::fastpath::load::{Kernel, Options, Sizes};
use genkan::netns;
use genkan::port::{Device, Port, Spec};

const CHILD: &str = "GENKAN_TEST_USER";

fn main() {
    if std::env::var_os(CHILD).is_some() {
        return in_a_network_of_its_own();
    }
    // A copy that everybody may execute.
    let directory = std::env::temp_dir().join(format!("genkan-{}-user", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let binary = directory.join("user");
    std::fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--bounding-set", "-all"])
        .arg(&binary)
        .env(CHILD, "1")
        .output()
        .expect("setpriv (util-linux) is installed");
    std::fs::remove_dir_all(&directory).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    println!("test a_user_without_privileges_gets_a_network_of_its_own ... ok");
}

fn in_a_network_of_its_own() {
    netns::become_root_of_own().unwrap();
    for name in ["genkan-a", "genkan-b"] {
        netns::create(name).unwrap();
    }
    let wire = ["link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", "genkan-b"];
    let made = netns::run("genkan-a", || Command::new("ip").args(wire).status().unwrap()).unwrap();
    assert!(made.success());
    for namespace in ["genkan-a", "genkan-b"] {
        let spec = Spec {
            name: "lan0".into(),
            device: Device::Nic { device: "eth0".into() },
            mac: None,
            pppoe: false,
            wanted_mtu: None,
            promiscuous: true,
            state_dir: PathBuf::from("/run/genkan"),
            entry: genkan::fastpath::entry::Entry::None,
            pins: None,
        };
        drop(netns::run(namespace, || Port::open(&spec)).unwrap().unwrap());
    }
    // No kernel half, and a sentence that says why.
    let refuses = genkan::fastpath::plan::Machine::look().refuses.unwrap();
    assert!(refuses.contains("may not load BPF programs"), "{refuses}");
    let sizes = Sizes { flows4: 16, flows6: 16, links: 1, adjacencies: 1, sessions: 1, samples: 4096 };
    let options = Options { seed: [1, 2], sample_mask: 0 };
    let error = Kernel::load(&sizes, &options, None).map(drop).unwrap_err();
    assert!(error.contains("may not load BPF programs"), "{error}");
}
