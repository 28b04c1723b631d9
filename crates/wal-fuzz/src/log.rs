//! Whole log directories: a valid log, damaged in any way, is refused or is a shorter log.
//!
//! The bytes choose one of a few logs and then what is done to its files ([`damage`]). Nothing may
//! panic, two looks agree, what replays was written, and what an opening accepts goes on as a log.

use wal::{ErrorKind, Verdict};

use crate::input::Input;

mod files;
mod opening;
mod base;
mod damage;

use base::Base;
use files::{Files, Place};
use opening::{Replayed, look_once, opened};

/// See the head of the file.
pub(crate) fn log(data: &[u8]) {
    let mut input = Input(data);
    let base = base::one(input.byte());
    let mut files = base.files.clone();
    let forged = damage::apply(&mut files, base, &mut input);
    let shown = look(&files, base, forged);
    open(&files, base, forged, &shown);
}

/// A look without opening; twice the same.
fn look(files: &Files, base: &Base, forged: bool) -> Result<(Verdict, Replayed), ErrorKind> {
    let once = look_once(files);
    assert_eq!(once, look_once(files), "two looks at the same bytes");
    if let Ok((verdict, replayed)) = &once {
        is_of(replayed, base, forged || verdict.is_damage());
    }
    once
}

/// Everything that replayed was written there; unless `holes` are admitted, from the first on and
/// with nothing left out.
fn is_of(replayed: &Replayed, base: &Base, holes: bool) {
    if holes {
        let mut written = base.written.iter();
        for record in replayed {
            assert!(written.any(|other| other == record), "a record that nobody wrote there");
        }
    } else {
        assert!(base.written.starts_with(replayed), "not a prefix of what was written");
    }
}

/// Opens the log for writing, if it lets itself be opened, and goes on with it.
fn open(files: &Files, base: &Base, forged: bool, shown: &Result<(Verdict, Replayed), ErrorKind>) {
    let storage = Place::of(files);
    let (wal, replayed) = match opened(&storage) {
        Ok(opened) => opened,
        Err(kind) => {
            if kind == ErrorKind::Damaged || kind == ErrorKind::Foreign {
                assert!(Files::of(&storage) == *files, "evidence of damage was changed");
                salvage(files, base);
            }
            return;
        }
    };
    // An opening reads from the checkpoint on, a look from the head.
    if let Ok((verdict, _)) = shown
        && !base.checkpointed
    {
        assert!(!verdict.is_damage(), "opened in spite of: {verdict}");
    }
    is_of(&replayed, base, forged || base.checkpointed);
    if base.clean
        && !base.checkpointed
        && !forged
        && files.get("control") == base.files.get("control")
    {
        assert!(replayed == base.written, "a clean log opened and is not whole");
    }
    let ticket = wal.append(b"one more").and_then(|ticket| ticket.wait_durable().map(|()| ticket));
    let Ok(ticket) = ticket else { return };
    let closed = wal.close();
    drop(wal);
    if closed.is_err() {
        return;
    }
    let (_, again) = opened(&storage).expect("a log that was closed opens");
    let mut expected = replayed;
    expected.push((ticket.lsn().get(), b"one more".to_vec()));
    let lsns = |records: &Replayed| records.iter().map(|record| record.0).collect::<Vec<_>>();
    assert!(again == expected, "closed with {:?}, opened with {:?}", lsns(&expected), lsns(&again));
}

/// What can be saved of a log that is refused was written there, and is a log again.
fn salvage(files: &Files, base: &Base) {
    let (source, saved) = (Place::of(files), Place::of(&Files::default()));
    let salvaged = wal::salvage_in(&source, &saved, &mut ());
    assert!(Files::of(&source) == *files, "salvage changed its source");
    if salvaged.is_err() {
        return;
    }
    // Nothing at all may be left to save.
    let Ok((verdict, _)) = look_once(&Files::of(&saved)) else { return };
    assert!(!verdict.is_damage(), "salvaged, and damaged still: {verdict}");
    let (_, replayed) = opened(&saved).expect("what was salvaged opens");
    is_of(&replayed, base, true);
}
