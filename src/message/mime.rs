//! The MIME fields of a part's header (RFC 2045, 2183, 3282, 2557, 1864).
