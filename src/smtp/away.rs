//! Port 25 while the letters of this house are being put back: no letter is taken, and who has one is asked to come again
//! (RFC 5321 4.2.1: 4yz; RFC 3463 3.4: X.3.2, the system is not accepting messages), so that none is lost.

use std::ops::Range;

use bytes::Bytes;
use tokio::sync::watch;

use crate::base::BlobId;
use crate::proto::sasl::SaslAnswer;
use crate::proto::smtp::{Answer, Ask, Machine, Notice, Reply};
use crate::proto::{self, BodyFault, Part};

/// One session's side of the questions. There is no store yet that could be asked.
pub struct Away {
    going_down: watch::Receiver<bool>,
}

impl Away {
    /// `going_down` becomes true when the letters are back.
    pub fn new(going_down: watch::Receiver<bool>) -> Away {
        Away { going_down }
    }
}

fn answer(ask: &Ask) -> Answer {
    match ask {
        Ask::Connect { .. } => Answer::Reply(Reply::plain(220, "welcome")),
        Ask::Hello { .. } | Ask::Commands { .. } => Answer::Reply(Reply::plain(250, "go on")),
        Ask::Sasl(_) => Answer::Sasl(SaslAnswer::Unavailable),
        Ask::Confirmed => Answer::Done,
        Ask::Mail(_) | Ask::Rcpt(_) | Ask::Accept { .. } => {
            Answer::Reply(Reply::new(451, (4, 3, 2), "A backup is being put back here; please try again later"))
        }
    }
}

impl proto::Host<Machine> for Away {
    async fn ask(&mut self, ask: Ask) -> (Answer, Part) {
        (answer(&ask), Part::Last)
    }

    async fn more(&mut self) -> (Answer, Part) {
        (Answer::Hangup, Part::Last)
    }

    async fn notice(&mut self) -> Notice {
        let _ = self.going_down.clone().wait_for(|down| *down).await;
        Notice::Closing
    }

    async fn body_chunk(&mut self, _: Bytes) {}

    async fn body_end(&mut self) -> Result<(), BodyFault> {
        Err(BodyFault::NotStored)
    }

    fn body_abort(&mut self) {}

    async fn blob(&mut self, _: BlobId, _: Range<u64>) -> Result<Bytes, BodyFault> {
        Err(BodyFault::NotStored)
    }
}
