use clap::Subcommand;

use super::super::verbs::Request;

/// What others report about letters in your name
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Every report of the last 90 days, in plain words
    List,
    /// One report, with its rows
    Show {
        /// As `reports list` shows it
        id: String,
    },
}

impl Args {
    pub fn request(self) -> Request {
        match self.what {
            What::List => Request::ReportsList,
            What::Show { id } => Request::ReportsShow { id },
        }
    }
}
