//! What became of the records, by topic and outcome (I5): as the generator knows it, and as a worker tells it.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::worker::shards;

/// Where the generator writes them.
pub const GENERATED: &str = "expected/books.json";
const TOPICS: [&str; 2] = ["rides", "fares"];
/// As Redis has them: the first letter of a topic, and one of these.
const OUTCOMES: [(char, &str); 9] = [
    ('C', "consumed"),
    ('S', "start"),
    ('J', "joined"),
    ('P', "pending"),
    ('U', "unmatched"),
    ('D', "duplicate"),
    ('L', "late"),
    ('O', "out_of_area"),
    ('I', "invalid"),
];
/// Nobody has a say in these, whoever reads what when.
const CERTAIN: [&str; 6] = ["consumed", "start", "joined", "late", "out_of_area", "invalid"];
/// What has no other half waits until its windows have closed; a copy counts as one where its like still waits.
const WITHOUT_PARTNER: [&str; 4] = ["pending", "unmatched", "duplicate", "duplicate_or_unmatched"];

/// Records by topic and outcome; an outcome that is not there has none.
#[derive(Clone, Debug, Default)]
pub struct Books(BTreeMap<&'static str, BTreeMap<String, i64>>);

impl Books {
    /// Those that the generator has written beside its lines.
    pub fn generated(output: &Path) -> Result<Self> {
        let path = output.join(GENERATED);
        let text = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        Self::from_json(&serde_json::from_slice(&text)?)
    }

    /// Those of all shards of the newest epoch of the pipeline `name`, on any of these servers.
    pub fn of_redis(servers: &mut [redis::Connection], name: &str) -> Result<Self> {
        let mut books = Self::default();
        for redis in servers {
            for key in shards(redis, name, "books")? {
                books.add_held(&redis::cmd("HGETALL").arg(&key).query(redis)?)?;
            }
        }
        ensure!(!books.0.is_empty(), "the pipeline has no books");
        Ok(books)
    }

    fn add_held(&mut self, held: &BTreeMap<String, i64>) -> Result<()> {
        for (entry, records) in held {
            let topic = TOPICS.into_iter().find(|topic| topic[..1] == entry[..1]);
            let outcome = OUTCOMES.into_iter().find(|(letter, _)| entry.ends_with(*letter));
            let (Some(topic), Some((_, outcome))) = (topic, outcome) else { bail!("{entry:?} in the books") };
            self.add(topic, outcome, *records);
        }
        Ok(())
    }

    /// Those of a worker's `/status`.
    pub fn of_status(status: &str) -> Result<Self> {
        let status: Value = serde_json::from_str(status).context("reading the status")?;
        ensure!(status["books"]["balance"] == true, "the books do not balance: {status}");
        Self::from_json(&status["books"])
    }

    /// Those of the status of a pipeline, whose names are Kubernetes'.
    pub fn of_pipeline(books: &str) -> Result<Self> {
        let books = books.replace("outOfArea", "out_of_area");
        Self::from_json(&serde_json::from_str(&books).context("reading the books of a status")?)
    }

    /// Those of the table that `local` prints.
    pub fn of_table(text: &str) -> Result<Self> {
        let mut books = Books::default();
        for line in text.lines() {
            let cells: Vec<_> = line.split(['│', '┆']).map(str::trim).collect();
            let [_, outcome, rides, fares, _] = cells[..] else { continue };
            let counts = [rides, fares].map(|count| count.replace(',', "").parse::<i64>());
            let [Ok(rides), Ok(fares)] = counts else { continue };
            books.add("rides", outcome, rides);
            books.add("fares", outcome, fares);
        }
        ensure!(!books.0.is_empty(), "no table of outcomes:\n{text}");
        Ok(books)
    }

    fn from_json(books: &Value) -> Result<Self> {
        let mut read = Books::default();
        for topic in TOPICS {
            let account = books[topic].as_object().with_context(|| format!("no account of {topic}"))?;
            for (outcome, count) in account {
                read.add(topic, outcome, count.as_i64().unwrap_or_default());
            }
        }
        Ok(read)
    }

    /// Records of a topic with an outcome.
    pub fn get(&self, topic: &str, outcome: &str) -> i64 {
        self.0.get(topic).and_then(|account| account.get(outcome)).copied().unwrap_or_default()
    }

    /// Books more records of a topic with an outcome.
    pub fn add(&mut self, topic: &'static str, outcome: &str, records: i64) {
        *self.0.entry(topic).or_default().entry(outcome.to_owned()).or_default() += records;
    }

    /// Fails where `told` are not these, as far as they do not depend on who reads what when.
    pub fn check(&self, told: &Books) -> Result<()> {
        for topic in TOPICS {
            for outcome in CERTAIN {
                let (is, should) = (told.get(topic, outcome), self.get(topic, outcome));
                ensure!(is == should, "{topic}: {is} {outcome} in place of {should}: {told:?}");
            }
            let alone =
                |books: &Books| WITHOUT_PARTNER.iter().map(|outcome| books.get(topic, outcome)).sum::<i64>();
            let (is, should) = (alone(told), alone(self));
            ensure!(is == should, "{topic}: {is} without a partner in place of {should}: {told:?}");
            let (is, least) = (told.get(topic, "duplicate"), self.get(topic, "duplicate"));
            let most = least + self.get(topic, "duplicate_or_unmatched");
            ensure!((least..=most).contains(&is), "{topic}: {is} copies in place of {least} to {most}");
        }
        Ok(())
    }
}
