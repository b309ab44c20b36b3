use std::net::IpAddr;

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
}

impl Args {
    pub fn serve(self, folder: &Folder) -> Result<(), String> {
        serve(folder, Shift { bind: self.bind, offset: self.port_offset })
    }
}
