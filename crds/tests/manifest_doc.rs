//! The reference of the manifest that is committed.

const COMMITTED: &str = include_str!("../../docs/manifest.md");

#[test]
fn the_committed_reference_is_the_generated_one() {
    assert!(
        tipstream_crds::manifest_doc() == COMMITTED,
        "docs/manifest.md is not what the types say; regenerate it with\n\n    make docs\n"
    );
}
