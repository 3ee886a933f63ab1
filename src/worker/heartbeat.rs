//! Keeps a claim's lease alive from a thread and a connection of its own, so that neither a long insert nor a busy
//! runtime lets it run out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::job::{ClaimToken, JobId, JobStore};

pub type StoreFactory = Arc<dyn Fn() -> Result<Box<dyn JobStore>> + Send + Sync>;

/// Beats until dropped.
pub struct Heartbeat {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Heartbeat {
    /// Sets `lost` once the claim was seen to be somebody else's. A hint: only the database knows.
    pub fn start(
        factory: StoreFactory,
        job: JobId,
        token: ClaimToken,
        lease: Duration,
        lost: Arc<AtomicBool>,
    ) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Error::internal("no runtime for the heartbeat").caused_by(error))?;
        let store = factory()?;
        let (stop, stopped) = channel();
        let beat = move || {
            while stopped.recv_timeout(lease / 4) == Err(RecvTimeoutError::Timeout) {
                match runtime.block_on(store.confirm(job, &token, lease)) {
                    Ok(true) => {}
                    Ok(false) => {
                        lost.store(true, Ordering::Relaxed);
                        return;
                    }
                    Err(error) => tracing::warn!(job, error = error.chain(), "the heartbeat did not get through"),
                }
            }
        };
        let thread = std::thread::Builder::new().name(format!("heartbeat-{job}")).spawn(beat);
        let thread = thread.map_err(|error| Error::internal("no thread for the heartbeat").caused_by(error))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // A beat that broke down has nothing more to tell.
            let _ = thread.join();
        }
    }
}
