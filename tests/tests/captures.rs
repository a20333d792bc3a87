//! Public captures, most of them made to crash decoders, against a gateway with a live session: no panic, every frame
//! accounted for, the session and the LAN stay up.

use genkan_netstack::frame::Frame;
use genkan_netstack::id::PortId;
use genkan_netstack::sim::End;
use genkan_netstack::status::WanStatus;
use genkan_netstack::time::Duration;
use genkan_netstack::wire::pppoe;
use genkan_tests::capture_file;
use genkan_tests::household::{GATEWAY_LAN_MAC, GATEWAY_WAN_MAC, Household, INSIDE, LINE};

const DATA: [[u8; 2]; 2] = [[0x08, 0x00], [0x86, 0xdd]];
const PPP_PROTOCOL: [[u8; 2]; 2] = [[0x00, 0x21], [0x00, 0x57]];

fn uplink(household: &mut Household) -> WanStatus {
    let now = household.world.now();
    let node = household.gateway;
    household.world.gateway(node).expect("the gateway runs").status(now).wans.remove(0)
}

/// The frame as it was captured, the same addressed to the gateway, and, on the line, its packet inside the live session.
fn disguises(captured: &[u8], port: PortId, uplink: &WanStatus) -> Vec<Frame> {
    let mut frames = vec![Frame::from_bytes(captured)];
    let own = if port == LINE { GATEWAY_WAN_MAC } else { GATEWAY_LAN_MAC };
    let mut addressed = captured.to_vec();
    if let Some(destination) = addressed.get_mut(..6) {
        destination.copy_from_slice(&own.0);
        frames.push(Frame::from_bytes(&addressed));
    }
    let family = captured.get(12..14).and_then(|ethertype| DATA.iter().position(|known| known == ethertype));
    if let (LINE, Some(family), Some(session), Some(peer)) =
        (port, family, uplink.session_id, uplink.peer_mac)
    {
        let mut inner = Frame::from_bytes(&captured[14..]);
        inner.push(2).expect("a fresh frame has headroom").copy_from_slice(&PPP_PROTOCOL[family]);
        if pppoe::push_session(&mut inner, peer, own, session) {
            frames.push(inner);
        }
    }
    frames
}

#[test]
fn hostile_captures_into_every_port_leave_the_session_and_the_lan_up() {
    let mut household = Household::new(1);
    household.world.run_for(Duration::from_secs(10));
    assert!(household.online_within(Duration::from_secs(2)), "the session comes up");
    let before = uplink(&mut household);
    let gateway = household.gateway;
    let mut injected = 0;
    for path in capture_file::public() {
        let frames = capture_file::frames(&path);
        for port in [LINE, INSIDE] {
            for frame in frames.iter().flat_map(|frame| disguises(frame, port, &before)) {
                household.world.inject(End(gateway, port), frame);
                injected += 1;
            }
        }
        household.world.run_for(Duration::from_secs(4));
        household.assert_balance();
        assert!(
            household.online_within(Duration::from_secs(2)),
            "the LAN is offline after {}",
            path.display()
        );
        let after = uplink(&mut household);
        assert_eq!(
            (after.session_id, after.peer_mac, after.address),
            (before.session_id, before.peer_mac, before.address),
            "{} ended the session: {:?}",
            path.display(),
            after.last_failure
        );
    }
    assert!(injected > 10_000, "only {injected} frames were injected");
}
