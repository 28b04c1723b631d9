//! Reading a log directory: names, headers, control slots.
//!
//! Changes no byte. Works beside a writer in another process: files may vanish and the control
//! file may change while this reads, and then it reads again (rule 22).

use std::io::ErrorKind;

use wal_format::SegmentHeader;
use wal_format::layout::BLOCK_BYTES;

use crate::build_chain::{Chain, FoundSegment, build_chain, is_unfinished};
use crate::chain::Survey;
use crate::control_file::ControlView;
use crate::error::{IoError, IoOp};
use crate::file_io::read_full_at;
use crate::segment_name::{SegmentName, is_retired, is_temporary, parse_reserve_name};
use crate::storage::{Access, FileEntry, Storage};

/// A writer which changes the directory this often while it is read is not a race any more.
const ATTEMPTS_MAX: usize = 16;

impl Survey {
    /// Reads the directory and builds the chain. Writes nothing.
    ///
    /// # Errors
    ///
    /// [`IoError::Failed`] when something cannot be listed, opened or read. Damage is no error
    /// here: see [`Survey::problems`].
    ///
    /// # Cost
    ///
    /// Per segment file one open and one read of 4,096 bytes; no record is read.
    pub fn read(storage: &dyn Storage) -> Result<Self, IoError> {
        let mut attempt = 1;
        loop {
            let control = ControlView::read(storage)?;
            let (found, other, vanished) = read_headers(storage)?;
            let chain = build_chain(&found, &control);
            let doubtful = vanished || !chain.problems.is_empty();
            if !doubtful || attempt == ATTEMPTS_MAX || settled(storage, &control, vanished)? {
                return Ok(Self::assemble(storage.place(), control, chain, other));
            }
            attempt += 1;
        }
    }

    /// Whether the directory holds no log: nothing at all, or a creation which never finished.
    ///
    /// Other files than those of a log are not looked at.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let segments = self.links.len() + self.dead.len();
        let nothing = !self.control.exists() && segments == 0;
        // Creation writes the control file first and the newest segment last.
        (nothing || is_unfinished(&self.control)) && self.problems.is_empty()
    }

    fn assemble(place: String, control: ControlView, chain: Chain, other: Other) -> Self {
        let Other { temporary, held_back, retired } = other;
        let Chain { log_id, links, dead, problems, address_end, highest_epoch } = chain;
        Self {
            place,
            control,
            log_id,
            links,
            dead,
            temporary,
            held_back,
            retired,
            problems,
            address_end,
            highest_epoch,
        }
    }
}

/// Whether what was found is what is there, and not a writer at work.
fn settled(storage: &dyn Storage, control: &ControlView, vanished: bool) -> Result<bool, IoError> {
    Ok(!vanished && ControlView::read(storage)? == *control)
}

/// Files that are no segments.
#[derive(Default)]
struct Other {
    temporary: Vec<String>,
    held_back: Vec<FileEntry>,
    retired: Vec<FileEntry>,
}

type Headers = (Vec<FoundSegment>, Other, bool);

/// All live names with their headers, all other names, and whether a file vanished meanwhile.
fn read_headers(storage: &dyn Storage) -> Result<Headers, IoError> {
    let entries =
        storage.list().map_err(|error| IoError::failed(IoOp::List, storage.place(), error))?;
    let (mut found, mut other, mut vanished) = (Vec::new(), Other::default(), false);
    for entry in entries {
        if is_temporary(&entry.name) {
            other.temporary.push(entry.name);
        } else if parse_reserve_name(&entry.name).is_some() {
            other.held_back.push(entry);
        } else if is_retired(&entry.name) {
            other.retired.push(entry);
        } else if let Some(name) = SegmentName::parse(&entry.name) {
            match read_header(storage, name)? {
                Some(segment) => found.push(segment),
                None => vanished = true,
            }
        }
    }
    other.temporary.sort_unstable();
    other.held_back.sort_unstable_by(|one, two| one.name.cmp(&two.name));
    other.retired.sort_unstable_by(|one, two| one.name.cmp(&two.name));
    found.sort_unstable_by_key(|file| file.name);
    Ok((found, other, vanished))
}

/// Length and header of one segment file; `None` when it is not there any more.
pub(crate) fn read_header(
    storage: &dyn Storage,
    name: SegmentName,
) -> Result<Option<FoundSegment>, IoError> {
    let file_name = name.to_string();
    let file = match storage.open(&file_name, Access::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(IoError::failed(IoOp::Open, file_name, error)),
    };
    let mut block = [0_u8; BLOCK_BYTES];
    let count = read_full_at(file.as_ref(), &file_name, &mut block, 0)?;
    let file_bytes =
        file.len().map_err(|error| IoError::failed(IoOp::Length, &*file_name, error))?;
    let header = SegmentHeader::decode(block.get(..count).unwrap_or_default());
    Ok(Some(FoundSegment { name, file_bytes, header }))
}
