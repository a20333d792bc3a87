//! The guest router itself: the image that `make image` builds, booted by QEMU without hardware acceleration.
//!
//! ```text
//!  desk eth0 ── br-lan ── eth1  router: the image  eth0 ── br-wan ── eth0  isp: the guest with the real peers ── far host
//! ```
//!
//! A [`Premises`] has the cables and everybody at their ends; [`Premises::boot`] switches a [`Vm`] on. Nothing of the tests' is
//! in it: what is known of it is what its serial console shows ([`Vm::wait_shown`]) and what a shell says that somebody has
//! logged in to there ([`Vm::run`]). A [`Disk`] is a delta image and outlives the [`Vm`]s that run on it.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use data_encoding::BASE64;
use serde_json::{Value, json};

use crate::client::Bulk;
use crate::gateway::Wan;
use crate::guest::Guest;
use crate::lab::{self, GATEWAY, Lab, PASSWORD, USERNAME, WEB, web};
use crate::netns::{Namespace, stop, text, veth};
use crate::peers::Server;
use crate::topology::{Far, guest_isp};
use crate::wait_for;
use crate::watch::{Limits, Watch};

/// In megabytes.
pub const MEMORY: u32 = 256;
const PROCESSORS: u32 = 2;
/// Two pairs of queues for each processor, as libvirt's domain has it.
const QUEUES: u32 = 2 * PROCESSORS;

/// Who logs in at the console types this.
const CONSOLE_PASSWORD: &str = "open sesame";
/// What `openssl passwd -6` makes of it.
const CONSOLE_HASH: &str =
    "$6$genkan$khqOaZFEvUm2n/aLi4qiK8SgD3UFYMyMIVrHZODqIoCuzGQSwYNfsT2sOyQ7gkIRcMuEDe3xcO3YOrkhKPHcp1";

/// The configuration in force, in the guest.
pub const CONFIG: &str = "/var/lib/genkan/config/gateway.toml";

/// A machine that is emulated on a busy one is slow: this is for what it does at most.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// How a router is switched on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boot {
    /// From its disk, by SeaBIOS.
    Bios,
    /// From its disk, by OVMF.
    Uefi,
    /// From the kernel and the initramfs beside the disk.
    Direct,
}

/// Where it finds a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer<'a> {
    /// It finds none.
    Nothing,
    /// On a disk labelled GENKAN, with what is in this folder.
    Disk(&'a Path),
    /// On a disk labelled CIDATA, cloud-init's NoCloud seed, with what is in this folder.
    Seed(&'a Path),
    /// In this folder, by 9p.
    Folder(&'a Path),
    /// In this folder, by virtiofs.
    Share(&'a Path),
    /// On the kernel's command line, with what is in this folder. For [`Boot::Direct`].
    CommandLine(&'a Path),
}

/// What the host's side of the router's cards can do: virtio's offloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offloads {
    /// The host takes large segments and gives whole frames, as libvirt's domain has it.
    FromGuest,
    /// All that QEMU has: the host gives large segments and half checksums, until it is told not to.
    All,
    /// Nothing.
    Off,
}

impl Offloads {
    /// QEMU's options of a card.
    fn options(self) -> &'static str {
        const WHOLE: &str = ",guest_csum=off,guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off";
        const NOTHING: &str = ",csum=off,gso=off,host_tso4=off,host_tso6=off,host_ecn=off,host_ufo=off,\
             guest_csum=off,guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off";
        match self {
            Offloads::FromGuest => WHOLE,
            Offloads::All => "",
            Offloads::Off => NOTHING,
        }
    }
}

/// Both sides of a router, which is not there yet.
#[derive(Debug)]
pub struct Premises {
    /// What the router's cards are like. [`Offloads::FromGuest`] at first.
    pub offloads: Offloads,
    /// What its hardware clock says when it is switched on, in UTC: a date and a time. This machine's, at first.
    pub clock: Option<&'static str>,
    /// A host on its LAN.
    pub desk: Namespace,
    /// pppoe-server and pppd.
    pub isp: Guest,
    /// Behind the ISP.
    pub far: Far,
    /// Where the cables end, and QEMU runs.
    host: Namespace,
    /// The test's world.
    pub lab: Lab,
}

/// What a router keeps: a delta image on a base image.
#[derive(Debug, Clone)]
pub struct Disk {
    path: PathBuf,
}

/// A router that is switched on. It loses its power when dropped.
#[derive(Debug)]
pub struct Vm {
    qemu: Child,
    /// Who serves it a folder by virtiofs.
    virtiofsd: Option<Child>,
    keys: ChildStdin,
    shown: Arc<Mutex<String>>,
    /// How much of that the test has looked at.
    seen: usize,
    monitor: BufReader<UnixStream>,
    started: Instant,
    logged_in: bool,
    lines: u32,
}

/// A file of the image, as `make image` leaves it.
///
/// # Panics
///
/// When it is not there.
#[track_caller]
pub fn image(file: &str) -> PathBuf {
    let path = lab::target().join("image").join(file);
    assert!(path.exists(), "there is no {}: run `make image` first", path.display());
    path
}

impl Premises {
    /// Lays the cables, and has the ISP serve.
    #[track_caller]
    pub fn new(name: &str) -> Premises {
        let lab = Lab::new(name);
        let mut isp = Guest::obtain(&lab);
        let far = guest_isp(&mut isp);
        let (host, desk) = (Namespace::new("host"), Namespace::new("desk"));
        for (number, link) in ["wan", "lan"].into_iter().enumerate() {
            let (bridge, tap) = (format!("br-{link}"), format!("tap{number}"));
            host.ip(&["link", "add", &bridge, "type", "bridge"]);
            host.ip(&["tuntap", "add", &tap, "mode", "tap", "multi_queue"]);
            for device in [&bridge, &tap] {
                host.ip(&["link", "set", device, "up"]);
            }
            host.ip(&["link", "set", &tap, "master", &bridge]);
        }
        isp.plug(0, &host, "wan0");
        veth((&host, "lan0"), (&desk, "eth0"));
        host.ip(&["link", "set", "wan0", "master", "br-wan"]);
        host.ip(&["link", "set", "lan0", "master", "br-lan"]);
        // It takes a while to start a program where every instruction is emulated.
        Server { patience: 60, ..Server::default() }.start(&mut isp);
        Premises { offloads: Offloads::FromGuest, clock: None, desk, isp, far, host, lab }
    }

    /// A folder with a configuration and what belongs to it: the uplink by PPPoE, the LAN, who may log in.
    #[track_caller]
    pub fn offer(&self) -> PathBuf {
        self.offer_of("offer", &configuration())
    }

    /// Such a folder with this configuration.
    #[track_caller]
    pub fn offer_of(&self, name: &str, configuration: &str) -> PathBuf {
        let folder = self.lab.folder().join(name);
        fs::create_dir_all(&folder).expect("the lab's folder can be written");
        for (name, content) in
            [("gateway.toml", configuration), ("isp.secret", PASSWORD), ("console.password", CONSOLE_HASH)]
        {
            fs::write(folder.join(name), format!("{content}\n")).expect("the lab's folder can be written");
        }
        folder
    }

    /// Switches a router on.
    #[track_caller]
    pub fn boot(&self, boot: Boot, disk: &Disk, offer: Offer<'_>) -> Vm {
        let folder = self.lab.folder();
        let mut qemu = self.host.command("qemu-system-x86_64");
        qemu.args(["-nodefaults", "-no-user-config", "-display", "none"]);
        qemu.args(["-M", "q35", "-accel", "tcg", "-cpu", "max"]);
        qemu.args(["-smp", &PROCESSORS.to_string(), "-m", &MEMORY.to_string()]);
        qemu.args(["-device", "virtio-rng-pci", "-vga", "std"]);
        qemu.args(["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"]);
        if let Some(clock) = self.clock {
            qemu.args(["-rtc", &format!("base={clock}")]);
        }
        let monitor = folder.join("monitor");
        let _ = fs::remove_file(&monitor);
        qemu.args(["-qmp", &format!("unix:{},server=on,wait=off", monitor.display())]);
        qemu.args(["-drive", &format!("file={},format=qcow2,if=virtio", disk.path.display())]);
        let mut virtiofsd = None;
        let mut append = String::from("console=tty0 console=ttyS0,115200n8 loglevel=4");
        match offer {
            Offer::Nothing => {}
            Offer::Disk(offered) => {
                qemu.arg("-drive").arg(self.labelled("GENKAN", offered));
            }
            Offer::Seed(offered) => {
                qemu.arg("-drive").arg(self.labelled("CIDATA", &self.seed(offered)));
            }
            Offer::Folder(offered) => {
                let share = format!("local,path={},mount_tag=genkan", offered.display());
                qemu.args(["-virtfs", &format!("{share},security_model=none,readonly=on")]);
            }
            Offer::Share(offered) => {
                let socket = folder.join("share");
                virtiofsd = Some(self.share(offered, &socket));
                // Whoever serves the folder reads and writes the guest's memory.
                let memory = format!("memory-backend-memfd,id=memory,size={MEMORY}M,share=on");
                qemu.args(["-object", &memory, "-numa", "node,memdev=memory"]);
                qemu.args(["-chardev", &format!("socket,id=share,path={}", socket.display())]);
                qemu.args(["-device", "vhost-user-fs-pci,chardev=share,tag=genkan"]);
            }
            Offer::CommandLine(offered) => {
                assert_eq!(boot, Boot::Direct, "who boots from a disk has its command line there");
                let archive = output(Command::new("tar").args(["-cz", "-C"]).arg(offered).arg("."));
                append.push_str(&format!(" genkan.config={}", BASE64.encode(&archive)));
            }
        }
        match boot {
            Boot::Bios => {}
            Boot::Uefi => {
                let variables = folder.join("variables");
                fs::copy("/usr/share/OVMF/OVMF_VARS_4M.fd", &variables)
                    .unwrap_or_else(|error| panic!("no OVMF: {error}; `make setup-test` installs it"));
                let flash = |options: &str| format!("if=pflash,format=raw,{options}");
                qemu.args(["-drive", &flash("readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd")]);
                qemu.args(["-drive", &flash(&format!("file={}", variables.display()))]);
            }
            Boot::Direct => {
                qemu.arg("-kernel").arg(image("vmlinuz")).arg("-initrd").arg(image("initramfs.gz"));
                qemu.args(["-append", &append]);
            }
        }
        for number in 0..2 {
            let netdev =
                format!("tap,id=net{number},ifname=tap{number},script=no,downscript=no,queues={QUEUES}");
            let (vectors, options) = (2 * QUEUES + 2, self.offloads.options());
            let device = format!(
                "virtio-net-pci,netdev=net{number},mac=52:54:00:67:6d:0{number},mq=on,vectors={vectors}{options}"
            );
            qemu.args(["-netdev", &netdev, "-device", &device]);
        }
        let errors = self.lab.log_file("qemu");
        let started = Instant::now();
        qemu.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors);
        let mut qemu = qemu.spawn().unwrap_or_else(|error| panic!("cannot start QEMU: {error}"));
        let keys = qemu.stdin.take().expect("it is a pipe");
        let screen = qemu.stdout.take().expect("it is a pipe");
        let shown = copy(screen, self.lab.log_file("console"));
        let stream = wait_for("QEMU's monitor", Duration::from_secs(20), || {
            UnixStream::connect(&monitor).map_err(|error| error.to_string())
        });
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket takes a timeout");
        let monitor = BufReader::new(stream);
        let mut vm =
            Vm { qemu, virtiofsd, keys, shown, seen: 0, monitor, started, logged_in: false, lines: 0 };
        vm.command("qmp_capabilities");
        vm
    }

    /// Serves a folder by virtiofs, to whoever connects first.
    #[track_caller]
    fn share(&self, folder: &Path, socket: &Path) -> Child {
        let _ = fs::remove_file(socket);
        let source = format!("source={}", folder.display());
        let log = self.lab.log_file("virtiofsd");
        let virtiofsd = Command::new("/usr/lib/qemu/virtiofsd")
            .arg(format!("--socket-path={}", socket.display()))
            .args(["-o", &source])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("no virtiofsd: {error}; `make setup-test` installs it"));
        wait_for("virtiofsd to listen", Duration::from_secs(20), || {
            if socket.exists() { Ok(()) } else { Err(String::from("there is no socket")) }
        });
        virtiofsd
    }

    /// A folder with the user data of cloud-init that writes the files of another one.
    #[track_caller]
    fn seed(&self, folder: &Path) -> PathBuf {
        let seed = self.lab.folder().join("seed");
        fs::create_dir_all(&seed).expect("the lab's folder can be written");
        let mut data = String::from("#cloud-config\nwrite_files:\n");
        for file in fs::read_dir(folder).expect("the lab's folder can be read").flatten() {
            let name = file.file_name().into_string().expect("a name of the tests' own");
            let content = BASE64.encode(&fs::read(file.path()).expect("the lab's folder can be read"));
            data.push_str(&format!("- path: /etc/genkan/{name}\n  encoding: b64\n  content: {content}\n"));
        }
        for (name, content) in [("meta-data", "instance-id: a\n"), ("user-data", &data)] {
            fs::write(seed.join(name), content).expect("the lab's folder can be written");
        }
        seed
    }

    /// Makes a disk with this label, as `genkan-vm` does, with the files of a folder. Returns it as QEMU wants it named.
    #[track_caller]
    fn labelled(&self, label: &str, folder: &Path) -> String {
        let image = self.lab.folder().join("config.img");
        let _ = fs::remove_file(&image);
        File::create(&image).and_then(|file| file.set_len(2 << 20)).expect("the lab's folder can be written");
        output(
            Command::new("mformat")
                .arg("-i")
                .arg(&image)
                .args(["-v", label, "-T", "4096", "-h", "16", "-s", "63", "::"]),
        );
        for file in fs::read_dir(folder).expect("the lab's folder can be read").flatten() {
            output(Command::new("mcopy").arg("-i").arg(&image).arg(file.path()).arg("::"));
        }
        format!("file={},format=raw,if=virtio,read-only=on", image.display())
    }

    /// Waits until the desk reaches the far host, by an address that nobody has leased it.
    #[track_caller]
    pub fn wait_forwarded(&self, vm: &Vm) {
        self.desk.ip(&["address", "replace", "192.168.1.50/24", "dev", "eth0"]);
        self.desk.ip(&["route", "replace", "default", "via", &GATEWAY.to_string()]);
        wait_for("the first packet through the router", PATIENCE, || {
            let ping = self.desk.try_run(&format!("ping -c 1 -W 1 {WEB}"));
            if ping.status.success() { Ok(()) } else { Err(format!("{}{}", text(&ping), vm.tail())) }
        });
        println!("first packet forwarded after {:.1} s", vm.age());
    }

    /// Moves `length` octets down and up, with the offloads of the desk's card on and off, and looks at every frame that
    /// leaves the router.
    #[track_caller]
    pub fn transfers(&self, length: u64) {
        let limits = Limits { ethernet: 1500, pppoe: 1492 };
        for own in ["on", "off"] {
            self.desk.run(&format!("ethtool -K eth0 tx {own} tso {own} gso {own} gro {own}"));
            println!("the desk's offloads are {own}:");
            for way in Bulk::BOTH {
                let watches = ["tap0", "tap1"].map(|tap| (tap, Watch::start(&self.host, tap, limits)));
                way.transfer(&self.desk, web(80), length);
                for (tap, watch) in watches {
                    let data = (tap == "tap1") == (way == Bulk::Down);
                    watch.finish().assert_clean(tap, if data { length / 65_536 } else { 1 });
                }
            }
        }
    }

    /// Has the desk lease an address in place of the IPv4 addresses that it has.
    #[track_caller]
    pub fn lease(&self) -> lab::Lease {
        self.desk.ip(&["-4", "address", "flush", "dev", "eth0"]);
        self.lab.lease(&self.desk, "eth0")
    }
}

/// The configuration of most tests: an uplink by PPPoE that notices soon what becomes of its session, a LAN, and the guest's own
/// place there.
pub fn configuration() -> String {
    format!(
        "[system]\nstate-dir = \"/var/lib/genkan/state\"\n\n\
         [port.wan0]\nnic = \"eth0\"\n\n[port.lan0]\nnic = \"eth1\"\n\n[port.host]\ntap = \"host\"\n\n\
         [wan.isp]\nport = \"wan0\"\npppoe.username = \"{USERNAME}\"\npppoe.password-file = \"isp.secret\"\n\
         pppoe.echo = {{ interval = \"2s\", failures = 5 }}\n\n\
         [lan.home]\nports = [\"lan0\", \"host\"]\naddress = \"{GATEWAY}/24\"\n\
         dhcp = {{ range = \"192.168.1.100-192.168.1.199\", lease = \"12h\" }}\n\n\
         [[lan.home.host]]\nname = \"genkan-guest\"\nmac = \"02:67:6b:00:00:02\"\nipv4 = \"192.168.1.2\"\n"
    )
}

impl Disk {
    /// A new one, on a base image.
    #[track_caller]
    pub fn new(lab: &Lab, base: &Path) -> Disk {
        let path = lab.folder().join("router.qcow2");
        let _ = fs::remove_file(&path);
        output(
            Command::new("qemu-img")
                .args(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"])
                .arg(base)
                .arg(&path),
        );
        Disk { path }
    }

    /// Puts it on another base image.
    #[track_caller]
    pub fn rebase(&self, base: &Path) {
        output(
            Command::new("qemu-img")
                .args(["rebase", "-u", "-f", "qcow2", "-F", "qcow2", "-b"])
                .arg(base)
                .arg(&self.path),
        );
    }

    /// Octets that it takes.
    pub fn length(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |metadata| metadata.len())
    }
}

impl Vm {
    /// Seconds since it was switched on.
    pub fn age(&self) -> f32 {
        self.started.elapsed().as_secs_f32()
    }

    /// The end of what its console has shown.
    pub fn tail(&self) -> String {
        let shown = self.shown.lock().expect("nobody panics with it");
        let start = shown.len().saturating_sub(3000);
        let start = (start..).find(|at| shown.is_char_boundary(*at)).unwrap_or(start);
        format!("\n--- the end of the console\n{}", &shown[start..])
    }

    /// Whether its console has ever shown `words`.
    pub fn has_shown(&self, words: &str) -> bool {
        self.shown.lock().expect("nobody panics with it").contains(words)
    }

    /// Waits until its console shows `words`, beyond what was waited for before.
    #[track_caller]
    pub fn wait_shown(&mut self, words: &str) {
        let what = format!("{words:?} on the console");
        wait_for(&what, PATIENCE, || {
            if let Ok(Some(status)) = self.qemu.try_wait() {
                panic!("QEMU ended with {status}{}", self.tail());
            }
            let found = self.shown.lock().expect("nobody panics with it")[self.seen..].find(words);
            self.seen += found.map_or(0, |at| at + words.len());
            found.map(drop).ok_or_else(|| self.tail())
        });
    }

    /// Waits until the console shows that the uplink is up.
    #[track_caller]
    pub fn wait_online(&mut self) {
        self.wait_shown("wan isp: up for");
        println!("online after {:.1} s", self.age());
    }

    /// Waits until the console shows anything of genkan's own.
    #[track_caller]
    pub fn wait_console(&mut self) {
        self.wait_shown(concat!("version ", env!("CARGO_PKG_VERSION")));
        println!("console after {:.1} s", self.age());
    }

    /// Types at the console.
    #[track_caller]
    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).and_then(|()| self.keys.flush()).expect("QEMU takes keys");
    }

    /// Logs in at the console, whose status is shown. From then on it shows none.
    #[track_caller]
    pub fn log_in(&mut self) {
        self.press("\r");
        self.wait_shown("assword:");
        self.press(&format!("{CONSOLE_PASSWORD}\r"));
        self.wait_shown("genkan# ");
        // A shell without a prompt, and without an editor that would ask where the cursor is. What is typed is not what is
        // said, should it be shown.
        self.press("stty -echo; echo shell''-ready; while read -r line; do eval \"$line\"; done\r");
        self.wait_shown("shell-ready");
        self.logged_in = true;
    }

    /// Runs a line of the shell in the guest, as who has logged in. Returns what it wrote.
    ///
    /// # Panics
    ///
    /// When it fails.
    #[track_caller]
    pub fn run(&mut self, line: &str) -> String {
        self.try_run(line)
            .unwrap_or_else(|told| panic!("in the router, `{line}` failed: {told}{}", self.tail()))
    }

    /// As [`Vm::run`]; what it wrote when it fails is the error.
    #[track_caller]
    pub fn try_run(&mut self, line: &str) -> Result<String, String> {
        if !self.logged_in {
            self.log_in();
        }
        self.lines += 1;
        let number = self.lines;
        self.press(&format!("echo begin''-{number}.; ({line}) 2>&1 </dev/null; echo end''-{number}-$?.\n"));
        self.wait_shown(&format!("begin-{number}."));
        let (start, end) = (self.seen, format!("end-{number}-"));
        self.wait_shown(&end);
        let status = self.seen;
        self.wait_shown(".");
        let shown = self.shown.lock().expect("nobody panics with it");
        let written = shown[start..status - end.len()].replace('\r', "").trim().to_owned();
        match &shown[status..self.seen - 1] {
            "0" => Ok(written),
            status => Err(format!("{written} (status {status})")),
        }
    }

    /// What `genkan status --json` says.
    #[track_caller]
    pub fn status(&mut self) -> Result<Value, String> {
        let told = self.try_run(&format!("genkan status --json {CONFIG}"))?;
        serde_json::from_str(&told).map_err(|error| format!("the status is not JSON: {error}: {told}"))
    }

    /// The addresses that its LAN has leased.
    #[track_caller]
    pub fn leased(&mut self) -> Vec<String> {
        let status = self.status().expect("a status");
        let leases = status["lans"][0]["leases"].as_array().into_iter().flatten();
        leases.filter_map(|lease| lease["address"].as_str().map(String::from)).collect()
    }

    /// The uplink.
    #[track_caller]
    pub fn wan(&mut self) -> Result<Wan, String> {
        Wan::read(&self.status()?, "isp")
    }

    /// Has QEMU do something: "stop", "cont", "system_powerdown".
    #[track_caller]
    pub fn command(&mut self, name: &str) {
        self.request(&json!({ "execute": name }));
    }

    #[track_caller]
    fn request(&mut self, request: &Value) {
        let line = format!("{request}\n");
        self.monitor.get_mut().write_all(line.as_bytes()).expect("QEMU takes commands");
        loop {
            let mut line = String::new();
            let got = self.monitor.read_line(&mut line).expect("QEMU answers");
            assert!(got > 0, "QEMU ended");
            let answer: Value = serde_json::from_str(&line).expect("QEMU answers in JSON");
            assert!(answer.get("error").is_none(), "{request}: {answer}");
            // The others are the greeting and events.
            if answer.get("return").is_some() {
                return;
            }
        }
    }

    /// Presses a key of its keyboard (not of the serial line's), by QEMU's name for it.
    #[track_caller]
    pub fn press_on_keyboard(&mut self, key: &str) {
        let keys = json!([{ "type": "qcode", "data": key }]);
        self.request(&json!({ "execute": "send-key", "arguments": { "keys": keys } }));
    }

    /// Waits until its screen (not the serial line) shows `text`.
    #[track_caller]
    pub fn wait_on_screen(&mut self, text: &str) {
        wait_for(&format!("{text:?} on the screen"), PATIENCE, || {
            let shown = self.try_run("tr -s '\\0 ' ' ' </dev/vcs1")?;
            if shown.contains(text) { Ok(()) } else { Err(shown) }
        });
    }

    /// Presses the power button, and waits until it has switched itself off.
    #[track_caller]
    pub fn switch_off(mut self) {
        self.command("system_powerdown");
        let pressed = Instant::now();
        wait_for("the router to switch itself off", PATIENCE, || match self.qemu.try_wait() {
            Ok(Some(_)) => Ok(()),
            _ => Err(self.tail()),
        });
        println!("off {:.1} s after the button was pressed", pressed.elapsed().as_secs_f32());
    }

    /// Cuts its power.
    pub fn cut(mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.tail());
        }
        stop(&mut self.qemu, Duration::from_secs(5));
        if let Some(virtiofsd) = &mut self.virtiofsd {
            stop(virtiofsd, Duration::from_secs(5));
        }
    }
}

/// Collects what a console shows, and copies it to a log.
fn copy(mut screen: impl std::io::Read + Send + 'static, mut log: File) -> Arc<Mutex<String>> {
    let shown = Arc::new(Mutex::new(String::new()));
    let copy = Arc::clone(&shown);
    thread::spawn(move || {
        let mut octets = [0; 4096];
        while let Ok(count @ 1..) = screen.read(&mut octets) {
            let _ = log.write_all(&octets[..count]);
            // What is waited for is ASCII: other characters need not be whole.
            copy.lock().expect("nobody panics with it").push_str(&String::from_utf8_lossy(&octets[..count]));
        }
    });
    shown
}

/// Runs a program of the tests' own, and returns what it wrote to its standard output.
#[track_caller]
fn output(command: &mut Command) -> Vec<u8> {
    let output = command.output();
    let output = output
        .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}; `make setup-test` installs it"));
    assert!(output.status.success(), "{command:?} failed: {}", text(&output));
    output.stdout
}
