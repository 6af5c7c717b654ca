//! The TipsPipeline custom resource.
