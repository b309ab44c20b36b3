use std::fmt::Write;

use clap::Subcommand;

use crate::base::OsRandom;
use crate::directory::manage::device::Password;
use crate::settings::Settings;

use super::super::folder::Folder;
use super::super::verbs::{Reply, Request, Secret, new_link, profile_link_of};

/// Mail programs of an account, each with a password of its own
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Make a password for a device; it is shown once
    Add {
        address: String,
        /// What the owner calls it, as "Anna's phone"
        #[arg(long)]
        name: String,
    },
    /// Make a link by which an Apple device sets itself up, once, within ten minutes
    Link {
        address: String,
        #[arg(long)]
        name: String,
    },
    /// Every device, with when it last logged in
    List { address: String },
    /// Take a device's password away
    Remove { address: String, id: u32 },
}

impl Args {
    pub fn request(self) -> Request {
        match self.what {
            What::Add { address, name } => {
                Request::DeviceAdd { address, name, password: Secret(Password::make(&OsRandom).shown().to_owned()) }
            }
            What::Link { address, name } => Request::DeviceLink { address, name, link: new_link(&OsRandom) },
            What::List { address } => Request::DeviceList { address },
            What::Remove { address, id } => Request::DeviceRemove { address, id },
        }
    }
}

/// Beside the reply, which does not have it (V2), the password or the link itself.
pub(super) fn show_secret(folder: &Folder, request: &Request, reply: &mut Reply) {
    match request {
        Request::DeviceAdd { password, .. } => {
            let _ = writeln!(reply.text, "password: {}", password.0);
            reply.json["password"] = password.0.as_str().into();
        }
        Request::DeviceLink { link, .. } => {
            let Ok(settings) = Settings::load(folder.path()) else { return };
            let link = profile_link_of(&settings, link);
            let _ = writeln!(reply.text, "{link}");
            reply.json["link"] = link.into();
        }
        _ => {}
    }
}
