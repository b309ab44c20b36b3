//! SMTP (RFC 5321) on the receiving side: framing, grammar, replies, the session machine.
