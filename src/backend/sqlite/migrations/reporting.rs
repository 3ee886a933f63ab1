//! The reporting database beside the feeds' tables: the ledger and the rejects.

use super::{Column, Migration};

pub(super) const STEPS: [Migration; 4] = [
    Migration { name: "1 loadline_files", columns: &[], statements: &[LOADLINE_FILES] },
    Migration { name: "2 loadline_rejects", columns: &[], statements: &[LOADLINE_REJECTS] },
    Migration {
        name: "3 loadline_files.unloaded_time",
        columns: &[Column { table: "loadline_files", name: "unloaded_time", ddl: UNLOADED_TIME }],
        statements: &[],
    },
    Migration {
        name: "4 loadline_files.sha256",
        columns: &[
            Column { table: "loadline_files", name: "checksum_rule", ddl: CHECKSUM_RULE },
            Column { table: "loadline_files", name: "bytes", ddl: BYTES },
            Column { table: "loadline_files", name: "sha256", ddl: SHA256 },
        ],
        statements: &[],
    },
];

const LOADLINE_FILES: &str = "\
CREATE TABLE IF NOT EXISTS loadline_files (
    file           INTEGER PRIMARY KEY AUTOINCREMENT,
    feed           TEXT NOT NULL,
    key            BLOB NOT NULL,
    key_hash       BLOB NOT NULL,
    version        TEXT NOT NULL,
    hour           TEXT NOT NULL,
    job            INTEGER NOT NULL,
    epoch          INTEGER NOT NULL,
    target_table   TEXT NOT NULL,
    plan_hash      TEXT NOT NULL,
    records_done   INTEGER NOT NULL DEFAULT 0,
    rows           INTEGER NOT NULL DEFAULT 0,
    rejects        INTEGER NOT NULL DEFAULT 0,
    checksum       INTEGER NOT NULL DEFAULT 0,
    invalid        TEXT NOT NULL DEFAULT '{}',
    complete       INTEGER NOT NULL DEFAULT 0,
    created_time   TEXT NOT NULL,
    updated_time   TEXT NOT NULL,
    completed_time TEXT,
    UNIQUE (feed, key_hash)
) STRICT";

const LOADLINE_REJECTS: &str = "\
CREATE TABLE IF NOT EXISTS loadline_rejects (
    file        INTEGER NOT NULL REFERENCES loadline_files (file),
    record      INTEGER NOT NULL,
    line        INTEGER NOT NULL,
    byte_offset INTEGER NOT NULL,
    column_name TEXT,
    reason      TEXT NOT NULL,
    raw         BLOB NOT NULL,
    PRIMARY KEY (file, record)
) STRICT";

const UNLOADED_TIME: &str = "ALTER TABLE loadline_files ADD COLUMN unloaded_time TEXT";

const CHECKSUM_RULE: &str = "ALTER TABLE loadline_files ADD COLUMN checksum_rule TEXT";

const BYTES: &str = "ALTER TABLE loadline_files ADD COLUMN bytes INTEGER";

const SHA256: &str = "ALTER TABLE loadline_files ADD COLUMN sha256 BLOB";
