//! What a power cut leaves of one file: a length, and for each pending sector one of its versions.
//!
//! Knows one file; which files have names is decided above. Also tells what happened to the file,
//! so that coverage can say which kinds of loss were met.

use crate::choice::Chooser;
use crate::image::{Image, Sector};
use crate::inode::Inode;

/// What a power cut did, summed over the files of a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Loss {
    /// Sectors of which something that was written is gone.
    pub(crate) lost: u64,
    /// Sectors that kept something which no sync had covered.
    pub(crate) kept: u64,
    /// Surviving sectors that are a mix of old and new.
    pub(crate) torn: u64,
    /// Files in which a later write survived and an earlier one to another sector did not.
    pub(crate) reordered: u64,
    /// Files whose unsynced space shows what a removed file held.
    pub(crate) recycled: u64,
    /// Changes of names that are gone.
    pub(crate) names: u64,
}

impl Inode {
    /// How many states a power cut can leave; any number above `limit` once it is exceeded.
    /// `recycled`: whether its space may show the bytes of a removed file.
    pub(crate) fn survivors(&self, recycled: bool, limit: u64) -> u64 {
        let mut total: u64 = 0;
        for len in 0..=self.lens.len() {
            let mut states: u64 = 1 + u64::from(recycled && self.may_show_old_space(len));
            for pending in self.sectors.values() {
                states = states.saturating_mul(pending.candidates(len).count() as u64 + 1);
                if states > limit {
                    return states;
                }
            }
            total = total.saturating_add(states);
            if total > limit {
                break;
            }
        }
        total
    }

    /// Whether, with that many changes of length, there is space which no sync has zeroed.
    fn may_show_old_space(&self, len: usize) -> bool {
        !self.is_known() && len > 0
    }

    /// What a power cut leaves. `recycled` is what the file's space held before it was the file's.
    pub(crate) fn survive(
        &self,
        chooser: &mut dyn Chooser,
        recycled: Option<&Image>,
        loss: &mut Loss,
    ) -> Self {
        let lens = chooser.choose(self.lens.len() + 1);
        let mut image = self.durable().clone();
        if let Some(old) = recycled.filter(|_| self.may_show_old_space(lens))
            && chooser.choose(2) == 1
        {
            image = old.clone();
            loss.recycled += 1;
        }
        let base = image.clone();
        // The newest version that survived, and the oldest that did not.
        let (mut newest_kept, mut oldest_lost) = (0, u64::MAX);
        for (&index, pending) in &self.sectors {
            let floor = pending
                .floor(lens)
                .and_then(|at| pending.versions.get(at))
                .map_or_else(|| base.sector(index), |version| version.sector.clone());
            let candidates = || pending.candidates(lens);
            let count = candidates().count();
            let choice = chooser.choose(count + 1);
            // 0 is the floor; the version before the chosen one is what a tear mixes it with.
            let version = |choice: usize| choice.checked_sub(1).and_then(|at| candidates().nth(at));
            let sector = |choice| version(choice).map_or(&floor, |version| &version.sector);
            let torn = (choice > 0).then(|| chooser.tear(image.sector_bytes())).flatten();
            loss.kept += u64::from(choice > 0);
            loss.lost += u64::from(choice < count);
            newest_kept = newest_kept.max(version(choice).map_or(0, |version| version.number));
            oldest_lost =
                oldest_lost.min(version(choice + 1).map_or(u64::MAX, |version| version.number));
            let left: Sector = match torn {
                None => sector(choice).clone(),
                Some(tear) => {
                    let (before, after) = (sector(choice.saturating_sub(1)), sector(choice));
                    let mixed = before.torn(after, tear.start, tear.end);
                    // A tear at the edge, or through equal bytes, is none.
                    loss.torn += u64::from(mixed != *before && mixed != *after);
                    mixed
                }
            };
            image.set_sector(index, left);
        }
        loss.reordered += u64::from(newest_kept > oldest_lost);
        let len = lens.checked_sub(1).map_or(self.durable().len(), |at| self.lens[at]);
        image.set_len(len);
        self.left_as(image)
    }
}
