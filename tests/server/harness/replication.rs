//! Replicas, and what is sent to them.

use super::client::Client;
use super::reply::Reply;
use super::server::Server;
use super::wait_until;

impl Server {
    /// A server like this one that replicates it. Its first sync is done.
    #[track_caller]
    pub fn replica(&self) -> Server {
        let replica = self.spec().arg("replicaof", format!("127.0.0.1 {}", self.port())).start();
        replica.wait_synced(self);
        replica
    }

    /// Makes this server a replica of `primary` and waits for the first sync.
    #[track_caller]
    pub fn follow(&self, primary: &Server) {
        self.cmd(&["REPLICAOF", "127.0.0.1", &primary.port().to_string()]).ok();
        self.wait_synced(primary);
    }

    /// Makes this replica a primary.
    #[track_caller]
    pub fn promote(&self) {
        self.cmd(&["REPLICAOF", "NO", "ONE"]).ok();
        wait_until("the replica is a primary", || self.info("replication")["role"] == "master");
    }

    /// Waits until this replica has applied everything that `primary` has written so far.
    #[track_caller]
    pub fn wait_synced(&self, primary: &Server) {
        let target = primary.info_int("replication", "master_repl_offset");
        wait_until(&format!("the replica has applied offset {target}"), || {
            let info = self.info("replication");
            let up = info.get("master_link_status").is_some_and(|status| status == "up");
            let offset = info.get("slave_repl_offset").and_then(|offset| offset.parse::<i64>().ok());
            up && offset.is_some_and(|offset| offset >= target)
        });
    }
}

/// Commands as a replica gets them, each a list of arguments.
pub type Stream = Vec<Vec<Vec<u8>>>;

/// What `action` sends to replicas, without the housekeeping (SELECT, PING, REPLCONF). The work of
/// a timer counts only if `action` waits for it.
#[track_caller]
pub fn replication_stream(server: &Server, action: impl FnOnce()) -> Stream {
    let mut tap = ReplicationTap::attach(server);
    action();
    tap.take(server)
}

/// The stream as text, one command a line, bytes escaped: for `assert_eq!` and for failure
/// messages.
pub fn show_stream(stream: &[Vec<Vec<u8>>]) -> Vec<String> {
    let show = |command: &Vec<Vec<u8>>| {
        let args: Vec<String> = command.iter().map(|arg| arg.escape_ascii().to_string()).collect();
        args.join(" ")
    };
    stream.iter().map(show).collect()
}

/// A connection that behaves like a replica just enough to be sent the stream.
pub struct ReplicationTap {
    client: Client,
    /// The server's replication offset at the first byte of this connection's input.
    origin: i64,
}

impl ReplicationTap {
    #[track_caller]
    pub fn attach(server: &Server) -> ReplicationTap {
        let mut client = server.try_client().expect("a server that runs can be reached");
        client.send(&["PSYNC", "?", "-1"]);
        let line = client.read_line();
        let offset = line.strip_prefix("+FULLRESYNC ").and_then(|rest| rest.split(' ').nth(1));
        let offset: i64 = offset.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no full sync: {line}"));
        // Empty lines keep the connection alive while the RDB is made. Without `capa eof` it comes
        // with its length.
        let header = std::iter::repeat_with(|| client.read_line()).find(|line| !line.is_empty()).unwrap_or_default();
        let length = header.strip_prefix('$').and_then(|text| text.parse().ok());
        client.skip(length.unwrap_or_else(|| panic!("no length before the RDB: {header}")));
        let origin = offset - client.consumed() as i64;
        ReplicationTap { client, origin }
    }

    /// What has been sent to replicas since the last call, or since this tap was made.
    #[track_caller]
    pub fn take(&mut self, server: &Server) -> Stream {
        let mut stream = self.take_with_selects(server);
        stream.retain(|command| !command[0].eq_ignore_ascii_case(b"SELECT"));
        stream
    }

    /// The same, with the databases that it goes to.
    #[track_caller]
    pub fn take_with_selects(&mut self, server: &Server) -> Stream {
        let target = server.info_int("replication", "master_repl_offset");
        let mut stream = Stream::new();
        while self.origin + (self.client.consumed() as i64) < target {
            let command = command_of(&self.client.recv());
            if !matches!(command[0].to_ascii_uppercase().as_slice(), b"PING" | b"REPLCONF") {
                stream.push(command);
            }
        }
        stream
    }
}

#[track_caller]
fn command_of(reply: &Reply) -> Vec<Vec<u8>> {
    reply.array().iter().map(|arg| arg.bytes().to_vec()).collect()
}
