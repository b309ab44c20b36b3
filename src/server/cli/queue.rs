use clap::Subcommand;

use super::super::verbs::{QueueAct, Request};

/// Mail that is still to be sent
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Every letter and who has yet to get it
    List,
    /// One letter
    Show { id: u64 },
    /// Try it again now
    Retry(Which),
    /// Keep it where it is until it is released
    Hold(Which),
    /// Let it go on after it was held
    Release(Which),
    /// Take it out; nobody is told
    Cancel(Which),
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// Its number, as `queue list` shows it
    id: Option<u64>,
    /// Every letter in the queue
    #[arg(long)]
    all: bool,
}

impl Args {
    pub fn request(self) -> Request {
        let act = |what, which: Which| Request::QueueDo { what, id: which.id };
        match self.what {
            What::List => Request::QueueList,
            What::Show { id } => Request::QueueShow { id },
            What::Retry(which) => act(QueueAct::Retry, which),
            What::Hold(which) => act(QueueAct::Hold, which),
            What::Release(which) => act(QueueAct::Release, which),
            What::Cancel(which) => act(QueueAct::Cancel, which),
        }
    }
}
