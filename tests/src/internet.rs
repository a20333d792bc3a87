//! The far side: a host with a web server, echo servers and a name server.
//!
//! | where | what |
//! |---|---|
//! | TCP 80 `GET /address` | the address and port that the client came from |
//! | TCP 80 `GET /blob/N` | N octets of the [`Blob`] |
//! | TCP 80 `POST /hash` | the SHA-1 of the body, in hex |
//! | TCP 80 `POST /count` | the number of octets of the body |
//! | TCP 7, UDP 7 | echo |
//! | UDP 9 | the address and port that the datagram came from |
//! | UDP and TCP 53 | names under `example.test`, and `pool.ntp.org`, this host (dnsmasq) |
//!
//! All of it over IPv4 and IPv6.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use sha1::{Digest, Sha1};

use crate::lab::WEB6;
use crate::netns::{Namespace, stop};
use crate::wait_for;

/// Runs the services of the far side until dropped.
#[derive(Debug)]
pub struct Internet {
    ended: Arc<AtomicBool>,
    _echo: Echo,
    names: Child,
}

impl Internet {
    /// Serves in `namespace`, on every address it has. `www.example.test` is `web` and [`WEB6`], and `big.example.test`
    /// has texts that do not fit in a datagram.
    #[track_caller]
    pub fn start(namespace: &Namespace, web: Ipv4Addr) -> Internet {
        let ended = Arc::new(AtomicBool::new(false));
        let (tcp, origin) = namespace.inside(|| {
            // Takes both families.
            let any = Ipv6Addr::UNSPECIFIED;
            let tcp = TcpListener::bind((any, 80)).expect("port 80 of a new namespace is free");
            (tcp, UdpSocket::bind((any, 9)).expect("port 9 of a new namespace is free"))
        });
        accept(tcp, &ended, web_server);
        answer(origin, &ended, |_, from| plain(from).to_string().into_bytes());

        let mut command = namespace.command("dnsmasq");
        command.args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
            "--user=root",
        ]);
        command.args(["--pid-file=", "--log-facility=-", "--bind-dynamic", "--except-interface=lo"]);
        command.arg(format!("--address=/www.example.test/{web}"));
        command.arg(format!("--address=/www.example.test/{WEB6}"));
        command.arg(format!("--address=/pool.ntp.org/{web}"));
        for number in 0..12 {
            command.arg(format!("--txt-record=big.example.test,{number}{}", "x".repeat(200)));
        }
        let names = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start dnsmasq: {error}; `make setup` installs it"));
        let internet = Internet { ended, _echo: Echo::start(namespace), names };
        wait_for("dnsmasq to serve", Duration::from_secs(10), || {
            let server = SocketAddr::from((web, 53));
            namespace.inside(|| crate::client::resolve(server, "www.example.test.")).map(|_| ())
        });
        internet
    }
}

impl Drop for Internet {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // `ip netns exec` becomes dnsmasq: the child is dnsmasq itself.
        stop(&mut self.names, Duration::from_secs(2));
    }
}

/// Serves TCP and UDP echo in a namespace until the result is dropped.
#[derive(Debug)]
pub struct Echo(Arc<AtomicBool>);

impl Echo {
    /// Serves on port 7 of every address.
    #[track_caller]
    pub fn start(namespace: &Namespace) -> Echo {
        let ended = Arc::new(AtomicBool::new(false));
        let (tcp, udp) = namespace.inside(|| {
            // Takes both families.
            let any = Ipv6Addr::UNSPECIFIED;
            let tcp = TcpListener::bind((any, 7)).expect("port 7 of a new namespace is free");
            (tcp, UdpSocket::bind((any, 7)).expect("port 7 of a new namespace is free"))
        });
        accept(tcp, &ended, echo_server);
        answer(udp, &ended, |datagram, _| datagram.to_vec());
        Echo(ended)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Octets of which a repetition, a loss or a swap anywhere changes the hash of the whole.
#[derive(Debug, Clone)]
pub struct Blob {
    block: Arc<Vec<u8>>,
}

impl Default for Blob {
    fn default() -> Self {
        // A block with a prime length, so that no segment size divides it; xorshift (Marsaglia 2003).
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut octet = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[0]
        };
        Blob { block: Arc::new((0..1_000_003).map(|_| octet()).collect()) }
    }
}

impl Blob {
    /// Writes the first `length` octets.
    pub fn write(&self, length: u64, to: &mut impl Write) -> io::Result<()> {
        let mut left = length;
        while left > 0 {
            let part = usize::try_from(left).unwrap_or(usize::MAX).min(self.block.len());
            to.write_all(&self.block[..part])?;
            left -= part as u64;
        }
        Ok(())
    }

    /// The SHA-1 of the first `length` octets, in hex.
    pub fn hash(&self, length: u64) -> String {
        let mut hash = Hash::default();
        self.write(length, &mut hash).expect("hashing does not fail");
        hash.hex()
    }
}

/// A SHA-1 that can be written to.
#[derive(Default)]
pub struct Hash(Sha1);

impl Hash {
    /// The hash, in hex.
    pub fn hex(self) -> String {
        self.0.finalize().iter().map(|octet| format!("{octet:02x}")).collect()
    }
}

impl Write for Hash {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.update(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn accept(listener: TcpListener, ended: &Arc<AtomicBool>, serve: fn(TcpStream) -> io::Result<()>) {
    let ended = Arc::clone(ended);
    listener.set_nonblocking(true).expect("a listener can be non-blocking");
    thread::spawn(move || {
        while !ended.load(Ordering::Relaxed) {
            match listener.accept() {
                // A client that breaks off is the client's matter.
                Ok((stream, _)) => drop(thread::spawn(move || serve(stream))),
                Err(_) => thread::sleep(Duration::from_millis(5)),
            }
        }
    });
}

fn answer(socket: UdpSocket, ended: &Arc<AtomicBool>, reply: fn(&[u8], SocketAddr) -> Vec<u8>) {
    let ended = Arc::clone(ended);
    socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a socket takes a timeout");
    thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        while !ended.load(Ordering::Relaxed) {
            if let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(&reply(&buffer[..length], from), from);
            }
        }
    });
}

/// An IPv4 address as such, not inside an IPv6 one.
fn plain(from: SocketAddr) -> SocketAddr {
    SocketAddr::new(from.ip().to_canonical(), from.port())
}

fn patient(stream: &TcpStream) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.set_write_timeout(Some(Duration::from_secs(30)))
}

fn echo_server(mut stream: TcpStream) -> io::Result<()> {
    patient(&stream)?;
    io::copy(&mut stream.try_clone()?, &mut stream).map(|_| ())
}

fn web_server(mut stream: TcpStream) -> io::Result<()> {
    patient(&stream)?;
    let from = plain(stream.peer_addr()?).to_string();
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let header = header.trim().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let path = request.split_whitespace().nth(1).unwrap_or_default();
    let number = path.strip_prefix("/blob/").and_then(|number| number.parse().ok());
    if let Some(length) = number {
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")?;
        return Blob::default().write(length, &mut stream);
    }
    let body = match path {
        "/address" => from,
        "/count" => io::copy(&mut reader.take(length), &mut io::sink())?.to_string(),
        "/hash" => {
            let mut hash = Hash::default();
            io::copy(&mut reader.take(length), &mut hash)?;
            hash.hex()
        }
        _ => {
            return write!(
                stream,
                "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
        }
    };
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}
