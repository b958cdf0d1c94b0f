//! Keys in quarantine: every command on one is refused, and nothing changes, not even what has
//! expired.

use super::world::{id_of, is_session, World};
use ltmc::command::engine::repair::count_panic_on;
use ltmc::domain::limits::PANICS_PER_KEY_MAX;
use ltmc::domain::Code;

impl World {
    /// Nothing was decided since time passed, so the value may have expired.
    pub fn quarantine(&mut self) {
        let (key, other) = (self.key(), "elsewhere");
        for _ in 0..PANICS_PER_KEY_MAX {
            count_panic_on(&mut self.node, &mut self.host, &id_of(&key), None);
        }
        let before = format!("{:?}", self.host.keys);
        let (name, fork_from) = if is_session(&key) { ("SESSION", "LTMC.SESSION") } else { ("CTX", "LTMC.CTX") };
        let write = if is_session(&key) {
            format!("LTMC.SESSION.SET {key} f 1")
        } else {
            format!("LTMC.CTX.UPDATE {key} a SET /a 1")
        };
        for line in [
            format!("LTMC.{name}.CREATE {key}"),
            write,
            format!("LTMC.{name}.JOIN {key} a0"),
            format!("LTMC.{name}.FORK {key} {other}"),
            format!("{fork_from}.FORK {other} {key}"),
            format!("LTMC.CTX.GENERATE {key} 1 {other}"),
        ] {
            let answer = self.run_line(&line);
            assert_eq!(answer.as_ref().map_err(|error| error.code), Err(Code::Quarantined), "{line}: {answer:?}");
        }
        assert_eq!(format!("{:?}", self.host.keys), before);
        let repaired = self.run_line(&format!("LTMC.REPAIR {key}"));
        assert!(repaired.is_ok(), "{repaired:?}");
    }
}
