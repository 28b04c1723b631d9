//! Damage that is found later: what a device does to bytes it had promised to keep.
//!
//! Verbs for tests, and a draw for the explorer. Damage is durable at once, is no operation, and
//! works with the power on or off; whatever else was pending in the file counts as durable first.
//! Sectors are counted from 0 in sectors of the disk.

use std::io;

use crate::disk::SimDisk;
use crate::fault_kind::FaultKind;
use crate::image::{Image, Sector};
use crate::inode::Inode;
use crate::random::SimRng;
use crate::state::{Damage, State};

impl SimDisk {
    /// Flips bit `bit` of `name`, counted from the lowest bit of its first byte.
    ///
    /// # Errors
    ///
    /// `NotFound`; `InvalidInput` beyond the end of the file.
    pub fn flip_bit(&self, name: &str, bit: u64) -> io::Result<()> {
        let at = bit / 8;
        self.damage_range(name, at, 1, |byte| *byte ^= 1 << (bit % 8))?;
        let mut state = self.state.lock();
        let sector = at / state.model.sector_bytes as u64;
        state.note_damage(FaultKind::BitFlip, name, sector);
        Ok(())
    }

    /// Zeroes sector `sector` of `name`.
    ///
    /// # Errors
    ///
    /// `NotFound`; `InvalidInput` beyond the end of the file.
    pub fn zero_sector(&self, name: &str, sector: u64) -> io::Result<()> {
        self.replace_sector(name, sector, FaultKind::ZeroedSector, |_, _| Some(Sector::ZERO))
    }

    /// Makes sector `sector` of `name` unreadable, until it is written as a whole.
    ///
    /// # Errors
    ///
    /// `NotFound`; `InvalidInput` beyond the end of the file.
    pub fn spoil_sector(&self, name: &str, sector: u64) -> io::Result<()> {
        self.replace_sector(name, sector, FaultKind::UnreadableSector, |inode, _| {
            Some(inode.written().sector(sector))
        })?;
        let mut state = self.state.lock();
        state.file_mut(name).ok_or(io::ErrorKind::NotFound)?.spoil(sector);
        Ok(())
    }

    /// Gives sector `sector` of `name` what it held before the last durable write to it: the
    /// device said it had written, and had not.
    ///
    /// # Errors
    ///
    /// `NotFound`; `InvalidInput` beyond the end of the file.
    pub fn lose_write(&self, name: &str, sector: u64) -> io::Result<()> {
        self.replace_sector(name, sector, FaultKind::LostWrite, |inode, _| {
            Some(inode.before(sector).cloned().unwrap_or(Sector::ZERO))
        })
    }

    /// Gives sector `sector` of `name` what the same sector of file `other` holds.
    ///
    /// # Errors
    ///
    /// `NotFound`; `InvalidInput` beyond the end of the file.
    pub fn stale_sector(&self, name: &str, sector: u64, other: &str) -> io::Result<()> {
        self.replace_sector(name, sector, FaultKind::StaleSector, |_, state| {
            Some(state.file(other)?.written().sector(sector))
        })
    }

    /// Writes what belongs into sector `from` of `name` into sector `to`, and not where it belongs.
    ///
    /// # Errors
    ///
    /// `NotFound`; `InvalidInput` if either lies beyond the end of the file.
    pub fn misdirect(&self, name: &str, from: u64, to: u64) -> io::Result<()> {
        self.replace_sector(name, to, FaultKind::MisdirectedWrite, |inode, _| {
            (from < inode.written().sectors()).then(|| inode.written().sector(from))
        })?;
        self.replace_sector(name, from, FaultKind::MisdirectedWrite, |inode, _| {
            Some(inode.before(from).cloned().unwrap_or(Sector::ZERO))
        })
    }

    /// Lets a durable sector decay as `seed` says, one that does not hold zeros.
    ///
    /// Returns what was damaged; nothing if `kind` is not one of [`FaultKind::LATENT`], or if no
    /// sector would change.
    pub fn decay(&self, kind: FaultKind, seed: u64) -> Option<Damage> {
        let mut rng = SimRng::new(seed);
        // A draw may hit a sector that would not change: a few are made.
        (0..8).find_map(|_| self.decay_once(kind, &mut rng))
    }

    fn decay_once(&self, kind: FaultKind, rng: &mut SimRng) -> Option<Damage> {
        let (name, sector, others) = self.draw_sector(rng)?;
        let (before, noted) = {
            let state = self.state.lock();
            (state.fingerprint(), state.damages.len())
        };
        let bits = self.state.lock().model.sector_bytes as u64 * 8;
        let other = others.get(rng.index(others.len()));
        let done = match kind {
            FaultKind::BitFlip => self.flip_bit(&name, sector * bits + rng.below(bits)),
            FaultKind::UnreadableSector => self.spoil_sector(&name, sector),
            FaultKind::MisdirectedWrite => {
                let sectors = self.state.lock().file(&name)?.written().sectors();
                // Near to where it belongs: far away there are only zeros in most files.
                let near = (sector + 8).min(sectors);
                self.misdirect(&name, sector, rng.below(near))
            }
            FaultKind::LostWrite => self.lose_write(&name, sector),
            FaultKind::StaleSector => self.stale_sector(&name, sector, other?),
            FaultKind::ZeroedSector => self.zero_sector(&name, sector),
            _ => return None,
        };
        done.ok()?;
        let mut state = self.state.lock();
        if state.fingerprint() == before {
            state.damages.truncate(noted);
            return None;
        }
        state.damages.last().cloned()
    }

    /// A file, one of its sectors that does not hold zeros, and all other files.
    fn draw_sector(&self, rng: &mut SimRng) -> Option<(String, u64, Vec<String>)> {
        let state = self.state.lock();
        let stored = |inode: &Inode| inode.written().stored() > 0;
        let names: Vec<&str> =
            state.files().filter(|(_, inode)| stored(inode)).map(|(name, _)| name).collect();
        let name = *names.get(rng.index(names.len()))?;
        let image = state.file(name)?.written();
        let sector = image.stored_from(0).nth(rng.index(image.stored()))?;
        let others = names.iter().filter(|&&other| other != name).map(|&other| other.to_owned());
        Some((name.to_owned(), sector, others.collect()))
    }

    /// Replaces a sector by what `choose` makes of the file and the disk.
    fn replace_sector(
        &self,
        name: &str,
        sector: u64,
        kind: FaultKind,
        choose: impl FnOnce(&Inode, &State) -> Option<Sector>,
    ) -> io::Result<()> {
        let mut state = self.state.lock();
        let inode = state.file(name).ok_or(io::ErrorKind::NotFound)?;
        if sector >= inode.written().sectors() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let found = choose(inode, &state).ok_or(io::ErrorKind::InvalidInput)?;
        let inode = state.file_mut(name).ok_or(io::ErrorKind::NotFound)?;
        inode.damage(|image| {
            image.set_sector(sector, found);
            // The sector may come from where files are longer.
            image.set_len(image.len());
        });
        state.note_damage(kind, name, sector);
        Ok(())
    }

    /// Overwrites bytes of `name` from `offset` on; the file does not grow.
    ///
    /// # Errors
    ///
    /// `NotFound`; `InvalidInput` if `offset` is beyond the end of the file.
    pub fn overwrite(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut source = bytes.iter();
        self.damage_range(name, offset, bytes.len(), |byte| {
            *byte = source.next().copied().unwrap_or(*byte);
        })
    }

    /// Puts what sector `from` of `name` holds into sector `to` as well.
    ///
    /// # Errors
    ///
    /// `NotFound`; `InvalidInput` if either lies beyond the end of the file.
    pub fn copy_sector(&self, name: &str, from: u64, to: u64) -> io::Result<()> {
        self.replace_sector(name, to, FaultKind::MisdirectedWrite, |inode, _| {
            (from < inode.written().sectors()).then(|| inode.written().sector(from))
        })
    }

    /// Cuts `name` to `len` bytes, or extends it with zeros.
    ///
    /// # Errors
    ///
    /// `NotFound`.
    pub fn cut_file(&self, name: &str, len: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        let inode = state.file_mut(name).ok_or(io::ErrorKind::NotFound)?;
        inode.damage(|image| image.set_len(len));
        Ok(())
    }

    /// Removes `name`.
    ///
    /// # Errors
    ///
    /// `NotFound`.
    pub fn remove_file(&self, name: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        state.file(name).ok_or(io::ErrorKind::NotFound)?;
        state.put(name, None);
        Ok(())
    }

    /// Adds `name` with these bytes, or replaces it.
    pub fn put_file(&self, name: &str, bytes: &[u8]) {
        let mut state = self.state.lock();
        let mut image = Image::new(state.model.sector_bytes);
        image.set_len(bytes.len() as u64);
        image.put(0, bytes);
        state.put(name, Some(image));
    }

    /// Gives each of two files the other's bytes.
    ///
    /// # Errors
    ///
    /// `NotFound`.
    pub fn swap_files(&self, one: &str, other: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        let image = |name| state.file(name).map(|inode| inode.written().clone());
        let (first, second) = image(one).zip(image(other)).ok_or(io::ErrorKind::NotFound)?;
        state.put(one, Some(second));
        state.put(other, Some(first));
        Ok(())
    }

    fn damage_range(
        &self,
        name: &str,
        offset: u64,
        count: usize,
        mut change: impl FnMut(&mut u8),
    ) -> io::Result<()> {
        let mut state = self.state.lock();
        let inode = state.file_mut(name).ok_or(io::ErrorKind::NotFound)?;
        let mut bytes = vec![0; count];
        let count = inode.written().read(&mut bytes, offset);
        if count == 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        bytes.truncate(count);
        bytes.iter_mut().for_each(&mut change);
        inode.damage(|image| image.put(offset, &bytes));
        Ok(())
    }
}
