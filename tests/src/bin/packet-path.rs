//! Sends packets through the core and does nothing else, for an instruction counter: `packet-path FLOWS SIZE BATCHES`.

use genkan_tests::packet_path::PacketPath;

fn main() {
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    let [flows, size, batches] = numbers[..] else {
        eprintln!("usage: packet-path FLOWS SIZE BATCHES");
        std::process::exit(2);
    };
    let mut path = PacketPath::new(flows, size);
    let sent: usize = (0..batches).map(|_| path.run_batch()).sum();
    println!("{sent}");
}
