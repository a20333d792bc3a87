//! A port through its life: open, in trouble while its device is down, lost when the device is unplugged or deleted, and
//! open again when that comes back.

use std::io;

use genkan_netstack::frame::{Batch, Pool};
use genkan_netstack::id::Mac;
use serde::Serialize;
use tracing::{info, warn};

use crate::port::{Port, Presence, Spec, Stats};
use crate::sys::poll::Epoll;

/// A port of a running program.
#[derive(Debug, Serialize)]
pub struct PortStatus {
    /// Its name in the configuration.
    pub name: String,
    /// The device behind it.
    pub device: String,
    /// The router's Ethernet address on it.
    pub mac: Mac,
    /// Largest Ethernet payload, in octets.
    pub mtu: u16,
    /// Why it carries nothing; `None` while all is well.
    pub trouble: Option<String>,
    /// What it has carried.
    #[serde(flatten)]
    pub stats: Stats,
}

/// What has become of a port in trouble.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Change {
    /// Its device is gone.
    pub lost: bool,
    /// It has a device again.
    pub opened: bool,
}

/// A port and what the data thread knows of it.
pub(crate) struct Line {
    /// How to open it again. The router keeps its address on it.
    spec: Spec,
    mac: Mac,
    mtu: u16,
    /// `None` while its device is gone.
    port: Option<Port>,
    token: u64,
    /// It may have frames: nothing has said otherwise since it last had some.
    pub ready: bool,
    /// Why it carries nothing. The user has been told.
    trouble: Option<String>,
    /// Frames at the head of its transmit queue that the device has refused for now; they have been captured.
    pub refused: usize,
    /// What its earlier ports have carried.
    before: Stats,
}

impl Line {
    /// Waits in `epoll` for a port's frames, as `token`.
    pub fn new(mut spec: Spec, port: Port, token: u64, epoll: &Epoll) -> io::Result<Self> {
        epoll.add(port.fd(), token)?;
        let (mac, mtu) = (port.mac(), port.mtu());
        spec.mac = Some(mac);
        let before = Stats::default();
        Ok(Line { spec, mac, mtu, port: Some(port), token, ready: true, trouble: None, refused: 0, before })
    }

    /// The port's name in the configuration.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// True while it carries nothing: have it looked after now and then.
    pub fn in_trouble(&self) -> bool {
        self.trouble.is_some()
    }

    /// As [`Port::receive`]; nothing while there is no port.
    pub fn receive(&mut self, batch: &mut Batch, pool: &mut Pool, max: usize, epoll: &Epoll) -> usize {
        let Some(port) = &mut self.port else {
            self.ready = false;
            return 0;
        };
        match port.receive(batch, pool, max) {
            Ok(count) => {
                self.ready = count > 0;
                if count > 0 {
                    self.recovered();
                }
                count
            }
            Err(error) => {
                self.ready = false;
                // A device that has failed wakes us up for ever.
                let _ = epoll.remove(port.fd());
                self.fail(&error);
                0
            }
        }
    }

    /// As [`Port::transmit`]; frames are lost while there is no port.
    pub fn transmit(&mut self, queue: &mut Batch, pool: &mut Pool) {
        let sent = match &mut self.port {
            Some(port) => port.transmit(queue, pool),
            None => {
                while let Some(frame) = queue.pop_front() {
                    pool.give(frame);
                    self.before.tx_dropped += 1;
                }
                Ok(())
            }
        };
        self.refused = queue.len();
        if let Err(error) = sent {
            self.fail(&error);
        }
    }

    /// Looks after a port in trouble: gives up one whose device is gone, and opens it when there is a device again.
    pub fn look_after(&mut self, epoll: &Epoll) -> Change {
        let Some(port) = &mut self.port else {
            return Change { lost: false, opened: self.open(epoll) };
        };
        match port.presence() {
            Presence::Gone => {
                self.before.add(port.stats());
                self.port = None;
                let device = self.spec.device.name();
                let text = format!("{device} is gone; the port works again when it is back");
                warn!("port {}: {text}", self.spec.name);
                self.trouble = Some(text);
                Change { lost: true, opened: self.open(epoll) }
            }
            presence => {
                // It may be in the set already.
                let _ = epoll.add(port.fd(), self.token);
                self.ready = true;
                if presence == Presence::Up {
                    self.recovered();
                }
                Change::default()
            }
        }
    }

    /// The port, while it has one.
    pub fn port(&mut self) -> Option<&mut Port> {
        self.port.as_mut()
    }

    /// Lets the device go on without us.
    pub fn leave(self) {
        if let Some(port) = self.port {
            port.leave();
        }
    }

    fn open(&mut self, epoll: &Epoll) -> bool {
        let opened = Port::open(&self.spec).and_then(|port| {
            epoll.add(port.fd(), self.token)?;
            Ok(port)
        });
        match opened {
            Ok(port) => {
                self.mtu = port.mtu();
                self.port = Some(port);
                self.ready = true;
                self.recovered();
                return true;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let text = error.to_string();
                if self.trouble.as_ref() != Some(&text) {
                    warn!("{text}");
                    self.trouble = Some(text);
                }
            }
        }
        false
    }

    fn fail(&mut self, error: &io::Error) {
        if self.trouble.is_none() {
            warn!("port {}: {error}", self.spec.name);
            self.trouble = Some(error.to_string());
        }
    }

    fn recovered(&mut self) {
        if self.trouble.take().is_some() {
            info!("port {}: works again", self.spec.name);
        }
    }

    /// Why it carries nothing at this moment: its device is in trouble, or has no carrier.
    pub fn trouble(&self) -> Option<String> {
        let device = self.spec.device.name();
        // Whatever cannot be read there is no device of the kernel's.
        let carrier = || std::fs::read_to_string(format!("/sys/class/net/{device}/carrier")).ok();
        let lost = || carrier().filter(|carrier| carrier.trim() == "0");
        self.trouble.clone().or_else(|| lost().map(|_| format!("{device} has no carrier")))
    }

    /// What it is and what it has carried.
    pub fn status(&mut self) -> PortStatus {
        let mut stats = self.before;
        if let Some(port) = &mut self.port {
            stats.add(port.stats());
        }
        PortStatus {
            name: self.spec.name.clone(),
            device: self.spec.device.name(),
            mac: self.mac,
            mtu: self.mtu,
            trouble: self.trouble.clone(),
            stats,
        }
    }
}
