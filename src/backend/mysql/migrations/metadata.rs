//! The metadata database: jobs, files and feeds as the scanner and the workers record them.

use super::{Column, Migration};

pub(super) const STEPS: [Migration; 5] = [
    Migration { name: "1 scanner_jobs", columns: &[], statements: &[SCANNER_JOBS] },
    Migration { name: "2 scanner_files", columns: &[], statements: &[SCANNER_FILES] },
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

/// `scanner_jobs_claim` serves the claim: runnable jobs in the order in which they are taken, either end first.
/// `scanner_jobs_claim_feed` serves that of one feed, so that it locks no job of another; `scanner_jobs_lease` the
/// rescue, `scanner_jobs_feed` the watermark, `scanner_jobs_finished` retention.
const SCANNER_JOBS: &str = "\
CREATE TABLE IF NOT EXISTS scanner_jobs (
    id                        BIGINT NOT NULL AUTO_INCREMENT,
    feed                      VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    files                     LONGTEXT NOT NULL,
    latest_file_modified_time DATETIME(6) NOT NULL,
    total_size_in_bytes       BIGINT UNSIGNED NOT NULL,
    created_time              DATETIME(6) NOT NULL,
    modified_time             DATETIME(6) NOT NULL,
    status                    VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    failure_msg               TEXT,
    attempts                  INT UNSIGNED NOT NULL DEFAULT 0,
    claim_token               CHAR(32) CHARACTER SET ascii COLLATE ascii_bin,
    lease_owner               VARCHAR(255),
    lease_until               DATETIME(6),
    run_after                 DATETIME(6) NOT NULL,
    rows_loaded               BIGINT UNSIGNED,
    rows_rejected             BIGINT UNSIGNED,
    started_time              DATETIME(6),
    finished_time             DATETIME(6),
    PRIMARY KEY (id),
    KEY scanner_jobs_claim (status, latest_file_modified_time, id, run_after),
    KEY scanner_jobs_claim_feed (status, feed, latest_file_modified_time, id, run_after),
    KEY scanner_jobs_lease (status, lease_until),
    KEY scanner_jobs_finished (status, finished_time),
    KEY scanner_jobs_feed (feed, latest_file_modified_time)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin";

/// `scanner_files_found` serves planning: FOUND files of a feed in order.
const SCANNER_FILES: &str = "\
CREATE TABLE IF NOT EXISTS scanner_files (
    id            BIGINT NOT NULL AUTO_INCREMENT,
    feed          VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    `key`         VARBINARY(1024) NOT NULL,
    key_hash      BINARY(32) NOT NULL,
    version       VARCHAR(255) NOT NULL,
    size_in_bytes BIGINT UNSIGNED NOT NULL,
    modified_time DATETIME(6) NOT NULL,
    hour          DATETIME(6) NOT NULL,
    job_id        BIGINT,
    state         VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    rows_loaded   BIGINT UNSIGNED,
    rows_rejected BIGINT UNSIGNED,
    error         TEXT,
    found_time    DATETIME(6) NOT NULL,
    loaded_time   DATETIME(6),
    updated_time  DATETIME(6) NOT NULL,
    PRIMARY KEY (id),
    UNIQUE KEY scanner_files_key (feed, key_hash),
    KEY scanner_files_found (feed, state, modified_time, `key`),
    KEY scanner_files_job (job_id, id)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin";

const SCANNER_FEEDS: &str = "\
CREATE TABLE IF NOT EXISTS scanner_feeds (
    feed              VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    recorded_time     DATETIME(6) NOT NULL,
    last_full_listing DATETIME(6),
    PRIMARY KEY (feed)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin";

const EXPIRIES: &str = "ALTER TABLE scanner_jobs ADD COLUMN expiries INT UNSIGNED NOT NULL DEFAULT 0";

const LAST_SCAN: &str = "ALTER TABLE scanner_feeds ADD COLUMN last_scan DATETIME(6)";
