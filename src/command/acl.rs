//! The ready ACL lines: for each role of the command table who has it, and what its line has beside
//! the commands of LTMC. `make docs` writes the lines into `redis.conf.example` and the operating
//! page.

use super::engine::roles::Roles;
use super::engine::spec::Spec;

/// A ready role.
#[derive(Debug)]
pub struct Role {
    /// Its bit.
    pub bit: Roles,
    /// Who has it, in one sentence.
    pub about: &'static str,
    /// The keys it may touch.
    pub keys: &'static str,
    /// The channels it may listen to.
    pub channels: &'static str,
    /// The rules for commands of the server itself, in groups.
    pub server: &'static [&'static str],
}

/// What clients, their pools and their cluster clients send of themselves. All of it is known to
/// Redis 7.0; `CLIENT` is named as a whole, since a line with `+client|setinfo` is refused there.
const CONNECTION: &str = "+ping +echo +hello +auth +reset +quit +select +command +info +role +time +wait +readonly \
    +readwrite +asking +cluster|slots +cluster|shards +cluster|nodes +cluster|info +cluster|myid +cluster|keyslot +multi \
    +exec +discard +watch +unwatch +acl|whoami";
/// `CLIENT` about one's own connection. `TRACKING` is left out, since `BCAST` tells of all keys.
const OWN_CLIENT: &str = "+client -client|kill -client|list -client|pause -client|unpause -client|unblock \
    -client|tracking";
const SEE_KEYS: &str = "+exists +type +ttl +pttl +expiretime +pexpiretime";
const END_KEYS: &str = "+expire +pexpire +expireat +pexpireat +persist";
const DELETE_KEYS: &str = "+del +unlink";
const SEE_ALL_KEYS: &str = "+scan +dbsize +memory|usage";
const LISTEN: &str = "+subscribe +unsubscribe +psubscribe +punsubscribe +ssubscribe +sunsubscribe";
const OPERATE: &str = "+client +memory +object +slowlog +latency +config|get +config|set +config|rewrite \
    +config|resetstat +save +bgsave +bgrewriteaof +lastsave +module|list";
const SEE_USERS: &str = "+acl|log +acl|list +acl|users +acl|getuser +acl|cat";

/// All events of keys. `PSUBSCRIBE` asks for one of these patterns letter by letter.
const EVENTS: &str = "&__key*__:* &__keyspace@0__:* &__keyevent@0__:*";

impl Role {
    /// All of them, in the order of the pages.
    pub const ALL: &'static [Role] = &[
        Role {
            bit: Roles::AGENT,
            about: "A member of a team: works with the keys of its team.",
            keys: "~{team}:*",
            channels: "",
            server: &[CONNECTION, OWN_CLIENT, SEE_KEYS],
        },
        Role {
            bit: Roles::COORDINATOR,
            about: "The leader of a team: also makes and stops flows, sizes buffers and caches, takes agents out, \
                    breaks locks and deletes keys.",
            keys: "~{team}:*",
            channels: "",
            server: &[CONNECTION, OWN_CLIENT, SEE_KEYS, END_KEYS, DELETE_KEYS],
        },
        Role {
            bit: Roles::OBSERVER,
            about: "Somebody who watches: reads everything, changes nothing.",
            keys: "%R~*",
            channels: EVENTS,
            server: &[CONNECTION, OWN_CLIENT, SEE_KEYS, SEE_ALL_KEYS, LISTEN],
        },
        Role {
            bit: Roles::OPERATOR,
            about: "Somebody who keeps the server going: takes anything from anybody, repairs keys, changes settings.",
            keys: "~*",
            channels: EVENTS,
            server: &[CONNECTION, SEE_KEYS, SEE_ALL_KEYS, END_KEYS, DELETE_KEYS, LISTEN, OPERATE],
        },
        Role {
            bit: Roles::AUDITOR,
            about: "Somebody who looks who did what: sees the audit trail, users, denials and health, and no key.",
            keys: "",
            channels: "",
            server: &[CONNECTION, OWN_CLIENT, SEE_USERS],
        },
    ];

    /// Its name, and that of the user in its line.
    pub fn name(&self) -> &'static str {
        self.bit.names().next().unwrap_or_default()
    }

    /// Its line, with its commands of `table` one by one, as every server understands it.
    pub fn by_names<'a>(&self, table: impl Iterator<Item = &'a Spec>) -> String {
        self.line(&table.filter(|spec| spec.roles.has(self.bit)).map(|spec| rule('+', spec)).collect::<Vec<_>>())
    }

    /// The same line with `@ltmc`, less what the role has not. `None` if that is no shorter.
    pub fn by_category<'a>(&self, table: impl Iterator<Item = &'a Spec>) -> Option<String> {
        let (own, others): (Vec<&Spec>, Vec<&Spec>) = table.partition(|spec| spec.roles.has(self.bit));
        let only_reads = own.iter().all(|spec| !spec.writes());
        let of_category = ["+@ltmc"].into_iter().chain(only_reads.then_some("-@write")).map(String::from);
        let left = others.iter().filter(|spec| !only_reads || !spec.writes());
        let rules: Vec<String> = of_category.chain(left.map(|spec| rule('-', spec))).collect();
        (rules.len() < own.len()).then(|| self.line(&rules))
    }

    fn line(&self, ltmc: &[String]) -> String {
        let parts = ["user", self.name(), "on >change-me resetchannels", self.channels, self.keys, "-@all"];
        let parts = parts.into_iter().chain(ltmc.iter().map(|rule| &rule[..])).chain(self.server.iter().copied());
        parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
    }
}

fn rule(sign: char, spec: &Spec) -> String {
    format!("{sign}{}", spec.name.to_ascii_lowercase())
}
