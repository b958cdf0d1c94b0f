//! One connection to a server.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use super::reply::{decode, encode, Reply};
use super::shapes::Follower;
use super::tls::{Certificates, Transport};
use super::PATIENCE;

/// A connection that can send without waiting for the reply. Dropping it closes the connection.
pub struct Client {
    stream: Transport,
    /// What has come in and was not consumed yet.
    buffer: Vec<u8>,
    /// RESP3 pushes that came in between replies.
    pushes: VecDeque<Reply>,
    /// Bytes of replies handed out so far.
    consumed: u64,
    id: Option<i64>,
    /// Checks each reply against the shape of its command.
    follower: Follower,
}

enum Arrival {
    Reply(Reply),
    Nothing,
    Closed,
}

impl Client {
    /// Connects to a port on this machine.
    #[track_caller]
    pub fn connect(port: u16) -> Client {
        Client::connect_over(port, None)
    }

    /// The same, with TLS if there are certificates.
    #[track_caller]
    pub(super) fn connect_over(port: u16, tls: Option<&Certificates>) -> Client {
        let client = Client::try_connect_over(port, tls);
        let mut client = client.unwrap_or_else(|e| panic!("cannot connect to port {port}: {e}"));
        // Asked now: a blocked client cannot ask any more. An error means that it has to log in
        // first.
        client.learn_id();
        client
    }

    /// Connects without a first command.
    pub fn try_connect(port: u16) -> std::io::Result<Client> {
        Client::try_connect_over(port, None)
    }

    /// The same, with TLS if there are certificates.
    pub(super) fn try_connect_over(port: u16, tls: Option<&Certificates>) -> std::io::Result<Client> {
        let stream = Transport::connect(port, tls)?;
        let (buffer, pushes, follower) = (Vec::new(), VecDeque::new(), Follower::default());
        Ok(Client { stream, buffer, pushes, consumed: 0, id: None, follower })
    }

    /// The server's id for this connection, as in CLIENT LIST.
    #[track_caller]
    pub fn id(&self) -> i64 {
        self.id.expect("the id is not known: the connection was not logged in when it was made")
    }

    /// Logs in as an ACL user.
    #[track_caller]
    pub fn auth(&mut self, user: &str, password: &str) {
        self.cmd(&["AUTH", user, password]).ok();
        self.learn_id();
    }

    /// Changes to RESP3.
    #[track_caller]
    pub fn resp3(&mut self) {
        self.cmd(&["HELLO", "3"]).into_result().expect("HELLO 3");
    }

    #[track_caller]
    fn learn_id(&mut self) {
        if let Reply::Int(id) = self.cmd(&["CLIENT", "ID"]) {
            self.id = Some(id);
        }
    }

    /// Runs one command; a server error is a [`Reply::Error`].
    #[track_caller]
    pub fn cmd<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Reply {
        self.send(args);
        self.recv()
    }

    /// Runs one command; a server error is an `Err` with the whole line.
    #[track_caller]
    pub fn try_cmd<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Result<Reply, String> {
        self.cmd(args).into_result()
    }

    /// Runs one command; `None` if the server goes away instead of answering.
    pub(super) fn ask(&mut self, line: &str) -> Option<Reply> {
        self.try_send_line(line).then_some(())?;
        match self.arrival(PATIENCE) {
            Arrival::Reply(reply) => Some(reply),
            Arrival::Nothing | Arrival::Closed => None,
        }
    }

    /// Runs one command written as a line. Arguments are separated by blanks and cannot be quoted.
    #[track_caller]
    pub fn run(&mut self, line: &str) -> Reply {
        self.cmd(&words(line))
    }

    /// Sends all lines in one write, then reads all replies.
    #[track_caller]
    pub fn pipeline<L: AsRef<str>>(&mut self, lines: &[L]) -> Vec<Reply> {
        let mut bytes = Vec::new();
        for line in lines {
            self.encode(&words(line.as_ref()), &mut bytes);
        }
        self.write(&bytes);
        lines.iter().map(|_| self.recv()).collect()
    }

    /// Sends a command and does not wait for the reply.
    #[track_caller]
    pub fn send<A: AsRef<[u8]>>(&mut self, args: &[A]) {
        let mut bytes = Vec::new();
        self.encode(args, &mut bytes);
        self.write(&bytes);
    }

    /// [`Client::send`] for a command written as a line.
    #[track_caller]
    pub fn send_line(&mut self, line: &str) {
        self.send(&words(line));
    }

    /// Sends bytes as they are, RESP or not. The shapes of the replies on this connection are not
    /// checked any more.
    #[track_caller]
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.follower.lose();
        self.write(bytes);
    }

    /// The bytes of a command whose reply will be checked.
    fn encode<A: AsRef<[u8]>>(&mut self, args: &[A], bytes: &mut Vec<u8>) {
        self.follower.sends(args);
        encode(args, bytes);
    }

    #[track_caller]
    fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap_or_else(|e| panic!("cannot send to the server: {e}"));
    }

    /// The next reply; panics if none comes within [`PATIENCE`].
    #[track_caller]
    pub fn recv(&mut self) -> Reply {
        self.recv_for(PATIENCE).unwrap_or_else(|| panic!("no reply within {PATIENCE:?}"))
    }

    /// The next reply, or `None` if none comes within `ms` milliseconds.
    #[track_caller]
    pub fn recv_within(&mut self, ms: u64) -> Option<Reply> {
        self.recv_for(Duration::from_millis(ms))
    }

    /// The next reply, or `None` if the server closes the connection instead. Panics if it does
    /// neither.
    #[track_caller]
    pub fn recv_or_end(&mut self) -> Option<Reply> {
        match self.arrival(PATIENCE) {
            Arrival::Reply(reply) => Some(reply),
            Arrival::Closed => None,
            Arrival::Nothing => panic!("neither a reply nor an end within {PATIENCE:?}"),
        }
    }

    /// Sends a command written as a line; false if the server has closed the connection.
    pub fn try_send_line(&mut self, line: &str) -> bool {
        let mut bytes = Vec::new();
        self.encode(&words(line), &mut bytes);
        self.stream.write_all(&bytes).is_ok()
    }

    #[track_caller]
    fn recv_for(&mut self, limit: Duration) -> Option<Reply> {
        match self.arrival(limit) {
            Arrival::Reply(reply) => Some(reply),
            Arrival::Nothing => None,
            Arrival::Closed => panic!("the server closed the connection"),
        }
    }

    /// The next RESP3 push, or `None` if none comes within `ms` milliseconds. Panics if a reply
    /// comes instead.
    #[track_caller]
    pub fn push_within(&mut self, ms: u64) -> Option<Reply> {
        let deadline = Instant::now() + Duration::from_millis(ms);
        while self.pushes.is_empty() {
            if let Some(reply) = self.take_reply() {
                panic!("expected a push, got the reply {reply:?}");
            }
            if self.pushes.is_empty() && !matches!(self.fill(deadline), Ok(1..)) {
                return None;
            }
        }
        self.pushes.pop_front()
    }

    /// Waits until the server closes this connection. Panics on a reply, or if the connection stays
    /// open.
    #[track_caller]
    pub fn wait_closed(&mut self) {
        match self.arrival(PATIENCE) {
            Arrival::Closed => {}
            Arrival::Reply(reply) => panic!("expected the connection to be closed, got {reply:?}"),
            Arrival::Nothing => panic!("the connection is still open after {PATIENCE:?}"),
        }
    }

    /// Whether the server has not closed this connection yet. With TLS, its farewell is input like
    /// any other.
    pub fn is_open(&self) -> bool {
        let socket = self.stream.socket();
        let peeked = socket.set_nonblocking(true).and_then(|()| socket.peek(&mut [0]));
        let restored = socket.set_nonblocking(false);
        let open = match peeked {
            Ok(count) => count > 0,
            Err(e) => e.kind() == ErrorKind::WouldBlock,
        };
        open && restored.is_ok()
    }

    /// Ends the connection in an orderly way. The same as dropping it, but visible in a test.
    pub fn close(self) {}

    /// Makes the next [`Client::close`] a reset, as when the machine of a client dies: a reply is
    /// left unread in the kernel, which then sends RST and not FIN. From now on this client can
    /// only send.
    #[track_caller]
    pub fn arm_reset(&mut self) {
        self.send(&["PING"]);
        let socket = self.stream.socket();
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        let unread = socket.peek(&mut [0]).expect("the server answers PING");
        assert_eq!(unread, 1, "the server closed the connection");
    }

    /// How many bytes of input have been handed out as replies or skipped.
    pub(super) fn consumed(&self) -> u64 {
        self.consumed
    }

    /// One line that is not RESP, without its end.
    #[track_caller]
    pub(super) fn read_line(&mut self) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                let line = String::from_utf8_lossy(&self.buffer[..end]).trim_end().to_string();
                self.consume(end + 1);
                return line;
            }
            self.fill_or_panic(deadline);
        }
    }

    /// Throws away the next `count` bytes.
    #[track_caller]
    pub(super) fn skip(&mut self, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.buffer.len() < count {
            self.fill_or_panic(deadline);
        }
        self.consume(count);
    }

    #[track_caller]
    fn fill_or_panic(&mut self, deadline: Instant) {
        match self.fill(deadline) {
            Ok(0) => panic!("the server closed the connection"),
            Ok(_) => {}
            Err(e) => panic!("no more input: {e}"),
        }
    }

    #[track_caller]
    fn arrival(&mut self, limit: Duration) -> Arrival {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(reply) = self.take_reply() {
                return Arrival::Reply(reply);
            }
            match self.fill(deadline) {
                Ok(0) => return Arrival::Closed,
                Ok(_) => {}
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Arrival::Nothing,
                Err(_) => return Arrival::Closed,
            }
        }
    }

    /// The next reply that is already here. Pushes before it are kept aside.
    #[track_caller]
    fn take_reply(&mut self) -> Option<Reply> {
        loop {
            let (reply, length) = decode(&self.buffer)?;
            self.consume(length);
            match reply {
                push @ Reply::Push(_) => self.pushes.push_back(push),
                reply => {
                    self.follower.receives(&reply);
                    return Some(reply);
                }
            }
        }
    }

    fn consume(&mut self, length: usize) {
        self.buffer.drain(..length);
        self.consumed += length as u64;
    }

    /// Reads once, until the deadline at most. 0 is the end of the connection.
    fn fill(&mut self, deadline: Instant) -> std::io::Result<usize> {
        let left = deadline.saturating_duration_since(Instant::now());
        // Zero would mean "for ever".
        self.stream.socket().set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        let mut chunk = [0; 16 * 1024];
        let count = self.stream.read(&mut chunk)?;
        self.buffer.extend_from_slice(&chunk[..count]);
        Ok(count)
    }
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}
