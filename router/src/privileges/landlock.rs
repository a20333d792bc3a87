//! Landlock: which files a thread may use. TCP, other processes' signals and abstract sockets of others it may not use at all.

use std::path::PathBuf;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, LandlockStatus, PathBeneath, PathFd, RulesetAttr as _,
    RulesetCreatedAttr as _, Scope, make_bitflags,
};

/// The newest version of the interface whose rights are known here. Older kernels know some of them.
const NEWEST: ABI = ABI::V6;

/// What may be done with the files below a folder, or with one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read them.
    Read,
    /// Read and write files that are there.
    Change,
    /// Read, write, make, rename and remove them.
    Write,
    /// Remove them.
    Remove,
    /// Open devices, and configure them.
    Device,
}

/// Files that a thread may use. What is not there cannot be granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// A folder, with all below it, or a file.
    pub path: PathBuf,
    /// What for.
    pub access: Access,
}

impl Grant {
    /// Grants access to the files below a folder, or to one file.
    pub fn new(access: Access, path: impl Into<PathBuf>) -> Grant {
        Grant { path: path.into(), access }
    }
}

impl Access {
    fn rights(self) -> BitFlags<AccessFs> {
        let read = make_bitflags!(AccessFs::{ReadFile | ReadDir});
        let change = make_bitflags!(AccessFs::{WriteFile | Truncate});
        let remove = make_bitflags!(AccessFs::{RemoveFile | RemoveDir});
        match self {
            Access::Read => read,
            Access::Change => read | change,
            Access::Write => read | change | remove | make_bitflags!(AccessFs::{MakeReg | MakeDir | MakeSym}),
            Access::Remove => remove,
            Access::Device => make_bitflags!(AccessFs::{ReadFile | WriteFile | IoctlDev}),
        }
    }
}

/// Rules that are not in force yet.
pub struct Rules {
    ruleset: landlock::RulesetCreated,
    folders: Vec<PathFd>,
}

/// What keeps a thread from files.
#[derive(Debug)]
pub struct Domain {
    /// The version of the interface that is in force.
    pub abi: i32,
    /// The granted folders. The kernel forgets those of /proc that nobody holds, and what is there later is another one.
    _folders: Vec<PathFd>,
}

impl Rules {
    /// Opens what is granted.
    pub fn open(grants: &[Grant]) -> Result<Rules, String> {
        let paths = grants.iter().filter_map(|grant| Some((PathFd::new(&grant.path).ok()?, grant.access)));
        let paths: Vec<(PathFd, Access)> = paths.collect();
        let ruleset = || {
            let mut ruleset = landlock::Ruleset::default()
                .handle_access(AccessFs::from_all(NEWEST))?
                .handle_access(AccessNet::from_all(NEWEST))?
                .scope(Scope::from_all(NEWEST))?
                .create()?;
            for (folder, access) in &paths {
                ruleset = ruleset.add_rule(PathBeneath::new(folder, access.rights()))?;
            }
            Ok(ruleset)
        };
        let ruleset = ruleset().map_err(|error: landlock::RulesetError| error.to_string())?;
        Ok(Rules { ruleset, folders: paths.into_iter().map(|(folder, _)| folder).collect() })
    }

    /// Puts them in force for this thread.
    pub fn restrict(self) -> Result<Domain, String> {
        let status = self.ruleset.restrict_self().map_err(|error| error.to_string())?;
        match status.landlock {
            LandlockStatus::NotImplemented => Err("this kernel was built without it".into()),
            LandlockStatus::NotEnabled => Err("it was not enabled when this kernel was started".into()),
            LandlockStatus::Available { effective_abi, .. } => {
                Ok(Domain { abi: (effective_abi.min(NEWEST)) as i32, _folders: self.folders })
            }
        }
    }
}
