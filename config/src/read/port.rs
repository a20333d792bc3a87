//! `[port.NAME]`.

use super::Cx;
use super::across::Item;
use crate::reader::{Form, Node, Table};
use crate::schema::{Device, Port};
use crate::{suggest, value};

pub(super) fn read(name: &str, table: &Table, cx: &Cx) -> Option<Port> {
    let nic = table.get("nic").map(|node| card(node, cx));
    let tap = table.get("tap").map(device_name);
    let mac = table.optional("mac", value::mac);
    let vlan = table.optional("vlan", value::integer(1..=4094));
    let vlan_priority = table.optional("vlan-priority", value::integer(0..=7));
    if vlan.is_none() && table.has("vlan-priority") && !table.has("vlan") {
        let help = "the priority is part of the 802.1Q tag: add vlan = 6";
        table.sink.absence(&table.span_of("vlan-priority"), "`vlan-priority` without `vlan`", help);
    }
    cx.facts.borrow_mut().ports.push(Item::new(name, &table.span));
    let device = match (nic, tap) {
        (Some(nic), None) => nic.map(Device::Nic),
        (None, Some(tap)) => tap.map(Device::Tap),
        (Some(_), Some(_)) => {
            let help = "a port is one device: delete `nic` or `tap`";
            table.sink.error(&table.span_of("tap"), format!("`port.{name}` has both `nic` and `tap`"), help);
            None
        }
        (None, None) => {
            let help = "add nic = \"eth0\" to take over a card, or tap = \"tap-lan\" to make a tap device"
                .to_owned();
            table.sink.absence(&table.span, format!("`port.{name}` has neither `nic` nor `tap`"), help);
            None
        }
    }?;
    let key = if matches!(device, Device::Nic(_)) { "nic" } else { "tap" };
    cx.facts.borrow_mut().devices.push(Item::new(device.name(), &table.span_of(key)));
    Some(Port { name: name.to_owned(), device, mac, vlan, vlan_priority })
}

/// A card's name; a card that this machine does not have is warned of, for the file may be another's.
fn card(node: Node, cx: &Cx) -> Option<String> {
    let name = device_name(node)?;
    let devices = cx.host.devices();
    if let Some(devices) = devices.filter(|devices| !devices.contains(&name)) {
        let cards: Vec<&str> = devices.iter().map(String::as_str).filter(|d| *d != "lo").collect();
        let help = suggest::did_you_mean(&name, &cards, |w| format!("{w:?}")).unwrap_or_else(|| {
            format!("it has: {}", if cards.is_empty() { "none".to_owned() } else { cards.join(", ") })
        });
        node.sink.warning(&node.span(), format!("this machine has no network card {name:?} now"), help);
    }
    Some(name)
}

/// A name that Linux allows for a network device.
fn device_name(node: Node) -> Option<String> {
    let name = value::str(&node, &Form::new("the name of a network device", "\"eth0\""))?;
    let fits = |c: char| c.is_ascii_graphic() && !"/:%".contains(c);
    if (1..=15).contains(&name.len()) && name.chars().all(fits) && !matches!(name, "." | "..") {
        return Some(name.to_owned());
    }
    let message = format!("`{}`: {name:?} cannot be a network device's name", node.key);
    node.fail(message, "it has 1 to 15 characters and no spaces, `/`, `:` or `%`")
}
