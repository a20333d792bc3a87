//! Lesson "credentials in logs, `ps`, captures": a password and a VPN's private key are looked for everywhere.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use data_encoding::{BASE64, HEXLOWER, HEXUPPER};
use genkan_tests::gateway::program;
use genkan_tests::lab::{PASSWORD, WEB};
use genkan_tests::netns::text;
use genkan_tests::peers::Authentication;
use genkan_tests::recording::Recording;
use genkan_tests::street::Street;
use genkan_tests::terminal::Terminal;
use genkan_tests::topology::{Dial, Terms};
use genkan_tests::wait_for;

/// The VPN's private key.
const KEY: [u8; 32] = *b"\xa8genkan's own private canary key";

/// The octets that give a secret away: itself, in hex, and in base64 wherever it stands in what was encoded.
fn shapes(secret: &[u8]) -> Vec<Vec<u8>> {
    let mut shapes = vec![secret.to_vec()];
    shapes.push(HEXLOWER.encode(secret).into_bytes());
    shapes.push(HEXUPPER.encode(secret).into_bytes());
    // UTF-16, as MS-CHAP hashes a password.
    shapes.push(secret.iter().flat_map(|&octet| [octet, 0]).collect());
    // As a debugging print of octets.
    shapes.push(format!("{secret:?}").trim_matches(['[', ']']).as_bytes().to_vec());
    for shift in 0..3 {
        let whole = (secret.len() - shift) / 3 * 3;
        shapes.push(BASE64.encode(&secret[shift..shift + whole]).into_bytes());
    }
    shapes
}

#[track_caller]
fn assert_clean(place: &str, octets: &[u8]) {
    for (name, secret) in [("password", PASSWORD.as_bytes()), ("private key", &KEY)] {
        for shape in shapes(secret) {
            let found = octets.windows(shape.len()).position(|window| window == shape);
            let shown = String::from_utf8_lossy(&shape);
            assert_eq!(found, None, "{place} holds the {name}, as {shown}");
        }
    }
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { all.extend(files(&path)) } else { all.push(path) }
    }
    all
}

#[test]
fn the_search_finds_what_is_there() {
    let found = |text: &[u8]| {
        shapes(PASSWORD.as_bytes()).iter().any(|shape| text.windows(shape.len()).any(|w| w == shape))
    };
    assert!(found(format!("password={PASSWORD}").as_bytes()));
    for lead in ["", "x", "xy"] {
        assert!(found(BASE64.encode(format!("{lead}{PASSWORD}!").as_bytes()).as_bytes()), "{lead}");
    }
    assert!(found(format!("{:?}", PASSWORD.as_bytes()).as_bytes()));
    assert!(!found(b"correct horse batter"));
}

/// TR-124 WAN.PPP.6: passwords are never shown.
fn life(method: Authentication) {
    let terms = Terms { authentication: method, ..Terms::default() };
    let folder = scratch();
    let key = secret(&folder, "vpn.key", &BASE64.encode(&KEY));
    let public = BASE64.encode(&[9; 32]);
    let vpn = format!(
        "[vpn.away]\nprivate-key-file = {key:?}\naddress = \"10.77.0.1/24\"\n[[vpn.away.peer]]\nname = \"nobody\"\n\
         public-key = \"{public}\"\nendpoint = \"{WEB}:51820\"\nallowed-ips = [\"10.77.0.2/32\"]\nkeepalive = \"5s\"\n"
    );
    let mut street = Street::new(&format!("secrets-{method}"), Dial::default(), terms, &vpn);
    street.wait_up();
    street.gateway.kill();
    street.boot_anew();
    let at_isp = Recording::start(&street.lab, &street.isp, "isp", &[]);
    let mut street = street.restart();
    let at_gateway = Recording::start(&street.lab, &street.gateway, "gateway", &[]);
    street.wait_up();
    // A second authentication, so that the gateway's capture has one from its first frame on.
    street.isp.kill();
    let down = || match street.gateway.wan("isp") {
        Ok(wan) if wan.state != "up" => Ok(()),
        other => Err(format!("{other:?}")),
    };
    wait_for("the session to be missed", Duration::from_secs(20), down);
    street.isp = street.isp.again(&street.lab, &street.provider.namespace);
    street.wait_up();
    street.lab.lease(&street.house.desk, "eth0");
    street.house.desk.run(&format!("ping -c 1 -W 2 {WEB}"));

    for (role, genkan) in [("gateway", &street.gateway), ("isp", &street.isp)] {
        for arguments in [&[][..], &["--json"]] {
            let status = genkan.command("status", arguments);
            assert!(status.status.success(), "{}", text(&status));
            assert_clean(&format!("{role}'s status"), text(&status).as_bytes());
        }
        let mut console = Command::new(program());
        console.arg("console").arg(genkan.config());
        let mut console = Terminal::start(console);
        let shown = console.wait("kernel path: ");
        assert_clean(&format!("{role}'s console"), shown.as_bytes());
        assert_clean(&format!("{role}'s check"), text(&genkan.command("check", &[])).as_bytes());
        let process = PathBuf::from(format!("/proc/{}", genkan.process()));
        for file in ["cmdline", "environ", "status", "comm"] {
            let octets = fs::read(process.join(file)).expect("a process that runs can be looked at");
            assert!(!octets.is_empty());
            assert_clean(&format!("{role}'s {file}"), &octets);
        }
        let limits = fs::read_to_string(process.join("limits")).expect("a process that runs has limits");
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap_or_default();
        let core: Vec<_> = core.split_whitespace().skip(4).take(2).collect();
        assert_eq!(core, ["1", "1"], "{role} may leave its memory on a disk");
        for thread in fs::read_dir(process.join("task")).expect("it has threads").flatten() {
            assert_clean("a thread's name", &fs::read(thread.path().join("comm")).unwrap_or_default());
        }
    }
    let ring = street.lab.logs().join("ring.pcapng");
    let asked = street.gateway.command("capture", &["--ring", "--write", &ring.display().to_string()]);
    assert!(asked.status.success(), "{}", text(&asked));
    for (role, recording) in [("isp", &at_isp), ("gateway", &at_gateway)] {
        let frames = recording.frames();
        let protocol = if method == Authentication::Pap { [0xc0, 0x23] } else { [0xc2, 0x23] };
        let asked = frames.iter().filter_map(|frame| frame.ppp()).any(|ppp| ppp[..2] == protocol);
        assert!(asked, "{role}'s capture has no authentication: {} frames", frames.len());
    }
    street.gateway.kill();
    let street = street.restart();
    street.wait_up();
    let lab = &street.lab;
    let (mut searched, mut saved) = (0, 0);
    for path in files(&lab.logs()).into_iter().chain(files(lab.folder())) {
        // Where the user has put it.
        if path.ends_with("isp.secret") || path.ends_with("users.toml") {
            continue;
        }
        let octets = fs::read(&path).unwrap_or_default();
        assert_clean(&path.display().to_string(), &octets);
        searched += usize::from(!octets.is_empty());
        // The session that fell has left what passed before it.
        saved += usize::from(
            path.to_string_lossy().contains("/captures/")
                && path.extension().is_some_and(|ending| ending == "pcapng"),
        );
        let panicked = octets.windows(9).any(|window| window == b"panicked ");
        assert!(!panicked, "{}: {}", path.display(), String::from_utf8_lossy(&octets));
    }
    assert!(saved > 0, "the ring was saved nowhere");
    assert!(searched >= 6, "only {searched} files: two logs, two captures, two configurations, states");
    fs::remove_dir_all(folder).expect("the folder can be removed");
}

/// A folder of this test's own.
fn scratch() -> PathBuf {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("genkan-secrets-{}-{number}", std::process::id()));
    fs::create_dir_all(&folder).expect("the temporary folder can be written");
    folder
}

/// Writes a file that nobody else may read.
fn secret(folder: &Path, name: &str, content: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, content).expect("the temporary folder can be written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a mode can be set");
    path
}

#[test]
fn tr124_wan_ppp_6_pap() {
    life(Authentication::Pap);
}

#[test]
fn tr124_wan_ppp_6_chap_md5() {
    life(Authentication::ChapMd5);
}

#[test]
fn tr124_wan_ppp_6_ms_chap_v2() {
    life(Authentication::MsChapV2);
}

/// A mistake on the line with the password is shown without it.
#[test]
fn check_shows_no_password_that_stands_in_a_wrong_place() {
    let folder = scratch();
    let write = |name: &str, content: &str| secret(&folder, name, content);
    let rest = "[port.wan0]\nnic = \"lo\"\n[port.lan0]\ntap = \"tap0\"\n[lan.home]\nports = [\"lan0\"]\n\
                address = \"192.168.1.1/24\"\n";
    let users =
        "[concentrator.bras]\nport = \"wan0\"\npool = \"100.64.0.0/16\"\nusers-file = \"users.toml\"\n";
    let quoted = format!("{PASSWORD:?}");
    for (number, (wan, user)) in [
        (format!("pppoe.password = {quoted}"), String::new()),
        (format!("pppoe.pasword = {quoted}"), String::new()),
        (format!("pppoe.password = {PASSWORD}"), String::new()),
        (format!("pppoe.password = \"{PASSWORD}"), String::new()),
        (format!("pppoe = {{ username = \"u\", password = {quoted} }}"), String::new()),
        (format!("pppoe.password-file = {quoted}"), String::new()),
        (String::new(), format!("[[user]]\nname = \"u\"\npassword = {PASSWORD}\n")),
        (String::new(), format!("[[user]]\nname = \"u\"\npassword = \"{PASSWORD}\n")),
        (String::new(), format!("[[user]]\nname = \"u\"\npasword = {quoted}\n")),
        (String::new(), format!("[[user]]\nname = 5\npassword = [{quoted}]\n")),
    ]
    .into_iter()
    .enumerate()
    {
        let config = if user.is_empty() {
            format!("{rest}[wan.isp]\nport = \"wan0\"\n{wan}\n")
        } else {
            write("users.toml", &user);
            format!("{rest}{users}")
        };
        let file = write("gateway.toml", &config);
        for command in ["check", "run"] {
            let output = Command::new(program()).arg(command).arg(&file).output().expect("it can be started");
            assert_eq!(output.status.code(), Some(2), "{number}: {}", text(&output));
            let said = text(&output);
            // A path is no secret, even one that looks like it.
            if wan.contains("password-file") {
                continue;
            }
            assert_clean(&format!("{command} of {number}: {said}"), said.as_bytes());
        }
        let to = folder.join(format!("config-{number}"));
        let provision =
            Command::new(program()).arg("provision").arg("--to").arg(&to).arg("--from").arg(&folder).output();
        let output = provision.expect("it can be started");
        assert_eq!(output.status.code(), Some(2), "{number}: {}", text(&output));
        let kept = fs::read(to.join("refused.txt")).expect("the reasons are kept");
        if !wan.contains("password-file") {
            assert_clean(&format!("provision of {number}"), text(&output).as_bytes());
            assert_clean(&format!("what is kept of {number}"), &kept);
        }
    }
    fs::remove_dir_all(folder).expect("the folder can be removed");
}
