//! The kernel half does what the core does, or leaves the frame to it.
//!
//! A world (`world.rs`) has a Forwarder, which hands its flows over, and the kernel half with the maps that the mirror makes
//! of them. Flows of every kind are established; then frames run through the kernel half by BPF_PROG_RUN, by XDP and by the
//! classifier. What it carries is given to the Forwarder, too: out must come the same octets by the same port. What it does
//! not carry must be as it was. The frames are those of the flows (`packet.rs`), whole, cut at every octet, with every bit
//! turned, with telling values in every octet of their headers, and harmed at random (`harm.rs`); of this life of the sessions, and of earlier ones.
//!
//! `GENKAN_FRAMES` asks for more frames than a million. It needs root.

mod harm;
mod packet;
mod world;

use genkan_netstack::rng::{Rng, SeededRng};

use crate::harm::Harm;
use crate::world::{Entry, Namespace, Seed, Uplink, World};

/// Frames of a life of the sessions that are harmed at random.
const LIFE: u64 = 100_000;

fn frames() -> u64 {
    std::env::var("GENKAN_FRAMES").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000)
}

/// What has been compared.
#[derive(Debug, Default)]
struct Tally {
    frames: u64,
    carried: u64,
}

impl Tally {
    fn compare(&mut self, world: &mut World, port: usize, frame: &[u8]) {
        self.frames += 1;
        let carried = [Entry::Xdp, Entry::Classifier].map(|entry| world.compare(entry, port, frame));
        assert_eq!(carried[0], carried[1], "both entries carry the same frames: {frame:02x?}");
        self.carried += u64::from(carried[0]);
    }
}

/// Both ways of every flow, unharmed, are carried; so that it means something when others are not.
fn all_carried(world: &mut World, seeds: &[Seed]) {
    for seed in seeds {
        for entry in [Entry::Xdp, Entry::Classifier] {
            let is_carried = world.compare(entry, seed.port, &seed.frame);
            assert!(is_carried, "{} is not carried by {entry:?}: {:02x?}", seed.name, seed.frame);
        }
    }
}

fn lives(uplink: Uplink, frames: u64, first: u64) -> Tally {
    let namespace = Namespace::new(&format!("equivalence-{uplink:?}").to_lowercase());
    namespace.run(|| {
        let mut rng = SeededRng::from_u64(first);
        let mut world = World::new(uplink);
        let mut tally = Tally::default();
        let mut earlier: Vec<Seed> = Vec::new();
        while tally.frames < frames {
            world.begin_life(&mut rng);
            // What is left of the life before is not this one's.
            for seed in &earlier {
                tally.compare(&mut world, seed.port, &seed.frame);
            }
            let seeds = world.establish(&mut rng);
            all_carried(&mut world, &seeds);
            for seed in &seeds {
                let frames = harm::each_cut(&seed.frame).chain(harm::each_bit(&seed.frame));
                for frame in frames.chain(harm::each_value(&seed.frame)) {
                    tally.compare(&mut world, seed.port, &frame);
                }
            }
            let mut harm = Harm::new(seeds.iter().chain(&earlier));
            for _ in 0..LIFE.min(frames.saturating_sub(tally.frames)) {
                let (port, frame) = harm.next(&mut rng);
                tally.compare(&mut world, port, &frame);
                if rng.next_u32().is_multiple_of(20_000) {
                    world.invalidate(&mut rng);
                }
            }
            earlier = seeds;
        }
        tally
    })
}

#[test]
fn what_the_kernel_half_carries_leaves_as_from_the_core() {
    let each = frames().div_ceil(2);
    for (uplink, seed) in [(Uplink::Pppoe, 1), (Uplink::Ethernet, 2)] {
        let tally = lives(uplink, each, seed);
        println!("{uplink:?}: {} frames compared, {} of them carried", tally.frames, tally.carried);
        assert!(tally.frames >= each);
        assert!(tally.carried > tally.frames / 20, "most harm is done to what is not looked at: {tally:?}");
    }
}
