//! What a computer on the LAN does: transfers, look-ups, echoes. Call these inside a namespace, but for those that take one.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RData, RecordType};

use crate::internet::{Blob, Hash};
use crate::netns::Namespace;
use crate::wait_for;

const PATIENCE: Duration = Duration::from_secs(15);

/// A transfer that ended.
#[derive(Debug, Clone)]
pub struct Transfer {
    /// Octets of payload.
    pub length: u64,
    /// SHA-1 of what the receiver got, in hex.
    pub hash: String,
    /// Time from the first octet sent to the last received.
    pub took: Duration,
}

impl Transfer {
    /// Megabits of payload in a second.
    pub fn megabits(&self) -> f64 {
        self.length as f64 * 8.0 / 1e6 / self.took.as_secs_f64()
    }
}

fn connect(server: SocketAddr) -> Result<TcpStream, String> {
    let stream = TcpStream::connect_timeout(&server, PATIENCE)
        .map_err(|error| format!("connect to {server}: {error}"))?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(say)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(say)?;
    Ok(stream)
}

fn say(error: io::Error) -> String {
    error.to_string()
}

/// Sends a request line and headers, then reads the status line and the headers of the answer.
fn answer(stream: TcpStream) -> Result<BufReader<TcpStream>, String> {
    let mut reader = BufReader::with_capacity(1 << 16, stream);
    let mut status = String::new();
    reader.read_line(&mut status).map_err(|error| format!("waiting for the answer: {error}"))?;
    if !status.starts_with("HTTP/1.1 200") {
        return Err(format!("the server answered {status:?}"));
    }
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).map_err(say)?;
        if header.trim().is_empty() {
            return Ok(reader);
        }
    }
}

/// Fetches `path` by HTTP and returns the body.
pub fn fetch(server: SocketAddr, path: &str) -> Result<String, String> {
    let mut stream = connect(server)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: www.example.test\r\n\r\n").map_err(say)?;
    let mut body = String::new();
    answer(stream)?.read_to_string(&mut body).map_err(|error| format!("reading {path}: {error}"))?;
    Ok(body)
}

/// Fetches `length` octets of the [`Blob`].
pub fn download(server: SocketAddr, length: u64) -> Result<Transfer, String> {
    let start = Instant::now();
    let mut stream = connect(server)?;
    write!(stream, "GET /blob/{length} HTTP/1.1\r\nHost: www.example.test\r\n\r\n").map_err(say)?;
    let mut hash = Hash::default();
    let got = io::copy(&mut answer(stream)?, &mut hash).map_err(|error| format!("download: {error}"))?;
    Ok(Transfer { length: got, hash: hash.hex(), took: start.elapsed() })
}

/// Sends `length` octets of the [`Blob`]; the hash is what the server says it got.
pub fn upload(server: SocketAddr, length: u64) -> Result<Transfer, String> {
    let blob = Blob::default();
    let start = Instant::now();
    let mut stream = connect(server)?;
    write!(stream, "POST /hash HTTP/1.1\r\nHost: www.example.test\r\nContent-Length: {length}\r\n\r\n")
        .map_err(say)?;
    blob.write(length, &mut stream).map_err(|error| format!("upload: {error}"))?;
    let mut hash = String::new();
    answer(stream)?
        .read_to_string(&mut hash)
        .map_err(|error| format!("upload, the server's hash: {error}"))?;
    Ok(Transfer { length, hash, took: start.elapsed() })
}

/// Which way bulk goes, as its client sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bulk {
    /// A download.
    Down,
    /// An upload.
    Up,
}

impl Bulk {
    /// One after the other.
    pub const BOTH: [Bulk; 2] = [Bulk::Down, Bulk::Up];

    /// Moves `length` octets of the [`Blob`] between `host` and `server`, and sees that they arrive whole.
    ///
    /// # Panics
    ///
    /// When they do not.
    #[track_caller]
    pub fn transfer(self, host: &Namespace, server: SocketAddr, length: u64) -> Transfer {
        let work = match self {
            Bulk::Down => download,
            Bulk::Up => upload,
        };
        let done = host.inside(|| work(server, length));
        let done = done.unwrap_or_else(|error| panic!("{self} {server}, from {}: {error}", host.name()));
        let expected = Blob::default().hash(length);
        assert_eq!((done.length, &done.hash), (length, &expected), "{self} {server}, from {}", host.name());
        println!("{self} {server}: {length} octets at {:.1} Mb/s", done.megabits());
        done
    }
}

impl fmt::Display for Bulk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Bulk::Down => "down from",
            Bulk::Up => "up to",
        })
    }
}

/// Moves `length` octets down and up again, as [`Bulk::transfer`] does, and returns both transfers.
#[track_caller]
pub fn transfers(host: &Namespace, server: SocketAddr, length: u64) -> [Transfer; 2] {
    // Not by `map`: a panic is to name the caller's line.
    let [down, up] = Bulk::BOTH;
    [down.transfer(host, server, length), up.transfer(host, server, length)]
}

/// Fetches `length` octets and looks at none of them, for measurements. Returns megabits in a second.
pub fn drain(server: SocketAddr, length: u64) -> Result<f64, String> {
    let start = Instant::now();
    let mut stream = connect(server)?;
    write!(stream, "GET /blob/{length} HTTP/1.1\r\nHost: www.example.test\r\n\r\n").map_err(say)?;
    let mut reader = answer(stream)?;
    let (mut buffer, mut got) = (vec![0; 1 << 18], 0);
    loop {
        match reader.read(&mut buffer).map_err(|error| format!("download: {error}"))? {
            0 => break,
            more => got += more as u64,
        }
    }
    if got == length { Ok(rate(length, start)) } else { Err(format!("{got} octets of {length} came")) }
}

/// Sends `length` octets that nobody looks at, for measurements. Returns megabits in a second.
pub fn pour(server: SocketAddr, length: u64) -> Result<f64, String> {
    let blob = Blob::default();
    let start = Instant::now();
    let mut stream = connect(server)?;
    write!(stream, "POST /count HTTP/1.1\r\nHost: www.example.test\r\nContent-Length: {length}\r\n\r\n")
        .map_err(say)?;
    blob.write(length, &mut stream).map_err(|error| format!("upload: {error}"))?;
    let mut count = String::new();
    answer(stream)?
        .read_to_string(&mut count)
        .map_err(|error| format!("upload, the server's count: {error}"))?;
    if count == length.to_string() {
        Ok(rate(length, start))
    } else {
        Err(format!("{count} octets of {length} came"))
    }
}

fn rate(length: u64, start: Instant) -> f64 {
    length as f64 * 8.0 / 1e6 / start.elapsed().as_secs_f64()
}

/// Sends a line to an echo server over TCP and reads it back.
pub fn echo(server: SocketAddr, line: &str) -> Result<(), String> {
    let mut stream = connect(server)?;
    stream.write_all(line.as_bytes()).map_err(say)?;
    let mut back = vec![0; line.len()];
    stream.read_exact(&mut back).map_err(|error| format!("waiting for the echo: {error}"))?;
    if back == line.as_bytes() { Ok(()) } else { Err("the echo is not what was sent".into()) }
}

/// Has an echo server send back a part of the [`Blob`] again and again, ten times a second, while it is to go on after so
/// many rounds. Counts `rounds`, also those of others. Returns the hashes of what was sent and of what came back.
pub fn converse(
    mut stream: TcpStream,
    goes_on: impl Fn(u64) -> bool,
    rounds: &AtomicU64,
) -> Result<(String, String), String> {
    stream.set_read_timeout(Some(PATIENCE)).map_err(say)?;
    stream.set_nodelay(true).map_err(say)?;
    let mut part = Vec::new();
    Blob::default().write(4000, &mut part).map_err(say)?;
    let (mut sent, mut got, mut back) = (Hash::default(), Hash::default(), vec![0; part.len()]);
    for round in (0..).take_while(|round| goes_on(*round)) {
        let say = |error: io::Error| format!("round {round}: {error}");
        // No two rounds are the same.
        part.rotate_left(1);
        stream.write_all(&part).map_err(say)?;
        stream.read_exact(&mut back).map_err(say)?;
        sent.write_all(&part).map_err(say)?;
        got.write_all(&back).map_err(say)?;
        rounds.fetch_add(1, Ordering::Relaxed);
        thread::sleep(Duration::from_millis(100));
    }
    Ok((sent.hex(), got.hex()))
}

/// Ends what another thread does when dropped, also in a panic: nobody waits for it for ever.
pub struct HangUp<'a>(pub &'a AtomicBool);

impl Drop for HangUp<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// A conversation that goes on.
pub struct Talk<'a>(&'a AtomicU64);

impl Talk<'_> {
    /// Rounds that it has had.
    pub fn rounds(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Waits until it has had more rounds than these.
    ///
    /// # Panics
    ///
    /// When it has not after `limit`.
    #[track_caller]
    pub fn wait_beyond(&self, rounds: u64, what: &str, limit: Duration) {
        wait_for(&format!("the conversation to go on {what}"), limit, || match self.rounds() {
            now if now > rounds => Ok(()),
            now => Err(format!("{now} rounds, {rounds} are not enough")),
        });
    }
}

/// Does something while a stream converses ([`converse`]).
///
/// # Panics
///
/// When the stream was not whole.
#[track_caller]
pub fn conversing(stream: TcpStream, work: impl FnOnce(&Talk<'_>)) {
    let (going, rounds) = (AtomicBool::new(true), AtomicU64::new(0));
    thread::scope(|scope| {
        let hangs_up = HangUp(&going);
        let talk = scope.spawn(|| converse(stream, |_| going.load(Ordering::Relaxed), &rounds));
        work(&Talk(&rounds));
        drop(hangs_up);
        let (sent, back) = talk.join().expect("no panic").expect("the stream is whole");
        assert_eq!(sent, back);
    });
}

/// Does something while numbered datagrams go by a socket that is connected to an echo server ([`open`]), some two hundred a
/// second. Returns how many were sent, and the numbers of those that did not come back.
pub fn counting(socket: &UdpSocket, work: impl FnOnce()) -> (u32, BTreeSet<u32>) {
    fn received(socket: &UdpSocket, patience: Duration, missing: &mut BTreeSet<u32>) {
        let mut back = [0; 4];
        let _ = socket.set_read_timeout(Some(patience));
        while !missing.is_empty() && socket.recv(&mut back).is_ok() {
            missing.remove(&u32::from_be_bytes(back));
        }
    }
    let going = AtomicBool::new(true);
    thread::scope(|scope| {
        let hangs_up = HangUp(&going);
        let count = scope.spawn(|| {
            let (mut sent, mut missing) = (0, BTreeSet::new());
            while going.load(Ordering::Relaxed) {
                missing.insert(sent);
                // One that does not get out is missing.
                let _ = socket.send(&u32::to_be_bytes(sent));
                sent += 1;
                thread::sleep(Duration::from_millis(5));
                received(socket, Duration::from_micros(1), &mut missing);
            }
            received(socket, Duration::from_secs(2), &mut missing);
            (sent, missing)
        });
        work();
        drop(hangs_up);
        count.join().expect("no panic")
    })
}

/// Sends `count` datagrams of `size` octets to an echo server, a few at a time, and returns how many came back whole.
pub fn datagrams(server: SocketAddr, count: u32, size: usize) -> Result<u32, String> {
    let socket = open(server).map_err(say)?;
    socket.set_read_timeout(Some(Duration::from_secs(2))).map_err(say)?;
    let mut back = vec![0; 65_536];
    let mut whole = 0;
    for first in (0..count).step_by(8) {
        let burst = first..count.min(first + 8);
        for number in burst.clone() {
            let mut datagram = vec![0; size];
            for (index, octet) in datagram.iter_mut().enumerate() {
                *octet = (index as u32).wrapping_mul(31).wrapping_add(number).to_le_bytes()[0];
            }
            socket.send(&datagram).map_err(say)?;
        }
        for _ in burst {
            let Ok(length) = socket.recv(&mut back) else { break };
            let number = u32::from(back[0]);
            let right = back[..length].iter().enumerate().all(|(index, octet)| {
                *octet == (index as u32).wrapping_mul(31).wrapping_add(number).to_le_bytes()[0]
            });
            whole += u32::from(right && length == size);
        }
    }
    Ok(whole)
}

/// A UDP socket to `server`, of its family.
pub fn open(server: SocketAddr) -> io::Result<UdpSocket> {
    let any = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
    socket.connect(server)?;
    Ok(socket)
}

/// Looks an AAAA record up over UDP.
pub fn resolve6(server: SocketAddr, name: &str) -> Result<Vec<Ipv6Addr>, String> {
    let answers = ask(server, name, RecordType::AAAA, false)?;
    Ok(answers
        .into_iter()
        .filter_map(|data| if let RData::AAAA(address) = data { Some(address.0) } else { None })
        .collect())
}

/// Looks an A record up over UDP.
pub fn resolve(server: SocketAddr, name: &str) -> Result<Vec<Ipv4Addr>, String> {
    let answers = ask(server, name, RecordType::A, false)?;
    Ok(answers
        .into_iter()
        .filter_map(|data| if let RData::A(address) = data { Some(address.0) } else { None })
        .collect())
}

/// Asks a name server, over TCP when the answer over UDP is cut or `tcp` says so. Returns the answer's records.
pub fn ask(server: SocketAddr, name: &str, kind: RecordType, tcp: bool) -> Result<Vec<RData>, String> {
    let mut query = Message::new(0x6765, MessageType::Query, OpCode::Query);
    query.metadata.recursion_desired = true;
    query.add_query(Query::query(Name::from_ascii(name).map_err(|error| error.to_string())?, kind));
    let query = query.to_vec().map_err(|error| error.to_string())?;

    let reply = if tcp {
        let mut stream = connect(server)?;
        let length = u16::try_from(query.len()).map_err(|error| error.to_string())?;
        stream.write_all(&length.to_be_bytes()).map_err(say)?;
        stream.write_all(&query).map_err(say)?;
        let mut length = [0; 2];
        stream.read_exact(&mut length).map_err(|error| format!("DNS over TCP: {error}"))?;
        let mut reply = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut reply).map_err(say)?;
        reply
    } else {
        let socket = open(server).map_err(say)?;
        socket.set_read_timeout(Some(Duration::from_secs(5))).map_err(say)?;
        socket.send(&query).map_err(|error| format!("DNS: {error}"))?;
        let mut reply = vec![0; 65_536];
        let length = socket
            .recv(&mut reply)
            .map_err(|error| format!("waiting for {server} to resolve {name}: {error}"))?;
        reply.truncate(length);
        reply
    };
    let reply =
        Message::from_vec(&reply).map_err(|error| format!("the DNS answer does not parse: {error}"))?;
    if reply.metadata.truncation && !tcp {
        return ask(server, name, kind, true);
    }
    if reply.answers.is_empty() {
        return Err(format!("{server} has no answer for {name}: {}", reply.metadata.response_code));
    }
    Ok(reply.answers.into_iter().map(|record| record.data).collect())
}
