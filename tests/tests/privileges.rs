//! What a running gateway may still do, as the kernel says of each of its threads and as `genkan status` does.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::Duration;

use genkan_tests::netns::text;
use genkan_tests::street::Street;
use genkan_tests::topology::{Dial, Terms};

/// `linux/capability.h`.
const DAC_READ_SEARCH: u32 = 2;
const NET_ADMIN: u32 = 12;
const NET_RAW: u32 = 13;
const PERFMON: u32 = 38;
const BPF: u32 = 39;

/// Every thread of a gateway and its capabilities. Another one is a mistake.
const THREADS: [(&str, &[u32]); 5] = [
    ("control", &[DAC_READ_SEARCH]),
    ("data", &[NET_ADMIN, NET_RAW, PERFMON, BPF]),
    ("watch", &[]),
    ("state", &[]),
    ("ring", &[]),
];

/// `/proc/PID/task/*/status` by the threads' names. The first one is called as the program's file is.
fn threads(process: u32) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut threads = BTreeMap::new();
    for task in fs::read_dir(format!("/proc/{process}/task")).expect("it runs") {
        let status = fs::read_to_string(task.expect("it runs").path().join("status")).expect("it runs");
        let lines = status.lines().filter_map(|line| line.split_once(':'));
        let lines: BTreeMap<String, String> =
            lines.map(|(key, value)| (key.to_owned(), value.trim().to_owned())).collect();
        let first = lines["Pid"] == process.to_string();
        let name = if first { "control".to_owned() } else { lines["Name"].clone() };
        let twice = threads.insert(name, lines);
        assert_eq!(twice, None, "two threads of one name");
    }
    threads
}

#[test]
fn every_thread_keeps_what_it_needs_and_the_status_says_so() {
    let street = Street::new("privileges", Dial::default(), Terms::default(), "");
    street.wait_up();

    let mut threads = threads(street.gateway.process());
    let status = street.gateway.status().expect("it answers");
    let told = status["privileges"].as_array().expect("the status tells of the threads");
    assert_eq!(told.len(), THREADS.len(), "{told:?}");
    for (name, capabilities) in THREADS {
        let thread = threads.remove(name).unwrap_or_else(|| panic!("there is no thread {name}"));
        assert_eq!(thread["Seccomp"], "2", "{name}");
        assert_eq!(thread["NoNewPrivs"], "1", "{name}");
        let mask: u64 = capabilities.iter().map(|number| 1 << number).sum();
        for (set, expected) in
            [("CapEff", mask), ("CapPrm", mask), ("CapInh", 0), ("CapBnd", 0), ("CapAmb", 0)]
        {
            assert_eq!(u64::from_str_radix(&thread[set], 16), Ok(expected), "{name}: {set}");
        }
        let told = told.iter().find(|told| told["thread"] == name);
        let told = told.unwrap_or_else(|| panic!("the status does not tell of {name}"));
        assert_eq!(told["no_new_privileges"], true, "{told}");
        assert_eq!(told["capabilities"].as_array().map(Vec::len), Some(capabilities.len()), "{told}");
        assert!(told["landlock"].as_u64().is_some_and(|abi| abi > 0), "{told}");
        assert!(told["system_calls"].as_u64().is_some_and(|calls| calls < 120), "{told}");
        assert_eq!(
            (told["refused"].as_u64(), told["missing"].as_array().map(Vec::len)),
            (Some(0), Some(0)),
            "{told}"
        );
    }
    assert!(threads.is_empty(), "threads that give nothing up: {:?}", threads.keys());

    let shown = text(&street.gateway.command("status", &[]));
    assert!(shown.contains("thread    may still use"), "{shown}");
    assert!(shown.contains("files by Landlock") && shown.contains("CAP_NET_ADMIN CAP_NET_RAW"), "{shown}");
    assert!(!shown.contains("was refused"), "{shown}");

    // The configuration is still read, secrets and all.
    hang_up(&street);
    street
        .gateway
        .wait_log("that nothing changes", Duration::from_secs(5), |line| line.contains("it changes nothing"));
    // A filter's names are still known.
    let named = "port domain or host localhost";
    let seen = street.gateway.command("capture", &["--filter", named, "--seconds", "1"]);
    assert!(seen.status.success(), "{}", text(&seen));

    // A secret elsewhere is out of reach, and the log says what to do.
    let elsewhere = std::env::temp_dir().join(format!("genkan-{}-elsewhere.secret", std::process::id()));
    let config = fs::read_to_string(street.gateway.config()).expect("its configuration can be read");
    let line = config.lines().find(|line| line.contains("password-file")).expect("there is a password");
    let other = format!("pppoe.password-file = {:?}", elsewhere.display().to_string());
    fs::write(&elsewhere, "secret\n").expect("the temporary folder can be written");
    fs::set_permissions(&elsewhere, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("it is ours");
    fs::write(street.gateway.config(), config.replace(line, &other))
        .expect("the lab's folder can be written");
    hang_up(&street);
    street.gateway.wait_log("where it may read", Duration::from_secs(5), |line| {
        line.contains("a running gateway reads no folders but those")
    });
    fs::remove_file(elsewhere).expect("it is there");
    fs::write(street.gateway.config(), config).expect("the lab's folder can be written");
}

fn hang_up(street: &Street) {
    let sent = Command::new("kill").args(["-HUP", &street.gateway.process().to_string()]).status();
    assert!(sent.expect("kill can be run").success());
}
