//! The end of a letter's text: is it taken?

use super::{Host, try_later};
use crate::base::{Family, Fault};
use crate::delivery::{self, Envelope, Origin, Outcome, Refusal};
use crate::directory::Directory;
use crate::message::{Refused, header};
use crate::proto::smtp::{Answer, BodyType, Reply, Ret};
use crate::store::{self, Sink};

impl<D: Directory> Host<D> {
    pub(super) async fn accept(&mut self, with: &'static str) -> Answer {
        let (mail, recipients) = (self.mail.take(), std::mem::take(&mut self.recipients));
        let sink = match (mail.is_some(), self.letter.take()) {
            (true, Some(Ok(sink))) => sink,
            (_, Some(Err(error))) => return Answer::Reply(not_stored(&error)),
            _ => return Answer::Reply(Reply::new(451, (4, 3, 0), "The message got lost here; please send it again")),
        };
        let mail = mail.unwrap_or_default();
        let sink = match self.written_by_sender(sink).await {
            Ok(sink) => sink,
            Err(reply) => return Answer::Reply(reply),
        };
        let envelope = Envelope {
            origin: Origin {
                peer: self.peer,
                helo: self.helo.clone(),
                with,
                tls: self.secured.as_ref().map(|secured| format!("{} {}", secured.version, secured.cipher)),
                account: self.who.as_ref().map(|who| who.id),
                listed: self.listed.clone().flatten().is_some(),
            },
            from: mail.from.map(|from| from.to_string()),
            recipients,
            utf8: mail.utf8,
            eight_bit: mail.body == Some(BodyType::EightBitMime),
            ret_full: mail.ret.map(|ret| ret == Ret::Full),
            envid: mail.envid,
            require_tls: mail.require_tls,
            release: self.release.take(),
            by: self.by.take(),
        };
        let shared = &self.shared;
        match shared.intake.take(envelope, sink, &shared.hostname, &shared.limits).await {
            Outcome::Taken { ticket, id, durable: _ } => {
                self.ticket = Some(ticket);
                Answer::Reply(Reply::new(250, (2, 0, 0), format!("Stored as {id}")))
            }
            // M1
            Outcome::Unknown => Answer::Hangup,
            Outcome::Refused(why) => Answer::Reply(refusal(&why)),
        }
    }
}

impl<D: Directory> Host<D> {
    /// M3: of who has logged in every address in From and Sender is their own; else 550. Gives the letter back.
    async fn written_by_sender(&self, sink: Sink) -> Result<Sink, Reply> {
        let Some(who) = &self.who else { return Ok(sink) };
        // A header section that goes on behind this is refused for its length.
        let most = usize::try_from(self.shared.limits.message.header_bytes).unwrap_or(usize::MAX);
        let read = tokio::task::spawn_blocking(move || {
            let head = sink.head(most);
            (sink, head.map(|head| delivery::claims(&head[..header::end(&head)])))
        });
        let (sink, claims) = read.await.map_err(|error| try_later(&error))?;
        let claims = claims.map_err(|error| not_stored(&error))?.map_err(|why| refusal(&why))?;
        for delivery::Claim { field, address } in claims {
            match self.shared.directory.may_send_as(who.id, &address).await {
                Ok(true) => {}
                Ok(false) => {
                    let own = &who.address;
                    let words = format!("{field}: of the letter names {address}, which is not an address of {own}");
                    return Err(refusal(&Refusal::Author(words)));
                }
                Err(error) => return Err(try_later(&error)),
            }
        }
        Ok(sink)
    }
}

fn not_stored(error: &store::Error) -> Reply {
    match error {
        store::Error::Full => refusal(&Refusal::Full),
        other => refusal(&Refusal::Failed(format!("{other:?}"))),
    }
}

pub(super) fn refusal(why: &Refusal) -> Reply {
    if why.family() == Family::Own {
        tracing::error!(?why, "a letter could not be taken");
    }
    let (code, enhanced) = match why {
        // RFC 3463 3.5: routing loop detected.
        Refusal::Loop => (554, (5, 4, 6)),
        // RFC 7372 3.3: no authentication method speaks for it.
        Refusal::Unauthentic(_) => (550, (5, 7, 26)),
        // RFC 3463 3.8: not authorised, as for MAIL.
        Refusal::Author(_) | Refusal::Stopped => (550, (5, 7, 1)),
        Refusal::Slow(_) => (450, (4, 7, 1)),
        Refusal::Message(Refused::HeaderTooLarge) => (552, (5, 3, 4)),
        Refusal::Message(_) => (554, (5, 6, 0)),
        // RFC 3463 3.8: delivery not authorized, message refused.
        Refusal::NotPassedOn => (550, (5, 7, 1)),
        Refusal::Full | Refusal::Appointed(_) => (452, (4, 3, 1)),
        Refusal::OverQuota => (452, (4, 2, 2)),
        Refusal::Failed(_) => (451, (4, 3, 0)),
        Refusal::Changed => (451, (4, 2, 1)),
    };
    let mut words = why.to_string();
    if let Some(first) = words.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    Reply::new(code, enhanced, words)
}
