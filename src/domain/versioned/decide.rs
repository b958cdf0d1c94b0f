//! What may be done to a versioned value of any kind. Each function validates everything, and
//! returns events or an error.

use super::event::VersionedEvent;
use super::history::{is_whole_number, CheckpointId, Version};
use super::{Resource, State, Status, Versioned};
use crate::domain::limits::RESOURCE_GIVERS_MAX;
use crate::domain::value::bytes::printable;
use crate::domain::{Bytes, Code, Error, Fence, Millis};

/// Errs if it has ended and cannot change.
pub fn check_open<S: State>(value: &Versioned<S>) -> Result<(), Error> {
    if value.status() != Status::Terminated {
        return Ok(());
    }
    Err(Error::new(Code::BadState, "it is terminated: nothing changes any more"))
}

/// Errs if `expected` is not the current version. The text gives the current version and where
/// something has changed since, so that a client can redo its work without asking first.
pub fn check_version<S: State>(
    value: Option<&Versioned<S>>,
    expected: Option<Version>,
    changed: impl FnOnce(&Versioned<S>, Version) -> Option<String>,
) -> Result<(), Error> {
    let current = value.map_or(0, Versioned::version);
    let Some(expected) = expected.filter(|expected| *expected != current) else { return Ok(()) };
    let since = match value.and_then(|value| changed(value, expected)) {
        Some(changed) => format!("; changed since: {changed}"),
        None => String::new(),
    };
    Err(Error::new(Code::Conflict, format!("version {expected} is not current, the current one is {current}{since}")))
}

/// Errs if the history is full: pinned checkpoints need all its room.
pub fn check_history<S: State>(value: &Versioned<S>) -> Result<(), Error> {
    if !value.history().is_full() {
        return Ok(());
    }
    let (history, changes_max) = (value.history(), value.history().changes_max());
    let (bytes, changes, max) = (history.bytes(), history.changes(), history.keep().bytes_max);
    let text = if changes > changes_max {
        format!(
            "the way back to pinned checkpoints takes {changes} changes, at most {changes_max} are allowed; prune some"
        )
    } else {
        format!("pinned checkpoints need {bytes} bytes of history, at most {max} are allowed (setting ltmc.history-bytes-max when the key was made)")
    };
    Err(Error::new(Code::Limit, text))
}

/// Makes a checkpoint of the current version. Its name is no whole number: that would be the number
/// of another checkpoint, now or later.
pub fn checkpoint<S: State>(
    value: &Versioned<S>,
    name: Bytes,
    is_pinned: bool,
    checkpoints_max: u64,
    at: Millis,
) -> Result<VersionedEvent<S>, Error> {
    if is_whole_number(&name) {
        let text = format!(
            "option NAME is '{}', allowed are texts that are no whole number: a number means the checkpoint with this id",
            name.show()
        );
        return Err(Error::usage(text));
    }
    check_open(value)?;
    check_history(value)?;
    if value.history().checkpoints().len() as u64 >= checkpoints_max {
        return Err(Error::limit("checkpoints-max", "one more checkpoint (prune some)", checkpoints_max));
    }
    let id = value.history().next_checkpoint();
    Ok(VersionedEvent::Checkpointed { at, id, name, is_pinned })
}

/// The checkpoint with this id, or the newest with this name.
pub fn find_checkpoint<S: State>(value: &Versioned<S>, text: &[u8]) -> Result<(CheckpointId, Version), Error> {
    let found = value.history().find_checkpoint(text);
    found.map(|(id, checkpoint)| (id, checkpoint.version)).ok_or_else(|| {
        let what = if is_whole_number(text) { "id; a number is never a name" } else { "name" };
        Error::usage(format!("there is no checkpoint '{}', none has this {what}", printable(text)))
    })
}

/// What a write does that changes nothing: it makes no version, and nobody is told. It is a use all
/// the same, and may give the value another time to live.
pub fn used<S: State>(value: &Versioned<S>, ttl_ms: Option<Millis>, at: Millis) -> Option<VersionedEvent<S>> {
    let is_renewed = ttl_ms.is_some() || value.life().is_sliding;
    is_renewed.then_some(VersionedEvent::Touched { at, ttl_ms })
}

/// Restores a checkpoint, as a new version. `None` if the state is the same already.
pub fn restore<S: State>(
    value: &Versioned<S>,
    checkpoint: CheckpointId,
    by: &[u8],
    at: Millis,
) -> Result<Option<VersionedEvent<S>>, Error> {
    check_open(value)?;
    let version = value.history().checkpoint(checkpoint).map(|checkpoint| checkpoint.version);
    if version.is_some_and(|version| S::is_as_at(value, version)) {
        return Ok(None);
    }
    check_history(value)?;
    Ok(Some(VersionedEvent::Restored { version: value.version() + 1, at, by: Bytes::from(by), checkpoint }))
}

/// An agent joins, or changes its role. `None` if nothing changes.
pub fn join<S: State>(
    value: &Versioned<S>,
    agent: &[u8],
    role: Option<&[u8]>,
    participants_max: u64,
    at: Millis,
) -> Result<Option<VersionedEvent<S>>, Error> {
    check_open(value)?;
    let known = value.participants().get(agent);
    if known.is_none() && value.participants().len() as u64 >= participants_max {
        return Err(Error::limit("participants-max", "one more participant", participants_max));
    }
    let role = match (role, known) {
        (Some(role), _) => Bytes::from(role),
        (None, known) => known.map(|known| known.role.clone()).unwrap_or_default(),
    };
    let is_new = known.is_none_or(|known| known.role != role);
    Ok(is_new.then(|| VersionedEvent::Joined { at, agent: Bytes::from(agent), role }))
}

/// An agent leaves. `None` if it does not participate, or if the value has ended.
pub fn leave<S: State>(value: &Versioned<S>, agent: &[u8], at: Millis) -> Option<VersionedEvent<S>> {
    let agent = Bytes::from(agent);
    let takes_part = check_open(value).is_ok() && value.participants().contains_key(&agent);
    takes_part.then_some(VersionedEvent::Left { at, agent })
}

/// The giver `by` gives keys to it. Also returns how many of them nobody had given before.
pub fn own<S: State>(
    value: &Versioned<S>,
    resources: &[&[u8]],
    by: Bytes,
    (resources_max, bytes_max): (u64, u64),
    at: Millis,
) -> Result<(Option<VersionedEvent<S>>, usize), Error> {
    check_open(value)?;
    let given_bytes: usize = resources.iter().map(|name| name.len()).sum();
    let bytes = given_bytes + value.resources().keys().map(|name| name.len()).sum::<usize>();
    if bytes as u64 > bytes_max {
        let what = format!("{bytes} bytes of names of the keys that one session owns");
        return Err(Error::limit("session-bytes-max", &what, bytes_max));
    }
    let mut given = in_order(resources);
    let known = |name: &Bytes| value.resources().get(name);
    let count = given.iter().filter(|name| known(name).is_none()).count();
    if (value.resources().len() + count) as u64 > resources_max {
        return Err(Error::limit("session-resources-max", "so many resources of one session", resources_max));
    }
    given.retain(|name| known(name).is_none_or(|resource| !resource.is_given_by(&by)));
    if let Some(name) =
        given.iter().find(|name| known(name).is_some_and(|one| one.givers().len() >= RESOURCE_GIVERS_MAX))
    {
        let text = format!("'{}' was given by {RESOURCE_GIVERS_MAX} agents, more are not allowed", name.show());
        return Err(Error::new(Code::Limit, text));
    }
    Ok(((!given.is_empty()).then_some(VersionedEvent::Owned { at, by, resources: given }), count))
}

/// The giver `by` takes keys back, or all givers do if it is empty: those keys that were given. An
/// ended value has no such keys, even before they are given back.
pub fn disown<S: State>(
    value: &Versioned<S>,
    resources: &[&[u8]],
    by: Bytes,
    at: Millis,
) -> (Option<VersionedEvent<S>>, usize) {
    let mut disowned = in_order(resources);
    let is_open = check_open(value).is_ok();
    let is_given = |resource: &Resource| by.is_empty() || resource.is_given_by(&by);
    disowned.retain(|name| is_open && value.resources().get(name).is_some_and(is_given));
    let count = disowned.len();
    ((count > 0).then_some(VersionedEvent::Disowned { at, by, resources: disowned }), count)
}

/// Names of keys, sorted and without duplicates.
fn in_order(resources: &[&[u8]]) -> Vec<Bytes> {
    // What all begin with need not be compared again and again.
    let begin = common_beginning(resources);
    let mut names = resources.to_vec();
    names.sort_unstable_by(|one, other| one[begin..].cmp(&other[begin..]));
    names.dedup_by(|one, other| one[begin..] == other[begin..]);
    names.into_iter().map(Bytes::from).collect()
}

/// With how many equal bytes all of them begin.
fn common_beginning(names: &[&[u8]]) -> usize {
    let Some((first, rest)) = names.split_first() else { return 0 };
    rest.iter().fold(first.len(), |begin, name| {
        if name.starts_with(&first[..begin]) {
            return begin;
        }
        first[..begin].iter().zip(*name).take_while(|(one, other)| one == other).count()
    })
}

/// Changes the status. `None` if it is the same.
pub fn set_status<S: State>(
    value: &Versioned<S>,
    status: Status,
    at: Millis,
) -> Result<Option<VersionedEvent<S>>, Error> {
    let now = value.status();
    if status == now {
        return Ok(None);
    }
    if !now.next().contains(&status) {
        let text = format!("it is {} and cannot become {}", now.word(), status.word());
        return Err(Error::new(Code::BadState, text));
    }
    Ok(Some(VersionedEvent::StatusChanged { at, status }))
}

/// Ends it; it is removed after a grace. `None` if it has ended. What belongs to it and was granted
/// up to `fence` is then given back.
pub fn end<S: State>(value: &Versioned<S>, grace_ms: Millis, fence: Fence, at: Millis) -> Option<VersionedEvent<S>> {
    if value.status() == Status::Terminated {
        return None;
    }
    // 0 is at once.
    let gone_at = if grace_ms == 0 { 0 } else { at.saturating_add(grace_ms) };
    if value.resources().is_empty() {
        return Some(VersionedEvent::Ended { at, gone_at });
    }
    Some(VersionedEvent::Ending { at, gone_at, fence })
}

/// Errs if an ended value under this name has not given back all its resources: another one
/// cannot begin before.
pub fn check_returned<S: State>(value: &Versioned<S>) -> Result<(), Error> {
    if value.owes().is_none() {
        return Ok(());
    }
    let text =
        format!("it has ended and {} of its resources are still to be given back; try again", value.resources().len());
    Err(Error::new(Code::BadState, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::session::{Fields, Session};
    use crate::domain::versioned::{Created, Keep, Life};
    use crate::domain::Entity;

    fn session() -> Session {
        let (owner, meta, participants, life) = (Bytes::EMPTY, Bytes::EMPTY, Vec::new(), Life::default());
        let (state, keep) = (Fields::default().into(), Keep { versions_max: 9, bytes_max: 1 << 20 });
        let created = Created { at: 1, owner, state, version: 1, meta, participants, life, keep, stays: true };
        let mut session = Session::default();
        session.apply(&VersionedEvent::Created(Box::new(created)));
        session
    }

    #[test]
    fn names_are_in_order_whatever_they_begin_with() {
        let cases: [&[&str]; 6] =
            [&[], &["b"], &["ab", "a", "abc", "ab"], &["x/2", "x/10", "x/1"], &["b", "a", ""], &["same", "same"]];
        for names in cases {
            let expected: std::collections::BTreeSet<Bytes> = names.iter().map(|name| Bytes::from(*name)).collect();
            let given: Vec<&[u8]> = names.iter().map(|name| name.as_bytes()).collect();
            assert_eq!(in_order(&given), Vec::from_iter(expected), "{names:?}");
        }
    }

    #[test]
    fn a_number_is_an_id_even_where_an_old_value_has_it_as_a_name() {
        let mut session = session();
        for (id, name) in [(1, "3"), (2, "0"), (3, "x"), (4, "x"), (5, "07")] {
            let event = VersionedEvent::Checkpointed { at: 1, id, name: Bytes::from(name), is_pinned: false };
            // An old file or primary may hold them.
            assert_eq!(Session::admit(&event), Ok(()));
            session.apply(&event);
        }
        assert_eq!(session.check(), Ok(()));
        let found = |text: &str| find_checkpoint(&session, text.as_bytes()).ok().map(|(id, _)| id);
        assert_eq!(["1", "2", "3", "x", "5"].map(found), [Some(1), Some(2), Some(3), Some(4), Some(5)]);
        for text in ["", "0", "6", "07", "+1", "-1", "18446744073709551616"] {
            assert_eq!(found(text), None, "{text}");
        }
        let named = |name: &str| checkpoint(&session, Bytes::from(name), false, 9, 2).is_ok();
        for name in ["0", "7", "007", "+7", "-7", "18446744073709551616"] {
            assert!(!named(name), "{name}");
        }
        for name in ["", "x", "v7", "7a", "1.0", "+", "-", "7-", "٣"] {
            assert!(named(name), "{name}");
        }
    }
}
