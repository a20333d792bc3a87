//! What an ISP gives over IPv6, and who gives it on a PPP session in the guest.
//!
//! pppd runs `/etc/ppp/ipv6-up` once IPV6CP is open. The script starts radvd and the DHCPv6 server on the session's
//! interface; `/etc/ppp/ipv6-down` ends them. The server's own hook, or a loop where it has none, adds the route to the
//! prefix that was delegated.

use std::net::Ipv6Addr;

use super::{kea, radvd, wide};
use crate::guest::Guest;

/// The program that delegates prefixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dhcp6 {
    /// Kea's kea-dhcp6, from a pool.
    Kea,
    /// WIDE's dhcp6s.
    Wide,
    /// Nobody does.
    Off,
}

/// What subscribers get over IPv6. Times are in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Delegation {
    /// Who delegates.
    pub server: Dhcp6,
    /// The prefix that is delegated. There is no other: the pool has one, and a server that is asked twice gives it twice.
    pub prefix: Ipv6Addr,
    /// Its length.
    pub length: u8,
    /// When a client renews.
    pub t1: u32,
    /// When a client asks any server.
    pub t2: u32,
    /// Preferred lifetime of a prefix, and of an address.
    pub preferred: u32,
    /// Their valid lifetime.
    pub valid: u32,
    /// The link's /64, for SLAAC; `None` advertises no prefix.
    pub link: Option<Ipv6Addr>,
    /// Whether clients get their address by DHCPv6 (the M flag), from 2001:db8:fffe::/64.
    pub managed: bool,
}

impl Default for Delegation {
    fn default() -> Self {
        Delegation {
            server: Dhcp6::Kea,
            prefix: Ipv6Addr::new(0x2001, 0xdb8, 0x100, 0, 0, 0, 0, 0),
            length: 56,
            t1: 1800,
            t2: 2880,
            preferred: 3600,
            valid: 7200,
            link: None,
            managed: false,
        }
    }
}

impl Delegation {
    /// Writes the scripts and configurations that pppd's sessions will use.
    #[track_caller]
    pub(super) fn prepare(self, guest: &mut Guest) {
        // The interface of a session is known when it is up.
        guest.write("/etc/ppp/radvd.conf", &radvd::config("@DEVICE@", self));
        let start = match self.server {
            Dhcp6::Kea => {
                guest
                    .write("/etc/ppp/kea.conf", &kea::config("@DEVICE@", self, "/run/kea", "/etc/ppp/route"));
                guest.write("/etc/ppp/route", kea::ROUTE);
                // Kea takes the peer's address for the interface's own, and finds no other to listen on.
                "ip -6 address replace fe80::1/64 dev $1
                 sed s/@DEVICE@/$1/ /etc/ppp/kea.conf > /run/kea/$1.conf
                 export KEA_PIDFILE_DIR=/run/kea KEA_LOCKFILE_DIR=none KEA_LOGGER_DESTINATION=stdout
                 kea-dhcp6 -c /run/kea/$1.conf >> /run/test/kea-$1.log 2>&1 &"
                    .to_string()
            }
            Dhcp6::Wide => wide::serve(self),
            Dhcp6::Off => String::new(),
        };
        guest.write("/etc/ppp/dhcp6-up", &format!("#!/bin/sh\n{start}\n"));
        let link = self.link.map_or_else(String::new, |link| format!("ip -6 route replace {link}/64 dev $1"));
        guest.write(
            "/etc/ppp/ipv6-up",
            &format!("#!/bin/sh
             [ $1 != ppp100 ] || exit 0  # the client's
             exec >> /run/test/ipv6-up.log 2>&1 < /dev/null
             killall -9 radvd kea-dhcp6 dhcp6s  # of a session that died without a word
             echo $1 $5 > /run/test/session6
             sed s/@DEVICE@/$1/ /etc/ppp/radvd.conf > /run/test/radvd-$1.conf
             setsid radvd -n -C /run/test/radvd-$1.conf -p /run/test/radvd-$1.pid -m stderr >> /run/test/radvd-$1.log 2>&1 &
             {link}
             setsid /etc/ppp/dhcp6-up $1 $5\n"),
        );
        guest.write(
            "/etc/ppp/ipv6-down",
            "#!/bin/sh\n[ $1 != ppp100 ] || exit 0\nkill $(cat /run/test/radvd-$1.pid)\nkillall kea-dhcp6 dhcp6s\n",
        );
        guest.run("mkdir -p /run/kea; touch /etc/ppp/route; chmod 755 /etc/ppp/ipv6-up /etc/ppp/ipv6-down /etc/ppp/dhcp6-up /etc/ppp/route");
    }

    /// Ends the DHCPv6 server without a word; sessions stay.
    #[track_caller]
    pub fn kill_dhcp6(guest: &mut Guest) {
        guest.run("killall -9 kea-dhcp6 dhcp6s 2>/dev/null; true");
    }

    /// Starts the DHCPv6 server again on the session that is up.
    #[track_caller]
    pub fn restart_dhcp6(guest: &mut Guest) {
        guest.run("setsid /etc/ppp/dhcp6-up $(cat /run/test/session6)");
    }
}
