//! From a capture to a diagnosis: captures of real lines (`tests/cases/`) in which something is made to fail, explained offline,
//! with the line's configuration and without any.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use genkan::capture::reader::{Reader, Record};
use genkan::capture::{Direction, Interface, Packet, Writer};
use genkan_tests::gateway::program;

const DISCOVERY: u16 = 0x8863;
const SESSION: u16 = 0x8864;
const PADI: u8 = 0x09;
const PADS: u8 = 0x65;

const LCP: u16 = 0xc021;
const CHAP: u16 = 0xc223;
const IPCP: u16 = 0x8021;
const IPV6CP: u16 = 0x8057;
const IPV6: u16 = 0x0057;

fn case(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cases").join(name)
}

fn half(frame: &[u8], at: usize) -> u16 {
    frame.get(at..).and_then(<[u8]>::first_chunk::<2>).map_or(0, |octets| u16::from_be_bytes(*octets))
}

/// The protocol of a frame of a session.
fn protocol(frame: &[u8]) -> Option<u16> {
    (half(frame, 12) == SESSION).then(|| half(frame, 20))
}

/// A frame of a session with other data: an Ethernet header, PPPoE, PPP and a control packet.
fn control(like: &[u8], protocol: u16, code: u8, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap() + 4;
    let mut frame = like[..18].to_vec();
    frame.extend([(length + 2).to_be_bytes(), protocol.to_be_bytes()].concat());
    frame.extend([code, like[23]]);
    frame.extend(length.to_be_bytes());
    frame.extend(data);
    frame
}

/// The beginning of a case's capture, in which `change` makes of each received frame what came instead.
fn altered(case: &Path, name: &str, span: Duration, mut change: impl FnMut(Vec<u8>) -> Change) -> PathBuf {
    let mut reader = Reader::open(&case.join("capture.pcapng.gz")).expect("the case has a capture");
    let records: Vec<Record> = std::iter::from_fn(|| reader.next_record()).collect();
    // It is of one port; who asks for a concentrator is the gateway.
    let is_padi = |record: &&Record| half(&record.bytes, 12) == DISCOVERY && record.bytes[15] == PADI;
    let gateway = records.iter().find(is_padi).expect("the line is dialled").bytes[6..12].to_vec();
    let port = Interface { name: "wan0".into(), description: String::new() };
    let mut writer = Writer::new(Vec::new(), &[port], &[]).unwrap();
    let begin = records[0].at;
    for Record { bytes, at, .. } in records.into_iter().filter(|record| record.at < begin + span) {
        let sent = bytes[6..12] == gateway;
        let (bytes, last) = match if sent { Change::Keep(bytes) } else { change(bytes) } {
            Change::Keep(bytes) => (bytes, false),
            Change::Lose => continue,
            Change::Last(bytes) => (bytes, true),
        };
        let packet = Packet {
            interface: 0,
            direction: if sent { Direction::Sent } else { Direction::Received },
            at,
            length: bytes.len(),
            bytes,
            lost_before: 0,
            comments: Vec::new(),
        };
        writer.write(&packet).unwrap();
        if last {
            break;
        }
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("diagnoses");
    fs::create_dir_all(&folder).expect("the build folder can be written");
    let path = folder.join(format!("{name}.pcapng"));
    fs::write(&path, writer.get_mut()).unwrap();
    path
}

enum Change {
    /// This comes.
    Keep(Vec<u8>),
    /// Nothing comes.
    Lose,
    /// This comes, and is all that was captured.
    Last(Vec<u8>),
}

fn explained(arguments: &[&Path]) -> (Output, String) {
    let output = Command::new(program()).arg("explain").args(arguments).output().expect("genkan runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.stderr.is_empty(),
        "nothing is complained about: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    (output, said)
}

/// Both ways of asking name this step as the first that fails, with these phrases.
#[track_caller]
fn fails((name, seconds): (&str, u64), change: impl FnMut(Vec<u8>) -> Change, step: &str, phrases: &[&str]) {
    let span = Duration::from_secs(seconds);
    let case = case("session-chap");
    let capture = altered(&case, name, span, change);
    let file = case.join("gateway.toml");
    for arguments in [&[&*capture][..], &[&file, &capture]] {
        let (output, said) = explained(arguments);
        assert_eq!(output.status.code(), Some(1), "{said}");
        let first = said.lines().find(|line| line.contains(" FAILED: ")).unwrap_or("");
        assert!(first.trim_start().starts_with(step), "{step} is the first that fails:\n{said}");
        for phrase in phrases {
            assert!(said.contains(phrase), "{phrase:?} is missing:\n{said}");
        }
        for words in ["likely  ", "or      ", "try     "] {
            assert!(said.contains(words), "{words:?} is missing:\n{said}");
        }
    }
}

#[test]
fn a_line_in_order_is_in_order_also_on_a_desk_without_its_cards_and_secrets() {
    for name in ["session-pap", "session-chap", "session-mschapv2", "line-lost-and-dialled-again"] {
        let case = case(name);
        let (file, capture) = (case.join("gateway.toml"), case.join("capture.pcapng.gz"));
        assert!(!case.join("isp.secret").exists());
        for (arguments, wan) in [(&[&*capture][..], "wan line is up"), (&[&file, &capture], "wan isp is up")]
        {
            let (output, said) = explained(arguments);
            assert!(output.status.success() && said.contains(wan), "{name}:\n{said}");
            assert!(!said.contains("FAILED"), "{name}:\n{said}");
        }
    }
}

#[test]
fn no_offer() {
    fails(
        ("no-offer", 90),
        |_| Change::Lose,
        "discovery",
        &["PADI", "without an answer", "bridge mode", "VLAN"],
    );
}

#[test]
fn a_session_is_refused_by_name() {
    let refuse = |frame: Vec<u8>| {
        if half(&frame, 12) != DISCOVERY || frame[15] != PADS {
            return if protocol(&frame).is_some() { Change::Lose } else { Change::Keep(frame) };
        }
        let text = b"no session is free";
        let length = usize::from(half(&frame, 18)) + 4 + text.len();
        let mut refused = [&frame[..16], &[0, 0], &u16::try_from(length).unwrap().to_be_bytes()].concat();
        refused.extend(&frame[20..20 + usize::from(half(&frame, 18))]);
        refused.extend([&[0x02, 0x02, 0, u8::try_from(text.len()).unwrap()][..], text].concat());
        Change::Keep(refused)
    };
    fails(("refused", 90), refuse, "discovery", &["AC-System-Error", "no session is free"]);
}

#[test]
fn lcp_is_not_answered() {
    let lose = |frame: Vec<u8>| if protocol(&frame).is_some() { Change::Lose } else { Change::Keep(frame) };
    fails(("lcp-silent", 20), lose, "LCP", &["LCP Configure-Request"]);
}

#[test]
fn a_password_is_refused_in_the_isps_words() {
    let refuse = |frame: Vec<u8>| match protocol(&frame) {
        Some(CHAP) if frame[22] == 3 => Change::Last(control(&frame, CHAP, 4, b"E=691 account is locked")),
        _ => Change::Keep(frame),
    };
    fails(("chap-failure", 90), refuse, "authentication", &["E=691 account is locked", "password"]);
}

#[test]
fn a_network_protocol_is_rejected() {
    let reject = |frame: Vec<u8>| match protocol(&frame) {
        // A Protocol-Reject holds the packet that it rejects (RFC 1661 §5.7).
        Some(IPCP) => {
            let length = usize::from(half(&frame, 18)).min(frame.len() - 20);
            Change::Keep(control(&frame, LCP, 8, &frame[20..20 + length]))
        }
        Some(IPV6CP) => Change::Lose,
        _ => Change::Keep(frame),
    };
    fails(("ipcp-rejected", 90), reject, "IPCP", &["IPCP"]);
}

#[test]
fn no_prefix_is_delegated() {
    let lose = |frame: Vec<u8>| {
        let is_dhcp6 =
            protocol(&frame) == Some(IPV6) && frame.get(28) == Some(&17) && half(&frame, 62) == 547;
        if is_dhcp6 { Change::Lose } else { Change::Keep(frame) }
    };
    let phrases = ["is up, but prefix delegation fails", "DHCPv6 Solicit"];
    fails(("no-prefix", 90), lose, "prefix delegation", &phrases);
}
