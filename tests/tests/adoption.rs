//! What established traffic notices of a gateway that dies and starts again: nothing.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use genkan_tests::client::converse;
use genkan_tests::lab::web;
use genkan_tests::recording::{Recording, code};
use genkan_tests::street::Street;
use genkan_tests::topology::{Dial, Terms};
use genkan_tests::wait_for;

const STREAMS: usize = 100;
const ROUNDS: u64 = 120;

/// The kernel half carries on while nobody is there, and the next run takes over session and flows.
#[test]
fn a_hundred_streams_outlive_kill_9_and_nothing_is_dialled() {
    let mut street = Street::new("adoption-streams", Dial::default(), Terms::default(), "");
    let before = street.wait_up();
    street.lab.lease(&street.house.desk, "eth0");
    let streams: Vec<TcpStream> = street.house.desk.inside(|| {
        let connect = |_| TcpStream::connect_timeout(&web(7), Duration::from_secs(10)).expect("a stream");
        (0..STREAMS).map(connect).collect()
    });
    let rounds = Arc::new(AtomicU64::new(0));
    let talking: Vec<_> = streams
        .into_iter()
        .map(|stream| {
            let rounds = Arc::clone(&rounds);
            thread::spawn(move || converse(stream, |round| round < ROUNDS, &rounds))
        })
        .collect();
    let done = || rounds.load(Ordering::Relaxed);
    wait_for("every stream to talk", Duration::from_secs(20), || {
        if done() > 20 * STREAMS as u64 { Ok(()) } else { Err(format!("{} rounds", done())) }
    });

    let recording = Recording::start(&street.lab, &street.isp, "isp", &["--at", "access0"]);
    street.gateway.kill();
    let killed = done();
    thread::sleep(Duration::from_secs(1));
    let alone = done() - killed;
    println!("{alone} rounds in the second without a gateway");
    assert!(alone > STREAMS as u64, "the kernel carried {alone} rounds in a second");
    street = street.restart();
    let after = street.gateway.wan("isp").expect("a status");
    assert_eq!((after.session, &after.address), (before.session, &before.address));

    for (number, stream) in talking.into_iter().enumerate() {
        let (sent, back) =
            stream.join().expect("no panic").unwrap_or_else(|error| panic!("stream {number}: {error}"));
        assert_eq!(back, sent, "stream {number}");
    }
    assert_eq!(done(), STREAMS as u64 * ROUNDS);
    assert_eq!(street.gateway.wan("isp").expect("a status").session, before.session);
    for frame in recording.frames() {
        assert_eq!(frame.discovery(), None, "PADT is {:02x}", code::PADT);
    }
}
