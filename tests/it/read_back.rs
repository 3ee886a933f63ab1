//! How a test looks into a database, past loadline.

use async_trait::async_trait;

/// A connection of the test's own. Integers are digits, floats their shortest text, bytes hex digits in upper case.
#[async_trait]
pub trait ReadBack: Sync {
    async fn query(&self, sql: &str) -> Vec<Vec<Option<String>>>;
}
