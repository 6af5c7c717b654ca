//! `tips-worker query`: the program `tips-query` beside this one. It is its own, so that a worker does not carry an SQL
//! engine.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use clap::Args;

use crate::failure::Failure;

const PROGRAM: &str = "tips-query";

/// Flags of `query`, as they are passed on.
#[derive(Args, Debug)]
pub struct QueryArgs {
    /// Flags of tips-query.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

/// Becomes `tips-query`. Returns only where that cannot be.
pub fn run(args: QueryArgs) -> Failure {
    let program = match beside() {
        Ok(program) => program,
        Err(error) => return Failure::Usage(format!("cannot tell where this program is: {error}")),
    };
    let error = Command::new(&program).args(args.args).exec();
    let advice = match error.kind() {
        io::ErrorKind::NotFound => {
            ": it belongs beside tips-worker; build it with `cargo build -p tips-query`"
        }
        _ => "",
    };
    Failure::Usage(format!("cannot run {}: {error}{advice}", program.display()))
}

fn beside() -> io::Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name(PROGRAM))
}
