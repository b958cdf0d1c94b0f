//! One server process and what a test does with it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::client::Client;
use super::process::{default_binary, free_port, module_path, Process, TempDir};
use super::reply::Reply;
use super::tls::Certificates;
use super::{holds_within, wait_until};

/// A start may have to load a module and a large file on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(30);
const LOG_LINES_SHOWN: usize = 200;

/// Quiet, local, and quick to replicate; everything else is as the server ships it.
const DEFAULTS: &[(&str, &str)] = &[
    ("bind", "127.0.0.1"),
    ("save", "\"\""),
    ("appendonly", "no"),
    ("enable-debug-command", "yes"),
    ("enable-module-command", "yes"),
    ("repl-diskless-sync-delay", "0"),
    ("crash-memcheck-enabled", "no"),
];

/// What a server is started with. A clone of it starts a second server.
#[derive(Clone)]
pub struct Builder {
    binary: PathBuf,
    module: bool,
    module_args: Vec<String>,
    config: Vec<(String, String)>,
    env: Vec<(String, String)>,
    tls: Option<Arc<Certificates>>,
    /// A program that runs the server, with its arguments.
    wrapper: Vec<String>,
}

impl Builder {
    /// The server program, by name or path.
    pub fn binary(mut self, binary: impl AsRef<Path>) -> Builder {
        self.binary = binary.as_ref().to_path_buf();
        self
    }

    /// A line of the configuration, the value as redis.conf would have it. Later lines win.
    pub fn arg(mut self, name: &str, value: impl ToString) -> Builder {
        self.config.push((name.to_string(), value.to_string()));
        self
    }

    /// One more word behind `loadmodule path`.
    pub fn module_arg(mut self, arg: &str) -> Builder {
        self.module_args.push(arg.to_string());
        self
    }

    /// A plain server, for tests of the harness and for comparisons.
    pub fn without_module(mut self) -> Builder {
        self.module = false;
        self
    }

    /// A variable in the server's environment.
    pub fn env(mut self, name: &str, value: &str) -> Builder {
        self.env.push((name.to_string(), value.to_string()));
        self
    }

    /// It speaks only TLS: to clients, which need a certificate, to replicas, and over the cluster
    /// bus.
    pub fn tls(mut self, certificates: &Arc<Certificates>) -> Builder {
        self.tls = Some(certificates.clone());
        self
    }

    /// The server runs under valgrind's memcheck, which writes what it finds to `memcheck.<pid>` in
    /// the server's folder when the server ends.
    pub fn under_valgrind(mut self) -> Builder {
        // The server's own allocator has to be seen, too.
        let args = ["--soname-synonyms=somalloc=*jemalloc*", "--child-silent-after-fork=yes", "--log-file=memcheck.%p"];
        self.wrapper = std::iter::once("valgrind").chain(args).map(String::from).collect();
        self
    }

    /// An AOF from the first command on, rewritten only on demand: what
    /// [`super::assert_persisted_everywhere`] needs. What was answered is written and survives a
    /// kill: with `everysec` it could wait for the disk for two seconds.
    pub fn durable(self) -> Builder {
        self.arg("appendonly", "yes").arg("auto-aof-rewrite-percentage", 0).arg("appendfsync", "no")
    }

    /// Starts the server and waits until it answers.
    #[track_caller]
    pub fn start(self) -> Server {
        self.try_start().unwrap_or_else(|log| panic!("the server did not start:\n{log}"))
    }

    /// Starts the server; the error is the log of a server that refused to start.
    #[track_caller]
    pub fn try_start(self) -> Result<Server, String> {
        const ATTEMPTS: usize = 10;
        let mut refusal = String::new();
        for _ in 0..ATTEMPTS {
            let mut server = Server::new(self.clone());
            match server.launch() {
                Ok(()) => return Ok(server),
                Err(log) => refusal = log,
            }
            // Another process took the port between the look and the start.
            if !refusal.contains("Address already in use") {
                break;
            }
        }
        if self.tls.is_some() && refusal.contains("Bad directive") {
            refusal.insert_str(0, "The tests of TLS need a server that was built with TLS.\n");
        }
        Err(refusal)
    }

    fn config_text(&self, port: u16) -> String {
        let mut lines = match &self.tls {
            None => vec![format!("port {port}")],
            Some(certificates) => certificates.config(port),
        };
        // An own port for the cluster bus: the usual port + 10000 may be taken by another test's
        // server.
        if self.config.iter().any(|(name, value)| name == "cluster-enabled" && value == "yes") {
            lines.push(format!("cluster-port {}", free_port()));
        }
        if self.module {
            let path = module_path();
            let args: String = self.module_args.iter().map(|arg| format!(" \"{}\"", arg.escape_default())).collect();
            lines.push(format!("loadmodule \"{}\"{args}", path.display()));
        }
        let defaults = DEFAULTS.iter().map(|(name, value)| format!("{name} {value}"));
        lines.extend(defaults);
        lines.extend(self.config.iter().map(|(name, value)| format!("{name} {value}")));
        lines.join("\n") + "\n"
    }
}

/// A running server. When dropped it is killed and its folder removed. A failing test prints its
/// log first.
pub struct Server {
    spec: Builder,
    port: u16,
    /// `None` between a stop and the next start. It precedes `dir`, so that nothing writes there
    /// any more when that is removed.
    process: Option<Process>,
    dir: TempDir,
    /// The connection behind [`Server::cmd`], made when first needed.
    control: Mutex<Option<Client>>,
}

impl Server {
    /// A server with the module and nothing else.
    #[track_caller]
    pub fn start() -> Server {
        Server::builder().start()
    }

    pub fn builder() -> Builder {
        Builder {
            binary: default_binary(),
            module: true,
            module_args: Vec::new(),
            config: Vec::new(),
            env: Vec::new(),
            tls: None,
            wrapper: Vec::new(),
        }
    }

    fn new(spec: Builder) -> Server {
        let (port, dir) = (free_port(), TempDir::new());
        fs::write(dir.join("server.conf"), spec.config_text(port)).expect("the configuration can be written");
        Server { spec, port, dir, process: None, control: Mutex::new(None) }
    }

    /// Starts the process and waits until it serves; the error is its log.
    fn launch(&mut self) -> Result<(), String> {
        let log = fs::File::options().create(true).append(true).open(self.log_path()).expect("the log can be opened");
        let mut words = self.spec.wrapper.iter().map(OsStr::new).chain([self.spec.binary.as_os_str()]);
        let mut command = Command::new(words.next().unwrap_or_default());
        command
            .args(words)
            .arg("server.conf")
            .stderr(log.try_clone().expect("a file can be cloned"))
            .stdout(Stdio::from(log));
        command.envs(self.spec.env.iter().map(|(name, value)| (name, value)));
        let process = Process::spawn(&mut command, self.dir.path());
        self.process = Some(process.map_err(|e| format!("{}: {e}", self.spec.binary.display()))?);
        let mut ended = None;
        let settled = holds_within(START_LIMIT, || {
            ended = self.process.as_mut().and_then(Process::ended);
            ended.is_some() || self.serves()
        });
        if settled && ended.is_none() {
            return Ok(());
        }
        self.process = None;
        Err(format!("{}\n{}", ended.unwrap_or("it does not answer".into()), self.log_tail()))
    }

    /// Whether our own process answers on our port, and not another one after a clash of ports.
    fn serves(&self) -> bool {
        let Some(id) = self.process.as_ref().map(Process::id) else {
            return false;
        };
        let Ok(mut client) = self.try_client() else {
            return false;
        };
        match client.ask("INFO server") {
            Some(Reply::Bulk(text)) => {
                let info = parse_info(&String::from_utf8_lossy(&text));
                // INFO is answered while the data set is still loading, PING is not.
                info.get("process_id") == Some(&id.to_string())
                    && client.ask("PING") == Some(Reply::Simple("PONG".into()))
            }
            // A password is needed: good enough, since a clash is rare and such tests are few.
            Some(Reply::Error(line)) => line.starts_with("NOAUTH"),
            _ => false,
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn pid(&self) -> u32 {
        self.process.as_ref().map(Process::id).expect("the server is stopped")
    }

    /// Waits until the process has ended by itself.
    #[track_caller]
    pub fn wait_ended(&mut self) {
        let process = self.process.as_mut().expect("the server is stopped already");
        wait_until("the server process has ended", || process.ended().is_some());
    }

    /// The folder with its configuration, log, RDB and AOF.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What it was started with, to start another one like it.
    pub fn spec(&self) -> Builder {
        self.spec.clone()
    }

    /// For the `redis` crate and other real clients.
    pub fn url(&self) -> String {
        let scheme = if self.spec.tls.is_some() { "rediss" } else { "redis" };
        format!("{scheme}://127.0.0.1:{}/", self.port)
    }

    /// A connection of the `redis` crate.
    #[track_caller]
    pub fn redis(&self) -> redis::Connection {
        self.redis_at(&self.url())
    }

    /// The same with a URL that says more, as its protocol.
    #[track_caller]
    pub fn redis_at(&self, url: &str) -> redis::Connection {
        let client = match &self.spec.tls {
            None => redis::Client::open(url),
            Some(certificates) => redis::Client::build_with_tls(url, certificates.for_redis(Some(certificates))),
        };
        let client = client.expect("the address is well formed");
        client.get_connection().unwrap_or_else(|e| panic!("the redis crate cannot connect: {e}"))
    }

    /// A new connection.
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::connect_over(self.port, self.spec.tls.as_deref())
    }

    /// A new connection, without a first command.
    pub(super) fn try_client(&self) -> std::io::Result<Client> {
        Client::try_connect_over(self.port, self.spec.tls.as_deref())
    }

    /// `count` new connections.
    #[track_caller]
    pub fn clients(&self, count: usize) -> Vec<Client> {
        (0..count).map(|_| self.client()).collect()
    }

    /// A connection of an ACL user with these rules, who is created or changed for it.
    #[track_caller]
    pub fn user(&self, name: &str, rules: &str) -> Client {
        self.run(&format!("ACL SETUSER {name} on >p {rules}")).ok();
        let mut client = self.client();
        client.auth(name, "p");
        client
    }

    /// Runs a command on a connection that the server handle keeps for itself.
    #[track_caller]
    pub fn cmd<A: AsRef<[u8]>>(&self, args: &[A]) -> Reply {
        let mut control = self.control.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if !control.as_ref().is_some_and(Client::is_open) {
            *control = Some(self.client());
        }
        let client = control.as_mut().expect("it was just made");
        client.cmd(args)
    }

    /// [`Server::cmd`] for a command written as a line.
    #[track_caller]
    pub fn run(&self, line: &str) -> Reply {
        self.cmd(&line.split_whitespace().collect::<Vec<_>>())
    }

    /// The fields of one INFO section.
    #[track_caller]
    pub fn info(&self, section: &str) -> BTreeMap<String, String> {
        parse_info(self.cmd(&["INFO", section]).text())
    }

    /// One field of INFO that is a number.
    #[track_caller]
    pub fn info_int(&self, section: &str, field: &str) -> i64 {
        let info = self.info(section);
        let value = info.get(field).unwrap_or_else(|| panic!("no field {field} in INFO {section}: {info:?}"));
        value.parse().unwrap_or_else(|_| panic!("{field} of INFO {section} is not a number: {value}"))
    }

    /// The version of the Redis API that it implements: Valkey 8 says 7.2.4.
    #[track_caller]
    pub fn version(&self) -> (u32, u32, u32) {
        let info = self.info("server");
        let mut parts = info["redis_version"].split('.').map(|part| part.parse().unwrap_or(0));
        let mut next = || parts.next().unwrap_or(0);
        (next(), next(), next())
    }

    #[track_caller]
    pub fn is_valkey(&self) -> bool {
        self.info("server").contains_key("valkey_version")
    }

    /// Waits until exactly `count` clients are blocked.
    #[track_caller]
    pub fn wait_blocked(&self, count: usize) {
        wait_until(&format!("{count} clients are blocked"), || {
            self.info_int("clients", "blocked_clients") == count as i64
        });
    }

    /// Sends `line(i)` on client `i`, each once the one before it is blocked: a server reads
    /// connections in any order.
    #[track_caller]
    pub fn block_in_turn(&self, clients: &mut [Client], line: impl Fn(usize) -> String) {
        let before = self.info_int("clients", "blocked_clients") as usize;
        for (index, client) in clients.iter_mut().enumerate() {
            client.send_line(&line(index));
            self.wait_blocked(before + index + 1);
        }
    }

    /// The digest of the whole data set. It covers whether a key expires, but not when.
    #[track_caller]
    pub fn debug_digest(&self) -> String {
        self.cmd(&["DEBUG", "DIGEST"]).text().to_string()
    }

    /// Saves the data set, empties the server and loads it again.
    #[track_caller]
    pub fn debug_reload(&self) {
        self.cmd(&["DEBUG", "RELOAD"]).ok();
    }

    pub fn log_path(&self) -> PathBuf {
        self.dir.join("server.log")
    }

    pub fn log(&self) -> String {
        fs::read(self.log_path()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Waits until the log contains `text`.
    #[track_caller]
    pub fn wait_log(&self, text: &str) {
        wait_until(&format!("the log contains {text:?}"), || self.log().contains(text));
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    }

    /// Adds a line to its configuration file, for the next start.
    #[track_caller]
    pub fn append_config(&self, line: &str) {
        let file = fs::File::options().append(true).open(self.dir.join("server.conf"));
        file.and_then(|mut file| writeln!(file, "{line}")).expect("the configuration can be extended");
    }

    /// Stops it in an orderly way, saving an RDB.
    #[track_caller]
    pub fn stop(&mut self) {
        self.shut_down("SAVE");
    }

    /// Stops it in an orderly way, saving nothing.
    #[track_caller]
    pub fn end(&mut self) {
        self.shut_down("NOSAVE");
    }

    #[track_caller]
    fn shut_down(&mut self, how: &str) {
        self.client().send(&["SHUTDOWN", how]);
        self.wait_ended();
        self.forget_process();
    }

    /// Stops it for a while, as a machine does that swaps or is migrated: nothing of it runs.
    #[track_caller]
    pub fn freeze(&self, time: Duration) {
        self.signal("STOP");
        std::thread::sleep(time);
        self.signal("CONT");
    }

    #[track_caller]
    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "SIG{name} cannot be sent");
    }

    /// Kills it, as a crash or a power cut would.
    pub fn kill(&mut self) {
        self.forget_process();
    }

    fn forget_process(&mut self) {
        self.process = None;
        *self.control.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = None;
    }

    /// Starts it again after [`Server::stop`] or [`Server::kill`], on the same port and folder.
    #[track_caller]
    pub fn start_again(&mut self) {
        self.try_start_again().unwrap_or_else(|log| panic!("the server did not start again:\n{log}"));
    }

    /// Starts it again; the error is the log of a server that refused to start.
    pub fn try_start_again(&mut self) -> Result<(), String> {
        assert!(self.process.is_none(), "the server still runs");
        self.launch()
    }

    /// A shutdown with a save, and a new start.
    #[track_caller]
    pub fn restart(&mut self) {
        self.stop();
        self.start_again();
    }

    /// A kill -9, and a new start.
    #[track_caller]
    pub fn crash_and_restart(&mut self) {
        self.kill();
        self.start_again();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let died = self.process.as_mut().and_then(Process::ended);
        if std::thread::panicking() {
            eprintln!("---- log of the server on port {} ----\n{}\n----", self.port, self.log_tail());
        } else if let Some(status) = died {
            // Tests whose last command was answered would not notice.
            panic!("the server died during the test: {status}\n{}", self.log_tail());
        }
    }
}

pub(super) fn parse_info(text: &str) -> BTreeMap<String, String> {
    let fields = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(':'));
    fields.map(|(name, value)| (name.to_string(), value.to_string())).collect()
}
