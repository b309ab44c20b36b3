//! Every setting defined once: name, type, default, help, check. `settings.toml` in the data folder.
//!
//! Does not know: who reads a setting.
