//! COPY of a session or a context.

use super::world::{id_of, is_session, World};
use crate::host::MemoryHost;
use ltmc::domain::context::Context;
use ltmc::domain::session::Session;
use ltmc::domain::{Entity, Stored};

impl World {
    /// COPY of a live thing, over whatever there is.
    pub fn copy(&mut self, src: &str) {
        let dst = format!("{}{}", &src[..1], self.rng.below(3));
        if src == dst || self.live(src).is_none() {
            return;
        }
        self.delete(&dst);
        self.history.note(format!("COPY {src} {dst}"));
        let revision = match is_session(src) {
            true => copy_value::<Session>(&mut self.host, src, &dst),
            false => copy_value::<Context>(&mut self.host, src, &dst),
        };
        self.node.key_changed(id_of(&dst));
        let mut copy = self.things[src].clone();
        copy.resources.clear();
        (copy.stays, copy.revision, copy.is_copy) = (true, Some(revision), true);
        copy.log.clear();
        self.things.insert(dst, copy);
    }
}

/// What COPY does here and on the replica; the revision that the copy goes on from.
fn copy_value<E: Entity>(host: &mut MemoryHost, src: &str, dst: &str) -> u64 {
    let of = |stored: Option<&Stored<E>>| stored.expect("a value").copied();
    let (here, there) = (of(host.peek(&id_of(src))), of(host.copied(&id_of(src))));
    let (revision, end) = (here.revision, here.state.expires_at());
    host.restore(&id_of(dst), here, there);
    host.keys.get_mut(&id_of(dst)).expect("just put there").1 = end;
    revision
}
