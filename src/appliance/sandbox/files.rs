//! Landlock: the files that a process can still reach, whatever their modes say.
//!
//! Rules stand on what is there when they are made. A file that is replaced later (by renaming another over it) is not
//! reached any more, a file in a folder is; so what changes while we run has to be in a folder that is listed.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, LandlockStatus, PathBeneath, PathFd, RestrictionStatus,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope, make_bitflags, path_beneath_rules,
};

/// The newest level that was tried with these rules. What a newer kernel could forbid besides stays allowed.
const LEVEL: ABI = ABI::V7;

/// Read only, each if it is there. Nothing here is a secret; `/etc` as a whole would be.
const READ: &[&str] = &[
    // how names are looked up, and what time it is here
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/localtime",
    "/usr/share/zoneinfo",
    // whom to trust when we call somebody
    "/etc/ssl/certs",
    "/etc/pki/tls/certs",
    "/etc/pki/ca-trust/extracted",
    "/usr/share/ca-certificates",
    // how much memory and how many processors there are, and ourselves
    "/proc/self",
    "/proc/meminfo",
    "/proc/cpuinfo",
    "/proc/stat",
    "/proc/sys/vm/overcommit_memory",
    "/proc/sys/net/core/somaxconn",
    "/sys/devices/system/cpu",
    "/sys/fs/cgroup",
    "/sys/kernel/mm/transparent_hugepage",
    "/dev/urandom",
    "/dev/random",
    // the box says there what state it is in
    "/run/homepost",
];

/// What a store does in the data folder. No links, devices, pipes; nothing is executed, there or anywhere.
fn write() -> BitFlags<AccessFs> {
    make_bitflags!(AccessFs::{
        ReadFile | ReadDir | WriteFile | Truncate | MakeReg | MakeDir | MakeSock | RemoveFile | RemoveDir | Refer
    })
}

pub(super) fn only(data: &Path, backups: &[PathBuf]) -> Result<String, String> {
    match restrict(data, backups) {
        Ok(RestrictionStatus { landlock: LandlockStatus::NotImplemented | LandlockStatus::NotEnabled, .. }) => {
            Err("this kernel has no Landlock: other files are guarded by their modes alone".to_owned())
        }
        Ok(RestrictionStatus { ruleset: RulesetStatus::NotEnforced, .. }) => {
            Err("this kernel's Landlock is too old: other files are guarded by their modes alone".to_owned())
        }
        Ok(RestrictionStatus { ruleset: RulesetStatus::FullyEnforced, .. }) => {
            Ok("no files but the data folder's and a stick's".to_owned())
        }
        Ok(RestrictionStatus { landlock: LandlockStatus::Available { effective_abi, .. }, .. }) => Ok(format!(
            "no files but the data folder's and a stick's (as far as Landlock {} of this kernel goes)",
            effective_abi as i32
        )),
        Err(error) => Err(format!("Landlock: {error}: other files are guarded by their modes alone")),
    }
}

fn restrict(data: &Path, backups: &[PathBuf]) -> Result<RestrictionStatus, Box<dyn std::error::Error>> {
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(LEVEL))?
        .scope(Scope::from_all(LEVEL))?
        .create()?
        .add_rule(PathBeneath::new(PathFd::new(data)?, write()))?;
    // One that is not there costs no more than itself.
    for folder in backups.iter().filter_map(|folder| PathFd::new(folder).ok()) {
        rules = rules.add_rule(PathBeneath::new(folder, write()))?;
    }
    let read = READ.iter().map(PathBuf::from).chain(folder_of_link("/etc/resolv.conf"));
    rules = rules.add_rules(path_beneath_rules(read, AccessFs::ReadFile | AccessFs::ReadDir))?;
    rules = rules.add_rules(path_beneath_rules(["/dev/null"], AccessFs::ReadFile | AccessFs::WriteFile))?;
    // On a box. What is mounted in it later is reached, since the rule stands on the folder above.
    rules = rules.add_rules(path_beneath_rules([crate::appliance::machine::stick::folder()], write()))?;
    Ok(rules.restrict_self()?)
}

/// `/etc/resolv.conf` is often a link to a file that another program replaces, in a folder of its own under `/run`.
fn folder_of_link(path: &str) -> Option<PathBuf> {
    let target = Path::new(path).canonicalize().ok()?;
    let folder = target.parent()?;
    (folder.starts_with("/run") && folder != Path::new("/run")).then(|| folder.to_owned())
}
