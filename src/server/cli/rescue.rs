use std::net::IpAddr;

use crate::net::mdns;

use super::super::doors::Shift;
use super::super::folder::Folder;
use super::super::rescue::rescue;

/// Show the rescue page on 8080, for a box that cannot serve mail (init starts this)
#[derive(clap::Args)]
pub(super) struct Args {
    /// Listen on this address only
    #[arg(long, value_name = "ADDR")]
    bind: Option<IpAddr>,
    /// Add this to the port
    #[arg(long, value_name = "N", default_value_t = 0)]
    port_offset: u16,
    /// Answer for this name on the networks of the machine, as in homepost.local (multicast DNS)
    #[arg(long, value_name = "NAME", value_parser = super::serve::announced, hide = true)]
    announce: Option<mdns::Name>,
}

impl Args {
    /// Until SIGTERM.
    pub fn run(self, folder: &Folder) -> Result<(), String> {
        rescue(folder, Shift { bind: self.bind, offset: self.port_offset }, self.announce)
    }
}
