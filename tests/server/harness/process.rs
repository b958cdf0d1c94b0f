//! What a server process needs from the machine: a program, the module, a port, a folder, and an
//! end.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::holds_within;

/// The server programs of this machine: the one that `LTMC_SERVER` names first, then redis-server
/// and valkey-server.
pub fn servers() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    for name in [default_binary(), "redis-server".into(), "valkey-server".into()] {
        if let Some(path) = find_program(&name).filter(|path| !found.contains(path)) {
            found.push(path);
        }
    }
    found
}

/// The program of a server for which a test names none: `LTMC_SERVER` (a name or a path), else
/// redis-server.
pub fn default_binary() -> PathBuf {
    std::env::var_os("LTMC_SERVER").filter(|name| !name.is_empty()).map_or_else(|| "redis-server".into(), PathBuf::from)
}

fn find_program(name: &Path) -> Option<PathBuf> {
    if name.components().count() > 1 {
        return name.is_file().then(|| name.to_path_buf());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// The module: `LTMC_MODULE`, else what cargo has built beside this program.
#[track_caller]
pub fn module_path() -> PathBuf {
    if let Some(path) = std::env::var_os("LTMC_MODULE") {
        // Servers run in folders of their own, so a relative path would mean another file there.
        return fs::canonicalize(&path).unwrap_or_else(|e| panic!("LTMC_MODULE={path:?}: {e}"));
    }
    let exe = std::env::current_exe().expect("a test knows its own program");
    let file = format!("{}ltmc{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    // Cargo builds the library anew whenever it builds a test, but puts it only here. The one in
    // target/debug may be older.
    let path = exe.with_file_name(file);
    assert!(path.is_file(), "no module at {}: build it with cargo, or set LTMC_MODULE", path.display());
    path
}

/// A number that no other call in this process gets.
fn unique() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A port that nothing listens on. It lies below the range that systems use for outgoing
/// connections, so that none of those takes it while a server restarts. Another process may still
/// take it first: the start of a server checks that, and tries the next.
pub fn free_port() -> u16 {
    const FIRST: u32 = 21_000;
    const COUNT: u32 = 11_000;
    let start = std::process::id().wrapping_mul(101);
    (0..COUNT)
        .map(|_| (FIRST + start.wrapping_add(unique()) % COUNT) as u16)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("there is a free port")
}

/// A folder that is removed when dropped; `LTMC_KEEP=1` keeps it for a look.
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new() -> TempDir {
        let path = std::env::temp_dir().join(format!("ltmc-test-{}-{}", std::process::id(), unique()));
        fs::create_dir_all(&path).unwrap_or_else(|e| panic!("cannot make {}: {e}", path.display()));
        TempDir(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        if std::env::var_os("LTMC_KEEP").is_none() {
            // A server's child that saves or rewrites outlives it for a moment, and may still add a
            // file.
            holds_within(Duration::from_secs(1), || fs::remove_dir_all(&self.0).is_ok() || !self.0.exists());
        }
    }
}

/// A server process. It ends when dropped, and also when this process is killed before it can drop
/// anything.
pub struct Process {
    server: Child,
    guard: Child,
}

impl Process {
    pub fn spawn(command: &mut Command, dir: &Path) -> std::io::Result<Process> {
        let server = command.current_dir(dir).stdin(Stdio::null()).spawn()?;
        // The guard's input ends with this process, however that comes.
        let script = "read line || { kill -9 \"$1\"; rm -rf \"$2\"; }";
        let guard = Command::new("sh")
            .args(["-c", script, "sh", &server.id().to_string()])
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Process { server, guard })
    }

    pub fn id(&self) -> u32 {
        self.server.id()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<String> {
        self.server.try_wait().expect("a child can be waited for").map(|status| status.to_string())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        for child in [&mut self.guard, &mut self.server] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
