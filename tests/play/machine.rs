//! A machine and its host, driven without sockets: what the client says arrives in pieces of a chosen size, what the server
//! says gathers in memory, and time stands still until it is moved.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use homepost::base::{Clock, ManualClock, Mono};
use homepost::proto::{Event, Host, Output, Part, Secured, Session};
use tokio::sync::mpsc;

use super::talk::{Quiet, Talk};

/// How long nothing may happen before a test that waits is told so. No verdict on speed: only a machine that is stuck, or
/// a script that waits for what never comes, gets here.
const PATIENCE: Duration = Duration::from_secs(20);

enum Say {
    Bytes(Bytes),
    Eof,
    Secure,
    /// The clock has been moved.
    Tick,
    /// Answered by counting it once everything before it is done.
    Settle,
}

#[derive(Default)]
struct Shared {
    /// Said and not read.
    out: VecDeque<u8>,
    closed: bool,
    wants_tls: bool,
    settled: u64,
    deadline: Option<Mono>,
    broken: Option<String>,
}

#[derive(Clone, Default)]
struct Line(Arc<(Mutex<Shared>, Condvar)>);

impl Line {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn tell(&self, change: impl FnOnce(&mut Shared)) {
        change(&mut self.lock());
        self.0.1.notify_all();
    }

    /// Waits until `ready` gives something.
    fn wait<T>(&self, mut ready: impl FnMut(&mut Shared) -> Option<T>) -> Option<T> {
        let mut shared = self.lock();
        loop {
            if let Some(found) = ready(&mut shared) {
                return Some(found);
            }
            let (again, timeout) =
                self.0.1.wait_timeout(shared, PATIENCE).unwrap_or_else(|poisoned| poisoned.into_inner());
            shared = again;
            if timeout.timed_out() {
                return ready(&mut shared);
            }
        }
    }
}

/// One connection to a machine.
pub struct Machine {
    say: mpsc::UnboundedSender<Say>,
    line: Line,
    settles: u64,
}

/// The other end: moves time for a connection that the script holds.
#[derive(Clone)]
pub struct Timer {
    say: mpsc::UnboundedSender<Say>,
    line: Line,
}

impl Machine {
    /// `piece` is how many bytes arrive at once; 0 is all of them.
    pub fn start<S, H>(
        runtime: &tokio::runtime::Handle,
        session: S,
        host: H,
        clock: Arc<ManualClock>,
        implicit_tls: bool,
        piece: usize,
    ) -> (Machine, Timer)
    where
        S: Session + 'static,
        H: Host<S> + 'static,
    {
        let (say, heard) = mpsc::unbounded_channel();
        let line = Line::default();
        let driver = Driver {
            session,
            host,
            clock,
            line: line.clone(),
            heard,
            waiting: VecDeque::new(),
            piece,
            more: false,
            body: false,
            eof: false,
        };
        runtime.spawn(driver.run(implicit_tls));
        let timer = Timer { say: say.clone(), line: line.clone() };
        (Machine { say, line, settles: 0 }, timer)
    }

    fn settle(&mut self) {
        self.settles += 1;
        let want = self.settles;
        if self.say.send(Say::Settle).is_ok() {
            self.line.wait(|shared| (shared.settled >= want || shared.closed).then_some(()));
        }
    }

    fn quiet(&self) -> Quiet {
        let mut shared = self.line.lock();
        let rest = shared.out.drain(..).collect();
        if shared.closed { Quiet::Closed(rest) } else { Quiet::Silent(rest) }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.say.send(Say::Eof);
    }
}

impl Talk for Machine {
    fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        // A peer that writes to a closed connection learns of it when it reads.
        let _ = self.say.send(Say::Bytes(Bytes::copy_from_slice(bytes)));
        Ok(())
    }

    fn line(&mut self) -> Result<Vec<u8>, Quiet> {
        let got = self.line.wait(|shared| match shared.out.iter().position(|b| *b == b'\n') {
            Some(end) => Some(Some(shared.out.drain(..=end).collect())),
            None => shared.closed.then_some(None),
        });
        got.flatten().ok_or_else(|| self.quiet())
    }

    fn exact(&mut self, length: usize) -> Result<Vec<u8>, Quiet> {
        let got = self.line.wait(|shared| match shared.out.len() >= length {
            true => Some(Some(shared.out.drain(..length).collect())),
            false => shared.closed.then_some(None),
        });
        got.flatten().ok_or_else(|| self.quiet())
    }

    fn unread(&mut self) -> Vec<u8> {
        self.settle();
        let mut shared = self.line.lock();
        if let Some(broken) = shared.broken.take() {
            return format!("<<{broken}>>").into_bytes();
        }
        shared.out.drain(..).collect()
    }

    fn start_tls(&mut self) -> Result<(), String> {
        self.settle();
        if !self.line.lock().wants_tls {
            return Err("the server does not begin TLS".into());
        }
        let _ = self.say.send(Say::Secure);
        Ok(())
    }

    fn close(&mut self) {
        let _ = self.say.send(Say::Eof);
    }
}

impl Timer {
    /// When this connection wants to be woken.
    pub fn deadline(&self) -> Option<Mono> {
        let shared = self.line.lock();
        if shared.closed { None } else { shared.deadline }
    }

    /// The clock has been moved; returns when the machine has done what it does about that.
    pub fn tick(&self) {
        let before = self.line.lock().settled;
        if self.say.send(Say::Tick).is_ok() && self.say.send(Say::Settle).is_ok() {
            self.line.wait(|shared| (shared.settled > before || shared.closed).then_some(()));
            // A settle of the timer is none of the script's.
            self.line.tell(|shared| shared.settled = before);
        }
    }

    /// Returns when everything said so far has been dealt with.
    pub fn settle(&self) {
        let before = self.line.lock().settled;
        if self.say.send(Say::Settle).is_ok() {
            self.line.wait(|shared| (shared.settled > before || shared.closed).then_some(()));
            self.line.tell(|shared| shared.settled = before);
        }
    }
}

struct Driver<S, H> {
    session: S,
    host: H,
    clock: Arc<ManualClock>,
    line: Line,
    heard: mpsc::UnboundedReceiver<Say>,
    /// Received by the machine's side of the wire, not yet taken.
    waiting: VecDeque<Bytes>,
    piece: usize,
    more: bool,
    body: bool,
    eof: bool,
}

impl<S: Session, H: Host<S>> Driver<S, H> {
    async fn run(mut self, implicit_tls: bool) {
        if implicit_tls {
            self.secured();
        }
        loop {
            if self.carry_out().await {
                break;
            }
            if self.more {
                let (answer, part) = self.host.more().await;
                self.answered(answer, part);
                continue;
            }
            if self.session.wants_input()
                && let Some(bytes) = self.waiting.pop_front()
            {
                self.input(Event::Bytes(bytes));
                continue;
            }
            if self.eof && self.waiting.is_empty() {
                break;
            }
            let deadline = self.session.deadline();
            self.line.tell(|shared| shared.deadline = deadline);
            let noticing = self.session.wants_notice();
            tokio::select! {
                biased;
                said = self.heard.recv() => match said {
                    None => break,
                    Some(said) => self.take(said),
                },
                notice = self.host.notice(), if noticing => self.input(Event::Notice(notice)),
            }
        }
        if self.body {
            self.host.body_abort();
        }
        self.line.tell(|shared| shared.closed = true);
    }

    fn take(&mut self, said: Say) {
        match said {
            Say::Bytes(bytes) if self.piece == 0 => self.waiting.push_back(bytes),
            Say::Bytes(mut bytes) => {
                while !bytes.is_empty() {
                    self.waiting.push_back(bytes.split_to(self.piece.min(bytes.len())));
                }
            }
            Say::Eof => {
                self.eof = true;
                self.input(Event::Eof);
            }
            Say::Secure => {
                self.line.tell(|shared| shared.wants_tls = false);
                self.secured();
            }
            Say::Tick => {
                let due = self.session.deadline().is_some_and(|deadline| deadline <= self.clock.mono());
                if due {
                    self.input(Event::Tick);
                }
            }
            Say::Settle => self.line.tell(|shared| shared.settled += 1),
        }
    }

    fn input(&mut self, event: Event<S::Answer, S::Notice>) {
        self.session.input(self.clock.mono(), event);
    }

    fn answered(&mut self, answer: S::Answer, part: Part) {
        self.more = part == Part::More;
        self.input(Event::Answer(answer, part));
    }

    fn secured(&mut self) {
        let secured =
            Secured { version: "TLSv1.3".into(), cipher: "TLS_AES_256_GCM_SHA384".into(), ..Secured::default() };
        self.input(Event::Secured(secured));
    }

    /// True when the machine has closed.
    async fn carry_out(&mut self) -> bool {
        while let Some(output) = self.session.output() {
            match output {
                Output::Write(bytes) => self.line.tell(|shared| shared.out.extend(bytes.iter())),
                Output::Ask(ask) => {
                    let (answer, part) = self.host.ask(ask).await;
                    self.answered(answer, part);
                }
                Output::BodyChunk(chunk) => {
                    self.body = true;
                    self.host.body_chunk(chunk).await;
                }
                Output::BodyEnd => {
                    self.body = false;
                    let stored = self.host.body_end().await;
                    self.input(Event::BodyStored(stored));
                }
                Output::BodyAbort => {
                    self.body = false;
                    self.host.body_abort();
                }
                Output::SendBlob { blob, mut range } => {
                    while !range.is_empty() {
                        let until = range.end.min(range.start + 256 * 1024);
                        match self.host.blob(blob, range.start..until).await {
                            Ok(bytes) if !bytes.is_empty() => {
                                range.start += bytes.len() as u64;
                                self.line.tell(|shared| shared.out.extend(bytes.iter()));
                            }
                            other => {
                                let words = format!("blob {blob:?} at {}: {other:?}", range.start);
                                self.line.tell(|shared| shared.broken = Some(words));
                                return true;
                            }
                        }
                    }
                }
                Output::SendDotted { .. } => panic!("no server of ours sends letters that way"),
                Output::StartTls => {
                    // What came in the clear behind the command is not read any more.
                    self.waiting.clear();
                    self.line.tell(|shared| shared.wants_tls = true);
                }
                Output::Close => return true,
            }
        }
        false
    }
}
