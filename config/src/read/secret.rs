//! Files that hold a secret: their mode, their one line.

use std::path::Path;

use genkan_netstack::secret::Secret;

use super::Cx;
use crate::host::HostFile;
use crate::reader::Node;

/// Longest password in octets: the length that PAP can carry (RFC 1334 §2.2.1).
pub(super) const LONGEST_PASSWORD: usize = 255;

/// The secret in the file that `node` names: its one line, without the line's end.
pub(super) fn load(node: Node, cx: &Cx) -> Option<Secret> {
    let path = cx.path(node)?;
    let mut content = read(node, &path, cx)?.content;
    if content.last() == Some(&b'\n') {
        content.pop();
        if content.last() == Some(&b'\r') {
            content.pop();
        }
    }
    let shown = path.display();
    let key = node.key;
    let octets = content.len();
    if content.is_empty() {
        return node.fail(format!("`{key}`: {shown} is empty"), "write the secret into it, on one line");
    }
    if content.contains(&b'\n') {
        let message = format!("`{key}`: {shown} has several lines");
        return node.fail(message, "it may hold nothing but the secret, on one line");
    }
    if octets > LONGEST_PASSWORD {
        let help = format!("a password has at most {LONGEST_PASSWORD}; is it the right file?");
        return node.fail(format!("`{key}`: {shown} holds {octets} octets"), help);
    }
    Some(Secret::new(content))
}

/// A file that only its owner may read.
pub(super) fn read(node: Node, path: &Path, cx: &Cx) -> Option<HostFile> {
    let shown = path.display();
    let key = node.key;
    let file = match cx.host.read(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return node.fail(
                format!("`{key}`: there is no file {shown}"),
                format!("make it, then: chmod 600 {shown}"),
            );
        }
        Err(error) => {
            let help = "it must be a file that the user who runs genkan may read";
            return node.fail(format!("`{key}`: cannot read {shown}: {error}"), help);
        }
    };
    if !matches!(file.mode, 0o600 | 0o400) {
        let message =
            format!("`{key}`: {shown} has mode {:04o}; a file with secrets has mode 0600", file.mode);
        // Complained about, yet read on: its content may be wrong too.
        node.fail::<()>(message, format!("chmod 600 {shown}"));
    }
    Some(file)
}
