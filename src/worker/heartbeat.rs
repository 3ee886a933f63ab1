//! Keeps the leases of all claims of this process alive, from one thread and one connection of its own, so that neither
//! a long insert nor a busy runtime lets one run out, and jobs cost no connections.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use crate::error::{Error, Result};
use crate::failpoint;
use crate::job::{ClaimToken, JobId, JobStore};

pub type StoreFactory = Arc<dyn Fn() -> Result<Box<dyn JobStore>> + Send + Sync>;

/// How soon a beat that did not get through is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// Beats for every claim that is watched, until dropped.
pub(super) struct Heartbeat {
    claims: Arc<Claims>,
    /// Dropped, it ends the thread.
    _stop: Sender<()>,
}

/// By claim token, which no two claims share.
#[derive(Default)]
struct Claims(Mutex<HashMap<String, Held>>);

#[derive(Clone)]
struct Held {
    job: JobId,
    lost: Arc<AtomicBool>,
}

/// A claim that the heartbeat keeps alive. Dropped, it is no more.
pub(super) struct Watched {
    claims: Arc<Claims>,
    token: String,
}

impl Heartbeat {
    /// # Errors
    /// What keeps the thread or its connection from being opened.
    pub async fn start(factory: StoreFactory, lease: Duration) -> Result<Self> {
        let claims = Arc::<Claims>::default();
        let (stop, stopped) = channel();
        let (begun, beginning) = oneshot::channel();
        let beaten = claims.clone();
        let beat = move || match Beater::open(&factory, beaten, lease) {
            // Whoever asked may have gone meanwhile.
            Ok(mut beater) => {
                let _ = begun.send(Ok(()));
                beater.beat(&stopped);
            }
            Err(error) => {
                let _ = begun.send(Err(error));
            }
        };
        let thread = std::thread::Builder::new().name("heartbeat".to_owned()).spawn(beat);
        thread.map_err(|error| Error::internal("no thread for the heartbeat").caused_by(error))?;
        beginning.await.map_err(|error| Error::internal("the heartbeat did not begin").caused_by(error))??;
        Ok(Self { claims, _stop: stop })
    }

    /// Keeps the claim alive until the answer is dropped. Sets `lost` once the claim was seen to be somebody else's: a
    /// hint, only the database knows.
    pub fn watch(&self, job: JobId, token: &ClaimToken, lost: Arc<AtomicBool>) -> Watched {
        self.claims.lock().insert(token.0.clone(), Held { job, lost });
        Watched { claims: self.claims.clone(), token: token.0.clone() }
    }

    /// The claims that are watched now.
    pub fn held(&self) -> Vec<(JobId, ClaimToken)> {
        self.claims.lock().iter().map(|(token, held)| (held.job, ClaimToken(token.clone()))).collect()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.claims.lock().remove(&self.token);
    }
}

impl Claims {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Beater {
    runtime: Runtime,
    store: Box<dyn JobStore>,
    claims: Arc<Claims>,
    lease: Duration,
    /// The last beat did not get through: said once.
    silent: bool,
}

impl Beater {
    fn open(factory: &StoreFactory, claims: Arc<Claims>, lease: Duration) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Error::internal("no runtime for the heartbeat").caused_by(error))?;
        let store = {
            let _inside = runtime.enter();
            factory()?
        };
        Ok(Self { runtime, store, claims, lease, silent: false })
    }

    fn beat(&mut self, stopped: &Receiver<()>) {
        let usual = self.lease / 4;
        let mut pause = usual;
        while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
            pause = if self.beat_once() { usual } else { usual.min(AGAIN) };
        }
    }

    async fn confirm(&self, job: JobId, token: &ClaimToken) -> Result<bool> {
        failpoint::reach("heartbeat").await?;
        self.store.confirm(job, token, self.lease).await
    }

    /// False where the database did not answer for some claim.
    fn beat_once(&mut self) -> bool {
        let claims: Vec<(String, Held)> =
            self.claims.lock().iter().map(|(token, held)| (token.clone(), held.clone())).collect();
        let mut through = true;
        for (token, held) in claims {
            let token = ClaimToken(token);
            match self.runtime.block_on(self.confirm(held.job, &token)) {
                Ok(true) => {}
                Ok(false) => {
                    held.lost.store(true, Ordering::Relaxed);
                    self.claims.lock().remove(&token.0);
                }
                Err(error) => {
                    through = false;
                    if !std::mem::replace(&mut self.silent, true) {
                        tracing::warn!(job = held.job, error = error.chain(), "the heartbeat does not get through");
                    }
                }
            }
        }
        self.silent &= !through;
        through
    }
}
