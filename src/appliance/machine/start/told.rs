//! What is said to the owner, on the console and on pages.

pub(super) const MISSING: &str = "The data partition is missing from this disk, so there is nowhere to keep mail. If the image was just written, please write it again; if this box held mail before, do not write to the disk, its backup or a repair may bring it back.";
pub(super) const NOT_GROWN: &str = "The data partition could not be grown; mail has less room than the disk has.";
pub(super) const REPAIRED: &str =
    "The data partition was damaged and has been repaired. Please look whether your mail is complete.";
pub(super) const UNREADABLE: &str = "The data partition cannot be read, so the mail on it cannot be shown and new mail is not taken; other servers keep it for you and try again for some days. The disk is probably broken. Try a restart; if that does not help, put in a new disk and restore your backup.";
pub(super) const NO_FOLDERS: &str = "The data partition cannot be written to. The disk is probably worn out or broken: put in a new one and restore your backup.";
pub(super) const NOT_ERASED: &str = "The box should be made as new, but its boot partition cannot be written to, so nothing was deleted yet. It is tried again at the next start. The disk is probably worn out: put in a new one.";
pub(super) const WISH_STAYS: &str = "Everything on this box is deleted, but its boot partition cannot be written to, so the next start would delete everything again. The disk is probably worn out: put in a new one.";
pub(super) const NOT_NEW: &str = "The box should be made as new, and its disk does not take a new file system. The disk is probably broken: put in a new one.";
pub(super) const NOT_OVERWRITTEN: &str =
    "Not everything that was on the disk of this box could be overwritten. Before you give the disk away, destroy it.";
pub(super) const REMOVED: &str = "homepost.toml was removed, since a password is in it.";
pub(super) const STAYS: &str = "homepost.toml could not be removed, and a password is in it: please delete it.";
