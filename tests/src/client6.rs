//! A host's view of IPv6: its addresses and their lifetimes, its routers, what it is told, and whom the far side sees.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::client::{fetch, open};
use crate::lab::{Lab, WEB6, web6};
use crate::netns::{Namespace, text};
use crate::wait_for;

/// A host on the LAN, by its card `eth0`.
#[derive(Debug, Clone, Copy)]
pub struct Client6<'a> {
    namespace: &'a Namespace,
}

/// One of its addresses. Times are in seconds, [`u32::MAX`] is for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub address: Ipv6Addr,
    /// How much longer new connections use it; 0 is deprecated.
    pub preferred: u32,
    /// How much longer it is there.
    pub valid: u32,
}

impl Address {
    /// Whether it is in this network.
    pub fn is_in(&self, network: Ipv6Addr, length: u8) -> bool {
        let shift = 128 - u32::from(length);
        let cut = |address: Ipv6Addr| u128::from(address).checked_shr(shift).unwrap_or(0);
        cut(self.address) == cut(network)
    }
}

/// A Router Advertisement, as rdisc6 prints it. Times are in seconds, [`u32::MAX`] is for ever.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Advertisement {
    /// How long the router is a default router; 0 is none.
    pub lifetime: u32,
    /// The M flag.
    pub managed: bool,
    /// The O flag.
    pub other: bool,
    /// Prefixes, with preferred and valid lifetimes.
    pub prefixes: Vec<(String, u32, u32)>,
    /// Name servers (RDNSS).
    pub dns: Vec<Ipv6Addr>,
    /// Search domains (DNSSL).
    pub domains: Vec<String>,
    /// The whole output.
    pub all: String,
}

/// What a DHCPv6 client was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease6 {
    /// Its address; `None` when it asked for information alone.
    pub address: Option<Ipv6Addr>,
    /// Name servers.
    pub dns: Vec<Ipv6Addr>,
    /// The search domain, without the dot at its end; empty when none was told.
    pub domain: String,
}

impl<'a> Client6<'a> {
    /// Has the kernel configure the host by Router Advertisements. Its card is taken down first: it starts cold.
    #[track_caller]
    pub fn slaac(namespace: &'a Namespace) -> Client6<'a> {
        namespace.ip(&["link", "set", "eth0", "down"]);
        namespace.speak_ipv6("eth0");
        namespace.sysctl_of("eth0", "accept_dad", "1");
        // The first solicitation goes out at once, and again after a second.
        for (key, value) in [("accept_ra", "1"), ("autoconf", "1"), ("router_solicitation_delay", "0")] {
            namespace.sysctl_of("eth0", key, value);
        }
        for (key, value) in [("router_solicitation_interval", "1"), ("router_solicitations", "20")] {
            namespace.sysctl_of("eth0", key, value);
        }
        namespace.ip(&["link", "set", "eth0", "up"]);
        Client6 { namespace }
    }

    /// The host as it is.
    pub fn of(namespace: &'a Namespace) -> Client6<'a> {
        Client6 { namespace }
    }

    /// Its addresses that reach beyond the link and are not tentative.
    pub fn addresses(self) -> Result<Vec<Address>, String> {
        let all = self.json("address show dev eth0 scope global")?;
        let all = all.get(0).and_then(|device| device.get("addr_info")).and_then(Value::as_array);
        let mut found = Vec::new();
        for one in all.into_iter().flatten() {
            let flag = |name: &str| one.get(name).and_then(Value::as_bool) == Some(true);
            let time = |name: &str| {
                let time = one.get(name).and_then(Value::as_u64).unwrap_or(0);
                u32::try_from(time).unwrap_or(u32::MAX)
            };
            let address = one.get("local").and_then(Value::as_str).and_then(|address| address.parse().ok());
            let address = address.filter(|_| !flag("tentative") && !flag("dadfailed"));
            found.extend(address.map(|address| Address {
                address,
                preferred: time("preferred_life_time"),
                valid: time("valid_life_time"),
            }));
        }
        Ok(found)
    }

    /// Its address in a network.
    pub fn address_in(self, network: Ipv6Addr, length: u8) -> Result<Address, String> {
        let all = self.addresses()?;
        let found = all.iter().find(|address| address.is_in(network, length)).cloned();
        found.ok_or_else(|| format!("no address in {network}/{length} among {all:?}"))
    }

    /// Waits for an address in a network.
    #[track_caller]
    pub fn wait_address_in(self, network: Ipv6Addr, length: u8, limit: Duration) -> Address {
        wait_for(&format!("an address in {network}/{length}"), limit, || self.address_in(network, length))
    }

    /// Its default routers.
    pub fn routers(self) -> Result<Vec<Ipv6Addr>, String> {
        let routes = self.json("route show default")?;
        let routes = routes.as_array().cloned().unwrap_or_default();
        let router = |route: &Value| route.get("gateway").and_then(Value::as_str)?.parse().ok();
        Ok(routes.iter().filter_map(router).collect())
    }

    /// The address that a new connection to the far host would come from.
    pub fn source(self) -> Result<Ipv6Addr, String> {
        let local = self.namespace.inside(|| open(web6(9)).and_then(|socket| socket.local_addr()));
        match local.map_err(|error| format!("no way to {WEB6}: {error}"))?.ip() {
            IpAddr::V6(address) => Ok(address),
            IpAddr::V4(address) => Err(format!("the source is {address}")),
        }
    }

    /// Fetches a page from the far host, which tells whom it sees.
    pub fn fetch(self) -> Result<Ipv6Addr, String> {
        let page = self.namespace.inside(|| fetch(web6(80), "/address"))?;
        match page.parse::<SocketAddr>().map(|from| from.ip()) {
            Ok(IpAddr::V6(address)) => Ok(address),
            _ => Err(format!("the far host saw {page:?}")),
        }
    }

    /// Asks the LAN's routers for an advertisement, and takes the first.
    pub fn advertisement(self) -> Result<Advertisement, String> {
        let output = self.namespace.try_run("rdisc6 -1 -r 2 -w 1000 eth0");
        let all = text(&output);
        if output.status.success() { Ok(Advertisement::read(&all)) } else { Err(format!("rdisc6: {all}")) }
    }

    /// Has dhclient ask for an address, or for information alone. The address is the card's from then on.
    pub fn dhcp(self, lab: &Lab, address: bool) -> Result<Lease6, String> {
        let name = self.namespace.name();
        let file = |what: &str| lab.folder().join(format!("dhclient6-{name}.{what}"));
        let _ = std::fs::remove_file(file("lease"));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("lab/dhclient6.sh");
        let mut command = self.namespace.command("timeout");
        command.args(["15", "dhclient", "-6", "-1", "-v"]).args((!address).then_some("-S"));
        command.arg("-e").arg(format!("LEASE={}", file("lease").display()));
        command.arg("-sf").arg(script).arg("-lf").arg(file("leases")).arg("-pf").arg(file("pid")).arg("eth0");
        // What goes on in the background keeps no pipe of ours.
        let log = lab.log_file(&format!("dhclient6-{name}"));
        command.stdout(log.try_clone().map_err(|error| error.to_string())?).stderr(log);
        let status = command.status().map_err(|error| format!("cannot run dhclient: {error}"))?;
        let lease = std::fs::read_to_string(file("lease")).map_err(|_| {
            format!("dhclient has no lease ({status}); its log is in {}", lab.logs().display())
        })?;
        let words = |key: &str| {
            let line = lease.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
            line.split_whitespace().map(str::to_string).collect::<Vec<_>>()
        };
        Ok(Lease6 {
            address: words("address").first().and_then(|word| word.parse().ok()),
            dns: words("dns").iter().filter_map(|word| word.parse().ok()).collect(),
            domain: words("domain")
                .first()
                .map(|word| word.trim_end_matches('.').to_string())
                .unwrap_or_default(),
        })
    }

    fn json(self, query: &str) -> Result<Value, String> {
        let output = self.namespace.try_run(&format!("ip -6 -j {query}"));
        serde_json::from_slice(&output.stdout)
            .map_err(|error| format!("ip -6 -j {query}: {error}: {}", text(&output)))
    }
}

impl Advertisement {
    fn read(output: &str) -> Advertisement {
        let mut found = Advertisement { all: output.into(), ..Advertisement::default() };
        for line in output.lines() {
            let Some((key, value)) = line.split_once(':') else { continue };
            let (key, value) = (key.trim(), value.trim());
            let first = value.split_whitespace().next().unwrap_or_default();
            let time = if first == "infinite" { u32::MAX } else { first.parse().unwrap_or(0) };
            match key {
                "Router lifetime" => found.lifetime = time,
                "Stateful address conf." => found.managed = first == "Yes",
                "Stateful other conf." => found.other = first == "Yes",
                "Prefix" => found.prefixes.push((first.into(), 0, 0)),
                "Pref. time" => found.prefixes.last_mut().into_iter().for_each(|prefix| prefix.1 = time),
                "Valid time" => found.prefixes.last_mut().into_iter().for_each(|prefix| prefix.2 = time),
                "Recursive DNS server" => found.dns.extend(first.parse::<Ipv6Addr>().ok()),
                "DNS search list" => found.domains.push(first.trim_end_matches('.').into()),
                _ => {}
            }
        }
        found
    }

    /// The preferred and valid lifetimes of a prefix, in the form of "2001:db8::/64".
    pub fn lifetimes(&self, prefix: &str) -> Result<(u32, u32), String> {
        let found = self.prefixes.iter().find(|(found, ..)| found == prefix);
        found.map(|(_, preferred, valid)| (*preferred, *valid)).ok_or(format!("no {prefix} in {}", self.all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rdisc6_prints_is_read() {
        let found = Advertisement::read(
            "Soliciting ff02::2 (ff02::2) on eth0...\n\n\
             Hop limit                 :           64 (      0x40)\n\
             Stateful address conf.    :           No\n\
             Stateful other conf.      :          Yes\n\
             Router lifetime           :         1800 (0x00000708) seconds\n\
             \x20Prefix                   : 2001:db8:100::/64\n\
             \x20 Valid time              :         5400 (0x00001518) seconds\n\
             \x20 Pref. time              :         2700 (0x00000a8c) seconds\n\
             \x20Prefix                   : 2001:db8:200::/64\n\
             \x20 Valid time              :     infinite (0xffffffff)\n\
             \x20 Pref. time              :            0 (0x00000000) seconds\n\
             \x20Recursive DNS server     : 2001:db8:100::1\n\
             \x20DNS search list          : home.arpa.\n\
             \x20from fe80::1\n",
        );
        assert_eq!((found.lifetime, found.managed, found.other), (1800, false, true));
        assert_eq!(found.lifetimes("2001:db8:100::/64"), Ok((2700, 5400)));
        assert_eq!(found.lifetimes("2001:db8:200::/64"), Ok((0, u32::MAX)));
        assert_eq!(found.dns, ["2001:db8:100::1".parse::<Ipv6Addr>().unwrap()]);
        assert_eq!(found.domains, ["home.arpa"]);
    }
}
