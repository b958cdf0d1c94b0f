//! What follows for chunk buffers from time, from a lack of room, and from a lack of the server's
//! memory.

use crate::command::engine::commit::{commit, commit_one, touch};
use crate::command::engine::service::Serve;
use crate::command::host;
use crate::command::host::{Host, Key};
use crate::command::node::Node;
use crate::command::settings::Setting;
use crate::domain::buffer::decide::Conditions;
use crate::domain::buffer::{decide, time, Buffer, BufferEvent, End};
use crate::domain::limits::EVICTED_PER_COMMAND_MAX;
use crate::domain::{Change, Entity, Error, KeyId};

/// How many chunks one look of the scheduler ends, and how many it evicts, before other commands
/// run.
const PER_LOOK: usize = 64;
/// How many reads of chunks one look lets leave their window.
const SLID_PER_LOOK: usize = 512;
/// How much earlier than it shrinks a buffer stops growing, in thousandths of the server's memory.
const EARLIER_PERMILLE: u64 = 50;

/// Whether memory use is so high that buffers shrink; with `to_grow`, that they no longer grow.
pub fn is_short<H: Host>(node: &Node, host: &H, to_grow: bool) -> bool {
    let shrinks_at = node.settings.get(Setting::BufferShrinkPercent) * 10;
    host::is_short(host, shrinks_at.saturating_sub(if to_grow { EARLIER_PERMILLE } else { 0 }))
}

/// Ends what has expired of one chunk, before anything else happens to it.
pub fn end_if_expired<H: Host>(node: &mut Node, host: &mut H, key: Key, id: &[u8]) -> Result<(), Error> {
    let now = node.now();
    let Some(stored) = host.read::<Buffer>(key)? else { return Ok(()) };
    let Some((serial, _)) = stored.state.find(id) else { return Ok(()) };
    let events = time::due_of(&stored.state, serial, now);
    commit::<Buffer, H>(node, host, key, events)
}

/// Evicts chunks until the buffer is no larger than it may be, but not `spared`. If that is more
/// than one command should do, the scheduler continues, and commands that would add something
/// meanwhile are refused.
pub fn make_room<H: Host>(node: &mut Node, host: &mut H, key: Key, spared: Option<&[u8]>) -> Result<(), Error> {
    let is_left = evict(node, host, key, spared, EVICTED_PER_COMMAND_MAX)?;
    match host.read::<Buffer>(key)? {
        Some(stored) if is_left && spared.is_none() => Err(decide::making_room(&stored.state)),
        _ => Ok(()),
    }
}

/// Evicts up to `most` chunks. True if it is still too large and more could go.
fn evict<H: Host>(node: &mut Node, host: &mut H, key: Key, spared: Option<&[u8]>, most: usize) -> Result<bool, Error> {
    let at = node.now();
    for _ in 0..most {
        let mut seed = node.random();
        let Some(stored) = host.read::<Buffer>(key)?.filter(|stored| stored.state.is_too_large()) else {
            return Ok(false);
        };
        let buffer = &stored.state;
        let spared = spared.and_then(|id| buffer.find(id)).map(|(serial, _)| serial);
        let victim = buffer.victim(spared, &mut seed).and_then(|(serial, _)| buffer.at(serial));
        let Some(victim) = victim else { return Ok(false) };
        let event = BufferEvent::Gone { at, ids: vec![victim.record.id.clone()], why: End::Evicted };
        commit_one::<Buffer, H>(node, host, key, event)?;
    }
    Ok(host.read::<Buffer>(key)?.is_some_and(|stored| stored.state.is_too_large()))
}

/// Applies an event that only this node needs, and schedules the next look.
pub fn note_wake<H: Host>(node: &mut Node, host: &mut H, key: Key, event: BufferEvent) -> Result<(), Error> {
    touch::<Buffer, H>(node, host, key, event, None)?;
    let wakes_at = host.read::<Buffer>(key)?.and_then(|stored| stored.state.wakes_at(false));
    if let Some(when) = wakes_at.filter(|_| !node.replica) {
        node.schedule.look_at(key.id(), when);
    }
    Ok(())
}

/// Only watchers wait for a chunk.
impl Serve for Buffer {
    type Plan = ();

    fn initial(node: &Node) -> Option<BufferEvent> {
        let config = node.settings.buffer_config();
        Some(BufferEvent::Configured { at: node.now(), config, size_bytes: config.min_bytes, stays: false })
    }

    fn plan<H: Host>(
        _node: &mut Node,
        _host: &mut H,
        _key: Key,
        _changes: &[Change<BufferEvent>],
    ) -> Result<(), Error> {
        Ok(())
    }

    /// Ends what is due, gives the buffer its size, evicts what is too much, and lets the windows
    /// of popularity slide, all in bounded parts. The rest is due at once. Returns how much work
    /// that was.
    fn wake<H: Host>(node: &mut Node, host: &mut H, key: &KeyId, _has_changed: bool) -> Result<usize, Error> {
        let (key, at): (Key, _) = (key.into(), node.now());
        let Some(stored) = host.read::<Buffer>(key)? else { return Ok(0) };
        let (events, mut work) = time::due(&stored.state, at, PER_LOOK);
        commit::<Buffer, H>(node, host, key, events)?;
        let conditions = Conditions { at, is_short: is_short(node, host, false) };
        let Some(stored) = host.read::<Buffer>(key)? else { return Ok(work) };
        let resized = decide::shrink(&stored.state, conditions);
        let evicted_before = stored.state.usage().evicted;
        commit::<Buffer, H>(node, host, key, resized)?;
        evict(node, host, key, None, PER_LOOK)?;
        // The last chunk may be gone, and the buffer with it.
        let Some(stored) = host.read::<Buffer>(key)? else { return Ok(work) };
        work += (stored.state.usage().evicted - evicted_before) as usize;
        touch::<Buffer, H>(node, host, key, BufferEvent::Looked { at }, None)?;
        note_wake(node, host, key, BufferEvent::Slid { at, most: SLID_PER_LOOK })?;
        Ok(work)
    }
}
