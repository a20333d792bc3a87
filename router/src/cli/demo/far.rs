//! The far side of the Internet: a web server and a name server, a few lines each, for the demo's client to reach.

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;

use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::{RData, Record, RecordType, rdata};

/// The name that the name server knows.
pub(super) const NAME: &str = "www.example.net.";

/// Binds both servers to the addresses and serves on threads that live as long as the program.
pub(super) fn serve(ipv4: Ipv4Addr, ipv6: Ipv6Addr) -> io::Result<()> {
    for address in [IpAddr::V4(ipv4), IpAddr::V6(ipv6)] {
        let web = TcpListener::bind(SocketAddr::new(address, 80))?;
        thread::Builder::new().name("far-web".into()).spawn(move || {
            for stream in web.incoming().flatten() {
                // A client that goes away in the middle shows in the client's own step.
                thread::spawn(move || answer_web(&stream).ok());
            }
        })?;
        let names = UdpSocket::bind(SocketAddr::new(address, 53))?;
        thread::Builder::new().name("far-dns".into()).spawn(move || {
            let mut buffer = [0; 1500];
            while let Ok((len, client)) = names.recv_from(&mut buffer) {
                if let Some(answer) = answer_name(&buffer[..len], ipv4, ipv6) {
                    // As above.
                    let _ = names.send_to(&answer, client);
                }
            }
        })?;
    }
    Ok(())
}

/// `GET /N` gives N octets; `PUT` swallows its body and answers with the number of octets that came.
fn answer_web(stream: &TcpStream) -> io::Result<()> {
    let mut read = BufReader::new(stream);
    let mut write = stream;
    let mut request = String::new();
    read.read_line(&mut request)?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        if read.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut words = request.split_whitespace();
    match (words.next(), words.next().and_then(|path| path.strip_prefix('/')).map(str::parse::<u64>)) {
        (Some("GET"), Some(Ok(size))) => {
            write!(write, "HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n")?;
            io::copy(&mut io::repeat(b'g').take(size), &mut write)?;
        }
        (Some("PUT"), _) => {
            let came = io::copy(&mut read.take(length), &mut io::sink())?.to_string();
            write!(
                write,
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{came}",
                came.len()
            )?;
        }
        _ => write.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?,
    }
    Ok(())
}

/// The answer to a query: the server's own addresses for [`NAME`], nothing for other names.
fn answer_name(query: &[u8], ipv4: Ipv4Addr, ipv6: Ipv6Addr) -> Option<Vec<u8>> {
    let query = Message::from_vec(query).ok()?;
    let question = query.queries.first()?.clone();
    let mut answer = Message::response(query.metadata.id, query.metadata.op_code);
    answer.metadata.message_type = MessageType::Response;
    answer.metadata.authoritative = true;
    answer.metadata.recursion_desired = query.metadata.recursion_desired;
    let known = question.name().to_ascii().eq_ignore_ascii_case(NAME);
    if !known {
        answer.metadata.response_code = ResponseCode::NXDomain;
    } else {
        let data = match question.query_type() {
            RecordType::A => Some(RData::A(rdata::A(ipv4))),
            RecordType::AAAA => Some(RData::AAAA(rdata::AAAA(ipv6))),
            _ => None,
        };
        answer.add_answers(data.map(|data| Record::from_rdata(question.name().clone(), 60, data)));
    }
    answer.add_query(question);
    answer.to_vec().ok()
}
