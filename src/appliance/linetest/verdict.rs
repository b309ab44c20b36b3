//! The judge: pure, and on the side of the line where nothing is known.

use crate::base::Time;
use crate::filter::Listing;

use super::{Evidence, Inbound, Outbound, Ptr};
use crate::appliance::wizard::Line;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Direct,
    RelayOut,
    Gateway,
    HouseOnly,
}

impl Verdict {
    pub fn words(self) -> &'static str {
        match self {
            Verdict::Direct => "Direct",
            Verdict::RelayOut => "Direct in, relay out",
            Verdict::Gateway => "Gateway",
            Verdict::HouseOnly => "House only for now",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    pub verdict: Verdict,
    /// A sentence.
    pub headline: String,
    /// What to do.
    pub advice: String,
}

/// The first reason that holds decides, from what keeps everything away to what only spoils something.
pub fn judge(evidence: &Evidence) -> Judged {
    let judged = |verdict, headline: &str, advice: &str| Judged {
        verdict,
        headline: headline.to_owned(),
        advice: advice.to_owned(),
    };
    let no_names = evidence.out_four == Outbound::NoNames || evidence.out_six == Outbound::NoNames;
    let goes_out = evidence.out_four == Outbound::Open || evidence.out_six == Outbound::Open;
    if !evidence.online {
        return judged(
            Verdict::HouseOnly,
            "Everything works inside the house; there is no internet.",
            "Plug the box into your router, or see whether the router has lost its line. Then measure again.",
        );
    }
    if no_names && !goes_out {
        return judged(
            Verdict::HouseOnly,
            "Everything works inside the house; no name on the internet can be looked up.",
            "Your router's name service does not answer. Restart the router; if that does not help, ask your provider. Then \
             measure again.",
        );
    }
    if evidence.is_behind_shared_address() && evidence.in_six != Inbound::Open {
        return judged(
            Verdict::Gateway,
            "Your provider shares one address among many homes, so no one can reach you.",
            "You need an address of your own (many providers give one when asked, some for a fee), a small gateway elsewhere \
             that passes letters on, or another line.",
        );
    }
    if evidence.in_four == Inbound::Closed && evidence.in_six != Inbound::Open {
        return judged(
            Verdict::HouseOnly,
            "Everything works inside the house; your router keeps letters out.",
            "Open port 25 in your router for this box, under port forwarding or port sharing. Then measure again.",
        );
    }
    let blocked = Outbound::ProviderBlocks;
    if !goes_out && (evidence.out_four == blocked || evidence.out_six == blocked) {
        return judged(
            Verdict::RelayOut,
            "Others can reach you. Your provider blocks sending.",
            "Ask your provider to open port 25, or hand your letters to a relay (a smarthost) that sends them for you. Both can \
             be changed later.",
        );
    }
    if let Some((list, why)) = evidence.lists.iter().find_map(|(list, listing)| match listing {
        Listing::Bad(why) => Some((list, why)),
        _ => None,
    }) {
        return Judged {
            verdict: Verdict::RelayOut,
            headline: "Others can reach you. Your address has a bad name.".to_owned(),
            advice: format!(
                "{list} says: {why}. Perhaps somebody had this address before you. Look for an infected computer in your house, \
                 then ask the list to be taken off; until then use a relay for sending."
            ),
        };
    }
    let unnamed = |ptr: &Ptr| matches!(ptr, Ptr::Missing | Ptr::Other(_));
    if unnamed(&evidence.ptr_four) {
        return judged(
            Verdict::RelayOut,
            "Others can reach you. Your address has no name of yours, so your letters would look like spam.",
            "Only your provider can set the name of an address (PTR, reverse DNS). Ask for it, or use a relay for sending.",
        );
    }
    if let Outbound::TargetRefuses { target, code } = &evidence.out_four
        && !goes_out
    {
        return Judged {
            verdict: Verdict::RelayOut,
            headline: "Others can reach you. Letters from your address are refused.".to_owned(),
            advice: format!(
                "{target} answered {code}, although the way is open. Use a relay for sending, or ask your provider for another address."
            ),
        };
    }
    if goes_out {
        let advice = match evidence.in_four {
            Inbound::Open => "Nothing is to be done.",
            _ => "Whether others can reach you shows with your first letter: nobody outside looked yet.",
        };
        return judged(Verdict::Direct, "Your line can run mail by itself.", advice);
    }
    judged(
        Verdict::HouseOnly,
        "Everything works inside the house; too little is known about your line.",
        "Go on with the set-up, and measure again later.",
    )
}

impl Judged {
    /// As the wizard keeps and shows it, with all that was measured.
    pub fn line(&self, evidence: &Evidence, at: Time) -> Line {
        let mut measured: Vec<(String, String, String)> = Vec::new();
        let mut row =
            |what: &str, (class, words): (&str, String)| measured.push((what.to_owned(), class.to_owned(), words));
        row("Letters out, over IPv4", out(&evidence.out_four));
        row("Letters out, over IPv6", out(&evidence.out_six));
        row("Letters in, over IPv4", inbound(evidence.in_four));
        row("Letters in, over IPv6", inbound(evidence.in_six));
        let own = match (evidence.is_behind_shared_address(), evidence.seen) {
            (true, _) => ("bad", "✕ shared with other homes (CGNAT)".to_owned()),
            (false, Some(seen)) if evidence.router.is_some() => ("done", format!("✓ {seen}, not shared")),
            (false, Some(seen)) => ("wait", format!("… {seen}; the router does not say whether it is shared")),
            (false, None) => ("wait", "… not known".to_owned()),
        };
        row("Your address is your own", own);
        row("Name for the address (PTR)", ptr(&evidence.ptr_four));
        if evidence.six.is_some() {
            row("Name for the IPv6 address", ptr(&evidence.ptr_six));
        }
        for (list, listing) in &evidence.lists {
            let words = match listing {
                Listing::Clean => ("done", "✓ not on it".to_owned()),
                Listing::Home => ("done", "✓ listed as a home, which is normal".to_owned()),
                Listing::Bad(why) => ("bad", format!("✕ {why}")),
                Listing::Unreadable(why) => ("wait", format!("… {why}")),
            };
            row(&format!("Block list {list}"), words);
        }
        let known = |known: Option<bool>, yes: &str, no: (&'static str, &str)| match known {
            Some(true) => ("done", format!("✓ {yes}")),
            Some(false) => (no.0, no.1.to_owned()),
            None => ("wait", "… not known".to_owned()),
        };
        row(
            "Your own address, from inside",
            known(evidence.hairpin, "reached", ("wait", "… not reached; devices at home use the box's own address")),
        );
        let stays =
            known(evidence.changes.map(|changes| !changes), "stays", ("wait", "… changes; the records have to follow"));
        row("Your address stays the same", stays);
        Line {
            verdict: self.verdict.words().to_owned(),
            headline: self.headline.clone(),
            advice: self.advice.clone(),
            measured,
            at: at.seconds(),
            address: None,
            changed: false,
        }
    }
}

fn out(outbound: &Outbound) -> (&'static str, String) {
    match outbound {
        Outbound::Open => ("done", "✓ open".to_owned()),
        Outbound::TargetRefuses { target, code } => ("bad", format!("✕ open, but {target} answered {code}")),
        Outbound::ProviderBlocks => ("bad", "✕ blocked by the provider".to_owned()),
        Outbound::NoNames => ("bad", "✕ no name can be looked up".to_owned()),
        Outbound::NoAddress => ("wait", "… no address of this kind".to_owned()),
        Outbound::Unknown => ("wait", "… not known".to_owned()),
    }
}

fn inbound(inbound: Inbound) -> (&'static str, String) {
    match inbound {
        Inbound::Open => ("done", "✓ open".to_owned()),
        Inbound::Closed => ("bad", "✕ closed".to_owned()),
        Inbound::Unknown => ("wait", "… can only be seen from outside".to_owned()),
    }
}

fn ptr(ptr: &Ptr) -> (&'static str, String) {
    match ptr {
        Ptr::Right => ("done", "✓ yours".to_owned()),
        Ptr::Missing => ("need", "→ your provider must set it".to_owned()),
        Ptr::Other(name) => ("need", format!("→ {name}; your provider must change it")),
        Ptr::Unknown => ("wait", "… not known".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line on which everything is right.
    fn good() -> Evidence {
        Evidence {
            seen: "203.0.113.7".parse().ok(),
            router: "203.0.113.7".parse().ok(),
            out_four: Outbound::Open,
            out_six: Outbound::NoAddress,
            in_four: Inbound::Open,
            ptr_four: Ptr::Right,
            lists: vec![("zen.example".into(), Listing::Home)],
            hairpin: Some(true),
            changes: Some(false),
            ..Evidence::nothing(true)
        }
    }

    fn verdict(change: impl FnOnce(&mut Evidence)) -> (Verdict, String) {
        let mut evidence = good();
        change(&mut evidence);
        let judged = judge(&evidence);
        assert!(judged.headline.ends_with('.') && judged.advice.ends_with('.'), "{judged:?}");
        (judged.verdict, format!("{} {}", judged.headline, judged.advice))
    }

    #[test]
    fn a_good_line_is_direct_and_a_home_list_is_no_reproach() {
        assert_eq!(verdict(|_| {}).0, Verdict::Direct);
        let (direct, words) = verdict(|evidence| evidence.in_four = Inbound::Unknown);
        assert!(direct == Verdict::Direct && words.contains("nobody outside looked"), "{words}");
        let unreadable = Listing::Unreadable("it does not answer through this name server");
        assert_eq!(verdict(|evidence| evidence.lists = vec![("zen.example".into(), unreadable)]).0, Verdict::Direct);
        assert_eq!(verdict(|evidence| evidence.ptr_four = Ptr::Unknown).0, Verdict::Direct);
    }

    #[test]
    fn what_spoils_sending_leads_to_a_relay() {
        let blocked = verdict(|evidence| evidence.out_four = Outbound::ProviderBlocks);
        assert!(blocked.0 == Verdict::RelayOut && blocked.1.contains("blocks sending"), "{blocked:?}");
        let refused = Outbound::TargetRefuses { target: "mx.example".into(), code: 554 };
        let refused = verdict(|evidence| evidence.out_four = refused);
        assert!(refused.0 == Verdict::RelayOut && refused.1.contains("mx.example answered 554"), "{refused:?}");
        assert_eq!(verdict(|evidence| evidence.ptr_four = Ptr::Missing).0, Verdict::RelayOut);
        let listed = Listing::Bad("spam was sent from it");
        assert_eq!(verdict(|evidence| evidence.lists = vec![("zen.example".into(), listed)]).0, Verdict::RelayOut);
        // IPv6 alone does not make a line that is blocked over IPv4 a bad one.
        let six = |evidence: &mut Evidence| {
            evidence.out_four = Outbound::ProviderBlocks;
            evidence.out_six = Outbound::Open;
        };
        assert_eq!(verdict(six).0, Verdict::Direct);
    }

    #[test]
    fn a_shared_address_is_named_and_needs_a_gateway() {
        for router in ["100.64.3.4", "10.0.0.2", "203.0.113.99"] {
            let (gateway, words) = verdict(|evidence| evidence.router = router.parse().ok());
            assert!(gateway == Verdict::Gateway && words.contains("shares one address"), "{router}: {words}");
        }
        let six = |evidence: &mut Evidence| {
            evidence.router = "100.64.3.4".parse().ok();
            evidence.in_six = Inbound::Open;
        };
        assert_ne!(verdict(six).0, Verdict::Gateway);
    }

    #[test]
    fn what_keeps_letters_out_leaves_the_house() {
        assert_eq!(judge(&Evidence::nothing(false)).verdict, Verdict::HouseOnly);
        assert_eq!(judge(&Evidence::nothing(true)).verdict, Verdict::HouseOnly);
        let names = verdict(|evidence| evidence.out_four = Outbound::NoNames);
        assert!(names.0 == Verdict::HouseOnly && names.1.contains("name service"), "{names:?}");
        let closed = verdict(|evidence| evidence.in_four = Inbound::Closed);
        assert!(closed.0 == Verdict::HouseOnly && closed.1.contains("Open port 25 in your router"), "{closed:?}");
    }

    #[test]
    fn everything_that_was_measured_is_shown() {
        let evidence = good();
        let line = judge(&evidence).line(&evidence, Time::from_seconds(7));
        assert_eq!((line.verdict.as_str(), line.at), ("Direct", 7));
        let shown: Vec<String> =
            line.measured.iter().map(|(what, class, words)| format!("{what}: {class} {words}")).collect();
        assert!(shown.contains(&"Your address is your own: done ✓ 203.0.113.7, not shared".to_owned()), "{shown:#?}");
        assert!(
            shown.contains(&"Block list zen.example: done ✓ listed as a home, which is normal".to_owned()),
            "{shown:#?}"
        );
        assert!(line.measured.iter().all(|(_, class, _)| ["done", "wait", "need", "bad"].contains(&class.as_str())));
    }
}
