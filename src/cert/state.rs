//! The notes between two looks: when each group is tried again, and what went wrong. No secrets are in them; without them
//! everything starts anew from the certificates.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tracing::{error, warn};

use crate::base::Time;

use super::file::Keep;
use super::schedule::{Ledger, Plan};
use super::stage::Method;
use super::trouble::Trouble;

const FILE: &str = "state.json";

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    pub groups: BTreeMap<String, GroupState>,
    pub(super) ledger: Ledger,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupState {
    pub(super) plan: Plan,
    /// Where the certificate was ordered.
    pub(super) directory: String,
    /// Why the last order failed, and for which name.
    pub trouble: Option<(String, Trouble)>,
    /// When it was ordered last, whatever came of it.
    pub tried_at: Option<Time>,
    /// What worked last, by name.
    pub(super) methods: BTreeMap<String, Method>,
}

pub(super) fn load(keep: &dyn Keep) -> State {
    let bytes = match keep.read(FILE) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return State::default(),
        Err(error) => {
            error!(%error, "the notes on certificates cannot be read");
            return State::default();
        }
    };
    serde_json::from_slice(&bytes).unwrap_or_else(|error| {
        warn!(%error, "the notes on certificates are damaged; they begin anew");
        State::default()
    })
}

pub(super) fn store(keep: &dyn Keep, state: &State) {
    let done =
        serde_json::to_vec_pretty(state).map_err(std::io::Error::other).and_then(|bytes| keep.write(FILE, &bytes));
    if let Err(error) = done {
        error!(%error, "the notes on certificates cannot be kept");
    }
}

#[cfg(test)]
mod tests {
    use super::super::file::tests::Drawer;
    use super::super::trouble::Cause;
    use super::*;

    #[test]
    fn notes_come_back_and_damaged_ones_begin_anew() {
        let drawer = Drawer::default();
        let mut state = State::default();
        let group = state.groups.entry("host".to_owned()).or_default();
        group.trouble = Some(("a.test".to_owned(), Trouble::new(Cause::Caa, "no")));
        group.methods.insert("a.test".to_owned(), Method::TlsAlpn);
        state.ledger.failed("a.test", Time(5));
        store(&drawer, &state);
        assert_eq!(load(&drawer), state);
        drawer.write(FILE, b"{\"groups\":{\"host\":{\"later\":1}}}").unwrap();
        assert_eq!(load(&drawer).groups.len(), 1, "fields of later versions are passed over");
        drawer.write(FILE, b"{\"groups\":").unwrap();
        assert_eq!(load(&drawer), State::default());
    }
}
