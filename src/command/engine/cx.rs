//! What a command runs in, and how it ends.

use super::args::Args;
use super::job::{Job, Product};
use super::keys::positions;
use super::roles::Roles;
use super::spec::Spec;
use super::walk::Walk;
use crate::command::host::{Host, Key};
use crate::command::node::Node;
use crate::command::reply::Reply;
use crate::command::settings::Setting;
use crate::domain::limits::ID_BYTES_MAX;
use crate::domain::value::bytes::{acts_as, printable};
use crate::domain::{Blob, Bytes, Code, Error, Millis};

/// Whoever may run this command may take from others what they hold, so where operators do that,
/// naming an agent is no claim to be that agent.
const TAKES_FROM_OTHERS: &str = "LTMC.LOCK.BREAK";

/// What a command runs in.
#[derive(Debug)]
pub struct Cx<'a, H: Host> {
    /// The process.
    pub node: &'a mut Node,
    /// The server.
    pub host: &'a mut H,
    /// The command's row.
    pub spec: &'static Spec,
    /// Its arguments, the name first.
    pub args: &'a [&'a [u8]],
    /// The client's database.
    pub db: u32,
    /// What a thread has made for it, if this is its second run.
    pub prepared: Option<Product>,
    /// What a thread is to make for it.
    pub(super) job: Option<Job>,
}

impl<'a, H: Host> Cx<'a, H> {
    /// For a command that begins.
    pub fn new(node: &'a mut Node, host: &'a mut H, spec: &'static Spec, args: &'a [&'a [u8]], db: u32) -> Self {
        Self { node, host, spec, args, db, prepared: None, job: None }
    }
}

impl<'a, H: Host> Cx<'a, H> {
    /// The key that is argument `index`.
    pub fn key(&self, index: usize) -> Key<'a> {
        debug_assert!(
            Args::new(self.spec, self.args).is_key(index),
            "{} uses argument {index} as a key and does not declare it",
            self.spec.name
        );
        Key { db: self.db, name: self.args[index], arg: index }
    }

    /// Argument `index` as a value to keep.
    pub fn blob(&mut self, index: usize) -> Blob {
        self.host.take_blob(index, self.args[index])
    }

    /// Errs if `what`, of so many bytes, is longer than a setting allows.
    pub fn check_bytes(&self, setting: Setting, what: &str, bytes: usize) -> Result<(), Error> {
        let max = self.node.settings.get(setting);
        if bytes as u64 <= max {
            return Ok(());
        }
        Err(Error::limit(setting.row().name, &format!("{what} of {bytes} bytes"), max))
    }

    /// The time of this command, unix ms.
    pub fn now(&self) -> Millis {
        self.node.now()
    }

    /// Errs if an argument names an agent that the caller may not act as.
    pub fn check_actors(&self) -> Result<(), Error> {
        let Some(user) = self.bound_to() else { return Ok(()) };
        let named = Walk::new(self.spec, self.args).actors().into_iter();
        named.map(|at| self.args[at]).try_for_each(|id| check_name(&user, id))
    }

    /// Errs if the caller may not act as `id`, which stands in a value.
    pub fn check_actor(&self, id: &[u8]) -> Result<(), Error> {
        self.bound_to().map_or(Ok(()), |user| check_name(&user, id))
    }

    /// The ACL user whose name the caller is bound to by `bind-agent-to-user`.
    ///
    /// `None` if it is not bound. So is who may break the locks in all keys of a command that
    /// operators have: it may take from others what they hold.
    fn bound_to(&self) -> Option<Vec<u8>> {
        if !self.node.settings.agents_are_bound() {
            return None;
        }
        let is_free = self.spec.roles.has(Roles::OPERATOR) && self.takes_from_others();
        self.host.user().filter(|_| !is_free)
    }

    /// Who acts, where the caller need not name an agent: the agent it names, else the ACL user
    /// that it is bound to. Empty if it is not bound.
    pub fn acting(&self, named: Option<&[u8]>) -> Result<Bytes, Error> {
        match (named, self.bound_to()) {
            (Some(named), _) => Ok(Bytes::from(named)),
            (None, None) => Ok(Bytes::EMPTY),
            (None, Some(user)) if (1..=ID_BYTES_MAX).contains(&user.len()) => Ok(Bytes::from(&user[..])),
            (None, Some(user)) => {
                let text = format!("the user's name is {} bytes long, an agent's is 1 to {ID_BYTES_MAX}", user.len());
                Err(Error::new(Code::Denied, text))
            }
        }
    }

    fn takes_from_others(&self) -> bool {
        let keys = positions(self.spec, self.args);
        keys.into_iter().all(|(at, _)| self.host.may_run(TAKES_FROM_OTHERS, self.key(at)))
    }
}

fn check_name(user: &[u8], id: &[u8]) -> Result<(), Error> {
    if acts_as(user, id) {
        return Ok(());
    }
    let (id, user) = (printable(id), printable(user));
    let text = format!("user '{user}' may not act as '{id}' (setting ltmc.bind-agent-to-user)");
    Err(Error::new(Code::Denied, text))
}

/// How a command ended.
#[derive(Debug)]
pub enum Outcome {
    /// With a reply.
    Reply(Reply),
    /// The client waits; the reply comes later.
    Waits,
    /// The client waits for a thread.
    Offloaded(Job),
}

/// Two jobs are never the same.
impl PartialEq for Outcome {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Outcome::Reply(one), Outcome::Reply(other)) => one == other,
            (one, other) => matches!((one, other), (Outcome::Waits, Outcome::Waits)),
        }
    }
}

/// A row of the table with the function that runs it on the host `H`.
#[derive(Debug, Clone, Copy)]
pub struct Command<H: Host> {
    /// Everything about it that can be said without running it.
    pub spec: &'static Spec,
    /// Runs it.
    pub run: fn(&mut Cx<H>) -> Result<Outcome, Error>,
}
