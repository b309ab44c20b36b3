//! The services that a mail program sets up, from the settings (K3).

use crate::appliance::dnsguide::{Service, services};
use crate::settings::Settings;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::web) enum Kind {
    Imap,
    Smtp,
}

/// One way to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::web) struct Way {
    pub kind: Kind,
    pub port: u16,
    /// Encrypted from the first byte; else by STARTTLS.
    pub implicit: bool,
}

/// All that are open, the best of each kind first. `None` while mail cannot both be read and sent: with half a set-up a
/// program is worse off than with none.
pub(in crate::web) fn ways(settings: &Settings) -> Option<Vec<Way>> {
    const ORDER: [(Service, Kind, bool); 4] = [
        (Service::Imaps, Kind::Imap, true),
        (Service::Imap, Kind::Imap, false),
        (Service::Submissions, Kind::Smtp, true),
        (Service::Submission, Kind::Smtp, false),
    ];
    let open = services(settings);
    let ways: Vec<Way> = ORDER
        .into_iter()
        .filter_map(|(service, kind, implicit)| {
            let (_, port) = open.iter().find(|(one, _)| *one == service)?;
            Some(Way { kind, port: (*port)?, implicit })
        })
        .collect();
    let has = |kind: Kind| ways.iter().any(|way| way.kind == kind);
    (has(Kind::Imap) && has(Kind::Smtp)).then_some(ways)
}
