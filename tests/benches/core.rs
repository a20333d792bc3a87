//! Nanoseconds per packet of the core alone: LAN → PPPoE with NAT and filter. `make bench` runs it.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use genkan_tests::packet_path::{BATCH, PacketPath};

fn lan_to_pppoe(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lan-to-pppoe");
    group.throughput(Throughput::Elements(BATCH as u64));
    for size in [64, 1400] {
        for flows in [1, 1_000, 100_000] {
            let mut path = PacketPath::new(flows, size);
            group.bench_function(BenchmarkId::new(format!("{size}-octets"), flows), |bencher| {
                bencher.iter(|| path.run_batch());
            });
        }
    }
    group.finish();
}

criterion_group!(benches, lan_to_pppoe);
criterion_main!(benches);
