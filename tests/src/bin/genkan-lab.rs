//! What the Makefile wants of the labs besides tests.

use genkan_tests::{guest, netns, pins};

const USAGE: &str = "usage: genkan-lab sweep   end the guest and remove what tests have left behind";

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("sweep") => {
            netns::sweep();
            pins::sweep();
            guest::end();
        }
        _ => {
            eprintln!("{USAGE}");
            std::process::exit(2);
        }
    }
}
