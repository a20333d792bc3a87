//! The guest router, as `make image` leaves it, between an ISP with pppd and a host on its LAN.
//!
//! How long it took to the console and to the first packet is printed, not judged: every instruction is emulated here.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use genkan_tests::chrony::Chrony;
use genkan_tests::client::conversing;
use genkan_tests::client6::Client6;
use genkan_tests::cuts::{Moments, cuts};
use genkan_tests::lab::{PASSWORD, USERNAME, web};
use genkan_tests::netns::text;
use genkan_tests::peers::{Delegation, Server};
use genkan_tests::vm::{Boot, CONFIG, Disk, Offer, Offloads, PATIENCE, Premises, Vm, configuration, image};
use genkan_tests::wait_for;
use serde_json::Value;

/// Octets of a transfer: everything in the way is emulated.
const LENGTH: u64 = 1_000_000;
/// What the LAN has of the prefix that the ISP delegates.
const PREFIX: &str = "2001:db8:100:1::/64";
/// Says which process is the gateway. The console is a genkan, too.
const PROCESS: &str = "ps w | awk '/[g]enkan run/ { print $1 }'";

/// Switches a router on and sees that it does what it is for.
#[track_caller]
fn proves_itself(premises: &Premises, boot: Boot, disk: &Disk, offer: Offer<'_>) -> Vm {
    println!("{boot:?}:");
    let mut vm = premises.boot(boot, disk, offer);
    vm.wait_console();
    premises.wait_forwarded(&vm);
    vm.wait_online();
    premises.lease();
    premises.transfers(LENGTH);
    vm
}

/// Its screen and keyboard do what the serial line does.
#[track_caller]
fn has_a_screen(vm: &mut Vm) {
    vm.wait_on_screen("wan isp: up for");
    vm.press_on_keyboard("ret");
    vm.wait_on_screen("Password:");
}

#[track_caller]
fn new_disk(premises: &Premises) -> Disk {
    Disk::new(&premises.lab, &image("genkan-vm.qcow2"))
}

/// Also: who has a key logs in over the network, from the LAN and from nowhere else.
#[test]
fn a_disk_booted_by_bios_brings_the_lan_online() {
    let mut premises = Premises::new("vm-bios");
    let (disk, offer) = (new_disk(&premises), premises.offer());
    let key = key(&premises);
    fs::copy(key.with_extension("pub"), offer.join("authorized_keys")).expect("the folder can be written");
    let mut vm = proves_itself(&premises, Boot::Bios, &disk, Offer::Disk(&offer));
    has_a_screen(&mut vm);

    let said = wait_for("ssh from the LAN", PATIENCE, || {
        let output = premises.desk.try_run(&format!(
            "ssh -i {} -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
             -o ConnectTimeout=10 root@192.168.1.2 hostname",
            key.display()
        ));
        if output.status.success() { Ok(text(&output)) } else { Err(text(&output)) }
    });
    assert!(said.lines().any(|line| line == "genkan"), "{said}");
    let wan: Ipv4Addr = vm.wan().expect("a status").address.parse().expect("an address");
    for at in [(wan, 22), (Ipv4Addr::new(192, 168, 1, 2), 22)] {
        let way = format!("ip route replace 192.168.1.0/24 via {wan}");
        premises.isp.run(&way);
        let reached =
            premises.far.host.inside(|| TcpStream::connect_timeout(&at.into(), Duration::from_secs(3)));
        assert!(reached.is_err(), "{at:?} answers the Internet");
    }
    println!("{}", vm.run("free -k; head -n 3 /proc/meminfo"));
    vm.switch_off();
    println!("the delta image has {} octets", disk.length());
}

/// A new key for ssh.
#[track_caller]
fn key(premises: &Premises) -> PathBuf {
    let path = premises.lab.folder().join("key");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&path).output();
    let made = made.unwrap_or_else(|error| panic!("no ssh-keygen: {error}; `make setup-test` installs it"));
    assert!(made.status.success(), "{}", text(&made));
    path
}

#[test]
fn a_disk_booted_by_uefi_brings_the_lan_online() {
    let mut premises = Premises::new("vm-uefi");
    premises.offloads = Offloads::All;
    let (disk, offer) = (new_disk(&premises), premises.offer());
    let mut vm = proves_itself(&premises, Boot::Uefi, &disk, Offer::Folder(&offer));
    has_a_screen(&mut vm);
    vm.switch_off();
}

/// Without a boot loader; and its program dies. The next one finds the session and the flows, and the ISP is asked nothing.
#[test]
fn booted_directly_its_session_outlives_kill_9() {
    let mut premises = Premises::new("vm-direct");
    premises.offloads = Offloads::Off;
    let (disk, offer) = (new_disk(&premises), premises.offer());
    let mut vm = proves_itself(&premises, Boot::Direct, &disk, Offer::CommandLine(&offer));

    let before = vm.wan().expect("a status");
    let asked = "grep -c 'Conf[A-Z]' /run/test/pppd-server.log";
    let conf = premises.isp.run(asked);
    let stream = premises
        .desk
        .inside(|| TcpStream::connect_timeout(&web(7), Duration::from_secs(10)).expect("a stream"));
    conversing(stream, |talk| {
        talk.wait_beyond(20, "before", Duration::from_secs(20));
        let process = vm.run(PROCESS);
        let killed = Instant::now();
        vm.run(&format!("kill -9 {process}"));
        let after = wait_for("the next one to answer", PATIENCE, || {
            let next = vm.try_run(PROCESS)?;
            if next == process { Err("it still runs".into()) } else { vm.wan() }
        });
        println!("another one answers {:.1} s after kill -9", killed.elapsed().as_secs_f32());
        assert_eq!((after.session, &after.address), (before.session, &before.address), "{}", after.all);
        talk.wait_beyond(talk.rounds() + 20, "afterwards", Duration::from_secs(20));
    });
    let after = vm.wan().expect("a status");
    assert_eq!((after.state.as_str(), after.session), ("up", before.session));
    assert_eq!(premises.isp.run(asked), conf, "the ISP was asked to negotiate");
    premises.transfers(LENGTH);
    vm.switch_off();
}

/// Nobody offers a configuration: the console asks for what the default wants, once. The default also has the LAN ask the router
/// for the time, which it learns from the Internet: its own clock is wrong by decades.
#[test]
fn without_a_configuration_the_console_asks_for_the_credentials() {
    let mut premises = Premises::new("vm-first");
    premises.clock = Some("2001-01-01T00:00:00");
    let chrony = Chrony::unpack(&premises.lab);
    let _server = chrony.serve(&premises.lab, &premises.far.host);
    let disk = new_disk(&premises);
    let mut vm = premises.boot(Boot::Direct, &disk, Offer::Nothing);
    vm.wait_shown("PPPoE user name: ");
    vm.press(&format!("{USERNAME}\r"));
    vm.wait_shown("Password (not shown): ");
    vm.press(&format!("{PASSWORD}\r"));
    vm.wait_online();
    let lease = premises.lease();
    premises.desk.pings(web(80).ip()).expect("the LAN is online");
    assert!(!vm.has_shown(PASSWORD), "the console shows the password");

    assert_eq!(lease.ntp, Some(Ipv4Addr::new(192, 168, 1, 2)));
    let wrong = wait_for("the right time", PATIENCE, || {
        let wrong = chrony.ask(&premises.desk, "192.168.1.2")?;
        if wrong < Duration::from_secs(1) { Ok(wrong) } else { Err(format!("wrong by {wrong:?}")) }
    });
    println!("the LAN has the right time, to {} ms, {:.1} s after the start", wrong.as_millis(), vm.age());
    premises.desk.pings(web(80).ip()).expect("it is still online");
    vm.switch_off();

    let mut vm = premises.boot(Boot::Direct, &disk, Offer::Nothing);
    vm.wait_online();
    assert!(!vm.has_shown("PPPoE user name: "), "it is known");
    vm.switch_off();
}

#[test]
fn a_configuration_with_a_mistake_is_refused_and_the_old_one_stays() {
    let premises = Premises::new("vm-mistake");
    let (disk, offer) = (new_disk(&premises), premises.offer());
    let mut vm = premises.boot(Boot::Direct, &disk, Offer::Share(&offer));
    vm.wait_online();
    vm.switch_off();

    let wrong = configuration().replace("range = \"192.168.1.100-", "rnage = \"192.168.1.100-");
    let wrong = premises.offer_of("wrong", &wrong);
    let mut vm = premises.boot(Boot::Direct, &disk, Offer::Disk(&wrong));
    vm.wait_shown("what it offers is refused; the configuration in force stays");
    vm.wait_shown("unknown key `rnage`");
    // And beside the status, on lines of 80 columns.
    vm.wait_online();
    vm.wait_shown("what it offers is refused");
    vm.wait_shown("unknown key `rnage`");
    premises.lease();
    premises.desk.pings(web(80).ip()).expect("the old configuration is in force");
    assert_eq!(vm.run(&format!("grep -c rnage {CONFIG} || true")), "0");
    // What init starts anew leaves the console as it is set: what somebody types there may be a password.
    let modes = vm.run(
        "exec </dev/ttyS0; stty -echo; old=$(pidof acpid); kill $old; \
         until new=$(pidof acpid) && [ $new != $old ]; do sleep 1; done; stty -a; stty echo",
    );
    assert!(modes.contains(" -echo "), "{modes}");
    vm.switch_off();
}

/// And put back on the older one.
#[test]
fn on_a_newer_base_it_has_its_configuration_and_its_leases() {
    let premises = Premises::new("vm-upgrade");
    let (disk, offer) = (new_disk(&premises), premises.offer());
    let mut vm = premises.boot(Boot::Bios, &disk, Offer::Seed(&offer));
    vm.wait_online();
    let lease = premises.lease();
    let secret = vm.run("cat /var/lib/genkan/config/isp.secret");
    vm.switch_off();

    // Nobody offers a configuration any more.
    for (base, mark) in [(newer(&premises), "1"), (image("genkan-vm.qcow2"), "0")] {
        disk.rebase(&base);
        let mut vm = premises.boot(Boot::Bios, &disk, Offer::Nothing);
        vm.wait_online();
        assert_eq!(vm.run("grep -c genkan.newer /proc/cmdline || true"), mark, "this is the base that runs");
        let (kept, address) = (vm.leased(), lease.address.to_string());
        assert!(kept.contains(&address), "{address} is lost: {kept:?}");
        assert_eq!(vm.run("cat /var/lib/genkan/config/isp.secret"), secret);
        premises.desk.pings(web(80).ip()).expect("the lease is good, and the LAN is online");
        assert_eq!(premises.lease().address, lease.address);
        vm.switch_off();
    }
}

/// A base image that can be told from the one that was built: its kernel's command line has another word.
#[track_caller]
fn newer(premises: &Premises) -> PathBuf {
    let folder = premises.lab.folder();
    let path = folder.join("newer.qcow2");
    let script = format!(
        "cd {}; qemu-img convert -O raw {} disk
         mtype -i disk@@2M ::/grub/grub.cfg | sed 's/loglevel=4/& genkan.newer/' >grub.cfg
         mcopy -o -i disk@@2M grub.cfg ::/grub/grub.cfg
         qemu-img convert -O qcow2 disk {}; rm disk",
        folder.display(),
        image("genkan-vm.qcow2").display(),
        path.display()
    );
    let made = Command::new("sh").args(["-euc", &script]).output().expect("there is a shell");
    assert!(made.status.success(), "{}", text(&made));
    path
}

/// The guest is paused; its clock is set back a day and forward a year; and the ISP forgets it while it is paused.
#[test]
fn after_a_pause_and_with_a_clock_that_jumps_everything_is_as_it_was() {
    let mut premises = Premises::new("vm-time");
    premises.desk.speak_ipv6("eth0");
    let isp = Server { ipv6: Some(Delegation::default()), patience: 60, ..Server::default() };
    Server::kill(&mut premises.isp);
    isp.start(&mut premises.isp);
    let offer = premises.offer_of("offer", &dual_stack());
    let disk = new_disk(&premises);
    let mut vm = premises.boot(Boot::Direct, &disk, Offer::Disk(&offer));
    vm.wait_online();
    let lease = premises.lease();
    let before = vm.wan().expect("a status");
    let prefix = || Client6::of(&premises.desk).advertisement()?.lifetimes(PREFIX);
    wait_for("a prefix", PATIENCE, prefix);
    sound(&premises, &mut vm, "before");
    assert_eq!(vm.status().expect("a status")["last_pause"], Value::Null);

    // What tells of it is the hardware clock, which the host keeps running.
    vm.command("stop");
    thread::sleep(Duration::from_secs(8));
    vm.command("cont");
    let pause = wait_pause(&mut vm, 5..15);
    assert_eq!(pause["witness"], "hardware-clock", "{pause}");
    sound(&premises, &mut vm, "after a pause");
    assert_eq!(vm.wan().expect("a status").session, before.session);

    // Ten minutes, as a guest sees them: the hardware clock is that much further.
    vm.run("date -s @$(($(date +%s) + 600)) >/dev/null && hwclock -u -w");
    let pause = wait_pause(&mut vm, 590..630);
    assert_eq!(pause["witness"], "hardware-clock", "{pause}");
    sound(&premises, &mut vm, "after ten minutes");

    // The time of the day is nobody's witness.
    for (name, seconds) in [("a day back", -86_400), ("a year forward", 365 * 86_400)] {
        vm.run(&format!("date -s @$(($(date +%s) + {seconds})) >/dev/null"));
        sound(&premises, &mut vm, name);
        let now = vm.wan().expect("a status");
        assert_eq!((now.state.as_str(), now.session), ("up", before.session), "{name}: {}", now.all);
        assert_eq!(premises.lease().address, lease.address, "{name}");
        let told = &vm.status().expect("a status")["last_pause"];
        assert!(told["lasted_s"].as_u64().is_some_and(|seconds| seconds < 1000), "{name}: {told}");
    }

    // The ISP has lost the session when the guest goes on.
    vm.command("stop");
    Server::kill(&mut premises.isp);
    let first = Ipv4Addr::new(10, 64, 99, 1);
    Server { first, ..isp }.start(&mut premises.isp);
    thread::sleep(Duration::from_secs(5));
    vm.command("cont");
    let resumed = Instant::now();
    wait_for("the LAN to be online again", PATIENCE, || premises.desk.pings(web(80).ip()));
    println!("online again {:.1} s after the guest goes on", resumed.elapsed().as_secs_f32());
    assert_eq!(vm.wan().expect("a status").address, first.to_string());
    wait_for("a prefix again", PATIENCE, prefix);
    println!("and has its prefix after {:.1} s", resumed.elapsed().as_secs_f32());
    sound(&premises, &mut vm, "after another session");
    vm.switch_off();
}

/// A configuration with a prefix for the LAN.
fn dual_stack() -> String {
    let wan = "[wan.isp]\nipv6 = true\nprefix-delegation = { length = 56 }\n";
    let lan = "[lan.home]\nprefix = { from = \"isp\", subnet = 1 }\n";
    configuration().replace("[wan.isp]\n", wan).replace("[lan.home]\n", lan)
}

/// Waits until the router tells of a pause of so many seconds.
#[track_caller]
fn wait_pause(vm: &mut Vm, seconds: std::ops::Range<u64>) -> Value {
    let began = Instant::now();
    let pause = wait_for("the router to notice the pause", PATIENCE, || {
        let pause = vm.status()?["last_pause"].clone();
        let lasted = pause["lasted_s"].as_u64().unwrap_or(0);
        if seconds.contains(&lasted) { Ok(pause) } else { Err(pause.to_string()) }
    });
    println!("told within {:.1} s: {pause}", began.elapsed().as_secs_f32());
    pause
}

/// The LAN is online, its lease has hours to go, and hosts are told to use its prefix for as long as it is delegated.
#[track_caller]
fn sound(premises: &Premises, vm: &mut Vm, when: &str) {
    premises.desk.pings(web(80).ip()).unwrap_or_else(|error| panic!("{when}: {error}"));
    let status = vm.status().expect("a status");
    let leases: Vec<&Value> = status["lans"][0]["leases"].as_array().into_iter().flatten().collect();
    assert!(!leases.is_empty(), "{when}: {status}");
    for lease in leases.into_iter().filter(|lease| lease["fixed"] != true) {
        let left = lease["expires_in_s"].as_u64().unwrap_or(0);
        assert!((10 * 3600..=12 * 3600).contains(&left), "{when}: {lease}");
    }
    // Who asks within three seconds of another one is told later (RFC 4861 §6.2.6).
    let what = format!("an advertisement {when}");
    let told = wait_for(&what, PATIENCE, || Client6::of(&premises.desk).advertisement());
    let (preferred, valid) = told.lifetimes(PREFIX).unwrap_or_else(|error| panic!("{when}: {error}"));
    assert_eq!(told.lifetime, 1800, "{when}");
    let left = (2400..=2700).contains(&preferred) && (5100..=5400).contains(&valid);
    assert!(left, "{when}: {preferred} and {valid} s");
}

/// The first time in the midst of a first boot, the second time while leases are written, the third time while another
/// configuration is put in force, and so on. Each time it boots afterwards, with the old configuration or the new one, and with every lease that was granted.
#[test]
fn power_cuts_lose_nothing() {
    let mut moments = Moments::new();
    let premises = Premises::new("vm-cuts");
    let mut disk = new_disk(&premises);
    let mut version = 0;
    for cut in 0..cuts(2) {
        let old = version;
        version += 1;
        let offer = premises.offer_of("offer", &numbered(version));
        let mut granted = Vec::new();
        let when;
        match cut % 3 {
            0 => {
                disk = new_disk(&premises);
                when = moments.within(Duration::from_secs(2), Duration::from_secs(14));
                let vm = premises.boot(Boot::Direct, &disk, Offer::Disk(&offer));
                thread::sleep(when);
                vm.cut();
            }
            1 => {
                let mut vm = premises.boot(Boot::Direct, &disk, Offer::Disk(&offer));
                vm.wait_shown("lan home:");
                when = moments.within(Duration::from_secs(3), Duration::from_secs(12));
                let began = Instant::now();
                for host in 1_u8.. {
                    premises.desk.ip(&[
                        "link",
                        "set",
                        "eth0",
                        "address",
                        &format!("02:00:00:00:{cut:02x}:{host:02x}"),
                    ]);
                    granted.push((premises.lease().address.to_string(), Instant::now()));
                    // There are a hundred addresses.
                    if began.elapsed() >= when || granted.len() >= 90 {
                        break;
                    }
                }
                vm.cut();
                // What was granted in the very last moment may be on its way to the disk.
                let last = Instant::now();
                granted.retain(|(_, at)| last.duration_since(*at) > Duration::from_secs(1));
            }
            _ => {
                let vm = premises.boot(Boot::Direct, &disk, Offer::Disk(&offer));
                when = moments.within(Duration::from_secs(4), Duration::from_secs(14));
                thread::sleep(when);
                vm.cut();
            }
        }
        println!("cut {cut} at {:.1} s; {} leases granted before", when.as_secs_f32(), granted.len());

        // After a first boot that was cut there may be nothing yet.
        let again = if cut % 3 == 0 { Offer::Disk(&offer) } else { Offer::Nothing };
        let mut vm = premises.boot(Boot::Direct, &disk, again);
        vm.wait_online();
        let found = vm.run(&format!("sed -n 's/^# version //p' {CONFIG}"));
        let found: u64 = found.parse().expect("a number");
        assert!(found == version || (found == old && cut % 3 == 2), "version {found} of {version}");
        vm.run("test ! -e /run/genkan/not-kept");
        println!("version {found} of {version}; {}", vm.run("cat /run/genkan/fsck"));
        let kept = vm.leased();
        for (address, _) in &granted {
            assert!(kept.contains(address), "{address} is lost: {kept:?}");
        }
        version = found;
        vm.switch_off();
    }
}

/// A configuration with a number.
fn numbered(version: u64) -> String {
    format!("# version {version}\n{}", configuration())
}
