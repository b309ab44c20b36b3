//! For tests of other folders: the administration without a connection, asked in plain words.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use http::Request;
use tower::ServiceExt;

use crate::base::{Clock, Random};
use crate::net::Connection;
use crate::web::language::{Languages, missing};

use super::household::Household;
use super::site::router;

pub(crate) struct Counter(Router);

/// What was answered.
pub(crate) struct Seen {
    pub status: u16,
    /// Where to go from here.
    pub place: String,
    pub kind: String,
    pub cookies: Vec<String>,
    pub body: String,
}

impl Counter {
    pub fn new(
        household: Arc<dyn Household>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        languages: Arc<Languages>,
    ) -> Counter {
        Counter(router(household, clock, random, languages))
    }

    pub async fn ask(&self, peer: IpAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Seen {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::from(body.to_owned())).unwrap();
        let local = SocketAddr::from(([192, 0, 2, 9], 443));
        request.extensions_mut().insert(Connection { peer: SocketAddr::new(peer, 4000), local, id: 1, vouched: true });
        let response = self.0.clone().oneshot(request).await.unwrap();
        let all = |name: &str| {
            let values = response.headers().get_all(name).iter();
            values.filter_map(|value| value.to_str().ok()).map(str::to_owned).collect::<Vec<_>>()
        };
        let one = |name: &str| all(name).into_iter().next().unwrap_or_default();
        let (status, place, kind) = (response.status().as_u16(), one("location"), one("content-type"));
        let cookies = all("set-cookie");
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        if kind.starts_with("text/html") && body.contains("<html lang=\"en\">") {
            // Whatever a test makes a page show has to be there in every language.
            assert_eq!(missing(&body), Vec::<String>::new(), "{method} {path}: no phrase for these");
        }
        Seen { status, place, kind, cookies, body }
    }
}
