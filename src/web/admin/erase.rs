//! The page on which an administrator makes the box as new: with the word and the pass phrase, since a session may be an open
//! telephone on a table.

use std::sync::Arc;

use http::StatusCode;

use super::draw::{Erase, Frame, Wrong, draw};
use super::household::Standing;
use super::pages::{Again, Done, field, no_proof, status_of};
use super::site::{Answer, Site};
use super::visit::{Fields, Visit};

pub(super) fn page(site: &Site, visit: &Visit, again: Again<'_>, begun: bool) -> Answer {
    let frame = Frame::new(site, visit, "Make this box as new", "/admin").with(again);
    draw(&Erase { frame, begun }, if begun { StatusCode::OK } else { status_of(again) })
}

pub(super) async fn post(site: &Arc<Site>, visit: &Visit, who: &Standing, fields: &Fields) -> Done {
    let again = |field: &'static str, words: &str| {
        let wrong = Wrong { field: Some(field), words: words.to_owned(), later: false };
        Ok(page(site, visit, Some((&wrong, fields)), false))
    };
    if !field(fields, "sure").trim().eq_ignore_ascii_case("erase") {
        return again("sure", "The word was another one, so nothing was deleted.");
    }
    if let Some(words) = no_proof(site, visit, who, fields).await? {
        return again("phrase", &words);
    }
    site.ask(|household| household.erase()).await?;
    Ok(page(site, visit, None, true))
}
