//! The pieces of root's power that a process keeps.

use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set, remove_capability_from_bounding_set,
    set_capabilities,
};

/// Keeps `keep` if it is there, and gives up all others, for this thread and those it starts. The sets that matter to
/// programs started later are emptied: none is started.
pub(super) fn only(keep: CapabilitySet) -> Result<String, String> {
    // The bounding set first: that takes CAP_SETPCAP. Whoever may not had it taken, or is a plain user; with no new
    // privileges nothing can be gained from that set.
    for bit in (0..u64::BITS).map(|bit| CapabilitySet::from_bits_retain(1 << bit)) {
        // The first number the kernel does not know is behind the last.
        let Ok(there) = capability_is_in_bounding_set(bit) else { break };
        if there && !keep.contains(bit) {
            let _ = remove_capability_from_bounding_set(bit);
        }
    }
    let kept = capabilities(None).and_then(|now| {
        let left = now.permitted & keep;
        // With the inheritable set the ambient one is emptied too.
        let sets = CapabilitySets { effective: left, permitted: left, inheritable: CapabilitySet::empty() };
        set_capabilities(None, sets).map(|()| left)
    });
    match kept {
        Ok(left) if left.is_empty() => Ok("none of root's powers".to_owned()),
        Ok(left) => Ok(format!("of root's powers only {}", name(left))),
        Err(error) => Err(format!("the capabilities stay as they are: {error}")),
    }
}

fn name(set: CapabilitySet) -> String {
    set.iter_names().map(|(name, _)| name.to_lowercase()).collect::<Vec<_>>().join(" and ")
}
