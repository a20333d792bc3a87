//! By which door frames of a port reach the kernel half, and why: decided before anything is touched.
//!
//! A card's frames are taken by its driver (native XDP, never the generic mode, which is slower than none) or a little
//! later, at its ingress (tc: by TCX, or by clsact before Linux 6.6). XDP sees no large segments: attached to a veth it takes
//! its peer's segmentation away, so a veth gets tc. A tap's frames leave the host at the tap's egress, so its door is there.
//! XDP cannot send to a tap or to a card without XDP; so when there is one, a card with XDP has both doors.
//!
//! What the kernel says without being disturbed decides; attaching may still fail, and then
//! [`super::load::Kernel::attach`] goes on with what is left.

use std::fmt;

use genkan_config::schema::{Config, Device, FastPath};

use super::entry::Entry;
use super::virtio;
use crate::port::card_xdp;
use crate::sys::bpf;
use crate::sys::ethtool::{self, Queues};

/// The driver of virtual machines' cards.
const VIRTIO: &str = "virtio_net";

/// What was decided for a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// The port's name in the configuration.
    pub port: String,
    /// Its device.
    pub device: String,
    /// The door.
    pub entry: Entry,
    /// Why that one, in a sentence's words.
    pub why: String,
    /// It is a card, the configuration asks for XDP, and it cannot have it.
    pub denied: bool,
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Planned { port, device, entry, why, .. } = self;
        write!(f, "port {port} ({device}): {entry}: {why}")
    }
}

/// What the machine can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Why it takes no BPF programs from this process.
    pub refuses: Option<String>,
    /// It has TCX.
    pub tcx: bool,
    /// Its processors.
    pub processors: u32,
}

impl Machine {
    /// This one. Nothing is changed.
    pub fn look() -> Machine {
        // r0 = 0; exit.
        let refuses = bpf::load_classifier(&[0xb7, 0x95]).err().map(|error| match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => {
                "this process may not load BPF programs (it needs root, or CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN)"
                    .to_owned()
            }
            Some(libc::ENOSYS) => "this kernel has no BPF".to_owned(),
            _ => format!("this kernel takes no BPF programs ({error})"),
        });
        let processors = aya::util::nr_cpus().map_or(1, |count| u32::try_from(count).unwrap_or(u32::MAX));
        Machine { refuses, tcx: bpf::has_tcx().is_ok(), processors }
    }
}

/// What is known of a port before it is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Its name.
    pub port: String,
    /// Its device.
    pub device: String,
    /// Its frames bear VLAN tags.
    pub vlan: bool,
    /// The card's; `None`: it is a tap.
    pub card: Option<Card>,
}

/// What is known of a card.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Card {
    /// The name of its driver; `None` when there is no such card.
    pub driver: Option<String>,
    /// The driver runs XDP programs; `None`: the kernel is too old (before Linux 6.3) to say.
    pub xdp: Option<bool>,
    /// Its driver runs an XDP program: that of a run before this one, as a rule. Its queues are among those in use.
    pub attached: bool,
    /// The machine below gives it large segments and checksums that are still to be completed, and cannot be told not to.
    pub unfinished: bool,
    /// Its queues, when it says.
    pub queues: Option<Queues>,
}

/// The doors of a configuration's ports on this machine, in its order.
pub fn plan(config: &Config) -> Vec<Planned> {
    let facts: Vec<Facts> = (config.ports.iter())
        .map(|port| {
            let (device, card) = match &port.device {
                Device::Nic(device) => (device, Some(look_at(device))),
                Device::Tap(device) => (device, None),
            };
            Facts { port: port.name.clone(), device: device.clone(), vlan: port.vlan.is_some(), card }
        })
        .collect();
    decide(config.fast_path, &Machine::look(), &facts)
}

fn look_at(device: &str) -> Card {
    let driver = ethtool::driver(device).ok();
    let (xdp, attached) = card_xdp(device);
    let unfinished = driver.as_deref() == Some(VIRTIO) && virtio::gives_unfinished(device);
    Card { driver, xdp, attached, unfinished, queues: ethtool::queues(device).ok() }
}

/// The same of any machine.
pub fn decide(mode: FastPath, machine: &Machine, ports: &[Facts]) -> Vec<Planned> {
    let mut planned: Vec<Planned> = (ports.iter())
        .map(|facts| {
            let (entry, why) = door(mode, machine, facts);
            let denied = mode == FastPath::Xdp && facts.card.is_some() && !entry.xdp();
            Planned { port: facts.port.clone(), device: facts.device.clone(), entry, why, denied }
        })
        .collect();
    let other =
        planned.iter().find(|planned| planned.entry == Entry::Tc).map(|planned| planned.device.clone());
    if let Some(other) = other {
        for planned in planned.iter_mut().filter(|planned| planned.entry == Entry::Xdp) {
            planned.entry = Entry::Both;
            planned.why += &format!("; tc carries what goes to {other}, where XDP cannot send");
        }
    }
    planned
}

fn door(mode: FastPath, machine: &Machine, facts: &Facts) -> (Entry, String) {
    if mode == FastPath::Off {
        return (Entry::None, "the configuration says `mode = \"off\"`".into());
    }
    if let Some(refuses) = &machine.refuses {
        return (Entry::None, refuses.clone());
    }
    if facts.vlan {
        return (Entry::None, "the kernel path takes no frames with VLAN tags".into());
    }
    let tc = |why: String| (Entry::Tc, why);
    let Some(card) = &facts.card else {
        return match machine.tcx {
            true => tc("a tap, whose frames leave the host at its egress".into()),
            false => (Entry::None, "a tap, which would need TCX (Linux 6.6)".into()),
        };
    };
    let Some(driver) = &card.driver else {
        return (Entry::None, format!("there is no card {}", facts.device));
    };
    if card.xdp == Some(false) {
        return tc(format!("its driver ({driver}) has no native XDP"));
    }
    if card.unfinished {
        return tc(format!(
            "its driver ({driver}) has XDP only where the host gives it whole frames (in QEMU by `ctrl_guest_offloads=on`)"
        ));
    }
    if mode == FastPath::Xdp {
        return (Entry::Xdp, "the configuration says `mode = \"xdp\"`".into());
    }
    if driver == "veth" {
        return tc("a veth, whose peer would send no large segments to XDP".into());
    }
    if let Some(queues) = card.queues.filter(|_| driver == VIRTIO && !card.attached)
        && queues.used.saturating_add(machine.processors) > queues.most
    {
        let Queues { used, most, .. } = queues;
        let processors = machine.processors;
        return tc(format!(
            "XDP needs a queue of its own for each of {processors} processors; {used} of {most} are in use"
        ));
    }
    (Entry::Xdp, format!("its driver ({driver}) has native XDP"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine { refuses: None, tcx: true, processors: 2 }
    }

    fn card(device: &str, driver: &str) -> Facts {
        let card = Card { driver: Some(driver.into()), xdp: Some(true), ..Card::default() };
        Facts { port: format!("{device}-port"), device: device.into(), vlan: false, card: Some(card) }
    }

    fn tap() -> Facts {
        Facts { card: None, ..card("tap0", "") }
    }

    fn entries(mode: FastPath, machine: &Machine, ports: &[Facts]) -> Vec<Entry> {
        decide(mode, machine, ports).iter().map(|planned| planned.entry).collect()
    }

    #[test]
    fn each_kind_of_device_has_its_door() {
        let ports = [card("eth0", "ixgbe"), card("eth1", "mlx5_core")];
        assert_eq!(entries(FastPath::Auto, &machine(), &ports), [Entry::Xdp, Entry::Xdp]);
        let ports = [card("eth0", "ixgbe"), card("v0", "veth"), tap()];
        assert_eq!(entries(FastPath::Auto, &machine(), &ports), [Entry::Both, Entry::Tc, Entry::Tc]);
        assert_eq!(entries(FastPath::Xdp, &machine(), &ports), [Entry::Both, Entry::Both, Entry::Tc]);
        assert_eq!(entries(FastPath::Off, &machine(), &ports), [Entry::None; 3]);
        let both = decide(FastPath::Auto, &machine(), &ports).remove(0);
        assert_eq!(
            both.to_string(),
            "port eth0-port (eth0): XDP and tc: its driver (ixgbe) has native XDP; tc carries what goes to v0, where \
             XDP cannot send"
        );
    }

    #[test]
    fn a_driver_without_native_xdp_gets_no_generic_one() {
        let mut port = card("eth0", "e1000");
        port.card.as_mut().unwrap().xdp = Some(false);
        let planned = decide(FastPath::Xdp, &machine(), std::slice::from_ref(&port)).remove(0);
        assert_eq!(
            (planned.entry, planned.why.as_str()),
            (Entry::Tc, "its driver (e1000) has no native XDP")
        );
        assert!(planned.denied && !decide(FastPath::Auto, &machine(), std::slice::from_ref(&port))[0].denied);
        assert!(!decide(FastPath::Xdp, &machine(), &[tap()])[0].denied, "a tap never has XDP");
        // A kernel that does not say is tried.
        port.card.as_mut().unwrap().xdp = None;
        assert_eq!(entries(FastPath::Auto, &machine(), &[port]), [Entry::Xdp]);
    }

    /// Lesson: native XDP refused on virtio with too few queues. Check first, explain, fall back.
    #[test]
    fn a_virtio_card_needs_a_spare_queue_for_each_processor() {
        let mut port = card("eth0", "virtio_net");
        for (used, most, entry) in [(1, 1, Entry::Tc), (2, 3, Entry::Tc), (2, 4, Entry::Xdp)] {
            port.card.as_mut().unwrap().queues = Some(Queues { used, most, receive: used });
            let planned = decide(FastPath::Auto, &machine(), std::slice::from_ref(&port)).remove(0);
            assert_eq!(planned.entry, entry, "{planned}");
            assert!(entry == Entry::Xdp || planned.why.contains(&format!("{used} of {most} are in use")));
        }
        // Those of a program that an earlier run left are not missing.
        let card = port.card.as_mut().unwrap();
        (card.attached, card.queues) = (true, Some(Queues { used: 4, most: 4, receive: 4 }));
        assert_eq!(entries(FastPath::Auto, &machine(), &[port]), [Entry::Xdp]);
    }

    /// Lesson: the driver refuses XDP while the host leaves work to the guest.
    #[test]
    fn a_virtio_card_that_gets_unfinished_frames_has_no_xdp() {
        let mut port = card("eth0", "virtio_net");
        port.card.as_mut().unwrap().unfinished = true;
        assert_eq!(entries(FastPath::Auto, &machine(), std::slice::from_ref(&port)), [Entry::Tc]);
        let planned = decide(FastPath::Xdp, &machine(), &[port]).remove(0);
        assert!(planned.denied && planned.why.contains("ctrl_guest_offloads=on"), "{planned}");
    }

    #[test]
    fn what_cannot_be_had_leaves_user_space_and_says_why() {
        let old = Machine { tcx: false, ..machine() };
        let ports = [card("eth0", "ixgbe"), card("v0", "veth"), tap()];
        // Cards have clsact there.
        assert_eq!(entries(FastPath::Auto, &old, &ports), [Entry::Both, Entry::Tc, Entry::None]);
        assert!(decide(FastPath::Auto, &old, &ports)[2].why.ends_with("TCX (Linux 6.6)"));
        let poor = Machine { refuses: Some("no privilege".into()), ..machine() };
        assert!(
            decide(FastPath::Xdp, &poor, &ports)
                .iter()
                .all(|p| p.entry == Entry::None && p.why == "no privilege")
        );
        let tagged = Facts { vlan: true, ..card("eth0", "ixgbe") };
        assert!(decide(FastPath::Xdp, &machine(), &[tagged])[0].why.contains("VLAN"));
        let mut missing = card("eth7", "");
        missing.card = Some(Card::default());
        assert_eq!(decide(FastPath::Auto, &machine(), &[missing])[0].why, "there is no card eth7");
    }
}
