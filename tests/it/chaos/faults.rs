//! What may happen, how often, and how often it did.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use crate::proxy::{self, Proxy};
use crate::s3::server::{Effect, Kind as Request, S3Server};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    KillWorker,
    FreezeWorker,
    TermWorker,
    KillServer,
    LoseMetadata,
    DropConnections,
    HalfSend,
    HalfAnswer,
    SwallowCommit,
    WithholdCommit,
    DelayCommit,
    BlackHole,
    Slowness,
    S3,
    LateFile,
    Overwrite,
    Operator,
    FullDisk,
}

/// Weights on servers.
pub const ON_SERVERS: [(Fault, u32); 18] = [
    (Fault::KillWorker, 14),
    (Fault::FreezeWorker, 9),
    (Fault::TermWorker, 4),
    (Fault::KillServer, 3),
    (Fault::LoseMetadata, 1),
    (Fault::DropConnections, 6),
    (Fault::HalfSend, 6),
    (Fault::HalfAnswer, 6),
    (Fault::SwallowCommit, 10),
    (Fault::WithholdCommit, 7),
    (Fault::DelayCommit, 5),
    (Fault::BlackHole, 4),
    (Fault::Slowness, 3),
    (Fault::S3, 12),
    (Fault::LateFile, 4),
    (Fault::Overwrite, 4),
    (Fault::Operator, 10),
    (Fault::FullDisk, 1),
];

/// Weights on SQLite, which nothing lies in front of.
pub const ON_SQLITE: [(Fault, u32); 7] = [
    (Fault::KillWorker, 14),
    (Fault::FreezeWorker, 7),
    (Fault::TermWorker, 4),
    (Fault::LateFile, 3),
    (Fault::Overwrite, 3),
    (Fault::Operator, 5),
    (Fault::FullDisk, 2),
];

/// Weights for a loader that is to be caught by as little as that.
pub const KILLS: [(Fault, u32); 1] = [(Fault::KillWorker, 1)];

pub fn draw(weights: &[(Fault, u32)], random: &mut ChaCha8Rng) -> Fault {
    let mut at = random.random_range(0..weights.iter().map(|(_, weight)| weight).sum());
    for (fault, weight) in weights {
        if at < *weight {
            return *fault;
        }
        at -= weight;
    }
    weights[0].0
}

/// How often each has happened, by what people call it.
#[derive(Debug, Default)]
pub struct Counts(BTreeMap<String, u64>);

impl Counts {
    pub fn add(&mut self, name: &str, more: u64) {
        *self.0.entry(name.to_owned()).or_default() += more;
    }

    pub fn add_proxy(&mut self, of: &str, proxy: &Proxy) {
        // Connections that were dropped together are one fault, which is counted where it is injected.
        for (kind, count) in proxy.counts().into_iter().filter(|(kind, _)| *kind != proxy::Kind::Dropped) {
            self.add(&format!("{of}: {}", name_of(kind)), count as u64);
        }
    }

    pub fn of(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or_default()
    }

    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(name, count)| (name.as_str(), *count))
    }
}

fn name_of(kind: proxy::Kind) -> &'static str {
    match kind {
        proxy::Kind::Dropped => "connections dropped",
        proxy::Kind::HalfSent => "half-sent packet",
        proxy::Kind::HalfAnswered => "half-sent answer",
        proxy::Kind::CommitSwallowed => "answer to COMMIT swallowed",
        proxy::Kind::CommitNeverSent => "COMMIT never sent",
        proxy::Kind::CommitLate => "answer to COMMIT late, then cut",
        proxy::Kind::BlackHole => "black hole",
        proxy::Kind::Delay => "slowness",
    }
}

/// All that must have happened in a long run on servers.
pub const ALL_ON_SERVERS: [&str; 38] = [
    "kill -9 of a worker",
    "worker frozen",
    "SIGTERM",
    "metadata: kill -9 of the server",
    "reporting: kill -9 of the server",
    "metadata: connections dropped",
    "metadata: half-sent packet",
    "metadata: half-sent answer",
    "metadata: answer to COMMIT swallowed",
    "metadata: COMMIT never sent",
    "metadata: answer to COMMIT late, then cut",
    "metadata: black hole",
    "metadata: slowness",
    "reporting: connections dropped",
    "reporting: half-sent packet",
    "reporting: half-sent answer",
    "reporting: answer to COMMIT swallowed",
    "reporting: COMMIT never sent",
    "reporting: answer to COMMIT late, then cut",
    "reporting: black hole",
    "reporting: slowness",
    "S3: connections dropped",
    "S3: half-sent answer",
    "S3: black hole",
    "S3: 500",
    "S3: 503",
    "S3: SlowDown",
    "S3: connection reset",
    "S3: truncated body",
    "S3: stalled body",
    "metadata lost",
    "late file",
    "overwritten object",
    "setup killed",
    "migration killed",
    "unload killed",
    "retry killed",
    "release from quarantine killed",
];

/// Faults of the S3 server itself, one at a time, so that each is known to have happened.
#[derive(Default)]
pub struct S3Faults {
    waiting: Option<&'static str>,
}

impl S3Faults {
    /// Injects one, where the last one has happened.
    pub fn inject(&mut self, server: &S3Server, random: &mut ChaCha8Rng) {
        if self.waiting.is_some() {
            return;
        }
        // Bytes that even the rest of a short file has.
        let few = random.random_range(0..4);
        let (name, effect) = match random.random_range(0..13) {
            0..3 => ("S3: 500", Effect::Status(500, "InternalError")),
            3..5 => ("S3: 503", Effect::Status(503, "ServiceUnavailable")),
            5..7 => ("S3: SlowDown", Effect::Status(503, "SlowDown")),
            7..9 => ("S3: connection reset", Effect::Reset),
            9..12 => ("S3: truncated body", Effect::Cut(few)),
            _ => ("S3: stalled body", Effect::Stall(few)),
        };
        let of_body = matches!(effect, Effect::Cut(_) | Effect::Stall(_));
        let kind = if !of_body && random.random_bool(0.3) { Request::List } else { Request::Get };
        server.inject(kind, 0, 1, effect);
        self.waiting = Some(name);
    }

    /// Counts the one that waited, once it has happened.
    pub fn look(&mut self, server: &S3Server, counts: &mut Counts) {
        if server.faults_left() == 0
            && let Some(name) = self.waiting.take()
        {
            counts.add(name, 1);
        }
    }

    /// What has not happened yet never does.
    pub fn heal(&mut self, server: &S3Server) {
        self.waiting = None;
        server.heal();
    }
}

/// 0.5 to 10 leases, mostly short.
pub fn freeze(lease: f64, random: &mut ChaCha8Rng) -> Duration {
    let part: f64 = random.random();
    Duration::from_secs_f64(lease * (0.5 + 9.5 * part.powi(4)))
}
