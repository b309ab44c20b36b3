use std::fmt::Write;

use clap::Subcommand;

use crate::base::OsRandom;
use crate::settings::Settings;

use super::super::folder::Folder;
use super::super::verbs::{Reply, Request, link_of, new_link};
use super::{Stdin, password};

/// People's accounts
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Make an account
    Add {
        email: String,
        #[command(flatten)]
        _stdin: Stdin,
        /// For people, as in "Alice Example"
        #[arg(long)]
        name: Option<String>,
        /// How much it may keep, as in 5GiB
        #[arg(long, value_name = "SIZE", value_parser = size)]
        quota: Option<u64>,
    },
    /// Every account
    List,
    /// One account
    Show { email: String },
    /// Give an account a new password
    Password {
        email: String,
        #[command(flatten)]
        _stdin: Stdin,
    },
    /// How much an account may keep, as in 5GiB, or none
    Quota {
        email: String,
        #[arg(value_parser = quota)]
        size: Quota,
    },
    /// Delete an account and all its mail
    Delete {
        email: String,
        /// In two weeks: until then nobody can log in, mail still arrives, and `account keep` takes it back
        #[arg(long)]
        later: bool,
    },
    /// Keep an account that was to be deleted later
    Keep { email: String },
    /// Let an account send again that was stopped because it wrote to too many people
    Resume { email: String },
    /// Make an account whose owner chooses the password by a link
    Invite {
        email: String,
        /// For people, as in "Alice Example"
        #[arg(long)]
        name: Option<String>,
        /// How much it may keep, as in 5GiB
        #[arg(long, value_name = "SIZE", value_parser = size)]
        quota: Option<u64>,
    },
    /// A link by which an account's owner chooses a new password
    Link { email: String },
    /// Whether an account may administer this server: yes or no
    Administrator {
        email: String,
        #[arg(value_parser = yes)]
        answer: Answer,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Quota(Option<u64>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Answer(bool);

impl Args {
    pub fn request(self) -> Result<Request, String> {
        Ok(match self.what {
            What::Add { email, name, quota, .. } => {
                Request::AccountAdd { address: email, name, quota, password: password()? }
            }
            What::List => Request::AccountList,
            What::Show { email } => Request::AccountShow { address: email },
            What::Password { email, .. } => {
                Request::AccountPassword { address: email, password: password()?, own: false }
            }
            What::Quota { email, size } => Request::AccountQuota { address: email, quota: size.0 },
            What::Delete { email, later: false } => Request::AccountDelete { address: email },
            What::Delete { email, later: true } => Request::AccountLeave { address: email },
            What::Keep { email } => Request::AccountKeep { address: email },
            What::Resume { email } => Request::AccountResume { address: email },
            What::Invite { email, name, quota } => {
                Request::AccountInvite { address: email, name, quota, link: new_link(&OsRandom) }
            }
            What::Link { email } => Request::AccountLink { address: email, link: new_link(&OsRandom) },
            What::Administrator { email, answer } => Request::AccountAdministrator { address: email, on: answer.0 },
        })
    }
}

/// Beside the reply, which does not have it (V2), the link itself.
pub(super) fn show_link(folder: &Folder, request: &Request, reply: &mut Reply) {
    let (Request::AccountInvite { link, .. } | Request::AccountLink { link, .. }) = request else { return };
    let Ok(settings) = Settings::load(folder.path()) else { return };
    let link = link_of(&settings, link);
    let _ = writeln!(reply.text, "{link}");
    reply.json["link"] = link.into();
}

fn yes(text: &str) -> Result<Answer, String> {
    match text {
        "yes" => Ok(Answer(true)),
        "no" => Ok(Answer(false)),
        _ => Err("say yes or no".to_owned()),
    }
}

fn quota(text: &str) -> Result<Quota, String> {
    if text == "none" { Ok(Quota(None)) } else { size(text).map(|size| Quota(Some(size))) }
}

/// Bytes, or with a unit: KiB, MiB, GiB, TiB (K, M, G, T are the same).
fn size(text: &str) -> Result<u64, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        "t" | "tib" => 40,
        _ => return Err("a size is a number and a unit, as in 500MiB or 5GiB".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "a size begins with a number, as in 5GiB".to_owned())?;
    number.checked_mul(1 << shift).ok_or_else(|| "that is more than any disk holds".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_units() {
        assert_eq!(size("5GiB"), Ok(5 << 30));
        assert_eq!(size("500 M"), Ok(500 << 20));
        assert_eq!(size("1024"), Ok(1024));
        assert!(size("GiB").is_err());
        assert!(size("5 potatoes").is_err());
        assert!(size("99999999999999TiB").is_err());
        assert_eq!(quota("none"), Ok(Quota(None)));
    }
}
