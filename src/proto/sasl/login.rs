//! LOGIN (draft-murchison-sasl-login): two prompts, never standardised, and still what many clients try first.

use super::{Failure, SaslAsk, Step, field, name};

pub(super) enum Login {
    Name,
    Password {
        user: String,
    },
    /// The question about the password is out.
    Asked,
}

impl Login {
    pub(super) fn start() -> (Login, Vec<u8>) {
        (Login::Name, b"Username:".to_vec())
    }

    pub(super) fn input(&mut self, message: &[u8]) -> Step {
        let Some(text) = field(message) else {
            return Step::Failed(Failure::Malformed);
        };
        match std::mem::replace(self, Login::Asked) {
            Login::Name => {
                let Some(text) = name(message) else {
                    return Step::Failed(Failure::Malformed);
                };
                *self = Login::Password { user: text };
                Step::Challenge(b"Password:".to_vec())
            }
            Login::Password { user } => Step::Ask(SaslAsk::Password { user, password: text }),
            Login::Asked => Step::Failed(Failure::Malformed),
        }
    }
}
