//! Where hashing waits: argon2 takes 19 MiB and tens of milliseconds, and strangers decide how often.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::store;

use super::super::Error;

/// At once: DESIGN's two.
const AT_ONCE: usize = 2;
/// Being hashed or waiting for it; who comes beyond that is answered [`Error::Busy`] (P7).
const WAITING: usize = 64;

pub(super) struct Gate {
    running: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

impl Gate {
    pub fn new() -> Gate {
        Gate { running: Arc::new(Semaphore::new(AT_ONCE)), places: Arc::new(Semaphore::new(WAITING)) }
    }

    /// Runs `work` on a thread that may block. Whoever stops waiting frees the place; work that has begun keeps its turn
    /// until it ends.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        let _place = self.places.try_acquire().map_err(|_| Error::Busy)?;
        let turn = self.running.clone().acquire_owned().await.map_err(|_| Error::Busy)?;
        let running = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(turn);
            done
        });
        running.await.map_err(|error| Error::Store(store::Error::Panicked(error.to_string())))
    }

    /// From here on everything is answered [`Error::Busy`].
    #[cfg(test)]
    pub fn shut(&self) {
        self.places.close();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn two_at_once_and_a_bounded_number_waiting() {
        let gate = Arc::new(Gate::new());
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let barrier = Arc::new(std::sync::Barrier::new(AT_ONCE));
        let mut tasks = Vec::new();
        for _ in 0..AT_ONCE * 10 {
            let (gate, now, most, barrier) = (gate.clone(), now.clone(), most.clone(), barrier.clone());
            tasks.push(tokio::spawn(async move {
                gate.run(move || {
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    // Passed only when two are in here together.
                    barrier.wait();
                    now.fetch_sub(1, Ordering::SeqCst);
                })
                .await
            }));
        }
        for task in tasks {
            assert_eq!(task.await.unwrap(), Ok(()));
        }
        assert_eq!(most.load(Ordering::SeqCst), AT_ONCE);
    }

    #[tokio::test]
    async fn who_comes_when_the_queue_is_full_is_told_so_at_once() {
        let gate = Gate::new();
        let full = gate.places.clone().acquire_many_owned(u32::try_from(WAITING).unwrap()).await.unwrap();
        assert_eq!(gate.run(|| ()).await, Err(Error::Busy));
        drop(full);
        assert_eq!(gate.run(|| ()).await, Ok(()));
    }

    #[tokio::test]
    async fn a_panic_gives_its_turn_back() {
        let gate = Gate::new();
        for _ in 0..AT_ONCE + 1 {
            assert!(gate.run(|| panic!("planted")).await.is_err());
        }
        assert_eq!(gate.run(|| 1).await, Ok(1));
    }
}
