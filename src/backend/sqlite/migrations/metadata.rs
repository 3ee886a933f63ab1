//! The metadata database: jobs, files and feeds as the scanner and the workers record them.

use super::{Column, Migration};

pub(super) const STEPS: [Migration; 5] = [
    Migration {
        name: "1 scanner_jobs",
        columns: &[],
        statements: &[
            SCANNER_JOBS,
            // Serves the claim: runnable jobs in the order in which they are taken.
            "CREATE INDEX IF NOT EXISTS scanner_jobs_claim \
             ON scanner_jobs (status, latest_file_modified_time, id, run_after)",
            // Serves the rescue.
            "CREATE INDEX IF NOT EXISTS scanner_jobs_lease ON scanner_jobs (status, lease_until)",
            // Serves the watermark.
            "CREATE INDEX IF NOT EXISTS scanner_jobs_feed ON scanner_jobs (feed, latest_file_modified_time)",
        ],
    },
    Migration {
        name: "2 scanner_files",
        columns: &[],
        statements: &[
            SCANNER_FILES,
            // Serves planning: FOUND files of a feed in order.
            "CREATE INDEX IF NOT EXISTS scanner_files_found ON scanner_files (feed, state, modified_time, key)",
            "CREATE INDEX IF NOT EXISTS scanner_files_job ON scanner_files (job_id, id)",
        ],
    },
    Migration { name: "3 scanner_feeds", columns: &[], statements: &[SCANNER_FEEDS] },
    Migration {
        name: "4 scanner_jobs.expiries",
        columns: &[Column { table: "scanner_jobs", name: "expiries", ddl: EXPIRIES }],
        statements: &[],
    },
    Migration {
        name: "5 scanner_feeds.last_scan",
        columns: &[Column { table: "scanner_feeds", name: "last_scan", ddl: LAST_SCAN }],
        statements: &[],
    },
];

const SCANNER_JOBS: &str = "\
CREATE TABLE IF NOT EXISTS scanner_jobs (
    id                        INTEGER PRIMARY KEY AUTOINCREMENT,
    feed                      TEXT NOT NULL,
    files                     TEXT NOT NULL,
    latest_file_modified_time TEXT NOT NULL,
    total_size_in_bytes       INTEGER NOT NULL,
    created_time              TEXT NOT NULL,
    modified_time             TEXT NOT NULL,
    status                    TEXT NOT NULL,
    failure_msg               TEXT,
    attempts                  INTEGER NOT NULL DEFAULT 0,
    claim_token               TEXT,
    lease_owner               TEXT,
    lease_until               TEXT,
    run_after                 TEXT NOT NULL,
    rows_loaded               INTEGER,
    rows_rejected             INTEGER,
    started_time              TEXT,
    finished_time             TEXT
) STRICT";

const SCANNER_FILES: &str = "\
CREATE TABLE IF NOT EXISTS scanner_files (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    feed          TEXT NOT NULL,
    key           BLOB NOT NULL,
    key_hash      BLOB NOT NULL,
    version       TEXT NOT NULL,
    size_in_bytes INTEGER NOT NULL,
    modified_time TEXT NOT NULL,
    hour          TEXT NOT NULL,
    job_id        INTEGER REFERENCES scanner_jobs (id),
    state         TEXT NOT NULL,
    rows_loaded   INTEGER,
    rows_rejected INTEGER,
    error         TEXT,
    found_time    TEXT NOT NULL,
    loaded_time   TEXT,
    updated_time  TEXT NOT NULL,
    UNIQUE (feed, key_hash)
) STRICT";

const SCANNER_FEEDS: &str = "\
CREATE TABLE IF NOT EXISTS scanner_feeds (
    feed              TEXT PRIMARY KEY,
    recorded_time     TEXT NOT NULL,
    last_full_listing TEXT
) STRICT";

const EXPIRIES: &str = "ALTER TABLE scanner_jobs ADD COLUMN expiries INTEGER NOT NULL DEFAULT 0";

const LAST_SCAN: &str = "ALTER TABLE scanner_feeds ADD COLUMN last_scan TEXT";
