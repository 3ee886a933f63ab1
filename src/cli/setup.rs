//! `setup`: databases and tables.

use std::collections::BTreeSet;
use std::io::Write;

use clap::Args;

use super::{Context, Exit, output, report};
use crate::backend::{self, Grants};
use crate::config::{Config, Database};
use crate::engine;
use crate::error::{Error, Result};
use crate::failpoint;
use crate::feed::Feed;
use crate::job::JobStore;
use crate::source;
use crate::warehouse::{TableSpec, Warehouse};

/// Create the databases and tables, and check that the source can be read
///
/// Safe to run again at any time: it creates what is missing, brings older tables up to
/// this version step by step, and never changes data. A feed's table whose columns are not
/// those of its schema file is never altered; the difference is shown instead. A server or
/// a table that would break the guarantees is refused before anything is created.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct SetupArgs {
    /// Change nothing; say what is missing or differs (exit code 2 if anything)
    #[arg(long, conflicts_with = "print")]
    pub check: bool,

    /// Print the DDL, and on a server the grants for its users; run none of it
    #[arg(long)]
    pub print: bool,
}

pub async fn run(args: &SetupArgs, context: &Context) -> Result<Exit> {
    check_schemas(&context.config).await?;
    if args.print {
        print_ddl(context)?;
    } else if args.check {
        check(context).await?;
    } else {
        set_up(context).await?;
    }
    Ok(Exit::Done)
}

/// The cleaning of every feed can be planned.
pub(super) async fn check_schemas(config: &Config) -> Result<()> {
    for feed in &config.feeds {
        let checked = engine::check_feed(feed).await;
        checked.map_err(|error| error.context(format!("the schema of feed `{}`", feed.name)))?;
    }
    Ok(())
}

/// The DDL of everything, in the order in which setup runs it.
fn print_ddl(context: &Context) -> Result<()> {
    let warehouse = context.open_warehouse()?;
    let mut text = format!("-- metadata database {}\n", context.config.metadata_database);
    for statement in backend::metadata_ddl(&context.config.metadata_database) {
        text.push_str(&format!("{};\n", statement.trim()));
    }
    text.push_str(&format!("\n-- reporting database {}\n", context.config.reporting_database));
    for statement in backend::reporting_ddl(&context.config.reporting_database) {
        text.push_str(&format!("{};\n", statement.trim()));
    }
    for statement in context.config.feeds.iter().flat_map(|feed| warehouse.table_ddl(&TableSpec::of(feed))) {
        text.push_str(&format!("{};\n", statement.trim()));
    }
    text.push_str(&grants(&context.config));
    output::written(output::stdout().write_all(text.as_bytes())).map(drop)
}

const GRANTS_ORDER: &str = "\n-- grants, for an administrator to give: first the operator's; then run `loadline setup` as the operator,\n\
                            -- because rights on a table need the table; then the others'\n";

/// What the users of a server need, role by role.
fn grants(config: &Config) -> String {
    let tables: BTreeSet<String> = config.feeds.iter().map(|feed| feed.table.clone()).collect();
    let tables: Vec<String> = tables.into_iter().collect();
    let mut text = String::new();
    for Grants { role, purpose, statements } in
        backend::grants(&config.metadata_database, &config.reporting_database, &tables)
    {
        if text.is_empty() {
            text.push_str(GRANTS_ORDER);
        }
        text.push_str(&format!("\n-- grants: {role} ({purpose}); first CREATE USER '{role}'@'%' IDENTIFIED BY ...\n"));
        statements.iter().for_each(|statement| text.push_str(&format!("{statement};\n")));
    }
    text
}

/// Looks at everything and changes nothing.
async fn check(context: &Context) -> Result<()> {
    let store = context.job_store().await?;
    let warehouse = context.warehouse().await?;
    refuse_obstacles(context, store.as_ref(), warehouse.as_ref()).await?;
    for feed in &context.config.feeds {
        check_table(feed, warehouse.as_ref()).await?;
    }
    check_source(context).await?;
    report::note(&context.global, "everything is set up, and the source can be read");
    Ok(())
}

async fn set_up(context: &Context) -> Result<()> {
    let (store, warehouse) = (context.open_job_store()?, context.open_warehouse()?);
    // Nothing is created before all that could be refused was looked at.
    let databases = &context.config;
    if let Some(version) = store.version().await? {
        refuse_newer(context, ("metadata", &databases.metadata_database), version, backend::METADATA_VERSION)?;
        if version == backend::METADATA_VERSION {
            context.check_recorded_feeds(&store.recorded_feeds().await?)?;
        }
    }
    if let Some(version) = warehouse.version().await? {
        refuse_newer(context, ("reporting", &databases.reporting_database), version, backend::REPORTING_VERSION)?;
    }
    refuse_obstacles(context, store.as_ref(), warehouse.as_ref()).await?;
    let ran = store.migrate(context.config.scanner.start_from).await?;
    created(context, &format!("metadata database {}", databases.metadata_database), &ran);
    context.check_recorded_feeds(&store.recorded_feeds().await?)?;

    let ran = warehouse.migrate().await?;
    created(context, &format!("reporting database {}", databases.reporting_database), &ran);
    for feed in &context.config.feeds {
        let table = TableSpec::of(feed);
        if warehouse.columns(&table.name).await?.is_none() {
            warehouse.create_table(&table).await?;
            failpoint::reach("setup.table").await?;
            report::note(&context.global, &format!("created table {} of feed {}", table.name, feed.name));
        }
        check_table(feed, warehouse.as_ref()).await?;
    }
    let names: Vec<String> = context.config.feeds.iter().map(|feed| feed.name.clone()).collect();
    store.record_feeds(&names).await?;
    failpoint::reach("setup.feeds").await?;
    check_source(context).await?;
    report::note(&context.global, "ready: the databases are set up, and the source can be read");
    Ok(())
}

fn refuse_newer(context: &Context, database: (&str, &Database), found: u32, known: u32) -> Result<()> {
    if found > known { context.check_version(database, Some(found), known) } else { Ok(()) }
}

/// What would break the guarantees is no place to load into.
async fn refuse_obstacles(context: &Context, store: &dyn JobStore, warehouse: &dyn Warehouse) -> Result<()> {
    let tables: Vec<TableSpec> = context.config.feeds.iter().map(TableSpec::of).collect();
    let databases = &context.config;
    refuse("metadata", &databases.metadata_database, store.obstacles().await?)?;
    refuse("reporting", &databases.reporting_database, warehouse.obstacles(&tables).await?)
}

fn refuse(role: &str, database: &Database, obstacles: Vec<String>) -> Result<()> {
    if obstacles.is_empty() {
        return Ok(());
    }
    Err(Error::config(format!("the {role} database {database} can't be used as it is"))
        .caused_by(obstacles.join("\n"))
        .hint("exactly-once can't be promised on it; nothing was changed"))
}

fn created(context: &Context, what: &str, ran: &[String]) {
    if !ran.is_empty() {
        report::note(&context.global, &format!("{what}: ran migrations {}", ran.join(", ")));
    }
}

/// The table's columns are those of the schema file, or the difference is an error. Tables are never altered.
pub(super) async fn check_table(feed: &Feed, warehouse: &dyn Warehouse) -> Result<()> {
    let table = TableSpec::of(feed);
    let expected = warehouse.expected_columns(&table);
    let Some(found) = warehouse.columns(&table.name).await? else {
        return Err(Error::config(format!("table {} of feed `{}` is missing", table.name, feed.name))
            .hint("run `loadline setup`"));
    };
    let differences = differences(&expected, &found);
    if differences.is_empty() {
        return Ok(());
    }
    Err(Error::config(format!(
        "table {} is not what the schema of feed `{}` says: {}",
        table.name,
        feed.name,
        differences.join("; ")
    ))
    .hint("loadline never alters a table: change the schema file, alter the table by hand, or give the feed another `table`"))
}

/// In words, what is missing, more, of another type or in another order.
fn differences(expected: &[(String, String)], found: &[(String, String)]) -> Vec<String> {
    let mut words = Vec::new();
    for (name, ty) in expected {
        match found.iter().find(|(other, _)| other == name) {
            None => words.push(format!("column {name} ({ty}) is missing")),
            Some((_, other)) if other != ty => words.push(format!("column {name} is {other}, not {ty}")),
            Some(_) => {}
        }
    }
    for (name, ty) in found {
        if !expected.iter().any(|(other, _)| other == name) {
            words.push(format!("column {name} ({ty}) is not in the schema file"));
        }
    }
    words
}

/// The source can be listed, and an object of it read.
async fn check_source(context: &Context) -> Result<()> {
    let source = context.source()?;
    for feed in &context.config.feeds {
        let found = source::probe(&source, &feed.prefix).await;
        let found = found.map_err(|error| error.context(format!("feed `{}`: the source can't be used", feed.name)))?;
        if !found {
            let place = source.uri(&feed.prefix);
            report::note(&context.global, &format!("feed {}: nothing lies under {place} yet", feed.name));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(name, ty)| ((*name).to_owned(), (*ty).to_owned())).collect()
    }

    #[test]
    fn every_obstacle_is_told() {
        let database = Database::Sqlite { path: "/srv/m.db".into() };
        refuse("metadata", &database, Vec::new()).unwrap();
        let error = refuse("metadata", &database, vec!["it is slow: buy".to_owned(), "it is far: move".to_owned()]);
        let error = error.unwrap_err();
        assert_eq!(error.exit_code(), 2);
        for said in ["metadata database sqlite:///srv/m.db", "it is slow: buy\nit is far: move"] {
            assert!(error.chain().contains(said), "{}", error.chain());
        }
    }

    #[test]
    fn a_difference_is_told_column_by_column() {
        let expected = columns(&[("id", "INTEGER"), ("age", "INTEGER")]);
        let found = columns(&[("id", "TEXT"), ("extra", "REAL")]);
        assert_eq!(
            differences(&expected, &found),
            [
                "column id is TEXT, not INTEGER",
                "column age (INTEGER) is missing",
                "column extra (REAL) is not in the schema file"
            ]
        );
        assert!(differences(&expected, &expected).is_empty());
    }
}
