//! Plays the conversations of tests/transcripts: see the README there for how they are written.
//!
//! Its own `main`, so that each file is a test with a name, and words on the command line choose among them.

#[path = "play/machine.rs"]
mod machine;
#[path = "play/matching.rs"]
mod matching;
#[path = "play/script.rs"]
mod script;
#[path = "play/self_test.rs"]
mod self_test;
#[path = "play/socket.rs"]
mod socket;
#[path = "play/talk.rs"]
mod talk;
#[path = "home/tls.rs"]
mod tls;
#[path = "play/world.rs"]
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use script::Script;

/// How the client's bytes arrive: all of them, and in pieces of this many.
const PIECES: [usize; 3] = [0, 7, 1];

struct Case {
    name: String,
    run: Box<dyn Fn() -> Result<(), String> + Send + Sync>,
}

fn main() -> ExitCode {
    let (mut wanted, mut list, mut sockets) = (Vec::new(), false, true);
    for word in std::env::args().skip(1) {
        match word.as_str() {
            "--list" => list = true,
            // Without the real binary.
            "--machine" => sockets = false,
            _ if word.starts_with('-') => {}
            _ => wanted.push(word),
        }
    }
    let mut cases = self_test::cases();
    match gather(sockets) {
        Ok(found) => cases.extend(found),
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    }
    let all = cases.len();
    cases.retain(|case| wanted.is_empty() || wanted.iter().any(|word| case.name.contains(word.as_str())));
    if list {
        cases.iter().for_each(|case| println!("{}: test", case.name));
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", cases.len());
    let failed = run(&cases);
    println!(
        "\ntest result: {}. {} passed; {} failed; 0 ignored; 0 measured; {} filtered out\n",
        if failed == 0 { "ok" } else { "FAILED" },
        cases.len() - failed,
        failed,
        all - cases.len()
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Several at once, since most of the time each waits. Gives how many failed.
fn run(cases: &[Case]) -> usize {
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = catch_unwind(AssertUnwindSafe(&case.run)).unwrap_or_else(|panic| {
                        let words = panic.downcast_ref::<String>().cloned();
                        let words = words.or_else(|| panic.downcast_ref::<&str>().map(|words| words.to_string()));
                        Err(format!("panicked: {}", words.unwrap_or_default()))
                    });
                    match outcome {
                        Ok(()) => println!("test {} ... ok", case.name),
                        Err(error) => {
                            println!("test {} ... FAILED", case.name);
                            let mut failures = failures.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                            failures.push(format!("---- {}\n{error}", case.name));
                        }
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    if !failures.is_empty() {
        println!("\nfailures:\n\n{}", failures.join("\n\n"));
    }
    failures.len()
}

/// A case for each file against the machine, and one over sockets where that makes sense.
fn gather(sockets: bool) -> Result<Vec<Case>, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let mut files = Vec::new();
    for proto in std::fs::read_dir(&folder).map_err(|error| error.to_string())? {
        let proto = proto.map_err(|error| error.to_string())?.path();
        if proto.is_dir() {
            for file in std::fs::read_dir(&proto).map_err(|error| error.to_string())? {
                files.push(file.map_err(|error| error.to_string())?.path());
            }
        }
    }
    files.sort();
    let mut cases = Vec::new();
    for file in files {
        let name = file.strip_prefix(&folder).unwrap_or(&file).with_extension("").to_string_lossy().into_owned();
        let read = read(&file);
        let over_sockets = read.as_ref().is_ok_and(|script| script.machine_only.is_none() && !script.moves_the_clock());
        let shown = file.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(&file).to_path_buf();
        let at = shown.clone();
        let again = file.clone();
        cases.push(Case { name: format!("{name}::machine"), run: Box::new(move || against_the_machine(&at, &again)) });
        if sockets && over_sockets {
            cases.push(Case { name: format!("{name}::socket"), run: Box::new(move || over_a_socket(&shown, &file)) });
        }
    }
    Ok(cases)
}

fn read(file: &Path) -> Result<Script, String> {
    let folder = file.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    script::parse(&text, &folder.unwrap_or_default())
}

fn against_the_machine(shown: &Path, file: &Path) -> Result<(), String> {
    let script = read(file).map_err(|error| format!("{}: {error}", shown.display()))?;
    for piece in PIECES {
        let how = if piece == 0 { "whole".to_string() } else { format!("in pieces of {piece}") };
        let at = |error: String| format!("{}: {error}\n    (given {how})", shown.display());
        let mut world = world::World::new(&script, piece, 7).map_err(at)?;
        talk::play(&script, &mut world).map_err(at)?;
        world.finish().map_err(at)?;
    }
    Ok(())
}

fn over_a_socket(shown: &Path, file: &Path) -> Result<(), String> {
    let at = |error: String| format!("{}: {error}\n    (over a socket)", shown.display());
    let script = read(file).map_err(at)?;
    let mut server = socket::Server::start(&script).map_err(at)?;
    talk::play(&script, &mut server).map_err(at)
}
