//! What is given up when the server is short of memory.

use crate::command::host::Host;
use crate::command::node::Node;
use crate::command::settings::Setting;
use crate::domain::Millis;

/// How often to ask whether the server is short of memory, ms.
const MEMORY_ASKED_MS: Millis = 1000;

/// The memory use from which on something is given up, in thousandths.
fn shrinks_at(node: &Node) -> u64 {
    let percent = |setting| node.settings.get(setting);
    percent(Setting::CacheShrinkPercent).min(percent(Setting::BufferShrinkPercent)) * 10
}

/// Asks now and then. If the server is short of memory, keys that can give something up are looked
/// at, before the server refuses writes.
pub fn ask_for_memory<H: Host>(node: &mut Node, host: &H) {
    let now = node.now();
    if node.replica || node.evictable_keys.is_empty() || node.memory_asked_at > now {
        return;
    }
    node.memory_asked_at = now + MEMORY_ASKED_MS;
    node.memory_permille = host.memory_permille().unwrap_or(0);
    if node.memory_permille >= shrinks_at(node) {
        // This forgets keys that are gone. The others are noted again.
        for key in std::mem::take(&mut node.evictable_keys) {
            node.schedule.look_at(key, now);
        }
    }
}

/// If memory use has grown by this much, in thousandths, the next question does not wait.
const MEMORY_NEWS_PERMILLE: u64 = 10;

/// Called before each sleep of the server with its memory use. A burst of writes, of whatever kind,
/// must not be refused before caches and buffers were asked. Returns whether they are to be asked
/// at once. Keys with nothing to give are asked again each time memory use grows by a hundredth.
pub fn memory_is_taken(node: &mut Node, permille: u64) -> bool {
    let shrinks_at = shrinks_at(node);
    let is_new = node.memory_permille < shrinks_at || permille >= node.memory_permille + MEMORY_NEWS_PERMILLE;
    let is_asked = permille >= shrinks_at && is_new && !node.replica && !node.evictable_keys.is_empty();
    if is_asked {
        node.memory_asked_at = 0;
    }
    is_asked
}
