//! The commands of sessions: what they take, what they decide, what they answer. The rules are in
//! `domain::session` and `domain::versioned`.

use crate::command::engine::args::Args;
use crate::command::engine::budget::{refuse_repeated, Budget};
use crate::command::engine::commit::{commit, commit_one};
use crate::command::engine::cx::{Cx, Outcome};
use crate::command::engine::job::Steps;
use crate::command::host::Host;
use crate::command::reply::{Reply, Size};
use crate::command::services::versioned::commands::{
    apply_change, common_fields, create as create_value, existing, keep, live, parse_meta, remembered, shown_record,
    LifeArgs,
};
use crate::command::services::versioned::serve::end as end_session;
use crate::command::settings::Setting;
use crate::domain::json::text::Room;
use crate::domain::limits::{COMMAND_KEY_BYTES_MAX, ID_BYTES_MAX, PARTICIPANTS_END};
use crate::domain::session::decide::Bounds;
use crate::domain::session::{decide as fields_rules, Fields, Session};
use crate::domain::versioned::{decide, Created, Life, Shared, Status, VersionedEvent};
use crate::domain::{Bytes, Error};

fn bounds<H: Host>(cx: &Cx<H>) -> Bounds {
    Bounds {
        fields_max: cx.node.settings.get(Setting::SessionFieldsMax),
        bytes_max: cx.node.settings.get(Setting::SessionBytesMax),
    }
}

/// `LTMC.SESSION.CREATE`
pub fn create<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("key")?;
    let (mut participants, mut state_at, mut meta) = (Vec::new(), None, Bytes::EMPTY);
    let (mut life, mut registry, mut request) = (LifeArgs::default(), None, None);
    let depth_max = cx.node.settings.get(Setting::JsonDepthMax) as usize;
    while let Some(word) = args.option()? {
        match word {
            "PARTICIPANTS" => participants = parse_agents(&mut args)?,
            "STATE" => {
                state_at = Some(args.position());
                args.bytes("STATE")?;
            }
            "META" => meta = parse_meta(&mut args, depth_max)?,
            "PX" | "EX" => life.ttl_ms = Some(args.duration(word)?),
            "SLIDING" => life.is_sliding = true,
            "MAXLIFE" => life.max_life_ms = Some(args.millis("MAXLIFE", 1)?),
            "REGISTRY" => registry = Some(args.registry()?),
            "REQID" => request = Some(args.request_id(b"")?),
            _ => return Err(args.unread(word)),
        }
    }
    if let Some(answered) = remembered::<Fields, H>(cx, cx.key(1), request.as_ref())? {
        return Ok(answered);
    }
    let (at, keep) = (cx.now(), keep(cx.node));
    let life = life.begin(at)?;
    let state = state_at.map_or_else(|| Ok(Shared::default()), |at| first_state(cx, at))?;
    let participants = with_roles(participants);
    let created = Created { at, owner: Bytes::EMPTY, state, version: 1, meta, participants, life, keep, stays: true };
    create_value(cx, cx.key(1), created, registry.as_ref(), request)
}

/// `STATE json`, which is argument `at`.
fn first_state<H: Host>(cx: &mut Cx<H>, at: usize) -> Result<Shared<Fields>, Error> {
    let (bounds, depth_max) = (bounds(cx), cx.node.settings.get(Setting::JsonDepthMax) as usize);
    let bytes = cx.args[at].len();
    cx.check_bytes(Setting::SessionBytesMax, "STATE", bytes)?;
    cx.prepare("STATE", Steps::of_json(bytes), move |args| {
        let mut room = Room::new(bounds.bytes_max as usize, depth_max);
        fields_rules::first_state(room.read("STATE", args[at])?, &bounds).map(Shared::from)
    })
}

fn with_roles(agents: Vec<Bytes>) -> Vec<(Bytes, Bytes)> {
    agents.into_iter().map(|agent| (agent, Bytes::EMPTY)).collect()
}

fn parse_agents(args: &mut Args) -> Result<Vec<Bytes>, Error> {
    let mut agents = Vec::new();
    for agent in args.list("PARTICIPANTS", 0, PARTICIPANTS_END)? {
        Error::check_length("a participant", agent.len(), ID_BYTES_MAX)?;
        agents.push(Bytes::from(*agent));
    }
    agents.sort_unstable();
    agents.dedup();
    Ok(agents)
}

/// `LTMC.SESSION.SET`
pub fn set<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let (key, at) = (cx.key(1), cx.now());
    // Every word behind the key belongs to a pair: a field, or an option with its one value.
    let is_paired = cx.args.len() % 2 == 0;
    if !is_paired {
        let syntax = cx.spec.syntax();
        return Err(Error::usage(format!("a field has no value; syntax: {syntax}")));
    }
    let mut args = Args::at(cx.spec, cx.args, 2);
    let fields = args.values(1).chunks_exact(2).map(|pair| (pair[0], pair[1]));
    let (mut expected, mut ttl_ms, mut request) = (None, None, None);
    while let Some(word) = args.option()? {
        match word {
            "IFVERSION" => expected = Some(args.version("IFVERSION")?),
            "PX" | "EX" => ttl_ms = Some(args.duration(word)?),
            "REQID" => request = Some(args.request_id(b"")?),
            _ => return Err(args.unread(word)),
        }
    }
    if let Some(answered) = remembered::<Fields, H>(cx, key, request.as_ref())? {
        return Ok(answered);
    }
    let (bounds, keep) = (bounds(cx), keep(cx.node));
    // Copied before the key is looked up: the processor writes the copy to memory meanwhile, and
    // need not wait for that when the copy moves on.
    let change = fields_rules::change_to(fields.clone());
    let session = live::<Fields, H>(cx.node, cx.host, key)?;
    let change = fields_rules::set(session, fields, change, expected, &bounds)?;
    if let Some(version) = session.map(|session| session.version() + 1) {
        let changes = !change.is_empty();
        let event = changes.then(|| VersionedEvent::Changed { version, at, by: Bytes::EMPTY, change, ttl_ms });
        return apply_change::<Fields, H>(cx, key, event, ttl_ms, request);
    }
    let fields = change.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let state = Fields::from(fields.collect::<std::collections::BTreeMap<_, _>>()).into();
    let life = Life::new(at, ttl_ms, false, None);
    let (owner, meta, participants) = (Bytes::EMPTY, Bytes::EMPTY, Vec::new());
    let created = Created { at, owner, state, version: 1, meta, participants, life, keep, stays: false };
    create_value(cx, key, created, None, request)
}

/// A value with fewer bytes is copied at once.
const SHORT_BYTES: usize = 64 * 1024;

/// `LTMC.SESSION.GET`
pub fn get<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let key = cx.key(1);
    let names = &cx.args[2..];
    refuse_repeated("field", names)?;
    let session = live::<Fields, H>(cx.node, cx.host, key)?;
    if names.is_empty() {
        let Some(fields) = session.map(Session::snapshot) else { return Ok(Outcome::Reply(Reply::Nil)) };
        return get_all(cx, fields);
    }
    let value_of = |name: &&[u8]| session.and_then(|session| session.state().get(name));
    if let [name] = names {
        let value = value_of(name);
        if value.is_none_or(|value| value.len() < SHORT_BYTES) {
            return Ok(Outcome::Reply(value.map_or(Reply::Nil, |value| Reply::bytes(value))));
        }
    }
    let sizes = || names.iter().map(|name| Size::value(value_of(name).map_or(0, |value| value.len())));
    Budget::of(cx.node).check(&format!("{} fields", names.len()), sizes())?;
    let (steps, fields) = (Steps::of_reply(sizes().sum()), session.map(Session::snapshot));
    let names: Vec<Bytes> = names.iter().map(|name| Bytes::from(*name)).collect();
    cx.answer_with(&format!("a reply with {} fields", names.len()), steps, move || {
        let value_of = |name: &Bytes| fields.as_ref().and_then(|fields| fields.get(name));
        let mut values = names.iter().map(|name| value_of(name).map_or(Reply::Nil, |value| Reply::bytes(value)));
        Ok(match names.len() {
            1 => values.next().unwrap_or(Reply::Nil),
            _ => Reply::Array(values.collect()),
        })
    })
}

fn get_all<H: Host>(cx: &mut Cx<H>, fields: Shared<Fields>) -> Result<Outcome, Error> {
    let size = Size { text_bytes: fields.text_bytes(), elements: 2 * fields.count() };
    Budget::of(cx.node).check_sum("all fields", fields.count(), size)?;
    cx.answer_with("a reply with all fields", Steps::of_reply(size), move || {
        let all = fields.iter().map(|(name, value)| (Reply::bytes(name), Reply::bytes(value)));
        Ok(Reply::Pairs(all.collect()))
    })
}

/// `LTMC.SESSION.DEL`
pub fn delete<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let (key, at) = (cx.key(1), cx.now());
    let Some(session) = live::<Fields, H>(cx.node, cx.host, key)? else {
        return Ok(Outcome::Reply(Reply::Integer(0)));
    };
    let (event, count) = match fields_rules::delete(session, &cx.args[2..], at)? {
        Some((event, count)) => (Some(event), count),
        None => (decide::used(session, None, at), 0),
    };
    commit::<Session, H>(cx.node, cx.host, key, event)?;
    Ok(Outcome::Reply(Reply::number(count as u64)))
}

/// `LTMC.SESSION.INFO`
pub fn info<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let key = cx.key(1);
    let (mut budget, expires_at) = (Budget::of(cx.node), cx.host.expires_at(key));
    let stored = shown_record::<Fields, H>(cx.node, cx.host, key)?;
    let Some(stored) = stored else { return Ok(Outcome::Reply(Reply::Nil)) };
    let session = &stored.state;
    let resources = budget.list(session.resources().keys().map(|resource| Reply::bytes(resource)));
    let fields = [
        ("status", Reply::text(session.status().word())),
        ("version", Reply::number(session.version())),
        ("fields", Reply::number(session.state().count() as u64)),
        ("bytes", Reply::number(session.state().text_bytes() as u64)),
        ("resources_count", Reply::number(session.resources().len() as u64)),
        ("resources", resources),
    ];
    let all = fields.into_iter().chain(common_fields(stored, expires_at, &mut budget));
    Ok(Outcome::Reply(Reply::Map(all.map(|(name, value)| (name.into(), value)).collect())))
}

/// `LTMC.SESSION.STATUS`
pub fn status<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("key")?;
    let (key, at) = (cx.key(1), cx.now());
    let new_status = if args.has_argument() { Some(args.word("status", &Status::WORDS)?) } else { None };
    acting(cx, &mut args)?;
    let Some(new_status) = new_status else {
        let session = shown_record::<Fields, H>(cx.node, cx.host, key)?.map(|stored| &stored.state);
        return Ok(Outcome::Reply(session.map_or(Reply::Nil, |session| Reply::text(session.status().word()))));
    };
    let status = Status::ALL[new_status];
    let session = existing::<Fields, H>(cx.node, cx.host, key)?;
    match decide::set_status(session, status, at)? {
        Some(VersionedEvent::StatusChanged { status: Status::Terminated, .. }) => {
            let grace_ms = cx.node.settings.get(Setting::SessionEndGraceMs);
            end_session::<Fields, H>(cx.node, cx.host, key, grace_ms)?;
        }
        Some(event) => commit_one::<Session, H>(cx.node, cx.host, key, event)?,
        None => {
            let used = decide::used(session, None, at);
            commit::<Session, H>(cx.node, cx.host, key, used)?;
        }
    }
    Ok(Outcome::Reply(Reply::text(status.word())))
}

/// `LTMC.SESSION.OWN`
pub fn own<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let (key, at) = (cx.key(1), cx.now());
    let max = [Setting::SessionResourcesMax, Setting::SessionBytesMax].map(|setting| cx.node.settings.get(setting));
    let (resources, by) = parse_resources(cx)?;
    if resources.contains(&key.name) {
        return Err(Error::usage("a session cannot own itself"));
    }
    let session = existing::<Fields, H>(cx.node, cx.host, key)?;
    let (owned, count) = decide::own(session, resources, by, max.into(), at)?;
    let event = owned.or_else(|| decide::used(session, None, at));
    commit::<Session, H>(cx.node, cx.host, key, event)?;
    Ok(Outcome::Reply(Reply::number(count as u64)))
}

/// `LTMC.SESSION.DISOWN`
pub fn disown<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let (key, at) = (cx.key(1), cx.now());
    let (resources, by) = parse_resources(cx)?;
    let Some(session) = live::<Fields, H>(cx.node, cx.host, key)? else {
        return Ok(Outcome::Reply(Reply::Integer(0)));
    };
    let (disowned, count) = decide::disown(session, resources, by, at);
    let event = disowned.or_else(|| decide::used(session, None, at));
    commit::<Session, H>(cx.node, cx.host, key, event)?;
    Ok(Outcome::Reply(Reply::number(count as u64)))
}

/// The resources of a command about them, and the acting agent.
fn parse_resources<'a, H: Host>(cx: &Cx<'a, H>) -> Result<(&'a [&'a [u8]], Bytes), Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("key")?;
    let resources = args.values(1);
    let by = acting(cx, &mut args)?;
    if resources.is_empty() {
        return Err(args.missing("resource"));
    }
    if let Some(long) = resources.iter().find(|resource| resource.len() > COMMAND_KEY_BYTES_MAX) {
        Error::check_length_max("a resource", long.len(), COMMAND_KEY_BYTES_MAX)?;
    }
    Ok((resources, by))
}

/// `[AGENT a]` as the only remaining option: the acting agent.
fn acting<H: Host>(cx: &Cx<H>, args: &mut Args) -> Result<Bytes, Error> {
    let mut agent = None;
    while args.option()?.is_some() {
        agent = Some(args.id("AGENT")?);
    }
    cx.acting(agent)
}

/// `LTMC.SESSION.END`
pub fn end<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("key")?;
    let mut grace_ms = cx.node.settings.get(Setting::SessionEndGraceMs);
    let mut agent = None;
    while let Some(word) = args.option()? {
        match word {
            "GRACE" => grace_ms = args.millis("GRACE", 0)?,
            "AGENT" => agent = Some(args.id("AGENT")?),
            _ => return Err(args.unread(word)),
        }
    }
    cx.acting(agent)?;
    let key = cx.key(1);
    if live::<Fields, H>(cx.node, cx.host, key)?.is_none() {
        return Ok(Outcome::Reply(Reply::Integer(0)));
    }
    let has_ended = end_session::<Fields, H>(cx.node, cx.host, key, grace_ms)?;
    Ok(Outcome::Reply(Reply::Integer(has_ended.into())))
}
