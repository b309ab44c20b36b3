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
    /// Send our own now: what other domains' letters and servers came to on the days before today
    Send {
        /// And what was counted today so far
        #[arg(long)]
        today: bool,
    },
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
            What::Send { today } => Request::ReportsSend { today },
            What::Show { id } => Request::ReportsShow { id },
        }
    }
}
