//! What is found after a crash, and after an orderly stop.
