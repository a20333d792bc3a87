//! The service of a Debian host: the package in a Debian with systemd at work, while hosts of the LAN are in conversation.

use std::collections::BTreeSet;
use std::net::{Ipv6Addr, TcpStream};
use std::time::Duration;

use genkan_tests::client::{Talk, conversing, counting, open};
use genkan_tests::client6::Client6;
use genkan_tests::debian::{Booted, Debian, file_name, package};
use genkan_tests::gateway::{FastPath, Genkan, Wan};
use genkan_tests::lab::{Lab, PASSWORD, USERNAME, WEB6, web};
use genkan_tests::netns::veth;
use genkan_tests::recording::{Recording, code};
use genkan_tests::topology::{House, Isp, Port, Terms};
use genkan_tests::wait_for;
use serde_json::Value;

const CONFIG: &str = "/etc/genkan/gateway.toml";
/// Of which the ISP delegates.
const PREFIXES: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x100, 0, 0, 0, 0, 0);
const PATIENCE: Duration = Duration::from_secs(20);

/// Everything from the desk to the far host, with a Debian between them.
struct Host {
    debian: Booted,
    recording: Recording,
    _isp: Genkan,
    house: House,
    _provider: Isp,
    _lab: Lab,
}

impl Host {
    /// A Debian with the cards of a router and a configuration for them. The package's file is `/packages/FILE`.
    #[track_caller]
    fn new(name: &str, file: &str) -> Host {
        let lab = Lab::new(name);
        let provider = Isp::default().with_ipv6();
        let house = House::new(Port::Nic, Port::Nic);
        veth((&house.router, "wan0"), (&provider.namespace, "access0"));
        let isp = provider.start(&lab, Terms { ipv6: true, ..Terms::default() });
        let recording = Recording::start(&lab, &isp, "isp", &["--at", "access0"]);
        let debian = Debian::unpacked();
        debian.run(&format!(
            "apt-get update -qq && apt-get satisfy -qq -y --no-install-recommends \"$(dpkg-deb -f /packages/{file} Depends)\""
        ));
        debian.run(&format!(
            "mkdir -m 700 /etc/genkan && cd /etc/genkan && umask 077 && echo '{PASSWORD}' >isp.secret && cat >gateway.toml <<'END'\n\
             [port.wan0]\nnic = \"wan0\"\n\n[port.lan0]\nnic = \"lan0\"\n\n[port.lan1]\nnic = \"lan1\"\n\n\
             [port.host]\ntap = \"host0\"\n\n\
             [wan.isp]\nport = \"wan0\"\npppoe.username = \"{USERNAME}\"\npppoe.password-file = \"isp.secret\"\n\
             ipv6 = true\nprefix-delegation = {{ length = 56 }}\n\n\
             [lan.home]\nports = [\"lan0\", \"lan1\", \"host\"]\naddress = \"192.168.1.1/24\"\n\
             dhcp = {{ range = \"192.168.1.100-192.168.1.199\" }}\nprefix = {{ from = \"isp\", subnet = 1 }}\nEND"
        ));
        let debian = debian.boot(&house.router);
        let host = Host { debian, recording, _isp: isp, house, _provider: provider, _lab: lab };
        host.debian.run(&format!("dpkg --install /packages/{file}"));
        host.wait_up();
        let desk = Client6::slaac(&host.house.desk);
        host._lab.lease(&host.house.desk, "eth0");
        desk.wait_address_in(PREFIXES, 40, PATIENCE);
        wait_for("IPv6", PATIENCE, || host.house.desk.pings(WEB6));
        host
    }

    /// A property of the service, as systemd tells of it.
    #[track_caller]
    fn property(&self, name: &str) -> String {
        self.debian.run(&format!("systemctl show --property {name} --value genkan")).trim().into()
    }

    #[track_caller]
    fn status(&self) -> Result<Value, String> {
        let (well, said) = self.debian.try_run(&format!("genkan status {CONFIG} --json"));
        if well { Ok(serde_json::from_str(&said).expect("it is JSON")) } else { Err(said) }
    }

    /// Waits until the uplink is up.
    #[track_caller]
    fn wait_up(&self) -> Wan {
        wait_for("the uplink", PATIENCE, || match Wan::read(&self.status()?, "isp")? {
            wan if wan.state == "up" => Ok(wan),
            wan => Err(format!("{}\n{}", wan.all, self.journal())),
        })
    }

    /// What the service has written.
    #[track_caller]
    fn journal(&self) -> String {
        self.debian.run("journalctl --quiet --no-pager --unit genkan")
    }

    /// Codes of the discovery frames that the ISP has seen.
    fn discovery(&self) -> Vec<u8> {
        self.recording.frames().iter().filter_map(|frame| frame.discovery()).collect()
    }

    /// Waits until the ISP has seen the session end, after so many frames of before.
    #[track_caller]
    fn wait_hung_up(&self, before: usize) {
        wait_for("a PADT", PATIENCE, || match &self.discovery()[before..] {
            [code::PADT, ..] => Ok(()),
            seen => Err(format!("{seen:02x?}")),
        });
    }
}

/// What may not change while one program takes over from another.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    session: u64,
    address: String,
    /// What the ISP has delegated.
    prefix: String,
    /// What the ISP was asked.
    discovery: Vec<u8>,
}

impl Line {
    #[track_caller]
    fn of(host: &Host) -> Line {
        let wan = host.wait_up();
        let status = host.status().expect("it answers");
        let prefix = status["wans"][0]["ipv6"]["prefixes"][0]["prefix"].as_str().expect("a prefix").into();
        Line { session: wan.session, address: wan.address, prefix, discovery: host.discovery() }
    }
}

/// Has `act` put another program in the place of the one that runs, in the midst of traffic. Nothing of what the kernel carries
/// is lost.
#[track_caller]
fn takes_over(host: &Host, talk: &Talk<'_>, what: &str, act: impl FnOnce()) {
    let lost = lost_meanwhile(host, talk, what, || {
        wait_for("the kernel to carry the streams", PATIENCE, || match FastPath::read(&host.status()?)? {
            // The datagrams, both ways, and the conversation's answers. Its questions are segments of several packets, not equally
            // long, which user space cuts.
            path if path.directions >= 3 => Ok(()),
            path => Err(path.all),
        });
        act();
    });
    assert!(lost.is_empty(), "{what}: {lost:?}");
}

/// The same; returns the numbers of datagrams that were lost.
#[track_caller]
fn lost_meanwhile(host: &Host, talk: &Talk<'_>, what: &str, act: impl FnOnce()) -> BTreeSet<u32> {
    let (process, line) = (host.property("MainPID"), Line::of(host));
    let socket = host.house.desk.inside(|| open(web(7))).expect("a socket");
    let (sent, lost) = counting(&socket, || {
        act();
        wait_for("another program", PATIENCE, || match host.property("MainPID") {
            now if now != process && now != "0" => Ok(()),
            now => Err(now),
        });
        assert_eq!(Line::of(host), line, "{what}");
        talk.wait_beyond(talk.rounds(), what, PATIENCE);
    });
    println!("{what}: {} of {sent} datagrams lost", lost.len());
    host.house.desk.pings(WEB6).expect("IPv6 goes on");
    assert_eq!(host.property("ActiveState"), "active", "{what}");
    let program = format!("readlink /proc/{}/exe", host.property("MainPID"));
    assert_eq!(host.debian.run(&program).trim(), "/usr/sbin/genkan", "{what}");
    assert_nothing_refused(host);
    lost
}

/// The unit leaves the program what it needs, and the program gives up the rest.
#[track_caller]
fn assert_nothing_refused(host: &Host) {
    let status = host.status().expect("it answers");
    let threads = status["privileges"].as_array().expect("it tells of its threads");
    assert_eq!(threads.len(), 5, "{threads:?}");
    for thread in threads {
        assert_eq!(thread["no_new_privileges"], true, "{thread}");
        assert!(thread["landlock"].as_u64().is_some_and(|abi| abi > 0), "{thread}");
        assert!(thread["system_calls"].as_u64().is_some_and(|calls| calls < 120), "{thread}");
        assert_eq!(thread["refused"], 0, "{thread}");
        assert_eq!(thread["missing"].as_array().map(Vec::len), Some(0), "{thread}");
    }
    let journal = host.journal();
    let faults: Vec<&str> =
        journal.lines().filter(|line| line.contains(" WARN ") || line.contains("ERROR")).collect();
    assert!(faults.is_empty(), "{faults:?}");
}

#[test]
fn an_upgrade_a_restart_and_a_crash_under_systemd_lose_no_session_and_no_packet() {
    let file = file_name(&package("genkan"));
    let host = Host::new("service", &file);
    let debian = &host.debian;
    assert_eq!(debian.run("systemd-analyze verify genkan.service 2>&1"), "");
    assert_nothing_refused(&host);

    // A newer package.
    debian.run(&format!(
        "cd /root && dpkg-deb -R /packages/{file} next && sed -i 's/^Version: .*/&+next/' next/DEBIAN/control && \
         dpkg-deb -Znone -b next next.deb && rm -r next"
    ));

    let stream = host.house.desk.inside(|| TcpStream::connect_timeout(&web(7), PATIENCE)).expect("a stream");
    conversing(stream, |talk| {
        takes_over(&host, talk, "an upgrade", || {
            let said = debian.run("dpkg --install /root/next.deb");
            assert!(debian.run("dpkg-query -W -f '${Version}' genkan").ends_with("+next"), "{said}");
        });
        // It has not waited for systemd to find that nobody is there.
        assert_eq!(host.property("NRestarts"), "0");
        takes_over(&host, talk, "a restart", || {
            debian.run("systemctl restart genkan");
        });

        // What a person says after a change of the configuration.
        let process = host.property("MainPID");
        debian.run("systemctl reload genkan");
        wait_for("the file to be read again", PATIENCE, || match host.journal() {
            journal if journal.contains("it changes nothing") => Ok(()),
            journal => Err(journal),
        });
        assert_eq!(host.property("MainPID"), process);

        // An upgrade whose program does not take the configuration changes nothing.
        debian.run(&format!("sed -i '1i mistake = 1' {CONFIG}"));
        let said = debian.run(&format!("dpkg --install /packages/{file} 2>&1"));
        assert!(said.contains("goes on running"), "{said}");
        assert_eq!((host.property("MainPID"), host.property("ActiveState")), (process, "active".into()));
        debian.run(&format!("sed -i 1d {CONFIG}"));
        takes_over(&host, talk, "a restart with the mistake put right", || {
            debian.run("systemctl restart genkan");
        });

        // Without the kernel path nobody forwards for a moment, but connections go on. A restart applies what has changed.
        debian.run(&format!("printf '[fast-path]\\nmode = \"off\"\\n\\n' | cat - {CONFIG} >/root/off"));
        debian.run(&format!("cp {CONFIG} /root/auto && cat /root/off >{CONFIG}"));
        lost_meanwhile(&host, talk, "a restart without the kernel path from now on", || {
            debian.run("systemctl restart genkan");
        });
        assert!(FastPath::read(&host.status().expect("it answers")).is_err());
        lost_meanwhile(&host, talk, "a restart without the kernel path", || {
            debian.run("systemctl restart genkan");
        });
        debian.run(&format!("cat /root/auto >{CONFIG}"));
        lost_meanwhile(&host, talk, "a restart with the kernel path again", || {
            debian.run("systemctl restart genkan");
        });

        let warnings = debian.run("journalctl --quiet --no-pager --priority warning");
        assert_eq!(warnings, "", "what systemd warns of");
        takes_over(&host, talk, "kill -9", || {
            debian.run("systemctl kill --signal KILL genkan");
        });
        assert_eq!(host.property("NRestarts"), "1");
    });

    // To stop it is to end the session in good order and to give back the cards.
    let before = host.discovery().len();
    debian.run("systemctl stop genkan");
    assert_eq!(host.property("Result"), "success");
    host.wait_hung_up(before);
    assert_eq!(
        debian.run("find /sys/fs/bpf/genkan -mindepth 1; ls /var/lib/genkan | grep -E '^(port|tap)-' || :"),
        ""
    );
    debian.run("systemctl start genkan");
    host.wait_up();

    // So does removing the package.
    let before = host.discovery().len();
    debian.run("dpkg --purge genkan");
    host.wait_hung_up(before);
}
