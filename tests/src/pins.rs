//! What gateways of tests have left pinned in the kernel.

use std::fs;
use std::path::{Path, PathBuf};

use crate::netns::alive;

const PINS: &str = "/sys/fs/bpf/genkan";
/// Where labs keep their folders; a process and a number follow.
pub const FOLDERS: &str = "/run/genkan-test-";

/// Takes away what gateways have left whose lab has ended.
pub fn sweep() {
    for entry in fs::read_dir(PINS).into_iter().flatten().flatten() {
        let Some(state) = entry.file_name().to_str().and_then(state_folder) else { continue };
        let Some(rest) = of_a_test(&state) else { continue };
        let owner = rest.split('-').next().unwrap_or_default();
        let dead = owner.parse::<u32>().is_ok_and(|process| !alive(process));
        if dead || !Path::new(&state).exists() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// What follows the beginning of the name of a test's folder: the number of its process first.
fn of_a_test(state: &Path) -> Option<&str> {
    let temporary = std::env::temp_dir().join("genkan-");
    let state = state.to_str()?;
    state.strip_prefix(FOLDERS).or_else(|| state.strip_prefix(temporary.to_str()?))
}

/// The state folder that a folder of pins is named after.
fn state_folder(name: &str) -> Option<PathBuf> {
    let mut pieces = name.split('%');
    let mut path = format!("/{}", pieces.next()?.replace('-', "/"));
    for piece in pieces {
        let (code, rest) = piece.split_at_checked(2)?;
        path.push(char::from(u8::from_str_radix(code, 16).ok()?));
        path += &rest.replace('-', "/");
    }
    Some(PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_folder_of_pins_leads_back_to_the_state_folder() {
        let name = "run-genkan%2dtest%2d12%2d0-router%2estate";
        assert_eq!(state_folder(name), Some("/run/genkan-test-12-0/router.state".into()));
        assert_eq!(state_folder("var-lib-genkan"), Some("/var/lib/genkan".into()));
        assert_eq!(state_folder("a%2"), None);
        assert_eq!(of_a_test(Path::new("/run/genkan-test-12-0/router.state")), Some("12-0/router.state"));
        assert_eq!(of_a_test(&std::env::temp_dir().join("genkan-12-crash")), Some("12-crash"));
        assert_eq!(of_a_test(Path::new("/var/lib/genkan")), None);
    }
}
