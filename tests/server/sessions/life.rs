//! Statuses, participants, resources, times to live, and the end.
