//! The report of a node about itself to the other nodes of a Redis Cluster.

/// The id of a node of a Redis Cluster, as Redis writes it.
pub type NodeId = [u8; 40];

/// The state of a node in brief. The texts are printable ASCII.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Version of LTMC.
    pub version: String,
    /// Name and version of the server.
    pub server: String,
    /// `primary` or `replica`.
    pub role: String,
    /// The mode in force.
    pub mode: String,
    /// Its health in one word.
    pub health: String,
    /// How long the module has been loaded.
    pub uptime_ms: u64,
    /// Clients that wait.
    pub waiting_clients: u64,
    /// Commands run, over all services.
    pub commands: u64,
    /// Commands answered with an error.
    pub errors: u64,
    /// Panics contained.
    pub panics: u64,
    /// Keys in quarantine.
    pub quarantined_keys: u64,
    /// Keys with a deadline.
    pub deadlines: u64,
    /// How far the scheduler was last behind.
    pub sweep_lag_ms: u64,
}
