//! DataFusion's errors as ours: an error of our own opener comes back as it was.

use std::error::Error as StdError;

use datafusion::common::DataFusionError;

use crate::error::{Error, ErrorKind};

/// Finds our own error below DataFusion's wrappings; what is left is an error in the SQL or a fault.
pub fn from_datafusion(error: DataFusionError) -> Error {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(&error);
    while let Some(below) = cause {
        if let Some(own) = below.downcast_ref::<Error>() {
            return own.duplicate();
        }
        cause = below.source();
    }
    let kind = match error.find_root() {
        DataFusionError::Plan(_) | DataFusionError::SQL(..) | DataFusionError::SchemaError(..) => ErrorKind::Config,
        DataFusionError::NotImplemented(_) | DataFusionError::Execution(_) | DataFusionError::ArrowError(..) => {
            ErrorKind::Config
        }
        DataFusionError::ResourcesExhausted(_) => ErrorKind::Unavailable,
        _ => ErrorKind::Internal,
    };
    Error::new(kind, error.strip_backtrace())
}
