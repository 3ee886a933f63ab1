//! The one integration-test binary: every further one would link DataFusion again.
