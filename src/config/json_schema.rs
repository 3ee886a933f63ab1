//! JSON Schemas of both files, for editors: from the same structs that read them, so that they can't disagree.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;

use super::raw::RawConfig;
use super::schema_file::RawSchema;

/// The JSON Schema of `config.yaml`.
pub fn config_json_schema() -> String {
    json_schema::<RawConfig>()
}

/// The JSON Schema of `schemas/FEED.yaml`.
pub fn schema_file_json_schema() -> String {
    json_schema::<RawSchema>()
}

/// Draft 7: what editors' YAML support knows best.
fn json_schema<T: JsonSchema>() -> String {
    let schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<T>();
    format!("{:#}\n", schema.as_value())
}
