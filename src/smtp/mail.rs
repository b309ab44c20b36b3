//! MAIL: who it is from, and whether they may say so.

use super::{Host, try_later};
use crate::directory::Directory;
use crate::proto::smtp::{Mail, Reply};

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
        self.mail = Some(mail);
        Reply::new(250, (2, 1, 0), "Sender noted")
    }
}
