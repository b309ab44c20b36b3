//! What the owner should hear of backups, and when. Pure: what is known and what time it is in, two sentences out.

use super::super::stick::State;

const DAY: i64 = 24 * 3600;
/// Without any backup for so long: the owner hears of it.
const NONE_SECONDS: i64 = DAY;
/// And when the last one is so old.
const STALE_SECONDS: i64 = 3 * DAY;

/// What is wrong, and what to do. `stick`: one for us is in.
pub(in super::super) fn nag(state: &State, stick: bool, now: i64) -> Option<(String, &'static str)> {
    let plug = "Plug in a USB stick labelled HOMEPOST.";
    if let Some(problem) = &state.problem {
        return Some((format!("The last backup did not work: {problem}"), "Put that right, or try another stick."));
    }
    let Some(made) = state.made else {
        let long = now - state.began >= NONE_SECONDS && state.began > 0;
        return long.then(|| ("There is no backup of this box yet.".to_owned(), plug));
    };
    if now - made < STALE_SECONDS {
        return worn(state).or_else(|| lost(state));
    }
    let next = if stick { "Look whether the stick still works, and try another one." } else { plug };
    Some((format!("The last backup is {} days old.", (now - made) / DAY), next))
}

fn worn(state: &State) -> Option<(String, &'static str)> {
    let words =
        "This stick has lost something of older backups. The newest one is whole, but the stick is wearing out.";
    (state.damaged > 0).then(|| (words.to_owned(), "Please use another stick soon."))
}

fn lost(state: &State) -> Option<(String, &'static str)> {
    let words = match state.lost {
        0 => return None,
        1 => "One letter on this box is damaged, and so it is not in the backup. All others are.".to_owned(),
        many => format!("{many} letters on this box are damaged, and so they are not in the backup. All others are."),
    };
    Some((words, "The disk of this box may be failing: have backups on two sticks."))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    #[test]
    fn the_owner_hears_of_no_backup_after_a_day_and_of_an_old_one_after_three() {
        let words = |state: &State, stick, now| nag(state, stick, now).map(|(words, _)| words);
        let mut state = State { began: NOW, ..State::default() };
        assert_eq!(words(&State::default(), false, NOW), None, "nobody knows since when");
        assert_eq!(words(&state, false, NOW + DAY - 1), None);
        assert_eq!(words(&state, false, NOW + DAY).unwrap(), "There is no backup of this box yet.");
        state.made = Some(NOW);
        assert_eq!(words(&state, false, NOW + STALE_SECONDS - 1), None, "a stick in a drawer is a good place for it");
        assert_eq!(words(&state, false, NOW + STALE_SECONDS).unwrap(), "The last backup is 3 days old.");
        let next = |stick| nag(&state, stick, NOW + STALE_SECONDS).unwrap().1;
        assert!(next(false).contains("Plug in") && next(true).contains("still works"));
        (state.lost, state.damaged) = (2, 0);
        assert!(words(&state, true, NOW).unwrap().starts_with("2 letters on this box are damaged"));
        state.damaged = 1;
        assert_eq!(nag(&state, true, NOW).unwrap().1, "Please use another stick soon.");
        assert!(words(&state, true, NOW + STALE_SECONDS).unwrap().contains("days old"), "that is worse");
        state.problem = Some("The stick is full.".to_owned());
        assert_eq!(words(&state, true, NOW).unwrap(), "The last backup did not work: The stick is full.");
    }
}
