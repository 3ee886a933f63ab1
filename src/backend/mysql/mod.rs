//! MySQL: MySQL 8.4 and 9.x, MariaDB 10.11 and later, and what speaks their protocol.
//!
//! A database is opened without being asked: connections are made when they are needed and kept for the next piece of
//! work. Row locks order what works on one file, and nothing else waits. All texts run on both servers.
//!
//! Invariant: a connection goes back to be used again only from work that ended well; after an error, a timeout or a
//! cancellation it is closed, and the server rolls back what was open on it.

mod audit;
mod checksum;
mod connection;
mod fault;
mod grants;
mod insert;
mod jobs;
mod ledger;
mod migrations;
mod obstacles;
mod reports;
mod rows;
mod segment;
mod table;
mod value;
mod warehouse;

pub(super) use grants::grants;
pub use jobs::MysqlJobStore;
pub use migrations::{metadata_ddl, reporting_ddl};
pub use warehouse::MysqlWarehouse;
