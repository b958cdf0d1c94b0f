//! A command that waits, as its service describes it, and clients that wait with it in line.

use super::*;

/// The client that has what the others wait for, by its number, and what it was told when it got
/// it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Holder {
    pub n: usize,
    pub token: i64,
}

/// What becomes of waiting clients when their key goes.
pub enum Loss {
    /// It serves the first of them.
    Serves,
    /// They continue to wait for a key of that name. This command makes one that serves the first.
    WaitsOn(fn(&str) -> String),
    /// All are told.
    Tells(fn(&Reply) -> bool),
}

/// A command that waits.
pub struct Waiting {
    /// The name of its counters in INFO.
    pub service: &'static str,
    /// The setting that bounds how many clients wait on one key.
    pub bound: &'static str,
    /// Makes the key such that it serves nobody at once. Returns what the client with number 0 has
    /// then.
    pub prepare: fn(&mut Client, &str) -> i64,
    /// The command of client `n`, without BLOCK.
    pub wait: fn(&str, usize) -> String,
    /// What has to be done to serve the next in line.
    pub serve: fn(&str, Holder) -> String,
    /// What a served client was told.
    pub token: fn(&Reply) -> i64,
    /// Whether the answer says that there is nothing now.
    pub is_nothing: fn(&Reply) -> bool,
    /// Whether it waits for a list, which is empty if nothing comes; else that is nil.
    pub is_list: bool,
    pub loss: Loss,
    /// Whether what serves one serves all, and changes nothing: it is news.
    pub is_news: bool,
    /// Whether what a client has ends with its connection: no other server can have the same.
    pub is_tied: bool,
    /// Makes the key `#`, of another type.
    pub other_type: &'static str,
}

impl Waiting {
    #[track_caller]
    pub fn counted(&self, server: &Server, what: &str) -> i64 {
        server.info_int("ltmc", &format!("ltmc_{}_{what}", self.service))
    }

    /// What a client has is the same on all servers.
    #[track_caller]
    pub fn assert_persisted(&self, server: &Server, replica: &Server) {
        replica.wait_synced(server);
        if self.is_tied {
            assert_same("live replica", &server.dataset(), &replica.dataset());
        } else {
            assert_persisted_everywhere(server, &[replica]);
        }
    }

    /// The command of client `n`, waiting without a limit.
    pub fn blocks(&self, key: &str, n: usize) -> String {
        format!("{} BLOCK 0", (self.wait)(key, n))
    }
}

/// Clients that wait on `k`, numbered from 1, in this order.
pub struct Line<'a> {
    pub how: &'a Waiting,
    pub server: Server,
    pub driver: Client,
    pub clients: Vec<Client>,
    pub holder: Holder,
}

impl<'a> Line<'a> {
    #[track_caller]
    pub fn start(how: &'a Waiting) -> Line<'a> {
        Line::on(how, Server::start())
    }

    #[track_caller]
    pub fn on(how: &'a Waiting, server: Server) -> Line<'a> {
        let mut driver = server.client();
        let token = (how.prepare)(&mut driver, "k");
        Line::behind(how, server, driver, token, 3)
    }

    /// The same where something is prepared already.
    #[track_caller]
    pub fn behind(how: &'a Waiting, server: Server, driver: Client, token: i64, count: usize) -> Line<'a> {
        let mut clients = server.clients(count);
        server.block_in_turn(&mut clients, |at| how.blocks("k", at + 1));
        Line { how, server, driver, clients, holder: Holder { n: 0, token } }
    }

    pub fn client(&mut self, n: usize) -> &mut Client {
        &mut self.clients[n - 1]
    }

    pub fn kills(&self, n: usize) -> String {
        format!("CLIENT KILL ID {}", self.clients[n - 1].id())
    }

    /// What serves the next one.
    pub fn serves(&self) -> String {
        (self.how.serve)("k", self.holder)
    }

    #[track_caller]
    pub fn serve(&mut self) {
        let line = self.serves();
        let reply = self.driver.run(&line);
        assert!(!reply.is_error(), "{line}: {reply:?}");
    }

    /// Client `n` has been served, and has what the others wait for.
    #[track_caller]
    pub fn is_served(&mut self, n: usize) {
        let reply = self.client(n).recv();
        self.was_served(n, &reply);
    }

    #[track_caller]
    pub fn was_served(&mut self, n: usize, reply: &Reply) {
        assert!(!reply.is_error() && !reply.is_nil(), "{n}: {reply:?}");
        let token = (self.how.token)(reply);
        assert!(self.how.is_news || token > self.holder.token, "{token} is not above {:?}", self.holder);
        self.holder = Holder { n, token };
        assert_eq!(self.client(n).run("PING"), Reply::Simple("PONG".into()));
    }

    /// These are served, one after the other or all at once. Then no client waits.
    #[track_caller]
    pub fn goes_on(mut self, with: &[usize]) -> Server {
        wait_until("those wait", || waiting(&self.server) == with.len() as i64);
        for (at, n) in with.iter().enumerate() {
            if at == 0 || !self.how.is_news {
                self.serve();
            }
            self.is_served(*n);
        }
        self.ends()
    }

    /// No client waits any more. Returns the server, empty.
    #[track_caller]
    pub fn ends(self) -> Server {
        let idle = || waiting(&self.server) == 0 && self.server.info_int("clients", "blocked_clients") == 0;
        wait_until("nobody waits", idle);
        self.server.run("FLUSHALL").ok();
        self.server
    }

    /// The key is gone. What its service says of that happens to all waiting clients.
    #[track_caller]
    pub fn goes_on_without_key(mut self) -> Server {
        match self.how.loss {
            Loss::Serves => {
                self.is_served(1);
                self.goes_on(&[2, 3])
            }
            Loss::WaitsOn(again) => {
                assert_eq!(waiting(&self.server), 3);
                let reply = self.driver.run(&again("k"));
                assert!(!reply.is_error(), "{reply:?}");
                // A token of the deleted key cannot be compared with later ones.
                self.holder.token = 0;
                self.is_served(1);
                self.goes_on(&[2, 3])
            }
            Loss::Tells(is_right) => {
                for client in &mut self.clients {
                    let reply = client.recv();
                    assert!(is_right(&reply), "{reply:?}");
                }
                self.ends()
            }
        }
    }
}

/// `line` as a script that calls it.
pub fn script(line: &str) -> String {
    let words: Vec<String> = line.split_whitespace().map(|word| format!("'{word}'")).collect();
    format!("return redis.call({})", words.join(","))
}

/// The same line in a transaction, a script and a guard: what each answers.
#[track_caller]
pub fn indirectly(client: &mut Client, way: usize, line: &str) -> Reply {
    match way {
        0 => client.pipeline(&["MULTI", "SET before 1", line, "EXEC"])[3].array()[1].clone(),
        1 => client.cmd(&["EVAL", &script(line), "0"]),
        _ => {
            let fence = client.run("LTMC.LOCK guard me PX 600000").int();
            client.run(&format!("LTMC.GUARD guard {fence} {line}"))
        }
    }
}
