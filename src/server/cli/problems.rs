use super::super::verbs::Request;

/// What is wrong right now, and what to do about it
#[derive(clap::Args)]
pub(super) struct Args {}

impl Args {
    pub fn request(self) -> Request {
        Request::Problems
    }
}
