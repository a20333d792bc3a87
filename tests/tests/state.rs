//! What outlives a run: the state file, the cards, the session that the ISP still holds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use genkan_tests::client::fetch;
use genkan_tests::gateway::{Genkan, program};
use genkan_tests::lab::{Lab, WEB, web};
use genkan_tests::netns::{Namespace, text, veth};
use genkan_tests::recording::{Recorded, Recording, code};
use genkan_tests::street::Street;
use genkan_tests::topology::{Dial, House, Isp, Port, Terms};
use genkan_tests::wait_for;
use serde_json::Value;

fn street(name: &str) -> Street {
    Street::new(name, Dial::default(), Terms::default(), "")
}

fn session(gateway: &Genkan) -> u16 {
    let status = gateway.status().expect("it answers");
    let session = status["wans"][0]["session_id"].as_u64().expect("it has a session");
    u16::try_from(session).expect("16 bits")
}

fn leases(gateway: &Genkan) -> Vec<(String, String)> {
    let status = gateway.status().expect("it answers");
    let word = |lease: &Value, key: &str| lease[key].as_str().unwrap_or_default().to_owned();
    let leases = status["lans"][0]["leases"].as_array().cloned().unwrap_or_default();
    leases.iter().map(|lease| (word(lease, "address"), word(lease, "mac"))).collect()
}

fn state_file(street: &Street) -> PathBuf {
    street.lab.folder().join("router.state/state.json")
}

/// The ISP hears nothing but data and Echo-Requests: the session, the address and the flows of the hosts are what they were.
#[test]
fn after_kill_9_the_session_goes_on_and_the_isp_notices_nothing() {
    let mut street = street("state-adopt");
    let before = street.wait_up();
    street.lab.lease(&street.house.desk, "eth0");
    let id = session(&street.gateway);
    wait_for("the state file to hold the session", Duration::from_secs(5), || {
        let state = fs::read_to_string(state_file(&street)).unwrap_or_default();
        if state.contains("\"adoption\"") && state.contains(&before.address) { Ok(()) } else { Err(state) }
    });
    for round in 1..=3 {
        let recording =
            Recording::start(&street.lab, &street.isp, &format!("isp{round}"), &["--at", "access0"]);
        street.gateway.kill();
        street = street.restart();
        let after = street.gateway.wan("isp").expect("a status");
        assert_eq!((after.state.as_str(), &after.address, after.mtu), ("up", &before.address, before.mtu));
        assert_eq!(session(&street.gateway), id);
        street.house.desk.inside(|| fetch(web(80), "/address")).expect("HTTP works at once");
        let said = street.gateway.log();
        assert!(said.contains("the session of the last run goes on (id "), "{said}");
        recording.wait("an Echo-Request", Duration::from_secs(5), |frame| {
            !frame.sent && frame.ppp().is_some_and(|packet| packet.starts_with(&[0xc0, 0x21, 9]))
        });
        // Longer than a session that was gone would live.
        std::thread::sleep(Duration::from_secs(6));
        for frame in recording.frames() {
            assert_eq!(frame.discovery(), None);
            let negotiates = |packet: &[u8]| packet[0] & 0x80 != 0 && packet[2] < 8;
            assert!(!frame.ppp().is_some_and(negotiates), "{:02x?}", frame.ppp());
        }
        assert_eq!(street.gateway.wan("isp").expect("a status").state, "up");
    }
    // What was adopted ends like any other session.
    let recording = Recording::start(&street.lab, &street.isp, "end", &["--at", "access0"]);
    street.gateway.end();
    recording.wait("the PADT", Duration::from_secs(5), |frame| {
        frame.discovery() == Some(code::PADT) && frame.session() == Some(id)
    });
}

/// Lesson 8: an ISP that still holds the session of a gateway that died may refuse another one until it gets a PADT. After
/// another boot of the machine nothing goes on.
/// RFC 2131 KILL, RFC 2516 PADT.
#[test]
fn after_a_power_failure_the_remembered_session_is_ended_first_and_leases_are_still_there() {
    let mut street = street("state-kill");
    street.wait_up();
    let lease = street.lab.lease(&street.house.desk, "eth0");
    let (old, known) = (session(&street.gateway), leases(&street.gateway));
    assert!(known.iter().any(|(address, _)| *address == lease.address.to_string()), "{known:?}");
    // What is written is written by a thread of its own.
    let file = state_file(&street);
    wait_for("the state file to hold session and lease", Duration::from_secs(5), || {
        let state = fs::read_to_string(&file).unwrap_or_default();
        let whole = state.contains(&old.to_string()) && state.contains(&lease.address.to_string());
        if whole { Ok(()) } else { Err(state) }
    });
    street.gateway.kill();
    street.boot_anew();

    let recording = Recording::start(&street.lab, &street.isp, "isp", &["--at", "access0"]);
    let street = street.restart();
    assert_eq!(leases(&street.gateway), known, "before any client asks");
    street.wait_up();
    recording.wait("the new session", Duration::from_secs(5), |f| f.discovery() == Some(code::PADS));
    let frames = recording.frames();
    let came: Vec<&Recorded> =
        frames.iter().filter(|frame| !frame.sent && frame.discovery().is_some()).collect();
    let codes: Vec<_> = came.iter().filter_map(|frame| frame.discovery()).collect();
    let padt = codes.iter().position(|found| *found == code::PADT).expect("a PADT");
    let padi = codes.iter().position(|found| *found == code::PADI).expect("a PADI");
    assert!(padt < padi, "{codes:02x?}");
    assert_eq!(came[padt].session(), Some(old));
    // The ISP answered the first PADI, and its first session is the one that is up.
    assert_eq!(codes.iter().filter(|found| **found == code::PADI).count(), 1, "{codes:02x?}");
    let opened: Vec<_> = frames
        .iter()
        .filter(|f| f.sent && f.discovery() == Some(code::PADS))
        .filter_map(Recorded::session)
        .collect();
    assert_eq!(opened, [session(&street.gateway)]);
    assert_eq!(street.lab.lease(&street.house.desk, "eth0").address, lease.address);
    street.house.desk.inside(|| fetch(web(80), "/address")).expect("HTTP works");
}

#[test]
fn a_state_file_that_is_no_state_is_set_aside() {
    let mut street = street("state-corrupt");
    street.wait_up();
    street.gateway.kill();
    let folder = street.lab.folder().join("router.state");
    for rubbish in ["{ half", "", "\u{0}\u{0}\u{0}\u{0}", "[]"] {
        fs::write(folder.join("state.json"), rubbish).expect("the lab's folder can be written");
        street = street.restart();
        street.wait_up();
        let kept = fs::read_to_string(folder.join("state.json.unreadable")).expect("it is set aside");
        assert_eq!(kept, rubbish);
        let log = street.gateway.log();
        assert!(log.lines().any(|line| line.contains("WARN") && line.contains("state.json")), "{log}");
        street.gateway.kill();
    }
}

/// All that the host's kernel knows of its cards.
fn cards(namespace: &Namespace) -> String {
    let mut all = String::new();
    for question in [
        "ip -o link show",
        "ip -o address show",
        "ip route show table all",
        "tc qdisc show",
        "tc filter show dev lan0",
    ] {
        all.push_str(&namespace.run(question));
    }
    for card in ["wan0", "lan0", "lan1"] {
        all.push_str(&text(&namespace.try_run(&format!("tc filter show dev {card} ingress"))));
        all.push_str(&text(&namespace.try_run(&format!("tc filter show dev {card} egress"))));
        all.push_str(&namespace.run(&format!("cat /proc/sys/net/ipv6/conf/{card}/disable_ipv6")));
    }
    all
}

/// A router whose cards were in use, and its ISP.
struct Used {
    before: String,
    gateway: Genkan,
    isp: Genkan,
    house: House,
    _provider: Isp,
    lab: Lab,
}

impl Used {
    fn new(name: &str) -> Used {
        let lab = Lab::new(name);
        let provider = Isp::default();
        let house = House::new(Port::Nic, Port::Nic);
        veth((&house.router, "wan0"), (&provider.namespace, "access0"));
        let router = &house.router;
        router.ip(&["address", "add", "10.9.0.2/24", "dev", "wan0"]);
        router.ip(&["route", "add", "default", "via", "10.9.0.1"]);
        router.ip(&["address", "add", "10.9.1.1/24", "dev", "lan0"]);
        router.ip(&["address", "add", "10.9.1.2/32", "dev", "lan0"]);
        router.ip(&["route", "add", "10.77.0.0/16", "via", "10.9.1.9"]);
        router.ip(&["link", "set", "lan0", "mtu", "1400"]);
        router.ip(&["link", "set", "lan1", "down"]);
        let before = cards(router);
        let isp = provider.start(&lab, Terms { mtu: 1500, ..Terms::default() });
        // RFC 4638: the card's MTU is raised, too.
        let gateway = house.start(&lab, Dial { mtu: Some(1500), ..Dial::default() }, "");
        gateway.wait_up("isp", Duration::from_secs(20));
        assert_ne!(cards(router), before, "the cards were taken");
        Used { before, gateway, isp, house, _provider: provider, lab }
    }
}

#[test]
fn sigterm_ends_the_session_and_gives_the_cards_back() {
    let used = Used::new("state-term");
    let recording = Recording::start(&used.lab, &used.isp, "isp", &["--at", "access0"]);
    let id = session(&used.gateway);
    used.gateway.end();
    recording.wait("the PADT", Duration::from_secs(5), |frame| {
        !frame.sent && frame.discovery() == Some(code::PADT) && frame.session() == Some(id)
    });
    assert_eq!(cards(&used.house.router), used.before);
    assert!(!used.lab.folder().join("router.sock").exists(), "the control socket is gone");
}

#[test]
fn sigterm_does_not_wait_for_a_silent_isp() {
    let mut used = Used::new("state-silent");
    let recording = Recording::start(&used.lab, &used.gateway, "gateway", &["--at", "wan0"]);
    let id = session(&used.gateway);
    used.isp.kill();
    // It says so within 5 s, or this fails.
    used.gateway.end();
    recording.wait("the PADT in the gateway's own capture", Duration::from_secs(5), |frame| {
        frame.sent && frame.discovery() == Some(code::PADT) && frame.session() == Some(id)
    });
    assert_eq!(cards(&used.house.router), used.before);
}

#[test]
fn after_kill_9_the_next_run_gives_the_cards_back_as_they_were_at_first() {
    let mut used = Used::new("state-journal");
    used.gateway.kill();
    let gateway = used.gateway.again(&used.lab, &used.house.router);
    gateway.wait_up("isp", Duration::from_secs(20));
    gateway.end();
    assert_eq!(cards(&used.house.router), used.before);
}

fn refused(namespace: &Namespace, config: &Path) -> String {
    let mut command = namespace.command(&program().display().to_string());
    let output = command.arg("run").arg(config).stdin(Stdio::null()).output().expect("it can be started");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    text(&output)
}

#[test]
fn a_second_gateway_is_refused_and_touches_nothing() {
    let street = street("state-second");
    street.wait_up();
    street.lab.lease(&street.house.desk, "eth0");
    let router = &street.house.router;
    let (before, id) = (cards(router), session(&street.gateway));
    let state = fs::read_dir(street.lab.folder().join("router.state")).expect("a folder").count();

    let said = refused(router, street.gateway.config());
    assert!(said.contains("a gateway is already running on"), "{said}");
    // The same, somewhere else on the machine.
    let elsewhere = Namespace::new("elsewhere");
    let said = refused(&elsewhere, street.gateway.config());
    assert!(said.contains("a gateway is already running on"), "{said}");

    // Another configuration that wants the same cards.
    let config = fs::read_to_string(street.gateway.config()).expect("the configuration can be read");
    let other = street.lab.folder().join("other.toml");
    let config = config.replace("router.sock", "other.sock").replace("router.state", "other.state");
    fs::write(&other, config).expect("the lab's folder can be written");
    let said = refused(router, &other);
    assert!(said.contains("wan0") && said.contains("another genkan"), "{said}");
    assert!(!street.lab.folder().join("other.sock").exists(), "its control socket is gone");

    assert_eq!(cards(router), before);
    assert_eq!(session(&street.gateway), id);
    assert_eq!(fs::read_dir(street.lab.folder().join("router.state")).expect("a folder").count(), state);
    street.house.desk.run(&format!("ping -c 3 -i 0.2 -W 2 {WEB}"));
    street.gateway.end();
}
