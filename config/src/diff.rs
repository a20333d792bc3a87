//! What a change of the configuration would do, in words, before it is done: above all which sessions drop.

use std::fmt;

use genkan_netstack::settings::{Dhcp6, Ula, VpnPeer};

use crate::schema::{Concentrator, Config, Filter, Lan, Port, Vpn, Wan};

/// One table's change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The table, such as `wan.isp`.
    pub table: String,
    /// What happened to it.
    pub kind: ChangeKind,
    /// What that does, as half a sentence.
    pub effect: String,
    /// It ends sessions that are up.
    pub drops_sessions: bool,
}

/// What happened to a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It says something else.
    Changed,
}

/// "wan.isp changed: its session is dialled again".
impl fmt::Display for Change {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ChangeKind::Added => "added",
            ChangeKind::Removed => "removed",
            ChangeKind::Changed => "changed",
        };
        write!(out, "{} {kind}: {}", self.table, self.effect)
    }
}

/// What going from `old` to `new` does, table by table; empty when nothing changes.
pub fn diff(old: &Config, new: &Config) -> Vec<Change> {
    let mut changes = Vec::new();
    system(old, new, &mut changes);
    named(old, new, &mut changes);
    if old.wans != new.wans && sorted(&old.wans) == sorted(&new.wans) {
        changes.push(changed(
            "wan",
            "the order of uplinks, and so which of them carries the default route",
            false,
        ));
    }
    let rest = [
        ("nat", old.nat != new.nat, "flows that are there keep their limits and timeouts until they end"),
        ("port-forward", old.port_forwards != new.port_forwards, "flows through forwards that are gone end"),
        ("filter", !same_rules(&old.filters, &new.filters), "every flow is judged again"),
        ("fast-path", old.fast_path != new.fast_path, "established traffic changes its path"),
        ("capture", old.capture_ring != new.capture_ring, "the ring starts empty"),
    ];
    changes.extend(
        rest.into_iter().filter(|(_, differs, _)| *differs).map(|(t, _, effect)| changed(t, effect, false)),
    );
    changes
}

/// The same rules in the same order; where they stand in the file changes nothing.
fn same_rules(old: &[Filter], new: &[Filter]) -> bool {
    let bare = |rule: &Filter| Filter { line: 0, ..rule.clone() };
    old.iter().map(bare).eq(new.iter().map(bare))
}

fn system(old: &Config, new: &Config, changes: &mut Vec<Change>) {
    let (old, new) = (&old.system, &new.system);
    if old.state_dir != new.state_dir || old.control != new.control {
        changes.push(changed("system", "takes effect when genkan is started again", false));
        return;
    }
    if old.hostname != new.hostname {
        changes.push(changed("system", "the router answers to its new name", false));
    }
    if old.ula != new.ula {
        let effect = match new.ula {
            Ula::Off => "hosts give up their addresses of the site's own",
            Ula::Generated | Ula::Given(_) => {
                "hosts take addresses in the site's new prefix and give up those in the old one"
            }
        };
        changes.push(changed("system", effect, false));
    }
}

/// Tables with names, and those that lose their port with it.
fn named(old: &Config, new: &Config, changes: &mut Vec<Change>) {
    let ports = compare(&old.ports, &new.ports, changes);
    let hit = |port: &String| ports.contains(port);
    tables(&old.wans, &new.wans, |wan| hit(&wan.port), changes);
    tables(&old.lans, &new.lans, |lan| lan.ports.iter().any(hit), changes);
    tables(&old.vpns, &new.vpns, |_| false, changes);
    tables(&old.concentrators, &new.concentrators, |concentrator| hit(&concentrator.port), changes);
}

/// The names of ports that are opened again.
fn compare(old: &[Port], new: &[Port], changes: &mut Vec<Change>) -> Vec<String> {
    tables(old, new, |_| false, changes);
    let same = |port: &&Port| new.iter().any(|other| other == *port);
    old.iter().filter(|port| !same(port)).map(|port| port.name.clone()).collect()
}

/// A kind of table with names.
trait Named: PartialEq {
    const KIND: &'static str;
    const ADDED: &'static str;
    const REMOVED: &'static str;
    const CHANGED: &'static str;
    const HAS_SESSIONS: bool;

    fn name(&self) -> &str;

    /// What becoming `new` does, when only a part of the table has changed that can be told apart.
    fn effect(&self, new: &Self) -> Option<Effect>;
}

/// What a change does, as half a sentence, and whether it ends sessions.
type Effect = (&'static str, bool);

macro_rules! named {
    (
        $type:ty, $kind:literal, $sessions:literal, $added:literal, $removed:literal, $changed:literal, $effect:expr
    ) => {
        impl Named for $type {
            const KIND: &'static str = $kind;
            const ADDED: &'static str = $added;
            const REMOVED: &'static str = $removed;
            const CHANGED: &'static str = $changed;
            const HAS_SESSIONS: bool = $sessions;

            fn name(&self) -> &str {
                &self.name
            }

            fn effect(&self, new: &Self) -> Option<Effect> {
                let effect: fn(&Self, &Self) -> Option<Effect> = $effect;
                effect(self, new)
            }
        }
    };
}

named!(
    Port,
    "port",
    false,
    "it is opened",
    "it is closed and put back as it was",
    "it is closed and opened again",
    |_, _| None
);
named!(
    Wan,
    "wan",
    true,
    "its session is dialled",
    "its session ends",
    "its session is dialled again",
    prefix_asked_for
);
named!(
    Lan,
    "lan",
    false,
    "its hosts are served",
    "its hosts lose their router",
    "its hosts keep their leases if they still fit",
    ipv6_of_hosts
);
named!(Vpn, "vpn", true, "it comes up", "it goes down", "its peers shake hands again", peers_or_bridge);
named!(
    Concentrator,
    "concentrator",
    true,
    "subscribers can come in",
    "all its subscribers' sessions end",
    "all its subscribers' sessions end; they dial again",
    |_, _| None
);

/// Asking for another prefix needs no new session.
fn prefix_asked_for(old: &Wan, new: &Wan) -> Option<Effect> {
    let same = Wan { prefix_delegation: new.prefix_delegation, ..old.clone() } == *new;
    let effect = match new.prefix_delegation {
        Some(_) => "another prefix is asked for, and hosts renumber when one is granted",
        None => "no prefix is asked for unless a LAN takes a part of it",
    };
    same.then_some((effect, false))
}

/// What concerns hosts' IPv6 addresses alone leaves their leases as they are.
fn ipv6_of_hosts(old: &Lan, new: &Lan) -> Option<Effect> {
    if (Lan { prefix: new.prefix.clone(), ..old.clone() }) == *new {
        return Some(("its hosts take addresses in the new prefix and give up those in the old one", false));
    }
    let effect = match new.dhcp6 {
        Dhcp6::Stateless => "its hosts make their IPv6 addresses themselves",
        Dhcp6::Stateful => "its hosts may lease IPv6 addresses, too",
        Dhcp6::Off => {
            "its hosts make their IPv6 addresses themselves, and hear of DNS servers by advertisements alone"
        }
    };
    (Lan { dhcp6: new.dhcp6, ..old.clone() } == *new).then_some((effect, false))
}

/// Who else is a peer, and what is carried of a LAN, is nothing to a peer that stays.
fn peers_or_bridge(old: &Vpn, new: &Vpn) -> Option<Effect> {
    if (Vpn { bridge: new.bridge.clone(), ..old.clone() }) == *new {
        return Some(("what it carries of a LAN changes, and its peers stay", false));
    }
    let same = Vpn { peers: new.peers.clone(), bridge: new.bridge.clone(), ..old.clone() } == *new;
    let stays = |peer: &VpnPeer| {
        let keys = |peer: &VpnPeer| (peer.public_key, peer.preshared_key.clone());
        new.peers.iter().any(|other| keys(other) == keys(peer))
    };
    let effect = if old.peers.iter().all(stays) {
        ("the peers that it had stay", false)
    } else {
        ("peers that are gone or have other keys lose it; the others stay", true)
    };
    same.then_some(effect)
}

/// `moved` says of a table that is the same in both that it is concerned nevertheless, as its port is opened again.
fn tables<T: Named>(old: &[T], new: &[T], moved: impl Fn(&T) -> bool, changes: &mut Vec<Change>) {
    let find = |list: &[T], name: &str| list.iter().position(|t| t.name() == name);
    let mut push = |name: &str, kind, effect: &str, drops_sessions| {
        let table = format!("{}.{name}", T::KIND);
        changes.push(Change { table, kind, effect: effect.to_owned(), drops_sessions });
    };
    for table in old {
        let name = table.name();
        match find(new, name).and_then(|at| new.get(at)) {
            None => push(name, ChangeKind::Removed, T::REMOVED, T::HAS_SESSIONS),
            Some(other) if other != table && !(T::HAS_SESSIONS && moved(table)) => {
                let (effect, drops) = table.effect(other).unwrap_or((T::CHANGED, T::HAS_SESSIONS));
                push(name, ChangeKind::Changed, effect, drops);
            }
            Some(_) if T::HAS_SESSIONS && moved(table) => {
                push(
                    name,
                    ChangeKind::Changed,
                    &format!("its port is opened again, so {}", T::CHANGED),
                    true,
                );
            }
            Some(_) => {}
        }
    }
    for table in new.iter().filter(|table| find(old, table.name()).is_none()) {
        push(table.name(), ChangeKind::Added, T::ADDED, false);
    }
}

fn changed(table: &str, effect: &str, drops_sessions: bool) -> Change {
    Change { table: table.to_owned(), kind: ChangeKind::Changed, effect: effect.to_owned(), drops_sessions }
}

fn sorted(wans: &[Wan]) -> Vec<&Wan> {
    let mut wans: Vec<&Wan> = wans.iter().collect();
    wans.sort_by(|a, b| a.name.cmp(&b.name));
    wans
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use genkan_netstack::id::Ipv4Cidr;
    use genkan_netstack::settings::{Action, Echo, Nat, PrefixRequest, RuleProtocol};
    use genkan_netstack::tunnel::wireguard::{PresharedKey, PrivateKey, PublicKey};

    use super::*;
    use crate::schema::{Bridge, Device, FastPath, LanPrefix, System, Uplink, Zone};

    fn peer(number: u8) -> VpnPeer {
        VpnPeer {
            name: number.to_string(),
            public_key: PublicKey([number; 32]),
            preshared_key: None,
            endpoint: None,
            allowed_ips: Vec::new(),
            keepalive: None,
        }
    }

    fn config() -> Config {
        let port = |name: &str| Port {
            name: name.to_owned(),
            device: Device::Tap(name.to_owned()),
            mac: None,
            vlan: None,
            vlan_priority: None,
        };
        let wan = |name: &str| Wan {
            name: name.to_owned(),
            port: "wan0".to_owned(),
            uplink: Uplink::Dhcp,
            ipv4: true,
            ipv6: false,
            prefix_delegation: None,
        };
        let network = |address| Ipv4Cidr { address: Ipv4Addr::from(address), prefix: 24 };
        Config {
            system: System::default(),
            ports: vec![port("wan0"), port("lan0"), port("access0")],
            wans: vec![wan("isp"), wan("backup")],
            lans: vec![Lan {
                name: "home".to_owned(),
                ports: vec!["lan0".to_owned()],
                address: network([192, 168, 1, 1]),
                dhcp: None,
                prefix: None,
                dhcp6: Dhcp6::Stateless,
                domain: "home.arpa".to_owned(),
                hosts: Vec::new(),
            }],
            nat: Nat::default(),
            port_forwards: Vec::new(),
            filters: Vec::new(),
            vpns: vec![Vpn {
                name: "friends".to_owned(),
                private_key: PrivateKey::new([1; 32]),
                listen_port: 51820,
                ipv4: Some(network([10, 77, 0, 1])),
                ipv6: None,
                mtu: None,
                masquerade: false,
                bridge: None,
                peers: vec![peer(1), peer(2)],
            }],
            concentrators: vec![Concentrator {
                name: "bras".to_owned(),
                port: "access0".to_owned(),
                ac_name: "bras".to_owned(),
                service_names: Vec::new(),
                pool: network([100, 64, 0, 0]),
                address: Ipv4Addr::new(100, 64, 0, 1),
                prefix_pool: None,
                dns: Vec::new(),
                authentication: Vec::new(),
                mtu: 1492,
                echo: Echo::default(),
                sessions: 1,
                sessions_per_mac: 1,
                users: Vec::new(),
            }],
            fast_path: FastPath::Auto,
            capture_ring: 0,
        }
    }

    fn said(change: impl Fn(&mut Config)) -> Vec<String> {
        let (old, mut new) = (config(), config());
        change(&mut new);
        let changes = diff(&old, &new);
        changes.iter().map(|c| format!("{c}{}", if c.drops_sessions { " !" } else { "" })).collect()
    }

    #[test]
    fn no_change_says_nothing() {
        assert_eq!(said(|_| {}), [""; 0]);
    }

    #[test]
    fn a_rule_that_moves_within_the_file_is_the_same_rule() {
        let rule = |line| Filter {
            from: Zone::Lan,
            to: Zone::Any,
            protocol: RuleProtocol::Any,
            ports: Vec::new(),
            source: None,
            destination: None,
            action: Action::Drop,
            line,
        };
        let with = |rules: Vec<Filter>| Config { filters: rules, ..config() };
        assert!(diff(&with(vec![rule(3)]), &with(vec![rule(9)])).is_empty());
        let other = Filter { action: Action::Accept, ..rule(3) };
        assert_eq!(diff(&with(vec![rule(3)]), &with(vec![other])).len(), 1);
    }

    #[test]
    fn only_what_ends_sessions_is_said_to_end_them() {
        assert_eq!(said(|c| c.wans[0].ipv6 = true), ["wan.isp changed: its session is dialled again !"]);
        assert_eq!(
            said(|c| c.lans[0].domain = "lan".to_owned()),
            ["lan.home changed: its hosts keep their leases if they still fit"]
        );
        assert_eq!(said(|c| c.nat.flows = 16).len(), 1);
        assert_eq!(
            said(|c| c.concentrators[0].mtu = 1500),
            ["concentrator.bras changed: all its subscribers' sessions end; they dial again !"]
        );
    }

    #[test]
    fn renumbering_ends_no_session() {
        assert_eq!(
            said(|c| c.wans[0].prefix_delegation = Some(PrefixRequest { length: Some(56) })),
            ["wan.isp changed: another prefix is asked for, and hosts renumber when one is granted"]
        );
        assert_eq!(
            said(|c| c.lans[0].prefix = Some(LanPrefix { from: "isp".to_owned(), subnet: 1 })),
            ["lan.home changed: its hosts take addresses in the new prefix and give up those in the old one"]
        );
        assert_eq!(
            said(|c| c.lans[0].dhcp6 = Dhcp6::Stateful),
            ["lan.home changed: its hosts may lease IPv6 addresses, too"]
        );
        assert_eq!(
            said(|c| {
                c.system.ula = Ula::Off;
                c.lans[0].dhcp6 = Dhcp6::Off;
                c.lans[0].prefix = Some(LanPrefix { from: "isp".to_owned(), subnet: 1 });
            }),
            [
                "system changed: hosts give up their addresses of the site's own",
                "lan.home changed: its hosts keep their leases if they still fit",
            ]
        );
        let with_port = said(|c| {
            c.ports[0].vlan = Some(7);
            c.wans[0].prefix_delegation = Some(PrefixRequest { length: None });
        });
        assert!(with_port[1].starts_with("wan.isp changed: its port is opened again"), "{with_port:?}");
    }

    #[test]
    fn a_vpn_drops_the_peers_that_go_and_no_others() {
        let said = |change: fn(&mut Vpn)| said(|c| change(&mut c.vpns[0])).join("; ");
        let again = "vpn.friends changed: its peers shake hands again !";
        let stay = "vpn.friends changed: the peers that it had stay";
        let some = "vpn.friends changed: peers that are gone or have other keys lose it; the others stay !";
        assert_eq!(said(|vpn| vpn.listen_port = 1), again);
        assert_eq!(said(|vpn| vpn.private_key = PrivateKey::new([2; 32])), again);
        assert_eq!(said(|vpn| vpn.peers.push(peer(3))), stay);
        assert_eq!(said(|vpn| vpn.peers[0].keepalive = Some(std::time::Duration::from_secs(25))), stay);
        assert_eq!(said(|vpn| drop(vpn.peers.remove(0))), some);
        assert_eq!(said(|vpn| vpn.peers[0].preshared_key = Some(PresharedKey::new([1; 32]))), some);
        let bridge = |vpn: &mut Vpn| {
            let lan = "home".to_owned();
            vpn.bridge =
                Some(Bridge { lan, vni: 1, ra_guard: true, isolate_dhcp: false, suppress: true, hub: false });
        };
        assert_eq!(said(bridge), "vpn.friends changed: what it carries of a LAN changes, and its peers stay");
    }

    #[test]
    fn a_changed_port_concerns_those_that_dial_on_it() {
        let said = said(|c| c.ports[0].mac = Some("02:00:00:00:00:01".parse().unwrap()));
        assert_eq!(
            said,
            [
                "port.wan0 changed: it is closed and opened again",
                "wan.isp changed: its port is opened again, so its session is dialled again !",
                "wan.backup changed: its port is opened again, so its session is dialled again !",
            ]
        );
    }

    #[test]
    fn added_and_removed_tables_are_told_apart() {
        let said = said(|c| {
            c.wans.remove(1);
            c.lans[0].name = "guests".to_owned();
        });
        assert_eq!(
            said,
            [
                "wan.backup removed: its session ends !",
                "lan.home removed: its hosts lose their router",
                "lan.guests added: its hosts are served",
            ]
        );
    }

    #[test]
    fn the_order_of_uplinks_decides_the_default_route() {
        let said = said(|c| c.wans.swap(0, 1));
        assert_eq!(
            said,
            ["wan changed: the order of uplinks, and so which of them carries the default route"]
        );
    }
}
