//! The filter that `LTMC.AGENT.FIND` and `LTMC.AGENT.CLAIM` share.

use crate::command::engine::args::Args;
use crate::domain::limits::{AGENT_LABELS_MAX, CAPABILITY_BYTES_MAX, CAPACITY_MAX, EXCLUDED_MAX, ID_BYTES_MAX};
use crate::domain::registry::filter::{MetaWanted, Statuses};
use crate::domain::registry::find::Sort;
use crate::domain::registry::{meta, Filter, Status};
use crate::domain::value::bytes;
use crate::domain::value::capability::Requirement;
use crate::domain::{Bytes, Error};

/// The filter and the order that were read so far.
#[derive(Debug)]
pub struct FindArgs {
    /// Which agents are looked for.
    pub filter: Filter,
    /// Which of them come first.
    pub sort: Sort,
}

impl FindArgs {
    /// Any agents, in the order of `sort`.
    pub fn new(sort: Sort) -> Self {
        Self { filter: Filter::ANY, sort }
    }

    /// Reads the values of an option of the filter. A command that has one reads its other options
    /// itself.
    pub fn read(&mut self, word: &str, args: &mut Args) -> Result<(), Error> {
        let filter = &mut self.filter;
        match word {
            "CAPS" => filter.caps = requirements("CAPS", args)?,
            "ANYCAP" => filter.any_caps = requirements("ANYCAP", args)?,
            "TAGS" => filter.tags = labels("TAGS", 1, args)?,
            "STATUS" => filter.statuses = Some(statuses(args)?),
            "META" => {
                let path = args.bytes("the path after META")?;
                if !(path.is_empty() || path[0] == b'/') {
                    let path = bytes::printable(path);
                    return Err(Error::usage(format!("META path is '{path}', allowed are JSON Pointers: /a/b/0")));
                }
                filter.meta = Some(MetaWanted(meta::wanted(path, args.bytes("the value after META path")?)));
            }
            "MINFREE" => filter.free_min = args.number("MINFREE", 0, CAPACITY_MAX)? as u32,
            "EXCLUDE" => {
                let ids = args.list("EXCLUDE", 1, EXCLUDED_MAX)?.iter();
                // No agent has a longer id.
                filter.excluded = ids.filter(|id| id.len() <= ID_BYTES_MAX).map(|id| Bytes::from(*id)).collect();
                filter.excluded.sort_unstable();
                filter.excluded.dedup();
            }
            "SORT" => {
                self.sort = match args.choice("sort")? {
                    "LATENCY" => Sort::Latency,
                    "RANDOM" => Sort::Random,
                    _ => Sort::Load,
                }
            }
            _ => return Err(args.unread(word)),
        }
        Ok(())
    }
}

fn requirements(name: &str, args: &mut Args) -> Result<Vec<Requirement>, Error> {
    args.list(name, 1, AGENT_LABELS_MAX)?.iter().map(|text| Requirement::parse(text)).collect()
}

fn statuses(args: &mut Args) -> Result<Statuses, Error> {
    let count = args.number("the number of values of STATUS", 1, Status::ALL.len() as u64)?;
    let mut statuses = Statuses::NONE;
    for _ in 0..count {
        statuses = statuses.with(Status::ALL[args.word("status", &Status::WORDS)?]);
    }
    Ok(statuses)
}

/// At least `min` tags, in order and without duplicates.
pub fn labels(name: &str, min: usize, args: &mut Args) -> Result<Vec<Bytes>, Error> {
    let mut labels: Vec<Bytes> = Vec::new();
    for label in args.list(name, min, AGENT_LABELS_MAX)? {
        Error::check_length(&format!("a value of {name}"), label.len(), CAPABILITY_BYTES_MAX)?;
        labels.push(Bytes::from(*label));
    }
    labels.sort_unstable();
    labels.dedup();
    Ok(labels)
}
