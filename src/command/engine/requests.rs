//! Requests with `REQID`: the one place where a retry is told from another request, where it is
//! answered, and where an answer is remembered.

use super::spec::{KeysAt, Spec};
use super::walk::Walk;
use crate::command::host::{Access, Host, Key};
use crate::command::node::Node;
use crate::domain::algorithm::xxhash::xxh64;
use crate::domain::entity::idempotency::{Answer, Answered, Remembered, RequestId};
use crate::domain::{Change, Entity, Error};

/// The options that a retry may leave out, or give other values: the id has told already which
/// request it is, and a retry waits for what is left of the time.
const OPTIONS_LEFT_OUT: [&str; 2] = ["REQID", "BLOCK"];

/// Old names of commands, and what they are called now.
const OLD_NAMES: [(&str, &str); 1] = [("LTMC.CTX.ROLLBACK", "LTMC.CTX.RESTORE")];

/// The digest by which a retry is told from another request: of the command, what is in place, and
/// the options. It is the same in every version and on every machine, since it is saved.
///
/// Options may come in any order, but those that may be repeated are done one after the other.
/// Values count as they are written. The key that is written is left out: it may be renamed.
pub fn digest(spec: &'static Spec, args: &[&[u8]]) -> u64 {
    let name = OLD_NAMES.iter().find(|(old, _)| *old == spec.name).map_or(spec.name, |(_, name)| name);
    let written = spec.keys.iter().find_map(|key| match key.at {
        KeysAt::Index(at) if !matches!(key.access, Access::Read) => Some(at as usize),
        _ => None,
    });
    let (first, options) = Walk::new(spec, args).parts();
    let in_place = (1..first.min(args.len())).filter(|at| Some(*at) != written).map(|at| xxh64(args[at]));
    let mut ordered: Vec<u64> = [xxh64(name.as_bytes())].into_iter().chain(in_place).collect();
    let mut unordered = 0u64;
    for (option, range) in options {
        if OPTIONS_LEFT_OUT.contains(&option.word) {
            continue;
        }
        let values = args[range].iter().skip(1).map(|value| xxh64(value));
        let digest = digest_of([xxh64(option.word.as_bytes())].into_iter().chain(values));
        if option.is_repeated {
            ordered.push(digest);
        } else {
            unordered = unordered.wrapping_add(digest);
        }
    }
    digest_of(ordered.into_iter().chain([unordered]))
}

fn digest_of(parts: impl Iterator<Item = u64>) -> u64 {
    xxh64(&parts.flat_map(u64::to_le_bytes).collect::<Vec<u8>>())
}

/// What `key` remembers as the answer to a request. It is looked up before anything is decided:
/// what the request expects may no longer hold, because of the request itself. Errs if another
/// request with the same id was answered, or waits.
///
/// Whoever is told it has what was granted. So that stays, even if the client is gone to which it
/// was granted.
pub fn answered<E: Entity, H: Host>(
    node: &mut Node,
    host: &mut H,
    key: Key,
    request: Option<&RequestId>,
) -> Result<Option<Answer>, Error> {
    let Some(request) = request else { return Ok(None) };
    let (bounds, now) = (node.settings.request_bounds(), node.now());
    let known = host.read::<E>(key)?.and_then(|stored| stored.requests()?.get(request));
    if let Some(known) = known.filter(|known| !bounds.is_over(known.at, now)) {
        request.check_same(&known.request)?;
        let answer = known.answer.clone();
        node.waits.told_retry(key, request);
        return Ok(Some(answer));
    }
    if !node.queues.is_empty() {
        node.queues.check_request(&key.id(), request)?;
    }
    Ok(None)
}

/// The change by which `key` remembers the answer to a request, and forgets others for it. `None`
/// without a request.
pub fn remember<E: Entity, H: Host>(
    node: &Node,
    host: &mut H,
    key: Key,
    request: Option<&RequestId>,
    answer: Answer,
) -> Result<Option<Change<E::Event>>, Error> {
    let Some(request) = request else { return Ok(None) };
    let (bounds, at) = (node.settings.request_bounds(), node.now());
    let known = host.read::<E>(key)?.and_then(|stored| stored.requests());
    let forgets = known.map(|known| known.forgets(request, &bounds, at)).unwrap_or_default();
    let what = Remembered { request: request.clone(), answer, at };
    Ok(Some(Change::Answered(Box::new(Answered { what, forgets }))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::services::lock::spec::LOCK;
    use crate::command::services::mail::spec::SEND;

    fn of(spec: &'static Spec, line: &str) -> u64 {
        digest(spec, &line.split(' ').map(str::as_bytes).collect::<Vec<_>>())
    }

    /// Digests are saved. A value that changes here makes every retry of a request that an older
    /// version answered an error.
    #[test]
    fn digests_are_the_same_in_every_version() {
        assert_eq!(of(&LOCK, "LTMC.LOCK key ada"), 9506944704796556931);
        assert_eq!(of(&LOCK, "LTMC.LOCK key ada SHARED LIMIT 3 PATH src PX 1000 BLOCK 5 REQID r"), 9739739639494756821);
        assert_eq!(of(&SEND, "LTMC.MSG.SEND mail ada TO 2 bob cy text REQID r"), 17618432620807758744);
    }

    #[test]
    fn a_retry_may_name_its_options_in_another_order_and_wait_for_less() {
        let first = of(&LOCK, "LTMC.LOCK key ada SHARED PX 1000 BLOCK 5000 REQID r");
        assert_eq!(of(&LOCK, "ltmc.lock renamed ada px 1000 REQID r shared BLOCK 1"), first);
        for other in ["bob SHARED PX 1000", "ada PX 1000", "ada SHARED PX 1001", "ada SHARED EX 1"] {
            assert_ne!(of(&LOCK, &format!("LTMC.LOCK key {other} REQID r")), first, "{other}");
        }
    }
}
