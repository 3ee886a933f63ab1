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
    file           BIGINT NOT NULL AUTO_INCREMENT,
    feed           VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    `key`          VARBINARY(1024) NOT NULL,
    key_hash       BINARY(32) NOT NULL,
    version        VARCHAR(255) NOT NULL,
    hour           DATETIME(6) NOT NULL,
    job            BIGINT NOT NULL,
    epoch          BIGINT NOT NULL,
    target_table   VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    plan_hash      VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    records_done   BIGINT UNSIGNED NOT NULL DEFAULT 0,
    `rows`         BIGINT UNSIGNED NOT NULL DEFAULT 0,
    rejects        BIGINT UNSIGNED NOT NULL DEFAULT 0,
    checksum       BIGINT NOT NULL DEFAULT 0,
    invalid        LONGTEXT NOT NULL,
    complete       TINYINT(1) NOT NULL DEFAULT 0,
    created_time   DATETIME(6) NOT NULL,
    updated_time   DATETIME(6) NOT NULL,
    completed_time DATETIME(6),
    PRIMARY KEY (file),
    UNIQUE KEY loadline_files_key (feed, key_hash),
    KEY loadline_files_completed (completed_time)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin";

const LOADLINE_REJECTS: &str = "\
CREATE TABLE IF NOT EXISTS loadline_rejects (
    file        BIGINT NOT NULL,
    record      BIGINT UNSIGNED NOT NULL,
    line        BIGINT UNSIGNED NOT NULL,
    byte_offset BIGINT UNSIGNED NOT NULL,
    column_name VARCHAR(255),
    reason      TEXT NOT NULL,
    raw         MEDIUMBLOB NOT NULL,
    PRIMARY KEY (file, record)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin";

const UNLOADED_TIME: &str = "ALTER TABLE loadline_files ADD COLUMN unloaded_time DATETIME(6)";

const CHECKSUM_RULE: &str =
    "ALTER TABLE loadline_files ADD COLUMN checksum_rule VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin";

const BYTES: &str = "ALTER TABLE loadline_files ADD COLUMN bytes BIGINT UNSIGNED";

const SHA256: &str = "ALTER TABLE loadline_files ADD COLUMN sha256 BINARY(32)";
