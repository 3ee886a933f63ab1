//! `config`: what the config says, checked.

use std::io::Write;

use clap::{Args, ValueEnum};

use super::{Context, Exit, GlobalArgs, output, setup};
use crate::config::{config_json_schema, schema_file_json_schema};
use crate::error::Result;

/// Check the config and the schema files, and print the config as it takes effect
///
/// Works offline: no database and no source is opened. Checks every key, the schema file of
/// every feed and the SQL that cleans it, then prints the effective config, defaults filled
/// in and secrets masked. Anything wrong is named with file, line and what would be allowed
/// (exit code 2).
///
/// Editors complete and check the config as you type when its first line names its JSON
/// Schema, which `--schema` prints:
///
///   loadline config --schema > config.schema.json
///
///   # yaml-language-server: $schema=config.schema.json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct ConfigArgs {
    /// Print the JSON Schema instead, of the config or of a schema file; reads no config
    #[arg(long, value_name = "WHICH", num_args = 0..=1, require_equals = true, default_missing_value = "config")]
    pub schema: Option<SchemaOf>,
}

/// The file that a JSON Schema describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SchemaOf {
    /// config.yaml
    Config,
    /// schemas/FEED.yaml
    Feed,
}

pub async fn run(args: &ConfigArgs, global: &GlobalArgs) -> Result<Exit> {
    let text = match args.schema {
        Some(SchemaOf::Config) => config_json_schema(),
        Some(SchemaOf::Feed) => schema_file_json_schema(),
        None => {
            let config = Context::load(global)?.config;
            setup::check_schemas(&config).await?;
            config.effective_yaml()
        }
    };
    output::written(output::stdout().write_all(text.as_bytes()))?;
    Ok(Exit::Done)
}
