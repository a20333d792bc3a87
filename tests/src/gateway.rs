//! The program under test: `genkan run` in a namespace.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::lab::{self, Lab};
use crate::netns::{Namespace, stop};
use crate::wait_for;

/// A running `genkan run`. It is asked to end when dropped.
#[derive(Debug)]
pub struct Genkan {
    role: String,
    config: PathBuf,
    log: PathBuf,
    child: Child,
}

/// An uplink, as `genkan status --json` tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wan {
    /// "up", or how far it has come.
    pub state: String,
    /// Its address, once up.
    pub address: String,
    /// The session's MTU, once up.
    pub mtu: u64,
    /// The PPPoE session's id; 0 when there is none.
    pub session: u64,
    /// Whether traffic of any family passes.
    pub up: bool,
    /// The whole object, for messages.
    pub all: String,
}

/// IPv6 on an uplink, as `genkan status --json` tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wan6 {
    /// Whether IPv6 traffic passes.
    pub up: bool,
    /// Prefixes that are delegated.
    pub prefixes: Vec<String>,
    /// What the DHCPv6 client does: "bound", "renewing".
    pub dhcp: String,
    /// How often prefixes or addresses have changed.
    pub epoch: u64,
    /// The whole uplink, for messages.
    pub all: String,
}

/// The program, as `make build` leaves it.
///
/// # Panics
///
/// When it is not there.
#[track_caller]
pub fn program() -> PathBuf {
    let path = std::env::var_os("GENKAN").map_or_else(|| lab::target().join("release/genkan"), PathBuf::from);
    assert!(path.exists(), "there is no {}: run `make build` first", path.display());
    path
}

/// The kernel path of gateways whose configuration does not say: GENKAN_FAST_PATH, or `auto`. Every lab passes with every
/// mode.
pub fn fast_path_mode() -> String {
    std::env::var("GENKAN_FAST_PATH").unwrap_or_else(|_| "auto".into())
}

/// The kernel path, as `genkan status --json` tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FastPath {
    /// Packets carried in the kernel.
    pub carried: u64,
    /// Directions of flows that are handed over.
    pub directions: u64,
    /// Samples of which user space would have made the same, and something else.
    pub same: u64,
    /// See above.
    pub different: u64,
    /// The whole object, for messages.
    pub all: String,
}

impl Wan {
    /// The uplink of this name in a status.
    pub fn read(status: &Value, name: &str) -> Result<Wan, String> {
        let wans = status
            .get("wans")
            .and_then(Value::as_array)
            .ok_or(format!("the status has no wans: {status}"))?;
        let wan = wans.iter().find(|wan| wan.get("name").and_then(Value::as_str) == Some(name));
        let wan = wan.ok_or(format!("the status has no WAN {name}: {status}"))?;
        let word = |key: &str| wan.get(key).and_then(Value::as_str).unwrap_or_default().to_string();
        let number = |key: &str| wan.get(key).and_then(Value::as_u64).unwrap_or(0);
        let (mtu, session) = (number("mtu"), number("session_id"));
        let up = wan["up"] == true;
        Ok(Wan { state: word("state"), address: word("address"), mtu, session, up, all: wan.to_string() })
    }
}

impl FastPath {
    /// The kernel path in a status; an error when there is none.
    pub fn read(status: &Value) -> Result<FastPath, String> {
        let fast_path = &status["fast_path"];
        if let Some(why) = fast_path["off"].as_str() {
            return Err(format!("there is no kernel path: {why}"));
        }
        let number = |value: &Value| value.as_u64().unwrap_or(0);
        Ok(FastPath {
            carried: number(&fast_path["carried"]),
            directions: number(&fast_path["directions"]),
            same: number(&fast_path["samples"]["same"]),
            different: number(&fast_path["samples"]["different"]),
            all: fast_path.to_string(),
        })
    }
}

impl Genkan {
    /// Writes `config`, with a `[system]` table before it, and runs it in `namespace`. Returns once the control socket
    /// answers.
    ///
    /// # Panics
    ///
    /// When it ends, or does not answer within 10 s; its log is in the message.
    #[track_caller]
    pub fn start(lab: &Lab, namespace: &Namespace, role: &str, config: &str) -> Genkan {
        let state = lab.folder().join(format!("{role}.state"));
        let control = lab.folder().join(format!("{role}.sock"));
        let path = lab.folder().join(format!("{role}.toml"));
        let system = format!(
            "[system]\nhostname = \"{role}\"\nstate-dir = {:?}\ncontrol = {:?}\n\n",
            state.display().to_string(),
            control.display().to_string(),
        );
        fs::create_dir_all(&state).expect("the lab's folder can be written");
        let mode = fast_path_mode();
        let fast_path = match config.contains("[fast-path]") {
            true => String::new(),
            false => format!("[fast-path]\nmode = \"{mode}\"\n\n"),
        };
        fs::write(&path, system + &fast_path + config).expect("the lab's folder can be written");
        fs::copy(&path, lab.logs().join(format!("{role}.toml"))).expect("the build folder can be written");
        Genkan::run(lab, namespace, role, path)
    }

    /// Runs the configuration of `self` again, after it has ended or been killed. The state folder is kept.
    #[track_caller]
    pub fn again(self, lab: &Lab, namespace: &Namespace) -> Genkan {
        let (role, config) = (self.role.clone(), self.config.clone());
        drop(self);
        Genkan::run(lab, namespace, &role, config)
    }

    #[track_caller]
    fn run(lab: &Lab, namespace: &Namespace, role: &str, config: PathBuf) -> Genkan {
        let log = lab.logs().join(format!("{role}.log"));
        let file =
            File::options().create(true).append(true).open(&log).expect("the build folder can be written");
        let program = program();
        // Not by `ip netns exec`, which gives its program a /sys of its own: what that pins in /sys/fs/bpf ends with it.
        let child = Command::new("nsenter")
            .arg(format!("--net=/run/netns/{}", namespace.name()))
            .arg("--")
            .arg(&program)
            .arg("run")
            .arg(&config)
            .env("RUST_LOG", std::env::var("RUST_LOG").unwrap_or_else(|_| "trace".into()))
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a file can be shared"))
            .stderr(file)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
        let mut genkan = Genkan { role: role.into(), config, log, child };
        let (mut ended, config) = (None, genkan.config.clone());
        wait_for(&format!("{role}'s control socket"), Duration::from_secs(10), || {
            ended = genkan.child.try_wait().ok().flatten();
            if ended.is_some() { Ok(Value::Null) } else { status(&config) }
        });
        if let Some(status) = ended {
            panic!("{role} ended at once, {status}: {}", genkan.log());
        }
        genkan
    }

    /// Its configuration.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Its process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// What `genkan status --json` says.
    pub fn status(&self) -> Result<Value, String> {
        status(&self.config)
    }

    /// Runs another of its commands on the same configuration.
    pub fn command(&self, name: &str, arguments: &[&str]) -> Output {
        let output =
            Command::new(program()).arg(name).arg(&self.config).args(arguments).stdin(Stdio::null()).output();
        output.unwrap_or_else(|error| panic!("cannot run genkan {name}: {error}"))
    }

    /// What `genkan explain` says of an uplink, once all of these words are in it.
    ///
    /// # Panics
    ///
    /// When they are not within 30 s.
    #[track_caller]
    pub fn wait_explained(&self, wan: &str, words: &[&str]) -> String {
        crate::wait_for("the explanation", Duration::from_secs(30), || {
            let told = self.command("explain", &["wan", wan]);
            let told = String::from_utf8_lossy(&told.stdout).into_owned();
            if words.iter().all(|word| told.contains(word)) { Ok(told) } else { Err(told) }
        })
    }

    /// The uplink of this name.
    pub fn wan(&self, name: &str) -> Result<Wan, String> {
        Wan::read(&self.status()?, name)
    }

    /// Waits until the uplink is up.
    ///
    /// # Panics
    ///
    /// When it is not within `limit`; the end of the log is in the message.
    #[track_caller]
    pub fn wait_up(&self, wan: &str, limit: Duration) -> Wan {
        wait_for(&format!("{}'s WAN {wan} to be up", self.role), limit, || match self.wan(wan) {
            Ok(found) if found.state == "up" => Ok(found),
            Ok(found) => Err(format!("{}\n--- the end of its log\n{}", found.all, tail(&self.log()))),
            Err(error) => Err(format!("{error}\n--- the end of its log\n{}", tail(&self.log()))),
        })
    }

    /// The kernel path; an error when there is none.
    pub fn fast_path(&self) -> Result<FastPath, String> {
        FastPath::read(&self.status()?)
    }

    /// IPv6 on the uplink of this name.
    pub fn wan6(&self, name: &str) -> Result<Wan6, String> {
        let status = self.status()?;
        let wans = status.get("wans").and_then(Value::as_array);
        let wan = wans.into_iter().flatten().find(|wan| wan["name"] == name);
        let wan = wan.ok_or(format!("the status has no WAN {name}: {status}"))?;
        let ipv6 = &wan["ipv6"];
        let prefixes = ipv6["prefixes"].as_array().into_iter().flatten();
        Ok(Wan6 {
            up: ipv6["up"] == true,
            prefixes: prefixes.filter_map(|prefix| prefix["prefix"].as_str().map(str::to_string)).collect(),
            dhcp: ipv6["dhcp"]["state"].as_str().unwrap_or_default().into(),
            epoch: ipv6["epoch"].as_u64().unwrap_or(0),
            all: wan.to_string(),
        })
    }

    /// Waits until IPv6 on an uplink is as `wanted`.
    ///
    /// # Panics
    ///
    /// When it is not within `limit`; the end of the log is in the message.
    #[track_caller]
    pub fn wait_wan6(&self, wan: &str, what: &str, limit: Duration, wanted: impl Fn(&Wan6) -> bool) -> Wan6 {
        wait_for(&format!("{what} on {}'s WAN {wan}", self.role), limit, || {
            let found = self.wan6(wan);
            match found {
                Ok(found) if wanted(&found) => Ok(found),
                Ok(found) => Err(format!("{}\n--- the end of its log\n{}", found.all, tail(&self.log()))),
                Err(error) => Err(format!("{error}\n--- the end of its log\n{}", tail(&self.log()))),
            }
        })
    }

    /// Waits until a prefix is delegated over an uplink: "2001:db8:100::/56".
    #[track_caller]
    pub fn wait_prefix(&self, wan: &str, prefix: &str, limit: Duration) -> Wan6 {
        self.wait_wan6(wan, prefix, limit, |wan| wan.prefixes.iter().any(|found| found == prefix))
    }

    /// Waits until the log has a line for which `wanted` holds.
    #[track_caller]
    pub fn wait_log(&self, what: &str, limit: Duration, wanted: impl Fn(&str) -> bool) {
        wait_for(&format!("{} to log {what}", self.role), limit, || {
            let log = self.log();
            if log.lines().any(&wanted) { Ok(()) } else { Err(tail(&log)) }
        });
    }

    /// Ends it at once, without a chance to say good-bye.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to end.
    ///
    /// # Panics
    ///
    /// When it does not within 5 s, or with a status other than 0.
    #[track_caller]
    pub fn end(mut self) {
        assert!(stop(&mut self.child, Duration::from_secs(5)), "{} did not end when asked", self.role);
        let status = self.child.wait().expect("a child can be waited for");
        assert!(status.success(), "{} ended with {status}: {}", self.role, tail(&self.log()));
    }
}

impl Drop for Genkan {
    /// Ends it, and panics when its accounts were wrong: on its way out it says whether every frame is accounted for.
    fn drop(&mut self) {
        stop(&mut self.child, Duration::from_secs(5));
        let log = self.log();
        let fault = log.lines().find(|line| line.contains("a fault of the router"));
        assert!(std::thread::panicking() || fault.is_none(), "{}: {}", self.role, fault.unwrap_or_default());
    }
}

fn status(config: &Path) -> Result<Value, String> {
    let output =
        Command::new(program()).arg("status").arg(config).arg("--json").stdin(Stdio::null()).output();
    let output = output.map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_string());
    }
    serde_json::from_slice(&output.stdout).map_err(|error| format!("the status is not JSON: {error}"))
}

fn tail(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(25)..].join("\n")
}
