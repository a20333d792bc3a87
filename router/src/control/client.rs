//! The client's side of the control socket: plain blocking I/O, one request to a connection.

use std::fmt;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Reply, Request};
use crate::capture::Wanted;
use crate::explain::Question;

/// Longest wait for a gateway's answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// Why a running gateway could not be asked.
#[derive(Debug)]
pub enum ClientError {
    /// Nobody answers on the socket.
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The gateway refused the request.
    Refused(String),
    /// The conversation broke off.
    Broken(io::Error),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Unreachable { path, error } => match error.kind() {
                io::ErrorKind::PermissionDenied => {
                    write!(
                        f,
                        "{}: you may not talk to this gateway; run the command as its user (sudo)",
                        path.display()
                    )
                }
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    write!(f, "no gateway is running: nobody answers on {}", path.display())
                }
                _ => write!(f, "{}: {error}", path.display()),
            },
            ClientError::Refused(why) => f.write_str(why),
            ClientError::Broken(error) if error.kind() == io::ErrorKind::WouldBlock => {
                write!(f, "the gateway has not answered within {} s", PATIENCE.as_secs())
            }
            ClientError::Broken(error) => write!(f, "the gateway broke off the conversation: {error}"),
        }
    }
}

impl ClientError {
    /// True when no gateway is there to be asked.
    pub fn is_absent(&self) -> bool {
        matches!(self, ClientError::Unreachable { error, .. }
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused))
    }
}

impl std::error::Error for ClientError {}

impl From<io::Error> for ClientError {
    fn from(error: io::Error) -> Self {
        ClientError::Broken(error)
    }
}

fn ask(path: &Path, request: &Request) -> Result<(Reply, BufReader<UnixStream>), ClientError> {
    let stream = UnixStream::connect(path)
        .map_err(|error| ClientError::Unreachable { path: path.to_owned(), error })?;
    converse(stream, request)
}

fn converse(
    mut stream: UnixStream,
    request: &Request,
) -> Result<(Reply, BufReader<UnixStream>), ClientError> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(request).map_err(io::Error::from)?;
    line.push(b'\n');
    // Who serves enough others says so and is gone before it has heard anything.
    let written = stream.write_all(&line);
    let mut read = BufReader::new(stream);
    let mut line = String::new();
    let heard = read.read_line(&mut line);
    if line.is_empty() {
        written?;
    }
    heard?;
    // A capture may be silent for as long as the line is.
    read.get_ref().set_read_timeout(None)?;
    match serde_json::from_str(&line).map_err(io::Error::from)? {
        Reply::Error(why) => Err(ClientError::Refused(why)),
        reply => Ok((reply, read)),
    }
}

/// Asks the gateway at `path` for its status.
pub fn status(path: &Path) -> Result<serde_json::Value, ClientError> {
    match ask(path, &Request::Status)? {
        (Reply::Status(status), _) => Ok(status),
        _ => Err(ClientError::Refused("the gateway answered something else".into())),
    }
}

/// Asks the gateway at `path` what is wrong: for a person, and for a script.
pub fn explain(path: &Path, question: &Question) -> Result<(String, serde_json::Value), ClientError> {
    match ask(path, &Request::Explain(question.clone()))? {
        (Reply::Explained(text, value), _) => Ok((text, value)),
        _ => Err(ClientError::Refused("the gateway answered something else".into())),
    }
}

/// Has the gateway at `path` end, and waits until it has.
pub fn stop(path: &Path, flush: bool) -> Result<(), ClientError> {
    match ask(path, &Request::Stop { flush })? {
        (Reply::Stopped, _) => {}
        _ => return Err(ClientError::Refused("the gateway answered something else".into())),
    }
    // The next one must not find it on its socket.
    while UnixStream::connect(path).is_ok() {
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Asks the gateway at `path` for what its ring holds, as a pcapng file.
pub fn ring(path: &Path) -> Result<BufReader<UnixStream>, ClientError> {
    match ask(path, &Request::Ring)? {
        (Reply::Capture, stream) => Ok(stream),
        _ => Err(ClientError::Refused("the gateway answered something else".into())),
    }
}

/// Asks the gateway at `path` for a capture; what can be read from the result is a pcapng file.
pub fn capture(path: &Path, wanted: &Wanted) -> Result<BufReader<UnixStream>, ClientError> {
    match ask(path, &Request::Capture(wanted.clone()))? {
        (Reply::Capture, stream) => Ok(stream),
        _ => Err(ClientError::Refused("the gateway answered something else".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_that_refuses_before_it_is_asked_is_heard() {
        let (stream, mut gateway) = UnixStream::pair().unwrap();
        let mut line = serde_json::to_vec(&Reply::Error("there are others".into())).unwrap();
        line.push(b'\n');
        gateway.write_all(&line).unwrap();
        drop(gateway);
        let error = converse(stream, &Request::Status).unwrap_err();
        assert!(error.to_string().contains("there are others"), "{error}");
        let (stream, _) = UnixStream::pair().unwrap();
        let error = converse(stream, &Request::Status).unwrap_err();
        assert!(matches!(error, ClientError::Broken(_)), "{error}");
    }
}
