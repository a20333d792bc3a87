//! `genkan demo`: what it shows, what it leaves behind (nothing), and how it ends when something goes wrong.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use data_encoding::{BASE64, HEXLOWER};
use genkan_tests::gateway::program;
use genkan_tests::lab::Lab;
use genkan_tests::netns::text;
use genkan_tests::recording::read;
use genkan_tests::wait_for;

const NAMESPACES: [&str; 4] = ["genkan-far", "genkan-isp", "genkan-gateway", "genkan-client"];

/// What the machine looks like from outside of the demo.
#[derive(Debug, PartialEq, Eq)]
struct Machine {
    links: Vec<String>,
    resolver: Option<(String, i64, u64)>,
    temporary: Vec<String>,
    namespaces: Vec<&'static str>,
}

impl Machine {
    fn now() -> Machine {
        let links = Command::new("ip").args(["-o", "link", "show"]).output().expect("ip is there");
        let mut links: Vec<String> =
            text(&links).lines().filter_map(|line| Some(line.split(": ").nth(1)?.to_owned())).collect();
        links.sort();
        let resolver = fs::metadata("/etc/resolv.conf").ok().map(|file| {
            let content = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
            (content, file.mtime(), file.ino())
        });
        let mut temporary = names(&std::env::temp_dir());
        temporary.retain(|name| name.starts_with("genkan-demo-"));
        let made = |name: &&str| Path::new("/run/netns").join(name).exists();
        let namespaces = NAMESPACES.into_iter().filter(made).collect();
        Machine { links, resolver, temporary, namespaces }
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Processes whose command line holds `part`.
fn processes(part: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let lines = entries.filter_map(|entry| fs::read_to_string(entry.path().join("cmdline")).ok());
    lines.filter(|line| line.contains(part)).map(|line| line.replace('\0', " ")).collect()
}

/// A demo that runs. The lab keeps other labs, and so other demos, away.
struct Demo {
    child: Child,
    folder: PathBuf,
    before: Machine,
    lab: Lab,
}

impl Demo {
    /// Starts it by `command`, in a folder that everybody may write to.
    #[track_caller]
    fn start(name: &str, command: impl FnOnce(&Path) -> Command) -> Demo {
        let lab = Lab::alone(name);
        let folder = std::env::temp_dir().join(format!("genkan-test-demo-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("the temporary folder can be written");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).expect("a mode can be set");
        fs::copy(program(), folder.join("genkan")).expect("the temporary folder can be written");
        let before = Machine::now();
        assert_eq!((before.temporary.len(), before.namespaces.len()), (0, 0), "an old demo left {before:?}");
        let out = File::create(folder.join("out.txt")).expect("the temporary folder can be written");
        let mut command = command(&folder);
        command.current_dir(&folder).process_group(0).stdin(Stdio::null());
        command.stdout(out.try_clone().expect("a file can be shared")).stderr(out);
        let child = command.spawn().expect("the demo can be started");
        Demo { child, folder, before, lab }
    }

    fn as_root(name: &str) -> Demo {
        Demo::start(name, |folder| {
            let mut command = Command::new(folder.join("genkan"));
            command.arg("demo");
            command
        })
    }

    fn out(&self) -> String {
        fs::read_to_string(self.folder.join("out.txt")).unwrap_or_default()
    }

    #[track_caller]
    fn wait_out(&mut self, part: &str) {
        let child = &mut self.child;
        let file = self.folder.join("out.txt");
        wait_for(&format!("the demo to say {part}"), Duration::from_secs(60), || {
            let out = fs::read_to_string(&file).unwrap_or_default();
            if out.contains(part) {
                return Ok(());
            }
            let ended = child.try_wait().ok().flatten();
            assert_eq!(ended, None, "it ended before: {out}");
            Err(out)
        });
    }

    /// Waits for its end, sees that nothing is left, and returns the exit status.
    #[track_caller]
    fn end(&mut self) -> Option<i32> {
        let (child, file) = (&mut self.child, self.folder.join("out.txt"));
        let status = wait_for("the demo's end", Duration::from_secs(60), || {
            let out = || fs::read_to_string(&file).unwrap_or_default();
            child.try_wait().ok().flatten().ok_or_else(out)
        });
        assert_eq!(Machine::now(), self.before, "{}", self.out());
        let left = processes("/genkan-demo-");
        assert!(left.is_empty(), "{left:?}");
        let left = processes(&self.folder.join("genkan").display().to_string());
        assert!(left.is_empty(), "{left:?}");
        status.code()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the demo said\n{}", self.out());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The steps, in their order.
const STEPS: [&str; 12] = [
    "gateway", "ISP", "session", "lease", "IPv6", "ping", "name", "capture", "page", "download", "upload",
    "stop",
];

#[track_caller]
fn assert_shows_everything(out: &str) {
    let mut rest = out;
    for step in STEPS {
        let line = format!("✓ {step}");
        let at = rest.find(&line).unwrap_or_else(|| panic!("no {line} in its place: {out}"));
        rest = &rest[at..];
    }
    for part in
        ["dialling", "is open; negotiating PPP", "by CHAP", "online: address", "Mbit/s", "wan isp: up for"]
    {
        assert!(out.contains(part), "no `{part}`: {out}");
    }
    let last = out.lines().last().unwrap_or_default();
    assert!(last.starts_with("✓ The demo worked"), "{last}");
    assert!(!out.contains('✗') && !out.contains('\u{1b}'), "no colours in a file: {out}");
}

#[test]
fn it_works_leaves_nothing_and_its_capture_holds_the_session_and_no_secret() {
    let mut demo = Demo::as_root("demo");
    demo.wait_out("✓ gateway");
    let directory = std::env::temp_dir().join(format!("genkan-demo-{}", demo.child.id()));
    assert_eq!(fs::metadata(&directory).map(|folder| folder.mode() & 0o777).ok(), Some(0o700));
    let secret = fs::read_to_string(directory.join("isp.secret")).expect("the demo runs").trim().to_owned();
    assert!(!secret.is_empty());
    assert!(processes(&secret).is_empty());
    assert_eq!(demo.end(), Some(0));
    let out = demo.out();
    assert_shows_everything(&out);

    let path = demo.folder.join("genkan-demo.pcapng");
    let output = Command::new("tshark").arg("-n").arg("-r").arg(&path).output().expect("tshark");
    assert!(output.status.success(), "{}", text(&output));
    let told = text(&output);
    for part in ["PADI", "PADO", "PADR", "PADS", "PPP LCP", "PPP CHAP", "PPP IPCP", "PPP IPV6CP", "DHCPv6"] {
        assert!(told.contains(part), "no {part}: {told}");
    }
    let capture = fs::read(&path).expect("the capture can be read");
    let spelled = [secret.clone(), HEXLOWER.encode(secret.as_bytes()), BASE64.encode(secret.as_bytes())];
    for shape in &spelled {
        assert!(!capture.windows(shape.len()).any(|part| part == shape.as_bytes()) && !out.contains(shape));
    }
    // The first frame of all is there, and no CHAP Response has its value.
    let frames = read(&path);
    assert!(frames.iter().all(|frame| frame.port == "wan0"));
    assert_eq!(frames.iter().find_map(|frame| frame.discovery()), Some(0x09), "a PADI is the first");
    let response = |ppp: &&[u8]| ppp[..3] == [0xc2, 0x23, 2];
    let response = frames.iter().filter_map(|frame| frame.ppp()).find(response).expect("a CHAP Response");
    assert_eq!(&response[6..23], &[&[16][..], &[b'*'; 16]].concat());
}

/// A signal comes when the demo has said so much: 130, and nothing is left.
#[track_caller]
fn interrupted(name: &str, moments: &[&str], signal: impl Fn(u32) -> Vec<String>) {
    for moment in moments {
        let mut demo = Demo::as_root(name);
        demo.wait_out(moment);
        let arguments = signal(demo.child.id());
        assert!(Command::new("kill").args(arguments).status().is_ok_and(|status| status.success()));
        assert_eq!(demo.end(), Some(130), "after {moment}: {}", demo.out());
        let out = demo.out();
        assert!(out.lines().last().is_some_and(|line| line.contains("Interrupted")), "{out}");
        assert!(!out.contains("panicked"), "{out}");
    }
}

#[test]
fn ctrl_c_at_any_moment_cleans_up() {
    // A terminal sends it to every process of the group.
    let to_all = |id: u32| vec!["-INT".into(), "--".into(), format!("-{id}")];
    let moments = [
        "An ISP, a gateway",
        "── The line",
        "✓ gateway",
        "✓ ISP",
        "✓ session",
        "✓ lease",
        "✓ name",
        "✓ download",
    ];
    interrupted("demo-interrupt", &moments, to_all);
}

#[test]
fn sigterm_at_any_moment_cleans_up() {
    let to_one = |id: u32| vec!["-TERM".into(), id.to_string()];
    let moments = [
        "An ISP, a gateway",
        "✓ gateway",
        "✓ ISP",
        "✓ session",
        "✓ lease",
        "✓ ping",
        "✓ capture",
        "✓ upload",
    ];
    interrupted("demo-terminate", &moments, to_one);
}

/// A demo on a machine whose /usr/sbin is what `prepare` makes of an empty one, `$new`.
fn with_sbin(name: &str, prepare: &str) -> Demo {
    Demo::start(name, |folder| {
        let script = format!(
            "set -e; new=$(mktemp -d {0}/sbin.XXXX); {prepare}; mount --bind $new /usr/sbin; exec {0}/genkan demo",
            folder.display()
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script]);
        command
    })
}

#[test]
fn without_a_dhcp_client_it_fails_says_what_to_do_and_cleans_up() {
    let mut demo = with_sbin("demo-no-client", "true");
    assert_eq!(demo.end(), Some(1), "{}", demo.out());
    let out = demo.out();
    assert!(out.contains("✗ lease") && out.contains("apt-get install udhcpc"), "{out}");
    assert!(out.lines().last().is_some_and(|line| line.starts_with("✗ The demo failed: lease")), "{out}");
}

#[test]
fn a_dhcp_client_that_does_not_work_fails_its_step() {
    let client =
        "printf '#!/bin/sh\\necho no luck today >&2\\nexit 3\\n' >$new/udhcpc; chmod 755 $new/udhcpc";
    let mut demo = with_sbin("demo-bad-client", client);
    assert_eq!(demo.end(), Some(1), "{}", demo.out());
    assert!(demo.out().contains("✗ lease     udhcpc got none: no luck today"), "{}", demo.out());
}

#[test]
fn dhclient_does_where_udhcpc_is_not_and_leaves_no_daemon() {
    let mut demo = with_sbin("demo-dhclient", "cp /usr/sbin/dhclient $new/");
    assert_eq!(demo.end(), Some(0), "{}", demo.out());
    assert_shows_everything(&demo.out());
    assert!(demo.out().contains("by dhclient"), "{}", demo.out());
    let left = processes("dhclient");
    assert!(left.is_empty(), "{left:?}");
}

const NOBODY: [&str; 5] = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];

#[test]
fn a_user_without_privileges_runs_it_in_a_user_namespace() {
    let unprivileged = |folder: &Path| {
        let mut command = Command::new("setpriv");
        command.args(NOBODY).args(["--bounding-set", "-all"]).arg(folder.join("genkan")).arg("demo");
        command
    };
    let mut demo = Demo::start("demo-user", unprivileged);
    assert_eq!(demo.end(), Some(0), "{}", demo.out());
    assert_shows_everything(&demo.out());
    let capture = fs::metadata(demo.folder.join("genkan-demo.pcapng")).expect("its capture is there");
    assert_eq!(capture.uid(), 65534, "it is the user's");

    drop(demo);
    let mut demo = Demo::start("demo-user-interrupt", unprivileged);
    demo.wait_out("✓ session");
    let group = format!("-{}", demo.child.id());
    assert!(Command::new("kill").args(["-INT", "--", &group]).status().is_ok_and(|status| status.success()));
    assert_eq!(demo.end(), Some(130), "{}", demo.out());
}

#[test]
fn a_user_who_may_not_is_told_what_to_do() {
    // A user namespace in which no other can be made; its limits are its own.
    let mut owner =
        Command::new("unshare").args(["--user", "sleep", "60"]).spawn().expect("unshare is there");
    let maps = ["uid_map", "gid_map"].map(|map| format!("/proc/{}/{map}", owner.id()));
    wait_for("a user namespace", Duration::from_secs(5), || {
        let other =
            fs::read_link(format!("/proc/{}/ns/user", owner.id())).map_err(|error| error.to_string())?;
        let own = fs::read_link("/proc/self/ns/user").map_err(|error| error.to_string())?;
        if own != other { Ok(()) } else { Err("not yet".into()) }
    });
    for map in maps {
        fs::write(map, "0 0 65536").expect("root may map");
    }
    let id = owner.id().to_string();
    let mut demo = Demo::start("demo-user-refused", |folder| {
        let script = format!(
            "echo 0 >/proc/sys/user/max_user_namespaces && exec setpriv {} {}/genkan demo",
            NOBODY.join(" "),
            folder.display()
        );
        let mut command = Command::new("nsenter");
        command.args(["--user", "--target", &id, "sh", "-c", &script]);
        command
    });
    let code = demo.end();
    owner.kill().expect("it can be ended");
    owner.wait().expect("a child can be waited for");
    assert_eq!(code, Some(1), "{}", demo.out());
    let out = demo.out();
    assert!(out.contains("sudo") && out.lines().count() == 1, "{out}");
}

#[test]
fn two_demos_do_not_get_into_each_others_way() {
    let mut demo = Demo::as_root("demo-two");
    demo.wait_out("✓ ISP");
    let second = Command::new(program()).arg("demo").current_dir(&demo.folder).output().expect("it starts");
    assert_eq!(second.status.code(), Some(1), "{}", text(&second));
    assert!(text(&second).contains("another demo is running"), "{}", text(&second));
    assert_eq!(demo.end(), Some(0), "{}", demo.out());
    assert!(demo.lab.folder().exists());
}

#[test]
fn what_a_killed_demo_left_is_no_hindrance() {
    let mut demo = Demo::as_root("demo-killed");
    demo.wait_out("✓ session");
    demo.child.kill().expect("it can be killed");
    demo.child.wait().expect("a child can be waited for");
    assert_eq!(Machine::now().namespaces, NAMESPACES);
    let out = File::create(demo.folder.join("out.txt")).expect("the temporary folder can be written");
    let again = demo.folder.join("genkan");
    let again = Command::new(again).arg("demo").current_dir(&demo.folder).stdout(out).spawn();
    demo.child = again.expect("the demo can be started");
    assert_eq!(demo.end(), Some(0), "{}", demo.out());
    assert_shows_everything(&demo.out());
}
