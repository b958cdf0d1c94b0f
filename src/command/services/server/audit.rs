//! `LTMC.AUDIT` shows the audit trail. [`crate::observe::audit`] says what the trail is.

use crate::command::engine::args::Args;
use crate::command::engine::budget::Budget;
use crate::command::engine::cx::{Cx, Outcome};
use crate::command::host::Host;
use crate::command::reply::Reply;
use crate::command::settings::Setting;
use crate::domain::value::bytes::whole_printable;
use crate::domain::Error;
use crate::observe::audit::{Class, Record};

/// How many records are shown by default.
const SHOWN: u64 = 10;

/// Which records are shown.
#[derive(Default)]
struct Filter<'a> {
    user: Option<&'a [u8]>,
    agent: Option<&'a [u8]>,
    key: Option<&'a [u8]>,
    class: Option<Class>,
}

impl Filter<'_> {
    fn takes(&self, record: &Record) -> bool {
        let is = |asked: Option<&[u8]>, has: Option<&[u8]>| asked.is_none_or(|asked| has == Some(asked));
        is(self.user, record.caller.user.as_deref())
            && is(self.agent, record.subject.agent)
            && is(self.key, record.key)
            && self.class.is_none_or(|class| record.class == class)
    }
}

/// `LTMC.AUDIT`
pub fn audit<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    let what = args.choice("subcommand")?;
    let behind = args.position();
    let (mut count, mut filter) = (SHOWN, Filter::default());
    if args.has_argument() {
        count = args.number("n", 0, Setting::AuditRingMax.row().max())?;
    }
    while let Some(word) = args.option()? {
        match word {
            "USER" => filter.user = Some(args.bytes("USER")?),
            "AGENT" => filter.agent = Some(args.bytes("AGENT")?),
            "KEY" => filter.key = Some(args.bytes("KEY")?),
            "CLASS" => filter.class = Some(Class::ALL[args.word("CLASS", &Class::WORDS)?]),
            _ => return Err(args.unread(word)),
        }
    }
    if what != "GET" && cx.args.len() > behind {
        return Err(Error::usage(format!("{what} takes no further arguments")));
    }
    let mut budget = Budget::of(cx.node);
    Ok(Outcome::Reply(match what {
        "GET" => cx.host.trail(&mut cx.node.audit, |trail| {
            let taken = trail.newest().filter(|(record, _)| filter.takes(record)).take(count as usize);
            budget.list(taken.map(|(record, chain)| record_map(trail.node(), &record, chain)))
        }),
        "LEN" => Reply::number(cx.host.trail(&mut cx.node.audit, |trail| trail.len() as u64)),
        "RESET" => {
            cx.host.trail(&mut cx.node.audit, |trail| trail.reset());
            Reply::Ok
        }
        _ => {
            cx.host.rotate_audit(&mut cx.node.audit, cx.node.settings.audit_file())?;
            Reply::Ok
        }
    }))
}

fn record_map(node: &str, record: &Record, chain: &str) -> Reply {
    let text =
        |bytes: Option<&[u8]>| bytes.map_or(Reply::Nil, |bytes| Reply::text(whole_printable(bytes).into_owned()));
    Reply::map([
        ("n", Reply::number(record.n)),
        ("at_ms", Reply::number(record.at)),
        ("node", Reply::text(node.to_string())),
        ("user", text(record.caller.user.as_deref())),
        ("client", Reply::number_or_nil(record.caller.client)),
        ("addr", record.caller.addr.as_deref().map_or(Reply::Nil, |addr| Reply::text(addr.to_string()))),
        ("agent", text(record.subject.agent)),
        ("command", Reply::text(record.command.to_string())),
        ("class", Reply::text(record.class.word())),
        ("db", Reply::number(record.db.into())),
        ("key", text(record.key)),
        ("object", text(record.subject.object)),
        ("before", Reply::number_or_nil(record.before)),
        ("after", Reply::number_or_nil(record.after)),
        ("outcome", Reply::text(record.ended.to_string())),
        ("us", Reply::number(record.us)),
        ("reqid", text(record.subject.reqid)),
        ("bytes", Reply::number(record.subject.bytes)),
        ("cause", Reply::number_or_nil(record.cause)),
        ("chain", Reply::text(chain.to_string())),
    ])
}
