//! The commands that read chunk buffers. They note the use of chunks on this node only: a read is
//! never replicated.

use super::serve::note_wake;
use crate::command::engine::args::Args;
use crate::command::engine::budget::{refuse_repeated, Budget};
use crate::command::engine::commit::touch;
use crate::command::engine::cx::{Cx, Outcome};
use crate::command::engine::job::Steps;
use crate::command::engine::page::{Items, Paging};
use crate::command::host::{Host, Key};
use crate::command::reply::{Reply, Size};
use crate::domain::algorithm::xxhash::xxh64;
use crate::domain::buffer::chunk::{Chunk, Phase, Serial};
use crate::domain::buffer::popularity::Window;
use crate::domain::buffer::{decide, Buffer, BufferEvent};
use crate::domain::limits::{CHUNKS_READ_MAX, CHUNK_BYTES_END, CHUNK_HASHES_MAX, CHUNK_HOLDERS_SHOWN_MAX, RESULTS_MAX};
use crate::domain::value::bytes::printable;
use crate::domain::{Blob, Entity, Error, Millis};

/// How many chunks `LTMC.CHUNK.POPULAR` lists by default.
const POPULAR_DEFAULT: u64 = 10;

fn buffer<'a, H: Host>(cx: &'a mut Cx<H>, key: Key) -> Result<Option<&'a Buffer>, Error> {
    Ok(cx.host.read::<Buffer>(key)?.map(|stored| &stored.state))
}

/// The content of a readable chunk. Notes the use of it, or that it was looked for in vain.
fn use_content<H: Host>(cx: &mut Cx<H>, key: Key, id: &[u8]) -> Result<Option<Blob>, Error> {
    let at = cx.now();
    let Some(buffer) = buffer(cx, key)? else { return Ok(None) };
    let is_first = !buffer.counts_reads();
    let found = buffer.readable(id, at).map(|(serial, chunk)| (serial, chunk.content.clone()));
    let event = match &found {
        Some((serial, _)) => BufferEvent::Used { at, serial: *serial },
        None => BufferEvent::Missed { hash: xxh64(id) },
    };
    if is_first {
        // From now on there are windows that slide.
        note_wake(cx.node, cx.host, key, event)?;
    } else {
        touch::<Buffer, H>(cx.node, cx.host, key, event, None)?;
    }
    Ok(found.map(|(_, content)| content))
}

/// `LTMC.CHUNK.READ`
pub fn read<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("buffer")?;
    let (id, key) = (args.id("id")?, cx.key(1));
    if cx.args.len() == 3 {
        let content = use_content(cx, key, id)?;
        return send(cx, content.map_or(Reply::Nil, Reply::Blob));
    }
    let offset = args.number("offset", 0, CHUNK_BYTES_END as u64)? as usize;
    let length = args.number("length", 0, CHUNK_BYTES_END as u64)? as usize;
    args.finish()?;
    let content = use_content(cx, key, id)?;
    let part = content.map_or(Reply::Nil, |content| {
        let start = offset.min(content.len());
        let end = start.saturating_add(length).min(content.len());
        Reply::BlobPart(content, start..end)
    });
    send(cx, part)
}

/// Contents are not copied before they are sent; many bytes are sent by a thread.
fn send<H: Host>(cx: &mut Cx<H>, contents: Reply) -> Result<Outcome, Error> {
    cx.answer_with("a reply with all of this", Steps::of_reply(contents.size()), || Ok(contents))
}

/// `LTMC.CHUNK.MGET`
pub fn mget<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let (key, now) = (cx.key(1), cx.now());
    let args = cx.args;
    let ids = &args[2..];
    if ids.len() > CHUNKS_READ_MAX {
        let text = format!("the number of ids is '{}', allowed are 1 to {CHUNKS_READ_MAX}", ids.len());
        return Err(Error::usage(text));
    }
    refuse_repeated("id", ids)?;
    let mut budget = Budget::of(cx.node);
    // Checked before any use is noted.
    if let Some(buffer) = buffer(cx, key)? {
        let bytes = |id: &&[u8]| buffer.readable(id, now).map_or(0, |(_, chunk)| chunk.content.len());
        let sizes = ids.iter().map(|id| Size::value(bytes(id)));
        budget.check(&format!("{} chunks", ids.len()), sizes)?;
    }
    let contents = ids.iter().map(|id| use_content(cx, key, id).map(|found| found.map_or(Reply::Nil, Reply::Blob)));
    let contents = Reply::Array(contents.collect::<Result<_, _>>()?);
    send(cx, contents)
}

/// `LTMC.CHUNK.HAVE`
pub fn have<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("buffer")?;
    let hashes = args.list("hash", 1, CHUNK_HASHES_MAX)?;
    args.finish()?;
    let hashes = hashes.iter().map(|hash| parse_hash(hash)).collect::<Result<Vec<u64>, Error>>()?;
    let (key, now, mut budget) = (cx.key(1), cx.now(), Budget::of(cx.node));
    let buffer = buffer(cx, key)?;
    let found = |hash: &u64| buffer.and_then(|buffer| buffer.with_hash(*hash, now));
    let replies = hashes.iter().map(|hash| found(hash).map_or(Reply::Nil, |chunk| Reply::bytes(&chunk.record.id)));
    Ok(Outcome::Reply(budget.whole("the ids of all chunks", replies)?))
}

fn parse_hash(text: &[u8]) -> Result<u64, Error> {
    let is_hash = text.len() == 16 && text.iter().all(u8::is_ascii_hexdigit);
    let hash = std::str::from_utf8(text).ok().filter(|_| is_hash).and_then(|text| u64::from_str_radix(text, 16).ok());
    hash.ok_or_else(|| {
        let given = printable(text);
        Error::usage(format!("hash is '{given}', allowed are the 16 hexadecimal digits of an XXH64"))
    })
}

fn hash_text(hash: u64) -> Reply {
    Reply::text(format!("{hash:016x}"))
}

/// `LTMC.CHUNK.INFO`
pub fn info<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("buffer")?;
    let (id, key, now) = (args.id("id")?, cx.key(1), cx.now());
    let mut budget = Budget::of(cx.node);
    let reply = buffer(cx, key)?.and_then(|buffer| {
        let (serial, chunk) = buffer.live(id, now)?;
        Some(describe(buffer, serial, chunk, now, &mut budget))
    });
    Ok(Outcome::Reply(reply.unwrap_or(Reply::Nil)))
}

fn describe(buffer: &Buffer, serial: Serial, chunk: &Chunk, now: Millis, budget: &mut Budget) -> Reply {
    let record = &chunk.record;
    let ends_at = match record.phase {
        Phase::Unsealed { ends_at, .. } => Some(ends_at),
        _ => record.ends_at,
    };
    let pins = record
        .pins
        .iter()
        .filter(|pin| pin.until > now)
        .map(|pin| Reply::map([("agent", Reply::bytes(&pin.agent)), ("until_at_ms", Reply::number(pin.until))]));
    let [one_hour, four_hours, one_day] = buffer.reads_of(serial, now).map(|reads| Reply::number(reads.into()));
    Reply::map([
        ("id", Reply::bytes(&record.id)),
        ("state", Reply::text(decide::state_word(chunk))),
        ("version", Reply::number(record.version)),
        ("bytes", Reply::number(chunk.content.len() as u64)),
        ("hash", if chunk.is_shareable() { hash_text(chunk.hash) } else { Reply::Nil }),
        ("shared", Reply::Integer(buffer.is_shared(serial).into())),
        ("owner", Reply::bytes_or_nil(&record.owner)),
        ("meta", Reply::bytes_or_nil(&record.meta)),
        ("created_at_ms", Reply::number(record.created_at)),
        ("changed_at_ms", Reply::number(record.changed_at)),
        ("ends_at_ms", Reply::number_or_nil(ends_at)),
        ("retained_by", budget.list(record.retained_by.iter().map(|agent| Reply::bytes(agent)))),
        ("pins", budget.list(pins)),
        ("reads_1h", one_hour),
        ("reads_4h", four_hours),
        ("reads_24h", one_day),
        ("memory_bytes", Reply::number((record.own_bytes() + chunk.content.heap_bytes()) as u64)),
    ])
}

/// `LTMC.CHUNK.LIST`
pub fn list<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("buffer")?;
    let (mut agent, mut page) = (None, Paging::all(Items::Chunks));
    while let Some(word) = args.option()? {
        match word {
            "AGENT" => agent = Some(args.id("AGENT")?),
            _ => page = Paging::read(Items::Chunks, word, &mut args)?,
        }
    }
    let (key, now, mut budget) = (cx.key(1), cx.now(), Budget::of(cx.node));
    let Some(buffer) = buffer(cx, key)? else { return Ok(Outcome::Reply(page.nothing())) };
    let is_shown = |(_, chunk): &(Serial, &Chunk)| !chunk.is_expired(now);
    let show = |(_, chunk): (Serial, &Chunk)| Reply::bytes(&chunk.record.id);
    let mut ids = |chunks: &mut dyn Iterator<Item = (Serial, &Chunk)>| {
        page.list(&mut budget, chunks, |(serial, _)| *serial, is_shown, show)
    };
    Ok(Outcome::Reply(match agent {
        Some(agent) => ids(&mut buffer.chunks_of(agent, page.start()))?,
        None => ids(&mut buffer.chunks_from(page.start()))?,
    }))
}

/// `LTMC.CHUNK.POPULAR`
pub fn popular<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("buffer")?;
    let (mut window, mut limit) = (Window::OneHour, POPULAR_DEFAULT);
    while let Some(word) = args.option()? {
        match word {
            "WINDOW" => window = Window::ALL[args.word("WINDOW", &Window::WORDS)?],
            "LIMIT" => limit = args.number("LIMIT", 1, RESULTS_MAX)?,
            _ => return Err(args.unread(word)),
        }
    }
    let (key, at) = (cx.key(1), cx.now());
    if buffer(cx, key)?.is_none() {
        return Ok(Outcome::Reply(Reply::Array(Vec::new())));
    }
    touch::<Buffer, H>(cx.node, cx.host, key, BufferEvent::Asked { at }, None)?;
    let mut budget = Budget::of(cx.node);
    let most = buffer(cx, key)?.into_iter().flat_map(|buffer| buffer.popular(window, at)).take(limit as usize);
    let pair =
        |(chunk, reads): (&Chunk, u32)| Reply::Array(vec![Reply::bytes(&chunk.record.id), Reply::number(reads.into())]);
    Ok(Outcome::Reply(budget.list(most.map(pair))))
}

/// `LTMC.CHUNK.STATS`
pub fn stats<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let (key, now, mut budget) = (cx.key(1), cx.now(), Budget::of(cx.node));
    let Some(stored) = cx.host.read::<Buffer>(key)? else { return Ok(Outcome::Reply(Reply::Nil)) };
    let (buffer, count) = (&stored.state, |count: usize| Reply::number(count as u64));
    let (config, totals, usage) = (buffer.config(), buffer.totals(), buffer.usage());
    let ratio = match totals.physical_bytes {
        0 => 1.0,
        physical => totals.logical_bytes as f64 / physical as f64,
    };
    let holders = buffer
        .agents()
        .take(CHUNK_HOLDERS_SHOWN_MAX)
        .map(|(agent, chunks)| Reply::map([("agent", Reply::bytes(agent)), ("chunks", count(chunks))]));
    Ok(Outcome::Reply(Reply::map([
        ("chunks", count(buffer.count())),
        ("unsealed", count(totals.unsealed)),
        ("retained", count(totals.retained)),
        ("pinned", count(totals.pinned)),
        ("evictable", count(buffer.loose())),
        ("logical_bytes", Reply::number(totals.logical_bytes)),
        ("physical_bytes", Reply::number(totals.physical_bytes)),
        ("ratio", Reply::text(format!("{ratio:.3}"))),
        ("used_bytes", Reply::number(totals.used_bytes())),
        ("held_bytes", Reply::number(totals.held_bytes())),
        ("working_bytes", Reply::number(buffer.working_bytes(now))),
        ("size_bytes", Reply::number(buffer.size_bytes())),
        ("min_bytes", Reply::number(config.min_bytes)),
        ("max_bytes", Reply::number(config.max_bytes)),
        ("policy", Reply::text(config.policy_word())),
        ("stays", Reply::Integer(buffer.stays().into())),
        ("hits", Reply::number(usage.hits)),
        ("misses", Reply::number(usage.misses)),
        ("evicted", Reply::number(usage.evicted)),
        ("agents", budget.list(holders)),
        ("memory_bytes", count(buffer.memory_bytes())),
        ("revision", Reply::number(stored.revision)),
    ])))
}
