//! The terminal: what is typed comes key by key and is not echoed, until it is given back.

use std::fs::File;
use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{
    InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr,
};
use tokio::signal::unix::{SignalKind, signal};
use zeroize::Zeroizing;

use super::dialogue::Given;
use super::view::Screen;

/// The size of a terminal that does not know it, such as a serial line.
const SIZE: (u16, u16) = (24, 80);

/// This process's terminal, taken over.
pub(super) struct Terminal {
    /// As it was before.
    before: Termios,
}

/// What came from a terminal.
pub(super) enum Input {
    /// Octets of keys.
    Keys(Zeroizing<Vec<u8>>),
    /// Nothing in time.
    Nothing,
    /// It is gone.
    End,
}

impl Terminal {
    /// Takes over standard input and output.
    pub(super) fn open() -> Result<Terminal, String> {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            return Err("the console needs a terminal; `genkan status FILE` prints the same once".into());
        }
        let before =
            tcgetattr(io::stdin()).map_err(|error| format!("the terminal cannot be asked: {error}"))?;
        let terminal = Terminal { before };
        terminal.take().map_err(|error| format!("the terminal cannot be set: {error}"))?;
        outlive_interrupts().map_err(|error| format!("cannot catch signals: {error}"))?;
        Ok(terminal)
    }

    /// Rows and columns.
    pub(super) fn size(&self) -> (u16, u16) {
        let size = tcgetwinsize(io::stdout()).ok().filter(|size| size.ws_row > 0 && size.ws_col > 0);
        size.map_or(SIZE, |size| (size.ws_row, size.ws_col))
    }

    /// Draws everything, over what is there. Whoever else has the terminal may have changed its modes: a question for a password
    /// is not seen before keys are no longer echoed.
    pub(super) fn draw(&self, screen: &Screen) -> io::Result<()> {
        self.take()?;
        let mut out = io::stdout().lock();
        out.write_all(screen.text().as_bytes())?;
        out.flush()
    }

    /// Waits for keys.
    pub(super) fn wait(&self, patience: Duration) -> io::Result<Input> {
        let timeout = Timespec::try_from(patience).map_err(io::Error::other)?;
        let stdin = io::stdin();
        let mut fds = [PollFd::new(&stdin, PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) => return Ok(Input::Nothing),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(Input::Nothing),
            Err(error) => return Err(error.into()),
        }
        // Past the buffer of standard input: what is typed must not stay there, and belongs to the login program next.
        let mut keys = Zeroizing::new(vec![0; 64]);
        let mut direct = File::from(stdin.as_fd().try_clone_to_owned()?);
        let read = direct.read(&mut keys)?;
        keys.truncate(read);
        Ok(if read == 0 { Input::End } else { Input::Keys(keys) })
    }

    /// Lets a program have the terminal until it ends.
    pub(super) fn lend(&mut self, program: &Path) -> io::Result<()> {
        self.give_back();
        let ended = Command::new(program).status();
        // Whatever it has left of the terminal's modes.
        self.take()?;
        ended.map(drop)
    }

    fn take(&self) -> io::Result<()> {
        let mut modes = self.before.clone();
        modes.local_modes &= !(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG | LocalModes::IEXTEN);
        modes.input_modes &= !(InputModes::IXON | InputModes::ICRNL);
        modes.special_codes[SpecialCodeIndex::VMIN] = 1;
        modes.special_codes[SpecialCodeIndex::VTIME] = 0;
        Ok(tcsetattr(io::stdin(), OptionalActions::Drain, &modes)?)
    }

    fn give_back(&self) {
        // Lines are wrapped again, the cursor is seen, the screen is empty. Who is gone needs none of it.
        let _ = io::stdout().write_all(b"\x1b[?7h\x1b[?25h\x1b[0m\x1b[H\x1b[J");
        let _ = io::stdout().flush();
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &self.before);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// Ctrl-C in the login program is for it alone. Caught signals are not caught in a program that is started, while
/// ignored ones would be ignored there, too.
fn outlive_interrupts() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let _inside = runtime.enter();
    for kind in [SignalKind::interrupt(), SignalKind::quit()] {
        // It stays caught when nobody listens.
        drop(signal(kind)?);
    }
    Ok(())
}

/// Asks for a user name and a password, a line each; on a terminal the password is not shown.
pub(super) fn ask_both() -> Result<Given, String> {
    let say = |text: &str| {
        eprint!("{text}");
        let _ = io::stderr().flush();
    };
    say("PPPoE user name: ");
    let username = line()?;
    say("Password: ");
    let hidden = Hidden::start();
    let password = line();
    drop(hidden);
    eprintln!();
    Ok(Given { username, password: password? })
}

/// A line of standard input, without its end.
fn line() -> Result<Zeroizing<Vec<u8>>, String> {
    let mut line = Zeroizing::new(Vec::with_capacity(1024));
    let mut input = io::stdin().lock().take(1024);
    input.read_until(b'\n', &mut line).map_err(|error| format!("standard input cannot be read: {error}"))?;
    while matches!(line.last(), Some(b'\n' | b'\r')) {
        line.pop();
    }
    if line.is_empty() { Err("nothing was given; nothing is changed".into()) } else { Ok(line) }
}

/// While it lives, the terminal does not show what is typed.
struct Hidden(Option<Termios>);

impl Hidden {
    fn start() -> Hidden {
        let before = tcgetattr(io::stdin()).ok();
        if let Some(before) = &before {
            let mut modes = before.clone();
            modes.local_modes &= !LocalModes::ECHO;
            // A terminal that does not obey shows it; there is no other way to ask.
            let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &modes);
        }
        Hidden(before)
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(io::stdin(), OptionalActions::Drain, before);
        }
    }
}
