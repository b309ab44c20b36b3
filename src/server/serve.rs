//! `serve`: from the lock to the last checkpoint.

use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::appliance::sandbox;
use crate::base::{OsRandom, SystemClock};
use crate::net::mdns;
use crate::settings::Settings;

use super::backup;
use super::certificates;
use super::control;
use super::doors::{Doors, Shift};
use super::folder::{Folder, remove};
use super::house::House;
use super::outgoing;
use super::reporting;
use super::restoring::Restoring;
use super::setup::Setup;
use super::stick;
use super::tasks;
use super::update::{self, Trial};
use super::verbs::{self, Reply, Request};

/// For sessions to end their command and say goodbye.
const GRACE: Duration = Duration::from_secs(5);
/// For a restart of the machine to begin.
const RESTART: Duration = Duration::from_secs(120);
/// Between two tries to open a port that was taken.
const AGAIN: Duration = Duration::from_secs(30);

/// What commands and the set-up tell the main loop; it replies with what did not work.
pub(super) enum Told {
    /// The domain is known, or it has changed: the doors may open, under this name.
    Named(oneshot::Sender<Vec<String>>),
    Opened(oneshot::Sender<Vec<String>>),
    Changed(oneshot::Sender<Vec<String>>),
}

/// The opened house, once there is one.
pub(super) type Held = Arc<Mutex<Option<Arc<House>>>>;

/// Serves the folder until SIGTERM, and answers for the name on the local networks. Errors: sentences for the owner.
pub(super) fn serve(
    folder: &Folder,
    shift: Shift,
    name: Option<mdns::Name>,
    backups: &[PathBuf],
) -> Result<(), String> {
    folder.make().map_err(|error| format!("{}: {error}", folder.path().display()))?;
    let lock = folder.lock().map_err(|error| format!("{}: {error}", folder.path().display()))?;
    let Some(_lock) = lock else {
        return Err(format!("another homepost has {} open", folder.path().display()));
    };
    folder.set_ready(false);
    raise_descriptors();
    // Before anything of this version opens the stores, or a stranger is heard.
    let trial = update::begin(folder)?;
    give_up(folder, backups);
    backup::end_restore(folder)?;
    let workers = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 4);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .max_blocking_threads(32)
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start: {error}"))?;
    let done = runtime.block_on(async {
        // From the first moment, since whoever sets the box up has to find it.
        let _announced = name.map(announce);
        run(folder, shift, trial).await
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    done
}

/// Until it is dropped.
pub(super) fn announce(name: mdns::Name) -> JoinSet<()> {
    let mut task = JoinSet::new();
    task.spawn(mdns::announce(name, Arc::new(SystemClock::new()), Arc::new(OsRandom)));
    task
}

async fn run(folder: &Folder, shift: Shift, trial: Option<Trial>) -> Result<(), String> {
    // First, so that a signal that comes early is not the default one's.
    let fault = |error: std::io::Error| format!("cannot start: {error}");
    let mut term = signal(SignalKind::terminate()).map_err(fault)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(fault)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(fault)?;

    let held: Held = Arc::default();
    if folder.is_set_up() {
        let house = House::open(folder)?;
        *held.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(house));
    }
    let (tell, mut told) = mpsc::unbounded_channel();
    let trial = match trial {
        Some(trial) if current(&held).is_none() => trial.pass_empty(folder).await.map(|()| None)?,
        other => other,
    };
    // What is done during a trial may be undone, so nobody does anything.
    let trying = Arc::new(AtomicBool::new(trial.is_some()));
    let restoring = Restoring::new(folder, &held, &tell, shift);
    let setup =
        if trial.is_some() { None } else { Setup::begin(folder, &held, &tell, shift, &restoring).map(Arc::new) };
    listen_for_commands(folder, held.clone(), tell.clone(), setup.clone(), trying.clone(), restoring)?;

    let mut told_opened = None;
    if current(&held).is_none() {
        say(&format!(
            "{path} is empty, so no mail port is open. Set it up with:\n  homepost init --data {path} --hostname \
             mail.example.org --domain example.org --admin you@example.org --password-stdin",
            path = folder.path().display()
        ));
    }
    if let Some(setup) = &setup {
        say(&setup.greeting);
    }
    while told_opened.is_none() && (current(&held).is_none() || setup.as_ref().is_some_and(|setup| !setup.ports_open()))
    {
        tokio::select! {
            _ = term.recv() => return end_early(folder, &held),
            _ = interrupt.recv() => return end_early(folder, &held),
            told = told.recv() => match told {
                Some(Told::Opened(reply)) => {
                    if let Some(setup) = setup.clone() {
                        drop(tokio::task::spawn_blocking(move || setup.adopt()));
                    }
                    told_opened = Some(reply);
                }
                Some(Told::Named(reply)) => told_opened = Some(reply),
                // A switch for later: no door opens before there is a name.
                Some(Told::Changed(reply)) => drop(reply.send(Vec::new())),
                None => return Err("nobody can set the folder up any more".to_owned()),
            },
        }
    }
    let Some(house) = current(&held) else { return Err("the folder was not set up".to_owned()) };

    let mut doors = Doors::new(&house, &tell, shift)?;
    doors.keep_closed(trial.is_some());
    let problems = doors.apply(&house.settings.load()).await;
    house.noted.doors(&problems);
    if let Some(reply) = told_opened {
        let _ = reply.send(problems.clone());
    }
    // While set-up goes on its page is worth more than an end: taken ports are tried again.
    if !doors.any_open() && !problems.is_empty() && setup.as_ref().is_none_or(|setup| setup.is_over()) {
        house.close()?;
        let _ = remove(&folder.socket());
        return Err(problems.join("\n"));
    }
    if !house.clock.trusted() {
        warn!("the time of this machine is not checked yet");
    }
    let mut problems = problems;
    if let Some(trial) = trial {
        let passed = tokio::select! {
            passed = trial.pass(&house, shift) => passed,
            _ = term.recv() => return end_early(folder, &held),
            _ = interrupt.recv() => return end_early(folder, &held),
        };
        if let Err(words) = passed {
            error!("the trial is over: {words}");
            // Until the restart that was asked for ends us: nobody is to start us anew for that moment.
            let _ = tokio::time::timeout(RESTART, term.recv()).await;
            let _ = tokio::time::timeout(GRACE, doors.close()).await;
            house.close()?;
            let _ = remove(&folder.socket());
            return Err(words);
        }
        trying.store(false, Ordering::Release);
        doors.keep_closed(false);
        problems = doors.apply(&house.settings.load()).await;
        house.noted.doors(&problems);
    }
    let updates = tokio::spawn(update::run(house.clone()));
    let chores = tokio::spawn(tasks::run(house.clone()));
    let watch = tokio::spawn(tasks::watch(house.clone()));
    let backups = tokio::spawn(stick::run(house.clone()));
    let (no_more, ending) = watch::channel(false);
    let reporting = tokio::spawn(reporting::run(house.clone(), shift, ending.clone()));
    let sending = tokio::spawn(outgoing::run(house.clone(), shift, ending));
    let renewals = tokio::spawn(certificates::run(house.clone(), doors.theatre(&house)));
    folder.set_ready(true);
    say("ready");
    info!("ready");

    let mut missing = !problems.is_empty();
    loop {
        tokio::select! {
            _ = term.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => {
                let problems = reload(&house, &mut doors).await;
                missing = !problems.is_empty();
                house.noted.doors(&problems);
            }
            Some(one) = told.recv() => {
                let (problems, reply) = match one {
                    Told::Named(reply) => (reload(&house, &mut doors).await, reply),
                    Told::Opened(reply) | Told::Changed(reply) => (doors.apply(&house.settings.load()).await, reply),
                };
                missing = !problems.is_empty();
                house.noted.doors(&problems);
                let _ = reply.send(problems);
            }
            () = tokio::time::sleep(AGAIN), if missing => {
                let problems = doors.apply(&house.settings.load()).await;
                missing = !problems.is_empty();
                house.noted.doors(&problems);
            }
        }
    }
    info!("ending");
    folder.set_ready(false);
    let _ = no_more.send(true);
    updates.abort();
    renewals.abort();
    let _ = renewals.await;
    if tokio::time::timeout(GRACE, doors.close()).await.is_err() {
        warn!("some sessions did not end in time");
    }
    let stop_sending = sending.abort_handle();
    if tokio::time::timeout(GRACE, sending).await.is_err() {
        // What was in hand is tried again after the next start.
        stop_sending.abort();
    }
    reporting.abort();
    let _ = reporting.await;
    watch.abort();
    let _ = watch.await;
    backups.abort();
    let _ = backups.await;
    chores.abort();
    let _ = chores.await;
    let closed = tokio::task::spawn_blocking(move || house.close()).await;
    let _ = remove(&folder.socket());
    match closed {
        Ok(closed) => closed,
        Err(_) => Err("the stores did not close well; nothing acknowledged is lost".to_owned()),
    }
}

/// Before the doors were open.
fn end_early(folder: &Folder, held: &Held) -> Result<(), String> {
    let _ = remove(&folder.socket());
    current(held).map_or(Ok(()), |house| house.close())
}

fn current(held: &Held) -> Option<Arc<House>> {
    held.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// SIGHUP: settings, certificate, listeners. With a wrong file everything stays as it is.
async fn reload(house: &House, doors: &mut Doors) -> Vec<String> {
    match Settings::load(house.folder.path()) {
        Ok(settings) => house.settings.store(Arc::new(settings)),
        Err(error) => {
            error!("the settings stay as they are: {error}");
        }
    }
    let _ = doors.reload(house);
    house.certificates.poke();
    let problems = doors.apply(&house.settings.load()).await;
    info!("reloaded");
    problems
}

fn listen_for_commands(
    folder: &Folder,
    held: Held,
    tell: mpsc::UnboundedSender<Told>,
    setup: Option<Arc<Setup>>,
    trying: Arc<AtomicBool>,
    restoring: Arc<Restoring>,
) -> Result<(), String> {
    let own = folder.clone();
    let house = held.clone();
    let back = restoring.clone();
    let run = move |request: Request| {
        if trying.load(Ordering::Acquire) && !request.only_looks() {
            return Reply::failed("a new version is being tried on this box; please try again in some minutes");
        }
        if let (Request::Setup { answer }, Some(setup)) = (&request, &setup) {
            return setup.command(answer.as_ref());
        }
        if let (Request::InitFrom { text }, Some(setup)) = (&request, &setup)
            && !setup.is_over()
        {
            return setup.file(&own, text);
        }
        let mut guard = held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(house) = guard.clone() {
            drop(guard);
            let reply = verbs::run(&house, &request);
            return match request {
                Request::ListenersSwitch { .. } if reply.error.is_none() => after(reply, &tell, Told::Changed),
                _ => reply,
            };
        }
        if matches!(request, Request::InitFrom { .. }) {
            return Reply::failed("the set-up cannot be reached; the log says why");
        }
        if matches!(request, Request::BackupRestore { .. }) {
            // It takes long, and others ask meanwhile.
            drop(guard);
            return back.run(&request);
        }
        if back.running().is_some() && matches!(request, Request::Init { .. }) {
            return Reply::failed("a backup is being put back just now");
        }
        // One at a time, while there is no house.
        let Some(reply) = verbs::run_closed(&own, &request) else {
            return Reply::failed("the server is not set up yet");
        };
        if reply.error.is_some() || !matches!(request, Request::Init { .. }) {
            return reply;
        }
        match House::open(&own) {
            Ok(house) => *guard = Some(Arc::new(house)),
            Err(error) => return Reply::failed(error),
        }
        drop(guard);
        after(reply, &tell, Told::Opened)
    };
    let run = Arc::new(run);
    if current(&house).is_none() {
        let run = run.clone();
        let over = move || current(&house).is_some();
        let waiting = std::thread::Builder::new().name("restore".to_owned());
        if let Err(error) = waiting.spawn(move || stick::wait_for_restore(over, &*run, &restoring)) {
            warn!(%error, "no stick can restore this box");
        }
    }
    control::listen(&folder.socket(), move |request| run(request))
        .map_err(|error| format!("the control socket {} cannot be opened: {error}", folder.socket().display()))
}

/// The reply, after the main loop did its part.
pub(super) fn after(
    mut reply: Reply,
    tell: &mpsc::UnboundedSender<Told>,
    what: fn(oneshot::Sender<Vec<String>>) -> Told,
) -> Reply {
    let (sender, receiver) = oneshot::channel();
    if tell.send(what(sender)).is_ok()
        && let Ok(problems) = receiver.blocking_recv()
        && !problems.is_empty()
    {
        reply.error = Some(problems.join("\n"));
    }
    reply
}

/// A line on stdout, for whoever started us.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

/// From here on this process can do what a mail server does, and nothing else. Before any thread is started (X1).
fn give_up(folder: &Folder, backups: &[PathBuf]) {
    let report = sandbox::serve(folder.path(), backups);
    info!("this process gave up everything else: {}", report.done.join(", "));
    for missing in report.missing {
        warn!("not given up: {missing}");
    }
}

/// As many descriptors as the machine lets us have: each connection is one.
fn raise_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        warn!(%error, "the number of open files stays at {:?}", limit.current);
    }
}
