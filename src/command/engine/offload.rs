//! Long work beside the event loop: what takes long is done by a thread, and the client waits for
//! it. Others do not.
//!
//! ```text
//!                      short, or it cannot wait
//!   handler  --------------------------------------> reply
//!      | long: Outcome::Offloaded, the client is blocked
//!      v
//!   thread   Job::Answer    makes the reply and sends it
//!            Job::Prepare   makes what a write needs; then the handler runs again from its
//!                           beginning, and finds that made
//! ```
//!
//! A job has no reference to a value in a key. It reads states that share their memory with such a
//! value ([`Shared`](crate::domain::versioned::Shared)) or arguments of the command
//! ([`Host::hold`]). So what it sees does not change, and what happens to the key meanwhile does
//! not wait. A prepared write decides on its second run, on the state of that moment. Until then
//! nothing of it is in the keyspace, a file or a replica, and if its client goes it has never been.

use super::cx::{Cx, Outcome};
use super::job::{Job, Steps, AT_ONCE_MAX, OFFLOADED_FROM};
use crate::command::host::Host;
use crate::command::reply::Reply;
use crate::command::settings::Setting;
use crate::domain::{Code, Error};
use std::any::Any;

impl<H: Host> Cx<'_, H> {
    /// Answers with what `make` returns, which takes `steps`. `what` is that, for the error.
    pub fn answer_with(
        &mut self,
        what: &str,
        steps: Steps,
        make: impl FnOnce() -> Result<Reply, Error> + Send + 'static,
    ) -> Result<Outcome, Error> {
        if self.is_offloaded(what, steps)? {
            return Ok(Outcome::Offloaded(Job::Answer(Box::new(make))));
        }
        make().map(Outcome::Reply)
    }

    /// What `make` returns for the arguments of the command, which takes `steps`. To be asked for
    /// at most once in a command, before it decides. The error that this returns when a thread is
    /// to do it only ends the handler's first run.
    pub fn prepare<T: Send + 'static>(
        &mut self,
        what: &str,
        steps: Steps,
        make: impl FnOnce(&[&[u8]]) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        if let Some(product) = self.prepared.take() {
            return product?.downcast::<T>().map(|made| *made).map_err(|_| Error::internal());
        }
        if !self.is_offloaded(what, steps)? {
            return make(self.args);
        }
        let args = self.host.hold();
        let work = move || make(&args.bytes()).map(|made| Box::new(made) as Box<dyn Any + Send>);
        self.job = Some(Job::Prepare(Box::new(work)));
        Err(Error::new(Code::Err, "a thread has begun with it"))
    }

    #[cfg(not(feature = "test-hooks"))]
    fn offloaded_from(&self) -> Steps {
        OFFLOADED_FROM
    }

    #[cfg(feature = "test-hooks")]
    fn offloaded_from(&self) -> Steps {
        self.node.offloaded_from.map_or(OFFLOADED_FROM, Steps)
    }

    /// A long reply is sent by a thread, if that is possible: the server copies it.
    pub(super) fn sent(&self, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Reply(reply) if self.is_long(&reply) => {
                Outcome::Offloaded(Job::Answer(Box::new(move || Ok(reply))))
            }
            outcome => outcome,
        }
    }

    fn is_long(&self, reply: &Reply) -> bool {
        let steps = match reply {
            Reply::Nil | Reply::Ok | Reply::Integer(_) | Reply::Called => return false,
            reply => Steps::of_sending(reply.size()),
        };
        steps > Steps(0) && steps >= self.offloaded_from() && self.has_threads() && !self.is_queue_full()
    }

    fn has_threads(&self) -> bool {
        self.node.settings.get(Setting::WorkerThreads) > 0 && self.host.may_block()
    }

    fn is_queue_full(&self) -> bool {
        self.host.offloaded() >= self.node.settings.get(Setting::WorkerQueueMax)
    }

    /// Whether a thread has to do it. Errs if it is too much at once and no thread can.
    fn is_offloaded(&self, what: &str, steps: Steps) -> Result<bool, Error> {
        if steps < self.offloaded_from() {
            return Ok(false);
        }
        if self.has_threads() {
            if self.is_queue_full() {
                let (setting, max) = (Setting::WorkerQueueMax, self.node.settings.get(Setting::WorkerQueueMax));
                return Err(Error::limit(setting.row().name, "one more command for threads", max));
            }
            return Ok(true);
        }
        if steps <= AT_ONCE_MAX {
            return Ok(false);
        }
        let why = match self.node.settings.get(Setting::WorkerThreads) {
            0 => "without ltmc.worker-threads",
            _ => "in MULTI, scripts and inner calls",
        };
        let (Steps(steps), Steps(max)) = (steps, AT_ONCE_MAX);
        Err(Error::new(Code::Limit, format!("{what} takes {steps} steps, at most {max} are allowed {why}")))
    }
}
