//! How much a command may work in one go on the main thread: a column of the command table.
//!
//! It is counted in [looks](crate::domain::algorithm::looks), each about half a microsecond. Test
//! builds compare what a command did with what its row says. What a thread of the pool does is not
//! counted, and neither is what the server itself does with a request and a reply.

use super::job::AT_ONCE_MAX;
use crate::command::reply::Reply;
use crate::command::settings::{Setting, Settings};
use crate::domain::limits::SKIPPED_MAX;
use crate::domain::{looked_at_bytes, looked_at_parts};

/// What is in the bound of every command: finding its keys, noting what happened, a few of its
/// arguments and log n of what is stored.
const SMALL: u64 = 500;
/// As many items of a list are passed in one look.
pub const ITEMS_OF_LOOK: usize = 4;
/// As many values of a reply are made in one look.
const VALUES_OF_LOOK: usize = 4;
/// One piece of work of the scheduler, or one client that is served: as many looks at most.
const PIECE: u64 = 50;
/// A round that serves clients who wait, however few pieces of work a round has.
const SERVED: u64 = 12_000;

/// Pieces of work that cannot be cut: a round may end with one of them.
const UNCUT: &[Work] = &[
    // Grants that end at once.
    Work::Each(4, Setting::LockHoldersMax),
    // Pins on one chunk.
    Work::Each(6, Setting::ChunkHoldersMax),
    // What a task comes after, which one command has named.
    Work::Arguments(4),
    // Messages that go with their inbox, or have one lease.
    Work::Each(2, Setting::MailInboxMax),
];

/// What a command looks at in one go, beside a few elements and log n of what is stored. Several of
/// these add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// So many looks for each argument.
    Arguments(u64),
    /// So many looks for each of as many elements as a setting allows.
    Each(u64, Setting),
    /// So many looks for each KiB that a setting allows.
    KiB(u64, Setting),
    /// The values of the longest reply, and its bytes.
    Reply,
    /// So many looks, whatever the settings are.
    Looks(u64),
    /// The elements of a list that are skipped, at most 10,000, and those that the reply may have.
    Passed,
    /// What takes more steps than a client may wait for is done by a thread, or refused where the
    /// client cannot wait.
    Offloaded,
    /// One round: what is left goes on in the next rounds of the scheduler.
    Round,
    /// The whole value. That is no bound, so it is not for agents: an operator asks for it, or it
    /// comes from the primary or a file.
    Whole,
}

impl Work {
    /// At most so many looks with these settings.
    pub fn looks(self, settings: &Settings) -> u64 {
        let of = |setting| settings.get(setting);
        match self {
            Work::Arguments(each) => each.saturating_mul(of(Setting::ArgumentsMax)),
            Work::Each(looks, setting) => looks.saturating_mul(of(setting)),
            Work::KiB(looks, setting) => looks.saturating_mul(of(setting).div_ceil(1024)),
            Work::Reply => {
                of(Setting::ReplyElementsMax) / VALUES_OF_LOOK as u64 + of(Setting::ReplyBytesMax).div_ceil(1024)
            }
            Work::Looks(looks) => looks,
            Work::Passed => (SKIPPED_MAX as u64 + of(Setting::ReplyElementsMax)) / ITEMS_OF_LOOK as u64,
            Work::Offloaded => AT_ONCE_MAX.0 as u64,
            Work::Round => PIECE.saturating_mul(of(Setting::SweepBatchMax)).max(SERVED),
            Work::Whole => u64::MAX,
        }
    }

    /// The same in words.
    pub fn words(self) -> String {
        let times = |looks: u64| if looks == 1 { "a look".to_string() } else { format!("{looks} looks") };
        let name = |setting: Setting| format!("`ltmc.{}`", setting.row().name);
        match self {
            Work::Arguments(each) => format!("{} for each argument ({})", times(each), name(Setting::ArgumentsMax)),
            Work::Each(looks, setting) => format!("{} for each of {}", times(looks), name(setting)),
            Work::KiB(looks, setting) => format!("{} for each KiB of {}", times(looks), name(setting)),
            Work::Reply => format!("the reply ({}, {})", name(Setting::ReplyElementsMax), name(Setting::ReplyBytesMax)),
            Work::Looks(looks) => times(looks),
            Work::Passed => format!("{SKIPPED_MAX} elements that are skipped, and those of the reply"),
            Work::Offloaded => format!("{} looks, and what takes more is done by a thread or refused", AT_ONCE_MAX.0),
            Work::Round => format!("a round ({}), and the rest in later rounds", name(Setting::SweepBatchMax)),
            Work::Whole => "the whole value".into(),
        }
    }
}

/// A reply was made: as many values as [`VALUES_OF_LOOK`] are a look, and so is a KiB.
pub fn looked_at_reply(reply: &Reply) {
    let size = reply.size();
    looked_at_parts(size.elements, VALUES_OF_LOOK);
    looked_at_bytes(size.text_bytes);
}

/// At most so many looks in one go of a command with this work.
pub fn of_command(work: &[Work], settings: &Settings) -> u64 {
    work.iter().map(|part| part.looks(settings)).fold(SMALL, u64::saturating_add)
}

/// The same in words.
pub fn words(work: &[Work]) -> String {
    if work.is_empty() {
        return "a few elements".into();
    }
    work.iter().map(|part| part.words()).collect::<Vec<_>>().join("; ")
}

/// At most so many looks in one round of the scheduler.
pub fn of_round(settings: &Settings) -> u64 {
    let uncut = UNCUT.iter().map(|part| part.looks(settings)).max().unwrap_or(0);
    // The check of values may come in the same round.
    let check = Work::Each(2, Setting::CheckElementsMax).looks(settings);
    [Work::Round.looks(settings), uncut, check].into_iter().fold(SMALL, u64::saturating_add)
}

#[cfg(feature = "test-hooks")]
pub use seen::Seen;

#[cfg(feature = "test-hooks")]
mod seen {
    use super::{of_command, of_round, Work};
    use crate::command::reply::Reply;
    use crate::command::settings::Settings;
    use crate::domain::algorithm::looks;
    use std::collections::BTreeMap;

    /// What the main thread did in its goes since that was asked last.
    #[derive(Debug, Default)]
    pub struct Seen {
        /// By the name of the command, the most looks of a go and its bound then.
        most: BTreeMap<&'static str, (u64, u64)>,
    }

    impl Seen {
        /// A go begins: a command, or a round.
        pub fn begin() {
            looks::take();
        }

        /// A go of a command has ended, whose row says this.
        pub fn command(&mut self, name: &'static str, work: &[Work], settings: &Settings) {
            self.end(name, of_command(work, settings));
        }

        /// A round of the scheduler has ended.
        pub fn round(&mut self, settings: &Settings) {
            self.end("round", of_round(settings));
        }

        fn end(&mut self, name: &'static str, bound: u64) {
            let looks = looks::take() as u64;
            // What is closest to its bound, or furthest beyond it.
            let most = self.most.entry(name).or_insert((0, bound));
            if looks.saturating_mul(most.1) >= most.0.saturating_mul(bound) {
                *most = (looks, bound);
            }
        }

        /// For each command, its name, its looks and its bound; `round` is the scheduler.
        pub fn take(&mut self) -> Reply {
            let most = std::mem::take(&mut self.most).into_iter();
            let row = |(name, (looks, bound))| vec![Reply::text(name), Reply::number(looks), Reply::number(bound)];
            Reply::Array(most.map(row).map(Reply::Array).collect())
        }
    }
}
