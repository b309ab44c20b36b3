//! The records of a domain, written from the page.

use std::sync::Arc;

use http::StatusCode;

use crate::appliance::writing::Wish;
use crate::web::writing::{Form, Panel, read_method, read_wish};

use super::draw::{DomainMethod, DomainWriting, Frame, Wrong, draw};
use super::household::Error;
use super::pages::{Again, Done, field, nothing, status_of};
use super::site::{Answer, Site};
use super::visit::{Fields, Visit, encode};

const TAB: &str = "/admin/domains";

fn page_of(domain: &str) -> String {
    format!("{TAB}/{}", encode(domain))
}

fn base_of(domain: &str) -> String {
    format!("{}/writing", page_of(domain))
}

pub(super) async fn writing(site: &Arc<Site>, visit: &Visit, domain: &str, again: Again<'_>) -> Done {
    let key = domain.to_owned();
    let writing = site.ask(move |household| household.writing(&key)).await?;
    let panel = Panel::of(domain, base_of(domain), page_of(domain), &writing);
    let runs = panel.running.is_some();
    let frame = Frame::new(site, visit, "Write records", TAB).with(again);
    Ok(match draw(&DomainWriting { frame, panel }, status_of(again)) {
        Answer::Html(StatusCode::OK, html) if runs => Answer::Waits(html),
        answer => answer,
    })
}

pub(super) async fn method(site: &Arc<Site>, visit: &Visit, domain: &str, method: &str, again: Again<'_>) -> Done {
    let key = domain.to_owned();
    let kept = site.ask(move |household| Ok(household.writing(&key)?.method)).await?;
    let none = Fields::new();
    let typed = again.map_or(&none, |(_, typed)| typed);
    // TLS alone reaches these pages.
    let Some(form) = Form::of(base_of(domain), method, &kept, typed, true) else {
        return Ok(nothing(site, visit));
    };
    let frame = Frame::new(site, visit, "Write records", TAB).with(again);
    Ok(draw(&DomainMethod { frame, form }, status_of(again)))
}

/// A button of [`writing`].
pub(super) async fn act(site: &Arc<Site>, domain: &str, fields: &Fields) -> Done {
    let (key, base) = (domain.to_owned(), base_of(domain));
    if let Some(wish) = read_wish(fields) {
        site.ask(move |household| household.begin_writing(&key, wish)).await?;
        return Ok(Answer::To(base));
    }
    let chosen = field(fields, "method");
    if chosen != "none" {
        return Ok(Answer::To(format!("{base}/{}", encode(chosen))));
    }
    let new = read_method(chosen, fields, &Default::default()).map_err(|wrong| Error::Refused(wrong.words))?;
    site.ask(move |household| household.set_method(&new)).await?;
    Ok(Answer::To(base))
}

/// The form of [`method`]. What it leads to is compared at once: only then it shows whether it is right.
pub(super) async fn keep(site: &Arc<Site>, visit: &Visit, domain: &str, name: &str, fields: &Fields) -> Done {
    let key = domain.to_owned();
    let kept = site.ask(move |household| Ok(household.writing(&key)?.method)).await?;
    let new = match read_method(name, fields, &kept) {
        Ok(new) => new,
        Err(wrong) => {
            let wrong = Wrong { field: wrong.field, words: wrong.words, later: false };
            return method(site, visit, domain, name, Some((&wrong, fields))).await;
        }
    };
    let key = domain.to_owned();
    site.ask(move |household| {
        household.set_method(&new)?;
        // It is kept. If something else is going on, the page shows that.
        drop(household.begin_writing(&key, Wish::default()));
        Ok(())
    })
    .await?;
    Ok(Answer::To(base_of(domain)))
}
