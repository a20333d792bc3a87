//! Provisioning as a guest lives it: on real folders, with power cuts.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process;

use genkan_config::Config;

use super::install::{Step, steps};
use super::*;

/// A folder of a test, removed with it.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("genkan-provision-{}-{name}", process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Folder(fs::canonicalize(path).unwrap())
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file that anybody may read, as all are on a FAT file system.
    fn write(&self, name: &str, content: &str) {
        let path = self.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// A source with a configuration whose password is looked for at `password_file`.
    fn source(&self, name: &str, username: &str, password_file: &str) -> PathBuf {
        self.write(&format!("{name}/gateway.toml"), &gateway(username, password_file));
        self.write(&format!("{name}/isp.secret"), "hunter2\n");
        self.join(name)
    }

    /// The configuration directory, in a machine with these cards.
    fn place(&self, cards: &[&str]) -> Place {
        let net = self.join("sys/class/net");
        let _ = fs::remove_dir_all(&net);
        for card in cards {
            fs::create_dir_all(net.join(card).join("device")).unwrap();
            fs::write(net.join(card).join("type"), "1\n").unwrap();
        }
        let place = Place::new(&self.join("config")).unwrap();
        Place { sys: self.join("sys"), ..place }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn gateway(username: &str, password_file: &str) -> String {
    format!(
        "[port.wan0]\ntap = \"tap-wan\"\n[port.lan0]\ntap = \"tap-lan\"\n\
         [wan.isp]\nport = \"wan0\"\npppoe.username = \"{username}\"\npppoe.password-file = \"{password_file}\"\n\
         [lan.home]\nports = [\"lan0\"]\naddress = \"192.168.1.1/24\"\n"
    )
}

fn in_force(place: &Place) -> String {
    fs::read_to_string(place.file()).unwrap_or_default()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_right_configuration_is_put_in_force_with_its_secrets_for_its_owner_alone() {
    for (index, password_file) in
        ["isp.secret", "./isp.secret", "/etc/genkan/isp.secret", "/var/lib/genkan/config/isp.secret"]
            .into_iter()
            .enumerate()
    {
        let folder = Folder::new(&format!("right-{index}"));
        let source = folder.source("disk", "anna", password_file);
        folder.write("disk/System Volume Information/junk", "junk");
        let place = folder.place(&[]);
        let outcome = place.provision(&[folder.join("none"), source]).unwrap();
        assert!(outcome.stands && outcome.refused.is_none(), "{outcome:?}");
        let relative = if password_file.starts_with('/') { "isp.secret" } else { password_file };
        assert_eq!(in_force(&place), gateway("anna", relative), "it works wherever it is installed");
        assert!(Config::load(place.file()).is_ok(), "as `genkan run` reads it");
        let secret = folder.join("config/isp.secret");
        assert_eq!(fs::read_to_string(&secret).unwrap(), "hunter2\n");
        assert_eq!((mode(&secret), mode(&place.directory)), (0o600, 0o700));
        let names = fs::read_dir(&place.directory).unwrap().count();
        assert_eq!(names, 3, "nothing but the configuration, its secret and the stamp");
        assert_eq!(place.credentials(), Credentials::Elsewhere);
    }
}

#[test]
fn a_wrong_configuration_changes_nothing_and_says_why_without_secrets() {
    let folder = Folder::new("wrong");
    let place = folder.place(&[]);
    place.provision(&[folder.source("disk", "anna", "isp.secret")]).unwrap();
    let wrong = gateway("ben", "isp.secret").replace("pppoe.username", "pppoe.usrname");
    folder.write("disk/gateway.toml", &format!("{wrong}[nat]\nfilterin = 1\n"));
    let outcome = place.provision(&[folder.join("disk")]).unwrap();
    assert!(outcome.stands);
    assert_eq!(in_force(&place), gateway("anna", "isp.secret"));
    let refused = place.refused().unwrap();
    assert_eq!(outcome.refused.as_ref(), Some(&refused));
    let file = folder.join("disk/gateway.toml");
    assert!(refused.contains("the configuration in force stays"), "{refused}");
    for place in [":7:", ":13:"] {
        assert!(refused.contains(&format!("{}{place}", file.display())), "{refused}");
    }
    assert!(refused.contains("did you mean `filtering`?"), "{refused}");

    folder.write("disk/gateway.toml", &gateway("ben", "isp.secret"));
    folder.write("disk/isp.secret", "hunter2\nhunter3\n");
    let refused = place.provision(&[folder.join("disk")]).unwrap().refused.unwrap();
    assert!(refused.contains("has several lines") && !refused.contains("hunter"), "{refused}");

    folder.write("disk/isp.secret", "hunter4\n");
    assert!(place.provision(&[folder.join("disk")]).unwrap().refused.is_none());
    assert_eq!(in_force(&place), gateway("ben", "isp.secret"));
    assert_eq!(place.refused(), None, "what was refused is history");
    let earlier = fs::read_to_string(folder.join("config.previous/gateway.toml")).unwrap();
    assert_eq!(earlier, gateway("anna", "isp.secret"));
}

#[test]
fn with_nothing_else_a_wrong_configuration_leaves_none() {
    let folder = Folder::new("alone");
    folder.write("disk/gateway.toml", "[port.lan0]\n");
    let place = folder.place(&["eth0", "eth1"]);
    let outcome = place.provision(&[folder.join("disk")]).unwrap();
    assert!(!outcome.stands);
    assert!(place.refused().unwrap().contains("there is no other configuration"));
    assert_eq!(mode(&place.directory), 0o700);
    assert!(place.provision(&[]).unwrap().stands, "once nothing is offered there is the default");
    assert_eq!(place.refused(), None);
}

#[test]
fn the_first_source_that_has_a_configuration_counts_be_it_right_or_wrong() {
    let folder = Folder::new("precedence");
    let place = folder.place(&[]);
    fs::create_dir_all(folder.join("empty")).unwrap();
    let (a, b) = (folder.source("a", "anna", "isp.secret"), folder.source("b", "ben", "isp.secret"));
    let outcome = place.provision(&[folder.join("empty"), b.clone(), a.clone()]).unwrap();
    assert!(outcome.told[0].contains("has neither gateway.toml nor"), "{outcome:?}");
    assert_eq!(in_force(&place), gateway("ben", "isp.secret"));
    folder.write("a/gateway.toml", "[");
    assert!(place.provision(&[a, b]).unwrap().refused.is_some());
    assert_eq!(in_force(&place), gateway("ben", "isp.secret"));
}

#[test]
fn what_was_taken_before_changes_nothing_so_that_edits_stay() {
    let folder = Folder::new("again");
    let place = folder.place(&[]);
    let source = folder.source("disk", "anna", "isp.secret");
    place.provision(std::slice::from_ref(&source)).unwrap();
    fs::write(place.file(), gateway("edited", "isp.secret")).unwrap();
    let outcome = place.provision(std::slice::from_ref(&source)).unwrap();
    assert!(outcome.told[0].contains("nothing changes"), "{outcome:?}");
    assert_eq!(in_force(&place), gateway("edited", "isp.secret"));
    assert!(!folder.join("config.previous").exists());
    // A changed secret is another offer; a broken configuration is mended by the same.
    folder.write("disk/isp.secret", "hunter3\n");
    place.provision(std::slice::from_ref(&source)).unwrap();
    assert_eq!(in_force(&place), gateway("anna", "isp.secret"));
    fs::write(place.file(), "[").unwrap();
    place.provision(&[source]).unwrap();
    assert_eq!(in_force(&place), gateway("anna", "isp.secret"));
}

#[test]
fn what_an_offer_lacks_is_kept_and_what_it_has_is_checked() {
    let folder = Folder::new("kept");
    let place = folder.place(&[]);
    let source = folder.source("disk", "anna", "isp.secret");
    folder.write("disk/console.password", "$6$salt$hash\n");
    place.provision(std::slice::from_ref(&source)).unwrap();
    fs::write(folder.join("config/authorized_keys"), "ssh-ed25519 AAAA anna\n").unwrap();
    fs::remove_file(folder.join("disk/console.password")).unwrap();
    fs::remove_file(folder.join("disk/isp.secret")).unwrap();
    folder.write("disk/gateway.toml", &gateway("ben", "/etc/genkan/isp.secret"));
    place.provision(std::slice::from_ref(&source)).unwrap();
    for (name, content) in [
        ("console.password", "$6$salt$hash\n"),
        ("authorized_keys", "ssh-ed25519 AAAA anna\n"),
        ("isp.secret", "hunter2\n"),
    ] {
        assert_eq!(fs::read_to_string(place.directory.join(name)).unwrap(), content, "{name}");
    }
    folder.write("disk/console.password", "hunter2\n");
    let refused = place.provision(&[source]).unwrap().refused.unwrap();
    assert!(refused.contains("no hash of a password") && !refused.contains("hunter2"), "{refused}");
}

#[test]
fn a_nocloud_seed_is_taken_with_its_secrets() {
    let folder = Folder::new("nocloud");
    let place = folder.place(&[]);
    let indented = gateway("anna", "/etc/genkan/isp.secret").replace('\n', "\n    ");
    folder.write("cidata/meta-data", "instance-id: a\n");
    folder.write(
        "cidata/user-data",
        &format!(
            "#cloud-config\nwrite_files:\n- path: /etc/genkan/gateway.toml\n  content: |\n    {indented}\n\
             - path: /etc/genkan/isp.secret\n  content: aHVudGVyMgo=\n  encoding: b64\n- path: /root/x\n  content: y\n"
        ),
    );
    let outcome = place.provision(&[folder.join("cidata")]).unwrap();
    assert!(outcome.refused.is_none(), "{outcome:?}");
    assert!(outcome.told[0].contains("/root/x is none of ours"), "{outcome:?}");
    assert_eq!(fs::read_to_string(folder.join("config/isp.secret")).unwrap(), "hunter2\n");
    folder.write("cidata/user-data", "#cloud-config\nwrite_files: [\n");
    let refused = place.provision(&[folder.join("cidata")]).unwrap().refused.unwrap();
    assert!(refused.contains("user-data:"), "{refused}");
    folder.write("cidata/user-data", "#cloud-config\nhostname: a\n");
    assert!(place.provision(&[folder.join("cidata")]).unwrap().refused.is_none(), "it offers none");
}

#[test]
fn the_default_is_completed_by_credentials() {
    let folder = Folder::new("default");
    let place = folder.place(&["eth0", "eth1"]);
    let outcome = place.provision(&[folder.join("none")]).unwrap();
    assert!(
        outcome.stands && outcome.told[0].contains("the default is in force: eth1 is the LAN"),
        "{outcome:?}"
    );
    assert!(in_force(&place).contains("nic = \"eth1\"") && !in_force(&place).contains("eth0"));
    assert_eq!(place.credentials(), Credentials::Wanted);
    assert!(place.give_credentials("", "x").unwrap_err().contains("must not be empty"));
    assert_eq!(place.credentials(), Credentials::Wanted);
    place.give_credentials("anna@isp.example", "hunter2").unwrap();
    assert!(in_force(&place).contains("pppoe.username      = \"anna@isp.example\""));
    assert!(!in_force(&place).contains("hunter2"));
    let secret = folder.join("config/isp.secret");
    assert_eq!((fs::read_to_string(&secret).unwrap().as_str(), mode(&secret)), ("hunter2\n", 0o600));
    assert_eq!(place.credentials(), Credentials::Given);
    place.give_credentials("ben", "hunter3").unwrap();
    // It is the guest's own now.
    place.provision(&[]).unwrap();
    assert!(in_force(&place).contains("\"ben\""));
    fs::write(place.file(), in_force(&place) + "# mine\n").unwrap();
    assert_eq!(place.credentials(), Credentials::Elsewhere);
    assert!(place.give_credentials("anna", "x").is_err());
}

#[test]
fn the_default_follows_the_cards_until_somebody_touches_it() {
    let folder = Folder::new("follows");
    folder.place(&["eth0"]).provision(&[]).unwrap();
    let place = folder.place(&["eth0", "eth1"]);
    assert!(in_force(&place).contains("ports   = [\"host\"]"));
    place.provision(&[]).unwrap();
    assert!(in_force(&place).contains("ports   = [\"lan0\", \"host\"]"));
    fs::write(place.file(), in_force(&place) + "# mine\n").unwrap();
    folder.place(&["eth0"]).provision(&[]).unwrap();
    assert!(in_force(&place).ends_with("# mine\n"));
}

#[test]
fn a_roll_back_goes_to_the_earlier_one_and_is_not_undone_by_the_same_offer() {
    let folder = Folder::new("roll-back");
    let place = folder.place(&[]);
    assert!(place.roll_back().is_err());
    place.provision(&[folder.source("disk", "anna", "isp.secret")]).unwrap();
    let source = folder.source("disk", "ben", "isp.secret");
    place.provision(std::slice::from_ref(&source)).unwrap();
    place.roll_back().unwrap();
    assert_eq!(in_force(&place), gateway("anna", "isp.secret"));
    place.provision(&[source]).unwrap();
    assert_eq!(in_force(&place), gateway("anna", "isp.secret"));
    place.roll_back().unwrap();
    assert_eq!(in_force(&place), gateway("ben", "isp.secret"));
}

#[test]
fn a_link_to_the_configuration_directory_stays_a_link() {
    let folder = Folder::new("link");
    fs::create_dir_all(folder.join("config")).unwrap();
    symlink(folder.join("config"), folder.join("etc")).unwrap();
    let place = Place::new(&folder.join("etc")).unwrap();
    place.provision(&[folder.source("disk", "anna", "isp.secret")]).unwrap();
    assert!(fs::symlink_metadata(folder.join("etc")).unwrap().is_symlink());
    assert!(folder.join("etc/gateway.toml").exists());
    assert!(!folder.join("config.previous").exists(), "an empty directory is not worth keeping");
}

fn files(username: &str, folders: &[&str]) -> Files {
    let mut files = Files::new();
    files.insert(GATEWAY.into(), Zeroizing::new(gateway(username, "isp.secret").into_bytes()));
    files.insert("isp.secret".into(), Zeroizing::new(format!("{username}'s\n").into_bytes()));
    for folder in folders {
        files.insert(Path::new(folder).join("key"), Zeroizing::new(username.as_bytes().to_vec()));
    }
    files
}

/// All files below a directory.
fn read(directory: &Path) -> Files {
    let mut all = Files::new();
    let mut left = vec![directory.to_owned()];
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                left.push(path);
            } else {
                let name = path.strip_prefix(directory).unwrap().to_owned();
                all.insert(name, Zeroizing::new(fs::read(path).unwrap()));
            }
        }
    }
    all
}

/// After each step of an installation there is the old configuration or the new one, whole; and the next installation goes
/// through.
#[test]
fn a_power_cut_at_any_step_leaves_a_whole_configuration() {
    let (older, old, new) =
        (files("older", &["a"]), files("old", &["a", "b/c"]), files("new", &["a", "d", "d/e"]));
    for history in [&[][..], &[&old], &[&older, &old]] {
        let mut after = 0;
        loop {
            let folder = Folder::new(&format!("cut-{}-{after}", history.len()));
            let directory = folder.join("config");
            history.iter().for_each(|files| install::install(&directory, files).unwrap());
            let before = read(&directory);
            let steps = steps(&directory, &new);
            let all = steps.len();
            let mut switched = false;
            for step in steps.iter().take(after) {
                step.take().unwrap();
                switched |= read(&directory) == new;
            }
            let stands = read(&directory);
            assert!(stands == if switched { new.clone() } else { before }, "after {after} steps");
            let previous = read(&install::previous(&directory));
            assert!(
                previous.is_empty() || [&older, &old].contains(&&previous),
                "what is kept is whole after {after} steps"
            );
            install::install(&directory, &new).unwrap();
            assert!(read(&directory) == new);
            assert!(!folder.join("config.next").exists());
            after += 1;
            if after > all {
                assert!(switched);
                break;
            }
        }
    }
}

/// Whatever a directory gets is on the disk before the directory is in force.
#[test]
fn everything_is_on_the_disk_before_it_is_in_force() {
    let folder = Folder::new("synced");
    let directory = folder.join("config");
    let (old, new) = (files("old", &[]), files("new", &["a", "b/c"]));
    for switch_is_exchange in [false, true] {
        let steps = steps(&directory, &new);
        let switch = steps.iter().position(|step| match step {
            Step::Exchange(..) => switch_is_exchange,
            Step::Rename(..) => !switch_is_exchange,
            _ => false,
        });
        let switch = switch.unwrap();
        for (index, step) in steps.iter().enumerate().take(switch) {
            let (Step::Write(path, _) | Step::MakeDirectory(path)) = step else { continue };
            // The next one itself has an entry that counts only once it has its name.
            let Some(parent) = path.parent().filter(|parent| *parent != folder.path()) else { continue };
            let synced = steps[index..switch].iter().any(|later| *later == Step::Sync(parent.to_owned()));
            assert!(synced, "{}", path.display());
        }
        assert_eq!(steps[switch + 1], Step::Sync(folder.path().to_owned()));
        install::install(&directory, &old).unwrap();
    }
}
