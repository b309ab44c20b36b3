//! PLAIN (RFC 4616): one message, `[authzid] NUL authcid NUL passwd`.

use super::{Failure, SaslAsk, Step, field, name};

#[derive(Default)]
pub(super) struct Plain {
    /// The question about the password is out.
    pub(super) asked: bool,
}

impl Plain {
    pub(super) fn input(&mut self, message: &[u8]) -> Step {
        if self.asked {
            return Step::Failed(Failure::Malformed);
        }
        let mut parts = message.splitn(3, |octet| *octet == 0);
        let (Some(authzid), Some(user), Some(password)) = (parts.next(), parts.next(), parts.next()) else {
            return Step::Failed(Failure::Malformed);
        };
        let (Some(user), Some(password)) = (name(user), field(password)) else {
            return Step::Failed(Failure::Malformed);
        };
        // RFC 4616 2: an authorization identity is another name to act under; nobody here may.
        if !authzid.is_empty() && authzid != user.as_bytes() {
            return Step::Failed(Failure::Rejected);
        }
        self.asked = true;
        Step::Ask(SaslAsk::Password { user, password })
    }
}
