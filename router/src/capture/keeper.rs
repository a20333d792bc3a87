//! Saves the ring when something has gone wrong.
//!
//! What goes wrong goes wrong again: an uplink that cannot dial would fill the disk, and with the newest files push out the one that shows
//! how it began. So each kind of failure of each thing is saved at once the first time, and then after growing times. A thread of its own
//! writes, so that a slow disk never holds up a frame; it keeps the newest [`FILES`] files, of [`OCTETS`] together. When the disk is
//! full nothing is saved, and that is said once.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use genkan_netstack::control::{Event, VpnEvent};
use genkan_netstack::time::{Duration, Instant};
use genkan_netstack::{dhcp4, dhcp6, pppoe};
use tracing::{info, warn};

use super::ring::{Ring, Snapshot};
use crate::clock;
use crate::privileges::{self, Access, Grant, Role};

/// Most files that are kept.
pub const FILES: usize = 16;
/// Most octets of all of them.
pub const OCTETS: u64 = 64 << 20;
/// The time in which a failure that comes again is not saved, after the first one; each time it is twice as long as before.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest such time.
const LONGEST: Duration = Duration::from_secs(6 * 3600);
/// What saved files are called: the time, then what has failed.
const ENDING: &str = "pcapng";

/// What has failed: a thing by its name, and how.
type Subject = (Arc<str>, &'static str);

/// What a failure is called in a file's name; `None` for an event that is none.
fn failure(event: &Event) -> Option<Subject> {
    use dhcp4::client::Event as Lease4;
    let named = |name: &Arc<str>, what| Some((Arc::clone(name), what));
    match event {
        Event::Wan { name, event: pppoe::Event::Down { .. } } => named(name, "session-down"),
        Event::Concentrator { name, event: pppoe::subscriber::Event::AuthFailed { .. } } => {
            named(name, "authentication-failed")
        }
        Event::WanDhcp4 { name, event: Lease4::Refused { .. } | Lease4::Expired { .. } } => {
            named(name, "lease-lost")
        }
        Event::WanDhcp6 { name, event: dhcp6::client::Event::Lost { .. } } => named(name, "prefix-lost"),
        Event::Vpn { name, event: VpnEvent::Down { .. } } => named(name, "peer-down"),
        _ => None,
    }
}

/// Decides when the ring is saved, and has it written.
#[derive(Debug)]
pub struct Keeper {
    /// When each failure is to be saved again, and how long that time was.
    again: HashMap<Subject, (Instant, Duration)>,
    ring: Ring,
    folder: PathBuf,
    newest: Arc<Mutex<Option<PathBuf>>>,
    sender: Option<Sender<(PathBuf, Snapshot, String)>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Keeps `ring`, and saves it in a folder of the state directory; the folder is made when it is needed.
    pub fn start(ring: Ring, state_dir: &Path) -> io::Result<Keeper> {
        let folder = state_dir.join("captures");
        let newest = Arc::new(Mutex::new(saved(&folder, &stamped(&folder, "")).pop().map(|(path, _)| path)));
        let (sender, receiver) = mpsc::channel();
        let told = Arc::clone(&newest);
        let grants = vec![Grant::new(Access::Write, state_dir)];
        let thread = privileges::spawn(Role::Ring, grants, move || write_all(&receiver, &told))?;
        Ok(Keeper { again: HashMap::new(), ring, folder, newest, sender: Some(sender), thread: Some(thread) })
    }

    /// The ring.
    pub fn ring(&mut self) -> &mut Ring {
        &mut self.ring
    }

    /// The newest file.
    pub fn newest(&self) -> Option<PathBuf> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Hears of an event, and has the ring saved if that is a failure.
    pub fn note(&mut self, event: &Event, now: Instant) {
        let Some(subject) = failure(event) else { return };
        if let Some((name, what)) = self.admit(subject, now) {
            self.save(&format!("{name}-{what}"), &event.to_string());
        }
    }

    fn admit(&mut self, subject: Subject, now: Instant) -> Option<Subject> {
        let wait = match self.again.get(&subject) {
            Some((until, _)) if now < *until => return None,
            // It was well for as long as it would have been ill.
            Some((until, wait)) if now.since(*until) < *wait => (*wait * 2).min(LONGEST),
            _ => PATIENCE,
        };
        self.again.insert(subject.clone(), (now + wait, wait));
        Some(subject)
    }

    fn save(&self, what: &str, why: &str) {
        let path = stamped(&self.folder, what);
        if let Some(sender) = &self.sender {
            // The receiver is gone only when its thread has panicked, which has been told.
            let _ = sender.send((path, self.ring.snapshot(), why.to_owned()));
        }
    }
}

impl Drop for Keeper {
    /// Waits until the last file is on the disk. When the data thread has panicked, that one is of the seconds before.
    fn drop(&mut self) {
        if thread::panicking() {
            self.save("panic", "the data thread has panicked: a fault of the router");
        }
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn write_all(receiver: &Receiver<(PathBuf, Snapshot, String)>, newest: &Mutex<Option<PathBuf>>) {
    let mut failing = false;
    while let Ok((path, snapshot, why)) = receiver.recv() {
        match write(&path, &snapshot, &why) {
            Ok(()) => {
                failing = false;
                info!("what passed before is saved in {}", path.display());
                *newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(path);
            }
            Err(error) if !failing => {
                failing = true;
                warn!("{}: cannot save what passed before ({error})", path.display());
            }
            Err(_) => {}
        }
    }
}

/// Writes one file, whole or not at all, and takes away those that are too many then.
fn write(path: &Path, snapshot: &Snapshot, why: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let new = path.with_extension("new");
    let mut options = fs::OpenOptions::new();
    let written = options.write(true).create(true).truncate(true).mode(0o600).open(&new).and_then(|file| {
        snapshot.write(io::BufWriter::new(&file), why)?;
        file.sync_all()?;
        fs::rename(&new, path)
    });
    if written.is_err() {
        // What is there of it only takes room.
        let _ = fs::remove_file(&new);
    }
    written?;
    let mut files = saved(folder, path);
    let mut octets: u64 = files.iter().map(|(_, size)| size).sum();
    files.reverse();
    while files.len() > FILES || octets > OCTETS && files.len() > 1 {
        let Some((oldest, size)) = files.pop() else { break };
        fs::remove_file(oldest)?;
        octets -= size;
    }
    Ok(())
}

/// What a file is called that is saved now.
fn stamped(folder: &Path, what: &str) -> PathBuf {
    folder.join(format!("{}-{what}.{ENDING}", stamp(clock::wall())))
}

/// The saved files with their sizes, the oldest first. None is younger than `last`: one whose name says so is from before the
/// clock was set back.
fn saved(folder: &Path, last: &Path) -> Vec<(PathBuf, u64)> {
    let mut files: Vec<(PathBuf, u64)> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|ending| ending == ENDING))
        .filter_map(|entry| Some((entry.path(), entry.metadata().ok()?.len())))
        .collect();
    files.sort_by(|(a, _), (b, _)| (a.as_path() <= last, a).cmp(&(b.as_path() <= last, b)));
    files
}

/// A time since 1970 as digits that sort: 20240229-235959-123, in UTC.
fn stamp(at: Duration) -> String {
    let (days, second) = (at.as_secs() / 86_400, at.as_secs() % 86_400);
    let (year, month, day) = date(days);
    let (hours, minutes, seconds) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}{month:02}{day:02}-{hours:02}{minutes:02}{seconds:02}-{:03}", at.subsec_millis())
}

/// Year, month and day of a number of days since 1970.
fn date(mut days: u64) -> (u64, usize, u64) {
    let is_leap = |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    for (month, length) in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31].into_iter().enumerate() {
        if days < length {
            return (year, month + 1, days + 1);
        }
        days -= length;
    }
    (year, 12, 31)
}

#[cfg(test)]
mod tests {
    use genkan_netstack::frame::Frame;
    use genkan_netstack::id::Mac;

    use super::super::Direction;
    use super::super::points::tests::points;
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("genkan-keeper-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        path
    }

    fn keeper(state_dir: &Path) -> Keeper {
        let mut ring = Ring::new(points(), 1 << 20).unwrap();
        let padi = Frame::from_bytes(&[&[0xff; 12][..], &[0x88, 0x63], &[0; 46]].concat());
        ring.take(0, Direction::Sent, Duration::from_secs(1_700_000_000), std::iter::once(&padi));
        Keeper::start(ring, state_dir).unwrap()
    }

    fn refused(name: &str) -> Event {
        let event = pppoe::subscriber::Event::AuthFailed { user: "mallory".into(), peer: Mac([2; 6]) };
        Event::Concentrator { name: name.into(), event }
    }

    #[test]
    fn a_failure_is_saved_with_the_reason_and_found_again_by_the_next_run() {
        let state = folder("failure");
        let mut keeper = keeper(&state);
        assert_eq!(keeper.newest(), None);
        keeper.note(&refused("bras"), Instant::from_secs(1));
        drop(keeper);
        let files = saved(&state.join("captures"), Path::new("~"));
        assert_eq!(files.len(), 1);
        let name = files[0].0.file_name().unwrap().to_string_lossy().into_owned();
        assert!(name.ends_with("-bras-authentication-failed.pcapng"), "{name}");
        let text = String::from_utf8_lossy(&fs::read(&files[0].0).unwrap()).into_owned();
        assert!(text.contains("mallory"), "the reason is in the file");
        assert_eq!(self::keeper(&state).newest(), Some(files[0].0.clone()));
        fs::remove_dir_all(state).unwrap();
    }

    #[test]
    fn a_failure_that_comes_again_is_saved_after_growing_times() {
        let state = folder("again");
        let mut keeper = keeper(&state);
        let mut saves = Vec::new();
        for second in 0..3600 {
            let subject = failure(&refused("bras")).unwrap();
            saves.extend(keeper.admit(subject, Instant::from_secs(second)).map(|_| second));
        }
        assert_eq!(saves, [0, 60, 180, 420, 900, 1860]);
        assert!(keeper.admit(failure(&refused("other")).unwrap(), Instant::from_secs(3600)).is_some());
        let next_day = Instant::from_secs(86_400);
        assert!(keeper.admit(failure(&refused("bras")).unwrap(), next_day).is_some());
        let wait = keeper.again[&failure(&refused("bras")).unwrap()].1;
        assert_eq!(wait, PATIENCE, "after a good time all is as at first");
        drop(keeper);
        let _ = fs::remove_dir_all(state);
    }

    #[test]
    fn the_number_of_files_is_bounded_and_the_newest_stay() {
        let state = folder("many");
        let keeper = keeper(&state);
        let folder = state.join("captures");
        for number in 0..FILES + 5 {
            write(&folder.join(format!("{number:03}.pcapng")), &keeper.ring.snapshot(), "a test").unwrap();
        }
        let files = saved(&folder, Path::new("~"));
        assert_eq!(files.len(), FILES);
        assert!(files[0].0.ends_with("005.pcapng"), "{files:?}");
        drop(keeper);
        fs::remove_dir_all(state).unwrap();
    }

    /// The clock is set back a day: what is saved then is the newest, whatever the names say.
    #[test]
    fn a_file_that_is_saved_after_the_clock_was_set_back_stays() {
        let state = folder("set-back");
        let keeper = keeper(&state);
        let folder = state.join("captures");
        for number in 0..FILES {
            write(&folder.join(format!("tomorrow-{number:03}.pcapng")), &keeper.ring.snapshot(), "a test")
                .unwrap();
        }
        for number in 0..3 {
            let today = folder.join(format!("today-{number:03}.pcapng"));
            write(&today, &keeper.ring.snapshot(), "a test").unwrap();
            let files = saved(&folder, &today);
            assert_eq!((files.len(), &files.last().unwrap().0), (FILES, &today));
            assert!(files[0].0.ends_with(format!("tomorrow-{:03}.pcapng", number + 1)), "{files:?}");
        }
        drop(keeper);
        fs::remove_dir_all(state).unwrap();
    }

    #[test]
    fn what_cannot_be_written_leaves_nothing_behind() {
        let keeper = keeper(&folder("full"));
        // Every write to it fails as on a full disk.
        assert!(
            keeper
                .ring
                .snapshot()
                .write(fs::File::options().write(true).open("/dev/full").unwrap(), "")
                .is_err()
        );
        let state = folder("no-folder");
        fs::create_dir_all(&state).unwrap();
        fs::write(state.join("captures"), b"a file, no folder").unwrap();
        assert!(write(&state.join("captures/x.pcapng"), &keeper.ring.snapshot(), "").is_err());
        assert_eq!(fs::read_dir(&state).unwrap().count(), 1);
        drop(keeper);
        fs::remove_dir_all(state).unwrap();
    }

    #[test]
    fn a_panic_saves_the_seconds_before() {
        let state = folder("panic");
        let keeper = keeper(&state);
        let thread = thread::spawn(move || {
            let _keeper = keeper;
            std::panic::resume_unwind(Box::new("a test"));
        });
        assert!(thread.join().is_err());
        let files = saved(&state.join("captures"), Path::new("~"));
        assert!(files[0].0.to_string_lossy().ends_with("-panic.pcapng"), "{files:?}");
        fs::remove_dir_all(state).unwrap();
    }

    #[test]
    fn times_are_dates() {
        assert_eq!(stamp(Duration::ZERO), "19700101-000000-000");
        assert_eq!(stamp(Duration::from_millis(1_709_251_199_123)), "20240229-235959-123");
        assert_eq!(stamp(Duration::from_secs(1_735_689_600)), "20250101-000000-000");
    }
}
