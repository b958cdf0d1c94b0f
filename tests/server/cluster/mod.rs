//! Redis Cluster, across the services.

mod moving;
