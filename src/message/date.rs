//! Dates: RFC 5322 3.3 (obsolete forms too), the two of IMAP (RFC 9051 9: `date`, `date-time`).

use crate::base::Time;

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
        Day((self.time.seconds() + i64::from(self.zone) * 60).div_euclid(86_400))
    }
}

/// RFC 5322 3.3 and 4.3: the value of a Date field.
pub fn parse(_value: &[u8]) -> Option<Date> {
    todo!()
}

/// `Tue, 17 Jul 1996 02:44:25 -0700` (RFC 5322 3.3).
pub fn rfc5322(_date: Date) -> String {
    todo!()
}

/// `17-Jul-1996 02:44:25 -0700`, the day of two characters, without quotes (RFC 9051 9, date-time; INTERNALDATE).
pub fn imap(_date: Date) -> String {
    todo!()
}

/// The same read back: RFC 9051 9, date-time, without quotes.
pub fn parse_imap(_text: &[u8]) -> Option<Date> {
    todo!()
}

/// `1-Feb-1994` (RFC 9051 9, date), without quotes.
pub fn parse_imap_day(_text: &[u8]) -> Option<Day> {
    todo!()
}
