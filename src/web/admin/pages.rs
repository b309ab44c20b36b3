//! What each page shows, and where each form leads.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;

use crate::appliance::words;
use crate::web::devices::qr;
use crate::web::look::sentence;

use super::draw::{
    Aliases, Certificates, Devices, DomainPage, DomainRow, Domains, Frame, Held, Invitation, Me, Overview, OwnDevice,
    People, PersonPage, Piece, Ports, Profile, Programs, ReportsPage, Row, Shown, SignIn, Sure, Times, Told, Welcome,
    Words, Wrong, draw,
};
use super::household::{Checked, Error, Port, Record, Secret, Standing};
use super::site::{Answer, Site};
use super::visit::{Fields, Visit, encode};
use super::{backup, erase, forgotten, queue, records, relays, updates};

pub(super) type Done = Result<Answer, Error>;
/// A form that was refused, and what was typed into it.
pub(super) type Again<'a> = Option<(&'a Wrong, &'a Fields)>;

/// Of a generated pass phrase: 48 bits, and log-ins are slowed down.
const PHRASE_WORDS: usize = 6;
const MIB: u64 = 1 << 20;

pub(super) async fn get(site: &Arc<Site>, visit: &Visit, path: &[&str]) -> Done {
    match path {
        [] => return Ok(home(visit)),
        ["sign-in"] if visit.who.is_some() => return Ok(home(visit)),
        ["sign-in"] => return Ok(sign_in(site, visit, None)),
        ["forgotten"] => return Ok(forgotten::page(site, visit, None, false)),
        ["invitation", link] => return invitation(site, visit, link, None).await,
        _ => {}
    }
    // M2
    let Some(who) = &visit.who else { return Ok(Answer::To("/sign-in".to_owned())) };
    match path {
        ["me"] => Ok(me(site, visit, who, None, false)),
        ["me", "changed"] => Ok(me(site, visit, who, None, true)),
        ["me", "devices"] => devices(site, visit, who, None).await,
        ["admin", rest @ ..] if who.administrator => admin(site, visit, rest, None).await,
        ["admin", ..] => Ok(not_yours(site, visit)),
        _ => Ok(nothing(site, visit)),
    }
}

pub(super) async fn post(site: &Arc<Site>, visit: &Visit, path: &[&str], fields: &Fields) -> Done {
    match path {
        ["sign-in"] => return enter(site, visit, fields).await,
        ["forgotten"] => return forgotten::post(site, visit, fields).await,
        ["invitation", link] => return accept(site, visit, link, fields).await,
        ["sign-out"] => return Ok(Answer::Leave),
        _ => {}
    }
    let Some(who) = &visit.who else {
        return Ok(words(
            site,
            visit,
            StatusCode::FORBIDDEN,
            "You are not signed in.",
            "Perhaps it was too long ago. Nothing was changed; please sign in again.",
        ));
    };
    match path {
        ["me"] if field(fields, "do") == "language" => {
            let code = field(fields, "language");
            Ok(Answer::Speak(if site.languages.has(code) { code.to_owned() } else { String::new() }))
        }
        ["me"] => change_own(site, visit, who, fields).await,
        ["me", "devices"] => own_device(site, visit, who, fields).await,
        ["admin", rest @ ..] if who.administrator => match act(site, visit, who, rest, fields).await {
            // Shown on the page that the form is on.
            Err(Error::Refused(words) | Error::Conflict(words) | Error::Missing(words)) => {
                let wrong = Wrong { field: None, words: sentence(&words), later: false };
                admin(site, visit, rest, Some((&wrong, fields))).await
            }
            Err(Error::Unavailable(words)) => {
                let wrong = Wrong { field: None, words: sentence(&words), later: true };
                admin(site, visit, rest, Some((&wrong, fields))).await
            }
            done => done,
        },
        ["admin", ..] => Ok(not_yours(site, visit)),
        _ => Ok(nothing(site, visit)),
    }
}

fn home(visit: &Visit) -> Answer {
    Answer::To(match &visit.who {
        None => "/sign-in".to_owned(),
        Some(who) if who.administrator => "/admin".to_owned(),
        Some(_) => "/me".to_owned(),
    })
}

// ---- for everybody

pub(super) fn words(site: &Site, visit: &Visit, status: StatusCode, headline: &str, words: &str) -> Answer {
    let frame = Frame::new(site, visit, headline.trim_end_matches('.'), "");
    draw(&Words { frame, headline: headline.to_owned(), words: words.to_owned() }, status)
}

pub(super) fn nothing(site: &Site, visit: &Visit) -> Answer {
    words(site, visit, StatusCode::NOT_FOUND, "There is no such page.", "Perhaps the address was typed by hand.")
}

fn not_yours(site: &Site, visit: &Visit) -> Answer {
    words(
        site,
        visit,
        StatusCode::FORBIDDEN,
        "This is for administrators.",
        "Your own page is the one called \"You\". Who administers this box can make you an administrator, too.",
    )
}

pub(super) fn failed(site: &Site, visit: &Visit, error: &Error) -> Answer {
    match error {
        Error::Missing(why) => words(site, visit, StatusCode::NOT_FOUND, "There is nothing here.", &sentence(why)),
        Error::Conflict(why) | Error::Refused(why) => {
            words(site, visit, StatusCode::UNPROCESSABLE_ENTITY, "That was not done.", &sentence(why))
        }
        Error::Unavailable(why) => {
            words(site, visit, StatusCode::SERVICE_UNAVAILABLE, "That does not work right now.", &sentence(why))
        }
        Error::Own(why) => {
            tracing::error!(why, "a page failed");
            words(
                site,
                visit,
                StatusCode::INTERNAL_SERVER_ERROR,
                "Something went wrong inside homepost.",
                "It is no fault of yours. Please try again.",
            )
        }
    }
}

pub(super) fn times(site: &Site) -> Times {
    Times::of(&site.household.time_zone())
}

pub(super) fn field<'a>(fields: &'a Fields, name: &str) -> &'a str {
    fields.get(name).map_or("", |value| value.trim())
}

/// As typed: a space at its end may belong to it.
pub(super) fn phrase(fields: &Fields, name: &str) -> Secret {
    Secret(fields.get(name).cloned().unwrap_or_default())
}

/// Why the pass phrase that was typed does not show that it is them still: a session may be an open telephone on a table.
pub(super) async fn no_proof(
    site: &Arc<Site>,
    visit: &Visit,
    who: &Standing,
    fields: &Fields,
) -> Result<Option<String>, Error> {
    match site.household.sign_in(visit.peer, who.address.clone(), phrase(fields, "phrase")).await {
        Ok(Some(standing)) if standing.administrator => Ok(None),
        Ok(_) => Ok(Some("That is not your pass phrase.".to_owned())),
        Err(Error::Refused(words) | Error::Unavailable(words)) => Ok(Some(words)),
        Err(error) => Err(error),
    }
}

fn sign_in(site: &Site, visit: &Visit, again: Again<'_>) -> Answer {
    let status = status_of(again);
    let address = again.map(|(_, typed)| field(typed, "address").to_owned()).unwrap_or_default();
    draw(&SignIn { frame: Frame::new(site, visit, "Sign in", "").with(again), address }, status)
}

pub(super) fn status_of(again: Again<'_>) -> StatusCode {
    match again {
        None => StatusCode::OK,
        Some((wrong, _)) if wrong.later => StatusCode::SERVICE_UNAVAILABLE,
        Some(_) => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

async fn enter(site: &Arc<Site>, visit: &Visit, fields: &Fields) -> Done {
    let address = field(fields, "address").to_owned();
    Ok(match site.household.sign_in(visit.peer, address, phrase(fields, "phrase")).await? {
        Some(who) => Answer::Enter(Box::new(who), "/"),
        None => {
            let words =
                "Address and pass phrase do not fit together. Who has tried many times waits longer.".to_owned();
            sign_in(site, visit, Some((&Wrong { field: Some("phrase"), words, later: false }, fields)))
        }
    })
}

async fn invitation(site: &Arc<Site>, visit: &Visit, link: &str, again: Again<'_>) -> Done {
    let secret = Secret(link.to_owned());
    Ok(match site.ask(move |household| household.invited(&secret)).await? {
        Some(person) => {
            let frame = Frame::new(site, visit, "Welcome", "").with(again);
            let name = person.name.clone().unwrap_or_default();
            let page = Invitation { frame, address: person.address, name, link: encode(link) };
            draw(&page, status_of(again))
        }
        None => words(
            site,
            visit,
            StatusCode::NOT_FOUND,
            "This link opens nothing.",
            "It has been used already, it is too old, or a newer one has taken its place. Who administers this box can make \
             a new one.",
        ),
    })
}

async fn accept(site: &Arc<Site>, visit: &Visit, link: &str, fields: &Fields) -> Done {
    let wrong = |words: String| Wrong { field: Some("phrase"), words, later: false };
    if phrase(fields, "phrase").0 != phrase(fields, "phrase2").0 {
        let wrong = wrong("The two are not the same.".to_owned());
        return invitation(site, visit, link, Some((&wrong, fields))).await;
    }
    let (secret, chosen) = (Secret(link.to_owned()), phrase(fields, "phrase"));
    match site.ask(move |household| household.accept(&secret, &chosen)).await {
        Ok(address) => {
            let server = site.household.hostname();
            Ok(draw(&Welcome { frame: Frame::new(site, visit, "Welcome", ""), address, server }, StatusCode::OK))
        }
        Err(Error::Refused(why)) => {
            let wrong = wrong(sentence(&why));
            invitation(site, visit, link, Some((&wrong, fields))).await
        }
        Err(Error::Missing(_)) => invitation(site, visit, link, None).await,
        Err(error) => Err(error),
    }
}

fn me(site: &Site, visit: &Visit, who: &Standing, again: Again<'_>, changed: bool) -> Answer {
    let frame = Frame::new(site, visit, "You", "/me").with(again);
    let server = site.household.hostname();
    let languages =
        site.languages.choices().into_iter().map(|(code, name)| (code.to_owned(), name.to_owned())).collect();
    let spoken = visit.spoken.clone().unwrap_or_default();
    draw(&Me { frame, who: who.clone(), server, changed, languages, spoken }, status_of(again))
}

/// Whoever finds an open browser must not be able to keep its owner out: the old pass phrase is asked for.
async fn change_own(site: &Arc<Site>, visit: &Visit, who: &Standing, fields: &Fields) -> Done {
    let wrong = |field: &'static str, words: &str| Wrong { field: Some(field), words: words.to_owned(), later: false };
    let again = |wrong: Wrong| Ok(me(site, visit, who, Some((&wrong, fields)), false));
    if phrase(fields, "phrase").0 != phrase(fields, "phrase2").0 {
        return again(wrong("phrase", "The two are not the same."));
    }
    let old = phrase(fields, "phrase-now");
    if site.household.sign_in(visit.peer, who.address.clone(), old).await?.is_none() {
        return again(wrong("phrase-now", "That is not your pass phrase."));
    }
    let (address, chosen) = (who.address.clone(), phrase(fields, "phrase"));
    match site.ask(move |household| household.change_phrase(&address, &chosen)).await {
        Ok(()) => {}
        Err(Error::Refused(why)) => return again(wrong("phrase", &sentence(&why))),
        Err(error) => return Err(error),
    }
    // M3: every session ends with the old one; this browser gets another.
    let id = who.id;
    Ok(match site.ask(move |household| household.standing(id)).await? {
        Some(who) => Answer::Enter(Box::new(who), "/me/changed"),
        None => Answer::Leave,
    })
}

async fn devices(site: &Arc<Site>, visit: &Visit, who: &Standing, again: Again<'_>) -> Done {
    let address = who.address.clone();
    let all = site.ask(move |household| household.devices(&address)).await?;
    let frame = Frame::new(site, visit, "Your devices", "/me/devices").with(again);
    let times = times(site);
    Ok(draw(
        &Devices { frame, devices: all.into_iter().map(|one| OwnDevice::of(one, &times)).collect() },
        status_of(again),
    ))
}

/// Everybody has to do with her own devices alone, an administrator too.
async fn own_device(site: &Arc<Site>, visit: &Visit, who: &Standing, fields: &Fields) -> Done {
    let (address, name) = (who.address.clone(), field(fields, "name").to_owned());
    let frame = || Frame::new(site, visit, "New device", "/me/devices");
    let back = "/me/devices".to_owned();
    let done = match field(fields, "do") {
        "remove" => {
            let id = field(fields, "id").parse().unwrap_or(0);
            let removed = site.ask(move |household| household.remove_device(&address, id)).await;
            removed.map(|()| Answer::To(back))
        }
        "link" => site.ask(move |household| household.link_device(&address, &name)).await.map(|Secret(link)| {
            let picture = qr(&link).map(|picture| STANDARD.encode(picture)).unwrap_or_default();
            draw(&Profile { frame: frame(), link, picture, back }, StatusCode::OK)
        }),
        _ => site.ask(move |household| household.add_device(&address, &name)).await.map(|Secret(secret)| {
            let page = Shown {
                frame: frame(),
                headline: "A password for this device alone".to_owned(),
                lead:
                    "Type it into the mail program instead of your pass phrase. It is shown only now. If the device is \
                       lost, remove it here: nothing else changes."
                        .to_owned(),
                label: "Password",
                secret,
                until: None,
                back,
            };
            draw(&page, StatusCode::OK)
        }),
    };
    match done {
        Err(Error::Refused(words) | Error::Missing(words) | Error::Conflict(words)) => {
            let wrong = Wrong { field: None, words: sentence(&words), later: false };
            devices(site, visit, who, Some((&wrong, fields))).await
        }
        done => done,
    }
}

// ---- for administrators

async fn admin(site: &Arc<Site>, visit: &Visit, path: &[&str], again: Again<'_>) -> Done {
    let frame = |title: &str, tab: &str| Frame::new(site, visit, title, tab).with(again);
    let status = status_of(again);
    Ok(match path {
        [] => {
            let asked = site.ask(|household| {
                Ok((
                    household.problems()?,
                    household.people()?.len(),
                    household.domains()?.len(),
                    household.queue()?.len(),
                ))
            });
            let (problems, people, domains, waiting) = asked.await?;
            draw(&Overview { frame: frame("How it is", "/admin"), problems, people, domains, waiting }, status)
        }
        ["people"] => {
            let (people, domains) = site.ask(|household| Ok((household.people()?, household.domains()?))).await?;
            let people = people.iter().map(|person| Row::of(person, &times(site))).collect();
            let domains = domains.into_iter().map(|domain| domain.domain).collect();
            draw(&People { frame: frame("People", "/admin/people"), people, domains }, status)
        }
        ["people", address] => {
            let key = (*address).to_owned();
            let person = site.ask(move |household| household.person(&key)).await?;
            let own = visit.who.as_ref().is_some_and(|who| who.id == person.id);
            let frame = frame(&person.address, "/admin/people");
            draw(&PersonPage { frame, row: Row::of(&person, &times(site)), person, own }, status)
        }
        ["aliases"] => {
            let aliases = site.ask(|household| household.aliases()).await?;
            draw(&Aliases { frame: frame("Aliases", "/admin/aliases"), aliases }, status)
        }
        ["domains"] => {
            let (domains, problems) = site.ask(|household| Ok((household.domains()?, household.problems()?))).await?;
            let domains = domains.into_iter().map(|one| DomainRow::of(one.domain, &problems)).collect();
            draw(&Domains { frame: frame("Domains", "/admin/domains"), domains }, status)
        }
        ["domains", domain] => {
            let key = (*domain).to_owned();
            let records = site.ask(move |household| household.records(&key)).await?;
            let page = domain_page(frame(domain, "/admin/domains"), domain, records, None);
            draw(&page, status)
        }
        ["domains", domain, "writing"] => return records::writing(site, visit, domain, again).await,
        ["domains", domain, "writing", method] => return records::method(site, visit, domain, method, again).await,
        ["erase"] => return Ok(erase::page(site, visit, again, false)),
        ["ports"] => {
            let ports = site.ask(|household| household.ports()).await?;
            let ports = ports.into_iter().map(|port| (what_for(&port.name), port)).map(|(what, port)| (port, what));
            draw(&Ports { frame: frame("Ports", "/admin/ports"), ports: ports.collect() }, status)
        }
        ["certificates"] | ["certificates", "asked"] => {
            let all = site.ask(|household| household.certificates()).await?;
            let certificates = all.into_iter().map(|one| Held::of(one, &times(site))).collect();
            let frame = frame("Certificates", "/admin/certificates");
            draw(&Certificates { frame, certificates, asked: path.len() == 2 }, status)
        }
        ["queue"] => return queue::list(site, visit, again).await,
        ["queue", id] => return queue::letter(site, visit, id, again).await,
        ["sending"] => return relays::show(site, visit, again, None).await,
        ["reports"] => {
            let all = site.ask(|household| household.reports()).await?;
            let reports = all.reports.into_iter().map(|one| Told::of(one, &times(site))).collect();
            draw(&ReportsPage { frame: frame("Reports", "/admin/reports"), reports, advice: all.advice }, status)
        }
        ["updates"] => return updates::show(site, visit, again).await,
        ["backup"] => return backup::page(site, visit, again).await,
        ["backup", "sheet"] => return backup::sheet(site, visit, again).await,
        ["programs"] => {
            let mut tokens = site.ask(|household| household.tokens()).await?;
            for token in &mut tokens {
                token.until = times(site).minute(&token.until);
            }
            draw(&Programs { frame: frame("Programs", "/admin/programs"), tokens }, status)
        }
        _ => nothing(site, visit),
    })
}

async fn act(site: &Arc<Site>, visit: &Visit, who: &Standing, path: &[&str], fields: &Fields) -> Done {
    let what = field(fields, "do");
    let back = |place: &str| Ok(Answer::To(place.to_owned()));
    match path {
        ["people"] => {
            let address = format!("{}@{}", field(fields, "local"), field(fields, "domain"));
            let name = Some(field(fields, "name").to_owned()).filter(|name| !name.is_empty());
            let quota = quota_of(field(fields, "quota"))?;
            let made = site.ask(move |household| household.invite(&address, name.as_deref(), quota)).await?;
            let headline = format!("{} has a letter box.", made.address);
            let page = Shown::link(
                Frame::new(site, visit, "Invitation", "/admin/people"),
                made,
                headline,
                "/admin/people".into(),
                &times(site),
            );
            Ok(draw(&page, StatusCode::OK))
        }
        ["people", address] => person(site, visit, address, what, fields).await,
        ["queue"] => queue::act(site, visit, None, fields).await,
        ["queue", id] => queue::act(site, visit, Some(id), fields).await,
        ["sending"] => relays::act(site, visit, fields).await,
        ["aliases"] => {
            let alias = field(fields, "alias").to_owned();
            let targets = field(fields, "targets").split([',', ' ', '\r', '\n']).filter(|one| !one.is_empty());
            let targets: Vec<String> = targets.map(str::to_owned).collect();
            match what {
                "delete" => site.ask(move |household| household.delete_alias(&alias)).await?,
                _ => drop(site.ask(move |household| household.add_alias(&alias, &targets)).await?),
            }
            back("/admin/aliases")
        }
        ["domains"] => {
            let domain = field(fields, "domain").to_owned();
            match what {
                "delete" => {
                    site.ask(move |household| household.delete_domain(&domain)).await?;
                    back("/admin/domains")
                }
                _ => {
                    let made = site.ask(move |household| household.add_domain(&domain)).await?;
                    Ok(Answer::To(format!("/admin/domains/{}", encode(&made.domain))))
                }
            }
        }
        ["domains", domain] => {
            let key = (*domain).to_owned();
            let asked = site.ask(move |household| Ok((household.records(&key)?, household.check(&key)?)));
            let (records, checked) = asked.await?;
            let frame = Frame::new(site, visit, domain, "/admin/domains");
            Ok(draw(&domain_page(frame, domain, records, Some(checked)), StatusCode::OK))
        }
        ["domains", domain, "writing"] => records::act(site, domain, fields).await,
        ["domains", domain, "writing", method] => records::keep(site, visit, domain, method, fields).await,
        ["erase"] => erase::post(site, visit, who, fields).await,
        ["ports"] => switch(site, visit, fields).await,
        ["certificates"] => {
            let group = Some(field(fields, "group").to_owned()).filter(|group| !group.is_empty());
            site.ask(|household| household.may_renew()).await?;
            renew(site, group);
            back("/admin/certificates/asked")
        }
        ["updates"] => updates::act(site, fields).await,
        ["backup"] => backup::act(site, visit, fields).await,
        ["backup", "sheet"] => backup::confirm(site, visit, who, fields).await,
        ["programs"] if what == "delete" => {
            let id = field(fields, "id").parse().map_err(|_| Error::Missing("there is no such token".to_owned()))?;
            site.ask(move |household| household.delete_token(id)).await?;
            back("/admin/programs")
        }
        ["programs"] => {
            let days = field(fields, "days").parse().map_err(|_| Error::Refused("for how many days?".to_owned()))?;
            let (address, name) = (who.address.clone(), field(fields, "name").to_owned());
            let scope = field(fields, "scope").to_owned();
            let secret = new_token(site);
            let token = secret.clone();
            let made = site.ask(move |household| household.add_token(&address, &name, &scope, days, &token)).await?;
            let page = Shown {
                frame: Frame::new(site, visit, "Token", "/admin/programs"),
                headline: format!("The token \"{}\" is made.", made.name),
                lead:
                    "Give it to the program now: it is shown only this once. Whoever has it can do with this box what \
                       you allowed."
                        .to_owned(),
                label: "Token",
                secret: secret.0,
                until: Some(times(site).minute(&made.until)),
                back: "/admin/programs".to_owned(),
            };
            Ok(draw(&page, StatusCode::OK))
        }
        _ => Ok(nothing(site, visit)),
    }
}

async fn person(site: &Arc<Site>, visit: &Visit, address: &str, what: &str, fields: &Fields) -> Done {
    let key = address.to_owned();
    let path = format!("/admin/people/{}", encode(address));
    match what {
        "link" => {
            let made = site.ask(move |household| household.link(&key)).await?;
            let headline = format!("A new link for {address}");
            let frame = Frame::new(site, visit, "Link", "/admin/people");
            return Ok(draw(&Shown::link(frame, made, headline, path, &times(site)), StatusCode::OK));
        }
        "phrase" => {
            let mut bytes = [0u8; PHRASE_WORDS];
            site.random.fill(&mut bytes);
            let secret = words::of(&bytes).join("-");
            let phrase = Secret(secret.clone());
            site.ask(move |household| household.set_phrase(&key, &phrase)).await?;
            let page = Shown {
                frame: Frame::new(site, visit, "New pass phrase", "/admin/people"),
                headline: format!("{address} has a new pass phrase."),
                lead: "The old one opens nothing any more. Hand this one over; it is shown only now. Its owner can choose \
                       another on the page called \"You\"."
                    .to_owned(),
                label: "Pass phrase",
                secret,
                until: None,
                back: path,
            };
            return Ok(draw(&page, StatusCode::OK));
        }
        "quota" => {
            let quota = quota_of(field(fields, "quota"))?;
            site.ask(move |household| household.set_quota(&key, quota)).await?;
        }
        "administrator" | "user" => {
            let on = what == "administrator";
            site.ask(move |household| household.set_administrator(&key, on)).await?;
        }
        "delete" => site.ask(move |household| household.leave(&key)).await?,
        "resume" => site.ask(move |household| household.resume(&key)).await?,
        "keep" => site.ask(move |household| household.keep(&key)).await?,
        _ => return Err(Error::Refused("this form is not understood".to_owned())),
    }
    Ok(Answer::To(path))
}

/// Megabytes as typed; nothing is without limit.
fn quota_of(text: &str) -> Result<Option<u64>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = || Error::Refused("a quota is a number of megabytes, or nothing for no limit".to_owned());
    let number: u64 = text.parse().map_err(|_| wrong())?;
    number.checked_mul(MIB).filter(|bytes| *bytes > 0).map(Some).ok_or_else(wrong)
}

/// 256 bits, with a beginning by which a scanner of programs can tell what it is.
pub(super) fn new_token(site: &Site) -> Secret {
    let mut bytes = [0u8; 32];
    site.random.fill(&mut bytes);
    Secret(format!("homepost_{}", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()))
}

/// Goes on by itself; what comes of it stands on the page.
pub(super) fn renew(site: &Arc<Site>, name: Option<String>) {
    let Ok(alone) = site.renewing.clone().try_acquire_owned() else { return };
    let household = site.household.clone();
    tokio::task::spawn_blocking(move || {
        let _alone = alone;
        if let Err(error) = household.renew(name.as_deref()) {
            tracing::warn!(?error, "a certificate that was asked for on the page");
        }
    });
}

async fn switch(site: &Arc<Site>, visit: &Visit, fields: &Fields) -> Done {
    let (name, on) = (field(fields, "port").to_owned(), field(fields, "on") == "yes");
    if !on && field(fields, "sure") != "yes" {
        let ports = site.ask(|household| household.ports()).await?;
        let Some(port) = ports.into_iter().find(|port| port.name == name) else {
            return Err(Error::Missing(format!("there is no port called {name}")));
        };
        let words = without(&port.name);
        let frame = Frame::new(site, visit, "Are you sure?", "/admin/ports");
        return Ok(draw(&Sure { frame, port, words }, StatusCode::OK));
    }
    let (_, problem) = site.ask(move |household| household.switch(&name, on)).await?;
    match problem {
        Some(problem) => Err(Error::Refused(problem)),
        None => Ok(Answer::To("/admin/ports".to_owned())),
    }
}

fn what_for(port: &str) -> &'static str {
    match port {
        "smtp" => "Letters from other servers",
        "submissions" => "The family's programs send",
        "submission" => "The same for old programs (STARTTLS)",
        "imaps" => "The family's programs read",
        "imap" => "The same for old programs (STARTTLS)",
        "https" => "These pages, and programs that set themselves up",
        "http-01" => "An authority looks here before it vouches",
        _ => "",
    }
}

/// What happens without it.
fn without(port: &str) -> &'static str {
    match port {
        "https" => {
            "You are reading this page through this port. When it is closed, this page is gone too, for everybody and from \
             everywhere, and only the command line (homepost listeners on https) brings it back. Mail programs cannot set \
             themselves up, and an authority may not be able to renew the certificate."
        }
        "smtp" => {
            "No letter from outside arrives any more. Other servers try again for some days, then they tell the senders."
        }
        "submissions" => "Nobody in the family can send letters by this port any more; most programs know no other.",
        "imaps" => "Nobody in the family can read letters by this port any more; most programs know no other.",
        _ => "Programs that use this port find nobody there.",
    }
}

fn domain_page(frame: Frame, domain: &str, records: Vec<Record>, checked: Option<Checked>) -> DomainPage {
    let said = |record: &Record| {
        let all = checked.as_ref()?.records.iter();
        all.into_iter().find(|one| one.name == record.name && one.kind == record.kind && one.value == record.value)
    };
    let piece = |record: &Record| {
        let (class, state, words) = match said(record) {
            Some(said) => match said.state.as_str() {
                "right" => ("done", "✓ right".to_owned(), said.words.clone()),
                "different" => ("bad", "✕ there, but different".to_owned(), said.words.clone()),
                state => ("wait", state.to_owned(), said.words.clone()),
            },
            None => ("need", "not looked at".to_owned(), String::new()),
        };
        Piece {
            name: record.relative.clone().unwrap_or_else(|| record.name.clone()),
            full_name: format!("{}.", record.name),
            kind: record.kind.clone(),
            priority: record.priority,
            value: record.value.clone().unwrap_or_else(|| "?".to_owned()),
            parts: record.parts.clone().unwrap_or_default(),
            purpose: record.purpose.clone(),
            reason: record.reason.as_deref().map(sentence).unwrap_or_default(),
            class,
            state,
            words,
        }
    };
    let (wanted, withheld): (Vec<&Record>, Vec<&Record>) = records.iter().partition(|record| record.publish);
    let records: Vec<Piece> = wanted.into_iter().map(piece).collect();
    DomainPage {
        frame,
        domain: domain.to_owned(),
        path: encode(domain),
        checked: checked.is_some(),
        right: records.iter().filter(|record| record.class == "done").count(),
        records,
        withheld: withheld.into_iter().map(piece).collect(),
        servers: checked.as_ref().map(|checked| checked.servers.clone()).unwrap_or_default(),
        advice: checked.as_ref().map(|checked| checked.advice.clone()).unwrap_or_default(),
    }
}

/// Whether somebody who switches this port off through the pages has to say that she is sure.
pub(super) fn cuts_off(port: &Port) -> bool {
    port.name == "https"
}
