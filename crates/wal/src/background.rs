//! Work that blocks, done by a thread of its own so that no executor's thread does it.
//!
//! For what is rare and slow: closing, checkpoints, truncation. The thread begins with the first
//! poll and works to the end, whether or not anybody still waits: dropping the future cancels
//! nothing that has begun, and begins nothing.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

type Job<T> = Box<dyn FnOnce() -> T + Send>;

/// What the thread and the future share.
enum Progress<T> {
    Running(Option<Waker>),
    Done(std::thread::Result<T>),
    Taken,
}

/// A job and, once it is done, what came of it.
pub(crate) struct OnThread<T> {
    job: Option<Job<T>>,
    progress: Arc<Mutex<Progress<T>>>,
}

impl<T> fmt::Debug for OnThread<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnThread").field("begun", &self.job.is_none()).finish_non_exhaustive()
    }
}

impl<T: Send + 'static> OnThread<T> {
    pub(crate) fn new(job: impl FnOnce() -> T + Send + 'static) -> Self {
        let progress = Arc::new(Mutex::new(Progress::Running(None)));
        Self { job: Some(Box::new(job)), progress }
    }

    fn begin(&mut self, job: Job<T>) {
        let theirs = Arc::clone(&self.progress);
        let job = Arc::new(Mutex::new(Some(job)));
        let handed = Arc::clone(&job);
        let work = move || {
            let job = handed.lock().take();
            if let Some(job) = job {
                finish(&theirs, catch_unwind(AssertUnwindSafe(job)));
            }
        };
        if std::thread::Builder::new().name("wal-work".to_owned()).spawn(work).is_err() {
            // No thread is to be had: better late than never, and the caller is told the outcome.
            let job = job.lock().take();
            if let Some(job) = job {
                finish(&self.progress, catch_unwind(AssertUnwindSafe(job)));
            }
        }
    }
}

/// Stores the outcome, and wakes whoever waits, with no lock held.
fn finish<T>(progress: &Mutex<Progress<T>>, outcome: std::thread::Result<T>) {
    let before = std::mem::replace(&mut *progress.lock(), Progress::Done(outcome));
    if let Progress::Running(Some(waker)) = before {
        waker.wake();
    }
}

impl<T: Send + 'static> Future for OnThread<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let this = self.get_mut();
        if let Some(job) = this.job.take() {
            *this.progress.lock() = Progress::Running(Some(cx.waker().clone()));
            this.begin(job);
        }
        let waker = cx.waker().clone();
        let mut progress = this.progress.lock();
        if let Progress::Running(last) = &mut *progress {
            let old = last.replace(waker);
            drop(progress);
            drop(old);
            return Poll::Pending;
        }
        let done = std::mem::replace(&mut *progress, Progress::Taken);
        drop(progress);
        match done {
            Progress::Done(Ok(value)) => Poll::Ready(value),
            // It goes on in whoever waits, as if that had done the work.
            Progress::Done(Err(panic)) => resume_unwind(panic),
            // Polled after it was ready: nothing is left to say.
            Progress::Running(_) | Progress::Taken => Poll::Pending,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    struct Unpark(std::thread::Thread);

    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    fn block_on<F: Future + Unpin>(mut future: F) -> F::Output {
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        loop {
            if let Poll::Ready(output) =
                Pin::new(&mut future).poll(&mut Context::from_waker(&waker))
            {
                return output;
            }
            std::thread::park();
        }
    }

    #[test]
    fn the_work_is_done_by_another_thread() {
        let here = std::thread::current().id();
        assert_ne!(block_on(OnThread::new(|| std::thread::current().id())), here);
    }

    #[test]
    fn work_that_was_never_polled_is_never_done() {
        let (told, heard) = channel::<()>();
        drop(OnThread::new(move || told.send(())));
        assert!(heard.recv().is_err());
    }

    #[test]
    fn work_that_has_begun_is_done_although_nobody_waits() {
        let (told, heard) = channel();
        let mut work = OnThread::new(move || told.send(7));
        let waker = Waker::noop();
        let _ = Pin::new(&mut work).poll(&mut Context::from_waker(waker));
        drop(work);
        assert_eq!(heard.recv().unwrap(), 7);
    }

    #[test]
    fn a_panic_goes_on_in_whoever_waits() {
        let work = OnThread::new(|| panic!("deliberate"));
        let caught = catch_unwind(AssertUnwindSafe(|| -> () { block_on(work) }));
        assert_eq!(caught.unwrap_err().downcast_ref::<&str>(), Some(&"deliberate"));
    }
}
