//! What a power cut, or the death of the process, leaves of a disk; and disks as numbers.
//!
//! Never changes the disk it looks at.

use std::sync::Arc;

use crate::choice::Chooser;
use crate::directory::{Directory, Entries};
use crate::image::Image;
use crate::inode::Inode;
use crate::random::{fold, fold_bytes};
use crate::remains::Loss;
use crate::state::State;

impl State {
    /// What the power cut leaves: nothing pending, nothing open, the power back on.
    pub(crate) fn survive(&self, chooser: &mut dyn Chooser) -> Self {
        let (entries, names) = self.dir.survive(chooser);
        let mut loss = Loss { names, ..Loss::default() };
        let mut next = self.successor();
        for ino in entries.values() {
            if let Some(inode) = self.inodes.get(ino) {
                let left = if inode.is_settled() {
                    Arc::clone(inode)
                } else {
                    Arc::new(inode.survive(chooser, self.recycled(), &mut loss))
                };
                next.inodes.insert(*ino, left);
            }
        }
        next.dir = Directory::settled(entries);
        (next.loss, next.lost_power) = (loss, true);
        next
    }

    /// The same files, what is pending included; nothing open, the power on.
    pub(crate) fn fork(&self) -> Self {
        let mut fork = Self {
            dir: self.dir.clone(),
            inodes: self.inodes.clone(),
            lies: self.lies.clone(),
            syncs: self.syncs,
            ..self.successor()
        };
        fork.forget_unreachable();
        fork
    }

    /// A disk of the same make, without files.
    fn successor(&self) -> Self {
        Self {
            next_id: self.next_id,
            entropy: self.entropy.clone(),
            clock_us: self.clock_us,
            removed: self.removed.clone(),
            loss: self.loss,
            lost_power: self.lost_power,
            damages: self.damages.clone(),
            ..Self::new(Arc::clone(&self.model))
        }
    }

    /// How many outcomes [`survive`](Self::survive) has under this choice of entries; any number
    /// above `limit` once it is exceeded.
    pub(crate) fn survivors(&self, chooser: &mut dyn Chooser, limit: u64) -> u64 {
        let (entries, _): (Entries, _) = self.dir.survive(chooser);
        let recycled = self.recycled().is_some();
        entries
            .values()
            .filter_map(|ino| self.inodes.get(ino))
            .map(|inode| if inode.is_settled() { 1 } else { inode.survivors(recycled, limit) })
            .fold(1, u64::saturating_mul)
    }

    /// What the space of a new file held, as far as anybody remembers.
    fn recycled(&self) -> Option<&Image> {
        self.removed.back().filter(|_| self.model.recycles)
    }

    /// Names and bytes as programs see them, and what cannot be read, as one number.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.files().fold(0, |hash, (name, inode)| {
            let hash = fold(fold_bytes(hash, name.as_bytes()), inode.written().fingerprint());
            inode.unreadable().fold(hash, fold)
        })
    }

    pub(crate) fn drop_caches(&mut self) {
        for inode in self.inodes.values_mut() {
            Inode::drop_cache(Arc::make_mut(inode));
        }
    }
}
