//! What agents can hold.

use crate::prng::Prng;
use ltmc::command::settings::Setting;
use ltmc::domain::entity::quota::Quota;

/// A TTL that does not end within a schedule.
const LONG: &str = "PX 31536000000";

/// Something that an agent can hold in one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Thing {
    Lock(u64),
    Share,
    Pin(u64),
    Inbox,
    Message,
    Context,
    Session(u64),
    Task,
    Claim,
}

impl Thing {
    pub fn random(rng: &mut Prng) -> Thing {
        match rng.below(10) {
            0 => Thing::Lock(rng.below(2)),
            1 => Thing::Share,
            2 => Thing::Pin(rng.below(2)),
            3 => Thing::Inbox,
            4 => Thing::Context,
            5 => Thing::Session(rng.below(2)),
            6..=7 => Thing::Task,
            8 => Thing::Message,
            _ => Thing::Claim,
        }
    }

    pub fn key(self) -> String {
        match self {
            Thing::Lock(n) => format!("lock{n}"),
            Thing::Share => "share".into(),
            Thing::Pin(_) => "buffer".into(),
            Thing::Inbox | Thing::Message => "mail".into(),
            Thing::Context => "context".into(),
            Thing::Session(n) => format!("session{n}"),
            Thing::Task => "flow".into(),
            Thing::Claim => "r".into(),
        }
    }

    pub fn take(self, agent: &str) -> String {
        match self {
            Thing::Lock(n) => format!("LTMC.LOCK lock{n} {agent} {LONG} NOREENTRANT"),
            Thing::Share => format!("LTMC.LOCK share {agent} SHARED {LONG} NOREENTRANT"),
            Thing::Pin(n) => format!("LTMC.CHUNK.PIN buffer c{n} {agent} {LONG}"),
            Thing::Inbox => format!("LTMC.MSG.JOIN mail {agent}"),
            Thing::Message => format!("LTMC.MSG.RECV mail {agent} {LONG}"),
            Thing::Context => format!("LTMC.CTX.JOIN context {agent}"),
            Thing::Session(n) => format!("LTMC.SESSION.JOIN session{n} {agent}"),
            Thing::Task => format!("LTMC.TASK.CLAIM flow {agent} CAPS 0 {LONG}"),
            Thing::Claim => format!("LTMC.AGENT.CLAIM r {LONG} CAPS 1 tool REF {agent}"),
        }
    }
}

/// The quotas that the model knows, with their settings.
pub const QUOTAS: [(Quota, Setting); 4] = [
    (Quota::Locks, Setting::AgentLocksMax),
    (Quota::Tasks, Setting::AgentTasksMax),
    (Quota::Messages, Setting::AgentMessagesMax),
    (Quota::ChunkBytes, Setting::AgentChunkBytesMax),
];

impl Thing {
    pub fn quota(self) -> Option<Quota> {
        match self {
            Thing::Lock(_) | Thing::Share => Some(Quota::Locks),
            Thing::Task => Some(Quota::Tasks),
            Thing::Message => Some(Quota::Messages),
            Thing::Pin(_) => Some(Quota::ChunkBytes),
            _ => None,
        }
    }
}

/// Something that is held, and on whose behalf.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Held {
    pub agent: String,
    pub thing: Thing,
    /// Tells it from others of its kind: the fence of a task or a claim, the id of a message.
    pub fence: u64,
    /// For a task: whether its worker named its registry.
    pub named: bool,
    /// For a task: its id.
    pub task: String,
}
