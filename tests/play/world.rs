//! The whole server but its sockets: machines, their hosts, people and accounts, over stores on a simulated disk.

use std::sync::Arc;

use homepost::account;
use homepost::base::{Clock, ManualClock, Mono, Random, SeededRandom, Time};
use homepost::directory::manage::account::NewAccount;
use homepost::directory::{Internal, Throttle};
use homepost::proto;
use homepost::proto::imap::{Imap, Tls};
use homepost::proto::smtp::Port;
use homepost::server::limits;
use homepost::settings::{Name, Settings};
use homepost::store::Data;
use homepost::store::data::Options;
use homepost::store::disk::{SimDisk, SimOptions};
use homepost::{delivery, imap, smtp};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::machine::{Machine, Timer};
use super::script::Script;
use super::talk::{HOST, Stage, Talk};

/// Mon, 23 Nov 2026 12:00:00 UTC.
const START: Time = Time(1_795_435_200_000);

pub struct World {
    runtime: Runtime,
    clock: Arc<ManualClock>,
    imap: Arc<imap::Shared<Internal>>,
    smtp: Arc<smtp::Shared<Internal>>,
    settings: Settings,
    data: Data,
    timers: Vec<Timer>,
    piece: usize,
    _stop: watch::Sender<bool>,
}

impl World {
    pub fn new(script: &Script, piece: usize, seed: u64) -> Result<World, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        let clock = Arc::new(ManualClock::at(START));
        let random: Arc<dyn Random> = Arc::new(SeededRandom::new(seed));
        let settings = settings(script)?;
        let disk = SimDisk::new(SimOptions { seed, ..SimOptions::default() });
        let options = Options {
            random: random.clone(),
            ballast_bytes: 0,
            cache_bytes: 4 << 20,
            segment_bytes: 1 << 20,
            ..Options::default()
        };
        let data = Data::open(Arc::new(disk), options).map_err(|error| error.to_string())?;
        let directory = Internal::open_blocking(data.clone(), clock.clone(), random.clone());
        let directory = Arc::new(directory.map_err(|error| error.to_string())?);
        runtime.block_on(people(script, &directory, &data))?;
        let (stop, going_down) = watch::channel(false);
        let smtp = Arc::new(smtp::Shared {
            data: data.clone(),
            directory: directory.clone(),
            intake: delivery::Intake::new(data.clone(), clock.clone(), random.clone()),
            clock: clock.clone() as Arc<dyn Clock>,
            random: random.clone(),
            throttle: Throttle::new(10),
            hostname: HOST.to_owned(),
            limits: limits::delivery(&settings),
            guard: None,
            going_down: going_down.clone(),
        });
        let imap = Arc::new(imap::Shared {
            data: data.clone(),
            directory: directory.clone(),
            clock: clock.clone() as Arc<dyn Clock>,
            random: random.clone(),
            throttle: Throttle::new(10),
            overviews: Arc::default(),
            limits: limits::letter(&settings),
            append_bytes: settings.limits.imap.append_bytes,
            refusal_ms: 1,
            going_down: going_down.clone(),
        });
        Ok(World { runtime, clock, imap, smtp, settings, data, timers: Vec::new(), piece, _stop: stop })
    }

    fn imap(&self, tls: Tls) -> (Machine, Timer) {
        let session = Imap::new(limits::imap(&self.settings, tls), self.clock.mono());
        let host = imap::Host::new(self.imap.clone(), [127, 0, 0, 1].into());
        let implicit = tls == Tls::Implicit;
        Machine::start(self.runtime.handle(), session, host, self.clock.clone(), implicit, self.piece)
    }
}

impl World {
    fn smtp(&self, port: Port) -> (Machine, Timer) {
        let mut config = limits::smtp(&self.settings, port);
        config.hold_until = Some(self.clock.now().plus_ms(i64::from(proto::smtp::HOLD_SECONDS) * 1000));
        let session = proto::smtp::Machine::new(config, self.clock.mono());
        let host = smtp::Host::new(self.smtp.clone(), [127, 0, 0, 1].into());
        let implicit = port == Port::Submissions;
        Machine::start(self.runtime.handle(), session, host, self.clock.clone(), implicit, self.piece)
    }
}

impl Stage for World {
    fn open(&mut self, listener: &str) -> Result<Box<dyn Talk>, String> {
        let (machine, timer) = match listener {
            "imaps" => self.imap(Tls::Implicit),
            "imap" => self.imap(Tls::StartTls),
            "smtp" => self.smtp(Port::Smtp),
            "submissions" => self.smtp(Port::Submissions),
            "submission" => self.smtp(Port::Submission),
            other => return Err(format!("no machine for `{other}`")),
        };
        self.timers.push(timer);
        Ok(Box::new(machine))
    }

    fn wait(&mut self, ms: u64) -> Result<(), String> {
        let end = self.clock.mono().plus_ms(ms);
        self.timers.iter().for_each(Timer::settle);
        // From one deadline to the next, as time would.
        for _ in 0..10_000 {
            let now = self.clock.mono();
            let next = self.timers.iter().filter_map(Timer::deadline).filter(|at| *at <= end).min();
            let Some(next) = next else {
                self.clock.advance_ms(end.since(now));
                return Ok(());
            };
            self.clock.advance_ms(next.since(now));
            for timer in &self.timers {
                timer.tick();
            }
            if self.timers.iter().filter_map(Timer::deadline).any(|at| at <= next && at != Mono(u64::MAX)) {
                return Err(format!("a machine still wants to be woken at {next:?} after it was"));
            }
        }
        Err("machines are woken without end".into())
    }
}

impl World {
    /// Ends everything, and says what is wrong with what was kept.
    pub fn finish(self) -> Result<(), String> {
        drop(self.timers);
        let wrong = account::check_all(&self.data, true).map_err(|error| error.to_string());
        self.data.close().map_err(|error| error.to_string())?;
        self.runtime.shutdown_timeout(std::time::Duration::from_secs(5));
        let wrong = wrong?;
        if wrong.is_empty() { Ok(()) } else { Err(format!("the accounts' invariants do not hold: {wrong:?}")) }
    }
}

/// What the script's settings.toml says: every listener open, and its limits.
pub fn settings_text(script: &Script) -> String {
    let mut text = format!("hostname = \"{HOST}\"\n");
    for (key, value) in &script.limits {
        let plain = value.parse::<u64>().is_ok() || matches!(value.as_str(), "true" | "false");
        let value = if plain { value.clone() } else { format!("\"{value}\"") };
        text.push_str(&format!("limits.{key} = {value}\n"));
    }
    for name in Name::ALL {
        text.push_str(&format!("[listeners.{}]\non = true\n", name.as_str()));
    }
    text
}

fn settings(script: &Script) -> Result<Settings, String> {
    Settings::parse(&settings_text(script)).map_err(|problems| format!("{problems:?}"))
}

async fn people(script: &Script, directory: &Internal, data: &Data) -> Result<(), String> {
    let words = |error: homepost::directory::Error| error.to_string();
    directory.add_domain("example.test").await.map_err(words)?;
    for domain in &script.domains {
        directory.add_domain(domain).await.map_err(words)?;
    }
    for account in &script.accounts {
        let new = NewAccount { address: account.address.clone(), quota: account.quota, ..NewAccount::default() };
        let id = directory.add_account(new, &account.password).await.map_err(words)?;
        let opened = data.write(move |txn| account::open(txn, id)).await;
        opened.map_err(|error: account::Error| error.to_string())?;
    }
    for (address, targets) in &script.aliases {
        directory.add_alias(address, targets).await.map_err(words)?;
    }
    Ok(())
}
