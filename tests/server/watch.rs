//! `LTMC.WATCH`: revisions, the log, waiting, and every way in which a wait ends.
