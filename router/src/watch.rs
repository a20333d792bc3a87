//! The watch: a thread that looks, twice a second, for what no frame tells. It tells the data thread that the machine was
//! paused, and that a port's line was cut and is whole again, and the log that a thread was refused a system call.

use std::io;
use std::thread;

use genkan_netstack::id::PortId;

use crate::pause::{Clocks, INTERVAL};
use crate::privileges::{self, Role};
use crate::sys::ethtool::Ethtool;
use crate::worker::{Command, Handle};

/// What is looked at.
pub struct Watch {
    clocks: Clocks,
    lines: Option<Lines>,
}

/// The lines of the ports.
struct Lines {
    kernel: Ethtool,
    ports: Vec<Wire>,
}

/// One port's line.
struct Wire {
    port: PortId,
    device: String,
    cut: bool,
}

impl Watch {
    /// Opens all that it looks at. `devices` are those of the ports, in their order.
    pub fn open(devices: &[String]) -> Watch {
        let ports = (0..).map(PortId).zip(devices);
        let ports = ports.map(|(port, device)| Wire { port, device: device.clone(), cut: false }).collect();
        // Where the kernel cannot be asked, lines are taken to be whole.
        Watch { clocks: Clocks::open(), lines: Ethtool::open().ok().map(|kernel| Lines { kernel, ports }) }
    }

    /// Looks for as long as the data thread listens.
    pub fn start(mut self, handle: Handle) -> io::Result<()> {
        privileges::spawn(Role::Watch, Vec::new(), move || {
            loop {
                thread::sleep(INTERVAL);
                privileges::tell_refused();
                let pause = self.clocks.look().map(Command::Resumed);
                let lines = self.lines.as_mut().map(Lines::look).unwrap_or_default();
                let commands = pause.into_iter().chain(lines.into_iter().map(Command::Reconnected));
                for command in commands {
                    if handle.send(command).is_err() {
                        return;
                    }
                }
            }
        })?;
        Ok(())
    }
}

impl Lines {
    /// The ports whose line was cut, or whose device was down or gone, and which have a carrier again.
    fn look(&mut self) -> Vec<PortId> {
        let mut back = Vec::new();
        for wire in &mut self.ports {
            let cut = !self.kernel.has_carrier(&wire.device).unwrap_or(false);
            if std::mem::replace(&mut wire.cut, cut) && !cut {
                back.push(wire.port);
            }
        }
        back
    }
}
