//! The system's version as its page shows it: what runs, what is newer, what is being done, and a button.

use std::sync::Arc;

use super::draw::{Frame, UpdatesPage, draw};
use super::household::{Error, Offered, Updates};
use super::pages::{Again, Done, field, status_of, times};
use super::site::{Answer, Site};
use super::visit::{Fields, Visit};

const BASE: &str = "/admin/updates";

/// What is newer, as it is shown.
pub(super) struct Newer {
    pub version: String,
    pub megabytes: u64,
    pub stick: bool,
}

impl Newer {
    fn of(one: Offered) -> Newer {
        Newer { version: one.version, megabytes: one.bytes.div_ceil(1_000_000), stick: one.source == "stick" }
    }
}

pub(super) async fn show(site: &Arc<Site>, visit: &Visit, again: Again<'_>) -> Done {
    let Updates { version, on_trial, now, ready, last, url, by_itself, looked, offers, problem } =
        site.ask(|household| household.updates()).await?;
    let busy = now.is_some() || ready.is_some() || on_trial;
    let page = UpdatesPage {
        frame: Frame::new(site, visit, "Updates", BASE).with(again),
        version,
        on_trial,
        now,
        ready,
        last,
        url,
        by_itself,
        looked: looked.map(|when| times(site).minute(&when)),
        offers: offers.into_iter().map(Newer::of).collect(),
        problem,
        busy,
    };
    Ok(draw(&page, status_of(again)))
}

/// A form was filled in.
pub(super) async fn act(site: &Arc<Site>, fields: &Fields) -> Done {
    match field(fields, "do") {
        "check" => drop(site.ask(|household| household.check_updates()).await?),
        "install" => {
            let version = field(fields, "version").to_owned();
            site.ask(move |household| household.install_update(&version)).await?;
        }
        _ => return Err(Error::Refused("nothing can be done of that name".to_owned())),
    }
    Ok(Answer::To(BASE.to_owned()))
}
