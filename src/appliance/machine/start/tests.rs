//! The steps on a machine that breaks at any call: it fails, or the power goes, and what was being written is there, not there, or
//! torn.

use super::*;

const END: u64 = 4_000_000;
const START: u64 = 1_000_000;
const FLASHED: u64 = 100_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Fails,
    /// What the call changes is as before, torn, or as it should be; then nothing goes any more.
    Cut(Effect),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    None,
    Torn,
    Whole,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Files {
    /// Nothing that could be mounted.
    None,
    Whole,
    /// As a cut leaves it: `-p` repairs it.
    Torn,
    /// As a failing disk does: only `-y` does.
    Damaged,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum House {
    None,
    Begun,
    SetUp,
}

/// A copy of the table: how large the partition is, or `None` if it is torn.
type Table = Option<u64>;

#[derive(Clone, Debug)]
struct Fake {
    // What survives a cut.
    main: Table,
    copy: Table,
    files: Files,
    files_size: u64,
    letters: bool,
    house: House,
    folders: bool,
    wish: Wish,
    toml: bool,
    told: Option<String>,
    // What does not.
    kernel_size: u64,
    nameless: bool,
    mounted: bool,
    boot_open: bool,
    boot_writable: bool,
    clock: bool,
    dead: bool,
    calls: usize,
    fault: Option<(usize, Fault)>,
    /// The answers are no good.
    wrong: bool,
    steps: Vec<Step>,
    said: Vec<(To, String)>,
}

impl Fake {
    /// As it comes from the card's first start: `homepost.toml` is there, and nothing else.
    fn flashed() -> Fake {
        Fake {
            main: Some(FLASHED),
            copy: Some(FLASHED),
            files: Files::Whole,
            files_size: FLASHED,
            letters: false,
            house: House::None,
            folders: false,
            wish: Wish::None,
            toml: true,
            told: None,
            kernel_size: FLASHED,
            nameless: false,
            mounted: false,
            boot_open: false,
            boot_writable: false,
            clock: false,
            dead: false,
            calls: 0,
            fault: None,
            wrong: false,
            steps: Vec::new(),
            said: Vec::new(),
        }
    }

    /// A house that lives in it.
    fn lived_in() -> Fake {
        let mut fake = Fake::flashed();
        run(&mut fake);
        assert_eq!((fake.house, fake.problem(), fake.notices()), (House::SetUp, None, vec![]));
        fake.letters = true;
        fake.restart();
        fake
    }

    fn measured(&self) -> Place {
        Place {
            name: "sda4".to_owned(),
            disk: "sda".to_owned(),
            number: 4,
            start: START,
            size: self.kernel_size,
            disk_size: END,
        }
    }

    fn restart(&mut self) {
        self.nameless = false;
        self.kernel_size = self.main.or(self.copy).expect("one copy of the table is whole");
        if self.mounted && self.dead && self.files == Files::Whole {
            self.files = Files::Torn;
        }
        self.mounted = false;
        (self.boot_open, self.boot_writable, self.clock, self.dead) = (false, false, false, false);
        (self.calls, self.fault) = (0, None);
        self.steps.clear();
        self.said.clear();
    }

    /// Counts a call; what becomes of what it changes.
    fn call(&mut self) -> io::Result<Effect> {
        let error = || Err(io::Error::other("broken"));
        if self.dead {
            return error();
        }
        self.calls += 1;
        match self.fault {
            Some((n, Fault::Fails)) if n == self.calls => error(),
            Some((n, Fault::Cut(effect))) if n == self.calls => {
                self.dead = true;
                Ok(effect)
            }
            _ => Ok(Effect::Whole),
        }
    }

    fn over(&self) -> io::Result<()> {
        if self.dead { Err(io::Error::other("the power is gone")) } else { Ok(()) }
    }

    /// A call that only looks.
    fn look<T>(&mut self, what: T) -> io::Result<T> {
        self.call()?;
        self.over().map(|()| what)
    }

    fn problem(&self) -> Option<&str> {
        self.said.iter().rev().find(|(to, _)| *to == To::Problem).map(|(_, words)| words.as_str())
    }

    fn notices(&self) -> Vec<&str> {
        self.said.iter().filter(|(to, _)| *to == To::Notice).map(|(_, words)| words.as_str()).collect()
    }
}

impl Board for Fake {
    fn begins(&mut self, step: Step) {
        self.steps.push(step);
    }

    fn tell(&mut self, to: To, words: &str) {
        self.said.push((to, words.to_owned()));
    }

    fn place(&mut self) -> io::Result<Option<Place>> {
        // As Linux has it: `partx -u` takes the name away.
        let place = (!self.nameless).then(|| self.measured());
        self.look(place)
    }

    fn table_is_whole(&mut self, _: &Place) -> io::Result<bool> {
        let whole = self.main.is_some() && self.main == self.copy;
        self.look(whole)
    }

    fn mend_table(&mut self, _: &Place) -> io::Result<()> {
        if self.call()? == Effect::Whole {
            let whole = self.main.or(self.copy);
            (self.main, self.copy) = (whole, whole);
        }
        self.over()
    }

    fn move_copy(&mut self, _: &Place) -> io::Result<()> {
        match self.call()? {
            Effect::None => {}
            Effect::Torn => self.copy = None,
            Effect::Whole => self.copy = self.main.or(self.copy),
        }
        self.over()
    }

    fn grow(&mut self, _: &Place) -> io::Result<()> {
        let all = Some(END - START);
        match self.call()? {
            Effect::None => {}
            // The copy is written first.
            Effect::Torn => (self.copy, self.main) = (all, None),
            Effect::Whole => (self.copy, self.main) = (all, all),
        }
        self.over()
    }

    fn reread(&mut self, _: &Place) -> io::Result<Place> {
        self.call()?;
        self.over()?;
        self.kernel_size = self.main.or(self.copy).unwrap();
        self.nameless = true;
        Ok(self.measured())
    }

    fn check(&mut self, _: &Place, all: bool) -> io::Result<bool> {
        assert!(!self.mounted, "checked while it is mounted");
        let effect = self.call()?;
        self.over()?;
        assert_eq!(effect, Effect::Whole);
        match (self.files, all) {
            (Files::Torn, _) | (Files::Damaged, true) => self.files = Files::Whole,
            (Files::Damaged, false) => return Ok(false),
            (Files::None, _) => return Ok(false),
            (Files::Whole, _) => {}
        }
        Ok(true)
    }

    fn mount(&mut self, _: &Place) -> io::Result<()> {
        self.call()?;
        self.over()?;
        if !matches!(self.files, Files::Whole | Files::Torn) {
            return Err(io::Error::other("no file system"));
        }
        self.mounted = true;
        Ok(())
    }

    fn unmount(&mut self) -> io::Result<()> {
        self.call()?;
        self.over()?;
        self.mounted = false;
        Ok(())
    }

    fn extend(&mut self, _: &Place) -> io::Result<()> {
        assert!(self.mounted, "extended without a journal");
        let effect = self.call()?;
        if effect == Effect::Whole {
            self.files_size = self.kernel_size;
        }
        self.over()
    }

    fn wipe(&mut self, _: &Place) -> io::Result<()> {
        assert!(!self.mounted && self.wish == Wish::Whole, "wiped without a wish");
        if self.call()? != Effect::None {
            (self.letters, self.house, self.files) = (false, House::None, Files::None);
        }
        self.over()
    }

    fn empty(&mut self) -> io::Result<bool> {
        assert!(self.mounted && self.wish == Wish::Whole, "deleted without a wish");
        if self.call()? != Effect::None {
            (self.letters, self.house) = (false, House::None);
        }
        self.over().map(|()| true)
    }

    fn make(&mut self, _: &Place) -> io::Result<()> {
        assert!(!self.mounted && self.wish == Wish::Whole, "made as new without a wish");
        match self.call()? {
            Effect::None => return self.over(),
            Effect::Torn => self.files = Files::None,
            Effect::Whole => (self.files, self.files_size) = (Files::Whole, self.kernel_size),
        }
        (self.letters, self.house, self.folders) = (false, House::None, false);
        self.over()
    }

    fn folders(&mut self) -> io::Result<()> {
        assert!(self.mounted);
        let made = self.call();
        // Those that are there already are as good.
        if made.is_err() && self.folders {
            return self.over();
        }
        if made? == Effect::Whole {
            self.folders = true;
        }
        self.over()
    }

    fn clock(&mut self) -> io::Result<()> {
        self.call()?;
        self.over()?;
        self.clock = true;
        Ok(())
    }

    fn open_boot(&mut self) -> io::Result<()> {
        assert!(!self.boot_open);
        self.call()?;
        self.over()?;
        self.boot_open = true;
        Ok(())
    }

    fn close_boot(&mut self) {
        assert!(self.boot_open);
        (self.boot_open, self.boot_writable) = (false, false);
    }

    fn let_write(&mut self, yes: bool) -> io::Result<()> {
        assert!(self.boot_open);
        self.call()?;
        self.over()?;
        self.boot_writable = yes;
        Ok(())
    }

    fn wish(&mut self) -> io::Result<Wish> {
        assert!(self.boot_open);
        let wish = self.wish;
        self.look(wish)
    }

    fn touch_wish(&mut self) -> io::Result<()> {
        assert!(self.boot_writable);
        self.call()?;
        self.over()
    }

    fn remove_wish(&mut self) -> io::Result<()> {
        assert!(self.boot_writable);
        if self.call()? == Effect::Whole {
            self.wish = Wish::None;
        }
        self.over()
    }

    fn forget(&mut self, name: &str) -> io::Result<()> {
        assert!(self.boot_writable);
        if self.call()? != Effect::None {
            match name {
                ASKED => self.toml = false,
                _ => self.told = None,
            }
        }
        self.over()
    }

    fn is_asked(&mut self) -> io::Result<bool> {
        let toml = self.toml;
        self.look(toml)
    }

    fn is_set_up(&mut self) -> io::Result<bool> {
        assert!(self.mounted);
        let is = self.house == House::SetUp;
        self.look(is)
    }

    fn set_up(&mut self) -> Result<String, String> {
        assert!(self.mounted && self.folders && self.steps.contains(&Step::Clock), "set up too early");
        match self.call().map_err(|error| error.to_string())? {
            Effect::None => {}
            Effect::Torn => self.house = House::Begun,
            Effect::Whole if self.wrong => return Err("no domain".to_owned()),
            Effect::Whole => self.house = House::SetUp,
        }
        self.over().map_err(|error| error.to_string())?;
        Ok("homepost is set up.".to_owned())
    }

    fn answer(&mut self, words: &str) -> io::Result<()> {
        if !self.boot_writable {
            return Err(io::Error::other("it is only to be read"));
        }
        if self.call()? == Effect::Whole {
            self.told = Some(words.to_owned());
        }
        self.over()
    }
}

/// All of it is done.
fn assert_ready(fake: &Fake, what: &str) {
    assert_eq!(fake.problem(), None, "{what}");
    assert!(fake.mounted && fake.folders && fake.clock && !fake.boot_open, "{what}: {fake:?}");
    assert_eq!((fake.main, fake.copy), (Some(END - START), Some(END - START)), "{what}");
    assert_eq!((fake.kernel_size, fake.files_size), (END - START, END - START), "{what}");
    assert_eq!((fake.wish, fake.toml), (Wish::None, false), "{what}");
    assert_eq!(fake.steps, Step::ALL, "{what}");
}

/// Every call of a start is broken in every way; the next start has to end well. Gives the calls of a start.
fn broken_everywhere(from: &Fake, check: &dyn Fn(&Fake, &str)) -> usize {
    let mut whole = from.clone();
    run(&mut whole);
    check(&whole, "nothing broken");
    let ways = [Fault::Fails, Fault::Cut(Effect::None), Fault::Cut(Effect::Torn), Fault::Cut(Effect::Whole)];
    for n in 1..=whole.calls {
        for way in ways {
            let what = format!("call {n} {way:?}");
            let mut fake = from.clone();
            fake.fault = Some((n, way));
            let served = run(&mut fake);
            if !fake.dead {
                assert_eq!(served, fake.problem().is_none(), "{what}");
                // What keeps the mail from being served is told, and nothing else does.
                let serves = fake.mounted && fake.folders;
                assert!(fake.problem().is_some() || serves, "{what}: {:?}", fake.said);
                assert!(fake.problem().is_none() || !serves || fake.wish == Wish::Whole, "{what}: {:?}", fake.said);
                assert!(fake.steps.contains(&Step::Clock), "{what}");
            }
            assert!(from.wish == Wish::Whole || fake.letters == from.letters, "{what}: letters are lost");
            // And cut once more, at the same call of the next start.
            for again in [None, Some((n, Fault::Cut(Effect::Torn)))] {
                let mut fake = fake.clone();
                fake.restart();
                fake.fault = again;
                run(&mut fake);
                fake.restart();
                run(&mut fake);
                check(&fake, &format!("{what}, then {again:?}"));
            }
        }
    }
    whole.calls
}

#[test]
fn a_first_start_that_breaks_anywhere_ends_well_at_the_next() {
    let calls = broken_everywhere(&Fake::flashed(), &|fake, what| {
        assert_ready(fake, what);
        assert_eq!(fake.house, House::SetUp, "{what}");
    });
    assert!(calls > 15, "{calls}");
}

#[test]
fn a_start_of_a_house_that_breaks_anywhere_loses_no_letter() {
    let mut fake = Fake::lived_in();
    for files in [Files::Whole, Files::Torn, Files::Damaged] {
        fake.files = files;
        broken_everywhere(&fake, &|fake, what| {
            assert_ready(fake, what);
            assert!(fake.letters && fake.house == House::SetUp, "{what}");
        });
    }
}

#[test]
fn a_box_that_is_made_as_new_and_breaks_anywhere_is_new_in_the_end() {
    let mut fake = Fake::lived_in();
    fake.wish = Wish::Whole;
    fake.toml = true;
    let calls = broken_everywhere(&fake, &|fake, what| {
        assert_ready(fake, what);
        assert!(!fake.letters && fake.house == House::None && fake.told.is_none(), "{what}");
    });
    assert!(calls > 20, "{calls}");
}

#[test]
fn half_a_wish_deletes_nothing_and_goes() {
    let mut fake = Fake::lived_in();
    fake.wish = Wish::Torn;
    broken_everywhere(&fake, &|fake, what| {
        assert_ready(fake, what);
        assert!(fake.letters, "{what}");
    });
}

/// Fails every time, not only once.
fn always(mut fake: Fake, breaks: fn(&mut Broken) -> &mut bool) -> Fake {
    let mut broken = Broken::default();
    *breaks(&mut broken) = true;
    let mut board = Worn { fake: &mut fake, broken };
    run(&mut board);
    fake
}

#[derive(Default)]
struct Broken {
    table: bool,
    file_system: bool,
    folders: bool,
    boot: bool,
    new: bool,
}

/// Parts of it do not work any more.
struct Worn<'a> {
    fake: &'a mut Fake,
    broken: Broken,
}

fn worn<T>(broken: bool, works: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    if broken { Err(io::Error::other("worn out")) } else { works() }
}

impl Board for Worn<'_> {
    fn begins(&mut self, step: Step) {
        self.fake.begins(step);
    }
    fn tell(&mut self, to: To, words: &str) {
        self.fake.tell(to, words);
    }
    fn place(&mut self) -> io::Result<Option<Place>> {
        self.fake.place()
    }
    fn table_is_whole(&mut self, place: &Place) -> io::Result<bool> {
        self.fake.table_is_whole(place)
    }
    fn mend_table(&mut self, place: &Place) -> io::Result<()> {
        worn(self.broken.table, || self.fake.mend_table(place))
    }
    fn move_copy(&mut self, place: &Place) -> io::Result<()> {
        worn(self.broken.table, || self.fake.move_copy(place))
    }
    fn grow(&mut self, place: &Place) -> io::Result<()> {
        worn(self.broken.table, || self.fake.grow(place))
    }
    fn reread(&mut self, place: &Place) -> io::Result<Place> {
        self.fake.reread(place)
    }
    fn check(&mut self, place: &Place, all: bool) -> io::Result<bool> {
        worn(self.broken.file_system, || self.fake.check(place, all))
    }
    fn mount(&mut self, place: &Place) -> io::Result<()> {
        worn(self.broken.file_system, || self.fake.mount(place))
    }
    fn unmount(&mut self) -> io::Result<()> {
        self.fake.unmount()
    }
    fn extend(&mut self, place: &Place) -> io::Result<()> {
        worn(self.broken.table, || self.fake.extend(place))
    }
    fn empty(&mut self) -> io::Result<bool> {
        self.fake.empty()
    }
    fn wipe(&mut self, place: &Place) -> io::Result<()> {
        self.fake.wipe(place)
    }
    fn make(&mut self, place: &Place) -> io::Result<()> {
        worn(self.broken.new, || self.fake.make(place))
    }
    fn folders(&mut self) -> io::Result<()> {
        worn(self.broken.folders, || self.fake.folders())
    }
    fn clock(&mut self) -> io::Result<()> {
        self.fake.clock()
    }
    fn open_boot(&mut self) -> io::Result<()> {
        self.fake.open_boot()
    }
    fn close_boot(&mut self) {
        self.fake.close_boot();
    }
    fn let_write(&mut self, yes: bool) -> io::Result<()> {
        worn(self.broken.boot && yes, || self.fake.let_write(yes))
    }
    fn wish(&mut self) -> io::Result<Wish> {
        self.fake.wish()
    }
    fn touch_wish(&mut self) -> io::Result<()> {
        self.fake.touch_wish()
    }
    fn remove_wish(&mut self) -> io::Result<()> {
        self.fake.remove_wish()
    }
    fn forget(&mut self, name: &str) -> io::Result<()> {
        self.fake.forget(name)
    }
    fn is_asked(&mut self) -> io::Result<bool> {
        self.fake.is_asked()
    }
    fn is_set_up(&mut self) -> io::Result<bool> {
        self.fake.is_set_up()
    }
    fn set_up(&mut self) -> Result<String, String> {
        self.fake.set_up()
    }
    fn answer(&mut self, words: &str) -> io::Result<()> {
        self.fake.answer(words)
    }
}

#[test]
fn what_does_not_work_any_more_is_said_and_costs_no_more_than_it_has_to() {
    let fake = always(Fake::flashed(), |broken| &mut broken.table);
    assert_eq!((fake.problem(), fake.notices()), (None, vec![NOT_GROWN]));
    assert!(fake.mounted && fake.house == House::SetUp && fake.files_size == FLASHED);

    let fake = always(Fake::lived_in(), |broken| &mut broken.file_system);
    assert_eq!((fake.problem(), fake.notices()), (Some(UNREADABLE), vec![REPAIRED]));
    assert!(fake.clock && !fake.steps.contains(&Step::Answers), "{:?}", fake.steps);

    let fake = always(Fake::flashed(), |broken| &mut broken.folders);
    assert_eq!(fake.problem(), Some(NO_FOLDERS));

    // A card that became read-only: the mail is served, and nothing is deleted.
    let mut asked = Fake::lived_in();
    (asked.wish, asked.toml) = (Wish::Whole, true);
    let fake = always(asked.clone(), |broken| &mut broken.boot);
    assert_eq!((fake.problem(), fake.notices()), (None, vec![NOT_ERASED, STAYS]));
    assert!(fake.letters && fake.mounted && !fake.boot_open);

    let fake = always(asked, |broken| &mut broken.new);
    assert_eq!(fake.problem(), Some(NOT_NEW));
    assert!(!fake.letters && fake.wish == Wish::Whole && !fake.boot_open);
}

/// What cannot be overwritten file by file is overwritten as it lies there, and what cannot be overwritten at all is said.
#[test]
fn a_file_system_that_does_not_open_is_overwritten_as_it_is() {
    let mut asked = Fake::lived_in();
    (asked.wish, asked.toml, asked.files) = (Wish::Whole, true, Files::None);
    let mut whole = asked.clone();
    run(&mut whole);
    assert!(whole.said.contains(&(To::Console, WIPING.to_owned())) && !whole.letters);
    assert!(whole.notices().iter().all(|words| *words != NOT_OVERWRITTEN));
    broken_everywhere(&asked, &|fake, what| {
        assert_ready(fake, what);
        assert!(!fake.letters, "{what}");
    });
    // The disk does not take it.
    let mut seen = 0;
    for n in 1..whole.calls {
        let mut fake = asked.clone();
        fake.fault = Some((n, Fault::Fails));
        run(&mut fake);
        seen += usize::from(fake.notices().contains(&NOT_OVERWRITTEN));
    }
    assert_eq!(seen, 1);
}

/// The wish is there, the deletion is done, and then the card takes nothing any more.
#[test]
fn a_wish_that_cannot_go_serves_no_mail_that_would_be_deleted() {
    let mut asked = Fake::lived_in();
    (asked.wish, asked.toml) = (Wish::Whole, true);
    let mut seen = 0;
    for n in 1..40 {
        let mut fake = asked.clone();
        fake.fault = Some((n, Fault::Fails));
        run(&mut fake);
        if fake.problem() == Some(WISH_STAYS) {
            seen += 1;
            assert!(fake.wish == Wish::Whole && !fake.letters && !fake.mounted);
        } else {
            assert!(fake.wish == Wish::None || fake.letters || fake.problem().is_some(), "{n}: {:?}", fake.said);
        }
    }
    assert!(seen > 2, "{seen}");
}

#[test]
fn answers_that_are_no_good_stay_and_it_is_said_why() {
    let mut fake = Fake::flashed();
    fake.wrong = true;
    run(&mut fake);
    let words = "homepost.toml could not be used: no domain. Please correct it and start again.";
    assert_eq!((fake.notices(), fake.told.as_deref(), fake.toml), (vec![words], Some(words), true));
    fake.restart();
    fake.wrong = false;
    run(&mut fake);
    assert_eq!(fake.told.as_deref(), Some("homepost is set up. homepost.toml was removed, since a password is in it."));
    assert!(!fake.toml);
    // Another one is no use.
    fake.restart();
    fake.toml = true;
    run(&mut fake);
    assert_eq!(fake.told.as_deref(), Some("This box is set up. homepost.toml was removed, since a password is in it."));
}

/// The card takes nothing any more.
#[test]
fn a_password_that_stays_is_said() {
    let mut fake = Fake::flashed();
    run(&mut fake);
    let calls = fake.calls;
    let mut seen = 0;
    for n in 1..=calls {
        let mut fake = Fake::flashed();
        fake.fault = Some((n, Fault::Fails));
        run(&mut fake);
        if fake.house == House::SetUp && fake.toml {
            assert!(fake.notices().contains(&STAYS), "call {n}: {:?}", fake.said);
            assert!(fake.told.as_ref().is_none_or(|words| words.ends_with(STAYS)), "call {n}: {:?}", fake.told);
            seen += 1;
        }
    }
    assert_eq!(seen, 2);
}

#[test]
fn a_disk_that_is_full_of_it_is_left_alone() {
    let mut fake = Fake::lived_in();
    run(&mut fake);
    let console: Vec<&String> = fake.said.iter().filter(|(to, _)| *to == To::Console).map(|(_, words)| words).collect();
    assert!(console.is_empty(), "{console:?}");
    assert!(Step::ALL.iter().all(|step| step.sentence().ends_with('.')));
}
