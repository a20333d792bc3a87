//! Debian stable, for what `make deb` has built: as it lies on a disk, and booted, with systemd as its first process.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use crate::enclosure::Enclosure;
use crate::lab::target;
use crate::netns::{Namespace, text};
use crate::wait_for;

/// The package of this name that `make deb` has built.
///
/// # Panics
///
/// When it is not there.
#[track_caller]
pub fn package(name: &str) -> PathBuf {
    find(name, "deb", "make deb")
}

/// Debian's package of this name that `make image` has downloaded.
///
/// # Panics
///
/// When it is not there.
#[track_caller]
pub fn downloaded(name: &str) -> PathBuf {
    find(name, "packages", "make image")
}

#[track_caller]
fn find(name: &str, folder: &str, made_by: &str) -> PathBuf {
    let folder = target().join(folder);
    let files = fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let wanted = format!("{name}_");
    let found = files.into_iter().find(|path| {
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        file.starts_with(&wanted) && file.ends_with(".deb")
    });
    found.unwrap_or_else(|| {
        panic!("there is no package {name} in {}: run `{made_by}` first", folder.display())
    })
}

/// The name of a package's file, which a [`Debian`] has in `/packages`.
pub fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Makes the smallest Debian with systemd and man-db, of the release that this machine runs, once: for the next tests it
/// is kept in the build folder. In memory, for that is faster by far.
const DEBIAN: &str = r#"
. /etc/os-release
mount -t tmpfs -o mode=755,size=2g debian /mnt
kept=$TARGET/debian-$VERSION_CODENAME.tar
exec 9>/run/genkan-test-debian.lock
flock 9
if [ ! -e "$kept" ]; then
    mirror=$(apt-get indextargets --format '$(REPO_URI)' "Codename: $VERSION_CODENAME" | head -n 1)
    debootstrap --variant=minbase --include=systemd,man-db "$VERSION_CODENAME" /mnt "$mirror" >"$kept.log" 2>&1 || {
        tail -n 20 "$kept.log"
        exit 1
    }
    rm -f /mnt/var/cache/apt/archives/*.deb
    tar -C /mnt -cf "$kept.new" .
    mv "$kept.new" "$kept"
else
    tar -C /mnt -xf "$kept"
fi
exec 9>&-
cp /etc/resolv.conf /mnt/etc/resolv.conf
mount -t proc proc /mnt/proc
mount --rbind /dev /mnt/dev
mkdir /mnt/packages
mount --bind "$TARGET/deb" /mnt/packages
"#;

/// What scripts run with.
const ENVIRONMENT: &str =
    "env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive";

fn quoted(script: &str) -> String {
    format!("'{}'", script.replace('\'', r"'\''"))
}

fn told(output: &Output) -> (bool, String) {
    (output.status.success(), text(output))
}

/// A Debian without a service that runs.
#[derive(Debug)]
pub struct Debian(Enclosure);

impl Debian {
    /// Unpacks it. Its network is this machine's.
    #[track_caller]
    pub fn unpacked() -> Debian {
        Debian(Enclosure::new(&format!("TARGET={}\n{DEBIAN}", target().display())))
    }

    /// What a script of the shell writes there, and whether all went well.
    #[track_caller]
    pub fn try_run(&self, script: &str) -> (bool, String) {
        told(&self.0.try_run(&format!("exec chroot /mnt {ENVIRONMENT} sh -euc {}", quoted(script))))
    }

    /// What a script of the shell writes there.
    ///
    /// # Panics
    ///
    /// When it fails.
    #[track_caller]
    pub fn run(&self, script: &str) -> String {
        let (well, said) = self.try_run(script);
        assert!(well, "{script}\nfailed: {said}");
        said
    }

    /// Every file, without those in which Debian's own tools take notes.
    #[track_caller]
    pub fn files(&self) -> BTreeSet<String> {
        let notes =
            ["/var/cache/", "/var/lib/apt/", "/var/lib/dpkg/", "/var/log/", "/packages/", "/run/systemd/"];
        let all = self.run("find / -xdev -not -path '/proc/*' -not -path '/dev/*'");
        all.lines()
            .filter(|path| !notes.iter().any(|note| path.starts_with(note)))
            .map(String::from)
            .collect()
    }

    /// Starts systemd in it, which has `network` and nothing else of this machine's.
    ///
    /// # Panics
    ///
    /// When not everything is started within 30 s.
    #[track_caller]
    pub fn boot(self, network: &Namespace) -> Booted {
        let group = format!("{GROUPS}{}", network.name());
        let (name, init) = (network.name(), quoted(INIT));
        let said = self.0.run(&format!("GROUP={group}\nNETWORK={name}\nINIT={init}\n{BOOT}"));
        let booted = Booted { first: said.trim().into(), debian: self, group };
        wait_for("Debian to boot", Duration::from_secs(30), || {
            let (well, said) = booted.try_run("systemctl is-system-running --wait");
            if well { Ok(()) } else { Err(said) }
        });
        booted
    }
}

/// What the control groups of booted Debians are called first.
const GROUPS: &str = "genkan-test-debian-";

/// Gives systemd what it wants of a container: a tree of control groups, whose root it is in, and namespaces of its own.
/// Groups of tests that were killed go first. Writes the number that the first process has in the enclosure.
const BOOT: &str = r#"
mount -t cgroup2 cgroup2 /mnt/srv
find /mnt/srv -mindepth 1 -depth -type d -path '/mnt/srv/genkan-test-debian-*' -exec rmdir {} + 2>/dev/null || :
mkdir "/mnt/srv/$GROUP"
export INIT
sh -c 'echo $$ >"/mnt/srv/$1/cgroup.procs"
    exec nsenter --net="/run/netns/$2" unshare --pid --mount --uts --ipc --cgroup --fork --kill-child sh -euc "$INIT"' \
    sh "$GROUP" "$NETWORK" </dev/null >/mnt/var/log/boot 2>&1 &
first=
until [ "$(cat "/proc/$first/comm")" = systemd ]; do
    kill -0 $! || { cat /mnt/var/log/boot; exit 1; }
    sleep 0.1
    read -r first rest <"/proc/$!/task/$!/children" || :
done 2>/dev/null
echo "$first"
"#;

/// The first process of a booted Debian, until it becomes systemd.
const INIT: &str = r#"
umount /mnt/srv
mount -t tmpfs -o mode=755 dev /mnt/dev
for device in null zero full random urandom tty net/tun; do
    mkdir -p "$(dirname /mnt/dev/$device)"
    touch /mnt/dev/$device
    mount --bind /dev/$device /mnt/dev/$device
done
mkdir /mnt/dev/pts /mnt/dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts /mnt/dev/pts
ln -s pts/ptmx /mnt/dev/ptmx
umount /mnt/proc
mount -t proc proc /mnt/proc
mount -t sysfs sysfs /mnt/sys
mount -t cgroup2 cgroup2 /mnt/sys/fs/cgroup
mount -t bpf bpf /mnt/sys/fs/bpf
cd /mnt
pivot_root . mnt
umount -l /mnt
exec env -i container=genkan-test /lib/systemd/systemd
"#;

/// A Debian with systemd as its first process. It is switched off when dropped.
#[derive(Debug)]
pub struct Booted {
    debian: Debian,
    first: String,
    group: String,
}

impl Booted {
    /// What a script of the shell writes there, and whether all went well.
    #[track_caller]
    pub fn try_run(&self, script: &str) -> (bool, String) {
        let Booted { first, .. } = self;
        told(&self.debian.0.try_run(&format!(
            "exec nsenter --target {first} --mount --pid --net --uts --ipc --cgroup {ENVIRONMENT} sh -euc {}",
            quoted(script)
        )))
    }

    /// What a script of the shell writes there.
    ///
    /// # Panics
    ///
    /// When it fails.
    #[track_caller]
    pub fn run(&self, script: &str) -> String {
        let (well, said) = self.try_run(script);
        assert!(well, "{script}\nfailed: {said}");
        said
    }
}

impl Drop for Booted {
    fn drop(&mut self) {
        // Whoever ends the first process of a namespace ends all of them; a group goes when nobody is in it.
        let Booted { first, group, .. } = self;
        let _ = self.debian.0.try_run(&format!(
            "kill -KILL {first}\n\
             for _ in $(seq 100); do\n\
                 find /mnt/srv/{group} -depth -type d -exec rmdir {{}} + 2>/dev/null && break\n\
                 sleep 0.05\n\
             done"
        ));
    }
}
