//! The lock of a scanner: a named lock of the server, held by a connection of its own.
//!
//! The server cuts a connection that says nothing for a while, and so lets the lock of a machine go that has vanished;
//! one that lives says something now and then. Where the connection is lost nevertheless, another scanner may begin:
//! that costs work and nothing else.

use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::task::JoinHandle;

use crate::backend::mysql::connection::{Database, Session};
use crate::backend::mysql::fault::Fault;
use crate::backend::mysql::value::field;

/// What MySQL allows a name to have, in characters.
const NAME_MAX: usize = 64;
const PREFIX: &str = "loadline:scanner:";
/// Well below the time after which the server cuts a silent connection.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

/// Holds the connection. Dropped, it is closed, and the server lets the lock go.
pub(super) struct Held {
    keeper: JoinHandle<()>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

pub(super) async fn lock(database: &Database) -> Result<Option<Held>, Fault> {
    let mut session = database.session().await?;
    let row = session.first("SELECT GET_LOCK(?, 0) AS got", (name(database.name()),)).await?;
    let got: Option<i64> = row.map(|mut row| field(&mut row, "got")).transpose()?.flatten();
    if got != Some(1) {
        session.done();
        return Ok(None);
    }
    Ok(Some(Held { keeper: tokio::spawn(keep(session)) }))
}

async fn keep(mut session: Session) {
    loop {
        tokio::time::sleep(SIGN_OF_LIFE).await;
        if let Err(fault) = session.run("DO 0").await {
            tracing::debug!(?fault, "the connection that holds the scanner's lock is lost");
            return;
        }
    }
}

/// Locks are the server's, not the database's: the name says which database is meant.
fn name(database: &str) -> String {
    let name = format!("{PREFIX}{database}");
    if name.chars().count() <= NAME_MAX {
        return name;
    }
    let digest = Sha256::digest(database.as_bytes());
    let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("{PREFIX}{hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_told_apart() {
        assert_eq!(name("etl"), "loadline:scanner:etl");
        let (one, two) = (name(&"ü".repeat(63)), name(&"ü".repeat(64)));
        assert!(one != two && one.len() <= NAME_MAX && two.len() <= NAME_MAX);
    }
}
