//! Time zones to choose from, and times as people read them.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::base::Time;

/// Continents and oceans, in the order of the list; what stands beside them in the database are old names.
const PLACES: [&str; 9] =
    ["Europe", "Africa", "America", "Asia", "Atlantic", "Australia", "Indian", "Pacific", "Antarctica"];

/// A continent with its places: the value and what is shown.
pub(super) type Group = (String, Vec<(String, String)>);

pub(super) fn groups() -> Vec<Group> {
    let names: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
    let mut groups: Vec<Group> = PLACES
        .iter()
        .map(|place| {
            let mut zones: Vec<(String, String)> = names
                .iter()
                .filter_map(|name| {
                    let rest = name.strip_prefix(place)?.strip_prefix('/')?;
                    Some((name.clone(), rest.replace('_', " ").replace('/', ", ")))
                })
                .collect();
            zones.sort();
            ((*place).to_owned(), zones)
        })
        .collect();
    groups.push(("None of these".to_owned(), vec![("Etc/UTC".to_owned(), "Universal time".to_owned())]));
    groups
}

pub(super) fn is_zone(name: &str) -> bool {
    name.len() < 64 && TimeZone::get(name).is_ok()
}

/// A first guess from the languages that a browser asks for; who it is wrong for picks another.
pub(super) fn guess(languages: &str) -> &'static str {
    let first = languages.split([',', ';']).next().unwrap_or("").trim().to_ascii_lowercase();
    let (language, region) = first.split_once('-').unwrap_or((&first, ""));
    match (language, region) {
        (_, "de") => "Europe/Berlin",
        (_, "at") => "Europe/Vienna",
        (_, "ch") => "Europe/Zurich",
        (_, "be") => "Europe/Brussels",
        (_, "ca") => "America/Toronto",
        (_, "us") => "America/New_York",
        (_, "au") => "Australia/Sydney",
        (_, "nz") => "Pacific/Auckland",
        (_, "ie") => "Europe/Dublin",
        (_, "br") => "America/Sao_Paulo",
        (_, "mx") => "America/Mexico_City",
        (_, "in") => "Asia/Kolkata",
        ("de", _) => "Europe/Berlin",
        ("fr", _) => "Europe/Paris",
        ("it", _) => "Europe/Rome",
        ("es", _) => "Europe/Madrid",
        ("pt", _) => "Europe/Lisbon",
        ("nl", _) => "Europe/Amsterdam",
        ("pl", _) => "Europe/Warsaw",
        ("sv", _) => "Europe/Stockholm",
        ("da", _) => "Europe/Copenhagen",
        ("nb" | "no" | "nn", _) => "Europe/Oslo",
        ("fi", _) => "Europe/Helsinki",
        ("cs", _) => "Europe/Prague",
        ("el", _) => "Europe/Athens",
        ("ja", _) => "Asia/Tokyo",
        ("en", "gb") => "Europe/London",
        _ => "Etc/UTC",
    }
}

/// `14:05`, with the day before it when that is not today; in the zone that was chosen.
pub(super) fn clock(time: Time, now: Time, zone: &str) -> String {
    let zone = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
    let at = |time: Time| Timestamp::from_second(time.seconds()).unwrap_or_default().to_zoned_datetime(zone.clone());
    let (time, now) = (at(time), at(now));
    let words = if time.date() == now.date() { "%H:%M" } else { "%-d %B, %H:%M" };
    time.strftime(words).to_string()
}

/// `3 February 2027`.
pub(super) fn day(time: Time, zone: &str) -> String {
    let zone = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
    Timestamp::from_second(time.seconds()).unwrap_or_default().to_zoned_datetime(zone).strftime("%-d %B %Y").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_has_the_places_people_look_for() {
        let groups = groups();
        let all: Vec<&str> =
            groups.iter().flat_map(|(_, zones)| zones.iter().map(|(value, _)| value.as_str())).collect();
        for zone in ["Europe/Berlin", "America/New_York", "America/Argentina/Buenos_Aires", "Asia/Kolkata", "Etc/UTC"] {
            assert!(all.contains(&zone), "{zone}");
        }
        assert!(all.iter().all(|zone| is_zone(zone)));
        assert!(!is_zone("Europe/Nowhere") && !is_zone(""));
    }

    #[test]
    fn every_guess_is_in_the_list() {
        for languages in
            ["de-AT,de;q=0.9", "de", "fr-CH", "en-US,en;q=0.5", "en-GB", "pt-BR", "nb", "ja", "", "xx-YY", "en"]
        {
            assert!(is_zone(guess(languages)), "{languages}");
        }
        assert_eq!(guess("de-AT,de;q=0.9"), "Europe/Vienna");
    }

    #[test]
    fn times_are_shown_where_people_live() {
        let noon = Time::from_seconds(1_795_694_400);
        assert_eq!(clock(noon, noon, "Europe/Berlin"), "13:00");
        assert_eq!(clock(noon.plus_ms(86_400_000), noon, "Europe/Berlin"), "27 November, 13:00");
        assert_eq!(clock(noon, noon, "Nowhere"), "12:00");
        assert_eq!(day(noon, "Europe/Berlin"), "26 November 2026");
    }
}
