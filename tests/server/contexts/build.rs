//! Parts for one agent, merging, and routing.
