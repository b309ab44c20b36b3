//! The index is lost: every letter comes back, under mailboxes that no client can mistake for the old ones.

mod household;

use std::collections::BTreeSet;

use homepost::account::{self, Flags, INBOX, RECOVERED, Which, mailbox, view};
use homepost::base::{AccountId, SeededRandom, Time, Uid};
use homepost::directory::manage::{self, account::NewAccount};
use homepost::directory::{Credential, dkim};
use homepost::store::Data;
use homepost::store::disk::{Disk, SimDisk};
use household::*;

fn house(disk: &SimDisk) -> Data {
    let data = open(disk).expect("a sound disk opens");
    let now = Time(1);
    let credential = Credential::new("alice@example.test", "correct horse battery", &SeededRandom::new(1), now);
    let credential = credential.expect("it can be used");
    let keys = dkim::NewKeys::make(&SeededRandom::new(2), now).expect("they can be made");
    data.write_blocking(move |txn| {
        manage::domain::add(txn, "example.test", &keys, now)?;
        let new = NewAccount { address: "alice@example.test".to_owned(), ..NewAccount::default() };
        let id = manage::account::add(txn, &new, &credential, now)?;
        assert_eq!(id, ALICE);
        account::open(txn, id).map_err(|error| homepost::directory::Error::Unusable(error.to_string()))
    })
    .expect("the house is set up");
    data
}

#[test]
fn every_letter_comes_back_when_the_index_is_gone() {
    let disk = SimDisk::sound();
    let data = house(&disk);
    data.write_blocking(|txn| account::create(txn, ALICE, "Club/2026")).expect("it is made");
    data.write_blocking(|txn| account::subscribe(txn, ALICE, "Elsewhere", true)).expect("it is kept");
    let published = dkim::list(&data.read().unwrap(), "example.test").unwrap();
    let validities: BTreeSet<u32> =
        mailbox::all(&data.read().unwrap(), ALICE).unwrap().iter().map(|m| m.uid_validity).collect();
    let club = find(&data, "Club/2026").id;
    for n in 0..40 {
        deliver(&data, n, if n % 2 == 0 { INBOX } else { club }, Flags::default()).expect("it is delivered");
    }
    data.write_blocking(|txn| account::expunge(txn, ALICE, INBOX, &[Uid(1), Uid(2)], Which::Any)).expect("they go");
    data.close().expect("it closes");
    drop(data);
    // Everything but segments and letters is lost.
    let kept = |name: &String| name.starts_with("segment") || name.starts_with("letter");
    let names = Disk::list(&disk).expect("it lists");
    assert!(names.iter().any(|name| !kept(name)) && names.iter().any(kept), "{names:?}");
    for name in names.iter().filter(|name| !kept(name)) {
        disk.remove(name).expect("it is removed");
    }

    let other = SimDisk::sound();
    let into = open(&other).expect("an empty disk opens");
    let done = account::salvage(&disk, &into, Time(9)).expect("it can be read");
    assert_eq!((done.accounts, done.unowned, done.damaged), (1, 0, vec![]));

    // All that was there; what was deleted may come back, and then only so.
    let recovered = find(&into, RECOVERED);
    let mut found = BTreeSet::new();
    {
        let snapshot = into.read().unwrap();
        for uid in uids(&into, recovered.id) {
            let message = view::message(&snapshot, ALICE, recovered.id, uid).unwrap().unwrap();
            let email = view::email(&snapshot, ALICE, message.email).unwrap().unwrap();
            found.insert(into.blobs().read(email.blob, 0..email.size).unwrap().to_vec());
        }
    }
    let there: BTreeSet<Vec<u8>> = (0..40).filter(|n| ![0, 2].contains(n)).map(letter).collect();
    assert!(found.is_superset(&there), "{} of {}", found.len(), there.len());
    let all: BTreeSet<Vec<u8>> = (0..40).map(letter).collect();
    assert!(found.is_subset(&all));
    assert_eq!(done.letters, found.len() as u64);

    // The people and the names are there, nothing of the old numbering is.
    assert_eq!(manage::account::show(&into.read().unwrap(), "alice@example.test").unwrap().id, ALICE);
    assert_eq!(dkim::list(&into.read().unwrap(), "example.test").unwrap(), published, "as the DNS still says");
    assert_eq!(find(&into, "Club/2026").messages, 0);
    let listed = mailbox::list(&into.read().unwrap(), ALICE).unwrap();
    assert!(listed.iter().any(|l| l.name == "Elsewhere" && l.subscribed && !l.exists));
    assert_eq!(
        mailbox::special(&into.read().unwrap(), ALICE, account::SpecialUse::Sent).unwrap().unwrap().name,
        "Sent"
    );
    for mailbox in mailbox::all(&into.read().unwrap(), ALICE).unwrap() {
        assert!(!validities.contains(&mailbox.uid_validity));
    }
    let next = into.write_blocking(|txn| txn.next("account")).unwrap().value;
    assert!(AccountId(next as u32) > ALICE, "an account's id is not given out again");
    assert_sound(&into);
    assert_eq!(into.check().unwrap(), Vec::<String>::new());
}
