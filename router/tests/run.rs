//! `genkan run` and what may befall it: signals, devices that go and come back, a log nobody reads, clients that stall.
//!
//! Each test has a network namespace and a folder of its own. They need root.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use genkan::capture::Wanted;
use genkan::{control, netns};
use rustix::process::{Pid, Signal, kill_process};

/// Longest wait for anything.
const LIMIT: Duration = Duration::from_secs(10);

/// A gateway with a card `eth0` towards the ISP and a tap device `tap0` for its LAN.
struct Gateway {
    namespace: String,
    folder: PathBuf,
    program: Option<Child>,
}

impl Gateway {
    fn start(name: &str) -> Gateway {
        let gateway = Gateway::prepare(name);
        gateway.run(|folder| Stdio::from(File::create(folder.join("log")).unwrap()))
    }

    /// The namespace, the card and the files, and nothing that runs.
    fn prepare(name: &str) -> Gateway {
        let namespace = format!("genkan-{}-{name}", std::process::id());
        netns::create(&namespace)
            .unwrap_or_else(|error| panic!("cannot make {namespace} (run as root): {error}"));
        let folder = std::env::temp_dir().join(&namespace);
        fs::create_dir_all(&folder).unwrap();
        let gateway = Gateway { namespace, folder, program: None };
        gateway.plug();
        fs::write(gateway.path("isp.secret"), "secret\n").unwrap();
        fs::set_permissions(gateway.path("isp.secret"), fs::Permissions::from_mode(0o600)).unwrap();
        gateway.configure("");
        gateway
    }

    /// Writes the configuration, with `more` at its end.
    fn configure(&self, more: &str) {
        let text = format!(
            "[system]\nstate-dir = {:?}\ncontrol = {:?}\n\
             [port.wan0]\nnic = \"eth0\"\n[port.lan0]\ntap = \"tap0\"\n\
             [wan.isp]\nport = \"wan0\"\npppoe = {{ username = \"u\", password-file = \"isp.secret\" }}\n\
             [lan.home]\nports = [\"lan0\"]\naddress = \"192.168.1.1/24\"\n{more}\n",
            self.path("state"),
            self.path("sock"),
        );
        fs::write(self.path("gateway.toml"), text).unwrap();
    }

    fn run(mut self, errors: impl FnOnce(&Path) -> Stdio) -> Gateway {
        let mut command = self.command();
        command.stdin(Stdio::null()).stderr(errors(&self.folder));
        self.program = Some(netns::run(&self.namespace, || command.spawn()).unwrap().unwrap());
        self.wait("answer on the control socket", || control::status(&self.path("sock")).is_ok());
        self
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_genkan"));
        command.arg("run").arg(self.path("gateway.toml"));
        command
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn sh(&self, command: &str) {
        let status =
            netns::run(&self.namespace, || Command::new("sh").args(["-ec", command]).status()).unwrap();
        assert!(status.unwrap().success(), "{command}");
    }

    /// Puts the card in.
    fn plug(&self) {
        self.sh("ip link add eth0 address 02:00:00:00:00:01 type veth peer name isp0; ip link set isp0 up");
    }

    fn pid(&self) -> Pid {
        Pid::from_child(self.program.as_ref().unwrap())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn logged(&self, what: &str) -> bool {
        self.log().contains(what)
    }

    #[track_caller]
    fn wait(&self, what: &str, done: impl Fn() -> bool) {
        let start = Instant::now();
        while !done() {
            assert!(start.elapsed() < LIMIT, "it does not {what}; its log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[track_caller]
    fn wait_logged(&self, what: &str) {
        self.wait(&format!("log `{what}`"), || self.logged(what));
    }

    /// What a port has carried.
    fn count(&self, port: usize, key: &str) -> u64 {
        control::status(&self.path("sock")).unwrap()["ports"][port][key].as_u64().unwrap()
    }

    /// Processor time that it has used.
    fn work(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid().as_raw_nonzero())).unwrap();
        let fields: Vec<u64> =
            stat.rsplit(')').next().unwrap().split_whitespace().map(|f| f.parse().unwrap_or(0)).collect();
        // User and system time in ticks of 10 ms.
        Duration::from_millis((fields[11] + fields[12]) * 10)
    }

    /// Asks it to end, and it does.
    #[track_caller]
    fn end(mut self) -> Gateway {
        kill_process(self.pid(), Signal::TERM).unwrap();
        let start = Instant::now();
        while start.elapsed() < LIMIT {
            if let Some(status) = self.program.as_mut().unwrap().try_wait().unwrap() {
                assert!(status.success(), "{status}; its log:\n{}", self.log());
                return self;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("it did not end; its log:\n{}", self.log());
    }
}

impl Drop for Gateway {
    /// Ends it, and panics when it was refused a system call that it needs, or its accounts were wrong.
    fn drop(&mut self) {
        if let Some(mut program) = self.program.take() {
            let _ = program.kill();
            let _ = program.wait();
        }
        let log = self.log();
        let _ = netns::delete(&self.namespace);
        let _ = fs::remove_dir_all(&self.folder);
        let fault = log.lines().find(|line| line.contains("a fault of the router"));
        assert!(std::thread::panicking() || fault.is_none(), "{}", fault.unwrap_or_default());
    }
}

/// Lesson 17: it is said first what a change will drop.
#[test]
fn a_hang_up_has_the_configuration_read_and_tells_what_a_restart_would_change() {
    let gateway = Gateway::start("hup");
    let hang_up = || kill_process(gateway.pid(), Signal::HUP).unwrap();
    hang_up();
    gateway.wait_logged("it changes nothing");
    gateway.configure("[concentrator.bras]\nport = \"lan0\"\n");
    hang_up();
    gateway.wait_logged("the gateway goes on as it is");
    gateway.wait_logged("gateway.toml:1");
    gateway.configure("domain = \"lan\"\n");
    hang_up();
    gateway.wait_logged("at a restart: lan.home changed: its hosts keep their leases if they still fit");
    gateway.end();
}

#[test]
fn a_log_that_nobody_reads_any_more_does_not_end_the_gateway() {
    let mut gateway = Gateway::prepare("log").run(|_| Stdio::piped());
    drop(gateway.program.as_mut().unwrap().stderr.take());
    kill_process(gateway.pid(), Signal::HUP).unwrap();
    gateway.sh("ip link del tap0");
    std::thread::sleep(Duration::from_millis(500));
    assert!(control::status(&gateway.path("sock")).is_ok());
    gateway.end();
}

#[test]
fn a_tap_device_that_is_deleted_is_made_again_and_costs_no_processor_time_meanwhile() {
    let gateway = Gateway::start("tap");
    gateway.sh("ip link del tap0");
    gateway.wait_logged("port lan0: works again");
    // The next look at the port is a second away: time enough to put something else in its place.
    let before = gateway.work();
    gateway.sh("ip link del tap0; ip link add tap0 type veth peer name other0");
    gateway.wait_logged("tap0 exists but is not a tap device");
    std::thread::sleep(Duration::from_secs(2));
    let spent = gateway.work() - before;
    assert!(spent < Duration::from_millis(300), "{spent:?}");
    assert_eq!(gateway.log().matches("is not a tap device").count(), 1, "{}", gateway.log());
    gateway.sh("ip link del tap0");
    gateway.wait("make the device again", || gateway.log().matches("port lan0: works again").count() == 2);
    gateway.sh("ip link set tap0 address 02:00:00:00:00:02; ip addr add 192.168.1.2/24 dev tap0; ping -c 3 -i 0.2 192.168.1.1");
    assert!(gateway.count(1, "tx") > 0);
    gateway.end();
}

#[test]
fn a_card_that_is_unplugged_is_taken_again_when_it_comes_back() {
    let gateway = Gateway::start("card");
    gateway.wait("dial", || gateway.count(0, "tx") > 0);
    gateway.sh("ip link del eth0");
    gateway.wait_logged("eth0 is gone");
    assert!(control::status(&gateway.path("sock")).unwrap()["ports"][0]["trouble"].is_string());
    let sent = gateway.count(0, "tx");
    assert!(sent > 0, "what the card has carried is not forgotten");
    gateway.plug();
    gateway.wait_logged("port wan0: works again");
    gateway.wait("dial again", || gateway.count(0, "tx") > sent);
    gateway.end();
}

#[test]
fn a_card_that_goes_down_and_is_unplugged_later_is_noticed() {
    let gateway = Gateway::start("down");
    gateway.sh("ip link set eth0 down");
    gateway.wait_logged("port wan0: receiving on eth0");
    gateway.sh("ip link set eth0 up");
    gateway.wait_logged("port wan0: works again");
    gateway.sh("ip link set eth0 down; ip link del eth0");
    gateway.wait_logged("eth0 is gone");
    assert_eq!(gateway.log().matches("receiving on eth0").count(), 2, "{}", gateway.log());
    gateway.end();
}

#[test]
fn clients_that_say_nothing_or_read_nothing_keep_nobody_from_the_gateway() {
    let gateway = Gateway::start("clients");
    let socket = gateway.path("sock");
    let connect = || UnixStream::connect(&socket).unwrap();
    let mut garbage = connect();
    garbage.write_all(b"\xff\x00{}\n").unwrap();
    let mut text = String::new();
    let _ = garbage.read_to_string(&mut text);
    // A capture that is never read, of a flood.
    let capture = control::capture(&socket, &Wanted::default()).unwrap();
    let flood = "ip addr add 192.168.1.2/24 dev tap0; ping -q -f -c 20000 -s 1400 -w 5 192.168.1.1 || true";
    gateway.sh(flood);
    assert!(gateway.count(1, "rx") > 1000, "frames still pass");
    drop(capture);
    // More than are served, all silent: those beyond are told so, and the others lose their places in time.
    let silent: Vec<UnixStream> = (0..300).map(|_| connect()).collect();
    let refused = control::status(&socket).unwrap_err().to_string();
    assert!(refused.contains("others are served already"), "{refused}");
    let start = Instant::now();
    while control::status(&socket).is_err() {
        assert!(start.elapsed() < 2 * LIMIT, "silent clients keep their places");
        std::thread::sleep(Duration::from_millis(200));
    }
    drop(silent);
    gateway.end();
}

#[test]
fn a_stale_socket_is_replaced_and_anything_else_in_its_place_is_left_alone() {
    let mut gateway = Gateway::start("stale");
    let mut program = gateway.program.take().unwrap();
    program.kill().unwrap();
    program.wait().unwrap();
    assert!(gateway.path("sock").exists());
    let gateway = gateway.run(|folder| Stdio::from(File::create(folder.join("log")).unwrap()));
    let mode = fs::metadata(gateway.path("sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let socket = gateway.path("sock");
    let gateway = gateway.end();
    assert!(!socket.exists(), "it is taken away at the end");
    fs::write(&socket, "precious").unwrap();
    let output = netns::run(&gateway.namespace, || gateway.command().output()).unwrap().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is not a socket"));
    assert_eq!(fs::read_to_string(&socket).unwrap(), "precious");
}
