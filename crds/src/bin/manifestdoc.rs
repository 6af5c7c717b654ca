//! Prints the reference of the manifest: `cargo run -p tipstream-crds --bin manifestdoc > docs/manifest.md`.

use std::io::{self, Write as _};

fn main() -> io::Result<()> {
    io::stdout().write_all(tipstream_crds::manifest_doc().as_bytes())
}
