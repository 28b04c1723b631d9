//! From the path of a log to its files, for commands that look without reading the whole log.

use std::path::Path;

use wal::{Error, FileStorage, IoError, Survey};

use crate::exit::Failure;

/// The files in `dir`, to be read.
pub(crate) fn readable(dir: &Path) -> Result<FileStorage, Failure> {
    FileStorage::open_existing(dir).map_err(failed)
}

/// The headers of the log in `dir`; a failure where there is none.
pub(crate) fn survey(dir: &Path) -> Result<Survey, Failure> {
    let survey = Survey::read(&readable(dir)?).map_err(failed)?;
    if survey.is_empty() {
        return Err(Failure::NoLog(dir.display().to_string()));
    }
    Ok(survey)
}

/// As the log itself says it.
pub(crate) fn failed(error: IoError) -> Failure {
    Failure::Log(Error::from(error))
}
