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
