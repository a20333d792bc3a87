//! Guests of `genkan-vm`: made, moved to other base images and back, removed, under a libvirt of their own.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use genkan_tests::cuts::{Moments, cuts};
use genkan_tests::gateway::Genkan;
use genkan_tests::lab::{Lab, Lease, PASSWORD, web};
use genkan_tests::libvirt::{Libvirt, STATE};
use genkan_tests::netns::{Namespace, text};
use genkan_tests::topology::{Isp, Terms};
use genkan_tests::vm::{PATIENCE, configuration};
use genkan_tests::wait_for;

#[test]
fn the_domain_is_valid_as_it_stands() {
    let output = Command::new("virt-xml-validate")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../images/libvirt/domain.xml"))
        .arg("domain")
        .output()
        .expect("libvirt-clients is installed");
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn guests_are_made_moved_to_another_base_and_removed_by_libvirt() {
    let libvirt = Libvirt::new();
    libvirt.run("mkdir /run/offer && echo '[port.wan0]' >/run/offer/gateway.toml");

    // Bridges are picked by their names, and named.
    let said = libvirt.run("genkan-vm create home --config /run/offer");
    assert!(said.contains("home: WAN on br-wan, LAN on br-lan, 256 MiB of memory"), "{said}");
    let first = libvirt.base("home");
    let console =
        libvirt.run("script -qec 'timeout 3 virsh console --force home' /dev/null </dev/null || true");
    assert!(console.contains("Connected to domain 'home'"), "{console}");

    // Another one beside it, with addresses of its own; its definition is valid.
    libvirt.run("genkan-vm create guests --wan br-wan --lan br-lan --memory 96 --no-start");
    libvirt
        .run("virsh dumpxml --inactive guests >/run/guests.xml && virt-xml-validate /run/guests.xml domain");
    let both: Vec<String> = ["home", "guests"].iter().flat_map(|name| libvirt.addresses(name)).collect();
    assert_eq!(both.iter().collect::<BTreeSet<_>>().len(), 4, "{both:?}");
    assert!(both.iter().all(|address| address.starts_with("52:54:00:")), "{both:?}");
    assert!(libvirt.refused("genkan-vm create home").contains("there is a guest home already"));
    // Secrets are on it.
    assert_eq!(libvirt.run("stat -c %a /var/lib/libvirt/scratch/guests/home/config.img").trim(), "600");

    // A newer package moves the guest that is told to, and no other; and back.
    libvirt.run(
        "cd $GENKAN_VM_SHARE && qemu-img convert -O qcow2 -o lazy_refcounts=on genkan-vm.qcow2 newer && \
         mv newer genkan-vm.qcow2 && echo 99.0.0 >version",
    );
    libvirt.run("genkan-vm upgrade guests");
    // Nor one whose memory knows the old one.
    libvirt.run("virsh managedsave home");
    assert!(libvirt.refused("genkan-vm upgrade home").contains("home was suspended to disk, not shut down"));
    libvirt.run("virsh start home");
    assert!(libvirt.base("guests").starts_with("genkan-vm-99.0.0-"));
    assert_eq!(libvirt.base("home"), first, "the others stay where they are");
    libvirt.run("genkan-vm rollback guests");
    assert_eq!(libvirt.base("guests"), first);

    // Removing asks. A guest that hangs need not be waited for.
    assert!(libvirt.refused("genkan-vm remove guests").contains("guests stays"));
    libvirt.run("virsh destroy home");
    libvirt.run("genkan-vm remove guests --yes && echo home | genkan-vm remove home");
    assert_eq!(libvirt.run("virsh list --all --name").trim(), "");
    assert_eq!(libvirt.run("ls /var/lib/libvirt/scratch/guests").trim(), "");
}

/// Has GRUB say which base this is.
fn marked(words: &str) -> String {
    format!(
        "mtype -i disk@@2M ::/grub/grub.cfg | sed 's/^menuentry.*/&\\n    echo {words}/' >grub.cfg
         mcopy -o -i disk@@2M grub.cfg ::/grub/grub.cfg"
    )
}

/// Has a program in the place of genkan that never answers, but logs the words of one that does.
const LIES: &str = r#"
mcopy -i disk@@2M ::/root.squashfs root.squashfs
unsquashfs -q -n -d root root.squashfs
cat >root/etc/genkan/gateway <<'GATEWAY'
#!/bin/sh
while :; do echo "wan isp: up for 1 min 0 s" | logger -t genkan; sleep 1; done
GATEWAY
rm root.squashfs
mksquashfs root root.squashfs -quiet -no-progress -comp zstd -Xcompression-level 1 -all-root -no-xattrs
mcopy -o -i disk@@2M root.squashfs ::/
"#;

/// A guest between an ISP and a host, with nobody who offers it a configuration any more.
struct Home {
    libvirt: Libvirt,
    desk: Namespace,
    lease: Lease,
    began: Instant,
    /// How long it took to be online for the first time.
    took: Duration,
    _concentrator: Genkan,
    _isp: Isp,
    _lab: Lab,
}

impl Home {
    /// Makes it and waits until it is online, and its console shows that the desk has a lease.
    #[track_caller]
    fn new(name: &str) -> Home {
        let (lab, began) = (Lab::new(name), Instant::now());
        let (libvirt, isp, desk) = (Libvirt::new(), Isp::default(), Namespace::new("desk"));
        libvirt.plug(&isp.namespace, "access0", "br-wan");
        libvirt.plug(&desk, "eth0", "br-lan");
        let concentrator = isp.start(&lab, Terms::default());
        libvirt.run(&format!(
            "mkdir /run/offer; cd /run/offer; echo '{PASSWORD}' >isp.secret; cat >gateway.toml <<'END'\n{}\nEND\n\
             genkan-vm create home --config /run/offer",
            configuration()
        ));
        libvirt.wait_said("home", "wan isp: up for", PATIENCE);
        let lease = lab.lease(&desk, "eth0");
        libvirt.wait_said("home", &format!("  {} ", lease.address), PATIENCE);
        libvirt.run(&format!("mdel -i {STATE}/guests/home/config.img ::gateway.toml ::isp.secret"));
        let took = began.elapsed();
        let home =
            Home { libvirt, desk, lease, began, took, _concentrator: concentrator, _isp: isp, _lab: lab };
        home.is_whole(&home.libvirt.base("home"), "made");
        home
    }

    /// It is on this base and online, and has its configuration, its secret and the lease.
    #[track_caller]
    fn is_whole(&self, base: &str, when: &str) {
        assert_eq!(self.libvirt.base("home"), base, "{when}");
        self.libvirt.wait_said("home", "wan isp: up for", PATIENCE);
        self.libvirt.wait_said("home", &format!("  {} ", self.lease.address), PATIENCE);
        assert!(!self.libvirt.said("home").contains("NOTHING IS KEPT"), "{when}");
        wait_for("the desk to reach the Internet", PATIENCE, || self.desk.pings(web(80).ip()));
        assert_eq!(left_over(&self.libvirt), "", "{when}");
        println!("online after {:.0} s: {when}, on {base}", self.began.elapsed().as_secs_f32());
    }
}

/// Files that nobody needs when all is done.
#[track_caller]
fn left_over(libvirt: &Libvirt) -> String {
    libvirt.run(&format!("find {STATE} -name '*.new' -o -name unfinished"))
}

/// Runs a command of genkan-vm and kills it, with all that it has started, after a while.
#[track_caller]
fn cut_off(libvirt: &Libvirt, command: &str, when: Duration) {
    libvirt.run(&format!(
        "setsid genkan-vm {command} >/run/cut.log 2>&1 & sleep {:.6}; kill -s KILL -- -$! || true; wait",
        when.as_secs_f64()
    ));
    println!(
        "{command} cut off after {:.3} s: {}",
        when.as_secs_f64(),
        libvirt.run("cat /run/cut.log").trim()
    );
}

/// Whatever its console shows. Nor is a guest left on one with which libvirt does not start it.
#[test]
fn a_base_that_does_not_come_online_is_left_again() {
    let home = Home::new("genkan-vm-put-back");
    let libvirt = &home.libvirt;
    let first = libvirt.base("home");
    libvirt.install("98.0.0", &format!("{}\n{LIES}", marked("this-base-lies")));
    // Long enough for what it shows to be seen, also on a busy machine.
    let wait = 20 + 2 * home.took.as_secs();
    let said = libvirt.refused(&format!("genkan-vm upgrade home --wait {wait}"));
    assert!(said.contains("it is put back"), "{said}");
    assert!(said.contains(&format!("home is online again on {first}")), "{said}");
    home.is_whole(&first, "put back");
    let failed = fs::read(libvirt.file("home", "console.failed.log")).expect("it is kept");
    let failed = String::from_utf8_lossy(&failed);
    assert!(failed.contains("this-base-lies") && failed.contains("wan isp: up for 1 min 0 s"), "{failed}");
    assert!(libvirt.refused("genkan-vm rollback home").contains("on no other base image before"));

    libvirt.run("echo nothing >$GENKAN_VM_SHARE/genkan-vm.qcow2");
    let said = libvirt.refused("genkan-vm upgrade home");
    assert!(said.contains(&format!("home is on {first}.qcow2 as before")), "{said}");
    assert_eq!((libvirt.base("home"), left_over(libvirt).as_str()), (first, ""));
    assert_eq!(libvirt.run("virsh domstate home").trim(), "running");
}

/// And an upgrade that is cut off goes on when it is asked for again, or leads back.
#[test]
fn a_running_guest_is_upgraded_and_rolled_back() {
    let home = Home::new("genkan-vm-upgrade");
    let libvirt = &home.libvirt;
    let first = libvirt.base("home");
    let mut moments = Moments::new();
    for cut in 0..cuts(1) {
        let mark = format!("this-base-is-{cut}");
        libvirt.install(&format!("{}.0.0", 100 + cut), &marked(&mark));
        cut_off(libvirt, "upgrade home", moments.within(Duration::from_secs(1), Duration::from_secs(8)));
        if cut % 2 == 1 && libvirt.file("home", "unfinished").exists() {
            libvirt.run("genkan-vm rollback home");
            home.is_whole(&first, "back after a cut");
        }
        print!("{}", libvirt.run("genkan-vm upgrade home"));
        home.is_whole(&libvirt.base("home"), "upgraded after a cut");
        assert!(libvirt.base("home").starts_with(&format!("genkan-vm-{}.0.0-", 100 + cut)));
        assert!(libvirt.said("home").contains(&mark), "this is the base that runs");
        print!("{}", libvirt.run("genkan-vm rollback home"));
        home.is_whole(&first, "rolled back");
    }
}

#[test]
fn an_upgrade_that_is_cut_off_loses_nothing() {
    let libvirt = Libvirt::new();
    let folder = format!("{STATE}/guests/home");
    libvirt.run(&format!(
        "genkan-vm create home --no-start; qemu-io -c 'write -q -P 0x67 128M 48M' {folder}/disk.qcow2"
    ));
    // What is on its own partition, on a whole disk and a whole base.
    let kept = || {
        libvirt.run(&format!(
            "qemu-img check -q {folder}/disk.qcow2
             base=$(qemu-img info {folder}/disk.qcow2 | sed -n 's/^backing file: //p')
             echo $base | grep -q -- -$(sha256sum $base | cut -c 1-8).qcow2
             qemu-img dd -O raw bs=1M skip=128 count=192 if={folder}/disk.qcow2 of=/run/kept; sha256sum /run/kept"
        ))
    };
    let (first, before) = (libvirt.base("home"), kept());
    libvirt.install("98.0.0", "");
    libvirt.run("genkan-vm upgrade home && genkan-vm rollback home");
    // How long it takes, the second time.
    let took = libvirt.run(
        "echo 99.0.0 >$GENKAN_VM_SHARE/version
         for command in upgrade rollback; do
             began=$(date +%s%N); genkan-vm $command home >/dev/null; echo $(($(date +%s%N) - began))
         done",
    );
    let mut took = took.lines().map(|time| Duration::from_nanos(time.parse().expect("a number")));
    let (upgrade, rollback) = (took.next().expect("a time"), took.next().expect("a time"));

    let mut moments = Moments::new();
    let (mut begun, mut swapped) = (0, 0);
    for cut in 0..cuts(6) {
        // Each is another base, which has to be copied.
        let next = format!("{}.0.0", 100 + cut);
        libvirt.run(&format!("echo {next} >$GENKAN_VM_SHARE/version"));
        cut_off(&libvirt, "upgrade home", moments.within(Duration::ZERO, upgrade));
        assert_eq!(kept(), before);
        if libvirt.file("home", "unfinished").exists() {
            begun += 1;
            if cut % 2 == 1 {
                libvirt.run("genkan-vm rollback home");
                assert_eq!((libvirt.base("home"), kept()), (first.clone(), before.clone()));
            }
        }
        swapped += u64::from(libvirt.base("home") != first);
        libvirt.run("genkan-vm upgrade home");
        assert!(libvirt.base("home").starts_with(&format!("genkan-vm-{next}-")));
        assert_eq!((kept(), left_over(&libvirt).as_str()), (before.clone(), ""));

        cut_off(&libvirt, "rollback home", moments.within(Duration::ZERO, rollback));
        assert_eq!(kept(), before);
        if libvirt.file("home", "unfinished").exists() || libvirt.base("home") != first {
            libvirt.run("genkan-vm rollback home");
        }
        assert_eq!((libvirt.base("home"), kept()), (first.clone(), before.clone()));
        assert_eq!(left_over(&libvirt), "");
    }
    println!("{begun} upgrades were cut off after they had begun, {swapped} after the new disk was in place");
}
