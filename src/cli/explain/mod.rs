//! `explain`: why one file is loaded or not, and the command that changes it.
//!
//! Invariant: three places know of a file (the metadata database, the ledger, the source), and each may be out of reach:
//! what the others say is told all the same. Whether a key is a file of a feed is asked of the scanner's own rules.

mod answer;
mod facts;

use std::io::Write;

use clap::Args;

use super::output::{self, PageFormat, printable};
use super::{Context, Exit, shell};
use crate::clock;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::job::{file_uri, key_of};
use answer::Answer;
use facts::{Facts, Places};

/// Tell why one file is loaded, or not, and the command that changes it
///
/// Looks the file up in the metadata database, in the ledger and at the source, and changes
/// nothing. The file is named by its full URI, as `loadline jobs ID` and scanner_jobs.files
/// have it (percent-encoded), or by its path below the source's url.
///
///   loadline explain s3://bucket/incoming/loans/2026/01/31/05/a.csv
///   loadline explain loans/2026/01/31/05/a.csv
///
/// Exit code 0 whatever the answer is; 4 where one of the three places can't be reached: the
/// answer then rests on the others, and says so.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct ExplainArgs {
    /// URI of the file, or its path below the source's url
    #[arg(value_name = "URI")]
    pub uri: String,

    /// Form of the result
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: PageFormat,
}

/// What one file is to all feeds.
struct Explanation {
    uri: String,
    /// `None`: it does not lie below the source's url.
    key: Option<String>,
    answers: Vec<Answer>,
    facts: Option<Facts>,
}

pub async fn run(args: &ExplainArgs, context: &Context) -> Result<Exit> {
    let (places, out_of_reach) = Places::open(context).await;
    let mut explanation = explain(&args.uri, &places, context).await?;
    let text = match args.output {
        PageFormat::Table => explanation.render(&out_of_reach),
        PageFormat::Json => format!("{:#}\n", explanation.json(&out_of_reach)),
    };
    output::written(output::stdout().write_all(text.as_bytes()))?;
    let head = explanation.facts.as_mut().and_then(|facts| facts.source_error.take());
    match out_of_reach.into_iter().map(|(_, error)| error).chain(head).next() {
        Some(error) => Err(error.context("the answer is not complete")),
        None => Ok(Exit::Done),
    }
}

async fn explain(named: &str, places: &Places, context: &Context) -> Result<Explanation> {
    let Some(key) = key(named, places, &context.config).await? else {
        let answers = vec![Answer::elsewhere(&context.config)];
        return Ok(Explanation { uri: named.to_owned(), key: None, answers, facts: None });
    };
    let uri = file_uri(context.config.source.url.as_str(), &key);
    let facts = Facts::gather(&key, places, &context.config, clock::now()).await?;
    let answers = answer::answers(&facts, &uri, context);
    Ok(Explanation { uri, key: Some(key), answers, facts: Some(facts) })
}

/// The key that is meant: that of a URI, or a path below the source, written plainly or percent-encoded. `None`: the URI
/// lies elsewhere.
async fn key(named: &str, places: &Places, config: &Config) -> Result<Option<String>> {
    if let Some(key) = key_of(config.source.url.as_str(), named) {
        return Ok(Some(key));
    }
    if named.contains("://") {
        return Ok(None);
    }
    let decoded = percent_encoding::percent_decode_str(named).decode_utf8().map(|key| key.into_owned());
    let Some(decoded) = decoded.ok().filter(|decoded| decoded != named) else { return Ok(Some(named.to_owned())) };
    match (places.know(named, config).await?, places.know(&decoded, config).await?) {
        (true, true) => {
            let url = config.source.url.as_str();
            let uris = [named, &decoded].map(|key| shell::word(&file_uri(url, key)));
            Err(Error::config(format!("`{named}` may be either of two files"))
                .hint(format!("give the full URI: {}", uris.join(" or "))))
        }
        (true, false) => Ok(Some(named.to_owned())),
        (false, _) => Ok(Some(decoded)),
    }
}

impl Explanation {
    fn render(&self, out_of_reach: &[(&str, Error)]) -> String {
        let mut text = format!("{}\n", printable(&self.uri));
        for answer in &self.answers {
            answer.render(&mut text);
        }
        if let Some(facts) = &self.facts {
            text.push_str(&format!("at the source: {}\n", facts.at_source()));
        }
        for (what, _) in out_of_reach {
            text.push_str(&format!("out of reach: the {what}; this is what is known without it\n"));
        }
        text
    }

    fn json(&self, out_of_reach: &[(&str, Error)]) -> serde_json::Value {
        let unreachable = |(what, error): &(&str, Error)| serde_json::json!({"what": what, "error": error.chain()});
        let mut missing: Vec<_> = out_of_reach.iter().map(unreachable).collect();
        let head = self.facts.as_ref().and_then(|facts| facts.source_error.as_ref());
        missing.extend(head.map(|error| serde_json::json!({"what": "source", "error": error.chain()})));
        serde_json::json!({
            "uri": self.uri,
            "key": self.key,
            "answers": self.answers.iter().map(Answer::json).collect::<Vec<_>>(),
            "source": self.facts.as_ref().and_then(Facts::source_json),
            "out_of_reach": missing,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::memory::InMemory;
    use object_store::{ObjectStoreExt, path::Path};

    use super::*;
    use crate::cli::GlobalArgs;
    use crate::cli::fakes::{FakeStore, FakeWarehouse};
    use crate::source::Source;

    /// A context with one feed, and places of which each can be left out.
    struct Scene {
        context: Context,
        places: Places,
    }

    impl Scene {
        async fn new(keys: &[&str]) -> Self {
            let folder = tempfile::tempdir().unwrap();
            std::fs::create_dir(folder.path().join("schemas")).unwrap();
            let (schema, config) = (folder.path().join("schemas/loans.yaml"), folder.path().join("config.yaml"));
            std::fs::write(schema, "columns: [{name: id, type: int64}]").unwrap();
            let text = "source: {url: \"file:///in\"}\nmetadata_database: {url: \"sqlite:m.db\"}\n\
                        reporting_database: {url: \"sqlite:r.db\"}\nfeeds: [{name: loans}]\n\
                        scanner: {full_every: 876000h}\n";
            std::fs::write(&config, text).unwrap();
            let global = GlobalArgs {
                config,
                verbose: 0,
                quiet: false,
                log_format: crate::cli::LogFormat::Text,
                no_progress: false,
            };
            let context = Context::load(&global).unwrap();
            let objects = Arc::new(InMemory::new());
            for key in keys {
                objects.put(&Path::parse(key).unwrap(), "id\n1\n".into()).await.unwrap();
            }
            let source = Source::with_store("file:///in/".parse().unwrap(), objects);
            let places = Places {
                store: Some(Arc::new(FakeStore::default())),
                warehouse: Some(Arc::new(FakeWarehouse)),
                source: Some(source),
            };
            Self { context, places }
        }

        async fn answer(&self, named: &str) -> (String, String) {
            let explanation = explain(named, &self.places, &self.context).await.unwrap();
            let json = explanation.json(&[]);
            (json["answers"][0]["answer"].as_str().unwrap().to_owned(), explanation.render(&[]))
        }
    }

    /// The fakes' watermark is at 2026-01-01T00; a listing looks back 72 hours, and begins with a whole folder.
    #[tokio::test]
    async fn a_folder_further_back_than_a_scan_looks_is_named_with_its_backfill() {
        let keys = ["2025/12/28/23/late.csv", "2025/12/29/00/just.csv"];
        let scene = Scene::new(&keys).await;
        let (answer, page) = scene.answer(keys[0]).await;
        assert_eq!(answer, "BEHIND_THE_LOOK_BACK");
        assert!(page.contains("scan --feed loans --from 2025-12-28T23 --to 2025-12-29T00\n"), "{page}");
        assert_eq!(scene.answer(keys[1]).await.0, "NOT_LISTED_YET");
        assert_eq!(scene.answer("file:///in/2025/12/29/00/just.csv").await.0, "NOT_LISTED_YET");
    }

    #[tokio::test]
    async fn without_a_place_the_others_answer() {
        let key = "2025/12/29/00/just.csv";
        let mut scene = Scene::new(&[key]).await;
        scene.places.source = None;
        let (answer, page) = scene.answer(key).await;
        assert_eq!(answer, "NEVER_LISTED");
        assert!(page.ends_with("at the source: not known\n"), "{page}");
        scene.places.store = None;
        assert_eq!(scene.answer(key).await.0, "UNKNOWN");
        scene.places.warehouse = None;
        assert_eq!(scene.answer(key).await.0, "UNKNOWN");
    }

    #[tokio::test]
    async fn a_terminal_gets_no_escape_sequence() {
        let scene = Scene::new(&[]).await;
        for named in ["2026/01/01/00/\u{1b}[31m.csv", "b.csv", "s3://x/\u{1b}[2J"] {
            let (_, page) = scene.answer(named).await;
            assert!(!page.contains('\u{1b}'), "{page:?}");
        }
        // The fakes' failed file, whose reason tries.
        assert!(scene.answer("b.csv").await.1.contains("too many\\u{1b}[31m invalid values"));
    }
}
