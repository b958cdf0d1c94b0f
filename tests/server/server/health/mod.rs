//! `LTMC.HEALTH`, the automatic check of all values, and that each type of value mends what is
//! derived in it.

mod node;
mod repairs;
mod replicas;

use crate::harness::{wait_until, Reply, Server};

/// A value of one type, what to break in it, and how to see that it works.
pub struct Case {
    pub key: &'static str,
    pub type_name: &'static str,
    pub service: &'static str,
    pub setup: &'static [&'static str],
    pub part: &'static str,
    /// A read that needs the broken part, and the field of its reply that does not depend on the
    /// time.
    pub probe: (&'static str, Option<&'static str>),
    /// Whether the read shows that it is broken.
    pub shows: bool,
}

/// One of each type.
pub const CASES: &[Case] = &[
    Case {
        key: "lock",
        type_name: "ltmc-lock",
        service: "lock",
        setup: &["LTMC.LOCK lock a PATH src PX 600000"],
        part: "occupancy",
        probe: ("LTMC.LOCK lock b", None),
        // The other owner would get the lock, which could not be mended.
        shows: false,
    },
    Case {
        key: "agents",
        type_name: "ltmcagent",
        service: "registry",
        setup: &["LTMC.REGISTER agents a PX 600000 CAPS 1 go TAGS 1 eu"],
        part: "capable",
        probe: ("LTMC.AGENT.FIND agents CAPS 1 go", None),
        shows: true,
    },
    Case {
        key: "context",
        type_name: "ltmc-ctxt",
        service: "context",
        setup: &["LTMC.CTX.CREATE context DOC {\"a\":1}", "LTMC.CTX.UPDATE context ada SET /b 2"],
        part: "touches",
        probe: ("LTMC.CTX.GET context", Some("doc")),
        shows: false,
    },
    Case {
        key: "session",
        type_name: "ltmc-sess",
        service: "session",
        setup: &["LTMC.SESSION.SET session field value"],
        part: "text-bytes",
        probe: ("LTMC.SESSION.GET session field", None),
        shows: false,
    },
    Case {
        key: "cache",
        type_name: "ltmccache",
        service: "cache",
        setup: &["LTMC.CACHE.PUT cache tool [1] result DEPS 1 file"],
        part: "calls",
        probe: ("LTMC.CACHE.GET cache tool [1]", Some("status")),
        // It would be a miss, with a ticket.
        shows: false,
    },
    Case {
        key: "buffer",
        type_name: "ltmcchunk",
        service: "buffer",
        setup: &["LTMC.CHUNK.PUT buffer one data"],
        part: "ids",
        probe: ("LTMC.CHUNK.READ buffer one", None),
        // In debug builds a read checks its counts, too.
        shows: false,
    },
    Case {
        key: "mail",
        type_name: "ltmc-mail",
        service: "mail",
        setup: &["LTMC.MSG.SEND mail ada TO 1 bob hello"],
        part: "receivers",
        probe: ("LTMC.MSG.INFO mail", Some("messages")),
        shows: false,
    },
    Case {
        key: "flow",
        type_name: "ltmc-flow",
        service: "flow",
        setup: &["LTMC.TASK.ADD flow first p", "LTMC.TASK.ADD flow next p AFTER 1 first"],
        part: "ids",
        probe: ("LTMC.TASK.GET flow next", Some("state")),
        shows: true,
    },
];

impl Case {
    pub fn set_up(&self, server: &Server) {
        for line in self.setup {
            let reply = server.run(line);
            assert!(!reply.is_error() && !reply.is_nil(), "{line}: {reply:?}");
        }
    }

    pub fn break_it(&self, server: &Server) {
        server.run(&format!("LTMC.DEBUG BREAK {} {}", self.key, self.part)).ok();
    }

    pub fn probe(&self, server: &Server) -> Reply {
        let (line, field) = self.probe;
        let reply = server.run(line);
        assert!(!reply.is_error(), "{line}: {reply:?}");
        match field {
            Some(field) if !reply.is_nil() => reply.get(field).clone(),
            _ => reply,
        }
    }
}

pub fn digest(server: &Server, key: &str) -> String {
    format!("{:?}", server.run(&format!("DEBUG DIGEST-VALUE {key}")))
}

pub fn health(server: &Server) -> Reply {
    server.run("LTMC.HEALTH")
}

pub fn number(server: &Server, field: &str) -> i64 {
    health(server).get(field).int()
}

pub fn of_service(server: &Server, service: &str, field: &str) -> Reply {
    health(server).get("services").get(service).get(field).clone()
}

pub fn state(server: &Server, service: &str) -> String {
    of_service(server, service, "state").text().to_string()
}

pub fn has_reason(server: &Server, reason: &str) -> bool {
    health(server).get("reasons").texts().iter().any(|known| known == reason)
}

/// Sets how fast the values are checked; 0 stops the check.
pub fn check(server: &Server, rate: u32) {
    server.run(&format!("CONFIG SET ltmc.check-rate {rate}")).ok();
}

/// Waits until the automatic check has gone over all keys once more.
pub fn wait_round(server: &Server) {
    // The current round may have begun before the change that it is to see, so it takes two.
    for _ in 0..2 {
        let before = number(server, "checked");
        wait_until("the check went on", || number(server, "checked") > before);
    }
}

/// A server that checks nothing until it is told to.
pub fn quiet() -> Server {
    Server::builder().arg("ltmc.check-rate", 0).start()
}
