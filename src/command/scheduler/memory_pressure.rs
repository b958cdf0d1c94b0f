//! What is given up when the server is short of memory.

use crate::command::host::Host;
use crate::command::node::Node;
use crate::command::settings::Setting;
use crate::domain::Millis;

/// How often it is asked whether the server is short of memory, ms.
const MEMORY_ASKED_MS: Millis = 1000;

/// From so much of the memory on, in thousandths, something is given up.
fn shrinks_at(node: &Node) -> u64 {
    let percent = |setting| node.settings.get(setting);
    percent(Setting::CacheShrinkPercent).min(percent(Setting::BufferShrinkPercent)) * 10
}

/// Now and then: if the server is short of memory, those that can give something up are looked at. They go before writes are refused.
pub fn ask_for_memory<H: Host>(node: &mut Node, host: &H) {
    let now = node.now();
    if node.replica || node.evictable_keys.is_empty() || node.memory_asked_at > now {
        return;
    }
    node.memory_asked_at = now + MEMORY_ASKED_MS;
    node.memory_permille = host.memory_permille().unwrap_or(0);
    if node.memory_permille >= shrinks_at(node) {
        // Keys that are gone are forgotten by that; the others are noted again.
        for key in std::mem::take(&mut node.evictable_keys) {
            node.schedule.look_at(key, now);
        }
    }
}

/// So much more of the memory being taken, in thousandths, is news that does not wait.
const MEMORY_NEWS_PERMILLE: u64 = 10;

/// Told before each sleep of the server how much of the memory is taken: a burst of writes, of whatever kind, must not be refused before
/// caches and buffers were asked. Says whether they are to be asked at once. Who has nothing to give is asked again for each hundredth more.
pub fn memory_is_taken(node: &mut Node, permille: u64) -> bool {
    let shrinks_at = shrinks_at(node);
    let is_new = node.memory_permille < shrinks_at || permille >= node.memory_permille + MEMORY_NEWS_PERMILLE;
    let is_asked = permille >= shrinks_at && is_new && !node.replica && !node.evictable_keys.is_empty();
    if is_asked {
        node.memory_asked_at = 0;
    }
    is_asked
}
