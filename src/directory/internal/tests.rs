//! The directory on a data store whose disk is simulated.

use std::sync::Arc;

use crate::base::{ManualClock, SeededRandom, Time};
use crate::store::data::Options;
use crate::store::disk::SimDisk;

use super::super::{LocalRecipient, dkim};
use super::*;

const PASSWORD: &str = "correct horse battery";

struct House {
    disk: SimDisk,
    clock: Arc<ManualClock>,
    people: Internal,
}

fn open(disk: &SimDisk, clock: &Arc<ManualClock>, seed: u64) -> Internal {
    let random = Arc::new(SeededRandom::new(seed));
    let options = Options { ballast_bytes: 0, random: random.clone(), ..Options::default() };
    let data = Data::open(Arc::new(disk.clone()), options).unwrap();
    Internal::open_blocking(data, clock.clone(), random).unwrap()
}

/// example.test with alice (administrator) and bob.
async fn house() -> House {
    let disk = SimDisk::sound();
    let clock = Arc::new(ManualClock::at(Time::from_seconds(1_700_000_000)));
    let people = open(&disk, &clock, 1);
    people.add_domain("Example.TEST").await.unwrap();
    add(&people, "Alice@example.test", true).await.unwrap();
    add(&people, "bob@example.test", false).await.unwrap();
    House { disk, clock, people }
}

async fn add(people: &Internal, address: &str, administrator: bool) -> Result<AccountId, Error> {
    let new = NewAccount { address: address.into(), administrator, quota: Some(1000), ..NewAccount::default() };
    people.add_account(new, PASSWORD).await
}

async fn alias(people: &Internal, address: &str, targets: &[&str]) -> Result<Alias, Error> {
    let targets: Vec<String> = targets.iter().map(|target| target.to_string()).collect();
    people.add_alias(address, &targets).await
}

/// The resolution in short: `1`, `1+sub`, `>outside`, `none`, `remote`.
async fn to(people: &Internal, address: &str) -> String {
    let short = |one: &LocalRecipient| match &one.subaddress {
        Some(sub) => format!("{}+{sub}", one.account),
        None => one.account.to_string(),
    };
    let (local, outside) = match people.resolve(address).await.unwrap() {
        Resolution::Local(local) => (local, Vec::new()),
        Resolution::Forward { local, outside } => (local, outside),
        Resolution::Unknown => return "none".into(),
        Resolution::Remote => return "remote".into(),
    };
    let parts = local.iter().map(short).chain(outside.iter().map(|address| format!(">{address}")));
    parts.collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn an_address_is_looked_up_from_the_exact_to_the_catch_all() {
    let House { people, .. } = house().await;
    assert_eq!(to(&people, "ALICE@EXAMPLE.TEST").await, "1");
    assert_eq!(to(&people, "alice+Shop@example.test").await, "1+shop");
    assert_eq!(to(&people, "nobody@example.test").await, "none");
    assert_eq!(to(&people, "alice@elsewhere.test").await, "remote");
    assert_eq!(to(&people, "alice@[192.0.2.1]").await, "remote");
    assert_eq!(to(&people, "not an address").await, "none");

    alias(&people, "alice+bank@example.test", &["bob@example.test"]).await.unwrap();
    assert_eq!(to(&people, "alice+bank@example.test").await, "2");
    alias(&people, "@example.test", &["bob@example.test"]).await.unwrap();
    assert_eq!(to(&people, "nobody@example.test").await, "2");
    assert_eq!(to(&people, "nobody+x@example.test").await, "2");
    assert_eq!(to(&people, "alice+x@example.test").await, "1+x");
    let Resolution::Local(local) = people.resolve("alice@example.test").await.unwrap() else { panic!() };
    assert_eq!((local[0].address.as_str(), local[0].quota), ("alice@example.test", Some(1000)));
}

/// RFC 5321 4.5.1, RFC 2142.
#[tokio::test]
async fn postmaster_and_abuse_reach_the_first_administrator_unless_somebody_else_is_named() {
    let House { people, .. } = house().await;
    for address in ["postmaster@example.test", "Postmaster", "Abuse@example.test", "postmaster@EXAMPLE.test"] {
        assert_eq!(to(&people, address).await, "1", "{address}");
    }
    alias(&people, "@example.test", &["bob@example.test"]).await.unwrap();
    assert_eq!(to(&people, "abuse@example.test").await, "1");
    alias(&people, "postmaster@example.test", &["bob@example.test"]).await.unwrap();
    assert_eq!(to(&people, "postmaster@example.test").await, "2");
    people.set_administrator("bob@example.test", true).await.unwrap();
    people.close_account("alice@example.test").await.unwrap();
    assert_eq!(to(&people, "abuse@example.test").await, "2");
}

#[tokio::test]
async fn an_alias_reaches_all_its_targets_once() {
    let House { people, .. } = house().await;
    alias(&people, "family@example.test", &["alice@example.test", "bob@example.test"]).await.unwrap();
    alias(&people, "all@example.test", &["family@example.test", "bob@example.test", "Carol@Elsewhere.test"])
        .await
        .unwrap();
    assert_eq!(to(&people, "family@example.test").await, "1 2");
    assert_eq!(to(&people, "family+x@example.test").await, "1+x 2+x");
    assert_eq!(to(&people, "all@example.test").await, "1 2 >carol@elsewhere.test");
    assert_eq!(people.aliases().unwrap().len(), 2);
    let alice = AccountId(1);
    assert!(people.may_send_as(alice, "family@example.test").await.unwrap());
    assert!(people.may_send_as(alice, "alice+x@example.test").await.unwrap());
    for other in ["bob@example.test", "nobody@example.test", "alice@elsewhere.test", ""] {
        assert!(!people.may_send_as(alice, other).await.unwrap(), "{other}");
    }
}

/// U3, U4.
#[tokio::test]
async fn an_address_is_one_thing_and_no_alias_leads_to_itself() {
    let House { people, .. } = house().await;
    alias(&people, "a@example.test", &["bob@example.test"]).await.unwrap();
    alias(&people, "b@example.test", &["a@example.test"]).await.unwrap();
    for (address, targets) in [
        ("alice@example.test", vec!["bob@example.test"]),
        ("a@example.test", vec!["b@example.test"]),
        ("a@example.test", vec!["a+x@example.test"]),
        ("c@example.test", vec!["nobody@example.test"]),
        ("c@example.test", vec![]),
        ("c@elsewhere.test", vec!["bob@example.test"]),
        ("c d@example.test", vec!["bob@example.test"]),
    ] {
        assert!(alias(&people, address, &targets).await.is_err(), "{address} {targets:?}");
    }
    assert!(matches!(add(&people, "a@example.test", false).await, Err(Error::Exists(_))));
    assert!(matches!(add(&people, "BOB@example.test", false).await, Err(Error::Exists(_))));
    assert!(matches!(add(&people, "c@elsewhere.test", false).await, Err(Error::NoSuchDomain(_))));
    alias(&people, "@example.test", &["b@example.test"]).await.unwrap();
    assert!(alias(&people, "a@example.test", &["anything@example.test"]).await.is_err(), "through the catch-all");
    let many: Vec<String> = (0..101).map(|n| format!("{n}@elsewhere.test")).collect();
    assert!(people.add_alias("c@example.test", &many).await.is_err());
    // Adding twice is the same as once.
    assert_eq!(alias(&people, "a@example.test", &["BOB@example.test"]).await.unwrap().targets, ["bob@example.test"]);
}

/// U4, U5.
#[tokio::test]
async fn a_closed_account_is_nobodys_at_once_and_its_aliases_forget_it() {
    let House { people, .. } = house().await;
    alias(&people, "only@example.test", &["bob+x@example.test"]).await.unwrap();
    alias(&people, "chain@example.test", &["only@example.test"]).await.unwrap();
    alias(&people, "both@example.test", &["alice@example.test", "bob@example.test"]).await.unwrap();
    assert!(people.authenticate("bob@example.test", PASSWORD).await.unwrap().is_some());

    let bob = people.close_account("bob@example.test").await.unwrap();
    assert_eq!(people.authenticate("bob@example.test", PASSWORD).await.unwrap(), None);
    assert_eq!(people.account("bob@example.test").await.unwrap(), None);
    for gone in ["bob@example.test", "only@example.test", "chain@example.test"] {
        assert_eq!(to(&people, gone).await, "none", "{gone}");
    }
    assert_eq!(to(&people, "both@example.test").await, "1");
    assert_eq!(people.closing_accounts().unwrap(), [bob]);
    assert!(matches!(people.show_account("bob@example.test"), Err(Error::NoSuchAccount(_))));
    assert!(matches!(people.close_account("bob@example.test").await, Err(Error::NoSuchAccount(_))));

    // A new bob is somebody else, also while the old one's mail is still being removed.
    let new = add(&people, "bob@example.test", false).await.unwrap();
    assert!(new > bob);
    people.remove_account(bob).await.unwrap();
    people.remove_account(bob).await.unwrap();
    assert!(people.remove_account(new).await.is_err(), "it is not closing");
    assert_eq!(people.accounts().unwrap().iter().map(|account| account.id).collect::<Vec<_>>(), [AccountId(1), new]);
}

#[tokio::test]
async fn somebody_can_always_administer() {
    let House { people, .. } = house().await;
    assert!(people.close_account("alice@example.test").await.is_err());
    assert!(people.set_disabled("alice@example.test", true).await.is_err());
    assert!(people.set_administrator("alice@example.test", false).await.is_err());
    assert!(people.show_account("alice@example.test").unwrap().administrator, "undone with its transaction");
    people.set_administrator("bob@example.test", true).await.unwrap();
    people.set_administrator("alice@example.test", false).await.unwrap();
    people.close_account("alice@example.test").await.unwrap();
}

#[tokio::test]
async fn a_domain_goes_when_nothing_is_in_it() {
    let House { people, .. } = house().await;
    assert!(matches!(people.add_domain("EXAMPLE.test").await, Err(Error::Exists(_))));
    assert!(people.add_domain("local").await.is_err());
    assert_eq!(people.add_domain("Müller.example").await.unwrap(), "xn--mller-kva.example");
    people.add_domain("other.test").await.unwrap();
    assert_eq!(people.domains().unwrap(), ["example.test", "other.test", "xn--mller-kva.example"]);
    assert!(matches!(people.delete_domain("example.test").await, Err(Error::InUse(_))));
    alias(&people, "@other.test", &["bob@example.test"]).await.unwrap();
    alias(&people, "x@müller.example", &["any@other.test"]).await.unwrap();
    assert!(matches!(people.delete_domain("other.test").await, Err(Error::InUse(_))));
    people.delete_alias("@other.test").await.unwrap();
    assert!(matches!(people.delete_domain("other.test").await, Err(Error::InUse(_))), "x@ still points into it");
    people.delete_alias("x@müller.example").await.unwrap();
    people.delete_domain("other.test").await.unwrap();
    assert!(matches!(people.delete_domain("other.test").await, Err(Error::NoSuchDomain(_))));
    assert!(matches!(people.delete_alias("bob@example.test").await, Err(Error::NoSuchAlias(_))));
    assert_eq!(to(&people, "any@other.test").await, "remote");
}

#[tokio::test]
async fn a_domain_has_its_keys_as_long_as_it_is_there() {
    let House { people, .. } = house().await;
    let data = people.data.clone();
    people.add_domain("a.test").await.unwrap();
    people.add_domain("a.test.example").await.unwrap();
    let keys = |domain: &str| dkim::list(&data.read().unwrap(), domain).unwrap();
    let (first, other) = (keys("a.test"), keys("a.test.example"));
    assert_eq!(first.iter().map(|key| key.algorithm).collect::<Vec<_>>(), dkim::Algorithm::ALL);
    assert_ne!(first[0].public, other[0].public);
    assert_ne!(first[1].public, other[1].public);
    assert_eq!(dkim::check(&data.read().unwrap()).unwrap(), Vec::<String>::new());

    people.delete_domain("a.test").await.unwrap();
    assert_eq!(keys("a.test"), []);
    assert_eq!(keys("a.test.example"), other);
    people.add_domain("a.test").await.unwrap();
    assert_ne!(keys("a.test")[0].public, first[0].public, "U6: with the domain, its keys went");
}

#[tokio::test]
async fn keys_that_are_missing_are_made_and_damaged_ones_are_found() {
    let House { people, .. } = house().await;
    let data = people.data.clone();
    people.add_domain("a.test").await.unwrap();
    let read = || data.read().unwrap();
    let mut rows = Vec::new();
    let scan = read().scan(Table::DkimKeys, &[], &[0xff; 32], store::Order::Forward, &mut |key, value| {
        rows.push((key.to_vec(), value.to_vec()));
        std::ops::ControlFlow::Continue(())
    });
    scan.unwrap();
    let a: Vec<_> = rows.iter().filter(|(key, _)| key.starts_with(b"a.test\0")).cloned().collect();
    assert_eq!(a.len(), 2);

    // As a version without keys left it.
    let gone = a.clone();
    let delete = move |txn: &mut Txn<'_>| {
        gone.iter().for_each(|(key, _)| txn.delete(Table::DkimKeys, key));
        Ok::<_, Error>(())
    };
    data.write(delete).await.unwrap();
    assert_eq!(dkim::without(&read()).unwrap(), ["a.test"]);
    assert_eq!(dkim::check(&read()).unwrap().len(), 2);
    let keys = dkim::NewKeys::make(&SeededRandom::new(9), Time(0)).unwrap();
    let made = keys.clone();
    data.write(move |txn| dkim::add(txn, "a.test", &made)).await.unwrap();
    assert_eq!(dkim::without(&read()).unwrap(), Vec::<String>::new());
    let there = dkim::list(&read(), "a.test").unwrap();
    let other = dkim::NewKeys::make(&SeededRandom::new(10), Time(0)).unwrap();
    data.write(move |txn| dkim::add(txn, "a.test", &other)).await.unwrap();
    assert_eq!(dkim::list(&read(), "a.test").unwrap(), there, "keys that are there stay");
    data.write(move |txn| dkim::add(txn, "not-ours.test", &keys)).await.unwrap_err();

    // Halves of two keys; and a key of no domain.
    let (key, value) = a[0].clone();
    data.write(move |txn| {
        let mut torn = value.clone();
        *torn.last_mut().unwrap() ^= 1;
        txn.put(Table::DkimKeys, &key, torn);
        txn.put(Table::DkimKeys, b"gone.test\0x", value.clone());
        Ok::<_, Error>(())
    })
    .await
    .unwrap();
    let found = dkim::check(&read()).unwrap();
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("halves") && found[1].contains("gone.test"), "{found:?}");
}

#[tokio::test]
async fn a_domain_is_renamed_with_everything_in_it_and_nobody_is_lost() {
    let house = house().await;
    let people = &house.people;
    people.add_domain("other.test").await.unwrap();
    alias(people, "family@example.test", &["alice@example.test", "bob@example.test", "aunt@elsewhere.test"])
        .await
        .unwrap();
    alias(people, "@example.test", &["bob@example.test"]).await.unwrap();
    alias(people, "post@other.test", &["alice+post@example.test"]).await.unwrap();
    let rename = |from: &'static str, to: &'static str| {
        let keys = dkim::NewKeys::make(&SeededRandom::new(11), Time(0)).unwrap();
        people.write(move |txn| domain::rename(txn, from, to, &keys, Time::from_seconds(1_700_000_000)))
    };
    assert_eq!(rename("example.test", "New.test").await, Ok("new.test".to_owned()));
    assert_eq!(people.domains().unwrap(), ["new.test", "other.test"]);
    assert_eq!(dkim::check(&people.data.read().unwrap()).unwrap(), Vec::<String>::new());
    assert_eq!(to(people, "alice@new.test").await, "1");
    assert_eq!(to(people, "family@new.test").await, "1 2 >aunt@elsewhere.test");
    assert_eq!(to(people, "nobody@new.test").await, "2");
    assert_eq!(to(people, "post@other.test").await, "1+post");
    assert_eq!(to(people, "alice@example.test").await, "remote");
    assert!(people.authenticate("alice@new.test", PASSWORD).await.unwrap().is_some());
    assert_eq!(people.show_account("alice@new.test").unwrap().address, "alice@new.test");
    // Into one where the address is somebody's already: nothing at all is moved.
    add(people, "bob@other.test", false).await.unwrap();
    assert_eq!(rename("new.test", "other.test").await, Err(Error::Exists("bob@other.test".into())));
    assert_eq!(to(people, "alice@new.test").await, "1");
    assert!(matches!(rename("gone.test", "new.test").await, Err(Error::NoSuchDomain(_))));
    assert_eq!(rename("new.test", "new.test").await, Ok("new.test".to_owned()));
}

#[tokio::test]
async fn a_log_in_follows_the_password_and_the_switch() {
    let House { people, clock, .. } = house().await;
    let who = people.authenticate("ALICE@example.test", PASSWORD).await.unwrap().unwrap();
    assert_eq!((who.id, who.address.as_str()), (AccountId(1), "alice@example.test"));
    for (user, password) in [
        ("alice@example.test", "wrong horse battery"),
        ("alice@example.test", ""),
        ("nobody@example.test", PASSWORD),
        ("alice", PASSWORD),
        ("", PASSWORD),
        ("alice+x@example.test", PASSWORD),
    ] {
        assert_eq!(people.authenticate(user, password).await.unwrap(), None, "{user} {password}");
    }
    assert!(people.set_password("alice@example.test", "short").await.is_err());
    people.set_password("alice@example.test", "another horse battery").await.unwrap();
    assert_eq!(people.authenticate("alice@example.test", PASSWORD).await.unwrap(), None, "not from the cache either");
    assert!(people.authenticate("alice@example.test", "another horse battery").await.unwrap().is_some());
    people.set_disabled("bob@example.test", true).await.unwrap();
    assert_eq!(people.authenticate("bob@example.test", PASSWORD).await.unwrap(), None);
    assert_eq!(to(&people, "bob@example.test").await, "2", "it still takes mail");
    people.set_disabled("bob@example.test", false).await.unwrap();
    assert!(people.authenticate("bob@example.test", PASSWORD).await.unwrap().is_some());
    clock.advance_ms(3 * 3_600_000);
    assert!(people.authenticate("bob@example.test", PASSWORD).await.unwrap().is_some(), "checked anew");
    people.set_quota("bob@example.test", None).await.unwrap();
    assert_eq!(people.show_account("bob@example.test").unwrap().quota, None);
}

/// A right password is not hashed a second time: with the gate shut only the cache can answer.
#[tokio::test]
async fn a_repeated_log_in_does_not_wait_for_argon2() {
    let House { people, .. } = house().await;
    assert!(people.authenticate("alice@example.test", PASSWORD).await.unwrap().is_some());
    people.gate.shut();
    assert!(people.remembers("alice@example.test", PASSWORD).is_some_and(|who| who.id == AccountId(1)));
    assert_eq!(people.remembers("alice@example.test", "wrong horse battery"), None);
    assert_eq!(people.remembers("bob@example.test", PASSWORD), None, "right, and never seen");
    assert!(people.authenticate("alice@example.test", PASSWORD).await.unwrap().is_some());
    assert_eq!(people.authenticate("alice@example.test", "wrong horse battery").await, Err(Error::Busy));
    assert_eq!(people.authenticate("nobody@example.test", PASSWORD).await, Err(Error::Busy), "U1: no shorter way");
}

/// U1: the keys of a user who is not there look like any, and stay what they are over restarts.
#[tokio::test]
async fn scram_keys_do_not_tell_who_exists() {
    let House { people, disk, clock } = house().await;
    let alice = people.scram_keys("alice@example.test").await.unwrap();
    let nobody = people.scram_keys("nobody@example.test").await.unwrap();
    assert_eq!((alice.iterations, alice.salt.len()), (nobody.iterations, nobody.salt.len()));
    assert_ne!(nobody.salt, people.scram_keys("nobody2@example.test").await.unwrap().salt);
    assert!(nobody == people.scram_keys("Nobody@Example.test").await.unwrap());
    people.scram_keys("not an address\0").await.unwrap();
    people.set_disabled("bob@example.test", true).await.unwrap();
    let bob = people.scram_keys("bob@example.test").await.unwrap();
    assert_eq!(bob.salt.len(), alice.salt.len());
    drop(people);
    let people = open(&disk, &clock, 99);
    assert!(nobody == people.scram_keys("nobody@example.test").await.unwrap());
    assert!(alice == people.scram_keys("alice@example.test").await.unwrap());
    assert!(bob == people.scram_keys("bob@example.test").await.unwrap());
    assert!(people.authenticate("alice@example.test", PASSWORD).await.unwrap().is_some());
}

#[tokio::test]
async fn u7_who_is_to_be_deleted_takes_mail_lets_nobody_in_and_comes_back_whole() {
    use super::super::manage::{account, invitation, token};
    let House { people, clock, disk } = house().await;
    alias(&people, "b@example.test", &["bob@example.test"]).await.unwrap();
    let before = people.accounts().unwrap();
    let at = clock.now().plus_ms(1000);
    people.write(move |txn| invitation::add(txn, "bob@example.test", &[1; 32], Time(0))).await.unwrap();
    people.write(move |txn| account::leave(txn, "bob@example.test", at)).await.unwrap();
    assert_eq!(people.authenticate("bob@example.test", PASSWORD).await, Ok(None));
    assert_eq!(people.standing(AccountId(2)), Ok(None));
    assert_eq!(to(&people, "b@example.test").await, "2", "it still takes mail");
    let due = |now| account::to_be_deleted(&people.data.read().unwrap(), now).unwrap();
    assert_eq!((due(clock.now()), due(at)), (vec![], vec!["bob@example.test".to_owned()]));
    let found = invitation::find(&people.data.read().unwrap(), &[1; 32], Time(0));
    assert_eq!(found, Ok(None), "its link is over");
    let again = people.write(move |txn| account::leave(txn, "bob@example.test", at)).await;
    assert!(matches!(again, Err(Error::Unusable(_))));
    let last = people.write(move |txn| account::leave(txn, "alice@example.test", at)).await;
    assert!(matches!(last, Err(Error::Unusable(why)) if why.contains("only administrator")));

    people.data.close().unwrap();
    let people = open(&disk, &clock, 2);
    assert_eq!(people.authenticate("bob@example.test", PASSWORD).await, Ok(None), "after a start too");
    people.write(|txn| account::stay(txn, "bob@example.test")).await.unwrap();
    assert_eq!(people.accounts().unwrap(), before);
    assert!(people.authenticate("bob@example.test", PASSWORD).await.unwrap().is_some());
    // An administrator's tokens go with what makes it one.
    let new = token::NewToken {
        address: "alice@example.test".into(),
        name: " backup ".into(),
        scope: token::Scope::Read,
        days: 1,
    };
    let now = clock.now();
    let made = people.write(move |txn| token::add(txn, &new, &[2; 32], now)).await.unwrap();
    assert_eq!((made.name.as_str(), made.until), ("backup", now.plus_ms(86_400_000)));
    let find =
        |now| token::find(&people.data.read().unwrap(), &[2; 32], now).unwrap().map(|(one, who)| (one.id, who.address));
    assert_eq!(find(now), Some((made.id, "alice@example.test".to_owned())));
    assert_eq!(find(made.until), None, "it is over");
    people.set_administrator("bob@example.test", true).await.unwrap();
    people.set_administrator("alice@example.test", false).await.unwrap();
    assert_eq!(find(now), None);
    people.set_administrator("alice@example.test", true).await.unwrap();
    people.write(move |txn| token::delete(txn, made.id)).await.unwrap();
    assert_eq!(find(now), None);
    let gone = people.write(move |txn| token::delete(txn, made.id)).await;
    assert_eq!(gone, Err(Error::NoSuchToken(made.id)));
}

#[tokio::test]
async fn an_invitation_opens_once_and_only_the_newest() {
    use super::super::manage::{account, invitation};
    let House { people, clock, .. } = house().await;
    let (now, late) = (clock.now(), clock.now().plus_ms(invitation::DAYS * 86_400_000));
    let new = NewAccount { address: "carol@example.test".into(), ..NewAccount::default() };
    people
        .write(move |txn| {
            account::add_without_password(txn, &new, now)?;
            invitation::add(txn, "carol@example.test", &[1; 32], now)?;
            invitation::add(txn, "carol@example.test", &[2; 32], now)
        })
        .await
        .unwrap();
    assert!(!people.show_account("carol@example.test").unwrap().has_password);
    assert_eq!(people.authenticate("carol@example.test", "").await, Ok(None));
    assert_eq!(people.authenticate("carol@example.test", PASSWORD).await, Ok(None));
    let refused = people.set_administrator("carol@example.test", true).await;
    assert!(matches!(refused, Err(Error::Unusable(_))), "nobody could log in to it");
    let find = |digest: u8, now| invitation::find(&people.data.read().unwrap(), &[digest; 32], now).unwrap();
    assert_eq!(find(2, now).unwrap().address, "carol@example.test");
    assert_eq!((find(1, now), find(2, late)), (None, None));
    let credential = people.credential("carol@example.test", PASSWORD).await.unwrap();
    let accept = |now| {
        let credential = credential.clone();
        people.write(move |txn| invitation::accept(txn, &[2; 32], &credential, now))
    };
    assert_eq!(accept(late).await, Err(Error::NoSuchInvitation));
    assert_eq!(accept(now).await.unwrap().address, "carol@example.test");
    assert!(people.authenticate("carol@example.test", PASSWORD).await.unwrap().is_some());
    assert_eq!(accept(now).await, Err(Error::NoSuchInvitation), "once");
    // A pass phrase that was set by other means is the end of an open link.
    people.write(move |txn| invitation::add(txn, "carol@example.test", &[3; 32], now)).await.unwrap();
    let before = people.standing(AccountId(3)).unwrap().unwrap();
    people.set_password("carol@example.test", "another phrase entirely").await.unwrap();
    assert_eq!(find(3, now), None);
    assert_ne!(people.standing(AccountId(3)).unwrap().unwrap().fingerprint, before.fingerprint);
}

/// A device's password, and what is told of it.
async fn device(people: &Internal, address: &str, name: &str) -> (u32, String) {
    let password = device::Password::make(people.random.as_ref());
    let new = {
        let read = people.data.read().unwrap();
        device::NewDevice::prepare(&read, address, name, &password, people.clock.now()).unwrap()
    };
    let made = people.write(move |txn| device::add(txn, &new)).await.unwrap();
    (made.id, password.shown().to_owned())
}

/// U8
#[tokio::test]
async fn a_device_opens_mail_and_none_of_the_pages_and_goes_without_the_others() {
    use crate::proto::sasl::{SaslAnswer, SaslAsk};
    let House { people, clock, .. } = house().await;
    let (phone, phones) = device(&people, "alice@example.test", "phone").await;
    let (laptop, laptops) = device(&people, "alice@example.test", "laptop").await;
    let throttle = super::super::Throttle::new(100);
    let peer = "192.0.2.9".parse().unwrap();
    let ask = |user: &str, password: &str| SaslAsk::Password { user: user.to_owned(), password: password.to_owned() };
    let program = async |user: &str, password: &str| {
        let random = people.random.as_ref();
        let asked = ask(user, password);
        let (_, who) =
            super::super::login::answer_program(&people, random, &throttle, clock.as_ref(), peer, asked).await;
        who.map(|account| account.id.0)
    };
    let page = async |password: &str| {
        let random = people.random.as_ref();
        let asked = ask("alice@example.test", password);
        super::super::login::answer(&people, random, &throttle, clock.as_ref(), peer, asked).await.0
    };
    let typed = phones.replace('-', "").to_uppercase();
    for password in [&phones, &laptops, &typed, PASSWORD] {
        assert_eq!(program("Alice@example.test", password).await, Some(1), "{password}");
    }
    assert_eq!(program("bob@example.test", &phones).await, None, "somebody else's");
    assert_eq!(page(&phones).await, SaslAnswer::Rejected);
    assert!(matches!(page(PASSWORD).await, SaslAnswer::Accepted(_)));
    assert_eq!(people.authenticate("alice@example.test", &phones).await, Ok(None));
    let asked = SaslAsk::Keys { user: "alice@example.test".into() };
    let random = people.random.as_ref();
    match super::super::login::answer(&people, random, &throttle, clock.as_ref(), peer, asked).await.0 {
        SaslAnswer::Keys(keys) => assert!(keys.devices.is_empty()),
        other => panic!("{other:?}"),
    }

    people.write(move |txn| device::remove(txn, "alice@example.test", phone)).await.unwrap();
    assert_eq!(program("alice@example.test", &phones).await, None);
    assert_eq!(program("alice@example.test", &laptops).await, Some(1));
    people.set_disabled("bob@example.test", true).await.unwrap();
    assert!(people.write(move |txn| device::remove(txn, "bob@example.test", laptop)).await.is_err(), "not his");
    // A new pass phrase leaves the devices as they are, also for SCRAM.
    people.set_password("alice@example.test", "another phrase entirely").await.unwrap();
    let keys = people.scram_keys("alice@example.test").await.unwrap();
    assert_eq!(keys.devices.iter().map(|one| one.device).collect::<Vec<_>>(), [laptop]);
    assert_eq!(program("alice@example.test", &laptops).await, Some(1));
    assert_eq!(program("alice@example.test", PASSWORD).await, None);
}

#[tokio::test]
async fn when_a_device_logged_in_is_shown_at_once_and_written_down_seldom() {
    let House { disk, people, clock } = house().await;
    let (phone, _) = device(&people, "alice@example.test", "phone").await;
    let used = |people: &Internal| people.devices("alice@example.test").unwrap()[0].used;
    let kept = |people: &Internal| {
        device::list(&people.data.read().unwrap(), "alice@example.test", clock.now()).unwrap()[0].used
    };
    assert_eq!((used(&people), kept(&people)), (None, None));
    let first = clock.now();
    people.device_has_logged_in(AccountId(1), phone);
    assert_eq!((used(&people), kept(&people)), (Some(first), None));
    people.note_devices(false).unwrap();
    assert_eq!(kept(&people), Some(first));
    clock.advance_ms(60_000);
    people.device_has_logged_in(AccountId(1), phone);
    people.note_devices(false).unwrap();
    assert_eq!((used(&people), kept(&people)), (Some(first.plus_ms(60_000)), Some(first)), "not a write each time");
    people.note_devices(true).unwrap();
    assert_eq!(kept(&people), Some(first.plus_ms(60_000)));
    // One that is gone meanwhile is not made again.
    people.device_has_logged_in(AccountId(1), phone);
    people.write(move |txn| device::remove(txn, "alice@example.test", phone)).await.unwrap();
    clock.advance_ms(2 * 3600 * 1000);
    people.device_has_logged_in(AccountId(1), phone);
    people.note_devices(false).unwrap();
    assert!(people.devices("alice@example.test").unwrap().is_empty());
    drop(disk);
}

#[tokio::test]
async fn devices_have_a_limit_and_go_with_their_account() {
    let House { people, .. } = house().await;
    for n in 0..device::MOST {
        device(&people, "bob@example.test", &format!("device {n}")).await;
    }
    let now = people.clock.now();
    let more = people.write(move |txn| device::add_with_link(txn, "bob@example.test", "more", &[1; 32], now)).await;
    assert!(matches!(more, Err(Error::Unusable(_))), "{more:?}");
    for name in ["", " ", "two\nlines", &"x".repeat(65)] {
        let name = name.to_owned();
        let named =
            people.write(move |txn| device::add_with_link(txn, "alice@example.test", &name, &[1; 32], now)).await;
        assert!(matches!(named, Err(Error::Unusable(_))), "{named:?}");
    }
    let bob = people.close_account("bob@example.test").await.unwrap();
    let left = people.data.read().unwrap();
    let mut rows = 0;
    left.scan(Table::Devices, &[], &resolve::END, crate::store::Order::Forward, &mut |_, _| {
        rows += 1;
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!((rows, bob.0), (0, 2));
}
