//! A libvirt of the test's own with `genkan-vm`, as the package has it: guests are emulated, and its bridges are `br-wan` and
//! `br-lan`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::debian::package;
use crate::enclosure::Enclosure;
use crate::lab::target;
use crate::netns::{Namespace, text};
use crate::wait_for;

/// Where guests are, in the enclosure.
pub const STATE: &str = "/var/lib/libvirt/scratch";

static NEXT: AtomicU32 = AtomicU32::new(0);

/// What `genkan-vm` runs with. Guests end when it is dropped.
#[derive(Debug)]
pub struct Libvirt {
    enclosure: Enclosure,
    /// [`STATE`].
    scratch: PathBuf,
}

impl Libvirt {
    /// Starts libvirt, and unpacks the package.
    #[track_caller]
    #[expect(clippy::new_without_default, reason = "it is much work, and wants root")]
    pub fn new() -> Libvirt {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let scratch = target().join(format!("libvirt-{}-{number}", std::process::id()));
        fs::create_dir_all(&scratch).expect("the build folder can be written");
        let prepare = Path::new(env!("CARGO_MANIFEST_DIR")).join("lab/libvirt.sh");
        let enclosure = Enclosure::with_network(&format!(
            "SCRATCH={}\n. {}\ndpkg-deb -x {} /run/package",
            scratch.display(),
            prepare.display(),
            package("genkan-vm").display()
        ));
        Libvirt { enclosure, scratch }
    }

    fn script(line: &str) -> String {
        format!(
            "export GENKAN_VM_SHARE=/run/package/usr/share/genkan-vm GENKAN_VM_STATE={STATE} \
             LIBVIRT_DEFAULT_URI=qemu:///system PATH=/run/package/usr/sbin:$PATH\n{line}"
        )
    }

    /// Runs a script of the shell, and returns what it wrote.
    #[track_caller]
    pub fn run(&self, line: &str) -> String {
        self.enclosure.run(&Libvirt::script(line))
    }

    /// What a command says that does not work.
    #[track_caller]
    pub fn refused(&self, line: &str) -> String {
        let output = self.enclosure.try_run(&Libvirt::script(line));
        assert!(!output.status.success(), "{line} worked: {}", text(&output));
        text(&output)
    }

    /// Lays a cable from `device` of a namespace to a bridge.
    #[track_caller]
    pub fn plug(&self, namespace: &Namespace, device: &str, bridge: &str) {
        let (port, inside) = (format!("{bridge}-0"), self.enclosure.process().to_string());
        namespace.ip(&[
            "link",
            "add",
            device,
            "type",
            "veth",
            "peer",
            "name",
            port.as_str(),
            "netns",
            &inside,
        ]);
        namespace.ip(&["link", "set", device, "up"]);
        self.run(&format!("ip link set {port} master {bridge} up"));
    }

    /// Puts another base image in the place of the package's: the one that was built, changed by a script that has it as the file
    /// `disk`, with the file system of its boot partition at `disk@@2M`, in an empty folder.
    #[track_caller]
    pub fn install(&self, version: &str, change: &str) {
        self.run(&format!(
            "mkdir {STATE}/next; cd {STATE}/next
             [ -e /run/built.qcow2 ] || cp $GENKAN_VM_SHARE/genkan-vm.qcow2 /run/built.qcow2
             qemu-img convert -O raw /run/built.qcow2 disk
             {change}
             qemu-img convert -O qcow2 disk $GENKAN_VM_SHARE/genkan-vm.qcow2
             echo {version} >$GENKAN_VM_SHARE/version
             rm -r {STATE}/next"
        ));
    }

    /// The Ethernet addresses of a domain's cards.
    #[track_caller]
    pub fn addresses(&self, name: &str) -> Vec<String> {
        let list = self.run(&format!("virsh domiflist --inactive {name}"));
        list.lines()
            .filter_map(|line| line.split_whitespace().nth(4))
            .filter(|word| word.contains(':'))
            .map(String::from)
            .collect()
    }

    /// The base image that a guest is on.
    #[track_caller]
    pub fn base(&self, name: &str) -> String {
        let list = self.run("genkan-vm list");
        let line = list.lines().find(|line| line.split_whitespace().next() == Some(name));
        let word = line.and_then(|line| line.split_whitespace().find(|word| word.starts_with("genkan-vm-")));
        word.unwrap_or_else(|| panic!("no {name}: {list}")).to_owned()
    }

    /// A file of a guest's folder.
    pub fn file(&self, name: &str, file: &str) -> PathBuf {
        self.scratch.join("guests").join(name).join(file)
    }

    /// What a guest's console has said since it was started.
    pub fn said(&self, name: &str) -> String {
        let log = fs::read(self.file(name, "console.log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Waits until a guest's console has said so.
    #[track_caller]
    pub fn wait_said(&self, name: &str, words: &str, limit: Duration) {
        wait_for(&format!("{words:?} on the console"), limit, || {
            let said = self.said(name);
            if said.contains(words) {
                return Ok(());
            }
            let start = said.len().saturating_sub(3000);
            Err(said
                .get((start..).find(|at| said.is_char_boundary(*at)).unwrap_or(start)..)
                .unwrap_or_default()
                .into())
        });
    }
}

impl Drop for Libvirt {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.scratch);
    }
}
