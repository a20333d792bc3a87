//! A whole household with a live session, into whose ports anything comes, by a line that loses, repeats and delays, with
//! power cuts. Every frame is accounted for, and once all that is over the LAN comes online by itself, by both
//! families where there are both.
#![no_main]

#[allow(dead_code, reason = "shared with the tests of the simulation")]
#[path = "../../src/household.rs"]
mod household;

use genkan_fuzz::{Script, packet};
use genkan_netstack::frame::Frame;
use genkan_netstack::id::PortId;
use genkan_netstack::settings::Settings;
use genkan_netstack::sim::{End, Impairment};
use genkan_netstack::time::Duration;
use household::{CLIENT, GATEWAY_LAN_MAC, GATEWAY_WAN_MAC, Household, INSIDE, LINE, Sessions};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&seed, script)) = data.split_first() else { return };
    let (mut life, settings) = match seed % 4 {
        0 => dual_stack(seed, Sessions::One),
        2 => dual_stack(seed, Sessions::Two),
        _ => (Household::new(seed.into()), household::gateway()),
    };
    let has_ipv6 = seed % 2 == 0;
    // None while the power is on.
    let mut state = None;
    life.world.run_for(Duration::from_secs(6));
    for step in Script(script).take(32) {
        let port = if step.operation & 0x80 == 0 { LINE } else { INSIDE };
        match step.operation % 8 {
            0 => inject(&mut life, port, step.data.to_vec()),
            1 => {
                // From a station that is there, to the gateway.
                let (ours, theirs) = match port {
                    LINE => (GATEWAY_WAN_MAC, [2, 0, 0, 0, 2, 0]),
                    _ => (GATEWAY_LAN_MAC, [2, 0, 0, 0, 3, 0]),
                };
                inject(&mut life, port, [&ours.0, &theirs, step.data].concat());
            }
            2 | 3 => in_session(&mut life, step.data, step.operation % 8 == 3),
            4 => {
                let mut bytes = step.data.to_vec();
                if let Some(source) = bytes.get_mut(12..16) {
                    source.copy_from_slice(&CLIENT.octets());
                }
                packet::repair(&mut bytes);
                inject(
                    &mut life,
                    INSIDE,
                    packet::ethernet(GATEWAY_LAN_MAC.0, [2, 0, 0, 0, 3, 0], 0x0800, &bytes),
                );
            }
            5 | 6 => {
                let tenths = step.data.first_chunk().map_or(50, |tenths| u16::from_le_bytes(*tenths) % 3000);
                life.world.run_for(Duration::from_millis(u64::from(tenths) * 100));
            }
            _ => match step.data.first().copied().unwrap_or(0) % 4 {
                0 => life.world.impair(life.line, Impairment::cut()),
                1 => life.world.impair(life.line, Impairment::default()),
                2 => {
                    let [loss, duplicate, reorder] = step.data.last_chunk().copied().unwrap_or([64; 3]);
                    let share = |of: u8| u32::from(of) * 2_000;
                    let impairment = Impairment {
                        loss: share(loss),
                        duplicate: share(duplicate),
                        reorder: share(reorder),
                        ..Impairment::default()
                    };
                    life.world.impair(life.line, impairment);
                }
                _ => match state.take() {
                    None => state = Some(life.world.crash(life.gateway)),
                    Some(kept) => life.world.start(life.gateway, &settings, &kept),
                },
            },
        }
        life.assert_balance();
    }
    if let Some(kept) = state {
        life.world.start(life.gateway, &settings, &kept);
    }
    life.world.impair(life.line, Impairment::default());
    // A refusal that somebody made up may have the gateway wait for long, but not for ever.
    for _ in 0..1440 {
        life.world.run_for(Duration::from_secs(5));
        let by_ipv6 = life.online_by_ipv6_within(Duration::from_secs(2));
        if life.online_within(Duration::from_secs(2)) && by_ipv6 == has_ipv6 {
            life.assert_balance();
            return;
        }
    }
    let now = life.world.now();
    let status = life.world.gateway(life.gateway).map(|gateway| gateway.status(now));
    panic!("the LAN stays offline: {status:?}");
});

fn dual_stack(seed: u8, sessions: Sessions) -> (Household, Settings) {
    (Household::dual_stack(seed.into(), sessions), household::dual_stack_gateway(sessions))
}

fn inject(life: &mut Household, port: PortId, frame: Vec<u8>) {
    let to = End(life.gateway, port);
    life.world.inject(to, Frame::from_bytes(&frame));
}

/// A PPP packet, or an IPv4 one, comes by the live session.
fn in_session(life: &mut Household, data: &[u8], is_ip: bool) {
    let now = life.world.now();
    let Some(gateway) = life.world.gateway(life.gateway) else { return };
    let wan = gateway.status(now).wans.remove(0);
    let (Some(session), Some(peer)) = (wan.session_id, wan.peer_mac) else { return };
    let mut bytes = data.to_vec();
    if is_ip {
        if let (Some(destination), Some(address)) = (bytes.get_mut(16..20), wan.address) {
            destination.copy_from_slice(&address.octets());
        }
        packet::repair(&mut bytes);
        bytes.splice(..0, [0, 0x21]);
    }
    let [len, id] = [bytes.len() as u16, session].map(u16::to_be_bytes);
    let payload = [&[0x11, 0], &id[..], &len, &bytes].concat();
    inject(life, LINE, packet::ethernet(GATEWAY_WAN_MAC.0, peer.0, 0x8864, &payload));
}
