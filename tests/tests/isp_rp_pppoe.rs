//! The ISP is Debian's pppoe-server with pppd, in the guest.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Stdio;
use std::time::Duration;

use genkan_tests::client::{download, echo, fetch, resolve, transfers};
use genkan_tests::gateway::Genkan;
use genkan_tests::guest::Guest;
use genkan_tests::lab::{GATEWAY, Lab, PASSWORD, WEB, web};
use genkan_tests::netns::stop;
use genkan_tests::peers::{Authentication, Delegation, Dhcp6, SERVER, Server};
use genkan_tests::topology::{Dial, Far, House, Port, guest_isp};
use genkan_tests::wait_for;

/// The guest as the ISP, and a house; nothing runs yet.
fn street(name: &str) -> (Lab, Guest, Far, House) {
    let lab = Lab::new(name);
    let mut guest = Guest::obtain(&lab);
    let far = guest_isp(&mut guest);
    let house = House::new(Port::Nic, Port::Nic);
    guest.plug(0, &house.router, "wan0");
    (lab, guest, far, house)
}

const PATIENCE: Duration = Duration::from_secs(40);

/// The address that the far host sees.
fn seen(house: &House) -> Result<String, String> {
    let page = house.desk.inside(|| fetch(web(80), "/address"))?;
    Ok(page.split(':').next().unwrap_or_default().to_string())
}

#[test]
fn each_authentication_brings_the_lan_online() {
    let (lab, mut guest, _far, house) = street("isp-authentication");
    for (number, authentication) in Authentication::ALL.into_iter().enumerate() {
        let first = Ipv4Addr::new(10, 64, 1 + number as u8, 1);
        Server { authentication, first, ..Server::default() }.start(&mut guest);
        let gateway = house.start(&lab, Dial::default(), "");
        let wan = gateway.wait_up("isp", PATIENCE);
        assert_eq!((wan.address.as_str(), wan.mtu), (first.to_string().as_str(), 1492), "{authentication}");
        lab.lease(&house.desk, "eth0");
        house.desk.run(&format!("ping -c 2 -i 0.3 -W 3 {SERVER}"));
        house.desk.run(&format!("ping -c 2 -i 0.3 -W 3 {WEB}"));
        let answer = house.desk.inside(|| resolve(SocketAddr::from((GATEWAY, 53)), "www.example.test."));
        assert_eq!(answer, Ok(vec![WEB]), "the name server that IPCP told, {authentication}");
        assert_eq!(seen(&house), Ok(first.to_string()), "{authentication}");
        assert!(!gateway.log().contains(PASSWORD), "the password is in the log");
        gateway.end();
        // The session ended with a PADT or a Terminate-Request: pppd goes at once.
        wait_for("the server's pppd to end", Duration::from_secs(5), || {
            let answer = guest.try_run("pidof pppd");
            if answer.status == 0 { Err(format!("pppd {} still runs", answer.output.trim())) } else { Ok(()) }
        });
        Server::kill(&mut guest);
    }
}

#[test]
fn a_wrong_password_is_told_and_not_hammered() {
    let (lab, mut guest, _far, house) = street("isp-refusal");
    for authentication in Authentication::ALL {
        Server { authentication, ..Server::default() }.start(&mut guest);
        let dial = Dial { password: "a wrong one", ..Dial::default() };
        let gateway = house.start(&lab, dial, "");
        gateway.wait_log("that authentication failed", PATIENCE, |line| {
            let line = line.to_lowercase();
            line.contains("refused") || line.contains("rejected") || line.contains("authentication failed")
        });
        std::thread::sleep(Duration::from_secs(5));
        let tries =
            guest.run("grep -c 'rcvd .LCP ConfReq id=' /run/test/pppd-server.log").trim().parse::<u32>();
        assert!(tries.expect("a count") <= 12, "{authentication}: it hammers the ISP");
        let wan = gateway.wan("isp").expect("a status");
        assert_ne!(wan.state, "up", "{authentication}");
        assert!(!gateway.log().contains("a wrong one"), "the password is in the log");
        let told = gateway.wait_explained("isp", &["authentication fails", "typing error", "refuses"]);
        assert!(!told.contains("a wrong one"), "{told}");
        gateway.end();
        Server::kill(&mut guest);
    }
}

#[test]
fn an_mtu_of_1500_carries_whole_packets() {
    let (lab, mut guest, far, house) = street("isp-mtu");
    Server { mtu: 1500, ..Server::default() }.start(&mut guest);
    let gateway = house.start(&lab, Dial { mtu: Some(1500), ..Dial::default() }, "");
    let wan = gateway.wait_up("isp", PATIENCE);
    assert_eq!(wan.mtu, 1500, "{}", wan.all);
    lab.lease(&house.desk, "eth0");
    house.desk.run(&format!("ping -c 2 -i 0.3 -W 3 -M do -s 1472 {WEB}"));
    far.host.run(&format!("ping -c 1 -W 3 {SERVER}"));
    drop(gateway);
}

#[test]
fn transfers_through_pppd_arrive_whole() {
    const LENGTH: u64 = 5_000_000;
    let (lab, mut guest, _far, house) = street("isp-transfer");
    Server::default().start(&mut guest);
    let gateway = house.start(&lab, Dial::default(), "");
    gateway.wait_up("isp", PATIENCE);
    lab.lease(&house.desk, "eth0");
    transfers(&house.desk, web(80), LENGTH);
}

/// pppd's own log says what it was asked: after kill -9 nothing but echoes, and its session and address are what they were.
#[test]
fn after_kill_9_pppd_is_not_asked_to_negotiate_anything() {
    let (lab, mut guest, _far, house) = street("isp-adopt");
    let nobody = Delegation { server: Dhcp6::Off, ..Delegation::default() };
    Server { ipv6: Some(nobody), ..Server::default() }.start(&mut guest);
    let mut gateway = house.start(&lab, Dial { wan: "ipv6 = true\n", ..Dial::default() }, "");
    gateway.wait_up("isp", PATIENCE);
    gateway.wait_log("both families", PATIENCE, |line| line.contains("IPv6 is online"));
    gateway.wait_log("both families", PATIENCE, |line| line.contains("online: address"));
    lab.lease(&house.desk, "eth0");
    let before = gateway.wan("isp").expect("a status");
    let log = "/run/test/pppd-server.log";
    let count = |guest: &mut Guest, what: &str| -> u32 {
        guest.try_run(&format!("grep -c '{what}' {log}")).output.trim().parse().expect("a count")
    };
    let (conf, process) = (count(&mut guest, "Conf[A-Z]"), guest.run("pidof pppd"));
    // What is written is written by a thread of its own.
    std::thread::sleep(Duration::from_secs(1));
    gateway.kill();
    let gateway = gateway.again(&lab, &house.router);
    let after = gateway.wan("isp").expect("a status");
    assert_eq!(
        (after.state.as_str(), &after.address, after.session, after.mtu),
        ("up", &before.address, before.session, before.mtu)
    );
    assert_eq!(seen(&house), Ok(before.address), "at once");
    // It would be gone by now if its echoes were not answered.
    std::thread::sleep(Duration::from_secs(8));
    assert_eq!(gateway.wan("isp").expect("a status").session, before.session);
    let told = guest.run(&format!("tail -30 {log}"));
    assert_eq!(count(&mut guest, "Conf[A-Z]"), conf, "{told}");
    assert_eq!(guest.run("pidof pppd"), process, "the same pppd serves");
    house.desk.run(&format!("ping -c 2 -i 0.3 -W 3 {WEB}"));
    gateway.end();
    Server::kill(&mut guest);
}

/// The server goes without a word and comes back with other addresses: the gateway notices by its own echo, redials,
/// and no flow keeps the old address.
#[test]
fn a_server_killed_and_brought_back_with_another_address() {
    let (lab, mut guest, _far, house) = street("isp-redial");
    Server::default().start(&mut guest);
    let gateway = house.start(&lab, Dial::default(), "");
    let before = gateway.wait_up("isp", PATIENCE);
    lab.lease(&house.desk, "eth0");

    // One socket through it all: its port has a mapping to the old address.
    let socket = house.desk.inside(|| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a socket");
        socket.connect(web(9)).expect("a UDP socket connects at once");
        socket.set_read_timeout(Some(Duration::from_secs(2))).expect("a timeout");
        socket
    });
    let origin = |socket: &UdpSocket| -> Result<String, String> {
        socket.send(b"who am I?").map_err(|error| error.to_string())?;
        let mut reply = [0; 64];
        let length = socket.recv(&mut reply).map_err(|error| error.to_string())?;
        let reply = String::from_utf8_lossy(&reply[..length]).into_owned();
        Ok(reply.split(':').next().unwrap_or_default().to_string())
    };
    assert_eq!(origin(&socket), Ok(before.address.clone()));

    Server::kill(&mut guest);
    wait_for("the gateway to notice", Duration::from_secs(15), || match gateway.wan("isp") {
        Ok(wan) if wan.state != "up" => Ok(()),
        Ok(wan) => Err(wan.all),
        Err(error) => Err(error),
    });
    let first = Ipv4Addr::new(10, 64, 99, 1);
    Server { first, ..Server::default() }.start(&mut guest);
    let after = gateway.wait_up("isp", Duration::from_secs(90));
    assert_eq!(after.address, first.to_string(), "{} before", before.address);

    wait_for("the old socket to be translated to the new address", Duration::from_secs(10), || {
        let now = origin(&socket)?;
        if now == after.address { Ok(()) } else { Err(format!("it came from {now}")) }
    });
    assert_eq!(seen(&house), Ok(after.address));
    house.desk.inside(|| echo(web(7), "a new flow")).expect("new flows work");
}

#[test]
fn ten_cold_starts_are_all_up() {
    let (lab, mut guest, _far, house) = street("isp-cold");
    Server::default().start(&mut guest);
    for number in 1..=10 {
        let mut gateway: Genkan = house.start(&lab, Dial::default(), "");
        gateway.wait_up("isp", PATIENCE);
        lab.lease(&house.desk, "eth0");
        house.desk.run(&format!("ping -c 1 -W 3 {WEB}"));
        // Every other one ends without a good-bye, as in a power cut.
        if number % 2 == 0 {
            gateway.kill();
        } else {
            gateway.end();
        }
        let _ = std::fs::remove_dir_all(lab.folder().join("router.state"));
    }
}

/// RFC 5072 INTERFACE-IDENTIFIER. RFC 7084 WLL-2, WLL-3. TR-124 WAN.PPP.IPv6.5: the ISP has both families, either of them,
/// and not the one that is asked for besides.
#[test]
fn ipv6cp_opens_beside_and_instead_of_ipcp() {
    let (lab, mut guest, _far, house) = street("isp-families");
    for (ipv4, ipv6) in [(true, true), (false, true), (true, false)] {
        let nobody = Delegation { server: Dhcp6::Off, ..Delegation::default() };
        Server { ipv4, ipv6: ipv6.then_some(nobody), ..Server::default() }.start(&mut guest);
        let gateway = house.start(&lab, Dial { wan: "ipv6 = true\n", ..Dial::default() }, "");
        let wan = gateway.wait_up("isp", PATIENCE);
        if ipv6 {
            let (theirs, ours) = Server::wait_link_locals(&mut guest);
            let told = format!("link-local address {ours}, peer {theirs}");
            gateway.wait_log("the link-local addresses", PATIENCE, |line| line.contains(&told));
        } else {
            gateway.wait_log("that there is no IPv6", PATIENCE, |line| line.contains("does not offer IPv6"));
        }
        if ipv4 {
            gateway.wait_log("the IPv4 address", PATIENCE, |line| line.contains("online: address 10.64.1.1"));
            lab.lease(&house.desk, "eth0");
            house.desk.run(&format!("ping -c 2 -i 0.3 -W 3 {WEB}"));
        } else {
            gateway.wait_log("that there is no IPv4", PATIENCE, |line| line.contains("does not offer IPv4"));
        }
        let now = gateway.wait_up("isp", PATIENCE);
        assert_eq!(now.mtu, wan.mtu);
        gateway.end();
        Server::kill(&mut guest);
    }
}

/// Lesson 5: an ISP that is in VLAN 6 and wants priority 6 on what keeps the session. tcpdump reads the cable.
#[test]
fn a_tagged_uplink_comes_up_with_a_priority_on_control_frames_alone() {
    let (lab, mut guest, _far, mut house) = street("isp-vlan");
    house.vlan = Some((6, 6));
    guest.run("ip link add link eth0 name eth0.6 type vlan id 6; ip link set eth0.6 up");
    Server { card: "eth0.6", ..Server::default() }.start(&mut guest);
    let file = lab.logs().join("cable.pcap");
    let mut tcpdump = house.router.command("tcpdump");
    tcpdump.args(["-Z", "root", "-U", "-i", "wan0", "-w"]).arg(&file).stderr(Stdio::null());
    let mut tcpdump = tcpdump.spawn().expect("tcpdump is installed");
    wait_for("tcpdump to listen", Duration::from_secs(10), || {
        std::fs::metadata(&file).map_err(|error| error.to_string()).map(drop)
    });
    let gateway = house.start(&lab, Dial::default(), "");
    let wan = gateway.wait_up("isp", PATIENCE);
    assert_eq!(wan.mtu, 1492, "the tag is not part of the MTU");
    lab.lease(&house.desk, "eth0");
    house.desk.run(&format!("ping -c 3 -i 0.3 -W 3 -M do -s 1464 {WEB}"));
    house.desk.inside(|| download(web(80), 300_000)).expect("a download");
    gateway.end();
    stop(&mut tcpdump, Duration::from_secs(5));

    let ours = house.router.run("cat /sys/class/net/wan0/address");
    let said = house.router.run(&format!("tcpdump -e -n -r {} ether src {}", file.display(), ours.trim()));
    let lines = || said.lines().filter(|line| line.contains("ethertype"));
    assert!(
        lines().all(|line| line.contains("ethertype 802.1Q (0x8100)") && line.contains("vlan 6,")),
        "{said}"
    );
    let (control, data): (Vec<_>, Vec<_>) =
        lines().partition(|line| ["PPPoE D", "LCP", "CHAP", "IPCP"].iter().any(|word| line.contains(word)));
    assert!(control.len() >= 8 && data.len() >= 10, "{} and {}: {said}", control.len(), data.len());
    assert!(control.iter().all(|line| line.contains("vlan 6, p 6,")), "{control:#?}");
    assert!(data.iter().all(|line| line.contains("vlan 6, p 0,")), "{data:#?}");
}
