//! What established traffic notices of a gateway that dies and starts again: nothing.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use genkan_tests::internet::{Blob, Hash};
use genkan_tests::lab::web;
use genkan_tests::recording::{Recording, code};
use genkan_tests::street::Street;
use genkan_tests::topology::{Dial, Terms};
use genkan_tests::wait_for;

const STREAMS: usize = 100;
const ROUNDS: u64 = 120;
/// Octets that a stream sends, and gets back, in a round.
const ROUND: usize = 4000;
const PAUSE: Duration = Duration::from_millis(100);

/// Sends a part of the blob, reads it back from the echo server, and so on. Returns the hash of what came back.
fn converse(mut stream: TcpStream, rounds: &AtomicU64) -> Result<String, String> {
    let mut sent = Vec::new();
    Blob::default().write(ROUND as u64 * ROUNDS, &mut sent).map_err(|error| error.to_string())?;
    let mut hash = Hash::default();
    let mut back = vec![0; ROUND];
    for (number, part) in sent.chunks(ROUND).enumerate() {
        let say = |error: std::io::Error| format!("round {number}: {error}");
        stream.write_all(part).map_err(say)?;
        stream.read_exact(&mut back).map_err(say)?;
        hash.write_all(&back).map_err(say)?;
        rounds.fetch_add(1, Ordering::Relaxed);
        thread::sleep(PAUSE);
    }
    Ok(hash.hex())
}

/// The kernel half carries on while nobody is there, and the next run takes over session and flows.
#[test]
fn a_hundred_streams_outlive_kill_9_and_nothing_is_dialled() {
    let mut street = Street::new("adoption-streams", Dial::default(), Terms::default(), "");
    let before = street.wait_up();
    street.lab.lease(&street.house.desk, "eth0");
    let streams: Vec<TcpStream> = street.house.desk.inside(|| {
        let connect = |_| {
            let stream = TcpStream::connect_timeout(&web(7), Duration::from_secs(10)).expect("a stream");
            stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
            stream.set_nodelay(true).expect("small packets at once");
            stream
        };
        (0..STREAMS).map(connect).collect()
    });
    let rounds = Arc::new(AtomicU64::new(0));
    let talking: Vec<_> = streams
        .into_iter()
        .map(|stream| {
            let rounds = Arc::clone(&rounds);
            thread::spawn(move || converse(stream, &rounds))
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

    let expected = Blob::default().hash(ROUND as u64 * ROUNDS);
    for (number, stream) in talking.into_iter().enumerate() {
        let hash =
            stream.join().expect("no panic").unwrap_or_else(|error| panic!("stream {number}: {error}"));
        assert_eq!(hash, expected, "stream {number}");
    }
    assert_eq!(street.gateway.wan("isp").expect("a status").session, before.session);
    for frame in recording.frames() {
        assert_eq!(frame.discovery(), None, "PADT is {:02x}", code::PADT);
    }
}
