//! `[system]`.

use super::Cx;
use crate::reader::Table;
use crate::schema::System;
use crate::value;

/// Longest path of a Unix socket in octets (unix(7): `sun_path` with its closing NUL).
const LONGEST_SOCKET_PATH: usize = 107;

pub(super) fn read(table: &Table, cx: &Cx) -> System {
    let default = System::default();
    let system = System {
        hostname: table.or("hostname", default.hostname, value::label),
        state_dir: table.or("state-dir", default.state_dir, |node| cx.path(node)),
        control: table.or("control", default.control, |node| cx.path(node)),
        ula: table.or("ula", default.ula, value::ula),
    };
    let length = system.control.as_os_str().len();
    if length > LONGEST_SOCKET_PATH {
        let help = "choose a shorter one, such as \"/run/genkan/control.sock\"";
        let message =
            format!("`control`: a socket's path has at most {LONGEST_SOCKET_PATH} octets, this has {length}");
        table.sink.error(&table.span_of("control"), message, help);
    }
    system
}
