//! The ballast: a file that takes up room which is given back when the disk is full, so that a segment and a checkpoint can
//! still be written and mail be read and deleted.

use std::sync::atomic::Ordering;

use super::shared::{Shared, lock};

const NAME: &str = "ballast";

/// Makes the ballast if it is missing and there is room for it; without it, or with little room beside it, new letters are
/// refused.
pub(crate) fn refresh(shared: &Shared) {
    let size = shared.options.ballast_bytes;
    if size == 0 {
        return;
    }
    let _alone = lock(&shared.room);
    let low = match (ensure(shared, size), shared.disk.free()) {
        (Ok(()), Ok(free)) => free < shared.options.segment_bytes,
        _ => true,
    };
    shared.low.store(low, Ordering::Relaxed);
}

/// Looks again whether there is room for new letters, which may have been made by somebody else.
pub(crate) fn look_again(shared: &Shared) {
    if shared.is_low() && shared.disk.free().is_ok_and(|free| free >= shared.options.segment_bytes * 2) {
        refresh(shared);
    }
}

fn ensure(shared: &Shared, size: u64) -> std::io::Result<()> {
    match shared.disk.open(NAME) {
        Ok(file) if file.len()? >= size => return Ok(()),
        Ok(_) => shared.disk.remove(NAME)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    // With room for the ballast alone it would be taken and given back in turns.
    if shared.disk.free()? < size.saturating_add(shared.options.segment_bytes * 2) {
        return Err(std::io::ErrorKind::StorageFull.into());
    }
    let made = shared.disk.create(NAME).and_then(|file| file.allocate(size));
    if made.is_err() {
        let _ = shared.disk.remove(NAME);
    }
    made
}

/// Gives the ballast's room back; false if there was none.
pub(crate) fn release(shared: &Shared) -> bool {
    if shared.options.ballast_bytes == 0 {
        return false;
    }
    let _alone = lock(&shared.room);
    shared.low.store(true, Ordering::Relaxed);
    shared.disk.remove(NAME).is_ok()
}
