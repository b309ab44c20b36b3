//! Whether a letter is a report, and of which kind.

use crate::message::{self, Limits, Part, decode, header};

use super::{LETTER_BYTES, Report, Unread, aggregate, feedback, tls, unpack};

/// Parts of a letter that are looked at; a report has three.
const PARTS: usize = 20;

/// `Ok(None)`: it is none, and does not say so. RFC 9990 3.5, RFC 8460 5.3, RFC 5965 2.
pub fn find(letter: &[u8]) -> Result<Option<Report>, Unread> {
    let claims = claims(letter);
    let unread = |why| if claims { Err(why) } else { Ok(None) };
    if letter.len() > LETTER_BYTES {
        return unread(Unread::TooLong);
    }
    let Ok(message) = message::parse(letter, &Limits::default()) else { return unread(Unread::Letter) };
    let mut last = Unread::Letter;
    for (_, part) in message.body.walk().into_iter().take(PARTS) {
        match read(letter, part) {
            None => {}
            Some(Ok(report)) => return Ok(Some(report)),
            Some(Err(why)) => last = why,
        }
    }
    unread(last)
}

/// Whether its subject or its type says that it is a report: then it is worth a word that it could not be read, and none of our
/// own reports counts it, since two servers that report on one another's reports would never end.
pub fn claims(letter: &[u8]) -> bool {
    let head = letter.get(..header::end(letter)).unwrap_or_default();
    let subject = header::find(head, "Subject").map(|field| decode::words(&field.value()).to_ascii_lowercase());
    let subject = subject.unwrap_or_default();
    if subject.contains("report domain:") && subject.contains("report-id:") {
        return true;
    }
    let kind = header::find(head, "Content-Type").map(|field| field.value().to_ascii_lowercase()).unwrap_or_default();
    let has = |word: &[u8]| kind.windows(word.len()).any(|window| window == word);
    has(b"tlsrpt") || has(b"feedback-report")
}

/// `None`: no part of a report.
fn read(letter: &[u8], part: &Part<'_>) -> Option<Result<Report, Unread>> {
    if part.is_kind("multipart") {
        return None;
    }
    let is_feedback = part.is("message", "feedback-report");
    if !is_feedback && !may_be_packed(part) {
        return None;
    }
    let range = part.body_range();
    let (start, end) = (usize::try_from(range.start).ok()?, usize::try_from(range.end).ok()?);
    let body = decode::transfer(part.encoding(), letter.get(start..end)?);
    if is_feedback {
        return Some(feedback::read(&body).map(Report::Feedback));
    }
    let unpacked = match unpack::unpack(&body) {
        Ok(unpacked) => unpacked,
        Err(why) => return Some(Err(why)),
    };
    let start = unpacked.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&unpacked);
    match start.trim_ascii_start().first() {
        Some(b'<') => Some(aggregate::read(&unpacked).map(Report::Aggregate)),
        Some(b'{') => Some(tls::read(start).map(Report::Tls)),
        _ => None,
    }
}

/// The types that reports have, and those that senders give to whatever they do not know, by the name of the file.
fn may_be_packed(part: &Part<'_>) -> bool {
    if part.is("text", "xml") {
        return true;
    }
    if !part.is_kind("application") {
        return false;
    }
    const KNOWN: [&str; 9] =
        ["gzip", "x-gzip", "zip", "x-zip", "x-zip-compressed", "xml", "tlsrpt+gzip", "tlsrpt+json", "json"];
    if KNOWN.iter().any(|subtype| part.is("application", subtype)) {
        return true;
    }
    let name = part
        .disposition
        .as_ref()
        .and_then(|given| given.params.iter().find(|one| one.name.eq_ignore_ascii_case(b"filename")));
    let name = name.map(|param| param.value.as_ref()).or(part.param("name")).unwrap_or_default().to_ascii_lowercase();
    [&b".xml"[..], b".gz", b".zip", b".json"].iter().any(|end| name.ends_with(end))
}
