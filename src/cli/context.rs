//! What most commands start from: the config, and the databases and the source it names.

use std::sync::Arc;

use super::GlobalArgs;
use crate::backend;
use crate::config::{Config, Database};
use crate::error::{Error, Result};
use crate::job::JobStore;
use crate::source::Source;
use crate::warehouse::Warehouse;

pub struct Context {
    pub global: GlobalArgs,
    pub config: Config,
}

impl Context {
    pub fn load(global: &GlobalArgs) -> Result<Self> {
        Ok(Self { global: global.clone(), config: Config::load(&global.config)? })
    }

    pub fn source(&self) -> Result<Source> {
        Source::from_config(&self.config.source)
    }

    /// The metadata database as it is, set up or not.
    pub fn open_job_store(&self) -> Result<Arc<dyn JobStore>> {
        backend::open_job_store(&self.config.metadata_database).map(Arc::from)
    }

    /// The reporting database as it is, set up or not.
    pub fn open_warehouse(&self) -> Result<Arc<dyn Warehouse>> {
        backend::open_warehouse(&self.config.reporting_database).map(Arc::from)
    }

    /// The metadata database, of this binary's version, with no feed that the config has lost.
    pub async fn job_store(&self) -> Result<Arc<dyn JobStore>> {
        let store = self.open_job_store()?;
        let database = ("metadata", &self.config.metadata_database);
        self.check_version(database, store.version().await?, backend::METADATA_VERSION)?;
        self.check_recorded_feeds(&store.recorded_feeds().await?)?;
        Ok(store)
    }

    /// The reporting database, of this binary's version.
    pub async fn warehouse(&self) -> Result<Arc<dyn Warehouse>> {
        let warehouse = self.open_warehouse()?;
        let database = ("reporting", &self.config.reporting_database);
        self.check_version(database, warehouse.version().await?, backend::REPORTING_VERSION)?;
        Ok(warehouse)
    }

    /// A database of a newer version belongs to a newer binary; an older one is for setup to bring up.
    pub fn check_version(&self, database: (&str, &Database), found: Option<u32>, known: u32) -> Result<()> {
        let (role, database) = database;
        let setup = format!("run `loadline -c {} setup`", self.global.config.display());
        match found {
            Some(version) if version == known => Ok(()),
            None => Err(Error::config(format!("the {role} database {database} is not set up")).hint(setup)),
            Some(version) if version < known => Err(Error::config(format!(
                "the {role} database {database} has schema version {version}, this loadline needs {known}"
            ))
            .hint(setup)),
            Some(version) => Err(Error::config(format!(
                "the {role} database {database} has schema version {version}, this loadline knows only {known}"
            ))
            .hint("use the newer loadline that made it")),
        }
    }

    /// A feed that was once recorded has files and jobs: it can't silently disappear.
    pub fn check_recorded_feeds(&self, recorded: &[String]) -> Result<()> {
        let lost = recorded.iter().find(|name| !self.config.feeds.iter().any(|feed| feed.name == **name));
        match lost {
            None => Ok(()),
            Some(name) => Err(Error::config(format!(
                "feed `{name}` is recorded in {} but missing from {}",
                self.config.metadata_database,
                self.config.path.display()
            ))
            .hint(
                "a feed's name is permanent, because it is part of each file's identity: put it back into the config",
            )),
        }
    }
}
