//! Whether the server stopped in order the last time, or without notice.
//!
//! Redis tells modules of an orderly shutdown when its files are written already, so that nothing can be put into them any more. A small
//! file beside them says it instead; the next start takes it away. Without it (after a crash, or where the folder cannot be written) the
//! sessions that were at work are found recovering.

use super::api::Ctx;
use std::path::PathBuf;

/// The file, in the folder that the server works in, of this server and of no other in the same folder.
fn marker(ctx: Ctx) -> PathBuf {
    let port = ctx.server_info("server").text("tcp_port").unwrap_or_default();
    PathBuf::from(format!("ltmc-{port}.stopped"))
}

/// The server shuts down in order.
pub fn note(ctx: Ctx) {
    let path = marker(ctx);
    if let Err(error) = std::fs::write(&path, b"LTMC: the server was shut down in order.\n") {
        let text = format!("LTMC cannot write {}: {error}; sessions will be found recovering", path.display());
        ctx.log("warning", &text);
    }
}

/// Whether the server was shut down in order before it was started now. True only once.
pub fn was_orderly(ctx: Ctx) -> bool {
    std::fs::remove_file(marker(ctx)).is_ok()
}
