//! Errors as a client sees them: a SQLSTATE, which drivers act on, and a text, which people act on.

use std::error::Error;
use std::fmt::Display;

use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion_postgres::pgwire::error::{ErrorInfo, PgWireError};

/// A query that is refused or cut off on purpose.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// SQLSTATE, five characters.
    pub code: &'static str,
    /// What is wrong and what to do.
    pub message: String,
}

/// An error of the engine that carries a refusal.
pub fn refuse(code: &'static str, message: impl Into<String>) -> DataFusionError {
    DataFusionError::External(Box::new(Refusal { code, message: message.into() }))
}

/// An error of the protocol with such a code and text.
pub fn told(severity: &str, code: &str, message: impl Into<String>) -> PgWireError {
    PgWireError::UserError(Box::new(ErrorInfo::new(severity.to_owned(), code.to_owned(), message.into())))
}

/// What the error of a file says that went between listing and reading: it was merged with others, and the next
/// listing has what stands for it. It tells that error from others, since of one that comes with a footer the engine
/// keeps the text alone.
const OVERTAKEN: &str = "was merged with others while the query ran";

/// What is wrong with a file that has gone.
pub fn gone(path: &dyn Display) -> String {
    format!("{path} {OVERTAKEN}")
}

/// Whether compaction has taken a file away that the query was about to read.
pub fn is_overtaken(error: &(dyn Error + 'static)) -> bool {
    error.to_string().contains(OVERTAKEN)
}

/// What is said of files that cannot be read: as [`OVERTAKEN`], it tells that error from others.
const UNREADABLE: &str = "the archive cannot be read";

/// That files cannot be read.
pub fn unreadable(why: &dyn Display) -> Refusal {
    let message = format!("{UNREADABLE}: {why}; tips_live does not need the archive and still answers");
    Refusal { code: "58030", message }
}

/// That what the query read is not there any more as a whole.
pub fn overtaken() -> DataFusionError {
    refuse("40001", "files were merged with others while the query ran; run it again")
}

/// What the client is told of an error of the engine: the code that PostgreSQL has for it, without the layers that
/// it came through.
pub fn for_client(error: &(dyn Error + 'static)) -> ErrorInfo {
    let (code, message) = match root(error) {
        Root::Refusal(refusal) => (refusal.code, refusal.message.clone()),
        _ if is_overtaken(error) => return for_client(&overtaken()),
        _ if error.to_string().contains(UNREADABLE) => ("58030", from_words(&error.to_string(), UNREADABLE)),
        Root::Engine(engine) => (code_of(engine), text_of(engine)),
        Root::Syntax(error) => ("42601", error.to_string()),
        Root::Other(other) => ("XX000", other.to_string()),
    };
    ErrorInfo::new("ERROR".to_owned(), code.to_owned(), message)
}

fn from_words(text: &str, words: &str) -> String {
    text.find(words).map_or(text, |at| &text[at..]).to_owned()
}

enum Root<'a> {
    Refusal(&'a Refusal),
    Engine(&'a DataFusionError),
    Syntax(&'a (dyn Error + 'static)),
    Other(&'a (dyn Error + 'static)),
}

/// A refusal may be wrapped in errors of the engine, of Arrow and of Parquet.
fn root<'a>(error: &'a (dyn Error + 'static)) -> Root<'a> {
    let mut next = Some(error);
    let mut engine = None;
    while let Some(cause) = next {
        if let Some(refusal) = cause.downcast_ref::<Refusal>() {
            return Root::Refusal(refusal);
        }
        if cause.is::<ParserError>() {
            return Root::Syntax(cause);
        }
        if let Some(found) = cause.downcast_ref::<DataFusionError>() {
            engine = Some(found.find_root());
        }
        next = cause.source();
    }
    engine.map_or(Root::Other(error), Root::Engine)
}

fn code_of(error: &DataFusionError) -> &'static str {
    match error {
        error if is_out_of_spill(error) => "53200",
        DataFusionError::SQL(..) => "42601",
        DataFusionError::SchemaError(schema, _) => match **schema {
            SchemaError::FieldNotFound { .. } => "42703",
            SchemaError::AmbiguousReference { .. } => "42702",
            _ => "42P16",
        },
        DataFusionError::Plan(text) if text.contains("table '") && text.contains("not found") => "42P01",
        DataFusionError::Plan(text) if text.contains("Invalid function") => "42883",
        DataFusionError::Plan(_) => "42000",
        DataFusionError::NotImplemented(_) => "0A000",
        DataFusionError::ResourcesExhausted(_) => "53200",
        DataFusionError::Execution(_) | DataFusionError::ArrowError(..) => "22000",
        _ => "XX000",
    }
}

/// The engine says by words only that there is no more room to spill to.
fn is_out_of_spill(error: &DataFusionError) -> bool {
    error.to_string().contains("used disk space during the spilling")
}

fn text_of(error: &DataFusionError) -> String {
    match error {
        DataFusionError::ResourcesExhausted(text) => format!(
            "the query needs more memory than it may use: ask for less (bound the time, select fewer columns, \
             aggregate), or raise --memory (spec.query.limits.memory): {}",
            text.lines().next().unwrap_or_default()
        ),
        error if is_out_of_spill(error) => {
            "the query needs more memory and disk than it may use: ask for less (bound \
             the time, select fewer columns, aggregate), or raise --memory or --spill (spec.query.limits)"
                .to_owned()
        }
        error => error.strip_backtrace(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_found_below_the_layers_it_came_through() {
        let error = refuse("57014", "took too long").context("while reading");
        let wrapped = DataFusionError::External(Box::new(error));
        let info = for_client(&wrapped);
        assert_eq!((info.code.as_str(), info.message.as_str()), ("57014", "took too long"));
    }

    #[test]
    fn a_file_that_was_merged_away_is_told_whatever_the_engine_kept_of_its_error() {
        let store = object_store::Error::Generic { store: "sink", source: gone(&"tips/a.parquet").into() };
        let text = DataFusionError::Execution(format!("Parquet error: {store}"));
        for error in [text, DataFusionError::from(store), refuse("58030", "gone").context("elsewhere")] {
            let info = for_client(&error);
            assert_eq!(info.code == "40001", is_overtaken(&error), "{info:?}");
            assert_eq!(info.message.contains("run it again"), is_overtaken(&error), "{info:?}");
        }
    }

    #[test]
    fn a_sink_that_fails_is_told_whatever_the_engine_kept_of_its_error() {
        let failed =
            || object_store::Error::Generic { store: "sink", source: Box::new(unreadable(&"no route")) };
        let text = DataFusionError::Execution(format!("Parquet error: {}", failed()));
        for error in [text, DataFusionError::from(failed())] {
            let info = for_client(&error);
            assert_eq!(info.code, "58030");
            assert!(info.message.starts_with("the archive cannot be read: no route; tips_live"), "{info:?}");
        }
    }

    #[test]
    fn memory_that_is_used_up_has_its_code_and_says_what_to_do() {
        let info = for_client(&DataFusionError::ResourcesExhausted("Failed to allocate\n more".to_owned()));
        assert_eq!(info.code, "53200");
        assert!(info.message.contains("--memory"), "{}", info.message);
    }
}
