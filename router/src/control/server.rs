//! The server's side of the control socket.

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;
use tracing::warn;

use super::{Reply, Request};
use crate::capture::{Interface, Listener, Points, Writer};
use crate::worker::{Command, End, Handle};

/// Longest request line, in octets.
const LONGEST_REQUEST: u64 = 64 * 1024;
/// Clients at a time.
const CLIENTS: usize = 64;
/// Longest wait for a client to say what it wants, and to take the answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Octets of a capture that are written at once.
const LARGEST_WRITE: usize = 256 * 1024;

/// Listens on the control socket and removes it when dropped.
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
}

impl Server {
    /// Makes the socket, which only the program's own user may use. A socket that a dead run left is replaced; one that
    /// a live gateway answers on is an error. Do this before anything of the machine is touched: what the other gateway
    /// uses is its own. A runtime must be entered.
    pub fn bind(path: &Path) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            std::fs::DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
        }
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                format!("a gateway is already running on {}", path.display()),
            ));
        }
        match std::fs::symlink_metadata(path) {
            Ok(there) if there.file_type().is_socket() => std::fs::remove_file(path)?,
            Ok(_) => {
                let text = "it is there, and is not a socket; name another place as `control`";
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Server { listener, path: path.to_owned() })
    }

    /// Serves clients until the program ends. `points` are where captures look.
    pub async fn serve(&self, handle: &Handle, points: &Points) {
        let places = Arc::new(Semaphore::new(CLIENTS));
        loop {
            match self.listener.accept().await {
                Ok((mut stream, _)) => {
                    let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                        let text =
                            format!("{CLIENTS} others are served already; try again when one has ended");
                        // A fresh socket takes this much at once.
                        let _ = timeout(Duration::ZERO, say(&mut stream, &Reply::Error(text))).await;
                        continue;
                    };
                    let (handle, points) = (handle.clone(), points.clone());
                    tokio::task::spawn_local(async move {
                        // A client that goes away in the middle is no fault of ours.
                        let _ = answer(stream, &handle, &points).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    warn!("control socket: cannot accept a client ({error})");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn answer(stream: UnixStream, handle: &Handle, points: &Points) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read.take(LONGEST_REQUEST));
    let mut line = String::new();
    timeout(PATIENCE, read.read_line(&mut line)).await??;
    match serde_json::from_str(&line) {
        Ok(Request::Status) => {
            let (sender, receiver) = oneshot::channel();
            let sent = handle.send(Command::Status(sender));
            let reply = match (sent, receiver.await) {
                (Ok(()), Ok(status)) => Reply::Status(serde_json::to_value(status)?),
                _ => Reply::Error("the gateway is stopping".into()),
            };
            say(&mut write, &reply).await
        }
        Ok(Request::Explain(question)) => {
            let (sender, receiver) = oneshot::channel();
            let sent = handle.send(Command::Explain(question, sender));
            let reply = match (sent, receiver.await) {
                (Ok(()), Ok(Ok(answer))) => {
                    Reply::Explained(answer.to_string(), serde_json::to_value(answer)?)
                }
                (Ok(()), Ok(Err(text))) => Reply::Error(text),
                _ => Reply::Error("the gateway is stopping".into()),
            };
            say(&mut write, &reply).await
        }
        Ok(Request::Stop { flush }) => {
            let (sender, receiver) = oneshot::channel();
            let end = if flush { End::Flush } else { End::Leave };
            let sent = handle.send(Command::Stop(end, sender));
            let reply = match (sent, receiver.await) {
                (Ok(()), Ok(())) => Reply::Stopped,
                _ => Reply::Error("the gateway is stopping".into()),
            };
            say(&mut write, &reply).await
        }
        Ok(Request::Capture(wanted)) => {
            let selection = match points.select(&wanted) {
                Ok(selection) => selection,
                Err(why) => return say(&mut write, &Reply::Error(why)).await,
            };
            let (interfaces, remarks) = (selection.interfaces.clone(), selection.remarks());
            let (tap, listener) = selection.listen();
            if handle.send(Command::Record(tap)).is_err() {
                return say(&mut write, &Reply::Error("the gateway is stopping".into())).await;
            }
            say(&mut write, &Reply::Capture).await?;
            let mut end = [0; 1];
            tokio::select! {
                done = send_capture(listener, &interfaces, &remarks, &mut write) => done,
                // The client says nothing more; what comes is the end of the connection.
                _ = read.read(&mut end) => Ok(()),
            }
        }
        Ok(Request::Ring) => {
            let (sender, receiver) = oneshot::channel();
            let sent = handle.send(Command::Ring(sender));
            let snapshot = match (sent, receiver.await) {
                (Ok(()), Ok(Some(snapshot))) => snapshot,
                (Ok(()), Ok(None)) => {
                    let why = "the ring is off: `[capture] ring` of the configuration is 0".to_owned();
                    return say(&mut write, &Reply::Error(why)).await;
                }
                _ => return say(&mut write, &Reply::Error("the gateway is stopping".into())).await,
            };
            let mut file = Vec::new();
            snapshot.write(&mut file, "saved because it was asked for")?;
            say(&mut write, &Reply::Capture).await?;
            write.write_all(&file).await
        }
        Err(error) => say(&mut write, &Reply::Error(format!("not a request: {error}"))).await,
    }
}

async fn say(write: &mut (impl AsyncWrite + Unpin), reply: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    timeout(PATIENCE, write.write_all(&line)).await?
}

/// Writes every frame that comes as pcapng, until the gateway stops or the client goes.
async fn send_capture(
    mut listener: Listener,
    interfaces: &[Interface],
    remarks: &[String],
    write: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    let mut file = Writer::new(Vec::new(), interfaces, remarks)?;
    loop {
        let written = std::mem::take(file.get_mut());
        write.write_all(&written).await?;
        match listener.next().await {
            Some(packet) => file.write(&packet)?,
            None => return Ok(()),
        }
        // What waits goes along, so that a flood costs few system calls.
        while file.get_mut().len() < LARGEST_WRITE
            && let Some(packet) = listener.try_next()
        {
            file.write(&packet)?;
        }
    }
}
