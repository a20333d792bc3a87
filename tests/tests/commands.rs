//! The commands, as a person or a script runs them: `check`, `status`, `capture`.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use genkan_tests::client::fetch;
use genkan_tests::gateway::program;
use genkan_tests::lab::{Lab, PASSWORD, USERNAME, WEB, web};
use genkan_tests::netns::text;
use genkan_tests::peers::Authentication;
use genkan_tests::recording::{Recorded, Recording, read};
use genkan_tests::street::Street;
use genkan_tests::terminal::Terminal;
use genkan_tests::topology::{Dial, Terms};
use genkan_tests::wait_for;

/// The protocol numbers of PAP (RFC 1334) and CHAP (RFC 1994).
const PAP: u16 = 0xc023;
const CHAP: u16 = 0xc223;
/// What stands where a secret was.
const FILLER: u8 = b'*';

fn genkan(arguments: &[&str], file: &Path) -> Output {
    Command::new(program())
        .arg(arguments[0])
        .arg(file)
        .args(&arguments[1..])
        .stdin(Stdio::null())
        .output()
        .expect("the program can be started")
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A folder of a test that needs no lab.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("genkan-commands-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("the temporary folder can be written");
        Folder(path)
    }

    fn write(&self, name: &str, mode: u32, content: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).expect("the temporary folder can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode can be set");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn check_accepts_every_example() {
    let folder = Folder::new("examples");
    for secret in ["isp", "other", "office"] {
        folder.write(&format!("{secret}.secret"), 0o600, "secret\n");
    }
    for key in ["friends.key", "sites.key", "phones.key", "provider.key", "office.psk"] {
        folder.write(key, 0o600, "WG8TkW3h5Wq4S8a3r6rY0Qx1c2d3e4f5g6h7i8j9k1A=\n");
    }
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/examples");
    let mut checked = 0;
    for example in fs::read_dir(examples).expect("the examples can be listed") {
        let example = example.expect("the examples can be listed").path();
        let name = example.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let content = fs::read_to_string(&example).expect("an example can be read");
        let content = content.replace("/etc/genkan", &folder.0.display().to_string());
        if name.starts_with("users") {
            folder.write("users.toml", 0o600, &content);
            continue;
        }
        folder.write(&name, 0o644, &content);
    }
    for file in fs::read_dir(&folder.0).expect("a folder can be listed") {
        let path = file.expect("a folder can be listed").path();
        if path.extension().is_none_or(|extension| extension != "toml") || path.ends_with("users.toml") {
            continue;
        }
        let output = genkan(&["check"], &path);
        assert_eq!(output.status.code(), Some(0), "{}: {}", path.display(), text(&output));
        assert!(String::from_utf8_lossy(&output.stdout).contains("is right"), "{}", text(&output));
        checked += 1;
    }
    assert!(checked >= 5, "only {checked} examples");
}

/// What `wg` and `wg-quick` say, given something on standard input.
fn tool(command: &[&str], input: &str) -> Output {
    let mut child = Command::new(command[0])
        .args(&command[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("wireguard-tools is there");
    child.stdin.take().expect("it has a standard input").write_all(input.as_bytes()).expect("it reads");
    child.wait_with_output().expect("it ends")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("the file is there").permissions().mode() & 0o7777
}

fn vpn(arguments: &[&str]) -> Output {
    Command::new(program())
        .arg("vpn")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the program can be started")
}

const VPN: &str = r#"
[port.lan0]
tap = "genkan-lan"
[lan.home]
ports = ["lan0"]
address = "192.168.1.1/24"
[vpn.friends]
private-key-file = "friends.key"
address = ["10.77.0.1/24", "fd00:77::1/64"]
"#;

#[test]
fn a_key_is_one_for_wg_and_is_never_written_over() {
    let folder = Folder::new("keygen");
    let path = folder.0.join("friends.key");
    let arguments = ["keygen", "--out", path.to_str().expect("a path is text")];
    let made = vpn(&arguments);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made));
    assert_eq!(mode(&path), 0o600);
    let private = fs::read_to_string(&path).expect("the key is there");
    assert_eq!(made.stdout, tool(&["wg", "pubkey"], &private).stdout);
    assert_eq!(made.stdout, vpn(&["pubkey", arguments[2]]).stdout);
    assert!(!text(&made).contains(private.trim()), "the private key is in the file alone");
    let again = vpn(&arguments);
    assert_eq!(again.status.code(), Some(1));
    assert!(errors(&again).contains("is there already"), "{}", errors(&again));
    assert_eq!(fs::read_to_string(&path).expect("the key is there"), private);
    let printed = vpn(&["keygen"]);
    let private = String::from_utf8_lossy(&printed.stdout).into_owned();
    let public = tool(&["wg", "pubkey"], &private).stdout;
    assert_eq!(errors(&printed), format!("public key: {}", String::from_utf8_lossy(&public)));
    let wrong = folder.write("wrong.key", 0o600, "hunter2\n");
    let refused = vpn(&["pubkey", wrong.to_str().expect("a path is text")]);
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));
    assert!(!text(&refused).contains("hunter2"));
}

/// What `vpn peer` prints is read by wg(8) and wg-quick(8), and by `vpn import`; what it says to add is right.
#[test]
fn a_new_peer_has_a_file_that_other_tools_read() {
    let folder = Folder::new("peer");
    folder.write("friends.key", 0o600, "WG8TkW3h5Wq4S8a3r6rY0Qx1c2d3e4f5g6h7i8j9k1A=\n");
    let file = folder.write("gateway.toml", 0o644, VPN);
    let (path, preshared) = (file.to_str().expect("a path is text"), folder.0.join("phone.psk"));
    let preshared = preshared.to_str().expect("a path is text");
    let made = vpn(&["peer", path, "phone", "--endpoint", "home.example", "--preshared-key-file", preshared]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made));
    let conf = String::from_utf8_lossy(&made.stdout).into_owned();
    for line in [
        "Address = 10.77.0.2/32, fd00:77::2/128",
        "DNS = 10.77.0.1",
        "AllowedIPs = 0.0.0.0/0, ::/0",
        "Endpoint = home.example:51820",
        "PersistentKeepalive = 25",
    ] {
        assert!(conf.lines().any(|found| found == line), "{line} is not in\n{conf}");
    }

    // wg-quick takes out what is its own; the rest wg reads to its end, and then finds no such interface.
    let quick = folder.write("genkanwg9.conf", 0o600, &conf);
    let stripped = tool(&["wg-quick", "strip", quick.to_str().expect("a path is text")], "");
    assert!(stripped.status.success(), "{}", text(&stripped));
    let stripped = String::from_utf8_lossy(&stripped.stdout).into_owned();
    assert!(!stripped.contains("DNS") && !stripped.contains("Address"), "{stripped}");
    let numeric = stripped.replace("home.example", "192.0.2.1");
    let read = tool(&["wg", "setconf", "genkanwg9", "/dev/stdin"], &numeric);
    assert!(errors(&read).contains("Unable to modify interface"), "{}", errors(&read));
    let misread =
        tool(&["wg", "setconf", "genkanwg9", "/dev/stdin"], &numeric.replace("AllowedIPs", "Allowed"));
    assert!(errors(&misread).contains("Configuration parsing error"), "{}", errors(&misread));

    // The two halves fit each other.
    let private = conf.lines().find_map(|line| line.strip_prefix("PrivateKey = ")).expect("there is a key");
    let public = tool(&["wg", "pubkey"], private).stdout;
    let public = String::from_utf8_lossy(&public).trim().to_owned();
    let said = errors(&made);
    assert!(!said.contains(private), "the private key is printed once");
    assert!(said.contains('█'), "there is a QR code");
    let lines = &said[said.find("[[vpn.friends.peer]]").expect("there are lines to add")..];
    assert!(lines.contains(&format!("public-key  = \"{public}\"")), "{lines}");
    assert_eq!(mode(Path::new(preshared)), 0o600);
    let shared = fs::read_to_string(preshared).expect("the key is there");
    assert!(conf.contains(&format!("PresharedKey = {shared}")), "both sides have the same");
    folder.write("gateway.toml", 0o644, &format!("{VPN}{lines}"));
    let check = genkan(&["check"], &file);
    assert_eq!(check.status.code(), Some(0), "{}", text(&check));

    // The next one gets the next address, and a name is had once.
    let next = vpn(&["peer", path, "tablet", "--endpoint", "192.0.2.1:443", "--dns", "none"]);
    let next = String::from_utf8_lossy(&next.stdout).into_owned();
    assert!(next.contains("Address = 10.77.0.3/32, fd00:77::3/128\n"), "{next}");
    assert!(next.contains("Endpoint = 192.0.2.1:443\n") && !next.contains("DNS"), "{next}");
    let twice = vpn(&["peer", path, "phone", "--endpoint", "home.example"]);
    assert_eq!((twice.status.code(), twice.stdout.as_slice()), (Some(2), &b""[..]));
    assert!(errors(&twice).contains("has a peer phone already"), "{}", errors(&twice));
    let nowhere = vpn(&["peer", path, "laptop"]);
    assert_eq!((nowhere.status.code(), nowhere.stdout.as_slice()), (Some(2), &b""[..]));
    assert!(errors(&nowhere).contains("--endpoint HOST[:PORT]"), "{}", errors(&nowhere));

    // What we print, we read.
    let out = folder.0.join("other.toml");
    let out = out.to_str().expect("a path is text");
    let imported = vpn(&["import", quick.to_str().expect("a path is text"), "--name", "home", "--out", out]);
    assert_eq!(imported.status.code(), Some(0), "{}", text(&imported));
    let lines = fs::read_to_string(out).expect("the lines are there");
    assert!(lines.contains("endpoint = \"home.example:51820\""), "{lines}");
    assert!(!lines.contains(private) && !lines.contains(shared.trim()), "{lines}");
    for name in ["home.key", "home.genkan.psk"] {
        assert_eq!(mode(&folder.0.join(name)), 0o600, "{name}");
    }
    let head = VPN.split("[vpn").next().expect("a text has a first part");
    let other = folder.write("second.toml", 0o644, &format!("{head}{lines}"));
    let check = genkan(&["check"], &other);
    assert_eq!(check.status.code(), Some(0), "{}", text(&check));
    let again = vpn(&["import", quick.to_str().expect("a path is text"), "--name", "home", "--out", out]);
    assert_eq!(again.status.code(), Some(1), "{}", text(&again));
}

#[test]
fn an_import_tells_errors_with_their_lines_and_leaves_nothing_behind() {
    let folder = Folder::new("import");
    let conf =
        "[Interface]\nPrivateKey = WG8TkW3h5Wq4S8a3r6rY0Qx1c2d3e4f5g6h7i8j9k1A=\nAddress = 10.77.0.2/24\n";
    let bad = folder.write("bad.conf", 0o600, &format!("{conf}[Peer]\nEndpiont = a:1\n"));
    let out = folder.0.join("out.toml");
    let out = out.to_str().expect("a path is text");
    let refused = vpn(&["import", bad.to_str().expect("a path is text"), "--out", out]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(errors(&refused).contains("did you mean `Endpoint`?"), "{}", errors(&refused));
    assert!(errors(&refused).contains("bad.conf:5:1"), "{}", errors(&refused));
    // The lines' file is there already: the keys that were written go again.
    let good = folder.write("good.conf", 0o600, conf);
    folder.write("out.toml", 0o644, "mine\n");
    let refused = vpn(&["import", good.to_str().expect("a path is text"), "--out", out]);
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(fs::read_to_string(out).expect("the file is there"), "mine\n");
    assert!(!folder.0.join("good.key").exists());
    let shown = vpn(&["import", good.to_str().expect("a path is text")]);
    assert!(
        String::from_utf8_lossy(&shown.stdout).starts_with("[vpn.good]\n# the PrivateKey of"),
        "{}",
        text(&shown)
    );
    assert!(!text(&shown).contains("WG8TkW3h"), "{}", text(&shown));
}

const SIX_MISTAKES: &str = r#"[port.wan0]
nic = "lo0-wan"

[port.lan0]
nic = "lo0-lan"

[wan.isp]
port = "wan0"
pppoe.username = "user@isp.example"
pppoe.pasword-file = "isp.secret"

[wan.second]
port = "wan1"
pppoe.username = "user@isp.example"
pppoe.password-file = "open.secret"

[lan.home]
ports = ["lan0", "wan0"]
address = "192.168.1.1/24"
dhcp = { range = "192.168.2.100-192.168.2.199" }

[lan.other]
ports = []
address = "192.168.1.129/25"
"#;

#[test]
fn check_tells_every_mistake_at_once_and_run_refuses_the_same_file_in_the_same_words() {
    let folder = Folder::new("mistakes");
    folder.write("open.secret", 0o644, "a password\n");
    let file = folder.write("gateway.toml", 0o644, SIX_MISTAKES);
    let check = genkan(&["check"], &file);
    let said = errors(&check);
    assert_eq!(check.status.code(), Some(2), "{said}");
    assert!(check.stdout.is_empty(), "{said}");
    for (place, words) in [
        ("10:7", "did you mean `password-file`?"),
        ("13:8", "there is no [port.wan1]"),
        ("15:23", "mode 0644"),
        ("18:", "wan0"),
        ("20:18", "192.168.2.100"),
        ("24:11", "192.168.1.129/25"),
    ] {
        let line = place.split(':').next().unwrap_or_default();
        assert!(said.contains(&format!("gateway.toml:{place}")), "nothing at {place}: {said}");
        assert!(said.contains(words), "no word of `{words}`: {said}");
        let source = SIX_MISTAKES.lines().nth(line.parse::<usize>().expect("a number") - 1);
        let shown = source.expect("the line is there").split('=').next().unwrap_or_default().trim();
        assert!(said.contains(shown), "line {line} is not shown: {said}");
    }
    assert!(!said.contains("a password"), "{said}");

    let run = genkan(&["run"], &file);
    assert_eq!((run.status.code(), errors(&run)), (Some(2), said));
}

#[test]
fn a_file_that_is_not_there_is_said_to_be_so() {
    let missing = Path::new("/nonexistent/gateway.toml");
    for command in ["check", "run", "status", "capture"] {
        let output = genkan(&[command], missing);
        assert_eq!(output.status.code(), Some(2), "{command}: {}", text(&output));
        let said = errors(&output);
        assert!(said.contains("/nonexistent/gateway.toml"), "{command}: {said}");
        assert!(said.contains("cannot read the configuration"), "{command}: {said}");
    }
}

#[test]
fn status_of_a_gateway_that_is_up() {
    let street = Street::new("status-up", Dial::default(), Terms::default(), "");
    let wan = street.wait_up();
    let lease = street.lab.lease(&street.house.desk, "eth0");
    street.house.desk.inside(|| fetch(web(80), "/address")).expect("HTTP works");

    let shown = street.gateway.command("status", &[]);
    assert!(shown.status.success(), "{}", text(&shown));
    let shown = text(&shown);
    for part in [
        "router · version",
        "wan isp: up for",
        &format!("address {}", wan.address),
        "with bras1",
        "MTU 1492",
        "lan home: 192.168.1.1/24 on lan0, lan1",
        &lease.address.to_string(),
        "in the table",
        "wan0",
    ] {
        assert!(shown.contains(part), "no `{part}` in: {shown}");
    }

    let told = street.gateway.command("explain", &["wan", "isp"]);
    let told = text(&told);
    assert!(told.starts_with("wan isp is up") && told.contains("authentication        ok"), "{told}");
    let flow = format!("{}:40000", lease.address);
    let told = text(&street.gateway.command("explain", &["flow", &flow, "203.0.113.99:443"]));
    assert!(told.contains("passes by wan.isp") && told.contains("comes in by lan.home"), "{told}");
    let wrong = street.gateway.command("explain", &["flow", "somewhere", "203.0.113.99:443"]);
    assert_eq!(wrong.status.code(), Some(2), "{}", errors(&wrong));
    let nobody = street.gateway.command("explain", &["wan", "nobody"]);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(errors(&nobody).contains("the uplinks are isp"), "{}", errors(&nobody));

    let json = street.gateway.status().expect("JSON");
    assert_eq!(json["wans"][0]["state"], "up");
    assert_eq!(json["wans"][0]["up"], true);
    assert_eq!(json["wans"][0]["address"], wan.address.as_str());
    assert_eq!(json["wans"][0]["last_failure"], serde_json::Value::Null);
    assert_eq!(json["lans"][0]["leases"][0]["address"], lease.address.to_string());
    assert!(json["nat"]["flows"].as_u64() > Some(0), "{json}");
    assert!(json["ports"].as_array().is_some_and(|ports| ports.len() == 3), "{json}");

    let isp = street.isp.command("status", &[]);
    let isp = text(&isp);
    assert!(isp.contains("concentrator bras: 1 sessions on access0"), "{isp}");
    assert!(isp.contains(USERNAME) && isp.contains(&wan.address), "{isp}");
}

#[test]
fn status_says_why_a_line_is_down_and_when_it_is_dialled_again() {
    let dial = Dial { password: "not the password", ..Dial::default() };
    let street = Street::new("status-refused", dial, Terms::default(), "");
    let json = wait_for("the refusal", Duration::from_secs(20), || {
        let status = street.gateway.status()?;
        let wan = &status["wans"][0];
        let waits =
            wan["state"] == "waiting" && wan["retry_in_s"].is_u64() && wan["last_failure"].is_string();
        if waits { Ok(wan.clone()) } else { Err(status.to_string()) }
    });
    let why = json["last_failure"].as_str().unwrap_or_default();
    assert!(["password", "authenticat", "refused"].iter().any(|word| why.contains(word)), "{why}");
    // TR-124 and lesson 9: a wrong password is not tried at once again.
    assert!(json["retry_in_s"].as_u64() > Some(5), "{json}");
    let shown = text(&street.gateway.command("status", &[]));
    assert!(shown.contains("wan isp: waiting for") && shown.contains("dials again in"), "{shown}");
    assert!(shown.contains(&format!("last failure: {why}")), "{shown}");
    assert!(!shown.contains("not the password") && !street.gateway.log().contains("not the password"));
    let told =
        street.gateway.wait_explained("isp", &["wan isp is down: authentication fails", "typing error"]);
    assert!(shown.contains("wan isp is down: authentication fails") && !told.contains("not the password"));
    let json = street.gateway.command("explain", &["wan", "isp", "--json"]);
    assert_eq!(json.status.code(), Some(1), "something fails");
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(json[0]["steps"][3]["state"], "failed", "{json}");
}

#[test]
fn status_of_a_gateway_that_does_not_run_or_is_not_ours() {
    let street = Street::new("status-none", Dial::default(), Terms::default(), "");
    // Another user can read the configuration, but not the secrets that it names.
    for command in ["status", "capture"] {
        let output = Command::new("setpriv")
            .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
            .arg(copy_for_all(&street.lab))
            .arg(command)
            .arg(street.gateway.config())
            .stdin(Stdio::null())
            .output()
            .expect("setpriv is there");
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        assert!(errors(&output).contains("you may not talk to this gateway"), "{}", text(&output));
    }

    let config = street.gateway.config().to_path_buf();
    let Street { gateway, .. } = &street;
    let process = gateway.process().to_string();
    Command::new("kill").args(["-TERM", &process]).status().expect("kill is there");
    wait_for("the gateway's end", Duration::from_secs(10), || {
        let output = genkan(&["status"], &config);
        let said = errors(&output);
        if output.status.success() { Err("it still answers".into()) } else { Ok((output, said)) }
    });
    let output = genkan(&["status"], &config);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(errors(&output).lines().count(), 1, "{}", errors(&output));
    assert!(errors(&output).contains("no gateway is running"), "{}", errors(&output));
    let output = genkan(&["capture"], &config);
    assert!(
        !output.status.success() && errors(&output).contains("no gateway is running"),
        "{}",
        text(&output)
    );
}

/// The program where everybody may execute it.
fn copy_for_all(lab: &Lab) -> PathBuf {
    let path = lab.folder().join("genkan");
    if !path.exists() {
        fs::copy(program(), &path).expect("the lab's folder can be written");
    }
    path
}

#[test]
fn capture_shows_what_passes_a_port_and_what_the_filter_wants() {
    let street = Street::new("capture-filter", Dial::default(), Terms::default(), "");
    street.wait_up();
    street.lab.lease(&street.house.desk, "eth0");
    let all = Recording::start(&street.lab, &street.gateway, "all", &[]);
    let filter = ["--at", "wan0", "--filter", "pppoes and icmp"];
    let pings = Recording::start(&street.lab, &street.gateway, "pings", &filter);
    street.house.desk.run(&format!("ping -c 3 -i 0.2 -W 2 {WEB}"));
    street.house.desk.inside(|| fetch(web(80), "/address")).expect("HTTP works");

    wait_for("three pings both ways", Duration::from_secs(10), || {
        let frames = pings.frames();
        let sent = frames.iter().filter(|frame| frame.sent).count();
        if (sent, frames.len()) == (3, 6) { Ok(()) } else { Err(format!("{sent} of {} sent", frames.len())) }
    });
    for frame in pings.frames() {
        assert_eq!(frame.port, "wan0");
        let packet = frame.ppp().expect("a PPPoE session frame");
        // IPv4, and in it ICMP.
        assert_eq!((&packet[..2], packet[2 + 9]), (&[0x00, 0x21][..], 1));
    }
    let seen = all.frames();
    for port in ["wan0", "lan1"] {
        for sent in [false, true] {
            assert!(seen.iter().any(|frame| frame.port == port && frame.sent == sent), "{port} {sent}");
        }
    }
    // Wireshark's own words for ports and directions.
    let path = all.path().display().to_string();
    let fields = ["-T", "fields", "-e", "frame.interface_name", "-e", "frame.packet_flags_direction"];
    let output = Command::new("tshark").args(["-n", "-r", &path]).args(fields).output().expect("tshark");
    assert!(output.status.success(), "{}", text(&output));
    let told = text(&output);
    let direction = |line: &str| {
        line.split_once('\t').map(|(port, way)| {
            let way = way.trim_start_matches("0x").trim_start_matches('0');
            (port.to_owned(), way.to_owned())
        })
    };
    let told: Vec<_> = told.lines().filter_map(direction).collect();
    for (port, way) in [("port.wan0", "1"), ("port.wan0", "2"), ("port.lan1", "1"), ("port.lan1", "2")] {
        assert!(told.contains(&(port.into(), way.into())), "{port} {way}: {told:?}");
    }
}

/// What a program says of a capture, which it must be able to read.
fn read_by(program: &str, arguments: &[&str], path: &Path) -> String {
    let output = Command::new(program).args(arguments).arg(path).output().expect("it is installed");
    assert!(output.status.success(), "{program}: {}", text(&output));
    text(&output)
}

#[test]
fn capture_at_every_point_is_read_by_all_and_its_comments_tell_what_became_of_frames() {
    let street = Street::new("capture-points", Dial::default(), Terms::default(), "");
    street.wait_up();
    street.lab.lease(&street.house.desk, "eth0");
    let all = Recording::start(&street.lab, &street.gateway, "points", &["--at", "all"]);
    let drops =
        Recording::start(&street.lab, &street.gateway, "drops", &["--drops", "--inner", "--filter", "icmp"]);
    let way = street.lab.logs().join("trace.log");
    let mut trace = Command::new(program())
        .args(["trace", "--filter", "icmp[icmptype] == icmp-echo", "--count", "2"])
        .arg(street.gateway.config())
        .stdout(fs::File::create(&way).expect("the build folder can be written"))
        .spawn()
        .expect("it can be started");
    wait_for("the trace to run", Duration::from_secs(5), || {
        // It says nothing before the first frame.
        street.house.desk.run(&format!("ping -c 1 -W 2 {WEB}"));
        let told = fs::read_to_string(&way).unwrap_or_default();
        if told.contains("frame ") { Ok(()) } else { Err("nothing yet".into()) }
    });
    street.house.desk.run(&format!("ping -c 3 -i 0.2 -W 2 {WEB}"));
    street.house.desk.try_run(&format!("ping -c 1 -t 1 -W 1 {WEB}"));
    let reason = |path: &Path| read_by("tshark", &["-n", "-T", "fields", "-e", "frame.comment", "-r"], path);
    drops.wait("a dropped ping", Duration::from_secs(5), |frame| frame.port == "drop");
    let told = reason(drops.path());
    assert!(told.contains("dropped, ttl-exceeded: "), "{told}");
    let told = reason(all.path());
    for part in [
        "no [[filter]] matches; from lan to wan is accepted",
        "new mapping of 192.168.1.",
        "new flow ICMP",
        "known flow ICMP",
        "dropped, ttl-exceeded: ",
        "its sender is told: an ICMP error",
    ] {
        assert!(told.contains(part), "no {part}: {told}");
    }
    let frames = all.frames();
    for point in ["wan0", "lan1", "wan.isp", "lan.home", "router", "drop"] {
        assert!(frames.iter().any(|frame| frame.port == point), "nothing at {point}");
    }
    assert!(read_by("tcpdump", &["-nr"], all.path()).contains("ICMP echo request"));
    assert!(read_by("capinfos", &[], all.path()).contains("Number of interfaces"));
    let way = fs::read_to_string(&way).expect("the trace has written");
    for part in ["at port.lan", "to wan.isp", "TTL 64 -> 63", "+ PPPoE 0x"] {
        assert!(way.contains(part), "no {part}: {way}");
    }
    assert!(trace.wait().expect("it can be waited for").success());

    // Whatever the captures lose, the pings get through.
    let flood = street.house.desk.run(&format!("ping -q -f -c 3000 -w 20 {WEB}"));
    assert!(flood.contains(" 0% packet loss"), "{flood}");

    let ring = street.lab.logs().join("ring.pcapng");
    let saved = street.gateway.command("capture", &["--ring", "--write", &ring.display().to_string()]);
    assert!(saved.status.success(), "{}", text(&saved));
    let told = read_by("tshark", &["-n", "-r"], &ring);
    for part in ["PADI", "PADS", "PPP LCP", "DHCP", "Echo (ping) request"] {
        assert!(told.contains(part), "no {part} in the ring: {told}");
    }
}

#[test]
fn capture_refuses_what_it_cannot_do() {
    let street = Street::new("capture-refuses", Dial::default(), Terms::default(), "");
    let bad = street.gateway.command("capture", &["--filter", "pppoes and and"]);
    assert!(!bad.status.success());
    assert!(errors(&bad).contains("syntax error"), "libpcap's words: {}", text(&bad));
    assert!(bad.stdout.is_empty(), "no capture begins");
    let unknown = street.gateway.command("capture", &["--at", "wan7"]);
    assert!(!unknown.status.success());
    let said = errors(&unknown);
    assert!(
        said.contains("wan7") && ["wan0", "lan0", "lan1"].iter().all(|port| said.contains(port)),
        "{said}"
    );
    // A file that cannot be written is an error, too.
    let output = street.gateway.command("capture", &["--write", "/nonexistent/line.pcapng"]);
    assert!(
        !output.status.success() && errors(&output).contains("/nonexistent/line.pcapng"),
        "{}",
        text(&output)
    );
}

/// The authentication packets of a capture, by protocol: code and data.
fn authentication(frames: &[Recorded], protocol: u16) -> Vec<(u8, Vec<u8>)> {
    let packets = frames.iter().filter_map(Recorded::ppp);
    packets
        .filter(|packet| packet.get(..2) == Some(&protocol.to_be_bytes()))
        .map(|packet| {
            let length = usize::from(u16::from_be_bytes([packet[4], packet[5]]));
            assert_eq!(length, packet.len() - 2, "the packet's own length is right");
            (packet[2], packet[6..].to_vec())
        })
        .collect()
}

/// TR-124 WAN.PPP.6: passwords are never shown.
#[test]
fn tr124_wan_ppp_6_a_capture_has_no_secrets_and_every_length() {
    for (method, protocol) in
        [(Authentication::Pap, PAP), (Authentication::MsChapV2, CHAP), (Authentication::ChapMd5, CHAP)]
    {
        let terms = Terms { authentication: method, ..Terms::default() };
        let mut street = Street::new("capture-secrets", Dial::default(), terms, "");
        street.wait_up();
        street.gateway.kill();
        street.boot_anew();
        let at_isp = Recording::start(&street.lab, &street.isp, "isp", &["--at", "access0"]);
        street = street.restart();
        street.wait_up();
        let answered = |frame: &Recorded| {
            frame.sent && frame.ppp().is_some_and(|ppp| ppp[..2] == protocol.to_be_bytes() && ppp[2] != 1)
        };
        at_isp.wait("the ISP's verdict", Duration::from_secs(10), answered);
        let packets = authentication(&at_isp.frames(), protocol);
        let name = USERNAME.as_bytes();
        if method == Authentication::Pap {
            let (_, request) = packets.iter().find(|(code, _)| *code == 1).expect("an Authenticate-Request");
            let mut expected = vec![u8::try_from(name.len()).expect("a short name")];
            expected.extend(name);
            expected.push(u8::try_from(PASSWORD.len()).expect("a short password"));
            expected.extend(vec![FILLER; PASSWORD.len()]);
            assert_eq!(*request, expected);
        } else {
            let (_, response) = packets.iter().find(|(code, _)| *code == 2).expect("a Response");
            // RFC 1994 §4.1: MD5's value has 16 octets; RFC 2759 §4: MS-CHAPv2's has 49.
            let size = if method == Authentication::MsChapV2 { 49 } else { 16 };
            let mut expected = vec![size];
            expected.extend(vec![FILLER; usize::from(size)]);
            expected.extend(name);
            assert_eq!(*response, expected, "{method}");
        }
        // Nothing of it anywhere in the file.
        let file = fs::read(at_isp.path()).expect("the capture can be read");
        let all = read(at_isp.path());
        assert!(!all.is_empty() && !file.windows(PASSWORD.len()).any(|part| part == PASSWORD.as_bytes()));
    }
}

#[test]
fn a_live_capture_can_be_piped_and_ended_without_harm() {
    let street = Street::new("capture-live", Dial::default(), Terms::default(), "");
    street.wait_up();
    street.lab.lease(&street.house.desk, "eth0");
    let out = street.lab.logs().join("tcpdump.txt");
    let line = format!(
        "{} capture {} --at wan0 | tcpdump -l -n -r - >{} 2>/dev/null",
        program().display(),
        street.gateway.config().display(),
        out.display()
    );
    let mut shell = Command::new("sh").args(["-c", &line]).process_group(0).spawn().expect("a shell");
    let desk = &street.house.desk;
    wait_for("tcpdump to show a ping while it runs", Duration::from_secs(15), || {
        desk.run(&format!("ping -c 1 -W 2 {WEB}"));
        let shown = fs::read_to_string(&out).unwrap_or_default();
        if shown.contains("ICMP echo reply") { Ok(()) } else { Err(shown) }
    });
    assert_eq!(shell.try_wait().ok().flatten(), None, "the capture goes on");
    let group = format!("-{}", shell.id());
    Command::new("kill").args(["-KILL", "--", &group]).status().expect("kill is there");
    shell.wait().expect("a child can be waited for");
    desk.run(&format!("ping -c 3 -i 0.2 -W 2 {WEB}"));
    assert_eq!(street.gateway.wan("isp").map(|wan| wan.state), Ok("up".into()));

    // A reader that has seen enough is no failure.
    let line = format!(
        "{{ {} capture {} --at wan0; echo ended with $? >&2; }} | head -c 300 >/dev/null",
        program().display(),
        street.gateway.config().display(),
    );
    let shell = Command::new("sh").args(["-c", &line]).stderr(Stdio::piped()).spawn().expect("a shell");
    desk.run(&format!("ping -c 5 -i 0.2 -W 2 {WEB}"));
    let said = shell.wait_with_output().expect("a child can be waited for");
    assert_eq!(errors(&said), "ended with 0\n");
}

/// A command in a machine of its own making: these network cards, and an empty /run.
fn in_guest(folder: &Folder, cards: &[&str], arguments: &[&str]) -> Command {
    let net = folder.0.join("net");
    for card in cards {
        fs::create_dir_all(net.join(card).join("device")).expect("the temporary folder can be written");
        folder.write(&format!("net/{card}/type"), 0o644, "1\n");
    }
    let script = "mount --bind \"$0\" /sys/class/net && mount -t tmpfs run /run && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--", "sh", "-c", script]).arg(&net).arg(program()).args(arguments);
    command
}

fn path_text(path: &Path) -> &str {
    path.to_str().expect("a path is text")
}

/// The first life of a guest that nobody has configured.
#[test]
fn the_console_asks_for_credentials_and_lends_the_terminal_to_a_login() {
    let folder = Folder::new("console");
    let config = folder.0.join("config");
    let cards = ["eth0", "eth1"];
    let made =
        in_guest(&folder, &cards, &["provision", "--to", path_text(&config)]).output().expect("it runs");
    assert_eq!(made.status.code(), Some(0), "{}", text(&made));
    assert!(text(&made).contains("eth1 is the LAN"), "{}", text(&made));
    let login = folder.write(
        "login",
        0o755,
        "#!/bin/sh\nprintf 'login: '\nread -r name\necho \"hello $name\"\nsleep 1\n",
    );
    let file = config.join("gateway.toml");
    let arguments = ["console", "--login", path_text(&login), path_text(&file)];
    let mut terminal = Terminal::start(in_guest(&folder, &cards, &arguments));
    let first = terminal.wait("PPPoE user name: ");
    assert!(first.contains("no gateway is running"), "{first}");
    terminal.press("\r");
    terminal.wait("login: ");
    assert!(terminal.is_plain());
    terminal.press("root\n");
    terminal.wait("hello root");
    terminal.wait("PPPoE user name: ");
    assert!(!terminal.is_plain());
    // Somebody else sets the terminal, such as an init that starts a program.
    terminal.make_plain();
    terminal.press("anna@isp.example\r");
    terminal.wait("Password (not shown): ");
    assert!(!terminal.is_plain(), "what is typed is shown");
    terminal.press("hunter2-canary\r");
    let after = terminal.wait("The gateway will start with them.");
    assert!(!after.contains("canary"), "{after}");
    let secret = config.join("isp.secret");
    assert_eq!(fs::read_to_string(&secret).expect("the password is kept"), "hunter2-canary\n");
    assert_eq!(mode(&secret), 0o600);
    let written = fs::read_to_string(&file).expect("the configuration is there");
    assert!(written.contains("\"anna@isp.example\"") && !written.contains("canary"), "{written}");
    terminal.wait("Enter: log in");
    terminal.press("\x03");
    assert!(terminal.wait_end().success());
    assert!(terminal.is_plain(), "the terminal is given back");
    assert!(!String::from_utf8_lossy(&terminal.shown()).contains("canary"));

    let again = ["console", "--credentials", path_text(&file)];
    let mut asked = in_guest(&folder, &cards, &again)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut input = asked.stdin.take().expect("it has a standard input");
    input.write_all(b"ben\nhunter3-canary\n").expect("it reads");
    drop(input);
    let asked = asked.wait_with_output().expect("it ends");
    assert_eq!(asked.status.code(), Some(0), "{}", text(&asked));
    assert!(!text(&asked).contains("canary"), "{}", text(&asked));
    assert_eq!(fs::read_to_string(&secret).expect("the password is kept"), "hunter3-canary\n");
}

#[test]
fn the_console_needs_a_terminal_and_says_what_does_without() {
    let folder = Folder::new("no-terminal");
    let output = genkan(&["console"], &folder.0.join("gateway.toml"));
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("needs a terminal; `genkan status FILE`"), "{}", errors(&output));
}

/// What is offered wrong is refused in `check`'s words; a right one is in force, mode and all, whatever it came by.
#[test]
fn provision_refuses_what_check_refuses_and_says_how_it_went() {
    let folder = Folder::new("provision");
    fs::create_dir_all(folder.0.join("disk")).expect("the temporary folder can be written");
    folder.write(
        "disk/gateway.toml",
        0o755,
        "[port.lan0]\ntap = \"genkan-lan\"\n[lan.home]\nport = [\"lan0\"]\n",
    );
    let (to, disk) = (folder.0.join("config"), folder.0.join("disk"));
    let arguments = ["provision", "--to", path_text(&to), "--from", path_text(&disk)];
    let run = || Command::new(program()).args(arguments).stdin(Stdio::null()).output().expect("it runs");
    let refused = run();
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));
    let checked = genkan(&["check"], &disk.join("gateway.toml"));
    let report = errors(&checked);
    assert!(!report.is_empty() && errors(&refused).contains(&report), "{}\n{report}", errors(&refused));
    let kept = fs::read_to_string(to.join("refused.txt")).expect("the reasons are kept");
    assert!(kept.contains(&report), "{kept}");
    folder.write("disk/gateway.toml", 0o755, VPN);
    folder.write("disk/friends.key", 0o755, "WG8TkW3h5Wq4S8a3r6rY0Qx1c2d3e4f5g6h7i8j9k1A=\n");
    let taken = run();
    assert_eq!(taken.status.code(), Some(0), "{}", text(&taken));
    assert_eq!(mode(&to.join("friends.key")), 0o600);
    assert_eq!(genkan(&["check"], &to.join("gateway.toml")).status.code(), Some(0));
    assert!(!to.join("refused.txt").exists());
    assert!(text(&run()).contains("nothing changes"));
}
