//! A scanner: lists, registers what it has listed, and forms jobs of what is FOUND. What it lists may be old when it is
//! registered, and so may be what it forms jobs of.

use super::world::{Fate, Shared};
use super::{FILES, Version};

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Scanner {
    #[default]
    Idle,
    Listed([Version; FILES]),
    Looking,
    Found([bool; FILES]),
}

impl Scanner {
    pub fn step(&mut self, fate: Fate, shared: &mut Shared) {
        let next = match *self {
            Self::Idle => fate.of(|| Self::Listed(shared.source)),
            Self::Listed(versions) => fate.of(|| {
                let (files, policy) = (shared.setup.files, shared.setup.policy);
                (0..files).for_each(|file| _ = shared.metadata.register(file, versions[file], policy));
                Self::Looking
            }),
            Self::Looking => fate.of(|| match self.draft(shared) {
                draft if draft.contains(&true) => Self::Found(draft),
                _ => Self::Idle,
            }),
            // Where another was quicker, planning begins anew.
            Self::Found(draft) => fate.of(|| {
                shared.metadata.form_job(draft);
                Self::Looking
            }),
        };
        *self = next.unwrap_or_default();
    }

    /// The first FOUND files, as many as a job takes.
    fn draft(self, shared: &Shared) -> [bool; FILES] {
        let mut left = shared.setup.job_files_max;
        shared.metadata.found().map(|found| {
            let taken = found && left > 0;
            left -= usize::from(taken);
            taken
        })
    }
}
