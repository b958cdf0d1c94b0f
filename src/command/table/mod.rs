//! The command table. A row here is all it takes to have a command: registration, arity, key specs, flags, ACL categories, COMMAND DOCS,
//! the syntax line in errors, the reference page and the tests that walk the table come from it. The rows of each service stand in a file
//! of their own; here is the list of all, each with the function that runs it.

mod buffer;
mod cache;
mod common;
mod context;
mod flow;
mod lock;
mod mail;
mod registry;
mod server;
mod session;
mod versioned;

use super::spec::Command;
use super::Host;
use crate::domain::context::Doc;
use crate::domain::session::Fields;

/// All commands, on any host.
pub struct Table<H>(std::marker::PhantomData<H>);

impl<H: Host> Table<H> {
    /// The rows.
    pub const COMMANDS: &'static [Command<H>] = &[
        Command { spec: &registry::REGISTER, run: super::registry::register },
        Command { spec: &registry::DEREGISTER, run: super::registry::deregister },
        Command { spec: &registry::HEARTBEAT, run: super::registry::heartbeat },
        Command { spec: &registry::AGENT_GET, run: super::registry_info::get },
        Command { spec: &registry::AGENT_LIST, run: super::registry_info::list },
        Command { spec: &registry::AGENT_FIND, run: super::registry_info::find },
        Command { spec: &registry::AGENT_CLAIM, run: super::registry::claim },
        Command { spec: &registry::AGENT_RELEASE, run: super::registry::release },
        Command { spec: &registry::AGENT_STATS, run: super::registry_info::stats },
        Command { spec: &context::CREATE, run: super::context::create },
        Command { spec: &context::JOIN, run: super::versioned::join::<Doc, H> },
        Command { spec: &context::LEAVE, run: super::versioned::leave::<Doc, H> },
        Command { spec: &context::UPDATE, run: super::context::update },
        Command { spec: &context::GET, run: super::context::get },
        Command { spec: &context::DIFF, run: super::context::diff },
        Command { spec: &context::GENERATE, run: super::context::generate },
        Command { spec: &context::BUILD, run: super::context::build },
        Command { spec: &context::ROUTE, run: super::context::route },
        Command { spec: &context::CHECKPOINT, run: super::versioned::checkpoint::<Doc, H> },
        Command { spec: &context::CHECKPOINTS, run: super::versioned::checkpoints::<Doc, H> },
        Command { spec: &context::ROLLBACK, run: super::versioned::restore::<Doc, H> },
        Command { spec: &context::FORK, run: super::versioned::fork::<Doc, H> },
        Command { spec: &context::PRUNE, run: super::versioned::prune::<Doc, H> },
        Command { spec: &lock::LOCK, run: super::lock::lock },
        Command { spec: &lock::UNLOCK, run: super::lock::unlock },
        Command { spec: &lock::RENEW, run: super::lock::renew },
        Command { spec: &lock::CONVERT, run: super::lock::convert },
        Command { spec: &lock::CHECK, run: super::lock_info::check },
        Command { spec: &lock::INFO, run: super::lock_info::info },
        Command { spec: &lock::MLOCK, run: super::lock::mlock },
        Command { spec: &lock::BREAK, run: super::lock::break_lock },
        Command { spec: &lock::GRAPH, run: super::lock_info::graph },
        Command { spec: &session::CREATE, run: super::session::create },
        Command { spec: &session::SET, run: super::session::set },
        Command { spec: &session::GET, run: super::session::get },
        Command { spec: &session::DEL, run: super::session::delete },
        Command { spec: &session::INFO, run: super::session::info },
        Command { spec: &session::STATUS, run: super::session::status },
        Command { spec: &session::JOIN, run: super::versioned::join::<Fields, H> },
        Command { spec: &session::LEAVE, run: super::versioned::leave::<Fields, H> },
        Command { spec: &session::TOUCH, run: super::session::touch },
        Command { spec: &session::OWN, run: super::session::own },
        Command { spec: &session::DISOWN, run: super::session::disown },
        Command { spec: &session::CHECKPOINT, run: super::versioned::checkpoint::<Fields, H> },
        Command { spec: &session::CHECKPOINTS, run: super::versioned::checkpoints::<Fields, H> },
        Command { spec: &session::RESTORE, run: super::versioned::restore::<Fields, H> },
        Command { spec: &session::FORK, run: super::versioned::fork::<Fields, H> },
        Command { spec: &session::PRUNE, run: super::versioned::prune::<Fields, H> },
        Command { spec: &session::END, run: super::session::end },
        Command { spec: &cache::GET, run: super::cache::get },
        Command { spec: &cache::PUT, run: super::cache::put },
        Command { spec: &cache::FAIL, run: super::cache::fail },
        Command { spec: &cache::INVALIDATE, run: super::cache::invalidate },
        Command { spec: &cache::CONFIG, run: super::cache::config },
        Command { spec: &cache::STATS, run: super::cache_info::stats },
        Command { spec: &cache::TOP, run: super::cache_info::top },
        Command { spec: &cache::SCAN, run: super::cache_info::scan },
        Command { spec: &mail::SEND, run: super::mail_send::send },
        Command { spec: &mail::RECV, run: super::mail::recv },
        Command { spec: &mail::ACK, run: super::mail::ack },
        Command { spec: &mail::NACK, run: super::mail::nack },
        Command { spec: &mail::EXTEND, run: super::mail::extend },
        Command { spec: &mail::REQUEUE, run: super::mail::requeue },
        Command { spec: &mail::JOIN, run: super::mail::join },
        Command { spec: &mail::LEAVE, run: super::mail::leave },
        Command { spec: &mail::PENDING, run: super::mail_info::pending },
        Command { spec: &mail::DEAD, run: super::mail_info::dead },
        Command { spec: &mail::GET, run: super::mail_info::get },
        Command { spec: &mail::AGENTS, run: super::mail_info::agents },
        Command { spec: &mail::INFO, run: super::mail_info::info },
        Command { spec: &buffer::BUFFER, run: super::buffer::configure },
        Command { spec: &buffer::ALLOC, run: super::buffer::allocate },
        Command { spec: &buffer::PUT, run: super::buffer::put },
        Command { spec: &buffer::WRITE, run: super::buffer::write },
        Command { spec: &buffer::SEAL, run: super::buffer::seal },
        Command { spec: &buffer::READ, run: super::buffer_info::read },
        Command { spec: &buffer::MGET, run: super::buffer_info::mget },
        Command { spec: &buffer::HAVE, run: super::buffer_info::have },
        Command { spec: &buffer::RETAIN, run: super::buffer::retain },
        Command { spec: &buffer::RELEASE, run: super::buffer::release },
        Command { spec: &buffer::PIN, run: super::buffer::pin },
        Command { spec: &buffer::UNPIN, run: super::buffer::unpin },
        Command { spec: &buffer::FREE, run: super::buffer::free },
        Command { spec: &buffer::META, run: super::buffer::meta },
        Command { spec: &buffer::INFO, run: super::buffer_info::info },
        Command { spec: &buffer::LIST, run: super::buffer_info::list },
        Command { spec: &buffer::POPULAR, run: super::buffer_info::popular },
        Command { spec: &buffer::RESIZE, run: super::buffer::resize },
        Command { spec: &buffer::STATS, run: super::buffer_info::stats },
        Command { spec: &flow::CREATE, run: super::flow::create },
        Command { spec: &flow::INFO, run: super::flow_info::info },
        Command { spec: &flow::PAUSE, run: super::flow::pause },
        Command { spec: &flow::RESUME, run: super::flow::resume },
        Command { spec: &flow::CANCEL, run: super::flow::cancel },
        Command { spec: &flow::GRAPH, run: super::flow_info::graph },
        Command { spec: &flow::ADD, run: super::task::add },
        Command { spec: &flow::CLAIM, run: super::task_claim::claim },
        Command { spec: &flow::HEARTBEAT, run: super::task_claim::heartbeat },
        Command { spec: &flow::COMPLETE, run: super::task_claim::complete },
        Command { spec: &flow::FAIL, run: super::task_claim::fail },
        Command { spec: &flow::TASK_CANCEL, run: super::task::cancel },
        Command { spec: &flow::GET, run: super::task_info::get },
        Command { spec: &flow::LIST, run: super::task_info::list },
        Command { spec: &flow::WAIT, run: super::task::wait },
        Command { spec: &flow::SIGNAL, run: super::task::signal },
        Command { spec: &flow::REQUEUE, run: super::task::requeue },
        Command { spec: &server::WATCH, run: super::watch::watch },
        Command { spec: &server::GUARD, run: super::server::guard },
        Command { spec: &server::STATUS, run: super::server::status },
        Command { spec: &server::HEALTH, run: super::health::health },
        Command { spec: &server::CLUSTER, run: super::cluster::cluster },
        Command { spec: &server::APPLY, run: super::server::apply },
        Command { spec: &server::EXPLAIN, run: super::server::explain },
        Command { spec: &server::REPAIR, run: super::server::repair },
        Command { spec: &server::TRACE, run: super::trace::trace },
        #[cfg(feature = "test-hooks")]
        Command { spec: &server::DEBUG, run: super::server::debug },
    ];

    /// The row of a command, by its name in any case.
    pub fn find(name: &[u8]) -> Option<&'static Command<H>> {
        Self::COMMANDS.iter().find(|command| name.eq_ignore_ascii_case(command.spec.name.as_bytes()))
    }
}
