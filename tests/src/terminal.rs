//! A terminal with a program at it, and somebody who types.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{InputModes, LocalModes, OptionalActions, Winsize, tcgetattr, tcsetattr, tcsetwinsize};

use crate::wait_for;

/// A terminal of 24 rows and 80 columns with a program that runs at it.
#[derive(Debug)]
pub struct Terminal {
    keys: File,
    program: Child,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    /// Starts a program at a new terminal.
    ///
    /// # Panics
    ///
    /// When there is no terminal to be had, or the program cannot be started.
    pub fn start(mut command: Command) -> Terminal {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
            .expect("there is a terminal");
        grantpt(&controller).expect("a terminal can be used");
        unlockpt(&controller).expect("a terminal can be used");
        tcsetwinsize(&controller, Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 })
            .expect("a terminal has a size");
        let name = ptsname(&controller, Vec::new()).expect("a terminal has a name");
        let path = std::path::Path::new(std::ffi::OsStr::from_bytes(name.as_bytes()));
        let end = || OpenOptions::new().read(true).write(true).open(path).expect("a terminal can be opened");
        let program =
            command.stdin(end()).stdout(end()).stderr(end()).spawn().expect("the program can be started");
        // The command still holds the program's end, which keeps the terminal from ending.
        drop(command);
        let keys = File::from(controller);
        let mut screen = keys.try_clone().expect("a terminal can be read");
        let shown = Arc::new(Mutex::new(Vec::new()));
        let copy = Arc::clone(&shown);
        thread::spawn(move || {
            let mut octets = [0; 4096];
            // It fails once nobody is at the other end.
            while let Ok(count @ 1..) = screen.read(&mut octets) {
                copy.lock().expect("nobody panics with it").extend_from_slice(&octets[..count]);
            }
        });
        Terminal { keys, program, shown }
    }

    /// Presses keys.
    ///
    /// # Panics
    ///
    /// When nobody takes them.
    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("keys can be pressed");
    }

    /// All that was written to it so far.
    ///
    /// # Panics
    ///
    /// When its reader did.
    pub fn shown(&self) -> Vec<u8> {
        self.shown.lock().expect("nobody panics with it").clone()
    }

    /// Waits until it shows `text`, and forgets what it has shown.
    ///
    /// # Panics
    ///
    /// When it does not within ten seconds.
    pub fn wait(&mut self, text: &str) -> String {
        wait_for(&format!("{text:?} on the terminal"), Duration::from_secs(10), || {
            let shown = String::from_utf8_lossy(&self.shown()).into_owned();
            if !shown.contains(text) {
                return Err(shown);
            }
            self.shown.lock().expect("nobody panics with it").clear();
            Ok(shown)
        })
    }

    /// Whether it shows what is typed and hands it on line by line, as it does by itself.
    ///
    /// # Panics
    ///
    /// When it cannot be asked.
    pub fn is_plain(&self) -> bool {
        let modes = tcgetattr(&self.keys).expect("a terminal can be asked").local_modes;
        modes.contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG)
    }

    /// Has it do so, as whoever else is at the same terminal can.
    ///
    /// # Panics
    ///
    /// When it cannot be set.
    pub fn make_plain(&self) {
        let mut modes = tcgetattr(&self.keys).expect("a terminal can be asked");
        modes.local_modes |= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        modes.input_modes |= InputModes::ICRNL;
        tcsetattr(&self.keys, OptionalActions::Now, &modes).expect("a terminal can be set");
    }

    /// Waits until the program has ended.
    ///
    /// # Panics
    ///
    /// When it does not within ten seconds.
    pub fn wait_end(&mut self) -> ExitStatus {
        wait_for("the program to end", Duration::from_secs(10), || {
            let ended = self.program.try_wait().map_err(|error| error.to_string())?;
            ended.ok_or_else(|| "it runs".to_owned())
        })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}
