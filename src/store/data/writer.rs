//! The writer thread: gathers what waits into groups. While one group is being flushed the next gathers by itself.

use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use super::engine::{Engine, Job};
use super::shared::lock;
use crate::store::Error;

pub(crate) enum Message {
    Job(Box<dyn Job>),
    /// Something to do between two groups.
    Act(Box<dyn FnOnce(&mut Engine) + Send>),
    Close(Box<dyn FnOnce(Result<(), Error>) + Send>),
}

pub(crate) struct Writer {
    sender: Mutex<Option<Sender<Message>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    pub fn start(engine: Engine) -> Result<Writer, Error> {
        let (sender, receiver) = channel();
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || serve(engine, &receiver))
            .map_err(|error| Error::Disk(error.to_string()))?;
        Ok(Writer { sender: Mutex::new(Some(sender)), thread: Mutex::new(Some(thread)) })
    }

    /// Hands something to the thread; gives it back if the store is closed.
    pub fn send(&self, message: Message) -> Result<(), Message> {
        match &*lock(&self.sender) {
            Some(sender) => sender.send(message).map_err(|refused| refused.0),
            None => Err(message),
        }
    }

    /// Whether the caller runs on the writer thread, which must not wait for itself.
    pub fn is_this_thread(&self) -> bool {
        lock(&self.thread).as_ref().is_some_and(|thread| thread.thread().id() == std::thread::current().id())
    }

    /// Ends the thread after what was handed to it, and waits for that.
    pub fn stop(&self) {
        lock(&self.sender).take();
        if let Some(thread) = lock(&self.thread).take()
            // The last handle may go on the thread itself, inside a closure's result.
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop();
    }
}

fn serve(mut engine: Engine, receiver: &Receiver<Message>) {
    let mut waiting = None;
    loop {
        let message = match waiting.take() {
            Some(message) => message,
            None => match receiver.recv() {
                Ok(message) => message,
                Err(_) => break,
            },
        };
        match message {
            Message::Job(job) => {
                let (most, most_bytes) = (engine.shared.options.group, engine.shared.options.group_bytes);
                let mut bytes = job.weight();
                let mut jobs = vec![job];
                while jobs.len() < most && bytes < most_bytes && waiting.is_none() {
                    match receiver.try_recv() {
                        Ok(Message::Job(job)) => {
                            bytes += job.weight();
                            jobs.push(job);
                        }
                        Ok(other) => waiting = Some(other),
                        Err(_) => break,
                    }
                }
                guarded(&mut engine, |engine| engine.commit_group(jobs));
            }
            Message::Act(act) => guarded(&mut engine, act),
            Message::Close(told) => return told(engine.close()),
        }
    }
    // Every handle is gone without a word: close all the same, so that the next start has nothing to replay.
    let _ = engine.close();
}

/// A panic below (redb's, on a file altered behind its back) ends no thread that others wait for: those it concerns are told
/// that the outcome is unknown, and the store opens its rows again.
fn guarded(engine: &mut Engine, act: impl FnOnce(&mut Engine)) {
    if std::panic::catch_unwind(AssertUnwindSafe(|| act(engine))).is_err() {
        engine.distrust();
    }
}
