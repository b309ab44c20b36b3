//! MAIL: who it is from, and whether they may say so.

use super::{Host, try_later};
use crate::directory::Directory;
use crate::proto::smtp::{HOLD_SECONDS, Hold, Mail, Reply};

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
        if let Some(hold) = mail.hold {
            let now = self.shared.clock.now();
            let release = match hold {
                Hold::For(seconds) => now.plus_ms(i64::from(seconds) * 1000),
                Hold::Until(time) => time,
            };
            if release > now.plus_ms(i64::from(HOLD_SECONDS) * 1000) {
                let days = HOLD_SECONDS / (24 * 60 * 60);
                return Reply::new(501, (5, 5, 4), format!("Letters are held for {days} days at the longest"));
            }
            // One that lies in the past asks for nothing.
            self.release = Some(release).filter(|release| *release > now);
        }
        self.mail = Some(mail);
        Reply::new(250, (2, 1, 0), "Sender noted")
    }
}
