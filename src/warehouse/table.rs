//! The feed's table: its declared columns, then the lineage columns `_file` and `_record`.

use crate::feed::{ColumnType, Feed};

/// Number of the file in the ledger.
pub const FILE_COLUMN: &str = "_file";
/// Number of the record in the file.
pub const RECORD_COLUMN: &str = "_record";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableColumn {
    pub name: String,
    pub ty: ColumnType,
    pub required: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSpec {
    pub name: String,
    /// The declared columns, without the lineage columns.
    pub columns: Vec<TableColumn>,
    /// Empty: (`_file`, `_record`) is the key. Otherwise the two have an index of their own.
    pub primary_key: Vec<String>,
}

impl TableSpec {
    pub fn of(feed: &Feed) -> Self {
        let columns = feed.schema.columns.iter();
        let columns = columns.map(|c| TableColumn { name: c.name.clone(), ty: c.ty, required: c.required }).collect();
        Self { name: feed.table.clone(), columns, primary_key: feed.schema.primary_key.clone() }
    }

    /// Names of all columns in the order of the table and of the insert statement.
    pub fn column_names(&self) -> Vec<&str> {
        let declared = self.columns.iter().map(|column| column.name.as_str());
        declared.chain([FILE_COLUMN, RECORD_COLUMN]).collect()
    }
}
