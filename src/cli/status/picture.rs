//! What stands where, and what of it is wrong.

use chrono::{DateTime, Duration, SecondsFormat, Utc};
use serde_json::{Map, Value, json};

use crate::cli::{GlobalArgs, human, shell};
use crate::config::{Config, RetentionConfig};
use crate::error::Result;
use crate::feed::Feed;
use crate::job::{FeedOverview, FileRecord, Job, JobFilter, JobStatus, JobStore, file_uri, split_uri_list};

pub struct Picture {
    pub now: DateTime<Utc>,
    pub feeds: Vec<FeedPicture>,
    /// The last to fail first.
    pub failed: Vec<Job>,
    /// Never loaded ones first.
    pub quarantined: Vec<Quarantined>,
    /// Jobs that a worker holds, by id.
    pub at_work: Vec<Job>,
    pub retention: RetentionConfig,
    /// Why the reporting database can't be used, if so.
    pub reporting_error: Option<String>,
}

pub struct FeedPicture {
    pub overview: FeedOverview,
    pub fresh_within: Option<Duration>,
    /// How long a folder's time is.
    pub period: Duration,
}

pub struct Quarantined {
    pub file: FileRecord,
    pub uri: String,
    /// Whether its job can be retried: it is FAILED.
    pub in_failed_job: bool,
}

impl Picture {
    /// Of these feeds of the config, with the metadata database alone.
    pub async fn read(store: &dyn JobStore, feeds: &[&Feed], config: &Config, now: DateTime<Utc>) -> Result<Self> {
        let mut overviews = store.overview().await?;
        let feeds: Vec<FeedPicture> = feeds
            .iter()
            .map(|feed| {
                let known = overviews.iter().position(|overview| overview.feed == feed.name);
                // Not there: written into the config, and not set up yet.
                let missing = || FeedOverview { feed: feed.name.clone(), ..Default::default() };
                let overview = known.map_or_else(missing, |index| overviews.swap_remove(index));
                FeedPicture { overview, fresh_within: feed.fresh_within, period: feed.layout.period() }
            })
            .collect();
        let asked = |name: &str| feeds.iter().any(|feed| feed.overview.feed == name);
        let with = async |status| {
            let mut jobs = store.jobs(&JobFilter { status: Some(status), feed: None }).await?;
            jobs.retain(|job| asked(&job.feed));
            Ok::<_, crate::error::Error>(jobs)
        };
        let at_work = with(JobStatus::Processing).await?;
        let mut failed = with(JobStatus::Failed).await?;
        failed.sort_by_key(|job| std::cmp::Reverse((job.finished_time, job.id)));
        let mut quarantined: Vec<Quarantined> = store
            .quarantined()
            .await?
            .into_iter()
            .filter(|file| asked(&file.feed))
            .map(|file| Quarantined {
                uri: file_uri(config.source.url.as_str(), &file.key),
                in_failed_job: failed.iter().any(|job| Some(job.id) == file.job_id),
                file,
            })
            .collect();
        quarantined.sort_by_key(|quarantined| quarantined.was_loaded());
        let retention = config.retention.clone();
        Ok(Self { now, feeds, failed, quarantined, at_work, retention, reporting_error: None })
    }

    /// Whether something stands failed or stale.
    pub fn needs_a_person(&self) -> bool {
        let never_loaded = |quarantined: &Quarantined| !quarantined.was_loaded();
        !self.failed.is_empty()
            || self.quarantined.iter().any(never_loaded)
            || self.feeds.iter().any(|feed| feed.staleness(self.now).is_some())
    }

    /// Of all feeds: files and bytes that wait, and the oldest hour among them.
    pub fn backlog(&self) -> (u64, u64, Option<DateTime<Utc>>) {
        let overviews = || self.feeds.iter().map(|feed| &feed.overview);
        let files = overviews().map(|overview| overview.backlog_files).sum();
        let bytes = overviews().map(|overview| overview.backlog_bytes).sum();
        (files, bytes, overviews().filter_map(|overview| overview.oldest_unloaded_hour).min())
    }

    pub fn last_scan(&self) -> Option<DateTime<Utc>> {
        self.feeds.iter().filter_map(|feed| feed.overview.last_scan).max()
    }

    pub fn jobs(&self, status: JobStatus) -> u64 {
        self.feeds.iter().map(|feed| feed.jobs(status)).sum()
    }

    pub fn json(&self, global: &GlobalArgs) -> Value {
        let (files, bytes, oldest) = self.backlog();
        let statuses = || JobStatus::ALL.into_iter().filter(|status| *status != JobStatus::None);
        let jobs: Map<String, Value> =
            statuses().map(|status| (status.as_str().to_owned(), self.jobs(status).into())).collect();
        json!({
            "time": time(self.now),
            "needs_a_person": self.needs_a_person(),
            "last_scan": self.last_scan().map(time),
            "backlog_files": files,
            "backlog_bytes": bytes,
            "oldest_unloaded_hour": oldest.map(time),
            "jobs": jobs,
            "feeds": self.feeds.iter().map(|feed| feed.json(self.now)).collect::<Vec<_>>(),
            "failed": self.failed.iter().map(|job| failed_json(job, global)).collect::<Vec<_>>(),
            "quarantined": self.quarantined.iter().map(|file| file.json(global)).collect::<Vec<_>>(),
            "at_work": self.at_work.iter().map(|job| at_work_json(job, self.now)).collect::<Vec<_>>(),
            "retention": {
                "rejects_seconds": self.retention.rejects.map(|kept| kept.num_seconds()),
                "jobs_seconds": self.retention.jobs.map(|kept| kept.num_seconds()),
            },
            "reporting_database_error": self.reporting_error,
        })
    }
}

impl FeedPicture {
    /// How long ago the newest loaded hour (or day) ended; negative where that is still to come.
    pub fn lag(&self, now: DateTime<Utc>) -> Option<Duration> {
        Some(now - (self.overview.newest_loaded_hour? + self.period))
    }

    /// Why the feed is stale, where it is.
    pub fn staleness(&self, now: DateTime<Utc>) -> Option<String> {
        let within = self.fresh_within?;
        let waited = self.overview.oldest_found.map(|found| now - found);
        match (self.lag(now), waited) {
            (None, _) => Some("nothing of it is loaded".to_owned()),
            (Some(lag), _) if lag > within => Some(format!("its newest loaded hour ended {} ago", human::age(lag))),
            (_, Some(waited)) if waited > within => Some(format!("a file has waited for {}", human::age(waited))),
            _ => None,
        }
    }

    pub fn jobs(&self, status: JobStatus) -> u64 {
        self.overview.jobs.iter().filter(|(other, _)| *other == status).map(|(_, count)| count).sum()
    }

    fn json(&self, now: DateTime<Utc>) -> Value {
        let overview = &self.overview;
        let files: Map<String, Value> =
            overview.files.iter().map(|(state, count)| (state.as_str().to_owned(), (*count).into())).collect();
        let jobs: Map<String, Value> =
            overview.jobs.iter().map(|(status, count)| (status.as_str().to_owned(), (*count).into())).collect();
        let staleness = self.staleness(now);
        json!({
            "feed": overview.feed,
            "last_scan": overview.last_scan.map(time),
            "last_full_listing": overview.last_full_listing.map(time),
            "backlog_files": overview.backlog_files,
            "backlog_bytes": overview.backlog_bytes,
            "oldest_unloaded_hour": overview.oldest_unloaded_hour.map(time),
            "oldest_found": overview.oldest_found.map(time),
            "newest_loaded_hour": overview.newest_loaded_hour.map(time),
            "last_loaded": overview.last_loaded.map(time),
            "lag_seconds": self.lag(now).map(|lag| lag.num_seconds()),
            "fresh_within_seconds": self.fresh_within.map(|within| within.num_seconds()),
            "stale": staleness.is_some(),
            "stale_because": staleness,
            "files": files,
            "jobs": jobs,
        })
    }
}

impl Quarantined {
    /// Then rows of it are in the table, and nothing is missing.
    pub fn was_loaded(&self) -> bool {
        self.file.loaded_time.is_some()
    }

    /// The command that goes on with it.
    pub fn next_step(&self, global: &GlobalArgs) -> String {
        match (self.was_loaded(), self.file.job_id) {
            (true, _) => shell::command(global, &format!("explain {}", shell::word(&self.uri))),
            (false, None) => shell::command(global, "retry --quarantined"),
            (false, Some(job)) if self.in_failed_job => shell::command(global, &format!("retry {job}")),
            // Its job ends as FAILED because of it, and can then be retried.
            (false, Some(_)) => shell::command(global, "etl"),
        }
    }

    fn json(&self, global: &GlobalArgs) -> Value {
        json!({
            "feed": self.file.feed,
            "uri": self.uri,
            "job_id": self.file.job_id,
            "was_loaded": self.was_loaded(),
            "error": self.file.error,
            "next_step": self.next_step(global),
        })
    }
}

/// The first line of why a job failed.
pub fn cause(job: &Job) -> &str {
    job.failure_msg.as_deref().and_then(|message| message.lines().next()).unwrap_or_default()
}

pub fn retry(job: &Job, global: &GlobalArgs) -> String {
    shell::command(global, &format!("retry {}", job.id))
}

/// Whether the lease of a job at work is over: its worker is dead or cut off.
pub fn has_expired(job: &Job, now: DateTime<Utc>) -> bool {
    job.lease_until.is_some_and(|until| until < now)
}

pub fn file_count(job: &Job) -> u64 {
    split_uri_list(&job.files).len() as u64
}

fn failed_json(job: &Job, global: &GlobalArgs) -> Value {
    json!({
        "id": job.id,
        "feed": job.feed,
        "finished_time": job.finished_time.map(time),
        "cause": cause(job),
        "next_step": retry(job, global),
    })
}

fn at_work_json(job: &Job, now: DateTime<Utc>) -> Value {
    json!({
        "id": job.id,
        "feed": job.feed,
        "files": file_count(job),
        "total_size_in_bytes": job.total_size_in_bytes,
        "attempts": job.attempts,
        "expiries": job.expiries,
        "lease_owner": job.lease_owner,
        "lease_until": job.lease_until.map(time),
        "lease_expired": has_expired(job, now),
        "started_time": job.started_time.map(time),
    })
}

fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}
