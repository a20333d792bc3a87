//! The Debian packages that `make deb` has built: installed, run, upgraded and purged in a Debian of their own; and
//! guests of genkan-vm under a libvirt of their own, emulated.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use genkan_tests::debian::{Debian, file_name, package};
use genkan_tests::enclosure::Enclosure;
use genkan_tests::lab::target;
use genkan_tests::netns::text;

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

#[track_caller]
fn assert_as_before(debian: &Debian, before: &BTreeSet<String>) {
    let after = debian.files();
    let left: Vec<&String> = after.difference(before).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    let gone: Vec<&String> = before.difference(&after).collect();
    assert!(gone.is_empty(), "taken along: {gone:?}");
}

#[test]
fn both_packages_install_run_and_leave_nothing_behind_in_debian_stable() {
    let (genkan, vm) = (package("genkan"), package("genkan-vm"));
    let debian = Debian::unpacked();
    let before = debian.files();
    the_router(&debian, &file_name(&genkan), &before);
    the_guest(&debian, &file_name(&vm), &before);
}

/// `genkan_*.deb`.
#[track_caller]
fn the_router(debian: &Debian, file: &str, before: &BTreeSet<String>) {
    // apt finds what it depends on.
    debian.run(&format!(
        "apt-get update -qq && apt-get install -qq -y --no-install-recommends /packages/{file}"
    ));
    assert!(debian.run("genkan --version").starts_with("genkan "));

    // Every command has its page, and the shells know them.
    let help = debian.run("genkan --help");
    let commands =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let commands: Vec<&str> = commands.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(commands.contains(&"run") && commands.contains(&"vpn"), "{help}");
    let completion = debian.run("cat /usr/share/bash-completion/completions/genkan");
    debian.run("bash -n /usr/share/bash-completion/completions/genkan");
    debian.run("test -s /usr/share/zsh/vendor-completions/_genkan -a -s /usr/share/fish/vendor_completions.d/genkan.fish");
    for command in commands.into_iter().filter(|command| *command != "help") {
        assert_eq!(
            debian.run(&format!("man -w genkan-{command}")).trim(),
            format!("/usr/share/man/man8/genkan-{command}.8.gz")
        );
        assert!(completion.contains(&format!("genkan,{command})")), "{command}");
    }
    debian.run("man -w genkan genkan-vpn-peer");
    assert!(debian.run("man genkan | cat").contains("A router in one program"));

    // The service waits for a configuration; the example is none, but does as one.
    assert_eq!(debian.run("systemctl is-enabled genkan").trim(), "enabled");
    debian.run("systemd-analyze verify genkan.service");
    let security = debian.run("systemd-analyze security --offline=yes --threshold=50 genkan.service");
    println!("{}", security.lines().last().unwrap_or_default());
    assert!(!debian.try_run("test -e /etc/genkan/gateway.toml").0);
    debian.run(
        "cd /etc/genkan && umask 077 && echo canary >isp.secret && cp gateway.toml.example gateway.toml && \
         genkan check gateway.toml",
    );
    for example in debian.run("ls /usr/share/doc/genkan/examples").lines() {
        assert!(example.ends_with(".toml"), "{example}");
    }

    // An upgrade and a removal keep what a person wrote, and what the program did.
    debian.run("echo '# mine' >>/etc/genkan/gateway.toml.example");
    debian.run("mkdir -m 700 /var/lib/genkan && echo '{}' >/var/lib/genkan/leases.json");
    debian.run(&format!("dpkg --install /packages/{file}"));
    assert!(debian.run("cat /etc/genkan/gateway.toml.example").ends_with("# mine\n"));
    debian.run("apt-get remove -qq -y genkan");
    assert!(!debian.try_run("command -v genkan").0);
    debian.run("test -e /var/lib/genkan/leases.json -a -e /etc/genkan/gateway.toml.example");

    // Purging takes what the program wrote, and names what it leaves.
    let said = debian.run("apt-get purge -qq -y genkan && apt-get autoremove --purge -qq -y");
    assert!(said.contains("/etc/genkan has files of yours, which stay"), "{said}");
    assert_eq!(debian.run("ls -A /etc/genkan").trim(), "gateway.toml\nisp.secret");
    debian.run("rm -r /etc/genkan");
    assert_as_before(debian, before);
}

/// `genkan-vm_*.deb`, without the hundreds of megabytes that it depends on.
#[track_caller]
fn the_guest(debian: &Debian, file: &str, before: &BTreeSet<String>) {
    let plan = debian.run(&format!("apt-get install --simulate --no-install-recommends /packages/{file}"));
    for needed in ["Inst genkan-vm ", "Inst libvirt-daemon-system ", "Inst qemu-system-x86 ", "Inst mtools "]
    {
        assert!(plan.contains(needed), "{needed}: {plan}");
    }
    debian.run(&format!("dpkg --force-depends --install /packages/{file}"));
    assert!(debian.run("genkan-vm --help").starts_with("Run genkan as a guest of libvirt."));
    assert!(debian.run("man genkan-vm | cat").contains("genkan-vm create"));
    debian.run("test -s /usr/share/genkan-vm/genkan-vm.qcow2");

    // A domain is never left behind, nor ended, without asking.
    debian.run("mkdir -p /var/lib/genkan-vm/guests/home /var/lib/genkan-vm/base");
    let (removed, said) = debian.try_run("dpkg --force-depends --purge genkan-vm");
    assert!(!removed, "{said}");
    assert!(said.contains("genkan-vm:   home\n") && said.contains("genkan-vm remove NAME"), "{said}");
    assert!(debian.run("dpkg-query -W -f '${Status}' genkan-vm").ends_with(" installed"));
    debian.run("genkan-vm --help");

    debian.run("rmdir /var/lib/genkan-vm/guests/home && dpkg --force-depends --purge genkan-vm");
    assert_as_before(debian, before);
}

#[test]
fn the_domain_is_valid_as_it_stands() {
    let output = Command::new("virt-xml-validate")
        .arg(repository("images/libvirt/domain.xml"))
        .arg("domain")
        .output()
        .expect("libvirt-clients is installed");
    assert!(output.status.success(), "{}", text(&output));
}

/// What `genkan-vm` runs with.
struct Libvirt {
    enclosure: Enclosure,
    scratch: PathBuf,
}

impl Libvirt {
    #[track_caller]
    fn new() -> Libvirt {
        let scratch = target().join(format!("libvirt-{}", std::process::id()));
        fs::create_dir_all(&scratch).expect("the build folder can be written");
        let package = package("genkan-vm");
        let enclosure = Enclosure::with_network(&format!(
            "SCRATCH={}\n. {}\ndpkg-deb -x {} /run/package",
            scratch.display(),
            repository("tests/lab/libvirt.sh").display(),
            package.display()
        ));
        Libvirt { enclosure, scratch }
    }

    fn script(line: &str) -> String {
        format!(
            "export GENKAN_VM_SHARE=/run/package/usr/share/genkan-vm GENKAN_VM_STATE=/var/lib/libvirt/scratch \
             LIBVIRT_DEFAULT_URI=qemu:///system PATH=/run/package/usr/sbin:$PATH\n{line}"
        )
    }

    #[track_caller]
    fn run(&self, line: &str) -> String {
        self.enclosure.run(&Libvirt::script(line))
    }

    /// What a command says that does not work.
    #[track_caller]
    fn refused(&self, line: &str) -> String {
        let output = self.enclosure.try_run(&Libvirt::script(line));
        assert!(!output.status.success(), "{line} worked: {}", text(&output));
        text(&output)
    }

    /// The Ethernet addresses of a domain's cards.
    #[track_caller]
    fn addresses(&self, name: &str) -> Vec<String> {
        let list = self.run(&format!("virsh domiflist --inactive {name}"));
        list.lines()
            .filter_map(|line| line.split_whitespace().nth(4))
            .filter(|word| word.contains(':'))
            .map(String::from)
            .collect()
    }

    /// The base image that a guest is on.
    #[track_caller]
    fn base(&self, name: &str) -> String {
        let list = self.run("genkan-vm list");
        let line = list.lines().find(|line| line.split_whitespace().next() == Some(name));
        let word = line.and_then(|line| line.split_whitespace().find(|word| word.starts_with("genkan-vm-")));
        word.unwrap_or_else(|| panic!("no {name}: {list}")).to_owned()
    }
}

impl Drop for Libvirt {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.scratch);
    }
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
