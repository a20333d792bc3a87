//! pppd and pppoe-server, as configured in the guest.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::delegation::Delegation;
use super::{Authentication, wide};
use crate::guest::Guest;
use crate::lab::{PASSWORD, USERNAME, USERNAME6, WEB};
use crate::wait_for;

/// An ISP made of pppoe-server and pppd, in the guest.
#[derive(Debug, Clone, Copy)]
pub struct Server {
    /// The card that it serves.
    pub card: &'static str,
    /// What it asks subscribers for.
    pub authentication: Authentication,
    /// MTU of a session; above 1492 the card carries it, too (RFC 4638).
    pub mtu: u16,
    /// Address of the first session; later ones get the following.
    pub first: Ipv4Addr,
    /// Whether it speaks IPCP.
    pub ipv4: bool,
    /// Echoes, one every two seconds, that may stay without an answer.
    pub patience: u32,
    /// What a session gets over IPv6; without it IPV6CP is refused.
    pub ipv6: Option<Delegation>,
}

/// The server's own address on each session.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 64, 0, 1);

impl Default for Server {
    fn default() -> Self {
        Server {
            card: "eth0",
            authentication: Authentication::ChapMd5,
            mtu: 1492,
            first: Ipv4Addr::new(10, 64, 1, 1),
            ipv4: true,
            patience: 5,
            ipv6: None,
        }
    }
}

impl Server {
    /// Starts it. Subscribers are [`USERNAME`] and [`USERNAME6`] with [`PASSWORD`].
    #[track_caller]
    pub fn start(self, guest: &mut Guest) {
        let secret = format!("\"{USERNAME}\" * \"{PASSWORD}\" *\n\"{USERNAME6}\" * \"{PASSWORD}\" *\n");
        guest.write("/etc/ppp/pap-secrets", &secret);
        guest.write("/etc/ppp/chap-secrets", &secret);
        let Server { card, authentication, mtu, first, ipv4, patience, ipv6 } = self;
        let asked = authentication.option();
        let families =
            [if ipv4 { "" } else { "noip\n" }, if ipv6.is_some() { "+ipv6" } else { "noipv6" }].concat();
        if let Some(delegation) = ipv6 {
            delegation.prepare(guest);
        }
        guest.write(
            "/etc/ppp/pppoe-server-options",
            &format!(
                "auth\nrequire-{asked}\nname bras\nmtu {mtu}\nmru {mtu}\nms-dns {WEB}\nms-dns {SERVER}\n\
                 lcp-echo-interval 2\nlcp-echo-failure {patience}\n{families}\nnomppe\ndebug\nlogfile /run/test/pppd-server.log\n"
            ),
        );
        guest.write("/etc/ppp/options", "");
        guest.run(&format!(
            "chmod 600 /etc/ppp/*-secrets
             ip link set {card} mtu {}
             setsid pppoe-server -F -I {card} -C bras -L {SERVER} -R {first} -N 20 >/run/test/pppoe-server.log 2>&1 &",
            u32::from(mtu) + 8
        ));
    }

    /// Ends the session on `device` in good order: with a Terminate-Request.
    #[track_caller]
    pub fn hang_up(guest: &mut Guest, device: &str) {
        guest.run(&format!("kill $(cat /var/run/{device}.pid)"));
    }

    /// The session's device that speaks IPv6, once it does.
    #[track_caller]
    pub fn device6(guest: &mut Guest) -> String {
        guest.run("cut -d ' ' -f 1 /run/test/session6").trim().into()
    }

    /// Waits until IPV6CP is open on its first session, and returns the link-local addresses, the server's own first.
    #[track_caller]
    pub fn wait_link_locals(guest: &mut Guest) -> (Ipv6Addr, Ipv6Addr) {
        link_locals(guest, "/run/test/pppd-server.log")
    }

    /// Ends the server and its sessions at once: nobody gets a PADT or a Terminate-Request.
    #[track_caller]
    pub fn kill(guest: &mut Guest) {
        guest.run(
            "killall -9 pppoe-server pppoe pppd radvd kea-dhcp6 dhcp6s 2>/dev/null
             while [ -d /sys/class/net/ppp0 ]; do sleep 0.1; done
             rm -f /run/test/*",
        );
    }
}

/// Waits until the pppd that writes `log` has IPV6CP open, and returns the link-local addresses, its own first.
#[track_caller]
fn link_locals(guest: &mut Guest, log: &str) -> (Ipv6Addr, Ipv6Addr) {
    wait_for("IPV6CP to open", Duration::from_secs(30), || {
        let log = guest.try_run(&format!("cat {log}")).output;
        let said = |side: &str| {
            let line =
                log.lines().rev().find(|line| line.starts_with(side) && line.contains("LL address"))?;
            line.split_whitespace().last()?.parse::<Ipv6Addr>().ok()
        };
        said("local").zip(said("remote")).ok_or_else(|| log.clone())
    })
}

/// pppd with the kernel's PPPoE, on the guest's eth0 or eth1.
#[derive(Debug, Clone, Copy)]
pub struct Client<'a> {
    /// The card that it dials on.
    pub card: &'a str,
    /// The password that it gives.
    pub password: &'a str,
    /// The only protocol that it agrees to.
    pub authentication: Authentication,
    /// MTU that it asks for.
    pub mtu: u16,
    /// Whether it speaks IPCP.
    pub ipv4: bool,
    /// Whether it speaks IPV6CP, too.
    pub ipv6: bool,
}

impl Default for Client<'_> {
    fn default() -> Self {
        let authentication = Authentication::ChapMd5;
        Client { card: "eth1", password: PASSWORD, authentication, mtu: 1492, ipv4: true, ipv6: false }
    }
}

impl Client<'_> {
    /// Starts it, as ppp100.
    #[track_caller]
    pub fn start(self, guest: &mut Guest) {
        let Client { card, password, authentication, mtu, ipv4, ipv6 } = self;
        let families = [if ipv4 { "" } else { "noip\n" }, if ipv6 { "+ipv6" } else { "noipv6" }].concat();
        let mut refused = String::new();
        for other in Authentication::ALL.into_iter().filter(|other| *other != authentication) {
            refused.push_str(&format!("refuse-{}\n", other.option()));
        }
        guest.write(
            "/etc/ppp/client",
            &format!(
                "plugin rp-pppoe.so\n{card}\nunit 100\nuser \"{USERNAME}\"\npassword \"{password}\"\n\
                 {refused}refuse-mschap\nrefuse-eap\nmtu {mtu}\nmru {mtu}\nnoauth\n{families}\nnomppe\nnodeflate\nnobsdcomp\n\
                 novj\nusepeerdns\nnodefaultroute\nmaxfail 1\nlcp-echo-interval 2\nlcp-echo-failure 5\n\
                 debug\nlogfile /run/test/pppd-client.log\n"
            ),
        );
        guest.run(&format!(
            "ip link set {card} mtu {}
             setsid pppd nodetach file /etc/ppp/client >/dev/null 2>&1 &",
            u32::from(mtu) + 8
        ));
    }

    /// Waits until its session is up, and returns its address.
    #[track_caller]
    pub fn wait_up(guest: &mut Guest) -> Ipv4Addr {
        wait_for("pppd's session to be up", Duration::from_secs(30), || {
            let answer = guest.try_run("ip -o -4 address show dev ppp100");
            let address = answer.output.split_whitespace().skip_while(|word| *word != "inet").nth(1);
            let address = address.and_then(|word| word.split('/').next()?.parse().ok());
            address.ok_or_else(|| guest.try_run("tail -n 25 /run/test/pppd-client.log").output)
        })
    }

    /// Waits until IPV6CP is open on its session, and returns the link-local addresses, its own first.
    #[track_caller]
    pub fn wait_link_locals(guest: &mut Guest) -> (Ipv6Addr, Ipv6Addr) {
        link_locals(guest, "/run/test/pppd-client.log")
    }

    /// The MTU of its session.
    #[track_caller]
    pub fn mtu(guest: &mut Guest) -> u16 {
        guest.run("cat /sys/class/net/ppp100/mtu").trim().parse().expect("an MTU is a number")
    }

    /// Has WIDE's dhcp6c ask for a prefix on its session and give `lan` the subnet `subnet` of it, and waits for the
    /// address that this makes. `length` is what the concentrator delegates.
    #[track_caller]
    pub fn delegated(guest: &mut Guest, lan: &str, subnet: u32, length: u8) -> Ipv6Addr {
        wide::ask(guest, "ppp100", lan, subnet, length);
        wait_for("dhcp6c to number the LAN", Duration::from_secs(30), || {
            let answer = guest.try_run(&format!("ip -o -6 address show dev {lan} scope global"));
            let address = answer.output.split_whitespace().skip_while(|word| *word != "inet6").nth(1);
            let address = address.and_then(|word| word.split('/').next()?.parse().ok());
            address.ok_or_else(|| guest.try_run("tail -n 25 /run/test/dhcp6c.log").output)
        })
    }
}
