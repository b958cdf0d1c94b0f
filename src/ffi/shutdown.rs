//! Whether the server was last shut down in order, or stopped without notice.
//!
//! Redis reports an orderly shutdown to modules when its files are already written, so nothing can
//! be added to them. A small file beside them records it instead, and the next start removes that
//! file. Without it (after a crash, or if the folder cannot be written) the sessions that were at
//! work are found recovering.

use super::api::Ctx;
use std::path::PathBuf;

/// The file, in the server's working folder. Its name is unique to this server.
fn marker(ctx: Ctx) -> PathBuf {
    let port = ctx.server_info("server").text("tcp_port").unwrap_or_default();
    PathBuf::from(format!("ltmc-{port}.stopped"))
}

/// The server is shutting down in order.
pub fn note(ctx: Ctx) {
    let path = marker(ctx);
    if let Err(error) = std::fs::write(&path, b"LTMC: the server was shut down in order.\n") {
        let text = format!("LTMC cannot write {}: {error}; sessions will be found recovering", path.display());
        ctx.log("warning", &text);
    }
}

/// Whether the server was shut down in order before this start. True only once.
pub fn was_orderly(ctx: Ctx) -> bool {
    std::fs::remove_file(marker(ctx)).is_ok()
}
