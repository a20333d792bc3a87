//! The state file: what the gateway wants to find again when it starts next.
//!
//! The core counts time from the program's start, so the file says when it was written, and what it holds is moved to the new
//! program's clock when it is read. Within one run of the machine that is the kernel's count of time, which nobody can set.
//! After another start there is only the time of the day, which is believed within reason: a file from the future, or one
//! that is older than a month, shows that the clock was set, and is taken as if it had just been written. So nothing that
//! others hold is given away; what we hold of others is asked for then anyway. The file also says in which run of the machine
//! it was written: only in the same one do sessions and leases go on as if nothing had been in between. Each version replaces the last one by a rename: whatever
//! happens, the file is whole.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;

use genkan_netstack::state::State;
use genkan_netstack::time::{Duration, Instant};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tracing::{info, warn};

use crate::clock;
use crate::privileges::{self, Access, Grant, Role};

#[derive(Serialize, Deserialize)]
struct File {
    /// When it was written, in nanoseconds since 1970.
    written: u64,
    /// The same moment on the program's clock.
    now: Instant,
    /// And in nanoseconds since the machine was started, asleep or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since_boot: Option<u64>,
    /// The kernel's name for the time since the machine was started, when it told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    boot: Option<String>,
    state: State,
}

/// The kernel's name for the time since the machine was started (random(4)).
fn boot() -> Option<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").ok().map(|id| id.trim().to_owned())
}

/// The longest time between two runs, on either side of a start of the machine, that is believed.
const LONGEST: Duration = Duration::from_secs(30 * 86_400);

/// The time between the writing of a file and now, in nanoseconds of the same clocks. `since_boot` is known in the same run of
/// the machine alone. `None` when nobody knows.
fn elapsed(written: u64, unix: u64, since_boot: Option<(u64, u64)>) -> Option<Duration> {
    match since_boot {
        Some((then, now)) => Some(Duration::from_nanos(now.saturating_sub(then))),
        None => unix.checked_sub(written).map(Duration::from_nanos).filter(|elapsed| *elapsed <= LONGEST),
    }
}

fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("state.json")
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn unix_nanos() -> u64 {
    nanos(clock::wall())
}

/// Reads the state that the last run left, moved to this program's clock; when the machine has been started anew since,
/// without what only holds while it runs. A missing file is an empty state; one that cannot be read, or not all of it, is set
/// aside, so that nothing in it is lost, and named in a warning.
pub fn load(state_dir: &Path, now: Instant) -> State {
    let path = path(state_dir);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return State::default(),
        Err(error) => {
            warn!("{}: cannot read the state of the last run ({error}); starting without it", path.display());
            return State::default();
        }
    };
    let file = match serde_json::from_slice::<File>(&text) {
        Ok(file) => Some(file),
        Err(error) => {
            let readable = readable_part(&text);
            let aside = path.with_extension("json.unreadable");
            let kept = match fs::rename(&path, &aside) {
                Ok(()) => format!("it is kept as {}", aside.display()),
                Err(error) => format!("it could not be set aside: {error}"),
            };
            let going_on = match readable {
                Some(_) => "going on with what can be read of it",
                None => "starting without it",
            };
            warn!("{}: not a state file of this program ({error}); {kept}; {going_on}", path.display());
            readable
        }
    };
    let Some(file) = file else { return State::default() };
    let same_boot = file.boot.is_some() && file.boot == boot();
    let since_boot = file.since_boot.filter(|_| same_boot).map(|then| (then, nanos(clock::since_boot())));
    let elapsed = elapsed(file.written, unix_nanos(), since_boot).unwrap_or_else(|| {
        warn!(
            "{}: the state of the last run is from the future, or more than {} days old: the clock was set; what was leased \
             is taken to be as it was",
            path.display(),
            LONGEST.as_secs() / 86_400
        );
        Duration::ZERO
    });
    let state = if same_boot { file.state } else { file.state.without_adoption() };
    state.moved(file.now + elapsed, now)
}

/// What another version's file has that this one understands: each entry for itself.
fn readable_part(text: &[u8]) -> Option<File> {
    let mut file: Value = serde_json::from_slice(text).ok()?;
    let state = file.get_mut("state")?.as_object_mut()?;
    let is_readable =
        |key: &str, value: &Value| serde_json::from_value::<State>(json!({ key: value })).is_ok();
    state.retain(|key, value| match value {
        Value::Array(entries) => {
            entries.retain(|entry| is_readable(key, &json!([entry])));
            true
        }
        value => is_readable(key, value),
    });
    serde_json::from_value(file).ok()
}

fn save(path: &Path, state: &State, now: Instant) -> io::Result<()> {
    let since_boot = Some(nanos(clock::since_boot()));
    let file = File { written: unix_nanos(), now, since_boot, boot: boot(), state: state.clone() };
    let text = serde_json::to_vec_pretty(&file)?;
    let new = path.with_extension("json.new");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    path.parent().map_or(Ok(()), |directory| fs::File::open(directory)?.sync_all())
}

/// Writes the state file on a thread of its own, so that a slow disk never holds up a frame.
pub struct StateWriter {
    sender: Option<Sender<(State, Instant)>>,
    thread: Option<JoinHandle<()>>,
}

impl StateWriter {
    /// Makes the state directory and starts the writer.
    pub fn start(state_dir: &Path) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(state_dir)?;
        let path = path(state_dir);
        let (sender, receiver) = mpsc::channel();
        let grants =
            vec![Grant::new(Access::Write, state_dir), Grant::new(Access::Read, "/proc/sys/kernel/random")];
        let thread = privileges::spawn(Role::State, grants, move || write_all(&path, &receiver))?;
        Ok(StateWriter { sender: Some(sender), thread: Some(thread) })
    }

    /// Has `state`, as of `now`, written soon. Only the newest of several is.
    pub fn write(&self, state: State, now: Instant) {
        if let Some(sender) = &self.sender {
            // The receiver is gone only when its thread has panicked, which has been told.
            let _ = sender.send((state, now));
        }
    }
}

impl Drop for StateWriter {
    /// Waits until the last state is on the disk.
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn write_all(path: &Path, receiver: &Receiver<(State, Instant)>) {
    let mut failing = false;
    while let Ok(mut newest) = receiver.recv() {
        while let Ok(newer) = receiver.try_recv() {
            newest = newer;
        }
        match save(path, &newest.0, newest.1) {
            Ok(()) if failing => {
                info!("{}: the state is saved again", path.display());
                failing = false;
            }
            Ok(()) => {}
            Err(error) if !failing => {
                warn!(
                    "{}: cannot save the state ({error}); leases would be lost in a restart",
                    path.display()
                );
                failing = true;
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("genkan-state-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn what_was_written_is_read_back() {
        let dir = directory("round-trip");
        let state: State = serde_json::from_str(
            r#"{"sessions": [{"wan": "isp", "peer": "02:00:00:00:00:01", "session": 7}], "leases": []}"#,
        )
        .unwrap();
        let writer = StateWriter::start(&dir).unwrap();
        writer.write(State::default(), Instant::from_secs(1));
        writer.write(state.clone(), Instant::from_secs(2));
        drop(writer);
        assert_eq!(load(&dir, Instant::from_secs(0)), state);
        fs::remove_dir_all(dir).unwrap();
    }

    /// What holds only while the machine runs is gone with another boot, and where nobody knows which one it was.
    #[test]
    fn another_boot_takes_what_could_have_gone_on() {
        let dir = directory("boot");
        let text = r#"{"lan_addresses": [{"lan": "home", "address": "fe80::1"}],
            "sessions": [{"wan": "isp", "peer": "02:00:00:00:00:01", "session": 7}]}"#;
        let state: State = serde_json::from_str(text).unwrap();
        save(&path(&dir), &state, Instant::from_secs(2)).unwrap();
        assert_eq!(load(&dir, Instant::from_secs(1)), state, "the same boot");
        let text = fs::read_to_string(path(&dir)).unwrap();
        let this = boot().unwrap();
        assert!(text.contains(&this));
        let mut file: serde_json::Value = serde_json::from_str(&text).unwrap();
        for other in [serde_json::json!("another"), serde_json::Value::Null] {
            file["boot"] = other;
            fs::write(path(&dir), file.to_string()).unwrap();
            let read = load(&dir, Instant::from_secs(1));
            assert_eq!((read.lan_addresses.len(), read.sessions.len()), (0, 1));
        }
        file.as_object_mut().unwrap().remove("boot");
        fs::write(path(&dir), file.to_string()).unwrap();
        assert_eq!(load(&dir, Instant::from_secs(1)), state.without_adoption(), "an older program's file");
        fs::remove_dir_all(dir).unwrap();
    }

    /// A file with a lease that has an hour to run, written `ago` seconds ago by the time of the day, or to be written then.
    fn with_lease(dir: &Path, ago: i64) -> serde_json::Value {
        let text = r#"{"leases": [{"lan": "home", "mac": "02:00:00:00:00:01", "client_id": null,
            "address": "192.168.1.100", "hostname": null, "expires": 3610000000000}]}"#;
        let state: State = serde_json::from_str(text).unwrap();
        save(&path(dir), &state, Instant::from_secs(10)).unwrap();
        let mut file: serde_json::Value = serde_json::from_slice(&fs::read(path(dir)).unwrap()).unwrap();
        let written = file["written"].as_u64().unwrap();
        file["written"] = written.saturating_add_signed(-ago * 1_000_000_000).into();
        fs::write(path(dir), file.to_string()).unwrap();
        file
    }

    /// Seconds that the lease of [`with_lease`] has to run.
    fn left(dir: &Path) -> u64 {
        let now = Instant::from_secs(5);
        let state = load(dir, now);
        state.leases[0].lease.expires.since(now).as_secs()
    }

    const DAY: i64 = 86_400;

    #[test]
    fn a_clock_that_is_set_while_the_machine_runs_changes_no_lease() {
        let dir = directory("clock");
        for set in [DAY, -DAY, 365 * DAY, -365 * DAY] {
            with_lease(&dir, set);
            assert!((3595..=3600).contains(&left(&dir)), "the clock was set by {set} s");
        }
        let mut file = with_lease(&dir, 0);
        let since_boot = file["since_boot"].as_u64().unwrap();
        file["since_boot"] = since_boot.saturating_sub(600_000_000_000).into();
        fs::write(path(&dir), file.to_string()).unwrap();
        let passed = since_boot.min(600_000_000_000) / 1_000_000_000;
        assert!(
            (3595 - passed..=3600 - passed).contains(&left(&dir)),
            "the kernel's count alone is believed"
        );
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn after_another_start_the_time_of_the_day_is_believed_within_reason() {
        let dir = directory("start");
        for (ago, expected) in [(600, 3000), (4000, 0), (-DAY, 3600), (365 * DAY, 3600), (-365 * DAY, 3600)] {
            let mut file = with_lease(&dir, ago);
            file["boot"] = "another".into();
            fs::write(path(&dir), file.to_string()).unwrap();
            let left = left(&dir);
            assert!(left <= expected && left + 5 >= expected, "{ago} s ago: {left} s left");
        }
        fs::remove_dir_all(dir).unwrap();
    }

    /// A version that writes an entry otherwise costs that entry.
    #[test]
    fn of_a_file_that_is_read_in_part_the_rest_is_kept_and_all_of_it_aside() {
        let dir = directory("part");
        let text = r#"{"lan_addresses": [{"lan": "home", "address": "fe80::1"}, {"lan": "home", "address": "fe80::2"}],
            "sessions": [{"wan": "isp", "peer": "02:00:00:00:00:01", "session": 7}]}"#;
        let state: State = serde_json::from_str(text).unwrap();
        save(&path(&dir), &state, Instant::from_secs(2)).unwrap();
        let text = fs::read_to_string(path(&dir)).unwrap().replace("fe80::2", "elsewhere");
        fs::write(path(&dir), &text).unwrap();
        let read = load(&dir, Instant::from_secs(1));
        assert_eq!(read.sessions, state.sessions);
        assert_eq!(read.lan_addresses, state.lan_addresses[..1]);
        assert_eq!(fs::read_to_string(dir.join("state.json.unreadable")).unwrap(), text);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_file_that_is_no_state_is_kept_aside() {
        let dir = directory("unreadable");
        fs::write(path(&dir), b"{ half").unwrap();
        assert_eq!(load(&dir, Instant::ZERO), State::default());
        assert_eq!(fs::read(dir.join("state.json.unreadable")).unwrap(), b"{ half");
        fs::remove_dir_all(dir).unwrap();
    }
}
