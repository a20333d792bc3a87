//! Labs in network namespaces and guests with real peers, for the tests in `tests/tests/`.
//!
//! A [`lab::Lab`] is one test's world: it waits for its turn, and sweeps what a dead run has left. The test then
//! makes [`netns::Namespace`]s, whose names start with `genkan-test-`, with [`netns::veth`]s between them. In them run
//! [`gateway::Genkan`] (the program under test), an [`internet::Internet`] and the [`client`]'s transfers.
//! [`guest::Guest`] is a virtual machine with Debian's kernel, and pppd and pppoe-server or genkan ([`virtio`]). [`vm::Vm`] is the
//! guest router as `make image` leaves it, [`libvirt::Libvirt`] runs it as its package does; [`debian::Booted`] is a Debian with
//! systemd for the program's package. A [`watch::Watch`] looks at every frame that reaches a place and checks lengths and
//! checksums. Everything ends when it is dropped, also in a panic.
//! `bench` is what `make bench` measures with.
//!
//! A lab needs root, and the guest needs QEMU. A test that cannot have them fails and says so; none is skipped.

pub mod bench;
pub mod capture_file;
pub mod chrony;
pub mod client;
pub mod client6;
pub mod cuts;
pub mod debian;
pub mod enclosure;
pub mod ethernet_isp;
pub mod fast_path;
pub mod friends;
pub mod gateway;
pub mod guest;
pub mod household;
pub mod internet;
pub mod lab;
pub mod libvirt;
pub mod netns;
pub mod packet_path;
pub mod packets;
pub mod peers;
pub mod pins;
pub mod recording;
pub mod replayed;
pub mod requirements;
pub mod street;
pub mod terminal;
pub mod topology;
pub mod virtio;
pub mod vm;
pub mod watch;
pub mod wire;

use std::time::{Duration, Instant};

/// Asks `ready` again and again, ten times a second, until it gives something.
///
/// # Panics
///
/// With `what`, and the last thing that `ready` complained of, when `limit` has passed.
#[track_caller]
pub fn wait_for<T>(what: &str, limit: Duration, mut ready: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + limit;
    loop {
        match ready() {
            Ok(value) => return value,
            Err(last) if Instant::now() >= end => {
                panic!("waited {} s for {what}; the last look said: {last}", limit.as_secs())
            }
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}
