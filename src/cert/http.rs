//! instant-acme's requests over our HTTP client, and what an answer says beside its body.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient as AcmeHttp};

use crate::base::{Clock, Time};
use crate::message::date;
use crate::net::{HttpClient, HttpError};

/// Of the last answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub status: u16,
    pub retry_after: Option<Time>,
}

#[derive(Clone)]
pub(super) struct Wire {
    client: HttpClient,
    clock: Arc<dyn Clock>,
    seen: Arc<Mutex<Seen>>,
}

impl Wire {
    pub fn new(client: HttpClient, clock: Arc<dyn Clock>) -> Wire {
        Wire { client, clock, seen: Arc::default() }
    }

    pub fn seen(&self) -> Seen {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send(self, request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, Error> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Seen::default();
        let (parts, body) = request.into_parts();
        let body = match body.collect().await {
            Ok(body) => body.to_bytes(),
            Err(never) => match never {},
        };
        let response = self.client.send(Request::from_parts(parts, body)).await;
        let (parts, body) = response.map_err(|error: HttpError| Error::Other(Box::new(error)))?.into_parts();
        let retry_after = retry_after(&parts.headers, self.clock.now());
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Seen { status: parts.status.as_u16(), retry_after };
        Ok(BytesResponse::from(Response::from_parts(parts, Full::new(body))))
    }
}

impl AcmeHttp for Wire {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        Box::pin(self.clone().send(request))
    }
}

/// RFC 9110 10.2.3: seconds, or a date.
fn retry_after(headers: &HeaderMap, now: Time) -> Option<Time> {
    let value = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.trim();
    match value.parse::<u32>() {
        Ok(seconds) => Some(now.plus_ms(i64::from(seconds) * 1000)),
        Err(_) => date::parse(value.as_bytes()).map(|date| date.time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_as_seconds_or_as_a_date() {
        let read = |value: &str| {
            let headers = HeaderMap::from_iter([(http::header::RETRY_AFTER, value.parse().unwrap())]);
            retry_after(&headers, Time::from_seconds(1000))
        };
        assert_eq!(read("120"), Some(Time::from_seconds(1120)));
        assert_eq!(read("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Time::from_seconds(784_111_777)));
        assert_eq!(read("soon"), None);
    }
}
