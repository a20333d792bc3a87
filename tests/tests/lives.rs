//! Lives of a household's line: loss, duplication, reordering, delay, cuts and crashes, in virtual time.
//!
//! The invariant: whenever the line has been good for 60 s, the LAN is online.

use genkan_netstack::sim::Impairment;
use genkan_netstack::time::Duration;
use genkan_tests::household::{self, Household};

const GOOD: Duration = Duration::from_secs(60);

/// How many lives; each seed is a different one. `GENKAN_LIVES` asks for more.
fn lives() -> u64 {
    std::env::var("GENKAN_LIVES").ok().and_then(|text| text.parse().ok()).unwrap_or(1000)
}

fn below(household: &mut Household, bound: u64) -> u64 {
    household.world.rng().below(bound)
}

fn some_impairment(household: &mut Household) -> Impairment {
    if below(household, 4) == 0 {
        return Impairment::cut();
    }
    Impairment {
        loss: below(household, 700_000) as u32,
        duplicate: below(household, 300_000) as u32,
        reorder: below(household, 300_000) as u32,
        delay: Duration::from_millis(below(household, 400)),
        jitter: Duration::from_millis(below(household, 400)),
    }
}

/// A time of trouble: the line is bad, and now and then one side or the other loses its power.
fn trouble(household: &mut Household) {
    let impairment = some_impairment(household);
    household.world.impair(household.line, impairment);
    for _ in 0..below(household, 4) {
        let span = Duration::from_millis(below(household, 40_000));
        household.world.run_for(span);
        match below(household, 4) {
            0 => {
                let state = household.world.crash(household.gateway);
                let off = Duration::from_millis(below(household, 30_000));
                household.world.run_for(off);
                household.world.start(household.gateway, &household::gateway(), &state);
            }
            1 => {
                household.world.crash(household.isp);
                let off = Duration::from_millis(below(household, 30_000));
                household.world.run_for(off);
                household.world.start(household.isp, &household::isp(), &Default::default());
            }
            2 => {
                let impairment = some_impairment(household);
                household.world.impair(household.line, impairment);
            }
            _ => {}
        }
    }
    household.world.impair(household.line, Impairment::default());
}

fn live(seed: u64) {
    let mut household = Household::new(seed);
    for act in 0..4 {
        household.world.run_for(GOOD);
        household.world.run_for(Duration::from_secs(3));
        assert!(
            household.online_within(Duration::from_secs(3)),
            "life {seed}, act {act}: the line was good for 60 s and the LAN is not online; what happened:\n{}",
            household.world.story()
        );
        household.assert_balance();
        trouble(&mut household);
        household.assert_balance();
    }
}

/// RFC 1661, 2516; TR-124 WAN.PPP: the session comes back by itself, whatever happened.
#[test]
fn whenever_the_line_is_good_for_a_minute_the_lan_is_online() {
    for seed in 0..lives() {
        live(seed);
    }
}

/// The same seed gives the same life, frame by frame.
#[test]
fn a_life_can_be_lived_again() {
    let run = || {
        let mut household = Household::new(7);
        household.world.run_for(Duration::from_secs(20));
        trouble(&mut household);
        household.world.run_for(Duration::from_secs(20));
        let gateway = household.gateway;
        household.world.gateway(gateway).map(|gateway| gateway.ledger().clone())
    };
    assert_eq!(run(), run());
}
