//! The Debian packages that `make deb` has built: installed, run, upgraded and purged in a Debian of their own.

use std::collections::BTreeSet;

use genkan_tests::debian::{Debian, file_name, package};

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
