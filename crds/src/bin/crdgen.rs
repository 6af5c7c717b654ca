//! Prints the CustomResourceDefinition: `cargo run -p tipstream-crds --bin crdgen > crds/tipspipelines.yaml`.

use std::io::{self, Write as _};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    io::stdout().write_all(tipstream_crds::crd_yaml()?.as_bytes())?;
    Ok(())
}
