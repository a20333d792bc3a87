//! Screens as a person reads them.

use std::collections::HashMap;

use serde_json::json;

use super::*;
use crate::provision::Credentials;

fn facts(status: Result<Value, String>) -> Facts {
    Facts {
        status,
        diagnosis: Value::Null,
        rates: HashMap::new(),
        errors: Vec::new(),
        log: Vec::new(),
        refused: None,
        not_kept: None,
        credentials: Credentials::Elsewhere,
        missing_cards: None,
        memory: Some((40 * 1024, 112 * 1024)),
    }
}

fn running() -> Value {
    json!({
        "hostname": "genkan", "version": "0.1.0", "uptime_s": 7265,
        "wans": [{
            "name": "isp", "port": "wan0", "state": "up", "up": true, "since_s": 75, "retry_in_s": null,
            "address": "192.0.2.7", "problem": null,
            "ipv6": { "addresses": ["2001:db8::1"], "prefixes": [{ "prefix": "2001:db8:0:100::/56" }] },
            "usage": { "rx_octets": 1_550_000, "tx_octets": 90 },
        }],
        "lans": [{
            "name": "home", "ports": ["lan0", "host"], "address": { "address": "192.168.1.1", "prefix": 24 },
            "ipv6": { "prefixes": [{ "prefix": "2001:db8:0:101::/64", "state": "preferred" }] },
            "leases": [
                { "address": "192.168.1.100", "mac": "52:54:00:aa:bb:01", "hostname": "nas" },
                { "address": "192.168.1.101", "mac": "52:54:00:aa:bb:02", "hostname": null },
            ],
        }],
        "nat": { "flows": 17 },
        "fast_path": { "off": null, "carried": 123, "directions": 4 },
    })
}

/// What stands on a terminal's rows, without styles.
fn rows(screen: &Screen) -> Vec<String> {
    screen.lines.iter().map(|line| fit(&line.text, screen.columns)).collect()
}

fn shown(facts: &Facts, dialogue: &Dialogue) -> String {
    let screen = screen(facts, dialogue, 24, 80);
    let rows = rows(&screen);
    assert_eq!(rows.len(), 24, "{rows:#?}");
    assert!(rows.iter().all(|row| row.chars().count() <= 80), "{rows:#?}");
    rows.iter().map(|row| format!("{}\n", row.trim_end())).collect()
}

#[test]
fn a_line_that_is_up_is_shown_with_its_rates_and_the_leases_of_the_lan() {
    let mut facts = facts(Ok(running()));
    facts.rates.insert("isp".into(), (1_543_750, 100));
    let shown = shown(&facts, &Dialogue::default());
    let expected = " genkan   version 0.1.0   up 2 h 1 min   memory 40 of 112 MB
wan isp: up for 1 min 15 s
  address 192.0.2.7, 2001:db8::1
  prefix 2001:db8:0:100::/56
  in 12.3 Mbit/s    out 800 bit/s      received 1.5 MB, sent 90 octets
lan home: 192.168.1.1/24 on lan0, host, leases: 2
  prefix 2001:db8:0:101::/64
  192.168.1.100    52:54:00:aa:bb:01  nas
  192.168.1.101    52:54:00:aa:bb:02

kernel path: 123 packets carried, 4 directions of 17 flows
";
    assert_eq!(shown.split("\n\n\n").next(), Some(expected.trim_end()), "{shown}");
    assert!(shown.trim_end().ends_with("Enter: log in"), "{shown}");
}

/// By these octets `images/libvirt/genkan-vm` tells.
#[test]
fn what_a_guest_does_is_told_by_styles() {
    let drawn = |facts: &Facts| screen(facts, &Dialogue::default(), 24, 80).text();
    let mut facts = facts(Ok(running()));
    let up = drawn(&facts);
    assert!(up.contains("\x1b[H\x1b[7m genkan   version 0.1.0   up 2 h"), "{up}");
    assert!(up.contains("\r\n\x1b[1mwan isp: up for ") && up.ends_with("\x1b[J"), "{up}");
    facts.not_kept = Some("Nothing is kept: there is no disk.\n".into());
    assert!(drawn(&facts).contains("\r\n\x1b[1;31mNothing is kept"));

    facts.status = Err("no gateway is running".into());
    facts.log = vec!["genkan: wan isp: up for 1 min".into(), "\x1b[1mwan isp: up for 1 min".into()];
    let silent = drawn(&facts);
    assert!(silent.contains("\x1b[H\x1b[7m genkan   version 0.1.0   memory "), "{silent}");
    assert!(!silent.contains("\x1b[1mwan") && silent.contains("wan isp: up for"), "{silent}");
}

#[test]
fn a_line_that_is_down_has_its_sentence() {
    let mut status = running();
    status["wans"][0] = json!({
        "name": "isp", "state": "waiting", "up": false, "since_s": 2, "retry_in_s": 300, "usage": {},
        "problem": "nobody answers",
    });
    let mut facts = facts(Ok(status));
    let without = shown(&facts, &Dialogue::default());
    assert!(
        without.contains("wan isp: waiting for 2 s, dials again in 5 min 0 s\n  nobody answers\n"),
        "{without}"
    );
    facts.diagnosis =
        json!([{ "subject": "wan isp", "healthy": false, "sentence": "the ISP refuses the password" }]);
    let shown = shown(&facts, &Dialogue::default());
    assert!(shown.contains("  the ISP refuses the password\n") && !shown.contains("nobody"), "{shown}");
}

#[test]
fn leases_have_the_room_that_is_left_and_the_rest_is_counted() {
    let mut status = running();
    let lease =
        |n: u8| json!({ "address": format!("192.168.1.{n}"), "mac": "52:54:00:aa:bb:01", "hostname": "h" });
    status["lans"][0]["leases"] = (100..200).map(lease).collect();
    let mut facts = facts(Ok(status));
    facts.refused = Some("disk: what it offers is refused\n\nerror: one\n --> gateway.toml:3:4\n".into());
    let shown = shown(&facts, &Dialogue::default());
    assert!(shown.contains("leases: 100\n") && shown.contains("  192.168.1.100  "), "{shown}");
    assert!(shown.contains("more lines; `genkan status` shows all"), "{shown}");
    assert!(
        shown.contains("disk: what it offers is refused\n  error: one\n   --> gateway.toml:3:4\n"),
        "{shown}"
    );
    assert!(shown.contains("kernel path: 123"), "{shown}");
}

#[test]
fn a_gateway_that_does_not_run_shows_why() {
    let mut facts = facts(Err("no gateway is running: nobody answers on /run/x".into()));
    facts.log = vec!["genkan: cannot take eth0".into()];
    let told = shown(&facts, &Dialogue::default());
    assert!(
        told.contains("nobody answers on /run/x\nThe end of its log:\n  genkan: cannot take eth0\n"),
        "{told}"
    );
    facts.errors = (0..20).map(|n| format!("gateway.toml:{n}:1: wrong")).collect();
    let told = shown(&facts, &Dialogue::default());
    assert!(told.contains("The configuration in force is wrong:\n  gateway.toml:0:1: wrong\n"), "{told}");
    assert!(!told.contains("cannot take") && !told.contains("toml:8:"), "{told}");
    facts.missing_cards = Some("this machine has one card".into());
    facts.not_kept = Some("Nothing is kept\n".into());
    let told = shown(&facts, &Dialogue::default());
    assert!(told.contains("this machine has one card\nNothing is kept\n"), "{told}");
}

#[test]
fn a_question_stands_at_the_end_with_the_cursor_behind_it_and_no_password() {
    let facts = facts(Ok(running()));
    let mut dialogue = Dialogue::default();
    dialogue.set_wanted(true);
    "anna".bytes().for_each(|key| drop(dialogue.key(key)));
    let told = shown(&facts, &dialogue);
    assert!(told.trim_end().ends_with("PPPoE user name: anna"), "{told}");
    assert!(screen(&facts, &dialogue, 24, 80).text().ends_with("\x1b[24;22H\x1b[?25h"), "the cursor");
    dialogue.key(b'\r');
    "hunter2".bytes().for_each(|key| drop(dialogue.key(key)));
    let text = screen(&facts, &dialogue, 24, 80).text();
    assert!(text.contains("PPPoE user name: anna   (Ctrl-U: another)"), "{text}");
    assert!(!text.contains("hunter") && text.contains("Password (not shown): "), "{text}");
}

/// Names of hosts and the ISP's words are strangers'.
#[test]
fn nothing_from_the_wire_moves_the_cursor() {
    let mut status = running();
    let evil = "a\x1b[2J\x1b]0;x\x07b\u{9b}31m\u{202e}c\r\nd";
    status["lans"][0]["leases"][0]["hostname"] = evil.into();
    status["hostname"] = evil.into();
    status["wans"][0]["up"] = false.into();
    status["fast_path"]["off"] = evil.into();
    let mut facts = facts(Ok(status));
    facts.diagnosis = json!([{ "subject": "wan isp", "healthy": false, "sentence": evil }]);
    facts.refused = Some(evil.into());
    let text = screen(&facts, &Dialogue::default(), 24, 200).text();
    assert!(text.matches("a?[2J?]0;x?b?31m?c").count() >= 4, "{text:?}");
    let ours = [
        "\x1b[?7l",
        "\x1b[?25l",
        "\x1b[H",
        "\x1b[7m",
        "\x1b[1m",
        "\x1b[1;31m",
        "\x1b[0m",
        "\x1b[K",
        "\x1b[J",
        "\r\n",
    ];
    let rest = ours.iter().fold(text, |text, sequence| text.replace(sequence, ""));
    assert!(!rest.chars().any(char::is_control), "{rest:?}");
}

#[test]
fn any_size_of_terminal_is_filled_and_not_more() {
    let mut facts = facts(Ok(running()));
    facts.refused = Some((0..30).map(|n| format!("line {n}\n")).collect());
    for rows in [0, 1, 4, 5, 10, 24, 60] {
        for columns in [0, 20, 79, 132] {
            let screen = screen(&facts, &Dialogue::default(), rows, columns);
            assert_eq!(screen.lines.len(), usize::from(rows).max(4), "{rows}x{columns}");
            let fits = |line: &Line| fit(&line.text, screen.columns).chars().count() <= screen.columns;
            assert!(screen.lines.iter().all(fits), "{rows}x{columns}");
        }
    }
}

#[test]
fn a_long_sentence_takes_several_lines() {
    let mut facts = facts(Ok(running()));
    let sentence = "the ISP refuses the user name or the password, in its own words: ".repeat(3);
    facts.status.as_mut().unwrap()["wans"][0]["up"] = false.into();
    facts.diagnosis = json!([{ "subject": "wan isp", "healthy": false, "sentence": sentence }]);
    let shown = shown(&facts, &Dialogue::default());
    let words: Vec<&str> = shown.split_whitespace().collect();
    let wanted: Vec<&str> = sentence.split_whitespace().collect();
    assert!(words.windows(wanted.len()).any(|words| words == wanted), "{shown}");
}

#[test]
fn rates_are_in_bits() {
    let rates = [0, 124, 125, 1_562_500, 312_500_000].map(rate);
    assert_eq!(rates, ["0 bit/s", "992 bit/s", "1.0 kbit/s", "12.5 Mbit/s", "2.5 Gbit/s"]);
}
