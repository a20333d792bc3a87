//! What the Makefile wants of the labs besides tests.

use genkan_tests::{bulk, guest, netns};

const USAGE: &str = "\
usage: genkan-lab sweep   end the guest and remove what tests have left behind
       genkan-lab bulk    measure bulk TCP, genkan beside nft masquerade, and print a table";

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("sweep") => {
            netns::sweep();
            guest::end();
        }
        Some("bulk") => print!("{}", bulk::compare()),
        _ => {
            eprintln!("{USAGE}");
            std::process::exit(2);
        }
    }
}
