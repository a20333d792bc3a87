//! Sends packets through the core and does nothing else, for an instruction counter:
//! `packet-path up|down FLOWS SIZE BATCHES`.

use genkan_tests::packet_path::{Direction, PacketPath};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let direction = match arguments.next().as_deref() {
        Some("up") => Some(Direction::Up),
        Some("down") => Some(Direction::Down),
        _ => None,
    };
    let numbers: Vec<usize> = arguments.filter_map(|text| text.parse().ok()).collect();
    let (Some(direction), [flows, size, batches]) = (direction, &numbers[..]) else {
        eprintln!("usage: packet-path up|down FLOWS SIZE BATCHES");
        std::process::exit(2);
    };
    let mut path = PacketPath::new(direction, *flows, *size);
    let sent: usize = (0..*batches).map(|_| path.run_batch()).sum();
    println!("{sent}");
}
