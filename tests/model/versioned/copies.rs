//! COPY of a session or a context.

use super::world::{id_of, is_session, World};
use ltmc::domain::context::Context;
use ltmc::domain::session::Session;

impl World {
    /// COPY of a live thing, over whatever is there.
    pub fn copy(&mut self, src: &str) {
        let dst = format!("{}{}", &src[..1], self.rng.below(3));
        if src == dst || self.live(src).is_none() {
            return;
        }
        self.delete(&dst);
        self.history.note(format!("COPY {src} {dst}"));
        let (from, to) = (id_of(src), id_of(&dst));
        let revision = match is_session(src) {
            true => self.host.copy::<Session>(&from, &to),
            false => self.host.copy::<Context>(&from, &to),
        };
        self.node.key_changed(id_of(&dst));
        let mut copy = self.things[src].clone();
        copy.resources.clear();
        (copy.stays, copy.revision, copy.is_copy) = (true, Some(revision), true);
        copy.log.clear();
        self.things.insert(dst, copy);
    }
}
