//! What survives: replica, failover, reload, AOF in both forms; and what replicas are told of heartbeats.
