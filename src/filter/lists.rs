//! Block lists in the DNS: what is asked, and what an answer means (RFC 5782).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::timeout;

use crate::base::Mono;
use crate::mailauth::{Missing, Names};

/// For one question; whoever waits longer for lists keeps a good sender waiting.
const PATIENCE: Duration = Duration::from_secs(4);
/// A list that did not answer, or answered nonsense, is left alone so long.
const REST_MS: u64 = 10 * 60_000;
/// That a list answers as one does is believed so long.
const SOUND_MS: u64 = 60 * 60_000;
/// Octets of the words that a list gives.
const WORDS: usize = 200;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listing {
    Clean,
    /// A list of addresses that are homes'. Normal, and no reproach.
    Home,
    /// For what somebody did from it.
    Bad(&'static str),
    /// The list did not answer the question: the sentence says why. It says nothing about the address.
    Unreadable(&'static str),
}

/// What a block list's answer means (the codes that Spamhaus publishes, and RFC 5782 for all others). Only 127.0.0.0/8 is an
/// answer at all: anything else is a name server on the way that makes answers up.
pub fn listing(answers: &[Ipv4Addr]) -> Listing {
    let mut found = Listing::Clean;
    for answer in answers {
        let meant = match answer.octets() {
            [127, 255, 255, 252] => Listing::Unreadable("the list's name is mistyped"),
            [127, 255, 255, 254] => Listing::Unreadable("it does not answer through this name server"),
            [127, 255, 255, 255] => Listing::Unreadable("it was asked too often"),
            [127, 255, ..] => Listing::Unreadable("it says that it cannot answer"),
            [127, 0, 0, 1] => Listing::Unreadable("an answer that no list gives"),
            [127, 0, 0, 10 | 11] => Listing::Home,
            [127, 0, 0, 2 | 3] => Listing::Bad("spam was sent from it"),
            [127, 0, 0, 4..=7] => Listing::Bad("a computer behind it is infected"),
            [127, 0, 0, 9] => Listing::Bad("its network belongs to criminals"),
            [127, ..] => Listing::Bad("it is on the list"),
            _ => Listing::Unreadable("a name server on the way makes answers up"),
        };
        let weight = |listing: &Listing| match listing {
            Listing::Clean => 0,
            Listing::Home => 1,
            Listing::Bad(_) => 2,
            Listing::Unreadable(_) => 3,
        };
        if weight(&meant) > weight(&found) {
            found = meant;
        }
    }
    found
}

/// The name that is asked about an address (RFC 5782 2.1, 2.4).
pub fn question(list: &str, address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(four) => {
            let [a, b, c, d] = four.octets();
            format!("{d}.{c}.{b}.{a}.{list}")
        }
        IpAddr::V6(six) => {
            let nibbles = six.octets().into_iter().rev().flat_map(|octet| [octet & 15, octet >> 4]);
            let mut name: String = nibbles.map(|nibble| format!("{nibble:x}.")).collect();
            name.push_str(list);
            name
        }
    }
}

/// A list that names the address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    pub list: String,
    /// What the list says about it, as one line of printable ASCII; may be empty.
    pub words: String,
}

/// The lists that are asked, and what is known of how they answer.
#[derive(Debug, Default)]
pub struct Lists(Mutex<HashMap<String, Known>>);

#[derive(Clone, Copy, Debug)]
struct Known {
    sound: bool,
    until: Mono,
}

impl Lists {
    fn known(&self, list: &str, now: Mono) -> Option<bool> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(list).filter(|known| now < known.until).map(|known| known.sound)
    }

    fn note(&self, list: &str, sound: bool, now: Mono) {
        let until = now.plus_ms(if sound { SOUND_MS } else { REST_MS });
        let before =
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(list.to_owned(), Known { sound, until });
        if !sound && before.is_none_or(|before| before.sound) {
            tracing::warn!(list, "a block list does not answer as one; it is not listened to for now");
        }
    }

    /// The first of `lists` that names the address. Whatever is not known lists nobody.
    pub async fn look(&self, names: &dyn Names, lists: &[String], address: IpAddr, now: Mono) -> Option<Hit> {
        for list in lists {
            match self.known(list, now) {
                Some(false) => continue,
                Some(true) => {}
                None => {
                    let sound = is_sound(names, list).await;
                    self.note(list, sound, now);
                    if !sound {
                        continue;
                    }
                }
            }
            let name = question(list, address);
            match ask(names, &name).await {
                Listing::Clean => {}
                Listing::Home | Listing::Bad(_) => {
                    return Some(Hit { list: list.clone(), words: words(names, &name).await });
                }
                // RFC 5782 says nothing of this; the lists do: it is about who asks, never about the address.
                Listing::Unreadable(_) => self.note(list, false, now),
            }
        }
        None
    }
}

async fn ask(names: &dyn Names, name: &str) -> Listing {
    match timeout(PATIENCE, names.a(name)).await {
        Ok(Ok(answers)) => {
            let four = |address: &IpAddr| match address {
                IpAddr::V4(four) => Some(*four),
                IpAddr::V6(_) => None,
            };
            listing(&answers.iter().filter_map(four).collect::<Vec<_>>())
        }
        Ok(Err(Missing::NoName | Missing::NoData)) => Listing::Clean,
        Ok(Err(Missing::Unknown)) | Err(_) => Listing::Unreadable("it did not answer"),
    }
}

/// RFC 5782 5: a list has 127.0.0.2 and has not 127.0.0.1. One that was given up, and whose name leads to an advertisement
/// now, has both; one that this machine cannot ask has neither.
async fn is_sound(names: &dyn Names, list: &str) -> bool {
    let (there, missing) =
        (question(list, Ipv4Addr::new(127, 0, 0, 2).into()), question(list, Ipv4Addr::LOCALHOST.into()));
    let (there, missing) = tokio::join!(ask(names, &there), ask(names, &missing));
    matches!(there, Listing::Bad(_) | Listing::Home) && missing == Listing::Clean
}

async fn words(names: &dyn Names, name: &str) -> String {
    let Ok(Ok(texts)) = timeout(PATIENCE, names.txt(name)).await else { return String::new() };
    let first = texts.into_iter().next().unwrap_or_default();
    first.into_iter().filter(|byte| matches!(byte, b' '..=b'~')).take(WORDS).map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailauth::fake::Zone;

    #[test]
    fn an_answer_that_is_no_answer_lists_nobody() {
        let answer = |texts: &[&str]| listing(&texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>());
        assert_eq!(answer(&[]), Listing::Clean);
        assert_eq!(answer(&["127.0.0.10"]), Listing::Home);
        assert_eq!(answer(&["127.0.0.11", "127.0.0.4"]), Listing::Bad("a computer behind it is infected"));
        for unreadable in ["127.255.255.254", "127.255.255.255", "127.255.255.252", "127.0.0.1", "203.0.113.80"] {
            assert!(matches!(answer(&["127.0.0.2", unreadable]), Listing::Unreadable(_)), "{unreadable}");
        }
    }

    const LIST: &str = "list.example";

    fn zone() -> Zone {
        let mut zone = Zone::default().with_address("2.0.0.127.list.example", "127.0.0.2");
        zone = zone.with_address("7.113.0.203.list.example", "127.0.0.4");
        zone.with_txt("7.113.0.203.list.example", "see https://list.example/\u{7}\r\n203.0.113.7\u{202e}")
    }

    async fn look(lists: &Lists, zone: &Zone, address: &str, at: u64) -> Option<String> {
        let hit = lists.look(zone, &[LIST.to_owned()], address.parse().unwrap(), Mono(at)).await;
        hit.map(|hit| format!("{}: {}", hit.list, hit.words))
    }

    #[test]
    fn the_question_is_the_address_backwards() {
        assert_eq!(question(LIST, "203.0.113.7".parse().unwrap()), "7.113.0.203.list.example");
        assert_eq!(question(LIST, "::ffff:203.0.113.7".parse().unwrap()), "7.113.0.203.list.example");
        let six = question(LIST, "2001:db8::1".parse().unwrap());
        assert_eq!(six, "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.list.example");
    }

    #[tokio::test]
    async fn who_is_listed_is_named_with_the_lists_words() {
        let lists = Lists::default();
        let words = look(&lists, &zone(), "203.0.113.7", 0).await;
        assert_eq!(words.as_deref(), Some("list.example: see https://list.example/203.0.113.7"));
        assert_eq!(look(&lists, &zone(), "203.0.113.8", 0).await, None);
    }

    #[tokio::test]
    async fn a_list_that_names_everybody_or_cannot_be_asked_lists_nobody_until_it_is_sound_again() {
        for (answer, zone) in [
            ("everybody", zone().with_address("1.0.0.127.list.example", "127.0.0.2")),
            ("an advertisement", zone().with_address("1.0.0.127.list.example", "203.0.113.80")),
            ("nobody", Zone::default()),
            ("a public resolver", zone().with_address("2.0.0.127.list.example", "127.255.255.254")),
        ] {
            let lists = Lists::default();
            assert_eq!(look(&lists, &zone, "203.0.113.7", 0).await, None, "{answer}");
            assert_eq!(
                look(&lists, &self::zone(), "203.0.113.7", REST_MS - 1).await,
                None,
                "{answer}: asked again too soon"
            );
            assert!(look(&lists, &self::zone(), "203.0.113.7", REST_MS).await.is_some(), "{answer}: never asked again");
        }
    }

    #[tokio::test]
    async fn cannot_ask_is_never_listed_and_lets_the_list_rest() {
        let lists = Lists::default();
        let refused = zone().with_address("9.113.0.203.list.example", "127.255.255.255");
        assert_eq!(look(&lists, &refused, "203.0.113.9", 0).await, None);
        assert_eq!(look(&lists, &zone(), "203.0.113.7", 1).await, None, "asked on, although it asked not to be");
    }

    #[tokio::test]
    async fn a_silent_list_is_waited_for_once() {
        let lists = Lists::default();
        let mut silent = zone();
        silent.silent = vec![LIST.to_owned()];
        assert_eq!(look(&lists, &silent, "203.0.113.7", 0).await, None);
        assert_eq!(lists.known(LIST, Mono(1)), Some(false), "it is asked, and waited for, again at once");
    }
}
