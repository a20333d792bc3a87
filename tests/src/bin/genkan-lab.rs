//! `genkan-lab sweep`: ends the guest and removes what tests have left behind.

use genkan_tests::{guest, netns};

fn main() {
    if std::env::args().nth(1).as_deref() != Some("sweep") {
        eprintln!("usage: genkan-lab sweep");
        std::process::exit(2);
    }
    netns::sweep();
    guest::end();
}
