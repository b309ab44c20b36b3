//! The routes, and what stands before every page: who asks, and whether a form is one of ours.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION, REFRESH, SET_COOKIE};
use http::{HeaderValue, StatusCode};
use tokio::sync::Semaphore;

use crate::base::{Clock, Random};
use crate::web::home::Part;
use crate::web::language::Languages;
use crate::web::look;
use crate::web::setup::guard::Forms;

use super::household::{Error, Household, Standing};
use super::sessions::Sessions;
use super::visit::{
    FORM_COOKIE, Fields, LANGUAGE_COOKIE, SESSION_COOKIE, Unread, Visit, fields, is_post, keep, segments, set,
};
use super::{api, pages};

/// Requests that wait for the disk or the network at once; the threads for that are shared with all other work.
const AT_ONCE: usize = 8;
/// Who comes when so many wait already is told to come again (P7).
const WAITING: usize = 64;

/// What all requests share.
pub(super) struct Site {
    pub household: Arc<dyn Household>,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub languages: Arc<Languages>,
    pub sessions: Sessions,
    pub forms: Forms,
    /// One at a time: an authority is asked for minutes.
    pub renewing: Arc<Semaphore>,
    turns: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

/// The administration, to be answered under the house's names alone.
pub fn part(
    household: Arc<dyn Household>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    languages: Arc<Languages>,
) -> Part {
    Part::new(router(household, clock, random, languages))
}

pub(super) fn router(
    household: Arc<dyn Household>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    languages: Arc<Languages>,
) -> Router {
    let site = Arc::new(Site {
        household,
        clock,
        languages,
        forms: Forms::new(&*random),
        random,
        sessions: Sessions::default(),
        renewing: Arc::new(Semaphore::new(1)),
        turns: Arc::new(Semaphore::new(AT_ONCE)),
        places: Arc::new(Semaphore::new(WAITING)),
    });
    let mut router = Router::new().route("/look/{file}", any(file));
    for path in [
        "/",
        "/sign-in",
        "/forgotten",
        "/sign-out",
        "/me",
        "/me/{*rest}",
        "/invitation/{link}",
        "/admin",
        "/admin/{*rest}",
    ] {
        router = router.route(path, any(page));
    }
    for path in ["/api", "/api/{*rest}"] {
        router = router.route(path, any(api::answer));
    }
    router.with_state(site)
}

impl Site {
    /// Asks the household on a thread that may wait.
    pub async fn ask<T, F>(self: &Arc<Site>, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Household) -> Result<T, Error> + Send + 'static,
    {
        let busy = || Error::Unavailable("Too many requests wait already. Please try again.".to_owned());
        let place = self.places.clone().try_acquire_owned().map_err(|_| busy())?;
        let turn = self.turns.clone().acquire_owned().await.map_err(|_| busy())?;
        let household = self.household.clone();
        let done = tokio::task::spawn_blocking(move || {
            let _held = (place, turn);
            work(&*household)
        });
        done.await.unwrap_or_else(|error| Err(Error::Own(error.to_string())))
    }

    /// A page in the language of who reads it. What strangers wrote may make that slow: it keeps no other request waiting.
    async fn html(&self, visit: &Visit, status: StatusCode, html: String) -> Response {
        let (languages, language) = (self.languages.clone(), visit.language.clone());
        let mut response = match tokio::task::spawn_blocking(move || languages.page(&language, html)).await {
            Ok(html) => (status, html).into_response(),
            Err(_) => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        };
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        response
    }

    /// M3: who has this session, if the account may still sign in with what it signed in with.
    async fn who(self: &Arc<Site>, token: &str) -> Result<Option<Standing>, Error> {
        let Some((id, fingerprint)) = self.sessions.find(token, self.clock.mono()) else { return Ok(None) };
        let standing = self.ask(move |household| household.standing(id)).await?;
        let standing = standing.filter(|standing| standing.fingerprint == fingerprint);
        if standing.is_none() {
            self.sessions.close(token);
        }
        Ok(standing)
    }
}

/// What a page answers with, before it has the cookies.
pub(super) enum Answer {
    Html(StatusCode, String),
    /// A page of something that goes on; it comes anew by itself.
    Waits(String),
    To(String),
    /// This browser's pages are to be in this language; empty for the household's.
    Speak(String),
    /// Signed in: a session of this account is to be opened.
    Enter(Box<Standing>, &'static str),
    Leave,
}

async fn file(request: Request) -> Response {
    let (kind, body) = match request.uri().path() {
        "/look/style.css" => ("text/css; charset=utf-8", format!("{}{}", look::STYLE, include_str!("pages/admin.css"))),
        "/look/mark.svg" => ("image/svg+xml", look::MARK.to_owned()),
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
    response
}

async fn page(State(site): State<Arc<Site>>, request: Request) -> Response {
    let mut visit = Visit::of(&site, &request);
    let answer = answered(&site, &mut visit, request).await;
    let answer = answer.unwrap_or_else(|error| pages::failed(&site, &visit, &error));
    let mut cookies = Vec::new();
    let mut response = match answer {
        Answer::Html(status, html) => site.html(&visit, status, html).await,
        Answer::Waits(html) => {
            let mut response = site.html(&visit, StatusCode::OK, html).await;
            response.headers_mut().insert(REFRESH, HeaderValue::from_static("2"));
            response
        }
        Answer::To(place) => to(&place),
        Answer::Speak(language) => {
            cookies.push(keep(LANGUAGE_COOKIE, &language));
            to("/me")
        }
        Answer::Enter(who, place) => {
            if let Some(old) = &visit.session {
                site.sessions.close(old);
            }
            let token = site.sessions.open(&who, &*site.random, site.clock.mono());
            cookies.push(set(SESSION_COOKIE, &token));
            to(place)
        }
        Answer::Leave => {
            if let Some(old) = &visit.session {
                site.sessions.close(old);
            }
            cookies.push(set(SESSION_COOKIE, ""));
            to("/sign-in")
        }
    };
    if visit.fresh {
        cookies.push(set(FORM_COOKIE, &visit.form));
    }
    for cookie in cookies {
        if let Ok(value) = HeaderValue::from_str(&cookie) {
            response.headers_mut().append(SET_COOKIE, value);
        }
    }
    response
}

fn to(place: &str) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    if let Ok(place) = HeaderValue::from_str(place) {
        response.headers_mut().insert(LOCATION, place);
    }
    response
}

async fn answered(site: &Arc<Site>, visit: &mut Visit, request: Request) -> Result<Answer, Error> {
    let Some(post) = is_post(request.method()) else {
        return Ok(pages::words(
            site,
            visit,
            StatusCode::METHOD_NOT_ALLOWED,
            "That is not possible here.",
            "These pages are read and filled in, and nothing else.",
        ));
    };
    if let Some(token) = visit.session.clone() {
        visit.who = site.who(&token).await?;
    }
    let Some(path) = segments(request.uri().path()) else { return Ok(pages::nothing(site, visit)) };
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    if !post {
        return pages::get(site, visit, &path).await;
    }
    let fields: Fields = match fields(request).await {
        Ok(fields) => fields,
        Err(why) => {
            let (status, words) = match why {
                Unread::TooLong => (StatusCode::PAYLOAD_TOO_LARGE, "It is too long."),
                Unread::NotAForm => (
                    StatusCode::BAD_REQUEST,
                    "It has line breaks or other signs where there can be none, or is not a form at all.",
                ),
            };
            return Ok(pages::words(site, visit, status, "That form cannot be read.", words));
        }
    };
    if !visit.may_post(&site.forms, &fields) {
        return Ok(pages::words(
            site,
            visit,
            StatusCode::FORBIDDEN,
            "Please try again.",
            "This form was too old, or it was not sent from a page of this box. Nothing was changed.",
        ));
    }
    pages::post(site, visit, &path, &fields).await
}
