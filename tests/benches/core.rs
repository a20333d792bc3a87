//! Nanoseconds per packet of the core alone: LAN → PPPoE and back, with NAT and filter. `make bench` runs it.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use genkan_tests::packet_path::{BATCH, Direction, PacketPath};

fn packet_path(criterion: &mut Criterion) {
    for (name, direction) in [("lan-to-pppoe", Direction::Up), ("pppoe-to-lan", Direction::Down)] {
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(BATCH as u64));
        for size in [64, 1400] {
            for flows in [1_000, 100_000] {
                let mut path = PacketPath::new(direction, flows, size);
                group.bench_function(BenchmarkId::new(format!("{size}-octets"), flows), |bencher| {
                    bencher.iter(|| path.run_batch());
                });
            }
        }
        group.finish();
    }
}

criterion_group!(
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(2));
    targets = packet_path
);
criterion_main!(benches);
