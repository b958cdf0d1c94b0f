//! Claims: who is chosen, fences, leases, release, capacity, REQID.
