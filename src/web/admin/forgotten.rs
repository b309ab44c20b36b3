//! The page for an administrator who has forgotten the pass phrase: proves who it is, and leads to where a new one is chosen.

use std::sync::Arc;

use http::StatusCode;

use crate::net::is_public;
use crate::web::look::sentence;

use super::draw::{Forgotten, Frame, Wrong, draw};
use super::household::{Error, Secret};
use super::pages::{Again, Done, field, status_of};
use super::site::{Answer, Site};
use super::visit::{Fields, Visit, encode};

pub(super) fn page(site: &Site, visit: &Visit, again: Again<'_>, shown: bool) -> Answer {
    let address = again.map(|(_, typed)| field(typed, "address").to_owned()).unwrap_or_default();
    let frame = Frame::new(site, visit, "A new pass phrase", "").with(again);
    draw(&Forgotten { frame, address, shown }, if shown { StatusCode::OK } else { status_of(again) })
}

pub(super) async fn post(site: &Arc<Site>, visit: &Visit, fields: &Fields) -> Done {
    let again = |wrong: Wrong| Ok(page(site, visit, Some((&wrong, fields)), false));
    let said = |field, words: &str, later| Wrong { field, words: words.to_owned(), later };
    if field(fields, "do") == "show" {
        // Whoever stands before the box has a phone in the same house; a stranger has no business with its screen.
        if is_public(visit.peer) {
            return again(said(None, "That works only from a computer or phone in the same house.", false));
        }
        return match site.ask(|household| household.show_code()).await {
            Ok(()) => Ok(page(site, visit, None, true)),
            Err(Error::Refused(words)) => again(said(None, &sentence(&words), false)),
            Err(Error::Unavailable(words)) => again(said(None, &sentence(&words), true)),
            Err(error) => Err(error),
        };
    }
    let (address, proof) = (field(fields, "address").to_owned(), Secret(field(fields, "proof").to_owned()));
    match site.ask(move |household| household.recover(&address, &proof)).await {
        Ok(Some(link)) => Ok(Answer::To(format!("/invitation/{}", encode(&link.0)))),
        Ok(None) => again(said(
            Some("proof"),
            "These are neither the words of the sheet nor the code on the screen, or the address is no administrator's. \
             Please compare them one by one.",
            false,
        )),
        Err(Error::Unavailable(words)) => again(said(Some("proof"), &sentence(&words), true)),
        Err(error) => Err(error),
    }
}
