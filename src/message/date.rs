//! Dates: RFC 5322 3.3 (obsolete forms too), the two of IMAP (RFC 9051 9: `date`, `date-time`).

use crate::base::Time;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// 1970-01-01 was a Thursday.
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

/// A moment, and the zone it was written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Date {
    pub time: Time,
    /// Minutes east of UTC.
    pub zone: i16,
}

/// A day of the calendar, by itself: days since 1970-01-01, as on the writer's own calendar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub i64);

impl Date {
    /// In UTC.
    pub fn utc(time: Time) -> Date {
        Date { time, zone: 0 }
    }

    /// The day in its own zone: what SENTSINCE and SINCE compare (RFC 9051 6.4.4: disregarding time and timezone).
    pub fn day(&self) -> Day {
        Day(self.local_seconds().div_euclid(86_400))
    }

    fn local_seconds(&self) -> i64 {
        self.time.seconds().saturating_add(i64::from(self.zone) * 60)
    }

    /// From the fields as written; `None` if there is no such day or time.
    fn from_fields(day: Day, seconds: i64, zone: i16) -> Date {
        Date { time: Time::from_seconds(day.0 * 86_400 + seconds - i64::from(zone) * 60), zone }
    }

    /// Year, month from 0, day, hour, minute, second, as the writer's clock showed them; years kept to four digits.
    fn fields(&self) -> (i64, usize, i64, i64, i64, i64) {
        const FIRST: i64 = -62_167_219_200; // 0000-01-01T00:00:00
        const LAST: i64 = 253_402_300_799; // 9999-12-31T23:59:59
        let local = self.local_seconds().clamp(FIRST, LAST);
        let (year, month, day) = civil(local.div_euclid(86_400));
        let second = local.rem_euclid(86_400);
        (year, month, day, second / 3600, second / 60 % 60, second % 60)
    }
}

impl Day {
    /// `month` from 1. `None` if the calendar has no such day.
    pub fn new(year: i64, month: u32, day: u32) -> Option<Day> {
        if !(0..=9999).contains(&year) || !(1..=12).contains(&month) || day < 1 {
            return None;
        }
        // Days from 0000-03-01 in the Gregorian calendar: the leap day is the last of the year that begins in March.
        let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let before = 365 * y + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400);
        let days = before + i64::from((153 * m + 2) / 5) + i64::from(day) - 1 - 719_468;
        (civil(days) == (year, month as usize - 1, i64::from(day))).then_some(Day(days))
    }
}

/// Year, month from 0, day from 1, of a day counted from 1970-01-01.
fn civil(days: i64) -> (i64, usize, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let january = month >= 10;
    (era * 400 + year + i64::from(january), ((month + 2) % 12) as usize, day)
}

/// RFC 5322 3.3 and 4.3: the value of a Date field. Lenient: comments, the order of asctime, dashes between day, month
/// and year, a missing time (midnight) or zone (UTC) are let pass; a day or time that does not exist is not.
pub fn parse(value: &[u8]) -> Option<Date> {
    let value = without_comments(value.get(..1000).unwrap_or(value));
    let (mut day, mut month, mut year, mut time, mut zone) = (None, None, None, None, None);
    let mut rest = &value[..];
    while let Some(&first) = rest.first() {
        let sign = matches!(first, b'+' | b'-') && time.is_some();
        let length = rest
            .iter()
            .skip(usize::from(sign))
            .position(|b| !(b.is_ascii_alphanumeric() || *b == b':'))
            .map_or(rest.len(), |at| at + usize::from(sign));
        if length == 0 {
            rest = &rest[1..];
            continue;
        }
        let (word, after) = rest.split_at(length);
        rest = after;
        if sign {
            zone = zone.or(Some(numeric_zone(word).unwrap_or(0)));
        } else if word.contains(&b':') {
            time = time.or(Some(clock(word)?));
        } else if first.is_ascii_digit() {
            let number: u32 = std::str::from_utf8(word).ok()?.parse().ok()?;
            if day.is_none() && length <= 2 {
                day = Some(number);
            } else if year.is_none() {
                year = Some(match (length, i64::from(number)) {
                    (0..=2, n @ 0..50) => n + 2000, // RFC 5322 4.3
                    (0..=3, n) => n + 1900,
                    (_, n) => n,
                });
            }
        } else if let (None, Some(found)) = (month, month_named(word)) {
            month = Some(found);
        } else if time.is_some() {
            zone = zone.or_else(|| zone_named(word));
        }
    }
    let day = Day::new(year?, month?, day?)?;
    Some(Date::from_fields(day, time.unwrap_or(0), zone.unwrap_or(0)))
}

/// Comments (RFC 5322 3.2.2) made one space each.
fn without_comments(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    let mut depth = 0usize;
    for &b in value {
        match b {
            b'(' => depth += 1,
            b')' => {
                depth = depth.saturating_sub(1);
                out.push(b' ');
            }
            _ if depth == 0 => out.push(b),
            _ => {}
        }
    }
    out
}

fn month_named(word: &[u8]) -> Option<u32> {
    let word = word.get(..3)?;
    let at = MONTHS.iter().position(|month| month.as_bytes().eq_ignore_ascii_case(word))?;
    u32::try_from(at + 1).ok()
}

/// RFC 5322 4.3, obs-zone; all others (military ones among them) count as UTC.
fn zone_named(word: &[u8]) -> Option<i16> {
    let hours = match word.to_ascii_uppercase().as_slice() {
        b"EDT" => -4,
        b"EST" | b"CDT" => -5,
        b"CST" | b"MDT" => -6,
        b"MST" | b"PDT" => -7,
        b"PST" => -8,
        b"UT" | b"GMT" | b"UTC" | b"Z" => 0,
        _ => return None,
    };
    Some(hours * 60)
}

/// `+hhmm` or `-hhmm`, within a day.
fn numeric_zone(word: &[u8]) -> Option<i16> {
    let (sign, digits) = word.split_first()?;
    if digits.len() != 4 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: i16 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let minutes = number / 100 * 60 + number % 100;
    (number % 100 < 60 && minutes < 24 * 60).then_some(if *sign == b'-' { -minutes } else { minutes })
}

/// `hh:mm` or `hh:mm:ss` as seconds of the day; the leap second counts as the one before it.
fn clock(word: &[u8]) -> Option<i64> {
    let mut numbers = [0i64; 3];
    let mut count = 0;
    for part in word.split(|b| *b == b':') {
        if part.is_empty() || part.len() > 2 {
            return None;
        }
        *numbers.get_mut(count)? = std::str::from_utf8(part).ok()?.parse().ok()?;
        count += 1;
    }
    let [hour, minute, second] = numbers;
    (count >= 2 && hour < 24 && minute < 60 && second <= 60).then_some(hour * 3600 + minute * 60 + second.min(59))
}

/// `Tue, 17 Jul 1996 02:44:25 -0700` (RFC 5322 3.3).
pub fn rfc5322(date: Date) -> String {
    let (year, month, day, hour, minute, second) = date.fields();
    let weekday = Day::new(year, month as u32 + 1, day as u32).unwrap_or_default().0.rem_euclid(7) as usize;
    let (weekday, month) = (WEEKDAYS[weekday % 7], MONTHS[month % 12]);
    format!("{weekday}, {day} {month} {year:04} {hour:02}:{minute:02}:{second:02} {}", zone(date.zone))
}

/// `17-Jul-1996 02:44:25 -0700`, the day of two characters, without quotes (RFC 9051 9, date-time; INTERNALDATE).
pub fn imap(date: Date) -> String {
    let (year, month, day, hour, minute, second) = date.fields();
    let month = MONTHS[month % 12];
    format!("{day:2}-{month}-{year:04} {hour:02}:{minute:02}:{second:02} {}", zone(date.zone))
}

/// `2026-11-18 11:06 UTC`, for sentences.
pub fn iso_minute(date: Date) -> String {
    let (year, month, day, hour, minute, _) = Date::utc(date.time).fields();
    format!("{year:04}-{:02}-{day:02} {hour:02}:{minute:02} UTC", month + 1)
}

/// `2026-11-18T11:06:40Z` (RFC 3339 5.6), in UTC.
pub fn rfc3339(date: Date) -> String {
    let (year, month, day, hour, minute, second) = Date::utc(date.time).fields();
    format!("{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z", month + 1)
}

/// The same read back (RFC 3339 5.6), in UTC alone; fractions of a second are dropped.
pub fn parse_rfc3339(text: &str) -> Option<Time> {
    let text = text.strip_suffix(['Z', 'z'])?;
    let (text, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let bytes = text.as_bytes();
    let marks: [(usize, &str); 5] = [(4, "-"), (7, "-"), (10, "Tt"), (13, ":"), (16, ":")];
    let is_mark = |(at, those): &(usize, &str)| bytes.get(*at).is_some_and(|b| those.as_bytes().contains(b));
    let marked = marks.iter().all(is_mark);
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if bytes.len() != 19 || !marked || !digits(fraction) {
        return None;
    }
    let number = |range: std::ops::Range<usize>| text.get(range).filter(|text| digits(text))?.parse::<u32>().ok();
    let day = Day::new(i64::from(number(0..4)?), number(5..7)?, number(8..10)?)?;
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    // A leap second is as good as the one before it.
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    Some(Time::from_seconds(day.0 * 86_400 + i64::from(hour * 3600 + minute * 60 + second.min(59))))
}

fn zone(minutes: i16) -> String {
    let sign = if minutes < 0 { '-' } else { '+' };
    let minutes = minutes.unsigned_abs();
    format!("{sign}{:02}{:02}", minutes / 60, minutes % 60)
}

/// The same read back: RFC 9051 9, date-time, without quotes.
pub fn parse_imap(text: &[u8]) -> Option<Date> {
    let text = text.trim_ascii_start();
    let mut words = text.split(|b| *b == b' ');
    let (day, time, zone) = (words.next()?, words.next()?, words.next()?);
    if words.next().is_some() || time.len() != 8 {
        return None;
    }
    if !matches!(zone.first(), Some(b'+' | b'-')) {
        return None;
    }
    Some(Date::from_fields(parse_imap_day(day)?, clock(time)?, numeric_zone(zone)?))
}

/// `1-Feb-1994` (RFC 9051 9, date), without quotes.
pub fn parse_imap_day(text: &[u8]) -> Option<Day> {
    let mut words = text.split(|b| *b == b'-');
    let (day, month, year) = (words.next()?, words.next()?, words.next()?);
    if words.next().is_some() || month.len() != 3 || year.len() != 4 || !matches!(day.len(), 1 | 2) {
        return None;
    }
    let number = |digits: &[u8]| -> Option<u32> {
        digits.iter().all(u8::is_ascii_digit).then(|| std::str::from_utf8(digits).ok()?.parse().ok())?
    };
    Day::new(number(year)?.into(), month_named(month)?, number(day)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1996-07-17T09:44:25Z
    const TIME: Time = Time(837_596_665_000);

    #[test]
    fn both_forms_are_written_and_read_back() {
        let date = Date { time: TIME, zone: -420 };
        assert_eq!(rfc5322(date), "Wed, 17 Jul 1996 02:44:25 -0700");
        assert_eq!(imap(date), "17-Jul-1996 02:44:25 -0700");
        assert_eq!(parse(b"Wed, 17 Jul 1996 02:44:25 -0700"), Some(date));
        assert_eq!(parse_imap(b"17-Jul-1996 02:44:25 -0700"), Some(date));
        assert_eq!(imap(Date::utc(Time(0))), " 1-Jan-1970 00:00:00 +0000");
        assert_eq!(parse_imap(b" 1-Jan-1970 00:00:00 +0000"), Some(Date::utc(Time(0))));
    }

    #[test]
    fn obsolete_and_sloppy_forms() {
        let july = |zone| Some(Date { time: TIME, zone });
        for (text, expected) in [
            (&b"17 Jul 96 02:44:25 PDT"[..], july(-420)),
            (b"17 Jul 096 09:44:25 GMT", july(0)),
            (b"Wed,\r\n 17 (x) Jul\r\n 1996 (comment (nested)) 02:44:25 -0700 (PDT)", july(-420)),
            (b"Wed Jul 17 09:44:25 1996", july(0)),
            (b"Wed, 17-Jul-96 09:44:25 GMT", july(0)),
            (b"Wed, 17 July 1996 09:44:25 -0000", july(0)),
            (b"wed, 17 jul 1996 02:44:25 -0700", july(-420)),
            (b"1 Jan 2000", Some(Date::utc(Time(946_684_800_000)))),
            (b"31 Dec 2016 23:59:60 +0000", Some(Date::utc(Time(1_483_228_799_000)))),
            (b"29 Feb 2024 00:00 +0000", Some(Date::utc(Time(1_709_164_800_000)))),
            (b"29 Feb 2023 00:00 +0000", None),
            (b"32 Jan 2000 00:00:00 +0000", None),
            (b"1 Jan 2000 25:00:00 +0000", None),
            (b"1 Jan 99999999999", None),
            (b"", None),
            (b"yesterday", None),
        ] {
            assert_eq!(parse(text), expected, "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn days_are_those_of_the_writer() {
        let late = parse(b"1 Feb 1994 23:30:00 -0800").unwrap();
        assert_eq!(Some(late.day()), parse_imap_day(b"1-Feb-1994"));
        assert!(parse_imap_day(b"1-Feb-1994") < parse_imap_day(b"02-feb-1994"));
        for bad in ["1-Feb-94", "30-Feb-1994", "1-Fob-1994", "1-Feb-1994-", "+1-Feb-1994", "", "1-Feb"] {
            assert_eq!(parse_imap_day(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn times_no_calendar_reaches_do_not_break_it() {
        for time in [Time(i64::MIN), Time(i64::MAX)] {
            let date = Date { time, zone: -1439 };
            assert_eq!(rfc5322(date).len(), if time.0 < 0 { 30 } else { 31 });
            let _ = (imap(date), date.day());
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_reads_back(seconds in -62_000_000_000i64..253_000_000_000, zone in -1439i16..1440) {
            let date = Date { time: Time::from_seconds(seconds), zone };
            proptest::prop_assert_eq!(parse(rfc5322(date).as_bytes()), Some(date));
            proptest::prop_assert_eq!(parse_imap(imap(date).as_bytes()), Some(date));
        }

        #[test]
        fn nothing_breaks_it(text: Vec<u8>) {
            let _ = (parse(&text), parse_imap(&text), parse_imap_day(&text));
        }
    }

    #[test]
    fn times_for_sentences_and_scripts_are_in_utc() {
        let date = Date { time: Time::from_seconds(1_795_000_000), zone: 120 };
        assert_eq!(iso_minute(date), "2026-11-18 11:06 UTC");
        assert_eq!(rfc3339(date), "2026-11-18T11:06:40Z");
        assert_eq!(parse_rfc3339("2026-11-18t11:06:40.25z"), Some(date.time));
        for wrong in [
            "2026-11-18T11:06:40",
            "2026-11-31T11:06:40Z",
            "2026-11-18T24:06:40Z",
            "2026-11-18 11:06:40Z",
            "2026-11-18T11:06:4\u{fc}Z",
            "+026-11-18T11:06:40Z",
        ] {
            assert_eq!(parse_rfc3339(wrong), None, "{wrong}");
        }
    }
}
