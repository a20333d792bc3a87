//! pppd and pppoe-server, as configured in the guest.

use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::guest::Guest;
use crate::lab::{PASSWORD, USERNAME, WEB};
use crate::wait_for;

/// What pppd may ask its peer for, or may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authentication {
    /// RFC 1334.
    Pap,
    /// RFC 1994, with MD5.
    ChapMd5,
    /// RFC 2759.
    MsChapV2,
}

impl Authentication {
    /// Every one of them.
    pub const ALL: [Authentication; 3] =
        [Authentication::Pap, Authentication::ChapMd5, Authentication::MsChapV2];

    /// pppd's name for it, after "require-" and "refuse-".
    fn option(self) -> &'static str {
        match self {
            Authentication::Pap => "pap",
            Authentication::ChapMd5 => "chap",
            Authentication::MsChapV2 => "mschap-v2",
        }
    }
}

/// genkan's name for it.
impl fmt::Display for Authentication {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Authentication::Pap => "pap",
            Authentication::ChapMd5 => "chap-md5",
            Authentication::MsChapV2 => "ms-chap-v2",
        })
    }
}

/// An ISP made of pppoe-server and pppd, on the guest's eth0.
#[derive(Debug, Clone, Copy)]
pub struct Server {
    /// What it asks subscribers for.
    pub authentication: Authentication,
    /// MTU of a session; above 1492 the card carries it, too (RFC 4638).
    pub mtu: u16,
    /// Address of the first session; later ones get the following.
    pub first: Ipv4Addr,
}

/// The server's own address on each session.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 64, 0, 1);

impl Default for Server {
    fn default() -> Self {
        Server { authentication: Authentication::ChapMd5, mtu: 1492, first: Ipv4Addr::new(10, 64, 1, 1) }
    }
}

impl Server {
    /// Starts it. Subscribers are [`USERNAME`] with [`PASSWORD`].
    #[track_caller]
    pub fn start(self, guest: &mut Guest) {
        let secret = format!("\"{USERNAME}\" * \"{PASSWORD}\" *\n");
        guest.write("/etc/ppp/pap-secrets", &secret);
        guest.write("/etc/ppp/chap-secrets", &secret);
        let Server { authentication, mtu, first } = self;
        let asked = authentication.option();
        guest.write(
            "/etc/ppp/pppoe-server-options",
            &format!(
                "auth\nrequire-{asked}\nname bras\nmtu {mtu}\nmru {mtu}\nms-dns {WEB}\nms-dns {SERVER}\n\
                 lcp-echo-interval 2\nlcp-echo-failure 5\nnoipv6\nnomppe\ndebug\nlogfile /run/test/pppd-server.log\n"
            ),
        );
        guest.write("/etc/ppp/options", "");
        guest.run(&format!(
            "chmod 600 /etc/ppp/*-secrets
             ip link set eth0 mtu {}
             setsid pppoe-server -F -I eth0 -C bras -L {SERVER} -R {first} -N 20 >/run/test/pppoe-server.log 2>&1 &",
            u32::from(mtu) + 8
        ));
    }

    /// Ends the server and its sessions at once: nobody gets a PADT or a Terminate-Request.
    #[track_caller]
    pub fn kill(guest: &mut Guest) {
        guest.run(
            "killall -9 pppoe-server pppoe pppd 2>/dev/null
             while [ -d /sys/class/net/ppp0 ]; do sleep 0.1; done
             rm -f /run/test/*",
        );
    }
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
}

impl Default for Client<'_> {
    fn default() -> Self {
        Client { card: "eth1", password: PASSWORD, authentication: Authentication::ChapMd5, mtu: 1492 }
    }
}

impl Client<'_> {
    /// Starts it, as ppp100.
    #[track_caller]
    pub fn start(self, guest: &mut Guest) {
        let Client { card, password, authentication, mtu } = self;
        let mut refused = String::new();
        for other in Authentication::ALL.into_iter().filter(|other| *other != authentication) {
            refused.push_str(&format!("refuse-{}\n", other.option()));
        }
        guest.write(
            "/etc/ppp/client",
            &format!(
                "plugin rp-pppoe.so\n{card}\nunit 100\nuser \"{USERNAME}\"\npassword \"{password}\"\n\
                 {refused}refuse-mschap\nrefuse-eap\nmtu {mtu}\nmru {mtu}\nnoauth\nnoipv6\nnomppe\nnodeflate\nnobsdcomp\n\
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

    /// The MTU of its session.
    #[track_caller]
    pub fn mtu(guest: &mut Guest) -> u16 {
        guest.run("cat /sys/class/net/ppp100/mtu").trim().parse().expect("an MTU is a number")
    }
}
