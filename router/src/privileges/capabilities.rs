//! Capabilities: each thread keeps those of its role, of those that it has.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;

use rustix::process::geteuid;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities,
};

use super::{Access, Grant, Role};

/// What a thread needs. One that writes where another user owns the folder has to pass by its mode.
pub fn needed(role: Role, grants: &[Grant]) -> CapabilitySet {
    let own = match role {
        // Secrets belong to whoever wrote them, and are read again.
        Role::Control => CapabilitySet::DAC_READ_SEARCH,
        // Cards that come back are taken again; the programs that keep the host off them are loaded again.
        Role::Data => {
            CapabilitySet::NET_ADMIN | CapabilitySet::NET_RAW | CapabilitySet::BPF | CapabilitySet::PERFMON
        }
        Role::Watch | Role::State | Role::Ring => CapabilitySet::empty(),
    };
    let user = geteuid().as_raw();
    let is_foreign = |grant: &&Grant| {
        matches!(grant.access, Access::Write | Access::Remove)
            && fs::metadata(&grant.path).is_ok_and(|folder| folder.uid() != user)
    };
    match grants.iter().find(is_foreign) {
        Some(_) => own | CapabilitySet::DAC_OVERRIDE,
        None => own,
    }
}

/// Keeps these and gives up all others, for good. Returns the names of those that are left.
pub fn keep(needed: CapabilitySet) -> io::Result<Vec<String>> {
    let have = capabilities(None)?.permitted;
    let kept = have & needed;
    // Nothing that this thread could start is to get any.
    if have.contains(CapabilitySet::SETPCAP) {
        for number in 0..u64::BITS {
            let capability = CapabilitySet::from_bits_retain(1 << number);
            match capability_is_in_bounding_set(capability) {
                Ok(true) => remove_capability_from_bounding_set(capability)?,
                Ok(false) => {}
                // The kernel knows no more.
                Err(_) => break,
            }
        }
    }
    clear_ambient_capability_set()?;
    set_capabilities(
        None,
        CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() },
    )?;
    Ok(names(capabilities(None)?.permitted))
}

/// The names of all that this thread has.
pub fn all() -> Vec<String> {
    capabilities(None).map_or_else(|_| Vec::new(), |sets| names(sets.permitted))
}

fn names(set: CapabilitySet) -> Vec<String> {
    set.iter_names().map(|(name, _)| format!("CAP_{name}")).collect()
}
