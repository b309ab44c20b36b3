//! `check`: verifies every invariant of the stores on snapshots, also while the server runs.

use serde_json::json;

use crate::account;
use crate::directory::dkim;
use crate::queue;

use super::super::house::House;
use super::{Done, Error, Reply};

pub(super) fn check(house: &House) -> Done {
    let mut findings = house.data.check()?;
    findings.extend(account::check_all(&house.data, true)?);
    let queued = queue::check(&house.data.read()?).map_err(|error| Error::Words(error.to_string()))?;
    findings.extend(queued);
    findings.extend(dkim::check(&house.data.read()?)?);
    let accounts = account::accounts(&house.data.read()?)?.len();
    let json = json!({ "accounts": accounts, "findings": findings });
    if findings.is_empty() {
        return Ok(Reply::done(format!("All is well: {accounts} accounts, every letter read.\n"), json));
    }
    let text = findings.iter().map(|finding| format!("{finding}\n")).collect();
    let error = format!("{} things are not as they should be", findings.len());
    Ok(Reply { text, json, error: Some(error) })
}
