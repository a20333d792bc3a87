//! What the client on the LAN does, run inside its namespace.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RData, RecordType};

use super::Step;
use super::far;
use super::lab::{FAR_ADDRESS, FAR_ADDRESS_V6, MIB, ROUTER_ADDRESS};

/// Longest silence of the network before a step gives up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks the router for the far side's name.
pub(super) fn resolve() -> Step {
    ask(far::NAME, RecordType::A)
        .and_then(|ipv4| Ok((ipv4, ask(far::NAME, RecordType::AAAA)?)))
        .map(|(ipv4, ipv6)| {
            format!("{} is {ipv4} and {ipv6}, says the router at {ROUTER_ADDRESS}", far::NAME)
        })
        .map_err(|error| format!("no answer from the router's DNS: {error}"))
}

fn ask(name: &str, kind: RecordType) -> io::Result<IpAddr> {
    let mut query = Message::new(0x6b61, MessageType::Query, OpCode::Query);
    query.metadata.recursion_desired = true;
    query.add_query(Query::query(Name::from_ascii(name).map_err(io::Error::other)?, kind));
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect((ROUTER_ADDRESS, 53))?;
    socket.send(&query.to_vec().map_err(io::Error::other)?)?;
    let mut buffer = [0; 1500];
    let len = socket.recv(&mut buffer)?;
    let answer = Message::from_vec(&buffer[..len]).map_err(io::Error::other)?;
    answer
        .answers
        .iter()
        .find_map(|record| match &record.data {
            RData::A(address) => Some(IpAddr::V4(address.0)),
            RData::AAAA(address) => Some(IpAddr::V6(address.0)),
            _ => None,
        })
        .ok_or_else(|| {
            io::Error::other(format!("the answer holds no address ({})", answer.metadata.response_code))
        })
}

/// Fetches a page over IPv6.
pub(super) fn fetch_v6(size: u64) -> Step {
    transfer(FAR_ADDRESS_V6.into(), size, |stream| download_on(stream, size))
        .map(|line| format!("{FAR_ADDRESS_V6} over IPv6, {line}"))
}

/// Downloads `size` octets from the far side.
pub(super) fn download(size: u64) -> Step {
    transfer(FAR_ADDRESS.into(), size, |stream| download_on(stream, size))
}

fn download_on(stream: &mut TcpStream, size: u64) -> io::Result<u64> {
    write!(stream, "GET /{size} HTTP/1.1\r\nHost: {}\r\n\r\n", far::NAME)?;
    Body::read_head(stream)?.drain()
}

/// Uploads `size` octets to the far side, which tells how many it got.
pub(super) fn upload(size: u64) -> Step {
    transfer(FAR_ADDRESS.into(), size, |stream| {
        write!(stream, "PUT / HTTP/1.1\r\nHost: {}\r\nContent-Length: {size}\r\n\r\n", far::NAME)?;
        io::copy(&mut io::repeat(b'g').take(size), stream)?;
        let mut body = Body::read_head(stream)?;
        let mut came = String::new();
        body.rest(&mut came)?;
        came.trim().parse().map_err(io::Error::other)
    })
}

fn transfer(to: IpAddr, size: u64, exchange: impl FnOnce(&mut TcpStream) -> io::Result<u64>) -> Step {
    let begun = Instant::now();
    let came = TcpStream::connect_timeout(&SocketAddr::new(to, 80), PATIENCE)
        .and_then(|mut stream| {
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            exchange(&mut stream)
        })
        .map_err(|error| format!("the transfer broke off: {error}"))?;
    if came != size {
        return Err(format!("{came} of {size} octets arrived"));
    }
    let took = begun.elapsed().as_secs_f64();
    let rate = size as f64 * 8.0 / took / 1e6;
    Ok(format!("{} MiB in {took:.2} s: {rate:.0} Mbit/s", size / MIB))
}

/// The body of an HTTP response.
struct Body<'a> {
    stream: &'a mut TcpStream,
    begun: Vec<u8>,
}

impl<'a> Body<'a> {
    fn read_head(stream: &'a mut TcpStream) -> io::Result<Self> {
        let mut head = Vec::new();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let len = stream.read(&mut buffer)?;
            if len == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
            head.extend_from_slice(&buffer[..len]);
            if let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
                let begun = head.split_off(end + 4);
                if !head.starts_with(b"HTTP/1.1 200") {
                    return Err(io::Error::other("the web server refused"));
                }
                return Ok(Body { stream, begun });
            }
        }
    }

    fn drain(&mut self) -> io::Result<u64> {
        Ok(self.begun.len() as u64 + io::copy(self.stream, &mut io::sink())?)
    }

    fn rest(&mut self, text: &mut String) -> io::Result<()> {
        text.push_str(&String::from_utf8_lossy(&self.begun));
        self.stream.read_to_string(text)?;
        Ok(())
    }
}
