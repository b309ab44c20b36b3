//! MAIL: who it is from, and whether they may say so.

use super::accept::refusal;
use super::{Host, try_later};
use crate::delivery::Refusal;
use crate::directory::Directory;
use crate::proto::smtp::{HOLD_SECONDS, Hold, Mail, Reply};
use crate::queue;
use crate::queue::schedule::By;

impl<D: Directory> Host<D> {
    pub(super) async fn mail(&mut self, mail: Mail) -> Reply {
        self.forget_envelope();
        if !self.shared.data.blobs().has_room() {
            // RFC 3463 3.4: 4.3.1, mail system full.
            return Reply::new(452, (4, 3, 1), "There is no room for mail now; please try again later");
        }
        if let (Some(who), Some(from)) = (&self.who, &mail.from) {
            // M3. RFC 6409 6.1: the submitting side may be held to its own addresses.
            match self.shared.directory.may_send_as(who.id, &from.to_string()).await {
                Ok(true) => {}
                Ok(false) => {
                    let words = format!("{from} is not an address of {}", who.address);
                    return Reply::new(550, (5, 7, 1), words);
                }
                Err(error) => return try_later(&error),
            }
        }
        let now = self.shared.clock.now();
        if (mail.hold.is_some() || mail.by.is_some()) && !self.shared.clock.trusted() {
            // RFC 5321 4.2.3: 455, parameters that cannot be done justice to now.
            return Reply::new(455, (4, 3, 2), "What time it is is not known here yet; please try again later");
        }
        if let Some(hold) = mail.hold {
            let release = match hold {
                Hold::For(seconds) => now.plus_ms(i64::from(seconds) * 1000),
                Hold::Until(time) => time,
            };
            if release > now.plus_ms(i64::from(HOLD_SECONDS) * 1000) {
                let days = HOLD_SECONDS / (24 * 60 * 60);
                return Reply::new(501, (5, 5, 4), format!("Letters are held for {days} days at the longest"));
            }
            if let (Some(who), true) = (&self.who, release > now) {
                // Said here already, and not after the whole letter.
                let (data, id) = (self.shared.data.clone(), who.id);
                let look = move || queue::appointed(&data.read()?, id).map(|found| found.len());
                match tokio::task::spawn_blocking(look).await {
                    Ok(Ok(found)) if found < queue::MOST_APPOINTED => {}
                    Ok(Ok(_)) => return refusal(&Refusal::Appointed(queue::Error::Appointed.to_string())),
                    Ok(Err(error)) => return try_later(&error),
                    Err(error) => return try_later(&error),
                }
            }
            // One that lies in the past asks for nothing.
            self.release = Some(release).filter(|release| *release > now);
        }
        if let Some(by) = mail.by {
            let at = now.plus_ms(by.seconds.saturating_mul(1000));
            if self.release.is_some_and(|release| release > at) {
                // RFC 4865 4.
                return Reply::new(501, (5, 5, 4), "The letter is to be delivered before it may leave");
            }
            self.by = Some(By { at, returns: by.returns, trace: by.trace });
        }
        self.mail = Some(mail);
        Reply::new(250, (2, 1, 0), "Sender noted")
    }
}
