use std::net::IpAddr;
use std::path::PathBuf;

use crate::net::mdns;

use super::super::doors::Shift;
use super::super::folder::Folder;
use super::super::serve::serve;

/// Serve mail until SIGTERM; SIGHUP reads the settings again
#[derive(clap::Args)]
pub(super) struct Args {
    /// Listen on this address only
    #[arg(long, value_name = "ADDR")]
    bind: Option<IpAddr>,
    /// Add this to every port, so that no root is needed: 10000 makes 25 into 10025
    #[arg(long, value_name = "N", default_value_t = 0)]
    port_offset: u16,
    /// A folder for backups (it has to be there): with this one, `homepost backup create` works while the server runs
    #[arg(long, value_name = "DIR")]
    backup: Vec<PathBuf>,
    /// Answer for this name on the networks of the machine, as in homepost.local (multicast DNS)
    #[arg(long, value_name = "NAME", value_parser = announced, hide = true)]
    announce: Option<mdns::Name>,
}

pub(super) fn announced(text: &str) -> Result<mdns::Name, String> {
    mdns::Name::new(text).ok_or_else(|| "one word of letters, digits and hyphens, and .local".to_owned())
}

impl Args {
    pub fn serve(self, folder: &Folder) -> Result<(), String> {
        serve(folder, Shift { bind: self.bind, offset: self.port_offset }, self.announce, &self.backup)
    }
}
