//! The subscriber is Debian's pppd with the kernel's PPPoE, in the guest; the ISP is our concentrator.

use std::time::Duration;

use genkan_tests::guest::Guest;
use genkan_tests::lab::{Lab, PASSWORD, USERNAME, WEB, WEB6};
use genkan_tests::peers::{Authentication, Client};
use genkan_tests::replayed;
use genkan_tests::topology::{Isp, Terms};
use genkan_tests::wait_for;
use genkan_tests::wire::Wire;

fn street(name: &str) -> (Lab, Guest, Isp) {
    let lab = Lab::new(name);
    let mut guest = Guest::obtain(&lab);
    let isp = Isp::default();
    guest.plug(1, &isp.namespace, "access0");
    (lab, guest, isp)
}

#[test]
fn pppd_comes_in_with_each_authentication() {
    let (lab, mut guest, isp) = street("client-authentication");
    for authentication in Authentication::ALL {
        let concentrator = isp.start(&lab, Terms { authentication, ..Terms::default() });
        Client { authentication, ..Client::default() }.start(&mut guest);
        let address = Client::wait_up(&mut guest);
        assert_eq!(address.octets()[..2], [100, 64], "{authentication}");
        assert_eq!(Client::mtu(&mut guest), 1492, "{authentication}");
        guest.run(&format!("ip route replace {WEB} dev ppp100; ping -c 2 -W 3 {WEB}"));
        // Both ends' echoes run every two seconds: it stays up.
        std::thread::sleep(Duration::from_secs(5));
        guest.run(&format!("ping -c 1 -W 3 -s 1464 {WEB}"));
        let names = guest.run("cat /etc/ppp/resolv.conf");
        assert!(names.contains(&WEB.to_string()), "the name server that IPCP told: {names}");

        // pppd says good-bye, and the concentrator forgets it.
        guest.run("killall pppd; while pidof pppd >/dev/null; do sleep 0.1; done; rm -f /run/test/*");
        wait_for("the session to end", Duration::from_secs(5), || {
            let status = concentrator.status()?;
            let sessions = &status["concentrators"][0]["sessions"];
            let none = sessions.as_u64() == Some(0) || sessions.as_array().is_some_and(Vec::is_empty);
            if none { Ok(()) } else { Err(sessions.to_string()) }
        });
        concentrator.end();
    }
}

/// tcpdump's capture of pppd's line, replayed: our gateway in pppd's place comes to what pppd came to.
#[test]
fn a_capture_of_pppds_session_replays_to_the_same_states() {
    let (lab, mut guest, isp) = street("client-replay");
    let isp = isp.with_ipv6();
    for authentication in Authentication::ALL {
        let concentrator = isp.start(&lab, Terms { authentication, ipv6: true, ..Terms::default() });
        let wire = Wire::listen(&lab, &isp.namespace, "access0", "");
        Client { authentication, ipv6: true, ..Client::default() }.start(&mut guest);
        let address = Client::wait_up(&mut guest);
        Client::wait_link_locals(&mut guest);
        let status = concentrator.status().expect("a status");
        let session = status["concentrators"][0]["sessions"][0]["session_id"].as_u64();
        std::thread::sleep(Duration::from_secs(3));
        let capture = wire.finish();
        let config = replayed::config(&replayed::dialled(USERNAME), PASSWORD);
        let (replay, outcomes) = replayed::replay(&config, &capture, 1);
        let wan = replay.gateway().status(replay.now()).wans.remove(0);
        let story = replayed::text(&replay, &outcomes);
        assert_eq!((wan.state, wan.address), ("up", Some(address)), "{authentication}: {story}");
        assert_eq!(
            (wan.session_id.map(u64::from), wan.mtu),
            (session, Some(1492)),
            "{authentication}: {story}"
        );
        assert!(wan.ipv6.is_some_and(|ipv6| ipv6.link_local.is_some()), "{authentication}: {story}");
        guest.run("killall pppd; while pidof pppd >/dev/null; do sleep 0.1; done; rm -f /run/test/*");
        concentrator.end();
    }
}

#[test]
fn pppd_with_a_wrong_password_is_refused() {
    let (lab, mut guest, isp) = street("client-refusal");
    for authentication in Authentication::ALL {
        let concentrator = isp.start(&lab, Terms { authentication, ..Terms::default() });
        Client { authentication, password: "a wrong one", ..Client::default() }.start(&mut guest);
        wait_for("pppd to be refused", Duration::from_secs(20), || {
            let log = guest.try_run("cat /run/test/pppd-client.log").output;
            let refused = log.contains("authentication failed")
                || log.contains("AuthNak")
                || log.contains("CHAP Failure");
            if refused { Ok(()) } else { Err(log) }
        });
        assert!(!concentrator.log().contains("a wrong one"), "the password is in the log");
        guest.try_run("killall -9 pppd; rm -f /run/test/*");
        concentrator.end();
    }
}

#[test]
fn pppd_gets_an_mtu_of_1500() {
    let (lab, mut guest, isp) = street("client-mtu");
    let _concentrator = isp.start(&lab, Terms { mtu: 1500, ..Terms::default() });
    Client { mtu: 1500, ..Client::default() }.start(&mut guest);
    Client::wait_up(&mut guest);
    assert_eq!(Client::mtu(&mut guest), 1500);
    guest.run(&format!("ip route replace {WEB} dev ppp100; ping -c 2 -W 3 -s 1472 {WEB}"));
}

/// A concentrator that is killed leaves pppd a session that is no more; pppd's echo finds out, and it comes in again.
#[test]
fn pppd_comes_back_after_a_crash_of_the_concentrator() {
    let (lab, mut guest, isp) = street("client-crash");
    let mut concentrator = isp.start(&lab, Terms::default());
    Client::default().start(&mut guest);
    Client::wait_up(&mut guest);
    concentrator.kill();
    let _concentrator = concentrator.again(&lab, &isp.namespace);
    wait_for("pppd to notice", Duration::from_secs(25), || {
        if guest.try_run("[ -d /sys/class/net/ppp100 ]").status == 0 {
            Err("ppp100 is there".into())
        } else {
            Ok(())
        }
    });
    guest.try_run("killall -9 pppd; rm -f /run/test/*");
    Client::default().start(&mut guest);
    Client::wait_up(&mut guest);
    guest.run(&format!("ip route replace {WEB} dev ppp100; ping -c 2 -W 3 {WEB}"));
}

/// RFC 5072 INTERFACE-IDENTIFIER. RFC 7084 WLL-3. TR-124 WAN.PPP.IPv6.5: pppd speaks both families, either of them, and
/// one that the concentrator does not have.
#[test]
fn pppd_speaks_ipv6_beside_and_instead_of_ipv4() {
    let (lab, mut guest, isp) = street("client-families");
    let isp = isp.with_ipv6();
    for (ipv4, ipv6, served) in
        [(true, true, true), (false, true, true), (true, false, true), (true, true, false)]
    {
        let concentrator = isp.start(&lab, Terms { ipv6: served, ..Terms::default() });
        Client { ipv4, ipv6, ..Client::default() }.start(&mut guest);
        let address = ipv4.then(|| Client::wait_up(&mut guest).to_string());
        let link_local = (ipv6 && served).then(|| {
            let (own, peer) = Client::wait_link_locals(&mut guest);
            assert_ne!(own, peer);
            own.to_string()
        });
        // Whatever was refused may be heard of for a while.
        std::thread::sleep(Duration::from_secs(5));
        let status = concentrator.status().expect("a status");
        let session = &status["concentrators"][0]["sessions"][0];
        assert_eq!(session["address"].as_str(), address.as_deref(), "{status}");
        assert_eq!(session["link_local"].as_str(), link_local.as_deref(), "{status}");
        if ipv4 {
            guest.run(&format!("ip route replace {WEB} dev ppp100; ping -c 2 -W 3 {WEB}"));
        }
        guest.run("killall pppd; while pidof pppd >/dev/null; do sleep 0.1; done; rm -f /run/test/*");
        concentrator.end();
    }
}

/// RFC 7084 WPD-1: dhcp6c numbers a LAN of its own out of what the concentrator delegates, and a subscriber has the same
/// prefix after a redial and after a crash of the concentrator.
#[test]
fn dhcp6c_on_pppd_is_delegated_the_same_prefix_each_time() {
    let (lab, mut guest, isp) = street("client-delegation");
    let isp = isp.with_ipv6();
    let mut concentrator = isp.start(&lab, Terms { ipv6: true, ..Terms::default() });
    let mut addresses = Vec::new();
    for round in ["first", "after a redial", "after a crash of the concentrator"] {
        Client { ipv6: true, ..Client::default() }.start(&mut guest);
        Client::wait_up(&mut guest);
        // dhcp6c's sla-id and sla-len: subnet 0xab of a /56.
        let address = Client::delegated(&mut guest, "eth0", 0xab, 56);
        let [first, second, third, fourth, ..] = address.segments();
        assert_eq!((first, second, third >> 8, fourth & 0xff), (0x2001, 0xdb8, 1, 0xab), "{round}");
        guest.run(&format!("ip -6 route replace {WEB6} dev ppp100; ping6 -c 2 -W 3 -I {address} {WEB6}"));
        addresses.push(address);
        guest.run(
            "killall -9 dhcp6c; ip address flush dev eth0 scope global
             killall pppd; while pidof pppd >/dev/null; do sleep 0.1; done; rm -f /run/test/*",
        );
        if addresses.len() == 2 {
            concentrator.kill();
            concentrator = concentrator.again(&lab, &isp.namespace);
        }
    }
    addresses.dedup();
    assert_eq!(addresses.len(), 1, "{addresses:?}");
}
