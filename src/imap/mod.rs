//! What this server answers over IMAP: binds `proto/imap` to directory and account, one file per command.
