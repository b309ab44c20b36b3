//! What this server answers over SMTP: binds `proto/smtp` to directory, account and delivery.
