//! AUTH (RFC 4954), in the strongest way that both know.

use super::super::super::sasl::{self, Client, Fault, Mechanism};
use super::super::Reply;
use super::Login;

/// SCRAM first: it gives nothing away, and the server has to prove itself too.
const WAYS: [Mechanism; 3] = [Mechanism::ScramSha256, Mechanism::Plain, Mechanism::Login];

pub(super) struct Exchange {
    client: Client,
}

pub(super) enum Next {
    /// A line to send, without its end.
    Say(String),
    Done,
    Failed(Fault),
    /// The server said no.
    Refused(Reply),
}

impl Exchange {
    /// With the first line. `None`: no way that both know.
    pub(super) fn start(login: &Login, offered: &[String]) -> Option<(Exchange, String)> {
        let way = WAYS.into_iter().find(|way| offered.iter().any(|name| name == way.name()))?;
        let (client, first) = Client::start(way, &login.user, &login.password, &login.nonce);
        let line = match &first {
            // RFC 4954 4: a line with a first response may be longer than others; one of 12,288 is always taken.
            Some(first) => format!("AUTH {} {}", way.name(), sasl::encode(first)),
            None => format!("AUTH {}", way.name()),
        };
        Some((Exchange { client }, line))
    }

    pub(super) fn reply(&mut self, reply: Reply) -> Next {
        match reply.code {
            334 => {
                let text = reply.text.first().map(String::as_str).unwrap_or_default().trim();
                // Some servers' prompts of LOGIN are no base64; what they say does not matter.
                let challenge = sasl::decode(text.as_bytes()).unwrap_or_default();
                match self.client.input(&challenge) {
                    Ok(answer) => Next::Say(sasl::encode(&answer)),
                    Err(fault) => Next::Failed(fault),
                }
            }
            235 if self.client.is_done() => Next::Done,
            235 => Next::Failed(Fault::Impostor),
            _ => Next::Refused(reply),
        }
    }
}
