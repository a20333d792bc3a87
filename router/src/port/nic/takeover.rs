//! Takes a card from the host and puts it back as it was.
//!
//! What is taken (addresses, routes, MTU, flags, the IPv6 switch, and where the kernel half sends by PPPoE the summing of
//! what is sent, which devices do not know behind such a header) is first written to a journal, `port-DEVICE.json` in the
//! state directory, and forced to disk. Dropping a [`Takeover`] puts it back and removes the journal. A process that was
//! killed leaves the journal behind, and so does [`Takeover::leave`]. The next one to open the port goes on with the card
//! as it is, and [`restore`] puts it back. A journal from before the last boot describes nothing that still exists and is
//! removed.
//!
//! A name in the abstract socket space, which belongs to the network namespace and ends with the process, keeps two
//! processes from taking the same card.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::BorrowedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::guard::{self, Clsact, Links};
use crate::fastpath::entry::Entry;
use crate::fastpath::pins::Pins;
use crate::port::link::{self, Change, Link};
use crate::port::{Presence, Spec, explain};
use crate::sys::ethtool::Ethtool;
use crate::sys::netlink::Netlink;

const UP: u32 = libc::IFF_UP as u32;
const NO_ARP: u32 = libc::IFF_NOARP as u32;
/// How long a card may still be held by a process that ends.
const LET_GO: Duration = Duration::from_millis(250);

/// What was taken from a card.
#[derive(Debug, Serialize, Deserialize)]
struct Journal {
    /// The boot during which it was taken.
    boot: String,
    /// The card's name.
    device: String,
    /// The card's number.
    index: i32,
    /// It was up.
    up: bool,
    /// It did without ARP.
    no_arp: bool,
    /// The MTU of the card, of its parent, and so on.
    mtus: Vec<(String, u32)>,
    /// The switch `disable_ipv6`; `None` when the kernel has none.
    disable_ipv6: Option<String>,
    /// Addresses, as netlink gave them.
    addresses: Vec<Vec<u8>>,
    /// Routes, as netlink gave them.
    routes: Vec<Vec<u8>>,
    /// The queueing discipline that carries the classifiers, when no TCX link does.
    clsact: Option<Clsact>,
    /// The card completed the checksums of what is sent, and no longer does.
    #[serde(default)]
    sums: bool,
}

/// A card that has been taken. Dropping it puts the card back.
#[derive(Debug)]
pub struct Takeover {
    netlink: Netlink,
    journal: Journal,
    path: PathBuf,
    /// The IPv6 switch, opened where the card is.
    ipv6: Option<File>,
    ethtool: Ethtool,
    links: Option<Links>,
    /// Nothing is put back.
    left: bool,
    _lock: UnixListener,
}

impl Takeover {
    /// Takes the card of `link`. The second result says why the MTU is lower than the wanted one.
    pub fn begin(netlink: Netlink, spec: &Spec, link: &Link) -> io::Result<(Self, Option<String>)> {
        Self::begin_by(netlink, spec, link, true)
    }

    fn begin_by(
        mut netlink: Netlink,
        spec: &Spec,
        link: &Link,
        tcx: bool,
    ) -> io::Result<(Self, Option<String>)> {
        let device = link.name.as_str();
        let lock = lock(link.index).map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => io::Error::new(
                io::ErrorKind::ResourceBusy,
                format!("{device} is in use by another genkan; stop that one first"),
            ),
            _ => error,
        })?;
        let in_directory = |error| explain(&format!("state directory {}", spec.state_dir.display()), error);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&spec.state_dir).map_err(in_directory)?;
        let path = journal_path(&spec.state_dir, device);
        let (mut journal, ipv6, raise) = match Self::adopt(&mut netlink, &path, link).map_err(in_directory)? {
            Some(mut journal) => {
                let raise = too_low(&mut netlink, spec, link);
                for link in &raise {
                    if journal.mtus.iter().all(|(name, _)| *name != link.name) {
                        journal.mtus.push((link.name.clone(), link.mtu));
                    }
                }
                (journal, open_switch(device), raise)
            }
            None => {
                put_back_file(&mut netlink, &path, true).map_err(in_directory)?;
                let link = link::by_index(&mut netlink, link.index)?;
                let raise = too_low(&mut netlink, spec, &link);
                let mut ipv6 = open_switch(device);
                let journal = Journal {
                    boot: boot()?,
                    device: device.to_owned(),
                    index: link.index,
                    up: link.flags & UP != 0,
                    no_arp: link.flags & NO_ARP != 0,
                    mtus: raise.iter().map(|link| (link.name.clone(), link.mtu)).collect(),
                    disable_ipv6: ipv6.as_mut().and_then(|switch| read_switch(switch).ok()),
                    addresses: link::addresses(&mut netlink, link.index)?,
                    routes: link::routes(&mut netlink, link.index)?,
                    clsact: None,
                    sums: false,
                };
                (journal, ipv6, raise)
            }
        };
        let ethtool = Ethtool::open()?;
        let is_sent_to = spec.pppoe && spec.entry != Entry::None;
        journal.sums |= is_sent_to && ethtool.sums(device).unwrap_or(false);
        journal.write(&path).map_err(in_directory)?;
        // From here on, dropping it undoes what has been done.
        let mut takeover =
            Takeover { netlink, journal, path, ipv6, ethtool, links: None, left: false, _lock: lock };

        takeover
            .guard(tcx, spec)
            .map_err(|error| explain(&format!("cannot keep the host from {device}"), error))?;
        takeover.clear().map_err(|error| explain(&format!("cannot take {device} from the host"), error))?;
        let limit = spec.wanted_mtu.and_then(|wanted| takeover.raise(&raise, wanted.into()));
        info!(
            "{device} now belongs to port {}; the host's {} addresses and {} routes on it come back when genkan ends",
            spec.name,
            takeover.journal.addresses.len(),
            takeover.journal.routes.len()
        );
        Ok((takeover, limit))
    }

    /// The journal of a card that an earlier run has left as it had taken it, with what the host has put on it since;
    /// `None` when there is no such run, or somebody has given the card back to the host meanwhile.
    fn adopt(netlink: &mut Netlink, path: &Path, link: &Link) -> io::Result<Option<Journal>> {
        let Ok(text) = fs::read(path) else { return Ok(None) };
        let Ok(mut journal) = serde_json::from_slice::<Journal>(&text) else { return Ok(None) };
        let same = journal.boot == boot()? && journal.device == link.name && journal.index == link.index;
        if !same || link.flags & NO_ARP == 0 {
            return Ok(None);
        }
        for address in link::addresses(netlink, link.index)? {
            if !journal.addresses.contains(&address) {
                journal.addresses.push(address);
            }
        }
        info!("{}: goes on as an earlier run has left it", link.name);
        Ok(Some(journal))
    }

    /// Data is to be received behind the ingress classifier.
    pub fn diverts(&self) -> bool {
        let clsact = self.journal.clsact.is_some_and(|clsact| clsact.diverts);
        self.links.as_ref().map_or(clsact, Links::diverts)
    }

    /// Puts a program in the place of the ingress classifier, or the classifier back.
    pub fn set_classifier(&mut self, program: Option<BorrowedFd<'_>>) -> io::Result<()> {
        match &mut self.links {
            Some(links) => links.set_program(program),
            None => self.set_filter(program.is_some() || self.diverts(), program),
        }
    }

    /// The same without TCX. The journal tells the next run that data is received behind the filter, once it is.
    fn set_filter(&mut self, divert: bool, program: Option<BorrowedFd<'_>>) -> io::Result<()> {
        guard::set_filter(&mut self.netlink, self.journal.index, divert, program)?;
        match &mut self.journal.clsact {
            Some(clsact) if clsact.diverts != divert => clsact.diverts = divert,
            _ => return Ok(()),
        }
        self.journal.write(&self.path)
    }

    /// Ends without putting anything back. What is pinned keeps the host from the card.
    pub fn leave(mut self) {
        self.left = true;
    }

    /// The card's number.
    pub fn index(&self) -> i32 {
        self.journal.index
    }

    /// The card's name.
    pub fn device(&self) -> &str {
        &self.journal.device
    }

    /// The card's MTU in octets.
    pub fn mtu(&mut self) -> io::Result<u32> {
        link::by_index(&mut self.netlink, self.journal.index).map(|link| link.mtu)
    }

    /// What has become of the card.
    pub fn presence(&mut self) -> Presence {
        link::presence(&mut self.netlink, self.journal.index)
    }

    /// Drops whatever the host would receive or send by the card.
    fn guard(&mut self, tcx: bool, spec: &Spec) -> io::Result<()> {
        let (index, divert) = (self.journal.index, spec.entry.tc());
        if tcx {
            match Links::attach(index, divert, spec.pins.as_ref()) {
                Ok(links) => {
                    self.links = Some(links);
                    // An earlier run may not have been allowed to have links.
                    return match self.journal.clsact.take() {
                        Some(clsact) => guard::detach_filters(&mut self.netlink, index, clsact),
                        None => Ok(()),
                    };
                }
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
                Err(error) => return Err(error),
            }
        }
        let found = guard::make_clsact(&mut self.netlink, index)?;
        match self.journal.clsact.filter(|_| !found.made) {
            // What an earlier run left goes on, and with it a kernel half in its place.
            Some(left) if left.diverts && divert => return Ok(()),
            Some(_) => {}
            None => {
                self.journal.clsact = Some(found);
                self.journal.write(&self.path)?;
                guard::attach_filters(&mut self.netlink, index)?;
                if !divert {
                    return Ok(());
                }
            }
        }
        self.set_filter(divert, None)
    }

    /// Takes away everything that makes the host use the card.
    fn clear(&mut self) -> io::Result<()> {
        if let Some(switch) = &mut self.ipv6 {
            write_switch(switch, "1")?;
        }
        for address in &self.journal.addresses {
            let family = address.first().copied().map(i32::from);
            match link::remove_address(&mut self.netlink, address) {
                // The switch has taken the IPv6 addresses away already.
                Err(_) if family == Some(libc::AF_INET6) => {}
                other => other?,
            }
        }
        // A card that goes on summing is asked again by `Port::completes_checksums`.
        if self.journal.sums
            && let Err(error) = self.ethtool.set_sums(&self.journal.device, false)
        {
            warn!("{} cannot be told to leave checksums to the kernel: {error}", self.journal.device);
        }
        let change = Change { flags: Some((UP | NO_ARP, UP | NO_ARP)), ..Change::default() };
        link::change(&mut self.netlink, self.journal.index, change)
    }

    /// Raises the MTU of the card, after that of what is below it. Returns why it could not be done.
    fn raise(&mut self, links: &[Link], wanted: u32) -> Option<String> {
        for link in links.iter().rev() {
            let change = Change { mtu: Some(wanted), ..Change::default() };
            if let Err(error) = link::change(&mut self.netlink, link.index, change) {
                let reason = match link.max_mtu {
                    Some(max) if max < wanted => format!("its driver takes at most {max}"),
                    _ => error.to_string(),
                };
                return Some(format!("{} stays at an MTU of {}: {reason}", link.name, link.mtu));
            }
        }
        None
    }
}

impl Drop for Takeover {
    fn drop(&mut self) {
        if self.left {
            return;
        }
        self.links = None;
        unpin(&self.path, self.journal.index);
        let index = self.journal.index;
        // It may have been renamed, or may have gone and come back with another number.
        let link = link::by_index(&mut self.netlink, index)
            .or_else(|_| link::by_name(&mut self.netlink, &self.journal.device));
        match link {
            Ok(link) if link.name == self.journal.device => {
                self.journal.put_back(&mut self.netlink, &link, &self.ethtool, self.ipv6.as_mut());
            }
            Ok(link) => {
                let mut ipv6 = open_switch(&link.name);
                self.journal.put_back(&mut self.netlink, &link, &self.ethtool, ipv6.as_mut());
            }
            Err(error) => warn!("{} cannot be put back as it was: {error}", self.journal.device),
        }
        if let Err(error) = fs::remove_file(&self.path) {
            warn!("cannot remove {}: {error}", self.path.display());
        }
    }
}

impl Journal {
    /// Writes it so that it is whole on disk, or not there, whatever happens.
    fn write(&self, path: &Path) -> io::Result<()> {
        let draft = path.with_extension("json.new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
    }

    /// Puts the card back. What cannot be put back is told, and the rest still is.
    fn put_back(&self, netlink: &mut Netlink, link: &Link, ethtool: &Ethtool, ipv6: Option<&mut File>) {
        let (device, index) = (&self.device, link.index);
        let tell = |what: &str, result: io::Result<()>| {
            if let Err(error) = result {
                warn!("{device}: cannot put back {what}: {error}");
            }
        };
        if let Some(clsact) = self.clsact {
            tell("its queueing discipline", guard::detach_filters(netlink, index, clsact));
        }
        for (name, mtu) in &self.mtus {
            let change = Change { mtu: Some(*mtu), ..Change::default() };
            let result =
                link::by_name(netlink, name).and_then(|link| link::change(netlink, link.index, change));
            tell("its MTU", result);
        }
        if self.sums {
            tell("its checksums", ethtool.set_sums(&link.name, true));
        }
        if let (Some(switch), Some(value)) = (ipv6, &self.disable_ipv6) {
            tell("IPv6", write_switch(switch, value));
        }
        let flags = if self.up { UP } else { 0 } | if self.no_arp { NO_ARP } else { 0 };
        let change = Change { flags: Some((UP | NO_ARP, flags)), ..Change::default() };
        tell("its flags", link::change(netlink, index, change));
        for address in &self.addresses {
            tell("an address", link::restore_address(netlink, index, address));
        }
        for route in &self.routes {
            tell("a route", link::restore_route(netlink, self.index, index, route));
        }
        info!("{device} is as it was before genkan took it");
    }
}

/// Puts back the cards that earlier runs have left behind, but those in `keep`, and returns their names. Cards that a
/// living process holds are left alone. `state_dir` need not exist.
pub fn restore(state_dir: &Path, keep: &[&str]) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(state_dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let kept: Vec<PathBuf> = keep.iter().map(|device| journal_path(state_dir, device)).collect();
    let mut netlink = Netlink::open()?;
    let mut restored = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let is_journal = path.extension().is_some_and(|extension| extension == "json")
            && path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("port-"));
        if is_journal && !kept.contains(&path) {
            restored.extend(put_back_file(&mut netlink, &path, false)?);
        }
    }
    Ok(restored)
}

/// Puts a card back from its journal, which need not exist, unless a living process holds it. The caller may hold it.
fn put_back_file(netlink: &mut Netlink, path: &Path, held: bool) -> io::Result<Option<String>> {
    let text = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text?,
    };
    let journal: Journal = match serde_json::from_slice(&text) {
        Ok(journal) => journal,
        Err(error) => {
            warn!("{} is damaged and cannot put a card back: {error}", path.display());
            fs::remove_file(path)?;
            return Ok(None);
        }
    };
    if journal.boot != boot()? {
        fs::remove_file(path)?;
        return Ok(None);
    }
    // A card that is not here may be in another namespace, or come back.
    let Ok(link) = link::by_name(netlink, &journal.device) else { return Ok(None) };
    let lock = if held { None } else { Some(lock(link.index)) };
    if lock.as_ref().is_some_and(Result::is_err) {
        return Ok(None);
    }
    unpin(path, journal.index);
    journal.put_back(netlink, &link, &Ethtool::open()?, open_switch(&journal.device).as_mut());
    fs::remove_file(path)?;
    Ok(Some(journal.device))
}

fn journal_path(state_dir: &Path, device: &str) -> PathBuf {
    state_dir.join(format!("port-{device}.json"))
}

/// Takes away the pinned links to a card whose journal is at `path`.
fn unpin(path: &Path, index: i32) {
    let Some(pins) = path.parent().and_then(Pins::find) else { return };
    if let Err(error) = pins.remove_links(index) {
        warn!("what is pinned for device {index} cannot be taken away: {error}");
    }
}

/// The card and the devices below it whose MTU is to be raised.
fn too_low(netlink: &mut Netlink, spec: &Spec, link: &Link) -> Vec<Link> {
    spec.wanted_mtu.map_or_else(Vec::new, |wanted| below(netlink, link, wanted.into()))
}

/// Holds a card for this process until it is dropped.
/// What holds the card while this process lives. A process that has just ended may still hold it for a moment, and so may one
/// that it has started and that has not begun its own program yet.
fn lock(index: i32) -> io::Result<UnixListener> {
    let name = SocketAddr::from_abstract_name(format!("genkan-port-{index}"))?;
    let begin = Instant::now();
    loop {
        match UnixListener::bind_addr(&name) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && begin.elapsed() < LET_GO => {
                thread::sleep(LET_GO / 50);
            }
            other => return other,
        }
    }
}

/// The card and the devices below it whose MTU is lower than `wanted`.
fn below(netlink: &mut Netlink, link: &Link, wanted: u32) -> Vec<Link> {
    let mut chain = Vec::new();
    let mut next = Some(link.clone());
    while let Some(link) = next.filter(|link| link.mtu < wanted && chain.len() < 8) {
        next = link.parent.and_then(|parent| link::by_index(netlink, parent).ok());
        chain.push(link);
    }
    chain
}

/// What tells this boot from every other.
fn boot() -> io::Result<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned())
}

/// The switch that keeps IPv6 off a device, in this thread's network namespace; `None` where there is no IPv6.
fn open_switch(device: &str) -> Option<File> {
    let path = Path::new("/proc/sys/net/ipv6/conf").join(device).join("disable_ipv6");
    match OpenOptions::new().read(true).write(true).open(&path) {
        Ok(file) => Some(file),
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                warn!("cannot keep the host's IPv6 off {device}: {}: {error}", path.display());
            }
            None
        }
    }
}

fn read_switch(switch: &mut File) -> io::Result<String> {
    let mut value = String::new();
    switch.rewind()?;
    switch.read_to_string(&mut value)?;
    Ok(value.trim().to_owned())
}

fn write_switch(switch: &mut File, value: &str) -> io::Result<()> {
    switch.rewind()?;
    switch.write_all(value.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;
    use std::process::Command;

    use super::*;
    use crate::port::Device;
    use crate::sys::netns;

    /// Namespaces and a state directory for a test; they end with it.
    struct Lab {
        host: String,
        peer: String,
        state: PathBuf,
        entry: Entry,
    }

    impl Lab {
        fn new(name: &str) -> Self {
            let [host, peer] = ["host", "peer"].map(|end| {
                let name = format!("genkan-{}-{name}-{end}", std::process::id());
                netns::create(&name)
                    .unwrap_or_else(|error| panic!("cannot make a namespace (run as root): {error}"));
                name
            });
            let state = std::env::temp_dir().join(&host);
            fs::create_dir_all(&state).unwrap();
            let lab = Lab { host, peer, state, entry: Entry::None };
            lab.host(&format!(
                "ip link add eth0 type veth peer name p0 netns {}; ip link set eth0 up",
                lab.peer
            ));
            lab.host("ip addr add 10.0.0.1/24 dev eth0");
            assert!(sh(&lab.peer, "ip addr add 10.0.0.2/24 dev p0; ip link set p0 up").0);
            lab
        }

        fn host(&self, command: &str) -> String {
            let (ok, text) = sh(&self.host, command);
            assert!(ok, "{command}: {text}");
            text
        }

        fn answers(&self) -> bool {
            sh(&self.peer, "ip neigh flush all; ping -c 1 -W 1 10.0.0.1").0
        }

        fn spec(&self) -> Spec {
            Spec {
                name: "wan0".into(),
                device: Device::Nic { device: "eth0".into() },
                mac: None,
                pppoe: false,
                wanted_mtu: None,
                promiscuous: false,
                state_dir: self.state.clone(),
                entry: self.entry,
                pins: None,
            }
        }

        fn journal(&self) -> PathBuf {
            self.state.join("port-eth0.json")
        }

        fn take(&self, tcx: bool) -> Takeover {
            self.take_as(&self.spec(), tcx)
        }

        fn take_as(&self, spec: &Spec, tcx: bool) -> Takeover {
            netns::run(&self.host, || {
                let mut netlink = Netlink::open().unwrap();
                let link = link::by_name(&mut netlink, "eth0").unwrap();
                Takeover::begin_by(netlink, spec, &link, tcx).unwrap().0
            })
            .unwrap()
        }

        fn sums(&self) -> bool {
            self.host("ethtool -k eth0").contains("tx-checksumming: on")
        }
    }

    impl Drop for Lab {
        fn drop(&mut self) {
            let _ = netns::delete(&self.host);
            let _ = netns::delete(&self.peer);
            let _ = fs::remove_dir_all(&self.state);
        }
    }

    fn sh(namespace: &str, command: &str) -> (bool, String) {
        let output =
            netns::run(namespace, || Command::new("sh").args(["-ec", command]).output().unwrap()).unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    #[test]
    fn kernels_without_tcx_links_get_filters_that_are_taken_away_again() {
        let lab = Lab::new("clsact");
        let takeover = lab.take(false);
        for direction in ["ingress", "egress"] {
            let filters = lab.host(&format!("tc filter show dev eth0 {direction}"));
            assert!(filters.contains("pref 1 bpf") && filters.contains("direct-action"), "{filters}");
        }
        // The host may have its address back and still says nothing.
        lab.host("ip addr add 10.0.0.1/24 dev eth0; ip link set eth0 arp on");
        assert!(!lab.answers());
        lab.host("ip addr del 10.0.0.1/24 dev eth0");
        drop(takeover);
        assert_eq!(lab.host("tc qdisc show dev eth0 clsact"), "");
        assert!(lab.answers());
    }

    /// A program of the kernel half goes on in the filter's place without its process, also while the next one starts.
    #[test]
    fn without_tcx_a_program_at_the_ingress_outlives_its_process() {
        let mut lab = Lab::new("clsact-program");
        lab.entry = Entry::Tc;
        let filter = |lab: &Lab| lab.host("tc filter show dev eth0 ingress");
        // r0 = TC_ACT_SHOT; exit.
        let program = crate::sys::bpf::load_classifier(&[0xb7 | 2 << 32, 0x95]).unwrap();
        let mut takeover = lab.take(false);
        assert!(takeover.diverts());
        let own = filter(&lab);
        takeover.set_classifier(Some(program.as_fd())).unwrap();
        let its = filter(&lab);
        assert_ne!(own, its, "another program");
        takeover.leave();
        let mut next = lab.take(false);
        assert!(next.diverts());
        assert_eq!(filter(&lab), its, "it goes on");
        next.set_classifier(None).unwrap();
        assert_ne!(filter(&lab), its);
        drop(next);
        assert_eq!(lab.host("tc qdisc show dev eth0 clsact"), "");
        assert!(lab.answers());
    }

    #[test]
    fn a_card_that_was_renamed_meanwhile_is_put_back_too() {
        let lab = Lab::new("renamed");
        let takeover = lab.take(true);
        lab.host("ip link set eth0 down; ip link set eth0 name wan; ip link set wan up");
        netns::run(&lab.host, || drop(takeover)).unwrap();
        assert!(lab.host("ip -4 addr show dev wan").contains("10.0.0.1/24"));
        assert!(lab.host("cat /proc/sys/net/ipv6/conf/wan/disable_ipv6").starts_with('0'));
        assert!(lab.answers());
    }

    #[test]
    fn a_card_that_the_kernel_half_sends_to_by_pppoe_sums_nothing_until_it_is_put_back() {
        let lab = Lab::new("sums");
        let pppoe = Spec { pppoe: true, entry: Entry::Tc, ..lab.spec() };
        for other in [Spec { entry: Entry::None, ..pppoe.clone() }, Spec { pppoe: false, ..pppoe.clone() }] {
            let takeover = lab.take_as(&other, true);
            assert!(lab.sums());
            drop(takeover);
        }
        let takeover = lab.take_as(&pppoe, true);
        assert!(!lab.sums());
        drop(takeover);
        assert!(lab.sums());
        // A run that leaves the card, one that goes on with it, and the end by the journal.
        lab.take_as(&pppoe, true).leave();
        let takeover = lab.take_as(&pppoe, true);
        assert!(!lab.sums());
        takeover.leave();
        let restored = netns::run(&lab.host, || restore(&lab.state, &[])).unwrap().unwrap();
        assert_eq!(restored, ["eth0"]);
        assert!(lab.sums());
        // One that summed nothing before does not afterwards.
        lab.host("ethtool -K eth0 tx off");
        drop(lab.take_as(&pppoe, true));
        assert!(!lab.sums());
    }

    #[test]
    fn filters_of_others_on_the_same_discipline_stay() {
        let lab = Lab::new("shared");
        lab.host("tc qdisc add dev eth0 clsact; tc filter add dev eth0 ingress prio 7 protocol all bpf bytecode '1,6 0 0 0,'");
        drop(lab.take(false));
        let filters = lab.host("tc filter show dev eth0 ingress");
        assert!(filters.contains("pref 7") && !filters.contains("pref 1 "), "{filters}");
        assert!(lab.answers());
    }

    #[test]
    fn filters_left_by_a_killed_process_are_taken_away_from_its_journal() {
        let lab = Lab::new("left");
        // A kill runs no destructor: the discipline, the switch and the journal stay.
        std::mem::forget(lab.take(false));
        assert!(!lab.answers());
        let restored = netns::run(&lab.host, || {
            put_back_file(&mut Netlink::open().unwrap(), &lab.journal(), true).unwrap()
        });
        assert_eq!(restored.unwrap().as_deref(), Some("eth0"));
        assert_eq!(lab.host("tc qdisc show dev eth0 clsact"), "");
        assert!(lab.answers() && !lab.journal().exists());
    }

    #[test]
    fn a_card_that_is_just_let_go_is_not_in_use() {
        let held = lock(i32::MAX).unwrap();
        assert_eq!(lock(i32::MAX).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let letting_go = thread::spawn(|| drop(held));
        lock(i32::MAX).unwrap();
        letting_go.join().unwrap();
    }

    #[test]
    fn a_journal_that_is_damaged_or_of_an_earlier_boot_touches_nothing() {
        let lab = Lab::new("stale");
        let before = lab.host("ip -o -4 addr show dev eth0; ip -o link show dev eth0");
        let journal = {
            let _takeover = lab.take(true);
            fs::read_to_string(lab.journal()).unwrap()
        };
        let earlier = journal
            .replace(&boot().unwrap(), "00000000-0000-0000-0000-000000000000")
            .replace("true", "false");
        for text in [&earlier, &journal[..journal.len() / 2], ""] {
            fs::write(lab.journal(), text).unwrap();
            let restored = netns::run(&lab.host, || restore(&lab.state, &[])).unwrap().unwrap();
            assert_eq!(restored, Vec::<String>::new());
            assert_eq!(lab.host("ip -o -4 addr show dev eth0; ip -o link show dev eth0"), before);
            assert!(!lab.journal().exists(), "it is of no use any more");
        }
    }
}
