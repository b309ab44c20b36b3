use super::super::verbs::Request;

/// Verify the stores, also while the server runs; exit status 0 only if everything is as it should be
#[derive(clap::Args)]
pub(super) struct Args {
    /// Make the index again from the letters when it is lost; the server has to be stopped
    #[arg(long)]
    salvage: bool,
}

impl Args {
    pub fn request(self) -> Request {
        if self.salvage { Request::CheckSalvage } else { Request::Check }
    }
}
