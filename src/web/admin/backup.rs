//! Backups as their page shows them: what there is, how old it is, and what can be done.

use std::sync::Arc;

use http::StatusCode;

use crate::web::look::sentence;

use super::draw::{Backup, BackupSheet, BackupSure, Frame, Times, Wrong, draw};
use super::household::{Backups, KeptBackup, Standing};
use super::pages::{Again, Done, field, no_proof, status_of, times};
use super::site::{Answer, Site};
use super::visit::{Fields, Visit};

const BASE: &str = "/admin/backup";
const SHEET: &str = "/admin/backup/sheet";
/// Backups in the list, the newest first.
const MOST: usize = 60;

/// What stands above everything else.
pub(super) struct Told {
    pub class: &'static str,
    pub state: String,
}

/// One in the list.
pub(super) struct Shown {
    pub time: String,
    pub holds: String,
}

/// What is being done.
pub(super) struct Running {
    pub step: &'static str,
    pub seconds: i64,
    pub last: Option<u64>,
}

impl Told {
    fn of(known: &Backups, times: &Times) -> Told {
        let made = known.made.as_deref().map(|at| times.minute(at)).unwrap_or_default();
        let (class, state) = match known.state.as_str() {
            "fine" => ("done", format!("✓ last backup {made}")),
            "warning" if made.is_empty() => ("need", "→ no backup yet".to_owned()),
            "warning" => ("need", format!("→ last backup {made}")),
            "wrong" => ("bad", "✕ the last one did not work".to_owned()),
            _ => ("wait", "… no backup yet".to_owned()),
        };
        Told { class, state }
    }
}

impl Shown {
    fn of(one: &KeptBackup, times: &Times) -> Shown {
        let holds = match one.everything {
            true => format!("everything, {} letters", one.letters),
            false => "settings, people and keys, no letters".to_owned(),
        };
        Shown { time: times.minute(&one.time), holds }
    }
}

pub(super) async fn page(site: &Arc<Site>, visit: &Visit, again: Again<'_>) -> Done {
    let known = site.ask(|household| household.backups()).await?;
    let (times, now) = (times(site), site.clock.now().seconds());
    let running = known.running.as_ref().map(|running| Running {
        step: match running.step.as_str() {
            "reading" => "What was written is read back from the stick, to see whether it is whole.",
            _ => "What is new is written to the stick.",
        },
        seconds: Times::seconds(&running.since).map_or(0, |since| now.saturating_sub(since).max(0)),
        last: running.last_seconds,
    });
    let waits = running.is_some();
    let page = Backup {
        frame: Frame::new(site, visit, "Backup", BASE).with(again),
        told: Told::of(&known, &times),
        made: known.made.as_deref().map(|at| times.minute(at)),
        verified: known.verified.as_deref().map(|at| times.minute(at)),
        kept: known.kept.iter().take(MOST).map(|one| Shown::of(one, &times)).collect(),
        running,
        known,
    };
    Ok(match draw(&page, status_of(again)) {
        Answer::Html(StatusCode::OK, html) if waits => Answer::Waits(html),
        answer => answer,
    })
}

pub(super) async fn act(site: &Arc<Site>, visit: &Visit, fields: &Fields) -> Done {
    match field(fields, "do") {
        "sheet" => {
            site.ask(|household| Ok(household.new_sheet())).await?;
            return Ok(Answer::To(SHEET.to_owned()));
        }
        "prepare" if field(fields, "sure") == "yes" => site.ask(|household| household.prepare_stick()).await?,
        "prepare" => {
            let known = site.ask(|household| household.backups()).await?;
            let frame = Frame::new(site, visit, "Are you sure?", BASE);
            let stick = known.stick.unwrap_or_default();
            return Ok(draw(&BackupSure { frame, stick }, StatusCode::OK));
        }
        _ => site.ask(|household| household.back_up()).await?,
    }
    Ok(Answer::To(BASE.to_owned()))
}

pub(super) async fn sheet(site: &Arc<Site>, visit: &Visit, again: Again<'_>) -> Done {
    let Some(made) = site.ask(|household| Ok(household.sheet())).await? else {
        return Ok(Answer::To(BASE.to_owned()));
    };
    let page = BackupSheet {
        frame: Frame::new(site, visit, "Your recovery sheet", BASE).with(again),
        words: made.words,
        first: made.asked.0 + 1,
        second: made.asked.1 + 1,
    };
    Ok(draw(&page, status_of(again)))
}

/// Two of the words were typed from the paper, and the pass phrase: who has a sheet can do without one.
pub(super) async fn confirm(site: &Arc<Site>, visit: &Visit, who: &Standing, fields: &Fields) -> Done {
    let (first, second) = (field(fields, "first").to_owned(), field(fields, "second").to_owned());
    let Some(made) = site.ask(|household| Ok(household.sheet())).await? else {
        return Ok(Answer::To(BASE.to_owned()));
    };
    if let Some(words) = no_proof(site, visit, who, fields).await? {
        let wrong = Wrong { field: Some("phrase"), words, later: false };
        return sheet(site, visit, Some((&wrong, fields))).await;
    }
    let (field, at) = match site.ask(move |household| household.take_sheet(&first, &second)).await? {
        (true, true) => return Ok(Answer::To(BASE.to_owned())),
        (false, _) => ("first", made.asked.0),
        (true, false) => ("second", made.asked.1),
    };
    let wrong = Wrong {
        field: Some(field),
        words: sentence(&format!("That is not word {} of the sheet.", at + 1)),
        later: false,
    };
    sheet(site, visit, Some((&wrong, fields))).await
}
