//! A tap device: the host's kernel, or a guest's, is at the other end of the wire.
//!
//! The device's own address and IP addresses belong to that other end and are not touched. The router's address on the
//! wire is one of its own, which follows from the device's name, so that neighbours find the same router after a
//! restart.
//!
//! While the kernel half has an entry at a tap, the device stays when this process is killed, and the next run attaches to
//! it again. That it is ours is written to `tap-DEVICE` in the state directory first: at an orderly end, and by
//! [`remove_left`], it vanishes.

use std::fs;
use std::hash::Hasher as _;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use fnv::FnvHasher;
use genkan_netstack::frame::{Batch, Checksum, Frame, Pool};
use genkan_netstack::id::Mac;

use super::link::{self, Change, Link};
use super::slot::{MAX_FRAME, Slot};
use super::{Presence, Spec, Stats, explain, fd_of, limit, port_mtu, vnet};
use crate::fastpath::pins::remove_file;
use crate::sys::netlink::Netlink;
use crate::sys::packet::VNET_HEADER;
use crate::sys::tun::TapDevice;
use tracing::warn;

/// Frames that the kernel may queue for us. Its default of 500 is less than a TCP window of large segments.
const QUEUE: u32 = 10_000;

/// An open tap device.
#[derive(Debug)]
pub struct Tap {
    device: TapDevice,
    name: String,
    index: i32,
    mac: Mac,
    mtu: u16,
    mtu_limit: Option<String>,
    offload: bool,
    netlink: Netlink,
    drops_before: u64,
    slot: Option<Slot>,
    stats: Stats,
    /// The note that says that it stays because we made it.
    note: Option<PathBuf>,
}

impl Tap {
    /// Creates the device or attaches to it, and brings it up.
    pub(super) fn open(spec: &Spec, name: &str, offload: bool) -> io::Result<Self> {
        let opened = if offload { TapDevice::with_vnet_header(name) } else { TapDevice::plain(name) };
        let device = opened.map_err(|error| match error.raw_os_error() {
            Some(libc::EBUSY) => io::Error::new(
                io::ErrorKind::ResourceBusy,
                format!("tap device {name} is in use by another process; end it, or choose another name"),
            ),
            Some(libc::ENOENT | libc::ENXIO) => io::Error::new(
                io::ErrorKind::NotFound,
                "/dev/net/tun does not exist; load the kernel module tun (`modprobe tun`)",
            ),
            Some(libc::EINVAL) => io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{name} exists but is not a tap device with a single queue; remove it, or choose another name"),
            ),
            _ => explain(&format!("cannot open tap device {name}"), error),
        })?;
        let mut netlink = Netlink::open()?;
        let link = link::by_name(&mut netlink, name).map_err(|error| explain(name, error))?;
        let up = libc::IFF_UP as u32;
        let change = Change { flags: Some((up, up)), mtu: None, queue: Some(QUEUE) };
        link::change(&mut netlink, link.index, change)
            .map_err(|error| explain(&format!("cannot bring tap device {name} up"), error))?;
        let mtu_limit = raise_mtu(&mut netlink, &link, spec.wanted_mtu);
        let link = link::by_index(&mut netlink, link.index)?;
        let mac = spec.mac.unwrap_or_else(|| stable_mac(name));
        if mac == link.mac {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "{mac} is the address of {name} itself, the other end of the wire; choose another `mac`"
                ),
            ));
        }
        let note = stay(&device, spec, name)
            .map_err(|error| explain(&format!("cannot let tap device {name} stay"), error))?;
        Ok(Tap {
            note,
            device,
            name: name.to_owned(),
            index: link.index,
            mac,
            mtu: port_mtu(link.mtu),
            mtu_limit,
            offload,
            netlink,
            drops_before: link.tx_dropped,
            slot: None,
            stats: Stats::default(),
        })
    }

    /// Gives it up; when it is one that stays, it stays.
    pub(super) fn leave(mut self) {
        self.note = None;
    }

    pub(super) fn index(&self) -> i32 {
        self.index
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn mac(&self) -> Mac {
        self.mac
    }

    pub(super) fn mtu(&self) -> u16 {
        self.mtu
    }

    pub(super) fn mtu_limit(&self) -> Option<&str> {
        self.mtu_limit.as_deref()
    }

    pub(super) fn offload(&self) -> bool {
        self.offload
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        fd_of(&self.device)
    }

    pub(super) fn receive(&mut self, batch: &mut Batch, pool: &mut Pool, max: usize) -> io::Result<usize> {
        let mut count = 0;
        while count < max {
            let slot = self.slot.get_or_insert_with(|| Slot::new(pool));
            let mut header = [0; VNET_HEADER];
            let header_len = if self.offload { VNET_HEADER } else { 0 };
            let [first, rest] = slot.pieces();
            let header_room = header.get_mut(..header_len).unwrap_or_default();
            let mut pieces = [IoSliceMut::new(header_room), IoSliceMut::new(first), IoSliceMut::new(rest)];
            let len = match self.device.receive(&mut pieces) {
                Ok(len) => len.saturating_sub(header_len),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => break,
                    io::ErrorKind::Interrupted => continue,
                    _ if count > 0 => break,
                    _ => return Err(explain(&format!("receiving on {}", self.name), error)),
                },
            };
            count += 1;
            // A tap device says nothing of a frame that it has cut to fit.
            let Some(offload) = vnet::decode(&header, len).filter(|_| len < MAX_FRAME) else {
                self.stats.rx_dropped += 1;
                continue;
            };
            let mut frame = slot.take(len, pool);
            frame.offload = offload;
            self.stats.received(&frame);
            batch.push_back(frame);
        }
        Ok(count)
    }

    pub(super) fn transmit(&mut self, queue: &mut Batch, pool: &mut Pool) -> io::Result<()> {
        let mut lost = None;
        while let Some(frame) = queue.front() {
            match self.send(frame) {
                Ok(()) => self.stats.sent(frame),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => break,
                    io::ErrorKind::Interrupted => continue,
                    // Down, or a frame that it does not take: lost, as on a wire.
                    _ => {
                        self.stats.tx_dropped += 1;
                        // The device has been deleted.
                        if error.raw_os_error() == Some(libc::EBADFD) {
                            lost = Some(explain(&format!("sending on {}", self.name), error));
                        }
                    }
                },
            }
            if let Some(frame) = queue.pop_front() {
                pool.give(frame);
            }
        }
        limit(queue, pool, &mut self.stats);
        lost.map_or(Ok(()), Err)
    }

    pub(super) fn presence(&mut self) -> Presence {
        link::presence(&mut self.netlink, self.index)
    }

    fn send(&self, frame: &Frame) -> io::Result<()> {
        if self.offload {
            return self.device.send(&[IoSlice::new(&vnet::encode(frame)), IoSlice::new(frame.bytes())]);
        }
        if frame.offload.gso.is_some() || matches!(frame.offload.checksum, Checksum::Partial { .. }) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.device.send(&[IoSlice::new(frame.bytes())])
    }

    pub(super) fn stats(&mut self) -> Stats {
        // What the device could not send is what we did not fetch. When it cannot be asked, the last count stands.
        if let Ok(link) = link::by_index(&mut self.netlink, self.index) {
            self.stats.rx_kernel_drops = link.tx_dropped.saturating_sub(self.drops_before);
        }
        self.stats
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        if let Some(note) = self.note.take()
            && let Err(error) = self.device.set_persistent(false).and_then(|()| remove_file(&note))
        {
            warn!("tap device {} stays: {error}", self.name);
        }
    }
}

/// Lets a device stay when the port's entry needs it, and not longer. Returns the note that says so. A device that
/// somebody else lets stay is not ours.
fn stay(device: &TapDevice, spec: &Spec, name: &str) -> io::Result<Option<PathBuf>> {
    let path = note_path(&spec.state_dir, name);
    let wanted = spec.entry.tc() && spec.pins.is_some();
    let (persistent, ours) = (device.is_persistent()?, path.exists());
    if persistent && !ours {
        return Ok(None);
    }
    if wanted {
        fs::create_dir_all(&spec.state_dir)?;
        fs::write(&path, "This tap device goes away when genkan ends in good order.\n")?;
        device.set_persistent(true)?;
        return Ok(Some(path));
    }
    if ours {
        device.set_persistent(false)?;
        remove_file(&path)?;
    }
    Ok(None)
}

fn note_path(state_dir: &Path, name: &str) -> PathBuf {
    state_dir.join(format!("tap-{name}"))
}

/// Takes away the devices that earlier runs have let stay, but those in `keep`. One that a living process holds is left
/// alone.
pub(super) fn remove_left(state_dir: &Path, keep: &[&str]) -> io::Result<()> {
    let entries = match fs::read_dir(state_dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix("tap-"));
        let Some(name) = name.filter(|name| !keep.contains(name)) else { continue };
        // It may have gone with the last boot, or with its namespace.
        if link::by_name(&mut Netlink::open()?, name).is_err() {
            remove_file(&path)?;
            continue;
        }
        match TapDevice::with_vnet_header(name) {
            Ok(device) => {
                device.set_persistent(false)?;
                remove_file(&path)?;
            }
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
            Err(error) => return Err(explain(&format!("cannot take tap device {name} away"), error)),
        }
    }
    Ok(())
}

/// Raises the device's MTU. Returns why it could not be.
fn raise_mtu(netlink: &mut Netlink, link: &Link, wanted: Option<u16>) -> Option<String> {
    let wanted = u32::from(wanted?);
    if link.mtu >= wanted {
        return None;
    }
    let change = Change { mtu: Some(wanted), ..Change::default() };
    let error = link::change(netlink, link.index, change).err()?;
    Some(format!("{} stays at an MTU of {}: {error}", link.name, link.mtu))
}

/// A locally administered address that depends on the device's name alone (FNV-1a, 64 bits).
fn stable_mac(name: &str) -> Mac {
    let mut hash = FnvHasher::default();
    hash.write(b"genkan:");
    hash.write(name.as_bytes());
    let [a, b, c, d, e, ..] = hash.finish().to_be_bytes();
    Mac([0x02, a, b, c, d, e])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_routers_address_on_a_tap_is_stable_local_and_different_for_each_name() {
        let mac = stable_mac("tap-lan");
        assert_eq!(mac, stable_mac("tap-lan"));
        assert_ne!(mac, stable_mac("tap-wan"));
        assert!(mac.is_station());
        assert_eq!(mac.0[0], 0x02);
    }
}
