//! How the trial letters look: what came of the one that went out, and what was found out about the one that came in.

use crate::appliance::wizard::{Arrived, End, Found, Sent, View, Way};
use crate::web::look;

use super::zones;

/// Of the letter that went out: one of the four states, and what to do.
pub(super) struct Out {
    pub class: &'static str,
    pub pill: String,
    pub headline: String,
    pub words: Vec<String>,
    /// What the far end said.
    pub said: Option<String>,
    /// It goes on by itself.
    pub waits: bool,
}

/// Of the letter that came in.
pub(super) struct In {
    pub from: String,
    pub junk: bool,
    /// What was looked at, how it came out, and the words for it.
    pub rows: Vec<(&'static str, &'static str, String)>,
}

impl Out {
    pub fn of(view: &View, zone: &str) -> Option<Out> {
        let sent = view.saved.out.as_ref()?;
        let going = view.facts.going.iter().find(|going| going.mark == sent.mark).map(|going| &going.way);
        Some(match (sent.end.as_ref(), going) {
            (Some(end), _) | (None, Some(Way::Ended(end))) => Out::ended(sent, end),
            (None, Some(Way::Waits { said, next })) => {
                let next = zones::clock(*next, view.facts.now, zone);
                Out::waiting(sent, said.as_deref(), &next, view.facts.standstill.as_deref())
            }
            (None, None) => Out {
                class: "wait",
                pill: "… not known".to_owned(),
                headline: format!("What became of the letter to {} is not known.", sent.to),
                words: vec![
                    "It has left the queue, and this box was started anew meanwhile. Look whether it is there, or send another."
                        .to_owned(),
                ],
                said: None,
                waits: false,
            },
        })
    }

    fn waiting(sent: &Sent, said: Option<&str>, next: &str, standstill: Option<&str>) -> Out {
        let to = &sent.to;
        if let Some(why) = standstill {
            return Out {
                class: "need",
                pill: "→ waits for you".to_owned(),
                headline: format!("The letter to {to} stays here."),
                words: vec![why.to_owned()],
                said: None,
                waits: true,
            };
        }
        let Some(said) = said else {
            return Out {
                class: "wait",
                pill: "… on its way".to_owned(),
                headline: format!("The letter to {to} is on its way."),
                words: vec!["This page says by itself what comes of it.".to_owned()],
                said: None,
                waits: true,
            };
        };
        Out {
            class: "wait",
            pill: "… not taken yet".to_owned(),
            headline: format!("The letter to {to} is not taken yet."),
            words: vec![
                look::meaning(said).to_owned(),
                format!("It is tried again by itself, at about {next}. You can go on meanwhile."),
            ],
            said: Some(said.to_owned()),
            waits: true,
        }
    }

    fn ended(sent: &Sent, end: &End) -> Out {
        let to = &sent.to;
        match end {
            End::Taken { host, tls, said } => Out {
                class: "done",
                pill: format!("✓ taken by {host}"),
                headline: format!("The letter to {to} got out."),
                words: vec![
                    match tls {
                        true => "It was encrypted on its way.".to_owned(),
                        false => format!("It was not encrypted on its way, since that did not work with {host}."),
                    },
                    "Look for it there, also among the spam. If it lies there, say that it is none.".to_owned(),
                ],
                said: Some(said.clone()),
                waits: false,
            },
            End::Refused { host, said } => Out {
                class: "bad",
                pill: match host {
                    Some(host) => format!("✕ refused by {host}"),
                    None => "✕ not possible".to_owned(),
                },
                headline: format!("The letter to {to} did not get out."),
                words: vec![what_to_do(said).to_owned()],
                said: Some(said.clone()),
                waits: false,
            },
        }
    }
}

/// After a refusal, by its status (RFC 3463 3).
fn what_to_do(said: &str) -> &'static str {
    let status = said.split_whitespace().nth(1).unwrap_or("");
    match status.split('.').nth(1) {
        Some("1") => "There is no such address. Look at how it is written, and send another.",
        Some("2") => "The letter box there takes nothing. Try another address.",
        Some("4") => "Nobody takes letters for this address, or its domain does not exist. Look at how it is written.",
        Some("7") => {
            "The server there does not trust this box. Look whether all records are right (step Records). If it says that the \
             address of your line is on a list, or that dynamic addresses are not wanted, letters have to leave through a relay \
             (step Your line)."
        }
        _ => {
            "What the server there says is why. If it does not want letters of homes, they have to leave through a relay (step Your line)."
        }
    }
}

impl In {
    pub fn of(arrived: &Arrived) -> In {
        let tls = match arrived.tls {
            true => ("done", "✓ encrypted on its way".to_owned()),
            false => ("wait", "… not encrypted on its way".to_owned()),
        };
        let row = |name, (class, words)| (name, class, words);
        In {
            from: arrived.from.clone(),
            junk: arrived.junk,
            rows: vec![
                row("Encryption", tls),
                row("Server (SPF)", spf(&arrived.spf)),
                row("Signature (DKIM)", dkim(&arrived.dkim)),
                row("Sender (DMARC)", dmarc(&arrived.dmarc)),
            ],
        }
    }
}

fn spf(found: &Found) -> (&'static str, String) {
    let domain = &found.domain;
    match found.result.as_str() {
        "pass" => ("done", format!("✓ the server may send for {domain}")),
        "fail" | "softfail" => ("bad", format!("✕ the server may not send for {domain}")),
        "none" | "neutral" => ("wait", format!("… {domain} does not say which servers may send for it")),
        _ => ("wait", "… could not be looked up".to_owned()),
    }
}

fn dkim(found: &Found) -> (&'static str, String) {
    match found.result.as_str() {
        "pass" => ("done", format!("✓ signed by {}, and nothing was changed", found.domain)),
        "none" => ("wait", "… the letter is not signed".to_owned()),
        "temperror" | "" => ("wait", "… could not be looked up".to_owned()),
        _ => ("bad", "✕ the signature does not fit the letter".to_owned()),
    }
}

fn dmarc(found: &Found) -> (&'static str, String) {
    let domain = &found.domain;
    match found.result.as_str() {
        "pass" => ("done", format!("✓ really from {domain}")),
        "none" => ("wait", format!("… {domain} does not ask for checks")),
        "fail" => ("bad", format!("✕ nobody at {domain} vouches for it")),
        _ => ("wait", "… could not be looked up".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent() -> Sent {
        Sent { to: "aunt@elsewhere.test".into(), mark: "m".into(), at: 0, end: None }
    }

    #[test]
    fn what_became_of_a_letter_is_said_with_the_words_of_the_far_end_and_what_to_do() {
        let refused = |said: &str| {
            Out::ended(&sent(), &End::Refused { host: Some("mx.elsewhere.test".into()), said: said.to_owned() })
        };
        for (said, part) in [
            ("550 5.1.1 no such user", "no such address"),
            ("554 5.7.1 listed", "relay"),
            ("556 5.4.4 no mail here", "how it is written"),
            ("552 5.2.2 full", "another address"),
            ("554 5.0.0 go away", "What the server there says"),
            ("", "What the server there says"),
        ] {
            let out = refused(said);
            assert!(out.class == "bad" && out.words[0].contains(part), "{said}: {:?}", out.words);
            assert_eq!(out.said.as_deref(), Some(said));
        }
        let taken = |tls| {
            let end = End::Taken { host: "mx.elsewhere.test".into(), tls, said: "250 2.0.0 ok".into() };
            Out::ended(&sent(), &end)
        };
        assert!(taken(true).words[0].contains("was encrypted") && taken(false).words[0].contains("was not encrypted"));
        assert_eq!(taken(true).pill, "✓ taken by mx.elsewhere.test");
        let waiting = Out::waiting(&sent(), Some("451 4.7.1 greylisted"), "15:05", None);
        assert!(
            waiting.class == "wait" && waiting.words[0].contains("strangers") && waiting.words[1].contains("15:05")
        );
        let kept = Out::waiting(&sent(), None, "15:05", Some("Nothing leaves: sending is switched off."));
        assert!(kept.class == "need" && kept.words[0].contains("switched off"));
    }

    #[test]
    fn every_result_of_a_check_has_its_words() {
        let found = |result: &str| Found { result: result.to_owned(), domain: "elsewhere.test".to_owned() };
        for (result, classes) in [
            ("pass", ["done", "done", "done"]),
            ("fail", ["bad", "bad", "bad"]),
            ("softfail", ["bad", "bad", "wait"]),
            ("none", ["wait", "wait", "wait"]),
            ("temperror", ["wait", "wait", "wait"]),
            ("", ["wait", "wait", "wait"]),
        ] {
            let (one, two, three) = (spf(&found(result)), dkim(&found(result)), dmarc(&found(result)));
            assert_eq!([one.0, two.0, three.0], classes, "{result}");
            assert!([one.1, two.1, three.1].iter().all(|words| words.len() > 10), "{result}");
        }
    }
}
