//! The tipstream operator. Not written yet: this binary only says so.

use std::process::ExitCode;

fn main() -> ExitCode {
    eprintln!(
        "tips-operator {}: the controller is not part of this version. \
         Run a pipeline with `tips-worker local` or `tips-worker stream`.",
        env!("CARGO_PKG_VERSION")
    );
    ExitCode::from(2)
}
