//! The real peers among themselves: what fails here is no fault of genkan's.

use std::time::Duration;

use genkan_tests::guest::Guest;
use genkan_tests::lab::Lab;
use genkan_tests::netns::Namespace;
use genkan_tests::peers::{Authentication, Client, Delegation, Dhcp6, Server};
use genkan_tests::wait_for;

/// The guest with a cable between its two cards.
fn looped(lab: &Lab) -> (Guest, Namespace) {
    let mut guest = Guest::obtain(lab);
    let cable = Namespace::new("cable");
    cable.ip(&["link", "add", "bridge0", "mtu", "1600", "type", "bridge"]);
    for card in [0, 1] {
        let end = format!("end{card}");
        guest.plug(card, &cable, &end);
        cable.ip(&["link", "set", &end, "master", "bridge0"]);
    }
    cable.ip(&["link", "set", "bridge0", "up"]);
    (guest, cable)
}

#[test]
fn pppd_reaches_pppoe_server_with_each_authentication() {
    let lab = Lab::new("guest-authentication");
    let (mut guest, _cable) = looped(&lab);
    for authentication in Authentication::ALL {
        Server { authentication, ..Server::default() }.start(&mut guest);
        Client { authentication, ..Client::default() }.start(&mut guest);
        let address = Client::wait_up(&mut guest);
        assert_eq!(address, Server::default().first, "{authentication}");
        assert_eq!(Client::mtu(&mut guest), 1492, "{authentication}");
        Server::kill(&mut guest);
    }
}

#[test]
fn pppoe_server_refuses_a_wrong_password() {
    let lab = Lab::new("guest-refusal");
    let (mut guest, _cable) = looped(&lab);
    for authentication in Authentication::ALL {
        Server { authentication, ..Server::default() }.start(&mut guest);
        Client { authentication, password: "wrong", ..Client::default() }.start(&mut guest);
        wait_for("pppd to be refused", Duration::from_secs(20), || {
            let log = guest.try_run("cat /run/test/pppd-client.log").output;
            let refused = log.contains("authentication failed")
                || log.contains("AuthNak")
                || log.contains("CHAP Failure");
            if refused { Ok(()) } else { Err(log) }
        });
        guest.try_run("killall -9 pppd pppoe-server pppoe; rm -f /run/test/*");
    }
}

#[test]
fn pppd_gets_an_mtu_of_1500_from_pppoe_server() {
    let lab = Lab::new("guest-mtu");
    let (mut guest, _cable) = looped(&lab);
    Server { mtu: 1500, ..Server::default() }.start(&mut guest);
    Client { mtu: 1500, ..Client::default() }.start(&mut guest);
    Client::wait_up(&mut guest);
    assert_eq!(Client::mtu(&mut guest), 1500);
}

/// Kea and dhcp6s delegate to dhcp6c, over pppd's IPV6CP.
#[test]
fn dhcp6c_gets_a_prefix_from_kea_and_from_dhcp6s() {
    let lab = Lab::new("guest-delegation");
    let (mut guest, _cable) = looped(&lab);
    for server in [Dhcp6::Kea, Dhcp6::Wide] {
        Server { ipv6: Some(Delegation { server, ..Delegation::default() }), ..Server::default() }
            .start(&mut guest);
        Client { ipv6: true, ..Client::default() }.start(&mut guest);
        Client::wait_up(&mut guest);
        let address = Client::delegated(&mut guest, "lo", 1, 56);
        assert_eq!(address.segments()[..4], [0x2001, 0xdb8, 0x100, 1], "{server:?}");
        // The way to the prefix, on the server's side.
        let routes = guest.run("ip -6 route show");
        assert!(routes.contains("2001:db8:100::/56 via fe80:"), "{server:?}: {routes}");
        Server::kill(&mut guest);
        guest.run("killall -9 dhcp6c; ip address flush dev lo scope global");
    }
}
