//! The configuration of a guest that nobody has configured: the first card is the uplink, the second the LAN.
//!
//! Without credentials there is no uplink, and the LAN works. With one card there is no LAN but the guest itself: a card
//! that may be in somebody's network must not serve DHCP there.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// Where the password is written that was asked for.
pub(super) const PASSWORD_FILE: &str = "isp.secret";

/// The Ethernet address and the lease of the guest's own system, at its end of the tap device `host`.
const HOST_MAC: &str = "02:67:6b:00:00:02";
const HOST_ADDRESS: &str = "192.168.1.2";

/// The configuration for these cards, with an uplink once it has a user name.
pub(super) fn configuration(cards: &[String], username: Option<&str>) -> String {
    let mut text = String::from(
        "# A router in a virtual machine, as it is written when nothing else is offered: the first card is the uplink, the\n\
         # second the LAN. Edit it, then: genkan check gateway.toml && genkan stop --flush gateway.toml\n\
         [system]\n\
         state-dir = \"/var/lib/genkan/state\"\n",
    );
    let (wan, lan) = (cards.first(), cards.get(1));
    let uplink = wan.zip(username);
    if let Some((card, _)) = uplink {
        let _ = write!(text, "\n[port.wan0]\nnic = \"{card}\"\n");
    }
    if let Some(card) = lan {
        let _ = write!(text, "\n[port.lan0]\nnic = \"{card}\"\n");
    } else {
        text.push_str("\n# There is no second card, so the LAN has nothing but the guest itself.\n");
    }
    text.push_str(
        "\n[port.host]                            # the guest's own system: its clock, and ssh when it is on\n\
         tap = \"host\"\n",
    );
    if let Some((_, username)) = uplink {
        let _ = write!(
            text,
            "\n[wan.isp]\n\
             port = \"wan0\"\n\
             pppoe.username      = {}\n\
             pppoe.password-file = \"{PASSWORD_FILE}\"       # beside this file, mode 0600\n\
             ipv6 = true\n\
             prefix-delegation   = {{}}\n",
            quoted(username)
        );
    } else {
        text.push_str("\n# No uplink yet: the console asks for the user name and the password of PPPoE.\n");
    }
    let ports = if lan.is_some() { "[\"lan0\", \"host\"]" } else { "[\"host\"]" };
    let prefix = if uplink.is_some() { "prefix  = { from = \"isp\" }\n" } else { "" };
    let _ = write!(
        text,
        "\n[lan.home]\n\
         ports   = {ports}\n\
         address = \"192.168.1.1/24\"\n\
         dhcp    = {{ range = \"192.168.1.100-192.168.1.199\", ntp = [\"{HOST_ADDRESS}\"] }}\n\
         {prefix}\n\
         [[lan.home.host]]\n\
         name = \"genkan-guest\"\n\
         mac  = \"{HOST_MAC}\"                # of the tap device\n\
         ipv4 = \"{HOST_ADDRESS}\"\n"
    );
    text
}

/// What the default does, in a sentence.
pub(super) fn about(cards: &[String]) -> String {
    match cards {
        [] => "this machine has no network card; give it two, the first for the uplink and the second for the LAN".into(),
        [only] => format!("this machine has one card, {only}, which is for the uplink; give it a second one for the LAN"),
        [wan, lan, ..] => format!(
            "{lan} is the LAN, with 192.168.1.1/24 and DHCP; {wan} is the uplink, once the console has been given the \
             credentials of PPPoE"
        ),
    }
}

/// A text as a basic string of TOML.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// The machine's network cards, in the order of their places on the PCI bus; those that are on none come last, by name.
pub(super) fn cards(sys: &Path) -> Vec<String> {
    let entries = fs::read_dir(sys.join("class/net")).into_iter().flatten().flatten();
    let mut cards: Vec<(bool, String, String)> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            // What has no device behind it is a bridge, a tap or the like.
            let device = fs::canonicalize(entry.path().join("device")).ok()?;
            let kind = fs::read_to_string(entry.path().join("type")).ok()?;
            // ARPHRD_ETHER
            if kind.trim() != "1" {
                return None;
            }
            let place = pci(&device);
            Some((place.is_none(), place.unwrap_or_default(), name))
        })
        .collect();
    cards.sort_by(|a, b| (a.0, &a.1, a.2.len(), &a.2).cmp(&(b.0, &b.1, b.2.len(), &b.2)));
    cards.into_iter().map(|(_, _, name)| name).collect()
}

/// The last PCI address on the way to a device: "0000:03:00.0".
fn pci(device: &Path) -> Option<String> {
    let is_address = |name: &&str| {
        let octets = name.as_bytes();
        octets.len() >= 12
            && octets.iter().filter(|octet| **octet == b':').count() == 2
            && octets.iter().filter(|octet| **octet == b'.').count() == 1
            && octets.iter().all(|octet| octet.is_ascii_hexdigit() || b":.".contains(octet))
    };
    device.iter().filter_map(|name| name.to_str()).rfind(is_address).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::provision::tests::Folder;

    #[test]
    fn the_example_is_what_is_written_for_two_cards_and_a_user_name() {
        let cards = ["eth0".to_owned(), "eth1".to_owned()];
        let text = configuration(&cards, Some("user@isp.example"));
        assert_eq!(text, include_str!("../../../config/examples/guest.toml"));
    }

    #[test]
    fn a_user_name_is_quoted() {
        assert_eq!(quoted("a\"b\\c\u{1b}\u{7f}é"), "\"a\\\"b\\\\c\\u001B\\u007Fé\"");
    }

    /// A device of a made-up /sys: where it hangs, and its interface.
    fn device(sys: &Path, way: &str, name: &str, kind: &str) {
        let device = sys.join("devices").join(way);
        let interface = device.join("net").join(name);
        fs::create_dir_all(&interface).unwrap();
        fs::write(interface.join("type"), format!("{kind}\n")).unwrap();
        symlink(&device, interface.join("device")).unwrap();
        fs::create_dir_all(sys.join("class/net")).unwrap();
        symlink(&interface, sys.join("class/net").join(name)).unwrap();
    }

    #[test]
    fn cards_come_in_the_order_of_their_places_and_others_are_none() {
        let folder = Folder::new("cards");
        let sys = folder.path();
        device(sys, "pci0000:00/0000:00:02.1/0000:02:00.0/virtio0", "eth0", "1");
        device(sys, "pci0000:00/0000:00:02.0/0000:01:00.0/virtio3", "eth2", "1");
        device(sys, "vif-1", "eth10", "1");
        device(sys, "vif-0", "eth9", "1");
        device(sys, "pci0000:00/0000:00:01.0", "ib0", "32");
        let bridge = sys.join("class/net/br0");
        fs::create_dir_all(&bridge).unwrap();
        fs::write(bridge.join("type"), "1\n").unwrap();
        assert_eq!(cards(sys), ["eth2", "eth0", "eth9", "eth10"]);
        assert!(cards(&sys.join("none")).is_empty());
    }

    #[test]
    fn too_few_cards_are_said_and_serve_no_dhcp() {
        let text = configuration(&["eth0".to_owned()], Some("user"));
        assert!(
            text.contains("ports   = [\"host\"]") && text.contains("[port.wan0]\nnic = \"eth0\""),
            "{text}"
        );
        assert!(about(&["eth0".to_owned()]).contains("give it a second one"));
        let text = configuration(&[], Some("user"));
        assert!(!text.contains("nic =") && !text.contains("[wan."), "{text}");
        assert!(about(&[]).contains("no network card"));
    }
}
