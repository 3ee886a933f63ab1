//! Which files a person means: one by its URI, those of a job, or those of a feed's hours.

use chrono::{DateTime, Utc};

use super::Context;
use crate::error::{Error, Result};
use crate::feed::Feed;
use crate::job::{JobStore, Selection};

/// The file behind a URI, in the named feed or in the only one that knows it.
pub async fn by_uri<'a>(
    uri: &str,
    feed: Option<&str>,
    context: &'a Context,
    store: &dyn JobStore,
) -> Result<(&'a Feed, Selection)> {
    let source = context.source()?;
    let elsewhere = || {
        Error::config(format!("{uri} is not under the source {}", source.url()))
            .hint("write the full URI, as `loadline jobs -o json` has it")
    };
    let key = source.key_of(uri).ok_or_else(elsewhere)?;
    let feeds: Vec<&Feed> = match feed {
        Some(name) => vec![context.config.feed(name)?],
        None => context.config.feeds.iter().collect(),
    };
    let mut knowing = Vec::new();
    for feed in feeds {
        if store.file(&feed.name, &key).await?.is_some() {
            knowing.push(feed);
        }
    }
    match knowing[..] {
        [feed] => Ok((feed, Selection::File { feed: feed.name.clone(), key })),
        [] => Err(Error::config(format!("no scan has ever found {uri}"))
            .hint("`loadline scan` finds files; write the URI as `loadline jobs -o json` has it")),
        _ => Err(Error::config(format!("several feeds have the file {uri}")).hint("name one with --feed FEED")),
    }
}

/// The files of a feed's hours from the first (inclusive) to the second (exclusive).
pub fn by_hours(feed: &Feed, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<Selection> {
    if from >= to {
        return Err(Error::config("--to is not later than --from: no hour lies between them"));
    }
    Ok(Selection::Hours { feed: feed.name.clone(), from, to })
}

/// Every file of a feed: the years that a folder's name can hold.
pub fn all_of(feed: &Feed) -> Selection {
    let far = |year: i32| chrono::NaiveDate::from_ymd_opt(year, 1, 1).unwrap_or_default().and_time(Default::default());
    Selection::Hours { feed: feed.name.clone(), from: far(1000).and_utc(), to: far(9999).and_utc() }
}
